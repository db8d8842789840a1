"""Committing one plain event in place: on the event loop, in tens of microseconds, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from airlock.ports import Draft
from airlock.store.failures import busy, translated
from airlock.store.lock import FileLock
from airlock.store.transaction import roll_back
from airlock.store.writes import Tail, append_all, append_next, read_tail

_UNKNOWN = -1


class Place:
    """The connection of the event loop that writes. It never waits for a lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock) -> None:
        self._path = path
        self._connection = connection
        self._cursor = connection.cursor()
        self._lock = lock
        self._version = _UNKNOWN
        self._tail = Tail(revision=0, seq=0, hash=b"")

    def commit(self, drafts: Sequence[Draft], controls: int) -> int:
        """Commit the events, or Stale; what the log grew by, or 0 when somebody is in the way right now."""
        if not self._lock.try_acquire():
            return 0
        try:
            alone = self._append_next(drafts[0], controls) if len(drafts) == 1 else 0
            return alone or self._append_all(drafts, controls)
        except sqlite3.Error as error:
            if busy(error):
                return 0
            raise translated(self._path, error) from error
        finally:
            if self._connection.in_transaction:
                roll_back(self._connection)
            self._lock.release()

    def _append_next(self, draft: Draft, controls: int) -> int:
        """Append one event behind the tail that we left, if it still is the tail; 0 when it was not."""
        tail = self._tail
        if tail.seq and tail.revision == controls and (size := append_next(self._cursor, tail, draft)):
            return size
        self._version = _UNKNOWN
        return 0

    def _append_all(self, drafts: Sequence[Draft], controls: int) -> int:
        """Append events behind the tail, which is read anew when somebody else has committed."""
        cursor = self._cursor
        cursor.execute("BEGIN IMMEDIATE")
        # The number stays while nobody else has committed: then the tail is the one that we left.
        (version,) = cursor.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._tail = read_tail(cursor)
        self._tail.check(controls)
        self._version = _UNKNOWN
        size = append_all(cursor, self._tail, drafts)
        cursor.execute("COMMIT")
        self._version = version
        return size

    def close(self) -> None:
        """Let go of the connection's cursor."""
        self._cursor.close()
