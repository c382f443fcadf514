"""What becomes of the rows: by the Session, by the database, and in how many statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from sqlalchemy import and_, exists, or_, select, true
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.sql.elements import ColumnElement

from .._html import plural
from .catalogue import Catalogue, Key
from .rows import Asked, Columns, Rows, both, either, pointing, without
from .walk import Group, Held, Walk, columns_of, is_up, own_relationships

SESSION, DATABASE = "the Session", "the database"


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
    point nowhere, by table, where SQLite does not enforce them. `statements` counts as
    `counting(engine)` does; it is None where it cannot be foreseen. `unknown` names in sentences
    what the figures leave out.
    """

    deleted: dict[tuple[str, str], int] = field(default_factory=dict)
    set_null: dict[tuple[str, str], int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    dangling: dict[str, int] = field(default_factory=dict)
    statements: int | None = 0
    steps: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class _Gone(NamedTuple):
    """Rows that will be deleted, and the classes whose DELETE by the Session is the cause."""

    rows: Rows
    causes: frozenset[Mapper]
    group: Group | None = None


class Line(NamedTuple):
    """A line of the display."""

    table: str
    rows: int
    what: str
    who: str
    why: str


_Step = tuple[str, Any]  # ("save" | "delete", Mapper) or ("process", relationship)
_COMMIT: _Step = ("commit", None)
_SESSION_EVENTS = ("do_orm_execute", "before_flush", "after_flush", "before_commit")
_CLASS_EVENTS = ("before_delete", "after_delete", "before_update", "after_update")


class Outcome:
    """Adds to what the Session does what the database does, and counts the rows of both."""

    def __init__(self, walk: Walk, asked: Asked, catalogue: Catalogue) -> None:
        self._walk, self._asked, self._catalogue = walk, asked, catalogue
        self._facts = DeleteFacts()
        self._lines: list[Line] = []
        self._refused: list[tuple[_Step, Refusal]] = []
        self._several_causes = False
        self._among: list[Key] = []
        self._deletes: dict[str, list[Group]] = defaultdict(list)
        self._nulls: dict[str, dict[tuple, list[Group]]] = defaultdict(dict)
        self._links: dict[str, dict[RelationshipProperty, Rows]] = defaultdict(dict)
        for mapper, groups in walk.deletes.items():
            self._deletes[catalogue.name(mapper.local_table)] += groups
        for (mapper, columns), groups in walk.nulls.items():
            self._nulls[catalogue.name(mapper.local_table)][mapper, columns] = groups
        for prop, rows in walk.links.items():
            self._links[catalogue.name(prop.secondary)][prop] = either(*rows)
        self._gone: dict[str, list[_Gone]] = defaultdict(list)
        for name, groups in self._deletes.items():
            self._gone[name] = [
                _Gone(g.rows, frozenset([g.mapper.base_mapper]), g) for g in groups
            ]
        self._cascaded: dict[str, Rows] = {}
        self._total: dict[str, int] = {}  # how many rows of a table go
        # how many rows each step of the Session is for
        self._changed: dict[_Step, int] = {}
        self._cascade()

    # which rows the database deletes

    def _sources(self, key: Key) -> list[_Gone]:
        """The rows that go and may leave others behind that point at them by this key."""
        columns = frozenset(key.columns)
        return [
            gone
            for gone in self._gone.get(key.parent, ())
            if (id(gone.group), key.table, columns) not in self._walk.whole
        ]

    def _left(self, key: Key) -> Rows | None:
        """The rows that still point by this key at rows that go, after the Session's own work."""
        here = self._catalogue.tables[key.table]
        rows = [
            pointing(here, key.columns, gone.rows, key.referred)
            for gone in self._sources(key)
        ]
        return without(either(*rows), *self._handled(key))

    def _handled(self, key: Key) -> list[Rows]:
        nulled = [
            group.rows
            for (_, columns), groups in self._nulls[key.table].items()
            for group in groups
            if set(columns) & set(key.columns)
        ]
        deleted = [group.rows for group in self._deletes[key.table]]
        return [*deleted, *nulled, *self._links[key.table].values()]

    def _cascade(self) -> None:
        """Find the sets of rows that ON DELETE CASCADE deletes, from the top down."""
        if not self._catalogue.enforced:
            return
        keys = [k for k in self._catalogue.keys if k.rule == "CASCADE"]
        below: dict[str, set[str]] = {}
        before = -1
        while before < sum(map(len, below.values())) + len(below):
            before = sum(map(len, below.values())) + len(below)
            for key in keys:
                if self._sources(key) or key.parent in below:
                    above = below.setdefault(key.table, set())
                    if key.parent != key.table and key.parent in below:
                        above.add(key.parent)
        try:
            order = list(TopologicalSorter(below).static_order())
        except CycleError:
            self._walk.not_foreseen(
                f"{', '.join(sorted(below))} delete each other in a circle by ON DELETE CASCADE; "
                "how far that goes is not foreseen."
            )
            return
        for name in order:
            mine = [k for k in keys if k.table == name]
            own = [k for k in mine if k.parent == name]
            rows = either(*(self._left(key) for key in mine))
            causes = [gone.causes for key in mine for gone in self._sources(key)]
            if rows is not None and own:
                rows = self._closed(rows, own)
            if rows is not None:
                rows = self._cascaded[name] = self._catalogue.named(rows)
                self._gone[name].append(_Gone(rows, frozenset().union(*causes)))

    def _closed(self, seed: Rows, keys: list[Key]) -> Rows:
        """A set of rows with all that is below it in the same table, by a recursive query."""
        if len(keys) > 1:
            self._walk.not_foreseen(
                f"{keys[0].table} points at itself by several keys; what ON DELETE CASCADE "
                "deletes there is not foreseen."
            )
            return seed
        key, here = keys[0], seed.table
        tree = (
            select(*(here.c[name] for name in key.referred))
            .where(seed.where(here.c))
            .cte(f"{key.table}_below".replace(".", "_"), recursive=True)
        )
        next_level = here.alias()

        def below(c: Columns) -> ColumnElement[bool]:
            pairs = zip(key.columns, key.referred, strict=True)
            return and_(*(tree.c[other] == c[name] for name, other in pairs))

        def unhandled(c: Columns) -> list[ColumnElement[bool]]:
            return [rows.where(c).is_not(true()) for rows in self._handled(key)]

        deeper = select(*(next_level.c[name] for name in key.referred))
        tree = tree.union(deeper.where(below(next_level.c), *unhandled(next_level.c)))
        return Rows(
            here,
            lambda c: or_(
                seed.where(c),
                and_(exists().where(below(c)).correlate_except(tree), *unhandled(c)),
            ),
            seed.uses | frozenset(key.columns),
        )

    # counting

    def told(self) -> tuple[DeleteFacts, list[Line]]:
        """Count all sets, table by table, and say what happens."""
        names = [*self._deletes, *self._nulls, *self._links, *self._cascaded]
        while True:  # a key of a table that loses rows leads to the next table
            more = [
                key.table
                for key in self._catalogue.keys
                if self._sources(key) and key.table not in names
            ]
            if not more:
                break
            names += more
        names = list(dict.fromkeys(names))
        for name in names:
            self._count(name)
        root = self._walk.root.mapper
        if (
            root in self._walk.deletes
            and ("delete", root.base_mapper) not in self._changed
        ):
            self._walk.not_foreseen(
                f"The row of this {root.class_.__name__} is no longer in the database."
            )
        self._count_statements()
        self._add_unknown(set(names))
        return self._facts, self._lines

    def _none_above(self, groups: Iterable[Group]) -> bool:
        return all(
            group.path[:-1]
            and self._total.get(self._catalogue.name(group.path[-2].local_table)) == 0
            for group in groups
        )

    def _count(self, name: str) -> None:
        """Count the sets of one table, by one SELECT, and say what happens to them."""
        keys = [
            key
            for key in self._catalogue.keys
            if key.table == name
            and self._sources(key)
            and self._total.get(key.parent) != 0
            and not (key.rule == "CASCADE" and self._catalogue.enforced)
        ]
        held = [lists for lists in self._walk.held if lists.table == name]
        sets = self._sets_of_session(name) | self._sets_of_database(name, keys)
        for lists in held:
            sets["pointing", lists] = lists.pointing
            if lists.both is not None:
                sets["both", lists] = lists.both
        counts = self._asked.count(sets)
        self._total[name] = counts.get("deleted", 0) + counts.get("cascaded", 0)
        self._say_session(name, counts)
        self._say_database(name, keys, counts)
        for lists in held:
            self._compare(lists, counts)

    def _sets_of_session(self, name: str) -> dict[Any, Rows]:
        sets: dict[Any, Rows] = {}
        deletes = self._deletes[name]
        deleted = either(*(group.rows for group in deletes))
        if deletes and not self._none_above(deletes):
            sets["deleted"] = deleted
        for which, groups in self._nulls[name].items():
            if not self._none_above(groups):
                rows = either(*(group.rows for group in groups))
                sets["null", which] = without(rows, deleted)
        if len(self._nulls[name]) > 1:  # a row may lose two parents
            every = [g.rows for groups in self._nulls[name].values() for g in groups]
            sets["unset"] = without(either(*every), deleted)
        for prop, rows in self._links[name].items():
            sets["link", prop] = rows
        for key in self._catalogue.keys if deletes else ():
            if key.table == name and self._order_matters(key):
                at = [
                    pointing(deleted.table, key.columns, gone.rows, key.referred)
                    for gone in self._sources(key)
                ]
                sets["among", key] = both(either(*at), deleted)
        return sets

    def _sets_of_database(self, name: str, keys: list[Key]) -> dict[Any, Rows]:
        sets: dict[Any, Rows] = {}
        cascaded = self._cascaded.get(name)
        above = {
            key.parent
            for key in self._catalogue.keys
            if key.table == name and key.rule == "CASCADE" and self._sources(key)
        }
        if cascaded is not None and any(self._total.get(p) != 0 for p in above):
            sets["cascaded"] = cascaded
        nulled = []
        for key in keys:
            left = without(self._left(key), cascaded)
            if self._sets_null(key):
                nulled.append(left)
                continue
            sets["left", key] = left
            if cascaded is not None:
                sets["twice", key] = both(self._left(key), cascaded)
        if nulled:
            sets["nulled"] = either(*nulled)
        return sets

    def _order_matters(self, key: Key) -> bool:
        """Whether rows that the Session deletes might meet this key before their own DELETE."""
        sources = self._sources(key)
        if not sources or not self._catalogue.enforced:
            return False
        if key.parent == key.table:
            return not self._is_tree(self._deletes[key.table][0].mapper)
        if any(gone.group is None for gone in sources):
            return True
        names = frozenset(key.columns)
        return not any(
            not prop.viewonly
            and prop.secondary is None
            and self._catalogue.name(child.local_table) == key.table
            and frozenset(columns) == names
            for mapper in self._walk.deletes
            for prop in mapper.relationships
            for child, columns in [_child_side(prop)]
        )

    def _is_tree(self, mapper: Mapper) -> bool:
        """Whether a class that points at itself is met as a tree below the object, and only so."""
        own = own_relationships(mapper)
        others = [g for g in self._met(mapper) if g.via and g.via not in own]
        return bool(own) and not others and mapper is self._walk.root.mapper

    def _sets_null(self, key: Key) -> bool:
        return (
            self._catalogue.enforced
            and self._catalogue.rule(key) == "SET NULL"
            and not self._catalogue.required(key.table, key.columns)
        )

    def _say_session(self, name: str, counts: dict) -> None:
        deletes = self._deletes[name]
        if rows := counts.get("deleted", 0):
            self._facts.deleted[name, SESSION] = rows
            ways = ", ".join(dict.fromkeys(str(g.via) for g in deletes if g.via))
            why = f"delete cascade of {ways}" if ways else "session.delete"
            self._lines.append(Line(name, rows, "deleted", SESSION, why))
            for mapper in {group.mapper.base_mapper for group in deletes}:
                self._changed["delete", mapper] = rows
        for what, rows in counts.items():
            if what[0] == "link" and rows:
                self._facts.deleted[name, SESSION] = (
                    self._facts.deleted.get((name, SESSION), 0) + rows
                )
                self._changed["process", what[1]] = rows
                why = f"rows between two lists, of {what[1]}"
                self._lines.append(Line(name, rows, "deleted", SESSION, why))
            if what[0] != "null" or not rows:
                continue
            (mapper, columns), base = what[1], what[1][0].base_mapper
            groups = self._nulls[name][what[1]]
            ways = ", ".join(dict.fromkeys(str(group.via) for group in groups))
            shown = ", ".join(f"{name}.{column}" for column in columns)
            self._changed["save", base] = self._changed.get(("save", base), 0) + rows
            if {c.name for c in mapper.primary_key}.intersection(columns):
                why = (
                    f"{shown} is part of the primary key; {ways} has no delete cascade"
                )
                step = ("process", groups[0].via)
                self._refuse(
                    step, "primary key", name, rows, SESSION, why, "before its UPDATE"
                )
            elif self._catalogue.required(name, columns):
                why = f"{shown} is NOT NULL; {ways} has no delete cascade"
                at = f"at the UPDATE of {name}"
                self._refuse(("save", base), "not null", name, rows, DATABASE, why, at)
            else:
                self._facts.set_null[name, SESSION] = counts.get("unset", rows)
                why = f"{ways} has no delete cascade"
                self._lines.append(Line(name, rows, "set to NULL", SESSION, why))
            if self._catalogue.checks(name, columns):
                self._walk.not_foreseen(
                    f"A CHECK of {name} speaks of {shown}; it may refuse."
                )

    def _say_database(self, name: str, keys: list[Key], counts: dict) -> None:
        if rows := counts.get("cascaded", 0):
            self._facts.deleted[name, DATABASE] = rows
            ways = [
                str(key)
                for key in self._catalogue.keys
                if key.table == name and key.rule == "CASCADE" and self._sources(key)
            ]
            why = f"{', '.join(ways)}: ON DELETE CASCADE"
            self._lines.append(Line(name, rows, "deleted", DATABASE, why))
        if rows := counts.get("nulled", 0):
            self._facts.set_null[name, DATABASE] = rows
            ways = [key for key in keys if self._sets_null(key)]
            why = f"{', '.join(map(str, ways))}: ON DELETE {ways[0].rule}"
            self._lines.append(Line(name, rows, "set to NULL", DATABASE, why))
            if self._catalogue.checks(name, [c for key in ways for c in key.columns]):
                self._walk.not_foreseen(
                    f"A CHECK of {name} speaks of this key; it may refuse."
                )
        for what, rows in counts.items():
            if what[0] == "among" and rows:
                self._among.append(what[1])
        for key in keys:
            if counts.get(("twice", key)):
                self._walk.not_foreseen(
                    f"Rows of {name} are deleted by one key and forbid the delete by {key}; which "
                    "comes first is not foreseen."
                )
            rows = counts.get(("left", key), 0)
            if not rows:
                continue
            rule = self._catalogue.rule(key)
            if not self._catalogue.enforced:
                self._facts.dangling[name] = self._facts.dangling.get(name, 0) + rows
                why = f"{key}: PRAGMA foreign_keys is off"
                self._lines.append(
                    Line(name, rows, "left, with a key to nowhere", "nobody", why)
                )
            elif not rule:
                self._walk.not_foreseen(
                    f"{plural(rows, 'row')} of {name}: ON DELETE {key.rule} with a default of the "
                    "column is not foreseen."
                )
            else:
                self._say_refused(key, rule, rows)

    def _say_refused(self, key: Key, rule: str, rows: int) -> None:
        causes = frozenset().union(*(gone.causes for gone in self._sources(key)))
        self._several_causes = self._several_causes or len(causes) > 1
        cause = min(causes, key=lambda mapper: mapper.class_.__name__)
        at = f"at the DELETE of {self._catalogue.name(cause.local_table)}"
        step: _Step = ("delete", cause)
        if rule == "SET NULL":
            why = f"{key}: ON DELETE {key.rule}, but NOT NULL"
            self._refuse(step, "not null", key.table, rows, DATABASE, why, at)
            return
        if key.deferred:
            step, at = _COMMIT, "at the COMMIT"
        word = "no ON DELETE rule" if rule == "NO ACTION" else f"ON DELETE {rule}"
        self._refuse(
            step, "foreign key", key.table, rows, DATABASE, f"{key}: {word}", at
        )

    def _refuse(
        self, step: _Step, rule: str, name: str, rows: int, who: str, why: str, at: str
    ) -> None:
        refusal = Refusal(rule, name, rows, who, at)
        self._refused.append((step, refusal))
        self._facts.refused.append(refusal)
        self._lines.append(Line(name, rows, f"refused {at}", who, why))

    def _compare(self, held: Held, counts: dict) -> None:
        pointing = counts[("pointing", held)]
        both = counts.get(("both", held), pointing)
        if held.objects == pointing == both:
            return
        exact = held.both is not None
        self._walk.not_foreseen(
            f"{held.via} is not up to date: {plural(held.objects, 'object')} in loaded lists, "
            f"{plural(pointing, 'row')} in the database"
            + (f", {both} in both" if both != min(pointing, held.objects) else "")
            + (
                "; the Session acts on its objects, and the rest is left to the database."
                if exact
                else "; the figures follow the database."
            ),
            countable=exact and both == held.objects,
        )

    # statements

    def _count_statements(self) -> None:
        walk = self._walk
        loads = len(walk.expired)
        for prop, mappers in walk.loading.items():
            rows = sum(self._changed.get(("delete", m.base_mapper), 0) for m in mappers)
            loads += rows - len(walk.loaded[prop])
        for mapper, known in walk.fetched.items():
            groups = walk.deletes.get(mapper, [])
            if any(g.via is not None and not is_up(g.via) for g in groups):
                walk.countable = False
            root = {walk.root} if walk.root.mapper is mapper else set()
            rows = self._changed.get(("delete", mapper.base_mapper), 0)
            loads += rows - len(known | root)
        counts = {self._sent(optional)[0] for optional in (False, True)}
        sent, steps = self._sent(False)
        if len(counts) > 1 or sent is None:
            walk.countable = False
        if self._refused and (self._several_causes or walk.expired - {walk.root}):
            walk.countable = False
        self._check_trees()
        self._check_order(self._order(False))
        loads += self._parent_of_a_tree()
        self._facts.statements = loads + sent if walk.countable else None
        if loads and walk.countable:
            steps.insert(0, f"{plural(loads, 'SELECT')} to load objects")
        self._facts.steps = steps

    def _sent(self, optional: bool) -> tuple[int | None, list[str]]:
        """The statements of the flush, up to the first that is refused, and their names."""
        refused = {step for step, _ in self._refused}
        sent, names = 0, []
        for step in self._order(optional):
            kind, what = step
            rows = self._changed.get(step, 0)
            if step in refused and kind == "process":
                return sent, names
            if not rows:
                continue
            times = self._levels(what) if kind == "delete" else 1
            if kind == "save":
                ways = [
                    key
                    for columns in self._nulls.values()
                    for key in columns
                    if key[0].base_mapper is what
                ]
                if len(ways) > 1:
                    return None, names
            on = what.secondary if kind == "process" else what.local_table
            word = "UPDATE" if kind == "save" else "DELETE"
            sent += times
            again = f" ({times} times)" if times > 1 else ""
            names.append(f"{word} {self._catalogue.name(on)}{again}")
            if step in refused:
                return (None if times > 1 else sent), [*names, "ROLLBACK"]
        return sent, [*names, "ROLLBACK" if refused else "COMMIT"]

    def _levels(self, mapper: Mapper) -> int:
        """A tree is deleted level by level, from the leaves; all else in one go."""
        if not own_relationships(mapper):
            return 1
        groups = [
            g
            for m in mapper.self_and_descendants
            for g in self._walk.deletes.get(m, ())
        ]
        return len({g.level for g in groups if not g.sideways and g.count != 0})

    def _check_trees(self) -> None:
        """Where a class points at itself, the flush works row by row, in an order of its own."""
        for mapper in {what for kind, what in self._changed if kind != "process"}:
            own = own_relationships(mapper)
            if own and (self._refused or not self._is_tree(mapper)):
                self._walk.countable = False

    def _check_order(self, order: list[_Step]) -> None:
        """The Session's DELETE of rows must come before that of the rows they point at."""
        place = {step: number for number, step in enumerate(order)}
        for key in self._among:
            mine = place["delete", self._deletes[key.table][0].mapper.base_mapper]
            causes = {m for gone in self._sources(key) for m in gone.causes}
            if any(place.get(("delete", m), mine + 1) <= mine for m in causes):
                self._walk.not_foreseen(
                    f"{key} points at rows that go as well, and no relationship tells the Session "
                    f"to delete from {key.table} first; the order may not suit the database."
                )

    def _parent_of_a_tree(self) -> int:
        """To sort a tree, the flush looks at the parent of the object: a SELECT if it is not there."""
        root, walk = self._walk.root, self._walk
        mapper = root.mapper
        deleted = self._changed.get(("delete", mapper.base_mapper), 0)
        changed = self._changed.get(("save", mapper.base_mapper), 0)
        if not own_relationships(mapper) or (deleted < 2 and not changed):
            return 0
        loads = 0
        for prop in mapper.relationships:
            if prop.viewonly or not is_up(prop) or prop.key in root.dict:
                continue
            others = [m for m in walk.members[mapper] if m is not root]
            if deleted < 2 and not any(prop.key in m.dict for m in others):
                continue  # it does not sort by the parents of rows that stay
            names = [mapper.get_property_by_column(c).key for c in _local(prop)]
            values = [root.dict.get(name) for name in names]
            if (
                deleted < 2
                or prop.mapper is not mapper
                or any(name not in root.dict for name in names)
            ):
                walk.countable = False
            elif None not in values:
                key = mapper.identity_key_from_primary_key(values)
                loads += key not in root.session.identity_map
        return loads

    def _met(self, mapper: Mapper) -> list[Group]:
        nulls = [
            g for (m, _), gs in self._walk.nulls.items() if m is mapper for g in gs
        ]
        return [*self._walk.deletes.get(mapper, ()), *nulls]

    def _order(self, optional: bool) -> list[_Step]:
        """The order in which the flush works, as it follows from the relationships that take part.

        It is that of `sqlalchemy.orm.unitofwork`: dependencies first, then by name.
        """
        working = {
            m for (kind, m), n in self._changed.items() if kind != "process" and n
        }
        after: dict[_Step, set[_Step]] = {}

        def add(*pairs: tuple[_Step, _Step]) -> None:
            for first, then in pairs:
                after.setdefault(first, set())
                after.setdefault(then, set()).add(first)

        for mapper in working:
            add((("save", mapper), ("delete", mapper)))
            for prop in mapper.relationships:
                if prop.viewonly or prop.mapper.base_mapper is mapper:
                    continue
                takes_part = prop.mapper.base_mapper in working or (
                    self._changed.get(("process", prop))
                )
                if takes_part or (optional and self._may_take_part(prop, mapper)):
                    add(*_dependencies(prop, mapper))
        sorter = TopologicalSorter(after)
        try:
            sorter.prepare()
        except CycleError:
            self._walk.not_foreseen(
                "Classes that depend on each other in a circle take part; the number of statements "
                "is not foreseen."
            )
            return sorted(after, key=_sort_key)
        order = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=_sort_key)
            order += ready
            sorter.done(*ready)
        return order

    def _may_take_part(self, prop: RelationshipProperty, mapper: Mapper) -> bool:
        """Whether objects in memory may draw a class into the order for which nothing is done."""
        members = self._walk.members
        if is_up(prop):
            known = any(members[m] for m in prop.mapper.self_and_descendants)
            return known or any(c.nullable for c in prop.local_columns)
        held = [x for m in mapper.self_and_descendants for x in members[m]]
        return any(prop.key in member.dict for member in held)

    # what is left out

    def _add_unknown(self, names: set[str]) -> None:
        session = self._walk.root.session
        unknown = [*self._catalogue.unknown, *self._walk.unknown]
        pending = [
            f"{len(found)} {word}"
            for word, found in (
                ("new", session.new),
                ("changed", session.dirty),
                ("marked for deletion", session.deleted),
            )
            if found
        ]
        if pending:
            unknown.append(
                f"The Session holds pending changes ({', '.join(pending)}); they are sent first and "
                "are not counted."
            )
        classes = [*self._walk.deletes, *(mapper for mapper, _ in self._walk.nulls)]
        listening = [
            name for name in _SESSION_EVENTS if getattr(session.dispatch, name)
        ]
        listening += [
            f"{name} of {mapper.class_.__name__}"
            for mapper in dict.fromkeys(classes)
            for name in _CLASS_EVENTS
            if getattr(mapper.dispatch, name)
        ]
        if listening:
            unknown.append(
                f"There are listeners, which may do more: {', '.join(listening)}."
            )
        for name in self._catalogue.triggers(names):
            unknown.append(f"{name} has a trigger, which may do more.")
        for name in self._catalogue.outsiders(names):
            unknown.append(
                f"{name} points here from another schema; it was not looked at."
            )
        self._facts.unknown = unknown


def _child_side(prop: RelationshipProperty) -> tuple[Mapper, tuple[str, ...]]:
    """The class that holds the key of a relationship, and the columns of the key."""
    ours, theirs = columns_of(prop)
    return (prop.parent, ours) if is_up(prop) else (prop.mapper, theirs)


def _local(prop: RelationshipProperty) -> list:
    return [b for _, b in prop.synchronize_pairs]


def _dependencies(
    prop: RelationshipProperty, mapper: Mapper
) -> list[tuple[_Step, _Step]]:
    """What must come before what, for one relationship of a class that takes part in a flush."""
    mine, theirs = ("save", mapper), ("save", prop.mapper.base_mapper)
    my_delete, their_delete = ("delete", mapper), ("delete", prop.mapper.base_mapper)
    before, after = ("process", prop), ("after", prop)
    if prop.secondary is not None:
        return [
            (mine, after),
            (theirs, after),
            (after, their_delete),
            (before, mine),
            (before, my_delete),
            (before, their_delete),
            (before, theirs),
        ]
    if is_up(prop):
        return [
            (theirs, after),
            (after, mine),
            (mine, their_delete),
            (my_delete, their_delete),
        ]
    return [
        (mine, after),
        (after, theirs),
        (after, their_delete),
        (theirs, my_delete),
        (their_delete, my_delete),
        (before, theirs),
        (before, their_delete),
    ]


def _sort_key(step: _Step) -> tuple:
    kind, what = step
    if kind in ("process", "after"):
        cls = what.parent.class_
        name = f"{cls.__module__}.{cls.__name__}_{what.key}"
        return ("ProcessAll", name, kind == "process")
    cls = what.class_
    word = "SaveUpdateAll" if kind == "save" else "DeleteAll"
    return (word, f"{cls.__module__}.{cls.__name__}")
