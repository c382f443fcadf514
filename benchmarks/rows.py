"""Many rows: the displays over them, and inserting and deleting them, against the driver itself."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ratios import TURNS, Ratio, in_turn
from sqlalchemy import Engine, ForeignKey, event, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from lesson_support import connect, fresh_tables, states, tables
from lesson_support.database import describe
from lesson_support.university import CourseColumns, ProgramColumns

MANY = 100_000
MILLION = 1_000_000
OBJECTS = 200_000  # a million of them would need 2 GB
CHUNK = 50_000


class Base(DeclarativeBase):
    pass


class Program(ProgramColumns, Base):
    """As lessons 09 and 13 recommend for many children."""

    courses: Mapped[list[Course]] = relationship(
        back_populates="program", cascade="all, delete-orphan", passive_deletes=True
    )


class Course(CourseColumns, Base):
    program_id: Mapped[int] = mapped_column(
        ForeignKey("programs.id", ondelete="CASCADE"), index=True
    )
    program: Mapped[Program] = relationship(back_populates="courses")


def new_courses(number: int, first: int = 0) -> list[dict]:
    """Rows of courses, all of the first program."""
    return [
        {"code": f"C{n:07}", "title": f"Course {n}", "credits": n % 9 + 1}
        | {"program_id": 1}
        for n in range(first, first + number)
    ]


def fill(engine: Engine, number: int) -> None:
    """Fresh tables with one program and so many courses."""
    fresh_tables(engine, Base)
    with engine.begin() as connection:
        connection.execute(insert(Program.__table__), [{"name": "P"}])
        for first in range(0, number, CHUNK):
            rows = new_courses(min(CHUNK, number - first), first)
            connection.execute(insert(Course.__table__), rows)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            c.execute(text("ANALYZE"))


@contextmanager
def counting_apart(engine: Engine) -> Iterator[list[float]]:
    """Collects how long the database takes for each `count(*)`, in milliseconds."""
    took: list[float] = []
    began = 0.0

    def before(conn, cursor, text, parameters, context, many) -> None:
        nonlocal began
        began = time.perf_counter()

    def after(conn, cursor, text, parameters, context, many) -> None:
        if text.startswith("SELECT count("):
            took.append((time.perf_counter() - began) * 1000)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield took
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


def show_tables(engine: Engine) -> tuple[float, float]:
    """How long `tables` takes, in milliseconds: in all, and without the database's counts."""
    whole, rest = [], []
    for _ in range(11):
        with counting_apart(engine) as counts:
            start = time.perf_counter()
            tables(engine, Base)._repr_mimebundle_()
            whole.append((time.perf_counter() - start) * 1000)
        rest.append(whole[-1] - sum(counts))
    return statistics.median(whole), statistics.median(rest)


def show_states(session: Session, course: Course) -> float:
    """How long `states` takes, in milliseconds."""
    times = []
    for _ in range(11):
        start = time.perf_counter()
        states(session, course=course)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def displays(engine: Engine) -> Iterator[Ratio]:
    """How `tables` and `states` grow with the rows behind what they show."""
    taken: dict[tuple[str, int], list[float]] = defaultdict(list)
    for size in (10, 10_000, MILLION):
        fill(engine, size)
        for _ in range(TURNS):
            whole, rest = show_tables(engine)
            taken["whole", size].append(whole)
            taken["rest", size].append(rest)
        with Session(engine) as session:
            kept = session.scalars(select(Course).limit(min(size, OBJECTS))).all()
            for _ in range(TURNS):
                taken["states", len(kept)].append(show_states(session, kept[0]))
            del kept

    def line(what: str, key: str, large: int, small: int, goal: float | None) -> Ratio:
        words = f"{what}, {describe(engine)}, {large:,} rows", f"{small:,} rows"
        return Ratio(*words, goal, taken[key, large], taken[key, small], "ms")

    alone = "`tables` without the database's own `count(*)`"
    held = "`states`, a Session that holds them"
    yield line("`tables`", "whole", 10_000, 10, None)
    yield line("`tables`", "whole", MILLION, 10_000, 1.2)
    yield line(alone, "rest", MILLION, 10_000, 1.2)
    yield line(held, "states", 10_000, 10, None)
    yield line(held, "states", OBJECTS, 10_000, 1.2)


def by_driver(engine: Engine, driver: Any, rows: list[dict]) -> None:
    """The driver alone, as lesson 13 recommends for the largest loads: executemany, or COPY."""
    values = [tuple(row.values()) for row in rows]
    into = "courses (code, title, credits, program_id)"
    if engine.dialect.name == "sqlite":
        driver.executemany(f"INSERT INTO {into} VALUES (?, ?, ?, ?)", values)
        return
    with driver.cursor().copy(f"COPY {into} FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)


def inserting(engine: Engine) -> Iterator[Ratio]:
    """100 000 children in the ways of lesson 13, against the driver with the same rows."""
    rows = new_courses(MANY)

    def alone() -> None:
        raw = engine.raw_connection()
        by_driver(engine, raw.driver_connection, rows)
        raw.commit()
        raw.close()

    def in_a_session() -> None:
        with Session(engine) as session, session.begin():
            driver = session.connection().connection.driver_connection
            by_driver(engine, driver, rows)

    def inserted(into: Any) -> None:
        with Session(engine) as session, session.begin():
            session.execute(insert(into), rows)

    name = {"sqlite": "executemany", "postgresql": "COPY"}[engine.dialect.name]
    for what, goal, work in (
        (f"{name} in a Session", 1.5, in_a_session),
        ("`insert(Course.__table__)`", None, partial(inserted, Course.__table__)),
        ("`insert(Course)`", None, partial(inserted, Course)),
    ):
        words = f"100 000 children by {what}, {describe(engine)}", f"{name} alone"
        yield in_turn(Ratio(*words, goal), work, alone, before=lambda: fill(engine, 0))


def deleting(engine: Engine) -> Iterator[Ratio]:
    """A parent with 100 000 children: cascade with passive_deletes, against the plain statement."""

    def lesson() -> None:
        with Session(engine) as session, session.begin():
            session.delete(session.get(Program, 1))

    def plain() -> None:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM programs WHERE id = 1"))

    yield in_turn(
        Ratio(
            f"delete a parent with 100 000 children, {describe(engine)}",
            "plain DELETE",
            1.2,
        ),
        lesson,
        plain,
        before=lambda: fill(engine, MANY),
    )


def measured(lesson: str) -> Iterator[Ratio]:
    """The lines of the table for the database that the environment names."""
    engine = connect(lesson)
    yield from displays(engine)
    yield from inserting(engine)
    yield from deleting(engine)
