"""Connects, shows, loads and checks, for the one-to-many lessons; it never wraps SQLAlchemy itself.

A name is imported from its module when it is first used, so that `python3 -m lesson_support` starts
on a machine that has only Python, and a notebook pays only for what it uses.
"""

from importlib import import_module

_HOME = {
    "LessonError": "errors",
    "bars": "picture",
    "certificate": "summary",
    "changes": "snapshot",
    "check_mapping": "mapping",
    "connect": "database",
    "connect_async": "database",
    "counting": "sql",
    "data_file": "data",
    "diagram": "picture",
    "exercise": "check",
    "explain": "errors",
    "fresh_tables": "data",
    "open_project": "project",
    "preview_delete": "preview",
    "progress": "measure",
    "race": "measure",
    "ready": "summary",
    "states": "session",
    "tables": "snapshot",
    "timeline": "session",
    "watch": "sql",
}
__all__ = list(_HOME)  # noqa: PLE0604


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_HOME])
