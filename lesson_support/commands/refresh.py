"""`refresh`: runs notebooks and stores their outputs with the smallest diff."""

import argparse
import asyncio
import copy
import json
import os
import re
import tempfile
from pathlib import Path

from lesson_support.commands import PROJECT, CommandError, answers, children, setup

NOTEBOOKS = PROJECT / "notebooks"
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
KEPT_CELL_METADATA = {"tags", "jupyter", "editable", "deletable", "slideshow"}
SECONDS_A_CELL = 60
AT_A_TIME = 2

TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PACKAGE_PATH = re.compile(
    r"(?:~|[A-Za-z]:)?[/\\](?:[^\s:'\"]*[/\\])?site-packages[/\\]"
)
PROJECT_PATH = re.compile(re.escape(f"{PROJECT}{os.sep}"))
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")


class Stopped(Exception):
    """A notebook in which a cell failed that was not meant to."""


def normalise(notebook):
    """Brings a notebook into the form in which it is stored, and returns it.

    Takes a notebook of nbformat 4. Metadata that differ from machine to machine go, code cells are
    counted 1 to n as after Restart and Run All, and cells keep their ids and tags.
    """
    import nbformat

    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{index}")
        kept = {
            key: cell.metadata[key]
            for key in cell.metadata
            if key in KEPT_CELL_METADATA
        }
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = tidy_outputs(cell)
    return notebook


def tidy_outputs(cell) -> list:
    """The outputs of a cell without what no reader sees: counts, metadata, colours, paths."""
    import nbformat

    kept = []
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = cell.execution_count
        if "data" in output:
            if (
                "text/vnd.mermaid" in output.data
            ):  # JupyterLab adds a drawing when it saves
                output.data.pop("image/svg+xml", None)
            output.metadata = nbformat.from_dict({})
        if output.output_type == "error":
            output.traceback = [tidy_traceback(line) for line in output.traceback]
        last = kept[-1] if kept else None
        if (
            last
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            kept.append(output)
    return kept


def tidy_traceback(line: str) -> str:
    """A piece of a traceback without colours, machine paths and addresses."""
    line = TERMINAL_COLOUR.sub("", line)
    line = PROJECT_PATH.sub("", PACKAGE_PATH.sub("", line))
    return ADDRESS.sub("0x...", line)


def dumps(notebook) -> str:
    """The text in which a normal notebook is written; raises ValidationError for a broken one."""
    import nbformat
    from nbformat.v4 import rwbase

    nbformat.validate(notebook)
    parts = rwbase.split_lines(rwbase.strip_transient(copy.deepcopy(notebook)))
    return json.dumps(parts, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def read(path: Path):
    """The notebook in a file; CommandError where the file is none."""
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        for index, cell in enumerate(raw["cells"]):
            cell.setdefault("id", f"cell-{index}")
        raw["nbformat_minor"] = max(raw["nbformat_minor"], 5)
        notebook = nbformat.reads(json.dumps(raw), as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, nbformat.ValidationError) as error:
        raise CommandError(f"{path} is not a notebook; undo its last change") from error
    return notebook


async def execute(notebook, folder: Path) -> None:
    """Runs all cells in place. Raises Stopped with the cell and the error of an unexpected one."""
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name=KERNEL["name"],
        extra_arguments=["--log-level=ERROR"],  # not that loopback is not encrypted
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    running = {}
    client.on_cell_execute = lambda cell, cell_index: running.update(
        cell=cell, number=cell_index
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        await client.async_execute()
    except CellExecutionError as error:
        reason = f"{error.ename}: {TERMINAL_COLOUR.sub('', error.evalue)}"
    except CellTimeoutError:
        reason = f"it took longer than {SECONDS_A_CELL} s"
    except DeadKernelError:
        reason = "its kernel died"
    else:
        return
    where = (
        f"cell {running['number'] + 1} ({running['cell'].id})"
        if running
        else "the kernel"
    )
    raise Stopped(f"{where} failed: {reason.strip().splitlines()[0]}")


async def refresh(paths: list[Path], run: bool) -> list[str]:
    """Stores each notebook in its normal form, run first unless told not to; returns failures."""
    gate, failures = asyncio.Semaphore(AT_A_TIME), []

    async def one(path: Path) -> None:
        name = os.path.relpath(path)
        async with gate:
            old, notebook = path.read_text(encoding="utf-8"), read(path)
            try:
                if run:
                    await execute(notebook, path.parent)
            except Stopped as error:
                failures.append(f"{name}: {error}; nothing was stored for it")
                return
            new = dumps(normalise(notebook))
            if new == old:
                print(f"{name}: unchanged")
            elif run:
                draft = path.with_suffix(".new")
                draft.write_text(new, encoding="utf-8", newline="\n")
                os.replace(draft, path)
                print(f"{name}: refreshed")
            else:
                failures.append(f"{name}: not in its stored form; run: refresh {name}")

    await asyncio.gather(*map(one, paths))
    return failures


def check_reference() -> None:
    """Raises CommandError where outputs would come from another database or SQLAlchemy."""
    if os.environ.get("LESSONS_DATABASE_URL"):
        raise CommandError(
            "outputs are stored from SQLite; unset LESSONS_DATABASE_URL first"
        )
    wanted = setup.pins(setup.REQUIREMENTS.read_text(encoding="utf-8"))["sqlalchemy"]
    import sqlalchemy

    if sqlalchemy.__version__ != wanted:
        raise CommandError(
            f"outputs are stored from SQLAlchemy {wanted}, and this is {sqlalchemy.__version__};"
            " unset PYTHONPATH and run again"
        )


def find(names: list[str]) -> list[Path]:
    """The notebooks meant by a learner's words, or all; CommandError for one that is not there."""
    from lesson_support.commands.lab import find_notebook

    if names:
        return [find_notebook(name) for name in names]
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    if not found:
        raise CommandError(f"there is no notebook in {NOTEBOOKS}")
    return found


def refresh_answers(write: bool) -> list[str]:
    """Stores the page of answers as its index says, or only looks at it; returns failures."""
    try:
        if write:
            answers.write()
        elif answers.page(answers.read()) != answers.PAGE.read_text(encoding="utf-8"):
            name = os.path.relpath(answers.PAGE)
            return [f"{name}: not the page of its index; run: refresh"]
    except OSError as error:
        return [f"{os.path.relpath(answers.PAGE)} cannot be used: {error.strerror}"]
    except CommandError as error:
        return [str(error)]
    return []


def main(args: list[str]) -> int:
    """Refreshes or checks notebooks; exit code 1 where one fails or is not in its stored form."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lesson_support refresh",
        description="Runs notebooks on SQLite and stores their outputs; writes only what changed.",
    )
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="a file or a number: 03"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run and write nothing; only look at the stored form",
    )
    options = parser.parse_args(args)
    paths = find(options.notebooks)
    if not options.check:
        check_reference()
    with children.tidy_end(), tempfile.TemporaryDirectory(prefix="lessons-") as folder:
        os.environ.update(children.apart(Path(folder)))
        failures = asyncio.run(refresh(paths, run=not options.check))
    if not options.notebooks:
        failures += refresh_answers(write=not options.check)
    for line in failures:
        print(line)
    return 1 if failures else 0
