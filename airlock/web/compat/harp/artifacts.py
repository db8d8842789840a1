"""POST /v1/artifacts: an artifact becomes a request before the gate, read where we can, relayed where not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.canonical import parse
from airlock.errors import Conflict, NotPermitted, UsageError, WireError
from airlock.model import Overlay
from airlock.ports_faces import Record
from airlock.values import dataclass
from airlock.web import schemas
from airlock.web.auth import Credential
from airlock.web.compat.asking import Ask, Kept, ask, records_of
from airlock.web.compat.harp import dndrules, pairings, words
from airlock.web.compat.harp.crypto import Unreadable, decrypt, harp_hash, to_text
from airlock.web.compat.harp.faults import CONFLICT, ERROR, MALFORMED, REFUSED, refused
from airlock.web.compat.harp.keeping import KIND, exchange
from airlock.web.compat.harp.pairing import owner_of
from airlock.web.compat.harp.words import FACE, SUBMIT, TEXT, envelope, enveloped, wanted
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

MOST_CIPHERTEXT = 512 * 1024
CLAIM_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What was submitted. `plain` is the decrypted artifact, None where we cannot read it."""

    request_id: str
    enforcer: str
    kind: str
    hash: str
    ciphertext: Mapping[str, Any]
    metadata: Mapping[str, str]
    life_ms: int
    pairing: Record | None = None
    plain: Any = None
    readable: bool = False

    @property
    def workspace(self) -> str:
        """The workspace as the client calls it."""
        return self.metadata.get("workspaceName") or self.metadata.get("workspaceId", "")

    @property
    def session(self) -> str:
        """The session, where the client names one."""
        return self.metadata.get("sessionId", "")

    @property
    def arguments(self) -> dict[str, Any]:
        """What people and policies see of it."""
        said = {
            "enforcer": self.enforcer,
            "workspace": self.workspace,
            "repo": self.metadata.get("repoName", ""),
            "label": self.metadata.get("requestLabel", ""),
            "hash": self.hash,
        }
        seen = {key: value for key, value in said.items() if value}
        if self.readable:
            # The draft's examples put the algorithm in front.
            matches = harp_hash(self.plain) == self.hash.removeprefix("sha256:")
            return {"artifact": self.plain, "hash_verified": matches, **seen}
        data = str(self.ciphertext["data"])
        digest = hashlib.sha256(data.encode("utf-8", "surrogatepass")).hexdigest()
        return {"encrypted": {"alg": self.ciphertext["alg"], "size": len(data), "digest": digest}, **seen}


async def submit(asked: Asked) -> Response:
    """Take one artifact; the same again is the same exchange."""
    services, who = asked.services, asked.who
    artifact = await _routed(services, _read(asked))
    owner = owner_of(services, who)
    claim = await _claimed(services, owner, artifact)
    if claim is not None:
        if artifact.metadata.get("dndAudit") == "true":
            await _remarked(services, who, claim, artifact)
        else:
            await _asked(services, who, claim, artifact)
    body = {"requestId": artifact.request_id, "state": "accepted"}
    return JsonAnswer(_reply(services, "artifact.accepted", artifact.request_id, body), 202)


def _reply(services: Services, kind: str, request_id: str, body: Any) -> dict[str, Any]:
    return envelope(kind, request_id, body, at=services.clock(), message_id=services.make_id())


def _read(asked: Asked) -> Artifact:
    wire = asked.body
    if wire.get("msgType") not in (None, "artifact.submit"):
        raise UsageError("`msgType` must be `artifact.submit`")
    request_id = words.identifier(wire.get("requestId"), "requestId")
    sender, body = words.inner(wire, "sender"), words.inner(wire, "body")
    return Artifact(
        request_id=request_id,
        enforcer=words.identifier(sender.get("enforcerId"), "sender.enforcerId"),
        kind=words.artifact_type(body.get("artifactType")),
        hash=words.artifact_hash(body.get("artifactHash")),
        ciphertext=_ciphertext(words.inner(body, "ciphertext")),
        metadata=words.metadata(body),
        life_ms=_life(words.time_of(body, "expiresAt"), asked.services.clock(), request_id),
    )


def _ciphertext(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in ("alg", "data", "nonce", "tag", "aad"):
        value = given.get(part)
        if value is not None and (not isinstance(value, str) or len(value) > MOST_CIPHERTEXT):
            raise UsageError(f"`ciphertext.{part}` must be text of at most {MOST_CIPHERTEXT} characters")
        found[part] = value
    if not found["data"] or len(found["alg"] or "") > 60:
        raise UsageError("`ciphertext` needs `alg` and `data`")
    return {**found, "alg": found["alg"] or ""}


def _life(expires: int | None, now: int, request_id: str) -> int:
    """How long the question lives. Some clients send the present moment where they mean nothing."""
    if expires is None or now - words.SKEW_MS <= expires <= now:
        return words.USUAL_LIFE_MS
    if expires < now:
        raise refused(422, "expired", "`expiresAt` is over", request_id)
    return min(expires - now, words.LONGEST_LIFE_MS)


async def _routed(services: Services, artifact: Artifact) -> Artifact:
    """With its pairing, and decrypted where Airlock is the approver of that."""
    token = artifact.metadata.get("routingToken", "")
    if not token:
        return artifact
    pairing = await pairings.by_link(services, pairings.token_digest(token))
    if pairing is None or pairing.body["state"] not in {pairings.COMPLETED, pairings.REVOKED}:
        raise refused(
            422, "no_approver", "no approver has this routing token: pair again", artifact.request_id
        )
    if pairing.body["state"] == pairings.REVOKED:
        raise refused(403, "pairing_revoked", "this pairing was revoked: pair again", artifact.request_id)
    key = pairings.own_key(services, pairing)
    if key is None:
        return replace(artifact, pairing=pairing)
    try:
        plain = decrypt(key, artifact.ciphertext)
    except Unreadable as error:
        raise refused(422, "undecryptable", str(error), artifact.request_id) from None
    return replace(artifact, pairing=pairing, plain=_value(plain), readable=True)


def _value(plain: bytes) -> Any:
    """JSON as its value, all else as its text."""
    try:
        return parse(plain)
    except WireError:
        try:
            return plain.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64url": to_text(plain)}


async def _claimed(services: Services, owner: str, artifact: Artifact) -> Record | None:
    """The exchange, ours to fill; None when it was submitted before, 409 when something else was."""
    records, now = records_of(services), services.clock()
    old = await records.get_record(FACE, KIND, artifact.request_id)
    version = 1
    if old is not None:
        _check_same(old, owner, artifact)
        if old.body["made"] or now - old.updated_at < CLAIM_MS:
            return None
        version = old.version + 1  # whoever began it did not live to ask
    record = exchange(artifact, owner=owner, now=now, version=version)
    try:
        await records.put_records([record])
    except Conflict:
        found = await records.get_record(FACE, KIND, artifact.request_id)
        if found is not None:
            _check_same(found, owner, artifact)
        return None
    return record


def _check_same(old: Record, owner: str, artifact: Artifact) -> None:
    if old.owner != owner or old.body["hash"] != artifact.hash:
        raise refused(
            409, "AlreadyExistsConflict", "another artifact has this `requestId`", artifact.request_id
        )


async def _asked(services: Services, who: Credential, claim: Record, artifact: Artifact) -> None:
    overlay = await dndrules.overlay(services, artifact.arguments, artifact.kind, artifact.session)
    wanted = Ask(
        face=FACE,
        name=artifact.kind,
        arguments=artifact.arguments,
        overlay=replace(overlay, life_ms=artifact.life_ms),
        beside={"exchange": claim.id},
        client=artifact.enforcer,
        session=artifact.session,
    )
    try:
        kept = await _put(services, who, wanted, artifact.request_id)
    except BaseException:
        await records_of(services).put_records([], drop=[claim])
        raise
    made = kept.record.id
    expires = kept.request.expires_at if kept.request is not None else claim.created_at + artifact.life_ms
    body = {**claim.body, "made": made, "expires_at": expires}
    await records_of(services).put_records([replace(claim, version=claim.version + 1, body=body, link=made)])


async def _put(services: Services, who: Credential, wanted: Ask, request_id: str) -> Kept:
    """Ask, and say no in HARP's words."""
    try:
        return await ask(services, who, wanted)
    except NotPermitted as error:
        raise refused(403, "forbidden", str(error), request_id) from None
    except HttpError as error:
        if error.status != 429:
            raise
        raise refused(
            429, "workspace_limit_exceeded", str(error), request_id, headers=error.headers
        ) from None


async def _remarked(services: Services, who: Credential, claim: Record, artifact: Artifact) -> None:
    """The client decided by a do-not-disturb policy and says so: history keeps it, nobody is asked."""
    overlay: Overlay = await dndrules.overlay(services, artifact.arguments, artifact.kind, artifact.session)
    body = {**claim.body, "made": "audit", "covered": overlay.effect is not None}
    told = {
        "api": FACE,
        "by": who.identity,
        "tool": f"{FACE}/{artifact.kind}",
        "policy": overlay.rule,
        "covered": overlay.effect is not None,
        "arguments": artifact.arguments,
    }
    await services.gate.remark("dnd.reported", services.gate.masked(told))
    await records_of(services).put_records([replace(claim, version=claim.version + 1, body=body)])


NULLABLE = words.TEXT_OR_NULL
SUBMITTED = wanted(
    {
        "requestId": words.ID,
        "sender": wanted({"enforcerId": words.ID}),
        "body": wanted(
            {
                "artifactHash": words.HASH,
                "ciphertext": wanted({"alg": TEXT, "data": TEXT}, nonce=NULLABLE, tag=NULLABLE, aad=NULLABLE),
            },
            artifactType=NULLABLE,
            expiresAt=NULLABLE,
            metadata={"type": ["object", "null"], "additionalProperties": TEXT},
        ),
    },
    msgId=NULLABLE,
    msgType={"const": "artifact.submit"},
    createdAt=NULLABLE,
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/artifacts",
        summary="Submit an artifact for approval",
        description="It becomes the request `harp/TYPE`. The same id and hash again change nothing.",
        scopes=SUBMIT,
        serve=submit,
        body=SUBMITTED,
        error=ERROR,
        replies={
            202: Reply(
                "accepted",
                enveloped("artifact.accepted", schemas.record({"requestId": TEXT, "state": TEXT})),
            ),
            400: MALFORMED,
            409: CONFLICT,
            422: REFUSED,
        },
    ),
)
