"""What the store costs: `python -m benchmarks.store`. Each figure also as a ratio to a bare SQLite commit.

The bare commit is one INSERT of a row of the same size in one transaction of one process, without lock,
chain, hash or check. Both are measured in turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airlock.canonical import encode
from airlock.ids import make_id, now_ms
from airlock.ports import Draft
from airlock.store.sqlite import SQLiteStore

EVENTS = 10_000
TURNS = 20

BODY = {
    "args": {"path": "/home/someone/project/src/file.py", "content": "x" * 200},
    "effect": "allow",
    "rule": "agents.claude-code.allow[3]",
    "reason": "",
    "revision": "ab" * 32,
    "identity": "agent:claude-code",
    "kind": "tool",
    "road": "mcp",
}


def event() -> Draft:
    return Draft(
        id=make_id(),
        kind="call.allowed",
        at=now_ms(),
        call_id=make_id(),
        agent="claude-code",
        tool="fs/write_file",
        body=BODY,
    )


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e6


def at(times: list[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


class Bare:
    """One table, one connection, one row a transaction."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute(f"PRAGMA synchronous = {synchronous}")
        self._connection.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT, rest TEXT) STRICT")
        self._body, self._rest = encode(BODY).decode(), "x" * 220

    def commit(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO event (body, rest) VALUES (?, ?)", (self._body, self._rest))
        self._connection.execute("COMMIT")

    def checkpoint(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self._connection.close()


def line(name: str, p50: float, p99: float, bare: float) -> None:
    print(f"{name:<42} p50 {p50:8.1f} us   p99 {p99:8.1f} us   {p50 / bare:5.2f} x bare")


async def in_place(store: SQLiteStore, bare: Bare) -> float:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(TURNS):
        for _ in range(EVENTS // TURNS):
            one = event()
            ours.append(timed(lambda one=one: store.record_now(one, 0)))
        theirs += [timed(bare.commit) for _ in range(EVENTS // TURNS)]
        bare.checkpoint()
    base = at(theirs, 0.5)
    line("bare INSERT and COMMIT, synchronous=NORMAL", base, at(theirs, 0.99), base)
    line("record_now", at(ours, 0.5), at(ours, 0.99), base)
    return base


async def grouped(store: SQLiteStore, base: float, callers: int) -> None:
    async def caller(count: int) -> None:
        for _ in range(count):
            await store.record([event()], 0)

    start = time.perf_counter()
    await asyncio.gather(*(caller(EVENTS // callers) for _ in range(callers)))
    each = (time.perf_counter() - start) * 1e6 / EVENTS
    name = f"record, {callers} callers at once"
    print(f"{name:<42} {1e6 / each:8,.0f} events/s   {each:8.1f} us an event   {each / base:5.2f} x bare")


async def looking(store: SQLiteStore, base: float) -> None:
    times = [timed(store.stamp) for _ in range(EVENTS)]
    line("stamp", at(times, 0.5), at(times, 0.99), base)
    times = []
    for _ in range(500):
        start = time.perf_counter()
        await store.live("no such fingerprint")
        times.append((time.perf_counter() - start) * 1e6)
    line("live (through the reader's thread)", at(times, 0.5), at(times, 0.99), base)


async def durable(folder: Path) -> None:
    store, bare = (
        await SQLiteStore.open(folder / "full.db", durability="power"),
        Bare(folder / "bare2.db", "FULL"),
    )
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(300):
        start = time.perf_counter()
        await store.record([event()], 0)
        ours.append((time.perf_counter() - start) * 1e6)
        theirs.append(timed(bare.commit))
    base = at(theirs, 0.5)
    line("bare INSERT and COMMIT, synchronous=FULL", base, at(theirs, 0.99), base)
    line("record, durability: power", at(ours, 0.5), at(ours, 0.99), base)
    bare.close()
    await store.close()


async def main() -> None:
    print(f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, bare = await SQLiteStore.open(folder / "airlock.db"), Bare(folder / "bare.db", "NORMAL")
        base = await in_place(store, bare)
        for callers in (1, 16, 128):
            await grouped(store, base, callers)
        await looking(store, base)
        start = time.perf_counter()
        report = await store.verify()
        each = (time.perf_counter() - start) * 1e6 / report.events
        print(f"verify: {report.events:,} events, {each:.1f} us each")
        bare.close()
        await store.close()
        await durable(folder)


if __name__ == "__main__":
    asyncio.run(main())
