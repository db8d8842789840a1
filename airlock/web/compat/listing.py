"""Lists of requests: the face's own, and all that waited for a person on any road, newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from airlock import approval
from airlock.model import Status
from airlock.ports import RequestFilter
from airlock.ports_faces import Record, RecordFilter
from airlock.web.compat.asking import KIND, Kept, foreign, records_of
from airlock.web.compat.query import Page

if TYPE_CHECKING:
    from airlock.web.services import Services

CHUNK = 200


async def listed(
    services: Services,
    face: str,
    page: Page,
    wanted: Callable[[Kept], bool],
    *,
    agent: str = "",
    statuses: frozenset[Status] = frozenset(),
    total: bool = False,
    most: int | None = None,
) -> tuple[list[Kept], int]:
    """One page of what is wanted, and how many there are in all (only when `total`, else as far as read).

    `statuses` are those that stored rows can have; which count now, `wanted` says. No more than the newest
    `most` are looked at.
    """
    found: list[Kept] = []
    seen = looked = 0
    async for kept in _merged(services, face, agent, statuses):
        looked += 1
        if most is not None and looked > most:
            break
        if not wanted(kept):
            continue
        if page.offset <= seen < page.offset + page.limit:
            found.append(kept)
        seen += 1
        if len(found) == page.limit and not total:
            break
    return found, seen


async def _merged(
    services: Services, face: str, agent: str, statuses: frozenset[Status]
) -> AsyncIterator[Kept]:
    """Both sources by the time of their making, newest first."""
    asked = _asked(services, face, agent, statuses)
    settled = _settled(services, face, agent)
    one, other = await anext(asked, None), await anext(settled, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.record.created_at >= other.record.created_at):
            if one is not None:
                yield one
            one = await anext(asked, None)
        else:
            yield other
            other = await anext(settled, None)


async def _asked(
    services: Services, face: str, agent: str, statuses: frozenset[Status]
) -> AsyncIterator[Kept]:
    offset = 0
    while True:
        wanted = RequestFilter(agent=agent, statuses=statuses, newest_first=True, limit=CHUNK, offset=offset)
        rows = await services.gate.store.requests(wanted)
        records = await _records(services, face, tuple(row.id for row in rows))
        now = services.clock()
        for row in rows:
            yield Kept(record=records.get(row.id) or foreign(face, row), request=approval.current(row, now))
        if len(rows) < CHUNK:
            return
        offset += CHUNK


async def _records(services: Services, face: str, ids: tuple[str, ...]) -> dict[str, Record]:
    wanted = RecordFilter(face=face, kind=KIND, ids=ids, limit=CHUNK)
    return {record.id: record for record in await records_of(services).find_records(wanted)}


async def _settled(services: Services, face: str, agent: str) -> AsyncIterator[Kept]:
    """What the policy decided at once: nobody was asked."""
    offset = 0
    while True:
        wanted = RecordFilter(face=face, kind=KIND, limit=CHUNK, offset=offset)
        rows = await records_of(services).find_records(wanted)
        for record in rows:
            if record.body["effect"] != "ask" and agent in {"", record.body["agent"]}:
                yield Kept(record=record)
        if len(rows) < CHUNK:
            return
        offset += CHUNK
