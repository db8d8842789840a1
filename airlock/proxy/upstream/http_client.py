"""HTTP to one server: the config's headers, its login, the environment's proxy, redirects that stay at home.

Nothing of our own client's is ever sent. Connections are kept for a moment and used again.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import airlock
from airlock.config import ProviderConfig
from airlock.errors import AirlockError, UpstreamError
from airlock.proxy.upstream.http_place import Place, followed, place_of, proxy_for
from airlock.proxy.upstream.http_wire import Answer, Broken, Tunnel, Wire
from airlock.proxy.upstream.http_words import said

if TYPE_CHECKING:
    from airlock.proxy.login.oauth import Keeper
    from airlock.proxy.login.tokens import Login

CONNECT_SECONDS: Final = 30.0

KEPT_SECONDS: Final = 4.0
"""How long an idle connection is kept: less than servers do, who hang up after five, so that no request
goes into a connection that is being closed.
"""

MOST_REDIRECTS: Final = 10


class Unreachable(Exception):
    """There is no connection, or it ended before there was an answer; the text is for a person."""


class HttpClient:
    """The connections to one server. `on_end` hears why there is no login any more."""

    def __init__(
        self, provider: ProviderConfig, keeper: Keeper | None, on_end: Callable[[str], None]
    ) -> None:
        self._keeper = keeper
        self._on_end = on_end
        self._home = place_of(provider.url)
        self._proxy = proxy_for(self._home)
        self._tls: ssl.SSLContext | None = None
        self._own = own_headers(provider, self._home)
        self._free: dict[tuple[str, str, int], list[Wire]] = {}
        self._open: set[Wire] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, method: str, headers: Mapping[str, str], data: bytes = b"") -> Answer:
        """The head of the answer, whatever it says. Unreachable without one; AirlockError for a login."""
        place = self._home
        for _ in range(MOST_REDIRECTS):
            answer = await self._authorized(method, place, headers, data)
            further = followed(place, answer, method)
            if further is None:
                break
            answer.release()
            place = further
        return answer

    async def _authorized(self, method: str, place: Place, headers: Mapping[str, str], data: bytes) -> Answer:
        """One request. A token that is refused is renewed, and the request sent once more: the server did
        nothing with it."""
        if self._keeper is None:
            return await self._once(method, place, headers, data)
        login = await self._had(self._keeper.current())
        answer = await self._once(method, place, _bearing(headers, login), data)
        if answer.status == 401:
            fresh = await self._had(self._keeper.renewed(login))
            answer.release()
            answer = await self._once(method, place, _bearing(headers, fresh), data)
        return answer

    async def _had(self, asking: Awaitable[Login]) -> Login:
        try:
            return await asking
        except AirlockError as error:
            self._on_end(str(error))
            raise

    async def _once(self, method: str, place: Place, headers: Mapping[str, str], data: bytes) -> Answer:
        try:
            wire = self._kept(place) or await self._connected(place)
            return await wire.ask(self._written(method, place, headers, data))
        except (OSError, TimeoutError, Broken) as error:
            raise Unreachable(self._why(error)) from None

    def _written(self, method: str, place: Place, headers: Mapping[str, str], data: bytes) -> bytes:
        """The request as it goes out."""
        target = place.target if self._proxy is None or place.secure else place.url
        lines = [f"{method} {target} HTTP/1.1", *self._own]
        if self._proxy is not None and not place.secure:
            lines += authorization(self._proxy)
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if data or method == "POST":
            lines.append(f"Content-Length: {len(data)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise UpstreamError("a header holds a line break")
        return "\r\n".join([*lines, "", ""]).encode("utf-8") + data

    # -- connections ---------------------------------------------------------------------------------

    def _kept(self, place: Place) -> Wire | None:
        kept = self._free.get(place.origin)
        oldest = asyncio.get_running_loop().time() - KEPT_SECONDS
        while kept:
            wire = kept.pop()
            if wire.usable and wire.free_since > oldest:
                return wire
            wire.close()
        return None

    async def _connected(self, place: Place) -> Wire:
        loop = asyncio.get_running_loop()
        first = self._proxy or place

        def made() -> Wire:
            wire = Wire(lambda one: self._freed(place, one), self._open.discard)
            self._open.add(wire)
            return wire

        async with asyncio.timeout(CONNECT_SECONDS):
            if self._proxy is not None and place.secure:
                return await self._tunnelled(self._proxy, place, made)
            tls = self._context() if first.secure else None
            name = first.host if tls is not None else None
            _, wire = await loop.create_connection(
                made, first.host, first.port, ssl=tls, server_hostname=name
            )
        return wire

    async def _tunnelled(self, proxy: Place, place: Place, made: Callable[[], Wire]) -> Wire:
        """Through a proxy that only passes bytes on."""
        loop = asyncio.get_running_loop()
        transport, first = await loop.create_connection(Tunnel, proxy.host, proxy.port)
        try:
            await first.ask(place.authority, authorization(proxy))
            wire = made()
            secure = await loop.start_tls(transport, wire, self._context(), server_hostname=place.host)
        except BaseException:
            transport.abort()
            raise
        if secure is None:
            raise Broken("the proxy closed the connection")
        wire.connection_made(secure)
        return wire

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _freed(self, place: Place, wire: Wire) -> None:
        if self._closed:
            wire.close()
            return
        loop = asyncio.get_running_loop()
        wire.free_since = loop.time()
        self._free.setdefault(place.origin, []).append(wire)
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEPT_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Hang up what was idle too long, and come back while there is something left."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEPT_SECONDS
        for kept in self._free.values():
            for wire in [one for one in kept if one.free_since <= oldest or not one.usable]:
                kept.remove(wire)
                wire.close()
        if any(self._free.values()):
            self._sweeping = loop.call_later(KEPT_SECONDS, self._sweep)

    async def close(self) -> None:
        """Hang up everywhere."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for wire in tuple(self._open):
            wire.close()
        await asyncio.sleep(0)

    def _why(self, error: BaseException) -> str:
        """What went wrong, for a person."""
        text = said(error)
        cure = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            cure = "; name the certificate of its issuer in SSL_CERT_FILE"
        home = self._home
        return f"cannot talk to {home.scheme}://{home.host}:{home.port}: {text}{cure}"


def own_headers(provider: ProviderConfig, home: Place) -> list[str]:
    """The lines that every request to this server has: the config's, and those it leaves to us."""
    named = {name.lower(): (name, secret.reveal()) for name, secret in provider.headers.items()}
    lines = [f"{name}: {value}" for key, (name, value) in named.items() if key not in OURS]
    usual = {"host": f"Host: {home.netloc}", "user-agent": f"User-Agent: airlock/{airlock.__version__}"}
    lines += [line for key, line in usual.items() if key not in named]
    if "authorization" not in named:
        lines += [line.removeprefix("Proxy-") for line in authorization(home)]
    return [*lines, "Accept-Encoding: identity"]


OURS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "transfer-encoding",
    }
)
"""What the protocol says itself, whatever the config does."""


def authorization(place: Place) -> list[str]:
    """The password in an address, as a header for a proxy."""
    if not place.user:
        return []
    return [f"Proxy-Authorization: Basic {base64.b64encode(place.user.encode()).decode()}"]


def tls_context() -> ssl.SSLContext:
    """Whom to trust: SSL_CERT_FILE, else what the system does."""
    if sys.platform == "darwin":
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _bearing(headers: Mapping[str, str], login: Login) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {login.access_token}"}
