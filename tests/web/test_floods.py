"""Floods and trickles: what is too large, too deep, too slow or broken off is refused, and costs little."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from airlock.canonical import MAX_VALUES
from airlock.web import bodies
from tests.support.gateways import BOUND, SECRET, Gateway, open_gateway

POLICY = f"server: {{api_secret: {SECRET}}}\nagents: {{claude-code: {{ask: ['demo/*']}}}}\n"
HEAD = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {SECRET}\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("floods"), POLICY) as running:
        yield running


def test_a_body_over_the_limit_is_413_and_never_kept(gateway: Gateway) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert gateway.post("/hitl/approve/x", b"x" * (bodies.REST_LIMIT + 1)).status == 413
    assert gateway.post("/hitl/approve/x", b" " * bodies.REST_LIMIT).status == 404
    _pour(gateway, "/hitl/approve/x", 40 * bodies.MIB)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 30 * 1024, "the flood was kept in memory"


def _pour(gateway: Gateway, path: str, size: int) -> bytes:
    """Send a chunked body piece by piece until the server has had enough."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=BOUND) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(size // 0x10000):
                connection.sendall(piece)
            connection.sendall(b"0\r\n\r\n")
            return connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            return b""


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"note": ' + b"9" * 100_000 + b"}",
        b'{"note": 1e99999}',
        b'{"a": 1, "a": 2}',
        b'{"note": "\\ud800"}',
        b"\x00",
        b"nul",
    ],
)
def test_a_json_bomb_is_400(gateway: Gateway, body: bytes) -> None:
    assert gateway.post("/hitl/deny/x", body).status == 400


MANY = b"[" + b",".join([b"[]"] * MAX_VALUES) + b"]"
"""A little text that would be looked at, value by value, for long."""


def test_more_values_than_a_call_has_are_refused_on_every_road(gateway: Gateway) -> None:
    refused = gateway.post("/hitl/deny/x", b'{"reason": ' + MANY + b"}")
    assert (refused.status, f"more than {MAX_VALUES} values" in refused.json()["error"]) == (400, True)
    hook = b'{"tool_name": "Write", "tool_input": {"a": ' + MANY + b"}}"
    answer = gateway.post("/hook?client=claude-code", hook).json()
    assert answer["hookSpecificOutput"]["permissionDecision"] == "deny"


def test_a_long_text_is_one_value_whatever_stands_in_it(gateway: Gateway) -> None:
    text = b'{"beside": "' + b"[{," * (MAX_VALUES + 1) + b'"}'
    assert gateway.post("/hitl/deny/x", text).status == 404


def test_a_body_that_trickles_is_408(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies.read_body, "__kwdefaults__", {"seconds": 0.2})
    data = gateway.raw(f"POST /hitl/approve/x HTTP/1.1\r\n{HEAD}Content-Length: 100\r\n\r\n{{".encode())
    assert data.startswith(b"HTTP/1.1 408")


def test_a_caller_that_hangs_up_in_its_body_leaves_the_gateway_well(gateway: Gateway) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=BOUND) as connection:
            connection.sendall(
                f"POST /hitl/approve/x HTTP/1.1\r\n{HEAD}Content-Length: 100\r\n\r\n{{".encode()
            )
    assert gateway.get("/health").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"POST /hitl/deny/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /hitl/approve/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: localhost\nConnection: close\n\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\x00c\r\nConnection: close\r\n\r\n",
    ],
    ids=[
        "long header",
        "long path",
        "many headers",
        "no method of HTTP",
        "tls",
        "version",
        "two lengths",
        "negative length",
        "length and chunks",
        "chunks that are not last",
        "blank before the colon",
        "folded header",
        "bare line feeds",
        "a NUL",
    ],
)
def test_broken_http_never_reaches_a_route(gateway: Gateway, data: bytes) -> None:
    answer = gateway.raw(data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert gateway.get("/health").status == 200


def test_many_idle_connections_leave_room_for_others(gateway: Gateway, tmp_path: Path) -> None:
    idle = [socket.create_connection(("127.0.0.1", gateway.port), timeout=BOUND) for _ in range(200)]
    try:
        for connection in idle:
            connection.sendall(b"GET /health HT")
        assert gateway.get("/health").status == 200
    finally:
        for connection in idle:
            connection.close()


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    request = f"GET /ready HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
    with open_gateway(tmp_path, POLICY) as running:
        running.server.config.timeout_keep_alive = 1
        assert running.raw(request).startswith(b"HTTP/1.1 200")
