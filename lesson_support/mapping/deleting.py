"""Deleting a parent: do the Session and the database want the same, and down to the last level?

Sources: https://docs.sqlalchemy.org/en/21/orm/cascades.html,
https://docs.sqlalchemy.org/en/21/orm/large_collections.html and the tables of lessons 05 and 09
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ForeignKeyConstraint, Table
from sqlalchemy.orm import Mapper, RelationshipProperty

from .cures import OWNED, cascade_of, key_code, relationship_code, typed
from .finding import CHOOSE, COLLECTION, DELETE, LEAVE, Finding
from .reading import (
    MANY_TO_ONE,
    ONE_TO_MANY,
    REFUSES,
    RULES,
    Key,
    Mapping,
    is_unique,
    owner_of,
    rule_of,
    target_of,
    with_article,
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


def _write_only(prop: RelationshipProperty, key: Key) -> Finding:
    owned = "delete" in prop.cascade or key.rule == "CASCADE" or key.required
    options = {"cascade": OWNED} if owned else {}
    rule = "CASCADE" if owned else "SET NULL"
    return Finding(
        "breaks",
        "write-only-loads",
        str(prop),
        f"A write-only collection is never read, and without passive_deletes=True the Session must "
        f"read it: session.delete() of {with_article(owner_of(prop))} raises InvalidRequestError, with or without "
        f"{with_article(target_of(prop))}.",
        f"{relationship_code(prop, **options, passive_deletes=True)}\n{key_code(key, ondelete=rule)}",
        COLLECTION,
    )


def _with_cascade(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    child, where = target_of(prop), str(prop)
    both = f"{relationship_code(prop, passive_deletes=True)}\n{key_code(key, ondelete='CASCADE')}"
    if prop.passive_deletes and key.rule != "CASCADE":
        database = (
            f"sets the key of the others to {key.rule.removeprefix('SET ')}"
            if key.rule not in REFUSES
            else "has no rule to delete the others and refuses"
            if key.constraint is not None
            else "has no key, and the others stay, with a key that points nowhere"
        )
        yield Finding(
            "breaks",
            "passive-deletes-without-ondelete",
            where,
            f"With passive_deletes=True the Session deletes the {child} objects that were read and "
            f"leaves the rest to the database, which {database}: what a delete does depends on what "
            "was read before.",
            both,
            CHOOSE,
        )
    elif not prop.passive_deletes and key.rule == "CASCADE":
        yield Finding(
            "style",
            "ondelete-without-passive-deletes",
            where,
            f"The database would delete the {child} rows by its own rule, and the Session still reads "
            "every one of them only to delete it.",
            both,
            DELETE,
        )
    elif not prop.passive_deletes and key.rule.startswith("SET"):
        yield Finding(
            "surprises",
            "two-rules",
            where,
            f"session.delete() deletes the {child} rows, and a bulk delete() or another program keeps "
            f"them, by the rule {key.rule} of the table.",
            both,
            CHOOSE,
        )


def _passive_alone(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    child, where = target_of(prop), str(prop)
    if key.rule == "SET NULL":
        return
    if key.rule == "CASCADE":
        loaded = "is refused (NOT NULL)" if key.required else "keeps them, with NULL"
        yield Finding(
            "breaks",
            "passive-deletes-without-cascade",
            where,
            f"passive_deletes=True stands without a delete cascade: the database deletes the {child} "
            f"rows, but where {where} was read before, the Session sets their key to NULL first, and "
            f"{loaded}.",
            relationship_code(prop, cascade=OWNED),
            DELETE,
        )
    elif key.rule == "SET DEFAULT":
        yield Finding(
            "breaks",
            "two-rules",
            where,
            f"The {child} objects that were read get the key NULL from the Session, the others their "
            "default from the database: what a delete does depends on what was read before.",
            relationship_code(prop, passive_deletes="all"),
            CHOOSE,
        )
    elif key.required:
        yield Finding(
            "surprises",
            "required-key",
            where,
            f"No {owner_of(prop)} that has {with_article(child)} can be deleted, and where {where} was read "
            "before, the message speaks of NULL: the Session tries to empty a key that is NOT NULL.",
            _required_cure(prop, key),
            DELETE,
        )
    else:
        rest = (
            "the database has no rule for the others and refuses"
            if key.constraint is not None
            else "the others stay, with a key that points nowhere"
        )
        yield Finding(
            "breaks",
            "passive-deletes-without-ondelete",
            where,
            f"passive_deletes=True leaves the {child} rows that were not read to a rule of the "
            "database, and the table has none: those that were read get the key NULL, and "
            f"{rest}. What a delete does depends on what was read before.",
            f"{relationship_code(prop)}\n{key_code(key, ondelete='SET NULL')}",
            CHOOSE,
        )


def _by_default(prop: RelationshipProperty, key: Key) -> Iterator[Finding]:
    child, where = target_of(prop), str(prop)
    if key.rule == "CASCADE":
        result = (
            f"which is refused (NOT NULL): {with_article(owner_of(prop))} that has {with_article(child)} cannot be deleted"
            if key.required
            else f"so the {child} rows stay, without {with_article(owner_of(prop))}"
        )
        yield Finding(
            "breaks",
            "ondelete-without-cascade",
            where,
            'The table says ondelete="CASCADE", but the Session was not told: before the database '
            f"can follow its rule, the Session sets the keys to NULL, {result}.",
            relationship_code(prop, cascade=OWNED, passive_deletes=True),
            DELETE,
        )
    elif any(column.primary_key for column in key.columns):
        yield Finding(
            "surprises",
            "required-key",
            where,
            f"The key is part of the primary key of {child}, which cannot become NULL: deleting "
            f"{with_article(owner_of(prop))} that has {with_article(child)}, or taking one out of {where}, raises an "
            "AssertionError, tried to blank-out primary key column.",
            relationship_code(prop, cascade=OWNED),
            CHOOSE,
        )
    elif key.required:
        yield Finding(
            "surprises",
            "required-key",
            where,
            f"Nothing is said about deleting, so the Session sets the key of the {child} rows to NULL, "
            f"which NOT NULL forbids: {with_article(owner_of(prop))} that has {with_article(child)} cannot be deleted, nor can "
            f"one be taken out of {where}.",
            _required_cure(prop, key),
            DELETE,
        )
    elif key.rule == "SET NULL":
        yield Finding(
            "style",
            "ondelete-without-passive-deletes",
            where,
            f"The database would set the keys of the {child} rows to NULL by its own rule, and the "
            "Session still reads every one of them only to do the same.",
            relationship_code(prop, passive_deletes=True),
            CHOOSE,
        )
    elif key.rule in ("RESTRICT", "SET DEFAULT"):
        yield Finding(
            "surprises",
            "two-rules",
            where,
            f"The rule {key.rule} of the table is never asked by session.delete(): the Session sets "
            f"the keys of the {child} rows to NULL first.",
            relationship_code(prop, passive_deletes="all"),
            CHOOSE,
        )


def _required_cure(prop: RelationshipProperty, key: Key) -> str:
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
            if mapper in reached:
                continue
            reached[mapper] = source
            front += [p for p in mapper.relationships if rules.get(p) == "CASCADE"]
    for prop in mapping.writing:
        source = reached.get(prop.parent)
        if source is None:
            continue
        if prop.direction is ONE_TO_MANY:
            yield from _stops_at_list(mapping, prop, source)
        elif prop.secondary is not None:
            yield from _stops_at_secondary(mapping, prop, source)
    for mapper, source in reached.items():
        yield from _stops_at_inheritance(mapping, mapper, source)


def _below(source: RelationshipProperty) -> str:
    return (
        f"{source} leaves {target_of(source)} rows to the database (passive_deletes), which deletes "
        "them by ondelete and knows nothing of cascade="
    )


def _stops_at_list(
    mapping: Mapping, prop: RelationshipProperty, source: RelationshipProperty
) -> Iterator[Finding]:
    key = mapping.keys.get(prop)
    if key is None or key.rule in ("CASCADE", None) or key.constraint is None:
        return
    if "delete" in prop.cascade:
        then = f"the {target_of(prop)} rows below " + (
            "make it refuse"
            if key.rule in REFUSES
            else f"stay, by their rule {key.rule}"
        )
        cure = f"{relationship_code(prop, passive_deletes=True)}\n{key_code(key, ondelete='CASCADE')}"
    elif not key.required and prop.passive_deletes != "all" and key.rule in REFUSES:
        then = f"the {target_of(prop)} rows below, whose key the Session would set to NULL, make it refuse"
        cure = f"{relationship_code(prop, passive_deletes=True)}\n{key_code(key, ondelete='SET NULL')}"
    else:
        return
    what = f"{_below(source)}: {then}."
    yield Finding("breaks", "rule-stops-here", str(prop), what, cure, CHOOSE)


def _stops_at_secondary(
    mapping: Mapping, prop: RelationshipProperty, source: RelationshipProperty
) -> Iterator[Finding]:
    columns = {child for _, child in prop.synchronize_pairs}
    for constraint in getattr(prop.secondary, "foreign_key_constraints", ()):
        if set(constraint.columns) == columns and rule_of(constraint) in REFUSES:
            name = mapping.names(constraint.columns)
            yield Finding(
                "breaks",
                "rule-stops-here",
                str(prop),
                f"{_below(source)}: the rows of {prop.secondary.name} that hold {name} make it refuse.",
                _column_code(constraint, ondelete="CASCADE"),
                CHOOSE,
            )


def _column_code(constraint: ForeignKeyConstraint, ondelete: str) -> str:
    if len(constraint.elements) > 1:
        return key_code(constraint, ondelete=ondelete)
    column, element = next(iter(constraint.columns)), constraint.elements[0]
    more = ", primary_key=True" if column.primary_key else ""
    key = f'ForeignKey("{element.target_fullname}", ondelete="{ondelete}")'
    return f'Column("{column.name}", {key}{more})'


def _stops_at_inheritance(
    mapping: Mapping, mapper: Mapper, source: RelationshipProperty
) -> Iterator[Finding]:
    """A class in several tables: the rule of the key deletes the row of one of them."""
    key = mapping.keys[source]
    inherited = mapper.inherits
    if inherited is None or mapper.local_table is inherited.local_table:
        return
    if mapper.concrete or not isinstance(mapper.local_table, Table):
        return
    name, where = (
        mapper.class_.__name__,
        f"{mapper.class_.__name__} ({mapper.local_table.name})",
    )
    held = key.columns[0].table
    if held in (m.local_table for m in inherited.iterate_to_root()):
        own = set(mapper.local_table.primary_key.columns)
        for constraint in mapper.local_table.foreign_key_constraints:
            if set(constraint.columns) == own and rule_of(constraint) in REFUSES:
                yield Finding(
                    "breaks",
                    "rule-stops-here",
                    where,
                    f"{_below(source)}: {with_article(name)} has a second row in {mapper.local_table.name}, which "
                    "makes it refuse.",
                    key_code(constraint, ondelete="CASCADE"),
                    CHOOSE,
                )
    elif held is mapper.local_table and mapper is source.mapper:
        yield Finding(
            "breaks",
            "rule-stops-here",
            str(source),
            f"{_below(source)}: only the rows of {held.name} go, and the other half of each {name}, "
            f"in {inherited.local_table.name}, stays.",
            relationship_code(source, ("passive_deletes",), cascade=OWNED)
            + "\n"
            + key_code(key, ondelete=None),
            CHOOSE,
        )


def null_rule(mapping: Mapping) -> Iterator[Finding]:
    """SET NULL on a key that is NOT NULL."""
    for constraint in mapping.constraints:
        if rule_of(constraint) == "SET NULL" and not all(
            c.nullable for c in constraint.columns
        ):
            column = next(c for c in constraint.columns if not c.nullable)
            yield Finding(
                "breaks",
                "set-null-on-required",
                mapping.names(constraint.columns),
                f"On a delete the table sets {mapping.name(column)} to NULL, by its rule "
                f"{constraint.ondelete.upper()}, and {mapping.name(column)} is NOT NULL: the database "
                "refuses every such delete.",
                typed(column, nullable=True)
                + key_code(constraint).removeprefix(typed(column)),
                CHOOSE,
            )


def rule_words(mapping: Mapping) -> Iterator[Finding]:
    """A word in ondelete that SQL does not know."""
    for constraint in mapping.constraints:
        rule = written_rule(constraint)
        if (
            rule
            and rule not in RULES
            and not rule.startswith(("SET NULL (", "SET DEFAULT ("))
        ):
            yield Finding(
                "breaks",
                "unknown-rule",
                mapping.names(constraint.columns),
                f"{constraint.ondelete!r} is no rule of SQL, so the table cannot be created.",
                key_code(constraint, ondelete="CASCADE"),
                CHOOSE,
            )


def wrong_side(mapping: Mapping) -> Iterator[Finding]:
    """Words about deleting that stand on the many side."""
    for prop in mapping.writing:
        if prop.direction is not MANY_TO_ONE or prop not in mapping.keys:
            continue
        key = mapping.keys[prop]
        if "delete" in prop.cascade and not is_unique(key.columns):
            ends = list(prop._reverse_property)
            if any(not other.uselist for other in ends) or (
                prop.single_parent and not ends
            ):
                continue
            up, down = target_of(prop), owner_of(prop)
            cure = [relationship_code(prop, ("cascade", "passive_deletes"))]
            cure += [relationship_code(other, cascade=OWNED) for other in ends]
            what = (
                f"The delete cascade stands on the many side: deleting one {down} deletes its {up}, and "
                f"the other {down} rows of that {up} lose their key or make the database refuse."
            )
            if prop.single_parent:
                what = (
                    f"single_parent=True promises that no two {down} objects share {with_article(up)}, and "
                    f"{ends[0]} is a list: {with_article(down)} that moves or goes deletes the {up} that it leaves, "
                    "or is refused where others need it."
                )
            yield Finding(
                "surprises" if prop.single_parent else "breaks",
                "cascade-on-the-many-side",
                str(prop),
                what,
                "\n".join(cure),
                LEAVE,
            )
        elif (
            prop.passive_deletes
            and "delete" not in prop.cascade
            and not prop.post_update
        ):
            yield Finding(
                "surprises",
                "passive-deletes-on-the-many-side",
                str(prop),
                "passive_deletes stands on the many side, where it does nothing: it belongs to the list "
                f"of {target_of(prop)}, beside a delete cascade.",
                relationship_code(prop, ("passive_deletes",)),
                DELETE,
            )


def half_cascade(mapping: Mapping) -> Iterator[Finding]:
    """A cascade in which a word is missing."""
    for prop in mapping.writing:
        child = target_of(prop)
        if prop.cascade.delete_orphan and not prop.cascade.delete:
            more = (
                ""
                if "save-update" in prop.cascade
                else (
                    " The word save-update is missing, too, so a new one is not saved with its parent."
                )
            )
            yield Finding(
                "breaks",
                "delete-orphan-without-delete",
                str(prop),
                f"delete-orphan stands without delete: {with_article(child)} that is taken out is deleted, and those "
                f"of a deleted {owner_of(prop)} are kept with the key NULL, or the delete is refused.{more}",
                relationship_code(prop, cascade=OWNED),
                LEAVE,
            )
        elif prop.cascade.delete and not prop.cascade.save_update:
            yield Finding(
                "surprises",
                "cascade-without-save-update",
                str(prop),
                f'cascade="{cascade_of(prop)}" replaces the default, save-update and merge: a new '
                f"{child} is not saved with its {owner_of(prop)}.",
                relationship_code(
                    prop, cascade="all" + ", delete-orphan" * prop.cascade.delete_orphan
                ),
                LEAVE,
            )


def all_alone(mapping: Mapping) -> Iterator[Finding]:
    """passive_deletes="all" where nothing else empties a key."""
    for prop in mapping.lists:
        if (
            prop.passive_deletes == "all"
            and not prop._reverse_property
            and prop.uselist
        ):
            yield Finding(
                "surprises",
                "all-without-the-other-side",
                str(prop),
                'With passive_deletes="all" the Session never empties a key, and no many-to-one is linked '
                f"to do it: {with_article(target_of(prop))} that is removed from the list keeps its key.",
                relationship_code(
                    prop, back_populates=prop.parent.class_.__name__.lower()
                ),
                CHOOSE,
            )
