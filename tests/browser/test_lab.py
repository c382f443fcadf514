"""JupyterLab, as the command `lab` opens it, in a learner's hands."""

from __future__ import annotations

import re

import pytest
from driver import PANEL, complaints, words

from lesson_support.commands import refresh
from notebooks import LESSONS

FIRST = LESSONS[0].name


def saved(notebook, lab, lesson) -> list[str]:
    """The lines of a lesson as JupyterLab saves it, in the form in which lessons are stored."""
    notebook.save()
    path = lab.folder / "notebooks" / lesson.name
    return refresh.dumps(refresh.normalise(refresh.read(path))).splitlines()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem[:2])
def test_a_lesson_runs_twice_is_readable_and_leads_to_the_next(
    notebook, lab, axe, shot, lesson
):
    opened = notebook(lesson.name)
    stored = lesson.read_text(encoding="utf-8").splitlines()
    for run in (opened.run_all, opened.restart_and_run_all):
        run()
        assert complaints(opened.cells()) == []
        assert saved(opened, lab, lesson) == stored
    found = {}
    for theme in ("Light", "Dark"):
        opened.theme(theme)
        found[theme] = opened.violations(axe, 1100)
        shot(opened.page, f"lesson-{lesson.stem[:2]}-{theme}".lower())
    assert found == {"Light": [], "Dark": []}
    for after in LESSONS[LESSONS.index(lesson) + 1 :][:1]:
        name = re.compile(rf"^{after.name[:2]}\b")
        opened.page.locator(PANEL).get_by_role("link", name=name).last.click()
        opened.wait_for(after.name)


def test_the_index_leads_to_a_section(notebook):
    opened = notebook(FIRST)
    opened.lay_out(1100)
    opened.page.locator(PANEL).locator("a[href*=find-an-answer]").first.click()
    link = opened.page.locator(".jp-MarkdownViewer a[href*='05-delete-a-parent.ipynb']")
    fragment = link.first.get_attribute("href").partition("#")[2]
    link.first.click()
    opened.wait_for("05-delete-a-parent.ipynb")
    heading = opened.page.locator(f'{PANEL} [data-jupyter-id="{fragment}"]')
    heading.wait_for(state="visible")
    opened.page.wait_for_function(
        "(node) => node.getBoundingClientRect().top >= 0"
        " && node.getBoundingClientRect().bottom <= innerHeight",
        arg=heading.element_handle(),
    )


def test_an_exercise_wrong_then_a_hint_then_right(notebook):
    opened = notebook(FIRST).run_all()
    page, out = opened.page, opened.outputs("exercise-1")
    hint = "How many posts can one user write"
    check = 'exercise("00-many-side").check(answer)'
    assert "not attempted" in out.inner_text()
    for answer, reply in (('"users"', "not yet, because"), ('"posts"', "correct.")):
        opened.edit("exercise-1")
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(f"answer = {answer}\n{check}")
        page.keyboard.press("Control+Enter")
        opened.at_rest()
        out.get_by_text(reply).wait_for()
        if answer == '"users"':
            assert hint not in out.inner_text()
            out.get_by_text("Hint 1 of 2").click()
            assert hint in out.inner_text()
    assert out.locator(".ls-box").count() == 1


def test_sql_is_folded_and_a_cell_run_twice_says_the_same(notebook):
    opened = notebook(FIRST).run_all()
    out = opened.outputs("first-sql-code")
    sql, statement = out.locator("details.ls-sql"), out.locator("pre.ls-stmt").first
    statement.scroll_into_view_if_needed()
    for visible in (False, True):
        sql.locator("summary").first.click()
        statement.wait_for(state="visible" if visible else "hidden")
    before = words(opened.cell("first-sql-code")["outputs"])
    opened.edit("first-sql-code")
    for _ in range(2):
        opened.page.keyboard.press("Control+Enter")
        opened.at_rest()
    after = opened.cell("first-sql-code")
    assert words(after["outputs"]) == before
    assert after["execution_count"] == 15


def test_everything_is_done_by_keyboard(notebook):
    opened = notebook(FIRST)
    keys = opened.page.keyboard
    for _ in opened.cells():
        keys.press("Shift+Enter")
    opened.at_rest()
    assert complaints(opened.cells()) == []
    # Folding: the key Tab leads into the outputs below the cell.
    opened.select("first-sql-code")
    summary = opened.outputs("first-sql-code").locator("summary").first
    for _ in range(20):
        keys.press("Tab")
        if summary.evaluate("(node) => node === document.activeElement"):
            break
    else:
        raise AssertionError("the SQL cannot be reached by Tab")
    for _ in range(2):
        was = summary.evaluate("(node) => node.parentElement.open")
        keys.press("Space")
        assert summary.evaluate("(node) => node.parentElement.open") != was


def test_the_theme_is_changed_in_the_menu(notebook):
    opened = notebook(FIRST).run_all()
    opened.theme("Light")  # the server remembers what another test chose
    page = opened.page
    shown = opened.outputs("rows-code").locator(".ls th").first
    colours = "(node) => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]"
    light = shown.evaluate(colours)
    for word in ("Settings", "Theme", "JupyterLab Dark"):
        page.locator(".lm-MenuBar-item, .lm-Menu-item").get_by_text(
            word, exact=True
        ).click()
    page.wait_for_function("() => document.body.dataset.jpThemeName.endsWith('Dark')")
    dark = shown.evaluate(colours)
    assert not set(light) & set(dark)
