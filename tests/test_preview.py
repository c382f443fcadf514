"""`preview_delete` says beforehand what a delete then does."""

from __future__ import annotations

import asyncio
import os
import re
import tracemalloc
import uuid
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from itertools import product

import pytest
from grown import DATABASE, KEPT, SESSION, Grown, Happened, Node, Way, delete_it, read
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from mapped import OWNED, classes, school
from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Session,
    attribute_keyed_dict,
    make_transient_to_detached,
    mapped_column,
    raiseload,
    relationship,
    scoped_session,
)

from lesson_support import LessonError, connect_async, preview_delete
from lesson_support.database import private_engine

# A longer run: LESSONS_EXAMPLES=5000 pytest tests/test_preview.py -k random
EXAMPLES = int(os.environ.get("LESSONS_EXAMPLES", 0))
# SQLAlchemy does not map the sixth pair, passive_deletes="all" beside a delete cascade.
PASSIVE = [(KEPT, False), (KEPT, True), (KEPT, "all"), (OWNED, False), (OWNED, True)]
RULES = (None, "RESTRICT", "NO ACTION", "CASCADE", "SET NULL")


@pytest.fixture
def engine(database):
    with private_engine("preview") as engine:
        yield engine


def compare(facts, happened: Happened) -> None:
    """What was said beforehand equals what happened."""
    if facts.unknown:
        assert facts.statements is None
        return
    if happened.error:
        assert happened.error in {refusal.rule for refusal in facts.refused}
    else:
        assert not facts.refused
        assert facts.deleted == happened.deleted
        assert facts.set_null == happened.set_null
        assert facts.dangling == happened.dangling
    if facts.statements is not None:
        assert facts.statements == happened.statements


def unchanged(session: Session):
    """What the Session holds, and of each object what is loaded."""
    states = session.identity_map.all_states()
    return (
        {state.key: sorted(state.dict) for state in states},
        (len(session.new), len(session.dirty), len(session.deleted)),
        session.in_transaction(),
    )


# --- the 60 cases of lesson 09 and their NOT NULL twins ----------------------------------------


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("ondelete", RULES)
def test_the_cases_of_lesson_09(engine, ondelete, nullable):
    for both, loaded in product(PASSIVE, (False, True)):
        way = Way(*both, ondelete, nullable)
        grown = Grown([Node(), Node(0, way)])
        rows = [[{"id": 1}], [{"id": 1, "up_id": 1}, {"id": 2, "up_id": 1}]]
        with grown.filled(engine, rows) as connection, Session(connection) as session:
            before = read(connection, grown.Base.metadata)
            parent = session.get(grown.classes[0], 1)
            if loaded:
                assert len(parent.up_t1) == 2
            facts = preview_delete(session, parent).facts
            happened = delete_it(session, parent, before)
            assert facts.unknown == [] and facts.statements is not None
            compare(facts, happened)
            if happened.error:
                assert [refusal.rule for refusal in facts.refused] == [happened.error]


# --- random trees ----------------------------------------------------------------------------------

ways = st.builds(
    lambda both, *more: Way(*both, *more),
    st.sampled_from(PASSIVE),
    st.sampled_from(RULES),
    st.booleans(),  # may be NULL
    st.sampled_from((True, True, True, False)),  # has the list
    st.booleans(),  # has the way up
)


@st.composite
def tables(draw, own: bool = False) -> list[Node]:
    """A root and up to three levels of tables; with `own`, the rows of the root are a tree too."""
    nodes = [Node(own=replace(draw(ways), nullable=True) if own else None)]
    level = [1]
    for _ in range(draw(st.integers(not own, 4))):
        above = draw(st.sampled_from([n for n in range(len(nodes)) if level[n] < 4]))
        nodes.append(Node(above, draw(ways)))
        level.append(level[above] + 1)
    return nodes


@st.composite
def nets(draw) -> list[Node]:
    """Tables with a second key to some table, or with rows that are a tree in themselves."""
    nodes = draw(tables())
    for number, node in enumerate(nodes):
        own = replace(draw(ways), nullable=True) if draw(st.booleans()) else None
        extra = None
        if number and draw(st.booleans()):
            extra = draw(st.integers(0, number - 1)), draw(ways)
        nodes[number] = replace(node, own=own, extra=extra)
    return nodes


def drawn_rows(data, nodes: list[Node]) -> list[list[dict]]:
    """Some rows for each table, that point at rows made before them."""
    made: list[list[dict]] = []
    for number, node in enumerate(nodes):
        made.append([])
        most = 5 if number or node.own else 2
        for id in range(1, 1 + data.draw(st.integers(number == 0, most))):
            row = {"id": id}
            for key, above, way in node.ways:
                there = [r["id"] for r in made[number if above is None else above]]
                row[key] = data.draw(
                    st.sampled_from([*there, *[None] * way.nullable] or [0])
                )
            if 0 not in row.values():
                made[-1].append(row)
    return made


def load_some(data, session: Session, grown: Grown, rows: list[list[dict]]):
    """Read some objects and some of their lists; the first one is that which will be deleted."""
    choices = [(number, row["id"]) for number, all in enumerate(rows) for row in all]
    first = 0, data.draw(st.sampled_from(rows[0]))["id"]
    held = []
    for number, id in dict.fromkeys([first, *choices]):
        if not held or data.draw(st.booleans()):
            held.append(session.get(grown.classes[number], id))
            lists = grown.lists(number)
            for name in data.draw(st.sets(st.sampled_from(lists))) if lists else ():
                len(getattr(held[-1], name))
    forget = data.draw(st.sampled_from((None, None, session.commit, session.rollback)))
    if forget:
        forget()
    elif data.draw(st.integers(0, 3)) == 3:
        session.expire(held[0])
    return held


def predict_and_delete(data, engine, nodes: list[Node]):
    """Map the tables, fill them, load something, and compare the preview with the delete."""
    rows = drawn_rows(data, nodes)
    grown = Grown(nodes)
    enforced = engine.dialect.name != "sqlite" or data.draw(st.integers(0, 4)) > 0
    with (
        grown.filled(engine, rows, enforced) as connection,
        Session(connection) as session,
    ):
        there = read(connection, grown.Base.metadata)
        held = load_some(data, session, grown, rows)
        before = unchanged(session)
        shown = preview_delete(session, held[0])
        note(f"{rows}\n{shown}")
        assert unchanged(session) == before
        happened = delete_it(session, held[0], there)
        note(f"{happened}")
        compare(shown.facts, happened)
    return shown.facts, happened


many = settings(
    derandomize=not EXAMPLES,
    deadline=None,
    max_examples=EXAMPLES or 120,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@many
@given(nodes=tables(own=False), data=st.data())
def test_random_trees_of_tables(engine, nodes, data):
    facts, happened = predict_and_delete(data, engine, nodes)
    assert facts.unknown == []
    assert facts.statements is not None or happened.error


@many
@given(nodes=tables(own=True), data=st.data())
def test_random_trees_of_rows(engine, nodes, data):
    facts, happened = predict_and_delete(data, engine, nodes)
    assert facts.unknown == []
    # by a way up, the flush may ask for the parent of the object
    assert facts.statements is not None or happened.error or nodes[0].own.back


@many
@given(nodes=nets(), data=st.data())
def test_random_nets_of_tables(engine, nodes, data):
    """Where rows are reached by two keys, it is foreseen or said to be unknown."""
    predict_and_delete(data, engine, nodes)


# --- other plain mappings --------------------------------------------------------------------------


@contextmanager
def stored(engine, Base, *objects, sql: tuple[str, ...] = ()):
    """A Session that has read nothing, on a connection to a database with these objects."""
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        for statement in sql:
            connection.execute(text(statement))
        connection.commit()
        with Session(connection) as session:
            for one in objects:
                session.add(one)
                session.flush()
            session.commit()
        with Session(connection) as session:
            yield session
        connection.rollback()


def proved(session: Session, obj):
    """The preview, when the delete has proved it."""
    there = read(session.get_bind(), obj.metadata)
    shown = preview_delete(session, obj)
    assert shown.facts.unknown == [], shown
    compare(shown.facts, delete_it(session, obj, there))
    return shown.facts


CASCADE = {"ondelete": "CASCADE"}
NULL = {"nullable": True}
FREE, PASSIVE_TOO = {"cascade": OWNED}, {"cascade": OWNED, "passive_deletes": True}


def blog(comments_of_user=True, **posts):
    """A comment hangs on a post and on a user, who may be the writer of the post."""
    own = {"comments": relationship("Comment", **FREE)} if comments_of_user else {}
    return classes(
        {"name": "User", "posts": relationship("Post", **posts), **own},
        {
            "name": "Post",
            "user_id": mapped_column(ForeignKey("user.id", **CASCADE)),
            "comments": relationship("Comment", **posts),
        },
        {
            "name": "Comment",
            "post_id": mapped_column(ForeignKey("post.id", **CASCADE)),
            "user_id": mapped_column(ForeignKey("user.id")),
        },
    )


def some_comments(User, Post, Comment):
    """Ada has two posts; of four comments on them one is her own, and she wrote one elsewhere."""
    ada, ben = User(id=1), User(id=2)
    posts = [Post(id=1, user_id=1), Post(id=2, user_id=1), Post(id=3, user_id=2)]
    pairs = [(1, 1), (1, 2), (2, 2), (2, 2), (3, 1), (3, 2)]
    return [ada, ben, *posts, *(Comment(post_id=p, user_id=u) for p, u in pairs)]


def test_rows_that_are_reached_by_two_keys_count_once(engine):
    Base = blog(**FREE)
    with stored(engine, Base, *some_comments(*Base.made)) as session:
        facts = proved(session, session.get(Base.made[0], 1))
        assert facts.deleted["comment", SESSION] == 5
        assert facts.statements == 1 + 1 + 2 + 3


def test_what_the_session_deletes_first_cannot_be_refused_later(engine):
    Base = blog(comments_of_user=False, **FREE)
    rows = [r for r in some_comments(*Base.made) if getattr(r, "post_id", 0) != 3]
    with stored(engine, Base, *rows) as session:
        assert not proved(session, session.get(Base.made[0], 1)).refused


def test_one_comment_elsewhere_is_refused(engine):
    Base = blog(comments_of_user=False, **FREE)
    with stored(engine, Base, *some_comments(*Base.made)) as session:
        (refusal,) = proved(session, session.get(Base.made[0], 1)).refused
        assert (refusal.rule, refusal.table, refusal.rows) == (
            "foreign key",
            "comment",
            1,
        )
        assert refusal.at == "at the DELETE of user"


def composite(order=("title", "year")):
    """A program has a key of two columns, and the key of its courses names them in some order."""
    columns = [f"program_{name}" for name in order]
    there = [f"program.{name}" for name in order]
    return classes(
        {
            "name": "Program",
            "id": None,
            "title": mapped_column(String(9), primary_key=True),
            "year": mapped_column(Integer, primary_key=True),
            "courses": relationship("Course", **PASSIVE_TOO),
            "rooms": relationship("Room"),
        },
        {
            "name": "Course",
            "program_title": mapped_column(String(9)),
            "program_year": mapped_column(Integer),
            "__table_args__": (ForeignKeyConstraint(columns, there, **CASCADE),),
        },
        {
            "name": "Room",
            "program_title": mapped_column(String(9)),
            "program_year": mapped_column(Integer),
            "__table_args__": (ForeignKeyConstraint(columns, there),),
        },
    )


def by_name(**options):
    """The key points at a unique column that is not the primary key."""
    return classes(
        {
            "name": "Program",
            "title": mapped_column(String(9), unique=True),
            "courses": relationship("Course", **options),
        },
        {
            "name": "Course",
            "program_title": mapped_column(ForeignKey("program.title", **CASCADE)),
            "rooms": relationship("Room", **options),
        },
        {
            "name": "Room",
            "course_id": mapped_column(ForeignKey("course.id", **CASCADE)),
        },
    )


def by_uuid():
    ids = [{"id": mapped_column(Uuid, primary_key=True)} for _ in range(2)]
    there = ForeignKey("program.id")
    return classes(
        {"name": "Program", "courses": relationship("Course", **FREE), **ids[0]},
        {"name": "Course", "program_id": mapped_column(there), **ids[1]},
    )


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("order", [("title", "year"), ("year", "title")])
def test_keys_of_two_columns(engine, order, loaded):
    Base = composite(order)
    Program, Course, Room = Base.made
    keys = [("a", 1), ("a", 2), ("b", 1)]
    rows = [Program(title=t, year=y) for t, y in keys]
    for t, y in [*keys, *keys, ("a", None)]:
        rows += [cls(program_title=t, program_year=y) for cls in (Course, Room)]
    with stored(engine, Base, *rows) as session:
        program = session.get(Program, ("a", 1))
        if loaded:
            assert len(program.courses) == len(program.rooms) == 2
        facts = proved(session, program)
        assert facts.deleted["course", SESSION if loaded else DATABASE] == 2
        assert facts.set_null == {("room", SESSION): 2}


@pytest.mark.parametrize("options", [FREE, PASSIVE_TOO, {"passive_deletes": True}])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_key_that_points_at_a_unique_column(engine, options, loaded):
    Base = by_name(**options)
    Program, Course, Room = Base.made
    rows = [Program(id=n, title=f"P{n}") for n in (1, 2)]
    rows += [Course(id=n, program_title=f"P{n % 2 + 1}") for n in range(4)]
    rows += [Room(course_id=n) for n in range(4)]
    with stored(engine, Base, *rows) as session:
        program = session.get(Program, 1)
        if loaded:
            assert [course.rooms for course in program.courses[:1]]
        proved(session, program)


@pytest.mark.parametrize("loaded", [False, True])
def test_keys_of_another_type(engine, loaded):
    Base = by_uuid()
    Program, Course = Base.made
    ids = [uuid.UUID(int=n) for n in range(6)]
    rows = [Program(id=ids[n]) for n in (0, 1)]
    rows += [Course(id=ids[n], program_id=ids[n % 2]) for n in range(2, 6)]
    with stored(engine, Base, *rows) as session:
        program = session.get(Program, ids[0])
        if loaded:
            assert len(program.courses) == 2
        assert proved(session, program).deleted["course", SESSION] == 2


PLAIN = {
    "one to one": lambda: school(FREE, column={"unique": True}, list_of=None),
    "a way up alone": lambda: school(False),
    "a way up that is joined": lambda: school(FREE, many={"lazy": "joined"}),
    "eager": lambda: school(FREE | {"lazy": "selectin"}),
    "raise": lambda: school(FREE | {"lazy": "raise"}),
    "write-only": lambda: school(PASSIVE_TOO | {"lazy": "write_only"}, CASCADE),
    "a dict": lambda: school(FREE | {"collection_class": attribute_keyed_dict("id")}),
    "a list to look at": lambda: school(
        False,
        CASCADE,
        seen=relationship("Course", viewonly=True),
        last=relationship("Course", viewonly=True, order_by="Course.id", uselist=False),
    ),
    "updated with each UPDATE": lambda: school(
        column=NULL, course={"changed": mapped_column(DateTime, onupdate=func.now())}
    ),
    "SET DEFAULT, which is NULL": lambda: school(
        {"passive_deletes": "all"}, {"ondelete": "SET DEFAULT"}, NULL
    ),
    "no list": lambda: school({"passive_deletes": "all"}, CASCADE),
    "part of the primary key": lambda: school(column={"primary_key": True}),
}


@pytest.mark.filterwarnings("ignore:Multiple rows")
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("case", PLAIN)
def test_other_plain_mappings(engine, case, loaded):
    Base = PLAIN[case]()
    Program, Course = Base.made
    each = 1 if case == "one to one" else 3
    rows = [Program(id=n) for n in (1, 2)]
    rows += [Course(id=n, program_id=n % 2 + 1) for n in range(2 * each)]
    with stored(engine, Base, *rows) as session:
        program = session.get(Program, 1)
        for prop in Program.__mapper__.relationships if loaded else ():
            if prop.lazy not in ("write_only", "raise"):
                getattr(program, prop.key)
        facts = proved(session, program)
        assert facts.statements is not None


# --- what is not known is said ---------------------------------------------------------------------


def many_to_many(**options):
    Base = type("Base", (DeclarativeBase,), {})
    keys = (
        Column(f"{n}_id", ForeignKey(f"{n}.id"), primary_key=True)
        for n in ("program", "course")
    )
    Table("listing", Base.metadata, *keys)
    return classes(
        {
            "name": "Program",
            "courses": relationship("Course", secondary="listing", **options),
        },
        {"name": "Course", "program_id": mapped_column(Integer)},
        base=Base,
    )


def heavy(**options):
    join = "and_(Program.id == Course.program_id, Course.id > 8)"
    return school({"primaryjoin": join} | FREE, many=False, **options)


def several_tables():
    Base = school(
        FREE,
        column=NULL,
        course={
            "kind": mapped_column(String(9), default="c"),
            "__mapper_args__": {"polymorphic_on": "kind", "polymorphic_identity": "c"},
        },
    )
    body = {"id": mapped_column(ForeignKey("course.id"), primary_key=True)}
    return classes(
        {
            "name": "Seminar",
            "parent": Base.made[1],
            **body,
            "__mapper_args__": {"polymorphic_identity": "s"},
        },
        base=Base,
    )


def counted_versions():
    version = mapped_column(Integer)
    return school(
        FREE,
        course={"version": version, "__mapper_args__": {"version_id_col": version}},
    )


def each_other(**options):
    """A program has a first course, which is one of its courses."""
    first = mapped_column(ForeignKey("course.id", name="first", use_alter=True))
    way = relationship("Course", foreign_keys="Program.first_id", **options)
    return school(
        {"foreign_keys": "Course.program_id"} | FREE,
        many={"foreign_keys": "Course.program_id"},
        first_id=first,
        first=way,
    )


NOT_KNOWN = {
    "Program.courses has a secondary table": (
        many_to_many,
        lambda: many_to_many(viewonly=True),
    ),
    "Program.courses has a primaryjoin of its own": (heavy, lambda: school(FREE)),
    "Program.courses has post_update=True": (
        lambda: school({"post_update": True}, column=NULL),
        lambda: school(column=NULL),
    ),
    'Program.courses has lazy="dynamic"': (
        lambda: school({"lazy": "dynamic"}),
        lambda: school({"lazy": "raise"}),
    ),
    'Program.courses has lazy="noload"': (
        lambda: school({"lazy": "noload"}),
        lambda: school({"lazy": "raise"}),
    ),
    'Program.courses has lazy="write_only" without': (
        lambda: school({"lazy": "write_only"}),
        lambda: school({"lazy": "write_only", "passive_deletes": True}),
    ),
    "Course.program has a delete cascade on the many side": (
        lambda: school(FREE, many={"cascade": "all, delete"}),
        lambda: school(FREE),
    ),
    "Course has several tables or subclasses": (
        several_tables,
        lambda: school(FREE, column=NULL),
    ),
    "Course has a version counter": (counted_versions, lambda: school(FREE)),
    "Course is mapped with batch=False": (
        lambda: school(FREE, course={"__mapper_args__": {"batch": False}}),
        lambda: school(FREE),
    ),
    "Program.courses and Program.more write the same key": (
        lambda: school(more=relationship("Course", overlaps="courses,program")),
        lambda: school(more=relationship("Course", viewonly=True)),
    ),
    "Program.first has post_update=True": (
        lambda: each_other(post_update=True),
        lambda: school(FREE),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", NOT_KNOWN)
def test_what_a_mapping_leaves_open_is_said(database, case):
    wrong, right = NOT_KNOWN[case]
    # a mapping that is not foreseen, and its nearest twin that is
    for build, unknown in ((wrong, True), (right, False)):
        with private_engine("preview") as engine:
            Base = build()
            Program, Course = Base.made[:2]
            rows = [Program(id=1), Course(id=9, program_id=1)]
            with stored(engine, Base, *rows) as session:
                facts = preview_delete(session, session.get(Program, 1)).facts
        said = [sentence for sentence in facts.unknown if case in sentence]
        assert len(said) == unknown, facts.unknown
        assert (facts.statements is None) == unknown
        assert all(sentence.endswith(".") for sentence in facts.unknown)
        if unknown and case.startswith(("Program.courses", "Course has", "Course is")):
            assert not facts.refused and ("course", SESSION) not in facts.deleted


def open_school(engine, *rows, sql=(), **options):
    """A Session on a database with two programs of two courses each, and these rows."""
    Base = school(FREE, **options)
    Program, Course = Base.made[:2]
    rows = [Program(id=1), Program(id=2), *rows]
    rows += [Course(id=n, program_id=n % 2 + 1) for n in range(4)]
    return Base.made, stored(engine, Base, *rows, sql=sql)


AROUND = {
    "new": (
        "pending changes (1 new)",
        lambda s, p, Course: s.add(Course(program_id=1)),
    ),
    "changed": (
        "pending changes (1 changed)",
        lambda s, p, Course: setattr(s.get(Course, 1), "program_id", 1),
    ),
    "marked": (
        "pending changes (1 marked for deletion)",
        lambda s, p, Course: s.delete(s.get(Course, 1)),
    ),
    "taken out": ("pending changes", lambda s, p, Course: p.courses.pop()),
    "expired": (
        "How expired objects in Program.courses are read",
        lambda s, p, Course: s.expire(p.courses[0]),
    ),
    "partly expired": (
        "How this expired Program is read",
        lambda s, p, Course: s.expire(p, ["id"]),
    ),
    "options": (
        "Program was read with loader options",
        lambda s, p, Course: s.scalars(
            select(type(p)).options(raiseload(type(p).courses)),
            execution_options={"populate_existing": True},
        ).all(),
    ),
    "before_flush": (
        "before_flush of the Session",
        lambda s, p, Course: event.listen(s, "before_flush", print),
    ),
    "do_orm_execute": (
        "do_orm_execute of the Session",
        lambda s, p, Course: event.listen(s, "do_orm_execute", print),
    ),
    "before_delete": (
        "before_delete of Course",
        lambda s, p, Course: event.listen(Course, "before_delete", print),
    ),
}


@pytest.mark.parametrize("case", AROUND)
def test_what_the_session_leaves_open_is_said(engine, case):
    says, prepare = AROUND[case]
    (Program, Course), opened = open_school(engine)
    with opened as session:
        program = session.get(Program, 1)
        assert preview_delete(session, program).facts.unknown == []
        with session.no_autoflush:
            prepare(session, program, Course)
            before = unchanged(session)
            facts = preview_delete(session, program).facts
            assert unchanged(session) == before
    assert any(says in sentence for sentence in facts.unknown), facts.unknown
    assert facts.statements is None


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "INSERT INTO course VALUES (9, 1)",
            "2 objects in loaded lists, 3 rows in the database, 2 in both",
        ),
        (
            "DELETE FROM course WHERE id = 2",
            "2 objects in loaded lists, 1 row in the database, 1 in both",
        ),
        (
            "UPDATE course SET program_id = 3 - program_id",
            "2 rows in the database, 0 in both",
        ),
        (
            "DELETE FROM course",
            "2 objects in loaded lists, 0 rows in the database, 0 in both",
        ),
    ],
)
def test_a_list_that_another_session_made_old(engine, statement, says):
    (Program, _), opened = open_school(engine)
    with opened as session:
        program = session.get(Program, 1)
        assert len(program.courses) == 2
        # else SQLite lets nobody write beside an open Session, or PostgreSQL shows old rows
        session.connection().execute(text(statement))
        (sentence,) = preview_delete(session, program).facts.unknown
        assert says in sentence
        session.refresh(program)
        proved(session, program)


def test_a_row_that_is_gone(engine):
    Base = school(FREE)
    Program = Base.made[0]
    with stored(engine, Base, Program(id=1)) as session:
        program = session.get(Program, 1)
        session.connection().execute(text("DELETE FROM program"))
        facts = preview_delete(session, program).facts
    assert facts.unknown == ["The row of this Program is no longer in the database."]
    assert facts.deleted == {} and facts.statements is None


TRIGGERS = {
    "sqlite": ("CREATE TRIGGER more AFTER DELETE ON course BEGIN SELECT 1; END",),
    "postgresql": (
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE TRIGGER more AFTER DELETE ON course FOR EACH ROW EXECUTE FUNCTION more()",
    ),
}


def test_a_trigger_may_do_more(engine):
    (Program, _), opened = open_school(engine, sql=TRIGGERS[engine.dialect.name])
    with opened as session:
        facts = preview_delete(session, session.get(Program, 1)).facts
    assert facts.unknown == ["course has a trigger, which may do more."]


def test_a_check_may_refuse_null(engine):
    check = CheckConstraint("program_id IS NOT NULL OR id > 100")
    other = CheckConstraint("id < 1000")
    for rule, unknown in (
        (check, ["A CHECK of course speaks of this key and may refuse."]),
        (other, []),
    ):
        Base = school(column=NULL, course={"__table_args__": (rule,)})
        Program, Course = Base.made
        with (
            private_engine("preview") as engine,
            stored(engine, Base, Program(id=1), Course(id=1, program_id=1)) as session,
        ):
            assert (
                preview_delete(session, session.get(Program, 1)).facts.unknown
                == unknown
            )


def test_a_table_of_another_schema_was_not_looked_at(postgresql):
    name = f"preview_{uuid.uuid4().hex[:8]}"
    with private_engine("preview") as engine:
        (Program, _), opened = open_school(engine)
        with opened as session:
            connection = session.get_bind()
            connection.execute(text(f"CREATE SCHEMA {name}"))
            connection.execute(
                text(f"CREATE TABLE {name}.desk (id int REFERENCES program)")
            )
            facts = preview_delete(session, session.get(Program, 1)).facts
            session.close()
            connection.rollback()
    assert facts.unknown == [
        f"{name}.desk points here from another schema, where was not looked."
    ]


@pytest.mark.parametrize(("lazy", "unknown"), [("selectin", 1), ("select", 0)])
def test_a_class_in_the_middle_that_is_loaded_with_its_lists(engine, lazy, unknown):
    Base = blog(comments_of_user=False, **FREE, lazy=lazy)
    with stored(engine, Base, *some_comments(*Base.made)) as session:
        user = session.get(Base.made[0], 1)
        session.expire(user, ["posts"])
        facts = preview_delete(session, user).facts
    said = [s for s in facts.unknown if f'(lazy="{lazy}")' in s]
    assert len(said) == unknown == len(facts.unknown), facts.unknown


def test_a_session_class_with_a_delete_of_its_own(engine):
    class Careful(Session):
        def delete(self, instance):
            raise NotImplementedError

    (Program, _), opened = open_school(engine)
    with opened as session, Careful(session.connection()) as careful:
        facts = preview_delete(careful, careful.get(Program, 1)).facts
    assert "a delete() of Careful" in facts.unknown[0]


def test_a_tree_that_is_too_deep(engine):
    grown = Grown([Node(own=Way(OWNED))])
    for depth, known in ((25, True), (26, False)):
        rows = [{"id": n, "own_id": n - 1 or None} for n in range(1, depth + 1)]
        with grown.filled(engine, [rows]) as connection, Session(connection) as session:
            top = session.get(grown.classes[0], 1)
            if known:
                assert proved(session, top).statements == 2 * depth
                continue
            facts = preview_delete(session, top).facts
            assert facts.unknown == ["Below level 25 of t0 was not looked."]
            assert facts.deleted == {}


def test_more_loaded_objects_than_are_compared(engine, monkeypatch):
    monkeypatch.setattr("lesson_support.preview.walk._OBJECTS", 3)
    Base = blog(comments_of_user=False, **FREE)
    User, Post, Comment = Base.made
    rows = [User(id=1), *(Post(id=n, user_id=1) for n in range(4))]
    with stored(engine, Base, *rows) as session:
        user = session.get(User, 1)
        posts = user.posts
        (sentence,) = preview_delete(session, user).facts.unknown
        assert sentence == "Of the objects in User.posts only the number was compared."
        assert [post.comments for post in posts] == [[]] * 4
        facts = preview_delete(session, user).facts
    assert "More than 3 objects of Post have loaded lists." in facts.unknown
    assert facts.deleted == {}


# --- rules that are rare ------------------------------------------------------------------------------

LATER = {"deferrable": True, "initially": "DEFERRED"}


@pytest.mark.parametrize("rule", ["NO ACTION", "RESTRICT"])
def test_a_key_that_waits_may_be_refused_at_the_commit(engine, rule):
    Base = school({"passive_deletes": "all"}, LATER | {"ondelete": rule})
    Program, Course = Base.made
    with stored(engine, Base, Program(id=1), Course(program_id=1)) as session:
        facts = proved(session, session.get(Program, 1))
    (refusal,) = facts.refused
    may_wait = rule == "NO ACTION"
    assert refusal.at == "at the DELETE of program" + " or the COMMIT" * may_wait
    assert facts.statements == (None if may_wait else 1)


def test_a_default_in_the_place_of_a_key_is_not_foreseen(engine):
    column = NULL | {"server_default": "2"}
    Base = school({"passive_deletes": "all"}, {"ondelete": "SET DEFAULT"}, column)
    Program, Course = Base.made
    rows = [Program(id=1), Program(id=2), Course(program_id=1)]
    with stored(engine, Base, *rows) as session:
        shown = preview_delete(session, session.get(Program, 1))
    assert shown.facts.unknown == [
        "What course.program_id: ON DELETE SET DEFAULT does is not foreseen."
    ]
    assert not shown.facts.refused
    assert re.search("course +1 +not known +the database", shown.plain)


@pytest.mark.parametrize("rule", ["", " ON DELETE CASCADE", " ON DELETE SET NULL"])
def test_a_table_without_a_class_counts(engine, rule):
    made = f"CREATE TABLE desk (id INTEGER PRIMARY KEY, pid INTEGER REFERENCES program{rule})"
    Base = school(FREE)
    Program, Course = Base.made
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        connection.execute(text(made))
        connection.commit()
        with Session(connection) as session:
            session.add_all([Program(id=1), Course(program_id=1)])
            session.flush()
            session.execute(text("INSERT INTO program VALUES (7)"))
            session.execute(text("INSERT INTO desk VALUES (1, 1), (2, 1), (3, 7)"))
            session.commit()
            program = session.get(Program, 1)
            facts = preview_delete(session, program).facts
            assert facts.unknown == []
            if rule == "":
                (refusal,) = facts.refused
                assert (refusal.table, refusal.rows) == ("desk", 2)
                with pytest.raises(IntegrityError):
                    delete_now(session, program)
                return
            delete_now(session, program)
            left = session.execute(text("SELECT id, pid FROM desk ORDER BY id")).all()
    if "CASCADE" in rule:
        assert facts.deleted["desk", DATABASE] == 2 and left == [(3, 7)]
    else:
        assert facts.set_null == {("desk", DATABASE): 2}
        assert left == [(1, None), (2, None), (3, 7)]


def delete_now(session, obj):
    session.delete(obj)
    session.commit()


def test_a_table_without_the_key_of_its_class(engine):
    bare = "CREATE TABLE course (id INTEGER PRIMARY KEY, program_id INTEGER NOT NULL)"
    Base = school(FREE)
    with engine.connect() as connection:
        connection.execute(text(bare))
        Base.metadata.create_all(connection)
        connection.commit()
        with Session(connection) as session:
            program = Base.made[0](id=1)
            session.add(program)
            session.commit()
            facts = preview_delete(session, program).facts
    assert facts.unknown == [
        "Program.courses has no foreign key in the database; what that does is not foreseen."
    ]


def test_rows_that_point_at_each_other(engine):
    """The first course of a program: another one's, then its own."""
    Base = each_other()
    Program, Course = Base.made
    rows = [
        Program(id=1),
        Program(id=2),
        Course(id=1, program_id=1),
        Course(id=2, program_id=2),
    ]
    with stored(engine, Base, *rows) as session:
        program, other = session.get(Program, 1), session.get(Program, 2)
        assert proved(session, program).deleted["course", SESSION] == 1
        for new in (Program(id=3), Course(id=3, program_id=3)):
            session.add(new)
            session.commit()
        program, other = session.get(Program, 3), session.get(Program, 2)
        other.first_id = 3
        session.commit()
        (refusal,) = proved(session, program).refused
        assert (refusal.table, refusal.rows) == ("program", 1)
        program, other.first_id = session.get(Program, 3), None
        program.first_id = 2
        session.commit()
        assert proved(session, program).statements is None
        program = session.get(Program, 2)
        program.first_id = 2
        session.commit()
        (sentence,) = preview_delete(session, program).facts.unknown
        assert "reached by session.delete and by program.first_id" in sentence


def test_tables_of_a_schema(postgresql):
    name = f"preview_{uuid.uuid4().hex[:8]}"
    Base = type("Base", (DeclarativeBase,), {"metadata": MetaData(schema=name)})
    there = ForeignKey(f"{name}.program.id", **CASCADE)
    classes(
        {"name": "Program", "courses": relationship("Course", **PASSIVE_TOO)},
        {"name": "Course", "program_id": mapped_column(there)},
        base=Base,
    )
    Program, Course = Base.made
    with private_engine("preview") as engine, engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
        connection.commit()
        try:
            with stored(engine, Base, Program(id=1), Course(program_id=1)) as session:
                facts = preview_delete(session, session.get(Program, 1)).facts
        finally:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
            connection.commit()
    assert facts.unknown == []
    assert facts.deleted == {
        (f"{name}.program", SESSION): 1,
        (f"{name}.course", DATABASE): 1,
    }


def test_what_the_database_deletes_and_refuses_at_once_is_not_known(engine):
    Base = blog(comments_of_user=False, **PASSIVE_TOO)
    with stored(engine, Base, *some_comments(*Base.made)) as session:
        facts = preview_delete(session, session.get(Base.made[0], 1)).facts
    (sentence,) = facts.unknown
    assert sentence.startswith("1 row of comment: reached by comment.")
    assert facts.deleted == {("user", SESSION): 1, ("post", DATABASE): 2}
    assert not facts.refused


def test_the_same_where_the_refusal_lies_deeper(engine):
    owned = Way(OWNED, True, "CASCADE")
    nodes = [Node(), Node(0, owned), Node(0, owned, extra=(1, Way(passive="all")))]
    grown, row = Grown(nodes), {"id": 1, "up_id": 1}
    filled = grown.filled(engine, [[{"id": 1}], [row], [row | {"extra_id": 1}]])
    with filled as connection, Session(connection) as session:
        facts = preview_delete(session, session.get(grown.classes[0], 1)).facts
    (sentence,) = facts.unknown
    assert sentence.startswith("1 row of t2: reached by t2.up_id and by t2.extra_id")


# --- rows that are a tree ---------------------------------------------------------------------------


def grown_tree(engine, way: Way, *more: Node, rows: list[list[dict]]):
    grown = Grown([Node(own=way), *more])
    return grown.classes, grown.filled(engine, rows)


CHAIN = [{"id": 1, "own_id": None}, {"id": 2, "own_id": 1}, {"id": 3, "own_id": 2}]


@pytest.mark.parametrize("loaded", [False, True])
def test_a_tree_with_a_way_up_may_ask_for_the_parent(engine, loaded):
    (Part,), filled = grown_tree(engine, Way(OWNED, back=True), rows=[CHAIN])
    with filled as connection, Session(connection) as session:
        parent = session.get(Part, 1) if loaded else None
        facts = proved(session, session.get(Part, 2))
        assert facts.deleted == {("t0", SESSION): 2}
        assert facts.statements == (4 if loaded else None), parent


def test_a_tree_that_is_refused_half_way(engine):
    rows = [[*CHAIN, {"id": 4, "own_id": 1}], [{"id": 1, "up_id": 4}]]
    kept = Node(0, Way(passive="all"))
    (Part, _), filled = grown_tree(engine, Way(OWNED), kept, rows=rows)
    with filled as connection, Session(connection) as session:
        facts = proved(session, session.get(Part, 1))
        assert facts.refused and facts.statements is None


def test_a_second_key_within_a_tree_is_in_no_order(engine):
    Base = classes(
        {
            "name": "Part",
            "whole_id": mapped_column(ForeignKey("part.id")),
            "copy_id": mapped_column(ForeignKey("part.id")),
            "parts": relationship("Part", foreign_keys="Part.whole_id", **FREE),
        }
    )
    (Part,) = Base.made
    rows = [Part(id=1), Part(id=2, whole_id=1), Part(id=3, whole_id=2)]
    with stored(engine, Base, *rows) as session:
        session.get(Part, 2).copy_id = 3
        session.commit()
        facts = preview_delete(session, session.get(Part, 1)).facts
    assert "reached by part.whole_id and by part.copy_id" in facts.unknown[0]


def test_the_refusal_that_comes_first_is_the_deepest(engine):
    nodes = [
        Node(),
        Node(0, Way(OWNED)),
        Node(1, Way(passive="all")),
        Node(1, Way(OWNED)),
        Node(0, Way(passive="all")),
    ]
    grown, below = Grown(nodes), [{"id": 1, "up_id": 1}]
    filled = grown.filled(engine, [[{"id": 1}], *[below] * 4])
    with filled as connection, Session(connection) as session:
        facts = proved(session, session.get(grown.classes[0], 1))
    assert [refusal.at for refusal in facts.refused] == [
        "at the DELETE of t0",
        "at the DELETE of t1",
    ]
    assert facts.statements == 2 + 2


def test_loaded_and_other_lists_on_the_third_level(engine):
    """What is below a list is counted with its list, and once."""
    nodes = [Node(), Node(0, Way(OWNED)), Node(1, Way(OWNED, True, "CASCADE"))]
    nodes.append(Node(2, Way(OWNED, True, "CASCADE")))
    rows = [[{"id": 1}], *([{"id": n, "up_id": n} for n in (1, 2)] for _ in range(3))]
    rows[1] = [{"id": 1, "up_id": 1}, {"id": 2, "up_id": 1}]
    grown = Grown(nodes)
    with grown.filled(engine, rows) as connection, Session(connection) as session:
        one = session.get(grown.classes[1], 1)
        assert len(one.up_t2) == 1
        facts = proved(session, session.get(grown.classes[0], 1))
    assert facts.deleted["t2", SESSION] == facts.deleted["t2", DATABASE] == 1
    assert facts.deleted["t3", DATABASE] == 2


# --- what it sends, and what it does not change ------------------------------------------------------


def test_it_sends_only_selects_that_it_shows(engine):
    Base = blog(**FREE)
    User, Post, Comment = Base.made
    with stored(engine, Base, *some_comments(*Base.made)) as session:
        user = session.get(User, 1)
        assert user.posts[0].comments
        sent = []
        event.listen(
            session.get_bind(), "before_cursor_execute", lambda *a: sent.append(a[2])
        )
        shown = preview_delete(session, user)
    about = "pg_catalog", "PRAGMA", "sqlite_master", "sqlite_temp_master"
    rest = [text for text in sent if not any(word in text for word in about)]
    assert len(rest) == shown.html.count("<pre") == 6
    assert all(text.startswith("SELECT") for text in rest)
    assert not [w for w in sent if w.split()[0] not in ("SELECT", "PRAGMA")]
    said = " ".join(re.sub(r"<[^>]+>", "", unescape(shown.html)).split())
    assert all(" ".join(text.split()) in said for text in rest)


def test_nothing_is_flushed_loaded_or_changed(engine):
    Base = school(FREE)
    Program, Course = Base.made
    rows = [Program(id=1), Course(id=1, program_id=1), Course(id=2, program_id=1)]
    with stored(engine, Base, *rows) as session:
        program = session.get(Program, 1)
        course = session.get(Course, 1)
        session.add(Program(id=5))
        before = unchanged(session)
        preview_delete(session, program)
        assert unchanged(session) == before
        assert len(session.new) == 1 and not session.deleted
        assert "courses" not in inspect(program).dict and len(session.identity_map) == 2
        session.rollback()
        expired = inspect(course).expired_attributes
        preview_delete(session, program)
        assert inspect(course).expired_attributes == expired
        assert not session.in_transaction()
        assert not session.get_bind().in_transaction()


def counts_of(engine, children: int) -> tuple[list[str], int]:
    """The COUNTs of a preview of a parent with so many children, and its peak of memory."""
    Base = school(PASSIVE_TOO, CASCADE)
    Program, Course = Base.made
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {children})"
    with stored(engine, Base, Program(id=1)) as session:
        session.execute(text(f"INSERT INTO course {numbers} SELECT i, 1 FROM n"))
        session.commit()
        program = session.get(Program, 1)
        preview_delete(session, program)
        tracemalloc.start()
        shown = preview_delete(session, program)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert shown.facts.deleted["course", DATABASE] == children
    return re.findall(r"SELECT count\(\*\) AS count_1\s+FROM \w+", shown.plain), peak


def test_a_hundred_thousand_children_need_no_more_than_ten(database):
    with private_engine("preview") as engine:
        few, memory = counts_of(engine, 10)
    with private_engine("preview") as engine:
        many, more_memory = counts_of(engine, 100_000)
    assert few == many and len(many) == 2 and len(set(many)) == 2
    assert more_memory < 1.5 * memory


# --- what is given, and what is shown ------------------------------------------------------------------


def test_what_cannot_be_previewed_is_one_sentence(engine):
    Base = school(FREE)
    Program, Course = Base.made
    with stored(engine, Base, Program(id=1), Program(id=2)) as session:
        program, other = session.get(Program, 1), session.get(Program, 2)
        with Session(session.get_bind()) as second:
            elsewhere = second.get(Program, 1)
            session.delete(other)
            detached = Program(id=9)
            make_transient_to_detached(detached)
            cases = {
                "needs an open Session": (engine, program),
                "list is not mapped: preview_delete needs one": (session, [program]),
                "Program is a class": (session, Program),
                "int is not mapped": (session, 3),
                "This Program has no row yet": (session, Program()),
                "This Program is deleted already": (session, other),
                "This Program is in no Session": (session, detached),
                "This Program belongs to another Session": (session, elsewhere),
            }
            for says, given in cases.items():
                with pytest.raises(LessonError, match=says) as raised:
                    preview_delete(*given)
                assert str(raised.value).count(".") >= 1 and "\n" not in str(
                    raised.value
                )
        session.rollback()
        Base.metadata.tables["course"].drop(session.connection())
        with pytest.raises(LessonError, match="There is no table course in this"):
            preview_delete(session, program)


@pytest.mark.parametrize("flush", [True, False])
def test_after_a_statement_that_failed(engine, flush):
    Program, _ = (Base := school(FREE)).made
    with stored(engine, Base, Program(id=1)) as session:
        program = session.get(Program, 1)
        with pytest.raises(IntegrityError):
            if flush:
                session.add(Base.made[1](program_id=77))
                session.flush()
            else:
                session.execute(text("INSERT INTO program VALUES (1)"))
        if flush or engine.dialect.name == "postgresql":
            with pytest.raises(LessonError, match=r"session\.rollback\(\) first"):
                preview_delete(session, program)
        session.rollback()
        assert preview_delete(session, program).facts.unknown == []


def test_another_database_is_one_sentence(workspace):
    Base = school(FREE)
    with (
        private_engine("preview") as engine,
        stored(engine, Base, Base.made[0](id=1)) as session,
    ):
        program = session.get(Base.made[0], 1)
        dialect = engine.dialect
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dialect, "name", "mysql")
            with pytest.raises(
                LessonError, match="SQLite and PostgreSQL, and no other"
            ):
                preview_delete(session, program)


def test_a_scoped_session(engine):
    Base = school(FREE)
    Program, _ = Base.made
    with stored(engine, Base, Program(id=1)) as session:
        registry = scoped_session(lambda: session)
        assert preview_delete(registry, registry.get(Program, 1)).facts.statements == 2


def test_an_async_session_by_run_sync(database):
    Base = school(FREE)
    Program, _ = Base.made

    async def main():
        async_engine = connect_async("14")
        async with async_engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(async_engine) as session:
            session.add(Program(id=1))
            await session.commit()
            program = await session.get(Program, 1)
            with pytest.raises(LessonError, match="run_sync"):
                preview_delete(session, program)
            shown = await session.run_sync(preview_delete, program)
        await async_engine.dispose()
        return shown

    assert asyncio.run(main()).facts.deleted == {("program", SESSION): 1}


PLAIN_FORM = """\
session.delete(Program 2) and a commit: 1 statement
  table    rows  what happens  by            because
  program  1     deleted       the Session   session.delete
  course   4     deleted       the database  course.program_id: ON DELETE CASCADE
  Seen in the catalogue and by 2 SELECTs, as things are now:
    SELECT count(*) AS count_1
    FROM program
    WHERE program.id = :param_1
        param_1=2
    SELECT count(*) AS count_1
    FROM course
    WHERE course.program_id = :param_1
        param_1=2"""


def test_the_plain_form_is_the_same_on_both_databases(engine):
    Base = school(PASSIVE_TOO, CASCADE)
    Program, Course = Base.made
    rows = [Program(id=2), *(Course(id=n, program_id=2) for n in range(4))]
    with stored(engine, Base, *rows) as session:
        shown = preview_delete(session, session.get(Program, 2))
    assert shown.plain == PLAIN_FORM
    html = " ".join(re.sub(r"<[^>]+>", " ", unescape(shown.html)).split())
    for line in PLAIN_FORM.splitlines()[:4]:
        for cell in re.split(r"\s{2,}", line.strip()):
            assert cell in html
    assert '<tr class="del">' in shown.html and "<details>" in shown.html


def test_names_are_escaped(engine):
    Base = classes({"name": "A<b>", "__tablename__": "a<i>"})
    with stored(engine, Base, Base.made[0](id=1)) as session:
        shown = preview_delete(session, session.get(Base.made[0], 1))
    assert "<b> 1" not in shown.html and "<i>" not in shown.html
    assert "session.delete(A<b> 1)" in shown.plain
