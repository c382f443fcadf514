"""Races between ways to do the same work: what is stored, what is shown on request, and the bar."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from lesson_support import LessonError, connect, fresh_tables, progress, race
from lesson_support.measure import measuring
from lesson_support.university import Base, Program


@pytest.fixture
def engine(database):
    engine = connect("race")
    fresh_tables(engine, Base)
    return engine


@pytest.fixture
def ways(engine):
    def in_one(size):
        with Session(engine) as session, session.begin():
            rows = [{"name": f"<{n}>"} for n in range(size)]
            session.execute(insert(Program), rows)
            return len(session.scalars(select(Program)).all())

    def one_by_one(size):
        with Session(engine) as session:
            for n in range(size):
                session.add(Program(name=f"<{n}>"))
                session.commit()
            return len(session.scalars(select(Program)).all())

    return {"in <one>": in_one, "one by one": one_by_one}


def empty(engine):
    def prepare(size):
        with Session(engine) as session, session.begin():
            session.execute(delete(Program))

    return prepare


def test_what_is_stored_is_the_same_in_every_run_and_on_every_database(engine, ways):
    shown = [
        race(ways, [2, 5], engine, prepare=empty(engine), memory=memory)
        for memory in (False, True)
    ]
    assert repr(shown[0]) == (
        "size 5\n"
        "  way         statements  rows read\n"
        "  in <one>    2           5\n"
        "  one by one  6           5"
    )
    assert repr(shown[1]) == repr(shown[0]) and shown[1].html == shown[0].html
    assert "in &lt;one&gt;" in shown[0].html and "in <one>" not in shown[0].html
    assert "calls of the driver" in shown[0].html and "seconds" not in shown[0].html


def test_the_numbers_can_be_compared(engine, ways):
    found = race(ways, [20], engine, prepare=empty(engine), memory=True)
    assert found.seconds["in <one>"] < found.seconds["one by one"]
    assert found.statements == {"in <one>": 2, "one by one": 21}
    assert found.rows == {"in <one>": 20, "one by one": 20}
    assert found.results == {"in <one>": 20, "one by one": 20}
    assert all(megabytes > 0 for megabytes in found.megabytes.values())


def test_each_size_is_drawn_where_it_is_asked_for(engine, ways, bars_shown):
    sizes = []

    def prepare(size):
        sizes.append(size)
        empty(engine)(size)

    found = race(ways, [8, 2, 4], engine, prepare=prepare, show=True)
    assert set(sizes) == {2, 4, 8} and sizes == sorted(sizes)
    assert re.search(r"● in <one>  +2 +8 +\d+\.\d+ +\d+\.\d+", repr(found))
    source = re.search(r'src="data:image/svg\+xml,([^"]*)"', found.html)[1]
    picture = ElementTree.fromstring(unquote(source))
    words = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "seconds against size" in words and "megabytes against size" in words
    assert words.count("●") == words.count("■") == 6
    alt = re.search(r'<img alt="([^"]*)"', found.html)[1]
    assert "in &lt;one&gt;, seconds: " in alt and " at 8" in alt
    assert bars_shown[-1] == ""


def test_each_way_may_have_its_own_preparation(engine, ways):
    called = []
    prepare = {
        way: lambda size, way=way: called.append((way, size)) or empty(engine)(size)
        for way in ways
    }
    race(ways, [2], engine, prepare=prepare)
    assert set(called) == {("in <one>", 2), ("one by one", 2)}


def test_ways_that_do_not_agree_are_refused(engine):
    with pytest.raises(LessonError, match="a gives 2, b gives 3"):
        race({"a": lambda size: size, "b": lambda size: size + 1}, [2], engine)
    race({"a": lambda size: size, "b": lambda size: None}, [2], engine)


def test_a_race_needs_ways_and_sizes(engine):
    for ways, sizes in (
        ({}, [2]),
        ({"a": len}, []),
        ({str(n): len for n in range(7)}, [2]),
    ):
        with pytest.raises(LessonError, match="compares 1 to 6 ways"):
            race(ways, sizes, engine)


def test_a_race_leaves_no_listener_behind(engine):
    def fails(size):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        race({"a": fails}, [2], engine)
    assert not list(engine.dispatch.before_cursor_execute)


def test_rows_are_counted_while_they_stream(engine, ways):
    ways["in <one>"](50)

    def in_pieces(size):
        with Session(engine) as session:
            pieces = select(Program).execution_options(yield_per=7)
            return sum(1 for _ in session.scalars(pieces))

    assert race({"a": in_pieces}, [50], engine).rows == {"a": 50}


def test_memory_is_the_peak_of_the_block():
    with measuring(memory=True) as outer:
        bytearray(3_000_000)
    with measuring() as timed:
        pass
    assert 2.9 < outer.megabytes < 3.5
    assert timed.megabytes == 0 and timed.seconds >= 0


@pytest.fixture
def bars_shown(monkeypatch):
    """What the bar said, one after the other."""
    said = []

    class Handle:
        def update(self, shown):
            said.append(repr(shown))

    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: Handle())
    return said


def test_the_bar_counts_and_goes_away(bars_shown):
    assert list(progress(["a", "b"], str.upper)) == ["a", "b"]
    assert bars_shown == ["0 of 2 done, now A", ""]


def test_the_bar_goes_away_when_the_loop_is_left(bars_shown):
    for _ in progress(iter("abc"), total=3):
        break
    assert bars_shown[-1] == ""


def test_no_bar_where_none_is_wanted(bars_shown):
    assert list(progress(iter("ab"), show=False)) == ["a", "b"]
    assert bars_shown == []


def test_what_pandas_asks_a_catalogue_is_not_counted(engine):
    def frame(size):
        return len(pd.read_sql(select(Program), engine))

    assert race({"frame": frame}, [1], engine).statements == {"frame": 1}
