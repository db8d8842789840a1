"""What an agent may have fetched: a request that leads nowhere inside, and says nothing in our name.

A URL has one spelling here, so that what a rule was asked about is what is fetched.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from airlock.errors import UsageError
from airlock.hooks.urls import host_of
from airlock.outgoing import USUAL_PORTS, WITHOUT_BODY, Outgoing, is_header
from airlock.reach import public

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "forwarded",
        "via",
        "x-real-ip",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Headers that frame the message, say how it travels, or that some servers take for the method or the path in
place of those that were judged: whoever asks does not write them."""

MOST_URL, MOST_HEADERS, MOST_HEADER_BYTES = 8_000, 64, 16_384
_ESCAPE = re.compile(r"%(?:[0-9A-F]{2})?", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9._~-]")
_DOTS = re.compile(r"/\.\.?(?:/|$)")


def planned(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, named: frozenset[str]
) -> Outgoing:
    """The request; UsageError when it may not be made. `named` are hosts of the config, as in URLs."""
    if method not in METHODS:
        raise UsageError(f"`operation` must be one of {', '.join(METHODS)}")
    if body and method in WITHOUT_BODY:
        raise UsageError(f"`params.body` does not go with {method}")
    host, port = _place(url)
    parts = urlsplit(url)
    anywhere = _is_named(host, port, parts.scheme, named)
    if not anywhere:
        _check_place(host, port)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Outgoing(
        method=method,
        tls=parts.scheme == "https",
        host=host,
        port=port,
        target=target,
        headers=_checked(headers),
        body=body,
        anywhere=anywhere,
    )


def _place(url: str) -> tuple[str, int]:
    """The host and the port of a URL that every reader reads alike, and that has no other spelling."""
    host, sure = host_of(url)
    if not sure or len(url) > MOST_URL or not url.isascii() or not url.isprintable():
        raise UsageError("`params.url` must be a plain http or https URL, without user names and blanks")
    parts = urlsplit(url)
    normal = _normal(url, host)
    if url != normal:
        raise UsageError(f"`params.url` must be in its normal form: {normal[:200]}")
    if _DOTS.search(parts.path):
        raise UsageError("`params.url` must be in its normal form: without `.` and `..` in its path")
    return host, parts.port or USUAL_PORTS[parts.scheme]


def _normal(url: str, host: str) -> str:
    """The one spelling: small letters in front, no usual port, a path, no empty query, no fragment, no escape
    that is not needed."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    split = re.search(r"[/?#]", rest)
    authority, after = (rest[: split.start()], rest[split.start() :]) if split else (rest, "")
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority.rpartition("]")[2] else ""
    number = int(port) if port else USUAL_PORTS[scheme]
    if not 0 < number < 65_536:
        raise UsageError("`params.url` must have a port from 1 to 65535")
    shown = f"[{host}]" if ":" in host else host
    place = shown if number == USUAL_PORTS[scheme] else f"{shown}:{number}"
    path, mark, query = _ESCAPE.sub(_escape, after.partition("#")[0]).partition("?")
    return f"{scheme}://{place}{path or '/'}{mark if query else ''}{query}"


def _escape(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) == 1:
        return "%25"  # a percent sign that begins no escape
    char = chr(int(text[1:], 16))
    return char if _PLAIN.match(char) else text.upper()


def _is_named(host: str, port: int, scheme: str, named: frozenset[str]) -> bool:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" in named or (shown in named and port == USUAL_PORTS[scheme])


def _check_place(host: str, port: int) -> None:
    """As far as the text can tell; the addresses of a name are looked at when it is fetched."""
    if port not in USUAL_PORTS.values():
        raise UsageError(f"`params.url` leads to port {port}: the config has to name it")
    with contextlib.suppress(ValueError):
        if not public(host):
            raise UsageError("`params.url` leads to an inner address: the config has to name it")


def _checked(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if len(headers) > MOST_HEADERS or sum(map(len, (*headers, *headers.values()))) > MOST_HEADER_BYTES:
        raise UsageError(
            f"`params.headers` must be at most {MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes"
        )
    if len({name.lower() for name in headers}) != len(headers):
        raise UsageError("`params.headers` has a header twice")
    for name, text in headers.items():
        if not is_header(name, text) or not text.isascii():
            raise UsageError(f"`params.headers` holds what is no header: `{name[:60]!r}`")
        plain = name.lower().replace("_", "-")  # some servers read both alike
        if plain in _OURS or plain.startswith(("proxy-", "x-forwarded-")):
            raise UsageError(f"`params.headers` may not hold `{name}`: leave it out")
    return tuple(headers.items())
