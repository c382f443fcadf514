"""Exercises of lesson 15: files that import each other, a draft of Alembic, a fixture."""

from __future__ import annotations

import ast
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import ForeignKey, MetaData, String, event, make_url, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from .. import blog
from ..check import Exercise, NotYet, Wrong, configured, expect
from ..database import private_engine
from ..project import Project

_FILES = {"user": "Post", "post": "User"}


@contextmanager
def _copy(project: Project) -> Iterator[Project]:
    """A copy of the project that can be imported and leaves nothing behind."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(project.folder, root, dirs_exist_ok=True, ignore=ignore)
        before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "blog"}
        path = list(sys.path)
        for name in before:
            del sys.modules[name]
        try:
            yield Project(root, make_url("sqlite://"))
        finally:
            sys.path[:] = path
            for name in [n for n in sys.modules if n.split(".")[0] == "blog"]:
                del sys.modules[name]
            sys.modules.update(before)


def _load(project: Project, module: str) -> Any:
    try:
        return project.load(module)
    except ImportError as error:
        first = f"`{module.replace('.', '/')}.py`"
        expect(
            "circular" not in str(error) and "partially initialized" not in str(error),
            f"where {first} is imported first, there is still a circular import; an import that only a type "
            "checker needs belongs below `if TYPE_CHECKING:`",
        )
        raise NotYet(f"{first} cannot be imported: {error.msg}") from None
    except NameError as error:
        raise NotYet(
            f"Python reads the annotation while the class is made, and there is no `{error.name}` then; a name "
            "that is imported for the type checker alone stands in quotes"
        ) from None


def _names(tree: ast.AST) -> set[str]:
    """Every name that an import in the file brings, wherever it stands."""
    return {
        part
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        for part in (*(alias.asname or alias.name).split("."), alias.name)
    }


def _circle(answer: Any) -> None:
    expect(isinstance(answer, Project), "the answer should be `blog`, the project")
    for name, other in _FILES.items():
        try:
            tree = ast.parse(answer.read(f"blog/{name}.py"))
        except SyntaxError as error:
            raise NotYet(f"`{name}.py` is no Python: {error.msg}") from None
        expect(
            {other, other.lower()} & _names(tree),
            f"a type checker finds no import of `{other}` in `{name}.py`, so it cannot know what the list or "
            "the attribute holds",
        )
    init = answer.read("blog/__init__.py")
    with _copy(answer) as copy:
        copy.write("blog/__init__.py", "")
        for name in _FILES:
            _load(copy, f"blog.{name}")
        copy.write("blog/__init__.py", init)
        base = _load(copy, "blog.base").Base
        missing = {"users", "posts"} - set(base.metadata.tables)
        expect(
            not missing,
            f"after `import blog`, `Base` does not know {' and '.join(sorted(missing))}; what must `__init__.py` "
            "execute?",
        )
        configured(base)
        user, post = _load(copy, "blog.user").User, _load(copy, "blog.post").Post
        mira = user(name="mira", posts=[post(title="Snow")])
        expect(mira.posts[0].user is mira, "`user.posts` and `post.user` do not agree")


_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# The changes of the prompt, and what to think of where the number is wrong.
_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "A": ({"index": True}, "an index stands in the database; is it there already?"),
    "B": (
        {"title": "headline"},
        "nobody says that the two names mean the same column, so autogenerate sees one that has gone and one "
        "that has come",
    ),
    "C": (
        {"cascade": "all, delete-orphan"},
        "does `cascade` change anything in a table?",
    ),
    "D": (
        {"ondelete": "CASCADE"},
        "a constraint cannot be changed in place, so how does the new rule get there?",
    ),
}


def _tables(
    *,
    index: bool = False,
    title: str = "title",
    cascade: str = "save-update, merge",
    ondelete: str | None = None,
) -> MetaData:
    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=_NAMES)

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        posts = relationship("Post", cascade=cascade)

    class Post(Base):
        __tablename__ = "posts"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(title, String(120))
        user_id: Mapped[int] = mapped_column(
            ForeignKey("users.id", ondelete=ondelete), index=index
        )

    return Base.metadata


def _autogenerate(answer: Any) -> None:
    expect(
        isinstance(answer, dict) and set(answer) == set(_CHANGES),
        'the answer should be a dictionary with the keys "A", "B", "C" and "D"',
    )
    expect(
        all(type(number) is int for number in answer.values()),
        "each letter needs a whole number",
    )
    with private_engine() as engine:
        _tables().create_all(engine)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            for letter, (change, thought) in _CHANGES.items():
                drafted = len(compare_metadata(context, _tables(**change)))
                expect(
                    answer[letter] == drafted,
                    f"{letter} was run, and autogenerate does not draft {answer[letter]}: {thought}",
                )


def _send_begin(engine: Any) -> None:
    """As in the project's `db.py`."""
    if engine.dialect.name == "sqlite":
        event.listen(
            engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None)
        )
        event.listen(
            engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN")
        )


def _user(name: str) -> blog.User:
    post = blog.Post(title=f"Hello from {name}", published=date(2026, 1, 5))
    return blog.User(name=name, posts=[post])


def _fixture(answer: Any) -> None:
    expect(callable(answer), "the answer should be the function, without brackets")
    everybody = select(blog.User.name).order_by(blog.User.name)
    with private_engine() as engine:
        _send_begin(engine)
        blog.Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(_user("mira"))
            session.commit()
        steps = answer(engine)
        expect(
            hasattr(steps, "__next__"),
            "a fixture hands over its Session with `yield`; what stands behind a `return` never runs",
        )
        session = next(steps, None)
        expect(isinstance(session, Session), "what is yielded should be a Session")
        try:
            session.add(_user("olaf"))
            session.commit()
            session.add(_user("pia"))
            session.flush()
            session.rollback()
            seen = session.scalars(everybody).all()
            expect(
                "olaf" in seen,
                "the check committed a user, and a later `rollback()` undid the user too; in which mode does a "
                "Session work in savepoints?",
            )
            expect("pia" not in seen, "`session.rollback()` did not undo anything")
            expect(
                seen == ["mira", "olaf"],
                "rows from before the test cannot be seen in it",
            )
        finally:
            try:
                again = next(steps, None)
            except SQLAlchemyError:
                again = None
                session.close()
        expect(again is None, "there should be one `yield`; yours yields twice")
        with Session(engine) as second:
            left = second.scalars(everybody).all()
            posts = second.scalars(select(blog.Post.title)).all()
        expect(
            "olaf" not in left,
            "a user whom the test has committed is still there; what could be begun before the Session, "
            "and how should it end?",
        )
        expect(
            left == ["mira"] and len(posts) == 1,
            "rows that were there before the test are gone; undo instead of delete",
        )


_USER = '''"""
from typing import TYPE_CHECKING

from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base

if TYPE_CHECKING:
    from .post import Post


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list["Post"]] = relationship(back_populates="user")
"""'''
_OPEN = 'blog = open_project("15-blog")\n'
_END = "answer = blog"
_POST = 'blog.replace("blog/post.py", "Mapped[User]", \'Mapped["User"]\')\n'
_INIT = 'blog.write("blog/__init__.py", "from .post import Post\\nfrom .user import User\\n")\n'
_CHECKING = """for name, other in (("user", "Post"), ("post", "User")):
    line = f"from .{other.lower()} import {other}\\n"
    below = f"from typing import TYPE_CHECKING\\n\\nif TYPE_CHECKING:\\n    {line}"
    blog.replace(f"blog/{name}.py", line, below)
"""
_FUTURE = """for name in ("user", "post"):
    text = blog.read(f"blog/{name}.py")
    blog.write(f"blog/{name}.py", "from __future__ import annotations\\n" + text)
"""

_FIXTURE = """def session_for_test(engine):
    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection{}) as session:
            yield session
        transaction.rollback()
"""

EXERCISES = [
    Exercise(
        id="15-circle",
        judge=_circle,
        hints=(
            "When the program runs, does `User` need the class `Post`, or only its name?",
            "`if TYPE_CHECKING:` goes around the import of the other class, and the name in the annotation goes "
            "into quotes.",
            'In `user.py`: `if TYPE_CHECKING:`, below it `from .post import Post`, and `Mapped[list["Post"]]`. '
            "The same in `post.py`. `__init__.py` imports both.",
        ),
        code=_OPEN
        + f'blog.write("blog/user.py", {_USER})\n'
        + _CHECKING.replace(
            '(("user", "Post"), ("post", "User"))', '[("post", "User")]'
        )
        + _POST
        + _INIT
        + _END,
        reason="The names in quotes are looked up at first use; until then `__init__.py` has executed both files.",
        wrong=(
            Wrong(_OPEN + _END, "still a circular import"),
            Wrong(_OPEN + _CHECKING + _INIT + _END, "Python reads the annotation"),
            Wrong(_OPEN + _FUTURE + _CHECKING + _END, "does not know posts and users"),
            Wrong(
                _OPEN
                + _FUTURE
                + _CHECKING
                + 'blog.write("blog/__init__.py", "from .user import User\\n")\n'
                + _END,
                "does not know posts; what must",
            ),
            Wrong(
                _OPEN
                + _FUTURE
                + 'blog.replace("blog/user.py", "from .post import Post\\n", "")\n'
                + _INIT
                + _END,
                "finds no import of Post",
            ),
        ),
    ),
    Exercise(
        id="15-autogenerate",
        judge=_autogenerate,
        hints=(
            "Autogenerate compares tables with tables. Which of the four change a table?",
            "It compares by name, so a new name is a new column. And a constraint is never changed in place.",
            "One index is made; a column is dropped and one is added; `cascade` is for the Session; a key is "
            "dropped and made again.",
        ),
        code='answer = {"A": 1, "B": 2, "C": 0, "D": 2}',
        reason="B is the dangerous one: the draft runs, and the titles are gone. Write a rename by hand.",
        wrong=(
            Wrong('answer = {"A": 0, "B": 2, "C": 0, "D": 2}', "an index stands"),
            Wrong('answer = {"A": 1, "B": 1, "C": 0, "D": 2}', "nobody says"),
            Wrong('answer = {"A": 1, "B": 2, "C": 1, "D": 2}', "change anything"),
            Wrong('answer = {"A": 1, "B": 2, "C": 0, "D": 0}', "how does the new rule"),
            Wrong("answer = [1, 2, 0, 2]", "should be a dictionary"),
            Wrong('answer = {"A": "1", "B": 2, "C": 0, "D": 2}', "a whole number"),
        ),
    ),
    Exercise(
        id="15-fixture",
        judge=_fixture,
        hints=(
            "What has to be begun before the Session, so that a commit of the Session is not the last word?",
            "Give the Session a connection that is in a transaction already, and roll that one back after `yield`.",
            '`Session(connection, join_transaction_mode="create_savepoint")`, inside `with engine.connect() as '
            "connection:`, after `connection.begin()`.",
        ),
        code=_FIXTURE.format(', join_transaction_mode="create_savepoint"'),
        reason="The Session commits its savepoints; the outer transaction, which it does not own, is rolled back.",
        wrong=(
            Wrong(_FIXTURE.format(""), "in which mode does"),
            Wrong(
                "def session_for_test(engine):\n"
                "    with Session(engine) as session:\n"
                "        yield session\n"
                "        session.rollback()\n",
                "what could be begun",
            ),
            Wrong(
                "def session_for_test(engine):\n    return Session(engine)\n",
                "hands over its Session with yield",
            ),
            Wrong(
                "def session_for_test(engine):\n"
                "    with Session(engine) as session:\n"
                "        yield session\n"
                "        from lesson_support import blog\n"
                "        session.execute(delete(blog.Post))\n"
                "        session.execute(delete(blog.User))\n"
                "        session.commit()\n",
                "undo instead of delete",
            ),
            Wrong(
                "def session_for_test(engine):\n    yield engine\n",
                "should be a Session",
            ),
        ),
    ),
]
