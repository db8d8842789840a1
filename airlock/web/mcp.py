"""The door to MCP: whose session it is, decided here, before the app that speaks the protocol sees it.

That app is handed in, bare. It finds who speaks in `scope["airlock.principal"]`. Calls go this way, so it is
short: past the router, which would try every other route first, and without an object for the request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airlock.apikeys import Scope as KeyScope
from airlock.config import Config
from airlock.errors import AirlockError
from airlock.model import Principal, PrincipalKind
from airlock.ports_http import Post, Taker
from airlock.values import dataclass
from airlock.web.auth import OPEN, SECRET, Credential
from airlock.web.endpoint import address_of, admitted, named_headers, take
from airlock.web.errors import HttpError, answer_airlock_error
from airlock.web.guard import Guard
from airlock.web.services import Services

MCP_PATHS = ("/mcp", "/agents/{agent}/mcp", "/agents/{agent}/sse", "/agents/{agent}/messages")
MCP_PER_MINUTE = 600_000
"""More than a gateway can answer in a minute: it holds up a broken loop, not an agent that is busy."""

MOST_KNOWN = 256
"""Credentials whose bearers are remembered. They are found by a keyed hash of the whole, as in any dict:
how long that takes says nothing about them.
"""

_KNOWN = "door"
_UNDER_AGENTS = re.compile(r"/agents/([^/]+)/(mcp|sse|messages)")

log = logging.getLogger(__name__)


def mcp_path(path: str) -> tuple[str, str] | None:
    """Which of MCP_PATHS this is, and the agent that it names, if it does; None when it is none of them."""
    if path == "/mcp":
        return path, ""
    found = _UNDER_AGENTS.fullmatch(path) if path.startswith("/agents/") else None
    return (f"/agents/{{agent}}/{found[2]}", found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Known:
    """Who spoke with these words, and where to, under this config."""

    config: Config
    route: str
    credential: Credential
    principal: Principal


class McpServer(Taker, Protocol):
    """What speaks MCP behind the door: an ASGI app that takes whole POSTs, and all of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        ...


class Doorman:
    """An ASGI app that lets a request through to MCP with its principal, or answers in its place."""

    def __init__(self, app: McpServer, services: Services) -> None:
        self._app = app
        self._services = services
        self._authenticator = services.authenticator
        self._known: dict[tuple[str, ...], Known] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["airlock.route"], agent = mcp_path(scope["path"]) or ("", "")
        limited: dict[str, str] = {}
        try:
            scope["airlock.principal"] = await self._principal(scope, agent, limited)
        except AirlockError as error:
            response: Response = answer_airlock_error(Request(scope, receive), error)
            response.headers.update(limited)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def recall(self, scope: Scope) -> Known | None:
        """Who speaks with these words, if they were let through before and still would be."""
        route, agent = mcp_path(scope["path"]) or ("", "")
        said = (route, agent, *named_headers(scope, b"authorization"))
        known = self._known.get(said)
        if known is None or self.stands(known):
            return known
        del self._known[said]
        return None

    def stands(self, known: Known) -> bool:
        """True while the config is the one under which they were let through, and their key is as it was."""
        return known.config is self._services.config and self._authenticator.still(known.credential)

    def take(self, post: Post, known: Known) -> bool:
        """Let a whole POST through; False, and to be asked in full, when it is one or a guess too many."""
        scope = post.scope
        if self._authenticator.deaf(address_of(scope)):
            return False
        if not admitted(self._services, scope, known.credential, MCP_PER_MINUTE):
            return False
        scope["airlock.route"], scope["airlock.principal"] = known.route, known.principal
        post.count_by(partial(self._services.metrics.answered, "POST", known.route))
        return self._app.take(post)

    async def _principal(self, scope: Scope, agent: str, limited: dict[str, str]) -> Principal:
        config, route, sent = (
            self._services.config,
            scope["airlock.route"],
            named_headers(scope, b"authorization"),
        )
        known = self.recall(scope)
        if known is None or self._authenticator.deaf(address_of(scope)):
            credential = await self._credential(scope, sent)
            self._count(scope, credential, limited)
            if not credential.holds({KeyScope.MCP}):
                raise HttpError(403, "this needs the scope `mcp`")
            principal = principal_of(credential, self._agent(agent, credential))
            known = Known(config, route, credential, principal)
            self._remember((route, agent, *sent), known)
        else:
            self._count(scope, known.credential, limited)
        return known.principal

    async def _credential(self, scope: Scope, sent: Iterable[str]) -> Credential:
        credential = await self._authenticator.identify(sent, address_of(scope))
        if credential is None:
            self._services.metrics.unauthorized()
            raise HttpError(401, "Unauthorized", headers={"WWW-Authenticate": 'Bearer realm="airlock"'})
        return credential

    def _count(self, scope: Scope, credential: Credential, limited: dict[str, str]) -> None:
        if not admitted(self._services, scope, credential, MCP_PER_MINUTE):
            take(self._services, scope, credential, MCP_PER_MINUTE, limited)  # says no, and when to come back

    def _remember(self, said: tuple[str, ...], known: Known) -> None:
        while len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[said] = known

    def _agent(self, named: str, credential: Credential) -> str:
        agents = self._services.config.agents
        written = [name for name, one in agents.items() if not one.implied]
        agent = named or credential.agent or (written[0] if len(written) == 1 else "")
        if not agent:
            raise HttpError(400, "the config has several agents: use `/agents/NAME/mcp`, or a token of one")
        refusal = refused_agent(agent, credential, self._services)
        if refusal:
            raise HttpError(403, refusal)
        if agent not in agents:
            raise HttpError(404, f"unknown agent `{agent[:64]}`")
        return agent


def refused_agent(agent: str, credential: Credential, services: Services) -> str:
    """Why this credential may not speak for this agent; "" when it may (decisions.md 2)."""
    if credential.bound and credential.agent != agent:
        return f"this credential speaks for agent `{credential.agent}` only"
    own = credential.identity == f"agent:{agent}"
    if not own and agent in services.authenticator.token_agents():
        return f"agent `{agent[:64]}` accepts only its own token"
    return ""


def principal_of(credential: Credential, agent: str) -> Principal:
    """Who a call comes from. A key that asked may not decide; the people's secret never asks for itself."""
    shared = credential.identity in {SECRET, OPEN}
    identity = f"agent:{agent}" if shared else credential.identity
    return Principal(kind=PrincipalKind.AGENT, name=agent, identity=identity)


class Straight:
    """The way to MCP: past the router, behind the same guard as everything else."""

    def __init__(self, app: McpServer, services: Services) -> None:
        self._door = Doorman(app, services)
        self._guard = Guard(self._door, services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._guard(scope, receive, send)

    def take(self, post: Post) -> bool:
        """A whole POST from somebody who is known; all that guard and door would ask is asked."""
        known: Known | None = post.kept.get(_KNOWN)
        if known is None or not self._door.stands(known):
            known = self._door.recall(post.scope) if self._guard.passes(post.scope) else None
            if known is None or not known.route.endswith("/mcp"):
                return False
            post.kept[_KNOWN] = known
        return self._door.take(post, known)
