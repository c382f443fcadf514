"""Shows the SQL that each line sent: under the cells of a notebook, or as text in any program."""

from __future__ import annotations

import asyncio
import atexit
import gc
import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.schema import DDLElement

from ._html import Shown, escape
from ._statements import (
    SHOWN_VALUES,
    Mark,
    Place,
    Statement,
    is_catalogue,
    render,
    render_text,
)
from ._style import CSS
from .database import describe
from .errors import LessonError, explain

__all__ = ["Count", "Watched", "counting", "quiet", "watch"]

_KEPT = SHOWN_VALUES + 1
_BATCHES = ExecuteStyle.INSERTMANYVALUES
_LONGEST_WAIT = 200
_NOT_THE_PROGRAM = {
    "sqlalchemy",
    "lesson_support",
    "contextlib",
    "asyncio",
    "concurrent",
    "threading",
    "greenlet",
}
_quiet: ContextVar[bool] = ContextVar("lesson_support_quiet", default=False)
_logs: dict[Engine, _Log] = {}


@contextmanager
def quiet() -> Iterator[None]:
    """Hide from the display what is sent inside the `with` block: the support package's own SQL."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


class Watched(Shown):
    """What `watch` returns: a line that says which database is used, and the way to end it.

    `stop()` ends the watching of this engine and leaves no listener behind; so does the end of a
    block `with watch(engine):`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        words = f"Set-up is complete. Database: {describe(engine)}."
        super().__init__(
            f'{CSS}<div class="ls ls-ready">✔ {escape(words)}</div>', words
        )

    def stop(self) -> None:
        if log := _logs.pop(self._engine, None):
            log.stop()

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def watch(engine: Engine | None, *, stream: TextIO | None = None) -> Watched | None:
    """From now on, show the SQL that is sent through `engine`, by the line that sent it.

    In a notebook it stands under each cell. Elsewhere, or where a `stream` is given, it is written
    there as plain text at the end of each transaction, so that those of several threads stay apart.

    Args:
        engine: any Engine or AsyncEngine, also several of them one after the other; `None` ends the
            watching of all.
        stream: an open text file; left out, a notebook's cells, or in a program `sys.stderr`.

    Returns:
        A line that says that the set-up is complete and which database is used; in a notebook it
        also carries the style sheet of all displays, so let it be the last value of the set-up cell.
        Its `stop()` ends the watching.

    Raises:
        LessonError: for what is no Engine.
    """
    if engine is None:
        while _logs:
            _logs.popitem()[1].stop()
        return None
    engine = getattr(engine, "sync_engine", engine)
    if not isinstance(engine, Engine):
        raise LessonError(
            "watch(engine) needs the Engine itself, as connect(...) or create_engine(...) returns it."
        )
    shell = _shell() if stream is None else None
    if shell is None:
        _replace(engine, _TextLog(engine, stream))
        return Watched(engine)
    if not isinstance(_logs.get(engine), _CellLog):
        _replace(engine, _CellLog(engine, shell.user_ns))
    _forget_hook(shell)
    shell.events.register("post_run_cell", _after_cell)
    return Watched(engine)


def _shell() -> Any:
    """The shell of IPython in which this runs, or None; a program need not have IPython."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _replace(engine: Engine, log: _Log) -> None:
    if earlier := _logs.pop(engine, None):
        earlier.stop()
    _logs[engine] = log


@dataclass
class Count:
    """How much a block sent: statements as they were written, and the rows that came back."""

    statements: int = 0
    rows: int = 0


@contextmanager
def counting(engine: Engine) -> Iterator[Count]:
    """Count what the `with` block sends through an Engine.

    The catalogue questions of create_all and the marks of transactions are not counted, and a list
    of rows that goes to one table counts as one statement, as on PostgreSQL.

    Args:
        engine: any Engine or AsyncEngine, watched or not.

    Returns:
        `with counting(engine) as count:`; after the block, `count.statements` and `count.rows`.
    """
    count, log = Count(), _Log(getattr(engine, "sync_engine", engine))
    try:
        yield count
    finally:
        log.stop()
        sent = [
            e for e in log.take() if isinstance(e, Statement) and not is_catalogue(e)
        ]
        count.statements = sum(statement.objects for statement in sent)
        count.rows = sum(s.count or 0 for s in sent if not _changes_rows(s))


def _changes_rows(statement: Statement) -> bool:
    names = ("is_insert", "is_update", "is_delete")
    return any(getattr(statement.element, name, False) for name in names)


def _after_cell(result: Any) -> None:
    from IPython.display import display

    logs = [log for log in _logs.values() if isinstance(log, _CellLog)]
    if not logs:
        _forget_hook(_shell())
        return
    if any(log.engine.dialect.is_async for log in logs):
        # What a failed lazy load never awaited; freed in the middle of a later cell it may be told
        # on stderr.
        gc.collect()
    for log in logs:
        entries = log.take()
        if not entries:
            continue
        try:
            shown = render(entries, result.info.raw_cell, describe(log.engine))
        except Exception as error:  # it must leave the cell's own result alone
            words = f"(the SQL of this cell cannot be shown: {type(error).__name__})"
            shown = Shown(escape(words), words)
        display(shown._repr_mimebundle_(), raw=True)  # no formatter is asked


def _forget_hook(shell: Any) -> None:
    """Unregister the hook, also that of this module before it was reloaded."""
    for hook in list(shell.events.callbacks["post_run_cell"]):
        if getattr(hook, "__name__", "") == _after_cell.__name__:
            shell.events.unregister("post_run_cell", hook)


def _caller(greenlet: Any) -> Any:
    """The greenlet that called this one, or the current one: what AsyncSession awaits runs in one.

    None where there is none. A greenlet of Python for the browser knows of no other.
    """
    if "greenlet" not in sys.modules:
        return None
    return getattr(greenlet or sys.modules["greenlet"].getcurrent(), "parent", None)


class _Log:
    """Collects what one engine sends, by SQLAlchemy's events, without asking which line it was.

    https://docs.sqlalchemy.org/en/21/core/events.html
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._entries: list[Mark | Statement] = []
        # By id of the connection, as tasks take turns while the database works: what SQLAlchemy has
        # begun to execute, and what it executed last.
        self._begun: dict[int, Any] = {}
        self._open: dict[int, Statement] = {}
        self._listeners = [
            ("begin", lambda conn: self._mark(conn, "BEGIN")),
            ("commit", lambda conn: self._mark(conn, "COMMIT")),
            ("rollback", lambda conn: self._mark(conn, "ROLLBACK")),
            ("savepoint", lambda conn, name: self._mark(conn, "SAVEPOINT")),
            (
                "rollback_savepoint",
                lambda conn, name, ctx: self._mark(conn, "ROLLBACK TO SAVEPOINT"),
            ),
            (
                "release_savepoint",
                lambda conn, name, ctx: self._mark(conn, "RELEASE SAVEPOINT"),
            ),
            ("before_execute", self._before_execute),
            ("after_cursor_execute", self._after_cursor),
            ("handle_error", self._failed),
        ]
        for name, listener in self._listeners:
            event.listen(engine, name, listener, retval=name == "before_execute")

    def stop(self) -> None:
        for name, listener in self._listeners:
            event.remove(self.engine, name, listener)

    def take(self) -> list[Mark | Statement]:
        for begun in self._begun.values():
            self._entries.append(_noted(*begun))
        entries, self._entries = self._entries, []
        self._begun.clear()
        self._open.clear()
        return entries

    def _place(self) -> Place | None:
        return None

    def _entries_of(self, number: int) -> list[Mark | Statement]:
        return self._entries

    def _mark(self, conn: Connection, word: str) -> None:
        if _quiet.get():
            return
        entries = self._entries_of(id(conn))
        # A Connection announces its statement before it begins the transaction for it.
        if word != "BEGIN" and id(conn) in self._begun:
            entries.append(_noted(*self._begun.pop(id(conn))))
        entries.append(Mark(self._place(), word))

    def _before_execute(self, conn, element, multi, params, options) -> tuple:
        if not _quiet.get():
            self._begun[id(conn)] = (self._place(), element, multi, params)
        return element, multi, params

    def _after_cursor(self, conn, cursor, text, parameters, context, many) -> None:
        if _quiet.get():
            return
        statement = self._sent(id(conn), text, parameters, context)
        if statement is None:
            return
        if context.execute_style is _BATCHES:
            statement.count = len(context.compiled_parameters)
        elif cursor.description is not None and not (
            context.isinsert and cursor.rowcount > 0
        ):
            if statement.count is None:
                statement.count = 0
            context.cursor = CountingCursor(context.cursor, statement)
        elif cursor.rowcount >= 0 and not isinstance(statement.element, DDLElement):
            statement.count = (statement.count or 0) + cursor.rowcount

    def _sent(
        self, number: int, text: str, parameters: Any, context, failed: bool = False
    ) -> Statement | None:
        """The statement that the driver was given; a long run of one kind is only counted."""
        begun = self._begun.pop(number, None)
        if context.compiled is None:
            begun = (self._place(), None, None, None)
        elif begun is None:  # one more call for the same rows, or one not to be shown
            statement = self._open.get(number)
            if statement is not None:
                statement.calls += 1
            return statement
        place, element, multi, params = begun
        entries = self._entries_of(number)
        last = entries[-1] if entries else None
        again = (
            type(last) is Statement
            and last.text == text
            and last.place == place
            and not (last.error or failed)
        )
        if again and last.run >= _KEPT:
            given = len(multi) if multi else 1 if params else 0
            if given * last.objects == last.given:
                last.given += given
                last.objects += 1
                last.calls += 1
                self._open[number] = last
                return last
        if "savepoint" in getattr(element, "__visit_name__", ""):
            self._open.pop(number, None)
            return None
        statement = _noted(place, element, multi, params)
        statement.text, statement.parameters, statement.calls = text, parameters, 1
        statement.run = last.run + 1 if again else 1
        if context.compiled is not None:
            statement.real = context.compiled_parameters[:_KEPT]
        entries.append(statement)
        self._open[number] = statement
        return statement

    def _failed(self, context) -> None:
        if _quiet.get():
            return
        said = repr(explain(context.sqlalchemy_exception or context.original_exception))
        number = id(context.connection)
        entries = self._entries_of(number)
        if context.statement is None:
            last = entries[-1] if entries else None
            if getattr(last, "word", "") == "COMMIT":
                last.word += f" -> {said}"  # a deferred constraint is checked only here
            return
        if (made := context.execution_context) is not None:
            sent = context.statement, context.parameters, made
            statement = self._sent(number, *sent, failed=True)
        elif number in self._begun:
            statement = _noted(*self._begun.pop(number))
            entries.append(statement)
        else:
            return
        if statement is not None:
            statement.error = said


def _noted(place: Place | None, element: Any, multi: Any, params: Any) -> Statement:
    rows = list(multi[:_KEPT]) if multi else [params] if params else []
    return Statement(place, element, rows, len(multi) if multi else len(rows))


class _CellLog(_Log):
    """Notes for each statement the line of the running cell that sent it."""

    def __init__(self, engine: Engine, user_ns: dict) -> None:
        self._user_ns = user_ns
        self._cell: FrameType | None = None
        self._thread = 0
        self._places: dict[int, Place] = {}
        super().__init__(engine)

    def take(self) -> list[Mark | Statement]:
        self._cell, self._places = None, {}
        return super().take()

    def _place(self) -> Place | None:
        """The line of the running cell: the outermost frame that runs in the notebook.

        While a cell runs, an instruction of it stands for one line, so that the frames between it
        and SQLAlchemy are looked through only once for each instruction.
        """
        cell = self._cell
        if cell is not None and self._thread == threading.get_ident():
            place = self._places.get(cell.f_lasti)
            if place is not None:
                return place
        return self._found()

    def _found(self) -> Place | None:
        frame, below, place, outermost = sys._getframe(3), "", None, None
        greenlet = None
        while frame is not None:
            if frame.f_globals is self._user_ns and below != "run_cell_magic":
                ends = below in ("__exit__", "__aexit__")
                place = Place(frame.f_lineno, ends, _function_of(frame))
                outermost = frame
            below, frame = frame.f_code.co_name, frame.f_back
            if frame is None:
                greenlet = _caller(greenlet)
                frame = greenlet.gr_frame if greenlet is not None else None
        if place is None:
            return self._place_that_waits()
        if not self.engine.dialect.is_async and not place.function:
            if self._cell is not outermost:
                self._cell, self._thread = outermost, threading.get_ident()
                self._places = {}
            self._places[outermost.f_lasti] = place
        return place

    def _place_that_waits(self) -> Place | None:
        """The end of an `async with` block: it closes its Session in a task, and waits for it."""
        try:
            closing = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            return None
        for task in asyncio.all_tasks() if closing else ():
            coroutine, mine, exits = task.get_coro(), [], False
            while frame := getattr(coroutine, "cr_frame", None):
                if frame.f_globals is self._user_ns:
                    mine.append(frame)
                else:
                    exits = exits or frame.f_code.co_name == "__aexit__"
                    values = frame.f_locals.values() if exits and mine else ()
                    if any(value is closing for value in values):
                        function = _function_of(mine[0])
                        return Place(mine[0].f_lineno, len(mine) == 1, function)
                coroutine = coroutine.cr_await
        return None


def _function_of(frame: FrameType) -> str:
    """The name of the source of a function's frame; empty for that of a cell."""
    code = frame.f_code
    return code.co_filename if code.co_flags & inspect.CO_OPTIMIZED else ""


_telling = threading.RLock()


class _TextLog(_Log):
    """Writes each transaction to a stream when it ends, with the lines of the program."""

    def __init__(self, engine: Engine, stream: TextIO | None) -> None:
        self._stream = stream
        self._waiting: dict[int, list[Mark | Statement]] = {}
        super().__init__(engine)
        atexit.register(self._write_all)

    def stop(self) -> None:
        super().stop()
        atexit.unregister(self._write_all)
        self._write_all()

    def _entries_of(self, number: int) -> list[Mark | Statement]:
        return self._waiting.setdefault(number, [])

    def _mark(self, conn: Connection, word: str) -> None:
        super()._mark(conn, word)
        if word in ("COMMIT", "ROLLBACK"):
            self._write(id(conn))

    def _after_cursor(self, conn, cursor, text, parameters, context, many) -> None:
        super()._after_cursor(conn, cursor, text, parameters, context, many)
        if len(self._entries_of(id(conn))) > _LONGEST_WAIT:
            self._write(id(conn))

    def _write_all(self) -> None:
        for number in list(self._waiting):
            self._write(number)

    def _write(self, number: int) -> None:
        entries = self._waiting.pop(number, [])
        self._open.pop(number, None)
        if not entries:
            return
        # A stream that is closed must not stop the program; and two threads that parse at once make
        # Python fail: https://github.com/python/cpython/issues/106905
        with suppress(Exception), _telling:
            told = render_text(entries, describe(self.engine))
            print(told, file=self._stream or sys.stderr, flush=True)

    def _place(self) -> Place | None:
        """The innermost line that is neither SQLAlchemy's nor of what calls it."""
        frame, below, greenlet = sys._getframe(2), "", None
        while frame is not None:
            package = frame.f_globals.get("__name__", "").partition(".")[0]
            if package not in _NOT_THE_PROGRAM:
                ends = below in ("__exit__", "__aexit__")
                return Place(frame.f_lineno, ends, frame.f_code.co_filename)
            below, frame = frame.f_code.co_name, frame.f_back
            if frame is None:
                greenlet = _caller(greenlet)
                frame = greenlet.gr_frame if greenlet is not None else None
        return None


class CountingCursor:
    """Stands in for a driver's cursor and counts the rows that are fetched: SQLite cannot tell.

    `counted` is what has the `count`.
    """

    __slots__ = ("_cursor", "_counted", "description", "close")

    def __init__(self, cursor: Any, counted: Any) -> None:
        self._cursor, self._counted = cursor, counted
        self.description, self.close = cursor.description, cursor.close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def fetchone(self) -> Any:
        row = self._cursor.fetchone()
        self._counted.count += row is not None
        return row

    def fetchmany(self, *args: Any) -> list:
        rows = self._cursor.fetchmany(*args)
        self._counted.count += len(rows)
        return rows

    def fetchall(self) -> list:
        rows = self._cursor.fetchall()
        self._counted.count += len(rows)
        return rows

    def __iter__(self) -> Iterator:
        for row in self._cursor:
            self._counted.count += 1
            yield row
