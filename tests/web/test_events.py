"""GET /events: what listeners are told, what they missed, and that many of them cost little."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.web import events, feed
from tests.support.gates import call
from tests.support.gateways import BOUND, SECRET, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
approvals: {{max_pending: 10000}}
agents: {{claude-code: {{allow: ["demo/echo"], ask: ["demo/*", "!demo/echo"]}}}}
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with open_gateway(tmp_path, POLICY) as running:
        yield running


class Stream:
    """One listener: reads messages as they come."""

    def __init__(self, gateway: Gateway, last: str | None = None, path: str = "/events") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=BOUND)
        headers = {"Authorization": f"Bearer {SECRET}"}
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()

    def message(self) -> tuple[int, dict[str, Any]]:
        """The next message that is not a comment."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if not line.strip():
                if "data" in fields:
                    return int(fields["id"]), json.loads(fields["data"])
                fields = {}
            elif name:
                fields[name] = value
        raise EOFError

    def comment(self) -> str:
        while line := self.response.readline().decode():
            if line.startswith(":"):
                return line.strip()
        raise EOFError

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextlib.contextmanager
def listening(gateway: Gateway, **more: Any) -> Iterator[Stream]:
    stream = Stream(gateway, **more)
    try:
        assert stream.comment() == ": connected"
        yield stream
    finally:
        stream.close()


def ask(gateway: Gateway, **arguments: object) -> str:
    verdict = gateway.run(gateway.gate.submit(call("demo/write", **arguments), attend=False))
    return str(verdict.request.id)  # type: ignore[union-attr]


def test_a_listener_hears_of_new_and_resolved_requests_and_of_calls(gateway: Gateway) -> None:
    with listening(gateway) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        request_id = ask(gateway, text="x")
        first, opened = stream.message()
        assert (opened["type"], opened["request"]["id"]) == ("new", request_id)
        gateway.post(f"/hitl/approve/{request_id}")
        second, resolved = stream.message()
        assert (resolved["type"], resolved["action"], resolved["id"]) == ("resolved", "approved", request_id)
        assert resolved["code"] == opened["request"]["code"]
        gateway.run(gateway.gate.submit(call("demo/echo", secret_argument="tell-nobody")))
        third, activity = stream.message()
        assert (activity["type"], activity["tool"], activity["effect"]) == ("activity", "demo/echo", "allow")
        assert "tell-nobody" not in json.dumps(activity)
        assert first < second < third


def test_head_opens_no_stream(gateway: Gateway) -> None:
    answer = gateway.ask("HEAD", "/events")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_listener_that_comes_back_is_told_what_it_missed(gateway: Gateway) -> None:
    with listening(gateway) as stream:
        ask(gateway, n=0)
        seen, _ = stream.message()
    for number in range(1, feed.PAGE // 50):
        ask(gateway, n=number)
    with listening(gateway, last=str(seen)) as back:
        missed = [back.message() for _ in range(1, feed.PAGE // 50)]
        assert [message["request"]["args"]["n"] for _, message in missed] == list(range(1, feed.PAGE // 50))
        ask(gateway, n="live")
        number, live = back.message()
        assert live["request"]["args"] == {"n": "live"}
        assert number > missed[-1][0]


def test_nothing_is_told_twice_or_left_out_while_events_pour_in(gateway: Gateway) -> None:
    def pour() -> None:
        for number in range(150):
            gateway.run(gateway.gate.submit(call("demo/echo", n=number)))

    pouring = gateway.later(pour)
    last, told = "0", []
    while len(told) < 150:
        with listening(gateway, last=last) as stream:
            for _ in range(min(40, 150 - len(told))):
                number, _ = stream.message()
                told.append(number)
                last = str(number)
    pouring.result()
    assert told == list(range(told[0], told[0] + 150))


@pytest.mark.parametrize("last", ["x", "-1", "1.0", "٣", "9" * 20])
def test_an_id_that_is_no_number_is_400(gateway: Gateway, last: str) -> None:
    answer = gateway.get("/events", headers={"Last-Event-ID": last.encode().decode("latin-1")})
    assert answer.status == 400


def test_an_id_from_the_future_begins_now(gateway: Gateway) -> None:
    with listening(gateway, last="999999999") as stream:
        ask(gateway)
        assert stream.message()[1]["type"] == "new"


def test_a_quiet_stream_is_kept_alive_by_comments(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    with listening(gateway) as stream:
        assert stream.comment() == ": still here"


def test_a_listener_that_does_not_read_is_let_go_and_the_others_are_served(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BACKLOG", 5)
    big = "x" * 800_000
    deaf = Stream(gateway)
    assert deaf.comment() == ": connected"  # and from now on it reads nothing
    monkeypatch.setattr(feed, "BACKLOG", 100_000)
    with listening(gateway) as stream:
        for number in range(16):
            ask(gateway, n=number, big=big)
            assert stream.message()[1]["type"] == "new"
        gateway.until(lambda: gateway.app.state.services.feed.listeners == 1)
    deaf.close()


def test_fifty_listeners_share_one_reader_and_leave_nothing_behind(gateway: Gateway) -> None:
    store = gateway.gate.store
    reads = 0
    original = store.events

    async def counted(**wanted: Any) -> Any:
        nonlocal reads
        reads += 1
        return await original(**wanted)

    store.events = counted  # type: ignore[method-assign]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(gateway)) for _ in range(50)]
        before = reads
        ask(gateway)
        assert len({stream.message()[0] for stream in streams}) == 1
        assert reads - before < 10
        assert "airlock_event_listeners 50" in gateway.get("/metrics").body.decode()
    gateway.until(lambda: gateway.app.state.services.feed.listeners == 0)
    gateway.until(lambda: gateway.app.state.services.closing.open == 0)


def test_there_is_a_most_of_listeners(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_LISTENERS", 1)
    with listening(gateway):
        answer = gateway.get("/events")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1


def test_streams_end_when_the_gateway_does(gateway: Gateway) -> None:
    with listening(gateway) as stream:
        gateway.stop()
        assert stream.response.read().strip() == b""
