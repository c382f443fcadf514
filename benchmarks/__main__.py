"""All benchmarks in one table of ratios: `.venv/bin/python benchmarks`.

Each line is measured in turn with what it is compared to, in one run, and the median counts. Take a
quiet machine: a busy one makes single times longer, and the ratios less sure.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import check
import display
import imports
import rows
import sqlalchemy
import start
from ratios import Ratio, table

from lesson_support.commands import children, postgres

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- ratios {}: begin -->", "<!-- ratios {}: end -->"
PARTS = ("start", "check", "display", "imports", "rows")


def ratios(part: str, url: str) -> Iterator[Ratio]:
    """The lines of one part."""
    if part == "start":
        yield from start.measured()
    elif part == "check":
        yield from check.measured(url)
    elif part == "imports":
        yield from imports.measured()
    else:
        work = {"display": display, "rows": rows}[part]
        yield from work.measured("bench")
        os.environ["LESSONS_DATABASE_URL"] = url
        yield from work.measured("bench")
        del os.environ["LESSONS_DATABASE_URL"]


def conditions() -> str:
    """One sentence on where this was measured."""
    return (
        f"Measured on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start;"
        f" Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}."
    )


def write(part: str, text: str) -> None:
    """Puts a table into its place in the README."""
    begin, end = BEGIN.format(part), END.format(part)
    page = README.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    page = f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
    README.write_text(page, encoding="utf-8")


def main() -> None:
    """Measures the parts that were asked for and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; see --help")
    for name in ("LESSONS_DATABASE_URL", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    os.environ["LESSONS_LEARNER"] = "bench"
    with ExitStack() as stack:
        stack.enter_context(children.tidy_end())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["LESSONS_WORKSPACE"] = str(folder / "workspace")
        url = ""
        if {"check", "display", "rows"}.intersection(parts):
            url = stack.enter_context(postgres.server())
        for part in parts:
            said, found = conditions(), []
            for ratio in ratios(part, url):
                found.append(ratio)
                print(ratio.row(), flush=True)
            if options.write:
                write(part, f"{table(found)}\n\n{said}")


if __name__ == "__main__":
    sys.exit(main())
