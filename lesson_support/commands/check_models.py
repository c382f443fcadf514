"""`check-models`: names what will hurt in the mapping of a project, for its continuous integration.

It runs with the Python that it is started with, because the project's models need the packages of
the project; of its own it needs only SQLAlchemy.
"""

import argparse
import importlib
import re
import sys
import traceback
from operator import attrgetter
from pathlib import Path
from typing import Any

from lesson_support.commands import CommandError


def main(args: list[str]) -> int:
    """Prints the findings of `check_mapping`; exit code 1 where something breaks."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lesson_support check-models",
        description="Reads the mapping of your own classes and names what will hurt: why, the cure,"
        " and the lesson that explains it. Ends with 1 where something breaks, else with 0.",
    )
    parser.add_argument(
        "base",
        metavar="PACKAGE.MODULE:Base",
        help="the module that defines or imports all classes, and the name of their Base in it;"
        " it is imported from the current folder",
    )
    base = found(parser.parse_args(args).base)
    from lesson_support.mapping import check_mapping

    checked = check_mapping(base)
    print(checked)
    return int(checked.breaks)


def found(address: str) -> Any:
    """What stands at "package.module:Base".

    Raises:
        CommandError: one sentence, where it is no such address, SQLAlchemy is missing, the module
            cannot be imported or has no such name.
    """
    module, _, name = address.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise CommandError(
            f"{address!r} is no address of a Base; write the module as in an import, a colon and the"
            " name, as in school.models:Base"
        )
    try:
        importlib.import_module("sqlalchemy.orm")
    except ImportError as error:
        raise CommandError(
            f"SQLAlchemy is not installed for {sys.executable}; start the command with the Python of"
            " your project"
        ) from error
    return _named(_imported(module), name)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in _ways(name):
            raise CommandError(
                f"there is no module {error.name!r} here; run the command in the folder that holds it,"
                " with the Python of your project"
            ) from error
        raise CommandError(
            f"the module {name!r} cannot be imported{_place(error)}: {_said(error)}; mend that first"
        ) from error


def _ways(name: str) -> set[str]:
    """The packages on the way to a module, and the module itself."""
    parts = name.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def _place(error: BaseException) -> str:
    """The last line of the project that took part in an error, if there is one."""
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    for name, line in reversed(places):
        path = Path(name)
        if path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts:
            return f" ({path.relative_to(Path.cwd())}, line {line})"
    return ""


def _said(error: BaseException) -> str:
    """Class and first line of an error; a password in an address is not shown."""
    from lesson_support.errors import _first_line

    line = re.sub(r"://\S*@", "://***@", _first_line(error)).rstrip(". ")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _named(module: Any, name: str) -> Any:
    from sqlalchemy.orm import registry

    try:
        return attrgetter(name)(module)
    except AttributeError as error:
        bases = [
            key
            for key, value in vars(module).items()
            if isinstance(getattr(value, "registry", None), registry)
            and not hasattr(value, "__mapper__")
        ]
        hint = f"; it has {', '.join(bases)}" if bases else ""
        raise CommandError(
            f"the module {module.__name__!r} has no {name!r}{hint}; name the Base of your classes"
        ) from error
