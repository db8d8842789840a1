"""One guarded POST of JSON, on plain sockets: the address that was checked is the one that is used.

`https` only, except towards loopback; no redirects are followed; a name that leads to a private address is
refused at connect time. The answer's body is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from airlock import __version__
from airlock.errors import AirlockError
from airlock.reach import Inside, dial, public
from airlock.values import dataclass

FAILURES = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError)
"""What `post` raises when it may help to try again."""

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which it may help to try again."""

_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding"})


class Undeliverable(AirlockError):
    """The webhook cannot be delivered; trying again would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, taken apart once. `literal`: the URL names the address itself, or this machine."""

    host: str
    port: int
    path: str
    tls: bool
    literal: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The parts of a URL; Undeliverable when it is not one that may be used."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Undeliverable(f"`{url}` is not a URL: {error}") from None
        tls = parts.scheme == "https"
        literal = _address(host) is not None or host == "localhost"
        if not host or parts.username is not None or parts.scheme not in {"http", "https"}:
            raise Undeliverable(f"`{url}` is not an https URL without user and password")
        if not tls and not loopback(host):
            raise Undeliverable(f"`{url}` is not https: plain http is for loopback only")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(ord(char) <= 32 or ord(char) > 126 for char in path + host):
            raise Undeliverable(f"`{url}` holds characters that a URL must escape")
        return cls(host=host, port=port or (443 if tls else 80), path=path, tls=tls, literal=literal)

    @classmethod
    def of_stranger(cls, url: str) -> Target:
        """The parts of a URL that came over an API: it may name loopback, but no other private address."""
        target = cls.of(url)
        if target.literal and not loopback(target.host) and not public(target.host):
            raise Undeliverable(f"`{target.host}` is a private address")
        return target


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def loopback(host: str) -> bool:
    """True for this machine by its name or address, without asking for it."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


async def post(
    target: Target, headers: Mapping[str, str], body: bytes, *, tls: ssl.SSLContext | None = None
) -> int:
    """The status of the answer; Undeliverable, or one of FAILURES. Bound it in time."""
    head = _head(target, headers, len(body))
    connection = await _connect(target)
    try:
        reader, writer = await asyncio.open_connection(
            sock=connection,
            ssl=(tls or ssl.create_default_context()) if target.tls else None,
            server_hostname=target.host if target.tls else None,
        )
    except BaseException:
        connection.close()
        raise
    try:
        writer.write(head + body)
        await writer.drain()
        return _status(await reader.readline())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connect(target: Target) -> socket.socket:
    """A socket to the first address that may be used; the check and the use are of the same address."""
    try:
        return await dial(target.host, target.port, usable=lambda one: target.literal or public(one))
    except Inside as error:
        raise Undeliverable(f"{error}: name the address itself in the config") from None


def _head(target: Target, headers: Mapping[str, str], length: int) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    rows = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {host}:{target.port}",
        f"User-Agent: airlock/{__version__}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
        *_extra(headers),
    ]
    return ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1")


def _extra(headers: Mapping[str, str]) -> list[str]:
    rows: list[str] = []
    for name, text in headers.items():
        if any(char in name + text for char in "\r\n\0"):
            raise Undeliverable(f"header `{name}` holds a line end")
        if name.lower() not in _OWN_HEADERS:
            rows.append(f"{name}: {text}")
    return rows


def _status(first: bytes) -> int:
    pieces = first.split(b" ", 2)
    if len(pieces) < 2 or not pieces[0].startswith(b"HTTP/1.") or not pieces[1].isdigit():
        raise ValueError("it does not speak HTTP")
    return int(pieces[1])
