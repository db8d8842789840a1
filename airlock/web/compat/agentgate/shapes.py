"""What AgentGate's clients read, as shapes and as JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airlock.apikeys import ApiKey
from airlock.model import JsonObject
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.agentgate.words import (
    STATUSES,
    URGENCIES,
    action_of,
    public_id,
    status_of,
    urgency_of,
)
from airlock.web.compat.asking import Kept
from airlock.web.compat.people import names_of

if TYPE_CHECKING:
    from airlock.web.services import Services

CONTEXT = "_context"
OBJECT = {"type": "object"}

REQUEST = schemas.record(
    {
        "id": schemas.TEXT,
        "action": schemas.TEXT,
        "params": OBJECT,
        "context": OBJECT,
        "status": {"type": "string", "enum": list(STATUSES)},
        "urgency": {"type": "string", "enum": list(URGENCIES)},
        "agentId": schemas.TEXT,
        "createdAt": schemas.TIME,
        "updatedAt": schemas.TIME,
        "expiresAt": schemas.TIME_OR_NULL,
        "decidedAt": schemas.TIME_OR_NULL,
        "decidedBy": schemas.TEXT_OR_NULL,
        "decidedByType": {"enum": ["human", "policy", None]},
        "decisionReason": schemas.TEXT_OR_NULL,
        "confirmedAt": schemas.TIME_OR_NULL,
        "result": {"type": ["object", "null"]},
        "policyDecision": {"type": ["object", "null"]},
    }
)

EVENT = schemas.record(
    {
        "timestamp": schemas.TIME,
        "event": schemas.TEXT,
        "actor": schemas.TEXT,
        "id": schemas.TEXT,
        "requestId": schemas.TEXT,
    },
    details=OBJECT,
)

RULE = {
    "type": "object",
    "properties": {
        "match": OBJECT,
        "decision": {"type": "string"},
        "approvers": schemas.TEXTS,
        "channels": schemas.TEXTS,
        "requireReason": schemas.BOOLEAN,
    },
    "required": ["match", "decision"],
}
POLICY = schemas.record(
    {
        "id": schemas.TEXT,
        "name": schemas.TEXT,
        "priority": {"type": "integer"},
        "enabled": schemas.BOOLEAN,
        "rules": schemas.listed(RULE),
        "createdAt": schemas.TIME,
        "updatedAt": schemas.TIME,
    }
)

KEY = schemas.record(
    {
        "id": schemas.TEXT,
        "name": schemas.TEXT,
        "scopes": schemas.TEXTS,
        "rateLimit": schemas.COUNT_OR_NULL,
        "agentId": schemas.TEXT_OR_NULL,
        "owner": schemas.TEXT_OR_NULL,
        "createdAt": schemas.TIME,
        "expiresAt": schemas.TIME_OR_NULL,
    }
)
NEW_KEY = schemas.record({**KEY["properties"], "key": schemas.TEXT})

WEBHOOK = schemas.record(
    {
        "id": schemas.TEXT,
        "url": schemas.TEXT,
        "events": schemas.TEXTS,
        "enabled": schemas.BOOLEAN,
        "createdAt": schemas.TIME,
    }
)
NEW_WEBHOOK = schemas.record({**WEBHOOK["properties"], "secret": schemas.TEXT})

DELIVERY = schemas.record(
    {
        "id": schemas.TEXT,
        "webhookId": schemas.TEXT,
        "event": schemas.TEXT,
        "status": {"type": "string", "enum": ["pending", "delivered", "failed"]},
        "attempts": schemas.COUNT,
        "responseStatus": schemas.COUNT_OR_NULL,
        "error": schemas.TEXT_OR_NULL,
        "createdAt": schemas.TIME,
        "deliveredAt": schemas.TIME_OR_NULL,
        "nextAttemptAt": schemas.TIME_OR_NULL,
    }
)

DONE = schemas.record({"success": {"const": True}, "id": schemas.TEXT})
PAGINATION = schemas.record(
    {
        "total": schemas.COUNT,
        "limit": schemas.COUNT,
        "offset": schemas.COUNT,
        "hasMore": schemas.BOOLEAN,
    }
)


def either(name: str, items: Mapping[str, Any]) -> Mapping[str, Any]:
    """A list as the page has it, or wrapped as the later clients read it."""
    wrapped = schemas.record({name: schemas.listed(items)}, pagination=PAGINATION)
    return {"anyOf": [schemas.listed(items), wrapped]}


def _time(at: int | None) -> str | None:
    return None if at is None else iso(at)


async def request_shapes(services: Services, some: Iterable[Kept]) -> list[JsonObject]:
    """Several requests, their deciders by name."""
    rows = list(some)
    names = await names_of(services, {one.request.decided_by for one in rows if one.request is not None})
    return [_request(one, names) for one in rows]


async def request_shape(services: Services, kept: Kept) -> JsonObject:
    """One request."""
    return (await request_shapes(services, [kept]))[0]


def _request(kept: Kept, names: Mapping[str, str]) -> JsonObject:
    record, arguments = kept.record, kept.arguments
    context = arguments.pop(CONTEXT, None)
    body = record.body
    return {
        "id": public_id("req", record.id),
        "action": action_of(kept),
        "params": arguments,
        "context": context if isinstance(context, dict) else {},
        "status": status_of(kept),
        "urgency": urgency_of(kept),
        "agentId": body["agent"],
        "createdAt": iso(record.created_at),
        **_decision(kept, names),
        "confirmedAt": _time(body.get("reported_at")),
        "result": body.get("result"),
    }


def _decision(kept: Kept, names: Mapping[str, str]) -> JsonObject:
    """What became of it, by whom and why."""
    record, request = kept.record, kept.request
    if request is None:
        rule = record.body["rule"] or "default"
        return {
            "updatedAt": iso(record.updated_at),
            "expiresAt": _time(record.body.get("expires_at")),
            "decidedAt": iso(record.created_at),
            "decidedBy": f"policy:{rule}",
            "decidedByType": "policy",
            "decisionReason": record.body["reason"] or None,
            "policyDecision": {"decision": DECISIONS[record.body["effect"]], "rule": rule},
        }
    decided = status_of(kept) in {"approved", "denied"} and bool(request.decided_by)
    by = "policy" if request.decided_by == "policy" else "human"
    return {
        "updatedAt": iso(max(record.updated_at, request.decided_at or 0)),
        "expiresAt": iso(request.expires_at),
        "decidedAt": _time(request.decided_at) if decided else None,
        "decidedBy": names.get(request.decided_by, request.decided_by) if decided else None,
        "decidedByType": by if decided else None,
        "decisionReason": (request.note or None) if decided else None,
        "policyDecision": {"decision": "route_to_human", "rule": request.rule},
    }


DECISIONS = {"allow": "auto_approve", "deny": "auto_deny", "ask": "route_to_human"}


def policy_shape(record: Record) -> JsonObject:
    """One stored policy."""
    body = record.body
    return {
        "id": public_id("pol", record.id),
        "name": body["name"],
        "priority": body["priority"],
        "enabled": body["enabled"],
        "rules": body["rules"],
        "createdAt": iso(record.created_at),
        "updatedAt": iso(record.updated_at),
    }


def key_shape(key: ApiKey) -> JsonObject:
    """One API key, without its text."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "rateLimit": key.rate,
        "agentId": key.agent or None,
        "owner": key.owner or None,
        "createdAt": iso(key.created_at),
        "expiresAt": _time(key.expires_at),
    }


def webhook_shape(record: Record) -> JsonObject:
    """One webhook, without its secret."""
    return {
        "id": public_id("wh", record.id),
        "url": record.body["url"],
        "events": record.body["events"],
        "enabled": record.body["enabled"],
        "createdAt": iso(record.created_at),
    }


def delivery_shape(record: Record) -> JsonObject:
    """One line of a webhook's log."""
    body = record.body
    return {
        "id": public_id("del", record.id),
        "webhookId": public_id("wh", record.link),
        "event": body["event"],
        "status": body["state"],
        "attempts": body["attempts"],
        "responseStatus": body["status"],
        "error": body["error"] or None,
        "createdAt": iso(record.created_at),
        "deliveredAt": _time(body["delivered_at"]),
        "nextAttemptAt": _time(record.due_at),
    }
