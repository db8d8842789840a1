"""Removing what is older than it must be: the beginning of the chain, and what has ended of the queue."""

from __future__ import annotations

import sqlite3

from airlock.audit import PRUNED
from airlock.ids import make_id
from airlock.ports import Draft
from airlock.store import records
from airlock.store.log import MIB
from airlock.store.writes import append, read_tail

PRUNE_AT_ONCE = 20_000
PRUNE_BYTES = 16 * MIB
"""Events, and bytes of their bodies, that one transaction removes: others wait for the lock meanwhile."""


def prune_events(cursor: sqlite3.Cursor, before: int, now: int) -> tuple[int, bool]:
    """Remove some of the oldest events, while all are older than `before`; how many, and whether more are."""
    tail = read_tail(cursor)
    (first,) = cursor.execute("SELECT min(seq) FROM event").fetchone()
    if first is None:
        return 0, False
    kept = cursor.execute("SELECT seq FROM event WHERE at >= ? ORDER BY seq LIMIT 1", (before,)).fetchone()
    stop = kept[0] if kept else tail.seq + 1
    end = _end_of_portion(cursor, stop)
    if end is None:
        return 0, False
    last_id, last_hash = cursor.execute("SELECT id, hash FROM event WHERE seq = ?", (end,)).fetchone()
    cursor.execute("DELETE FROM event WHERE seq <= ?", (end,))
    count = cursor.rowcount
    body = {
        "count": count,
        "before": before,
        "first_seq": first,
        "last_seq": end,
        "last_id": last_id,
        "last_hash": last_hash.hex(),
    }
    append(cursor, tail, Draft(id=make_id(), kind=PRUNED, at=now, body=body))
    return int(count), end + 1 < stop


def _end_of_portion(cursor: sqlite3.Cursor, stop: int) -> int | None:
    """The last event that goes with the oldest in one transaction, all before `stop`; None without any."""
    size, end = 0, None
    for seq, length in cursor.execute(
        "SELECT seq, length(body) FROM event WHERE seq < ? ORDER BY seq LIMIT ?", (stop, PRUNE_AT_ONCE)
    ):
        size, end = size + length, seq
        if size >= PRUNE_BYTES:
            break
    return end


def prune_queue(cursor: sqlite3.Cursor, before: int) -> None:
    """Remove what ended before then: requests with votes and waiters, grants, uses, processes."""
    cursor.execute(
        "DELETE FROM request WHERE status NOT IN ('pending', 'approved') "
        "AND max(coalesce(decided_at, 0), expires_at) < ?",
        (before,),
    )
    cursor.execute("DELETE FROM standing_grant WHERE coalesce(ended_at, expires_at) < ?", (before,))
    cursor.execute("DELETE FROM rate_use WHERE at < ?", (before,))
    records.prune(cursor, before)
    cursor.execute(
        "DELETE FROM process WHERE beat_at < ? "
        "AND NOT EXISTS (SELECT 1 FROM waiter WHERE waiter.process_id = process.id)",
        (before,),
    )
