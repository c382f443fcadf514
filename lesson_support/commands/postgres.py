"""A real PostgreSQL server on this machine, for as long as one command lasts.

Its programs come from an installed PostgreSQL or else from a wheel, and nothing of the wheel but
its programs is used. The server listens on 127.0.0.1 only, asks for a password made for it, and
keeps its files in a folder that nobody else can read.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lesson_support.commands import ASIDE, PROJECT, CommandError, children, setup

OLDEST = 14
USER = "postgres"
CHOICE = "LESSONS_POSTGRES"
WHEEL = ASIDE / "postgres"
PREFIX = "lessons-postgres-"
SECONDS_TO_START = 60
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)


@dataclass(frozen=True)
class Programs:
    """A folder with PostgreSQL's programs and their version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The first part of the version."""
        return int(self.version.split(".")[0])

    def __getitem__(self, name: str) -> str:
        return str(self.folder / (name + (".exe" if setup.WINDOWS else "")))


@dataclass(frozen=True)
class Account:
    """The unprivileged user that runs the server where the command itself runs as root."""

    uid: int
    gid: int

    def options(self) -> dict:
        """What subprocess needs to become that user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def account() -> Account | None:
    """The user for the server, or None where the command's own user will do.

    PostgreSQL refuses to run as root. Raises CommandError where root finds no other user.
    Source: https://www.postgresql.org/docs/current/postgres-user.html
    """
    if not hasattr(os, "geteuid") or os.geteuid():
        return None
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise CommandError(
        "PostgreSQL does not run as root, and this machine has no user named postgres or nobody;"
        " run the command as an ordinary user"
    )


def reachable(path: Path, who: Account | None) -> bool:
    """Whether that user may enter every folder above `path` and read or run it."""
    if who is None:
        return os.access(path, os.R_OK | os.X_OK)
    for each in (path, *path.parents):
        mode = each.stat()
        owns = mode.st_uid == who.uid
        if not mode.st_mode & (stat.S_IXUSR if owns else stat.S_IXOTH):
            return False
    return True


def examine(folder: Path) -> Programs | None:
    """The programs in a folder, or None where they are missing, broken or too old."""
    programs = Programs(folder, "0")
    if not all(
        os.path.exists(programs[name]) for name in ("postgres", "initdb", "pg_ctl")
    ):
        return None
    try:
        said = subprocess.run(
            [programs["postgres"], "--version"],
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)(\.\d+)?", said)
    if not found or int(found[1]) < OLDEST:
        return None
    return Programs(folder, found[0])


def newest_first(folders: list[Path]) -> list[Path]:
    """Folders ordered by the numbers in their names, the highest first."""
    return sorted(
        folders,
        key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))],
        reverse=True,
    )


def find_installed() -> Programs | None:
    """An installed PostgreSQL that is new enough, or None.

    LESSONS_POSTGRES names a folder of programs to use, or is the word `wheel` to look for no
    installed one. Raises CommandError where it names a folder without them.
    """
    choice = os.environ.get(CHOICE, "")
    if choice == "wheel":
        return None
    if choice:
        programs = examine(Path(choice).expanduser())
        if programs is None:
            raise CommandError(
                f"{CHOICE} names a folder without PostgreSQL {OLDEST} or newer; give the folder"
                " that holds postgres and initdb, or unset it"
            )
        return programs
    folders = []
    if shutil.which("pg_config"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            said = subprocess.run(
                ["pg_config", "--bindir"], capture_output=True, text=True, timeout=30
            )
            folders.append(Path(said.stdout.strip() or "."))
    for pattern in INSTALLED:
        root, _, rest = pattern.partition("/")
        folders += newest_first(list(Path(f"{root}/").glob(rest)))
    who = account()
    for folder in folders:
        programs = examine(folder)
        if programs and reachable(Path(programs["postgres"]), who):
            return programs
    return None


def find_wheel() -> Programs | None:
    """The programs of the wheel where it has been fetched, or None."""
    folders = {path.parent for path in WHEEL.glob("*/pginstall*/bin/postgres*")}
    found = filter(None, map(examine, folders))
    return max(found, key=lambda programs: programs.major, default=None)


def programs_for(home: Path, who: Account | None) -> Programs:
    """Programs that the server's user can run: installed ones, or else those of the wheel.

    The wheel's are copied into `home` where the user cannot reach them in the project. Raises
    CommandError where there are none and they cannot be fetched.
    """
    programs = find_installed()
    if programs:
        return programs
    fetch()
    programs = find_wheel()
    if programs is None:
        raise CommandError(
            "the fetched PostgreSQL does not run on this machine; install PostgreSQL"
            f" {OLDEST} or newer, or name its folder of programs in {CHOICE}"
        )
    if reachable(Path(programs["postgres"]), who):
        return programs
    package = programs.folder.parent.parent
    copy = home / "programs"
    for folder in (programs.folder.parent, *package.parent.glob("*.libs")):
        shutil.copytree(
            folder, copy / folder.relative_to(package.parent), symlinks=True
        )
    return Programs(
        copy / programs.folder.relative_to(package.parent), programs.version
    )


def fetch() -> None:
    """Puts the wheel into the project's own folder, once. Raises CommandError where it cannot."""
    try:
        setup.install_aside(PROJECT / "requirements-postgres.txt", WHEEL)
    except CommandError as error:
        raise CommandError(
            f"no PostgreSQL {OLDEST} or newer is installed here, and fetching one failed: {error}"
        ) from error


def hold(path: Path) -> IO | None:
    """Locks a file for as long as it stays open; None where another process holds it."""
    file = open(path, "a+")  # noqa: SIM115
    try:
        if setup.WINDOWS:
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def temporary_parent(who: Account | None) -> Path:
    """The system's folder for temporary files that the server's user can reach."""
    for name in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if os.path.isdir(name) and reachable(Path(name), who):
            return Path(name)
    raise CommandError(
        "the server's user cannot reach the folder for temporary files; set TMPDIR to one that"
        " every user may enter, such as /tmp"
    )


def end_orphans(parent: Path, who: Account | None) -> None:
    """Ends the servers that a killed command left in temporary folders, and removes these."""
    mine = (
        {os.geteuid(), who.uid if who else os.geteuid()}
        if hasattr(os, "geteuid")
        else None
    )
    for home in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = home.lstat()
            if not stat.S_ISDIR(about.st_mode) or (mine and about.st_uid not in mine):
                continue
            if (
                time.time() - about.st_mtime < 2
            ):  # another command may just be making it
                continue
            lock = hold(home / "lock")
            if lock:
                with lock:
                    end_orphan(home / "data")
                shutil.rmtree(home, ignore_errors=True)


def end_orphan(data: Path) -> None:
    """Ends the server that still runs on a data folder whose owner is gone, if there is one."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
    except (OSError, ValueError):
        return
    if setup.WINDOWS:
        programs = find_installed() or find_wheel()
        if programs:
            subprocess.run(
                [programs["pg_ctl"], "stop", "-D", str(data), "-m", "fast"],
                capture_output=True,
            )
        return
    for number, patience in (
        (signal.SIGINT, 10),
        (signal.SIGQUIT, 5),
        (signal.SIGKILL, 5),
    ):
        if not children.alive(pid, str(data)):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + patience
        while children.alive(pid, str(data)) and time.monotonic() < until:
            time.sleep(0.05)


@contextlib.contextmanager
def home_folder(keep: bool, who: Account | None) -> Iterator[Path]:
    """A folder for one server, held by this process: a fresh one, or the project's kept one."""
    parent = temporary_parent(who)
    end_orphans(parent, who)
    ASIDE.mkdir(exist_ok=True)
    if keep and reachable(ASIDE, who):
        home = ASIDE / "postgres-data"
        home.mkdir(mode=0o700, exist_ok=True)
    else:
        keep = False
        home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = hold(home / "lock")
    if lock is None:
        raise CommandError(
            "this folder's PostgreSQL is already running for another `lab --postgres`; use that"
            " one, or stop it with Ctrl-C first"
        )
    try:
        with lock:
            if who:
                os.chown(home, who.uid, who.gid)
            yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def make_cluster(programs: Programs, home: Path, who: Account | None) -> str:
    """Makes the data folder where there is none, and returns the password of its superuser."""
    data, password = home / "data", home / "password"
    version = None
    with contextlib.suppress(OSError):
        version = (data / "PG_VERSION").read_text().strip()
    if version == str(programs.major) and password.exists():
        return password.read_text()
    if data.exists():
        data.rename(home / f"data-{version}-{time.time_ns()}")
        setup.say(
            "The kept rows are of another PostgreSQL; they were set aside in .lessons."
        )
    draft = home / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    secret = secrets.token_urlsafe(18)
    password.unlink(missing_ok=True)
    with open(
        os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
    ) as file:
        file.write(secret)
    if who:
        os.chown(password, who.uid, who.gid)
    options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync"]
    made = subprocess.run(
        [
            programs["initdb"],
            "-D",
            str(draft),
            "-U",
            USER,
            f"--pwfile={password}",
            *options,
        ],
        cwd=home,
        env=clean_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        **(who.options() if who else {}),
    )
    if made.returncode:
        raise CommandError(cannot_start(made.stderr))
    draft.rename(data)
    return secret


def clean_environment() -> dict[str, str]:
    """The environment without a learner's own PG... settings, speaking English."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("PG")
    }
    return {**kept, "LC_ALL": "C"}


def cannot_start(log: str) -> str:
    """The sentence for a server that does not start, with the line that tells why."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"FATAL|PANIC|error:", line)
    ] or lines
    why = (
        re.sub(r"^.*?(FATAL|PANIC|error): +", "", telling[-1])
        if telling
        else "it gave no reason"
    )
    if re.search(setup.NO_SPACE, log):
        why = "no space is left on the disk"
    return f"the local PostgreSQL cannot start: {why}; without --postgres the lessons use SQLite"


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(
    programs: Programs, home: Path, settings: dict[str, str], who: Account | None
) -> Iterator[int]:
    """Starts the server on the data folder of `home`, yields its port and stops it."""
    data, log = home / "data", home / "server.log"
    end_orphan(data)
    (data / "postmaster.pid").unlink(missing_ok=True)
    for attempt in range(3):
        port = free_port()
        everything = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "jit": "off",
            **settings,
        }
        arguments = [
            word for item in everything.items() for word in ("-c", "=".join(item))
        ]
        start = start_by_pg_ctl if setup.WINDOWS else start_directly
        with open(log, "wb") as file:
            stop = start(programs, data, arguments, file, who)
        if stop:
            break
        text = log.read_text(errors="replace")
        if attempt == 2 or "could not bind" not in text:
            raise CommandError(cannot_start(text))
    try:
        yield port
    finally:
        stop()


def start_directly(programs, data, arguments, log, who):
    """Starts postgres as a child; returns what stops it, or None where it did not come up."""
    server = subprocess.Popen(
        [programs["postgres"], "-D", str(data), *arguments],
        cwd=data.parent,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=children.dies_with_owner(signal.SIGINT),
        **(who.options() if who else {}),
    )

    def stop() -> None:
        for number, patience in (
            (signal.SIGINT, 20),
            (signal.SIGQUIT, 5),
            (signal.SIGKILL, 5),
        ):
            server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience)
                return

    until = time.monotonic() + SECONDS_TO_START
    try:
        while server.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if (data / "postmaster.pid").read_text().rstrip().endswith("ready"):
                    return stop
            time.sleep(0.02)
    except BaseException:
        stop()
        raise
    stop()
    return None


def start_by_pg_ctl(programs, data, arguments, log, who):
    """As start_directly, for Windows, where pg_ctl drops an administrator's rights."""
    control = [programs["pg_ctl"], "-D", str(data), "-w", "-t", str(SECONDS_TO_START)]
    options = subprocess.list2cmdline(arguments)
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": log,
        "stderr": log,
        "env": clean_environment(),
    }
    if subprocess.call([*control, "-o", options, "start"], **quiet):
        return None
    return lambda: subprocess.run([*control, "-m", "fast", "stop"], capture_output=True)


@contextlib.contextmanager
def server(keep: bool = False) -> Iterator[str]:
    """Runs a local PostgreSQL and yields its URL, `postgresql+psycopg://...`, for a superuser.

    With `keep` its rows are found again by the next run, unless the command runs as root in a
    folder that other users cannot enter; otherwise everything is thrown away at the end. Raises
    CommandError with one sentence where no server can be had.
    """
    who = account()
    with children.tidy_end(), contextlib.ExitStack() as stack:
        with setup.guarded():
            home = stack.enter_context(home_folder(keep, who))
            programs = programs_for(home, who)
            secret = make_cluster(programs, home, who)
            settings = {} if home.parent == ASIDE else THROW_AWAY
            port = stack.enter_context(running(programs, home, settings, who))
        yield f"postgresql+psycopg://{USER}:{secret}@127.0.0.1:{port}/{USER}"
