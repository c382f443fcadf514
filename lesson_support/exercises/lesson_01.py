"""Exercises of lesson 01: User and Post, mapped from nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy.exc import IntegrityError

from ..check import (
    Exercise,
    NotYet,
    Wrong,
    configured,
    expect,
    playground,
)
from ._blog import BASE, annotated, keyed, linked


def _which_side(base: Any) -> None:
    user, post = keyed(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post has a user; use `Mapped[int]`",
    )
    configured(base)
    expect(
        not user.__mapper__.relationships and not post.__mapper__.relationships,
        "there is a `relationship()` already; this exercise is about the key alone",
    )


def _both_sides(base: Any) -> None:
    user, post = linked(base)
    ada = user(name="ada", posts=[post(title="Hello", published=date(2026, 1, 5))])
    with playground(base, ada) as session:
        expect(
            len(session.get(user, 1).posts) == 1,
            "a saved post is not found again in `user.posts`",
        )


def _draft(base: Any) -> None:
    user, post = linked(base)
    nullable = post.__table__.columns["user_id"].nullable
    expect(
        nullable or "None" not in annotated(post, "user_id"),
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
    annotation = annotated(post, "user")
    expect(
        "None" in annotation or "Optional" in annotation,
        '`Post.user` says that there is always a user; write `Mapped["User | None"]`, so that readers '
        "and editors know better",
    )


_KEY = """class Post(PostColumns, Blog):
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
        code=f"""{BASE}class User(UserColumns, Blog):
    pass


{_KEY}


answer = Blog""",
        reason="A post has one user, so a post has room for the key. The name in `ForeignKey` is that of "
        "the table, not of the class.",
        wrong=(
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))


class Post(PostColumns, Blog):
    pass


answer = Blog""",
                "the many side holds the key",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    user_id: Mapped[int]


answer = Blog""",
                "add ForeignKey(...)",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    user_id: Mapped[int] = mapped_column(ForeignKey("User.id"))


answer = Blog""",
                'points at "User.id"',
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))


answer = Blog""",
                "is no whole number",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    pass


answer = Blog""",
                "has no column user_id",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


class Post(PostColumns, Blog):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)


answer = Blog""",
                "one post only",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    pass


{_KEY}


answer = User""",
                "should be your base class, not User",
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
        code=f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog""",
        reason="`back_populates` names the attribute on the other class, and stands on both sides.",
        wrong=(
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship()


{_KEY}
    user: Mapped["User"] = relationship()


answer = Blog""",
                "link both sides with back_populates",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped["Post"] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog""",
                "leads to one object",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog""",
                'back_populates="author" names an attribute that Post does not have',
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Posts"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog""",
                "did you mean Post?",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(backref="user")


{_KEY}


answer = Blog""",
                "out of sight",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped[list["User"]] = relationship(back_populates="posts")


answer = Blog""",
                "annotated as a list",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship()


{_KEY}


answer = Blog""",
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
        code=f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Blog):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Blog""",
        reason="The key decides what the database accepts; the annotation of the relationship tells "
        "readers and editors.",
        wrong=(
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_KEY}
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Blog""",
                "that the number is required",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Blog):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), nullable=False)
    user: Mapped["User | None"] = relationship(back_populates="posts")


answer = Blog""",
                "remove nullable=False",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Blog):
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog""",
                "says that there is always a user",
            ),
        ),
    ),
]
