"""GET /approvals/:id/status: what a client polls. Whoever asked is given the answer: a yes is spent by it.

Every evaluation has an id, and a use, of its own: where two identical ones waited on one question, the first
to come for the yes has it, and the other is told that its time is over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.errors import NoSuchRequest, NotPermitted
from airlock.model import ApprovalRequest, Overlay, Status
from airlock.ports import AuditFilter
from airlock.web import schemas
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, asker, collect
from airlock.web.compat.sidclaw.agents import agent_of
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.sidclaw.policies import of_arguments, overlay
from airlock.web.compat.sidclaw.seeing import EVERY_APPROVAL, SEE_APPROVALS, check_sees, found_question
from airlock.web.compat.sidclaw.shapes import STATUS, status_shape
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

BY_ANOTHER = "an identical evaluation used this approval: evaluate again"
PAUSED = "approved, and held back while airlock is paused"


async def status(asked: Asked) -> Response:
    """The state of one approval in five fields."""
    services, who = asked.services, asked.who
    reference = str(asked.request.path_params["id"])
    kept, request = await found_question(services, reference)
    check_sees(who, kept, EVERY_APPROVAL, reference)
    if not asker(who, kept.record):
        return JsonAnswer(await status_shape(services, kept))
    return JsonAnswer(await _given(services, who, kept, request))


async def _given(services: Services, who: Credential, kept: Kept, request: ApprovalRequest) -> dict[str, Any]:
    try:
        if request.status is Status.APPROVED:
            kept = await collect(services, who, kept, await _today(services, kept))
    except NotPermitted:
        held = replace(request, status=Status.PENDING)
        return await status_shape(services, replace(kept, request=held), note=PAUSED)
    request = kept.request or request
    if request.status is Status.USED and not await _used_by(services, kept, request):
        return await status_shape(services, kept, status="expired", note=BY_ANOTHER)
    if request.status is Status.CANCELLED and request.decided_by == "policy":
        return await status_shape(services, kept, status="denied")
    return await status_shape(services, kept)


async def _today(services: Services, kept: Kept) -> Overlay:
    """What the face's policies say of it at this moment."""
    try:
        agent = await agent_of(services, str(kept.record.body.get("agent_id", kept.record.body["agent"])))
    except NoSuchRequest:
        return await overlay(services, of_arguments(kept.arguments, frozenset()), inactive="gone")
    return await overlay(services, of_arguments(kept.arguments, agent.names), inactive=agent.inactive)


async def _used_by(services: Services, kept: Kept, request: ApprovalRequest) -> bool:
    """True when it was this very evaluation that the approval was spent on: history knows."""
    events = await services.gate.store.events(wanted=AuditFilter(request=request.id))
    return any(one.kind == "request.used" and one.call_id == kept.record.body["call"] for one in events)


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The id, a UUID.")

STATUS_ANSWER = schemas.record(
    {
        "id": schemas.TEXT,
        "status": STATUS,
        "decided_at": schemas.TIME_OR_NULL,
        "approver_name": schemas.TEXT_OR_NULL,
        "decision_note": schemas.TEXT_OR_NULL,
    }
)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/approvals/{id}/status",
        summary="The state of one approval; whoever asked uses a yes by reading it",
        scopes=SEE_APPROVALS,
        serve=status,
        parameters=(ID,),
        error=ERROR,
        replies={
            200: Reply("the state", STATUS_ANSWER),
            400: MALFORMED,
            404: NOT_FOUND,
            409: Reply("it lost a race with another change: ask again", ERROR),
        },
    ),
)
