"""The approval queue in SidClaw's words: list, count, detail, approve, deny; whatever road it came on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import Conflict, NoSuchRequest, UsageError
from airlock.model import ApprovalRequest, Resolution, Status
from airlock.ports_faces import Record
from airlock.web import schemas
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, records_of
from airlock.web.compat.listing import listed
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import Page, page, page_parameters, text
from airlock.web.compat.sidclaw.agents import agent_of, agent_shape
from airlock.web.compat.sidclaw.duties import check_apart, check_name
from airlock.web.compat.sidclaw.faults import ERROR, FORBIDDEN, MALFORMED, NOT_FOUND, SETTLED
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.seeing import (
    EVERY_APPROVAL,
    SEE_APPROVALS,
    check_sees,
    found_question,
    sees,
    sees_all,
)
from airlock.web.compat.sidclaw.shapes import (
    APPROVAL,
    DECISION,
    STATUS,
    approval_shape,
    around,
    facts_of,
)
from airlock.web.compat.sidclaw.traceshapes import trace_shape
from airlock.web.compat.sidclaw.words import FACE, STATUSES, STORED, dashed, status_word
from airlock.web.errors import JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

USUAL, MOST = 20, 100
MOST_NOTE = 2_000
DECIDE = frozenset({Scope.APPROVALS_WRITE, Scope.APPROVALS_DECIDE})


async def listing(asked: Asked) -> Response:
    """A page of approvals, newest first."""
    wanted = page(asked.request.query_params, usual=USUAL, most=MOST)
    rows, total = await _selected(asked, wanted)
    requests = [row.request for row in rows if row.request is not None]
    near = await around(asked.services, requests)
    people = sees_all(asked.who, EVERY_APPROVAL)
    shapes = [approval_shape(request, near, people=people) for request in requests]
    return JsonAnswer(page_shape(shapes, total, wanted))


async def count(asked: Asked) -> Response:
    """How many there are, of one status or of all."""
    _, total = await _selected(asked, Page(1, 0))
    return JsonAnswer({"count": total})


async def _selected(asked: Asked, wanted: Page) -> tuple[list[Kept], int]:
    query, services = asked.request.query_params, asked.services
    status, agent_id = one(query, "status"), one(query, "agent_id")
    if status and status not in STATUSES:
        raise UsageError(f"`status` must be one of {', '.join(STATUSES)}")
    agent = await _policy_agent(services, agent_id, asked.who)
    if agent is None:
        return [], 0
    return await listed(
        services,
        FACE,
        wanted,
        _wanted(asked.who, status, agent_id),
        agent=agent,
        statuses=STORED.get(status, frozenset()),
        total=True,
    )


async def _policy_agent(services: Services, agent_id: str, who: Credential) -> str | None:
    """Whose rows are looked at, "" for everyone's; None when there can be none."""
    if not agent_id:
        return who.agent
    try:
        name = (await agent_of(services, agent_id)).name
    except NoSuchRequest:
        return None
    return None if who.bound and who.agent != name else name


def _wanted(who: Credential, status: str, agent_id: str) -> Callable[[Kept], bool]:
    def wanted(kept: Kept) -> bool:
        request = kept.request
        return (
            request is not None
            and (not status or status_word(request.status) == status)
            and sees(who, kept, EVERY_APPROVAL)
            and (not agent_id or facts_of(request)["agent_id"] == agent_id)
        )

    return wanted


async def show(asked: Asked) -> Response:
    """One approval whole, with its agent and its trace."""
    services, reference = asked.services, str(asked.request.path_params["id"])
    kept, request = await found_question(services, reference)
    check_sees(asked.who, kept, EVERY_APPROVAL, reference)
    near = await around(services, [request])
    agent = near.agents.get(facts_of(request)["agent_id"])
    return JsonAnswer(
        {
            **approval_shape(request, near, people=sees_all(asked.who, EVERY_APPROVAL)),
            **_under(kept),
            "agent": {} if agent is None else agent_shape(agent),
            "trace": await trace_shape(services, kept),
        }
    )


async def approve(asked: Asked) -> Response:
    """A yes."""
    return await _decide(asked, approve=True)


async def deny(asked: Asked) -> Response:
    """A no."""
    return await _decide(asked, approve=False)


async def _decide(asked: Asked, *, approve: bool) -> Response:
    services, who = asked.services, asked.who
    name = text(asked.body, "approver_name", most=200, required=True).strip()
    note = text(asked.body, "decision_note", most=MOST_NOTE)
    kept, request = await found_question(services, str(asked.request.path_params["id"]))
    await check_name(services, who, name)
    if approve and request.status is Status.PENDING:
        await check_apart(services, who, request, name)
    resolution = Resolution(approve=approve, identity=who.identity, via=FACE, note=note)
    decided = await services.gate.resolve(request.id, resolution)
    await _remember(services, decided, name)
    shape = approval_shape(decided, await around(services, [decided]), people=True)
    return JsonAnswer({**shape, **_under(kept)})


def _under(kept: Kept) -> dict[str, str]:
    """The id that was asked for: identical evaluations share a question, and each has an id."""
    return {"id": dashed(kept.record.id), "trace_id": dashed(kept.record.id)}


async def _remember(services: Services, request: ApprovalRequest, name: str) -> None:
    """Keep the name that whoever decided gave; whose credential it was stands in the chain."""
    if request.status is Status.PENDING:
        return
    now = services.clock()
    records = records_of(services)
    claim = Record(
        face=FACE,
        kind=DECISION,
        id=request.id,
        link=request.id,
        owner=request.decided_by,
        created_at=now,
        updated_at=now,
        body={"approver_name": name},
    )
    old = await records.get_record(FACE, DECISION, request.id)
    if old is not None:
        claim = replace(claim, version=old.version + 1)
    with contextlib.suppress(Conflict):
        await records.put_records([claim])


BODY = {
    "type": "object",
    "properties": {
        "approver_name": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9].*$"},
        "decision_note": {"type": ["string", "null"], "maxLength": MOST_NOTE},
    },
    "required": ["approver_name"],
}

FILTERS = (
    Parameter(
        name="status",
        place="query",
        schema=schemas.or_empty(STATUS),
        description="Only those of this status.",
    ),
    Parameter(name="agent_id", place="query", schema=schemas.TEXT, description="Only this agent's."),
)


def _deciding(verb: str, serve: Callable[[Asked], object]) -> Route:
    return Route(
        method="POST",
        path=f"/api/v1/approvals/{{id}}/{verb}",
        summary=f"{verb.capitalize()} a request; who asked, or owns the agent that did, cannot approve",
        scopes=DECIDE,
        people=True,
        serve=serve,  # type: ignore[arg-type]
        parameters=(ID,),
        body=BODY,
        error=ERROR,
        replies={
            200: Reply("the request as it is now", APPROVAL),
            400: MALFORMED,
            403: FORBIDDEN,
            404: NOT_FOUND,
            409: SETTLED,
        },
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/approvals",
        summary="Approvals of every road, newest first",
        scopes=SEE_APPROVALS,
        serve=listing,
        parameters=(*FILTERS, *page_parameters(USUAL, MOST)),
        error=ERROR,
        replies={
            200: page_reply(APPROVAL),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/api/v1/approvals/count",
        summary="How many approvals there are",
        scopes=SEE_APPROVALS,
        serve=count,
        parameters=FILTERS,
        error=ERROR,
        replies={200: Reply("the number", schemas.record({"count": schemas.COUNT})), 400: MALFORMED},
    ),
    Route(
        method="GET",
        path="/api/v1/approvals/{id}",
        summary="One approval, with its agent and its trace",
        scopes=SEE_APPROVALS,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the approval", APPROVAL), 404: NOT_FOUND},
    ),
    _deciding("approve", approve),
    _deciding("deny", deny),
)
