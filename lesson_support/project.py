"""A folder for a project that a lesson writes, the tools that run in it, and its database URL."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from .database import FOLDER, _file, _schema, _server_url, _shown
from .errors import LessonError

__all__ = [
    "Project",
    "database_url",
    "open_project",
    "project_folder",
    "remove_projects",
]

VARIABLE = "SCHOOL_DATABASE_URL"
MARKER = ".made-by-the-lessons"
# Taken out of the environment of a tool, and put into it.
_LOUD = {
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "MYPY_FORCE_COLOR",
    "PY_COLORS",
    "PYTEST_ADDOPTS",
    "CI",
}
_QUIET = {
    "NO_COLOR": "1",
    "COLUMNS": "100",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONIOENCODING": "utf-8",
}
_TEXT = "The lessons made this folder. They empty it when the lesson starts again.\n"


def project_folder(lesson: str) -> Path:
    """Return an empty folder in the workspace, for the files of a project.

    It is `project-15` beside the SQLite files, or where LESSONS_WORKSPACE says. Afterwards a
    learner can open it. A file in it, `.made-by-the-lessons`, marks it as one that may be emptied.

    Args:
        lesson: such as "15", the name that `connect` is given.

    Returns:
        The folder's absolute path. It holds the marker and nothing else.

    Raises:
        LessonError: when something is in its place that the lessons did not make, or when it
            cannot be emptied. What the lessons did not make is left as it is.
    """
    file = _file(lesson)
    folder = file.with_name(f"project-{file.stem}")
    marker = folder / MARKER
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise LessonError(_not_ours(folder))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and (marker.is_symlink() or not marker.is_file()):
            raise LessonError(_not_ours(folder))
        marker.write_text(_TEXT, encoding="utf-8")
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != marker:
                path.unlink()
    except OSError as error:
        raise LessonError(
            f"{_shown(folder)} cannot be emptied: close the programs that use it and make it "
            f"writable, or set {FOLDER} to a folder of your own."
        ) from error
    return folder


def remove_projects() -> list[str]:
    """Remove the folders that `project_folder` made in this workspace; return their names.

    Raises:
        LessonError: when one of them cannot be removed.
    """
    removed = []
    for folder in sorted(_file("x").parent.glob("project-*")):
        if folder.is_symlink() or not (folder / MARKER).is_file():
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise LessonError(
                f"{_shown(folder)} cannot be removed: close the programs that use it and make it "
                "writable, then try again."
            ) from error
        removed.append(_shown(folder))
    return removed


def database_url(lesson: str) -> URL:
    """Return the URL under which another process reaches the workspace of `connect(lesson)`.

    On SQLite it names the file by its whole path. On PostgreSQL it sets `search_path` to the
    lesson's schema, so that no other table is seen
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS). Printed, it
    hides the password; `render_as_string(hide_password=False)` is for the other process.

    Args:
        lesson: such as "15", the name that `connect` is given.

    Raises:
        LessonError: when LESSONS_DATABASE_URL cannot be used, as in `connect`.
    """
    server = _server_url()
    if server is None:
        return URL.create("sqlite", database=str(_file(lesson)))
    schema = _schema(lesson)
    settings = [
        f"search_path={schema}",
        "lock_timeout=5s",
        "timezone=UTC",
        "client_min_messages=warning",
    ]
    already = server.query.get("options", ())
    words = [already] if isinstance(already, str) else [*already]
    options = " ".join([*words, *(f"-c{setting}" for setting in settings)])
    return server.update_query_dict({"options": options, "application_name": schema})


def _not_ours(folder: Path) -> str:
    return (
        f"{_shown(folder)} is there and these lessons did not make it, so it is left as it is: "
        f"move it away, or set {FOLDER} to another folder."
    )


class Project:
    """The files of a project that a lesson writes, and the tools that work on them.

    Args:
        folder: where the files are.
        url: the database of the project's programs, which find it in SCHOOL_DATABASE_URL.
    """

    def __init__(self, folder: Path, url: URL) -> None:
        self.folder = folder
        self._url = url.render_as_string(hide_password=False)

    def __repr__(self) -> str:
        return f"Project({_shown(self.folder)!r})"

    def write(self, name: str, content: str) -> None:
        """Make the file `name`, or replace it; empty lines at its beginning are left out."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.lstrip("\n"), encoding="utf-8")

    def read(self, name: str) -> str:
        """Return the text of the file `name`."""
        return (self.folder / name).read_text(encoding="utf-8")

    def append(self, name: str, content: str) -> None:
        """Add a text at the end of the file `name`, unless it stands there already."""
        if content not in self.read(name):
            self.write(name, self.read(name) + content)

    def replace(self, name: str, old: str, new: str) -> None:
        """Put `new` in the place of `old`, once; a second time nothing is changed.

        Raises:
            LessonError: when the file holds neither of the two.
        """
        content = self.read(name)
        done = bool(new) and new in content
        if done and (old not in content or old in new):
            return
        if old not in content:
            raise LessonError(
                f"{name} does not hold the text that is to be replaced: run the cells that write this "
                "file again, from the top."
            )
        self.write(name, content.replace(old, new, 1))

    def run(self, *words: str) -> str:
        """Run `python -m` with these words in the folder, and return what it printed.

        Colours, plugins of pytest that are installed by chance, and the width of the window are
        kept out, so that a tool says the same everywhere.

        Raises:
            LessonError: when the tool failed and printed nothing but an error.
        """
        kept = {name: value for name, value in os.environ.items() if name not in _LOUD}
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=kept | _QUIET | {VARIABLE: self._url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode and not done.stdout.strip():
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise LessonError(f"{' '.join(words)} failed: {last}")
        return done.stdout

    def load(self, module: str) -> Any:
        """Import a module of the project as it stands now, and return it."""
        os.environ[VARIABLE] = self._url
        folder = str(self.folder)
        sys.path[:] = [folder, *(path for path in sys.path if path != folder)]
        for name, known in list(sys.modules.items()):
            if (getattr(known, "__file__", None) or "").startswith(folder + os.sep):
                del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module(module)


def open_project(lesson: str) -> Project:
    """Return the project of a lesson: an empty folder, with the files that the lesson starts from.

    These files are copied from `lesson_support/projects/`. The programs in the folder find the
    database of `connect(lesson)` in the variable SCHOOL_DATABASE_URL.

    Args:
        lesson: such as "15".

    Raises:
        LessonError: as in `project_folder` and `database_url`.
    """
    folder = project_folder(lesson)
    url = database_url(lesson)
    start = Path(__file__).with_name("projects") / lesson
    if start.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(start, folder, dirs_exist_ok=True, ignore=ignore)
    return Project(folder, url)
