"""Exercises of lesson 19: translate a mapping, a query and a function of SQLAlchemy 1.x."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from .. import blog
from ..check import Exercise, NotYet, Wrong, expect, judge_select, playground
from ._blog import linked, mapping


def _mapping(base: Any) -> None:
    _, post = linked(base)
    column = post.__table__.columns["user_id"]
    expect(
        column.nullable,
        "the old table accepts a post without a user, and yours refuses it; what does a plain `Column` say about "
        "NULL?",
    )
    expect(
        not any(key.ondelete for key in column.foreign_keys),
        "your key has a rule that the old table does not have",
    )
    expect(not column.index, "your key has an index that the old table does not have")


def _rows() -> tuple[Any, list[Any]]:
    mira, olaf, pia = (blog.User(name=name) for name in ("mira", "olaf", "pia"))
    titles = (("A lake", mira), ("A bridge", mira), ("Ice", olaf), ("A boat", pia))
    posts = [
        blog.Post(title=title, published=date(2026, 1, day), user=user)
        for day, (title, user) in enumerate(titles, 5)
    ]
    return blog.Base, [pia, mira, olaf, *posts]


def _query() -> Any:
    return (
        select(blog.User)
        .where(blog.User.posts.any(blog.Post.title.startswith("A ")))
        .order_by(blog.User.name)
    )


class _Today(Session):
    """A Session without the legacy `query`."""

    def query(self, *given: Any, **more: Any) -> Any:
        raise NotYet(
            "`session.query` is still used; `session.get`, `session.scalars(select(...))` and "
            "`session.scalar(select(func.count(...)))` take its place"
        )


def _lines(answer: Any) -> None:
    expect(callable(answer), "the answer should be the function, without brackets")
    base, objects = _rows()
    with playground(base, *objects) as plain, _Today(plain.get_bind()) as session:
        ids = dict(plain.execute(select(blog.User.name, blog.User.id)).tuples().all())
        for name, newest in (("mira", "A bridge"), ("olaf", "Ice")):
            try:
                given = answer(session, ids[name])
            except NoResultFound:
                raise NotYet(
                    "there is such a row, but your function did not find it"
                ) from None
            expect(
                isinstance(given, (tuple, list)) and len(given) == 3,
                "the function should return three values: a name, a title, a number",
            )
            expect(
                given[0] == name, f"the name should be {name!r}, but is {given[0]!r}"
            )
            expect(
                given[1] == newest,
                f"the newest post of {name} is {newest!r}, but the function says {given[1]!r}; which user, and "
                "which order?",
            )
            expect(
                given[2] == 4,
                f"there are 4 posts of all users together, but the function says {given[2]!r}",
            )


_SELECT = (
    "answer = (\n    select(blog.User)\n    .join(blog.User.posts)\n"
    '    .where(blog.Post.title.startswith("A "))\n    .order_by(blog.User.name)\n{})'
)
_SUMMARY = """def summary(session, user_id):
    user = session.get(blog.User, user_id)
    newest = select(blog.Post).where({}).order_by(blog.Post.published{}).limit(1)
    count = session.scalar(select(func.count(blog.Post.id)){})
    return user.name, session.scalars(newest).one().title, count
"""
_SAME_USER = "blog.Post.user == user"

EXERCISES = [
    Exercise(
        id="19-mapping",
        judge=_mapping,
        hints=(
            "Four lines are missing: one in `User`, and in `Post` the key and the way back.",
            "What does a `Column` accept if nothing is said? The annotation has to say the same.",
            '`user_id: Mapped[int | None]`, `user: Mapped["User | None"]`, and `back_populates` on both sides.',
        ),
        code=mapping(kind="int | None"),
        reason="A plain `Column` accepts NULL, so the faithful annotation is `int | None`.",
        wrong=(
            Wrong(mapping(), "accepts a post without a user"),
            Wrong(
                mapping('backref="user"', kind="int | None").replace(
                    '    user: Mapped["User | None"] = relationship(back_populates="posts")\n',
                    "",
                ),
                "out of sight",
            ),
            Wrong(
                mapping(
                    kind="int | None", key='ForeignKey("users.id", ondelete="SET NULL")'
                ),
                "has a rule",
            ),
            Wrong(
                mapping(kind="int | None", key='ForeignKey("users.id"), index=True'),
                "has an index",
            ),
        ),
    ),
    Exercise(
        id="19-query",
        judge=judge_select(_query, _rows),
        hints=(
            "`filter` is `where` today, and a string does not name a relationship any more.",
            "A join repeats the user for each post. `Query` dropped the repetitions; `select` has a word for it, or "
            "you can ask without a join.",
            '`select(blog.User).where(blog.User.posts.any(blog.Post.title.startswith("A ")))`, and the order.',
        ),
        code="answer = (\n    select(blog.User)\n"
        '    .where(blog.User.posts.any(blog.Post.title.startswith("A ")))\n'
        "    .order_by(blog.User.name)\n)",
        reason="`any(...)` asks whether there is such a post, so no user comes twice; `.distinct()` after the join "
        "does it too.",
        wrong=(
            Wrong(_SELECT.format(""), "several times"),
            Wrong(
                "answer = select(blog.User).order_by(blog.User.name)", "not asked for"
            ),
            Wrong(
                _SELECT.format("    .distinct()\n").replace(
                    "blog.User.name)", "blog.User.name.desc())"
                ),
                "not in the order",
            ),
        ),
    ),
    Exercise(
        id="19-lines",
        judge=_lines,
        hints=(
            "Each of the three lines has a translation in lesson 04.",
            "`session.get(blog.User, user_id)`; a `select(...)` with `where`, `order_by` and `limit(1)`; "
            "`func.count`.",
            "`session.scalars(select(blog.Post).where(blog.Post.user == user)"
            ".order_by(blog.Post.published.desc()).limit(1)).one()`.",
        ),
        code=_SUMMARY.format(_SAME_USER, ".desc()", ""),
        reason="`get` belongs to the Session, the rest is a statement that the Session runs.",
        wrong=(
            Wrong(
                "def summary(session, user_id):\n"
                "    user = session.query(blog.User).get(user_id)\n"
                "    return user.name, user.posts[0].title, 4\n",
                "is still used",
            ),
            Wrong(_SUMMARY.format(_SAME_USER, "", ""), "which user, and which order"),
            Wrong(
                _SUMMARY.format(_SAME_USER, ".desc()", f".where({_SAME_USER})"),
                "posts of all users",
            ),
            Wrong(
                "def summary(session, user_id):\n    return session.get(blog.User, user_id)\n",
                "three values",
            ),
        ),
    ),
]
