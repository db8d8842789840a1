"""The tests that stand in the policy itself."""

from __future__ import annotations

from airlock.cases import CaseResult, run_cases
from airlock.policy import compile_policy
from support.policies import config_of

POLICY = """
providers: {pay: builtin, docs: builtin}
agents:
  bot: {allow: ["docs/*", "resource:docs/**"], deny: ["docs/drop"]}
rules:
  - {id: small, tool: pay/transfer, effect: allow, args: {amount: {lte: 100}}, rate: 3/1m}
  - {id: big, tool: pay/transfer, effect: ask, args: {amount: {gt: 100}}}
  - {id: day, tool: pay/day, effect: allow, between: "09:00-17:00"}
  - {id: here, tool: file/read, effect: allow, args: {path: {under: ./project}}}
tests:
"""


def run(*cases: str) -> list[CaseResult]:
    config = config_of(POLICY + "\n".join(f"  - {{agent: bot, {case}}}" for case in cases))
    return list(run_cases(compile_policy(config), config))


def test_a_case_passes_when_the_effect_and_the_rule_are_as_expected() -> None:
    results = run(
        "tool: pay/transfer, args: {amount: 500}, expect: ask, rule: big",
        "tool: pay/transfer, args: {amount: 5}, expect: allow, rule: small",
        "tool: docs/drop, expect: deny, rule: agents.bot.deny",
        "tool: docs/read, expect: allow",
        "tool: resource:docs/file:///x, expect: allow",
        "tool: pay/unknown, expect: deny, rule: ''",
    )
    assert [one.message for one in results] == [""] * 6
    assert all(one.passed for one in results)


def test_a_failed_case_says_what_it_got_and_why() -> None:
    wrong, other, none = run(
        "tool: pay/transfer, args: {amount: 500}, expect: allow",
        "tool: pay/transfer, args: {amount: 500}, expect: ask, rule: small",
        "tool: pay/unknown, expect: deny, rule: big",
    )
    assert wrong.message == "expected allow, got ask by rule `big`: rule `big`"
    assert other.message == "expected rule `small` to decide, but it was `big`"
    assert none.message == "expected rule `big` to decide, but it was no rule"
    assert [wrong.passed, other.passed, none.passed] == [False] * 3


def test_a_case_without_a_time_happens_at_noon_and_one_with_a_time_then() -> None:
    results = run(
        "tool: pay/day, expect: allow",
        'tool: pay/day, expect: deny, at: "2026-03-02T20:00:00Z"',
        'tool: pay/day, expect: allow, at: "2026-03-02T18:00:00+02:00"',
    )
    assert all(one.passed for one in results)


def test_a_case_runs_in_the_folder_of_the_config_or_in_its_own() -> None:
    results = run(
        "tool: file/read, args: {path: project/a}, expect: allow",
        "tool: file/read, args: {path: a}, expect: deny",
        "tool: file/read, args: {path: a}, cwd: ./project, expect: allow",
        "tool: file/read, args: {path: project/../a}, expect: deny",
    )
    assert [one.message for one in results] == [""] * 4
