"""Texts that history refers to by their SHA-256: the policies that decided. Each is kept once, for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from airlock.errors import Conflict
from airlock.ports_faces import Record, RecordFilter, RecordStore

KIND = "text"


def digest(text: str) -> str:
    """What a text is kept under."""
    return hashlib.sha256(text.encode()).hexdigest()


async def keep(records: RecordStore, texts: Iterable[str], now: int) -> None:
    """Keep these; those that are kept already cost one look. They must hold no secret."""
    wanted = {digest(text): text for text in texts}
    if not wanted:
        return
    known = await read(records, wanted)
    for name in wanted.keys() - known.keys():
        record = Record(
            face="", kind=KIND, id=name, created_at=now, updated_at=now, body={"text": wanted[name]}
        )
        try:
            await records.put_records([record])
        except Conflict:
            continue  # another process kept it at this moment


async def read(records: RecordStore, digests: Iterable[str]) -> dict[str, str]:
    """Those of these texts that are kept, by their digests; one that was changed since is none."""
    ids = tuple(digests)
    found = await records.find_records(RecordFilter(kind=KIND, ids=ids, limit=max(1, len(ids))))
    texts = {record.id: str(record.body["text"]) for record in found}
    return {name: text for name, text in texts.items() if digest(text) == name}
