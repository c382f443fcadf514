"""Exercises of lesson 17: programs that fail, to be repaired."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import BigInteger, Integer, event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    IntegrityError,
    StatementError,
    UnboundExecutionError,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError, UnmappedInstanceError

from .. import blog
from ..check import Exercise, Wrong, expect, mapped_class, playground
from ..database import private_engine
from ._blog import BASE, linked

_DAY = date(2026, 1, 5)


def _three_mistakes(base: Any) -> None:
    user, post = linked(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post needs a user; use `Mapped[int]`",
    )
    with playground(
        base, user(name="ada", posts=[post(title="Hi", published=_DAY)])
    ) as session:
        expect(
            session.scalars(select(post)).one().user.name == "ada",
            "a saved post does not find its user again",
        )


def _big_key(base: Any) -> None:
    user = mapped_class(base, "users")
    key = user.__table__.columns["id"]
    expect(key.primary_key, "`users.id` is no longer the primary key")
    big = isinstance(key.type.dialect_impl(postgresql.dialect()), BigInteger)
    kind = key.type.dialect_impl(sqlite.dialect())
    counts = isinstance(kind, Integer) and not isinstance(kind, BigInteger)
    expect(
        big or counts,
        "the variant is the wrong way round: `users.id` is an `INTEGER` on PostgreSQL and a `BIGINT` on SQLite",
    )
    expect(
        big,
        "on PostgreSQL `users.id` is a plain `INTEGER` now; only SQLite should have one",
    )
    expect(
        counts,
        "on SQLite `users.id` is still a `BIGINT`, and SQLite counts only an `INTEGER`",
    )
    expect(
        key.default is None,
        "you hand out the numbers yourself; two programs would hand out the same, and the database counts by itself",
    )
    with playground(base, user(name="ada"), user(name="max")) as session:
        names = session.scalars(select(user.name).order_by(user.id)).all()
        expect(
            sorted(names) == ["ada", "max"],
            "two users were saved, and they are not found again",
        )


def _call(answer: Any, engine: Any, name: str, titles: list[str]) -> None:
    """Call the learner's function; errors that are likely become reasons."""
    said = "your code ended with"
    try:
        answer(engine, name, titles, "2026-01-05")
    except UnboundExecutionError:
        reason = f"{said} UnboundExecutionError: `Session()` does not know which database; give it the engine"
    except UnmappedInstanceError:
        reason = f"{said} UnmappedInstanceError: `add` takes one object, and a list goes to `add_all`"
    except DetachedInstanceError:
        reason = f"{said} DetachedInstanceError: an object is used after its Session"
    except IntegrityError:
        reason = f"{said} IntegrityError: a post has no user; was its key copied before the flush?"
    except StatementError as error:
        if "date objects" in str(error):
            reason = f"{said} StatementError: `day` is a text, and SQLite wants a `date`; `date.fromisoformat(day)` makes one"
        elif "Program" in str(error) or "User" in str(error) or "adapt" in str(error):
            reason = f"{said} an error about a type: `user_id=user` gives a whole object to the key; the relationship is `user=user`"
        else:
            raise
    except TypeError as error:
        if "positional" not in str(error):
            raise
        reason = f"{said} TypeError: objects are made with keywords, as in `name=name`"
    except NameError as error:
        reason = f"{said} NameError: {error}; is it imported in the set-up cell, or inside your function?"
    else:
        return
    expect(False, reason)


def _save(answer: Any) -> None:
    expect(
        callable(answer), "the answer should be the function `save`, without brackets"
    )
    with private_engine() as engine:
        blog.Base.metadata.create_all(engine)
        texts: list[Any] = []

        @event.listens_for(blog.Post.published, "set")
        def _note(post: Any, value: Any, *rest: Any) -> None:
            texts.append(value)

        try:
            _call(answer, engine, "ada", ["One", "Two"])
            _call(answer, engine, "max", [])
        finally:
            event.remove(blog.Post.published, "set", _note)
        with Session(engine) as session:
            users = session.scalars(select(blog.User.name)).all()
            expect(
                users,
                "no user arrived: nothing was committed",
            )
            expect(
                sorted(users) == ["ada", "max"],
                f"a user without any title was to be saved too, and the users are {', '.join(sorted(users))}",
            )
            query = select(blog.User.name, blog.Post.title, blog.Post.published)
            rows = session.execute(
                query.join(blog.Post.user).order_by(blog.Post.title)
            ).all()
        expect(
            rows,
            "the users are there and no post: a post that is only given a user is not added; use `user.posts.append(...)` "
            "or `session.add(post)`",
        )
        expect(
            not any(isinstance(value, str) for value in texts),
            "`published` got a text; PostgreSQL takes it and SQLite does not, so make a `date` of it",
        )
        expect(
            [tuple(row) for row in rows]
            == [("ada", "One", _DAY), ("ada", "Two", _DAY)],
            f"the posts of ada should be One and Two of that day, and there are {len(rows)}: "
            + ", ".join(f"{row.title} of {row.name}" for row in rows),
        )


def _broken(
    posts: str = 'back_populates="user"',
    key: str = "users.id",
    user: str = 'back_populates="posts"',
    kind: str = "int",
) -> str:
    return f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship({posts})


class Post(PostColumns, Blog):
    user_id: Mapped[{kind}] = mapped_column(ForeignKey("{key}"))
    user: Mapped["User"] = relationship({user})


answer = Blog"""


def _keyed(id: str) -> str:
    return f"""{BASE}class User(Blog):
    __tablename__ = "users"
    id: Mapped[int] = {id}
    name: Mapped[str]


answer = Blog"""


def _saving(
    first: str = "user = blog.User(name=name)",
    opened: str = "Session(engine)",
    added: str = "session.add(user)",
    day: str = "date.fromisoformat(day)",
    made: str = "user.posts.append(blog.Post(title=title, published=when))",
    last: str = "session.commit()",
) -> str:
    return f"""def save(engine, name, titles, day):
    when = {day}
    {first}
    with {opened} as session:
        {added}
        for title in titles:
            {made}
        {last}
"""


EXERCISES = [
    Exercise(
        id="17-three-mistakes",
        judge=_three_mistakes,
        hints=(
            'Add the line `User(name="ada")` below the classes in a cell of your own, and read one error at a time.',
            "`ForeignKey` wants the name of a table; `back_populates` wants the name of a relationship on the other class.",
            '`ForeignKey("users.id")`, `back_populates="user"` at `posts`, `back_populates="posts"` at `user`.',
        ),
        code=_broken(),
        reason='`ForeignKey("User.id")` named a class, `back_populates="user_id"` a column, and `"post"` nothing at all.',
        wrong=(
            Wrong(
                _broken('back_populates="user_id"', "User.id"), 'points at "User.id"'
            ),
            Wrong(_broken('back_populates="user_id"'), "is not a relationship"),
            Wrong(_broken(user='back_populates="post"'), "does not have"),
            Wrong(_broken("", user=""), "link both sides"),
            Wrong(_broken(kind="int | None"), "every post needs a user"),
        ),
    ),
    Exercise(
        id="17-big-key",
        judge=_big_key,
        hints=(
            "SQLite counts only a primary key that is called `INTEGER` in the `CREATE TABLE`.",
            "A type can have a variant for one kind of database: `with_variant(...)`.",
            '`mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)`.',
        ),
        code=_keyed(
            'mapped_column(\n        BigInteger().with_variant(Integer, "sqlite"), primary_key=True\n    )'
        ),
        reason="SQLite gets its `INTEGER`, which holds numbers as big as a `BIGINT` there; every other database gets `BIGINT`.",
        wrong=(
            Wrong(_keyed("mapped_column(primary_key=True)"), "plain INTEGER now"),
            Wrong(
                _keyed("mapped_column(BigInteger, primary_key=True)"),
                "still a BIGINT",
            ),
            Wrong(
                _keyed(
                    'mapped_column(\n        Integer().with_variant(BigInteger, "sqlite"), primary_key=True\n    )'
                ),
                "the wrong way round",
            ),
            Wrong(
                _keyed(
                    'mapped_column(\n        BigInteger().with_variant(Integer, "sqlite"),\n        primary_key=True,\n        default=iter(range(1, 99)).__next__,\n    )'
                ),
                "hand out the numbers yourself",
            ),
        ),
    ),
    Exercise(
        id="17-save",
        judge=_save,
        hints=(
            "There are six mistakes: in the user, in the Session, in `add`, in the date, in the key, and one that gives no message.",
            "What is given to `Session()`, to `add(...)`, to `published` and to `user_id`? And who says that the rows are to stay?",
            "`Session(engine)`, `session.add(user)`, `date.fromisoformat(day)`, `user.posts.append(...)`, `session.commit()`.",
        ),
        code=_saving(),
        reason="Objects by keyword, the engine for the Session, one object for `add`, a date for the date, the list for the post, "
        "and a commit.",
        wrong=(
            Wrong(_saving("user = blog.User(name)"), "keywords, as in"),
            Wrong(_saving(opened="Session()"), "which database"),
            Wrong(_saving(added="session.add([user])"), "a list goes to add_all"),
            Wrong(
                _saving(
                    made="session.add(blog.Post(title=title, published=when, user_id=user))"
                ),
                "a whole object to the key",
            ),
            Wrong(
                _saving(
                    made="session.add(blog.Post(title=title, published=when, user_id=user.id))"
                ),
                "copied before the flush",
            ),
            Wrong(
                _saving(made="blog.Post(title=title, published=when, user=user)"),
                "only given a user",
            ),
            Wrong(_saving(last="session.flush()"), "nothing was committed"),
            Wrong(
                _saving(
                    made="for title in titles: user.posts.append(blog.Post(title=title, published=when))"
                ),
                "and there are 4",
            ),
        ),
    ),
]
