"""Pages of raw events, newest first, for whoever looks through history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airlock.ports import AuditEvent, EventPage
from airlock.store.reads import snapshot
from airlock.store.rows import EVENT, event_of
from airlock.store.upkeep import aside


def page(path: Path, wanted: EventPage, busy_seconds: float) -> tuple[list[AuditEvent], int]:
    """One page of events, newest first, and how many there are in all."""
    terms, values = _terms(wanted)
    where = " AND ".join(terms) or "1"
    # On a connection of its own: it may look through all of history, and calls do not wait for that.
    with aside(path, busy_seconds) as connection, snapshot(connection):
        (total,) = connection.execute(f"SELECT count(*) FROM event AS e WHERE {where}", values).fetchone()
        rows = connection.execute(
            f"SELECT {EVENT} FROM event AS e WHERE {where} ORDER BY e.seq DESC LIMIT ? OFFSET ?",
            (*values, wanted.limit, wanted.offset),
        )
        return [event_of(row) for row in rows], int(total)


# A risk stands in the events that decided; the text is looked at before it is parsed.
_RISKY = (
    "e.call_id <> '' AND e.call_id {also} IN (SELECT call_id FROM event "
    "WHERE instr(body, '\"risk\":') AND json_extract(body, '$.risk') {is_it})"
)
_AROUND = (
    "(e.call_id = ? OR e.request_id = ? OR (e.call_id <> '' AND e.call_id IN "
    "(SELECT call_id FROM event WHERE request_id <> '' AND request_id = ?)))"
)


def _terms(wanted: EventPage) -> tuple[list[str], list[Any]]:
    low = wanted.risk == "low"
    outcome = "json_extract(e.body, '$.outcome') {} 'success'"
    given: tuple[tuple[bool, str, list[Any]], ...] = (
        (bool(wanted.agent), "e.agent = ?", [wanted.agent]),
        (bool(wanted.about), _AROUND, [wanted.about] * 3),
        (wanted.since is not None, "e.at >= ?", [wanted.since]),
        (wanted.until is not None, "e.at <= ?", [wanted.until]),
        (
            wanted.kinds is not None,
            "e.kind IN (SELECT value FROM json_each(?))",
            [json.dumps(sorted(wanted.kinds or ()))],
        ),
        (wanted.succeeded is True, outcome.format("IS"), []),
        (wanted.succeeded is False, outcome.format("IS NOT"), []),
        (low, _RISKY.format(also="NOT", is_it="<> 'low'"), []),
        (bool(wanted.risk) and not low, _RISKY.format(also="", is_it="= ?"), [wanted.risk]),
    )
    return [term for on, term, _ in given if on], [one for on, _, values in given if on for one in values]
