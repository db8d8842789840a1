"""Webhooks of the faces: who is told of what, and the queue of what is still to be delivered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.errors import Conflict, UsageError
from airlock.ports_faces import Record, RecordFilter
from airlock.posting import Target, Undeliverable
from airlock.web.compat import stored
from airlock.web.compat.asking import records_of
from airlock.web.compat.face import News
from airlock.web.compat.sealing import seal

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "webhook"
DELIVERY = "delivery"
EVERYTHING = "*"
MOST_URL = 2_000
SECRET_BYTES = 32
AGAIN = 20


def check_url(url: str) -> str:
    """The URL; UsageError when nothing may be sent there."""
    if len(url) > MOST_URL:
        raise UsageError(f"`url` has more than {MOST_URL} characters")
    try:
        Target.of_stranger(url)
    except Undeliverable as error:
        raise UsageError(f"`url`: {error}") from None
    return url


def check_events(events: Any, known: Sequence[str]) -> list[str]:
    """The events; UsageError names an unknown one. `*` is all of them."""
    if not isinstance(events, list) or not events or not all(isinstance(one, str) for one in events):
        raise UsageError("`events` must be a list of event names")
    for one in events:
        if one not in {*known, EVERYTHING}:
            raise UsageError(f"unknown event `{one[:60]}`: there are {', '.join(known)} and `*`")
    return list(dict.fromkeys(events))


async def register(
    services: Services,
    face: str,
    *,
    url: str,
    events: Sequence[str],
    secret: str,
    by: str,
    beside: Mapping[str, Any] | None = None,
) -> Record:
    """Keep a webhook; its secret is sealed. `url` and `events` were checked."""
    sealed = seal(services.gate, purpose(face), secret)
    body = {"url": url, "events": list(events), "secret": sealed, "enabled": True, **(beside or {})}
    told = {"url": url.partition("?")[0], "events": list(events)}
    return await stored.add(services, face, KIND, body, by=by, told=told)


def purpose(face: str) -> str:
    """What a face's signing secrets are sealed for."""
    return f"webhook {face}"


def wants(webhook: Record, event: str) -> bool:
    """True when this webhook is told of that event."""
    events = webhook.body["events"]
    return bool(webhook.body["enabled"]) and (event in events or EVERYTHING in events)


async def publish(services: Services, face: str, news: Iterable[News]) -> None:
    """Queue news for every webhook of a face that wants it."""
    told = list(news)
    if told:
        hooks = await stored.kept(services, face, KIND)
        await enqueue(services, [(hook, one) for hook in hooks for one in told if wants(hook, one.event)])


async def enqueue(
    services: Services, told: Sequence[tuple[Record, News]], also: Sequence[Record] = ()
) -> None:
    """Queue these deliveries, each once whoever queues it, and keep `also` with them."""
    records = records_of(services)
    for _ in range(AGAIN):
        wanted: dict[str, Record] = {}
        for one in told:  # the first of several names for one thing is the one that is told
            delivery = _delivery(services, *one)
            wanted.setdefault(delivery.id, delivery)
        known: set[str] = set()
        if wanted:
            there = await records.find_records(
                RecordFilter(kind=DELIVERY, ids=tuple(wanted), limit=len(wanted))
            )
            known = {one.id for one in there}
        fresh = [one for name, one in wanted.items() if name not in known]
        if not fresh and not also:
            return
        try:
            await records.put_records([*fresh, *also])
        except Conflict:
            if also:
                raise
            continue
        return


def _delivery(services: Services, webhook: Record, news: News) -> Record:
    now = services.clock()
    name = hashlib.sha256(f"{webhook.face}\0{webhook.id}\0{news.key}".encode()).hexdigest()[:32]
    return Record(
        face=webhook.face,
        kind=DELIVERY,
        id=name,
        link=webhook.id,
        created_at=now,
        updated_at=now,
        due_at=now,
        body={
            "event": news.event,
            "payload": encode(dict(news.payload)).decode(),
            "state": "pending",
            "attempts": 0,
            "status": None,
            "error": "",
            "delivered_at": None,
        },
    )


async def deliveries(services: Services, webhook: Record, limit: int = 50, offset: int = 0) -> list[Record]:
    """What was or is to be delivered to a webhook, newest first."""
    wanted = RecordFilter(face=webhook.face, kind=DELIVERY, links=(webhook.id,), limit=limit, offset=offset)
    return await records_of(services).find_records(wanted)


async def replay(services: Services, delivery: Record) -> Record:
    """Deliver the same body again, from now on; Conflict while an attempt is under way."""
    now = services.clock()
    body = {**delivery.body, "state": "pending", "attempts": 0, "error": "", "delivered_at": None}
    again = replace(delivery, version=delivery.version + 1, updated_at=now, due_at=now, body=body)
    await records_of(services).put_records([again])
    return again
