"""A real gateway that stops for good at one point of the first submission it is sent, and says so.

python halting_gateway.py POINT CONFIG    prints its address, and `halted` once it stands at the point

Points: `claimed` (before the call is submitted), `submitted` (before its record is made), `recorded` (before
anything is begun for it), `begun` (before the answer is kept).
"""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from airlock.gate import Gate
from airlock.model import Call, Verdict
from airlock.ports_faces import Record
from airlock.store.sqlite import SQLiteStore

POINT = sys.argv[1]

submit, put_records = Gate.submit, SQLiteStore.put_records


async def halt(point: str) -> None:
    if point == POINT:
        print("halted", flush=True)
        await asyncio.Event().wait()


async def halting_submit(self: Gate, call: Call, **more: Any) -> Verdict:
    await halt("claimed")
    verdict = await submit(self, call, **more)
    await halt("submitted")
    return verdict


async def halting_put(self: SQLiteStore, records: Sequence[Record], **more: Any) -> None:
    if any(one.kind == "once" and one.body["made"] for one in records):
        await halt("begun")
    await put_records(self, records, **more)
    if any(one.kind == "request" for one in records):
        await halt("recorded")


if __name__ == "__main__":
    Gate.submit = halting_submit  # type: ignore[method-assign]
    SQLiteStore.put_records = halting_put  # type: ignore[method-assign]
    sys.argv = ["airlock", "--config", sys.argv[2], "gateway", "--port", "0"]
    runpy.run_module("airlock", run_name="__main__", alter_sys=False)
