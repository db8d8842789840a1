"""SQLite's log: it stays small under load, grows while somebody reads, and comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from airlock.errors import StoreBusy
from airlock.ports import Draft
from airlock.store import caretaker, lock, log, upkeep
from airlock.store.lock import FileLock, lock_path
from airlock.store.sqlite import SQLiteStore
from store.values import draft

pytestmark = pytest.mark.anyio

FULL = 1_000_000
LARGEST = 2_000_000
LOOK = 100_000
BATCH = 64


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SQLiteStore]:
    """A store whose log is full a thirtieth as soon."""
    monkeypatch.setattr(log, "FULL_LOG", FULL)
    monkeypatch.setattr(log, "LARGEST_LOG", LARGEST)
    monkeypatch.setattr(caretaker, "LOOK_EVERY", LOOK)
    store = await SQLiteStore.open(tmp_path / "airlock.db")
    yield store
    await store.close()


def batch(letters: int) -> list[Draft]:
    """The decisions of calls that came in one breath, each with so long an argument."""
    return [draft(body={"args": {"text": "x" * letters}, "effect": "allow"}) for _ in range(BATCH)]


async def write(store: SQLiteStore, letters: int, batches: int) -> int:
    """Commit batches in place and in the thread by turns; how large the log ever was."""
    largest = 0
    for number in range(batches):
        drafts = batch(letters)
        if number % 2 or not store.record_all_now(drafts, 0):
            await store.record(drafts, 0)
        largest = max(largest, store.log_bytes())
    return largest


@contextmanager
def reading(store: SQLiteStore) -> Iterator[None]:
    """Another program that reads the database, and does not come to an end."""
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM event").fetchone()
        yield
        other.execute("COMMIT")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("letters", "batches"), [(1_000, 300), (20_000, 30)])
async def test_the_log_stays_below_its_bound_however_large_the_batches_are(
    store: SQLiteStore, letters: int, batches: int
) -> None:
    largest = await write(store, letters, batches)
    one = BATCH * (letters + 1_000) * 2  # with what the pages leave empty
    assert FULL < largest < LARGEST + LOOK + 3 * one
    assert largest < store.path.stat().st_size
    report = await store.verify()
    assert (report.sound, report.events) == (True, batches * BATCH)
    assert (await store.facts(check=True)).damage == ""


async def test_the_log_grows_while_somebody_reads_and_shrinks_by_itself_once_they_end(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 0.01)
    await write(store, 1_000, 2)
    with reading(store):
        assert await write(store, 1_000, 80) > 3 * LARGEST
        await until(lambda: store._caretaker._held)
    await until(lambda: store.log_bytes() <= LARGEST)
    assert await write(store, 1_000, 80) < 3 * LARGEST
    report = await store.verify()
    assert (report.sound, report.events) == (True, 162 * BATCH)


async def test_a_log_that_could_not_be_taken_in_is_tried_again_although_nobody_commits(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 0.01)
    monkeypatch.setattr(lock, "LARGE_LOG_SECONDS", 0.01)
    hasty = await SQLiteStore.open(store.path, busy_seconds=0.01)
    await write(hasty, 1_000, 2)
    with reading(store):
        await write(hasty, 1_000, 60)
        await until(lambda: hasty._caretaker._held)
        holder = FileLock(lock_path(store.path))
        holder.acquire(20)
    await until(lambda: caplog.text.count("could not be tidied") > 6)
    assert store.log_bytes() > LARGEST
    holder.close()
    await until(lambda: store.log_bytes() <= LARGEST)
    await hasty.close()


async def test_a_log_that_somebody_holds_is_told_once_and_by_the_facts(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 0.01)
    monkeypatch.setattr(log, "HELD_LOG", LARGEST)
    monkeypatch.setattr(upkeep, "HELD_LOG", LARGEST)
    assert (await store.facts()).log_held == ""
    with reading(store), caplog.at_level(logging.WARNING):
        await write(store, 1_000, 80)
        await until(lambda: store._caretaker._told)
        await write(store, 1_000, 20)
        told = "since a program has been reading the database for too long"
        assert told in (await store.facts()).log_held
    await until(lambda: not store._caretaker._told)
    assert [told in record.getMessage() for record in caplog.records] == [True]


async def test_little_is_taken_in_once_it_is_quiet(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 0.01)
    monkeypatch.setattr(caretaker, "QUIET_LOG", 100_000)
    before = store.path.stat().st_size
    for _ in range(30):
        assert store.record_now(draft(), 0)
    await until(lambda: store.path.stat().st_size > before)
    assert store.log_bytes() < FULL


async def test_a_large_file_is_not_cut_on_the_event_loop(store: SQLiteStore) -> None:
    (limit,) = store._opened.place.execute("PRAGMA journal_size_limit").fetchone()
    assert limit == -1


async def test_while_the_log_is_large_a_write_waits_longer_for_whoever_may_be_taking_it_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LARGEST_LOG", 0)
    monkeypatch.setattr(lock, "LARGE_LOG_SECONDS", 0.05)
    store = await SQLiteStore.open(tmp_path / "airlock.db", busy_seconds=0.01)
    await store.record([draft()], 0)
    holder = FileLock(lock_path(store.path))
    assert holder.try_acquire()
    with pytest.raises(StoreBusy, match=r"for 0\.05 s"):
        await store.record([draft()], 0)
    holder.close()
    await store.record([draft()], 0)
    await store.close()
