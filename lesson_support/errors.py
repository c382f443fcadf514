"""Says in one plain sentence what went wrong, and keeps the whole story one `%tb` away."""

from __future__ import annotations

import gc
import linecache
import logging
import re
import sys
import textwrap
import traceback
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy
from sqlalchemy import exc

from ._html import Shown, escape
from ._source import statement_at

if TYPE_CHECKING:
    from types import TracebackType


class LessonError(Exception):
    """Something is wrong in the set-up or in the use of `lesson_support`.

    `str(error)` is one sentence with the cause and the next step.
    """


class _Rule(NamedTuple):
    says: str
    todo: str = ""
    same_class: str = (
        ""  # where SQLite and PostgreSQL raise two classes: the one above both
    )


# What is told in a few lines; everything else looks as always.
_SHOWN_SHORT = (exc.SQLAlchemyError, LessonError, KeyboardInterrupt)

# The red box of a notebook breaks long lines inside words.
_WRAP = textwrap.TextWrapper(
    width=88,
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
    replace_whitespace=False,
)
_AGAIN = "session.rollback() if the Session is still open, then run the cell again"

_TAKEN_AWAY = (
    "a child may have lost its parent, whose key is required: delete the child too, by "
    f'cascade="all, delete-orphan" on the one side, or give it another parent; {_AGAIN}'
)

_RULES = {
    "not null": _Rule(
        "the database refused: a required value is missing (NOT NULL)",
        f"give the row that value or that parent; {_AGAIN}",
    ),
    "foreign key": _Rule(
        "the database refused: a key would point at a row that is not there (FOREIGN KEY)",
        "save the parent before the child, or deal with the children before you delete the "
        f"parent; {_AGAIN}",
    ),
    "unique": _Rule(
        "the database refused: a value that must be unique is there already (UNIQUE)",
        f"choose another value, or change the row that has it; {_AGAIN}",
    ),
    "check": _Rule(
        "the database refused: a value breaks a rule of the table (CHECK)",
        f"choose a value that the rule allows; {_AGAIN}",
    ),
    "no table": _Rule(
        "the database refused: there is no table with this name",
        "run the cell that makes the tables first (create_all or fresh_tables; often the set-up "
        "cell), and look for a typing error in the name",
        "DatabaseError",
    ),
    "no column": _Rule(
        "the database refused: there is no column with this name",
        "look for a typing error; create_all(engine) never adds a column to a table that exists, "
        "so after a change of the class run drop_all(engine) first",
        "DatabaseError",
    ),
    "ambiguous": _Rule(
        "the database refused: two tables have a column with this name",
        "write the table's name before the column's",
        "DatabaseError",
    ),
    "exists": _Rule(
        "the database refused: a table or an index with this name is there already",
        "drop it first, or let create_all(engine) make only what is missing",
        "DatabaseError",
    ),
    "needed": _Rule(
        "the database refused: something else still needs what you drop",
        "drop first what depends on it; drop_all(engine) knows the order",
    ),
    "group": _Rule(
        "the database refused: a selected column is neither grouped nor counted (GROUP BY)",
        "put the column into group_by(...), or into a function such as func.count(...)",
        "DatabaseError",
    ),
    "aggregate": _Rule(
        "the database refused: a count, sum or place of many rows stands where rows are chosen one "
        "by one (WHERE)",
        "a condition on func.count(...) or func.sum(...) goes into having(...), after group_by(...); "
        "a window function such as row_number() goes into a subquery first",
        "DatabaseError",
    ),
    "syntax": _Rule(
        "the database refused: this is no correct SQL (syntax)",
        "compare the statement with the manual near the word that the database names",
        "DatabaseError",
    ),
    "key target": _Rule(
        "the database refused: a foreign key must point at a primary key or a unique column",
        "correct the name in ForeignKey(...), or make that column unique",
        "DatabaseError",
    ),
    "too long": _Rule(
        "the database refused: a text is longer than its column allows",
        f"shorten the text, or declare a longer String(...); {_AGAIN}",
    ),
    "too big": _Rule(
        "the database refused: a number is too big for its column",
        f"choose a smaller number; {_AGAIN}",
    ),
    "type": _Rule(
        "the database refused: a value has the wrong type for its column",
        f"give a value of the column's type; {_AGAIN}",
    ),
    "binding": _Rule(
        "a value has a type that cannot be stored",
        "give plain values: numbers, texts, dates, None; for a related object use its "
        "relationship, not its key",
    ),
    "locked": _Rule(
        "the database is locked: another transaction is still open",
        "commit or roll back where it is open (in another notebook, or in a Session of this one), "
        "then run the cell again",
    ),
    "deadlock": _Rule(
        "the database stopped this transaction, because it and another one block each other",
        "session.rollback(), then run the cell again",
    ),
    "aborted": _Rule(
        "an earlier statement of this transaction failed, so the database ignores the rest of it",
        "session.rollback(), mend the earlier statement, then run the cell again",
    ),
    "read only": _Rule(
        "the database is read-only: nothing can be written",
        "run the cell with connect(...) again; on SQLite make the file and its folder writable, "
        "on PostgreSQL name the primary server",
        "DatabaseError",
    ),
    "rights": _Rule(
        "the database refused: you may not do this here (no permission)",
        "work in the tables that connect(...) gave you",
    ),
    "full": _Rule(
        "the disk of the database is full",
        "free some space, or ask the server's owner to; session.rollback() if the Session is still "
        "open, then run the cell again",
    ),
    "disk": _Rule(
        "the disk of the database fails (disk I/O error)",
        "see whether the disk, or your share of it (quota), is full, and free some space; then run "
        "the cell with connect(...) again",
    ),
    "damaged": _Rule(
        "the database file is damaged",
        "run the cell with connect(...) again; it says what to do where it cannot mend the file",
    ),
    "moved": _Rule(
        "the database file was deleted, moved or replaced while the notebook used it",
        "run the cell with connect(...) again; it makes a new, empty file",
    ),
    "file": _Rule(
        "the database file cannot be opened",
        "run the cell with connect(...) again; it says what is wrong",
    ),
    "stopped": _Rule(
        "interrupted: the cell stopped before its end",
        "a change under way is undone: run session.rollback() if a Session is open, then go on",
    ),
    "not awaited": _Rule(
        "a value must be read from the database here, and nobody awaits it (MissingGreenlet)",
        "load a list with the query, by selectinload(...), or with await session.refresh(object, "
        "[its name]); to keep what was read over a commit, make the Session with "
        "expire_on_commit=False",
        "MissingGreenlet",  # SQLAlchemy 2.1 wraps it where it was about to send a statement
    ),
    "closed": _Rule(
        "the connection to the database was closed",
        "the server stopped, the network went away, or connect(...) ran elsewhere: run "
        "session.rollback() if a Session is open, then run this cell again",
    ),
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES = {
    "23502": "not null",
    "23503": "foreign key",
    "23001": "foreign key",  # ON DELETE RESTRICT from PostgreSQL 18 on
    "23505": "unique",
    "23514": "check",
    "42P01": "no table",
    "42703": "no column",
    "42702": "ambiguous",
    "42P07": "exists",
    "2BP01": "needed",
    "42601": "syntax",
    "42803": "group",
    "42P20": "aggregate",  # a window function in WHERE
    "42830": "key target",
    "22001": "too long",
    "22003": "too big",
    "22P02": "type",
    "22007": "type",
    "42804": "type",
    "55P03": "locked",
    "40P01": "deadlock",
    "40001": "deadlock",
    "25P02": "aborted",
    "25006": "read only",
    "42501": "rights",
    "53100": "full",
    "57014": "stopped",
    "57P01": "closed",
    "57P02": "closed",
}

# https://www.sqlite.org/rescode.html
_SQLITE_NAMES = {
    "SQLITE_CONSTRAINT_NOTNULL": "not null",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign key",
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_ROWID": "unique",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_MISMATCH": "type",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_READONLY": "read only",
    "SQLITE_READONLY_DBMOVED": "moved",
    "SQLITE_FULL": "full",
    "SQLITE_IOERR": "disk",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_CANTOPEN": "file",
    "SQLITE_NOTADB": "file",
    "SQLITE_INTERRUPT": "stopped",
}

# SQLite has one code, SQLITE_ERROR, for all of these; its texts are always English.
_SQLITE_TEXTS = {
    r"no such table": "no table",
    r"no such column|has no column named": "no column",
    r"ambiguous column name": "ambiguous",
    r"already exists|already another table": "exists",
    r"misuse of (aggregate|window function)": "aggregate",
    r"syntax error|incomplete input|unrecognized token": "syntax",
    r"foreign key mismatch": "key target",
    r"FOREIGN KEY constraint failed": "foreign key",  # ON DELETE RESTRICT, seen as a trigger
}

# A failed connection has no code, neither from libpq nor from psycopg.
_NO_CONNECTION = [
    (
        r"resolve host|translate host name|name or service not known|getaddrinfo|idna|label",
        "The host name {host} is unknown: look for a typing error in LESSONS_DATABASE_URL, where "
        "@ in a password is written %40, or go online.",
    ),
    (
        r"timeout expired|timed out",
        "PostgreSQL at {server} does not answer: check the network (a firewall, a VPN) and host and "
        "port in LESSONS_DATABASE_URL, or unset the variable to use SQLite.",
    ),
    (
        r"no password supplied",
        "LESSONS_DATABASE_URL has no password, and the server wants one: write it after the "
        "user's name, as in user:password@host.",
    ),
    (
        r"no pg_hba\.conf entry.*(no encryption|SSL off)",
        "The server wants an encrypted connection: end LESSONS_DATABASE_URL with ?sslmode=require.",
    ),
    (
        r"pg_hba\.conf",
        "The server does not let the user {user} into the database {database} from this machine: "
        "correct LESSONS_DATABASE_URL, or ask the server's owner for access.",
    ),
    (
        r'authentication failed|role ".*" (does not exist|is not permitted to log in)',
        "The server refused the password for the user {user}: correct both in LESSONS_DATABASE_URL, "
        "where @ : / in a password are written %40 %3A %2F, or ask the server's owner for new ones.",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        "The server has no free connection: shut down the notebooks that you no longer use, then "
        "run this cell again.",
    ),
    (
        r'database ".*" does not exist',
        "The server has no database named {database}: correct the name at the end of "
        "LESSONS_DATABASE_URL, or create that database.",
    ),
    (
        r"permission denied for database",
        "The user {user} may not use the database {database}: ask its owner for "
        "GRANT CONNECT, CREATE ON DATABASE {database} TO {user}.",
    ),
    (
        r"does not support SSL",
        "The server has no encrypted connections: take sslmode out of LESSONS_DATABASE_URL.",
    ),
    (
        r"certificate",
        "The server's certificate cannot be checked: correct sslmode or sslrootcert in "
        "LESSONS_DATABASE_URL.",
    ),
    (
        r"invalid connection option|invalid \S+ value|invalid URI query",
        "LESSONS_DATABASE_URL has a setting after its ? that PostgreSQL does not know: correct it "
        "or leave it out.",
    ),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting",
        "The server is just starting or stopping: wait a moment, then run this cell again.",
    ),
    (
        r"refused|no such file|unreachable|no route to host",
        "No PostgreSQL server answers at {server}: start it or ask its owner to, or unset "
        "LESSONS_DATABASE_URL to use SQLite.",
    ),
    (
        r"invalid port",
        "The port in LESSONS_DATABASE_URL is no port: correct the number after the host, mostly "
        "5432.",
    ),
    (
        r"SSL negotiation|invalid response|expected authentication",
        "What answers at {server} is no PostgreSQL server: correct host and port in "
        "LESSONS_DATABASE_URL.",
    ),
    (
        r"closed the connection|reset by peer",
        "The connection to PostgreSQL at {server} was closed at once: wait until the server is up, "
        "then run this cell again, or correct host and port in LESSONS_DATABASE_URL.",
    ),
]

# By name, because importing the classes would import the whole of sqlalchemy.orm.
_TODO_BY_CLASS = {
    "PendingRollbackError": "run session.rollback(), then go on; the error before this one "
    "says what went wrong",
    "DetachedInstanceError": "its Session is closed: read the attribute inside the `with "
    "Session(engine)` block, or load it there beforehand with selectinload(...)",
    "MultipleResultsFound": "narrow the question with where(...), or take all rows with .all()",
    "NoResultFound": "check the condition, or use one_or_none(), which gives None",
    "NoReferencedTableError": 'look at ForeignKey("table.column"): it wants the __tablename__, '
    "and that class must be defined on the same Base",
    "NoReferencedColumnError": 'look at ForeignKey("table.column"): that table has no such column',
    "NoForeignKeysError": "the many side needs mapped_column(ForeignKey(...)) that points at "
    "the one side",
    "AmbiguousForeignKeysError": "there are two keys between these tables: name the right one "
    "with relationship(foreign_keys=...); columns that are one key together belong in one "
    "ForeignKeyConstraint([...], [...]) in __table_args__",
    "ObjectNotExecutableError": "wrap a plain string in text(...)",
    "TimeoutError": "too many Sessions are open: close them, best with `with Session(engine) "
    "as session:`",
    "ObjectDeletedError": "its row is no longer in the database: load the objects again",
    "UnmappedInstanceError": "give an object of a mapped class; for a list use add_all(...)",
}

_TODO_BY_TEXT = {
    r"both of the same direction": 'give the side that leads to the parent remote_side="Class.id", '
    "with the name of this class",
    r"unique\(\) method must be invoked": "write session.scalars(statement).unique().all(): "
    "joinedload sends each parent once for each child",
    r"is not available due to lazy=": "load it with the query, as in "
    "select(...).options(selectinload(...)), or leave raiseload out",
    r"Can't compare a collection": "ask with any(): Program.courses.any() for at least one, "
    "~Program.courses.any() for none; contains(course) looks for one object",
    r"is ambiguous; it exists in multiple FROM": "use where(...) with the class before the "
    "column, as in where(Course.id == 1)",
    r"Can't flush None value": "a collection holds objects only: run session.rollback(), then "
    "append an object instead of None",
    r"Can't reconnect": "its connection was closed, by an interrupt or because connect(...) ran "
    "again: run session.rollback(), then go on",
    r"is already defined for this MetaData|Multiple classes found": "run the cell that defines "
    "Base again, with all its classes after it",
    r"Textual SQL expression": "wrap the plain string in text(...)",
    r"has no property": "correct the name in back_populates, or write that relationship on the "
    "other class",
    r"that is not a relationship": "back_populates wants the other relationship(), not the key",
    r"failed to locate a name": "look for a typing error, a module that is not imported or a "
    "second Base; inside quotes write Class.column",
    r"correctly interpreted": "wrap the type in Mapped[...]",
    r"Could not resolve all types|Could not locate SQLAlchemy Core type": "another class wants "
    "relationship(); a list of values wants a table of its own",
    r"primary key columns for mapped": "give a column primary_key=True",
    r"__tablename__ specified": "give the class a __tablename__",
    r"property of that name exists": "write the relationship on both sides with back_populates, "
    "and no backref",
    r"delete-orphan cascade is normally": "move cascade= to the list of the one side",
    r"passive_deletes='all' in conjunction": "write passive_deletes=True",
    r"Invalid cascade option|Can't find strategy": "look for a typing error in cascade= or lazy=",
    r"Can't load plugin|Could not parse SQLAlchemy URL|Invalid SQLite URL": "write "
    "postgresql+psycopg://user@host/database or sqlite:///file.sqlite",
    r"Could not locate a bind": "write Session(engine)",
    r"Unconsumed column names": "the class has no such attribute: look for a typing error",
    r"is not persisted": "only an object that has a row can be deleted",
    r"Can't attach instance": "use the object that this Session has for the row, or "
    "session.merge(...)",
    r"were matched|Could not refresh instance|Use the make_transient": "its row is gone: ask "
    "anew, as in session.get(...)",
    r"already begun on this Session": "put session.begin() before the first query",
    r"closed transaction inside": "leave commit() out: the session.begin() block commits",
    r"does not return rows": "only a SELECT, or a statement with returning(...), gives rows",
    r"Mapped instance expected": "compare a relationship with an object, and a key with a number",
    r"columns clause element expected": "name what to select one after the other, as in "
    "select(Program, Course), without square brackets",
    r"Strings are not accepted": "write Class.attribute, without quotes",
    r"requires an async driver": "write sqlite+aiosqlite:// or postgresql+psycopg://",
    r"mappers failed to initialize": "mend the relationship() that the message names, then run "
    "the cell that defines Base and all its classes again",
}


def connection_sentence(
    error: BaseException,
    server: str = "its address",
    host: str = "of the server",
    user: str = "of this address",
    database: str = "of this name",
) -> str:
    """Say why there is no connection to PostgreSQL.

    Args:
        error: what the driver raised.
        server: host and port as a learner writes them.
        host: the host alone.
        user: the name of the user.
        database: the name of the database.

    Returns:
        One sentence with the cause and the next step. It never contains the driver's own text,
        which may hold pieces of a password that was written with an unescaped `@`.
    """
    said = str(error)
    sentence = (
        "No connection to PostgreSQL at {server}: check LESSONS_DATABASE_URL, or unset it to use "
        "SQLite."
    )
    for pattern, candidate in _NO_CONNECTION:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            sentence = candidate
            break
    return sentence.format(server=server, host=host, user=user, database=database)


def explain(error: BaseException) -> Shown:
    """Say what an exception of SQLAlchemy or of a database driver means.

    Args:
        error: the exception, usually from `except ... as error`.

    Returns:
        A display. Its plain text names the class and the rule that was broken, in the same words
        on SQLite and PostgreSQL; where the two raise different classes it names the class above
        both. Its HTML adds what this database said, the statement and its values. Rules come from
        `sqlstate` and `sqlite_errorname`
        (https://docs.python.org/3/library/sqlite3.html#sqlite3.Error.sqlite_errorname).
    """
    rule = _rule(error)
    name = rule.same_class if rule and rule.same_class else type(error).__name__
    plain = f"{name}: {_first_line(error)}"
    details = _details(error)
    if name != type(error).__name__:
        details.insert(0, ("its class here", type(error).__name__))
    if todo := _todo(error):
        details.append(("what to do", todo))
    rows = "".join(
        f"<div>{escape(label)}: <code>{escape(text)}</code></div>"
        for label, text in details
    )
    html = f"<div><strong>{escape(name)}</strong>: {escape(_first_line(error))}{rows}</div>"
    return Shown(html, plain)


def install_handler() -> None:
    """Show failures of SQLAlchemy, of the lessons and interrupts as a few plain lines.

    Works in IPython and Jupyter; elsewhere, and when it runs again, it does nothing. A failure
    stays a failure: the kernel reports the true class, and `%tb` shows the full traceback. All
    other exceptions look as always.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        # it prints the whole traceback of an interrupt that comes while it closes a connection
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        shell.set_custom_exc(_SHOWN_SHORT, _show_in_ipython)
        _record_briefly(shell)


def _record_briefly(shell: Any) -> None:
    """Spare IPython's record of a failed cell, which `%notebook` alone reads, its full traceback.

    To render that takes longer than most cells, and an interrupt meanwhile shows one more box.
    """
    usual = getattr(shell, "_format_exception_for_storage", None)
    if usual is None or getattr(usual, "is_brief", False):
        return

    def brief(exception: BaseException, *rest, **options) -> dict:
        if isinstance(exception, _SHOWN_SHORT):
            with suppress(Exception):
                name, said = type(exception).__name__, _first_line(exception)
                return {"ename": name, "evalue": said, "traceback": [f"{name}: {said}"]}
        return usual(exception, *rest, **options)

    brief.is_brief = True
    shell._format_exception_for_storage = brief


def _show_in_ipython(shell, etype, value, tb, tb_offset=None) -> None:
    sys.last_type, sys.last_value, sys.last_traceback = etype, value, tb
    sys.last_exc = value
    try:
        evalue = _first_line(value)
        lines = [_WRAP.fill(line) for line in _lines(value, tb, shell.user_ns)]
    except Exception:  # a failure here must not hide the learner's own
        shell.showtraceback((etype, value, tb))
        return
    shell._showtraceback(etype, evalue, lines)
    if shell.call_pdb:
        shell.debugger(force=True)
    elif isinstance(value, KeyboardInterrupt):
        _let_go(value)


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an interrupted cell hold: a cursor half read locks SQLite's tables."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()


def _lines(error: BaseException, tb: TracebackType | None, user_ns: dict) -> list[str]:
    if isinstance(error, LessonError):
        return [str(error)]
    lines = [f"{type(error).__name__}: {_first_line(error)}"]
    where = _your_line(tb, user_ns)
    if where:
        lines.append(f"your line {where[0]}: {where[1]}")
    lines += [f"{label}: {text}" for label, text in _details(error)]
    if todo := _todo(error):
        lines.append(f"what to do: {todo}")
    if code := getattr(error, "code", None):
        version = "".join(sqlalchemy.__version__.split(".")[:2])
        lines.append(f"more about it: https://sqlalche.me/e/{version}/{code}")
    return [*lines, "(the full traceback: %tb)"]


def _your_line(tb: TracebackType | None, user_ns: dict) -> tuple[int, str] | None:
    found = None
    while tb is not None:
        if tb.tb_frame.f_globals is user_ns:
            source = "".join(linecache.getlines(tb.tb_frame.f_code.co_filename))
            number, text = statement_at(source, tb.tb_lineno)
            if text:
                found = number, text
        tb = tb.tb_next
    return found


def _rule(error: BaseException) -> _Rule | None:
    if isinstance(error, KeyboardInterrupt):
        return _RULES["stopped"]
    orig = getattr(error, "orig", None)
    if isinstance(error, exc.MissingGreenlet) or isinstance(orig, exc.MissingGreenlet):
        return _RULES["not awaited"]
    if not isinstance(error, exc.DBAPIError) or orig is None:
        return None
    name = _SQLSTATES.get(getattr(orig, "sqlstate", None) or "")
    if name == "group" and "GROUP BY" not in _said(orig):
        name = "aggregate"  # one sqlstate for both; GROUP BY is never translated
    sqlite_name = getattr(orig, "sqlite_errorname", None)
    if sqlite_name:
        primary = "_".join(sqlite_name.split("_")[:2])
        name = _SQLITE_NAMES.get(sqlite_name) or _SQLITE_NAMES.get(primary)
    if name is None and type(orig).__module__ == "sqlite3":
        said = str(orig)
        name = next(
            (n for text, n in _SQLITE_TEXTS.items() if re.search(text, said)), None
        )
    if name is None and re.search(
        "Error binding parameter|cannot adapt type", str(orig)
    ):
        name = "binding"
    if name is None and (error.connection_invalidated or _is_lost(error)):
        name = "closed"
    return _RULES.get(name)


def _is_lost(error: exc.DBAPIError) -> bool:
    """Whether no answer came at all to a statement: what the server says has a sqlstate."""
    orig = error.orig
    by_libpq = type(orig).__module__.startswith("psycopg") and not orig.sqlstate
    return (
        by_libpq
        and error.statement is not None
        and isinstance(error, exc.OperationalError)
    )


def _first_line(error: BaseException) -> str:
    rule = _rule(error)
    if rule:
        return rule.says
    if isinstance(error, exc.DBAPIError):
        if error.statement is None and type(error.orig).__module__.startswith(
            "psycopg"
        ):
            return connection_sentence(error.orig)
        return "the database refused this statement"
    own = error.args[0] if isinstance(error, exc.StatementError) else error
    text = (str(own).splitlines() or [""])[0]
    text = text.split(" (Background on this error at:")[0]
    if isinstance(error, exc.PendingRollbackError):
        text = text.split(" Original exception was:")[0]
    text = re.sub(r"^\((?:\w+\.)*(\w+)\) ", r"\1: ", text)
    return _without_addresses(text)


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


def _details(error: BaseException) -> list[tuple[str, str]]:
    if not isinstance(error, exc.StatementError):
        return []
    found = []
    if any("autoflush" in note for note in error.detail):
        found.append(
            ("it happened", "while a query sent pending changes first (autoflush)")
        )
    if isinstance(error, exc.DBAPIError) and error.statement is not None:
        found.append(("the database said", _said(error.orig)))
    if error.statement:
        found.append(("the statement", _short(" ".join(error.statement.split()), 600)))
        if error.params and error.hide_parameters:
            found.append(("its values", "hidden (hide_parameters=True)"))
        elif error.params:
            found.append(("its values", _values(error.params)))
    return found


def _said(orig: BaseException | None) -> str:
    diagnosis = getattr(orig, "diag", None)
    first = (
        getattr(diagnosis, "message_primary", None)
        or (str(orig).splitlines() or [""])[0]
    )
    detail = getattr(diagnosis, "message_detail", None)
    return _short(f"{first} ({detail})" if detail else first, 400)


def _values(params) -> str:
    if isinstance(params, list) and len(params) > 3:
        return _short(f"{params[:3]!r} and {len(params) - 3} more", 400)
    return _short(repr(params), 400)


def _short(text: str, limit: int) -> str:
    text = _without_addresses(text)
    return text if len(text) <= limit else text[: limit - 4].rstrip() + " ..."


def _todo(error: BaseException) -> str:
    rule = _rule(error)
    statement = getattr(error, "statement", None) or ""
    if rule is _RULES["not null"] and statement.startswith("UPDATE"):
        return _TAKEN_AWAY
    if rule:
        return rule.todo
    said = str(error)
    by_text = (todo for text, todo in _TODO_BY_TEXT.items() if re.search(text, said))
    names = (kind.__name__ for kind in type(error).__mro__)
    by_class = (_TODO_BY_CLASS[name] for name in names if name in _TODO_BY_CLASS)
    return next(chain(by_text, by_class), "")
