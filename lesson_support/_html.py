"""What every display is made of: one object with a rich form and a plain one."""

from __future__ import annotations

import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

__all__ = [
    "Shown",
    "columned",
    "escape",
    "headed",
    "plural",
    "short",
    "tables_of",
    "visible",
]

_LONGEST_VALUE = 60
_READ_OF_VALUE = 2000
# what a terminal obeys, what breaks a line, and halves of characters, which no file can hold
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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
        return visible(self.plain)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": visible(self.html), "text/plain": visible(self.plain)}


def visible(text: str) -> str:
    """Write out, as Python does, the characters that would not be seen but do something."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def plural(count: int, word: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def columned(lines: list[list[str]]) -> str:
    """Set lines of cells into columns of equal width, indented by two."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = (
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(f"  {row}".rstrip() for row in rows)


def headed(caption: str, head: list[str], rows: str) -> str:
    """A table with a caption and a line of headings over rows that are HTML already."""
    cells = "".join(f'<th scope="col">{word}</th>' for word in head)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def short(value: Any) -> str:
    """Write a value on one line of at most 60 characters, the same in every run."""
    try:
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=repr)
        text = str(value)[:_READ_OF_VALUE]
    except Exception:  # a class of the learner's own, or a number of 5000 digits
        text = f"<{type(value).__name__} that cannot be written>"
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", text)
    text = visible(text).replace("\n", "\\n")
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def tables_of(metadata: MetaData) -> list[Table]:
    """Return the tables, parents before children; where they depend on each other, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the warning about a cycle is not the learner's here
        return list(metadata.sorted_tables)
