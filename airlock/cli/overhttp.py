"""A client that is not Airlock's over HTTP: it posts hooks as Claude Code does, and speaks MCP to a gateway.

On the standard library, in a thread: `doctor` is in no hurry, and a stand-in that shared the gateway's own
code could share its mistakes.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from airlock.cli.replay import is_waiting
from airlock.errors import UpstreamError
from airlock.model import JsonObject
from airlock.values import dataclass

SECONDS: Final = 20.0
BOTH: Final = "application/json, text/event-stream"
_LINE_LIMIT: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one request."""

    status: int
    airlock: bool
    body: bytes


@contextmanager
def _sent(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float
) -> Iterator[http.client.HTTPResponse]:
    """One request on a connection of its own; UpstreamError when nothing answers."""
    place = urlsplit(url)
    secure = place.scheme == "https"
    make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    path = f"{place.path or '/'}?{place.query}" if place.query else place.path or "/"
    connection = make(place.hostname or "", place.port or (443 if secure else 80), timeout=seconds)
    try:
        connection.request(method, path, body, dict(headers))
        with connection.getresponse() as response:
            yield response
    except TimeoutError:
        raise UpstreamError(f"no answer within {seconds:g}s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise UpstreamError(said.lower()) from None
    finally:
        connection.close()


def post(url: str, payload: Any, headers: Mapping[str, str], seconds: float = SECONDS) -> Answer:
    """Post JSON and read the whole answer; UpstreamError when nothing answers."""
    head = {"Content-Type": "application/json", **headers}
    with _sent("POST", url, head, json.dumps(payload).encode(), seconds) as response:
        body = response.read(_LINE_LIMIT)
        return Answer(status=response.status, airlock="X-Airlock" in response.headers, body=body)


class McpClient:
    """One MCP session at `/agents/NAME/mcp`, in the era that today's clients speak."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._next = 0
        self._headers = {"Content-Type": "application/json", "Accept": BOTH}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def initialize(self) -> None:
        """Shake hands; UpstreamError when the gateway will have none of it."""
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "claude-code", "version": "2.1.328"},
        }
        self._result("initialize", params)
        self._headers["MCP-Protocol-Version"] = "2025-11-25"
        self._tell("notifications/initialized", {})

    def tools(self) -> list[JsonObject]:
        """All tools, page by page."""
        found: list[JsonObject] = []
        cursor: Any = None
        while True:
            result = self._result("tools/list", {"cursor": cursor} if cursor else {})
            found += result.get("tools", [])
            cursor = result.get("nextCursor")
            if not cursor:
                return found

    def call(self, name: str, arguments: JsonObject) -> JsonObject | None:
        """The whole response of a tool call; None once it waits for a person, and was given up."""
        token = self._next + 1
        params = {"name": name, "arguments": arguments, "_meta": {"progressToken": token}}
        for frame in self._frames("tools/call", params):
            if "method" not in frame:
                return frame
            if frame["method"] == "notifications/progress" and is_waiting(frame.get("params") or {}):
                self._tell("notifications/cancelled", {"requestId": token, "reason": "user-cancel"})
                return None
        raise UpstreamError("the gateway ended the answer before it was whole")

    def close(self) -> None:
        """End the session."""
        with suppress(UpstreamError), _sent("DELETE", self._url, self._headers, None, SECONDS):
            return

    def _result(self, method: str, params: JsonObject) -> JsonObject:
        for frame in self._frames(method, params):
            if "error" in frame:
                raise UpstreamError(str((frame["error"] or {}).get("message", "")))
            if "result" in frame:
                return dict(frame["result"])
        raise UpstreamError(f"no answer to `{method}`")

    def _frames(self, method: str, params: JsonObject) -> Iterator[JsonObject]:
        self._next += 1
        body = _frame({"id": self._next, "method": method, "params": params})
        with _sent("POST", self._url, self._headers, body, SECONDS) as response:
            if response.status != 200:
                raise UpstreamError(f"the gateway answered {response.status}: {_words(response.read(2000))}")
            if session := response.headers.get("Mcp-Session-Id"):
                self._headers["Mcp-Session-Id"] = session
            if response.headers.get_content_type() == "text/event-stream":
                yield from _events(response)
            else:
                yield _parsed(response.read(_LINE_LIMIT))

    def _tell(self, method: str, params: JsonObject) -> None:
        body = _frame({"method": method, "params": params})
        with _sent("POST", self._url, self._headers, body, SECONDS) as response:
            response.read(_LINE_LIMIT)


def _frame(frame: JsonObject) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **frame}).encode()


def _events(response: http.client.HTTPResponse) -> Iterator[JsonObject]:
    """The messages of an event stream; those that only keep it open have no data."""
    data: list[bytes] = []
    while line := response.readline(_LINE_LIMIT):
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line.strip():
            text, data = b"\n".join(data), []
            if text:
                yield _parsed(text)


def _parsed(text: bytes) -> JsonObject:
    try:
        frame = json.loads(text)
    except ValueError:
        raise UpstreamError(f"the gateway answered no JSON: {_words(text)}") from None
    if not isinstance(frame, dict):
        raise UpstreamError("the gateway answered no JSON-RPC message")
    return frame


def _words(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
