"""What the tests in a real browser share. `python3 -m lesson_support test --browser` runs them.

Each test opens pages by `tab`, or a lesson by `notebook`. Whatever a page asks of another machine
fails the test, and so does an error in a page's script.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from driver import FLAGS, PATIENCE, Notebook, watched

from lesson_support.commands import ASIDE, PROJECT, children

AXE = "axe-core@4.14.1"
SCREENSHOTS = ASIDE / "screenshots"
THEMES = ("Light", "Dark")


@pytest.fixture(scope="session")
def playwright():
    api = pytest.importorskip(
        "playwright.sync_api", reason="run python3 -m lesson_support test --browser"
    )
    with api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def program() -> str:
    """Where Chromium is installed."""
    from lesson_support.commands.test import chromium

    return chromium()


@pytest.fixture(scope="session")
def chromium(playwright, program):
    """A real browser without a window."""
    browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def tab(chromium):
    """Opens a page: a function of the options of a browser's context, such as its colour scheme."""
    opened = []

    def made(width: int = 1280, **options):
        size = {"width": width, "height": 900}
        context = chromium.new_context(viewport=size, **options)
        context.set_default_timeout(PATIENCE)
        opened.append((context, watched(context)))
        return context.new_page()

    yield made
    wrong = []
    for context, noted in opened:
        context.close()
        wrong += noted
    assert wrong == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core, fetched from npm's registry once."""
    file = ASIDE / AXE.replace("@", "-") / "axe.min.js"
    if not file.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no axe-core: npm is not installed")
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", AXE, "--pack-destination", str(file.parent)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no axe-core: npm's registry does not answer")
        with tarfile.open(next(file.parent.glob("*.tgz"))) as archive:
            text = archive.extractfile("package/axe.min.js").read()
        file.write_bytes(text)
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shot():
    """Keeps a picture of a page or of a part of it, for looking at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def kept(what, name: str, **options) -> None:
        what.screenshot(path=SCREENSHOTS / f"{name}.png", **options)

    return kept


# JupyterLab as the command `lab` starts it, on a copy of the lessons.

LAB = """
import sys
from pathlib import Path
from lesson_support.commands import lab
lab.PROJECT = Path(sys.argv[1])
lab.FIRST = lab.PROJECT / "notebooks" / lab.FIRST.name
sys.exit(lab.main(sys.argv[2:]))
"""


@pytest.fixture(scope="session")
def elsewhere():
    """The requests that JupyterLab's server and its kernels send to other machines: all must fail.

    They come here by the variables that name a proxy.
    """
    asked: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def note(self):
            asked.append(self.requestline)
            self.send_error(502)

        do_CONNECT = do_GET = do_HEAD = do_POST = note

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        variables = {name: address for n in names for name in (n, n.lower())}
        variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        yield asked, variables
        server.shutdown()


@dataclass(frozen=True)
class Lab:
    """JupyterLab's server: the folder that it serves, and its addresses with a place for a path."""

    folder: Path
    address: str


@pytest.fixture(scope="session")
def lab(tmp_path_factory, elsewhere):
    """The server of the command `lab`, once for all tests."""
    folder = tmp_path_factory.mktemp("lab")
    copy = folder / "lessons"
    for name in ("notebooks", "docs", "data"):
        shutil.copytree(PROJECT / name, copy / name)
    shutil.copy(PROJECT / "README.md", copy)
    own = {
        f"JUPYTER{name}_DIR": str(folder / name.lower())
        for name in ("_CONFIG", "_DATA", "_RUNTIME", "LAB_SETTINGS", "LAB_WORKSPACES")
    }
    own |= children.apart(folder) | elsewhere[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-c", LAB, str(copy), f"--port={port}", "--no-browser"]
    command += ["--", f"--IdentityProvider.token={token}", "--expose-app-in-browser"]
    with open(folder / "log", "w+b") as log:
        server = subprocess.Popen(
            command, env=os.environ | own, cwd=PROJECT, stdout=log, stderr=log
        )
        address = f"http://127.0.0.1:{port}/{{}}?token={token}&reset"
        try:
            while not answers(address.format("api/status")):
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
            yield Lab(copy, address)
        finally:
            server.terminate()
            server.wait()


def answers(address: str) -> bool:
    """Whether a server is there already."""
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except OSError:
        return False


@pytest.fixture
def notebook(lab, tab, elsewhere):
    """Opens a notebook in JupyterLab: a function of its file name and of the options of `tab`."""
    opened = []

    def made(name: str, **options) -> Notebook:
        page = tab(**options)
        page.goto(lab.address.format(f"lab/tree/notebooks/{name}"))
        opened.append(Notebook(page).wait_for(name))
        return opened[-1]

    yield made
    for each in opened:
        each.close_all()
    assert elsewhere[0] == []
