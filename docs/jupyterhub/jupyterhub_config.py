"""JupyterHub for a class on one Linux machine; docs/teaching.md tells how it is set up.

Each learner has an account on the machine. Their server runs as that account, so that the kernel
knows no URL but the learner's own: the Hub, as root, takes it from the file of `classroom add`.
"""

import csv
import os
import sys
from pathlib import Path

from lesson_support.commands import PROJECT, lab

CLASSROOM = Path(
    os.environ.get("LESSONS_CLASSROOM", PROJECT / "workspace/classroom.csv")
)


class NotInClass(Exception):
    """What a learner reads in the browser instead of their server.

    https://jupyterhub.readthedocs.io/en/stable/reference/spawners.html
    """

    def __init__(self, name: str) -> None:
        self.jupyterhub_message = (
            f"There is no place for {name} on the database server: ask your teacher to run"
            " python3 -m lesson_support classroom add."
        )
        super().__init__(self.jupyterhub_message)


def urls() -> dict[str, str]:
    """The learners' URLs, by the names under which they log in; read anew for each start."""
    with CLASSROOM.open(encoding="utf-8", newline="") as file:
        return {row["name"].lower(): row["url"] for row in csv.DictReader(file)}


def give_url(spawner) -> None:
    """Put the learner's own URL into the environment of their server, and nowhere else.

    Raises:
        NotInClass: when `classroom add` has made no role for them.
    """
    url = urls().get(spawner.user.name)
    if url is None:
        raise NotInClass(spawner.user.name)
    spawner.environment = {**spawner.environment, "LESSONS_DATABASE_URL": url}


if not CLASSROOM.exists():
    sys.exit(
        f"{CLASSROOM} is not there: run python3 -m lesson_support classroom add first, or name the"
        " file in LESSONS_CLASSROOM."
    )
lab.quieten()  # JupyterLab asks nobody about news
os.umask(0o077)  # what the Hub and each learner write, nobody else reads

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = (
    "http://127.0.0.1:8000"  # a web server with TLS stands before it
)
c.JupyterHub.db_url = f"sqlite:///{CLASSROOM.with_name('jupyterhub.sqlite').absolute()}"
c.JupyterHub.cookie_secret_file = str(
    CLASSROOM.with_name("jupyterhub_cookie").absolute()
)
c.JupyterHub.authenticator_class = "pam"  # the passwords of the machine
c.Authenticator.allowed_users = set(urls())
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = ["/bin/sh", str(PROJECT / "docs/jupyterhub/start.sh"), sys.prefix]
# Over TCP every account of the machine could listen to what a kernel shows.
# https://jupyter-client.readthedocs.io/en/stable/api/jupyter_client.html
c.Spawner.args = ["--KernelManager.transport=ipc"]
c.Spawner.environment = {"LESSONS_COURSE": str(PROJECT)}
c.Spawner.notebook_dir = "~/lessons"
c.Spawner.default_url = "/lab/tree/00-start-here.ipynb"
c.Spawner.pre_spawn_hook = give_url
