"""One process of a crowd on one database: `callers` make identical calls and wait, `deciders` approve.

python gate_process.py caller FOLDER COUNT    prints the number of calls that proceeded
python gate_process.py decider FOLDER TOTAL   approves what waits until TOTAL requests were used
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import uvloop

from airlock.errors import AlreadySettled, NoSuchRequest
from airlock.model import Proceed, Resolution
from support.gates import call, open_gate


async def make_calls(folder: Path, count: int) -> int:
    async with open_gate(folder) as gate, asyncio.timeout(100):
        calls = [gate.authorize(call("demo/write_note", n=number % 3)) for number in range(count)]
        verdicts = await asyncio.gather(*calls)
    return sum(isinstance(verdict, Proceed) for verdict in verdicts)


async def decide(folder: Path, total: int) -> int:
    decided = 0
    async with open_gate(folder) as gate, asyncio.timeout(100):
        while sum(event.kind == "request.used" for event in await gate.store.events(limit=100_000)) < total:
            for request in await gate.pending():
                with contextlib.suppress(AlreadySettled, NoSuchRequest):
                    await gate.resolve(request.code, Resolution(approve=True, identity="local:alice"))
                    decided += 1
            await asyncio.sleep(0.01)  # looks at what other processes do; the total bounds it
    return decided


if __name__ == "__main__":
    work = make_calls if sys.argv[1] == "caller" else decide
    print(uvloop.run(work(Path(sys.argv[2]), int(sys.argv[3]))))
