"""The policy: from one call and some facts to one decision. Pure; the strictest match wins.

Deny over ask over allow, and nothing matched means deny. A rule that cannot be evaluated never opens a
door: an errored deny matches, an errored allow does not, an errored ask asks where the rest would allow
(decisions.md 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from airlock.config import HOOK_NAMESPACES, Config
from airlock.errors import ConfigError, Problem
from airlock.matching.frame import Facts, Frame
from airlock.matching.rules import Rule, RuleCompiler, digest, list_rules, near, problem
from airlock.matching.selection import Candidate, Selection, Selector, resolve_lists, strictest_first
from airlock.model import Call, Decision, Effect, Kind, Matched, RateUse, Risk, Terms
from airlock.values import dataclass

__all__ = ["Facts", "Needs", "Policy", "compile_policy"]

Hit: TypeAlias = "tuple[Candidate, str]"
"""A rule that matched, and why it could not be evaluated, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Which facts a decision needs: counts of uses, and paths to resolve."""

    rates: tuple[RateUse, ...] = ()
    paths: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """False when a decision needs no facts but the time."""
        return bool(self.rates or self.paths)


_NO_NEEDS = Needs()


@dataclass(slots=True)
class Findings:
    """What one thing's rules said: those that hold, those that could not say, those over their rate."""

    selection: Selection
    holding: list[int]
    troubled: Sequence[Hit] = ()
    spent: Sequence[Candidate] = ()

    def hits(self) -> list[Hit]:
        """The candidates that hold."""
        return [(self.selection.candidates[number], "") for number in self.holding]


def settle(holding: Sequence[Hit], troubled: Sequence[Hit]) -> tuple[Effect, list[Hit]]:
    """The effect and the rules that decide it; none of them when nothing matched."""
    deny = [hit for hit in (*holding, *troubled) if hit[0].rule.effect is Effect.DENY]
    if deny:
        return Effect.DENY, deny
    asking = [hit for hit in holding if hit[0].rule.effect is Effect.ASK]
    unsure = [hit for hit in troubled if hit[0].rule.effect is Effect.ASK]
    allowing = [hit for hit in holding if hit[0].rule.effect is Effect.ALLOW]
    if asking or (unsure and allowing):
        return Effect.ASK, asking + unsure
    return (Effect.ALLOW, allowing) if allowing else (Effect.DENY, [])


class Policy:
    """One compiled policy. Every method is pure and safe to call from any thread."""

    def __init__(self, config: Config, selector: Selector, warnings: tuple[Problem, ...]) -> None:
        self.revision = config.revision
        self.warnings = warnings
        self._agents = frozenset(config.agents)
        self._selector = selector

    def knows(self, agent: str) -> bool:
        """True when the policy has this agent."""
        return agent in self._agents

    def needs(self, call: Call) -> Needs:
        """The facts that `evaluate` needs for this call; usually none."""
        if not self.knows(call.agent):
            return _NO_NEEDS
        if not call.parts and not self._selector.of(call).needy(call.arguments):
            return _NO_NEEDS
        rates: dict[str, RateUse] = {}
        paths: dict[str, None] = {}
        for selection, frame in self.frames(call, Facts(now=0)):
            rates |= {limit.scope: limit for limit in selection.limits}
            if selection.path_names:
                paths |= dict.fromkeys(_paths(selection, frame))
        return Needs(rates=tuple(rates.values()), paths=tuple(paths)) if rates or paths else _NO_NEEDS

    def frames(self, call: Call, facts: Facts) -> list[tuple[Selection, Frame]]:
        """What is judged: each part of the call, or the call itself, with the rules that name it."""
        if not call.parts:
            selection = self._selector.of(call)
            return [(selection, selection.frame(call, None, facts))]
        selections = [(self._selector.of_part(call.agent, part), part) for part in call.parts]
        return [(selection, selection.frame(call, part, facts)) for selection, part in selections]

    def evaluate(self, call: Call, facts: Facts) -> Decision:
        """The decision. Never raises for any JSON arguments."""
        if call.principal.name not in self._agents:
            reason = f"unknown agent `{call.agent}`"
            return Decision(effect=Effect.DENY, tool=call.tool, reason=reason, revision=self.revision)
        if call.parts:
            used: dict[str, int] = {}
            return self._decide([find(s, frame, used) for s, frame in self.frames(call, facts)])
        return self._alone(self._selector.of(call), call, facts)

    def evaluate_plain(self, call: Call, facts: Facts) -> Decision | None:
        """`evaluate` for an agent that it knows and one thing that needs no facts but the time; else None."""
        if call.parts or call.principal.name not in self._agents:
            return None
        selection = self._selector.of(call)
        return None if selection.needy(call.arguments) else self._alone(selection, call, facts)

    def _alone(self, selection: Selection, call: Call, facts: Facts) -> Decision:
        """The decision on a call without parts; the same matches give the same decision, made once."""
        if selection.plain:
            decision = selection.decisions.get(())
            if decision is None:
                everything = list(range(len(selection.candidates)))
                decision = self._decide([Findings(selection, everything)])
                selection.keep((), decision)
            return decision
        arguments = selection.spellings.read(call.arguments)
        findings = _find(selection, arguments, partial(selection.frame, call, None, facts), {})
        if findings.troubled or findings.spent:
            return self._decide([findings])
        key = (-1, *findings.holding)
        decision = selection.decisions.get(key)
        if decision is None:
            decision = self._decide([findings])
            selection.keep(key, decision)
        return decision

    def _decide(self, all_findings: Sequence[Findings]) -> Decision:
        """Join the parts: the strictest decides, and all rules of that effect bring their terms."""
        outcomes = [settle(*_enforced(one)) for one in all_findings]
        effect = max((effect for effect, _ in outcomes), key=lambda one: one.strictness)
        place = next(number for number, (one, _) in enumerate(outcomes) if one is effect)
        first, its_own = all_findings[place], outcomes[place][1]
        deciding = [hit for e, hits in outcomes if e is effect for hit in hits]
        winner = min(deciding, key=_named_first) if deciding else None
        # A part that no rule names is denied on its own, whatever another part's deny rule says.
        unnamed = effect is Effect.DENY and not its_own
        return Decision(
            effect=effect,
            tool=first.selection.tool,
            rule="" if winner is None or unnamed else winner[0].rule.id,
            rule_digest="" if winner is None or unnamed else _digest(deciding),
            reason=_default_reason(first) if winner is None or unnamed else _reason(winner),
            terms=_terms(effect, deciding, all_findings),
            matched=tuple(_matched(all_findings, outcomes)),
            revision=self.revision,
            would=_would(all_findings),
            silent=winner is None and all(map(_silent, all_findings)),
        )

    def listing(self, agent: str, kind: Kind, provider: str, name: str) -> Effect | None:
        """The effect to list a name with; None when it is not shown (decisions.md 15)."""
        if not self.knows(agent):
            return None
        rules = [c.rule for c in self._selector.named(agent, kind, provider, name).candidates]
        rules = [rule for rule in rules if not rule.observe]
        always = {rule.effect for rule in rules if not rule.conditional}
        named = {rule.effect for rule in rules} - {Effect.DENY}
        if Effect.DENY in always or not named:
            return None
        return Effect.ASK if Effect.ASK in (always & named or named) else Effect.ALLOW


def find(selection: Selection, frame: Frame, used: dict[str, int]) -> Findings:
    """Ask every candidate. `used` counts what earlier parts of the same call use of a rate."""
    return _find(selection, frame.arguments, lambda: frame, used)


def _find(
    selection: Selection, arguments: Mapping[str, Any], make_frame: Callable[[], Frame], used: dict[str, int]
) -> Findings:
    """The same; a frame is made only when somebody must be asked alone, which is seldom."""
    candidates, frame = selection.candidates, None
    holding = [*selection.always]
    trouble: list[tuple[int, str]] = []
    spent: list[Candidate] = []
    for wanted, alone in selection.alone:
        if wanted and wanted not in arguments:
            continue
        frame = frame or make_frame()
        for number in alone:
            candidate = candidates[number]
            answer = True if candidate.judge is None else candidate.judge(frame)
            if answer is True and candidate.limit is not None:
                answer = _counted(candidate, candidate.limit, frame, used, spent)
            if answer is True:
                holding.append(number)
            elif answer is not False:
                trouble.append((number, answer))
    for group in selection.groups:
        group.ask(arguments, frame, holding, trouble)
    holding.sort()  # as the candidates stand: they were asked by argument
    if not trouble and not spent:
        return Findings(selection, holding)
    troubled = [(candidates[number], why) for number, why in trouble]
    troubled.sort(key=lambda hit: strictest_first(hit[0]))
    spent.sort(key=strictest_first)
    return Findings(selection, holding, troubled, spent)


def _counted(
    candidate: Candidate, limit: RateUse, frame: Frame, used: dict[str, int], spent: list[Candidate]
) -> bool | str:
    """Whether a rule that holds does so within its rate; beyond it an allow does not match."""
    before = frame.facts.rates.get(limit.scope)
    if before is None:
        return "the uses of its rate were not counted"
    if before + used.get(limit.scope, 0) >= limit.limit:
        spent.append(candidate)
        return False
    used[limit.scope] = used.get(limit.scope, 0) + 1
    return True


def _enforced(findings: Findings) -> tuple[list[Hit], list[Hit]]:
    holding = [hit for hit in findings.hits() if not hit[0].rule.observe]
    return holding, [hit for hit in findings.troubled if not hit[0].rule.observe]


def _silent(findings: Findings) -> bool:
    """True when the policy has nothing to say: no rule matched, and none was kept from it by a failure."""
    return findings.selection.clear and not findings.spent and not any(_enforced(findings))


def _would(all_findings: Sequence[Findings]) -> Effect | None:
    """What the observed rules would have made of it; None when none of them matched."""
    outcomes = [settle(one.hits(), one.troubled) for one in all_findings]
    observed = any(hit[0].rule.observe for one in all_findings for hit in (*one.hits(), *one.troubled))
    return max((effect for effect, _ in outcomes), key=lambda one: one.strictness) if observed else None


def _matched(
    all_findings: Sequence[Findings], outcomes: Sequence[tuple[Effect, list[Hit]]]
) -> Iterable[Matched]:
    """Every rule that matched, once, strictest first within its part."""
    seen: set[tuple[str, str, str]] = set()
    for findings, (_, deciding) in zip(all_findings, outcomes, strict=True):
        troubled = [hit for hit in findings.troubled if hit in deciding or hit[0].rule.observe]
        hits = sorted([*findings.hits(), *troubled], key=lambda hit: -hit[0].rule.effect.strictness)
        for candidate, trouble in hits:
            key = (candidate.rule.id, candidate.matched.where, trouble)
            if key not in seen:
                seen.add(key)
                yield replace(candidate.matched, errored=trouble) if trouble else candidate.matched


def _named_first(hit: Hit) -> tuple[int, bool, int, str, str]:
    """Of the rules that decide the one that is named: the one that asks for most, then the first by id."""
    (candidate, trouble), reviewers = hit, hit[0].rule.reviewers
    rule = candidate.rule
    return (
        -(reviewers.quorum if reviewers else 1),
        not (reviewers and reviewers.names),
        -rule.risk.weight,
        rule.id,
        trouble,
    )


def _digest(deciding: Sequence[Hit]) -> str:
    """Of all rules that decide: a standing yes to some of them is none to one that joins them."""
    digests = sorted({candidate.digest for candidate, _ in deciding})
    return digests[0] if len(digests) == 1 else digest(digests)


def _reason(hit: Hit) -> str:
    candidate, trouble = hit
    reason = candidate.matched.reason or f"rule `{candidate.rule.id}`"
    if trouble:
        reason += f" (rule `{candidate.rule.id}` could not be evaluated: {trouble})"
    return reason


def _default_reason(findings: Findings) -> str:
    tool = _short(findings.selection.tool)
    if not findings.selection.clear:
        return f"`{tool}` is no clear name"
    for candidate in findings.spent:
        return f"rule `{candidate.rule.id}` allows no more of `{tool}` for now: its rate is used up"
    for candidate, trouble in findings.troubled:
        if not candidate.rule.observe:
            return f"no rule allows `{tool}` (rule `{candidate.rule.id}` could not be evaluated: {trouble})"
    return f"no rule allows `{tool}`"


def _short(tool: str) -> str:
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in tool[:201])
    return plain if len(plain) <= 200 else f"{plain[:199]}…"


def _terms(effect: Effect, deciding: Sequence[Hit], all_findings: Sequence[Findings]) -> Terms:
    """The terms of all rules that decide, joined to the strictest (decisions.md 12)."""
    rules = [candidate.rule for candidate, _ in deciding]
    spoken = [rule for findings in all_findings for rule in _spoken(findings)]
    timeouts = [rule.timeout_ms for rule in rules if rule.timeout_ms is not None]
    reuses = [rule.reuse_ms for rule in rules if rule.reuse_ms is not None]
    reviewers = {rule.reviewers.rule: rule.reviewers for rule in rules if rule.reviewers is not None}
    asks, allows = effect is Effect.ASK, effect is Effect.ALLOW
    return Terms(
        risk=max((rule.risk for rule in rules), key=lambda risk: risk.weight, default=Risk.LOW),
        timeout_ms=min(timeouts) if asks and timeouts else None,
        reuse_ms=min(reuses) if asks and reuses and len(reuses) == len(rules) else None,
        reviewers=tuple(reviewers[name] for name in sorted(reviewers)) if asks else (),
        redact=frozenset().union(*(rule.redact for rule in spoken)),
        rates=tuple(hit[0].limit for hit in deciding if hit[0].limit is not None) if allows else (),
    )


def _spoken(findings: Findings) -> list[Rule]:
    """Every rule that did not plainly say no: what it redacts is redacted whoever decides."""
    candidates = [candidate for candidate, _ in (*findings.hits(), *findings.troubled)]
    return [candidate.rule for candidate in (*candidates, *findings.spent)]


def _paths(selection: Selection, frame: Frame) -> Iterable[str]:
    if not frame.local:
        return
    for candidate in selection.candidates:
        for condition in candidate.rule.conditions:
            if condition.folders:
                yield from condition.paths(frame)


def compile_policy(config: Config) -> Policy:
    """The policy of a config; ConfigError with every problem when it has any."""
    compiler = RuleCompiler(config)
    problems, warnings = compiler.problems, compiler.warnings
    rules = [compiler.compile(rule) for rule in config.rules]
    by_owner = {
        lists.owner: list_rules(lists, problems)
        for lists in (*config.profiles.values(), *(agent.lists for agent in config.agents.values()))
    }
    lists: dict[str, list[Rule]] = {}
    for name, agent in config.agents.items():
        resolved, faults = resolve_lists(agent.lists, config.profiles)
        lists[name] = [rule for one in resolved for rule in by_owner[one.owner]]
        for message, unknown in faults:
            where = f"{config.file}:0"
            problems.append(problem(where, f"agents.{name}.extends", message, near(unknown, config.profiles)))
    problems += _check_names(config)
    warnings += _check_patterns([*rules, *(rule for some in by_owner.values() for rule in some)])
    if problems:
        raise ConfigError(tuple(sorted(dict.fromkeys(problems), key=lambda one: (one.file, one.line))))
    return Policy(config, Selector(config, rules, lists), tuple(warnings))


def _check_names(config: Config) -> Iterable[Problem]:
    """Agents that do not exist, and rule ids that would be mistaken for others."""
    seen: set[str] = set()
    for rule in config.rules:
        path = f"rules.{rule.id}"
        for agent in rule.agents:
            if agent not in config.agents:
                hint = near(agent, config.agents)
                yield problem(rule.place("agent"), f"{path}.agent", f"unknown agent `{agent}`", hint)
        if rule.id in seen:
            yield problem(rule.where, path, f"two rules have the id `{rule.id}`", "give each its own")
        if not rule.id or rule.id.startswith(("agents.", "profiles.")):
            yield problem(rule.where, path, f"`{rule.id}` is no id for a rule", "`agents.…` names the lists")
        seen.add(rule.id)
    for case in config.tests:
        if case.agent not in config.agents:
            hint = near(case.agent, config.agents)
            yield problem(case.where, "tests", f"unknown agent `{case.agent}`", hint)


_EVERYTHING = frozenset({"**", "*/*", "*/**", "**/*", "**/**"})


def _check_patterns(rules: Iterable[Rule]) -> Iterable[Problem]:
    """Patterns that probably do not reach what their author thinks of."""
    for rule in rules:
        for pattern, line in rule.names.lines:
            path = rule.id if rule.listed else f"rules.{rule.id}.tool"
            if rule.effect is Effect.DENY and pattern.kind is Kind.TOOL and pattern.text in _EVERYTHING:
                message = (
                    f"`{line.text}` does not reach the tools of hooks ({', '.join(sorted(HOOK_NAMESPACES))})"
                )
                yield problem(line.where, path, message, "name them as well: `bash/**`", warning=True)
            if pattern.kind is Kind.TOOL and pattern.text == "*":
                message = "`*` names only tools without a provider"
                yield problem(line.where, path, message, "`**` is every tool of every provider", warning=True)
