"""Addresses over HTTP: how they go on the wire, which proxy is before them, where a redirect may lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from airlock.config import ProviderConfig
from airlock.errors import UpstreamError
from airlock.proxy.upstream.http_words import cure

if TYPE_CHECKING:
    from airlock.proxy.upstream.http_wire import Answer

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
KEEP_METHOD: Final = frozenset({307, 308})
USUAL: Final = {"http": 80, "https": 443}
_PLAIN: Final = "%/:@!$&'()*+,;=~-._?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One address, in the spelling that goes on the wire."""

    scheme: str
    host: str
    port: int
    target: str
    user: str = ""
    """`name:password`, if the address has one."""

    @property
    def secure(self) -> bool:
        """True for https."""
        return self.scheme == "https"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be the same for headers to be sent along."""
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        """Host and port, as `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == USUAL[self.scheme] else f"{host}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port, as a proxy is told where to connect to: there the port is never left out."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, without a password."""
        return f"{self.scheme}://{self.netloc}{self.target}"


def place_of(url: str) -> Place:
    """An http or https address; UpstreamError for anything else."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
        port = parts.port or USUAL.get(parts.scheme, 0)
    except ValueError as error:  # a port that is no number, a name that is none
        raise UpstreamError(f"`{_shown(url)}` is no address: {error}") from None
    if not host or not port or parts.scheme not in USUAL:
        raise UpstreamError(f"`{_shown(url)}` is no http or https address")
    target = quote(parts.path or "/", safe=_PLAIN) + (
        f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
    )
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Place(scheme=parts.scheme, host=host, port=port, target=target, user=user)


def _shown(url: str) -> str:
    """An address for a message: without what may be a password, and not without end."""
    scheme, mark, rest = url.partition("://")
    return (scheme + mark + rest.rpartition("@")[2])[:200] if mark else url.rpartition("@")[2][:200]


def proxy_for(place: Place) -> Place | None:
    """The proxy that the environment names for this place, if any; UpstreamError for one we cannot use."""
    proxies = getproxies()
    named = proxies.get(place.scheme) or proxies.get("all")
    if not named or proxy_bypass(f"{place.host}:{place.port}"):
        return None
    found = place_of(named if "://" in named else f"http://{named}")
    if found.secure:
        raise UpstreamError(f"the proxy `{found.scheme}://{found.netloc}` is not supported: name an http one")
    return found


def location(here: Place, answer: Answer) -> Place | None:
    """Where an answer points to; None where it does not, or to nothing that is an address."""
    named = answer.headers.get("location") if answer.status in REDIRECTS else None
    if not named:
        return None
    try:
        return place_of(urljoin(here.url, named))
    except UpstreamError:
        return None


def followed(here: Place, answer: Answer, method: str) -> Place | None:
    """Where a redirect leads, if the same request may be sent there: at home, and no password in the address.

    Everything on a request was configured for the server of the config, and so it stays there; only the same
    host's https is as good as its http.
    """
    there = location(here, answer)
    if there is None or there.user or (method != "GET" and answer.status not in KEEP_METHOD):
        return None
    upgraded = here.origin == ("http", here.host, 80) and there.origin == ("https", here.host, 443)
    return there if here.origin == there.origin or upgraded else None


def refusal(provider: ProviderConfig, answer: Answer) -> str:
    """An HTTP status in words, with its cure."""
    status = answer.status
    there = location(place_of(provider.url), answer)
    if there is not None:
        plain = there.url.partition("?")[0]
        return f"Redirect to {plain} not followed: use that as its `url` if it is the server that you mean"
    if status == 202:
        return "the server took a request with 202 Accepted, which means that no answer will come"
    asks = "resource_metadata" in answer.headers.get("www-authenticate", "")
    said = f"HTTP {status} {answer.reason}".strip()
    return f"the server answered with {said}{cure(provider, status, asks_for_login=asks)}"
