"""`airlock hook` without a gateway: the decision is made in this process, on the same database."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from airlock import runtime
from airlock.canonical import parse
from airlock.errors import AirlockError, UsageError
from airlock.hookdesk import Caller, HookDesk
from airlock.hooks.dialect import Dialect, HookAnswer
from airlock.hooks.dialects import choose
from airlock.hookwatch import in_time
from airlock.ids import make_id


def answer(options: dict[str, str], payload: bytes, seconds: float | None) -> HookAnswer:
    """The answer to one payload; a deny in its dialect whatever fails."""
    dialect, event, tool = recognise(payload, options.get("client", ""))
    late = dialect.deny("it could not be decided in time", event=event, tool=tool)
    try:
        with in_time(late, dialect.timeout_ms / 1000 if seconds is None else seconds):
            members = read(payload)
            return asyncio.run(_decide(options, dialect, members, seconds))
    except AirlockError as error:
        return dialect.deny(str(error).partition("\n")[0], event=event, tool=tool)


def recognise(payload: bytes, client: str) -> tuple[Dialect, str, str]:
    """The dialect to answer in, the event's name and the tool's, as far as a broken payload tells them."""
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        members = None
    dialect = choose(members, client)
    tool = members.get("tool") if isinstance(members, dict) else ""
    return dialect, dialect.event_of(members), tool[:200] if isinstance(tool, str) else ""


def read(payload: bytes) -> dict[str, Any]:
    """The payload's members; WireError or UsageError when it is not one plain JSON object."""
    members = parse(payload)
    if not isinstance(members, dict):
        raise UsageError("the hook's payload is not an object")
    return members


async def _decide(
    options: dict[str, str], dialect: Dialect, members: dict[str, Any], seconds: float | None
) -> HookAnswer:
    explicit = Path(options["config"]) if options.get("config") else None
    config = runtime.load_located(runtime.find_config(explicit, starts_programs=True))
    caller = Caller(
        named=options.get("agent", ""),
        home=os.path.expanduser("~"),  # noqa: PTH111 - text for the shell's reader, not a path to open
        timeout_ms=None if seconds is None else round(seconds * 1000),
        defers=options.get("defer") == "1",
    )
    async with runtime.opened(config, road="hook") as opened:
        desk = HookDesk(opened.gate, joins=None, make_id=make_id)
        return await desk.answer(dialect, members, caller)
