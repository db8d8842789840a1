"""The real Claude Code with Airlock as its PreToolUse hook, over HTTP and as a command: what its own tools
may do is decided by the policy and by people, and when Airlock is not there nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.coding_agents import AIRLOCK, SECRET, Bench, GatewayProcess, Running, claude_mcp, start_claude
from support.model_stand_in import Json, Model, Seen, Use

pytestmark = pytest.mark.real

CONFIG = f"""
server: {{api_secret: {SECRET}}}
database: sqlite:///airlock.db
providers: {{demo: {{type: builtin}}}}
agents:
  claude-code:
    extends: [claude-code-basics]
    allow: ["bash/mkdir", "bash/cat", "file/read"]
    ask: ["bash/touch", "file/write"]
    deny: ["bash/rm"]
"""


def bash(command: str) -> Use:
    """The model's call of Claude Code's shell."""
    return Use("Bash", {"command": command, "description": "a step"})


def key(bench: Bench, *scopes: str) -> str:
    """A key of that scope, bound to the agent, as `init` makes it."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    said = bench.person("keys", "create", "--name", "hooks", "--agent", "claude-code", *words)
    assert said.code == 0, said
    return said.out.strip()


def http_hook(gateway: GatewayProcess, query: str = "") -> Json:
    """The hook that asks a gateway. It starts no process."""
    return {
        "type": "http",
        "url": f"{gateway.url}/hook?client=claude-code&timeout=60{query}",
        "headers": {"Authorization": "Bearer $AIRLOCK_TOKEN"},
        "allowedEnvVars": ["AIRLOCK_TOKEN"],
        "timeout": 60,
        "onFailure": "block",
    }


def command_hook(bench: Bench, *words: str) -> Json:
    """The hook that starts `airlock hook`."""
    line = " ".join([*AIRLOCK, "hook", "--client", "claude-code", "--timeout", "60", *words])
    return {"type": "command", "command": f"{line} || exit 2", "timeout": 60, "onFailure": "block"}


def start(bench: Bench, model: Model, hook: Json, *switches: str, **env: str) -> Running:
    """`claude -p` with that hook for every tool."""
    events = {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}
    bench.file(".claude/settings.json", {"hooks": events})
    return start_claude(bench, model, *switches, **env)


def made(bench: Bench) -> list[str]:
    """What the agent left behind in its project."""
    return sorted(path.name for path in bench.project.iterdir() if path.name != ".claude")


@pytest.fixture(params=["http", "command", "command-in-process"])
def road(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_its_shell_runs_only_what_the_policy_and_a_person_let_through(
    road: str, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(
        bash("mkdir allowed"),
        bash("rm -rf allowed"),
        bash("mkdir hidden && curl -s http://127.0.0.1:1/"),
        bash("touch approved"),
        bash("touch refused"),
        Use("Read", {"file_path": str(bench.config)}),
    )
    with bench.gateway() as gateway:
        token = key(bench, "hook")
        hook = {
            "http": http_hook(gateway),
            "command": command_hook(bench, "--url", gateway.url),
            "command-in-process": command_hook(bench, "--config", str(bench.config)),
        }[road]
        running = start(bench, model, hook, AIRLOCK_TOKEN=token)
        (question,) = bench.pending(while_runs=running)
        assert question["tool"] == "bash/touch"
        assert question["agent_id"] == "claude-code"
        assert question["args"]["command"] == "touch approved"
        assert bench.person("approve", question["code"]).code == 0
        (second,) = bench.pending(while_runs=running)
        assert bench.person("deny", second["code"], "--reason", "one file is enough").code == 0
        ended = running.end()
    assert ended.code == 0, ended
    assert made(bench) == ["allowed", "approved"]
    _, removed, fetched, approved, refused, read = model.results
    assert "airlock:" in removed
    assert "bash/rm" in removed
    assert "bash/curl" in fetched
    assert "error" not in approved.lower()
    assert "one file is enough" in refused
    assert "api_secret" in read  # the policy says that it may read: it did
    for one in (question, second):
        assert one["code"] not in model.everything
        assert one["id"] not in model.everything


def test_when_the_gateway_is_killed_in_between_the_command_does_not_run(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    with bench.gateway() as gateway:

        def after_the_end(_: Seen) -> Use:
            gateway.kill()
            return bash("mkdir too-late")

        model = play(bash("mkdir in-time"), after_the_end)
        running = start(
            bench, model, http_hook(gateway), "--allowedTools", "Bash", AIRLOCK_TOKEN=key(bench, "hook")
        )
        assert running.end().code == 0
    assert made(bench) == ["in-time"]
    assert "hook error" in model.results[1]


def test_when_the_gateway_is_killed_while_a_person_is_asked_the_command_does_not_run(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(bash("touch asked"))
    with bench.gateway() as gateway:
        running = start(
            bench, model, http_hook(gateway), "--allowedTools", "Bash", AIRLOCK_TOKEN=key(bench, "hook")
        )
        (question,) = bench.pending(while_runs=running)
        gateway.kill()
        assert running.end().code == 0
    assert bench.person("approve", question["code"]).code == 0  # a late yes, within its grace
    assert made(bench) == []
    assert "hook error" in model.results[0]


@pytest.mark.parametrize("trouble", ["no gateway", "no key", "a revoked key", "another agent", "no config"])
def test_a_hook_that_cannot_be_answered_is_a_no(
    trouble: str, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(bash("mkdir made"))
    with bench.gateway() as gateway:
        token = key(bench, "hook")
        hook: Any = http_hook(gateway)
        if trouble == "no gateway":
            hook = command_hook(bench, "--url", "http://127.0.0.1:1")
        elif trouble == "no key":
            token = ""
        elif trouble == "a revoked key":
            (row,) = json.loads(bench.person("keys", "list", "--json").out)
            assert bench.person("keys", "revoke", row["id"]).code == 0
        elif trouble == "another agent":
            hook = http_hook(gateway, "&agent=somebody")
        else:
            hook = command_hook(bench, "--config", str(bench.folder / "nowhere.yaml"))
        running = start(bench, model, hook, "--allowedTools", "Bash", AIRLOCK_TOKEN=token)
        assert running.end().code == 0
    assert made(bench) == []
    assert "airlock" in model.results[0].lower()


def test_a_deferred_call_ends_the_run_and_the_resumed_run_finds_the_answer(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(bash("touch later"))
    with bench.gateway() as gateway:
        token = key(bench, "hook")
        first = start(bench, model, http_hook(gateway, "&defer=1"), AIRLOCK_TOKEN=token).end().json()
        assert first["terminal_reason"] == "tool_deferred"
        assert first["deferred_tool_use"]["name"] == "Bash"
        (question,) = bench.pending()
        assert made(bench) == []
        assert bench.person("approve", question["code"]).code == 0
        running = start_claude(bench, model, "--resume", first["session_id"], AIRLOCK_TOKEN=token)
        second = running.end()
        assert second.code == 0, second
    assert made(bench) == ["later"]
    rows = bench.audit()
    assert {(row["tool"], row["hitl_outcome"]) for row in rows} == {("bash/touch", "approved")}
    assert len({row["request_id"] for row in rows}) == 1  # asked once


def test_one_call_of_airlocks_own_tools_is_asked_once_although_the_hook_sees_it_too(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace('ask: ["bash/touch"', 'ask: ["demo/write_note", "bash/touch"'))
    model = play(Use("mcp__airlock__demo__write_note", {"name": "a", "text": "b"}))
    with bench.gateway() as gateway:
        running = start(
            bench, model, http_hook(gateway), *claude_mcp(bench), AIRLOCK_TOKEN=key(bench, "hook")
        )
        (question,) = bench.pending(while_runs=running)
        assert question["tool"] == "demo/write_note"
        assert bench.person("approve", question["code"]).code == 0
        assert running.end().code == 0
    assert [row["tool"] for row in bench.audit()] == ["demo/write_note"]
