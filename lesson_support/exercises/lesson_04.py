"""Exercises of lesson 04: questions to users and their posts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Result, Row, ScalarResult, Select, func, select
from sqlalchemy.exc import NoResultFound, SAWarning
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import count

from ..blog import Base, Post, User
from ..check import Exercise, NotYet, Wrong, expect, judge_select, playground, rows_of


def _blog() -> tuple[Any, list]:
    """A small blog: abe and bo wrote nothing, mei and tom have one post each, from 2026 on."""
    posts = {
        "zoe": [("Clouds", 2026, 5, 20), ("Atlas", 2026, 2, 1), ("Rivers", 2025, 4, 4)],
        "ada": [
            ("Tides", 2026, 6, 2),
            ("Anchors", 2025, 3, 9),
            ("Maps", 2026, 1, 1),
            ("Zinc", 2024, 8, 8),
        ],
        "bo": [],
        "mei": [("Bread", 2026, 1, 1)],
        "ravi": [("Kites", 2025, 12, 31)],
        "tom": [("Owls", 2027, 8, 3)],
        "abe": [],
    }
    users = [
        User(
            name=name,
            posts=[Post(title=title, published=date(*day)) for title, *day in written],
        )
        for name, written in posts.items()
    ]
    return Base, users


def _ask(statement: Select) -> list[tuple]:
    """The rows of an answer on the blog, objects as their repr."""
    base, objects = _blog()
    with playground(base, *objects) as session:
        rows = rows_of(session, statement)
        return [
            tuple(v if isinstance(v, (str, int)) else repr(v) for v in row)
            for row in rows
        ]


def _judge(
    reference: Callable[[], Select],
    look: Callable[[list[tuple]], None],
    *,
    ordered: bool = True,
) -> Callable[[Any], None]:
    """Like `judge_select`, but `look` sees the rows first and knows this exercise's mistakes."""
    compare = judge_select(reference, _blog, ordered=ordered)

    def judge(answer: Any) -> None:
        if isinstance(answer, Select):
            look(_ask(answer))
        compare(answer)

    return judge


def _titles() -> Select:
    return (
        select(Post.title)
        .join(Post.user)
        .where(User.name == "ada")
        .order_by(Post.published)
    )


def _look_at_titles(rows: list[tuple]) -> None:
    first = {str(row[0]) for row in rows}
    expect(
        not any(value.startswith("Post(") for value in first),
        "each row should be a title and yours is a whole post; write `select(Post.title)`",
    )
    expect(
        not {"ada", "User('ada')"} & first,
        "each row should be a title, and yours names the user; write `select(Post.title)`",
    )
    expect(
        not {"Clouds", "Bread", "Kites"} & first,
        "there are posts of other users among the rows; put `where(User.name == ...)` behind the join",
    )
    titles = [row[0] for row in rows]
    expect(
        titles != ["Tides", "Maps", "Anchors", "Zinc"],
        "the newest post comes first, and oldest first was asked; leave out `.desc()`",
    )


def _counts() -> Select:
    return (
        select(User.name, func.count(Post.id))
        .outerjoin(User.posts)
        .group_by(User.id, User.name)
        .order_by(User.name)
    )


def _judge_counts(answer: Any) -> None:
    # PostgreSQL refuses a count without its group, SQLite makes one row of everything.
    if isinstance(answer, Select) and len(answer.selected_columns) > 1:
        columns = [getattr(c, "element", c) for c in answer.selected_columns]
        counts = any(isinstance(column, count) for column in columns)
        grouped = answer._group_by_clauses or not counts
        expect(grouped, "all users fall into one group; add `group_by(User.id)`")
    _judge(_counts, _look_at_counts)(answer)


def _look_at_counts(rows: list[tuple]) -> None:
    if not rows or len(rows[0]) != 2:
        return
    expect(
        not str(rows[0][0]).startswith("User("),
        "each row should begin with a name and yours begins with a whole user; select `User.name`",
    )
    expect(
        not (isinstance(rows[0][0], int) and isinstance(rows[0][1], int)),
        "each row should begin with a name and yours begins with a number; select `User.name`",
    )
    expect(
        not isinstance(rows[0][0], int),
        "the number comes before the name; the name was asked for first",
    )
    numbers = dict(rows)
    expect(
        "bo" in numbers or "ada" not in numbers,
        "users without posts are missing; a join drops them, `outerjoin(User.posts)` keeps them",
    )
    expect(
        numbers.get("bo") != 1,
        "a user without posts counts 1: the outer join's row of NULLs was counted; count a column of the "
        "child, `func.count(Post.id)`",
    )


def _silent() -> Select:
    return select(User).where(~User.posts.any()).order_by(User.name)


def _look_at_silent(rows: list[tuple]) -> None:
    names = {str(row[0]) for row in rows}
    expect(
        not rows or str(rows[0][0]).startswith("User(") or len(rows[0]) > 1,
        "each row should be a `User`, and yours is a plain value; write `select(User)`",
    )
    expect(
        names,
        "no user was found; a join drops the users without posts before `where` sees them",
    )
    expect(
        "User('ada')" not in names or "User('bo')" in names,
        "these are the users who have written something; put `~` before `User.posts.any()`",
    )
    expect(
        "User('ada')" not in names,
        "all users came back, also those with posts; a condition is missing",
    )


def _in_2026() -> Select:
    recent = User.posts.any(Post.published >= date(2026, 1, 1))
    return select(User).where(recent).order_by(User.name)


def _look_at_2026(rows: list[tuple]) -> None:
    names = {str(row[0]) for row in rows}
    expect(
        "User('ravi')" not in names,
        "a user whose posts are all older than 2026 is among the rows; the date belongs inside `any(...)`",
    )
    expect(
        "ada" not in names,
        "each row should be a `User`, and yours is a name; write `select(User)`",
    )
    expect(
        "User('ada')" not in names or "User('mei')" in names,
        "a user whose only post is of 1 January 2026 is missing; that day counts, so write `>=`",
    )
    expect(
        "User('ada')" not in names or "User('tom')" in names,
        "a user whose only post is of 2027 is missing; later years count too",
    )


class _Modern(Session):
    """A Session that wants to hear of select()."""

    def query(self, *entities: Any, **options: Any) -> Any:
        raise NotYet(
            "`session.query` is still there; build the statement with `select(Post)`"
        )


def _newest(answer: Any) -> None:
    expect(callable(answer), "the answer should be the function `newest_post`")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*cartesian product.*", SAWarning)
        try:
            _try_newest(answer)
        except SAWarning:
            raise NotYet(
                "posts and users are both in FROM but nothing joins them; the legacy query has "
                "`.join(Post.user)`, and `select` has it too"
            ) from None


def _try_newest(answer: Callable[[Session, str], Any]) -> None:
    base, objects = _blog()
    with playground(base, *objects) as outer, _Modern(outer.connection()) as session:
        found = answer(session, "mei")
        expect(
            found is not None,
            "nothing came back for a user with one post; `return` the post",
        )
        expect(
            not isinstance(found, Select),
            "a statement came back, and nobody has sent it; give it to `session.scalars(...)`",
        )
        expect(
            not isinstance(found, Row),
            "a row came back, not a post; use `session.scalars` where `session.execute` stands",
        )
        expect(
            not isinstance(found, (Result, ScalarResult, list)),
            "all posts of the user came back; take one out of the result, with `.first()`",
        )
        expect(
            isinstance(found, Post),
            f"one `Post` should come back, not a {type(found).__name__}",
        )
        found = answer(session, "zoe")
        expect(
            isinstance(found, Post) and found.title == "Clouds",
            "for a user whose posts were not entered by date it is not the newest one; order by "
            "`Post.published.desc()`, and keep the condition on the name",
        )
        expect(
            answer(session, "bo") is None,
            "for a user without posts `None` should come back",
        )
        try:
            found = answer(session, "nobody")
        except (AttributeError, NoResultFound):
            found = "an error"
        expect(
            found is None,
            "for a name that no user has, `None` should come back, as from the legacy query; join "
            "posts and users in one statement",
        )


EXERCISES = [
    Exercise(
        id="04-posts-of-ada",
        judge=_judge(_titles, _look_at_titles),
        hints=(
            "The titles are in `posts`, the name is in `users`: start from the post, and follow `Post.user`.",
            "`select(Post.title).join(Post.user)`, then a condition and an order.",
            '`.where(User.name == "ada").order_by(Post.published)`.',
        ),
        code="""answer = (
    select(Post.title)
    .join(Post.user)
    .where(User.name == "ada")
    .order_by(Post.published)
)""",
        reason="The join puts each post next to its user, so the condition can speak of the user. "
        "`Post.user.has(...)` in `where` is as good.",
        wrong=(
            Wrong(
                'answer = select(Post.title).where(User.name == "ada").order_by(Post.published)',
                "nothing joins them",
            ),
            Wrong(
                'answer = select(Post).join(Post.user).where(User.name == "ada").order_by(Post.published)',
                "yours is a whole post",
            ),
            Wrong(
                "answer = select(Post.title).join(Post.user).order_by(Post.published)",
                "posts of other users",
            ),
            Wrong(
                'answer = select(Post.title).join(Post.user).where(User.name == "ada").order_by(Post.title)',
                "not in the order asked for",
            ),
            Wrong(
                'answer = select(Post.title).join(Post.user).where(User.name == "ada").order_by(Post.published.desc())',
                "the newest post comes first",
            ),
            Wrong(
                'answer = ["Hello world", "What a query planner does"]', "not a list"
            ),
        ),
    ),
    Exercise(
        id="04-count-posts",
        judge=_judge_counts,
        hints=(
            "One line for each user: `group_by(User.id)`. Which join keeps a user without posts?",
            "`select(User.name, func.count(...)).outerjoin(User.posts).group_by(User.id)`.",
            "Count `Post.id`: it is NULL in the row of a user without posts, and NULL is not counted. "
            "Then `.order_by(User.name)`.",
        ),
        code="""answer = (
    select(User.name, func.count(Post.id))
    .outerjoin(User.posts)
    .group_by(User.id)
    .order_by(User.name)
)""",
        reason="The outer join keeps the user without posts, in one row of NULLs, and `count` of a column "
        "does not count NULL. Grouped by `User.name`, two users of one name would be added up.",
        wrong=(
            Wrong(
                "answer = select(User.name, func.count(Post.id)).join(User.posts).group_by(User.id).order_by(User.name)",
                "users without posts are missing",
            ),
            Wrong(
                "answer = select(User.name, func.count()).outerjoin(User.posts).group_by(User.id).order_by(User.name)",
                "a user without posts counts 1",
            ),
            Wrong(
                "answer = select(User.name, func.count(Post.id)).group_by(User.id).order_by(User.name)",
                "nothing joins them",
            ),
            Wrong(
                "answer = select(User.name, func.count(Post.id)).outerjoin(User.posts).order_by(User.name)",
                "fall into one group",
            ),
            Wrong(
                "answer = select(User.id, func.count(Post.id)).outerjoin(User.posts).group_by(User.id)",
                "begins with a number",
            ),
            Wrong(
                "answer = select(User, func.count(Post.id)).outerjoin(User.posts).group_by(User.id).order_by(User.name)",
                "begins with a whole user",
            ),
            Wrong(
                "answer = select(User.name, func.count(Post.id)).outerjoin(User.posts).group_by(User.id)"
                ".order_by(User.name.desc())",
                "not in the order asked for",
            ),
        ),
    ),
    Exercise(
        id="04-no-posts",
        judge=_judge(_silent, _look_at_silent),
        hints=(
            "The same question as the program without courses.",
            "`User.posts.any()` is true for users who have a post. What turns a condition round?",
            "`select(User).where(~User.posts.any()).order_by(User.name)`.",
        ),
        code="answer = select(User).where(~User.posts.any()).order_by(User.name)",
        reason="`~User.posts.any()` reads: there is no post such that it belongs to this user. "
        "An outer join with `Post.id.is_(None)` is as good.",
        wrong=(
            Wrong(
                "answer = select(User).where(User.posts.any()).order_by(User.name)",
                "put ~ before",
            ),
            Wrong("answer = select(User).order_by(User.name)", "all users came back"),
            Wrong(
                "answer = select(User).join(User.posts).where(Post.id.is_(None)).order_by(User.name)",
                "no user was found",
            ),
            Wrong(
                "answer = select(User.name).where(~User.posts.any()).order_by(User.name)",
                "is a plain value",
            ),
            Wrong(
                "answer = select(User).where(~User.posts.any()).order_by(User.name.desc())",
                "not in the order asked for",
            ),
        ),
    ),
    Exercise(
        id="04-each-user-once",
        judge=_judge(_in_2026, _look_at_2026),
        hints=(
            "A join gives one row for each post. Who has two posts in 2026?",
            "Either remove the doubles after the join, or ask with `any(...)` and without a join.",
            "`doubled.distinct()`, or `where(User.posts.any(Post.published >= date(2026, 1, 1)))`.",
        ),
        code="""answer = (
    select(User)
    .where(User.posts.any(Post.published >= date(2026, 1, 1)))
    .order_by(User.name)
)""",
        reason="`any` adds no rows, so nothing can be doubled; `doubled.distinct()` removes the doubles "
        "afterwards. Users with two or more such posts were repeated.",
        wrong=(
            Wrong(
                """answer = (
    select(User)
    .join(User.posts)
    .where(Post.published >= date(2026, 1, 1))
    .order_by(User.name)
)""",
                "the same row comes several times",
            ),
            Wrong(
                "answer = select(User).where(User.posts.any()).order_by(User.name)",
                "are all older than 2026",
            ),
            Wrong(
                "answer = select(User).where(User.posts.any(Post.published > date(2026, 1, 1))).order_by(User.name)",
                "that day counts",
            ),
            Wrong(
                "answer = select(User.name).join(User.posts).where(Post.published >= date(2026, 1, 1)).distinct()",
                "yours is a name",
            ),
            Wrong(
                "answer = select(User).where(User.posts.any(Post.published.between(date(2026, 1, 1), date(2026, 12, 31))))",
                "later years count",
            ),
            Wrong(
                "answer = select(User).where(User.posts.any(), Post.published >= date(2026, 1, 1)).order_by(User.name)",
                "nothing joins them",
            ),
            Wrong(
                "answer = select(User).where(User.posts.any(Post.published >= date(2026, 1, 1))).order_by(User.id)",
                "not in the order asked for",
            ),
        ),
    ),
    Exercise(
        id="04-newest-post",
        judge=_newest,
        hints=(
            "`select(Post)`, and `filter` becomes `where`; `join` and `order_by` stay as they are.",
            "The Session sends the statement: `session.scalars(statement)`; `first()` comes after that.",
            "`return session.scalars(statement.limit(1)).first()`.",
        ),
        code="""def newest_post(session, name):
    statement = (
        select(Post)
        .join(Post.user)
        .where(User.name == name)
        .order_by(Post.published.desc())
        .limit(1)
    )
    return session.scalars(statement).first()""",
        reason="`scalars` gives objects, and `first()` gives `None` when there is no row. `limit(1)` does "
        "what `first()` of the legacy query did: the database stops after one row.",
        wrong=(
            Wrong(
                """def newest_post(session, name):
    query = session.query(Post).join(Post.user).filter(User.name == name)
    return query.order_by(Post.published.desc()).first()""",
                "session.query is still there",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return session.execute(statement.order_by(Post.published.desc())).first()""",
                "a row came back",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return statement.order_by(Post.published.desc()).limit(1)""",
                "nobody has sent it",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).where(User.name == name)
    return session.scalars(statement.order_by(Post.published.desc())).first()""",
                "nothing joins them",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return session.scalars(statement.order_by(Post.published.desc())).all()""",
                "take one out of the result",
            ),
            Wrong(
                """def newest_post(session, name):
    user = session.scalars(select(User).where(User.name == name)).one()
    return max(user.posts, key=lambda post: post.published, default=None)""",
                "a name that no user has",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return session.scalars(statement.order_by(Post.published)).first()""",
                "it is not the newest one",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return session.scalars(statement.order_by(Post.published.desc())).one()""",
                "MultipleResultsFound",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    return session.scalars(statement.order_by(Post.published.desc()).limit(1)).one()""",
                "NoResultFound",
            ),
            Wrong(
                """def newest_post(session, name):
    statement = select(Post).join(Post.user).where(User.name == name)
    print(session.scalars(statement.order_by(Post.published.desc())).first())""",
                "return the post",
            ),
        ),
    ),
]
