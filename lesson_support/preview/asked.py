"""Counts rows that a condition describes; no row is read, and each SELECT is kept to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    func,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import InstanceState
from sqlalchemy.sql.elements import ColumnElement

from .._catalogue import Catalogue, Key
from .._statements import Statement, neutral, tidy

Where = ColumnElement[bool]


class Asked:
    """Sends the SELECTs; `statements` has each in plain and in real SQL, with its values."""

    def __init__(self, connection: Connection, catalogue: Catalogue) -> None:
        self._connection, self._tables = connection, catalogue.tables
        self.statements: list[tuple[str, str, str]] = []

    def of_objects(
        self, table: str, states: list[InstanceState], columns: Sequence[str] = ()
    ) -> Where:
        """The rows of these objects, or those that hold their primary keys in other columns."""
        key = states[0].mapper.primary_key
        names = columns or [column.name for column in key]
        held = [
            type_coerce(self._tables[table].c[name], column.type)
            for name, column in zip(names, key, strict=True)
        ]
        keys = [tuple(state.key[1]) for state in states]
        if len(keys) == 1:
            return and_(*(c == value for c, value in zip(held, keys[0], strict=True)))
        return _one(held).in_([key[0] for key in keys] if len(held) == 1 else keys)

    def pointing(
        self,
        key: Key,
        where: Where,
        states: list[InstanceState],
        level: int,
    ) -> Where:
        """The rows that point by a key at some rows of a level, or only at those of these objects."""
        here, there = self._tables[key.table], self._tables[key.parent]
        if states:
            names = tuple(column.name for column in states[0].mapper.primary_key)
            if key.referred == names:
                return self.of_objects(key.table, states, key.columns)
            where = self.of_objects(key.parent, states)
        query = select(*(there.c[name] for name in key.referred)).where(where)
        if level > 1:  # SQLite reads no more than eleven that stand in each other
            query = select(query.cte())
        return _one([here.c[name] for name in key.columns]).in_(query)

    def count(self, table: str, where: Where, **among: Where) -> tuple[int, ...]:
        """How many rows there are, and for how many of them each further condition holds."""
        more = [func.count().filter(part).label(name) for name, part in among.items()]
        query = select(func.count(), *more).select_from(self._tables[table])
        return self._rows(query.where(where)).pop()

    def keys(self, table: str, where: Where, states: list[InstanceState]) -> set[tuple]:
        """The primary keys of those of these objects that belong to the rows."""
        columns = [
            type_coerce(self._tables[table].c[c.name], c.type).label(c.name)
            for c in states[0].mapper.primary_key
        ]
        query = select(*columns).where(where, self.of_objects(table, states))
        return set(self._rows(query))

    def _rows(self, query: Select) -> list[tuple]:
        options = {"render_postcompile": True}
        real = query.compile(self._connection, compile_kwargs=options)
        plain, values = neutral(Statement(None, query))
        self.statements.append((plain, tidy(str(real)), "".join(values)))
        return [tuple(row) for row in self._connection.execute(query)]


def _one(columns: list[ColumnElement]) -> Any:
    return columns[0] if len(columns) == 1 else tuple_(*columns)
