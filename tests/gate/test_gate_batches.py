"""Calls that came together: judged as each would be alone, recorded in one transaction, or left to submit."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.gate import Gate
from airlock.model import Call, Outcome, Part, Proceed, Refuse
from airlock.policy import Facts, Policy
from airlock.ports import AuditEvent
from support.gates import POLICY, call, open_gate

pytestmark = pytest.mark.anyio

RULES = (
    POLICY
    + """
  - {id: no-secrets, tool: "demo/read_*", args: {path: {under: /etc}}, effect: deny, reason: not there}
  - {id: loud, tool: demo/echo, args: {text: {regex: "forbidden"}}, effect: deny}
  - {id: many, tool: demo/echo, args: {n: {gt: 10}}, effect: ask}
  - {id: hidden, tool: demo/echo, args: {text: {glob: "*secret*"}}, effect: allow, redact: [text]}
  - {id: watched, tool: demo/echo, args: {n: 3}, effect: deny, mode: observe}
  - {id: odd, tool: demo/echo, when: 'args.text == "odd"', effect: deny}
"""
)

TOOLS = [
    "demo/echo",
    "demo/read_note",
    "demo/delete_note",
    "demo/write_note",
    "demo/search",
    "demo/none",
    "x",
]
VALUES = st.one_of(
    st.none(),
    st.integers(-20, 20),
    st.sampled_from(["forbidden word", "a secret", "odd", "", '"\\\n\u2028é', "/etc/passwd", "../etc"]),
    st.lists(st.integers(), max_size=2),
)
ARGUMENTS = st.dictionaries(st.sampled_from(["text", "n", "path", "password", "args"]), VALUES, max_size=4)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    plain = call(
        draw(st.sampled_from(TOOLS)),
        draw(st.sampled_from(["claude-code", "claude-code", "other", "stranger"])),
    )
    parts = (Part(tool="demo/echo"), Part(tool="demo/read_note")) if draw(st.integers(0, 9)) == 0 else ()
    origin = replace(plain.origin, session=draw(st.sampled_from(["", "s1"])), cwd="/srv", client="c")
    return plain._replace(arguments=draw(ARGUMENTS), parts=parts, origin=origin)


def told(event: AuditEvent) -> tuple[Any, ...]:
    return event.kind, event.call_id, event.agent, event.tool, event.request_id, json.loads(event.body)


@settings(max_examples=50)
@given(batch=st.lists(calls(), min_size=1, max_size=6))
def test_judged_together_or_alone_the_verdicts_and_the_records_are_the_same(batch: Sequence[Call]) -> None:
    async def compare(folder: Path) -> None:
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        async with open_gate(folder / "a", RULES) as swift, open_gate(folder / "b", RULES) as slow:
            slow.adopt(swift.policy, swift.config)  # else file names differ
            fast = swift.submit_all_now(batch)
            recorded = [told(event) for event in await swift.store.events()]
            assert [one[1] for one in recorded] == [v.call.id for v in fast if v is not None]
            for one, quick in zip(batch, fast, strict=True):
                if quick is None:
                    continue
                thorough = await slow.submit(one)
                assert type(quick) is type(thorough)
                assert quick.call is one
                if isinstance(quick, Proceed) and isinstance(thorough, Proceed):
                    assert quick._replace(started_at=0) == thorough._replace(started_at=0)
                else:
                    assert quick == thorough
            assert recorded == [told(event) for event in await slow.store.events()]
            assert (await swift.store.verify()).sound

    with TemporaryDirectory() as name:
        uvloop.run(compare(Path(name)))


async def test_one_transaction_holds_what_came_together(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        before = gate.store.stamp()
        verdicts = gate.submit_all_now([call("demo/echo", n=n) for n in range(20)])
        assert all(isinstance(one, Proceed) for one in verdicts)
        assert gate.store.stamp() != before
        assert [event.seq for event in await gate.store.events()] == list(range(1, 21))


async def test_in_a_mixed_batch_only_what_must_wait_is_left_to_submit(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        batch = [call("demo/echo"), call("demo/write_note"), call("demo/delete_note"), call("demo/search")]
        first, second, third, fourth = gate.submit_all_now(batch)
        assert isinstance(first, Proceed)
        assert isinstance(third, Refuse)
        assert second is None
        assert fourth is None
        assert [event.call_id for event in await gate.store.events()] == [batch[0].id, batch[2].id]


async def test_a_batch_that_cannot_be_committed_lets_none_of_it_proceed(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        with closing(sqlite3.connect(tmp_path / "airlock.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert gate.submit_all_now([call("demo/echo"), call("demo/echo")]) == [None, None]
            other.execute("ROLLBACK")
        assert await gate.store.events() == []


async def test_one_call_that_cannot_be_written_down_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        batch = [call("demo/echo", a=1), call("demo/echo", a=float("nan")), call("demo/echo", a=2)]
        assert gate.submit_all_now(batch) == [None, None, None]
        verdicts = [await gate.submit(one) for one in batch]
        assert [type(one) for one in verdicts] == [Proceed, Refuse, Proceed]


async def test_a_defect_on_the_fast_path_leaves_the_calls_to_submit(tmp_path: Path) -> None:
    class Broken(Policy):
        def evaluate_plain(self, call: Call, facts: Facts) -> Any:
            raise RuntimeError("a defect")

    async with open_gate(tmp_path) as gate:
        gate.policy.__class__ = Broken
        assert gate.submit_all_now([call("demo/echo"), call("demo/echo")]) == [None, None]
        assert await gate.store.events() == []


async def test_a_pause_leaves_the_whole_batch_to_submit(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        await gate.pause("", "local:alice")
        assert gate.submit_all_now([call("demo/echo"), call("demo/delete_note")]) == [None, None]


async def test_outcomes_that_ended_together_join_their_decisions(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdicts = gate.submit_all_now([call("demo/echo", n=n) for n in range(3)])
        proceeds = [one for one in verdicts if isinstance(one, Proceed)]
        outcomes = [Outcome.SUCCESS, Outcome.ERROR, Outcome.CANCELLED]
        pairs = zip(proceeds, outcomes, strict=True)
        assert gate.record_ends_now([gate.ended(one, outcome, "said no") for one, outcome in pairs])
        events = await gate.store.events()
        assert [event.call_id for event in events[3:]] == [one.call.id for one in proceeds]
        assert [json.loads(event.body)["outcome"] for event in events[3:]] == [str(one) for one in outcomes]
        assert (await gate.store.verify()).sound


async def test_an_outcome_says_when_the_call_ended_not_when_it_was_recorded(tmp_path: Path) -> None:
    now = [1_000_000]
    async with open_gate(tmp_path, clock=lambda: now[0]) as gate:
        (verdict,) = gate.submit_all_now([call("demo/echo")])
        assert isinstance(verdict, Proceed)
        now[0] += 7
        ended = gate.ended(verdict, Outcome.SUCCESS)
        now[0] += 500
        assert gate.record_ends_now([ended])
        await gate.record_end(ended)
        for event in (await gate.store.events())[1:]:
            assert (event.at, json.loads(event.body)["duration_ms"]) == (1_000_007, 7)


DIES = """
import os, sys, uvloop
from pathlib import Path
sys.path[:0] = [{tests!r}]
from support.gates import call, open_gate

async def main():
    async with open_gate(Path({folder!r})) as gate:
        while True:
            verdicts = gate.submit_all_now([call("demo/echo", n=n) for n in range(8)])
            # As a call would be forwarded: only now does anybody outside hear of it.
            os.write(1, "".join(one.call.id + "\\n" for one in verdicts if one is not None).encode())

uvloop.run(main())
"""


def heard_until_killed(folder: Path) -> list[str]:
    """The ids of the calls that a process let through until it was killed."""
    code = DIES.format(tests=str(Path(__file__).parents[1]), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        heard = os.read(process.stdout.fileno(), 4096)
        while heard.count(b"\n") < 400:
            more = os.read(process.stdout.fileno(), 4096)
            assert more
            heard += more
        process.send_signal(signal.SIGKILL)
        heard += process.stdout.read()
    return heard.decode().rpartition("\n")[0].split("\n")


async def test_no_call_was_forwarded_whose_decision_a_kill_took_away(tmp_path: Path) -> None:
    forwarded = heard_until_killed(tmp_path)
    async with open_gate(tmp_path) as gate:
        recorded = {event.call_id async for event in _all(gate)}
        assert set(forwarded) <= recorded
        assert (await gate.store.verify()).sound


async def _all(gate: Gate) -> Any:
    after = 0
    while events := await gate.store.events(after=after):
        for event in events:
            yield event
        after = events[-1].seq
