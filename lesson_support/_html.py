"""What every display is made of: one object with a rich form and a plain one."""

from __future__ import annotations

from html import escape

__all__ = ["Shown", "escape", "plural"]


class Shown:
    """A display: HTML for a notebook, plain text for everything else.

    Args:
        html: the rich form; every piece of data in it must have gone through `escape`.
        plain: the plain form, which says the same.
    """

    def __init__(self, html: str, plain: str) -> None:
        self.html = html
        self.plain = plain

    def __repr__(self) -> str:
        return self.plain

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.plain}


def plural(count: int, word: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count} {word}{'' if count == 1 else 's'}"
