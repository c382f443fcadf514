"""Exercises of lesson 07: users and their posts in as few statements as they need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.orm import Session, joinedload

from .._html import plural
from ..blog import Base, Post, User
from ..check import Exercise, NotYet, Wrong, expect, playground
from ..sql import counting

_SINCE = date(2026, 1, 1)
_WRITTEN = {
    "zoe": [("Clouds", 2026, 5, 20), ("Atlas", 2026, 2, 1), ("Rivers", 2025, 4, 4)],
    "ada": [("Tides", 2026, 6, 2), ("Anchors", 2025, 3, 9), ("Zinc", 2024, 8, 8)],
    "bo": [],
    "mei": [("Bread", 2026, 1, 1)],
    "ravi": [("Kites", 2025, 12, 31)],
    "tom": [("Owls", 2027, 8, 3), ("Maps", 2026, 1, 2)],
}


def _objects() -> list[User]:
    """Six users and ten posts, no two of the same day; bo wrote nothing, ravi nothing since 2026."""
    return [
        User(
            name=name,
            posts=[Post(title=title, published=date(*day)) for title, *day in written],
        )
        for name, written in _WRITTEN.items()
    ]


def _titles(wanted: Callable[[date], bool] = lambda day: True) -> dict[str, list[str]]:
    """What the lists of all users should hold, by the name of the user."""
    return {
        name: sorted(title for title, *day in written if wanted(date(*day)))
        for name, written in sorted(_WRITTEN.items())
    }


def _users(session: Session, answer: Any) -> tuple[list[User], int]:
    """Run the statement; return the users and how many statements that took, or NotYet."""
    expect(
        isinstance(answer, Select),
        "the answer should be a `select(...)` statement; the check runs it for you",
    )
    try:
        with counting(session.get_bind()) as count:
            users = session.scalars(answer).unique().all()
    except InvalidRequestError as error:
        expect(
            "conflict" not in str(error),
            "two options in your statement contradict each other: one loads `User.posts`, and another one "
            "forbids it",
        )
        raise
    except ArgumentError as error:
        expect(
            "root entities" not in str(error),
            "an option starts at `Post`, and the statement selects users; begin with `User.posts` and chain, or "
            'name all relationships by "*"',
        )
        expect(
            "expression-based" not in str(error),
            "columns alone have no lists to load; write `select(User)`, which gives objects",
        )
        raise
    expect(
        all(isinstance(user, User) for user in users),
        "each row should be a `User` object; write `select(User)`",
    )
    return users, count.statements


def _all_users(session: Session, answer: Any, missing: str) -> tuple[list[User], int]:
    """As `_users`; every user must be there, once, by name."""
    users, statements = _users(session, answer)
    names = [user.name for user in users]
    expect(set(names) == set(_WRITTEN), missing)
    expect(
        names == sorted(names),
        "the users are right but not ordered by name; add `order_by(User.name)`",
    )
    with Session(session.get_bind()) as second:
        try:
            rows = len(second.scalars(answer).all())
        except InvalidRequestError:  # joined lists: only unique() can tell
            rows = len(names)
    expect(
        rows == len(names),
        "the same user comes several times; a join repeats the one side for each child",
    )
    return users, statements


def _read_lists(session: Session, users: list[User]) -> dict[str, list[str]]:
    """The titles by user; NotYet when reading the lists sends anything."""
    try:
        with counting(session.get_bind()) as count:
            lists = {user.name: sorted(p.title for p in user.posts) for user in users}
    except InvalidRequestError:
        raise NotYet(
            "reading `user.posts` is an error: your statement forbids these lists, and no option loads them"
        ) from None
    expect(
        count.statements == 0,
        f"reading `user.posts` of every user sent {plural(count.statements, 'more statement')}: the lists were "
        "loaded lazily",
    )
    return lists


def _two_statements(session: Session, answer: Any) -> list[User]:
    users, statements = _all_users(
        session,
        answer,
        "users are missing; a join drops those without posts, and a condition may drop others",
    )
    lists = _read_lists(session, users)
    expect(
        lists == _titles(),
        "posts are missing from the lists, though they are in the database",
    )
    expect(
        statements != 1,
        "your statement joins: one statement, and the user's columns come again with each post; two were asked for",
    )
    expect(
        statements <= len(_WRITTEN),
        f"nothing was loaded lazily, and still {statements} statements were sent: one for each user, only earlier",
    )
    expect(
        statements == 2,
        f"nothing was loaded lazily, but {statements} statements were sent; an option loads more than `User.posts`",
    )
    return users


def _judge_two(answer: Any) -> None:
    with playground(Base, *_objects()) as session:
        _two_statements(session, answer)


def _judge_guard(answer: Any) -> None:
    with playground(Base, *_objects()) as session:
        users = _two_statements(session, answer)
        post = next(user.posts[0] for user in users if user.posts)
        for user in users:
            # what is in the identity map costs no SQL, so that it would hide a lazy load
            session.expunge(user)
        try:
            with counting(session.get_bind()) as count:
                post.user  # noqa: B018
        except InvalidRequestError:
            return
        expect(
            count.statements == 0,
            "the posts are loaded well, but `post.user` is still loaded lazily: the check made it send a SELECT; "
            "no option forbids that",
        )
        raise NotYet(
            "`post.user` gives a user; it is loaded, and it was to be forbidden"
        )


def _feed(session: Session) -> list[str]:
    posts = select(Post).order_by(Post.published).options(joinedload(Post.user))
    return [f"{post.user.name}: {post.title}" for post in session.scalars(posts)]


def _judge_feed(answer: Any) -> None:
    expect(
        callable(answer), "the answer should be the function `feed`, without brackets"
    )
    with playground(Base, *_objects()) as session:
        wanted = _feed(session)
    with (
        playground(Base, *_objects()) as session,
        counting(session.get_bind()) as count,
    ):
        found = answer(session)
        expect(found is not None, "your function returns None; add `return`")
        expect(
            hasattr(found, "__iter__") and not isinstance(found, str),
            "your function should return a list of texts, one for each post",
        )
        found = list(found)
    expect(
        len(found) <= len(wanted),
        f"your list has {len(found)} lines and there are {len(wanted)} posts; are the two tables joined?",
    )
    expect(
        all(isinstance(line, str) and ": " in line for line in found),
        "each line should be a text like `ada: Tides`",
    )
    if sorted(found) == sorted(wanted):
        expect(
            found == wanted,
            "the lines are right but not in the order of `slow`, oldest first",
        )
    expect(
        found == wanted,
        f"the list differs from that of `slow`; it begins {found[:1]} in place of {wanted[:1]}",
    )
    expect(
        count.statements != 2,
        "two statements: good for lists, but a post has one user, so a join sends one row for each post; "
        "one statement will do",
    )
    expect(
        count.statements == 1,
        f"the list is right, and it took {count.statements} statements, as the loop still loads each user by itself",
    )


def _judge_recent(answer: Any) -> None:
    with playground(Base, *_objects()) as session:
        users, statements = _all_users(
            session,
            answer,
            "users are missing; the condition chooses users, and it should choose posts: it belongs into the option",
        )
        lists = _read_lists(session, users)
    old = {
        title for titles in _titles(lambda d: d < _SINCE).values() for title in titles
    }
    found = {title for titles in lists.values() for title in titles}
    recent = {
        title for titles in _titles(lambda d: d >= _SINCE).values() for title in titles
    }
    expect(
        not found & old,
        f"posts from before 2026 are in the lists, such as {sorted(found & old)[:1]}",
    )
    expect(
        found != recent - {"Bread"},
        "the post of 1 January 2026 is missing, and that day belongs to 2026",
    )
    expect(
        lists == _titles(lambda d: d >= _SINCE),
        f"these posts are missing: {', '.join(sorted(recent - found))}",
    )
    expect(
        statements <= 2,
        f"the lists are right, and it took {statements} statements; two are enough",
    )


_USERS = "answer = select(User).order_by(User.name)"
_RECENT = "Post.published >= date(2026, 1, 1)"

EXERCISES = [
    Exercise(
        id="07-two-statements",
        judge=_judge_two,
        hints=(
            "A loader option stands in the statement: `select(User).options(...)`.",
            "Which option sends one more statement for all lists together?",
            "`.order_by(User.name).options(selectinload(User.posts))`.",
        ),
        code=f"{_USERS}.options(selectinload(User.posts))",
        reason="One statement for the users, one for all their posts, however many users there are.",
        wrong=(
            Wrong(_USERS, "sent 6 more statements"),
            Wrong(f"{_USERS}.options(joinedload(User.posts))", "your statement joins"),
            Wrong(f"{_USERS}.options(orm.immediateload(User.posts))", "only earlier"),
            Wrong(
                f"{_USERS}.options(raiseload(User.posts))",
                "your statement forbids these lists",
            ),
            Wrong(
                f"{_USERS}.join(User.posts).options(selectinload(User.posts))",
                "drops those without posts",
            ),
            Wrong(
                f"{_USERS}.outerjoin(User.posts).options(selectinload(User.posts))",
                "the same user comes several times",
            ),
            Wrong(
                "answer = select(User).options(selectinload(User.posts))",
                "not ordered by name",
            ),
            Wrong(
                "answer = select(Post).options(selectinload(Post.user))",
                "should be a User object",
            ),
            Wrong(
                "answer = select(User.name).options(selectinload(User.posts))",
                "have no lists to load",
            ),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts).selectinload(Post.user))",
                "loads more than User.posts",
            ),
        ),
    ),
    Exercise(
        id="07-no-lazy-loads",
        judge=_judge_guard,
        hints=(
            "Take the answer of exercise 1; a second option goes beside the first.",
            "Which option turns a lazy load into an error, and which name stands for all relationships?",
            '`.options(selectinload(User.posts), raiseload("*"))`.',
        ),
        code=f'{_USERS}.options(selectinload(User.posts), raiseload("*"))',
        reason='`"*"` means every relationship that no other option names. '
        "`selectinload(User.posts).raiseload(Post.user)` is right as well.",
        wrong=(
            Wrong(
                f"{_USERS}.options(selectinload(User.posts))", "no option forbids that"
            ),
            Wrong(f'{_USERS}.options(raiseload("*"))', "no option loads them"),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts), raiseload(User.posts))",
                "contradict each other",
            ),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts), raiseload(Post.user))",
                "an option starts at Post",
            ),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts).joinedload(Post.user))",
                "it was to be forbidden",
            ),
            Wrong(
                f'{_USERS}.options(joinedload(User.posts), raiseload("*"))',
                "your statement joins",
            ),
        ),
    ),
    Exercise(
        id="07-repair-the-loop",
        judge=_judge_feed,
        hints=(
            "Which line of `slow` sends a statement for each user?",
            "From the many side to the one side nothing is multiplied. Which option joins?",
            "`select(Post).order_by(Post.published).options(joinedload(Post.user))`, and the rest as it is.",
        ),
        code="""def feed(session):
    ask = select(Post).order_by(Post.published).options(joinedload(Post.user))
    return [f"{post.user.name}: {post.title}" for post in session.scalars(ask)]
""",
        reason="`slow` sends 1 + 5: each user is read once, then found in the identity map. Selecting two columns, "
        "`select(User.name, Post.title).join(Post.user)`, takes one statement as well.",
        wrong=(
            Wrong(
                """def feed(session):
    posts = session.scalars(select(Post).order_by(Post.published))
    return [f"{post.user.name}: {post.title}" for post in posts]
""",
                "each user by itself",
            ),
            Wrong(
                """def feed(session):
    ask = select(Post).order_by(Post.published).options(selectinload(Post.user))
    return [f"{post.user.name}: {post.title}" for post in session.scalars(ask)]
""",
                "one statement will do",
            ),
            Wrong(
                """def feed(session):
    ask = select(Post).options(joinedload(Post.user))
    return [f"{post.user.name}: {post.title}" for post in session.scalars(ask)]
""",
                "not in the order of slow",
            ),
            Wrong(
                """def feed(session):
    ask = select(User.name, Post.title).order_by(Post.published)
    return [f"{name}: {title}" for name, title in session.execute(ask)]
""",
                "are the two tables joined?",
            ),
            Wrong(
                """def feed(session):
    ask = select(Post).order_by(Post.published).options(joinedload(Post.user))
    return session.scalars(ask).all()
""",
                "a text like",
            ),
            Wrong(
                """def feed(session):
    ask = select(Post).order_by(Post.published).options(joinedload(Post.user))
    posts = session.scalars(ask).all()
    [f"{post.user.name}: {post.title}" for post in posts]
""",
                "returns None",
            ),
            Wrong(
                """def feed(session):
    return select(Post).order_by(Post.published).options(joinedload(Post.user))
""",
                "a list of texts",
            ),
        ),
    ),
    Exercise(
        id="07-recent-posts",
        judge=_judge_recent,
        hints=(
            "A condition in `where` chooses users. Where does a condition for the lists stand?",
            "A relationship takes a condition: `User.posts.and_(...)`.",
            "`.options(selectinload(User.posts.and_(Post.published >= since)))`.",
        ),
        code=f"""since = date(2026, 1, 1)
{_USERS}.options(
    selectinload(User.posts.and_(Post.published >= since))
)""",
        reason="The condition stands in the statement for the posts, so every user is kept, with a list that may be "
        "empty.",
        wrong=(
            Wrong(
                f"{_USERS}.join(User.posts).where({_RECENT}).options(contains_eager(User.posts))",
                "the condition chooses users",
            ),
            Wrong(f"{_USERS}.options(selectinload(User.posts))", "from before 2026"),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts.and_({_RECENT.replace('>=', '>')})))",
                "1 January 2026",
            ),
            Wrong(_USERS, "were loaded lazily"),
            Wrong(
                f"{_USERS}.options(selectinload(User.posts.and_({_RECENT}, Post.published < date(2027, 1, 1))))",
                "these posts are missing",
            ),
            Wrong(
                f"answer = select(User).options(selectinload(User.posts.and_({_RECENT})))",
                "not ordered by name",
            ),
        ),
    ),
]
