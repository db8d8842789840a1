"""What the chain holds of one call: its events whole, the links between them and on to the end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from airlock.audit import content, follow, holds
from airlock.errors import StoreError
from airlock.ports import AuditEvent, Evidence, Run
from airlock.store.reads import snapshot
from airlock.store.rows import EVENT, Row, event_of
from airlock.store.upkeep import aside, chain_end

MOST_LINKS = 20_000
"""Links of other calls that are shown: 64 characters each."""


def gather(path: Path, reference: str, busy_seconds: float) -> Evidence | None:
    """All of it, of one moment; None when nothing has this id."""
    with aside(path, busy_seconds) as connection, snapshot(connection):
        own = _trail(connection, reference)
        end = chain_end(connection)
        if not own or end is None:
            return None
        runs = [run for one in _stretches(own, end.seq) for run in _runs(connection, one, frozenset(own))]
        return Evidence(runs=tuple(runs), head_seq=end.seq, head_hash=end.hash)


def _trail(connection: sqlite3.Connection, reference: str) -> list[int]:
    """The events of the call that has this id, or asked this question, or has this event."""
    first, calls, questions = _named(connection, reference)
    known = json.dumps(sorted(questions | _asked_by(connection, calls)))
    own = json.dumps(sorted(calls | _askers_of(connection, known)))
    # Outcomes of plain calls are in no index: whatever came since is looked through.
    rows = connection.execute(
        "SELECT seq FROM event WHERE request_id <> '' "
        "  AND request_id IN (SELECT value FROM json_each(:asked)) "
        "UNION SELECT seq FROM event WHERE seq >= :first "
        "  AND call_id <> '' AND call_id IN (SELECT value FROM json_each(:own)) ORDER BY seq",
        {"asked": known, "own": own, "first": first},
    )
    return [seq for (seq,) in rows]


def _named(connection: sqlite3.Connection, reference: str) -> tuple[int, set[str], set[str]]:
    """Where what has this id begins, and which call or question it is."""
    asked = connection.execute(
        "SELECT min(seq) FROM event WHERE request_id <> '' AND request_id = ?", (reference,)
    ).fetchone()
    if asked[0] is not None:
        return asked[0], set(), {reference}
    row = connection.execute(
        "SELECT seq, call_id, request_id FROM event WHERE call_id = ?1 OR id = ?1 ORDER BY seq LIMIT 1",
        (reference,),
    ).fetchone()
    first, call, question = row if row and reference else (0, "", "")
    return first, {call} - {""}, {question} - {""}


def _asked_by(connection: sqlite3.Connection, calls: Iterable[str]) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT request_id FROM event WHERE request_id <> '' "
        "AND call_id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(calls)),),
    )
    return {request for (request,) in rows}


def _askers_of(connection: sqlite3.Connection, questions: str) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT call_id FROM event WHERE request_id <> '' AND call_id <> '' "
        "AND request_id IN (SELECT value FROM json_each(?))",
        (questions,),
    )
    return {call for (call,) in rows}


def _stretches(wanted: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    """From where to where the chain is shown: from the first event to the end, as far as MOST_LINKS go."""
    left, first, last = MOST_LINKS, wanted[0], wanted[0]
    for seq in wanted[1:]:
        between = seq - last - 1
        if between > left:
            yield first, last
            first = seq
        else:
            left -= between
        last = seq
    yield first, end if end - last <= left else last


def _runs(connection: sqlite3.Connection, stretch: tuple[int, int], own: frozenset[int]) -> Iterator[Run]:
    """One stretch as it may be shown; StoreError where the chain does not hold in it."""
    first, last = stretch
    rows = connection.execute(f"SELECT {EVENT} FROM event WHERE seq BETWEEN ? AND ? ORDER BY seq", stretch)
    links: list[AuditEvent | str] = []
    before, prev = "", ""
    for seq, row in zip_longest(range(first, last + 1), rows):
        event = _sound(row, seq, prev)
        prev = event.hash
        before = before or event.prev
        shown = event if event.seq in own else content(event).hex()
        if isinstance(shown, str) and follow(bytes.fromhex(event.prev), bytes.fromhex(shown)).hex() != prev:
            # An older Airlock wrote it: its link cannot be shown without what it says, so the run ends.
            yield from _told(first, before, links)
            links, before, first = [], prev, seq + 1
            continue
        links.append(shown)
    yield from _told(first, before, links)


def _sound(row: Row | None, seq: int, prev: str) -> AuditEvent:
    event = None if row is None else event_of(row)
    if event is None or event.seq != seq or prev not in {"", event.prev} or not holds(event):
        raise StoreError(f"the chain is broken at event {seq}: see `airlock audit verify`")
    return event


def _told(first: int, before: str, links: list[AuditEvent | str]) -> Iterator[Run]:
    """A run, if it shows anything."""
    if any(isinstance(link, AuditEvent) for link in links):
        yield Run(first_seq=first, before=before, links=tuple(links))
