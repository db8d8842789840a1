"""The policy against its reference: random policies and calls, in any order, stricter never wider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.config import AgentConfig, Config, PatternLine, PatternLists, RuleConfig
from airlock.matching.frame import Facts
from airlock.matching.grouping import group
from airlock.matching.selection import Selection
from airlock.model import Effect
from airlock.policy import compile_policy
from reference_evaluator import evaluate, listed
from support.policies import HOME, call_of

SEGMENTS = st.sampled_from(["git", "pay", "bash", "get_a", "set_a", "a", "b/c"])
TOOLS = st.builds(
    "{}/{}".format, st.sampled_from(["git", "pay", "bash"]), st.sampled_from(["get_a", "set_a", "a", "b/c"])
)
GLOBS = ["*", "get_*", "*_a", "**", "a", "get_a", "b/*", "s*t*a"]
PATTERNS = st.one_of(
    st.builds(
        "{}/{}".format, st.sampled_from(["git", "pay", "bash", "*", "g*", "p*y"]), st.sampled_from(GLOBS)
    ),
    st.sampled_from(["**", "git/**", "**/a"]),
)
EFFECTS = st.sampled_from(["allow", "ask", "deny"])

VALUES: tuple[Any, ...] = (
    0,
    1,
    5,
    5.0,
    10**30,
    True,
    None,
    "",
    "a",
    "5",
    "ab",
    "x/y",
    "x/../y",
    [],
    ["a"],
    {"k": 1},
)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _glob(value: Any) -> bool | None:
    return None if not isinstance(value, str) or "/.." in value else value[:1] == "a" and "/" not in value


CONDITIONS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({"n": {"gt": 1}}, lambda v: v > 1 if _number(v) else None),
    ({"n": {"lte": 5}}, lambda v: v <= 5 if _number(v) else None),
    ({"n": {"gte": 5}}, lambda v: v >= 5 if _number(v) else None),
    ({"n": {"lt": 5.5}}, lambda v: v < 5.5 if _number(v) else None),
    ({"n": 5}, lambda v: v == 5 if _number(v) else None),
    ({"n": "a"}, lambda v: v == "a" if isinstance(v, str) else None),
    ({"n": {"in": ["a", "ab", "a"]}}, lambda v: v in {"a", "ab"} if isinstance(v, str) else None),
    ({"n": {"not_in": ["a", "b"]}}, lambda v: v not in {"a", "b"} if isinstance(v, str) else None),
    ({"n": {"regex": "^a.*$"}}, lambda v: v[:1] == "a" if isinstance(v, str) else None),
    ({"n": {"regex": ["^5$", "^a$"]}}, lambda v: v in {"5", "a"} if isinstance(v, str) else None),
    ({"n": {"glob": "a*"}}, _glob),
    ({"n": {"exists": True}}, lambda v: True),
    ({"n": {"each": "a"}}, lambda v: v == ["a"] if isinstance(v, list) else None),
    ({"n.k": 1}, lambda v: v == {"k": 1} if isinstance(v, dict) else None),
)
"""Conditions on `n`, and what each says of a value that is there: None when it cannot be evaluated."""


@dataclass(frozen=True)
class Line:
    """A random rule: patterns, effect, a condition or none, and `when` / `unless` that hold, fail or err."""

    patterns: tuple[str, ...]
    effect: str
    condition: int | None
    when: str
    unless: str

    def config(self, number: int) -> RuleConfig:
        return RuleConfig(
            id=f"r{number}",
            where=f"a.yaml:{number}",
            tools=self.patterns,
            effect=Effect(self.effect),
            args={} if self.condition is None else CONDITIONS[self.condition][0],
            when=TEXTS[self.when],
            unless=TEXTS[self.unless],
        )

    def holds(self, arguments: dict[str, Any]) -> bool | None:
        """By decisions.md 9 and 10, as simply as it can be said."""
        said = [True if self.condition is None else self._condition(arguments), SAYS[self.when]]
        excused = SAYS[self.unless] if self.unless else False
        if False in said or excused is True:
            return False
        if excused is None and self.effect == "allow":
            return None
        return None if None in said else True

    def _condition(self, arguments: dict[str, Any]) -> bool | None:
        assert self.condition is not None
        return CONDITIONS[self.condition][1](arguments["n"]) if "n" in arguments else False


TEXTS = {"": "", "holds": "agent == 'bot'", "fails": "agent == 'other'", "errs": "args.gone == 1"}
SAYS = {"": True, "holds": True, "fails": False, "errs": None}
EXCEPTIONS = st.lists(st.builds("!{}".format, PATTERNS), max_size=2)
PATTERN_LISTS = st.builds(
    lambda some, less: tuple(some + less), st.lists(PATTERNS, min_size=1, max_size=3), EXCEPTIONS
)
LINES = st.builds(
    Line,
    patterns=PATTERN_LISTS,
    effect=EFFECTS,
    condition=st.one_of(st.none(), st.integers(0, len(CONDITIONS) - 1)),
    when=st.sampled_from(["", "", "", *TEXTS]),
    unless=st.sampled_from(["", "", "", *TEXTS]),
)
POLICIES = st.lists(LINES, max_size=7)
LISTS = st.fixed_dictionaries({}, optional=dict.fromkeys(["allow", "ask", "deny"], PATTERN_LISTS))
ARGUMENTS = st.one_of(st.just({}), st.builds(lambda value: {"n": value}, st.sampled_from(VALUES)))


def decide(lines: list[Line], lists: dict[str, tuple[str, ...]], tool: str, arguments: dict[str, Any]) -> str:
    """The real answer."""
    written = {
        effect: tuple(PatternLine(text=text, where="a.yaml:1") for text in texts)
        for effect, texts in lists.items()
    }
    config = Config(
        file=HOME / "airlock.yaml",
        digest="d",
        database="sqlite:////x",
        agents={"bot": AgentConfig(name="bot", lists=PatternLists(owner="agents.bot", **written))},
        rules=tuple(line.config(number) for number, line in enumerate(lines)),
    )
    return str(compile_policy(config).evaluate(call_of(tool, arguments), Facts(now=0)).effect)


def expected(
    lines: list[Line], lists: dict[str, tuple[str, ...]], tool: str, arguments: dict[str, Any]
) -> str:
    """The reference's answer."""
    rules = [(line.effect, line.holds(arguments)) for line in lines if listed(line.patterns, tool)]
    rules += [(effect, True) for effect, texts in lists.items() if listed(texts, tool)]
    return evaluate(rules)


@settings(max_examples=300)
@given(POLICIES, LISTS, TOOLS, ARGUMENTS)
def test_the_policy_means_what_its_reference_says(
    lines: list[Line], lists: dict[str, tuple[str, ...]], tool: str, arguments: dict[str, Any]
) -> None:
    assert decide(lines, lists, tool, arguments) == expected(lines, lists, tool, arguments)


@settings(max_examples=80)
@given(
    POLICIES.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))), LISTS, TOOLS, ARGUMENTS
)
def test_the_order_of_rules_never_matters(
    both: tuple[list[Line], list[Line]],
    lists: dict[str, tuple[str, ...]],
    tool: str,
    arguments: dict[str, Any],
) -> None:
    assert decide(both[0], lists, tool, arguments) == decide(both[1], lists, tool, arguments)


WIDTH = {"deny": 0, "ask": 1, "allow": 2}


@settings(max_examples=100)
@given(POLICIES, LINES, LISTS, TOOLS, ARGUMENTS)
def test_another_deny_never_widens_and_another_ask_never_makes_an_allow(
    lines: list[Line], more: Line, lists: dict[str, tuple[str, ...]], tool: str, arguments: dict[str, Any]
) -> None:
    before = decide(lines, lists, tool, arguments)
    denied = decide([*lines, replace(more, effect="deny")], lists, tool, arguments)
    asked = decide([*lines, replace(more, effect="ask")], lists, tool, arguments)
    assert WIDTH[denied] <= WIDTH[before]
    assert before == "allow" or asked != "allow"
    assert before != "allow" or asked in {"allow", "ask"}


@settings(max_examples=100)
@given(POLICIES, LISTS, TOOLS, ARGUMENTS)
def test_rules_asked_in_a_group_answer_as_each_would_alone(
    lines: list[Line], lists: dict[str, tuple[str, ...]], tool: str, arguments: dict[str, Any]
) -> None:
    config = Config(
        file=HOME / "airlock.yaml",
        digest="d",
        database="sqlite:////x",
        agents={"bot": AgentConfig(name="bot", lists=PatternLists(owner="agents.bot"))},
        rules=tuple(replace(line, patterns=("**", "bash/**")).config(n) for n, line in enumerate(lines)),
    )
    ((selection, frame),) = compile_policy(config).frames(call_of(tool, arguments), Facts(now=0))
    assert isinstance(selection, Selection)
    groups, grouped = group(enumerate(one.rule for one in selection.candidates), selection.sets)
    alone = {number: selection.candidates[number].rule.holds(frame) for number in grouped}
    for shared in (None, frame):
        holding: list[int] = []
        troubled: list[tuple[int, str]] = []
        for one in groups:
            one.ask(frame.arguments, shared, holding, troubled)
        assert len(set(holding)) == len(holding)
        together: dict[int, bool | str] = dict.fromkeys(holding, True) | dict(troubled)
        assert together == {number: answer for number, answer in alone.items() if answer is not False}


ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=100)
@given(st.dictionaries(st.one_of(st.just("n"), st.text()), ANY_JSON, max_size=4), EFFECTS)
def test_no_arguments_make_evaluation_raise(arguments: dict[str, Any], effect: str) -> None:
    lines = [Line(("git/*",), effect, number, "", "") for number in range(len(CONDITIONS))]
    lines.append(Line(("git/*",), effect, None, "errs", "errs"))
    decide(lines, {"allow": ("git/*",)}, "git/a", arguments)
