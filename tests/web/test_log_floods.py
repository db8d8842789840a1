"""Whatever a stranger sends, and however often: the log stays short, and holds nothing of it."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import sqlite3
import threading
from pathlib import Path

from tests.support.gateway_process import BOUND, Process

MARK = "all-is-well"
KEY = "alk_" + "x" * 43
TIMES = 40


def request(start: str, *lines: str, body: bytes = b"") -> bytes:
    head = [start + " HTTP/1.1", *lines, f"X-More: {MARK}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def posted(path: str, *lines: str, body: bytes = b"{}") -> bytes:
    return request(f"POST {path}", "Host: localhost", *lines, body=body)


FLOODS = {
    "another host": [request("GET /health", f"Host: {MARK}.example")],
    "another site": [request("GET /health", "Host: localhost", f"Origin: https://{MARK}.example")],
    "no credential": [posted("/mcp"), posted("/keys"), request("GET /audit", "Host: localhost")],
    "a wrong credential": [
        posted("/mcp", f"Authorization: Bearer {MARK}"),
        posted("/mcp", f"Authorization: Bearer {KEY}"),
        posted("/keys", f"Authorization: Bearer {MARK}\x1b[2J"),
        posted("/keys", f"Authorization: Basic {MARK}"),
    ],
    "an unknown route": [request(f"GET /{MARK}/%0a%1b[2J", "Host: localhost"), posted("//"), posted("/MCP")],
    "hooks": [
        posted("/hook", body=MARK.encode()),
        posted("/hook/", body=b'{"hook_event_name": "' + MARK.encode() + b'"}'),
        posted("/hook?client=" + MARK, f"Origin: https://{MARK}", body=b"[" * 9_000),
        posted(f"/hook?agent={MARK}", f"Authorization: Bearer {KEY}", body=b'{"a": 1, "a": 2}'),
    ],
    "too much": [
        posted("/mcp", body=b"x" * 40_000),
        posted("/hook", body=MARK.encode() * 200_000),
        request("GET /health", "Host: localhost", *(f"X-{n}: {MARK}" for n in range(9_000))),
        request("GET /" + MARK * 7_000, "Host: localhost"),
    ],
    "what is no HTTP": [
        MARK.encode() + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK.encode(),
        f"GET / HTTP/1.1\r\nHost: localhost\r\n{MARK}\r\n\r\n".encode(),
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n".encode(),
        posted("/mcp", "Transfer-Encoding: chunked"),
        f"CONNECT {MARK}:443 HTTP/1.1\r\n\r\n".encode(),
        request("GET /health", "Host: localhost", "Upgrade: websocket", "Connection: upgrade"),
    ],
    "half of it": [
        posted("/mcp", body=b"x" * 100)[:-50],
        posted("/hook", body=b"x" * 100)[:-50],
        f"GET /{MARK}".encode(),
    ],
}


def send(process: Process, data: bytes) -> None:
    """One connection: what is sent, and then its end."""
    line = socket.create_connection(("127.0.0.1", process.port), timeout=BOUND)
    with line, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        while line.recv(65_536):
            pass


def log_of(process: Process) -> str:
    """All that it has logged, once it has ended."""
    process.running.send_signal(signal.SIGTERM)
    said = process.running.communicate(timeout=BOUND)[1].decode()
    assert process.running.returncode == 0
    return said


def test_a_stranger_fills_no_log(process: Process) -> None:
    sent = [one for kind in FLOODS.values() for one in kind]
    threads = [threading.Thread(target=lambda: [send(process, one) for one in sent * 10]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * BOUND)
    said = log_of(process)
    assert MARK not in said
    assert "xxxx" not in said
    lines = said.splitlines()
    assert len(lines) <= 6, said
    assert len(said) < 1_500
    once = "a request from 127.0.0.1 was broken or beyond the limits, and was refused"
    assert lines.count(f"airlock: WARNING: {once}") == 1
    assert lines[-1].endswith(" from 127.0.0.1")
    assert " more were broken or beyond the limits, and were refused: " in lines[-1]


def test_a_database_that_fails_is_told_a_few_times_however_often_a_stranger_asks(process: Process) -> None:
    with contextlib.closing(sqlite3.connect(process.config.parent / "airlock.db")) as other:
        other.execute("ALTER TABLE api_key RENAME TO gone")
        other.commit()
    wrong = f"Authorization: Bearer {KEY}"
    for _ in range(TIMES):
        send(process, posted("/mcp", wrong))
        send(process, posted("/hook", wrong))
        send(process, request("GET /audit", "Host: localhost", wrong))
    lines = log_of(process).splitlines()
    assert sum("the database cannot be used" in line for line in lines) == 5
    assert sum("a credential cannot be checked" in line for line in lines) == 5
    assert len(lines) <= 14


def test_more_connections_than_there_are_descriptors_make_no_long_log(tmp_path: Path) -> None:
    started = Process(tmp_path)
    try:
        resource.prlimit(started.running.pid, resource.RLIMIT_NOFILE, (40, 40))
        with contextlib.ExitStack() as open_ones:
            for _ in range(300):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", started.port), timeout=BOUND))
        assert len(log_of(started).splitlines()) <= 12
    finally:
        started.running.kill()
        started.running.wait(BOUND)
