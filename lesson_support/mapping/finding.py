"""The checks, each with its level and the lesson that explains it, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import RelationshipProperty

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

# What is usual for a check; some findings of it have another level or lesson.
CHECKS = {
    "not-configured": ("breaks", ERRORS),
    "conflict": ("breaks", ASK),
    "half-linked": ("surprises", MODEL),
    "linked-by-two-keys": ("breaks", OTHER),
    "read-only-side": ("surprises", ASK),
    "write-only-loads": ("breaks", COLLECTION),
    "passive-deletes-without-cascade": ("breaks", DELETE),
    "passive-deletes-without-ondelete": ("breaks", CHOOSE),
    "ondelete-without-cascade": ("breaks", DELETE),
    "ondelete-without-passive-deletes": ("style", DELETE),
    "two-rules": ("surprises", CHOOSE),
    "required-key": ("surprises", DELETE),
    "rule-stops-here": ("breaks", CHOOSE),
    "set-null-on-required": ("breaks", CHOOSE),
    "unknown-rule": ("breaks", CHOOSE),
    "cascade-on-the-many-side": ("breaks", LEAVE),
    "passive-deletes-on-the-many-side": ("surprises", DELETE),
    "delete-orphan-without-delete": ("breaks", LEAVE),
    "cascade-without-save-update": ("surprises", LEAVE),
    "all-without-the-other-side": ("surprises", CHOOSE),
    "one-for-many": ("surprises", MODEL),
    "many-for-one": ("surprises", OTHER),
    "each-other-first": ("surprises", OTHER),
    "key-to-nowhere": ("breaks", ERRORS),
    "key-to-no-unique": ("breaks", OTHER),
    "key-of-another-type": ("breaks", TABLES),
    "no-index": ("style", TABLES),
    "eager-list": ("style", LOAD),
    "backref": ("style", MODEL),
    "dynamic": ("style", COLLECTION),
    "noload": ("surprises", LOAD),
    "query-property": ("style", QUERY),
    "no-table": ("breaks", TABLES),
    "no-column": ("breaks", TABLES),
    "no-key": ("breaks", TABLES),
    "another-rule": ("breaks", DELETE),
    "another-null": ("surprises", TABLES),
    "keys-not-enforced": ("surprises", TABLES),
}


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


def found(
    check: str, where: Any, what: str, cure: str, level: str = "", lesson: str = ""
) -> Finding:
    """A finding of a check, with its usual level and lesson if no others are given.

    Where `where` is a relationship, `what` may name {here}, the {parent} that has it, the {child}
    that it leads to, and both with their articles, {a_parent} and {a_child}.
    """
    if isinstance(where, RelationshipProperty):
        parent, child = where.parent.class_.__name__, where.mapper.class_.__name__
        names = {"here": where, "parent": parent, "child": child}
        articles = {f"a_{k}": _with_article(names[k]) for k in ("parent", "child")}
        what = what.format(**names, **articles)
    usual = CHECKS[check]
    return Finding(level or usual[0], check, str(where), what, cure, lesson or usual[1])


def _with_article(name: str) -> str:
    return f"a{'n' * (name[0] in 'AEIO')} {name}"
