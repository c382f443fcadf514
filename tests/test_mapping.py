"""`check_mapping` names what will hurt, and says nothing of what will not."""

from __future__ import annotations

import ast
import asyncio
import re
import uuid
import warnings
from pathlib import Path

import pytest
from mapped import OWNED, classes, school
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    orm,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    CircularDependencyError,
    IntegrityError,
    InvalidRequestError,
)
from sqlalchemy.ext.orderinglist import ordering_list
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    foreign,
    mapped_column,
    relationship,
)

from lesson_support import LessonError, check_mapping, counting, university
from lesson_support.database import private_engine
from lesson_support.mapping import LEVELS
from lesson_support.mapping.finding import CHECKS

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
# True of nearly every short example: no index, and a required key that the Session would empty.
USUAL = {"no-index", "required-key"}


@pytest.fixture
def engine(database):
    with private_engine("mapping") as engine:
        yield engine


def found(Base, engine=None) -> set[tuple[str, str, str]]:
    return {(f.level, f.check, f.where) for f in check_mapping(Base, engine).findings}


def checks(Base, engine=None) -> set[str]:
    return {f.check for f in check_mapping(Base, engine).findings}


# --- each check, where it fires and where its nearest twin must not -------------------------------


def two_lists(**second):
    return school(
        {"cascade": OWNED},
        heavy=relationship(
            "Course",
            primaryjoin="and_(Program.id == Course.program_id, Course.id > 8)",
            **second,
        ),
    )


def two_keys(second):
    """Two keys to one parent; the list is linked with the relationship of the second or first."""
    return classes(
        {
            "name": "Program",
            "courses": relationship(
                "Course", back_populates="program", foreign_keys="Course.first_id"
            ),
        },
        {
            "name": "Course",
            "first_id": mapped_column(ForeignKey("program.id"), index=True),
            "second_id": mapped_column(ForeignKey("program.id"), index=True),
            "program": relationship(
                "Program", back_populates="courses", foreign_keys=f"Course.{second}"
            ),
        },
    )


def three_levels(below, rule, required=True):
    """Program, Course, Lecture: the courses of a program are left to the database."""
    return classes(
        {
            "name": "Program",
            "courses": relationship("Course", cascade=OWNED, passive_deletes=True),
        },
        {
            "name": "Course",
            "program_id": mapped_column(
                ForeignKey("program.id", ondelete="CASCADE"), index=True
            ),
            "lectures": relationship("Lecture", **below),
        },
        {
            "name": "Lecture",
            "course_id": mapped_column(
                ForeignKey("course.id", ondelete=rule),
                index=True,
                nullable=not required,
            ),
        },
    )


def through_secondary(rule):
    Base = type("Base", (DeclarativeBase,), {})
    Table(
        "listing",
        Base.metadata,
        Column("course_id", ForeignKey("course.id", ondelete=rule), primary_key=True),
        Column("tag_id", ForeignKey("tag.id"), primary_key=True, index=True),
    )
    return classes(
        {
            "name": "Program",
            "courses": relationship("Course", cascade=OWNED, passive_deletes=True),
        },
        {
            "name": "Course",
            "program_id": mapped_column(
                ForeignKey("program.id", ondelete="CASCADE"), index=True
            ),
            "tags": relationship("Tag", secondary="listing"),
        },
        {"name": "Tag"},
        base=Base,
    )


def inherited(rule, held_below=False):
    """A Seminar is a Course with a second row; the key is in the first row or in the second."""
    key = {
        "program_id": mapped_column(
            ForeignKey("program.id", ondelete="CASCADE"), index=True
        )
    }
    Base = classes(
        {
            "name": "Program",
            "courses": relationship(
                "Seminar" if held_below else "Course",
                cascade=OWNED,
                passive_deletes=True,
            ),
        },
        {
            "name": "Course",
            "kind": mapped_column(String(9)),
            "__mapper_args__": {"polymorphic_on": "kind", "polymorphic_identity": "c"},
            **({} if held_below else key),
        },
    )
    (course,) = (
        m.class_ for m in Base.registry.mappers if m.class_.__name__ == "Course"
    )
    return classes(
        {
            "name": "Seminar",
            "parent": course,
            "id": mapped_column(
                ForeignKey("course.id", ondelete=rule), primary_key=True
            ),
            "__mapper_args__": {"polymorphic_identity": "s"},
            **(key if held_below else {}),
        },
        base=Base,
    )


def each_other(**first):
    return classes(
        {
            "name": "Program",
            "intro_id": mapped_column(
                ForeignKey("course.id", name="intro"), index=True
            ),
            "intro": relationship("Course", foreign_keys="Program.intro_id", **first),
            "courses": relationship(
                "Course", foreign_keys="Course.program_id", cascade=OWNED
            ),
        },
        {
            "name": "Course",
            "program_id": mapped_column(ForeignKey("program.id"), index=True),
        },
    )


def tree(**up):
    return classes(
        {
            "name": "Part",
            "parent_id": mapped_column(ForeignKey("part.id"), index=True),
            "whole": relationship("Part", uselist=False, **up),
        }
    )


def composite(key, index=("program", "year")):
    """A program has a key of two columns; the courses have `key`, and an index over `index`."""
    return classes(
        {
            "name": "Program",
            "id": None,
            "title": mapped_column(String, primary_key=True),
            "year": mapped_column(Integer, primary_key=True),
        },
        {
            "name": "Course",
            "program": mapped_column(String),
            "year": mapped_column(Integer),
            "__table_args__": (key, Index("ix_course", *index)),
        },
    )


def both():
    targets = ["program.year", "program.title"]
    return ForeignKeyConstraint(["year", "program"], targets)


def pointing(kind=Integer, target="program.id", there=Integer, **unique):
    return classes(
        {"name": "Program", "code": mapped_column(there, **unique)},
        {"name": "Course", "key": mapped_column(kind, ForeignKey(target), index=True)},
    )


class Asks:
    """A class with an attribute of the name `query` that is no query_property."""

    query = "what is asked"


def with_query(mixed: type) -> type:
    Base = type("Base", (DeclarativeBase,), {})
    asked = type("Asked", (mixed, Base), {"__abstract__": True})
    return classes({"name": "Program", "parent": asked}, base=Base)


def query_property() -> type:
    made = orm.scoped_session(orm.sessionmaker()).query_property()
    return type("Queried", (), {"query": made})


PASSIVE = {"passive_deletes": True}
NULL = {"nullable": True, "index": True}
FREE = {"cascade": OWNED}
CASES = {
    # check: (level, where, the mapping that hurts, its nearest twin that does not)
    "conflict": (
        "breaks",
        "Program.courses, Course.program",
        lambda: school({"back_populates": None, **FREE}, many={"back_populates": None}),
        lambda: school(FREE),
    ),
    "conflict, same direction": (
        "breaks",
        "Program.heavy, Program.courses",
        lambda: two_lists(),
        lambda: two_lists(viewonly=True),
    ),
    "conflict, overlaps": (
        "breaks",
        "Program.heavy, Course.program",
        lambda: two_lists(overlaps="courses"),
        lambda: two_lists(overlaps="courses,program"),
    ),
    "half-linked": (
        "surprises",
        "Course.program",
        lambda: school(FREE, many={"back_populates": None}),
        lambda: school(FREE),
    ),
    "linked-by-two-keys": (
        "breaks",
        "Program.courses, Course.program",
        lambda: two_keys("second_id"),
        lambda: two_keys("first_id"),
    ),
    "read-only-side": (
        "surprises",
        "Course.program",
        lambda: school(FREE, many={"viewonly": True}),
        lambda: school(
            {"back_populates": None, **FREE},
            many={"viewonly": True, "back_populates": None},
        ),
    ),
    "write-only-loads": (
        "breaks",
        "Program.courses",
        lambda: school({"lazy": "write_only", **FREE}, {"ondelete": "CASCADE"}),
        lambda: school(
            {"lazy": "write_only", **FREE, **PASSIVE}, {"ondelete": "CASCADE"}
        ),
    ),
    "passive-deletes-without-cascade": (
        "breaks",
        "Program.courses",
        lambda: school(PASSIVE, {"ondelete": "CASCADE"}),
        lambda: school(PASSIVE | FREE, {"ondelete": "cascade"}),
    ),
    "passive-deletes-without-ondelete": (
        "breaks",
        "Program.courses",
        lambda: school(PASSIVE | FREE),
        lambda: school(PASSIVE | FREE, {"ondelete": "CASCADE"}),
    ),
    "passive-deletes-without-ondelete, null": (
        "breaks",
        "Program.courses",
        lambda: school(PASSIVE, column=NULL),
        lambda: school(PASSIVE, {"ondelete": "SET NULL"}, NULL),
    ),
    "ondelete-without-passive-deletes": (
        "style",
        "Program.courses",
        lambda: school(FREE, {"ondelete": "CASCADE"}),
        lambda: school(PASSIVE | FREE, {"ondelete": "CASCADE"}),
    ),
    "ondelete-without-cascade": (
        "breaks",
        "Program.courses",
        lambda: school({}, {"ondelete": "CASCADE"}),
        lambda: school({"passive_deletes": "all"}, {"ondelete": "CASCADE"}),
    ),
    "two-rules": (
        "surprises",
        "Program.courses",
        lambda: school(FREE, {"ondelete": "SET NULL"}, NULL),
        lambda: school({}, {"ondelete": "SET NULL"}, NULL),
    ),
    "two-rules, restrict": (
        "surprises",
        "Program.courses",
        lambda: school({}, {"ondelete": "RESTRICT"}, NULL),
        lambda: school({"passive_deletes": "all"}, {"ondelete": "RESTRICT"}, NULL),
    ),
    "two-rules, default": (
        "breaks",
        "Program.courses",
        lambda: school(
            PASSIVE, {"ondelete": "SET DEFAULT"}, NULL | {"server_default": "7"}
        ),
        lambda: school(PASSIVE, {"ondelete": "SET DEFAULT"}, NULL),
    ),
    "required-key": (
        "surprises",
        "Program.courses",
        lambda: school(),
        lambda: school(column=NULL),
    ),
    "required-key, refused on purpose": (
        "surprises",
        "Program.courses",
        lambda: school(PASSIVE),
        lambda: school({"passive_deletes": "all"}),
    ),
    "required-key, primary key": (
        "surprises",
        "Program.courses",
        lambda: school(column={"primary_key": True}),
        lambda: school(FREE, column={"primary_key": True}),
    ),
    "rule-stops-here": (
        "breaks",
        "Course.lectures",
        lambda: three_levels(FREE, None),
        lambda: three_levels(FREE, "CASCADE"),
    ),
    "rule-stops-here, null": (
        "breaks",
        "Course.lectures",
        lambda: three_levels({}, None, required=False),
        lambda: three_levels({}, "SET NULL", required=False),
    ),
    "rule-stops-here, secondary": (
        "breaks",
        "Course.tags",
        lambda: through_secondary(None),
        lambda: through_secondary("CASCADE"),
    ),
    "rule-stops-here, inheritance": (
        "breaks",
        "Seminar (seminar)",
        lambda: inherited(None),
        lambda: inherited("CASCADE"),
    ),
    "rule-stops-here, the other half": (
        "breaks",
        "Program.courses",
        lambda: inherited("CASCADE", held_below=True),
        lambda: inherited("CASCADE"),
    ),
    "set-null-on-required": (
        "breaks",
        "Course.program_id",
        lambda: school(PASSIVE, {"ondelete": "SET NULL"}),
        lambda: school(PASSIVE, {"ondelete": "SET NULL"}, NULL),
    ),
    "unknown-rule": (
        "breaks",
        "Course.program_id",
        lambda: school(FREE, {"ondelete": "CASCADES"}),
        lambda: school(FREE, {"ondelete": "set null (program_id)"}),
    ),
    "cascade-on-the-many-side": (
        "breaks",
        "Course.program",
        lambda: school({}, None, NULL, {"cascade": "all, delete"}),
        lambda: school(
            {},
            None,
            NULL | {"unique": True},
            {"cascade": "all, delete"},
        ),
    ),
    "cascade-on-the-many-side, single_parent": (
        "surprises",
        "Course.program",
        lambda: school({}, None, NULL, {"cascade": OWNED, "single_parent": True}),
        lambda: school(False, None, NULL, {"cascade": OWNED, "single_parent": True}),
    ),
    "passive-deletes-on-the-many-side": (
        "surprises",
        "Course.program",
        lambda: school(FREE, many=PASSIVE),
        lambda: school(FREE),
    ),
    "delete-orphan-without-delete": (
        "breaks",
        "Program.courses",
        lambda: school({"cascade": "save-update, merge, delete-orphan"}),
        lambda: school({"cascade": "save-update, merge, delete, delete-orphan"}),
    ),
    "cascade-without-save-update": (
        "surprises",
        "Program.courses",
        lambda: school({"cascade": "delete, delete-orphan"}),
        lambda: school({"cascade": "save-update, delete, delete-orphan"}),
    ),
    "all-without-the-other-side": (
        "surprises",
        "Program.courses",
        lambda: school({"passive_deletes": "all"}, many=False),
        lambda: school({"passive_deletes": "all"}),
    ),
    "one-for-many": (
        "surprises",
        "Program.courses",
        lambda: school(FREE, list_of=None),
        lambda: school(FREE, column={"unique": True}, list_of=None),
    ),
    "one-for-many, composite": (
        "surprises",
        "Program.courses",
        lambda: school(
            FREE,
            column={"primary_key": True},  # beside id: both together are unique
            list_of=None,
        ),
        lambda: classes(
            {
                "name": "Program",
                "about": relationship("About", cascade=OWNED, uselist=False),
            },
            {
                "name": "About",
                "id": mapped_column(ForeignKey("program.id"), primary_key=True),
            },
        ),
    ),
    "one-for-many, up": (
        "surprises",
        "Part.whole",
        lambda: tree(),
        lambda: tree(remote_side="Part.id"),
    ),
    "many-for-one": (
        "surprises",
        "Program.courses",
        lambda: school(FREE, column={"unique": True}),
        lambda: school(FREE, column={"primary_key": True}),
    ),
    "each-other-first": (
        "surprises",
        "Program.courses, Program.intro",
        lambda: each_other(),
        lambda: each_other(post_update=True),
    ),
    "key-to-nowhere": (
        "breaks",
        "Course.key",
        lambda: pointing(target="programs.id"),
        lambda: pointing(),
    ),
    "key-to-no-unique": (
        "breaks",
        "Course.key",
        lambda: pointing(target="program.code"),
        lambda: pointing(target="program.code", unique=True),
    ),
    "key-to-no-unique, composite": (
        "breaks",
        "Course.year",
        lambda: composite(ForeignKeyConstraint(["year"], ["program.year"])),
        lambda: composite(both()),
    ),
    "key-of-another-type": (
        "breaks",
        "Course.key",
        lambda: pointing(String, "program.id"),
        lambda: pointing(String(8), "program.code", String(80), unique=True),
    ),
    "no-index": (
        "style",
        "Course.program_id",
        lambda: school(FREE, column={"index": False}),
        lambda: school(FREE, column={"index": False, "unique": True}),
    ),
    "no-index, second in an index": (
        "style",
        "Course.year, Course.program",
        lambda: composite(both(), ("id", "year")),
        lambda: composite(both(), ("year", "id")),
    ),
    "eager-list": (
        "surprises",
        "Program.courses",
        lambda: school(FREE | {"lazy": "joined"}),
        lambda: school(FREE, many={"lazy": "joined"}),
    ),
    "eager-list, selectin": (
        "style",
        "Program.courses",
        lambda: school(FREE | {"lazy": "selectin"}),
        lambda: school(
            FREE | {"lazy": "selectin"}, column={"unique": True}, list_of=None
        ),
    ),
    "backref": (
        "style",
        "Program.courses",
        lambda: school({"backref": "program"} | FREE, many=False),
        lambda: school(FREE),
    ),
    "dynamic": (
        "style",
        "Program.courses",
        lambda: school(FREE | {"lazy": "dynamic"}),
        lambda: school(
            FREE | PASSIVE | {"lazy": "write_only"}, {"ondelete": "CASCADE"}
        ),
    ),
    "noload": (
        "surprises",
        "Program.courses",
        lambda: school(FREE | {"lazy": "noload"}),
        lambda: school(FREE | {"lazy": "raise"}),
    ),
    "query-property": (
        "style",
        "Queried.query",
        lambda: with_query(query_property()),
        lambda: with_query(Asks),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_check_fires_where_it_hurts_and_not_at_its_nearest_twin(case):
    level, where, wrong, right = CASES[case]
    check = case.partition(",")[0]
    findings = [f for f in check_mapping(wrong()).findings if f.check == check]
    assert (level, where) in [(f.level, f.where) for f in findings], findings
    for finding in findings:
        ast.parse(finding.cure)
        assert (NOTEBOOKS / finding.lesson).is_file()
        assert finding.what.endswith(".") and "None" not in re.findall(
            r"(?<!or )None", finding.what
        )
    assert check not in checks(right())


def test_every_check_has_a_case():
    beside_a_database = {
        "no-table",
        "no-column",
        "no-key",
        "another-rule",
        "another-null",
        "keys-not-enforced",
    }
    tried = {case.partition(",")[0] for case in CASES}
    assert CHECKS.keys() == tried | beside_a_database | {"not-configured"}


# --- the 60 cases of lesson 09 and their NOT NULL twins, executed -------------------------------


def deleted(engine, Base, read: bool) -> tuple[str, int]:
    """What becomes of the course of a deleted program, and by how many statements."""
    Program, Course = Base.made
    with Session(engine) as session:
        session.add(Program(courses=[Course()]))
        session.commit()
        program = session.scalars(select(Program)).one()
        if read:
            len(program.courses)
        try:
            with counting(engine) as count:
                session.delete(program)
                session.commit()
        except IntegrityError:
            return "refused", count.statements
        keys = session.scalars(select(Course.program_id)).all()
    return ("NULL" if None in keys else "deleted"), count.statements


def by_the_rule_alone(engine, Base) -> str:
    Program, Course = Base.made
    with Session(engine) as session:
        session.add(Program(courses=[Course()]))
        session.flush()
        try:
            session.execute(delete(Program))
        except IntegrityError:
            return "refused"
        keys = session.scalars(select(Course.program_id)).all()
    return "NULL" if None in keys else "deleted"


def emptied(engine, Base) -> None:
    with engine.begin() as connection:
        for Class in reversed(Base.made):
            connection.execute(delete(Class))


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("rule", [None, "RESTRICT", "NO ACTION", "CASCADE", "SET NULL"])
def test_the_level_follows_from_what_a_delete_does(engine, rule, nullable):
    column = {"nullable": nullable, "index": True}
    plain = school({}, {"ondelete": rule}, column)
    plain.metadata.create_all(engine)
    alone = by_the_rule_alone(engine, plain)
    levels = []
    for cascade in ("save-update, merge", OWNED):
        for passive in (False, True, "all"):
            if (cascade, passive) == (OWNED, "all"):
                continue  # SQLAlchemy does not map it
            one = {"cascade": cascade, "passive_deletes": passive}
            Base = school(one, {"ondelete": rule}, column)
            outcomes = []
            for read in (False, True):
                outcomes.append(deleted(engine, Base, read))
                emptied(engine, Base)
            (not_read, statements), (was_read, _) = outcomes
            expected = ""
            if (
                not_read != was_read
                or (rule == "CASCADE" and not_read != "deleted")
                or (rule == "SET NULL" and alone == "refused")
            ):
                expected = "breaks"
            elif (
                (not_read == "refused" and passive != "all")
                or (rule == "SET NULL" and not_read != alone)
                or (rule == "RESTRICT" and not_read == "NULL")
            ):
                expected = "surprises"
            elif rule in ("CASCADE", "SET NULL") and statements > 1:
                expected = "style"
            findings = check_mapping(Base).findings
            said = next((f.level for f in findings), "")
            assert said == expected, (cascade, passive, outcomes, alone, findings)
            levels.append(said)
    assert len(levels) == 5


@pytest.mark.parametrize(
    ("one", "rule", "nullable"),
    [
        ({}, None, True),
        (PASSIVE, "SET NULL", True),
        (FREE, None, False),
        (FREE | PASSIVE, "CASCADE", False),
        ({"passive_deletes": "all"}, None, False),
    ],
)
def test_nothing_is_said_of_what_lessons_05_and_09_advise(one, rule, nullable):
    Base = school(one, {"ondelete": rule}, {"nullable": nullable})
    assert found(Base) == set()


# --- what the findings say, executed --------------------------------------------------------------


def fails(engine, Base, act, error) -> None:
    """Run `act(session, *classes)` on new tables, and expect the error."""
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            with pytest.raises(error):
                act(session, *Base.made)
                session.flush()
            session.rollback()
        connection.rollback()


def test_a_delete_that_stops_at_the_next_level_is_refused(engine):
    def act(session, Program, Course, Lecture):
        lecture = Lecture()
        session.add(Program(courses=[Course(lectures=[lecture])]))
        session.commit()
        session.delete(session.scalars(select(Program)).one())

    fails(engine, three_levels(FREE, None), act, IntegrityError)


def test_the_rows_of_a_secondary_table_make_it_refuse(engine):
    def act(session, Program, Course, Tag):
        session.add(Program(courses=[Course(tags=[Tag()])]))
        session.commit()
        session.delete(session.scalars(select(Program)).one())

    fails(engine, through_secondary(None), act, IntegrityError)


@pytest.mark.parametrize(("held_below", "rows"), [(False, None), (True, 1)])
def test_the_rows_of_an_inherited_class_make_it_refuse_or_stay(
    engine, held_below, rows
):
    def act(session, Program, Course, Seminar):
        session.add(Program(courses=[Seminar()]))
        session.commit()
        session.delete(session.scalars(select(Program)).one())
        session.flush()
        left = session.scalar(text("SELECT count(*) FROM course"))
        raise LookupError(left)

    Base = inherited("CASCADE" if held_below else None, held_below)
    if rows is None:
        fails(engine, Base, act, IntegrityError)
    else:
        with pytest.raises(LookupError, match="1"):
            Base.metadata.create_all(engine)
            with Session(engine) as session:
                act(session, *Base.made)


def test_a_write_only_collection_stops_the_delete_of_a_childless_parent(engine):
    def act(session, Program, Course):
        session.add(Program())
        session.commit()
        session.delete(session.scalars(select(Program)).one())

    Base = school({"lazy": "write_only", **FREE}, {"ondelete": "CASCADE"})
    fails(engine, Base, act, InvalidRequestError)


def test_rows_that_point_at_each_other_cannot_be_saved(engine):
    def act(session, Program, Course):
        course = Course()
        session.add(Program(intro=course, courses=[course]))

    fails(engine, each_other(), act, CircularDependencyError)


def test_a_joined_list_needs_unique(engine):
    def act(session, Program, Course):
        session.add(Program(courses=[Course()]))
        session.commit()
        session.scalars(select(Program)).all()

    fails(engine, school(FREE | {"lazy": "joined"}), act, InvalidRequestError)


def test_a_half_linked_side_does_not_reach_the_other():
    Program, Course = school(FREE, many={"back_populates": None}).made
    program = Program()
    course = Course(program=program)
    assert program.courses == []
    program = Program(courses=[course])
    assert course.program is program


def test_a_pair_linked_by_two_keys_fills_both(engine):
    Base = two_keys("second_id")
    Base.metadata.create_all(engine)
    Program, Course = Base.made
    with Session(engine) as session:
        course = Course()
        session.add(Program(courses=[course]))
        session.flush()
        assert course.first_id == course.second_id != None  # noqa: E711


def test_a_viewonly_end_is_not_saved(engine):
    Base = school(FREE, many={"viewonly": True}, column={"nullable": True})
    Base.metadata.create_all(engine)
    Program, Course = Base.made
    with Session(engine) as session:
        course = Course(program=Program())
        session.add_all([course, course.program])
        session.flush()
        assert course.program_id is None


def test_a_delete_cascade_without_save_update_does_not_save_the_child(engine):
    Base = school({"cascade": "delete, delete-orphan"}, many=False)
    Base.metadata.create_all(engine)
    Program, Course = Base.made
    with Session(engine) as session:
        session.add(Program(courses=[Course()]))
        with pytest.warns(match="not in session"):
            session.flush()
        assert session.scalar(select(func.count(Course.id))) == 0


@pytest.mark.parametrize("case", ["key-to-no-unique", "key-of-another-type"])
def test_a_wrong_target_is_refused_by_postgresql_at_once(postgresql, case):
    with private_engine("mapping") as engine, pytest.raises(Exception, match="key"):
        CASES[case][2]().metadata.create_all(engine)


def test_a_target_that_is_not_unique_is_refused_by_sqlite_at_the_insert(workspace):
    def act(session, Program, Course):
        session.add(Course(key=1))

    with private_engine("mapping") as engine:
        fails(engine, CASES["key-to-no-unique"][2](), act, Exception)


# --- SQLAlchemy warns of the same conflicts -------------------------------------------------------


@pytest.mark.parametrize("first", ["courses", "heavy"])
def test_the_second_list_is_the_one_for_reading(first):
    heavy = "and_(Program.id == Course.program_id, Course.id > 8)"
    lists = {
        "courses": relationship("Course", back_populates="program"),
        "heavy": relationship("Course", primaryjoin=heavy),
    }
    Base = classes(
        {"name": "Program", first: lists.pop(first), **lists},
        {
            "name": "Course",
            "program_id": mapped_column(ForeignKey("program.id")),
            "program": relationship("Program", back_populates="courses"),
        },
    )
    cures = [f.cure for f in check_mapping(Base).findings if f.check == "conflict"]
    assert len(cures) == 2
    assert all(cure.startswith("heavy: ") and "viewonly=True" in cure for cure in cures)


def test_two_ends_of_a_composite_key_are_to_be_linked():
    Base = composite(both())
    Program, Course = Base.made
    Program.courses = relationship(Course, cascade=OWNED)
    Course.in_program = relationship(Program)
    (finding,) = check_mapping(Base).findings
    assert finding.where == "Program.courses, Course.in_program"
    assert 'back_populates="in_program"' in finding.cure
    assert 'back_populates="courses"' in finding.cure


def both_ends_alone():
    Base = type("Base", (DeclarativeBase,), {})
    listing = Table(
        "listing",
        Base.metadata,
        Column("program_id", ForeignKey("program.id"), primary_key=True),
        Column("course_id", ForeignKey("course.id"), primary_key=True, index=True),
    )
    return classes(
        {"name": "Program", "courses": relationship("Course", secondary=listing)},
        {"name": "Course", "programs": relationship("Program", secondary=listing)},
        base=Base,
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: school({"back_populates": None}, many={"back_populates": None}),
        lambda: school({"back_populates": None}),
        lambda: school(),
        lambda: school(
            {"back_populates": None, "overlaps": "program"},
            many={"back_populates": None},
        ),
        two_lists,
        lambda: two_lists(viewonly=True),
        lambda: two_lists(overlaps="courses"),
        lambda: two_lists(overlaps="courses,program"),
        both_ends_alone,
        lambda: association(viewonly=False),
        lambda: association(viewonly=True),
        lambda: overlapping(isolated=False),
        lambda: overlapping(isolated=True),
        lambda: two_keys("second_id"),
        each_other,
        tree,
    ],
)
def test_conflicts_are_those_of_which_sqlalchemy_warns(build):
    Base = build()
    with warnings.catch_warnings(record=True, action="always") as said:
        Base.registry.configure()
    assert ("conflict" in checks(Base)) == any(
        "will copy column" in str(warning.message) for warning in said
    )


# --- mappings in the style of SQLAlchemy's documentation --------------------------------------------
# https://docs.sqlalchemy.org/en/21/orm/basic_relationships.html and the pages beside it


def association(viewonly=True):
    """An association class, and a many-to-many past it."""
    past = {"secondary": "listing", "viewonly": viewonly}
    return classes(
        {
            "name": "Program",
            "courses": relationship("Course", **past),
            "listings": relationship("Listing", back_populates="program"),
        },
        {
            "name": "Course",
            "programs": relationship("Program", **past),
            "listings": relationship("Listing", back_populates="course"),
        },
        {
            "name": "Listing",
            "id": None,
            "program_id": mapped_column(ForeignKey("program.id"), primary_key=True),
            "course_id": mapped_column(ForeignKey("course.id"), primary_key=True),
            "note": mapped_column(String),
            "program": relationship("Program", back_populates="listings"),
            "course": relationship("Course", back_populates="listings"),
        },
    )


def overlapping(isolated=True):
    """Two composite keys that share a column; `foreign` marks the one that the second may write."""
    body = {
        "name": "Essay",
        "book_id": mapped_column(ForeignKey("book.id"), index=True),
        "author_id": mapped_column(Integer),
        "__table_args__": (
            ForeignKeyConstraint(
                ["author_id", "book_id"], ["author.id", "author.book_id"]
            ),
        ),
        "book": relationship("Book"),
        "author": relationship("Author"),
    }
    Base = classes(
        {"name": "Book"},
        {
            "name": "Author",
            "book_id": mapped_column(
                ForeignKey("book.id"), primary_key=True, index=True
            ),
        },
    )
    if isolated:
        Author = Base.made[1]
        body["author"] = relationship(
            "Author",
            primaryjoin=lambda: (
                (Author.id == foreign(Base.made[2].author_id))
                & (Author.book_id == Base.made[2].book_id)
            ),
        )
    return classes(body, base=Base)


def one_way(list_side):
    return school(many=False) if list_side else school(False)


def one_to_one():
    return school(FREE, column={"unique": True}, list_of=None)


def many_to_many():
    Base = type("Base", (DeclarativeBase,), {})
    listing = Table(
        "listing",
        Base.metadata,
        Column("program_id", ForeignKey("program.id"), primary_key=True),
        Column("course_id", ForeignKey("course.id"), primary_key=True),
    )
    return classes(
        {
            "name": "Program",
            "courses": relationship(
                "Course",
                secondary=listing,
                back_populates="programs",
                cascade="all, delete",
                passive_deletes=True,
            ),
        },
        {
            "name": "Course",
            "programs": relationship(
                "Program", secondary=listing, back_populates="courses"
            ),
        },
        base=Base,
    )


def both_ways_tree():
    return classes(
        {
            "name": "Part",
            "parent_id": mapped_column(ForeignKey("part.id"), index=True),
            "parts": relationship("Part", back_populates="whole"),
            "whole": relationship(
                "Part", back_populates="parts", remote_side="Part.id"
            ),
        }
    )


def joined_classes():
    """A company has people; a manager is a person with a second row and offices of her own."""
    Base = classes(
        {"name": "Company", "people": relationship("Person", back_populates="company")},
        {
            "name": "Person",
            "kind": mapped_column(String),
            "company_id": mapped_column(ForeignKey("company.id"), index=True),
            "company": relationship("Company", back_populates="people"),
            "__mapper_args__": {"polymorphic_on": "kind", "polymorphic_identity": "p"},
        },
    )
    Person = Base.made[1]
    return classes(
        {
            "name": "Manager",
            "parent": Person,
            "id": mapped_column(ForeignKey("person.id"), primary_key=True),
            "offices": relationship("Office", back_populates="manager"),
            "__mapper_args__": {"polymorphic_identity": "m"},
        },
        {
            "name": "Clerk",
            "parent": Person,
            "id": None,
            "__tablename__": None,
            "desk": mapped_column(String, nullable=True),
            "__mapper_args__": {"polymorphic_identity": "c"},
        },
        {
            "name": "Office",
            "manager_id": mapped_column(ForeignKey("manager.id"), index=True),
            "manager": relationship("Manager", back_populates="offices"),
        },
        base=Base,
    )


def concrete_classes():
    """Each class has a table of its own, and a key of its own to the company."""

    def person(name, **more):
        return {
            "name": name,
            "company_id": mapped_column(ForeignKey("company.id"), index=True),
            "company": relationship("Company", back_populates="people"),
            **more,
        }

    Base = classes(
        {"name": "Company", "people": relationship("Person", back_populates="company")},
        person("Person"),
    )
    more = {"parent": Base.made[1], "__mapper_args__": {"concrete": True}}
    return classes(person("Manager", **more), base=Base)


def dataclasses():
    class Base(orm.MappedAsDataclass, DeclarativeBase):
        pass

    class Program(Base):
        __tablename__ = "program"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        courses: Mapped[list[Course]] = relationship(
            back_populates="program", default_factory=list
        )

    class Course(Base):
        __tablename__ = "course"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        program_id: Mapped[int | None] = mapped_column(
            ForeignKey("program.id"), init=False
        )
        program: Mapped[Program | None] = relationship(
            back_populates="courses", default=None
        )

    Program.__annotations__["courses"] = Mapped[list[Course]]
    Base.made = (Program, Course)
    return Base


def write_only():
    one = {"lazy": "write_only", "order_by": "Course.id", **FREE, **PASSIVE}
    return school(one, {"ondelete": "cascade"})


def joined_by_composite():
    Base = composite(both())
    Program, Course = Base.made
    Program.courses = relationship(Course, back_populates="in_program", cascade=OWNED)
    Course.in_program = relationship(Program, back_populates="courses")
    return Base


def numbered():
    return school(
        FREE | {"order_by": "Course.id", "collection_class": ordering_list("id")}
    )


def by_name():
    return school(
        FREE | {"collection_class": orm.attribute_keyed_dict("id")},
        many={"lazy": "joined"},
    )


def two_addresses():
    """Two keys to one table, each with its own relationship."""
    return classes(
        {
            "name": "Customer",
            "billing_id": mapped_column(ForeignKey("address.id"), index=True),
            "shipping_id": mapped_column(ForeignKey("address.id"), index=True),
            "billing": relationship("Address", foreign_keys="Customer.billing_id"),
            "shipping": relationship("Address", foreign_keys="Customer.shipping_id"),
        },
        {"name": "Address"},
    )


def favourite():
    return each_other(post_update=True)


def owned_preference():
    """A many-to-one that owns its row: the documented use of single_parent."""
    return school(False, None, NULL, {"cascade": OWNED, "single_parent": True})


def only_some():
    return two_lists(viewonly=True)


def newest():
    """A relationship to the first of each group, as a scalar: it leads to an aliased class."""
    Base = school(FREE)
    Program, Course = Base.made
    place = func.row_number().over(partition_by=Course.program_id, order_by=Course.id)
    placed = select(Course, place.label("place")).subquery()
    Placed = orm.aliased(Course, placed)
    Program.newest = relationship(
        Placed,
        primaryjoin=(Program.id == Placed.program_id) & (placed.c.place <= 3),
        viewonly=True,
        lazy="selectin",
    )
    return Base


def one_as_documented(name, child):
    """The one-to-one of the documentation, whose table takes many."""
    one = relationship(child, back_populates="program", uselist=False, **FREE)
    return classes(
        {"name": "Program", name: one},
        {
            "name": child,
            "program_id": mapped_column(ForeignKey("program.id"), index=True),
            "program": relationship("Program", back_populates=name),
        },
    )


def folders():
    """A tree within an account: the key of two columns leads to the table itself."""
    return classes(
        {
            "name": "Folder",
            "id": None,
            "account": mapped_column(Integer, primary_key=True),
            "number": mapped_column(Integer, primary_key=True),
            "above": mapped_column(Integer),
            "__table_args__": (
                ForeignKeyConstraint(
                    ["account", "above"], ["folder.account", "folder.number"]
                ),
            ),
            "whole": relationship(
                "Folder",
                back_populates="folders",
                remote_side="[Folder.account, Folder.number]",
            ),
            "folders": relationship("Folder", back_populates="whole"),
        }
    )


def both_ways_of_a_graph():
    """Courses that come before and after others: a class with itself, over a table."""
    Base = type("Base", (DeclarativeBase,), {})
    keys = (Column(n, ForeignKey("course.id"), primary_key=True) for n in ("a", "b"))
    Table("order", Base.metadata, *keys)
    order, body = Base.metadata.tables["order"], {"name": "Course"}
    body["after"] = relationship(
        "Course",
        primaryjoin=lambda: Base.made[0].id == order.c.a,
        secondaryjoin=lambda: Base.made[0].id == order.c.b,
        back_populates="before",
        secondary=order,
    )
    body["before"] = relationship(
        "Course",
        primaryjoin=lambda: Base.made[0].id == order.c.b,
        secondaryjoin=lambda: Base.made[0].id == order.c.a,
        back_populates="after",
        secondary=order,
    )
    return classes(body, base=Base)


def through_others():
    """A relationship to read only, over a join of several tables."""

    def between():
        _, B, C, D = (cls.__table__ for cls in Base.made)
        return B.join(D, B.c.d_id == D.c.id).join(C, C.c.d_id == D.c.id)

    def key(table):
        return mapped_column(ForeignKey(f"{table}.id"), index=True)

    past = relationship(
        "D",
        secondary=between,
        primaryjoin="and_(A.b_id == B.id, A.id == C.a_id)",
        secondaryjoin="D.id == B.d_id",
        uselist=False,
        viewonly=True,
    )
    Base = classes(
        {"name": "A", "b_id": key("b"), "d": past},
        {"name": "B", "d_id": key("d")},
        {"name": "C", "a_id": key("a"), "d_id": key("d")},
        {"name": "D"},
    )
    return Base


def write_only_past_a_table():
    Base = type("Base", (DeclarativeBase,), {})
    keys = (
        Column(f"{n}_id", ForeignKey(f"{n}.id", ondelete="CASCADE"), primary_key=True)
        for n in ("audit", "payment")
    )
    listing = Table("audited", Base.metadata, *keys)
    payments = relationship(
        "Payment", secondary=listing, lazy="write_only", passive_deletes=True
    )
    return classes(
        {"name": "Audit", "payments": payments}, {"name": "Payment"}, base=Base
    )


def numbers_in_numbers():
    """A join that is no key at all: it says itself which side is foreign."""
    body = {"name": "Host", "address": mapped_column(Integer)}
    body["nets"] = relationship(
        "Net", primaryjoin="foreign(Net.first) <= Host.address", viewonly=True
    )
    return classes(body, {"name": "Net", "first": mapped_column(Integer)})


DOCUMENTED = {
    "one-to-many": (lambda: one_way(True), USUAL),
    "many-to-one": (lambda: one_way(False), USUAL),
    "both ways": (school, USUAL),
    "may be NULL": (lambda: school(column=NULL), set()),
    "one-to-one": (one_to_one, set()),
    "many-to-many": (many_to_many, {"no-index"}),
    "association": (association, USUAL),
    "tree": (both_ways_tree, set()),
    "inheritance": (joined_classes, set()),
    "concrete inheritance": (concrete_classes, set()),
    "dataclasses": (dataclasses, {"no-index"}),
    "write-only": (write_only, set()),
    "composite key": (joined_by_composite, set()),
    "overlapping keys": (overlapping, {"no-index"}),
    "ordering_list": (numbered, set()),
    "dict": (by_name, set()),
    "two keys": (two_addresses, set()),
    "post_update": (favourite, set()),
    "single_parent": (owned_preference, set()),
    "viewonly": (only_some, set()),
    "aliased": (newest, set()),
    "the lessons' own": (lambda: university.Base, USUAL),
    # quickstart
    "quickstart": (lambda: school(FREE, column={"index": False}), {"no-index"}),
    # self_referential
    "composite tree": (folders, {"required-key"}),
    # join_conditions
    "a graph": (both_ways_of_a_graph, {"no-index"}),
    "composite secondary": (through_others, set()),
    "a comparison of its own": (numbers_in_numbers, set()),
    # large_collections
    "write-only, many-to-many": (write_only_past_a_table, {"no-index"}),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_no_false_alarm_on_documented_mappings(name):
    build, usual = DOCUMENTED[name]
    Base = build()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = check_mapping(Base)
    assert {f.check for f in result.findings} <= usual, result
    assert not result.breaks


@pytest.mark.parametrize(
    ("name", "child", "level"),
    [
        ("about", "About", "style"),
        ("home_address", "Address", "style"),
        ("addresses", "Address", "surprises"),
    ],
)
def test_one_object_where_the_table_takes_many(name, child, level):
    """As the documentation maps a one-to-one it is true, and no alarm if the name says one."""
    (finding,) = check_mapping(one_as_documented(name, child)).findings
    assert (finding.level, finding.check) == (level, "one-for-many")
    assert "unique=True" in finding.cure


# --- a mapping that SQLAlchemy cannot configure -----------------------------------------------------


def misspelt():
    return Coures  # noqa: F821


@pytest.mark.parametrize(
    ("build", "says", "cure"),
    [
        (
            lambda: school({"back_populates": "progam"}),
            "InvalidRequestError: Mapper 'Mapper[Course(course)]' has no property 'progam'",
            "correct the name in back_populates",
        ),
        (
            lambda: classes(
                {"name": "Program", "courses": relationship("Course")},
                {
                    "name": "Course",
                    "one_id": mapped_column(ForeignKey("program.id")),
                    "two_id": mapped_column(ForeignKey("program.id")),
                },
            ),
            "AmbiguousForeignKeysError: Could not determine join condition",
            "foreign_keys=",
        ),
        (
            lambda: classes({"name": "Program", "courses": relationship("Coures")}),
            "failed to locate a name ('Coures')",
            "look for a typing error",
        ),
        (
            lambda: classes({"name": "Program", "courses": relationship(misspelt)}),
            "NameError: name 'Coures' is not defined",
            "define Base and all its classes again",
        ),
        (
            lambda: school({"cascade": OWNED, "passive_deletes": "all"}),
            "can't set passive_deletes='all' in conjunction with 'delete'",
            "write passive_deletes=True",
        ),
        (
            lambda: classes(
                {
                    "name": "Part",
                    "parent_id": mapped_column(ForeignKey("part.id")),
                    "parts": relationship("Part", back_populates="whole"),
                    "whole": relationship("Part", back_populates="parts"),
                }
            ),
            "both of the same direction",
            "remote_side=",
        ),
    ],
)
def test_what_stops_the_mapping_is_the_one_finding(build, says, cure):
    Base = build()
    for _ in range(2):  # SQLAlchemy tells the cause only once
        result = check_mapping(Base)
        (finding,) = result.findings
        assert result.breaks and finding.check == "not-configured"
        assert says in finding.what and cure in finding.cure
        assert (NOTEBOOKS / finding.lesson).is_file()
        assert "\n" not in finding.what


# --- beside a database ------------------------------------------------------------------------------

GOOD = {"one": FREE | PASSIVE, "key": {"ondelete": "CASCADE"}}


def test_a_database_that_agrees_adds_nothing(engine):
    Base = school(**GOOD)
    Base.metadata.create_all(engine)
    assert found(Base, engine) == set()
    with engine.connect() as connection:
        assert found(Base, connection) == set()
        assert not connection.in_transaction()
        connection.execute(text("SELECT 1"))
        assert found(Base, connection) == set()
        assert connection.in_transaction()


def test_missing_tables_are_one_finding(engine):
    assert found(school(**GOOD), engine) == {("breaks", "no-table", "course, program")}


def test_a_view_is_no_missing_table(engine):
    Base = school(**GOOD)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW titles AS SELECT id FROM course"))
    classes({"name": "Title", "__tablename__": "titles"}, base=Base)
    assert found(Base, engine) == set()


def test_a_table_older_than_its_class_lacks_a_column(engine):
    school(**GOOD).metadata.create_all(engine)
    Base = school(**GOOD, motto=mapped_column(String))
    assert found(Base, engine) == {("breaks", "no-column", "Program.motto")}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (None, {("breaks", "another-rule", "Course.program_id")}),
        ("SET NULL", {("breaks", "another-rule", "Course.program_id")}),
        ("CASCADE", set()),
    ],
)
def test_another_rule_in_the_database(engine, there, said):
    school({}, {"ondelete": there}, NULL).metadata.create_all(engine)
    Base = school(FREE | PASSIVE, {"ondelete": "CASCADE"}, NULL)
    assert found(Base, engine) == said


def test_rules_that_refuse_alike_are_alike(engine):
    school(FREE, {"ondelete": "RESTRICT"}).metadata.create_all(engine)
    assert found(school(FREE, {"ondelete": "NO ACTION"}), engine) == set()


def test_a_key_that_the_database_lacks(engine):
    Base = classes(
        {"name": "Program"},
        {
            "name": "Course",
            "program_id": mapped_column(Integer, nullable=False, index=True),
        },
    )
    Base.metadata.create_all(engine)
    assert found(school(**GOOD), engine) == {("breaks", "no-key", "Course.program_id")}


@pytest.mark.parametrize(("here", "level"), [(True, "breaks"), (False, "surprises")])
def test_a_key_that_may_be_null_in_one_place_only(engine, here, level):
    school(**GOOD, column={"nullable": not here}).metadata.create_all(engine)
    Base = school(**GOOD, column={"nullable": here})
    assert found(Base, engine) == {(level, "another-null", "Course.program_id")}


def test_an_index_counts_where_the_database_has_it(engine):
    bare, indexed = (school(**GOOD, column={"index": i}) for i in (False, True))
    bare.metadata.create_all(engine)
    (finding,) = check_mapping(indexed, engine).findings
    assert (finding.check, finding.where) == ("no-index", "Course.program_id")
    assert "declares an index" in finding.what
    scope = {"Course": indexed.made[1], "engine": engine}
    exec(finding.cure, scope)
    assert found(indexed, engine) == found(bare, engine) == set()


def test_a_connection_of_sqlite_that_does_not_look():
    engine = create_engine("sqlite://")
    Base, plain = school(**GOOD), school(FREE)
    Base.metadata.create_all(engine)
    assert found(Base, engine) == {("breaks", "keys-not-enforced", "the engine")}
    engine.dispose()
    plain.metadata.create_all(engine)
    assert found(plain, engine) == {("surprises", "keys-not-enforced", "the engine")}
    (finding,) = check_mapping(plain, engine).findings
    careful = create_engine("sqlite://")
    exec(finding.cure, {"event": event, "engine": careful})
    plain.metadata.create_all(careful)
    assert found(plain, careful) == set()


def test_a_rule_written_beside_its_column_is_seen(workspace):
    with private_engine("mapping") as engine:
        with engine.begin() as connection:
            for statement in (
                "CREATE TABLE program (id INTEGER NOT NULL PRIMARY KEY)",
                "CREATE TABLE course (id INTEGER NOT NULL PRIMARY KEY, program_id INTEGER NOT NULL"
                " REFERENCES program (id) ON DELETE CASCADE)",
                "CREATE INDEX ix ON course (program_id)",
            ):
                connection.execute(text(statement))
        assert found(school(**GOOD), engine) == set()


def test_tables_of_another_schema(postgresql):
    with private_engine("mapping") as engine:
        name = f"mapping_{uuid.uuid4().hex[:8]}"
        Base = type("Base", (DeclarativeBase,), {"metadata": MetaData(schema=name)})
        classes(
            {
                "name": "Program",
                "courses": relationship("Course", cascade=OWNED, passive_deletes=True),
            },
            {
                "name": "Course",
                "program_id": mapped_column(
                    ForeignKey("program.id", ondelete="CASCADE"), index=True
                ),
            },
            base=Base,
        )
        with engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text(f"CREATE SCHEMA {name}"))
            Base.metadata.create_all(connection)
            assert found(Base, connection) == set()
            transaction.rollback()
        assert found(Base, engine) == {
            ("breaks", "no-table", f"{name}.course, {name}.program")
        }


def test_nothing_is_changed_and_only_the_catalogue_is_asked(engine):
    Base = school(**GOOD)
    Base.metadata.create_all(engine)
    sent = []
    event.listen(
        engine, "before_cursor_execute", lambda *args: sent.append(args[2].split()[0])
    )
    check_mapping(Base, engine)
    assert sent and set(sent) <= {"SELECT", "PRAGMA", "SHOW", "BEGIN"}, set(sent)


def test_an_async_engine_by_run_sync(database):
    from lesson_support import connect_async

    Base = school(**GOOD)

    async def main():
        engine = connect_async("14")
        with pytest.raises(LessonError, match="run_sync"):
            check_mapping(Base, engine)
        async with engine.connect() as connection:
            result = await connection.run_sync(lambda sync: found(Base, sync))
        await engine.dispose()
        return result

    assert asyncio.run(main()) == {("breaks", "no-table", "course, program")}


# --- what is given, and what is shown -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: (42,), "int is no Base"),
        (lambda: (university.Program,), "Program is one of the mapped classes"),
        (lambda: (type("Base", (DeclarativeBase,), {}),), "Base has no mapped classes"),
        (lambda: (university.Base, "sqlite://"), "wants an Engine"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(given, says):
    with pytest.raises(LessonError, match=says) as raised:
        check_mapping(*given())
    assert str(raised.value).count("\n") == 0 and str(raised.value).endswith(".")


def test_a_class_whose_definition_failed_is_named():
    Base = school(FREE)
    with pytest.raises(ArgumentError) as kept:  # it keeps the half-made class alive
        type("Room", (Base,), {"__tablename__": "room"})
    assert kept
    with pytest.raises(LessonError, match="The class Room is not mapped to the end"):
        check_mapping(Base)


def test_a_registry_is_as_good_as_its_base():
    assert found(university.Base.registry) == found(university.Base)


def test_both_forms_say_the_same():
    result = check_mapping(school(PASSIVE, {"ondelete": "CASCADE"}, {"index": False}))
    assert [f.level for f in result.findings] == ["breaks", "style"]
    assert result.plain.startswith("Base, 2 classes: 1 breaks, 1 style\n")
    html = re.sub(r"<[^>]+>", "", result.html)
    for finding in result.findings:
        for words in (finding.where, finding.level, finding.lesson[:2]):
            assert words in result.plain and words in html
        flat = " ".join(result.plain.split())
        assert finding.what in flat and " ".join(finding.cure.split()) in flat
    assert "<b>breaks</b>" in result.html and "script" not in result.html
    assert repr(check_mapping(school(**GOOD))) == "Base, 2 classes: nothing found"


def test_names_are_escaped():
    Base = classes({"name": "<b>", "query": None})
    assert "<b>, " not in check_mapping(Base).html.replace("<b>style", "")


def test_the_same_in_every_run_and_levels_in_order():
    results = [check_mapping(association(viewonly=False)) for _ in range(3)]
    assert len({result.plain for result in results}) == 1
    levels = [LEVELS.index(f.level) for f in results[0].findings]
    assert levels == sorted(levels)


def test_two_hundred_classes_cost_in_proportion_to_fifty():
    """Work is counted in calls, as time says nothing on a busy machine."""
    import cProfile

    def calls(pairs):
        Base = type("Base", (DeclarativeBase,), {})
        for n in range(pairs):
            classes(
                {"name": f"P{n}", "cs": relationship(f"C{n}", back_populates="p")},
                {
                    "name": f"C{n}",
                    "p_id": mapped_column(ForeignKey(f"p{n}.id")),
                    "p": relationship(f"P{n}", back_populates="cs"),
                },
                base=Base,
            )
        Base.registry.configure()
        profile = cProfile.Profile()
        assert len(profile.runcall(check_mapping, Base).findings) == pairs
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(100) < 6 * calls(25)
