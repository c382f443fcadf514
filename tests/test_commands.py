"""The commands: what they start, what they refuse, and what `refresh` stores."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from faults import lives, wait_until

from lesson_support.commands import (
    PROJECT,
    CommandError,
    answers,
    children,
    doctor,
    lab,
    refresh,
    reset,
    setup,
)
from lesson_support.commands import test as testing

# --- lab


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_one_sentence(taken):
    with pytest.raises(CommandError, match=f"port {taken} is taken by another program"):
        lab.choose_port(taken)


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_no_port_is_one_sentence(port):
    with pytest.raises(CommandError, match="is no port"):
        lab.choose_port(port)


def test_the_usual_port_gives_way_to_the_next_free_one(taken, monkeypatch):
    monkeypatch.setattr(lab, "USUAL_PORT", taken)
    assert taken < lab.choose_port(None) < taken + 100


def test_a_notebook_is_found_by_number_name_and_path(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(lab, "FIRST", tmp_path / "00-start.ipynb")
    assert lab.find_notebook(None) == tmp_path
    for name in ("00-start.ipynb", "03-insert.ipynb"):
        (tmp_path / name).touch()
    assert lab.find_notebook(None).name == "00-start.ipynb"
    assert (
        lab.find_notebook("3")
        == lab.find_notebook("03")
        == tmp_path / "03-insert.ipynb"
    )
    assert lab.find_notebook("03-insert.ipynb") == tmp_path / "03-insert.ipynb"
    assert (
        lab.find_notebook(str(tmp_path / "03-insert.ipynb")).name == "03-insert.ipynb"
    )
    with pytest.raises(CommandError, match="there is no notebook 17"):
        lab.find_notebook("17")


def test_root_is_allowed_only_for_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in lab.jupyter(lab.NOTEBOOKS, 8888, True, [])
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in lab.jupyter(lab.NOTEBOOKS, 8888, True, [])


def test_words_after_two_dashes_come_last(monkeypatch):
    seen = started(monkeypatch)
    assert lab.main(["--no-browser", "--", "--log-level=INFO"]) == 0
    assert seen["command"][-1] == "--log-level=INFO"
    assert "--no-browser" in seen["command"]


def started(monkeypatch) -> dict:
    """What `lab` would have started."""
    seen = {}

    def note(command, env, cwd):
        seen.update(command=command, env=env)
        return 0

    monkeypatch.setattr(children, "run", note)
    monkeypatch.delenv(lab.DATABASE, raising=False)
    return seen


def test_lab_says_which_database_and_never_its_url(monkeypatch, capsys):
    seen = started(monkeypatch)
    lab.main([])
    assert "The lessons use SQLite" in capsys.readouterr().out
    assert lab.DATABASE not in seen["env"]

    from lesson_support import database

    monkeypatch.setattr(database, "check_server", lambda: "fine")
    monkeypatch.setenv(lab.DATABASE, "postgresql://ada:secret@db.example/school")
    lab.main(["--postgres"])
    printed = capsys.readouterr().out
    assert f"the PostgreSQL server that {lab.DATABASE} names" in printed
    assert "secret" not in printed and "example" not in printed


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_lab_fetches_the_rest_meanwhile_and_stops_that_too(
    monkeypatch, tmp_path, capsys
):
    started(monkeypatch)
    note = tmp_path / "pid"
    script = (
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(99)'])\n"
        f"pathlib.Path({str(tmp_path / 'draft')!r}).write_text(str(child.pid))\n"
        f"pathlib.Path({str(tmp_path / 'draft')!r}).rename({str(note)!r})\n"
        "time.sleep(99)"
    )
    monkeypatch.setattr(lab, "FETCH", script)
    monkeypatch.setattr(lab, "quieten", lambda: None)
    monkeypatch.setattr(setup, "inside_venv", lambda: True)
    monkeypatch.setattr(setup, "is_ready", lambda whole: not whole)

    def jupyterlab(command, env, cwd):
        wait_until(note.exists, "the installer runs")
        return 0

    monkeypatch.setattr(children, "run", jupyterlab)
    assert lab.main([]) == 0
    assert "are fetched meanwhile" in capsys.readouterr().out
    installer = int(note.read_text())
    wait_until(lambda: not lives(installer), "the installer ends")
    note.unlink()
    monkeypatch.setattr(setup, "is_ready", lambda whole: True)
    monkeypatch.setattr(children, "run", lambda *words, **options: 0)
    lab.main([])
    assert "meanwhile" not in capsys.readouterr().out and not note.exists()


def test_lab_hands_the_local_server_down(monkeypatch, capsys):
    import contextlib

    seen = started(monkeypatch)
    stopped = []

    @contextlib.contextmanager
    def server(keep):
        yield "postgresql+psycopg://postgres:secret@127.0.0.1:1/postgres"
        stopped.append(keep)

    monkeypatch.setattr(lab.postgres, "server", server)
    lab.main(["--postgres"])
    assert seen["env"][lab.DATABASE].endswith("@127.0.0.1:1/postgres")
    assert stopped == [True]
    assert "secret" not in capsys.readouterr().out


# --- child processes


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_child_ends_with_its_owner(number, tmp_path):
    if number == signal.SIGKILL and not sys.platform.startswith("linux"):
        pytest.skip("Linux tells a child of its owner")
    script = (
        "import signal, sys; from lesson_support.commands import children\n"
        # A run of the tests in the background may hand an ignored SIGINT down.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "children.SECONDS_AFTER_CTRL_C = 0.1\n"
        "with children.tidy_end(): children.run([sys.executable, '-c',"
        " 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'])"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    pid = int(owner.stdout.readline())
    assert children.alive(pid, "time.sleep")
    owner.send_signal(number)
    owner.wait(20)
    until = time.monotonic() + 5
    while children.alive(pid, "time.sleep") and time.monotonic() < until:
        time.sleep(0.05)
    assert not children.alive(pid, "time.sleep")


# --- test


REPORT = (
    "<testsuites><testsuite><testcase classname='a.ipynb@sqlite-2.1' />"
    "<testcase classname='a.ipynb@sqlite-2.0'><failure /></testcase>"
    "<testcase classname='a.ipynb@sqlite-2.0'><error /></testcase>"
    "<testcase classname='a.ipynb@sqlite-2.1'><skipped /></testcase></testsuite></testsuites>"
)


def test_reports_are_counted_errors_as_failures(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert testing.count(report) == {"passed": 1, "failed": 2, "skipped": 1}
    assert testing.count(report, "sqlite-2.1") == {
        "passed": 1,
        "failed": 0,
        "skipped": 1,
    }
    report.write_text("<testsuites><test")
    assert sum(testing.count(report).values()) == 0
    assert sum(testing.count(tmp_path / "none.xml").values()) == 0


def step(tmp_path: Path, code: int, report: bool = False) -> testing.Step:
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    return testing.Step(
        "a step", command, {}, tmp_path / "none.xml" if report else None
    )


def test_a_step_that_dies_without_a_report_counts_as_failed(tmp_path):
    died = step(tmp_path, 3, report=True)
    testing.run(died, lenient=False)
    assert died.counts["failed"] == 1


def test_no_test_at_all_is_a_failure_unless_they_were_chosen(tmp_path):
    empty = step(tmp_path, testing.NOTHING_COLLECTED, report=True)
    testing.run(empty, lenient=False)
    assert empty.code and empty.counts["failed"] == 1
    chosen = step(tmp_path, testing.NOTHING_COLLECTED, report=True)
    testing.run(chosen, lenient=True)
    assert not chosen.code and not chosen.counts["failed"]


def test_the_summary_adds_up_and_names_what_failed(tmp_path):
    good, bad = step(tmp_path, 0), step(tmp_path, 1)
    good.counts, bad.counts, bad.code = (
        {"passed": 4, "skipped": 1},
        {"passed": 2, "failed": 3},
        1,
    )
    bad.name = "a bad step"
    text = testing.summary([good, bad], 61.2)
    assert "6 passed, 3 failed, 1 skipped in 61 s" in text
    assert text.endswith("These steps failed: a bad step. Their lines above say where.")
    assert testing.summary([good], 1).endswith("Every check passed.")


def test_every_step_runs_and_one_failure_is_enough(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(testing, "REPORTS", tmp_path)
    steps = [step(tmp_path, 1), step(tmp_path, 0)]
    monkeypatch.setattr(testing, "plan", lambda *words: steps)
    words = ["--database", "sqlite", "--sqlalchemy", "2.1"]
    assert testing.main(words) == 1
    assert "1 passed, 1 failed, 0 skipped" in capsys.readouterr().out
    steps.pop(0)
    assert testing.main(words) == 0


def test_the_plan_covers_what_was_asked_for():
    url = "postgresql+psycopg://x"
    both = testing.plan(
        ["SQLite", "PostgreSQL"], ["2.1", "2.0"], url, {"A": "b"}, ["-x"]
    )
    assert [s.name for s in both] == ["style (ruff)", "unit tests", "notebooks"]
    assert all(s.environment["A"] == "b" for s in both)
    assert [s.environment.get(testing.SERVER) for s in both] == [None, url, url]
    assert not any(testing.DATABASE in s.environment for s in both)
    assert all("-x" in s.command for s in both[1:])
    kinds = ["sqlite-2.1", "postgresql-2.1", "sqlite-2.0", "postgresql-2.0"]
    assert [w for w in both[2].command if w.startswith("--lessons=")] == [
        f"--lessons={kind}" for kind in kinds
    ]
    assert both[2].parts == kinds
    [one] = testing.plan(["SQLite"], ["2.0"], None, {}, [])
    assert one.name == "notebooks" and one.parts == ["sqlite-2.0"]


def test_a_step_sees_nothing_of_the_learners_own_database(monkeypatch, tmp_path):
    for name in (testing.DATABASE, testing.SERVER, "PYTHONPATH"):
        monkeypatch.setenv(name, "mine")
    looking = f"import os, sys; sys.exit({testing.DATABASE!r} in os.environ)"
    clean = testing.Step("a step", [sys.executable, "-c", looking])
    testing.run(clean, lenient=False)
    assert clean.code == 0


def test_a_server_of_ones_own_is_used_for_the_tests(monkeypatch):
    monkeypatch.setattr(testing.postgres, "server", lambda: pytest.fail("started one"))
    monkeypatch.setenv(testing.DATABASE, "postgresql://mine")
    monkeypatch.delenv(testing.SERVER, raising=False)
    with testing.postgresql(True) as url:
        assert url == "postgresql://mine"
    with testing.postgresql(False) as url:
        assert url is None


# --- refresh


def notebook(*cells: dict) -> dict:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}


def code(source: str, identity: str, **more) -> dict:
    cell = {"cell_type": "code", "source": source, "id": identity, "metadata": {}}
    return {**cell, "execution_count": None, "outputs": [], **more}


MESSY = notebook(
    {
        "cell_type": "markdown",
        "source": "# A",
        "id": "title",
        "metadata": {"trusted": True},
    },
    code(
        "1",
        "one",
        execution_count=7,
        metadata={"execution": {"iopub": "a time"}, "tags": ["keep"], "scrolled": True},
        outputs=[
            {"output_type": "stream", "name": "stdout", "text": "a\n"},
            {"output_type": "stream", "name": "stdout", "text": "b\n"},
            {"output_type": "stream", "name": "stderr", "text": "c\n"},
            {
                "output_type": "execute_result",
                "execution_count": 7,
                "metadata": {"a": 1},
                "data": {"text/plain": "1"},
            },
            {
                "output_type": "display_data",
                "metadata": {},
                "data": {"text/vnd.mermaid": "graph", "image/svg+xml": "<svg/>"},
            },
        ],
    ),
    code("  ", "empty", execution_count=8),
    code(
        "x",
        "error",
        execution_count=9,
        outputs=[
            {
                "output_type": "error",
                "ename": "NameError",
                "evalue": "x",
                "traceback": [
                    "\x1b[31mFile ~/me/.venv/lib/python3.11/site-packages/sqlalchemy/orm.py:1\x1b[0m",
                    f"File {PROJECT / 'lesson_support' / 'data.py'}:3 <f at 0x7f00deadbeef>",
                    r"File C:\Users\me\site-packages\x.py",
                ],
            }
        ],
    ),
)


def normal(raw: dict) -> dict:
    read = nbformat.reads(json.dumps(raw), as_version=4)
    return json.loads(refresh.dumps(refresh.normalise(read)))


def test_the_stored_form_keeps_what_a_reader_sees():
    made = normal(MESSY)
    assert made["metadata"] == {
        "kernelspec": refresh.KERNEL,
        "language_info": {"name": "python"},
    }
    title, one, empty, error = made["cells"]
    assert [c["id"] for c in made["cells"]] == ["title", "one", "empty", "error"]
    assert title["metadata"] == {}
    assert one["metadata"] == {"tags": ["keep"]}
    assert [
        one["execution_count"],
        empty["execution_count"],
        error["execution_count"],
    ] == [1, None, 2]
    out, err, result, drawing = one["outputs"]
    assert out["text"] == ["a\n", "b\n"] and err["text"] == ["c\n"]
    assert result["execution_count"] == 1 and result["metadata"] == {}
    assert drawing["data"] == {"text/vnd.mermaid": ["graph"]}
    text = "\n".join(error["outputs"][0]["traceback"])
    assert text == (
        "File sqlalchemy/orm.py:1\n"
        f"File {Path('lesson_support', 'data.py')}:3 <f at 0x...>\n"
        "File x.py"
    )


def test_the_stored_form_is_stable():
    once = normal(MESSY)
    assert normal(once) == once


@pytest.fixture
def written(tmp_path):
    """Writes a notebook to a file and returns its path."""

    def write(*cells: dict, name: str = "01-a.ipynb") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(notebook(*cells)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def reference(monkeypatch, tmp_path):
    """`refresh` leaves the variables of this process as they were."""
    monkeypatch.delenv("LESSONS_DATABASE_URL", raising=False)
    for name, value in children.apart(tmp_path).items():
        monkeypatch.setenv(name, value)


def test_refresh_runs_stores_and_changes_nothing_the_second_time(
    written, reference, capsys
):
    path = written(
        code(
            "import os, pathlib; pathlib.Path.cwd().name == pathlib.Path('.').resolve().name",
            "cwd",
        ),
        code("1 / 0", "wrong", metadata={"tags": ["raises-exception"]}),
        code("print('a'); print('b'); 2 + 2", "last"),
    )
    assert refresh.main([str(path)]) == 0
    made = json.loads(path.read_text(encoding="utf-8"))
    assert [c["execution_count"] for c in made["cells"]] == [1, 2, 3]
    assert made["cells"][1]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert made["cells"][2]["outputs"][0]["text"] == ["a\n", "b\n"]
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert refresh.main([str(path)]) == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert refresh.main(["--check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "refreshed" in printed and "unchanged" in printed


def test_an_unexpected_error_names_notebook_and_cell_and_stores_nothing(
    written, reference, capsys
):
    bad = written(code("1", "fine"), code("print(nothing)", "bad-cell"))
    good = written(code("1", "fine"), name="02-b.ipynb")
    before = bad.read_bytes()
    assert refresh.main([str(bad), str(good)]) == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"01-a\.ipynb: cell 2 \(bad-cell\) failed: NameError: name 'nothing'", printed
    )
    assert bad.read_bytes() == before
    assert json.loads(good.read_text())["cells"][0]["execution_count"] == 1, (
        "the other is stored"
    )


def test_a_cleared_notebook_is_not_in_its_stored_form(written, reference, capsys):
    path = written(code("1", "one"))
    before = path.read_bytes()
    assert refresh.main(["--check", str(path)]) == 1
    assert "not in its stored form; run: refresh" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_file_that_is_no_notebook_is_one_sentence(tmp_path, reference):
    path = tmp_path / "01-a.ipynb"
    for text in ("", "{}", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'):
        path.write_text(text)
        with pytest.raises(CommandError, match="is not a notebook"):
            refresh.main(["--check", str(path)])


def test_refresh_stores_only_from_the_reference(monkeypatch):
    import sqlalchemy

    monkeypatch.setenv("LESSONS_DATABASE_URL", "postgresql://x")
    with pytest.raises(CommandError, match="stored from SQLite"):
        refresh.check_reference()
    monkeypatch.delenv("LESSONS_DATABASE_URL")
    monkeypatch.setattr(sqlalchemy, "__version__", "2.0.58")
    with pytest.raises(
        CommandError, match=r"stored from SQLAlchemy 2\.1\.\d+, and this is 2\.0\.58"
    ):
        refresh.check_reference()


def test_refresh_of_all_writes_the_page_of_answers(
    written, reference, monkeypatch, tmp_path, capsys
):
    async def nothing_failed(paths, run):
        return []

    index, page = tmp_path / "index.yml", tmp_path / "find-an-answer.md"
    monkeypatch.setattr(refresh, "refresh", nothing_failed)
    monkeypatch.setattr(refresh, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(answers, "PROJECT", tmp_path)
    monkeypatch.setattr(answers, "PAGE", page)
    monkeypatch.setattr(answers.read, "__defaults__", (index,))
    path = written(code("1", "one"))
    line = "- {id: T001, ask: What is this for, lesson: 01-a, heading: A cell}\n"
    index.write_text(line, encoding="utf-8")

    assert refresh.main([str(path)]) == 0
    assert not page.exists(), "one notebook was named"
    assert refresh.main(["--check"]) == 1, "there is no page"
    assert refresh.main([]) == 0
    assert "(../notebooks/01-a.ipynb#A-cell)" in page.read_text(encoding="utf-8")
    assert refresh.main(["--check"]) == 0

    index.write_text(line.replace("What", "How"), encoding="utf-8")
    before = page.read_bytes()
    capsys.readouterr()
    assert refresh.main(["--check"]) == 1
    assert "not the page of its index; run: refresh" in capsys.readouterr().out
    assert page.read_bytes() == before
    index.write_text("- [", encoding="utf-8")
    assert refresh.main([]) == 1
    assert "must be a list" in capsys.readouterr().out


# --- doctor and reset


def test_doctor_says_what_is_wrong_and_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "database", lambda: ("ok", "SQLite 3 works", ""))
    monkeypatch.setattr(doctor, "packages", lambda: ("ok", "sqlalchemy 2.1.9", ""))
    monkeypatch.setattr(doctor, "workspace", lambda: ("ok", "can be written to", ""))
    monkeypatch.setattr(doctor, "local_postgres", lambda: ("ok", "none yet", ""))
    assert doctor.main([]) == 0
    assert "Everything is in order." in capsys.readouterr().out
    monkeypatch.setattr(doctor, "database", lambda: ("WRONG", "no server answers", ""))
    assert doctor.main([]) == 1
    assert "WRONG  database:" in capsys.readouterr().out


def test_doctor_compares_packages_with_their_pins(monkeypatch):
    versions = {"sqlalchemy": "2.1.9", "psycopg": "3", "jupyterlab": "4", "pandas": "3"}
    monkeypatch.setattr(doctor.setup, "pins", lambda text: versions)
    monkeypatch.setattr(doctor.metadata, "version", versions.get)
    assert doctor.packages()[0] == "ok"
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.4")
    state, text, cure = doctor.packages()
    assert (
        state == "WRONG"
        and "sqlalchemy 1.4 instead of 2.1.9" in text
        and ".venv" in cure
    )


def test_doctor_looks_at_the_workspace(monkeypatch, tmp_path):
    monkeypatch.setenv("LESSONS_WORKSPACE", str(tmp_path / "new"))
    assert doctor.workspace()[0] == "ok"
    (tmp_path / "file").touch()
    monkeypatch.setenv("LESSONS_WORKSPACE", str(tmp_path / "file"))
    assert doctor.workspace()[0] == "WRONG"


def test_reset_asks_first(workspace, monkeypatch, capsys):
    from lesson_support.database import connect

    connect("01").connect().close()
    with pytest.raises(CommandError, match="add --yes"):
        monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
        reset.main([])

    class Person:
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Person())
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert reset.main([]) == 0
    assert "Nothing was removed." in capsys.readouterr().out
    assert list(workspace.iterdir())
    assert reset.main(["--yes"]) == 0
    assert "removed: " in capsys.readouterr().out
    assert reset.main(["--yes"]) == 0
    assert "There was nothing to remove." in capsys.readouterr().out
