"""Reading the audit chain: raw events, and one entry a call."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from airlock.audit import COMPLETED, DECISIONS, join
from airlock.ports import AuditEntry, AuditEvent, AuditFilter
from airlock.store.reads import snapshot
from airlock.store.rows import EVENT, event_of

_KINDS = ", ".join(f"'{kind}'" for kind in DECISIONS)
# A plain allow or deny is its call's first event. Only a call about a question can have decided before,
# and its events are in the index `event_asked_call`.
_ANCHORS = (
    f"SELECT e.seq, e.call_id FROM event AS e WHERE e.kind IN ({_KINDS}) AND e.call_id <> '' "
    "AND (e.request_id = '' OR NOT EXISTS (SELECT 1 FROM event AS p WHERE p.call_id = e.call_id "
    f"AND p.request_id <> '' AND p.seq < e.seq AND p.kind IN ({_KINDS})))"
)


def events(
    connection: sqlite3.Connection, after: int, limit: int, wanted: AuditFilter | None
) -> list[AuditEvent]:
    """Events after a sequence number, oldest first."""
    terms, values = _terms(wanted or AuditFilter())
    where = "".join(f" AND {term}" for term in terms)
    rows = connection.execute(
        f"SELECT {EVENT} FROM event AS e WHERE e.seq > ?{where} ORDER BY e.seq LIMIT ?",
        (after, *values, limit),
    )
    return [event_of(row) for row in rows]


def _terms(wanted: AuditFilter) -> tuple[list[str], list[Any]]:
    given = (
        ("e.agent = ?", wanted.agent or None),
        ("e.tool = ?", wanted.tool or None),
        ("e.at >= ?", wanted.since),
        ("e.call_id = ?", wanted.call or None),
        ("e.request_id <> '' AND e.request_id = ?", wanted.request or None),
        ("e.request_id <> ?", "" if wanted.asked else None),
    )
    return [term for term, value in given if value is not None], [
        value for _, value in given if value is not None
    ]


def every_event(connection: sqlite3.Connection) -> Iterator[AuditEvent]:
    """The whole chain, oldest first, a row at a time."""
    return map(event_of, connection.execute(f"SELECT {EVENT} FROM event ORDER BY seq"))


def entries(connection: sqlite3.Connection, wanted: AuditFilter) -> list[AuditEntry]:
    """One entry a call, newest decision first."""
    terms, values = _terms(wanted)
    where = "".join(f" AND {term}" for term in terms)
    with snapshot(connection):
        anchors = connection.execute(
            f"{_ANCHORS}{where} ORDER BY e.seq DESC LIMIT ?", (*values, wanted.limit)
        ).fetchall()
        own = _own_events(connection, anchors)
        asked = _questions(connection, own)
    joined = (
        join(own[call_id], [event for one in _request_ids(own[call_id]) for event in asked.get(one, ())])
        for _, call_id in anchors
    )
    return [entry for entry in joined if entry is not None]


def _own_events(
    connection: sqlite3.Connection, anchors: Iterable[tuple[int, str]]
) -> dict[str, list[AuditEvent]]:
    own: dict[str, list[AuditEvent]] = defaultdict(list)
    by_seq = dict(anchors)
    if not by_seq:
        return own
    # The decisions by their numbers; what came later for a question by the index; outcomes of plain
    # calls, which no index holds, by walking on from the oldest decision.
    rows = connection.execute(
        f"SELECT {EVENT} FROM event WHERE seq IN (SELECT value FROM json_each(:seqs)) "
        f"UNION SELECT {EVENT} FROM event WHERE request_id <> '' "
        "  AND call_id IN (SELECT value FROM json_each(:calls)) "
        f"UNION SELECT {EVENT} FROM event WHERE seq > :oldest AND kind = :completed "
        "  AND call_id IN (SELECT value FROM json_each(:calls)) ORDER BY seq",
        {
            "seqs": json.dumps(list(by_seq)),
            "calls": json.dumps(list(by_seq.values())),
            "oldest": min(by_seq),
            "completed": COMPLETED,
        },
    )
    for row in rows:
        event = event_of(row)
        own[event.call_id].append(event)
    return own


def _request_ids(own: Iterable[AuditEvent]) -> list[str]:
    return list(dict.fromkeys(event.request_id for event in own if event.request_id))


def _questions(
    connection: sqlite3.Connection, own: dict[str, list[AuditEvent]]
) -> dict[str, list[AuditEvent]]:
    wanted = {one for events_of_call in own.values() for one in _request_ids(events_of_call)}
    asked: dict[str, list[AuditEvent]] = defaultdict(list)
    if wanted:
        for row in connection.execute(
            f"SELECT {EVENT} FROM event WHERE request_id <> '' "
            "AND request_id IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (json.dumps(sorted(wanted)),),
        ):
            event = event_of(row)
            asked[event.request_id].append(event)
    return asked
