"""Exercises of lesson 10: choose what holds a user's posts."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ForeignKey, event, select
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InvalidRequestError,
    ProgrammingError,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    WriteOnlyMapped,
    mapped_column,
    relationship,
)

from ..blog import PostColumns, UserColumns
from ..check import Exercise, Wrong, configured, expect, playground
from ._blog import BASE, keyed

_DAY = date(2026, 1, 5)


def _two(base: Any) -> tuple[Any, Any]:
    """User and Post with key and both relationships, linked, or NotYet."""
    user, post = keyed(base)
    try:
        configured(base)
    except ArgumentError as error:
        expect(
            "must elect an appender" not in str(error),
            "a dict must be told which attribute of a post is the key: "
            '`collection_class=orm.attribute_keyed_dict("...")`',
        )
        raise
    for cls, name in ((user, "posts"), (post, "user")):
        expect(
            name in cls.__mapper__.relationships,
            f"`{cls.__name__}` has no relationship called `{name}`",
        )
    expect(
        user.__mapper__.relationships["posts"].uselist,
        "`User.posts` leads to one object, but a user has many posts",
    )
    expect(
        post.__mapper__.relationships["user"]
        in user.__mapper__.relationships["posts"]._reverse_property,
        "`User.posts` and `Post.user` are not linked: `back_populates` belongs on both sides",
    )
    return user, post


def _by_title(base: Any) -> None:
    user, post = _two(base)
    expect(
        not post.__table__.columns["user_id"].nullable,
        "`posts.user_id` accepts NULL, but every post needs a user; use `Mapped[int]`",
    )
    ada = user(name="mira")
    held = ada.posts
    expect(
        hasattr(held, "keys"),
        f"`user.posts` is a {_form(held)}, and that cannot be asked for a title; use "
        "`Mapped[dict[str, ...]]` with a `collection_class`",
    )
    snow = post(title="Snow", published=_DAY)
    try:
        snow.user = ada
    except InvalidRequestError:
        expect(
            False,
            "the key of the dict is an attribute that a new post does not have yet; it should be `title`",
        )
    except AttributeError as error:
        expect(
            False,
            f"the key of the dict names an attribute that a post does not have: {error}",
        )
    expect(
        list(ada.posts) == ["Snow"],
        f"a post with the title Snow has the key {next(iter(ada.posts), None)!r} in the dict; the key should "
        "be its title",
    )
    ice = post(title="Ice", published=_DAY)
    ada.posts["Ice"] = ice
    with playground(base, ada) as session:
        again = session.scalars(select(user)).one()
        expect(
            sorted(again.posts) == ["Ice", "Snow"]
            and again.posts["Ice"].title == "Ice",
            "after a new reading, `user.posts` does not hold each post under its title",
        )


def _form(held: Any) -> str:
    """What a collection is called in the lesson, such as `list` or `dict`."""
    for kind in (list, set, dict):
        if isinstance(held, kind):
            return kind.__name__
    writes = type(held).__name__ == "WriteOnlyCollection"
    return "write-only collection" if writes else "dynamic collection"


def _titles(session: Any, user: Any) -> list[str]:
    return [item.title for item in session.scalars(select(user)).one().posts]


def _in_order(base: Any) -> None:
    user, post = _two(base)
    columns = post.__table__.columns
    expect(
        "position" in columns and not columns["position"].nullable,
        "`posts.position` should stay as it was, a number that is required: the repair belongs into `User`",
    )
    expect(
        columns["position"].default is None
        and columns["position"].server_default is None,
        "a default gives every new post the same position; the list should write it",
    )
    relation = user.__mapper__.relationships["posts"]

    def made(*titles: str) -> list[Any]:
        return [post(title=title, published=_DAY) for title in titles]

    mira = user(name="mira")
    expect(
        hasattr(mira.posts, "insert") and hasattr(mira.posts, "extend"),
        "`user.posts` is no list any more, so nothing can be put in front",
    )
    mira.posts.extend(made("Snow", "Ice", "Thaw"))
    expect(
        all(item.position is not None for item in mira.posts),
        "three posts were appended and their `position` is None: the list does not write it; that is why the "
        "database refuses them",
    )
    mira.posts.insert(0, *made("Rain"))
    numbers = [item.position for item in mira.posts]
    expect(
        numbers in (sorted(set(numbers)), sorted(set(numbers), reverse=True)),
        f"after `insert(0, post)` the positions are {numbers}",
    )
    expect(
        relation.order_by,
        "the positions are right, but nothing says that the list is *read* in their order; databases return "
        "rows in any order",
    )
    with playground(base, mira) as session:
        wanted = ["Rain", "Snow", "Ice", "Thaw"]
        got = _titles(session, user)
        expect(
            got == wanted,
            f"the posts were saved as {wanted} and read again as {got}; look at what you order by",
        )
        found = session.scalars(select(user)).one()
        found.posts.insert(1, found.posts.pop())
        try:
            session.commit()
        except IntegrityError:
            expect(
                False,
                "moving a post was refused by the database; a UNIQUE on the position, perhaps?",
            )
        got = _titles(session, user)
        expect(
            got == ["Rain", "Thaw", "Snow", "Ice"],
            f"a post was moved from the end to the second place, and the list was read again as {got}",
        )


def _refuse(base: Any) -> None:
    user, post = _two(base)

    def made(title: str = "Snow", **values: Any) -> Any:
        return post(title=title, published=_DAY, **values)

    try:
        first = made()
    except TypeError as error:
        expect(
            False,
            f"a post with a title cannot be made any more: TypeError, {error}; a validator takes `self`, the "
            "name of the attribute, and the value",
        )
    except ValueError as error:
        expect(False, f"a post with the title Snow was refused: ValueError, {error}")
    expect(
        first.title == "Snow",
        f"a post was made with the title Snow, and now its title is {first.title!r}; what a validator "
        "returns is what is stored",
    )
    expect(
        _refused(lambda: made("")),
        "`Post(title='')` was accepted; it should be a ValueError",
    )
    expect(
        _refused(lambda: setattr(first, "title", "")),
        "`post.title = ''` was accepted; it should be a ValueError as well",
    )
    held = user(name="mira").posts
    expect(
        hasattr(held, "append"),
        f"`user.posts` is a {_form(held)}; map it as a list",
    )
    for how in ("appended", "given `user=`"):
        mira = user(name="mira")
        for number in range(1, 7):
            one = made(f"Post {number}")
            if how == "appended":
                refused = _refused(lambda one=one, mira=mira: mira.posts.append(one))
            else:
                refused = _refused(
                    lambda one=one, mira=mira: setattr(one, "user", mira)
                )
            expect(
                number < 6 or refused,
                f"six posts were {how}, and none was refused",
            )
            expect(
                number == 6 or not refused,
                f"post number {number} was {how} and refused; five are allowed",
            )
            expect(
                number == 6 or mira.posts[-1:] == [one],
                f"a post was {how}, and the list holds {mira.posts[-1:]!r} at its end; what a validator "
                "returns is what enters",
            )
        expect(
            len(mira.posts) == 5,
            f"the sixth post was refused, and the list holds {len(mira.posts)}",
        )
    with playground(base, user(name="olaf", posts=[made("Rain")])) as session:
        expect(
            [item.title for item in session.scalars(select(user)).one().posts]
            == ["Rain"],
            "a post that was allowed did not arrive in the database",
        )


def _refused(attempt: Any) -> bool:
    try:
        attempt()
    except ValueError:
        return True
    except AssertionError:
        expect(
            False,
            "the refusal is an AssertionError; `assert` can be switched off, so raise ValueError",
        )
    except Exception as error:
        expect(
            type(error) not in (Exception, KeyError, RuntimeError),
            f"the refusal is of the class `{type(error).__name__}`; raise ValueError",
        )
        raise
    return False


def _write_only() -> tuple[Any, Any, Any]:
    class Base(DeclarativeBase):
        pass

    class User(UserColumns, Base):
        posts: WriteOnlyMapped[Post] = relationship(passive_deletes=True)

    class Post(PostColumns, Base):
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

    return Base, User, Post


def _count(answer: Any) -> None:
    expect(
        callable(answer),
        "the answer should be the function `count_posts`, without brackets",
    )
    base, user, post = _write_only()
    people = []
    for name, number in (("mira", 7), ("olaf", 0), ("pia", 2)):
        person = user(name=name)
        person.posts.add_all(
            post(title=f"{name} {n}", published=_DAY) for n in range(number)
        )
        people.append(person)
    with playground(base, *people) as session:
        loaded: list[Any] = []
        sent: list[str] = []
        event.listen(post, "load", lambda item, context: loaded.append(item))
        rows = select(post.id, post.title, post.user_id).order_by(post.id)
        before = session.execute(rows).all()
        event.listen(
            session.get_bind(),
            "before_cursor_execute",
            lambda *arguments: sent.append(arguments[2].lower()),
        )
        for name, number in (("mira", 7), ("olaf", 0), ("pia", 2)):
            person = session.scalars(select(user).where(user.name == name)).one()
            sent.clear()
            got = _call(answer, session, person)
            asked = list(sent)
            expect(
                session.execute(rows).all() == before,
                "the posts were changed in order to count them; a SELECT changes nothing",
            )
            expect(
                not loaded,
                f"the number came from Python: {len(loaded)} posts were read to count them; let the database "
                "count",
            )
            expect(
                isinstance(got, int) and not isinstance(got, bool),
                f"the function should return a number, and it returned {_kind(got)}; `session.scalar(...)` gives "
                "the one value",
            )
            expect(
                got != 9 or number == 9,
                "the function counts the posts of all users; start from `user.posts.select()`",
            )
            expect(
                got == number,
                f"a user with {number} posts was counted as {got}",
            )
            expect(
                any("count" in text or "sum" in text for text in asked),
                "the number is right, but no statement counts: one row for each post came to Python; "
                "use `func.count()`",
            )


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _call(answer: Any, session: Any, person: Any) -> Any:
    try:
        return answer(session, person)
    except TypeError as error:
        said = str(error)
        expect(
            "has no len()" not in said,
            "a write-only collection has no length: it was never read; ask the database",
        )
        expect(
            "iteration" not in said and "not iterable" not in said,
            "a write-only collection cannot be looped over; `user.posts.select()` is a statement to start from",
        )
        raise
    except AttributeError as error:
        expect(
            "'WriteOnlyCollection' object has no attribute 'count'" not in str(error),
            "`.count()` belongs to the old dynamic collection; a write-only one has `select()`",
        )
        raise
    except ProgrammingError:
        session.rollback()
        raise


_KEY = 'user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))'


def _mapping(
    posts: str, *, user: str = "", post: str = "", key: str = _KEY, back: str = "posts"
) -> str:
    """User and Post; the code of the solutions and of the wrong answers."""
    return f"""{BASE}class User(UserColumns, Blog):
    {posts}
{user}

class Post(PostColumns, Blog):
    {key}
    user: Mapped["User"] = relationship(back_populates="{back}")
{post}

answer = Blog"""


def _dict(key: str, options: str = 'back_populates="user", ') -> str:
    return f"""posts: Mapped[dict[str, "Post"]] = relationship(
        {options}collection_class={key}
    )"""


_LIST = 'posts: Mapped[list["Post"]] = relationship(back_populates="user")'
_POSITION = "position: Mapped[int]\n    " + _KEY


def _ordered(*options: str) -> str:
    lines = ['back_populates="user"', 'cascade="all, delete-orphan"', *options]
    inside = "".join(f"        {line},\n" for line in lines)
    return f'posts: Mapped[list["Post"]] = relationship(\n{inside}    )'


_ORDER_BY = 'order_by="Post.position"'
_NUMBERS = 'collection_class=ordering_list("position")'


def _five(
    test: str = "len(self.posts) >= 5", last: str = "        return post\n"
) -> str:
    return f"""
    @orm.validates("posts")
    def at_most_five(self, key, post):
        if {test}:
            raise ValueError("a user may have five posts")
{last}"""


_TITLE = """
    @orm.validates("title")
    def some_title(self, key, title):
        if not title:
            raise ValueError("a post needs a title")
        return title
"""

EXERCISES = [
    Exercise(
        id="10-by-title",
        judge=_by_title,
        hints=(
            "Which collection is asked with a key in square brackets?",
            'The annotation names the type of the key and the class: `Mapped[dict[str, "Post"]]`. Which '
            "attribute is the key, says `collection_class=`.",
            '`relationship(back_populates="user", collection_class=orm.attribute_keyed_dict("title"))`; `Post` is '
            "mapped as always.",
        ),
        code=_mapping(_dict('orm.attribute_keyed_dict("title")')),
        reason="The key is taken from the post when it enters the dict, and again at each reading.",
        wrong=(
            Wrong(_mapping(_LIST), "cannot be asked for a title"),
            Wrong(
                _mapping(
                    'posts: Mapped[dict[str, "Post"]] = relationship(back_populates="user")'
                ),
                "must be told which attribute",
            ),
            Wrong(
                _mapping(_dict('orm.attribute_keyed_dict("id")')),
                "does not have yet",
            ),
            Wrong(
                _mapping(_dict('orm.attribute_keyed_dict("published")')),
                "has the key datetime.date(2026, 1, 5)",
            ),
            Wrong(
                _mapping(_dict('orm.attribute_keyed_dict("titel")')),
                "names an attribute that a post does not have",
            ),
            Wrong(
                _mapping(_dict('orm.attribute_keyed_dict("title")', "")).replace(
                    'relationship(back_populates="posts")', "relationship()"
                ),
                "are not linked",
            ),
            Wrong(
                _mapping(
                    _dict('orm.attribute_keyed_dict("title")'),
                    key=_KEY.replace("[int]", "[int | None]"),
                ),
                "accepts NULL",
            ),
            Wrong(
                f"{BASE}class User(UserColumns, Blog):\n    {_dict('orm.attribute_keyed_dict(chr(116))', '')}\n\n\n"
                f"class Post(PostColumns, Blog):\n    {_KEY}\n\n\nanswer = Blog",
                "no relationship called user",
            ),
        ),
    ),
    Exercise(
        id="10-in-order",
        judge=_in_order,
        hints=(
            "Who writes a number into `position` now? In which order are the posts read?",
            "Two options are missing: one to write the numbers, one to read by them.",
            '`order_by="Post.position"` and `collection_class=ordering_list("position")`.',
        ),
        code=_mapping(_ordered(_ORDER_BY, _NUMBERS), key=_POSITION),
        reason="`position` was NULL, because nobody wrote it. `ordering_list` writes it at each append, insert and "
        "remove; `order_by` reads in that order.",
        wrong=(
            Wrong(_mapping(_ordered(), key=_POSITION), "the list does not write it"),
            Wrong(
                _mapping(_ordered(_NUMBERS), key=_POSITION),
                "nothing says that the list is",
            ),
            Wrong(
                _mapping(
                    'posts: Mapped[set["Post"]] = relationship(back_populates="user")',
                    key=_POSITION,
                ),
                "is no list any more",
            ),
            Wrong(
                _mapping(_ordered('order_by="Post.title"', _NUMBERS), key=_POSITION),
                "look at what you order by",
            ),
            Wrong(
                _mapping(
                    _ordered(_ORDER_BY),
                    key=_POSITION.replace(
                        "position: Mapped[int]",
                        "position: Mapped[int] = mapped_column(default=0)",
                    ),
                ),
                "the same position",
            ),
            Wrong(
                _mapping(
                    _ordered(_ORDER_BY),
                    key=_POSITION.replace(
                        "position: Mapped[int]", "position: Mapped[int | None]"
                    ),
                ),
                "should stay as it was",
            ),
        ),
    ),
    Exercise(
        id="10-refuse",
        judge=_refuse,
        hints=(
            "Two validators: which class sees a title, which one sees a post on its way into the list?",
            '`@orm.validates("title")` belongs to `Post`, `@orm.validates("posts")` to `User`. When the sixth post comes, '
            "how many are in the list?",
            "In `User`: `if len(self.posts) >= 5: raise ValueError(...)`, then `return post`. In `Post`: "
            "`if not title: raise ValueError(...)`, then `return title`.",
        ),
        code=_mapping(_LIST, user=_five(), post=_TITLE),
        reason="The validator of the list runs before the post is in it, so five are enough to refuse. It also runs for "
        "`user=`; for `User(posts=[...])` it would see the old, empty list.",
        wrong=(
            Wrong(_mapping(_LIST, user=_five()), "Post(title='') was accepted"),
            Wrong(
                _mapping(_LIST.replace("list[", "set["), user=_five(), post=_TITLE),
                "is a set; map it as a list",
            ),
            Wrong(
                _mapping(
                    _LIST,
                    user=_five(),
                    post=_TITLE.replace("ValueError", "KeyError"),
                ),
                "of the class KeyError",
            ),
            Wrong(
                _mapping(_LIST, user=_five("len(self.posts) > 5"), post=_TITLE),
                "six posts were appended",
            ),
            Wrong(
                _mapping(_LIST, user=_five("len(self.posts) >= 4"), post=_TITLE),
                "post number 5",
            ),
            Wrong(
                _mapping(_LIST, user=_five(last=""), post=_TITLE),
                "the list holds [None]",
            ),
            Wrong(
                _mapping(
                    _LIST,
                    user=_five(),
                    post=_TITLE.replace("        return title\n", ""),
                ),
                "its title is None",
            ),
            Wrong(
                _mapping(
                    _LIST,
                    user=_five().replace(
                        '("posts")', '("posts", include_backrefs=False)'
                    ),
                    post=_TITLE,
                ),
                "six posts were given",
            ),
            Wrong(
                _mapping(
                    _LIST,
                    user=_five(),
                    post=_TITLE.replace("(self, key, title)", "(self, title)"),
                ),
                "the name of the attribute",
            ),
            Wrong(
                _mapping(
                    _LIST,
                    user=_five(),
                    post="""
    def __init__(self, **values):
        if not values.get("title"):
            raise ValueError("a post needs a title")
        super().__init__(**values)
""",
                ),
                "post.title = '' was accepted",
            ),
        ),
    ),
    Exercise(
        id="10-count",
        judge=_count,
        hints=(
            "`user.posts` was never read. What does it offer to ask with?",
            "`user.posts.select()` selects the posts of this user. How do you count the rows of a statement?",
            "`select(func.count()).select_from(user.posts.select().subquery())`, sent with `session.scalar(...)`.",
        ),
        code="""def count_posts(session, user):
    number = select(func.count()).select_from(user.posts.select().subquery())
    return session.scalar(number)
""",
        reason="The posts are counted where they are, and one number travels.",
        wrong=(
            Wrong(
                "def count_posts(session, user):\n    return len(user.posts)\n",
                "has no length",
            ),
            Wrong(
                "def count_posts(session, user):\n    return len(list(user.posts))\n",
                "cannot be looped over",
            ),
            Wrong(
                "def count_posts(session, user):\n    return len(session.scalars(user.posts.select()).all())\n",
                "the number came from Python",
            ),
            Wrong(
                "def count_posts(session, user):\n"
                "    return session.execute(user.posts.delete()).rowcount\n",
                "were changed in order to count",
            ),
            Wrong(
                "def count_posts(session, user):\n"
                "    Post = type(user).posts.property.mapper.class_\n"
                "    ids = select(Post.id).where(Post.user_id == user.id)\n"
                "    return len(session.execute(ids).all())\n",
                "no statement counts",
            ),
            Wrong(
                "def count_posts(session, user):\n    return user.posts.count()\n",
                "old dynamic collection",
            ),
            Wrong(
                "def count_posts(session, user):\n"
                "    number = select(func.count()).select_from(user.posts.select().subquery())\n"
                "    return session.execute(number).one()\n",
                "should return a number",
            ),
            Wrong(
                "def count_posts(session, user):\n"
                "    Post = type(user).posts.property.mapper.class_\n"
                "    return session.scalar(select(func.count(Post.id)))\n",
                "of all users",
            ),
        ),
    ),
]
