"""`check-models` on files of a project, started as a team starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

MODELS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Program(Base):
    __tablename__ = "programs"
    id: Mapped[int] = mapped_column(primary_key=True)
    courses: Mapped[list["Course"]] = relationship(ONE)


class Course(Base):
    __tablename__ = "courses"
    id: Mapped[int] = mapped_column(primary_key=True)
    program_id: Mapped[int] = mapped_column(
        ForeignKey("programs.id", ondelete="CASCADE"), index=True
    )
"""
PASSIVE = "passive_deletes=True"
SAFE = 'cascade="all, delete-orphan", passive_deletes=True'


@pytest.fixture
def project(tmp_path):
    """A folder with a package; `write(path, text)` adds a file."""

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("school/__init__.py", "")
    write.folder = tmp_path
    return write


def check(project, *args: str, **environment: str) -> tuple[int, str, str]:
    run = subprocess.run(
        [sys.executable, "-m", "lesson_support", "check-models", *args],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return run.returncode, run.stdout, run.stderr


def test_what_breaks_is_exit_code_one(project):
    project("school/models.py", MODELS.replace("ONE", PASSIVE))
    code, out, err = check(project, "school.models:Base")
    assert (code, err) == (1, "")
    assert out.startswith("Base, 2 classes: 1 breaks\n")
    assert "breaks: Program.courses (passive-deletes-without-cascade)" in out
    assert f"relationship({SAFE})" in out
    assert "lesson: 05-delete-a-parent.ipynb" in out


def test_nothing_found_is_exit_code_zero(project):
    project("school/models.py", MODELS.replace("ONE", SAFE))
    code, out, err = check(project, "school.models:Base")
    assert (code, out, err) == (0, "Base, 2 classes: nothing found\n", "")


def test_surprises_and_style_are_exit_code_zero(project):
    text = MODELS.replace("ONE", "").replace(', ondelete="CASCADE"), index=True', ")")
    project("models.py", text)
    code, out, err = check(project, "models:Base")
    assert (code, err) == (0, "")
    assert out.startswith("Base, 2 classes: 1 surprises, 1 style\n")


def test_a_base_may_stand_inside_an_object(project):
    text = MODELS.replace("ONE", SAFE) + "\n\nclass db:\n    Model = Base\n"
    project("models.py", text)
    assert check(project, "models:db.Model")[0] == 0


def test_a_mapper_that_fails_is_exit_code_one_and_one_sentence(project):
    project("models.py", MODELS.replace("ONE", 'back_populates="progam"'))
    code, out, err = check(project, "models:Base")
    assert (code, err) == (1, "")
    assert "has no property 'progam'" in " ".join(out.split())
    assert "correct the name in back_populates" in out
    assert "Traceback" not in out


SENTENCES = {
    "no address": ("models", "'models' is no address of a Base; write the module"),
    "no module": ("nowhere:Base", "There is no module 'nowhere' here; run the command"),
    "no submodule": ("school.x:Base", "There is no module 'school.x' here; run"),
    "a path": ("school/models.py:Base", "is no address of a Base"),
    "wrong name": ("models:Bose", "has no 'Bose'; it has Base; name the Base"),
    "a class": ("models:Program", "Program is one of the mapped classes: name the"),
    "no Base": ("models:ForeignKey", "ForeignKey is no Base: name the class that"),
    "no classes": ("bare:Base", "Base has no mapped classes: run the cell, or"),
    "import": (
        "lacking:Base",
        "imported (lacking.py, line 2): ModuleNotFoundError: No module",
    ),
    "syntax": ("broken:Base", "imported (broken.py, line 1): SyntaxError"),
    "exit": ("leaving:Base", "imported (leaving.py, line 2): SystemExit: 3"),
    "half mapped": (
        "half:Base",
        "imported (half.py, line 5): ArgumentError: Mapper Mapper[Room",
    ),
    "a secret": ("secret:Base", "://***@"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_cannot_be_checked_is_one_sentence(project, case):
    address, says = SENTENCES[case]
    base = "from sqlalchemy.orm import DeclarativeBase\n\nclass Base(DeclarativeBase): pass\n"
    project("models.py", MODELS.replace("ONE", SAFE))
    project("bare.py", base)
    project("lacking.py", "\nimport a_package_that_nobody_has\n")
    project("broken.py", "class Base(:\n")
    project("leaving.py", "import sys\nsys.exit(3)\n")
    project("half.py", f"{base}\nclass Room(Base): __tablename__ = 'rooms'\n")
    project("secret.py", "\nraise ValueError('postgresql://ada:s3cr3t@db/school')\n")
    code, out, err = check(project, address)
    assert (code, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1 and err.endswith(".\n") and "Traceback" not in err
    assert "s3cr3t" not in err


def test_it_stays_in_the_environment_of_the_project(project, tmp_path):
    """A bare interpreter with nothing but SQLAlchemy, and this package on its path."""
    import sqlalchemy
    import typing_extensions

    links = tmp_path / "packages"
    links.mkdir()
    for module in (sqlalchemy, typing_extensions):
        file = Path(module.__file__)
        source = file.parent if file.name == "__init__.py" else file
        (links / source.name).symlink_to(source)
    (links / "lesson_support").symlink_to(PROJECT / "lesson_support")
    project("models.py", MODELS.replace("ONE", PASSIVE))
    command = [
        sys.executable,
        "-S",
        "-m",
        "lesson_support",
        "check-models",
        "models:Base",
    ]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(links), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1 and "passive-deletes-without-cascade" in run.stdout
    assert run.stderr == ""
    (links / "sqlalchemy").unlink()
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(links), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1 and run.stderr.count("\n") == 1
    assert "SQLAlchemy is not installed for" in run.stderr
