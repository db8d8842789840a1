"""SQLite's log, the file `-wal`: how large it is, and how what it holds is moved into the database.

SQLite writes each commit behind the last one in the log. Once all of it is in the database (a checkpoint)
and nobody reads what was before, the next commit begins the file anew: it is used again rather than cut off,
since that is a tenth quicker. While somebody reads, no more can be moved than that reader may see, and the
log grows.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from airlock.store.failures import telling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airlock.store.transaction import Writing

MIB = 2**20

FULL_LOG = 32 * MIB
"""Bytes at which the log is taken in. The lock is held for as long as the disk takes for so many."""

LARGEST_LOG = 64 * MIB
"""Bytes that the file may keep. What grew beyond, while somebody read or among many processes, is cut off."""

HELD_LOG = 256 * MIB
"""Bytes at which a person is told that some program has been reading for too long."""

READERS_MS = 50
"""How long a cut waits for those who read, under the lock: long enough for a short reading to end."""


def log_path(database: Path) -> Path:
    """The log of this database."""
    return database.with_name(database.name + "-wal")


def log_size(log: Path) -> int:
    """The bytes of this file, used or not; 0 where there is none. Some two microseconds."""
    try:
        return os.stat(log).st_size  # noqa: PTH116 -- half of what `Path.stat` takes
    except OSError:
        return 0


def held_text(log: Path, size: int) -> str:
    """What is told of a log that nobody can take in."""
    return (
        f"the log `{log}` has grown to {size // MIB} MiB, since a program has been reading the database for "
        "too long: see who with `fuser`"
    )


def flush_log(log: Path) -> None:
    """Have the disk keep all that was committed until now."""
    # The log may be opened here: SQLite's own locks are on the database and its -shm, never on -wal.
    with suppress(FileNotFoundError):
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def take_in(writing: Writing, connection: sqlite3.Connection) -> bool:
    """Move what the log holds into the database; False when those who read kept some of it back.

    A file that is too large is cut off, unless somebody reads.
    """
    with writing.lock.held(writing.busy_seconds), telling(writing.path):
        whole = _checkpoint(connection, "PASSIVE")
        if whole and log_size(log_path(writing.path)) > LARGEST_LOG:
            with _waiting(connection, READERS_MS, writing.busy_seconds):
                whole = _checkpoint(connection, "TRUNCATE")
        return whole


def _checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    busy, pages, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return not busy and pages == moved


@contextmanager
def _waiting(connection: sqlite3.Connection, milliseconds: int, otherwise: float) -> Iterator[None]:
    """Wait for other connections for so long, instead of for the usual time."""
    connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(otherwise * 1000)}")
