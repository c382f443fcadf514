"""Tries jupyterhub_config.py: `.venv/bin/python docs/jupyterhub/trial.py [ACCOUNT ACCOUNT]`.

It starts a PostgreSQL server and JupyterHub, gives two learners a role, lets both servers start at
once and run the set-up cell of lesson 01 through the Hub, and says what came of it. With the names
of two accounts of this machine (as root) each server runs as its account, as in a class; without,
both run as you. JupyterHub and configurable-http-proxy must be installed; all else is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
from sqlalchemy import make_url
from websocket import create_connection

from lesson_support.commands import children, classroom, postgres

HERE = Path(__file__).parent
LESSON = "01-model-a-program-and-its-courses.ipynb"
TRIAL = """
load_subconfig({config!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = {folder!r} + "/proxy.pid"
c.JupyterHub.log_level = "DEBUG"
c.JupyterHub.services = [{{"name": "trial", "api_token": {token!r}}}]
scopes = ["admin:users", "admin:servers", "access:servers"]
c.JupyterHub.load_roles = [{{"name": "trial", "services": ["trial"], "scopes": scopes}}]
if {simple}:
    c.JupyterHub.authenticator_class = "shared-password"
    c.SharedPasswordAuthenticator.user_password = {password!r}
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = {folder!r} + "/{{username}}"
    c.Spawner.args += ["--allow-root"] if {root} else []
"""


class Learner:
    """One learner's server, reached through the Hub's proxy with the trial's token."""

    def __init__(self, name: str, base: str, token: str) -> None:
        self.name, self.base = name, base
        self.head = {"Authorization": f"token {token}"}
        self.web = httpx.Client(headers=self.head, timeout=60)

    def start(self) -> None:
        """Start the server and wait for it; raises RuntimeError with the Hub's sentence."""
        user = f"{self.base}/hub/api/users/{self.name}"
        if self.web.get(user).status_code == 404:
            self.web.post(user).raise_for_status()
        answer = self.web.post(f"{user}/server")
        if answer.is_error:
            raise RuntimeError(answer.json()["message"])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            servers = self.web.get(user).raise_for_status().json()["servers"]
            if servers.get("", {}).get("ready"):
                break
            time.sleep(0.3)
        self.kernel = self.web.post(f"{self.base}/user/{self.name}/api/kernels")
        self.kernel = self.kernel.raise_for_status().json()["id"]

    def first_cell(self) -> str:
        """The set-up cell of the learner's own copy of lesson 01."""
        path = f"{self.base}/user/{self.name}/api/contents/{LESSON}"
        cells = self.web.get(path).raise_for_status().json()["content"]["cells"]
        return next(cell["source"] for cell in cells if cell["cell_type"] == "code")

    def run(self, code: str) -> str:
        """Run a cell in the kernel and return the plain text of what it shows.

        https://jupyter-client.readthedocs.io/en/stable/messaging.html
        """
        path = f"/user/{self.name}/api/kernels/{self.kernel}/channels"
        head = [f"{key}: {value}" for key, value in self.head.items()]
        place = self.base.replace("http", "ws") + path
        channel = create_connection(place, header=head, timeout=90)
        content = {"code": code, "silent": False, "store_history": True}
        header = {
            **{"msg_id": uuid.uuid4().hex, "msg_type": "execute_request"},
            **{"session": uuid.uuid4().hex, "username": "", "version": "5.3"},
        }
        message = {"header": header, "content": content, "channel": "shell"}
        channel.send(json.dumps({**message, "parent_header": {}, "metadata": {}}))
        texts = []
        with contextlib.closing(channel):
            while True:
                answer = json.loads(channel.recv())
                if answer["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                said = answer["content"]
                match answer["msg_type"]:
                    case "stream":
                        texts.append(said["text"])
                    case "display_data" | "execute_result":
                        texts.append(said["data"]["text/plain"])
                    case "error":
                        texts.append(f"{said['ename']}: {said['evalue']}")
                    case "status" if said["execution_state"] == "idle":
                        return " ".join("".join(texts).split())


@contextlib.contextmanager
def hub(folder: Path, token: str, simple: bool):
    """Run JupyterHub with the project's configuration; the value is its address."""
    port, hub_port, proxy_port = (postgres.free_port() for _ in range(3))
    text = TRIAL.format(
        config=str(HERE / "jupyterhub_config.py"),
        folder=str(folder),
        password=secrets.token_urlsafe(),
        root=os.geteuid() == 0,
        **{"port": port, "hub_port": hub_port, "proxy_port": proxy_port},
        **{"token": token, "simple": simple},
    )
    config = folder / "trial_config.py"
    config.touch(mode=0o600)
    config.write_text(text)
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    base = f"http://127.0.0.1:{port}"
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=children.dies_with_owner(15),
        )
        try:
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{base}/hub/health").is_success:
                        break
                time.sleep(0.3)
            else:
                sys.exit((folder / "hub.log").read_text()[-2000:])
            yield base
        finally:
            process.terminate()
            process.wait(30)
            with contextlib.suppress(OSError, ValueError):  # where the Hub crashed
                os.kill(int((folder / "proxy.pid").read_text().split()[0]), 15)


def memory_of(folder: Path, names: list[str]) -> str:
    """The memory of each learner's server and kernel, shared pages shared out, in MB."""
    import psutil

    found = []
    for name in names:
        total = 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("JUPYTERHUB_USER") == name:
                    total += process.memory_full_info().pss
        found.append(f"{name} {total / 1e6:.0f} MB")
    return ", ".join(found)


def main() -> None:
    """Runs the trial; exit code 1 where something is not as it should be."""
    names = sys.argv[1:] or ["ada", "bob"]
    token, failed = secrets.token_hex(16), []

    def check(what: str, right: bool, shown: object = "") -> None:
        print(f"{'ok' if right else 'WRONG':<6} {what} {shown}".rstrip(), flush=True)
        failed.extend([] if right else [what])

    with contextlib.ExitStack() as stack:
        stack.enter_context(children.tidy_end())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        admin = stack.enter_context(postgres.server())
        os.environ["LESSONS_DATABASE_URL"] = admin
        os.environ["LESSONS_CLASSROOM"] = str(folder / "classroom.csv")
        classroom.add_learners(names, folder / "classroom.csv")
        passwords = [
            make_url(line.partition(",")[2]).password
            for line in (folder / "classroom.csv").read_text().splitlines()[1:]
        ]
        base = stack.enter_context(hub(folder, token, simple=not sys.argv[1:]))
        learners = [Learner(name, base, token) for name in names]
        with ThreadPoolExecutor() as pool:
            start = time.monotonic()
            list(pool.map(Learner.start, learners))
            print(f"both servers and kernels: {time.monotonic() - start:.1f} s")
            said = list(pool.map(lambda who: who.run(who.first_cell()), learners))
        for learner, text in zip(learners, said, strict=True):
            check(f"{learner.name} runs lesson 01:", "PostgreSQL" in text, text)
        with psycopg.connect(admin.replace("+psycopg", "")) as server:
            owned = server.execute(
                "SELECT nspname, nspowner::regrole::text FROM pg_namespace"
                " WHERE nspname LIKE 'lesson%' ORDER BY 1"
            ).fetchall()
        wanted = sorted((f"lesson_{n}_01", classroom.role_of(n)) for n in names)
        check("schemas and their owners:", owned == wanted, owned)
        look = "from sqlalchemy import text\nwith engine.connect() as c: print(c.scalar(text('SELECT count(*) FROM {}.programs')))"
        other = learners[1].run(look.format(f"lesson_{names[0]}_01"))
        check("the other's tables:", "no permission" in other, other[:80])
        mine = "import os; print([k for k in os.environ if 'LESSONS' in k], os.getuid(), os.environ['LESSONS_DATABASE_URL'].split(':')[1])"
        for learner in learners:
            text = learner.run(mine)
            check("the kernel's own:", classroom.role_of(learner.name) in text, text)
        # With accounts, one that exists on every machine and is not in the class.
        stranger = Learner("nobody" if sys.argv[1:] else "mallory", base, token)
        try:
            stranger.start()
            check("a stranger", False, "was let in")
        except RuntimeError as error:
            check("a stranger reads:", "ask your teacher" in str(error), error)
        print("memory:", memory_of(folder, names))
        log = (folder / "hub.log").read_text()
        secret = [
            word for word in [*passwords, make_url(admin).password] if word in log
        ]
        check(f"no password in {len(log)} characters of the Hub's log", not secret)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
