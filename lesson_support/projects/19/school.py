from sqlalchemy import ForeignKey, orm
from sqlalchemy.orm import Mapped, mapped_column, relationship


class Base(orm.DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


class Program(Base):
    __tablename__ = "programs"
    name: Mapped[str]
    courses: Mapped[list["Course"]] = relationship(back_populates="program")


class Course(Base):
    __tablename__ = "courses"
    title: Mapped[str]
    program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))
    program: Mapped["Program"] = relationship(back_populates="courses")
