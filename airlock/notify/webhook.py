"""Tells people by a POST of JSON. Written on plain sockets: the address that was checked is the one used.

`https` only, except towards loopback; no redirects are followed; a name that leads to a private address is
refused at connect time, unless the config names a private address itself. The answer's body is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from airlock import __version__
from airlock.config import NotifyConfig, Secret
from airlock.errors import AirlockError
from airlock.model import ApprovalRequest
from airlock.notify.news import What, facts

log = logging.getLogger("airlock.notify")

TIME_LIMIT = 10.0
ATTEMPTS = 3
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding"})


class Undeliverable(AirlockError):
    """The webhook cannot be delivered; trying again would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, taken apart once."""

    host: str
    port: int
    path: str
    tls: bool
    literal: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The parts of a URL; Undeliverable when it is not one that may be used."""
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Undeliverable(f"`{url}` is not a URL: {error}") from None
        tls = parts.scheme == "https"
        literal = _address(host) is not None or host == "localhost"
        if not host or parts.username is not None or parts.scheme not in {"http", "https"}:
            raise Undeliverable(f"`{url}` is not an https URL without user and password")
        if not tls and not _loopback(host):
            raise Undeliverable(f"`{url}` is not https: plain http is for loopback only")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(ord(char) <= 32 or ord(char) > 126 for char in path + host):
            raise Undeliverable(f"`{url}` holds characters that a URL must escape")
        return cls(host=host, port=port or (443 if tls else 80), path=path, tls=tls, literal=literal)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not address.is_multicast


class WebhookNotifier:
    """Posts each piece of news, trying again a little later when the other side is busy."""

    def __init__(
        self,
        config: NotifyConfig,
        *,
        seconds: float = TIME_LIMIT,
        pause: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = config.url
        self._headers = config.headers
        self._seconds = seconds
        self._pause = pause
        self._tls = tls

    async def opened(self, request: ApprovalRequest) -> None:
        """Tell that a request waits."""
        await self._tell("opened", request)

    async def settled(self, request: ApprovalRequest) -> None:
        """Tell that a request ended."""
        await self._tell("settled", request)

    async def _tell(self, what: What, request: ApprovalRequest) -> None:
        body = json.dumps(facts(what, request)).encode()
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(self._seconds):
                    status = await self._post(body)
            except Undeliverable as error:
                log.warning("notify: %s", error)
                return
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
                problem = str(error) or type(error).__name__
                continue
            if status < 300:
                return
            problem = f"it answered {status}"
            if status not in _TEMPORARY:
                break
        log.warning("notify: webhook `%s` not delivered: %s", self._shown(), problem)

    def _shown(self) -> str:
        """The address without its query, which often holds a key."""
        return self._url.partition("?")[0]

    async def _post(self, body: bytes) -> int:
        target = Target.of(self._url)
        head = _head(target, self._headers, len(body))
        connection = await _connect(target)
        try:
            reader, writer = await asyncio.open_connection(
                sock=connection,
                ssl=(self._tls or ssl.create_default_context()) if target.tls else None,
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
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    usable = [one for one in found if target.literal or _public(str(one[4][0]))]
    if not usable:
        raise Undeliverable(
            f"`{target.host}` leads to a private address: name the address itself in the config"
        )
    family, kind, protocol, _, address = usable[0]
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _head(target: Target, headers: Mapping[str, Secret], length: int) -> bytes:
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


def _extra(headers: Mapping[str, Secret]) -> list[str]:
    rows: list[str] = []
    for name, value in headers.items():
        text = value.reveal()
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
