"""Answers an exercise with "not attempted", "not yet, because ..." or "correct"."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from dis import get_instructions
from functools import partial
from importlib import import_module
from typing import Any

from sqlalchemy import Select
from sqlalchemy.exc import (
    ArgumentError,
    InvalidRequestError,
    NoForeignKeysError,
    SAWarning,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session

from ._html import Shown, escape, plural
from ._record import answers, note
from .database import private_engine
from .errors import LessonError, explain

__all__ = [
    "Exercise",
    "NotYet",
    "Unjudged",
    "Wrong",
    "configured",
    "exercise",
    "exercises_of",
    "expect",
    "judge_select",
    "marked",
    "mapped_class",
    "playground",
    "rows_of",
]

_hints_given: Counter[str] = Counter()


class NotYet(Exception):
    """Raised by a judge; its text completes the sentence "not yet, because ..."."""


class Unjudged(NotYet):
    """Raised by a judge that has not looked at the answer, because an earlier step is missing."""


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer: the code that a learner writes, and words that the reply must hold."""

    code: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """One exercise; the prompt and the stub stand in the notebook.

    Args:
        id: the number of the lesson and a name, as in "01-which-side".
        judge: is given the answer and returns, or raises `NotYet`.
        hints: shown one at a time; the last one nearly tells.
        code: the solution: what replaces the stub, without the line that calls `check`.
        reason: why the solution is right, in one or two sentences.
        wrong: at least two typical wrong answers; the tests prove that each gets its own reply.
        title: what the exercise is about, for `certificate`.
        after: ids of the exercises whose answers this one builds on.
        piece: the part of `code` that a learner is shown, where `code` also holds earlier steps.
    """

    id: str
    judge: Callable[[Any], None]
    hints: tuple[str, ...]
    code: str
    reason: str
    wrong: tuple[Wrong, ...]
    title: str = ""
    after: tuple[str, ...] = ()
    piece: str = ""

    def check(self, answer: Any, *more: Any) -> Shown:
        """Judge an answer.

        Args:
            answer: what the prompt asks for; `...`, or a function whose body is `...`, is a stub.
            more: nothing; what stands here is one value too many, and the reply says so.

        Returns:
            A display that says "not attempted", "not yet, because ..." or "correct", with the hints
            and the solution folded away. It never raises: an error in the answer is a reason. An
            answer that could not be judged leaves an earlier "correct" as it is.
        """
        if more:
            return self._unjudged(
                f"`check` takes one value, and it was given {1 + len(more)}; give it what the exercise asks for, alone"
            )
        if _is_stub(answer):
            what = "`answer` is still dots"
            if hasattr(answer, "registry"):
                what = f"no class inherits from `{answer.__name__}` yet"
            elif callable(answer):
                what = "the function still does nothing"
            return self._reply("open", "…", f"not attempted; {what}.", "")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.judge(answer)
        except Unjudged as reason:
            return self._unjudged(str(reason))
        except NotYet as reason:
            return self._reply("bad", "✗", "not yet, because " + str(reason), "")
        except SQLAlchemyError as error:
            return self._reply(
                "bad",
                "✗",
                f"not yet, because your code ended with {explain(error)}",
                "",
            )
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            return self._reply(
                "bad", "✗", f"not yet, because your code ended with {what}", ""
            )
        answers[self.id] = answer
        return self._reply("good", "✔", "correct.", self.reason)

    def _unjudged(self, why: str) -> Shown:
        return self._reply("bad", "✗", f"not yet, because {why}", "", judged=False)

    def hint(self) -> Shown:
        """Return the next hint; after the last one, the last one again."""
        number = min(_hints_given[self.id] + 1, len(self.hints))
        _hints_given[self.id] = number
        text = f"Hint {number} of {len(self.hints)}: {self.hints[number - 1]}"
        return Shown(
            f'<div class="ls ls-box open">{marked(text)}</div>', text.replace("`", "")
        )

    def solution(self) -> Shown:
        """Return the solution, folded, with its reason."""
        return Shown(
            f'<div class="ls ls-box open">{self._folded_solution()}</div>',
            f"Solution of {self.id}:\n\n{self.piece or self.code}\n\n{self.reason.replace('`', '')}",
        )

    def _folded_solution(self) -> str:
        return (
            f"<details><summary>Solution</summary><pre>{escape(self.piece or self.code)}</pre>"
            f"<div>{marked(self.reason)}</div></details>"
        )

    def _reply(
        self, kind: str, sign: str, verdict: str, more: str, *, judged: bool = True
    ) -> Shown:
        reason = verdict.partition("because ")[2] if kind == "bad" else ""
        note(self.id, kind, reason, judged=judged)
        hints = ""
        for number in range(len(self.hints), 0, -1):
            text = marked(self.hints[number - 1])
            hints = f"<details><summary>Hint {number} of {len(self.hints)}</summary>{text}{hints}</details>"
        plain = f"{sign} {self.id}: {verdict} {more}".replace("`", "").rstrip()
        if kind != "good":
            plain += f'\n  (exercise("{self.id}").hint() gives a hint)'
        html = (
            f'<div class="ls ls-box {kind}">{sign} <b>{escape(self.id)}</b>: {marked(verdict)} '
            f"{marked(more)}{'' if kind == 'good' else hints}{self._folded_solution()}</div>"
        )
        return Shown(html, plain)


def exercise(id: str) -> Exercise:
    """Find an exercise by its id, as in `exercise("01-which-side").check(answer)`.

    Raises:
        LessonError: when there is no exercise of that id; it names the one that is most alike.
    """
    known = {item.id: item for item in exercises_of(id.partition("-")[0])[0]}
    if id not in known:
        near = get_close_matches(id, known, 1, 0) or ["another lesson"]
        raise LessonError(f'There is no exercise "{id}"; did you mean "{near[0]}"?')
    return known[id]


def exercises_of(lesson: str) -> tuple[list[Exercise], str, str]:
    """Return a lesson's exercises, its title, and what it earns; all empty where there are none."""
    if not str(lesson).isalnum():
        return [], "", ""
    name = f"{__package__}.exercises.lesson_{lesson}"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and needs what is not
            raise
        return [], "", ""
    return (
        module.EXERCISES,
        getattr(module, "TITLE", ""),
        getattr(module, "EARNED", ""),
    )


def expect(condition: Any, because: str) -> None:
    """Raise `NotYet(because)` unless the condition holds."""
    if not condition:
        raise NotYet(because)


def mapped_class(base: Any, table: str) -> type:
    """Return the class of `base` that is mapped to `table`; its relationships are not looked at.

    Raises:
        NotYet: when `base` is no `Base`, or has no such class.
    """
    mapped = hasattr(base, "registry") and hasattr(base, "metadata")
    name = getattr(base, "__name__", None)
    expect(
        mapped or name not in ("Base", "Blog"),
        f"your `{name}` does not inherit from `DeclarativeBase`",
    )
    expect(
        mapped and not hasattr(base, "__table__"),
        f"the answer should be your base class, not {name or _kind(base)}",
    )
    for mapper in base.registry.mappers:
        if getattr(mapper.local_table, "name", "") == table:
            return mapper.class_
    raise NotYet(f'no class of this Base has `__tablename__ = "{table}"`')


def configured(base: Any) -> None:
    """Connect all classes of `base`, as their first use does.

    Raises:
        NotYet: when a relationship does not fit; it says which word is wrong, where that is known.
    """
    try:
        base.registry.configure()
    except (InvalidRequestError, ArgumentError) as error:
        said = str(error)
        names = [mapper.class_.__name__ for mapper in base.registry.mappers]
        if found := re.search(r"Mapper\[(\w+)\(.*has no property '(\w*)'", said):
            raise NotYet(
                f'`back_populates="{found[2]}"` names an attribute that `{found[1]}` does not have; it '
                "takes the name of the attribute on the other class"
            ) from None
        if found := re.search(r"failed to locate a name \('?(\w+)'?\)", said):
            near = get_close_matches(found[1], names, 1, 0)
            raise NotYet(
                f"there is no class `{found[1]}`; did you mean `{near[0]}`?"
            ) from None
        if isinstance(error, NoForeignKeysError):
            raise NotYet(
                "no foreign key lies between the classes that a relationship names; a class name "
                'without quotes may be the class of an earlier cell, so write `Mapped[list["Post"]]`'
            ) from None
        raise


@contextmanager
def playground(base: Any, *objects: Any) -> Iterator[Session]:
    """Yield a Session on a throw-away database that has the tables of `base` and these objects.

    The objects are committed, and the identity map is empty, as after a restart.
    """
    with private_engine() as engine:
        base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all(objects)
            session.commit()
        with Session(engine) as session:
            yield session


def rows_of(session: Session, statement: Select) -> list[tuple]:
    """Run a statement and return its rows as tuples; warnings of SQLAlchemy become `NotYet`."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "error", message=".*cartesian product.*", category=SAWarning
        )
        try:
            return [tuple(row) for row in session.execute(statement).unique()]
        except SAWarning:
            tables = " and ".join(sorted(_from_names(statement)))
            raise NotYet(
                f"{tables} are both in FROM but nothing joins them, so every row of one meets every "
                "row of the other; add .join(...)"
            ) from None


def judge_select(
    reference: Callable[[], Select],
    make: Callable[[], tuple[Any, list]],
    *,
    ordered: bool = True,
) -> Callable[[Any], None]:
    """Make a judge for answers that are a `select(...)` statement.

    Args:
        reference: returns the statement of the solution.
        make: returns a `Base` and the objects to fill a throw-away database with; other rows than
            the lesson's, so that a list that was typed by hand does not pass.
        ordered: whether the order of the rows belongs to the question.

    Returns:
        A judge that accepts every statement with the right rows.
    """
    return partial(_judge_select, reference, make, ordered)


def _judge_select(reference, make, ordered: bool, answer: Any) -> None:
    expect(
        isinstance(answer, Select),
        f"the answer should be a select(...) statement, not {_kind(answer)}; the check runs it for you",
    )
    base, objects = make()
    with playground(base, *objects) as session:
        wanted = [tuple(map(_plain, row)) for row in rows_of(session, reference())]
    base, objects = make()
    with playground(base, *objects) as session:
        rows = [tuple(map(_plain, row)) for row in rows_of(session, answer)]
        doubled = len(session.execute(answer).all()) > len(rows)
    if wanted and rows and len(rows[0]) != len(wanted[0]):
        raise NotYet(
            f"each row should hold {plural(len(wanted[0]), 'value')}, and yours holds {len(rows[0])}; "
            "look at what stands inside select(...)"
        )
    expect(
        not doubled,
        "the same row comes several times; a join repeats the one side for each child",
    )
    extra, missing = Counter(rows) - Counter(wanted), Counter(wanted) - Counter(rows)
    if extra or missing:
        parts = [
            f"{words} {_listed(found)}"
            for words, found in (("missing:", missing), ("not asked for:", extra))
            if found
        ]
        raise NotYet(f"on the check's own rows the result differs: {'; '.join(parts)}")
    expect(
        not ordered or rows == wanted,
        "the rows are right but not in the order asked for",
    )


def _from_names(statement: Select) -> set[str]:
    return {
        table.name for table in statement.get_final_froms() if hasattr(table, "name")
    }


def _plain(value: Any) -> Any:
    return repr(value) if hasattr(value, "_sa_instance_state") else value


def _listed(rows: Counter) -> str:
    names = sorted({", ".join(map(str, row)) for row in rows})
    return "; ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )


def _kind(value: Any) -> str:
    """Name the type of a value for a sentence: "a list", "an int", "a str"."""
    name = type(value).__name__
    return (
        "None"
        if value is None
        else f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
    )


def _is_stub(answer: Any) -> bool:
    """Is it still `...`, a function that does nothing, or a `Base` without classes?"""
    if answer is ...:
        return True
    if hasattr(answer, "registry") and hasattr(answer, "metadata"):
        return not list(answer.registry.mappers)
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    idle = {"RESUME", "NOP", "POP_TOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    idle |= {"RETURN_GENERATOR", "CALL_INTRINSIC_1", "RERAISE"}  # of an `async def`
    constants = set(code.co_consts) - {None, ..., answer.__doc__}
    return not constants and {step.opname for step in get_instructions(code)} <= idle


def marked(text: str) -> str:
    """Escape a text and set what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
