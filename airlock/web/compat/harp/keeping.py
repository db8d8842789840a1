"""Exchanges as they are kept: which request stands behind a client's own request id, and who may see it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from airlock.canonical import parse
from airlock.errors import NoSuchRequest
from airlock.model import ApprovalRequest
from airlock.ports_faces import Record
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, find, records_of
from airlock.web.compat.harp.crypto import harp_hash
from airlock.web.compat.harp.faults import refused
from airlock.web.compat.harp.pairing import owner_of
from airlock.web.compat.harp.words import DECIDE, FACE

if TYPE_CHECKING:
    from airlock.web.compat.harp.artifacts import Artifact
    from airlock.web.services import Services

KIND = "exchange"
AUDIT = "audit"


def exchange(artifact: Artifact, *, owner: str, now: int, version: int) -> Record:
    """The record of one exchange. The ciphertext is kept only for an approver outside."""
    pairing = artifact.pairing
    body: dict[str, Any] = {
        "hash": artifact.hash,
        "type": artifact.kind,
        "enforcer": artifact.enforcer,
        "workspace": artifact.workspace,
        "repo": artifact.metadata.get("repoName", ""),
        "label": artifact.metadata.get("requestLabel", ""),
        "pairing": pairing.id if pairing else "",
        "approver": approver_of(artifact),
        "ciphertext": None if artifact.readable else dict(artifact.ciphertext),
        "expires_at": now + artifact.life_ms,
        "made": "",
        "decision": None,
        "acked": "",
    }
    return Record(
        face=FACE,
        kind=KIND,
        id=artifact.request_id,
        owner=owner,
        version=version,
        created_at=now,
        updated_at=now,
        body=body,
    )


def approver_of(artifact: Artifact) -> str:
    """Whose inbox it belongs to, "" for everyone's."""
    if artifact.pairing is not None:
        return str(artifact.pairing.body.get("approver", ""))
    return artifact.metadata.get("approverId", "")


def foreign(request: ApprovalRequest) -> Record:
    """What an exchange would say of a question that came in on another road: nobody's to wait for here."""
    body = {
        "hash": foreign_hash(request),
        "type": request.tool,
        "enforcer": request.agent,
        "workspace": request.origin.workspace,
        "repo": "",
        "label": request.code,
        "pairing": "",
        "approver": "",
        "ciphertext": None,
        "expires_at": request.expires_at,
        "made": request.id,
        "decision": None,
        "acked": "",
    }
    return Record(
        face=FACE,
        kind=KIND,
        id=request.id,
        link=request.id,
        version=0,
        created_at=request.created_at,
        updated_at=request.created_at,
        body=body,
    )


def foreign_hash(request: ApprovalRequest) -> str:
    """The hash of a call as its question shows it."""
    return harp_hash({"tool": request.tool, "arguments": parse(request.arguments)})


async def one(services: Services, who: Credential, request_id: str) -> Record:
    """An exchange that this credential may see: whoever submitted it, and whoever decides."""
    record = await records_of(services).get_record(FACE, KIND, request_id)
    decides = who.holds(DECIDE) and not who.bound
    if record is not None and record.body["made"]:
        if decides or record.owner == owner_of(services, who):
            return record
    elif decides:
        with contextlib.suppress(NoSuchRequest):
            request = await services.gate.request(request_id)
            if request.id == request_id:
                return foreign(request)
    raise refused(404, "not_found", "no such exchange", request_id[:128])


async def kept_of(services: Services, record: Record) -> Kept:
    """The request behind it."""
    try:
        return await find(services, FACE, str(record.body["made"]))
    except NoSuchRequest:
        raise refused(404, "not_found", "no such exchange any more", record.id) from None
