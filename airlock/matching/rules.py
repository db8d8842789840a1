"""Rules as the evaluator reads them: one shape for the rules with conditions and for the plain lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airlock.config import Config, Hours, PatternLine, PatternLists, RateLimit, RuleConfig
from airlock.errors import Problem
from airlock.matching.arguments import Member
from airlock.matching.conditions import Condition, ConditionError, compile_condition
from airlock.matching.frame import Frame, Holds
from airlock.matching.patterns import NameList, read_lines
from airlock.model import Effect, Reviewers, Risk
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.matching.cel import Expression

DAY_MINUTES = 24 * 60


def problem(where: str, path: str, message: str, hint: str = "", *, warning: bool = False) -> Problem:
    """A problem at `file:line`."""
    file, _, line = where.rpartition(":")
    number = int(line) if line.isdecimal() else 0
    return Problem(file=file or where, line=number, path=path, message=message, hint=hint, warning=warning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours in a time zone, ready to compare."""

    hours: Hours
    zone: tzinfo

    def holds(self, now: int) -> bool:
        """True when this moment is within the hours; days are those on which a window begins."""
        local = datetime.fromtimestamp(now / 1000, self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        start, end = self.hours.start, self.hours.end
        if start <= end:
            return start <= minute < end and self._on(day)
        return (minute >= start and self._on(day)) or (minute < end and self._on((day - 1) % 7))

    def _on(self, day: int) -> bool:
        return not self.hours.days or day in self.hours.days


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `agents` is None for all; `line` is given for those of the lists, whose text is a pattern."""

    id: str
    effect: Effect
    names: NameList
    where: str
    agents: frozenset[str] | None = None
    reason: str = ""
    digest: str = ""
    listed: bool = False
    conditions: tuple[Condition, ...] = ()
    when: Expression | None = None
    unless: Expression | None = None
    window: Window | None = None
    observe: bool = False
    rate: RateLimit | None = None
    risk: Risk = Risk.LOW
    reviewers: Reviewers | None = None
    timeout_ms: int | None = None
    reuse_ms: int | None = None
    redact: frozenset[str] = frozenset()

    @property
    def conditional(self) -> bool:
        """True when more than the name decides whether it matches; a rate decides that too."""
        return bool(self.conditions or self.when or self.unless or self.window or self.rate)

    @property
    def wanted(self) -> str:
        """An argument without which the conditions do not hold; "" when there is no such one."""
        named = (one.path.steps[0] for one in self.conditions if not one.about_absence)
        return next((step.name for step in named if isinstance(step, Member)), "")

    def holds(self, frame: Frame) -> Holds:
        """Whether the conditions hold; a text when that cannot be said. The rate is judged elsewhere."""
        if self.window is not None and not self.window.holds(frame.facts.now):
            return False
        trouble: Holds = True
        for condition in self.conditions:
            answer = condition.holds(frame)
            if answer is False:
                return False
            if answer is not True and trouble is True:
                trouble = answer
        if self.when is not None:
            answer = self.when.holds(frame)
            if answer is False:
                return False
            trouble = answer if trouble is True else trouble
        return trouble if self.unless is None else self._unless(frame, trouble)

    def _unless(self, frame: Frame, holds: Holds) -> Holds:
        """An excuse that cannot be evaluated excuses nothing, and disables an allow."""
        excused = self.unless.holds(frame) if self.unless is not None else False
        if excused is True:
            return False
        if isinstance(excused, str) and self.effect is Effect.ALLOW:
            return excused
        return holds

    def clauses(self) -> list[tuple[str, Callable[[Frame], Holds]]]:
        """Each condition with its text, for explanations; `unless` reads as what must not be."""
        said: list[tuple[str, Callable[[Frame], Holds]]] = []
        if self.window is not None:
            window = self.window
            said.append(
                (f"between: {shown_hours(window.hours)}", lambda frame: window.holds(frame.facts.now))
            )
        said += [(f"args.{condition.label}", condition.holds) for condition in self.conditions]
        if self.when is not None:
            said.append((f"when: {self.when.text}", self.when.holds))
        if self.unless is not None:
            unless = self.unless
            said.append((f"unless: {unless.text}", lambda frame: negated(unless.holds(frame))))
        return said


def negated(holds: Holds) -> Holds:
    """The opposite; an error stays one."""
    return holds if isinstance(holds, str) else not holds


def shown_hours(hours: Hours) -> str:
    """Hours as people write them."""
    clock = "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.start, hours.end))
    return f"{clock} {hours.timezone}"


def digest(values: Any) -> str:
    """What changes when the values of a rule change."""
    text = json.dumps(values, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def _rule_digest(rule: RuleConfig) -> str:
    rate = rule.rate and [rule.rate.count, rule.rate.window_ms]
    hours = rule.between
    between = hours and [hours.start, hours.end, hours.timezone, sorted(hours.days)]
    return digest(
        {
            "names": [rule.id, rule.agents, rule.tools, rule.effect],
            "conditions": [rule.args, rule.when, rule.unless, between, rate, rule.observe],
            "terms": [rule.reason, rule.risk, rule.approvers, rule.quorum, rule.timeout_ms, rule.reuse_ms],
            "redact": rule.redact,
        }
    )


def list_rules(lists: PatternLists, problems: list[Problem]) -> list[Rule]:
    """The rules that the three lists of a profile or an agent are."""
    rules: list[Rule] = []
    for effect, lines in ((Effect.ALLOW, lists.allow), (Effect.ASK, lists.ask), (Effect.DENY, lists.deny)):
        path = f"{lists.owner}.{effect}"
        names, wrong = read_lines(lines)
        problems += [problem(line.where, path, str(error), error.hint) for line, error in wrong]
        if names.lines:
            rules.append(
                Rule(id=path, effect=effect, names=names, where=names.lines[0][1].where, listed=True)
            )
    return rules


class RuleCompiler:
    """Compiles the rules of one config and collects every problem."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def compile(self, rule: RuleConfig) -> Rule:
        """The rule as the evaluator reads it; what is wrong is in `problems`."""
        place = rule.place("tool")
        names, wrong = read_lines(PatternLine(text=text, where=place) for text in rule.tools)
        for line, error in wrong:
            self._wrong(rule, "tool", str(error), error.hint, where=line.where)
        if not rule.tools:
            self._wrong(rule, "tool", "the rule names no tool", "`**` is every tool of every provider")
        self._check_people(rule)
        self._check_terms(rule)
        reviewers = None
        if rule.approvers or rule.quorum > 1:
            reviewers = Reviewers(rule=rule.id, names=frozenset(rule.approvers), quorum=rule.quorum)
        return Rule(
            id=rule.id,
            effect=rule.effect,
            names=names,
            where=rule.where,
            agents=frozenset(rule.agents) if rule.agents else None,
            reason=rule.reason,
            digest=_rule_digest(rule),
            conditions=tuple(self._conditions(rule)),
            when=self._expression(rule, "when", rule.when),
            unless=self._expression(rule, "unless", rule.unless),
            window=self._window(rule),
            observe=rule.observe,
            rate=rule.rate,
            risk=rule.risk,
            reviewers=reviewers,
            timeout_ms=rule.timeout_ms,
            reuse_ms=rule.reuse_ms,
            redact=frozenset(rule.redact),
        )

    def _wrong(self, rule: RuleConfig, key: str, message: str, hint: str = "", *, where: str = "") -> None:
        self.problems.append(problem(where or rule.place(key), f"rules.{rule.id}.{key}", message, hint))

    def _warn(self, rule: RuleConfig, key: str, message: str, hint: str = "") -> None:
        self.warnings.append(problem(rule.place(key), f"rules.{rule.id}.{key}", message, hint, warning=True))

    def _conditions(self, rule: RuleConfig) -> Iterable[Condition]:
        folder = Path(self.config.file).parent
        for text, written in rule.args.items():
            key = f"args.{text}" if f"args.{text}" in rule.wheres else "args"
            try:
                yield compile_condition(str(text), written, effect=rule.effect, config_folder=folder)
            except ConditionError as error:
                self._wrong(rule, key, f"`{text}`: {error}", error.hint)
                continue
            if isinstance(written, Mapping) and "each" in written and rule.effect is not Effect.ALLOW:
                message = f"`{text}`: `each` in a rule that restricts matches only when every item does"
                self._warn(rule, key, message, "`any` matches when one item does")

    def _expression(self, rule: RuleConfig, key: str, text: str) -> Expression | None:
        if not text:
            return None
        from airlock.matching.cel import compile_expression
        from airlock.matching.celtext import CelError

        try:
            expression = compile_expression(text)
        except CelError as error:
            self._wrong(rule, key, str(error), error.hint)
            return None
        given = {str(text).partition(".")[0].partition("[")[0] for text in rule.args}
        for name in (name for name in expression.reading.unguarded if name not in given):
            message = (
                f"`args.{name}` is read without `has(args.{name})`: when it is missing, {_missing(rule, key)}"
            )
            self._warn(rule, key, message, f"write `has(args.{name}) && …`")
        return expression

    def _window(self, rule: RuleConfig) -> Window | None:
        hours = rule.between
        if hours is None:
            return None
        if hours.start == hours.end or not (0 <= hours.start < DAY_MINUTES and 0 <= hours.end <= DAY_MINUTES):
            self._wrong(rule, "between", f"`{shown_hours(hours)}` is no stretch of hours")
            return None
        if hours.timezone == "UTC":
            return Window(hours=hours, zone=UTC)
        from zoneinfo import ZoneInfo

        try:
            return Window(hours=hours, zone=ZoneInfo(hours.timezone))
        except (KeyError, ValueError, OSError):
            self._wrong(
                rule, "between", f"unknown timezone `{hours.timezone}`", "write one like `Europe/Berlin`"
            )
            return None

    def _check_people(self, rule: RuleConfig) -> None:
        people = self.config.people
        for name in rule.approvers:
            if name not in people:
                self._wrong(
                    rule, "approvers", f"unknown person `{name}`", near(name, people) or "`people:` has none"
                )
        if rule.quorum < 1:
            self._wrong(rule, "quorum", "a quorum is at least 1")
        elif rule.approvers and rule.quorum > len(set(rule.approvers)):
            message = f"a quorum of {rule.quorum} cannot be reached with {len(set(rule.approvers))} approvers"
            self._wrong(rule, "quorum", message, "name more approvers, or lower it")

    def _check_terms(self, rule: RuleConfig) -> None:
        if rule.rate is not None and rule.effect is not Effect.ALLOW:
            self._wrong(
                rule, "rate", f"`rate` limits an allow rule, this one says {rule.effect}", "leave it out"
            )
        if rule.rate is not None and (rule.rate.count < 1 or rule.rate.window_ms < 1):
            self._wrong(rule, "rate", "a rate is at least one call in a time", "write `10/1m`")


def _missing(rule: RuleConfig, key: str) -> str:
    """What an error in this condition does (decisions.md 9)."""
    if key == "unless":
        return "the rule does not match" if rule.effect is Effect.ALLOW else "nothing is excused"
    return {
        Effect.ALLOW: "the rule does not match",
        Effect.ASK: "the rule asks where the call would be allowed",
        Effect.DENY: "the rule denies",
    }[rule.effect]


def near(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is most like this one, or ""."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return f"did you mean `{found[0]}`?" if found else ""
