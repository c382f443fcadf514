"""Exercises of lesson 20: copy a user, export one, find or make a post."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from sqlalchemy import event, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import FlushError

from ..blog import Base, Post, User
from ..check import Exercise, Wrong, expect, playground

_DAY = date(2026, 1, 5)


def _people() -> list[User]:
    """mira has two posts, the later one first; olaf has one."""
    days = {"mira": (("Snow", 9), ("Ice", 6)), "olaf": (("Thaw", 7),)}
    return [
        User(
            name=name,
            posts=[Post(title=t, published=date(2026, 1, day)) for t, day in posts],
        )
        for name, posts in days.items()
    ]


def _user(session: Session, name: str) -> User:
    return session.scalars(select(User).where(User.name == name)).one()


def _copy(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `copy_user`, without brackets",
    )
    with playground(Base, *_people()) as session:
        old = _user(session, "mira")
        new = answer(old, "mila")
        expect(
            isinstance(new, User),
            f"the function should return a user, and it returned {new!r}",
        )
        expect(new is not old, "your function returned the old user itself")
        expect(
            inspect(new) is not inspect(old),
            "`copy.copy` copies the hidden mark too, so the Session takes your copy for the old user; make a new "
            "`blog.User(...)`",
        )
        expect(
            new.name == "mila",
            f"the copy should be called 'mila', and is called {new.name!r}",
        )
        dayless = any(post.published is None for post in new.posts)
        session.add(new)
        try:
            session.commit()
        except (IntegrityError, FlushError):
            expect(
                not dayless,
                "a post of the copy has no day, and `published` is required; copy it as well as the title",
            )
            expect(
                False,
                "the database refused the copy: did you copy an `id`? It gives new rows their primary keys itself",
            )
        query = select(User.name, Post.title, Post.published).join(User.posts)
        rows = {tuple(row) for row in session.execute(query)}
    wanted = {("Snow", date(2026, 1, 9)), ("Ice", date(2026, 1, 6))}
    left = {row[1:] for row in rows if row[0] == "mira"}
    copied = {row[1:] for row in rows if row[0] == "mila"}
    expect(
        left == wanted,
        f"the old user had 2 posts and has {len(left)} now: a post that gets another user moves; make new posts",
    )
    expect(
        copied == wanted,
        f"the copy should have the same 2 titles and days, and it has {sorted(title for title, _ in copied)}",
    )


def _data(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `as_data`, without brackets",
    )
    with playground(Base, *_people(), User(name="pia")) as session:
        for name, posts in (
            (
                "mira",
                [
                    {"title": "Ice", "published": "2026-01-06"},
                    {"title": "Snow", "published": "2026-01-09"},
                ],
            ),
            ("pia", []),
        ):
            user = _user(session, name)
            session.commit()
            given = answer(user)
            expect(
                isinstance(given, dict),
                f"the function should return a dictionary, and it returned {given!r}",
            )
            expect(
                "_sa_instance_state" not in given,
                "`vars` shows what is loaded, and SQLAlchemy's own mark; write the dictionary yourself",
            )
            expect(
                set(given) == {"name", "posts"},
                f"the keys should be name and posts, and they are {', '.join(map(str, given)) or 'none'}",
            )
            expect(
                given["name"] == name,
                f"the name is {name!r}, and yours {given['name']!r}",
            )
            expect(
                not any(isinstance(post, Post) for post in given["posts"]),
                "the list still holds `Post` objects; write a dictionary for each of them",
            )
            try:
                json.dumps(given)
            except TypeError as error:
                expect(False, f"`json.dumps` says: {error}; which value is no text?")
            expect(
                sorted(map(str, given["posts"])) == sorted(map(str, posts)),
                f"for {name} the posts should be {posts}, and they are {given['posts']}",
            )
            expect(
                given["posts"] == posts,
                "the posts are right but not sorted by day; the list comes in no fixed order",
            )


def _find(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `find_or_make`, without brackets",
    )
    commits: list[Session] = []
    with playground(Base, *_people()) as session:
        mira = _user(session, "mira")
        event.listen(session, "after_commit", commits.append)
        known = answer(session, mira, "Snow", _DAY)
        expect(
            known is not None,
            "there is a post called Snow, and your function returned None; return what was found, or what was made",
        )
        expect(
            isinstance(known, Post),
            f"the function should return a post, and it returned {known!r}",
        )
        thaw = answer(session, mira, "Thaw", _DAY)
        expect(
            isinstance(thaw, Post) and thaw.user is mira,
            "the post called Thaw is that of another user; look for both, the user and the title",
        )
        expect(
            thaw in session,
            "the new post is not in the Session, so it would be lost; `session.add(...)` or `user.posts.append(...)`",
        )
        again = answer(session, mira, "Thaw", date(2026, 1, 8))
        expect(not commits, "your function commits, and that is left to the caller")
        session.commit()
        query = select(Post.title, Post.published).where(Post.user == mira)
        rows = sorted(tuple(row) for row in session.execute(query))
    titles = [title for title, _ in rows]
    expect(
        titles == ["Ice", "Snow", "Thaw"] and again is thaw,
        f"asked for Snow once and for Thaw twice, mira has the posts {', '.join(titles)}; look before you make one",
    )
    days = [day.day for _, day in rows]
    expect(
        days == [6, 9, 5],
        "the days are wrong: a post that is found keeps its own, a new one gets `day`",
    )


_COPY = """def copy_user(old, name):
    posts = [{} for post in old.posts]
    return blog.User(name=name, posts=posts)
"""
_NEW_POST = "blog.Post(title=post.title, published=post.published)"
_DATA = """def as_data(user):
    posts = {}
    return {{
        "name": user.name,
        "posts": [{{"title": post.title, "published": {}}} for post in posts],
    }}
"""
_BY_DAY = "sorted(user.posts, key=lambda post: post.published)"
_TEXT = "post.published.isoformat()"
_FIND = """def find_or_make(session, user, title, day):
    query = select(blog.Post).where({})
    post = session.scalar(query)
    if post is None:
        post = blog.Post(title=title, published=day, user=user)
        {}
    return {}
"""
_BOTH = "blog.Post.user == user, blog.Post.title == title"
_ADD = "session.add(post)"
EXERCISES = [
    Exercise(
        id="20-copy",
        judge=_copy,
        hints=(
            "What would happen to the old posts if they got the new user?",
            "Make a new `blog.Post(...)` for each old one. Which of its values does the database give, and which the "
            "relationship?",
            f"`posts = [{_NEW_POST} for post in old.posts]`, then a `blog.User` with them.",
        ),
        code=_COPY.format(_NEW_POST),
        reason="Values are copied, the `id` comes from the database, and the list of the new user sets the key.",
        wrong=(
            Wrong(_COPY.format("post"), "moves"),
            Wrong(
                "def copy_user(old, name):\n    new = copy.copy(old)\n    new.name = name\n    return new\n",
                "hidden mark",
            ),
            Wrong(_COPY.format("blog.Post(title=post.title)"), "has no day"),
            Wrong(
                _COPY.format(_NEW_POST.replace("(", "(id=post.id, ", 1)),
                "did you copy an id",
            ),
            Wrong(
                "def copy_user(old, name):\n    old.name = name\n    return old\n",
                "the old user itself",
            ),
        ),
    ),
    Exercise(
        id="20-data",
        judge=_data,
        hints=(
            "Write the dictionary of the user, and one for each post; ask for the attributes by name.",
            "`sorted(..., key=...)` puts the posts in order. Which value does JSON not know?",
            f"`for post in {_BY_DAY}`, and `{_TEXT}`.",
        ),
        code=_DATA.format(_BY_DAY, _TEXT),
        reason="Attributes that are asked for by name are read when they are missing, and only one side follows the "
        "relationship.",
        wrong=(
            Wrong(
                "def as_data(user):\n    user.name\n    return dict(vars(user))\n",
                "own mark",
            ),
            Wrong(
                'def as_data(user):\n    return {"name": user.name, "posts": user.posts}\n',
                "still holds",
            ),
            Wrong(_DATA.format(_BY_DAY, "post.published"), "which value is no text"),
            Wrong(
                _DATA.format(_BY_DAY.replace(")", ", reverse=True)"), _TEXT),
                "not sorted by day",
            ),
        ),
    ),
    Exercise(
        id="20-find",
        judge=_find,
        hints=(
            "Look first. Which two conditions does the post have to fulfil?",
            "Setting `user=` does not bring a new post into the Session (lesson 03); what does?",
            f"`session.scalar(select(blog.Post).where({_BOTH}))`; where it is None, make one and add it.",
        ),
        code=_FIND.format(_BOTH, _ADD, "post"),
        reason="It looks for the user and the title, adds only what is missing, and returns the post either way. With "
        "a UNIQUE on both columns a savepoint would make it safe for two at once.",
        wrong=(
            Wrong(
                _FIND.format("blog.Post.title == title", _ADD, "post"),
                "of another user",
            ),
            Wrong(
                "def find_or_make(session, user, title, day):\n"
                "    post = blog.Post(title=title, published=day, user=user)\n"
                "    session.add(post)\n    return post\n",
                "look before you make",
            ),
            Wrong(_FIND.format(_BOTH, "pass", "post"), "it would be lost"),
            Wrong(
                _FIND.format(_BOTH, f"{_ADD}\n    session.commit()", "post"),
                "left to the caller",
            ),
            Wrong(_FIND.format(_BOTH, _ADD, "None"), "returned None"),
        ),
    ),
]
