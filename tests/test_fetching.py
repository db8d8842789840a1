"""What an agent may have fetched: which URLs and headers are taken, and how much of the answer is read."""

from __future__ import annotations

import asyncio
import threading
from socket import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.errors import UsageError
from airlock.fetching import planned
from airlock.outgoing import FAILURES, MOST_PIECES, Outgoing, send
from tests.support.answers import floods, says, server

pytestmark = pytest.mark.anyio


def plan(url: str, method: str = "GET", *, named: frozenset[str] = frozenset(), **more: object) -> Outgoing:
    headers, body = more.get("headers", {}), more.get("body", b"")
    return planned(method, url, headers, body, named=named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.example.com/a?b=c", (True, "api.example.com", 443, "/a?b=c")),
        ("http://example.com/", (False, "example.com", 80, "/")),
        ("https://example.com/?x=/..?", (True, "example.com", 443, "/?x=/..?")),
        ("http://example.com:443/", (False, "example.com", 443, "/")),
        ("https://[2606:4700::1]/a%2Fb", (True, "2606:4700::1", 443, "/a%2Fb")),
        ("https://8.8.8.8/a//b", (True, "8.8.8.8", 443, "/a//b")),
    ],
)
def test_a_url_in_its_normal_form_is_taken(url: str, place: tuple[object, ...]) -> None:
    wanted = plan(url)
    assert (wanted.tls, wanted.host, wanted.port, wanted.target) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http:///",
        "http://u@example.com/",
        "http://u:p@example.com/",
        "http://example.com\\@evil.example/",
        "http://example.com /",
        "http://exa\tmple.com/",
        "http://example.com/\r\nHost: evil",
        "http://example.com/a b",
        "http://exämple.com/",
        "http://example.com/ä",
        "http://example%2ecom/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a00:1::]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "http://example.com:8080/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:80/",
        "https://example.com:443/",
        "http://example.com:/",
        "http://example.com./",
        "HTTP://example.com/",
        "http://EXAMPLE.com/",
        "http://example.com/#x",
        "http://example.com",
        "http://example.com?x",
        "http://example.com/a?",
        "http://example.com/a/../b",
        "http://example.com/a/./b",
        "http://example.com/..",
        "http://example.com/%2e%2e/b",
        "http://example.com/%61dmin",
        "http://example.com/a%2fb",
        "http://example.com/100%",
        "http://example.com/" + "a" * 9_000,
    ],
)
def test_what_is_odd_leads_inside_or_has_another_spelling_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"`params\.url`"):
        plan(url)


def test_the_normal_form_is_named() -> None:
    with pytest.raises(UsageError, match=r"normal form: https://example.com/a%2Fb~$"):
        plan("HTTPS://Example.com:443/a%2fb%7E?#x")
    with pytest.raises(UsageError, match=r"normal form: https://api.example.com/\?q=1$"):
        plan("https://api.example.com?q=1")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com/{text}", f"http://[{text}]/"):
        try:
            wanted = plan(url)
        except UsageError:
            continue
        assert wanted.target.isascii()
        assert not {" ", "\r", "\n", "#"} & set(wanted.target)


def test_the_config_opens_a_host_a_port_and_no_more() -> None:
    named = frozenset({"intranet.example", "10.0.0.7:8080", "[::1]:9000"})
    assert plan("http://intranet.example/", named=named).anywhere
    assert plan("http://10.0.0.7:8080/", named=named).anywhere
    assert plan("http://[::1]:9000/", named=named).anywhere
    assert not plan("http://www.intranet.example/", named=named).anywhere
    for url in (
        "http://intranet.example:8080/",
        "http://10.0.0.7/",
        "http://10.0.0.8:8080/",
        "http://[::1]/",
    ):
        with pytest.raises(UsageError):
            plan(url, named=named)


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nY: b"},
        {"X": "a\nb"},
        {"X": "a\0b"},
        {"X\r\nY": "b"},
        {"X Y": "b"},
        {"": "b"},
        {"X": " b"},
        {"X": "ä"},
        {"X": "1", "x": "2"},
        {"Host": "evil.example"},
        {"hOST": "evil.example"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
        {"Expect": "100-continue"},
        {"Proxy-Authorization": "x"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X_Forwarded_For": "127.0.0.1"},
        {"Content_Length": "0"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-Original-URL": "/admin"},
        {f"X{number}": "" for number in range(65)},
        {"X": "a" * 17_000},
    ],
)
def test_a_header_that_frames_routes_or_breaks_out_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"`params\.headers`"):
        plan("http://example.com/", headers=headers)


def test_methods_are_a_short_list_and_some_have_no_body() -> None:
    for method in ("CONNECT", "TRACE", "get", "X"):
        with pytest.raises(UsageError, match="`operation`"):
            plan("http://example.com/", method)
    with pytest.raises(UsageError, match=r"`params\.body`"):
        plan("http://example.com/", "GET", body=b"x")


# -- what comes back ------------------------------------------------------------------------------------


async def get(place: str, *, limit: int = 1000, seconds: float = 5.0) -> tuple[int, bytes, bool]:
    wanted = planned("GET", f"http://{place}/", {}, b"", named=frozenset({place}))
    answer = await send(wanted, limit=limit, seconds=seconds)
    return answer.status, answer.body, answer.cut


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi", False)),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", (200, b"until the end", False)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
            (200, b"hi!", False),
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            (204, b"", False),
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, (200, b"x" * 1000, True)),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", (301, b"", False)),
    ],
)
async def test_an_answer_is_read_to_its_end_or_to_the_limit(
    data: bytes, found: tuple[int, bytes, bool]
) -> None:
    with server(says(data)) as place:
        assert await get(place) == found


async def test_a_body_that_ends_too_early_is_a_failure() -> None:
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")) as place, pytest.raises(FAILURES):
        await get(place)


async def test_an_answer_in_tiny_pieces_without_end_is_cut_and_others_have_their_turn_meanwhile() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server(floods(head, b"1\r\na\r\n")) as place:
        beside = asyncio.create_task(others())
        status, body, cut = await get(place, limit=10_000_000, seconds=60)
        beside.cancel()
    assert (status, cut) == (200, True)
    assert MOST_PIECES <= len(body) < MOST_PIECES + 20
    assert turns > MOST_PIECES // 100


async def test_a_long_answer_in_pieces_of_a_usual_size_is_whole() -> None:
    piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
    whole = piece * (MOST_PIECES + 1_000) + b"0\r\n\r\n"
    with server(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + whole)) as place:
        status, body, cut = await get(place, limit=10_000_000, seconds=60)
    assert (status, len(body), cut) == (200, 1024 * (MOST_PIECES + 1_000), False)


async def test_an_answer_that_trickles_ends_with_the_time() -> None:
    over = threading.Event()

    def trickle(connection: socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while not over.wait(0.02):
            try:
                connection.sendall(b"x")
            except OSError:
                return

    with server(trickle) as place:
        with pytest.raises(TimeoutError):
            await get(place, seconds=0.3)
        over.set()
