"""Which rules name one tool for one agent, found once and kept, so that other tools' rules cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airlock.config import Config, PatternLine, PatternLists, ProviderConfig
from airlock.matching.arguments import Member
from airlock.matching.frame import Facts, Frame, Holds
from airlock.matching.grouping import Group, group
from airlock.matching.patterns import Index, names_of
from airlock.matching.rules import Rule, digest
from airlock.matching.spelling import Spellings
from airlock.model import NOTHING, Call, Decision, Effect, Kind, Matched, Part, RateUse
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.matching.regexes import PatternSet

CACHED_SELECTIONS = 4096
CACHED_NAME = 512
_CACHED_DECISIONS = 256
_LOCAL = frozenset({"builtin", "stdio"})
NO_SPELLINGS = Spellings(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rule that names the tool, with what is known before any argument is seen. `judge` None: it holds."""

    rule: Rule
    matched: Matched
    digest: str
    judge: Callable[[Frame], Holds] | None = None
    limit: RateUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The candidates for one (agent, kind, tool), deny rules first, and the decisions already made.

    `local` is False for a server on another machine; `home` is where its relative paths start, None where
    they start at the caller's. `always` are the numbers of those that ask nothing, `groups` are asked as one;
    `alone` are the numbers of the rest, by an argument that they cannot hold without, or "".
    """

    tool: str
    provider: str
    name: str
    clear: bool
    candidates: tuple[Candidate, ...]
    local: bool = True
    home: str | None = None
    sets: Mapping[str, PatternSet] = NOTHING
    limits: tuple[RateUse, ...] = ()
    fields: frozenset[str] | None = None
    path_names: frozenset[str] = frozenset()
    spellings: Spellings = NO_SPELLINGS
    plain: bool = False
    always: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    alone: tuple[tuple[str, tuple[int, ...]], ...] = ()
    decisions: dict[tuple[int, ...], Decision] = field(default_factory=dict)

    def needy(self, arguments: Mapping[str, Any]) -> bool:
        """True when a decision about these arguments needs more facts than the time."""
        return bool(self.limits) or not self.path_names.isdisjoint(arguments)

    def frame(self, call: Call, part: Part | None, facts: Facts) -> Frame:
        """What the conditions look at for this call, or for this part of it."""
        cwd = call.origin.cwd
        if part is not None and isinstance(part.arguments.get("cwd"), str):
            cwd = part.arguments["cwd"]  # where this piece of a shell line runs, after the `cd`s before it
        base = cwd if self.home is None else self.home
        return Frame(
            call=call,
            facts=facts,
            tool=self.tool,
            provider=self.provider,
            name=self.name,
            arguments=self.spellings.read(call.arguments if part is None else part.arguments),
            base=base if base.startswith("/") else "",
            local=self.local,
            sets=self.sets,
            fields=self.fields,
        )

    def keep(self, key: tuple[int, ...], decision: Decision) -> None:
        """Remember the decision for these matches."""
        if len(self.decisions) >= _CACHED_DECISIONS:
            self.decisions.clear()
        self.decisions[key] = decision


def split_tool(tool: str, kind: Kind) -> tuple[str, str]:
    """Provider ("" when there is none) and name of a policy name."""
    bare = tool if kind is Kind.TOOL else tool.removeprefix(f"{kind}:")
    provider, slash, name = bare.partition("/")
    return (provider, name) if slash else ("", bare)


def read_tool(tool: str) -> tuple[Kind, str, str]:
    """Kind, provider and name of a tool as people write it: `git/x`, `resource:docs/URI`, `prompt:p/NAME`."""
    kind = next((kind for kind in (Kind.RESOURCE, Kind.PROMPT) if tool.startswith(f"{kind}:")), Kind.TOOL)
    return kind, *split_tool(tool, kind)


class Selector:
    """Finds selections; keeps the last few thousand (names may come from anyone, so not all)."""

    def __init__(self, config: Config, rules: Sequence[Rule], lists: Mapping[str, Sequence[Rule]]) -> None:
        self._config = config
        self._rules = Index(rules)
        self._lists = lists
        self._cached = lru_cache(maxsize=CACHED_SELECTIONS)(self._select)

    def of(self, call: Call) -> Selection:
        """The selection for a call without parts."""
        if len(call.name) > CACHED_NAME:
            return self._select(call.agent, call.kind, call.provider, call.name)
        return self._cached(call.principal.name, call.kind, call.provider, call.name)

    def of_part(self, agent: str, part: Part) -> Selection:
        """The selection for one part of a call."""
        provider, name = split_tool(part.tool, part.kind)
        return self.named(agent, part.kind, provider, name)

    def named(self, agent: str, kind: Kind, provider: str, name: str) -> Selection:
        """The selection for a name."""
        find = self._cached if len(name) <= CACHED_NAME else self._select
        return find(agent, kind, provider, name)

    def _select(self, agent: str, kind: Kind, provider: str, name: str) -> Selection:
        names = names_of(kind, provider, name)
        candidates = sorted(self._candidates(agent, kind, names), key=strictest_first)
        plain = f"{provider}/{name}" if provider else name
        sets = _sets(candidates)
        groups, grouped = group(enumerate(one.rule for one in candidates), sets)
        always = {number for number, one in enumerate(candidates) if one.judge is None and one.limit is None}
        config = self._config.providers.get(provider)
        return Selection(
            tool=plain if kind is Kind.TOOL else f"{kind}:{plain}",
            provider=provider,
            name=name,
            clear=bool(names),
            candidates=tuple(candidates),
            local=config is None or config.type in _LOCAL,
            home=None if config is None else _home(config),
            sets=sets,
            limits=tuple(one.limit for one in candidates if one.limit is not None),
            fields=_fields(candidates),
            path_names=_path_names(candidates),
            spellings=Spellings(_names(candidates)),
            plain=not any(one.rule.conditional for one in candidates),
            always=tuple(sorted(always)),
            groups=groups,
            alone=_by_wanted(candidates, grouped | always),
        )

    def _candidates(self, agent: str, kind: Kind, names: Sequence[str]) -> Iterable[Candidate]:
        if not names:
            return
        for rule in (*self._rules.near(kind, names), *self._lists.get(agent, ())):
            if rule.agents is not None and agent not in rule.agents:
                continue
            line = rule.names.find(kind, names, every=rule.effect is Effect.ALLOW)
            if line is not None:
                yield self._candidate(agent, rule, line)

    def _candidate(self, agent: str, rule: Rule, line: PatternLine) -> Candidate:
        reason = rule.reason or (f"`{line.text}` is in {rule.id}" if rule.listed else "")
        matched = Matched(
            rule=rule.id,
            effect=rule.effect,
            reason=reason,
            where=line.where if rule.listed else rule.where,
            observed=rule.observe,
        )
        limit = None
        if rule.rate is not None:
            scope = f"{self._config.workspace}\n{agent}\n{rule.id}"
            limit = RateUse(scope=scope, limit=rule.rate.count, window_ms=rule.rate.window_ms)
        return Candidate(
            rule=rule,
            matched=matched,
            digest=digest([rule.id, line.text]) if rule.listed else rule.digest,
            judge=_judge(rule),
            limit=limit,
        )


def _by_wanted(
    candidates: Sequence[Candidate], others: frozenset[int]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The numbers of those that are asked alone, by the argument that they need."""
    found: dict[str, list[int]] = {}
    for number, one in enumerate(candidates):
        if number not in others:
            found.setdefault(one.rule.wanted, []).append(number)
    return tuple((wanted, tuple(numbers)) for wanted, numbers in found.items())


def _home(config: ProviderConfig) -> str | None:
    """Where a server's relative paths start: where it runs, else where its caller does, if both are here."""
    if config.cwd:
        return str(config.cwd)
    return None if config.type in _LOCAL else ""


def _judge(rule: Rule) -> Callable[[Frame], Holds] | None:
    """The shortest way to the rule's answer."""
    if rule.when is None and rule.unless is None and rule.window is None:
        if not rule.conditions:
            return None
        if len(rule.conditions) == 1:
            return rule.conditions[0].holds
    return rule.holds


def strictest_first(candidate: Candidate) -> tuple[int, str]:
    """What candidates are sorted by."""
    return -candidate.rule.effect.strictness, candidate.rule.id


def _path_names(candidates: Iterable[Candidate]) -> frozenset[str]:
    """The arguments that `under:` looks at: without any of them no path needs resolving."""
    return frozenset(
        condition.path.steps[0].name
        for one in candidates
        for condition in one.rule.conditions
        if condition.folders and isinstance(condition.path.steps[0], Member)
    )


def _names(candidates: Iterable[Candidate]) -> frozenset[str]:
    """The arguments that conditions and expressions look at."""
    rules = [one.rule for one in candidates]
    steps = (condition.path.steps[0] for rule in rules for condition in rule.conditions)
    readings = (one.reading for rule in rules for one in (rule.when, rule.unless) if one is not None)
    fields = (name for reading in readings for name in reading.fields or ())
    return frozenset((*(step.name for step in steps if isinstance(step, Member)), *fields))


def _sets(candidates: Iterable[Candidate]) -> Mapping[str, PatternSet]:
    """For each argument the one set of all its expressions."""
    wanted: dict[str, dict[str, None]] = {}
    for candidate in candidates:
        for condition in candidate.rule.conditions:
            if condition.expressions:
                wanted.setdefault(condition.path.text, {}).update(dict.fromkeys(condition.expressions))
    if not wanted:
        return NOTHING
    from airlock.matching.regexes import compile_set

    return {path: compile_set(tuple(sorted(sources))) for path, sources in wanted.items()}


def _fields(candidates: Iterable[Candidate]) -> frozenset[str] | None:
    """The arguments that the expressions of these rules look at; None for all of them."""
    wanted: set[str] = set()
    for rule in (candidate.rule for candidate in candidates):
        for expression in (rule.when, rule.unless):
            if expression is not None and "args" in expression.reading.variables:
                if expression.reading.fields is None:
                    return None
                wanted |= expression.reading.fields
    return frozenset(wanted)


def resolve_lists(
    own: PatternLists, profiles: Mapping[str, PatternLists]
) -> tuple[list[PatternLists], list[tuple[str, str]]]:
    """An agent's lists with those of its profiles, each once; and (message, unknown name) for each fault."""
    found: dict[str, PatternLists] = {}
    faults: dict[tuple[str, str], None] = {}

    def visit(lists: PatternLists, path: tuple[str, ...]) -> None:
        for name in lists.extends:
            if name in path:
                faults[f"`extends` goes round: {' → '.join((*path[path.index(name) :], name))}", ""] = None
            elif name not in profiles:
                faults[f"`{lists.owner}` extends the unknown profile `{name}`", name] = None
            elif name not in found:
                visit(profiles[name], (*path, name))
        found.setdefault(lists.owner, lists)
        if lists.owner.startswith("profiles."):
            found.setdefault(lists.owner.removeprefix("profiles."), lists)

    visit(own, ())
    return list({id(one): one for one in found.values()}.values()), list(faults)
