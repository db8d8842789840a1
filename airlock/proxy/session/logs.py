"""Log messages of upstreams: a level for the session in the legacy era, for one request in the modern one."""

from __future__ import annotations

from typing import Final

from airlock.errors import UpstreamError
from airlock.model import JsonObject
from airlock.proxy.eras import LOG_LEVEL
from airlock.proxy.link import Reply, Upstream
from airlock.proxy.router import Router
from airlock.proxy.session.calls import Calls
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.wire import INVALID_PARAMS

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Logs:
    """Who may log what to this client."""

    def __init__(self, client: Client, router: Router, calls: Calls) -> None:
        self._client = client
        self._calls = calls
        self._router = router
        self.level = ""

    def set_level(self, exchange: Exchange, params: JsonObject) -> None:
        """logging/setLevel: told to every upstream that logs."""
        level = params.get("level")
        if level not in LEVELS:
            self._client.fail(exchange, INVALID_PARAMS, f"`level` must be one of {', '.join(LEVELS)}")
            return
        self.level = self._calls.log_level = level
        for upstream in self._router.upstreams():
            self.restarted(upstream)
        self._client.succeed(exchange, {})

    def wanted(self, exchange: Exchange) -> None:
        """A modern request that wants log messages: a legacy upstream has to be told the level."""
        level = exchange.meta.get(LOG_LEVEL)
        if level in LEVELS and (not self.level or LEVELS.index(level) < LEVELS.index(self.level)):
            self.level = level
            for upstream in self._router.upstreams():
                self.restarted(upstream)

    def restarted(self, upstream: Upstream) -> None:
        """Tell a legacy upstream the level."""
        state = upstream.state
        if not self.level or state.phase != "ready" or state.era == "modern":
            return
        if "logging" not in state.capabilities:
            return
        try:
            upstream.request("logging/setLevel", {"level": self.level}, _ignore)
        except UpstreamError:
            return  # it broke in between; when it comes back it is told

    def message(self, upstream: Upstream, params: JsonObject | None) -> None:
        """notifications/message: to a modern client only while a request that wants it runs there."""
        if self._client.era == "legacy":
            if self._client.listening:
                self._client.notify("notifications/message", params)
            return
        wanting = [
            one for one in self._client.open.values() if one.upstream is upstream and _wants(one, params)
        ]
        if wanting:
            wanting[-1].send({"jsonrpc": "2.0", "method": "notifications/message", "params": params or {}})


def _wants(exchange: Exchange, params: JsonObject | None) -> bool:
    wanted, level = exchange.meta.get(LOG_LEVEL), (params or {}).get("level")
    return wanted in LEVELS and level in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)


def _ignore(_: Reply) -> None:
    return
