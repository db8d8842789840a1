"""From a face's request to a call, and back: asks the gate, and keeps beside it what only the face knows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never

from airlock.errors import AlreadySettled, Conflict, NoSuchRequest, NotPermitted
from airlock.model import (
    ApprovalRequest,
    Call,
    Origin,
    Outcome,
    Overlay,
    Proceed,
    Refusal,
    Refuse,
    Resolution,
    Status,
    Wait,
)
from airlock.ports import AuditEvent
from airlock.ports_faces import Record, RecordStore
from airlock.values import dataclass
from airlock.web.auth import Credential
from airlock.web.errors import HttpError
from airlock.web.mcp import principal_of, refused_agent

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "request"


async def _ours() -> None:
    """Nobody else can have taken what no key stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One go at a call: the `call`'s id, and what an earlier go under the same key left in history.

    What has a `past` is not submitted again. `check` raises when the go was given to somebody else.
    """

    call: str
    past: tuple[AuditEvent, ...] = ()
    check: Callable[[], Awaitable[None]] = _ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a client wants to do. `name` becomes `FACE/name` in the policy.

    `beside` is what the face keeps for itself (already fit to be stored). Identical asks are questions of
    their own, unless they are `shared`: then they find the open one, and its answer.
    """

    face: str
    name: str
    arguments: Mapping[str, Any]
    overlay: Overlay
    beside: Mapping[str, Any]
    agent: str = ""
    provider: str = ""
    client: str = ""
    session: str = ""
    shared: bool = False
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One request of a face: its record, and the question that stands behind it, where there is one.

    Without a question the policy decided at once: the record's `effect` is allow or deny, and `reason`,
    `rule` say why. `arguments` are as anyone may see them.
    """

    record: Record
    request: ApprovalRequest | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, secrets masked."""
        if self.request is not None:
            value = json.loads(self.request.arguments)
            return value if isinstance(value, dict) else {}
        return dict(self.record.body["arguments"])


def speaker(services: Services, face: str, credential: Credential, named: str = "") -> str:
    """The agent that a credential speaks for; HttpError 403 when it may not (decisions.md 2)."""
    options = services.config.compat.get(face)
    agent = named or credential.agent or (options.agent if options else face)
    refusal = refused_agent(agent, credential, services)
    if refusal:
        raise HttpError(403, refusal)
    return agent


def records_of(services: Services) -> RecordStore:
    """Where records are kept; HttpError 503 for a database that keeps none."""
    if services.records is None:
        raise HttpError(503, "this database keeps no records")
    return services.records


async def ask(services: Services, credential: Credential, wanted: Ask) -> Kept:
    """Ask the gate, without waiting for an answer, and keep the record of it.

    HttpError 429 when too many questions of the agent wait, 403 while everything is paused or the agent
    is unknown, 503 when it could not be decided.
    """
    call = _call(services, credential, wanted)
    if wanted.attempt is not None and wanted.attempt.past:
        return await _resumed(services, call, wanted, wanted.attempt.past)
    decision = await services.gate.preview(call)
    shown = services.gate.shown(call, decision)
    if wanted.attempt is not None:
        await wanted.attempt.check()
    verdict = await services.gate.submit(call, attend=False)
    match verdict:
        case Wait():
            return await _open(services, call, wanted, verdict.request, shown)
        case Proceed():
            why = verdict.decision
            body = {"effect": "allow", "rule": why.rule, "reason": why.reason, "arguments": shown}
            return await _settled(services, call, wanted, body, link=verdict.request_id)
        case Refuse():
            _check(verdict)
            body = {
                "effect": "deny",
                "rule": verdict.rule,
                "reason": verdict.reason,
                "arguments": shown,
            }
            return await _settled(services, call, wanted, body, link=verdict.request_id)
        case _:
            assert_never(verdict)


def _call(services: Services, credential: Credential, wanted: Ask) -> Call:
    agent = speaker(services, wanted.face, credential, wanted.agent)
    call_id = services.make_id() if wanted.attempt is None else wanted.attempt.call
    return Call(
        id=call_id,
        principal=principal_of(credential, agent),
        provider=wanted.provider or wanted.face,
        name=wanted.name,
        arguments=wanted.arguments,
        endpoint=wanted.face,
        origin=Origin(
            road=wanted.face,
            workspace=services.config.workspace,
            client=wanted.client,
            session=wanted.session,
        ),
        once="" if wanted.shared else call_id,
        overlay=wanted.overlay,
    )


def _check(refuse: Refuse) -> None:
    match refuse.kind:
        case Refusal.LIMIT:
            raise HttpError(429, refuse.reason, headers={"Retry-After": "30"})
        case Refusal.UNKNOWN_AGENT | Refusal.PAUSED:
            raise NotPermitted(refuse.reason)
        case Refusal.FAILED:
            raise HttpError(503, "the request cannot be decided now", headers={"Retry-After": "1"})
        case _:
            return


async def _open(
    services: Services, call: Call, wanted: Ask, request: ApprovalRequest, shown: dict[str, Any]
) -> Kept:
    if shown != call.arguments:
        services.holder.hold(call)
    body = {"effect": "ask", **_beside(call, wanted, masked=shown != call.arguments)}
    made = _record(services, call, wanted.face, body)
    record = replace(made, id=request.id, link=request.id, created_at=request.created_at)
    try:
        await records_of(services).put_records([record])
    except Conflict:  # a shared question that somebody asked before
        found = await records_of(services).get_record(wanted.face, KIND, request.id)
        record = found or record
    return Kept(record=record, request=request)


async def _settled(
    services: Services,
    call: Call,
    wanted: Ask,
    body: dict[str, Any],
    *,
    link: str = "",
    at: int | None = None,
) -> Kept:
    made = _record(services, call, wanted.face, {**body, **_beside(call, wanted, masked=False)})
    record = replace(made, link=link, created_at=made.created_at if at is None else at)
    try:
        await records_of(services).put_records([record])
    except Conflict:
        found = await records_of(services).get_record(wanted.face, KIND, call.id)
        if found is None or at is None:
            raise
        return Kept(record=found)
    return Kept(record=record)


async def _resumed(services: Services, call: Call, wanted: Ask, past: Sequence[AuditEvent]) -> Kept:
    """What an earlier go came to, as history has it; its record is made where that go made none."""
    asked = next((event.request_id for event in past if event.request_id), "")
    if asked:
        request = await services.gate.request(asked)
        return await _open(services, call, wanted, request, json.loads(request.arguments))
    decided = past[0]
    told = json.loads(decided.body)
    body = {
        "effect": "allow" if decided.kind == "call.allowed" else "deny",
        "rule": told["rule"],
        "reason": told["reason"],
        "arguments": told["args"],
    }
    return await _settled(services, call, wanted, body, at=decided.at)


def _beside(call: Call, wanted: Ask, *, masked: bool) -> dict[str, Any]:
    return {
        "call": call.id,
        "agent": call.agent,
        "name": call.name,
        "provider": call.provider,
        "client": wanted.client,
        "masked": masked,
        **wanted.beside,
    }


def _record(services: Services, call: Call, face: str, body: Mapping[str, Any]) -> Record:
    now = services.clock()
    return Record(
        face=face,
        kind=KIND,
        id=call.id,
        owner=call.principal.identity,
        created_at=now,
        updated_at=now,
        body=body,
    )


async def find(services: Services, face: str, reference: str) -> Kept:
    """One request by its id: the face's own, or any other that waits or waited. NoSuchRequest."""
    record = await records_of(services).get_record(face, KIND, reference)
    if record is not None and record.body["effect"] != "ask":
        return Kept(record=record)
    request = await services.gate.request(reference)
    if request.id != reference:
        raise NoSuchRequest(f"no request `{reference[:64]}`")  # a code is for people, not for APIs
    return Kept(record=record or foreign(face, request), request=request)


def foreign(face: str, request: ApprovalRequest) -> Record:
    """What a record would say of a question that came in on another road."""
    return Record(
        face=face,
        kind=KIND,
        id=request.id,
        link=request.id,
        owner=request.identity,
        version=0,
        created_at=request.created_at,
        updated_at=request.created_at,
        body={
            "effect": "ask",
            "call": request.call_id,
            "agent": request.agent,
            "name": request.tool,
            "provider": "",
            "client": request.origin.client,
            "masked": False,
        },
    )


def is_foreign(record: Record) -> bool:
    """True for a question that came in on another road."""
    return record.version == 0


def asker(credential: Credential, record: Record) -> bool:
    """True when this credential is the one that asked."""
    return not is_foreign(record) and record.owner == principal_of(credential, record.body["agent"]).identity


async def collect(services: Services, credential: Credential, kept: Kept, overlay: Overlay) -> Kept:
    """What whoever asked may act on now: an approval is spent by this. Others just look.

    `overlay` is what the face's policies say today.
    """
    request = kept.request
    if request is None or request.status is not Status.APPROVED:
        return kept
    if not asker(credential, kept.record):
        return kept
    call = rebuilt(services, credential, kept, overlay)
    return replace(kept, request=await services.gate.collect(call, request.id))


async def resolve(
    services: Services, credential: Credential, kept: Kept, *, approve: bool, note: str
) -> ApprovalRequest:
    """Answer a request as whoever holds this credential; the row as it is then, pending below a quorum.

    AlreadySettled and NotPermitted say nothing of the code: a caller of an API may be an agent.
    """
    if kept.request is None:
        raise AlreadySettled("the request was decided by policy", status=str(kept.record.body["effect"]))
    answer = Resolution(approve=approve, identity=credential.identity, via=kept.record.face, note=note)
    try:
        return await services.gate.resolve(kept.request.id, answer)
    except AlreadySettled as error:
        if error.status == Status.PENDING:
            raise AlreadySettled("you have answered already", status=error.status) from None
        raise AlreadySettled(f"the request is already {error.status}", status=error.status) from None
    except NotPermitted as error:
        raise NotPermitted(str(error).replace(f"request `{kept.request.code}`: ", "")) from None


def known_arguments(services: Services, kept: Kept) -> Mapping[str, Any]:
    """The arguments to judge by: as they were sent where that is still known, else with secrets masked."""
    held = services.holder.held(kept.record.body["call"]) if kept.record.body["masked"] else None
    return kept.arguments if held is None else held


def rebuilt(services: Services, credential: Credential, kept: Kept, overlay: Overlay) -> Call:
    """The call that a request was made of, as far as it is still known."""
    body, request = kept.record.body, kept.request
    origin = request.origin if request is not None else Origin(road=kept.record.face, client=body["client"])
    return Call(
        id=body["call"],
        principal=principal_of(credential, body["agent"]),
        provider=body["provider"],
        name=body["name"],
        arguments=known_arguments(services, kept),
        endpoint=kept.record.face,
        origin=origin,
        overlay=overlay,
    )


async def report(
    services: Services,
    credential: Credential,
    kept: Kept,
    outcome: Outcome,
    details: Mapping[str, Any],
    **beside: Any,
) -> Kept:
    """Record how it came out, once: HttpError 409 when that was told before. `beside` joins the record."""
    now, record = services.clock(), kept.record
    body = {**record.body, **beside, "outcome": str(outcome), "reported_at": now}
    following = replace(record, version=record.version + 1, updated_at=now, body=body)
    if "outcome" in record.body:
        raise HttpError(409, "its outcome was told before")
    begun = kept.request.decided_at if kept.request is not None else record.created_at
    started = record.body.get("started_at") or begun
    event = services.gate.reported(
        rebuilt(services, credential, kept, Overlay()),
        outcome,
        request_id=record.link,
        started_at=started or record.created_at,
        details=details,
    )
    try:
        await records_of(services).put_records([following], events=[event])
    except Conflict:
        raise HttpError(409, "its outcome was told before") from None
    return replace(kept, record=following)
