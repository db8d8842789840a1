"""Run by tests: one of several processes on one database. What it committed it prints, a JSON line each.

busy_process.py DATABASE work ROUNDS   write on every road, spend, count, checkpoint; then end
busy_process.py DATABASE forever       write until killed, printing each id after its commit
busy_process.py DATABASE answer        for each code read from stdin, approve that request

It runs on asyncio's own loop, as commands and hooks do: beside it the tests run on that of a gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from airlock.errors import Conflict
from airlock.ids import make_code, make_id
from airlock.model import RateUse, Status, Waiter
from airlock.ports import Change, Draft
from airlock.store import caretaker, log
from airlock.store.sqlite import SQLiteStore
from store.values import after, draft, question

caretaker.SIGN_SECONDS = 0.005
caretaker.LOOK_EVERY = 50_000
log.FULL_LOG = 150_000  # cut off now and then, else used anew
log.LARGEST_LOG = 300_000


def say(**fields: Any) -> None:
    os.write(1, (json.dumps(fields) + "\n").encode())


def event(kind: str = "call.allowed", **fields: Any) -> Draft:
    return draft(kind, **fields)._replace(id=make_id())


async def in_place(store: SQLiteStore) -> str:
    one = event()
    if not store.record_now(one, 0):
        await store.record([one], 0)
    return one.id


async def ask(store: SQLiteStore) -> list[str]:
    number = make_id()
    one = question(id=number, code=make_code(), fingerprint=number)
    seat = Waiter(id=make_id(), request_id=number, process_id=store.process_id, since=1)
    opened, left = event("request.opened", request_id=number), event("request.left", request_id=number)
    await store.commit(Change(events=(opened,), requests=(one,), waiters=(seat,)))
    await store.commit(Change(events=(left,), waiters=(replace(seat, ended_at=2),)))
    return [opened.id, left.id]


async def spend(store: SQLiteStore, code: str) -> list[str]:
    found = await store.find(code)
    assert found is not None
    if found.status is not Status.APPROVED:
        return []
    used = event("request.used", request_id=found.id)
    try:
        await store.commit(Change(events=(used,), requests=(after(found, Status.USED),)))
    except Conflict:
        return []
    say(spent=code)
    return [used.id]


async def count(store: SQLiteStore) -> list[str]:
    use = event()
    try:
        await store.commit(
            Change(events=(use,), rates=(RateUse(scope="shared", limit=25, window_ms=3_600_000),))
        )
    except Conflict:
        return []
    say(counted=True)
    return [use.id]


async def work(store: SQLiteStore, rounds: int) -> None:
    for number in range(rounds):
        ids = [await in_place(store) for _ in range(5)]
        several = [event() for _ in range(4)]
        asked, spent, counted, *_ = await asyncio.gather(
            ask(store),
            spend(store, f"SPEND{number:03}"),
            count(store),
            *(store.record([one], 0) for one in several),
        )
        ids += [*asked, *spent, *counted, *(one.id for one in several)]
        if number % 5 == 0:
            await store.beat()
        say(committed=ids)


async def forever(store: SQLiteStore) -> None:
    while True:
        say(committed=[await in_place(store), *await ask(store)])


async def answer(store: SQLiteStore) -> None:
    say(ready=True)
    for line in sys.stdin:
        found = await store.find(line.strip())
        assert found is not None
        approved = after(found, Status.APPROVED, decided_by="local:elsewhere")
        await store.commit(
            Change(events=(event("request.approved", request_id=found.id),), requests=(approved,))
        )
        say(approved=found.code)


async def main(path: Path, role: str, *rest: str) -> None:
    store = await SQLiteStore.open(path, busy_seconds=30)
    match role:
        case "work":
            await work(store, int(rest[0]))
        case "forever":
            await forever(store)
        case "answer":
            await answer(store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
