"""The capstone: what its cells wait for, what it sums up, and learners who do not go straight."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager

import nbformat
import pytest
from nbclient import NotebookClient
from sqlalchemy import create_engine
from test_rerun import complaints, said

from lesson_support import LessonError, _record, certificate, ready
from lesson_support.check import exercise
from lesson_support.database import reset
from lesson_support.exercises.lesson_16 import EXERCISES
from notebooks import CALL, FOLDER, cells

PATH = FOLDER / "16-build-a-blog.ipynb"
STEPS = {item.id: item for item in EXERCISES}
MODELS = STEPS["16-models"].code


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """No check was ever made."""
    for name in ("here", "answers"):
        monkeypatch.setattr(_record, name, {})
        monkeypatch.setattr(f"lesson_support.summary.{name}", getattr(_record, name))


# --- in one process


def test_ready_names_the_first_step_that_is_missing(capsys):
    assert not ready("16-add")
    assert "step 1 (16-models) is not attempted yet" in capsys.readouterr().out
    _record.note("16-models", "good")
    assert not ready("16-add")
    assert "step 3 (16-add) is not attempted yet" in capsys.readouterr().out
    _record.note("16-add", "bad", "it is wrong")
    assert not ready("16-add")
    assert "step 3 (16-add) is not correct yet" in capsys.readouterr().out
    _record.note("16-add", "good")
    assert ready("16-add")
    assert capsys.readouterr().out == ""
    _record.note("16-models", "bad", "a column is gone")
    assert not ready("16-add")


def test_ready_asks_for_tables_where_an_engine_is_given(capsys):
    _record.note("16-models", "good")
    _record.note("16-list", "good")
    engine = create_engine("sqlite://")
    assert not ready("16-list", engine)
    assert "the database has no tables yet" in capsys.readouterr().out
    with engine.begin() as connection:
        connection.exec_driver_sql("create table users (id integer)")
    assert ready("16-list", engine)
    with pytest.raises(LessonError, match='did you mean "16-list"'):
        ready("16-lst")


def test_a_certificate_says_the_newest_state_in_words():
    exercise("16-models").check(...)
    exercise("16-tables").check(5)
    _record.note("16-add", "bad", "old")
    _record.note("16-add", "good")
    shown = certificate("16")
    lines = repr(shown).splitlines()
    assert lines[0] == "Lesson 16, Build a blog: 1 of 8 correct"
    assert lines[1].startswith("  … not attempted  Step 1: ")
    assert lines[2].startswith("  ✗ not yet        Step 2: ")
    assert lines[3].strip().startswith("because the answer should be the function")
    assert lines[4].startswith("  ✔ correct        Step 3: ")
    assert len(lines) == 1 + 8 + 1
    assert 'class="ls ls-box open"' in shown.html
    assert shown.html.count('scope="row"') == 8 and "<caption>Lesson 16" in shown.html


def test_a_check_that_could_not_judge_leaves_what_was_correct():
    def list_posts(session):
        return session.scalars(())

    def state() -> str:
        return _record.said("16-list")["16-list"].kind

    reply = repr(exercise("16-list").check(list_posts))
    assert "step 1 has no Base yet" in reply and state() == "bad"
    _record.note("16-list", "good")
    assert repr(exercise("16-list").check(list_posts)) == reply and state() == "good"
    exercise("16-list").check(list_posts, 2)
    assert state() == "good"
    exercise("16-list").check(5)
    assert state() == "bad"


def test_a_certificate_of_everything_and_a_name():
    for id in STEPS:
        _record.note(id, "good")
    shown = certificate("16", "  Ada <b>\nL. ")
    assert repr(shown).startswith(
        "Ada <b> L., lesson 16, Build a blog: 8 of 8 correct\n"
    )
    assert "Ada &lt;b&gt; L." in shown.html and "<b>" not in shown.html
    assert 'class="ls ls-box good"' in shown.html
    assert "mapped two tables from nothing" in repr(shown)


def test_a_certificate_of_any_lesson_and_of_none():
    assert repr(certificate("05")).startswith("Lesson 05: 0 of 4 correct\n")
    for nothing in ("99", "../16", 16.5, ""):
        with pytest.raises(LessonError, match="no lesson"):
            certificate(nothing)


# --- in a notebook


@contextmanager
def kernel():
    """Yield the code cells of the lesson by id, and a function that runs one of them."""
    book = nbformat.read(PATH, as_version=4)
    found = {cell.id: cell for cell in book.cells if cell.cell_type == "code"}
    client = NotebookClient(
        book,
        timeout=60,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(FOLDER)}},
    )

    def run(*ids: str) -> list[str]:
        texts = []
        for id in ids:
            client.execute_cell(found[id], 0)
            assert not complaints(found[id]), found[id].source
            texts += said(found[id])
        return texts

    with client.setup_kernel():
        yield found, run


def write(found: dict, id: str, code: str) -> str:
    """Put an answer in the place of a stub; the id of the cell is returned."""
    for cell in found.values():
        call = CALL.search(cell.source)
        if call and call[1] == id:
            cell.source = f"{code.removeprefix(MODELS).strip() or MODELS}\n\n{call[0]}"
            return cell.id
    raise KeyError(id)


def test_all_steps_in_order_twice(database):
    with kernel() as (found, run):
        for id, item in STEPS.items():
            write(found, id, item.piece or item.code)
        first = run(*found)
        text = "\n".join(first)
        assert len(re.findall(r"^✔ 16-", text, re.MULTILINE)) == 8
        assert "✗" not in text and "Nothing was run" not in text
        assert "What changed: 7 inserted, 0 changed, 0 deleted" in text
        assert "What changed: 0 inserted, 1 changed, 0 deleted, 6 left alone" in text
        assert "What changed: 0 inserted, 0 changed, 3 deleted, 4 left alone" in text
        assert "foreign key: user_id → users.id; ON DELETE: CASCADE" in first[-2]
        assert "8 of 8 correct" in first[-1]
        assert [text for text in run(*found) if text.startswith("✗")] == []


def test_half_way_and_wrong(database):
    with kernel() as (found, run):
        run("setup")
        for id in ("16-models", "16-tables", "16-add"):
            run(write(found, id, STEPS[id].piece or STEPS[id].code))
        step = write(found, "16-titles", STEPS["16-titles"].wrong[-1].code)
        assert run(step)[0].startswith("✗ 16-titles")
        waits = "Nothing was run here, because"
        assert "step 4 (16-titles) is not correct yet" in run("step-4-run")[0]
        assert f"{waits} step 5 (16-list) is not attempted" in run("step-5-run")[0]
        write(found, "16-list", STEPS["16-list"].piece)
        run("step-5-code")
        assert f"{waits} the database has no tables" in run("step-5-run")[0]
        assert "What changed: 7 inserted" in run("step-3-run")[0]
        assert "2026-01-08 Again by ada" in run("step-5-run")[0]
        assert "3 of 8 correct" not in run("result-code")[0]
        assert "4 of 8 correct" in run("result-code")[0]


def test_every_step_without_step_1(database):
    with kernel() as (found, run):
        for id in list(STEPS)[1:]:
            write(found, id, STEPS[id].piece)
        text = "\n".join(run(*found))
        needs = "not yet, because step 1 has no class User yet"
        assert text.count(needs) == 7
        assert "16-models: not attempted" in text
    with kernel() as (found, run):
        run("setup")
        reply = run(write(found, "16-list", STEPS["16-list"].piece))[0]
        assert "step 1 has no Base yet; run the cell of step 1 first" in reply


def test_a_restart_keeps_rows_and_results(database):
    with kernel() as (found, run):
        for id, item in STEPS.items():
            write(found, id, item.piece or item.code)
        run(*found)
    with kernel() as (found, run):
        run("setup")
        assert "8 of 8 correct" in run("result-code")[0]
        assert "users: 2 rows" in run("look-code")[0]
        was = "was correct before the kernel was restarted"
        assert f"step 1 (16-models) {was}" in run("step-5-run")[0]
        early = run(write(found, "16-titles", STEPS["16-titles"].piece))[0]
        assert "step 1 has no Base yet" in early
        assert "8 of 8 correct" in run("result-code")[0]
        run(write(found, "16-models", MODELS))
        assert f"step 5 (16-list) {was}" in run("step-5-run")[0]
        run(write(found, "16-list", STEPS["16-list"].piece))
        assert "2026-01-06 Rain by eve" in run("step-5-run")[0]
        run(write(found, "16-list", STEPS["16-list"].wrong[1].code))
        assert "7 of 8 correct" in run("result-code")[0]
    assert any("record" in name for name in reset())
    with kernel() as (found, run):
        run("setup")
        assert "0 of 8 correct" in run("result-code")[0]
        assert "There is no table in this database yet." in run("look-code")[0]


def test_a_broken_class_cell_stops_the_cells_that_use_it(workspace):
    with kernel() as (found, run):
        for id in ("16-models", "16-tables", "16-add"):
            step = write(found, id, STEPS[id].piece or STEPS[id].code)
            run("setup", step)
        run("step-2-run", "step-3-run")
        whole = found["step-1"].source
        found["step-1"].source = MODELS.replace('__tablename__ = "posts"', "")
        with pytest.raises(AssertionError):
            run("step-1")
        changed = "step 1 (16-models) was changed after its check; run its cell again"
        assert changed in run("step-3-run")[0]
        assert "step 1 is not finished: UnmappedClassError" in run(step)[0]
        found["step-1"].source = whole
        run("step-1")
        assert "step 3 (16-add) was changed" in run("step-3-run")[0]


def test_no_wrong_answer_breaks_a_later_cell(workspace):
    with kernel() as (found, run):
        for id, item in STEPS.items():
            write(found, id, item.piece or item.code)
        run(*found)
        uses = [id for id in found if id.endswith("-run")]
        for id, item in STEPS.items():
            for wrong in (w for w in item.wrong if w.code != item.piece):
                step = write(found, id, wrong.code)
                assert run(step)[0].startswith(f"✗ {id}: not yet"), wrong.code
                run(*uses, "look-code", "result-code")
            run(
                write(found, "16-models", MODELS),
                write(found, id, item.piece or MODELS),
            )
        assert "8 of 8 correct" in run("result-code")[0]


def test_the_whole_program_is_the_solutions_and_runs(tmp_path):
    text = next(cell["source"] for cell in cells(PATH) if cell["id"] == "program")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    for item in EXERCISES:
        assert (item.piece or item.code).strip() in code, item.id
    (tmp_path / "blog.py").write_text(code, encoding="utf-8")
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-W", "error", "blog.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1] == "[('ben', 1), ('eve', 1)]"
