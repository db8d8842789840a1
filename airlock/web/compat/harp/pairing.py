"""Pairing: an enforcer and an approver learn each other's keys, by a code that a person carries over.

Where Airlock is the approver, `initiate` is the request `harp/pair` in the queue, and whoever approves it
pairs; a code that a person made before needs no other approval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.errors import NoSuchRequest, NotPermitted, UsageError
from airlock.ids import make_code
from airlock.model import Overlay, Status
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web.auth import Credential, retry_after
from airlock.web.compat.asking import Ask, ask, collect, find, speaker
from airlock.web.compat.harp import pairings
from airlock.web.compat.harp.crypto import public_key, to_text
from airlock.web.compat.harp.faults import refused
from airlock.web.compat.harp.pairingroutes import routes
from airlock.web.compat.harp.words import DECIDE, FACE, identifier, name
from airlock.web.errors import JsonAnswer
from airlock.web.mcp import principal_of
from airlock.web.routes import Asked

if TYPE_CHECKING:
    from airlock.web.services import Services

GUESSES_PER_MINUTE = 10
PAIR = "pair"


def owner_of(services: Services, who: Credential) -> str:
    """The identity that a credential acts under as an enforcer."""
    return principal_of(who, speaker(services, FACE, who)).identity


async def initiate(asked: Asked) -> Response:
    """Begin a pairing: the code goes to whoever approves."""
    services, body = asked.services, _enforcer(asked.body)
    owner = owner_of(services, asked.who)
    body["code"] = make_code(pairings.CODE_LENGTH)
    await pairings.make_room(services, owner)
    if pairings.approves(services):
        body["asked"] = await _asked(asked, body)
    pairing = await pairings.new(services, owner, body, life_ms=pairings.LIFE_MS)
    return JsonAnswer(
        {
            **pairings.named(pairing.id, str(body["code"])),
            "deviceId": body["device"],
            "gatewayUrl": body["gateway"],
            "expiresAt": iso(pairing.body["expires_at"]),
        }
    )


def _enforcer(body: Mapping[str, Any]) -> dict[str, Any]:
    """What an enforcer says of itself."""
    key = body.get("x25519PublicKey")
    return {
        "device": name(body, "deviceId"),
        "enforcer": identifier(body.get("enforcerId"), "enforcerId"),
        "label": name(body, "enforcerLabel"),
        "workspace": name(body, "workspaceName"),
        "gateway": name(body, "gatewayUrl"),
        "x25519": to_text(public_key(key, "x25519PublicKey")) if isinstance(key, str) and key else "",
    }


async def _asked(asked: Asked, body: Mapping[str, Any]) -> str:
    said = {key: body[key] for key in ("enforcer", "label", "workspace", "device", "code") if body[key]}
    said["key"] = hashlib.sha256(str(body["x25519"]).encode()).hexdigest()[:16] if body["x25519"] else "none"
    wanted = Ask(
        face=FACE,
        name=PAIR,
        arguments=said,
        overlay=Overlay(rule="harp:pairing", life_ms=pairings.LIFE_MS),
        beside={},
        client=str(body["enforcer"]),
    )
    return (await ask(asked.services, asked.who, wanted)).record.id


async def status(asked: Asked) -> Response:
    """What became of it; whoever began it learns the approver's keys and the routing token."""
    services, who = asked.services, asked.who
    pairing = await pairings.by_id(services, str(asked.request.path_params["nonce"]))
    own = pairing.owner == owner_of(services, who)
    if not own and not (who.holds(DECIDE) and not who.bound):
        raise NoSuchRequest("no such pairing")
    if own and pairings.state_of(services, pairing) == pairings.PENDING and pairing.body.get("asked"):
        pairing = await _answered(services, who, pairing)
    expires = iso(pairing.body["expires_at"])
    return JsonAnswer({**pairings.shape(services, pairing, token=own), "expiresAt": expires})


async def _answered(services: Services, who: Credential, pairing: Record) -> Record:
    """Complete or revoke it by what became of its request."""
    kept = await find(services, FACE, str(pairing.body["asked"]))
    try:
        kept = await collect(services, who, kept, Overlay(rule="harp:pairing"))
    except NotPermitted:
        return pairing  # paused: nothing is given out now
    yes = kept.request.status is Status.USED if kept.request else kept.record.body["effect"] == "allow"
    if yes:
        response = pairings.own_response(services, pairing)
        return await pairings.complete(services, pairing, response, own=True, approver="airlock")
    if kept.request is not None and kept.request.status is Status.PENDING:
        return pairing
    return await pairings.revoke(services, pairing, "approver")


async def revoke(asked: Asked) -> Response:
    """End a pairing by its routing token."""
    services, who = asked.services, asked.who
    token = asked.body.get("routingToken")
    digest = pairings.token_digest(token) if isinstance(token, str) else ""
    pairing = await pairings.by_link(services, digest) if digest else None
    if pairing is None or pairing.body["state"] == pairings.PENDING:
        raise NoSuchRequest("no pairing has this routing token")
    if pairing.owner != owner_of(services, who) and (who.bound or not who.holds(DECIDE)):
        raise NoSuchRequest("no pairing has this routing token")
    if pairing.body["state"] == pairings.COMPLETED:
        pairing = await pairings.revoke(services, pairing, who.identity)
    return JsonAnswer({"status": "revoked", "enforcerId": pairing.body["enforcer"]})


async def pre_generate(asked: Asked) -> Response:
    """A person makes a code, for an enforcer to claim within half an hour."""
    services = asked.services
    response = None if pairings.approves(services) else approver_keys(asked.body)
    body = {
        "code": pairings.long_code(),
        "device": "",
        "enforcer": "",
        "label": "",
        "workspace": name(asked.body, "workspaceName"),
        "gateway": "",
        "x25519": "",
        "generated": asked.who.identity,
        "offered": response,
        "approver": name(asked.body, "approverId"),
    }
    pairing = await pairings.new(services, "", body, life_ms=pairings.CODE_LIFE_MS)
    return JsonAnswer(
        {
            **pairings.named(pairing.id, str(body["code"])),
            "expiresAt": iso(pairing.body["expires_at"]),
        }
    )


def approver_keys(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an approver outside says of itself; None when it says nothing yet."""
    if not body.get("x25519PublicKey") and not body.get("publicKey"):
        return None
    found: dict[str, Any] = {"deviceId": name(body, "deviceId") or name(body, "approverId")}
    if body.get("x25519PublicKey"):
        found["x25519PublicKey"] = to_text(public_key(str(body["x25519PublicKey"]), "x25519PublicKey"))
    if body.get("publicKey"):
        found["publicKey"] = to_text(public_key(str(body["publicKey"]), "publicKey", "ed25519"))
        # The draft's example has no name for the key: then it has that of its approver.
        found["signerKeyId"] = identifier(body.get("signerKeyId") or body.get("approverId"), "signerKeyId")
    return found


async def claim(asked: Asked) -> Response:
    """An enforcer takes a code that a person made: once, and paired at once where the keys are known."""
    services, who = asked.services, asked.who
    owner = owner_of(services, who)
    pairing = await _coded(services, who, asked.body.get("pairingCode"))
    if not pairing.body.get("generated") or pairing.owner:
        raise NoSuchRequest("no such pairing code")
    said = _enforcer(asked.body)
    said["workspace"] = said["workspace"] or pairing.body["workspace"]
    claimed = await pairings.take(services, pairing, owner, said)
    if pairings.approves(services):
        response = pairings.own_response(services, claimed)
        claimed = await pairings.complete(services, claimed, response, own=True, approver="airlock")
    elif claimed.body["offered"]:
        claimed = await pairings.complete(services, claimed, claimed.body["offered"], own=False)
    expires = iso(claimed.body["expires_at"])
    return JsonAnswer({**pairings.shape(services, claimed, token=True), "expiresAt": expires})


async def resolve(asked: Asked) -> Response:
    """An approver reads who wants to be paired, by the code that it was told."""
    services = asked.services
    pairing = await _coded(services, asked.who, asked.request.path_params["code"])
    body = pairing.body
    return JsonAnswer(
        {
            "pairingNonce": pairing.id,
            "nonce": pairing.id,
            "state": pairings.state_of(services, pairing),
            "enforcerId": body["enforcer"],
            "deviceId": body["device"],
            "enforcerLabel": body["label"],
            "workspaceName": body["workspace"],
            "x25519PublicKey": body["x25519"] or None,
            "expiresAt": iso(body["expires_at"]),
        }
    )


async def complete(asked: Asked) -> Response:
    """An approver outside gives its keys: from now on artifacts reach its inbox."""
    services = asked.services
    pairing = await pairings.by_id(services, _nonce(asked.body))
    if pairings.state_of(services, pairing) != pairings.PENDING or pairing.body.get("asked"):
        raise refused(409, "conflict", "this pairing does not wait for an approver")
    if not pairing.owner:
        raise refused(409, "conflict", "nobody has claimed this code yet")
    response = approver_keys(asked.body)
    if response is None:
        raise refused(400, "validation_error", "`x25519PublicKey` or `publicKey` is missing")
    approver = identifier(asked.body.get("approverId"), "approverId")
    done = await pairings.complete(services, pairing, response, own=False, approver=approver)
    return JsonAnswer(
        {**pairings.shape(services, done, token=False), "expiresAt": iso(done.body["expires_at"])}
    )


def _nonce(body: Mapping[str, Any]) -> str:
    """The nonce under the name of the clients, or of the draft; UsageError when it has neither."""
    nonce = body.get("pairingNonce") or body.get("nonce")
    if not isinstance(nonce, str):
        raise UsageError("`pairingNonce` is missing")
    return nonce


async def _coded(services: Services, who: Credential, code: Any) -> Record:
    """The pending pairing with this code. Ten wrong ones a minute, then 429."""
    now, caller = services.clock(), f"harp-code:{who.identity}"
    over = services.limits.full(caller, GUESSES_PER_MINUTE, now)
    if over is not None:
        raise refused(
            429, "quota_exceeded", "too many wrong pairing codes", headers=retry_after(over.retry_ms, now)
        )
    found = None
    if isinstance(code, str) and 1 <= len(code) <= 20:
        found = await pairings.by_link(services, pairings.code_digest(code))
    if found is None or pairings.state_of(services, found) != pairings.PENDING:
        services.limits.take(caller, GUESSES_PER_MINUTE, now)
        raise NoSuchRequest("no such pairing code")
    return found


ROUTES = routes(
    initiate=initiate,
    status=status,
    revoke=revoke,
    pre_generate=pre_generate,
    claim=claim,
    resolve=resolve,
    complete=complete,
)
