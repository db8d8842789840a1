"""An HTTP client for what a login needs: it goes only where the server in the config may lead it.

A server names the addresses at which its metadata, its registration and its tokens are. Those must be https
(plain http only from this machine to this machine) and never further inside than the server itself: a server
on the internet leads to no private address, by name or number. The address that was checked is the one that
is used. Redirects are not followed here.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final
from urllib.request import getproxies

import httpx2

from airlock.errors import UpstreamError, why
from airlock.proxy.upstream.http_frames import bounded
from airlock.reach import loopback, reach

SECONDS: Final = 20.0
LIMIT: Final = 1024 * 1024


async def addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, or the address itself."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpstreamError(f"cannot find `{host}`: {why(error)}") from None
    return [str(one[4][0]) for one in found]


class Guard:
    """Where a server may lead a login."""

    def __init__(self, url: str, *named: str) -> None:
        self._home = httpx2.URL(url)
        self._named = {httpx2.URL(one).host for one in named if one} | {self._home.host}
        self._least: int | None = None

    def check(self, url: httpx2.URL) -> None:
        """UpstreamError when nothing may be sent there, as far as the text can tell."""
        shown = f"`{url.scheme}://{url.host}`"
        if url.userinfo:
            raise UpstreamError(f"its login leads to {shown} with a password in the address: refused")
        plain = url.scheme == "http" and loopback(url.host) and loopback(self._home.host)
        if url.scheme != "https" and not plain:
            raise UpstreamError(f"its login leads to {shown}, which is not https: refused")

    async def address(self, url: httpx2.URL) -> str:
        """The address to use for this URL; UpstreamError when it is further inside than the server is."""
        self.check(url)
        found = await addresses(url.host, url.port or 443)
        if url.host in self._named:
            return found[0]
        if self._least is None:
            home = await addresses(self._home.host, self._home.port or 443)
            self._least = min(map(reach, home))
        if min(map(reach, found)) < self._least:
            raise UpstreamError(f"its login leads to `{url.host}`, which is an inner address: refused")
        return found[0]


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects to the address that was checked; the name stays in the certificate check and in `Host`."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        # A connection is pooled by address: kept, it could serve a name whose certificate nobody checked.
        self._inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request and its answer."""
        address = await self._guard.address(request.url)
        if request.url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        name, request.url = request.url, request.url.copy_with(host=address)
        try:
            response = await self._inner.handle_async_request(request)
        finally:
            request.url = name
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = bounded(response.stream, LIMIT)
        return response

    async def aclose(self) -> None:
        """Close its connections."""
        await self._inner.aclose()


def guarded_client(guard: Guard, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
    """A client that goes where the guard lets it. Behind a proxy of the environment names are the proxy's."""
    if any(name in getproxies() for name in ("https", "all")):

        async def look(request: httpx2.Request) -> None:
            guard.check(request.url)

        return httpx2.AsyncClient(auth=auth, timeout=SECONDS, event_hooks={"request": [look]})
    return httpx2.AsyncClient(auth=auth, timeout=SECONDS, transport=GuardedTransport(guard))
