"""What the sister APIs keep beside the queue, in the domain's words. The SQLite store implements it.

One kind of row serves them all: a record belongs to a face, has a kind, an id, and a JSON body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from airlock.ports import Draft
from airlock.values import dataclass

LASTING = frozenset({"policy", "webhook", "agent", "setting", "pairing", "tool", "text", "nlp_policy"})
"""Kinds that are kept until they are dropped; all others go with the history that they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing of one API. `version` grows by one with every change, which is what `put_records` compares.

    `link` is what it belongs to (an approval request, a webhook); `owner` the identity that made it;
    `due_at` when something is to be done with it. `body` is already redacted.
    """

    face: str
    kind: str
    id: str
    link: str = ""
    owner: str = ""
    version: int = 1
    created_at: int
    updated_at: int
    due_at: int | None = None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records, newest first unless `oldest_first`: all fields that are set must match.

    `due_by` wants those whose time has come, the longest overdue first; `face` "" is any.
    """

    kind: str
    face: str = ""
    ids: tuple[str, ...] | None = None
    links: tuple[str, ...] | None = None
    owner: str = ""
    due_by: int | None = None
    oldest_first: bool = False
    limit: int = 1000
    offset: int = 0


@runtime_checkable
class RecordStore(Protocol):
    """The records of one database. Every method raises StoreError when it cannot be used."""

    async def put_records(
        self, records: Sequence[Record], *, events: Sequence[Draft] = (), drop: Sequence[Record] = ()
    ) -> None:
        """Keep these, drop those and append the events, in one transaction.

        Version 1 is inserted, any other replaces the row whose version is one less; Conflict, and nothing
        written, when a row is there already, is gone or has changed.
        """
        ...

    async def get_record(self, face: str, kind: str, record_id: str) -> Record | None:
        """One record by its id."""
        ...

    async def find_records(self, wanted: RecordFilter) -> list[Record]:
        """The records that the filter wants."""
        ...

    async def count_records(self, wanted: RecordFilter) -> int:
        """How many there are, whatever the filter's limit and offset."""
        ...
