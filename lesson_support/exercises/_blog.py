"""User and Post as the exercises of several lessons want them: their code, and judges' parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from inspect import get_annotations
from typing import Any

from sqlalchemy import Integer, event, select
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.orm import Session

from ..check import NotYet, configured, expect, mapped_class, playground

# Exercises have a base class of their own, so that a lesson's `Base` stays that of the lesson.
BASE = """class Blog(DeclarativeBase):
    pass


"""


_WRONG_SIDE = (
    "`cascade` stands at `Post.user`, on the many side: it would delete the user with one post; it belongs to "
    "the list of the one side"
)


def keyed(base: Any) -> tuple[Any, Any]:
    """User and Post with the one foreign key in its place, or NotYet."""
    user, post = mapped_class(base, "users"), mapped_class(base, "posts")
    expect(
        not user.__table__.foreign_keys,
        "`users` holds a foreign key: there is room for one number in it, but a user has many posts; "
        "the many side holds the key",
    )
    columns = post.__table__.columns
    if "user_id" not in columns:
        expect(
            "user_id" not in vars(post),
            "`user_id` is there but is no column; write `user_id: Mapped[int] = mapped_column(...)`",
        )
        raise NotYet(
            f"the table `posts` has no column `user_id`; it has {', '.join(columns.keys())}"
        )
    column = columns["user_id"]
    expect(
        column.foreign_keys,
        "`posts.user_id` is a number like any other: add `ForeignKey(...)` inside `mapped_column(...)`",
    )
    target = next(iter(column.foreign_keys)).target_fullname
    expect(
        target == "users.id",
        f'the key points at "{target}"; it should name the table, a dot and the primary key: '
        '"users.id"',
    )
    annotation = annotated(post, "user_id")
    expect(
        isinstance(column.type, Integer) and (not annotation or "int" in annotation),
        "`posts.user_id` is no whole number, but `users.id` is one; use `Mapped[int]`",
    )
    expect(
        not column.primary_key,
        "`posts.user_id` is part of the primary key, and `posts` has `id` for that; a foreign "
        "key needs no `primary_key=True`",
    )
    expect(
        not column.unique,
        "`posts.user_id` is unique, so each user could have one post only",
    )
    return user, post


def linked(base: Any) -> tuple[Any, Any]:
    """User and Post with both relationships, kept in step, or NotYet."""
    user, post = keyed(base)
    configured(base)
    for cls, name in ((user, "posts"), (post, "user")):
        expect(
            name in cls.__mapper__.relationships,
            f"`{cls.__name__}` has no relationship called `{name}`",
        )
        expect(
            not cls.__mapper__.relationships[name].backref,
            "`backref` makes the other attribute out of sight; write both, and give both `back_populates`",
        )
    expect(
        user.__mapper__.relationships["posts"].uselist,
        '`User.posts` leads to one object; write `Mapped[list["Post"]]`',
    )
    expect(
        "list" not in annotated(post, "user").lower(),
        '`Post.user` is annotated as a list, but a post has one user; write `Mapped["User"]`',
    )
    ada, post_of_ada = user(name="ada"), post(title="Hello")
    expect(
        hasattr(ada.posts, "append"),
        '`User.posts` is no list; write `Mapped[list["Post"]]`',
    )
    ada.posts.append(post_of_ada)
    expect(
        post_of_ada.user is ada,
        "after `ada.posts.append(post)`, `post.user` is still None; link both sides with `back_populates`",
    )
    other = post(title="Again", user=ada)
    expect(
        other in ada.posts,
        "after `post.user = ada`, the post is not in `ada.posts`; `back_populates` belongs on both sides",
    )
    return user, post


def cascading(base: Any) -> tuple[Any, Any]:
    """User and Post linked on both sides, with `cascade` at the list or nowhere, or NotYet."""
    try:
        user, post = linked(base)
    except ArgumentError as error:
        expect("delete-orphan cascade" not in str(error), _WRONG_SIDE)
        raise
    cascade = user.__mapper__.relationships["posts"].cascade
    expect(
        cascade.delete or not cascade.delete_orphan,
        '`delete-orphan` needs `delete` beside it; write `cascade="all, delete-orphan"`',
    )
    expect(not post.__mapper__.relationships["user"].cascade.delete, _WRONG_SIDE)
    return user, post


def annotated(cls: type, name: str) -> str:
    return str(get_annotations(cls).get(name, ""))


def mira_and_olaf(user: Any, post: Any) -> list[Any]:
    """mira has three posts, olaf has one; every object by itself, so that no cascade is needed."""
    mira, olaf = user(name="mira"), user(name="olaf")
    titles = ("Snow", "Ice", "Thaw", "A bread")
    posts = [
        post(title=title, published=date(2026, 1, day))
        for day, title in enumerate(titles, 5)
    ]
    mira.posts.extend(posts[:3])
    olaf.posts.append(posts[3])
    return [mira, olaf, *posts]


@contextmanager
def sent(session: Session) -> Iterator[list[str]]:
    """Collect the statements that are sent inside the block."""
    statements: list[str] = []

    def note(connection, cursor, statement, *more):
        statements.append(statement)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def delete_mira(
    base: Any, *, loaded: bool
) -> tuple[list[str], dict[str, Any], IntegrityError | None]:
    """Delete mira; return what was sent, the key of every post that is left, and the refusal."""
    user, post = cascading(base)
    refused = None
    with playground(base, *mira_and_olaf(user, post)) as session:
        mira = session.scalars(select(user).where(user.name == "mira")).one()
        if loaded:
            len(mira.posts)
        with sent(session) as statements:
            try:
                session.delete(mira)
                session.commit()
            except IntegrityError as error:
                refused = error
                session.rollback()
        names = dict(session.execute(select(user.id, user.name)).tuples().all())
        keys = dict(
            session.execute(select(post.title, post.__table__.c.user_id)).tuples().all()
        )
    left = {title: names.get(key) for title, key in keys.items()}
    if refused is None:
        expect("mira" not in names.values(), "the user is still there")
        expect("olaf" in names.values(), "a user who was not deleted is gone as well")
        expect(
            left.get("A bread") == "olaf",
            "a post of a user who was not deleted was touched",
        )
    return statements, left, refused


def mapping(
    relation: str = 'back_populates="user"',
    key: str = 'ForeignKey("users.id")',
    kind: str = "int",
    back: str = 'back_populates="posts"',
) -> str:
    """User and Post with these options; the code of the solutions and of the wrong answers."""
    optional = " | None" if kind != "int" else ""
    return f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(
        {relation}
    )


class Post(PostColumns, Blog):
    user_id: Mapped[{kind}] = mapped_column({key})
    user: Mapped["User{optional}"] = relationship({back})


answer = Blog"""
