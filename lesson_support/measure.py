"""Compares ways to do the same work: by what always holds, and on request by seconds and megabytes.

Seconds and megabytes differ from run to run, so they stay out of a display unless they are asked
for: what a notebook stores can then be compared.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Engine, event

from ._html import Shown, columned, escape
from ._statements import Statement, is_catalogue
from .errors import LessonError
from .picture import _CHAR, _CSS
from .sql import CountingCursor

__all__ = ["Measure", "Race", "measuring", "progress", "race"]

T = TypeVar("T")

# A sign and a pattern of dashes for each line of the picture, so that nothing is told by colour.
_SIGNS = "●■▲◆✚★"
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 2", "12 4")
_SHORT = 0.1  # seconds
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 250, 150, 62, 30, 40


@dataclass
class Measure:
    """What a block took."""

    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def measuring(memory: bool = False) -> Iterator[Measure]:
    """Take the time of the `with` block, and if `memory`, the most that Python's objects held in it.

    Looking at memory makes the block slower, so time it by itself. What a driver keeps outside
    Python's own memory is not seen: https://docs.python.org/3/library/tracemalloc.html
    """
    measure = Measure()
    gc.collect()
    already = tracemalloc.is_tracing()
    if memory:
        if not already:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    start = time.perf_counter()
    try:
        yield measure
    finally:
        measure.seconds = time.perf_counter() - start
        if memory:
            peak = tracemalloc.get_traced_memory()[1]
            measure.megabytes = max(peak - before, 0) / 1_000_000
            if not already:
                tracemalloc.stop()


class Race(Shown):
    """What `race` found, at the largest size: a display, and the numbers behind it."""

    seconds: dict[str, float]
    megabytes: dict[str, float]
    statements: dict[str, int]
    rows: dict[str, int]
    results: dict[str, Any]


def race(
    ways: dict[str, Callable[[int], Any]],
    sizes: Iterable[int],
    engine: Engine,
    *,
    prepare: Callable[[int], Any] | dict[str, Callable[[int], Any]] | None = None,
    show: bool = False,
    memory: bool = False,
) -> Race:
    """Do the same work in several ways and compare them.

    Each way is called for its time, its statements and its rows, and up to three times where it is
    short, for the best time. For its memory it is called once more, as that makes it slower.

    Args:
        ways: from a name to a function of one size; it returns something that all ways must agree
            on, or None.
        sizes: the sizes to try. Without `show` only the largest is.
        engine: the Engine that the ways use.
        prepare: called with the size before each run, and not measured; one function for all ways, or
            one for each name.
        show: True for seconds and megabytes, and for a picture of both against the size, with a
            progress bar until it is ready.
        memory: True to measure the memory without showing it; `show` measures it anyway.

    Returns:
        A display. Statements are counted as they were written. The rich form has them as calls of
        the driver as well, which the database decides: a list of rows may be one call or many.

    Raises:
        LessonError: when there is nothing to compare, or two ways do not agree.
    """
    sizes = sorted(set(sizes))
    if not ways or not sizes or len(ways) > len(_SIGNS):
        raise LessonError(
            f"race(...) compares 1 to {len(_SIGNS)} ways at one size or more."
        )
    ready = prepare if isinstance(prepare, dict) else dict.fromkeys(ways, prepare)
    runs = [(s, w) for s in (sizes if show else sizes[-1:]) for w in ways]
    curves: dict[str, list[tuple[int, Measure]]] = {way: [] for way in ways}
    counts: dict[str, _Calls] = {}
    results: dict[str, Any] = {}
    for size, way in progress(runs, lambda run: f"{run[1]}, {run[0]:,}", show=show):
        best = Measure(float("inf"))
        spent = 0.0
        for _ in range(3):
            _call(ready[way], size)
            with _calls(engine) as counts[way], measuring() as clock:
                results[way] = ways[way](size)
            best = min(best, clock, key=lambda measure: measure.seconds)
            spent += clock.seconds
            if spent > _SHORT:
                break
        if show or memory:
            _call(ready[way], size)
            with measuring(memory=True) as traced:
                ways[way](size)
            best = Measure(best.seconds, traced.megabytes)
        curves[way].append((size, best))
    said = {way: result for way, result in results.items() if result is not None}
    if len({repr(result) for result in said.values()}) > 1:
        raise LessonError(
            "These ways do not do the same: "
            + ", ".join(f"{way} gives {result!r}" for way, result in said.items())
            + "."
        )
    made = Race(
        _html(counts, curves, engine, sizes[-1], show),
        _plain(counts, curves, sizes[-1], show),
    )
    last = {way: curve[-1][1] for way, curve in curves.items()}
    made.seconds = {way: measure.seconds for way, measure in last.items()}
    made.megabytes = {way: measure.megabytes for way, measure in last.items()}
    made.statements = {way: count.statements for way, count in counts.items()}
    made.rows = {way: count.count for way, count in counts.items()}
    made.results = results
    return made


def _call(ready: Callable[[int], Any] | None, size: int) -> None:
    if ready is not None:
        ready(size)


def progress(
    items: Iterable[T],
    label: Callable[[T], Any] = str,
    *,
    total: int | None = None,
    show: bool = True,
) -> Iterator[T]:
    """Yield the items, with a bar under the cell that says how many are done.

    Args:
        items: what to go through.
        label: makes the words beside the bar from an item.
        total: how many items there are, where `len(items)` cannot tell.
        show: False for no bar and no output at all.

    Yields:
        Each item. The bar is empty when the last is done, or when the loop is left.
    """
    if not show:
        yield from items
        return
    from IPython.display import display

    total = total or (len(items) if hasattr(items, "__len__") else 0)
    handle = display(Shown("", ""), display_id=True)
    last = 0.0
    try:
        for done, item in enumerate(items):
            if handle and time.monotonic() - last > 0.1:
                handle.update(_bar(done, total, str(label(item))))
                last = time.monotonic()
            yield item
    finally:
        if handle:
            handle.update(Shown("", ""))


def _bar(done: int, total: int, words: str) -> Shown:
    known = f"{done} of {total}" if total else str(done)
    wide = f"width:{240 * min(done, total) / total:.0f}px" if total else "width:0"
    return Shown(
        f'<div class="ls"><div class="ls-bar" style="{wide}"></div>'
        f"{escape(f'{known} done, now {words}')}</div>",
        f"{known} done, now {words}",
    )


@dataclass
class _Calls:
    """Statements as written, calls of the driver, and the rows that came back (`count`)."""

    statements: int = 0
    calls: int = 0
    count: int = 0


@contextmanager
def _calls(engine: Engine) -> Iterator[_Calls]:
    """Count without keeping anything: a million rows must not take more memory by being counted."""
    calls = _Calls()

    def written(conn, element, multi, params, options):
        savepoint = "savepoint" in getattr(element, "__visit_name__", "")
        if not savepoint and not is_catalogue(Statement(None, element)):
            calls.statements += 1

    def sent(conn, cursor, text, parameters, context, many):
        calls.calls += 1

    def answered(conn, cursor, text, parameters, context, many):
        if cursor.description is not None and not context.isinsert:
            context.cursor = CountingCursor(context.cursor, calls)

    listeners = (
        ("before_execute", written),
        ("before_cursor_execute", sent),
        ("after_cursor_execute", answered),
    )
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield calls
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _rows(counts, curves, show: bool, calls: bool) -> tuple[list[str], list[list[str]]]:
    head = ["way", "statements", "rows read"]
    head[2:2] = ["calls of the driver"] if calls else []
    head += ["seconds", "megabytes"] if show else []
    body = []
    for sign, (way, count) in zip(_SIGNS, counts.items(), strict=False):
        line = [f"{sign} {way}" if show else way, str(count.statements)]
        line += [str(count.calls)] if calls else []
        line.append(str(count.count))
        if show:
            last = curves[way][-1][1]
            line += [_number(last.seconds), _number(last.megabytes)]
        body.append(line)
    return head, body


def _title(size: int) -> str:
    return f"size {size:,}".replace(",", " ")


def _plain(counts, curves, size: int, show: bool) -> str:
    head, body = _rows(counts, curves, show, calls=False)
    return f"{_title(size)}\n{columned([head, *body])}"


def _html(counts, curves, engine: Engine, size: int, show: bool) -> str:
    head, body = _rows(counts, curves, show, calls=True)
    top = "".join(f'<th scope="col">{escape(word)}</th>' for word in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(way)}</th>'
        + "".join(f"<td>{number}</td>" for number in numbers)
        + "</tr>"
        for way, *numbers in body
    )
    picture = _picture(curves) if show else ""
    return (
        f'<div class="ls"><table><caption>{escape(_title(size))}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table>{picture}</div>"
    )


def _picture(curves: dict[str, list[tuple[int, Measure]]]) -> str:
    """Two line charts side by side, time and memory against size, as an image."""
    panels = {
        word: {
            way: [(size, getattr(measure, word)) for size, measure in curve]
            for way, curve in curves.items()
        }
        for word in ("seconds", "megabytes")
    }
    wide = len(panels) * (_LEFT + _WIDTH + 24)
    high = _TOP + _HEIGHT + _BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}"><style>{_CSS}</style>'
    ]
    for number, (word, lines) in enumerate(panels.items()):
        parts += _panel(_LEFT + number * (_LEFT + _WIDTH + 24), word, lines)
    svg = quote("".join(parts) + "</svg>", safe=" =:/;,()-.'!@")
    alt = "; ".join(
        f"{way}, {word}: "
        + ", ".join(f"{_number(value)} at {size}" for size, value in points)
        for word, lines in panels.items()
        for way, points in lines.items()
    )
    return (
        f'<img alt="{escape("Time and memory against size. " + alt)}" style="max-width:100%" '
        f'src="data:image/svg+xml,{svg}">'
    )


def _panel(
    left: float, word: str, lines: dict[str, list[tuple[int, float]]]
) -> list[str]:
    widest = max(size for points in lines.values() for size, _ in points)
    highest = max(value for points in lines.values() for _, value in points) or 1
    bottom = _TOP + _HEIGHT
    parts = [
        f'<text class="b" x="{left}" y="16">{word} against size</text>',
        f'<path class="l" d="M{left} {_TOP}V{bottom}H{left + _WIDTH}"/>',
    ]
    for value, y in ((0.0, bottom), (highest / 2, _TOP + _HEIGHT / 2), (highest, _TOP)):
        words = _number(value) if value else "0"
        x = left - 6 - _CHAR * len(words)
        parts.append(f'<text x="{x:.0f}" y="{y + 4:.0f}">{words}</text>')
    for size in sorted({size for points in lines.values() for size, _ in points}):
        x = left + _WIDTH * size / widest
        parts.append(
            f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{_round(size)}</text>'
        )
    for (sign, dashes), points in zip(
        zip(_SIGNS, _DASHES, strict=True), lines.values(), strict=False
    ):
        places = [
            (left + _WIDTH * size / widest, bottom - _HEIGHT * value / highest)
            for size, value in points
        ]
        path = "".join(f"L{x:.0f} {y:.0f}" for x, y in places)
        parts.append(
            f'<path class="l" stroke-dasharray="{dashes or "none"}" d="M{left} {bottom}{path}"/>'
        )
        parts += [
            f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{sign}</text>'
            for x, y in places
        ]
    return parts


def _round(size: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return str(size)
