"""A real PgBouncer between a learner and the server: why it is refused, and that it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from lesson_support import connect, connect_async
from lesson_support.commands import children, postgres
from lesson_support.database import check_server, private_engine
from lesson_support.errors import LessonError

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
MODES = ("transaction", "session", "statement")
REFUSED = "LESSONS_DATABASE_URL leads to a connection pooler"

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None,
    reason="no PgBouncer: on Debian and Ubuntu, apt install pgbouncer",
)


@pytest.fixture
def learner(postgresql) -> Iterator[str]:
    """The server's own URL for a role that may make schemas; both are gone at the end."""
    name, password = f"pooled_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    who = sql.Identifier(name)
    admin = postgresql.replace("postgresql+psycopg:", "postgresql:")
    with psycopg.connect(admin, autocommit=True) as server:
        here = sql.Identifier(server.info.dbname)
        for statement in (
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                who, sql.Literal(password)
            ),
            sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(here, who),
        ):
            server.execute(statement)
    url = make_url(admin).set(username=name, password=password)
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
            [name],
        )
        server.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(who))
        server.execute(sql.SQL("DROP ROLE {}").format(who))


@contextmanager
def pgbouncer(url: str, mode: str, size: int = 5) -> Iterator[str]:
    """Run PgBouncer before the server of `url`; the value is the same URL, through it.

    https://www.pgbouncer.org/config.html
    """
    real, who = make_url(url), postgres.account()
    home, port = postgres.temporary_parent(who), postgres.free_port()
    folder = Path(home, f"lesson-pooler-{uuid.uuid4().hex[:8]}")
    folder.mkdir(mode=0o700)
    (folder / "users.txt").write_text(f'"{real.username}" "{real.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={real.host} port={real.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users.txt\n"
        f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    if who:
        for path in (folder, *folder.iterdir()):
            os.chown(path, who.uid, who.gid)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PGBOUNCER, folder / "pgbouncer.ini"],
            stdout=log,
            stderr=log,
            preexec_fn=children.dies_with_owner(9),
            **(who.options() if who else {}),
        )
    through = real.set(host="127.0.0.1", port=port)
    through = through.render_as_string(hide_password=False)
    try:
        until = time.monotonic() + 15
        while process.poll() is None and time.monotonic() < until:
            try:
                psycopg.connect(through, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)
        else:
            pytest.fail(f"PgBouncer did not start: {(folder / 'log').read_text()}")
        yield through
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def schemas_of(url: str) -> list[str]:
    """The schemas that the role of a URL owns."""
    with psycopg.connect(url) as server:
        found = server.execute(
            "SELECT nspname FROM pg_namespace WHERE nspowner = CURRENT_USER::regrole"
        )
        return [name for (name,) in found]


def test_in_transaction_mode_a_setting_reaches_somebody_else(learner):
    """The reason for the refusal: one learner's search_path becomes another one's."""
    with (
        pgbouncer(learner, "transaction", size=1) as through,
        psycopg.connect(through, autocommit=True) as ada,
    ):
        ada.execute("SET search_path = of_ada")
        with psycopg.connect(through, autocommit=True) as bob:
            assert bob.execute("SHOW search_path").fetchone() == ("of_ada",)


@pytest.mark.parametrize("mode", MODES)
def test_a_pooler_is_refused_and_nothing_is_made(learner, mode, monkeypatch):
    with pgbouncer(learner, mode) as through:
        monkeypatch.setenv("LESSONS_DATABASE_URL", through)
        ways = {
            "connect": lambda: connect("01"),
            "connect, not fresh": lambda: connect("01", fresh=False),
            "connect_async": lambda: connect_async("01"),
            "private_engine": lambda: private_engine().__enter__(),
            "doctor and lab": check_server,
        }
        for way, call in ways.items():
            with pytest.raises(LessonError) as caught:
                call()
            sentence = str(caught.value)
            # In statement mode, PgBouncer itself refuses the transaction first.
            assert sentence.startswith(REFUSED) or mode == "statement", (way, sentence)
            assert "\n" not in sentence
            assert make_url(learner).password not in sentence
    assert schemas_of(learner) == []


def test_without_the_pooler_the_same_role_works(learner, monkeypatch):
    monkeypatch.setenv("LESSONS_DATABASE_URL", learner)
    connect("01")
    assert len(schemas_of(learner)) == 1
