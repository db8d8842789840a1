"""Calls through the gate: refused, parked, approved, given up; nothing runs without a yes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from airlock.model import Resolution, Status
from airlock.proxy.session.client import MAX_OPEN, above
from support.sessions import DECISION, SECONDS, Caller, Json, call_params, facing, odd, policy, text_of

pytestmark = pytest.mark.anyio

YES = Resolution(approve=True, identity="local:alice")
NO = Resolution(approve=False, identity="local:alice", note="not on a Friday")

AGENT = {
    "allow": ["odd/echo", "odd/seen", "odd/sleep", "odd/nudge", "odd/wake"],
    "ask": ["odd/raw", "odd/progress", "odd/ask", "odd/result", "resource:odd/**", "prompt:odd/*"],
    "deny": ["odd/die"],
}
RULES = [
    {
        "id": "no-secrets",
        "tool": "odd/echo",
        "args": {"path": {"under": "/etc"}},
        "effect": "deny",
        "reason": "keep out",
    },
    {"id": "boss", "tool": "odd/huge", "effect": "ask", "reason": "large things need a person"},
]


def asking(**more: Any) -> str:
    return policy({"odd": odd()}, AGENT, rules=RULES, **more)


async def reached(client: Caller, tool: str) -> int:
    """How many calls of a tool the server has seen."""
    seen = await client.call("odd__seen", {"method": "tools/call"})
    return sum(frame["params"]["name"] == tool for frame in seen["structuredContent"]["frames"])


async def park(client: Caller, arguments: Json, **meta: Any) -> tuple[Any, Any]:
    """A parked call of `odd/progress`: its id and its request."""
    count = len(await client.gate.pending())
    frame_id = client.send("tools/call", call_params("odd__progress", arguments, meta))
    return frame_id, (await client.pending(count + 1))[-1]


async def test_a_denied_call_never_reaches_the_upstream(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        found = await client.call("odd__echo", {"path": "/etc/passwd"})
        assert found["isError"] is True
        assert text_of(found) == "airlock: keep out (rule `no-secrets`)"
        assert found["_meta"][DECISION] == {"effect": "deny", "rule": "no-secrets"}
        assert await reached(client, "echo") == 0
        (event,) = [event for event in await client.entries() if event.kind == "call.denied"]
        assert event.tool == "odd/echo"


async def test_an_approved_call_runs_with_exactly_its_arguments(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        arguments = {"steps": 0, "big": 2**64 + 1, "text": "\u2028é", "none": None}
        frame_id, request = await park(client, arguments)
        assert await reached(client, "progress") == 0
        await client.gate.resolve(request.code, YES)
        assert text_of((await client.answer(frame_id))["result"]) == "done"
        seen = await client.call("odd__seen", {"method": "tools/call"})
        sent = [
            one["params"]
            for one in seen["structuredContent"]["frames"]
            if one["params"]["name"] == "progress"
        ]
        assert [one["arguments"] for one in sent] == [arguments]
        assert (await client.gate.request(request.id)).status is Status.USED


async def test_a_denial_tells_the_model_the_reason_but_never_the_code(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 0})
        await client.gate.resolve(request.code, NO)
        found = (await client.answer(frame_id))["result"]
        assert found["isError"] is True
        assert text_of(found).startswith("airlock: denied by a person: not on a Friday")
        assert found["_meta"][DECISION]["request_id"] == request.id
        assert request.code not in json.dumps(found)
        assert request.id not in text_of(found)
        assert await reached(client, "progress") == 0


async def test_a_parked_call_shows_the_person_the_code_at_once(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 2}, progressToken="t")
        (told,) = await client.hears("notifications/progress")
        code = request.code
        assert told["message"] == f"waiting for approval {code}: airlock approve {code}"
        assert told["progressToken"] == "t"
        await client.gate.resolve(code, YES)
        await client.answer(frame_id)
        values = [one["progress"] for one in client.told("notifications/progress")]
        assert values == sorted(set(values))
        assert values[-2:] == [1, 2]


async def test_without_a_token_a_parked_call_is_silent(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        await park(client, {"steps": 1})
        assert client.told("notifications/progress") == []


@pytest.mark.parametrize("value", [0, 1, 0.1, 10**18, 2**53, -5, 1e300, 2**80])
def test_there_is_always_a_number_above(value: float) -> None:
    assert above(value) > value


async def test_an_explicit_cancel_withdraws_the_question(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 0})
        client.tell("notifications/cancelled", {"requestId": frame_id, "reason": "user-cancel"})
        await client.recorded(lambda events: [one for one in events if one.kind == "request.cancelled"])
        assert (await client.gate.request(request.id)).status is Status.CANCELLED
        assert client.answers(frame_id) == []


@pytest.mark.parametrize("reason", ["Request timed out", "timeout", "Time out after 60 s"])
async def test_a_time_out_leaves_the_question_open_and_the_retry_finds_the_answer(
    tmp_path: Path, reason: str
) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 0})
        client.tell("notifications/cancelled", {"requestId": frame_id, "reason": reason})
        await client.recorded(lambda events: [one for one in events if one.kind == "request.left"])
        await client.gate.resolve(request.code, YES)
        assert await reached(client, "progress") == 0  # a yes runs nothing by itself
        assert text_of(await client.call("odd__progress", {"steps": 0})) == "done"
        assert await reached(client, "progress") == 1
        assert client.answers(frame_id) == []


async def test_a_yes_that_comes_with_the_cancel_runs_nothing(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 0})
        deciding = asyncio.create_task(client.gate.resolve(request.code, YES))
        client.tell("notifications/cancelled", {"requestId": frame_id})
        await asyncio.gather(deciding, return_exceptions=True)
        await client.recorded(lambda events: [one for one in events if one.kind.startswith("request.")][1:])
        assert await reached(client, "progress") == 0
        assert client.answers(frame_id) == []


async def test_a_session_that_ends_leaves_its_questions_to_their_grace(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        _, request = await park(client, {"steps": 0})
        await client.session.close()
        await client.recorded(lambda events: [one for one in events if one.kind == "request.left"])
        assert (await client.gate.request(request.id)).status is Status.PENDING
        await client.gate.resolve(request.code, YES)
        assert not any(event.kind == "request.used" for event in await client.entries())


@pytest.mark.parametrize("name", ["tester", "claude-code"])
async def test_patience_that_is_over_says_still_waiting_and_keeps_the_question(
    tmp_path: Path, name: str
) -> None:
    async with facing(tmp_path, asking(approvals={"patience": "1ms"})) as client:
        await client.initialize(name=name)
        found = await client.call("odd__progress", {"steps": 0})
        assert found["isError"] is True
        assert text_of(found).startswith("airlock: still waiting for a person")
        assert "call again with the same arguments" in text_of(found)
        (request,) = await client.gate.pending()
        assert found["_meta"][DECISION] == {"effect": "ask", "rule": request.rule, "request_id": request.id}
        await client.gate.resolve(request.code, YES)
        assert text_of(await client.call("odd__progress", {"steps": 0})) == "done"


@pytest.mark.parametrize(
    ("agent", "approvals", "name", "patience"),
    [
        ({}, {}, "tester", 50_000),
        ({}, {}, "claude-code", None),
        ({"wait": "hold"}, {"patience": "5s"}, "tester", None),
        ({"wait": "pending"}, {}, "claude-code", 0),
        ({"wait": "pending", "patience": "2s"}, {}, "tester", 2_000),
        ({"patience": "7s"}, {"patience": "5s"}, "claude-code", 7_000),
        ({}, {"patience": "5s"}, "claude-code", 5_000),
    ],
)
async def test_how_long_a_call_is_held(
    tmp_path: Path, agent: Json, approvals: Json, name: str, patience: int | None
) -> None:
    text = policy({}, {**AGENT, **agent}, approvals=approvals)
    async with facing(tmp_path, text) as client:
        await client.initialize(name=name)
        assert client.session._calls._patience() == patience


async def test_resources_and_prompts_wait_for_a_person_too(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        for method, params in (
            ("resources/read", {"uri": "odd://static/one"}),
            ("resources/subscribe", {"uri": "odd://static/two"}),
            ("prompts/get", {"name": "odd__greet", "arguments": {"who": "x"}}),
        ):
            frame_id = client.send(method, params)
            (request,) = await client.pending()
            await client.gate.resolve(request.code, YES)
            assert "result" in await client.answer(frame_id)
            frame_id = client.send(method, params)
            (request,) = await client.pending()
            await client.gate.resolve(request.code, NO)
            error = (await client.answer(frame_id))["error"]
            assert error["message"].startswith("airlock: denied by a person")
            assert (error["code"], error["data"][DECISION]["effect"]) == (403, "deny")


async def test_two_hundred_calls_wait_at_once_and_others_pass(tmp_path: Path) -> None:
    async with facing(tmp_path, asking(approvals={"max_pending": 300})) as client:
        await client.initialize()
        await client.ask("tools/list")
        ids = [
            client.send(
                "tools/call", call_params("odd__progress", {"steps": 0, "n": n}, {"progressToken": n})
            )
            for n in range(200)
        ]
        requests = await client.pending(200)
        assert text_of(await client.call("odd__echo", {"x": 1})) == '{"x": 1}'
        await client.hears("notifications/progress", 200)
        await asyncio.gather(*(client.gate.resolve(one.code, YES) for one in requests))
        answers = [await client.answer(one) for one in ids]
        assert all(text_of(answer["result"]) == "done" for answer in answers)
        assert await reached(client, "progress") == 200


async def test_an_agent_that_asks_too_much_is_refused(tmp_path: Path) -> None:
    async with facing(tmp_path, asking(approvals={"max_pending": 3})) as client:
        await client.initialize()
        await client.ask("tools/list")
        for n in range(3):
            await park(client, {"n": n})
        found = await client.call("odd__progress", {"n": 3})
        assert "3 requests of this agent wait already" in text_of(found)


async def test_the_tool_use_id_and_the_client_are_on_record(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize(name="claude-code")
        _, request = await park(client, {"steps": 0}, **{"claudecode/toolUseId": "toolu_1"})
        assert (request.origin.tool_use_id, request.origin.client) == ("toolu_1", "claude-code")
        assert request.origin.session == "s"


async def test_outcomes_are_on_record(tmp_path: Path) -> None:
    agent = {"allow": ["odd/**"]}
    async with facing(tmp_path, policy({"odd": odd()}, agent)) as client:
        await client.initialize()
        await client.call("odd__echo")
        await client.call("odd__tool_error")
        await client.fail("tools/call", call_params("odd__error", {"code": -1, "message": "no"}))
        await client.recorded(
            lambda events: len([one for one in events if one.kind == "call.completed"]) == 3
        )
        found = await client.gate.store.events()
        outcomes = [json.loads(one.body)["outcome"] for one in found if one.kind == "call.completed"]
        assert outcomes == ["success", "error", "error"]


# -- attacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 7},
        {"name": None, "arguments": {}},
        {"name": "odd__echo", "arguments": []},
        {"name": "odd__echo", "arguments": "x"},
        {"name": "odd__echo", "arguments": None},
        {"name": ["odd__echo"]},
    ],
)
async def test_malformed_calls_reach_nobody(tmp_path: Path, params: Json) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        await client.ask("tools/list")
        assert (await client.fail("tools/call", params))["code"] == -32602
        assert await reached(client, "echo") == 0


async def test_an_id_in_use_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        frame_id, request = await park(client, {"steps": 0})
        client.send("tools/call", call_params("odd__echo", {"second": 1}), frame_id)
        first = client.answers(frame_id)[0]
        assert first["error"]["code"] == -32600
        assert await reached(client, "echo") == 0
        await client.gate.resolve(request.code, YES)
        await client.until(lambda: len(client.answers(frame_id)) == 2)
        assert text_of(client.answers(frame_id)[1]["result"]) == "done"


async def test_ids_of_another_type_are_other_ids(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        parked = client.send("tools/call", call_params("odd__progress", {"steps": 0}), "1000")
        await client.pending()
        client.tell("notifications/cancelled", {"requestId": 1000})
        client.tell("notifications/cancelled", {"requestId": True})
        client.tell("notifications/cancelled", {"requestId": [parked]})
        client.tell("notifications/cancelled", {})
        assert (await client.answer(client.send("ping", None, 1000)))["result"] == {}
        (request,) = await client.gate.pending()
        await client.gate.resolve(request.code, YES)
        assert text_of((await client.answer(parked))["result"]) == "done"


async def test_a_flood_is_cut_off_and_costs_no_question(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        await client.ask("tools/list")
        for n in range(MAX_OPEN):
            client.send("tools/call", call_params("odd__sleep", {"key": str(n)}))
        await client.until(lambda: len(client.session.client.open) == MAX_OPEN)
        error = await client.fail("tools/call", call_params("odd__sleep", {"key": "more"}))
        assert "requests are open" in error["message"]


async def test_nothing_in_a_call_chooses_who_is_judged(tmp_path: Path) -> None:
    text = policy(
        {"odd": odd()}, {"deny": ["*/*"]}, agents={"tester": {"deny": ["*/*"]}, "boss": {"allow": ["*/*"]}}
    )
    async with facing(tmp_path, text) as client:
        await client.initialize(name="boss")
        meta = {"agent": "boss", DECISION: {"effect": "allow"}, "io.airlock/agent": "boss"}
        params = {**call_params("odd__echo", {"agent": "boss"}, meta), "agent": "boss", "decision": "allow"}
        assert (await client.fail("tools/call", params))["code"] == -32602


async def test_a_tool_renamed_after_it_was_listed_is_judged_by_its_own_name(tmp_path: Path) -> None:
    agent = {"allow": ["odd/tools", "odd/tool_*", "odd/echo"]}
    async with facing(tmp_path, policy({"odd": odd("--tools", "2")}, agent)) as client:
        await client.initialize()
        assert text_of(await client.call("odd__tool_0001")) == "tool_0001"
        await client.call("odd__tools", {"count": 1})
        await client.hears("notifications/tools/list_changed")
        assert (await client.fail("tools/call", call_params("odd__tool_0001")))["code"] == -32602


@pytest.mark.parametrize("tool", ["twice", "stranger"])
async def test_a_server_that_answers_too_often_is_heard_once(tmp_path: Path, tool: str) -> None:
    async with facing(tmp_path, policy({"odd": odd()})) as client:
        await client.initialize()
        first = client.send("tools/call", call_params(f"odd__{tool}"))
        await client.answer(first)
        await client.call("odd__echo", {})
        assert len(client.answers(first)) == 1


async def test_a_server_that_asks_under_the_ids_of_the_client_mixes_nothing_up(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd()})) as client:
        await client.initialize(elicitation={})
        line = '{"jsonrpc":"2.0","id":2,"method":"elicitation/create","params":{"message":"?"}}'
        assert text_of(await client.call("odd__raw", {"line": line})) == "done"
        question = await client.asked("elicitation/create")
        client.reply(question["id"], {"action": "cancel"})
        client.reply(question["id"], {"action": "accept"})
        client.reply(12345, {"action": "accept"})
        seen = (await client.call("odd__seen", {}))["structuredContent"]["frames"]
        assert [one["result"] for one in seen if one.get("id") == 2 and "result" in one] == [
            {"action": "cancel"}
        ]


async def test_guessing_codes_through_tools_opens_nothing(tmp_path: Path) -> None:
    async with facing(tmp_path, asking()) as client:
        await client.initialize()
        _, request = await park(client, {"steps": 0})
        for name in ("approve", "airlock__approve", f"airlock__approve_{request.code}"):
            error = await client.fail("tools/call", call_params(name, {"code": request.code}))
            assert error["code"] == -32602
        assert (await client.gate.request(request.id)).status is Status.PENDING
        assert SECONDS
