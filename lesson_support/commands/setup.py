"""The environment that the commands run in, made by the standard library alone.

An interpreter that already has everything in requirements.txt (CI, Binder, a container) is used as
it is. Otherwise `.venv` is made, uv is put into it by pip, and uv installs requirements.txt. A
stamp is written last, so that an interrupted set-up is done again by the next run.

`lab` begins with requirements-start.txt alone, the part of it that JupyterLab and most lessons
need, and has the command `setup` fetch the rest while the learner reads lesson 00.
"""

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from lesson_support.commands import ASIDE, PROJECT, CommandError

OLDEST = (3, 11)
KNOWN = ((3, 14), (3, 13), (3, 12), (3, 11))
REQUIREMENTS = PROJECT / "requirements.txt"
FIRST = PROJECT / "requirements-start.txt"
VENV = PROJECT / ".venv"
STAMP = VENV / "lesson-support.json"
MEGABYTES_NEEDED = 600
WINDOWS = os.name == "nt"
HIDDEN = (" + ", " - ", " ~ ", "WARNING: Location")

NO_SPACE = (
    r"No space left|os error 28|os error 112|not enough space|Disk quota exceeded"
)
NO_RIGHT = (
    r"Permission denied|Access is denied|Read-only file system|os error (13|30)\b"
)
NO_NETWORK = (
    r"error sending request|Failed to fetch|dns error|client error \(Connect\)|Connection refused"
    r"|timed out|Temporary failure in name resolution|Failed to establish a new connection"
    r"|NewConnectionError|Network is unreachable|ProxyError|tunnel error|ConnectTimeout"
    r"|No matching distribution found for uv"
)


def check_python(command: str) -> None:
    """Raises CommandError where this Python is older than SQLAlchemy 2.1 needs.

    Source: https://docs.sqlalchemy.org/en/21/intro.html#supported-platforms
    """
    if sys.version_info >= OLDEST:
        return
    names = ("python{}.{}".format(*version) for version in KNOWN)
    found = next((name for name in names if shutil.which(name)), None)
    cure = (
        f"run: {found} -m lesson_support {command}" if found else "install a newer one"
    )
    have, need = (".".join(map(str, v[:2])) for v in (sys.version_info, OLDEST))
    raise CommandError(
        f"this is Python {have}, and the lessons need {need} or newer; {cure}"
    )


def say(line: str) -> None:
    """Prints one line of progress."""
    print(line, flush=True)


def pins(text: str) -> "dict[str, str]":
    """Names and versions that requirements.txt asks for on this machine.

    Takes the text of a compiled requirements file and returns {name: version}. Raises
    ImportError where `packaging` is missing, which means that nothing is installed anyway.
    """
    from packaging.requirements import Requirement

    found = {}
    for line in text.splitlines():
        line = line.split(" #")[0].strip()
        if not line or line[0] in "#-":
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            found[requirement.name] = next(iter(requirement.specifier)).version
    return found


def is_satisfied() -> bool:
    """Whether this very interpreter has every pin of requirements.txt, and this project."""
    try:
        here = metadata.distribution("lesson-support").read_text("direct_url.json")
        if json.loads(here or "{}").get("url") != PROJECT.as_uri():
            return False
        wanted = pins(REQUIREMENTS.read_text(encoding="utf-8"))
        return all(
            metadata.version(name) == version for name, version in wanted.items()
        )
    except ImportError:
        return False


def venv_python() -> Path:
    """The interpreter inside `.venv`, whether it exists or not."""
    return VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")


def fingerprint() -> "dict[str, str]":
    """What the stamp must say for `.venv` to fit this project as it is now."""
    digest = hashlib.sha256()
    for path in (REQUIREMENTS, FIRST, PROJECT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return {"requirements": digest.hexdigest(), "project": str(PROJECT)}


def is_ready(whole: bool) -> bool:
    """Whether `.venv` was finished for this project, here, and nothing has vanished from it.

    With `whole`, everything must be there, else what JupyterLab and most lessons need.
    """
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        packages = set(os.listdir(VENV / stamp["folder"]))
        return (
            (stamp["whole"] or not whole)
            and all(stamp[key] == value for key, value in fingerprint().items())
            and packages.issuperset(stamp["packages"])
            and venv_python().exists()
            and (not inside_venv() or stamp["python"] == repr(sys.version))
        )
    except (OSError, ValueError, KeyError):
        return False


def inside_venv() -> bool:
    """Whether this process runs the interpreter of `.venv`."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def enter_environment(args: "list[str]") -> "int | None":
    """Makes sure that the command runs where its packages are.

    Returns None where this process may go on. Otherwise it does not return on POSIX (the process
    becomes that of `.venv`), and returns the exit code on Windows. Raises CommandError with one
    sentence where the environment cannot be made.
    """
    if not inside_venv() and is_satisfied():
        return None
    # `.venv` is the lessons' own: its modules are compiled once, which makes a kernel start in half
    # the time. https://docs.python.org/3/using/cmdline.html#envvar-PYTHONDONTWRITEBYTECODE
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    whole = args[0] != "lab"
    if not is_ready(whole):
        make_environment(whole)
    elif inside_venv():
        return None
    command = [str(venv_python()), "-m", "lesson_support", *args]
    if WINDOWS:
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(command[0], command)


def make_environment(whole: bool) -> None:
    """Makes `.venv`, or finishes or repairs it. Raises CommandError with one sentence."""
    with guarded(), only_one():
        if is_ready(whole):
            return
        if is_ready(whole=False):
            say("Fetching the packages that are not there yet (once)")
            add_the_rest()
        else:
            begin(REQUIREMENTS if whole else FIRST)
        write_stamp(whole)


def begin(requirements: Path) -> None:
    """Makes `.venv` anew with what a requirements file names."""
    say("Setting up the lessons in .venv (once; about half a minute, some 400 MB)")
    check_space()
    uv = rescue_uv()
    say("1/3 a fresh environment")
    empty_environment()
    if uv is None:
        say("2/3 the installer uv")
        uv = put_uv()
    else:
        say("2/3 the installer uv: found")
    say("3/3 the packages")
    install(uv, venv_python(), "--no-deps", "-r", str(requirements))
    say("The environment is ready.")


def add_the_rest() -> None:
    """Adds to `.venv` what requirements-start.txt leaves out.

    Each of those packages is written anew: an earlier try may have been killed in the middle of one.
    """
    first = set(FIRST.read_text(encoding="utf-8").splitlines())
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    rest = ASIDE / "requirements-rest.txt"
    rest.write_text(
        "".join(f"{line}\n" for line in lines if line not in first), encoding="utf-8"
    )
    install(
        find_uv() or put_uv(),
        venv_python(),
        *("--no-deps", "--reinstall", "-r", str(rest)),
    )


@contextlib.contextmanager
def guarded():
    """Turns the operating system's refusals into sentences."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(sentence_for(f"{error.strerror}", str(error))) from error


@contextlib.contextmanager
def only_one():
    """Lets one set-up at a time work in this folder; a second one waits."""
    ASIDE.mkdir(exist_ok=True)
    with open(ASIDE / "setup.lock", "w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                say("Another set-up is at work in this folder; waiting for it.")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_space() -> None:
    """Raises CommandError where the disk cannot hold the environment."""
    free = shutil.disk_usage(PROJECT).free // 1_000_000
    if free < MEGABYTES_NEEDED:
        raise CommandError(
            f"the disk of {PROJECT} has {free} MB free and the lessons need {MEGABYTES_NEEDED} MB;"
            " make room and run the same command again"
        )


def find_uv() -> "Path | None":
    """uv from the PATH, from `.venv`, or from an earlier `.venv`; None where there is none."""
    folders = [os.environ.get("PATH", ""), *map(str, (venv_python().parent, ASIDE))]
    for folder in folders:
        found = shutil.which("uv", path=folder)
        if found and runs([found, "--version"]):
            return Path(found)
    return None


def rescue_uv() -> "Path | None":
    """As find_uv, but moved to where it outlives the removal of `.venv`."""
    uv = find_uv()
    if uv is None or uv.parent != venv_python().parent:
        return uv
    kept = ASIDE / uv.name
    os.replace(uv, kept)
    return kept


def runs(command: "list[str]") -> bool:
    """Whether a program starts and ends well."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def empty_environment() -> None:
    """Makes `.venv` anew, without pip."""
    need_module("venv")
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    base = getattr(sys, "_base_executable", None) or sys.executable
    follow(
        [base, "-m", "venv", "--without-pip", "--clear", str(VENV)],
        "`.venv` cannot be made",
    )


def need_module(name: str) -> None:
    """Raises CommandError naming the Debian package where a module of Python is not installed."""
    if importlib.util.find_spec(name) is None:
        have = "python{}.{}".format(*sys.version_info)
        raise CommandError(
            f"this Python has no `{name}` module; on Debian and Ubuntu run"
            f" `sudo apt install {have}-venv`, elsewhere install Python from python.org"
        )


def put_uv() -> Path:
    """Installs uv into `.venv` by pip and returns its path."""
    python = str(venv_python())
    if pip_can_reach_out():
        pip = [sys.executable, "-m", "pip", "--python", python]
    else:
        need_module("ensurepip")
        follow([python, "-m", "ensurepip"], "pip cannot be put into `.venv`")
        pip = [python, "-m", "pip"]
    options = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-warn-script-location",
    ]
    follow([*pip, *options, "uv>=0.8"], "the installer uv cannot be installed")
    return venv_python().parent / ("uv.exe" if WINDOWS else "uv")


def pip_can_reach_out() -> bool:
    """Whether this Python's own pip has `--python` (22.3), which spares installing a second pip.

    Source: https://pip.pypa.io/en/stable/news/#v22-3
    """
    try:
        return tuple(map(int, metadata.version("pip").split(".")[:2])) >= (22, 3)
    except (ImportError, ValueError):
        return False


def install(uv: Path, python: Path, *what: str) -> None:
    """Has uv install `what` for that interpreter, showing its progress."""
    command = [str(uv), "pip", "install", "--python", str(python), *what]
    follow(command, "the packages cannot be installed")


def follow(command: "list[str]", failure: str) -> None:
    """Runs a step and shows its lines; where it fails, raises CommandError with one sentence."""
    lines = []
    with subprocess.Popen(
        command,
        cwd=str(PROJECT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("WARNING: Retrying"):
                say("    the network does not answer; trying again")
            elif not line.startswith(HIDDEN):
                say(f"    {line.rstrip()}")
    if process.returncode:
        raise CommandError(sentence_for(failure, "\n".join(lines)))


def sentence_for(failure: str, text: str) -> str:
    """The sentence for a failed step, from what its program printed."""
    again = "then run the same command again"
    if re.search(NO_SPACE, text):
        return f"no space is left on the disk; make room, {again}"
    if re.search(NO_RIGHT, text):
        return f"the folder {PROJECT} cannot be written to; copy the lessons to one of yours"
    if re.search(NO_NETWORK, text):
        return (
            "the packages cannot be downloaded: no network, or a proxy that is not set in"
            f" HTTPS_PROXY; connect, {again}"
        )
    last = next(
        (line for line in reversed(text.splitlines()) if line.strip()),
        "no reason given",
    )
    return f"{failure} ({last.strip()}); see the lines above, {again}"


def write_stamp(whole: bool) -> None:
    """Says in `.venv` what it was made for, and if all is there; the last step, in one piece."""
    query = "import sys, sysconfig; print(repr(sys.version)); print(sysconfig.get_path('purelib'))"
    said = subprocess.check_output(
        [str(venv_python()), "-c", query], universal_newlines=True
    )
    python, folder = said.splitlines()
    stamp = dict(
        fingerprint(),
        whole=whole,
        python=python,
        folder=os.path.relpath(folder, VENV),
        packages=sorted(name for name in os.listdir(folder) if name != "__pycache__"),
    )
    draft = STAMP.with_suffix(".new")
    draft.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    os.replace(draft, STAMP)


def install_aside(requirements: Path, folder: Path, *options: str) -> None:
    """Installs a requirements file into a folder of its own, outside the environment, once.

    Further options go to the installer, uv or pip. Raises CommandError with one sentence where
    that cannot be done.
    """
    stamp = folder / "lesson-support.stamp"
    wanted = f"{sysconfig.get_platform()} {sys.version}\n{requirements.read_text(encoding='utf-8')}"
    with contextlib.suppress(OSError):
        if stamp.read_text(encoding="utf-8") == wanted:
            return
    say(f"Fetching {requirements.stem.removeprefix('requirements-')} (once)")
    with guarded(), only_one():
        shutil.rmtree(folder, ignore_errors=True)
        what = ["--no-deps", "--target", str(folder), *options]
        what += ["-r", str(requirements)]
        uv = find_uv()
        if uv:
            install(uv, Path(sys.executable), *what)
        else:
            pip = [sys.executable, "-m", "pip", "install", "--quiet"]
            follow(
                [*pip, "--disable-pip-version-check", *what], "it cannot be installed"
            )
        stamp.write_text(wanted, encoding="utf-8")


def main(args: "list[str]") -> int:
    """Says that all packages are there: the environment was made before this is called."""
    argparse.ArgumentParser(
        prog="python3 -m lesson_support setup",
        description="Fetches all packages, and opens nothing: for a machine that will be without"
        " network later.",
    ).parse_args(args)
    say("All packages are there.")
    return 0
