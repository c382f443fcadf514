"""What the tests of faults share: real kernels, a server that may be killed, a network that fails."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
import psycopg
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from lesson_support.commands import CommandError, postgres
from notebooks import FOLDER, LESSONS, said

PATIENCE = 60  # seconds until a test gives up
SHOWN = ("stream", "display_data", "execute_result", "error")


def wait_until(true: Callable[[], object], what: str):
    """Wait for a condition and return its value; fail with `what` where it never comes."""
    until = time.monotonic() + PATIENCE
    while not (found := true()):
        if time.monotonic() > until:
            pytest.fail(f"waited in vain: {what}")
        time.sleep(0.02)
    return found


def lives(number: int) -> bool:
    """Whether that process runs; one that has ended and that nobody has asked for does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    return False


def lesson(number: str) -> dict:
    """The code cells of a lesson by their ids, as nbformat reads them."""
    (path,) = (path for path in LESSONS if path.name.startswith(number))
    book = nbformat.read(path, as_version=4)
    return {cell.id: cell for cell in book.cells if cell.cell_type == "code"}


CELLS = lesson("05")
SETUP, MAPPING, DELETE = (
    CELLS[name] for name in ("setup", "default-mapping", "default-delete")
)
FRESH = "fresh_tables(engine, Base, data=True)"
ADD = (
    "with Session(engine) as session:\n"
    '    session.add(Program(name="One more"))\n'
    "    session.commit()"
)
MANY = (
    "with Session(engine) as session:\n"
    '    session.add_all(Program(name=f"{n:060}") for n in range(20_000))\n'
    "    session.commit()"
)
COUNT = (
    "with Session(engine) as session:\n"
    "    print(len(session.scalars(select(Program)).all()))"
)


class Cells:
    """Runs cells in a kernel, of which it knows the client alone."""

    def __init__(self, connection_file: Path) -> None:
        self._client = BlockingKernelClient(connection_file=str(connection_file))
        self._client.load_connection_file()
        self.open()

    def open(self) -> None:
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def close(self) -> None:
        self._client.stop_channels()

    def run(self, cell: str | dict):
        """Run a cell to its end; the answer is the cell with its outputs."""
        return self.finish(self.begin(cell))

    def begin(self, cell: str | dict, until: str = ""):
        """Start a cell, and wait until it prints the word, if there is one."""
        if isinstance(cell, str):
            cell = nbformat.v4.new_code_cell(cell)
        cell = nbformat.from_dict(cell | {"outputs": []})
        self._sent = self._client.execute(cell.source, allow_stdin=False)
        if until:
            self._listen(
                cell, lambda message: until in message["content"].get("text", "")
            )
        return cell

    def finish(self, cell):
        """Wait for the end of a cell that was begun, and return it with its outputs."""
        self._listen(cell, lambda m: m["content"].get("execution_state") == "idle")
        return cell

    def _listen(self, cell, is_last: Callable[[dict], bool]) -> None:
        """Note what the cell shows; the reply is not read, an interrupt can keep it away."""
        last = False
        while not last:
            message = self._client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == self._sent:
                last = is_last(message)
                if message["msg_type"] in SHOWN:
                    cell.outputs.append(nbformat.v4.output_from_msg(message))


class Kernel(Cells):
    """A Jupyter kernel in the lessons' folder, with the variables that are set now and these."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables
        self.manager = KernelManager(kernel_name="python3")
        self.start()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def start(self) -> None:
        self.manager.start_kernel(
            env=os.environ | self._variables, cwd=str(FOLDER), stderr=subprocess.DEVNULL
        )
        self._client = self.manager.blocking_client()
        self.open()

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid

    def interrupt(self) -> None:
        """What the button with the square does."""
        self.manager.interrupt_kernel()

    def kill(self) -> None:
        """SIGKILL, as on a machine without memory."""
        psutil.Process(self.pid).kill()
        wait_until(lambda: not self.manager.is_alive(), "the end of the kernel")
        self.close()

    def end(self) -> None:
        self.close()
        self.manager.shutdown_kernel(now=True)


def error_of(cell):
    """The only output that is an error; None where there is none."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    assert len(errors) < 2, errors
    return errors[0] if errors else None


def red_box(cell) -> str:
    """The lines that a learner reads, with those joined that were broken at the box's width."""
    error = error_of(cell)
    assert error, f"no error: {cell.source}"
    lines = "\n".join(error.traceback).replace("\n    ", " ")
    assert "\x1b" not in lines and len(lines.splitlines()) < 10, lines
    return lines


def printed(cell) -> str:
    """What a cell prints; it has no error."""
    assert error_of(cell) is None, red_box(cell)
    return "".join(output.get("text", "") for output in cell.outputs).strip()


def as_stored(kernel: Kernel, *cells: dict) -> None:
    """Run cells of a lesson and check that they say what is stored."""
    for cell in cells:
        assert said(kernel.run(cell)) == said(cell), cell.id


class Server:
    """A PostgreSQL of one's own that writes each commit down, and that may be killed."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.who = postgres.account()
        self.home, self.port = home, postgres.free_port()
        if self.who:
            os.chown(home, self.who.uid, self.who.gid)
        self.programs = postgres.programs_for(home, self.who)
        secret = postgres.make_cluster(self.programs, home, self.who)
        self.url = (
            f"postgresql://{postgres.USER}:{secret}@127.0.0.1:{self.port}/postgres"
        )
        self._settings = {"fsync": "off", "autovacuum": "off"} | settings
        self.start()

    def start(self) -> None:
        everything = {"listen_addresses": "127.0.0.1"} | self._settings
        everything |= {
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        words = [word for item in everything.items() for word in ("-c", "=".join(item))]
        with (self.home / "server.log").open("ab") as file:
            self.stop = postgres.start_directly(
                self.programs, self.home / "data", words, file, self.who
            )
        assert self.stop, self.log()[-2000:]

    def log(self) -> str:
        return (self.home / "server.log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to all its processes, as when the power of its machine goes."""
        lock = self.home / "data/postmaster.pid"
        main = psutil.Process(int(lock.read_text().split()[0]))
        everyone = [main, *main.children(recursive=True)]
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everyone, timeout=PATIENCE)
        lock.unlink()

    def ask(self, statement: str, *values) -> list:
        """What an administrator asks or does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def held(self) -> list:
        """The connections of the lessons that are open now."""
        return self.ask(
            "SELECT application_name, state, query FROM pg_stat_activity"
            " WHERE application_name LIKE 'lesson%'"
        )


OTHERS = ("programs", "courses", "users", "posts")


class Others:
    """Tables of somebody else in the schema `public` of a server, with the names of the lessons'."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        with psycopg.connect(self._url) as connection:
            for name in OTHERS:
                connection.execute(
                    f"CREATE TABLE public.{name} (id int, of_others text)"
                )
                connection.execute(
                    f"INSERT INTO public.{name} VALUES (1, 'a'), (2, 'b')"
                )
                connection.execute(f"GRANT ALL ON public.{name} TO PUBLIC")
        self._before = self._now()

    def _now(self) -> list:
        """All that can be seen of them: oids, versions of rows, and rows."""
        found = []
        with psycopg.connect(self._url) as connection:
            for name in OTHERS:
                rows = f"SELECT '{name}'::regclass::oid, xmin::text, xmax::text, * FROM public.{name}"
                found += connection.execute(rows + " ORDER BY id").fetchall()
        return found

    def check(self) -> None:
        """Fail where anything of them was changed, locked or made anew."""
        assert self._now() == self._before


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A new folder that other users of the machine may enter, as a server's user must."""
    path = Path(
        tempfile.mkdtemp(
            prefix="lesson-faults-",
            dir=postgres.temporary_parent(postgres.account()),
        )
    )
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A folder on a file system of that size, which root can mount on Linux."""
    with folder_for_all() as path:
        options = f"size={size},mode=755"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only root on Linux can mount a small disk")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def home_that_refuses(path: Path) -> Iterator[Path]:
    """A home folder that nobody can write into: for root, a read-only file system."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(path)]
    with suppress(OSError):
        subprocess.run(mount, capture_output=True)
    try:
        path.chmod(0o555) if not path.is_mount() else None
        if os.access(path, os.W_OK):
            pytest.skip("root may write everywhere here, and cannot mount")
        yield path
    finally:
        if path.is_mount():
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No byte is free on the disk of a folder while the block runs."""
    path = folder / "filler"
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 1024, 1):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    try:
        yield
    finally:
        path.unlink()


def server_programs() -> None:
    """Skip where no PostgreSQL can be run; one that must be fetched is too much for a test."""
    try:
        found = postgres.find_installed() or postgres.find_wheel()
    except CommandError as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip("no PostgreSQL: run python3 -m lesson_support test")


@contextmanager
def black_hole(host: str) -> Iterator[None]:
    """What is sent to this address of the loopback is lost while the block runs."""
    route = ["blackhole", f"{host}/32", "table", "local"]
    try:
        subprocess.run(["ip", "route", "add", *route], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root on Linux, with the program ip, can lose packets")
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True)


class Proxy:
    """A way to a server that can fall silent without closing, or change what the server says."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        change: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._target = host, port
        self._change = change
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._speaks = threading.Event()
        self._speaks.set()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_) -> None:
        self._speaks.set()
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def mute(self) -> None:
        """From now on nothing comes through, in either direction, and nobody is told."""
        self._speaks.clear()

    def speak(self) -> None:
        """What was held back comes through, and all that follows."""
        self._speaks.set()

    def _serve(self) -> None:
        while True:
            try:
                inside, _ = self._door.accept()
            except OSError:
                return
            try:
                outside = socket.create_connection(self._target)
            except OSError:
                inside.close()
                continue
            for way in ((inside, outside, bytes), (outside, inside, self._change)):
                threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        change: Callable[[bytes], bytes],
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._speaks.wait()
                sink.sendall(change(data))
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
