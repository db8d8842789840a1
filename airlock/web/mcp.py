"""The door to MCP: whose session it is, decided here, before the app that speaks the protocol sees it.

That app is handed in, bare. It finds who speaks in `scope["airlock.principal"]`.
"""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airlock.apikeys import Scope as KeyScope
from airlock.errors import AirlockError
from airlock.model import Principal, PrincipalKind
from airlock.web.auth import OPEN, SECRET, Credential
from airlock.web.endpoint import address_of, take
from airlock.web.errors import HttpError, answer_airlock_error
from airlock.web.services import Services

MCP_PATHS = ("/mcp", "/agents/{agent}/mcp", "/agents/{agent}/sse", "/agents/{agent}/messages")
MCP_PER_MINUTE = 60_000

log = logging.getLogger(__name__)


class Doorman:
    """An ASGI app that lets a request through to MCP with its principal, or answers in its place."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        limited: dict[str, str] = {}
        try:
            principal = await self._principal(request, limited)
        except AirlockError as error:
            response: Response = answer_airlock_error(request, error)
            response.headers.update(limited)
            await response(scope, receive, send)
            return
        scope["airlock.principal"] = principal
        await self._app(scope, receive, send)

    async def _principal(self, request: Request, limited: dict[str, str]) -> Principal:
        services = self._services
        sent = request.headers.getlist("authorization")
        credential = await services.authenticator.identify(sent, address_of(request.scope))
        if credential is None:
            services.metrics.unauthorized()
            raise HttpError(401, "Unauthorized", headers={"WWW-Authenticate": 'Bearer realm="airlock"'})
        take(services, request, credential, MCP_PER_MINUTE, limited)
        if not credential.holds({KeyScope.MCP}):
            raise HttpError(403, "this needs the scope `mcp`")
        agent = self._agent(request.path_params.get("agent", ""), credential)
        return principal_of(credential, agent)

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
