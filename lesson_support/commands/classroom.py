"""`classroom`: gives every learner of a class a role of their own on one PostgreSQL server."""

from __future__ import annotations

import argparse
import csv
import errno
import hashlib
import io
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesson_support.commands import CommandError

if TYPE_CHECKING:
    from sqlalchemy import URL

SERVER = "LESSONS_DATABASE_URL"
ROLE = "learner_"  # both as in lesson_support.database, which --help must do without
CONNECTIONS = 12  # a kernel holds none between two cells; several lessons may be open
OUTPUT = Path("workspace", "classroom.csv")
MARK = "made by lesson_support classroom for "
_NO_ROLES = (
    "this user may not make roles: name an administrator in "
    f"{SERVER}, or ask for ALTER ROLE ... CREATEROLE"
)


def main(args: list[str]) -> int:
    """Adds, lists or removes the learners of a class; says what was done, a line each."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lesson_support classroom",
        description="Gives each learner a role on the PostgreSQL server that an administrator's URL in"
        f" {SERVER} names. A role may make schemas of its own in that database,"
        " and nothing else.",
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    add = parts.add_parser("add", help="make a role for every name in a CSV file")
    add.add_argument(
        "names", metavar="NAMES.csv", help="a table with a column `name`, or one column"
    )
    add.add_argument(
        "--output",
        default=OUTPUT,
        type=Path,
        metavar="FILE",
        help=f"where the URLs go, readable by you alone ({OUTPUT.as_posix()})",
    )
    add.add_argument("--host", help="the server's name as learners see it")
    parts.add_parser(
        "list", help="show who has a role, and what stands in the database"
    )
    remove = parts.add_parser("remove", help="drop roles and everything they own")
    remove.add_argument("names", nargs="*", metavar="NAME")
    remove.add_argument("--all", action="store_true", help="the whole class")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    chosen = parser.parse_args(args)
    if chosen.part == "add":
        return add_learners(read_names(chosen.names), chosen.output, chosen.host)
    if chosen.part == "list":
        return list_learners()
    if bool(chosen.names) == chosen.all:
        raise CommandError("name the learners to remove, or give --all")
    return remove_learners(chosen.names, chosen.yes)


def role_of(name: str) -> str:
    """The role of a learner: "learner_ada" for "Ada"; a name that does not fit gets a number."""
    plain = name.casefold()
    if re.fullmatch(r"[a-z0-9]{1,40}", plain):
        return ROLE + plain
    slug = re.sub(r"[^a-z0-9]+", "_", plain)[:40].strip("_")
    digest = hashlib.blake2b(plain.encode(), digest_size=3).hexdigest()
    return f"{ROLE}{slug}_{digest}" if slug else f"{ROLE}{digest}"


def read_names(path: str) -> list[str]:
    """Reads the names of a class.

    Args:
        path: a CSV file in UTF-8; its column `name`, or the only column, with or without a head.

    Returns:
        The names in their order, each once.

    Raises:
        CommandError: when the file cannot be read, holds no names, has several columns without a
            `name` among them, or two names that would share a role.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise CommandError(
            f"{path} cannot be read as a table in UTF-8: give a CSV file with a column `name`"
        ) from error
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    rows = [row for row in rows if any(row)]
    head = [cell.casefold() for cell in rows[0]] if rows else []
    if "name" in head:
        column, rows = head.index("name"), rows[1:]
    elif all(len(row) == 1 for row in rows):
        column = 0
    else:
        raise CommandError(f"{path} has several columns: call the one to use `name`")
    names = list(dict.fromkeys(row[column] for row in rows if len(row) > column))
    names = [name for name in names if name]
    if not names:
        raise CommandError(f"{path} holds no names: write one a line, below `name`")
    roles: dict[str, str] = {}
    for name in names:
        if not name.isprintable() or len(name) > 100:
            raise CommandError(f"{path} has a name that is no name: {name[:20]!r}")
        other = roles.setdefault(role_of(name), name)
        if other != name:
            raise CommandError(
                f"{path} names {other!r} and {name!r}, who would share a role: write them apart"
            )
    return names


def add_learners(names: list[str], output: Path, host: str | None = None) -> int:
    """Makes the roles that are not there yet and writes their URLs, which nobody can read again.

    Each learner is made in a transaction of their own, and their line is written before it is
    committed, so that an interrupted run loses nobody: run it again.
    """
    made = 0
    with _server() as (connection, url):
        known = {role for role, *_ in _class(connection)}
        for name in names:
            role = role_of(name)
            if role in known:
                print(f"there:  {name} ({role})")
                continue
            password = secrets.token_urlsafe(18)
            _make(connection, role, name, password)
            _write(output, name, _url_of(url, role, password, host))
            connection.commit()
            made += 1
            print(f"made:   {name} ({role})")
        if made:
            print(f"{made} URLs were added to {output}, which only you can read.")
            print(f"Each learner sets {SERVER} to theirs.")
        for warning in _warnings(connection, url):
            print(warning)
    return 0


def list_learners() -> int:
    """Shows each learner with the lessons that have tables, and the connections open now."""
    with _server() as (connection, _):
        found = list(_class(connection))
        for role, name, schemas, connections in found:
            words = f"{schemas} schema{'s' * (schemas != 1)}, {connections} open now"
            print(f"{name:<24} {role:<28} {words}")
        if not found:
            print("There are no learners yet: python3 -m lesson_support classroom add")
    return 0


def remove_learners(names: list[str], yes: bool) -> int:
    """Drops the roles of these learners, or of all, with what they own, after a question."""
    with _server() as (connection, _):
        known = {role: name for role, name, *_ in _class(connection)}
        roles = [role_of(name) for name in names] or list(known)
        unknown = [
            n for n, role in zip(names, roles, strict=False) if role not in known
        ]
        if unknown:
            raise CommandError(
                f"there is no learner {unknown[0]!r}: python3 -m lesson_support classroom list "
                "shows who is there"
            )
        if not roles:
            print("There are no learners.")
            return 0
        if not yes:
            _ask(len(roles))
        for role in dict.fromkeys(roles):
            _drop(connection, role)
            connection.commit()
            print(f"removed: {known[role]} ({role}), with all their tables")
    return 0


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            "nobody is here to say yes; add --yes to remove them unasked"
        )
    what = "this learner" if count == 1 else f"these {count} learners"
    answer = input(f"Throw {what} away, with all their tables? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was removed")


@contextmanager
def _server() -> Iterator[tuple[Any, URL]]:
    """Lends the administrator's connection; what the server refuses is one sentence."""
    from lesson_support import database
    from lesson_support.errors import LessonError

    url = database._server_url()
    if url is None:
        raise CommandError(
            f"a class needs a PostgreSQL server: set {SERVER} to an administrator's URL"
        )
    import psycopg

    try:
        with database._admin(url, "") as connection:
            yield connection, url
    except LessonError as error:
        cause = error.__cause__
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise CommandError(_NO_ROLES) from error
        if isinstance(cause, psycopg.errors.DependentObjectsStillExist):
            raise CommandError(
                "a role owns something in another database of this server, so it stays: drop that "
                "first, as its DETAIL says: " + str(cause.diag.message_detail)
            ) from error
        raise


def _class(connection: Any) -> Iterator[tuple[str, str, int, int]]:
    """Role, name, schemas and open connections of each learner, by name."""
    rows = connection.execute(
        "SELECT rolname, shobj_description(oid, 'pg_authid'),"
        " (SELECT count(*) FROM pg_namespace WHERE nspowner = r.oid),"
        " (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid)"
        " FROM pg_roles r WHERE starts_with(rolname, %s) ORDER BY 2",
        [ROLE],
    ).fetchall()
    for role, comment, schemas, connections in rows:
        if (comment or "").startswith(MARK):
            yield role, comment.removeprefix(MARK), schemas, connections


def _make(connection: Any, role: str, name: str, password: str) -> None:
    """https://www.postgresql.org/docs/current/sql-createrole.html; the server never sees the
    password itself, so that no log of statements can hold it."""
    from psycopg import errors, sql

    secret = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    who = sql.Identifier(role)
    make = sql.SQL(
        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT {} PASSWORD {}"
    )
    try:
        connection.execute(make.format(who, CONNECTIONS, sql.Literal(secret)))
    except errors.DuplicateObject:
        raise CommandError(
            f"there is a role {role} that these lessons did not make, so it is left as it is: "
            f"give {name!r} another name"
        ) from None
    note = sql.SQL("COMMENT ON ROLE {} IS {}")
    connection.execute(note.format(who, sql.Literal(MARK + name)))
    here = sql.Identifier(connection.info.dbname)
    grant = sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}")
    connection.execute(grant.format(here, who))


def _drop(connection: Any, role: str) -> None:
    """https://www.postgresql.org/docs/current/sql-drop-owned.html"""
    from psycopg import sql

    who = sql.Identifier(role)
    if connection.info.parameter_status("is_superuser") != "on":
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(who))
    connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(who))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
        [role],
    )
    connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(who))
    connection.execute(sql.SQL("DROP ROLE {}").format(who))


def _url_of(url: URL, role: str, password: str, host: str | None) -> str:
    theirs = url.set(drivername="postgresql", username=role, password=password)
    if host:
        theirs = theirs.set(host=host)
    return theirs.render_as_string(hide_password=False)


def _write(output: Path, name: str, url: str) -> None:
    """Adds a line to a file that its owner alone may read; it is on the disk when this returns."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([name, url])
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(handle, "ab", buffering=0) as file:
            if os.name == "posix" and os.fstat(handle).st_mode & 0o077:
                raise CommandError(
                    f"{output} can be read by others, and passwords would go into it: "
                    "give --output another name"
                )
            before = file.tell()
            text = line.getvalue() if before else "name,url\n" + line.getvalue()
            try:
                whole = file.write(text.encode()) == len(text.encode())
                os.fsync(handle)
            except OSError:
                whole = False
            if not whole:  # a full disk takes half a line
                file.truncate(before)
                raise OSError(errno.ENOSPC, "the line does not fit")
    except OSError as error:
        raise CommandError(
            f"{output} cannot be written, so nobody was added: free some space, or give --output "
            "another name"
        ) from error


def _warnings(connection: Any, url: URL) -> Iterator[str]:
    """What this server allows everybody, and a class should not have."""
    from psycopg import sql

    may = connection.execute(
        "SELECT has_schema_privilege('public', 'public', 'CREATE')"
    ).fetchone()[0]
    if may:
        yield (
            "note: everybody may make tables in the schema public of this database; "
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC ends that."
        )
    trusted = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_hba_file_rules WHERE auth_method = 'trust')"
        if connection.info.parameter_status("is_superuser") == "on"
        else sql.SQL("SELECT false")
    ).fetchone()[0]
    if trusted:
        yield (
            "note: pg_hba.conf lets somebody in without a password (trust), so learners there "
            "could take each other's place; use scram-sha-256."
        )
