"""A class on one server: real roles with passwords, who cannot reach each other's tables."""

from __future__ import annotations

import csv
import os
import stat
import uuid

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import inspect, make_url
from sqlalchemy.orm import Session

from lesson_support import connect, database, fresh_tables, tables
from lesson_support.commands import CommandError, classroom
from lesson_support.database import reset
from lesson_support.errors import LessonError
from lesson_support.university import Base, Program


def plain(url: str) -> str:
    """A URL as psycopg reads it."""
    return url.replace("postgresql+psycopg:", "postgresql:")


@pytest.fixture
def teacher(postgresql, monkeypatch):
    """An administrator who may make roles, and is no superuser; their class is removed at the end."""
    name, password = f"teacher_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    who = sql.Identifier(name)
    with psycopg.connect(plain(postgresql), autocommit=True) as server:
        here = sql.Identifier(server.info.dbname)
        server.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                who, sql.Literal(password)
            )
        )
        server.execute(
            sql.SQL(
                "GRANT CONNECT, CREATE ON DATABASE {} TO {} WITH GRANT OPTION"
            ).format(here, who)
        )
    url = make_url(postgresql).set(username=name, password=password)
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(plain(postgresql), autocommit=True) as server:
        server.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(who))
        server.execute(sql.SQL("DROP ROLE {}").format(who))


@pytest.fixture
def run(teacher, monkeypatch, tmp_path):
    """Run `classroom ...` as the teacher; what it made is removed at the end."""
    made: list[str] = []

    def call(*args: str) -> int:
        monkeypatch.setenv("LESSONS_DATABASE_URL", teacher)
        return classroom.main(list(args))

    def add(*names: str) -> dict[str, str]:
        made.extend(names)
        table = tmp_path / "names.csv"
        table.write_text("name\n" + "\n".join(names) + "\n", encoding="utf-8")
        call("add", str(table), "--output", str(tmp_path / "urls.csv"))
        return urls(tmp_path / "urls.csv")

    call.add, call.folder = add, tmp_path
    yield call
    monkeypatch.setenv("LESSONS_DATABASE_URL", teacher)
    with classroom._server() as (connection, _):
        left = {role for role, *_ in classroom._class(connection)}
    mine = [name for name in made if classroom.role_of(name) in left]
    if mine:
        call("remove", "--yes", *mine)


def urls(path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["url"] for row in csv.DictReader(file)}


@pytest.fixture
def two(run, monkeypatch) -> tuple[str, str]:
    """The URLs of two learners; whose workspace it is comes from the URL, not from the machine."""
    monkeypatch.delenv("LESSONS_LEARNER")
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    unique = uuid.uuid4().hex[:6]
    found = run.add(f"ada{unique}", f"bob{unique}")
    return found[f"ada{unique}"], found[f"bob{unique}"]


def refused(url: str, statement: str) -> str:
    """The SQLSTATE with which the server refuses a statement."""
    with (
        pytest.raises(psycopg.Error) as caught,
        psycopg.connect(
            plain(url), autocommit=statement.startswith("CREATE DATABASE")
        ) as server,
    ):
        server.execute(statement)
    return caught.value.sqlstate


def test_two_learners_do_the_same_lesson(two, monkeypatch):
    ada, bob = two
    for url, name in ((ada, "Physics"), (bob, "Poetry")):
        monkeypatch.setenv("LESSONS_DATABASE_URL", url)
        engine = connect("01")
        fresh_tables(engine, Base)
        with Session(engine) as session:
            session.add(Program(name=name))
            session.commit()
        assert name in repr(tables(engine, Base))
    monkeypatch.setenv("LESSONS_DATABASE_URL", ada)
    shown = repr(tables(connect("01", fresh=False), Base))
    assert "Physics" in shown and "Poetry" not in shown


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {}.programs",
        "INSERT INTO {}.programs (name) VALUES ('x')",
        "UPDATE {}.programs SET name = 'x'",
        "DELETE FROM {}.programs",
        "TRUNCATE {}.programs CASCADE",
        "DROP TABLE {}.programs CASCADE",
        "DROP SCHEMA {} CASCADE",
        "ALTER TABLE {}.programs ADD COLUMN x int",
        "LOCK TABLE {}.programs IN ACCESS SHARE MODE",
        "CREATE TABLE {}.mine (id int)",
        "CREATE ROLE other",
        "CREATE DATABASE other",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000",
        "CREATE TABLE public.programs (id int)",
    ],
)
def test_nobody_reaches_another_learners_tables(two, monkeypatch, statement):
    ada, bob = two
    monkeypatch.setenv("LESSONS_DATABASE_URL", ada)
    engine = connect("01")
    fresh_tables(engine, Base, data=True)
    schema = inspect(engine).default_schema_name
    assert refused(bob, statement.format(schema)) == "42501"
    assert len(inspect(engine).get_table_names()) == 2


def test_a_learner_without_the_password_is_nobody(two):
    ada, _ = two
    wrong = make_url(plain(ada)).set(password="guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(wrong.render_as_string(hide_password=False))


def test_passwords_are_in_the_file_alone(run, capsys, two, monkeypatch, postgresql):
    ada, bob = two
    said = "".join(capsys.readouterr())
    for url in two:
        assert make_url(url).password not in said
    output = run.folder / "urls.csv"
    if os.name == "posix":
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
    with psycopg.connect(plain(postgresql)) as server:
        stored = server.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s",
            [make_url(ada).username],
        ).fetchone()[0]
    assert stored.startswith("SCRAM-SHA-256$")


def test_adding_again_changes_nothing(run, two, capsys):
    before = (run.folder / "urls.csv").read_text()
    names = list(urls(run.folder / "urls.csv"))
    assert run.add(*names) == dict(zip(names, two, strict=True))
    assert (run.folder / "urls.csv").read_text() == before
    assert capsys.readouterr().out.count("there:") == 2
    more = run.add(*names, "zoë-" + names[0])
    assert len(more) == 3 and [more[name] for name in names] == list(two)


def test_list_shows_who_is_there(run, two, monkeypatch, capsys):
    monkeypatch.setenv("LESSONS_DATABASE_URL", two[0])
    connect("01")
    capsys.readouterr()
    run("list")
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    mine = {line[1]: line[2:4] for line in shown}
    assert mine[make_url(two[0]).username] == ["1", "schema,"]
    assert mine[make_url(two[1]).username] == ["0", "schemas,"]


def test_remove_takes_what_belongs_to_the_role_and_nothing_else(
    run, two, monkeypatch, postgresql
):
    ada, bob = two
    others = f"others_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(plain(postgresql), autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {others}")
        server.execute(f"CREATE TABLE {others}.programs (id int)")
        server.execute(f"INSERT INTO {others}.programs VALUES (1)")
        for url in two:
            monkeypatch.setenv("LESSONS_DATABASE_URL", url)
            fresh_tables(connect("01"), Base)
        run("remove", "--yes", make_url(ada).username.removeprefix("learner_"))
        owners = server.execute(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace"
        ).fetchall()
        assert (make_url(bob).username,) in owners
        assert (make_url(ada).username,) not in owners
        assert server.execute(f"SELECT count(*) FROM {others}.programs").fetchone() == (
            1,
        )
        server.execute(f"DROP SCHEMA {others} CASCADE")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(plain(ada))


def test_a_role_that_is_not_ours_is_left_alone(run, postgresql):
    name = f"eve{uuid.uuid4().hex[:6]}"
    with psycopg.connect(plain(postgresql), autocommit=True) as server:
        server.execute(f"CREATE ROLE learner_{name}")
        try:
            with pytest.raises(CommandError, match="did not make, so it is left"):
                run.add(name)
            with pytest.raises(CommandError, match="there is no learner"):
                run("remove", "--yes", name)
        finally:
            server.execute(f"DROP ROLE learner_{name}")
    assert not urls(run.folder / "urls.csv")


def test_a_learner_is_no_teacher(two, monkeypatch, tmp_path):
    table = tmp_path / "more.csv"
    table.write_text("name\nmallory\n")
    monkeypatch.setenv("LESSONS_DATABASE_URL", two[0])
    with pytest.raises(CommandError, match="may not make roles"):
        classroom.main(["add", str(table), "--output", str(tmp_path / "more-urls.csv")])


def test_a_file_that_others_read_gets_no_password(run, tmp_path):
    if os.name != "posix":
        pytest.skip("file modes are POSIX's")
    output = tmp_path / "urls.csv"
    output.touch(mode=0o644)
    output.chmod(0o644)
    with pytest.raises(CommandError, match="can be read by others"):
        run.add(f"ada{uuid.uuid4().hex[:6]}")
    assert output.read_text() == ""
    output.unlink()
    output.mkdir()
    with pytest.raises(CommandError, match="cannot be written, so nobody was added"):
        run.add(f"ada{uuid.uuid4().hex[:6]}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name\nAda\nBob\n", ["Ada", "Bob"]),
        ("Ada\nBob\nAda\n", ["Ada", "Bob"]),
        ("\ufeffid,Name\n1, Ada \n\n2,Bob\n3,\n", ["Ada", "Bob"]),
    ],
)
def test_names_are_read(tmp_path, text, names):
    table = tmp_path / "names.csv"
    table.write_text(text, encoding="utf-8")
    assert classroom.read_names(str(table)) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "holds no names"),
        ("name\n\n", "holds no names"),
        ("first,last\nAda,L\n", "call the one to use `name`"),
        ("name\nAda\nada\n", "would share a role"),
        ("name\nA\x07da\n", "no name"),
    ],
)
def test_names_that_cannot_be_read(tmp_path, text, said):
    table = tmp_path / "names.csv"
    if text is not None:
        table.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=said):
        classroom.read_names(str(table))


def test_roles_fit_every_name():
    names = ["Ada", "Zoë Ö", "李", "a" * 90, "a" * 91, "x; DROP ROLE y", "-", "1"]
    roles = [classroom.role_of(name) for name in names]
    assert len(set(roles)) == len(names) and max(map(len, roles)) <= 63
    assert all(role.replace("_", "a").isalnum() and role.isascii() for role in roles)


def test_constants_are_those_of_the_lessons():
    assert (classroom.SERVER, classroom.ROLE) == (database.SERVER, database.ROLE)


def test_a_class_needs_a_server_and_a_yes(workspace, monkeypatch):
    with pytest.raises(CommandError, match="a class needs a PostgreSQL server"):
        classroom.main(["list"])
    with pytest.raises(CommandError, match="or give --all"):
        classroom.main(["remove"])


def test_nobody_is_removed_unasked(run, two):
    with pytest.raises(CommandError, match="nobody is here to say yes"):
        run("remove", make_url(two[0]).username.removeprefix("learner_"))
    psycopg.connect(plain(two[0])).close()


def test_reset_takes_ones_own_alone(two, monkeypatch):
    for url in two:
        monkeypatch.setenv("LESSONS_DATABASE_URL", url)
        connect("01")
    assert len(reset()) == 1
    monkeypatch.setenv("LESSONS_DATABASE_URL", two[0])
    assert len(reset()) == 1


def test_a_server_that_does_not_answer_is_one_sentence(workspace, monkeypatch):
    monkeypatch.setenv("LESSONS_DATABASE_URL", "postgresql://a:Pa55@127.0.0.1:1/d")
    with pytest.raises(LessonError, match="No PostgreSQL server answers") as caught:
        classroom.main(["list"])
    assert "Pa55" not in str(caught.value)
