"""What has become of an action and of its approval, in this API's words."""

from __future__ import annotations

from airlock.model import ApprovalRequest, Effect, Outcome, Status
from airlock.web.compat.asking import Kept
from airlock.web.compat.firewall.running import started_at
from airlock.web.compat.firewall.words import (
    AT_ONCE,
    approval_word,
    graver,
)


def status_of(kept: Kept) -> str:
    """What an action has come to. An approval that nobody has come for yet is as good as `allowed`."""
    body, request = kept.record.body, kept.request
    if "outcome" in body:
        return "succeeded" if body["outcome"] == str(Outcome.SUCCESS) else "failed"
    if request is None:
        return AT_ONCE[Effect(body["effect"])]
    match request.status:
        case Status.PENDING:
            return "pending_approval"
        case Status.APPROVED | Status.USED:
            return "allowed"
        case Status.DENIED:
            return "denied"
        case Status.EXPIRED:
            return "expired"
        case Status.CANCELLED:
            return "denied" if request.decided_by else "cancelled"


def execution_status(kept: Kept) -> str | None:
    """How far the gateway is with running it; None for what its client runs, and what has not begun."""
    if "outcome" in kept.record.body:
        return status_of(kept)
    return None if started_at(kept) is None else "running"


def approval_status(request: ApprovalRequest) -> str:
    """One of the four."""
    return approval_word(request.status, taken_back=bool(request.decided_by))


def risk_of_kept(kept: Kept) -> str:
    """The graver one of what the stored policies found and what the YAML's rules say."""
    told = kept.record.body.get("risk", "low")
    return graver(told, str(kept.request.risk)) if kept.request is not None else told
