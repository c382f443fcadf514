"""The site: everything in one folder, every lesson runs in the browser, nobody else is asked."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lesson_support import browser
from lesson_support.commands import PROJECT, CommandError, site
from notebooks import LESSONS, cells

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update"
)
PATIENCE = 300_000  # milliseconds: two cores may be busy with other tests
# The cells that a browser cannot run, because they need pandas.
NEED_PANDAS = {
    "03": {"files-read", "files-load"},
    "04": {"pandas-code"},
    "07": {"every-lazy"},
    "08": {"table-code"},
    "09": {"all-cases", "overview", "differ-run", "not-null", "rules-alone"},
    "11": {"frame-code", "back-code", "replace-code"},
}
SENTENCE = "which does not run in the browser: go on with the next cell"


# The folder.


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(CommandError, match="something else"):
        site.main(["--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    file = tmp_path / "site"
    file.write_text("precious")
    with pytest.raises(CommandError, match="is a file"):
        site.main(["--output", str(file)])
    assert file.read_text() == "precious"


def test_without_node_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="install Node.js"):
        site.main(["--output", str(tmp_path / "site")])


def test_an_archive_has_the_same_bytes_for_the_same_files(tmp_path):
    for name, text in {"a.py": "1", "a.pyc": "2", "b.txt": "3"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pygments/lexers").mkdir(parents=True)
    (tmp_path / "pygments/lexers/cobol.py").write_text("never used")
    files = ["b.txt", "a.py", "pygments/lexers/cobol.py"]
    made = site.zipped(tmp_path, files)
    (tmp_path / "a.py").touch()
    assert made == site.zipped(tmp_path, files[::-1])
    (tmp_path / "made.zip").write_bytes(made)
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert archive.namelist() == ["a.pyc", "b.txt"]


# What a browser lacks.


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (browser.NotHere("pandas"), "pandas"),
        (OSError(138, "emscripten does not support processes."), "a second process"),
        (RuntimeError("can't start new thread"), "a thread"),
        (ModuleNotFoundError("No module named 'alembic'"), "alembic"),
        (ModuleNotFoundError("No module named 'alembicc'"), ""),
        (ValueError("a fault of the learner's own"), ""),
    ],
)
def test_what_is_lacking_is_named(error, what):
    assert browser._lacking(type(error), str(error)) == what


def test_names_of_a_cell_that_stopped_say_why_they_are_not_there():
    names = {"known": 1}
    code = "import pandas as pd\nknown = 2\nframe = pd.DataFrame()\ndef f(): inner = 1"
    browser._stand_in(names, code, "pandas")
    assert names["known"] == 1
    assert set(names) == {"known", "pd", "frame", "f"}
    for use in (len, list, bool, lambda f: f.size, lambda f: f["a"], lambda f: f()):
        with pytest.raises(browser.NotHere, match="needs pandas"):
            use(names["frame"])
    assert repr(names["frame"]) == "(not there: it needs pandas)"


def test_the_stand_in_for_pandas_stops_where_pandas_is_needed():
    names: dict = {"__name__": "pandas"}
    exec((site.TEMPLATES / "pandas.py").read_text("utf-8"), names)
    names["set_option"]("display.width", 120)
    with pytest.raises(browser.NotHere, match="needs pandas"):
        names["__getattr__"]("DataFrame")
    with pytest.raises(AttributeError):
        names["__getattr__"]("__path__")


# The built site, in a browser.


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser with a profile of its own, which keeps what it was given for a second visit."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser")]
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright is installed"
    )
    if not any(found):
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=next(filter(None, found)),
            args=FLAGS.split(),
            viewport={"width": 1200, "height": 900},
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture(scope="module")
def built(chromium, tmp_path_factory) -> Path:
    """The site as the command writes it, once for all tests."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no Node.js is installed")
    folder = tmp_path_factory.mktemp("published") / "site"
    command = [sys.executable, "-m", "lesson_support", "site", "--output", str(folder)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


class Handler(SimpleHTTPRequestHandler):
    """A plain file server, which hands the application to the page's scripts for the tests."""

    def do_GET(self):
        if self.path.partition("?")[0] == "/jupyter-lite.json":
            config = json.loads(Path(self.directory, "jupyter-lite.json").read_bytes())
            config["jupyter-config-data"]["exposeAppInBrowser"] = True
            content = json.dumps(config).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(built):
    """Where a plain file server serves the site."""
    handler = functools.partial(Handler, directory=str(built))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def offsite(chromium, address) -> list[str]:
    """The requests that went anywhere else than to the site."""
    asked = []

    def note(request):
        if not request.url.startswith((address, "data:", "blob:")):
            asked.append(request.url)

    chromium.on("request", note)
    return asked


@pytest.fixture(scope="module")
def page(chromium, address, offsite):
    """The site, opened as a learner's link opens it."""
    page = chromium.new_page()
    page.goto(address)
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
    return page


RUN = """async ([path, sources]) => {
    const app = window.jupyterapp;
    const panel = await app.commands.execute('docmanager:open', {path});
    await panel.context.ready; await panel.revealed; await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    for (const cell of panel.model.cells)
        if (sources[cell.id]) cell.sharedModel.setSource(sources[cell.id]);
    await app.commands.execute('notebook:run-all-cells');
    const {status} = panel.sessionContext.session.kernel;
    const {cells} = panel.model.sharedModel.toJSON();
    await panel.sessionContext.shutdown();
    await panel.context.revert(); panel.dispose();
    return [status, cells];
}"""


def run(page, lesson: Path, sources: dict[str, str] | None = None) -> dict[str, dict]:
    """Opens a lesson, changes the source of some cells, runs all, and returns its code cells."""
    path = f"notebooks/{lesson.name}"
    status, ran = page.evaluate(RUN, [path, sources or {}])
    assert status in ("idle", "unknown")
    return {cell["id"]: cell for cell in ran if cell["cell_type"] == "code"}


def words(outputs: list[dict]) -> list[str]:
    """The plain form of outputs; of an error, its lines."""
    return [
        "".join(
            output.get("text")
            or output.get("data", {}).get("text/plain")
            or "\n".join([*output.get("traceback", []), ""])
        )
        for output in outputs
    ]


@pytest.mark.parametrize("lesson", LESSONS[:13], ids=lambda path: path.stem[:2])
def test_a_lesson_runs_as_it_is_stored(page, offsite, lesson):
    ran = run(page, lesson)
    stored = {c["id"]: c for c in cells(lesson) if c["cell_type"] == "code"}
    told = {
        id for id, cell in ran.items() if SENTENCE in "".join(words(cell["outputs"]))
    }
    assert told == NEED_PANDAS.get(lesson.stem[:2], set())
    assert all(cell["execution_count"] for cell in ran.values())
    errors = [
        o for c in ran.values() for o in c["outputs"] if o["output_type"] == "error"
    ]
    assert errors == []
    for id in stored.keys() - told:
        assert words(ran[id]["outputs"]) == words(stored[id]["outputs"]), id
    assert offsite == []


def test_an_exercise_answers(page):
    replies = {}
    for answer in ("...", '"users"', '"posts"'):
        source = f'answer = {answer}\nexercise("00-many-side").check(answer)'
        ran = run(page, LESSONS[0], {"exercise-1": source})
        replies[answer] = "".join(words(ran["exercise-1"]["outputs"]))
    assert "not attempted" in replies["..."]
    assert "not yet" in replies['"users"']
    assert "correct" in replies['"posts"']


def test_an_error_of_the_learner_stops_the_run_as_everywhere(page):
    ran = run(page, LESSONS[0], {"all-there-code": "1 / 0"})
    kinds = [output["output_type"] for output in ran["all-there-code"]["outputs"]]
    assert kinds == ["error"]
    assert "ZeroDivisionError" in ran["all-there-code"]["outputs"][0]["ename"]
    assert not ran["exercise-1"]["execution_count"]


def test_changes_are_kept_over_a_reload(page, address):
    url = f"{address}/lab/index.html?path=notebooks/{LESSONS[1].name}"
    here = f"() => window.jupyterapp?.shell?.currentWidget?.context?.path.endsWith('{LESSONS[1].name}')"
    page.goto(url)
    page.wait_for_function(here)
    page.evaluate("""async () => {
        const {context} = window.jupyterapp.shell.currentWidget;
        await context.ready;
        context.model.sharedModel.getCell(0).setSource('my own words');
        await context.save();
    }""")
    page.goto(url)
    page.wait_for_function(here)
    kept = page.evaluate("""async () => {
        const {context} = window.jupyterapp.shell.currentWidget;
        await context.ready;
        return context.model.sharedModel.getCell(0).getSource();
    }""")
    assert kept == "my own words"


def test_nothing_in_the_site_names_this_machine(built):
    names = [str(PROJECT), sys.prefix, str(built.parent)]
    for path in built.rglob("*"):
        if path.suffix in (".json", ".html", ".ipynb"):
            text = path.read_text("utf-8")
            assert not [name for name in names if name in text], path
        if path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    content = archive.read(entry)
                    assert not [n for n in names if n.encode() in content], entry


def test_the_first_visit_stays_small(built):
    sent = sum(path.stat().st_size for path in built.glob("static/python-*/*.whl"))
    sent += sum(path.stat().st_size for path in built.glob("static/python-*/*.zip"))
    sent += sum(path.stat().st_size for path in built.glob("static/python-*/*.gz"))
    assert sent < 14_000_000
