"""Tasks (SEP-2663): calls that wait for a person become tasks, and the upstreams' own pass through."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airlock import runtime
from airlock.gate import Gate
from airlock.loader.file import load
from airlock.model import Principal, Resolution
from airlock.proxy.session import taskbook, tasks
from support.fronts import FIXTURES, SECRET, TASKS, Front, Json, Legacy, Modern, gateway, polled, written
from support.processes import stdio
from support.sessions import DECISION, PREFIX, Caller, call_params, facing, odd, policy, text_of

pytestmark = pytest.mark.anyio

ENDED = {"completed", "failed", "cancelled"}
YES = Resolution(approve=True, identity="local:alice")
NO = Resolution(approve=False, identity="local:alice", note="not today")
ASKING: Json = {"allow": ["odd/**"], "ask": ["odd/raw", "odd/ask"]}
OTHER = "token-of-another"
UNANSWERED = {"name": "odd__raw", "arguments": {"line": "\n"}}


def agents(**waits: str) -> Json:
    """Agents that are asked, each with its way to wait."""
    return {name: {**ASKING, "wait": wait} for name, wait in waits.items()}


@pytest.fixture(scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    named = {
        "tester": ASKING,
        **agents(held="hold", told="pending", tasked="task"),
        "other": {**ASKING, "token": OTHER},
    }
    async with gateway(written(tmp_path_factory.mktemp("front"), agents=named)) as running:
        yield running


def client(front: Front, agent: str = "tester", **capabilities: Json) -> Modern:
    return Modern(front, f"/agents/{agent}/mcp", SECRET, **capabilities)


def asked(mark: str) -> Json:
    return {"name": "odd__raw", "arguments": {"line": "\n", "mark": mark}}


async def question(front: Front, mark: str) -> Json:
    return await polled(
        lambda: front.rest("GET", "/hitl/pending"),
        lambda rows: next((row for row in rows if row["args"].get("mark") == mark), None),
    )


async def ended(talk: Any, task_id: str) -> Json:
    """The task once it has ended, by polling."""
    return await polled(
        lambda: talk.ask("tasks/get", {"taskId": task_id}),
        lambda found: found if found["status"] in ENDED else None,
    )


# -- calls that wait for a person ------------------------------------------------------------------


async def test_a_call_that_waits_is_a_task_for_a_client_that_takes_them(front: Front) -> None:
    talk = client(front, **TASKS)
    stream = await talk.open("tools/call", asked("first"))
    assert stream.headers["content-type"] == "application/json"
    made = (await stream.answered())["result"]
    row = await question(front, "first")
    assert (made["resultType"], made["status"]) == ("task", "working")
    assert type(made["ttlMs"]) is int
    assert type(made["pollIntervalMs"]) is int
    assert made["_meta"][DECISION] == {"effect": "ask", "rule": row["rule"], "request_id": row["id"]}
    assert row["code"] not in json.dumps(made)
    found = await talk.ask("tasks/get", {"taskId": made["taskId"]})
    assert (found["resultType"], found["status"], "result" in found) == ("complete", "working", False)
    await front.rest("POST", f"/hitl/approve/{row['code']}")
    found = await ended(talk, made["taskId"])
    assert (found["status"], "isError" in found["result"]) == ("completed", False)
    assert (await ended(talk, made["taskId"])) == found
    kinds = [one["kind"] for one in await front.events() if one.get("request_id") == row["id"]]
    assert kinds.count("request.used") <= 1


async def test_a_refused_task_ends_with_the_refusal_that_the_model_reads(front: Front) -> None:
    talk = client(front, **TASKS)
    made = await talk.ask("tools/call", asked("no"))
    row = await question(front, "no")
    await front.rest("POST", f"/hitl/deny/{row['id']}", {"reason": "not on a Sunday"})
    found = await ended(talk, made["taskId"])
    assert (found["status"], found["result"]["isError"]) == ("completed", True)
    assert "not on a Sunday" in text_of(found["result"])


async def test_a_cancelled_task_takes_its_question_back_and_runs_nothing(front: Front) -> None:
    talk = client(front, **TASKS)
    made = await talk.ask("tools/call", asked("cancelled"))
    row = await question(front, "cancelled")
    for _ in range(2):
        assert await talk.ask("tasks/cancel", {"taskId": made["taskId"]}) == {"resultType": "complete"}
    assert (await talk.ask("tasks/get", {"taskId": made["taskId"]}))["status"] == "cancelled"
    await polled(
        lambda: front.rest("GET", f"/hitl/{row['id']}"), lambda found: found["status"] == "cancelled"
    )


async def test_who_does_not_declare_tasks_gets_none(front: Front) -> None:
    talk = client(front)
    for method in ("tasks/get", "tasks/cancel", "tasks/update"):
        status, error = await talk.fail(method, {"taskId": "x", "inputResponses": {}})
        assert (status, error["code"]) == (400, -32021)
        assert error["data"] == {"requiredCapabilities": TASKS}
    stream = await talk.open("tools/call", {**asked("held"), "_meta": {"progressToken": 1}})
    await stream.hears("notifications/progress")
    await front.rest("POST", f"/hitl/approve/{(await question(front, 'held'))['id']}")
    assert (await stream.answered())["result"]["resultType"] == "complete"


async def test_the_config_says_how_an_agent_waits(front: Front) -> None:
    talk = client(front, "held", **TASKS)
    stream = await talk.open("tools/call", {**asked("to the end"), "_meta": {"progressToken": 1}})
    await stream.hears("notifications/progress")
    await front.rest("POST", f"/hitl/approve/{(await question(front, 'to the end'))['id']}")
    assert (await stream.answered())["result"]["resultType"] == "complete"
    found = await client(front, "told", **TASKS).call("odd__raw", {"line": "\n", "mark": "later"})
    assert (found["resultType"], found["isError"]) == ("complete", True)
    assert "call again" in text_of(found)
    assert (await client(front, "tasked", **TASKS).ask("tools/call", asked("t")))["resultType"] == "task"
    for agent, offered in (("held", False), ("told", False), ("tasked", True), ("tester", True)):
        capabilities = (await client(front, agent).ask("server/discover"))["capabilities"]
        assert ("extensions" in capabilities) is offered


async def test_a_task_does_not_exist_for_another_principal(front: Front) -> None:
    made = await client(front, **TASKS).ask("tools/call", asked("mine"))
    other = Modern(front, "/mcp", OTHER, **TASKS)
    for method in ("tasks/get", "tasks/cancel", "tasks/update"):
        params = {"taskId": made["taskId"], "inputResponses": {}}
        status, error = await other.fail(method, params)
        assert (status, error["code"], error["message"]) == (400, -32602, "unknown task")
    wanted = {"notifications": {"taskIds": [made["taskId"]]}}
    stream = await other.open("subscriptions/listen", wanted)
    note = await stream.hears("notifications/subscriptions/acknowledged")
    assert note["params"]["notifications"]["taskIds"] == []
    assert (await client(front, **TASKS).ask("tasks/get", {"taskId": made["taskId"]}))["status"] == "working"


@pytest.mark.parametrize("wrong", ["", "x", "1-2-3", "0" * 64, "1-" + "0" * 24 + "-" + "0" * 32, 7, None, {}])
async def test_a_task_that_never_was_is_unknown(front: Front, wrong: Any) -> None:
    status, error = await client(front, **TASKS).fail("tasks/get", {"taskId": wrong})
    assert (status, error["code"]) == (400, -32602)


async def test_who_listens_hears_of_a_task(front: Front) -> None:
    talk = client(front, **TASKS)
    made = await talk.ask("tools/call", asked("listened"))
    stream = await talk.open("subscriptions/listen", {"notifications": {"taskIds": [made["taskId"], "x"]}})
    note = await stream.hears("notifications/subscriptions/acknowledged")
    assert note["params"]["notifications"] == {"taskIds": [made["taskId"]]}
    await front.rest("POST", f"/hitl/approve/{(await question(front, 'listened'))['id']}")
    told = (await stream.hears("notifications/tasks"))["params"]
    subscription = note["params"]["_meta"]
    assert (told["taskId"], told["status"], told["_meta"]) == (made["taskId"], "completed", subscription)
    assert "result" in told


async def test_old_clients_have_no_tasks(front: Front) -> None:
    talk = Legacy(front, "/agents/tester/mcp", SECRET)
    await talk.initialize(**TASKS)
    stream = await talk.open("tools/call", {**asked("old"), "_meta": {"progressToken": 1}})
    await stream.hears("notifications/progress")
    await front.rest("POST", f"/hitl/approve/{(await question(front, 'old'))['id']}")
    assert "isError" not in (await stream.answered())["result"]


async def test_a_task_asks_its_client_while_it_runs(front: Front) -> None:
    talk = client(front, elicitation={"form": {}}, **TASKS)
    params = {"name": "odd__ask", "arguments": {"kind": "elicitation", "mark": "asks"}}
    made = await talk.ask("tools/call", params)
    await front.rest("POST", f"/hitl/approve/{(await question(front, 'asks'))['id']}")
    found = await polled(
        lambda: talk.ask("tasks/get", {"taskId": made["taskId"]}),
        lambda found: found if found["status"] == "input_required" else None,
    )
    ((key, put),) = found["inputRequests"].items()
    assert put["params"]["message"].startswith("[odd] ")
    assert "requestState" not in found
    wrong = {"taskId": made["taskId"], "inputResponses": {"nobody asked": {"action": "accept"}}}
    assert await talk.ask("tasks/update", wrong) == {"resultType": "complete"}
    assert (await talk.ask("tasks/get", {"taskId": made["taskId"]}))["status"] == "input_required"
    answer = {"action": "accept", "content": {"sure": True}}
    right = {"taskId": made["taskId"], "inputResponses": {key: answer}}
    assert await talk.ask("tasks/update", right) == {"resultType": "complete"}
    found = await ended(talk, made["taskId"])
    assert found["result"]["structuredContent"]["answer"] == answer


async def test_after_a_restart_a_waiting_task_is_to_be_asked_again(tmp_path: Path) -> None:
    config = written(tmp_path, agents={"tester": ASKING})
    async with gateway(config) as front:
        made = await client(front, **TASKS).ask("tools/call", asked("restart"))
        before = await question(front, "restart")
        front.terminate()
        assert await front.ended() == 0
    async with gateway(config) as front:
        talk = client(front, **TASKS)
        found = await talk.ask("tasks/get", {"taskId": made["taskId"]})
        assert (found["status"], "call again" in found["error"]["message"]) == ("failed", True)
        assert await talk.ask("tasks/cancel", {"taskId": made["taskId"]}) == {"resultType": "complete"}
        again = await talk.ask("tools/call", asked("restart"))
        after = await question(front, "restart")
        assert (after["id"], after["code"]) == (before["id"], before["code"])
        await front.rest("POST", f"/hitl/approve/{after['code']}")
        assert (await ended(talk, again["taskId"]))["status"] == "completed"


# -- over stdio, and what takes time ---------------------------------------------------------------


async def test_tasks_over_stdio(tmp_path: Path) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text(policy({"odd": odd()}, ASKING, database=f"sqlite:///{tmp_path}/a.db"))
    async with stdio(path) as process, people(path) as gate:
        envelope = {
            PREFIX + "protocolVersion": "2026-07-28",
            PREFIX + "clientCapabilities": TASKS,
            PREFIX + "clientInfo": {"name": "tester", "version": "1"},
        }
        params = {**UNANSWERED, "_meta": envelope}
        made = await process.ask("tools/call", params)
        assert made["resultType"] == "task"
        (row,) = await gate.pending()
        await gate.resolve(row.code, YES)

        async def look() -> Json:
            return await process.ask("tasks/get", {"taskId": made["taskId"], "_meta": envelope})

        found = await polled(look, lambda found: found if found["status"] in ENDED else None)
        assert (found["status"], "isError" in found["result"]) == ("completed", False)


@asynccontextmanager
async def people(config: Path) -> AsyncIterator[Gate]:
    """The same queue in another process's place."""
    async with runtime.opened(load(config), road="cli") as elsewhere:
        yield elsewhere.gate


def seat(caller: Caller) -> Principal:
    return caller.session.client.seat.principal


async def test_a_task_that_is_not_polled_leaves_its_question_to_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with facing(tmp_path, policy({"odd": odd()}, ASKING)) as caller:
        await caller.discover(**TASKS)
        await caller.ask("tools/list")
        monkeypatch.setattr(tasks, "LAPSE_SECONDS", 0.2)
        made = await caller.ask("tools/call", UNANSWERED)
        (row,) = await caller.pending()
        await caller.recorded(lambda events: [one for one in events if one.kind == "request.left"])
        found = await caller.ask("tasks/get", {"taskId": made["taskId"]})
        assert (found["status"], "not polled" in found["error"]["message"]) == ("failed", True)
        await caller.gate.resolve(row.code, YES)
        assert "isError" not in await caller.ask("tools/call", UNANSWERED)


async def test_polling_keeps_a_task_alive(tmp_path: Path) -> None:
    async with facing(tmp_path, policy({"odd": odd()}, ASKING)) as caller:
        await caller.discover(**TASKS)
        made = await caller.ask("tools/call", UNANSWERED)
        exchange = caller.session._tasks._held[made["taskId"]].exchange
        for _ in range(3):
            before = exchange.timer
            found = await caller.ask("tasks/get", {"taskId": made["taskId"]})
            assert found["status"] == "working"
            assert before is not None
            assert before.cancelled()
            assert exchange.timer is not None
            assert exchange.timer is not before
            assert exchange.timer.when() >= before.when()
            assert not exchange.timer.cancelled()


async def test_only_so_many_tasks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with facing(tmp_path, policy({"odd": odd()}, ASKING)) as caller:
        await caller.discover(**TASKS)
        monkeypatch.setattr(taskbook, "MAX_TASKS", 2)
        made = [await caller.ask("tools/call", asked(str(number))) for number in range(2)]
        meta = {"progressToken": "held"}
        held = caller.send("tools/call", {**asked("one too many"), "_meta": meta})
        await caller.hears("notifications/progress")
        rows = await caller.pending(3)
        await caller.gate.resolve(rows[0].code, NO)
        await ended(caller, made[0]["taskId"])
        assert (await caller.ask("tools/call", asked("room")))["resultType"] == "task"
        assert (await caller.ask("tasks/get", {"taskId": made[1]["taskId"]}))["status"] == "working"
        assert (await caller.ask("tasks/get", {"taskId": made[0]["taskId"]}))["status"] == "failed"
        await caller.gate.resolve(rows[2].code, YES)
        assert "isError" not in (await caller.answer(held))["result"]


# -- the upstreams' own tasks ----------------------------------------------------------------------


def behind(folder: Path, **agent: Any) -> str:
    server = {
        "type": "stdio",
        "command": sys.executable,
        "args": [str(FIXTURES / "conformance_server.py"), "--stdio"],
    }
    return policy({"up": server}, {"allow": ["up/**"], **agent})


async def test_an_upstreams_task_passes_under_an_id_of_ours(tmp_path: Path) -> None:
    async with facing(tmp_path, behind(tmp_path)) as caller:
        await caller.discover(elicitation={"form": {}}, **TASKS)
        made = await caller.ask("tools/call", call_params("up__slow_compute", {"seconds": 0.1, "label": "x"}))
        assert (made["resultType"], made["status"]) == ("task", "working")
        assert caller.session._tasks._book.gone(made["taskId"], seat(caller))
        found = await ended(caller, made["taskId"])
        assert (found["taskId"], text_of(found["result"])) == (made["taskId"], "computed x")
        await caller.recorded(
            lambda events: [one for one in events if one.kind == "call.completed" and "success" in one.body]
        )
        made = await caller.ask("tools/call", call_params("up__confirm_delete", {"filename": "f"}))
        found = await polled(
            lambda: caller.ask("tasks/get", {"taskId": made["taskId"]}),
            lambda found: found if found["status"] == "input_required" else None,
        )
        ((key, put),) = found["inputRequests"].items()
        assert put["params"]["message"] == "[up] Delete f?"
        answer = {"action": "accept", "content": {"confirm": True}}
        await caller.ask("tasks/update", {"taskId": made["taskId"], "inputResponses": {key: answer}})
        assert text_of((await ended(caller, made["taskId"]))["result"]) == "deleted"


async def test_an_upstreams_task_is_cancelled_there_and_heard_of_here(tmp_path: Path) -> None:
    async with facing(tmp_path, behind(tmp_path)) as caller:
        await caller.discover(**TASKS)
        made = await caller.ask("tools/call", call_params("up__slow_compute", {"seconds": 60}))
        caller.send("subscriptions/listen", {"notifications": {"taskIds": [made["taskId"]]}})
        await caller.hears("notifications/subscriptions/acknowledged")
        await caller.ask("tasks/cancel", {"taskId": made["taskId"]})
        assert (await ended(caller, made["taskId"]))["status"] == "cancelled"
        (told, *_) = await caller.hears("notifications/tasks")
        assert (told["taskId"], told["status"]) == (made["taskId"], "cancelled")
        await caller.recorded(
            lambda events: [one for one in events if one.kind == "call.completed" and "cancelled" in one.body]
        )


async def test_a_task_that_waited_for_a_person_goes_on_as_the_upstreams(tmp_path: Path) -> None:
    async with facing(tmp_path, behind(tmp_path, ask=["up/slow_compute"])) as caller:
        await caller.discover(**TASKS)
        params = call_params("up__slow_compute", {"seconds": 0.2, "label": "asked"})
        made = await caller.ask("tools/call", params)
        (row,) = await caller.pending()
        await caller.gate.resolve(row.code, YES)
        found = await ended(caller, made["taskId"])
        assert (found["taskId"], text_of(found["result"])) == (made["taskId"], "computed asked")


async def test_what_one_request_declares_holds_for_that_request_only(tmp_path: Path) -> None:
    async with facing(tmp_path, behind(tmp_path)) as caller:
        await caller.discover()
        params = call_params("up__slow_compute", {"seconds": 0, "label": "x"})
        assert (await caller.ask("tools/call", params))["resultType"] == "complete"
        declared = {**params, "_meta": {PREFIX + "clientCapabilities": TASKS}}
        assert (await caller.ask("tools/call", declared))["resultType"] == "task"
        assert (await caller.ask("tools/call", params))["resultType"] == "complete"
