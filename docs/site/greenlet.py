"""Stands in for greenlet, which has no version for the browser: SQLAlchemy's asyncio can be
imported, and a cell that uses it says so."""


def getcurrent() -> None:
    """What runs is in no greenlet."""


class greenlet:
    """Raises NotHere when one is made."""

    def __init__(self, *args: object) -> None:
        from lesson_support.browser import (
            NotHere,  # imports SQLAlchemy, which imports this
        )

        raise NotHere("AsyncSession")
