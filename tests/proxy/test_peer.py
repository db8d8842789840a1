"""Correlation with one upstream: ids, progress, cancellation, time limits, and what it may ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airlock.errors import WireError
from airlock.model import JsonObject
from airlock.proxy.upstream.peer import Manner, Peer
from airlock.proxy.wire import encode_line

pytestmark = pytest.mark.anyio

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "a"},
}


class Ears:
    """What the peer told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def notified(self, method: str, params: JsonObject | None) -> None:
        self.heard.append(("notified", method, params))

    def asked(self, request_id: str | int, method: str, params: JsonObject | None) -> None:
        self.heard.append(("asked", request_id, method))

    def withdrawn(self, request_id: str | int) -> None:
        self.heard.append(("withdrawn", request_id))


class Bench:
    """A peer with the other end in the hand."""

    def __init__(self, manner: Manner | None = None, *, timeout_ms: int = 60_000) -> None:
        self.sent: list[JsonObject] = []
        self.ears = Ears()
        self.replies: list[JsonObject] = []
        self.replied = asyncio.Event()
        self.progress: list[JsonObject] = []
        self.peer = Peer("x", self._send, self.ears, timeout_ms=timeout_ms)
        if manner:
            self.peer.manner = manner

    def _send(self, frame: JsonObject) -> None:
        encode_line(frame)
        self.sent.append(frame)

    def request(
        self, params: JsonObject | None = None, *, method: str = "tools/call", progress: bool = False
    ) -> int:
        def take(reply: JsonObject) -> None:
            self.replies.append(reply)
            self.replied.set()

        return self.peer.request(method, params, take, self.progress.append if progress else None)

    def receive(self, **frame: Any) -> None:
        self.peer.received({"jsonrpc": "2.0", **frame})

    async def reply(self) -> JsonObject:
        async with asyncio.timeout(60):
            await self.replied.wait()
        return self.replies[-1]


LEGACY = Manner(promised=frozenset({"elicitation"}))
MODERN = Manner(envelope=ENVELOPE, promised=frozenset({"elicitation"}))


async def test_answers_find_their_request_in_any_order() -> None:
    bench = Bench()
    first, second = bench.request({"n": 1}), bench.request({"n": 2})
    bench.receive(id=second, result={"n": 2})
    bench.receive(id=first, error={"code": -1, "message": "no"})
    assert bench.replies == [{"result": {"n": 2}}, {"error": {"code": -1, "message": "no"}}]


@pytest.mark.parametrize("wrong", [0, 2, -1, "1", None])
async def test_an_answer_to_nobody_is_dropped(wrong: Any) -> None:
    bench = Bench()
    ticket = bench.request()
    bench.receive(id=wrong, result={"from": "a stranger"})
    assert bench.replies == []
    bench.receive(id=ticket, result={})
    bench.receive(id=ticket, result={"second": True})
    assert bench.replies == [{"result": {}}]


async def test_a_cancelled_request_gets_no_answer_and_the_upstream_is_told_our_id() -> None:
    bench = Bench()
    ticket = bench.request()
    bench.peer.cancel(ticket, "user-cancel")
    bench.peer.cancel(ticket, "again")
    bench.receive(id=ticket, result={})
    assert bench.replies == []
    assert bench.sent[1:] == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": ticket, "reason": "user-cancel"},
        }
    ]


async def test_progress_reaches_the_call_whose_token_it_carries() -> None:
    bench = Bench()
    ticket = bench.request({"_meta": {"progressToken": "theirs", "vendor/x": 1}}, progress=True)
    assert bench.sent[0]["params"]["_meta"] == {"vendor/x": 1, "progressToken": ticket}
    bench.receive(method="notifications/progress", params={"progressToken": ticket, "progress": 0.5})
    bench.receive(method="notifications/progress", params={"progressToken": "theirs", "progress": 1})
    bench.receive(id=ticket, result={})
    bench.receive(method="notifications/progress", params={"progressToken": ticket, "progress": 2})
    assert bench.progress == [{"progress": 0.5}]
    assert bench.ears.heard == []


async def test_a_foreign_token_is_taken_out_when_nobody_wants_progress() -> None:
    bench = Bench()
    params = {"name": "x", "_meta": {"progressToken": 7}}
    bench.request(params)
    bench.request({"_meta": {"progressToken": 7, "traceparent": "t"}})
    bench.request({"name": "x"})
    bench.request({"_meta": {}})
    assert [frame["params"] for frame in bench.sent] == [
        {"name": "x"},
        {"_meta": {"traceparent": "t"}},
        {"name": "x"},
        {"_meta": {}},
    ]
    assert params == {"name": "x", "_meta": {"progressToken": 7}}


async def test_the_modern_envelope_replaces_reserved_keys_and_keeps_the_others() -> None:
    bench = Bench(MODERN)
    theirs = {
        "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
        "io.modelcontextprotocol/logLevel": "debug",
        "vendor/x": 1,
    }
    bench.request({"_meta": theirs})
    bench.request(None)
    assert bench.sent[0]["params"]["_meta"] == {
        **ENVELOPE,
        "io.modelcontextprotocol/logLevel": "debug",
        "vendor/x": 1,
    }
    assert bench.sent[1]["params"] == {"_meta": ENVELOPE}


async def test_a_legacy_upstream_sees_no_envelope() -> None:
    bench = Bench(LEGACY)
    bench.request({"_meta": {**ENVELOPE, "io.modelcontextprotocol/related-task": {"taskId": "t"}}})
    assert bench.sent[0]["params"] == {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t"}}}


async def test_a_request_without_an_answer_ends_at_its_limit_and_is_cancelled() -> None:
    bench = Bench(timeout_ms=20)
    ticket = bench.request()
    reply = await bench.reply()
    assert reply["error"]["code"] == -32001
    assert "upstream `x`: no answer to `tools/call` within 0.02 s" in reply["error"]["message"]
    assert bench.sent[1]["params"] == {"requestId": ticket, "reason": "timed out"}
    bench.receive(id=ticket, result={"too": "late"})
    assert len(bench.replies) == 1


async def test_progress_and_open_questions_put_the_limit_off() -> None:
    bench = Bench(LEGACY, timeout_ms=50)
    loop = asyncio.get_running_loop()
    slow = bench.request(progress=True)
    bench.receive(id="q", method="elicitation/create", params={})
    pending = bench.peer._open[slow]
    pending.deadline = loop.time() - 1
    bench.peer._expire()
    assert bench.replies == []  # a person is being asked
    bench.peer.respond("q", {"result": {"action": "accept"}})
    pending.deadline = loop.time() - 1
    bench.receive(method="notifications/progress", params={"progressToken": slow, "progress": 1})
    bench.peer._expire()
    assert bench.replies == []
    assert "no answer" in (await bench.reply())["error"]["message"]


async def test_a_subscription_has_no_limit() -> None:
    bench = Bench(MODERN, timeout_ms=1)
    listening = bench.request(method="subscriptions/listen")
    bench.request()
    await bench.reply()
    assert len(bench.replies) == 1
    bench.receive(method="notifications/cancelled", params={"requestId": listening})
    assert "it ended `subscriptions/listen`" in bench.replies[1]["error"]["message"]


async def test_an_upstream_cannot_cancel_our_calls() -> None:
    for manner in (LEGACY, MODERN):
        bench = Bench(manner)
        ticket = bench.request()
        bench.receive(method="notifications/cancelled", params={"requestId": ticket})
        bench.receive(method="notifications/cancelled", params={"requestId": [1]})
        bench.receive(method="notifications/cancelled")
        assert bench.replies == []


async def test_the_end_answers_everything_once_and_later_requests_too() -> None:
    bench = Bench(LEGACY)
    bench.request()
    bench.request()
    bench.receive(id="q", method="elicitation/create", params={})
    bench.peer.end("it ended")
    bench.peer.end("again")
    assert [reply["error"]["code"] for reply in bench.replies] == [-32000, -32000]
    assert bench.ears.heard[-1] == ("withdrawn", "q")
    sent = len(bench.sent)
    bench.replied.clear()
    bench.request()
    assert len(bench.replies) == 2  # never before `request` has returned
    await bench.reply()
    assert len(bench.sent) == sent


async def test_what_was_promised_may_be_asked_and_nothing_else() -> None:
    bench = Bench(LEGACY)
    bench.receive(id=1, method="elicitation/create", params={})
    bench.receive(id=2, method="sampling/createMessage", params={})
    bench.receive(id=3, method="roots/list")
    bench.receive(id=4, method="ping")
    bench.receive(id=5, method="vendor/thing")
    assert bench.ears.heard == [("asked", 1, "elicitation/create"), ("asked", 5, "vendor/thing")]
    codes = [(frame["id"], frame.get("error", {}).get("code")) for frame in bench.sent]
    assert codes == [(2, -32601), (3, -32601), (4, None)]


async def test_a_modern_upstream_may_ask_nothing_by_request() -> None:
    bench = Bench(MODERN)
    bench.receive(id=1, method="elicitation/create", params={})
    assert bench.ears.heard == []
    assert bench.sent[0]["error"]["code"] == -32601


async def test_an_input_request_beyond_what_was_promised_is_an_error() -> None:
    for method, allowed in (("elicitation/create", True), ("sampling/createMessage", False), ("x", False)):
        bench = Bench(MODERN)
        result = {"resultType": "input_required", "inputRequests": {"q": {"method": method}}}
        bench.receive(id=bench.request(), result=result)
        assert ("result" in bench.replies[0]) is allowed


async def test_a_question_is_answered_once_and_can_be_withdrawn() -> None:
    bench = Bench(LEGACY)
    bench.receive(id="q", method="elicitation/create", params={})
    bench.receive(id="q", method="elicitation/create", params={})
    assert bench.sent[0]["error"]["message"] == "id 'q' is in use"
    bench.peer.respond("q", {"result": {"action": "decline"}})
    bench.peer.respond("q", {"result": {"action": "accept"}})
    bench.peer.respond("r", {"result": {}})
    assert bench.sent[1:] == [{"jsonrpc": "2.0", "id": "q", "result": {"action": "decline"}}]
    bench.receive(id="r", method="elicitation/create", params={})
    bench.receive(method="notifications/cancelled", params={"requestId": "r"})
    assert bench.ears.heard[-1] == ("withdrawn", "r")
    bench.peer.respond("r", {"result": {}})
    assert len(bench.sent) == 2


async def test_a_flood_of_questions_is_cut_off() -> None:
    bench = Bench(LEGACY)
    for number in range(1000):
        bench.receive(id=number, method="elicitation/create", params={})
    assert len(bench.ears.heard) == 256


async def test_a_request_that_cannot_be_written_raises_and_leaves_nothing_behind() -> None:
    bench = Bench()
    with pytest.raises(WireError):
        bench.request({"x": float("nan")})
    assert bench.peer.waiting == 0


async def test_an_answer_that_was_refused_fails_its_request() -> None:
    bench = Bench()
    ticket = bench.request()
    assert bench.peer.failed(ticket, "duplicate key `a`")
    assert not bench.peer.failed(ticket, "duplicate key `a`")
    assert not bench.peer.failed("1", "x")
    assert "duplicate key `a`" in bench.replies[0]["error"]["message"]


async def test_other_notifications_are_handed_on() -> None:
    bench = Bench()
    bench.receive(method="notifications/message", params={"level": "info"})
    assert bench.ears.heard == [("notified", "notifications/message", {"level": "info"})]
