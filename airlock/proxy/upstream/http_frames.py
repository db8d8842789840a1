"""Between our frames and the SDK's messages, and its rules for mirrored arguments. Slow to import."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from airlock.model import JsonObject

__all__ = ["bounded", "learn_mirrors", "mcp_param_headers", "to_frame", "to_session"]

Mirrors = dict[str, dict[tuple[str, ...], str]]
"""Per tool: which of its arguments the server wants repeated in a header."""


def to_session(frame: JsonObject) -> SessionMessage:
    """One of our frames."""
    message: JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError
    if "method" not in frame:
        message = (JSONRPCError if "error" in frame else JSONRPCResponse).model_validate(frame)
    elif "id" in frame:
        message = JSONRPCRequest.model_validate(frame)
    else:
        message = JSONRPCNotification.model_validate(frame)
    return SessionMessage(message)


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
