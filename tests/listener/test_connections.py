"""What one connection may hold of us, for how long, and when it is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from airlock.listener import bounded, corked
from airlock.listener.connection import Connection
from airlock.ports_http import Post
from support.listeners import Line, connected, listening, turns

pytestmark = pytest.mark.anyio

LONG = b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: here\r\n\r\n"
SHORT = b"GET /short HTTP/1.1\r\nHost: here\r\n\r\n"
EARLY = b"PUT /short HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
WHOLE = b"POST /whole HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"


class App:
    """Answers at once, but on `/long` when the client is gone; takes whole POSTs."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if scope["path"] in {"/long", "/stream"}:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def take(self, post: Post) -> bool:
        self.seen.append("taken")
        post.answer(202)
        return True


def later(connection: Connection, line: Line, seconds: float) -> bool:
    """True when it was closed after so long without a byte."""
    connection._idle_since -= seconds
    if connection.timeout_keep_alive_task is not None:
        connection.timeout_keep_alive_task.cancel()
        connection.timeout_keep_alive_handler()
    return line.closed


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\x00\r\n\r\n", "what came is no HTTP request"),
        (
            b"GET / HTTP/1.1\r\nX: " + b"x" * bounded.HEAD_LIMIT + b"\r\n\r\n",
            "the head of the request is too long",
        ),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "nothing is passed on here"),
    ],
)
async def test_what_the_parser_refuses_is_told_in_the_form_of_every_error(sent: bytes, why: str) -> None:
    connection, line = connected(App())
    connection.data_received(sent)
    head, _, body = bytes(line.out).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert {b"content-type: application/json", b"connection: close"} <= set(head.split(b"\r\n"))
    assert json.loads(body) == {"error": why, "details": None}
    connection.connection_lost(None)


async def test_an_idle_connection_is_closed() -> None:
    connection, line = connected(App())
    connection.data_received(SHORT)
    await turns()
    assert not later(connection, line, connection.timeout_keep_alive - 5)
    assert later(connection, line, 6)
    connection.connection_lost(None)


async def test_a_connection_in_use_is_not_closed() -> None:
    connection, line = connected(App())
    for _ in range(3):
        connection.data_received(SHORT)
        await turns()
        assert not later(connection, line, connection.timeout_keep_alive - 1)
    connection.connection_lost(None)


@pytest.mark.parametrize("rest", [[b"abcd"], [b"ab"], [b"ab", b"cd"]])
async def test_a_body_that_comes_after_its_answer_holds_no_connection(rest: list[bytes]) -> None:
    connection, line = connected(App())
    connection.data_received(EARLY)
    await turns()
    assert line.out.startswith(b"HTTP/1.1 204")
    for piece in rest:
        connection.data_received(piece)
        await turns()
    assert later(connection, line, connection.timeout_keep_alive + 1)
    connection.connection_lost(None)


async def test_an_answer_may_take_long_behind_one_that_was_there_at_once() -> None:
    app = App()
    connection, line = connected(app)
    connection.data_received(WHOLE + LONG)
    await turns()
    assert app.seen == ["taken", "/long"]
    assert not later(connection, line, 10 * connection.timeout_keep_alive)
    connection.connection_lost(None)
    await turns()
    assert app.left == 1


@pytest.mark.parametrize("behind", [[SHORT], [SHORT, SHORT], [WHOLE], [SHORT[:9]], [EARLY]])
async def test_who_hangs_up_is_gone_for_a_request_with_others_behind_it(behind: list[bytes]) -> None:
    app = App()
    connection, line = connected(app)
    connection.data_received(LONG)
    await turns()
    for piece in behind:
        connection.data_received(piece)
    line.close()
    connection.connection_lost(None)
    await turns()
    assert (app.seen, app.left) == (["/long"], 1)


async def test_only_so_many_requests_wait_on_one_connection() -> None:
    app = App()
    connection, line = connected(app)
    connection.data_received(SHORT + WHOLE * bounded.MOST_WAITING)
    await turns(20 * bounded.MOST_WAITING)
    assert len(app.seen) == bounded.MOST_WAITING + 1
    connection.data_received(LONG + SHORT * (bounded.MOST_WAITING + 1))
    assert line.closed
    assert len(connection.pipeline) == bounded.MOST_WAITING
    connection.connection_lost(None)
    await turns()
    assert app.left == 1


@pytest.mark.parametrize(("first", "said"), [(LONG, b"HTTP/1.1 400"), (STREAM, b"HTTP/1.1 200")])
async def test_a_head_without_end_ends_beside_a_request_that_is_open_too(first: bytes, said: bytes) -> None:
    connection, line = connected(App())
    connection.data_received(first)
    await turns()
    connection.data_received(SHORT[:-2] + b"X: ")
    sent = 0
    while not line.closed:
        connection.data_received(b"x" * 1_000)
        sent += 1_000
        assert sent <= 2 * bounded.HEAD_LIMIT
    assert (line.out[:12], line.out.count(b"HTTP/1.1")) == (said, 1)
    connection.connection_lost(None)
    await turns()


@pytest.mark.parametrize(
    "wrong", [b"\x00\r\n\r\n", SHORT * (bounded.MOST_WAITING + 1), b"CONNECT a:1 HTTP/1.1\r\n\r\n"]
)
async def test_nothing_is_said_in_the_middle_of_an_answer(wrong: bytes) -> None:
    connection, line = connected(App())
    connection.data_received(STREAM)
    await turns()
    before = line.out
    connection.data_received(wrong)
    assert line.closed
    assert line.out == before
    connection.connection_lost(None)
    await turns()


async def test_nothing_begins_behind_the_last_answer_of_a_connection() -> None:
    app = App()
    connection, line = connected(app)
    connection.data_received(WHOLE[:-2])
    connection.shutdown()
    connection.data_received(WHOLE[-2:] + SHORT)
    await turns()
    assert line.closed
    assert b"connection: close" in line.out
    assert app.seen == ["taken"]
    connection.connection_lost(None)


@pytest.mark.parametrize("path", ["/short", "/whole"])
@pytest.mark.parametrize("cut", [0, 60, -4])
async def test_what_stands_behind_a_body_is_no_header(path: str, cut: int) -> None:
    met: list[Any] = []

    class Notes(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await turns()
            met.append(scope["headers"])
            await super().__call__(scope, receive, send)

        def take(self, post: Post) -> bool:
            met.append(post.scope["headers"])
            return super().take(post)

    connection, line = connected(Notes())
    method = b"POST" if path == "/whole" else b"PUT"
    head = b"%b %b HTTP/1.1\r\nHost: here\r\n" % (method, path.encode())
    sent = head + CHUNKED + b"0\r\nAuthorization: Bearer x\r\nHost: there\r\n\r\n"
    for piece in (sent[:cut], sent[cut:]):
        connection.data_received(piece)
    await turns(30)
    assert met == [[(b"host", b"here"), (b"transfer-encoding", b"chunked")]]
    assert line.out.startswith(b"HTTP/1.1 20")
    connection.connection_lost(None)


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"2;x=", b"0\r\n\r\nGET / HTTP/1.1\r\nX: "])
async def test_what_stands_beside_a_body_has_an_end(start: bytes) -> None:
    connection, line = connected(App())
    connection.data_received(b"PUT /short HTTP/1.1\r\nHost: here\r\n" + CHUNKED + start)
    await turns()
    sent = 0
    while not line.closed:
        connection.data_received(b"x" * 1_000)
        sent += 1_000
        assert sent <= 2 * bounded.HEAD_LIMIT
    connection.connection_lost(None)


async def test_a_body_may_come_in_any_pieces() -> None:
    connection, line = connected(App())
    connection.data_received(b"PUT /short HTTP/1.1\r\nHost: here\r\n" + CHUNKED)
    for _ in range(bounded.HEAD_LIMIT // 4):
        connection.data_received(b"1\r\nx\r\n")
    connection.data_received(b"%x\r\n" % (4 * bounded.HEAD_LIMIT))
    for _ in range(4):
        connection.data_received(b"x" * bounded.HEAD_LIMIT)
    connection.data_received(b"\r\n0\r\n\r\n" + SHORT)
    await turns(30)
    assert line.out.count(b"HTTP/1.1 204") == 2
    connection.connection_lost(None)


def timers(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """All that are set from now on."""
    made: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    usual = loop.call_later

    def kept(*given: Any, **more: Any) -> asyncio.TimerHandle:
        made.append(usual(*given, **more))
        return made[-1]

    monkeypatch.setattr(loop, "call_later", kept)
    return made


async def test_no_timer_is_left_when_a_connection_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[Callable[[Any], None]] = [
        lambda one: None,
        lambda one: one.data_received(SHORT[:9]),
        lambda one: one.data_received(SHORT),
        lambda one: one.data_received(WHOLE),
        lambda one: one.data_received(WHOLE[:-2]),
        lambda one: one.data_received(WHOLE + SHORT[:9]),
        lambda one: one.pause_writing(),
        lambda one: (one.data_received(WHOLE[:-2]), one.shutdown()),
    ]
    made = timers(monkeypatch)
    for state in states:
        connection, _ = connected(App())
        state(connection)
        await turns()
        connection.connection_lost(ConnectionResetError())
        mine: list[Any] = [one for one in made if not one.cancelled()]
        assert mine == []


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corked, "UNREAD_SECONDS", 0.3)
    gone = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await _soon(receive))["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"x" * 300_000, "more_body": True})
        gone.set()

    async def _soon(receive: Any) -> Any:
        try:
            async with asyncio.timeout(0):
                return await receive()
        except TimeoutError:
            return {"type": "nothing"}

    async with listening(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        writer.write(SHORT)
        async with asyncio.timeout(60):
            await gone.wait()
        writer.close()


async def test_a_client_may_read_slowly() -> None:
    connection, line = connected(App())
    line.unread = 100_000
    connection.pause_writing()
    for _ in range(50):
        line.unread -= 1_000
        look(connection)
        assert not line.closed
    connection.resume_writing()
    connection.pause_writing()
    line.unread -= 1
    look(connection)
    assert not line.closed
    look(connection)
    assert line.closed
    connection.connection_lost(None)


async def test_a_last_answer_that_is_not_read_holds_no_connection() -> None:
    connection, line = connected(App())
    line.unread = 100
    connection.data_received(WHOLE.replace(b"Host: here", b"Connection: close"))
    assert line.closed
    line.closed = False
    look(connection)
    assert line.closed
    connection.connection_lost(None)


def look(connection: Connection) -> None:
    """Have the time pass in which the client should have read something."""
    assert connection._corked._looking is not None
    connection._corked.unwatch()
    connection._corked._look()
