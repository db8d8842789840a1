"""An agent that takes Airlock out of its client, or answers out of Airlock, with the client's file tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airlock.cli.native import SETTINGS, native_policy
from airlock.cli.plan import make_plan
from airlock.hooks.shell import split
from airlock.loader.file import loads
from airlock.model import Call, Decision, Effect, Part, Principal, Risk
from airlock.policy import Facts, Policy, compile_policy


def policy_for(host: str, project: Path, state: Path) -> Policy:
    native = native_policy(host, "bot", project, (".airlock.env", "airlock.yaml", str(state)))
    plan = make_plan("bot", [], env_file=".env", secret="s" * 20, basics=False, native=native)
    return compile_policy(loads(plan.config, project / "airlock.yaml", {**plan.variables}, lenient=True))


def decided(policy: Policy, tool: str, path: str) -> Decision:
    call = Call(
        id="c",
        principal=Principal(name="bot", identity="agent:bot"),
        provider="file",
        name=tool,
        parts=(Part(tool=f"file/{tool}", arguments={"path": path}),),
    )
    resolved = {one: os.path.realpath(one) for one in policy.needs(call).paths}
    return policy.evaluate(call, Facts(now=0, resolved=resolved))


@pytest.mark.parametrize("host", list(SETTINGS))
@pytest.mark.parametrize("tool", ["write", "edit"])
def test_writing_a_clients_settings_is_of_high_risk_and_never_granted_for_long(
    host: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    policy = policy_for(host, tmp_path, tmp_path / "state")
    assert decided(policy, tool, f"{tmp_path}/src/a.py").terms.risk is Risk.LOW
    for place in SETTINGS[host]:
        path = place.replace("~", str(tmp_path / "home")) if place[0] == "~" else f"{tmp_path}/{place}"
        decision = decided(policy, tool, path)
        assert (decision.effect, decision.terms.risk) == (Effect.ASK, Risk.HIGH), path


@pytest.mark.parametrize("tool", ["read", "write", "grep"])
@pytest.mark.parametrize("name", ["airlock.db", "airlock.db.key", "pin.json", "trust/x.json"])
def test_the_state_directory_is_out_of_reach_of_the_file_tools(tool: str, name: str, tmp_path: Path) -> None:
    policy = policy_for("claude-code", tmp_path, tmp_path / "state")
    assert decided(policy, tool, f"{tmp_path}/state/{name}").effect is Effect.DENY


@pytest.mark.parametrize("host", list(SETTINGS))
@pytest.mark.parametrize(
    "line",
    [
        "airlock approve K7QF2M",
        "env -u CLAUDECODE airlock approve K7QF2M",
        "airlock --config airlock.yaml approve K7QF2M",
        "sh -c 'airlock keys create --name x --scope admin'",
        "ls && airlock trust --yes",
        "timeout 5 /usr/local/bin/airlock pin clear",
    ],
)
def test_a_shell_line_in_which_airlock_decides_is_denied(host: str, line: str, tmp_path: Path) -> None:
    policy = policy_for(host, tmp_path, tmp_path / "state")
    call = Call(
        id="c",
        principal=Principal(name="bot", identity="agent:bot"),
        provider="bash",
        name="airlock",
        parts=split(line, str(tmp_path)),
    )
    decision = policy.evaluate(call, Facts(now=0))
    assert (decision.effect, decision.rule) == (Effect.DENY, "airlocks-own-commands")
    harmless = Call(
        id="c",
        principal=Principal(name="bot", identity="agent:bot"),
        provider="bash",
        name="airlock",
        parts=split("airlock policy check", str(tmp_path)),
    )
    assert policy.evaluate(harmless, Facts(now=0)).effect is Effect.ASK
