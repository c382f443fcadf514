"""Child processes that end with the command that started them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

SECONDS_AFTER_CTRL_C = 5


@contextlib.contextmanager
def tidy_end() -> Iterator[None]:
    """Inside it, SIGTERM and SIGHUP leave by SystemExit, so that servers are stopped."""
    names = (
        ("SIGTERM", "SIGHUP")
        if threading.current_thread() is threading.main_thread()
        else ()
    )
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def leave(number: int, frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def dies_with_owner(number: int) -> Callable[[], None] | None:
    """For Popen's preexec_fn: on Linux the child gets that signal when its owner dies, however.

    Source: https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(1, number)


def run(command: list[str], **options) -> int:
    """Runs a child to its end and returns its exit code.

    Ctrl-C reaches the child by the terminal too, so that it is first waited for here; a child that
    does not end by itself is asked to.
    """
    child = subprocess.Popen(
        command, preexec_fn=dies_with_owner(signal.SIGTERM), **options
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(SECONDS_AFTER_CTRL_C)
        raise
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def alive(pid: int, word: str) -> bool:
    """Whether the process with that number is running and has `word` in its command line.

    The word guards against a number that belongs to another process by now.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(word) in file.read()
    except OSError:
        if os.path.isdir("/proc/self"):
            return False
    with contextlib.suppress(OSError):
        found = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True
        )
        return os.fsencode(word) in found.stdout
    return False


def apart(folder: Path) -> dict[str, str]:
    """Variables that keep a run away from the learner's own workspace and settings."""
    return {
        "LESSONS_WORKSPACE": str(folder / "workspace"),
        "LESSONS_LEARNER": "test",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
