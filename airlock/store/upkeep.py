"""What keeps a database well: the signed head, copies, checks."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from airlock.audit import Head, verify
from airlock.errors import StoreError, why
from airlock.ports import ChainReport
from airlock.store import history
from airlock.store.connect import WAL_RESET_FIXED, connect
from airlock.store.failures import telling
from airlock.store.head import Seal, fresh_head, head_path
from airlock.store.lock import FileLock, lock_path
from airlock.store.log import HELD_LOG, flush_log, held_text, log_path, log_size
from airlock.store.transaction import Writing
from airlock.values import dataclass

log = logging.getLogger(__name__)


@contextmanager
def aside(path: Path, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """A read-only connection for one long reading, opened and closed under the lock."""
    lock = FileLock(lock_path(path))
    try:
        with telling(path):
            with lock.held(busy_seconds):
                connection = connect(path, read_only=True)
                connection.execute("SELECT revision FROM state").fetchone()
            try:
                yield connection
            finally:
                with lock.held_if_free(busy_seconds):
                    connection.close()
    finally:
        lock.close()


def chain_end(connection: sqlite3.Connection) -> Head | None:
    """The newest event's number and hash."""
    row = connection.execute("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else Head(seq=row[0], hash=row[1].hex())


def sign_head(writing: Writing, connection: sqlite3.Connection, seal: Seal, now: int) -> None:
    """Write down where the chain ends, unless what is written there already says more."""
    path = writing.path
    with telling(path):
        end = chain_end(connection)
        if end is None:
            return
        flush_log(log_path(path))  # a head must never outlive, in a power cut, the events that it names
        # Written before the lock is taken: nobody waits for the disk.
        with (
            fresh_head(head_path(path), seal.text(end, now)) as fresh,
            writing.lock.held(writing.busy_seconds),
        ):
            if _may_replace(head_path(path), connection, seal, end):
                fresh.replace(head_path(path))


def _may_replace(head: Path, connection: sqlite3.Connection, seal: Seal, end: Head) -> bool:
    """False where the head that is there says more: of a later end, or of a history that is no longer so."""
    try:
        known = seal.read(head)
    except StoreError as error:
        log.warning("%s: not replaced; `airlock audit verify` says more", error)
        return False
    if known is None:
        return True
    if known.seq >= end.seq:
        return False  # another process signed a later end, or the tail was cut
    row = connection.execute("SELECT hash FROM event WHERE seq = ?", (known.seq,)).fetchone()
    if row is None:
        (first,) = connection.execute("SELECT min(seq) FROM event").fetchone()
        return bool(known.seq < first)  # pruned since
    if row[0].hex() != known.hash:
        log.warning("the audit chain no longer holds event %d as it was signed", known.seq)
    return bool(row[0].hex() == known.hash)


def check_chain(path: Path, seal: Seal, head_file: Path | None, busy_seconds: float) -> ChainReport:
    """Walk the whole chain in one snapshot, against the head in `head_file` or else beside the database."""
    # The head is read first: events that come after it are no contradiction.
    head, problem = None, ""
    try:
        head = seal.read(head_file or head_path(path))
    except StoreError as error:
        problem = str(error)
    if head_file is not None and head is None:
        problem = problem or f"there is no signed head `{head_file}`"
    with aside(path, busy_seconds) as connection:
        report = verify(history.every_event(connection), head)
    if problem and report.sound:
        report = replace(report, problem=problem)
    return report


def back_up(path: Path, target: Path, busy_seconds: float) -> None:
    """Copy the database, as it is at one moment, to a new file of mode 0600."""
    partial = target.with_name(target.name + ".part")
    claimed = False
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        claimed = True
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        # A reader's snapshot stands still by itself, so writers need not wait for the copying.
        with (
            aside(path, busy_seconds) as source,
            telling(partial),
            closing(sqlite3.connect(partial)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
        partial.replace(target)
        claimed = False
    except FileExistsError:
        raise StoreError(f"`{target}` exists already: name a new file") from None
    except OSError as error:
        raise StoreError(f"cannot write `{target}`: {why(error)}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
            if claimed:
                target.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `doctor` wants to know of a database.

    `log_held` tells of a log that grows as somebody reads, `damage` of what SQLite finds; else both are "".
    """

    path: str
    sqlite_version: str
    wal_reset_bug: bool
    schema: int
    bytes: int
    wal_bytes: int
    events: int
    first_seq: int
    last_seq: int
    requests: int
    pending: int
    grants: int
    processes: int
    log_held: str = ""
    damage: str = ""


def facts(path: Path, busy_seconds: float, *, check: bool) -> Facts:
    """Look at a database; with `check` at every page of it."""
    with aside(path, busy_seconds) as connection:

        def one(sql: str) -> int:
            (value,) = connection.execute(sql).fetchone()
            return int(value or 0)

        damage = ""
        if check:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            found += [
                f"{row[0]} row {row[1]} has no {row[2]}"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
            damage = "" if found == ["ok"] else "; ".join(line for line in found if line != "ok")
        wal_bytes = log_size(log_path(path))
        return Facts(
            path=str(path),
            sqlite_version=sqlite3.sqlite_version,
            wal_reset_bug=sqlite3.sqlite_version_info < WAL_RESET_FIXED,
            schema=one("PRAGMA user_version"),
            bytes=path.stat().st_size,
            wal_bytes=wal_bytes,
            events=one("SELECT count(*) FROM event"),
            first_seq=one("SELECT min(seq) FROM event"),
            last_seq=one("SELECT max(seq) FROM event"),
            requests=one("SELECT count(*) FROM request"),
            pending=one("SELECT count(*) FROM request WHERE status = 'pending'"),
            grants=one("SELECT count(*) FROM standing_grant WHERE ended_at IS NULL"),
            processes=one("SELECT count(*) FROM process WHERE ended_at IS NULL"),
            log_held=held_text(log_path(path), wal_bytes) if wal_bytes > HELD_LOG else "",
            damage=damage,
        )
