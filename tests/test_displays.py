"""The displays of rows, of objects in a Session, and of the tables."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lesson_support import (
    LessonError,
    bars,
    changes,
    connect,
    counting,
    diagram,
    fresh_tables,
    states,
    tables,
    timeline,
)
from lesson_support.university import Base, Course, Program


@pytest.fixture
def engine(database):
    engine = connect("shows")
    fresh_tables(engine, Base)
    with Session(engine) as session:
        physics = Program(name="Physics", courses=[])
        for number in range(1, 4):
            physics.courses.append(
                Course(code=f"P{number}", title=f"Part <{number}>", credits=number)
            )
        session.add_all([physics, Program(name="History")])
        session.commit()
    return engine


def test_tables_shows_the_rows_and_their_number(engine):
    shown = tables(engine, Base)
    assert repr(shown) == (
        "programs: 2 rows\n"
        "  id  name\n"
        "  1   Physics\n"
        "  2   History\n"
        "courses: 3 rows\n"
        "  id  code  title     credits  program_id\n"
        "  1   P1    Part <1>  1        1\n"
        "  2   P2    Part <2>  2        1\n"
        "  3   P3    Part <3>  3        1"
    )
    assert "Part &lt;1&gt;" in shown.html and "Part <1>" not in shown.html


def test_tables_takes_classes_and_tables(engine):
    assert repr(tables(engine, Program)).startswith("programs: 2 rows")
    assert repr(tables(engine, Course.__table__)).startswith("courses: 3 rows")


def test_a_long_table_is_cut_and_counted(engine):
    with Session(engine) as session:
        session.add_all(Program(name=f"Number {n}") for n in range(20))
        session.commit()
    lines = repr(tables(engine, Program)).splitlines()
    assert lines[0] == "programs: 22 rows" and lines[-1] == "  … and 10 more rows"
    assert len(lines) == 1 + 1 + 12 + 1


def test_a_missing_table_is_said(engine):
    fresh = connect("shows")
    assert "courses: there is no such table" in repr(tables(fresh, Base))


def test_an_engine_sees_what_is_committed_and_a_session_its_own(engine):
    with Session(engine) as session:
        session.add(Program(name="Arts"))
        session.flush()
        assert repr(tables(session, Program)).startswith("programs: 3 rows")
        assert repr(tables(engine, Program)).startswith("programs: 2 rows")


def test_looking_through_a_session_flushes_nothing(engine):
    with Session(engine) as session:
        session.add(Program(name="Arts"))
        assert repr(tables(session, Program)).startswith("programs: 2 rows")
        assert len(session.new) == 1


def test_changes_names_every_kind(engine):
    before = tables(engine, Base)
    with Session(engine) as session:
        first, second, _ = session.scalars(select(Course).order_by(Course.id))
        first.title = "Part one"
        session.delete(second)
        session.add(Program(name="Arts"))
        session.commit()
    shown = changes(before)
    text = repr(shown)
    assert text.startswith(
        "What changed: 1 inserted, 1 changed, 1 deleted, 3 left alone"
    )
    assert re.search(r"\+ inserted +3 +Arts", text)
    assert re.search(r"~ changed +1 +P1 +Part <1> -> Part one", text)
    assert re.search(r"- deleted +2 +P2", text)
    assert "<del>Part &lt;1&gt;</del> → <ins>Part one</ins>" in shown.html


def test_nothing_changed(engine):
    before = tables(engine, Base)
    assert repr(changes(before)).startswith(
        "What changed: 0 inserted, 0 changed, 0 deleted, 5 left alone"
    )


def test_rows_left_alone_are_counted_where_there_are_many(engine):
    with Session(engine) as session:
        session.add_all(Program(name=f"Number {n}") for n in range(20))
        session.commit()
    before = tables(engine, Program)
    with Session(engine) as session:
        session.get(Program, 1).name = "Physics II"
        session.commit()
    lines = repr(changes(before)).splitlines()
    assert lines[-1] == "  … and 21 rows left alone" and len(lines) == 5


def test_created_and_dropped_tables_are_said(engine):
    before = tables(engine, Base)
    Base.metadata.drop_all(engine)
    assert "courses: the table was dropped" in repr(changes(before))
    after = tables(engine, Base)
    Base.metadata.create_all(engine)
    assert "courses: the table was created" in repr(changes(after))


def test_wrong_use_of_the_tables_is_one_sentence(engine):
    with pytest.raises(LessonError, match="needs your Base"):
        tables(engine, "courses")
    with pytest.raises(LessonError, match="an Engine or a Session"):
        tables("sqlite://", Base)
    with pytest.raises(LessonError, match="run before = tables"):
        changes({"courses": []})


def test_tables_without_base_shows_what_is_really_there(engine):
    metadata = MetaData()
    Table("course", metadata, Column("id", Integer, primary_key=True))
    Table(
        "a <note>",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("here", ForeignKey("course.id", ondelete="CASCADE")),
        Column("there", ForeignKey("course.id", ondelete="SET NULL")),
        Column("up", ForeignKey("a <note>.id", ondelete="NO ACTION")),
    )
    metadata.create_all(engine)
    shown = tables(engine)
    text = repr(shown)
    heads = re.findall(r"^(\S.*): \d+ rows?$", text, re.MULTILINE)
    assert heads == ["course", "programs", "a <note>", "courses"]
    assert "foreign key: program_id → programs.id; ON DELETE: no rule" in text
    assert text.count("foreign key: ") == 4
    assert "foreign key: here → course.id; ON DELETE: CASCADE" in text
    assert "foreign key: there → course.id; ON DELETE: SET NULL" in text
    assert "foreign key: up → a <note>.id; ON DELETE: no rule" in text
    assert "1   P1    Part <1>  1        1" in text
    assert "a &lt;note&gt;" in shown.html and "<note>" not in shown.html
    assert shown.html.count("<caption>") == 4 and "foreign key: up" in shown.html


def test_tables_without_base_cuts_and_counts(engine):
    with Session(engine) as session:
        session.add_all(Program(name=f"Number {n}") for n in range(20))
        session.commit()
        lines = repr(tables(session)).splitlines()
    assert lines[0] == "programs: 22 rows"
    assert lines[14] == "  … and 10 more rows" and lines[15] == "courses: 3 rows"


def test_a_database_without_tables_is_said(database):
    engine = connect("shows")
    assert repr(tables(engine)) == "There is no table in this database yet."
    before = tables(engine)
    fresh_tables(engine, Base)
    shown = repr(changes(before))
    assert "programs: the table was created" in shown
    assert "courses: the table was created" in shown


def test_changes_follows_every_table_that_is_there(engine):
    before = tables(engine)
    with Session(engine) as session:
        session.add(Program(name="Arts"))
        session.commit()
    assert "1 inserted, 0 changed, 0 deleted, 5 left alone" in repr(changes(before))
    Course.__table__.drop(engine)
    other = Table("programs", MetaData(), Column("id", Integer, primary_key=True))
    Program.__table__.drop(engine)
    other.create(engine)
    shown = repr(changes(before))
    assert "courses: the table was dropped" in shown
    assert "programs: the table was created" in shown


def test_keys_of_several_columns_and_circles_are_shown(database):
    engine = connect("shows")
    metadata = MetaData()
    Table(
        "a",
        metadata,
        Column("x", Integer, primary_key=True),
        Column("y", Integer, primary_key=True),
        Column("b_id", ForeignKey("b.id", use_alter=True, name="loop")),
    )
    Table(
        "b",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("ax", Integer),
        Column("ay", Integer),
        ForeignKeyConstraint(["ax", "ay"], ["a.x", "a.y"], ondelete="RESTRICT"),
    )
    metadata.create_all(engine)
    text = repr(tables(engine))
    assert "foreign key: ax, ay → a.x, a.y; ON DELETE: RESTRICT" in text
    assert text.startswith("a: 0 rows")


def test_values_and_keys_that_only_sqlite_takes_are_shown():
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "create table log (id integer primary key, day date, "
            "of_day integer references days on delete cascade)"
        )
        connection.exec_driver_sql("insert into log values (1, 'yesterday', 5)")
    text = repr(tables(engine))
    assert "1   yesterday  5" in text
    assert "foreign key: of_day → days; ON DELETE: CASCADE" in text


def test_each_of_the_five_states_is_named(engine):
    loose = Course(code="L", title="Loose", credits=1)
    with Session(engine) as session:
        physics = session.get(Program, 1)
        gone = session.get(Program, 2)
        draft = Program(name="Draft")
        apart = session.get(Course, 1)
        session.expunge(apart)
        session.add(draft)
        plain = repr(
            states(session, physics=physics, draft=draft, loose=loose, apart=apart)
        )
        assert re.search(
            r"physics +● persistent .* Program 1 +not loaded: courses", plain
        )
        assert re.search(r"draft +◔ pending .* none yet", plain)
        assert re.search(r"loose +○ transient .* none yet", plain)
        assert re.search(r"apart +◌ detached .* Course 1", plain)
        session.delete(gone)
        assert "marked for deletion" in repr(states(session, gone=gone))
        session.flush()
        assert "✕ deleted" in repr(states(session, gone=gone))


def test_changed_and_expired_objects_are_noted(engine):
    with Session(engine) as session:
        physics = session.get(Program, 1)
        physics.name = "Physics II"
        assert "changed: name" in repr(states(session, physics=physics))
        session.commit()
        shown = states(session, physics=physics)
        assert "expired" in repr(shown)
        assert "identity map: Program 1" in repr(shown)


def test_looking_at_states_sends_nothing(engine):
    with Session(engine) as session:
        physics = session.get(Program, 1)
        session.commit()
        sent = []
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args))
        states(session, physics=physics)
        assert not sent


def test_an_object_of_another_session_is_told(engine):
    with Session(engine) as one, Session(engine) as other:
        shown = repr(states(other, physics=one.get(Program, 1)))
    assert "in another Session" in shown and "identity map: empty" in shown


def test_a_large_identity_map_is_cut_in_the_order_of_the_keys(engine):
    with Session(engine) as session:
        session.add_all(Program(name=f"N{n}") for n in range(20))
        session.commit()
        held = session.scalars(select(Program)).all()
        title = repr(states(session, first=held[0])).splitlines()[0]
    assert "Program 2, Program 3" in title and title.endswith("… and 10 more")


def test_wrong_use_of_states_is_one_sentence(engine):
    with pytest.raises(LessonError, match="needs an open Session"):
        states(engine)
    with (
        Session(engine) as session,
        pytest.raises(LessonError, match="number is no object"),
    ):
        states(session, number=5)


def test_timeline_marks_what_changed(engine):
    arts = Program(name="Arts")
    story = timeline(arts=arts)
    assert repr(story) == "no moment was noted yet"
    story("made")
    with Session(engine) as session:
        session.add(arts)
        story("added")
        session.commit()
        story("committed")
        assert arts.name == "Arts"
        story("read")
    story("closed")
    assert repr(story).splitlines()[1:] == [
        "             arts",
        "  made       ○ transient",
        "  added      → ◔ pending",
        "  committed  → ● persistent (expired)",
        "  read       ● persistent",
        "  closed     → ◌ detached",
    ]
    with pytest.raises(LessonError, match="number is no object"):
        timeline(number=5)


def test_bars_are_in_proportion():
    shown = bars({"lazy <b>": 9, "eager": 2, "none": 0}, "statements")
    lines = repr(shown).splitlines()
    assert [line.count("#") for line in lines] == [0, 40, 9, 0]
    assert "lazy &lt;b&gt;" in shown.html and "width:240px" in shown.html
    for wrong in ({}, {"a": -1}, {"a": 1.5}):
        with pytest.raises(LessonError, match="whole numbers"):
            bars(wrong, "statements")


def test_counting_counts_statements_and_rows(engine):
    with counting(engine) as count, Session(engine) as session:
        for program in session.scalars(select(Program).order_by(Program.id)):
            len(program.courses)
        session.add_all([Program(name="A"), Program(name="B")])
        session.flush()
    assert (count.statements, count.rows) == (4, 5)
    with Session(engine) as session:
        session.scalars(select(Program)).all()
    assert count.statements == 4


def picture_of(shown) -> ElementTree.Element:
    """The SVG inside the display, parsed: it must be well-formed."""
    source = re.search(r'src="data:image/svg\+xml,([^"]*)"', shown.html)[1]
    return ElementTree.fromstring(unquote(source))


def words_in(picture: ElementTree.Element) -> set[str]:
    return {text for text in picture.itertext() if text.strip()}


def test_diagram_marks_both_sides():
    shown = diagram(Base)
    assert "programs (the one side) --< courses (the many side)" in repr(shown)
    assert "by courses.program_id -> programs.id" in unescape(shown.html)
    assert {"programs", "courses", "PK", "FK", "one", "many"} <= words_in(
        picture_of(shown)
    )


def test_diagram_is_the_same_every_time():
    assert diagram(Base).html == diagram(Base.metadata).html


def test_diagram_of_a_tree_two_keys_and_odd_names():
    class Odd(DeclarativeBase):
        pass

    class Node(Odd):
        __tablename__ = "a <node> & 'more'"
        id: Mapped[int] = mapped_column(primary_key=True)
        up: Mapped[int | None] = mapped_column(ForeignKey("a <node> & 'more'.id"))

    class Leaf(Odd):
        __tablename__ = "leaf"
        id: Mapped[int] = mapped_column(primary_key=True)
        here: Mapped[int] = mapped_column(ForeignKey(Node.id))
        there: Mapped[int | None] = mapped_column(ForeignKey(Node.id), unique=True)

    shown = diagram(Odd)
    assert {"a <node> & 'more'", "one or 0..1", "many"} <= words_in(picture_of(shown))
    assert "leaf: at most one of leaf to one or none of" in repr(shown)


def test_diagram_knows_every_way_to_be_unique():
    metadata = MetaData()
    Table(
        "parent",
        metadata,
        Column("a", Integer, primary_key=True),
        Column("b", Integer, primary_key=True),
    )
    Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("pa", Integer, nullable=False),
        Column("pb", Integer, nullable=False),
        ForeignKeyConstraint(["pa", "pb"], ["parent.a", "parent.b"]),
        UniqueConstraint("pb", "pa"),
    )
    Table("extra", metadata, Column("id", ForeignKey("child.id"), primary_key=True))
    text = repr(diagram(metadata))
    assert (
        "at most one of child to one of parent, by child.(pa, pb) -> parent.(a, b)"
        in text
    )
    assert "at most one of extra" in text and "PK FK id" in text
    assert "UQ (pa, pb)" in text


def test_diagram_says_a_word_once_where_lines_start_together():
    metadata = MetaData()
    Table("a", metadata, Column("id", Integer, primary_key=True))
    b = Table("b", metadata, Column("id", Integer, primary_key=True))
    for name in ("x", "y", "z"):
        b.append_column(Column(name, ForeignKey("a.id"), nullable=name == "z"))
    words = [text for text in picture_of(diagram(metadata)).itertext()]
    assert [words.count(word) for word in ("one or 0..1", "many", "one")] == [1, 3, 0]


def test_diagram_of_tables_that_need_each_other_is_quiet(recwarn):
    metadata = MetaData()
    Table(
        "a",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("b_id", ForeignKey("b.id")),
    )
    Table(
        "b",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a_id", ForeignKey("a.id")),
    )
    assert {"a", "b", "many"} <= words_in(picture_of(diagram(metadata)))
    assert not recwarn.list


def test_diagram_leads_a_long_key_around_the_table_between():
    metadata = MetaData()
    Table("one", metadata, Column("id", Integer, primary_key=True))
    Table(
        "two",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("one_id", ForeignKey("one.id")),
    )
    Table(
        "three",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("two_id", ForeignKey("two.id")),
        Column("one_id", ForeignKey("one.id")),
    )
    paths = [
        path.get("d")
        for path in picture_of(diagram(metadata)).iter()
        if path.tag.endswith("path")
    ]
    assert any(path.count("V") == 2 for path in paths)


def test_diagram_needs_a_table():
    class Empty(DeclarativeBase):
        pass

    for nothing in (Empty, MetaData(), "Base", None):
        with pytest.raises(LessonError, match="no mapped class yet"):
            diagram(nothing)


def test_a_table_without_a_key_is_compared_by_its_rows():
    engine = create_engine("sqlite://")
    metadata = MetaData()
    log = Table("log", metadata, Column("word", String), Column("size", Integer))
    metadata.create_all(engine)
    before = tables(engine, log)
    with engine.begin() as connection:
        connection.execute(
            log.insert(), [{"word": "b", "size": None}, {"word": None, "size": 2}]
        )
        connection.execute(log.insert(), [{"word": "b", "size": None}])
    shown = repr(changes(before))
    assert "3 inserted" in shown and shown.count("+ inserted") == 3


def test_values_that_cannot_be_sorted_are_compared():
    engine = create_engine("sqlite://")
    metadata = MetaData()
    log = Table(
        "log", metadata, Column("id", Integer, primary_key=True), Column("told", JSON)
    )
    metadata.create_all(engine)
    before = tables(engine, log)
    with engine.begin() as connection:
        connection.execute(log.insert(), [{"told": {"b": [1]}}, {"told": None}])
    assert "2 inserted" in repr(changes(before))


def test_only_what_was_read_is_compared(engine):
    with Session(engine) as session:
        session.add_all(Program(name=f"Number {n}") for n in range(1100))
        session.commit()
    before = tables(engine, Program)
    with Session(engine) as session:
        session.execute(delete(Program).where(Program.id.between(100, 149)))
        session.commit()
    shown = repr(changes(before))
    assert shown.startswith("What changed: 0 inserted, 0 changed, 50 deleted")
    assert "only the first 1000 rows were compared" in shown
