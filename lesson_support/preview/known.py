"""What is foreseen, and what is not: each of these returns the reason in words, or ""."""

from __future__ import annotations

from sqlalchemy import Table, and_
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
    Session,
)

_EAGER = ("joined", False, "selectin", "subquery", "immediate")
_SESSION_EVENTS = (
    *("do_orm_execute", "before_flush", "after_flush", "after_flush_postexec"),
    "before_commit",
)
_CLASS_EVENTS = ("before_delete", "after_delete", "before_update", "after_update")


def is_up(prop: RelationshipProperty) -> bool:
    """Whether a relationship leads from the many side to the one side."""
    return prop.direction is RelationshipDirection.MANYTOONE


def is_expired(state: InstanceState) -> bool:
    """Whether columns of an object are read again before they are used."""
    return not state.expired_attributes.isdisjoint(state.mapper.column_attrs.keys())


def odd_class(mapper: Mapper) -> str:
    """Why it is not foreseen what becomes of the rows of a class."""
    name = mapper.class_.__name__
    alone = list(mapper.self_and_descendants) == [mapper] and mapper.inherits is None
    if not alone or not isinstance(mapper.local_table, Table):
        return f"{name} has several tables or subclasses"
    if mapper.version_id_col is not None:
        return f"{name} has a version counter"
    return "" if mapper.batch else f"{name} is mapped with batch=False"


def odd_relationship(prop: RelationshipProperty) -> str:
    """Why it is not foreseen what a relationship does when an object that has it is deleted."""
    if prop.post_update:
        return f"{prop} has post_update=True"
    if is_up(prop):
        deletes = prop.cascade.delete or prop.cascade.delete_orphan
        return f"{prop} has a delete cascade on the many side" if deletes else ""
    if prop.secondary is not None:
        return f"{prop} has a secondary table"
    if prop.lazy in ("dynamic", "noload"):
        return f'{prop} has lazy="{prop.lazy}"'
    if prop.lazy == "write_only" and not prop.passive_deletes:
        return f'{prop} has lazy="write_only" without passive_deletes'
    pairs = [parent == child for parent, child in prop.synchronize_pairs]
    if not pairs or not prop.primaryjoin.compare(and_(*pairs)):
        return f"{prop} has a primaryjoin of its own"
    return odd_class(prop.mapper)


def brings_more(mapper: Mapper) -> str:
    """Why a SELECT that loads objects of a class may bring others, or take more SELECTs."""
    for prop in mapper.relationships:
        by_join = is_up(prop) and prop.lazy in ("joined", False)
        others = (p.lazy in _EAGER for p in prop.mapper.relationships)
        if prop.lazy in _EAGER and not (by_join and not any(others)):
            return f'{prop} is loaded with each {mapper.class_.__name__} (lazy="{prop.lazy}")'
    return ""


def listening(session: Session, mappers: list[Mapper]) -> list[str]:
    """What listens to the Session or to these classes, and may do more."""
    places = {"of the Session": (session, _SESSION_EVENTS)}
    places |= {f"of {m.class_.__name__}": (m, _CLASS_EVENTS) for m in mappers}
    found = [
        f"{name} {where}"
        for where, (target, names) in places.items()
        for name in names
        if getattr(target.dispatch, name)
    ]
    if type(session).delete is not Session.delete:
        found.append(f"a delete() of {type(session).__name__}")
    return found


def pending(session: Session) -> list[str]:
    """What the Session has not sent yet."""
    kinds = {"new": session.new, "changed": session.dirty}
    kinds["marked for deletion"] = session.deleted
    return [f"{len(found)} {word}" for word, found in kinds.items() if found]
