"""Opening and closing the SQLite connections of one process, and bringing the schema up to date."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

from airlock.errors import NewerSchema, StoreError
from airlock.store.failures import telling
from airlock.store.files import prepare
from airlock.store.lock import FileLock, lock_path
from airlock.store.log import LARGEST_LOG
from airlock.store.schema import APPLICATION_ID, NEWER, SCHEMA, migration
from airlock.values import dataclass

OLDEST_SQLITE = (3, 38, 0)
WAL_RESET_FIXED = (3, 51, 3)
"""From here on SQLite is free of the bug that the file lock works around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """What one process holds open. `place` and `glance` belong to the event loop, the others to a thread.

    Each writer has a lock of its own; readers are opened read-only, because a plain connection that
    closes last checkpoints outside any transaction (decisions.md 37).
    """

    writer: sqlite3.Connection
    writer_lock: FileLock
    place: sqlite3.Connection
    place_lock: FileLock
    reader: sqlite3.Connection
    glance: sqlite3.Connection

    def close_connections(self) -> None:
        """Close the connections, the writer last; harmless when done twice."""
        for connection in (self.glance, self.reader, self.place, self.writer):
            connection.close()

    def close_locks(self) -> None:
        """Close the locks; harmless when done twice."""
        self.place_lock.close()
        self.writer_lock.close()

    def close(self) -> None:
        """Close everything, after an opening that came to nothing."""
        self.close_connections()
        self.close_locks()


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """One connection that begins and ends its transactions only when told."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=0,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    if not read_only:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
    return connection


def open_all(path: Path, busy_seconds: float) -> Connections:
    """Create or open the database, migrate it, and open every connection, all under the lock."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: Airlock needs {wanted} or newer")
    prepare(path)
    with ExitStack() as undo:
        writer_lock = undo.enter_context(closing(FileLock(lock_path(path))))
        place_lock = undo.enter_context(closing(FileLock(lock_path(path))))
        with writer_lock.held(busy_seconds), telling(path):
            writer = undo.enter_context(closing(connect(path)))
            writer.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
            migrate(path, writer)
            place = undo.enter_context(closing(connect(path)))
            place.execute(
                "PRAGMA journal_size_limit = -1"
            )  # to cut a large file takes long: not on the event loop
            reader = undo.enter_context(closing(connect(path, read_only=True)))
            reader.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
            glance = undo.enter_context(closing(connect(path, read_only=True)))
            for one in (place, reader, glance):
                one.execute("SELECT revision FROM state").fetchone()  # recovery, if any, happens here
        undo.pop_all()
    return Connections(
        writer=writer,
        writer_lock=writer_lock,
        place=place,
        place_lock=place_lock,
        reader=reader,
        glance=glance,
    )


def migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Bring the schema to ours, a numbered step at a time; refuse what is newer or not ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise NewerSchema(NEWER)
    _refuse_foreign(path, connection)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    for number in range(version + 1, SCHEMA + 1):
        _step(connection, number)


def _refuse_foreign(path: Path, connection: sqlite3.Connection) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark != APPLICATION_ID and (mark or tables):
        raise StoreError(
            f"the database `{path}` belongs to another program: set `database:` to a file of its own"
        )


def _step(connection: sqlite3.Connection, number: int) -> None:
    marks = f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};"
    connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{migration(number)}\n{marks}\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA synchronous = NORMAL")
