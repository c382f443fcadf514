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
    TypeDecorator,
    Uuid,
)
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper, RelationshipProperty

from ..errors import _todo
from .cures import key_code, quoted, relationship_code, typed
from .finding import OTHER, Finding, found
from .reading import (
    MANY_TO_ONE,
    Key,
    Mapping,
    is_unique,
    led_by,
    sort_key,
    target_of,
    uniques,
)

_TEXTS = ("string", "text", "unicode", "unicode_text", "VARCHAR", "CHAR", "TEXT")


def one_for_many(mapping: Mapping) -> Iterator[Finding]:
    """One object where the table takes many, and a list where it takes one."""
    for prop in mapping.lists:
        key = mapping.keys.get(prop)
        if key is None or prop.uselist != (unique := is_unique(key.columns)):
            continue
        child, names = target_of(prop), mapping.names(key.columns)
        code = relationship_code(prop).partition(" = ")[2]
        if unique:
            what = (
                f"{{here}} is a list, and {names} is unique: a second {{child}} of the same {{parent}} "
                "is refused."
            )
            cure = f'{prop.key}: Mapped["{child} | None"] = {code}  # one, or take unique away'
            yield found("many-for-one", prop, what, cure)
        elif prop.parent.common_parent(prop.mapper) and not prop._reverse_property:
            what = (
                f"{{here}} leads from {{a_child}} to one whose {names} points at it: the key is "
                "written into the other row. A way up to the parent wants remote_side."
            )
            up = mapping.name(prop.synchronize_pairs[0][0])
            cure = relationship_code(prop, remote_side=up)
            yield found("one-for-many", prop, what, cure, lesson=OTHER)
        else:
            what = (
                "{here} holds one {child} or None, and the table takes many: a second one pushes "
                "the first one out, and rows that are there already give a warning and one of them."
            )
            cure = f'{prop.key}: Mapped[list["{child}"]] = {code}  # many\n{_one_code(key)}  # or one'
            # `courses` means a list; `course` or `address` means one, and only the table takes more
            name = prop.key.replace("_", "").lower()
            many = name.endswith("s") and not name.endswith(child.lower())
            level = "surprises" if many else "style"
            yield found("one-for-many", prop, what, cure, level)


def _one_code(key: Key) -> str:
    if len(key.columns) == 1:
        return key_code(key, unique=True)
    names = quoted(column.name for column in key.columns)
    return f"__table_args__ = (UniqueConstraint({names[1:-1]}),)"


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
        if any(all(p.post_update for p in both) for both in (props, back)):
            continue
        may_wait = (
            p
            for p in (*props, *back)
            if p.direction is MANY_TO_ONE and not mapping.keys[p].required
        )
        what = (
            f"{child.class_.__name__} and {parent.class_.__name__} can point at each other, and then "
            "neither can be saved first: new ones in one flush end in CircularDependencyError."
        )
        cure = relationship_code(next(may_wait, props[0]), post_update=True)
        yield found("each-other-first", f"{props[0]}, {back[0]}", what, cure)


def targets_fit(mapping: Mapping) -> Iterator[Finding]:
    """Keys that point at no table, at what is not unique, or at another type."""
    for constraint in mapping.constraints:
        where = mapping.names(constraint.columns)
        try:
            targets = [element.column for element in constraint.elements]
        except NoReferenceError as error:
            what = (
                f"The key points at {constraint.elements[0].target_fullname}, which no class or table "
                "of this Base has, so no table can be created."
            )
            yield found("key-to-nowhere", where, what, f"# {_todo(error)}")
            continue
        if {c.name for c in targets} not in uniques(targets[0].table, partial=False):
            what = (
                f"The key points at {mapping.names(targets)}, which is not unique by itself: PostgreSQL "
                "does not create the table, and SQLite refuses the first insert."
            )
            yield found("key-to-no-unique", where, what, _unique_code(targets))
        for column, target in zip(constraint.columns, targets, strict=True):
            mine, theirs = _family(column), _family(target)
            if mine and theirs and mine != theirs:
                what = (
                    f"The key holds {mine} and points at {mapping.name(target)}, which holds {theirs}: "
                    "PostgreSQL does not create the table."
                )
                cure = typed(target, column.nullable).replace(target.key, column.key, 1)
                cure += (
                    f' = mapped_column(ForeignKey("{target.table.name}.{target.name}"))'
                )
                yield found("key-of-another-type", mapping.name(column), what, cure)


def _unique_code(targets: list[Column]) -> str:
    names = {column.name for column in targets}
    whole = targets[0].table.primary_key.columns
    if names < {column.name for column in whole}:
        there = quoted(f"{column.table.name}.{column.name}" for column in whole)
        return f"ForeignKeyConstraint([...], {there})"
    if len(targets) == 1:
        return f"{typed(targets[0])} = mapped_column(unique=True)"
    return (
        f"__table_args__ = (UniqueConstraint({', '.join(map(repr, sorted(names)))}),)"
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
    is_text = isinstance(kind, String) and type(kind).__visit_name__ in _TEXTS
    return "text" if is_text else ""


def not_indexed(mapping: Mapping) -> Iterator[Finding]:
    """Foreign keys that no index begins with, in the class or, if there is one, in the database."""
    for constraint in mapping.constraints:
        names = {column.name for column in constraint.columns}
        table, where = constraint.table, mapping.names(constraint.columns)
        declared = bool(names & led_by(table))
        there = mapping.database.led(table) if mapping.database else None
        if declared if there is None else names & there:
            continue
        what, cure = f"{where} has no index", _index_code(mapping, constraint)
        if declared:
            owners = (m for m in mapping.mappers if m.local_table is table)
            owner = next((f"{m.class_.__name__}.__table__" for m in owners), table.name)
            cure = f"for index in {owner}.indexes:\n    index.create(engine, checkfirst=True)"
            what = (
                f"The class declares an index on {where}, and the table in the database has none "
                "(create_all adds nothing to a table that exists)"
            )
        what += (
            ": the database reads the whole table to find the children of a parent, and at each "
            "delete of a parent."
        )
        yield found("no-index", where, what, cure)


def _index_code(mapping: Mapping, constraint: ForeignKeyConstraint) -> str:
    table, columns = constraint.table, list(constraint.columns)
    name = f"ix_{table.name}_{'_'.join(column.name for column in columns)}"
    if not mapping.has_class(table):
        return f'Index("{name}", {table.name}.c.{columns[0].key})'
    if len(columns) == 1:
        return key_code(constraint, index=True)
    many = quoted(column.name for column in columns)[1:-1]
    return f'__table_args__ = (Index("{name}", {many}),)'
