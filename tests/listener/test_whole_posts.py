"""A POST that comes whole is answered as ASGI would answer it, byte for byte, however it comes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airlock.listener import known
from airlock.listener.known import KnownHeads
from airlock.ports_http import Post, Reply
from support.listeners import connected, listening, turns

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


class Plain:
    """Answers each request with what it says."""

    def __init__(self) -> None:
        self.seen: list[Json] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        content = self.note(scope, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def note(self, scope: Any, body: bytes) -> bytes:
        names = ("http_version", "method", "path", "raw_path", "query_string", "scheme", "client", "server")
        found = {name: str(scope[name]) for name in names}
        found |= {"headers": str(list(scope["headers"])), "body": body.decode("latin-1")}
        self.seen.append(found)
        return json.dumps(found).encode()


class Takes(Plain):
    """The same, and takes whole POSTs in one of four ways."""

    def take(self, post: Post) -> bool:
        if post.scope["path"] == "/no":
            return False
        if post.scope["path"] == "/carry":
            post.carry(self)
        elif post.scope["path"] == "/later":
            asyncio.get_running_loop().call_soon(self._answer, post)
        else:
            self._answer(post)
        return True

    def _answer(self, post: Post) -> None:
        post.answer(200, self.note(post.scope, post.body))


async def served(app: Any, pieces: list[bytes], heads: KnownHeads | None = None) -> tuple[bytes, bool]:
    """What comes back on one connection for these bytes, and whether it was closed."""
    connection, line = connected(app, heads)
    for piece in pieces:
        if line.closed:
            break
        connection.data_received(piece)
        await turns()
    result = line.out, line.closed
    connection.connection_lost(None)
    return result


def request(
    path: str = "/now",
    body: bytes = b"{}",
    *more: bytes,
    length: bytes = b"Content-Length",
    start: bytes = b"POST",
) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (start, path.encode()), b"Host: here", b"X-One:  1 ", *more]
    return b"\r\n".join([*lines, b"%b: %d" % (length, len(body)), b"X-Two: 2", b"", b""]) + body


PLAIN = st.builds(
    request,
    st.sampled_from(["/now", "/later", "/carry", "/no", "/now?q=1", "/n%6fw"]),
    st.sampled_from([b"", b"{}", b'{"a": 1}', b"x" * 300, b"\r\n\r\n", request(), b"GET / HTTP/1.1\r\n\r\n"]),
    length=st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-length"]),
    start=st.sampled_from([b"POST", b"POST", b"POST", b"PUT", b"GET"]),
)
ODD = st.sampled_from(
    [
        request("/now", b"{}", b"X-One: twice"),
        request("/now", b"{}", b"Connection: close"),
        request("/now", b"{}", b"Connection: keep-alive, x"),
        request("/now", b"{}", b"Expect: 100-continue"),
        request("/now", b"{}", b"Upgrade: h2c", b"Connection: upgrade"),
        request("/now", b"{}", b"Content-Length: 3"),
        request("/now", b"{}", b"Content-Length: 2"),
        request("/now", b"{}", b"Transfer-Encoding: chunked"),
        b"POST /now HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"POST /now HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /now HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
        b"\r\n\r\n" + request(),
        request().replace(b"Content-Length: 2", b"Content-Length: 02"),
        request().replace(b"Content-Length: 2", b"Content-Length:2"),
        request().replace(b"Content-Length: 2", b"Content-Length: +2"),
        request().replace(b"X-One:  1 ", b"X-One: a\r\n b"),
        request().replace(b"X-One:  1 ", b"X-One: a\r\n Content-Length: 9"),
        request().replace(b"\r\n", b"\n"),
        request().replace(b"POST", b"P ST"),
    ]
)
_shared = KnownHeads()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces."""
    ends = [*sorted({0, *at}), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if start < end]


# Where one of several requests that come together is wrong, uvicorn forgets the answers to those before it.
COMING = st.lists(PLAIN | ODD, min_size=1, max_size=5) | st.builds(
    lambda requests, at: cut(b"".join(requests), at),
    st.lists(PLAIN, min_size=1, max_size=5),
    st.lists(st.integers(0, 2_000), max_size=4),
)


@settings(max_examples=400)
@given(COMING)
@example([request(), request(body=b'{"a": 1}'), request("/carry"), request("/carry")])
@example([request("/later") + request("/now") + request("/no"), request("/no")])
def test_however_it_comes_the_answers_are_those_of_asgi(pieces: list[bytes]) -> None:
    found = []
    for app, heads in ((Plain(), None), (Takes(), None), (Takes(), _shared), (Takes(), _shared)):
        found.append((*uvloop.run(served(app, pieces, heads)), app.seen))
    assert found[1:] == found[:1] * 3


async def test_a_head_is_read_once_for_all_bodies() -> None:
    heads, app = KnownHeads(), Takes()
    bodies = [b"{}", b'{"a": 1}', b"{}", b"x" * 2_000]
    out, _ = await served(app, [request(body=body) for body in bodies], heads)
    assert [one["body"].encode() for one in app.seen] == bodies
    assert [f"'{len(body)}'" in one["headers"] for one, body in zip(app.seen, bodies, strict=True)] == [
        True
    ] * 4
    assert out.count(b"HTTP/1.1 200") == 4
    assert len(heads._heads) == 1


async def test_what_the_app_found_out_from_a_head_is_there_for_the_next_one_only() -> None:
    met: list[Json] = []

    class Keeps(Takes):
        def take(self, post: Post) -> bool:
            met.append(dict(post.kept))
            post.kept["path"] = post.scope["path"]
            return super().take(post)

    sent = [request("/a"), request("/a", b"[1]"), request("/b"), request("/a", b"{}", b"X-Three: 3")]
    await served(Keeps(), sent, KnownHeads())
    assert met == [{}, {"path": "/a"}, {}, {}]


@pytest.mark.parametrize("many", [known.MOST * 3])
async def test_only_so_many_heads_are_kept(many: int) -> None:
    heads = KnownHeads()
    await served(Takes(), [request("/now", b"{}", b"X-Number: %d" % number) for number in range(many)], heads)
    assert len(heads._heads) == known.MOST
    await served(Takes(), [request("/now", b"{}", b"X-Long: " + b"x" * known.LONGEST)], heads)
    assert max(map(len, heads._heads)) < known.LONGEST


async def test_a_head_is_kept_only_when_its_request_was_taken() -> None:
    heads = KnownHeads()
    await served(Takes(), [request("/no"), request("/no")], heads)
    await served(Plain(), [request(), request()], heads)
    assert heads._heads == {}


# -- what goes wrong ---------------------------------------------------------------------------------


class Fails(Plain):
    def __init__(self, before: Callable[[Reply], None]) -> None:
        super().__init__()
        self._before = before

    def take(self, post: Post) -> bool:
        self._before(post)
        raise RuntimeError("a defect")


def nothing(_: Reply) -> None:
    return


async def test_a_failure_is_a_500_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    out, closed = await served(Fails(nothing), [request()])
    assert (out[:12], closed) == (b"HTTP/1.1 500", True)
    assert [record.getMessage() for record in caplog.records] == ["Exception in ASGI application\n"]


async def test_a_failure_after_the_answer_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for before in (lambda post: post.answer(200, b"[]"), lambda post: post.carry(Plain())):
        caplog.clear()
        out, _ = await served(Fails(before), [request(), request()])
        assert out.count(b"HTTP/1.1 200") == 2
        assert b"500" not in out
        assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 2


async def test_a_request_has_one_answer() -> None:
    class Twice(Plain):
        def take(self, post: Post) -> bool:
            post.answer(200, b"[]")
            with pytest.raises(AssertionError):
                post.answer(200, b"[]")
            with pytest.raises(AssertionError):
                post.carry(self)
            return True

    out, _ = await served(Twice(), [request()])
    assert out.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("way", ["answer", "carry"])
async def test_who_goes_away_before_the_answer_gets_none(way: str) -> None:
    held: list[Post] = []
    counted: list[int] = []

    class Holds(Plain):
        def take(self, post: Post) -> bool:
            post.count_by(counted.append)
            held.append(post)
            return True

    app = Holds()
    async with listening(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        async with asyncio.timeout(60):
            while not held:
                await asyncio.sleep(0.005)
        writer.transport.abort()
        cycle: Any = held[0]._cycle  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while not cycle.disconnected:
                await asyncio.sleep(0.005)
        if way == "answer":
            held[0].answer(200, b"[]")
            assert counted == [200]
        else:
            held[0].carry(app)
        async with asyncio.timeout(60):
            while asyncio.all_tasks() - {asyncio.current_task()} and way == "carry" and not _done(port):
                await asyncio.sleep(0.005)
    assert app.seen == []


def _done(_: int) -> bool:
    return not any("run_asgi" in str(task) for task in asyncio.all_tasks())


async def test_answers_to_a_client_that_does_not_read_wait_for_it() -> None:
    large = b'"%b"' % (b"x" * 300_000)
    carried: list[int] = []

    class Large(Plain):
        def take(self, post: Post) -> bool:
            carried.append(len(asyncio.all_tasks()))
            post.answer(200, large)
            return True

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-length", b"%d" % len(large))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": large})

    async with listening(Large()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        writer.write(request() * 60)
        reading = asyncio.create_task(_read(reader, 60, len(large)))
        async with asyncio.timeout(60):
            await reading
        writer.close()
    assert 0 < len(carried) < 60


async def _read(reader: asyncio.StreamReader, count: int, size: int) -> None:
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readexactly(size)


async def test_the_status_is_counted_whichever_way_the_answer_goes() -> None:
    counted: list[tuple[str, int]] = []

    class Counts(Takes):
        def take(self, post: Post) -> bool:
            path = post.scope["path"]
            post.count_by(partial(lambda path, status: counted.append((path, status)), path))
            return super().take(post)

    await served(Counts(), [request("/now"), request("/later"), request("/carry")])
    assert counted == [("/now", 200), ("/later", 200), ("/carry", 200)]
