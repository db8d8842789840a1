"""The token of a login on each request to its server: renewed in time, and once more when it is refused.

The SDK's provider holds a lock while a request waits for its answer, so that a server which answers in JSON
would be asked one thing at a time; it is used for logging in only (`oauth_login`). Slow to import.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import httpx2
from mcp.shared.auth_utils import resource_url_from_server_url

from airlock.config import OAuthConfig, ProviderConfig
from airlock.errors import AirlockError, UpstreamError
from airlock.ids import now_ms
from airlock.proxy.login.guard import Guard, guarded_client
from airlock.proxy.login.tokens import Login, TokenFile

BUFFER_MS: Final = 300_000
"""A token is renewed this long before its end, or after half of its life where that is shorter."""

BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"


class LoginNeeded(UpstreamError):
    """Only a person can go on, by the command in the text."""

    def __init__(self, provider: str, why: str = "it needs a login") -> None:
        super().__init__(f"{why}: run `airlock login {provider}`")


class Refused(UpstreamError):
    """The authorization server said no; `code` is its OAuth error."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


class Keeper:
    """The login of one provider: kept in a file, renewed when it is due."""

    def __init__(
        self, provider: ProviderConfig, file: TokenFile | None = None, clock: Callable[[], int] = now_ms
    ) -> None:
        self._provider = provider
        self._oauth = provider.oauth or OAuthConfig()
        self._file = file or TokenFile(provider)
        self._clock = clock
        self._login: Login | None = None
        self._renewing = asyncio.Lock()

    async def current(self) -> Login:
        """The login to use now; LoginNeeded, or UpstreamError when it cannot be had."""
        login = self._login or self._file.read()
        if login is not None and login.good(self._clock()):
            self._login = login
            return login
        try:
            return await self.renewed(login)
        except LoginNeeded:
            raise
        except UpstreamError:
            if login is not None and login.usable(self._clock()):
                return login  # its end is near, not here
            raise

    async def renewed(self, old: Login | None) -> Login:
        """Another login than `old`: what somebody renewed meanwhile, else what the server gives now."""
        async with self._renewing, self._file.locked():
            stored = self._file.read()
            another = stored is not None and (old is None or stored.access_token != old.access_token)
            if stored is not None and another and stored.good(self._clock()):
                self._login = stored
                return stored
            self._login = None
            self._login = await self._fetch(stored)
            self._file.write(self._login)
            return self._login

    async def _fetch(self, stored: Login | None) -> Login:
        if self._oauth.token_url:
            return await self._mint(stored)
        if stored is None:
            raise LoginNeeded(self._provider.name)
        if not stored.refresh_token:
            raise LoginNeeded(self._provider.name, "its login has ended")
        form = {"grant_type": "refresh_token", "refresh_token": stored.refresh_token}
        try:
            return await self._ask(stored, form)
        except Refused as refused:
            if refused.code == "temporarily_unavailable":
                raise
            self._file.write(replace(stored, access_token="", refresh_token=""))
            raise LoginNeeded(self._provider.name, f"its login has ended ({refused.code})") from None

    async def _mint(self, stored: Login | None) -> Login:
        """A token for Airlock itself. Servers differ in how a secret is shown: both ways are tried."""
        secret = self._oauth.client_secret
        client = Login(
            token_endpoint=self._oauth.token_url,
            client_id=self._oauth.client_id,
            client_secret=secret.reveal() if secret else "",
            scope=self._oauth.scope,
            resource=resource_url_from_server_url(self._provider.url),
            auth_method=stored.auth_method if stored else BASIC,
        )
        form = {"grant_type": "client_credentials"} | ({"scope": client.scope} if client.scope else {})
        try:
            return await self._ask(client, form)
        except Refused as refused:
            if refused.code != "invalid_client":
                raise
        other = POST if client.auth_method == BASIC else BASIC
        return await self._ask(replace(client, auth_method=other), form)

    async def _ask(self, client: Login, form: dict[str, str]) -> Login:
        """One request to the token endpoint, and the login with what it gave."""
        form = form | ({"resource": client.resource} if client.resource else {})
        found = await self._post(client, form)
        return with_tokens(client, found, self._clock())

    async def _post(self, client: Login, form: dict[str, str]) -> dict[str, Any]:
        form, headers = shown(client, form)
        guard = Guard(self._provider.url, self._oauth.token_url)
        try:
            async with guarded_client(guard) as http:
                response = await http.post(client.token_endpoint, data=form, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            where = httpx2.URL(client.token_endpoint).host
            why = str(error) or type(error).__name__
            raise UpstreamError(f"cannot renew its login at `{where}`: {why}") from None
        return _granted(response)


def shown(client: Login, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and headers of a request in which a client shows who it is (RFC 6749, 2.3.1)."""
    headers = {"Accept": "application/json"}
    if client.auth_method == BASIC and client.client_secret:
        pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
        return form, {**headers, "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    form = {**form, "client_id": client.client_id}
    return (form | {"client_secret": client.client_secret} if client.client_secret else form), headers


def _granted(response: httpx2.Response) -> dict[str, Any]:
    """The members of a token response; Refused with the server's own word, UpstreamError otherwise."""
    try:
        found = json.loads(response.content)
    except ValueError:
        found = None
    members = found if isinstance(found, dict) else {}
    if response.status_code in {200, 201} and isinstance(members.get("access_token"), str):
        return members
    code = str(members.get("error", ""))[:60]
    text = f"its authorization server answered with HTTP {response.status_code} {code}".strip()
    if 400 <= response.status_code < 500 and response.status_code != 429:
        raise Refused(code or ("invalid_client" if response.status_code == 401 else "refused"), text)
    raise UpstreamError(text)


def with_tokens(login: Login, found: dict[str, Any], now: int) -> Login:
    """The login with the tokens of a response; what it leaves out stays as it was (RFC 6749, 6)."""
    token = found["access_token"]
    if str(found.get("token_type", "bearer")).lower() != "bearer" or not _sendable(token):
        raise UpstreamError("its authorization server gave something that is no bearer token")
    life = _milliseconds(found.get("expires_in"))
    fresh = found.get("refresh_token")
    scope = found.get("scope")
    return replace(
        login,
        access_token=token,
        refresh_token=fresh if isinstance(fresh, str) and fresh else login.refresh_token,
        scope=scope if isinstance(scope, str) and scope else login.scope,
        expires_at=now + life if life else 0,
        renew_at=now + life - min(BUFFER_MS, life // 2) if life else 0,
    )


def _sendable(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _milliseconds(value: Any) -> int:
    try:
        return max(0, min(int(float(value)), 10**9)) * 1000
    except (TypeError, ValueError, OverflowError):
        return 0


class Bearer(httpx2.Auth):
    """Puts the token on what goes to the provider's own origin, and on nothing else.

    `on_end` hears why there is no token any more: the SDK's transport keeps that to itself.
    """

    def __init__(
        self, provider: ProviderConfig, keeper: Keeper, on_end: Callable[[str], None] = lambda _: None
    ) -> None:
        self._home = _origin(httpx2.URL(provider.url))
        self._keeper = keeper
        self._on_end = on_end

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """The request with its token. A token that is refused is renewed, and the request sent once more:
        the server did nothing with it."""
        if _origin(request.url) != self._home:
            yield request
            return
        login = await self._had(self._keeper.current())
        request.headers["Authorization"] = f"Bearer {login.access_token}"
        response = yield request
        if response.status_code == 401:
            fresh = await self._had(self._keeper.renewed(login))
            request.headers["Authorization"] = f"Bearer {fresh.access_token}"
            yield request

    async def _had(self, asking: Awaitable[Login]) -> Login:
        try:
            return await asking
        except AirlockError as error:
            self._on_end(str(error))
            raise


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
