"""The Rego engine in its process: what it reads, what it refuses, and how it fails."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.errors import UsageError
from airlock.web.compat.firewall.rego.engine import MOST_WAITING, Engine, Judged, NoEngine, Text
from airlock.web.compat.firewall.turns import Turns

T = TypeVar("T")

OLD = "package firewall\n"
NEW = "package firewall\nimport rego.v1\n"
GET = {
    "action": {
        "tool": "http_proxy",
        "operation": "GET",
        "params": {"amount": 500, "to": "a@b.example", "re": "("},
    }
}
LOOP = NEW + "allow if {\n a := numbers.range(1, 3000)\n some x in a\n some y in a\n some z in a\n"
LOOP += ' x + y + z == -1\n input.action.tool == "http_proxy"\n}\n'
DECISION = """package aaf.policies
import rego.v1
default decision := {"decision": "deny", "reason": "default"}
decision := {"decision": "allow", "risk_level": "low"} if input.action.tool == "http_proxy"
"""
HOG = NEW + 'allow if count(sprintf("%1000000000d", [input.action.params.amount])) > 1\n'
ENDLESS = OLD + "f(x) = y { y := f(x) }\nallow { f(input.action.tool) }\n"
LONG = 30.0
"""Seconds that are more than enough, on a machine that stops the engine for a moment too."""

PARENT = """
import asyncio, os, signal, sys, uvloop
from airlock.web.compat.firewall.rego.engine import Engine, Text
async def main():
    engine = Engine(seconds=50)
    await engine.judge([Text(text="package a\\nallow { true }")], {})
    print(engine.pid, flush=True)
    %s
    os.kill(os.getpid(), signal.SIGKILL)
uvloop.run(main())
"""
PARENT_GONE = PARENT % ""
PARENT_GONE_WHILE_IT_LOOPS = (
    PARENT
    % f"""
    task = asyncio.create_task(engine.judge([Text(text={LOOP!r})], {GET!r}))
    await asyncio.wait({{task}}, timeout=0.5)
"""
)
PIECES = [
    *("allow", "deny", "decision", "default", "if", "contains", "some", "in", "not", "every", "with", "as"),
    *("import", "rego.v1", "input", "data", "package", "else", "true", "null", "1", "1e9", '"a"', "`b`"),
    *("{", "}", "[", "]", "(", ")", ":=", "=", "==", "|", ",", ";", ":", ".", "\n", "#", "_", "x", "count"),
]

pytest.importorskip("regorus", reason="there is no wheel of the engine for this machine")


def until_gone(pid: int) -> None:
    """Wait, not for ever, until there is no such process."""
    waiting = threading.Event()
    for _ in range(1_000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        waiting.wait(0.02)
    raise AssertionError("it is still there")


@asynccontextmanager
async def running(**more: Any) -> AsyncIterator[Engine]:
    engine = Engine(**more)
    try:
        yield engine
    finally:
        await engine.close()


def within(work: Callable[[Engine], Awaitable[T]], **more: Any) -> T:
    """Run something with an engine of its own."""

    async def whole() -> T:
        async with asyncio.timeout(120), running(**more) as engine:
            return await work(engine)

    return uvloop.run(whole())


def outputs(text: str, seen: Any = GET) -> dict[str, Any]:
    async def work(engine: Engine) -> Judged:
        await engine.read(Text(text=text))
        return (await engine.judge([Text(text=text)], seen))[0]

    judged = within(work)
    assert judged.outputs is not None, judged.cause
    return dict(judged.outputs)


TABLE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "the page's form, allowed",
        OLD + 'default allow = false\nallow { input.action.operation == "GET" }\n',
        {"allow": True},
    ),
    (
        "the page's form, not allowed",
        OLD + 'default allow = false\nallow { input.action.operation == "PUT" }\n',
        {"allow": False},
    ),
    ("no default, not matched", OLD + 'allow { input.action.operation == "PUT" }\n', {}),
    (
        "a set of reasons, old",
        OLD + 'deny[m] { input.action.params.amount > 100; m := "too much" }\n',
        {"deny": ["too much"]},
    ),
    (
        "a set of reasons, new",
        NEW + 'deny contains "too much" if input.action.params.amount > 100\n',
        {"deny": ["too much"]},
    ),
    (
        "new without the import",
        "package aaf.policies\ndeny contains m if {\n\tinput.action.params.amount > 100\n\tm := `no`\n}\n",
        {"deny": ["no"]},
    ),
    (
        "a set is a set, old",
        OLD + 'import future.keywords.in\ndeny[m] { m := "a" }\nrequire_approval { "a" in deny }\n',
        {"deny": ["a"], "require_approval": True},
    ),
    (
        "a decision object, new",
        DECISION,
        {"decision": {"decision": "allow", "risk_level": "low"}},
    ),
    (
        "a decision object, old",
        'package aaf.policies\ndecision = {"allow": false} { input.nope } else = {"allow": true} { true }\n',
        {"decision": {"allow": True}},
    ),
    (
        "a text is more than any number",
        NEW + 'deny if input.action.params.to > 100\nallow if "500" < 100\n',
        {"deny": True},
    ),
    ("not of what is missing", NEW + "allow if not input.action.params.nope\n", {"allow": True}),
    ("not equal to what is missing", NEW + "allow if not input.nope == 1\n", {"allow": True}),
    ("not, of a call on what is missing", NEW + 'allow if not startswith(input.nope, "a")\n', {}),
    ("not, of a comparison, old", OLD + "allow { not input.action.params.nope > 100 }\n", {}),
    (
        "not, of an item that is missing",
        NEW + "allow if not input.nope in [1]\ndeny if not 1 in input.n\n",
        {},
    ),
    ("not, of a call in an equality", NEW + "allow if not 1 == max(input.nope)\n", {}),
    ("not, of what is missing in a list", NEW + "allow if not [input.nope] == [1]\n", {}),
    ("not, with another input", NEW + 'allow if not startswith(input.b, "a") with input as {"c": 1}\n', {}),
    ("not, in every", NEW + "deny if every x in [1] { not input.nope > x }\n", {}),
    (
        "not, of a rule that is undefined",
        NEW + "r := 1 if input.nope\nallow if not r < 1\ndeny if not r\n",
        {"deny": True},
    ),
    ("not, in a comprehension", NEW + "deny if count([1 | not input.nope > 1]) == 1\n", {}),
    ("not, of a comprehension", NEW + "allow if not count([x | x := input.nope[_]]) == 1\n", {"allow": True}),
    (
        "not, of a key that is bound",
        NEW + 'allow if {\n  some k, _ in input.action\n  not startswith(k, "t")\n}\n',
        {"allow": True},
    ),
    ("not, after letters of two bytes", NEW + 'allow if { "é" == "é"; not input.nope["ü"] < 1 }\n', {}),
    ("not, in an else", NEW + "allow if input.nope else := false if not input.nope > 1\n", {}),
    ("an else with no body", OLD + "decision = 1 { input.nope } else = 2\n", {"decision": 2}),
    ("what is missing does not match", NEW + "deny if input.action.params.nope > 1\n", {}),
    ("print says nothing", NEW + 'allow if { print("{}", input); true }\n', {"allow": True}),
    ("a default of a function", NEW + "default f(x) := 1\nf(2) := 3\nallow if f(1) == 1\n", {"allow": True}),
    (
        "its own rules by their whole name",
        NEW + "big if input.action.params.amount > 1\ndeny if data.firewall.big\n",
        {"deny": True},
    ),
    ("one that is called like us", "package data\nallow { true }\n", {"allow": True}),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_a_policy_of_either_version_gives_what_opa_gives(text: str, expected: dict[str, Any]) -> None:
    assert outputs(text) == expected


WRONG: list[tuple[str, str, str]] = [
    ("no package", "allow { true }\n", "line 1: expecting `package` Missing package declaration."),
    ("not closed", OLD + "allow {\n", "line 2: expecting }"),
    ("new, wrong", NEW + "allow if {\n input.x ==\n}\n", "line 5: expecting expression"),
    ("none of its rules", OLD + "permit { true }\n", "line 1: it has none of the rules `deny`"),
    ("a misspelt input", NEW + "allow if not inptu.bad\n", "line 3: use of undefined variable `inptu`"),
    (
        "unbound in a function",
        OLD + "f(x) { x > zz }\nallow { f(input.q) }\n",
        "line 2: use of undefined variable `zz`",
    ),
    (
        "new without if",
        "package a\nallow if { input.x }\ndeny { input.y }\n",
        "line 3: `if` keyword is required",
    ),
    (
        "all under not",
        NEW + 'allow if not input.list[_] == "x"\n',
        "line 3: `_` under `not`: nothing binds it",
    ),
    ("any under not", OLD + "allow {\n some i\n not input.list[i] > 1\n}\n", "line 4: `i` under `not`"),
    ("an unknown function", OLD + "allow {\n not frob(input.x)\n}\n", "line 3: `frob`: there is no such"),
    (
        "the network",
        OLD + "allow {\n\n http.send({})\n}\n",
        "line 4: `http.send`: a policy reaches no network",
    ),
    (
        "the network, inside",
        OLD + "allow { count([1 | not http.send({}).ok]) == 0 }\n",
        "line 2: `http.send`",
    ),
    ("names of hosts", OLD + 'allow { net.lookup_ip_addr("x") }\n', "line 2: `net.lookup_ip_addr`"),
    ("the environment", OLD + "allow { opa.runtime().env.HOME }\n", "line 2: `opa.runtime`"),
    ("chance", OLD + 'allow { rand.intn("a", 2) == 1 }\n', "line 2: `rand.intn`: a decision must"),
    ("other documents", OLD + "allow { not data.blocked[input.agent.id] }\n", "line 2: `data.blocked.*`"),
    ("any document", OLD + "allow { not data[input.x] }\n", "line 2: `data.*`"),
    ("any document of its name", OLD + "allow { not data[input.x].firewall }\n", "line 2: `data.*.firewall`"),
    ("the network, as a value", OLD + "allow = http.send({}) { true }\n", "line 2: `http.send`"),
    ("the network, as an element", OLD + "deny[http.send({})]\n", "line 2: `http.send`"),
    ("the network, otherwise", OLD + "allow { input.x } else = http.send({})\n", "line 2: `http.send`"),
    ("the network, in a function", NEW + "f(x) := http.send(x)\nallow if f(input)\n", "line 3: `http.send`"),
    ("the network, by default", NEW + "default allow := http.send({})\n", "line 3: "),
    ("the network, in a with", NEW + "allow if input.x with input as http.send({})\n", "line 3: `http.send`"),
    (
        "the network, in every",
        NEW + "allow if every x in http.send({}) { x }\n",
        "line 3: `http.send`",
    ),
    ("the network, in a key", OLD + "allow { {http.send({}): 1}[input.x] }\n", "line 2: `http.send`"),
    ("imports of others", OLD + "import data.other\nallow { not other.x }\n", "line 2: `import data.other`"),
    ("rules that need each other", OLD + "allow { b }\nb { allow }\n", "recursion detected"),
    ("always in conflict", OLD + "allow = true { true }\nallow = false { true }\n", "rule conflicts"),
    (
        "a schema on disk",
        NEW + 'allow if json.match_schema({}, {"$ref": "file:///etc/hosts"})[0]\n',
        "line 3",
    ),
    ("a function of itself", OLD + "f(x) = y { y := f(x) }\nallow { f(1) }\n", "it cannot be used: it ended"),
    ("memory", NEW + "allow if count(numbers.range(1, 100000000)) > 1\n", "it cannot be used: it ended"),
    ("time", NEW + "allow := " + "[" * 200 + "]" * 200 + "\n", "it cannot be used: it took longer than 1 s"),
    ("a loop over nothing of the input", LOOP, "it cannot be used: it took longer than 1 s"),
    ("a line too long", OLD + "allow { " + "true; " * 300 + "}\n", "line exceeds maximum column width"),
]


@pytest.mark.parametrize(("text", "told"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_policy_that_cannot_be_used_is_refused_with_its_line(text: str, told: str) -> None:
    async def work(engine: Engine) -> str:
        with pytest.raises(UsageError) as caught:
            await engine.read(Text(text=text))
        engine._seconds = LONG
        good = await engine.judge([Text(text=NEW + "deny if true\n")], GET)
        assert good[0].outputs == {"deny": True}, "the engine is there again"
        return str(caught.value)

    assert told in within(work, seconds=1 if "longer" in told else LONG)


FAILS: list[tuple[str, str, str, int]] = [
    ("a text is no number", OLD + "deny { to_number(input.action.params.to) > 4 }\n", "could not parse", 2),
    ("a number is no text", OLD + '\ndeny { startswith(input.action.params.amount, "a") }\n', "`500`", 3),
    ("zero", NEW + "deny if 1 / (input.action.params.amount - 500) > 1\n", "divide by zero", 3),
    (
        "conflict",
        OLD + "allow { true }\nallow = false { input.action.params.amount > 1 }\n",
        "rule conflicts",
        3,
    ),
    (
        "a pattern from outside",
        OLD + 'deny { regex.match(input.action.params.re, "a") }\n',
        "invalid regex",
        2,
    ),
]

ENDS: list[tuple[str, str, str]] = [
    ("it loops", LOOP, "it took longer than 1 s"),
    ("it eats memory", HOG, "it ended the engine"),
    ("it calls itself", ENDLESS, "it ended the engine"),
    ("much to say", NEW + "deny contains x if { some x in numbers.range(input.z, 90000) }\n", "larger than"),
]


@pytest.mark.parametrize(("text", "cause", "line"), [pytest.param(*row[1:], id=row[0]) for row in FAILS])
def test_an_evaluation_that_fails_has_no_outputs_but_a_line(text: str, cause: str, line: int) -> None:
    async def work(engine: Engine) -> Judged:
        return (await engine.judge([Text(text=text)], GET))[0]

    judged = within(work)
    assert judged.outputs is None
    assert cause in judged.cause
    assert judged.line == line


@pytest.mark.parametrize(("text", "cause"), [pytest.param(*row[1:], id=row[0]) for row in ENDS])
def test_whatever_a_policy_does_to_the_engine_the_next_one_is_evaluated(text: str, cause: str) -> None:
    async def work(engine: Engine) -> tuple[list[Judged], list[Judged]]:
        good = Text(text=NEW + "allow if true\n")
        first = await engine.judge([good, Text(text=text), good], {**GET, "z": 1})
        engine._seconds = LONG
        return first, await engine.judge([good], GET)

    (before, bad, after), then = within(work, seconds=1 if "longer" in cause else LONG)
    assert before.outputs == {"allow": True}
    assert bad.outputs is None
    assert cause in bad.cause
    if "larger" not in cause:
        assert after.outputs is None, "after an engine that broke nothing is taken for evaluated"
    assert then[0].outputs == {"allow": True}


def test_nothing_of_one_evaluation_is_left_for_the_next() -> None:
    async def work(engine: Engine) -> list[Any]:
        text = Text(text=OLD + "allow { input.a == 1 }\ndeny { to_number(input.b) == 1 }\n")
        found = []
        for seen in ({"a": 1}, {"a": 2}, {"a": 1, "b": "x"}, {"a": 1}, {}):
            found += [one.outputs for one in await engine.judge([text], seen)]
        return found

    assert within(work) == [{"allow": True}, {}, None, {"allow": True}, {}]


@pytest.mark.parametrize(
    "seen",
    [
        {"a": 9007199254740993},
        {"a": 12345678901234567890},
        {"a": 1e300},
        {"a": -0.0},
        {"a": "\x00\u2028🙂"},
        {"": {"a b": [None, True]}},
    ],
    ids=str,
)
def test_odd_values_arrive_as_they_are(seen: Any) -> None:
    assert outputs(NEW + "deny contains input\n", seen) == {"deny": [seen]}


def test_numbers_beyond_a_double_are_told_apart() -> None:
    text = NEW + "deny if input.a == 9007199254740992\nallow if input.a == 9007199254740993\n"
    assert outputs(text, {"a": 9007199254740993}) == {"allow": True}


def test_an_input_that_nests_too_deeply_is_an_error() -> None:
    deep: Any = 1
    for _ in range(127):
        deep = [deep]

    async def work(engine: Engine) -> Judged:
        return (await engine.judge([Text(text=NEW + "allow if true\n")], {"a": deep}))[0]

    assert within(work).outputs is None


ODD: list[tuple[str, str, str]] = [
    ("ends at once", "", "did not start"),
    ("says nothing sensible", "print('hello hello hello hello')", "did not start"),
    ("is too talkative", "import sys; sys.stdout.buffer.write(b'\\xff' * 9)", "did not start"),
    (
        "is not installed",
        "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x10{\"missing\":true}')",
        "pip install",
    ),
]


@pytest.mark.parametrize("code", [pytest.param(row[1], id=row[0]) for row in ODD])
def test_an_engine_that_is_none_evaluates_nothing(code: str) -> None:
    async def work(engine: Engine) -> str:
        with pytest.raises(NoEngine) as caught:
            await engine.judge([Text(text="x")], {})
        return str(caught.value)

    assert within(work, command=(sys.executable, "-c", code)) == "the Rego engine did not start"


def test_without_the_library_nothing_is_evaluated_and_the_cure_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    async def work(engine: Engine) -> str:
        with pytest.raises(NoEngine) as caught:
            await engine.read(Text(text="package a\nallow { true }"))
        return str(caught.value)

    assert "pip install 'airlock-gate[rego]'" in within(work)


READY = (
    "import sys, time; out = sys.stdout.buffer; out.write(b'\\0\\0\\0\\x0e{\"ready\":true}'); out.flush(); "
)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("time.sleep(600)", "it took longer"),
        ("sys.stdin.buffer.read(9); sys.exit()", "it ended the engine"),
        ("out.write(b'\\0\\0\\0\\x02no'); out.flush(); time.sleep(600)", "nonsense"),
        ("out.write(b'\\0\\0\\0\\x02[]'); out.flush(); time.sleep(600)", "nonsense"),
        ("out.write(b'\\0\\0\\0\\x0e{\"outputs\":[]}'); out.flush(); time.sleep(600)", "nonsense"),
        ("out.write(b'\\x7f\\0\\0\\0'); out.flush(); time.sleep(600)", "nonsense"),
    ],
    ids=str,
)
def test_an_engine_that_hangs_dies_or_lies_has_no_outputs(code: str, cause: str) -> None:
    async def work(engine: Engine) -> list[Judged]:
        return await engine.judge([Text(text="x")], {})

    seconds = 1 if "longer" in cause else LONG
    judged = within(work, command=(sys.executable, "-c", READY + code), seconds=seconds)
    assert [one.outputs for one in judged] == [None]
    assert cause in judged[0].cause


def test_an_engine_that_was_killed_is_started_again() -> None:
    async def work(engine: Engine) -> list[Any]:
        text = [Text(text=NEW + "deny if true\n")]
        first = await engine.judge(text, GET)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        found = [first[0].outputs]
        while True:  # it may be noticed during the next one, which is then refused
            outcome = (await engine.judge(text, GET))[0].outputs
            found.append(outcome)
            if outcome is not None:
                return found

    found = within(work)
    assert found[0] == found[-1] == {"deny": True}
    assert len(found) <= 3


def test_an_engine_whose_pipe_is_gone_is_started_again() -> None:
    """Its end may be seen there first: uvloop then says RuntimeError."""

    async def work(engine: Engine) -> list[Judged]:
        text = [Text(text=NEW + "deny if true\n")]
        await engine.judge(text, GET)
        assert engine._process is not None
        assert engine._process.stdin is not None
        engine._process.stdin.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [(await engine.judge(text, GET))[0] for _ in range(2)]

    refused, judged = within(work)
    assert (refused.outputs, judged.outputs) == (None, {"deny": True})
    assert "it ended the engine" in refused.cause


def test_whoever_gives_up_leaves_no_half_answer_for_the_next() -> None:
    async def work(engine: Engine) -> list[Judged]:
        await engine.judge([Text(text=NEW + "allow if true\n")], GET)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await engine.judge([Text(text=LOOP)], GET)
        return await engine.judge([Text(text=NEW + "deny if true\n")], GET)

    assert within(work)[0].outputs == {"deny": True}


def test_many_at_once_get_each_its_own_answer() -> None:
    async def work(engine: Engine) -> list[Any]:
        texts = [Text(text=f'{NEW}deny contains "{number}" if true\n') for number in range(MOST_WAITING)]
        judged = await asyncio.gather(*(engine.judge([one], GET) for one in texts))
        return [one[0].outputs for one in judged]

    assert within(work) == [{"deny": [str(number)]} for number in range(MOST_WAITING)]


def test_a_flood_is_refused_beyond_its_queue() -> None:
    async def work(engine: Engine) -> list[Any]:
        text = [Text(text=NEW + "allow if true\n")]
        return await asyncio.gather(
            *(engine.judge(text, GET) for _ in range(MOST_WAITING + 20)), return_exceptions=True
        )

    found = within(work)
    refused = [one for one in found if isinstance(one, NoEngine)]
    assert len(refused) >= 19
    assert all(one[0].outputs == {"allow": True} for one in found if one not in refused)


def test_whoever_makes_policies_hang_without_end_keeps_no_other_agent_waiting_for_more_than_one() -> None:
    async def work(engine: Engine) -> list[str]:
        ended: list[str] = []

        async def asks(who: str, text: str) -> None:
            await engine.judge([Text(text=text)], GET, who=who)
            ended.append(who)

        floods = [asyncio.create_task(asks("evil", LOOP)) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.gather(*(asks(who, NEW + "allow if true\n") for who in ("crm", "mail")))
        for one in floods:
            one.cancel()
        return ended

    assert within(work, seconds=0.3) == ["evil", "crm", "mail"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20))
def test_turns_go_round_whoever_gives_up_and_come_to_everyone_once(asking: list[tuple[str, bool]]) -> None:
    async def work() -> list[str]:
        turns, had, at_once = Turns(most=100), list[str](), 0
        begin = asyncio.Event()

        async def take(who: str) -> None:
            nonlocal at_once
            async with turns.turn(who, seconds=20):
                at_once += 1
                try:
                    await begin.wait()
                    had.append(who if at_once == 1 else "two at once")
                    await asyncio.sleep(0)
                finally:
                    at_once -= 1

        tasks = [asyncio.create_task(take(who)) for who, _ in asking]
        await asyncio.sleep(0)
        for task, (_, gives_up) in zip(tasks, asking, strict=True):
            if gives_up:
                task.cancel()
        begin.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with turns.turn("d", seconds=20):
            return had

    stay = [who for number, (who, gives_up) in enumerate(asking) if not gives_up]
    had = uvloop.run(work())
    assert sorted(had) == sorted(stay)
    for place, who in enumerate(had[1:-1], 1):
        others = set(had[place + 1 :]) - {who}
        assert had[place + 1] != who or not others


def test_a_process_that_is_replaced_gets_every_text_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Engine._running.__globals__, "MOST_KNOWN", 2)
    texts = [Text(text=f'{NEW}deny contains "{number}" if true\n') for number in range(4)]

    async def work(engine: Engine) -> list[Judged]:
        for count in range(1, 4):
            await engine.judge(texts[:count], GET)
        return await engine.judge(texts, GET)

    assert [one.outputs for one in within(work)] == [{"deny": [str(number)]} for number in range(4)]


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads /proc")
def test_the_process_has_nothing_of_ours_and_can_open_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRLOCK_API_SECRET", "the-secret")

    async def work(engine: Engine) -> tuple[bytes, str, list[str], str]:
        os.set_inheritable(open_here.fileno(), True)  # as whoever started the gateway may have left it
        await engine.judge([Text(text=NEW + "allow if true\n")], GET)
        own = Path(f"/proc/{engine.pid}")
        fds = [str(one.readlink()) for one in sorted((own / "fd").iterdir())]
        return (
            (own / "environ").read_bytes(),
            (own / "limits").read_text(),
            fds,
            str((own / "cwd").readlink()),
        )

    with (tmp_path / "secret").open("w") as open_here:
        environ, limits, fds, cwd = within(work)
    assert environ == b""
    assert cwd == "/"
    assert [one.partition(":")[0] for one in fds] == ["socket", "/dev/null", "/dev/null", "socket"]
    found = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert found["Max open files"] == ["4", "4"], "all that it may have are open: no file, no socket"
    assert found["Max file size"] == ["0", "0"]
    assert found["Max address space"][0] != "unlimited"


def test_no_process_is_started_before_the_first_policy_and_none_is_left() -> None:
    async def whole() -> int:
        async with running() as engine:
            assert engine.pid is None
            await engine.read(Text(text=NEW + "allow if true\n"))
            assert engine.pid is not None
            return engine.pid

    pid = uvloop.run(whole())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("signs", [PARENT_GONE, PARENT_GONE_WHILE_IT_LOOPS], ids=["idle", "looping"])
def test_the_process_ends_with_a_gateway_that_was_killed(signs: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", signs], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    until_gone(int(done.stdout))


@settings(max_examples=60, database=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.booleans())
def test_whatever_a_policy_is_it_is_read_or_refused(pieces: list[str], spaced: bool) -> None:
    text = "package a\n" + (" " if spaced else "").join(pieces)

    async def work(engine: Engine) -> None:
        try:
            found = await engine.read(Text(text=text))
        except UsageError:
            return
        assert set(found.rules) & {"allow", "deny", "require_approval", "decision"}
        (judged,) = await engine.judge([Text(text=text)], GET)
        assert (judged.outputs is None) == bool(judged.cause)

    within(work)
