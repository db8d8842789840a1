"""The records of the sister APIs, in the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from airlock.canonical import encode
from airlock.errors import Conflict
from airlock.ports import Draft
from airlock.ports_faces import LASTING, Record, RecordFilter
from airlock.store.shelf import Shelf
from airlock.store.writes import append_all, read_tail

COLUMNS = "face, kind, id, link, owner, version, created_at, updated_at, due_at, body"


class RecordShelf(Shelf):
    """The part of the SQLite store that implements `ports_faces.RecordStore`."""

    async def put_records(
        self, records: Sequence[Record], *, events: Sequence[Draft] = (), drop: Sequence[Record] = ()
    ) -> None:
        """Keep these, drop those and append the events, in one transaction; or Conflict, and nothing."""
        await self._write(lambda cursor: put(cursor, records, events, drop), full=True)

    async def get_record(self, face: str, kind: str, record_id: str) -> Record | None:
        """One record by its id."""
        found = await self.find_records(RecordFilter(face=face, kind=kind, ids=(record_id,), limit=1))
        return found[0] if found else None

    async def find_records(self, wanted: RecordFilter) -> list[Record]:
        """The records that the filter wants."""
        return await self._read(lambda one: find(one, wanted))

    async def count_records(self, wanted: RecordFilter) -> int:
        """How many there are, whatever the filter's limit and offset."""
        return await self._read(lambda one: count(one, wanted))


def put(
    cursor: sqlite3.Cursor, records: Sequence[Record], events: Sequence[Draft], drop: Sequence[Record]
) -> None:
    """Do all of it; Conflict, and the caller rolls back."""
    tail = read_tail(cursor)
    if events:
        append_all(cursor, tail, events)
    for record in drop:
        cursor.execute(
            "DELETE FROM record WHERE face = ? AND kind = ? AND id = ? AND version = ?",
            (record.face, record.kind, record.id, record.version),
        )
        _check_one(cursor, record)
    for record in records:
        _put_one(cursor, record)


def _put_one(cursor: sqlite3.Cursor, record: Record) -> None:
    row = _row(record)
    if record.version > 1:
        columns = ", ".join(f"{name} = ?" for name in COLUMNS.split(", "))
        cursor.execute(
            f"UPDATE record SET {columns} WHERE face = ? AND kind = ? AND id = ? AND version = ?",
            (*row, record.face, record.kind, record.id, record.version - 1),
        )
        _check_one(cursor, record)
        return
    try:
        cursor.execute(f"INSERT INTO record ({COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
    except sqlite3.IntegrityError as error:
        raise Conflict(f"there is a {record.kind} `{record.id}` already") from error


def _check_one(cursor: sqlite3.Cursor, record: Record) -> None:
    if cursor.rowcount != 1:
        raise Conflict(f"the {record.kind} `{record.id}` was changed by another process")


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.face,
        record.kind,
        record.id,
        record.link,
        record.owner,
        record.version,
        record.created_at,
        record.updated_at,
        record.due_at,
        encode(dict(record.body)).decode(),
    )


def _record(row: Sequence[Any]) -> Record:
    fields = dict(zip(COLUMNS.split(", "), row, strict=True))
    return Record(**{**fields, "body": json.loads(fields["body"])})


def find(connection: sqlite3.Connection, wanted: RecordFilter) -> list[Record]:
    """What the filter wants."""
    where, values = _where(wanted)
    order = "due_at, number" if wanted.due_by is not None else "number"
    if wanted.due_by is None and not wanted.oldest_first:
        order = "created_at DESC, number DESC"
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        (*values, wanted.limit, wanted.offset),
    )
    return [_record(row) for row in rows]


def count(connection: sqlite3.Connection, wanted: RecordFilter) -> int:
    """How many there are."""
    where, values = _where(wanted)
    (found,) = connection.execute(f"SELECT count(*) FROM record WHERE {where}", values).fetchone()
    return int(found)


def _where(wanted: RecordFilter) -> tuple[str, list[Any]]:
    terms, values = ["kind = ?"], list[Any]([wanted.kind])
    if wanted.face:
        terms.append("face = ?")
        values.append(wanted.face)
    for name, some in (("id", wanted.ids), ("link", wanted.links)):
        if some is not None:
            terms.append(f"{name} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(some))
    if wanted.links is not None:
        terms.append("link <> ''")
    if wanted.owner:
        terms.append("owner = ?")
        values.append(wanted.owner)
    if wanted.due_by is not None:
        terms.append("due_at <= ?")
        values.append(wanted.due_by)
    return " AND ".join(terms), values


def prune(cursor: sqlite3.Cursor, before: int) -> None:
    """Remove what belongs to a history that is gone."""
    kept = json.dumps(sorted(LASTING))
    cursor.execute(
        "DELETE FROM record WHERE updated_at < ? AND coalesce(due_at, 0) < ? "
        "AND kind NOT IN (SELECT value FROM json_each(?))",
        (before, before, kept),
    )
