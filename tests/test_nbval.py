"""The comparison of the lessons: what differs is found, on each database and line of SQLAlchemy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lesson_support.commands import PROJECT
from lesson_support.commands.refresh import KERNEL

URL = "LESSONS_TEST_POSTGRES_URL"


def display(plain: str, html: str) -> list:
    data = {"text/plain": plain, "text/html": html}
    return [new_output("display_data", data=data)]


def shown(plain: str, html: str) -> str:
    """A cell that displays these."""
    return (
        "from IPython.display import display\n"
        f"display({{'text/plain': {plain!r}, 'text/html': {html!r}}}, raw=True)"
    )


def run(folder, cells: list, kinds: list[str]) -> str:
    """Check a notebook of these cells; what pytest says."""
    shutil.copy(PROJECT / "conftest.py", folder)
    for number, cell in enumerate(cells):
        cell.execution_count = number + 1
    book = new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(book, folder / "99-x.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA"]
    command += [f"--lessons={kind}" for kind in kinds]
    command += [
        f"--lessons-postgresql={URL}",
        f"--lessons-older={folder / 'older'}",
        "99-x.ipynb",
    ]
    environment = {**os.environ, URL: "postgresql://nobody@localhost/none"}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    return ended.stdout


@pytest.mark.parametrize(
    ("stored", "kinds"),
    [
        (
            ("SQL of this cell: a", "<b>a</b>"),
            {"sqlite-2.1", "postgresql-2.1", "sqlite-2.0"},
        ),
        (("SQL of this cell: a", "<b>b</b>"), {"postgresql-2.1", "sqlite-2.0"}),
        (("SQL of this cell: b", "<b>a</b>"), {"sqlite-2.0"}),
        (("what changed: b", "<b>a</b>"), set()),
    ],
)
def test_what_differs_is_found_where_it_counts(stored, kinds, tmp_path):
    cell = new_code_cell(shown("SQL of this cell: a", "<b>a</b>"))
    cell.outputs = display(*stored)
    every = ["sqlite-2.1", "postgresql-2.1", "sqlite-2.0"]
    said = run(tmp_path, [cell], every)
    passed = {k for k in every if f"PASSED 99-x.ipynb@{k}::Cell 0" in said}
    failed = {k for k in every if f"FAILED 99-x.ipynb@{k}::Cell 0" in said}
    assert (passed, failed) == (kinds, set(every) - kinds), said


def test_each_kernel_has_the_environment_of_its_kind(tmp_path):
    (tmp_path / "older").mkdir()
    (tmp_path / "older/sqlalchemy.py").write_text("")
    cell = new_code_cell(
        "import os, sqlalchemy\n"
        "'LESSONS_DATABASE_URL' in os.environ, hasattr(sqlalchemy, 'create_engine')"
    )
    data = {"text/plain": "(True, True)"}
    cell.outputs = [new_output("execute_result", data=data, execution_count=1)]
    said = run(tmp_path, [cell], ["sqlite-2.1", "postgresql-2.1", "postgresql-2.0"])
    assert "PASSED 99-x.ipynb@postgresql-2.1::Cell 0" in said
    assert "(False, True)" in said  # on SQLite
    assert "(True, False)" in said  # with the other SQLAlchemy, a file without contents
