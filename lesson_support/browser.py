"""What is different where the lessons run inside a browser (`python3 -m lesson_support site`).

Python is Pyodide there, and the kernel that of JupyterLite. Nothing here is imported elsewhere.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from contextlib import suppress
from symtable import symtable
from typing import Any, NoReturn

from ._html import Shown, escape
from .errors import LessonError

__all__ = ["Absent", "NotHere", "install"]

# What is said of a thing that the browser does not have, and the name of that thing.
_LACKING = {
    r"does not support processes": "a second process",
    r"can't start new thread": "a thread",
    r"which AsyncSession needs": "AsyncSession",
    r"No module named '(psycopg|aiosqlite|alembic|fastapi|httpx|mypy|pytest|numpy)\b": "",
}


class NotHere(LessonError):
    """A cell needs what a browser does not have. The cell ends there, and the lesson goes on.

    Args:
        what: the thing that is needed, "pandas".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"This cell needs {what}, which does not run in the browser: go on with the next cell, "
            "or run this lesson on your own machine."
        )


class Absent:
    """Stands for a name that a cell did not come to: whoever uses it hears why."""

    def __init__(self, what: str) -> None:
        self._what = what

    def _stop(self, *args: object) -> NoReturn:
        raise NotHere(self._what)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # IPython asks every value how it is shown
            raise AttributeError(name)
        self._stop()

    def __repr__(self) -> str:
        return f"(not there: it needs {self._what})"

    __bool__ = __call__ = __contains__ = __getitem__ = __iter__ = __len__ = _stop


def install(shell: Any) -> None:
    """Make JupyterLite's kernel show failures as these lessons need it; a second call does nothing.

    JupyterLite calls off all waiting cells after every failure, also after one that a cell is tagged
    to raise. So a wanted failure is written to stderr, and a cell that needs what is not here shows
    one sentence; the reply to the notebook is then that the cell is done.

    Args:
        shell: the kernel's `InteractiveShell`, whose failures all pass `_showtraceback`.
    """
    shell.Completer.use_jedi = False  # the site leaves it out for its size
    if "_showtraceback" in vars(shell):
        return
    stops = shell._showtraceback

    def show(etype: type, evalue: object, lines: list[str]) -> None:
        request = shell.kernel.get_parent()["content"]
        what = _lacking(etype, str(evalue))
        if what:
            sentence = str(NotHere(what))
            shell.display_pub.publish(_bundle(sentence))
            _stand_in(shell.user_ns, request["code"], what)
        elif not request.get("stop_on_error", True):
            print("\n".join(lines), file=sys.stderr)
        else:
            stops(etype, evalue, lines)

    shell._showtraceback = show
    asyncio.run = _run
    # A failure leaves frames behind, and a cursor half read in one of them locks SQLite's tables.
    shell.events.register("pre_run_cell", lambda *_: gc.collect())


def _run(main: object, **options: object) -> NoReturn:
    """Stands for asyncio.run, which Pyodide lets run where a loop is running; no notebook else does."""
    raise RuntimeError("asyncio.run() cannot be called from a running event loop")


def _lacking(etype: type, said: str) -> str:
    """The name of the thing that a failure is for want of; empty for every other failure."""
    if issubclass(etype, NotHere):
        return re.match(r"This cell needs (.*), which does not run", said)[1]
    for pattern, what in _LACKING.items():
        if found := re.search(pattern, said):
            return what or found[1]
    return ""


def _bundle(sentence: str) -> dict[str, str]:
    shown = Shown(f'<div class="ls ls-todo">{escape(sentence)}</div>', sentence)
    return shown._repr_mimebundle_()


def _stand_in(names: dict[str, Any], code: str, what: str) -> None:
    """Give a stand-in to each name that the cell would have made and has not."""
    with suppress(SyntaxError):
        for symbol in symtable(code, "<cell>", "exec").get_symbols():
            if symbol.is_assigned() or symbol.is_imported():
                names.setdefault(symbol.get_name(), Absent(what))
