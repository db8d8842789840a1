"""One exchange: its state, the wait for its decision, withdrawing it, acknowledging what was delivered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.errors import Conflict, UsageError
from airlock.model import Overlay, Status
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import rebuilt, records_of
from airlock.web.compat.harp import words
from airlock.web.compat.harp.answers import Answer, answer, delivered
from airlock.web.compat.harp.faults import CONFLICT, ERROR, GONE, MALFORMED, NOT_FOUND, refused
from airlock.web.compat.harp.keeping import AUDIT, kept_of, one
from airlock.web.compat.harp.pairing import owner_of
from airlock.web.compat.harp.words import SEE, SUBMIT, TEXT, TEXT_OR_NULL, envelope, enveloped, wanted
from airlock.web.compat.query import number
from airlock.web.errors import SECURITY_HEADERS, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

USUAL_WAIT_S = 30
LONGEST_WAIT_S = 60
ACKS = ("received", "processed", "delivered")
OVER = {words.EXPIRED: "expired", words.WITHDRAWN: "withdrawn", words.CANCELLED: "cancelled"}


def reply(asked: Asked, kind: str, request_id: str, body: Any, status: int = 200) -> JsonAnswer:
    """One envelope."""
    services = asked.services
    wire = envelope(kind, request_id, body, at=services.clock(), message_id=services.make_id())
    return JsonAnswer(wire, status)


def _id(asked: Asked) -> str:
    return str(asked.request.path_params["requestId"])


async def status(asked: Asked) -> Response:
    """The state, and the decision where there is one."""
    services, who = asked.services, asked.who
    exchange = await one(services, who, _id(asked))
    found = await answer(services, who, exchange)
    body = {
        "requestId": exchange.id,
        "state": found.state,
        "createdAt": iso(exchange.created_at),
        "expiresAt": iso(exchange.body["expires_at"]),
        "artifactHash": exchange.body["hash"],
        "decision": _shown(asked, exchange, found),
    }
    return reply(asked, "exchange.status", exchange.id, body)


def _shown(asked: Asked, exchange: Record, found: Answer) -> dict[str, Any] | None:
    """The signed decision for whoever submitted it; what others see of it cannot be acted on."""
    if not found.verdict:
        return None
    if exchange.owner == owner_of(asked.services, asked.who):
        return delivered(asked.services, exchange, found)
    return {"artifactHash": exchange.body["hash"], "decision": found.verdict, "reason": found.reason or None}


async def wait(asked: Asked) -> Response:
    """The decision as soon as there is one; 204 when the time is over, 410 when the exchange is."""
    services, who = asked.services, asked.who
    seconds = number(asked.request.query_params, "timeout", USUAL_WAIT_S, least=0, most=10**6)
    exchange = await one(services, who, _id(asked))
    if exchange.owner != owner_of(services, who):
        raise refused(403, "forbidden", "only whoever submitted it waits for the decision", exchange.id)
    found = await answer(services, who, exchange)
    if found.state == words.PENDING and exchange.body["made"] != AUDIT:
        await _parked(services, exchange, max(1, min(seconds, LONGEST_WAIT_S)))
        exchange = await one(services, who, exchange.id)
        found = await answer(services, who, exchange)
    if found.state in OVER:
        raise refused(410, OVER[found.state], f"this exchange is {OVER[found.state]}", exchange.id)
    if not found.verdict:
        return Response(status_code=204, headers=SECURITY_HEADERS)
    return reply(asked, "decision.deliver", exchange.id, delivered(services, exchange, found))


async def _parked(services: Services, exchange: Record, seconds: float) -> None:
    """Until a person has answered, wherever; or the time is over, or this process ends."""
    with services.closing.held():
        watch = asyncio.create_task(services.gate.settled(str(exchange.body["made"]), seconds=seconds))
        ending = asyncio.create_task(services.closing.asked.wait())
        try:
            await asyncio.wait({watch, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watch, ending):
                task.cancel()
            await asyncio.gather(watch, ending, return_exceptions=True)


async def withdraw(asked: Asked) -> Response:
    """Take back a question that nobody has answered; 409 when it is over."""
    services, who = asked.services, asked.who
    exchange = await one(services, who, _id(asked))
    if exchange.owner != owner_of(services, who):
        raise refused(403, "forbidden", "only whoever submitted it withdraws it", exchange.id)
    found = await answer(services, who, exchange, given=False)
    if found.state == words.PENDING:
        kept = await kept_of(services, exchange)
        if kept.request is not None:
            await services.gate.retract(rebuilt(services, who, kept, Overlay()), kept.request.id)
        found = await answer(services, who, exchange, given=False)
        if found.state == words.WITHDRAWN:
            return reply(asked, "exchange.withdrawn", exchange.id, _withdrawn(services))
    raise refused(409, "conflict", f"this exchange is {found.state} already", exchange.id)


def _withdrawn(services: Services) -> dict[str, Any]:
    now = iso(services.clock())
    return {"state": words.WITHDRAWN, "withdrawnAt": now, "reason": "withdrawn by its enforcer"}


async def ack(asked: Asked) -> Response:
    """A client has a message. A decision is Delivered by this; all else changes nothing."""
    services, who, body = asked.services, asked.who, asked.body
    given = body.get("body")
    inner: dict[str, Any] = given if isinstance(given, dict) else {}
    request_id = words.identifier(body.get("requestId") or inner.get("requestId"), "requestId")
    said = inner.get("status", "received")
    if said not in ACKS:
        raise UsageError(f"`body.status` must be one of {', '.join(ACKS)}")
    exchange = await one(services, who, request_id)
    found = await answer(services, who, exchange, given=False)
    own = exchange.owner == owner_of(services, who)
    if own and found.verdict and not exchange.body["acked"] and await _collected(services, exchange):
        await _acked(services, exchange, said)
    return reply(asked, "ack.accepted", request_id, {"requestId": request_id, "status": said})


async def _collected(services: Services, exchange: Record) -> bool:
    """True once the decision was really given out: an approval that nobody fetched is not delivered."""
    kept = await kept_of(services, exchange)
    return kept.request is None or kept.request.status is not Status.APPROVED


async def _acked(services: Services, exchange: Record, said: str) -> None:
    body = {**exchange.body, "acked": said}
    following = replace(exchange, version=exchange.version + 1, updated_at=services.clock(), body=body)
    try:
        await records_of(services).put_records([following])
    except Conflict:
        return  # another ack of the same was faster


DECISION = schemas.record(
    {"artifactHash": TEXT, "decision": {"enum": [words.APPROVE, words.REJECT]}},
    reason=TEXT_OR_NULL,
    signerKeyId=TEXT_OR_NULL,
    nonce=TEXT_OR_NULL,
    signature=TEXT_OR_NULL,
    decisionHash=TEXT_OR_NULL,
    core={"type": "object"},
)
STATUS = schemas.record(
    {
        "requestId": TEXT,
        "state": {"type": "string", "enum": list(words.STATES)},
        "createdAt": schemas.TIME,
        "expiresAt": schemas.TIME,
        "artifactHash": TEXT,
        "decision": {"anyOf": [DECISION, {"type": "null"}]},
    }
)
REQUEST_ID = Parameter(
    name="requestId", place="path", schema=TEXT, description="The id that the client gave its artifact."
)
TIMEOUT = Parameter(
    name="timeout",
    place="query",
    schema={"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**6}, {"const": ""}]},
    description=f"How many seconds, 1 to {LONGEST_WAIT_S}; {USUAL_WAIT_S} unless given.",
)

ROUTES = (
    Route(
        method="GET",
        path="/v1/exchanges/{requestId}",
        summary="The state of an exchange",
        scopes=SEE,
        serve=status,
        parameters=(REQUEST_ID,),
        error=ERROR,
        replies={
            200: Reply("the state", enveloped("exchange.status", STATUS)),
            404: NOT_FOUND,
            409: CONFLICT,
        },
    ),
    Route(
        method="GET",
        path="/v1/exchanges/{requestId}/wait",
        summary="Wait for the decision",
        description="For whoever submitted it. This uses an approval; asked again, the answer is the same.",
        scopes=SUBMIT,
        serve=wait,
        parameters=(REQUEST_ID, TIMEOUT),
        error=ERROR,
        replies={
            200: Reply("the decision", enveloped("decision.deliver", DECISION)),
            204: Reply("none yet"),
            400: MALFORMED,
            404: NOT_FOUND,
            409: CONFLICT,
            410: GONE,
        },
    ),
    Route(
        method="POST",
        path="/v1/exchanges/{requestId}/withdraw",
        summary="Take back a question that nobody has answered",
        scopes=SUBMIT,
        serve=withdraw,
        parameters=(REQUEST_ID,),
        error=ERROR,
        replies={
            200: Reply(
                "withdrawn",
                enveloped(
                    "exchange.withdrawn",
                    schemas.record(
                        {"state": {"const": words.WITHDRAWN}, "withdrawnAt": schemas.TIME, "reason": TEXT}
                    ),
                ),
            ),
            404: NOT_FOUND,
            409: CONFLICT,
        },
    ),
    Route(
        method="POST",
        path="/v1/acks",
        summary="Say that a message was received",
        scopes=SUBMIT,
        serve=ack,
        body=wanted(
            {"requestId": words.ID},
            body=wanted({}, status={"type": "string", "enum": list(ACKS)}),
        ),
        error=ERROR,
        replies={
            200: Reply(
                "noted", enveloped("ack.accepted", schemas.record({"requestId": TEXT, "status": TEXT}))
            ),
            400: MALFORMED,
            404: NOT_FOUND,
            409: CONFLICT,
        },
    ),
)
