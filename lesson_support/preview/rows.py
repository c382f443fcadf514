"""Sets of rows that are never read: a condition on a table, which the database counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import ColumnElement

from .._statements import Statement as _Statement
from .._statements import neutral as _neutral
from .._statements import tidy as _tidy

# So many keys are written into one condition; longer lists are compared by their number.
KEYS = 500

Columns = Mapping[str, ColumnElement]


class Rows(NamedTuple):
    """A set of rows: a table, a condition on its columns, and the columns that it uses.

    `around` is a plainer condition that holds for all of them, and maybe for more; `named` is the
    set as a part of WITH, so that conditions on rows that point at it do not grow with each level.
    """

    table: FromClause
    where: Callable[[Columns], ColumnElement[bool]]
    uses: frozenset[str]
    around: Callable[[Columns], ColumnElement[bool]] | None = None
    named: CTE | None = None


def either(*sets: Rows | None) -> Rows | None:
    given = [rows for rows in sets if rows is not None]
    if len(given) < 2:
        return given[0] if given else None
    return Rows(
        given[0].table,
        lambda c: or_(*(rows.where(c) for rows in given)),
        frozenset().union(*(rows.uses for rows in given)),
        lambda c: or_(*((rows.around or rows.where)(c) for rows in given)),
    )


def without(rows: Rows | None, *others: Rows | None) -> Rows | None:
    given = [other for other in others if other is not None]
    if rows is None or not given:
        return rows
    # a condition on a key that is NULL is neither true nor false; such a row stays
    return Rows(
        rows.table,
        lambda c: and_(
            rows.where(c), *(other.where(c).is_not(true()) for other in given)
        ),
        rows.uses.union(*(other.uses for other in given)),
        rows.around or rows.where,
    )


def both(rows: Rows, other: Rows) -> Rows:
    return Rows(
        rows.table,
        lambda c: and_(rows.where(c), other.where(c)),
        rows.uses | other.uses,
        rows.around or rows.where,
    )


def pointing(
    here: FromClause, columns: tuple[str, ...], there: Rows, others: tuple[str, ...]
) -> Rows:
    """The rows of `here` whose `columns` hold the `others` of a row of the set `there`."""

    def where(c: Columns) -> ColumnElement[bool]:
        if there.uses == set(others):
            return there.where(
                dict(zip(others, (c[name] for name in columns), strict=True))
            )
        if there.named is not None and len(others) == 1:
            return c[columns[0]].in_(select(there.named.c[others[0]]))
        alias = there.table.alias() if there.named is None else there.named
        pairs = zip(columns, others, strict=True)
        same = [alias.c[other] == c[name] for name, other in pairs]
        inside = [there.where(alias.c)] if there.named is None else []
        return exists().where(*same, *inside).correlate_except(alias)

    return Rows(here, where, frozenset(columns))


def named(rows: Rows, columns: Iterable[str], name: str) -> Rows:
    here = rows.table
    query = select(*(here.c[c] for c in columns)).where(rows.where(here.c))
    # else PostgreSQL plans all levels of a tree as one join
    named = query.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")
    return rows._replace(named=named)


def keyed(here: FromClause, mapper: Mapper, keys: list[tuple]) -> Rows | None:
    """The rows with these primary keys."""
    if not keys:
        return None
    names = tuple(c.name for c in mapper.primary_key)
    types = [c.type for c in mapper.primary_key]
    # made once, so that a statement which names the set twice has each value once
    if len(keys) == 1:
        one = [
            bindparam(name, value, kind, unique=True)
            for name, value, kind in zip(names, keys[0], types, strict=True)
        ]
    elif len(names) == 1:
        values = [key[0] for key in keys]
        many = bindparam(names[0], values, types[0], unique=True, expanding=True)

    def where(c: Columns) -> ColumnElement[bool]:
        mine = [c[name] for name in names]
        if len(keys) == 1:
            return and_(*(a == value for a, value in zip(mine, one, strict=True)))
        if len(names) == 1:
            return mine[0].in_(many)
        return tuple_(*mine, types=types).in_(keys)

    return Rows(here, where, frozenset(names))


def _place(condition: ColumnElement[bool], among: list[ColumnElement[bool]]) -> int:
    """Where the condition stands in the list; it is added if it is not there."""
    for number, known in enumerate(among):
        if known.compare(condition):
            return number
    among.append(condition)
    return len(among) - 1


class Asked:
    """Sends the SELECTs that count, and keeps them to be shown."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements: list[tuple[str, str, str]] = []

    def _send(self, query: Select) -> list:
        compiled = query.compile(
            dialect=self._connection.dialect,
            compile_kwargs={"render_postcompile": True},
        )
        plain, values = _neutral(_Statement(None, query))
        self.statements.append((plain, _tidy(str(compiled)), "".join(values)))
        return list(self._connection.execute(query))

    def count(self, sets: dict[Any, Rows]) -> dict[Any, int]:
        """How many rows each of these sets of one table has, by one SELECT."""
        if not sets:
            return {}
        here = next(iter(sets.values())).table
        counted: list[ColumnElement[bool]] = []
        around: list[ColumnElement[bool]] = []
        place = {
            label: _place(rows.where(here.c), counted) for label, rows in sets.items()
        }
        for rows in sets.values():
            _place((rows.around or rows.where)(here.c), around)
        query = select(func.count()).select_from(here).where(or_(*around))
        if len(counted) > 1 or not counted[0].compare(around[0]):
            each = [func.count().filter(condition) for condition in counted]
            query = query.with_only_columns(*each)
        row = self._send(query)[0]
        return {label: row[number] for label, number in place.items()}

    def keys(self, rows: Rows, mapper: Mapper, among: list[tuple]) -> set[tuple]:
        """Which of these primary keys belong to rows of the set."""
        columns = [
            type_coerce(rows.table.c[c.name], c.type) for c in mapper.primary_key
        ]
        found: set[tuple] = set()
        for start in range(0, len(among), KEYS):
            some = keyed(rows.table, mapper, among[start : start + KEYS])
            wanted = both(rows, some).where(rows.table.c)
            found.update(map(tuple, self._send(select(*columns).where(wanted))))
        return found
