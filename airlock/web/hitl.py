"""The queue over REST: what waits, one request, yes and no."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.durations import milliseconds
from airlock.errors import UsageError
from airlock.model import Resolution
from airlock.views import answer_shape, request_shape
from airlock.web import schemas
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

NOTE_LIMIT = 2_000
VIA = "rest"
"""How history calls this road to an answer."""

SEE = frozenset({Scope.READ, Scope.APPROVALS_DECIDE})
DECIDE = frozenset({Scope.APPROVALS_DECIDE})


async def pending(asked: Asked) -> Response:
    """Everything that waits for a person, oldest first."""
    return JsonAnswer([request_shape(one) for one in await asked.services.gate.pending()])


async def show(asked: Asked) -> Response:
    """One request, whatever became of it."""
    return JsonAnswer(request_shape(await asked.services.gate.request(_reference(asked))))


async def approve(asked: Asked) -> Response:
    """A yes; with `for` also a grant for that long, which `any_args` widens."""
    grant_ms = _grant_ms(asked.body)
    any_args = _flag(asked.body, "any_args")
    if any_args and grant_ms is None:
        raise UsageError("`any_args` widens a grant: it needs `for`")
    resolution = Resolution(
        approve=True,
        identity=asked.who.identity,
        via=VIA,
        note=_text(asked.body, "note"),
        grant_ms=grant_ms,
        any_args=any_args,
    )
    return await _resolve(asked, resolution)


async def deny(asked: Asked) -> Response:
    """A no, with a reason that the agent reads."""
    note = _text(asked.body, "reason")
    return await _resolve(asked, Resolution(approve=False, identity=asked.who.identity, via=VIA, note=note))


async def _resolve(asked: Asked, resolution: Resolution) -> Response:
    return JsonAnswer(answer_shape(await asked.services.gate.resolve(_reference(asked), resolution)))


def _reference(asked: Asked) -> str:
    return str(asked.request.path_params["ref"])


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NOTE_LIMIT:
        raise UsageError(f"`{name}` must be text of at most {NOTE_LIMIT} characters")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"`{name}` must be true or false")
    return value


def _grant_ms(body: Mapping[str, Any]) -> int | None:
    length = _text(body, "for")
    if not length:
        return None
    try:
        return milliseconds(length)
    except ValueError as error:
        raise UsageError(str(error)) from None


_NOTE: Mapping[str, Any] = {"type": ["string", "null"], "maxLength": NOTE_LIMIT}

APPROVE_BODY = {
    "type": "object",
    "properties": {
        "note": _NOTE,
        "for": {
            "type": ["string", "null"],
            "pattern": r"^([0-9]{1,11} ?ms|[0-9]{1,8} ?s|[0-9]{1,6} ?m|[0-9]{1,4} ?h|[0-9]{1,3} ?d)?$",
            "description": "also grant the same call this long: `10m`",
        },
        "any_args": {"type": "boolean", "description": "widen the grant to the tool's other arguments"},
    },
    "if": {"properties": {"any_args": {"const": True}}, "required": ["any_args"]},
    "then": {"properties": {"for": {"type": "string", "minLength": 2}}, "required": ["for"]},
}
DENY_BODY = {"type": "object", "properties": {"reason": _NOTE}}

REFERENCE = Parameter(
    name="ref", place="path", schema=schemas.TEXT, description="The request's id, or its code in any case."
)

NOT_FOUND = Reply("no such request", schemas.ERROR)
SETTLED = Reply("already decided, or you have voted on it", schemas.ERROR)
OVER = Reply("expired or withdrawn: the question is over", schemas.ERROR)
MALFORMED = Reply("the body or a parameter is malformed", schemas.ERROR)

ROUTES = (
    Route(
        method="GET",
        path="/hitl/pending",
        summary="All requests that wait for a person, oldest first",
        scopes=SEE,
        people=True,
        serve=pending,
        replies={200: Reply("the queue", schemas.listed(schemas.REQUEST))},
    ),
    Route(
        method="GET",
        path="/hitl/{ref}",
        summary="One request by id or code, whatever became of it",
        scopes=SEE,
        people=True,
        serve=show,
        parameters=(REFERENCE,),
        replies={200: Reply("the request", schemas.REQUEST), 404: NOT_FOUND},
    ),
    Route(
        method="POST",
        path="/hitl/approve/{ref}",
        summary="Approve a request by id or code",
        description="The body may be absent. Below the quorum the status stays `pending`.",
        scopes=DECIDE,
        people=True,
        serve=approve,
        parameters=(REFERENCE,),
        body=APPROVE_BODY,
        replies={
            200: Reply("approved, or counted", schemas.ANSWER),
            400: MALFORMED,
            404: NOT_FOUND,
            409: SETTLED,
            410: OVER,
        },
    ),
    Route(
        method="POST",
        path="/hitl/deny/{ref}",
        summary="Deny a request by id or code",
        description="The body may be absent. The agent reads the reason.",
        scopes=DECIDE,
        people=True,
        serve=deny,
        parameters=(REFERENCE,),
        body=DENY_BODY,
        replies={
            200: Reply("denied", schemas.ANSWER),
            400: MALFORMED,
            404: NOT_FOUND,
            409: SETTLED,
            410: OVER,
        },
    ),
)
