"""Steps of lesson 16: User and Post from nothing, each step checked by itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date
from typing import Any

import sqlalchemy
from sqlalchemy import Date, Executable, String, select
from sqlalchemy.exc import (
    IntegrityError,
    InvalidRequestError,
    NoResultFound,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import UnmappedInstanceError

from ..check import (
    Exercise,
    NotYet,
    Unjudged,
    Wrong,
    expect,
    mapped_class,
    playground,
)
from ..database import private_engine
from ..errors import explain
from ._blog import cascading, delete_mira, keyed, linked, sent

TITLE = "Build a blog"
EARNED = "I have mapped two tables from nothing, linked both sides, and saved, read, moved, deleted and counted rows."

_NOT_KEPT = "nothing made the change permanent; `session.commit()` is missing, stands too early, or has no parentheses"
_OWN_DATABASE = (
    "your function names `engine`, which leads to your own database; use the `{}` that it is given, and the check can "
    "lend it another one"
)
_ROOM = 8  # more than the longest text that a step or its check stores


# --- step 1


def _models(base: Any) -> None:
    found = {"users": "User", "posts": "Post"}
    for table, name in found.items():
        cls = mapped_class(base, table)
        expect(
            cls.__name__ == name,
            f"the class of `{table}` is called `{cls.__name__}`; the next steps ask for `{name}`",
        )
    user, post = mapped_class(base, "users"), mapped_class(base, "posts")
    for cls, wanted in ((user, ("name",)), (post, ("title", "published"))):
        columns = cls.__table__.columns.keys()
        for name in wanted:
            expect(
                name in columns,
                f"the table `{cls.__tablename__}` has no column `{name}` yet; it has {', '.join(columns)}",
            )
    expect(
        isinstance(post.__table__.columns["published"].type, Date),
        "`posts.published` is no date; use `Mapped[date]`",
    )
    for cls, name, truth in (
        (user, "name", "every user has a name"),
        (post, "title", "every post has a title"),
        (post, "published", "every post has a date"),
    ):
        _holds(cls.__table__.columns[name], truth)
    _key_named(post)
    keyed(base)
    for cls, known in ((user, {"name"}), (post, {"title", "published", "user_id"})):
        for column in cls.__table__.columns:
            filled = (column.nullable, column.default, column.server_default)
            expect(
                column.name in known
                or column.primary_key
                or filled != (False, None, None),
                f"`{cls.__tablename__}` requires a value for `{column.name}`, and the next steps give none; let it "
                "be None, or leave it out",
            )
    cascading(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post has a user; use `Mapped[int]`",
    )
    _rule(base)
    try:
        with playground(base, user(name="mira"), user(name="mira")):
            pass
    except IntegrityError:
        return
    raise NotYet(
        "two users with the same name were accepted, and later steps find a user by name; add `unique=True`"
    )


def _key_named(post: Any) -> None:
    keys = {key.parent.name for key in post.__table__.foreign_keys}
    expect(
        not keys or "user_id" in post.__table__.columns,
        f'the key of `posts` is called `{", ".join(sorted(keys))}`; in the tables of "The question" it is `user_id`',
    )


def _holds(column: Any, truth: str) -> None:
    """Does the column take every value that its table may get, and no NULL?"""
    expect(
        not column.nullable,
        f"`{column}` accepts NULL, but {truth}; write `Mapped[...]` without `| None`, and no `nullable=True`",
    )
    expect(
        not column.unique or column.name == "name",
        f"`{column}` is unique, but two posts may have the same {column.name}; leave `unique=True` out",
    )
    if column.name == "published":
        return
    expect(isinstance(column.type, String), f"`{column}` is no text; use `Mapped[str]`")
    length = column.type.length
    expect(
        length is None or length >= _ROOM,
        f"`{column}` has room for {length} characters only; give it more, as in `String(40)`, or leave the length out",
    )


def _rule(base: Any) -> None:
    """Are the posts deleted with their user, by the Session or by the database, or NotYet."""
    post = mapped_class(base, "posts")
    key = next(iter(post.__table__.columns["user_id"].foreign_keys))
    by_database = (key.ondelete or "").upper() == "CASCADE"
    expect(
        by_database or not key.ondelete,
        f'the key says `ondelete="{key.ondelete}"`, but posts go with their user; write `ondelete="CASCADE"`',
    )
    for loaded in (False, True):
        statements, left, refused = delete_mira(base, loaded=loaded)
        updated = any(s.startswith("UPDATE posts") for s in statements)
        if refused is not None and updated and loaded:
            raise NotYet(
                "a user cannot be deleted once `user.posts` was read: the Session still tries to set the keys to NULL; "
                "`cascade` is missing at the list"
            )
        expect(
            refused is None or not updated or by_database,
            "a user who has posts cannot be deleted: the Session tries to set `posts.user_id` to NULL; the list, "
            "the one side, must say that posts go with their user",
        )
        expect(
            refused is None or not updated,
            "the key has its `ondelete`, but the Session knows nothing of it and tries to set the keys to NULL; the "
            "list needs `cascade` and `passive_deletes=True`",
        )
        expect(
            refused is None,
            "the list relies on a rule of the database (`passive_deletes`), and the key has none; add "
            '`ondelete="CASCADE"` to `ForeignKey`',
        )
        expect(set(left) == {"A bread"}, "posts of a deleted user are left")
    statements, *_ = delete_mira(base, loaded=False)
    if any("posts" in s.split() for s in statements):
        expect(
            by_database,
            "posts that nobody read are read only to be deleted; let the database delete them: "
            '`ondelete="CASCADE"` at the key, and `passive_deletes=True` at the list',
        )
        raise NotYet(
            "the database has its rule, and the Session still reads the posts only to delete them; the list lacks "
            "`passive_deletes=True`"
        )


# --- what the other steps share


def _own(answer: Any, name: str, *values: str) -> tuple[Any, Any, Any]:
    """Base, User and Post of step 1, as the learner's function sees them, or NotYet, or Unjudged."""
    expect(
        inspect.isfunction(answer),
        f"the answer should be the function `{name}`, without parentheses",
    )
    try:
        inspect.signature(answer).bind(*values)
    except TypeError:
        raise NotYet(
            f"the function should take {len(values)} value{'s' if len(values) > 1 else ''}: "
            f"`def {name}({', '.join(values)})`"
        ) from None
    try:
        return _classes(answer.__globals__)
    except NotYet as reason:
        raise Unjudged(str(reason)) from None
    except SQLAlchemyError as error:
        raise Unjudged(f"step 1 is not finished: {explain(error)}") from None


def _classes(names: dict[str, Any]) -> tuple[Any, Any, Any]:
    base = names.get("Base")
    registry = getattr(base, "registry", None)
    expect(
        registry is not None,
        "step 1 has no `Base` yet; run the cell of step 1 first",
    )
    tables = {getattr(mapper.local_table, "name", "") for mapper in registry.mappers}
    for table, cls in (("users", "User"), ("posts", "Post")):
        expect(
            table in tables,
            f"step 1 has no class `{cls}` yet; finish it and run its cell, then this one",
        )
    try:
        user, post = linked(base)
    except NotYet as reason:
        raise NotYet(f"step 1 is not finished: {reason}") from None
    for cls in (user, post):
        expect(
            names.get(cls.__name__) is cls,
            f"`{cls.__name__}` is not the class of your `Base`; run the cell of step 1 again",
        )
    return base, user, post


def _call(answer: Callable, session: Session, *values: Any) -> Any:
    """Call the learner's function; errors that are likely become reasons."""
    names = answer.__code__.co_names
    expect("engine" not in names, _OWN_DATABASE.format("session"))
    called = f"{answer.__name__}(session{''.join(f', {value!r}' for value in values)})"
    try:
        return answer(session, *values)
    except NoResultFound:
        raise NotYet(
            f"`{called}` ended with NoResultFound: nothing has that name or title; `session.scalar(...)` gives None "
            "instead of an error"
        ) from None
    except UnmappedInstanceError as error:
        given = "None" if "NoneType" in str(error) else "a text"
        raise NotYet(
            f"`{called}` gave {given} to the Session where an object belongs; read the user first, and ask whether "
            "there is one"
        ) from None
    except AttributeError as error:
        said = str(error)
        expect(
            "_sa_instance_state" not in said,
            "a text stands where an object belongs (`_sa_instance_state`); a relationship takes a `User` or a `Post`",
        )
        expect(
            "NoneType" not in said,
            f"`{called}` ended with AttributeError: {said}; ask `is None` before you use what was found",
        )
        raise
    except TypeError as error:
        expect(
            "positional argument" not in str(error),
            "an object is made with keywords, as in `Post(title=title, published=published)`",
        )
        raise


def _posts(session: Session, user: Any, post: Any) -> list[tuple]:
    query = select(user.name, post.title, post.published, post.id).join(post.user)
    return [tuple(row) for row in session.execute(query.order_by(post.id))]


def _names(session: Session, user: Any) -> list[str]:
    return sorted(session.scalars(select(user.name)))


def _kept(session: Session, user: Any, post: Any) -> tuple[list[str], list[tuple]]:
    """Names and posts that a new transaction finds; NotYet where something was undone."""
    try:
        sent = _names(session, user), _posts(session, user, post)
    except IntegrityError as error:
        _explain_missing(error)
        raise
    session.rollback()
    session.expunge_all()
    kept = _names(session, user), _posts(session, user, post)
    expect(sent == kept, _NOT_KEPT)
    return kept


def _explain_missing(error: IntegrityError) -> None:
    said = str(error.orig).partition("\n")[0]
    expect(
        "user_id" not in said,
        "a post went out without a user; `user.id` is None until the flush, so append the post to the list, and "
        "leave the number alone",
    )
    expect(
        "published" not in said,
        "a post has no date; make it with `published=published`",
    )


def _blog(user: Any, post: Any) -> list[Any]:
    """mira has three posts that are not saved in the order of their dates, olaf two, pia none."""
    days = {
        "mira": {"Thaw": 9, "Snow": 2, "Ice": 5},
        "olaf": {"Bread": 3, "Salt": 7},
        "pia": {},
    }
    people = []
    for name, titles in days.items():
        someone = user(name=name)
        for title, day in titles.items():
            someone.posts.append(post(title=title, published=date(2026, 2, day)))
        people += [someone, *someone.posts]
    return people


def _returned_list(found: Any, what: str) -> list:
    expect(found is not None, "your function returned None; is there a `return`?")
    send = "execute" if what == "pairs" else "scalars"
    expect(
        not isinstance(found, Executable),
        f"your function returned a statement that nobody sent; `session.{send}(...)` sends it, and `.all()` makes a "
        "list of the result",
    )
    expect(
        isinstance(found, list | tuple),
        f"the function should return a list, and yours returned a {type(found).__name__}"
        + ("; `.all()` makes a list" if hasattr(found, "all") else ""),
    )
    for item in found:
        expect(
            isinstance(item, str) or what != "titles",
            f"the list should hold titles, and yours holds {_a(item)}; take `post.title`, or select `Post.title` "
            "with `scalars`",
        )
    return list(found)


def _a(item: Any) -> str:
    name = type(item).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name} object"


# --- steps 2 to 8


def _tables(answer: Any) -> None:
    base, user, _ = _own(answer, "make_tables", "engine")
    names = answer.__code__.co_names
    expect(
        "create_engine" not in names,
        "your function makes an engine of its own; the tables belong into the database of the `engine` that it is "
        "given",
    )
    expect("engine" not in names, _OWN_DATABASE.format(answer.__code__.co_varnames[0]))
    with private_engine() as engine:

        def make() -> set[str]:
            try:
                answer(engine)
            except AttributeError as error:
                expect(
                    "create_all" not in str(error),
                    "`create_all` belongs to the list of tables: `Base.metadata.create_all(...)`",
                )
                raise
            except TypeError as error:
                expect(
                    "bind" not in str(error),
                    "`create_all()` needs to know where; give it the engine",
                )
                raise
            return set(sqlalchemy.inspect(engine).get_table_names())

        there = make()
        expect(
            there or "create_all" not in names,
            "no table was made; `create_all` is named, but is it called, with parentheses?",
        )
        expect(there, "no table was made; which call makes all tables of a `Base`?")
        for table in ("users", "posts"):
            expect(
                table in there,
                f"the table `{table}` was not made; `Base.metadata` knows all of them",
            )
        with Session(engine) as session:
            session.add(user(name="mira"))
            session.commit()
        make()
        with Session(engine) as session:
            expect(
                _names(session, user) == ["mira"],
                "a second call threw the rows away; make only what is missing, and leave `drop_all` out",
            )


def _add(answer: Any) -> None:
    base, user, post = _own(answer, "add_user", "session", "name", "posts")
    pairs = [("Rain", date(2026, 3, 1)), ("Wind", date(2026, 3, 2))]
    with playground(base, *_blog(user, post)) as session:
        for name, given in (("rosa", pairs), ("sven", [])):
            try:
                _call(answer, session, name, given)
            except IntegrityError as error:
                _explain_missing(error)
                raise
        names, posts = _kept(session, user, post)
    expect(
        "rosa" in names,
        "the new user is not in the database; what brings a new object into the Session?",
    )
    expect(
        "sven" in names,
        "a user with posts was saved, and one without posts was not; what stands in the loop over the posts never runs "
        "for an empty list, so add the user outside of it",
    )
    expect(
        names == ["mira", "olaf", "pia", "rosa", "sven"],
        f"there should be one new user for each call; the users are {', '.join(names)}",
    )
    mine = sorted((title, day) for name, title, day, _ in posts if name == "rosa")
    expect(
        mine or "Post" in answer.__code__.co_names,
        "the user is there, without posts; make a `Post` for each pair, and append it to `user.posts`",
    )
    expect(
        mine,
        "the user is there and the posts are lost: setting `user=` does not bring a post into the Session; append "
        "it to `user.posts`",
    )
    expect(
        mine == pairs,
        f"the posts should be {pairs[0][0]} of {pairs[0][1]} and {pairs[1][0]} of {pairs[1][1]}, and they are "
        + " and ".join(f"{title} of {day}" for title, day in mine),
    )
    expect(len(posts) == 7, "posts of other users were changed; leave them alone")


def _titles(answer: Any) -> None:
    base, user, post = _own(answer, "titles_of", "session", "name")
    with playground(base, *_blog(user, post)) as session:
        found = _returned_list(_call(answer, session, "mira"), "titles")
        expect(
            "Bread" not in found,
            "titles of other users are among them; keep the posts of this user only, with a join and a condition",
        )
        expect(
            sorted(found) == ["Ice", "Snow", "Thaw"],
            f"mira's titles are Snow, Ice and Thaw, and your function returned {', '.join(found) or 'none'}",
        )
        expect(
            found == ["Snow", "Ice", "Thaw"],
            "the titles are right but not in the order of their dates, oldest first",
        )
        for name, whose in (
            ("pia", "a user without posts"),
            ("nobody", "a name that nobody has"),
        ):
            found = _call(answer, session, name)
            expect(
                found is not None,
                f"for {whose} your function returned None; return an empty list, `[]`",
            )
            found = _returned_list(found, "titles")
            expect(
                found == [],
                f"for {whose} an empty list should come back, and yours was {found!r}",
            )


def _list(answer: Any) -> None:
    base, user, post = _own(answer, "list_posts", "session")
    with playground(base, *_blog(user, post)) as session, sent(session) as statements:
        found = _returned_list(_call(answer, session), "posts")
        inside = len(statements)
        for item in found:
            expect(
                isinstance(item, post),
                f"the list should hold `Post` objects, and yours holds {_a(item)}",
            )
        forgotten = any(sqlalchemy.inspect(item).expired for item in found)
        authors = [item.user.name for item in found]
        more = len(statements) - inside
        titles = [item.title for item in found]
    wanted = ["Thaw", "Salt", "Ice", "Bread", "Snow"]
    expect(
        sorted(titles) == sorted(wanted),
        f"each post should come once, and your list is {', '.join(titles) or 'empty'}",
    )
    expect(
        titles == wanted,
        "the posts are all there but not in the order asked for: the newest first",
    )
    expect(
        not forgotten,
        "the Session forgot what it had loaded, and reads each post again: a commit or a rollback does that (lesson "
        '06, "What a commit forgets"); leave it out, reading needs none',
    )
    expect(
        not more or "join" not in answer.__code__.co_names,
        f"a `join` joins and loads nothing: reading the user of each post sent {more} more statements; load them "
        "with `options(joinedload(Post.user))`",
    )
    expect(
        not more,
        f"reading the user of each post sent {more} more statements, one for each user (N+1); load the users "
        "together with the posts",
    )
    expect(
        inside <= 2,
        f"your function sent {inside} statements for 5 posts, because its loop reads the users one by one; let the "
        "first statement load them",
    )
    expect(authors == ["mira", "olaf", "mira", "olaf", "mira"], "an author is wrong")


def _move(answer: Any) -> None:
    base, user, post = _own(answer, "move_post", "session", "title", "name")
    with playground(base, *_blog(user, post)) as session:
        before = _posts(session, user, post)
        session.rollback()
        try:
            first = _call(answer, session, "Ice", "olaf")
            names, posts = _kept(session, user, post)
        except IntegrityError as error:
            expect(
                not str(error.statement).startswith("UPDATE users"),
                "your function tried to change the name of a user; the post gets another user, and users stay as "
                "they are",
            )
            raise
        except InvalidRequestError as error:
            expect(
                "has been deleted" not in str(error),
                "the post was taken out of the old list, and a query sent its DELETE before the new list had it: lesson "
                '08, "A query in between"; leave `remove` out',
            )
            raise
        expect(
            names == ["mira", "olaf", "pia"],
            f"the users should stay as they are, and now they are {', '.join(names)}",
        )
        owner = {title: name for name, title, *_ in posts}
        ids = {title: id for _, title, _, id in posts}
        expect(
            "Ice" in owner,
            "the post is gone: it was without a user at a flush, and `delete-orphan` deleted it; give it the new "
            "user in one step",
        )
        expect(
            "Bread" in owner,
            "the posts that olaf had are gone: assigning to `posts` replaces the whole list; append to it",
        )
        expect(
            owner["Ice"] == "olaf",
            "the post still has its old user: `mira`, not `olaf`",
        )
        expect(
            len(posts) == len(before)
            and ids == {title: id for _, title, _, id in before},
            "the post is a new row now; no `Post(...)` is needed, the row that is there gets another user",
        )
        expect(
            sum(a[0] != b[0] for a, b in zip(before, posts, strict=True)) == 1,
            "other posts were moved as well; one post was asked for",
        )
        expect(
            first is True,
            f"the post was moved, and your function returned {first!r}, not True",
        )
        for title, name in (("Nothing", "olaf"), ("Snow", "nobody")):
            missing, asked = (
                ("post of that title", "post")
                if title == "Nothing"
                else ("user of that name", "user")
            )
            try:
                found = _call(answer, session, title, name)
            except IntegrityError:
                raise NotYet(
                    f"there is no {missing}, and your function gave None to the post; ask whether the {asked} `is None`"
                ) from None
            expect(
                _kept(session, user, post) == (names, posts),
                f"there is no {missing}, and rows were changed all the same; ask whether the {asked} `is None`",
            )
            expect(
                found is False,
                f"there is no {missing}, and your function returned {found!r}, not False",
            )


def _delete(answer: Any) -> None:
    base, user, post = _own(answer, "delete_user", "session", "name")
    for loaded in (False, True):
        with playground(base, *_blog(user, post)) as session:
            if loaded:
                held = session.scalars(select(user).where(user.name == "mira")).one()
                len(held.posts)
            try:
                found = _call(answer, session, "mira")
                names, posts = _kept(session, user, post)
            except IntegrityError:
                when = "had been read" if loaded else "had not been read"
                raise NotYet(
                    f"the database refused the delete of a user whose posts {when}; step 1 decides that, so run its "
                    "check again"
                ) from None
            expect(
                "mira" not in names,
                "the user is still there; what marks an object for deletion?",
            )
            expect(
                names == ["olaf", "pia"],
                "users of another name are gone as well; delete the one user of that name",
            )
            expect(
                sorted(title for _, title, *_ in posts) == ["Bread", "Salt"],
                "posts of another user are gone as well",
            )
            expect(
                found is True,
                f"the user was deleted, and your function returned {found!r}, not True",
            )
            found = _call(answer, session, "nobody")
            expect(
                found is False,
                f"there is no user of that name, and your function returned {found!r}, not False",
            )
            expect(
                _kept(session, user, post) == (names, posts),
                "there is no user of that name, and rows were changed all the same",
            )


def _counts(answer: Any) -> None:
    base, user, post = _own(answer, "count_posts", "session")
    people = [*_blog(user, post), user(name="ada")]
    with playground(base, *people) as session, sent(session) as statements:
        found = _call(answer, session)
        expect(
            not isinstance(found, dict),
            "your function returned a dict; return a list of pairs, so that the order is kept and can be asked for",
        )
        found = _returned_list(found, "pairs")
    try:
        for name, _ in found:
            expect(
                isinstance(name, str),
                f"each pair should begin with a name, and yours begins with {_a(name)}; take `User.name`",
            )
        pairs = [(name, int(number)) for name, number in found]
    except (TypeError, ValueError):
        raise NotYet(
            "each item should be a pair of a name and a number, such as `('ada', 3)`"
        ) from None
    names = [name for name, _ in pairs]
    expect(
        {"mira", "olaf"} <= set(names) and len(names) == len(set(names)),
        f"each user should come once, and the names were {', '.join(names) or 'none'}; what makes the groups?",
    )
    expect(
        {"pia", "ada"} <= set(names) or not any("OUTER JOIN" in s for s in statements),
        "the outer join keeps the wrong side: it keeps every post, and loses a user without one; begin with `User`, "
        "and write `outerjoin(User.posts)`",
    )
    expect(
        {"pia", "ada"} <= set(names),
        "users without posts are missing; an inner join loses a parent that has no child",
    )
    counts = dict(pairs)
    expect(
        set(counts.values()) != {5},
        "every user got the 5 posts of all users, because nothing joins the two tables; what keeps a post with its user?",
    )
    expect(
        counts["pia"] == 0,
        f"pia has no post, and your function counted {counts['pia']}; count a column of the child, not the rows",
    )
    expect(
        counts == {"mira": 3, "olaf": 2, "pia": 0, "ada": 0},
        f"mira has 3 posts and olaf 2, and your function counted {counts['mira']} and {counts['olaf']}",
    )
    expect(
        len(statements) <= 2,
        f"the numbers are right, and your function sent {len(statements)} statements for 4 users (N+1); let the "
        "database count, or load all lists together",
    )
    expect(
        names == ["mira", "olaf", "ada", "pia"],
        "the numbers are right; the most posts should come first, and equal numbers in the order of the names",
    )


# --- the solutions

_USER = """class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    posts: Mapped[list["Post"]] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True
    )

    def __repr__(self):
        return f"User({self.name!r})"
"""

_KEY = """    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
"""

_POST = f"""class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(120))
    published: Mapped[date]
{_KEY}    user: Mapped["User"] = relationship(back_populates="posts")

    def __repr__(self):
        return f"Post({{self.title!r}})"
"""

_BASE = """class Base(DeclarativeBase):
    pass


"""
_MODELS = f"{_BASE}{_USER}\n\n{_POST}"


def _wrong_models(says: str, *changed: tuple[str, str]) -> Wrong:
    """The solution of step 1 with pieces of it replaced."""
    code = _MODELS
    for old, new in changed:
        assert old in code
        code = code.replace(old, new)
    return Wrong(code, says)


def _step(
    id: str,
    title: str,
    judge: Callable[[Any], None],
    piece: str,
    reason: str,
    hints: tuple[str, ...],
    wrong: dict[str, str],
) -> Exercise:
    """A step that stands on the classes of step 1; the first wrong answer is without them."""
    return Exercise(
        id=id,
        judge=judge,
        hints=hints,
        code=f"{_MODELS}\n\n{piece}",
        reason=reason,
        wrong=(
            Wrong(piece, "step 1 has no Base yet"),
            *(
                Wrong(code if code.startswith(_BASE) else f"{_MODELS}\n\n{code}", says)
                for says, code in wrong.items()
            ),
        ),
        title=title,
        after=("16-models",),
        piece=piece,
    )


_ADD = """def add_user(session, name, posts):
    user = User(name=name)
    for title, published in posts:
        user.posts.append(Post(title=title, published=published))
    session.add(user)
    session.commit()
"""

_TITLES = """def titles_of(session, name):
    query = select(Post.title).join(Post.user).where(User.name == name)
    return session.scalars(query.order_by(Post.published)).all()
"""

_LIST = """def list_posts(session):
    query = select(Post).options(joinedload(Post.user))
    return session.scalars(query.order_by(Post.published.desc())).all()
"""

_MOVE = """def move_post(session, title, name):
    post = session.scalar(select(Post).where(Post.title == title))
    user = session.scalar(select(User).where(User.name == name))
    if post is None or user is None:
        return False
    post.user = user
    session.commit()
    return True
"""

_DELETE = """def delete_user(session, name):
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        return False
    session.delete(user)
    session.commit()
    return True
"""

_COUNTS = """def count_posts(session):
    number = func.count(Post.id)
    query = select(User.name, number).outerjoin(User.posts).group_by(User.id)
    return session.execute(query.order_by(number.desc(), User.name)).all()
"""

EXERCISES = [
    Exercise(
        id="16-models",
        judge=_models,
        title="Step 1: two classes, linked, with a rule for deleting",
        hints=(
            "Write the columns first, then the key in `Post`, then one relationship in each class; run the cell after "
            "each. The reply names what is missing next.",
            'In `Post`: `user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))`, and '
            '`user: Mapped["User"] = relationship(back_populates="posts")`. `ondelete` is a word of `ForeignKey`; in '
            "`relationship` it is a TypeError.",
            'In `User`: `posts: Mapped[list["Post"]] = relationship(back_populates="user", '
            'cascade="all, delete-orphan", passive_deletes=True)`; and `unique=True` for the name.',
        ),
        code=_MODELS,
        reason="The many side holds the key and the database's rule, the one side holds the list and the Session's "
        "rule. `__repr__`, the lengths and `index=True` are good habits that the check does not ask for.",
        wrong=(
            Wrong(f"{_BASE}{_USER}", '"posts"'),
            _wrong_models(
                "is called Author",
                ("class User(", "class Author("),
                ('Mapped["User"]', 'Mapped["Author"]'),
            ),
            _wrong_models("no column published", ("    published: Mapped[date]\n", "")),
            _wrong_models(
                "let it be None",
                ("    published:", "    text: Mapped[str]\n    published:"),
            ),
            _wrong_models("is no date", ("Mapped[date]", "Mapped[str]")),
            _wrong_models(
                "has no column user_id",
                (_KEY, ""),
            ),
            _wrong_models(
                "add ForeignKey(...)",
                ('ForeignKey("users.id", ondelete="CASCADE"), index', "index"),
            ),
            _wrong_models('points at "User.id"', ('"users.id"', '"User.id"')),
            _wrong_models(
                "leads to one object", ('Mapped[list["Post"]]', 'Mapped["Post"]')
            ),
            _wrong_models(
                "post.user is still None",
                ('back_populates="user", ', ""),
                ('back_populates="posts"', ""),
            ),
            _wrong_models(
                "Post has no relationship called user",
                ('back_populates="user", ', ""),
                (
                    '    user: Mapped["User"] = relationship(back_populates="posts")\n',
                    "",
                ),
            ),
            _wrong_models(
                "on the many side",
                (', cascade="all, delete-orphan"', ""),
                (
                    'back_populates="posts"',
                    'back_populates="posts", cascade="all, delete"',
                ),
            ),
            _wrong_models(
                "every post has a user",
                ("user_id: Mapped[int]", "user_id: Mapped[int | None]"),
            ),
            _wrong_models(
                "must say that posts go with their user",
                (', cascade="all, delete-orphan", passive_deletes=True', ""),
                (', ondelete="CASCADE"', ""),
            ),
            _wrong_models(
                "let the database delete them",
                (", passive_deletes=True", ""),
                (', ondelete="CASCADE"', ""),
            ),
            _wrong_models("the list lacks", (", passive_deletes=True", "")),
            _wrong_models(
                "relies on a rule of the database", (', ondelete="CASCADE"', "")
            ),
            _wrong_models(
                "once user.posts was read", (', cascade="all, delete-orphan"', "")
            ),
            _wrong_models(
                "the Session knows nothing of it",
                (', cascade="all, delete-orphan", passive_deletes=True', ""),
            ),
            _wrong_models("add unique=True", (", unique=True", "")),
            Wrong(
                _MODELS.replace(_KEY, "").replace(
                    "    posts:",
                    '    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))\n    posts:',
                ),
                "users holds a foreign key",
            ),
            _wrong_models("is called author_id", ("user_id:", "author_id:")),
            _wrong_models(
                "every post has a date", ("Mapped[date]", "Mapped[date | None]")
            ),
            _wrong_models(
                "every post has a title",
                ("title: Mapped[str]", "title: Mapped[str | None]"),
            ),
            _wrong_models(
                "every user has a name",
                ("name: Mapped[str]", "name: Mapped[str | None]"),
            ),
            _wrong_models("room for 4 characters", ("String(120)", "String(4)")),
            _wrong_models(
                "is no text",
                (
                    "title: Mapped[str] = mapped_column(String(120))",
                    "title: Mapped[int]",
                ),
            ),
            _wrong_models(
                "may have the same title", ("String(120)", "String(120), unique=True")
            ),
            _wrong_models(
                'says ondelete="SET NULL"',
                ('ondelete="CASCADE"', 'ondelete="SET NULL"'),
            ),
        ),
    ),
    _step(
        "16-tables",
        "Step 2: the tables in the database",
        _tables,
        "def make_tables(engine):\n    Base.metadata.create_all(engine)\n",
        "`create_all` makes the tables that are missing, parents first, and leaves all others alone.",
        (
            "`Base` keeps a list of its tables. Under which name?",
            "The list is `Base.metadata`; lesson 02 makes everything in it with one call.",
            "`Base.metadata.create_all(engine)`.",
        ),
        {
            "with parentheses?": "def make_tables(engine):\n    Base.metadata.create_all\n",
            "needs to know where": "def make_tables(engine):\n    Base.metadata.create_all()\n",
            "belongs to the list of tables": "def make_tables(engine):\n    Base.create_all(engine)\n",
            "threw the rows away": "def make_tables(engine):\n    Base.metadata.drop_all(engine)\n"
            "    Base.metadata.create_all(engine)\n",
            "table posts was not made": "def make_tables(engine):\n    User.__table__.create(engine, checkfirst=True)\n",
            "makes an engine of its own": "from sqlalchemy import create_engine\n\n\ndef make_tables(engine):\n"
            '    Base.metadata.create_all(create_engine("sqlite://"))\n',
            "should take 1 value": "def make_tables():\n    Base.metadata.create_all(engine)\n",
            "names engine": "def make_tables(e):\n    Base.metadata.create_all(engine)\n",
        },
    ),
    _step(
        "16-add",
        "Step 3: a user with posts, saved through the list",
        _add,
        _ADD,
        "The save-update cascade takes along the posts that are in the list, so nobody has to copy a key. (`flush` "
        "first, then `user_id=user.id`, is right as well: it copies the key by hand.)",
        (
            "Make the user, fill the list of the user, add one object, commit.",
            "A loop over pairs is `for title, published in posts:`. Which list takes the new post?",
            "`user.posts.append(Post(title=title, published=published))` in the loop; `session.add(user)` and "
            "`session.commit()` after it.",
        ),
        {
            "session.commit() is missing": _ADD.replace("    session.commit()\n", ""),
            "brings a new object into": _ADD.replace("    session.add(user)\n", ""),
            "one without posts was not": _ADD.replace(
                "    session.add(user)\n    session.commit()",
                "        session.add(user)\n        session.commit()",
            ),
            "make a Post for each pair": """def add_user(session, name, posts):
    session.add(User(name=name))
    session.commit()
""",
            "a text stands where": _ADD.replace(
                "Post(title=title, published=published)", "title"
            ),
            "does not bring a post": """def add_user(session, name, posts):
    user = User(name=name)
    session.add(user)
    for title, published in posts:
        Post(title=title, published=published, user=user)
    session.commit()
""",
            "None until the flush": """def add_user(session, name, posts):
    user = User(name=name)
    session.add(user)
    for title, published in posts:
        session.add(Post(title=title, published=published, user_id=user.id))
    session.commit()
""",
            "a post has no date": _ADD.replace(", published=published", ""),
            "made with keywords": _ADD.replace(
                "title=title, published=published", "title, published"
            ),
            "leads to your own database": """def add_user(session, name, posts):
    with Session(engine) as session:
        session.add(User(name=name, posts=[Post(title=t, published=p) for t, p in posts]))
        session.commit()
""",
        },
    ),
    _step(
        "16-titles",
        "Step 4: the titles of one user",
        _titles,
        _TITLES,
        "The name is in `users` and the titles are in `posts`, so the two are joined. A name that nobody has finds no "
        "row. (`user.posts`, sorted, is right as well, if nobody is found without an error.)",
        (
            "The titles are in one table and the name is in the other; what brings them together?",
            "`select(Post.title).join(Post.user)`, then a condition on the name and an order.",
            "`query = select(Post.title).join(Post.user).where(User.name == name).order_by(Post.published)`, then "
            "`return session.scalars(query).all()`.",
        ),
        {
            "step 1 is not finished: User has no relationship called posts": _BASE
            + 'class User(Base):\n    __tablename__ = "users"\n    id: Mapped[int] = mapped_column(primary_key=True)\n'
            + "    name: Mapped[str]\n\n\n"
            + _POST.replace('back_populates="posts"', "")
            + "\n\n"
            + _TITLES,
            "step 1 has no class Post yet": f"{_BASE}{_USER}\n\n{_TITLES}",
            "is there a return?": _TITLES.replace("    return session", "    session"),
            "returned a ScalarResult": _TITLES.replace(".all()", ""),
            "session.scalars(...) sends it": _TITLES.replace(
                "session.scalars(", ""
            ).replace(").all()", ""),
            "for a name that nobody has your function returned None": """def titles_of(session, name):
    user = session.scalar(select(User).where(User.name == name))
    if user is not None:
        return [post.title for post in sorted(user.posts, key=lambda p: p.published)]
""",
            "for a user without posts your function returned None": _TITLES.replace(
                ".all()", ".all() or None"
            ),
            "holds a Post object": _TITLES.replace(
                "select(Post.title)", "select(Post)"
            ),
            "holds a Row object": _TITLES.replace("session.scalars", "session.execute"),
            "titles of other users": _TITLES.replace(".join(Post.user)", ""),
            "oldest first": _TITLES.replace("query.order_by(Post.published)", "query"),
            "ended with NoResultFound": """def titles_of(session, name):
    user = session.scalars(select(User).where(User.name == name)).one()
    return [post.title for post in sorted(user.posts, key=lambda p: p.published)]
""",
            "ask is None before": """def titles_of(session, name):
    user = session.scalars(select(User).where(User.name == name)).first()
    return [post.title for post in sorted(user.posts, key=lambda p: p.published)]
""",
        },
    ),
    _step(
        "16-list",
        "Step 5: all posts with their users, without N+1",
        _list,
        _LIST,
        "Each post has one user, so `joinedload` brings both in one statement. `selectinload(Post.user)` needs two, "
        "which is right as well.",
        (
            "What sends a statement for each user: the SELECT of the posts, or reading `post.user`?",
            "A loader option goes into `.options(...)` of the statement; lesson 07 has a section on this direction.",
            "`select(Post).options(joinedload(Post.user)).order_by(Post.published.desc())`.",
        ),
        {
            "one for each user (N+1)": _LIST.replace(
                ".options(joinedload(Post.user))", ""
            ),
            "What a commit forgets": _LIST.replace("return", "posts =")
            + "    session.commit()\n    return posts\n",
            "joins and loads nothing": _LIST.replace(
                ".options(joinedload(Post.user))", ".join(Post.user)"
            ),
            "holds a User object": """def list_posts(session):
    return session.scalars(select(User).options(selectinload(User.posts))).all()
""",
            "the newest first": _LIST.replace(".desc()", ""),
            "holds a str object": _LIST.replace(
                "select(Post)", "select(Post.title)"
            ).replace(".options(joinedload(Post.user))", ""),
            "its loop reads the users": """def list_posts(session):
    posts = session.scalars(select(Post).order_by(Post.published.desc())).all()
    for post in posts:
        post.user.name
    return posts
""",
            "holds a Row object": _LIST.replace("session.scalars", "session.execute"),
        },
    ),
    _step(
        "16-move",
        "Step 6: a post moves to another user",
        _move,
        _MOVE,
        "One new value for `post.user` is an UPDATE of the key. The row stays, and `delete-orphan` has nothing to "
        "delete, because the post has a user at the flush.",
        (
            "Look up two objects. What if one of them is None?",
            'A post moves when it gets another user, in one step; see "Move a child" in lesson 08.',
            "`post.user = user`, then `session.commit()` and `return True`; before it, `return False` if one is None.",
        ),
        {
            "session.commit() is missing": _MOVE.replace("    session.commit()\n", ""),
            "a text stands where": _MOVE.replace(
                "post.user = user", "post.user = name"
            ),
            "change the name of a user": _MOVE.replace(
                "post.user = user", "post.user.name = name"
            ),
            "replaces the whole list": _MOVE.replace(
                "post.user = user", "user.posts = [post]"
            ),
            "was without a user at a flush": _MOVE.replace(
                "    post.user = user\n", "    post.user.posts.remove(post)\n"
            ),
            "A query in between": _MOVE.replace(
                "    post.user = user\n",
                "    post.user.posts.remove(post)\n    user.posts.append(post)\n",
            ),
            "gave None to the post": _MOVE.replace(" or user is None", ""),
            "rows were changed all the same; ask whether the user": _MOVE.replace(
                " or user is None", ""
            ).replace(
                "    post.user = user\n",
                "    post.user.posts\n    post.user = user\n",
            ),
            "is a new row now": _MOVE.replace(
                "    post.user = user\n",
                "    user.posts.append(Post(title=title, published=post.published))\n    session.delete(post)\n",
            ),
            "returned None, not True": _MOVE.replace("    return True\n", ""),
            "ended with NoResultFound": _MOVE.replace(
                "session.scalar(", "session.scalars("
            )
            .replace("== title))", "== title)).one()")
            .replace("== name))", "== name)).one()"),
            "ask is None before": """def move_post(session, title, name):
    post = session.scalar(select(Post).where(Post.title == title))
    user = session.scalar(select(User).where(User.name == name))
    post.user = user
    session.commit()
    return True
""",
        },
    ),
    _step(
        "16-delete",
        "Step 7: a user is deleted, posts and all",
        _delete,
        _DELETE,
        "The mapping of step 1 does the rest: the Session deletes posts that were read, the database all others.",
        (
            "One object is deleted. Which of your classes decides what becomes of the posts?",
            "Look the user up, and return False if there is none.",
            "`session.delete(user)`, then `session.commit()` and `return True`.",
        ),
        {
            "session.commit() is missing": _DELETE.replace(
                "    session.commit()\n", ""
            ),
            "gave a text to the Session": """def delete_user(session, name):
    session.delete(name)
    session.commit()
    return True
""",
            "gave None to the Session": """def delete_user(session, name):
    session.delete(session.scalar(select(User).where(User.name == name)))
    session.commit()
    return True
""",
            "what marks an object": _DELETE.replace("    session.delete(user)\n", ""),
            "users of another name": """def delete_user(session, name):
    for user in session.scalars(select(User)):
        session.delete(user)
    session.commit()
    return True
""",
            "returned None, not True": _DELETE.replace("    return True\n", ""),
            "step 1 decides that": _MODELS.replace(
                ', cascade="all, delete-orphan", passive_deletes=True', ""
            )
            + "\n\n"
            + _DELETE,
            "returned None, not False": _DELETE.replace(
                "        return False\n", "        return\n"
            ),
            "ended with NoResultFound": """def delete_user(session, name):
    user = session.scalars(select(User).where(User.name == name)).one()
    session.delete(user)
    session.commit()
    return True
""",
        },
    ),
    _step(
        "16-count",
        "Step 8: the number of posts of every user",
        _counts,
        _COUNTS,
        "An outer join keeps users without posts, and a count of `Post.id` gives them 0. (`len(user.posts)` is right "
        "as well, if all lists are loaded together; it reads every post to count it.)",
        (
            "Which users does a join lose?",
            "Four words: `outerjoin`, `group_by`, `func.count`, `order_by`.",
            "`number = func.count(Post.id)`, then `select(User.name, number).outerjoin(User.posts).group_by(User.id)`, "
            "ordered by `number.desc(), User.name`.",
        ),
        {
            "nothing joins the two tables": _COUNTS.replace(
                ".outerjoin(User.posts)", ""
            ),
            "keeps the wrong side": _COUNTS.replace("User.posts", "Post.user"),
            "begins with a User object": _COUNTS.replace(
                "User.name, number", "User, number"
            ),
            "session.execute(...) sends it": _COUNTS.replace(
                "session.execute(", ""
            ).replace(").all()", ""),
            "5 statements for 4 users": """def count_posts(session):
    pairs = [(user.name, len(user.posts)) for user in session.scalars(select(User))]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
""",
            "users without posts are missing": _COUNTS.replace("outerjoin", "join"),
            "not the rows": _COUNTS.replace("func.count(Post.id)", "func.count()"),
            "the most posts should come first": _COUNTS.replace("number.desc(), ", ""),
            "a pair of a name and a number": _COUNTS.replace(
                "select(User.name, number)", "select(User.name)"
            ),
            "returned a dict": """def count_posts(session):
    return {user.name: len(user.posts) for user in session.scalars(select(User))}
""",
        },
    ),
]
