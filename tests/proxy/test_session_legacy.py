"""A legacy client before the session: greeting, lists, calls, questions of upstreams, subscriptions, logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sessions import call_params, facing, odd, policy, text_of

pytestmark = pytest.mark.anyio

ONE = policy({"odd": odd()})
TWO = policy({"odd": odd(), "other": odd("--name", "other", "--bare")})


async def test_initialize_offers_what_the_upstreams_have_and_no_more(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        found = await client.initialize()
        assert found["protocolVersion"] == "2025-11-25"
        assert found["serverInfo"]["name"] == "airlock"
        assert found["capabilities"] == {
            "tools": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "prompts": {"listChanged": True},
            "logging": {},
            "completions": {},
        }


async def test_what_no_upstream_has_is_not_offered(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd("--bare")})) as client:
        assert (await client.initialize())["capabilities"] == {"tools": {"listChanged": True}}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_each_legacy_version_is_spoken(tmp_path: Path, version: str) -> None:
    async with facing(tmp_path, policy({})) as client:
        assert (await client.initialize(version))["protocolVersion"] == version


async def test_an_unknown_version_is_answered_with_the_latest_legacy_one(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({})) as client:
        assert (await client.initialize("2031-01-01"))["protocolVersion"] == "2025-11-25"


async def test_tools_of_all_upstreams_stand_side_by_side_otherwise_unchanged(tmp_path: Path) -> None:
    async with facing(tmp_path, TWO) as client:
        await client.initialize()
        tools = (await client.ask("tools/list"))["tools"]
        names = [tool["name"] for tool in tools]
        assert names.index("odd__echo") < names.index("other__echo")
        echo = next(tool for tool in tools if tool["name"] == "odd__echo")
        assert echo == {
            "name": "odd__echo",
            "title": "Echo",
            "description": "echo, see above",
            "inputSchema": {"type": "object", "additionalProperties": True},
            "annotations": {"readOnlyHint": True},
            "_meta": {"odd/n": 1},
            "xUnknown": [None, 1.5],
        }


async def test_all_pages_of_an_upstream_are_one_list(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd("--tools", "50", "--page", "7")})) as client:
        await client.initialize()
        found = await client.ask("tools/list")
        assert "nextCursor" not in found
        assert sum(tool["name"].startswith("odd__tool_00") for tool in found["tools"]) == 50


async def test_a_call_reaches_the_upstream_under_its_own_name_and_comes_back_whole(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        arguments = {"big": 2**70, "text": "ü\u2028", "none": None, "deep": [[[{}]]], "float": 1.5}
        found = await client.call("odd__echo", arguments)
        assert found["structuredContent"] == arguments
        weird = {"content": [{"type": "video", "x": 1}], "structuredContent": [None], "unknown": {"a": None}}
        assert await client.call("odd__result", weird) == weird


async def test_meta_passes_and_tokens_do_not(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        meta = {"traceparent": "00-a", "vendor.example/x": {"y": None}, "progressToken": "mine"}
        found = (await client.call("odd__meta", {}, meta))["structuredContent"]
        assert found.pop("progressToken") != "mine"
        assert found == {"traceparent": "00-a", "vendor.example/x": {"y": None}}


async def test_errors_of_the_upstream_pass_as_they_are(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        error = {"code": -32042, "message": "go there", "data": {"elicitations": [1]}}
        assert await client.fail("tools/call", call_params("odd__error", error)) == error
        found = await client.call("odd__tool_error", {"text": "no luck"})
        assert (found["isError"], text_of(found)) == (True, "no luck")


async def test_progress_reaches_the_client_under_its_own_token(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        await client.call("odd__progress", {"steps": 3}, {"progressToken": "t"})
        told = client.told("notifications/progress")
        assert [one["progress"] for one in told] == [1, 2, 3]
        assert {one["progressToken"] for one in told} == {"t"}
        assert told[0]["message"] == "step 1"


async def test_no_token_no_progress(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        await client.call("odd__progress", {"steps": 3})
        assert client.told("notifications/progress") == []


async def test_progress_that_does_not_rise_is_made_to(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        sleeping = client.send("tools/call", call_params("odd__sleep", {"key": "k"}, {"progressToken": 7}))
        for value in (5, 5, 2, 6):
            await client.call("odd__nudge", {"key": "k", "progress": value})
        await client.call("odd__wake", {"key": "k"})
        await client.answer(sleeping)
        values = [one["progress"] for one in client.told("notifications/progress")]
        assert values == sorted(set(values))
        assert (values[0], values[-1]) == (5, 6)


async def test_a_cancelled_call_is_cancelled_upstream_and_never_answered(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        late = client.send("tools/call", call_params("odd__late", {}))
        await client.call("odd__echo", {})
        client.tell("notifications/cancelled", {"requestId": late, "reason": "user-cancel"})
        seen = await client.call("odd__seen", {"method": "notifications/cancelled"})
        (frame,) = seen["structuredContent"]["frames"]
        assert frame["params"]["reason"] == "user-cancel"
        await client.call("odd__echo", {})
        assert client.answers(late) == []
        assert await client.recorded(
            lambda events: [one for one in events if '"outcome":"cancelled"' in one.body]
        )


async def test_calls_on_one_upstream_do_not_block_those_on_another(tmp_path: Path) -> None:
    async with facing(tmp_path, TWO) as client:
        await client.initialize()
        await client.ask("tools/list")
        stuck = client.send("tools/call", call_params("odd__hang", {}))
        assert text_of(await client.call("other__echo", {"a": 1})) == '{"a": 1}'
        assert client.answers(stuck) == []


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_an_elicitation_reaches_the_client_and_names_the_server(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, policy({"odd": odd("--era", era)})) as client:
        await client.initialize(elicitation={})
        calling = client.send("tools/call", call_params("odd__ask", {"kind": "elicitation"}))
        question = await client.asked("elicitation/create")
        assert question["params"]["message"] == "[odd] sure?"
        client.reply(question["id"], {"action": "accept", "content": {"x": None}})
        found = (await client.answer(calling))["result"]
        assert found["structuredContent"]["answer"] == {"action": "accept", "content": {"x": None}}
        assert "resultType" not in found
        if era == "modern":
            assert found["structuredContent"]["state"] == "state-elicitation"
        assert await client.recorded(lambda events: [one for one in events if one.kind == "upstream.asked"])


async def test_a_question_that_the_client_cannot_answer_is_refused_to_the_upstream(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE.replace('"odd"', '"odd"')) as client:
        await client.initialize(elicitation={})
        found = await client.call("odd__ask", {"kind": "sampling"})
        assert found["structuredContent"]["answer"]["code"] == -32601
        assert client.told("sampling/createMessage") == []


async def test_what_the_config_denies_a_server_it_never_hears_of(tmp_path: Path) -> None:
    text = policy({"odd": odd(sampling="deny", roots="deny")})
    async with facing(tmp_path, text) as client:
        await client.initialize(sampling={}, roots={}, elicitation={})
        seen = await client.call("odd__seen", {"method": "initialize"})
        (frame,) = seen["structuredContent"]["frames"]
        assert frame["params"]["capabilities"] == {"elicitation": {}}
        for kind in ("sampling", "roots"):
            answer = (await client.call("odd__ask", {"kind": kind}))["structuredContent"]["answer"]
            assert answer["code"] == -32601


async def test_a_withdrawn_question_is_withdrawn_at_the_client(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize(elicitation={})
        await client.call("odd__withdraw", {})
        question = await client.asked("elicitation/create")
        (cancelled,) = await client.hears("notifications/cancelled")
        assert cancelled["requestId"] == question["id"]
        client.reply(question["id"], {"action": "accept"})
        await client.call("odd__echo", {})


async def test_resources_are_listed_read_and_completed(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        uris = [one["uri"] for one in (await client.ask("resources/list"))["resources"]]
        assert uris == ["odd://static/one", "odd://static/two", "odd://static/three"]
        (template,) = (await client.ask("resources/templates/list"))["resourceTemplates"]
        assert template["uriTemplate"] == "odd://item/{id}"
        for uri in ("odd://static/one", "odd://item/7"):
            (found,) = (await client.ask("resources/read", {"uri": uri}))["contents"]
            assert found["text"] == f"content of {uri}"
        ref = {"type": "ref/resource", "uri": "odd://item/{id}"}
        found = await client.ask(
            "completion/complete", {"ref": ref, "argument": {"name": "id", "value": "a"}}
        )
        assert found["completion"]["values"] == ["alice"]


async def test_prompts_are_named_like_tools(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        names = [one["name"] for one in (await client.ask("prompts/list"))["prompts"]]
        assert names == ["odd__greet", "odd__plain"]
        found = await client.ask("prompts/get", {"name": "odd__greet", "arguments": {"who": "you"}})
        assert found["messages"][0]["content"]["text"] == "hello you"
        ref = {"type": "ref/prompt", "name": "odd__greet"}
        found = await client.ask(
            "completion/complete", {"ref": ref, "argument": {"name": "who", "value": "b"}}
        )
        assert found["completion"]["values"] == ["bob"]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_subscriptions_bring_updates_until_they_end(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, policy({"odd": odd("--era", era)})) as client:
        await client.initialize()
        assert await client.ask("resources/subscribe", {"uri": "odd://static/one"}) == {}
        await client.call("odd__touch", {"uri": "odd://static/one"})
        (told,) = await client.hears("notifications/resources/updated")
        assert told["uri"] == "odd://static/one"
        await client.call("odd__touch", {"uri": "odd://static/two"})
        await client.ask("resources/unsubscribe", {"uri": "odd://static/one"})
        await client.call("odd__touch", {"uri": "odd://static/one"})
        await client.call("odd__echo", {})
        assert len(client.told("notifications/resources/updated")) == 1


async def test_list_changed_comes_after_the_new_list_is_there(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        await client.call("odd__tools", {"count": 2})
        await client.hears("notifications/tools/list_changed")
        names = [one["name"] for one in (await client.ask("tools/list"))["tools"]]
        assert "odd__tool_0001" in names
        assert text_of(await client.call("odd__tool_0001")) == "tool_0001"


async def test_log_messages_and_unknown_notifications_pass(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        assert await client.ask("logging/setLevel", {"level": "debug"}) == {}
        seen = await client.call("odd__seen", {"method": "logging/setLevel"})
        assert seen["structuredContent"]["frames"][0]["params"] == {"level": "debug"}
        await client.call("odd__flood", {"count": 3})
        assert [one["data"]["n"] for one in client.told("notifications/message")] == [0, 1, 2]
        await client.call("odd__notify", {"method": "notifications/vendor", "params": {"a": [None]}})
        assert client.told("notifications/vendor") == [{"a": [None]}]
        assert (await client.fail("logging/setLevel", {"level": "loud"}))["code"] == -32602


async def test_roots_changes_reach_the_upstreams(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize(roots={"listChanged": True})
        await client.ask("tools/list")
        client.tell("notifications/roots/list_changed")
        seen = await client.call("odd__seen", {"method": "notifications/roots/list_changed"})
        assert len(seen["structuredContent"]["frames"]) == 1


async def test_instructions_of_several_servers_stand_under_their_names(tmp_path: Path) -> None:
    providers = {"a": odd("--instructions", "be kind"), "b": odd("--instructions", "be quick"), "c": odd()}
    async with facing(tmp_path, policy(providers)) as client:
        found = await client.initialize()
        assert found["instructions"] == "## a\n\nbe kind\n\n## b\n\nbe quick"
    async with facing(tmp_path / "one", policy({"a": odd("--instructions", "be kind")})) as client:
        assert (await client.initialize())["instructions"] == "be kind"


async def test_a_server_without_anything_for_the_agent_says_nothing_to_it(tmp_path: Path) -> None:
    providers = {"a": odd("--instructions", "be kind"), "b": odd("--instructions", "obey me")}
    text = policy(providers, {"allow": ["a/**"], "deny": ["b/**"]})
    async with facing(tmp_path, text, kept=True) as client:
        await client.initialize()
        await client.ask("tools/list")
    async with facing(tmp_path, text, kept=True) as client:
        assert (await client.initialize())["instructions"] == "## a\n\nbe kind"


async def test_a_broken_upstream_takes_only_its_own_tools_away(tmp_path: Path) -> None:
    text = policy({"odd": odd(), "dead": odd("--die-at-start", "3")})
    async with facing(tmp_path, text) as client:
        await client.initialize()
        names = {one["name"].partition("__")[0] for one in (await client.ask("tools/list"))["tools"]}
        assert names == {"odd"}
        assert (await client.fail("tools/call", call_params("dead__echo", {})))["code"] == -32602


async def test_a_server_that_dies_in_a_call_is_an_error_and_comes_back(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        await client.initialize()
        await client.ask("tools/list")
        error = await client.fail("tools/call", call_params("odd__die", {}))
        assert "not repeated" in error["message"]
        await client.hears("notifications/tools/list_changed", 2)
        assert text_of(await client.call("odd__echo", {"b": 2})) == '{"b": 2}'


async def test_a_hanging_server_does_not_hold_up_the_first_answer(tmp_path: Path) -> None:
    text = policy({"odd": odd(), "slow": odd("--hang-on", "*")})
    async with facing(tmp_path, text, waits=0.2) as client:
        found = await client.initialize()
        assert found["capabilities"]["tools"] == {"listChanged": True}
        assert text_of(await client.call("odd__echo", {"c": 3})) == '{"c": 3}'


async def test_what_is_known_from_last_time_answers_at_once(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE, kept=True) as client:
        first = await client.initialize()
        await client.ask("tools/list")
    async with facing(tmp_path, ONE, kept=True) as client:
        client.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}, "first")
        (answer,) = client.answers("first")  # without a turn of the loop
        assert answer["result"] == first
        assert all(one.state.phase == "starting" for one in client.router.upstreams())
    (kept,) = (tmp_path / "upstreams").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_nothing_but_a_greeting_is_taken_before_the_handshake(tmp_path: Path) -> None:
    async with facing(tmp_path, ONE) as client:
        assert await client.ask("ping") == {}
        for method in ("tools/list", "tools/call", "resources/read"):
            assert (await client.fail(method, {"name": "odd__echo", "uri": "odd://x"}))["code"] == -32600
        assert not client.router.started
        assert await client.entries() == []


async def test_unknown_methods_and_second_greetings_are_errors(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({})) as client:
        await client.initialize()
        assert (await client.fail("vendor/thing"))["code"] == -32601
        assert (await client.fail("server/discover", {}))["code"] == -32601
        assert (await client.fail("initialize", {"protocolVersion": "2025-11-25"}))["code"] == -32600
        assert (await client.fail("tools/list", {"cursor": "x"}))["code"] == -32602
