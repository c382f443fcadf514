"""Takes the time of two ways in turn, so that a busy machine slows both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

TURNS = 5


@dataclass
class Ratio:
    """One line of the table: a way, what it is measured against, and what came out.

    `ours` and `theirs` are seconds (or megabytes, see `unit`), one for each turn. `goal` is the
    ratio that is wanted at most.
    """

    what: str
    against: str
    goal: float | None
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    unit: str = "s"
    digits: int = 2

    @property
    def ratio(self) -> float:
        """The median of the ratios of the turns."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    @property
    def met(self) -> str:
        if self.goal is None:
            return ""
        return "yes" if self.ratio <= self.goal else "**no**"

    def row(self) -> str:
        """The line in Markdown."""
        each = (
            f"{statistics.median(values):.{self.digits}f} {self.unit}"
            for values in (self.ours, self.theirs)
        )
        goal = "" if self.goal is None else f"{self.goal:.2f}"
        cells = [self.what, self.against, *each, f"{self.ratio:.2f}", goal, self.met]
        return f"| {' | '.join(cells)} |"


def table(ratios: list[Ratio]) -> str:
    """The lines in Markdown, with their head."""
    head = ["what", "against", "took", "against it", "ratio", "goal", "met"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---:|---:|---:|---:|---|"]
    return "\n".join([*lines, *(ratio.row() for ratio in ratios)])


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long one call takes."""
    start = clock()
    work()
    return clock() - start


def in_turn(
    ratio: Ratio,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    turns: int = TURNS,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Calls both ways in turn, `before` ahead of each and not measured, and notes the times."""
    for _ in range(turns):
        for work, times in ((theirs, ratio.theirs), (ours, ratio.ours)):
            before()
            times.append(seconds(work, clock))
    return ratio
