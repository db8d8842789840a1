"""What happened to one request, from the one history, in AgentGate's words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airlock.model import JsonObject
from airlock.ports import AuditEvent, AuditFilter
from airlock.views import iso
from airlock.web.compat.agentgate.words import public_id, status_of
from airlock.web.compat.asking import Kept
from airlock.web.compat.people import names_of

if TYPE_CHECKING:
    from airlock.web.services import Services

EVENTS = {
    "request.opened": "created",
    "request.voted": "voted",
    "request.approved": "approved",
    "request.denied": "denied",
    "request.expired": "expired",
    "request.cancelled": "cancelled",
    "request.undone": "cancelled",
    "request.reopened": "reopened",
    "call.completed": "confirmed",
}
MOST = 1_000


async def of(services: Services, kept: Kept) -> list[JsonObject]:
    """The events of a request, oldest first."""
    if kept.request is None:
        return await _at_once(services, kept)
    wanted = AuditFilter(request=kept.request.id)
    events = await services.gate.store.events(limit=MOST, wanted=wanted)
    told = [(event, json.loads(event.body)) for event in events if event.kind in EVENTS]
    names = await names_of(services, {_actor(event, body) for event, body in told})
    return [_line(kept, event, body, names) for event, body in told]


def _actor(event: AuditEvent, body: dict[str, Any]) -> str:
    """The identity that did it; the clock's own doings are the system's."""
    name = {"request.opened": "identity", "request.voted": "voter"}.get(event.kind, "by")
    return str(body.get(name) or "system")


def _line(kept: Kept, event: AuditEvent, body: dict[str, Any], names: dict[str, str]) -> JsonObject:
    details = dict(body.get("details") or {})
    if event.kind not in {"request.opened", "call.completed"} and body.get("note"):
        details["reason"] = body["note"]
    actor = _actor(event, body)
    line: JsonObject = {
        "timestamp": iso(event.at),
        "event": EVENTS[event.kind],
        "actor": names.get(actor, actor),
        "id": event.id,
        "requestId": public_id("req", kept.record.id),
    }
    return {**line, "details": details} if details else line


async def _at_once(services: Services, kept: Kept) -> list[JsonObject]:
    """A request that the policies decided: nobody was asked."""
    record, body = kept.record, kept.record.body
    names = await names_of(services, {record.owner})
    asker = names.get(record.owner, record.owner)
    lines = [
        (record.created_at, "created", asker, {}),
        (
            record.created_at,
            status_of(kept),
            f"policy:{body['rule'] or 'default'}",
            {"reason": body["reason"]} if body["reason"] else {},
        ),
    ]
    if "reported_at" in body:
        lines.append((body["reported_at"], "confirmed", asker, dict(body.get("result") or {})))
    return [
        {
            "timestamp": iso(at),
            "event": event,
            "actor": actor,
            "id": f"{record.id}-{number}",
            "requestId": public_id("req", record.id),
            **({"details": details} if details else {}),
        }
        for number, (at, event, actor, details) in enumerate(lines)
    ]
