"""Stands in for pandas, which does not run in the browser: the cells that use it say so."""

from lesson_support.browser import NotHere


def set_option(*names_and_values: object) -> None:
    """How tables are shown; there are none here."""


def __getattr__(name: str) -> object:
    """Raises NotHere for everything else that pandas has."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise NotHere("pandas")
