"""Exercises of lesson 11: counts, the newest, all or none, and a list with a condition."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import aliased

from ..blog import Base, Post, User
from ..check import (
    Exercise,
    NotYet,
    Wrong,
    expect,
    judge_select,
    playground,
    rows_of,
)
from ._blog import BASE, linked

_POSTS = {
    "zoe": [("Clouds", 2026, 5, 20), ("Atlas", 2025, 4, 4), ("Rivers", 2026, 2, 1)],
    "ada": [
        ("Tides", 2026, 6, 2),
        ("Anchors", 2025, 3, 9),
        ("Maps", 2026, 6, 2),
        ("Zinc", 2024, 8, 8),
    ],
    "bo": [],
    "mei": [("Bread", 2026, 1, 1), ("Salt", 2026, 12, 31)],
    "ravi": [("Kites", 2025, 12, 31)],
    "tom": [("Moths", 2026, 3, 3), ("Owls", 2027, 8, 3)],
    "abe": [],
    "kim": [("Lakes", 2026, 7, 7), ("Roads", 2026, 2, 1), ("Snow", 2026, 1, 2)],
}


def _user(name: str, posts: list[tuple]) -> User:
    return User(
        name=name,
        posts=[Post(title=title, published=date(*day)) for title, *day in posts],
    )


def _blog() -> tuple[Any, list]:
    """Users with none to four posts; ada's newest two are of one day, mei's of both ends of 2026."""
    return Base, [_user(name, posts) for name, posts in _POSTS.items()]


def _blog_with_namesakes() -> tuple[Any, list]:
    """The same, and two users of one name who have two posts each."""
    base, users = _blog()
    for first, second in (("Boats", "Cats"), ("Dogs", "Elms")):
        posts = [(first, 2025, 5, 5), (second, 2025, 6, 6)]
        users.append(_user("lee", posts))
    return base, users


def _judge(
    reference: Callable[[], Select],
    make: Callable[[], tuple[Any, list]],
    look: Callable[[list[tuple]], None],
    before: Callable[[Select], None] = lambda statement: None,
) -> Callable[[Any], None]:
    """Like `judge_select`, but this exercise's own mistakes are looked for first."""
    compare = judge_select(reference, make)

    def judge(answer: Any) -> None:
        if isinstance(answer, Select):
            before(answer)
            base, objects = make()
            with playground(base, *objects) as session:
                look([tuple(map(_plain, row)) for row in rows_of(session, answer)])
        compare(answer)

    return judge


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, (User, Post)) else value


def _expect_users(rows: list[tuple]) -> set[str]:
    """The users among the rows, as their repr."""
    names = {str(row[0]) for row in rows}
    expect(
        all(name.startswith("User(") for name in names),
        "each row should be a `User`, and yours is a plain value; write `select(User)`",
    )
    return names


def _many() -> Select:
    return (
        select(User)
        .join(User.posts)
        .group_by(User.id)
        .having(func.count(Post.id) > 2)
        .order_by(User.name)
    )


def _before_many(statement: Select) -> None:
    # PostgreSQL refuses these two, SQLite answers something.
    grouped = {getattr(c, "name", "") for c in statement._group_by_clauses}
    expect(
        grouped or not statement._having_criteria,
        "all users fall into one group; add `group_by(User.id)` before `having`",
    )
    expect(
        "id" in grouped or "user_id" in grouped or "name" not in grouped,
        "two users may have one name, and then their posts are counted together; group by "
        "`User.id`",
    )


def _look_at_many(rows: list[tuple]) -> None:
    names = _expect_users(rows)
    expect(
        "User('ravi')" not in names,
        "a user with one post is among the rows; the condition on the count is missing, "
        "`having(...)`",
    )
    expect(
        "User('mei')" not in names,
        "a user with two posts is among the rows, but more than two were asked for: `> 2`",
    )
    expect(
        "User('kim')" in names or "User('ada')" not in names,
        "a user with three posts is missing, but three are more than two: `> 2`",
    )


def _newest() -> Select:
    order = [Post.published.desc(), Post.title]
    place = func.row_number().over(partition_by=Post.user_id, order_by=order)
    placed = select(Post, place.label("place")).subquery()
    newest = aliased(Post, placed)
    return (
        select(User.name, newest.title)
        .join(newest, newest.user_id == User.id)
        .where(placed.c.place == 1)
        .order_by(User.name)
    )


def _look_at_newest(rows: list[tuple]) -> None:
    expect(rows, "nothing was found; each user with posts should give one row")
    if len(rows[0]) != 2:
        return
    expect(
        not any(isinstance(row[1], date) for row in rows),
        "each row should end with a title, and yours ends with a date: `max` knows the day but not "
        "the post; number the posts with `func.row_number().over(...)`",
    )
    expect(
        not any(str(row[1]).startswith("Post(") for row in rows),
        "each row should end with a title, and yours ends with a whole post",
    )
    names = [row[0] for row in rows]
    expect(
        len(rows) > 1,
        "there is one row in all, and one for each user was asked for; `limit` counts all rows "
        "together, `partition_by=Post.user_id` counts for each user",
    )
    expect(
        "bo" not in names,
        "users without posts are among the rows; an inner join leaves them out",
    )
    found = dict(rows)
    expect(
        names.count("zoe") < 2,
        "a user comes once for each post; keep only the rows with the number 1",
    )
    expect(
        names.count("ada") < 2,
        "a user with two posts on the newest day comes twice; `row_number` with the title as "
        "tie-breaker gives one",
    )
    expect(
        found.get("zoe") != "Atlas",
        "these are the oldest posts; the newest comes first with `Post.published.desc()`",
    )
    expect(
        found.get("zoe") != "Rivers",
        "these are the last titles of the alphabet, not the newest posts; order by the date",
    )
    expect(
        found.get("ada") != "Tides",
        "of two posts of one day the wrong one was taken; after the date, order by `Post.title`",
    )


def _all_in_2026() -> Select:
    within = Post.published.between(date(2026, 1, 1), date(2026, 12, 31))
    return (
        select(User)
        .where(User.posts.any(), ~User.posts.any(~within))
        .order_by(User.name)
    )


def _look_at_year(rows: list[tuple]) -> None:
    names = _expect_users(rows)
    expect(
        "User('bo')" not in names,
        "users who wrote nothing are among the rows: no post of theirs is from another year; ask "
        "for at least one post as well, `User.posts.any()`",
    )
    expect(
        "User('ravi')" not in names,
        "a user who wrote in 2025 only is among the rows; the `~` stands in the wrong place: there "
        "must be no post that is from another year",
    )
    expect(
        "User('zoe')" not in names,
        "a user with a post of 2025 beside those of 2026 is among the rows; ask for the opposite: "
        "no post outside the year",
    )
    expect(
        "User('tom')" not in names,
        "a user with a post of 2027 is among the rows; the year has an end too",
    )
    expect(
        "User('mei')" in names or "User('kim')" not in names,
        "a user with posts of 1 January and 31 December is missing; both days belong to the year",
    )


def _notes(base: Any) -> None:
    with warnings.catch_warnings(record=True):
        try:
            user, post = linked(base)
        except ArgumentError as error:
            if "foreign key columns" not in str(error):
                raise
            raise NotYet(
                "the condition does not say whose posts are meant; join it with the key, "
                '`"and_(User.id == Post.user_id, ...)"`'
            ) from None
    expect(
        "notes" in user.__mapper__.relationships,
        "`User` has no relationship called `notes`",
    )
    notes = user.__mapper__.relationships["notes"]
    expect(
        notes.viewonly,
        "`User.notes` can be written to, and so two lists would write one key; add `viewonly=True`",
    )
    days = {
        "Notes on owls": date(2025, 3, 1),
        "Maps": date(2026, 4, 1),
        "Notes on rain": date(2026, 1, 5),
        "My Notes": date(2026, 2, 2),
    }
    ada = user(name="ada", posts=[post(title=t, published=d) for t, d in days.items()])
    zoe = user(
        name="zoe", posts=[post(title="Notes of zoe", published=date(2026, 1, 1))]
    )
    with playground(base, ada, zoe) as session:
        ada = session.scalars(select(user).where(user.name == "ada")).one()
        expect(
            len(ada.posts) == 4, "`user.posts` has lost a post; it holds all of them"
        )
        try:
            titles = [post.title for post in ada.notes]
        except TypeError:
            raise NotYet(
                '`user.notes` is one object; write `Mapped[list["Post"]]`'
            ) from None
    expect(
        "Notes of zoe" not in titles,
        "the notes of another user are in the list; the key is missing in `primaryjoin`",
    )
    expect(
        "Maps" not in titles,
        "a post with another title is in the list; write the condition into `primaryjoin`",
    )
    expect(
        "My Notes" not in titles,
        "a post that has the word later in its title is in the list; `startswith` looks at the "
        "beginning",
    )
    expect(len(titles) == 2, "the list should hold every post that begins with `Notes`")
    expect(
        titles[0] == "Notes on rain",
        'the newest note should come first; add `order_by="Post.published.desc()"`',
    )


_POST = """class Post(PostColumns, Blog):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User"] = relationship(back_populates="posts")


answer = Blog"""


def _mapping(*notes: str) -> str:
    """User and Post, with these lines inside the relationship `notes`."""
    inside = "".join(f"        {line},\n" for line in notes)
    return f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")
    notes: Mapped[list["Post"]] = relationship(
{inside}    )


{_POST}"""


_JOIN = "primaryjoin=\"and_(User.id == Post.user_id, Post.title.startswith('Notes'))\""
_ORDER = 'order_by="Post.published.desc()"'
_PLACED = """User, Post = blog.User, blog.Post
order = [{order}]
place = func.row_number().over(partition_by=Post.user_id, order_by=order)
placed = select(Post, place.label("place")).subquery()
Newest = orm.aliased(Post, placed)
answer = (
    select(User.name, Newest.title)
    .{join}(Newest, Newest.user_id == User.id)
    .where(placed.c.place == 1)
    .order_by(User.name)
)"""
_NAMES = "User, Post = blog.User, blog.Post\n"
_YEAR = _NAMES + "first, last = date(2026, 1, 1), date(2026, 12, 31)\n"

EXERCISES = [
    Exercise(
        id="11-more-than-two",
        judge=_judge(_many, _blog_with_namesakes, _look_at_many, _before_many),
        hints=(
            "Join users and posts, one group for each user; which word filters groups?",
            "`select(User).join(User.posts).group_by(User.id)`, then a condition on `func.count(Post.id)`.",
            "`.having(func.count(Post.id) > 2).order_by(User.name)`.",
        ),
        code=_NAMES
        + """answer = (
    select(User)
    .join(User.posts)
    .group_by(User.id)
    .having(func.count(Post.id) > 2)
    .order_by(User.name)
)""",
        reason="`having` chooses among the groups, after they were counted. The inner join may stay: who "
        "has no post does not have more than two.",
        wrong=(
            Wrong(
                _NAMES
                + "answer = select(User).join(User.posts).where(func.count(Post.id) > 2).group_by(User.id).order_by(User.name)",
                "stands where rows are chosen one by one",
            ),
            Wrong(
                _NAMES
                + "answer = select(User).join(User.posts).group_by(User.id).having(func.count(Post.id) >= 2).order_by(User.name)",
                "a user with two posts is among the rows",
            ),
            Wrong(
                _NAMES
                + "answer = select(User).join(User.posts).group_by(User.id).order_by(User.name)",
                "a user with one post is among the rows",
            ),
            Wrong(
                _NAMES
                + "answer = select(User).join(User.posts).group_by(User.id).having(func.count(Post.id) > 3).order_by(User.name)",
                "a user with three posts is missing",
            ),
            Wrong(
                _NAMES
                + "answer = select(User.name).join(User.posts).group_by(User.id).having(func.count(Post.id) > 2).order_by(User.name)",
                "yours is a plain value",
            ),
            Wrong(
                _NAMES
                + "answer = select(User.name).join(User.posts).group_by(User.name).having(func.count(Post.id) > 2).order_by(User.name)",
                "their posts are counted together",
            ),
            Wrong(
                _NAMES
                + "answer = select(User).join(User.posts).having(func.count(Post.id) > 2).order_by(User.name)",
                "all users fall into one group",
            ),
            Wrong('answer = ["ada", "kim", "zoe"]', "not a list"),
        ),
    ),
    Exercise(
        id="11-newest-of-each",
        judge=_judge(_newest, _blog, _look_at_newest),
        hints=(
            "`max` knows the date, but not the title. Number the posts of each user, newest first, and keep "
            "number 1.",
            "`func.row_number().over(partition_by=Post.user_id, order_by=[Post.published.desc(), Post.title])` "
            'is the number; put it into `select(Post, number.label("place")).subquery()`.',
            "`Newest = orm.aliased(Post, placed)`, then `select(User.name, Newest.title)"
            ".join(Newest, Newest.user_id == User.id).where(placed.c.place == 1).order_by(User.name)`.",
        ),
        code=_PLACED.format(order="Post.published.desc(), Post.title", join="join"),
        reason="The window numbers the posts of each user; the title breaks ties, so exactly one post has "
        "number 1. A window function may not stand in `where`, hence the subquery.",
        wrong=(
            Wrong(
                _NAMES
                + "answer = select(User.name, func.max(Post.published)).join(User.posts).group_by(User.id).order_by(User.name)",
                "yours ends with a date",
            ),
            Wrong(
                _NAMES
                + "answer = select(User.name, func.max(Post.title)).join(User.posts).group_by(User.id).order_by(User.name)",
                "the last titles of the alphabet",
            ),
            Wrong(
                _NAMES
                + """newest = select(func.max(Post.published)).where(Post.user_id == User.id)
newest = newest.correlate(User).scalar_subquery()
answer = select(User.name, Post.title).join(User.posts).where(Post.published == newest)
answer = answer.order_by(User.name, Post.title)""",
                "on the newest day comes twice",
            ),
            Wrong(
                _PLACED.format(order="Post.published, Post.title", join="join"),
                "these are the oldest posts",
            ),
            Wrong(
                _PLACED.format(
                    order="Post.published.desc(), Post.title.desc()", join="join"
                ),
                "of two posts of one day the wrong one",
            ),
            Wrong(
                _NAMES
                + "answer = select(User.name, Post.title).join(User.posts).order_by(Post.published.desc()).limit(1)",
                "there is one row in all",
            ),
            Wrong(
                _NAMES
                + "answer = select(User.name, Post.title).join(User.posts).order_by(User.name, Post.published.desc())",
                "comes once for each post",
            ),
            Wrong(
                _PLACED.format(
                    order="Post.published.desc(), Post.title", join="outerjoin"
                ).replace(
                    "placed.c.place == 1", "func.coalesce(placed.c.place, 1) == 1"
                ),
                "users without posts are among the rows",
            ),
            Wrong(
                _NAMES
                + """place = func.row_number().over(partition_by=Post.user_id, order_by=Post.published.desc())
answer = select(User.name, Post.title).join(User.posts).where(place == 1).order_by(User.name)""",
                "stands where rows are chosen one by one",
            ),
        ),
    ),
    Exercise(
        id="11-all-in-one-year",
        judge=_judge(_all_in_2026, _blog, _look_at_year),
        hints=(
            "Who has one post of 2026 and one of 2025? `any` is content with one.",
            "*All* is: there is none that is not. `~User.posts.any(...)`, with the opposite condition inside.",
            "`.where(User.posts.any(), ~User.posts.any(~Post.published.between(first, last)))`.",
        ),
        code=_YEAR
        + """answer = (
    select(User)
    .where(User.posts.any(), ~User.posts.any(~Post.published.between(first, last)))
    .order_by(User.name)
)""",
        reason="The first condition leaves out the users without posts, of whom *all* would hold. The given "
        "statement also finds everybody who wrote in 2026 and in another year.",
        wrong=(
            Wrong(
                _YEAR
                + "answer = select(User).where(User.posts.any(Post.published.between(first, last))).order_by(User.name)",
                "beside those of 2026",
            ),
            Wrong(
                _YEAR
                + "answer = select(User).where(~User.posts.any(~Post.published.between(first, last))).order_by(User.name)",
                "users who wrote nothing",
            ),
            Wrong(
                _YEAR
                + "answer = select(User).where(User.posts.any(), ~User.posts.any(Post.published.between(first, last))).order_by(User.name)",
                "in 2025 only",
            ),
            Wrong(
                _YEAR
                + "answer = select(User).where(User.posts.any(), ~User.posts.any(Post.published < first)).order_by(User.name)",
                "with a post of 2027",
            ),
            Wrong(
                _YEAR + "inside = (Post.published > first) & (Post.published < last)\n"
                "answer = select(User).where(User.posts.any(), ~User.posts.any(~inside)).order_by(User.name)",
                "both days belong to the year",
            ),
            Wrong(
                _YEAR + "inside = Post.published.between(first, last)\n"
                "answer = select(User.name).where(User.posts.any(), ~User.posts.any(~inside)).order_by(User.name)",
                "yours is a plain value",
            ),
        ),
    ),
    Exercise(
        id="11-notes",
        judge=_notes,
        hints=(
            "First `user.posts` and `post.user` as in lesson 01, then a second list on `User`.",
            "The second list needs `primaryjoin`, `order_by` and `viewonly`.",
            "`primaryjoin=\"and_(User.id == Post.user_id, Post.title.startswith('Notes'))\"`, "
            '`order_by="Post.published.desc()"`, `viewonly=True`.',
        ),
        code=_mapping(_JOIN, _ORDER, "viewonly=True"),
        reason="`primaryjoin` repeats the key and adds the condition. Only `user.posts` writes the key, so "
        "nothing has to be kept in step.",
        wrong=(
            Wrong(_mapping(_JOIN, _ORDER), "can be written to"),
            Wrong(
                _mapping(_JOIN, "viewonly=True"), "the newest note should come first"
            ),
            Wrong(_mapping(_ORDER, "viewonly=True"), "a post with another title"),
            Wrong(
                _mapping(
                    "primaryjoin=\"Post.title.startswith('Notes')\"",
                    _ORDER,
                    "viewonly=True",
                ),
                "whose posts are meant",
            ),
            Wrong(
                _mapping(
                    _JOIN.replace("startswith", "contains"), _ORDER, "viewonly=True"
                ),
                "later in its title",
            ),
            Wrong(
                f"""{BASE}class User(UserColumns, Blog):
    posts: Mapped[list["Post"]] = relationship(back_populates="user")


{_POST}""",
                "has no relationship called notes",
            ),
        ),
    ),
]
