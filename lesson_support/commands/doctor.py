"""`doctor`: says what is installed, which database answers, and what to do."""

import argparse
import os
import platform
import tempfile
from importlib import metadata
from pathlib import Path

from lesson_support.commands import PROJECT, CommandError, postgres, setup

SHOWN = ("sqlalchemy", "psycopg", "jupyterlab", "pandas")


def packages() -> tuple[str, str, str]:
    """The versions of the main packages; wrong where any differs from requirements.txt."""
    wanted = setup.pins(setup.REQUIREMENTS.read_text(encoding="utf-8"))
    found = {}
    for name in wanted:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    off = [f"{n} {found[n]} instead of {v}" for n, v in wanted.items() if found[n] != v]
    text = ", ".join(f"{name} {found[name]}" for name in SHOWN)
    if not off:
        return "ok", text, ""
    cure = "delete the folder .venv and run this command again"
    return "WRONG", f"{text}; {', '.join(off[:5])}", cure


def workspace() -> tuple[str, str, str]:
    """Whether the learner's files can be written."""
    folder = Path(os.environ.get("LESSONS_WORKSPACE") or PROJECT / "workspace")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        cure = "copy the lessons to a folder of yours, or name one in LESSONS_WORKSPACE"
        return "WRONG", f"cannot be written to: {error.strerror}", cure
    return "ok", "can be written to", ""


def database() -> tuple[str, str, str]:
    """Which database answers."""
    from lesson_support import database
    from lesson_support.errors import LessonError

    try:
        return "ok", database.check_server(), ""
    except LessonError as error:
        return "WRONG", str(error), ""


def local_postgres() -> tuple[str, str, str]:
    """Whether `lab --postgres` has a PostgreSQL to run; one that must be fetched is no fault."""
    try:
        postgres.account()
        installed, wheel = postgres.find_installed(), postgres.find_wheel()
    except CommandError as error:
        return "WRONG", str(error), ""
    if installed:
        return "ok", f"PostgreSQL {installed.version}, installed on this machine", ""
    if wheel:
        return "ok", f"PostgreSQL {wheel.version}, fetched for the lessons", ""
    return "ok", "none yet; the first `lab --postgres` fetches one (25 MB)", ""


def main(args: list[str]) -> int:
    """Prints one line for each thing that is looked at; exit code 1 where something is wrong."""
    argparse.ArgumentParser(
        prog="python3 -m lesson_support doctor",
        description="Says what is installed, which database answers, and what to do.",
    ).parse_args(args)
    checks = {
        "Python": lambda: (
            "ok",
            f"{platform.python_version()} on {platform.system()}",
            "",
        ),
        "packages": packages,
        "workspace": workspace,
        "database": database,
        "local PostgreSQL": local_postgres,
    }
    cures, code = [], 0
    for name, check in checks.items():
        state, text, cure = check()
        print(f"{state:<6} {name + ':':<18} {text}")
        code = 1 if state == "WRONG" else code
        if cure:
            cures.append(f"{name}: {cure}")
    if cures:
        print("\nWhat to do", *cures, sep="\n  ")
    print(
        "\nThe lines marked WRONG say what to mend."
        if code
        else "Everything is in order."
    )
    return code
