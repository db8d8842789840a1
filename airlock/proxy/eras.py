"""The two protocol eras as frames: versions, the modern envelope, and results on their way between them."""

from __future__ import annotations

from typing import Any, Final

from airlock.errors import WireError
from airlock.model import JsonObject
from airlock.proxy.link import Era, Reply

LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS: Final = ("2026-07-28",)

PREFIX: Final = "io.modelcontextprotocol/"
VERSION: Final = PREFIX + "protocolVersion"
CAPABILITIES: Final = PREFIX + "clientCapabilities"
CLIENT_INFO: Final = PREFIX + "clientInfo"
LOG_LEVEL: Final = PREFIX + "logLevel"
SERVER_INFO: Final = PREFIX + "serverInfo"
SUBSCRIPTION: Final = PREFIX + "subscriptionId"
ENVELOPE: Final = frozenset({VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL})

DECISION: Final = "io.airlock/decision"
TOOL_USE_ID: Final = "claudecode/toolUseId"

MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
NOT_FOUND_LEGACY: Final = -32002
REFUSED: Final = 403
"""Our own error code for a refused resource or prompt; the specification keeps -32768..-32000 for others."""

TASKS: Final = PREFIX + "tasks"
"""The one extension that is passed on: what is not understood could go round the policy."""

TASK: Final = "task"
COMPLETE: Final = "complete"
INPUT_REQUIRED: Final = "input_required"

MODERN_ONLY: Final = frozenset(
    {"server/discover", "subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel"}
)
LEGACY_ONLY: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
)
_CACHEABLE: Final = frozenset({"resources/read"})


class EnvelopeError(WireError):
    """A modern request whose envelope cannot be accepted; `data` goes into the error."""

    def __init__(self, message: str, *, code: int, data: JsonObject | None = None) -> None:
        self.data = data
        super().__init__(message, code=code)


def is_modern(params: Any) -> bool:
    """True when the params carry a modern envelope, right or wrong."""
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and VERSION in meta


def check_envelope(params: JsonObject | None) -> JsonObject:
    """The `_meta` of a modern request, with its required pair; EnvelopeError otherwise."""
    meta = (params or {}).get("_meta")
    if not isinstance(meta, dict) or not isinstance(meta.get(VERSION), str):
        raise EnvelopeError(f"`_meta` must carry `{VERSION}`", code=-32602)
    if meta[VERSION] not in MODERN_VERSIONS:
        data = {"supported": list(MODERN_VERSIONS), "requested": meta[VERSION]}
        raise EnvelopeError("unsupported protocol version", code=UNSUPPORTED_VERSION, data=data)
    if not isinstance(meta.get(CAPABILITIES), dict):
        raise EnvelopeError(f"`_meta` must carry `{CAPABILITIES}`", code=-32602)
    return meta


def declares_tasks(capabilities: Any) -> bool:
    """True for the capabilities of a client that can take a task for an answer."""
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    return isinstance(extensions, dict) and isinstance(extensions.get(TASKS), dict)


def passed_on(capabilities: JsonObject, allowed: frozenset[str]) -> JsonObject:
    """A client's capabilities as an upstream may rely on them: what is known, less what is denied it."""
    found = {name: value for name, value in capabilities.items() if name in allowed}
    if declares_tasks(capabilities):
        found["extensions"] = {TASKS: capabilities["extensions"][TASKS]}
    return found


def legacy_version(wanted: Any) -> str:
    """The version to answer `initialize` with: the client's when it is known, else the latest."""
    return wanted if wanted in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]


def reply_for(client_era: Era, upstream_era: Era, method: str, reply: Reply) -> Reply:
    """A reply on its way to the client, in the client's era; the same object when nothing differs."""
    result = reply.get("result")
    if "error" in reply or (type(result) is dict and "_meta" in result):
        reply = _unmarked(reply)
    if client_era == upstream_era == "legacy":
        return reply
    if "error" in reply:
        return _error_for(client_era, reply)
    result = reply.get("result")
    if not isinstance(result, dict):
        return reply
    if client_era == "legacy":
        return {"result": _legacy_result(method, result)}
    return {"result": _modern_result(upstream_era, method, result)}


def _unmarked(reply: Reply) -> Reply:
    """Without the mark of Airlock's own refusals, which no server may put on its answers."""
    kind, place = ("error", "data") if "error" in reply else ("result", "_meta")
    body = reply.get(kind)
    members = body.get(place) if type(body) is dict else None
    if body is None or type(members) is not dict or DECISION not in members:
        return reply
    return {kind: {**body, place: {name: value for name, value in members.items() if name != DECISION}}}


def _error_for(client_era: Era, reply: Reply) -> Reply:
    if client_era == "modern" and reply["error"].get("code") == NOT_FOUND_LEGACY:
        return {"error": {**reply["error"], "code": -32602}}
    return reply


def _legacy_result(method: str, result: JsonObject) -> JsonObject:
    dropped = {"resultType"} | ({"ttlMs", "cacheScope"} if method in _CACHEABLE else set())
    return {name: value for name, value in result.items() if name not in dropped}


def _modern_result(upstream_era: Era, method: str, result: JsonObject) -> JsonObject:
    changed: JsonObject = {}
    if upstream_era == "legacy":
        # An older server cannot mean anything by it, and must not make the client ask its person.
        changed["resultType"] = COMPLETE
    if method in _CACHEABLE and result.get("resultType", COMPLETE) == COMPLETE:
        changed["cacheScope"] = "private"
        if upstream_era == "legacy" or "ttlMs" not in result:
            changed["ttlMs"] = 0
    return {**result, **changed} if changed else result


def result_type(upstream_era: Era, reply: Reply) -> str:
    """`complete` unless a modern upstream said otherwise."""
    result = reply.get("result")
    if upstream_era == "legacy" or not isinstance(result, dict):
        return COMPLETE
    found = result.get("resultType", COMPLETE)
    return found if isinstance(found, str) else "?"


def declares(capabilities: JsonObject, method: str, params: JsonObject | None) -> bool:
    """True when a client with these capabilities may be sent that request."""
    if method == "roots/list":
        return isinstance(capabilities.get("roots"), dict)
    if method == "sampling/createMessage":
        return isinstance(capabilities.get("sampling"), dict)
    if method != "elicitation/create" or not isinstance(capabilities.get("elicitation"), dict):
        return False
    modes = capabilities["elicitation"]
    if (params or {}).get("mode", "form") == "url":
        return "url" in modes
    return "form" in modes or "url" not in modes
