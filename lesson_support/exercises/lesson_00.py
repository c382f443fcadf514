"""Exercises of lesson 00: the three replies, a first statement, a first count."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Select, select

from ..blog import Base, Post, User
from ..check import Exercise, Wrong, expect, judge_select


def _many_side(answer: Any) -> None:
    expect(
        isinstance(answer, str),
        '`answer` should be a name in quotation marks, "users" or "posts"',
    )
    expect(
        answer != "users",
        "a user writes many posts, but there is only one user to a post, so `users` is the one side",
    )
    expect(
        answer == "posts", f'there is no table "{answer}"; choose "users" or "posts"'
    )


def _users() -> tuple[Any, list]:
    post = Post(title="A post", published=date(2026, 1, 5))
    return Base, [User(name="zoe"), User(name="abel", posts=[post]), User(name="mia")]


def _names() -> Select:
    return select(User.name).order_by(User.name)


_judge_rows = judge_select(_names, _users)


def _first_statement(answer: Any) -> None:
    if isinstance(answer, Select):
        others = {table.name for table in answer.get_final_froms()} - {"users"}
        expect(
            "programs" not in others,
            "this asks for the names of programs; the class for the users is `User`",
        )
        expect(
            all(column["expr"] is not User for column in answer.column_descriptions),
            "`select(User)` asks for whole users; for their names alone write `User.name`",
        )
    _judge_rows(answer)


def _count(answer: Any) -> None:
    expect(
        isinstance(answer, int) and not isinstance(answer, bool),
        "`answer` should be a whole number without quotation marks, such as 3",
    )
    expect(
        answer != 5,
        "five is one for the users and one for each user's posts, but this code never looks at `user.posts`",
    )
    expect(answer != 4, "the four users come together, as four rows of one answer")
    expect(answer == 1, "count the lines that ask the database for something new")


EXERCISES = [
    Exercise(
        id="00-many-side",
        judge=_many_side,
        hints=(
            "How many posts can one user write? How many users has one post?",
            'It is the table whose rows hold the key of the other one; write `answer = "..."`.',
        ),
        code='answer = "posts"',
        reason="There are many posts to one user, and each post holds the key of its user.",
        wrong=(
            Wrong('answer = "users"', "so users is the one side"),
            Wrong('answer = "post"', "there is no table"),
            Wrong("answer = User", "a name in quotation marks"),
        ),
    ),
    Exercise(
        id="00-names",
        judge=_first_statement,
        hints=(
            "The class for the table `users` is `User`, and its column with the name is `User.name`.",
            "`select(...)` takes what you want to see; `.order_by(...)` takes what to sort by.",
            "`select(User.name).order_by(...)`",
        ),
        code="answer = select(User.name).order_by(User.name)",
        reason="The statement is only described here; the check sends it to a database with other users.",
        wrong=(
            Wrong("answer = select(User.name)", "not in the order asked for"),
            Wrong("answer = select(User).order_by(User.name)", "asks for whole users"),
            Wrong(
                "answer = select(Program.name).order_by(Program.name)",
                "asks for the names of programs",
            ),
            Wrong('answer = ["ada", "noor"]', "a select(...) statement, not a list"),
            Wrong(
                "answer = select(Post.title).order_by(Post.title)",
                "not asked for: A post",
            ),
            Wrong(
                "answer = select(User.id, User.name).order_by(User.name)",
                "should hold 1 value",
            ),
        ),
    ),
    Exercise(
        id="00-count",
        judge=_count,
        hints=(
            "Only a line that asks for something new sends a statement.",
            "The loop takes the users one by one from an answer that is already there.",
            "`user.name` came with its user, so printing it asks for nothing.",
        ),
        code="answer = 1",
        reason="One SELECT reads all users. The names came with it, so printing asks for nothing.",
        wrong=(
            Wrong("answer = 4", "four rows of one answer"),
            Wrong("answer = 5", "never looks at user.posts"),
            Wrong("answer = 2", "count the lines"),
            Wrong('answer = "one"', "a whole number"),
        ),
    ),
]
