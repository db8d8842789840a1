"""Rows and the values they stand for. Nested fields are JSON text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.model import ApprovalRequest, Grant, Kind, Origin, Pause, Reviewers, Risk, Status, Vote, Waiter
from airlock.ports import AuditEvent, Draft

if TYPE_CHECKING:
    from airlock.apikeys import ApiKey

EVENT = "seq, id, kind, at, call_id, request_id, agent, tool, prev, hash, body"
WRITTEN = f"seq, {', '.join(Draft._fields)}, hash"
"""What is bound for an event beside `prev`, in a draft's order, so that it is put together in one step."""

REQUEST = (
    "id, code, fingerprint, scope, status, version, agent, identity, kind, tool, arguments, parts, origin, "
    "call_id, rule, rule_digest, reason, matched, risk, reviewers, reuse_ms, grantable, kept, again, heard, "
    "created_at, expires_at, grace_ms, decided_at, decided_by, note, seq"
)
GRANT = (
    "id, agent, workspace, tool, fingerprint, any_args, rule, rule_digest, request_id, "
    "granted_by, granted_at, expires_at, ended_at"
)
KEY = "id, name, digest, scopes, agent, rate, created_at, created_by, revoked_at, face, owner, expires_at"

Row = Sequence[Any]


def _json(value: Any) -> str:
    return encode(value).decode()


def event_of(row: Row) -> AuditEvent:
    """The event in a row of EVENT."""
    return AuditEvent(
        seq=row[0],
        id=row[1],
        kind=row[2],
        at=row[3],
        call_id=row[4],
        request_id=row[5],
        agent=row[6],
        tool=row[7],
        prev=row[8].hex(),
        hash=row[9].hex(),
        body=row[10],
    )


def request_row(request: ApprovalRequest, seq: int) -> Row:
    """The columns of REQUEST, written by the change whose last event is `seq`."""
    origin = request.origin
    return (
        request.id,
        request.code,
        request.fingerprint,
        request.scope,
        str(request.status),
        request.version,
        request.agent,
        request.identity,
        str(request.kind),
        request.tool,
        request.arguments,
        _json(list(request.parts)),
        _json({name: getattr(origin, name) for name in Origin.__slots__ if getattr(origin, name)}),
        request.call_id,
        request.rule,
        request.rule_digest,
        request.reason,
        _json(list(request.matched)),
        str(request.risk),
        _json([[one.rule, sorted(one.names), one.quorum] for one in request.reviewers]),
        request.reuse_ms,
        int(request.grantable),
        int(request.kept),
        int(request.again),
        int(request.heard),
        request.created_at,
        request.expires_at,
        request.grace_ms,
        request.decided_at,
        request.decided_by,
        request.note,
        seq,
    )


def request_of(row: Row, votes: tuple[Vote, ...], attended_at: int | None) -> ApprovalRequest:
    """The request in a row of REQUEST, with what other tables say of it."""
    names = _REQUEST_NAMES
    fields = dict(zip(names, row, strict=True))
    return ApprovalRequest(
        **{name: fields[name] for name in _PLAIN},
        status=Status(fields["status"]),
        kind=Kind(fields["kind"]),
        risk=Risk(fields["risk"]),
        parts=tuple(json.loads(fields["parts"])),
        origin=Origin(**json.loads(fields["origin"])),
        matched=tuple(json.loads(fields["matched"])),
        reviewers=tuple(
            Reviewers(rule=rule, names=frozenset(people), quorum=quorum)
            for rule, people, quorum in json.loads(fields["reviewers"])
        ),
        grantable=bool(fields["grantable"]),
        kept=bool(fields["kept"]),
        again=bool(fields["again"]),
        heard=bool(fields["heard"]),
        votes=votes,
        attended_at=attended_at,
    )


_REQUEST_NAMES = tuple(REQUEST.split(", "))
_BUILT = {
    "status", "kind", "risk", "parts", "origin", "matched", "reviewers",
    "grantable", "kept", "again", "heard",
}  # fmt: skip
_PLAIN = tuple(name for name in _REQUEST_NAMES if name not in _BUILT)


def vote_of(row: Row) -> Vote:
    """identity, approve, note, at."""
    return Vote(identity=row[0], approve=bool(row[1]), note=row[2], at=row[3])


def waiter_of(row: Row) -> Waiter:
    """id, request_id, process_id, since, ended_at."""
    return Waiter(id=row[0], request_id=row[1], process_id=row[2], since=row[3], ended_at=row[4])


def pause_of(row: Row) -> Pause:
    """agent, by, at."""
    return Pause(agent=row[0], by=row[1], at=row[2])


def grant_row(grant: Grant) -> Row:
    """The columns of GRANT."""
    return (
        grant.id,
        grant.agent,
        grant.workspace,
        grant.tool,
        grant.fingerprint,
        int(grant.any_args),
        grant.rule,
        grant.rule_digest,
        grant.request_id,
        grant.granted_by,
        grant.granted_at,
        grant.expires_at,
        grant.ended_at,
    )


def grant_of(row: Row) -> Grant:
    """The grant in a row of GRANT."""
    fields = dict(zip(GRANT.split(", "), row, strict=True))
    return Grant(**{**fields, "any_args": bool(fields["any_args"])})


def key_row(key: ApiKey) -> Row:
    """The columns of KEY."""
    return (
        key.id,
        key.name,
        key.digest,
        _json(sorted(key.scopes)),
        key.agent,
        key.rate,
        key.created_at,
        key.created_by,
        key.revoked_at,
        key.face,
        key.owner,
        key.expires_at,
    )


@lru_cache(maxsize=256)
def key_of(row: tuple[Any, ...]) -> ApiKey:
    """The API key in a row of KEY. Each request of a key reads its row: most times it is the same."""
    from airlock.apikeys import ApiKey, Scope

    fields = dict(zip(KEY.split(", "), row, strict=True))
    return ApiKey(**{**fields, "scopes": frozenset(map(Scope, json.loads(fields["scopes"])))})
