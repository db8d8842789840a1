"""The questions that are put to the queue. Each function is one read of one connection."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airlock.model import ApprovalRequest, Controls, Grant, Vote, Waiter
from airlock.ports import RequestFilter
from airlock.store.rows import (
    GRANT,
    REQUEST,
    grant_of,
    pause_of,
    request_of,
    vote_of,
    waiter_of,
)

BEAT_MS = 5_000
"""How often a process with parked calls beats."""

LIFE_MS = 3 * BEAT_MS
"""A process that has not beaten for so long counts as dead."""

_LIVE = "('pending', 'approved')"


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything read in this block is of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _requests(
    connection: sqlite3.Connection, now: int, own: str, where: str, values: Sequence[Any]
) -> list[ApprovalRequest]:
    rows = connection.execute(f"SELECT {REQUEST} FROM request WHERE {where}", values).fetchall()
    if not rows:
        return []
    ids = json.dumps([row[0] for row in rows])
    votes = _votes(connection, ids)
    attended = _attended(connection, ids, now, own)
    return [request_of(row, tuple(votes.get(row[0], ())), attended.get(row[0])) for row in rows]


def _votes(connection: sqlite3.Connection, ids: str) -> dict[str, list[Vote]]:
    votes: dict[str, list[Vote]] = defaultdict(list)
    for request_id, *row in connection.execute(
        "SELECT request_id, identity, approve, note, at FROM vote "
        "WHERE request_id IN (SELECT value FROM json_each(?)) ORDER BY at, rowid",
        (ids,),
    ):
        votes[request_id].append(vote_of(row))
    return votes


def _attended(connection: sqlite3.Connection, ids: str, now: int, own: str) -> dict[str, int]:
    """The last moment at which a living process waited: now, while one does."""
    return dict(
        connection.execute(
            "SELECT w.request_id, max(CASE "
            "  WHEN w.ended_at IS NOT NULL THEN w.ended_at "
            "  WHEN p.ended_at IS NOT NULL THEN p.ended_at "
            "  WHEN p.id = :own OR p.beat_at > :since THEN :now "
            "  ELSE p.beat_at END) "
            "FROM waiter AS w JOIN process AS p ON p.id = w.process_id "
            "WHERE w.request_id IN (SELECT value FROM json_each(:ids)) GROUP BY w.request_id",
            {"own": own, "since": now - LIFE_MS, "now": now, "ids": ids},
        ).fetchall()
    )


def find(connection: sqlite3.Connection, now: int, own: str, reference: str) -> ApprovalRequest | None:
    """By id, else by code whatever its case."""
    with snapshot(connection):
        found = _requests(connection, now, own, "id = ?", (reference,)) or _requests(
            connection, now, own, "code = ?", (reference,)
        )
    return found[0] if found else None


def live(connection: sqlite3.Connection, now: int, own: str, fingerprint: str) -> ApprovalRequest | None:
    """The pending or approved request of this fingerprint."""
    with snapshot(connection):
        found = _requests(connection, now, own, f"fingerprint = ? AND status IN {_LIVE}", (fingerprint,))
    return found[0] if found else None


def latest(connection: sqlite3.Connection, now: int, own: str, fingerprint: str) -> ApprovalRequest | None:
    """The newest request of this fingerprint."""
    with snapshot(connection):
        found = _requests(
            connection, now, own, "fingerprint = ? ORDER BY number DESC LIMIT 1", (fingerprint,)
        )
    return found[0] if found else None


def requests(
    connection: sqlite3.Connection, now: int, own: str, wanted: RequestFilter
) -> list[ApprovalRequest]:
    """What the filter wants, oldest first."""
    terms, values = ["1"], list[Any]()
    if wanted.live_only:
        terms.append(f"status IN {_LIVE}")
    if wanted.statuses:
        terms.append("status IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([str(status) for status in wanted.statuses]))
    if wanted.agent:
        terms.append("agent = ?")
        values.append(wanted.agent)
    order = "created_at DESC, number DESC" if wanted.newest_first else "created_at, number"
    where = " AND ".join(terms) + f" ORDER BY {order} LIMIT ? OFFSET ?"
    with snapshot(connection):
        return _requests(connection, now, own, where, (*values, wanted.limit, wanted.offset))


def changed_since(
    connection: sqlite3.Connection, now: int, own: str, seq: int
) -> tuple[int, list[ApprovalRequest]]:
    """The newest sequence number and the requests written after `seq`, in that order."""
    with snapshot(connection):
        (newest,) = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        found = _requests(connection, now, own, "seq > ? ORDER BY seq, number", (seq,))
    return newest, found


def count_pending(connection: sqlite3.Connection, agent: str) -> int:
    """Stored pending requests of an agent."""
    (count,) = connection.execute(
        "SELECT count(*) FROM request WHERE agent = ? AND status = 'pending'", (agent,)
    ).fetchone()
    return int(count)


def waiters(connection: sqlite3.Connection, now: int, own: str, request_id: str) -> list[Waiter]:
    """Waiters of living processes, oldest first."""
    rows = connection.execute(
        "SELECT w.id, w.request_id, w.process_id, w.since, w.ended_at "
        "FROM waiter AS w JOIN process AS p ON p.id = w.process_id "
        "WHERE w.request_id = ? AND w.ended_at IS NULL AND p.ended_at IS NULL "
        "  AND (p.id = ? OR p.beat_at > ?) "
        "ORDER BY w.since, w.number",
        (request_id, own, now - LIFE_MS),
    )
    return [waiter_of(row) for row in rows]


def lives(connection: sqlite3.Connection, now: int, process_id: str) -> bool:
    """True for a process that beat of late and has not ended."""
    found = connection.execute(
        "SELECT 1 FROM process WHERE id = ? AND ended_at IS NULL AND beat_at > ?",
        (process_id, now - LIFE_MS),
    ).fetchone()
    return found is not None


def count_rate(connection: sqlite3.Connection, scope: str, since: int) -> int:
    """Uses of a scope at or after `since`."""
    (count,) = connection.execute(
        "SELECT count(*) FROM rate_use WHERE scope = ? AND at >= ?", (scope, since)
    ).fetchone()
    return int(count)


def grants(connection: sqlite3.Connection, now: int) -> list[Grant]:
    """Grants that still hold, newest first."""
    rows = connection.execute(
        f"SELECT {GRANT} FROM standing_grant WHERE ended_at IS NULL AND expires_at > ? ORDER BY number DESC",
        (now,),
    )
    return [grant_of(row) for row in rows]


def controls(connection: sqlite3.Connection, now: int) -> Controls:
    """Pauses, grants and their revision, of one moment."""
    with snapshot(connection):
        (revision,) = connection.execute("SELECT revision FROM state").fetchone()
        pauses = connection.execute("SELECT agent, by, at FROM pause ORDER BY agent").fetchall()
        standing = grants(connection, now)
    return Controls(revision=revision, pauses=tuple(map(pause_of, pauses)), grants=tuple(standing))
