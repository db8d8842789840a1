"""Our HTTP/1.1 as a client: framing, odd servers, addresses, proxies."""

from __future__ import annotations

import asyncio
import errno
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from airlock.config import ProviderConfig, Secret
from airlock.errors import UpstreamError
from airlock.proxy.upstream.event_stream import EventReader, TooLong
from airlock.proxy.upstream.http_client import HttpClient, Unreachable, own_headers
from airlock.proxy.upstream.http_place import place_of, proxy_for
from airlock.proxy.upstream.http_wire import HEAD_LIMIT, HIGH_WATER, Answer, Broken
from airlock.proxy.upstream.http_words import said

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def server(*answers: bytes, pause: float = 0.0) -> AsyncIterator[tuple[HttpClient, list[int]]]:
    """A server that sends these bytes for its requests in turn, cut small where there is a pause."""
    said = list(answers)
    connections: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        writers.append(writer)
        try:
            while said:
                await reader.readuntil(b"\r\n\r\n")
                data = said.pop(0)
                step = 7 if pause else len(data) or 1
                for at in range(0, len(data), step):
                    writer.write(data[at : at + step])
                    await writer.drain()
                    await asyncio.sleep(pause)
                if b"length" not in data.lower() and b"chunked" not in data.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = HttpClient(ProviderConfig(name="x", type="http", url=f"http://127.0.0.1:{port}/"), None, print)
    try:
        async with asyncio.timeout(60):
            yield client, connections
    finally:
        await client.close()
        listening.close()
        for writer in writers:
            writer.close()
        await listening.wait_closed()


async def asked(client: HttpClient) -> Answer:
    return await client.send("GET", {})


@pytest.mark.parametrize("pause", [0.0, 0.0001])
@pytest.mark.parametrize(
    "said",
    [
        OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
        OK + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
    ],
    ids=["length", "chunks", "to the end", "1.0", "an interim answer first"],
)
async def test_a_body_is_read_however_it_is_framed_and_cut(said: bytes, pause: float) -> None:
    async with server(said, pause=pause) as (client, _):
        answer = await asked(client)
        assert (answer.status, answer.reason) == (200, "OK")
        assert "link" not in answer.headers
        assert await answer.whole(100) == b"hello"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        OK + b"X: " + b"x" * (HEAD_LIMIT + 70_000),
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=[
        "nothing",
        "half a head",
        "no HTTP",
        "an endless head",
        "two lengths",
        "length and chunks",
        "upgrade",
    ],
)
async def test_what_is_no_answer_is_unreachable(said: bytes) -> None:
    async with server(said) as (client, _):
        with pytest.raises(Unreachable, match="cannot talk to http://"):
            await asked(client)


async def test_an_answer_that_breaks_off_or_is_too_long_is_none() -> None:
    cut = OK + b"Content-Length: 50\r\n\r\nhello"
    async with server(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") as (client, _):
        answer = await asked(client)
        answer.release()  # hangs up
        with pytest.raises(Broken):
            await answer.whole(100)
    async with server(cut.replace(b"length", b"Length") + b"x" * 45) as (client, _):
        with pytest.raises(TooLong):
            await (await asked(client)).whole(20)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"


@pytest.mark.parametrize(
    "endless",
    [CHUNKED + b"0\r\nX: ", CHUNKED + b"0\r\nX: x\r\nY: ", CHUNKED + b"2;", CHUNKED],
    ids=["a trailer", "a second trailer", "an extension of a chunk", "the size of a chunk"],
)
async def test_what_stands_beside_a_body_has_a_most(endless: bytes) -> None:
    async with server(endless + b"0" * 40 * HEAD_LIMIT) as (client, _):
        with pytest.raises(Broken, match="framing of its answer is too long"):
            await (await asked(client)).whole(100)


async def test_a_trailer_says_nothing_that_the_head_did_not() -> None:
    async with server(CHUNKED + b"0\r\nContent-Type: x\r\nMcp-Session-Id: y\r\n\r\n") as (client, _):
        answer = await asked(client)
        assert await answer.whole(100) == b"he"
        assert list(answer.headers) == ["transfer-encoding"]


async def test_a_body_in_tiny_pieces_costs_little_more_than_it_holds() -> None:
    count = 100_000
    async with server(CHUNKED + b"2\r\nab\r\n" * count + b"0\r\n\r\n") as (client, _):
        answer = await asked(client)
        tracemalloc.start()
        try:
            assert len(await answer.whole(3 * count)) == 2 * count + 2
            reader = EventReader(3 * count)
            for _ in range(count):
                assert reader.feed(b"ab") == []
            assert tracemalloc.get_traced_memory()[1] < 25 * count
        finally:
            tracemalloc.stop()


async def test_connections_are_used_again_only_after_a_whole_answer() -> None:
    whole = OK + b"Content-Length: 5\r\n\r\nhello"
    async with server(whole, whole, whole + whole, whole, whole) as (client, connections):
        for _ in range(3):
            assert await (await asked(client)).whole(10) == b"hello"
        assert connections == [0]
        for _ in range(2):  # what came behind an answer, unasked, is not taken for the next one
            assert await (await asked(client)).whole(10) == b"hello"
        assert connections == [0, 1]


async def test_a_server_waits_while_nobody_reads() -> None:
    size = 40 * HIGH_WATER
    async with server(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size) as (client, _):
        answer = await asked(client)
        await asyncio.sleep(0.05)  # it could have sent a lot
        assert answer._size < 4 * HIGH_WATER
        assert len(await answer.whole(size)) == size


@pytest.mark.parametrize(
    ("url", "netloc", "target"),
    [
        ("http://a.example", "a.example", "/"),
        ("https://A.example:443/mcp?x=1&y=%20", "a.example", "/mcp?x=1&y=%20"),
        ("http://[::1]:8080/a b/é", "[::1]:8080", "/a%20b/%C3%A9"),
        ("http://bücher.example:81/\r\nX: y", "xn--bcher-kva.example:81", "/X:%20y"),
    ],
)
def test_addresses_go_on_the_wire_in_one_spelling(url: str, netloc: str, target: str) -> None:
    place = place_of(url)
    assert (place.netloc, place.target) == (netloc, target)


@pytest.mark.parametrize("url", ["", "ftp://a/", "http://", "http://a:99999/", "http://a:x/", "//a/"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(UpstreamError):
        place_of(url)


@pytest.mark.parametrize("url", ["http://me:p@ss@a:x/", "ftp://me:p@ss@a/", "me:p@ss@a", "http://me:p@ss@/"])
def test_what_is_no_address_is_said_without_its_password(url: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        place_of(url)
    assert "ss" not in str(caught.value).partition(" is no ")[0]
    assert "me" not in str(caught.value).partition(" is no ")[0]


def test_a_proxy_is_always_told_the_port() -> None:
    assert place_of("https://a.example/x").authority == "a.example:443"
    assert place_of("https://[::1]/x").authority == "[::1]:443"


def test_a_password_in_the_address_goes_into_a_header_and_into_no_message() -> None:
    provider = ProviderConfig(name="x", type="http", url="http://me:p%40ss@a.example/mcp")
    place = place_of(provider.url)
    assert "Authorization: Basic bWU6cEBzcw==" in own_headers(provider, place)
    assert "ss" not in place.url
    named = ProviderConfig(name="x", type="http", url=provider.url, headers={"authorization": Secret("mine")})
    assert [one for one in own_headers(named, place) if "uthorization" in one] == ["authorization: mine"]


async def test_a_header_with_a_line_break_is_not_sent() -> None:
    async with server(OK) as (client, connections):
        with pytest.raises(UpstreamError, match="line break"):
            await client.send("GET", {"Mcp-Session-Id": "x\r\nX-Evil: y"})
        assert connections == [0]


def test_the_environment_names_a_proxy_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    place = place_of("https://mcp.example/mcp")
    assert proxy_for(place) is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert proxy_for(place) == place_of("http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".example")
    assert proxy_for(place) is None
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:3128")
    with pytest.raises(UpstreamError):
        proxy_for(place)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
        OSError(f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] Connect call failed ('::1', 1, 0, 0)"),
    ],
    ids=["uvloop", "asyncio", "asyncio, for two addresses"],
)
def test_whichever_loop_says_so_a_refused_connection_is_called_that(error: OSError) -> None:
    assert said(error) == "connection refused"
