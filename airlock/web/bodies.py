"""Bodies, read within limits: of size, and of time, so that neither a flood nor a trickle holds us."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive

from airlock.canonical import parse_sent
from airlock.errors import UsageError
from airlock.web.errors import HttpError

MIB = 1 << 20
REST_LIMIT = MIB
READ_SECONDS = 15.0
SPILL = 4
"""How many times the limit is still read, and thrown away, so that the caller hears the answer."""


class Gone(Exception):
    """The caller closed the connection before the body was whole."""


async def read_body(receive: Receive, *, limit: int, seconds: float = READ_SECONDS) -> bytes:
    """The whole body; HttpError 413 when it is larger than `limit`, 408 when it does not come in time.

    What is over the limit is never kept; some of it is read on, because a connection that is closed on
    a caller who still writes loses the answer, and for a hook a lost answer is a yes.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise HttpError(408, f"the body did not arrive within {seconds:g} s") from None


async def _read(receive: Receive, limit: int) -> bytes:
    kept = bytearray()
    seen = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        seen += len(chunk)
        if seen <= limit:
            kept += chunk
        else:
            kept.clear()
        if not message.get("more_body", False) or seen > limit * SPILL:
            break
    if seen > limit:
        raise HttpError(413, f"the body is larger than {limit} bytes")
    return bytes(kept)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, an absent one as an empty one; WireError or UsageError otherwise."""
    if not body.strip():
        return {}
    value = parse_sent(body)
    if not isinstance(value, dict):
        raise UsageError("the body is not a JSON object")
    return value
