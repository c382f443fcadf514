"""`book`: builds the lessons as a folder of pages for reading, from the outputs that are stored.

Sphinx makes the pages, MyST-NB reads the notebooks and runs none of them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

from lesson_support.commands import ASIDE, PROJECT, CommandError, children, setup

REQUIREMENTS = PROJECT / "requirements-book.txt"
SETTINGS = PROJECT / "docs" / "book"
TOOLS = ASIDE / "book-tools"
OUTPUT = ASIDE / "published" / "book"
MARK = "lesson-support-book.json"
PLACE_OF_LESSONS = "@LESSONS@"
PAGES = ("README.md", "docs/find-an-answer.md", "docs/what-you-see.png")
# Of Sphinx's own work, and half of the size: what no reader's browser asks for.
UNNEEDED = (
    ".buildinfo",
    "objects.inv",
    "_sources",
    "_static/locales",
    "_static/**/*.map",
    "_static/*.html",
)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python3 -m lesson_support book",
        description="Builds the lessons as a book: pages for reading, with a search; any file"
        " server can serve them.",
    )
    made.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help=f"the folder to write, {OUTPUT.relative_to(PROJECT)}; an earlier book there is replaced",
    )
    made.add_argument(
        "--site-url",
        metavar="URL",
        help="where the site that the command `site` builds is served, so that each lesson links"
        " to it: https://... or a path from the book's first page, such as ../site",
    )
    return made


def anchor(heading: str) -> str:
    """The anchor that JupyterLab gives to a heading, from its text."""
    return heading.replace(" ", "-")


def check_output(folder: Path) -> None:
    """Raises CommandError where a folder holds something that this command did not write."""
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file; name a folder with --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise CommandError(
            f"{folder} holds something else than a book of these lessons, so it is left as it is;"
            " empty it or name another folder with --output"
        )


def check_site(url: str | None) -> str | None:
    """The address of the site as a lesson's page names it, or None; CommandError for a wrong one."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise CommandError(
            f"--site-url {url!r} is not an address; see --help"
        ) from error
    if (
        not url
        or parts.query
        or parts.fragment
        or parts.scheme not in ("", "http", "https")
    ):
        raise CommandError(
            f"--site-url {url!r} must be http://..., https://... or a path such as ../site"
        )
    within = not parts.scheme and not url.startswith("/")
    return f"{'../' if within else ''}{url.rstrip('/')}"


def lessons() -> list[Path]:
    """The notebooks of the book in their order. Raises CommandError where there is none."""
    found = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
    if not found:
        raise CommandError("there is no lesson in notebooks/; fetch the project anew")
    return found


def title_of(notebook: dict, name: str) -> str:
    """The text of the heading that a lesson starts with; CommandError where it has none."""
    first = "".join(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    if not first.startswith("# "):
        raise CommandError(f"{name} does not start with `# ` and its title; add one")
    return first.partition("\n")[0].removeprefix("# ")


def with_links(notebook: dict, name: str, site: str | None) -> dict:
    """Puts the links to the lesson that runs under its title."""
    ways = [f'<a href="{quote(name)}" download>download this notebook</a>']
    if site is not None:
        there = escape(f"{site}/lab/index.html?path=notebooks/{quote(name)}")
        ways.append(f'<a href="{there}">open it in the browser</a>, nothing to install')
    line = f'<p class="run">Run it yourself: {" or ".join(ways)}.</p>'
    title, _, rest = "".join(notebook["cells"][0]["source"]).partition("\n")
    notebook["cells"][0]["source"] = f"{title}\n\n{line}\n{rest}"
    return notebook


def gather(folder: Path, site: str | None) -> None:
    """Copies what becomes a page into a folder, in the places that the links between them expect."""
    for name in PAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / "notebooks").mkdir()
    listed = []
    for path in lessons():
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            title = title_of(notebook, path.name)
            text = json.dumps(with_links(notebook, path.name, site))
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"notebooks/{path.name} is not a notebook; undo its last change"
            ) from error
        (folder / "notebooks" / path.name).write_text(text, encoding="utf-8")
        listed.append(f"{path.name[:2]} {title} <notebooks/{path.stem}>")
    index = (SETTINGS / "index.md").read_text(encoding="utf-8")
    index = index.replace(PLACE_OF_LESSONS, "\n".join(listed))
    (folder / "index.md").write_text(index, encoding="utf-8")


def run_sphinx(source: Path, made: Path, work: Path) -> None:
    """Has Sphinx write the pages. Raises CommandError with its first warning or its error."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    command += [
        "--no-color",
        "-c",
        str(SETTINGS),
        "-d",
        str(work),
        str(source),
        str(made),
    ]
    ended = subprocess.run(
        command,
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(TOOLS), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if ended.returncode:
        said = ended.stderr.replace(f"{source}{os.sep}", "")
        lines = [line for line in said.splitlines() if line.strip()]
        reason = next(
            (line for line in lines if re.search("WARNING|ERROR", line)), lines[-1:]
        )
        raise CommandError(
            f"Sphinx cannot build the book ({reason or 'no reason given'})"
        )


def build(output: Path, site: str | None) -> None:
    """Builds the book into a folder, which is replaced in one step at the end."""
    with setup.guarded(), tempfile.TemporaryDirectory(dir=ASIDE) as name:
        source, made = Path(name, "source"), Path(name, "book")
        source.mkdir()
        gather(source, site)
        run_sphinx(source, made, Path(name, "work"))
        for path in lessons():
            shutil.copyfile(path, made / "notebooks" / path.name)
        for path in [path for pattern in UNNEEDED for path in made.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (made / MARK).write_text("{}\n", encoding="utf-8")
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output, ignore_errors=True)
        shutil.move(made, output)


def main(args: list[str]) -> int:
    """Builds the book and says how to look at it."""
    options = parser().parse_args(args)
    output = options.output.resolve()
    check_output(output)
    site = check_site(options.site_url)
    setup.install_aside(REQUIREMENTS, TOOLS)
    setup.say("Building the book (about half a minute)")
    with children.tidy_end():
        build(output, site)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"The book is in {output}: {len(lessons())} lessons, {size / 1e6:.0f} MB.")
    print(f"To look at it: {sys.executable} -m http.server --directory {output}")
    return 0
