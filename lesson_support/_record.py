"""Keeps what the last check of each exercise said: in this kernel, and beyond it.

In a notebook it is also written to a workspace of the learner's own, so that it survives a restart
of the kernel. `reset` throws that away with the other workspaces.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, select
from sqlalchemy.exc import SQLAlchemyError

from .database import connect
from .errors import LessonError
from .sql import quiet

__all__ = ["Said", "answers", "here", "note", "said"]


class Said(NamedTuple):
    """What a check said: "open", "bad" or "good", and the reason of a "bad"."""

    kind: str
    reason: str = ""


# By the id of the exercise, since this kernel started: what was said, and the last correct answer.
here: dict[str, Said] = {}
answers: dict[str, Any] = {}

_ANSWERS = Table(
    "answers",
    MetaData(),
    Column("exercise", String(80), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("reason", Text, nullable=False),
)


def note(id: str, kind: str, reason: str = "", *, judged: bool = True) -> None:
    """Keep what a check said about an exercise; a database that is away is no reason to fail.

    What a check said without judging the answer does not replace a "good".
    """
    if not judged and said(id)[id].kind == "good":
        return
    here[id] = Said(kind, reason)
    if not _in_notebook():
        return
    with suppress(LessonError, SQLAlchemyError, OSError), _workspace() as connection:
        connection.execute(_ANSWERS.delete().where(_ANSWERS.c.exercise == id))
        values = {"exercise": id, "kind": kind, "reason": reason}
        connection.execute(_ANSWERS.insert().values(values))


def said(*ids: str) -> dict[str, Said]:
    """Return what the last check in this workspace said about each; at first, `Said("open")`."""
    found = {id: here.get(id, Said("open")) for id in ids}
    if _in_notebook():
        with (
            suppress(LessonError, SQLAlchemyError, OSError),
            _workspace() as connection,
        ):
            for id, kind, reason in connection.execute(select(_ANSWERS)):
                if id in found:
                    found[id] = Said(kind, reason)
    return found


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


@contextmanager
def _workspace() -> Iterator[Connection]:
    engine = connect("record", fresh=False)
    try:
        with quiet(), engine.begin() as connection:
            _ANSWERS.create(connection, checkfirst=True)
            yield connection
    finally:
        engine.dispose()
