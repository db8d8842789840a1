"""A modern client (2026-07-28) before the session: envelope, discover, results, rounds, listening."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.sessions import PREFIX, call_params, facing, odd, policy, text_of

pytestmark = pytest.mark.anyio

ERAS = ["legacy", "modern"]


def one(era: str = "both") -> str:
    return policy({"odd": odd("--era", era)})


@pytest.mark.parametrize("era", ERAS)
async def test_discover_says_what_the_upstreams_have(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        found = await client.discover()
        assert found["resultType"] == "complete"
        assert found["supportedVersions"] == ["2026-07-28"]
        assert found["capabilities"]["resources"] == {"listChanged": True, "subscribe": True}
        assert "experimental" not in found["capabilities"]
        assert found["_meta"][PREFIX + "serverInfo"]["name"] == "airlock"
        assert (found["ttlMs"], found["cacheScope"]) == (0, "private")


async def test_a_client_may_start_without_discover(tmp_path: Path) -> None:
    async with facing(tmp_path, one()) as client:
        client.meta = {PREFIX + "protocolVersion": "2026-07-28", PREFIX + "clientCapabilities": {}}
        assert text_of(await client.call("odd__echo", {"a": 1})) == '{"a": 1}'


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({}, -32602),
        ({PREFIX + "protocolVersion": "2026-07-28"}, -32602),
        ({PREFIX + "protocolVersion": 7, PREFIX + "clientCapabilities": {}}, -32602),
        ({PREFIX + "protocolVersion": "2030-01-01", PREFIX + "clientCapabilities": {}}, -32022),
        ({PREFIX + "protocolVersion": "2026-07-28", PREFIX + "clientCapabilities": []}, -32602),
    ],
)
async def test_every_request_needs_a_right_envelope(tmp_path: Path, meta: dict, code: int) -> None:
    async with facing(tmp_path, one()) as client:
        await client.discover()
        client.meta = None
        error = await client.fail("tools/list", {"_meta": meta})
        assert error["code"] == code
        if code == -32022:
            assert error["data"] == {"supported": ["2026-07-28"], "requested": "2030-01-01"}


async def test_a_refused_envelope_does_not_settle_the_era(tmp_path: Path) -> None:
    async with facing(tmp_path, one()) as client:
        meta = {PREFIX + "protocolVersion": "2030-01-01", PREFIX + "clientCapabilities": {}}
        assert (await client.fail("server/discover", {"_meta": meta}))["code"] == -32022
        assert (await client.initialize())["protocolVersion"] == "2025-11-25"


async def test_a_client_that_only_discovered_may_still_initialize(tmp_path: Path) -> None:
    async with facing(tmp_path, one()) as client:
        await client.discover()
        client.meta = None
        assert (await client.initialize())["protocolVersion"] == "2025-11-25"
        assert "resultType" not in await client.ask("tools/list")


async def test_after_the_first_request_the_era_stays(tmp_path: Path) -> None:
    async with facing(tmp_path, one()) as client:
        await client.discover()
        await client.ask("tools/list")
        client.meta, meta = None, client.meta
        assert (await client.fail("initialize", {"protocolVersion": "2025-11-25"}))["code"] == -32022
        client.meta = meta
        for method in ("ping", "logging/setLevel", "resources/subscribe", "initialize"):
            assert (await client.fail(method))["code"] in {-32601, -32022}
    async with facing(tmp_path / "b", one()) as client:
        await client.initialize()
        error = await client.fail("tools/list", {"_meta": meta})
        assert (error["code"], error["data"]["requested"]) == (-32022, "2026-07-28")


@pytest.mark.parametrize("era", ERAS)
async def test_results_carry_what_the_era_wants(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover()
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            found = await client.ask(method)
            assert (found["resultType"], found["cacheScope"]) == ("complete", "private")
            assert found["ttlMs"] >= 0
        found = await client.ask("resources/read", {"uri": "odd://static/one"})
        assert (found["resultType"], found["ttlMs"], found["cacheScope"]) == ("complete", 0, "private")
        assert (await client.call("odd__echo", {}))["resultType"] == "complete"
        found = await client.ask("prompts/get", {"name": "odd__plain"})
        assert found["resultType"] == "complete"


@pytest.mark.parametrize("era", ERAS)
async def test_the_envelope_stays_here_and_other_meta_passes(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover()
        found = (await client.call("odd__meta", {}, {"traceparent": "00-a"}))["structuredContent"]
        assert found["traceparent"] == "00-a"
        ours = {key for key in found if key.startswith(PREFIX)}
        assert bool(ours) == (era == "modern")


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_needs_input_is_asked_and_goes_on(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover(elicitation={"form": {}})
        params = call_params("odd__ask", {"kind": "elicitation"})
        first = await client.ask("tools/call", params)
        assert first["resultType"] == "input_required"
        assert "state-elicitation" not in str(first)
        ((key, question),) = first["inputRequests"].items()
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "[odd] sure?"
        again = {
            **params,
            "requestState": first["requestState"],
            "inputResponses": {key: {"action": "accept", "content": {}}},
        }
        found = await client.ask("tools/call", again)
        assert found["structuredContent"]["answer"] == {"action": "accept", "content": {}}
        assert found["resultType"] == "complete"
        await client.recorded(lambda events: [one for one in events if one.kind == "call.completed"])
        kinds = [event.kind for event in await client.entries()]
        assert (kinds.count("call.allowed"), kinds.count("call.completed")) == (1, 1)


@pytest.mark.parametrize("era", ERAS)
async def test_a_request_state_is_good_once_and_for_the_same_request_only(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover(elicitation={"form": {}})
        params = call_params("odd__ask", {"kind": "elicitation"})
        state = (await client.ask("tools/call", params))["requestState"]
        other = call_params("odd__ask", {"kind": "elicitation", "more": 1})
        error = await client.fail("tools/call", {**other, "requestState": state, "inputResponses": {}})
        assert (error["code"], "another request" in error["message"]) == (-32602, True)
        for wrong in (state, "state-elicitation", "", 7, None):
            error = await client.fail("tools/call", {**params, "requestState": wrong, "inputResponses": {}})
            assert error["code"] == -32602
        assert await client.recorded(
            lambda events: [one for one in events if '"outcome":"cancelled"' in one.body]
        )


@pytest.mark.parametrize("era", ERAS)
async def test_answers_without_a_state_are_a_call_of_their_own(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover(elicitation={"form": {}})
        params = {**call_params("odd__echo", {"a": 1}), "inputResponses": {"question": {"action": "accept"}}}
        assert (await client.ask("tools/call", params))["structuredContent"] == {"a": 1}
        sent = (await client.call("odd__seen", {"method": "tools/call"}))["structuredContent"]["frames"][0]
        assert ("inputResponses" in sent["params"]) == (era == "modern")
        kinds = [event.kind for event in await client.entries()]
        assert kinds.count("call.allowed") == 2


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_is_asked_nothing_it_did_not_declare(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover()
        found = await client.answer(
            client.send("tools/call", call_params("odd__ask", {"kind": "elicitation"}))
        )
        if era == "legacy":
            assert found["result"]["structuredContent"]["answer"]["code"] == -32601
        else:
            assert "error" in found


async def test_a_legacy_server_cannot_pretend_to_need_input(tmp_path: Path) -> None:
    async with facing(tmp_path, one("legacy")) as client:
        await client.discover(elicitation={})
        fake = {"resultType": "input_required", "requestState": "x", "content": []}
        assert await client.call("odd__result", fake) == {**fake, "resultType": "complete"}


async def test_a_result_type_that_was_not_agreed_on_is_an_error(tmp_path: Path) -> None:
    async with facing(tmp_path, one("modern")) as client:
        await client.discover()
        task = {"resultType": "task", "taskId": "t", "status": "working"}
        error = await client.fail("tools/call", call_params("odd__result", task))
        assert "task" in error["message"]


@pytest.mark.parametrize("era", ERAS)
async def test_listening_brings_changes_marked_with_its_id(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover()
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["odd://static/one", "nowhere://x"]}
        listening = client.send("subscriptions/listen", {"notifications": wanted}, "ear")
        (ack,) = await client.hears("notifications/subscriptions/acknowledged")
        assert ack["_meta"] == {PREFIX + "subscriptionId": "ear"}
        assert ack["notifications"]["toolsListChanged"] is True
        assert "odd://static/one" in ack["notifications"]["resourceSubscriptions"]
        await client.call("odd__touch", {"uri": "odd://static/one"})
        (told,) = await client.hears("notifications/resources/updated")
        assert (told["uri"], told["_meta"][PREFIX + "subscriptionId"]) == ("odd://static/one", "ear")
        await client.call("odd__tools", {"count": 1})
        (told,) = await client.hears("notifications/tools/list_changed")
        assert told["_meta"][PREFIX + "subscriptionId"] == "ear"
        client.tell("notifications/cancelled", {"requestId": listening})
        await client.call("odd__touch", {"uri": "odd://static/one"})
        await client.call("odd__tools", {"count": 2})
        await client.call("odd__echo", {})
        assert len(client.told("notifications/resources/updated")) == 1
        assert client.answers("ear") == []


async def test_a_session_that_closes_ends_its_listening(tmp_path: Path) -> None:
    async with facing(tmp_path, one()) as client:
        await client.discover()
        client.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "ear")
        await client.hears("notifications/subscriptions/acknowledged")
    (answer,) = client.answers("ear")
    assert answer["result"]["_meta"] == {PREFIX + "subscriptionId": "ear"}


@pytest.mark.parametrize("era", ERAS)
async def test_log_messages_come_only_for_requests_that_want_them(tmp_path: Path, era: str) -> None:
    async with facing(tmp_path, one(era)) as client:
        await client.discover()
        await client.call("odd__flood", {"count": 2})
        assert client.told("notifications/message") == []
        await client.call("odd__flood", {"count": 2}, {PREFIX + "logLevel": "info"})
        assert len(client.told("notifications/message")) == 2
        await client.call("odd__flood", {"count": 2}, {PREFIX + "logLevel": "error"})
        assert len(client.told("notifications/message")) == 2


async def test_errors_speak_the_codes_of_the_era(tmp_path: Path) -> None:
    async with facing(tmp_path, one("legacy")) as client:
        await client.discover()
        await client.ask("resources/list")
        assert (await client.fail("resources/read", {"uri": "elsewhere://x"}))["code"] == -32602
    async with facing(tmp_path / "b", one("legacy")) as client:
        await client.initialize()
        await client.ask("resources/list")
        assert (await client.fail("resources/read", {"uri": "elsewhere://x"}))["code"] == -32002


async def test_two_questions_in_one_call_of_a_legacy_server_come_one_after_the_other(tmp_path: Path) -> None:
    async with facing(tmp_path, one("legacy")) as client:
        await client.discover(elicitation={"form": {}})
        asking = [
            {"jsonrpc": "2.0", "id": word, "method": "elicitation/create", "params": {"message": word}}
            for word in ("this?", "that?")
        ]
        params = call_params("odd__raw", {"line": "\n".join(map(json.dumps, asking))})
        found = await client.ask("tools/call", params)
        for word in ("[odd] this?", "[odd] that?"):
            assert found["inputRequests"]["question"]["params"]["message"] == word
            answers = {"question": {"action": "accept", "content": {"to": word}}}
            again = {**params, "requestState": found["requestState"], "inputResponses": answers}
            found = await client.ask("tools/call", again)
        assert text_of(found) == "done"
        seen = (await client.call("odd__seen", {}))["structuredContent"]["frames"]
        replies = {frame["id"]: frame["result"]["content"]["to"] for frame in seen if "result" in frame}
        assert replies == {"this?": "[odd] this?", "that?": "[odd] that?"}


async def test_a_question_nobody_comes_back_for_ends_with_the_session(tmp_path: Path) -> None:
    async with facing(tmp_path, one("legacy")) as client:
        await client.discover(elicitation={"form": {}})
        found = await client.ask("tools/call", call_params("odd__ask", {"kind": "elicitation"}))
        assert found["resultType"] == "input_required"
        await client.session.close()
        events = await client.entries()
    assert any('"outcome":"cancelled"' in event.body for event in events)
