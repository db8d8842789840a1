"""What the events of one call say, and nothing else: who checks a pack tells the same story again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airlock.audit import COMPLETED, DECISIONS, body_of, join, text_of
from airlock.model import JsonObject
from airlock.ports import AuditEvent
from airlock.views import iso

ANSWERS = {
    "request.voted": "voted",
    "request.approved": "approved",
    "request.denied": "denied",
    "request.undone": "taken back",
    "request.reopened": "asked again",
    "request.expired": "expired",
    "request.cancelled": "cancelled",
}
"""What can become of a question."""

_SAID = ("identity", "kind", "road", "workspace", "session", "cwd", "client", "tool_use_id")


def story(events: Sequence[AuditEvent]) -> JsonObject | None:
    """The action, the decisions, the answers and the outcome; None when no event decided about a call.

    `events` are all of one call and of the questions that it asked, oldest first.
    """
    anchor = next((event for event in events if event.kind in DECISIONS), None)
    if anchor is None:
        return None
    return {
        "action": _action(anchor, events),
        "decisions": [_decision(event) for event in events if event.kind in DECISIONS],
        "approvals": [_answer(event) for event in events if event.kind in ANSWERS],
        "outcome": _outcome(events),
    }


def revisions(events: Sequence[AuditEvent]) -> list[str]:
    """The policies that decided, each once, in the order of their use."""
    found = (_text(body_of(event), "revision") for event in events if event.kind in DECISIONS)
    return list(dict.fromkeys(filter(None, found)))


def consulted(events: Sequence[AuditEvent]) -> list[tuple[str, str]]:
    """The policies of sister APIs that were asked: each name with the digest of what it said."""
    named = (body_of(event).get("consulted") for event in events if event.kind in DECISIONS)
    pairs = (
        (str(name), str(digest)) for one in named if isinstance(one, dict) for name, digest in one.items()
    )
    return list(dict.fromkeys(pairs))


def of_one_call(events: Sequence[AuditEvent]) -> bool:
    """True when every event is of the same call, or of the questions that it and its likes asked."""
    first = events[0]
    calls, questions, left = {first.call_id} - {""}, {first.request_id} - {""}, list(events)
    while left:
        near = [one for one in left if one.call_id in calls or one.request_id in questions]
        if not near:
            return False
        calls |= {one.call_id for one in near} - {""}
        questions |= {one.request_id for one in near} - {""}
        met = {one.seq for one in near}
        left = [one for one in left if one.seq not in met]
    return True


def _text(body: JsonObject, name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _json(value: Any) -> str:
    """A value as the JSON text that stands for it."""
    return text_of({"": value})[len('{"":') : -1]


def _action(anchor: AuditEvent, events: Sequence[AuditEvent]) -> JsonObject:
    body = body_of(anchor)
    parts = body.get("parts")
    return {
        "id": anchor.call_id or anchor.request_id,
        "requests": list(dict.fromkeys(event.request_id for event in events if event.request_id)),
        "agent": anchor.agent,
        "tool": anchor.tool,
        "parts": [str(part) for part in parts] if isinstance(parts, list) else [],
        "arguments": _json(body.get("args", {})),
        "submitted_at": iso(anchor.at),
        **{name: _text(body, name) for name in _SAID},
    }


def _decision(event: AuditEvent) -> JsonObject:
    body = body_of(event)
    named = ("effect", "rule", "reason", "revision", "refusal")
    return {
        "event": event.seq,
        "at": iso(event.at),
        "what": event.kind,
        "call": event.call_id,
        **{name: _text(body, name) for name in named},
        "risk": _text(body, "risk") or "low",
    }


def _answer(event: AuditEvent) -> JsonObject:
    """`from` is where it was given; where that was not noted, the kind of the identity says it."""
    body = body_of(event)
    by = _text(body, "voter") or _text(body, "by")
    return {
        "event": event.seq,
        "at": iso(event.at),
        "what": ANSWERS[event.kind],
        "by": by,
        "from": _text(body, "via") or by.partition(":")[0],
        "note": _text(body, "note"),
    }


def _outcome(events: Sequence[AuditEvent]) -> JsonObject | None:
    """How it came out; None while that is not known."""
    entry = join(events, events)
    if entry is None or entry.result is None:
        return None
    ended = next((event for event in reversed(events) if event.kind == COMPLETED), None)
    body = body_of(ended) if ended is not None else {}
    return {
        "event": ended.seq if ended is not None else None,
        "result": entry.result,
        "duration_ms": entry.duration_ms,
        "error": _text(body, "error"),
        "details": _json(body.get("details")),
    }
