"""The site in a browser: every lesson runs in it, what a learner writes is kept, nobody else is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from driver import FLAGS, PATIENCE, Files, Notebook, serving, watched, words

from lesson_support.commands import PROJECT
from notebooks import LESSONS, cells

# The cells that a browser cannot run: they need pandas, a second process, or threads.
LACKING = {
    "03": {"files-read", "files-load"},
    "04": {"pandas-code"},
    "07": {"every-lazy"},
    "08": {"table-code"},
    "09": {"all-cases", "overview", "differ-run", "not-null", "rules-alone"},
    "11": {"frame-code", "back-code", "replace-code"},
    "13": {"at-once-code", "one-by-one-code", "read-race-code"},
    "19": {"dataclass", "report-code", "report-repair"},
    "20": {"find-wrong", "find-right"},
}
# Nearly all cells of these need AsyncSession, or a web framework and migrations.
NOT_HERE = ("14", "15")
SENTENCE = "which does not run in the browser: go on with the next cell"


class Compressed(Files):
    """A file server that sends the compressed form beside a file, as nginx does, and counts bytes."""

    sent = 0

    def send_head(self):
        path = self.path.partition("?")[0]
        if Path(f"{self.translate_path(path)}.gz").is_file():
            self.path = f"{path}.gz"
        return super().send_head()

    def guess_type(self, path):
        return super().guess_type(path.removesuffix(".gz"))

    def end_headers(self):
        if self.path.endswith(".gz"):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()

    def copyfile(self, source, outputfile):
        Compressed.sent += Path(source.name).stat().st_size
        super().copyfile(source, outputfile)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as the command writes it, once for all tests; scripts of the tests may drive it."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no Node.js is installed")
    folder = tmp_path_factory.mktemp("published") / "site"
    command = [sys.executable, "-m", "lesson_support", "site", "--output", str(folder)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    settings = folder / "jupyter-lite.json"
    config = json.loads(settings.read_bytes())
    config["jupyter-config-data"]["exposeAppInBrowser"] = True
    settings.write_text(json.dumps(config))
    settings.with_name("jupyter-lite.json.gz").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Where a file server serves the site."""
    with serving(site, Compressed) as address:
        yield address


@pytest.fixture(scope="module")
def profile(playwright, program, tmp_path_factory):
    """A browser that keeps files and changes, as a learner's does."""
    context = playwright.chromium.launch_persistent_context(
        tmp_path_factory.mktemp("profile"),
        executable_path=program,
        args=FLAGS,
        viewport={"width": 1200, "height": 900},
    )
    context.set_default_timeout(PATIENCE)
    wrong = watched(context)
    yield context
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def notebook(profile, address):
    """The site, opened as a learner's link opens it."""
    page = profile.new_page()
    page.goto(address)
    return Notebook(page).wait_for(LESSONS[0].name)


def first_result(profile, address: str) -> float:
    """Opens the site and runs the first cell; the seconds until its result is there."""
    page = profile.new_page()
    start = time.monotonic()
    page.goto(address)
    opened = Notebook(page).wait_for(LESSONS[0].name)
    opened.select("setup")
    page.keyboard.press("Shift+Enter")
    opened.outputs("setup").get_by_text("Set-up is complete").wait_for()
    seconds = time.monotonic() - start
    page.close()
    return seconds


def test_the_first_visit_is_small_and_the_second_fetches_little(profile, address):
    for visit, limit in (("first", 17_000_000), ("second", 500_000)):
        Compressed.sent = 0
        seconds = first_result(profile, address)
        print(f"{visit} visit: {seconds:.1f} s, {Compressed.sent / 1e6:.1f} MB")
        assert Compressed.sent < limit, visit


def run(notebook: Notebook, lesson: Path, sources: dict[str, str]) -> dict[str, dict]:
    """Opens a lesson, changes the source of some cells, runs all, and returns its code cells."""
    notebook.open(f"notebooks/{lesson.name}")
    for cell, source in sources.items():
        notebook.set_source(cell, source)
    ran = notebook.run_all().cells()
    notebook.discard()
    return {cell["id"]: cell for cell in ran if cell["cell_type"] == "code"}


def lacking(ran: dict[str, dict]) -> set[str]:
    """The cells that say in one sentence what a browser cannot do."""
    return {
        id for id, cell in ran.items() if SENTENCE in "".join(words(cell["outputs"]))
    }


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem[:2])
def test_a_lesson_runs_to_its_end(notebook, lesson):
    ran = run(notebook, lesson, {})
    for id, cell in ran.items():
        assert cell["execution_count"], id
        assert "error" not in [o["output_type"] for o in cell["outputs"]], id
    told, number = lacking(ran), lesson.stem[:2]
    if number in NOT_HERE:
        assert "setup" in told
        return
    assert told == LACKING.get(number, set())
    stored = {c["id"]: c for c in cells(lesson) if c["cell_type"] == "code"}
    for id in stored.keys() - told:
        assert words(ran[id]["outputs"]) == words(stored[id]["outputs"]), id


def test_an_exercise_answers(notebook):
    replies = {}
    for answer in ("...", '"users"', '"posts"'):
        source = f'answer = {answer}\nexercise("00-many-side").check(answer)'
        ran = run(notebook, LESSONS[0], {"exercise-1": source})
        replies[answer] = "".join(words(ran["exercise-1"]["outputs"]))
    assert "not attempted" in replies["..."]
    assert "not yet" in replies['"users"']
    assert "correct" in replies['"posts"']


def test_an_error_of_the_learner_stops_the_run_as_everywhere(notebook):
    ran = run(notebook, LESSONS[0], {"all-there-code": "1 / 0"})
    [output] = ran["all-there-code"]["outputs"]
    assert output["output_type"] == "error"
    assert "ZeroDivisionError" in output["ename"]
    assert not ran["exercise-1"]["execution_count"]


def test_changes_are_kept_over_a_reload(profile, address):
    page = profile.new_page()
    for source in ("my own words", ""):
        page.goto(f"{address}lab/index.html?path=notebooks/{LESSONS[1].name}")
        opened = Notebook(page).wait_for(LESSONS[1].name)
        if source:
            opened.set_source(opened.cells()[0]["id"], source)
            opened.save()
    assert opened.cells()[0]["source"] == "my own words"
    page.close()


def test_nothing_in_the_site_names_this_machine(site):
    names = [str(PROJECT), sys.prefix, str(site.parent)]
    for path in site.rglob("*"):
        if path.suffix in (".json", ".html", ".ipynb"):
            text = path.read_text("utf-8")
            assert not [name for name in names if name in text], path
        if path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    content = archive.read(entry)
                    assert not [n for n in names if n.encode() in content], entry
