"""Shows the rows of tables, and what a step inserted, changed, deleted or left alone."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Inspector,
    MetaData,
    Table,
    func,
    inspect,
    select,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.types import NULLTYPE

from ._html import Shown, columned, escape, plural, short, tables_of
from .database import synchronous
from .errors import LessonError
from .sql import quiet

__all__ = ["Snapshot", "changes", "tables"]

_SHOWN_ROWS = 12
_READ_ROWS = 1000
_WORDS = {"+": "inserted", "~": "changed", "-": "deleted", " ": "left alone"}
_SIGNS = {"+": "+", "~": "~", "-": "−"}
_CLASSES = {"+": "ins", "~": "upd", "-": "del", " ": ""}


@dataclass(frozen=True)
class _Rows:
    """One table at one moment; `rows` holds at most the first thousand, `count` counts them all.

    `foreign` says in words which foreign keys the database itself knows, where it was asked.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    rows: tuple[tuple, ...]
    count: int
    exists: bool = True
    foreign: tuple[str, ...] = ()


class Snapshot(Shown):
    """What `tables` saw: a display, and the thing that `changes` compares with."""

    def __init__(
        self, source: Engine | Session, wanted: list[Table], seen: list[_Rows]
    ) -> None:
        self.source, self.wanted, self.seen = source, wanted, seen
        super().__init__(*_draw(seen))


def tables(source: Engine | Session, *what: Any) -> Snapshot:
    """Look at the rows of tables, parents first, in the order of their primary keys.

    Args:
        source: an Engine to see what is committed, on a connection of its own; or a Session to see
            what its transaction sees. Nothing is flushed, loaded or changed by looking. An
            AsyncEngine is the one of connect_async; for an AsyncSession write
            `await session.run_sync(tables, Base)`.
        what: `Base`, or mapped classes, or `Table` objects. Left out: every table that is in the
            database, read from its catalogue and not from any class, with its foreign keys and
            their ON DELETE rules.

    Returns:
        A display with the first 12 rows of each table and the true number of rows; keep it in a
        variable to compare with later: `changes(before)`.

    Raises:
        LessonError: when `source` or `what` is something else.
    """
    wanted = _wanted(what)
    with quiet(), _connection(source) as connection:
        if not what:
            return Snapshot(source, [], _read_all(connection))
        there = set(inspect(connection).get_table_names())
        seen = [_read(connection, table, table.name in there) for table in wanted]
    return Snapshot(source, wanted, seen)


def changes(before: Snapshot, after: Snapshot | None = None) -> Shown:
    """Compare two looks at the same tables, row by row, matched by primary key.

    Args:
        before: what `tables` returned before the step.
        after: what it returned after the step; left out, the tables are looked at again, now.

    Returns:
        A display in which each row is inserted, changed, deleted or left alone. Long runs of rows
        that were left alone are counted and not shown.

    Raises:
        LessonError: when `before` does not come from `tables`.
    """
    if not isinstance(before, Snapshot):
        raise LessonError(
            "changes(before) compares with an earlier look; first run before = tables(engine, Base)."
        )
    after = after or tables(before.source, *before.wanted)
    pairs = [
        (old, new, _compare(old, new)) for old, new in _paired(before.seen, after.seen)
    ]
    total = {
        sign: sum(mark == sign for *_, marks in pairs for mark, *_ in marks)
        for sign in _WORDS
    }
    title = "What changed: " + ", ".join(
        f"{total[sign]} {word}" for sign, word in _WORDS.items()
    )
    plain, rich = [title], []
    for old, new, marks in pairs:
        text, html = _draw_changes(old, new, marks)
        plain.append(text)
        rich.append(html)
    return Shown(
        f'<div class="ls"><div class="ls-title">{title}</div>{"".join(rich)}</div>',
        "\n".join(plain),
    )


def _wanted(what: tuple) -> list[Table]:
    found: list[Table] = []
    for item in what:
        if isinstance(item, Table):
            found.append(item)
        elif hasattr(item, "__table__"):
            found.append(item.__table__)
        elif hasattr(item, "metadata"):
            found += tables_of(item.metadata)
        else:
            found = []
            break
    if what and not found:
        raise LessonError(
            "tables(engine, Base) needs your Base, or mapped classes, to know what to show; "
            "tables(engine) alone shows every table that is there."
        )
    return found


@contextmanager
def _connection(source: Engine | Session):
    if isinstance(source, Session):
        yield source.connection()
    elif isinstance(source, Engine) or hasattr(source, "sync_engine"):
        with synchronous(source).connect() as connection:
            yield connection
    elif hasattr(source, "sync_session"):
        raise LessonError(
            "tables() cannot look through an AsyncSession by itself: write "
            "await session.run_sync(tables, Base)."
        )
    else:
        raise LessonError(
            "tables() looks through an Engine or a Session; give it one of them first."
        )


def _read(connection: Connection, table: Table, exists: bool) -> _Rows:
    columns = tuple(column.name for column in table.columns)
    key = tuple(columns.index(column.name) for column in table.primary_key)
    if not exists:
        return _Rows(table.name, columns, key, (), 0, exists=False)
    count = connection.scalar(select(func.count()).select_from(table)) or 0
    query = select(table).order_by(*table.primary_key).limit(_READ_ROWS)
    try:
        rows = connection.execute(query).all()
    except SQLAlchemyError:
        raise
    except Exception:
        # a value that its type cannot read: SQLite stores a word in a column of dates
        bare = [type_coerce(column, NULLTYPE) for column in table.columns]
        rows = connection.execute(query.with_only_columns(*bare)).all()
    return _Rows(table.name, columns, key, tuple(map(tuple, rows)), count)


def _read_all(connection: Connection) -> list[_Rows]:
    """Every table of the database as it is there, parents first, whatever the classes say."""
    catalogue = inspect(connection)
    keys = {
        name: _foreign_keys(connection, catalogue, name)
        for name in sorted(catalogue.get_table_names())
    }
    parents = {name: {key[1] for key in found} for name, found in keys.items()}
    seen = []
    for name in _parents_first(parents):
        foreign = tuple(_in_words(*key) for key in sorted(keys[name]))
        seen.append(replace(_read_found(connection, catalogue, name), foreign=foreign))
    return seen


def _read_found(connection: Connection, catalogue: Inspector, name: str) -> _Rows:
    """Read a table by what the catalogue says about its columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a type that SQLAlchemy does not know
        columns = catalogue.get_columns(name)
    key = catalogue.get_pk_constraint(name)["constrained_columns"]

    made = [Column(c["name"], c["type"], primary_key=c["name"] in key) for c in columns]
    return _read(connection, Table(name, MetaData(), *made), True)


_Key = tuple[tuple[str, ...], str, tuple[str, ...], str]


def _foreign_keys(
    connection: Connection, catalogue: Inspector, name: str
) -> list[_Key]:
    """The foreign keys of a table: columns, the table and columns they point at, ON DELETE."""
    if connection.dialect.name == "sqlite":
        # the inspector misses the rule of a key that was written beside its column
        quoted = connection.dialect.identifier_preparer.quote(name)
        pragma = connection.exec_driver_sql(f"PRAGMA foreign_key_list({quoted})")
        found: dict[int, list] = {}
        for row in sorted(pragma.mappings(), key=lambda row: (row["id"], row["seq"])):
            found.setdefault(row["id"], []).append(row)
        return [
            (
                tuple(row["from"] for row in rows),
                rows[0]["table"],
                tuple(row["to"] or "" for row in rows),
                rows[0]["on_delete"],
            )
            for rows in found.values()
        ]
    return [
        (
            tuple(key["constrained_columns"]),
            key["referred_table"],
            tuple(key["referred_columns"]),
            key["options"].get("ondelete") or "",
        )
        for key in catalogue.get_foreign_keys(name)
    ]


def _in_words(
    columns: tuple[str, ...], table: str, others: tuple[str, ...], rule: str
) -> str:
    targets = [f"{table}.{other}" if other else table for other in others]
    rule = "no rule" if rule.upper() in ("", "NO ACTION") else rule.upper()
    return (
        f"foreign key: {', '.join(columns)} → {', '.join(targets)}; ON DELETE: {rule}"
    )


def _parents_first(parents: dict[str, set[str]]) -> list[str]:
    """The tables in an order in which a table comes after those that it points at, else by name."""
    ordered: list[str] = []
    left = list(parents)
    while left:
        free = [n for n in left if not (parents[n] - {n}).intersection(left)]
        free = free or left[:1]  # they point at each other
        ordered += free
        left = [name for name in left if name not in free]
    return ordered


def _paired(before: list[_Rows], after: list[_Rows]) -> list[tuple[_Rows, _Rows]]:
    """Both looks at each table; where one of them did not find it, it is said not to exist."""
    old, new = ({table.name: table for table in seen} for seen in (before, after))
    pairs = []
    for name in [*new, *(name for name in old if name not in new)]:
        a, b = old.get(name), new.get(name)
        if b is None:
            b = replace(a, rows=(), count=0, exists=False)
        elif a is None or a.columns != b.columns:  # made anew, with other columns
            a = replace(b, rows=(), count=0, exists=False)
        pairs.append((a, b))
    return pairs


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else short(value)


def _table(name: str, note: str, head: list[str], body: str, more: str) -> str:
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    foot = (
        f'<tr><td colspan="{len(head)}" class="mute">{escape(more)}</td></tr>'
        if more
        else ""
    )
    return (
        f'<div class="ls-side"><table><caption><code>{escape(name)}</code>: {escape(note)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}{foot}</tbody></table></div>"
    )


def _draw(seen: list[_Rows]) -> tuple[str, str]:
    if not seen:
        return (
            '<div class="ls">There is no table in this database yet.</div>',
            "There is no table in this database yet.",
        )
    plain, rich = [], []
    for table in seen:
        if not table.exists:
            plain.append(f"{table.name}: there is no such table")
            rich.append(
                f'<div class="ls-side"><code>{escape(table.name)}</code>: there is no such table</div>'
            )
            continue
        note = plural(table.count, "row")
        cells = [[_text(value) for value in row] for row in table.rows[:_SHOWN_ROWS]]
        hidden = table.count - len(cells)
        more = f"… and {plural(hidden, 'more row')}" if hidden > 0 else ""
        lines = [list(table.columns), *cells]
        plain.append(
            f"{table.name}: {note}\n{columned(lines)}"
            + (f"\n  {more}" if more else "")
            + "".join(f"\n  {key}" for key in table.foreign)
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in cells
        )
        html = _table(table.name, note, list(table.columns), body, more)
        keys = "".join(f"<div>{escape(key)}</div>" for key in table.foreign)
        rich.append(html.removesuffix("</div>") + f"{keys}</div>")
    return f'<div class="ls">{"".join(rich)}</div>', "\n".join(plain)


def _compare(old: _Rows, new: _Rows) -> list[tuple[str, tuple | None, tuple | None]]:
    """One (sign, old row, new row) per primary key of either side, in the order of the keys.

    Where a table has more rows than were read, only keys up to the last that both sides read count.
    """
    sides = [_by_key(side) for side in (old, new)]
    cut = [
        max(keys, default=())
        for keys, side in zip(sides, (old, new), strict=True)
        if side.count > len(side.rows)
    ]
    keys = [k for k in sides[0].keys() | sides[1].keys() if not cut or k <= min(cut)]
    try:
        keys.sort()
    except TypeError:  # SQLite takes NULL, and a text beside a number, as keys
        keys.sort(key=repr)
    marks = []
    for key in keys:
        a, b = sides[0].get(key), sides[1].get(key)
        sign = "+" if a is None else "-" if b is None else "~" if _differ(a, b) else " "
        marks.append((sign, a, b))
    return marks


def _differ(a: tuple, b: tuple) -> bool:
    try:
        return a != b
    except Exception:  # an array has no one answer to whether it equals another
        return [*map(_text, a)] != [*map(_text, b)]


def _by_key(side: _Rows) -> dict[tuple, tuple]:
    """The rows by primary key; without one, by their text and how often it came before."""
    if side.key:
        return {tuple(row[i] for i in side.key): row for row in side.rows}
    seen: Counter[str] = Counter()
    rows = {}
    for row in side.rows:
        text = repr(row)
        rows[(text, seen[text])] = row
        seen[text] += 1
    return rows


def _draw_changes(old: _Rows, new: _Rows, marks: list) -> tuple[str, str]:
    if not new.exists and not old.exists:
        return _draw([new])[1], _draw([new])[0]
    alone = [mark for mark in marks if mark[0] == " "]
    shown = (
        marks
        if len(marks) <= _SHOWN_ROWS
        else [mark for mark in marks if mark[0] != " "]
    )
    cut = shown[: 3 * _SHOWN_ROWS]
    more = []
    if len(shown) > len(cut):
        more.append(f"… and {len(shown) - len(cut)} more such rows")
    if len(shown) < len(marks):
        more.append(f"… and {plural(len(alone), 'row')} left alone")
    if max(old.count, new.count) > _READ_ROWS:
        more.append(f"only the first {_READ_ROWS} rows were compared")
    lines = [["", *new.columns]]
    body = []
    for sign, a, b in cut:
        word = f"{_SIGNS[sign]} {_WORDS[sign]}" if sign != " " else ""
        head = f'<th scope="row">{word}</th>' if word else "<td></td>"
        plain, rich = [], []
        for i, value in enumerate(b if a is None else a):
            was, now = _text(value), _text((a if b is None else b)[i])
            if sign == "~" and was != now:
                plain.append(f"{was} -> {now}")
                rich.append(f"<del>{escape(was)}</del> → <ins>{escape(now)}</ins>")
            else:
                tag = {"+": "ins", "-": "del"}.get(sign)
                plain.append(now)
                rich.append(f"<{tag}>{escape(now)}</{tag}>" if tag else escape(now))
        lines.append([word.replace("−", "-"), *plain])
        cells = "".join(f"<td>{cell}</td>" for cell in rich)
        body.append(f'<tr class="{_CLASSES[sign]}">{head}{cells}</tr>')
    count = f"{plural(old.count, 'row')} before, {new.count} after"
    if new.exists != old.exists:
        count = "the table was created" if new.exists else "the table was dropped"
    text = f"{new.name}: {count}\n{columned(lines)}" + "".join(
        f"\n  {line}" for line in more
    )
    html = _table(
        new.name, count, ["change", *new.columns], "".join(body), "; ".join(more)
    )
    return text, html
