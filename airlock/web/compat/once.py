"""Idempotency keys: a request that is sent again under its key finds what the first one made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.errors import Conflict, UsageError
from airlock.ports_faces import Record
from airlock.web.compat.asking import records_of
from airlock.web.errors import HttpError

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "once"
LIFE_MS = 86_400_000
MOST_KEY = 255
LOOK_AGAIN = 0.03


async def once(
    services: Services,
    face: str,
    *,
    owner: str,
    key: str,
    body: Mapping[str, Any],
    make: Callable[[], Awaitable[str]],
    patience: float = 0.0,
) -> tuple[str, bool]:
    """The id of what `make` made, and whether it was made now; under a key only the first time in a day.

    HttpError 409 when the same key came with another body, or while the first one is still at it after
    `patience` seconds.
    """
    if not key:
        return await make(), True
    if len(key) > MOST_KEY or not key.isprintable():
        raise UsageError(f"an idempotency key has at most {MOST_KEY} printing characters")
    digest = hashlib.sha256(encode(dict(body))).hexdigest()
    claim, found = await _waited(partial(_claimed, services, face, owner, key, digest), patience)
    if found:
        return found, False
    records = records_of(services)
    try:
        made = await make()
    except BaseException:
        await records.put_records([], drop=[claim])
        raise
    done = replace(claim, version=claim.version + 1, body={"digest": digest, "made": made})
    await records.put_records([done])
    return made, True


class AtWork(HttpError):
    """Another request under the same key is not done yet."""

    def __init__(self) -> None:
        super().__init__(409, "the request with this idempotency key is still being worked on")


async def _waited(claim: Callable[[], Awaitable[tuple[Record, str]]], patience: float) -> tuple[Record, str]:
    clock = asyncio.get_running_loop().time
    end = clock() + patience
    while True:
        try:
            return await claim()
        except AtWork:
            if clock() >= end:
                raise
            await asyncio.sleep(LOOK_AGAIN)


async def _claimed(services: Services, face: str, owner: str, key: str, digest: str) -> tuple[Record, str]:
    """A claim of our own, or what was made under the key before."""
    now, records = services.clock(), records_of(services)
    name = hashlib.sha256(f"{owner}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
    old = await records.get_record(face, KIND, name)
    if old is not None and now - old.created_at < LIFE_MS:
        if old.body["digest"] != digest:
            raise HttpError(409, "this idempotency key came with another body before")
        if not old.body["made"]:
            raise AtWork
        return old, str(old.body["made"])
    claim = Record(
        face=face,
        kind=KIND,
        id=name,
        owner=owner,
        version=1 if old is None else old.version + 1,
        created_at=now,
        updated_at=now,
        body={"digest": digest, "made": ""},
    )
    try:
        await records.put_records([claim])
    except Conflict:
        raise AtWork from None
    return claim, ""
