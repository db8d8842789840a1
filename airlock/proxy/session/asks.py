"""What upstreams ask the client (sampling, roots, elicitation), checked and put to it under our own ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from airlock.config import ProviderConfig
from airlock.errors import StoreError
from airlock.model import JsonObject
from airlock.proxy.eras import declares
from airlock.proxy.link import Reply, Upstream
from airlock.proxy.router import Router
from airlock.proxy.session.client import Client
from airlock.proxy.session.speaking import named
from airlock.proxy.wire import INVALID_REQUEST, METHOD_NOT_FOUND
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.gate import Gate

MAX_ASKS: Final = 64
"""Open questions of one upstream; more are answered with an error."""

METHODS: Final = {
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
    "elicitation/create": "elicitation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question that is open at the client."""

    upstream: Upstream
    request_id: str | int | None
    token: str | int | None
    on_answer: Callable[[Reply], None]


class Asks:
    """The questions that are open at a legacy client; and for both eras, what may be asked at all."""

    def __init__(self, client: Client, gate: Gate, router: Router) -> None:
        self._client = client
        self._gate = gate
        self._router = router
        self._open: dict[int, Ask] = {}
        self._count = 0

    def forbidden(
        self, provider: str, method: str, params: JsonObject | None, capabilities: JsonObject
    ) -> str:
        """Why this upstream may not ask that of this client; "" when it may."""
        name = METHODS.get(method)
        if name is None:
            return f"`{method[:80]}` is not known"
        config: ProviderConfig = self._router.config.providers[provider]
        if not getattr(config, name):
            return f"`{method}` is denied to `{provider}`"
        if not declares(capabilities, method, params):
            return f"the client does not support `{method}`"
        return ""

    async def paused(self) -> bool:
        """True while nothing of this agent may go on, or when that cannot be told."""
        try:
            controls = await self._gate.store.controls()
        except StoreError:
            return True
        return controls.paused(self._client.seat.principal.name)

    def labelled(self, provider: str, method: str, params: JsonObject | None) -> JsonObject | None:
        """The question as the client's person sees it: an elicitation says which server asks."""
        message = (params or {}).get("message")
        if method != "elicitation/create" or params is None or not isinstance(message, str):
            return params
        return {**params, "message": named(provider, message)}

    def record(self, provider: str, method: str, *, why_not: str = "") -> None:
        """Note in the audit log that an upstream asked, and whether it was let through."""
        body = {"provider": provider, "method": method, "effect": "deny" if why_not else "allow"}
        if why_not:
            body["reason"] = why_not
        agent = self._client.seat.principal.name
        self._client.finish(self._gate.remark("upstream.asked", body, agent=agent))

    def asked(
        self, upstream: Upstream, request_id: str | int, method: str, params: JsonObject | None
    ) -> None:
        """A legacy upstream asks a legacy client."""
        why_not = self.forbidden(upstream.name, method, params, self._client.capabilities)
        if not why_not and not self._client.listening:
            why_not = "the client is not ready"
        if why_not:
            self.refuse(upstream, request_id, method, why_not)
            return
        if self._open_for(upstream) >= MAX_ASKS:
            error = {"code": INVALID_REQUEST, "message": f"more than {MAX_ASKS} requests are open"}
            upstream.respond(request_id, {"error": error})
            return
        self.record(upstream.name, method)
        self.put(upstream, method, params, partial(upstream.respond, request_id), request_id=request_id)

    def refuse(self, upstream: Upstream, request_id: str | int, method: str, why_not: str) -> None:
        """Answer an upstream that it may not ask that."""
        if method in METHODS:
            self.record(upstream.name, method, why_not=why_not)
        upstream.respond(request_id, {"error": {"code": METHOD_NOT_FOUND, "message": why_not}})

    def put(
        self,
        upstream: Upstream,
        method: str,
        params: JsonObject | None,
        on_answer: Callable[[Reply], None],
        *,
        request_id: str | int | None = None,
    ) -> int:
        """Put a question to the client; `on_answer` gets its reply."""
        self._count += 1
        own = self._count
        params = self.labelled(upstream.name, method, params)
        params, token = _own_token(params, own)
        self._open[own] = Ask(upstream=upstream, request_id=request_id, token=token, on_answer=on_answer)
        frame: JsonObject = {"jsonrpc": "2.0", "id": own, "method": method}
        if params is not None:
            frame["params"] = params
        self._client.send(frame)
        return own

    def answered(self, frame: JsonObject) -> None:
        """The client's reply; one that nobody waits for, or a second one, goes nowhere."""
        ask = self._open.pop(frame["id"], None) if type(frame["id"]) is int else None
        if ask is not None:
            ask.on_answer({"error": frame["error"]} if "error" in frame else {"result": frame["result"]})

    def progressed(self, params: JsonObject) -> None:
        """The client's progress on a question goes to the one who asked, under its own token."""
        own = params.get("progressToken")
        ask = self._open.get(own) if isinstance(own, int) else None
        if ask is not None and ask.token is not None:
            ask.upstream.notify("notifications/progress", {**params, "progressToken": ask.token})

    def withdrew(self, upstream: Upstream, request_id: str | int) -> None:
        """The upstream withdrew a question: the client is told."""
        for own, ask in list(self._open.items()):
            if ask.upstream is upstream and ask.request_id == request_id and ask.request_id is not None:
                self._take_back(own, "the server withdrew it")

    def broke(self, upstream: Upstream) -> None:
        """The upstream is gone, and its questions with it."""
        for own, ask in list(self._open.items()):
            if ask.upstream is upstream:
                self._take_back(own, "the server is gone")

    def _take_back(self, own: int, reason: str) -> None:
        del self._open[own]
        self._client.notify("notifications/cancelled", {"requestId": own, "reason": reason})

    def _open_for(self, upstream: Upstream) -> int:
        return Counter(ask.upstream.name for ask in self._open.values())[upstream.name]


def _own_token(params: JsonObject | None, own: int) -> tuple[JsonObject | None, str | int | None]:
    """Tokens of two upstreams may be the same: the client gets one of ours instead."""
    meta = (params or {}).get("_meta")
    if params is None or not isinstance(meta, dict) or "progressToken" not in meta:
        return params, None
    token = meta["progressToken"]
    return {**params, "_meta": {**meta, "progressToken": own}}, token if type(token) in (str, int) else None
