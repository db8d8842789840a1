"""Run by a test: fills the disk under a store, as far as the operating system's file size limit is one."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from airlock.errors import StoreError
from airlock.store.sqlite import SQLiteStore
from store.values import draft, opening, question


def limit(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def fill(store: SQLiteStore) -> int:
    """Record until it is refused, on each road; how many were accepted."""
    accepted = refused = 0
    while refused < 30:
        event = draft(body={"args": {"text": "x" * 3000}})
        road = (accepted + refused) % 3
        try:
            if road == 0:
                await store.record([event], 0)
            elif road == 1:
                assert store.record_now(event, 0)
            else:
                await store.commit(opening(question()))
        except StoreError as error:
            if not any(told in str(error) for told in ("cannot be read or written", "no room")):
                raise
            refused += 1
        else:
            accepted += 1
    return accepted


async def main(path: Path) -> None:
    store = await SQLiteStore.open(path)
    await store.record([draft()], 0)
    limit(300_000)
    accepted = await fill(store)
    assert len(await store.events(limit=100_000)) == accepted + 1
    assert (await store.verify()).sound
    limit(resource.RLIM_INFINITY)
    assert store.record_now(draft(), 0)
    await store.record([draft()], 0)
    await store.commit(opening(question()))
    report = await store.verify()
    assert (report.sound, report.events) == (True, accepted + 4), report
    assert (await store.facts(check=True)).damage == ""
    await store.close()
    again = await SQLiteStore.open(path)
    assert (await again.verify()).events == accepted + 4
    await again.close()
    print("nothing lost")


asyncio.run(main(Path(sys.argv[1])))
