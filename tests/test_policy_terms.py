"""What comes with a decision: terms, rates, hours, observed rules, and what is listed."""

from __future__ import annotations

import pytest

from airlock.matching.frame import Facts
from airlock.model import Effect, Kind, Part, Reviewers, Risk
from support.policies import RATED, STORY, call_of, decide, effect_of, listed, policy_of


def test_terms_of_all_asking_rules_are_joined_to_the_strictest() -> None:
    decision = decide(policy_of(STORY), call_of("pay/transfer", {"amount": 500, "country": "US"}))
    assert (decision.effect, decision.rule) == (Effect.ASK, "big")
    terms = decision.terms
    assert (terms.risk, terms.timeout_ms, terms.reuse_ms, terms.quorum) == (Risk.HIGH, 120_000, 60_000, 2)
    assert terms.reviewers == (
        Reviewers(rule="abroad", names=frozenset({"carol"}), quorum=1),
        Reviewers(rule="big", names=frozenset({"alice", "bob"}), quorum=2),
    )
    assert terms.redact == {"iban", "note", "pin"}
    assert {one.rule for one in decision.matched} == {"abroad", "big", "seen", "agents.bot.allow"}


def test_an_approval_is_reused_only_if_every_asking_rule_gives_it() -> None:
    policy = policy_of(STORY.replace('"bash/curl"]', '"bash/curl", "pay/transfer"]'))
    decision = decide(policy, call_of("pay/transfer", {"amount": 500, "country": "DE"}))
    assert decision.terms.reuse_ms is None
    assert decision.terms.timeout_ms == 600_000


def test_a_deny_brings_no_reviewers_and_redacts_all_the_same() -> None:
    decision = decide(
        policy_of(STORY), call_of("pay/transfer", {"amount": 500, "country": "DE", "to": "eve"})
    )
    assert (decision.effect, decision.rule, decision.reason) == (Effect.DENY, "never", "rule `never`")
    assert decision.terms.reviewers == ()
    assert decision.terms.redact == {"iban", "pin"}


def test_an_errored_ask_joins_the_terms_of_those_that_ask() -> None:
    decision = decide(policy_of(STORY), call_of("pay/transfer", {"amount": "500", "country": "US"}))
    assert decision.effect is Effect.ASK
    assert decision.terms.quorum == 2
    errored = {one.rule: one.errored for one in decision.matched if one.errored}
    assert errored == {"big": "`amount` is not a number"}


def test_an_errored_ask_asks_where_the_rest_would_allow_and_says_so() -> None:
    decision = decide(policy_of(STORY), call_of("pay/transfer", {"amount": "500", "country": "DE"}))
    assert (decision.effect, decision.rule) == (Effect.ASK, "big")
    assert decision.reason.endswith("(rule `big` could not be evaluated: `amount` is not a number)")


def test_an_allow_beyond_its_rate_does_not_match() -> None:
    policy = policy_of(RATED)
    assert effect_of(policy, "pay/x", used=2) is Effect.ALLOW
    decision = decide(policy, call_of("pay/x"), used=3)
    assert decision.effect is Effect.DENY
    assert decision.reason == "rule `few` allows no more of `pay/x` for now: its rate is used up"


def test_a_rate_belongs_to_workspace_agent_and_rule() -> None:
    policy = policy_of(RATED)
    mine, theirs = (policy.needs(call_of("pay/x", agent=agent)).rates[0] for agent in ("bot", "other"))
    assert mine.scope == "/srv/airlock/airlock.yaml\nbot\nfew"
    assert theirs.scope != mine.scope
    assert (mine.limit, mine.window_ms) == (3, 60_000)
    assert decide(policy, call_of("pay/x")).terms.rates == (mine,)


def test_a_rate_that_nobody_counted_opens_nothing() -> None:
    assert policy_of(RATED).evaluate(call_of("pay/x"), Facts(now=0)).effect is Effect.DENY


def test_each_part_of_a_call_uses_the_rate_once() -> None:
    policy = policy_of(RATED)
    parts = (Part(tool="pay/x"),) * 3
    decision = decide(policy, call_of("bash/_complex", parts=parts))
    assert decision.effect is Effect.ALLOW
    assert len(decision.terms.rates) == 3
    assert effect_of(policy, "bash/_complex", parts=(*parts, Part(tool="pay/x"))) is Effect.DENY
    assert effect_of(policy, "bash/_complex", parts=parts, used=1) is Effect.DENY


HOURS = """
providers: {pay: builtin}
agents: {bot: {}}
rules:
  - {id: day, tool: pay/day, effect: allow, between: "09:00-17:00"}
  - {id: night, tool: pay/night, effect: allow, between: {hours: "22:00-06:00", days: [fri]}}
  - {id: berlin, tool: pay/berlin, effect: allow, between: {hours: "09:00-17:00", timezone: Europe/Berlin}}
"""
MINUTE = 60_000
WINTER, SUMMER = 1_767_916_800_000, 1_783_555_200_000  # midnight UTC of 2026-01-09 and 2026-07-09


@pytest.mark.parametrize(
    ("tool", "now", "expected"),
    [
        ("pay/day", WINTER + 9 * 60 * MINUTE, Effect.ALLOW),
        ("pay/day", WINTER + 9 * 60 * MINUTE - 1, Effect.DENY),
        ("pay/day", WINTER + 17 * 60 * MINUTE - 1, Effect.ALLOW),
        ("pay/day", WINTER + 17 * 60 * MINUTE, Effect.DENY),
        ("pay/night", WINTER + 23 * 60 * MINUTE, Effect.ALLOW),
        ("pay/night", WINTER + (24 + 5) * 60 * MINUTE, Effect.ALLOW),
        ("pay/night", WINTER + (24 + 6) * 60 * MINUTE, Effect.DENY),
        ("pay/night", WINTER + (24 + 23) * 60 * MINUTE, Effect.DENY),
        ("pay/night", WINTER + 5 * 60 * MINUTE, Effect.DENY),
        ("pay/berlin", WINTER + 8 * 60 * MINUTE, Effect.ALLOW),
        ("pay/berlin", SUMMER + 7 * 60 * MINUTE, Effect.ALLOW),
        ("pay/berlin", WINTER + 7 * 60 * MINUTE, Effect.DENY),
    ],
)
def test_a_rule_between_hours_holds_only_then(tool: str, now: int, expected: Effect) -> None:
    assert effect_of(policy_of(HOURS), tool, now=now) is expected


OBSERVED = """
providers: {pay: builtin}
agents: {bot: {allow: [pay/x]}}
rules:
  - {id: later, tool: pay/*, effect: deny, args: {to: eve}, mode: observe, redact: [pin]}
  - {id: maybe, tool: pay/y, effect: allow, mode: observe}
"""


def test_an_observed_rule_changes_nothing_and_says_what_it_would_have_done() -> None:
    policy = policy_of(OBSERVED)
    decision = decide(policy, call_of("pay/x", {"to": "eve"}))
    assert (decision.effect, decision.would) == (Effect.ALLOW, Effect.DENY)
    assert [(one.rule, one.observed) for one in decision.matched] == [
        ("later", True),
        ("agents.bot.allow", False),
    ]
    assert decide(policy, call_of("pay/x", {"to": "bob"})).would is None
    errored = decide(policy, call_of("pay/x", {"to": 1}))
    assert (errored.effect, errored.would) == (Effect.ALLOW, Effect.DENY)
    allowed = decide(policy, call_of("pay/y", {"to": "bob"}))
    assert (allowed.effect, allowed.would) == (Effect.DENY, Effect.ALLOW)


LISTED = """
providers: {pay: builtin}
agents: {bot: {allow: [pay/allowed, pay/never, pay/mixed], ask: [pay/asked], deny: [pay/never]}}
rules:
  - {id: c1, tool: pay/sometimes, effect: allow, args: {x: 1}}
  - {id: c2, tool: pay/perhaps, effect: ask, when: "args.x == 1"}
  - {id: c3, tool: pay/mixed, effect: deny, between: "09:00-17:00"}
  - {id: c4, tool: "**", effect: deny, args: {x: 1}}
  - {id: c5, tool: pay/watched, effect: allow, mode: observe}
  - {id: c6, tool: pay/allowed, effect: deny, mode: observe}
  - {id: c7, tool: pay/limited, effect: allow, rate: 1/1h}
  - {id: c8, tool: pay/allowed, effect: ask, args: {x: 2}}
"""


@pytest.mark.parametrize(
    ("tool", "effect"),
    [
        ("pay/allowed", Effect.ALLOW),
        ("pay/asked", Effect.ASK),
        ("pay/never", None),
        ("pay/unnamed", None),
        ("pay/sometimes", Effect.ALLOW),
        ("pay/perhaps", Effect.ASK),
        ("pay/mixed", Effect.ALLOW),
        ("pay/watched", None),
        ("pay/limited", Effect.ALLOW),
    ],
)
def test_listed_is_what_could_be_allowed_or_asked(tool: str, effect: Effect | None) -> None:
    assert listed(policy_of(LISTED), tool) is effect


def test_nothing_is_listed_for_an_unknown_agent() -> None:
    assert policy_of(LISTED).listing("mallory", Kind.TOOL, "pay", "allowed") is None


def test_the_rule_that_asks_for_most_is_named_then_the_first_by_id() -> None:
    policy = policy_of(
        """
        people: {ann: {local: ann}, bob: {local: bob}}
        agents: {bot: {ask: ["git/*"]}}
        rules:
          - {id: b-risky, tool: git/tag, effect: ask, risk: high, reason: tags stay}
          - {id: c-ann, tool: git/branch, effect: ask, approvers: [ann], reason: ann looks after branches}
          - {id: d-two, tool: git/commit, effect: ask, quorum: 2, reason: two people}
          - {id: a-two, tool: git/push, effect: ask, quorum: 2}
          - {id: z-two, tool: git/push, effect: ask, quorum: 2}
        """
    )
    named = {
        name: decide(policy, call_of(f"git/{name}")) for name in ("tag", "branch", "commit", "push", "add")
    }
    assert {name: one.rule for name, one in named.items()} == {
        "tag": "b-risky",
        "branch": "c-ann",
        "commit": "d-two",
        "push": "a-two",
        "add": "agents.bot.ask",
    }
    assert named["commit"].reason == "two people"
