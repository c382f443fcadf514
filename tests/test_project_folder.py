"""The folder of a project that a lesson writes, the tools in it, and its database URL."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, text

from lesson_support import open_project
from lesson_support.commands import reset
from lesson_support.database import connect
from lesson_support.errors import LessonError
from lesson_support.project import (
    MARKER,
    VARIABLE,
    Project,
    database_url,
    project_folder,
)


@pytest.fixture
def project(workspace):
    return open_project("15")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_lies_in_the_workspace_and_is_empty(workspace):
    folder = project_folder("15")
    assert folder == workspace.absolute() / "project-15"
    assert names(folder) == {MARKER}


def test_folder_is_emptied_again(workspace):
    folder = project_folder("15")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "x.py").write_text("x")
    (folder / "y.py").write_text("y")
    assert names(project_folder("15")) == {MARKER}


def test_what_a_link_points_at_stays(workspace, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("kept")
    folder = project_folder("15")
    try:
        (folder / "link").symlink_to(tmp_path / "mine", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    project_folder("15")
    assert names(folder) == {MARKER}
    assert (tmp_path / "mine" / "kept.txt").read_text() == "kept"


def test_a_folder_of_somebody_else_is_left_alone(workspace):
    folder = workspace / "project-15"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years")
    with pytest.raises(LessonError, match=r"^workspace/project-15 is there and these"):
        project_folder("15")
    assert names(folder) == {"thesis.txt"}


@pytest.mark.parametrize("kind", ["file", "link", "marker is a link"])
def test_other_things_in_its_place_are_left_alone(workspace, tmp_path, kind):
    folder, other = workspace / "project-15", tmp_path / "other"
    workspace.mkdir(parents=True, exist_ok=True)
    other.mkdir()
    (other / MARKER).write_text("a marker, but elsewhere")
    try:
        if kind == "file":
            folder.write_text("a file")
        elif kind == "link":
            folder.symlink_to(other, target_is_directory=True)
        else:
            folder.mkdir()
            (folder / MARKER).symlink_to(other / MARKER)
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(LessonError, match="did not make it"):
        project_folder("15")
    assert (other / MARKER).read_text() == "a marker, but elsewhere"


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="nobody is refused here",
)
def test_a_folder_that_cannot_be_written(workspace):
    folder = project_folder("15")
    folder.chmod(0o500)
    try:
        with pytest.raises(LessonError, match="cannot be emptied"):
            project_folder("15")
    finally:
        folder.chmod(0o700)


def test_project_starts_with_the_files_of_the_lesson(project):
    assert {"school", "migrations", "tests", "alembic.ini"} <= names(project.folder)
    project.write("school/models/base.py", "x = 1\n")
    assert "DeclarativeBase" in open_project("15").read("school/models/base.py")
    assert names(open_project("99").folder) == {MARKER}


def test_repr_shows_no_path_of_the_machine(project):
    assert repr(project) == "Project('workspace/project-15')"


def test_write_append_and_replace(project):
    project.write("new/a.py", "\n\nx = 1\n")
    assert project.read("new/a.py") == "x = 1\n"
    for _ in range(2):
        project.append("new/a.py", "y = 2\n")
        project.replace("new/a.py", "x = 1", "x = 10")
    assert project.read("new/a.py") == "x = 10\ny = 2\n"
    project.write("new/b.py", "x = y\n")
    project.replace(
        "new/b.py", "y", "x"
    )  # "x" stands there already, but not in this place
    assert project.read("new/b.py") == "x = x\n"
    project.replace("new/a.py", "y = 2\n", "")
    assert project.read("new/a.py") == "x = 10\n"
    with pytest.raises(LessonError, match=r"^new/a.py does not hold the text"):
        project.replace("new/a.py", "z = 3", "z = 4")


def test_run_returns_what_a_tool_prints(project, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    project.write(
        "say.py", "import os; print(os.environ.get('FORCE_COLOR'), os.getcwd())\n"
    )
    assert project.run("say").strip() == f"None {os.path.realpath(project.folder)}"


def test_run_says_why_a_tool_failed(project):
    project.write("bad.py", "raise ValueError('so it is')\n")
    with pytest.raises(LessonError, match=r"^bad failed: ValueError: so it is$"):
        project.run("bad")
    project.write("half.py", "print('a finding'); raise SystemExit(1)\n")
    assert project.run("half") == "a finding\n"


def test_load_imports_what_stands_there_now(project):
    before = list(sys.path)
    try:
        project.write("fresh_module.py", "x = 1\n")
        assert project.load("fresh_module").x == 1
        project.write("fresh_module.py", "x = 234\n")
        assert project.load("fresh_module").x == 234
        assert sys.path.count(str(project.folder)) == 1
    finally:
        sys.path[:] = before
        sys.modules.pop("fresh_module", None)


def test_another_process_reaches_the_same_workspace(database):
    engine = connect("15")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE seen (id INTEGER)"))
        connection.execute(text("INSERT INTO seen VALUES (7)"))
    url = database_url("15")
    other = create_engine(url)
    with other.connect() as connection:
        assert connection.scalar(text("SELECT id FROM seen")) == 7
    other.dispose()

    project = open_project("15")
    project.write(
        "other.py",
        "import os\n"
        "from sqlalchemy import create_engine, text\n"
        f"engine = create_engine(os.environ[{VARIABLE!r}])\n"
        "with engine.begin() as connection:\n"
        "    connection.execute(text('CREATE TABLE made_outside (id INTEGER)'))\n"
        "    print(connection.scalar(text('SELECT id FROM seen')))\n",
    )
    assert project.run("other") == "7\n"
    with engine.connect() as connection:
        assert not connection.execute(text("SELECT * FROM made_outside")).all()
    connect("15")
    with connect("15", fresh=False).connect() as connection, pytest.raises(Exception):  # noqa: B017
        connection.execute(text("SELECT * FROM made_outside"))


def test_url_keeps_options_and_hides_the_password(workspace, monkeypatch):
    monkeypatch.setenv(
        "LESSONS_DATABASE_URL",
        "postgresql://ada:PASSWORD@db.example/school?options=-cwork_mem%3D8MB",
    )
    monkeypatch.setenv("LESSONS_LEARNER", "ada")
    url = database_url("15")
    assert "PASSWORD" not in str(url) and "PASSWORD" not in repr(url)
    assert url.query["options"].startswith(
        "-cwork_mem=8MB -csearch_path=lesson_ada_15 "
    )
    assert url.query["application_name"] == "lesson_ada_15"
    assert "PASSWORD" not in repr(Project(workspace, url))


def test_the_module_is_not_needed_by_other_lessons():
    code = "import sys, lesson_support; lesson_support.connect; print('lesson_support.project' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_reset_removes_projects_and_nothing_else(workspace, capsys):
    project_folder("15")
    other = workspace / "project-mine"
    other.mkdir()
    (other / "work.py").touch()
    assert reset.main(["--yes"]) == 0
    assert "project-15" in capsys.readouterr().out
    assert sorted(path.name for path in workspace.iterdir()) == ["project-mine"]
    assert (other / "work.py").exists()
