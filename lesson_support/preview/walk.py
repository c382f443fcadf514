"""What `session.delete` and the flush reach: by the mapping, and by what is loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import FromClause, Table, inspect
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
    Session,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression

from . import rows as sets
from .catalogue import Catalogue
from .rows import Asked, Rows, both, either, keyed, pointing, without

_LEVELS = 25
_EAGER = ("joined", False, "selectin", "subquery", "immediate")


@dataclass(eq=False)
class Group:
    """Rows of one class that the Session reaches along one path of relationships.

    `states` are those that it reaches through loaded lists; `rest`, if any, are rows that it would
    have to load. `rows` are all of them.
    """

    mapper: Mapper
    rows: Rows
    states: list[InstanceState]
    rest: Rows | None
    level: int = 0
    path: tuple[Mapper, ...] = ()
    via: RelationshipProperty | None = None
    sideways: bool = False  # whether a many-to-one is on the path
    count: int | None = None


class Held(NamedTuple):
    """Loaded lists, to be compared with the database.

    They hold so many objects; `pointing` are the rows that belong in them, `both` those of these
    that are in them.
    """

    via: RelationshipProperty
    table: str
    objects: int
    pointing: Rows
    both: Rows | None


class Walk:
    """Follows the mapping from the object down, as `session.delete` and the flush do."""

    def __init__(
        self,
        session: Session,
        root: InstanceState,
        asked: Asked,
        catalogue: Catalogue,
    ) -> None:
        self._session, self._asked, self._catalogue = session, asked, catalogue
        self.root = root
        self.deletes: dict[Mapper, list[Group]] = defaultdict(list)
        self.nulls: dict[tuple[Mapper, tuple[str, ...]], list[Group]] = defaultdict(
            list
        )
        self.links: dict[RelationshipProperty, list[Rows]] = defaultdict(list)
        self.held: list[Held] = []
        # the keys by which no row below a group is left to the database
        self.whole: set[tuple[int, str, frozenset[str]]] = set()
        # the loaded lists by relationship; the others cost a SELECT each, if it is in `loading`
        self.loaded: dict[RelationshipProperty, set[InstanceState]] = defaultdict(set)
        self.loading: dict[RelationshipProperty, set[Mapper]] = defaultdict(set)
        self.expired: set[InstanceState] = set()
        self.fetched: dict[Mapper, set[InstanceState]] = {}
        self.unknown: list[str] = []
        self.countable = True  # whether the number of statements can be told
        self._found: dict[int, set[InstanceState]] = {}
        self.members: dict[Mapper, list[InstanceState]] = defaultdict(list)
        for member in session.identity_map.all_states():
            self.members[member.mapper].append(member)
        self._walk()

    def not_foreseen(self, sentence: str, countable: bool = False) -> None:
        if sentence not in self.unknown:
            self.unknown.append(sentence)
        self.countable = self.countable and countable

    def _table(self, mapper: Mapper) -> FromClause:
        return self._catalogue.tables[self._catalogue.name(mapper.local_table)]

    def _walk(self) -> None:
        mapper = self.root.mapper
        if not _plain(mapper, root=True):
            self.not_foreseen(_not_plain(mapper))
            return
        rows = keyed(self._table(mapper), mapper, [tuple(self.root.key[1])])
        todo = [Group(mapper, rows, [self.root], None, path=(mapper,))]
        while todo:
            group = todo.pop(0)
            if group.mapper in group.path[:-1] and not self._goes_on(group):
                continue
            group.rows = self._catalogue.named(group.rows, group.mapper)
            self.deletes[group.mapper].append(group)
            self._touch(group.states)
            self._look_at_loads(group)
            for prop in group.mapper.relationships:
                if not prop.viewonly and self._foreseen(prop, group):
                    todo += filter(None, [self._follow(prop, group)])

    def _look_at_loads(self, group: Group) -> None:
        """Say where the SELECTs that the Session sends for these rows may be others or more."""
        name = group.mapper.class_.__name__
        if group.rest is not None and _loads_more(group.mapper, set()):
            self.not_foreseen(
                f"{name} has a list or parent that is loaded with it (lazy=...); the number of "
                "SELECTs is not foreseen."
            )
        unloaded = {
            r.key
            for r in group.mapper.relationships
            if not (r.viewonly or r.passive_deletes or is_up(r))
        }
        if any(s.load_options and unloaded - s.dict.keys() for s in group.states):
            self.not_foreseen(
                f"{name} was read with loader options; they may change what is loaded for the delete."
            )

    def _goes_on(self, group: Group) -> bool:
        """Whether a class that is met again, as in a tree, has rows on this level as well."""
        if group.level > _LEVELS or (group.sideways and group.level > 6):
            self.not_foreseen(
                f"{group.mapper.class_.__name__}: below level {group.level - 1} was not looked."
            )
            return False
        if group.sideways:
            earlier = [known.rows for known in self.deletes[group.mapper]]
            group.rows = without(group.rows, *earlier)
            group.rest = without(group.rest, *earlier)
        group.count = self._asked.count({0: group.rows})[0]
        return bool(group.count or (group.states and not group.sideways))

    def _touch(self, states: Iterable[InstanceState]) -> None:
        """Note which objects are expired: each is read once more before it is deleted or changed."""
        for state in states:
            if state.session is not self._session:
                self.not_foreseen(
                    f"A loaded list holds an object of {state.mapper.class_.__name__} that is not "
                    "in this Session; what becomes of it is not counted."
                )
            keys = {
                state.mapper.get_property_by_column(c).key
                for c in state.mapper.primary_key
            }
            if state.expired_attributes & keys:
                self.expired.add(state)
            elif state.expired_attributes & _key_names(state.mapper):
                self.not_foreseen(
                    f"A key of {state.mapper.class_.__name__} is expired; the SELECT that may read "
                    "it again is not foreseen."
                )

    def _foreseen(self, prop: RelationshipProperty, group: Group) -> bool:
        """Whether this relationship is of a kind that is followed; if it is not, that is said."""
        cascades = prop.cascade.delete or prop.cascade.delete_orphan
        if is_up(prop) and not cascades and not prop.post_update:
            return False
        left = prop.passive_deletes == "all" and prop.secondary is None
        if left and not is_up(prop) and not prop.post_update:
            return False
        why = ""
        if not _plain(prop.mapper):
            self.not_foreseen(_not_plain(prop.mapper))
            return False
        if prop.post_update:
            why = "post_update=True"
        elif _more_than_a_key(prop):
            why = "a primaryjoin of its own"
        elif prop.secondary is not None and cascades:
            why = "a delete cascade over a secondary table"
        elif is_up(prop) and (prop.passive_deletes or prop.mapper is prop.parent):
            why = "a delete cascade on the many side of this kind"
        elif prop.secondary is not None and prop.mapper.isa(prop.parent):
            why = "a secondary table between rows of one class"
        elif prop.lazy == "write_only" and not prop.passive_deletes:
            why = 'lazy="write_only" without passive_deletes=True'
        elif prop.lazy in ("dynamic", "noload"):
            why = f'lazy="{prop.lazy}"'
        elif prop.lazy in _EAGER and prop.passive_deletes and group.rest is not None:
            why = f'lazy="{prop.lazy}" with passive_deletes, below the first level'
        if why:
            self.not_foreseen(f"{prop} has {why}; what it does is not foreseen.")
        return not why

    def _follow(self, prop: RelationshipProperty, group: Group) -> Group | None:
        """Note what a relationship does to the rows below a group; return those to be deleted."""
        if is_up(prop):
            return self._follow_up(prop, group)
        loaded, found, unloaded = self._split(prop, group)
        self.loaded[prop].update(loaded, found)
        if not prop.passive_deletes:
            self.loading[prop].add(group.mapper)
        parents = None if prop.passive_deletes else unloaded
        holders = [*loaded, *found]
        states = [item for state in holders for item in _items(state, prop)]
        ours, theirs = columns_of(prop)
        below = prop.mapper.local_table if prop.secondary is None else prop.secondary
        name = self._catalogue.name(below)
        here = self._catalogue.tables[name]
        if not holders and not prop.passive_deletes:
            self.whole.add((id(group), name, frozenset(theirs)))
        rest = exact = None
        if parents is not None:
            rest = pointing(here, theirs, parents, ours)
        if states:
            holding = self._rows_of(group, holders, prop)
            exact = belonging = pointing(here, theirs, holding, ours)
            in_both = None
            if prop.secondary is None and len(states) <= sets.KEYS:
                exact = keyed(here, prop.mapper, [tuple(s.key[1]) for s in states])
                in_both = both(exact, belonging)
            self.held.append(Held(prop, name, len(states), belonging, in_both))
        rows = either(exact, rest)
        if rows is None:
            return None
        if prop.secondary is not None:
            self.links[prop].append(rows)
            return None
        children = Group(
            prop.mapper,
            rows,
            states,
            rest,
            group.level + 1,
            (*group.path, prop.mapper),
            prop,
            group.sideways,
        )
        if prop.cascade.delete:
            return children
        self._touch(states)
        self._look_at_loads(replace(children, states=[]))
        still = [s for s in states if _has_key(s, theirs)]
        if len(still) < len(states) <= sets.KEYS:
            exact = keyed(here, prop.mapper, [tuple(s.key[1]) for s in still])
            children.rows, children.states = either(exact, rest), still
        if children.rows is not None:
            self.nulls[prop.mapper, theirs].append(children)
        return None

    def _follow_up(self, prop: RelationshipProperty, group: Group) -> Group:
        """A delete cascade on the many side: the parent goes with its child."""
        ours, theirs = columns_of(prop)
        rows = pointing(self._table(prop.mapper), theirs, group.rows, ours)
        self.fetched.setdefault(prop.mapper, set())
        above = Group(
            prop.mapper,
            rows,
            [],
            rows,
            group.level + 1,
            (*group.path, prop.mapper),
            prop,
            sideways=True,
        )
        members = self.members[prop.mapper]
        keys = self._asked.keys(
            rows, prop.mapper, [tuple(member.key[1]) for member in members]
        )
        known = {m for m in members if tuple(m.key[1]) in keys}
        self.fetched[prop.mapper] |= known
        self._touch(known)
        return above

    def _split(
        self, prop: RelationshipProperty, group: Group
    ) -> tuple[list[InstanceState], list[InstanceState], Rows | None]:
        """The members of a group whose list is loaded, reached or found, and the rows of the others."""
        loaded = [s for s in group.states if prop.key in s.dict]
        missing = [s for s in group.states if prop.key not in s.dict]
        found = [s for s in self._find(group) if prop.key in s.dict]
        if len(found) > sets.KEYS or (
            loaded and missing and len(group.states) > sets.KEYS
        ):
            self.not_foreseen(
                f"More than {sets.KEYS} lists {prop} are loaded and others are not; that is not foreseen."
            )
            found = found[: sets.KEYS]
        here = group.rows.table
        if not loaded and not found:
            return loaded, found, group.rows
        exact = None
        if len(missing) <= sets.KEYS:
            exact = keyed(here, group.mapper, [tuple(s.key[1]) for s in missing])
        elif not loaded:
            exact = without(group.rows, group.rest)
        others = keyed(here, group.mapper, [tuple(s.key[1]) for s in found])
        return loaded, found, either(exact, without(group.rest, others))

    def _rows_of(
        self, group: Group, holders: list[InstanceState], prop: RelationshipProperty
    ) -> Rows:
        """The rows of these members of a group."""
        here = group.rows.table
        if group.rest is None and len(holders) == len(group.states):
            return group.rows
        if len(holders) <= sets.KEYS:
            return keyed(here, group.mapper, [tuple(s.key[1]) for s in holders])
        self.not_foreseen(
            f"More than {sets.KEYS} lists {prop} are loaded and others are not; that is not foreseen."
        )
        return group.rows

    def _find(self, group: Group) -> set[InstanceState]:
        """Objects that the Session holds, with lists of their own, among the rows of `rest`."""
        if group.rest is None:
            return set()
        if id(group) not in self._found:
            lists = {
                r.key
                for r in group.mapper.relationships
                if not r.viewonly and not is_up(r)
            }
            reached = set(group.states)
            members = [
                m
                for m in self.members[group.mapper]
                if m not in reached and lists.intersection(m.dict)
            ]
            keys = self._asked.keys(
                group.rest, group.mapper, [tuple(m.key[1]) for m in members]
            )
            self._found[id(group)] = {m for m in members if tuple(m.key[1]) in keys}
        return self._found[id(group)]


def _plain(mapper: Mapper, root: bool = False) -> bool:
    """Whether a class has one table of its own, shared with no class that knows more lists."""
    if not isinstance(mapper.local_table, Table) or len(mapper.tables) != 1:
        return False
    if mapper.inherits is not None and not root:
        return False
    known = set(mapper.relationships)
    others = [m for m in mapper.self_and_descendants if m is not mapper]
    return all(
        m.tables == mapper.tables
        and {r.key for r in m.relationships} <= {r.key for r in known}
        for m in others
    ) and (mapper.version_id_col is None)


def _not_plain(mapper: Mapper) -> str:
    return (
        f"{mapper.class_.__name__} has several tables, subclasses or a version counter; what "
        "becomes of its rows is not foreseen."
    )


def _loads_more(mapper: Mapper, seen: set[Mapper]) -> bool:
    """Whether a SELECT of this class brings others with it; a join does so by itself for free."""
    seen.add(mapper)
    return any(
        prop.lazy in _EAGER
        and (
            prop.lazy not in ("joined", False)
            or not is_up(prop)
            or (prop.mapper not in seen and _loads_more(prop.mapper, seen))
        )
        for prop in mapper.relationships
    )


def own_relationships(mapper: Mapper) -> list[RelationshipProperty]:
    """The relationships of a class with itself, as in a tree."""
    return [r for r in mapper.relationships if r.mapper is mapper and not r.viewonly]


def is_up(prop: RelationshipProperty) -> bool:
    """Whether a relationship leads from the many side to the one side."""
    return prop.direction is RelationshipDirection.MANYTOONE


def columns_of(prop: RelationshipProperty) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the columns on this side of a relationship and on the other."""
    pairs = prop.synchronize_pairs
    ours, theirs = tuple(a.name for a, _ in pairs), tuple(b.name for _, b in pairs)
    if is_up(prop):
        ours, theirs = theirs, ours
    return ours, theirs


def _more_than_a_key(prop: RelationshipProperty) -> bool:
    parts = list(visitors.iterate(prop.primaryjoin))
    equal = [p for p in parts if isinstance(p, BinaryExpression)]
    return (
        any(part.__visit_name__ == "bindparam" for part in parts)
        or any(part.operator is not operators.eq for part in equal)
        or len(equal) != len(prop.synchronize_pairs)
        or prop.target is not prop.mapper.local_table
    )


def _items(state: InstanceState, prop: RelationshipProperty) -> list[InstanceState]:
    """The objects of a loaded list."""
    held = state.attrs[prop.key].history.non_deleted()
    return [inspect(item) for item in held if item is not None]


def _key_names(mapper: Mapper) -> set[str]:
    """The attributes that hold a foreign key of a many-to-one."""
    return {
        mapper.get_property_by_column(c).key
        for prop in mapper.relationships
        if is_up(prop) and not prop.viewonly
        for c in prop.local_columns
    }


def _has_key(state: InstanceState, columns: tuple[str, ...]) -> bool:
    """Whether the object, as it is in memory, points at a parent."""
    table_columns = {c.name: c for c in state.mapper.local_table.columns}
    names = [state.mapper.get_property_by_column(table_columns[n]).key for n in columns]
    return any(state.dict.get(name, True) is not None for name in names)
