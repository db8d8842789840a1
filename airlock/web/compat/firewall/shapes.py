"""Actions and approvals on the wire, as shapes and as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airlock.model import ApprovalRequest, Effect, JsonObject
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import Kept
from airlock.web.compat.firewall.ruling import policy_id
from airlock.web.compat.firewall.running import started_at
from airlock.web.compat.firewall.states import approval_status, execution_status, risk_of_kept, status_of
from airlock.web.compat.firewall.submitted import action_of
from airlock.web.compat.firewall.words import (
    ACTION_STATUSES,
    APPROVAL_STATUSES,
    DECISIONS,
    RISKS,
    public_id,
)
from airlock.web.compat.people import names_of

if TYPE_CHECKING:
    from airlock.web.services import Services

OBJECT = {"type": "object"}
REASONS = {
    "allow": "allowed by policy",
    "require_approval": "a person has to approve this",
    "deny": "denied by policy",
}


def decision_shape(effect: Effect, reason: str, risk: str, rule: str) -> JsonObject:
    """What the policies said."""
    word = DECISIONS[effect]
    return {
        "decision": word,
        "reason": reason or REASONS[word],
        "risk_level": risk,
        "policy_id": policy_id(rule),
    }


def decision_of(kept: Kept) -> JsonObject:
    """What the policies said of an action when it was submitted."""
    body, request = kept.record.body, kept.request
    risk = risk_of_kept(kept)
    if request is not None:
        return decision_shape(Effect.ASK, request.reason, risk, request.rule)
    return decision_shape(Effect(body["effect"]), body["reason"], risk, body["rule"])


async def action_shape(services: Services, kept: Kept, *, status: str = "") -> JsonObject:
    """One action."""
    return _action(kept, await _names(services, [kept]), status or status_of(kept))


async def action_shapes(services: Services, some: Sequence[Kept]) -> list[JsonObject]:
    """Several actions, without what their servers answered: that is long, and stands in each one."""
    names = await _names(services, some)
    return [{**_action(one, names, status_of(one)), "result": None} | _brief(one) for one in some]


def _brief(kept: Kept) -> JsonObject:
    execution, result = _execution(kept), kept.record.body.get("result")
    if execution is None or result is None:
        return {"execution": execution}
    return {"execution": {**execution, "result": {"statusCode": result["statusCode"]}}}


async def _names(services: Services, some: Sequence[Kept]) -> dict[str, str]:
    return await names_of(services, {one.request.decided_by for one in some if one.request is not None})


def _action(kept: Kept, names: Mapping[str, str], status: str) -> JsonObject:
    record, request = kept.record, kept.request
    action = action_of(kept, kept.arguments)
    decided = request.decided_at or 0 if request is not None else 0
    return {
        "id": public_id("act", record.id),
        "status": status,
        "tool": action.tool,
        "operation": action.operation,
        "params": dict(action.params),
        "context": dict(action.context),
        "metadata": dict(action.metadata),
        "agent_id": action.agent,
        "decision": decision_of(kept),
        "approval": None if request is None else _approval_of(request, names),
        "execution": _execution(kept),
        "result": record.body.get("result"),
        "created_at": iso(record.created_at),
        "updated_at": iso(max(record.updated_at, decided)),
    }


def _execution(kept: Kept) -> JsonObject | None:
    """What the gateway did with it."""
    status, body, started = execution_status(kept), kept.record.body, started_at(kept)
    if status is None:
        return None
    ended = body.get("reported_at")
    return {
        "id": public_id("exec", kept.record.id),
        "status": status,
        "attempts": 0 if started is None else 1,
        "started_at": None if started is None else iso(started),
        "completed_at": None if ended is None else iso(ended),
        "result": body.get("result"),
        "error": body.get("error"),
    }


def _approval_of(request: ApprovalRequest, names: Mapping[str, str]) -> JsonObject:
    """The approval within its action."""
    return {
        "id": public_id("apr", request.id),
        "status": approval_status(request),
        "expires_at": iso(request.expires_at),
        **decided_shape(request, names),
    }


def decided_shape(request: ApprovalRequest, names: Mapping[str, str]) -> JsonObject:
    """Who approved or denied it, when, and what they said; nothing while nobody has."""
    status = approval_status(request)
    if request.decided_at is None or not request.decided_by or status not in {"approved", "denied"}:
        return {}
    note = "comment" if status == "approved" else "reason"
    return {
        f"{status}_by": person_shape(request.decided_by, names),
        f"{status}_at": iso(request.decided_at),
        note: request.note or None,
    }


def person_shape(identity: str, names: Mapping[str, str]) -> JsonObject:
    """Whoever decides; Airlock keeps no addresses of mail."""
    return {"id": identity, "name": names.get(identity, identity), "email": None}


async def approval_shapes(services: Services, some: Sequence[Kept], *, people: bool) -> list[JsonObject]:
    """Several approvals. `people` see the code that is typed into `airlock approve`; an agent does not."""
    names = await _names(services, some)
    return [_approval(one, one.request, names, people=people) for one in some if one.request is not None]


def _approval(kept: Kept, request: ApprovalRequest, names: Mapping[str, str], *, people: bool) -> JsonObject:
    action = action_of(kept, kept.arguments)
    shape = {
        "id": public_id("apr", request.id),
        "action_id": public_id("act", kept.record.id),
        "agent_id": action.agent,
        "status": approval_status(request),
        "action": {
            "tool": action.tool,
            "operation": action.operation,
            "params": dict(action.params),
            "context": dict(action.context),
            "metadata": dict(action.metadata),
        },
        "decision": decision_of(kept),
        "approvals": sum(vote.approve for vote in request.votes),
        "required_approvers": request.quorum,
        "created_at": iso(request.created_at),
        "expires_at": iso(request.expires_at),
        **decided_shape(request, names),
    }
    return {**shape, "code": request.code} if people else shape


PERSON = schemas.record({"id": schemas.TEXT, "name": schemas.TEXT, "email": schemas.TEXT_OR_NULL})
_DECIDED = {
    "approved_by": PERSON,
    "approved_at": schemas.TIME,
    "comment": schemas.TEXT_OR_NULL,
    "denied_by": PERSON,
    "denied_at": schemas.TIME,
    "reason": schemas.TEXT_OR_NULL,
}
DECISION = schemas.record(
    {
        "decision": {"type": "string", "enum": list(DECISIONS.values())},
        "reason": schemas.TEXT,
        "risk_level": {"type": "string", "enum": list(RISKS)},
        "policy_id": schemas.TEXT_OR_NULL,
    }
)
_APPROVAL_STATUS = {"type": "string", "enum": list(APPROVAL_STATUSES)}
EXECUTION = schemas.record(
    {
        "id": schemas.TEXT,
        "status": {"type": "string", "enum": ["running", "succeeded", "failed"]},
        "attempts": schemas.COUNT,
        "started_at": schemas.TIME_OR_NULL,
        "completed_at": schemas.TIME_OR_NULL,
        "result": {"type": ["object", "null"]},
        "error": schemas.TEXT_OR_NULL,
    }
)
ACTION = schemas.record(
    {
        "id": schemas.TEXT,
        "status": {"type": "string", "enum": list(ACTION_STATUSES)},
        "tool": schemas.TEXT,
        "operation": schemas.TEXT,
        "params": OBJECT,
        "context": OBJECT,
        "metadata": OBJECT,
        "agent_id": schemas.TEXT,
        "decision": DECISION,
        "approval": {
            "anyOf": [
                schemas.record(
                    {"id": schemas.TEXT, "status": _APPROVAL_STATUS, "expires_at": schemas.TIME}, **_DECIDED
                ),
                {"type": "null"},
            ]
        },
        "execution": {"anyOf": [EXECUTION, {"type": "null"}]},
        "result": {"type": ["object", "null"]},
        "created_at": schemas.TIME,
        "updated_at": schemas.TIME,
    }
)
APPROVAL = schemas.record(
    {
        "id": schemas.TEXT,
        "action_id": schemas.TEXT,
        "agent_id": schemas.TEXT,
        "status": _APPROVAL_STATUS,
        "action": schemas.record(
            {
                "tool": schemas.TEXT,
                "operation": schemas.TEXT,
                "params": OBJECT,
                "context": OBJECT,
                "metadata": OBJECT,
            }
        ),
        "decision": DECISION,
        "approvals": schemas.COUNT,
        "required_approvers": schemas.COUNT,
        "created_at": schemas.TIME,
        "expires_at": schemas.TIME,
    },
    code=schemas.TEXT,
    **_DECIDED,
)
