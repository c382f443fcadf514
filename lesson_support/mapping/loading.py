"""Lists that are read too early, and forms from before SQLAlchemy 2."""

from __future__ import annotations

from collections.abc import Iterator

from .cures import annotated, relationship_code
from .finding import COLLECTION, LOAD, MODEL, QUERY, Finding
from .reading import Mapping, owner_of, target_of

_EAGER = {
    "joined": (
        "surprises",
        "joined to each SELECT of its parent: each parent comes once for each child, and "
        "session.scalars(...) raises without .unique()",
    ),
    "immediate": ("surprises", "read with each parent, by one SELECT for each of them"),
    "selectin": ("style", "read with every SELECT of its parent, wanted or not"),
    "subquery": ("style", "read with every SELECT of its parent, wanted or not"),
}


def eager(mapping: Mapping) -> Iterator[Finding]:
    """Lists that are read with each SELECT of their parent."""
    for prop in mapping.relations:
        lazy = {False: "joined"}.get(prop.lazy, prop.lazy)
        if lazy not in _EAGER or not prop.uselist or prop.entity.is_aliased_class:
            continue
        level, how = _EAGER[lazy]
        yield Finding(
            level,
            "eager-list",
            str(prop),
            f'lazy="{lazy}" stands at a list that can grow without end: it is {how}.',
            f"select({owner_of(prop)}).options(selectinload({prop}))  # where it is needed; no lazy= there",
            LOAD,
        )


def legacy(mapping: Mapping) -> Iterator[Finding]:
    """backref, dynamic, noload and Query."""
    for prop in mapping.relations:
        if prop.backref is not None:
            name = prop.backref if isinstance(prop.backref, str) else prop.backref[0]
            other = prop.mapper.relationships.get(name)
            cure = f"{relationship_code(prop, back_populates=name)}"
            if other is not None:
                cure += f"\n{relationship_code(other, back_populates=prop.key)}"
            yield Finding(
                "style",
                "backref",
                str(prop),
                f"backref makes {target_of(prop)}.{name} out of sight, at the first use of the classes: "
                "neither a reader nor an editor finds it.",
                cure,
                MODEL,
            )
        if prop.lazy == "dynamic":
            yield Finding(
                "style",
                "dynamic",
                str(prop),
                'lazy="dynamic" gives the legacy Query; a write-only collection takes its place.',
                relationship_code(prop).replace("DynamicMapped", "WriteOnlyMapped"),
                COLLECTION,
            )
        if prop.lazy == "noload":
            yield Finding(
                "surprises",
                "noload",
                str(prop),
                f'lazy="noload" reads nothing: {prop} is always empty, whatever the table holds, without '
                "an error.",
                f'{annotated(prop)} = relationship(lazy="raise")',
                LOAD,
            )
    yield from _query_property(mapping)


def _query_property(mapping: Mapping) -> Iterator[Finding]:
    """A class that answers `Program.query`, by SQLAlchemy's query_property or Flask-SQLAlchemy's."""
    seen = set()
    for mapper in mapping.mappers:
        owner = next((c for c in mapper.class_.__mro__ if "query" in vars(c)), None)
        if owner is None or owner in seen:
            continue
        seen.add(owner)
        kind = type(vars(owner)["query"])
        if "query_property" in kind.__qualname__ or kind.__name__ == "_QueryProperty":
            yield Finding(
                "style",
                "query-property",
                f"{owner.__name__}.query",
                "It gives the legacy Query, by way of a Session that no line shows.",
                f"session.scalars(select({mapper.class_.__name__}).where(...))",
                QUERY,
            )
