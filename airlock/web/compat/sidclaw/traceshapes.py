"""One trace on the wire: what was asked, what was decided, what came of it, and the history of all that.

Its events are read from the one audit chain: each of ours is one, two or three in SidClaw's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.ports import AuditEvent, AuditFilter
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import Kept
from airlock.web.compat.people import names_of
from airlock.web.compat.sidclaw.policies import policy_id
from airlock.web.compat.sidclaw.shapes import facts_of, risk_at
from airlock.web.compat.sidclaw.words import (
    CLASSIFICATIONS,
    DECISIONS,
    OUTCOMES,
    dashed,
    member,
    outcome_word,
    risk_word,
)
from airlock.words import Effect

if TYPE_CHECKING:
    from airlock.web.services import Services

TOLD = ("outcome_summary", "error_classification", "exit_code", "metadata")
SPENT = ("tokens_in", "tokens_out", "tokens_cache_read", "model", "cost_estimate")

_BEGUN = ("trace_initiated", "identity_resolved", "policy_evaluated")
EVENTS: Mapping[str, tuple[str, ...]] = {
    "request.opened": (*_BEGUN, "approval_requested"),
    "request.voted": ("approval_vote",),
    "request.approved": ("approval_granted", "operation_allowed", "trace_closed"),
    "request.denied": ("approval_denied", "operation_denied", "trace_closed"),
    "request.expired": ("approval_expired", "trace_closed"),
    "request.cancelled": ("approval_expired", "trace_closed"),
    "request.undone": ("approval_expired", "trace_closed"),
    "request.reopened": ("approval_requested",),
    "request.used": ("approval_used",),
    "call.completed": ("outcome_recorded",),
    "call.telemetry": ("telemetry_recorded",),
}
"""What an event of the chain is in SidClaw's words."""

SETTLED = {
    "allow": (*_BEGUN, "operation_allowed"),
    "deny": (*_BEGUN, "operation_denied", "trace_closed"),
}


async def trace_shape(services: Services, kept: Kept, *, events: bool = False) -> dict[str, Any]:
    """One trace; with its `events` where they are wanted."""
    record, body = kept.record, kept.record.body
    facts = _facts(kept)
    shape = {
        "id": dashed(record.id),
        "agent_id": facts["agent_id"],
        "operation": facts["operation"],
        "target_integration": facts["target_integration"],
        "resource_scope": facts["resource_scope"],
        "data_classification": facts["data_classification"],
        "context_snapshot": facts["context"],
        "risk_classification": _risk(kept, facts),
        "policy_effect": DECISIONS[Effect(body["effect"])],
        "policy_rule_id": policy_id(kept.request.rule if kept.request else body["rule"]),
        "reason": kept.request.reason if kept.request else body["reason"],
        "approval_request_id": dashed(record.link) if record.link else None,
        "final_outcome": final_outcome(kept),
        "started_at": iso(record.created_at),
        "completed_at": _completed(kept),
        "outcome_status": body.get("outcome"),
        **{name: body.get("told", {}).get(name) for name in TOLD},
        **{name: body.get("spent", {}).get(name) for name in SPENT},
    }
    return {**shape, "events": await events_of(services, kept)} if events else shape


def final_outcome(kept: Kept) -> str:
    """What it has come to, in SidClaw's closed set."""
    record = kept.record
    if kept.request is not None:
        return outcome_word(kept.request)
    if record.body["effect"] == "deny":
        return "denied" if record.link else "blocked"
    if record.link:
        return "completed_with_approval"
    return "executed" if "outcome" in record.body else "in_progress"


def _facts(kept: Kept) -> dict[str, Any]:
    if kept.request is not None:
        return facts_of(kept.request)
    arguments = kept.arguments
    return {
        "agent_id": member(arguments, "agent_id", str(kept.record.body["agent"])),
        "operation": member(arguments, "operation"),
        "target_integration": member(arguments, "target_integration"),
        "resource_scope": member(arguments, "resource_scope"),
        "data_classification": member(arguments, "data_classification", "internal"),
        "context": arguments.get("context") or {},
    }


def _risk(kept: Kept, facts: Mapping[str, Any]) -> str:
    if kept.request is not None:
        return risk_at(kept.request, facts)
    classification = facts["data_classification"]
    return risk_word(facts["operation"], classification if classification in CLASSIFICATIONS else "internal")


def _completed(kept: Kept) -> str | None:
    told = kept.record.body.get("reported_at")
    if isinstance(told, int):
        return iso(told)
    request = kept.request
    if request is not None:
        return None if request.decided_at is None else iso(request.decided_at)
    return iso(kept.record.created_at) if kept.record.body["effect"] == "deny" else None


async def chain_of(services: Services, kept: Kept) -> list[AuditEvent]:
    """What the chain says of the question behind a trace, and of what was told of it afterwards."""
    if not kept.record.link:
        return []
    return await services.gate.store.events(wanted=AuditFilter(request=kept.record.link))


async def events_of(services: Services, kept: Kept) -> list[dict[str, Any]]:
    """The history of one trace, oldest first."""
    found = [one for one in await chain_of(services, kept) if _belongs(one, kept)]
    bodies = {event.id: json.loads(event.body) for event in found}
    names = await names_of(services, {str(body.get("by", "")) for body in bodies.values()})
    told = [
        _event(event.id, word, event.at, body=bodies[event.id], names=names, digest=event.hash)
        for event in found
        for word in EVENTS.get(event.kind, ())
    ]
    if kept.request is None:
        record = kept.record
        own = [
            _event(record.id, word, record.created_at, body=record.body, names={}, digest=None)
            for word in SETTLED[record.body["effect"]]
        ]
        told = [*own, *told]
    return told


def _belongs(event: AuditEvent, kept: Kept) -> bool:
    """True for what is about the question, or about this very evaluation of it."""
    if kept.request is None:
        return (
            event.kind in {"call.completed", "call.telemetry"} and event.call_id == kept.record.body["call"]
        )
    own = {"call.completed", "call.telemetry", "request.used"}
    return event.kind not in own or event.call_id == kept.record.body["call"]


def _event(
    event_id: str,
    word: str,
    at: int,
    *,
    body: Mapping[str, Any],
    names: Mapping[str, str],
    digest: str | None,
) -> dict[str, Any]:
    by = str(body.get("by", ""))
    person = word in {"approval_granted", "approval_denied", "approval_vote"} and bool(by)
    return {
        "id": f"{dashed(event_id)}:{word}",
        "event_type": word,
        "actor_type": "human_reviewer" if person else "system",
        "actor_name": names.get(by) or by or "airlock",
        "description": str(body.get("note") or body.get("reason") or ""),
        "timestamp": iso(at),
        "integrity_hash": digest,
    }


_NULLABLE = {"type": ["string", "null"]}
TRACE = schemas.record(
    {
        "id": schemas.TEXT,
        "agent_id": schemas.TEXT,
        "operation": schemas.TEXT,
        "target_integration": schemas.TEXT,
        "resource_scope": schemas.TEXT,
        "data_classification": schemas.TEXT,
        "context_snapshot": {"type": "object"},
        "risk_classification": schemas.TEXT,
        "policy_effect": {"type": "string", "enum": list(DECISIONS.values())},
        "policy_rule_id": _NULLABLE,
        "reason": schemas.TEXT,
        "approval_request_id": _NULLABLE,
        "final_outcome": {"type": "string", "enum": list(OUTCOMES)},
        "started_at": schemas.TIME,
        "completed_at": schemas.TIME_OR_NULL,
        "outcome_status": _NULLABLE,
        "outcome_summary": _NULLABLE,
        "error_classification": _NULLABLE,
        "exit_code": {"type": ["integer", "null"]},
        "metadata": {"type": ["object", "null"]},
        "tokens_in": schemas.COUNT_OR_NULL,
        "tokens_out": schemas.COUNT_OR_NULL,
        "tokens_cache_read": schemas.COUNT_OR_NULL,
        "model": _NULLABLE,
        "cost_estimate": {"type": ["number", "null"]},
    },
    events=schemas.listed({"type": "object"}),
)
