"""API keys in the database. The module that describes them is imported only when there are some."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from airlock.errors import Conflict, StoreBusy
from airlock.ports import Draft
from airlock.store.rows import KEY, key_of, key_row
from airlock.store.shelf import Shelf
from airlock.store.writes import append, read_tail

if TYPE_CHECKING:
    from airlock.apikeys import ApiKey


class KeyShelf(Shelf):
    """The part of the SQLite store that implements `ports_keys.KeyStore`."""

    async def add_key(self, key: ApiKey, event: Draft) -> None:
        """Keep a new key and append its event, in one transaction."""
        await self._write(lambda cursor: add(cursor, key, event), full=True)

    async def revoke_key(self, key_id: str, at: int, event: Draft) -> ApiKey | None:
        """End a key at once and append the event; None when there is no such key that still works."""
        return await self._write(lambda cursor: revoke(cursor, key_id, at, event), full=True)

    async def key_by_digest(self, digest: str) -> ApiKey | None:
        """The key with this digest, revoked or not: one look in place, since each request asks this."""
        try:
            return self.key_now(digest)
        except StoreBusy:
            return await self._read(partial(by_digest, digest=digest))

    def key_now(self, digest: str) -> ApiKey | None:
        """The same, in one look in place; StoreBusy when that would have to wait."""
        return self._glance(partial(by_digest, digest=digest))

    async def keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        return await self._read(every)


def add(cursor: sqlite3.Cursor, key: ApiKey, event: Draft) -> None:
    """Keep a key and append its event; Conflict when its id or digest is taken."""
    append(cursor, read_tail(cursor), event)
    marks = ", ".join("?" * (KEY.count(",") + 1))
    try:
        cursor.execute(f"INSERT INTO api_key ({KEY}) VALUES ({marks})", key_row(key))
    except sqlite3.IntegrityError as error:
        raise Conflict(f"there is a key `{key.id}` already") from error


def revoke(cursor: sqlite3.Cursor, key_id: str, at: int, event: Draft) -> ApiKey | None:
    """End a key and append the event; None, and no event, when no such key works."""
    tail = read_tail(cursor)
    cursor.execute("UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, key_id))
    if cursor.rowcount != 1:
        return None
    append(cursor, tail, event)
    return key_of(cursor.execute(f"SELECT {KEY} FROM api_key WHERE id = ?", (key_id,)).fetchone())


def by_digest(connection: sqlite3.Connection, digest: str) -> ApiKey | None:
    """The key with this digest, revoked or not."""
    row = connection.execute(f"SELECT {KEY} FROM api_key WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else key_of(row)


def every(connection: sqlite3.Connection) -> list[ApiKey]:
    """Every key, oldest first."""
    return [key_of(row) for row in connection.execute(f"SELECT {KEY} FROM api_key ORDER BY number")]
