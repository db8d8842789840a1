"""The shapes on the wire as JSON Schema: what OpenAPI publishes and what the tests hold answers against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.apikeys import Scope
from airlock.words import Effect, Kind, Outcome, Risk, Status

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
STATUS: Schema = {"type": "string", "enum": [str(one) for one in Status]}


def record(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    """An object with exactly these members; a keyword names one that may be absent."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def or_empty(schema: Schema) -> Schema:
    """The same in a query, where an empty parameter is as good as none."""
    return {"anyOf": [schema, {"const": ""}]}


def listed(items: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": items}


ERROR: Schema = record({"error": TEXT, "details": {}})

VOTE: Schema = record({"by": TEXT, "approve": BOOLEAN, "note": TEXT, "at": TIME})

REQUEST: Schema = record(
    {
        "id": TEXT,
        "code": TEXT,
        "agent_id": TEXT,
        "tool": TEXT,
        "args": {"type": "object"},
        "status": STATUS,
        "created_at": TIME,
        "expires_at": TIME,
        "kind": {"type": "string", "enum": [str(one) for one in Kind]},
        "parts": TEXTS,
        "rule": TEXT,
        "reason": TEXT,
        "matched": TEXTS,
        "risk": {"type": "string", "enum": [str(one) for one in Risk]},
        "approvals": COUNT,
        "needed": {"type": "integer", "minimum": 1},
        "votes": listed(VOTE),
        "again": BOOLEAN,
        "grantable": BOOLEAN,
        "decided_at": TIME_OR_NULL,
        "decided_by": TEXT_OR_NULL,
        "note": TEXT_OR_NULL,
        "road": TEXT,
        "workspace": TEXT,
        "cwd": TEXT,
        "session_id": TEXT,
        "client": TEXT,
    }
)

ANSWER: Schema = record(
    {"ok": {"const": True}, "id": TEXT, "code": TEXT, "status": STATUS},
    approvals=COUNT,
    needed=COUNT,
)

RESULTS = [*map(str, Outcome), "denied", "timeout"]

ENTRY: Schema = record(
    {
        "id": TEXT,
        "agent_id": TEXT,
        "tool": TEXT,
        "args": {"type": "string", "contentMediaType": "application/json"},
        "result": {
            "type": ["string", "null"],
            "description": f"one of {', '.join(RESULTS)}; null while it runs",
        },
        "duration_ms": COUNT_OR_NULL,
        "hitl_outcome": {"enum": ["approved", "denied", "timeout", "cancelled", None]},
        "created_at": TIME,
        "rule": TEXT,
        "effect": {"type": "string", "enum": ["", *map(str, Effect)]},
        "reason": TEXT,
        "request_id": TEXT_OR_NULL,
        "decided_by": TEXT_OR_NULL,
    }
)

EVENT: Schema = record(
    {
        "seq": COUNT,
        "id": TEXT,
        "kind": TEXT,
        "at": TIME,
        "call_id": TEXT,
        "request_id": TEXT,
        "agent": TEXT,
        "tool": TEXT,
        "body": {"type": "string", "contentMediaType": "application/json"},
        "prev": TEXT,
        "hash": TEXT,
    }
)

HEALTH: Schema = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "degraded"]},
        "uptime": COUNT,
        "pending_hitl": COUNT,
        "log_bytes": COUNT,
        "version": TEXT,
        "timestamp": TIME,
        "providers": {"type": "object", "additionalProperties": TEXT},
    },
    "required": ["status", "timestamp"],
}

READY: Schema = record({"status": {"type": "string", "enum": ["ready", "stopping"]}})

SCOPES: Schema = {"type": "array", "items": {"type": "string", "enum": [str(one) for one in Scope]}}

KEY: Schema = record(
    {
        "id": TEXT,
        "name": TEXT,
        "scopes": SCOPES,
        "agent": TEXT_OR_NULL,
        "rate": COUNT_OR_NULL,
        "created_at": TIME,
        "created_by": TEXT,
        "revoked_at": TIME_OR_NULL,
        "face": TEXT_OR_NULL,
        "owner": TEXT_OR_NULL,
        "expires_at": TIME_OR_NULL,
    }
)
NEW_KEY: Schema = record({**KEY["properties"], "key": TEXT})

HOOK_REQUEST: Schema = {
    "type": "object",
    "description": "Airlock's own payload, or the native hook payload of a known client.",
    "properties": {
        "client": {**TEXT, "minLength": 1},
        "tool": {**TEXT, "minLength": 1},
        "agent": TEXT,
        "input": {"type": "object"},
        "session_id": TEXT,
    },
    "required": ["client", "tool"],
}

HOOK_ANSWER: Schema = {
    "type": "object",
    "description": "To Airlock's own payload; a native payload is answered in its client's own format.",
    "properties": {
        "decision": {"type": "string", "enum": ["allow", "deny"]},
        "allowed": BOOLEAN,
        "tool": TEXT,
        "reason": TEXT,
    },
}
