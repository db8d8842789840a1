"""/openapi.json, made from the route table: it says neither more nor less than what is served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from airlock import __version__
from airlock.apikeys import Scope
from airlock.web import schemas
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route, always, never

LIMIT_HEADERS = {
    "X-RateLimit-Limit": {"description": "requests a minute", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "what is left of them", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {
        "description": "when all are free again, epoch seconds",
        "schema": {"type": "integer"},
    },
}


SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`server.api_secret`, an API key with the scope, or an agent's token.",
    },
    "agentKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Agent-Key",
        "description": "an agent's key of the Agent Action Firewall: `aaf_…`",
    },
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Airlock",
            "version": __version__,
            "description": "Decides every tool call of an agent by one policy: allow, ask a person, deny.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"securitySchemes": _schemes(paths)},
    }


def _schemes(paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The ways to say who one is, of those that a route takes."""
    taken = {
        name for ways in paths.values() for way in ways.values() for one in way["security"] for name in one
    }
    return {name: scheme for name, scheme in SCHEMES.items() if name in {"bearer", *taken}}


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "security": _security(route),
        "responses": {str(status): _reply(reply) for status, reply in sorted(all_replies(route).items())},
    }
    if route.description:
        operation["description"] = route.description
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.scopes:
        operation["x-scopes"] = sorted(route.scopes)
    if route.body is not None:
        operation["requestBody"] = {
            "required": "required" in route.body,
            "content": {"application/json": {"schema": route.body}},
        }
    return operation


def operation_id(route: Route) -> str:
    """A name for generated clients: `get_hitl_pending`."""
    words = route.path.replace("{", "").replace("}", "").replace(".", "_").strip("/").split("/")
    return "_".join([route.method.lower(), *words])


def _security(route: Route) -> list[dict[str, Any]]:
    if not route.scopes:
        return []
    ways: list[dict[str, Any]] = [{name: []} for name in route.schemes]
    return ways if route.public is never else [*ways, {}]


def all_replies(route: Route) -> Mapping[int, Reply]:
    """A route's own answers, and those that its checks may give in its place."""
    if route.raw is not None:
        return route.replies
    shape = schemas.ERROR if route.error is None else route.error
    checks: dict[int, Reply] = {
        403: Reply("the Origin, the scope or the credential does not allow it", shape),
        421: Reply("the Host is not served here", shape),
    }
    if route.public is not always:
        checks[401] = Reply("no credential, or a wrong one", shape)
        checks[429] = Reply("too many requests; see `Retry-After`", shape)
        checks[503] = Reply("the database cannot be used", shape)
    if route.body is not None:
        checks[400] = Reply("the body is malformed", shape)
        checks[408] = Reply("the body did not arrive in time", shape)
        checks[413] = Reply("the body is too large", shape)
    return {**checks, **route.replies}


def _reply(reply: Reply) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    schema = reply.schema if reply.schema is not None else {"type": "string"}
    described["content"] = {reply.media: {"schema": schema}}
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


async def openapi(asked: Asked) -> Response:
    """The description of this very gateway."""
    return JsonAnswer(asked.services.description)


ROUTES = (
    Route(
        method="GET",
        path="/openapi.json",
        summary="This description",
        scopes=frozenset({Scope.READ}),
        serve=openapi,
        replies={200: Reply("an OpenAPI 3.1 document", {"type": "object", "required": ["openapi", "paths"]})},
    ),
)
