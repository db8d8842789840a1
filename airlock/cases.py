"""The policy's own tests: each case of `tests:` is decided, and compared with what it expects.

Nothing outside the config is looked at: rates are unused, paths lead where they say, and a case without
`at:` happens at noon (UTC) of a Wednesday, so that a policy does not pass by day and fail at night.
"""

from __future__ import annotations

from posixpath import normpath

from airlock.config import Config, PolicyCase
from airlock.matching.selection import read_tool
from airlock.model import Call, Decision, Origin, Principal
from airlock.policy import Facts, Needs, Policy
from airlock.values import dataclass

NOON = 1_767_787_200_000
"""2026-01-07T12:00:00Z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What became of one case. `message` says what differs; "" when it passed."""

    case: PolicyCase
    passed: bool
    decision: Decision
    message: str = ""


def run_cases(policy: Policy, config: Config) -> tuple[CaseResult, ...]:
    """Decide every case of the config, in order."""
    return tuple(_run(policy, config, case) for case in config.tests)


def _run(policy: Policy, config: Config, case: PolicyCase) -> CaseResult:
    call = call_of(case, config)
    decision = policy.evaluate(call, _quiet_facts(policy.needs(call), case.at))
    message = _difference(case, decision)
    return CaseResult(case=case, passed=not message, decision=decision, message=message)


def call_of(case: PolicyCase, config: Config) -> Call:
    """The call that a case describes; without `cwd:` it comes from the config's folder."""
    kind, provider, name = read_tool(case.tool)
    return Call(
        id="test",
        kind=kind,
        principal=Principal(name=case.agent, identity=f"agent:{case.agent}"),
        provider=provider,
        name=name,
        arguments=case.args,
        origin=Origin(road="test", workspace=config.workspace, cwd=case.cwd or str(config.file.parent)),
    )


def _quiet_facts(needs: Needs, at: int | None) -> Facts:
    return Facts(
        now=NOON if at is None else at,
        rates={use.scope: 0 for use in needs.rates},
        resolved={path: normpath(path) for path in needs.paths},
    )


def _difference(case: PolicyCase, decision: Decision) -> str:
    if decision.effect is not case.expect:
        by = f" by rule `{decision.rule}`" if decision.rule else ""
        return f"expected {case.expect}, got {decision.effect}{by}: {decision.reason}"
    if case.rule is None:
        return ""
    deciding = {one.rule for one in decision.matched if one.effect is decision.effect and not one.observed}
    if case.rule in (deciding or {""}):
        return ""
    named = ", ".join(f"`{rule}`" for rule in sorted(deciding)) or "no rule"
    return f"expected rule `{case.rule}` to decide, but it was {named}"
