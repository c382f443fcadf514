"""Counts rows that a condition describes; no row is read, and each SELECT is kept to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    TableClause,
    and_,
    func,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import ColumnElement

from ..sql import _neutral, _Statement, _tidy


def keyed(
    here: TableClause, columns: Sequence[str], mapper: Mapper, keys: Sequence[tuple]
) -> ColumnElement[bool]:
    """The rows of which these columns hold one of some primary keys of a class."""
    types = [column.type for column in mapper.primary_key]
    held = [type_coerce(here.c[c], t) for c, t in zip(columns, types, strict=True)]
    if len(keys) == 1:
        return and_(*(c == value for c, value in zip(held, keys[0], strict=True)))
    if len(held) == 1:
        return held[0].in_([value for (value,) in keys])
    return tuple_(*held).in_(keys)


class Asked:
    """Sends the SELECTs; `statements` has each in plain and in real SQL, with its values."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements: list[tuple[str, str, str]] = []

    def count(
        self,
        here: TableClause,
        where: ColumnElement[bool],
        **among: ColumnElement[bool],
    ) -> list[int]:
        """How many rows there are, and for how many of them each further condition holds."""
        more = [func.count().filter(part).label(name) for name, part in among.items()]
        return self._rows(
            select(func.count(), *more).select_from(here).where(where)
        ).pop()

    def keys(
        self,
        here: TableClause,
        where: ColumnElement[bool],
        mapper: Mapper,
        among: Sequence[tuple],
    ) -> set[tuple]:
        """Which of these primary keys belong to the rows."""
        names = [column.name for column in mapper.primary_key]
        columns = [
            type_coerce(here.c[c.name], c.type).label(c.name)
            for c in mapper.primary_key
        ]
        wanted = keyed(here, names, mapper, among)
        return set(self._rows(select(*columns).where(where, wanted)))

    def _rows(self, query: Select) -> list[Any]:
        options = {"render_postcompile": True}
        real = query.compile(self._connection, compile_kwargs=options)
        plain, values = _neutral(_Statement(None, query))
        self.statements.append((plain, _tidy(str(real)), "".join(values)))
        return [tuple(row) for row in self._connection.execute(query)]
