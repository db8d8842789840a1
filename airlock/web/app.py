"""The gateway's HTTP side: one table of routes, and the ASGI app that is made from it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from airlock.errors import AirlockError
from airlock.ids import make_id, now_ms
from airlock.joins import Joins
from airlock.ports import Clock, MakeId
from airlock.ports_faces import RecordStore
from airlock.ports_http import Post
from airlock.ports_keys import KeyStore
from airlock.web import audit, events, health, hitl, hook, keys, openapi, proofs
from airlock.web.auth import Authenticator
from airlock.web.compat import faces_for
from airlock.web.compat.courier import Courier
from airlock.web.compat.face import Face
from airlock.web.endpoint import Endpoint, methods
from airlock.web.errors import answer_airlock_error, answer_http_exception
from airlock.web.feed import Feed
from airlock.web.guard import Guard
from airlock.web.mcp import McpServer, Straight, mcp_path
from airlock.web.metrics import Metrics
from airlock.web.routes import Route
from airlock.web.services import Facts, Services
from airlock.web.waiting import Waiting

if TYPE_CHECKING:
    from airlock.gate import Gate

TABLE: tuple[Route, ...] = (
    *health.ROUTES,
    *hitl.ROUTES,
    *audit.ROUTES,
    *proofs.ROUTES,
    *hook.ROUTES,
    *events.ROUTES,
    *keys.ROUTES,
    *openapi.ROUTES,
)
"""Every route of the gateway but MCP's own."""

DRAIN_SECONDS = 3.0


class Gateway(Starlette):
    """All routes; MCP's paths go straight to their door, behind the same guard."""

    straight: Straight | None = None

    def take(self, post: Post) -> bool:
        """A whole POST to MCP; False for all others."""
        return self.straight is not None and self.straight.take(post)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if self.straight is not None and scope["type"] == "http" and mcp_path(scope["path"]):
            scope["app"] = self
            await self.straight(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def build_app(
    gate: Gate,
    *,
    keys: KeyStore | None = None,
    mcp_app: McpServer | None = None,
    facts: Facts | None = None,
    bound: str = "",
    clock: Clock = now_ms,
    make_id: MakeId = make_id,
) -> Gateway:
    """The ASGI app of one gateway process.

    `keys` keeps the API keys (without it there are none); `mcp_app` serves MCP on its own paths, behind
    the same Host, Origin and credential checks; `facts` adds fields to the full `/health`; `bound` is the
    host that the listener is really bound to.

    `app.state.drain()` must be awaited when the process begins to end, before the server closes its
    connections: parked hooks get their deny and event streams their end; False when some were too slow.
    """
    faces = faces_for(gate.config)
    table = whole_table(faces)
    services = Services(
        gate=gate,
        keys=keys,
        authenticator=Authenticator(lambda: gate.config, keys, clock),
        feed=Feed(gate),
        waiting=Waiting(gate, clock),
        joins=Joins(gate, clock),
        metrics=Metrics(),
        clock=clock,
        make_id=make_id,
        facts=facts or dict,
        bound=bound,
        started_at=clock(),
        description=openapi.document(table),
        faces=faces,
        records=gate.store if isinstance(gate.store, RecordStore) else None,
    )
    courier = Courier(services)
    app = Gateway(
        routes=_routes(table, services),
        middleware=[Middleware(Guard, services=services)],
        exception_handlers={
            HTTPException: answer_http_exception,
            AirlockError: answer_airlock_error,
            Exception: hook.answer_unexpected(services),
        },
    )
    if mcp_app is not None:
        app.straight = Straight(mcp_app, services)
    app.router.redirect_slashes = False
    app.state.services = services
    app.state.courier = courier
    app.state.drain = _drain(services, courier)
    courier.start()
    return app


def whole_table(faces: Sequence[Face]) -> tuple[Route, ...]:
    """The gateway's own routes and those of its faces. No two of them may answer to one method and path."""
    table = (*TABLE, *(route for face in faces for route in face.routes))
    taken = Counter((route.method, _shape_of(route.path)) for route in table)
    twice = [f"{method} {path}" for (method, path), count in taken.items() if count > 1]
    if twice:
        raise AssertionError(f"claimed twice: {', '.join(twice)}")
    return table


def _shape_of(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _drain(services: Services, courier: Courier) -> Any:
    async def drain(seconds: float = DRAIN_SECONDS) -> bool:
        done = await services.closing.drain(seconds)
        await courier.close()
        await services.joins.close()
        await services.feed.close()
        await services.close()
        return done

    return drain


def _routes(table: Sequence[Route], services: Services) -> list[BaseRoute]:
    """One Starlette route for a path, so that a 405 names all its methods; fixed paths come first."""
    by_path: dict[str, dict[str, ASGIApp]] = defaultdict(dict)
    owners = {route.path: face for face in services.faces for route in face.routes}
    for route in table:
        by_path[route.path][route.method] = (
            route.raw(services)
            if route.raw is not None
            else Endpoint(route, services, owners.get(route.path))
        )
    ordered = sorted(by_path.items(), key=lambda item: "{" in item[0])
    return [_starlette_route(path, served) for path, served in ordered]


def _starlette_route(path: str, served: Mapping[str, ASGIApp]) -> BaseRoute:
    return StarletteRoute(path, _Named(path, methods(served)), methods=list(served))


class _Named:
    """Says in the scope which route it is, for the counts. A class, since Starlette wraps functions."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        self._path = path
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["airlock.route"] = self._path
        await self._app(scope, receive, send)
