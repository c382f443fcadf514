"""What a learner reads when something fails: in real kernels, on both databases."""

from __future__ import annotations

import re
import time
from html import unescape

import nbformat
import pytest
import sqlalchemy
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    create_engine,
    exc,
    insert,
    join,
    orm,
    select,
    text,
)
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
)
from sqlalchemy.orm.exc import FlushError

from lesson_support import LessonError, connect, explain
from lesson_support import errors as module
from lesson_support.check import playground
from lesson_support.errors import connection_sentence, install_handler
from lesson_support.university import Base, Course, Program

SET_UP = """
from sqlalchemy import *
from sqlalchemy.orm import *
from lesson_support import connect, explain
from lesson_support.university import Base, Course, Program
engine = connect("01")
Base.metadata.create_all(engine)
session = Session(engine)
"""


def outputs_of(*cells: str) -> list[list]:
    """Run cells in a kernel of their own; return the outputs of each."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells]
    )
    NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    return [cell.outputs for cell in notebook.cells]


def the_error(outputs: list):
    (error,) = (output for output in outputs if output.output_type == "error")
    return error


def lines_of(error) -> list[str]:
    """The lines of the red box, with those joined that were broken at its width."""
    return "\n".join(error["traceback"]).replace("\n    ", " ").splitlines()


# Cell, class, neutral first line, the learner's line, a part of the advice.
FAILURES = [
    (
        'session.add(\n    Course(code="X", title="T", credits=1)\n)\nwith session.no_autoflush:\n'
        "    session.commit(\n    )",
        "IntegrityError",
        "the database refused: a required value is missing (NOT NULL)",
        "your line 5: session.commit(",
        "session.rollback() if the Session is still open",
    ),
    (
        "# again\nsession.scalars(select(Program)).all()",
        "PendingRollbackError",
        "This Session's transaction has been rolled back due to a previous exception during "
        "flush. To begin a new transaction with this Session, first issue Session.rollback().",
        "your line 2: session.scalars(select(Program)).all()",
        "run session.rollback(), then go on",
    ),
    (
        'session.rollback()\nsession.add(Course(code="A", title="T", credits=1, program_id=99))\n'
        "session.scalars(select(Course)).all()",
        "IntegrityError",
        "the database refused: a key would point at a row that is not there (FOREIGN KEY)",
        "your line 3: session.scalars(select(Course)).all()",
        "save the parent before the child",
    ),
    (
        'session.rollback()\nsession.add_all([Program(id=1, name="P"), Program(id=1, name="Q")])\n'
        "session.flush()",
        "IntegrityError",
        "the database refused: a value that must be unique is there already (UNIQUE)",
        "your line 3: session.flush()",
        "choose another value",
    ),
    (
        'session.rollback()\nphysics = Program(name="Physics")\nsession.add(physics)\n'
        "session.commit()\nsession.close()\nphysics.courses",
        "DetachedInstanceError",
        "Parent instance <Program> is not bound to a Session; lazy load operation of attribute "
        "'courses' cannot proceed",
        "your line 6: physics.courses",
        "its Session is closed",
    ),
    (
        'session.add(Program(name="Art"))\nsession.flush()\nsession.scalars(select(Program)).one()',
        "MultipleResultsFound",
        "Multiple rows were found when exactly one was required",
        "your line 3: session.scalars(select(Program)).one()",
        "narrow the question",
    ),
    (
        "session.rollback()\nsession.execute(select(Program).where(Program.name == object()))",
        "ProgrammingError",
        "a value has a type that cannot be stored",
        "your line 2: session.execute(select(Program).where(Program.name == object()))",
        "give plain values",
    ),
    (
        'session.rollback()\nsession.execute("select 1")',
        "ArgumentError",
        "Textual SQL expression 'select 1' should be explicitly declared as text('select 1')",
        'your line 2: session.execute("select 1")',
        "wrap the plain string in text(...)",
    ),
    (
        'connect("01")\nsession.scalars(select(Program)).all()\n'
        'connect("01")\nsession.scalars(select(Program)).all()',
        None,
        "the database refused: there is no table with this name",
        "your line 2: session.scalars(select(Program)).all()",
        "run the cell that makes the tables first",
    ),
    (
        'session.rollback()\ndef ask():\n    session.execute(text("selec 1"))\n\nask()',
        None,
        "the database refused: this is no correct SQL (syntax)",
        'your line 3: session.execute(text("selec 1"))',
        "compare the statement with the manual",
    ),
    (
        "class Other(DeclarativeBase): pass\nclass Child(Other):\n    __tablename__ = 'child'\n"
        "    id: Mapped[int] = mapped_column(ForeignKey('nowhere.id'), primary_key=True)\n"
        "Other.metadata.create_all(engine)",
        "NoReferencedTableError",
        "Foreign key associated with column 'child.id' could not find table 'nowhere' with which "
        "to generate a foreign key to target column 'id'",
        "your line 5: Other.metadata.create_all(engine)",
        "it wants the __tablename__",
    ),
    (
        'connect("Lesson 1")',
        "LessonError",
        'connect(...) wants the lesson\'s number in quotes, such as connect("01"): 1 to 20 '
        "lower-case letters, digits and hyphens.",
        None,
        None,
    ),
]


def test_failures_in_a_kernel(database):
    results = outputs_of(SET_UP, *(cell for cell, *_ in FAILURES))
    assert results[0] == []
    for (cell, name, first, where, todo), outputs in zip(
        FAILURES, results[1:], strict=True
    ):
        error = the_error(outputs)
        assert outputs == [error], "nothing but the error is shown"
        assert name is None or error.ename == name
        assert error.evalue == first, cell
        lines = lines_of(error)
        assert not re.search("sqlalche.me|0x|\x1b", error.evalue)
        assert not re.search("0x|\x1b", "".join(lines))
        if name == "LessonError":
            assert lines == [first]
            continue
        assert lines[0] == f"{error.ename}: {first}"
        assert lines[1] == where
        assert lines[-1] == "(the full traceback: %tb)"
        (advice,) = (line for line in lines if line.startswith("what to do: "))
        assert todo in advice
        assert len(lines) <= 9
    lines = lines_of(the_error(results[3]))
    assert (
        lines[2] == "it happened: while a query sent pending changes first (autoflush)"
    )
    assert lines[4].startswith(
        "the statement: INSERT INTO courses (code, title, credits,"
    )
    assert lines[5].startswith("its values: ") and "99" in lines[5]


def test_tb_shows_everything_and_others_look_as_always(workspace):
    _, short, full, lesson, lesson_full, plain, again, kept = outputs_of(
        SET_UP,
        'session.execute(text("selec"))',
        "%tb",
        'connect("?")',
        "%tb",
        "1 / 0",
        "%tb",
        "kept = get_ipython().history_manager.exceptions.values()\n"
        "[(error['ename'], len(error['traceback'])) for error in kept]",
    )
    assert len(lines_of(the_error(short))) < 10
    assert len(lines_of(the_error(full))) > 30
    assert "sqlalchemy/engine" in "".join(the_error(full).traceback).replace("\\", "/")
    assert len(lines_of(the_error(lesson))) == 1 < len(lines_of(the_error(lesson_full)))
    (record,) = kept
    assert record["data"]["text/plain"].startswith(
        "[('OperationalError', 1), ('LessonError', 1), ('ZeroDivisionError', "
    ), "IPython's own record of a failure is as short"
    for outputs in (plain, again):
        assert the_error(outputs).ename == "ZeroDivisionError"
        assert "1 / 0" in re.sub(
            r"\x1b\[[0-9;]*m", "", "".join(the_error(outputs).traceback)
        )


def test_a_failure_stops_the_notebook_as_ever(workspace):
    cells = [SET_UP, 'session.execute(text("selec"))', "1"]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells]
    )
    with pytest.raises(Exception, match="syntax error"):
        NotebookClient(notebook, timeout=60).execute()
    assert notebook.cells[2].outputs == []


LONG = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT max(x) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


def test_an_interrupted_cell_stops_at_once(database):
    manager, client = start_new_kernel(kernel_name="python3")

    def run(code: str, interrupt: bool = False) -> dict:
        found = {}

        def hook(message):
            if message["msg_type"] == "error":
                found.update(
                    message["content"], after=time.monotonic() - found.get("at", 0)
                )
            elif interrupt and message["msg_type"] == "stream":
                time.sleep(0.5)
                found["at"] = time.monotonic()
                manager.interrupt_kernel()

        client.execute_interactive(code, output_hook=hook, timeout=30)
        return found

    try:
        run(SET_UP + 'session.add(Program(name="Physics"))\nsession.commit()')
        stopped = run(
            'session.add(Program(name="Art"))\nsession.flush()\nprint("now", flush=True)\n'
            f'session.execute(text("{LONG[database]}"))',
            interrupt=True,
        )
        assert stopped["after"] < 2
        assert stopped["evalue"] == "interrupted: the cell stopped before its end"
        lines = lines_of(stopped)
        assert lines[1].startswith("your line 4: session.execute(text(")
        assert "run session.rollback() if a Session is open" in "".join(lines)
        assert len(lines) < 10
        next_one = run(
            "session.rollback()\nassert session.scalars(select(Program)).one()"
        )
        assert next_one == {}, next_one
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# ---- explain


@pytest.fixture
def engine(database):
    engine = connect("01")
    Base.metadata.create_all(engine)
    return engine


def failure(engine, *statements) -> BaseException:
    with pytest.raises(exc.SQLAlchemyError) as caught, engine.connect() as connection:
        for statement in statements:
            connection.execute(
                text(statement) if isinstance(statement, str) else statement
            )
    return caught.value


TABLES = (
    "CREATE TABLE p (id INTEGER PRIMARY KEY, size INTEGER CHECK (size < 5))",
    "CREATE TABLE c (id INTEGER PRIMARY KEY, p_id INTEGER REFERENCES p(id) ON DELETE RESTRICT)",
    "INSERT INTO p VALUES (1, 1)",
    "INSERT INTO c VALUES (1, 1)",
)


@pytest.mark.parametrize(
    ("statement", "plain"),
    [
        (insert(Course), "IntegrityError: ... a required value is missing (NOT NULL)"),
        (
            "DELETE FROM p",
            "IntegrityError: ... a key would point at a row that is not there",
        ),
        (
            "INSERT INTO p VALUES (1, 2)",
            "IntegrityError: ... a value that must be unique is there",
        ),
        (
            "INSERT INTO p VALUES (2, 7)",
            "IntegrityError: ... a value breaks a rule of the table",
        ),
        ("SELECT * FROM nope", "DatabaseError: ... there is no table with this name"),
        ("DROP TABLE nope", "DatabaseError: ... there is no table with this name"),
        ("SELECT nope FROM p", "DatabaseError: ... there is no column with this name"),
        (
            "INSERT INTO p (nope) VALUES (1)",
            "DatabaseError: ... there is no column with this name",
        ),
        (
            "SELECT id FROM p, c",
            "DatabaseError: ... two tables have a column with this name",
        ),
        (
            "CREATE TABLE p (id INTEGER)",
            "DatabaseError: ... a table or an index with this name is",
        ),
        (
            "SELECT p_id FROM c WHERE count(id) > 1",
            "DatabaseError: ... a count, sum or place of many rows stands where rows are",
        ),
        (
            "SELECT id FROM c WHERE row_number() OVER (ORDER BY id) = 1",
            "DatabaseError: ... a count, sum or place of many rows stands where rows are",
        ),
        ("SELEC", "DatabaseError: ... this is no correct SQL (syntax)"),
        ("SELECT 'a", "DatabaseError: ... this is no correct SQL (syntax)"),
        ("SELECT nofunction(1)", "Error: the database refused this statement"),
    ],
)
def test_explain_says_the_same_on_both(engine, statement, plain):
    error = failure(engine, *TABLES, statement)
    shown = explain(error)
    assert plain.replace("...", "the database refused:") in repr(shown)
    assert "\n" not in repr(shown)
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == repr(shown)
    assert type(error).__name__ in bundle["text/html"]
    assert "the database said: <code>" in bundle["text/html"]


def test_explain_escapes_what_it_shows(engine):
    shown = explain(failure(engine, "SELECT '<b>' FROM \"<i>\""))
    assert (
        "<b>" not in shown.html
        and "<i>" not in shown.html
        and "&lt;i&gt;" in shown.html
    )


def test_explain_on_postgresql_alone(postgresql):
    engine = connect("01")
    for statement, words in [
        ("INSERT INTO t VALUES ('abcd')", "a text is longer than its column allows"),
        (
            "INSERT INTO t (n) VALUES (99999999999)",
            "a number is too big for its column",
        ),
        ("INSERT INTO t (n) VALUES ('a')", "a value has the wrong type for its column"),
        ("CREATE TABLE u (x VARCHAR REFERENCES t(x))", "must point at a primary key"),
        (
            "CREATE VIEW v AS SELECT 1 FROM t; DROP TABLE t",
            "something else still needs",
        ),
        ("SELECT pg_cancel_backend(pg_backend_pid())", "interrupted: the cell stopped"),
        (
            "SELECT pg_terminate_backend(pg_backend_pid())",
            "the connection to the database was",
        ),
        ("SET TRANSACTION READ ONLY; DROP TABLE t", "the database is read-only"),
        (
            "SET ROLE pg_monitor; CREATE TABLE public.t (x int)",
            "you may not do this here",
        ),
    ]:
        error = failure(engine, "CREATE TABLE t (x VARCHAR(3), n INTEGER)", statement)
        assert words in repr(explain(error)), error


def test_an_aborted_transaction(postgresql):
    with connect("01").connect() as connection:
        for statement, words in [
            ("SELEC", "this is no correct SQL"),
            ("SELECT 1", "an earlier statement of this transaction failed"),
        ]:
            with pytest.raises(exc.DBAPIError) as caught:
                connection.execute(text(statement))
            assert words in repr(explain(caught.value))


def test_a_lock_has_one_sentence(database):
    engine = connect("01")
    Base.metadata.create_all(engine)
    with Session(engine) as first, engine.connect() as second:
        first.add(Program(id=1, name="Physics"))
        first.flush()
        shorter = {
            "sqlite": "PRAGMA busy_timeout = 100",
            "postgresql": "SET lock_timeout = 100",
        }
        second.execute(text(shorter[database]))
        with pytest.raises(exc.OperationalError) as caught:
            second.execute(insert(Program).values(id=1, name="Physics"))
    assert repr(explain(caught.value)) == (
        "OperationalError: the database is locked: another transaction is still open"
    )


def test_sqlite_files_that_cannot_be_used(tmp_path):
    (tmp_path / "diary.sqlite").write_text("my diary " * 200)
    for name in ("diary.sqlite", "missing/x.sqlite"):
        engine = create_engine(f"sqlite:///{tmp_path / name}")
        shown = repr(explain(failure(engine, "CREATE TABLE t (x)")))
        assert shown.endswith("Error: the database file cannot be opened")
    read_only = create_engine(f"sqlite:///file:{tmp_path / 'empty'}?mode=rwc&uri=true")
    with read_only.connect() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
        with pytest.raises(exc.OperationalError) as caught:
            connection.execute(text("CREATE TABLE t (x)"))
    assert repr(explain(caught.value)) == (
        "DatabaseError: the database is read-only: nothing can be written"
    )
    read_only.dispose()


def test_long_statements_values_and_addresses_are_cut(workspace):
    engine = connect("01")
    Base.metadata.create_all(engine)
    rows = [{"id": n, "name": "x" * 50} for n in range(9)]
    with engine.connect() as connection, pytest.raises(exc.IntegrityError) as caught:
        connection.execute(insert(Program), [*rows, rows[0]])
    details = dict(module._details(caught.value))
    assert (
        details["its values"].endswith("and 7 more")
        and len(details["its values"]) < 401
    )
    with engine.connect() as connection, pytest.raises(exc.ProgrammingError) as caught:
        connection.execute(select(Program).where(Program.name == object()).limit(9))
    assert "0x" not in explain(caught.value).html
    assert len(module._short("y" * 999, 400)) == 400


def test_hidden_parameters_stay_hidden(workspace):
    engine = create_engine("sqlite://", hide_parameters=True)
    with engine.connect() as connection, pytest.raises(exc.DBAPIError) as caught:
        connection.execute(text("SELECT :a FROM nope"), {"a": "Pa55"})
    assert "Pa55" not in explain(caught.value).html
    assert "hidden (hide_parameters=True)" in explain(caught.value).html


def test_explain_takes_any_exception():
    assert repr(explain(LessonError("Do this."))) == "LessonError: Do this."
    assert repr(explain(ValueError("one\ntwo"))) == "ValueError: one"
    assert repr(explain(ValueError())) == "ValueError: "
    assert repr(explain(KeyboardInterrupt())).startswith(
        "KeyboardInterrupt: interrupted"
    )


def pair(one_side: str, many_side: str = "", key: str = '"parents.id"') -> None:
    """Map a parent and a child with these arguments, and connect them."""
    code = f"""
class Base(DeclarativeBase):
    pass

class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list["Child"]] = relationship({one_side})

class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey({key}))
    parent: Mapped["Parent"] = relationship({many_side})

Base.registry.configure()
"""
    exec(code, {**vars(sqlalchemy), **vars(orm)})


def one_class(body: str) -> None:
    lines = "".join(f"\n    {line}" for line in body.split("; "))
    code = f"class Base(DeclarativeBase): pass\nclass One(Base):{lines}"
    exec(code, {**vars(sqlalchemy), **vars(orm)})


def in_session(action) -> None:
    with playground(Base, Program(name="Physics")) as session:
        action(session)


def gone(session) -> None:
    program = session.get(Program, 1)
    session.execute(text("DELETE FROM programs"))
    program.name = "Physics and more"
    session.flush()


def refreshed(session) -> None:
    program = session.get(Program, 1)
    session.execute(text("DELETE FROM programs"))
    session.refresh(program)


def deleted_and_added(session) -> None:
    program = session.get(Program, 1)
    session.delete(program)
    session.commit()
    session.add(program)


def two_of_one_row(session) -> None:
    with Session(session.get_bind()) as other:
        program = other.get(Program, 1)
    held = session.get(Program, 1)
    session.add(program)
    assert held in session


def begun_late(session) -> None:
    session.get(Program, 1)
    session.begin()


def commit_inside(session) -> None:
    with session.begin():
        session.commit()
        session.get(Program, 1)


KEY = "id: Mapped[int] = mapped_column(primary_key=True)"
NAME = '__tablename__ = "ones"'


@pytest.mark.parametrize(
    ("fails", "advice"),
    [
        (lambda: pair('back_populates="parnt"'), "correct the name in back_populates"),
        (lambda: pair('back_populates="parent_id"'), "not the key"),
        (lambda: pair('order_by="Chld.id"'), "inside quotes write Class.column"),
        (lambda: pair('cascade="all, delete-orphn"'), "cascade= or lazy="),
        (lambda: pair('lazy="slectin"'), "cascade= or lazy="),
        (lambda: pair('cascade="all", passive_deletes="all"'), "passive_deletes=True"),
        (lambda: pair("", 'cascade="all, delete-orphan"'), "the list of the one side"),
        (lambda: pair("", 'backref="children"'), "and no backref"),
        (lambda: pair("", key='"parents.ident"'), "no such column"),
        (lambda: one_class(f"{NAME}; {KEY}; name: str"), "wrap the type in Mapped"),
        (lambda: one_class(f"{NAME}; {KEY}; s: Mapped[object]"), "another class wants"),
        (lambda: one_class(f"{NAME}; name: Mapped[str]"), "primary_key=True"),
        (lambda: one_class(KEY), "give the class a __tablename__"),
        (lambda: create_engine("sqlte://"), "postgresql+psycopg://user@"),
        (lambda: create_engine("just a text"), "postgresql+psycopg://user@"),
        (lambda: create_engine("sqlite://file.db"), "postgresql+psycopg://user@"),
        (lambda: Session().execute(select(Program)), "write Session(engine)"),
        (lambda: select(["x"]), "without square brackets"),
        (lambda: Course.program == 1, "and a key with a number"),
        (lambda: orm.selectinload("courses"), "write Class.attribute"),
        (lambda: create_async_engine("sqlite://"), "sqlite+aiosqlite://"),
        (lambda: in_session(lambda s: s.delete(Program(name="x"))), "that has a row"),
        (
            lambda: in_session(lambda s: s.execute(insert(Program).values(nme="x"))),
            "look for a typing error",
        ),
        (lambda: in_session(gone), "its row is gone"),
        (lambda: in_session(refreshed), "its row is gone"),
        (lambda: in_session(deleted_and_added), "its row is gone"),
        (lambda: in_session(two_of_one_row), "or session.merge"),
        (lambda: in_session(begun_late), "before the first query"),
        (lambda: in_session(commit_inside), "leave commit() out"),
        (
            lambda: in_session(lambda s: s.execute(text("DELETE FROM courses")).all()),
            "gives rows",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_each_message_of_sqlalchemy_gets_its_advice(fails, advice, workspace):
    with pytest.raises(exc.SQLAlchemyError) as caught:
        fails()
    assert advice in unescape(explain(caught.value).html), caught.value


def test_none_in_a_collection_says_what_to_do():
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list[Child]] = relationship()

    class Child(Base):
        __tablename__ = "children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"))

    with playground(Base) as session:
        session.add(Parent(children=[None]))
        with pytest.raises(FlushError) as caught:
            session.flush()
    assert "append an object instead of None" in explain(caught.value).html


def test_two_columns_of_one_key_get_their_own_advice():
    metadata = MetaData()
    Table("p", metadata, *(Column(name, Integer, primary_key=True) for name in "ab"))
    Table(
        "c",
        metadata,
        Column("pa", ForeignKey("p.a")),
        Column("pb", ForeignKey("p.b")),
    )
    with pytest.raises(exc.AmbiguousForeignKeysError) as caught:
        join(metadata.tables["p"], metadata.tables["c"])
    assert "ForeignKeyConstraint([...], [...])" in explain(caught.value).html


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "FATAL:  sorry, too many clients already",
            "The server has no free connection",
        ),
        ("FATAL:  remaining connection slots are reserved for x", "no free connection"),
        (
            'no pg_hba.conf entry for host "1.2.3.4", user "a", database "d", no encryption',
            "ssl",
        ),
        (
            'no pg_hba.conf entry for host "1.2.3.4", user "a", database "d", SSL on',
            "ada into the",
        ),
        ("FATAL:  the database system is starting up", "just starting or stopping"),
        ("SSL error: certificate verify failed", "certificate cannot be checked"),
        (
            'root certificate file "/home/a/root.crt" does not exist',
            "certificate cannot be",
        ),
        (
            "could not connect: Network is unreachable",
            "No PostgreSQL server answers at h:1",
        ),
        (
            "FATAL: Passwort-Authentifizierung fehlgeschlagen",
            "No connection to PostgreSQL at h:1",
        ),
    ],
)
def test_connections_that_fail_in_ways_hard_to_provoke(said, words):
    sentence = connection_sentence(OSError(said), "h:1", "h", "ada", "school")
    assert words in sentence and sentence.endswith(".") and "1.2.3.4" not in sentence


def test_a_connection_lost_later_is_a_sentence_too(postgresql, monkeypatch):
    engine = create_engine("postgresql+psycopg://ada:Pa55@127.0.0.1:1/d")
    with pytest.raises(exc.OperationalError) as caught:
        engine.connect()
    shown = explain(caught.value)
    assert "No PostgreSQL server answers at its address" in repr(shown)
    assert "Pa55" not in shown.html


# ---- the handler outside a kernel


def test_install_handler_is_harmless_without_ipython(monkeypatch):
    install_handler()
    monkeypatch.setitem(module.sys.modules, "IPython", None)
    monkeypatch.delitem(module.sys.modules, "IPython")
    install_handler()
    assert "IPython" not in module.sys.modules


def test_a_failure_of_the_handler_shows_the_learners_own(monkeypatch):
    class Shell:
        user_ns = {}
        shown = None

        def showtraceback(self, found):
            self.shown = found

    def broken(*_):
        raise RuntimeError

    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        monkeypatch.setattr(module.sys, name, None, raising=False)
    monkeypatch.setattr(module, "_lines", broken)
    shell, error = Shell(), LessonError("Do this.")
    module._show_in_ipython(shell, LessonError, error, None)
    assert shell.shown == (LessonError, error, None)
