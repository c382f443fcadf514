"""Where the classes and a database disagree."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Table, inspect

from .._catalogue import Catalogue
from ..errors import LessonError
from .cures import typed
from .finding import DELETE, Finding, found
from .reading import REFUSES, Mapping, written_rule


class Database:
    """The catalogue of a database, asked for the tables of a mapping."""

    def __init__(self, connection: Connection, mapping: Mapping) -> None:
        plain = (m for m in mapping.mappers if isinstance(m.local_table, Table))
        self._catalogue = Catalogue(connection, next(plain, mapping.mappers[0]))
        self._looked = inspect(connection)
        self.enforced = self._catalogue.enforced
        self.names: dict[Table, str] = {}
        self.missing: list[Table] = []
        for table in mapping.tables:
            try:
                self.names[table] = self._catalogue.name(table)
            except LessonError:
                if not self._looked.has_table(table.name, schema=table.schema):
                    self.missing.append(table)  # a view is there, and has no keys

    def led(self, table: Table) -> set[str] | None:
        """The columns that stand first in an index of the table; None where it is missing."""
        return self._led[table] if table in self.names else None

    @cached_property
    def _led(self) -> dict[Table, set[str]]:
        tables = {
            (t.schema, n.rpartition(".")[2].lower()): t for t, n in self.names.items()
        }
        led = defaultdict(set)
        looked = self._looked
        for schema in {table.schema for table in self.names}:
            with warnings.catch_warnings(action="ignore"):  # an index on an expression
                found = (
                    *looked.get_multi_indexes(schema).items(),
                    *looked.get_multi_unique_constraints(schema).items(),
                )
            firsts = [(t, one["column_names"][:1]) for t, all in found for one in all]
            keys = looked.get_multi_pk_constraint(schema).items()
            firsts += [(t, key["constrained_columns"][:1]) for t, key in keys]
            for (_, name), first in firsts:
                table = tables.get((schema, name.lower()))
                led[table].update(filter(None, first))
        return led

    def columns(self, table: Table) -> set[str]:
        """The names of the columns, in small letters."""
        return {c.name.lower() for c in self._catalogue.tables[self.names[table]].c}

    def rules(self, constraint: ForeignKeyConstraint) -> list[str]:
        """The rules of the database's keys over the same columns."""
        columns = {column.name.lower() for column in constraint.columns}
        return [
            "" if key.rule == "NO ACTION" else key.rule
            for key in self._catalogue.keys
            if key.table == self.names[constraint.table]
            and {name.lower() for name in key.columns} == columns
        ]

    def required(self, column: Column) -> bool:
        """Whether the database has the column as NOT NULL."""
        return self._catalogue.required(self.names[column.table], [column.name])


def differences(mapping: Mapping) -> Iterator[Finding]:
    """Where the classes and the database disagree."""
    database = mapping.database
    if database is None:
        return
    if database.missing:
        names = ", ".join(sorted(table.fullname for table in database.missing))
        what = "Not in this database: the first statement that names it is refused."
        yield found("no-table", names, what, "Base.metadata.create_all(engine)")
    lacking: set[Column] = set()
    for table in database.names:
        there = database.columns(table)
        gone = [c for c in table.columns if c.name.lower() not in there]
        lacking.update(gone)
        if gone:
            what = (
                f"The table {table.fullname} is older than its class and has no such column: each SELECT "
                "of the class is refused. create_all adds no column to a table that exists."
            )
            cure = f"# a migration: ALTER TABLE {table.fullname} ADD COLUMN {gone[0].name} ..."
            yield found("no-column", mapping.names(gone), what, cure)
    for constraint in mapping.constraints:
        if constraint.table in database.names and not lacking & set(constraint.columns):
            yield from _key_differs(mapping, database, constraint)
    yield from _not_enforced(mapping, database)


def _key_differs(
    mapping: Mapping, database: Database, constraint: ForeignKeyConstraint
) -> Iterator[Finding]:
    where, table = mapping.names(constraint.columns), constraint.table.fullname
    rules, mine = database.rules(constraint), written_rule(constraint)
    rebuild = f"# a migration: drop and add the foreign key of {table}"
    if not rules:
        what = (
            f"The table {table} has no foreign key there: no rule of the class is kept, and a key may "
            "point nowhere."
        )
        yield found("no-key", where, what, rebuild)
    elif mine not in rules and not (mine in REFUSES and set(rules) & set(REFUSES)):
        what = (
            f"The class says {_worded(mine)}, and the table {table} says {_worded(rules[0])}: the table "
            "decides. create_all changes no table that exists."
        )
        yield found("another-rule", where, what, f"{rebuild}, with {_worded(mine)}")
    for column in constraint.columns:
        if column.primary_key or database.required(column) is not column.nullable:
            continue
        words = "may be NULL", "is NOT NULL"
        here, there = words if column.nullable else words[::-1]
        what = (
            f"In the class {mapping.name(column)} {here}, and in the table {table} it {there}: the "
            "table decides what becomes of a child without a parent."
        )
        cure = f"# a migration, or {typed(column, nullable=not column.nullable)}"
        level = "breaks" if column.nullable else "surprises"
        yield found("another-null", mapping.name(column), what, cure, level)


def _worded(rule: str) -> str:
    return f'ondelete="{rule}"' if rule else "no ondelete"


def _not_enforced(mapping: Mapping, database: Database) -> Iterator[Finding]:
    if database.enforced or not mapping.constraints:
        return
    relied = [p for p in mapping.lists if p.passive_deletes and p in mapping.keys]
    then, more = "a key may point nowhere, and no ondelete is followed.", {}
    if relied:
        then = (
            f"{relied[0]} leaves its rows to the database, which does nothing, and their keys point "
            "nowhere."
        )
        more = {"level": "breaks", "lesson": DELETE}
    what = (
        "SQLite keeps foreign keys only if the connection asks for it, and this one does not: "
        f"{then}"
    )
    cure = (
        '@event.listens_for(engine, "connect")\n'
        "def check_foreign_keys(connection, record):\n"
        '    connection.execute("PRAGMA foreign_keys=ON")'
    )
    yield found("keys-not-enforced", "the engine", what, cure, **more)
