"""The book: every page is built, and every link in it holds. What a browser shows is in browser/."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from lesson_support.commands import ASIDE, PROJECT, CommandError, answers, book
from notebooks import LESSONS

SITE = "../site"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The book as the command writes it, once for all tests."""
    folder = tmp_path_factory.mktemp("published") / "book"
    command = [sys.executable, "-m", "lesson_support", "book", "--output", str(folder)]
    ended = subprocess.run(
        [*command, "--site-url", SITE], cwd=PROJECT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert f"{len(LESSONS)} lessons" in ended.stdout
    return folder


@pytest.fixture(scope="module")
def pages(built) -> dict[str, BeautifulSoup]:
    """Every page by its path in the book."""
    return {
        path.relative_to(built).as_posix(): BeautifulSoup(
            path.read_text(encoding="utf-8"), "html.parser"
        )
        for path in sorted(built.rglob("*.html"))
    }


def broken_links(folder: Path, pages: dict[str, BeautifulSoup]) -> list[str]:
    """What the pages point to inside the folder and is not there."""
    ids = {
        name: {tag["id"] for tag in page.find_all(id=True)}
        for name, page in pages.items()
    }
    broken = []
    for name, page in pages.items():
        for tag in page.find_all(["a", "img", "link", "script", "source"]):
            target = tag.get("href") or tag.get("src")
            if not target or urlsplit(target).scheme or f"{SITE}/lab/" in target:
                continue
            parts = urlsplit(target)
            path = (
                (folder / name).parent / unquote(parts.path)
                if parts.path
                else folder / name
            )
            path = Path(os.path.normpath(path))
            place = (
                path.relative_to(folder).as_posix()
                if path.is_relative_to(folder)
                else None
            )
            fragment = unquote(parts.fragment)
            if not path.is_file() or (
                place in ids and fragment and fragment not in ids[place]
            ):
                broken.append(f"{name}: {target}")
    return broken


def faults(page: BeautifulSoup) -> list[str]:
    """What is wrong with the order of a page, its ids and its pictures."""
    found = []
    ids = [tag["id"] for tag in page.find_all(id=True)]
    found += sorted({f"id {name} twice" for name in ids if ids.count(name) > 1})
    found += [
        f"no words for {tag}"[:80] for tag in page.find_all("img") if not tag.get("alt")
    ]
    levels = [
        int(tag.name[1])
        for tag in (page.article or page.main).find_all(["h1", "h2", "h3", "h4", "h5"])
    ]
    if levels.count(1) != 1 or levels[0] != 1:
        found.append("not one heading at the top")
    found += [
        f"h{b} after h{a}"
        for a, b in zip(levels, levels[1:], strict=False)
        if b > a + 1
    ]
    return found


def test_every_lesson_is_there_in_its_order(pages):
    listed = [
        a["href"] for a in pages["index.html"].select("#site-navigation a, .bd-links a")
    ]
    expected = [f"notebooks/{path.stem}.html" for path in LESSONS]
    assert [href for href in listed if href.startswith("notebooks/")] == expected
    assert set(pages) == {
        *expected,
        "index.html",
        "docs/find-an-answer.html",
        "search.html",
    }
    table = pages["index.html"].select("article table a")
    assert {a["href"] for a in table} <= set(expected) and len(table) >= 13


def test_every_link_holds(built, pages):
    assert broken_links(built, pages) == []
    page = BeautifulSoup(
        '<a href="no.html"></a><a href="#no"></a><img src="../x">', "html.parser"
    )
    assert len(broken_links(built, {"index.html": page})) == 3


def test_headings_ids_and_pictures(pages):
    assert {name: faults(page) for name, page in pages.items() if faults(page)} == {}
    html = "<article><h1 id=a>x</h1><h3 id=a>y</h3><img src=z>"
    assert len(faults(BeautifulSoup(html, "html.parser"))) == 3


def test_nothing_comes_from_elsewhere_and_nothing_tells_of_the_machine(built, pages):
    for page in pages.values():
        for tag in page.find_all(["img", "link", "script"]):
            target = tag.get("src") or tag.get("href") or ""
            assert urlsplit(target).scheme in ("", "data"), target
    for path in built.rglob("*"):
        if path.suffix in {".html", ".js", ".json", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert str(PROJECT) not in text and str(ASIDE) not in text, path


def test_each_question_leads_to_its_section(pages):
    links = pages["docs/find-an-answer.html"].select("article li a")
    asked = sorted(
        answers.read(), key=lambda answer: answer.lesson
    )  # keeps their order
    assert len(links) == len(asked)
    for link, answer in zip(links, asked, strict=True):
        place = urlsplit(link["href"])
        assert Path(place.path).stem == answer.lesson
        section = pages[f"notebooks/{answer.lesson}.html"].find(
            id=unquote(place.fragment)
        )
        heading = section.find_parent("section") if section.name == "span" else section
        said = heading.find(["h1", "h2", "h3"]).get_text().removesuffix("#")
        plain = str.maketrans("’‘“”–…", "''\"\"-.", "`*")
        assert said.translate(plain) == answer.heading.translate(plain)


def test_each_lesson_has_its_style_and_links_to_what_runs(built, pages):
    for path in LESSONS:
        page = pages[f"notebooks/{path.stem}.html"]
        assert (
            len([style for style in page.find_all("style") if ".ls-sql" in style.text])
            == 1
        )
        file, there = page.select("p.run a")
        assert (built / "notebooks" / file["href"]).read_bytes() == path.read_bytes()
        assert (
            there["href"]
            == f"../{SITE}/lab/index.html?path=notebooks/{quote(path.name)}"
        )


@pytest.mark.parametrize("words", [[], ["--site-url", "https://example.org/site/"]])
def test_a_site_is_linked_where_it_is_named(words):
    given = book.parser().parse_args(words).site_url
    notebook = {"cells": [{"source": ["# A title\n", "\n", "A text."]}]}
    made = book.with_links(notebook, "00-a.ipynb", book.check_site(given))["cells"][0][
        "source"
    ]
    assert made.startswith("# A title\n\n<p") and made.endswith("</p>\n\nA text.")
    assert ("https://example.org/site/lab/index.html?path=" in made) == bool(words)


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "ftp://x", "http://[", "a?b"]
)
def test_a_wrong_site_is_one_sentence(url):
    with pytest.raises(CommandError, match="--site-url"):
        book.check_site(url)


def test_what_is_no_book_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(CommandError, match="something else than a book"):
        book.main(["--output", str(tmp_path)])
    with pytest.raises(CommandError, match="is a file"):
        book.main(["--output", str(tmp_path / "thesis.txt")])
    assert (tmp_path / "thesis.txt").read_text() == "x"


def small_project(folder: Path, text: str) -> Path:
    """A project with one lesson, which holds that text."""
    for name in book.PAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / "README.md").write_text("# A book\n\n## PostgreSQL\n", encoding="utf-8")
    (folder / "docs/find-an-answer.md").write_text("# Find\n", encoding="utf-8")
    (folder / "notebooks").mkdir()
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = folder / "notebooks" / "00-a.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_a_broken_link_stops_the_book_and_the_earlier_one_stays(
    built, tmp_path, monkeypatch
):
    monkeypatch.setattr(book, "PROJECT", tmp_path / "project")
    path = small_project(tmp_path / "project", "# A\n\n[b](01-none.ipynb#There)")
    monkeypatch.setattr(book, "OUTPUT", book.PROJECT / "book")
    output = tmp_path / "book"
    output.mkdir()
    (output / book.MARK).write_text("{}")
    with pytest.raises(
        CommandError, match=r"cannot build.*00-a\.ipynb.*01-none\.ipynb"
    ):
        book.main(["--output", str(output)])
    assert [path.name for path in output.iterdir()] == [book.MARK]
    path.write_text('{"cells": 1}')
    with pytest.raises(CommandError, match="00-a.ipynb is not a notebook"):
        book.main(["--output", str(output)])
    small = {"cells": [{"source": "No title"}]}
    path.write_text(json.dumps(small))
    with pytest.raises(CommandError, match="does not start with"):
        book.main(["--output", str(output)])
