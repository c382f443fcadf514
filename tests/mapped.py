"""Short ways to map classes for the tests."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship

OWNED = "all, delete-orphan"


def classes(*bodies: dict, base: type | None = None) -> type:
    """Map classes on a Base; each body has `name`, perhaps `parent`, and the attributes."""
    Base = base or type("Base", (DeclarativeBase,), {})
    for body in bodies:
        body = {"id": mapped_column(Integer, primary_key=True), **body}
        name, parent = body.pop("name"), body.pop("parent", Base)
        body.setdefault("__tablename__", name.lower())
        body = {key: value for key, value in body.items() if value is not None}
        Base.made = (*getattr(Base, "made", ()), type(name, (parent,), body))
    return Base  # which keeps its classes: a registry does not


def school(
    one=None, key=None, column=None, many=None, list_of=list, course=None, **more
) -> type:
    """Program and Course; `one` and `many` are the options of the two relationships.

    `course` and `more` are further attributes.
    """
    column = {"nullable": False, "index": True} | (column or {})
    program = {"name": "Program", **more}
    course = (course or {}) | {
        "name": "Course",
        "program_id": mapped_column(ForeignKey("program.id", **(key or {})), **column),
    }
    if one is not False:
        options = {} if many is False else {"back_populates": "program"}
        program["courses"] = relationship("Course", **(options | (one or {})))
        if list_of is None:
            program["courses"] = relationship(
                "Course", uselist=False, **(options | (one or {}))
            )
    if many is not False:
        options = {} if one is False else {"back_populates": "courses"}
        course["program"] = relationship("Program", **(options | (many or {})))
    return classes(program, course)
