"""Exercises of lesson 08: move posts, empty a list, predict what becomes of a row, repair a loop."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from .. import blog
from ..blog import PostColumns, UserColumns
from ..check import Exercise, Wrong, expect, playground


class _Base(DeclarativeBase):
    """The mapping of exercises 2 and 4: a post lives and dies with its user."""


class _User(UserColumns, _Base):
    posts: Mapped[list[_Post]] = relationship(
        back_populates="user", cascade="all, delete-orphan"
    )


class _Post(PostColumns, _Base):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    user: Mapped[_User] = relationship(back_populates="posts")


_MIRA = ("Snow", "Ice", "Thaw", "Flood", "Mud")


def _people(user: Any, post: Any) -> list[Any]:
    """mira has five posts, olaf and pia one each; rosa has none."""
    mira, olaf, pia, rosa = (user(name=n) for n in ("mira", "olaf", "pia", "rosa"))
    mira.posts = [
        post(title=title, published=date(2026, 1, day))
        for day, title in enumerate(_MIRA, 5)
    ]
    olaf.posts = [post(title="A bread", published=date(2026, 1, 6))]
    pia.posts = [post(title="A song", published=date(2026, 1, 7))]
    return [mira, olaf, pia, rosa]


def _owners(session: Session, user: Any, post: Any) -> dict[str, str]:
    """The name of the user of every post, by title, as this Session's transaction sees it."""
    rows = session.execute(select(post.title, user.name).join(post.user)).tuples()
    return dict(rows.all())


def _seen_by_others(
    session: Session, user: Any, post: Any
) -> tuple[dict[str, str], set[str]]:
    """What another Session finds: the owners of the posts, and the names of the users."""
    with Session(session.get_bind()) as second:
        return _owners(second, user, post), set(second.scalars(select(user.name)))


def _function(answer: Any, name: str) -> None:
    expect(
        callable(answer),
        f"the answer should be the function `{name}`, without brackets",
    )


_UNCOMMITTED = "another Session sees no change yet; is there a `session.commit()`?"


def _move_posts(answer: Any) -> None:
    _function(answer, "move_posts")
    with playground(blog.Base, *_people(blog.User, blog.Post)) as session:
        start, _ = _seen_by_others(session, blog.User, blog.Post)
        try:
            answer(session, "mira", "olaf")
            here = _owners(session, blog.User, blog.Post)
        except IntegrityError:
            expect(
                False,
                "the database refused with NOT NULL: a post was left without a user. A new list pushes out the "
                "posts that the target had, and a `remove` is sent by the next query",
            )
        there, names = _seen_by_others(session, blog.User, blog.Post)
        expect(
            names == {"mira", "olaf", "pia", "rosa"},
            "a user is gone; the posts move, and both users stay",
        )
        expect(set(there) == set(start), "a post is gone; its row should only move")
        moved = [title for title in _MIRA if here[title] == "olaf"]
        expect(
            here["A bread"] == "olaf",
            "the post that the target had before is no longer the target's",
        )
        expect(
            here["A song"] == "pia",
            "a post of a third user was moved as well; take the posts of `source` alone",
        )
        expect(
            moved or here != start,
            "no post has moved; give every post of `source` another `user`",
        )
        expect(
            len(moved) == len(_MIRA),
            f"only {len(moved)} of {len(_MIRA)} posts moved: each post that moves leaves the list that you walk "
            "over; walk over a copy",
        )
        expect(there == here, _UNCOMMITTED)
        session.rollback()
        try:
            answer(session, "rosa", "mira")
        except Exception as error:
            expect(
                False,
                f"for a source without posts your code ended with {type(error).__name__}; nothing is to be done then",
            )
        expect(
            _seen_by_others(session, blog.User, blog.Post)[0] == there,
            "a source without posts changed something",
        )


def _empty(answer: Any) -> None:
    _function(answer, "empty")
    with playground(_Base, *_people(_User, _Post)) as session:
        mira = session.scalars(select(_User).where(_User.name == "mira")).one()
        session.commit()
        try:
            answer(session, mira)
            here = _owners(session, _User, _Post)
        except TypeError as error:
            expect(
                "collection" not in str(error),
                "a list cannot be replaced by something that is no list; `[]` is the empty one",
            )
            raise
        except IntegrityError:
            expect(
                False,
                "the database refused with NOT NULL: a key was set to None. `delete-orphan` does not see that; "
                "change the list",
            )
        there, names = _seen_by_others(session, _User, _Post)
        expect(
            "mira" in names,
            "the user is gone as well; only the posts should be deleted",
        )
        left = [title for title in _MIRA if title in here]
        expect(
            "A bread" in here and "A song" in here,
            "posts of other users are gone as well",
        )
        expect(
            len(left) < len(_MIRA),
            "all posts of the user are still there; take them out of the list, and `delete-orphan` does the rest",
        )
        expect(
            not left,
            f"{len(left)} of {len(_MIRA)} posts are left: a loop over a list that it shortens skips every second; "
            "use a copy, or a method that needs no loop",
        )
        expect(not set(_MIRA) & set(there), _UNCOMMITTED)


_PREDICTED = (
    (
        "null",
        "`remove` takes the post out of the list; without a cascade its row is kept, and the key no longer "
        "points at anybody",
    ),
    (
        "moved",
        "at the flush the post has a user, so it is no orphan; which user does its key name then?",
    ),
    (
        "deleted",
        "the new list lacks the post, so it has left; under `delete-orphan` a post without a user does not stay",
    ),
    (
        "moved",
        "both happen before the flush, and at the flush the post has a user again",
    ),
    (
        "deleted",
        "`session.delete` is about the row and not about the list; no mapping changes that",
    ),
)


def _predict(answer: Any) -> None:
    expect(
        isinstance(answer, list | tuple) and len(answer) == 5,
        "the answer should be a list of five words, one for each line of the table",
    )
    words = [str("NULL" if word is None else word).strip().lower() for word in answer]
    strange = [word for word in words if word not in ("null", "deleted", "moved")]
    expect(
        not strange,
        f'"{strange[0] if strange else ""}" is none of the three words; they are "NULL", "deleted" and "moved"',
    )
    for number, (word, (right, because)) in enumerate(
        zip(words, _PREDICTED, strict=True), 1
    ):
        expect(word == right, f"line {number} does something else: {because}")


def _remove_old(answer: Any) -> None:
    _function(answer, "remove_old")
    with playground(_Base, *_people(_User, _Post)) as session:
        mira = session.scalars(select(_User).where(_User.name == "mira")).one()
        session.commit()
        try:
            answer(session, mira, date(2026, 1, 8))
            here = _owners(session, _User, _Post)
        except (IntegrityError, InvalidRequestError) as error:
            expect(
                False,
                f"your code ended with {type(error).__name__}; take the old posts out of the list, or delete them, "
                "and nothing else",
            )
        there, names = _seen_by_others(session, _User, _Post)
        expect(
            "mira" in names, "the user is gone as well; old posts go, the user stays"
        )
        expect(
            "A bread" in here and "A song" in here,
            "posts of other users are gone as well; look at the posts of `user` alone",
        )
        old = [title for title in _MIRA[:3] if title in here]
        new = [title for title in _MIRA[3:] if title in here]
        expect(
            len(old) < 3 or len(new) == 2,
            "it is the wrong way round: the old posts stay and the new ones are gone",
        )
        expect(new, "all posts are gone; those of `day` and later should stay")
        expect(
            "Flood" in new,
            "a post that was published on `day` is gone; only those before `day` should go",
        )
        expect(
            len(old) < 3,
            "no old post is gone; the rows should be deleted, not only a copy of the list changed",
        )
        expect(
            not old,
            f"{len(old)} of 3 old posts are still there: the loop still walks over the list that it shortens",
        )
        expect(not set(_MIRA[:3]) & set(there), _UNCOMMITTED)


_FIND = """    first = session.scalars(select(User).where(User.name == source)).one()
    second = session.scalars(select(User).where(User.name == target)).one()
"""

EXERCISES = [
    Exercise(
        id="08-move-posts",
        judge=_move_posts,
        hints=(
            "Read both users first. Then each post of the one gets the other as its user.",
            "A post that gets another user leaves the list of the first user at once. What does that do to a "
            "loop over this list?",
            "`for post in list(first.posts): post.user = second`, then `session.commit()`.",
        ),
        code=f"""def move_posts(session, source, target):
{_FIND}    for post in list(first.posts):
        post.user = second
    session.commit()
""",
        reason="`list(...)` makes a copy, so the loop sees every post while the real list gets shorter. "
        "`second.posts.extend(list(first.posts))` is right as well.",
        wrong=(
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for post in first.posts:
        post.user = second
    session.commit()
""",
                "walk over a copy",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for post in list(first.posts):
        post.user = second
""",
                "session.commit()",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    second.posts = first.posts
    session.commit()
""",
                "pushes out",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for post in list(first.posts):
        post.user = second
    session.delete(first)
    session.commit()
""",
                "both users stay",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for user in session.scalars(select(User)).all():
        for post in list(user.posts):
            post.user = second
    session.commit()
""",
                "a third user",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for post in list(second.posts):
        post.user = first
    session.commit()
""",
                "had before is no longer",
            ),
            Wrong(
                f"""def move_posts(session, source, target):
{_FIND}    for post in list(first.posts):
        session.delete(post)
    session.commit()
""",
                "should only move",
            ),
        ),
    ),
    Exercise(
        id="08-empty",
        judge=_empty,
        hints=(
            "With this mapping, a post that is taken out of the list is deleted at the flush. Which method of a "
            "list takes out everything?",
            "A loop with `remove` over the same list skips posts. `clear` needs no loop.",
            "`user.posts.clear()`, then `session.commit()`.",
        ),
        code="""def empty(session, user):
    user.posts.clear()
    session.commit()
""",
        reason="Every post became an orphan, and `delete-orphan` deleted its row. `user.posts = []` does the same.",
        wrong=(
            Wrong(
                """def empty(session, user):
    for post in user.posts:
        user.posts.remove(post)
    session.commit()
""",
                "skips every second",
            ),
            Wrong(
                """def empty(session, user):
    user.posts.clear()
""",
                "another Session sees no change",
            ),
            Wrong(
                """def empty(session, user):
    session.delete(user)
    session.commit()
""",
                "the user is gone",
            ),
            Wrong(
                """def empty(session, user):
    user.posts = None
    session.commit()
""",
                "the empty one",
            ),
            Wrong(
                """def empty(session, user):
    for post in user.posts:
        post.user_id = None
    session.commit()
""",
                "a key was set to None",
            ),
            Wrong(
                """def empty(session, user):
    posts = list(user.posts)
    posts.clear()
    session.commit()
""",
                "are still there; take them out",
            ),
        ),
    ),
    Exercise(
        id="08-predict",
        judge=_predict,
        hints=(
            "Ask of each line: has the post a user at the flush? If not, what does the mapping say about it?",
            "A post that has another user has moved. One that has none is deleted under `delete-orphan`, and keeps "
            "its row without it. `session.delete` does not ask.",
            "Two posts move, two are deleted, and the key of one becomes NULL: the first.",
        ),
        code='answer = ["NULL", "moved", "deleted", "moved", "deleted"]',
        reason="What counts is whether the post has a user when the changes are sent, and for one that has none, the "
        "mapping decides.",
        wrong=(
            Wrong(
                'answer = ["deleted", "moved", "deleted", "moved", "deleted"]',
                "line 1 does something else",
            ),
            Wrong(
                'answer = ["NULL", "deleted", "deleted", "moved", "deleted"]',
                "line 2 does something else",
            ),
            Wrong(
                'answer = ["NULL", "moved", "NULL", "moved", "deleted"]',
                "line 3 does something else",
            ),
            Wrong(
                'answer = ["NULL", "moved", "deleted", "deleted", "deleted"]',
                "line 4 does something else",
            ),
            Wrong(
                'answer = ["NULL", "moved", "deleted", "moved", "NULL"]',
                "line 5 does something else",
            ),
            Wrong(
                'answer = ["NULL", "moved", "stays", "moved", "deleted"]',
                "none of the three words",
            ),
            Wrong('answer = "NULL"', "a list of five words"),
        ),
    ),
    Exercise(
        id="08-remove-old",
        judge=_remove_old,
        hints=(
            "Which posts does the loop never look at? Try it on paper with three old posts in a row.",
            "The loop should walk over something that does not get shorter.",
            "`for post in list(user.posts):`, and the rest stays as it is.",
        ),
        code="""def remove_old(session, user, day):
    for post in list(user.posts):
        if post.published < day:
            user.posts.remove(post)
    session.commit()
""",
        reason="The loop walks over a copy. A new list of the posts that stay is right as well: "
        "`user.posts = [post for post in user.posts if post.published >= day]`.",
        wrong=(
            Wrong(
                """def remove_old(session, user, day):
    for post in user.posts:
        if post.published < day:
            user.posts.remove(post)
    session.commit()
""",
                "still walks over",
            ),
            Wrong(
                """def remove_old(session, user, day):
    posts = list(user.posts)
    for post in user.posts:
        if post.published < day:
            posts.remove(post)
    session.commit()
""",
                "only a copy of the list",
            ),
            Wrong(
                """def remove_old(session, user, day):
    user.posts.clear()
    session.commit()
""",
                "all posts are gone",
            ),
            Wrong(
                """def remove_old(session, user, day):
    user.posts = [post for post in user.posts if post.published < day]
    session.commit()
""",
                "the wrong way round",
            ),
            Wrong(
                """def remove_old(session, user, day):
    user.posts = [post for post in user.posts if post.published > day]
    session.commit()
""",
                "published on day",
            ),
            Wrong(
                """def remove_old(session, user, day):
    for post in list(user.posts):
        if post.published < day:
            user.posts.remove(post)
""",
                "another Session sees no change",
            ),
        ),
    ),
]
