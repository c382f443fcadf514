"""Exercises of lesson 21: posts of two kinds, their statements, and a comment on a user or a post."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ForeignKey, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ..check import (
    Exercise,
    NotYet,
    Wrong,
    configured,
    expect,
    mapped_class,
    playground,
)
from ..sql import counting


def _kinds(answer: Any) -> None:
    user = mapped_class(answer, "users")
    post = mapped_class(answer, "posts").__mapper__.base_mapper.class_
    configured(answer)
    below = [m for m in answer.registry.mappers if m.inherits is post.__mapper__]
    expect(below, "no class inherits from `Post`; write `class Photo(Post):`")
    photo = below[0]
    expect(
        photo.local_table is post.__table__,
        f"`{photo.class_.__name__}` has a table of its own; without `__tablename__` it shares the table `posts`",
    )
    expect(
        "file_name" in photo.columns,
        f"`{photo.class_.__name__}` has no column `file_name`",
    )
    expect(
        post.__mapper__.polymorphic_on is not None,
        "nothing tells a post from a photo when a row is read: `Post` needs a column for the kind, named in "
        "`polymorphic_on`",
    )
    for mapper in (post.__mapper__, photo):
        expect(
            mapper.polymorphic_identity is not None,
            f"`{mapper.class_.__name__}` has no `polymorphic_identity`: which kind shall its rows be?",
        )
    expect(
        photo.columns["file_name"].nullable,
        "a plain post has no value for `file_name`, and the shared table demands one; which annotation accepts NULL?",
    )
    posts = [post(title="Snow"), photo.class_(title="Ice", file_name="ice.jpg")]
    with playground(answer, user(posts=posts)) as session:
        found = session.scalars(select(user)).one().posts
        kinds = {item.title: type(item) for item in found}
    expect(
        kinds == {"Snow": post, "Ice": photo.class_},
        f"a post and a photo were saved, and the list holds {sorted(kind.__name__ for kind in kinds.values())}",
    )


@cache
def _statements(load: str | None) -> int:
    """How many statements the exercise takes, counted: a user, a post, three photos."""

    class Blog(DeclarativeBase):
        id: Mapped[int] = mapped_column(primary_key=True)

    class User(Blog):
        __tablename__ = "users"
        posts: Mapped[list[Post]] = relationship()

    class Post(Blog):
        __tablename__ = "posts"
        kind: Mapped[str]
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "post"}

    class Photo(Post):
        __tablename__ = "photos"
        id: Mapped[int] = mapped_column(ForeignKey("posts.id"), primary_key=True)
        file_name: Mapped[str]
        __mapper_args__ = {"polymorphic_identity": "photo", "polymorphic_load": load}

    posts = [Post(), *(Photo(file_name=f"{n}.jpg") for n in range(3))]
    with (
        playground(Blog, User(posts=posts)) as session,
        counting(session.get_bind()) as count,
    ):
        for post in session.scalars(select(User)).one().posts:
            getattr(post, "file_name", None)
    return count.statements


def _count(answer: Any) -> None:
    expect(
        isinstance(answer, int) and not isinstance(answer, bool),
        f"the answer should be a number, and it is {answer!r}",
    )
    if answer == _statements(None):
        return
    for load in ("inline", "selectin"):
        expect(
            answer != _statements(load),
            f'that is right with `"polymorphic_load": "{load}"`; without it a list of `Post` reads the columns of '
            "`Post` alone",
        )
    expect(
        answer != _statements(None) + 1,
        "a post that is no photo has no file name, and nothing is sent for it",
    )
    raise NotYet(
        f"it is not {answer}: one for the user, one for the list; and for the photos?"
    )


def _refused(session: Session, comment: Any) -> bool:
    """Whether the database refuses the comment; what was sent is rolled back."""
    session.add(comment)
    try:
        session.flush()
    except IntegrityError:
        return True
    finally:
        session.rollback()
    return False


def _comments(answer: Any) -> None:
    classes = [mapped_class(answer, name) for name in ("users", "posts", "comments")]
    configured(answer)
    user, post, comment = classes
    keys = {
        key.column.table.name: column.name
        for column in inspect(comment).local_table.columns
        for key in column.foreign_keys
    }
    for parent in (user, post):
        table, name = parent.__table__.name, parent.__name__
        expect(table in keys, f"`{comment.__name__}` has no foreign key to `{table}`")
        expect(
            comment.__table__.columns[keys[table]].nullable,
            f"`{keys[table]}` may not be NULL, so a comment would always need both parents",
        )
        expect(
            "comments" in inspect(parent).relationships,
            f"`{name}` has no relationship `comments`",
        )
        expect(
            inspect(parent).relationships["comments"].uselist,
            f"`{name}.comments` holds one comment, not a list",
        )
    with playground(answer, user(), post()) as session:
        both = {keys["users"]: 1, keys["posts"]: 1}
        expect(
            _refused(session, comment(**both)),
            "a comment with both parents was saved; the rule should want exactly one",
        )
        expect(
            _refused(session, comment()),
            "a comment without a parent was saved; the rule should want exactly one",
        )
        for table in ("users", "posts"):
            expect(
                not _refused(session, comment(**{keys[table]: 1})),
                f"a comment with a key to `{table}` alone was refused; that is one parent, as wanted",
            )
    for parent in (user, post):
        with playground(answer, parent(comments=[comment()])) as session:
            session.delete(session.scalars(select(parent)).one())
            try:
                session.commit()
                left = session.scalars(select(comment)).all()
            except IntegrityError:
                left = True
            expect(
                not left,
                f"a `{parent.__name__}` is deleted and its comment is not; which cascade takes it along?",
            )


_KINDS = """class Blog(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


class User(Blog):
    __tablename__ = "users"
    posts: Mapped[list["Post"]] = relationship()


class Post(Blog):
    __tablename__ = "posts"
    title: Mapped[str]
    kind: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "post"}


class Photo(Post):
    file_name: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "photo"}


answer = Blog"""
_OF_POST = (
    '    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "post"}\n'
)
_OF_PHOTO = '    __mapper_args__ = {"polymorphic_identity": "photo"}\n'
_OWN_TABLE = (
    '    __tablename__ = "photos"\n'
    '    id: Mapped[int] = mapped_column(ForeignKey("posts.id"), primary_key=True)\n'
)

_COMMENTS = """class Blog(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


class User(Blog):
    __tablename__ = "users"
    comments: Mapped[list["Comment"]] = relationship({})


class Post(Blog):
    __tablename__ = "posts"
    comments: Mapped[list["Comment"]] = relationship({})


class Comment(Blog):
    __tablename__ = "comments"
    user_id: Mapped[{}] = mapped_column(ForeignKey("users.id"))
    post_id: Mapped[{}] = mapped_column(ForeignKey("posts.id"))
    {}


answer = Blog"""
_ALL = 'cascade="all, delete-orphan"'
_RULE = '__table_args__ = (CheckConstraint("(user_id IS NULL) <> (post_id IS NULL)"),)'
_MAYBE = "int | None"

EXERCISES = [
    Exercise(
        id="21-kinds",
        judge=_kinds,
        hints=(
            "`Post` needs a column that says what a row is, and `__mapper_args__` that name it.",
            "`Photo` inherits from `Post`, has no `__tablename__`, and says its own `polymorphic_identity`. A plain post "
            "has no file name.",
            '`__mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "post"}` in `Post`; '
            "`file_name: Mapped[str | None]` in `Photo`.",
        ),
        code=_KINDS,
        reason="Both kinds are rows of `posts`; the column `kind` says which class a row becomes, and a plain post "
        "leaves `file_name` empty.",
        wrong=(
            Wrong(
                _KINDS.replace(
                    "file_name: Mapped[str | None]", "file_name: Mapped[str]"
                ),
                "accepts NULL",
            ),
            Wrong(
                _KINDS.replace(_OF_POST, "").replace(_OF_PHOTO, ""),
                "nothing tells a post from a photo",
            ),
            Wrong(
                _KINDS.replace(_OF_PHOTO, ""),
                "which kind shall",
            ),
            Wrong(
                _KINDS.replace(
                    "class Photo(Post):\n", f"class Photo(Post):\n{_OWN_TABLE}"
                ),
                "a table of its own",
            ),
            Wrong(
                _KINDS.replace("class Photo(Post):\n", "class Photo(Blog):\n").replace(
                    _OF_PHOTO, '    __tablename__ = "photos"\n'
                ),
                "no class inherits",
            ),
        ),
    ),
    Exercise(
        id="21-count",
        judge=_count,
        hints=(
            "One statement reads the user, and one the list. What does the list of `Post` know about photos?",
            "The file names are in the table `photos`, and each is read when it is asked for.",
        ),
        code="answer = 5",
        reason="One for the user, one for the list, and one for each of the three photos: an N+1.",
        wrong=(
            Wrong("answer = 2", "inline"),
            Wrong("answer = 3", "selectin"),
            Wrong("answer = 6", "no file name"),
            Wrong("answer = 9", "it is not 9"),
            Wrong('answer = "5"', "should be a number"),
        ),
    ),
    Exercise(
        id="21-comments",
        judge=_comments,
        hints=(
            "`Comment` holds both keys, as each many side does. Which annotation lets one of them be empty?",
            "`__table_args__` takes a `CheckConstraint` with a rule in SQL. A list on each parent, with its cascade.",
            f"`{_RULE}`",
        ),
        code=_COMMENTS.format(_ALL, _ALL, _MAYBE, _MAYBE, _RULE),
        reason="Each key is a real foreign key, the rule wants exactly one of them, and each parent deletes its own "
        "comments.",
        wrong=(
            Wrong(
                _COMMENTS.format(_ALL, _ALL, _MAYBE, _MAYBE, "pass"),
                "with both parents",
            ),
            Wrong(
                _COMMENTS.format(
                    _ALL,
                    _ALL,
                    _MAYBE,
                    _MAYBE,
                    _RULE.replace(
                        "(user_id IS NULL) <> (post_id IS NULL)",
                        "user_id IS NULL OR post_id IS NULL",
                    ),
                ),
                "without a parent",
            ),
            Wrong(
                _COMMENTS.format(_ALL, _ALL, "int", _MAYBE, _RULE), "may not be NULL"
            ),
            Wrong(
                _COMMENTS.format(_ALL, "", _MAYBE, _MAYBE, _RULE), "a Post is deleted"
            ),
            Wrong(
                _COMMENTS.format(_ALL, _ALL, _MAYBE, _MAYBE, _RULE).replace(
                    '    comments: Mapped[list["Comment"]] = relationship(cascade="all, delete-orphan")\n',
                    "",
                    1,
                ),
                "has no relationship comments",
            ),
        ),
    ),
]
