"""Why a call is decided as it is: the rule that decides, those that lose, and what keeps others from
matching. Pure; for `airlock policy explain`."""

from __future__ import annotations

from typing import Any

from airlock.matching.frame import Frame
from airlock.matching.rules import Rule
from airlock.matching.selection import Candidate
from airlock.model import Call, Decision, Effect
from airlock.policy import Facts, Findings, Policy, find, settle
from airlock.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseFinding:
    """One condition of a rule and what it says: `holds`, `fails`, or why it cannot be evaluated."""

    text: str
    holds: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """One rule that names the tool. `role` is decides, loses, observed or not-matched; `why` says why not."""

    rule: str
    effect: Effect
    where: str
    role: str
    why: str = ""
    clauses: tuple[ClauseFinding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFinding:
    """One thing that the call does, and the rules that name it."""

    tool: str
    effect: Effect
    rules: tuple[RuleFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with everything that led to it."""

    decision: Decision
    parts: tuple[PartFinding, ...]

    def lines(self) -> list[str]:
        """For people: the answer first, then each rule, a line each, its failing conditions below it."""
        decision = self.decision
        said = [f"{decision.effect}: {decision.reason}"]
        if decision.would not in {None, decision.effect}:
            said.append(f"with the observed rules it would be {decision.would}")
        for part in self.parts:
            if len(self.parts) > 1:
                said.append(f"{part.effect} {part.tool}")
            said += [line for rule in part.rules for line in _rule_lines(rule)]
            if not part.rules:
                said.append(f"  no rule names {part.tool}")
        return said

    def shape(self) -> list[dict[str, Any]]:
        """For programs: JSON values, one object a part."""
        return [
            {
                "tool": part.tool,
                "effect": str(part.effect),
                "rules": [_rule_shape(rule) for rule in part.rules],
            }
            for part in self.parts
        ]


def _rule_lines(rule: RuleFinding) -> list[str]:
    why = f": {rule.why}" if rule.why else ""
    head = f"  {rule.role:<11} {rule.effect:<5} {rule.rule} ({rule.where}){why}"
    bad = [one for one in rule.clauses if one.trouble or not one.holds]
    return [head, *(f"      {one.text} → {one.trouble or 'does not hold'}" for one in bad)]


def _rule_shape(rule: RuleFinding) -> dict[str, Any]:
    return {
        "rule": rule.rule,
        "effect": str(rule.effect),
        "where": rule.where,
        "role": rule.role,
        "why": rule.why,
        "conditions": [{"text": one.text, "holds": one.holds, "error": one.trouble} for one in rule.clauses],
    }


def explain(policy: Policy, call: Call, facts: Facts) -> Explanation:
    """The decision for a call, and what each rule that names it says."""
    decision = policy.evaluate(call, facts)
    if not policy.knows(call.agent):
        return Explanation(decision=decision, parts=())
    used: dict[str, int] = {}
    parts = [_part(find(selection, frame, used), frame) for selection, frame in policy.frames(call, facts)]
    return Explanation(decision=decision, parts=tuple(parts))


def _part(findings: Findings, frame: Frame) -> PartFinding:
    enforced = [hit for hit in findings.hits() if not hit[0].rule.observe]
    unsure = [hit for hit in findings.troubled if not hit[0].rule.observe]
    effect, hits = settle(enforced, unsure)
    deciding = {id(candidate) for candidate, _ in hits}
    rules = [_rule(one, findings, frame, deciding) for one in findings.selection.candidates]
    order = {"decides": 0, "loses": 1, "observed": 2}
    rules.sort(key=lambda one: (order.get(one.role, 3), -one.effect.strictness, one.rule))
    return PartFinding(tool=findings.selection.tool, effect=effect, rules=tuple(rules))


def _rule(candidate: Candidate, findings: Findings, frame: Frame, deciding: set[int]) -> RuleFinding:
    holding = any(candidate is one for one, _ in findings.hits())
    trouble = next((text for one, text in findings.troubled if one is candidate), "")
    role, why = "not-matched", ""
    if id(candidate) in deciding:
        role, why = "decides", trouble and "counts as matching, because it could not be evaluated"
    elif candidate.rule.observe and (holding or trouble):
        role = "observed"
    elif holding:
        role, why = "loses", "a stricter rule matches"
    elif any(candidate is one for one in findings.spent):
        why = "its rate is used up"
    elif trouble:
        why = "it could not be evaluated, and so does not open anything"
    return RuleFinding(
        rule=candidate.rule.id,
        effect=candidate.rule.effect,
        where=candidate.matched.where,
        role=role,
        why=why,
        clauses=tuple(_clauses(candidate.rule, frame)),
    )


def _clauses(rule: Rule, frame: Frame) -> list[ClauseFinding]:
    answers = [(text, holds(frame)) for text, holds in rule.clauses()]
    return [
        ClauseFinding(text=text, holds=answer is True, trouble=answer if isinstance(answer, str) else "")
        for text, answer in answers
    ]
