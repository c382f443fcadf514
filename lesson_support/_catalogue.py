"""The tables of a database and their foreign keys, whatever the classes say."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Engine,
    TableClause,
    column,
    inspect,
    table,
    text,
)
from sqlalchemy.orm import Mapper

from .errors import LessonError

_RULES = ("CASCADE", "SET NULL", "RESTRICT", "NO ACTION")

_TRIGGERS = {
    "sqlite": "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT CAST(CAST(tgrelid AS regclass) AS text)"
    " FROM pg_catalog.pg_trigger WHERE NOT tgisinternal",
}
_KEYS = (
    "SELECT CAST(CAST(conrelid AS regclass) AS text), CAST(CAST(confrelid AS regclass)"
    " AS text) FROM pg_catalog.pg_constraint WHERE contype = 'f'"
)


@contextmanager
def connected(bind: Engine | Connection) -> Iterator[Connection]:
    """Lend a connection; one that is given is left as it was, in a transaction or in none."""
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            yield connection
        return
    began = bind.in_transaction()
    try:
        yield bind
    finally:
        if not began:
            bind.rollback()


class Key(NamedTuple):
    """A foreign key: columns of a table, and those of the parent that they point at.

    `rule` is the word after ON DELETE. `waits` is whether the database may refuse at the COMMIT only.
    """

    table: str
    columns: tuple[str, ...]
    parent: str
    referred: tuple[str, ...]
    rule: str
    waits: bool

    def __str__(self) -> str:
        return ", ".join(f"{self.table}.{name}" for name in self.columns)

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Which column points at which."""
        return frozenset(zip(self.columns, self.referred, strict=True))


class Catalogue:
    """What a database says of its tables and foreign keys."""

    def __init__(self, connection: Connection, mapper: Mapper) -> None:
        self._connection = connection
        self._on_sqlite = connection.dialect.name == "sqlite"
        self._looked = inspect(connection)
        self._default = self._looked.default_schema_name
        metadata = getattr(mapper.local_table, "metadata", None)
        schemas = {t.schema for t in metadata.tables.values()} if metadata else set()
        self._schemas = sorted({None} | (schemas - {self._default}), key=str)
        self.tables: dict[str, TableClause] = {}
        self._columns: dict[str, dict[str, Any]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a type that SQLAlchemy does not know
            for schema in self._schemas:
                for (_, name), found in self._looked.get_multi_columns(schema).items():
                    full = self._full(schema, name)
                    names = [column(c["name"]) for c in found]
                    self.tables[full] = table(name, *names, schema=schema)
                    self._columns[full] = {c["name"]: c for c in found}
        self.keys = list(self._sqlite_keys() if self._on_sqlite else self._keys())
        self.enforced = not self._on_sqlite or bool(self._pragma("foreign_keys"))

    def _pragma(self, name: str) -> Any:
        return self._connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def _full(self, schema: str | None, name: str) -> str:
        return name if schema in (None, self._default) else f"{schema}.{name}"

    def name(self, of: Any) -> str:
        """The name of a mapped Table here.

        Raises:
            LessonError: when the database has no such table.
        """
        full = self._full(of.schema, of.name)
        if self._on_sqlite and full not in self.tables:
            full = next((n for n in self.tables if n.lower() == full.lower()), full)
        if full not in self.tables:
            raise LessonError(
                f"There is no table {full} in this database: create the tables first "
                "(create_all or fresh_tables)."
            )
        return full

    def _keys(self) -> Iterator[Key]:
        for schema in self._schemas:
            for (_, name), keys in self._looked.get_multi_foreign_keys(schema).items():
                for key in keys:
                    rule = (key["options"].get("ondelete") or "NO ACTION").upper()
                    later = key["options"].get("initially") == "DEFERRED"
                    yield Key(
                        self._full(schema, name),
                        tuple(key["constrained_columns"]),
                        self._full(key["referred_schema"], key["referred_table"]),
                        tuple(key["referred_columns"]),
                        rule,
                        later and rule == "NO ACTION",
                    )

    def _sqlite_keys(self) -> Iterator[Key]:
        """By PRAGMA: the inspector misses the rule of a key that was written beside its column."""
        quote = self._connection.dialect.identifier_preparer.quote
        spelt = {name.lower(): name for name in self.tables}
        all_later = bool(self._pragma("defer_foreign_keys"))
        for name in self.tables:
            found: dict[int, list] = {}
            asked = f"PRAGMA foreign_key_list({quote(name)})"
            for row in self._connection.exec_driver_sql(asked).mappings():
                found.setdefault(row["id"], []).append(row)
            later = all_later or bool(found and self._speaks_of_deferred(name))
            for rows in found.values():
                rows.sort(key=lambda row: row["seq"])
                parent = spelt.get(rows[0]["table"].lower(), rows[0]["table"])
                columns = self._spelt(name, [row["from"] for row in rows])
                referred = [row["to"] for row in rows]
                if None in referred and parent in self.tables:
                    constraint = self._looked.get_pk_constraint(parent)
                    referred = constraint["constrained_columns"]
                referred = self._spelt(parent, referred)
                rule = rows[0]["on_delete"].upper()
                waits = later and rule == "NO ACTION"
                yield Key(name, columns, parent, referred, rule, waits)

    def _spelt(self, name: str, columns: list[str]) -> tuple[str, ...]:
        """Columns as their table spells them, which SQLite does not ask of a key."""
        there = {c.lower(): c for c in self._columns.get(name, ())}
        return tuple(there.get(str(c).lower(), c) for c in columns)

    def _speaks_of_deferred(self, name: str) -> bool:
        """SQLite tells by the text of the table only which of its keys wait for the COMMIT."""
        query = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :n")
        made = self._connection.execute(query, {"n": name}).scalar() or ""
        return "DEFERRED" in made.upper()

    def rule(self, key: Key) -> str:
        """What the database does when a parent goes: a rule, or "" where that cannot be told."""
        if key.rule != "SET DEFAULT":
            return key.rule if key.rule in _RULES else ""
        of_table = self._columns[key.table]
        default = any(of_table[c]["default"] is not None for c in key.columns)
        return "" if default else "SET NULL"

    def required(self, name: str, columns: Iterable[str]) -> bool:
        """Whether one of the columns is NOT NULL in the database."""
        return not all(self._columns[name][c]["nullable"] for c in columns)

    def triggers(self, names: set[str]) -> list[str]:
        """The tables among these that have a trigger."""
        query = _TRIGGERS[self._connection.dialect.name]
        rows = self._connection.execute(text(query))
        found = {name.replace('"', "").lower() for (name,) in rows}
        return sorted(name for name in names if name.lower() in found)

    def outsiders(self, names: set[str]) -> list[str]:
        """The tables of other schemas whose keys point at one of these; only PostgreSQL has them."""
        rows = [] if self._on_sqlite else self._connection.execute(text(_KEYS))
        plain = ((t.replace('"', ""), parent.replace('"', "")) for t, parent in rows)
        return sorted({t for t, p in plain if p in names and t not in self.tables})

    def checks(self, name: str, columns: Iterable[str]) -> bool:
        """Whether a CHECK of the table speaks of one of the columns."""
        schema, _, short = name.rpartition(".")
        found = self._looked.get_check_constraints(short, schema or None)
        words = set(re.findall(r"\w+", " ".join(c["sqltext"] for c in found)))
        return bool(words.intersection(columns))
