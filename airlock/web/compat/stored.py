"""Things that people keep through a face: policies, webhooks, agents. Each change is a line of history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airlock import texts
from airlock.canonical import encode
from airlock.errors import Conflict, NoSuchRequest
from airlock.ports import Draft
from airlock.ports_faces import Record, RecordFilter
from airlock.web.compat.asking import records_of

if TYPE_CHECKING:
    from airlock.web.services import Services

MOST_THINGS = 1_000


async def kept(services: Services, face: str, kind: str) -> list[Record]:
    """All of a kind, oldest first."""
    wanted = RecordFilter(face=face, kind=kind, oldest_first=True, limit=MOST_THINGS)
    return await records_of(services).find_records(wanted)


async def one_kept(services: Services, face: str, kind: str, record_id: str) -> Record:
    """One by its id; NoSuchRequest when there is none."""
    record = await records_of(services).get_record(face, kind, record_id)
    if record is None:
        raise NoSuchRequest(f"no {kind} `{record_id[:64]}`")
    return record


async def add(
    services: Services, face: str, kind: str, body: Mapping[str, Any], *, by: str, told: Mapping[str, Any]
) -> Record:
    """Keep a new one. `told` is what history says of it: never a secret. Conflict when there are too many."""
    records = records_of(services)
    if await records.count_records(RecordFilter(face=face, kind=kind)) >= MOST_THINGS:
        raise Conflict(f"there are {MOST_THINGS} of them already")
    now = services.clock()
    record = Record(
        face=face,
        kind=kind,
        id=services.make_id(),
        owner=by,
        created_at=now,
        updated_at=now,
        body=body,
    )
    await records.put_records([record], events=[_event(services, record, "created", by, told)])
    return record


async def change(
    services: Services, record: Record, body: Mapping[str, Any], *, by: str, told: Mapping[str, Any]
) -> Record:
    """Keep a new version of one; Conflict when somebody else was faster."""
    following = replace(record, version=record.version + 1, updated_at=services.clock(), body=body)
    event = _event(services, following, "updated", by, told)
    await records_of(services).put_records([following], events=[event])
    return following


async def drop(services: Services, record: Record, *, by: str) -> None:
    """Keep it no longer; Conflict when somebody else was faster."""
    event = _event(services, record, "deleted", by, {})
    await records_of(services).put_records([], events=[event], drop=[record])


async def consult(services: Services, said: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Keep, for proof, what policies said, secrets masked: each digest by its name (`Overlay.consulted`)."""
    written = {name: encode(services.gate.masked(one)).decode() for name, one in said.items()}
    await texts.keep(records_of(services), written.values(), services.clock())
    return {name: texts.digest(text) for name, text in written.items()}


def _event(services: Services, record: Record, what: str, by: str, told: Mapping[str, Any]) -> Draft:
    body = {"api": record.face, record.kind: record.id, "by": by, **services.gate.masked(told)}
    return Draft(id=services.make_id(), kind=f"{record.kind}.{what}", at=services.clock(), body=body)
