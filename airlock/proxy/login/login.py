"""Logging in at a server: its authorization server is found, and a person agrees in the browser.

Discovery, registration, PKCE and the exchange of the code are the SDK's; where it may go is ours. The only
module that knows the SDK's OAuth client. Slow to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

from airlock import __version__
from airlock.config import OAuthConfig, ProviderConfig
from airlock.errors import NotPermitted, UpstreamError
from airlock.ids import now_ms
from airlock.proxy.login.guard import Guard, guarded_client
from airlock.proxy.login.oauth import NONE, POST, Keeper, shown, with_tokens
from airlock.proxy.login.redirect import HOST, Landing
from airlock.proxy.login.tokens import Login, TokenFile

VERSION: Final = "2025-11-25"
REVOKE_SECONDS: Final = 5.0


class _Memory:
    """What the SDK keeps during one login: nothing is written before all of it is there."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.client = client
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return None  # a new login begins with nothing

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def login(provider: ProviderConfig, show: Callable[[str], None]) -> Login:
    """Log in, and keep what it gave. `show` gets the address that a person must open.

    NotPermitted when the person or the server says no, UpstreamError when it cannot be done.
    """
    asked = provider.oauth or OAuthConfig()
    file = TokenFile(provider)
    if asked.token_url:
        return await Keeper(provider, file).renewed(file.read())
    landing = Landing(urlsplit(asked.callback_url).path or "/" if asked.callback_url else "/callback")
    fixed = bool(asked.client_id or asked.callback_url)
    async with landing.listening(asked.callback_port, may_move=not fixed):
        redirect = asked.callback_url or f"http://{HOST}:{landing.port}/callback"
        found = await _Visit(provider, asked, landing, show).made(redirect, file.read())
    async with file.locked():
        file.write(found)
    return found


class _Visit:
    """One login at one server."""

    def __init__(
        self, provider: ProviderConfig, asked: OAuthConfig, landing: Landing, show: Callable[[str], None]
    ) -> None:
        self._provider = provider
        self._asked = asked
        self._landing = landing
        self._show = show
        self._guard = Guard(provider.url)

    async def made(self, redirect: str, before: Login | None) -> Login:
        memory = _Memory(self._client(redirect, before))
        metadata = OAuthClientMetadata.model_validate(
            {"redirect_uris": [redirect], "client_name": "Airlock", "software_version": __version__}
        )
        auth = _Scoped(self._provider.url, metadata, memory, self._open, self._back)
        auth.wanted = self._asked.scope
        logging.getLogger("mcp.client.auth").setLevel(logging.CRITICAL)  # it logs tracebacks of a plain no
        try:
            async with guarded_client(self._guard, auth) as http:
                status = await self._knock(http)
        except (OAuthFlowError, ValueError) as error:
            raise NotPermitted(f"`{self._provider.name}` gave no login: {_one_line(error)}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise UpstreamError(f"cannot log in at `{self._provider.name}`: {_one_line(error)}") from None
        if memory.tokens is None:
            raise UpstreamError(f"`{self._provider.name}` asked for no login: it answered with HTTP {status}")
        if status in {401, 403}:
            raise NotPermitted(
                f"`{self._provider.name}` refuses the token that its login gave: HTTP {status}"
            )
        return self._kept(auth, memory)

    def _client(self, redirect: str, before: Login | None) -> OAuthClientInformationFull | None:
        """Who we are there: as the config says, or as we registered ourselves for this redirect before."""
        secret = self._asked.client_secret
        if self._asked.client_id:
            return OAuthClientInformationFull.model_validate(
                {
                    "client_id": self._asked.client_id,
                    "client_secret": secret.reveal() if secret else None,
                    "token_endpoint_auth_method": POST if secret else NONE,
                    "redirect_uris": [redirect],
                }
            )
        if before is None or not before.registration:
            return None
        with contextlib.suppress(ValueError):
            known = OAuthClientInformationFull.model_validate(before.registration)
            if redirect in map(str, known.redirect_uris or []):
                return known
        return None

    async def _open(self, address: str) -> None:
        """Show the person where to go: only an address of the web, never a file or a program."""
        await self._guard.address(httpx2.URL(address))
        self._landing.state = parse_qs(urlsplit(address).query)["state"][-1]
        self._show(address)

    async def _back(self) -> AuthorizationCodeResult:
        found = await self._landing.answer()
        if "code" not in found:
            why = found.get("error_description") or found.get("error") or "no reason given"
            raise NotPermitted(f"the login at `{self._provider.name}` was refused: {_one_line(why)}")
        return AuthorizationCodeResult(code=found["code"], state=found.get("state"), iss=found.get("iss"))

    async def _knock(self, http: httpx2.AsyncClient) -> int:
        """A request that an unknown caller is refused; the status of the answer once logged in."""
        headers = {name: secret.reveal() for name, secret in self._provider.headers.items()}
        if self._provider.type == "sse":
            wanted = {"Accept": "text/event-stream"}
            async with http.stream("GET", self._provider.url, headers=headers | wanted) as response:
                return response.status_code
        wanted = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSION}
        params = {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "airlock", "version": __version__},
        }
        frame = {"jsonrpc": "2.0", "id": secrets.randbelow(10**6), "method": "initialize", "params": params}
        url = self._provider.url
        async with http.stream("POST", url, json=frame, headers=headers | wanted) as response:
            session = response.headers.get("mcp-session-id")
        if session is not None:
            with contextlib.suppress(httpx2.HTTPError):
                await http.delete(url, headers=headers | {**wanted, "Mcp-Session-Id": session})
        return response.status_code

    def _kept(self, auth: _Scoped, memory: _Memory) -> Login:
        tokens, client, context = memory.tokens, memory.client, auth.context
        if tokens is None or client is None:
            raise UpstreamError(f"the login at `{self._provider.name}` is incomplete")
        metadata = context.oauth_metadata
        endpoint = str(metadata.token_endpoint) if metadata else _legacy(self._provider.url)
        ours = not self._asked.client_id
        plain = Login(
            issuer=str(metadata.issuer) if metadata else "",
            token_endpoint=endpoint,
            revocation_endpoint=str((metadata and metadata.revocation_endpoint) or ""),
            resource=context.get_resource_url() if context.should_include_resource_param(VERSION) else "",
            client_id=client.client_id or "",
            client_secret=client.client_secret or "",
            auth_method=client.token_endpoint_auth_method or NONE,
            registration=client.model_dump(mode="json", exclude_none=True) if ours else {},
            scope=context.client_metadata.scope or "",
        )
        return with_tokens(plain, tokens.model_dump(exclude_none=True), now_ms())


class _Scoped(OAuthClientProvider):
    """The SDK's client, asking for the scopes that the config names rather than for all there are."""

    wanted = ""

    async def _perform_authorization(self) -> httpx2.Request:
        if self.wanted:
            self.context.client_metadata.scope = self.wanted
        return await super()._perform_authorization()


def _legacy(url: str) -> str:
    """Where the tokens are when the server publishes no metadata (MCP 2025-03-26)."""
    return str(httpx2.URL(url).copy_with(raw_path=b"/token"))


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


async def logout(provider: ProviderConfig) -> bool:
    """Forget the login, and ask its server to end it; False when there was none."""
    file = TokenFile(provider)
    async with file.locked():
        found = file.read()
        gone = file.remove()
    if found is not None and found.revocation_endpoint and found.refresh_token:
        with contextlib.suppress(httpx2.HTTPError, httpx2.InvalidURL, UpstreamError, TimeoutError):
            async with asyncio.timeout(REVOKE_SECONDS):
                await _revoke(provider, found)
    return gone


async def _revoke(provider: ProviderConfig, found: Login) -> None:
    """RFC 7009: with the refresh token the access tokens end too."""
    form, headers = shown(found, {"token": found.refresh_token, "token_type_hint": "refresh_token"})
    async with guarded_client(Guard(provider.url)) as http:
        await http.post(found.revocation_endpoint, data=form, headers=headers)
