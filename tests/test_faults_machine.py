"""The learner's machine goes wrong: full disks, commands that are killed, a home that is read-only."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from faults import (
    ADD,
    CELLS,
    COUNT,
    DELETE,
    FRESH,
    MANY,
    MAPPING,
    PATIENCE,
    SETUP,
    Cells,
    Kernel,
    as_stored,
    error_of,
    filled,
    folder_for_all,
    home_that_refuses,
    lives,
    printed,
    red_box,
    server_programs,
    small_disk,
    wait_until,
)

from lesson_support.commands import PROJECT, CommandError, classroom, lab, postgres
from lesson_support.database import check_server, reset

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a child of its owner"
)


# ---- disks


def test_the_disk_of_sqlite_is_full(workspace):
    """What is on the disk stays, what does not fit is undone, and with space all goes on."""
    with small_disk("300k") as disk:
        full = "workspace/05.sqlite cannot grow, the disk is full: free some space"
        with Kernel(LESSONS_WORKSPACE=str(disk / "workspace")) as kernel:
            for cell in (SETUP, MAPPING, FRESH):
                assert error_of(kernel.run(cell)) is None
            said = red_box(kernel.run(MANY))
            assert said.startswith("OperationalError: the disk of the database is full")
            with filled(disk):
                said = red_box(kernel.run(ADD))
                assert said.startswith("OperationalError: the disk of the database is")
                for cell in (FRESH, SETUP):
                    assert red_box(kernel.run(cell)).startswith(full)
                assert printed(kernel.run(COUNT)).startswith("8"), "nothing is lost"
                exercise = CELLS["exercise-1"]
                as_stored(kernel, exercise)
            assert error_of(kernel.run(ADD)) is None
            assert printed(kernel.run(COUNT)).startswith("9")
            as_stored(kernel, SETUP, MAPPING, DELETE)


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_a_limit_stops_the_growth_of_files(workspace):
    """Like a quota, it is no full disk for SQLite but a disk that fails."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({}, -1))"
    with Kernel() as kernel:
        for cell in (SETUP, MAPPING, FRESH, limit.format(30_000)):
            assert error_of(kernel.run(cell)) is None
        said = red_box(kernel.run(MANY))
        assert said.startswith("OperationalError: the disk of the database fails")
        assert "your share of it (quota), is full" in said
        kernel.run(limit.format(3_000))
        for cell in (FRESH, SETUP):
            said = red_box(kernel.run(cell))
            assert said.startswith(
                "workspace/05.sqlite cannot be written, its disk fails"
            )
        kernel.run(limit.format(-1))
        assert printed(kernel.run(COUNT)).startswith("8"), "nothing is lost"
        as_stored(kernel, SETUP, MAPPING, DELETE)


def test_the_disk_is_full_while_a_class_is_made(postgresql, tmp_path, monkeypatch):
    """A URL that cannot be written down belongs to nobody, and no half line stays."""
    table, name = tmp_path / "names.csv", f"full{uuid.uuid4().hex[:6]}"
    table.write_text(f"name\n{name}\n")
    server = postgresql.replace("+psycopg", "")
    with small_disk("200k") as disk:
        output = disk / "urls.csv"
        output.touch(mode=0o600)
        output.write_text("name,url\n" + 255 * "ada,postgresql:/" + "\n")
        before = output.read_bytes()
        words = ["add", str(table), "--output", str(output)]
        with (
            filled(disk),
            pytest.raises(CommandError, match="so nobody was added: free"),
        ):
            classroom.main(words)
        assert output.read_bytes() == before
        with psycopg.connect(server) as connection:
            role = [classroom.role_of(name)]
            known = "SELECT FROM pg_roles WHERE rolname = %s"
            assert connection.execute(known, role).fetchone() is None
        try:
            assert classroom.main(words) == 0
            with output.open(newline="") as file:
                url = [row["url"] for row in csv.DictReader(file)][-1]
            psycopg.connect(url).close()
        finally:
            classroom.main(["remove", "--yes", name])


# ---- commands


START = """
import sys
from pathlib import Path
from lesson_support.__main__ import main
from lesson_support.commands import lab, postgres, test
aside, parent, *sys.argv[1:] = sys.argv[1:]
postgres.ASIDE = Path(aside)
postgres.temporary_parent = lambda who: Path(parent)
lab.quieten = lambda: None
test.REPORTS = Path(aside, "reports")
test.workers = lambda: 1
plan = test.plan
test.plan = lambda *words: plan(*words)[-1:]
sys.exit(main())
"""


@contextmanager
def command(folder: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen]:
    """A command of the lessons whose servers live in `folder`; whatever is left of it is ended."""
    for name in ("kept", "tmp"):
        (folder / name).mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(folder / "kept"), str(folder), *words],
        cwd=PROJECT,
        env=os.environ | {"TMPDIR": str(folder / "tmp")} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    process.started = []
    try:
        yield process
    finally:
        for each in [process, *below(process), *process.started]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()


def below(process: subprocess.Popen) -> list[psutil.Process]:
    """All that a command has started and that runs now."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def runs(word: str, process: subprocess.Popen) -> bool:
    """Whether a command has started something that has `word` in its command line and runs now."""
    for each in below(process):
        with suppress(psutil.NoSuchProcess):  # also one that has ended meanwhile
            if word in " ".join(each.cmdline()):
                return True
    return False


def end(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a command, and see it end with all that it started."""
    process.started = below(process)
    assert process.started
    process.send_signal(number)
    process.wait(PATIENCE)
    started = [each.pid for each in process.started]
    wait_until(lambda: not any(map(lives, started)), "the end of all it started")


TOKEN = uuid.uuid4().hex


def kernel_of_lab(port: int, process: subprocess.Popen) -> str:
    """Wait for a JupyterLab and let it start a kernel; returns the kernel's id."""
    headers = {"Authorization": f"token {TOKEN}"}
    url = f"http://127.0.0.1:{port}/api/kernels"

    def up() -> bool:
        assert process.poll() is None, process.communicate()[0]
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers)).close()
        except OSError:
            return False
        return True

    wait_until(up, "JupyterLab is up")
    asked = {"name": "python3", "path": "notebooks"}
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]


@linux
def test_lab_is_killed_and_started_again(workspace, monkeypatch):
    """No server, kernel, port or lock stays; what was committed is found again."""
    server_programs()
    port = postgres.free_port()
    monkeypatch.setenv("JUPYTER_TOKEN", TOKEN)
    words = ["lab", "--postgres", "--no-browser", "--port", str(port)]
    with folder_for_all() as folder:
        for name in ("CONFIG", "DATA", "RUNTIME"):
            monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(folder / name))

        def cells(process: subprocess.Popen) -> Cells:
            name = kernel_of_lab(port, process)
            return Cells(folder / "RUNTIME" / f"kernel-{name}.json")

        with command(folder, *words) as killed:
            kernel = cells(killed)
            for cell in (SETUP, MAPPING, FRESH, ADD):
                assert error_of(kernel.run(cell)) is None
            kernel.begin(
                "session = Session(engine)\n"
                'session.add(Program(name="Half"))\n'
                "session.flush()\n"
                'print("now", flush=True)\n'
                "import time\ntime.sleep(60)",
                until="now",
            )
            kernel.close()
            assert runs("postgres", killed)
            end(killed, signal.SIGKILL)
        assert lab.is_free(port)
        with command(folder, *words) as again:
            kernel = cells(again)
            old = SETUP.source.replace('connect("05")', 'connect("05", fresh=False)')
            for cell in (old, MAPPING):
                assert error_of(kernel.run(cell)) is None
            assert printed(kernel.run(COUNT)).startswith("9"), (
                "8, and what was committed"
            )
            as_stored(kernel, SETUP, MAPPING, DELETE)
            kernel.close()
            end(again, signal.SIGTERM)
            assert again.returncode == 128 + signal.SIGTERM
        assert lab.is_free(port)
        with postgres.hold(folder / "kept/postgres-data/lock") as lock:
            assert lock
        assert not list(folder.glob(f"{postgres.PREFIX}*"))
        assert not list((folder / "RUNTIME").glob("*server*"))


@linux
def test_test_is_killed_and_started_again(workspace, monkeypatch):
    """In the middle of a lesson on PostgreSQL; the next run finds nothing in its way."""
    server_programs()
    for name in ("LESSONS_TEST_POSTGRES_URL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    words = ["test", "--database", "postgresql", "--sqlalchemy", "2.1"]
    with folder_for_all() as folder:
        with command(folder, *words, "-k", "13-load") as killed:

            def a_kernel_runs() -> bool:
                assert killed.poll() is None, killed.communicate()[0]
                return runs("ipykernel_launcher", killed)

            wait_until(a_kernel_runs, "a lesson runs")
            assert runs("postgres", killed)
            end(killed, signal.SIGKILL)
        left = list(folder.glob(f"{postgres.PREFIX}*"))
        wait_until(
            lambda: all(time.time() - home.stat().st_mtime > 2 for home in left),
            "a folder that is not just being made",
        )
        with command(folder, *words, "-k", "06-follow") as again:
            said = again.communicate(timeout=2 * PATIENCE)[0]
        assert again.returncode == 0 and "Every check passed." in said, said
        assert not list(folder.glob(f"{postgres.PREFIX}*")), "also the killed one's"


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
def test_lab_in_a_home_that_cannot_be_written(workspace, tmp_path, monkeypatch, decoy):
    port = postgres.free_port()
    monkeypatch.setenv("JUPYTER_TOKEN", TOKEN)
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.delenv(f"JUPYTER_{name}_DIR", raising=False)
    for name in ("IPYTHONDIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "JUPYTER_PATH"):
        monkeypatch.delenv(name, raising=False)
    words = ["lab", "--no-browser", "--port", str(port)]
    with (
        home_that_refuses(tmp_path / "home") as home,
        command(tmp_path, *words, HOME=str(home)) as process,
    ):
        name = kernel_of_lab(port, process)
        (file,) = tmp_path.glob(f"tmp/lessons-*/jupyter_runtime_dir/kernel-{name}.json")
        kernel = Cells(file)
        as_stored(kernel, SETUP, MAPPING, DELETE)
        kernel.close()
        end(process, signal.SIGTERM)
        said = process.stdout.read()
        assert (
            "Your home folder cannot be written: settings of JupyterLab are kept"
            in said
        )
        assert "Traceback" not in said and "Warning" not in said, said
        assert not list(tmp_path.glob("tmp/lessons-*"))


# ---- the environment


def test_database_url_of_something_else_is_never_used(workspace, decoy, capsys):
    """The lessons look at their own variable alone; nobody calls the server that it names."""
    assert check_server().startswith("SQLite")
    assert reset() == []
    with pytest.raises(
        CommandError, match="a class needs a PostgreSQL server: set LESSONS_"
    ):
        classroom.main(["list"])
    assert "production" not in "".join(capsys.readouterr())


def test_the_wrong_clock_of_the_tests_is_wrong(wrong_clock):
    """tests/test_rerun.py runs all lessons by it."""
    variables = wrong_clock(4107542395)
    if not variables:
        pytest.skip("only on Linux, with the compiler cc, a clock can be wrong")
    code = (
        "import datetime; print(datetime.datetime.now(datetime.UTC).isoformat()[:16])"
    )
    said = subprocess.check_output(
        [sys.executable, "-c", code], env=os.environ | variables, text=True
    )
    assert said.strip() in ("2100-02-28T23:59", "2100-03-01T00:00")
