"""Exercises of lesson 02: what create_all makes for User and Post."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from sqlalchemy import Engine, ForeignKey, UniqueConstraint, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..blog import PostColumns, UserColumns
from ..check import Exercise, NotYet, Wrong, expect, mapped_class, playground
from ..database import private_engine
from ._blog import BASE

_USER = f"""{BASE}class User(UserColumns, Blog):
    pass


"""


def _post(column: str) -> str:
    """The code of an answer in which only the line of the key differs."""
    return f"""{_USER}class Post(PostColumns, Blog):
    user_id: Mapped[int] = {column}


answer = Blog"""


def _which_tables(answer: Any) -> None:
    expect(
        isinstance(answer, Iterable) and not isinstance(answer, str | bytes),
        'the answer should be a set of names, such as `{"programs", "courses"}`',
    )
    words = list(answer)
    expect(
        not any(isinstance(word, type) for word in words)
        and not {"User", "Post", "OldPost", "Blog", "Archive"} & set(map(str, words)),
        "these are names of classes; a table is called what its class says in `__tablename__`",
    )
    expect(
        all(isinstance(word, str) for word in words),
        'the set should hold names in quotes, such as `{"programs", "courses"}`',
    )
    names = set(words)
    expect(
        names, "the set is empty, but the first `create_all` already knows one class"
    )
    expect(
        not any("," in name for name in names),
        'each name has quotes of its own, such as `{"programs", "courses"}`',
    )
    inexact = {"Users": "users", "Posts": "posts", "user": "users", "post": "posts"}
    for name in sorted(names & set(inexact)):
        raise NotYet(
            f"no table is called {name}; the name in `__tablename__` is `{inexact[name]}`"
        )
    expect(
        "old_posts" not in names,
        "nobody called `create_all` on the metadata of `Archive`; each Base knows only its own tables",
    )
    expect(
        "users" in names,
        "`users` was made by the first `create_all`, and the second one drops nothing",
    )
    expect(
        "posts" in names,
        "the second `create_all` finds one table missing, the one of a class defined in between",
    )
    more = sorted(map(str, names - {"users", "posts"}))
    expect(not more, f"no class of these lines makes a table called {', '.join(more)}")


def _classes(base: Any) -> tuple[Any, Any]:
    """User and Post with their key at "users.id", or NotYet."""
    user, post = mapped_class(base, "users"), mapped_class(base, "posts")
    expect(
        "user_id" in post.__table__.columns,
        "the table `posts` has no column `user_id` any more",
    )
    keys = list(post.__table__.columns["user_id"].foreign_keys)
    expect(keys, "`posts.user_id` is no foreign key any more; keep `ForeignKey(...)`")
    target = keys[0].target_fullname
    table, _, column = target.rpartition(".")
    if target != "users.id":
        if not table:
            why = "that names no column; write the table, a dot and the column"
        elif table == user.__name__:
            why = "that is the class; `ForeignKey` takes what stands in `__tablename__`"
        elif table == "posts":
            why = "that is the table of the child itself; the key points at the parent"
        elif table == "users":
            why = f"the primary key of `users` is not called {column}"
        else:
            why = (
                f"no table is called {table}; look at `__tablename__`, letter by letter"
            )
        raise NotYet(f'the key points at "{target}": {why}')
    return user, post


def _two_posts(user: Any, post: Any, base: Any) -> None:
    with playground(base, user(name="ada")) as session:
        for title in ("Hello", "Again"):
            session.add(post(title=title, published=date(2026, 1, 5), user_id=1))
        session.commit()


def _repair(base: Any) -> None:
    user, post = _classes(base)
    _two_posts(user, post, base)


def _first_word(expression: Any) -> str:
    """The name of the column that an index holds: "user_id" of `posts.user_id DESC`."""
    return str(expression).split()[0].rpartition(".")[2]


def _index(base: Any) -> None:
    user, post = _classes(base)
    table = post.__table__
    indexes = [
        ([_first_word(part) for part in index.expressions], index.unique)
        for index in table.indexes
    ]
    alone = [
        [column.name for column in rule.columns]
        for rule in table.constraints
        if isinstance(rule, UniqueConstraint)
    ]
    expect(
        (["user_id"], True) not in indexes and ["user_id"] not in alone,
        "`unique=True` allows one post for each user; a user has many",
    )
    if not any(names[:1] == ["user_id"] for names, _ in indexes):
        others = [", ".join(names) for names, _ in indexes]
        raise NotYet(
            f"the index is on {' and on '.join(others)}; posts of a user are found by `user_id`"
            if others
            else "`posts` has no index; tell `mapped_column` that you want one"
        )
    _two_posts(user, post, base)


def _tables(*names: str) -> Any:
    """A new Base with the asked-for tables of the blog."""

    class Base(DeclarativeBase):
        pass

    class User(UserColumns, Base):
        pass

    if "posts" in names:

        class Post(PostColumns, Base):
            user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    return Base


def _tags() -> Any:
    """Another Base, with a table that no exercise has."""

    class Base(DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)

    return Base


def _names(create_missing: Callable, engine: Engine) -> list[str]:
    """What the answer returns, after it was seen that it made the tables."""
    result = create_missing(engine, _tables("users", "posts"))
    there = set(inspect(engine).get_table_names())
    expect(
        {"users", "posts"} <= there,
        "after the call a table of `base` is still missing; call "
        "`base.metadata.create_all(engine)`, or `commit()` where you gave it a connection",
    )
    expect(
        result is not None,
        "the function returns None; end it with `return` and the list",
    )
    expect(
        isinstance(result, list),
        f"the function should return a list, not {type(result).__name__}; `sorted(...)` makes one",
    )
    expect(
        all(isinstance(name, str) for name in result),
        "the list should hold names, and yours holds other things; a table has its name in `table.name`",
    )
    return result


def _create_missing(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `create_missing`, without brackets",
    )
    with private_engine() as engine:
        result = _names(answer, engine)
        expect(
            result,
            "on an empty database it returned []; look at the names *before* `create_all`, and make "
            "a new `inspect(engine)` for each look, because one remembers what it saw",
        )
        expect(
            result != ["users", "posts"],
            "the names are right but not sorted; use `sorted(...)`",
        )
        expect(
            result == ["posts", "users"],
            f"on an empty database it should return ['posts', 'users'], not {result}",
        )
    with private_engine() as engine:
        base = _tables("users")
        base.metadata.create_all(engine)
        with Session(engine) as session:
            session.execute(text("CREATE TABLE notes (id INTEGER)"))
            session.execute(text("INSERT INTO users (id, name) VALUES (1, 'ada')"))
            session.commit()
        result = _names(answer, engine)
        with Session(engine) as session:
            kept = session.scalar(text("SELECT count(*) FROM users"))
        expect(
            kept == 1, "a table that existed has lost its rows; nothing may be dropped"
        )
        expect(
            "users" not in result,
            "`users` was there before the call, and it is in your list",
        )
        expect(
            "notes" not in result,
            "`notes` is in your list, a table that `base` does not know",
        )
        expect(
            result == ["posts"],
            f"where only `users` exists it should return ['posts'], not {result}",
        )
        expect(
            _names(answer, engine) == [],
            "a second call makes nothing, so its list is empty",
        )
        answer(engine, _tags())
        expect(
            inspect(engine).has_table("tags"),
            "it makes the tables of one `Base` only; use the argument `base`, in small letters",
        )


EXERCISES = [
    Exercise(
        id="02-which-tables",
        judge=_which_tables,
        hints=(
            "`create_all` works on one metadata, with the classes that exist at that moment.",
            "At the first call Base knows one class. At the second it knows two, and one table exists.",
            "`OldPost` stands on `Archive`, and nobody calls `Archive.metadata.create_all`.",
        ),
        code='answer = {"users", "posts"}',
        reason="The first call makes `users`, the second adds the missing `posts`. `Archive` is another "
        "list of tables, and nobody created those.",
        wrong=(
            Wrong('answer = {"users"}', "finds one table missing"),
            Wrong('answer = {"posts"}', "the second one drops nothing"),
            Wrong(
                'answer = {"users", "posts", "old_posts"}',
                "each Base knows only its own",
            ),
            Wrong('answer = {"User", "Post"}', "names of classes"),
            Wrong('answer = "users, posts"', "should be a set of names"),
            Wrong(
                'answer = {"users", "posts", "programs"}',
                "makes a table called programs",
            ),
            Wrong('answer = {"user", "post"}', "no table is called post;"),
            Wrong('answer = {"users, posts"}', "quotes of its own"),
            Wrong("answer = set()", "the set is empty"),
        ),
    ),
    Exercise(
        id="02-repair-the-key",
        judge=_repair,
        hints=(
            "`create_all` says: could not find table 'User'. What is the table called?",
            '`UserColumns` holds `__tablename__ = "users"`.',
            'The text in `ForeignKey` is "users.id".',
        ),
        code=_post('mapped_column(ForeignKey("users.id"))'),
        reason="`ForeignKey` takes a table and its column; the name of the class is for `relationship()`.",
        wrong=(
            Wrong(_post('mapped_column(ForeignKey("User.id"))'), "that is the class"),
            Wrong(
                _post('mapped_column(ForeignKey("user.id"))'),
                "no table is called user;",
            ),
            Wrong(_post('mapped_column(ForeignKey("users"))'), "names no column"),
            Wrong(
                _post('mapped_column(ForeignKey("users.user_id"))'),
                "is not called user_id",
            ),
            Wrong(_post("mapped_column()"), "is no foreign key any more"),
            Wrong(_post('mapped_column(ForeignKey("posts.id"))'), "the child itself"),
        ),
    ),
    Exercise(
        id="02-missing-index",
        judge=_index,
        hints=(
            "Which column is compared when the posts of one user are looked up?",
            "`mapped_column` takes more than the key: look at `program_id` in this lesson.",
            '`mapped_column(ForeignKey("users.id"), index=True)`.',
        ),
        code=_post('mapped_column(ForeignKey("users.id"), index=True)'),
        reason="Neither SQLite nor PostgreSQL makes an index for a foreign key by itself, and "
        "`create_all` makes one only together with its table.",
        wrong=(
            Wrong(_post('mapped_column(ForeignKey("users.id"))'), "posts has no index"),
            Wrong(
                _post('mapped_column(ForeignKey("users.id"), unique=True)'),
                "one post for each user",
            ),
            Wrong(_post("mapped_column(index=True)"), "is no foreign key any more"),
            Wrong(
                f"""{_USER}class Post(PostColumns, Blog):
    title: Mapped[str] = mapped_column(index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


answer = Blog""",
                "the index is on title",
            ),
        ),
    ),
    Exercise(
        id="02-create-missing",
        judge=_create_missing,
        hints=(
            "Two lists of names: those that `base` knows, and those that the database has.",
            "`base.metadata.tables` and `inspect(engine).get_table_names()`; look before you create.",
            "`missing = set(base.metadata.tables) - set(inspect(engine).get_table_names())`, then "
            "`create_all`, then `return sorted(missing)`.",
        ),
        code="""def create_missing(engine, base):
    missing = set(base.metadata.tables) - set(inspect(engine).get_table_names())
    base.metadata.create_all(engine)
    return sorted(missing)""",
        reason="`create_all` compares names before it creates; the function does the same comparison "
        "and keeps its result.",
        wrong=(
            Wrong(
                """def create_missing(engine, base):
    base.metadata.create_all(engine)
    return sorted(base.metadata.tables)""",
                "was there before the call",
            ),
            Wrong(
                """def create_missing(engine, base):
    base.metadata.create_all(engine)
    return sorted(set(base.metadata.tables) - set(inspect(engine).get_table_names()))""",
                "on an empty database it returned []",
            ),
            Wrong(
                """def create_missing(engine, base):
    missing = set(base.metadata.tables) - set(inspect(engine).get_table_names())
    base.metadata.drop_all(engine)
    base.metadata.create_all(engine)
    return sorted(missing)""",
                "has lost its rows",
            ),
            Wrong(
                """def create_missing(engine, base):
    base.metadata.create_all(engine)""",
                "returns None",
            ),
            Wrong(
                """def create_missing(engine, base):
    missing = set(base.metadata.tables) - set(inspect(engine).get_table_names())
    return sorted(missing)""",
                "is still missing",
            ),
            Wrong(
                """def create_missing(engine, base):
    missing = set(base.metadata.tables) - set(inspect(engine).get_table_names())
    base.metadata.create_all(engine)
    return missing""",
                "not set;",
            ),
            Wrong(
                """class Blog(DeclarativeBase):
    pass


class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


def create_missing(engine, base):
    missing = set(Blog.metadata.tables) - set(inspect(engine).get_table_names())
    Blog.metadata.create_all(engine)
    return sorted(missing)""",
                "use the argument base",
            ),
        ),
    ),
]
