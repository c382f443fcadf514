"""Tells statements: in plain text that is the same on every database, and as the SQL that was sent.

The plain form is written from the statement object before any database dialect is applied. The rich
form is the text that the driver got.
"""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, time
from itertools import groupby, islice
from typing import Any, NamedTuple

from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql import visitors

from ._html import Shown, escape, plural, short
from ._source import statement_at

SHOWN_VALUES = 5
_NEUTRAL = StrCompileDialect(paramstyle="named")
_NEUTRAL.insert_returning = (
    False  # whether an INSERT returns the new key differs by database
)
_CATALOGUES = {"pg_catalog", "information_schema"}
_SHOWN_NAMES = 12
_SHOWN_BLOCKS = 60
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
_CATALOGUE = "(asks the database what exists)"
_NO_SQL = "(SQLAlchemy could not make SQL of this statement)"


class Place(NamedTuple):
    """A line of the running cell, and whether it is the end of the `with` block that starts there.

    A task begins in a function, which may stand in an earlier cell: `function` names its source.
    """

    line: int
    ends: bool
    function: str = ""


@dataclass(slots=True)
class Mark:
    """A begin, a commit or a rollback."""

    place: Place | None
    word: str


@dataclass(slots=True)
class Statement:
    """One statement object, and what the driver made of it.

    Of many rows of parameters only the first are kept, in `rows` as they were given and in `real`
    with defaults filled in; `given` counts them all. Where the same statement comes again and again from one place, the later ones are only
    counted in the last one that is kept: `objects`, `calls`, `given`.
    """

    place: Place | None
    element: Any = None
    rows: list[dict] = field(default_factory=list)
    given: int = 0
    real: list[dict] = field(default_factory=list)
    text: str = ""
    parameters: Any = None
    calls: int = 0
    objects: int = 1
    count: int | None = None
    error: str = ""
    run: int = 0  # how many of its kind have come one after the other

    @property
    def key(self) -> tuple:
        # SQLite has one text for two rows and for four, PostgreSQL one for each number
        rows = self.given // self.objects if self.text.startswith("INSERT") else 0
        return (self.text or id(self), rows, self.error)


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


def is_catalogue(statement: Statement) -> bool:
    """Is this one of create_all's or inspect's questions to the database about itself?"""
    if statement.element is None or isinstance(statement.element, str):
        sent = statement.text.lstrip()
        return sent.startswith("PRAGMA") or " FROM sqlite_" in sent
    if isinstance(statement.element, DDLElement):
        return False
    return any(
        getattr(part, "schema", None) in _CATALOGUES
        for part in visitors.iterate(statement.element)
        if part.__visit_name__ == "table"
    )


def tidy(sql: str) -> str:
    """SQLAlchemy breaks lines well; only tabs, blanks at line ends and long IN lists are taken out."""
    lines = [line.rstrip() for line in sql.expandtabs(4).strip().splitlines()]
    return _LONG_IN.sub(r"\1, …)", "\n".join(line for line in lines if line))


def neutral(statement: Statement) -> tuple[str, list[str]]:
    """The statement without a database's dialect, and one text of values per row of parameters."""
    element = statement.element
    if element is None or isinstance(element, str):
        text, parameters = statement.text or str(element), statement.parameters
        many = parameters if isinstance(parameters, list) else [parameters]
        return tidy(text), [_pairs(row) for row in many if row]
    if isinstance(element, DDLElement):
        return tidy(str(element.compile(dialect=_NEUTRAL))), []
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
    # Values of its own; the driver's text may give their names to others: LIMIT -1 OFFSET 3.
    own = {
        name
        for name, bind in compiled.binds.items()
        if bind.value is not None and name not in (keys or ())
    }
    text, values = "", []
    for number, row in enumerate(statement.rows or [{}]):
        real = statement.real[number] if number < len(statement.real) else {}
        real = {name: value for name, value in real.items() if name not in own}
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
    return tidy(text), [value for value in values if value]


def _told_neutral(statement: Statement) -> tuple[str, list[str]]:
    """As `neutral`; a statement that cannot be compiled without a database is told as it is."""
    try:
        return neutral(statement)
    except Exception:  # one odd statement must not hide the others
        return tidy(statement.text or _NO_SQL), []


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


def highlight(sql: str) -> str:
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
    entries: int = 1

    @property
    def lines(self) -> list[str]:
        """The lines of values."""
        more = self.rows - len(self.values)
        return self.values + (
            [f"… and {more} more"] if self.values and more > 0 else []
        )

    @property
    def other(self) -> str:
        return ", with other values" if len(set(self.values)) > 1 else ""


def _blocks(entries: list[Mark | Statement]) -> Iterator[_Block]:
    def kind(entry):
        if isinstance(entry, Mark):
            return ("mark", id(entry))
        return ("catalogue",) if is_catalogue(entry) else ("sql", *entry.key)

    for key, group in groupby(entries, kind):
        group = list(group)
        if key[0] == "mark":
            yield _Block("mark", group[0].word)
            continue
        calls = sum(statement.calls for statement in group)
        if key[0] == "catalogue":
            sent = "\n".join(tidy(statement.text) for statement in group)
            yield _Block(
                "catalogue", real=sent, times=calls, objects=0, entries=len(group)
            )
            continue
        text, values = _told_neutral(group[0])
        for statement in group[1 : SHOWN_VALUES + 1]:
            values += _told_neutral(statement)[1]
        counts = [s.count for s in group if s.count is not None]
        yield _Block(
            "sql",
            text,
            tidy(group[0].text or text),
            values[:SHOWN_VALUES],
            sum(s.given or s.objects for s in group) if values else 0,
            max(text != _NO_SQL, calls),
            sum(s.objects for s in group) if text != _NO_SQL else 0,
            "not sent"
            if text == _NO_SQL
            else _effect(text, sum(counts) if counts else None, group[0].error),
            len(group),
        )


def _plain(blocks: list[_Block], indent: str) -> list[str]:
    lines = []
    for block in blocks:
        if block.kind in ("mark", "more"):
            lines.append(block.plain)
        elif block.kind == "catalogue":
            lines.append(_CATALOGUE)
        else:
            again = f" (sent {block.objects} times{block.other})"
            lines += block.plain.splitlines()
            lines += [f"    {line}" for line in block.lines]
            lines.append(f"    -> {block.effect}{again * (block.objects > 1)}")
    return [f"{indent}{line}" for line in lines]


def _rich(blocks: list[_Block]) -> str:
    parts = []
    for block in blocks:
        if block.kind in ("mark", "more"):
            parts.append(f'<div class="ls-mark">{escape(block.plain)}</div>')
        elif block.kind == "catalogue":
            parts.append(
                f'<details class="ls-quiet"><summary>{_CATALOGUE}</summary>'
                f"<pre>{escape(block.real)}</pre></details>"
            )
        else:
            again = f" (sent {block.times} times{block.other})" * (block.times > 1)
            values = "".join(
                f"<div><code>{escape(v)}</code></div>" for v in block.lines
            )
            parts.append(
                f'<pre class="ls-stmt">{highlight(block.real)}</pre><div class="ls-said">'
                f"{values}<div>→ {escape(block.effect)}{again}</div></div>"
            )
    return "".join(parts)


def _told_place(place: Place, source: str, above: int) -> tuple[int, str, str]:
    """The number and text of the statement that a place is in, and the cell if it is another."""
    earlier = "".join(linecache.getlines(place.function)) if place.function else ""
    here, there = (statement_at(text, place.line) for text in (source, earlier))
    if there[1] and there != here:
        return there[0], there[1] + _ENDS * place.ends, " of an earlier cell"
    return here[0] + above, here[1] + _ENDS * place.ends, ""


def _grouped(
    entries: list[Mark | Statement], where: dict
) -> Iterator[tuple[Any, list[_Block]]]:
    """The blocks by the line that they come from; of very many, the last are only counted."""
    room, left = _SHOWN_BLOCKS, []
    for place, group in groupby(entries, lambda entry: where[entry.place]):
        group = list(group)
        blocks = list(islice(_blocks(group), room))
        room -= len(blocks)
        left += group[sum(block.entries for block in blocks) :]
        if blocks:
            yield place, blocks
    sent = [e for e in left if isinstance(e, Statement) and not is_catalogue(e)]
    if left:
        objects, calls = (
            sum(getattr(s, n) for s in sent) for n in ("objects", "calls")
        )
        words = f"… and {plural(objects, 'more statement')}"
        yield None, [_Block("more", words, times=calls, objects=objects)]


def render(entries: list[Mark | Statement], cell: str, database: str) -> Shown:
    """Draw what a cell sent.

    Args:
        entries: the marks and statements in the order in which they were sent.
        cell: the source of the cell, for the lines that sent them.
        database: "SQLite" or "PostgreSQL", for the title of the rich form.
    """
    source = cell.lstrip("\n")  # IPython counts from the first line that is not empty
    if source.startswith("%%"):  # and inside a cell magic from the line below it
        source = source.partition("\n")[2]
    above = cell[: len(cell) - len(source)].count("\n")
    where: dict[Place | None, tuple[int, str, str] | None] = {None: None}
    for entry in entries:
        if entry.place not in where:
            where[entry.place] = _told_place(entry.place, source, above)
    lines = {told[0] for told in where.values() if told}
    one_line = len(lines) == 1 and "\n" not in cell.strip()
    plain, rich, objects, statements = [], [], 0, 0
    for place, blocks in _grouped(entries, where):
        indent = "" if one_line or place is None else "  "
        if indent:
            text = place[1].removesuffix(_ENDS)
            ends = place[1][len(text) :]
            line = f"line {place[0]}{place[2]}"
            plain.append(f"{line}: {text}{ends}")
            rich.append(
                f'<div class="ls-line">{line}: <code>{escape(text)}</code>{ends}</div>'
            )
        plain += _plain(blocks, indent)
        rich.append(_rich(blocks))
        told = [block for block in blocks if block.kind in ("sql", "more")]
        objects += sum(block.objects for block in told)
        statements += sum(block.times for block in told)
    head = f"SQL of this cell: {plural(objects, 'statement')}"
    rich_head = f"SQL sent to {database}: {plural(statements, 'statement')}"
    return Shown(
        f'<details open class="ls ls-sql"><summary>{rich_head}</summary>{"".join(rich)}</details>',
        "\n".join([head, *plain]),
    )


def render_text(entries: list[Mark | Statement], database: str) -> str:
    """Tell what a program sent in one transaction, with the real SQL, by file and line."""
    where: dict[Place | None, str] = {None: ""}
    for entry in entries:
        if entry.place not in where:
            place = entry.place
            source = "".join(linecache.getlines(place.function))
            number, text = statement_at(source, place.line)
            name = os.path.basename(place.function)
            where[place] = f"{name}, line {number}: {text}{_ENDS * place.ends}"
    lines = []
    for place, blocks in _grouped(entries, where):
        lines += [place] if place else []
        for block in blocks:
            block.plain, block.objects = block.real or block.plain, block.times
        lines += _plain(blocks, "  ")
    return "\n".join([f"SQL sent to {database}:", *lines])
