"""The audit chain: how an event is hashed, how a chain is checked, how events become one entry a call.

The hash of an event is SHA-256 over
    one version byte, four bytes of chain id, the 32 bytes of the hash before it, and
    the SHA-256 of the canonical JSON of [seq, id, kind, at, call_id, request_id, agent, tool, body]
where body is the JSON text as stored. So what is checked is what is kept, byte for byte; and a link can be
shown without what it holds (docs/decisions/0009-a-link-without-its-content.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring as quote
from operator import attrgetter
from typing import Any

from airlock.canonical import encode_text
from airlock.errors import WireError
from airlock.ports import AuditEntry, AuditEvent, ChainReport, Draft
from airlock.values import dataclass

VERSION = 2
CHAIN = 0
GENESIS = bytes(32)
"""What stands before the first event."""

PRUNED = "audit.pruned"

_CHAIN = CHAIN.to_bytes(4, "big")
_PREFIX = bytes([VERSION]) + _CHAIN
_OLDER = bytes([1]) + _CHAIN
"""Version 1 hashed the text itself, in place of its digest."""


def text_of(body: Mapping[str, Any] | str) -> str:
    """The JSON text under which a body is stored and hashed; WireError for what JSON cannot say."""
    if isinstance(body, str):
        return body
    return encode_text(body if type(body) is dict else dict(body))


def follow(prev: bytes, content: bytes) -> bytes:
    """The hash of the event after `prev` whose text has this digest."""
    return hashlib.sha256(_PREFIX + prev + content).digest()


def written(draft: Draft) -> Draft:
    """The draft with its body as text."""
    body = draft.body
    return draft if type(body) is str else draft._replace(body=text_of(body))


def digest(prev: bytes, seq: int, draft: Draft) -> bytes:
    """The hash of this draft, whose body is text, at this place of the chain."""
    return follow(prev, hashlib.sha256(_text(seq, draft)).digest())


_fields: Callable[[AuditEvent], tuple[Any, ...]] = attrgetter(*Draft._fields)
"""What an event says, in the order of a draft."""


def _text(seq: int, fields: tuple[Any, ...]) -> bytes:
    # What `canonical` makes of the list, in half of its time. A body is JSON: it has no bare control
    # characters, so only two characters are left to escape.
    own_id, kind, at, body, call_id, request_id, agent, tool = fields
    escaped = (body.replace("\\", "\\\\") if "\\" in body else body).replace('"', '\\"')
    text = (
        f"[{seq},{quote(own_id)},{quote(kind)},{at},{quote(call_id)},"
        f'{quote(request_id)},{quote(agent)},{quote(tool)},"{escaped}"]'
    )
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise WireError("a string holds a lone surrogate") from None


def link(prev: str, seq: int, draft: Draft) -> AuditEvent:
    """The draft as the event after the one whose hash is `prev` (64 hex digits)."""
    draft = written(draft)
    own = digest(bytes.fromhex(prev), seq, draft)
    return AuditEvent(seq=seq, **draft._asdict(), prev=prev, hash=own.hex())


def content(event: AuditEvent) -> bytes:
    """The digest of all that an event says, without its place after `prev`."""
    return hashlib.sha256(_text(event.seq, _fields(event))).digest()


def holds(event: AuditEvent) -> bool:
    """True when the event's hash is the one that its own fields and `prev` give."""
    return follow(bytes.fromhex(event.prev), content(event)).hex() == event.hash or _held(event)


def _held(event: AuditEvent) -> bool:
    """The same for an event that an older Airlock wrote."""
    text = _text(event.seq, _fields(event))
    return hashlib.sha256(_OLDER + bytes.fromhex(event.prev) + text).hexdigest() == event.hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain at some moment: an event's number and its hash."""

    seq: int
    hash: str


def verify(events: Iterable[AuditEvent], head: Head | None = None) -> ChainReport:
    """Walk the events, oldest first, and say whether they are one whole chain that reaches `head`.

    Without a head that was kept out of reach, a cut tail and a chain that was written anew cannot be
    told from a sound one.
    """
    walk = _Walk(head)
    for event in events:
        if not walk.step(event):
            break
    return walk.report()


class _Walk:
    """One pass over a chain."""

    def __init__(self, head: Head | None) -> None:
        self._head = head
        self._count = 0
        self._first: AuditEvent | None = None
        self._last: AuditEvent | None = None
        self._start_explained = False
        self._head_met = False
        self._broken_at: int | None = None
        self._problem = ""

    def step(self, event: AuditEvent) -> bool:
        """Take one event; False when the chain is broken at it."""
        problem = self._fault(event)
        if problem:
            self._broken_at, self._problem = event.seq, problem
            return False
        if self._first is None:
            self._first = event
            self._start_explained = event.seq == 1
        if event.kind == PRUNED:
            self._read_pruned(event)
        if self._head is not None and event.seq == self._head.seq:
            self._head_met = True
        self._last = event
        self._count += 1
        return True

    def _fault(self, event: AuditEvent) -> str:
        last = self._last
        if last is None and event.seq == 1 and bytes.fromhex(event.prev) != GENESIS:
            return "the first event does not begin a chain"
        if last is not None and event.seq != last.seq + 1:
            return (
                f"the event after {last.seq} is missing"
                if event.seq > last.seq
                else "events are out of order"
            )
        if last is not None and event.prev != last.hash:
            return f"it does not follow event {last.seq}"
        if not holds(event):
            return "it was changed after it was written"
        if self._head is not None and event.seq == self._head.seq and event.hash != self._head.hash:
            return "it is not the event that the signed head names: history was written anew"
        return ""

    def _read_pruned(self, event: AuditEvent) -> None:
        """A pruning says where the chain now begins: with the event after the last one it removed."""
        first = self._first
        body = body_of(event)
        if (
            first is not None
            and body.get("last_seq") == first.seq - 1
            and body.get("last_hash") == first.prev
        ):
            self._start_explained = True
        if self._head is not None and (body.get("last_seq"), body.get("last_hash")) == (
            self._head.seq,
            self._head.hash,
        ):
            self._head_met = True

    def report(self) -> ChainReport:
        """What this pass found."""
        first, last = self._first, self._last
        if self._broken_at is None:
            self._check_ends()
        return ChainReport(
            events=self._count,
            first_seq=first.seq if first else 0,
            last_seq=last.seq if last else 0,
            last_hash=last.hash if last else "",
            broken_at=self._broken_at,
            problem=self._problem,
            head_seq=self._head.seq if self._head else None,
        )

    def _check_ends(self) -> None:
        first, last, head = self._first, self._last, self._head
        end = last.seq if last else 0
        if first is not None and not self._start_explained:
            self._broken_at = first.seq
            self._problem = "the events before it were removed, and no pruning says so"
        elif head is not None and head.seq > end:
            self._broken_at = end + 1
            self._problem = (
                f"the chain ends at {end}, and the signed head names {head.seq}: the tail was cut off"
            )
        elif head is not None and not self._head_met:
            self._problem = f"the head names event {head.seq}, which was pruned: use a newer copy of the head"


def body_of(event: AuditEvent) -> dict[str, Any]:
    """The body as an object; empty when somebody made it something else."""
    try:
        value = json.loads(event.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


# Entries: one line a call (decisions.md 39).

DECISIONS = (
    "call.allowed",
    "call.denied",
    "call.observed",
    "request.opened",
    "request.joined",
    "request.used",
)
"""The kinds that can begin a call's history; the first of them is the entry's decision."""

COMPLETED = "call.completed"

_SETTLED = {
    "request.opened": None,
    "request.reopened": None,
    "request.undone": None,
    "request.approved": "approved",
    "request.used": "approved",
    "request.denied": "denied",
    "request.expired": "timeout",
    "request.cancelled": "cancelled",
}
"""What each of a request's events makes of the person's answer; other kinds leave it as it was."""


def join(own: Sequence[AuditEvent], asked: Sequence[AuditEvent] = ()) -> AuditEntry | None:
    """One entry from a call's own events and all events of the requests it waited on, each oldest first.

    None when no event says what was decided about the call. Kinds that are not known are passed over.
    """
    anchor = next((event for event in own if event.kind in DECISIONS), None)
    if anchor is None:
        return None
    request_id = next((event.request_id for event in reversed(own) if event.request_id), "")
    question = [event for event in asked if event.request_id == request_id] if request_id else []
    bodies = [body_of(event) for event in (*own, *question)]
    answer, decided_by = _answer(own, question)
    completed = next((body_of(event) for event in reversed(own) if event.kind == COMPLETED), None)
    return AuditEntry(
        id=anchor.id,
        seq=anchor.seq,
        agent_id=anchor.agent,
        tool=anchor.tool,
        args=text_of({"args": _first(bodies, "args", {})})[len('{"args":') : -1],
        result=_result(own, completed, answer),
        duration_ms=_duration(completed),
        hitl_outcome=answer,
        created_at=anchor.at,
        rule=str(_first(bodies, "rule", "")),
        effect=str(_first(bodies, "effect", "")),
        reason=_reason(own, bodies),
        request_id=request_id,
        decided_by=decided_by,
    )


def _first(bodies: Iterable[Mapping[str, Any]], name: str, default: Any) -> Any:
    return next((body[name] for body in bodies if body.get(name) is not None), default)


def _answer(own: Sequence[AuditEvent], question: Sequence[AuditEvent]) -> tuple[str | None, str]:
    answer: str | None = None
    by = ""
    for event in question:
        if event.kind in _SETTLED:
            answer = _SETTLED[event.kind]
        if event.kind in {"request.approved", "request.denied"}:
            body = body_of(event)
            by = str(body.get("by") or body.get("identity") or "")
    if any(event.kind == "request.used" for event in own):
        answer = "approved"
    return answer, by


def _result(own: Sequence[AuditEvent], completed: Mapping[str, Any] | None, answer: str | None) -> str | None:
    if completed is not None:
        return str(completed.get("outcome", "unknown"))
    kinds = {event.kind for event in own}
    if "call.denied" in kinds:
        return "timeout" if answer == "timeout" else "denied"
    if kinds & {"call.allowed", "request.used"} or answer == "approved":
        return None
    return answer


def _duration(completed: Mapping[str, Any] | None) -> int | None:
    value = completed.get("duration_ms") if completed else None
    return value if isinstance(value, int) else None


def _reason(own: Sequence[AuditEvent], bodies: Sequence[Mapping[str, Any]]) -> str:
    refused = [body_of(event) for event in own if event.kind == "call.denied"]
    return str(_first([*refused, *bodies], "reason", ""))
