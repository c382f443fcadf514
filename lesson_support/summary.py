"""Says which step a cell waits for, and sums up what the checks of a lesson said."""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import Engine, inspect

from ._html import Shown, columned, escape
from ._record import answers, here, said
from .check import Exercise, exercise, exercises_of, marked
from .errors import LessonError
from .sql import quiet

__all__ = ["certificate", "ready"]

_WORDS = {"good": "✔ correct", "bad": "✗ not yet", "open": "… not attempted"}
_CLASSES = {"good": "ins", "bad": "upd", "open": ""}


def ready(id: str, engine: Engine | None = None) -> bool:
    """Whether a cell can use the answer of an exercise; where not, say what it waits for.

    Args:
        id: the exercise whose answer the cell uses, as in `if ready("16-add"):`.
        engine: where the cell needs tables that are there already, the Engine to find them with.

    Returns:
        True when the last check in this kernel said "correct", for this exercise and for those that
        it builds on, and what was checked is still what the names stand for. Otherwise False, and one sentence is displayed.

    Raises:
        LessonError: when there is no exercise of that id.
    """
    item = exercise(id)
    for step in (*map(exercise, item.after), item):
        if step.id not in here or here[step.id].kind != "good":
            return _waits(*_missing(step))
        if _is_changed(answers.get(step.id)):
            why = "was changed after its check; run its cell again"
            return _waits("open", f"{_name(step)} {why}")
    if engine is not None:
        with quiet():
            there = inspect(engine).get_table_names()
        if not there:
            return _waits(
                "open",
                "the database has no tables yet; run the cells that make and fill them",
            )
    return True


def _name(step: Exercise) -> str:
    return f"{step.title.partition(':')[0].lower() or 'the exercise'} (`{step.id}`)"


def _is_changed(answer: Any) -> bool:
    """Does the name of a class or function that was checked stand for something else by now?"""
    name = getattr(answer, "__name__", None)
    module = sys.modules.get(getattr(answer, "__module__", None) or "")
    return bool(name and module) and vars(module).get(name, answer) is not answer


def _missing(step: Exercise) -> tuple[str, str]:
    """How a step that is not done is shown, and what is the matter with it."""
    name = _name(step)
    if step.id not in here and said(step.id)[step.id].kind == "good":
        return (
            "open",
            f"{name} was correct before the kernel was restarted, and its cell must run again",
        )
    kind = here[step.id].kind if step.id in here else "open"
    return kind, f"{name} is not {'correct' if kind == 'bad' else 'attempted'} yet"


def _waits(kind: str, why: str) -> bool:
    from IPython.display import display

    text = f"{_WORDS[kind][0]} Nothing was run here, because {why}."
    html = f'<div class="ls ls-box {kind}">{marked(text)}</div>'
    display(Shown(html, text.replace("`", "")))
    return False


def certificate(lesson: str, name: str = "") -> Shown:
    """Sum up a lesson: what the last check of each of its exercises said.

    What was correct stays correct when the kernel restarts; an exercise that is checked again gets
    its newest state.

    Args:
        lesson: its number, such as "16".
        name: whose certificate it is; it is shown, and kept nowhere.

    Returns:
        A display with one line an exercise: correct, not yet and why, or not attempted.

    Raises:
        LessonError: when there is no lesson of that number with exercises.
    """
    items, title, earned = exercises_of(lesson)
    if not items:
        raise LessonError(
            f'There is no lesson {lesson!r} with exercises; write its number, as in certificate("16").'
        )
    name = " ".join(str(name).split())
    states = list(said(*(item.id for item in items)).values())
    count = {kind: sum(state.kind == kind for state in states) for kind in _WORDS}
    done = count["good"] == len(items)
    head = f"{name}, lesson" if name else "Lesson"
    head += f" {lesson}{', ' if title else ''}{title}: {count['good']} of {len(items)} correct"
    last = ""
    if done:
        last = f"{name or 'You'} can now say: {earned or 'every exercise of it is correct.'}"
    lines, rows = [], []
    heads = ["step", "last check"] + ["why"] * bool(count["bad"])
    for item, (kind, reason) in zip(items, states, strict=True):
        what, why = item.title or item.id, f"because {reason}" if reason else ""
        lines.append([_WORDS[kind], what.replace("`", "")])
        if why:
            lines.append(["", f"  {why.replace('`', '')}"])
        cells = [_WORDS[kind], why][: len(heads) - 1]
        rows.append(
            f'<tr class="{_CLASSES[kind]}"><th scope="row">{marked(what)}</th>'
            f"{''.join(f'<td>{marked(cell)}</td>' for cell in cells)}</tr>"
        )
    columns = "".join(f'<th scope="col">{word}</th>' for word in heads)
    html = (
        f'<div class="ls ls-box {"good" if done else "open"}">'
        f"<table><caption>{escape(head)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table><div>{escape(last)}</div></div>"
    )
    return Shown(html, "\n".join(filter(None, [head, columned(lines), last])))
