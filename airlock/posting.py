"""Where a POST of JSON to a webhook may go, and sending it there.

`https` only, except towards loopback. A name that leads to a private address is refused at connect time. The
answer's body is not read.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from airlock.errors import AirlockError
from airlock.reach import Inside, loopback, public
from airlock.values import dataclass

FAILURES = (OSError, ValueError)
"""What `post` raises when it may help to try again."""

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which it may help to try again."""

_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding"})


class Undeliverable(AirlockError):
    """The webhook cannot be delivered; trying again would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, taken apart once. `anywhere`: the URL names an address, and it may lie inside."""

    host: str
    port: int
    path: str
    tls: bool
    anywhere: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The parts of a URL of the config; Undeliverable when it is not one that may be used."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Undeliverable(f"`{url}` is not a URL: {error}") from None
        tls = parts.scheme == "https"
        if not host or parts.username is not None or parts.scheme not in {"http", "https"}:
            raise Undeliverable(f"`{url}` is not an https URL without user and password")
        if not tls and not loopback(host):
            raise Undeliverable(f"`{url}` is not https: plain http is for loopback only")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(ord(char) <= 32 or ord(char) > 126 for char in path + host):
            raise Undeliverable(f"`{url}` holds characters that a URL must escape")
        anywhere = host == "localhost" or _is_address(host)
        return cls(host=host, port=port or (443 if tls else 80), path=path, tls=tls, anywhere=anywhere)

    @classmethod
    def of_stranger(cls, url: str) -> Target:
        """The parts of a URL that came over an API: it may name loopback, but no other private address."""
        target = cls.of(url)
        if not target.anywhere or loopback(target.host):
            return target
        if not public(target.host):
            raise Undeliverable(f"`{target.host}` is a private address")
        return replace(target, anywhere=False)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def post(
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> int:
    """The status of the answer; Undeliverable, or one of FAILURES."""
    from airlock.outgoing import Outgoing, send  # a config that names a webhook is read without it

    wanted = Outgoing(
        method="POST",
        tls=target.tls,
        host=target.host,
        port=target.port,
        target=target.path,
        headers=(("Content-Type", "application/json"), *_extra(headers)),
        body=body,
        anywhere=target.anywhere,
    )
    try:
        answer = await send(wanted, limit=0, seconds=seconds, tls=tls)
    except Inside as error:
        raise Undeliverable(f"{error}: name the address itself in the config") from None
    return answer.status


def _extra(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    from airlock.outgoing import is_header

    for name, text in headers.items():
        if not is_header(name, text):
            raise Undeliverable(
                f"header `{name}` cannot be sent: it holds a line end, a blank at its end or an odd character"
            )
    return [(name, text) for name, text in headers.items() if name.lower() not in _OWN_HEADERS]
