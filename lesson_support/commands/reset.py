"""`reset`: throws the learner's own workspaces away."""

import argparse
import sys

from lesson_support.commands import CommandError


def main(args: list[str]) -> int:
    """Asks, then removes what the lessons made for this learner, and says what that was."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lesson_support reset",
        description="Throws away the tables and rows that the lessons made for you, in the"
        " database that the lessons use now. Notebooks and data files stay.",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    if not parser.parse_args(args).yes:
        if not sys.stdin.isatty():
            raise CommandError(
                "nobody is here to say yes; add --yes to remove it unasked"
            )
        answer = input(
            "Throw away all tables and rows that the lessons made for you? [y/N] "
        )
        if answer.strip().lower() not in ("y", "yes"):
            print("Nothing was removed.")
            return 0
    from lesson_support import database, project

    removed = database.reset() + project.remove_projects()
    for line in removed:
        print(f"removed: {line}")
    if not removed:
        print("There was nothing to remove.")
    return 0
