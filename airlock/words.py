"""The closed sets of words that the model is written in."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What a rule says about a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """0 for allow, 1 for ask, 2 for deny: the larger one wins."""
        return _STRICTNESS[self]


_STRICTNESS = {Effect.ALLOW: 0, Effect.ASK: 1, Effect.DENY: 2}


class Risk(StrEnum):
    """How much a rule's author fears a call; shown to the person who decides."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def weight(self) -> int:
        """0 for low, 1 for medium, 2 for high."""
        return _WEIGHT[self]


_WEIGHT = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}


class Kind(StrEnum):
    """What a call reaches for. The policy addresses resources and prompts by a prefix."""

    TOOL = "tool"
    RESOURCE = "resource"
    PROMPT = "prompt"


class PrincipalKind(StrEnum):
    """Who may ask."""

    AGENT = "agent"
    HUMAN = "human"
    SERVICE = "service"


class Status(StrEnum):
    """The states of an approval request: pending → approved → used; denied, expired, cancelled."""

    PENDING = "pending"
    APPROVED = "approved"
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def live(self) -> bool:
        """True while an identical call can still find it: pending or approved."""
        return self in {Status.PENDING, Status.APPROVED}


class Refusal(StrEnum):
    """Why a call is refused."""

    POLICY = "policy"
    UNKNOWN_AGENT = "unknown_agent"
    PAUSED = "paused"
    LIMIT = "limit"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    PENDING = "pending"
    FAILED = "failed"


class Outcome(StrEnum):
    """How a call that ran came out."""

    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


def _at_hand(*sets: type[StrEnum]) -> None:
    """Make `Effect.ALLOW` a plain attribute, as Python 3.12 does: 3.11 calls a function for each look."""
    for words in sets:
        for word in words:
            type.__setattr__(words, word.name, word)


_at_hand(Effect, Risk, Kind, Status, Refusal, Outcome, PrincipalKind)
