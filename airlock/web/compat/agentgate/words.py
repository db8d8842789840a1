"""AgentGate's words: its statuses, urgencies and ids, and what they are here."""

from __future__ import annotations

from airlock.model import Risk, Status
from airlock.web.compat.asking import Kept

FACE = "agentgate"

URGENCIES = ("low", "normal", "high", "critical")
STATUSES = ("pending", "approved", "denied", "expired")

RISKS = {"low": Risk.LOW, "normal": Risk.LOW, "high": Risk.MEDIUM, "critical": Risk.HIGH}
"""What a person is told of an urgency."""

_URGENCY_OF = {Risk.LOW: "normal", Risk.MEDIUM: "high", Risk.HIGH: "critical"}

STORED = {
    "pending": frozenset({Status.PENDING}),
    "approved": frozenset({Status.APPROVED, Status.USED, Status.EXPIRED}),
    "denied": frozenset({Status.DENIED, Status.CANCELLED}),
    "expired": frozenset({Status.EXPIRED, Status.PENDING, Status.APPROVED, Status.CANCELLED}),
}
"""Which stored rows can have a status now."""


def status_of(kept: Kept) -> str:
    """One of the four. What was taken back, or withdrawn, is never approved."""
    request = kept.request
    if request is None:
        return "approved" if kept.record.body["effect"] == "allow" else "denied"
    if "outcome" in kept.record.body:
        return "approved"
    match request.status:
        case Status.PENDING:
            return "pending"
        case Status.APPROVED | Status.USED:
            return "approved"
        case Status.DENIED:
            return "denied"
        case Status.CANCELLED:
            return "denied" if request.decided_by else "expired"
        case Status.EXPIRED:
            return "expired"


def urgency_of(kept: Kept) -> str:
    """What its client said, else what the risk of the call amounts to."""
    told = kept.record.body.get("urgency")
    if isinstance(told, str):
        return told
    return _URGENCY_OF[kept.request.risk] if kept.request is not None else "normal"


def action_of(kept: Kept) -> str:
    """The action, or for a call from another road its name in the policy."""
    return str(kept.record.body["name"])


def public_id(prefix: str, own: str) -> str:
    """An id as the page writes it: `req_…`."""
    return f"{prefix}_{own}"


def own_id(prefix: str, public: str) -> str:
    """The id behind it; the bare one is taken too."""
    return public.removeprefix(f"{prefix}_")
