from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base
from .course import Course


class Program(Base):
    __tablename__ = "programs"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    courses: Mapped[list["Course"]] = relationship(back_populates="program")
