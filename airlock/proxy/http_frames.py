"""Between our frames and the SDK's messages: the only module that knows the SDK's types. Slow to import."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx2
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from airlock.model import JsonObject
from airlock.proxy.eras import MODERN_VERSIONS

Mirrors = dict[str, dict[tuple[str, ...], str]]
"""Per tool: which of its arguments the server wants repeated in a header."""

_NAMES: Final = {
    **NAME_BEARING_METHODS,
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


def to_session(frame: JsonObject, version: str | None, mirrors: Mirrors) -> SessionMessage:
    """One of our frames with the headers that its era wants."""
    message: JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError
    if "method" not in frame:
        message = (JSONRPCError if "error" in frame else JSONRPCResponse).model_validate(frame)
    elif "id" in frame:
        message = JSONRPCRequest.model_validate(frame)
    else:
        message = JSONRPCNotification.model_validate(frame)
    return SessionMessage(message, metadata=ClientMessageMetadata(headers=_headers(frame, version, mirrors)))


def _headers(frame: JsonObject, version: str | None, mirrors: Mirrors) -> dict[str, str] | None:
    method = frame.get("method")
    if version is None or method == "initialize":
        return None
    headers = {MCP_PROTOCOL_VERSION_HEADER: version}
    if version not in MODERN_VERSIONS or not isinstance(method, str):
        return headers
    headers[MCP_METHOD_HEADER] = method
    params = frame.get("params") or {}
    name = params.get(_NAMES.get(method, ""))
    if isinstance(name, str):
        headers[MCP_NAME_HEADER] = encode_header_value(name)
        if method == "tools/call" and name in mirrors:
            headers.update(mcp_param_headers(mirrors[name], params.get("arguments") or {}))
    return headers


def to_frame(item: SessionMessage) -> JsonObject:
    """A message as a frame; nothing in params and results is touched."""
    message = item.message
    frame: JsonObject = {"jsonrpc": "2.0"}
    if isinstance(message, (JSONRPCRequest, JSONRPCNotification)):
        if isinstance(message, JSONRPCRequest):
            frame["id"] = message.id
        frame["method"] = message.method
        if message.params is not None:
            frame["params"] = message.params
        return frame
    frame["id"] = message.id
    if isinstance(message, JSONRPCResponse):
        frame["result"] = message.result
    else:
        frame["error"] = message.error.model_dump(by_alias=True, exclude_unset=True)
    return frame


def learn_mirrors(frame: JsonObject, mirrors: Mirrors, log: logging.Logger) -> None:
    """Note which arguments go into headers; a tool that asks for an impossible header is left out.

    So the specification wants it of HTTP clients (2026-07-28, custom headers).
    """
    result = frame.get("result")
    tools = result.get("tools") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(tools, list):
        return
    kept = [tool for tool in tools if _mirrored(tool, mirrors, log)]
    if len(kept) != len(tools):
        result["tools"] = kept


def _mirrored(tool: Any, mirrors: Mirrors, log: logging.Logger) -> bool:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        return True
    schema = tool.get("inputSchema")
    problem = find_invalid_x_mcp_header(schema)
    if problem:
        log.warning("tool `%s` is left out: %s", tool["name"], problem)
        return False
    found = x_mcp_header_map(schema)
    if found:
        mirrors[tool["name"]] = found
    else:
        mirrors.pop(tool["name"], None)
    return True


def request_id(body: bytes) -> Any:
    """The id of the request in a POST of ours; None when it has none."""
    frame = json.loads(body)
    return frame.get("id") if "method" in frame else None


class _Followed(httpx2.AsyncByteStream):
    """A response body whose end is told."""

    def __init__(self, inner: Any, on_end: Callable[[], None]) -> None:
        self._inner = inner
        self._on_end = on_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk
        self._on_end()

    async def aclose(self) -> None:
        await self._inner.aclose()


def followed(inner: Any, on_end: Callable[[], None]) -> _Followed:
    """The same body; `on_end` is called when it has ended by itself."""
    return _Followed(inner, on_end)


class _Bounded(httpx2.AsyncByteStream):
    """A response body that fails once it is longer than the limit."""

    def __init__(self, inner: Any, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._limit:
                raise httpx2.StreamError(f"the answer is longer than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def bounded(inner: Any, limit: int) -> _Bounded:
    """The same body with an end."""
    return _Bounded(inner, limit)
