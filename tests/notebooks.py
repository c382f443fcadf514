"""Reads the lessons for the tests: cells, the set-up, the cells of exercises."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
CALL = re.compile(r'^exercise\("([\w-]+)"\)\.check\((\w+)\)$', re.MULTILINE)
NAME = re.compile(r"(?<=Database: )(SQLite|PostgreSQL)")


@cache
def cells(path: Path) -> list[dict]:
    """The cells of a notebook, with their source as one text."""
    read = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in read]


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def exercise_cells() -> dict[str, tuple[Path, str]]:
    """Per exercise id: the notebook, and the source of the cell that holds its stub."""
    return {
        found[1]: (path, cell["source"])
        for path in LESSONS
        for cell in code_cells(path)
        for found in CALL.finditer(cell["source"])
    }


def imports_of(path: Path) -> dict:
    """Run the import lines of a lesson's set-up cell, and nothing else of it."""
    setup = ast.parse(code_cells(path)[0]["source"])
    setup.body = [
        node for node in setup.body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names: dict = {"__name__": "__main__"}
    exec(compile(setup, str(path), "exec", dont_inherit=True), names)
    return names


def run(source: str, names: dict):
    """Run a cell's source in a namespace; the value of its last expression is returned."""
    tree = ast.parse(source)
    last = tree.body.pop()
    exec(compile(tree, "<cell>", "exec", dont_inherit=True), names)
    return eval(
        compile(ast.Expression(last.value), "<cell>", "eval", dont_inherit=True), names
    )


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
