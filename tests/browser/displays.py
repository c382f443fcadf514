"""One cell for every kind of display, as a learner would write it."""

from lesson_support.commands.refresh import KERNEL

SETUP = """
from typing import Optional

import pandas as pd
from IPython.display import display
from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from lesson_support import (
    bars, certificate, changes, check_mapping, connect, diagram, exercise, explain,
    fresh_tables, preview_delete, progress, race, ready, states, tables, timeline, watch,
)
from lesson_support.university import Base, Course, Program

engine = connect("00")
watch(engine)
"""

# By the name of the display. The set-up cell is one too.
CELLS = {
    "sql": """
fresh_tables(engine, Base, data=True)
with Session(engine) as session:
    for program in session.scalars(select(Program).order_by(Program.id)):
        program.courses
    session.add(Program(name="Law"))
    session.commit()
""",
    "tables": "tables(engine, Base)",
    "changes": """
fresh_tables(engine, Base, data=True)
before = tables(engine, Base)
with Session(engine) as session:
    session.get(Program, 1).name = "Life Sciences"
    session.delete(session.get(Program, 7))
    session.add(Program(name="Law"))
    session.commit()
changes(before)
""",
    "states": """
law = Program(name="Law")
with Session(engine) as session:
    biology = session.get(Program, 1)
    biology.name = "Life Sciences"
    display(states(session, law=law, biology=biology))
""",
    "timeline": """
story = timeline(law=law)
story("made")
with Session(engine) as session:
    session.add(law)
    story("added")
    session.flush()
    story("flushed")
story
""",
    "diagram": "diagram(Base)",
    "bars": 'bars({"lazy": 9, "eager": 2}, "statements")',
    "race": """
def one(size): engine.connect().close()
race({"one": one, "other": one}, (1, 10), engine, show=True)
""",
    "progress": """
from lesson_support.measure import _bar
_bar(3, 8, "courses.csv")
""",
    "explain": """
try:
    with Session(engine) as session:
        session.execute(delete(Program))
except IntegrityError as error:
    display(explain(error))
""",
    "open": 'exercise("00-many-side").check(...)',
    "bad": 'exercise("00-many-side").check("users")',
    "good": 'exercise("00-many-side").check("posts")',
    "hint": 'exercise("00-many-side").hint()',
    "solution": 'exercise("00-many-side").solution()',
    "ready": 'ready("16-models")',
    "certificate": 'certificate("00", name="Ada")',
    "check-mapping": """
class Loose(DeclarativeBase): pass

class Author(Loose):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list["Book"]] = relationship(cascade="all")

class Book(Loose):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship()

check_mapping(Loose)
""",
    "preview-delete": """
with Session(engine) as session:
    display(preview_delete(session, session.get(Program, 1)))
""",
    "frame": """
pd.DataFrame({"name": ["Biology", None], "courses": [5, 0]})
""",
    "error": "select(Program).joins(Course)",
    "lesson-error": "tables(Program)",
}


def notebook() -> dict:
    """A notebook with all of them; ids of cells are the names of displays."""
    sources = {"ready-to-go": SETUP} | CELLS
    cells = [
        {
            "cell_type": "code",
            "id": name,
            "metadata": {"tags": ["raises-exception"]} if "error" in name else {},
            "execution_count": None,
            "outputs": [],
            "source": source.strip(),
        }
        for name, source in sources.items()
    ]
    metadata = {"kernelspec": KERNEL}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
