"""Upstreams that are real processes, well-behaved and not, in both eras."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airlock.config import ProviderConfig
from airlock.errors import UpstreamError, WireError
from airlock.proxy.link import Facing
from airlock.proxy.upstream import stdio as upstream_stdio
from airlock.proxy.upstream.backoff import Backoff
from airlock.proxy.upstream.factory import make_upstream
from airlock.proxy.upstream.stdio import StdioTransport
from support.processes import alive
from support.upstreams import LEGACY, MODERN, Listener, at_once, call, odd, request, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("facing", "speaks", "era"),
    [
        (LEGACY, "legacy", "legacy"),
        (LEGACY, "both", "legacy"),
        (LEGACY, "modern", "modern"),
        (MODERN, "legacy", "legacy"),
        (MODERN, "both", "modern"),
        (MODERN, "modern", "modern"),
    ],
)
async def test_the_clients_era_is_tried_first_and_the_other_one_taken(
    facing: Facing, speaks: str, era: str
) -> None:
    async with running(odd("--era", speaks, "--instructions", "be kind"), facing) as (upstream, listener):
        state = upstream.state
        assert (state.phase, state.era) == ("ready", era)
        assert state.protocol_version == ("2026-07-28" if era == "modern" else "2025-11-25")
        assert state.server_info == {"name": "odd", "version": "1"}
        assert state.instructions == "be kind"
        assert state.capabilities["tools"] == {"listChanged": True}
        assert state.pid
        assert listener.phases == ["starting", "ready"]
        assert (await call(upstream, "echo", a=[1, None]))["structuredContent"] == {"a": [1, None]}
        assert "result" in await request(upstream, "tools/list")


@pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])
async def test_an_upstream_is_promised_what_the_client_declared_less_what_the_config_denies(
    facing: Facing, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    provider = odd("--log", str(log), sampling=False, roots=False)
    async with running(provider, facing):
        pass
    assert '"elicitation":{"form":{},"url":{}}' in log.read_text()
    assert "sampling" not in log.read_text()
    assert "roots" not in log.read_text()


async def test_a_denied_kind_of_question_is_refused_without_asking_anybody() -> None:
    async with running(odd(sampling=False)) as (upstream, listener):
        answer = (await call(upstream, "ask", kind="sampling"))["structuredContent"]["answer"]
        assert answer["code"] == -32601
        assert listener.asks == []
    async with running(odd(sampling=False), MODERN) as (upstream, listener):
        reply = await request(upstream, "tools/call", {"name": "ask", "arguments": {"kind": "sampling"}})
        assert "was not offered" in reply["error"]["message"]


async def test_a_question_of_the_upstream_is_answered_through_respond() -> None:
    async with running(odd()) as (upstream, listener):
        asking = asyncio.create_task(call(upstream, "ask", kind="elicitation"))
        await listener.until(lambda: listener.asks)
        request_id, method, _ = listener.asks[0]
        assert method == "elicitation/create"
        upstream.respond(request_id, {"result": {"action": "accept"}})
        assert (await asking)["structuredContent"]["answer"] == {"action": "accept"}


async def test_a_withdrawn_question_is_told() -> None:
    async with running(odd()) as (upstream, listener):
        await call(upstream, "withdraw")
        assert listener.withdrawals == [listener.asks[0][0]]


async def test_progress_flows_while_a_call_is_open() -> None:
    for facing in (LEGACY, MODERN):
        async with running(odd(), facing) as (upstream, _):
            seen: list[Any] = []
            done = asyncio.get_running_loop().create_future()
            params = {"name": "progress", "arguments": {"steps": 3}, "_meta": {"progressToken": "client"}}
            upstream.request("tools/call", params, done.set_result, seen.append)
            async with asyncio.timeout(60):
                await done
            assert [one["progress"] for one in seen] == [1, 2, 3]
            assert "progressToken" not in seen[0]


async def test_vendor_keys_of_meta_pass_in_both_eras() -> None:
    for facing in (LEGACY, MODERN):
        async with running(odd(), facing) as (upstream, _):
            params = {"name": "meta", "_meta": {"vendor/x": [1], "traceparent": "t"}}
            meta = (await request(upstream, "tools/call", params))["result"]["structuredContent"]
            assert meta["vendor/x"] == [1]
            assert meta["traceparent"] == "t"


async def test_a_cancelled_call_reaches_the_upstream_under_our_id_and_a_late_answer_is_dropped() -> None:
    async with running(odd()) as (upstream, _):
        replies: list[Any] = []
        ticket = upstream.request("tools/call", {"name": "late"}, replies.append)
        upstream.cancel(ticket, "user-cancel")
        frames = (await call(upstream, "seen", method="notifications/cancelled"))["structuredContent"]
        assert frames["frames"][0]["params"] == {"requestId": ticket, "reason": "user-cancel"}
        assert replies == []


async def test_double_answers_and_answers_to_strangers_reach_nobody_else() -> None:
    async with running(odd()) as (upstream, _):
        sleeping = asyncio.create_task(call(upstream, "sleep", key="k"))
        assert (await call(upstream, "twice"))["content"][0]["text"] == "first"
        assert (await call(upstream, "stranger"))["content"][0]["text"] == "right"
        await call(upstream, "wake", key="k", text="mine")
        assert (await sleeping)["content"][0]["text"] == "mine"


async def test_a_notification_is_handed_on_and_early_ones_wait_for_the_handshake() -> None:
    async with running(odd("--rubbish", "3")) as (upstream, listener):
        await call(upstream, "notify", method="notifications/vendor", params={"a": 1})
        assert listener.notes == [("notifications/vendor", {"a": 1})]
        upstream.notify("notifications/roots/list_changed", None)
        frames = (await call(upstream, "seen", method="notifications/roots/list_changed"))[
            "structuredContent"
        ]
        assert len(frames["frames"]) == 1


async def test_an_upstream_that_dies_in_a_call_fails_that_call_and_comes_back() -> None:
    async with running(odd("--stderr", "gone fishing")) as (upstream, listener):
        first = upstream.state.pid
        sleeping = asyncio.create_task(request(upstream, "tools/call", {"name": "hang"}))
        reply = await request(upstream, "tools/call", {"name": "die", "arguments": {"code": 9}})
        expected = "airlock: upstream `odd`: it ended with exit code 9; the call was not repeated"
        assert reply == {"error": {"code": -32000, "message": expected}}
        assert await sleeping == reply
        await listener.until(lambda: listener.phases.count("ready") == 2)
        assert listener.phases == ["starting", "ready", "broken", "starting", "ready"]
        assert upstream.state.pid != first
        assert upstream.state.restarts == 1
        seen = (await call(upstream, "seen", method="tools/call"))["structuredContent"]["frames"]
        assert [frame["params"]["name"] for frame in seen] == ["seen"]  # nothing was repeated


async def test_an_answer_written_just_before_death_still_counts() -> None:
    code = "import sys, json\nfor line in sys.stdin:\n f = json.loads(line)\n m = f['method']\n"
    code += " r = {'protocolVersion': '2025-11-25', 'capabilities': {}, 'serverInfo': {}}\n"
    code += " if 'id' in f: print(json.dumps({'jsonrpc': '2.0', 'id': f['id'], 'result': r}), flush=True)\n"
    code += " if m == 'tools/call': sys.exit(4)\n"
    provider = ProviderConfig(name="x", type="stdio", command=sys.executable, args=("-S", "-c", code))
    async with running(provider) as (upstream, listener):
        assert "result" in await request(upstream, "tools/call", {})
        await listener.until(lambda: "broken" in listener.phases)


async def test_an_end_that_a_busy_airlock_notices_late_is_told_as_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    code = "import os, sys; sys.stdin.readline(); os.close(1); open(sys.argv[1]).read(); os._exit(5)"
    args = ("-S", "-c", code, str(tmp_path / "fifo"))
    provider = ProviderConfig(name="x", type="stdio", command=sys.executable, args=args)
    usual = StdioTransport._broke

    def broke(transport: StdioTransport, reason: str) -> None:
        usual(transport, reason)
        os.close(os.open(tmp_path / "fifo", os.O_WRONLY))
        assert transport._process is not None
        while not transport._process.over:  # busy: nothing else runs here until it has ended
            pass
        time.sleep(upstream_stdio.DYING)

    monkeypatch.setattr(StdioTransport, "_broke", broke)
    async with running(provider, ready=False) as (upstream, _):
        assert upstream.state.reason == "it ended with exit code 5"


@pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])
async def test_a_server_that_cannot_start_says_its_last_words(facing: Facing) -> None:
    provider = odd("--stderr", "no such database", "--die-at-start", "3")
    async with running(provider, facing, ready=False) as (upstream, _):
        reason = "it ended with exit code 3; its last words: no such database"
        assert upstream.state.reason == reason
        assert upstream.state.stderr_tail == ("no such database",)
        with pytest.raises(UpstreamError) as caught:
            upstream.request("tools/list", None, lambda _: None)
        assert "no such database" not in str(caught.value)  # a model may read that one


async def test_a_command_that_is_not_there_is_named_with_a_cure() -> None:
    provider = ProviderConfig(name="git", type="stdio", command="no-such-server")
    async with running(provider, ready=False) as (upstream, _):
        assert "command not found: `no-such-server`" in upstream.state.reason
        with pytest.raises(UpstreamError, match="`git` is not available: command not found"):
            upstream.request("tools/list", None, lambda _: None)


async def test_a_server_that_never_answers_is_broken_after_the_limit_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = odd("--hang-on", "*", "--stderr", "thinking")
    async with running(provider, ready=False, start_seconds=0.5, backoff=at_once()) as (upstream, listener):
        assert upstream.state.reason.startswith("it did not finish the handshake within 0.5 s")
        await listener.until(lambda: listener.phases.count("broken") == 2)
    told = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(told) == 1, told


async def test_a_server_that_ignores_the_modern_greeting_is_greeted_in_the_old_way() -> None:
    provider = odd("--era", "legacy", "--hang-on", "server/discover")
    async with running(provider, MODERN, probe_seconds=0.05) as (upstream, _):
        assert upstream.state.era == "legacy"


async def test_a_modern_server_that_starts_slowly_is_not_taken_for_a_legacy_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    provider = odd("--era", "modern", "--wait-for", str(fifo))
    async with running(provider, MODERN, ready=None, probe_seconds=0.05) as (upstream, _):
        assert await upstream.ready(0.2) is False
        os.close(os.open(fifo, os.O_WRONLY))
        assert await upstream.ready(60) is True
        assert upstream.state.era == "modern"


async def test_a_server_that_dies_of_the_modern_greeting_is_greeted_in_the_old_way() -> None:
    provider = odd("--die-on", "server/discover")
    async with running(provider, MODERN) as (upstream, listener):
        assert upstream.state.era == "legacy"
        assert "broken" not in listener.phases


async def test_a_server_that_starts_slowly_is_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with running(odd("--wait-for", str(fifo)), ready=None) as (upstream, _):
        assert await upstream.ready(0.05) is False
        with pytest.raises(UpstreamError, match="is starting"):
            upstream.request("tools/list", None, lambda _: None)
        os.close(os.open(fifo, os.O_WRONLY))
        assert await upstream.ready(60) is True


async def test_rubbish_on_stdout_is_skipped() -> None:
    async with running(odd("--rubbish", "300"), MODERN) as (upstream, _):
        await call(upstream, "rubbish", lines=500)
        assert (await call(upstream, "rubbish", lines=900, text="[1,2]"))["content"]
        assert upstream.state.phase == "ready"


async def test_too_much_rubbish_breaks_the_connection() -> None:
    async with running(odd()) as (upstream, listener):
        reply = await request(upstream, "tools/call", {"name": "rubbish", "arguments": {"lines": 5000}})
        assert "lines to stdout that are no MCP messages" in reply["error"]["message"]
        await listener.until(lambda: listener.phases.count("ready") == 2)


async def test_an_answer_that_is_not_acceptable_fails_its_call_at_once() -> None:
    async with running(odd()) as (upstream, _):
        replies: list[Any] = []
        ticket = upstream.request("tools/call", {"name": "hang"}, replies.append)
        for bad in ('"result":{"a":1,"a":2}', '"result":{"a":NaN}', '"result":1,"error":2'):
            line = f'{{"jsonrpc":"2.0","id":{ticket},{bad}}}'
            await call(upstream, "raw", line=line)
        assert len(replies) == 1
        assert "its answer was refused: duplicate key `a`" in replies[0]["error"]["message"]


async def test_a_question_that_is_not_acceptable_is_answered_with_an_error() -> None:
    async with running(odd()) as (upstream, listener):
        await call(
            upstream, "raw", line='{"jsonrpc":"2.0","id":"q","method":"roots/list","params":{"a":1,"a":2}}'
        )
        await call(upstream, "raw", line='{"jsonrpc":"2.0","id":"q2","method":"vendor","params":[]}')
        seen = (await call(upstream, "seen"))["structuredContent"]["frames"]
        errors = {frame["id"]: frame["error"]["code"] for frame in seen if "error" in frame}
        assert errors == {"q": -32700, "q2": -32600}
        assert listener.asks == []


async def test_a_message_over_the_limit_breaks_the_connection_and_says_so() -> None:
    async with running(odd(), limit=100_000) as (upstream, listener):
        assert len((await call(upstream, "huge", bytes=90_000))["content"][0]["text"]) == 90_000
        reply = await request(upstream, "tools/call", {"name": "huge", "arguments": {"bytes": 200_000}})
        assert "a message longer than 100000 bytes" in reply["error"]["message"]
        await listener.until(lambda: listener.phases.count("ready") == 2)


async def test_five_megabytes_and_odd_values_pass_unchanged() -> None:
    async with running(odd()) as (upstream, _):
        assert len((await call(upstream, "huge", bytes=5_000_000))["content"][0]["text"]) == 5_000_000
        values = {
            "big": 2**70,
            "none": None,
            "empty": {},
            "text": "a\u2028b\u0085c 😀",
            "float": 1e-7,
            "l": [[]],
        }
        assert (await call(upstream, "echo", **values))["structuredContent"] == values


async def test_what_cannot_be_written_is_refused_at_once() -> None:
    async with running(odd()) as (upstream, _):
        with pytest.raises(WireError):
            upstream.request("tools/call", {"name": "\ud800"}, lambda _: None)
        assert await call(upstream, "echo")


async def test_a_flood_does_not_keep_another_upstream_from_answering() -> None:
    async with running(odd()) as (flooding, loud), running(odd()) as (calm, _):
        for count in (50_000, 200_000, 800_000):  # a machine that stops the other server gets a longer one
            loud.notes.clear()
            flood = asyncio.create_task(call(flooding, "flood", count=count))
            assert await call(calm, "echo")
            meanwhile = not flood.done()
            await flood
            assert len(loud.notes) == count
            if meanwhile:
                return
    raise AssertionError("it was answered behind every flood")


async def test_a_held_upstream_waits_with_what_it_has_to_say() -> None:
    async with running(odd()) as (upstream, listener):
        upstream.hold(True)
        flood = asyncio.create_task(call(upstream, "flood", count=20_000))
        async with running(odd()) as (other, _):
            await call(other, "echo")
        assert listener.notes == []
        upstream.hold(False)
        await flood
        assert len(listener.notes) == 20_000


async def test_two_hundred_calls_wait_at_once_and_block_nobody() -> None:
    async with running(odd()) as (upstream, _):
        sleeping = [asyncio.create_task(call(upstream, "sleep", key=f"k{n}")) for n in range(200)]
        assert await call(upstream, "echo")
        for n in range(200):
            await call(upstream, "wake", key=f"k{n}", text=str(n))
        texts = [(await one)["content"][0]["text"] for one in sleeping]
        assert texts == [str(n) for n in range(200)]


async def test_a_call_that_hangs_ends_at_the_providers_limit() -> None:
    async with running(odd(timeout_ms=100)) as (upstream, _):
        reply = await request(upstream, "tools/call", {"name": "hang"})
        assert "no answer to `tools/call` within 0.1 s" in reply["error"]["message"]
        assert upstream.state.phase == "ready"


async def test_closing_ends_the_server_and_its_children_and_answers_what_is_open(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with running(odd("--pid-file", str(pids), "--child")) as (upstream, _):
        await call(upstream, "spawn")
        hanging = asyncio.create_task(request(upstream, "tools/call", {"name": "hang"}))
        await call(upstream, "echo")
        await upstream.close()
        await upstream.close()
        assert "the connection was closed" in (await hanging)["error"]["message"]
        assert upstream.state.phase == "closed"
        assert upstream.state.pid is None
        assert len(pids.read_text().split()) == 3
        async with asyncio.timeout(60):
            while any(alive(int(pid)) for pid in pids.read_text().split()):
                await asyncio.sleep(0.02)  # nothing tells when a child of somebody else ends
        assert not await upstream.ready(1)
        with pytest.raises(UpstreamError, match="was closed"):
            upstream.request("ping", None, lambda _: None)


async def test_a_stubborn_server_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airlock.proxy.upstream.process.Process.stop.__kwdefaults__", {"patience": 0.1})
    pids = tmp_path / "pids"
    async with running(odd("--pid-file", str(pids), "--ignore-eof", "--ignore-term")):
        pass
    assert not alive(int(pids.read_text()))


async def test_children_of_a_server_that_crashed_are_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with running(odd("--pid-file", str(pids), "--child")) as (upstream, listener):
        server, child = (int(pid) for pid in pids.read_text().split())
        assert alive(child)
        await request(upstream, "tools/call", {"name": "die"})
        await listener.until(lambda: listener.phases.count("ready") == 2)
        async with asyncio.timeout(60):
            while alive(child) or alive(server):
                await asyncio.sleep(0.02)  # nothing tells when a child of somebody else ends


PARENT = """
import asyncio, sys, uvloop
sys.path.insert(0, {tests!r})
from support.upstreams import *

async def main():
    async with running(odd("--pid-file", {pids!r}, "--child", "--ignore-eof")) as (upstream, _):
        print("ready", flush=True)
        await asyncio.Event().wait()

uvloop.run(main())
"""


async def test_a_killed_airlock_leaves_no_server_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = PARENT.format(tests=str(Path(__file__).parents[1]), pids=str(pids))
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    async with asyncio.timeout(60):
        assert await parent.stdout.readline() == b"ready\n"
        parent.kill()
        await parent.wait()
        while any(alive(int(pid)) for pid in pids.read_text().split()):
            await asyncio.sleep(0.02)  # nothing tells when a child of somebody else ends


async def test_the_environment_is_the_allowlist_and_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLOCK_API_SECRET", "people")
    async with running(odd(env={"KEY": "v"})) as (upstream, _):
        found = (await call(upstream, "environment"))["structuredContent"]
        assert found["environment"]["KEY"] == "v"
        assert "AIRLOCK_API_SECRET" not in found["environment"]
        assert found["pid"] == found["group"] == upstream.state.pid


async def test_an_upstream_that_was_not_started_says_so_and_closes() -> None:
    upstream = make_upstream(odd(), Listener())
    assert upstream.state.phase == "idle"
    assert await upstream.ready(0) is False
    upstream.notify("x", None)
    upstream.cancel(1, None)
    upstream.respond(1, {"result": {}})
    with pytest.raises(UpstreamError, match="not started"):
        upstream.request("ping", None, lambda _: None)
    await upstream.close()
    assert upstream.state.phase == "closed"


def test_the_pause_between_attempts_doubles_to_half_a_minute_and_starts_anew_after_a_stable_one() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.after(0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(59) == 30
    assert backoff.after(60) == 0.5
    assert Backoff(jitter=lambda: 0.0).after(0) == 0.375
