"""One approval on the wire: what was asked, of whom, and what a person said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airlock.model import ApprovalRequest
from airlock.ports_faces import RecordFilter
from airlock.values import dataclass
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import Kept, records_of
from airlock.web.compat.people import names_of
from airlock.web.compat.sidclaw.agents import BLANK, Agent, all_agents
from airlock.web.compat.sidclaw.words import (
    CLASSIFICATIONS,
    FACE,
    RISKS,
    STATUSES,
    dashed,
    graver,
    member,
    risk_word,
    status_word,
)

if TYPE_CHECKING:
    from airlock.web.services import Services

DECISION = "decision"
"""The kind of record in which the name stands that a decider gave themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What else a shape needs: agents by their ids, names of deciders, and those they gave themselves."""

    agents: Mapping[str, Agent]
    names: Mapping[str, str]
    claimed: Mapping[str, str]


async def around(services: Services, requests: Sequence[ApprovalRequest]) -> Around:
    """All that the shapes of these requests need, read at once."""
    ids = tuple(one.id for one in requests)
    wanted = RecordFilter(face=FACE, kind=DECISION, ids=ids, limit=max(1, len(ids)))
    claims = await records_of(services).find_records(wanted)
    deciders = {one.id: one.decided_by for one in requests}
    return Around(
        agents={agent.id: agent for agent in await all_agents(services)},
        names=await names_of(services, {one.decided_by for one in requests if one.decided_by}),
        claimed={one.id: one.body["approver_name"] for one in claims if one.owner == deciders[one.id]},
    )


def approval_shape(request: ApprovalRequest, near: Around, *, people: bool) -> dict[str, Any]:
    """One approval. `people` see the code that is typed into `airlock approve`; an agent does not."""
    facts = facts_of(request)
    agent = near.agents.get(facts["agent_id"])
    body = agent.body if agent is not None else BLANK
    decided = request.decided_at is not None and status_word(request.status) in {"approved", "denied"}
    shape = {
        "id": dashed(request.id),
        "trace_id": dashed(request.id),
        "agent_id": facts["agent_id"],
        "agent_name": body["name"] or request.agent,
        "requested_operation": facts["operation"],
        "target_integration": facts["target_integration"],
        "resource_scope": facts["resource_scope"],
        "data_classification": facts["data_classification"],
        "risk_classification": risk_at(request, facts),
        "authority_model": body["authority_model"],
        "delegated_from": body["delegated_from"],
        "policy_effect": "approval_required",
        "flag_reason": request.reason or "a person has to approve this",
        "status": status_word(request.status),
        "context_snapshot": facts["context"],
        "expires_at": iso(request.expires_at),
        "requested_at": iso(request.created_at),
        "decided_at": iso(request.decided_at) if decided and request.decided_at is not None else None,
        "approver_name": decider(request, near) if decided else None,
        "decision_note": request.note or None,
        "separation_of_duties_check": "pass" if decided else "not_applicable",
        "tool": request.tool,
        "decided_by": request.decided_by or None,
        "approvals": sum(vote.approve for vote in request.votes),
        "needed": request.quorum,
    }
    return {**shape, "code": request.code} if people else shape


def facts_of(request: ApprovalRequest) -> dict[str, Any]:
    """What was asked in SidClaw's words; for a call that came on another road, the nearest to them."""
    arguments = json.loads(request.arguments)
    if request.origin.road == FACE and "operation" in arguments:
        return {
            "agent_id": member(arguments, "agent_id", request.agent),
            "operation": member(arguments, "operation"),
            "target_integration": member(arguments, "target_integration"),
            "resource_scope": member(arguments, "resource_scope"),
            "data_classification": member(arguments, "data_classification"),
            "context": arguments.get("context") or {},
        }
    integration, _, operation = request.tool.partition("/")
    return {
        "agent_id": request.agent,
        "operation": operation or integration,
        "target_integration": integration,
        "resource_scope": request.origin.cwd or "*",
        "data_classification": "internal",
        "context": arguments,
    }


def risk_at(request: ApprovalRequest, facts: Mapping[str, Any]) -> str:
    """The graver one of what the operation and its data make, and what the rule said."""
    if request.origin.road != FACE or facts["data_classification"] not in CLASSIFICATIONS:
        return str(request.risk)
    return graver(risk_word(facts["operation"], facts["data_classification"]), request.risk)


def decider(request: ApprovalRequest, near: Around) -> str | None:
    """Who decided: the name they gave, else whose key or login it was."""
    return near.claimed.get(request.id) or near.names.get(request.decided_by) or None


async def status_shape(services: Services, kept: Kept, *, status: str = "", note: str = "") -> dict[str, Any]:
    """The few fields that a client polls for; the id is the one that it asked for."""
    request = kept.request
    if request is None:
        raise AssertionError("a status without a question")
    word = status or status_word(request.status)
    decided = request.decided_at is not None and word in {"approved", "denied"}
    near = await around(services, [request])
    return {
        "id": dashed(kept.record.id),
        "status": word,
        "decided_at": iso(request.decided_at) if decided and request.decided_at is not None else None,
        "approver_name": decider(request, near) if decided else None,
        "decision_note": note or request.note or None,
    }


_ONE_OF = {"type": "string", "enum": list(RISKS)}
STATUS = {"type": "string", "enum": list(STATUSES)}
APPROVAL = schemas.record(
    {
        "id": schemas.TEXT,
        "trace_id": schemas.TEXT,
        "agent_id": schemas.TEXT,
        "agent_name": schemas.TEXT,
        "requested_operation": schemas.TEXT,
        "target_integration": schemas.TEXT,
        "resource_scope": schemas.TEXT,
        "data_classification": {"type": "string", "enum": list(CLASSIFICATIONS)},
        "risk_classification": _ONE_OF,
        "authority_model": schemas.TEXT,
        "delegated_from": schemas.TEXT_OR_NULL,
        "policy_effect": {"const": "approval_required"},
        "flag_reason": schemas.TEXT,
        "status": STATUS,
        "context_snapshot": {"type": "object"},
        "expires_at": schemas.TIME,
        "requested_at": schemas.TIME,
        "decided_at": schemas.TIME_OR_NULL,
        "approver_name": schemas.TEXT_OR_NULL,
        "decision_note": schemas.TEXT_OR_NULL,
        "separation_of_duties_check": {"enum": ["pass", "fail", "not_applicable"]},
        "tool": schemas.TEXT,
        "decided_by": schemas.TEXT_OR_NULL,
        "approvals": schemas.COUNT,
        "needed": schemas.COUNT,
    },
    code=schemas.TEXT,
    agent={"type": "object"},
    trace={"type": ["object", "null"]},
)
