"""The strict check of all lessons, against running them without comparing, and against its floor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
from jupyter_client.manager import KernelManager
from ratios import TURNS, Ratio, in_turn

from lesson_support.commands import ASIDE, PROJECT, children, setup
from lesson_support.commands import test as testing

NBMAKE = "nbmake==1.5.5"
TOOLS = ASIDE / "nbmake"
CORES = 2
LESSONS = sorted(PROJECT.glob("notebooks/[0-9]*.ipynb"))


def environment(folder: Path, url: str | None) -> dict[str, str]:
    """What the test command gives to its steps."""
    kept = {k: v for k, v in os.environ.items() if k != testing.DATABASE}
    return kept | children.apart(folder) | ({testing.SERVER: url} if url else {})


def strict(folder: Path, kinds: list[str], url: str | None, files: list[Path]):
    """The step of the test command that runs and compares notebooks."""
    databases = [kind.split("-")[0] for kind in kinds]
    [*_, step] = testing.plan(databases, ["2.1"], url, environment(folder, url), [])
    names = [file.relative_to(PROJECT).as_posix() for file in files]
    command = [word for word in step.command if not word.endswith(".ipynb")] + names
    return partial(run, command, step.environment)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Runs a command to its end; it must succeed."""
    ended = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stdout[-3000:]}{ended.stderr}")


def nbconvert(folder: Path, files: list[Path]):
    """Runs the same notebooks and compares nothing."""
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"]
    command += [f"--output-dir={folder / 'out'}", "--log-level=ERROR"]
    return lambda: run([*command, *map(str, files)], environment(folder, None))


def nbmake(folder: Path, files: list[Path]):
    """The same with pytest's plugin nbmake, on two processes; it compares nothing either."""
    setup.install_aside(requirement(folder), TOOLS)
    command = [sys.executable, "-m", "pytest", "-q"]
    command += ["--nbmake", "-n", str(CORES)]
    path = {"PYTHONPATH": str(TOOLS)}
    return lambda: run([*command, *map(str, files)], environment(folder, None) | path)


def requirement(folder: Path) -> Path:
    """A requirements file that names nbmake."""
    path = folder / "requirements-nbmake.txt"
    path.write_text(NBMAKE + "\n")
    return path


def floor(folder: Path, files: list[Path]) -> float:
    """What no check can do without, in seconds on two cores.

    For each lesson one kernel is started, imports SQLAlchemy, and runs the cells; only these are
    counted, one after the other, and divided by the number of cores.
    """
    import nbformat

    spent = 0.0
    for path in files:
        cells = nbformat.read(path, as_version=4).cells
        manager = KernelManager(kernel_name="python3")
        start = time.perf_counter()
        manager.start_kernel(
            cwd=str(path.parent),
            env=environment(folder, None),
            stderr=subprocess.DEVNULL,
        )
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        for source in ["import sqlalchemy, sqlalchemy.orm", *code]:
            client.execute_interactive(
                source, store_history=False, output_hook=lambda message: None
            )
        spent += time.perf_counter() - start
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return spent / CORES


def peak(work) -> float:
    """The most memory, in MB, that this process's descendants had together while it ran.

    Pages that several of them share are counted once, in parts
    (https://docs.kernel.org/filesystems/proc.html, Pss).
    """
    most, over = 0.0, threading.Event()

    def sample() -> None:
        nonlocal most
        me = psutil.Process()
        while not over.wait(0.2):
            held = 0
            for child in me.children(recursive=True):
                try:
                    held += child.memory_full_info().pss
                except psutil.Error:
                    continue
            most = max(most, held / 1e6)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return most


def measured(url: str) -> Iterator[Ratio]:
    """The lines of the table."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        sqlite = strict(folder, ["sqlite-2.1"], None, LESSONS)
        both = strict(folder, ["sqlite-2.1", "postgresql-2.1"], url, LESSONS)
        what = f"strict check of {len(LESSONS)} lessons, SQLite"
        yield in_turn(
            Ratio(what, "`nbconvert --execute`, nothing compared", 0.7, digits=1),
            sqlite,
            nbconvert(folder, LESSONS),
        )
        yield in_turn(
            Ratio(what, "nbmake on two processes, nothing compared", None, digits=1),
            sqlite,
            nbmake(folder, LESSONS),
        )
        against = Ratio(what, "its floor", 1.3, digits=1)
        for _ in range(TURNS):
            against.theirs.append(floor(folder, LESSONS))
            start = time.perf_counter()
            sqlite()
            against.ours.append(time.perf_counter() - start)
        yield against
        yield in_turn(
            Ratio(
                "the same on both databases, in one run", "SQLite alone", 1.6, digits=1
            ),
            both,
            sqlite,
        )
        yield in_turn(
            Ratio(what, "5 lessons of these (00 to 04)", None, digits=1),
            sqlite,
            strict(folder, ["sqlite-2.1"], None, LESSONS[:5]),
        )
        one = [
            sys.executable,
            "-c",
            "import pandas, sqlalchemy.orm, ipykernel.kernelapp, time; time.sleep(1)",
        ]
        memory = Ratio(
            "peak memory of the strict check, both databases",
            "one process with ipykernel, SQLAlchemy and pandas",
            None,
            unit="MB",
            digits=0,
        )
        memory.ours.append(peak(both))
        memory.theirs.append(peak(lambda: run(one, environment(folder, None))))
        yield memory
