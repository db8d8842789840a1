"""HARP's words: envelopes, states, names of things, and how its bodies are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airlock.apikeys import Scope
from airlock.errors import UsageError
from airlock.views import iso, moment
from airlock.web import schemas

FACE = "harp"
GATEWAY_ID = "airlock"

SUBMIT = frozenset({Scope.REQUEST_CREATE})
SEE = frozenset({Scope.REQUEST_CREATE, Scope.REQUEST_READ, Scope.REQUEST_DECIDE, Scope.APPROVALS_DECIDE})
DECIDE = frozenset({Scope.REQUEST_DECIDE, Scope.APPROVALS_DECIDE})

PENDING = "PendingApproval"
DECIDED = "Decided"
DELIVERED = "Delivered"
EXPIRED = "Expired"
WITHDRAWN = "Withdrawn"
CANCELLED = "Cancelled"
STATES = (PENDING, DECIDED, DELIVERED, EXPIRED, WITHDRAWN, CANCELLED)

APPROVE = "approve"
REJECT = "reject"

SKEW_MS = 60_000
USUAL_LIFE_MS = 600_000
LONGEST_LIFE_MS = 86_400_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}\Z")
_TYPE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_HASH = re.compile(r"[!-~]{1,128}\Z")
MOST_NAME = 200
MOST_METADATA = 32
MOST_VALUE = 1_000


def envelope(kind: str, request_id: str, body: Any, *, at: int, message_id: str) -> dict[str, Any]:
    """One message of the gateway."""
    return {
        "msgId": f"msg-{message_id}",
        "msgType": kind,
        "requestId": request_id,
        "createdAt": iso(at),
        "sender": {"gatewayId": GATEWAY_ID},
        "body": body,
    }


def identifier(value: Any, name: str) -> str:
    """An id of HARP's: UsageError for what could not stand in a path."""
    if not isinstance(value, str) or not _ID.match(value):
        raise UsageError(f"`{name}` must be 1 to 128 letters, digits and `._:@-`")
    return value


def artifact_type(value: Any) -> str:
    """An artifact's type, which is also the name that a policy has for it: `harp/command.review`."""
    kind = "command-approval" if value is None or value == "" else value
    if not isinstance(kind, str) or not _TYPE.match(kind):
        raise UsageError("`artifactType` must be 1 to 64 lower-case letters, digits and `._-`")
    return kind


def artifact_hash(value: Any) -> str:
    """The hash as the client made it: an opaque text to a gateway."""
    if not isinstance(value, str) or not _HASH.match(value):
        raise UsageError("`artifactHash` must be 1 to 128 printing characters")
    return value


def name(body: Mapping[str, Any], key: str) -> str:
    """A label that people read; "" when it is absent or null."""
    value = body.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MOST_NAME or not value.isprintable():
        raise UsageError(f"`{key}` must be text of at most {MOST_NAME} printing characters")
    return value


def inner(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A member that must be an object."""
    value = body.get(key)
    if not isinstance(value, dict):
        raise UsageError(f"`{key}` must be an object")
    return value


def metadata(body: Mapping[str, Any]) -> dict[str, str]:
    """The string map beside the ciphertext, which the gateway may read; null is an empty one."""
    value = body.get("metadata")
    if value is None:
        return {}
    fits = isinstance(value, dict) and len(value) <= MOST_METADATA
    if not fits or any(not isinstance(one, str) or len(one) > MOST_VALUE for one in value.values()):
        raise UsageError(f"`metadata` must be a map of at most {MOST_METADATA} short texts")
    return dict(value)


def time_of(body: Mapping[str, Any], key: str) -> int | None:
    """A moment; None when it is absent or null."""
    value = body.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 60:
        raise UsageError(f"`{key}` must be an RFC 3339 time")
    try:
        return moment(value)
    except OverflowError:
        raise UsageError(f"`{key}` is out of range") from None


TEXT = schemas.TEXT
ID: schemas.Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"}
HASH: schemas.Schema = {"type": "string", "pattern": "^[!-~]{1,128}$"}
TEXT_OR_NULL = schemas.TEXT_OR_NULL
ANYTHING: schemas.Schema = {}


def enveloped(kind: str, body: schemas.Schema) -> schemas.Schema:
    """The shape of one message of the gateway."""
    return schemas.record(
        {
            "msgId": TEXT,
            "msgType": {"const": kind},
            "requestId": TEXT,
            "createdAt": schemas.TIME,
            "sender": schemas.record({"gatewayId": TEXT}),
            "body": body,
        }
    )


def wanted(required: Mapping[str, schemas.Schema], **optional: schemas.Schema) -> schemas.Schema:
    """The shape of a body that may say more than we read."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}
