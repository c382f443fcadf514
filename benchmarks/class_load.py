"""How many learners one PostgreSQL server holds: `python benchmarks/class_load.py`.

Every learner is a role made by `classroom add`, with a URL and a password of their own. Each runs
the code cells of lessons 01 to 05 in order, a fresh process a lesson, in the shell that a Jupyter
kernel uses (IPython's, with all its displays), and thinks between two cells. A cell counts as an
error when it raises what it should not, or shows something else than the stored lesson.

The processes are forked from one that has imported everything, so that 200 of them fit into a small
machine: what is measured is cells and database, not the start of kernels. IPython's own record of a
failed cell, which costs a second of processor time and no statement, is left out. It needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas  # noqa: F401  imported once here, for all learners
import psutil
import psycopg
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import lesson_support
from lesson_support.commands import children, classroom, postgres

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("0[1-5]-*.ipynb"))
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- class_load: begin -->", "<!-- class_load: end -->"
SAMPLES_A_SECOND = 20
FORK = multiprocessing.get_context("fork")


@dataclass
class Round:
    """What one number of learners gave."""

    learners: int
    cells: int
    errors: Counter
    held: int
    peak: int
    mean: float
    median: float
    p95: float
    slowest: float
    seconds: float
    client: float
    server: float


def code_cells(path: Path) -> list[dict]:
    """The code cells of a stored lesson, with their outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def stored_displays(cell: dict) -> list[str]:
    """The plain texts of a cell's stored displays, in their order, as PostgreSQL shows them."""
    outputs = [output for output in cell["outputs"] if "data" in output]
    texts = ["".join(output["data"].get("text/plain", "")) for output in outputs]
    return [text.replace("Database: SQLite", "Database: PostgreSQL") for text in texts]


def problem(cell: dict, result, shown) -> str:
    """What is wrong with a cell that ran, in one line; "" where nothing is."""
    wanted = "raises-exception" in cell["metadata"].get("tags", [])
    error = result.error_before_exec or result.error_in_exec
    if error is not None and not wanted:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    displays = [output.data.get("text/plain", "") for output in shown.outputs]
    if displays != stored_displays(cell):
        both = zip(displays, stored_displays(cell), strict=False)
        other = next(
            (text for text, stored in both if text != stored), "(a missing one)"
        )
        return f"another display: {' '.join(other.split())[:120]}"
    return ""


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


def run_lesson(path: Path, output: Path, think: float, seed: str) -> None:
    """Runs a lesson's cells in this process and writes a line for each into `output`."""
    end_with_parent()
    settings = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=settings, colors="nocolor")
    rest, before = random.Random(seed), sockets()
    with output.open("a", encoding="utf-8") as file:
        for number, cell in enumerate(code_cells(path), 1):
            start = time.monotonic()
            with capture_output() as shown:
                shell.display_trap.hook = sys.displayhook  # the value at the end, too
                result = shell.run_cell("".join(cell["source"]), store_history=False)
            seconds = time.monotonic() - start
            wrong = problem(cell, result, shown)
            where = f"lesson {path.name[:2]}, cell {number}"
            line = [seconds, wrong, sockets() - before, where]
            file.write(json.dumps(line) + "\n")
            file.flush()
            time.sleep(rest.uniform(0.5, 1.5) * think)


def end_with_parent() -> None:
    """Lets no learner outlive a run that is stopped, however it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children.dies_with_owner(signal.SIGKILL)()


def learn(url: str, output: Path, lessons: list[Path], think: float, ready) -> None:
    """One learner: waits for the others, then takes lesson after lesson."""
    end_with_parent()
    for name in ("LESSONS_LEARNER", "JUPYTERHUB_USER", "PYTEST_XDIST_WORKER"):
        os.environ.pop(name, None)
    os.environ["LESSONS_DATABASE_URL"] = url
    os.chdir(ROOT / "notebooks")
    ready.wait()
    for path in lessons:
        seed = f"{output.name} {path.name}"
        kernel = FORK.Process(target=run_lesson, args=(path, output, think, seed))
        kernel.start()
        kernel.join()
        if kernel.exitcode:
            with output.open("a", encoding="utf-8") as file:
                wrong = f"the process ended with {kernel.exitcode}"
                file.write(json.dumps([0.0, wrong, 0, path.name]) + "\n")


@contextlib.contextmanager
def sampling(url: str) -> Iterator[list[int]]:
    """Collects the number of learners' connections, many times a second, until the block ends.

    A connection counts from the moment that its password was accepted
    (https://www.postgresql.org/docs/15/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW).
    """
    found: list[int] = []
    over = threading.Event()
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE starts_with(usename, 'learner_')"
    )

    def sample() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.wait(1 / SAMPLES_A_SECOND):
                found.append(connection.execute(count).fetchone()[0])

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def cpu_of_server(url: str) -> float:
    """Processor seconds of all connections that the server has closed so far."""
    with psycopg.connect(url) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        used = backend.parent().cpu_times()
    return used.children_user + used.children_system


def cpu_of_learners() -> float:
    """Processor seconds of all learners that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lessons_of(number: int, count: int) -> list[Path]:
    """The lessons of a learner: all in their order, or `count`, another first one for each."""
    if count == len(LESSONS):
        return LESSONS
    return [LESSONS[(number + more) % len(LESSONS)] for more in range(count)]


def measure(
    urls: list[str], admin: str, lessons: int, think: float, folder: Path
) -> Round:
    """Lets these learners work at once, and sums up."""
    ready = FORK.Barrier(len(urls) + 1)
    outputs = [folder / f"{len(urls)}-{number}" for number in range(len(urls))]
    people = [
        FORK.Process(
            target=learn, args=(url, output, lessons_of(number, lessons), think, ready)
        )
        for number, (url, output) in enumerate(zip(urls, outputs, strict=True))
    ]
    server, client = cpu_of_server(admin), cpu_of_learners()
    try:
        for person in people:  # forked before there is a thread
            person.start()
        with sampling(admin) as connections:
            ready.wait()
            start = time.monotonic()
            for person in people:
                person.join()
            seconds = time.monotonic() - start
    finally:
        for person in people:
            if person.pid:
                person.kill()
    lines = [
        json.loads(line)
        for output in outputs
        for line in output.read_text(encoding="utf-8").splitlines()
    ]
    times = sorted(line[0] for line in lines)
    return Round(
        learners=len(urls),
        cells=len(lines),
        errors=Counter(
            f"{where}: {hide(wrong)}" for _, wrong, _, where in lines if wrong
        ),
        held=max(held for *_, held, _ in lines),
        peak=max(connections),
        mean=statistics.fmean(connections),
        median=statistics.median(times),
        p95=times[int(len(times) * 0.95)],
        slowest=times[-1],
        seconds=seconds,
        client=(cpu_of_learners() - client) / len(lines),
        server=(cpu_of_server(admin) - server) / len(lines),
    )


def hide(text: str) -> str:
    """An error's text without what differs from learner to learner."""
    return re.sub(r"(learner|lesson)_\w+", r"\1_...", text)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of this run's own, as it comes: every commit reaches the disk, 100 connections."""
    who = postgres.account()
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(postgres.home_folder(False, who))
        programs = postgres.programs_for(home, who)
        secret = postgres.make_cluster(programs, home, who)
        port = stack.enter_context(postgres.running(programs, home, {}, who))
        yield f"postgresql://postgres:{secret}@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def class_of(count: int, admin: str, folder: Path) -> Iterator[list[str]]:
    """The URLs of so many learners, whose roles are removed at the end."""
    os.environ["LESSONS_DATABASE_URL"] = admin
    names = [f"load{number:04}" for number in range(count)]
    file = folder / "urls.csv"
    try:
        with contextlib.redirect_stdout(None):  # it names every learner
            classroom.add_learners(names, file)
        with file.open(encoding="utf-8", newline="") as lines:
            yield [row["url"] for row in csv.DictReader(lines)]
    finally:
        with contextlib.redirect_stdout(None):
            classroom.remove_learners(names, yes=True)


def table(rounds: list[Round]) -> str:
    """The results in Markdown."""
    head = (
        "| learners | cells run | errors | connections at the peak | on average |"
        " held between cells | median cell | 95 % of cells within | slowest | processor a cell:"
        " learner | server |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    rows = (
        f"| {r.learners} | {r.cells} | {r.errors.total()} | {r.peak} | {r.mean:.1f} | {r.held} |"
        f" {r.median:.2f} s | {r.p95:.2f} s | {r.slowest:.1f} s | {1000 * r.client:.0f} ms | {1000 * r.server:.0f} ms |"
        for r in sorted(rounds, key=lambda r: r.learners)
    )
    return "\n".join([head, *rows])


def conditions(admin: str, lessons: int, think: float) -> str:
    """One sentence on where and how this was measured."""
    with psycopg.connect(admin) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0].split()[0]
        limit = connection.execute("SHOW max_connections").fetchone()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    busy = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores and {memory:.0f} GB for learners and server together, load"
        f" {busy:.1f} before the start; PostgreSQL {version}, max_connections {limit}; Python"
        f" {sys.version.split()[0]}; {lessons} of the lessons for each learner, {think:g} s between two"
        " cells on average."
    )


def main() -> None:
    """Runs the rounds and prints the table; with --write it goes into README.md as well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--think", type=float, default=3, help="seconds between cells")
    parser.add_argument(
        "--lessons",
        type=int,
        choices=range(1, 6),
        default=5,
        help="how many each learner takes; with fewer than 5, they begin with different ones",
    )
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    options = parser.parse_args()
    for name in lesson_support.__all__:  # imported once here, for all learners
        getattr(lesson_support, name)
    rounds = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(children.tidy_end())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["LESSONS_WORKSPACE"] = str(folder / "workspace")
        admin = stack.enter_context(server())
        said = conditions(admin, options.lessons, options.think)
        print(said, flush=True)
        for count in options.learners:
            with class_of(count, admin, folder) as urls:
                found = measure(urls, admin, options.lessons, options.think, folder)
            (folder / "urls.csv").unlink()
            rounds.append(found)
            print(
                f"{count} learners: {found.seconds:.0f} s\n{table([found])}", flush=True
            )
            for error, times in found.errors.most_common(10):
                print(f"  {times} x {error}", flush=True)
    text = f"{table(rounds)}\n\n{said}"
    print(f"\n{text}")
    if options.write:
        page = README.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        page = f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"
        README.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
