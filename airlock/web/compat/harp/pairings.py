"""Pairings as they are kept: whose enforcer, with which approver, under which routing token.

A routing token and Airlock's half of the keys are made from the key file when they are needed: the database
has only the token's digest.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airlock.errors import Conflict, NoSuchRequest
from airlock.ids import make_code
from airlock.ports_faces import Record, RecordFilter
from airlock.web.compat.asking import records_of
from airlock.web.compat.harp.crypto import exchange_key, public_key, shared_key, signer, to_text
from airlock.web.compat.harp.faults import refused
from airlock.web.compat.harp.words import FACE
from airlock.web.compat.stored import MOST_THINGS

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "pairing"
PENDING, COMPLETED, REVOKED, EXPIRED = "Pending", "Completed", "Revoked", "Expired"
STATES = (PENDING, COMPLETED, REVOKED, EXPIRED)
LIFE_MS = 600_000
CODE_LIFE_MS = 1_800_000
CODE_LENGTH = 6
LONG_CODE = 4
MOST_PENDING = 20
"""As many pairings of one key wait at a time: no enforcer keeps all others from pairing."""


def approves(services: Services) -> bool:
    """True when Airlock is the approver of new pairings."""
    options = services.config.compat.get(FACE)
    return options is not None and options.approver


def long_code() -> str:
    """A code that is good for half an hour, and which nobody confirms: longer than the others."""
    return f"{make_code(LONG_CODE)}-{make_code(LONG_CODE)}"


def code_digest(code: str) -> str:
    """What a code is found by, however it was typed."""
    plain = "".join(one for one in code.upper() if one.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def routing_token(services: Services, pairing: Record) -> str:
    """The opaque name under which artifacts find the approver."""
    return "hrt_" + to_text(bytes.fromhex(services.gate.vouch(f"harp routing {pairing.id}")))


def token_digest(token: str) -> str:
    """What a routing token is found by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def state_of(services: Services, pairing: Record) -> str:
    """The state that counts now."""
    state = str(pairing.body["state"])
    if state == PENDING and services.clock() >= pairing.body["expires_at"]:
        return EXPIRED
    return state


async def new(services: Services, owner: str, body: Mapping[str, Any], *, life_ms: int) -> Record:
    """Keep a pairing that waits for its other side; what nobody completed in time makes room for it."""
    records, now = records_of(services), services.clock()
    await make_room(services, owner)
    record = Record(
        face=FACE,
        kind=KIND,
        id=secrets.token_hex(16),
        link=code_digest(str(body["code"])),
        owner=owner,
        created_at=now,
        updated_at=now,
        body={"state": PENDING, "expires_at": now + life_ms, "response": None, **body},
    )
    await records.put_records([record])
    return record


async def make_room(services: Services, owner: str) -> None:
    """Drop what nobody completed in time; 429 when too many of one key wait, Conflict when all do."""
    records = records_of(services)
    wanted = RecordFilter(face=FACE, kind=KIND, oldest_first=True, limit=MOST_THINGS)
    held = await records.find_records(wanted)
    stale = [one for one in held if state_of(services, one) == EXPIRED]
    waiting = [one for one in held if one.owner == owner and state_of(services, one) == PENDING]
    if owner and len(waiting) >= MOST_PENDING:
        raise refused(429, "quota_exceeded", f"{MOST_PENDING} pairings of this key wait already")
    if len(held) - len(stale) >= MOST_THINGS:
        stale += [one for one in held if one.body["state"] == REVOKED][:1]
    if len(held) - len(stale) >= MOST_THINGS:
        raise Conflict(f"there are {MOST_THINGS} pairings already: revoke some")
    if stale:
        await records.put_records([], drop=stale)


async def by_id(services: Services, pairing_id: str) -> Record:
    """One by its nonce; NoSuchRequest."""
    record = await records_of(services).get_record(FACE, KIND, pairing_id)
    if record is None:
        raise NoSuchRequest("no such pairing")
    return record


async def by_link(services: Services, digest: str) -> Record | None:
    """One by the digest of its code, while it is pending, or of its routing token, afterwards."""
    found = await records_of(services).find_records(
        RecordFilter(face=FACE, kind=KIND, links=(digest,), limit=2)
    )
    return found[0] if len(found) == 1 else None


async def take(services: Services, pairing: Record, owner: str, said: Mapping[str, Any]) -> Record:
    """An enforcer has claimed it; Conflict when another was faster: a code works once."""
    body = {**pairing.body, **said, "code": ""}
    digest = token_digest(routing_token(services, pairing))
    return await _changed(services, replace(pairing, owner=owner, body=body, link=digest), "claimed")


async def complete(services: Services, pairing: Record, response: Mapping[str, Any], **more: Any) -> Record:
    """Both sides know each other from now on; Conflict when somebody else was faster."""
    body = {**pairing.body, **more, "state": COMPLETED, "response": dict(response), "code": ""}
    return await _changed(
        services,
        replace(pairing, body=body, link=token_digest(routing_token(services, pairing))),
        "completed",
    )


async def revoke(services: Services, pairing: Record, by: str) -> Record:
    """End it: what comes with its routing token is refused from now on."""
    return await _changed(
        services, replace(pairing, body={**pairing.body, "state": REVOKED, "revoked_by": by}), "revoked"
    )


async def _changed(services: Services, pairing: Record, what: str) -> Record:
    body = pairing.body
    following = replace(pairing, version=pairing.version + 1, updated_at=services.clock())
    await records_of(services).put_records([following])
    told = {"pairing": pairing.id, "enforcer": body["enforcer"], "approver": body.get("approver", "")}
    await services.gate.remark(f"pairing.{what}", {"api": FACE, **told, "by": body.get("revoked_by", "")})
    return following


def own_response(services: Services, pairing: Record) -> dict[str, Any]:
    """What an enforcer must know of Airlock as its approver."""
    key = signer(services.gate)
    return {
        "deviceId": "airlock",
        "x25519PublicKey": to_text(exchange_key(services.gate, pairing.id).public_key().public_bytes_raw()),
        "publicKey": to_text(key.public),
        "signerKeyId": key.key_id,
    }


def own_key(services: Services, pairing: Record) -> bytes | None:
    """The key of a pairing in which Airlock is the approver; None where it cannot read."""
    theirs = str(pairing.body.get("x25519") or "")
    if not pairing.body.get("own") or not theirs:
        return None
    return shared_key(exchange_key(services.gate, pairing.id), public_key(theirs, "x25519PublicKey"))


def named(nonce: str, code: str) -> dict[str, str]:
    """A nonce and a code under the names that the clients read, and under those of the draft."""
    return {"pairingNonce": nonce, "pairingCode": code, "nonce": nonce, "code": code}


def shape(services: Services, pairing: Record, *, token: bool) -> dict[str, Any]:
    """A pairing as whoever polls it reads it; the routing token only for the enforcer's own eyes."""
    state = state_of(services, pairing)
    done = state == COMPLETED
    response = pairing.body["response"]
    return {
        "pairingNonce": pairing.id,
        "state": state,
        "responseJson": json.dumps(response) if done and response else None,
        "routingToken": routing_token(services, pairing) if done and token else None,
    }
