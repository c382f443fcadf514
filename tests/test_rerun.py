"""Every cell twice, then the whole lesson again, then every solution in its place, in one kernel."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient
from test_exercises import EXERCISES

from notebooks import CALL, FOLDER, LESSONS

NAME = re.compile(r"(?<=Database: )(SQLite|PostgreSQL)")


def said(cell) -> list[str]:
    """The plain form of a cell's outputs, as a learner without HTML reads them."""
    texts, last = [], ""
    for output in cell.outputs:
        if output.output_type == "error":
            texts.append(f"{output.ename}: {output.evalue}")
        elif output.output_type == last == "stream":
            texts[-1] += output.text
        else:
            texts.append(output.get("text") or output.data["text/plain"])
        last = output.output_type
    return [NAME.sub("DATABASE", text) for text in texts]


def complaints(cell) -> list[str]:
    """Errors that the cell does not want, and everything on stderr."""
    wanted = "raises-exception" in cell.metadata.get("tags", [])
    return [
        f"{cell.id}: {output.get('evalue') or output.get('text')}"
        for output in cell.outputs
        if output.get("name") == "stderr"
        or (output.output_type == "error" and not wanted)
    ]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_survives_being_run_again(path, database):
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    stored = [said(cell) for cell in code]
    client = NotebookClient(
        book,
        timeout=60,
        kernel_name="python3",
        allow_errors=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    with client.setup_kernel():
        found = []
        for cell in code:
            for _ in range(2):
                client.execute_cell(cell, 0)
                found += complaints(cell)
        assert not found, "a cell that is run twice complains"

        for cell, before in zip(code, stored, strict=True):
            client.execute_cell(cell, 0)
            assert said(cell) == before, (
                f"{cell.id} says something else in the second run"
            )

        for cell in code:
            if call := CALL.search(cell.source):
                cell.source = f"{EXERCISES[call[1]].code}\n\n{call[0]}"
                client.execute_cell(cell, 0)
                assert said(cell)[0].startswith(f"✔ {call[1]}: correct."), cell.source
