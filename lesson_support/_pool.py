"""Keeps a connection to PostgreSQL for as long as a cell runs, and no longer.

To open one costs the server a process, and over a network some eight round trips; to hold one between
two cells would cost a class its server. https://docs.sqlalchemy.org/en/21/core/pooling.html
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from sqlalchemy import NullPool

_pools: WeakSet[CellPool] = WeakSet()
_cell_runs = False


class CellPool(NullPool):
    """A NullPool that, while a cell runs, hands the last connection out again."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._kept: list[Any] = []
        _pools.add(self)
        _follow_cells()

    def _do_get(self) -> Any:
        with suppress(IndexError):
            return self._kept.pop()
        return self._create_connection()

    def _do_return_conn(self, record: Any) -> None:
        connection = record.dbapi_connection  # None where it was invalidated
        if _cell_runs and not self._kept and connection and _is_idle(connection):
            self._kept.append(record)
        else:
            record.close()

    def dispose(self) -> None:
        with suppress(IndexError):
            while True:
                self._kept.pop().close()


def _is_idle(connection: Any) -> bool:
    """Whether it is sound and in no transaction; asks nobody."""
    from psycopg.pq import TransactionStatus

    return connection.info.transaction_status == TransactionStatus.IDLE


def _follow_cells() -> None:
    """Have IPython say when a cell begins and ends; a program has no cells."""
    global _cell_runs
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None and _begins not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _begins)
        shell.events.register("post_run_cell", _ends)
        _cell_runs = True  # the one that runs now


def _begins(info: Any) -> None:
    global _cell_runs
    _cell_runs = True


def _ends(result: Any) -> None:
    global _cell_runs
    _cell_runs = False
    for pool in list(_pools):
        pool.dispose()
