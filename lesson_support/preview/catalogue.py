"""The tables of a database and their foreign keys, whatever the classes say."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, FromClause, column, inspect, table, text
from sqlalchemy.orm import Mapper, RelationshipDirection

from ..errors import LessonError
from .rows import Rows, named


class Key(NamedTuple):
    """A foreign key of the database."""

    table: str
    columns: tuple[str, ...]
    parent: str
    referred: tuple[str, ...]
    rule: str
    deferred: bool

    def __str__(self) -> str:
        return ", ".join(f"{self.table}.{name}" for name in self.columns)


class Catalogue:
    """The tables of the database and their foreign keys, whatever the classes say."""

    def __init__(self, connection: Connection, mapper: Mapper) -> None:
        self._connection = connection
        self._on_sqlite = connection.dialect.name == "sqlite"
        self._looked = inspect(connection)
        self.default = self._looked.default_schema_name
        metadata = getattr(mapper.local_table, "metadata", None)
        schemas = {
            None if t.schema == self.default else t.schema
            for t in (metadata.tables.values() if metadata is not None else ())
        }
        self.schemas = sorted(schemas | {None}, key=str)
        self.tables: dict[str, FromClause] = {}
        self._required: dict[str, set[str]] = {}
        self._defaults: dict[str, set[str]] = {}
        self.unknown: list[str] = []
        self._names: Counter[str] = Counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a type that SQLAlchemy does not know
            for schema in self.schemas:
                for (_, name), found in self._looked.get_multi_columns(schema).items():
                    full = self._full(schema, name)
                    names = [column(c["name"]) for c in found]
                    self.tables[full] = table(name, *names, schema=schema)
                    self._required[full] = {
                        c["name"] for c in found if not c["nullable"]
                    }
                    self._defaults[full] = {
                        c["name"] for c in found if c["default"] is not None
                    }
        self.keys = list(self._sqlite_keys() if self._on_sqlite else self._keys())
        self.enforced = True
        if self._on_sqlite:
            self.enforced = bool(
                connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
            )

    def _full(self, schema: str | None, name: str) -> str:
        return name if schema in (None, self.default) else f"{schema}.{name}"

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
        for schema in self.schemas:
            for (_, name), keys in self._looked.get_multi_foreign_keys(schema).items():
                for key in keys:
                    options = key["options"]
                    rule = (options.get("ondelete") or "NO ACTION").upper()
                    later = (options.get("initially") or "").upper() == "DEFERRED"
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
        ask = self._connection.exec_driver_sql
        all_later = bool(ask("PRAGMA defer_foreign_keys").scalar())
        lower = {name.lower(): name for name in self.tables}
        for name in self.tables:
            quoted = self._connection.dialect.identifier_preparer.quote(name)
            found: dict[int, list] = {}
            pragma = ask(f"PRAGMA foreign_key_list({quoted})").mappings()
            for row in sorted(pragma, key=lambda row: (row["id"], row["seq"])):
                found.setdefault(row["id"], []).append(row)
            later = self._deferred_on_sqlite(name, len(found)) if found else set()
            for rows in found.values():
                parent = lower.get(rows[0]["table"].lower(), rows[0]["table"])
                columns = tuple(row["from"] for row in rows)
                referred = tuple(row["to"] for row in rows)
                if None in referred and parent in self.tables:
                    constraint = self._looked.get_pk_constraint(parent)
                    referred = tuple(constraint["constrained_columns"])
                rule = rows[0]["on_delete"].upper()
                wait = rule == "NO ACTION" and (all_later or columns in later)
                yield Key(name, columns, parent, referred, rule, wait)

    def _deferred_on_sqlite(self, name: str, keys: int) -> set[tuple[str, ...]]:
        made = (
            self._connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?",
                (name,),
            ).scalar()
            or ""
        )
        words = len(re.findall(r"INITIALLY\s+DEFERRED", made, re.IGNORECASE))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            all_keys = self._looked.get_foreign_keys(name) if words else []
        found = {
            tuple(key["constrained_columns"])
            for key in all_keys
            if keys == words
            or (key["options"].get("initially") or "").upper() == "DEFERRED"
        }
        if len(found) != words:
            self.unknown.append(
                f"Which keys of {name} wait until the COMMIT cannot be read."
            )
        return found

    def named(self, rows: Rows, mapper: Mapper | None = None) -> Rows:
        """Give a set a name, with the columns by which other rows may point at it."""
        name = next(n for n, known in self.tables.items() if known is rows.table)
        columns = {c for key in self.keys if key.parent == name for c in key.referred}
        for prop in mapper.relationships if mapper is not None else ():
            if (
                prop.direction is not RelationshipDirection.MANYTOONE
                or prop.cascade.delete
            ):
                columns.update(c.name for c in prop.local_columns)
        short = f"deleted_{name.replace('.', '_')}"
        self._names[short] += 1
        again = f"_{self._names[short]}" if self._names[short] > 1 else ""
        return named(rows, sorted(columns), short + again) if columns else rows

    def required(self, name: str, columns: Iterable[str]) -> bool:
        """Whether one of the columns is NOT NULL in the database."""
        return bool(self._required[name].intersection(columns))

    def rule(self, key: Key) -> str:
        """The rule of a key in one word of five: with "" it cannot be foreseen."""
        rule = key.rule
        if rule == "SET DEFAULT":
            has_default = self._defaults[key.table].intersection(key.columns)
            rule = "" if has_default else "SET NULL"
        known = ("CASCADE", "SET NULL", "RESTRICT", "NO ACTION")
        return rule if rule in known else ""

    def triggers(self, names: set[str]) -> list[str]:
        """The tables among these that have a trigger."""
        if self._on_sqlite:
            rows = self._connection.execute(
                text("SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'")
            )
        else:
            rows = self._connection.execute(
                text(
                    "SELECT DISTINCT c.relname FROM pg_catalog.pg_trigger t JOIN "
                    "pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal"
                    " AND pg_catalog.pg_table_is_visible(c.oid)"
                )
            )
        found = {row[0].lower() for row in rows}
        return sorted(name for name in names if name.lower() in found)

    def outsiders(self, names: set[str]) -> list[str]:
        """The tables of other schemas whose keys point at one of these; only PostgreSQL has them."""
        if self._on_sqlite:
            return []
        rows = self._connection.execute(
            text(
                "SELECT DISTINCT n.nspname, c.relname, p.relname FROM"
                " pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid ="
                " k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN"
                " pg_catalog.pg_class p ON p.oid = k.confrelid WHERE k.contype = 'f' AND"
                " pg_catalog.pg_table_is_visible(p.oid)"
            )
        )
        seen = {self.default if s is None else s for s in self.schemas}
        return sorted(f"{n}.{t}" for n, t, p in rows if n not in seen and p in names)

    def checks(self, name: str, columns: Iterable[str]) -> bool:
        """Whether a CHECK of the table speaks of one of the columns."""
        schema, _, short = name.rpartition(".")
        texts = [
            c["sqltext"]
            for c in self._looked.get_check_constraints(short, schema or None)
        ]
        return any(re.search(rf"\b{re.escape(c)}\b", t) for c in columns for t in texts)
