"""`lab`: opens JupyterLab on a lesson, with SQLite, a local PostgreSQL or a server of one's own."""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from lesson_support.commands import PROJECT, CommandError, children, postgres, setup

NOTEBOOKS = PROJECT / "notebooks"
FIRST = NOTEBOOKS / "00-start-here.ipynb"
USUAL_PORT = 8888
# Later, so that JupyterLab and the first kernel have the disk to themselves when they start.
FETCH = """
import runpy, sys, time
time.sleep(10)
sys.argv[1:] = ["setup"]
runpy.run_module("lesson_support", run_name="__main__")
"""
DATABASE = "LESSONS_DATABASE_URL"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python3 -m lesson_support lab",
        description="Opens JupyterLab on the first lesson, or on NOTEBOOK.",
        epilog="Words after -- go to JupyterLab as they are."
        f" Where {DATABASE} is set, the lessons use that PostgreSQL server.",
    )
    made.add_argument(
        "notebook", nargs="?", metavar="NOTEBOOK", help="a file or a number: 03"
    )
    made.add_argument(
        "--postgres",
        action="store_true",
        help="teach on a real PostgreSQL, run for this command",
    )
    made.add_argument(
        "--port", type=int, help=f"the port; {USUAL_PORT} or the next free one"
    )
    made.add_argument(
        "--no-browser", action="store_true", help="print the address, open nothing"
    )
    return made


def find_notebook(name: str | None) -> Path:
    """The notebook that a learner means: a path, a name or a number, or the first lesson.

    Raises CommandError naming what there is no notebook for.
    """
    if name is None:
        return FIRST if FIRST.exists() else NOTEBOOKS
    for path in (Path(name), PROJECT / name, NOTEBOOKS / name):
        if path.exists():
            return path.resolve()
    if name.isdecimal():
        for path in sorted(NOTEBOOKS.glob(f"{int(name):02}-*.ipynb")):
            return path
    raise CommandError(f"there is no notebook {name}; the lessons are in {NOTEBOOKS}")


def is_free(port: int) -> bool:
    """Whether a server can listen on that port of this machine."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CommandError(
                f"port {port} needs an administrator; choose one above 1023"
            ) from error
        except OSError:
            return False
    return True


def choose_port(asked: int | None) -> int:
    """The port asked for, or the first free one from 8888 on; CommandError where it is taken."""
    if asked is None:
        return next((p for p in range(USUAL_PORT, USUAL_PORT + 100) if is_free(p)), 0)
    if not 0 < asked < 65536:
        raise CommandError(f"{asked} is no port; choose one from 1024 to 65535")
    if not is_free(asked):
        raise CommandError(
            f"port {asked} is taken by another program; choose another with --port, or leave"
            " --port out to get a free one"
        )
    return asked


def quieten() -> None:
    """Lets a `.venv` of ours start without the question about news; a learner's settings stay.

    https://jupyterlab.readthedocs.io/en/stable/user/directories.html#overrides-json
    """
    folder = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings"
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    if setup.inside_venv():
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"@jupyterlab/apputils-extension:notification": quiet})
        (folder / "overrides.json").write_text(text, encoding="utf-8")


def can_write(folder: Path) -> bool:
    """Whether files can be made in that folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def writable_folders() -> Iterator[dict[str, str]]:
    """Variables that lead Jupyter and IPython to temporary folders, where theirs are refused.

    https://docs.jupyter.org/en/stable/use/jupyter-directories.html
    """
    from jupyter_core import paths

    usual = {
        "JUPYTER_CONFIG_DIR": paths.jupyter_config_dir(),
        "JUPYTER_DATA_DIR": paths.jupyter_data_dir(),
        "JUPYTER_RUNTIME_DIR": paths.jupyter_runtime_dir(),
        "IPYTHONDIR": os.environ.get("IPYTHONDIR", os.path.expanduser("~/.ipython")),
    }
    refused = [name for name, folder in usual.items() if not can_write(Path(folder))]
    if not refused:
        yield {}
        return
    print(
        "Your home folder cannot be written: settings of JupyterLab are kept until you stop this"
        " command."
    )
    with tempfile.TemporaryDirectory(
        prefix="lessons-", ignore_cleanup_errors=True
    ) as folder:
        yield {name: str(Path(folder, name.lower())) for name in refused}


def jupyter(notebook: Path, port: int, browser: bool, rest: list[str]) -> list[str]:
    """The command that starts JupyterLab on a notebook."""
    import zmq

    root = PROJECT if notebook.is_relative_to(PROJECT) else notebook.parent
    command = [
        sys.executable,
        *("-m", "jupyterlab"),
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{quote(notebook.relative_to(root).as_posix())}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.answer_yes=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--Application.log_level=WARN",
    ]
    if zmq.has("curve"):
        # or each kernel that starts prints a warning about TCP without encryption
        command.append("--KernelManager.transport_encryption=auto")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return command + rest


@contextlib.contextmanager
def fetching() -> Iterator[None]:
    """Fetches the packages that are not there yet, meanwhile; stopped with the command."""
    if not setup.inside_venv() or setup.is_ready(whole=True):
        yield
        return
    print("The packages of lessons 15 and 19 and of the tests are fetched meanwhile.")
    child = subprocess.Popen(
        [sys.executable, "-c", FETCH],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for JupyterLab
        preexec_fn=children.dies_with_owner(signal.SIGTERM),
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it has ended
            if os.name == "posix":
                os.killpg(child.pid, signal.SIGTERM)  # the installer that it runs too
            else:
                child.terminate()
        child.wait()


def main(args: list[str]) -> int:
    """Runs JupyterLab until it is stopped, and returns its exit code."""
    cut = args.index("--") if "--" in args else len(args)
    options = parser().parse_args(args[:cut])
    notebook = find_notebook(options.notebook)
    port = choose_port(options.port)
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(children.tidy_end())
        if environment.get(DATABASE):
            from lesson_support import database

            database.check_server()
            used = f"the PostgreSQL server that {DATABASE} names"
        elif options.postgres:
            environment[DATABASE] = stack.enter_context(postgres.server(keep=True))
            used = "PostgreSQL on this machine, running until you stop this command"
        else:
            used = "SQLite, a file for each lesson in the folder workspace"
        print(f"The lessons use {used}.")
        environment |= stack.enter_context(writable_folders())
        print(
            f"JupyterLab opens at http://localhost:{port}/lab. To stop it, press Ctrl-C here."
        )
        quieten()
        stack.enter_context(fetching())
        command = jupyter(notebook, port, not options.no_browser, args[cut + 1 :])
        code = children.run(command, env=environment, cwd=PROJECT)
    return 0 if code in (130, -signal.SIGINT) else code
