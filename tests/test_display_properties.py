"""The displays under random values: any table, any value, any order of steps.

Nothing they show is HTML of a value, nothing raises into a learner's cell, and the plain form stays
one line a row. https://hypothesis.readthedocs.io
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    create_engine,
    exc,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from lesson_support import (
    LessonError,
    bars,
    changes,
    diagram,
    explain,
    states,
    tables,
    timeline,
)
from lesson_support._html import Shown, short, visible

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</code></td></tr></table></details><style>*{display:none}</style>",
    "<!-- ",
    "]]><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "O'Brien; DROP TABLE programs; --",
    ":name %(name)s {0} %s \\n",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "line\nline\r\nline\x0bline\x0cline\x1cline\x85line\u2028line\u2029line",
    "\x1b[31mred\x1b[0m \x00 \x07",
    "\ud800 lone \udfff surrogates",
    "e\u0301\u0301\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \ufeff",
    "x" * 9_000,
    "<" * 3_000,
    "",
]
texts = st.one_of(st.sampled_from(EVIL), st.text(st.characters(), max_size=30))
stored_texts = texts.map(lambda t: t.encode("utf-8", "replace").decode())
names = st.one_of(
    st.sampled_from([t for t in EVIL if 0 < len(t) < 100]), st.text(min_size=1)
).map(visible)
big = st.integers(-(2**63), 2**63 - 1)
json = st.recursive(
    st.none() | st.booleans() | big | stored_texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(stored_texts, inner, max_size=3)
    ),
    max_leaves=5,
)
huge = st.sampled_from([10**5000, -(10**400), Decimal("1e6000"), 1e308, float("nan")])


class Awkward:
    """An object of a learner's own that cannot be shown, nor copied, nor compared."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise ValueError("as an array says it")

    __hash__ = None


class Anything(TypeDecorator):
    """A type of a learner's own: what it gives back cannot be shown."""

    impl, cache_ok = Integer, True

    def process_bind_param(self, value, dialect):
        return 1

    def process_result_value(self, value, dialect):
        return Awkward()


class Unreadable(TypeDecorator):
    """A type of a learner's own that cannot read what it wrote."""

    impl, cache_ok = String, True

    def process_result_value(self, value, dialect):
        raise RuntimeError("no")


KINDS = {
    Integer: big,
    String: stored_texts,
    Text: stored_texts,
    LargeBinary: st.binary(max_size=200),
    Float: st.floats(allow_nan=False),
    Numeric(30, 5): st.integers(-(10**12), 10**12).map(Decimal),
    Boolean: st.booleans(),
    Date: st.dates(),
    DateTime: st.datetimes(),
    Time: st.times(),
    Interval: st.timedeltas(
        max_value=datetime.timedelta(9999), min_value=datetime.timedelta(0)
    ),
    Uuid: st.uuids(),
    JSON: json,
    PickleType: st.one_of(huge, st.frozensets(st.integers()), st.binary(), texts),
    Enum("<b>", "'\"", name="kind"): st.sampled_from(["<b>", "'\""]),
    Anything: st.just("x"),
    Unreadable: st.just("x"),
}

TAGS = set(
    [
        "div",
        "details",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "pre",
        "span",
        "b",
        "ins",
        "del",
        "strong",
        "img",
    ]
)
ATTRIBUTES = {
    "class": r"[a-z -]*",
    "scope": "col|row",
    "colspan": r"\d+",
    "style": r"width:\d+px|max-width:100%",
    "open": "",
    "src": r"data:image/svg\+xml,[^<>\"]*",
    "alt": "(?s).*",
}


class Reader(HTMLParser):
    """Reads a display as a browser does, and refuses what the displays do not draw."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.words, self.picture = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, f"a value became <{tag}>"
        for name, value in attributes:
            assert name in ATTRIBUTES, f"a value became an attribute {name}"
            assert re.fullmatch(ATTRIBUTES[name], value or ""), (name, value)
            if name == "src":
                self.picture = unquote(value.partition(",")[2])
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> in the wrong place"

    def handle_data(self, data):
        self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a value became a comment: {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def shown(display: Shown) -> Reader:
    """Check what holds for every display: it can be sent, is no HTML of a value, and is lines."""
    bundle = display._repr_mimebundle_()
    for form in bundle.values():
        form.encode()  # a kernel sends UTF-8, and a notebook is a file of it
    assert repr(display) == bundle["text/plain"]
    lines = bundle["text/plain"]
    assert lines.splitlines() == lines.split("\n"), "a value broke its line"
    assert "\x1b" not in lines and "\0" not in bundle["text/html"]
    return Reader(bundle["text/html"])


def drawn(display: Shown) -> None:
    """As `shown`, for a picture: it is XML that a browser can draw, and holds no script."""
    root = ElementTree.fromstring(shown(display).picture)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "style", "rect", "text", "tspan", "path"}, kinds


quick = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],  # to make a failure smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@st.composite
def tables_with_rows(draw):
    """Two tables of any columns, mapped, with any rows: an engine, a Base, the classes."""
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4))
    kinds += draw(st.sampled_from([[], [Anything], [Unreadable], [PickleType]]))
    unique = st.lists(names, min_size=8, max_size=8, unique_by=str.casefold)
    first, second, *columns = draw(unique)

    class Base(DeclarativeBase):
        pass

    fields = {
        f"c{i}": mapped_column(name, kind)
        for i, (name, kind) in enumerate(zip(columns[1:], kinds, strict=False))
    }
    key = mapped_column(columns[0], Integer, primary_key=True)
    Parent = type(
        "Parent",
        (Base,),
        {
            "__tablename__": first,
            "id": key,
            **fields,
            "children": relationship("Child"),
        },
    )
    Child = type(
        "Child",
        (Base,),
        {
            "__tablename__": second,
            "id": mapped_column(Text, primary_key=True),
            "parent_id": mapped_column(ForeignKey(Parent.__table__.c[columns[0]])),
        },
    )
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {f"c{i}": st.none() | KINDS[kind] for i, kind in enumerate(kinds)}
            ),
            max_size=4,
        )
    )
    children = draw(st.lists(stored_texts, max_size=3, unique=True))
    return Base, Parent, Child, rows, children


@quick
@given(tables_with_rows(), st.data())
def test_any_class_with_any_rows(made, data):
    Base, Parent, Child, rows, children = made
    drawn(diagram(Base))
    engine = create_engine("sqlite://", poolclass=StaticPool)
    shown(tables(engine, Base))
    Base.metadata.create_all(engine)
    before = tables(engine, Base)
    with Session(engine) as session:
        parents = [Parent(id=i, **row) for i, row in enumerate(rows)]
        kids = [Child(id=name) for name in children]
        objects = {f"p{i}": one for i, one in enumerate(parents)}
        objects |= {f"k{i}": one for i, one in enumerate(kids)}
        story = timeline(**objects)
        steps = [
            "add",
            "flush",
            "commit",
            "delete",
            "expire",
            "rollback",
            "move",
            "expunge",
        ]
        for step in data.draw(st.lists(st.sampled_from(steps), max_size=8)):
            try:
                match step:
                    case "add":
                        session.add_all([*parents, *kids])
                    case "move" if parents:
                        parents[0].children = kids
                    case "delete" if parents:
                        session.delete(parents[-1])
                    case "expunge":
                        session.expunge_all()
                    case "expire":
                        session.expire_all()
                    case "flush" | "commit" | "rollback":
                        getattr(session, step)()
            except Exception as error:  # the learner's own, and not a display's
                shown(explain(error))
                session.rollback()
            shown(states(session, **objects))
            shown(tables(session, Base))
            story(step)
        shown(story)
        session.rollback()
        session.expunge_all()
        session.execute(Parent.__table__.delete())
        session.add_all([Parent(id=i, **row) for i, row in enumerate(rows)])
        session.commit()
        with_rows = tables(engine, Base)
        for row in reversed(
            rows
        ):  # the last one's values for all, then the one before it
            session.execute(update(Parent).values(row))
            shown(tables(session, Base))
            session.commit()
            shown(changes(with_rows))
    quoted = engine.dialect.identifier_preparer.quote(Child.__tablename__)
    # SQLite takes bytes for a text, and a word for a number
    with engine.begin() as raw:
        raw.exec_driver_sql(
            f"INSERT OR IGNORE INTO {quoted} VALUES (x'00', 7), ('b', 'x')"
        )
    shown(changes(before))
    shown(tables(engine))
    shown(changes(before, tables(engine, Base)))
    engine.dispose()


@quick
@given(
    st.dictionaries(texts, st.integers(0, 10**6) | st.just(10**400), max_size=5), texts
)
def test_bars_of_any_numbers_and_words(numbers, title):
    try:
        shown(bars(numbers, title))
    except LessonError as error:
        assert "draws whole numbers" in str(error)


@quick
@given(
    st.one_of(
        texts, json, huge, st.builds(Awkward), st.binary(), st.sets(st.builds(object))
    )
)
def test_any_value_is_one_short_line(value):
    said = short(value)
    assert len(said) <= 60 and len(said.splitlines()) <= 1
    said.encode()


@quick
@given(
    texts,
    texts,
    st.sampled_from([ValueError, KeyError, LessonError, exc.ArgumentError]),
)
def test_any_error_is_explained(statement, value, kind):
    shown(explain(kind(value)))
    shown(explain(exc.IntegrityError(statement, {value: value}, kind(value))))
    shown(explain(exc.StatementError(value, statement, [value], kind(value))))


@quick
@given(st.lists(names, min_size=3, max_size=6, unique_by=str.casefold), st.data())
def test_a_diagram_of_any_tables(words, data):
    metadata = MetaData()
    made: list[Table] = []
    for word in words[1:]:
        columns = [Column(words[0], Integer, primary_key=True)]
        for i, other in enumerate(
            data.draw(st.lists(st.sampled_from(made or [None]), max_size=2))
        ):
            if other is not None:
                key = ForeignKey(other.c[words[0]])
                columns.append(
                    Column(f"{word}{i}", key, unique=data.draw(st.booleans()))
                )
        columns.append(Column("<i>", data.draw(st.sampled_from(list(KINDS)))))
        made.append(Table(word, metadata, *columns, UniqueConstraint(words[0], "<i>")))
    drawn(diagram(metadata))


# ---- the SQL under a cell


@pytest.fixture(scope="module")
def shell():
    """A shell whose engine is watched; each example runs cells in it."""
    from lesson_support import watch

    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    things = Table(
        "<b>things</b>",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("<script>", Text),
    )
    things.create(engine)
    watch(engine)
    made.push(
        {
            "engine": engine,
            "things": things,
            "insert": insert,
            "literal": literal,
            "select": select,
            "text": text,
            "update": update,
        }
    )
    yield made
    watch(None)
    InteractiveShell.clear_instance()


CELLS = [
    "with engine.begin() as c: c.execute(insert(things), [{'<script>': value}])",
    "with engine.begin() as c: c.execute(insert(things), [{'<script>': value}] * 9)",
    "with engine.connect() as c: c.execute(select(literal(value))).all()",
    "with engine.connect() as c: c.execute(select(things).where(things.c[1].in_([value] * 9))).all()",
    "with engine.begin() as c: c.execute(update(things).values({'<script>': value}))",
    "with engine.connect() as c: c.execute(text('select :v'), {'v': value}).all()",
    "with engine.connect() as c: c.exec_driver_sql(str(value))",
    "with engine.connect() as c: c.exec_driver_sql('select ?', (value,)).all()",
    "with engine.connect() as c: c.execute(text('/* ' + str(value) + ' */ select 1')).all()",
    "with engine.connect() as c, c.begin_nested(): c.execute(select(things))",
    "with engine.connect() as c: c.execute(things.delete().where(things.c[1] == value))",
]


@settings(quick, max_examples=100)
@given(
    st.lists(st.sampled_from(CELLS), min_size=1, max_size=4),
    st.one_of(texts, big, huge, st.binary(max_size=80), st.none(), st.builds(Awkward)),
)
@example(CELLS, "\ud800")
@example(CELLS, 10**5000)
def test_the_sql_of_any_cell(shell, cells, value):
    shell.push({"value": value})
    alone = "\n".join(f"try:\n    {cell}\nexcept Exception: pass" for cell in cells)
    with capture_output() as captured:
        result = shell.run_cell(alone + "\n'the result'")
    assert result.success and result.result == "the result", captured.stderr
    for output in captured.outputs:
        bundle = output.data
        if "text/html" in bundle:
            seen = shown(Shown(bundle["text/html"], bundle["text/plain"]))
            assert "cannot be shown" not in "".join(seen.words)
