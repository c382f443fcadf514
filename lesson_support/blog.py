"""The models of the exercises: a user has many posts, a post belongs to one user.

`User` is the one side. `Post` is the many side: it holds the key, `posts.user_id`.
They have the shape of `Program` and `Course`, which lesson 01 writes out in full.

Here the columns stand in classes of their own, so that an exercise which changes only the key or
the relationship can be short. `sort_order=-1` lets them come before the key in the table:

    class Base(DeclarativeBase):
        pass

    class User(UserColumns, Base):
        posts: Mapped[list["Post"]] = relationship(cascade="all, delete-orphan", ...)

    class Post(PostColumns, Base):
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

Source: https://docs.sqlalchemy.org/en/21/orm/declarative_mixins.html
"""

from datetime import date

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = ["Base", "Post", "PostColumns", "User", "UserColumns"]


class UserColumns:
    """The table `users`: its columns, and how a user is shown."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
    name: Mapped[str] = mapped_column(String(40), sort_order=-1)

    def __repr__(self) -> str:
        return f"User({self.name!r})"


class PostColumns:
    """The table `posts`: its columns without the foreign key, and how a post is shown."""

    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
    title: Mapped[str] = mapped_column(String(120), sort_order=-1)
    published: Mapped[date] = mapped_column(sort_order=-1)

    def __repr__(self) -> str:
        return f"Post({self.title!r})"


class Base(DeclarativeBase):
    """Holds the tables of the classes below, in `Base.metadata`."""


class User(UserColumns, Base):
    """The one side: a user has a list of posts, and no column that says so."""

    posts: Mapped[list["Post"]] = relationship(back_populates="user")


class Post(PostColumns, Base):
    """The many side: every post holds the key of its one user."""

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    user: Mapped["User"] = relationship(back_populates="posts")
