"""The life of an approval request, as pure functions: what its status is now, and what an answer makes of it.

    pending ──yes (quorum reached)──▶ approved ──an identical live call──▶ used
       ├──no──▶ denied                    ├──undo, the caller cancels──▶ cancelled
       ├──time──▶ expired                 ├──time──▶ expired
       └──the caller cancels──▶ cancelled └──today's policy asks for more──▶ pending

Every rule about time, votes and authority stands here; the store only keeps rows (decisions.md 5, 23-29).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from airlock.config import Person
from airlock.errors import AlreadySettled, NotPermitted
from airlock.model import ApprovalRequest, Grant, Resolution, Reviewers, Status, Vote
from airlock.values import dataclass


def decidable_until(request: ApprovalRequest) -> int:
    """Until when a pending request can be decided: its expiry, sooner when its callers went away."""
    if request.kept:
        return request.expires_at
    attended = request.created_at if request.attended_at is None else request.attended_at
    return min(request.expires_at, attended + request.grace_ms)


def spendable_until(request: ApprovalRequest) -> int:
    """Until when an approval can be spent: max(expiry, decision + grace)."""
    return max(request.expires_at, (request.decided_at or 0) + request.grace_ms)


def status_at(request: ApprovalRequest, now: int) -> Status:
    """The status that counts now: rows are only tidied later."""
    if request.status is Status.PENDING and now >= decidable_until(request):
        return Status.EXPIRED
    if request.status is Status.APPROVED and now >= spendable_until(request):
        return Status.EXPIRED
    return request.status


def current(request: ApprovalRequest, now: int) -> ApprovalRequest:
    """The request as a person should see it now."""
    status = status_at(request, now)
    return request if status is request.status else replace(request, status=status)


def unheard(request: ApprovalRequest, now: int) -> bool:
    """True for a denial that no caller was told of and that an identical call should still find."""
    return request.status is Status.DENIED and not request.heard and now < spendable_until(request)


def person_of(identity: str, people: Mapping[str, Person]) -> str:
    """The person behind an identity; an identity that no one claims is a person of its own."""
    return next((person.name for person in people.values() if person.has(identity)), identity)


def satisfied(
    votes: tuple[Vote, ...], reviewers: tuple[Reviewers, ...], people: Mapping[str, Person]
) -> bool:
    """True when every rule that asked has its quorum of different people out of its approvers."""
    return not missing(votes, reviewers, people)


def missing(votes: tuple[Vote, ...], reviewers: tuple[Reviewers, ...], people: Mapping[str, Person]) -> int:
    """How many more people must say yes, at least."""
    saying_yes = {person_of(vote.identity, people) for vote in votes if vote.approve}
    asked = reviewers or (Reviewers(rule=""),)
    return max(0, *(one.quorum - sum(1 for who in saying_yes if _counts(who, one)) for one in asked))


def _counts(person: str, reviewers: Reviewers) -> bool:
    return not reviewers.names or person in reviewers.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What an answer makes of a request: the next row, the vote, perhaps a grant; `missing` people remain."""

    request: ApprovalRequest
    vote: Vote
    missing: int
    grant: Grant | None = None


def resolve(
    request: ApprovalRequest,
    resolution: Resolution,
    *,
    people: Mapping[str, Person],
    now: int,
    grant_id: str,
) -> Settled:
    """Apply one person's answer. AlreadySettled or NotPermitted when it may not count."""
    _check_open(request, now)
    _check_authority(request, resolution, people)
    vote = Vote(identity=resolution.identity, approve=resolution.approve, note=resolution.note, at=now)
    votes = (*(one for one in request.votes if one.identity != vote.identity), vote)
    following = replace(
        request, version=request.version + 1, votes=votes, note=resolution.note or request.note
    )
    if not resolution.approve:
        return Settled(request=_decided(following, Status.DENIED, vote), vote=vote, missing=0)
    lacking = missing(votes, request.reviewers, people)
    if lacking:
        return Settled(request=following, vote=vote, missing=lacking)
    approved = _decided(following, Status.APPROVED, vote)
    return Settled(request=approved, vote=vote, missing=0, grant=_grant(request, resolution, now, grant_id))


_PAST = {
    Status.USED: "is already approved and used",
    Status.EXPIRED: "has expired: let the agent make the call again",
    Status.CANCELLED: "is already withdrawn",
}


def _check_open(request: ApprovalRequest, now: int) -> None:
    status = status_at(request, now)
    if status is not Status.PENDING:
        past = _PAST.get(status, f"is already {status}")
        raise AlreadySettled(f"request `{request.code}` {past}", status=status)


def _check_authority(request: ApprovalRequest, resolution: Resolution, people: Mapping[str, Person]) -> None:
    identity = resolution.identity
    person = person_of(identity, people)
    if identity.startswith("agent:") or person == person_of(request.identity, people):
        raise NotPermitted(f"request `{request.code}`: who asks cannot decide")
    # One yes a person; but whoever said yes may see better, and say no while others are still asked.
    if resolution.approve and any(person_of(vote.identity, people) == person for vote in request.votes):
        raise AlreadySettled(
            f"request `{request.code}`: `{person}` has said yes already", status=Status.PENDING
        )
    if (
        resolution.approve
        and request.reviewers
        and not any(_counts(person, one) for one in request.reviewers)
    ):
        names = ", ".join(sorted({name for one in request.reviewers for name in one.names}))
        raise NotPermitted(f"request `{request.code}`: only {names} may approve it, not `{person}`")
    if resolution.grant_ms is not None and not request.grantable:
        raise NotPermitted(
            f"request `{request.code}`: no standing grant for a call of high risk, a shell line that cannot "
            "be understood, or one that needs several people: approve it without `--for`"
        )


def _decided(request: ApprovalRequest, status: Status, vote: Vote) -> ApprovalRequest:
    return replace(request, status=status, decided_at=vote.at, decided_by=vote.identity)


def _grant(request: ApprovalRequest, resolution: Resolution, now: int, grant_id: str) -> Grant | None:
    lasting = resolution.grant_ms if resolution.grant_ms is not None else request.reuse_ms
    if not lasting:
        return None
    return Grant(
        id=grant_id,
        agent=request.agent,
        workspace=request.origin.workspace,
        tool=request.tool,
        fingerprint=request.scope if resolution.any_args else request.fingerprint.partition(".")[0],
        any_args=resolution.any_args,
        rule=request.rule,
        rule_digest=request.rule_digest,
        request_id=request.id,
        granted_by=resolution.identity,
        granted_at=now,
        expires_at=now + lasting,
    )


def ended(
    request: ApprovalRequest, status: Status, now: int, *, by: str = "", note: str = ""
) -> ApprovalRequest:
    """The next row of a request that ends without, or against, a person's answer."""
    return replace(
        request,
        version=request.version + 1,
        status=status,
        decided_at=request.decided_at or now,
        decided_by=by or request.decided_by,
        note=note or request.note,
    )


def reopened(
    request: ApprovalRequest, *, reviewers: tuple[Reviewers, ...], now: int, timeout_ms: int
) -> ApprovalRequest:
    """The next row of an approval that today's policy finds too little: the votes that were given stay."""
    return replace(
        request,
        version=request.version + 1,
        status=Status.PENDING,
        reviewers=reviewers,
        decided_at=None,
        decided_by="",
        expires_at=now + timeout_ms,
    )


def grant_covers(grant: Grant, *, fingerprint: str, scope: str, rule_digest: str, now: int) -> bool:
    """True while a grant stands for this call and the rule that asked is still the same."""
    return (
        grant.ended_at is None
        and now < grant.expires_at
        and grant.rule_digest == rule_digest
        and grant.fingerprint in {fingerprint, scope}
    )
