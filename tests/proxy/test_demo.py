"""The demo server: what it lists fits what it does, in both eras, in process and over stdio."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from airlock.config import ProviderConfig
from airlock.demo.server import DemoServer
from airlock.demo.tools import TOOLS, Desk
from airlock.proxy.link import Facing
from support.upstreams import LEGACY, MODERN, call, request, running

pytestmark = pytest.mark.anyio

EITHER = pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])
BUILTIN = ProviderConfig(name="demo", type="builtin")
PROCESS = ProviderConfig(name="demo", type="stdio", command=sys.executable, args=("-m", "airlock.demo"))

STORY: list[tuple[str, dict[str, Any]]] = [
    ("echo", {"text": "{x} hello"}),
    ("list_notes", {}),
    ("write_note", {"name": "plan", "text": "rest"}),
    ("read_note", {"name": "plan"}),
    ("delete_note", {"name": "plan"}),
    ("send_email", {"to": "a@example.com", "subject": "s", "body": "b"}),
    ("transfer", {"to": "bob", "amount": 12.5}),
]


@EITHER
@pytest.mark.parametrize("provider", [BUILTIN, PROCESS], ids=["builtin", "stdio"])
async def test_every_tool_does_what_its_schemas_say(provider: ProviderConfig, facing: Facing) -> None:
    async with running(provider, facing) as (upstream, _):
        assert upstream.state.era == facing.era
        assert upstream.state.server_info["name"] == "airlock-demo"
        assert "notes" in upstream.state.instructions
        listed = (await request(upstream, "tools/list"))["result"]["tools"]
        tools = {tool["name"]: tool for tool in listed}
        assert set(tools) == {name for name, _ in STORY}
        for name, arguments in STORY:
            jsonschema.validate(arguments, tools[name]["inputSchema"])
            result = await call(upstream, name, **arguments)
            assert "isError" not in result, result
            jsonschema.validate(result["structuredContent"], tools[name]["outputSchema"])
            assert result["content"][0]["text"]


def test_hints_tell_reading_from_destroying() -> None:
    hints = {tool.name: tool.listing()["annotations"] for tool in TOOLS}
    assert {name for name, hint in hints.items() if hint["readOnlyHint"]} == {
        "echo",
        "list_notes",
        "read_note",
    }
    destroying = {name for name, hint in hints.items() if hint["destructiveHint"]}
    assert destroying == {"write_note", "delete_note", "transfer"}


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("read_note", {"name": "none"}, "there is no note `none`"),
        ("delete_note", {"name": "none"}, "there is no note"),
        ("echo", {}, "missing argument: `text`"),
        ("echo", {"text": 1}, "`text` must be a string"),
        ("echo", {"text": "a", "more": 1}, "unknown argument: `more`"),
        ("transfer", {"to": "bob", "amount": True}, "`amount` must be a number"),
        ("transfer", {"to": "bob", "amount": -1}, "more than 0"),
        ("transfer", {"to": "bob", "amount": 10_000}, "the balance is only 1000"),
    ],
)
def test_what_goes_wrong_is_a_result_the_model_can_read(
    tool: str, arguments: dict[str, Any], says: str
) -> None:
    result = ask(DemoServer(), "tools/call", {"name": tool, "arguments": arguments})["result"]
    assert result["isError"] is True
    assert says in result["content"][0]["text"]


def ask(server: DemoServer, method: str, params: Any = None) -> dict[str, Any]:
    frame = {"jsonrpc": "2.0", "id": 1, "method": method}
    [answer] = server.handle(frame if params is None else {**frame, "params": params})
    return answer


def test_mail_is_only_recorded_and_money_only_counted() -> None:
    server = DemoServer(Desk())
    mail = {"to": "a", "subject": "s", "body": "b"}
    ask(server, "tools/call", {"name": "send_email", "arguments": mail})
    ask(server, "tools/call", {"name": "transfer", "arguments": {"to": "bob", "amount": 100}})
    assert server.desk.sent == [mail]
    assert server.desk.balance == 900


def test_the_resource_and_the_prompt_show_the_notes() -> None:
    server = DemoServer()
    assert ask(server, "resources/list")["result"]["resources"][0]["uri"] == "demo://notes"
    assert (
        "welcome: " in ask(server, "resources/read", {"uri": "demo://notes"})["result"]["contents"][0]["text"]
    )
    assert ask(server, "resources/read", {"uri": "x"})["error"]["code"] == -32002
    assert ask(server, "prompts/list")["result"]["prompts"][0]["name"] == "summarize"
    got = ask(server, "prompts/get", {"name": "summarize", "arguments": {"name": "welcome"}})["result"]
    assert "Airlock asks" in got["messages"][0]["content"]["text"]
    assert ask(server, "prompts/get", {"name": "summarize"})["error"]["code"] == -32602


def test_what_it_does_not_know_is_an_error() -> None:
    server = DemoServer()
    assert ask(server, "no/such")["error"]["code"] == -32601
    assert ask(server, "tools/call", {"name": "none"})["error"]["code"] == -32602
    assert ask(server, "tools/call", {"name": "echo", "arguments": []})["error"]["code"] == -32602
    assert ask(server, "server/discover")["error"]["code"] == -32602
    old = {"_meta": {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}}
    assert ask(server, "tools/list", old)["error"]["code"] == -32022
    half = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    assert ask(server, "tools/list", half)["error"]["code"] == -32602
    assert server.handle({"jsonrpc": "2.0", "method": "notifications/initialized"}) == []


def test_modern_results_are_stamped_and_lists_carry_caching_hints() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    listed = ask(DemoServer(), "tools/list", {"_meta": meta})["result"]
    assert (listed["resultType"], listed["ttlMs"], listed["cacheScope"]) == ("complete", 0, "private")
    assert ask(DemoServer(), "ping", {"_meta": meta})["error"]["code"] == -32601


def test_lines_that_are_no_messages_are_passed_over() -> None:
    lines = b'rubbish\n[]\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "airlock.demo"], input=lines, capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert b"not valid JSON" in done.stderr
