"""completion/complete: what a client may hear about the arguments of a prompt or a resource template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.model import Effect, JsonObject, Kind, Outcome, Proceed
from airlock.proxy.catalog import Catalog, Target
from airlock.proxy.router import Router
from airlock.proxy.session.calls import START_SECONDS, Calls
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.wire import INVALID_PARAMS, misspelt

if TYPE_CHECKING:
    from airlock.gate import Gate


_INSIDE = {
    "ref": frozenset({"type", "name", "uri"}),
    "argument": frozenset({"name", "value"}),
    "context": frozenset({"arguments"}),
}


class Completions:
    """Answers completions under the rule of what they complete; a person is never asked."""

    def __init__(self, client: Client, calls: Calls, catalog: Catalog, router: Router, gate: Gate) -> None:
        self._client = client
        self._calls = calls
        self._catalog = catalog
        self._router = router
        self._gate = gate

    def answer(self, exchange: Exchange, params: JsonObject) -> None:
        """completion/complete."""
        if odd := self._odd(params):
            self._client.fail(exchange, INVALID_PARAMS, odd)
            return
        exchange.task = self._client.spawn(self._complete_later(exchange, params))

    def _odd(self, params: JsonObject) -> str:
        """What one server would read otherwise than the next, inside the params."""
        inside = ((params.get(name), known) for name, known in _INSIDE.items())
        said = (misspelt(value, known) for value, known in inside if isinstance(value, dict))
        return next(filter(None, said), "")

    async def _complete_later(self, exchange: Exchange, params: JsonObject) -> None:
        ref = params.get("ref")
        ref = ref if isinstance(ref, dict) else {}
        found = self._completed(ref)
        if found is None and not self._router.settled():
            await self._router.settle(START_SECONDS, lambda: self._completed(ref) is not None)
            found = self._completed(ref)
        if found is None or "completions" not in found[1].upstream.state.capabilities:
            self._client.fail(exchange, INVALID_PARAMS, "`ref` names nothing that can be completed")
            return
        kind, target, sent = found
        call = self._client.call(
            kind, target.provider, target.name, _values(params), target.endpoint, params.get("_meta")
        )
        verdict = None
        if (await self._gate.preview(call)).effect is Effect.ALLOW:
            verdict = await self._gate.submit(call)
        if not isinstance(verdict, Proceed):
            self._client.succeed(exchange, {"completion": {"values": [], "hasMore": False}})
            return
        if exchange.over:
            self._calls.complete(verdict, Outcome.CANCELLED)
            return
        self._calls.send(exchange, target, kind, {**params, "ref": sent}, verdict)

    def _completed(self, ref: JsonObject) -> tuple[Kind, Target, JsonObject] | None:
        name, uri = ref.get("name"), ref.get("uri")
        if ref.get("type") == "ref/prompt" and isinstance(name, str):
            target = self._catalog.prompt(name)
            kind, sent = Kind.PROMPT, {**ref, "name": target.name if target else name}
        elif ref.get("type") == "ref/resource" and isinstance(uri, str):
            target = self._catalog.template(uri) or self._catalog.resource(uri)
            kind, sent = Kind.RESOURCE, ref
        else:
            return None
        return None if target is None or not target.shown else (kind, target, sent)


def _values(params: JsonObject) -> JsonObject:
    """What a completion tells of the arguments."""
    context, argument = params.get("context"), params.get("argument")
    known = context.get("arguments") if isinstance(context, dict) else None
    values: JsonObject = dict(known) if isinstance(known, dict) else {}
    if isinstance(argument, dict) and isinstance(argument.get("name"), str):
        values[argument["name"]] = argument.get("value")
    return values
