"""Fixtures that the tests share: which database the lessons use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest


class Hidden(str):
    """A text that pytest does not print among the arguments of a test that fails."""

    def __repr__(self) -> str:
        return "'***'"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A learner nobody else is, with an empty folder for SQLite files; no server is asked for."""
    monkeypatch.delenv("LESSONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("LESSONS_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("LESSONS_LEARNER", f"t{uuid.uuid4().hex[:12]}")
    return tmp_path / "workspace"


@pytest.fixture
def postgres_url() -> str:
    """The URL of a superuser on a throw-away PostgreSQL server."""
    url = os.environ.get("LESSONS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("no PostgreSQL: run python3 -m lesson_support test")
    return Hidden(url)


@pytest.fixture
def postgresql(workspace, postgres_url, monkeypatch):
    """`connect(...)` goes to PostgreSQL; what the test leaves there is removed."""
    monkeypatch.setenv("LESSONS_DATABASE_URL", postgres_url)
    yield postgres_url
    from lesson_support.database import reset

    monkeypatch.setenv("LESSONS_DATABASE_URL", postgres_url)
    reset()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request) -> str:
    """Run the test once on each database; the value is the name of the one in use."""
    request.getfixturevalue("workspace" if request.param == "sqlite" else "postgresql")
    return request.param


@pytest.fixture(scope="session")
def wrong_clock(tmp_path_factory):
    """Variables for a program that is to begin at some second since 1970; none without a compiler.

    https://man7.org/linux/man-pages/man8/ld.so.8.html
    """
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    compiler = shutil.which("cc") if sys.platform.startswith("linux") else None
    made = compiler and subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"],
        capture_output=True,
    )
    if not made or made.returncode:
        return lambda begin: {}
    return lambda begin: {"LD_PRELOAD": str(library), "TEST_CLOCK": str(begin)}


@pytest.fixture
def decoy(monkeypatch):
    """`DATABASE_URL` names a server of somebody else; the test fails where anybody calls it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        url = f"postgresql://ada:secret@127.0.0.1:{door.getsockname()[1]}/production"
        monkeypatch.setenv("DATABASE_URL", url)
        yield url
        with pytest.raises(BlockingIOError):
            door.accept()
