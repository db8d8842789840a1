"""The one lock of all processes that share a database (decisions.md 37).

SQLite before 3.51.3 can corrupt a WAL database when a checkpoint runs while another connection
commits. So every write transaction, and every open, recovery and close, runs under `flock` on a side
file. `flock` belongs to the open descriptor: two connections of one process exclude each other too,
as long as each has a lock of its own.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airlock.errors import StoreBusy, StoreError, why
from airlock.store.log import LARGEST_LOG, log_path, log_size

LARGE_LOG_SECONDS = 60.0
"""How much longer a write waits for the lock while SQLite's log is large: late is better than refused."""

_SHORTEST = 0.0001
_LONGEST = 0.005


def lock_path(database: Path) -> Path:
    """The side file of this database."""
    return database.with_name(database.name + ".lock")


class FileLock:
    """One descriptor of the side file. Not for two threads at once: each connection has its own."""

    __slots__ = ("_fd", "_log", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = log_path(path.with_suffix(""))
        self._fd = _open(path)

    def try_acquire(self) -> bool:
        """Take the lock if it is free at once; never waits."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"cannot lock `{self._path}`: {error}") from error
        if os.fstat(self._fd).st_nlink:
            return True
        # Somebody removed the side file: others lock a new one, so this one excludes nobody.
        self._reopen()
        return False

    def acquire(self, seconds: float) -> None:
        """Take the lock, blocking this thread for at most so long; StoreBusy after that."""
        end = time.monotonic() + seconds
        pause = _SHORTEST
        while not self.try_acquire():
            left = end - time.monotonic()
            if left <= 0:
                raise StoreBusy(
                    f"the database is locked: another process has held `{self._path}` for {seconds:g} s; "
                    "see who with `fuser` and end it"
                )
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 -- spreads the tries
            pause = min(pause * 1.5, _LONGEST)

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def held_if_free(self, seconds: float) -> Iterator[None]:
        """Hold the lock for one block, or go on without it when it cannot be had: for closing.

        Whoever holds it has the database open: then a close here is not the last one and checkpoints nothing.
        """
        try:
            self.acquire(seconds)
        except StoreBusy:
            yield
            return
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Hold the lock for one block. While SQLite's log is large, whoever has it may be taking that in."""
        try:
            self.acquire(seconds)
        except StoreBusy:
            if log_size(self._log) <= LARGEST_LOG:
                raise
            self.acquire(LARGE_LOG_SECONDS)
        try:
            yield
        finally:
            self.release()

    def _reopen(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._fd = _open(self._path)

    def close(self) -> None:
        """Close the descriptor, and with it the lock; harmless when done twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot write `{path}`: {why(error)}; make its folder writable or change `database:`"
        ) from error
    _give_to_the_folders_owner(fd, path)
    return fd


def _give_to_the_folders_owner(fd: int, path: Path) -> None:
    """Root may open a person's database; the side file must stay usable for that person."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        if os.fstat(fd).st_uid != folder.st_uid:
            os.fchown(fd, folder.st_uid, folder.st_gid)
