"""Follows the foreign keys from the rows that go down to the rows that point at them.

Of the rows that point at rows which go, the Session takes its share: the relationship over the key
and what is loaded say which. The rest is the database's, by the rule of the key. Rows that go in
turn are followed in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Table, TableClause, and_, inspect, not_, select, true, tuple_
from sqlalchemy.orm import InstanceState, Mapper, RelationshipProperty
from sqlalchemy.sql.elements import ColumnElement

from .._catalogue import Catalogue, Key
from .._html import plural
from .asked import Asked, keyed
from .known import brings_more, is_up, odd_class, odd_relationship

SESSION, DATABASE, NOBODY = "the Session", "the database", "nobody"
DELETED, SET_NULL, REFUSED = "deleted", "set to NULL", "refused"
LEFT = "left, with a key to nowhere"
# So many keys are written into one condition, and so many levels of a tree are followed.
_KEYS = 1000
_LEVELS = 25

Over = tuple[str, frozenset[tuple[str, str]]]


@dataclass(eq=False)
class Part:
    """Rows of one table to which one thing happens, by one actor, by way of one key."""

    table: str
    where: ColumnElement[bool]
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
        if top := self._top():
            self._walk(top)

    def not_known(self, sentence: str) -> None:
        """Note what the figures leave out."""
        if sentence not in self.unknown:
            self.unknown.append(sentence)

    def _top(self) -> Part | None:
        mapper, name = self.root.mapper, self.root.mapper.class_.__name__
        if words := odd_class(mapper):
            self.not_known(f"{words}; what becomes of its rows is not foreseen.")
            return None
        table = self._catalogue.name(mapper.local_table)
        where = self._with_keys(table, [self.root])
        (rows,) = self._asked.count(self._table(table), where)
        if not rows:
            self.not_known(f"The row of this {name} is no longer in the database.")
            return None
        if self.root.expired_attributes:
            self.selects += 1
            if not self.root.expired or brings_more(mapper):
                self.not_known(
                    f"How this expired {name} is read again is not foreseen."
                )
        return Part(
            table, where, rows, DELETED, SESSION, "session.delete", mapper=mapper
        )

    def _walk(self, top: Part) -> None:
        """First what the Session deletes, then what it sets to NULL, then what the database does."""
        self.parts.append(top)
        deletes, nulls, left = [top], [], []
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

    # which rows

    def _table(self, name: str) -> TableClause:
        return self._catalogue.tables[name]

    def _with_keys(
        self, table: str, states: list[InstanceState]
    ) -> ColumnElement[bool]:
        """The rows of these objects."""
        mapper = states[0].mapper
        names = [column.name for column in mapper.primary_key]
        keys = [tuple(state.key[1]) for state in states]
        return keyed(self._table(table), names, mapper, keys)

    def _pointing(
        self, key: Key, above: Part, states: list[InstanceState]
    ) -> ColumnElement[bool]:
        """The rows that point by a key at rows that go, or only at those of some objects."""
        here, there, where = (
            self._table(key.table),
            self._table(key.parent),
            above.where,
        )
        if states:
            mapper = states[0].mapper
            if key.referred == tuple(column.name for column in mapper.primary_key):
                keys = [tuple(state.key[1]) for state in states]
                return keyed(here, key.columns, mapper, keys)
            where = self._with_keys(key.parent, states)
        query = select(*(there.c[name] for name in key.referred)).where(where)
        columns = [here.c[name] for name in key.columns]
        left = columns[0] if len(columns) == 1 else tuple_(*columns)
        return left.in_(query.correlate(None))  # a tree is one table inside and outside

    # what happens to them

    def _below(self, above: Part) -> Iterator[Part]:
        """The rows that point at rows which go: key by key, each actor's share."""
        if len(above.path) == _LEVELS:
            self.not_known(f"Below level {_LEVELS} of {above.table} was not looked.")
            self.parts[0].lost = True
            return
        keys = [key for key in self._catalogue.keys if key.parent == above.table]
        relations, hidden = self._relations(above.mapper)
        for table, pairs in relations.keys() - {(key.table, key.pairs) for key in keys}:
            columns, referred = zip(*sorted(pairs), strict=True)
            keys.append(Key(table, columns, above.table, referred, "no key"))
        members = self._members(above, {prop.key for prop in relations.values()})
        for key in keys:
            if not hidden.intersection((key.table, column) for column in key.columns):
                prop = relations.get((key.table, key.pairs))
                yield from self._shares(above, key, prop, members)

    def _over(self, prop: RelationshipProperty) -> Over | None:
        """The table of the many side, and which of its columns points at which."""
        pairs = [(child.name, parent.name) for parent, child in prop.synchronize_pairs]
        table = prop.synchronize_pairs[0][1].table if pairs else None
        if not isinstance(table, Table):
            return None
        return self._catalogue.name(table), frozenset(pairs)

    def _relations(self, mapper: Mapper | None) -> tuple[dict, set[tuple[str, str]]]:
        """The relationships by which the Session acts, and columns of which more is not foreseen."""
        found: dict[Over, RelationshipProperty] = {}
        hidden: set[tuple[str, str]] = set()
        for prop in mapper.relationships if mapper else ():
            if prop.viewonly:
                continue
            words, over = odd_relationship(prop), self._over(prop)
            if over and not is_up(prop) and (words or prop.passive_deletes != "all"):
                if over in found:
                    words = f"{prop} and {found[over]} write the same key"
                if words:
                    hidden.update((over[0], column) for column, _ in over[1])
                found[over] = prop
            if words:
                self.not_known(f"{words}; what it does is not foreseen.")
        return found, hidden

    def _members(self, above: Part, lists: set[str]) -> list[InstanceState]:
        """The objects of these rows of which some lists are loaded."""
        if not above.path:
            return [self.root]
        held = self._held[above.mapper] if above.mapper else []
        found = [state for state in held if lists & state.dict.keys()]
        if len(found) > _KEYS:
            name = above.mapper.class_.__name__
            self.not_known(f"More than {_KEYS} objects of {name} have loaded lists.")
            self.parts[0].lost = True
        if not 0 < len(found) <= _KEYS:
            return []
        keys = [tuple(state.key[1]) for state in found]
        table = self._table(above.table)
        there = self._asked.keys(table, above.where, above.mapper, keys)
        return [state for state in found if tuple(state.key[1]) in there]

    def _shares(
        self,
        above: Part,
        key: Key,
        prop: RelationshipProperty | None,
        members: list[InstanceState],
    ) -> Iterator[Part]:
        """Of the rows that point by one key: the Session's share, and the database's."""
        holders = [m for m in members if prop is not None and prop.key in m.dict]
        mine = self._pointing(key, above, holders) if holders else None
        every = self._pointing(key, above, [] if above.path else [self.root])
        if holders:
            rows, my_rows = self._compare(key, prop, holders, every, mine)
        else:
            (rows,), my_rows = self._asked.count(self._table(key.table), every), 0
        if prop is not None and not prop.passive_deletes:
            self._note_loads(above, prop, len(holders), rows - my_rows)
            mine, my_rows = every, rows
        if my_rows:
            yield self._by_session(above, key, prop, mine, my_rows)
        if rows > my_rows:
            where = and_(every, not_(mine)) if my_rows else every
            yield from self._by_database(above, key, where, rows - my_rows)

    def _compare(
        self,
        key: Key,
        prop: RelationshipProperty,
        holders: list[InstanceState],
        every: ColumnElement[bool],
        mine: ColumnElement[bool],
    ) -> tuple[int, int]:
        """Count the rows that point, and those that belong in loaded lists; are they in them?"""
        objects = [
            inspect(item)
            for holder in holders
            for item in holder.attrs[prop.key].history.non_deleted()
            if item is not None
        ]
        among = {"in_loaded_lists": mine}
        if 0 < len(objects) <= _KEYS:
            among["and_loaded"] = and_(mine, self._with_keys(key.table, objects))
        counts = self._asked.count(self._table(key.table), every, **among)
        if len(objects) > _KEYS:
            self.not_known(
                f"Of the {len(objects)} objects in {prop} only the number was compared."
            )
        if any(number != len(objects) for number in counts[1:]):
            self.not_known(
                f"{prop} is not up to date: {plural(len(objects), 'object')} in loaded lists, "
                f"{plural(counts[1], 'row')} in the database, {counts[-1]} in both."
            )
        if any(state.expired_attributes for state in objects):
            name = prop.mapper.class_.__name__
            self.not_known(
                f"How expired objects of {name} are read again is not foreseen."
            )
        return counts[0], counts[1]

    def _note_loads(
        self, above: Part, prop: RelationshipProperty, loaded: int, rows: int
    ) -> None:
        """Count the SELECTs by which the Session loads the lists that are not loaded."""
        self.selects += above.rows - loaded
        states = self._held[above.mapper] if above.path else [self.root]
        if any(state.load_options and prop.key not in state.dict for state in states):
            name = above.mapper.class_.__name__
            self.not_known(
                f"{name} was read with loader options, which may change what is loaded."
            )
        if rows and (words := brings_more(prop.mapper)):
            self.not_known(f"{words}; what the Session loads is not foreseen.")

    def _by_session(
        self,
        above: Part,
        key: Key,
        prop: RelationshipProperty,
        where: ColumnElement[bool],
        rows: int,
    ) -> Part:
        what, why, refusal = DELETED, f"delete cascade of {prop}", ""
        if not prop.cascade.delete:
            what, why = SET_NULL, f"{prop} has no delete cascade"
            if {c.name for c in prop.mapper.primary_key}.intersection(key.columns):
                refusal = "primary key"
            elif self._catalogue.required(key.table, key.columns):
                refusal = "not null"
        if refusal:
            what, why = REFUSED, f"{why}, and {key} cannot be NULL"
        path = (*above.path, above)
        return Part(
            *(key.table, where, rows, what, SESSION, why, key, path),
            mapper=prop.mapper,
            refusal=refusal,
        )

    def _by_database(
        self, above: Part, key: Key, where: ColumnElement[bool], rows: int
    ) -> Iterator[Part]:
        who, rule, refusal = DATABASE, self._catalogue.rule(key), ""
        why = f"{key}: ON DELETE {key.rule}"
        if not self._catalogue.enforced or key.rule == "no key":
            what, who = LEFT, NOBODY
            off = (
                "no foreign key"
                if key.rule == "no key"
                else "PRAGMA foreign_keys is off"
            )
            why = f"{key}: {off}"
        elif rule == "CASCADE":
            what = DELETED
        elif rule == "SET NULL":
            what = SET_NULL
            if self._catalogue.required(key.table, key.columns):
                what, refusal, why = REFUSED, "not null", f"{why}, but NOT NULL"
        elif rule:
            what, refusal = REFUSED, "foreign key"
        else:
            self.not_known(
                f"{plural(rows, 'row')} of {key.table}: {why} is not foreseen."
            )
            return
        path = (*above.path, above)
        yield Part(key.table, where, rows, what, who, why, key, path, refusal=refusal)

    # rows that are reached by two keys

    def _keep(self, part: Part) -> bool:
        """Keep what is left of a part when the rows that others took first are taken out."""
        for other in self.parts:
            to_itself = part.key.table == part.key.parent and other.key is None
            if other.table != part.table or other.key == part.key or to_itself:
                continue
            both = and_(part.where, other.where)
            (rows,) = self._asked.count(self._table(part.table), both)
            if rows and self._comes_first(other, part):
                # not not_(): a condition on a key that is NULL is neither true nor false
                part.where = and_(part.where, other.where.is_not(true()))
                part.rows -= rows
            elif rows:
                other.lost = part.lost = True
                self.not_known(
                    f"{plural(rows, 'row')} of {part.table}: reached by {other.key or 'the delete itself'}"
                    f" and by {part.key}; what comes first is not foreseen."
                )
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
        cause = part.cause.mapper
        above = [before.mapper for before in other.path]
        return other.who == SESSION and cause in above and cause is not other.mapper
