"""Shows under each cell the SQL that its lines sent.

The rich form is the real SQL of the database in use. The plain form is written from the statement
object before any database dialect is applied, so that it reads the same on SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, time
from itertools import groupby
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql import visitors

from ._html import Shown, escape, plural, short
from ._source import statement_at
from ._style import CSS
from .database import describe
from .errors import LessonError, explain

__all__ = ["Count", "counting", "quiet", "watch"]

_NEUTRAL = StrCompileDialect(paramstyle="named")
_NEUTRAL.insert_returning = (
    False  # whether an INSERT returns the new key differs by database
)
_CATALOGUES = {"pg_catalog", "information_schema"}
_SHOWN_VALUES = 5
_SHOWN_NAMES = 12
_ABSENT = object()
_COMMENT = re.compile(r"^(\s*(/\*.*?\*/|--[^\n]*\n))*", re.DOTALL)
_BIND = r"(?:%\(\w+\)s(?:::\w+)?|[^,()]+)"
_LONG_IN = re.compile(rf"(\bIN \((?:{_BIND}, ){{4}}{_BIND})(?:, {_BIND})+\)")
_KEYWORDS = re.compile(
    r"('(?:[^']|'')*')|\b(SELECT|DISTINCT|FROM|WHERE|AND|OR|NOT|NULL|IS|IN|AS|ON|JOIN|LEFT|OUTER"
    r"|INNER|ORDER|GROUP|BY|HAVING|LIMIT|OFFSET|INSERT|INTO|VALUES|UPDATE|SET|DELETE|CREATE|TABLE"
    r"|ALTER|ADD|DROP|INDEX|UNIQUE|PRIMARY|FOREIGN|KEY|REFERENCES|CASCADE|RESTRICT|RETURNING"
    r"|PRAGMA|DEFAULT|CHECK|CONSTRAINT|EXISTS|LIKE|BETWEEN|UNION|WITH|CASE|WHEN|THEN|ELSE|END)\b"
)
_ENDS = " (its block ends)"
_NO_SQL = "(SQLAlchemy could not make SQL of this statement)"
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


def watch(engine: Engine | None) -> Shown | None:
    """From now on, show under each cell the SQL that its lines sent through `engine`.

    Args:
        engine: any Engine or AsyncEngine; `None` ends the watching of all engines.

    Returns:
        A line that says that the set-up is complete and which database is used; it also carries
        the style sheet of all displays, so let it be the last value of the set-up cell.

    Raises:
        LessonError: outside IPython, where there are no cells, and for what is no Engine.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise LessonError(
            "watch(engine) shows SQL under notebook cells; run it in a notebook."
        )
    for hook in list(shell.events.callbacks["post_run_cell"]):
        if getattr(hook, "__name__", "") == _after_cell.__name__:
            shell.events.unregister("post_run_cell", hook)
    if engine is None:
        while _logs:
            _logs.popitem()[1].stop()
        return None
    engine = getattr(engine, "sync_engine", engine)
    if not isinstance(engine, Engine):
        raise LessonError(
            "watch(engine) needs the Engine itself, as connect(...) returns it."
        )
    if engine not in _logs:
        _logs[engine] = _Log(engine, shell.user_ns)
    shell.events.register("post_run_cell", _after_cell)
    words = f"Set-up is complete. Database: {describe(engine)}."
    return Shown(f'{CSS}<div class="ls ls-ready">✔ {escape(words)}</div>', words)


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
    count, log = Count(), _Log(getattr(engine, "sync_engine", engine), {})
    try:
        yield count
    finally:
        log.stop()
        sent = [
            e for e in log.take() if isinstance(e, _Statement) and not _is_catalogue(e)
        ]
        count.statements = len(sent)
        count.rows = sum(s.count or 0 for s in sent if not _changes_rows(s))


def _changes_rows(statement: _Statement) -> bool:
    names = ("is_insert", "is_update", "is_delete")
    return any(getattr(statement.element, name, False) for name in names)


def _after_cell(result) -> None:
    from IPython.display import display

    if any(log.engine.dialect.is_async for log in _logs.values()):
        # What a failed lazy load never awaited; freed in the middle of a later cell it may be told
        # on stderr.
        gc.collect()
    for log in list(_logs.values()):
        entries = log.take()
        if not entries:
            continue
        try:
            display(_render(entries, result.info.raw_cell, describe(log.engine)))
        except (
            Exception
        ) as error:  # a display that fails must leave the cell's own result alone
            words = f"(the SQL of this cell cannot be shown: {type(error).__name__})"
            display(Shown(escape(words), words))


class _Place(NamedTuple):
    """A line of the running cell, and whether it is the end of the `with` block that starts there.

    A task begins in a function, which may stand in an earlier cell: `function` names its source.
    """

    line: int
    ends: bool
    function: str = ""


def _function_of(frame: Any) -> str:
    """The name of the source of a function's frame; empty for that of a cell."""
    code = frame.f_code
    return code.co_filename if code.co_flags & inspect.CO_OPTIMIZED else ""


@dataclass
class _Mark:
    place: _Place | None
    word: str


@dataclass
class _Statement:
    """One statement object, and what the driver made of it."""

    place: _Place | None
    element: Any = None
    rows: list[dict] = field(default_factory=list)
    real: list[dict] = field(
        default_factory=list
    )  # the same rows with defaults filled in
    sent: list[tuple[str, Any]] = field(default_factory=list)
    count: int | None = None
    error: str = ""

    @property
    def key(self) -> tuple:
        text = self.sent[0][0] if self.sent else ""
        # SQLite has one text for two rows and for four, PostgreSQL one for each number
        rows = len(self.rows) if text.startswith("INSERT") else 0
        return (text or id(self), rows, self.error)


class _Log:
    """Collects what one engine sends, by SQLAlchemy's events.

    https://docs.sqlalchemy.org/en/21/core/events.html
    """

    def __init__(self, engine: Engine, user_ns: dict) -> None:
        self.engine, self._user_ns = engine, user_ns
        self._entries: list[_Mark | _Statement] = []
        # tasks take turns while the database works, each on a connection of its own
        self._open: WeakKeyDictionary[Connection, _Statement] = WeakKeyDictionary()
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
            ("before_cursor_execute", self._before_cursor),
            ("after_cursor_execute", self._after_cursor),
            ("handle_error", self._failed),
        ]
        for name, listener in self._listeners:
            event.listen(engine, name, listener)

    def stop(self) -> None:
        for name, listener in self._listeners:
            event.remove(self.engine, name, listener)

    def take(self) -> list[_Mark | _Statement]:
        entries, self._entries = self._entries, []
        self._open.clear()
        return entries

    def _place(self) -> _Place | None:
        """The line of the running cell: the outermost frame that runs in the notebook."""
        frame, below, place = sys._getframe(2), "", None
        greenlet = None
        while frame is not None:
            if frame.f_globals is self._user_ns and below != "run_cell_magic":
                ends = below in ("__exit__", "__aexit__")
                place = _Place(frame.f_lineno, ends, _function_of(frame))
            below, frame = frame.f_code.co_name, frame.f_back
            if frame is None and "greenlet" in sys.modules:
                # what AsyncSession awaits runs in a greenlet, whose caller is another greenlet
                greenlet = (greenlet or sys.modules["greenlet"].getcurrent()).parent
                frame = greenlet.gr_frame if greenlet is not None else None
        return place or self._place_that_waits()

    def _place_that_waits(self) -> _Place | None:
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
                        return _Place(mine[0].f_lineno, len(mine) == 1, function)
                coroutine = coroutine.cr_await
        return None

    def _mark(self, conn: Connection, word: str) -> None:
        if _quiet.get():
            return
        mark = _Mark(self._place(), word)
        last = self._entries[-1] if self._entries else None
        if (
            word == "BEGIN"
            and last is not None
            and last is self._open.get(conn)
            and not last.sent
        ):
            # A Connection announces its statement before it begins the transaction for it.
            self._entries.insert(-1, mark)
        else:
            self._entries.append(mark)

    def _before_execute(self, conn, element, multi, params, options) -> None:
        if _quiet.get() or "savepoint" in getattr(element, "__visit_name__", ""):
            self._open.pop(conn, None)
            return
        rows = list(multi) if multi else [params] if params else []
        self._open[conn] = _Statement(self._place(), element, rows)
        self._entries.append(self._open[conn])

    def _before_cursor(self, conn, cursor, text, parameters, context, many) -> None:
        if _quiet.get() or (context.compiled is not None and conn not in self._open):
            return
        if context.compiled is None:
            self._open[conn] = _Statement(self._place())
            self._entries.append(self._open[conn])
        self._open[conn].sent.append((text, parameters))
        self._open[conn].real = (
            context.compiled_parameters if context.compiled is not None else []
        )

    def _after_cursor(self, conn, cursor, text, parameters, context, many) -> None:
        statement = self._open.get(conn)
        if statement is None or _quiet.get():
            return
        if context.execute_style is ExecuteStyle.INSERTMANYVALUES:
            statement.count = len(context.compiled_parameters)
        elif cursor.description is not None and not (
            context.isinsert and cursor.rowcount > 0
        ):
            statement.count = statement.count or 0
            context.cursor = _CountingCursor(context.cursor, statement)
        elif cursor.rowcount >= 0 and not isinstance(statement.element, DDLElement):
            statement.count = (statement.count or 0) + cursor.rowcount

    def _failed(self, context) -> None:
        if _quiet.get():
            return
        said = repr(explain(context.sqlalchemy_exception or context.original_exception))
        last = self._entries[-1] if self._entries else None
        if context.statement is None and getattr(last, "word", "") == "COMMIT":
            last.word += f" -> {said}"  # a deferred constraint is checked only here
        elif context.connection in self._open:
            self._open[context.connection].error = said


class _CountingCursor:
    """Stands in for a driver's cursor and counts the rows that are fetched: SQLite cannot tell."""

    def __init__(self, cursor, statement: _Statement) -> None:
        self._cursor, self._statement = cursor, statement

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def fetchone(self):
        row = self._cursor.fetchone()
        self._statement.count += row is not None
        return row

    def fetchmany(self, *args):
        rows = self._cursor.fetchmany(*args)
        self._statement.count += len(rows)
        return rows

    def fetchall(self):
        rows = self._cursor.fetchall()
        self._statement.count += len(rows)
        return rows

    def __iter__(self):
        for row in self._cursor:
            self._statement.count += 1
            yield row


def _literal(value: Any) -> str:
    """Write a value as SQL would: 'text', NULL, 6, '2026-09-01'; long ones are cut."""
    if value is None:
        return "NULL"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(bytes(value))} bytes>"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    text = short(value)
    quoted = isinstance(value, (str, date, time))
    return "'" + text.replace("'", "''") + "'" if quoted else text


def _is_catalogue(statement: _Statement) -> bool:
    """Is this one of create_all's or inspect's questions to the database about itself?"""
    if statement.element is None or isinstance(statement.element, str):
        sent = statement.sent[0][0].lstrip() if statement.sent else ""
        return sent.startswith("PRAGMA") or " FROM sqlite_" in sent
    if isinstance(statement.element, DDLElement):
        return False
    return any(
        getattr(part, "schema", None) in _CATALOGUES
        for part in visitors.iterate(statement.element)
        if part.__visit_name__ == "table"
    )


def _tidy(sql: str) -> str:
    """SQLAlchemy breaks lines well; only tabs, blanks at line ends and long IN lists are taken out."""
    lines = [line.rstrip() for line in sql.expandtabs(4).strip().splitlines()]
    return _LONG_IN.sub(r"\1, …)", "\n".join(line for line in lines if line))


def _neutral(statement: _Statement) -> tuple[str, list[str]]:
    """The statement without a database's dialect, and one text of values per row of parameters."""
    element = statement.element
    if element is None or isinstance(element, str):
        text, parameters = statement.sent[0] if statement.sent else (str(element), None)
        many = parameters if isinstance(parameters, list) else [parameters]
        return _tidy(text), [_pairs(row) for row in many if row]
    if isinstance(element, DDLElement):
        return _tidy(str(element.compile(dialect=_NEUTRAL))), []
    keys = list(statement.rows[0]) if statement.rows else None
    if getattr(element, "is_insert", False) and statement.real:
        # the columns that were sent: without a database, it is not known that a key numbers itself
        keys = [
            column.key
            for column in element.table.columns
            if column.key in statement.real[0]
        ] or keys
    compiled = element.compile(dialect=_NEUTRAL, column_keys=keys)
    original = {escaped: name for name, escaped in compiled.escaped_bind_names.items()}
    text, values = "", []
    for number, row in enumerate((statement.rows or [{}])[: _SHOWN_VALUES + 1]):
        real = statement.real[number] if number < len(statement.real) else {}
        state = compiled.construct_expanded_state({**real, **row}, escape_names=False)
        text = text or state.statement
        known = {**state.parameters, **real}
        names = dict.fromkeys(re.findall(r"(?<!:):(\w+)", state.statement))
        row_of_values = {
            name: known.get(original.get(name, name), _ABSENT) for name in names
        }
        values.append(
            _pairs({n: v for n, v in row_of_values.items() if v is not _ABSENT})
        )
    return _tidy(text), [value for value in values if value]


def _told_neutral(statement: _Statement) -> tuple[str, list[str]]:
    """As `_neutral`; a statement that cannot be compiled without a database is told as it is."""
    try:
        return _neutral(statement)
    except Exception:  # one odd statement must not hide the others
        made = statement.sent[0][0] if statement.sent else _NO_SQL
        return _tidy(made), []


def _pairs(row: Any) -> str:
    if isinstance(row, dict):
        pairs = [f"{name}={_literal(value)}" for name, value in row.items()]
    else:
        pairs = list(map(_literal, row))
    more = len(pairs) - _SHOWN_NAMES
    return ", ".join(pairs[:_SHOWN_NAMES]) + (
        f", … and {more} more" if more > 0 else ""
    )


def _effect(text: str, count: int | None, error: str) -> str:
    """What the statement did, in words."""
    if error:
        return error
    if count is None:
        return "done"
    verb = _COMMENT.sub("", text).split(None, 1)[0].upper()
    done = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}.get(
        verb, "read"
    )
    return f"{plural(count, 'row')} {done}"


def _highlight(sql: str) -> str:
    out, end = [], 0
    for found in _KEYWORDS.finditer(sql):
        kind = "s" if found[1] else "k"
        out.append(f'{escape(sql[end : found.start()])}<span class="{kind}">')
        out.append(f"{escape(found[0])}</span>")
        end = found.end()
    return "".join(out) + escape(sql[end:])


@dataclass
class _Block:
    """Statements that follow each other with the same text, told once."""

    kind: str
    plain: str = ""
    real: str = ""
    values: list[str] = field(default_factory=list)
    rows: int = 0
    times: int = 1
    objects: int = 1
    effect: str = ""


def _blocks(entries: list[_Mark | _Statement]) -> Iterator[_Block]:
    def kind(entry):
        if isinstance(entry, _Mark):
            return ("mark", id(entry))
        return ("catalogue",) if _is_catalogue(entry) else ("sql", *entry.key)

    for key, group in groupby(entries, kind):
        group = list(group)
        if key[0] == "mark":
            yield _Block("mark", group[0].word)
            continue
        sent = [text for statement in group for text, _ in statement.sent]
        if key[0] == "catalogue":
            yield _Block(
                "catalogue",
                real="\n".join(map(_tidy, sent)),
                times=len(sent),
                objects=0,
            )
            continue
        text, values = _told_neutral(group[0])
        for statement in group[1 : _SHOWN_VALUES + 1]:
            values += _told_neutral(statement)[1]
        counts = [s.count for s in group if s.count is not None]
        yield _Block(
            "sql",
            text,
            _tidy(sent[0]) if sent else text,
            values[:_SHOWN_VALUES],
            sum(len(s.rows) or 1 for s in group) if values else 0,
            max(text != _NO_SQL, len(sent)),
            len(group) if text != _NO_SQL else 0,
            "not sent"
            if text == _NO_SQL
            else _effect(text, sum(counts) if counts else None, group[0].error),
        )


def _told(block: _Block) -> tuple[list[str], str]:
    """The lines of values of a block, and the line with its effect."""
    values = list(block.values)
    if block.rows > len(values) > 0:
        values.append(f"… and {block.rows - len(values)} more")
    return values, block.effect


def _told_place(place: _Place, source: str, above: int) -> tuple[int, str, str]:
    """The number and text of the statement that a place is in, and the cell if it is another."""
    earlier = "".join(linecache.getlines(place.function)) if place.function else ""
    here, there = (statement_at(text, place.line) for text in (source, earlier))
    if there[1] and there != here:
        return there[0], there[1] + _ENDS * place.ends, " of an earlier cell"
    return here[0] + above, here[1] + _ENDS * place.ends, ""


def _render(entries: list[_Mark | _Statement], cell: str, database: str) -> Shown:
    """Draw what a cell sent.

    Args:
        entries: the marks and statements in the order in which they were sent.
        cell: the source of the cell, for the lines that sent them.
        database: "SQLite" or "PostgreSQL", for the title of the rich form.
    """
    source = cell.lstrip(
        "\n"
    )  # IPython numbers the lines from the first that is not empty
    if source.startswith("%%"):  # and inside a cell magic from the line below it
        source = source.partition("\n")[2]
    above = cell[: len(cell) - len(source)].count("\n")
    where: dict[_Place | None, tuple[int, str, str] | None] = {None: None}
    for entry in entries:
        if entry.place not in where:
            where[entry.place] = _told_place(entry.place, source, above)
    one_line = (
        len({w[0] for w in where.values() if w}) == 1 and "\n" not in cell.strip()
    )
    plain, rich, objects, statements = [], [], 0, 0
    for place, group in groupby(entries, lambda entry: where[entry.place]):
        indent = "" if one_line or place is None else "  "
        if indent:
            text = place[1].removesuffix(_ENDS)
            ends = place[1][len(text) :]
            line = f"line {place[0]}{place[2]}"
            plain.append(f"{line}: {text}{ends}")
            rich.append(
                f'<div class="ls-line">{line}: <code>{escape(text)}</code>{ends}</div>'
            )
        for block in _blocks(list(group)):
            if block.kind == "mark":
                plain.append(f"{indent}{block.plain}")
                rich.append(f'<div class="ls-mark">{escape(block.plain)}</div>')
                continue
            if block.kind == "catalogue":
                words = "(asks the database what exists)"
                plain.append(f"{indent}{words}")
                rich.append(
                    f'<details class="ls-quiet"><summary>{words}</summary>'
                    f"<pre>{escape(block.real)}</pre></details>"
                )
                continue
            objects, statements = objects + block.objects, statements + block.times
            values, effect = _told(block)
            plain += [f"{indent}{line}" for line in block.plain.splitlines()]
            plain += [f"{indent}    {line}" for line in values]
            other = ", with other values" if len(set(values)) > 1 else ""
            again = f" (sent {block.objects} times{other})" if block.objects > 1 else ""
            plain.append(f"{indent}    -> {effect}{again}")
            sent = f" (sent {block.times} times{other})" if block.times > 1 else ""
            rich.append(
                f'<pre class="ls-stmt">{_highlight(block.real)}</pre><div class="ls-said">'
                + "".join(f"<div><code>{escape(line)}</code></div>" for line in values)
                + f"<div>→ {escape(effect)}{sent}</div></div>"
            )
    head = f"SQL of this cell: {plural(objects, 'statement')}"
    rich_head = f"SQL sent to {database}: {plural(statements, 'statement')}"
    return Shown(
        f'<details open class="ls ls-sql"><summary>{rich_head}</summary>{"".join(rich)}</details>',
        "\n".join([head, *plain]),
    )
