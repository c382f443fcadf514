"""One module a command of `python3 -m lesson_support`; no notebook imports anything from here."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
ASIDE = PROJECT / ".lessons"


class CommandError(Exception):
    """What stops a command, as one sentence that says what is wrong and what to do."""
