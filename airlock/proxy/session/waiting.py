"""How long a parked call is held, and how it shows that it lives."""

from __future__ import annotations

import asyncio
from typing import Final

from airlock.config import Config
from airlock.model import Wait
from airlock.proxy.session.client import Exchange

TICK_SECONDS: Final = 5.0
"""How often a parked call shows that it lives."""

AUTO_PATIENCE_MS: Final = 50_000
PATIENT: Final = frozenset({"claude-code"})
"""Clients that hold a call for as long as it takes (measured: docs/mcp.md)."""


def patience(config: Config, agent_name: str, client_name: str) -> int | None:
    """How long a call is held before it is answered with "still waiting", in ms; None is to the end."""
    agent = config.agents.get(agent_name)
    wait = agent.wait if agent is not None else "auto"
    own = agent.patience_ms if agent is not None else None
    if wait == "hold":
        return None
    if wait == "pending":
        return own or 0
    if own is not None or config.approvals.patience_ms is not None:
        return own if own is not None else config.approvals.patience_ms
    return None if client_name in PATIENT else AUTO_PATIENCE_MS


class Ticker:
    """Shows the person at the client, every few seconds, what a parked call waits for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._message = ""
        self._timer: asyncio.TimerHandle | None = None

    def show(self, waiting: Wait) -> None:
        """Say at once, and from then on every few seconds, which answer is waited for."""
        if self._exchange.token is None:
            return
        code = waiting.request.code
        self._message = f"waiting for approval {code}: airlock approve {code}"
        self.stop()
        self._tick()

    def _tick(self) -> None:
        self._exchange.tick(self._message)
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
