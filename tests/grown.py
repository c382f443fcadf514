"""Mappings grown from a short description, and what a delete with them really does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    event,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship

SESSION, DATABASE = "the Session", "the database"
KEPT = "save-update, merge"


@dataclass(frozen=True)
class Way:
    """A foreign key and the relationships over it."""

    cascade: str = KEPT
    passive: bool | str = False
    ondelete: str | None = None
    nullable: bool = True
    listed: bool = True  # whether the one side has the list
    back: bool = False  # whether the many side has the way up


@dataclass(frozen=True)
class Node:
    """A table: `up` leads to the table of that number, `own` to itself, `extra` to one more."""

    above: int | None = None
    up: Way | None = None
    own: Way | None = None
    extra: tuple[int, Way] | None = None

    @property
    def ways(self) -> list[tuple[str, int | None, Way]]:
        """The name of each key, the number of the table it leads to (None: itself), and its way."""
        found = [("up_id", self.above, self.up), ("own_id", None, self.own)]
        found += [("extra_id", *self.extra)] if self.extra else []
        return [way for way in found if way[2] is not None]


@dataclass
class Grown:
    """A Base with its classes T0, T1, ... in the order of their tables t0, t1, ..."""

    nodes: list[Node]
    classes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.Base = type("Base", (DeclarativeBase,), {})
        bodies = [
            {"__tablename__": f"t{n}", "id": mapped_column(Integer, primary_key=True)}
            for n in range(len(self.nodes))
        ]
        for number, node in enumerate(self.nodes):
            for key, above, way in node.ways:
                above = number if above is None else above
                self._map(bodies, number, key, above, way)
        self.classes = [
            type(f"T{n}", (self.Base,), body) for n, body in enumerate(bodies)
        ]

    def _map(self, bodies: list[dict], number: int, key: str, above: int, way: Way):
        there = ForeignKey(f"t{above}.id", ondelete=way.ondelete)
        bodies[number][key] = mapped_column(there, nullable=way.nullable)
        down, up = f"{key[:-3]}_t{number}", f"{key[:-3]}"
        one = {"foreign_keys": f"T{number}.{key}"}
        both = way.listed and way.back
        if way.listed:
            bodies[above][down] = relationship(
                f"T{number}",
                cascade=way.cascade,
                passive_deletes=way.passive,
                remote_side=f"T{number}.{key}",
                **one | ({"back_populates": up} if both else {}),
            )
        if way.back:
            bodies[number][up] = relationship(
                f"T{above}",
                remote_side=f"T{above}.id",
                **one | ({"back_populates": down} if both else {}),
            )

    def lists(self, number: int) -> list[str]:
        """The names of the lists of a class."""
        relations = self.classes[number].__mapper__.relationships
        return sorted(r.key for r in relations if r.uselist)

    @contextmanager
    def filled(
        self, engine: Engine, rows: list[list[dict]], enforced: bool = True
    ) -> Iterator[Connection]:
        """Lend a connection to a database that has the tables, with these rows, for a while.

        `enforced` is whether SQLite looks at foreign keys.
        """
        with engine.connect() as connection:
            try:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"PRAGMA foreign_keys={enforced:d}")
                self.Base.metadata.create_all(connection)
                for cls, made in zip(self.classes, rows, strict=True):
                    if made:
                        connection.execute(insert(cls.__table__), made)
                connection.commit()
                yield connection
            finally:
                connection.rollback()
                if engine.dialect.name == "sqlite":  # else a DROP asks RESTRICT as well
                    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                self.Base.metadata.drop_all(connection)
                connection.commit()


Rows = dict[str, dict[tuple, dict]]


@dataclass
class Happened:
    """What a delete did, in the words in which `DeleteFacts` says it beforehand."""

    deleted: dict[tuple[str, str], int] = field(default_factory=dict)
    set_null: dict[tuple[str, str], int] = field(default_factory=dict)
    dangling: dict[str, int] = field(default_factory=dict)
    statements: int = 0
    error: str = ""


class Watched:
    """Counts, from the statements themselves, for how many rows the Session sends them."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.sent = connection, []
        self.deleted: Counter[str] = Counter()
        self.updated: Counter[str] = Counter()

    def _note(self, connection, cursor, statement, parameters, context, many) -> None:
        words = statement.replace('"', "").split()
        if words[0] in ("SAVEPOINT", "RELEASE", "ROLLBACK"):
            return
        self.sent.append(statement)
        rows = len(context.compiled_parameters)
        if words[0] == "DELETE":
            self.deleted[words[2]] += rows
        if words[0] == "UPDATE":
            self.updated[words[1]] += rows

    def __enter__(self) -> Watched:
        event.listen(self._connection, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *error) -> None:
        event.remove(self._connection, "before_cursor_execute", self._note)


def read(connection: Connection, metadata: MetaData) -> Rows:
    """All rows of all tables, by table and primary key; a transaction is left as it is."""
    found, began = {}, connection.in_transaction()
    for table in metadata.tables.values():
        rows = connection.execute(select(table)).mappings()
        names = [column.name for column in table.primary_key]
        found[table.name] = {tuple(row[n] for n in names): dict(row) for row in rows}
    if not began:
        connection.rollback()
    return found


def delete_it(session: Session, obj: Any, before: Rows) -> Happened:
    """Delete the object and commit; the Session works on one Connection."""
    connection, metadata, error = session.get_bind(), obj.metadata, ""
    with Watched(connection) as seen:
        try:
            session.delete(obj)
            session.commit()
        except IntegrityError as failed:
            error = rule_of(failed)
            session.rollback()
        except AssertionError as failed:
            assert "blank-out primary key" in str(failed)
            error = "primary key"
            session.rollback()
    session.close()
    if error:  # SQLite keeps a transaction whose COMMIT was refused
        connection.connection.rollback()
    after = read(connection, metadata)
    if error:
        assert before == after
        return Happened(statements=len(seen.sent), error=error)
    happened = Happened(statements=len(seen.sent))
    for table in metadata.tables.values():
        _compare(table, before, after, seen, happened)
    return happened


def _compare(table, before: Rows, after: Rows, seen: Watched, happened: Happened):
    name, keys = table.name, [c.name for c in table.columns if c.foreign_keys]
    there, here = before[name], after[name]
    gone = len(there) - len(here)
    cut = sum(
        any(row[key] is None and there[id][key] is not None for key in keys)
        for id, row in here.items()
    )
    for total, mine, found in (
        (gone, seen.deleted[name], happened.deleted),
        (cut, seen.updated[name], happened.set_null),
    ):
        for who, rows in ((SESSION, mine), (DATABASE, total - mine)):
            if rows:
                found[name, who] = rows
    lost = 0
    for key in table.foreign_key_constraints:
        columns = [(e.parent.name, e.column.name) for e in key.elements]
        parents = after[key.referred_table.name].values()
        known = {tuple(row[there] for _, there in columns) for row in parents}
        mine = [tuple(row[name] for name, _ in columns) for row in here.values()]
        lost += sum(None not in values and values not in known for values in mine)
    if lost:
        happened.dangling[name] = lost


def rule_of(error: IntegrityError) -> str:
    """Which rule the database names: "foreign key" or "not null"."""
    name = getattr(error.orig, "sqlstate", None) or error.orig.sqlite_errorname
    return {
        "23503": "foreign key",
        "23001": "foreign key",
        "23502": "not null",
        "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign key",
        "SQLITE_CONSTRAINT_TRIGGER": "foreign key",
        "SQLITE_CONSTRAINT_NOTNULL": "not null",
    }[name]
