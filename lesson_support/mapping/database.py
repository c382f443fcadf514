"""Where the classes and a database disagree."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Table, inspect
from sqlalchemy.engine.reflection import ObjectKind

from .._catalogue import Catalogue
from ..errors import LessonError
from .cures import typed
from .finding import DELETE, TABLES, Finding
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
        self._led: dict[str, set[str]] | None = None

    def led(self, table: Table) -> set[str] | None:
        """The columns that stand first in an index of the table; None where it is missing."""
        if table not in self.names:
            return None
        if self._led is None:
            self._led = defaultdict(set)
            schemas = {t.schema for t in self.names}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an index on an expression
                for schema in schemas:
                    self._read_indexes(schema)
        return self._led[self.names[table]]

    def _read_indexes(self, schema: str | None) -> None:
        names = {(t.schema, t.name.lower()): n for t, n in self.names.items()}
        wanted = {"schema": schema, "kind": ObjectKind.TABLE}
        found = (
            *self._looked.get_multi_indexes(**wanted).items(),
            *self._looked.get_multi_unique_constraints(**wanted).items(),
        )
        firsts = [(table, i["column_names"][:1]) for table, all in found for i in all]
        keys = self._looked.get_multi_pk_constraint(**wanted).items()
        firsts += [(table, key["constrained_columns"][:1]) for table, key in keys]
        for (_, name), first in firsts:
            if (schema, name.lower()) in names:
                self._led[names[schema, name.lower()]].update(filter(None, first))

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
    if database.missing:
        names = ", ".join(sorted(table.fullname for table in database.missing))
        yield Finding(
            "breaks",
            "no-table",
            names,
            "Not in this database: the first statement that names it is refused.",
            "Base.metadata.create_all(engine)",
            TABLES,
        )
    lacking: set[Column] = set()
    for table in database.names:
        there = database.columns(table)
        gone = [c for c in table.columns if c.name.lower() not in there]
        lacking.update(gone)
        if gone:
            yield Finding(
                "breaks",
                "no-column",
                mapping.names(gone),
                f"The table {table.fullname} is older than its class and has no such column: each SELECT "
                "of the class is refused. create_all adds no column to a table that exists.",
                f"# a migration: ALTER TABLE {table.fullname} ADD COLUMN {gone[0].name} ...",
                TABLES,
            )
    for constraint in mapping.constraints:
        if constraint.table in database.names and not lacking & set(constraint.columns):
            yield from _key_differs(mapping, database, constraint)
    yield from _not_enforced(mapping, database)


def _key_differs(
    mapping: Mapping, database: Database, constraint: ForeignKeyConstraint
) -> Iterator[Finding]:
    where, table = mapping.names(constraint.columns), constraint.table.fullname
    rules = database.rules(constraint)
    mine = written_rule(constraint)
    rebuild = f"# a migration: drop and add the foreign key of {table}"
    if not rules:
        yield Finding(
            "breaks",
            "no-key",
            where,
            f"The table {table} has no foreign key there: no rule of the class is kept, and a key may "
            "point nowhere.",
            rebuild,
            TABLES,
        )
    elif not any(_are_same(mine, rule) for rule in rules):
        yield Finding(
            "breaks",
            "another-rule",
            where,
            f"The class says {_worded(mine)}, and the table {table} says {_worded(rules[0])}: the table "
            "decides. create_all changes no table that exists.",
            f"{rebuild}, with {_worded(mine)}",
            DELETE,
        )
    for column in constraint.columns:
        if column.primary_key or database.required(column) is not column.nullable:
            continue
        mine, yours = (
            ("may be NULL", "is NOT NULL")
            if column.nullable
            else ("is NOT NULL", "may be NULL")
        )
        yield Finding(
            "breaks" if column.nullable else "surprises",
            "another-null",
            mapping.name(column),
            f"In the class {mapping.name(column)} {mine}, and in the table {table} it {yours}: the "
            "table decides what becomes of a child without a parent.",
            f"# a migration, or {typed(column, nullable=not column.nullable)}",
            TABLES,
        )


def _are_same(mine: str, rule: str) -> bool:
    return mine == rule or (mine in REFUSES and rule in REFUSES)


def _worded(rule: str) -> str:
    return f'ondelete="{rule}"' if rule else "no ondelete"


def _not_enforced(mapping: Mapping, database: Database) -> Iterator[Finding]:
    if database.enforced or not mapping.constraints:
        return
    relied = [p for p in mapping.lists if p.passive_deletes and p in mapping.keys]
    yield Finding(
        "breaks" if relied else "surprises",
        "keys-not-enforced",
        "the engine",
        "SQLite keeps foreign keys only if the connection asks for it, and this one does not: "
        + (
            f"{relied[0]} leaves its rows to the database, which does nothing, and their keys point "
            "nowhere."
            if relied
            else "a key may point nowhere, and no ondelete is followed."
        ),
        '@event.listens_for(engine, "connect")\n'
        "def check_foreign_keys(connection, record):\n"
        '    connection.execute("PRAGMA foreign_keys=ON")',
        DELETE if relied else TABLES,
    )
