"""What the stored displays say where a page drops styles, classes and scripts, as GitHub's does.

VS Code and Jupyter Notebook keep more than that. What is left must say all that the plain form says, so
that nothing is told by a colour alone. The sanitiser is that of nbconvert,
https://bleach.readthedocs.io; the elements are those that such pages let through.
"""

from __future__ import annotations

import re

import bleach
import pytest
from bs4 import BeautifulSoup

from notebooks import LESSONS, cells

KEPT = set(
    re.findall(
        r"\w+",
        """
    a b br caption code col colgroup dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li
    ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr ul var
    """,
    )
)
ATTRIBUTES = {
    "a": ["href", "title"],
    "details": ["open"],
    "img": ["alt"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
# The plain form says these in its own words: the rich one names the database, shows its own SQL, and
# folds the hints.
OWN_WORDS = re.compile(
    r"^SQL of this cell: .*$|^  \(exercise\(\".*\"\)\.hint\(\) gives .*$", re.MULTILINE
)


def displays(lesson) -> list[tuple[str, str, str]]:
    """The id of the cell, the rich and the plain form of each display that is stored."""
    return [
        (cell["id"], *("".join(output["data"][f"text/{kind}"]) for kind in forms))
        for cell in cells(lesson)
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
        for forms in [("html", "plain")]
    ]


def left(html: str) -> str:
    """The words that a reader sees of a display when all else is dropped; pictures tell theirs."""
    page = BeautifulSoup(html, "html.parser")
    for each in page(["style", "script"]):
        each.decompose()
    html = bleach.clean(str(page), tags=KEPT, attributes=ATTRIBUTES, strip=True)
    page = BeautifulSoup(html, "html.parser")
    return " ".join(
        [page.get_text(" "), *(each.get("alt", "") for each in page("img"))]
    )


def lost(html: str, plain: str) -> set[str]:
    """The words of the plain form that are not left of the rich one."""
    words = re.findall(r"\w+", OWN_WORDS.sub("", plain))
    if "ls-sql" in html:
        # How often it was sent, and how false is written, is the database's own.
        words = [word for word in words if not word.isdigit() and word != "false"]
    return set(words) - set(re.findall(r"\w+", left(html)))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem[:2])
def test_nothing_is_told_by_styles_alone(lesson):
    found = {id: lost(html, plain) for id, html, plain in displays(lesson)}
    assert {id: words for id, words in found.items() if words} == {}


def test_a_colour_alone_is_noticed():
    plain = "+ inserted  9  Music"
    told = "<tr><th>+ inserted</th><td>9</td><td>Music</td></tr>"
    assert lost(f"<table>{told}</table>", plain) == set()
    coloured = (
        '<style>.ins{color:green}</style><tr class="ins"><td>9</td><td>Music</td></tr>'
    )
    assert lost(f"<table>{coloured}</table>", plain) == {"inserted"}
    assert lost('<svg><text>Music</text></svg><img title="9">', plain) >= {"9"}
