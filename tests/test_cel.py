"""`when` and `unless`: what expressions say, what is refused, and what the engine cannot be made to do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airlock.errors import ConfigError
from airlock.matching.cel import MAX_NODES, compile_expression, engine, from_engine
from airlock.matching.celtext import CelError
from airlock.matching.frame import Facts, Frame
from airlock.model import Effect
from support.policies import call_of, decide, effect_of, policy_of, rule_policy

NOON = 1_767_787_200_000


def says(text: str, arguments: dict[str, Any] | None = None, **origin: str) -> bool | str:
    """What an expression says about a call."""
    call = call_of("pay/transfer", arguments or {}, **origin)
    frame = Frame(
        call=call,
        facts=Facts(now=NOON),
        tool=call.tool,
        provider=call.provider,
        name=call.name,
        arguments=call.arguments,
    )
    return compile_expression(text).holds(frame)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which may crash."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


TRUE = [
    ('args.amount > 100 && agent == "bot"', {"amount": 101}),
    ("args.amount == 1", {"amount": 1.0}),
    ("!(args.amount == 1)", {"amount": True}),
    ('args["to"] == "eve"', {"to": "eve"}),
    ("!has(args.to)", {}),
    ("has(args.to) && args.to == null", {"to": None}),
    ('"to" in args', {"to": 1}),
    ('args.to.startsWith("e") && args.to.endsWith("e") && args.to.contains("v")', {"to": "eve"}),
    ("args.files.all(f, f.path.startsWith('src/'))", {"files": [{"path": "src/a"}, {"path": "src/b"}]}),
    (
        "args.files.exists(f, f == 'b') && args.more.exists_one(m, m > 1)",
        {"files": ["a", "b"], "more": [1, 2]},
    ),
    ('tool == "pay/transfer" && provider == "pay" && name == "transfer"', {}),
    ('cwd == "/work" && client == "cursor" && session == "s1"', {}),
    ("argv.size() == 2 && argv[0] == 'git' && !('--force' in argv)", {"argv": ["git", "push"]}),
    ("argv.size() == 0", {"argv": "git push"}),
    ("now.getHours() == 12 && now > timestamp('2026-01-01T00:00:00Z')", {}),
    ("args.to.matches('^[a-z]+$')", {"to": "eve"}),
    ('!matches(args.to, r"^\\d+$")', {"to": "eve"}),
    ("args.to.matches('ev') // a comment", {"to": "eve"}),
    ("args.exists(k, k == 'to')", {"to": 1}),
    ("args.x == args.x && size(args) == 1", {"x": {"deep": [1]}}),
]


@pytest.mark.parametrize(("text", "arguments"), TRUE)
def test_an_expression_reads_arguments_and_where_the_call_comes_from(
    text: str, arguments: dict[str, Any]
) -> None:
    assert says(text, arguments, client="cursor", session="s1") is True


TROUBLE = [
    ("args.to == 'eve'", {}, "missing"),
    ("args.list[3] == 1", {"list": [1]}, "missing"),
    ("args.amount > 100", {"amount": "1000"}, "types"),
    ("args.amount / args.by > 1", {"amount": 1, "by": 0}, "out of range"),
    ("args.amount + 1 > 1", {"amount": 2**63 - 1}, "out of range"),
    ("args.amount", {"amount": 1}, "neither true nor false"),
    ("args.a ? true : false", {"a": "x"}, "types"),
    ("args.amount > 1", {"amount": 2**63}, "outside 64 bits"),
    ("args.amount > 1", {"amount": -(2**63) - 1}, "outside 64 bits"),
    ("args.amount > 1", {"amount": [[10**40]]}, "outside 64 bits"),
    ("args.to == 'a'", {"to": "\ud800"}, "cannot be"),
    ("args.to.matches('a')", {"to": 1}, "matches"),
    ("args.to.matches('a')", {"to": "a" * 1_000_001}, "matches"),
    ("args.to == 'a'", {"to": "a" * 4_000_001}, "characters"),
    ("size(args.list) > 1", {"list": [0] * MAX_NODES}, "values"),
    ("size(args) > 1", {f"k{n}": n for n in range(MAX_NODES + 1)}, "values"),
    ("int(args.to) > 1", {"to": "x"}, "cannot use"),
    ("timestamp(args.to) < now", {"to": "yesterday"}, "cannot use"),
]


@pytest.mark.parametrize(("text", "arguments", "why"), TROUBLE)
def test_what_cannot_be_evaluated_is_an_error_that_says_why(
    text: str, arguments: dict[str, Any], why: str
) -> None:
    answer = says(text, arguments)
    assert isinstance(answer, str)
    assert why in answer


def test_nesting_that_would_end_the_process_is_an_error() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    answer = says("args.deep == 1", {"deep": deep})
    assert isinstance(answer, str)
    assert "nested deeper" in answer
    while isinstance(deep, list):  # taken apart by hand: Python itself would recurse
        deep = deep.pop()


def test_a_field_that_cannot_be_read_is_an_error_only_for_those_who_look_at_it() -> None:
    arguments = {"bad": "\ud800", "huge": 2**70, "long": [0] * 20_000, "amount": 5}
    assert says("args.amount == 5", arguments) is True
    policy = policy_of(
        """
        providers: {pay: builtin}
        agents: {bot: {}}
        rules:
          - {id: ok, tool: pay/x, effect: allow, when: "args.amount == 5"}
          - {id: other, tool: pay/x, effect: allow, when: "args.bad == 'a' || args.huge > 1"}
        """
    )
    assert decide(policy, call_of("pay/x", arguments)).rule == "ok"


def test_an_error_never_repeats_a_value_from_the_call() -> None:
    for text, arguments in (
        ("args.pin + 1 > 1", {"pin": 2**63 - 1}),
        ("int(args.pin) > 1", {"pin": "hunter2"}),
    ):
        answer = says(text, arguments)
        assert isinstance(answer, str)
        assert "hunter2" not in answer
        assert str(2**63 - 1) not in answer


REFUSED = [
    ("args.a.all(x, args.b.exists(y, y == x))", "inside"),
    ("args.a.all(x, x.all(y, y.all(z, true)))", "inside another macro"),
    ("args.a.all(x, x == args.b)", "copied for every item"),
    ("args.a.all(x, x in argv)", "copied for every item"),
    ("args.a.map(x, x).size() > 1", "square"),
    ("args.a.filter(x, x > 1).size() > 1", "square"),
    ("args.a.all(args, true)", "new name"),
    ("args.a.all(x)", "new name"),
    ("all(args.a, x, true)", "belongs behind a list"),
    ("args.a.matches(args.b)", "literal"),
    ("args.a.matches('a' + args.b)", "literal"),
    ("matches(args.a, args.b)", "literal"),
    ("args.a.matches(b'a')", "not bytes"),
    ("args.a.matches('(')", "cannot be used"),
    (r"args.a.matches('\d')", "raw"),
    ("args.a.matches(r'(?=a)')", "cannot be used"),
    ("agnt == 'bot'", "did you mean `agent`"),
    ("amount > 1", "args.amount"),
    ("foo(args.a)", "unknown function"),
    ("args.a.split(',')", "unknown function"),
    ("cel.bind(x, 1, x == 1)", "unknown"),
    ("Foo{a: 1}.a == 1", "not supported"),
    ("args.a == ", "cannot be read"),
    ("args.a == 1)", "closes nothing"),
    ("args.a == (1", "cannot be read"),
    ("args.`a` == 1", "does not belong"),
    ("args.a # 1", "does not belong"),
    ("'abc", "does not belong"),
    (" ", "1 to 4,000"),
    ("args.a == 1 || " * 300 + "true", "1 to 4,000"),
    ("(" * 60 + "true" + ")" * 60, "nested deeper"),
    ("matched_by_pattern(args.a, 'x')", "unknown function"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_would_be_slow_or_means_nothing_is_refused_at_load(text: str, message: str) -> None:
    with pytest.raises(CelError) as caught:
        compile_expression(text)
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_string_that_looks_like_code_is_a_string() -> None:
    assert says("args.a == 'args.b.map(x, x) // ( \"'", {"a": 'args.b.map(x, x) // ( "'}) is True
    assert says('args.a == "\\"" && args.b == """a"b"""', {"a": '"', "b": 'a"b'}) is True


@pytest.mark.parametrize(
    "text",
    [
        "!" * 3000 + "true",
        "-" * 3000 + "1 == 1",
        "1" + "+1" * 1900 + " == 1",
        "true" + " || true" * 490,
        "args" + ".x" * 1900 + " == 1",
        "args.x" + "[0]" * 1300 + " == 1",
        "[" * 49 + "]" * 49 + " == []",
        "true ? true : " * 250 + "true",
        "1 in " * 700 + "[1]",
    ],
)
def test_no_expression_that_is_accepted_can_end_the_process(text: str) -> None:
    done = python(
        "from airlock.matching.cel import compile_expression, CelError\n"
        "from airlock.matching.frame import Frame, Facts\n"
        "from airlock.model import Call, Principal\n"
        "who = Principal(name='a', identity='')\n"
        "call = Call(id='', principal=who, provider='', name='', arguments={'x': 1})\n"
        "frame = Frame(call=call, facts=Facts(now=0), tool='', provider='', name='', arguments={'x': 1})\n"
        f"text = {text!r}\n"
        "try: print('said', type(compile_expression(text).holds(frame)))\n"
        "except CelError as error: print('said', error)\n"
    )
    assert (done.returncode, done.stdout[:4]) == (0, "said"), done.stderr[-500:]


def test_one_pass_over_ten_thousand_values_is_all_that_an_expression_can_cost() -> None:
    """The largest arguments that are let through, with the costliest expression that is."""
    arguments = {"a": ["x" * 100] * 4999, "b": ["y" * 100] * 4999}
    text = "args.a.all(i, i.matches('^x+$')) && args.b.exists_one(i, i == 'z')"
    assert says(text, arguments) is False


def test_a_value_cannot_be_a_pattern_for_the_engine() -> None:
    """The engine compiles patterns at each use, up to 10 MB of them: ours are literals, on another engine."""
    assert says("args.to.matches('(a{1,100}){1,10}$')", {"to": "a" * 100_000 + "b"}) is False


def test_the_engine_is_loaded_without_the_package_around_it() -> None:
    done = python(
        "import sys\n"
        "from airlock.matching.cel import compile_expression\n"
        "compile_expression('true')\n"
        "print([name for name in ('cel', 'cel.cli', 'rich', 'prompt_toolkit') if name in sys.modules])\n"
        "import cel\n"
        "print(cel.compile is sys.modules['cel.cel'].compile)\n"
    )
    assert done.stdout.split("\n")[:2] == ["[]", "True"], done.stderr[-500:]


def test_the_engine_is_not_loaded_for_a_policy_without_expressions() -> None:
    done = python(
        "import sys\n"
        "from pathlib import Path\n"
        "from airlock.loader.file import loads\n"
        "from airlock.policy import compile_policy\n"
        "compile_policy(loads('agents: {bot: {allow: [\"*/get_*\"]}}', Path('/a.yaml'), env={}))\n"
        "print([name for name in ('cel.cel', 're2', 'zoneinfo') if name in sys.modules])\n"
    )
    assert done.stdout.strip() == "[]", done.stderr[-500:]


def test_a_panic_of_the_engine_is_an_error_of_the_condition() -> None:
    """A second load of the extension panics in Rust: a real panic to recognise."""
    done = python(
        "import importlib.util as u, sys\n"
        "from airlock.matching.cel import engine, from_engine\n"
        "spec = u.spec_from_file_location('cel.cel', engine().__file__)\n"
        "try: spec.loader.exec_module(u.module_from_spec(spec))\n"
        "except BaseException as error: print(isinstance(error, Exception), from_engine(error))\n"
    )
    assert done.stdout.strip() == "False True", done.stderr[-500:]


def test_what_is_not_the_engines_goes_on() -> None:
    assert not from_engine(KeyboardInterrupt())
    assert not from_engine(SystemExit())
    assert not from_engine(RecursionError())
    assert not from_engine(MemoryError())
    assert engine() is engine()


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("args.a > 1", ["a"]),
        ("has(args.a) && args.a > 1", []),
        ("'a' in args && args.a > 1", []),
        ("args.a > 1 && args.b.c == 2 && args['d'] == 1", ["a", "b", "d"]),
        ("args.a.all(x, x.b > 1)", ["a"]),
        ("size(args) > 1 && agent == 'x'", []),
    ],
)
def test_a_field_that_is_read_unasked_is_warned_about(text: str, warned: list[str]) -> None:
    assert list(compile_expression(text).reading.unguarded) == warned
    policy = rule_policy(f'when: "{text}"')
    assert len(policy.warnings) == len(warned)
    assert all("the rule does not match" in str(one) for one in policy.warnings)


def test_a_field_that_a_condition_asks_for_is_no_reason_to_warn() -> None:
    rule = "args: {amount: {gt: 1}}\nwhen: \"args.amount < 5 && args.to == 'a'\""
    assert ["`args.to`" in str(one) for one in rule_policy(rule).warnings] == [True]


def test_a_wrong_expression_is_reported_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        rule_policy('when: "args.a.map(x, x) == []"')
    assert caught.value.problems[0].line == 10
    assert caught.value.problems[0].path == "rules.the-rule.when"


ERRORED = "args.missing == 1"


@pytest.mark.parametrize(
    ("effect", "before", "body", "expected"),
    [
        ("deny", 'allow: ["fs/*"]', f'when: "{ERRORED}"', Effect.DENY),
        ("allow", "", f'when: "{ERRORED}"', Effect.DENY),
        ("allow", 'ask: ["fs/*"]', f'when: "{ERRORED}"', Effect.ASK),
        ("ask", 'allow: ["fs/*"]', f'when: "{ERRORED}"', Effect.ASK),
        ("ask", "", f'when: "{ERRORED}"', Effect.DENY),
        ("ask", 'deny: ["fs/*"]', f'when: "{ERRORED}"', Effect.DENY),
        ("deny", 'allow: ["fs/*"]', f'unless: "{ERRORED}"', Effect.DENY),
        ("ask", 'allow: ["fs/*"]', f'unless: "{ERRORED}"', Effect.ASK),
        ("ask", "", f'unless: "{ERRORED}"', Effect.ASK),
        ("allow", "", f'unless: "{ERRORED}"', Effect.DENY),
        ("allow", 'ask: ["fs/*"]', f'unless: "{ERRORED}"', Effect.ASK),
        ("allow", "", "unless: \"agent == 'other'\"", Effect.ALLOW),
        ("deny", 'allow: ["fs/*"]', f'when: "{ERRORED}"\nunless: "true"', Effect.ALLOW),
        ("deny", 'allow: ["fs/*"]', f'when: "{ERRORED}"\nunless: "{ERRORED}"', Effect.DENY),
    ],
)
def test_an_error_never_opens_a_door(effect: str, before: str, body: str, expected: Effect) -> None:
    assert effect_of(rule_policy(body, effect=effect, before=before), "fs/x") is expected
