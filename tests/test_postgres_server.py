"""The local PostgreSQL of `lab --postgres` and `test`: found, private, stopped, never left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesson_support.commands import PROJECT, CommandError, children, postgres, setup

posix = pytest.mark.skipif(os.name != "posix", reason="the stubs are shell scripts")


@pytest.fixture
def installed():
    """The programs of an installed PostgreSQL; the wheel is too much to fetch for a unit test."""
    found = postgres.find_installed() or postgres.find_wheel()
    if found is None:
        pytest.skip("no PostgreSQL: run python3 -m lesson_support test")
    return found


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """A folder for temporary files that the server's user can reach, and no other is looked at."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="lesson-tests-"))
    folder.chmod(0o755)
    monkeypatch.setattr(postgres, "temporary_parent", lambda who: folder)
    yield folder
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def stub(folder: Path, name: str, script: str = "exit 0") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def fake_postgres(folder: Path, version: str = "17.2") -> Path:
    for name in ("initdb", "pg_ctl"):
        stub(folder, name)
    stub(folder, "postgres", f"echo 'postgres (PostgreSQL) {version}'")
    return folder


def ask(url: str, statement: str, rows: bool = True):
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=5) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if rows else None


@posix
def test_programs_are_examined_before_they_are_used(tmp_path):
    assert postgres.examine(fake_postgres(tmp_path / "new", "14.1")).major == 14
    assert postgres.examine(fake_postgres(tmp_path / "beta", "18beta1")).major == 18
    assert postgres.examine(fake_postgres(tmp_path / "old", "13.9")) is None
    stub(tmp_path / "client", "psql")
    assert postgres.examine(tmp_path / "client") is None, "a client without a server"
    broken = fake_postgres(tmp_path / "broken")
    stub(broken, "postgres", "exit 1")
    assert postgres.examine(broken) is None


@posix
def test_the_newest_installed_one_is_taken_unless_pg_config_names_one(
    tmp_path, monkeypatch
):
    monkeypatch.delenv(postgres.CHOICE, raising=False)
    monkeypatch.setattr(postgres, "account", lambda: None)
    for version in ("9.6", "14.3", "16.1"):
        fake_postgres(tmp_path / f"postgresql/{version.split('.')[0]}/bin", version)
    monkeypatch.setattr(postgres, "INSTALLED", (f"{tmp_path}/postgresql/*/bin",))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgres.find_installed().version == "16.1"
    stub(tmp_path, "pg_config", f"echo '{tmp_path}/postgresql/14/bin'")
    assert postgres.find_installed().version == "14.3"
    stub(tmp_path, "pg_config", f"echo '{tmp_path}/nowhere'")
    assert postgres.find_installed().version == "16.1"


@posix
def test_the_choice_names_a_folder_or_hides_the_installed(tmp_path, monkeypatch):
    monkeypatch.setenv(postgres.CHOICE, str(fake_postgres(tmp_path / "mine")))
    assert postgres.find_installed().folder == tmp_path / "mine"
    monkeypatch.setenv(postgres.CHOICE, "wheel")
    assert postgres.find_installed() is None
    monkeypatch.setenv(postgres.CHOICE, str(tmp_path))
    with pytest.raises(CommandError, match="names a folder without PostgreSQL 14"):
        postgres.find_installed()


def test_no_server_and_no_network_is_one_sentence(monkeypatch, tmp_path):
    def refuse(*words):
        raise CommandError("the packages cannot be downloaded: no network")

    monkeypatch.setenv(postgres.CHOICE, "wheel")
    monkeypatch.setattr(setup, "install_aside", refuse)
    with pytest.raises(
        CommandError, match="no PostgreSQL .* is installed here, and .* no network"
    ):
        postgres.programs_for(tmp_path, None)


def test_a_wheel_that_does_not_run_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv(postgres.CHOICE, "wheel")
    monkeypatch.setattr(setup, "install_aside", lambda *words: None)
    monkeypatch.setattr(postgres, "WHEEL", tmp_path)
    with pytest.raises(
        CommandError, match="does not run on this machine; install PostgreSQL"
    ):
        postgres.programs_for(tmp_path, None)


@posix
def test_the_wheel_is_copied_where_the_servers_user_cannot_reach_it(
    tmp_path, monkeypatch
):
    wheel = tmp_path / "wheel"
    fake_postgres(wheel / "some_package/pginstall18/bin", "18.4")
    stub(wheel / "some_package.libs", "libpq.so")
    stub(wheel / "some_package/pginstall", "another version")
    monkeypatch.setenv(postgres.CHOICE, "wheel")
    monkeypatch.setattr(setup, "install_aside", lambda *words: None)
    monkeypatch.setattr(postgres, "WHEEL", wheel)
    assert postgres.programs_for(tmp_path / "home", None).folder.is_relative_to(wheel)
    (tmp_path / "wheel").chmod(0o700)
    nobody = postgres.Account(65534, 65534)
    copied = postgres.programs_for(tmp_path / "home", nobody)
    assert copied.folder == tmp_path / "home/programs/some_package/pginstall18/bin"
    assert (tmp_path / "home/programs/some_package.libs/libpq.so").exists()
    assert not (tmp_path / "home/programs/some_package/pginstall").exists()


def test_root_without_another_user_is_one_sentence(monkeypatch):
    pwd = pytest.importorskip("pwd")

    def nobody(name):
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(CommandError, match="does not run as root"):
        postgres.account()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert postgres.account() is None


@posix
def test_reachable_looks_at_every_folder_above(tmp_path):
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    nobody = postgres.Account(65534, 65534)
    for folder in (*inner.parents, inner):
        if folder.is_relative_to(tmp_path):
            folder.chmod(0o755)
    expected = postgres.reachable(tmp_path, nobody)
    assert postgres.reachable(inner, nobody) is expected
    (tmp_path / "a").chmod(0o700)
    assert not postgres.reachable(inner, nobody)


LOGS = [
    (
        "LOG: a\nFATAL:  could not create shared memory segment: x\nHINT: y",
        "could not create shared",
    ),
    ("initdb: error: could not access directory: x", "could not access directory"),
    ("PANIC: could not write: No space left on device", "no space is left on the disk"),
    ("", "it gave no reason"),
]


@pytest.mark.parametrize(("log", "telling"), LOGS)
def test_a_server_that_cannot_start_tells_why_in_one_sentence(log, telling):
    sentence = postgres.cannot_start(log)
    assert telling in sentence
    assert "\n" not in sentence


@posix
def test_a_server_that_ends_at_once_is_one_sentence(tmp_path, monkeypatch):
    folder = fake_postgres(tmp_path)
    stub(folder, "postgres", "echo 'FATAL:  the disk is made of cheese' >&2; exit 1")
    (tmp_path / "data").mkdir()
    with (
        pytest.raises(CommandError, match="cannot start: the disk is made of cheese"),
        postgres.running(postgres.Programs(folder, "17.2"), tmp_path, {}, None),
    ):
        pass


def test_it_serves_by_a_password_on_the_loopback_only_and_leaves_nothing(
    installed, temporary
):
    import psycopg

    with postgres.server() as url:
        assert url.startswith("postgresql+psycopg://postgres:")
        assert "@127.0.0.1:" in url
        assert ask(url, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(url, "SHOW unix_socket_directories") == ""
        assert (
            ask(
                url,
                "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'",
            )
            == 0
        )
        secret = url.split(":")[2].split("@")[0]
        wrong = url.replace(secret, "wrong").replace("+psycopg", "")
        with pytest.raises(
            psycopg.OperationalError, match="password authentication failed"
        ):
            psycopg.connect(wrong)
        (home,) = temporary.iterdir()
        if os.name == "posix":
            assert home.stat().st_mode & 0o077 == 0
    assert list(temporary.iterdir()) == []
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")


def test_it_is_stopped_when_the_command_fails(installed, temporary):
    with pytest.raises(ZeroDivisionError), postgres.server() as url:
        1 / 0  # noqa: B018
    assert list(temporary.iterdir()) == []
    assert url


def test_rows_of_the_kept_server_are_found_again(installed, temporary, monkeypatch):
    monkeypatch.setattr(postgres, "ASIDE", temporary / "a b")
    with postgres.server(keep=True) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer", rows=False)
        with (
            pytest.raises(CommandError, match="already running"),
            postgres.server(keep=True),
        ):
            pass
    with postgres.server(keep=True) as again:
        assert ask(again, "SELECT answer FROM kept") == 42
        assert ask(again, "SHOW fsync") == "on"
    password = temporary / "a b/postgres-data/password"
    password.unlink()
    with postgres.server(keep=True) as anew:
        assert ask(anew, "SELECT to_regclass('kept') IS NULL")


OWNER = """
import sys, time
from pathlib import Path
from lesson_support.commands import children, postgres
postgres.temporary_parent = lambda who: Path(sys.argv[1])
if "orphan" in sys.argv:
    children.dies_with_owner = lambda number: None
with postgres.server() as url:
    print(url, flush=True)
    time.sleep(60)
"""


def owner(temporary: Path, *words: str) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(temporary), *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def answers(url: str) -> bool:
    import psycopg

    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


@posix
def test_sigterm_stops_the_server(installed, temporary):
    process, url = owner(temporary)
    assert answers(url)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not answers(url)
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux tells a child of its owner"
)
def test_a_killed_owner_takes_the_server_with_it(installed, temporary):
    process, url = owner(temporary)
    process.kill()
    process.wait()
    until = time.monotonic() + 10
    while answers(url) and time.monotonic() < until:
        time.sleep(0.05)
    assert not answers(url)


@posix
def test_the_next_run_ends_an_orphan_and_leaves_other_runs_alone(installed, temporary):
    killed, orphan = owner(temporary, "orphan")
    living, other = owner(temporary)
    killed.kill()
    killed.wait()
    assert answers(orphan)
    time.sleep(2.1)
    with postgres.server() as url:
        assert not answers(orphan)
        assert answers(other)
        assert answers(url)
        assert len(list(temporary.iterdir())) == 2
    living.terminate()
    living.wait()


@posix
def test_a_number_that_belongs_to_another_process_is_left_alone(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    stranger = subprocess.Popen(["sleep", "60"])
    (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n")
    try:
        until = time.monotonic() + 5
        while not children.alive(stranger.pid, "sleep"):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not children.alive(stranger.pid, str(data))
        postgres.end_orphan(data)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
