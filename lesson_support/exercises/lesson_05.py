"""Exercises of lesson 05: delete a user, and decide what becomes of the posts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import (
    IntegrityError,
    NoResultFound,
    PendingRollbackError,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import UnmappedInstanceError

from .. import blog
from ..check import Exercise, Wrong, expect, playground
from ._blog import BASE, cascading, delete_mira, mapping, mira_and_olaf


def _mentions_posts(statement: str) -> bool:
    return "posts" in statement.split()


def _session_deletes(base: Any) -> None:
    user, post = cascading(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post needs a user; use `Mapped[int]`",
    )
    for loaded in (False, True):
        statements, left, refused = delete_mira(base, loaded=loaded)
        when = "loaded" if loaded else "not loaded"
        if refused is not None:
            expect(
                not any(s.startswith("UPDATE posts") for s in statements),
                "the delete was refused: the Session tried to set `posts.user_id` to NULL; `User.posts` must "
                "say that posts are deleted with their user",
            )
            expect(
                False,
                f"the delete was refused when the posts were {when}: neither the Session nor the database "
                "deleted them; `passive_deletes` relies on a rule of the database",
            )
        expect(
            set(left) == {"A bread"},
            f"posts of the deleted user are left when they were {when}",
        )
        expect(
            any(_mentions_posts(s) and s.startswith("DELETE") for s in statements),
            "the posts are gone, but no statement named them: the database deleted them; here the Session "
            "should do it, so leave `passive_deletes` out",
        )


def _posts_stay(base: Any) -> None:
    user, post = cascading(base)
    expect(
        post.__table__.columns["user_id"].nullable,
        "a post without a user has NULL in `user_id`, and `Mapped[int]` forbids NULL",
    )
    for loaded in (False, True):
        statements, left, refused = delete_mira(base, loaded=loaded)
        when = "loaded" if loaded else "not loaded"
        expect(
            refused is None,
            f"the delete was refused when the posts were {when}: nobody set their keys to NULL",
        )
        if len(left) < 4:
            expect(
                any(_mentions_posts(s) and s.startswith("DELETE") for s in statements),
                f"the posts were {when}, and the database deleted them; `ondelete` says so",
            )
            expect(
                False,
                "the Session deleted the posts with their user; take the delete cascade away",
            )
        expect(
            all(left[title] is None for title in ("Snow", "Ice", "Thaw")),
            "the posts are still there but their keys are not NULL",
        )


def _repair(base: Any) -> None:
    user, post = cascading(base)
    statements, left, refused = delete_mira(base, loaded=False)
    expect(
        refused is None or not any(s.startswith("UPDATE posts") for s in statements),
        "the delete was refused even when the posts were not loaded: the Session read them and tried to set "
        "their keys to NULL; it neither relies on the database nor deletes them itself",
    )
    expect(
        refused is None,
        "the database refused the delete when the posts were not loaded: the Session relied on a rule, and "
        "the key has none",
    )
    expect(
        set(left) == {"A bread"},
        "with posts that are not loaded, the user is gone and the posts stay without one",
    )
    expect(
        not any(_mentions_posts(s) for s in statements),
        f"when the posts were not loaded, {len(statements)} statements were sent, and the posts were read "
        "only to be deleted; one `DELETE` of the user is enough if the Session relies on the database",
    )
    statements, left, refused = delete_mira(base, loaded=True)
    expect(
        refused is None,
        "it works only as long as nobody reads `user.posts`: when the posts were loaded, the Session still "
        "tried to set their keys to NULL",
    )
    expect(
        set(left) == {"A bread"},
        "when the posts were loaded, they stay without a user; the key may be NULL now, and nothing tells "
        "the Session to delete them",
    )


def _call(answer: Any, session: Session, name: str, who: str) -> Any:
    """Call the learner's function; errors that are likely become reasons."""
    try:
        return answer(session, name)
    except NoResultFound:
        reason = f"for {who} your code ended with NoResultFound; `one_or_none()` gives None instead of an error"
    except UnmappedInstanceError as error:
        given = "None" if "NoneType" in str(error) else "..."
        reason = (
            f"for {who} your code called `session.delete({given})`, and that is no user; read the user "
            "first, and ask whether there is one"
        )
    except PendingRollbackError:
        reason = "after the refused delete the Session cannot be used; call `session.rollback()`"
    except IntegrityError:
        reason = f"for {who} the database refuses, and your code ended with IntegrityError; catch it with `except`"
    expect(False, reason)


def _delete_by_name(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `delete_user`, without brackets",
    )
    people = mira_and_olaf(blog.User, blog.Post)
    with playground(
        blog.Base, *people, blog.User(name="pia"), blog.User(name="rosa")
    ) as session:

        def names() -> list[str]:
            with Session(session.get_bind()) as second:
                return list(
                    second.scalars(select(blog.User.name).order_by(blog.User.name))
                )

        found = _call(answer, session, "nobody", "a name that no user has")
        expect(
            found is False,
            f"there is no user of that name, and your function returned {found!r}, not False",
        )
        found = _call(answer, session, "pia", "a user without posts")
        gone = "pia" not in names()
        expect(
            gone,
            "a user without posts is still there for another Session; is there a `session.delete(...)`, and a "
            "`session.commit()` after it?",
        )
        expect(
            found is True,
            f"a user without posts was deleted, and your function returned {found!r}, not True",
        )
        expect(
            names() == ["mira", "olaf", "rosa"],
            "a user of another name is gone as well; delete the one user of that name",
        )
        found = _call(answer, session, "mira", "a user who has posts")
        expect(
            found is False,
            f"a user who has posts cannot be deleted, and your function returned {found!r}",
        )
        try:
            posts = len(session.scalars(select(blog.Post)).all())
        except PendingRollbackError:
            expect(
                False,
                "after the refused delete the Session cannot be used; call `session.rollback()`",
            )
        expect(
            names() == ["mira", "olaf", "rosa"] and posts == 4,
            "rows are missing that should have stayed: a user who has posts is left alone, posts and all",
        )
        _call(answer, session, "nobody", "a name that no user has")


_ORPHAN = 'back_populates="user", cascade="all, delete-orphan"'
_PASSIVE = _ORPHAN + ", passive_deletes=True"
_BY_DATABASE = 'ForeignKey("users.id", ondelete="CASCADE")'

EXERCISES = [
    Exercise(
        id="05-session-deletes",
        judge=_session_deletes,
        hints=(
            "What does the Session do with the children if `relationship()` says nothing?",
            "The word stands on the one side, at the list: `cascade=...`.",
            '`posts: Mapped[list["Post"]] = relationship(back_populates="user", '
            'cascade="all, delete-orphan")`, and a key that is `Mapped[int]`.',
        ),
        code=mapping(_ORPHAN),
        reason="`cascade` on the one side makes the Session read the posts and delete them before the user.",
        wrong=(
            Wrong(mapping(), "tried to set posts.user_id to NULL"),
            Wrong(
                mapping(back='back_populates="posts", cascade="all, delete"'),
                "on the many side",
            ),
            Wrong(mapping(_PASSIVE, _BY_DATABASE), "no statement named them"),
            Wrong(mapping(_PASSIVE), "neither the Session nor the database"),
            Wrong(mapping(kind="int | None"), "every post needs a user"),
            Wrong(
                f"{BASE}class User(UserColumns, Blog):\n    pass\n\n\nanswer = Blog",
                '"posts"',
            ),
            Wrong(
                mapping('cascade="all, delete-orphan"', back=""),
                "post.user is still None",
            ),
            Wrong(
                mapping('back_populates="user", cascade="delete-orphan"'),
                "needs delete beside it",
            ),
        ),
    ),
    Exercise(
        id="05-posts-stay",
        judge=_posts_stay,
        hints=(
            "This is what the Session does by itself, if the key lets it.",
            "What does `posts.user_id` hold when there is no user? Which annotation allows that?",
            '`user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))`, and no `cascade`.',
        ),
        code=mapping(kind="int | None"),
        reason="Without a delete cascade the Session sets the keys to NULL, and `int | None` allows it.",
        wrong=(
            Wrong(mapping(), "forbids NULL"),
            Wrong(mapping(_ORPHAN, kind="int | None"), "the Session deleted the posts"),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes=True',
                    _BY_DATABASE,
                    "int | None",
                ),
                "the database deleted them",
            ),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes="all"', kind="int | None"
                ),
                "nobody set",
            ),
        ),
    ),
    Exercise(
        id="05-repair",
        judge=_repair,
        hints=(
            "The database has its rule, and the Session relies on it. Which posts does the Session touch all the same?",
            "Posts in a list that was read are the Session's business, and nothing tells it to delete them.",
            'Add `cascade="all, delete-orphan"` at `User.posts`; `passive_deletes` and `ondelete` stay.',
        ),
        code=mapping(_PASSIVE, _BY_DATABASE),
        reason="It failed when `user.posts` had been read. With the cascade the Session deletes posts that were read, "
        "and the database all others.",
        wrong=(
            Wrong(
                mapping('back_populates="user", passive_deletes=True', _BY_DATABASE),
                "as nobody reads",
            ),
            Wrong(mapping(_ORPHAN, _BY_DATABASE), "read only to be deleted"),
            Wrong(mapping(_PASSIVE), "the key has none"),
            Wrong(mapping(key=_BY_DATABASE), "nor deletes them itself"),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes=True',
                    _BY_DATABASE,
                    "int | None",
                ),
                "may be NULL now",
            ),
        ),
    ),
    Exercise(
        id="05-delete-by-name",
        judge=_delete_by_name,
        hints=(
            "Three cases, three returns. Which of them can be seen before the delete, which only at the commit?",
            "`one_or_none()` gives None when no user has that name. A refusal is an `IntegrityError`.",
            "`try: session.commit()`, then `except IntegrityError:` with `session.rollback()` and "
            "`return False`.",
        ),
        code="""def delete_user(session, name):
    query = select(blog.User).where(blog.User.name == name)
    user = session.scalars(query).one_or_none()
    if user is None:
        return False
    session.delete(user)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        return False
    return True
""",
        reason="The database knows best whether a user can go. `if user.posts: return False` is right as well.",
        wrong=(
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).one()
    session.delete(user)
    session.commit()
    return True
""",
                "NoResultFound",
            ),
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).first()
    session.delete(user)
    session.commit()
    return True
""",
                "session.delete(None)",
            ),
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).first()
    if user is None:
        return False
    session.delete(user)
    return True
""",
                "still there for another Session",
            ),
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).first()
    if user is None:
        return False
    session.delete(user)
    session.commit()
    return True
""",
                "ended with IntegrityError",
            ),
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).first()
    if user is None:
        return False
    session.delete(user)
    try:
        session.commit()
    except IntegrityError:
        return False
    return True
""",
                "call session.rollback()",
            ),
            Wrong(
                """def delete_user(session, name):
    user = session.scalars(select(blog.User).where(blog.User.name == name)).first()
    if user is not None:
        for post in user.posts:
            session.delete(post)
        session.delete(user)
        session.commit()
        return True
    return False
""",
                "cannot be deleted, and your function returned True",
            ),
            Wrong(
                """def delete_user(session, name):
    known = session.scalars(select(blog.User.name)).all()
    for user in session.scalars(select(blog.User)).all():
        if name in known and not user.posts:
            session.delete(user)
    session.commit()
    return name in known
""",
                "a user of another name",
            ),
        ),
    ),
]
