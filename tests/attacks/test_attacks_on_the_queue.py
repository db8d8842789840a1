"""Everything at once on two gates over one database: no yes is used twice, and none that was taken back.

The order is drawn at random and held against the audit chain afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from airlock.errors import AirlockError
from airlock.gate import Gate
from airlock.model import Proceed, Refuse, Resolution
from support.gates import call, open_gate

pytestmark = pytest.mark.anyio
STEPS = 60


class Crowd:
    """Callers and people who act on two gates in any order."""

    def __init__(self, gates: tuple[Gate, Gate], seed: int) -> None:
        self.gates = gates
        self.draw = random.Random(seed)
        self.calls: set[asyncio.Task[Proceed | Refuse]] = set()
        self.proceeds: list[Proceed] = []

    def gate(self) -> Gate:
        return self.draw.choice(self.gates)

    def begin(self) -> None:
        """One of three calls, held, or with little patience."""
        wanted = call("demo/write_note", name=self.draw.choice("abc"))
        patience = self.draw.choice([None, None, 1, 30])
        self.calls.add(asyncio.create_task(self.gate().authorize(wanted, patience_ms=patience)))

    async def decide(self) -> None:
        waiting = await self.gate().pending()
        if waiting:
            answer = Resolution(
                approve=self.draw.random() < 0.8,
                identity=self.draw.choice(["local:alice", "local:bob"]),
                grant_ms=self.draw.choice([None] * 9 + [20]),
            )
            await self.gate().resolve(self.draw.choice(waiting).code, answer)

    async def undo(self) -> None:
        rows = await self.gate().store.requests(live())
        if rows:
            await self.gate().undo(self.draw.choice(rows).code, "local:alice")

    async def give_up(self) -> None:
        running = [task for task in self.calls if not task.done()]
        if running:
            self.draw.choice(running).cancel()

    async def pause(self) -> None:
        await self.gate().pause("", "local:alice")
        await self.gate().resume("", "local:alice")

    async def step(self) -> None:
        act = self.draw.choice([self.decide, self.decide, self.decide, self.undo, self.give_up, self.pause])
        with contextlib.suppress(AirlockError):
            await act()

    async def run(self) -> None:
        for _ in range(STEPS):
            self.begin()
            if self.draw.random() < 0.7:
                await asyncio.gather(*(self.step() for _ in range(self.draw.randint(1, 3))))
        for _ in range(200):  # whatever waits still is answered, until nobody does
            if all(task.done() for task in self.calls):
                break
            await self.end()
        ended = await asyncio.gather(*self.calls, return_exceptions=True)
        self.proceeds = [one for one in ended if isinstance(one, Proceed)]

    async def end(self) -> None:
        for row in await self.gate().pending():
            with contextlib.suppress(AirlockError):
                await self.gate().resolve(row.code, Resolution(approve=True, identity="local:alice"))
        await asyncio.wait(self.calls, timeout=0.1, return_when=asyncio.ALL_COMPLETED)


def live() -> object:
    from airlock.ports import RequestFilter

    return RequestFilter(live_only=True, limit=100)


@pytest.mark.parametrize("seed", range(6))
async def test_no_order_of_events_uses_a_yes_twice_or_one_that_was_not_given(
    tmp_path: Path, seed: int
) -> None:
    async with open_gate(tmp_path) as one, open_gate(tmp_path) as two:
        crowd = Crowd((one, two), seed)
        async with asyncio.timeout(60):
            await crowd.run()
        events = await one.store.events(limit=100_000)
        assert (await one.store.verify()).sound
        assert all(task.done() for task in crowd.calls), "a call waits that nobody can answer"
    approved = {event.request_id for event in events if event.kind == "request.approved"}
    undone = {event.request_id for event in events if event.kind == "request.undone"}
    used = Counter(event.request_id for event in events if event.kind == "request.used")
    by_call = {event.call_id for event in events if event.kind == "request.used"}
    granted = {
        event.call_id
        for event in events
        if event.kind == "call.allowed" and "grant" in json.loads(event.body)
    }
    assert set(used.values()) <= {1}
    assert set(used) <= approved
    assert not set(used) & undone
    for proceed in crowd.proceeds:
        assert proceed.call.id in (granted if proceed.grant_id else by_call)
    assert len({proceed.call.id for proceed in crowd.proceeds}) == len(crowd.proceeds)
    spent = Counter(proceed.request_id for proceed in crowd.proceeds if proceed.request_id)
    assert set(spent.values()) <= {1}
