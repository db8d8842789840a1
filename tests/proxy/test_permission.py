"""The tool that Claude Code asks in its user's place, called by hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from airlock import runtime
from airlock.loader.file import load
from airlock.model import Resolution
from support.processes import SECONDS, Process, stdio

pytestmark = pytest.mark.anyio

YES = Resolution(approve=True, identity="local:alice")
LISTS = {"allow": ["bash/ls", "demo/echo"], "ask": ["bash/touch"], "permission_tool": True}
ODD_ARGUMENTS: list[Any] = [
    {},
    {"tool_name": "Bash"},
    {"tool_name": 7, "input": {}},
    {"tool_name": "", "input": {"command": "ls"}},
    {"tool_name": "Bash", "input": ["ls"]},
    {"tool_name": "Bash", "input": {"command": 7}},
    {"tool_name": "Nothing", "input": {}},
    {"tool_name": "mcp__other__tool", "input": {}},
    {"tool_name": "Bash", "input": {"command": "ls; curl https://example.com"}},
]


def written(folder: Path, **more: Any) -> Path:
    path = folder / "airlock.yaml"
    whole = {
        "database": "sqlite:///a.db",
        "providers": {},
        "agents": {"tester": {**LISTS, **more}},
    }
    path.write_text(json.dumps(whole))
    return path


async def asked(client: Process, arguments: Any) -> dict[str, Any]:
    result = await client.call("permission_prompt", arguments)
    assert not result.get("isError")
    (block,) = result["content"]
    answer: dict[str, Any] = json.loads(block["text"])
    return answer


async def test_it_is_listed_and_answers_as_claude_code_reads_it(tmp_path: Path) -> None:
    async with stdio(written(tmp_path)) as client:
        assert "tools" in (await client.initialize())["capabilities"]
        assert [tool["name"] for tool in (await client.ask("tools/list"))["tools"]] == ["permission_prompt"]
        given = {"command": "ls -l", "description": "look", "n": 1.50}
        answer = await asked(client, {"tool_name": "Bash", "input": given, "tool_use_id": "t1"})
        assert answer == {"behavior": "allow", "updatedInput": given}
        ours = await asked(client, {"tool_name": "mcp__airlock__demo__echo", "input": {"text": "x"}})
        assert ours["behavior"] == "allow"  # it will be asked about when it arrives


@pytest.mark.parametrize("arguments", ODD_ARGUMENTS, ids=range(len(ODD_ARGUMENTS)))
async def test_whatever_is_not_plainly_allowed_is_a_well_formed_no(arguments: Any, tmp_path: Path) -> None:
    async with stdio(written(tmp_path)) as client:
        await client.initialize()
        answer = await asked(client, arguments)
        assert answer["behavior"] == "deny"
        assert answer["message"].startswith("airlock:")
        assert set(answer) == {"behavior", "message"}


async def test_a_person_is_asked_and_sees_the_code_that_the_answer_does_not_hold(tmp_path: Path) -> None:
    config = written(tmp_path)
    async with stdio(config) as client:
        await client.initialize("claude-code")
        params = {
            "name": "permission_prompt",
            "arguments": {"tool_name": "Bash", "input": {"command": "touch here"}},
            "_meta": {"progressToken": "p"},
        }
        call = client.send("tools/call", params)
        progress = await client.hears("notifications/progress")
        async with runtime.opened(load(config), road="cli") as elsewhere, asyncio.timeout(SECONDS):
            (question,) = await elsewhere.gate.pending()
            assert question.tool == "bash/touch"
            assert question.origin.client == "claude-code"
            assert question.code in progress["params"]["message"]
            await elsewhere.gate.resolve(question.code, YES)
        answer = await client.answer(call)
        assert json.loads(answer["result"]["content"][0]["text"])["behavior"] == "allow"
        assert question.code not in json.dumps(answer)


async def test_an_agent_without_the_key_has_no_such_tool(tmp_path: Path) -> None:
    async with stdio(written(tmp_path, permission_tool=False)) as client:
        await client.initialize()
        assert (await client.ask("tools/list"))["tools"] == []
        params = {"name": "permission_prompt", "arguments": {"tool_name": "Bash", "input": {}}}
        assert (await client.answer(client.send("tools/call", params)))["error"]["code"] == -32602
