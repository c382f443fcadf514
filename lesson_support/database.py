"""Gives every learner an empty workspace of their own for each lesson, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import errno
import getpass
import hashlib
import logging
import os
import re
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from ._pool import CellPool
from .errors import LessonError, connection_sentence, install_handler

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

SERVER = "LESSONS_DATABASE_URL"
FOLDER = "LESSONS_WORKSPACE"
LEARNER = "LESSONS_LEARNER"
ROLE = "learner_"  # how the role of a learner in a class begins
APPLICATION_ID = (
    0x4C65736E  # "Lesn"; https://www.sqlite.org/pragma.html#pragma_application_id
)

# A server that is away is a sentence after 5 s, and one that falls silent in the middle of a statement
# after 20 s: without these the cell waits for hours. They cannot tell a proxy that stays on the line
# and says nothing from a slow query. https://www.postgresql.org/docs/current/libpq-connect.html
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# The same for the server, whose default is two hours: a laptop that was shut in a transaction holds
# a connection and locks for 20 s. https://www.postgresql.org/docs/current/runtime-config-connection.html
_PATIENCE_OF_THE_SERVER = {
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

_WANTED = (
    f"{SERVER} must be postgresql:// followed by user:password@host:5432/database: correct it, or "
    "unset it to use SQLite."
)


@dataclass
class _Opened:
    engine: Engine
    connections: WeakSet[Connection] = field(default_factory=WeakSet)
    raw: set = field(default_factory=set)


# What each workspace has open in this process, so that a set-up cell can be run again.
_open: dict[str, list[_Opened]] = {}

# For the sync engine inside each AsyncEngine, an Engine on the same workspace: the displays look
# through it, because nobody awaits them.
_beside: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()


def connect(lesson: str, *, fresh: bool = True) -> Engine:
    """Return an Engine on this learner's own workspace for one lesson.

    The workspace is an SQLite file in the folder `workspace`, or, where LESSONS_DATABASE_URL names
    a PostgreSQL server, a schema of one's own there. Connections to it that an earlier call in the
    same process left open are closed first. In a notebook, `install_handler()` is called as well.

    Args:
        lesson: such as "01"; 1 to 20 lower-case letters, digits and hyphens.
        fresh: whether the workspace is emptied; with False what is there stays.

    Returns:
        An Engine from `sqlalchemy.create_engine`. On SQLite every connection has
        `PRAGMA foreign_keys=ON` (https://www.sqlite.org/foreignkeys.html#fk_enable); on PostgreSQL
        a connection is closed when its cell ends or, in a program, when it is given back, and
        `search_path` is the schema alone, so that no other table is ever seen or dropped
        (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH).

    Raises:
        LessonError: when the name is no lesson's name, when the database cannot be reached or
            written, or when there is something in the workspace's place that the lessons did not
            make. Nothing is changed then.
    """
    install_handler()
    if not isinstance(lesson, str) or not re.fullmatch(r"[a-z0-9-]{1,20}", lesson):
        raise LessonError(
            'connect(...) wants the lesson\'s number in quotes, such as connect("01"): 1 to 20 '
            "lower-case letters, digits and hyphens."
        )
    url = _server_url()
    if url is None:
        path = _file(lesson)
        _close_earlier(str(path))
        _prepare_file(path, fresh)
        engine = _sqlite_engine(path)
        _remember(engine, str(path))
    else:
        schema = _schema(lesson)
        _close_earlier(schema)
        _prepare_schema(url, schema, fresh)
        engine = _postgresql_engine(url, schema)
        _remember(engine, schema)
    return engine


def connect_async(lesson: str, *, fresh: bool = True) -> AsyncEngine:
    """Return an AsyncEngine on this learner's own workspace for one lesson.

    It is `connect`, with a driver that can be awaited: aiosqlite, or psycopg. All that `connect`
    says holds here as well.

    Args:
        lesson: as in `connect`.
        fresh: as in `connect`.

    Returns:
        An AsyncEngine from `sqlalchemy.ext.asyncio.create_async_engine`, which keeps no connection
        open after its `async with` block, so that there is nothing to dispose of
        (https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html).

    Raises:
        LessonError: as in `connect`, and when a driver is missing or cannot be awaited here.
    """
    return async_beside(connect(lesson, fresh=fresh))


def async_beside(engine: Engine) -> AsyncEngine:
    """Return an AsyncEngine on the workspace of an Engine from `connect` or `private_engine`.

    Raises:
        LessonError: as in `connect_async`.
    """
    on_sqlite = engine.dialect.name == "sqlite"
    _check_async(on_sqlite)
    from sqlalchemy.ext.asyncio import create_async_engine

    workspace = next(
        name for name, all in _open.items() if any(o.engine is engine for o in all)
    )
    # Said beside a MissingGreenlet, at some later moment, by one driver here and the other there.
    never = (
        r"coroutine '(Connection\.cursor|AsyncConnection\.connect)' was never awaited"
    )
    warnings.filterwarnings("ignore", never, RuntimeWarning)
    if on_sqlite:
        made = _sqlite_engine(Path(workspace), create_async_engine)
    else:
        made = _postgresql_engine(engine.url, workspace, create_async_engine)
    inner = made.sync_engine
    inner.dialect.has_terminate, inner.dialect.do_terminate = True, _terminate
    _remember(inner, workspace)
    _beside[inner] = engine
    return made


def synchronous(engine: Any) -> Engine:
    """Return the Engine through which a display looks: `engine` itself, or the one beside it.

    Raises:
        LessonError: for an AsyncEngine that the lessons did not make.
    """
    inner = getattr(engine, "sync_engine", engine)
    if inner is not engine and inner not in _beside:
        raise LessonError(
            "This AsyncEngine is one of your own, and what looks at tables is not awaited: use the "
            "engine of connect_async(...), or await session.run_sync(tables, Base)."
        )
    return _beside.get(inner, inner)


def _check_async(on_sqlite: bool) -> None:
    driver = "aiosqlite" if on_sqlite else "psycopg"
    for name in ("greenlet", driver):
        try:
            __import__(name)
        except ImportError as error:
            raise LessonError(
                f"The package {name} is missing, which AsyncSession needs: run python3 -m "
                "lesson_support setup, then restart the kernel."
            ) from error
    if not on_sqlite and _loop_is_proactor():
        # https://www.psycopg.org/psycopg3/docs/advanced/async.html
        raise LessonError(
            "On Windows, the event loop of a notebook is one that psycopg cannot use: unset "
            f"{SERVER} for this lesson and restart the kernel, to use SQLite."
        )


def _loop_is_proactor() -> bool:
    kind = getattr(asyncio, "ProactorEventLoop", None)  # exists on Windows only
    try:
        return kind is not None and isinstance(asyncio.get_running_loop(), kind)
    except RuntimeError:
        return False


def _terminate(connection: Any) -> None:
    """Close an awaitable driver's connection without awaiting it."""
    driver = connection.driver_connection
    if hasattr(driver, "pgconn"):
        driver.pgconn.finish()
    elif hasattr(driver, "stop"):  # aiosqlite
        driver.stop()


@contextmanager
def private_engine(name: str = "check") -> Iterator[Engine]:
    """Lend an Engine on an empty workspace that nobody else sees and that is removed at the end.

    Args:
        name: 1 to 11 characters of a lesson's name, to recognise it on a server.

    Yields:
        An Engine on the same kind of database as `connect`, with the same settings.

    Raises:
        LessonError: as in `connect`.
    """
    url = _server_url()
    if url is None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder, f"{name}.sqlite")
            engine = _sqlite_engine(path)
            event.listen(engine, "connect", _without_waiting_for_the_disk)
            _remember(engine, str(path))
            try:
                yield engine
            finally:
                _close_earlier(str(path))
    else:
        schema = _schema(f"{name}-{uuid.uuid4().hex[:8]}")
        _prepare_schema(url, schema, fresh=True)
        engine = _postgresql_engine(url, schema)
        _remember(engine, schema)
        try:
            yield engine
        finally:
            _close_earlier(schema)
            with suppress(LessonError), _admin(url, schema) as connection:
                _drop_schema(connection, schema)


def describe(engine: Engine) -> str:
    """Return the name of the engine's database: "SQLite" or "PostgreSQL"."""
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    return names.get(engine.dialect.name, engine.dialect.name)


def reset() -> list[str]:
    """Throw this learner's workspaces of all lessons away, in the database that is in use now.

    Returns:
        What was removed: "workspace/01.sqlite" or "schema lesson_ada_01".

    Raises:
        LessonError: as in `connect`; what the lessons did not make is left alone.
    """
    url = _server_url()
    if url is None:
        return _remove_files()
    with _admin(url, "") as connection:
        found = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = %s"
            " AND pg_has_role(nspowner, 'USAGE') ORDER BY nspname",
            [_mark()],
        ).fetchall()
        for (schema,) in found:
            _close_earlier(schema)
            _drop_schema(connection, schema)
    return [f"schema {schema}" for (schema,) in found]


def check_server() -> str:
    """Return one sentence on which database answers, for `doctor`.

    Raises:
        LessonError: when it does not answer or when no workspace can be made in it.
    """
    url = _server_url()
    if url is None:
        path = _file("doctor")
        _prepare_file(path, fresh=True)
        path.unlink(missing_ok=True)
        return f"SQLite {sqlite3.sqlite_version} works, with its files in {path.parent.name}/"
    schema = _schema("doctor")
    _prepare_schema(url, schema, fresh=True)
    with _admin(url, schema) as connection:
        _drop_schema(connection, schema)
        version = connection.info.parameter_status("server_version").split()[0]
    return f"PostgreSQL {version} answers, and a schema of your own can be made there"


def _sqlite_engine(path: Path, create: Callable[..., Any] = create_engine) -> Any:
    """Make an Engine, or with `create_async_engine` an AsyncEngine."""
    url = URL.create("sqlite", database=_from_here(path))
    if create is create_engine:
        engine = inner = create(url)
    else:
        engine = create(url.set(drivername="sqlite+aiosqlite"), poolclass=NullPool)
        inner = engine.sync_engine

    @event.listens_for(inner, "connect")
    def prepare(connection, record):
        connection.execute("PRAGMA foreign_keys=ON")
        if engine is inner:  # lets an interrupt through
            connection.set_progress_handler(lambda: 0, 20_000)

    if engine is inner:
        # A COMMIT that a deferred rule refused leaves SQLite's transaction open, and SQLAlchemy puts
        # its connection back as it is: nobody else could write then.
        event.listen(
            inner, "checkin", lambda connection, record: _roll_back(connection)
        )

    return engine


def _postgresql_engine(
    url: URL, schema: str, create: Callable[..., Any] = create_engine
) -> Any:
    """Make an Engine, or with `create_async_engine` an AsyncEngine."""
    settings = {**_PATIENCE, "application_name": schema}
    engine = create(
        url,
        poolclass=CellPool if create is create_engine else NullPool,
        pool_reset_on_return=None,  # in a transaction it is closed, which rolls back as well
        connect_args=settings,
    )

    @event.listens_for(
        getattr(engine, "sync_engine", engine), "connect", insert=True
    )  # before SQLAlchemy asks for the schema
    def prepare(connection, record):
        connection.autocommit = True
        connection.execute(
            f"SET search_path = \"{schema}\"; SET lock_timeout = '5s'; SET timezone = 'UTC';"
            "SET client_min_messages = warning;"
            + ";".join(f"SET {k} = {v}" for k, v in _PATIENCE_OF_THE_SERVER.items())
        )
        connection.autocommit = False

    return engine


def _roll_back(connection: sqlite3.Connection | None) -> None:
    if connection is not None:  # None where it was closed
        connection.rollback()


def _without_waiting_for_the_disk(connection, record) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def _remember(engine: Engine, workspace: str) -> None:
    opened = _Opened(engine)
    _open.setdefault(workspace, []).append(opened)
    event.listen(
        engine, "engine_connect", lambda connection: opened.connections.add(connection)
    )
    event.listen(engine, "connect", lambda raw, record: opened.raw.add(raw))
    event.listen(engine, "close", lambda raw, record: opened.raw.discard(raw))


def _close_earlier(workspace: str) -> None:
    for opened in _open.pop(workspace, []):
        for connection in list(opened.connections):
            # A Session on it then asks for rollback() and works again; a driver connection closed
            # behind SQLAlchemy's back would be reported on stderr.
            with suppress(SQLAlchemyError):
                connection.invalidate()
        opened.engine.dispose()
        for raw in list(opened.raw):
            with suppress(Exception):
                (_terminate if opened.engine.dialect.is_async else _close)(raw)


def _close(raw: Any) -> None:
    raw.close()


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "")


def _file(lesson: str) -> Path:
    folder = os.environ.get(FOLDER)
    workspace = (
        Path(folder).expanduser() if folder else Path(__file__).parents[1] / "workspace"
    )
    worker = f".{_worker()}" if _worker() else ""
    return workspace.absolute() / f"{lesson}{worker}.sqlite"


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _from_here(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except (OSError, ValueError):  # another drive, or a current folder that is gone
        return str(path)


def _prepare_file(path: Path, fresh: bool) -> None:
    """Make the file ours and, if `fresh`, empty; refuse a file that the lessons did not make."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(
            sqlite3.connect(path, timeout=2, isolation_level=None)
        ) as connection:
            mark = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute(
                "SELECT count(*) FROM sqlite_master"
            ).fetchone()[0]
            if mark != APPLICATION_ID and (mark or tables):
                raise LessonError(
                    f"{_shown(path)} is a database that these lessons did not make, so it is left "
                    f"as it is: move it away, or set {FOLDER} to another folder."
                )
            if fresh or mark != APPLICATION_ID:
                _empty(connection)
                connection.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        raise LessonError(_file_sentence(error, path)) from error


def _empty(connection: sqlite3.Connection) -> None:
    """Drop all there is, in a transaction that is left open for the caller to end."""
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("BEGIN IMMEDIATE")
    things = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'table')"
        " AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        " ORDER BY type DESC, sql NOT LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    for kind, name in things:
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind} IF EXISTS "{quoted}"')
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _file_sentence(error: Exception, path: Path) -> str:
    name = _shown(path)
    code = getattr(error, "sqlite_errorname", None) or ""
    if code.startswith("SQLITE_NOTADB"):
        return (
            f"{name} is not an SQLite database, so it is left as it is: move it away, or set "
            f"{FOLDER} to another folder."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"{name} is locked: another notebook has written to it and not committed; commit or "
            "roll back there, or restart its kernel, then run this cell again."
        )
    if code.startswith("SQLITE_FULL") or getattr(error, "errno", None) in (
        errno.ENOSPC,
        errno.EDQUOT,
    ):
        return f"{name} cannot grow, the disk is full: free some space, then run this cell again."
    if code.startswith("SQLITE_CORRUPT"):
        return f"{name} is damaged: delete this file, then run this cell again."
    if code == "SQLITE_READONLY_DBMOVED":
        return (
            f"{name} was deleted, moved or replaced: run the cell with connect(...) again, which makes "
            "a new one."
        )
    if code.startswith("SQLITE_IOERR"):
        return (
            f"{name} cannot be written, its disk fails (disk I/O error): see whether the disk, or your "
            "share of it (quota), is full and free some space, then run this cell again."
        )
    if isinstance(error, OSError) or code.startswith(
        ("SQLITE_READONLY", "SQLITE_CANTOPEN")
    ):
        return (
            f"{name} cannot be written: make the file and its folder writable, or set {FOLDER} to "
            "a folder of your own."
        )
    return (
        f"{name} cannot be used ({code or type(error).__name__}): set {FOLDER} to a folder on a "
        "disk of this machine."
    )


def _remove_files() -> list[str]:
    removed = []
    for path in sorted(_file("x").parent.glob("*.sqlite")):
        if not _is_ours(path):
            continue
        _close_earlier(str(path))
        try:
            for file in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise LessonError(
                f"{_shown(path)} cannot be removed: shut down the notebooks that use it and make "
                "its folder writable, then try again."
            ) from error
        removed.append(_shown(path))
    return removed


_BESIDE = ("-journal", "-wal", "-shm")  # https://www.sqlite.org/tempfiles.html


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(
                72
            )  # https://www.sqlite.org/fileformat.html#the_database_header
    except OSError:
        return False
    return header[:16] == b"SQLite format 3\0" and header[
        68:
    ] == APPLICATION_ID.to_bytes(4, "big")


def _learner() -> str:
    named = os.environ.get(LEARNER) or os.environ.get("JUPYTERHUB_USER")
    if named:
        return named
    url = _server_url()
    if url is not None and (url.username or "").startswith(ROLE):
        return url.username.removeprefix(ROLE)
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "learner"


def _mark() -> str:
    return f"made by lesson_support for {_learner()}; safe to drop"


def _schema(lesson: str) -> str:
    parts = [part for part in (_learner(), lesson, _worker()) if part]
    name = "lesson_" + "_".join(parts)
    if len(name) <= 50 and all(re.fullmatch("[a-z0-9]+", part) for part in parts):
        return name
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower())[:40].strip("_")
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()
    return f"{slug}_{digest}"


def _server_url() -> URL | None:
    """Return the URL of the PostgreSQL server, or None where SQLite is wanted."""
    text = os.environ.get(SERVER, "").strip()
    if not text:
        return None
    url = problem = None
    try:
        url = make_url(text)
    except ValueError:
        problem = (
            f"The port in {SERVER} is no number: write host:5432, and in a password %40 for @, "
            "%3A for : and %2F for /."
        )
    except SQLAlchemyError:
        problem = _WANTED
    if url is not None:
        problem = _problem(url, text)
    if (
        problem
    ):  # raised here, outside `except`: the parser's own text may hold a password
        raise LessonError(problem)
    if (
        "password" in url.query
    ):  # libpq would take it there, but SQLAlchemy would show it
        url = url.set(password=url.query["password"]).difference_update_query(
            ["password"]
        )
    return url.set(drivername="postgresql+psycopg")


def _problem(url: URL, text: str) -> str | None:
    kind, _, driver = url.drivername.partition("+")
    if kind == "sqlite":
        return (
            f"{SERVER} must name a PostgreSQL server: unset it to use SQLite ({FOLDER} moves the "
            "SQLite files)."
        )
    if kind not in ("postgresql", "postgres"):
        return _WANTED
    if driver not in ("", "psycopg"):
        return (
            f"{SERVER} names a driver that these lessons do not use: write postgresql+psycopg:// "
            "or just postgresql://."
        )
    if _has_misplaced_at(url, text):
        return (
            f"{SERVER} has an @ in the wrong place: in a user's name or password write %40 for @, "
            "%3A for : and %2F for /."
        )
    return None


def _has_misplaced_at(url: URL, text: str) -> bool:
    """Whether what was read as the host may be a piece of a password with an unescaped `@`."""
    host = re.escape(url.host or "")
    after = text.rpartition("@")[2]
    is_host = re.match(rf"({host}|\[{host}\])(?![^:/?])", after)
    return "@" in text and ("@" in f"{url.host}{url.database}" or not is_host)


def _facts(url: URL) -> dict[str, str]:
    host = url.host or str(url.query.get("host", "localhost"))
    around = f"[{host}]" if ":" in host else host
    return {
        "server": f"{around}:{url.port or 5432}",
        "host": host,
        "user": url.username or "of this address",
        "database": url.database or url.username or "of this name",
    }


@contextmanager
def _admin(url: URL, schema: str):
    """Lend a driver connection, in one transaction, for work on schemas; errors are sentences."""
    try:
        import psycopg
    except ImportError as error:
        raise LessonError(
            'The driver for PostgreSQL is missing: run pip install "psycopg[binary]", or unset '
            f"{SERVER} to use SQLite."
        ) from error
    # Its warnings hold addresses, and every failure comes back as an exception anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    settings = {**_PATIENCE, "application_name": "lesson_support"}
    try:
        arguments = url.get_dialect()().create_connect_args(url)[1]
        connection = psycopg.connect(**{**arguments, **settings})
    except (psycopg.Error, SQLAlchemyError, UnicodeError) as error:
        raise LessonError(connection_sentence(error, **_facts(url))) from error
    try:
        with connection:
            connection.execute(
                "SET LOCAL lock_timeout = '5s'; SET LOCAL search_path = pg_catalog"
            )
            yield connection
    except psycopg.Error as error:
        raise LessonError(_schema_sentence(error, url, schema)) from error


def _prepare_schema(url: URL, schema: str, fresh: bool) -> None:
    """Make the schema ours and, if `fresh`, empty; refuse one that the lessons did not make."""
    with _admin(url, schema) as connection:
        from psycopg import sql

        pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
        if (
            pid != connection.info.backend_pid
        ):  # then search_path could be lost between statements
            raise LessonError(
                f"{SERVER} leads to a connection pooler, which these lessons cannot use: name the "
                "PostgreSQL server itself."
            )
        # Two kernels that make it at the same moment come one after the other.
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('connect ' || %s))", [schema]
        )
        found = connection.execute(
            "SELECT obj_description(oid, 'pg_namespace'), pg_has_role(nspowner, 'USAGE')"
            " FROM pg_namespace WHERE nspname = %s",
            [schema],
        ).fetchone()
        if found and found != (_mark(), True):
            raise LessonError(
                f"The schema {schema} is there and these lessons did not make it for you, so it "
                f"is left as it is: set {LEARNER} to another name."
            )
        if found and not fresh:
            return
        if found:
            _drop_schema(connection, schema)
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        comment = sql.SQL("COMMENT ON SCHEMA {} IS {}").format(
            name, sql.Literal(_mark())
        )
        connection.execute(comment)


def _drop_schema(connection, schema: str) -> None:
    from psycopg import sql

    # A transaction that an earlier kernel left open would block the DROP.
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        " AND datname = current_database() AND usename = current_user",
        [schema],
    )
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def _schema_sentence(error: Exception, url: URL, schema: str) -> str:
    facts = _facts(url)
    database, user = facts["database"], facts["user"]
    match getattr(error, "sqlstate", None):
        case "42501":
            return (
                f"The user {user} may not make a schema in the database {database}: ask its owner "
                f"for GRANT CREATE ON DATABASE {database} TO {user}."
            )
        case "25006":
            return (
                f"The server at {facts['server']} is read-only: name the primary server in "
                f"{SERVER}, or unset it to use SQLite."
            )
        case "55P03":
            return (
                f"Another program has an open transaction on the tables in {schema}: commit or "
                "roll back there, then run this cell again."
            )
        case "53100":
            return "The disk of the server is full: free some space, then run this cell again."
        case "53300":
            return connection_sentence(error, **facts)
    return (
        f"PostgreSQL could not prepare the schema {schema}: run this cell again, and if that "
        f"does not help choose another server in {SERVER}."
    )
