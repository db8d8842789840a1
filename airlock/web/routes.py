"""What a route is: data, from which the router, the checks, OpenAPI and the tests are all fed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from airlock.apikeys import Scope
from airlock.config import ServerConfig
from airlock.values import dataclass
from airlock.web.auth import Credential
from airlock.web.bodies import REST_LIMIT

if TYPE_CHECKING:
    from airlock.web.services import Services

Schema: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that passed every check: `credential` is None only on a public route."""

    request: Request
    services: Services
    credential: Credential | None
    body: Mapping[str, Any]

    @property
    def who(self) -> Credential:
        """The credential of a route that is not public."""
        if self.credential is None:
            raise AssertionError("a route without a scope asked who calls it")
        return self.credential


Serve: TypeAlias = Callable[[Asked], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter in the path or the query, as OpenAPI tells it."""

    name: str
    place: str
    schema: Schema
    description: str


class Reply(NamedTuple):
    """One status a route answers with, and the shape of its body; no schema means no JSON."""

    description: str
    schema: Schema | None = None
    media: str = "application/json"


def never(_: ServerConfig) -> bool:
    """No one gets in without a credential."""
    return False


def always(_: ServerConfig) -> bool:
    """Everyone gets in."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path.

    `scopes`: a credential needs one of them. `public` says, for a server config, whether it also answers
    without a credential. `people`: a credential that is bound to an agent gets 403, whatever its scopes.
    `raw` is an ASGI app that makes all checks itself, in its own way: the hook, which may never answer
    with an error status. `error` is the shape of what the checks answer, where it is not Airlock's own.
    `credentials` and `per_minute` are those of a face, where this route of it has others; `schemes` are how
    OpenAPI calls what stands there.
    """

    method: str
    path: str
    summary: str
    description: str = ""
    scopes: frozenset[Scope] = frozenset()
    public: Callable[[ServerConfig], bool] = never
    people: bool = False
    serve: Serve | None = None
    raw: Callable[[Services], ASGIApp] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_limit: int = REST_LIMIT
    replies: Mapping[int, Reply] = field(default_factory=dict)
    error: Schema | None = None
    credentials: Callable[[Headers], list[str]] | None = None
    per_minute: int | None = None
    schemes: tuple[str, ...] = ("bearer",)
