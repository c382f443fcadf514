"""Exercises of lesson 14: users and posts through an AsyncSession."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Awaitable, Callable
from datetime import date
from threading import Thread
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from ..blog import Base, Post, User
from ..check import Exercise, NotYet, Wrong, expect
from ..database import async_beside, private_engine
from ..errors import explain

_SECONDS = 20
_NOT_SAVED = (
    "nothing made the rows permanent, so they are gone; `await session.commit()` is missing, or has "
    "no `await`, or comes before the rows are added"
)

_LAZY = {
    False: "something is read that is not loaded, such as the list `user.posts` before `append`, and nobody awaits it "
    "(MissingGreenlet); load it with an `await`, or take a way that reads nothing",
    True: "something is read after the commit, which expires all attributes, and nobody awaits it "
    "(MissingGreenlet); read it before the commit, or load it again with an `await`",
}


def _awaited(
    act: Callable[[AsyncEngine], Awaitable[Any]], *objects: Any
) -> tuple[Any, list[tuple]]:
    """Await `act(engine)` where no loop runs yet: in a thread, on a throw-away database.

    Returns what it returned, and what is in the database afterwards: one row for each post, with the id
    and the name of its user, its title and its date; one without a post for a user who has none.
    """
    with private_engine() as engine:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all(objects)
            session.commit()
        inner = async_beside(engine)
        found: dict[str, Any] = {}

        async def to_the_end() -> Any:
            try:
                return await asyncio.wait_for(act(inner), _SECONDS)
            finally:  # a driver's thread must not come back to a loop that is closed
                others = asyncio.all_tasks() - {asyncio.current_task()}
                if others:
                    await asyncio.wait(others, timeout=2)

        def work() -> None:
            try:
                # psycopg cannot use the loop that Windows would choose
                with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                    found["value"] = runner.run(to_the_end())
            except BaseException as error:
                found["error"] = error

        thread = Thread(target=work, daemon=True)
        thread.start()
        thread.join(_SECONDS + 5)
        error = found.get("error")
        if thread.is_alive() or isinstance(error, TimeoutError):
            raise NotYet(
                f"your function did not end within {_SECONDS} seconds; does a task wait for itself?"
            )
        if error is not None:
            raise error
        with Session(engine) as session:
            query = (
                select(User.id, User.name, Post.title, Post.published)
                .outerjoin(User.posts)
                .order_by(User.id, Post.id)
            )
            return found["value"], [tuple(row) for row in session.execute(query)]


async def _call(function: Any, *values: Any) -> tuple[Any, list[str]]:
    """Await the learner's function; returns its value and what was never awaited in it."""
    expect(
        callable(function) and not inspect.iscoroutine(function),
        "hand over the function itself: its name, without parentheses",
    )
    gc.collect()  # what an earlier answer did not await
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "coroutine .* was never awaited")
        try:
            value = function(*values)
            if inspect.isawaitable(value):
                value = await value
            else:
                raise NotYet(
                    "your function is not awaited; it should be an `async def`"
                )
            gc.collect()
        except AttributeError as error:
            if "'coroutine' object" in str(error):
                raise NotYet(
                    "an `await` is missing, or the brackets around it: "
                    "`(await session.scalars(...)).all()`"
                ) from None
            if "'awaitable_attrs'" in str(error):
                raise NotYet(
                    "the classes of `blog` are not on `AsyncAttrs`, so they have no `awaitable_attrs`; take another "
                    "way to load the list"
                ) from None
            raise
        except TypeError as error:
            if "coroutine" in str(error):
                raise NotYet(
                    f"an `await` is missing before something that is used ({error})"
                ) from None
            raise
    said = (str(warning.message) for warning in caught)
    return value, [words.split("'")[1] for words in said if "never awaited" in words]


def _with_session(answer: Any, *values: Any) -> Callable[[AsyncEngine], Awaitable[Any]]:
    async def act(engine: AsyncEngine) -> Any:
        committed = []
        async with async_sessionmaker(engine)() as session:
            event.listen(session.sync_session, "after_commit", committed.append)
            try:
                return await _call(answer, session, *values)
            except SQLAlchemyError as error:
                expect(
                    "MissingGreenlet" not in repr(explain(error)),
                    _LAZY[bool(committed)],
                )
                raise

    return act


def _no_forgotten(never: list[str]) -> None:
    expect(
        not never,
        f"`{never[0] if never else ''}` was called and never awaited, so it did nothing",
    )


def _post(title: str, day: int) -> Post:
    return Post(title=title, published=date(2026, 1, day))


def _blog() -> list[User]:
    mira = User(
        name="mira", posts=[_post("Thaw", 9), _post("Snow", 5), _post("Ice", 7)]
    )
    return [User(name="zoe", posts=[_post("A bread", 6)]), mira, User(name="olaf")]


def _titles(answer: Any) -> None:
    (found, never), _ = _awaited(_with_session(answer, "mira"), *_blog())
    _no_forgotten(never)
    expect(
        isinstance(found, list | tuple),
        f"the function should return a list, and returned `{type(found).__name__}`",
    )
    expect(
        all(isinstance(item, str) for item in found),
        "the list should hold the titles, as texts, and it holds something else",
    )
    expect(
        "A bread" not in found,
        "the list holds the title of another user's post; choose the user by name",
    )
    expect(
        sorted(found) == ["Ice", "Snow", "Thaw"],
        f"mira has the posts Snow, Ice and Thaw on the check's blog; your list: {list(found)}",
    )
    expect(
        list(found) == ["Snow", "Ice", "Thaw"],
        "the titles are right, the order is not: the oldest post comes first, by `published`",
    )
    (empty, _), _ = _awaited(_with_session(answer, "olaf"), *_blog())
    expect(list(empty) == [], "olaf has no posts, so his list is empty")


def _repair(answer: Any) -> None:
    (count, never), rows = _awaited(_with_session(answer, "mira", "Rain"), *_blog())
    _no_forgotten(never)
    new = [(name, day) for _, name, title, day in rows if title == "Rain"]
    old = {(name, title) for _, name, title, _ in rows if title not in (None, "Rain")}
    expect(
        len({id for id, *_ in rows}) == 3,
        "there is a new user now; find the one who is there",
    )
    expect(
        old == {(user.name, post.title) for user in _blog() for post in user.posts},
        "older posts are gone, or belong to another user now; leave them alone",
    )
    expect(new, _NOT_SAVED)
    expect(len(new) == 1, f"the post was saved {len(new)} times")
    expect(new[0][0] == "mira", f"the post went to {new[0][0]}, and it is mira's")
    expect(new[0][1] == date(2026, 1, 5), "the date should be `date(2026, 1, 5)`")
    expect(
        count == 4,
        f"mira had three posts and has four now; the function returned {count!r}",
    )
    (count, _), _ = _awaited(_with_session(answer, "olaf", "Rain"), *_blog())
    expect(
        count == 1,
        f"olaf had no post and has one now; the function returned {count!r}",
    )


def _at_once(answer: Any) -> None:
    names = ["ana", "bo", "cy", "dee", "eli", "fay", "gus", "hal"]
    now = most = sessions = 0

    class Counted(AsyncSession):
        def __init__(self, *given: Any, **more: Any) -> None:
            nonlocal sessions
            sessions += 1
            super().__init__(*given, **more)

    async def act(engine: AsyncEngine) -> Any:
        def came(*_: Any) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            # Held for a moment, so that the others come too, on a slow machine as well.
            for _ in range(12):
                if most <= 3:
                    await_only(asyncio.sleep(0.025))

        def went(*_: Any) -> None:
            nonlocal now
            now -= 1

        event.listen(engine.sync_engine.pool, "checkout", came)
        event.listen(engine.sync_engine.pool, "checkin", went)
        try:
            maker = async_sessionmaker(engine, class_=Counted)
            return await _call(answer, maker, list(names))
        except InvalidRequestError as error:
            clash = ("concurrent", "already in progress", "transaction is closed")
            expect(not any(words in str(error) for words in clash), _SHARED)
            raise

    (_, never), rows = _awaited(act)
    _no_forgotten(never)
    saved = [name for _, name, *_ in rows]
    expect(sessions != 1, "one AsyncSession did all the work; make one for each name")
    expect(saved, _NOT_SAVED)
    expect(
        sorted(saved) == names,
        f"8 names were given, and {len(saved)} users are in the database, "
        f"{len(set(saved))} of them different",
    )
    expect(
        sessions >= len(names),
        f"{sessions} AsyncSessions saved {len(names)} users; each user wants one of its own",
    )
    expect(
        most <= 3,
        f"{most} AsyncSessions were at work at the same time; a `Semaphore(3)` lets three of them in",
    )
    expect(
        most > 1,
        "one user was saved after the other; start them together, with `asyncio.gather(...)`",
    )


_SHARED = (
    "all tasks share one AsyncSession; make it inside the coroutine that saves one name"
)

EXERCISES = [
    Exercise(
        id="14-titles",
        judge=_titles,
        hints=(
            "What would `user.posts` do here?",
            "Load the list with the user, or ask for posts instead of users: `select(Post.title)`.",
            "`select(Post.title).join(Post.user).where(User.name == name).order_by(...)`, then "
            "`(await session.scalars(...)).all()`.",
        ),
        code="""async def titles(session, name):
    query = select(Post.title).join(Post.user).where(User.name == name)
    result = await session.scalars(query.order_by(Post.published))
    return result.all()""",
        reason="No list is touched, so nothing can be loaded lazily. A `selectinload(User.posts)` with "
        "`sorted(...)` does as well.",
        wrong=(
            Wrong(
                """async def titles(session, name):
    user = (await session.scalars(select(User).where(User.name == name))).one()
    return [post.title for post in user.posts]""",
                "read that is not loaded",
            ),
            Wrong(
                """async def titles(session, name):
    query = select(Post.title).join(Post.user).where(User.name == name)
    return session.scalars(query.order_by(Post.published)).all()""",
                "an await is missing, or the brackets",
            ),
            Wrong(
                """def titles(session, name):
    return ["Snow", "Ice", "Thaw"]""",
                "it should be an async def",
            ),
            Wrong(
                """async def titles(session, name):
    query = select(Post).join(Post.user).where(User.name == name)
    return (await session.scalars(query.order_by(Post.published))).all()""",
                "should hold the titles",
            ),
            Wrong(
                """async def titles(session, name):
    query = select(User).where(User.name == name).options(selectinload(User.posts))
    user = (await session.scalars(query)).one()
    return [post.title for post in user.posts]""",
                "the order is not",
            ),
            Wrong(
                """async def titles(session, name):
    user = (await session.scalars(select(User).where(User.name == name))).one()
    return [post.title for post in await user.awaitable_attrs.posts]""",
                "not on AsyncAttrs",
            ),
            Wrong(
                """async def titles(session, name):
    result = await session.scalars(select(Post.title).order_by(Post.published))
    return result.all()""",
                "another user's post",
            ),
        ),
    ),
    Exercise(
        id="14-repair",
        judge=_repair,
        hints=(
            "Line 3 reads `user.posts` before it can append. Line 4 makes a coroutine. And what has a commit done to "
            "the user when line 5 reads the list?",
            "Load the list with the user: then `append` works. What can be counted before the commit need not "
            "be read after it.",
            "Add `.options(selectinload(User.posts))` to the query; `count = len(user.posts)` after `append`; "
            "then `await session.commit()`.",
        ),
        code="""async def add_post(session, name, title):
    query = select(User).where(User.name == name).options(selectinload(User.posts))
    user = (await session.scalars(query)).one()
    user.posts.append(Post(title=title, published=date(2026, 1, 5)))
    count = len(user.posts)
    await session.commit()
    return count""",
        reason="The list is loaded with the query and counted before the commit expires it. Setting `user=user` on "
        "the post and counting with `select(func.count())` reads even less.",
        wrong=(
            Wrong(
                """async def add_post(session, name, title):
    user = (await session.scalars(select(User).where(User.name == name))).one()
    user.posts.append(Post(title=title, published=date(2026, 1, 5)))
    await session.commit()
    return len(user.posts)""",
                "before append, and nobody",
            ),
            Wrong(
                """async def add_post(session, name, title):
    query = select(User).where(User.name == name).options(selectinload(User.posts))
    user = (await session.scalars(query)).one()
    user.posts.append(Post(title=title, published=date(2026, 1, 5)))
    await session.commit()
    return len(user.posts)""",
                "read after the commit",
            ),
            Wrong(
                """async def add_post(session, name, title):
    query = select(User).where(User.name == name).options(selectinload(User.posts))
    user = (await session.scalars(query)).one()
    user.posts.append(Post(title=title, published=date(2026, 1, 5)))
    session.commit()
    return len(user.posts)""",
                "was called and never awaited",
            ),
            Wrong(
                """async def add_post(session, name, title):
    query = select(User).where(User.name == name).options(selectinload(User.posts))
    user = (await session.scalars(query)).one()
    user.posts.append(Post(title=title, published=date(2026, 1, 5)))
    await session.flush()
    return len(user.posts)""",
                "nothing made the rows permanent",
            ),
            Wrong(
                """async def add_post(session, name, title):
    post = Post(title=title, published=date(2026, 1, 5))
    session.add(User(name=name, posts=[post]))
    await session.commit()
    return 1""",
                "find the one who is there",
            ),
            Wrong(
                """async def add_post(session, name, title):
    user = (await session.scalars(select(User).where(User.name == name))).one()
    session.add(Post(title=title, published=date(2026, 1, 5), user=user))
    await session.commit()""",
                "the function returned None",
            ),
        ),
    ),
    Exercise(
        id="14-at-once",
        judge=_at_once,
        hints=(
            "Write a coroutine that saves one name, with its own `async with SessionMaker() as session:`.",
            "`asyncio.gather(*(save(name) for name in names))` awaits them all.",
            "`limit = asyncio.Semaphore(3)` before them, and `async with limit, SessionMaker() as session:` "
            "inside the coroutine.",
        ),
        code="""async def save_all(SessionMaker, names):
    limit = asyncio.Semaphore(3)

    async def save(name):
        async with limit, SessionMaker() as session:
            session.add(User(name=name))
            await session.commit()

    await asyncio.gather(*(save(name) for name in names))""",
        reason="Each coroutine makes its AsyncSession after the semaphore has let it in, so there are never more "
        "than three connections, and no transaction is shared.",
        wrong=(
            Wrong(
                """async def save_all(SessionMaker, names):
    for name in names:
        async with SessionMaker() as session:
            session.add(User(name=name))
            await session.commit()""",
                "one user was saved after the other",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    async def save(name):
        async with SessionMaker() as session:
            session.add(User(name=name))
            await session.commit()

    await asyncio.gather(*(save(name) for name in names))""",
                "lets three of them in",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    async with SessionMaker() as session:
        session.add_all(User(name=name) for name in names)
        await session.commit()""",
                "one AsyncSession did all the work",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    async with SessionMaker() as session:

        async def save(name):
            session.add(User(name=name))
            await session.commit()

        await asyncio.gather(*(save(name) for name in names))""",
                "all tasks share one AsyncSession",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    limit = asyncio.Semaphore(3)

    async def save(name):
        async with limit, SessionMaker() as session:
            session.add(User(name=name))
            await session.flush()

    await asyncio.gather(*(save(name) for name in names))""",
                "nothing made the rows permanent",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    async def save(name):
        async with SessionMaker() as session:
            session.add(User(name=name))
            await session.commit()

    for name in names:
        save(name)""",
                "was called and never awaited",
            ),
            Wrong(
                """async def save_all(SessionMaker, names):
    waiting = iter(names)

    async def work():
        async with SessionMaker() as session:
            for name in waiting:
                session.add(User(name=name))
                await session.commit()

    await asyncio.gather(work(), work(), work())""",
                "wants one of its own",
            ),
        ),
    ),
]
