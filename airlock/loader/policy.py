"""The policy's part of the config: profiles, agents, rules and tests, as far as their own text tells.

Patterns and conditions are compiled elsewhere; here their shape and the names in them are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from airlock.config import (
    MCP_NAMES,
    AgentConfig,
    PatternLine,
    PatternLists,
    Person,
    PolicyCase,
    RateLimit,
    RuleConfig,
)
from airlock.durations import UNITS, milliseconds
from airlock.loader.fields import Section
from airlock.loader.hours import hours
from airlock.loader.profiles import SHIPPED
from airlock.loader.reader import Node
from airlock.loader.reading import Found, meant
from airlock.loader.settings import patience
from airlock.model import Effect, Risk

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_RATE = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]*)\s?(ms|s|m|h|d)\s*\Z")
_LONGEST_NAME: Final = 64
_WAITS: Final[tuple[Literal["auto", "hold", "pending", "task"], ...]] = ("auto", "hold", "pending", "task")
_MODES: Final[tuple[Literal["enforce", "observe"], ...]] = ("enforce", "observe")
_ONLY_ASK: Final = ("approvers", "quorum", "timeout", "reuse")
_LARGEST_TIME: Final = 2**53


def _check_name(section: Section, name: str, what: str) -> None:
    if not _NAME.match(name) or len(name) > _LONGEST_NAME:
        hint = f"letters, digits, `.`, `_` and `-`, at most {_LONGEST_NAME}"
        section.reading.error(section.line, section.path, f"`{name[:60]}` is not {what} name", hint)


def profiles(sections: list[tuple[str, Section]]) -> dict[str, PatternLists]:
    """The profiles of the file by name; `extends` is not looked at yet."""
    found: dict[str, PatternLists] = {}
    for name, section in sections:
        _check_name(section, name, "a profile")
        found[name] = _lists(section, f"profiles.{name}", ())
    return found


def _lists(section: Section, owner: str, inherited: tuple[str, ...]) -> PatternLists:
    own = tuple(text for text, _ in section.texts("extends", single=True))
    return PatternLists(
        owner=owner,
        extends=tuple(dict.fromkeys(inherited + own)),
        allow=_patterns(section, "allow"),
        ask=_patterns(section, "ask"),
        deny=_patterns(section, "deny"),
    )


def _patterns(section: Section, key: str) -> tuple[PatternLine, ...]:
    where = section.reading.where
    lines = tuple(
        PatternLine(text=text.strip(), where=where(found.line)) for text, found in section.texts(key)
    )
    if lines and all(line.text.startswith("!") for line in lines):
        section.error(
            key,
            "a list of only `!` patterns takes names out of nothing",
            "add the pattern that they are exceptions from",
        )
    return lines


def agents(sections: list[tuple[str, Section]], default_profile: str) -> dict[str, AgentConfig]:
    """The agents by name, each with the default profile in front where it applies."""
    found: dict[str, AgentConfig] = {}
    tokens: dict[str, str] = {}
    for name, section in sections:
        _check_name(section, name, "an agent")
        agent = _agent(section, name, default_profile)
        if agent.token is not None:
            owner = tokens.setdefault(agent.token.reveal(), name)
            if owner != name:
                section.error("token", f"is also the token of `{owner}`: a token names one agent")
        found[name] = agent
    return found


def _agent(section: Section, name: str, default_profile: str) -> AgentConfig:
    inherits = section.flag("inherit_default", default=True)
    inherited = (default_profile,) if default_profile and inherits else ()
    names = tuple(text for text, _ in section.texts("mcp_names", single=True))
    return AgentConfig(
        name=name,
        lists=_lists(section, f"agents.{name}", inherited),
        token=section.secret("token"),
        wait=section.choice("wait", _WAITS, "auto") or "auto",
        patience_ms=patience(section),
        mcp_names=names or MCP_NAMES,
        permission_tool=section.flag("permission_tool", default=False),
    )


def shipped(wanted: Iterable[PatternLists], own: Mapping[str, PatternLists]) -> dict[str, PatternLists]:
    """The profiles that come with Airlock and that are extended here without being defined."""
    names = {name for lists in wanted for name in lists.extends}
    return {name: SHIPPED[name] for name in sorted(names) if name in SHIPPED and name not in own}


def check_profiles(sections: list[tuple[str, Section]], known: Mapping[str, PatternLists]) -> None:
    """Note what `check_extends` notes, and profiles that extend themselves."""
    check_extends(sections, known)
    for name, section in sections:
        cycle = _cycle(name, known)
        if cycle is not None:
            section.error("extends", f"goes in a circle: {' → '.join(cycle)}")


def check_extends(sections: list[tuple[str, Section]], known: Mapping[str, PatternLists]) -> None:
    """Note profiles that are extended and nowhere defined."""
    for _, section in sections:
        for text, found in section.texts("extends", single=True):
            if text not in known:
                hint = meant(text, {*known, *SHIPPED})
                section.reading.error(found.line, found.path, f"unknown profile `{text[:60]}`", hint)


def _cycle(start: str, known: Mapping[str, PatternLists]) -> list[str] | None:
    """The way from a profile back to itself; None when there is none."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for step in known[way[-1]].extends if way[-1] in known else ():
            if step == start:
                return [*way, step]
            if step not in seen:
                seen.add(step)
                ways.append([*way, step])
    return None


def rules(
    sections: list[Section], agent_names: Iterable[str], people: Mapping[str, Person]
) -> tuple[RuleConfig, ...]:
    """The rules that could be read, in the order of the file."""
    known = frozenset(agent_names)
    found: list[RuleConfig] = []
    ids: dict[str, int] = {}
    for number, section in enumerate(sections, 1):
        name = section.text("id") or f"rule-{number}"
        _check_id(section, name, ids)
        one = _rule(section, name, known, people)
        if one is not None:
            found.append(one)
    return tuple(found)


def _check_id(section: Section, name: str, ids: dict[str, int]) -> None:
    if not _NAME.match(name) or len(name) > _LONGEST_NAME:
        hint = f"letters, digits, `.`, `_` and `-`, at most {_LONGEST_NAME}"
        section.error("id", f"`{name[:60]}` is not a rule's id", hint)
    first = ids.setdefault(name, section.line)
    if first != section.line:
        section.error("id", f"duplicate rule id `{name[:60]}`", f"first at line {first}")


def _rule(
    section: Section, name: str, known: frozenset[str], people: Mapping[str, Person]
) -> RuleConfig | None:
    tools = tuple(text.strip() for text, _ in section.texts("tool", single=True))
    effect = _required_effect(section, "effect")
    if section.found("tool") is None:
        section.missing("tool", 'a pattern, or `"**"` for everything')
    approvers = tuple(dict.fromkeys(text for text, _ in section.texts("approvers", single=True)))
    one = RuleConfig(
        id=name,
        tools=tools,
        effect=effect or Effect.DENY,
        where=section.reading.where(section.line),
        agents=_known_agents(section, known),
        args=_arguments(section),
        when=section.text("when").strip(),
        unless=section.text("unless").strip(),
        reason=section.text("reason").strip(),
        risk=section.choice("risk", Risk, Risk.LOW) or Risk.LOW,
        rate=_rate(section),
        approvers=approvers,
        quorum=_quorum(section, approvers, people),
        timeout_ms=section.duration("timeout", None),
        reuse_ms=section.duration("reuse", None),
        redact=tuple(text for text, _ in section.texts("redact", single=True)),
        between=hours(section),
        observe=section.choice("mode", _MODES, "enforce") == "observe",
        wheres=section.lines(),
    )
    if effect is None or not tools:
        return None
    _check_terms(section, effect)
    return one


def _required_effect(section: Section, key: str) -> Effect | None:
    if section.found(key) is None:
        section.missing(key, "`allow`, `ask` or `deny`")
        return None
    return section.choice(key, Effect, None)


def _check_terms(section: Section, effect: Effect) -> None:
    for key in _ONLY_ASK:
        if effect is not Effect.ASK and section.found(key) is not None:
            section.warn(key, f"has no meaning in a rule that says `{effect}`", "it belongs to `effect: ask`")


def _known_agents(section: Section, known: frozenset[str]) -> tuple[str, ...]:
    names: list[str] = []
    for text, found in section.texts("agent", single=True):
        if text not in known:
            section.reading.error(found.line, found.path, f"unknown agent `{text[:60]}`", meant(text, known))
        names.append(text)
    if not names and section.found("agent") is not None:
        section.error("agent", "names nobody", "leave it out for all agents")
    return tuple(dict.fromkeys(names))


def _arguments(section: Section) -> dict[str, Any]:
    found = section.found("args")
    if found is None:
        return {}
    if found.node.keys is None:
        section.error("args", "must be a mapping of arguments")
        return {}
    return {name: _value(section, node, f"{found.path}.{name}") for name, node in found.node.value.items()}


def _value(section: Section, node: Node, path: str) -> Any:
    if node.keys is not None:
        return {name: _value(section, inner, f"{path}.{name}") for name, inner in node.value.items()}
    if node.is_list:
        return [_value(section, inner, f"{path}[{index}]") for index, inner in enumerate(node.value)]
    if isinstance(node.value, str):
        return section.reading.expand(node.value, node.line, path) or ""
    return node.value


def _rate(section: Section) -> RateLimit | None:
    text = section.text("rate")
    if not text:
        return None
    found = _RATE.match(text)
    window = milliseconds(f"{found[2] or 1}{found[3]}") if found and len(found[2]) < 12 else 0
    if found is None or not int(found[1]) or not window:
        units = ", ".join(UNITS)
        section.error("rate", "must be a number of uses in a time", f"like `10/1m` ({units})")
        return None
    return RateLimit(count=int(found[1]), window_ms=window)


def _quorum(section: Section, approvers: tuple[str, ...], people: Mapping[str, Person]) -> int:
    for text, found in section.texts("approvers", single=True):
        if text not in people:
            hint = meant(text, people) or f"add it: people: {{{text[:40]}: {{local: {text[:40]}}}}}"
            section.reading.error(found.line, found.path, f"unknown person `{text[:60]}`", hint)
    quorum = section.whole("quorum", 1, least=1, most=100)
    reachable = len(approvers) or len(people)
    if reachable and quorum > reachable:
        section.error("quorum", f"{quorum} cannot be reached: only {reachable} may answer")
    return quorum


def tests(sections: list[Section], agent_names: Iterable[str]) -> tuple[PolicyCase, ...]:
    """The policy's own cases that could be read, in the order of the file."""
    known = frozenset(agent_names)
    cases = [_case(section, known) for section in sections]
    return tuple(case for case in cases if case is not None)


def _case(section: Section, known: frozenset[str]) -> PolicyCase | None:
    agent, tool = section.text("agent"), section.text("tool")
    expect = _required_effect(section, "expect")
    for key, value in (("agent", agent), ("tool", tool)):
        if not value and section.found(key) is None:
            section.missing(key)
    if agent and agent not in known:
        section.error("agent", f"unknown agent `{agent[:60]}`", meant(agent, known))
    rule = section.text("rule") if section.found("rule") else None
    args, at, cwd = _arguments(section), _moment(section, section.found("at")), section.text("cwd")
    if expect is None or not agent or not tool:
        return None
    return PolicyCase(
        where=section.reading.where(section.line),
        agent=agent,
        tool=tool,
        args=args,
        expect=expect,
        rule=rule,
        at=at,
        cwd=str(section.reading.resolved(cwd)) if cwd else "",
    )


def _moment(section: Section, found: Found | None) -> int | None:
    if found is None:
        return None
    value = found.node.value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_TIME:
        return value
    import datetime as dt

    try:
        moment = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        section.error("at", "must be a time with its zone", 'like "2026-03-02T10:30:00Z"')
        return None
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(milliseconds=1)
