"""What a client hears that is in the middle of a request when the gateway ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.gateway_process import BOUND, SECRET, Process, hook

MCP = (
    "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    "MCP-Protocol-Version: 2025-11-25\r\n"
)
HEALTH = f"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()


def post(path: str, length: int, more: str = "") -> bytes:
    """The head of a request with so long a body."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {SECRET}"]
    return ("\r\n".join([*lines, f"Content-Length: {length}"]) + f"\r\n{more}\r\n").encode()


class Line:
    """One connection, and what has come on it."""

    def __init__(self, process: Process, *sent: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", process.port), timeout=BOUND)
        self.data = b""
        for piece in sent:
            self.socket.sendall(piece)

    def answered(self) -> bytes:
        """Wait for one whole answer, and take it."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, rest = self.data.partition(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = int(sizes[0].partition(b":")[2]) if sizes else 0
        self.data = rest
        while len(self.data) < size:
            self._more()
        body, self.data = self.data[:size], self.data[size:]
        return head + b"\r\n\r\n" + body

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, "the gateway hung up"
        self.data += piece

    def rest(self) -> bytes:
        """All that comes until the gateway closes the connection; a reset is an error."""
        with self.socket:
            return self.data + b"".join(iter(lambda: self.socket.recv(65536), b""))


def ended(process: Process) -> None:
    """Send the signal once the process has read what was sent: before it answers this, it has read that."""
    line = Line(process, HEALTH)
    assert line.answered().startswith(b"HTTP/1.1 200")
    line.socket.close()
    process.running.send_signal(signal.SIGTERM)


def logged(process: Process) -> bytes:
    """What it has logged, but for what uvicorn says where the machine stopped the gateway at its end."""
    said = process.running.communicate(timeout=BOUND)[1]
    return said.replace(
        b"airlock: ERROR: Cancel 0 running task(s), timeout graceful shutdown exceeded\n", b""
    )


def status_and_head(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.partition(":") for line in head.decode().lower().split("\r\n")[1:]]
    return int(head.split()[1]), {name: value.strip() for name, _, value in lines}, body


@pytest.mark.parametrize("sent", [b"", b'{"a": ', b"x" * 40_000])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/hitl/approve/ABCDEF", ""),
        ("/mcp", MCP),
        ("/mcp", MCP.replace("2025-11-25", "2026-07-28")),
        ("/mcp", MCP + "Expect: 100-continue\r\n"),
        ("/keys", ""),
    ],
)
def test_a_request_whose_body_does_not_come_is_503(
    process: Process, path: str, more: str, sent: bytes
) -> None:
    line = Line(process, post(path, 50_000, more), sent)
    ended(process)
    found = line.rest().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    status, head, body = status_and_head(found)
    assert (status, head["retry-after"], head["connection"]) == (503, "1", "close")
    assert "the gateway is ending: try again in a moment" in json.dumps(json.loads(body))
    assert process.running.wait(BOUND) == 0
    said = logged(process)
    assert b"Traceback" not in said
    assert b"ERROR" not in said


def test_a_request_that_is_half_sent_at_the_end_is_told_so(process: Process) -> None:
    whole = hook("ls")
    known = Line(process, post("/hook?client=claude-code", len(whole)), whole[:-5])
    stranger = Line(process, post("/hook", 100).replace(SECRET.encode(), b"no-secret"), b"{")
    elsewhere = Line(process, post("/hook", 100).replace(b"localhost", b"elsewhere"), b"{")
    ended(process)
    for line in (known, stranger, elsewhere):
        status, head, body = status_and_head(line.rest())
        assert (status, head["connection"]) == (200, "close")
        assert json.loads(body)["hookSpecificOutput"]["permissionDecision"] == "deny"
    assert process.running.wait(BOUND) == 0


def test_a_body_that_comes_in_time_is_answered(tmp_path: Path) -> None:
    for number in range(5):  # on a busy machine it may come too late, and then it is told so
        (tmp_path / str(number)).mkdir()
        process = Process(tmp_path / str(number))
        whole = hook("ls")
        lines = [Line(process, post("/hook", len(whole)), whole[:-5]), Line(process, post("/keys", 4), b"{}")]
        ended(process)
        for line, more in zip(lines, (whole[-5:], b"  "), strict=True):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.socket.sendall(more)
        hooked, asked = (status_and_head(line.rest()) for line in lines)
        assert process.running.wait(BOUND) == 0
        process.running.communicate(timeout=BOUND)
        if b'"allow"' in hooked[2] and asked[0] == 400:
            return
        assert (hooked[0], asked[0]) in {(200, 503), (200, 400)}
    raise AssertionError("it never came in time")


@pytest.mark.parametrize("sent", [b"", HEALTH[:20], HEALTH[:-2], b"\r\n"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_connection_that_waits_is_closed_without_a_word(process: Process, sent: bytes, before: int) -> None:
    line = Line(process)
    for _ in range(before):
        line.socket.sendall(HEALTH)
        assert line.answered().startswith(b"HTTP/1.1 200")
    line.socket.sendall(sent)
    ended(process)
    assert line.rest() == b""
    assert process.running.wait(BOUND) == 0


def test_what_is_whole_before_a_half_one_on_a_connection_is_answered(process: Process) -> None:
    whole = post("/keys", 2) + b"{}"
    line = Line(process, whole + whole + post("/keys", 10) + b"{")
    ended(process)
    answers = [line.answered() for _ in range(2)]
    assert [status_and_head(one)[0] for one in answers] == [400, 400]
    assert status_and_head(line.rest())[0] == 503
    assert process.running.wait(BOUND) == 0


def test_a_burst_just_before_the_end_is_told_or_closed_and_holds_nothing_up(process: Process) -> None:
    half = [post("/keys", 10) + b"{", post("/mcp", 90, MCP) + b"{", HEALTH[:20], b""]
    lines = [Line(process, half[number % 4]) for number in range(200)]
    process.running.send_signal(signal.SIGTERM)
    heard = set()
    for line in lines:
        try:
            found = line.rest()
        except ConnectionResetError:  # it was not accepted any more
            found = b""
        heard.add(status_and_head(found)[0] if found else 0)
    assert heard <= {0, 503}
    assert process.running.wait(BOUND) == 0
    assert logged(process) == b""
