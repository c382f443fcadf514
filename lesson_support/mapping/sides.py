"""Two relationships over one key: do they know each other?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from sqlalchemy import Column
from sqlalchemy.orm import RelationshipProperty

from .cures import annotated, relationship_code
from .finding import MODEL, Finding, found
from .reading import MANY_TO_ONE, Mapping, is_plain


def conflicting(mapping: Mapping) -> Iterator[Finding]:
    """Two relationships that write one column and do not know each other.

    The conditions are those of SQLAlchemy's own warning, which comes once and is soon forgotten:
    https://docs.sqlalchemy.org/en/21/errors.html#error-qzyx
    """
    writers = defaultdict(dict)
    for prop in mapping.writing:
        for _, written in (*prop.synchronize_pairs, *prop.secondary_synchronize_pairs):
            writers[written][prop] = True
    pairs: dict[tuple, list[Column]] = defaultdict(list)
    for column, props in writers.items():
        for one, two in combinations(props, 2):
            if _conflict(one, two):
                pairs[one, two].append(column)
    for (one, two), columns in pairs.items():
        where = f"{one}, {two}"
        what = f"{one} and {two} both write {mapping.names(columns)}, and neither knows of the other: "
        unsure = "where they are set to different objects it is not defined which one is saved."
        if _are_two_ends(one, two):
            what += f"the two disagree until the objects are read again, and {unsure}"
            cure = (
                f"{relationship_code(one, back_populates=two.key)}\n"
                f"{relationship_code(two, back_populates=one.key)}"
            )
            yield found("conflict", where, what, cure, lesson=MODEL)
            continue
        view = max((two, one), key=_is_beside)
        words = ("cascade", "passive_deletes", "back_populates")
        cure = relationship_code(view, words, viewonly=True)
        cure += "  # if it is for reading only"
        if one.direction is MANY_TO_ONE and two.direction is MANY_TO_ONE:
            cure += f"\n{_read_not_written(mapping, view, columns)}"
        yield found("conflict", where, what + unsure, cure)


def _is_beside(prop: RelationshipProperty) -> tuple[bool, bool, bool, int]:
    """How much a relationship looks like a second one, made for reading."""
    return (
        prop.secondary is not None,
        not is_plain(prop),
        not prop._reverse_property,
        len(prop.synchronize_pairs),
    )


def _read_not_written(
    mapping: Mapping, prop: RelationshipProperty, shared: list[Column]
) -> str:
    """A join that compares the shared columns and writes only the others."""
    parts = []
    for parent, child in prop.synchronize_pairs:
        name = mapping.name(child)
        written = name if child in shared else f"foreign({name})"
        parts.append(f"{mapping.name(parent)} == {written}")
    join = f'primaryjoin="and_({", ".join(parts)})"'
    return f"{annotated(prop)} = relationship({join})  # or: the shared column is only compared"


def _conflict(one: RelationshipProperty, two: RelationshipProperty) -> bool:
    said = {*one._overlaps, *two._overlaps}
    ends = (one.parent, one.mapper), (two.parent, two.mapper)
    return not (
        two in one._reverse_property
        or one in two._reverse_property
        or two.key in one._overlaps
        or one.key in two._overlaps
        or "__*" in said
        or any(mine.is_sibling(yours) for mine in ends[0] for yours in ends[1])
        or (one.key == two.key and one.parent.common_parent(two.parent))
    )


def _are_two_ends(one: RelationshipProperty, two: RelationshipProperty) -> bool:
    between_two = one.mapper.common_parent(two.parent) and two.mapper.common_parent(
        one.parent
    )
    if not between_two:
        return False
    mine = set(one.synchronize_pairs)
    if one.secondary is not None or two.secondary is not None:
        same_table = one.secondary is two.secondary
        return same_table and mine == set(two.secondary_synchronize_pairs)
    return (
        one.direction is not two.direction
        and mine == set(two.synchronize_pairs)
        and is_plain(one)
        and is_plain(two)
    )


def half_linked(mapping: Mapping) -> Iterator[Finding]:
    """back_populates on one side only."""
    for prop in mapping.writing:
        other = prop.mapper.relationships.get(prop.back_populates or "")
        if other is None or other.viewonly or other.back_populates == prop.key:
            continue
        what = (
            f"{prop} names {{here}} in back_populates, and {{here}} does not name it back: what is "
            f"set at {{here}} does not reach {prop} until that is read again."
        )
        cure = relationship_code(other, back_populates=prop.key)
        yield found("half-linked", other, what, cure)


def wrongly_linked(mapping: Mapping) -> Iterator[Finding]:
    """Two relationships that are linked and write different keys."""
    for one, two in combinations([p for p in mapping.writing if p in mapping.keys], 2):
        if two not in one._reverse_property:
            continue
        mine, yours = mapping.keys[one].columns, mapping.keys[two].columns
        if set(mine) & set(yours) or mine[0].table is not yours[0].table:
            continue  # two tables: the classes of a concrete inheritance
        what = (
            f"back_populates links {one}, which writes {mapping.names(mine)}, with {two}, which "
            f"writes {mapping.names(yours)}: setting one side fills both keys."
        )
        cure = f'# on both sides of a pair the same key: foreign_keys="{mapping.name(mine[0])}"'
        yield found("linked-by-two-keys", f"{one}, {two}", what, cure)


def linked_to_view(mapping: Mapping) -> Iterator[Finding]:
    """One end of a pair that is viewonly."""
    for prop in mapping.relations:
        ends = any(not other.viewonly for other in prop._reverse_property)
        if prop.viewonly and ends and prop in mapping.keys and is_plain(prop):
            what = (
                "{here} is viewonly, though it is one of the two ends of a relationship: what is set "
                "there is not saved, without a word."
            )
            yield found("read-only-side", prop, what, relationship_code(prop))
