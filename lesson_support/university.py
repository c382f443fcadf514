"""The models of the lessons: a program has many courses, a course belongs to one program.

`Program` is the one side. `Course` is the many side: it holds the key, `courses.program_id`.
Lesson 01 writes these classes out in full, columns and all; they are the same there and here.

Here the columns stand in classes of their own, so that a lesson which changes only the key or the
relationship can be short. `sort_order=-1` lets them come before the key in the table:

    class Base(DeclarativeBase):
        pass

    class Program(ProgramColumns, Base):
        courses: Mapped[list["Course"]] = relationship(cascade="all, delete-orphan", ...)

    class Course(CourseColumns, Base):
        program_id: Mapped[int] = mapped_column(ForeignKey("programs.id", ondelete="CASCADE"))

Source: https://docs.sqlalchemy.org/en/21/orm/declarative_mixins.html
"""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = ["Base", "Course", "CourseColumns", "Program", "ProgramColumns"]


class ProgramColumns:
    """The table `programs`: its columns, and how a program is shown."""

    __tablename__ = "programs"

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
    name: Mapped[str] = mapped_column(String(80), sort_order=-1)

    def __repr__(self) -> str:
        return f"Program({self.name!r})"


class CourseColumns:
    """The table `courses`: its columns without the foreign key, and how a course is shown."""

    __tablename__ = "courses"

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
    code: Mapped[str] = mapped_column(String(8), unique=True, sort_order=-1)
    title: Mapped[str] = mapped_column(String(80), sort_order=-1)
    credits: Mapped[int] = mapped_column(sort_order=-1)

    def __repr__(self) -> str:
        return f"Course({self.code!r}, {self.title!r})"


class Base(DeclarativeBase):
    """Holds the tables of the classes below, in `Base.metadata`."""


class Program(ProgramColumns, Base):
    """The one side: a program has a list of courses, and no column that says so."""

    courses: Mapped[list["Course"]] = relationship(back_populates="program")


class Course(CourseColumns, Base):
    """The many side: every course holds the key of its one program."""

    program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))

    program: Mapped["Program"] = relationship(back_populates="courses")
