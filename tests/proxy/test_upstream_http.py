"""Upstreams behind a URL: an SDK server over Streamable HTTP in both eras, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airlock.config import ProviderConfig, Secret
from airlock.errors import WireError
from airlock.proxy.link import Facing
from airlock.proxy.upstream import http as upstream_http
from support.upstreams import LEGACY, MODERN, call, request, running

pytestmark = pytest.mark.anyio

SERVER = Path(__file__).parents[1] / "fixtures" / "sdk_server.py"
EITHER = pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])


def start(*args: str) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen([sys.executable, str(SERVER), *args], stdout=subprocess.PIPE)
    assert process.stdout
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def port() -> Any:
    process, number = start()
    yield number
    end(process)


def provider(port: int, path: str = "mcp", **more: Any) -> ProviderConfig:
    more.setdefault("type", "http")
    return ProviderConfig(name="web", url=f"http://127.0.0.1:{port}/{path}", **more)


def headers_seen(result: Any) -> dict[str, str]:
    found: dict[str, str] = json.loads(result["content"][0]["text"])
    return found


@EITHER
async def test_calls_and_progress_work_in_the_clients_era(port: int, facing: Facing) -> None:
    async with running(provider(port), facing) as (upstream, _):
        assert upstream.state.era == facing.era
        assert upstream.state.server_info["name"] == "sdk"
        assert json.loads((await call(upstream, "echo", a=[1, None]))["content"][0]["text"]) == {
            "a": [1, None]
        }
        seen: list[Any] = []
        done = asyncio.get_running_loop().create_future()
        upstream.request("tools/call", {"name": "progress"}, done.set_result, seen.append)
        async with asyncio.timeout(60):
            assert "result" in await done
        assert [one["message"] for one in seen] == ["step 1", "step 2", "step 3"]


@EITHER
async def test_only_the_headers_of_the_config_are_sent(port: int, facing: Facing) -> None:
    async with running(provider(port, headers={"X-Key": Secret("v")}), facing) as (upstream, _):
        sent = headers_seen(await call(upstream, "headers"))
        assert sent["x-key"] == "v"
        assert sent["mcp-protocol-version"] == facing.protocol_version
        assert "authorization" not in sent
        assert "cookie" not in sent


async def test_a_modern_call_mirrors_method_name_and_marked_arguments(port: int) -> None:
    async with running(provider(port), MODERN) as (upstream, _):
        listed = await request(upstream, "tools/list", {})
        assert "bad" not in [tool["name"] for tool in listed["result"]["tools"]]
        sent = headers_seen(await call(upstream, "headers", region="é"))
        assert sent["mcp-method"] == "tools/call"
        assert sent["mcp-name"] == "headers"
        assert sent["mcp-param-region"] == "=?base64?w6k=?="


async def test_a_legacy_listing_is_not_touched(port: int) -> None:
    async with running(provider(port), LEGACY) as (upstream, _):
        listed = await request(upstream, "tools/list", {})
        assert "bad" in [tool["name"] for tool in listed["result"]["tools"]]


async def test_an_elicitation_comes_through_and_its_answer_goes_back(port: int) -> None:
    async with running(provider(port), LEGACY) as (upstream, listener):
        asking = asyncio.create_task(call(upstream, "ask"))
        await listener.until(lambda: listener.asks)
        upstream.respond(listener.asks[0][0], {"result": {"action": "decline"}})
        assert json.loads((await asking)["content"][0]["text"])["action"] == "decline"


async def test_two_megabytes_pass_and_what_is_over_the_limit_is_an_error(port: int) -> None:
    async with running(provider(port), LEGACY) as (upstream, _):
        assert len((await call(upstream, "huge", bytes=2_000_000))["content"][0]["text"]) > 2_000_000
    for facing in (LEGACY, MODERN):
        async with running(provider(port), facing, limit=100_000) as (upstream, _):
            params = {"name": "huge", "arguments": {"bytes": 300_000}}
            assert "error" in await request(upstream, "tools/call", params)
            assert await call(upstream, "echo")


async def test_what_cannot_be_written_is_refused_at_once(port: int) -> None:
    async with running(provider(port)) as (upstream, _):
        with pytest.raises(WireError):
            upstream.request("tools/call", {"name": float("inf")}, lambda _: None)


@EITHER
async def test_a_wrong_token_says_where_to_look(facing: Facing) -> None:
    process, number = await asyncio.to_thread(start, "sesame")
    try:
        async with running(provider(number), facing, ready=False) as (upstream, _):
            assert "HTTP 401 Unauthorized: check the `headers` of this provider" in upstream.state.reason
        right = {"Authorization": Secret("Bearer sesame")}
        async with running(provider(number, headers=right), facing) as (upstream, _):
            assert await call(upstream, "echo")
    finally:
        end(process)


@EITHER
async def test_a_wrong_path_says_where_to_look(port: int, facing: Facing) -> None:
    async with running(provider(port, "nowhere"), facing, ready=False) as (upstream, _):
        assert "HTTP 404 Not Found: check its `url`" in upstream.state.reason


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_is_not_there_is_named(kind: Any) -> None:
    async with running(provider(1, type=kind), ready=False) as (upstream, _):
        assert upstream.state.reason.startswith("cannot talk to http://127.0.0.1:1: ")
        assert "Errno" not in upstream.state.reason


async def test_a_name_that_stands_for_nothing_is_told_in_words() -> None:
    nowhere = replace(provider(1), url="http://name.invalid/mcp")
    async with running(nowhere, ready=False) as (upstream, _):
        assert upstream.state.reason.startswith("cannot talk to http://name.invalid:80: ")
        assert "Errno" not in upstream.state.reason


async def test_a_session_that_the_server_forgot_is_begun_anew_and_nothing_repeated() -> None:
    process, number = await asyncio.to_thread(start)
    try:
        async with running(provider(number)) as (upstream, listener):
            assert await call(upstream, "echo")
            forget = urllib.request.Request(f"http://127.0.0.1:{number}/forget", method="POST")
            (await asyncio.to_thread(urllib.request.urlopen, forget, timeout=60)).close()
            reply = await request(upstream, "tools/call", {"name": "echo"})
            assert "error" in reply
            await listener.until(lambda: listener.phases.count("ready") == 2)
            assert await call(upstream, "echo")
    finally:
        end(process)


async def test_a_server_that_dies_in_a_call_fails_it() -> None:
    process, number = await asyncio.to_thread(start)
    try:
        async with running(provider(number)) as (upstream, listener):
            asking = asyncio.create_task(request(upstream, "tools/call", {"name": "ask"}))
            await listener.until(lambda: listener.asks)
            end(process)
            assert "error" in await asking
            reply = (
                await request(upstream, "tools/call", {"name": "echo"})
                if upstream.state.phase == "ready"
                else {}
            )
            assert "result" not in reply
            await listener.until(lambda: "broken" in listener.phases)
            assert listener.withdrawals
    finally:
        end(process)


@asynccontextmanager
async def raw_server(
    answer: Callable[[dict[str, Any]], tuple[str, bytes] | None],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP server of our own that says whatever it likes; None means: never answer."""
    heads: list[bytes] = []
    hanging = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            said = answer(json.loads(body)) if body else ("text/plain", b"")
            if said is None:
                await hanging.wait()
                return
            kind, data = said
            status = b"200 OK" if data else b"405 Method Not Allowed"
            start = f"content-type: {kind}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
            writer.write(b"HTTP/1.1 " + status + b"\r\n" + start.encode() + data)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        hanging.set()
        server.close()
        await server.wait_closed()


def legacy_hello(frame: dict[str, Any]) -> tuple[str, bytes]:
    result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}
    return "application/json", json.dumps(
        {"jsonrpc": "2.0", "id": frame.get("id"), "result": result}
    ).encode()


@asynccontextmanager
async def kept_server(
    answer: Callable[[bytes, dict[str, Any]], bytes | None],
) -> AsyncIterator[tuple[int, list[bytes], list[asyncio.StreamReader]]]:
    """A server that keeps its connections; what it says is whole HTTP. None means: never answer."""
    heads: list[bytes] = []
    connections: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(reader)
        writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                said = answer(head, json.loads(body or b"{}"))
                if said is not None:
                    writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads, connections
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def said(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def greeted(head: bytes, frame: dict[str, Any]) -> bytes:
    if not head.startswith(b"POST") or "id" not in frame:
        return said(b"", "202 Accepted" if head.startswith(b"POST") else "405 Method Not Allowed")
    return said(legacy_hello(frame)[1])


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with (
        kept_server(greeted) as (number, heads, connections),
        running(provider(number)) as (upstream, _),
    ):
        for _ in range(20):
            assert "result" in await request(upstream, "tools/call", {"name": "x"})
        assert len(heads) >= 22
        assert len(connections) <= 2


async def test_a_modern_call_that_is_given_up_hangs_up_and_says_nothing() -> None:
    asked = asyncio.Event()

    def answer(head: bytes, frame: dict[str, Any]) -> bytes | None:
        if frame["method"] == "tools/call":
            asked.set()
            return None
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
        return said(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode())

    async with (
        kept_server(answer) as (number, heads, connections),
        running(provider(number), MODERN) as (upstream, _),
        asyncio.timeout(60),
    ):
        ticket = upstream.request("tools/call", {"name": "x"}, lambda _: None)
        await asked.wait()
        count = len(heads)
        upstream.cancel(ticket, "no more")
        while not any(one.at_eof() for one in connections):
            await asyncio.sleep(0.01)  # the other end of a connection tells nobody
        assert len(heads) == count
        assert upstream.state.phase == "ready"


async def test_a_redirect_at_home_is_followed_with_everything_that_was_sent() -> None:
    def answer(head: bytes, frame: dict[str, Any]) -> bytes:
        if head.startswith(b"POST /mcp "):
            return said(b"", "307 Temporary Redirect", "location: /mcp/")
        return greeted(head, frame)

    key = {"X-Key": Secret("v")}
    async with (
        kept_server(answer) as (number, heads, _),
        running(provider(number, headers=key)) as (upstream, _),
    ):
        assert "result" in await request(upstream, "tools/call", {"name": "x"})
        followed = [head for head in heads if head.startswith(b"POST /mcp/ ")]
        assert followed
        assert all(b"X-Key: v" in head for head in followed)


async def test_passwords_of_the_machine_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with kept_server(greeted) as (number, heads, _), running(provider(number)):
        assert heads
        assert not any(b"authorization" in head.lower() for head in heads)


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    bomb = gzip.compress(b'{"jsonrpc":"2.0","id":1,"result":{"a":"' + b"x" * 50_000_000 + b'"}}')

    def answer(head: bytes, frame: dict[str, Any]) -> bytes:
        if frame.get("method") != "tools/call":
            return greeted(head, frame)
        return said(bomb, "200 OK", "content-encoding: gzip")

    async with (
        kept_server(answer) as (number, _, _),
        running(provider(number), limit=1_000_000) as (upstream, _listener),
    ):
        assert "packed with `gzip`" in str(await request(upstream, "tools/call", {"name": "x"}))
        assert upstream.state.phase == "ready"


@pytest.mark.parametrize(
    "said",
    [
        ("application/json", b'{"jsonrpc":"2.0","id":%d,"result":{"a":NaN}}'),
        ("application/json", b'{"jsonrpc":"2.0","id":%d,"result":{"a":1e999}}'),
        ("application/json", b"rubbish %d"),
        ("text/html", b"<html>%d"),
        ("text/event-stream", b"data: rubbish %d\n\n"),
        ("text/event-stream", b": nothing %d\n\n"),
    ],
)
async def test_an_answer_that_is_not_acceptable_fails_its_call(said: tuple[str, bytes]) -> None:
    def answer(frame: dict[str, Any]) -> tuple[str, bytes]:
        if frame["method"] != "tools/call":
            return legacy_hello(frame)
        return said[0], said[1] % frame["id"]

    async with raw_server(answer) as (number, _), running(provider(number)) as (upstream, _listener):
        assert "error" in await request(upstream, "tools/call", {"name": "x"})
        assert upstream.state.phase == "ready"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("id_", ["%d1", '"%d1"', '"other"', "-%d"])
async def test_an_answer_that_bears_another_id_is_not_taken(kind: str, id_: str) -> None:
    def answer(frame: dict[str, Any]) -> tuple[str, bytes]:
        if frame["method"] != "tools/call":
            return legacy_hello(frame)
        named = id_.replace("%d", str(frame["id"]))
        text = '{"jsonrpc":"2.0","id":' + named + ',"result":{"content":"of another"}}'
        return kind, (f"data: {text}\n\n" if "stream" in kind else text).encode()

    async with raw_server(answer) as (number, _), running(provider(number)) as (upstream, _listener):
        reply = await request(upstream, "tools/call", {"name": "x"})
        assert "bears the id of another request" in reply["error"]["message"]
        assert upstream.state.phase == "ready"


async def test_so_many_requests_are_open_at_once_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_http, "MOST_OPEN", 5)
    taken: set[int] = set()
    most = 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                frame = json.loads(await reader.readexactly(int(length[1])) if length else b"{}")
                if frame.get("method") == "tools/call":
                    taken.add(frame["id"])
                    most = max(most, len(taken))
                    if most == 5:
                        full.set()
                    await full.wait()
                    await asyncio.sleep(0.01)  # so that more would come if they could
                    taken.remove(frame["id"])
                writer.write(greeted(head, frame))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running(provider(server.sockets[0].getsockname()[1])) as (upstream, _listener):
        replies = await asyncio.gather(*(request(upstream, "tools/call", {"name": "x"}) for _ in range(40)))
        assert all("result" in one for one in replies)
    server.close()
    assert most == 5


async def test_a_server_that_never_takes_a_notification_keeps_no_later_call_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream_http, "TELL_SECONDS", 0.05)

    def answer(frame: dict[str, Any]) -> tuple[str, bytes] | None:
        hangs = (frame.get("params") or {}).get("name") == "hang"
        return None if hangs or frame["method"] == "notifications/cancelled" else legacy_hello(frame)

    async with raw_server(answer) as (number, _), running(provider(number)) as (upstream, _listener):
        ticket = upstream.request("tools/call", {"name": "hang"}, lambda _: None)
        upstream.cancel(ticket, "no more")
        assert "result" in await request(upstream, "tools/call", {"name": "quick"})


async def test_a_call_that_never_ends_ends_at_the_limit_and_others_go_on() -> None:
    def answer(frame: dict[str, Any]) -> tuple[str, bytes] | None:
        hangs = (frame.get("params") or {}).get("name") == "hang"
        return None if hangs else legacy_hello(frame)

    slow = {"timeout_ms": 3_000}  # for the quick one, too
    async with raw_server(answer) as (number, _), running(provider(number, **slow)) as (upstream, _listener):
        hanging = asyncio.create_task(request(upstream, "tools/call", {"name": "hang"}))
        assert "result" in await request(upstream, "tools/call", {"name": "quick"})
        assert "no answer to `tools/call` within 3 s" in (await hanging)["error"]["message"]


async def test_a_redirect_to_another_origin_is_not_followed_with_our_headers() -> None:
    taken: list[str] = []

    def steal(frame: dict[str, Any]) -> tuple[str, bytes]:
        taken.append(frame["method"])
        return legacy_hello(frame)

    async with raw_server(steal) as (thief, heads):

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            place = (
                f"location: http://127.0.0.1:{thief}/mcp\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            writer.write(b"HTTP/1.1 307 Temporary Redirect\r\n" + place.encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(redirect, "127.0.0.1", 0)
        number = server.sockets[0].getsockname()[1]
        secret = {"Authorization": Secret("Bearer mine")}
        async with running(provider(number, headers=secret), ready=False) as (upstream, _):
            assert "Redirect to" in upstream.state.reason
        server.close()
        await server.wait_closed()
    assert taken == []
    assert heads == []


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(legacy_hello) as (number, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:mine@127.0.0.1:{number}")
        monkeypatch.setenv("NO_PROXY", "")
        named = ProviderConfig(name="web", type="http", url="http://mcp.example.invalid/mcp")
        async with running(named) as (upstream, _):
            assert upstream.state.phase == "ready"
        assert heads[0].startswith(b"POST http://mcp.example.invalid/mcp HTTP/1.1")
        assert b"\r\nProxy-Authorization: Basic bWU6bWluZQ==\r\n" in heads[0]


async def test_a_proxy_passes_tls_on_to_a_secure_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = own_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            writer.close()
            return
        if b"127.0.0.1:1 " in asked[-1]:
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            writer.close()
            return
        behind = await asyncio.open_connection("127.0.0.1", int(asked[-1].split()[1].split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copied(reader, behind[1]), copied(behind[0], writer))

    async def copied(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    number = proxy.sockets[0].getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:mine@127.0.0.1:{number}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with raw_server(legacy_hello, tls) as (secure, heads):
        named = ProviderConfig(name="web", type="http", url=f"https://127.0.0.1:{secure}/mcp")
        async with running(named) as (upstream, _):
            assert upstream.state.phase == "ready"
        assert heads[0].startswith(b"POST /mcp HTTP/1.1\r\n")
        assert b"Proxy-Authorization" not in b"".join(heads)
    assert asked[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % secure)
    assert b"Proxy-Authorization: Basic bWU6bWluZQ==" in asked[0]
    async with running(ProviderConfig(name="web", type="http", url="https://127.0.0.1:1/"), ready=False) as (
        upstream,
        _,
    ):
        assert "the proxy answered `HTTP/1.1 403 Forbidden`" in upstream.state.reason
    proxy.close()
    await proxy.wait_closed()


def own_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody knows, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "certificate.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(encoding) + private)
    return path


async def test_an_unknown_certificate_is_refused_until_ssl_cert_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = own_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with raw_server(legacy_hello, tls) as (number, heads):
        secure = ProviderConfig(name="web", type="http", url=f"https://127.0.0.1:{number}/mcp")
        async with running(secure, ready=False) as (upstream, _):
            assert "SSL_CERT_FILE" in upstream.state.reason
        assert heads == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with running(secure) as (upstream, _):
            assert upstream.state.phase == "ready"


def test_starting_without_an_http_upstream_loads_no_http_client() -> None:
    code = "import sys, airlock.proxy.upstream.factory\n"
    code += "import airlock.proxy.upstream.stdio, airlock.proxy.upstream.http\n"
    code += "bad = {'mcp', 'mcp_types', 'httpx2', 'pydantic', 'anyio', 'starlette'} & set(sys.modules)\n"
    code += "sys.exit(f'loaded: {bad}' if bad else 0)"
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)
