"""Idempotency keys: a request that is sent again under its key finds what the first one made.

A claim names its call before that is submitted, and the process at it. When that process is gone, whoever
comes next under the key takes the claim over: where history knows the call, what it came to is the answer,
and else it is submitted, under the same id. So it is asked and run once, whenever the first one ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.errors import Conflict, UsageError
from airlock.ports import AuditEvent, AuditFilter
from airlock.ports_faces import Record
from airlock.web.compat.asking import Attempt, records_of
from airlock.web.errors import HttpError

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "once"
LIFE_MS = 86_400_000
MOST_KEY = 255
LOOK_AGAIN = 0.03
_NEWEST = 2**62

Make = Callable[[Attempt], Awaitable[str]]


async def once(
    services: Services,
    face: str,
    *,
    owner: str,
    key: str,
    body: Mapping[str, Any],
    make: Make,
    patience: float = 0.0,
) -> tuple[str, bool]:
    """The id of what `make` made, and whether it was made now; under a key only the first time in a day.

    HttpError 409 when the same key came with another body, or while the first one is still at it after
    `patience` seconds.
    """
    if not key:
        return await make(Attempt(call=services.make_id())), True
    if len(key) > MOST_KEY or not key.isprintable():
        raise UsageError(f"an idempotency key has at most {MOST_KEY} printing characters")
    digest = hashlib.sha256(encode(dict(body))).hexdigest()
    name = hashlib.sha256(f"{owner}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
    claim = Claim(services, face=face, owner=owner, name=name, digest=digest)
    async with services.gate.alive():
        return await _waited(partial(claim.made, make), patience)


class AtWork(HttpError):
    """Another request under the same key is not done yet."""

    def __init__(self) -> None:
        super().__init__(409, "the request with this idempotency key is still being worked on")


async def _waited(work: Callable[[], Awaitable[tuple[str, bool]]], patience: float) -> tuple[str, bool]:
    clock = asyncio.get_running_loop().time
    end = clock() + patience
    while True:
        try:
            return await work()
        except AtWork:
            if clock() >= end:
                raise
            await asyncio.sleep(LOOK_AGAIN)


class Begun(set[tuple[str, str]]):
    """The claims that this process is at: what is under its name and not here was left behind."""


class Claim:
    """One key of one owner, and what was sent under it."""

    def __init__(self, services: Services, *, face: str, owner: str, name: str, digest: str) -> None:
        self._services = services
        self._records = records_of(services)
        self._store = services.gate.store
        self._begun = services.one(Begun, Begun)
        self._face, self._owner, self._name, self._digest = face, owner, name, digest
        self._mark = (face, name)

    async def made(self, make: Make) -> tuple[str, bool]:
        """What `once` gives back; AtWork while another is at it."""
        old = await self._record()
        today = old if old is not None and self._services.clock() - old.created_at < LIFE_MS else None
        if today is not None and today.body["made"]:
            self._check(today)
            return str(today.body["made"]), False
        earlier = None if today is None else await self._left(today)
        with self._begin():
            claim = await self._taken(old, earlier)
            past = () if earlier is None else earlier.past
            return await self._make(claim, past, make), not past

    async def _record(self) -> Record | None:
        return await self._records.get_record(self._face, KIND, self._name)

    def _check(self, old: Record) -> None:
        if old.body["digest"] != self._digest:
            raise HttpError(409, "this idempotency key came with another body before")

    async def _left(self, old: Record) -> Attempt | None:
        """The go that was left behind unfinished, to go on with; None where it was refused, so that a new one
        begins. AtWork when it was not left."""
        if await self._attended(old):
            self._check(old)
            raise AtWork
        wanted = AuditFilter(call=old.body["call"])
        told = await self._store.events(after=old.body["after"], wanted=wanted)
        past = tuple(event for event in told if _settles(event))
        if told and not past:
            return None
        self._check(old)
        return Attempt(call=old.body["call"], past=past)

    async def _attended(self, old: Record) -> bool:
        process = old.body["process"]
        if process == self._store.process_id:
            return self._mark in self._begun
        return await self._store.lives(process)

    @contextmanager
    def _begin(self) -> Iterator[None]:
        if self._mark in self._begun:
            raise AtWork
        self._begun.add(self._mark)
        try:
            yield
        except Conflict:  # another process has taken it over: what comes of it is told by that one
            raise AtWork from None
        finally:
            self._begun.discard(self._mark)

    async def _taken(self, old: Record | None, earlier: Attempt | None) -> Record:
        """A claim of our own, in place of what is there; Conflict when somebody else was faster."""
        now = self._services.clock()
        if old is not None and earlier is not None:
            call, after = earlier.call, old.body["after"]
        else:
            call, (after, _) = self._services.make_id(), await self._store.changed_since(_NEWEST)
        claim = Record(
            face=self._face,
            kind=KIND,
            id=self._name,
            owner=self._owner,
            version=1 if old is None else old.version + 1,
            created_at=now,
            updated_at=now,
            body={
                "digest": self._digest,
                "made": "",
                "process": self._store.process_id,
                "call": call,
                "after": after,
            },
        )
        await self._records.put_records([claim])
        return claim

    async def _make(self, claim: Record, past: tuple[AuditEvent, ...], make: Make) -> str:
        async def check() -> None:
            if await self._record() != claim:
                raise AtWork

        made = await make(Attempt(call=claim.body["call"], past=past, check=check))
        done = replace(claim, version=claim.version + 1, body={**claim.body, "made": made})
        await self._records.put_records([done])
        return made


def _settles(event: AuditEvent) -> bool:
    """True for what decided a call or asked for it: a limit, a pause and a failure decide nothing."""
    if event.request_id or event.kind == "call.allowed":
        return True
    return event.kind == "call.denied" and "refusal" not in json.loads(event.body)
