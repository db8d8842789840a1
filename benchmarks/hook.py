"""What one hook costs its client: `airlock hook` against the bare interpreter, in the same run.

    python -m benchmarks.hook [--runs 30]

Starts a gateway of its own in a temporary folder. Prints the median and the slowest tenth in milliseconds,
and, for the queue, how long `/health` takes beside 1,000 waiting requests and 200 parked hooks, and how
long the gateway then needs to end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SECRET = "a-secret-for-the-benchmark"
CONFIG = """
server: {{api_secret: {secret}}}
database: sqlite:///{folder}/airlock.db
approvals: {{max_pending: 10000, timeout: 1h, grace: 1h}}
agents: {{claude-code: {{allow: ["bash/ls"], ask: ["bash/make"]}}}}
"""


def payload(command: str) -> bytes:
    members = {
        "session_id": "s",
        "cwd": "/srv",
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": command},
    }
    return json.dumps(members).encode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def gateway(folder: Path, env: dict[str, str]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, "-m", "airlock", "--config", str(folder / "airlock.yaml"), "gateway"]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, env=env)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port, process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def times(work: Callable[[], object], runs: int) -> tuple[float, float]:
    work()
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=10)[-1]


def report(name: str, took: tuple[float, float]) -> None:
    print(f"{name:<44} {took[0]:8.1f} ms   p90 {took[1]:8.1f} ms")


def ask(port: int, method: str, path: str, body: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n"
    connection.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def answer(connection: socket.socket) -> bytes:
    with connection:
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    return data.partition(b"\r\n\r\n")[2]


def waiting(port: int) -> int:
    return int(json.loads(answer(ask(port, "GET", "/health")))["pending_hitl"])


def fill(port: int, count: int, first: int, query: str) -> list[socket.socket]:
    """Park hooks, a few dozen at a time; each is a request of its own."""
    parked = []
    before = waiting(port)
    for number in range(first, first + count):
        parked.append(ask(port, "POST", f"/hook{query}", payload(f"make t{number}")))
        if len(parked) % 50 == 0:
            while waiting(port) < before + len(parked):
                time.sleep(0.01)
    return parked


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "airlock.yaml").write_text(CONFIG.format(secret=SECRET, folder=folder), encoding="utf-8")
        env = {**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state"), "AIRLOCK_API_SECRET": SECRET}

        def run(*words: str, stdin: bytes = b"") -> None:
            subprocess.run([sys.executable, *words], input=stdin, capture_output=True, env=env, check=True)

        report("python -c pass", times(lambda: run("-c", "pass"), runs))
        report("python -I -c pass", times(lambda: run("-I", "-c", "pass"), runs))
        hook = ("-m", "airlock", "hook")
        with gateway(folder, env) as (port, process):
            url = f"http://127.0.0.1:{port}"
            report(
                "airlock hook --url (through the gateway)",
                times(lambda: run("-I", *hook, "--url", url, stdin=payload("ls")), runs),
            )
            report(
                "POST /hook (no process)",
                times(lambda: answer(ask(port, "POST", "/hook", payload("ls"))), 200),
            )
            report("GET /health", times(lambda: waiting(port), 200))
            for connection in fill(port, 1_000, 0, "?timeout=0"):
                answer(connection)
            parked = fill(port, 200, 1_000, "?timeout=600")
            streams = [ask(port, "GET", "/events") for _ in range(50)]
            report(
                f"GET /health beside {waiting(port)} waiting, 200 parked", times(lambda: waiting(port), 200)
            )
            begun = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            print(f"SIGTERM to exit {code}: {time.perf_counter() - begun:.2f} s")
            denied = sum(b'"deny"' in answer(connection) for connection in parked)
            print(f"parked hooks that got their deny: {denied} of {len(parked)}")
            for stream in streams:
                stream.close()
        report(
            "airlock hook (in process)",
            times(
                lambda: run("-I", *hook, "--config", str(folder / "airlock.yaml"), stdin=payload("ls")), runs
            ),
        )


if __name__ == "__main__":
    main()
