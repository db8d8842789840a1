"""The demo server as a function from frames to frames, in both protocol eras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import airlock
from airlock.demo.tools import TOOLS, Desk
from airlock.model import JsonObject

PREFIX: Final = "io.modelcontextprotocol/"
MODERN: Final = "2026-07-28"
LEGACY: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
NOTES: Final = "demo://notes"

INFO: Final = {"name": "airlock-demo", "title": "Airlock demo", "version": airlock.__version__}
INSTRUCTIONS: Final = (
    "A demo server that keeps notes in memory. It records emails and transfers and sends nothing."
)
CAPABILITIES: Final[JsonObject] = {"tools": {}, "resources": {}, "prompts": {}}
PROMPT: Final = {
    "name": "summarize",
    "title": "Summarize a note",
    "description": "Asks for a summary of one note.",
    "arguments": [{"name": "name", "description": "the note", "required": True}],
}
CACHED: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)


class _Fault(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code = code
        self.data = data
        super().__init__(message)


class DemoServer:
    """One connection to the demo server; the notes are its own."""

    def __init__(self, desk: Desk | None = None) -> None:
        self.desk = desk or Desk()
        self._methods: dict[str, Callable[[JsonObject], JsonObject]] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": lambda _: {},
            "tools/list": lambda _: {"tools": [tool.listing() for tool in TOOLS]},
            "tools/call": self._call,
            "resources/list": self._resources,
            "resources/templates/list": lambda _: {"resourceTemplates": []},
            "resources/read": self._read,
            "prompts/list": lambda _: {"prompts": [PROMPT]},
            "prompts/get": self._prompt,
        }

    def handle(self, frame: JsonObject) -> list[JsonObject]:
        """The frames that answer this one: none for a notification or a response."""
        if "method" not in frame or "id" not in frame:
            return []
        try:
            return [{"jsonrpc": "2.0", "id": frame["id"], "result": self._result(frame)}]
        except _Fault as fault:
            error: JsonObject = {"code": fault.code, "message": str(fault)}
            if fault.data is not None:
                error["data"] = fault.data
            return [{"jsonrpc": "2.0", "id": frame["id"], "error": error}]

    def _result(self, frame: JsonObject) -> JsonObject:
        method = frame["method"]
        params = frame.get("params")
        params = params if isinstance(params, dict) else {}
        modern = _is_modern(method, params)
        if method not in self._methods or (modern and method in {"initialize", "ping"}):
            raise _Fault(-32601, f"unknown method `{method}`")
        result = self._methods[method](params)
        if not modern:
            return result
        result = {"resultType": "complete", **result, "_meta": {PREFIX + "serverInfo": INFO}}
        return {**result, "ttlMs": 0, "cacheScope": "private"} if method in CACHED else result

    def _initialize(self, params: JsonObject) -> JsonObject:
        wanted = params.get("protocolVersion")
        version = wanted if wanted in LEGACY else LEGACY[-1]
        return {
            "protocolVersion": version,
            "capabilities": CAPABILITIES,
            "serverInfo": INFO,
            "instructions": INSTRUCTIONS,
        }

    def _discover(self, _: JsonObject) -> JsonObject:
        return {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, "instructions": INSTRUCTIONS}

    def _call(self, params: JsonObject) -> JsonObject:
        found = [tool for tool in TOOLS if tool.name == params.get("name")]
        arguments = params.get("arguments", {})
        if not found:
            raise _Fault(-32602, f"unknown tool `{params.get('name')}`")
        if not isinstance(arguments, dict):
            raise _Fault(-32602, "`arguments` must be an object")
        return found[0].call(self.desk, arguments)

    def _resources(self, _: JsonObject) -> JsonObject:
        listing = {
            "uri": NOTES,
            "name": "notes",
            "title": "All notes",
            "description": "Every note with its text.",
            "mimeType": "text/plain",
        }
        return {"resources": [listing]}

    def _read(self, params: JsonObject) -> JsonObject:
        if params.get("uri") != NOTES:
            data = {"uri": params.get("uri")}
            raise _Fault(-32602 if _enveloped(params) else -32002, "no such resource", data)
        text = "\n".join(f"{name}: {self.desk.notes[name]}" for name in sorted(self.desk.notes))
        return {"contents": [{"uri": NOTES, "mimeType": "text/plain", "text": text}]}

    def _prompt(self, params: JsonObject) -> JsonObject:
        arguments = params.get("arguments")
        name = arguments.get("name") if isinstance(arguments, dict) else None
        if params.get("name") != PROMPT["name"] or not isinstance(name, str):
            raise _Fault(-32602, "the prompt is `summarize` and needs the argument `name`")
        text = f"Summarize this note in one sentence:\n\n{self.desk.notes.get(name, '')}"
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def _enveloped(params: JsonObject) -> bool:
    meta = params.get("_meta")
    return isinstance(meta, dict) and PREFIX + "protocolVersion" in meta


def _is_modern(method: str, params: JsonObject) -> bool:
    if not _enveloped(params):
        if method == "server/discover":
            raise _Fault(-32602, f"`_meta` must carry `{PREFIX}protocolVersion`")
        return False
    meta = params["_meta"]
    version = meta[PREFIX + "protocolVersion"]
    if version != MODERN:
        raise _Fault(-32022, "unsupported version", {"supported": [MODERN], "requested": version})
    if not isinstance(meta.get(PREFIX + "clientCapabilities"), dict):
        raise _Fault(-32602, f"`_meta` must carry `{PREFIX}clientCapabilities`")
    return True
