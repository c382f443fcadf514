"""`test`: runs every check, on both databases and both lines of SQLAlchemy, and sums up."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesson_support.commands import (
    ASIDE,
    PROJECT,
    CommandError,
    children,
    postgres,
    setup,
)

DATABASE = "LESSONS_DATABASE_URL"
SERVER = "LESSONS_TEST_POSTGRES_URL"
REPORTS = ASIDE / "reports"
OLDER = ASIDE / "sqlalchemy-2.0"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_TOOLS = ASIDE / "browser-tools"
NOTHING_COLLECTED = 5
COUNTS = ("passed", "failed", "skipped")


@dataclass
class Step:
    """One check: a command with its own environment, and what came of it."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    code: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)  # of its tests, named in the report


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python3 -m lesson_support test",
        description="Runs every check: style, unit tests, and all notebooks with their outputs"
        " compared, on SQLite and PostgreSQL, on SQLAlchemy 2.1 and 2.0.",
        epilog=f"Other words go to pytest. Where {DATABASE} or {SERVER} is set, that PostgreSQL"
        " server is used; the unit tests need a superuser there. Otherwise one is started for"
        " this run.",
    )
    made.add_argument(
        "--database", choices=("sqlite", "postgresql", "both"), default="both"
    )
    made.add_argument("--sqlalchemy", choices=("2.1", "2.0", "both"), default="both")
    made.add_argument(
        "--browser",
        action="store_true",
        help="instead of all that, the tests in a real browser, Chromium",
    )
    return made


def plan(
    databases: list[str],
    versions: list[str],
    url: str | None,
    base: dict,
    words: list[str],
) -> list[Step]:
    """The steps of a run.

    Takes the databases and the lines of SQLAlchemy to check, the URL of a PostgreSQL server where
    one is among them, the variables that all steps share, and further words for pytest.
    """
    steps = []
    if "2.1" in versions:
        ruff = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "."]
        server = {SERVER: url} if url else {}
        steps += [
            Step("style (ruff)", ruff, base),
            Step(
                "unit tests",
                [*pytest(), "tests", "--ignore=tests/browser", *words],
                base | server,
                REPORTS / "unit.xml",
            ),
        ]
    notebooks = sorted(PROJECT.glob("notebooks/[0-9]*.ipynb"))
    notebooks += PROJECT.glob("notebooks/_template.ipynb")
    files = [path.relative_to(PROJECT).as_posix() for path in notebooks]
    kinds = [
        f"{database.lower()}-{line}" for line in versions for database in databases
    ]
    check = [*pytest(), "--dist=loadfile", "--no-loadscope-reorder"]
    check += [f"--lessons={kind}" for kind in kinds]
    check += [f"--lessons-postgresql={SERVER}", f"--lessons-older={OLDER}"]
    check += [f"--nbval-sanitize-with={PROJECT / 'tests' / 'nbval_sanitize.cfg'}"]
    steps.append(
        Step(
            "notebooks",
            [*check, *(files or ["notebooks"]), *words],
            base | ({SERVER: url} if url else {}),
            REPORTS / "notebooks.xml",
            parts=kinds,
        )
    )
    return steps


def in_browser(base: dict, words: list[str]) -> Step:
    """The step of --browser. Raises CommandError where there is no Chromium."""
    chromium()
    setup.install_aside(PROJECT / "requirements-browser.txt", BROWSER_TOOLS)
    command = [*pytest(), "tests/browser", *words]
    environment = base | {"PYTHONPATH": str(BROWSER_TOOLS)}
    return Step("in Chromium", command, environment, REPORTS / "browser.xml")


def chromium() -> str:
    """The path of the installed Chromium; CommandError where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise CommandError(
            "no Chromium is installed, and these tests use the lessons in it; install it (on Debian"
            " and Ubuntu: sudo apt install chromium), then run the same command again"
        )
    return found


def pytest() -> list[str]:
    """The words that each step of pytest begins with."""
    return [sys.executable, "-m", "pytest", "-q", "--no-header", "-n", str(workers())]


def workers() -> int:
    """How many processes a step may use."""
    return min(max(os.cpu_count() or 2, 2), 8)


def run(step: Step, lenient: bool) -> None:
    """Runs a step to its end, shows what it prints, and notes its outcome in it.

    `lenient` takes a step without a single test for passed: words for pytest may choose others.
    """
    print(f"\n== {step.name}", flush=True)
    if step.report:
        step.report.unlink(missing_ok=True)
        step.command += [f"--junitxml={step.report}"]
    start = time.monotonic()
    kept = {
        k: v for k, v in os.environ.items() if k not in (DATABASE, SERVER, "PYTHONPATH")
    }
    step.code = children.run(
        step.command, cwd=PROJECT, env={**kept, **step.environment}
    )
    step.seconds = time.monotonic() - start
    if step.code == NOTHING_COLLECTED and lenient:
        step.code = 0
    step.counts = count(step.report) if step.report else {}
    if step.report is None or (step.code and not step.counts.get("failed")):
        step.counts["failed" if step.code else "passed"] = 1
    print(
        f"-- {'FAILED' if step.code else 'passed'} in {step.seconds:.0f} s", flush=True
    )


def count(report: Path, part: str = "") -> dict[str, int]:
    """How many tests of a junit report passed, failed and were skipped.

    With `part`, only tests whose file's name has it behind an @ count.
    """
    counts = dict.fromkeys(COUNTS, 0)
    with contextlib.suppress(OSError, ElementTree.ParseError):
        for test in ElementTree.parse(report).iter("testcase"):
            if not part or f"@{part}" in f"{test.get('classname')}":
                outcome = {child.tag for child in test}
                bad = outcome & {"failure", "error"}
                counts[
                    "failed" if bad else "skipped" if "skipped" in outcome else "passed"
                ] += 1
    return counts


def summary(steps: list[Step], seconds: float) -> str:
    """The closing table and sentence."""
    rows = [("", "passed", "failed", "skipped", "seconds")]
    for step in steps:
        rows.append((step.name, *counted(step.counts), f"{step.seconds:.0f}"))
        for part in step.parts:
            rows.append((f"  {part}", *counted(count(step.report, part)), ""))
    width = max(len(row[0]) for row in rows)
    lines = [
        f"{row[0]:<{width}}" + "".join(f" {cell:>8}" for cell in row[1:]).rstrip()
        for row in rows
    ]
    total = {key: sum(step.counts.get(key, 0) for step in steps) for key in COUNTS}
    failed = [step.name for step in steps if step.code]
    last = (
        f"These steps failed: {'; '.join(failed)}. Their lines above say where."
        if failed
        else "Every check passed."
    )
    sums = ", ".join(f"{total[key]} {key}" for key in COUNTS)
    return "\n".join(["", "== summary", *lines, f"{sums} in {seconds:.0f} s", last])


def counted(counts: dict[str, int]) -> list[str]:
    """The counts as the cells of a row."""
    return [str(counts.get(key, 0)) for key in COUNTS]


@contextlib.contextmanager
def postgresql(needed: bool) -> Iterator[str | None]:
    """The URL of the server for this run: the caller's own, or one started for it."""
    url = os.environ.get(SERVER) or os.environ.get(DATABASE)
    if not needed:
        yield None
    elif url:
        print("PostgreSQL: the server that the environment names")
        yield url
    else:
        with postgres.server() as url:
            print("PostgreSQL: a server of this run's own")
            yield url


def main(args: list[str]) -> int:
    """Runs all steps, also after a failure; exit code 1 where any failed."""
    options, words = parser().parse_known_args(args)
    both = {
        "sqlite": ["SQLite"],
        "postgresql": ["PostgreSQL"],
        "both": ["SQLite", "PostgreSQL"],
    }
    databases = both[options.database]
    versions = ["2.1", "2.0"] if options.sqlalchemy == "both" else [options.sqlalchemy]
    if options.browser:
        databases, versions = [], []
    start = time.monotonic()
    REPORTS.mkdir(parents=True, exist_ok=True)
    with children.tidy_end(), contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="lessons-", ignore_cleanup_errors=True)
        )
        if "2.0" in versions:
            setup.install_aside(PROJECT / "requirements-sqlalchemy-2.0.txt", OLDER)
        url = stack.enter_context(postgresql("PostgreSQL" in databases))
        base = children.apart(Path(folder))
        if options.browser:
            steps = [in_browser(base, words)]
        else:
            steps = plan(databases, versions, url, base, words)
        for step in steps:
            run(step, lenient=bool(words))
    print(summary(steps, time.monotonic() - start))
    return 1 if any(step.code for step in steps) else 0
