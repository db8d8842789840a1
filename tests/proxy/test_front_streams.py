"""Calls that wait, streams that break, clients that must not hear each other: at a real gateway process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

from support.fronts import SECRET, Front, Json, Legacy, Modern, gateway, polled, written
from support.sessions import PREFIX, text_of

pytestmark = pytest.mark.anyio

FORM: Json = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}


@pytest.fixture(scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with gateway(written(tmp_path_factory.mktemp("front"))) as running:
        yield running


def legacy(front: Front) -> Legacy:
    return Legacy(front, "/mcp", SECRET)


def modern(front: Front, **capabilities: Json) -> Modern:
    return Modern(front, "/mcp", SECRET, **capabilities)


def asked(mark: str) -> Json:
    """A call that a person must decide; each test has its own, so that no question is shared."""
    return {"name": "odd__raw", "arguments": {"line": "\n", "mark": mark}, "_meta": {"progressToken": mark}}


async def parked(front: Front, mark: str) -> Json:
    """The open question of that call."""
    return await polled(
        lambda: front.rest("GET", "/hitl/pending"),
        lambda rows: next((row for row in rows if row["args"].get("mark") == mark), None),
    )


async def approve(front: Front, mark: str) -> None:
    row = await parked(front, mark)
    await front.rest("POST", f"/hitl/approve/{row['id']}")


async def runs(front: Front, kind: str, mark: str) -> int:
    """How many raw events of that kind the audit has for the call."""
    return sum(one["kind"] == kind and mark in json.dumps(one) for one in await front.events())


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_held_call_shows_progress_and_goes_on_after_a_yes(front: Front, era: str) -> None:
    client = legacy(front) if era == "legacy" else modern(front)
    if isinstance(client, Legacy):
        await client.initialize()
    stream = await client.open("tools/call", asked(f"held-{era}"))
    note = await stream.hears("notifications/progress")
    row = await parked(front, f"held-{era}")
    assert note["params"]["progressToken"] == f"held-{era}"
    assert row["code"] in note["params"]["message"]
    await approve(front, f"held-{era}")
    result = (await stream.answered())["result"]
    assert "isError" not in result
    assert row["code"] not in json.dumps(result)


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_same_call_again_finds_its_decision_after_the_connection_was_lost(
    front: Front, era: str
) -> None:
    mark = f"lost-{era}"
    client = legacy(front) if era == "legacy" else modern(front)
    if isinstance(client, Legacy):
        await client.initialize(version="2025-06-18")
    stream = await client.open("tools/call", asked(mark))
    await stream.hears("notifications/progress")
    await stream.close()
    await approve(front, mark)
    again = legacy(front) if era == "legacy" else modern(front)
    if isinstance(again, Legacy):
        await again.initialize()
    result = await again.ask("tools/call", asked(mark))
    assert "isError" not in result
    assert await runs(front, "request.opened", mark) == 1


async def test_a_client_that_hangs_up_leaves_its_question_unattended(front: Front) -> None:
    client = modern(front)
    stream = await client.open("tools/call", asked("left"))
    row = await parked(front, "left")
    assert await runs(front, "request.left", row["id"]) == 0
    await stream.close()
    await polled(lambda: runs(front, "request.left", row["id"]), lambda found: found == 1)
    assert (await front.rest("GET", f"/hitl/{row['id']}"))["status"] == "pending"


async def test_a_call_that_is_cancelled_takes_its_question_back(front: Front) -> None:
    client = legacy(front)
    await client.initialize()
    stream = await client.open("tools/call", asked("taken back"))
    row = await parked(front, "taken back")
    frame_id = stream_id(stream)
    await client.tell("notifications/cancelled", {"requestId": frame_id, "reason": "changed my mind"})
    await polled(
        lambda: front.rest("GET", f"/hitl/{row['id']}"), lambda found: found["status"] == "cancelled"
    )


def stream_id(stream: object) -> int:
    request = stream.answer.request  # type: ignore[attr-defined]
    return json.loads(request.content)["id"]


# -- streams that break ----------------------------------------------------------------------------


def stepping(arguments: Json) -> Json:
    """A call that a server answers with progress first: so what comes back is a stream."""
    return {"name": "odd__tell", "arguments": arguments, "_meta": {"progressToken": "steps"}}


async def test_an_answer_that_comes_soon_and_first_needs_no_stream(front: Front) -> None:
    client = legacy(front)
    await client.initialize()
    for _ in range(100):  # on a busy machine not each of them comes soon
        plain = await client.open("tools/call", {"name": "odd__echo", "arguments": {"a": 1}})
        assert (await plain.end())[-1]["result"]["structuredContent"] == {"a": 1}
        if plain.headers["content-type"] == "application/json":
            break
    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["mcp-session-id"] == client.headers["Mcp-Session-Id"]
    told = await client.open("tools/call", stepping({}))
    late = await client.open("tools/call", {"name": "odd__hang", "arguments": {}})
    assert [one.headers["content-type"] for one in (told, late)] == ["text/event-stream"] * 2
    await late.close()


async def test_a_client_comes_back_for_the_stream_of_a_running_call(front: Front) -> None:
    client = legacy(front)
    await client.initialize()
    stream = await client.open("tools/call", stepping({"a": 1}))
    assert (await stream.answered())["result"]["structuredContent"] == {"a": 1}
    assert stream.retry == 500
    (primed, first), *_, (last, _) = stream.events
    assert (first, primed.partition("-")[2]) == ("", "0")
    again = await client.listen(Last_Event_ID=primed)
    assert [event for event in await again.end() if "method" not in event] == [(await stream.answered())]
    assert (await (await client.listen(Last_Event_ID=last)).end()) == []


async def test_a_parked_call_goes_on_when_its_client_comes_back_for_the_stream(front: Front) -> None:
    client = legacy(front)
    await client.initialize()
    stream = await client.open("tools/call", asked("resumed"))
    await stream.hears("notifications/progress")
    last = stream.events[-1][0]
    await stream.close()
    await approve(front, "resumed")
    again = await client.listen(Last_Event_ID=last)
    assert "isError" not in (await again.answered())["result"]
    assert await runs(front, "request.opened", "resumed") == 1


@pytest.mark.parametrize("last", ["", "x", "1-", "-1", "9-9", "1-1-1", "0-0", "9" * 60 + "-1"])
async def test_a_stream_that_is_not_known_is_not_resumed(front: Front, last: str) -> None:
    client = legacy(front)
    await client.initialize()
    assert (await client.post(None, {"Last-Event-ID": last}, "GET")).status == 404


async def test_nobody_else_can_take_up_a_stream(front: Front) -> None:
    mine, other = legacy(front), legacy(front)
    await mine.initialize()
    await other.initialize()
    stream = await mine.open("tools/call", stepping({"secret": 1}))
    await stream.end()
    assert (await other.listen(Last_Event_ID=stream.events[0][0])).status == 404


async def test_what_is_kept_of_streams_is_bounded(front: Front) -> None:
    client = legacy(front)
    await client.initialize()
    first, second = (stepping({"fill": "x" * 900_000}) for _ in range(2))
    stream = await client.open("tools/call", first)
    await stream.end()
    await (await client.open("tools/call", second)).end()
    assert (await client.listen(Last_Event_ID=stream.events[0][0])).status == 404


# -- questions to the client -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method", "answer"),
    [
        ("elicitation", "elicitation/create", {"action": "accept", "content": {"sure": True}}),
        ("sampling", "sampling/createMessage", {"role": "assistant", "model": "m", "content": {}}),
        ("roots", "roots/list", {"roots": []}),
    ],
)
async def test_a_server_asks_a_legacy_client_on_the_stream_of_its_call(
    front: Front, kind: str, method: str, answer: Json
) -> None:
    client, bystander = legacy(front), legacy(front)
    await client.initialize(**FORM)
    await bystander.initialize(**FORM)
    heard = await bystander.listen()
    own = await client.listen()
    stream = await client.open("tools/call", {"name": "odd__ask", "arguments": {"kind": kind}})
    question = await stream.hears(method)
    assert (await bystander.reply(question["id"], {"action": "accept", "content": {"sure": False}})).status
    assert (await client.reply(question["id"], answer)).status == 202
    assert (await stream.answered())["result"]["structuredContent"]["answer"] == answer
    await heard.close()
    await own.close()
    assert heard.frames == own.frames == []


async def test_a_modern_client_is_asked_in_the_answer(front: Front) -> None:
    client = modern(front, **FORM)
    params = {"name": "odd__ask", "arguments": {"kind": "elicitation"}}
    first = await client.ask("tools/call", params)
    ((key, question),) = first["inputRequests"].items()
    assert question["params"]["message"].startswith("[odd] ")
    again = {**params, "requestState": first["requestState"], "inputResponses": {key: {"action": "decline"}}}
    other = Modern(front, "/mcp", SECRET, **FORM, extra={})
    assert (await other.fail("tools/call", again))[1]["code"] == -32602
    assert (await client.ask("tools/call", again))["structuredContent"]["answer"] == {"action": "decline"}


# -- subscriptions ---------------------------------------------------------------------------------


async def test_a_modern_client_listens_and_hears_only_what_it_asked_for(front: Front) -> None:
    client = modern(front)
    wanted = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["odd://static/one"]}}
    stream = await client.open("subscriptions/listen", wanted)
    await stream.hears("notifications/subscriptions/acknowledged")
    await client.call("odd__tools", {"count": 3})
    note = await stream.hears("notifications/tools/list_changed")
    assert note["params"]["_meta"][PREFIX + "subscriptionId"] == stream_id(stream)
    await client.call("odd__notify", {"method": "notifications/prompts/list_changed"})
    await client.call("odd__touch", {"uri": "odd://static/two"})
    await client.call("odd__tools", {"count": 0})
    await stream.until(lambda: len(stream.frames) >= 3)
    methods = {frame["method"] for frame in stream.frames[1:]}
    assert methods == {"notifications/tools/list_changed"}


async def test_clients_never_hear_each_other(front: Front) -> None:
    clients = [legacy(front) for _ in range(4)]
    streams = []
    for client in clients:
        await client.initialize()
        streams.append(await client.listen())

    async def busy(number: int) -> list[Json]:
        found = []
        for turn in range(5):
            arguments = {"steps": 2, "who": number, "turn": turn}
            params = {"name": "odd__echo", "arguments": arguments, "_meta": {"progressToken": "same"}}
            found.append(await clients[number].ask("tools/call", params))
            message = {"level": "info", "data": number}
            await clients[number].call("odd__notify", {"method": "notifications/message", "params": message})
        return found

    answers = await asyncio.gather(*(busy(number) for number in range(4)))
    for number, found in enumerate(answers):
        assert {one["structuredContent"]["who"] for one in found} == {number}
        heard = streams[number]
        await heard.until(lambda heard=heard: len(heard.frames) >= 5)
        assert {frame["params"]["data"] for frame in heard.frames} == {number}
        await heard.close()


async def test_modern_clients_with_the_same_ids_get_their_own_answers(front: Front) -> None:
    one, two = modern(front), modern(front)
    calls = [one.call("odd__echo", {"who": 1, "n": n}) for n in range(10)]
    calls += [two.call("odd__echo", {"who": 2, "n": n}) for n in range(10)]
    found = await asyncio.gather(*calls)
    said = [one["structuredContent"] for one in found]
    assert said == [{"who": who, "n": n} for who in (1, 2) for n in range(10)]


# -- slow readers ----------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_its_server_up_and_costs_little(tmp_path: Path) -> None:
    async with gateway(written(tmp_path)) as front:
        client = legacy(front)
        await client.initialize()
        await client.call("odd__echo", {})
        before = memory(front)
        async with unread(front, client, {"name": "odd__flood", "arguments": {"count": 150_000}}) as reader:
            await polled(lambda: idle(front), lambda found: found)
            assert memory(front) - before < 60_000_000
            seen = b""
            async with asyncio.timeout(120):
                while b'"result"' not in seen[-4000:]:
                    seen = seen[-4000:] + await reader.read(1 << 20)


def memory(front: Front) -> int:
    """The gateway's resident bytes."""
    for line in Path(f"/proc/{front.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def idle(front: Front) -> bool:
    """True when the gateway used no time for a moment: everything that can be written is."""

    def used() -> int:
        fields = Path(f"/proc/{front.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    first = used()
    await asyncio.sleep(0.3)  # the kernel counts in hundredths of a second
    return used() - first <= 2


@asynccontextmanager
async def unread(front: Front, client: Legacy, params: Json) -> AsyncIterator[asyncio.StreamReader]:
    """A call on a connection of its own that nobody reads from yet."""
    place = urlsplit(front.url)
    raw = socket.create_connection((place.hostname or "", place.port or 0))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader, writer = await asyncio.open_connection(sock=raw, limit=65536)
    frame, _ = client.framed("tools/call", params)
    body = json.dumps(frame).encode()
    headers = {**client.headers, "Host": place.netloc, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body)
    try:
        yield reader
    finally:
        writer.close()


# -- the SDK's clients -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
async def test_the_sdk_client_is_served_in_both_modes(tmp_path: Path, mode: str) -> None:
    config = written(tmp_path, agents={"tester": {"allow": ["odd/**"]}}, server={"api_secret": ""})
    async with gateway(config) as front, Client(front.url + "/mcp", mode=mode) as client:
        assert "odd__echo" in {tool.name for tool in (await client.list_tools()).tools}
        seen: list[float] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        result = await client.call_tool("odd__progress", {"steps": 3}, progress_callback=progressed)
        assert not result.is_error
        assert len(seen) == 3
        assert (await client.call_tool("odd__echo", {"a": [1, None]})).structured_content == {"a": [1, None]}


async def test_an_old_client_is_served_over_sse(tmp_path: Path) -> None:
    config = written(tmp_path, server={"api_secret": ""})
    async with gateway(config) as front:
        url = front.url + "/agents/tester/sse"
        async with sse_client(url) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            assert "odd__echo" in {tool.name for tool in (await session.list_tools()).tools}
            assert text_of((await session.call_tool("odd__echo", {"a": 1})).model_dump()) == '{"a": 1}'
            waiting = asyncio.create_task(session.call_tool("odd__raw", {"line": "\n"}))
            (row,) = await polled(lambda: front.rest("GET", "/hitl/pending"), lambda rows: rows)
            await front.rest("POST", f"/hitl/approve/{row['code']}")
            async with asyncio.timeout(60):
                assert not (await waiting).is_error
        client = Legacy(front, "/agents/tester/messages?session_id=made-up")
        assert (await client.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status == 404
        assert (await Legacy(front, "/agents/tester/sse").post({})).status == 405


# -- the process -----------------------------------------------------------------------------------


async def test_a_changed_policy_is_told_to_everyone(tmp_path: Path) -> None:
    async with gateway(written(tmp_path)) as front:
        old, new = legacy(front), modern(front)
        await old.initialize()
        await old.ask("tools/list")
        streams = [await old.listen()]
        wanted = {"notifications": {"toolsListChanged": True}}
        streams.append(await new.open("subscriptions/listen", wanted))
        await streams[1].hears("notifications/subscriptions/acknowledged")
        written(tmp_path, agents={"tester": {"allow": ["odd/echo"]}})
        for stream in streams:
            await stream.hears("notifications/tools/list_changed")
        for client in (old, new):
            assert [tool["name"] for tool in (await client.ask("tools/list"))["tools"]] == ["odd__echo"]


async def test_the_gateway_ends_with_everybody_still_there(tmp_path: Path) -> None:
    config = written(tmp_path, approvals={"max_pending": 1000})
    async with gateway(config) as front:
        sessions = [legacy(front) for _ in range(8)]
        await asyncio.gather(*(client.initialize() for client in sessions))
        streams = [await client.listen() for client in sessions]
        new = modern(front)
        streams.append(await new.open("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        for number in range(40):
            client = [*sessions, new][number % 9]
            streams.append(await client.open("tools/call", asked(f"open-{number}")))
        await front.pending(40)
        front.terminate()
        assert await front.ended() == 0
        for stream in streams:
            await stream.end()
    async with gateway(config) as front:
        assert len(await front.pending(40)) == 40
        await approve(front, "open-7")
        assert "isError" not in await modern(front).ask("tools/call", asked("open-7"))


async def test_a_modern_client_that_waits_for_a_person_is_told_that_the_gateway_ends(tmp_path: Path) -> None:
    async with gateway(written(tmp_path)) as front:
        new = modern(front)
        waiting = asyncio.create_task(new.open("tools/call", asked("open")))
        await front.pending()
        front.terminate()
        async with asyncio.timeout(60):
            stream = await waiting
        assert "the gateway is ending" in (await stream.answered())["error"]["message"]
        assert await front.ended() == 0
        await new.close()
