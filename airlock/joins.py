"""What one process remembers of calls it let through by hook, so that one action is asked once.

A PermissionRequest of the same session, tool and input follows a PreToolUse that was allowed: it is the
same action, and is answered without a second question, once. A PostToolUse tells how the call came out;
the tool-use id only finds the record, it gives no authority.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from airlock.model import Call, Outcome, Proceed
from airlock.ports import Clock

if TYPE_CHECKING:
    from airlock.gate import Gate

MOST = 2_000
FRESH_MS = 10 * 60_000
"""How long a PermissionRequest may come after the call it belongs to was let through."""

CLOSING_S = 2.0


class Joins:
    """Two bounded memories: calls whose outcome is open, and those that a dialog may still ask about."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._running: OrderedDict[tuple[str, str, str], Proceed] = OrderedDict()
        self._passed: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def passed(self, proceed: Proceed, action: str) -> None:
        """Remember a call that was let through; `action` digests what it does, "" when no dialog follows."""
        call = proceed.call
        if action and call.origin.session:
            self._put(self._passed, _action(call, action), self._clock())
        if call.origin.tool_use_id:
            old = self._put(
                self._running, _use(call.agent, call.origin.session, call.origin.tool_use_id), proceed
            )
            if old is not None:
                self._spawn(self._gate.complete(old, Outcome.UNKNOWN))
        else:
            self._spawn(self._gate.complete(proceed, Outcome.UNKNOWN))

    def take(self, call: Call, action: str) -> bool:
        """True, once, when this very action of this session was let through a short while ago."""
        at = self._passed.pop(_action(call, action), None)
        return at is not None and self._clock() - at < FRESH_MS

    async def came_out(self, agent: str, session: str, tool_use_id: str, outcome: Outcome) -> None:
        """Record how a call came out that was let through here."""
        proceed = self._running.pop(_use(agent, session, tool_use_id), None)
        if proceed is not None:
            await self._gate.complete(proceed, outcome)

    def _put(self, memory: OrderedDict[Any, Any], key: Any, value: Any) -> Any:
        """Keep it; what was there, or what had to go to make room."""
        old = memory.pop(key, None)
        memory[key] = value
        if old is None and len(memory) > MOST:
            old = memory.popitem(last=False)[1]
        return old

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Write down that the outcome of the rest is not known here."""
        for proceed in self._running.values():
            self._spawn(self._gate.complete(proceed, Outcome.UNKNOWN))
        self._running.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_S)


def _action(call: Call, action: str) -> tuple[str, ...]:
    return call.agent, call.origin.session, call.tool, action


def _use(agent: str, session: str, tool_use_id: str) -> tuple[str, str, str]:
    return agent, session, tool_use_id
