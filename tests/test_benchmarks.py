"""The benchmarks' own arithmetic: medians of ratios, goals, and the place in the README."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from lesson_support.commands import PROJECT

FOLDER = PROJECT / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmarks; its name is free again after the test."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return importlib.import_module


def test_the_median_of_the_turns_counts(module):
    ratios = module("ratios")
    line = ratios.Ratio("a", "b", 1.2, [1.0, 2.0, 9.0], [1.0, 1.0, 9.0])
    assert line.ratio == 1.0 and line.met == "yes"
    assert line.row() == "| a | b | 2.00 s | 1.00 s | 1.00 | 1.20 | yes |"
    line.ours = [1.5, 2.0, 13.5]
    assert line.ratio == 1.5 and line.met == "**no**"
    line.goal = None
    assert line.row().endswith("| 1.50 |  |  |")
    assert len(ratios.table([line, line]).splitlines()) == 4


def test_both_ways_are_taken_in_turn_and_prepared_each_time(module):
    ratios = module("ratios")
    calls, now = [], iter(range(100))
    line = ratios.in_turn(
        ratios.Ratio("a", "b", None),
        lambda: calls.append("ours"),
        lambda: calls.append("theirs"),
        before=lambda: calls.append("before"),
        turns=2,
        clock=lambda: next(now),
    )
    assert calls == ["before", "theirs", "before", "ours"] * 2
    assert line.ours == line.theirs == [1, 1]


def test_the_readme_has_a_place_for_each_table(module):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    source = (FOLDER / "__main__.py").read_text(encoding="utf-8")
    parts = re.search(r"PARTS = \((.*)\)", source)[1].replace('"', "").split(", ")
    for part in parts:
        begin, end = f"<!-- ratios {part}: begin -->", f"<!-- ratios {part}: end -->"
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)


def test_what_is_measured_is_what_the_test_command_runs(module, tmp_path):
    check = module("check")
    command, environment = check.strict(
        tmp_path, ["sqlite-2.1"], None, check.LESSONS[:1]
    ).args
    assert "--lessons=sqlite-2.1" in command
    assert environment["LESSONS_WORKSPACE"].startswith(str(tmp_path))
    assert [word for word in command if word.endswith(".ipynb")] == [
        check.LESSONS[0].relative_to(PROJECT).as_posix()
    ]
