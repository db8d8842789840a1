"""What a write transaction does, between its BEGIN and its COMMIT. Nothing here begins or ends one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from airlock.audit import GENESIS, digest, written
from airlock.errors import Conflict, NewerSchema, Stale
from airlock.model import ApprovalRequest, Grant, RateUse, Vote, Waiter
from airlock.ports import Change, Draft
from airlock.store.rows import GRANT, REQUEST, WRITTEN, grant_row, request_row
from airlock.store.schema import NEWER, SCHEMA
from airlock.values import dataclass


def _marks(columns: str) -> str:
    return ", ".join("?" * (columns.count(",") + 1))


TAIL = (
    "SELECT s.revision, s.schema, e.seq, e.hash FROM state AS s LEFT JOIN event AS e "
    "ON e.seq = (SELECT max(seq) FROM event)"
)
_WIDTH = WRITTEN.count(",") + 1


def _insert(rows: int) -> str:
    """The statement for so many events: bound are the hash before them, then WRITTEN of each.

    A hash is bound once for its own row and for the next one's `prev`.
    """
    values = [
        f"({', '.join(f'?{at}' for at in range(first, first + _WIDTH))}, ?{first - 1})"
        for first in range(2, 2 + rows * _WIDTH, _WIDTH)
    ]
    return f"INSERT INTO event ({WRITTEN}, prev) VALUES {', '.join(values)}"


INSERT_EVENTS = {rows: _insert(rows) for rows in (16, 4, 1)}
"""By how many rows, largest first: several in one statement, and so in one step, take a fifth less."""

INSERT_NEXT = (
    f"INSERT INTO event ({WRITTEN}, prev) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
    "(SELECT e.hash FROM event AS e, state AS s WHERE e.seq = ?1 - 1 AND e.hash = ?11 "
    f"AND s.id = 1 AND s.revision = ?12 AND s.schema = {SCHEMA}))"
)
"""The same for one, but only where the chain still ends as is said and nothing else has changed: else the
event has no `prev`, which no row may lack, and an event that somebody put there has its number."""

ONE_COMMIT = 6_000
"""Bytes of the log that a commit takes beside its bodies: the pages that it touches are written whole."""

_blob = bytearray
"""What bytes are bound as: for `bytes` the library first looks for an adapter, longer than it binds."""

_INSERT_REQUEST = f"INSERT INTO request ({REQUEST}) VALUES ({_marks(REQUEST)})"
_UPDATE_REQUEST = f"UPDATE request SET ({REQUEST}) = ({_marks(REQUEST)}) WHERE id = ? AND version = ?"
_INSERT_GRANT = f"INSERT INTO standing_grant ({GRANT}) VALUES ({_marks(GRANT)})"


@dataclass(slots=True)
class Tail:
    """Where the chain ends inside this transaction, and the revision of pauses and grants."""

    revision: int
    seq: int
    hash: bytes

    def check(self, controls: int | None) -> None:
        """Stale when pauses or grants changed since `controls` was read."""
        if controls is not None and controls != self.revision:
            raise Stale("pauses or grants changed meanwhile")


def read_tail(cursor: sqlite3.Cursor) -> Tail:
    """The chain's end; NewerSchema when another process has upgraded the database meanwhile."""
    revision, schema, seq, last = cursor.execute(TAIL).fetchone()
    if schema > SCHEMA:
        raise NewerSchema(NEWER)
    return Tail(revision=revision, seq=seq or 0, hash=last or GENESIS)


def append(cursor: sqlite3.Cursor, tail: Tail, draft: Draft) -> None:
    """Put one event behind the tail and move the tail."""
    append_all(cursor, tail, (draft,))


def append_all(cursor: sqlite3.Cursor, tail: Tail, drafts: Sequence[Draft]) -> int:
    """Put several events behind the tail, or none when one of them cannot be written as JSON.

    About how many bytes that puts into the log.
    """
    seq, last, size = tail.seq, tail.hash, ONE_COMMIT
    values: list[Any] = [_blob(last)]
    for given in drafts:
        draft = given if type(given.body) is str else written(given)
        seq += 1
        last = digest(last, seq, draft)
        values += (seq, *draft, _blob(last))
        size += len(draft.body)
    at, end = 0, len(values) - 1
    for rows, statement in INSERT_EVENTS.items():
        width = rows * _WIDTH
        while at + width <= end:
            # What stands before a row is the hash of the one before it.
            cursor.execute(statement, values[at : at + width + 1])
            at += width
    tail.seq, tail.hash = seq, last
    return size


def append_next(cursor: sqlite3.Cursor, tail: Tail, draft: Draft) -> int:
    """Put one event behind the tail as it is remembered, in one statement and its own transaction.

    0, and nothing is written, when the tail, the revision or the schema is another by now; else about how
    many bytes that puts into the log.
    """
    draft, seq = written(draft), tail.seq + 1
    own = digest(tail.hash, seq, draft)
    try:
        cursor.execute(INSERT_NEXT, (seq, *draft, _blob(own), _blob(tail.hash), tail.revision))
    except sqlite3.IntegrityError:
        return 0
    tail.seq, tail.hash = seq, own
    return ONE_COMMIT + len(draft.body)


def apply(cursor: sqlite3.Cursor, change: Change, now: int) -> int:
    """Do all of a change; Conflict or Stale, and the caller rolls back. What its events put into the log."""
    tail = read_tail(cursor)
    tail.check(change.controls)
    size = append_all(cursor, tail, change.events)
    try:
        # Rows that end make room for the fingerprint and the code of rows that begin.
        for request in sorted(change.requests, key=lambda one: one.version == 1):
            _put_request(cursor, request, tail.seq)
        for request_id, vote in change.votes:
            _put_vote(cursor, request_id, vote)
        for waiter in change.waiters:
            _put_waiter(cursor, waiter, now)
        for grant in change.grants:
            _put_grant(cursor, grant)
    except sqlite3.IntegrityError as error:
        raise Conflict(f"another process was faster: {error}") from error
    for use in change.rates:
        _use_rate(cursor, use, now)
    _put_pauses(cursor, change)
    if change.grants or change.pauses or change.resumes:
        cursor.execute("UPDATE state SET revision = revision + 1")
    return size


def _put_request(cursor: sqlite3.Cursor, request: ApprovalRequest, seq: int) -> None:
    row = request_row(request, seq)
    if request.version == 1:
        cursor.execute(_INSERT_REQUEST, row)
        return
    cursor.execute(_UPDATE_REQUEST, (*row, request.id, request.version - 1))
    if cursor.rowcount != 1:
        raise Conflict(f"request `{request.code}` was changed by another process")
    # A reopened request has lost votes: the row's own votes are the ones that stay.
    kept = {vote.identity for vote in request.votes}
    stored = cursor.execute("SELECT identity FROM vote WHERE request_id = ?", (request.id,)).fetchall()
    for (identity,) in stored:
        if identity not in kept:
            cursor.execute("DELETE FROM vote WHERE request_id = ? AND identity = ?", (request.id, identity))


def _put_vote(cursor: sqlite3.Cursor, request_id: str, vote: Vote) -> None:
    takes_back = "" if vote.approve else "OR REPLACE "  # a no may follow one's own yes, nothing else
    cursor.execute(
        f"INSERT {takes_back}INTO vote (request_id, identity, approve, note, at) VALUES (?, ?, ?, ?, ?)",
        (request_id, vote.identity, int(vote.approve), vote.note, vote.at),
    )


def _put_waiter(cursor: sqlite3.Cursor, waiter: Waiter, now: int) -> None:
    if waiter.ended_at is not None:
        cursor.execute(
            "UPDATE waiter SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (waiter.ended_at, waiter.id)
        )
        return
    put_beat(cursor, waiter.process_id, now)
    cursor.execute(
        "INSERT INTO waiter (id, request_id, process_id, since) VALUES (?, ?, ?, ?)",
        (waiter.id, waiter.request_id, waiter.process_id, waiter.since),
    )


def put_beat(cursor: sqlite3.Cursor, process_id: str, now: int) -> None:
    """Say that a process lives."""
    cursor.execute(
        "INSERT INTO process (id, beat_at) VALUES (?, ?) "
        "ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, ended_at = NULL",
        (process_id, now),
    )


def end_process(cursor: sqlite3.Cursor, process_id: str, now: int) -> None:
    """Say that a process has ended: its waiters wait no more."""
    cursor.execute("UPDATE process SET ended_at = ? WHERE id = ?", (now, process_id))


def _put_grant(cursor: sqlite3.Cursor, grant: Grant) -> None:
    if grant.ended_at is None:
        cursor.execute(_INSERT_GRANT, grant_row(grant))
        return
    cursor.execute(
        "UPDATE standing_grant SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (grant.ended_at, grant.id)
    )
    if cursor.rowcount != 1:
        raise Conflict(f"grant `{grant.id}` had ended already")


def _put_pauses(cursor: sqlite3.Cursor, change: Change) -> None:
    for pause in change.pauses:
        cursor.execute(
            "INSERT OR REPLACE INTO pause (agent, by, at) VALUES (?, ?, ?)", (pause.agent, pause.by, pause.at)
        )
    for agent in change.resumes:
        cursor.execute("DELETE FROM pause WHERE agent = ?", (agent,))


def _use_rate(cursor: sqlite3.Cursor, use: RateUse, now: int) -> None:
    cursor.execute("DELETE FROM rate_use WHERE scope = ? AND at <= ?", (use.scope, now - use.window_ms))
    (used,) = cursor.execute("SELECT count(*) FROM rate_use WHERE scope = ?", (use.scope,)).fetchone()
    if used >= use.limit:
        raise Conflict(f"the limit of {use.limit} uses in {use.window_ms} ms is reached")
    cursor.execute("INSERT INTO rate_use (scope, at) VALUES (?, ?)", (use.scope, now))
