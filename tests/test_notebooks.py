"""The house style of the lessons, and what nbval cannot see."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from notebooks import FOLDER, LESSONS, ROOT, cells, code_cells

TEMPLATE = FOLDER / "_template.ipynb"
ALL = [*LESSONS, TEMPLATE]
SECRETS = {
    "a URL with a password": re.compile(
        r"[a-z+]+://[^\s:/@*]+:(?!\*\*\*|PASSWORD)[^\s:/@*{}]+@"
    ),
    "a machine path": re.compile(
        r"(?<![\w/.:])(/home/|/root/|/Users/|/tmp/|[A-Z]:\\+Users)"
    ),
    "an address in memory": re.compile(r"\bat 0x[0-9a-f]{6,}"),
    "a time of SQLAlchemy's echo": re.compile(
        r"\[(?:generated in|cached since|no key) [\d.]+s"
    ),
}


def quantile(values: list[int], part: float) -> float:
    """Linear interpolation between the closest ranks."""
    values = sorted(values)
    place = (len(values) - 1) * part
    low = int(place)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (
        place - low
    )


def lines(cell: dict) -> list[str]:
    return [line for line in cell["source"].split("\n") if line.strip()]


def words(cell: dict) -> int:
    """The words of a text cell that a learner reads: no tables, no targets of links."""
    text = re.sub(r"\]\([^)]*\)", "]", cell["source"])
    return sum(
        len(line.split()) for line in text.split("\n") if not line.startswith("|")
    )


def faults(path: Path) -> list[str]:
    """Everything in which a notebook leaves the house style, in words."""
    book = json.loads(path.read_text(encoding="utf-8"))
    all_cells, code = cells(path), code_cells(path)
    text = [cell for cell in all_cells if cell["cell_type"] == "markdown"]
    kinds = "".join("c" if cell["cell_type"] == "code" else "t" for cell in all_cells)
    said = "\n".join(cell["source"] for cell in text)
    heads = [len(mark) for mark in re.findall(r"^(#+) ", said, re.MULTILINE)]
    counts = [cell["execution_count"] for cell in code]
    sizes = [len(lines(cell)) for cell in code]
    ids = [cell["id"] for cell in all_cells]
    outputs = [(cell, output) for cell in code for output in cell["outputs"]]
    after_text = sum(
        kinds[i - 1] == "t" for i, kind in enumerate(kinds) if kind == "c" and i
    )
    alts = re.findall(r"!\[([^]]*)\]", said)
    source = "\n".join(cell["source"] for cell in code)
    checks = {
        "has 25 to 50 cells": path == TEMPLATE or 25 <= len(all_cells) <= 50,
        "has no empty cell": all(cell["source"].strip() for cell in all_cells),
        "opens with its one title": kinds[0] == "t"
        and heads[0] == 1
        and heads.count(1) == 1,
        "skips no level of headings": all(
            b - a <= 1 for a, b in zip(heads, heads[1:], strict=False)
        ),
        "says what you will be able to do": "## What you will be able to do" in said,
        "says what comes before it": "**Before you start:**" in said,
        "says how long it takes": bool(re.search(r"\*\*Time:\*\* \d+ minutes", said)),
        "has an error and its cure": path == TEMPLATE
        or "## When it goes wrong" in said,
        "has a recap": "## Recap" in said,
        "has a table of words": "| word | meaning |" in said,
        "has exercises": "## Exercises" in said,
        "points to the next lesson": "**Next lesson:**" in said,
        "leads at least 85 % of code cells by text": after_text >= 0.85 * len(code),
        "has at most two code cells in a row": "ccc" not in kinds,
        "has code cells of at most 25 lines": max(sizes) <= 25,
        "has 9 of 10 code cells of at most 12 lines": quantile(sizes, 0.9) <= 12,
        "has a median of at most 4 to 8 lines": quantile(sizes, 0.5) <= 8,
        "has 9 of 10 text cells of at most 130 words": quantile(
            [words(c) for c in text], 0.9
        )
        <= 130,
        "has lines of at most 88 columns": max(map(len, source.split("\n"))) <= 88,
        "has no star import": not re.search(
            r"^from .* import \*", source, re.MULTILINE
        ),
        "installs nothing and runs no shell": not re.search(
            r"^\s*[!%]", source, re.MULTILINE
        ),
        "was executed in order": counts == list(range(1, len(code) + 1)),
        "ends its set-up with the database's name": "Set-up is complete."
        in json.dumps(code[0]["outputs"]),
        "has an output in most code cells": len({c["id"] for c, _ in outputs})
        >= 0.5 * len(code),
        "writes nothing to stderr": not [
            o for _, o in outputs if o.get("name") == "stderr"
        ],
        "tags its wanted errors": all(
            "raises-exception" in cell["metadata"].get("tags", [])
            for cell, output in outputs
            if output["output_type"] == "error"
        ),
        "has the errors that it tags": all(
            any(output["output_type"] == "error" for output in cell["outputs"])
            for cell in code
            if "raises-exception" in cell["metadata"].get("tags", [])
        ),
        "has names as cell ids, each once": len(set(ids)) == len(ids)
        and all(re.fullmatch(r"[a-z][a-z0-9-]{2,60}", id) for id in ids),
        "has a text alternative for each picture": all(len(alt) > 15 for alt in alts),
        "imports only in its set-up cell": all(
            not isinstance(node, (ast.Import, ast.ImportFrom))
            for cell in code[1:]
            for node in ast.walk(ast.parse(cell["source"]))
        ),
        "is stored in normal form": book["metadata"]
        == {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
        and book["nbformat_minor"] == 5,
    }
    return [rule for rule, kept in checks.items() if not kept]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_house_style(path):
    assert not faults(path), f"{path.name} breaks: it {'; it '.join(faults(path))}"


def test_a_cleared_notebook_breaks_the_style(tmp_path):
    """nbval passes a notebook without outputs; the style must not."""
    book = json.loads(LESSONS[0].read_text(encoding="utf-8"))
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    cleared = tmp_path / "00-cleared.ipynb"
    cleared.write_text(json.dumps(book), encoding="utf-8")
    assert "was executed in order" in faults(cleared)
    assert "ends its set-up with the database's name" in faults(cleared)


def test_a_bad_notebook_breaks_the_style(tmp_path):
    bad = tmp_path / "00-bad.ipynb"
    code = {"cell_type": "code", "execution_count": 3, "metadata": {}, "outputs": []}
    stderr = {"output_type": "stream", "name": "stderr", "text": "oops"}
    book = {
        "cells": [
            code | {"id": "a1b2", "source": "from os import *", "outputs": [stderr]},
            code | {"id": "a1b2", "source": "x = 1\n" * 30},
            code | {"id": "UPPER", "source": "!pip install x"},
            {
                "cell_type": "markdown",
                "id": "m1m",
                "metadata": {},
                "source": "### Deep ![](x.png)",
            },
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    bad.write_text(
        json.dumps(book).replace("!pip install x", "import os\\nos.x"), encoding="utf-8"
    )
    found = faults(bad)
    for rule in (
        "opens with its one title",
        "has at most two code cells in a row",
        "has code cells of at most 25 lines",
        "has no star import",
        "was executed in order",
        "writes nothing to stderr",
        "has names as cell ids, each once",
        "imports only in its set-up cell",
        "has a text alternative for each picture",
        "is stored in normal form",
        "has a recap",
    ):
        assert rule in found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    said = "\n".join(
        cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown"
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", said):
        if target.startswith("https://"):
            continue
        file, _, _ = unquote(target).partition("#")
        assert not file or (FOLDER / file).exists(), (
            f"{path.name} links to {target}, which is not there"
        )


def test_lessons_are_numbered_without_a_gap():
    assert [path.name[:2] for path in LESSONS] == [
        f"{n:02}" for n in range(len(LESSONS))
    ]
    assert all(re.fullmatch(r"\d\d-[a-z0-9-]+\.ipynb", path.name) for path in LESSONS)


def tracked() -> list[Path]:
    """Every text file of the project that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [
        ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()
    ]


def secrets_in(text: str, kinds: tuple[str, ...] = tuple(SECRETS)) -> list[str]:
    return [kind for kind in kinds if SECRETS[kind].search(text)]


def test_no_secret_and_no_machine_path_is_stored():
    for path in ALL:
        assert not secrets_in(path.read_text(encoding="utf-8")), path.name
    for path in tracked():
        if (
            path.suffix in {".md", ".py", ".toml", ".txt", ".yml", ".csv", ".cfg"}
            and path.parent.name != "tests"
        ):
            text = path.read_text(encoding="utf-8")
            found = secrets_in(text, ("a URL with a password",))
            assert not found, f"{path.name} holds {found}"


def test_planted_secrets_are_found():
    planted = "postgresql+psycopg://ada:pa55word@db.example/school"
    assert secrets_in(planted) == ["a URL with a password"]
    assert not secrets_in("postgresql+psycopg://ada:***@db.example/school")
    assert secrets_in("in /home/ada/x") == ["a machine path"]
    assert secrets_in("<Course object at 0x7f3a2b1c>") == ["an address in memory"]
