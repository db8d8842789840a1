"""The JSON that the commands and the REST API share: one shape each for a request, an entry, a grant.

Field names and types are those of the published API; fields are added, never renamed or retyped.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from airlock.errors import UsageError
from airlock.model import ApprovalRequest, Grant, JsonObject, Vote
from airlock.ports import AuditEntry, AuditEvent


def iso(at: int) -> str:
    """A moment as people and programs read it: UTC, to the millisecond, with a Z."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> int:
    """The milliseconds of an ISO 8601 time; without a zone it is UTC. UsageError when it is none."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"`{text[:60]}` is not an ISO 8601 time, such as 2026-04-01T12:00:00Z") from None
    zoned = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000)


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"unreadable": text}


def request_shape(request: ApprovalRequest) -> JsonObject:
    """What `GET /hitl/pending` and `airlock pending --json` say of one request."""
    origin = request.origin
    return {
        "id": request.id,
        "code": request.code,
        "agent_id": request.agent,
        "tool": request.tool,
        "args": _object(request.arguments),
        "status": str(request.status),
        "created_at": iso(request.created_at),
        "expires_at": iso(request.expires_at),
        "kind": str(request.kind),
        "parts": list(request.parts),
        "rule": request.rule,
        "reason": request.reason,
        "matched": list(request.matched),
        "risk": str(request.risk),
        "approvals": sum(vote.approve for vote in request.votes),
        "needed": request.quorum,
        "votes": [_vote(vote) for vote in request.votes],
        "again": request.again,
        "grantable": request.grantable,
        "decided_at": None if request.decided_at is None else iso(request.decided_at),
        "decided_by": request.decided_by or None,
        "note": request.note or None,
        "road": origin.road,
        "workspace": origin.workspace,
        "cwd": origin.cwd,
        "session_id": origin.session,
        "client": origin.client,
    }


def _vote(vote: Vote) -> JsonObject:
    return {"by": vote.identity, "approve": vote.approve, "note": vote.note, "at": iso(vote.at)}


def answer_shape(request: ApprovalRequest) -> JsonObject:
    """The answer to a decision: `approvals` and `needed` too where more than one person must say yes."""
    answer: JsonObject = {"ok": True, "id": request.id, "code": request.code, "status": str(request.status)}
    if request.quorum > 1:
        answer["approvals"] = sum(vote.approve for vote in request.votes)
        answer["needed"] = request.quorum
    return answer


def entry_shape(entry: AuditEntry) -> JsonObject:
    """One call in `GET /audit` and `airlock audit --json`; `args` is JSON text."""
    return {
        "id": entry.id,
        "agent_id": entry.agent_id,
        "tool": entry.tool,
        "args": entry.args,
        "result": entry.result,
        "duration_ms": entry.duration_ms,
        "hitl_outcome": entry.hitl_outcome,
        "created_at": iso(entry.created_at),
        "rule": entry.rule,
        "effect": entry.effect,
        "reason": entry.reason,
        "request_id": entry.request_id or None,
        "decided_by": entry.decided_by or None,
    }


def event_shape(event: AuditEvent) -> JsonObject:
    """One raw event with its place in the chain, as `audit export` writes it; `body` is JSON text."""
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "at": iso(event.at),
        "call_id": event.call_id,
        "request_id": event.request_id,
        "agent": event.agent,
        "tool": event.tool,
        "body": event.body,
        "prev": event.prev,
        "hash": event.hash,
    }


def grant_shape(grant: Grant) -> JsonObject:
    """One standing yes: what it covers and when it ends."""
    return {
        "id": grant.id,
        "agent_id": grant.agent,
        "tool": grant.tool,
        "covers": "any arguments" if grant.any_args else "the same call",
        "rule": grant.rule,
        "workspace": grant.workspace,
        "granted_by": grant.granted_by,
        "granted_at": iso(grant.granted_at),
        "expires_at": iso(grant.expires_at),
        "request_id": grant.request_id or None,
    }
