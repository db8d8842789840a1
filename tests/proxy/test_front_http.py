"""MCP over HTTP at a real gateway: who may come in, what is refused and how, and whose session it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from airlock.canonical import MAX_VALUES
from support.fronts import LEGACY, MODERN, Front, Json, Legacy, Modern, gateway, written
from support.sessions import DECISION, PREFIX, text_of

pytestmark = pytest.mark.anyio

ALICE, BOB = "token-of-alice", "token-of-bob"
AGENTS: Json = {
    "alice": {"token": ALICE, "allow": ["odd/**"], "ask": ["odd/sleep"]},
    "bob": {"token": BOB, "allow": ["odd/echo"]},
    "tester": {"allow": ["odd/**"]},
}


@pytest.fixture(scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    config = written(tmp_path_factory.mktemp("front"), agents=AGENTS)
    async with gateway(config) as running:
        yield running


def hello(version: str = LEGACY) -> Json:
    info = {"name": "raw", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


def alice(front: Front) -> Legacy:
    return Legacy(front, "/mcp", ALICE)


def modern(front: Front, **capabilities: Any) -> Modern:
    return Modern(front, "/mcp", ALICE, **capabilities)


# -- who comes in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/mcp", None, 401),
        ("/mcp", "guessed", 401),
        ("/agents/alice/mcp", BOB, 403),
        ("/agents/bob/mcp", ALICE, 403),
        ("/agents/nobody/mcp", ALICE, 403),
        ("/agents/alice/mcp", "the-people-know-this-secret", 403),
        ("/mcp", "the-people-know-this-secret", 400),
        ("/agents/tester/mcp", "the-people-know-this-secret", 200),
        ("/agents/alice/mcp", ALICE, 200),
        ("/mcp", ALICE, 200),
    ],
)
async def test_an_agent_comes_in_with_its_own_token_only(
    front: Front, path: str, token: str | None, status: int
) -> None:
    stream = await Legacy(front, path, token).post(hello())
    assert stream.status == status
    assert (status == 401) == ("www-authenticate" in stream.headers)
    await stream.end()


async def test_a_session_does_not_exist_for_another_principal(front: Front) -> None:
    mine = alice(front)
    await mine.initialize()
    theirs = Legacy(front, "/mcp", BOB)
    theirs.headers |= {"Mcp-Session-Id": mine.headers["Mcp-Session-Id"], "MCP-Protocol-Version": LEGACY}
    assert (await theirs.open("tools/list")).status == 404
    assert (await theirs.listen()).status == 404
    assert (await theirs.post(None, method="DELETE")).status == 404
    assert (await theirs.reply(1, {})).status == 404
    stranger = Legacy(front, "/agents/tester/mcp", "the-people-know-this-secret")
    stranger.headers |= {"Mcp-Session-Id": mine.headers["Mcp-Session-Id"]}
    assert (await stranger.open("ping")).status == 404
    assert len((await mine.ask("tools/list"))["tools"]) > 3


async def test_what_an_agent_sees_is_its_own(front: Front) -> None:
    for client, many in ((Modern(front, "/mcp", BOB), False), (modern(front), True)):
        names = {tool["name"] for tool in (await client.ask("tools/list"))["tools"]}
        assert "odd__echo" in names
        assert ("odd__sleep" in names) is many
    status, error = await Modern(front, "/mcp", BOB).fail("tools/call", {"name": "odd__sleep"})
    assert (status, error["code"]) == (400, -32602)


async def test_hosts_and_origins_are_checked_on_every_address(tmp_path: Path) -> None:
    config = written(tmp_path, agents={"alice": {"token": ALICE, "allow": ["odd/**"]}})
    async with gateway(config, "--host", "0.0.0.0") as wide:
        wide.url = wide.url.replace("0.0.0.0", "127.0.0.1")
        client = alice(wide)
        for headers, status in (
            ({"Host": "evil.example"}, 421),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": wide.url}, 200),
            ({}, 200),
        ):
            for method, body in (("POST", hello()), ("GET", None), ("DELETE", None)):
                stream = await client.post(body, headers, method)
                expected = status if status != 200 or method == "POST" else 400
                assert stream.status == expected, (headers, method)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"Content-Type": "text/plain"}, "POST", 415),
        ({"Content-Type": None}, "POST", 415),
        ({"Accept": "application/json"}, "POST", 406),
        ({"Accept": "text/html"}, "POST", 406),
        ({"Accept": "application/json; q=0, text/event-stream"}, "POST", 406),
        ({"Accept": "application/json;q=0.5, text/event-stream;Q=1"}, "POST", 200),
        ({"Accept": "*/*"}, "POST", 200),
        ({"Content-Type": "application/json; charset=utf-8"}, "POST", 200),
        ({}, "PUT", 405),
        ({}, "PATCH", 405),
        ({}, "GET", 400),
        ({}, "DELETE", 400),
        ({"Mcp-Session-Id": "made-up"}, "GET", 404),
        ({"Mcp-Session-Id": "made-up"}, "DELETE", 404),
        ({"MCP-Protocol-Version": MODERN}, "GET", 405),
        ({"MCP-Protocol-Version": MODERN}, "DELETE", 405),
    ],
)
async def test_a_request_that_does_not_fit_has_its_status(
    front: Front, headers: dict[str, Any], method: str, status: int
) -> None:
    stream = await alice(front).post(hello() if method != "GET" else None, headers, method)
    assert stream.status == status
    assert (status == 405) == ("allow" in stream.headers)


@pytest.mark.parametrize(
    ("body", "code", "about"),
    [
        (b"[]", -32600, None),
        (json.dumps([hello(), hello()]).encode(), -32600, None),
        (b"{", -32700, None),
        (b"", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', -32700, 1),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"n":NaN}}', -32700, 1),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"n":[' + b"[]," * MAX_VALUES + b"0]}}",
            -32700,
            1,
        ),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}', -32600, 1),
        (b'{"id":1}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600, None),
    ],
)
async def test_what_is_no_single_message_is_refused(
    front: Front, body: bytes, code: int, about: int | str | None
) -> None:
    """With the id of the request, where it has one; an answer to nothing is answered under none."""
    for client in (alice(front), modern(front)):
        stream = await client.post(body)
        assert stream.status == 400
        (answer,) = await stream.end()
        assert (answer["error"]["code"], answer["id"]) == (code, about)


async def test_a_message_that_is_too_long_is_refused_unread(front: Front) -> None:
    stream = await alice(front).post(b" " * (17 * 1024 * 1024))
    assert stream.status == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1024 * 1024

    client = alice(front)
    answer = await front.http.post(client.url, content=endless(), headers=client.headers)
    assert answer.status_code == 413


async def test_a_request_without_its_session_is_told_to_begin(front: Front) -> None:
    stream = await alice(front).open("tools/list")
    assert (stream.status, (await stream.end())[0]["error"]["code"]) == (400, -32600)
    stream = await alice(front).open("tools/list", Mcp_Session_Id="made-up")
    assert stream.status == 404


async def test_a_session_ends_with_delete(front: Front) -> None:
    client = alice(front)
    await client.initialize()
    assert (await client.open("ping")).status == 200
    assert (await client.post(None, method="DELETE")).status == 204
    assert (await client.open("ping")).status == 404
    assert (await client.post(None, method="DELETE")).status == 404


async def test_a_session_has_one_stream_for_what_belongs_to_no_call(front: Front) -> None:
    client = alice(front)
    await client.initialize()
    first = await client.listen()
    assert first.status == 200
    assert (await client.listen()).status == 409
    await first.close()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Mcp-Method": "tools/list"}, -32020),
        ({"Mcp-Method": None}, -32020),
        ({"Mcp-Method": "TOOLS/CALL"}, -32020),
        ({"Mcp-Name": "odd__sleep"}, -32020),
        ({"Mcp-Name": None}, -32020),
        ({"Mcp-Name": "=?base64?b2RkX19lY2hv?="}, None),
        ({"Mcp-Name": "=?base64?b2RkX19lY2h?="}, -32020),
        ({"MCP-Protocol-Version": "2099-01-01"}, -32020),
        ({"MCP-Protocol-Version": LEGACY}, -32020),
        ({"MCP-Protocol-Version": None}, -32020),
        ({"X-Unknown": "is of no interest"}, None),
    ],
)
async def test_headers_say_what_the_body_says(
    front: Front, headers: dict[str, Any], code: int | None
) -> None:
    client = modern(front)
    frame, own = client.framed("tools/call", {"name": "odd__echo", "arguments": {}})
    stream = await client.post(frame, {**own, **headers})
    (found,) = await stream.end()
    assert found["id"] == frame["id"]
    assert (stream.status, found.get("error", {}).get("code")) == (200 if code is None else 400, code)


async def test_a_version_that_is_not_spoken_is_answered_with_those_that_are(front: Front) -> None:
    client = modern(front)
    client.meta[PREFIX + "protocolVersion"] = "2099-01-01"
    frame, own = client.framed("server/discover", {})
    stream = await client.post(frame, {**own, "MCP-Protocol-Version": "2099-01-01"})
    (found,) = await stream.end()
    data = {"supported": [MODERN], "requested": "2099-01-01"}
    assert (stream.status, found["error"]["code"], found["error"]["data"]) == (400, -32022, data)
    bare = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    stream = await client.post(bare, {"MCP-Protocol-Version": "2099-01-01"})
    assert (stream.status, (await stream.end())[0]["error"]["code"]) == (400, -32022)


async def test_a_missing_envelope_is_a_bad_request(front: Front) -> None:
    client = modern(front)
    for missing in ("protocolVersion", "clientCapabilities"):
        frame, own = client.framed("tools/list", {})
        del frame["params"]["_meta"][PREFIX + missing]
        stream = await client.post(frame, own)
        assert (stream.status, (await stream.end())[0]["error"]["code"]) == (400, -32602)


async def test_methods_that_do_not_exist_are_not_found(front: Front) -> None:
    client = modern(front)
    for method in ("no/such", "initialize", "ping", "logging/setLevel", "tasks/list", "tasks/result"):
        assert (await client.fail(method))[0] == 404
        assert (await client.fail(method))[1]["code"] == -32601
    old = alice(front)
    await old.initialize()
    for method in ("no/such", "server/discover", "subscriptions/listen", "tasks/get"):
        status, error = await old.fail(method)
        assert (status, error["code"]) == (200, -32601)


async def test_notifications_are_taken_and_responses_only_from_old_clients(front: Front) -> None:
    client = modern(front)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert (await client.post(note, {"MCP-Protocol-Version": MODERN})).status == 202
    answer = {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (await client.post(answer, {"MCP-Protocol-Version": MODERN})).status == 400
    old = alice(front)
    await old.initialize()
    assert (await old.reply("never asked", {})).status == 202


# -- what comes back -------------------------------------------------------------------------------


async def test_a_refused_call_says_why(front: Front) -> None:
    client = Modern(front, "/mcp", BOB)
    status, error = await client.fail("tools/call", {"name": "odd__die"})
    assert (status, error["code"]) == (400, -32602)
    assert DECISION not in str(error)


async def test_both_eras_answer_from_one_address(front: Front) -> None:
    old, new = alice(front), modern(front)
    for version in ("2024-11-05", "2025-03-26", "2025-06-18", LEGACY):
        client = alice(front)
        assert (await client.initialize(version=version))["protocolVersion"] == version
        assert json.loads(text_of(await client.call("odd__echo", {"a": version}))) == {"a": version}
    await old.initialize()
    assert (await new.ask("server/discover"))["supportedVersions"] == [MODERN]
    assert (await new.call("odd__echo", {"n": 2**70}))["structuredContent"] == {"n": 2**70}
    assert (await old.call("odd__echo", {"n": 2**70}))["structuredContent"] == {"n": 2**70}


async def test_a_modern_answer_is_plain_json_unless_something_comes_before_it(front: Front) -> None:
    client = modern(front)
    stream = await client.open("tools/call", {"name": "odd__echo", "arguments": {}})
    assert stream.headers["content-type"] == "application/json"
    params = {"name": "odd__progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}}
    stream = await client.open("tools/call", params)
    assert stream.headers["content-type"] == "text/event-stream"
    frames = await stream.end()
    assert [frame.get("method") for frame in frames] == ["notifications/progress"] * 2 + [None]
    assert [frame["params"]["progressToken"] for frame in frames[:2]] == ["p", "p"]


async def test_an_answer_that_json_cannot_say_is_an_error_in_its_place(front: Front) -> None:
    for client in (alice(front), modern(front)):
        if isinstance(client, Legacy):
            await client.initialize()
        raw = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"\\ud800"}}'
        await client.call("odd__raw", {"line": raw})
        assert (await client.call("odd__echo", {"a": 1}))["structuredContent"] == {"a": 1}
