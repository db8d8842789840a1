"""A SQLite connection in a thread of its own, that runs whole transactions rather than statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar, cast

import aiosqlite

T = TypeVar("T")


class Worker(aiosqlite.Connection):
    """aiosqlite's thread and queue, with one call for one whole piece of work.

    A transaction that hopped between the threads once a statement would hold the inter-process lock
    for all those hops.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(lambda: connection, iter_chunk_size=64)
        # A program that forgot to close must still be able to end; SQLite survives that like a crash.
        self._thread.daemon = True

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns or raises, run in the thread after whatever was queued before it."""
        return cast(T, await self._execute(work, self._conn))  # type: ignore[no-untyped-call]
