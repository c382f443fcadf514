"""Exercises of lesson 03: posts reach the database through their user."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..blog import Base, Post, User
from ..check import Exercise, NotYet, Wrong, expect, playground

_DAY = date(2026, 1, 5)
_NOT_KEPT = (
    "nothing made the new rows permanent, so they are gone; `session.commit()` is missing, comes before "
    "the rows are added, or has no parentheses (a flush is not a commit)"
)


def _call(function: Any, session: Session, *values: Any) -> bool:
    """Call the learner's function and undo what it did not commit; was anything undone?"""
    expect(
        callable(function),
        "hand over the function itself: its name, without parentheses",
    )
    before = len(_posts(session)), len(_names(session))
    session.rollback()
    try:
        function(session, *values)
        sent = len(_posts(session)), len(_names(session))
    except IntegrityError as error:
        _explain_missing(error)
        raise
    session.rollback()
    session.expunge_all()
    return sent > before and sent > (len(_posts(session)), len(_names(session)))


def _explain_missing(error: IntegrityError) -> None:
    """Say which value of a post is missing, where the database names it."""
    said = str(error.orig).partition("\n")[0]
    expect(
        "user_id" not in said or not str(error.statement).startswith("UPDATE"),
        "an old post lost its user; `posts = [...]` replaces the whole list, and `append` leaves what is in it",
    )
    expect(
        "user_id" not in said,
        "a post went out without a user; set `user=`, or append it to the list of its user",
    )
    expect(
        "published" not in said,
        "a post has no date; make it with `published=date(2026, 1, 5)`, or another date",
    )


def _posts(session: Session) -> list[tuple]:
    query = (
        select(User.name, Post.title, Post.published).join(Post.user).order_by(Post.id)
    )
    return [tuple(row) for row in session.execute(query)]


def _names(session: Session) -> list[str]:
    return list(session.scalars(select(User.name).order_by(User.id)))


def _two_posts(answer: Any) -> None:
    old = [Post(title="An old post", published=_DAY)]
    others = [User(name="zoe"), User(name="ada", posts=old), User(name="mia")]
    with playground(Base, *others) as session:
        undone = _call(answer, session)
        posts, names = _posts(session), _names(session)
    expect(not undone, _NOT_KEPT)
    expect(
        names.count("ada") == 1,
        f"there are {names.count('ada')} users named ada now; load the one who is there, with select(...)",
    )
    per_user = Counter(name for name, *_ in posts)
    strangers = [name for name in per_user if name != "ada"]
    expect(not strangers, f"a post went to {', '.join(strangers)}, and both are ada's")
    expect(
        any(title == "An old post" for _, title, _ in posts),
        "ada had a post before, and it is gone or has another title; leave it alone",
    )
    new = per_user["ada"] - 1
    expect(
        new > 0,
        "no new post is in the database; a post comes along when it is appended to `ada.posts`, or is "
        "added to the Session itself",
    )
    expect(
        new == 2,
        f"ada has {new} new post{'s' if new > 1 else ''}, and two were asked for",
    )


def _written() -> tuple[int, int]:
    """Run the program of the exercise and count its rows."""
    with playground(Base) as session:
        ada = User(name="ada", posts=[Post(title="One", published=_DAY)])
        ben = User(name="ben")
        User(name="eve")
        session.add(ben)
        ben.posts.append(Post(title="Two", published=_DAY))
        Post(title="Three", published=_DAY, user=ben)
        session.add(Post(title="Four", published=_DAY, user=ada))
        session.commit()
        return len(_names(session)), len(_posts(session))


def _predict(answer: Any) -> None:
    expect(
        isinstance(answer, tuple | list)
        and len(answer) == 2
        and all(type(number) is int for number in answer),
        "the answer should be two whole numbers in a tuple, users first, such as `(7, 9)`",
    )
    users, posts = answer
    wanted_users, wanted_posts = _written()
    if (users, posts) == (wanted_posts, wanted_users):
        raise NotYet("the two numbers are the wrong way round: users come first")
    expect(
        users <= wanted_users,
        f"fewer than {users} users arrive; one of the three is neither added nor led to by an added object",
    )
    expect(
        users >= wanted_users,
        f"more than {users} user{'' if users == 1 else 's'} arrive; "
        "`session.add(four)` adds a post: follow `four.user` from there",
    )
    expect(
        posts <= wanted_posts,
        f"fewer than {posts} posts arrive; ben was in the Session already when one post named him as its user",
    )
    expect(
        posts >= wanted_posts,
        f"more than {posts} post{'' if posts == 1 else 's'} arrive; when a user comes along, "
        "so do the posts in the list of that user",
    )


def _lost_post(answer: Any) -> None:
    with playground(
        Base, User(name="zoe"), User(name="mia"), User(name="kim")
    ) as session:
        undone = _call(answer, session, "mia", "Snow") or _call(
            answer, session, "zoe", "Fog"
        )
        posts, names = _posts(session), _names(session)
    expect(not undone, _NOT_KEPT)
    expect(
        posts,
        "the post is still lost: it knows its user, but the post itself is not in the Session; which verbs bring it in?",
    )
    expect(
        len(names) == 3,
        "there are more users than before; the user is in the database already",
    )
    found = sorted((name, title) for name, title, _ in posts)
    wanted = [("mia", "Snow"), ("zoe", "Fog")]
    expect(
        len(found) >= 2,
        "after publishing two posts for two users, only one post is in the database",
    )
    expect(
        len(found) == 2,
        f"{len(found)} posts arrived where two were published; add each one once",
    )
    expect(
        found == wanted,
        f"the posts should be {_listed(wanted)}, and they are {_listed(found)}; use `name` and `title`",
    )


def _load(answer: Any) -> None:
    rows = [
        {"user": "zoe", "title": "Snow", "published": date(2026, 2, 1)},
        {"user": "mia", "title": "Fog", "published": date(2026, 2, 2)},
        {"user": "zoe", "title": "Ice", "published": date(2026, 2, 3)},
        {"user": "kim", "title": "Fog", "published": date(2026, 2, 4)},
        {"user": "mia", "title": "Sun", "published": date(2026, 2, 5)},
    ]
    wanted = sorted((row["user"], row["title"], row["published"]) for row in rows)
    with playground(Base) as session:
        undone = _call(answer, session, [dict(row) for row in rows])
        posts, names = sorted(_posts(session)), Counter(_names(session))
    expect(not undone, _NOT_KEPT)
    expect(
        names,
        "both tables are still empty; what brings the users into the Session, and then into the database?",
    )
    twice = [name for name in sorted(names) if names[name] > 1]
    expect(
        not twice,
        f"{' and '.join(twice)} {'is' if len(twice) == 1 else 'are'} in `users` more than once; make a new "
        "User only for a name that you have not met, and remember the ones that you made",
    )
    missing = sorted({row["user"] for row in rows} - set(names))
    expect(not missing, f"these users did not arrive: {', '.join(missing)}")
    expect(
        set(names) == {row["user"] for row in rows}, "there are users whom no row names"
    )
    expect(
        len(posts) >= len(wanted),
        f"{len(posts)} of {len(wanted)} posts arrived; every post must be appended to the list of its user, "
        "or added itself",
    )
    expect(
        len(posts) == len(wanted),
        f"{len(posts)} posts arrived, and there were {len(wanted)} rows",
    )
    expect(
        [post[:2] for post in posts] == [row[:2] for row in wanted],
        "a title stands with the wrong user; each post belongs to the user of its own row",
    )
    expect(
        posts == wanted, 'a post has another date than its row; use `row["published"]`'
    )


def _listed(pairs: list[tuple[str, str]]) -> str:
    return " and ".join(f"{title!r} of {name}" for name, title in pairs)


_ADA = 'ada = session.scalars(select(User).where(User.name == "ada")).one()'
_USER = "user = session.scalars(select(User).where(User.name == name)).one()"
_POST = "post = Post(title=title, published=date(2026, 1, 5), user=user)"

EXERCISES = [
    Exercise(
        id="03-two-posts",
        judge=_two_posts,
        hints=(
            "Three steps: load ada, put two posts into her list, make them permanent.",
            f"The first step: `{_ADA}`.",
            'Then twice `ada.posts.append(Post(title="...", published=date(2026, 1, 5)))`, and '
            "`session.commit()`.",
        ),
        code=f"""def add_posts(session):
    {_ADA}
    ada.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    ada.posts.append(Post(title="Again", published=date(2026, 1, 6)))
    session.commit()""",
        reason="ada came out of the Session, so she is in it; what is appended to her list follows, and "
        "the flush writes her id into `user_id`.",
        wrong=(
            Wrong(
                """def add_posts(session):
    ada = User(name="ada")
    ada.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    ada.posts.append(Post(title="Again", published=date(2026, 1, 6)))
    session.add(ada)
    session.commit()""",
                "2 users named ada",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    ada.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    ada.posts.append(Post(title="Again", published=date(2026, 1, 6)))""",
                "a flush is not a commit",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    Post(title="Hello", published=date(2026, 1, 5), user=ada)
    Post(title="Again", published=date(2026, 1, 6), user=ada)
    session.commit()""",
                "no new post is in the database",
            ),
            Wrong(
                """def add_posts(session):
    ada = session.get(User, 1)
    ada.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    ada.posts.append(Post(title="Again", published=date(2026, 1, 6)))
    session.commit()""",
                "a post went to zoe",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    ada.posts.append("Hello")
    session.commit()""",
                "_sa_instance_state",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    ada.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    session.commit()""",
                "ada has 1 new post",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    ada.posts = [
        Post(title="Hello", published=date(2026, 1, 5)),
        Post(title="Again", published=date(2026, 1, 6)),
    ]
    session.commit()""",
                "replaces the whole list",
            ),
            Wrong(
                f"""def add_posts(session):
    {_ADA}
    ada.posts.append(Post(title="Hello"))
    ada.posts.append(Post(title="Again"))
    session.commit()""",
                "has no date",
            ),
        ),
    ),
    Exercise(
        id="03-predict",
        judge=_predict,
        hints=(
            "Ask of each object: was it added, or does an added object lead to it?",
            "`add` and `append` bring an object into the Session; setting the parent does not.",
            "eve is never added. ada comes with `four`, and her list comes with her. `late` only names ben.",
        ),
        code="answer = (2, 3)",
        reason="Users: ben, and ada who came with her post. Posts: One, Two and Four. Three was lost: ben was "
        "in the Session, and nobody added or appended it.",
        wrong=(
            Wrong("answer = (2, 4)", "fewer than 4 posts"),
            Wrong("answer = (3, 4)", "fewer than 3 users"),
            Wrong("answer = (1, 2)", "more than 1 user arrive"),
            Wrong("answer = (2, 2)", "more than 2 posts"),
            Wrong("answer = (3, 2)", "the wrong way round"),
            Wrong("answer = 5", "two whole numbers"),
        ),
    ),
    Exercise(
        id="03-lost-post",
        judge=_lost_post,
        hints=(
            "The user came out of the Session. Where is the post?",
            "Setting `post.user` does not bring the post into the Session; `add` and `append` do.",
            "Write `session.add(post)` before the commit, or make the post without `user=` and append it to "
            "`user.posts`.",
        ),
        code=f"""def publish(session, name, title):
    {_USER}
    {_POST}
    session.add(post)
    session.commit()""",
        reason="`post.user = user` links the two objects. Since SQLAlchemy 2.0 only `add` and `append` bring "
        "the post into the Session.",
        wrong=(
            Wrong(
                f"""def publish(session, name, title):
    {_USER}
    {_POST}
    session.commit()""",
                "still lost",
            ),
            Wrong(
                f"""def publish(session, name, title):
    {_USER}
    {_POST}
    session.add(post)
    session.flush()""",
                "a flush is not a commit",
            ),
            Wrong(
                """def publish(session, name, title):
    user = User(name=name)
    post = Post(title=title, published=date(2026, 1, 5), user=user)
    session.add(post)
    session.commit()""",
                "more users than before",
            ),
            Wrong(
                """def publish(session, name, title):
    post = Post(title=title, published=date(2026, 1, 5), user=name)
    session.add(post)
    session.commit()""",
                "_sa_instance_state",
            ),
            Wrong(
                f"""def publish(session, name, title):
    {_USER}
    user.posts.append(Post(title="Hello", published=date(2026, 1, 5)))
    session.commit()""",
                "use name and title",
            ),
        ),
    ),
    Exercise(
        id="03-load",
        judge=_load,
        hints=(
            "Before you make a user, look whether you made this one already. What can find a user by name?",
            "Keep a dictionary of users by name, `users = {}`, and one loop over the rows.",
            'In the loop: `if row["user"] not in users:` make one; then '
            '`users[row["user"]].posts.append(Post(...))`. After the loop `add_all(users.values())` and a '
            "commit.",
        ),
        code="""def load(session, rows):
    users = {}
    for row in rows:
        if row["user"] not in users:
            users[row["user"]] = User(name=row["user"])
        post = Post(title=row["title"], published=row["published"])
        users[row["user"]].posts.append(post)
    session.add_all(users.values())
    session.commit()""",
        reason="The dictionary makes each user once. The users are added, and the save-update cascade brings "
        "their posts.",
        wrong=(
            Wrong(
                """def load(session, rows):
    for row in rows:
        post = Post(title=row["title"], published=row["published"])
        session.add(User(name=row["user"], posts=[post]))
    session.commit()""",
                "mia and zoe are in users more than once",
            ),
            Wrong(
                """def load(session, rows):
    users = {row["user"]: User(name=row["user"]) for row in rows}
    session.add_all(users.values())
    for row in rows:
        Post(title=row["title"], published=row["published"], user=users[row["user"]])
    session.commit()""",
                "0 of 5 posts arrived",
            ),
            Wrong(
                """def load(session, rows):
    users = {}
    for row in rows:
        post = Post(title=row["title"], published=row["published"])
        users[row["user"]] = User(name=row["user"], posts=[post])
    session.add_all(users.values())
    session.commit()""",
                "3 of 5 posts arrived",
            ),
            Wrong(
                """def load(session, rows):
    users = {row["user"]: User(name=row["user"]) for row in rows}
    for row in rows:
        post = Post(title=row["title"], published=row["published"])
        users[row["user"]].posts.append(post)
    session.add_all(users.values())
    session.flush()""",
                "a flush is not a commit",
            ),
            Wrong(
                """def load(session, rows):
    for row in rows:
        post = Post(title=row["title"], published=row["published"], user=row["user"])
        session.add(post)
    session.commit()""",
                "_sa_instance_state",
            ),
            Wrong(
                """def load(session, rows):
    users = {row["user"]: User(name=row["user"]) for row in rows}
    for row in rows:
        post = Post(title=row["title"], published=date(2026, 1, 5))
        users[row["user"]].posts.append(post)
    session.add_all(users.values())
    session.commit()""",
                "has another date",
            ),
        ),
    ),
]
