"""The tools in a project that has SQLAlchemy and nothing else of the lessons."""

from __future__ import annotations

import os
import subprocess
import sys

from lesson_support.commands import PROJECT

ALONE = """
import importlib.abc, sys
class Alone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first in {"IPython", "pandas", "psycopg", "greenlet", "aiosqlite", "jupyterlab"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Alone())
"""
MODELS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

class Base(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)

class Customer(Base):
    __tablename__ = "customers"
    invoices: Mapped[list["Invoice"]] = relationship()

class Invoice(Base):
    __tablename__ = "invoices"
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
"""
PROGRAM = """
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from lesson_support import check_mapping, preview_delete, watch
from shop import Base, Customer, Invoice

engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Customer(invoices=[Invoice()]))
    session.commit()
print(check_mapping(Base))
with watch(engine), Session(engine) as session:
    print(preview_delete(session, session.scalars(select(Customer)).one()))
"""


def run(folder, models: str, *words: str) -> subprocess.CompletedProcess:
    """Run Python beside a module `shop` with these models."""
    (folder / "shop.py").write_text(models)
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
    )


def test_all_three_tools_need_sqlalchemy_alone(tmp_path):
    ended = run(tmp_path, MODELS, "-c", ALONE + PROGRAM)
    assert ended.returncode == 0, ended.stderr
    assert "Customer.invoices (required-key)" in ended.stdout
    assert "refused at the UPDATE of invoices" in ended.stdout
    assert "SQL sent to SQLite:" in ended.stderr
    assert "SELECT customers.id" in ended.stderr


COMMAND = "from lesson_support.__main__ import main; sys.exit(main())"


def test_the_command_tells_ci_by_its_exit_code(tmp_path):
    words = ["-c", ALONE + COMMAND, "check-models", "shop:Base"]
    ended = run(tmp_path, MODELS, *words)
    assert "Customer.invoices (required-key)" in ended.stdout, ended.stderr
    assert ended.returncode == 0, "it surprises, and breaks nothing"
    ended = run(tmp_path, MODELS.replace("customers.id", "custom.id"), *words)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
