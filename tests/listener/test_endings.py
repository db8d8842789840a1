"""Whatever a client has sent when the process ends: it hears what holds, and its connection ends."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airlock.errors import Ending
from airlock.ports_http import Post
from support.listeners import connected, turns


class Reads:
    """Reads each body whole before it answers; says so when that does not come."""

    def __init__(self) -> None:
        self.read: list[bytes] = []
        self.cut_off = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more, status = b"", True, 204
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body, more = body + message["body"], message["more_body"]
            self.read.append(body)
        except Ending:
            self.cut_off += 1
            status = 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def take(self, post: Post) -> bool:
        self.read.append(post.body)
        post.answer(204)
        return True


def request(method: bytes, body: bytes, more: bytes = b"") -> bytes:
    return b"%b / HTTP/1.1\r\nHost: here\r\n%bContent-Length: %d\r\n\r\n%b" % (method, more, len(body), body)


CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
WHOLE = st.builds(
    request,
    st.sampled_from([b"POST", b"PUT", b"GET"]),
    st.sampled_from([b"", b"{}", b"x" * 40_000]),
    st.sampled_from([b"", b"Expect: 100-continue\r\n", b"Connection: close\r\n"]),
) | st.just(CHUNKED)
LAST = request(b"POST", b"abcdef")


@settings(max_examples=300)
@given(
    whole=st.lists(WHOLE, max_size=4),
    left=st.integers(0, len(LAST)),
    apart=st.booleans(),
    later=st.sampled_from([b"", b"a", b"abcdef", b"\x00\r\n\r\n", LAST]),
)
@example(whole=[], left=3, apart=False, later=b"")
@example(whole=[request(b"POST", b"{}")], left=5, apart=False, later=b"def")
def test_every_connection_ends_and_nothing_is_said_that_is_not_so(
    whole: list[bytes], left: int, apart: bool, later: bytes
) -> None:
    app = Reads()

    async def ended() -> bytes:
        connection, line = connected(app)
        pieces = [*whole, LAST[: len(LAST) - left]]
        for piece in pieces if apart else [b"".join(pieces)]:
            if piece and not line.closed:
                connection.data_received(piece)
                if apart:
                    await turns(30)
        if not line.closed:
            connection.shutdown()
            if later and not line.closed:
                connection.data_received(later)
            await turns(60)
            if connection._unstarted:
                connection._start_unstarted()
            connection._end_bodies()
            await turns(60)
        assert line.closed
        connection._refused.close()
        connection.connection_lost(None)
        return line.out

    out = asyncio.run(ended())
    told = [int(answer[:3]) for answer in out.split(b"HTTP/1.1 ")[1:] if not answer.startswith(b"100")]
    assert told.count(503) == min(1, app.cut_off)
    assert 500 not in told
    assert len(app.read) >= told.count(204)
    if 503 in told:
        assert told[-1] == 503
        assert b"connection: close" in out.rpartition(b"HTTP/1.1 503")[2]
