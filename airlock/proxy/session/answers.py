"""How a request that is not passed on is answered, and how one that was counts."""

from __future__ import annotations

from typing import Final

from airlock.model import JsonObject, Kind, Outcome, Refuse
from airlock.proxy.eras import DECISION, REFUSED, UNSUPPORTED_VERSION, VERSION
from airlock.proxy.link import Reply
from airlock.proxy.session.client import Client, Exchange
from airlock.proxy.wire import INTERNAL_ERROR, INVALID_PARAMS, error_frame

_SUCCESS: Final = (Outcome.SUCCESS, "")

NOT_FOUND: Final = {"legacy": -32002, "modern": INVALID_PARAMS}


class Answers:
    """The answers of our own to one client's gated requests."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def refused(self, exchange: Exchange, kind: Kind, refuse: Refuse) -> None:
        """A refusal in the form that the model gets to read: a tool's result, an error for the rest."""
        text, decision = refusal_text(refuse), decision_of(refuse)
        if kind is not Kind.TOOL:
            self._client.fail(exchange, REFUSED, text, {DECISION: decision})
            return
        content = [{"type": "text", "text": text}]
        self._client.succeed(exchange, {"content": content, "isError": True, "_meta": {DECISION: decision}})

    def unavailable(self, exchange: Exchange, kind: Kind, reason: str) -> None:
        """The upstream cannot do it now, and why."""
        if kind is Kind.TOOL:
            content = [{"type": "text", "text": f"airlock: {reason}"}]
            self._client.succeed(exchange, {"content": content, "isError": True})
        else:
            self._client.fail(exchange, INTERNAL_ERROR, f"airlock: {reason}")

    def no_such(self, exchange: Exchange, kind: Kind, name: str) -> None:
        """There is nothing of that name, as far as this agent may know."""
        if kind is Kind.RESOURCE:
            code = NOT_FOUND[self._client.era or "legacy"]
            self._client.fail(exchange, code, "Resource not found", {"uri": name[:2_000]})
        else:
            self._client.fail(exchange, INVALID_PARAMS, f"Unknown {kind}: {name[:200]}")


def outcome_of(reply: Reply) -> tuple[Outcome, str]:
    """How a reply counts, and the short text that goes on record."""
    error = reply.get("error")
    if error is not None:
        return Outcome.ERROR, f"{error.get('code')}: {str(error.get('message', ''))[:200]}"
    result = reply.get("result")
    if isinstance(result, dict) and result.get("isError") is True:
        return Outcome.ERROR, "the tool reported an error"
    return _SUCCESS


def refusal_text(refuse: Refuse) -> str:
    """What the model reads: the reason and the rule, never a code or an id."""
    rule = f" (rule `{refuse.rule}`)" if refuse.rule and f"`{refuse.rule}`" not in refuse.reason else ""
    return f"airlock: {refuse.reason}{rule}"


def decision_of(refuse: Refuse) -> JsonObject:
    """The machine's half of a refusal, for `_meta`."""
    decision: JsonObject = {"effect": str(refuse.effect), "rule": refuse.rule}
    if refuse.request_id:
        decision["request_id"] = refuse.request_id
    return decision


def asked_name(exchange: Exchange) -> str:
    """What the client called the thing it asked for."""
    name = exchange.params.get("name", exchange.params.get("uri", ""))
    return name if isinstance(name, str) else ""


def unsupported(exchange: Exchange, versions: tuple[str, ...]) -> JsonObject:
    """The error for a request of the other era, or of a version that is not spoken here."""
    asked = exchange.params.get("protocolVersion") or exchange.meta.get(VERSION)
    data = {"supported": list(versions), "requested": asked if isinstance(asked, str) else ""}
    text = f"this connection speaks {versions[-1]} already"
    return error_frame(exchange.id, UNSUPPORTED_VERSION, text, data)
