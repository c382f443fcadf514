"""The index of topics and questions: every target exists, and the page is that of the index."""

from __future__ import annotations

import re

import pytest

from lesson_support.commands import CommandError, answers
from notebooks import FOLDER, LESSONS, cells

ANSWERS = answers.read()


def headings(lesson: str) -> set[str]:
    """The headings of a lesson, as they are written."""
    text = "\n".join(
        cell["source"]
        for cell in cells(FOLDER / f"{lesson}.ipynb")
        if cell["cell_type"] == "markdown"
    )
    return set(re.findall(r"^#+ (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_each_target_exists(answer):
    assert (FOLDER / f"{answer.lesson}.ipynb").exists(), answer.lesson
    assert answer.heading in headings(answer.lesson)


def test_each_id_stands_once_and_is_asked_in_words():
    ids = [answer.id for answer in ANSWERS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"T\d{3}|[a-z0-9]+(-[a-z0-9]+)+", id) for id in ids)
    assert all(15 <= len(answer.ask) <= 160 for answer in ANSWERS)


def test_every_lesson_answers_something():
    assert {answer.lesson for answer in ANSWERS} >= {path.stem for path in LESSONS[1:]}


def test_the_page_is_that_of_the_index():
    assert answers.PAGE.read_text(encoding="utf-8") == answers.page(ANSWERS)


def test_a_broken_index_is_one_sentence(tmp_path):
    for text in ("- id: T001\n", "- [", "id: x\n", "- id: a\n  extra: b\n"):
        broken = tmp_path / "index.yml"
        broken.write_text(text, encoding="utf-8")
        with pytest.raises(CommandError, match="must be a list"):
            answers.read(broken)
    with pytest.raises(CommandError, match="cannot be read"):
        answers.read(tmp_path / "none.yml")
