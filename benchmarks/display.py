"""What it costs to see the SQL, in the shell of a kernel: cells with the display, without, with echo."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Iterator

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from ratios import Ratio, in_turn
from sqlalchemy import insert
from traitlets.config import Config

from lesson_support import connect, watch
from lesson_support.database import describe
from lesson_support.university import Base, Program

CELLS = {
    "SELECT": (
        "from sqlalchemy import select\n"
        "from sqlalchemy.orm import Session\n"
        "from lesson_support.university import Program\n"
        "with Session({engine}) as session:\n"
        "    for number in range({times}):\n"
        "        session.scalars(select(Program).where(Program.id == number % 100)).all()\n"
    ),
    "INSERT": (
        "from sqlalchemy.orm import Session\n"
        "from lesson_support.university import Program\n"
        "with Session({engine}) as session:\n"
        "    for number in range({times}):\n"
        "        session.add(Program(name=f'new {{number}}'))\n"
        "        session.flush()\n"
    ),
}
SIZES = (1, 100, 10_000)


def engines(lesson: str) -> dict:
    """Three engines with a hundred programs each, on the database that the environment names."""
    made = {}
    for name in ("bare", "seen", "echo"):
        engine = made[name] = connect(f"{lesson}-{name}")
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            rows = [{"name": f"P{number}"} for number in range(100)]
            connection.execute(insert(Program), rows)
    null = logging.StreamHandler(open(os.devnull, "w"))  # noqa: SIM115
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    logger.handlers, logger.propagate = [null], False
    made["echo"].echo = True
    return made


def measured(lesson: str) -> Iterator[Ratio]:
    """The lines of the table for the database that the environment names."""
    shell = InteractiveShell.instance(
        config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor"
    )
    shell.user_ns.update(engines(lesson))
    watch(shell.user_ns["seen"])

    def cell(name: str, engine: str, times: int):
        source = CELLS[name].format(engine=engine, times=times)

        def run() -> None:
            with capture_output():
                shell.run_cell(source).raise_error()

        return run

    database = describe(shell.user_ns["seen"])
    for name in CELLS:
        for times in SIZES:
            turns = 7 if times > 1_000 else 51
            what = f"a cell of {times:,} {name}, {database}, with its SQL shown"
            for other, against, goal in (
                ("bare", "the same, not shown", 1.05 if times == 10_000 else None),
                ("echo", "`echo=True` to a null device", 1.0),
            ):
                yield in_turn(
                    Ratio(what, against, goal, unit="ms"),
                    cell(name, "seen", times),
                    cell(name, other, times),
                    before=gc.collect,
                    turns=turns,
                    clock=lambda: time.process_time() * 1000,
                )
    watch(None)
