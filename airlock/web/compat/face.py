"""What a sister API is to the gateway: routes in its own words, and its own way of everything around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import Response

from airlock.limits import Taken
from airlock.model import ApprovalRequest
from airlock.ports_faces import Record
from airlock.values import dataclass
from airlock.web.endpoint import authorization
from airlock.web.errors import Fault
from airlock.web.limiting import epoch_headers
from airlock.web.routes import Route

if TYPE_CHECKING:
    from airlock.web.services import Services

SECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that became of a question, on whatever road.

    `what` is opened, approved, denied, expired or cancelled. `record` is what the face keeps beside it,
    None when it came in on another road.
    """

    what: str
    at: int
    request: ApprovalRequest
    record: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One event for webhooks. The same `key` is told once to each; `payload` is all of the body."""

    event: str
    key: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One attempt to deliver: the exact body, and what a signature may be made of."""

    webhook: str
    delivery: str
    event: str
    body: bytes
    secret: str
    at: int


async def silent(_: Services, __: Happening) -> Sequence[News]:
    """Nothing to tell."""
    return ()


def unsigned(_: Parcel) -> Mapping[str, str]:
    """No headers of its own."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One sister API.

    `claims` are the path prefixes whose errors `render` writes (the longest match of all faces counts);
    `credentials` finds what stands for `Authorization` values; `limits` writes the headers of a limit and
    `per_minute` is the limit of a credential that has none of its own; `request_ids` sends `X-Request-Id`.
    `announce` says what its webhooks are told of a happening, `sign` makes the headers of one delivery, and
    `retries` are the pauses after failed attempts, in milliseconds.
    """

    name: str
    routes: tuple[Route, ...]
    claims: tuple[str, ...]
    render: Callable[[Fault], Response]
    credentials: Callable[[Headers], list[str]] = authorization
    limits: Callable[[Taken, int], dict[str, str]] = epoch_headers
    per_minute: int = 6_000
    request_ids: bool = False
    announce: Callable[[Services, Happening], Awaitable[Sequence[News]]] = silent
    sign: Callable[[Parcel], Mapping[str, str]] = unsigned
    retries: tuple[int, ...] = (2 * SECOND, 4 * SECOND)
    delivery_seconds: float = 10.0
    events: tuple[str, ...] = field(default=())
