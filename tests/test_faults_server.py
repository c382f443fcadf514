"""PostgreSQL goes wrong while a kernel runs a lesson: what the learner reads, and what works then."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest
from faults import (
    CELLS,
    COUNT,
    DELETE,
    FRESH,
    MANY,
    MAPPING,
    SETUP,
    Kernel,
    Others,
    Proxy,
    Server,
    as_stored,
    black_hole,
    error_of,
    filled,
    folder_for_all,
    printed,
    red_box,
    server_programs,
    small_disk,
    wait_until,
)
from sqlalchemy import make_url

from lesson_support.commands import PROJECT, classroom
from lesson_support.database import reset

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

# An address of the loopback that no other run of the tests uses.
FAR = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
# A change that is on its way when something happens.
HALF = """
from sqlalchemy import text
session = Session(engine)
session.add(Program(name="Half"))
session.flush()
print("now", flush=True)
"""
WAITING = HALF + 'session.execute(text("SELECT pg_sleep(60)"))'
BACK = f"session.rollback()\nsession.close()\n{COUNT}"
CLOSED = "OperationalError: the connection to the database was closed"


@pytest.fixture(scope="module")
def server():
    server_programs()
    linux = sys.platform.startswith("linux")  # elsewhere the loopback has one address
    hosts = f"127.0.0.1,{FAR}" if linux else "127.0.0.1"
    with folder_for_all() as home:
        server = Server(home, listen_addresses=hosts)
        try:
            server.others = Others(server.url)
            yield server
            server.others.check()
        finally:
            server.stop()


@pytest.fixture(scope="module")
def learner(server) -> str:
    """The URL of a learner's role, as `classroom add` makes them."""
    return role(server, f"learner_{uuid.uuid4().hex[:8]}")


def role(server: Server, name: str) -> str:
    server.ask(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret' CONNECTION LIMIT 12;"
        f"COMMENT ON ROLE {name} IS '{classroom.MARK}{name.removeprefix('learner_')}';"
        f"GRANT CREATE ON DATABASE postgres TO {name}"
    )
    url = make_url(server.url).set(username=name, password="secret")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def one_kernel(learner):
    with Kernel(
        LESSONS_DATABASE_URL=learner, LESSONS_LEARNER="", JUPYTERHUB_USER=""
    ) as kernel:
        yield kernel


@pytest.fixture
def kernel(server, one_kernel, learner):
    """A kernel in lesson 05 with 8 programs; at the end the next cells work, and nothing is held."""
    lead(one_kernel, learner)
    yield one_kernel
    as_stored(one_kernel, SETUP, MAPPING, DELETE)
    wait_until(lambda: not server.held(), "no connection is left")


def lead(kernel: Kernel, url: str) -> None:
    """Begin the lesson on that server, with the rows of data/."""
    kernel.run(f"import os\nos.environ['LESSONS_DATABASE_URL'] = {str(url)!r}")
    for cell in (SETUP, MAPPING, FRESH):
        assert error_of(kernel.run(cell)) is None


@pytest.fixture
def way(server, kernel, learner):
    """A network between the kernel and the server, for as long as the test runs."""
    with Proxy(server.port) as way:
        through = make_url(learner).set(port=way.port)
        lead(kernel, through.render_as_string(hide_password=False))
        yield way
    lead(kernel, learner)


WHO = """
def who():
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
"""


def test_a_cell_has_one_connection_and_leaves_none(server, kernel):
    """Several at once where it asks for several; what a cell left in a transaction is closed later."""
    kernel.run(WHO)

    def none_is_held() -> None:
        wait_until(lambda: not server.held(), "no connection is left")

    first = printed(kernel.run("print(len({who() for _ in range(5)}), who())"))
    none_is_held()
    second = printed(kernel.run("print(len({who() for _ in range(5)}), who())"))
    none_is_held()
    assert first.startswith("1 ") and second.startswith("1 ") and first != second
    both = "with engine.connect() as one:\n    print(one.closed, len({who(), who()}))"
    assert printed(kernel.run(f"{both}\n    one.exec_driver_sql('SELECT 1')")) == (
        "False 1"
    )
    none_is_held()
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lesson_%%'"
    )
    two = (
        "with engine.connect() as one, engine.connect() as two:\n"
        "    print(one.connection.info is two.connection.info)\n"
        "import time\n"
        "until = time.monotonic() + 30  # the server notices a closed one a moment later\n"
        "while time.monotonic() < until:\n"
        "    with engine.connect() as one:  # each transaction looks once\n"
        f'        if (held := one.exec_driver_sql("{count}").scalar()) == 1:\n'
        "            break\n"
        "print(held)"
    )
    assert printed(kernel.run(two)).split() == ["False", "1"], "one of the two was kept"
    kernel.run("session = Session(engine)\nsession.connection()\nwho()")
    wait_until(lambda: len(server.held()) == 1, "only that of the open Session is left")
    assert printed(kernel.run("session.rollback()\nprint(len({who(), who()}))")) == "1"
    none_is_held()


def test_a_connection_in_a_failed_transaction_is_not_used_again(server, kernel):
    kernel.run(WHO)
    fails = (
        "raw = engine.raw_connection()\n"
        "before = raw.dbapi_connection.info.backend_pid\n"
        "try:\n    raw.dbapi_connection.execute('SELECT 1/0')\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "raw.close()\n"
        "print(who() != before)"
    )
    assert printed(kernel.run(fails)).split() == ["DivisionByZero", "True"]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_server_ends_between_two_cells(server, kernel, end):
    getattr(server, end)()
    try:
        said = red_box(kernel.run(COUNT))
        again = red_box(kernel.run(SETUP))
    finally:
        server.start()
    assert said.startswith(
        "OperationalError: No PostgreSQL server answers at its address: start it or"
    )
    assert again.startswith("No PostgreSQL server answers at 127.0.0.1:")
    assert printed(kernel.run(COUNT)).startswith("8")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_server_ends_in_the_middle_of_a_cell(server, kernel, end):
    cell = kernel.begin(WAITING, until="now")
    getattr(server, end)()
    try:
        said = red_box(kernel.finish(cell))
    finally:
        server.start()
    assert said.startswith(CLOSED)
    assert (
        "run session.rollback() if a Session is open, then run this cell again" in said
    )
    assert printed(kernel.run(BACK)).startswith("8"), (
        "the half is gone, the rest is there"
    )


def test_the_server_starts_again_under_an_open_session(server, kernel):
    assert printed(kernel.run(HALF)).startswith("now")
    server.kill()
    server.start()
    assert red_box(kernel.run("session.scalars(select(Program)).all()")).startswith(
        CLOSED
    )
    again = red_box(kernel.run("session.scalars(select(Program)).all()"))
    assert again.startswith("PendingRollbackError: ")
    assert "run session.rollback(), then go on" in again
    assert printed(kernel.run(BACK)).startswith("8")


@pytest.mark.parametrize("running", [True, False])
def test_the_administrator_cuts_the_connection(server, kernel, running):
    cell = kernel.begin(WAITING if running else HALF, until="now")
    if not running:
        kernel.finish(cell)
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'lesson%'"
    )
    cell = kernel.finish(cell) if running else kernel.run("session.commit()")
    assert red_box(cell).startswith(CLOSED)
    assert printed(kernel.run(BACK)).startswith("8")


def test_the_network_is_mute_before_a_cell(kernel, way):
    way.mute()
    try:
        said = red_box(kernel.run(COUNT))
    finally:
        way.speak()
    assert said.startswith(
        "OperationalError: PostgreSQL at its address does not answer: check the network"
    )
    assert printed(kernel.run(COUNT)).startswith("8")


def test_the_server_ends_behind_a_tunnel(server, kernel, way):
    server.kill()
    try:
        said = red_box(kernel.run(COUNT))
    finally:
        server.start()
    assert (
        "The connection to PostgreSQL at its address was closed at once: wait" in said
    )
    assert printed(kernel.run(COUNT)).startswith("8")


def test_the_network_falls_mute_in_the_middle_of_a_cell(server, kernel, way):
    """Nothing tells that from a slow query: the learner interrupts, a second time to be quick."""
    cell = kernel.begin(WAITING, until="now")
    wait_until(lambda: "pg_sleep" in str(server.held()), "the server works")
    way.mute()
    try:
        kernel.interrupt()
        time.sleep(0.5)
        kernel.interrupt()
        said = red_box(kernel.finish(cell))
    finally:
        way.speak()
    assert said.startswith(
        "KeyboardInterrupt: interrupted: the cell stopped before its end"
    )
    assert printed(kernel.run(BACK)).startswith("8")


QUICK = """
from lesson_support import database
times = {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 2}
database._PATIENCE |= times | {"tcp_user_timeout": 3000}
times = {f"tcp_{name}": seconds for name, seconds in times.items()}
database._PATIENCE_OF_THE_SERVER |= times | {"tcp_user_timeout": 3000}
"""


def test_the_network_is_lost_in_a_transaction(server, kernel, learner):
    """Both ends notice by themselves; here in 3 seconds in the place of 20."""
    kernel.run(QUICK)
    far = make_url(learner).set(host=FAR)
    lead(kernel, far.render_as_string(hide_password=False))
    cell = kernel.begin(WAITING.replace("60", "2"), until="now")
    with black_hole(FAR):
        assert red_box(kernel.finish(cell)).startswith(CLOSED)
        assert "No connection to PostgreSQL at" in red_box(kernel.run(COUNT))
        wait_until(lambda: not server.held(), "the server lets go of it")
    assert printed(kernel.run(BACK)).startswith("8")
    lead(kernel, learner)


def test_others_have_all_the_connections(server, kernel):
    others = []
    try:
        with pytest.raises(psycopg.OperationalError):
            while True:
                others.append(psycopg.connect(server.url))
        said = red_box(kernel.run(COUNT))
        again = red_box(kernel.run(SETUP))
    finally:
        for other in others:
            other.close()
    assert said.startswith(
        "OperationalError: The server has no free connection: shut down"
    )
    assert again.startswith(
        "The server has no free connection: shut down the notebooks"
    )
    assert len(others) > 50
    assert printed(kernel.run(COUNT)).startswith("8")


@pytest.mark.parametrize(
    "change", ["PASSWORD 'another'", "NOLOGIN", "VALID UNTIL '2020-01-01'"]
)
def test_the_role_is_locked_out(server, kernel, learner, change):
    name = make_url(learner).username
    server.ask(f"ALTER ROLE {name} {change}")
    try:
        said = red_box(kernel.run(COUNT))
        again = red_box(kernel.run(SETUP))
    finally:
        server.ask(f"ALTER ROLE {name} LOGIN PASSWORD 'secret' VALID UNTIL 'infinity'")
    words = "The server refused the password for the user"
    assert said.startswith(f"OperationalError: {words} of this address: correct both")
    assert again.startswith(f"{words} {name}: correct both")
    assert printed(kernel.run(COUNT)).startswith("8")


def test_the_schema_is_dropped_under_a_lesson(server, kernel):
    (schema,) = (
        name
        for (name,) in server.ask("SELECT nspname FROM pg_namespace")
        if name.endswith("_05") or "_05_" in name
    )
    server.ask(f'DROP SCHEMA "{schema}" CASCADE')
    assert "there is no table with this name" in red_box(kernel.run(COUNT))
    said = red_box(kernel.run(FRESH))
    assert said.endswith("nothing was changed: run the cell with connect(...) again.")


def test_the_database_is_read_only_for_a_while(server, kernel, learner):
    name = make_url(learner).username
    server.ask(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    try:
        said = red_box(kernel.run(FRESH))
        again = red_box(kernel.run(SETUP))
    finally:
        server.ask(f"ALTER ROLE {name} RESET default_transaction_read_only")
    assert "Error: the database is read-only: nothing can be written" in said
    assert "is read-only: name the primary server" in again
    assert printed(kernel.run(COUNT)).startswith("8")


def test_tables_of_others_are_left_alone(server, kernel, learner, monkeypatch):
    """Tables named programs, courses, users and posts in `public`, where everybody may write."""
    monkeypatch.setenv("LESSONS_LEARNER", "")
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for url in (learner, server.url):
        lead(kernel, url)
        as_stored(kernel, *CELLS.values())
        monkeypatch.setenv("LESSONS_DATABASE_URL", url)
        assert reset()
        server.others.check()
    lead(kernel, learner)


def test_removed_from_the_class_in_the_middle_of_a_cell(
    server, kernel, learner, monkeypatch
):
    name = f"gone{uuid.uuid4().hex[:6]}"
    lead(kernel, role(server, f"learner_{name}"))
    cell = kernel.begin(WAITING, until="now")
    monkeypatch.setenv("LESSONS_DATABASE_URL", server.url)
    assert classroom.main(["remove", "--yes", name]) == 0
    assert red_box(kernel.finish(cell)).startswith(CLOSED)
    said = red_box(kernel.run(SETUP))
    assert f"refused the password for the user learner_{name}: correct both" in said
    server.others.check()
    left = "SELECT FROM pg_roles WHERE rolname = %s"
    assert server.ask(left, f"learner_{name}") == []
    lead(kernel, learner)


def test_a_killed_classroom_add_loses_nobody(server, tmp_path, monkeypatch):
    """Run again after SIGKILL, it gives everybody a URL that works: the last line of a name."""
    names = [f"k{n}{uuid.uuid4().hex[:6]}" for n in range(40)]
    table, output = tmp_path / "names.csv", tmp_path / "urls.csv"
    table.write_text("name\n" + "\n".join(names))
    command = [sys.executable, "-m", "lesson_support", "classroom"]
    words = ["add", str(table), "--output", str(output)]
    monkeypatch.setenv("LESSONS_DATABASE_URL", server.url)
    adding = subprocess.Popen(
        [*command, *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    for _ in range(5):
        assert adding.stdout.readline().startswith("made:")
    adding.send_signal(signal.SIGKILL)
    adding.communicate()
    (before,) = server.ask(
        "SELECT count(*) FROM pg_roles WHERE rolname ~ '^learner_k'"
    )[0]
    assert 5 <= before < 40
    try:
        assert classroom.main(words) == 0
        with output.open(encoding="utf-8", newline="") as file:
            urls = {row["name"]: row["url"] for row in csv.DictReader(file)}
        assert set(urls) == set(names)
        for url in urls.values():
            psycopg.connect(url).close()
    finally:
        classroom.main(["remove", "--yes", *names])


JOURNAL = (
    "from sqlalchemy import text\n"
    "with engine.connect() as connection:\n"
    "    for _ in range(200):\n"
    "        connection.execute(text(\"SELECT pg_logical_emit_message(true, '', repeat('x', 999999))\"))"
)


def test_the_disk_of_the_server_is_full(one_kernel):
    """First no table can grow; then PostgreSQL cannot even write its journal, and stops."""
    server_programs()
    full = "OperationalError: the disk of the database is full"
    with small_disk("120m") as home:
        server = Server(home, max_wal_size="32MB", min_wal_size="32MB")
        try:
            lead(one_kernel, server.url)
            with filled(home):
                said = red_box(one_kernel.run(MANY))
                assert said.startswith(full) and "or ask the server's owner to" in said
                assert printed(one_kernel.run(COUNT)).startswith("8"), "it reads"
                assert red_box(one_kernel.run(FRESH)).startswith(full)
                assert printed(one_kernel.run(COUNT)).startswith("8"), "nothing is lost"
            assert error_of(one_kernel.run(MANY)) is None, "with some space it works"
            one_kernel.run(FRESH)
            with filled(home):
                said = red_box(one_kernel.run(JOURNAL))
                assert said.startswith((full, CLOSED))
                wait_until(lambda: "is shut down" in server.log(), "the server gave up")
                assert "No PostgreSQL server answers" in red_box(one_kernel.run(COUNT))
            server.start()
            assert printed(one_kernel.run(COUNT)).startswith("8"), "nothing is lost"
            as_stored(one_kernel, SETUP, MAPPING, DELETE)
        finally:
            server.stop()
