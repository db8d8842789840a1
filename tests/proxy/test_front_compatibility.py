"""Every feature for every pairing of eras and transports; docs/compatibility.md is written from the outcomes.

`AIRLOCK_WRITE_DOCS=1 pytest tests/proxy/test_front_compatibility.py` writes the table anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from airlock import runtime
from airlock.gate import Gate
from airlock.loader.file import load
from airlock.model import Resolution
from support import compat_table
from support.compat_table import SERVERS, Outcomes
from support.fronts import FIXTURES, SECONDS, Json, http_server
from support.lines import CLIENTS, Call, Line, Pipe, Web, line
from support.sessions import PREFIX, text_of

pytestmark = pytest.mark.anyio

Feature = Callable[[Line, str], Awaitable[None]]
FEATURES: dict[str, tuple[Feature, Callable[[Line, str], bool]]] = {}
OUTCOMES: Outcomes = {}
ERAS = {"old": "legacy", "new": "modern"}
ENDED = {"completed", "failed", "cancelled"}
SAID: Json = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hello"}}
ANSWERS: dict[str, tuple[str, Json, str]] = {
    "elicitation": ("elicitation/create", {"action": "accept", "content": {"name": "Ada"}}, "Ada"),
    "sampling": ("sampling/createMessage", SAID, "hello"),
    "roots": ("roots/list", {"roots": [{"uri": "file:///home/ada"}]}, "file:///home/ada"),
}


def feature(
    name: str, *, exists: Callable[[Line, str], bool] = lambda line, server: True
) -> Callable[[Feature], Feature]:
    """One row of the table; `exists` says for which pairings the protocol has it at all."""

    def register(check: Feature) -> Feature:
        FEATURES[name] = (check, exists)
        return check

    return register


# -- the pairings ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def config(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    folder = tmp_path_factory.mktemp("pairings")
    async with (
        http_server("conformance_server.py", *switches("old-http")) as old,
        http_server("conformance_server.py", *switches("new-http")) as new,
    ):
        providers = {
            "old-stdio": process("old-stdio"),
            "old-http": {"type": "http", "url": old},
            "new-stdio": process("new-stdio"),
            "new-http": {"type": "http", "url": new},
        }
        agent = {
            "allow": ["*/**", "resource:*/**", "prompt:*/**"],
            "ask": ["*/test_image_content"],
            "deny": ["*/test_audio_content"],
            "wait": "auto",
        }
        path = folder / "airlock.yaml"
        whole = {"providers": providers, "agents": {"tester": agent}, "names": {"max": 64}}
        path.write_text(json.dumps({**whole, "database": f"sqlite:///{folder}/a.db"}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRLOCK_STATE_DIR", str(folder / "state"))
            await asyncio.gather(introduced("legacy stdio", path), introduced("modern stdio", path))
            yield path


async def introduced(kind: str, config: Path) -> None:
    """Let Airlock meet the servers, so that it can speak of them in its first answer."""
    async with line(kind, config) as first:
        await first.ask("tools/list")
        assert isinstance(first, Pipe)
        assert await first.process.hang_up() == 0


def switches(server: str) -> list[str]:
    return ["--era", ERAS[server[:3]], "--scheme", server]


def process(server: str) -> Json:
    script = str(FIXTURES / "conformance_server.py")
    return {"type": "stdio", "command": sys.executable, "args": [script, "--stdio", *switches(server)]}


@pytest.fixture(scope="module", params=CLIENTS)
async def client(request: pytest.FixtureRequest, config: Path) -> AsyncIterator[Line]:
    async with line(request.param, config) as connected:
        await connected.ask("tools/list")
        yield connected


@pytest.mark.parametrize("server", SERVERS)
async def test_every_feature_of_a_pairing(client: Line, server: str) -> None:
    kind = f"{client.era} {client.transport}"
    problems = []
    for name, (check, exists) in FEATURES.items():
        if not exists(client, server):
            OUTCOMES[name, kind, server] = None
            continue
        try:
            async with asyncio.timeout(SECONDS):
                await check(client, server)
        except Exception as error:  # noqa: BLE001 - every feature is tried, whatever another one does
            problems.append(f"{name}: {error!r}")
        OUTCOMES[name, kind, server] = not any(one.startswith(f"{name}:") for one in problems)
    assert problems == []


def test_the_table_in_the_docs_is_what_was_found() -> None:
    if len(OUTCOMES) < len(FEATURES) * len(CLIENTS) * len(SERVERS):
        return  # only some pairings were run
    if os.environ.get("AIRLOCK_WRITE_DOCS"):
        compat_table.write(OUTCOMES)
    assert compat_table.documented() == compat_table.table(OUTCOMES)


# -- the features ----------------------------------------------------------------------------------


@feature("tools: list, call, structured and unknown content")
async def tools(line: Line, server: str) -> None:
    names = [tool["name"] for tool in (await line.ask("tools/list"))["tools"]]
    assert f"{server}__test_simple_text" in names
    result = await line.call(f"{server}__test_multiple_content_types")
    assert [one["type"] for one in result["content"]] == ["text", "image", "resource"]
    schema = next(tool for tool in (await line.ask("tools/list"))["tools"] if "json_schema" in tool["name"])[
        "inputSchema"
    ]
    assert schema["if"]


@feature("tools: errors of the tool, and tools that do not exist")
async def errors(line: Line, server: str) -> None:
    assert (await line.call(f"{server}__test_error_handling"))["isError"] is True
    error = await line.fail("tools/call", {"name": f"{server}__no_such_tool", "arguments": {}})
    assert error["code"] == -32602


@feature("progress")
async def progress(line: Line, server: str) -> None:
    meta = {"progressToken": f"p-{server}"}
    params = {"name": f"{server}__test_tool_with_progress", "arguments": {}, "_meta": meta}
    call = await line.begin("tools/call", params)
    await call.hears("notifications/progress", lambda frame: frame["params"]["progress"] == 100)
    await call.answered()
    seen = [f["params"]["progress"] for f in told(call, "notifications/progress", f"p-{server}")]
    assert seen == [0, 50, 100]


def told(call: Call, method: str, token: str) -> list[Json]:
    frames = [f for f in call._frames() if f.get("method") == method]
    return [f for f in frames if f["params"].get("progressToken") == token]


@feature("logging")
async def logging(line: Line, server: str) -> None:
    params: Json = {"name": f"{server}__test_tool_with_logging", "arguments": {}}
    if line.era == "legacy":
        await line.ask("logging/setLevel", {"level": "info"})
    else:
        params["_meta"] = {PREFIX + "logLevel": "info"}
    call = await line.begin("tools/call", params)
    await call.hears("notifications/message", lambda f: "completed" in str(f["params"]["data"]))


@feature("cancellation reaches the server")
async def cancellation(line: Line, server: str) -> None:
    key = f"{line.era}-{line.transport}-{server}"
    meta = {"progressToken": key}
    params = {"name": f"{server}__wait_for_cancel", "arguments": {"key": key}, "_meta": meta}
    call = await line.begin("tools/call", params)
    await call.hears("notifications/progress", lambda frame: frame["params"]["progressToken"] == key)
    await call.cancel()
    while key not in text_of(await line.call(f"{server}__cancelled")):
        await asyncio.sleep(0.01)  # polls the server


async def question(line: Line, server: str, kind: str) -> None:
    method, answer, expected = ANSWERS[kind]
    params = {"name": f"{server}__ask_client", "arguments": {"kind": kind}}
    if line.era == "legacy":
        before = {json.dumps(f["id"]) for f in line.frames() if f.get("method") == method}
        call = await line.begin("tools/call", params)
        asked = await call.hears(method, lambda f: json.dumps(f["id"]) not in before)
        await line.reply(asked["id"], answer)
        result = (await call.answered())["result"]
    else:
        first = await line.ask("tools/call", params)
        ((key, asked),) = first["inputRequests"].items()
        assert asked["method"] == method
        again = {"inputResponses": {key: answer}, "requestState": first["requestState"]}
        result = await line.ask("tools/call", {**params, **again})
    if kind == "elicitation":
        assert asked["params"]["message"].startswith(f"[{server}] ")
    assert expected in text_of(result)


@feature("elicitation, naming the server that asks")
async def elicitation(line: Line, server: str) -> None:
    await question(line, server, "elicitation")


@feature("sampling")
async def sampling(line: Line, server: str) -> None:
    await question(line, server, "sampling")


@feature("roots")
async def roots(line: Line, server: str) -> None:
    await question(line, server, "roots")


@feature("resources: list, templates, read, not found")
async def resources(line: Line, server: str) -> None:
    uris = [one["uri"] for one in (await line.ask("resources/list"))["resources"]]
    assert f"{server}://static-text" in uris
    found = await line.ask("resources/read", {"uri": f"{server}://static-binary"})
    assert found["contents"][0]["blob"]
    listed = (await line.ask("resources/templates/list"))["resourceTemplates"]
    assert any(one["uriTemplate"].startswith(server) for one in listed)
    found = await line.ask("resources/read", {"uri": f"{server}://template/7/data"})
    assert '"7"' in found["contents"][0]["text"]
    error = await line.fail("resources/read", {"uri": f"{server}://none"})
    assert error["code"] == (-32602 if line.era == "modern" else -32002)


@feature("resources: subscriptions and updates")
async def subscriptions(line: Line, server: str) -> None:
    uri = f"{server}://watched-resource"
    if line.era == "legacy":
        call = await line.begin("resources/subscribe", {"uri": uri})
        await call.answered()
    else:
        call = await line.begin("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})
        await acknowledged(call)
    while not any(updated(frame, uri) for frame in call._frames()):
        await line.call(f"{server}__touch", {"uri": uri})
        await asyncio.sleep(0.02)  # notifications and answers travel on different streams
    if line.era == "legacy":
        assert await line.ask("resources/unsubscribe", {"uri": uri}) == {}
    else:
        await call.cancel()


async def acknowledged(call: Call) -> None:
    await call.hears(
        "notifications/subscriptions/acknowledged",
        lambda f: f["params"]["_meta"][PREFIX + "subscriptionId"] == call.id,
    )


def updated(frame: Json, uri: str) -> bool:
    return frame.get("method") == "notifications/resources/updated" and frame["params"]["uri"] == uri


@feature("prompts")
async def prompts(line: Line, server: str) -> None:
    names = [one["name"] for one in (await line.ask("prompts/list"))["prompts"]]
    name = f"{server}__test_prompt_with_arguments"
    assert name in names
    found = await line.ask("prompts/get", {"name": name, "arguments": {"arg1": "x", "arg2": "y"}})
    assert "arg1='x', arg2='y'" in found["messages"][0]["content"]["text"]


@feature("completion")
async def completion(line: Line, server: str) -> None:
    ref = {"type": "ref/prompt", "name": f"{server}__test_prompt_with_arguments"}
    found = await line.ask("completion/complete", {"ref": ref, "argument": {"name": "arg1", "value": "par"}})
    assert found["completion"]["values"] == ["paris", "park", "party"]


@feature("lists that change")
async def changes(line: Line, server: str) -> None:
    if line.era == "modern":
        call = await line.begin("subscriptions/listen", {"notifications": {"promptsListChanged": True}})
        await acknowledged(call)
    else:
        call = await line.begin("ping")
        await call.answered()
    seen = len([f for f in line.frames() if f.get("method") == "notifications/prompts/list_changed"])
    await line.ask("prompts/list")
    while True:
        await line.call(f"{server}__test_trigger_prompt_change")
        await asyncio.sleep(0.02)  # notifications and answers travel on different streams
        heard = [f for f in call._frames() if f.get("method") == "notifications/prompts/list_changed"]
        if len(heard) > (seen if line.era == "legacy" or line.transport == "stdio" else 0):
            break
    if line.era == "modern":
        await call.cancel()


@feature("instructions of the servers")
async def instructions(line: Line, server: str) -> None:
    assert f"## {server}\n\nA server for tests." in line.greeting["instructions"]


@feature("a denied tool is not shown, and does not exist when it is called")
async def denied(line: Line, server: str) -> None:
    name = f"{server}__test_audio_content"
    assert name not in [tool["name"] for tool in (await line.ask("tools/list"))["tools"]]
    assert (await line.fail("tools/call", {"name": name, "arguments": {}}))["code"] == -32602


@pytest.fixture(scope="module")
async def people(config: Path) -> AsyncIterator[Gate]:
    """The same queue from another process's place."""
    async with runtime.opened(load(config), road="cli") as opened:
        yield opened.gate


async def approve(people: Gate, mark: str) -> None:
    """What a person does: wait for that question, and say yes."""
    yes = Resolution(approve=True, identity="local:alice")
    async with asyncio.timeout(SECONDS):
        while not (found := [one for one in await people.pending() if mark in one.arguments]):
            await asyncio.sleep(0.01)  # polls a real database
    await people.resolve(found[0].code, yes)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_call_that_waits_goes_on_after_a_yes(client: Line, server: str, people: Gate) -> None:
    kind = f"{client.era} {client.transport}"
    mark = f"{kind} {server}"
    meta = {"progressToken": mark}
    params = {"name": f"{server}__test_image_content", "arguments": {"mark": mark}, "_meta": meta}
    call = await client.begin("tools/call", params)
    if client.era == "legacy":
        await call.hears("notifications/progress", lambda f: f["params"]["progressToken"] == mark)
        await approve(people, mark)
        result = (await call.answered())["result"]
    else:
        made = (await call.answered())["result"]
        assert made["resultType"] == "task"
        await approve(people, mark)
        result = (await task_end(client, made["taskId"]))["result"]
    assert result["content"][0]["type"] == "image"
    OUTCOMES["a call that waits for a person: held, with progress", kind, server] = (
        True if client.era == "legacy" else None
    )
    OUTCOMES["a call that waits for a person: as a task", kind, server] = (
        True if client.era == "modern" else None
    )


async def task_end(line: Line, task_id: str) -> Json:
    async with asyncio.timeout(SECONDS):
        while (found := await line.ask("tasks/get", {"taskId": task_id}))["status"] not in ENDED:
            await asyncio.sleep(0.02)  # a client polls
    return found


@feature(
    "the servers' own tasks",
    exists=lambda line, server: line.era == "modern" and server.startswith("new"),
)
async def own_tasks(line: Line, server: str) -> None:
    made = await line.call(f"{server}__slow_compute", {"seconds": 0.05, "label": "x"})
    assert made["resultType"] == "task"
    assert text_of((await task_end(line, made["taskId"]))["result"]) == "computed x"


@feature(
    "a stream that broke is taken up again",
    exists=lambda line, server: (line.era, line.transport) == ("legacy", "http"),
)
async def resumed(line: Line, server: str) -> None:
    assert isinstance(line, Web)
    call = await line.begin("tools/call", {"name": f"{server}__test_tool_with_logging", "arguments": {}})
    assert call.stream is not None
    await call.stream.until(lambda: call.stream and call.stream.events)
    last = call.stream.events[0][0]
    await call.stream.close()
    again = await line.talk.post(None, {"Last-Event-ID": last}, "GET")
    assert text_of((await again.answered())["result"]) == "logged"
