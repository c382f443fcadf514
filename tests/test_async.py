"""AsyncEngines: what `connect_async` gives, what the displays do with it, and what a judge can await."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from lesson_support import (
    LessonError,
    changes,
    connect,
    connect_async,
    counting,
    explain,
    fresh_tables,
    states,
    tables,
)
from lesson_support import database as module
from lesson_support.check import _is_stub
from lesson_support.database import async_beside, private_engine
from lesson_support.university import Base, Course, Program

# psycopg cannot use the loop that Windows would choose
LOOP = {"loop_factory": asyncio.SelectorEventLoop}
SETUP = """
import asyncio
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from lesson_support import connect_async, fresh_tables, watch
from lesson_support.university import Base, Course, Program
engine = connect_async("async")
ready = watch(engine)
fresh_tables(engine, Base, data=True)
"""


def run(coroutine):
    with asyncio.Runner(**LOOP) as runner:
        return runner.run(coroutine)


async def programs(engine: AsyncEngine) -> list[str]:
    async with AsyncSession(engine) as session:
        names = await session.scalars(select(Program.name).order_by(Program.name))
        return list(names)


@pytest.fixture
def cell(database):
    """Run a cell in a shell of its own; returns the plain texts of the displays."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()

    def run_cell(source: str) -> list[str]:
        with capture_output() as captured:
            shell.run_cell(source, store_history=True)
        shown = [o.data for o in captured.outputs if "text/html" in o.data]
        return [data["text/plain"] for data in shown]

    assert run_cell(SETUP) == []
    yield run_cell
    run_cell("watch(None)")
    InteractiveShell.clear_instance()


# ---- what connect_async gives


def test_it_is_the_workspace_of_connect(database):
    engine = connect_async("01")
    assert isinstance(engine, AsyncEngine)
    fresh_tables(engine, Base, data=True)
    assert len(run(programs(engine))) == 8
    again = connect("01", fresh=False)
    assert set(inspect(again).get_table_names()) == {"courses", "programs"}


def test_foreign_keys_are_enforced(database):
    engine = connect_async("01")
    fresh_tables(engine, Base)

    async def orphan():
        async with AsyncSession(engine) as session:
            session.add(Course(code="X", title="X", credits=1, program_id=9))
            await session.commit()

    with pytest.raises(IntegrityError):
        run(orphan())


def test_postgresql_sees_only_the_schema_and_does_not_wait_long(postgresql):
    engine = connect_async("01")

    async def settings():
        async with engine.connect() as connection:
            path = await connection.scalar(text("SHOW search_path"))
            return path, await connection.scalar(text("SHOW lock_timeout"))

    path, patience = run(settings())
    assert path.startswith("lesson_") and "," not in path and patience == "5s"


def test_no_connection_stays_open_after_a_block(database):
    engine = connect_async("01")
    fresh_tables(engine, Base)
    assert run(programs(engine)) == []
    assert run(programs(engine)) == []  # in another loop
    opened = [o for workspace in module._open.values() for o in workspace]
    assert not any(o.raw for o in opened if o.engine is engine.sync_engine)


def test_the_set_up_can_be_run_again_while_a_session_is_open(database, caplog):
    async def leave_open():
        session = AsyncSession(connect_async("01"))
        async with session.bind.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        session.add(Program(name="Physics"))
        await session.flush()
        engine = connect_async("01")
        fresh_tables(engine, Base)
        names = await programs(engine)
        await session.rollback()
        await session.close()
        return names

    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        assert run(leave_open()) == []
    assert not caplog.records


def test_a_connection_that_was_closed_elsewhere_is_told(database):
    async def act():
        async with AsyncSession(connect_async("01")) as session:
            await session.execute(text("SELECT 1"))
            connect_async("01")
            with pytest.raises(SQLAlchemyError, match="Can't reconnect"):
                await session.execute(text("SELECT 1"))

    run(act())


def test_a_missing_package_is_named(database, monkeypatch):
    monkeypatch.setitem(sys.modules, "greenlet", None)
    with pytest.raises(LessonError, match="greenlet is missing"):
        connect_async("01")


def test_the_loop_of_windows_is_refused_with_postgresql(database, monkeypatch):
    async def act():
        kind = type(asyncio.get_running_loop())
        monkeypatch.setattr(asyncio, "ProactorEventLoop", kind, raising=False)
        connect_async("01")

    if database == "sqlite":
        run(act())
    else:
        with pytest.raises(LessonError, match="unset LESSONS_DATABASE_URL"):
            run(act())


def test_beside_a_private_engine(database):
    with private_engine() as engine:
        Base.metadata.create_all(engine)
        inner = async_beside(engine)
        assert run(programs(inner)) == []


# ---- what the displays do with it


def test_displays_look_through_an_engine_beside_it(database):
    engine = connect_async("01")
    fresh_tables(engine, Base)
    before = tables(engine, Base)

    async def insert():
        async with AsyncSession(engine) as session:
            physics = Program(name="Physics")
            session.add(physics)
            seen = states(session, physics=physics)
            await session.flush()
            inside = await session.run_sync(tables, Program)
            await session.commit()
            return seen, inside

    with counting(engine) as count:
        seen, inside = run(insert())
    assert "pending" in repr(seen) and "programs: 1 row" in repr(inside)
    assert repr(changes(before)).startswith("What changed: 1 inserted")
    assert (count.statements, count.rows) == (1, 0)


def test_what_cannot_be_looked_through_is_told(workspace):
    own = create_async_engine("sqlite+aiosqlite://")
    for look in (lambda: tables(own, Base), lambda: fresh_tables(own, Base)):
        with pytest.raises(LessonError, match="one of your own"):
            look()
    with pytest.raises(LessonError, match="await session.run_sync"):
        tables(AsyncSession(own), Base)


def test_statements_belong_to_the_lines_that_await_them(cell):
    [plain] = cell(
        "async with AsyncSession(engine) as session:\n"
        "    query = select(Program).where(Program.name == 'Music')\n"
        "    music = (await session.scalars(query)).one()\n"
        "    await session.refresh(music, ['courses'])\n"
        "    await session.commit()"
    )
    lines = [line for line in plain.splitlines() if line.startswith("line")]
    assert [line[:7] for line in lines] == ["line 3:", "line 4:", "line 5:"]


def test_the_end_of_a_block_is_told(cell):
    [plain] = cell(
        "async with AsyncSession(engine) as session:\n"
        "    await session.scalars(select(Program))"
    )
    assert plain.splitlines()[-2:] == [
        "line 1: async with AsyncSession(engine) as session: (its block ends)",
        "  ROLLBACK",
    ]


def test_a_function_belongs_to_the_line_that_calls_it(cell):
    cell(
        "async def load():\n"
        "    async with AsyncSession(engine) as session:\n"
        "        return (await session.scalars(select(Program))).all()"
    )
    [plain] = cell("print()\nloaded = await load()")
    assert [line for line in plain.splitlines() if line.startswith("line")] == [
        "line 2: loaded = await load()"
    ]


def test_a_task_shows_the_line_of_its_function_and_whose_cell_it_is(cell):
    load = (
        "async def load():\n"
        "    async with AsyncSession(engine) as session:\n"
        "        return (await session.scalars(select(Program))).all()\n"
    )
    [here] = cell(load + "_ = await asyncio.gather(load())")
    assert "\nline 3: return (await" in here
    assert "\nline 2: async with AsyncSession(engine) as session: (its" in here
    [there] = cell("_ = await asyncio.gather(load())")
    assert "\nline 3 of an earlier cell: return (await" in there
    assert "\nline 2 of an earlier cell: async with" in there


def test_a_stream_counts_the_rows_that_were_fetched(cell):
    [plain] = cell(
        "async with AsyncSession(engine) as session:\n"
        "    result = await session.stream_scalars(select(Course))\n"
        "    rows = [row async for row in result]"
    )
    assert "-> 36 rows read" in plain


def test_statements_of_tasks_are_not_mixed_up(database):
    engine = connect_async("01")
    fresh_tables(engine, Base, data=True)

    async def load(name):
        async with AsyncSession(engine) as session:
            query = select(Course).join(Course.program).where(Program.name == name)
            return len((await session.scalars(query)).all())

    async def all_at_once():
        return await asyncio.gather(*map(load, ["Physics", "Music", "Biology"]))

    with counting(engine) as count:
        assert run(all_at_once()) == [7, 1, 5]
    assert (count.statements, count.rows) == (3, 13)


# ---- errors and exercises


def test_a_lazy_load_is_explained_alike(database, capfd):
    engine = connect_async("01")
    fresh_tables(engine, Base, data=True)
    said = []

    async def touch(commit):
        async with AsyncSession(engine) as session:
            music = (await session.scalars(select(Program).limit(1))).one()
            if commit:
                await session.commit()
            try:
                print(music.name if commit else music.courses)
            except SQLAlchemyError as error:
                said.append(explain(error))

    run(touch(commit=False))
    run(touch(commit=True))
    for shown in said:
        assert repr(shown).startswith("MissingGreenlet: a value must be read")
        assert "expire_on_commit=False" in shown.html
    assert capfd.readouterr().err == ""


def test_an_unfinished_async_function_is_a_stub():
    async def dots(session): ...

    async def documented(session):
        """Say something."""

    async def commits(session):
        await session.commit()

    async def returns(session):
        return 3

    assert _is_stub(dots) and _is_stub(documented)
    assert not _is_stub(commits) and not _is_stub(returns)


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_judge_works_with_and_without_a_running_loop(database, in_a_loop):
    from lesson_support.check import exercise

    item = exercise("14-repair")
    names = {}
    exec(
        "from datetime import date\nfrom sqlalchemy import select\n"
        "from sqlalchemy.orm import selectinload\n"
        f"from lesson_support.blog import Post, User\n{item.code}",
        names,
    )

    async def inside():
        return item.check(names["add_post"])

    reply = run(inside()) if in_a_loop else item.check(names["add_post"])
    assert repr(reply).startswith("✔")


def test_the_events_of_an_async_engine_are_those_inside_it(database):
    engine = connect_async("01")
    sent = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(connection, cursor, statement, *rest):
        sent.append(statement)

    fresh_tables(engine, Base)
    assert not sent  # the displays go beside it
    assert run(programs(engine)) == [] and len(sent) == 1
