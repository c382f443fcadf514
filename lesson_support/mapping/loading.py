"""Lists that are read too early, and forms from before SQLAlchemy 2."""

from __future__ import annotations

from collections.abc import Iterator

from .cures import annotated, relationship_code
from .finding import Finding, found
from .reading import Mapping, owner_of

_EAGER = {
    "joined": "joined to each SELECT of its parent: each parent comes once for each child, and "
    "session.scalars(...) raises without .unique()",
    "immediate": "read with each parent, by one SELECT for each of them",
    "selectin": "read with every SELECT of its parent, wanted or not",
    "subquery": "read with every SELECT of its parent, wanted or not",
}


def eager(mapping: Mapping) -> Iterator[Finding]:
    """Lists that are read with each SELECT of their parent."""
    for prop in mapping.relations:
        lazy = {False: "joined"}.get(prop.lazy, prop.lazy)
        if lazy not in _EAGER or not prop.uselist or prop.entity.is_aliased_class:
            continue
        what = f'lazy="{lazy}" stands at a list that can grow without end: it is {_EAGER[lazy]}.'
        cure = (
            f"select({owner_of(prop)}).options(selectinload({prop}))"
            "  # where it is needed; no lazy= there"
        )
        level = "surprises" if lazy in ("joined", "immediate") else "style"
        yield found("eager-list", prop, what, cure, level)


def legacy(mapping: Mapping) -> Iterator[Finding]:
    """backref, dynamic and noload."""
    for prop in mapping.relations:
        if prop.backref is not None:
            name = prop.backref if isinstance(prop.backref, str) else prop.backref[0]
            other = prop.mapper.relationships.get(name)
            what = (
                f"backref makes {{child}}.{name} out of sight, at the first use of the classes: "
                "neither a reader nor an editor finds it."
            )
            cure = relationship_code(prop, back_populates=name)
            if other is not None:
                cure += f"\n{relationship_code(other, back_populates=prop.key)}"
            yield found("backref", prop, what, cure)
        if prop.lazy == "dynamic":
            what = 'lazy="dynamic" gives the legacy Query; a write-only collection takes its place.'
            cure = relationship_code(prop).replace("DynamicMapped", "WriteOnlyMapped")
            yield found("dynamic", prop, what, cure)
        if prop.lazy == "noload":
            what = (
                'lazy="noload" reads nothing: {here} is always empty, whatever the table holds, '
                "without an error."
            )
            cure = f'{annotated(prop)} = relationship(lazy="raise")'
            yield found("noload", prop, what, cure)


def legacy_query(mapping: Mapping) -> Iterator[Finding]:
    """A class that answers `Program.query`, by SQLAlchemy's query_property or Flask-SQLAlchemy's."""
    owners = {}
    for mapper in mapping.mappers:
        owner = next((c for c in mapper.class_.__mro__ if "query" in vars(c)), None)
        owners.setdefault(owner, mapper.class_.__name__)
    for owner, name in owners.items():
        kind = type(owner and vars(owner)["query"])
        if "query_property" in kind.__qualname__ or kind.__name__ == "_QueryProperty":
            what = "It gives the legacy Query, by way of a Session that no line shows."
            cure = f"session.scalars(select({name}).where(...))"
            yield found("query-property", f"{owner.__name__}.query", what, cure)
