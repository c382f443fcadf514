"""The rows of data/: as files, and as objects in fresh tables."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Engine, Table, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapper, Session
from sqlalchemy.orm.collections import collection_adapter

from .database import APPLICATION_ID, _empty, _file_sentence, _mark, synchronous
from .errors import LessonError
from .sql import quiet

__all__ = ["data_file", "fresh_tables"]

DATA = Path(__file__).resolve().parent.parent / "data"


class _Track(NamedTuple):
    parents: str
    children: str
    parent_column: str


_TRACKS = (_Track("programs", "courses", "program"), _Track("users", "posts", "user"))
_COLUMNS = {
    "programs.csv": ("name",),
    "courses.csv": ("code", "title", "credits", "program"),
    "users.csv": ("name",),
    "posts.csv": ("title", "published", "user"),
}
_UNIQUE = {"programs.csv": "name", "courses.csv": "code", "users.csv": "name"}
_KINDS: dict[type, tuple[Any, str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    date: (date.fromisoformat, "a date like 2026-09-01"),
}
_BLOCKED_POSTGRESQL = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
_BLOCKED_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")


def data_file(name: str) -> Path:
    """Find a file of data/ for reading, with pandas or anything else.

    Args:
        name: the file's name, "courses.csv".

    Returns:
        Its path.

    Raises:
        LessonError: there is no such file, it cannot be read, or one of its columns is missing.
            What the columns mean is told in data/README.md.
    """
    _header(name, _lines(name))
    return DATA / name


def fresh_tables(
    engine: Engine, base: type[DeclarativeBase], data: bool = False
) -> None:
    """Empty the lesson's workspace and create the tables of `base`, with or without rows.

    Everything in the workspace goes, so that tables which another cell made from other classes are
    not in the way: `metadata.drop_all` only knows its own tables. All of it is one transaction:
    where it fails or is interrupted, everything is as it was before. The rows are inserted through the
    relationship, in the order of the files, so that the first program has the id 1. None of this
    SQL is shown under the cell. What drop_all drops:
    https://docs.sqlalchemy.org/en/21/core/metadata.html#sqlalchemy.schema.MetaData.drop_all

    Args:
        engine: what `connect(...)` or `connect_async(...)` returned.
        base: the class `Base` whose tables are wanted.
        data: True to insert the rows of data/ as well. Then `base` must have a class for `programs`
            and one for `courses`, or for `users` and `posts`, with a relationship between them on
            at least one side. A column that the classes lack is left out.

    Raises:
        LessonError: a file of data/ or the classes do not fit, or the engine leads to a database
            that the lessons did not make, and then nothing was changed; or an open Session still
            uses the tables; or the file of the workspace cannot be written.
        SQLAlchemyError: the mapping itself is wrong, or a column without a value in data/ may not
            be empty.
    """
    if not hasattr(base, "metadata") or not hasattr(base, "registry"):
        raise LessonError(
            "fresh_tables(engine, Base) needs the class Base, not its metadata."
        )
    rows = _Rows(base) if data else None
    try:
        with (
            quiet(),
            synchronous(engine).connect() as connection,
            _emptied(connection),
        ):
            base.metadata.create_all(connection)
            if rows:
                rows.insert(connection)
                _check_keys(connection)
            connection.commit()
    except (DBAPIError, sqlite3.Error) as error:
        if _is_blocked(error):
            raise LessonError(
                "The tables are in use: a Session or connection with an open transaction still "
                "holds them; close it (session.close()) and run this cell again, or begin again "
                "with the cell that has connect(...)."
            ) from error
        # From the driver, while the file was emptied; SQLITE_ERROR is a fault in SQL.
        code = getattr(error, "sqlite_errorname", None)
        if code not in (None, "SQLITE_ERROR"):
            file = Path(synchronous(engine).url.database or "memory").absolute()
            raise LessonError(_file_sentence(error, file)) from error
        raise


def _check_keys(connection: Connection) -> None:
    """What SQLite does not check while it is emptied; PostgreSQL has checked it by now."""
    if connection.dialect.name == "sqlite":
        wrong = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if wrong:
            raise LessonError(
                f"The rows of data/ do not fit these classes: a key in {wrong[0]} would point at a "
                f"row of {wrong[2]} that is not there (FOREIGN KEY)."
            )


@contextmanager
def _emptied(connection: Connection) -> Iterator[None]:
    """Drop every view and table of the workspace, whatever made it and whatever refers to it.

    What the block does belongs to the same transaction, and another kernel waits for its end.
    """
    if connection.dialect.name == "sqlite":
        emptied = _emptied_file(connection)
    else:
        emptied = nullcontext(_empty_schema(connection))
    with emptied as done:
        if not done:
            raise LessonError(
                "fresh_tables empties only a workspace that connect(...) made, and this engine leads "
                "somewhere else, so nothing was changed: run the cell with connect(...) again."
            )
        yield


@contextmanager
def _emptied_file(connection: Connection) -> Iterator[bool]:
    """Empty the file, unless there is something in it that the lessons did not make."""
    driver = connection.connection.driver_connection
    driver.rollback()  # a COMMIT that a deferred rule refused leaves its transaction open
    in_memory = not driver.execute("PRAGMA database_list").fetchone()[2]
    mark = driver.execute("PRAGMA application_id").fetchone()[0]
    anything = driver.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark != APPLICATION_ID and (mark or anything) and not in_memory:
        yield False
        return
    checks = driver.execute("PRAGMA foreign_keys").fetchone()[0]
    try:
        _empty(driver)
        connection.begin()  # sends nothing; commit() would do nothing without it
        yield True
    finally:
        with suppress(sqlite3.ProgrammingError):  # at an interrupt it is closed already
            driver.rollback()
            driver.execute(f"PRAGMA foreign_keys = {checks}")


def _empty_schema(connection: Connection) -> bool:
    """Empty the schema, unless the lessons did not make it."""
    inspector = inspect(connection)
    schema = inspector.default_schema_name
    comment = text(
        "SELECT obj_description(to_regnamespace(quote_ident(:name)), 'pg_namespace')"
    )
    if connection.scalar(comment, {"name": schema}) != _mark():
        return False
    # https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": schema}
    )
    kinds = {
        "MATERIALIZED VIEW": inspector.get_materialized_view_names(),
        "VIEW": inspector.get_view_names(),
        "TABLE": inspector.get_table_names(),
        "TYPE": [enum["name"] for enum in inspector.get_enums()],
    }
    quote = connection.dialect.identifier_preparer.quote
    for kind, names in kinds.items():
        for name in names:
            connection.exec_driver_sql(
                f"DROP {kind} IF EXISTS {quote(schema)}.{quote(name)} CASCADE"
            )
    return True


def _is_blocked(error: DBAPIError | sqlite3.Error) -> bool:
    driver_error = getattr(error, "orig", error)
    if getattr(driver_error, "sqlstate", None) in _BLOCKED_POSTGRESQL:
        return True
    return getattr(driver_error, "sqlite_errorname", "").startswith(_BLOCKED_SQLITE)


def _lines(name: str) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that hold something, split into values, with their numbers."""
    if name not in _COLUMNS and (
        Path(name).name != name or not (DATA / name).is_file()
    ):
        known = ", ".join(sorted(_COLUMNS))
        raise LessonError(
            f"There is no file data/{name}; the files of these lessons are {known}."
        )
    cure = f"bring it back with: git checkout -- data/{name}"
    try:
        content = (DATA / name).read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        return [(reader.line_num, line) for line in reader if line]
    except FileNotFoundError as error:
        raise LessonError(f"The file data/{name} is missing; {cure}") from error
    except OSError as error:
        raise LessonError(
            f"The file data/{name} cannot be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise LessonError(f"The file data/{name} is not UTF-8 text; {cure}") from error
    except csv.Error as error:
        line = reader.line_num
        raise LessonError(
            f"data/{name}, line {line}: {error}; mend it, or {cure}"
        ) from error


def _header(name: str, lines: list[tuple[int, list[str]]]) -> list[str]:
    header = lines[0][1] if lines else []
    for column in _COLUMNS.get(name, ()):
        if header.count(column) != 1:
            wrong = "is missing" if column not in header else "is there twice"
            raise LessonError(
                f"data/{name}, line 1: the column {column} {wrong} "
                f"(the line should be: {','.join(_COLUMNS[name])}); "
                f"mend it, or bring the file back with: git checkout -- data/{name}"
            )
    return header


class _Row(NamedTuple):
    file: str
    line: int
    values: dict[str, str]

    def error(self, column: str, words: str) -> LessonError:
        return LessonError(
            f"data/{self.file}, line {self.line}, column {column}: {words}."
        )


def _read(table: str) -> list[_Row]:
    name = f"{table}.csv"
    lines = _lines(name)
    header = _header(name, lines)
    rows, seen = [], {}
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise LessonError(
                f"data/{name}, line {number}: {len(line)} values where the first line names "
                f'{len(header)} columns; a value with a comma in it stands in quotes, "like, this".'
            )
        row = _Row(name, number, dict(zip(header, line, strict=True)))
        for column in _COLUMNS[name]:
            if not row.values[column].strip():
                raise row.error(column, "the value is missing")
        if column := _UNIQUE.get(name):
            value = row.values[column]
            if value in seen:
                raise row.error(column, f"{value!r} is already in line {seen[value]}")
            seen[value] = number
        rows.append(row)
    return rows


def _convert(row: _Row, column: Column) -> Any:
    value = row.values[column.name]
    try:
        convert, kind = _KINDS[column.type.python_type]
    except (KeyError, NotImplementedError):
        kinds = ", ".join(kind.__name__ for kind in _KINDS)
        raise LessonError(
            f"fresh_tables cannot fill {column}: data/ has values for the Python types {kinds}, "
            f"and this column is {column.type!r}."
        ) from None
    try:
        converted = convert(value)
    except ValueError:
        raise row.error(column.name, f"{value!r} is not {kind}") from None
    length = getattr(column.type, "length", None)
    if length is not None and len(value) > length:
        raise row.error(column.name, f"{value!r} is longer than {column.type!r}")
    return converted


class _Rows:
    """The rows of data/ as objects of the mapped classes, and the way from child to parent."""

    def __init__(self, base: type[DeclarativeBase]) -> None:
        existing = base.metadata.tables
        track = next(
            (t for t in _TRACKS if t.parents in existing and t.children in existing),
            None,
        )
        if track is None:
            there = ", ".join(sorted(existing)) or "none"
            raise LessonError(
                "data=True needs the tables programs and courses, or users and posts; "
                f"the tables of this Base: {there}."
            )
        parent = _mapper(base, existing[track.parents])
        child = _mapper(base, existing[track.children])
        self._key, self._from_parent = _relationship(parent, child)
        self._parents: dict[str, Any] = {}
        for row in _read(track.parents):
            self._parents[row.values["name"]] = _make(parent, row)
        self._children = []
        for row in _read(track.children):
            name = row.values[track.parent_column]
            if name not in self._parents:
                words = f"{name!r} is not in data/{track.parents}.csv"
                raise row.error(track.parent_column, words)
            self._children.append((_make(child, row), self._parents[name]))

    def insert(self, connection: Connection) -> None:
        with Session(connection) as session:
            session.add_all(self._parents.values())
            for child, parent in self._children:
                if self._from_parent:
                    _append(getattr(parent, self._key), child)
                else:
                    setattr(child, self._key, parent)
                session.add(child)
            session.commit()


def _mapper(base: type[DeclarativeBase], table: Table) -> Mapper:
    for mapper in base.registry.mappers:
        if mapper.local_table is table and mapper.inherits is None:
            return mapper
    raise LessonError(f"No class of this Base is mapped to the table {table.name}.")


def _relationship(parent: Mapper, child: Mapper) -> tuple[str, bool]:
    """The attribute that links the two, and whether it is the parent's."""
    for mapper, other, direction in (
        (parent, child, "ONETOMANY"),
        (child, parent, "MANYTOONE"),
    ):
        for found in mapper.relationships:
            if (
                found.mapper is not other
                or found.direction.name != direction
                or found.viewonly
            ):
                continue
            if direction == "ONETOMANY" and not found.uselist:
                raise LessonError(
                    f"{found} holds one object only; to load data/ it must hold many: "
                    f"Mapped[list[{other.class_.__name__!r}]]."
                )
            return found.key, mapper is parent
    raise LessonError(
        f"{parent.class_.__name__} and {child.class_.__name__} have no one-to-many relationship() "
        "between them; to load data/ one of the two needs it."
    )


def _make(mapper: Mapper, row: _Row) -> Any:
    values = {
        mapper.get_property_by_column(column).key: _convert(row, column)
        for column in mapper.local_table.columns
        if column.name in _COLUMNS[row.file]
    }
    try:
        return mapper.class_(**values)
    except TypeError as error:
        name = mapper.class_.__name__
        raise LessonError(
            f"{name}(...) cannot be made from data/{row.file}: {error}."
        ) from error


def _append(collection: Any, child: Any) -> None:
    if hasattr(collection, "_sa_adapter"):
        collection_adapter(collection).append_with_event(child)
    else:  # write-only and dynamic relationships
        collection.add(child)
