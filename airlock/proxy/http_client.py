"""HTTP to one server: the config's headers, its login, the environment's proxy, redirects that stay at home.

The client library is loaded when the first such server starts. Nothing of our own client's is ever sent.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

import airlock
from airlock.config import ProviderConfig
from airlock.errors import AirlockError
from airlock.proxy.event_stream import TooLong
from airlock.proxy.http_words import cure

if TYPE_CHECKING:
    from airlock.proxy.oauth import Keeper
    from airlock.proxy.tokens import Login

CONNECT_SECONDS: Final = 30.0

KEPT_SECONDS: Final = 4.0
"""How long an idle connection is kept: less than servers do, who hang up after five, so that no request
goes into a connection that is being closed.
"""

MOST_REDIRECTS: Final = 10
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
KEEP_METHOD: Final = frozenset({307, 308})

FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What the library raises when there is no answer, or no more of it."""


class Unreachable(Exception):
    """There is no connection, or it ended before there was an answer; the text is for a person."""


class HttpClient:
    """The connections to one server. `on_end` hears why there is no login any more."""

    def __init__(
        self, provider: ProviderConfig, keeper: Keeper | None, on_end: Callable[[str], None]
    ) -> None:
        self._provider = provider
        self._keeper = keeper
        self._on_end = on_end
        self._url = URL(provider.url)
        self._proxy = proxy_for(provider.url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(),
                limit=0,
                keepalive_timeout=KEPT_SECONDS,
                resolver=aiohttp.ThreadedResolver(),
            ),
            headers={
                "User-Agent": f"airlock/{airlock.__version__}",
                "Accept-Encoding": "identity",
                **{name: secret.reveal() for name, secret in provider.headers.items()},
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            # Each request has a time limit of ours, and a stream may be silent for as long as it likes.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            trust_env=False,  # it would send passwords from ~/.netrc; the proxy is looked up here
        )

    async def send(
        self, method: str, headers: Mapping[str, str], data: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """The head of the answer, whatever it says. Unreachable without one; AirlockError for a login."""
        url = self._url
        try:
            for _ in range(MOST_REDIRECTS):
                response = await self._once(method, url, headers, data)
                further = followed(response, method) if response.status in REDIRECTS else None
                if further is None:
                    break
                response.release()
                url = further
            return response
        except AirlockError:
            raise
        except FAILURES as error:
            raise Unreachable(self._why(error)) from None

    async def _once(
        self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None
    ) -> aiohttp.ClientResponse:
        """One request. A token that is refused is renewed, and the request sent once more: the server did
        nothing with it."""
        if self._keeper is None:
            return await self._request(method, url, headers, data)
        login = await self._had(self._keeper.current())
        response = await self._request(method, url, _bearing(headers, login), data)
        if response.status == 401:
            fresh = await self._had(self._keeper.renewed(login))
            response.release()
            response = await self._request(method, url, _bearing(headers, fresh), data)
        return response

    async def _request(
        self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False, proxy=self._proxy
        )

    async def _had(self, asking: Awaitable[Login]) -> Login:
        try:
            return await asking
        except AirlockError as error:
            self._on_end(str(error))
            raise

    async def close(self) -> None:
        """Hang up everywhere."""
        await self._session.close()

    def _why(self, error: BaseException) -> str:
        """What went wrong, for a person."""
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
        text = str(inner) or type(error).__name__
        cure = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            cure = "; name the certificate of its issuer in SSL_CERT_FILE"
        place = urlsplit(self._provider.url)
        return f"cannot talk to {place.scheme}://{place.hostname}:{port_of(place)}: {text}{cure}"


def _bearing(headers: Mapping[str, str], login: Login) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {login.access_token}"}


def proxy_for(url: str) -> URL | None:
    """The proxy that the environment names for this URL, if any."""
    place = urlsplit(url)
    proxies = getproxies()
    named = proxies.get(place.scheme) or proxies.get("all")
    if not named or proxy_bypass(place.netloc):
        return None
    return URL(named if "://" in named else f"http://{named}")


def followed(response: aiohttp.ClientResponse, method: str) -> URL | None:
    """Where a redirect leads, if the same request may be sent there: at home, and no password in the address.

    Everything on a request was configured for the server of the config, and so it stays there; only the same
    host's https is as good as its http.
    """
    there = location(response)
    if there is None or (method != "GET" and response.status not in KEEP_METHOD):
        return None
    here = response.url
    upgraded = (here.scheme, there.scheme) == ("http", "https") and here.host == there.host
    upgraded = upgraded and here.is_default_port() and there.is_default_port()
    same_user = there.user is None or (there.user, there.password) == (here.user, here.password)
    return there if same_user and (here.origin() == there.origin() or upgraded) else None


def location(response: aiohttp.ClientResponse) -> URL | None:
    """Where an answer points to; None where it does not, or to nothing that is an address."""
    named = response.headers.get("Location")
    if not named:
        return None
    try:
        found = response.url.join(URL(named))
        found.origin()
    except ValueError:
        return None
    return found


def refusal(provider: ProviderConfig, response: aiohttp.ClientResponse) -> str:
    """An HTTP status in words, with its cure."""
    status = response.status
    there = location(response) if status in REDIRECTS else None
    if there is not None:
        place = there.with_user(None).with_query(None).with_fragment(None)
        return f"Redirect to {place} not followed: use that as its `url` if it is the server that you mean"
    if status == 202:
        return "the server took a request with 202 Accepted, which means that no answer will come"
    asks = "resource_metadata" in response.headers.get("WWW-Authenticate", "")
    said = f"HTTP {status} {response.reason or ''}".strip()
    return f"the server answered with {said}{cure(provider, status, asks_for_login=asks)}"


async def whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; TooLong when it passes the limit, Unreachable when it breaks off."""
    try:
        length = response.content_length
        if length is not None and length <= limit and "Content-Encoding" not in response.headers:
            return await response.read()
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                raise TooLong(f"the answer is longer than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)
    except FAILURES as error:
        raise Unreachable(f"its answer broke off: {str(error) or type(error).__name__}") from None


def port_of(place: SplitResult) -> int:
    """The port of an address, named or usual."""
    return place.port or (443 if place.scheme == "https" else 80)
