"""A gateway left alone with a full queue: it answers, ends in order, and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

from tests.support.gates import call
from tests.support.gateways import BOUND, SECRET, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
approvals: {{max_pending: 10000, timeout: 1h, grace: 1h}}
agents: {{claude-code: {{ask: ["demo/*", "bash/*"]}}}}
"""
PENDING, LISTENERS, PARKED = 1_000, 50, 200


def begin(gateway: Gateway, method: str, path: str, body: bytes = b"") -> socket.socket:
    """Send a request whose answer is read later."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=BOUND)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n"
    connection.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that the server still says, until it closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def payload(number: int) -> bytes:
    return json.dumps(
        {
            "session_id": "s",
            "hook_event_name": "PreToolUse",
            "tool_name": "Bash",
            "tool_input": {"command": f"make target-{number}"},
        }
    ).encode()


def test_with_a_full_queue_it_answers_and_ends_with_nothing_lost(tmp_path: Path) -> None:
    with open_gateway(tmp_path, POLICY) as gateway:

        async def fill(numbers: range) -> None:
            calls = [call("demo/write", n=number) for number in numbers]
            await asyncio.gather(*(gateway.gate.submit(one, attend=False) for one in calls))

        for first in range(0, PENDING, 100):
            gateway.run(fill(range(first, first + 100)))
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(begin(gateway, "GET", "/events")) for _ in range(LISTENERS)]
            for stream in streams:
                assert stream.recv(65536).startswith(b"HTTP/1.1 200")
            parked = [
                stack.enter_context(begin(gateway, "POST", "/hook?timeout=600", payload(number)))
                for number in range(PARKED)
            ]
            gateway.until(lambda: gateway.get("/health").json()["pending_hitl"] == PENDING + PARKED)
            rows = gateway.get("/hitl/pending").json()
            assert len(rows) == PENDING + PARKED
            codes = {row["id"]: row["code"] for row in rows}
            assert len(set(codes.values())) == len(rows)
            gateway.stop()
            answers = [rest(connection) for connection in parked]
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert all(b'"permissionDecision":"deny"' in answer for answer in answers)
            for stream in streams:
                rest(stream)
    with open_gateway(tmp_path, POLICY) as again:
        after = again.get("/hitl/pending").json()
        assert {row["id"]: row["code"] for row in after} == codes
        number = 7
        row = next(one for one in after if one["args"] == {"command": f"make target-{number}"})
        assert again.post(f"/hitl/approve/{row['code']}").status == 200
        answer = again.post("/hook", payload(number))
        assert answer.json()["hookSpecificOutput"]["permissionDecision"] == "allow"
        assert again.run(again.gate.store.verify()).sound
