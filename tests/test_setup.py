"""The start on a bare Python: what is said, and when the environment is made again."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lesson_support import __main__ as start
from lesson_support.commands import PROJECT, CommandError, setup

BEFORE_THE_ENVIRONMENT = (
    "__init__.py",
    "__main__.py",
    "commands/__init__.py",
    "commands/setup.py",
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder of its own, without an environment."""
    folder = tmp_path / "a b"
    folder.mkdir()
    for name in ("requirements.txt", "requirements-start.txt", "pyproject.toml"):
        (folder / name).write_text("# nothing\n")
    names = {
        "PROJECT": folder,
        "ASIDE": folder / ".lessons",
        "REQUIREMENTS": folder / "requirements.txt",
        "FIRST": folder / "requirements-start.txt",
        "VENV": folder / ".venv",
        "STAMP": folder / ".venv" / "lesson-support.json",
    }
    for name, value in names.items():
        monkeypatch.setattr(setup, name, value)
    return folder


def finish(folder: Path, whole: bool = True) -> Path:
    """A finished `.venv` that holds one package, made without any installer."""
    packages = folder / ".venv/lib/packages"
    packages.mkdir(parents=True)
    (packages / "sqlalchemy").mkdir()
    python = setup.venv_python()
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
    stamp = {"python": "any", "folder": "lib/packages", "packages": ["sqlalchemy"]}
    stamp["whole"] = whole
    setup.STAMP.write_text(json.dumps({**stamp, **setup.fingerprint()}))
    return packages


def stub(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", BEFORE_THE_ENVIRONMENT)
def test_what_starts_first_parses_on_old_python_and_imports_the_standard_library(name):
    source = (PROJECT / "lesson_support" / name).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    for node in top:
        modules = (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
        for module in modules:
            assert module.split(".")[0] in {*sys.stdlib_module_names, "lesson_support"}


@pytest.mark.parametrize("name", [*start.COMMANDS])
def test_help_needs_no_environment(name):
    run = subprocess.run(
        [sys.executable, "-S", "-m", "lesson_support", name, "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    assert f"lesson_support {name}" in run.stdout


def test_too_old_a_python_is_one_sentence_that_names_a_newer_one(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CommandError, match=r"Python 3\.8, and the lessons need 3\.11 or newer"
    ):
        setup.check_python("lab")
    if os.name == "posix":
        stub(tmp_path, "python3.12", "exit 0")
        with pytest.raises(
            CommandError, match=r"run: python3\.12 -m lesson_support lab"
        ):
            setup.check_python("lab")


def test_unknown_command_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lesson_support", "labb"])
    assert start.main() == 1
    assert capsys.readouterr().err == (
        f"There is no command 'labb'; the commands are {', '.join(start.COMMANDS)}.\n"
    )


def test_overview_names_every_command(capsys):
    assert start.run([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in start.COMMANDS)


def test_pins_follow_the_markers():
    text = (
        "# head\nhere==1.0\nelsewhere==2.0 ; sys_platform == 'nowhere'\n"
        "thing==3 ; python_version >= '3.11'  # why\n-e .\n"
    )
    assert setup.pins(text) == {"here": "1.0", "thing": "3"}


def test_requirements_are_exact_and_name_no_host():
    text = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines.pop() == "-e ."
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line) for line in lines)
    for aside in ("requirements-postgres.txt", "requirements-sqlalchemy-2.0.txt"):
        last = (PROJECT / aside).read_text(encoding="utf-8").splitlines()[-1]
        assert re.fullmatch(r"[a-z-]+==[\w.]+", last)


def test_an_environment_with_every_pin_is_used_as_it_is(monkeypatch, project):
    class Mine:
        def read_text(self, name):
            return json.dumps({"url": project.as_uri()})

    real = setup.metadata.distribution
    own = {"lesson-support": Mine()}
    monkeypatch.setattr(
        setup.metadata, "distribution", lambda name: own.get(name) or real(name)
    )
    version = setup.metadata.version("pytest")
    setup.REQUIREMENTS.write_text(f"pytest=={version}\n-e .\n")
    assert setup.is_satisfied()
    assert setup.enter_environment(["doctor"]) is None
    setup.REQUIREMENTS.write_text("pytest==0.0.1\n-e .\n")
    assert not setup.is_satisfied()
    setup.REQUIREMENTS.write_text(f"pytest=={version}\nno-such-package==1\n-e .\n")
    assert not setup.is_satisfied()
    monkeypatch.setattr(
        Mine, "read_text", lambda self, name: '{"url": "file:///elsewhere"}'
    )
    setup.REQUIREMENTS.write_text(f"pytest=={version}\n-e .\n")
    assert not setup.is_satisfied()


def test_a_finished_environment_is_entered_and_nothing_is_made(project, monkeypatch):
    finish(project)
    entered = []
    monkeypatch.setattr(setup, "is_satisfied", lambda: False)
    monkeypatch.setattr(setup, "make_environment", lambda: pytest.fail("made again"))
    monkeypatch.setattr(os, "execv", lambda path, command: entered.append(command))
    monkeypatch.setattr(
        subprocess, "call", lambda command: entered.append(command) or 0
    )
    setup.enter_environment(["lab", "--port", "9"])
    assert entered[0][1:] == ["-m", "lesson_support", "lab", "--port", "9"]


@pytest.mark.parametrize("whole", [True, False])
def test_ready_only_while_nothing_has_changed(project, whole):
    packages = finish(project)
    assert setup.is_ready(whole)
    (packages / "more").mkdir()
    assert setup.is_ready(whole), "a learner's own package does no harm"
    (packages / "sqlalchemy").rmdir()
    assert not setup.is_ready(whole), "a package vanished"
    (packages / "sqlalchemy").mkdir()
    setup.venv_python().unlink()
    assert not setup.is_ready(whole), "the interpreter vanished"
    setup.venv_python().touch()
    setup.REQUIREMENTS.write_text("more==1\n")
    assert not setup.is_ready(whole), "the requirements changed"


@pytest.mark.parametrize("text", ["", "{", '{"python": "any"}'])
def test_a_half_written_stamp_counts_as_none(project, text):
    finish(project)
    setup.STAMP.write_text(text)
    assert not setup.is_ready(whole=False)


def test_a_moved_folder_is_not_ready(project, monkeypatch):
    finish(project)
    stamp = json.loads(setup.STAMP.read_text())
    setup.STAMP.write_text(json.dumps({**stamp, "project": "/somewhere/else"}))
    assert not setup.is_ready(whole=False)


def test_the_stamp_comes_last(project, monkeypatch):
    steps = []
    monkeypatch.setattr(setup, "check_space", lambda: None)
    monkeypatch.setattr(setup, "rescue_uv", lambda: None)
    monkeypatch.setattr(setup, "empty_environment", lambda: steps.append("venv"))
    monkeypatch.setattr(setup, "put_uv", lambda: steps.append("uv") or Path("uv"))
    monkeypatch.setattr(setup, "install", lambda *words: steps.append("packages"))
    monkeypatch.setattr(setup, "write_stamp", lambda whole: steps.append("stamp"))
    setup.make_environment(whole=True)
    assert steps == ["venv", "uv", "packages", "stamp"]


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
def test_lab_begins_with_a_part_and_any_other_command_adds_the_rest(
    project, tmp_path, monkeypatch
):
    """Also where the rest was killed half-way: each of its packages is then written anew."""
    setup.FIRST.write_text("# head\nfirst==1\n-e .\n")
    setup.REQUIREMENTS.write_text("# another head\nfirst==1\nsecond==2\n-e .\n")
    log, asked = tmp_path / "log", []
    script = f"""
for word in "$@"; do case $word in *.txt) echo "$*" >> '{log}'; cat "$word" >> '{log}';; esac; done
[ ! -e '{tmp_path}/broken' ]"""
    stub(tmp_path, "uv", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(setup, "is_satisfied", lambda: False)
    monkeypatch.setattr(os, "execv", lambda path, words: asked.append(words[3]))

    def done(command: str) -> list[str]:
        log.write_text("")
        setup.enter_environment([command])
        assert asked.pop() == command
        return log.read_text().splitlines()

    words = done("lab")
    assert words[1:] == ["# head", "first==1", "-e ."] and "--reinstall" not in words[0]
    assert setup.is_ready(whole=False) and not setup.is_ready(whole=True)
    assert done("lab") == [], "what it needs is there"
    (tmp_path / "broken").touch()
    with pytest.raises(CommandError, match="cannot be installed"):
        setup.enter_environment(["setup"])
    assert setup.is_ready(whole=False) and not setup.is_ready(whole=True)
    (tmp_path / "broken").unlink()
    words = done("doctor")
    assert words[1:] == ["# another head", "second==2"] and "--reinstall" in words[0]
    assert setup.is_ready(whole=True)
    assert done("test") == done("lab") == []
    setup.STAMP.unlink()
    assert done("test")[1:] == ["# another head", "first==1", "second==2", "-e ."]


def test_what_lab_begins_with_needs_nothing_that_comes_later():
    """But for jedi, without which IPython completes code by what is there."""
    begin = setup.pins(setup.FIRST.read_text(encoding="utf-8"))
    whole = setup.pins(setup.REQUIREMENTS.read_text(encoding="utf-8"))
    assert begin.items() < whole.items()
    later = whole.keys() - begin.keys()
    assert {"jedi", "mypy", "pytest"} <= later
    here = {"extra": ""}
    for name in begin:
        for text in setup.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(here):
                needs = canonicalize_name(needed.name)
                assert needs not in later - {"jedi"}, (name, needs)


def test_no_disk_space_is_one_sentence(project, monkeypatch):
    monkeypatch.setattr(setup, "MEGABYTES_NEEDED", 10**12)
    with pytest.raises(CommandError, match="MB free and the lessons need"):
        setup.make_environment(whole=False)
    assert not setup.VENV.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(project, monkeypatch):
    def refuse(*words, **options):
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CommandError, match="cannot be written to; copy the lessons"):
        setup.make_environment(whole=False)


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_module_names_the_debian_package(monkeypatch, module):
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"sudo apt install python3\.\d+-venv"):
        setup.need_module(module)


def test_pip_is_only_made_where_python_has_none(project, monkeypatch):
    commands = []
    monkeypatch.setattr(
        setup, "follow", lambda command, failure: commands.append(command)
    )
    monkeypatch.setattr(setup.metadata, "version", lambda name: "23.0")
    setup.put_uv()
    assert [c[1:4] for c in commands] == [["-m", "pip", "--python"]]
    commands.clear()
    monkeypatch.setattr(setup.metadata, "version", lambda name: "22.2")
    monkeypatch.setattr(setup, "need_module", lambda name: None)
    setup.put_uv()
    assert [c[1:3] for c in commands] == [["-m", "ensurepip"], ["-m", "pip"]]


FAILURES = [
    ("error: Failed to fetch: x\n  Caused by: dns error", "no network"),
    ("error: tunnel error: failed\n  Connection refused", "no network"),
    (
        "NewConnectionError: refused\nERROR: No matching distribution found for uv",
        "no network",
    ),
    (
        "error: failed to write: No space left on device (os error 28)",
        "no space is left",
    ),
    (
        "error: There is not enough space on the disk. (os error 112)",
        "no space is left",
    ),
    (
        "error: failed to create file: Permission denied (os error 13)",
        "cannot be written to",
    ),
    ("error: Read-only file system (os error 30)", "cannot be written to"),
    (
        "error: the thing broke",
        r"the packages cannot be installed \(error: the thing broke\)",
    ),
    ("", r"cannot be installed \(no reason given\)"),
]


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
@pytest.mark.parametrize(("printed", "sentence"), FAILURES)
def test_a_failing_installer_is_one_sentence(project, tmp_path, printed, sentence):
    (tmp_path / "said").write_text(printed)
    stub(tmp_path, "uv", f"cat '{tmp_path}/said' >&2; exit 2")
    with pytest.raises(CommandError, match=sentence) as caught:
        setup.install(tmp_path / "uv", Path(sys.executable), "-r", "requirements.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
def test_progress_is_shown_without_the_long_list(project, tmp_path, capsys):
    stub(
        tmp_path,
        "uv",
        "echo 'Installed 2 packages'; echo ' + jedi==1'; echo ' + numpy==2'",
    )
    setup.install(tmp_path / "uv", Path(sys.executable), "jedi")
    assert capsys.readouterr().out == "    Installed 2 packages\n"


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
def test_uv_outlives_the_environment_that_it_came_in(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert setup.find_uv() is None
    finish(project)
    stub(setup.venv_python().parent, "uv", "exit 0")
    setup.ASIDE.mkdir()
    assert setup.rescue_uv() == setup.ASIDE / "uv"
    assert setup.find_uv() == setup.ASIDE / "uv"
    stub(tmp_path, "uv", "exit 1")
    assert setup.find_uv() == setup.ASIDE / "uv", "one that does not run is passed over"
    stub(tmp_path, "uv", "exit 0")
    assert setup.find_uv() == tmp_path / "uv"


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
def test_a_package_is_put_aside_once_and_again_when_its_pin_changes(
    project, monkeypatch, tmp_path
):
    stub(
        tmp_path,
        "uv",
        f'echo "$@" >> "{tmp_path}/log"; [ "$1" = --version ] || mkdir -p aside',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    pin = project / "requirements-thing.txt"
    for text, times in (("thing==1\n", 1), ("thing==1\n", 1), ("thing==2\n", 2)):
        pin.write_text(text)
        setup.install_aside(pin, project / "aside")
        log = (tmp_path / "log").read_text()
        assert log.count("--target") == times


@pytest.mark.skipif(os.name != "posix", reason="the stub is a shell script")
def test_an_interrupted_package_is_put_aside_again(project, monkeypatch, tmp_path):
    stub(tmp_path, "uv", "[ $1 = --version ] || { mkdir -p aside/half; exit 1; }")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    pin = project / "requirements-thing.txt"
    pin.write_text("thing==1\n")
    with pytest.raises(CommandError):
        setup.install_aside(pin, project / "aside")
    stub(tmp_path, "uv", "[ $1 = --version ] || mkdir -p aside/whole")
    setup.install_aside(pin, project / "aside")
    assert not (project / "aside/half").exists()
    assert (project / "aside/whole").exists()


def test_a_second_set_up_waits_for_the_first(project):
    pytest.importorskip("fcntl")
    hold = (
        "import sys, time; from pathlib import Path; from lesson_support.commands import setup;"
        "setup.ASIDE = Path(sys.argv[1]);\n"
        "with setup.only_one(): print('in', flush=True); time.sleep(float(sys.argv[2]))"
    )
    where = str(setup.ASIDE)
    with subprocess.Popen(
        [sys.executable, "-c", hold, where, "1"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout.readline() == "in\n"
        second = subprocess.run(
            [sys.executable, "-c", hold, where, "0"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
    assert second.stdout.splitlines() == [
        "Another set-up is at work in this folder; waiting for it.",
        "in",
    ]
