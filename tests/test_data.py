"""The files of data/, and the tables that fresh_tables makes of them."""

import csv
import re
import sqlite3
from collections import Counter
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    attribute_keyed_dict,
    mapped_column,
    relationship,
)

from lesson_support import blog, data, university
from lesson_support.database import connect, private_engine
from lesson_support.errors import LessonError

DATA = Path(data.__file__).parent.parent / "data"
FILES = {"programs.csv": 8, "courses.csv": 36, "users.csv": 6, "posts.csv": 16}
TRACKS = [("programs", "courses", "program"), ("users", "posts", "user")]


def rows_of(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sentence(call, *args, **kwargs) -> str:
    """The sentence of the LessonError that a call must raise."""
    with pytest.raises(LessonError) as caught:
        call(*args, **kwargs)
    said = str(caught.value)
    assert "\n" not in said
    assert str(DATA.parent) not in said
    return said


# The files themselves


@pytest.mark.parametrize("name", FILES)
def test_files_are_plain(name):
    raw = (DATA / name).read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf") and b"\r" not in raw
    assert raw.endswith(b"\n") and not raw.endswith(b"\n\n")
    for row in rows_of(name):
        assert None not in row and None not in row.values()
        assert all(value and value == value.strip() for value in row.values())


@pytest.mark.parametrize(("parents", "children", "link"), TRACKS)
def test_one_parent_has_no_children(parents, children, link):
    names = [row["name"] for row in rows_of(f"{parents}.csv")]
    used = {row[link] for row in rows_of(f"{children}.csv")}
    assert names == sorted(set(names))
    assert used <= set(names)
    assert len(set(names) - used) == 1


@pytest.mark.parametrize(("parents", "children", "link"), TRACKS)
def test_titles_are_unique_within_a_parent_and_one_is_shared(parents, children, link):
    rows = rows_of(f"{children}.csv")
    assert max(Counter((row[link], row["title"]) for row in rows).values()) == 1
    shared = [
        title for title, n in Counter(row["title"] for row in rows).items() if n > 1
    ]
    assert shared == [{"courses": "Statistics", "posts": "Hello world"}[children]]


def test_courses_fit_the_columns_and_the_lessons():
    courses = rows_of("courses.csv")
    codes = [course["code"] for course in courses]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"[A-Z]{3}\d{3}", code) for code in codes)
    assert all(3 <= int(course["credits"]) <= 10 for course in courses)
    assert {int(course["credits"]) for course in courses} == set(range(3, 11))
    assert max(len(course["title"]) for course in courses) <= 80
    titles = " ".join(course["title"] for course in courses)
    assert titles.count("Introduction to") == 5
    assert "&" in titles and "'" in titles
    assert len({course["code"][:3]: course["program"] for course in courses}) == 7


def test_posts_fit_the_columns():
    posts = rows_of("posts.csv")
    days = [date.fromisoformat(post["published"]) for post in posts]
    assert days == sorted(set(days))
    assert max(len(post["title"]) for post in posts) <= 120
    assert all(re.fullmatch("[a-z]+", user["name"]) for user in rows_of("users.csv"))


def test_readme_numbers_equal_the_files():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+\.csv)` \| (\d+) \|", readme, re.M))
    assert {name: int(count) for name, count in stated.items()} == FILES
    assert {name: len(rows_of(name)) for name in FILES} == FILES

    courses, posts = rows_of("courses.csv"), rows_of("posts.csv")
    numbers = re.findall(r"^\| ([A-Z][\w ]+) \| (\d+) \| (\d+) \|$", readme, re.M)
    assert {name: (int(count), int(credits)) for name, count, credits in numbers} == {
        name: (len(own), sum(own))
        for name in (row["name"] for row in rows_of("programs.csv"))
        for own in [[int(c["credits"]) for c in courses if c["program"] == name]]
    }
    counts = re.findall(r"^\| ([a-z]+) \| (\d+) \|$", readme, re.M)
    assert {name: int(count) for name, count in counts} == {
        row["name"]: sum(post["user"] == row["name"] for post in posts)
        for row in rows_of("users.csv")
    }


def test_readme_explains_every_column_by_one_row_of_the_file():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        section = readme.split(f"## {name}\n")[1].split("\n## ")[0]
        examples = re.findall(r"^\| `(\w+)` \| .* \| (.+) \|$", section, re.M)
        assert [column for column, _ in examples] == list(rows_of(name)[0])
        assert any(dict(examples) == row for row in rows_of(name))


# data_file


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of data/ that a test may spoil."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((DATA / name).read_bytes())
    monkeypatch.setattr(data, "DATA", folder)
    return folder


def test_data_file_is_the_path():
    assert data.data_file("courses.csv") == DATA / "courses.csv"


def test_pandas_reads_every_file():
    pandas = pytest.importorskip("pandas")
    for name, count in FILES.items():
        frame = pandas.read_csv(data.data_file(name))
        assert len(frame) == count and not frame.isna().any().any()


def test_another_file_of_the_folder_may_be_read(copied):
    (copied / "more.csv").write_text("a,b\n1,2\n")
    assert data.data_file("more.csv") == copied / "more.csv"


@pytest.mark.parametrize("name", ["course.csv", "../README.md", "", "/etc/passwd", "."])
def test_unknown_file(name):
    said = sentence(data.data_file, name)
    assert said == (
        f"There is no file data/{name}; the files of these lessons are "
        "courses.csv, posts.csv, programs.csv, users.csv."
    )


def test_missing_file(copied):
    (copied / "posts.csv").unlink()
    assert sentence(data.data_file, "posts.csv") == (
        "The file data/posts.csv is missing; bring it back with: git checkout -- data/posts.csv"
    )


def test_unreadable_file(copied):
    (copied / "posts.csv").unlink()
    (copied / "posts.csv").mkdir()
    assert sentence(data.data_file, "posts.csv").startswith(
        "The file data/posts.csv cannot be read: "
    )


SPOILT = [
    (
        "courses.csv",
        b"code,title,credits,program\n",
        b"code,title,points,program\n",
        "data/courses.csv, line 1: the column credits is missing "
        "(the line should be: code,title,credits,program); "
        "mend it, or bring the file back with: git checkout -- data/courses.csv",
    ),
    (
        "courses.csv",
        b"code,title,credits,program\n",
        b"code,title,credits,program,code\n",
        "data/courses.csv, line 1: the column code is there twice",
    ),
    (
        "posts.csv",
        b"title,published,user\n",
        b"title;published;user\n",
        "data/posts.csv, line 1: the column title is missing",
    ),
    (
        "posts.csv",
        "café".encode(),
        "café".encode("latin-1"),
        "The file data/posts.csv is not UTF-8 text; bring it back with: ",
    ),
    ("posts.csv", b'luggage",', b'luggage" ,', "data/posts.csv, line 10: "),
]


@pytest.mark.parametrize(("name", "old", "new", "said"), SPOILT)
def test_spoilt_file(copied, name, old, new, said):
    spoil(copied / name, old, new)
    assert sentence(data.data_file, name).startswith(said)


def test_empty_file(copied):
    (copied / "users.csv").write_bytes(b"")
    assert sentence(data.data_file, "users.csv").startswith(
        "data/users.csv, line 1: the column name is missing"
    )


def test_a_mark_of_excel_and_further_columns_do_no_harm(copied, engine):
    lines = (copied / "users.csv").read_text().splitlines()
    text_ = "\r\n".join([f"{line},x" for line in lines]).replace(
        "name,x", "name,city", 1
    )
    (copied / "users.csv").write_bytes(b"\xef\xbb\xbf" + text_.encode() + b"\r\n\r\n")
    data.fresh_tables(engine, blog.Base, data=True)
    assert count(engine, "users") == 6


# fresh_tables


@pytest.fixture
def engine(database):
    """An empty workspace on each database; a lock is waited for 0.1 s only, to keep tests short."""
    engine = connect("data")

    @event.listens_for(engine, "connect")
    def be_quick(driver_connection, record):
        wait = (
            "PRAGMA busy_timeout=100"
            if database == "sqlite"
            else "SET lock_timeout='100ms'"
        )
        driver_connection.execute(wait)
        if database == "postgresql":
            driver_connection.commit()

    engine.dispose()
    yield engine
    engine.dispose()


def spoil(path: Path, old: bytes, new: bytes) -> None:
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new))


def count(engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}"))


def tables_of(engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def check_rows(engine, base, tables=TRACKS[0]) -> None:
    """Every row is there, with ids in the order of the files, under the right parent."""
    parents, children, link = tables
    one, many = base.metadata.tables[parents], base.metadata.tables[children]
    key = next(iter(many.foreign_keys)).parent
    file_rows = rows_of(f"{children}.csv")
    with engine.connect() as connection:
        found = connection.execute(
            select(one.c.id, one.c.name).order_by(one.c.id)
        ).all()
        assert found == list(
            enumerate([r["name"] for r in rows_of(f"{parents}.csv")], 1)
        )
        query = (
            select(many, one.c.name.label(link))
            .join(one, key == one.c.id)
            .order_by(many.c.id)
        )
        found = connection.execute(query).mappings().all()
    assert [row["id"] for row in found] == list(range(1, len(file_rows) + 1))
    shared = [column for column in file_rows[0] if column in found[0]]
    assert [[str(row[c]) for c in shared] for row in found] == [
        [row[c] for c in shared] for row in file_rows
    ]


@pytest.mark.parametrize(
    ("base", "tables"),
    [(university.Base, TRACKS[0]), (blog.Base, TRACKS[1])],
    ids=["uni", "blog"],
)
def test_rows_of_both_tracks(engine, base, tables):
    for _ in range(2):
        data.fresh_tables(engine, base, data=True)
        check_rows(engine, base, tables)
    data.fresh_tables(engine, base)
    assert tables_of(engine) == set(tables[:2])
    assert count(engine, tables[1]) == 0


def test_a_base_without_tables_leaves_nothing(engine):
    class Empty(DeclarativeBase):
        pass

    data.fresh_tables(engine, university.Base, data=True)
    data.fresh_tables(engine, Empty)
    assert tables_of(engine) == set()


@pytest.mark.parametrize("table", ["CREATE TABLE courses", "INSERT INTO courses"])
def test_an_interrupt_half_way_changes_nothing(engine, table):
    data.fresh_tables(engine, blog.Base, data=True)

    def interrupt(connection, cursor, statement, *rest):
        if table in statement:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.fresh_tables(engine, university.Base, data=True)
    event.remove(engine, "before_cursor_execute", interrupt)
    assert tables_of(engine) == {"users", "posts"}
    check_rows(engine, blog.Base, TRACKS[1])
    data.fresh_tables(engine, university.Base, data=True)
    check_rows(engine, university.Base)


def test_a_key_that_points_nowhere_is_refused(engine, database):
    class Base(DeclarativeBase):
        pass

    class Program(university.ProgramColumns, Base):
        courses: Mapped[list["Course"]] = relationship()  # noqa: F821

    class Room(Base):
        __tablename__ = "rooms"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Course(university.CourseColumns, Base):
        program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))
        room_id: Mapped[int] = mapped_column(ForeignKey("rooms.id"), default=7)

    data.fresh_tables(engine, university.Base, data=True)
    if database == "postgresql":
        with pytest.raises(IntegrityError):
            data.fresh_tables(engine, Base, data=True)
    else:
        assert sentence(data.fresh_tables, engine, Base, data=True) == (
            "The rows of data/ do not fit these classes: a key in courses would point at a row "
            "of rooms that is not there (FOREIGN KEY)."
        )
    check_rows(engine, university.Base)


def test_values_have_the_type_of_the_column(engine):
    data.fresh_tables(engine, blog.Base, data=True)
    with Session(engine) as session:
        post = session.scalars(select(blog.Post).order_by(blog.Post.id)).first()
        assert (post.title, post.published) == ("Hello world", date(2024, 1, 8))
        assert post.user.name == "ada"
    data.fresh_tables(engine, university.Base, data=True)
    with Session(engine) as session:
        assert session.scalar(select(func.sum(university.Course.credits))) == 224


def test_nothing_is_left_open(engine, database):
    for _ in range(2):
        data.fresh_tables(engine, university.Base, data=True)
    if database == "sqlite":
        assert engine.pool.checkedout() == 0
        with engine.connect() as connection:
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE courses"))


def test_a_failure_half_way_leaves_the_connection_as_it_was(workspace, monkeypatch):
    def fail(driver):
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("BEGIN IMMEDIATE")
        driver.execute("nonsense")

    engine = connect("data")
    monkeypatch.setattr(data, "_empty", fail)
    with pytest.raises(sqlite3.OperationalError):
        data.fresh_tables(engine, university.Base)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


def test_sql_is_sent_in_quiet(engine, monkeypatch):
    seen, quiet = [], False

    class Quiet:
        def __enter__(self):
            nonlocal quiet
            quiet = True

        def __exit__(self, *error):
            nonlocal quiet
            quiet = False

    monkeypatch.setattr(data, "quiet", Quiet)
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(quiet))
    event.listen(engine, "rollback", lambda *args: seen.append(quiet))
    event.listen(engine, "commit", lambda *args: seen.append(quiet))
    data.fresh_tables(engine, university.Base, data=True)
    assert seen and all(seen)
    assert not quiet


def make(courses=None, program=None, key=None):
    """A variant of Program and Course on a Base of its own; the options of each side, or None."""

    class Base(DeclarativeBase):
        pass

    both = courses is not None and program is not None
    sides = {"Program": {}, "Course": {}}
    if courses is not None:
        options = {"back_populates": "program"} if both else {}
        sides["Program"]["courses"] = relationship("Course", **options, **courses)
    if program is not None:
        options = {"back_populates": "courses"} if both else {}
        sides["Course"]["program"] = relationship("Program", **options, **program)
    key = mapped_column(ForeignKey("programs.id", **(key or {})), nullable=False)
    return SimpleNamespace(
        Base=Base,
        Program=type("Program", (university.ProgramColumns, Base), sides["Program"]),
        Course=type(
            "Course",
            (university.CourseColumns, Base),
            {"program_id": key} | sides["Course"],
        ),
    )


VARIANTS = {
    "parent side only": {"courses": {}},
    "child side only": {"program": {}},
    "delete-orphan": {"courses": {"cascade": "all, delete-orphan"}, "program": {}},
    "passive_deletes": {
        "courses": {"cascade": "all, delete-orphan", "passive_deletes": True},
        "program": {},
        "key": {"ondelete": "CASCADE"},
    },
    "no save-update": {
        "courses": {"cascade": "merge"},
        "program": {"cascade": "merge"},
    },
    "set": {"courses": {"collection_class": set}},
    "dict": {
        "courses": {"collection_class": attribute_keyed_dict("code")},
        "program": {},
    },
    "write-only": {"courses": {"lazy": "write_only", "passive_deletes": True}},
    "dynamic": {"courses": {"lazy": "dynamic"}, "program": {}},
    "lazy=raise": {"courses": {"lazy": "raise"}, "program": {"lazy": "raise"}},
    "lazy=selectin": {"courses": {"lazy": "selectin"}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(engine, name):
    variant = make(**VARIANTS[name])
    data.fresh_tables(engine, variant.Base, data=True)
    check_rows(engine, variant.Base)


def test_variant_with_backref_other_names_and_fewer_columns(engine):
    class Base(DeclarativeBase):
        pass

    class Studies(Base):
        __tablename__ = "programs"
        id: Mapped[int] = mapped_column(primary_key=True)
        label: Mapped[str] = mapped_column("name", String(80))
        teaches = relationship("Unit", backref="part_of")

    class Unit(Base):
        __tablename__ = "courses"
        id: Mapped[int] = mapped_column(primary_key=True)
        heading: Mapped[str] = mapped_column("title", String(80))
        open: Mapped[bool] = mapped_column(default=True)
        studies_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))

    data.fresh_tables(engine, Base, data=True)
    check_rows(engine, Base)


def test_variant_of_dataclasses(engine):
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        name: Mapped[str] = mapped_column(String(40))
        posts: Mapped[list["Post"]] = relationship(
            default_factory=list, back_populates="user", repr=False
        )

    class Post(Base):
        __tablename__ = "posts"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        title: Mapped[str] = mapped_column(String(120))
        published: Mapped[date]
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), init=False)
        user: Mapped["User"] = relationship(back_populates="posts", init=False)

    data.fresh_tables(engine, Base, data=True)
    check_rows(engine, Base, TRACKS[1])


def test_variant_with_a_subclass(engine):
    variant = make(courses={}, program={})
    for name in ("Online", "Evening", "Summer"):
        type(name, (variant.Course,), {})
    data.fresh_tables(engine, variant.Base, data=True)
    check_rows(engine, variant.Base)
    with Session(engine) as session:
        assert type(session.get(variant.Course, 1)) is variant.Course


def test_whatever_was_in_the_workspace_goes(engine, database):
    old = make(courses={"cascade": "all"}, program={})
    Table(
        "grades",
        old.Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("course_id", ForeignKey("courses.id")),
        Column("program_id", ForeignKey("programs.id")),
    )
    data.fresh_tables(engine, old.Base, data=True)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO grades (id, course_id, program_id) VALUES (1, 1, 1)")
        )
        connection.execute(text('CREATE TABLE "Odd name" (id INTEGER PRIMARY KEY)'))
        connection.execute(
            text("CREATE VIEW big AS SELECT * FROM courses WHERE credits > 7")
        )
        connection.execute(text("CREATE VIEW one AS SELECT 1 AS one"))
        if database == "postgresql":
            connection.execute(text("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one"))
            connection.execute(text("CREATE TYPE level AS ENUM ('low', 'high')"))

    class Base(DeclarativeBase):
        pass

    class Program(Base):
        __tablename__ = "programs"
        code: Mapped[str] = mapped_column(String(8), primary_key=True)

    data.fresh_tables(engine, Base)
    inspector = inspect(engine)
    assert tables_of(engine) == {"programs"}
    assert [column["name"] for column in inspector.get_columns("programs")] == ["code"]
    assert inspector.get_view_names() == []
    if database == "postgresql":
        assert inspector.get_materialized_view_names() == [] == inspector.get_enums()
    data.fresh_tables(engine, university.Base, data=True)
    check_rows(engine, university.Base)


def test_tables_that_refer_to_each_other(engine):
    class Base(DeclarativeBase):
        pass

    left = Table("a", Base.metadata, Column("id", Integer, primary_key=True))
    left.append_column(Column("b_id", ForeignKey("b.id", use_alter=True, name="a_b")))
    Table(
        "b",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("a_id", ForeignKey("a.id")),
    )
    data.fresh_tables(engine, Base)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO a (id) VALUES (1)"))
        connection.execute(text("INSERT INTO b (id, a_id) VALUES (2, 1)"))
        connection.execute(text("UPDATE a SET b_id = 2"))
    data.fresh_tables(engine, university.Base)
    assert tables_of(engine) == {"programs", "courses"}


def test_public_is_left_alone(postgresql, monkeypatch):
    """In a database of its own, because other tests may use public too."""
    server = create_engine(make_url(postgresql), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS lessons_data_test"))
        connection.execute(text("CREATE DATABASE lessons_data_test"))
    url = make_url(postgresql).set(database="lessons_data_test")
    monkeypatch.setenv(
        "LESSONS_DATABASE_URL", url.render_as_string(hide_password=False)
    )
    owner = create_engine(url)
    try:
        with owner.begin() as connection:
            connection.execute(text("CREATE TABLE public.programs (theirs INTEGER)"))
            connection.execute(text("INSERT INTO public.programs VALUES (42)"))
        engine = connect("data")
        data.fresh_tables(engine, university.Base, data=True)
        data.fresh_tables(engine, blog.Base, data=True)
        assert tables_of(engine) == {"users", "posts"}
        engine.dispose()
        with owner.connect() as connection:
            assert connection.scalar(text("SELECT theirs FROM public.programs")) == 42
    finally:
        owner.dispose()
        with server.connect() as connection:
            connection.execute(text("DROP DATABASE lessons_data_test WITH (FORCE)"))
        server.dispose()


ELSEWHERE = (
    "fresh_tables empties only a workspace that connect(...) made, and this engine leads "
    "somewhere else, so nothing was changed: run the cell with connect(...) again."
)


def test_schema_that_the_lessons_did_not_make(postgresql):
    engine = connect("data")
    data.fresh_tables(engine, blog.Base, data=True)
    schema = inspect(engine).default_schema_name
    with engine.begin() as connection:
        connection.execute(text(f"COMMENT ON SCHEMA {schema} IS 'mine'"))
    try:
        assert sentence(data.fresh_tables, engine, university.Base) == ELSEWHERE
        assert count(engine, "users") == 6
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    assert sentence(data.fresh_tables, engine, university.Base) == ELSEWHERE


def test_engine_on_public(postgresql):
    engine = create_engine(make_url(postgresql))
    assert sentence(data.fresh_tables, engine, university.Base) == ELSEWHERE
    engine.dispose()


def test_file_that_the_lessons_did_not_make(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'theirs.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE programs (theirs INTEGER)"))
    assert sentence(data.fresh_tables, engine, university.Base) == ELSEWHERE
    assert count(engine, "programs") == 0
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE programs"))
    for _ in range(2):
        data.fresh_tables(engine, university.Base, data=True)
        check_rows(engine, university.Base)
    engine.dispose()


def test_database_in_memory():
    engine = create_engine("sqlite://")
    university.Base.metadata.create_all(engine)
    for base, tables in ((blog.Base, TRACKS[1]), (university.Base, TRACKS[0])):
        data.fresh_tables(engine, base, data=True)
        check_rows(engine, base, tables)
    engine.dispose()


def test_private_engine(database):
    with private_engine() as engine:
        for base, tables in ((blog.Base, TRACKS[1]), (university.Base, TRACKS[0])):
            data.fresh_tables(engine, base, data=True)
            check_rows(engine, base, tables)


def test_second_engine_on_the_same_workspace(workspace):
    engine = connect("data")
    second = create_engine(engine.url)
    data.fresh_tables(second, university.Base, data=True)
    check_rows(engine, university.Base)
    with second.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 0
    second.dispose()
    engine.dispose()


def test_after_a_commit_that_the_database_refused(engine):
    """On SQLite the transaction stays open, and goes back to the pool like that."""
    metadata = MetaData()
    Table("p", metadata, Column("id", Integer, primary_key=True))
    key = ForeignKey("p.id", deferrable=True, initially="DEFERRED")
    child = Table("c", metadata, Column("p_id", Integer, key))
    metadata.create_all(engine)
    connection = engine.connect()
    connection.execute(insert(child), {"p_id": 7})
    with pytest.raises(IntegrityError):
        connection.commit()
    connection.close()
    with (
        engine.connect() as held,
        engine.connect() as other,
    ):  # whichever the pool gives
        held.execute(text("SELECT 1"))
        data.fresh_tables(engine, university.Base)
        other.execute(insert(university.Program), {"name": "Physics"})
        other.commit()
    assert set(inspect(engine).get_table_names()) == {"programs", "courses"}
    assert count(engine, "programs") == 1


def test_open_session_gets_a_sentence(engine):
    data.fresh_tables(engine, university.Base)
    with Session(engine) as session:
        session.add(university.Program(name="Physics"))
        session.flush()
        said = sentence(data.fresh_tables, engine, university.Base, data=True)
        assert said == (
            "The tables are in use: a Session or connection with an open transaction still holds "
            "them; close it (session.close()) and run this cell again, or begin again with the "
            "cell that has connect(...)."
        )
        session.commit()
    assert count(engine, "programs") == 1
    data.fresh_tables(engine, university.Base, data=True)
    check_rows(engine, university.Base)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "courses.csv",
            b"Genetics,7,",
            b"Genetics,five,",
            "data/courses.csv, line 4, column credits: 'five' is not a whole number.",
        ),
        (
            "courses.csv",
            b"Genetics,7,Biology",
            b"Genetics,7,Biologie",
            "data/courses.csv, line 4, column program: 'Biologie' is not in data/programs.csv.",
        ),
        (
            "courses.csv",
            b"BIO210,",
            b"BIO101,",
            "data/courses.csv, line 4, column code: 'BIO101' is already in line 2.",
        ),
        (
            "courses.csv",
            b"BIO210,",
            b"BIOLOGY210,",
            "data/courses.csv, line 4, column code: 'BIOLOGY210' is longer than String(length=8).",
        ),
        (
            "courses.csv",
            b"Genetics,7,",
            b"Genetics,,",
            "data/courses.csv, line 4, column credits: the value is missing.",
        ),
        (
            "courses.csv",
            b"Genetics,7,",
            b"Genetics, Advanced,7,",
            "data/courses.csv, line 4: 5 values where the first line names 4 columns; "
            'a value with a comma in it stands in quotes, "like, this".',
        ),
        (
            "programs.csv",
            b"Chemistry",
            b"Biology",
            "data/programs.csv, line 3, column name: 'Biology' is already in line 2.",
        ),
        (
            "posts.csv",
            b"2024-07-30",
            b"30/07/2024",
            "data/posts.csv, line 11, column published: "
            "'30/07/2024' is not a date like 2026-09-01.",
        ),
    ],
)
def test_spoilt_rows(copied, engine, name, old, new, said):
    data.fresh_tables(engine, university.Base, data=True)
    spoil(copied / name, old, new)
    base = blog.Base if name == "posts.csv" else university.Base
    assert sentence(data.fresh_tables, engine, base, data=True) == said
    check_rows_are_untouched(engine)


def check_rows_are_untouched(engine) -> None:
    assert (count(engine, "programs"), count(engine, "courses")) == (8, 36)


def test_missing_file_changes_nothing(copied, engine):
    data.fresh_tables(engine, university.Base, data=True)
    (copied / "courses.csv").unlink()
    assert "data/courses.csv is missing" in sentence(
        data.fresh_tables, engine, university.Base, data=True
    )
    check_rows_are_untouched(engine)


def test_neither_track(engine):
    class Base(DeclarativeBase):
        pass

    said = "data=True needs the tables programs and courses, or users and posts; "
    assert sentence(data.fresh_tables, engine, Base, data=True) == (
        said + "the tables of this Base: none."
    )

    class Program(university.ProgramColumns, Base):
        pass

    assert sentence(data.fresh_tables, engine, Base, data=True) == (
        said + "the tables of this Base: programs."
    )
    data.fresh_tables(engine, Base)
    assert tables_of(engine) == {"programs"}


def test_table_without_a_class(engine):
    class Base(DeclarativeBase):
        pass

    for name in ("programs", "courses"):
        Table(name, Base.metadata, Column("id", Integer, primary_key=True))
    assert sentence(data.fresh_tables, engine, Base, data=True) == (
        "No class of this Base is mapped to the table programs."
    )


def test_no_relationship(engine):
    variant = make()
    assert sentence(data.fresh_tables, engine, variant.Base, data=True) == (
        "Program and Course have no one-to-many relationship() between them; "
        "to load data/ one of the two needs it."
    )
    data.fresh_tables(engine, variant.Base)


def test_view_only_relationship_is_no_way_in(engine):
    variant = make(courses={"viewonly": True})
    said = sentence(data.fresh_tables, engine, variant.Base, data=True)
    assert "no one-to-many relationship()" in said


def test_relationship_that_holds_one_object(engine):
    variant = make(courses={"uselist": False}, program={})
    assert sentence(data.fresh_tables, engine, variant.Base, data=True) == (
        "Program.courses holds one object only; to load data/ it must hold many: "
        "Mapped[list['Course']]."
    )


def test_column_of_another_kind(engine):
    class Base(DeclarativeBase):
        pass

    class Program(Base):
        __tablename__ = "programs"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[bytes] = mapped_column(LargeBinary)
        courses = relationship("Course")

    class Course(university.CourseColumns, Base):
        program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))

    assert sentence(data.fresh_tables, engine, Base, data=True) == (
        "fresh_tables cannot fill programs.name: data/ has values for the Python types "
        "str, int, date, and this column is LargeBinary()."
    )


def test_class_that_wants_more(engine):
    class Base(DeclarativeBase):
        pass

    class Program(university.ProgramColumns, Base):
        courses = relationship("Course")

        def __init__(self, name, dean):
            self.name = name

    class Course(university.CourseColumns, Base):
        program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))

    said = sentence(data.fresh_tables, engine, Base, data=True)
    assert said.startswith("Program(...) cannot be made from data/programs.csv: ")
    assert "dean" in said


def test_required_column_that_data_does_not_have(engine):
    variant = make(courses={}, program={})
    variant.Course.room = mapped_column(String(8), nullable=False)
    with pytest.raises(IntegrityError):
        data.fresh_tables(engine, variant.Base, data=True)
    data.fresh_tables(engine, university.Base, data=True)
    check_rows(engine, university.Base)


@pytest.mark.parametrize("wrong", [university.Base.metadata, "Base", None])
def test_something_else_than_base(engine, wrong):
    assert sentence(data.fresh_tables, engine, wrong) == (
        "fresh_tables(engine, Base) needs the class Base, not its metadata."
    )


def test_other_database_errors_are_not_hidden(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite'}")
    with pytest.raises(OperationalError):
        data.fresh_tables(engine, university.Base)
