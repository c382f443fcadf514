"""Exercises of lesson 06: follow a user and the posts through a Session and out of it."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import event, inspect, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError, StaleDataError

from ..blog import Base, Post, User
from ..check import Exercise, NotYet, Wrong, expect, playground

_WORDS = ("transient", "pending", "persistent", "deleted", "detached")


def _post(title: str, day: int = 5) -> Post:
    return Post(title=title, published=date(2026, 1, day))


def _moments() -> list[str]:
    """Run the program of the exercise and note the five states."""
    found: list[str] = []
    ada = User(name="ada")

    def note() -> None:
        found.append(next(word for word in _WORDS if getattr(inspect(ada), word)))

    with playground(Base) as session:
        session.add(ada)
        note()
        session.scalars(select(Post)).all()
        note()
        session.rollback()
        note()
        session.add(ada)
        session.commit()
        session.delete(ada)
        session.scalars(select(User)).all()
        note()
        session.commit()
        note()
    return found


_WHY = (
    "line 1: `add` sends nothing; the object waits",
    "line 2: a query is sent, and before it what waits",
    "line 3: the row is undone, and an object that was new before is in no Session and has no row",
    "line 4: `delete` only marks, but the query after it sent the DELETE; it is not committed yet",
    "line 5: the row is gone for good, and the Session lets the object go",
)


def _states(answer: Any) -> None:
    expect(
        isinstance(answer, list | tuple) and all(isinstance(w, str) for w in answer),
        f"the answer should be a list of words, such as {list(_WORDS[:2])}",
    )
    words = [word.strip().lower() for word in answer]
    expect(
        len(words) == 5,
        f"there are five moments, and your list has {len(words)} word{'s' * (len(words) != 1)}",
    )
    unknown = sorted(set(words) - set(_WORDS))
    expect(
        not unknown,
        f"{', '.join(map(repr, unknown))} is no state; the five are {', '.join(_WORDS)}",
    )
    for word, wanted, why in zip(words, _moments(), _WHY, strict=True):
        expect(word == wanted, f"{word} is not right at {why}")


def _function(answer: Any, name: str) -> None:
    expect(
        callable(answer),
        f"the answer should be the function `{name}` itself: its name, without parentheses",
    )


def _after_close(answer: Any) -> None:
    _function(answer, "titles_of")
    users = [
        User(name="zoe", posts=[_post("Fog")]),
        User(name="mia", posts=[_post("Snow", 6), _post("Ice", 7), _post("Thaw", 8)]),
        User(name="kim"),
    ]
    with playground(Base, *users) as session:
        engine = session.get_bind()
        wanted = {"mia": ["Ice", "Snow", "Thaw"], "zoe": ["Fog"], "kim": []}
        for name, titles in wanted.items():
            try:
                found = answer(engine, name)
                expect(
                    found is not None,
                    "the function returns None; is there a `return`?",
                )
                expect(
                    not isinstance(found, str | dict) and hasattr(found, "__iter__"),
                    f"the result should be a list of titles, and is {type(found).__name__}",
                )
                found = list(found)
            except DetachedInstanceError as error:
                what = (
                    "`user.posts`"
                    if "'posts'" in str(error)
                    else "an attribute of the user"
                )
                raise NotYet(
                    f"{what} was still read after the Session had closed "
                    "(DetachedInstanceError); read it before the block ends, or load it there"
                ) from None
            expect(
                not any(isinstance(item, Post | User) for item in found),
                "the list holds objects; titles were asked for, such as `post.title`",
            )
            expect(
                all(isinstance(item, str) for item in found),
                "the list holds something else than titles; a query through `session.execute` gives rows, and "
                "`session.scalars` gives the values",
            )
            strangers = [title for title in found if title not in titles]
            expect(
                not strangers,
                f"for {name} the list holds {strangers[:1]}, which is no title of {name}'s posts",
            )
            expect(
                len(found) >= len(titles),
                f"{name} has {len(titles)} posts, and the list holds {len(found)} "
                f"title{'s' * (len(found) != 1)}",
            )
            expect(
                sorted(found) == titles,
                f"the list holds a title of {name} more than once",
            )


_ROWS = (
    {"title": "Snow", "published": date(2026, 2, 1)},
    {"title": None, "published": date(2026, 2, 2)},
    {"title": "Ice", "published": date(2026, 2, 3)},
    {"title": "Fog", "published": None},
    {"title": "Sun", "published": date(2026, 2, 5)},
)


def _keep_the_user(answer: Any) -> None:
    _function(answer, "save")
    with playground(Base, User(name="zoe", posts=[_post("Old")])) as session:
        engine = session.get_bind()
        commits: list[str] = []
        sent: list[str] = []

        def note_commit(connection):
            commits.append("commit")

        def note_sent(connection, cursor, statement, *more):
            sent.append(statement)

        event.listen(engine, "commit", note_commit)
        event.listen(engine, "before_cursor_execute", note_sent)
        try:
            answer(session, "mia", [dict(row) for row in _ROWS])
        except IntegrityError:
            raise NotYet(
                "the refusal of a post leaves your function as an IntegrityError; add the user before the loop, "
                "and catch the error for each post by itself, with the `try` around the block that may fail"
            ) from None
        except PendingRollbackError:
            raise NotYet(
                "after a refused flush your code went on with the Session, which waits for a rollback; put "
                "each post, its `add` or `append` too, into a block with `session.begin_nested()`"
            ) from None
        except InvalidRequestError as error:
            if "cannot be refreshed" not in str(error):
                raise
            raise NotYet(
                "the user is in the Session no more: `session.rollback()` undoes the whole transaction, also from "
                "within a savepoint; let the block with `session.begin_nested()` undo the post by itself"
            ) from None
        finally:
            event.remove(engine, "before_cursor_execute", note_sent)
            event.remove(engine, "commit", note_commit)
        waiting = session.in_transaction()
        with Session(engine) as second:
            users = list(second.scalars(select(User.name).order_by(User.name)))
            rows = second.execute(
                select(User.name, Post.title).join(Post.user).order_by(Post.id)
            )
            posts = [tuple(row) for row in rows]
    expect(
        "mia" in users or not waiting,
        "another Session finds neither the user nor a post; a commit is missing",
    )
    expect(
        users.count("mia") <= 1, "the user is there more than once; make one for all"
    )
    expect(
        "mia" in users,
        "the user is not in the database: never added, or a rollback of the whole transaction took the new "
        "user along; undo only the refused post",
    )
    expect(users == ["mia", "zoe"], f"the users are {', '.join(users)} now")
    expect(("zoe", "Old") in posts, "a post of another user was touched")
    titles = [title for name, title in posts if name == "mia"]
    wanted = ["Snow", "Ice", "Sun"]
    missing = [title for title in wanted if title not in titles]
    if missing == wanted:
        raise NotYet(
            "the user is there, but no post; none was added, or one refused post took all others along, and then "
            "each needs a savepoint of its own"
        )
    expect(
        not missing,
        f"these posts are good and did not arrive: {', '.join(missing)}; what follows a refused post must "
        "be saved too, and what comes before it must be kept",
    )
    expect(
        sorted(titles) == sorted(wanted),
        f"the user should have the posts {', '.join(wanted)}, and has {', '.join(titles)}",
    )
    expect(
        len(commits) == 1,
        f"the rows are right, but there were {len(commits)} commits; with a savepoint for each post one "
        "commit at the end is enough",
    )
    expect(
        sum(statement.startswith("INSERT INTO posts") for statement in sent) >= 5,
        "the rows are right, but your code looked for the bad rows itself; the database knows more rules "
        "than that, so let it refuse them",
    )


_BY_HAND = (
    "the titles are right now, but the next flush would change rows of `posts`: the list was edited by "
    "hand, and the Session takes that for your wish; let it read the list again"
)


_GONE = (
    "the user is in no Session any more, so nothing can be read; `refresh` and `expire` keep an object where "
    "it is"
)


def _renew(answer: Any) -> None:
    _function(answer, "renew")
    mia = User(name="mia", posts=[_post("Snow"), _post("Ice", 6)])
    with playground(Base, mia) as session:
        engine = session.get_bind()
        user = session.scalars(select(User)).one()
        held = {post.title for post in user.posts}
        with Session(engine) as other:
            owner = other.scalars(select(User)).one()
            owner.posts.append(_post("Fog", 7))
            other.delete(next(post for post in owner.posts if post.title == "Ice"))
            other.commit()
        user.name = "mia b."
        try:
            answer(session, user)
            name, titles = user.name, {post.title for post in user.posts}
        except DetachedInstanceError:
            raise NotYet(_GONE) from None
        except KeyError as error:
            raise NotYet(
                f"there is no attribute {error}; the second value of `refresh` and `expire` is a list of names, "
                "and each name is a string"
            ) from None
        except InvalidRequestError as error:
            if "Could not refresh" not in str(error):
                raise
            raise NotYet(
                "something has no row any more and cannot be read by itself, such as a post that was deleted; "
                "renew the list of the user, not each post"
            ) from None
        expect(user in session, _GONE)
        with Session(engine) as other:
            stored = other.scalars(select(User.name)).one()
        expect(
            stored == "mia",
            "something was committed: another Session sees the new name already",
        )
        expect(
            name == "mia b.",
            "the change of `user.name` was lost; forget the list only, not the whole user or the whole "
            "transaction",
        )
        expect(
            titles != held,
            "`user.posts` is as old as before; a query gives you the rows, but does not renew a list that "
            "was read",
        )
        expect(
            titles == {"Snow", "Fog"},
            f"`user.posts` holds {', '.join(sorted(titles)) or 'nothing'}, and the database holds Fog, Snow",
        )
        try:
            session.flush()
        except (StaleDataError, IntegrityError):
            raise NotYet(_BY_HAND) from None
        with session.no_autoflush:
            now = session.scalars(select(User.name)).one()
            kept = set(session.scalars(select(Post.title)))
        expect(
            now == "mia b.",
            "the change of `user.name` does not reach the database with the next flush",
        )
        expect(kept == {"Snow", "Fog"}, _BY_HAND)


_USER = "user = session.scalars(select(User).where(User.name == name)).one()"
_LOADED = """query = select(User).where(User.name == name)
        query = query.options(orm.selectinload(User.posts))
        user = session.scalars(query).one()"""


def _save(body: str) -> str:
    return f"""def save(session, name, rows):
    user = User(name=name)
    session.add(user)
{body}"""


EXERCISES = [
    Exercise(
        id="06-states",
        judge=_states,
        hints=(
            "Lines 2 and 4 are queries. What does a Session do before a query?",
            "A rollback undoes rows: what was new is only in Python again. A commit ends a delete: the object is in "
            "no Session.",
            "Each of the five states comes once; line 1 is pending, line 2 is persistent.",
        ),
        code='answer = ["pending", "persistent", "transient", "deleted", "detached"]',
        reason="The queries at 2 and 4 flush first: an INSERT, and a DELETE. The rollback takes the row back, the "
        "last commit makes the delete final.",
        wrong=(
            Wrong(
                'answer = ["persistent", "persistent", "transient", "deleted", "detached"]',
                "add sends nothing",
            ),
            Wrong(
                'answer = ["pending", "pending", "transient", "deleted", "detached"]',
                "before it what waits",
            ),
            Wrong(
                'answer = ["pending", "persistent", "detached", "deleted", "detached"]',
                "the row is undone",
            ),
            Wrong(
                'answer = ["pending", "persistent", "transient", "persistent", "detached"]',
                "only marks, but the query",
            ),
            Wrong(
                'answer = ["pending", "persistent", "transient", "deleted", "deleted"]',
                "lets the object go",
            ),
            Wrong(
                'answer = ["pending", "flushed", "transient", "deleted", "detached"]',
                "is no state",
            ),
            Wrong('answer = ["pending", "persistent"]', "has 2 words"),
            Wrong('answer = "pending"', "a list of words"),
        ),
    ),
    Exercise(
        id="06-after-close",
        judge=_after_close,
        hints=(
            "Which line reads the posts, and is it inside the `with` block?",
            "Reading inside the block is enough: the titles are plain strings, which need no Session.",
            "Indent the line with `return`, so that it belongs to the `with` block.",
        ),
        code=f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
        return [post.title for post in user.posts]""",
        reason="The posts are read while the Session is open, and the titles are strings. `selectinload(User.posts)` "
        "in the query would do as well, and would let you return the user.",
        wrong=(
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
    return [post.title for post in user.posts]""",
                "user.posts was still read",
            ),
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
        session.commit()
        session.expunge(user)
    return [user.name]""",
                "an attribute of the user",
            ),
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_LOADED}
    return user.posts""",
                "the list holds objects",
            ),
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
        titles = [post.title for post in user.posts]""",
                "returns None",
            ),
            Wrong(
                """def titles_of(engine, name):
    with Session(engine) as session:
        return session.scalars(select(Post.title)).all()""",
                "which is no title of",
            ),
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
        return [user.posts[0].title]""",
                "mia has 3 posts",
            ),
            Wrong(
                """def titles_of(engine, name):
    with Session(engine) as session:
        query = select(Post.title).join(Post.user).where(User.name == name)
        return session.execute(query).all()""",
                "gives rows",
            ),
            Wrong(
                f"""def titles_of(engine, name):
    with Session(engine) as session:
        {_USER}
        return ", ".join(post.title for post in user.posts)""",
                "and is str",
            ),
        ),
    ),
    Exercise(
        id="06-keep-the-user",
        judge=_keep_the_user,
        hints=(
            "Make and add the user first. Then each post may fail, and only that post is undone.",
            "In the loop: `try`, inside it `with session.begin_nested():`, and `except IntegrityError` after the block.",
            "Inside the block: `user.posts.append(Post(**row))`. The `except` branch needs nothing but `pass`; after "
            "the loop comes `session.commit()`.",
        ),
        code=_save("""    for row in rows:
        try:
            with session.begin_nested():
                user.posts.append(Post(**row))
        except IntegrityError:
            pass
    session.commit()"""),
        reason="The user is sent before the first savepoint. A refused post is undone up to its own savepoint, and "
        "everything else waits for the one commit.",
        wrong=(
            Wrong(
                _save("""    user.posts = [Post(**row) for row in rows]
    session.commit()"""),
                "leaves your function as an IntegrityError",
            ),
            Wrong(
                _save("""    for row in rows:
        try:
            user.posts.append(Post(**row))
            session.flush()
        except IntegrityError:
            pass
    session.commit()"""),
                "which waits for a rollback",
            ),
            Wrong(
                _save("""    for row in rows:
        try:
            session.add(Post(**row, user=user))
            session.flush()
        except IntegrityError:
            session.rollback()
    session.commit()"""),
                "never added, or a rollback",
            ),
            Wrong(
                _save("""    for row in rows:
        savepoint = session.begin_nested()
        try:
            session.add(Post(**row, user=user))
            savepoint.commit()
        except IntegrityError:
            session.rollback()
    session.commit()"""),
                "in the Session no more",
            ),
            Wrong(
                _save("""    session.flush()
    try:
        with session.begin_nested():
            user.posts = [Post(**row) for row in rows]
    except IntegrityError:
        pass
    session.commit()"""),
                "but no post",
            ),
            Wrong(
                _save("""    try:
        for row in rows:
            with session.begin_nested():
                user.posts.append(Post(**row))
    except IntegrityError:
        pass
    session.commit()"""),
                "did not arrive: Ice, Sun",
            ),
            Wrong(
                _save("""    session.commit()
    for row in rows:
        try:
            user.posts.append(Post(**row))
            session.commit()
        except IntegrityError:
            session.rollback()"""),
                "there were 4 commits",
            ),
            Wrong(
                _save("""    for row in rows:
        if None not in row.values():
            user.posts.append(Post(**row))
    session.commit()"""),
                "looked for the bad rows itself",
            ),
            Wrong(
                _save("""    for row in rows:
        try:
            with session.begin_nested():
                user.posts.append(Post(**row))
        except IntegrityError:
            pass
    session.flush()"""),
                "a commit is missing",
            ),
        ),
    ),
    Exercise(
        id="06-renew",
        judge=_renew,
        hints=(
            "`user.posts` was read and is kept. Which two methods of the Session make it forget, or read again?",
            "For the whole user both drop unsaved changes. Both take a list of attributes as their second value.",
            'The second value is `["posts"]`.',
        ),
        code="""def renew(session, user):
    session.refresh(user, ["posts"])""",
        reason='Only the list is read again. `session.expire(user, ["posts"])` is right too: the list is read when '
        "somebody asks for it.",
        wrong=(
            Wrong(
                """def renew(session, user):
    session.refresh(user)""",
                "was lost; forget the list only",
            ),
            Wrong(
                """def renew(session, user):
    session.commit()""",
                "something was committed",
            ),
            Wrong(
                """def renew(session, user):
    session.scalars(select(Post).where(Post.user == user)).all()""",
                "as old as before",
            ),
            Wrong(
                """def renew(session, user):
    query = select(Post).where(Post.user == user)
    user.posts = list(session.scalars(query))""",
                "edited by hand",
            ),
            Wrong(
                """def renew(session, user):
    session.refresh(user, "posts")""",
                "there is no attribute",
            ),
            Wrong(
                """def renew(session, user):
    session.expunge(user)""",
                "in no Session any more",
            ),
            Wrong(
                """def renew(session, user):
    for post in user.posts:
        session.refresh(post)""",
                "not each post",
            ),
            Wrong(
                """def renew(session, user):
    user.posts.clear()""",
                "holds nothing",
            ),
        ),
    ),
]
