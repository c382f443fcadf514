"""Exercises of lesson 01: User and Post, mapped from nothing."""

from __future__ import annotations

from datetime import date
from inspect import get_annotations
from typing import Any

from sqlalchemy import Integer
from sqlalchemy.exc import IntegrityError

from ..check import (
    Exercise,
    NotYet,
    Wrong,
    configured,
    expect,
    mapped_class,
    playground,
)

_BASE = """class Base(DeclarativeBase):
    pass


"""


def _classes(base: Any) -> tuple[Any, Any]:
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
    annotation = _annotation(post, "user_id")
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


def _which_side(base: Any) -> None:
    user, post = _classes(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post has a user; use `Mapped[int]`",
    )
    configured(base)
    expect(
        not user.__mapper__.relationships and not post.__mapper__.relationships,
        "there is a `relationship()` already; this exercise is about the key alone",
    )


def _linked(base: Any) -> tuple[Any, Any]:
    """User and Post with both relationships, kept in step, or NotYet."""
    user, post = _classes(base)
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
        "list" not in _annotation(post, "user").lower(),
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


def _annotation(cls: type, name: str) -> str:
    return str(get_annotations(cls).get(name, ""))


def _both_sides(base: Any) -> None:
    user, post = _linked(base)
    ada = user(name="ada", posts=[post(title="Hello", published=date(2026, 1, 5))])
    with playground(base, ada) as session:
        expect(
            len(session.get(user, 1).posts) == 1,
            "a saved post is not found again in `user.posts`",
        )


def _draft(base: Any) -> None:
    user, post = _linked(base)
    nullable = post.__table__.columns["user_id"].nullable
    expect(
        nullable or "None" not in _annotation(post, "user_id"),
        "`user_id` may be None by its annotation, but the column is still NOT NULL: remove "
        "`nullable=False`",
    )
    expect(
        nullable,
        "`posts.user_id` is NOT NULL: `Mapped[int]` means that the number is required",
    )
    try:
        with playground(base, post(title="A draft", published=date(2026, 1, 5))):
            pass
    except IntegrityError:
        raise NotYet("the database refuses a post without a user") from None
    annotation = _annotation(post, "user")
    expect(
        "None" in annotation or "Optional" in annotation,
        '`Post.user` says that there is always a user; write `Mapped["User | None"]`, so that readers '
        "and editors know better",
    )


_KEY = """class Post(PostColumns, Base):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))"""

EXERCISES = [
    Exercise(
        id="01-which-side",
        judge=_which_side,
        hints=(
            "How many users does one post have? How many posts does one user have?",
            "The many side holds the key. A column is a line `name: Mapped[type] = mapped_column(...)`.",
            'Inside `Post`: `user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))`.',
        ),
        code=f"""{_BASE}class User(UserColumns, Base):
    pass


{_KEY}


answer = Base""",
        reason="A post has one user, so a post has room for the key. The name in `ForeignKey` is that of "
        "the table, not of the class.",
        wrong=(
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))


class Post(PostColumns, Base):
    pass


answer = Base""",
                "the many side holds the key",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


class Post(PostColumns, Base):
    user_id: Mapped[int]


answer = Base""",
                "add ForeignKey(...)",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


class Post(PostColumns, Base):
    user_id: Mapped[int] = mapped_column(ForeignKey("User.id"))


answer = Base""",
                'points at "User.id"',
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


class Post(PostColumns, Base):
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))


answer = Base""",
                "is no whole number",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


class Post(PostColumns, Base):
    pass


answer = Base""",
                "has no column user_id",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


class Post(PostColumns, Base):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)


answer = Base""",
                "one post only",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    pass


{_KEY}


answer = User""",
                "should be your Base, not User",
            ),
        ),
    ),
    Exercise(
        id="01-both-sides",
        judge=_both_sides,
        hints=(
            "Each class needs one relationship. Which of the two holds a list?",
            'In `User`: `posts: Mapped[list["Post"]] = relationship(back_populates=...)`.',
            'In `Post`: `user: Mapped["User"] = relationship(back_populates="posts")`, and the other way '
            "round in `User`.",
        ),
        code=f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Base""",
        reason="`back_populates` names the attribute on the other class, and stands on both sides.",
        wrong=(
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship()


{_KEY}
    user: Mapped["User"] = relationship()


answer = Base""",
                "link both sides with back_populates",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped["Post"] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Base""",
                "leads to one object",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Base""",
                'back_populates="author" names an attribute that Post does not have',
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Posts"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Base""",
                "did you mean Post?",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(backref="user")


{_KEY}


answer = Base""",
                "out of sight",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped[list["User"]] = relationship(back_populates="posts")


answer = Base""",
                "annotated as a list",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship()


{_KEY}


answer = Base""",
                "Post has no relationship called user",
            ),
        ),
    ),
    Exercise(
        id="01-draft",
        judge=_draft,
        hints=(
            "Two annotations change, and nothing else: the key, and the attribute that leads to the user.",
            "A value that may be missing is written `| None`.",
            '`user_id: Mapped[int | None]` and `user: Mapped["User | None"]`.',
        ),
        code=f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Base):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Base""",
        reason="The key decides what the database accepts; the annotation of the relationship tells "
        "readers and editors.",
        wrong=(
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Base""",
                "that the number is required",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Base):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), nullable=False)
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Base""",
                "remove nullable=False",
            ),
            Wrong(
                f"""{_BASE}class User(UserColumns, Base):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Base):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Base""",
                "says that there is always a user",
            ),
        ),
    ),
]
