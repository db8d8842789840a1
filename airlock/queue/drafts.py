"""The audit events that the pipeline writes, made in one place: what each kind says, already redacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from airlock.audit import COMPLETED, text_of
from airlock.canonical import encode_text
from airlock.model import (
    ApprovalRequest,
    Call,
    Decision,
    Ended,
    Grant,
    Origin,
    Principal,
    Refusal,
    Risk,
)
from airlock.ports import Clock, Draft, MakeId
from airlock.redaction import Redactor

T = TypeVar("T")

_MOST_KEPT = 256


class Scribe:
    """Writes drafts: it knows the clock, makes the ids, and redacts before anything leaves it."""

    def __init__(self, redactor: Redactor, clock: Clock, make_id: MakeId) -> None:
        self._redactor = redactor
        self._clock = clock
        self._make_id = make_id
        self._kept: dict[tuple[int, int, int, int], tuple[str, Decision, Origin, Principal]] = {}

    def adopt(self, redactor: Redactor) -> None:
        """Redact by other field names from now on."""
        self._redactor = redactor

    def masked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with what the config calls secret masked."""
        return self._redactor.redact(values)

    def scrubbed(self, value: T, call: Call, hidden: frozenset[str]) -> T:
        """A value without the secrets of the call's arguments that texts in it repeat."""
        return self._redactor.scrub(value, call.arguments, hidden)

    def arguments(self, call: Call, decision: Decision | None = None) -> dict[str, Any]:
        """The call's arguments as anyone but the upstream may see them."""
        return self._redactor.redact(call.arguments, decision.terms.redact if decision else frozenset())

    def decided(self, kind: str, call: Call, decision: Decision, at: int | None = None, **more: Any) -> Draft:
        """What the policy decided, now or `at`: `call.allowed`, `request.used` …; `more` joins the body."""
        usual = not more and not call.parts
        rest = self._usual(call, decision) if usual else text_of(_rest(call, decision) | more)[1:]
        arguments = self._redactor.redact(call.arguments, decision.terms.redact)
        body = f'{{"args":{encode_text(arguments)},{rest}'
        tool = decision.tool or call.tool
        # By position, as in `completed`: made for every call, and names would double the time.
        at = self._clock() if at is None else at
        return Draft(self._make_id(), kind, at, body, call.id, "", call.principal.name, tool)

    def _usual(self, call: Call, decision: Decision) -> str:
        """The text of `_rest` behind its brace, kept for calls of one session that are decided alike."""
        key = (id(decision), id(call.origin), id(call.principal), id(call.kind))
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            # What is kept stays alive, so that its id is not another's while it is in the key.
            text = text_of(_rest(call, decision))[1:]
            kept = self._kept[key] = (text, decision, call.origin, call.principal)
        return kept[0]

    def refused(
        self,
        call: Call,
        kind: Refusal,
        reason: str,
        *,
        hidden: frozenset[str],
        rule: str = "",
        request_id: str = "",
    ) -> Draft:
        """A call that does not run, and no rule's doing: paused, limits, a person's no, a failure.

        `hidden` are the paths that the rules for this call redact.
        """
        body = {
            "args": self._redactor.redact(call.arguments, hidden),
            "effect": "deny",
            "rule": rule,
            "reason": reason,
            "refusal": str(kind),
            "identity": call.principal.identity,
            "kind": str(call.kind),
            "road": call.origin.road,
        }
        return self._draft(
            "call.denied", body, call_id=call.id, agent=call.agent, tool=call.tool, request_id=request_id
        )

    def failed(self, call: Call, reason: str) -> Draft:
        """A call that could not be judged: without its arguments, which may be what could not be read."""
        body = {"args": {}, "effect": "deny", "rule": "", "reason": reason, "refusal": str(Refusal.FAILED)}
        return self._draft("call.denied", body, call_id=call.id, agent=call.agent, tool=call.tool)

    def completed(self, ended: Ended) -> Draft:
        """How a call that ran came out, and how long it took."""
        proceed, outcome, error, at = ended
        ran = at - proceed.started_at if at > proceed.started_at else 0
        # Joined, since a word of an enumeration formats itself, which takes longer than all the rest.
        body: Mapping[str, Any] | str = '{"outcome":"' + outcome + f'","duration_ms":{ran}}}'
        if error:  # a server may repeat what it was given
            hidden = proceed.decision.terms.redact
            told = self._redactor.scrub(error[:2000], proceed.call.arguments, hidden)
            body = {"outcome": str(outcome), "duration_ms": ran, "error": told}
        call, request_id = proceed.call, proceed.request_id
        tool = proceed.decision.tool or call.tool
        return Draft(self._make_id(), COMPLETED, at, body, call.id, request_id, call.principal.name, tool)

    def request(self, kind: str, request: ApprovalRequest, *, call_id: str = "", **more: Any) -> Draft:
        """What happened to a question: `request.opened`, `request.approved`, `request.expired` …"""
        body: dict[str, Any] = {"status": str(request.status), "rule": request.rule}
        if request.decided_by:
            body["by"] = request.decided_by
        if request.note:
            body["note"] = request.note
        body.update(more)
        return self._draft(
            kind,
            body,
            call_id=call_id or request.call_id,
            agent=request.agent,
            tool=request.tool,
            request_id=request.id,
        )

    def grant(self, kind: str, grant: Grant, by: str) -> Draft:
        """`grant.made` or `grant.ended`."""
        body = {
            "grant": grant.id,
            "by": by,
            "rule": grant.rule,
            "any_args": grant.any_args,
            "workspace": grant.workspace,
            "expires_at": grant.expires_at,
        }
        return self._draft(kind, body, agent=grant.agent, tool=grant.tool, request_id=grant.request_id)

    def note(self, kind: str, body: Mapping[str, Any], *, agent: str = "") -> Draft:
        """Something that is about no call: `pause.set`, `pause.lifted`, `policy.changed`."""
        return self._draft(kind, body, agent=agent)

    def _draft(
        self,
        kind: str,
        body: Mapping[str, Any] | str,
        *,
        call_id: str = "",
        request_id: str = "",
        agent: str = "",
        tool: str = "",
    ) -> Draft:
        return Draft(
            id=self._make_id(),
            kind=kind,
            at=self._clock(),
            call_id=call_id,
            request_id=request_id,
            agent=agent,
            tool=tool,
            body=body,
        )


def _rest(call: Call, decision: Decision) -> dict[str, Any]:
    """What an event says of a decision beside the arguments."""
    origin = call.origin
    rest: dict[str, Any] = {
        "effect": str(decision.effect),
        "rule": decision.rule,
        "reason": decision.reason,
        "revision": decision.revision,
        "identity": call.principal.identity,
        "kind": str(call.kind),
        "road": origin.road,
    }
    if decision.terms.risk is not Risk.LOW:
        rest["risk"] = str(decision.terms.risk)
    if call.overlay is not None and call.overlay.consulted:
        rest["consulted"] = dict(call.overlay.consulted)
    if decision.would is not None:
        rest["would"] = str(decision.would)
    if call.parts:
        rest["parts"] = [part.tool for part in call.parts]
    for name in ("session", "cwd", "client", "tool_use_id", "workspace"):
        value = getattr(origin, name)
        if value:
            rest[name] = value
    return rest
