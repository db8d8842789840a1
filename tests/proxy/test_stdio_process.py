"""`airlock stdio` as clients start it: a real process, real servers behind it, a person elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airlock import runtime
from airlock.loader.file import load
from airlock.model import Resolution, Status
from support.processes import SECONDS, Process, alive, command, stdio
from support.sessions import DECISION, Json, odd, policy, text_of

pytestmark = pytest.mark.anyio

YES = Resolution(approve=True, identity="local:alice")


def written(folder: Path, text: str) -> Path:
    path = folder / "airlock.yaml"
    path.write_text(text)
    return path


def simple(folder: Path, *switches: str, **more: Any) -> Path:
    agent = {"allow": ["odd/**"], "ask": ["odd/raw", "odd/progress"], "deny": ["odd/die"]}
    return written(
        folder, policy({"odd": odd(*switches)}, agent, database=f"sqlite:///{folder}/a.db", **more)
    )


async def polled(holds: Callable[[], Any]) -> Any:
    async with asyncio.timeout(SECONDS):
        while not (value := holds()):
            await asyncio.sleep(0.01)  # polls another process
    return value


async def approved(config: Path, count: int = 1) -> list[Any]:
    """What a person does elsewhere: wait for the questions and say yes to each."""
    async with runtime.opened(load(config), road="cli") as elsewhere:
        async with asyncio.timeout(SECONDS):
            while len(found := await elsewhere.gate.pending()) < count:
                await asyncio.sleep(0.01)  # polls a real database
        for one in found:
            await elsewhere.gate.resolve(one.code, YES)
        return found


async def test_a_client_is_served_and_goes(tmp_path: Path) -> None:
    async with stdio(simple(tmp_path)) as client:
        await client.initialize()
        assert text_of(await client.call("odd__echo", {"a": 2**70})) == json.dumps({"a": 2**70})
        assert await client.hang_up() == 0


async def test_a_parked_call_goes_on_when_a_person_elsewhere_says_yes(tmp_path: Path) -> None:
    config = simple(tmp_path)
    async with stdio(config) as client:
        await client.initialize()
        params = {"name": "odd__progress", "arguments": {"steps": 1}, "_meta": {"progressToken": 1}}
        waiting = client.send("tools/call", params)
        told = await client.hears("notifications/progress")
        (request,) = await approved(config)
        assert told["params"]["message"].endswith(f"airlock approve {request.code}")
        assert text_of((await client.answer(waiting))["result"]) == "done"
        others = [frame for frame in client.frames if frame.get("method") != "notifications/progress"]
        assert request.code not in json.dumps(others)
        assert await client.hang_up() == 0


async def test_stdout_carries_protocol_only(tmp_path: Path) -> None:
    config = simple(tmp_path, "--stderr", "noise", "--rubbish", "2")
    async with stdio(config, switches=("--log-level", "debug")) as client:
        await client.initialize()
        await client.call("odd__stderr", {"text": "more noise"})
        await client.call("odd__rubbish", {"lines": 3})
        assert await client.hang_up() == 0
        assert all(line.endswith(b"\n") and json.loads(line)["jsonrpc"] == "2.0" for line in client.raw)


@pytest.mark.parametrize(
    "more",
    ['"Name":"die"', '"Arguments":{"a":2}', '"argument\u017f":{"a":2}', '"NAME":"die","name":"odd__echo"'],
)
async def test_params_that_a_server_without_regard_to_case_reads_otherwise_reach_nobody(
    tmp_path: Path, more: str
) -> None:
    """Go's encoding/json takes `Name` for `name`, and the last of them counts: it would run another tool."""
    async with stdio(simple(tmp_path)) as client:
        await client.initialize()
        await client.ask("tools/list")
        named = "" if '"name"' in more else '"name":"odd__echo","arguments":{"a":1},'
        params = "{" + named + more + "}"
        line = '{"jsonrpc":"2.0","id":"two","method":"tools/call","params":%s}\n' % params  # noqa: UP031
        client.write(line.encode())
        error = (await client.answer("two"))["error"]
        assert (error["code"], "can be taken for" in error["message"]) == (-32600, True)
        seen = await client.call("odd__seen", {"method": "tools/call"})
        assert [frame["params"]["name"] for frame in seen["structuredContent"]["frames"]] == ["seen"]


async def test_messages_that_could_mean_two_things_are_refused_and_reach_nobody(tmp_path: Path) -> None:
    async with stdio(simple(tmp_path)) as client:
        await client.initialize()
        await client.ask("tools/list")
        call = (
            '{"jsonrpc":"2.0","id":"%s","method":"tools/call","params":{"name":"odd__echo","arguments":%s}}\n'
        )
        lines = {
            "twice": '{"a":1,"a":2}',
            "nested": '{"a":[{"b":1,"b":2}]}',
            "nan": '{"a":NaN}',
            "far": '{"a":1e400}',
            "exact": '{"a":0.1000000000000000000000001}',
            "surrogate": '{"a":"\\ud800"}',
            "deep": '{"a":' + "[" * 200 + "]" * 200 + "}",
        }
        for name, arguments in lines.items():
            client.write((call % (name, arguments)).encode())
            assert (await client.answer(name))["error"]["code"] == -32700
        for odd_line in (
            b"[]\n",
            b"7\n",
            b"not json\n",
            b"\xff\xfe\n",
            b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}\n',
        ):
            count = len(client.frames)
            client.write(odd_line)
            await client.until(lambda count=count: len(client.frames) > count)
            assert client.frames[-1]["error"]["code"] in {-32700, -32600}
            assert client.frames[-1]["id"] is None
        client.write(b"\n   \n")
        huge = {"n": 10**4000}
        assert (await client.call("odd__echo", huge))["structuredContent"] == huge
        seen = (await client.call("odd__seen", {"method": "tools/call"}))["structuredContent"]["frames"]
        assert [one["params"]["name"] for one in seen] == ["echo", "seen"]


async def test_closing_stdin_leaves_questions_open_and_ends_the_servers(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    config = simple(tmp_path, "--pid-file", str(pids), "--child")
    async with stdio(config) as client:
        await client.initialize()
        await client.ask("tools/list")
        client.send("tools/call", {"name": "odd__progress", "arguments": {"steps": 0}})
        client.send("tools/call", {"name": "odd__hang", "arguments": {}})
        async with runtime.opened(load(config), road="cli") as elsewhere:
            async with asyncio.timeout(SECONDS):
                while not (found := await elsewhere.gate.pending()):
                    await asyncio.sleep(0.01)  # polls a real database
            assert await client.hang_up() == 0
            assert (await elsewhere.gate.request(found[0].code)).status is Status.PENDING
            await elsewhere.gate.resolve(found[0].code, YES)
            events = await elsewhere.store.events()
        assert "request.left" in {event.kind for event in events}
        assert "request.used" not in {event.kind for event in events}
        assert any('"outcome":"cancelled"' in event.body for event in events)
        for pid in map(int, pids.read_text().split()):
            await polled(lambda pid=pid: not alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    pids = tmp_path / "pids"
    config = simple(tmp_path, "--pid-file", str(pids), "--ignore-term")
    async with stdio(config) as client:
        await client.initialize()
        await client.call("odd__echo")
        client.send("tools/call", {"name": "odd__hang", "arguments": {}})
        client.process.send_signal(number)
        assert await client.ended() == 0
        for pid in map(int, pids.read_text().split()):
            await polled(lambda pid=pid: not alive(pid))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed_already_are_an_end_like_any_other(tmp_path: Path, closed: str) -> None:
    config = simple(tmp_path)
    words = [sys.executable, "-m", "airlock", "stdio", "--agent", "tester", "--config", str(config)]
    line = f"exec {shlex.join(words)} {closed}"
    done = subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
    assert done.returncode == 0


async def test_after_a_crash_the_same_call_finds_its_question(tmp_path: Path) -> None:
    config = simple(tmp_path)
    call = {"name": "odd__progress", "arguments": {"steps": 0}, "_meta": {"progressToken": "t"}}
    messages = []
    for _ in range(2):
        async with stdio(config) as client:
            await client.initialize()
            client.send("tools/call", call)
            messages.append((await client.hears("notifications/progress"))["params"]["message"])
            client.process.kill()
            await client.ended()
    assert messages[0] == messages[1]
    async with runtime.opened(load(config), road="cli") as elsewhere:
        (request,) = await elsewhere.gate.pending()
        assert request.code in messages[0]


async def test_what_was_asked_before_eof_is_still_answered(tmp_path: Path) -> None:
    frames = [
        {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        {"id": 3, "method": "tools/call", "params": {"name": "odd__echo", "arguments": {"x": 1}}},
        {"id": 4, "method": "tools/call", "params": {"name": "odd__progress", "arguments": {"steps": 1}}},
    ]
    text = "".join(json.dumps({"jsonrpc": "2.0", **frame}) + "\n" for frame in frames)
    done = await asyncio.to_thread(
        subprocess.run,
        command(simple(tmp_path)),
        input=text.encode(),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0
    answers = {frame["id"]: frame for frame in map(json.loads, done.stdout.splitlines())}
    assert set(answers) == {1, 2, 3}  # nobody is left to wait for the person
    assert answers[3]["result"]["structuredContent"] == {"x": 1}


async def test_a_bad_config_is_said_in_the_answer_to_initialize(tmp_path: Path) -> None:
    config = written(tmp_path, "providers:\n  git: {type: stdoi}\nagents: {tester: {alow: []}}\n")
    async with stdio(config) as client:
        error = (await client.answer(client.send("initialize", {"protocolVersion": "2025-11-25"})))["error"]
        assert error["message"].startswith("airlock cannot start: ")
        assert "airlock.yaml:2" in error["message"]
        assert "airlock policy check" in error["message"]
        assert (await client.answer(client.send("server/discover")))["error"] == error
        assert await client.hang_up() == 2


async def test_an_unknown_agent_is_said_in_the_answer(tmp_path: Path) -> None:
    async with stdio(simple(tmp_path), agent="testr") as client:
        error = (await client.answer(client.send("initialize", {"protocolVersion": "2025-11-25"})))["error"]
        assert error["message"] == "airlock cannot start: unknown agent `testr`: did you mean `tester`?"
        assert await client.hang_up() == 2


async def test_a_changed_policy_is_in_force_and_the_client_hears_of_it(tmp_path: Path) -> None:
    config = simple(tmp_path)
    async with stdio(config) as client:
        await client.initialize()
        await client.ask("tools/list")
        text = config.read_text().replace('"odd/die"', '"odd/die", "odd/echo"')
        draft = tmp_path / "new"
        draft.write_text(text)
        draft.rename(config)
        await client.hears("notifications/tools/list_changed")
        names = [one["name"] for one in (await client.ask("tools/list"))["tools"]]
        assert "odd__echo" not in names


async def test_a_client_that_does_not_read_does_not_fill_our_memory(tmp_path: Path) -> None:
    config = simple(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *command(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    client = Process(process)
    try:
        await client.initialize()
        await client.call("odd__echo")
        client._reading.cancel()
        call = {"name": "odd__huge", "arguments": {"bytes": 1_000_000}}
        for number in range(100, 200):
            client.send("tools/call", call, number)
        await polled(
            lambda: process.stdin is not None and process.stdin.transport.get_write_buffer_size() == 0
        )
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            kilobytes = int(
                next(line for line in status.read_text().splitlines() if "VmRSS" in line).split()[1]
            )
            assert kilobytes < 300_000
    finally:
        process.kill()
        await process.wait()


# -- real programs -------------------------------------------------------------------------------------


def repository(folder: Path) -> Path:
    """A git repository with one staged change."""
    path = folder / "repo"
    path.mkdir()
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for words in (
        ["init", "-q", "-b", "main"],
        ["config", "user.email", "a@example.org"],
        ["config", "user.name", "A"],
    ):
        subprocess.run(["git", *words], cwd=path, check=True, env=environment, timeout=SECONDS)
    (path / "file.txt").write_text("text\n")
    subprocess.run(["git", "add", "."], cwd=path, check=True, env=environment, timeout=SECONDS)
    return path


def log_of(repo: Path) -> str:
    """The subjects of its commits."""
    words = ["git", "log", "--format=%s"]
    return subprocess.run(words, cwd=repo, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def real(folder: Path) -> tuple[Path, Path]:
    """A config with mcp-server-git and mcp-server-time, and the repository."""
    repo = repository(folder)
    python = sys.executable
    providers: Json = {
        "git": {
            "type": "stdio",
            "command": python,
            "args": ["-m", "mcp_server_git", "--repository", str(repo)],
        },
        "time": {
            "type": "stdio",
            "command": python,
            "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
        },
        "demo": {"type": "builtin"},
    }
    agent = {
        "allow": ["git/git_status", "git/git_log", "time/**", "demo/*"],
        "ask": ["git/git_commit"],
        "deny": ["git/git_reset"],
    }
    return written(folder, policy(providers, agent, database=f"sqlite:///{folder}/a.db")), repo


@pytest.mark.real
@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_the_sdk_client_reads_is_refused_and_commits_after_a_yes(tmp_path: Path, mode: str) -> None:
    from mcp import Client, MCPError, StdioServerParameters

    config, repo = real(tmp_path)
    words = command(config)
    server = StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ))
    at = {"repo_path": str(repo)}
    async with asyncio.timeout(60), Client(server, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"git__git_status", "git__git_commit", "time__get_current_time"} <= names
        assert any(name.startswith("demo__") for name in names)
        assert "git__git_reset" not in names
        found = await client.call_tool("git__git_status", at)
        assert "file.txt" in found.content[0].text
        with pytest.raises(MCPError) as refused:
            await client.call_tool("git__git_reset", at)
        assert refused.value.error.code == -32602
        heard: list[str] = []

        async def progressed(_: float, __: float | None, message: str | None) -> None:
            heard.append(message or "")

        committing = asyncio.create_task(
            client.call_tool("git__git_commit", {**at, "message": "first"}, progress_callback=progressed)
        )
        (request,) = await approved(config)
        found = await committing
        assert not found.is_error
        assert "committed" in found.content[0].text.lower()
        assert heard[0] == f"waiting for approval {request.code}: airlock approve {request.code}"
    assert await asyncio.to_thread(log_of, repo) == "first\n"


@pytest.mark.real
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_answers_an_elicitation_through_airlock(tmp_path: Path, mode: str) -> None:
    from mcp import Client, StdioServerParameters
    from mcp.types import ElicitResult

    config = written(tmp_path, policy({"odd": odd("--era", "legacy"), "new": odd("--era", "modern")}))
    words = command(config)
    server = StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ))
    asked: list[str] = []

    async def elicited(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"ok": True})

    async with asyncio.timeout(60), Client(server, mode=mode, elicitation_callback=elicited) as client:
        for name in ("odd", "new"):
            found = await client.call_tool(f"{name}__ask", {"kind": "elicitation"})
            assert found.structured_content["answer"]["content"] == {"ok": True}
    assert asked == ["[odd] sure?", "[new] sure?"]
    assert DECISION
