"""The SQL display: what a cell sent, in the plain form that both databases share, and in the rich one."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import threading

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from lesson_support import LessonError, data_file, watch
from lesson_support.sql import quiet

SETUP = """
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import Session
from lesson_support import connect, fresh_tables, watch
from lesson_support.sql import quiet
from lesson_support.university import Base, Course, Program
engine = connect("sql")
ready = watch(engine)
fresh_tables(engine, Base, data=True)
"""


@pytest.fixture
def run(database):
    """Run a cell in a shell of its own; returns the (plain, html) pairs that it displayed."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()

    def run_cell(source: str) -> list[tuple[str, str]]:
        with capture_output() as captured:
            shell.run_cell(source, store_history=True)
        return [
            (output.data["text/plain"], output.data["text/html"])
            for output in captured.outputs
            if "text/html" in output.data
        ]

    assert run_cell(SETUP) == []
    yield run_cell
    run_cell("watch(None)")
    InteractiveShell.clear_instance()


def test_a_flush_is_told_in_order_with_its_line(run):
    [(plain, html)] = run(
        "with Session(engine) as session:\n"
        "    arts = Program(name=\"Arts & 'Crafts'\")\n"
        "    arts.courses.append(Course(code='ART1', title='<b>Clay</b>', credits=3))\n"
        "    session.add(arts)\n"
        "    session.commit()"
    )
    lines = plain.splitlines()
    assert lines[:3] == [
        "SQL of this cell: 2 statements",
        "line 5: session.commit()",
        "  BEGIN",
    ]
    assert lines[3:6] == [
        "  INSERT INTO programs (name) VALUES (:name)",
        "      name='Arts & ''Crafts'''",
        "      -> 1 row inserted",
    ]
    assert lines[-1] == "  COMMIT"
    assert "<b>Clay" not in html and "&lt;b&gt;Clay" in html


def test_the_plain_form_is_the_same_on_both_databases(run):
    [(plain, _)] = run(
        "with Session(engine) as session:\n"
        "    session.scalars(select(Course).where(Course.code.in_(['PHY101', 'BIO101']))).all()\n"
        "    session.execute(insert(Program), [{'name': 'A'}, {'name': 'B'}])\n"
        "    session.execute(update(Course).values(credits=Course.credits + 1))\n"
        "    session.execute(delete(Course).where(Course.credits > 1))\n"
        "    session.rollback()"
    )
    assert plain == (
        "SQL of this cell: 4 statements\n"
        "line 2: session.scalars(select(Course).where(Course.code.in_(['PHY101', 'BIO101']))).all()\n"
        "  BEGIN\n"
        "  SELECT courses.id, courses.code, courses.title, courses.credits, courses.program_id\n"
        "  FROM courses\n"
        "  WHERE courses.code IN (:code_1_1, :code_1_2)\n"
        "      code_1_1='PHY101', code_1_2='BIO101'\n"
        "      -> 2 rows read\n"
        "line 3: session.execute(insert(Program), [{'name': 'A'}, {'name': 'B'}])\n"
        "  INSERT INTO programs (name) VALUES (:name)\n"
        "      name='A'\n"
        "      name='B'\n"
        "      -> 2 rows inserted\n"
        "line 4: session.execute(update(Course).values(credits=Course.credits + 1))\n"
        "  UPDATE courses SET credits=(courses.credits + :credits_1)\n"
        "      credits_1=1\n"
        f"      -> {COURSES} rows updated\n"
        "line 5: session.execute(delete(Course).where(Course.credits > 1))\n"
        "  DELETE FROM courses WHERE courses.credits > :credits_1\n"
        "      credits_1=1\n"
        f"      -> {COURSES} rows deleted\n"
        "line 6: session.rollback()\n"
        "  ROLLBACK"
    )


def rows_in(name: str) -> int:
    return len(data_file(name).read_text(encoding="utf-8").splitlines()) - 1


COURSES = rows_in("courses.csv")


def test_the_rich_form_is_the_real_sql(run, database):
    [(_, html)] = run(
        "with engine.begin() as c:\n    c.execute(insert(Program), {'name': 'A'})"
    )
    placeholder = {"sqlite": "(?)", "postgresql": "(%(name)s"}[database]
    assert placeholder in html
    assert {"sqlite": "SQL sent to SQLite", "postgresql": "SQL sent to PostgreSQL"}[
        database
    ] in html
    assert (
        "line 2" in html
        and "line 1: <code>with engine.begin() as c:</code> (its block ends)" in html
    )


def test_a_loop_is_folded_and_counted(run):
    [(plain, html)] = run(
        "with Session(engine) as session:\n"
        "    for program in session.scalars(select(Program).order_by(Program.id)):\n"
        "        program.courses"
    )
    programs = rows_in("programs.csv")
    assert f"(sent {programs} times, with other values)" in plain
    assert f"(sent {programs} times, with other values)" in html
    assert plain.count("FROM courses") == 1
    assert f"… and {programs - 5} more" in plain
    assert f"SQL of this cell: {programs + 1} statements" in plain
    assert f"-> {COURSES} rows read" in plain


def test_a_refused_statement_says_so(run):
    [(plain, html)] = run(
        "with Session(engine) as session:\n"
        "    session.add(Course(code='X1', title='x', credits=1, program_id=None))\n"
        "    session.commit()"
    )
    assert (
        "-> IntegrityError: the database refused: a required value is missing (NOT NULL)"
        in plain
    )
    assert plain.endswith("ROLLBACK")
    assert "IntegrityError" in html


def test_savepoints_are_marks_and_not_statements(run):
    [(plain, _)] = run(
        "with Session(engine) as session:\n"
        "    with session.begin_nested():\n"
        "        session.execute(text('select 1')).all()\n"
        "    nested = session.begin_nested()\n"
        "    session.execute(text('select 2')).all()\n"
        "    nested.rollback()"
    )
    marks = [line.strip() for line in plain.splitlines() if line.strip().isupper()]
    assert marks == [
        "BEGIN",
        "SAVEPOINT",
        "RELEASE SAVEPOINT",
        "SAVEPOINT",
        "ROLLBACK TO SAVEPOINT",
        "ROLLBACK",
    ]
    assert "SQL of this cell: 2 statements" in plain


def test_questions_to_the_catalogue_are_one_line(run):
    [(plain, html)] = run("Base.metadata.create_all(engine)")
    assert (
        plain
        == "SQL of this cell: 0 statements\nBEGIN\n(asks the database what exists)\nCOMMIT"
    )
    assert "<details" in html


def test_ddl_is_shown_without_a_dialect(run):
    [(plain, _)] = run(
        "Base.metadata.drop_all(engine)\nBase.metadata.create_all(engine)"
    )
    assert "  CREATE TABLE programs (\n" in plain
    assert "id INTEGER NOT NULL" in plain and "SERIAL" not in plain
    assert plain.index("DROP TABLE courses") < plain.index("DROP TABLE programs")


def test_cells_that_send_nothing_show_nothing(run):
    assert run("1 + 1") == []
    assert run("with quiet(), engine.connect() as c: c.execute(text('select 1'))") == []


def test_watching_twice_shows_once_and_none_ends_it(run):
    run("watch(engine); watch(engine)")
    assert len(run("with engine.connect() as c: c.execute(text('select 1'))")) == 1
    run("watch(None)")
    assert run("with engine.connect() as c: c.execute(text('select 1'))") == []


def test_lines_are_counted_from_the_top_of_the_cell(run):
    [(plain, _)] = run(
        "\n\nwith engine.connect() as c:\n    c.execute(\n        text('select 1')\n    )"
    )
    assert "line 4: c.execute(" in plain


def test_a_helper_of_the_learner_is_told_at_the_line_that_calls_it(run):
    run(
        "def look():\n    with engine.connect() as c:\n        c.execute(text('select 1'))"
    )
    [(plain, _)] = run("x = 1\nlook()")
    assert "line 2: look()" in plain


def test_a_display_that_fails_leaves_the_result_alone(run, monkeypatch):
    def fail(*args):
        raise RuntimeError("no")

    monkeypatch.setattr("lesson_support.sql.render", fail)
    [(plain, _)] = run("with engine.connect() as c: c.execute(text('select 1'))")
    assert plain == "(the SQL of this cell cannot be shown: RuntimeError)"


def test_long_and_binary_values_are_cut(run):
    [(plain, _)] = run(
        "with engine.connect() as c:\n"
        "    c.execute(select(text('1')).where(Program.name == 'x' * 500)).all()"
    )
    assert max(map(len, plain.splitlines())) < 120 and "…" in plain


ODD = """
from sqlalchemy import JSON, bindparam, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
class Odd(DeclarativeBase): pass
class Thing(Odd):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column("Odd Name", default="plain")
    size: Mapped[int] = mapped_column(default=1, onupdate=7)
fresh_tables(engine, Odd)
"""


def test_defaults_are_shown_with_the_value_that_was_sent(run):
    run(ODD)
    [(plain, _)] = run(
        "with Session(engine) as session:\n    session.add(Thing())\n    session.commit()"
    )
    assert "Odd_Name='plain', size=1" in plain and "NULL" not in plain
    [(plain, _)] = run(
        "with Session(engine) as session:\n"
        "    session.get(Thing, 1).kind = 'x'\n"
        "    session.commit()"
    )
    assert "Odd_Name='x', size=7" in plain


def test_rows_of_an_insert_are_counted_truly(run):
    [(plain, _)] = run(
        "with engine.begin() as c:\n    c.execute(insert(Program).values([{'name': 'A'}, {'name': 'B'}]))"
    )
    assert "-> 2 rows inserted" in plain
    [(plain, _)] = run(
        "with engine.begin() as c:\n"
        "    c.execute(insert(Program).values(name='C').returning(Program.name)).all()"
    )
    assert "-> 1 row inserted" in plain
    [(plain, _)] = run(
        "with engine.begin() as c:\n"
        "    c.execute(insert(Program).from_select(['name'], select(Course.title)))"
    )
    assert f"-> {COURSES} rows inserted" in plain


def test_one_odd_statement_does_not_hide_the_others(run):
    run(ODD)
    [(plain, _)] = run(
        "with Session(engine) as session:\n"
        "    session.scalars(select(Program.name)).all()\n"
        "    try:\n"
        "        session.scalars(select(Program.id).where(Program.name == bindparam('z')))\n"
        "    except Exception:\n"
        "        pass"
    )
    assert "SELECT programs.name" in plain and "cannot be shown" not in plain


def test_the_end_of_a_block_is_named_also_where_it_sends_all(run):
    [(plain, _)] = run(
        "with Session(engine) as session, session.begin():\n    session.add(Program(name='A'))"
    )
    assert "(its block ends)\n  BEGIN" in plain or "(its block ends)\n  INSERT" in plain
    assert plain.endswith("COMMIT")


def test_a_refused_commit_is_told_at_the_commit(run):
    run(
        "from sqlalchemy import ForeignKey\n"
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
        "class Late(DeclarativeBase): pass\n"
        "class Parent(Late):\n"
        "    __tablename__ = 'parents'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "class Child(Late):\n"
        "    __tablename__ = 'children'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    parent_id: Mapped[int] = mapped_column(\n"
        "        ForeignKey('parents.id', deferrable=True, initially='DEFERRED'))\n"
        "fresh_tables(engine, Late)"
    )
    [(plain, html)] = run(
        "with Session(engine) as session:\n"
        "    session.add(Child(parent_id=9))\n"
        "    try:\n"
        "        session.commit()\n"
        "    except Exception:\n"
        "        session.rollback()"
    )
    assert "-> 1 row inserted" in plain
    assert "COMMIT -> IntegrityError: the database refused: a key would point" in plain
    assert "COMMIT -&gt; IntegrityError" in html


def test_inserts_of_different_length_are_told_apart(run):
    [(plain, _)] = run(
        "with engine.begin() as c:\n"
        "    for names in (['A'], ['B', 'C']):\n"
        "        c.execute(insert(Program), [{'name': name} for name in names])"
    )
    assert "-> 1 row inserted" in plain and "-> 2 rows inserted" in plain


def test_a_long_list_is_cut(run):
    [(plain, html)] = run(
        "with Session(engine) as session:\n"
        "    session.scalars(select(Course.id).where(Course.id.in_(range(500)))).all()"
    )
    assert "IN (:id_1_1, :id_1_2, :id_1_3, :id_1_4, :id_1_5, …)" in plain
    assert len(html) < 2000


def test_a_cell_magic_counts_its_lines_from_the_top(run):
    shown = run(
        "%%time\nx = 1\nwith engine.connect() as c: c.execute(text('select 1'))"
    )
    assert "line 3: with engine.connect()" in shown[-1][0]


def test_values_are_the_same_in_every_run(run):
    run("class Secret:\n    pass")
    [(plain, _)] = run(
        "try:\n"
        "    with engine.connect() as c:\n"
        "        c.execute(text('select :a'), {'a': Secret()})\n"
        "except Exception:\n"
        "    pass"
    )
    assert "0x" not in plain


def test_an_engine_is_needed(run):
    with pytest.raises(LessonError, match="needs the Engine itself"):
        watch("sqlite://")


def test_a_long_run_is_only_counted(run):
    run("class Watching:\n    pass")
    cell = (
        "with Session(engine) as session:\n"
        "    for number in range({}):\n"
        "        session.scalars(select(Program.name).where(Program.id == number)).all()\n"
        "        {}"
    )
    [(plain, _)] = run(cell.format(500, "pass"))
    programs = rows_in("programs.csv")
    assert "SQL of this cell: 500 statements" in plain
    assert f"-> {programs} rows read (sent 500 times, with other values)" in plain
    assert "… and 495 more" in plain
    [(mixed, html)] = run(cell.format(500, "session.execute(text('select 1'))"))
    assert "SQL of this cell: 1000 statements" in mixed
    assert len(mixed) < 10_000 and len(html) < 40_000
    assert "500 times" not in mixed  # they took turns, at two lines


def test_many_different_statements_of_one_line_are_cut(run):
    [(plain, html)] = run(
        "with engine.connect() as c:\n"
        "    for n in range(90): c.execute(text(f'select {n}'))"
    )
    assert "SQL of this cell: 90 statements" in plain
    assert "… and 31 more statements" in plain and "… and 31 more statements" in html
    assert "select 57" in plain and "select 60" not in plain


def test_values_keep_their_names_where_a_database_adds_one(run):
    [(plain, _)] = run(
        "with engine.connect() as c:\n"
        "    c.execute(select(Program.id).order_by(Program.id).offset(3)).all()"
    )
    assert "OFFSET :param_1\n      param_1=3\n" in plain


def test_the_one_that_fails_of_a_long_run_is_told_apart(run):
    [(plain, _)] = run(
        "with Session(engine) as session:\n"
        "    codes = [f'X{n}' for n in range(20)] + ['X0']\n"
        "    rows = [dict(code=c, title=c, credits=1, program_id=1) for c in codes]\n"
        "    try:\n"
        "        for row in rows: session.execute(insert(Course).values(row))\n"
        "    except Exception: pass"
    )
    assert "-> 20 rows inserted (sent 20 times, with other values)" in plain
    assert (
        "code='X0', title='X0', credits=1, program_id=1\n      -> IntegrityError"
        in plain
    )
    assert "SQL of this cell: 21 statements" in plain


def test_several_engines_are_watched_and_one_is_stopped(run):
    run("other = connect('sql-other')\nseen = watch(other)")
    both = "for e in (engine, other):\n    with e.connect() as c: c.execute(text('select 1'))"
    assert len(run(both)) == 2
    run("seen.stop()")
    assert len(run(both)) == 1


# In a program.


PROGRAM = """
import io, sys, threading
from sqlalchemy import create_engine, text
from lesson_support import watch

assert "IPython" not in sys.modules
stream = io.StringIO()
engine = create_engine("sqlite://")
before = [list(getattr(engine.dispatch, n)) for n in ("before_execute", "commit")]
with watch(engine, stream=stream):
    with engine.begin() as connection:
        connection.execute(text("create table t (x)"))
        connection.execute(text("insert into t values (:x)"), {"x": 7})
    assert "insert into t" in stream.getvalue()
    connection = engine.connect()
    connection.execute(text("select x from t")).all()
    assert "select x" not in stream.getvalue()
print(stream.getvalue())
said = stream.getvalue()
connection.execute(text("select 2"))
assert stream.getvalue() == said
assert before == [list(getattr(engine.dispatch, n)) for n in ("before_execute", "commit")]
stream.close()
watch(engine, stream=stream)
connection.close()
watch(None)
watch(engine)
with engine.connect() as connection:
    connection.execute(text("select 3"))
"""


def test_a_program_gets_plain_text_and_no_listener_stays(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    ended = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().splitlines() == [
        "SQL sent to SQLite:",
        "program.py, line 11: with engine.begin() as connection:",
        "  BEGIN",
        'program.py, line 12: connection.execute(text("create table t (x)"))',
        "  create table t (x)",
        "      -> done",
        'program.py, line 13: connection.execute(text("insert into t values (:x)"), {"x": 7})',
        "  insert into t values (?)",
        "      x=7",
        "      -> 1 row inserted",
        "program.py, line 11: with engine.begin() as connection: (its block ends)",
        "  COMMIT",
        "SQL sent to SQLite:",
        'program.py, line 16: connection.execute(text("select x from t")).all()',
        "  BEGIN",
        "  select x from t",
        "      -> 1 row read",
    ]
    assert ended.stderr.startswith("SQL sent to SQLite:\nprogram.py, line 29")
    assert ended.stderr.rstrip().endswith("ROLLBACK")


def test_threads_of_a_program_do_not_mix(workspace, tmp_path):
    stream, start = io.StringIO(), threading.Barrier(4)
    engine = create_engine(f"sqlite:///{tmp_path / 'many.sqlite'}")

    def work(number: int) -> None:
        start.wait()
        for _ in range(20):
            with engine.connect() as connection:
                connection.execute(text(f"select {number}"))
                connection.execute(text(f"select {number} + 0"))

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with watch(engine, stream=stream):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
    finally:
        sys.setswitchinterval(usual)
    told = stream.getvalue().split("SQL sent to SQLite:")[1:]
    assert len(told) == 80
    assert all(len(set(re.findall(r"^  select (\d)", t, re.M))) == 1 for t in told)


def test_an_async_engine_of_ones_own_is_watched(workspace, tmp_path):
    stream = io.StringIO()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.sqlite'}")

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("select 1"))
        await engine.dispose()

    with watch(engine, stream=stream):
        asyncio.run(work())
    assert 'await connection.execute(text("select 1"))' in stream.getvalue()


def test_quiet_ends_with_its_block(workspace):
    from lesson_support.sql import _quiet

    with pytest.raises(ValueError), quiet():
        assert _quiet.get()
        raise ValueError
    assert not _quiet.get()
