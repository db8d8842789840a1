"""The store on SQLite: one file, shared by every process that opens it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from airlock.errors import AirlockError, StoreError
from airlock.ids import make_id, now_ms
from airlock.keys import key_path, load_key
from airlock.model import ApprovalRequest, Controls, Grant, Waiter
from airlock.ports import (
    AuditEntry,
    AuditEvent,
    AuditFilter,
    ChainReport,
    Change,
    Clock,
    Draft,
    EventPage,
    Evidence,
    RequestFilter,
)
from airlock.store import evidence, history, pages, pruning, reads, upkeep, writes
from airlock.store.caretaker import Caretaker
from airlock.store.connect import Connections, open_all
from airlock.store.failures import busy, telling, translated
from airlock.store.group import Group, Member, Results
from airlock.store.head import Seal
from airlock.store.keyring import KeyShelf
from airlock.store.log import log_path, log_size
from airlock.store.place import Place
from airlock.store.records import RecordShelf
from airlock.store.transaction import Writing
from airlock.store.worker import Worker

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""How long a write waits for the lock before it is refused."""

log = logging.getLogger(__name__)


class SQLiteStore(RecordShelf, KeyShelf):
    """Implements `ports.Store`, `ports_keys.KeyStore` and `ports_faces.RecordStore`.

    Belongs to the event loop that opened it.
    Plain events are committed in place, on the loop, where that needs no waiting. All else runs as whole
    transactions in two threads: one that writes, one that reads.
    """

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock = now_ms,
        durability: Literal["crash", "power"] = "crash",
        busy_seconds: float = BUSY_SECONDS,
    ) -> SQLiteStore:
        """Open or create the database, bring it up to date; StoreError with the cure when that cannot be."""
        path = path.absolute()
        opened = await asyncio.to_thread(open_all, path, busy_seconds)
        with ExitStack() as undo:
            undo.callback(opened.close)
            seal = Seal.of(load_key(key_path(path)))
            with telling(path):
                controls = reads.controls(opened.glance, clock())
            undo.pop_all()
        store = cls(path, opened, seal, clock=clock, power=durability == "power", busy_seconds=busy_seconds)
        await store._start(controls)
        return store

    def __init__(
        self, path: Path, opened: Connections, seal: Seal, *, clock: Clock, power: bool, busy_seconds: float
    ) -> None:
        self.path = path
        self._opened = opened
        self._writer = Worker(opened.writer)
        self._reader = Worker(opened.reader)
        self._seal = seal
        self._log = log_path(path)
        self._controls = Controls()
        self._clock = clock
        self._power = power
        self._busy = busy_seconds
        self._id = make_id()
        self._beaten = False
        self._closed = False
        self._place = Place(path, opened.place, opened.place_lock)
        self._writing = Writing(path=path, lock=opened.writer_lock, busy_seconds=busy_seconds)
        self._group = Group(self._write_group)
        self._stamp = 0
        self._caretaker = Caretaker(self._writing, self._writer, seal, clock)

    async def _start(self, controls: Controls) -> None:
        self._controls = controls
        await self._writer
        await self._reader

    @property
    def process_id(self) -> str:
        """The id under which this process beats and waits."""
        return self._id

    # Writing.

    def record_now(self, draft: Draft, controls: int) -> bool:
        """Commit one plain event here and now if nobody is in the way; False when it was not tried."""
        return self.record_all_now((draft,), controls)

    def record_all_now(self, drafts: Sequence[Draft], controls: int) -> bool:
        """The same for several, in order and in one transaction."""
        if self._closed:
            raise StoreError("the store is closed")
        if self._power or not (size := self._place.commit(drafts, controls)):
            return False
        self._caretaker.committed(size)
        return True

    async def record(self, drafts: Sequence[Draft], controls: int | None = None) -> None:
        """Commit plain events in order, together with what others record at that moment."""
        self._check_open()
        await self._group.add(drafts, controls)

    async def _write_group(self, members: list[Member]) -> Results:
        results, size = await self._run(partial(_append_members, members=members), full=self._power)
        self._caretaker.committed(size)
        return results

    async def commit(self, change: Change) -> None:
        """Commit one change whole, or raise Conflict or Stale and commit nothing."""
        now = self._clock()
        size = await self._write(lambda cursor: writes.apply(cursor, change, now), full=True)
        self._beaten = self._beaten or bool(change.waiters)
        self._caretaker.committed(size)
        if change.grants or change.pauses or change.resumes:
            await self.controls()

    async def beat(self) -> None:
        """Say that this process lives; its waiters count as attended until three beats are missed."""
        now = self._clock()
        self._beaten = True
        await self._write(lambda cursor: writes.put_beat(cursor, self._id, now), full=False)

    async def lives(self, process_id: str) -> bool:
        """True for this process, and for another that beat of late and has not ended."""
        if process_id == self._id:
            return True
        return await self._read(lambda one: reads.lives(one, self._clock(), process_id))

    async def prune(self, before: int) -> int:
        """Remove the whole prefix of events older than `before`, and of the queue what ended before it."""
        now = self._clock()
        removed, more = 0, True
        while more:
            count, more = await self._write(partial(pruning.prune_events, before=before, now=now), full=True)
            removed += count
        await self._write(partial(pruning.prune_queue, before=before), full=False)
        self._caretaker.committed(writes.ONE_COMMIT)
        return removed

    # Reading.

    def controls_now(self) -> Controls:
        """Pauses and grants as last read."""
        return self._controls

    async def controls(self) -> Controls:
        """Pauses and grants, read from the database."""
        now = self._clock()
        self._controls = await self._read(lambda one: reads.controls(one, now))
        return self._controls

    async def find(self, reference: str) -> ApprovalRequest | None:
        """The request with this id or, ignoring case, this code; whatever its status."""
        # A code typed in another encoding is no code.
        name = reference.encode(errors="replace").decode()
        return await self._read(lambda one: reads.find(one, self._clock(), self._id, name))

    async def live(self, fingerprint: str) -> ApprovalRequest | None:
        """The stored pending or approved request for this fingerprint (perhaps past its time)."""
        return await self._read(lambda one: reads.live(one, self._clock(), self._id, fingerprint))

    async def latest(self, fingerprint: str) -> ApprovalRequest | None:
        """The newest request for this fingerprint, whatever its status."""
        return await self._read(lambda one: reads.latest(one, self._clock(), self._id, fingerprint))

    async def requests(self, wanted: RequestFilter) -> list[ApprovalRequest]:
        """Requests, oldest first."""
        return await self._read(lambda one: reads.requests(one, self._clock(), self._id, wanted))

    async def count_pending(self, agent: str) -> int:
        """How many stored requests of this agent are pending (perhaps past their time)."""
        return await self._read(lambda one: reads.count_pending(one, agent))

    async def waiters(self, request_id: str) -> list[Waiter]:
        """The waiters of living processes that have not ended, oldest first."""
        return await self._read(lambda one: reads.waiters(one, self._clock(), self._id, request_id))

    async def count_rate(self, scope: str, since: int) -> int:
        """How many uses of that scope are recorded at or after `since`."""
        return await self._read(lambda one: reads.count_rate(one, scope, since))

    async def grants(self) -> list[Grant]:
        """Every grant that was not revoked and whose end is not past, newest first."""
        return await self._read(lambda one: reads.grants(one, self._clock()))

    def stamp(self) -> int:
        """A number that changes when any process has committed; costs microseconds, never blocks."""
        self._check_open()
        try:
            (self._stamp,) = self._opened.glance.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            if not busy(error):
                raise translated(self.path, error) from error
        return self._stamp

    async def changed_since(self, seq: int) -> tuple[int, list[ApprovalRequest]]:
        """The newest sequence number, and the requests changed after `seq`."""
        return await self._read(lambda one: reads.changed_since(one, self._clock(), self._id, seq))

    async def entries(self, wanted: AuditFilter) -> list[AuditEntry]:
        """One entry a call, newest first."""
        return await self._read(lambda one: history.entries(one, wanted))

    async def events(
        self, *, after: int = 0, limit: int = 1000, wanted: AuditFilter | None = None
    ) -> list[AuditEvent]:
        """Raw events with seq > `after`, oldest first."""
        return await self._read(lambda one: history.events(one, after, limit, wanted))

    # Long readings, each on a connection of its own.

    async def verify(self, head: Path | None = None) -> ChainReport:
        """Walk the chain and say whether it holds, against the head in `head`, else our own."""
        self._check_open()
        return await asyncio.to_thread(upkeep.check_chain, self.path, self._seal, head, self._busy)

    async def page(self, wanted: EventPage) -> tuple[list[AuditEvent], int]:
        """One page of raw events, newest first, and how many there are in all."""
        self._check_open()
        return await asyncio.to_thread(pages.page, self.path, wanted, self._busy)

    async def evidence(self, reference: str) -> Evidence | None:
        """What the chain holds of the call, question or event with this id; None when there is none."""
        self._check_open()
        return await asyncio.to_thread(evidence.gather, self.path, reference, self._busy)

    async def backup(self, target: Path) -> None:
        """Copy the database as it is now to a new file."""
        self._check_open()
        await asyncio.to_thread(upkeep.back_up, self.path, target.absolute(), self._busy)

    async def facts(self, *, check: bool = False) -> upkeep.Facts:
        """Versions, sizes and counts; with `check` also whether SQLite finds every page whole."""
        self._check_open()
        return await asyncio.to_thread(upkeep.facts, self.path, self._busy, check=check)

    async def sign(self) -> None:
        """Write the signed head for all that is committed."""
        self._check_open()
        await self._caretaker.sign()

    def log_bytes(self) -> int:
        """How large the file of SQLite's log is now."""
        return log_size(self._log)

    # The ways to the threads.

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    def _glance(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        try:
            return work(self._opened.glance)
        except sqlite3.Error as error:
            raise translated(self.path, error) from error

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        with telling(self.path):
            return await self._reader.run(work)

    async def _write(self, work: Callable[[sqlite3.Cursor], T], *, full: bool) -> T:
        self._check_open()
        return await self._run(work, full=full)

    async def _run(self, work: Callable[[sqlite3.Cursor], T], *, full: bool) -> T:
        result = await self._writer.run(lambda one: self._writing.run(one, work, full=full))
        self._caretaker.look()
        return result

    async def close(self) -> None:
        """Flush what is queued and let go of the files; harmless when done twice."""
        if self._closed:
            return
        self._closed = True
        await self._group.flush()
        await self._caretaker.close()
        await self._say_goodbye()
        await self._reader.run(lambda _: None)  # what is being read is read to its end
        await asyncio.to_thread(self._close_files)
        await self._reader.close()
        await self._writer.close()

    def _close_files(self) -> None:
        # Who closes last checkpoints, so the closing too runs under the lock.
        with self._opened.writer_lock.held_if_free(self._busy):
            self._place.close()
            self._opened.close_connections()
        self._opened.close_locks()

    async def _say_goodbye(self) -> None:
        try:
            if self._beaten:
                now = self._clock()
                await self._run(lambda cursor: writes.end_process(cursor, self._id, now), full=False)
            if self._caretaker.signing_due:
                await self._caretaker.sign()
        except StoreError as error:
            log.warning("the database was closed without its last notes: %s", error)


def _append_members(cursor: sqlite3.Cursor, members: list[Member]) -> tuple[Results, int]:
    """Append each member's events whole, or say what is wrong with it alone; and what the log grew by."""
    tail = writes.read_tail(cursor)
    results: Results = []
    size = 0
    for member in members:
        try:
            tail.check(member.controls)
            size += writes.append_all(cursor, tail, member.drafts)
        except AirlockError as error:
            results.append(error)
        else:
            results.append(None)
    return results, size
