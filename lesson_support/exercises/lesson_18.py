"""Exercises of lesson 18: programs that fail, or that are wrong without a word."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from ..blog import Base, Post, User
from ..check import Exercise, Wrong, expect, judge_select, playground
from ..database import private_engine


def _user(name: str, *posts: tuple[str, int]) -> User:
    """A user with posts: a title and a day of January 2026 for each."""
    made = [Post(title=title, published=date(2026, 1, day)) for title, day in posts]
    return User(name=name, posts=made)


def _snow() -> Any:
    asked = User.posts.any(Post.title == "Snow")
    return select(User).where(asked, User.name != "mira").order_by(User.name)


def _people() -> tuple[Any, list]:
    people = [
        _user("rosa", ("Snow", 3), ("Snow", 9)),
        _user("mira", ("Snow", 4)),
        _user("pia", ("Rain", 5)),
        _user("emil", ("Ice", 6), ("Snow", 7)),
        _user("olaf"),
    ]
    return Base, people


_DAY = date(2026, 1, 8)


def _clear(answer: Any) -> None:
    expect(
        callable(answer), "the answer should be the function `clear`, without brackets"
    )
    mira = _user(
        "mira", ("One", 1), ("Two", 2), ("Three", 3), ("Four", 4), ("Eight", 8)
    )
    with playground(Base, mira, _user("olaf", ("Old", 1))) as session:
        user = session.scalars(select(User).where(User.name == "mira")).one()
        try:
            count = answer(session, user, _DAY)
        except (IntegrityError, PendingRollbackError):
            expect(
                False,
                "your code ended with IntegrityError: a post that only leaves the list would stay without a user; "
                "delete it as well",
            )
        expect(
            not session.in_transaction()
            or not (session.deleted or session.dirty or session.new),
            "the deletes still wait in the Session; who commits?",
        )
        with Session(session.get_bind()) as second:
            query = select(User.name, Post.title).join(Post.user).order_by(Post.id)
            left = {tuple(row) for row in second.execute(query)}
        mine = {title for name, title in left if name == "mira"}
        expect(
            ("olaf", "Old") in left,
            "a post of another user is gone; only the posts of `user` were meant",
        )
        expect(
            "Eight" in mine,
            "a post of that very day is gone; only those before the day were meant",
        )
        expect(
            len(mine) != 5,
            "all posts are still there for another Session: nothing was committed",
        )
        expect(
            mine == {"Eight"},
            f"old posts are left: {', '.join(sorted(mine - {'Eight'}))}; a list that shrinks while a loop runs "
            "over it skips the next one, so loop over a copy, `list(user.posts)`",
        )
        expect(
            count == 4,
            f"four posts were deleted, and your function returned {count!r}",
        )


def _give(answer: Any) -> None:
    expect(
        callable(answer), "the answer should be the function `give`, without brackets"
    )
    said = "your code ended with"
    with private_engine() as engine:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(_user("mira", ("Snow", 3), ("Ice", 4)))
            session.add(_user("olaf", ("Thaw", 5), ("Rain", 6)))
            session.commit()
        try:
            given = answer(engine, "Snow", "olaf")
        except DetachedInstanceError:
            reason = f"{said} DetachedInstanceError: something is read after its Session; make the result inside the block"
        except InvalidRequestError as error:
            if "already attached" not in str(error):
                raise
            reason = f"{said} InvalidRequestError: an object is in one Session, and you give it to another; one Session is enough"
        else:
            reason = ""
        expect(not reason, reason)
        with Session(engine) as session:
            query = select(Post.title, User.name).join(Post.user).order_by(Post.title)
            owners = {title: name for title, name in session.execute(query)}
        expect(
            owners.get("Snow") == "olaf",
            "for another Session the post still has its old user; was it committed?",
        )
        expect(
            len(owners) == 4 and owners["Ice"] == "mira",
            "other posts changed hands as well, or are gone",
        )
        expect(
            isinstance(given, tuple) and len(given) == 2,
            f"the function should return a name and a list, and it returned {given!r}",
        )
        name, titles = given
        expect(
            name == "olaf",
            f"the name of the new user is olaf, and your function returned {name!r}",
        )
        expect(
            sorted(titles) == ["Rain", "Snow", "Thaw"],
            f"olaf has Rain, Snow and Thaw now, and your function returned {titles!r}",
        )
        expect(
            list(titles) == sorted(titles),
            "the titles are right but not sorted",
        )


def _clearing(
    over: str = "list(user.posts)", less: str = "<", last: str = "session.commit()"
) -> str:
    return f"""def clear(session, user, day):
    count = 0
    for post in {over}:
        if post.published {less} day:
            session.delete(post)
            count += 1
    {last}
    return count
"""


def _giving(
    result: str = "user.name, sorted(post.title for post in user.posts)",
    end: str = "session.commit()",
) -> str:
    return f"""def give(engine, title, name):
    with Session(engine) as session:
        post = session.scalars(select(Post).where(Post.title == title)).one()
        user = session.scalars(select(User).where(User.name == name)).one()
        post.user = user
        {end}
        return {result}
"""


EXERCISES = [
    Exercise(
        id="18-question",
        judge=judge_select(_snow, _people),
        hints=(
            "`User.posts` is no post: which word asks whether there is at least one?",
            "Python's `and` cannot join two conditions; `where` takes several, with a comma. And a class has no quotes.",
            '`select(User).where(User.posts.any(Post.title == "Snow"), User.name != "mira").order_by(User.name)`.',
        ),
        code="""answer = (
    select(User)
    .where(User.posts.any(Post.title == "Snow"), User.name != "mira")
    .order_by(User.name)
)""",
        reason="`any` becomes EXISTS, so nobody comes twice; the comma is AND; the order names a column.",
        wrong=(
            Wrong(
                'answer = select(User).where(User.posts.any(Post.title == "Snow")).order_by(User.name)',
                "not asked for: User('mira')",
            ),
            Wrong(
                'answer = select(User).join(User.posts).where(Post.title == "Snow", User.name != "mira").order_by(User.name)',
                "the same row comes several times",
            ),
            Wrong(
                'answer = select(User).where(Post.title == "Snow", User.name != "mira").order_by(User.name)',
                "nothing joins them",
            ),
            Wrong(
                'answer = select(User).where(User.posts.any(Post.title == "Snow"), User.name != "mira").order_by(User.name.desc())',
                "not in the order",
            ),
            Wrong(
                'answer = select(User).where(~User.posts.any(Post.title != "Snow"), User.name != "mira").order_by(User.name)',
                "missing: User('emil')",
            ),
        ),
    ),
    Exercise(
        id="18-clear",
        judge=_clear,
        hints=(
            "Take a user with four old posts and count, on paper, which of them the loop meets.",
            "What becomes of the rows when the Session ends? Who says that they are to be gone?",
            "`for post in list(user.posts):`, then `session.delete(post)`, and one `session.commit()` after the loop.",
        ),
        code=_clearing(),
        reason="The loop runs over a copy, so `user.posts` may change meanwhile, and the commit keeps the deletes. "
        "`session.execute(delete(Post).where(...))` and its `rowcount` is right as well.",
        wrong=(
            Wrong(
                """def clear(session, user, day):
    count = 0
    for post in user.posts:
        if post.published < day:
            user.posts.remove(post)
            session.delete(post)
            count += 1
    session.commit()
    return count
""",
                "skips the next one",
            ),
            Wrong(_clearing(last="session.flush()"), "nothing was committed"),
            Wrong(_clearing(last="pass"), "who commits"),
            Wrong(_clearing(less="<="), "of that very day"),
            Wrong(
                """def clear(session, user, day):
    old = [post for post in user.posts if post.published < day]
    for post in old:
        user.posts.remove(post)
    session.commit()
    return len(old)
""",
                "only leaves the list",
            ),
            Wrong(
                _clearing(over="session.scalars(select(Post)).all()"),
                "a post of another user",
            ),
            Wrong(
                _clearing().replace("    return count\n", ""),
                "your function returned None",
            ),
        ),
    ),
    Exercise(
        id="18-give",
        judge=_give,
        hints=(
            "The first message is *is already attached to session*. How many Sessions are needed?",
            "With one Session the next message is about an object that is not bound to a Session: where does the `return` stand?",
            "One `with Session(engine) as session:`, both questions in it, `post.user = user`, `session.commit()`, and the `return` inside.",
        ),
        code=_giving(),
        reason="Objects that belong together come from one Session, and what is read after the commit is read while it is open.",
        wrong=(
            Wrong(
                """def give(engine, title, name):
    with Session(engine) as one:
        post = one.scalars(select(Post).where(Post.title == title)).one()
        with Session(engine) as two:
            user = two.scalars(select(User).where(User.name == name)).one()
            post.user = user
        one.commit()
        return user.name, sorted(post.title for post in user.posts)
""",
                "one Session is enough",
            ),
            Wrong(
                _giving().replace("        return", "    return"),
                "read after its Session",
            ),
            Wrong(_giving(end="session.flush()"), "was it committed"),
            Wrong(
                _giving("user.name, sorted(post.title for post in user.posts)[:2]"),
                "olaf has Rain, Snow and Thaw now",
            ),
            Wrong(
                _giving(
                    "user.name, sorted((post.title for post in user.posts), reverse=True)"
                ),
                "not sorted",
            ),
            Wrong(_giving("user.name"), "a name and a list"),
            Wrong(
                _giving('"mira", sorted(post.title for post in user.posts)'),
                "the name of the new user",
            ),
        ),
    ),
]
