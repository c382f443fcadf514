"""What `connect` gives, what it leaves alone, and the sentence for each thing that goes wrong.

Every failure here is a real one, on a real file or server.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import Proxy
from sqlalchemy import (
    URL,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    create_engine,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.orm import Session

from lesson_support import LessonError
from lesson_support import database as module
from lesson_support.database import (
    check_server,
    connect,
    describe,
    private_engine,
    reset,
)

metadata = MetaData()
programs = Table("programs", metadata, Column("id", Integer, primary_key=True))
courses = Table(
    "courses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("program_id", ForeignKey("programs.id"), nullable=False),
)
SECRET = "Pa55-w0rd"


def sentence(call=lambda: connect("01")) -> str:
    """Return the sentence of the LessonError, after checking what holds for all of them."""
    with pytest.raises(LessonError) as caught:
        call()
    said = str(caught.value)
    assert said.endswith(".") and said.count(". ") == 0 and "\n" not in said, said
    for secret in (SECRET, "w0rd", "Pa55", tempfile.gettempdir() + os.sep, "://u"):
        assert secret not in said
    server = os.environ.get("LESSONS_DATABASE_URL", "")
    assert len(server) < 16 or server not in said
    return said


def rows(engine, table=programs) -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(table)).all())


def started(code: str) -> subprocess.Popen:
    """Start another Python, as another notebook would be, and wait until it has said "ready"."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


OTHER_NOTEBOOK = """
import time
from sqlalchemy import text
from lesson_support.database import connect
engine = connect("01", fresh=False)
connection = engine.connect()
connection.execute(text("INSERT INTO programs VALUES (2)"))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def elsewhere(monkeypatch):
    """Set the URL that the test is about."""
    return lambda url: monkeypatch.setenv("LESSONS_DATABASE_URL", url)


# ---- what a workspace is


def test_a_workspace_is_empty_and_enforces_foreign_keys(database):
    engine = connect("01")
    assert inspect(engine).get_table_names() == []
    metadata.create_all(engine)
    with (
        engine.connect() as connection,
        pytest.raises(Exception, match="(?i)foreign key"),
    ):
        connection.execute(courses.insert().values(id=1, program_id=99))
    assert (
        describe(engine) == {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database]
    )


def test_fresh_empties_and_not_fresh_keeps(database):
    engine = connect("01")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(programs.insert().values(id=1))
        connection.execute(text("CREATE VIEW a_view AS SELECT id FROM programs"))
    assert rows(connect("01", fresh=False)) == 1
    assert rows(connect("01", fresh=False)) == 1
    again = connect("01")
    assert inspect(again).get_table_names() == [] == inspect(again).get_view_names()


def test_two_lessons_do_not_see_each_other(database):
    first = connect("01")
    metadata.create_all(first)
    second = connect("02")
    assert inspect(second).get_table_names() == []
    metadata.drop_all(second)
    assert rows(first) == 0


def test_a_set_up_cell_runs_again_over_an_open_session(database, caplog):
    engine = connect("01")
    metadata.create_all(engine)
    session = Session(engine)
    session.execute(programs.insert().values(id=1))
    raw = engine.raw_connection()
    raw.cursor().execute("SELECT 1")
    begin = time.monotonic()
    engine = connect("01")
    assert time.monotonic() - begin < 2
    metadata.create_all(engine)
    assert rows(engine) == 0
    session.rollback()
    assert session.execute(select(programs)).all() == []
    session.close()
    assert caplog.records == []


def test_a_second_connection_does_not_disturb_an_open_session(database):
    engine = connect("01")
    metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(programs.insert().values(id=1))
        assert rows(engine) == 0
        session.commit()
    assert rows(engine) == 1


def test_a_killed_kernel_leaves_nothing_half_done(database):
    engine = connect("01")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(programs.insert().values(id=1))
    process = started(OTHER_NOTEBOOK)
    process.kill()
    process.wait()
    assert rows(connect("01", fresh=False)) == 1
    begin = time.monotonic()
    assert inspect(connect("01")).get_table_names() == []
    assert time.monotonic() - begin < 2


def test_a_private_engine_is_empty_and_gone_afterwards(database):
    mine = connect("01")
    with private_engine() as engine, private_engine() as other:
        metadata.create_all(engine)
        with Session(engine) as session:
            session.execute(programs.insert().values(id=1))
            assert (
                inspect(other).get_table_names()
                == []
                == inspect(mine).get_table_names()
            )
            session.commit()
        assert rows(engine) == 1
        left_open = engine.connect()
        left_open.execute(programs.insert().values(id=2))
        url = engine.url
    if database == "sqlite":
        assert not Path(url.database).exists()
    else:
        reset()
    assert reset() == ([] if database == "postgresql" else ["workspace/01.sqlite"])


def test_a_private_engine_goes_when_its_block_fails(database):
    with pytest.raises(ZeroDivisionError), private_engine():
        raise ZeroDivisionError
    assert reset() == []


def test_reset_says_what_it_removed(database):
    connect("01")
    connect("05")
    removed = reset()
    if database == "sqlite":
        assert removed == ["workspace/01.sqlite", "workspace/05.sqlite"]
    else:
        assert [name[-3:] for name in removed] == ["_01", "_05"]
        assert all(name.startswith("schema lesson_") for name in removed)
    assert reset() == []


def test_the_doctor_gets_a_sentence(database):
    said = check_server()
    assert said.startswith("SQLite 3." if database == "sqlite" else "PostgreSQL 1")
    assert reset() == []


def test_a_plain_database_url_is_never_read(workspace, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://real:thing@production/school")
    assert describe(connect("01")) == "SQLite"


@pytest.mark.parametrize("lesson", ["", "Lesson 1", "../01", "0" * 21, 1, None, "01\n"])
def test_a_name_that_is_no_lesson(workspace, lesson):
    assert 'such as connect("01")' in sentence(lambda: connect(lesson))
    assert not workspace.exists()


def test_nothing_heavy_is_imported():
    code = (
        "import sys, lesson_support.database;"
        "print([m for m in ('pandas', 'IPython', 'psycopg', 'jupyter_client') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"


# ---- SQLite


def test_the_default_folder_is_the_projects(workspace, monkeypatch):
    monkeypatch.delenv("LESSONS_WORKSPACE")
    assert (
        module._file("01")
        == Path(module.__file__).parents[1] / "workspace" / "01.sqlite"
    )
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert module._file("01").name == "01.gw1.sqlite"


def test_the_engine_shows_no_path_of_this_machine(workspace, monkeypatch):
    (workspace.parent / "notebooks").mkdir()
    monkeypatch.chdir(workspace.parent / "notebooks")
    shown = repr(connect("01"))
    assert (
        shown.replace("\\\\", "/").replace("\\", "/")
        == "Engine(sqlite:///../workspace/01.sqlite)"
    )


def test_the_file_of_an_odd_folder(workspace, monkeypatch):
    monkeypatch.setenv("LESSONS_WORKSPACE", str(workspace / "my lessons #1 %41 ü"))
    metadata.create_all(connect("01"))
    assert rows(connect("01", fresh=False)) == 0


def test_virtual_tables_triggers_and_odd_names_go_too(workspace):
    connect("01")
    with sqlite3.connect(workspace / "01.sqlite") as connection:
        connection.executescript(
            'CREATE TABLE "a ""b" (id INTEGER PRIMARY KEY AUTOINCREMENT);'
            "CREATE VIRTUAL TABLE words USING fts5(word);"
            'CREATE TRIGGER t AFTER INSERT ON "a ""b" BEGIN SELECT 1; END;'
            "CREATE TABLE child (id REFERENCES parent); CREATE TABLE parent (id PRIMARY KEY);"
        )
    connection.close()
    engine = connect("01")
    with engine.connect() as connection:
        found = (
            connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
        )
    assert found in ([], ["sqlite_sequence"])


def test_a_file_that_is_no_database_is_left_alone(workspace):
    workspace.mkdir()
    (workspace / "01.sqlite").write_text("my diary\n" * 200)
    assert sentence() == (
        "workspace/01.sqlite is not an SQLite database, so it is left as it is: move it away, or "
        "set LESSONS_WORKSPACE to another folder."
    )
    assert (workspace / "01.sqlite").read_text() == "my diary\n" * 200
    assert reset() == []


@pytest.mark.parametrize("mark", [0, 1])
def test_a_database_of_somebody_else_is_left_alone(workspace, mark):
    workspace.mkdir()
    connection = sqlite3.connect(workspace / "01.sqlite")
    connection.executescript(
        f"PRAGMA application_id={mark}; CREATE TABLE programs(id); INSERT INTO programs VALUES (7);"
    )
    for fresh in (True, False):
        said = sentence(lambda fresh=fresh: connect("01", fresh=fresh))
        assert said.startswith(
            "workspace/01.sqlite is a database that these lessons did not make"
        )
    assert reset() == []
    assert connection.execute("SELECT id FROM programs").fetchall() == [(7,)]
    connection.close()


def test_a_database_locked_by_another_notebook(workspace):
    metadata.create_all(connect("01"))
    process = started(OTHER_NOTEBOOK)
    try:
        begin = time.monotonic()
        assert sentence() == (
            "workspace/01.sqlite is locked: another notebook has written to it and not committed; "
            "commit or roll back there, or restart its kernel, then run this cell again."
        )
        assert time.monotonic() - begin < 4
    finally:
        process.kill()
        process.wait()
    assert rows(connect("01", fresh=False)) == 0


def test_a_folder_that_cannot_be_made(workspace, monkeypatch):
    workspace.write_text("a file where the folder should be")
    assert sentence().startswith(
        "workspace/01.sqlite cannot be written: make the file and its"
    )
    monkeypatch.setenv("LESSONS_WORKSPACE", str(workspace / "deeper"))
    assert sentence().startswith("deeper/01.sqlite cannot be written")


def said_without_rights() -> str:
    """Call connect as somebody who is not root: root may write everywhere."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            connect("01")
            said = "it worked"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="rights work differently here")
@pytest.mark.parametrize("what", ["file", "folder", "hidden"])
def test_a_read_only_file_or_folder(workspace, monkeypatch, what):
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    folder = top / "workspace"
    monkeypatch.setenv("LESSONS_WORKSPACE", str(folder))
    try:
        metadata.create_all(connect("01"))
        file_mode, folder_mode = {
            "file": (0o444, 0o777),
            "folder": (0o666, 0o555),
            "hidden": (0o666, 0o000),
        }[what]
        (folder / "01.sqlite").chmod(file_mode)
        folder.chmod(folder_mode)
        assert said_without_rights() == (
            "LessonError: workspace/01.sqlite cannot be written: make the file and its folder "
            "writable, or set LESSONS_WORKSPACE to a folder of your own."
        )
    finally:
        folder.chmod(0o755)
        shutil.rmtree(top)


# ---- LESSONS_DATABASE_URL


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            f"mysql://ada:{SECRET}@h/d",
            "must be postgresql:// followed by user:password@host",
        ),
        (f"ada {SECRET}", "must be postgresql:// followed by"),
        (f"{SECRET}://", "must be postgresql:// followed by"),
        (
            f"sqlite:///{SECRET}.sqlite",
            "unset it to use SQLite (LESSONS_WORKSPACE moves",
        ),
        (
            f"postgresql://ada:{SECRET}@h:port/d",
            "port in LESSONS_DATABASE_URL is no number",
        ),
        (f"postgresql://ada:{SECRET}@127.0.0.1:99999/d", "is no port"),
        (
            f"postgresql+psycopg2://ada:{SECRET}@h/d",
            "write postgresql+psycopg:// or just",
        ),
        (
            f"postgresql+psycopg3://ada:{SECRET}@h/d",
            "write postgresql+psycopg:// or just",
        ),
        (
            f"postgresql+asyncpg://ada:{SECRET}@h/d",
            "write postgresql+psycopg:// or just",
        ),
        ("postgresql://ada:x@w0rd@127.0.0.1/d", "write %40 for @"),
        ("postgresql://ada:x@w0rd/y@127.0.0.1/d", "write %40 for @"),
        ("postgresql://ada:x@w0rd:y@127.0.0.1/d", "%40 for @"),
        ("postgresql://ada:x@w0rd?y@127.0.0.1/d", "write %40 for @"),
        (
            f"postgresql://ada:{SECRET}@db.invalid/d",
            "The host name db.invalid is unknown",
        ),
        (f"postgresql://ada:{SECRET}@{'x' * 70}/d", "is unknown"),
        (
            f"postgresql://ada:{SECRET}@127.0.0.1:1/d",
            "server answers at 127.0.0.1:1: start it",
        ),
        (f"postgresql://ada:{SECRET}@[::1]:1/d", "server answers at [::1]:1: start it"),
    ],
)
def test_a_url_that_cannot_work(workspace, elsewhere, url, words):
    elsewhere(url)
    for call in (lambda: connect("01"), check_server, reset):
        assert words in sentence(call)
    assert not workspace.exists(), "SQLite was used where PostgreSQL was asked for"


def test_a_wrong_url_has_no_password_in_its_traceback(workspace, elsewhere):
    elsewhere("postgresql://ada:x@w0rd:y@127.0.0.1/d")
    with pytest.raises(LessonError) as caught:
        connect("01")
    assert caught.value.__context__ is None


def test_an_empty_url_means_sqlite(workspace, elsewhere):
    elsewhere("  ")
    assert describe(connect("01")) == "SQLite"


@contextmanager
def listening(reply: bytes | None):
    """Listen, and answer with `reply`, or never where it is None."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            if reply is not None:
                connection.recv(100)
                connection.sendall(reply)
                connection.close()

    if reply is not None:
        threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def test_a_mute_server(workspace, elsewhere):
    with listening(None) as port:
        elsewhere(f"postgresql://ada:{SECRET}@127.0.0.1:{port}/d")
        begin = time.monotonic()
        assert sentence().startswith(
            f"PostgreSQL at 127.0.0.1:{port} does not answer: check the network"
        )
        assert 4 < time.monotonic() - begin < 7


def test_a_server_that_is_no_postgresql(workspace, elsewhere):
    with listening(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        elsewhere(f"postgresql://ada:{SECRET}@127.0.0.1:{port}/d")
        assert f"What answers at 127.0.0.1:{port} is no PostgreSQL server" in sentence()


def test_a_missing_driver(workspace, elsewhere, monkeypatch):
    elsewhere(f"postgresql://ada:{SECRET}@127.0.0.1:1/d")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert 'pip install "psycopg[binary]"' in sentence()


# ---- a real PostgreSQL server


@pytest.fixture
def server(workspace, postgres_url):
    """An engine of the superuser, on a database of its own that is dropped at the end."""
    name = f"school_{uuid.uuid4().hex[:8]}"
    outside = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(
        make_url(postgres_url).set(database=name), isolation_level="AUTOCOMMIT"
    )
    try:
        yield engine
    finally:
        engine.dispose()
        with outside.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            left = text("SELECT rolname FROM pg_roles WHERE rolname LIKE :name")
            for role in connection.execute(left, {"name": f"{name}%"}).scalars().all():
                connection.execute(text(f"DROP ROLE {role}"))
        outside.dispose()


def run(engine, *statements: str) -> list:
    with engine.connect() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
        return result.all() if result.returns_rows else []


@pytest.fixture
def ordinary(server, elsewhere):
    """Make an ordinary role and let the lessons use it: `ordinary(sql..., password=...)`."""
    name = f"{server.url.database}_ada"

    def make(
        *statements: str, user: str = name, password: str | None = SECRET, **query
    ) -> URL:
        run(server, f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
        for statement in statements:
            run(server, statement.format(role=name, database=server.url.database))
        url = URL.create(
            "postgresql",
            user,
            password,
            server.url.host,
            server.url.port,
            server.url.database,
            query=query,
        )
        elsewhere(url.render_as_string(hide_password=False))
        return url

    return make


GRANT = "GRANT CREATE ON DATABASE {database} TO {role}"


def test_an_ordinary_role_works(ordinary):
    ordinary(GRANT)
    engine = connect("01")
    metadata.create_all(engine)
    assert rows(engine) == 0
    assert rows(connect("01", fresh=False)) == 0
    assert SECRET not in repr(engine)
    assert "schema of your own" in check_server()
    with private_engine() as private:
        metadata.create_all(private)
    assert len(reset()) == 1


def test_both_short_names_of_the_scheme_work(ordinary, elsewhere):
    url = ordinary(GRANT)
    for scheme in ("postgres", "postgresql+psycopg"):
        elsewhere(
            url.render_as_string(hide_password=False).replace("postgresql", scheme, 1)
        )
        assert connect("01").driver == "psycopg"


def test_a_password_after_the_question_mark_is_not_shown(ordinary, elsewhere):
    url = ordinary(GRANT).set(password="").update_query_dict({"password": SECRET})
    elsewhere(url.render_as_string(hide_password=False))
    engine = connect("01")
    metadata.create_all(engine)
    assert rows(engine) == 0 and SECRET not in repr(engine)


def test_no_right_to_make_a_schema(ordinary):
    url = ordinary()
    assert sentence() == (
        f"The user {url.username} may not make a schema in the database {url.database}: ask its owner "
        f"for GRANT CREATE ON DATABASE {url.database} TO {url.username}."
    )


def test_no_right_to_connect(ordinary):
    url = ordinary("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    assert (
        f"The user {url.username} may not use the database {url.database}" in sentence()
    )


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"user": "nobody_here"}])
def test_a_wrong_password_or_user(ordinary, wrong):
    url = ordinary(GRANT, **wrong)
    said = sentence()
    assert said.startswith(
        f"The server refused the password for the user {url.username}:"
    )
    assert "%40 %3A %2F" in said and "wrong" not in said


def test_no_password(ordinary, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    ordinary(GRANT, password=None)
    assert sentence().startswith(
        "LESSONS_DATABASE_URL has no password, and the server wants one"
    )


def test_an_unknown_database(server, elsewhere):
    url = server.url.set(database="no_such_school")
    elsewhere(url.render_as_string(hide_password=False))
    assert sentence().startswith(
        "The server has no database named no_such_school: correct"
    )


def test_a_read_only_server(ordinary):
    ordinary(GRANT, "ALTER ROLE {role} SET default_transaction_read_only = on")
    assert "is read-only: name the primary server" in sentence()


def test_too_many_connections(ordinary):
    ordinary(GRANT, "ALTER ROLE {role} CONNECTION LIMIT 0")
    assert sentence().startswith(
        "The server has no free connection: shut down the notebooks"
    )


def test_ssl_where_the_server_has_none(ordinary):
    ordinary(GRANT, sslmode="require")
    assert sentence().startswith(
        "The server has no encrypted connections: take sslmode out"
    )


@pytest.mark.parametrize("query", [{"sslmode": "perhaps"}, {"nonsense": SECRET}])
def test_an_unknown_setting(ordinary, query):
    ordinary(GRANT, **query)
    assert "has a setting after its ? that PostgreSQL does not know" in sentence()


def test_a_table_that_was_there_is_never_touched(server, ordinary):
    run(
        server,
        "CREATE TABLE public.programs (id int)",
        "INSERT INTO public.programs VALUES (7)",
    )
    ordinary(GRANT, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    engine = connect("01")
    assert inspect(engine).get_table_names() == []
    metadata.create_all(engine)
    assert rows(engine) == 0
    metadata.drop_all(engine)
    with private_engine() as private:
        metadata.create_all(private)
    connect("01")
    assert len(reset()) == 1
    assert run(server, "SELECT id FROM public.programs") == [(7,)]


@pytest.mark.parametrize(
    "comment", ["NULL", "'made by lesson_support for eve; safe to drop'"]
)
def test_a_schema_of_somebody_else_is_refused(server, ordinary, comment):
    ordinary(GRANT)
    schema = module._schema("01")
    run(
        server,
        f'CREATE SCHEMA "{schema}"',
        f'COMMENT ON SCHEMA "{schema}" IS {comment}',
        f'CREATE TABLE "{schema}".diary (id int)',
    )
    for fresh in (True, False):
        assert sentence(lambda fresh=fresh: connect("01", fresh=fresh)) == (
            f"The schema {schema} is there and these lessons did not make it for you, so it is "
            "left as it is: set LESSONS_LEARNER to another name."
        )
    assert reset() == []
    assert run(server, f'SELECT * FROM "{schema}".diary') == []


def test_a_marked_schema_of_another_role_is_refused(server, ordinary):
    ordinary(GRANT)
    schema, mark = module._schema("01"), module._mark()
    run(
        server,
        f'CREATE SCHEMA "{schema}"',
        f"COMMENT ON SCHEMA \"{schema}\" IS '{mark}'",
    )
    assert sentence().startswith(f"The schema {schema} is there")
    assert reset() == []


def test_two_learners_do_not_see_each_other(postgresql, monkeypatch):
    ada = os.environ["LESSONS_LEARNER"]
    first = connect("01")
    metadata.create_all(first)
    monkeypatch.setenv("LESSONS_LEARNER", ada + "'s friend")
    assert inspect(connect("01")).get_table_names() == []
    assert len(reset()) == 1
    monkeypatch.setenv("LESSONS_LEARNER", ada)
    assert rows(first) == 0


def test_a_forgotten_transaction_of_another_kernel_does_not_block(postgresql):
    metadata.create_all(connect("01"))
    process = started(OTHER_NOTEBOOK)
    try:
        begin = time.monotonic()
        assert inspect(connect("01")).get_table_names() == []
        assert time.monotonic() - begin < 2
    finally:
        process.kill()
        process.wait()


def test_a_session_whose_connection_was_ended_is_quiet(postgresql, caplog):
    engine = connect("01")
    session = Session(engine)
    session.execute(text("SELECT 1"))
    code = "from lesson_support import connect; connect('01')"
    subprocess.run([sys.executable, "-c", code], check=True)
    del session
    gc.collect()
    assert caplog.records == []
    assert inspect(engine).get_table_names() == []


def test_a_transaction_of_another_program_is_named(server, ordinary):
    ordinary(GRANT)
    metadata.create_all(connect("01"))
    schema = module._schema("01")
    with create_engine(server.url).connect() as connection:
        connection.execute(text(f'SELECT * FROM "{schema}".programs'))
        assert sentence() == (
            f"Another program has an open transaction on the tables in {schema}: commit or roll "
            "back there, then run this cell again."
        )
    assert rows(connect("01", fresh=False)) == 0


def test_every_connection_has_the_settings(postgresql):
    engine = connect("01")
    names = ("search_path", "lock_timeout", "application_name", "TimeZone")
    with engine.connect() as connection:
        values = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
        isolation = connection.get_isolation_level()
    schema = module._schema("01")
    assert values == [schema, "5s", schema, "UTC"] or values == [
        f'"{schema}"',
        "5s",
        schema,
        "UTC",
    ]
    assert isolation == "READ COMMITTED"
    assert inspect(engine).default_schema_name == schema


def test_a_pooler_is_refused(postgresql, elsewhere):
    def other_number(data: bytes) -> bytes:
        """A pooler tells its clients a process number of its own."""
        at = data.find(b"K\0\0\0\x0c") + 5
        return data[:at] + b"\0\0\0\1" + data[at + 4 :] if at > 4 else data

    target = make_url(postgresql)
    with Proxy(target.port, target.host, other_number) as pooler:
        url = target.set(host="127.0.0.1", port=pooler.port)
        elsewhere(url.render_as_string(hide_password=False))
        assert sentence().startswith(
            "LESSONS_DATABASE_URL leads to a connection pooler"
        )


def test_schema_names_never_meet(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("LESSONS_LEARNER", raising=False)
    seen = {}
    learners = [
        "ada",
        "Ada",
        "a_b",
        "a-b",
        "a.b",
        "ä",
        "ö",
        "ada_01",
        "x" * 60,
        "x" * 61,
        "日本",
    ]
    for learner in learners:
        for lesson in ("01", "02", "01-2", "check-0a1b2c3d", "01-gw0"):
            for worker in ("", "gw0", "gw1"):
                monkeypatch.setenv("LESSONS_LEARNER", learner)
                monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
                name = module._schema(lesson)
                assert re.fullmatch(r"lesson_[a-z0-9_]{1,56}", name), name
                assert seen.setdefault(name, (learner, lesson, worker)) == (
                    learner,
                    lesson,
                    worker,
                )
    monkeypatch.setenv("LESSONS_LEARNER", "ada")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "")
    assert module._schema("01") == "lesson_ada_01"


def test_the_learner_has_a_name_everywhere(monkeypatch):
    monkeypatch.delenv("LESSONS_LEARNER", raising=False)
    monkeypatch.setenv("JUPYTERHUB_USER", "hub")
    assert module._learner() == "hub"
    monkeypatch.delenv("JUPYTERHUB_USER")

    def nobody():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(module.getpass, "getuser", nobody)
    assert module._learner() == "learner"
