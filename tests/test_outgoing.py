"""The one client behind what an agent has fetched and what webhooks are sent: the same attacks on both."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from airlock.errors import AirlockError, UsageError
from airlock.fetching import planned
from airlock.outgoing import MOST_TOLD_HEADERS, Garbled, send
from airlock.posting import Target, Undeliverable, post
from airlock.reach import Inside
from tests.support.answers import floods, says, server
from tests.test_reach import INSIDE

pytestmark = pytest.mark.anyio

User: TypeAlias = Callable[..., Awaitable[int]]


async def fetched(
    url: str, *, seconds: float = 5.0, tls: ssl.SSLContext | None = None, headers: Any = None
) -> int:
    """As an agent's request, where the config names this machine."""
    place = url.partition("://")[2].partition("/")[0]
    named = frozenset({place} if place.startswith(("127.0.0.1:", "localhost:")) else ())
    wanted = planned("POST", url, headers or {}, b"{}", named=named)
    return (await send(wanted, limit=1000, seconds=seconds, tls=tls)).status


async def posted(
    url: str, *, seconds: float = 5.0, tls: ssl.SSLContext | None = None, headers: Any = None
) -> int:
    """As a webhook that came over an API."""
    return await post(Target.of_stranger(url), headers or {}, b"{}", seconds=seconds, tls=tls)


@pytest.fixture(params=[fetched, posted], ids=["fetched", "posted"])
def user(request: pytest.FixtureRequest) -> User:
    return request.param  # type: ignore[no-any-return]


# -- where it leads --------------------------------------------------------------------------------------


@contextmanager
def leading(monkeypatch: pytest.MonkeyPatch, *addresses: str, port: int = 443) -> Iterator[list[str]]:
    """Every name leads there; the names that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield asked


@pytest.mark.parametrize("address", [*INSIDE, "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(
    user: User, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with leading(monkeypatch, address) as asked, pytest.raises((Inside, Undeliverable), match="leads to"):
        await user("https://hooks.example.org/x")
    assert asked == ["hooks.example.org"]


@pytest.mark.parametrize("address", INSIDE)
async def test_an_inner_address_is_refused_by_its_text(user: User, address: str) -> None:
    shown = f"[{address}]" if ":" in address else address
    with pytest.raises((UsageError, Undeliverable)):
        await user(f"https://{shown}/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "0"])
async def test_an_odd_spelling_of_this_machine_is_refused(user: User, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for url in (f"https://{host}:{listener.getsockname()[1]}/", f"http://{host}/", f"https://{host}/"):
            with pytest.raises((AirlockError, socket.gaierror)):
                await user(url)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("host", ["outer.example.org", "8.8.8.8"])
async def test_this_machine_is_not_reached_by_an_outer_address_of_its_own(
    user: User, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr("airlock.outgoing.public", lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with (
            leading(monkeypatch, "127.0.0.1", port=port) as asked,
            pytest.raises((Inside, Undeliverable), match="this machine"),
        ):
            await user(f"https://{host}/")
        assert asked == [host], "looked up once: what was checked is what is connected to"
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b"", "nothing was sent"


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://[fd00::1]/", "http://localhost/", "http://[::1]/"]
)
def test_only_an_address_that_the_config_names_itself_may_lie_inside(url: str) -> None:
    assert Target.of(url).anywhere
    assert not Target.of("https://intranet.example.org/").anywhere
    assert not Target.of_stranger("https://8.8.8.8/").anywhere


async def test_no_variable_of_the_environment_leads_elsewhere(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with server(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as place:
        assert await user(f"http://{place}/") == 204


async def test_a_redirect_is_the_answer(user: User) -> None:
    with server(
        says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
    ) as place:
        assert await user(f"http://{place}/") == 302


# -- what is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X": "a\0b"}, {"X\r\nY": "b"}, {"X Y": "b"}, {"": "b"}, {"X": "b "}],
)
async def test_a_header_that_breaks_out_is_refused(user: User, headers: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises((UsageError, Undeliverable)):
            await user(f"http://127.0.0.1:{listener.getsockname()[1]}/", headers=headers)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_plain_text_where_tls_is_wanted_is_a_failure(user: User) -> None:
    with server(says(b"HTTP/1.1 200 OK\r\n\r\n")) as place, pytest.raises(ssl.SSLError):
        await user(f"https://{place}/")


def certificate(folder: Path) -> Path:
    """A key and a certificate for `localhost`, in one file."""
    made = folder / "tls.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    what = ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *what, "-keyout", str(made), "-out", str(folder / "cert")], check=True)
    made.write_text(made.read_text() + (folder / "cert").read_text())
    return made


async def test_a_certificate_is_checked_for_its_name_and_for_who_vouches_for_it(
    user: User, tmp_path: Path
) -> None:
    made = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(made)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert"))

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), serving.wrap_socket(connection, server_side=True) as secured:
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")(secured)

    async def asked(host: str, tls: ssl.SSLContext | None) -> int:
        with server(answer) as place:
            return await user(f"https://{host}:{place.rpartition(':')[2]}/", tls=tls)

    assert await asked("localhost", trusting) == 200
    for host, tls in (("localhost", None), ("127.0.0.1", trusting)):
        with pytest.raises(ssl.SSLCertVerificationError):
            await asked(host, tls)


# -- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(user: User, data: bytes) -> None:
    with server(says(data)) as place, pytest.raises((Garbled, ConnectionError)):
        await user(f"http://{place}/")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_TOLD_HEADERS + 1) + b"\r\n", b"x"),
    ],
)
async def test_a_head_without_end_is_a_failure_long_before_the_time(
    user: User, head: bytes, piece: bytes
) -> None:
    with server(floods(head, piece)) as place, pytest.raises(Garbled):
        await user(f"http://{place}/", seconds=20)


async def test_a_server_that_says_nothing_ends_with_the_time(user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        await user(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.3)


async def test_a_webhook_is_delivered_by_the_head_of_the_answer_and_not_by_what_announces_it() -> None:
    endless = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\nx"
    with server(says(endless)) as place:
        async with asyncio.timeout(60):
            assert await posted(f"http://{place}/", seconds=60) == 503
