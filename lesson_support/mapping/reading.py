"""What is read of a mapping: relationships, the keys that they write, tables and their rules."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper, RelationshipDirection, RelationshipProperty
from sqlalchemy.sql import visitors

if TYPE_CHECKING:
    from .database import Database

ONE_TO_MANY = RelationshipDirection.ONETOMANY
MANY_TO_ONE = RelationshipDirection.MANYTOONE
RULES = ("CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION")
REFUSES = ("", "RESTRICT", "NO ACTION")
_PLAIN = {"binary", "column", "grouping", "clauselist", "expression_clauselist"}


class Key(NamedTuple):
    """The columns of the many side that a relationship writes, and their constraint if they have one."""

    columns: tuple[Column, ...]
    constraint: ForeignKeyConstraint | None
    rule: str | None  # None where it cannot be told

    @property
    def required(self) -> bool:
        """Whether one of the columns is NOT NULL."""
        return not all(column.nullable for column in self.columns)


class Mapping:
    """The relationships and tables of some mappers."""

    database: Database | None = None

    def __init__(self, mappers: Iterable[Mapper]) -> None:
        self.mappers = sorted(
            mappers, key=lambda m: (len(list(m.iterate_to_root())), sort_key(m))
        )
        self.relations: list[RelationshipProperty] = [
            prop
            for mapper in self.mappers
            for prop in mapper.relationships
            if prop.parent is mapper
        ]
        self.relations.sort(key=lambda prop: prop.direction is not ONE_TO_MANY)
        self.writing = [prop for prop in self.relations if not prop.viewonly]
        self.lists = [prop for prop in self.writing if prop.direction is ONE_TO_MANY]

    @cached_property
    def tables(self) -> list[Table]:
        found = {t for mapper in self.mappers for t in mapper.tables}
        found |= {prop.secondary for prop in self.relations}
        return sorted((t for t in found if isinstance(t, Table)), key=lambda t: t.key)

    @cached_property
    def _names(self) -> dict[Column, str]:
        names: dict[Column, str] = {}
        for mapper in self.mappers:
            for attribute in mapper.column_attrs:
                for column in attribute.columns:
                    names.setdefault(
                        column, f"{mapper.class_.__name__}.{attribute.key}"
                    )
        return names

    def has_class(self, table: Table) -> bool:
        """Whether a class is mapped to the table."""
        return any(table in mapper.tables for mapper in self.mappers)

    def name(self, column: Column) -> str:
        """`Course.program_id`, or `listings.program_id` where the table has no class."""
        return self._names.get(column) or f"{column.table.name}.{column.name}"

    def names(self, columns: Iterable[Column]) -> str:
        """Their names, with commas."""
        return ", ".join(map(self.name, columns))

    @cached_property
    def keys(self) -> dict[RelationshipProperty, Key]:
        """The key of each one-to-many and many-to-one between tables."""
        found = {}
        for prop in self.relations:
            if prop.secondary is None:
                columns = tuple(child for _, child in prop.synchronize_pairs)
                if columns and all(
                    isinstance(c, Column) and isinstance(c.table, Table)
                    for c in columns
                ):
                    found[prop] = key_of(columns, prop)
        return found

    @cached_property
    def constraints(self) -> list[ForeignKeyConstraint]:
        """The foreign keys of all tables, in a fixed order; of two over the same columns, one."""
        found = {}
        for table in self.tables:
            for constraint in table.foreign_key_constraints:
                found.setdefault((table.key, *constraint.column_keys), constraint)
        return [found[key] for key in sorted(found)]


def sort_key(mapper: Mapper) -> tuple[str, str]:
    """An order of classes that is the same in every run."""
    return mapper.class_.__name__, mapper.class_.__module__


def key_of(columns: tuple[Column, ...], prop: RelationshipProperty) -> Key:
    """The key over these columns; of two constraints, the one that points where `prop` leads."""
    table = columns[0].table
    parents = {parent for parent, _ in prop.synchronize_pairs}
    over = [
        constraint
        for constraint in table.foreign_key_constraints
        if set(constraint.columns) == set(columns)
    ]
    over.sort(key=lambda c: not parents.issuperset(_targets(c)))
    if over:
        return Key(columns, over[0], rule_of(over[0]))
    # No key at all leaves the database without a word to say; parts of other keys are not judged.
    return Key(columns, None, None if any(c.foreign_keys for c in columns) else "")


def _targets(constraint: ForeignKeyConstraint) -> list[Column]:
    try:
        return [element.column for element in constraint.elements]
    except NoReferenceError:
        return []


def written_rule(constraint: ForeignKeyConstraint) -> str:
    """What `ondelete` says, in capitals; "" where it is not given."""
    return " ".join((constraint.ondelete or "").upper().split())


def rule_of(constraint: ForeignKeyConstraint) -> str | None:
    """The rule in the words of SQL; "" for none, None for what is no rule by itself."""
    rule = written_rule(constraint)
    if rule == "SET DEFAULT" and not any(c.server_default for c in constraint.columns):
        return "SET NULL"  # the default of a column that has none is NULL
    return rule if rule == "" or rule in RULES else None


def uniques(table: Table, partial: bool) -> list[set[str]]:
    """The sets of columns in which no two rows are equal; `partial` counts those with a WHERE."""
    found = [
        {column.name for column in constraint.columns}
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ]
    for index in table.indexes:
        filtered = any(name.endswith("_where") for name in index.dialect_kwargs)
        plain = all(isinstance(e, Column) for e in index.expressions)
        if index.unique and plain and (partial or not filtered):
            found.append({column.name for column in index.columns})
    return [names for names in found if names]


def is_unique(columns: Iterable[Column]) -> bool:
    """Whether no two rows are equal in these columns of one table."""
    names = {column.name for column in columns}
    table = next(iter(columns)).table
    return any(unique <= names for unique in uniques(table, partial=True))


def led_by(table: Table) -> set[str]:
    """The columns that stand first in a primary key, a UNIQUE or an index of the class."""
    keys = (
        list(constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    )
    firsts = [
        parts[0] for parts in (*keys, *(i.expressions for i in table.indexes)) if parts
    ]
    plain = (getattr(first, "element", first) for first in firsts)  # desc() wraps one
    return {first.name for first in plain if isinstance(first, Column)}


def target_of(prop: RelationshipProperty) -> str:
    """The name of the class that a relationship leads to."""
    return prop.mapper.class_.__name__


def owner_of(prop: RelationshipProperty) -> str:
    """The name of the class that has a relationship."""
    return prop.parent.class_.__name__


def is_plain(prop: RelationshipProperty) -> bool:
    """Whether the join is the comparison of the keys, and no more."""
    columns = {c for pair in prop.local_remote_pairs for c in pair}
    parts = {type(part).__visit_name__ for part in visitors.iterate(prop.primaryjoin)}
    seen = {p for p in visitors.iterate(prop.primaryjoin) if isinstance(p, Column)}
    return parts <= _PLAIN and {c._deannotate() for c in seen} <= {
        c._deannotate() for c in columns
    }
