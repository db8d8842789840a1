"""What happened, in this API's words: its pages have two sets of names, and both are understood.

The chain has one event where a page may have two: an action that is decided at once was submitted and decided
by the same event. So each event has one name, of the set that tells more, and a filter finds by every name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airlock.audit import COMPLETED, body_of
from airlock.model import Outcome
from airlock.ports import AuditEvent

EVENTS: Mapping[str, str] = {
    "call.allowed": "decision.made",
    "call.denied": "decision.made",
    "call.observed": "decision.made",
    "request.opened": "approval.requested",
    "request.joined": "approval.requested",
    "request.voted": "approval.voted",
    "request.approved": "approval.approved",
    "request.denied": "approval.denied",
    "request.expired": "approval.expired",
    "request.cancelled": "approval.cancelled",
    "request.undone": "approval.undone",
    "request.reopened": "approval.reopened",
    "request.used": "execution.started",
}
"""All but the outcome, whose name says how it was, and what this API has no word for, which keeps its own."""

COMPLETED_WELL, COMPLETED_BADLY = "execution.completed", "execution.failed"

_SUBMITTED = frozenset({"call.allowed", "call.denied", "call.observed", "request.opened", "request.joined"})
_POLICIES = frozenset(
    f"{kind}.{what}" for kind in ("policy", "nlp_policy") for what in ("created", "updated", "deleted")
)
_OTHERS: Mapping[str, frozenset[str]] = {
    "action.submitted": _SUBMITTED,
    "action.evaluated": _SUBMITTED,
    "action.executed": frozenset({COMPLETED}),
    "action.failed": frozenset({COMPLETED}),
    COMPLETED_WELL: frozenset({COMPLETED}),
    COMPLETED_BADLY: frozenset({COMPLETED}),
    "approval.created": frozenset({"request.opened", "request.joined"}),
    "approval.decided": frozenset({"request.approved", "request.denied"}),
    "policy.updated": _POLICIES,
}
_OUTCOMES = {
    "action.executed": True,
    COMPLETED_WELL: True,
    "action.failed": False,
    COMPLETED_BADLY: False,
}
NAMES = tuple(sorted({*EVENTS.values(), *_OTHERS, "agent.created", "dlp.detected"}))
"""Every name that one of the pages has, or that is like theirs."""

_KIND = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){1,3}\Z", re.ASCII)


def word_of(event: AuditEvent) -> str:
    """The event's name in this API."""
    if event.kind == COMPLETED:
        return COMPLETED_WELL if body_of(event).get("outcome") == Outcome.SUCCESS else COMPLETED_BADLY
    return EVENTS.get(event.kind, event.kind)


def kinds_of(word: str) -> frozenset[str] | None:
    """The kinds of ours that a name may mean; None when it cannot be one of an event."""
    if word in _OTHERS:
        return _OTHERS[word]
    kinds = frozenset(kind for kind, name in EVENTS.items() if name == word)
    return kinds or (frozenset({word}) if _KIND.match(word) else None)


def succeeded(word: str) -> bool | None:
    """Whether a name is that of a good or of a bad end; None when it is of neither."""
    return _OUTCOMES.get(word)
