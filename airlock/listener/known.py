"""Heads of requests that were read before: byte for byte the same head says the same again.

A client that calls over one connection sends one head for all its calls, but for the number in
`Content-Length`. The parser has read and checked such a head once, and what it found is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.listener.post import WholePost

MOST = 512
LONGEST = 4_096
"""So many heads, of so many bytes each, are kept; the one that came first goes first."""

_LENGTH = b"content-length"
_KEPT = ("type", "asgi", "http_version", "scheme", "root_path", "method", "path", "raw_path", "query_string")
_END = b"\r\n\r\n"
_LENGTH_LINE = re.compile(rb"\r\nContent-Length: ([1-9][0-9]{0,7})\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the parser found in a head, but for the length of the body; and what the app found out from it."""

    scope: Mapping[str, Any]
    headers: Sequence[tuple[bytes, bytes]]
    place: int
    """Of `Content-Length` among the headers."""

    kept: dict[str, Any]

    def scope_for(self, body: bytes) -> dict[str, Any]:
        """The head's part of an ASGI scope for a request with this body."""
        headers = list(self.headers)
        headers[self.place] = (_LENGTH, b"%d" % len(body))
        return {**self.scope, "headers": headers}


class KnownHeads:
    """Heads whose requests the app took."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head of the one whole request in `data`, and its body; None when it is not known."""
        parts = _split(data)
        if parts is None:
            return None
        key, body = parts
        head = self._heads.get(key)
        return None if head is None else (head, body)

    def learn(self, data: bytes, post: WholePost) -> None:
        """Keep the head of what was read from `data`, where the parser too found just this request.

        A head in which a header stands twice is not kept: the length that is found here could be another one.
        """
        parts, headers = _split(data), tuple(post.scope["headers"])
        names = [name for name, _ in headers]
        if parts is None or parts[1] != post.body or len(set(names)) != len(names) or not post.lasting:
            return
        while len(self._heads) >= MOST:
            del self._heads[next(iter(self._heads))]
        scope = {name: post.scope[name] for name in _KEPT}
        self._heads[parts[0]] = Head(scope, headers, names.index(_LENGTH), post.kept)


def _split(data: bytes) -> tuple[bytes, bytes] | None:
    """The head without the number of its `Content-Length`, and the body; None where they do not fit."""
    end = data.find(_END, 0, LONGEST) + len(_END)
    length = _LENGTH_LINE.search(data, 0, end)
    if length is None or len(data) - end != int(length[1]):
        return None
    return data[: length.start(1)] + data[length.end(1) : end], data[end:]
