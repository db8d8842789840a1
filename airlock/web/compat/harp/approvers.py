"""An approver outside: its inbox of what Airlock cannot read, and its decisions, relayed as they are signed.

Its yes is also a yes at the gate: whoever asked cannot decide, a quorum counts, history has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.canonical import parse
from airlock.errors import AirlockError, Conflict, UsageError
from airlock.model import ApprovalRequest, Resolution
from airlock.ports_faces import Record, RecordFilter
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import records_of
from airlock.web.compat.harp import words
from airlock.web.compat.harp.answers import answer
from airlock.web.compat.harp.crypto import harp_canonical, public_key, verified
from airlock.web.compat.harp.exchanges import reply
from airlock.web.compat.harp.faults import CONFLICT, ERROR, GONE, MALFORMED, NOT_FOUND, refused
from airlock.web.compat.harp.keeping import KIND, foreign, one
from airlock.web.compat.harp.pairings import KIND as PAIRING
from airlock.web.compat.harp.words import DECIDE, FACE, TEXT, TEXT_OR_NULL, enveloped, wanted
from airlock.web.compat.query import number
from airlock.web.queries import one as only
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

CORE = (
    "requestId",
    "artifactHashAlg",
    "repoRef",
    "scope",
    "expiresAt",
    "sigAlg",
    "policyHints",
)
WIRE = ("signerKeyId", "nonce", "signature", "decisionHash")
MOST_REASON = 2_000
MOST_INBOX = 100


async def decide(asked: Asked) -> Response:
    """Take the decision of an approver; the same again changes nothing, another one is a conflict."""
    services, who, wire = asked.services, asked.who, asked.body
    request_id = words.identifier(wire.get("requestId"), "requestId")
    said = words.inner(wire, "body")
    exchange = await one(services, who, request_id)
    decision = _decision(said, exchange)
    before = await answer(services, who, exchange, given=False)
    if before.verdict:
        if before.verdict != decision["decision"]:
            raise refused(409, "AlreadyDecidedConflict", "it was decided otherwise", request_id)
        return _accepted(asked, request_id, before.state)
    await _check_signature(services, exchange, said, decision)
    exchange = await _kept(services, exchange, who.identity, decision)
    resolution = Resolution(
        approve=decision["decision"] == words.APPROVE,
        identity=who.identity,
        via=FACE,
        note=decision["reason"] or "",
    )
    try:
        await services.gate.resolve(str(exchange.body["made"]), resolution)
    except AirlockError:
        await _forgotten(services, exchange)
        raise
    return _accepted(asked, request_id, (await answer(services, who, exchange, given=False)).state)


def _accepted(asked: Asked, request_id: str, state: str) -> Response:
    return reply(asked, "decision.accepted", request_id, {"requestId": request_id, "state": state})


def _decision(said: Mapping[str, Any], exchange: Record) -> dict[str, Any]:
    verdict = str(said.get("decision", "")).lower()
    if verdict not in {words.APPROVE, words.REJECT}:
        raise UsageError("`body.decision` must be `approve` or `reject`")
    if said.get("artifactHash") != exchange.body["hash"]:
        raise refused(400, "HARP_ERR_HASH_MISMATCH", "`artifactHash` is another artifact's", exchange.id)
    found: dict[str, Any] = {"artifactHash": exchange.body["hash"], "decision": verdict}
    for key in ("reason", *WIRE):
        value = said.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > MOST_REASON):
            raise UsageError(f"`body.{key}` must be text of at most {MOST_REASON} characters")
        found[key] = value
    return found


async def _check_signature(
    services: Services, exchange: Record, said: Mapping[str, Any], decision: Mapping[str, Any]
) -> None:
    """Where the pairing knows the approver's key, its signature must be good, and its nonce new."""
    pairing = await records_of(services).get_record(FACE, PAIRING, str(exchange.body["pairing"]))
    response = (pairing.body["response"] or {}) if pairing is not None else {}
    if "publicKey" not in response:
        return
    public = public_key(response["publicKey"], "publicKey", "ed25519")
    nonce, signature = decision["nonce"], decision["signature"]
    if not nonce or not signature or decision["signerKeyId"] != response["signerKeyId"]:
        raise refused(400, "HARP_ERR_SIGNATURE_INVALID", "the paired approver signs decisions", exchange.id)
    plain = f"{decision['artifactHash']}|{decision['decision']}|{nonce}".encode()
    core = {**{key: said[key] for key in CORE if key in said}, **decision}
    for key in ("reason", "signature", "decisionHash"):
        core.pop(key)
    good = verified(public, plain, signature)
    if not good and core.get("requestId", exchange.id) == exchange.id:
        good = verified(public, harp_canonical(core), signature)
    if not good:
        raise refused(400, "HARP_ERR_SIGNATURE_INVALID", "the signature is not the approver's", exchange.id)
    await _check_nonce(services, exchange, f"{decision['signerKeyId']}\0{nonce}")


async def _check_nonce(services: Services, exchange: Record, mark: str) -> None:
    now, name = services.clock(), hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()
    record = Record(
        face=FACE, kind="nonce", id=name, link=exchange.id, created_at=now, updated_at=now, body={}
    )
    try:
        await records_of(services).put_records([record])
    except Conflict:
        seen = await records_of(services).get_record(FACE, "nonce", name)
        if seen is None or seen.link != exchange.id:
            raise refused(409, "HARP_ERR_REPLAY", "this nonce was used before", exchange.id) from None


async def _kept(services: Services, exchange: Record, by: str, wire: Mapping[str, Any]) -> Record:
    """Before it counts, so that whoever waits gets the approver's own signature."""
    body = {**exchange.body, "decision": {"by": by, "wire": dict(wire)}}
    following = replace(exchange, version=exchange.version + 1, updated_at=services.clock(), body=body)
    await records_of(services).put_records([following])
    return following


async def _forgotten(services: Services, exchange: Record) -> None:
    body = {**exchange.body, "decision": None}
    await records_of(services).put_records([replace(exchange, version=exchange.version + 1, body=body)])


async def inbox(asked: Asked) -> Response:
    """What waits for an approver, oldest first."""
    services, query = asked.services, asked.request.query_params
    limit = number(query, "limit", 50, least=1, most=MOST_INBOX)
    offset = number(query, "cursor", 0)
    approver = words.identifier(asked.request.path_params["approverId"], "approverId")
    only(query, "cursor")
    open_ones = await _waiting(services, approver)
    page = open_ones[offset : offset + limit]
    body = {
        "items": [_item(record, request) for record, request in page],
        "nextCursor": str(offset + limit) if len(open_ones) > offset + limit else None,
    }
    return reply(asked, "inbox.page", "", body)


async def _waiting(services: Services, approver: str) -> list[tuple[Record, ApprovalRequest]]:
    """Exchanges of this approver, and all questions of other roads."""
    rows = await services.gate.pending()
    found = await records_of(services).find_records(
        RecordFilter(face=FACE, kind=KIND, links=tuple(row.id for row in rows), limit=10_000)
    )
    known = {one.link: one for one in found}
    all_of_them = [(known.get(row.id) or foreign(row), row) for row in rows]
    return [(one, row) for one, row in all_of_them if one.body["approver"] in {"", approver}]


def _item(record: Record, request: ApprovalRequest) -> dict[str, Any]:
    body = record.body
    readable = body["ciphertext"] is None
    return {
        "requestId": record.id,
        "artifactType": body["type"],
        "artifactHash": body["hash"],
        "ciphertext": body["ciphertext"],
        "artifact": parse(request.arguments) if readable else None,
        "enforcerId": body["enforcer"],
        "metadata": {
            "workspaceName": body["workspace"],
            "repoName": body["repo"],
            "requestLabel": body["label"],
        },
        "createdAt": iso(record.created_at),
        "expiresAt": iso(body["expires_at"]),
    }


ITEM = schemas.record(
    {
        "requestId": TEXT,
        "artifactType": TEXT,
        "artifactHash": TEXT,
        "ciphertext": {"type": ["object", "null"]},
        "artifact": {"type": ["object", "null"]},
        "enforcerId": TEXT,
        "metadata": {"type": "object", "additionalProperties": TEXT},
        "createdAt": schemas.TIME,
        "expiresAt": schemas.TIME,
    }
)
SAID = wanted(
    {"artifactHash": TEXT, "decision": {"type": "string", "enum": [words.APPROVE, words.REJECT]}},
    reason=TEXT_OR_NULL,
    signerKeyId=TEXT_OR_NULL,
    nonce=TEXT_OR_NULL,
    signature=TEXT_OR_NULL,
    decisionHash=TEXT_OR_NULL,
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/decisions",
        summary="The decision of an approver outside",
        scopes=DECIDE,
        people=True,
        serve=decide,
        body=wanted({"requestId": words.ID, "body": SAID}),
        error=ERROR,
        replies={
            200: Reply(
                "accepted", enveloped("decision.accepted", schemas.record({"requestId": TEXT, "state": TEXT}))
            ),
            400: MALFORMED,
            404: NOT_FOUND,
            409: CONFLICT,
            410: GONE,
        },
    ),
    Route(
        method="GET",
        path="/v1/approvers/{approverId}/inbox",
        summary="What waits for an approver, with what only it can read",
        scopes=DECIDE,
        people=True,
        serve=inbox,
        parameters=(
            Parameter(name="approverId", place="path", schema=TEXT, description="The approver's id."),
            Parameter(
                name="cursor",
                place="query",
                schema={"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**9 - 1}, {"const": ""}]},
                description="Where the page begins, from the page before.",
            ),
            Parameter(
                name="limit",
                place="query",
                schema={"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_INBOX}, {"const": ""}]},
                description="At most so many; 50 unless given.",
            ),
        ),
        error=ERROR,
        replies={
            200: Reply(
                "a page",
                enveloped(
                    "inbox.page",
                    schemas.record({"items": schemas.listed(ITEM), "nextCursor": TEXT_OR_NULL}),
                ),
            ),
            400: MALFORMED,
        },
    ),
)
