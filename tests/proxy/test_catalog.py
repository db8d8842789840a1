"""What an agent sees: filtered by the policy, in a fixed order, and routed to the right server."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.loader.file import loads
from airlock.policy import compile_policy
from airlock.proxy.catalog import fits, fixed_pieces
from airlock.proxy.offers import MAX_PAGES
from support.sessions import Caller, Json, call_params, facing, odd, policy, text_of

pytestmark = pytest.mark.anyio


async def tool_names(client: Caller) -> list[str]:
    return [tool["name"] for tool in (await client.ask("tools/list"))["tools"]]


async def test_tools_that_are_always_denied_or_never_named_are_not_listed(tmp_path: Path) -> None:
    agent = {"allow": ["odd/echo", "odd/meta"], "ask": ["odd/raw"], "deny": ["odd/meta"]}
    rules = [
        {"id": "sometimes", "tool": "odd/huge", "args": {"bytes": {"lt": 5}}, "effect": "allow"},
        {"id": "now-and-then", "tool": "odd/echo", "args": {"x": 1}, "effect": "deny"},
    ]
    async with facing(tmp_path, policy({"odd": odd()}, agent, rules=rules)) as client:
        await client.initialize()
        assert await tool_names(client) == ["odd__echo", "odd__raw", "odd__huge"]


async def test_calling_what_is_not_listed_answers_like_an_unknown_tool(tmp_path: Path) -> None:
    async with facing(
        tmp_path, policy({"odd": odd()}, {"allow": ["odd/echo"], "deny": ["odd/die"]})
    ) as client:
        await client.initialize()
        await client.ask("tools/list")
        for name in ("odd__die", "odd__meta", "odd__nothing", "odd/echo", "nobody__echo", "echo", ""):
            error = await client.fail("tools/call", call_params(name, {"secret": "hunter2"}))
            assert error == {"code": -32602, "message": f"Unknown tool: {name}"}
        await client.recorded(lambda events: len(events) == 7)
        events = await client.entries()
        assert {event.kind for event in events} == {"call.denied"}
        assert "hunter2" not in "".join(event.body for event in events)
        assert await client.gate.pending() == []


async def test_an_unknown_tool_never_becomes_a_question(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd()}, {"ask": ["*/**"]})) as client:
        await client.initialize()
        assert (await client.fail("tools/call", call_params("odd__nothing")))["code"] == -32602
        assert await client.gate.pending() == []


async def test_a_new_policy_changes_the_list_and_says_so(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd()}, {"allow": ["odd/echo"]})) as client:
        await client.initialize()
        assert await tool_names(client) == ["odd__echo"]
        config = loads(policy({"odd": odd()}, {"allow": ["odd/meta"]}), tmp_path / "airlock.yaml")
        client.gate.adopt(compile_policy(config), config)
        client.session.policy_changed()
        await client.hears("notifications/tools/list_changed")
        assert await tool_names(client) == ["odd__meta"]
        assert (await client.fail("tools/call", call_params("odd__echo")))["code"] == -32602


async def test_resources_and_prompts_follow_their_own_patterns(tmp_path: Path) -> None:
    agent = {
        "allow": ["resource:odd/odd://static/*", "prompt:odd/plain"],
        "deny": ["resource:odd/odd://static/two"],
    }
    async with facing(tmp_path, policy({"odd": odd()}, agent)) as client:
        await client.initialize()
        uris = [one["uri"] for one in (await client.ask("resources/list"))["resources"]]
        assert uris == ["odd://static/one", "odd://static/three"]
        assert (await client.ask("resources/templates/list"))["resourceTemplates"] == []
        assert [one["name"] for one in (await client.ask("prompts/list"))["prompts"]] == ["odd__plain"]
        for method in ("resources/read", "resources/subscribe"):
            error = await client.fail(method, {"uri": "odd://static/two"})
            assert error["code"] == -32002
        error = await client.fail("resources/read", {"uri": "odd://static/../item/1"})
        assert error["code"] == -32002
        assert (await client.fail("prompts/get", {"name": "odd__greet"}))["code"] == -32602
        ref = {"type": "ref/prompt", "name": "odd__greet"}
        found = {"ref": ref, "argument": {"name": "who", "value": "a"}}
        assert (await client.fail("completion/complete", found))["code"] == -32602
        (contents,) = (await client.ask("resources/read", {"uri": "odd://static/one"}))["contents"]
        assert contents["text"] == "content of odd://static/one"
        seen = await client.gate.store.events()
        assert sum(event.kind == "call.denied" for event in seen) == 4


async def test_a_completion_of_what_a_person_must_allow_is_empty_and_reaches_nobody(tmp_path: Path) -> None:
    async with facing(
        tmp_path, policy({"odd": odd()}, {"ask": ["prompt:odd/*"], "allow": ["odd/seen"]})
    ) as client:
        await client.initialize()
        ref = {"type": "ref/prompt", "name": "odd__greet"}
        await client.ask("tools/list")
        found = await client.ask(
            "completion/complete", {"ref": ref, "argument": {"name": "who", "value": "a"}}
        )
        assert found["completion"]["values"] == []
        seen = await client.call("odd__seen", {"method": "completion/complete"})
        assert seen["structuredContent"]["frames"] == []
        assert await client.gate.pending() == []


@pytest.mark.parametrize("inside", ["ref", "argument"])
async def test_a_completion_that_names_two_things_in_other_letters_is_refused(
    tmp_path: Path, inside: str
) -> None:
    async with facing(
        tmp_path, policy({"odd": odd()}, {"allow": ["prompt:odd/plain", "odd/seen"]})
    ) as client:
        await client.initialize()
        await client.ask("tools/list")
        asked: Json = {
            "ref": {"type": "ref/prompt", "name": "odd__greet"},
            "argument": {"name": "who", "value": "a"},
        }
        asked[inside]["Name"] = "plain"
        assert "`Name`" in (await client.fail("completion/complete", asked))["message"]
        seen = await client.call("odd__seen", {"method": "completion/complete"})
        assert seen["structuredContent"]["frames"] == []


async def test_the_first_server_that_lists_a_uri_owns_it(tmp_path: Path) -> None:
    text = policy({"a": odd(), "b": odd()}, {"allow": ["*/seen", "resource:*/**"]})
    async with facing(tmp_path, text) as client:
        await client.initialize()
        uris = [one["uri"] for one in (await client.ask("resources/list"))["resources"]]
        assert len(uris) == len(set(uris)) == 3
        await client.ask("tools/list")
        await client.ask("resources/read", {"uri": "odd://static/one"})
        await client.ask("resources/read", {"uri": "odd://item/5"})
        for name, count in (("a", 2), ("b", 0)):
            seen = await client.call(f"{name}__seen", {"method": "resources/read"})
            assert len(seen["structuredContent"]["frames"]) == count


async def test_a_uri_that_the_policy_hides_at_one_server_is_the_next_ones(tmp_path: Path) -> None:
    text = policy({"a": odd(), "b": odd()}, {"allow": ["*/seen", "resource:b/**"]})
    async with facing(tmp_path, text) as client:
        await client.initialize()
        await client.ask("tools/list")
        await client.ask("resources/read", {"uri": "odd://static/one"})
        seen = await client.call("b__seen", {"method": "resources/read"})
        assert len(seen["structuredContent"]["frames"]) == 1


@pytest.mark.parametrize(
    ("template", "uri", "fit"),
    [
        ("odd://item/{id}", "odd://item/7", True),
        ("odd://item/{id}", "odd://thing/7", False),
        ("a://{x}/b/{y}.txt", "a://1/b/2.txt", True),
        ("a://{x}/b/{y}.txt", "a://1/c/2.txt", False),
        ("a://x", "a://x", True),
        ("a://x", "a://xy", False),
        ("aa{x}aa", "aaa", False),
        ("{+all}", "anything://at/all", True),
        ("a://{unclosed", "a://", True),
    ],
)
def test_templates_find_their_uris(template: str, uri: str, fit: bool) -> None:
    assert fits(fixed_pieces(template), uri) is fit


def test_a_hostile_template_is_matched_in_linear_time() -> None:
    pieces = fixed_pieces("{a}x" * 2_000)
    assert not fits(pieces, "y" * 8_000)
    assert fits(pieces, "x" * 2_001)


async def test_a_list_with_odd_items_keeps_the_good_ones(tmp_path: Path) -> None:
    server = tmp_path / "liar.py"
    server.write_text(LIAR)
    liar = {"type": "stdio", "command": odd()["command"], "args": [str(server)]}
    async with facing(tmp_path / "x", policy({"liar": liar})) as client:
        await client.initialize()
        tools = (await client.ask("tools/list"))["tools"]
        assert [(tool["name"], tool.get("description")) for tool in tools] == [
            ("liar__a", "first"),
            ("liar__b", None),
        ]
        problems = client.router.shelf("liar").offer.problems
        assert any("twice" in one for one in problems)
        assert any("without `name`" in one for one in problems)
        assert any("same cursor" in one for one in problems)


LIAR = """
import json, sys
ITEMS = [{"name": "a", "description": "first"}, {"name": "a", "description": "second"}, {"name": 7}, 1]
for line in sys.stdin:
    frame = json.loads(line)
    if "id" not in frame:
        continue
    method, params = frame["method"], frame.get("params") or {}
    reply = {"error": {"code": -32601, "message": "no"}}
    if method == "initialize":
        reply = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                            "serverInfo": {"name": "liar", "version": "1"}}}
    elif method == "tools/list":
        reply = {"result": {"tools": [{"name": "b"}] if params.get("cursor") else ITEMS, "nextCursor": "a"}}
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], **reply}), flush=True)
"""


async def test_ten_thousand_tools_are_listed(tmp_path: Path) -> None:
    assert MAX_PAGES >= 100
    async with facing(tmp_path, policy({"odd": odd("--tools", "10000", "--page", "1000")})) as client:
        await client.initialize()
        assert len(await tool_names(client)) > 10_000
        assert text_of(await client.call("odd__tool_9999")) == "tool_9999"
