"""The life of a request as pure functions: time, votes, authority, quorum, reopening."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airlock import approval
from airlock.config import Person
from airlock.errors import AlreadySettled, NotPermitted
from airlock.model import ApprovalRequest, Grant, Resolution, Reviewers, Status

PEOPLE = {
    "alice": Person(name="alice", local="alice", keys=("k1",)),
    "bob": Person(name="bob", local="bob"),
}
START = 1_000_000


def request(**changes: object) -> ApprovalRequest:
    first = ApprovalRequest(
        id="r1", code="K7QF2M", fingerprint="f", scope="s", agent="claude-code", identity="agent:claude-code",
        tool="git/git_commit", arguments="{}", call_id="c1", rule="r", rule_digest="d", created_at=START,
        expires_at=START + 300_000, grace_ms=120_000, attended_at=START,
    )  # fmt: skip
    return replace(first, **changes)  # type: ignore[arg-type]


def answer(approve: bool = True, identity: str = "local:alice", **more: object) -> Resolution:
    return Resolution(approve=approve, identity=identity, **more)  # type: ignore[arg-type]


def resolve(asked: ApprovalRequest, given: Resolution, now: int = START + 1000) -> approval.Settled:
    return approval.resolve(asked, given, people=PEOPLE, now=now, grant_id="g1")


@pytest.mark.parametrize(
    ("changes", "after_ms", "status"),
    [
        ({}, 119_999, Status.PENDING),
        ({}, 120_000, Status.EXPIRED),  # unattended since it was opened: grace
        ({"attended_at": START + 250_000}, 299_999, Status.PENDING),
        ({"attended_at": START + 299_999}, 300_000, Status.EXPIRED),  # expiry even while attended
        ({"attended_at": None}, 120_000, Status.EXPIRED),
        ({"kept": True, "attended_at": None}, 299_999, Status.PENDING),  # we said "pending": open to the end
        ({"kept": True, "attended_at": None}, 300_000, Status.EXPIRED),
        ({"status": Status.APPROVED, "decided_at": START + 299_000}, 418_999, Status.APPROVED),
        ({"status": Status.APPROVED, "decided_at": START + 299_000}, 419_000, Status.EXPIRED),
        ({"status": Status.APPROVED, "decided_at": START + 10}, 299_999, Status.APPROVED),
        ({"status": Status.USED}, 10**9, Status.USED),
        ({"status": Status.DENIED}, 10**9, Status.DENIED),
        ({"status": Status.CANCELLED}, 10**9, Status.CANCELLED),
    ],
)
def test_the_status_that_counts_is_computed_from_the_clock(
    changes: dict[str, object], after_ms: int, status: Status
) -> None:
    assert approval.status_at(request(**changes), START + after_ms) is status


def test_a_yes_approves_and_a_no_denies_with_the_note() -> None:
    yes, no = resolve(request(), answer()), resolve(request(), answer(approve=False, note="not today"))
    assert (yes.request.status, yes.request.decided_by, yes.request.version) == (
        Status.APPROVED, "local:alice", 2,
    )  # fmt: skip
    assert (no.request.status, no.request.note) == (Status.DENIED, "not today")


def test_who_asks_cannot_decide() -> None:
    with pytest.raises(NotPermitted, match="who asks cannot decide"):
        resolve(request(identity="key:k1"), answer(identity="local:alice"))
    with pytest.raises(NotPermitted, match="who asks cannot decide"):
        resolve(request(), answer(identity="agent:claude-code"))
    with pytest.raises(NotPermitted, match="who asks cannot decide"):
        resolve(request(), answer(identity="agent:another"))


def test_only_named_approvers_may_say_yes_but_anyone_with_authority_may_say_no() -> None:
    asked = request(reviewers=(Reviewers(rule="r", names=frozenset({"alice"})),))
    with pytest.raises(NotPermitted, match="only alice may approve it, not `bob`"):
        resolve(asked, answer(identity="local:bob"))
    assert resolve(asked, answer(approve=False, identity="local:bob")).request.status is Status.DENIED


def test_a_quorum_counts_people_not_identities() -> None:
    asked = request(reviewers=(Reviewers(rule="r", quorum=2),))
    first = resolve(asked, answer(identity="local:alice"))
    assert (first.request.status, first.missing) == (Status.PENDING, 1)
    with pytest.raises(AlreadySettled, match="`alice` has said yes already"):
        resolve(first.request, answer(identity="key:k1"))
    assert resolve(first.request, answer(identity="local:bob")).request.status is Status.APPROVED


@pytest.mark.parametrize("identity", ["local:alice", "key:k1"])
def test_whoever_said_yes_may_still_say_no_while_others_are_asked(identity: str) -> None:
    first = resolve(request(reviewers=(Reviewers(rule="r", quorum=2),)), answer(identity="local:alice"))
    settled = resolve(first.request, answer(approve=False, identity=identity, note="wait"))
    assert (settled.request.status, settled.request.note) == (Status.DENIED, "wait")
    with pytest.raises(AlreadySettled, match="already denied"):
        resolve(settled.request, answer(identity="local:bob"))


def test_every_rule_that_asked_needs_its_own_approvers() -> None:
    both = (Reviewers(rule="a", names=frozenset({"alice"})), Reviewers(rule="b", names=frozenset({"bob"})))
    first = resolve(request(reviewers=both), answer(identity="local:alice"))
    assert (first.request.status, first.missing) == (Status.PENDING, 1)
    assert resolve(first.request, answer(identity="local:bob")).request.status is Status.APPROVED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": Status.DENIED}, "already denied"),
        ({"status": Status.USED}, "already approved and used"),
        ({"status": Status.APPROVED, "decided_at": START}, "already approved"),
        ({"status": Status.CANCELLED}, "already withdrawn"),
        ({"expires_at": START + 1}, "has expired: let the agent make the call again"),
    ],
)
def test_what_is_settled_stays_settled(changes: dict[str, object], words: str) -> None:
    with pytest.raises(AlreadySettled, match=words):
        resolve(request(**changes), answer())


def test_a_grant_covers_the_same_call_for_the_time_given() -> None:
    settled = resolve(request(), answer(grant_ms=600_000))
    assert settled.grant is not None
    assert (settled.grant.fingerprint, settled.grant.expires_at) == ("f", START + 1000 + 600_000)
    assert covers(settled.grant, fingerprint="f")
    assert not covers(settled.grant, fingerprint="other")
    assert not covers(settled.grant, fingerprint="f", rule_digest="changed")
    assert not covers(settled.grant, fingerprint="f", now=START + 1000 + 600_000)
    assert not covers(replace(settled.grant, ended_at=START + 2000), fingerprint="f")


def test_a_grant_for_any_arguments_is_bound_to_the_scope() -> None:
    grant = resolve(request(), answer(grant_ms=600_000, any_args=True)).grant
    assert grant is not None
    assert grant.fingerprint == "s"
    assert covers(grant, fingerprint="whatever", scope="s")
    assert not covers(grant, fingerprint="whatever", scope="elsewhere")


def covers(grant: Grant, **changes: object) -> bool:
    facts: dict[str, object] = {"fingerprint": "f", "scope": "s", "rule_digest": "d", "now": START + 2000}
    return approval.grant_covers(grant, **{**facts, **changes})  # type: ignore[arg-type]


def test_no_standing_grant_where_it_would_be_too_wide() -> None:
    with pytest.raises(NotPermitted, match="no standing grant"):
        resolve(request(grantable=False), answer(grant_ms=1000))


def test_a_rule_with_reuse_makes_its_own_grant() -> None:
    grant = resolve(request(reuse_ms=60_000), answer()).grant
    assert grant is not None
    assert grant.expires_at == START + 1000 + 60_000


def test_reopening_keeps_the_code_and_the_votes() -> None:
    approved = resolve(request(), answer()).request
    more = (Reviewers(rule="r", quorum=2),)
    again = approval.reopened(approved, reviewers=more, now=START + 5000, timeout_ms=60_000)
    assert (again.code, again.status, again.expires_at) == ("K7QF2M", Status.PENDING, START + 65_000)
    assert resolve(again, answer(identity="local:bob"), START + 6000).request.status is Status.APPROVED


def test_a_denial_is_found_by_a_caller_who_was_away_until_someone_heard_it() -> None:
    denied = resolve(request(), answer(approve=False)).request
    assert approval.unheard(denied, START + 2000)
    assert not approval.unheard(replace(denied, heard=True), START + 2000)
    assert not approval.unheard(denied, START + 400_000)
