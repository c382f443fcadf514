"""nbval on two databases and two lines of SQLAlchemy, from one set of stored outputs.

SQLite with the pinned SQLAlchemy is the reference: there every output is compared, rich and plain.
On PostgreSQL the rich forms hold that database's own SQL, so the plain forms are compared.
On another line of SQLAlchemy the text of statements differs too, so that one display is compared by
its presence only, and everything else as on the reference.

`pytest --lessons sqlite-2.1 --lessons postgresql-2.1 notebooks` runs every notebook on each of these
in one session; `pytest --nbval notebooks` runs it on what the environment names.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from nbval.plugin import IPyNbFile

DATABASE = "LESSONS_DATABASE_URL"
KINDS = ("sqlite-2.1", "postgresql-2.1", "sqlite-2.0", "postgresql-2.0")
# The lessons that take longest begin first, so that no core is left to wait for one at the end.
LONGEST = ("15", "13", "09", "19", "14", "08")
_WORDS_OF_SQL = r"(?s)(?<=SQL of this cell:).*"


def pytest_addoption(parser):
    group = parser.getgroup("lessons")
    group.addoption("--lessons", action="append", default=[], choices=KINDS)
    group.addoption("--lessons-postgresql", metavar="VARIABLE", help="holds its URL")
    group.addoption("--lessons-older", metavar="FOLDER", help="with SQLAlchemy 2.0")


def compare(collector: IPyNbFile, postgresql: bool, older: bool) -> None:
    """Leave out of the comparison what differs by nature."""
    if postgresql or older:
        collector.skip_compare += ("text/html",)
    if older:
        collector.sanitize_patterns[_WORDS_OF_SQL] = ""


class Lesson(IPyNbFile):
    """A notebook on one database and one line of SQLAlchemy."""

    kind = KINDS[0]

    def setup(self):
        """Start the kernel, which takes its environment from here."""
        option = self.config.option
        changed = {}
        if self.kind.startswith("postgresql"):
            changed[DATABASE] = os.environ[option.lessons_postgresql]
        if self.kind.endswith("2.0"):
            changed["PYTHONPATH"] = option.lessons_older
        with patch.dict(os.environ, changed):
            super().setup()


class Notebook(pytest.File):
    """A notebook, as often as was asked for."""

    def collect(self):
        for kind in self.config.option.lessons:
            lesson = Lesson.from_parent(
                self, path=self.path, nodeid=f"{self.nodeid}@{kind}"
            )
            lesson.kind = kind
            compare(lesson, kind.startswith("postgresql"), kind.endswith("2.0"))
            yield lesson


def pytest_collect_file(file_path: Path, parent):
    if file_path.suffix == ".ipynb" and parent.config.option.lessons:
        return Notebook.from_parent(parent, path=file_path)
    return None


def pytest_collectstart(collector):
    if isinstance(collector, IPyNbFile) and not isinstance(collector, Lesson):
        compare(collector, bool(os.environ.get(DATABASE)), older=False)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.option.lessons:
        items.sort(key=lambda item: rank(item.path.name))


def rank(name: str) -> int:
    """Where a notebook stands in the order in which they begin."""
    return LONGEST.index(name[:2]) if name[:2] in LONGEST else len(LONGEST)
