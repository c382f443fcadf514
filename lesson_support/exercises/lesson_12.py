"""Exercises of lesson 12: replies, a reviewer, one profile, and likes."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.exc import (
    AmbiguousForeignKeysError,
    ArgumentError,
    IntegrityError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session

from ..check import (
    Exercise,
    NotYet,
    Wrong,
    configured,
    expect,
    mapped_class,
    playground,
)
from ._blog import BASE

_DAY = date(2026, 1, 5)


def _key(cls: Any, name: str, target: str, *, required: bool) -> None:
    """Look for a foreign key that is one column."""
    columns = cls.__table__.columns
    table = cls.__table__.name
    expect(
        name in columns,
        f"the table `{table}` has no column `{name}`; it has {', '.join(columns.keys())}",
    )
    targets = {key.target_fullname for key in columns[name].foreign_keys}
    expect(
        targets,
        f"`{table}.{name}` is a number like any other: add `ForeignKey(...)` inside `mapped_column(...)`",
    )
    expect(
        target in targets,
        f"`{table}.{name}` points at `{targets.pop()}`, and the row that it should hold is in "
        f"`{target.partition('.')[0]}`",
    )
    nullable = columns[name].nullable
    expect(
        required or nullable,
        f"`{table}.{name}` is NOT NULL, but the value may be missing; write `Mapped[int | None]`",
    )
    expect(
        not required or not nullable,
        f"`{table}.{name}` accepts NULL, and the value is required; write `Mapped[int]`",
    )


def _relation(cls: Any, name: str, *, many: bool) -> Any:
    """Look for a relationship, and at whether it holds a list."""
    relationships = cls.__mapper__.relationships
    owner = f"`{cls.__name__}.{name}`"
    expect(
        name in relationships,
        f"`{cls.__name__}` has no relationship called `{name}`",
    )
    if many:
        expect(
            relationships[name].uselist,
            f"{owner} leads to one object; write `Mapped[list[...]]`",
        )
    else:
        expect(
            not relationships[name].uselist,
            f"{owner} is a list, and there is at most one; write the class without `list`",
        )
    return relationships[name]


def _connected(base: Any) -> None:
    """As `configured`, with the two errors of this lesson in words."""
    try:
        configured(base)
    except NotYet as reply:
        named = any(table.foreign_keys for table in base.metadata.tables.values())
        expect(
            not (named and "no foreign key lies" in str(reply)),
            "a relationship names a column in `foreign_keys` that is no foreign key; the keys are in the table of "
            "the many side",
        )
        raise
    except AmbiguousForeignKeysError as error:
        found = re.search(r"on relationship (\w+\.\w+)", str(error))
        raise NotYet(
            f"two keys lead from one table to the other, and `{found[1] if found else 'a relationship'}` does "
            "not say which one it uses; add `foreign_keys=`"
        ) from None
    except ArgumentError as error:
        expect(
            "built-in function id" not in str(error),
            "above the line of the column `id`, this name is a function of Python; write "
            '`remote_side="Comment.id"`',
        )
        expect(
            "MANYTOONE" not in str(error),
            "both relationships lead to one comment, because `remote_side` stands at both; take it away from "
            "`replies`",
        )
        expect(
            "both of the same direction" not in str(error),
            "nothing says which of the two relationships leads to the one comment; add `remote_side=` there, "
            "with the `id`",
        )
        raise


def _replies(base: Any) -> None:
    comment = mapped_class(base, "comments")
    _key(comment, "reply_to_id", "comments.id", required=False)
    _connected(base)
    relationships = comment.__mapper__.relationships
    expect(
        "reply_to" not in relationships
        or relationships["reply_to"].direction.name == "MANYTOONE",
        "`reply_to` is the one-to-many side: the key would be written into the other comment; "
        "`remote_side` belongs to `reply_to`, and to no other",
    )
    _relation(comment, "reply_to", many=False)
    replies = _relation(comment, "replies", many=True)
    expect(
        replies.direction.name == "ONETOMANY",
        "`replies` is not the one-to-many side; take `remote_side` away from it",
    )
    first, second = comment(text="Snow?"), comment(text="Much.")
    second.reply_to = first
    expect(
        second in first.replies,
        "after `second.reply_to = first`, `first.replies` is empty; link both with `back_populates`",
    )
    with playground(base) as session:
        first = comment(text="Snow?")
        for text in ("Much.", "None."):
            first.replies.append(comment(text=text))
        first.replies[0].replies.append(comment(text="Where?"))
        session.add(first)
        session.commit()
        session.expunge_all()
        saved = session.scalars(select(comment).where(comment.text == "Where?")).one()
        expect(
            saved.reply_to
            and saved.reply_to.reply_to
            and len(saved.reply_to.reply_to.replies) == 2,
            "a saved reply does not find the way up to the first comment again",
        )


def _reviewer(base: Any) -> None:
    user, post = mapped_class(base, "users"), mapped_class(base, "posts")
    expect(
        not user.__table__.foreign_keys,
        "`users` holds a foreign key, but the post is the many side, twice; both keys stand in `posts`",
    )
    _key(post, "author_id", "users.id", required=True)
    _key(post, "reviewer_id", "users.id", required=False)
    _connected(base)
    _relation(user, "posts", many=True)
    _relation(user, "reviews", many=True)
    _relation(post, "author", many=False)
    _relation(post, "reviewer", many=False)
    mira, olaf = user(name="mira"), user(name="olaf")
    snow = post(title="Snow", published=_DAY, author=mira, reviewer=olaf)
    for owner, name in ((mira, "posts"), (olaf, "reviews")):
        other = {"posts": "author", "reviews": "reviewer"}[name]
        expect(
            snow in getattr(owner, name),
            f"after `post.{other} = user`, the post is not in `user.{name}`; link the two with `back_populates`",
        )
    with playground(base) as session:
        session.add_all([mira, olaf, snow])
        session.commit()
        table = post.__table__.c
        keys = session.execute(select(table.author_id, table.reviewer_id)).one()
        expect(
            tuple(keys) == (mira.id, olaf.id),
            "the author was saved in `reviewer_id`, and the reviewer in `author_id`; each relationship names "
            "the key of the other",
        )
        session.expunge_all()
        mira = session.scalars(select(user).where(user.name == "mira")).one()
        expect(
            len(mira.posts) == 1 and not mira.reviews,
            "read again, `user.posts` and `user.reviews` do not hold what was saved",
        )


def _refuses(session: Session, cls: Any, **values: Any) -> bool:
    """Does the table refuse such a row? Nothing is kept."""
    try:
        with session.begin_nested():
            session.execute(insert(cls.__table__).values(**values))
    except IntegrityError:
        return True
    return False


def _profile(base: Any) -> None:
    user, profile = mapped_class(base, "users"), mapped_class(base, "profiles")
    _key(profile, "user_id", "users.id", required=True)
    try:
        configured(base)
    except ArgumentError as error:
        expect(
            "delete-orphan cascade" not in str(error),
            "`delete-orphan` stands on the side that holds the key; it belongs to the one side, `User.profile`",
        )
        raise
    _relation(user, "profile", many=False)
    _relation(profile, "user", many=False)
    mira, olaf = user(name="mira"), user(name="olaf")
    mira.profile = profile(text="I like snow.")
    expect(
        mira.profile.user is mira,
        "after `user.profile = profile`, `profile.user` is still None; link both with `back_populates`",
    )
    with playground(base, mira, olaf) as session:
        mira, olaf = session.scalars(select(user).order_by(user.name)).all()
        expect(
            mira.profile is not None,
            "a user was saved, and the new profile was not; `cascade` must hold `all`, too",
        )
        expect(
            olaf.profile is None, "a user without a profile has something in `profile`"
        )
        expect(
            not _refuses(session, profile, text="Ice.", user_id=olaf.id),
            "the table refuses the first profile of a second user; what must be unique?",
        )
        expect(
            _refuses(session, profile, text="Twice.", user_id=mira.id),
            "the table takes a second profile of the same user; the annotation is only for Python, the table "
            "needs a rule at the key",
        )
        session.commit()
        try:
            mira.profile = None
            session.commit()
        except (IntegrityError, AssertionError):
            raise NotYet(
                "when `user.profile` is set to None, the Session tries to set the key to NULL; it should delete "
                "the profile"
            ) from None
        left = session.scalar(select(func.count()).select_from(profile.__table__))
        expect(
            left == 1, "`user.profile` was set to None, and the profile is not deleted"
        )


def _likes(base: Any) -> None:
    user, post = mapped_class(base, "users"), mapped_class(base, "posts")
    like = mapped_class(base, "likes")
    _key(like, "user_id", "users.id", required=True)
    _key(like, "post_id", "posts.id", required=True)
    configured(base)
    for cls, name, many in (
        (user, "likes", True),
        (post, "likes", True),
        (like, "user", False),
        (like, "post", False),
    ):
        _relation(cls, name, many=many)
    for cls, name in ((user, "user"), (post, "post")):
        other = like(**{name: (owner := cls())})
        expect(
            other in owner.likes,
            f"after `like.{name} = {name}`, the like is not in `{name}.likes`; link both with `back_populates`",
        )
    for gone, stays, loaded in (
        ("user", "posts", False),
        ("user", "posts", True),
        ("post", "users", False),
        ("post", "users", True),
    ):
        _delete_one(base, (user, post, like), gone, stays, loaded)


def _delete_one(
    base: Any, classes: tuple[Any, Any, Any], gone: str, stays: str, loaded: bool
) -> None:
    """Two users like two posts, all four ways; delete one user, or one post."""
    user, post, like = classes
    with playground(base) as session:
        users = [user(name=name) for name in ("mira", "olaf")]
        posts = [post(title=title, published=_DAY) for title in ("Snow", "Ice")]
        session.add_all([*users, *posts])
        session.flush()
        try:
            with session.begin_nested():
                session.add_all(like(user=u, post=p) for u in users for p in posts)
        except IntegrityError:
            raise NotYet(
                "two users cannot like two posts each: a key that is unique by itself allows one like only; the "
                "*pair* must be unique"
            ) from None
        expect(
            _refuses(session, like, user_id=users[0].id, post_id=posts[0].id),
            "the same user can like the same post twice; make the pair of keys the primary key, or unique",
        )
        session.commit()
        first = users[0] if gone == "user" else posts[0]
        if loaded:
            len(first.likes)
        try:
            session.delete(first)
            session.commit()
        except (SQLAlchemyError, AssertionError):
            key = like.__table__.columns[f"{gone}_id"]
            expect(
                not type(first).__mapper__.relationships["likes"].passive_deletes
                or any(found.ondelete for found in key.foreign_keys),
                f"`passive_deletes` leaves the likes of a {gone} to the database, and its key has no `ondelete`",
            )
            raise NotYet(
                f"a {gone} that has likes cannot be deleted: nothing says that the likes go too; look at "
                f"`cascade` of `{gone.capitalize()}.likes`"
            ) from None
        counts = {
            cls.__tablename__: session.scalar(
                select(func.count()).select_from(cls.__table__)
            )
            for cls in classes
        }
        expect(
            counts[stays] == 2,
            f"with a deleted {gone}, {stays} went as well; `cascade` must stand at the lists `likes` only",
        )
        expect(counts["likes"] == 2, f"the likes of a deleted {gone} are still there")
        session.delete(session.scalars(select(like)).first())
        session.commit()
        rest = session.scalar(select(func.count()).select_from(user.__table__))
        rest += session.scalar(select(func.count()).select_from(post.__table__))
        expect(
            rest == 3,
            "deleting one like deleted a user or a post: `cascade` stands at `Like.user` or `Like.post`",
        )


def _comment(
    reply_to: str = 'back_populates="replies", remote_side=[id]',
    replies: str = 'back_populates="reply_to"',
    kind: str = "int | None",
    target: str = "comments.id",
    holds: str = 'list["Comment"]',
) -> str:
    return f"""{BASE}class Comment(Blog):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    reply_to_id: Mapped[{kind}] = mapped_column(ForeignKey("{target}"))
    reply_to: Mapped["Comment | None"] = relationship({reply_to})
    replies: Mapped[{holds}] = relationship({replies})


answer = Blog"""


def _two_keys(
    posts: str = ', foreign_keys="Post.author_id"',
    reviews: str = ', foreign_keys="Post.reviewer_id"',
    author: str = ", foreign_keys=[author_id]",
    reviewer: str = ", foreign_keys=[reviewer_id]",
    kind: str = "int | None",
) -> str:
    return f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="author"{posts})
    reviews: Mapped[list["Post"]] = relationship(back_populates="reviewer"{reviews})


class Post(PostColumns, Blog):
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    reviewer_id: Mapped[{kind}] = mapped_column(ForeignKey("users.id"))
    author: Mapped["User"] = relationship(back_populates="posts"{author})
    reviewer: Mapped["User | None"] = relationship(back_populates="reviews"{reviewer})


answer = Blog"""


def _one(
    holds: str = '"Profile | None"',
    unique: str = ", unique=True",
    cascade: str = ', cascade="all, delete-orphan"',
    back: str = "",
    kind: str = "int",
) -> str:
    return f"""{BASE}class User(UserColumns, Blog):
    profile: Mapped[{holds}] = relationship(
        back_populates="user"{cascade}
    )


class Profile(Blog):
    __tablename__ = "profiles"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    user_id: Mapped[{kind}] = mapped_column(ForeignKey("users.id"){unique})
    user: Mapped["User"] = relationship(back_populates="profile"{back})


answer = Blog"""


_ORPHAN = ', cascade="all, delete-orphan"'
_PAIR = """    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"), primary_key=True)"""
_ID = """    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"){})
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))"""


def _like(
    user: str = _ORPHAN, post: str = _ORPHAN, keys: str = _PAIR, back: str = ""
) -> str:
    return f"""{BASE}class User(UserColumns, Blog):
    likes: Mapped[list["Like"]] = relationship(
        back_populates="user"{user}
    )


class Post(PostColumns, Blog):
    likes: Mapped[list["Like"]] = relationship(
        back_populates="post"{post}
    )


class Like(Blog):
    __tablename__ = "likes"
{keys}
    user: Mapped["User"] = relationship(back_populates="likes"{back})
    post: Mapped["Post"] = relationship(back_populates="likes")


answer = Blog"""


EXERCISES = [
    Exercise(
        id="12-replies",
        judge=_replies,
        hints=(
            "The parent and the child are both comments, so the key points at `comments.id`.",
            "Only one of the two relationships needs `remote_side`: the one that leads to one comment.",
            'In `reply_to`: `relationship(back_populates="replies", remote_side=[id])`.',
        ),
        code=_comment(),
        reason="`reply_to` is the many-to-one side: it finds the other comment by its `id`.",
        wrong=(
            Wrong(
                _comment(reply_to='back_populates="replies"'),
                "add remote_side= there",
            ),
            Wrong(
                _comment(replies='back_populates="reply_to", remote_side=[id]'),
                "stands at both",
            ),
            Wrong(
                _comment(
                    reply_to='back_populates="replies"',
                    replies='back_populates="reply_to", remote_side=[id]',
                ),
                "written into the other comment",
            ),
            Wrong(_comment(kind="int"), "is NOT NULL"),
            Wrong(_comment(target="comment.id"), "points at comment.id"),
            Wrong(
                _comment(reply_to="remote_side=[id]", replies=""),
                "first.replies is empty",
            ),
            Wrong(_comment(holds='"Comment"'), "leads to one object"),
        ),
    ),
    Exercise(
        id="12-reviewer",
        judge=_reviewer,
        hints=(
            "Two one-to-many between the same two tables: four relationships, and both keys in `posts`.",
            "Every one of the four needs `foreign_keys=`. In `Post` it is a list with the column.",
            'In `User`: `relationship(back_populates="author", foreign_keys="Post.author_id")`.',
        ),
        code=_two_keys(),
        reason="Each relationship names its key. In `User` the name stands in quotes, because `Post` comes later.",
        wrong=(
            Wrong(_two_keys("", "", "", ""), "User.posts does not say"),
            Wrong(_two_keys(author=""), "Post.author does not say"),
            Wrong(_two_keys(kind="int"), "is NOT NULL"),
            Wrong(_two_keys(', foreign_keys="User.id"'), "is no foreign key"),
            Wrong(
                _two_keys(
                    ', foreign_keys="Post.reviewer_id"',
                    ', foreign_keys="Post.author_id"',
                    ", foreign_keys=[reviewer_id]",
                    ", foreign_keys=[author_id]",
                ),
                "was saved in reviewer_id",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    author_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))
    reviewer_id: Mapped[int | None] = mapped_column(ForeignKey("posts.id"))


class Post(PostColumns, Blog):
    pass


answer = Blog""",
                "the post is the many side",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(foreign_keys="Post.author_id")


class Post(PostColumns, Blog):
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    reviewer_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


answer = Blog""",
                "no relationship called reviews",
            ),
        ),
    ),
    Exercise(
        id="12-profile",
        judge=_profile,
        hints=(
            "Three things: what Python holds, what the table allows, and what becomes of a profile that is taken away.",
            "An annotation without `list`; a rule at the key; a cascade at `User.profile`.",
            '`Mapped["Profile | None"]`, `unique=True`, and `cascade="all, delete-orphan"`.',
        ),
        code=_one(),
        reason="The annotation speaks to Python, `unique=True` to the table, and the cascade to the Session.",
        wrong=(
            Wrong(_one(holds='list["Profile"]'), "is a list"),
            Wrong(_one(unique=""), "takes a second profile"),
            Wrong(_one(cascade=', cascade="delete-orphan"'), "must hold all"),
            Wrong(_one(cascade=""), "tries to set the key to NULL"),
            Wrong(_one(cascade="", kind="int | None"), "accepts NULL"),
            Wrong(_one(cascade="", back=_ORPHAN), "side that holds the key"),
        ),
    ),
    Exercise(
        id="12-likes",
        judge=_likes,
        hints=(
            "A like belongs to one user and to one post, so it is the many side twice.",
            "The two keys together can be the primary key: `primary_key=True` at both.",
            'Both lists, in `User` and in `Post`, need `cascade="all, delete-orphan"`.',
        ),
        code=_like(),
        reason="Two one-to-many with one child class. The pair of keys allows each like once, and each parent owns its "
        "likes.",
        wrong=(
            Wrong(_like(keys=_ID.format("")), "like the same post twice"),
            Wrong(
                _like(keys=_ID.format(", unique=True")),
                "a key that is unique by itself",
            ),
            Wrong(_like(user=""), "cascade of User.likes"),
            Wrong(_like(post=""), "cascade of Post.likes"),
            Wrong(_like(user=_ORPHAN + ", passive_deletes=True"), "leaves the likes"),
            Wrong(_like(back=', cascade="all, delete"'), "stands at Like.user"),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    likes: Mapped[list["Post"]] = relationship(secondary="likes")


class Post(PostColumns, Blog):
    pass


answer = Blog""",
                '__tablename__ = "likes"',
            ),
        ),
    ),
]
