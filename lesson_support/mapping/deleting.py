"""Deleting a parent: do the Session and the database want the same, and down to the last level?

Sources: https://docs.sqlalchemy.org/en/21/orm/cascades.html,
https://docs.sqlalchemy.org/en/21/orm/large_collections.html and the tables of lessons 05 and 09
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ForeignKeyConstraint, Table
from sqlalchemy.orm import Mapper, RelationshipProperty

from .cures import OWNED, cascade_of, key_code, relationship_code, typed
from .finding import CHOOSE, Finding, found
from .reading import (
    MANY_TO_ONE,
    ONE_TO_MANY,
    REFUSES,
    RULES,
    Key,
    Mapping,
    is_unique,
    rule_of,
    target_of,
    written_rule,
)


def deleting(mapping: Mapping) -> Iterator[Finding]:
    """What the Session and the database each do with the children, and whether they want the same.

    The conditions are the 60 cases of lesson 09 and their NOT NULL twins.
    """
    for prop in mapping.lists:
        key = mapping.keys.get(prop)
        if key is None or key.rule is None or (key.rule == "SET NULL" and key.required):
            continue
        others = (p for p in mapping.lists if p is not prop and p.parent is prop.parent)
        if any(
            "delete" in p.cascade and mapping.keys.get(p, (None,))[0] == key.columns
            for p in others
        ):
            continue
        if prop.lazy == "write_only" and not prop.passive_deletes:
            yield _write_only(prop, key)
        elif "delete" in prop.cascade:
            yield from _with_cascade(prop, key)
        elif prop.passive_deletes is True:
            yield from _passive_alone(prop, key)
        elif not prop.passive_deletes and not prop.cascade.delete_orphan:
            yield from _by_default(prop, key)


def _in_both(prop: RelationshipProperty, key: Key, rule: str, **options: str) -> str:
    """The cure that leaves the rows to a rule of the table."""
    one = relationship_code(prop, **options, passive_deletes=True)
    return f"{one}\n{key_code(key, ondelete=rule)}"


def _write_only(prop: RelationshipProperty, key: Key) -> Finding:
    owned = "delete" in prop.cascade or key.rule == "CASCADE" or key.required
    rule, options = ("CASCADE", {"cascade": OWNED}) if owned else ("SET NULL", {})
    return found(
        "write-only-loads",
        prop,
        "A write-only collection is never read, and without passive_deletes=True the Session must "
        "read it: session.delete() of {a_parent} raises InvalidRequestError, with or without "
        "{a_child}.",
        _in_both(prop, key, rule, **options),
    )


def _with_cascade(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    cure = _in_both(prop, key, "CASCADE")
    if prop.passive_deletes and key.rule != "CASCADE":
        database = "has no key, and the others stay, with a key that points nowhere"
        if key.rule not in REFUSES:
            database = f"sets the key of the others to {key.rule.removeprefix('SET ')}"
        elif key.constraint is not None:
            database = "has no rule to delete the others and refuses"
        what = (
            "With passive_deletes=True the Session deletes the {child} objects that were read and "
            f"leaves the rest to the database, which {database}: what a delete does depends on what "
            "was read before."
        )
        yield found("passive-deletes-without-ondelete", prop, what, cure)
    elif not prop.passive_deletes and key.rule == "CASCADE":
        what = (
            "The database would delete the {child} rows by its own rule, and the Session still reads "
            "every one of them only to delete it."
        )
        yield found("ondelete-without-passive-deletes", prop, what, cure)
    elif not prop.passive_deletes and key.rule.startswith("SET"):
        what = (
            "session.delete() deletes the {child} rows, and a bulk delete() or another program keeps "
            f"them, by the rule {key.rule} of the table."
        )
        yield found("two-rules", prop, what, cure)


def _passive_alone(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    if key.rule == "CASCADE":
        loaded = "is refused (NOT NULL)" if key.required else "keeps them, with NULL"
        what = (
            "passive_deletes=True stands without a delete cascade: the database deletes the {child} "
            "rows, but where {here} was read before, the Session sets their key to NULL first, and "
            f"{loaded}."
        )
        cure = relationship_code(prop, cascade=OWNED)
        yield found("passive-deletes-without-cascade", prop, what, cure)
    elif key.rule == "SET DEFAULT":
        what = (
            "The {child} objects that were read get the key NULL from the Session, the others their "
            "default from the database: what a delete does depends on what was read before."
        )
        cure = relationship_code(prop, passive_deletes="all")
        yield found("two-rules", prop, what, cure, level="breaks")
    elif key.rule != "SET NULL" and key.required:
        what = (
            "No {parent} that has {a_child} can be deleted, and where {here} was read before, the "
            "message speaks of NULL: the Session tries to empty a key that is NOT NULL."
        )
        yield found("required-key", prop, what, _required_cure(prop))
    elif key.rule != "SET NULL":
        rest = (
            "the database has no rule for the others and refuses"
            if key.constraint is not None
            else "the others stay, with a key that points nowhere"
        )
        what = (
            "passive_deletes=True leaves the {child} rows that were not read to a rule of the "
            "database, and the table has none: those that were read get the key NULL, and "
            f"{rest}. What a delete does depends on what was read before."
        )
        cure = _in_both(prop, key, "SET NULL")
        yield found("passive-deletes-without-ondelete", prop, what, cure)


def _by_default(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    if key.rule == "CASCADE":
        result = "so the {child} rows stay, without {a_parent}"
        if key.required:
            result = "which is refused (NOT NULL): {a_parent} that has {a_child} cannot be deleted"
        what = (
            'The table says ondelete="CASCADE", but the Session was not told: before the database '
            f"can follow its rule, the Session sets the keys to NULL, {result}."
        )
        cure = relationship_code(prop, cascade=OWNED, passive_deletes=True)
        yield found("ondelete-without-cascade", prop, what, cure)
    elif any(column.primary_key for column in key.columns):
        what = (
            "The key is part of the primary key of {child}, which cannot become NULL: deleting "
            "{a_parent} that has {a_child}, or taking one out of {here}, raises an "
            "AssertionError, tried to blank-out primary key column."
        )
        cure = relationship_code(prop, cascade=OWNED)
        yield found("required-key", prop, what, cure, lesson=CHOOSE)
    elif key.required:
        what = (
            "Nothing is said about deleting, so the Session sets the key of the {child} rows to NULL, "
            "which NOT NULL forbids: {a_parent} that has {a_child} cannot be deleted, nor can "
            "one be taken out of {here}."
        )
        yield found("required-key", prop, what, _required_cure(prop))
    elif key.rule == "SET NULL":
        what = (
            "The database would set the keys of the {child} rows to NULL by its own rule, and the "
            "Session still reads every one of them only to do the same."
        )
        cure = relationship_code(prop, passive_deletes=True)
        name = "ondelete-without-passive-deletes"
        yield found(name, prop, what, cure, lesson=CHOOSE)
    elif key.rule in ("RESTRICT", "SET DEFAULT"):
        what = (
            f"The rule {key.rule} of the table is never asked by session.delete(): the Session sets "
            "the keys of the {child} rows to NULL first."
        )
        cure = relationship_code(prop, passive_deletes="all")
        yield found("two-rules", prop, what, cure)


def _required_cure(prop: RelationshipProperty) -> str:
    return (
        f"{relationship_code(prop, ('passive_deletes',), cascade=OWNED)}  # they go, too\n"
        f"{relationship_code(prop, passive_deletes='all')}  # or: the database refuses, and says why"
    )


def deeper(mapping: Mapping) -> Iterator[Finding]:
    """Where the database deletes rows by its rule, the Session never sees what hangs below them."""
    reached: dict[Mapper, RelationshipProperty] = {}
    rules = {p: mapping.keys[p].rule for p in mapping.lists if p in mapping.keys}
    front = [p for p, rule in rules.items() if rule == "CASCADE" and p.passive_deletes]
    while front:
        source = front.pop(0)
        for mapper in source.mapper.self_and_descendants:
            if mapper not in reached:
                reached[mapper] = source
                below = mapper.relationships
                front += [p for p in below if rules.get(p) == "CASCADE"]
    for prop in mapping.writing:
        if source := reached.get(prop.parent):
            if prop.direction is ONE_TO_MANY:
                yield from _stops_at_list(mapping, prop, source)
            elif prop.secondary is not None:
                yield from _stops_at_secondary(mapping, prop, source)
    for mapper, source in reached.items():
        yield from _stops_at_inheritance(mapping, mapper, source)


def _stops(
    where: object, source: RelationshipProperty, then: str, cure: str
) -> Finding:
    what = (
        f"{source} leaves {target_of(source)} rows to the database (passive_deletes), which deletes "
        f"them by ondelete and knows nothing of cascade=: {then}."
    )
    return found("rule-stops-here", where, what, cure)


def _stops_at_list(
    mapping: Mapping, prop: RelationshipProperty, source: RelationshipProperty
) -> Iterator[Finding]:
    key = mapping.keys.get(prop)
    if key is None or key.rule in ("CASCADE", None) or key.constraint is None:
        return
    rows, refuses = "the {child} rows below", key.rule in REFUSES
    if "delete" in prop.cascade:
        then = "make it refuse" if refuses else f"stay, by their rule {key.rule}"
        yield _stops(prop, source, f"{rows} {then}", _in_both(prop, key, "CASCADE"))
    elif not key.required and prop.passive_deletes != "all" and refuses:
        then = f"{rows}, whose key the Session would set to NULL, make it refuse"
        yield _stops(prop, source, then, _in_both(prop, key, "SET NULL"))


def _stops_at_secondary(
    mapping: Mapping, prop: RelationshipProperty, source: RelationshipProperty
) -> Iterator[Finding]:
    columns = {child for _, child in prop.synchronize_pairs}
    for constraint in getattr(prop.secondary, "foreign_key_constraints", ()):
        if set(constraint.columns) == columns and rule_of(constraint) in REFUSES:
            name = mapping.names(constraint.columns)
            then = f"the rows of {prop.secondary.name} that hold {name} make it refuse"
            yield _stops(prop, source, then, _column_code(constraint))


def _column_code(constraint: ForeignKeyConstraint) -> str:
    if len(constraint.elements) > 1:
        return key_code(constraint, ondelete="CASCADE")
    column, element = next(iter(constraint.columns)), constraint.elements[0]
    more = ", primary_key=True" if column.primary_key else ""
    key = f'ForeignKey("{element.target_fullname}", ondelete="CASCADE")'
    return f'Column("{column.name}", {key}{more})'


def _stops_at_inheritance(
    mapping: Mapping, mapper: Mapper, source: RelationshipProperty
) -> Iterator[Finding]:
    """A class in several tables: the rule of the key deletes the row of one of them."""
    key, table, inherited = mapping.keys[source], mapper.local_table, mapper.inherits
    if inherited is None or table is inherited.local_table:
        return
    if mapper.concrete or not isinstance(table, Table):
        return
    name, held = mapper.class_.__name__, key.columns[0].table
    if held in (m.local_table for m in inherited.iterate_to_root()):
        own = set(table.primary_key.columns)
        for constraint in table.foreign_key_constraints:
            if set(constraint.columns) == own and rule_of(constraint) in REFUSES:
                then = f"each {name} has a second row in {table.name}, which makes it refuse"
                cure = key_code(constraint, ondelete="CASCADE")
                yield _stops(f"{name} ({table.name})", source, then, cure)
    elif held is table and mapper is source.mapper:
        then = (
            f"only the rows of {held.name} go, and the other half of each {name}, in "
            f"{inherited.local_table.name}, stays"
        )
        cure = relationship_code(source, ("passive_deletes",), cascade=OWNED)
        cure += f"\n{key_code(key, ondelete=None)}"
        yield _stops(source, source, then, cure)


def rules(mapping: Mapping) -> Iterator[Finding]:
    """SET NULL on a key that is NOT NULL, and a word in ondelete that SQL does not know."""
    for constraint in mapping.constraints:
        where, rule = mapping.names(constraint.columns), written_rule(constraint)
        required = [column for column in constraint.columns if not column.nullable]
        if rule_of(constraint) == "SET NULL" and required:
            name = mapping.name(required[0])
            what = (
                f"On a delete the table sets {name} to NULL, by its rule "
                f"{constraint.ondelete.upper()}, and {name} is NOT NULL: the database "
                "refuses every such delete."
            )
            free = typed(required[0], nullable=True)
            cure = free + key_code(constraint).removeprefix(typed(required[0]))
            yield found("set-null-on-required", where, what, cure)
        if rule and rule.partition(" (")[0] not in RULES:
            what = f"{constraint.ondelete!r} is no rule of SQL, so the table cannot be created."
            cure = key_code(constraint, ondelete="CASCADE")
            yield found("unknown-rule", where, what, cure)


def wrong_side(mapping: Mapping) -> Iterator[Finding]:
    """Words about deleting that stand on the many side."""
    for prop in mapping.writing:
        if prop.direction is not MANY_TO_ONE or prop not in mapping.keys:
            continue
        if "delete" in prop.cascade:
            yield from _cascade_up(prop, mapping.keys[prop])
        elif prop.passive_deletes and not prop.post_update:
            what = (
                "passive_deletes stands on the many side, where it does nothing: it belongs to the list "
                "of {child}, beside a delete cascade."
            )
            cure = relationship_code(prop, ("passive_deletes",))
            yield found("passive-deletes-on-the-many-side", prop, what, cure)


def _cascade_up(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    ends = list(prop._reverse_property)
    one_to_one = is_unique(key.columns) or any(not other.uselist for other in ends)
    if one_to_one or (prop.single_parent and not ends):
        return
    cure = [relationship_code(prop, ("cascade", "passive_deletes"))]
    cure += [relationship_code(other, cascade=OWNED) for other in ends]
    what, level = (
        (
            "The delete cascade stands on the many side: deleting one {parent} deletes its {child}, and "
            "the other {parent} rows of that {child} lose their key or make the database refuse."
        ),
        "breaks",
    )
    if prop.single_parent:
        what, level = (
            (
                "single_parent=True promises that no two {parent} objects share {a_child}, and "
                f"{ends[0]} is a list: {{a_parent}} that moves or goes deletes the {{child}} that it "
                "leaves, or is refused where others need it."
            ),
            "surprises",
        )
    yield found("cascade-on-the-many-side", prop, what, "\n".join(cure), level)


def half_cascade(mapping: Mapping) -> Iterator[Finding]:
    """A cascade in which a word is missing."""
    for prop in mapping.writing:
        cascade = prop.cascade
        if cascade.delete_orphan and not cascade.delete:
            what = (
                "delete-orphan stands without delete: {a_child} that is taken out is deleted, and those "
                "of a deleted {parent} are kept with the key NULL, or the delete is refused."
            )
            if not cascade.save_update:
                what += " The word save-update is missing, too, so a new one is not saved with its parent."
            cure = relationship_code(prop, cascade=OWNED)
            yield found("delete-orphan-without-delete", prop, what, cure)
        elif cascade.delete and not cascade.save_update:
            what = (
                f'cascade="{cascade_of(prop)}" replaces the default, save-update and merge: a new '
                "{child} is not saved with its {parent}."
            )
            every = "all" + ", delete-orphan" * cascade.delete_orphan
            cure = relationship_code(prop, cascade=every)
            yield found("cascade-without-save-update", prop, what, cure)


def all_alone(mapping: Mapping) -> Iterator[Finding]:
    """passive_deletes="all" where nothing else empties a key."""
    for prop in mapping.lists:
        linked = prop._reverse_property or not prop.uselist
        if prop.passive_deletes == "all" and not linked:
            what = (
                'With passive_deletes="all" the Session never empties a key, and no many-to-one is linked '
                "to do it: {a_child} that is removed from the list keeps its key."
            )
            name = prop.parent.class_.__name__.lower()
            cure = relationship_code(prop, back_populates=name)
            yield found("all-without-the-other-side", prop, what, cure)
