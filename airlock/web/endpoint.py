"""From a request to an answer, in one order for every route: who, how often, may they, what do they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airlock.errors import AirlockError
from airlock.limits import Taken
from airlock.web.auth import OPEN, SECRET, Credential, retry_after
from airlock.web.bodies import Gone, json_object, read_body
from airlock.web.errors import HttpError, answer_airlock_error
from airlock.web.limiting import epoch_headers
from airlock.web.routes import Asked, Route
from airlock.web.services import REST_PER_MINUTE, Services

if TYPE_CHECKING:
    from airlock.web.compat.face import Face


def authorization(headers: Headers) -> list[str]:
    """The `Authorization` headers."""
    return headers.getlist("authorization")


class Endpoint:
    """An ASGI app for one route."""

    def __init__(self, route: Route, services: Services, face: Face | None = None) -> None:
        self._route = route
        self._services = services
        self._face = face

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        limited: dict[str, str] = {}
        try:
            response = await self._answer(request, receive, limited)
        except Gone:
            return
        except AirlockError as error:
            response = answer_airlock_error(request, error)
        for name, value in limited.items():
            response.headers[name] = value
        await response(scope, receive, send)

    async def _answer(self, request: Request, receive: Receive, limited: dict[str, str]) -> Response:
        route, services = self._route, self._services
        credential = await self._who(request)
        if credential is not None or not route.public(services.config.server):
            self._take(request, credential, limited)
        credential = self._permitted(credential)
        body: Mapping[str, object] = {}
        if route.body is not None:
            body = json_object(await read_body(receive, limit=route.body_limit))
        if route.serve is None:
            raise AssertionError("a route without a server is mounted raw")
        return await route.serve(Asked(request=request, services=services, credential=credential, body=body))

    async def _who(self, request: Request) -> Credential | None:
        services = self._services
        public = self._route.public(services.config.server)
        if public and not self._route.scopes:
            return None
        usual = self._face.credentials if self._face else authorization
        sent = (self._route.credentials or usual)(request.headers)
        credential = await services.authenticator.identify(sent, address_of(request.scope))
        # AgentGate's clients send their key even where none is needed: there a wrong one is as good as none.
        if credential is None and not (public and (not sent or services.faces)):
            services.metrics.unauthorized()
            raise HttpError(401, "Unauthorized", headers={"WWW-Authenticate": 'Bearer realm="airlock"'})
        return credential

    def _take(self, request: Request, credential: Credential | None, limited: dict[str, str]) -> None:
        if self._face is None:
            take(self._services, request.scope, credential, REST_PER_MINUTE, limited)
        else:
            face = self._face
            usual = self._route.per_minute or face.per_minute
            take(self._services, request.scope, credential, usual, limited, headers=face.limits)

    def _permitted(self, credential: Credential | None) -> Credential | None:
        """The credential, if it may do this; None where everyone may do what is left of it."""
        route = self._route
        if credential is None:
            return None
        if route.people and credential.bound:
            raise HttpError(403, f"a credential of agent `{credential.agent}` may not do this")
        if route.scopes and not credential.holds(route.scopes):
            if route.public(self._services.config.server):
                return None
            needed = " or ".join(f"`{scope}`" for scope in sorted(route.scopes))
            raise HttpError(403, f"this needs the scope {needed}")
        return credential


def take(
    services: Services,
    scope: Scope,
    credential: Credential | None,
    usual: int,
    limited: dict[str, str],
    *,
    headers: Callable[[Taken, int], dict[str, str]] = epoch_headers,
) -> None:
    """Count one request of this caller; HttpError 429 when it is one too many. Fills the headers."""
    caller, limit = _caller(scope, credential, usual)
    now = services.clock()
    taken = services.limits.take(caller, limit, now)
    limited.update(headers(taken, now))
    if not taken.allowed:
        services.metrics.limited()
        raise HttpError(429, "too many requests", headers=retry_after(taken.retry_ms, now))


def admitted(services: Services, scope: Scope, credential: Credential, usual: int) -> bool:
    """Count one request of this caller; False, and nothing counted, when it is one too many."""
    return services.limits.admits(*_caller(scope, credential, usual), services.clock())


def _caller(scope: Scope, credential: Credential | None, usual: int) -> tuple[str, int]:
    """Under which name a request counts, and how many of them may come in a minute.

    A key or a token counts wherever it comes from: whoever has one may have many addresses. What several
    people share, or nobody needs, counts by address too.
    """
    if credential is not None and credential.identity not in {SECRET, OPEN}:
        return f"{usual}:{credential.identity}", credential.rate or usual
    address = address_of(scope)
    return f"{usual}:{credential.identity}@{address}" if credential else f"{usual}:{address}", usual


def named_headers(scope: Scope, name: bytes) -> list[str]:
    """All headers of that name, in lower case, in their order."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def address_of(scope: Scope) -> str:
    """The peer's address, as the server saw it; no header can change it."""
    client = scope.get("client")
    return str(client[0]) if client else "local"


def methods(routes: Mapping[str, ASGIApp]) -> ASGIApp:
    """One ASGI app for a path with several methods; the router has already refused all others."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        await routes["GET" if method == "HEAD" else method](scope, receive, send)

    return dispatch
