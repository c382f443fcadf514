"""What a learner's own kernel meets: killed, interrupted, doubled, out of order, its file gone."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import threading

import pytest
from faults import (
    ADD,
    CELLS,
    COUNT,
    DELETE,
    FRESH,
    MAPPING,
    SETUP,
    Kernel,
    as_stored,
    error_of,
    lesson,
    printed,
    red_box,
    wait_until,
)
from sqlalchemy import create_engine, make_url, text

from lesson_support import database as module

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


def begun(kernel: Kernel) -> Kernel:
    """The kernel in lesson 05, with the rows of data/."""
    for cell in (SETUP, MAPPING, FRESH):
        assert error_of(kernel.run(cell)) is None
    return kernel


@pytest.fixture
def held(database, request):
    """How many connections the lessons of this learner have open on the server."""
    if database == "sqlite":
        return lambda: 0
    url = request.getfixturevalue("postgresql")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    request.addfinalizer(engine.dispose)
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE :mine"
    )
    mine = f"lesson_{os.environ['LESSONS_LEARNER']}%"

    def count() -> int:
        with engine.connect() as connection:
            return connection.scalar(query, {"mine": mine})

    return count


def test_killed_in_a_transaction(database, held):
    with Kernel() as kernel:
        begun(kernel)
        assert error_of(kernel.run(ADD)) is None
        kernel.begin(
            "import time\n"
            "with Session(engine) as session:\n"
            '    session.add(Program(name="Half"))\n'
            "    session.flush()\n"
            '    print("now", flush=True)\n'
            "    time.sleep(60)",
            until="now",
        )
        kernel.kill()
        kernel.start()
        again = SETUP.source.replace('connect("05")', 'connect("05", fresh=False)')
        assert printed(kernel.run(again)) == ""
        kernel.run(MAPPING)
        assert printed(kernel.run(COUNT)).startswith("9"), "8, and what was committed"
        wait_until(lambda: not held(), "no connection is left")
        as_stored(kernel, *CELLS.values())


EMPTY_AND_FRESH = f"""
class Empty(DeclarativeBase):
    pass
for _ in range(3):
    fresh_tables(engine, Empty)
    {FRESH}
"""


def test_two_kernels_in_one_lesson(database, held):
    """Cell by cell they do not disturb each other; at once, what fails says what to do."""
    with Kernel() as first, Kernel() as second:
        for cell in CELLS.values():
            as_stored(first, cell)
            as_stored(second, cell)

        found: list[str] = []

        def repeat(kernel: Kernel, cell) -> None:
            for _ in range(6):
                if error_of(ran := kernel.run(cell)):
                    found.append(red_box(ran))

        for kernel in (first, second):
            kernel.run(MAPPING)
        at_once(
            lambda: repeat(first, EMPTY_AND_FRESH),
            lambda: repeat(second, EMPTY_AND_FRESH),
        )
        assert found == [], "fresh_tables waits for the other kernel"
        as_stored(first, *CELLS.values())
        wait_until(lambda: not held(), "no connection is left")


def test_schemas_made_at_the_same_moment(postgresql):
    """As by the first checks of exercises in two notebooks, which keep one record of progress."""
    url, schema = make_url(postgresql), module._schema("record")
    for _ in range(10):
        module.reset()
        at_once(*[lambda: module._prepare_schema(url, schema, fresh=False)] * 4)


def test_two_lessons_at_once(database, held):
    cells = lesson("03")
    with Kernel() as first, Kernel() as second:
        at_once(
            lambda: as_stored(first, *CELLS.values()),
            lambda: as_stored(second, *cells.values()),
        )
    wait_until(lambda: not held(), "no connection is left")


def at_once(*calls) -> None:
    """Run these at the same time; the first failure is raised."""
    failures: list[BaseException] = []

    def run(call) -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def on_files(tmp_path_factory):
    """A kernel on SQLite, and the folder of its workspace."""
    folder = tmp_path_factory.mktemp("files") / "workspace"
    variables = {"LESSONS_DATABASE_URL": "", "PYTEST_XDIST_WORKER": ""}
    with Kernel(**variables, LESSONS_WORKSPACE=str(folder)) as kernel:
        yield kernel, folder


def other_database(path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE programs (mine)")
    connection.close()


def another_folder(path) -> None:
    path.unlink()
    path.mkdir()


def damaged(path) -> None:
    """All but its first bytes come from elsewhere, as after a broken copy."""
    content = bytearray(path.read_bytes())
    content[24:44] = bytes(20)  # https://www.sqlite.org/fileformat.html: it has changed
    content[100:] = bytes(reversed(content[100:]))
    path.write_bytes(content)


MOVED = "OperationalError: the database file was deleted, moved or replaced"
NO_TABLE = "OperationalError: the database refused: there is no table with this name"
NO_DATABASE = "DatabaseError: the database file cannot be opened"
DAMAGED = "DatabaseError: the database file is damaged"
# What happens to the file, what the next change says, and what the set-up cell says where it cannot
# make a new one.
FILES = {
    "deleted": (lambda path: path.unlink(), MOVED, None),
    "folder deleted": (lambda path: shutil.rmtree(path.parent), MOVED, None),
    "another database": (
        other_database,
        MOVED,
        "is a database that these lessons did not make, so it is left as it is",
    ),
    "a folder": (
        another_folder,
        MOVED,
        "cannot be written: make the file and its folder",
    ),
    "emptied": (lambda path: os.truncate(path, 0), NO_TABLE, None),
    "a text": (
        lambda path: path.write_text("my diary\n" * 200),
        NO_DATABASE,
        "is not an SQLite database, so it is left as it is",
    ),
    "damaged": (
        damaged,
        DAMAGED,
        "is damaged: delete this file, then run this cell again",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_the_file_is_changed_under_a_kernel(on_files, what):
    kernel, folder = on_files
    change, first, setup = FILES[what]
    path = folder / "05.sqlite"
    begun(kernel)
    change(path)
    said = red_box(kernel.run(ADD))
    assert said.startswith(first) and "what to do: run the cell" in said
    fresh = kernel.run(FRESH)
    if first is not NO_TABLE:  # an empty file is one that can be used
        assert error_of(fresh).ename in ("LessonError", "OperationalError")
        assert re.search(
            r"connect\(\.\.\.\) again|delete this file|move it away", red_box(fresh)
        )
    cell = kernel.run(SETUP)
    try:
        if setup:
            assert f"workspace/05.sqlite {setup}" in red_box(cell)
            assert path.exists(), "what the lessons did not make is left alone"
    finally:
        if setup:
            path.rmdir() if path.is_dir() else path.unlink()
    as_stored(kernel, SETUP, MAPPING, DELETE)


def test_a_locked_file_does_not_lose_the_next_change(on_files):
    """Another program writes for a while: a sentence, and then the same cell works."""
    kernel, folder = on_files
    begun(kernel)
    other = sqlite3.connect(folder / "05.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said = red_box(kernel.run(ADD))
    other.execute("ROLLBACK")
    other.close()
    assert said.startswith(
        "OperationalError: the database is locked: another transaction"
    )
    assert error_of(kernel.run(ADD)) is None
    assert printed(kernel.run(COUNT)).startswith("9")


ORDERS = [("sqlite", "02"), ("sqlite", "05"), ("postgresql", "05"), ("sqlite", "06")]


@pytest.mark.parametrize(("database", "number"), ORDERS, indirect=["database"])
def test_cells_in_another_order(database, number):
    """Backwards and shuffled: what fails says what to do, and from the top all is as stored."""
    cells = list(lesson(number).values())
    shuffled = random.Random(number).sample(cells, len(cells))
    with Kernel() as kernel:
        kernel.run(cells[0])
        for cell in [*reversed(cells), *shuffled]:
            ran = kernel.run(cell)
            if error_of(ran) and "raises-exception" not in str(cell.metadata):
                check_sentence(ran)
        as_stored(kernel, *cells)


def check_sentence(cell) -> None:
    """A name that is not there yet is Python's own error; all others end in what to do."""
    if error_of(cell).ename not in ("NameError", "AttributeError", "TypeError"):
        box = red_box(cell)
        assert "what to do: " in box or box.startswith(error_of(cell).evalue), box


# The kernel gets the interrupt of the button at the n-th thing that it does: a statement that it
# sends, an end of a transaction, or, inside connect(...), a line of its source.
BELL = """
import os as _os, signal as _signal, sys as _sys
from sqlalchemy import Engine as _Engine, event as _event
class _bell:
    seen, rings = 0, None
def _ring(*_):
    _bell.seen += 1
    if _bell.seen == _bell.rings:
        _os.kill(_os.getpid(), _signal.SIGINT)
for _name in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
    _event.listen(_Engine, _name, _ring)
def _line(frame, what, _):
    if what == "line":
        _ring()
    return _line
def _trace(frame, *_):
    if frame.f_code.co_filename.endswith("lesson_support/database.py"):
        return _line
"""
STOPPED = "KeyboardInterrupt: interrupted: the cell stopped before its end"


def seen(kernel: Kernel, cell: dict) -> int:
    """How often the bell could ring while a cell runs."""
    kernel.run("_bell.seen, _bell.rings = 0, None")
    kernel.run(cell)
    return int(printed(kernel.run("print(_bell.seen)")))


def stop_at(kernel: Kernel, place: int, cell: dict) -> bool:
    """Run a cell, interrupt it there, check what it says; False where it does not come there."""
    kernel.run(f"_bell.seen, _bell.rings = 0, {place}")
    ran = kernel.run(cell)
    if int(printed(kernel.run("_bell.rings = None\nprint(_bell.seen)"))) < place:
        return False
    assert error_of(ran), (cell["id"], place)
    assert red_box(ran).startswith(STOPPED), (cell["id"], place)
    return True


def test_interrupt_in_every_cell(database, held):
    """After it the same cell runs as if nothing had happened, and no connection is left."""
    stopped = 0
    with Kernel() as kernel:
        kernel.run(BELL)
        for cell in CELLS.values():
            as_stored(kernel, cell)
            number = seen(kernel, cell)
            places = (
                {1, number // 2, number} if database == "sqlite" else {2, number - 1}
            )
            for place in places if number else ():
                stopped += stop_at(kernel, place, cell)
                wait_until(lambda: not held(), "no connection is left")
                as_stored(kernel, cell)
            if not number:  # a cell that sends nothing
                ran = kernel.run(
                    f"{cell.source}\n_os.kill(_os.getpid(), _signal.SIGINT)"
                )
                assert red_box(ran).startswith(STOPPED), cell.id
                as_stored(kernel, cell)
    assert stopped > 20


def test_interrupt_during_connect(database, held):
    """At every few lines of connect(...): then the set-up cell and the next ones work."""
    traced = "_sys.settrace(_trace)\ntry:\n    connect('05')\nfinally:\n    _sys.settrace(None)"
    cell = {"cell_type": "code", "id": "connect", "metadata": {}, "source": traced}
    stopped = 0
    with Kernel() as kernel:
        begun(kernel)
        kernel.run(BELL)
        number = seen(kernel, cell)
        assert number > 30
        for place in range(1, number + 1, 5):
            stopped += stop_at(kernel, place, cell)
            wait_until(lambda: not held(), "no connection is left")
            as_stored(kernel, SETUP)
        as_stored(kernel, MAPPING, DELETE)
    assert stopped > 10
