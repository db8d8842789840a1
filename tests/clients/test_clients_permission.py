"""`--permission-prompt-tool` of the real Claude Code, served by Airlock: headless runs get the queue for all
tools, without hooks and without a gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.coding_agents import Bench, Running, claude_mcp, start_claude
from support.model_stand_in import Model, Use

pytestmark = pytest.mark.real

CONFIG = """
database: sqlite:///airlock.db
providers: {demo: {type: builtin}}
agents:
  claude-code:
    permission_tool: true
    allow: ["demo/echo", "bash/mkdir"]
    ask: ["bash/touch", "demo/write_note"]
"""
TOOL = "mcp__airlock__permission_prompt"


def start(bench: Bench, model: Model) -> Running:
    switches = [one for one in claude_mcp(bench) if one not in {"--allowedTools", "mcp__airlock"}]
    return start_claude(bench, model, *switches, "--permission-prompt-tool", TOOL)


def bash(command: str) -> Use:
    return Use("Bash", {"command": command, "description": "a step"})


def test_every_tool_of_a_headless_run_is_decided_by_the_permission_tool(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(bash("mkdir made"), bash("rm -rf made"), bash("touch asked"), bash("touch asked-too"))
    running = start(bench, model)
    (first,) = bench.pending(while_runs=running)
    assert first["tool"] == "bash/touch"
    assert first["args"]["command"] == "touch asked"
    assert bench.person("approve", first["code"]).code == 0
    second = bench.pending(while_runs=running)[0]
    assert bench.person("deny", second["code"], "--reason", "one is enough").code == 0
    ended = running.end()
    assert ended.code == 0, ended
    assert sorted(path.name for path in bench.project.iterdir()) == ["asked", "made"]
    assert "airlock:" in model.results[1]  # rm: nothing allows it
    assert "one is enough" in model.results[3]
    denials = [one["tool_input"]["command"] for one in ended.json()["permission_denials"]]
    assert denials == ["rm -rf made", "touch asked-too"]
    for question in (first, second):
        assert question["code"] not in model.everything
    assert TOOL not in model.last.tools  # Claude Code keeps it from the model


def test_a_tool_of_airlocks_own_is_asked_about_once_where_it_arrives(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG)
    model = play(
        Use("mcp__airlock__demo__echo", {"text": "by itself"}),
        Use("mcp__airlock__demo__write_note", {"name": "a", "text": "b"}),
    )
    running = start(bench, model)
    (question,) = bench.pending(while_runs=running)
    assert question["tool"] == "demo/write_note"
    assert bench.person("approve", question["code"]).code == 0
    assert running.end().code == 0
    assert "by itself" in model.results[0]
    tools = [row["tool"] for row in bench.audit()]
    assert sorted(tools) == ["demo/echo", "demo/write_note"]


def test_without_the_key_there_is_no_such_tool_and_nothing_runs(
    place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("permission_tool: true", "permission_tool: false"))
    model = play(bash("mkdir made"))
    start(bench, model).end()
    assert list(bench.project.iterdir()) == []
