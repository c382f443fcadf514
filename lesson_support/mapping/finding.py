"""A finding, its levels, and the lessons that explain them."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("breaks", "surprises", "style")

MODEL = "01-model-a-program-and-its-courses.ipynb"
TABLES = "02-create-the-tables.ipynb"
QUERY = "04-query-parents-and-children.ipynb"
DELETE = "05-delete-a-parent.ipynb"
LOAD = "07-load-without-n-plus-one.ipynb"
LEAVE = "08-move-and-remove-children.ipynb"
CHOOSE = "09-choose-a-delete-rule.ipynb"
COLLECTION = "10-choose-a-collection.ipynb"
ASK = "11-ask-harder-questions.ipynb"
OTHER = "12-relate-tables-in-other-ways.ipynb"
ERRORS = "17-look-up-an-error.ipynb"


@dataclass(frozen=True)
class Finding:
    """One thing that a mapping will do to its users.

    `level` is "breaks", "surprises" or "style"; `check` names the check that found it; `where` is an
    attribute such as "Program.courses", or a table; `cure` is code; `lesson` is the file name of the
    lesson that explains it.
    """

    level: str
    check: str
    where: str
    what: str
    cure: str
    lesson: str
