"""The first minute: from a clone to the first executed cell, against the usual README.

The usual README says: `python -m venv`, `pip install -r requirements.txt`, `jupyter lab`. Both ways
get the same clone and end when JupyterLab's server has run the first code cell of lesson 00.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import websocket
from ratios import TURNS, Ratio

from lesson_support.commands import PROJECT, lab, setup

FIRST = "notebooks/00-start-here.ipynb"
SECONDS = 600


def clone(folder: Path) -> Path:
    """A fresh copy of what is committed."""
    target = folder / "clone"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(target)], check=True)
    return target


def caches(folder: Path, cold: bool) -> dict[str, str]:
    """An environment with package caches of its own, emptied if `cold`."""
    made = {"UV_CACHE_DIR": folder / "uv", "PIP_CACHE_DIR": folder / "pip"}
    if cold:
        for cache in made.values():
            shutil.rmtree(cache, ignore_errors=True)
    names = ("PYTHONDONTWRITEBYTECODE", "LESSONS_DATABASE_URL")
    kept = {k: v for k, v in os.environ.items() if k not in names}
    return kept | {key: str(path) for key, path in made.items()}


def first_cell(command: list[str], project: Path, environment: dict) -> None:
    """Starts a Jupyter server and returns when it has run the first cell; then it is stopped."""
    port, token = lab.choose_port(None), uuid.uuid4().hex
    words = [word.replace("PORT", str(port)) for word in command]
    environment = environment | {"JUPYTER_TOKEN": token}
    server = subprocess.Popen(
        words,
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        kernel = asked(f"http://localhost:{port}/api/kernels?token={token}", server)
        address = f"ws://localhost:{port}/api/kernels/{kernel}/channels?token={token}"
        execute(address, project)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def asked(address: str, server: subprocess.Popen) -> str:
    """The id of a new kernel, as soon as the server answers."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(address, data=b'{"name": "python3"}', timeout=60) as answer:
                return json.load(answer)["id"]
        except OSError:
            time.sleep(0.05)
    raise SystemExit("JupyterLab did not start")


def execute(address: str, project: Path) -> None:
    """Runs the first code cell of lesson 00 and waits for its end."""
    cells = json.loads((project / FIRST).read_text(encoding="utf-8"))["cells"]
    code = next("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request"}
    header |= {
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False}
    content |= {"user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}}
    message |= {"content": content, "channel": "shell", "buffers": []}
    socket = websocket.create_connection(address, timeout=120)
    socket.send(json.dumps(message))
    while True:
        answer = json.loads(socket.recv())
        if answer["msg_type"] == "execute_reply":
            if answer["content"]["status"] != "ok":
                raise SystemExit(f"the first cell failed: {answer['content']}")
            return


def ours(project: Path, environment: dict) -> None:
    """The README's one command."""
    words = [base_python(), "-m", "lesson_support", "lab", "--no-browser"]
    first_cell([*words, "--port", "PORT"], project, environment)


def theirs(project: Path, environment: dict) -> None:
    """The usual README's three commands; those that are done already are left out."""
    python = project / ".usual" / "bin" / "python"
    if not python.exists():
        their_packages(project, environment)
    command = [str(python), "-m", "jupyterlab", "--no-browser", "--allow-root"]
    first_cell([*command, "--port=PORT"], project, environment)


def their_packages(project: Path, environment: dict) -> None:
    """The first two of the three commands."""
    quietly([base_python(), "-m", "venv", ".usual"], project, environment)
    python = str(project / ".usual" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-r", "requirements.txt"]
    quietly(install, project, environment)


def our_packages(project: Path, environment: dict) -> None:
    """Everything at once, as `test` and each command but `lab` has it."""
    quietly([base_python(), "-m", "lesson_support", "setup"], project, environment)


def quietly(command: list[str], project: Path, environment: dict) -> None:
    """Runs a command to its good end."""
    hidden = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=project, env=environment, check=True, **hidden)


def base_python() -> str:
    """The Python that `.venv` was made from."""
    return getattr(sys, "_base_executable", None) or sys.executable


def without_uv(environment: dict) -> dict:
    """The same environment on a machine that has no uv."""
    parts = environment["PATH"].split(os.pathsep)
    kept = [part for part in parts if not shutil.which("uv", path=part)]
    return environment | {"PATH": os.pathsep.join(kept)}


def with_uv(environment: dict) -> dict:
    """The same environment on a machine that has uv: the one of this set-up."""
    place = tempfile.mkdtemp()
    os.symlink(setup.find_uv(), Path(place) / "uv")
    return environment | {"PATH": f"{place}{os.pathsep}{environment['PATH']}"}


def measured() -> Iterator[Ratio]:
    """The lines of the table."""
    usual = "`venv`, `pip install -r`, `jupyter lab`"
    what = "clone to the first executed cell"
    lines = [
        Ratio(f"{what}, cold package cache", usual, 1 / 4, digits=1),
        Ratio(f"{what}, cold package cache, uv on the machine", usual, 1 / 6, digits=1),
        Ratio(
            f"{what}, second time: another clone, warm cache", usual, 1 / 2, digits=1
        ),
        Ratio("the same clone started again", "`jupyter lab`", None, digits=1),
        Ratio(
            "clone to all packages, cold package cache",
            usual.rpartition(",")[0],
            None,
            digits=1,
        ),
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for _ in range(TURNS):
            mine, uv, warm, again, packages = lines
            usual_cold, usual_warm, usual_again = turn(folder, theirs)
            for line in (mine, uv):
                line.theirs.append(usual_cold)
            warm.theirs.append(usual_warm)
            again.theirs.append(usual_again)
            for line, value in zip(
                (mine, warm, again), turn(folder, ours), strict=True
            ):
                line.ours.append(value)
            environment = with_uv(caches(folder, cold=True))
            uv.ours.append(timed(lambda e=environment: ours(clone(folder), e)))
            for seconds, way in (
                (packages.theirs, their_packages),
                (packages.ours, our_packages),
            ):
                environment = without_uv(caches(folder, cold=True))
                seconds.append(timed(lambda w=way, e=environment: w(clone(folder), e)))
    yield from lines


def turn(folder: Path, way) -> tuple[float, float, float]:
    """Seconds with a cold cache, with a warm one, and in the same clone again."""
    cold = without_uv(caches(folder, cold=True))
    warm = without_uv(caches(folder, cold=False))
    first = timed(lambda: way(clone(folder), cold))
    second = timed(lambda: way(clone(folder), warm))
    third = timed(lambda: way(folder / "clone", warm))
    return first, second, third


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
