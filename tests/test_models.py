"""The models of both tracks have the shape that lesson 01 writes out."""

from datetime import date

import pytest
from sqlalchemy import ForeignKey, create_engine, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable

from lesson_support import blog, university

TRACKS = {
    "university": (university.Program, university.Course, "courses", "program"),
    "blog": (blog.User, blog.Post, "posts", "user"),
}
ON_POSTGRESQL = {
    "programs": """CREATE TABLE programs (
    id SERIAL NOT NULL,
    name VARCHAR(80) NOT NULL,
    PRIMARY KEY (id)
)""",
    "courses": """CREATE TABLE courses (
    id SERIAL NOT NULL,
    code VARCHAR(8) NOT NULL,
    title VARCHAR(80) NOT NULL,
    credits INTEGER NOT NULL,
    program_id INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (code),
    FOREIGN KEY(program_id) REFERENCES programs (id)
)""",
    "users": """CREATE TABLE users (
    id SERIAL NOT NULL,
    name VARCHAR(40) NOT NULL,
    PRIMARY KEY (id)
)""",
    "posts": """CREATE TABLE posts (
    id SERIAL NOT NULL,
    title VARCHAR(120) NOT NULL,
    published DATE NOT NULL,
    user_id INTEGER NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(user_id) REFERENCES users (id)
)""",
}


def _lines(ddl) -> str:
    text = str(ddl).expandtabs(4).strip()
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("module", [university, blog])
def test_tables_on_postgresql(module):
    tables = module.Base.metadata.sorted_tables
    assert len(tables) == 2
    for table in tables:
        ddl = CreateTable(table).compile(dialect=postgresql.dialect())
        assert _lines(ddl) == ON_POSTGRESQL[table.name]
        assert not table.indexes


@pytest.mark.parametrize("module", [university, blog])
def test_tables_on_sqlite(module):
    engine = create_engine("sqlite://")
    module.Base.metadata.create_all(engine)
    for table in module.Base.metadata.sorted_tables:
        made = [column["name"] for column in inspect(engine).get_columns(table.name)]
        assert made == table.columns.keys()
    engine.dispose()


@pytest.mark.parametrize("track", TRACKS)
def test_relationships_are_plain(track):
    parent, child, children_name, parent_name = TRACKS[track]
    one_to_many = inspect(parent).relationships[children_name]
    many_to_one = inspect(child).relationships[parent_name]
    assert one_to_many.uselist and not many_to_one.uselist
    assert one_to_many.back_populates == parent_name
    assert many_to_one.back_populates == children_name
    for side in (one_to_many, many_to_one):
        assert set(side.cascade) == {"save-update", "merge"}
        assert not side.passive_deletes
    for key in inspect(child).local_table.foreign_keys:
        assert (key.ondelete, key.onupdate, key.constraint.name) == (None, None, None)


@pytest.mark.parametrize("track", TRACKS)
def test_both_sides_agree_before_any_flush(track):
    parent_class, child_class, children_name, parent_name = TRACKS[track]
    parent, child = parent_class(), child_class()
    getattr(parent, children_name).append(child)
    assert getattr(child, parent_name) is parent


def test_repr():
    assert repr(university.Program(name="Physics")) == "Program('Physics')"
    assert repr(university.Course(code="PHY101", title="Mechanics")) == (
        "Course('PHY101', 'Mechanics')"
    )
    assert repr(blog.User(name="ada")) == "User('ada')"
    assert repr(blog.Post(title="First post")) == "Post('First post')"


def test_mixins_make_variants_with_the_same_columns():
    class Base(DeclarativeBase):
        pass

    class Program(university.ProgramColumns, Base):
        pass

    class Course(university.CourseColumns, Base):
        program_id: Mapped[int | None] = mapped_column(ForeignKey("programs.id"))

    assert Base.metadata.tables.keys() == university.Base.metadata.tables.keys()
    for name, table in Base.metadata.tables.items():
        assert (
            table.columns.keys() == university.Base.metadata.tables[name].columns.keys()
        )
    assert Base.metadata.tables["courses"].c.program_id.nullable
    assert not university.Course.__table__.c.program_id.nullable
    assert repr(Program(name="Physics")) == "Program('Physics')"


def test_rows_go_in_and_come_out():
    engine = create_engine("sqlite://")
    blog.Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(
            blog.User(
                name="ada", posts=[blog.Post(title="Hi", published=date(2024, 1, 8))]
            )
        )
        session.commit()
        assert session.get(blog.Post, 1).user.name == "ada"
    engine.dispose()
