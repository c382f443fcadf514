"""Exercises of lesson 09: predict, choose and repair what a delete does, and hide instead of delete."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ForeignKey, Result, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from .. import blog
from ..blog import PostColumns, UserColumns
from ..check import Exercise, Wrong, expect, playground
from ..preview import preview_delete
from ._blog import BASE, cascading, delete_mira, mapping, sent

_WHEN = ("not loaded", "loaded")

# The three mappings of the prompt, and what to think of where the prediction is wrong.
_PREDICT: dict[str, tuple[dict[str, Any], str | None, tuple[str, str]]] = {
    "A": (
        {"passive_deletes": True},
        "CASCADE",
        (
            "posts that are not loaded are left to the database; what does its rule say?",
            "loaded posts are the Session's business, and no `cascade` is written; what is the default?",
        ),
    ),
    "B": (
        {"cascade": "all, delete-orphan", "passive_deletes": True},
        "SET NULL",
        (
            "`cascade` is not asked for posts that are not loaded; the database acts, by its own rule",
            "the Session sees these posts, and its `cascade` says what it does with them",
        ),
    ),
    "C": (
        {"passive_deletes": "all"},
        None,
        (
            "the Session leaves every post alone; what does a key without `ondelete` do?",
            'with `"all"` it makes no difference that the posts are loaded',
        ),
    ),
}


def _map(one_side: dict[str, Any], ondelete: str | None) -> Any:
    class Base(DeclarativeBase):
        pass

    class User(UserColumns, Base):
        posts = relationship("Post", back_populates="user", **one_side)

    class Post(PostColumns, Base):
        user_id: Mapped[int | None] = mapped_column(
            ForeignKey("users.id", ondelete=ondelete)
        )
        user = relationship("User", back_populates="posts")

    return Base


def _outcome(base: Any, *, loaded: bool) -> str:
    _, left, refused = delete_mira(base, loaded=loaded)
    if refused is not None:
        return "refused"
    return "NULL" if None in left.values() else "deleted"


def _predict(answer: Any) -> None:
    expect(
        isinstance(answer, dict) and set(answer) == set(_PREDICT),
        'the answer should be a dictionary with the keys "A", "B" and "C"',
    )
    for letter, said in answer.items():
        expect(
            isinstance(said, (tuple, list))
            and len(said) == 2
            and all(isinstance(word, str) for word in said),
            f"{letter} needs two words: one for posts that are not loaded, one for loaded ones",
        )
        for word in said:
            expect(
                word.lower() in ("deleted", "null", "refused"),
                f'"{word}" is none of the three words "deleted", "NULL" and "refused"',
            )
    for letter, (one_side, ondelete, thoughts) in _PREDICT.items():
        for place, thought in enumerate(thoughts):
            said = answer[letter][place]
            happened = _outcome(_map(one_side, ondelete), loaded=bool(place))
            expect(
                said.lower() == happened.lower(),
                f'{letter} was run, and with posts {_WHEN[place]} the result is not "{said}": {thought}',
            )


_OWNED = {"cascade": "all, delete-orphan", "passive_deletes": True}


def _three_levels() -> tuple[Any, Any, Any, Any]:
    """A Base with User, Post and Comment; each list belongs to its parent, and so does each rule."""

    class Base(DeclarativeBase):
        pass

    class User(UserColumns, Base):
        posts = relationship("Post", **_OWNED)

    class Post(PostColumns, Base):
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
        comments = relationship("Comment", **_OWNED)

    class Comment(Base):
        __tablename__ = "comments"
        id: Mapped[int] = mapped_column(primary_key=True)
        post_id: Mapped[int] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"))

    return Base, User, Post, Comment


def _preview_and_delete() -> dict[str, tuple[int, int]]:
    """Preview the delete of the prompt, and delete; rows by the Session and by the database."""
    base, user, post, comment = _three_levels()
    day = date(2026, 1, 5)
    posts = [post(title=title, published=day) for title in ("Snow", "Ice", "Thaw")]
    for one in posts:
        one.comments = [comment(), comment()]
    with playground(base, user(name="mira", posts=posts)) as session:
        mira = session.scalars(select(user)).one()
        len(mira.posts[0].comments)
        found = preview_delete(session, mira).facts
        session.delete(mira)
        session.commit()
        left = session.scalar(select(func.count()).select_from(comment))
    if found.unknown or left or found.deleted.get(("users", "the Session")) != 1:
        raise RuntimeError("the preview and the delete do not agree")
    actors = ("the Session", "the database")
    return {
        table: tuple(found.deleted.get((table, who), 0) for who in actors)
        for table in ("posts", "comments")
    }


def _levels(answer: Any) -> None:
    expect(
        isinstance(answer, dict) and set(answer) == {"posts", "comments"},
        'the answer should be a dictionary with the keys "posts" and "comments"',
    )
    for table, said in answer.items():
        expect(
            isinstance(said, (tuple, list))
            and len(said) == 2
            and all(type(number) is int for number in said),
            f"{table} needs two whole numbers: rows deleted by the Session, rows deleted by the database",
        )
    found = _preview_and_delete()
    for table, said in answer.items():
        expect(
            sum(said) == sum(found[table]),
            f"{sum(found[table])} rows of {table} go in all, and your two numbers make {sum(said)}",
        )
    expect(
        answer["posts"][0] == found["posts"][0],
        "`mira.posts` was read, and what is in a list that was read is the business of the Session",
    )
    by_session = answer["comments"][0]
    expect(
        by_session >= found["comments"][0],
        "the comments of the first post were read, so that the Session deletes them itself, by the cascade",
    )
    expect(
        by_session <= found["comments"][0],
        "the comments of two posts were not read, and with `passive_deletes=True` the Session does not read "
        "a list only to delete what is in it",
    )


def _choose(base: Any) -> None:
    _, post = cascading(base)
    expect(
        post.__table__.columns["user_id"].nullable,
        "a post without a user has NULL in `user_id`, and `Mapped[int]` forbids NULL",
    )
    for loaded in (False, True):
        statements, left, refused = delete_mira(base, loaded=loaded)
        when = _WHEN[loaded]
        expect(
            refused is None,
            f"the delete was refused when the posts were {when}: the Session left the posts alone, and the "
            "table has no rule that sets their keys to NULL",
        )
        expect(
            len(left) == 4,
            f"when the posts were {when}, they were deleted with their user, but they should stay",
        )
        kinds = ", ".join(statement.split()[0] for statement in statements)
        reason = (
            "the Session acts on posts that somebody has read; only one value of `passive_deletes` keeps it "
            "from that"
            if loaded
            else "the Session sets the keys itself, although the database could do it"
        )
        expect(
            len(statements) == 1,
            f"when the posts were {when}, {len(statements)} statements were sent ({kinds}): {reason}",
        )


def _bulk_people() -> list[Any]:
    people = []
    for name, titles in (
        ("mira", ("Snow", "Ice", "Thaw")),
        ("olaf", ("A bread",)),
        ("pia", ("A boat", "A harbour")),
        ("vera", ()),
    ):
        user = blog.User(name=name)
        posts = [
            blog.Post(title=title, published=date(2026, 1, 5), user=user)
            for title in titles
        ]
        people += [user, *posts]
    return people


def _bulk_once(answer: Any, names: list[str]) -> tuple[int, int]:
    """Run the learner's function on fresh rows and judge what is left.

    Returns the number of statements that it sent, and of the objects that it read.
    """
    gone, objects = set(names), []
    with playground(blog.Base, *_bulk_people()) as session:
        event.listen(
            session, "loaded_as_persistent", lambda _, read: objects.append(read)
        )
        with sent(session) as statements:
            try:
                answer(session, list(names))
            except IntegrityError as error:
                if (error.statement or "").startswith("UPDATE posts"):
                    expect(
                        False,
                        "`session.delete(user)` tried to set the keys of the posts to NULL, which the table "
                        "forbids; a bulk delete needs no objects",
                    )
                expect(
                    False,
                    "the database refuses to delete users while posts still hold their keys; what has to go "
                    "first?",
                )
        with Session(session.get_bind()) as second:
            users = set(second.scalars(select(blog.User.name)))
            posts = set(
                second.execute(
                    select(blog.Post.title, blog.User.name).join(blog.Post.user)
                ).tuples()
            )
    writers = {name for _, name in posts}
    expect(
        users | gone == {"mira", "olaf", "pia", "vera"},
        "a user who was not named is gone as well",
    )
    expect(
        ("A bread", "olaf") in posts,
        "posts of users who were not named are gone; the first delete needs a condition too",
    )
    expect(
        not gone & users or gone & writers or "mira" not in gone,
        "the posts are gone, but their users are still there",
    )
    expect(
        not gone & users,
        "for another Session nothing has changed; is there a `session.commit()`?",
    )
    return len(statements), len(objects)


def _bulk(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `delete_users`, without brackets",
    )
    few, _ = _bulk_once(answer, ["mira"])
    many, objects = _bulk_once(answer, ["mira", "pia", "vera"])
    expect(
        few == many,
        f"the right rows go, but one name took {few} statements and three names took {many}; use a condition "
        "for all rows instead of a loop",
    )
    expect(
        not objects,
        "the right rows go, but users or posts were read as objects; give the condition to `delete(...)`",
    )


class _Base(DeclarativeBase):
    pass


class User(UserColumns, _Base):
    """A user who can be closed; given to the learner's function."""

    closed: Mapped[bool] = mapped_column(default=False)


class Post(PostColumns, _Base):
    """A post of such a user."""

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    user: Mapped[User] = relationship()


def _hide_people() -> list[Any]:
    mira, olaf, pia = (
        User(name="mira"),
        User(name="olaf", closed=True),
        User(name="pia"),
    )
    writers = {"Snow": mira, "Ice": mira, "A bread": olaf, "A boat": pia}
    return [olaf] + [
        Post(title=title, published=date(2026, 1, 5), user=user)
        for title, user in writers.items()
    ]


def _hide(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `hide_closed`, without brackets",
    )

    class Quiet(Session):
        pass

    @event.listens_for(Quiet, "do_orm_execute")
    def listen(state):
        given = answer(state, User)
        expect(
            given is None or isinstance(given, Result),
            "your function returns something, and nobody takes it; put the new statement into "
            "`state.statement` instead",
        )
        return given

    with (
        playground(_Base, *_hide_people()) as plain,
        Quiet(plain.get_bind()) as session,
    ):
        names = session.scalars(select(User.name).order_by(User.name)).all()
        expect(
            "olaf" not in names or "mira" in names,
            "the closed users are listed and the open ones are hidden; turn the condition round",
        )
        expect(
            "olaf" not in names,
            "`select(User.name)` still lists a closed user; `.options(...)` gives a new statement, and it has "
            "to be put back into `state.statement`",
        )
        expect(
            names == ["mira", "pia"],
            "an open user is missing from `select(User.name)`, or comes twice",
        )
        titles = sorted(session.scalars(select(Post.title)))
        expect(
            titles == ["A boat", "A bread", "Ice", "Snow"],
            f"`select(Post.title)` does not name users and should give 4 rows, but gave {len(titles)}; a "
            "`.where(...)` brings `users` into every query, `with_loader_criteria` only where it is used",
        )
        query = select(Post.title).join(Post.user)
        expect(
            "A bread" not in session.scalars(query).all(),
            "`select(Post.title).join(Post.user)` still finds the post of a closed user",
        )
        session.execute(insert(User), [{"name": "vera"}])
        opened = session.execute(
            update(User).where(User.name == "olaf").values(closed=False)
        )
        expect(
            opened.rowcount == 1,
            "`update(User)` found no closed user, so none can be opened again; change a statement only if "
            "`state.is_select`",
        )


_SET_NULL = 'ForeignKey("users.id", ondelete="SET NULL")'

_BULK = """def delete_users(session, names):
    {}
    session.commit()
"""
_USERS = "session.execute(delete(blog.User).where(blog.User.name.in_(names)))"
_IDS = "ids = select(blog.User.id).where(blog.User.name.in_(names))\n    "
_POSTS = "session.execute(delete(blog.Post).where(blog.Post.user_id.in_(ids)))\n    "

_HIDE = """def hide_closed(state, User):
    if state.is_select:
        open_only = with_loader_criteria(User, User.closed.is_(False))
        {}
"""
_PUT_BACK = "state.statement = state.statement.options(open_only)"

EXERCISES = [
    Exercise(
        id="09-predict",
        judge=_predict,
        hints=(
            "Ask two questions for each: who acts on these posts, the Session or the database? And what was that "
            "one told?",
            "`passive_deletes=True` leaves posts that are not loaded to the database, and loaded ones to the "
            'Session; `"all"` leaves all of them to the database.',
            "A without loading: the database, CASCADE. A with loading: the Session, without `cascade`. B is the "
            "other way round. C: nobody does anything, so the key forbids the delete.",
        ),
        code="""answer = {
    "A": ("deleted", "NULL"),
    "B": ("NULL", "deleted"),
    "C": ("refused", "refused"),
}""",
        reason="In A and B the Session and the database want different things, so the result depends on what "
        "was loaded. Only C is predictable.",
        wrong=(
            Wrong(
                'answer = {"A": ("NULL", "NULL"), "B": ("NULL", "deleted"), "C": ("refused", "refused")}',
                "what does its rule say?",
            ),
            Wrong(
                'answer = {"A": ("deleted", "deleted"), "B": ("deleted", "deleted"), "C": ("NULL", "NULL")}',
                "what is the default?",
            ),
            Wrong(
                'answer = {"A": ("deleted", "NULL"), "B": ("deleted", "deleted"), "C": ("NULL", "NULL")}',
                "is not asked for posts",
            ),
            Wrong(
                'answer = {"A": ("deleted", "NULL"), "B": ("NULL", "NULL"), "C": ("refused", "NULL")}',
                "the Session sees these posts",
            ),
            Wrong(
                'answer = {"A": ("deleted", "NULL"), "B": ("NULL", "deleted"), "C": ("NULL", "NULL")}',
                "what does a key without",
            ),
            Wrong(
                'answer = {"A": ("deleted", "NULL"), "B": ("NULL", "deleted"), "C": ("refused", "NULL")}',
                "makes no difference",
            ),
            Wrong('answer = ["deleted", "NULL", "refused"]', "should be a dictionary"),
            Wrong(
                'answer = {"A": "deleted", "B": "NULL", "C": "refused"}',
                "needs two words",
            ),
        ),
    ),
    Exercise(
        id="09-levels",
        judge=_levels,
        hints=(
            "Go down level by level. Of each list ask: was it read, or not?",
            "The Session deletes what is in a list that was read. `passive_deletes=True` leaves every other list to "
            "the rule of the table.",
            "All three posts are in the list that was read. Of the three lists of comments, one was read.",
        ),
        code="""answer = {"posts": (3, 0), "comments": (2, 4)}""",
        reason="The preview said so, and the delete did it: the Session follows the lists that were read, and for the "
        "rest the rule of the table is followed when the posts go. All rows go either way.",
        wrong=(
            Wrong(
                'answer = {"posts": (0, 3), "comments": (2, 4)}',
                "is the business of the Session",
            ),
            Wrong(
                'answer = {"posts": (3, 0), "comments": (0, 6)}',
                "the comments of the first post were read",
            ),
            Wrong(
                'answer = {"posts": (3, 0), "comments": (6, 0)}',
                "the comments of two posts were not read",
            ),
            Wrong(
                'answer = {"posts": (1, 0), "comments": (2, 0)}',
                "3 rows of posts go in all",
            ),
            Wrong('answer = {"posts": 3, "comments": 6}', "needs two whole numbers"),
            Wrong("answer = (3, 0), (2, 4)", "should be a dictionary"),
        ),
    ),
    Exercise(
        id="09-choose",
        judge=_choose,
        hints=(
            "One statement means that the Session does nothing but delete the user. Who sets the keys to NULL?",
            "The rule for the database stands in `ForeignKey`, and the key has to accept NULL.",
            '`ondelete="SET NULL"` at the key, which is `Mapped[int | None]`, and `passive_deletes="all"` at '
            "`User.posts`.",
        ),
        code=mapping(
            'back_populates="user", passive_deletes="all"', _SET_NULL, "int | None"
        ),
        reason='With `"all"` the Session never touches the posts; the database sets their keys to NULL.',
        wrong=(
            Wrong(mapping(kind="int | None"), "although the database could do it"),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes=True',
                    _SET_NULL,
                    "int | None",
                ),
                "somebody has read",
            ),
            Wrong(
                mapping('back_populates="user", passive_deletes="all"', _SET_NULL),
                "forbids NULL",
            ),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes="all"', kind="int | None"
                ),
                "has no rule",
            ),
            Wrong(
                mapping(
                    'back_populates="user", passive_deletes="all"',
                    'ForeignKey("users.id", ondelete="CASCADE")',
                    "int | None",
                ),
                "they should stay",
            ),
            Wrong(
                mapping(
                    'back_populates="user", cascade="all, delete-orphan", passive_deletes="all"',
                    _SET_NULL,
                    "int | None",
                ),
                "can't set passive_deletes='all'",
            ),
            Wrong(
                f"{BASE}class User(UserColumns, Blog):\n    pass\n\n\nanswer = Blog",
                '"posts"',
            ),
        ),
    ),
    Exercise(
        id="09-bulk",
        judge=_bulk,
        hints=(
            "Which rows keep the database from deleting the users?",
            "The children first: `delete(blog.Post).where(...)`. Their condition needs the ids of the users, which "
            "a `select(...)` inside `in_(...)` can give.",
            "`ids = select(blog.User.id).where(blog.User.name.in_(names))`, then "
            "`delete(blog.Post).where(blog.Post.user_id.in_(ids))`, then the users, then the commit.",
        ),
        code=_BULK.format(_IDS + _POSTS + _USERS),
        reason='Children first, in one transaction. With `ondelete="CASCADE"` the second statement alone '
        "would do.",
        wrong=(
            Wrong(_BULK.format(_USERS), "what has to go first?"),
            Wrong(
                _BULK.format("session.execute(delete(blog.Post))\n    " + _USERS),
                "the first delete needs a condition",
            ),
            Wrong(
                _BULK.format(_IDS + _POSTS + _USERS).replace("commit", "flush"),
                "for another Session nothing",
            ),
            Wrong(_BULK.format(_IDS + _POSTS.rstrip()), "their users are still there"),
            Wrong(
                _BULK.format(
                    "query = select(blog.User).where(blog.User.name.in_(names))\n"
                    "    for user in session.scalars(query).all():\n"
                    "        for post in user.posts:\n"
                    "            session.delete(post)\n"
                    "        session.delete(user)"
                ),
                "instead of a loop",
            ),
            Wrong(
                _BULK.format(
                    "query = select(blog.User).where(blog.User.name.in_(names))\n"
                    "    query = query.options(selectinload(blog.User.posts))\n"
                    "    for user in session.scalars(query).all():\n"
                    "        for post in user.posts:\n"
                    "            session.delete(post)\n"
                    "        session.delete(user)"
                ).replace(
                    "def ", "from sqlalchemy.orm import selectinload\n\n\ndef ", 1
                ),
                "were read as objects",
            ),
            Wrong(
                _BULK.format(
                    "query = select(blog.User).where(blog.User.name.in_(names))\n"
                    "    for user in session.scalars(query).all():\n"
                    "        session.delete(user)"
                ),
                "tried to set the keys",
            ),
        ),
    ),
    Exercise(
        id="09-hide",
        judge=_hide,
        hints=(
            "Which option adds a condition wherever a class is used in a query?",
            "`state.statement` is the statement; `.options(...)` does not change it but gives a new one.",
            "`if state.is_select:`, and then `state.statement = state.statement.options(with_loader_criteria(User, "
            "User.closed.is_(False)))`.",
        ),
        code=_HIDE.format(_PUT_BACK),
        reason="The option puts the condition wherever users appear, and nothing else is touched.",
        wrong=(
            Wrong(
                _HIDE.format("state.statement.options(open_only)"),
                "still lists a closed user",
            ),
            Wrong(
                _HIDE.format(_PUT_BACK).replace("is_(False)", "is_(True)"),
                "turn the condition round",
            ),
            Wrong(
                """def hide_closed(state, User):
    if state.is_select:
        state.statement = state.statement.where(User.closed.is_(False))
""",
                "brings users into every query",
            ),
            Wrong(
                _HIDE.format(_PUT_BACK).replace("state.is_select", "True"),
                "none can be opened again",
            ),
            Wrong(
                _HIDE.format("return state.statement.options(open_only)"),
                "nobody takes it",
            ),
        ),
    ),
]
