"""Reads a mapping and names what will hurt: why, the cure, and the lesson that explains it.

It reads what SQLAlchemy knows of the classes (mappers, relationships, tables) and, where a database
is given, its catalogue; never source code. A finding *breaks* where rows are lost, written wrongly
or refused although the mapping asks for more; it *surprises* where the mapping works and does not
do what it seems to say; it is *style* where only time or the reader suffers.

Sources: https://docs.sqlalchemy.org/en/21/orm/cascades.html,
https://docs.sqlalchemy.org/en/21/orm/large_collections.html,
https://docs.sqlalchemy.org/en/21/orm/relationship_persistence.html,
https://docs.sqlalchemy.org/en/21/errors.html#error-qzyx and the tables of lessons 05 and 09
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections import Counter
from contextlib import nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.orm import Mapper, registry
from sqlalchemy.orm.exc import UnmappedClassError

from .._catalogue import connected
from .._html import Shown, escape, headed
from ..errors import LessonError, _first_line, _todo
from ..sql import quiet
from .database import Database, differences
from .deleting import all_alone, deeper, deleting, half_cascade, rules, wrong_side
from .finding import LEVELS, Finding, found
from .loading import eager, legacy, legacy_query
from .reading import Mapping
from .shape import each_other, not_indexed, one_for_many, targets_fit
from .sides import conflicting, half_linked, linked_to_view, wrongly_linked

__all__ = ["LEVELS", "Finding", "MappingCheck", "check_mapping"]

_MEANS = {
    "breaks": "rows are lost, written wrongly or refused",
    "surprises": "it does not do what it seems to say",
    "style": "it works; it is slow, or legacy",
}
_CLASSES = {"breaks": "del", "surprises": "upd", "style": ""}
_CHECKS = (
    *(conflicting, half_linked, wrongly_linked, linked_to_view),
    *(deleting, deeper, rules, wrong_side, half_cascade, all_alone),
    *(one_for_many, each_other, targets_fit, not_indexed),
    *(eager, legacy, legacy_query, differences),
)


class MappingCheck(Shown):
    """What `check_mapping` returns: a display, and its `findings`."""

    def __init__(self, title: str, findings: list[Finding]) -> None:
        super().__init__(_rich(title, findings), _plain(title, findings))
        self.findings = findings

    @property
    def breaks(self) -> bool:
        """Whether one of the findings is of the level "breaks"."""
        return any(finding.level == "breaks" for finding in self.findings)


def check_mapping(Base: Any, engine: Engine | Connection | None = None) -> MappingCheck:
    """Name what will hurt in the mapping of all classes of a `Base`.

    The classes are configured, as by their first use. Nothing else is changed; to a database only
    questions about its catalogue are sent.

    Args:
        Base: the class that all mapped classes inherit from, or a `registry`.
        engine: a database to compare the classes with: are its tables, columns and rules those of
            the classes? An index that the database has counts, too. With an AsyncEngine write
            `await connection.run_sync(lambda sync: check_mapping(Base, sync))`.

    Returns:
        A display with one line a finding, those that break first; `.findings` has them as
        `Finding`s. A mapping that SQLAlchemy cannot configure is one finding.

    Raises:
        LessonError: when `Base` is no Base, has no classes or one whose definition failed, or `engine` is no Engine.
    """
    made = _registry(Base)
    if not isinstance(engine, Engine | Connection | None):
        raise LessonError(
            "check_mapping cannot await: open a connection with `async with engine.connect() as "
            "connection:` and write await connection.run_sync(lambda sync: check_mapping(Base, sync))."
            if hasattr(engine, "sync_engine")
            else "check_mapping wants an Engine as its second argument, as in "
            f"check_mapping(Base, engine), and {engine!r} is none."
        )
    mappers = _mappers(made)
    if not mappers:
        raise LessonError(
            f"{_name(Base)} has no mapped classes: run the cell, or import the modules, that define "
            "them, and check again."
        )
    title = f"{_name(Base)}, {len(mappers)} class{'es' * (len(mappers) != 1)}"
    if failed := _configured(made):
        title += ": cannot be configured, so no more is checked"
        return MappingCheck(title, [failed])
    if unready := [mapper for mapper in mappers if not mapper.configured]:
        raise _not_ready(unready[0].class_.__name__)
    mapping = Mapping(mappers)
    with quiet(), connected(engine) if engine else nullcontext() as connection:
        mapping.database = Database(connection, mapping) if connection else None
        findings = [finding for check in _CHECKS for finding in check(mapping)]
    findings.sort(key=lambda f: (LEVELS.index(f.level), f.where, f.check))
    count = Counter(finding.level for finding in findings)
    counts = ", ".join(f"{count[level]} {level}" for level in LEVELS if count[level])
    return MappingCheck(f"{title}: {counts or 'nothing found'}", findings)


def _registry(Base: Any) -> registry:
    if isinstance(Base, registry):
        return Base
    made = getattr(Base, "registry", None)
    if not isinstance(made, registry):
        raise LessonError(
            f"{_name(Base)} is no Base: name the class that all mapped classes inherit from."
        )
    if inspect(Base, raiseerr=False) is not None:
        raise LessonError(
            f"{_name(Base)} is one of the mapped classes: name the Base that it inherits from."
        )
    return made


def _mappers(made: registry) -> list[Mapper]:
    try:
        return list(made.mappers)
    except UnmappedClassError as error:
        name = re.sub(r".*'(?:.*\.)?(\w+)'.*", r"\1", _first_line(error))
        raise _not_ready(name) from error


def _not_ready(name: str) -> LessonError:
    return LessonError(
        f"The class {name} is not mapped to the end: where its definition raised an error, mend it and "
        "define Base and all its classes again; where it waits for prepare(engine), call that first."
    )


def _name(Base: Any) -> str:
    return getattr(Base, "__name__", None) or type(Base).__name__


def _configured(made: registry) -> Finding | None:
    """Configure all mappers; what stops it is a finding."""
    try:
        with warnings.catch_warnings():
            # Said by the findings, and said again by every later run; SQLAlchemy says it once.
            warnings.filterwarnings("ignore", "relationship '.*' will copy column")
            made.configure(cascade=True)
        return None
    except Exception as error:  # a lambda or a text in quotes may raise anything
        first = error
    # A second try says only that there was a first one; the mapper keeps its error.
    for mapper in made.mappers:
        kept = getattr(mapper, "_configure_failed", False)
        if isinstance(kept, Exception):
            first = kept
    what = (
        "SQLAlchemy cannot connect the classes, so the first use of each of them raises "
        f"{type(first).__name__}: {_first_line(first).rstrip('. ')}."
    )
    again = "mend what the message names, then define Base and all its classes again"
    return found("not-configured", "the mapping", what, f"# {_todo(first) or again}")


def _plain(title: str, findings: list[Finding]) -> str:
    lines = [title]
    for finding in findings:
        lines += ["", f"  {finding.level}: {finding.where} ({finding.check})"]
        lines += textwrap.wrap(
            finding.what, 84, initial_indent=" " * 4, subsequent_indent=" " * 4
        )
        lines += [f"      {line}" for line in finding.cure.splitlines()]
        lines += [f"    lesson: {finding.lesson}"]
    return "\n".join(lines)


def _rich(title: str, findings: list[Finding]) -> str:
    if not findings:
        return f'<div class="ls"><div class="ls-title">{escape(title)}</div></div>'
    head = ["level", "where", "what is wrong and why, the cure, and the lesson"]
    rows = "".join(
        f'<tr class="{_CLASSES[f.level]}"><td><b>{f.level}</b></td>'
        f'<th scope="row"><code>{escape(f.where)}</code></th>'
        f'<td>{escape(f.what)}<pre class="ls-stmt">{escape(f.cure)}</pre>'
        f'<div class="mute">{escape(f.check)}; {escape(f.lesson)}</div></td></tr>'
        for f in findings
    )
    used = {f.level for f in findings}
    means = "; ".join(
        f"<b>{word}</b>: {_MEANS[word]}" for word in LEVELS if word in used
    )
    return f'<div class="ls">{headed(title, head, rows)}<div class="mute">{means}</div></div>'
