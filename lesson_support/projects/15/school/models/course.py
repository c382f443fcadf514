from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base
from .program import Program


class Course(Base):
    __tablename__ = "courses"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    program_id: Mapped[int] = mapped_column(ForeignKey("programs.id"))
    program: Mapped["Program"] = relationship(back_populates="courses")
