"""Follows the foreign keys from the rows that go down to the rows that point at them.

Of the rows that point at rows which go, the Session takes its share: the relationship over the key
and what is loaded say which. The rest is the database's, by the rule of the key. Rows that go in
turn are followed in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Table, and_, inspect, not_, true
from sqlalchemy.orm import InstanceState, Mapper, RelationshipProperty

from .._catalogue import Catalogue, Key
from .._html import plural
from .asked import Asked, Where
from .known import brings_more, is_expired, is_up, odd_class, odd_relationship

SESSION, DATABASE, NOBODY = "the Session", "the database", "nobody"
DELETED, SET_NULL, REFUSED = "deleted", "set to NULL", "refused"
LEFT = "left, with a key to nowhere"
# So many objects are named in one condition, and so many levels of a tree are followed.
_OBJECTS = 1000
_LEVELS = 25


@dataclass(eq=False)
class Part:
    """Rows of one table to which one thing happens, by one actor, by way of one key."""

    table: str
    where: Where
    rows: int
    what: str
    who: str
    why: str
    key: Key | None = None
    path: tuple[Part, ...] = ()  # the parts above, from the object down
    mapper: Mapper | None = None  # the class, where it is the Session that acts
    refusal: str = ""  # the rule that refuses
    lost: bool = False  # whether it turned out that this cannot be known

    @property
    def known(self) -> bool:
        """Whether this will happen as it is said here."""
        return not any(part.lost for part in (*self.path, self))

    @property
    def cause(self) -> Part:
        """The rows with whose own DELETE or UPDATE, sent by the Session, this happens."""
        return [part for part in (*self.path, self) if part.who == SESSION][-1]


class Look(NamedTuple):
    """A key by which rows point at rows that go, the relationship over it, and its loaded lists."""

    above: Part
    key: Key
    prop: RelationshipProperty | None
    holders: list[InstanceState]


class Walk:
    """What `session.delete` of one object reaches: in `parts`, and in `unknown` what is left out."""

    def __init__(self, root: InstanceState, catalogue: Catalogue, asked: Asked) -> None:
        self.root, self._catalogue, self._asked = root, catalogue, asked
        self.parts: list[Part] = []
        self.unknown: list[str] = []
        self.selects = 0  # those by which the Session loads what it needs
        self._held: dict[Mapper, list[InstanceState]] = defaultdict(list)
        for state in root.session.identity_map.all_states():
            self._held[state.mapper].append(state)
        if words := odd_class(root.mapper):
            self.not_known(f"{words}; what becomes of its rows is not foreseen.")
        else:
            self._walk()

    def not_known(self, sentence: str, *parts: Part) -> None:
        """Note what the figures leave out; some parts may be lost with it."""
        if sentence not in self.unknown:
            self.unknown.append(sentence)
        for part in parts:
            part.lost = True

    def _walk(self) -> None:
        """First what the Session deletes, then what it sets to NULL, then what the database does."""
        top = self._top()
        self.parts.append(top)
        deletes, nulls, left = [top] if top.rows else [], [], []
        while deletes:
            for part in self._below(deletes.pop(0)):
                if part.who != SESSION:
                    left.append(part)
                elif part.what != DELETED:
                    nulls.append(part)
                elif self._keep(part):
                    deletes.append(part)
        for part in nulls:
            self._keep(part)
        while left:
            part = left.pop(0)
            if self._keep(part) and part.what == DELETED:
                left += self._below(part)

    def _top(self) -> Part:
        root, mapper, name = (
            self.root,
            self.root.mapper,
            self.root.mapper.class_.__name__,
        )
        table = self._catalogue.name(mapper.local_table)
        where = self._asked.of_objects(table, [root])
        (rows,) = self._asked.count(table, where)
        if not rows:
            self.not_known(f"The row of this {name} is no longer in the database.")
        if is_expired(root):
            self.selects += 1
            if not root.expired or brings_more(mapper):
                self.not_known(f"How this expired {name} is read is not foreseen.")
        why = "session.delete"
        part = Part(table, where, rows, DELETED, SESSION, why, mapper=mapper)
        part.lost = not rows
        return part

    def _below(self, above: Part) -> Iterator[Part]:
        """The rows that point at rows which go: key by key, each actor's share."""
        if len(above.path) == _LEVELS:
            sentence = f"Below level {_LEVELS} of {above.table} was not looked."
            self.not_known(sentence, self.parts[0])
            return
        keys = [key for key in self._catalogue.keys if key.parent == above.table]
        relations, hidden = self._relations(above.mapper, keys)
        members = self._members(above, {prop.key for prop in relations.values()})
        for key in keys:
            if not hidden.intersection((key.table, column) for column in key.columns):
                prop = relations.get(key)
                holders = [
                    m for m in members if prop is not None and prop.key in m.dict
                ]
                yield from self._shares(Look(above, key, prop, holders))

    def _relations(
        self, mapper: Mapper | None, keys: list[Key]
    ) -> tuple[dict[Key, RelationshipProperty], set[tuple[str, str]]]:
        """The relationships by which the Session acts, and columns of which more is not foreseen."""
        found: dict[Key, RelationshipProperty] = {}
        hidden: set[tuple[str, str]] = set()
        for prop in mapper.relationships if mapper else ():
            if prop.viewonly:
                continue
            words, pairs = odd_relationship(prop), prop.synchronize_pairs
            if pairs and isinstance(pairs[0][1].table, Table) and not is_up(prop):
                table = self._catalogue.name(pairs[0][1].table)
                names = frozenset((child.name, parent.name) for parent, child in pairs)
                over = [k for k in keys if (k.table, k.pairs) == (table, names)]
                if not over:
                    words = words or f"{prop} has no foreign key in the database"
                elif prop.passive_deletes != "all" or words:
                    if over[0] in found:
                        words = f"{prop} and {found[over[0]]} write the same key"
                    found[over[0]] = prop
                if words:
                    hidden.update((table, child.name) for _, child in pairs)
            if words:
                self.not_known(f"{words}; what that does is not foreseen.")
        return found, hidden

    def _members(self, above: Part, lists: set[str]) -> list[InstanceState]:
        """The objects of these rows of which some lists are loaded."""
        if not above.path:
            return [self.root]
        held = self._held[above.mapper] if above.mapper else []
        found = [state for state in held if lists & state.dict.keys()]
        if len(found) > _OBJECTS:
            name = above.mapper.class_.__name__
            sentence = f"More than {_OBJECTS} objects of {name} have loaded lists."
            self.not_known(sentence, self.parts[0])
        if not 0 < len(found) <= _OBJECTS:
            return []
        there = self._asked.keys(above.table, above.where, found)
        return [state for state in found if tuple(state.key[1]) in there]

    def _shares(self, look: Look) -> Iterator[Part]:
        """Of the rows that point by one key: the Session's share, and the database's."""
        above, key, prop, holders = look
        level, top = len(above.path), [] if above.path else [self.root]
        every = self._asked.pointing(key, above.where, top, level)
        if holders:
            mine = self._asked.pointing(key, above.where, holders, level)
            rows, my_rows = self._compare(look, every, mine)
        else:
            (rows,), my_rows, mine = self._asked.count(key.table, every), 0, every
        if prop is not None and not prop.passive_deletes:
            self._note_loads(look, rows - my_rows)
            mine, my_rows = every, rows
        if my_rows:
            yield self._by_session(look, mine, my_rows)
        if rows > my_rows:
            where = and_(every, not_(mine)) if my_rows else every
            yield self._by_database(look, where, rows - my_rows)

    def _compare(self, look: Look, every: Where, mine: Where) -> tuple[int, int]:
        """Count the rows that point, and those that belong in loaded lists; are they in them?"""
        prop, table = look.prop, look.key.table
        objects = [
            inspect(item)
            for holder in look.holders
            for item in holder.attrs[prop.key].history.non_deleted()
            if item is not None
        ]
        among = {"in_loaded_lists": mine} if look.above.path else {}
        if 0 < len(objects) <= _OBJECTS:
            known = self._asked.of_objects(table, objects)
            among["and_loaded"] = and_(mine, known) if among else known
        rows, *counts = self._asked.count(table, every, **among)
        if not look.above.path:
            counts.insert(0, rows)  # one object has but one list
        if len(objects) > _OBJECTS:
            self.not_known(f"Of the objects in {prop} only the number was compared.")
        if any(number != len(objects) for number in counts):
            self.not_known(
                f"{prop} is not up to date: {plural(len(objects), 'object')} in loaded lists, "
                f"{plural(counts[0], 'row')} in the database, {counts[-1]} in both."
            )
        if any(map(is_expired, objects)):
            self.not_known(f"How expired objects in {prop} are read is not foreseen.")
        return rows, counts[0]

    def _note_loads(self, look: Look, rows: int) -> None:
        """Count the SELECTs by which the Session loads the lists that are not loaded."""
        above, prop = look.above, look.prop
        self.selects += above.rows - len(look.holders)
        states = self._held[above.mapper] if above.path else [self.root]
        if any(state.load_options and prop.key not in state.dict for state in states):
            self.not_known(
                f"{above.mapper.class_.__name__} was read with loader options; what they "
                f"change for {prop} is not foreseen."
            )
        if rows and (words := brings_more(prop.mapper)):
            self.not_known(f"{words}; what the Session loads is not foreseen.")

    def _by_session(self, look: Look, where: Where, rows: int) -> Part:
        above, key, prop, _ = look
        what, why, refusal = DELETED, f"delete cascade of {prop}", ""
        if not prop.cascade.delete:
            what, why = SET_NULL, f"{prop} has no delete cascade"
            if {c.name for c in prop.mapper.primary_key}.intersection(key.columns):
                refusal = "primary key"
            elif self._catalogue.required(key.table, key.columns):
                refusal = "not null"
        if refusal:
            what, why = REFUSED, f"{why}, and {key} cannot be NULL"
        part = Part(
            key.table, where, rows, what, SESSION, why, key, (*above.path, above)
        )
        part.mapper, part.refusal = prop.mapper, refusal
        return part

    def _by_database(self, look: Look, where: Where, rows: int) -> Part:
        above, key = look.above, look.key
        who, why, refusal = DATABASE, f"{key}: ON DELETE {key.rule}", ""
        if key.rule == "NO ACTION":
            why = f"{key} has no ON DELETE rule"
        rule = self._catalogue.rule(key)
        if not self._catalogue.enforced:
            what, who, why = LEFT, NOBODY, f"{key}: PRAGMA foreign_keys is off"
        elif rule == "CASCADE":
            what = DELETED
        elif rule != "SET NULL":
            what, refusal = REFUSED, "foreign key"
        elif self._catalogue.required(key.table, key.columns):
            what, refusal, why = REFUSED, "not null", f"{why}, but NOT NULL"
        else:
            what = SET_NULL
        part = Part(key.table, where, rows, what, who, why, key, (*above.path, above))
        part.refusal = refusal
        if not rule and who == DATABASE:
            self.not_known(f"What {why} does is not foreseen.", part)
        return part

    # rows that are reached by two keys

    def _keep(self, part: Part) -> bool:
        """Keep what is left of a part when the rows that others took first are taken out."""
        for other in self.parts:
            in_tree = part.key.table == part.key.parent and other.key is None
            if other.table != part.table or other.key == part.key or in_tree:
                continue
            (rows,) = self._asked.count(part.table, and_(part.where, other.where))
            if rows and self._comes_first(other, part):
                # where a key is NULL a condition is neither true nor false, and so is its not_()
                part.where = and_(part.where, other.where.is_not(true()))
                part.rows -= rows
            elif rows:
                sentence = (
                    f"{plural(rows, 'row')} of {part.table}: reached by "
                    f"{other.key or 'session.delete'} and by {part.key}; what comes first is "
                    "not foreseen."
                )
                self.not_known(sentence, other, part)
        if part.rows:
            self.parts.append(part)
        return bool(part.rows) and part.known

    def _comes_first(self, other: Part, part: Part) -> bool:
        """Whether what happens to rows by `other` is all that happens to them."""
        if other.what != DELETED:
            return False
        if other.who == part.who:
            return part.what == DELETED or part.who == SESSION
        # On the way down, the Session deletes children before parents; else no order is sure.
        cause, above = part.cause.mapper, [before.mapper for before in other.path]
        return other.who == SESSION and cause in above and cause is not other.mapper
