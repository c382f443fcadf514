"""Every cell twice, then the whole lesson again, then every solution in its place, in one kernel.

The kernel stands in a strange place: another time zone, locale, hash seed and year, DATABASE_URL set
by somebody else, and on PostgreSQL tables of the same names in `public`, which nobody may touch.
"""

from __future__ import annotations

import os
import uuid

import nbformat
import pytest
from faults import Others
from nbclient import NotebookClient
from sqlalchemy import create_engine, make_url, text
from test_exercises import EXERCISES

from conftest import Hidden
from lesson_support.database import reset
from notebooks import CALL, FOLDER, LESSONS, complaints, said

PLACES = {
    "sqlite": {
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONHASHSEED": "0",
    },
    "postgresql": {"TZ": "America/St_Johns", "PYTHONHASHSEED": "4294967295"},
}
# Five seconds before 1 March 2100, which is no leap year, and before 1980.
CLOCKS = {"sqlite": 4107542395, "postgresql": 315532795}


@pytest.fixture(scope="module")
def school():
    """The URL of a database where somebody else's tables are in `public`; they stay as they are."""
    server = os.environ.get("LESSONS_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("no PostgreSQL: run python3 -m lesson_support test")
    name = f"school_{uuid.uuid4().hex[:8]}"
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    outside = create_engine(server, isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield Hidden(url), Others(url)
    finally:
        with outside.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        outside.dispose()


@pytest.fixture(autouse=True)
def strange_place(database, decoy, wrong_clock, monkeypatch, request):
    for name, value in (PLACES[database] | wrong_clock(CLOCKS[database])).items():
        monkeypatch.setenv(name, value)
    if database == "sqlite":
        yield
    else:
        url, others = request.getfixturevalue("school")
        monkeypatch.setenv("LESSONS_DATABASE_URL", url)
        yield
        others.check()
        reset()
        others.check()


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
