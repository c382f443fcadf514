"""The pages of the book in a browser: searched, read by everybody, in both themes, at every width."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from driver import serving

from lesson_support.commands import PROJECT
from notebooks import LESSONS

PASTED = {
    "sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) NOT NULL constraint failed: invoices.customer_id"
    " [SQL: UPDATE invoices SET customer_id=? WHERE invoices.id = ?] [parameters: (None, 1)]"
    " (Background on this error at: https://sqlalche.me/e/20/gkpj)": {"05", "17"},
    "sqlalchemy.orm.exc.DetachedInstanceError: Parent instance <Customer at 0x7f0c1> is not bound to a"
    " Session; lazy load operation of attribute 'invoices' cannot proceed": {
        "06",
        "17",
    },
    "could not determine join condition between parent/child tables": {"01", "17"},
}


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """The book as the command writes it, once for all tests."""
    folder = tmp_path_factory.mktemp("published") / "book"
    command = [sys.executable, "-m", "lesson_support", "book", "--output", str(folder)]
    command += ["--site-url", "../site"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def address(book):
    """Where a plain file server serves the book."""
    with serving(book) as address:
        yield address


@pytest.mark.parametrize("message", PASTED)
def test_the_search_finds_a_pasted_error_message(tab, address, message):
    page = tab()
    page.goto(f"{address}search.html?q={quote(message)}")
    page.wait_for_selector("ul.search li p.context a[href]")
    page.wait_for_function("document.querySelector('.search-summary').innerText")
    found = page.eval_on_selector_all(
        "ul.search > li > a", "all => all.map(a => a.href)"
    )
    numbers = [Path(urlsplit(url).path).stem[:2] for url in found]
    assert PASTED[message] & set(numbers[:4]), numbers
    page.locator("p.context a").first.click()
    page.wait_for_selector(":target", state="attached")


def test_the_search_is_reached_and_used_by_keyboard(tab, address):
    page = tab()
    page.goto(f"{address}notebooks/{LESSONS[5].stem}.html")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Control+k")
    page.keyboard.type("passive_deletes")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search li")
    assert "q=passive_deletes" in page.url
    page.goto(f"{address}search.html?q=xyzzyplugh")
    page.wait_for_function("document.querySelector('.search-summary').innerText")
    assert page.locator("ul.search li").count() == 0


def test_the_sql_is_folded_by_keyboard(tab, address):
    page = tab()
    page.goto(f"{address}notebooks/{LESSONS[5].stem}.html")
    summary = page.locator("details.ls-sql > summary").first
    summary.focus()
    for opened in (False, True):
        page.keyboard.press("Enter")
        assert summary.evaluate("(node) => node.parentElement.open") == opened


def faults(page, axe: str) -> list[str]:
    """What axe-core finds in a page, all of it unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate("document.getAnimations().forEach(a => a.finish())")
    page.evaluate(axe)
    return page.evaluate(
        "async () => (await axe.run()).violations.map("
        "v => `${v.id}: ${v.nodes.length}, ${v.nodes[0].html.slice(0, 120)}`)"
    )


def test_each_page_is_for_everybody(book, address, tab, axe, shot):
    """In both themes without a violation; at a phone's width and at 200 % nothing is cut off."""
    found, page = {}, tab()
    names = [path.relative_to(book).as_posix() for path in book.rglob("*.html")]
    assert len(names) > len(LESSONS)
    for name in sorted(names):
        if name == "search.html":
            page.goto(f"{address}{name}?q=constraint")
            page.wait_for_selector("ul.search li")
        else:
            page.goto(f"{address}{name}")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
            found[name, scheme] = faults(page, axe)
            shot(page, f"book-{Path(name).stem}-{scheme}", full_page=True)
        for width in (640, 390):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            found[name, width] = [f"{wide} too wide"] if wide > 0 else []
        shot(page, f"book-{Path(name).stem}-phone", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 900})
    assert {place: what for place, what in found.items() if what} == {}
    page.evaluate("document.body.append(new Image())")
    assert faults(page, axe) != []
