"""One or many, and the keys of the tables: do they fit what they point at, and are they indexed?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper, RelationshipProperty

from ..errors import _todo
from .cures import key_code, quoted, relationship_code, typed
from .finding import ERRORS, MODEL, OTHER, TABLES, Finding
from .reading import (
    MANY_TO_ONE,
    Key,
    Mapping,
    is_unique,
    led_by,
    owner_of,
    sort_key,
    target_of,
    uniques,
    with_article,
)


def one_for_many(mapping: Mapping) -> Iterator[Finding]:
    """One object where the table takes many, and a list where it takes one."""
    for prop in mapping.lists:
        key = mapping.keys.get(prop)
        if key is None:
            continue
        unique, child = is_unique(key.columns), target_of(prop)
        if not prop.uselist and not unique:
            to_itself = (
                prop.parent.common_parent(prop.mapper) and not prop._reverse_property
            )
            target = prop.synchronize_pairs[0][0]
            if to_itself:
                what = (
                    f"{prop} leads from {with_article(child)} to one whose {mapping.names(key.columns)} points at it: "
                    "the key is written into the other row. A way up to the parent wants remote_side."
                )
                cure = relationship_code(prop, remote_side=mapping.name(target))
            else:
                what = (
                    f"{prop} holds one {child} or None, and the table takes many: a second one pushes "
                    "the first one out, and rows that are there already give a warning and one of them."
                )
                parts = relationship_code(prop).partition(" = ")
                cure = (
                    f'{prop.key}: Mapped[list["{child}"]] = {parts[2]}  # many\n'
                    f"{_one_code(key)}  # or one"
                )
            yield Finding(
                "surprises",
                "one-for-many",
                str(prop),
                what,
                cure,
                OTHER if to_itself else MODEL,
            )
        elif prop.uselist and unique:
            parts = relationship_code(prop).partition(" = ")
            yield Finding(
                "surprises",
                "many-for-one",
                str(prop),
                f"{prop} is a list, and {mapping.names(key.columns)} is unique: a second {child} of the "
                f"same {owner_of(prop)} is refused.",
                f'{prop.key}: Mapped["{child} | None"] = {parts[2]}  # one, or take unique away',
                OTHER,
            )


def _one_code(key: Key) -> str:
    if len(key.columns) > 1:
        names = ", ".join(f'"{column.name}"' for column in key.columns)
        return f"__table_args__ = (UniqueConstraint({names}),)"
    return key_code(key, unique=True)


def each_other(mapping: Mapping) -> Iterator[Finding]:
    """Two classes that point at each other, and nothing that lets one of them wait."""
    ways: dict[tuple[Mapper, Mapper], list[RelationshipProperty]] = defaultdict(list)
    for prop in mapping.writing:
        if prop in mapping.keys:
            ends = prop.parent.base_mapper, prop.mapper.base_mapper
            ways[ends if prop.direction is MANY_TO_ONE else ends[::-1]].append(prop)
    for (child, parent), props in ways.items():
        back = ways.get((parent, child), [])
        if child is parent or not back or sort_key(child) > sort_key(parent):
            continue
        if all(p.post_update for p in props) or all(p.post_update for p in back):
            continue
        late = next((p for p in (*props, *back) if _may_wait(mapping, p)), None)
        yield Finding(
            "surprises",
            "each-other-first",
            f"{props[0]}, {back[0]}",
            f"{child.class_.__name__} and {parent.class_.__name__} can point at each other, and then "
            "neither can be saved first: new ones in one flush end in CircularDependencyError.",
            relationship_code(late or props[0], post_update=True),
            OTHER,
        )


def _may_wait(mapping: Mapping, prop: RelationshipProperty) -> bool:
    return prop.direction is MANY_TO_ONE and not mapping.keys[prop].required


def targets_exist(mapping: Mapping) -> Iterator[Finding]:
    """Keys that point at no table, at what is not unique, or at another type."""
    for constraint in mapping.constraints:
        try:
            targets = [element.column for element in constraint.elements]
        except NoReferenceError as error:
            yield Finding(
                "breaks",
                "key-to-nowhere",
                mapping.names(constraint.columns),
                f"The key points at {constraint.elements[0].target_fullname}, which no class or table of "
                "this Base has, so no table can be created.",
                f"# {_todo(error)}",
                ERRORS,
            )
            continue
        yield from _target_fits(mapping, constraint, targets)


def _target_fits(
    mapping: Mapping, constraint: ForeignKeyConstraint, targets: list[Column]
) -> Iterator[Finding]:
    names = {column.name for column in targets}
    where, there = mapping.names(constraint.columns), mapping.names(targets)
    if names not in uniques(targets[0].table, partial=False):
        parts = targets[0].table.primary_key.columns
        cure = (
            f"ForeignKeyConstraint([...], {quoted(f'{c.table.name}.{c.name}' for c in parts)})"
            if names < {column.name for column in parts}
            else f"{typed(targets[0])} = mapped_column(unique=True)"
            if len(targets) == 1
            else f"__table_args__ = (UniqueConstraint({', '.join(map(repr, sorted(names)))}),)"
        )
        yield Finding(
            "breaks",
            "key-to-no-unique",
            where,
            f"The key points at {there}, which is not unique by itself: PostgreSQL does not create the "
            "table, and SQLite refuses the first insert.",
            cure,
            OTHER,
        )
    for column, target in zip(constraint.columns, targets, strict=True):
        mine, theirs = _family(column), _family(target)
        if mine and theirs and mine != theirs:
            yield Finding(
                "breaks",
                "key-of-another-type",
                mapping.name(column),
                f"The key holds {mine} and points at {mapping.name(target)}, which holds {theirs}: "
                "PostgreSQL does not create the table.",
                f"{typed(target, column.nullable).replace(target.key, column.key, 1)} = "
                f'mapped_column(ForeignKey("{target.table.name}.{target.name}"))',
                TABLES,
            )


def _family(column: Column) -> str:
    """What a column holds, in so far as PostgreSQL compares it; "" where that is not known."""
    kind = column.type
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, Integer | Numeric):
        return "numbers"
    if isinstance(kind, Uuid):
        return "UUIDs" if kind.native_uuid else "text"
    return (
        "text"
        if type(kind).__visit_name__ in _TEXTS and isinstance(kind, String)
        else ""
    )


_TEXTS = ("string", "text", "unicode", "unicode_text", "VARCHAR", "CHAR", "TEXT")


def not_indexed(mapping: Mapping) -> Iterator[Finding]:
    """Foreign keys that no index begins with, in the class or, if there is one, in the database."""
    for constraint in mapping.constraints:
        names = {column.name for column in constraint.columns}
        table = constraint.table
        declared = bool(names & led_by(table))
        there = mapping.database.led(table) if mapping.database else None
        if declared if there is None else names & there:
            continue
        where = mapping.names(constraint.columns)
        slow = (
            "the database reads the whole table to find the children of a parent, and at each delete "
            "of a parent."
        )
        if declared:
            yield Finding(
                "style",
                "no-index",
                where,
                f"The class declares an index on {where}, and the table in the database has none "
                f"(create_all adds nothing to a table that exists): {slow}",
                f"for index in {_declared_by(mapping, table)}.indexes:\n"
                "    index.create(engine, checkfirst=True)",
                TABLES,
            )
            continue
        many = ", ".join(f'"{column.name}"' for column in constraint.columns)
        named = "_".join(column.name for column in constraint.columns)
        cure = f'__table_args__ = (Index("ix_{table.name}_{named}", {many}),)'
        if len(constraint.columns) == 1 and mapping.has_class(table):
            cure = key_code(constraint, index=True)
        elif not mapping.has_class(table):
            first = next(iter(constraint.columns))
            cure = f'Index("ix_{table.name}_{named}", {table.name}.c.{first.key})'
        yield Finding(
            "style", "no-index", where, f"{where} has no index: {slow}", cure, TABLES
        )


def _declared_by(mapping: Mapping, table: Table) -> str:
    owners = (m.class_.__name__ for m in mapping.mappers if m.local_table is table)
    name = next(owners, None)
    return f"{name}.__table__" if name else table.name
