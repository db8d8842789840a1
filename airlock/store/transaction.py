"""One write transaction in the writer's thread: the lock, BEGIN, the work, COMMIT or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from airlock.store.failures import telling
from airlock.store.lock import FileLock
from airlock.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How one process writes: under its lock, waiting for at most so long."""

    path: Path
    lock: FileLock
    busy_seconds: float

    def run(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Cursor], T], *, full: bool) -> T:
        """What `work` returns, committed; when anything raises, nothing was written."""
        with self.lock.held(self.busy_seconds), telling(self.path):
            cursor = connection.cursor()
            try:
                cursor.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = NORMAL")
                cursor.execute("BEGIN IMMEDIATE")
                result = work(cursor)
                cursor.execute("COMMIT")
            finally:
                cursor.close()
                roll_back(connection)
            return result


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that was not committed, where SQLite has not ended it itself."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
