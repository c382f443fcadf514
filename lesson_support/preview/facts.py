"""Sums up what a walk has found: rows by table and actor, refusals, and the statements."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import InstanceState

from .._catalogue import Catalogue
from .known import is_up, listening, pending
from .walk import DELETED, LEFT, REFUSED, SESSION, SET_NULL, Part, Walk


@dataclass(frozen=True)
class Refusal:
    """What will be refused: `rule` is "foreign key", "not null" or "primary key"."""

    rule: str
    table: str
    rows: int
    who: str
    at: str


@dataclass
class DeleteFacts:
    """What `session.delete(obj)` and a commit will do, for comparing.

    `deleted` and `set_null` count rows by (table, "the Session" or "the database"). Where something
    is in `refused`, all that is rolled back and nothing changes. `dangling` counts keys that will
    point nowhere, by table, where the database does not look. `statements` counts as
    `counting(engine)` does, up to the one that is refused; it is None where it is not known.
    `unknown` names in sentences what the figures leave out.
    """

    deleted: dict[tuple[str, str], int] = field(default_factory=dict)
    set_null: dict[tuple[str, str], int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    dangling: dict[str, int] = field(default_factory=dict)
    statements: int | None = None
    unknown: list[str] = field(default_factory=list)


def facts_of(walk: Walk, catalogue: Catalogue) -> DeleteFacts:
    """Add up the parts of a walk."""
    deleted, set_null, dangling = defaultdict(int), defaultdict(int), defaultdict(int)
    refused = []
    for part in filter(lambda part: part.known, walk.parts):
        if part.what == DELETED:
            deleted[part.table, part.who] += part.rows
        elif part.what == SET_NULL:
            set_null[part.table, part.who] += part.rows
        elif part.what == LEFT:
            dangling[part.table] += part.rows
        else:
            at = refused_at(part)
            refused.append(Refusal(part.refusal, part.table, part.rows, part.who, at))
    _note_what_else(walk, catalogue)
    return DeleteFacts(
        dict(deleted),
        dict(set_null),
        refused,
        dict(dangling),
        None if walk.unknown else _statements(walk),
        walk.unknown,
    )


def refused_at(part: Part) -> str:
    """Where a delete ends that is refused."""
    if part.refusal == "primary key":
        return f"before the UPDATE of {part.table}"
    if part.who == SESSION:
        return f"at the UPDATE of {part.table}"
    return f"at the DELETE of {part.cause.table}" + " or the COMMIT" * part.key.waits


def _way(part: Part) -> tuple[Any, ...]:
    """The classes and keys from the object down to a part."""
    return tuple((above.mapper, above.key) for above in (*part.path, part))


def _statements(walk: Walk) -> int | None:
    """How many statements the Session sends: its SELECTs, and one a class and level of a tree."""
    ways: dict[Any, set] = defaultdict(set)
    for part in walk.parts:
        if part.who == SESSION:
            ways[part.what == DELETED, part.mapper].add(_way(part))
    every = [way for found in ways.values() for way in found]
    if any(map(_goes_in_a_circle, every)):
        return None
    sent = 0
    for (deletes, mapper), found in ways.items():
        levels = 1
        if mapper in (prop.mapper for prop in mapper.relationships):
            # a tree from its root goes level by level; another way depends on the rows
            from_root = all({m for m, _ in way} == {mapper} for way in found)
            if not from_root or _asks_for_parent(walk.root):
                return None
            levels = len(found)
        elif not deletes and len({way[-1] for way in found}) > 1:
            return None  # rows that lose one key or another, or both
        sent += levels if deletes else 1
    if refused := [part for part in walk.parts if part.what == REFUSED]:
        sent = None if len(every) > len(ways) else _until_refused(every, refused)
    return None if sent is None else walk.selects + sent


def _goes_in_a_circle(way: tuple) -> bool:
    """Whether classes point at each other; the flush then goes row by row."""
    mappers = [mapper for mapper, _ in way]
    return any(
        is_up(prop) and not prop.viewonly and prop.mapper in set(mappers[n:]) - {mapper}
        for n, mapper in enumerate(mappers)
        for prop in mapper.relationships
    )


def _until_refused(sent: list[tuple], refused: list[Part]) -> int | None:
    """How many of these statements are sent, children before parents; None where no order is sure."""
    ends = {_way(part.cause): part for part in refused}
    first = max(ends, key=len)
    before = [way for way in sent if way[: len(first)] == first and way != first]
    after = [way for way in (*sent, *ends) if way == first[: len(way)]]
    in_order = len(before) + len(after) == len(sent) + len(ends)
    if not in_order or any(part.key.waits for part in refused):
        return None
    return len(before) + (ends[first].refusal != "primary key")


def _asks_for_parent(root: InstanceState) -> bool:
    """Whether a SELECT may look for the parent of the object, by which a tree is sorted."""
    mapper, held = root.mapper, root.session.identity_map
    for prop in mapper.relationships:
        if is_up(prop) and prop.mapper is mapper and prop.key not in root.dict:
            names = [mapper.get_property_by_column(c).key for c in prop.local_columns]
            key = [root.dict.get(name, "expired") for name in names]
            there = mapper.identity_key_from_primary_key(key) in held
            if None not in key and not there:
                return True
    return False


def _note_what_else(walk: Walk, catalogue: Catalogue) -> None:
    """Say what may change the outcome and cannot be looked into."""
    session = walk.root.session
    if waiting := pending(session):
        walk.not_known(
            f"The Session holds pending changes ({', '.join(waiting)}), which are sent first."
        )
    mappers = dict.fromkeys(part.mapper for part in walk.parts if part.mapper)
    if found := listening(session, list(mappers)):
        walk.not_known(f"There are listeners, which may do more: {', '.join(found)}.")
    names = {part.table for part in walk.parts}
    for name in catalogue.triggers(names):
        walk.not_known(f"{name} has a trigger, which may do more.")
    for name in catalogue.outsiders(names):
        walk.not_known(f"{name} points here from another schema, where was not looked.")
    for part in walk.parts:
        if part.what == SET_NULL and catalogue.checks(part.table, part.key.columns):
            walk.not_known(
                f"A CHECK of {part.table} speaks of this key and may refuse."
            )
