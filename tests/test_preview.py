"""`preview_delete` says beforehand what a delete then does."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import product

import pytest
from grown import KEPT, OWNED, Grown, Happened, Node, Way, delete_it, read
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from lesson_support import preview_delete
from lesson_support.database import private_engine

# A longer run: LESSONS_EXAMPLES=5000 pytest tests/test_preview.py -k random
EXAMPLES = int(os.environ.get("LESSONS_EXAMPLES", 0))
RULES = (None, "RESTRICT", "NO ACTION", "CASCADE", "SET NULL")


@pytest.fixture
def engine(database):
    with private_engine("preview") as engine:
        yield engine


def compare(facts, happened: Happened) -> None:
    """What was said beforehand equals what happened."""
    if happened.error:
        assert happened.error in {refusal.rule for refusal in facts.refused}
    else:
        assert not facts.refused
        assert facts.deleted == happened.deleted
        assert facts.set_null == happened.set_null
        assert facts.dangling == happened.dangling
    if facts.statements is not None:
        assert facts.statements == happened.statements


def unchanged(session: Session):
    """What the Session holds, and of each object what is loaded."""
    states = session.identity_map.all_states()
    return (
        {state.key: sorted(state.dict) for state in states},
        (len(session.new), len(session.dirty), len(session.deleted)),
        session.in_transaction(),
    )


# --- the 60 cases of lesson 09 and their NOT NULL twins ----------------------------------------


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("ondelete", RULES)
def test_the_cases_of_lesson_09(engine, ondelete, nullable):
    cases = 0
    for cascade, passive, loaded in product(
        (KEPT, OWNED), (False, True, "all"), (False, True)
    ):
        way = Way(cascade, passive, ondelete, nullable)
        if not way.mappable:
            continue
        cases += 1
        grown = Grown([Node(), Node(0, way)])
        rows = [[{"id": 1}], [{"id": 1, "up_id": 1}, {"id": 2, "up_id": 1}]]
        with grown.filled(engine, rows) as connection, Session(connection) as session:
            before = read(connection, grown.Base.metadata)
            parent = session.get(grown.classes[0], 1)
            if loaded:
                assert len(parent.up_t1) == 2
            facts = preview_delete(session, parent).facts
            happened = delete_it(session, parent, before)
            assert facts.unknown == [] and facts.statements is not None
            compare(facts, happened)
            if happened.error:
                assert [refusal.rule for refusal in facts.refused] == [happened.error]
    assert cases == 10


# --- random trees ----------------------------------------------------------------------------------

ways = st.builds(
    Way,
    cascade=st.sampled_from((KEPT, OWNED, OWNED)),
    passive=st.sampled_from((False, True, "all")),
    ondelete=st.sampled_from(RULES),
    nullable=st.booleans(),
    listed=st.sampled_from((True, True, True, False)),
    back=st.booleans(),
).filter(lambda way: way.mappable)


@st.composite
def tables(draw, own: bool) -> list[Node]:
    """A tree of tables, at most three levels; with `own`, the rows of the first are a tree too."""
    nodes = [Node(own=replace(draw(ways), nullable=True) if own else None)]
    level = [1]
    for _ in range(draw(st.integers(not own, 4))):
        above = draw(st.sampled_from([n for n in range(len(nodes)) if level[n] < 3]))
        nodes.append(Node(above, draw(ways)))
        level.append(level[above] + 1)
    return nodes


def drawn_rows(data, nodes: list[Node]) -> list[list[dict]]:
    """Some rows for each table, that point at rows made before them."""
    made: list[list[dict]] = []
    for number, node in enumerate(nodes):
        made.append([])
        most = 5 if number or node.own else 2
        for id in range(1, 1 + data.draw(st.integers(number == 0, most))):
            row = {"id": id}
            for key, above, way in node.ways:
                there = [r["id"] for r in made[number if above is None else above]]
                row[key] = data.draw(
                    st.sampled_from([*there, *[None] * way.nullable] or [0])
                )
            if 0 not in row.values():
                made[-1].append(row)
    return made


def load_some(data, session: Session, grown: Grown, rows: list[list[dict]]):
    """Read some objects and some of their lists; the first object is returned last."""
    held = []
    for number, cls in enumerate(grown.classes):
        for row in rows[number]:
            first = number == 0 and row["id"] == 1
            if not (first or data.draw(st.booleans())):
                continue
            held.append(session.get(cls, row["id"]))
            lists = grown.lists(number)
            for name in data.draw(st.sets(st.sampled_from(lists))) if lists else ():
                len(getattr(held[-1], name))
    return held


def predict_and_delete(data, engine, nodes: list[Node]):
    rows = drawn_rows(data, nodes)
    grown = Grown(nodes)
    with grown.filled(engine, rows) as connection, Session(connection) as session:
        there = read(connection, grown.Base.metadata)
        held = load_some(data, session, grown, rows)
        before = unchanged(session)
        shown = preview_delete(session, held[0])
        note(f"{rows}\n{shown}")
        assert unchanged(session) == before
        happened = delete_it(session, held[0], there)
        note(f"{happened}")
        compare(shown.facts, happened)
    return shown.facts, happened


many = settings(
    derandomize=not EXAMPLES,
    deadline=None,
    max_examples=EXAMPLES or 80,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@many
@given(nodes=tables(own=False), data=st.data())
def test_random_trees_of_tables(engine, nodes, data):
    facts, happened = predict_and_delete(data, engine, nodes)
    assert facts.unknown == []
    assert facts.statements is not None or happened.error


@many
@given(nodes=tables(own=True), data=st.data())
def test_random_trees_of_rows(engine, nodes, data):
    facts, happened = predict_and_delete(data, engine, nodes)
    assert facts.unknown == []
    assert facts.statements is not None or happened.error
