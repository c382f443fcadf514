"""What a lesson's imports cost beyond SQLAlchemy's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from ratios import Ratio, in_turn

ALONE = "import sqlalchemy, sqlalchemy.orm"
# What the set-up cell of lesson 05 imports.
LESSON = (
    "from sqlalchemy import ForeignKey, delete, select\n"
    "from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship\n"
    "from lesson_support import changes, connect, diagram, exercise, fresh_tables, states, tables, watch\n"
    "from lesson_support.university import CourseColumns, ProgramColumns\n"
)


def measured() -> Iterator[Ratio]:
    """The line of the table."""

    def process(code: str):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    yield in_turn(
        Ratio("the imports of lesson 05, in a new process", f"`{ALONE}`", 1.15),
        process(LESSON),
        process(ALONE),
        turns=21,
    )
