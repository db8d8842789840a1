"""SidClaw's closed sets of words, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from airlock.errors import NoSuchRequest
from airlock.model import ApprovalRequest, Effect, Risk, Status

FACE = "sidclaw"

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")
"""From the least to the most: a policy for one covers those before it."""

STATUSES = ("pending", "approved", "denied", "expired")
RISKS = ("low", "medium", "high", "critical")
DECISIONS = {Effect.ALLOW: "allow", Effect.ASK: "approval_required", Effect.DENY: "deny"}
EFFECTS = {word: effect for effect, word in DECISIONS.items()}
OUTCOMES = ("in_progress", "executed", "blocked", "denied", "completed_with_approval", "expired")

_GRAVE = ("delete", "remove", "send", "export", "drop", "revoke")
_STATUS = {
    Status.PENDING: "pending",
    Status.APPROVED: "approved",
    Status.USED: "approved",
    Status.DENIED: "denied",
    Status.EXPIRED: "expired",
    Status.CANCELLED: "expired",
}
STORED = {
    "pending": frozenset({Status.PENDING}),
    "approved": frozenset({Status.APPROVED, Status.USED}),
    "denied": frozenset({Status.DENIED}),
    "expired": frozenset({Status.PENDING, Status.APPROVED, Status.EXPIRED, Status.CANCELLED}),
}
"""The statuses of rows among which those of a word are: time may have passed since they were written."""

_OUTCOME = {
    "pending": "in_progress",
    "approved": "completed_with_approval",
    "denied": "denied",
    "expired": "expired",
}


def status_word(status: Status) -> str:
    """Our status in SidClaw's words: a used approval is an approved one, a withdrawn question an expired."""
    return _STATUS[status]


def outcome_word(request: ApprovalRequest) -> str:
    """What a trace whose question this is has come to."""
    return _OUTCOME[status_word(request.status)]


def level(classification: str) -> int:
    """1 for public to 4 for restricted."""
    return CLASSIFICATIONS.index(classification) + 1


def risk_word(operation: str, classification: str) -> str:
    """How grave an operation on such data is: the level, twice it for what deletes, sends or revokes."""
    points = level(classification) * (2 if operation.lower().startswith(_GRAVE) else 1)
    return RISKS[min(3, (points - 1) // 2)]


def risk_of(word: str) -> Risk:
    """In ours, where critical is high."""
    return Risk.HIGH if word == "critical" else Risk(word)


def graver(word: str, risk: Risk) -> str:
    """The graver one of a computed risk and a rule's."""
    return max(word, str(risk), key=RISKS.index)


def dashed(identifier: str) -> str:
    """One of our ids as the UUID that SidClaw's clients know; a name stays what it is."""
    try:
        return str(UUID(hex=identifier)) if len(identifier) == 32 else identifier
    except ValueError:
        return identifier


def plain(identifier: str) -> str:
    """A UUID, with or without dashes, as our id; NoSuchRequest when it is none."""
    try:
        return UUID(hex=identifier).hex
    except ValueError:
        raise NoSuchRequest(f"`{identifier[:64]}` is no id") from None


def loosely(identifier: str) -> str:
    """Our form of an id, or the text as it is where it is a name."""
    try:
        return UUID(hex=identifier).hex
    except ValueError:
        return identifier


def member(values: Mapping[str, Any], name: str, usual: str = "") -> str:
    """A member that is text, or what is usual."""
    value = values.get(name)
    return value if isinstance(value, str) else usual
