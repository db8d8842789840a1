"""Host and Origin checks: a page that rebinds a name to us, or posts across sites, gets nowhere.

They hold on every address that we listen on. `Host` must be a loopback name, the address that the
gateway is bound to, or listed in `server.allowed_hosts`. `Origin` is absent for programs; a browser's
must be this very host, or listed in `server.allowed_origins`; other ports of loopback only count while
a secret is set, since without one any page there could decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from airlock.config import ServerConfig
from airlock.reach import loopback

ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never bound


class Refused(NamedTuple):
    """Why a request is not for us: 421 for its Host, 403 for its Origin."""

    status: int
    reason: str


def split_authority(text: str) -> tuple[str, int | None] | None:
    """Host in lower case and port of `host`, `host:port`, `[v6]:port`; None when it is none of these."""
    if not text or len(text) > 260 or any(mark in text for mark in "/\\@?# \t,") or not text.isascii():
        return None
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or (text.endswith(":") or port == 0):
        return None
    return host.rstrip("."), port


def check(
    hosts: Iterable[str], origins: Iterable[str], *, server: ServerConfig, bound: str = ""
) -> Refused | None:
    """None when the request may go on. `hosts` and `origins` are all the headers of that name."""
    named = list(hosts)
    authority = split_authority(named[0]) if len(named) == 1 else None
    if authority is None or not _host_allowed(authority, named[0], server, bound):
        return Refused(421, "this host is not served here: add it to `server.allowed_hosts`")
    sent = list(origins)
    if not sent:
        return None
    if len(sent) > 1 or not _origin_allowed(sent[0], authority, server):
        return Refused(403, "Origin not allowed")
    return None


def _host_allowed(authority: tuple[str, int | None], written: str, server: ServerConfig, bound: str) -> bool:
    host = authority[0]
    if loopback(host):
        return True
    mine = {name.lower() for name in (server.host, bound)} - ANY_ADDRESS
    listed = {name.lower() for name in server.allowed_hosts}
    return host in mine or host in listed or written.lower() in listed


def _origin_allowed(origin: str, authority: tuple[str, int | None], server: ServerConfig) -> bool:
    if origin in server.allowed_origins or origin.lower() in server.allowed_origins:
        return True
    scheme, mark, rest = origin.partition("://")
    theirs = split_authority(rest) if mark and scheme.lower() in {"http", "https"} else None
    if theirs is None:
        return False
    default = 443 if scheme.lower() == "https" else 80
    if (theirs[0], theirs[1] or default) == (authority[0], authority[1] or default):
        return True
    return bool(server.api_secret) and loopback(theirs[0])
