"""Writes relationships and keys as code, with what a cure changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint
from sqlalchemy.orm import RelationshipProperty

from .reading import MANY_TO_ONE, Key, target_of, uniques

OWNED = "all, delete-orphan"


def relationship_code(
    prop: RelationshipProperty, drop: tuple[str, ...] = (), **options: Any
) -> str:
    """`courses: Mapped[list["Course"]] = relationship(...)` with some options set or dropped."""
    now: dict[str, Any] = {}
    if prop.back_populates and prop.backref is None:
        now["back_populates"] = prop.back_populates
    if set(prop.cascade) != {"save-update", "merge"} and not prop.viewonly:
        now["cascade"] = cascade_of(prop)
    if prop.passive_deletes:
        now["passive_deletes"] = prop.passive_deletes
    now |= options
    order = sorted(now.keys() - {*drop}, key=lambda name: (name == "viewonly", name))
    written = [
        f'{k}="{now[k]}"' if isinstance(now[k], str) else f"{k}={now[k]}" for k in order
    ]
    arguments = prop._init_args
    said = ("primaryjoin", "secondary", "order_by", "foreign_keys", "remote_side")
    given = (getattr(arguments, name).argument for name in said)
    more = any(value is not None and value is not False for value in given)
    more = more or prop.lazy not in ("select", True, "write_only", "dynamic")
    return f"{annotated(prop)} = relationship({', '.join(['...'] * more + written)})"


def cascade_of(prop: RelationshipProperty) -> str:
    """The cascade as it is written, `all` where it says that."""
    words = set(prop.cascade)
    every = {"save-update", "merge", "refresh-expire", "expunge", "delete"}
    rest = sorted(words - every)
    return ", ".join(["all", *rest] if every <= words else sorted(words))


def annotated(prop: RelationshipProperty) -> str:
    """`courses: Mapped[list["Course"]]`; of a collection of another kind, only its name."""
    name = target_of(prop)
    if prop.lazy == "write_only":
        return f'{prop.key}: WriteOnlyMapped["{name}"]'
    if prop.lazy == "dynamic":
        return f'{prop.key}: DynamicMapped["{name}"]'
    if not prop.uselist:
        required = prop.direction is MANY_TO_ONE and not any(
            child.nullable for _, child in prop.synchronize_pairs
        )
        return f'{prop.key}: Mapped["{name}{"" if required else " | None"}"]'
    made = prop.collection_class
    kind = made.__name__ if made in (list, set) else "list"
    if made is None or made in (list, set):
        return f'{prop.key}: Mapped[{kind}["{name}"]]'
    return prop.key


def key_code(key: Key | ForeignKeyConstraint, **options: Any) -> str:
    """`program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))` with another rule."""
    constraint = key.constraint if isinstance(key, Key) else key
    if constraint is None:
        return f"{key.columns[0].key} = mapped_column(ForeignKey(...))"
    rule = options.pop("ondelete", constraint.ondelete)
    rule = f', ondelete="{rule}"' if rule else ""
    targets = [element.target_fullname for element in constraint.elements]
    columns = list(constraint.columns)
    if len(columns) > 1:
        return f"ForeignKeyConstraint({quoted(c.name for c in columns)}, {quoted(targets)}{rule})"
    column = columns[0]
    more = {"primary_key": True} if column.primary_key else {}
    if not column.primary_key and {column.name} in uniques(column.table, False):
        more["unique"] = True
    if column.index and "index" not in options:
        more["index"] = True
    words = "".join(f", {k}={v}" for k, v in (more | options).items())
    return f'{typed(column)} = mapped_column(ForeignKey("{targets[0]}"{rule}){words})'


def typed(column: Column, nullable: bool | None = None) -> str:
    """`program_id: Mapped[int | None]`; `nullable` changes what it is."""
    try:
        python = column.type.python_type.__name__
    except NotImplementedError:
        return column.key
    nullable = column.nullable if nullable is None else nullable
    return f"{column.key}: Mapped[{python}{' | None' if nullable else ''}]"


def quoted(names: Iterable[str]) -> str:
    """`["year", "program"]`."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
