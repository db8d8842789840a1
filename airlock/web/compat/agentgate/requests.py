"""AgentGate's `/api/requests`: ask, look, decide, confirm, and what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import AlreadySettled, NoSuchRequest, NotPermitted, UsageError
from airlock.model import Outcome, Overlay, Status
from airlock.views import moment
from airlock.web import schemas
from airlock.web.compat import query as read
from airlock.web.compat import webhooks
from airlock.web.compat.agentgate import announcing, faults, ruling, shapes, trail
from airlock.web.compat.agentgate.words import (
    FACE,
    STATUSES,
    STORED,
    URGENCIES,
    action_of,
    own_id,
    status_of,
    urgency_of,
)
from airlock.web.compat.asking import (
    Ask,
    Attempt,
    Kept,
    ask,
    asker,
    collect,
    find,
    is_foreign,
    known_arguments,
    report,
    resolve,
)
from airlock.web.compat.listing import listed
from airlock.web.compat.once import once
from airlock.web.compat.people import name_of
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

CREATE = frozenset({Scope.REQUEST_CREATE})
READ = frozenset({Scope.REQUEST_READ, Scope.READ})
DECIDE = frozenset({Scope.REQUEST_DECIDE, Scope.APPROVALS_DECIDE})
MOST_ACTION = 200
MOST_NOTE = 2_000
FARTHEST = 366 * 86_400_000
"""No question stays open longer than this; the answer says when it really ends."""

USUAL_PAGE, MOST_PAGE = 50, 1_000


class Wanted(NamedTuple):
    """A request as it was sent, checked."""

    action: str
    arguments: Mapping[str, Any]
    urgency: str
    until: int | None


def wanted_of(body: Mapping[str, Any], now: int) -> Wanted:
    """What a body asks for; UsageError names what is wrong with it."""
    action = read.text(body, "action", most=MOST_ACTION, required=True)
    if not action.isprintable():
        raise UsageError("`action` must be printing characters")
    params, context = read.mapping(body, "params"), read.mapping(body, "context")
    if shapes.CONTEXT in params:
        raise UsageError(f"`params` may not have a member `{shapes.CONTEXT}`")
    urgency = read.text(body, "urgency", most=20) or "normal"
    if urgency not in URGENCIES:
        raise UsageError(f"`urgency` must be one of {', '.join(URGENCIES)}")
    arguments = {**params, shapes.CONTEXT: context} if context else params
    return Wanted(action, arguments, urgency, _until(body, now))


def _until(body: Mapping[str, Any], now: int) -> int | None:
    text = read.text(body, "expiresAt", most=60)
    if not text:
        return None
    until = moment(text)
    if until <= now:
        raise UsageError("`expiresAt` must be in the future")
    return min(until, now + FARTHEST)


async def create(asked: Asked) -> Response:
    """Put an action before the policies, and where they say so before a person."""
    services, who = asked.services, asked.who
    wanted = wanted_of(asked.body, services.clock())
    key = asked.request.headers.get("idempotency-key", "")

    async def make(attempt: Attempt) -> str:
        return (await _asked(asked, wanted, attempt)).record.id

    made, fresh = await once(services, FACE, owner=who.identity, key=key, body=asked.body, make=make)
    shape = await shapes.request_shape(services, await find(services, FACE, made))
    return JsonAnswer(shape, 201 if fresh else 200)


async def _asked(asked: Asked, wanted: Wanted, attempt: Attempt) -> Kept:
    services, who = asked.services, asked.who
    kept = await ask(
        services,
        who,
        Ask(
            face=FACE,
            name=wanted.action,
            arguments=wanted.arguments,
            overlay=await _overlay(asked, wanted),
            beside={"urgency": wanted.urgency, "expires_at": wanted.until},
            client=await name_of(services, who.identity),
            attempt=attempt,
        ),
    )
    if kept.request is None:  # decided at once: no question, so no history of one to follow
        await webhooks.publish(services, FACE, await announcing.settled(services, kept))
    return kept


async def _overlay(asked: Asked, wanted: Wanted) -> Overlay:
    return await ruling.overlay(asked.services, wanted.action, wanted.arguments, wanted.urgency, wanted.until)


async def listing(asked: Asked) -> Response:
    """Requests, newest first: this API's, and what else waited for a person."""
    query = asked.request.query_params
    status, action, urgency = (one(query, name) for name in ("status", "action", "urgency"))
    for name, value, known in (("status", status, STATUSES), ("urgency", urgency, URGENCIES)):
        if value and value not in known:
            raise UsageError(f"`{name}` must be one of {', '.join(known)}")
    page = read.page(query, usual=USUAL_PAGE, most=MOST_PAGE)

    def fits(kept: Kept) -> bool:
        return (
            status in {"", status_of(kept)}
            and action in {"", action_of(kept)}
            and urgency in {"", urgency_of(kept)}
        )

    wrapped = is_wrapped(asked)
    found, total = await listed(
        asked.services,
        FACE,
        page,
        fits,
        agent=asked.who.agent,
        statuses=STORED.get(status, frozenset()),
        total=wrapped,
    )
    rows = await shapes.request_shapes(asked.services, found)
    return JsonAnswer({"requests": rows, "pagination": page.shape(total)} if wrapped else rows)


def is_wrapped(asked: Asked) -> bool:
    """Whether lists are objects, as the later clients read them."""
    options = asked.services.config.compat.get(FACE)
    return options is not None and options.wrapped


async def show(asked: Asked) -> Response:
    """One request. An approval that whoever asked comes for here is spent by that."""
    kept = await _found(asked)
    try:
        kept = await _collected(asked, kept)
    except NotPermitted:  # everything is paused: not yet
        shape = await shapes.request_shape(asked.services, kept)
        return JsonAnswer({**shape, "status": "pending"})
    return JsonAnswer(await shapes.request_shape(asked.services, kept))


async def _found(asked: Asked) -> Kept:
    reference = own_id("req", str(asked.request.path_params["id"]))
    try:
        kept = await find(asked.services, FACE, reference)
    except NoSuchRequest:
        raise HttpError(404, "Request not found") from None
    if asked.who.agent not in {"", kept.record.body["agent"]}:
        raise HttpError(404, "Request not found")
    return kept


async def _collected(asked: Asked, kept: Kept) -> Kept:
    request = kept.request
    if request is None or request.status is not Status.APPROVED or not asker(asked.who, kept.record):
        return kept
    arguments = known_arguments(asked.services, kept)
    wanted = Wanted(action_of(kept), arguments, urgency_of(kept), request.expires_at)
    return await collect(asked.services, asked.who, kept, await _overlay(asked, wanted))


async def decide(asked: Asked) -> Response:
    """A yes or a no by whoever holds this key: what the body says of the decider is not believed."""
    decision = read.text(asked.body, "decision", most=20, required=True)
    if decision not in {"approved", "denied"}:
        raise UsageError("`decision` must be approved or denied")
    note = read.text(asked.body, "reason", most=MOST_NOTE)
    kept = await _found(asked)
    try:
        await resolve(asked.services, asked.who, kept, approve=decision == "approved", note=note)
    except AlreadySettled as error:
        late = error.status in {Status.EXPIRED, Status.CANCELLED}
        raise HttpError(409, "Request has expired" if late else "Request already decided") from None
    return JsonAnswer(await shapes.request_shape(asked.services, await _found(asked)))


async def confirm(asked: Asked) -> Response:
    """How an approved action came out: told once, by whoever asked or by an administrator."""
    result = read.mapping(asked.body, "result")
    kept = await _found(asked)
    mine = asker(asked.who, kept.record)
    if is_foreign(kept.record):
        raise HttpError(409, "Only a request of this API can be confirmed")
    if not mine and (asked.who.bound or Scope.ADMIN not in asked.who.scopes):
        raise HttpError(403, "Only whoever asked can confirm")
    kept = await _collected(asked, kept)
    if status_of(kept) != "approved":
        raise HttpError(409, f"Request is {status_of(kept)}: only an approved one can be confirmed")
    outcome = Outcome.ERROR if result.get("success") is False else Outcome.SUCCESS
    shown = asked.services.gate.masked(result)
    kept = await report(asked.services, asked.who, kept, outcome, result, result=shown)
    await webhooks.publish(asked.services, FACE, await announcing.confirmed(asked.services, kept))
    return JsonAnswer(await shapes.request_shape(asked.services, kept))


async def audit(asked: Asked) -> Response:
    """What happened to one request, oldest first."""
    return JsonAnswer(await trail.of(asked.services, await _found(asked)))


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The request's id.")
CREATE_BODY = {
    "type": "object",
    "properties": {
        "action": {"type": "string", "minLength": 1, "maxLength": MOST_ACTION},
        "params": {"type": ["object", "null"]},
        "context": {"type": ["object", "null"]},
        "urgency": {"type": "string", "enum": list(URGENCIES)},
        "expiresAt": {"type": ["string", "null"], "format": "date-time", "maxLength": 60},
    },
    "required": ["action"],
}
DECIDE_BODY = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": ["approved", "denied"]},
        "reason": {"type": ["string", "null"], "maxLength": MOST_NOTE},
        "decidedBy": {"description": "taken, and not believed: it is the key that decides"},
    },
    "required": ["decision"],
}
CONFIRM_BODY = {"type": "object", "properties": {"result": {"type": ["object", "null"]}}}

ONE = Reply("the request", shapes.REQUEST)
MALFORMED = Reply("the body or a parameter is malformed", faults.SHAPE)
NOT_FOUND = Reply("no such request", faults.SHAPE)
CONFLICT = Reply("decided already, over, or told before", faults.SHAPE)


def _choice(name: str, words: tuple[str, ...]) -> Parameter:
    schema = schemas.or_empty({"type": "string", "enum": list(words)})
    return Parameter(name=name, place="query", schema=schema, description=f"Only this {name}.")


FILTERS = (
    _choice("status", STATUSES),
    Parameter(name="action", place="query", schema=schemas.TEXT, description="Only this action."),
    _choice("urgency", URGENCIES),
    *read.page_parameters(USUAL_PAGE, MOST_PAGE),
)

ROUTES = (
    Route(
        method="POST",
        path="/api/requests",
        summary="Ask for an action to be approved (AgentGate)",
        description="An `Idempotency-Key` header makes it safe to send again: 200 with the same request.",
        scopes=CREATE,
        serve=create,
        body=CREATE_BODY,
        error=faults.SHAPE,
        replies={
            201: Reply("made", shapes.REQUEST),
            200: Reply("made before, under this idempotency key", shapes.REQUEST),
            400: MALFORMED,
            409: CONFLICT,
        },
    ),
    Route(
        method="GET",
        path="/api/requests",
        summary="Requests, newest first (AgentGate)",
        scopes=READ,
        serve=listing,
        parameters=FILTERS,
        error=faults.SHAPE,
        replies={200: Reply("a page of them", shapes.either("requests", shapes.REQUEST)), 400: MALFORMED},
    ),
    Route(
        method="GET",
        path="/api/requests/{id}",
        summary="One request; whoever asked takes its approval by this (AgentGate)",
        scopes=READ,
        serve=show,
        parameters=(ID,),
        error=faults.SHAPE,
        replies={200: ONE, 404: NOT_FOUND},
    ),
    Route(
        method="POST",
        path="/api/requests/{id}/decide",
        summary="Approve or deny a request (AgentGate)",
        scopes=DECIDE,
        people=True,
        serve=decide,
        parameters=(ID,),
        body=DECIDE_BODY,
        error=faults.SHAPE,
        replies={200: ONE, 400: MALFORMED, 404: NOT_FOUND, 409: CONFLICT},
    ),
    Route(
        method="POST",
        path="/api/requests/{id}/confirm",
        summary="Tell how an approved action came out (AgentGate)",
        scopes=CREATE,
        serve=confirm,
        parameters=(ID,),
        body=CONFIRM_BODY,
        error=faults.SHAPE,
        replies={200: ONE, 400: MALFORMED, 404: NOT_FOUND, 409: CONFLICT},
    ),
    Route(
        method="GET",
        path="/api/requests/{id}/audit",
        summary="What happened to a request (AgentGate)",
        scopes=READ,
        serve=audit,
        parameters=(ID,),
        error=faults.SHAPE,
        replies={200: Reply("its events, oldest first", schemas.listed(shapes.EVENT)), 404: NOT_FOUND},
    ),
)
