"""What has become of an exchange, and the decision as it is delivered: signed, and always the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airlock.errors import NotPermitted
from airlock.model import ApprovalRequest, Status
from airlock.ports_faces import Record
from airlock.values import dataclass
from airlock.views import iso
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, collect
from airlock.web.compat.harp import dndrules, words
from airlock.web.compat.harp.crypto import harp_canonical, signer, to_text
from airlock.web.compat.harp.keeping import AUDIT, kept_of
from airlock.web.compat.harp.pairing import owner_of

if TYPE_CHECKING:
    from airlock.web.services import Services

NONCE_DIGITS = 32
USE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`state` is HARP's; `verdict` is approve or reject once it may be told, else ""."""

    state: str
    verdict: str = ""
    reason: str = ""
    by: str = ""
    until: int = 0


async def answer(services: Services, who: Credential, exchange: Record, *, given: bool = True) -> Answer:
    """How it stands. To whoever submitted it a yes is given by this, and so spent, unless not `given`."""
    if exchange.body["made"] == AUDIT:
        return Answer(state=words.DECIDED)
    kept = await kept_of(services, exchange)
    own = exchange.owner == owner_of(services, who)
    if own and given and kept.request is not None and kept.request.status is Status.APPROVED:
        try:
            kept = await collect(services, who, kept, await _today(services, exchange, kept))
        except NotPermitted:
            return Answer(state=words.PENDING)  # everything is paused: nothing is given out
        if kept.request is not None and kept.request.status is Status.APPROVED:
            return Answer(state=words.PENDING)  # not spent, so not given either
    return _of(exchange, kept)


async def _today(services: Services, exchange: Record, kept: Kept) -> Any:
    session = kept.request.origin.session if kept.request else ""
    return await dndrules.overlay(services, kept.arguments, str(exchange.body["type"]), session)


def _of(exchange: Record, kept: Kept) -> Answer:
    decided = words.DELIVERED if exchange.body["acked"] else words.DECIDED
    request = kept.request
    if request is None:
        yes = kept.record.body["effect"] == "allow"
        return Answer(
            state=decided,
            verdict=words.APPROVE if yes else words.REJECT,
            reason=str(kept.record.body["reason"] or ""),
            by="policy",
            until=max(exchange.body["expires_at"], exchange.created_at + USE_MS),
        )
    verdict = _verdict(request)
    if verdict:
        return Answer(
            state=decided,
            verdict=verdict,
            reason=request.note,
            by=request.decided_by,
            until=max(request.expires_at, (request.decided_at or 0) + USE_MS),
        )
    return Answer(state=_open_or_over(request))


def _verdict(request: ApprovalRequest) -> str:
    if request.status in {Status.APPROVED, Status.USED}:
        return words.APPROVE
    if request.status is Status.DENIED:
        return words.REJECT
    forbidden = request.status is Status.CANCELLED and request.decided_by == "policy"
    return words.REJECT if forbidden else ""


def _open_or_over(request: ApprovalRequest) -> str:
    if request.status is Status.PENDING:
        return words.PENDING
    if request.status is Status.EXPIRED:
        return words.EXPIRED
    return words.CANCELLED if request.decided_by else words.WITHDRAWN


def delivered(services: Services, exchange: Record, found: Answer) -> dict[str, Any]:
    """The body of `decision.deliver`: the approver's own where it came from outside, else signed here.

    `signature` is over `hash|decision|nonce`, which is what clients verify; `core` is the decision object
    of HARP-CORE with its own signature over its canonical text.
    """
    relayed = exchange.body["decision"]
    if relayed and relayed["by"] == found.by and relayed["wire"]["decision"] == found.verdict:
        return dict(relayed["wire"])
    key = signer(services.gate)
    nonce = services.gate.vouch(f"harp nonce {exchange.id} {found.verdict}")[:NONCE_DIGITS]
    nonce = to_text(bytes.fromhex(nonce))
    core = {
        "requestId": exchange.id,
        "artifactHashAlg": "SHA-256",
        "artifactHash": exchange.body["hash"],
        "repoRef": exchange.body["repo"],
        "decision": found.verdict,
        "scope": "once",
        "expiresAt": iso(found.until),
        "nonce": nonce,
        "sigAlg": "Ed25519",
        "signerKeyId": key.key_id,
    }
    text = harp_canonical(core)
    plain = f"{exchange.body['hash']}|{found.verdict}|{nonce}".encode()
    return {
        "artifactHash": exchange.body["hash"],
        "decision": found.verdict,
        "reason": found.reason or None,
        "signerKeyId": key.key_id,
        "nonce": nonce,
        "signature": to_text(key.sign(plain)),
        "decisionHash": hashlib.sha256(text).hexdigest(),
        "core": {**core, "signature": to_text(key.sign(text))},
    }
