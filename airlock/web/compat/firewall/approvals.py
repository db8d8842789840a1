"""`/v1/approvals`: the queue in this API's words, whatever road a question came on."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from airlock.audit import COMPLETED, body_of
from airlock.model import ApprovalRequest, JsonObject
from airlock.ports import AuditFilter
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import Kept, resolve
from airlock.web.compat.firewall.actions import AGENT, check_word, choice
from airlock.web.compat.firewall.faults import CONFLICT, ERROR, FORBIDDEN, MALFORMED, NOT_FOUND
from airlock.web.compat.firewall.happened import COMPLETED_BADLY, COMPLETED_WELL, EVENTS, word_of
from airlock.web.compat.firewall.seeing import check_sees, found_approval, sees
from airlock.web.compat.firewall.shapes import (
    APPROVAL,
    PERSON,
    approval_shapes,
    decided_shape,
    person_shape,
)
from airlock.web.compat.firewall.states import approval_status, risk_of_kept
from airlock.web.compat.firewall.words import (
    APPROVAL_STATUSES,
    DECIDE,
    FACE,
    MOST_LOOKED_AT,
    READ_APPROVALS,
    RISKS,
    STORED,
    public_id,
)
from airlock.web.compat.listing import listed
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.people import names_of
from airlock.web.compat.query import page, page_parameters, text
from airlock.web.errors import JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

USUAL, MOST = 20, 100
MOST_NOTE = 2_000


async def listing(asked: Asked) -> Response:
    """A page of approvals, newest first."""
    query, services = asked.request.query_params, asked.services
    wanted = page(query, usual=USUAL, most=MOST)
    status, agent, bound = one(query, "status"), one(query, "agent_id"), asked.who.agent
    check_word("status", status, APPROVAL_STATUSES)
    fits = _fits(asked, status)
    rows, total = await listed(
        services,
        FACE,
        wanted,
        lambda kept: agent in {"", str(kept.record.body["agent"])} and fits(kept),
        agent=bound or agent,
        statuses=STORED.get(status, frozenset()),
        total=True,
        most=MOST_LOOKED_AT,
    )
    shapes = await approval_shapes(services, rows, people=not bound)
    return JsonAnswer(page_shape(shapes, total, wanted))


def _fits(asked: Asked, status: str) -> Callable[[Kept], bool]:
    risk = one(asked.request.query_params, "risk_level")
    check_word("risk_level", risk, RISKS)

    def fits(kept: Kept) -> bool:
        return (
            kept.request is not None
            and sees(asked, kept)
            and status in {"", approval_status(kept.request)}
            and risk in {"", risk_of_kept(kept)}
        )

    return fits


async def show(asked: Asked) -> Response:
    """One approval whole: who may decide it, and what happened."""
    services, reference = asked.services, str(asked.request.path_params["id"])
    kept, request = await found_approval(services, reference)
    check_sees(asked, kept, reference)
    (shape,) = await approval_shapes(services, [kept], people=not asked.who.bound)
    people = sorted(set().union(*(one.names for one in request.reviewers)))
    return JsonAnswer(
        {
            **shape,
            "assignees": [person_shape(name, {}) for name in people],
            "history": await _history(asked, request),
        }
    )


async def _history(asked: Asked, request: ApprovalRequest) -> list[JsonObject]:
    found = await asked.services.gate.store.events(wanted=AuditFilter(request=request.id))
    told = [(event, body_of(event)) for event in found if event.kind in EVENTS or event.kind == COMPLETED]
    names = await names_of(asked.services, {_actor(body) for _, body in told} - {""})
    return [
        {
            "id": event.id,
            "event_type": word_of(event),
            "actor": names.get(_actor(body)),
            "comment": body.get("note"),
            "created_at": iso(event.at),
            "hash": f"sha256:{event.hash}",
        }
        for event, body in sorted(told, key=lambda pair: pair[0].seq)
    ]


def _actor(body: JsonObject) -> str:
    """Whoever voted, else whoever decided or reported; "" for nobody."""
    return str(body.get("voter") or body.get("by") or "")


async def approve(asked: Asked) -> Response:
    """A yes."""
    return await _decide(asked, approve=True, note=text(asked.body, "comment", most=MOST_NOTE))


async def deny(asked: Asked) -> Response:
    """A no, with its reason."""
    return await _decide(asked, approve=False, note=text(asked.body, "reason", most=MOST_NOTE, required=True))


async def _decide(asked: Asked, *, approve: bool, note: str) -> Response:
    kept, _ = await found_approval(asked.services, str(asked.request.path_params["id"]))
    request = await resolve(asked.services, asked.who, kept, approve=approve, note=note)
    names = await names_of(asked.services, {request.decided_by} if request.decided_by else set())
    return JsonAnswer(
        {
            "id": public_id("apr", request.id),
            "action_id": public_id("act", kept.record.id),
            "status": approval_status(request),
            "approvals": sum(vote.approve for vote in request.votes),
            "required_approvers": request.quorum,
            **decided_shape(request, names),
        }
    )


HISTORY = schemas.record(
    {
        "id": schemas.TEXT,
        "event_type": {"type": "string", "enum": sorted({*EVENTS.values(), COMPLETED_WELL, COMPLETED_BADLY})},
        "actor": schemas.TEXT_OR_NULL,
        "comment": schemas.TEXT_OR_NULL,
        "created_at": schemas.TIME,
        "hash": schemas.TEXT,
    }
)
DETAIL = schemas.record(
    {
        **{name: APPROVAL["properties"][name] for name in APPROVAL["required"]},
        "assignees": schemas.listed(PERSON),
        "history": schemas.listed(HISTORY),
    },
    **{name: one for name, one in APPROVAL["properties"].items() if name not in APPROVAL["required"]},
)
DECIDED = schemas.record(
    {
        "id": schemas.TEXT,
        "action_id": schemas.TEXT,
        "status": {"type": "string", "enum": list(APPROVAL_STATUSES)},
        "approvals": schemas.COUNT,
        "required_approvers": schemas.COUNT,
    },
    approved_by=PERSON,
    approved_at=schemas.TIME,
    comment=schemas.TEXT_OR_NULL,
    denied_by=PERSON,
    denied_at=schemas.TIME,
    reason=schemas.TEXT_OR_NULL,
)
ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The id, such as `apr_…`.")
_NOTE = {"type": ["string", "null"], "maxLength": MOST_NOTE}
APPROVE_BODY = {"type": "object", "properties": {"comment": _NOTE}}
DENY_BODY = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 1, "maxLength": MOST_NOTE, "pattern": r"^[A-Za-z0-9].*$"}
    },
    "required": ["reason"],
}


def _deciding(verb: str, serve: Callable[[Asked], object], body: JsonObject) -> Route:
    return Route(
        method="POST",
        path=f"/v1/approvals/{{id}}/{verb}",
        summary=f"{verb.capitalize()} an action; not by whoever submitted it (Agent Action Firewall)",
        scopes=DECIDE,
        people=True,
        serve=serve,  # type: ignore[arg-type]
        parameters=(ID,),
        body=body,
        error=ERROR,
        replies={
            200: Reply("what it is now; pending while more people have to approve", DECIDED),
            400: MALFORMED,
            403: FORBIDDEN,
            404: NOT_FOUND,
            409: CONFLICT,
        },
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/approvals",
        summary="Approvals of every road, newest first (Agent Action Firewall)",
        scopes=READ_APPROVALS,
        serve=listing,
        parameters=(
            choice("status", APPROVAL_STATUSES),
            AGENT,
            choice("risk_level", RISKS),
            *page_parameters(USUAL, MOST),
        ),
        error=ERROR,
        replies={
            200: page_reply(APPROVAL),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/v1/approvals/{id}",
        summary="One approval, with its history (Agent Action Firewall)",
        scopes=READ_APPROVALS,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the approval", DETAIL), 404: NOT_FOUND},
    ),
    _deciding("approve", approve, APPROVE_BODY),
    _deciding("deny", deny, DENY_BODY),
)
