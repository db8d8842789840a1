"""What the outputs of a Rego policy say, from a table; and that no policy more makes less strict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.model import Effect
from airlock.web.compat.firewall.opinions import HOUR, MINUTE, Opinion
from airlock.web.compat.firewall.rego.engine import Judged
from airlock.web.compat.firewall.rego.meaning import Said, Unclear, said
from airlock.web.compat.firewall.rego.policies import meant
from airlock.web.compat.firewall.ruling import joined

PEOPLE = frozenset({"alice", "bob", "carol"})
ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY

SAYS: list[tuple[dict[str, Any], Effect | None, str]] = [
    ({}, None, ""),
    ({"allow": True}, ALLOW, ""),
    ({"allow": False}, DENY, ""),
    ({"allow": True, "reason": "known host"}, ALLOW, "known host"),
    ({"deny": True}, DENY, ""),
    ({"deny": False}, None, ""),
    ({"deny": []}, None, ""),
    ({"deny": {}}, None, ""),
    ({"deny": ["a", "b"]}, DENY, "a; b"),
    ({"deny": [""]}, DENY, ""),
    ({"deny": [False]}, DENY, ""),
    ({"deny": "because"}, DENY, "because"),
    ({"deny": [{"msg": "a"}, {"reason": "b"}]}, DENY, "a; b"),
    ({"deny": {"reason": "b"}}, DENY, "b"),
    ({"deny": {"first": True, "second": True}}, DENY, "first; second"),
    ({"require_approval": True, "reason": "big"}, ASK, "big"),
    ({"require_approval": ["x"]}, ASK, "x"),
    ({"require_approval": True, "allow": False}, ASK, ""),
    ({"require_approval": True, "allow": True}, ASK, ""),
    ({"require_approval": True, "deny": ["no"], "allow": True}, DENY, "no"),
    ({"deny": [], "allow": True}, ALLOW, ""),
    ({"deny": [], "allow": False}, DENY, ""),
    ({"decision": "deny"}, DENY, ""),
    ({"decision": "require_approval", "reason": "r"}, ASK, "r"),
    ({"decision": "allow"}, ALLOW, ""),
    ({"decision": {"decision": "allow", "reason": "own"}, "reason": "whole"}, ALLOW, "own"),
    ({"decision": {"decision": "allow"}, "deny": ["no"]}, DENY, "no"),
    ({"decision": {"decision": "allow"}, "allow": False}, DENY, ""),
    ({"decision": {"decision": "require_approval"}, "allow": False}, ASK, ""),
    ({"decision": {"decision": "allow", "allow": False}}, DENY, ""),
    ({"decision": {"decision": "deny", "allow": True}}, DENY, ""),
    ({"decision": {"allow": True, "reason": "r"}}, ALLOW, "r"),
    ({"decision": {"allow": False, "reason": "r"}}, DENY, "r"),
    ({"decision": {"allow": False, "require_approval": True}}, ASK, ""),
    ({"decision": {"allow": True, "deny": ["d"]}}, DENY, "d"),
    ({"decision": {"decision": "allow", "metadata": {"any": 1}}}, ALLOW, ""),
    ({"deny": ["line one\nline\x1b[2J two"]}, DENY, "line one line [2J two"),
    ({"reason": "only a reason"}, None, "only a reason"),
]


@pytest.mark.parametrize(("outputs", "effect", "reason"), SAYS, ids=[str(row[0]) for row in SAYS])
def test_outputs_say_what_the_table_says(outputs: dict[str, Any], effect: Effect | None, reason: str) -> None:
    found = said(outputs, PEOPLE)
    assert (found.effect, found.reason) == (effect, reason)


UNCLEAR: list[dict[str, Any]] = [
    {"allow": "yes"},
    {"allow": 1},
    {"allow": None},
    {"allow": ["ok"]},
    {"deny": 1},
    {"deny": None},
    {"deny": ""},
    {"require_approval": 0},
    {"decision": "permit"},
    {"decision": "Allow"},
    {"decision": True},
    {"decision": None},
    {"decision": ["allow"]},
    {"decision": {}},
    {"decision": {"reason": "r"}},
    {"decision": {"decision": None}},
    {"decision": {"decision": {"decision": "allow"}}},
    {"decision": {"decision": "allow", "requires_approval": True}},
    {"decision": {"decision": "allow", "risk_level": "extreme"}},
    {"allow": True, "risk_level": "none"},
    {"allow": True, "risk_level": ["low"]},
    {"allow": True, "reason": 7},
    {"require_approval": True, "approval_config": 1},
    {"require_approval": True, "approval_config": {"timeout_hours": 0}},
    {"require_approval": True, "approval_config": {"timeout_hours": True}},
    {"require_approval": True, "approval_config": {"timeout_hours": "4"}},
    {"require_approval": True, "approval_config": {"required_approvers": 0}},
    {"require_approval": True, "approval_config": {"required_approvers": True}},
    {"require_approval": True, "approval_config": {"required_approvers": []}},
    {"require_approval": True, "approval_config": {"required_approvers": ["mallory"]}},
    {"require_approval": True, "approval_config": {"approvers": 2}},
]


@pytest.mark.parametrize("outputs", UNCLEAR, ids=str)
def test_what_is_not_understood_denies_and_names_the_policy(outputs: dict[str, Any]) -> None:
    with pytest.raises(Unclear):
        said(outputs, PEOPLE)
    found, cause = meant("Refunds", Judged(outputs=outputs), PEOPLE)
    assert found.effect is DENY
    assert found.reason == "policy `Refunds` could not be evaluated"
    assert cause


def test_a_failed_evaluation_denies_by_line_and_does_not_quote_the_input() -> None:
    found, cause = meant("Refunds", Judged(cause="`startswith` got `s3cret`", line=7), PEOPLE)
    assert found.effect is DENY
    assert found.reason == "policy `Refunds` could not be evaluated (line 7)"
    assert "s3cret" in cause


def test_a_policy_that_does_not_allow_says_so_by_its_name() -> None:
    found, _ = meant("Refunds", Judged(outputs={"allow": False, "risk_level": "high"}), PEOPLE)
    assert (found.reason, found.risk) == ("policy `Refunds` does not allow it", "high")


@pytest.mark.parametrize(
    ("config", "life", "quorum", "reviewers"),
    [
        ({}, None, 1, set()),
        ({"timeout_hours": 2}, 2 * HOUR, 1, set()),
        ({"timeout_hours": 0.001}, 5 * MINUTE, 1, set()),
        ({"timeout_hours": 10_000}, 7 * 24 * HOUR, 1, set()),
        ({"required_approvers": 2, "notify_channels": ["#ops"]}, None, 2, set()),
        ({"required_approvers": ["alice", "bob"]}, None, 2, {"alice", "bob"}),
        ({"required_approvers": ["alice", "alice"]}, None, 1, {"alice"}),
    ],
    ids=str,
)
def test_the_terms_of_an_approval(config: Any, life: int | None, quorum: int, reviewers: set[str]) -> None:
    found = said({"require_approval": True, "approval_config": config}, PEOPLE)
    assert (found.life_ms, found.quorum, found.reviewers) == (life, quorum, frozenset(reviewers))


def test_of_two_terms_the_stricter_holds() -> None:
    inner = {"decision": "require_approval", "approval_config": {"timeout_hours": 3, "required_approvers": 2}}
    found = said({"decision": inner, "approval_config": {"timeout_hours": 1}, "risk_level": "high"}, PEOPLE)
    assert found == Said(effect=ASK, risk="high", life_ms=HOUR, quorum=2)


def test_a_long_reason_is_cut() -> None:
    assert len(said({"deny": ["x" * 10_000]}, PEOPLE).reason) == 500


VALUES = st.sampled_from([True, False, None, [], ["a"], "a", "", {}, {"reason": "r"}, 1, "allow", "deny"])
LEVEL = st.dictionaries(st.sampled_from(["allow", "deny", "require_approval", "decision"]), VALUES)
ANY = st.one_of(LEVEL, st.builds(lambda level, inner: {**level, "decision": inner}, LEVEL, LEVEL))


def _opinion(number: int, outputs: dict[str, Any]) -> Opinion:
    found, _ = meant("p", Judged(outputs=outputs), PEOPLE)
    return Opinion(
        effect=found.effect, kind="policy", policy_id=f"pol_{number}", name="p", reason=found.reason
    )


@given(st.lists(ANY, max_size=4), ANY, st.integers(0, 4))
def test_a_policy_more_never_makes_less_strict(
    policies: list[dict[str, Any]], more: dict[str, Any], place: int
) -> None:
    before = [_opinion(*pair) for pair in enumerate(policies)]
    after = [*before[:place], _opinion(99, more), *before[place:]]
    one, other = joined(before).effect, joined(after).effect
    if one is not None:
        assert other is not None
        assert other.strictness >= one.strictness
    elif other is ALLOW:
        assert "allow" in str(more), "only a policy that allows in so many words speaks where all were silent"


@given(ANY, st.sampled_from(["deny", "require_approval"]))
def test_a_rule_more_that_denies_or_asks_never_makes_less_strict(outputs: dict[str, Any], rule: str) -> None:
    before, _ = meant("p", Judged(outputs=outputs), PEOPLE)
    after, _ = meant("p", Judged(outputs={**outputs, rule: True}), PEOPLE)
    assert after.effect is not None
    if before.effect in {ASK, ALLOW}:
        assert after.effect.strictness >= before.effect.strictness
