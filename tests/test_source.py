"""Which statement of a cell a line number means."""

from __future__ import annotations

import pytest

from lesson_support._source import statement_at

CELL = """\
with Session(
    engine,
) as session:
    # a note
    session.add(
        Program(
            name="Physics",
        )
    )
    for name in names:
        if name: session.flush(
            [name])

    try:
        session.commit()
    except (ValueError,
            KeyError):
        pass
    match name:
        case "a":
            session.get(
                Program, 1)

@decorate(
    1)
def later(
    a=1,
):
    return a
first = 1; second = 2
"""


@pytest.mark.parametrize(
    ("line", "first", "text"),
    [
        (1, 1, "with Session("),
        (3, 1, "with Session("),
        (5, 5, "session.add("),
        (7, 5, "session.add("),
        (9, 5, "session.add("),
        (10, 10, "for name in names:"),
        (12, 11, "if name: session.flush("),
        (15, 15, "session.commit()"),
        (17, 16, "except (ValueError,"),
        (20, 20, 'case "a":'),
        (22, 21, "session.get("),
        (25, 24, "@decorate("),
        (27, 24, "@decorate("),
        (29, 29, "return a"),
        (30, 30, "first = 1; second = 2"),
        (23, 23, ""),
        (99, 99, ""),
        (0, 0, ""),
    ],
)
def test_the_first_line_of_the_statement_is_found(line, first, text):
    assert statement_at(CELL, line) == (first, text)


def test_a_cell_that_is_no_python_gives_the_line_itself():
    assert statement_at("x = 1\n  ?what is this\n", 2) == (2, "?what is this")
    assert statement_at("", 1) == (1, "")
