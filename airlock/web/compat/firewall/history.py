"""`/admin/audit`: the events of every road, each with its hash in the one chain, and proof packs."""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams
from starlette.responses import Response

from airlock.audit import body_of
from airlock.errors import NoSuchRequest, UsageError
from airlock.model import JsonObject
from airlock.ports import AuditEvent, EventPage
from airlock.views import iso, moment
from airlock.web import schemas
from airlock.web.compat.firewall.actions import AGENT, ID, check_word, choice
from airlock.web.compat.firewall.faults import ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.firewall.happened import NAMES, kinds_of, succeeded, word_of
from airlock.web.compat.firewall.words import READ_AUDIT, RISKS, own_id, public_id, risk_of
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters
from airlock.web.errors import JsonAnswer
from airlock.web.proofs import CHECKED, PACK, pack_of
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

USUAL, MOST = 50, 500
DAY_MS = 24 * 60 * 60 * 1000

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_LOST_PLUS = re.compile(r" (?=\d\d:?\d\d\Z)", re.ASCII)


async def listing(asked: Asked) -> Response:
    """A page of events, newest first."""
    query = asked.request.query_params
    part = page(query, usual=USUAL, most=MOST)
    word, risk = one(query, "event_type"), one(query, "risk_level")
    check_word("risk_level", risk, RISKS)
    kinds = kinds_of(word) if word else None
    if word and kinds is None:
        raise UsageError(f"`event_type` is no name of an event: one of {', '.join(NAMES)}")
    found, total = await asked.services.gate.store.page(
        EventPage(
            agent=one(query, "agent_id"),
            about=_own(one(query, "action_id")),
            kinds=kinds,
            succeeded=succeeded(word),
            risk=str(risk_of(risk)) if risk else "",
            since=_moment(query, "start_date"),
            until=_moment(query, "end_date"),
            limit=part.limit,
            offset=part.offset,
        )
    )
    return JsonAnswer(page_shape([event_shape(event) for event in found], total, part))


def _own(reference: str) -> str:
    """The id behind an action's, or an approval's; a call's own is taken too."""
    return own_id("apr", own_id("act", reference))


def _moment(query: QueryParams, name: str) -> int | None:
    """A time; of a whole day its first moment, or as an end its last."""
    text = one(query, name)
    if not text:
        return None
    try:
        at = moment(_LOST_PLUS.sub("+", text))
    except UsageError as error:
        raise UsageError(f"`{name}`: {error}") from None
    return at + DAY_MS - 1 if name == "end_date" and _DAY.match(text) else at


def event_shape(event: AuditEvent) -> JsonObject:
    """One event of the chain. Its action is the question, where there was one, else the call."""
    action = event.request_id or event.call_id
    return {
        "id": event.id,
        "event_type": word_of(event),
        "action_id": public_id("act", action) if action else None,
        "agent_id": event.agent or None,
        "data": {"tool": event.tool, **body_of(event)} if event.tool else body_of(event),
        "hash": f"sha256:{event.hash}",
        "prev_hash": f"sha256:{event.prev}",
        "created_at": iso(event.at),
    }


async def proof_pack(asked: Asked) -> Response:
    """Everything that shows what happened to one call, of any road, signed."""
    reference = str(asked.request.path_params["id"])
    try:
        return JsonAnswer(await pack_of(asked, _own(reference)))
    except NoSuchRequest:
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`") from None


EVENT = schemas.record(
    {
        "id": schemas.TEXT,
        "event_type": schemas.TEXT,
        "action_id": schemas.TEXT_OR_NULL,
        "agent_id": schemas.TEXT_OR_NULL,
        "data": {"type": "object"},
        "hash": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        "prev_hash": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        "created_at": schemas.TIME,
    }
)
_TIME = schemas.or_empty({"anyOf": [schemas.TIME, {"type": "string", "format": "date"}]})

ROUTES = (
    Route(
        method="GET",
        path="/admin/audit",
        summary="Events of every road, newest first, with their hashes (Agent Action Firewall)",
        description=f"`event_type` is one of {', '.join(NAMES)}, or an own kind of Airlock's history.",
        scopes=READ_AUDIT,
        people=True,
        serve=listing,
        parameters=(
            Parameter(
                name="start_date", place="query", schema=_TIME, description="From this day or time on."
            ),
            Parameter(
                name="end_date", place="query", schema=_TIME, description="Up to it, a whole day included."
            ),
            Parameter(
                name="event_type", place="query", schema=schemas.TEXT, description="Only this event_type."
            ),
            Parameter(
                name="action_id", place="query", schema=schemas.TEXT, description="What happened around it."
            ),
            AGENT,
            choice("risk_level", RISKS),
            *page_parameters(USUAL, MOST),
        ),
        error=ERROR,
        replies={
            200: page_reply(EVENT),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/admin/audit/actions/{id}/proof-pack",
        summary="All that shows what happened to one call, signed (Agent Action Firewall)",
        description=CHECKED,
        scopes=READ_AUDIT,
        people=True,
        serve=proof_pack,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the pack", PACK), 404: NOT_FOUND},
    ),
)
