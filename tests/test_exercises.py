"""Proves every exercise: the stub, the solution, and each typical wrong answer, on both databases."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from lesson_support import LessonError, exercises
from lesson_support.check import Exercise, NotYet, Wrong, exercise
from notebooks import CALL, LESSONS, exercise_cells, imports_of, run

CELLS = exercise_cells()


def registered() -> dict[str, Exercise]:
    names = {path.stem for path in Path(exercises.__path__[0]).glob("lesson_*.py")}
    modules = [
        import_module(f"lesson_support.exercises.{name}") for name in sorted(names)
    ]
    return {item.id: item for module in modules for item in module.EXERCISES}


EXERCISES = registered()
WRONG = [
    (id, number) for id, item in EXERCISES.items() for number in range(len(item.wrong))
]


def reply_to(id: str, code: str) -> str:
    """Put code in the place of the stub, run the cell as the notebook would, return the plain reply."""
    path, stub = CELLS[id]
    call = CALL.search(stub)[0]
    return repr(run(f"{code}\n{call}", imports_of(path)))


def stub_of(id: str) -> str:
    return CELLS[id][1].replace(CALL.search(CELLS[id][1])[0], "")


def test_notebooks_and_registry_hold_the_same_exercises():
    assert set(CELLS) == set(EXERCISES)
    for path in LESSONS:
        own = [id for id in EXERCISES if id.startswith(path.name[:2] + "-")]
        assert len(own) >= 3 or path.name.startswith("00"), (
            f"{path.name} has {len(own)} exercises"
        )


@pytest.mark.parametrize("id", EXERCISES)
def test_every_exercise_has_hints_and_wrong_answers(id):
    item = EXERCISES[id]
    assert len(item.hints) >= 2 and len(item.wrong) >= 2 and item.reason
    assert len({wrong.says for wrong in item.wrong}) == len(item.wrong)


@pytest.mark.parametrize("id", EXERCISES)
def test_stub_is_not_attempted(id, database):
    assert reply_to(id, stub_of(id)).startswith(f"… {id}: not attempted; ")


@pytest.mark.parametrize("id", EXERCISES)
def test_solution_is_correct(id, database):
    assert reply_to(id, EXERCISES[id].code).startswith(f"✔ {id}: correct.")


@pytest.mark.parametrize(("id", "number"), WRONG)
def test_wrong_answer_gets_its_own_reply(id, number, database):
    wrong = EXERCISES[id].wrong[number]
    reply = reply_to(id, wrong.code)
    assert reply.startswith(f"✗ {id}: not yet, because")
    assert wrong.says in reply
    others = [other.says for other in EXERCISES[id].wrong if other is not wrong]
    assert not [words for words in others if words in reply], (
        "two wrong answers share a reply"
    )


@pytest.fixture
def sample() -> Exercise:
    def judge(answer):
        if answer != 2:
            raise NotYet(f"`1 + 1` is not {answer}")

    return Exercise(
        "01-sum",
        judge,
        ("Count.", "Two."),
        "answer = 2",
        "It is.",
        (Wrong("answer = 3", "3"),),
    )


def test_the_three_replies(sample):
    assert repr(sample.check(...)).startswith("… 01-sum: not attempted")
    assert repr(sample.check(3)).startswith("✗ 01-sum: not yet, because 1 + 1 is not 3")
    assert repr(sample.check(2)) == "✔ 01-sum: correct. It is."


def test_a_second_value_is_one_too_many(sample):
    reply = repr(sample.check(2, 3))
    assert reply.startswith("✗ 01-sum: not yet, because check takes one value, and it")


def test_an_error_in_the_answer_is_a_reason(sample):
    class Bad:
        def __ne__(self, other):
            raise ValueError("no <b>")

    reply = sample.check(Bad())
    assert "your code ended with ValueError: no <b>" in repr(reply)
    assert "&lt;b&gt;" in reply.html and "<b>no" not in reply.html


def test_an_unfinished_function_is_a_stub(sample):
    def documented(session):
        """Say something."""
        ...

    def returns(session):
        return 3

    def uses(session):
        session.commit()

    assert "not attempted" in repr(sample.check(documented))
    assert "not attempted" not in repr(sample.check(returns))
    assert "not attempted" not in repr(sample.check(uses))


def test_hints_come_one_at_a_time(sample):
    sample = Exercise("01-hints", sample.judge, sample.hints, "", "", ())
    assert [repr(sample.hint()) for _ in range(3)] == [
        "Hint 1 of 2: Count.",
        "Hint 2 of 2: Two.",
        "Hint 2 of 2: Two.",
    ]


def test_solution_is_folded_and_plain(sample):
    assert "answer = 2" in repr(sample.solution())
    assert "<details><summary>Solution" in sample.solution().html


def test_unknown_exercise_names_the_nearest():
    with pytest.raises(
        LessonError, match='no exercise "01-wich-side"; did you mean "01-which-side"'
    ):
        exercise("01-wich-side")
    with pytest.raises(LessonError, match="no exercise"):
        exercise("../etc")
