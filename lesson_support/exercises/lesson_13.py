"""Exercises of lesson 13: many posts in one statement, one update for all, and a loop in pieces."""

from __future__ import annotations

import weakref
from datetime import date, timedelta
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from ..blog import Base, Post, User
from ..check import Exercise, Wrong, expect, playground
from ._blog import sent

_DAY = date(2026, 1, 5)
_LATER = date(2026, 9, 1)
_NAMES = ("mira", "olaf", "pia")
_AT_ONCE = 50  # a piece, while the one before it may still be there


def _function(answer: Any, name: str) -> None:
    expect(
        callable(answer),
        f"the answer should be the function `{name}`, without brackets",
    )


def _file(number: int) -> list[dict[str, Any]]:
    return [
        {
            "user": _NAMES[n * n % 3],
            "title": f"Line {n}",
            "published": _DAY + timedelta(days=n),
        }
        for n in range(number)
    ]


def _import_once(answer: Any, number: int) -> int:
    """Run the learner's function on fresh tables, judge the rows, return how much was sent."""
    users = [User(name=name) for name in reversed(_NAMES)]
    users[0].posts.append(Post(title="An old post", published=_DAY))
    rows = _file(number)
    with playground(Base, *users) as session:
        with sent(session) as statements:
            try:
                answer(session, [dict(row) for row in rows])
            except IntegrityError as error:
                expect(
                    "user_id" not in str(error.orig),
                    "a post went out without a user; `user` is a name, and the table wants its `user_id`",
                )
                raise
        with Session(session.get_bind()) as second:
            query = select(User.name, Post.title, Post.published).join(Post.user)
            found = {tuple(row) for row in second.execute(query)}
            names = list(second.scalars(select(User.name)))
    expect(
        len(names) == len(_NAMES),
        "there are new users in the table, and all users of the rows were there already",
    )
    expect(
        any(title == "An old post" for _, title, _ in found),
        "a post that was there before is gone",
    )
    expect(
        len(found) > 1 or not rows,
        "for another Session there are no new posts; is there a `session.commit()`?",
    )
    expect(
        {title for _, title, _ in found} >= {row["title"] for row in rows},
        f"{len(rows)} rows were given, and only {len(found) - 1} posts are in the table",
    )
    expect(
        found >= {tuple(row.values()) for row in rows},
        "the posts are there, but some have another user or another date than their row",
    )
    return len(statements)


def _import(answer: Any) -> None:
    _function(answer, "import_posts")
    few, many = _import_once(answer, 3), _import_once(answer, 40)
    # SQLite sends an INSERT for each object that a flush has to give a key.
    expect(
        few == many,
        f"the posts are right, but 3 rows took {few} statements and 40 rows took {many}; read the ids of all "
        "users once, and give one `insert(Post)` the whole list",
    )
    expect(
        many <= 3,
        f"the posts are right, but {many} statements were sent: one SELECT and one INSERT are enough",
    )
    _without_objects(answer)


def _without_objects(answer: Any) -> None:
    made: list[Any] = []

    def note(target, args, kwargs):
        made.append(target)

    event.listen(Post, "init", note)
    try:
        with playground(Base, *(User(name=name) for name in _NAMES)) as session:
            answer(session, _file(10))
    finally:
        event.remove(Post, "init", note)
    expect(
        not made,
        f"the posts are right, but {len(made)} objects were made for them; on SQLite a flush would send an "
        "INSERT for each: `session.execute(insert(Post), ...)` takes dictionaries",
    )


def _publish(answer: Any) -> None:
    _function(answer, "publish")
    mira, olaf = User(name="mira"), User(name="olaf")
    for n in range(6):
        owner = mira if n < 4 else olaf
        owner.posts.append(Post(title=f"Post {n}", published=_DAY))
    with playground(Base, mira, olaf) as session:
        user = session.scalars(select(User).where(User.name == "mira")).one()
        query = select(Post).where(Post.title == "Post 1")
        held = session.scalars(query).one()
        other = session.scalars(select(Post).where(Post.title == "Post 5")).one()
        held.published, other.published  # noqa: B018
        with sent(session) as statements:
            answer(session, user, _LATER)
        updates = [s for s in statements if s.startswith("UPDATE")]
        reads = [s for s in statements if s.startswith("SELECT")]
        with session.no_autoflush:
            rows = session.execute(select(Post.title, Post.published))
            dates = {title: day for title, day in rows}
        shown = held.published
        untouched = other.published
    changed = {title for title, day in dates.items() if day == _LATER}
    expect(
        not changed & {"Post 4", "Post 5"},
        "posts of another user have the new date as well; the UPDATE needs a condition",
    )
    expect(changed, "no post has the new date in its row")
    expect(
        len(changed) == 4,
        f"mira has 4 posts, and {len(changed)} of their rows have the new date",
    )
    expect(
        not any(" posts" in statement for statement in reads),
        "the dates are right, but posts were read to change them; `update(Post).where(...)` reads none",
    )
    expect(
        len(updates) == 1,
        f"the dates are right, but {len(updates)} UPDATEs were sent instead of one",
    )
    expect(
        shown == _LATER,
        "the row has the new date, but a post that the Session held still shows the old one; which value of "
        "`synchronize_session` was used?",
    )
    expect(
        untouched == _DAY,
        "a post of another user shows the new date, though its row has the old one",
    )


class _Alive:
    """How many posts are in memory at the same time."""

    def __init__(self) -> None:
        self.loaded = self.most = 0
        self._posts: weakref.WeakSet[Post] = weakref.WeakSet()

    def note(self, post, context) -> None:
        self.loaded += 1
        self._posts.add(post)
        self.most = max(self.most, len(self._posts))


def _pieces(answer: Any) -> None:
    _function(answer, "longest")
    writers = [User(name=name) for name in _NAMES]
    for n in range(400):
        title = "x" * (n * 37 % 101) if n != 171 else "The longest title " + "y" * 99
        writers[n % 3].posts.append(Post(title=title or "-", published=_DAY))
    alive = _Alive()
    with playground(Base, *writers) as session:
        del writers
        event.listen(Post, "load", alive.note)
        try:
            found = answer(session)
        except DBAPIError:
            expect(
                session.get_bind().dialect.name == "sqlite",
                "PostgreSQL gave up the cursor: do not commit inside the loop",
            )
            raise
        finally:
            event.remove(Post, "load", alive.note)
    expect(
        not isinstance(found, Post),
        "your function returns a post, and its title is wanted",
    )
    expect(not isinstance(found, int), "your function returns a number, not the title")
    expect(found is not None, "your function returns nothing; is there a `return`?")
    expect(
        isinstance(found, str) and found.startswith("The longest title"),
        f"the longest title has 117 letters, and your function returns {_short(found)}",
    )
    expect(
        alive.loaded == 400,
        f"the title is right, but {alive.loaded} of 400 posts were read as objects; look at each of them in "
        "Python this time",
    )
    expect(
        alive.most <= 2 * _AT_ONCE + 1,
        f"the title is right, but {alive.most} posts were in memory at the same time; `yield_per` makes the "
        "pieces small, and nothing may keep the posts",
    )


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) < 30 else f"{text[:26]} ..."


_IMPORT = """def import_posts(session, rows):
    ids = {{user.name: user.id for user in session.scalars(select(User))}}
    {}
    session.commit()
"""
_LIST = """posts = [
        {{"title": row["title"], "published": row["published"], "user_id": {}}}
        for row in rows
    ]
    {}"""
_KNOWN = 'ids[row["user"]]'
_INSERT = "session.execute(insert(Post), posts)"

_PUBLISH = """def publish(session, user, day):
    session.execute(
        update(Post){}.values(published=day),
        execution_options={{"synchronize_session": {}}},
    )
"""
_WHERE = ".where(Post.user_id == user.id)"

_LONGEST = """def longest(session):
    found = ""
    for post in session.scalars(select(Post){}):
        if len(post.title) > len(found):
            found = post.title
    return found
"""

EXERCISES = [
    Exercise(
        id="13-import",
        judge=_import,
        hints=(
            "Two statements: one reads the ids of all users, one inserts all posts.",
            "`ids = {user.name: user.id for user in session.scalars(select(User))}`; then make a dictionary for "
            "each row, with `title`, `published` and `user_id`.",
            "`session.execute(insert(Post), posts)`, where `posts` is the list of these dictionaries, and then the "
            "commit.",
        ),
        code=_IMPORT.format(_LIST.format(_KNOWN, _INSERT)),
        reason="One trip for the keys and one for the rows, however many there are.",
        wrong=(
            Wrong(
                """def import_posts(session, rows):
    for row in rows:
        user = session.scalars(select(User).where(User.name == row["user"])).one()
        post = {"title": row["title"], "published": row["published"], "user_id": user.id}
        session.execute(insert(Post), [post])
    session.commit()
""",
                "read the ids of all users once",
            ),
            Wrong(
                _IMPORT.format(_LIST.format(_KNOWN, _INSERT)).replace(
                    "commit", "flush"
                ),
                "for another Session there are no new posts",
            ),
            Wrong(
                _IMPORT.format(_LIST.format(_KNOWN, _INSERT)).replace(
                    f', "user_id": {_KNOWN}', ""
                ),
                "a post went out without a user",
            ),
            Wrong(
                _IMPORT.format(_LIST.format("1", _INSERT)),
                "some have another user or another date",
            ),
            Wrong(
                _IMPORT.format(
                    _LIST.format(
                        _KNOWN,
                        "for number, post in enumerate(posts):\n"
                        "        session.add(Post(id=1000 + number, **post))",
                    )
                ),
                "objects were made for them",
            ),
            Wrong(
                _IMPORT.format(
                    _LIST.format(_KNOWN, "session.execute(insert(Post), posts[0])")
                ),
                "rows were given, and only",
            ),
        ),
    ),
    Exercise(
        id="13-publish",
        judge=_publish,
        hints=(
            "`slow` reads every post of the user. Which statement changes rows by a condition?",
            "`update(Post).where(...).values(...)`, sent with `session.execute`. The condition is about the key.",
            "`update(Post).where(Post.user_id == user.id).values(published=day)`; leave `synchronize_session` as it "
            "is.",
        ),
        code="""def publish(session, user, day):
    session.execute(
        update(Post).where(Post.user_id == user.id).values(published=day)
    )
""",
        reason="One UPDATE; by default, `synchronize_session` brings the objects that the Session holds up to "
        "date.",
        wrong=(
            Wrong(_PUBLISH.format(_WHERE, "False"), "still shows the old one"),
            Wrong(_PUBLISH.format("", '"auto"'), "the UPDATE needs a condition"),
            Wrong(
                """def publish(session, user, day):
    for post in user.posts:
        post.published = day
    session.flush()
""",
                "posts were read to change them",
            ),
            Wrong(
                """def publish(session, user, day):
    update(Post).where(Post.user_id == user.id).values(published=day)
""",
                "no post has the new date",
            ),
            Wrong(
                _PUBLISH.format(
                    '.where(Post.user_id == user.id, Post.title == "Post 1")',
                    '"fetch"',
                ),
                "of their rows have the new date",
            ),
        ),
    ),
    Exercise(
        id="13-pieces",
        judge=_pieces,
        hints=(
            "A query in a loop makes all objects before the first turn. Which option makes it a piece at a time?",
            "`select(Post).execution_options(yield_per=50)`.",
            "Keep the longest *title* so far, not its post: a post that you keep stays in memory.",
        ),
        code=_LONGEST.format(".execution_options(yield_per=50)"),
        reason="One statement, 50 objects at a time, and the memory does not grow with the table.",
        wrong=(
            Wrong(_LONGEST.format(""), "posts were in memory at the same time"),
            Wrong(
                """def longest(session):
    return max(session.scalars(select(Post.title)), key=len)
""",
                "were read as objects",
            ),
            Wrong(
                _LONGEST.format(".execution_options(yield_per=50)").replace(
                    "return found", "return len(found)"
                ),
                "returns a number",
            ),
            Wrong(_LONGEST.format(".limit(50)"), "and your function returns"),
            Wrong(
                """def longest(session):
    pieces = select(Post).execution_options(yield_per=50)
    return max(session.scalars(pieces), key=lambda post: len(post.title))
""",
                "returns a post",
            ),
        ),
    ),
]
