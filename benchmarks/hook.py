"""What one hook costs its client: `airlock hook` against the bare interpreter, in the same run.

    python -m benchmarks.hook [--runs 30]

Starts a gateway of its own in a temporary folder. Prints the best and the median in milliseconds, taken in
turns; and, for the queue, how long `/health` takes beside 1,000 waiting requests and 200 parked hooks, and
how long the gateway then needs to end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import programs
from benchmarks.httpprograms import free_port

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


@contextlib.contextmanager
def gateway(folder: Path, env: dict[str, str]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, "-m", "airlock", "--config", str(folder / "airlock.yaml"), "gateway"]
    words = [*command, "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port, process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


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


PASS = "python -c pass"
GATEWAY = "airlock hook, through the gateway"
SCRIPT = "the same by the installed script"
ALONE = "airlock hook, in process"


def measure(runs: int) -> dict[str, tuple[float, float]]:
    """The best and the median milliseconds of each way to answer a hook."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder)
        env = {**programs.environment(folder), "AIRLOCK_API_SECRET": SECRET}
        with gateway(folder, env) as (port, _):
            asking = ["hook", "--url", f"http://127.0.0.1:{port}"]
            isolated = [sys.executable, "-I", "-m", "airlock"]
            commands = {
                PASS: [sys.executable, "-c", "pass"],
                GATEWAY: [*isolated, *asking],
                SCRIPT: [str(Path(sys.executable).with_name("airlock")), *asking],
                ALONE: [*isolated, "hook", "--config", str(config)],
            }
            if not Path(commands[SCRIPT][0]).is_file():
                del commands[SCRIPT]
            return turns(commands, runs, env)


def turns(commands: dict[str, list[str]], runs: int, env: dict[str, str]) -> dict[str, tuple[float, float]]:
    """The same for these commands; a first turn, in which modules may be compiled, does not count."""
    taken: dict[str, list[float]] = {title: [] for title in commands}
    for _ in range(runs + 1):
        for title, words in commands.items():
            begun = time.perf_counter()
            subprocess.run(words, input=payload("ls"), capture_output=True, env=env, check=True)
            taken[title].append((time.perf_counter() - begun) * 1000)
    return {title: (min(one[1:]), statistics.median(one[1:])) for title, one in taken.items()}


def lines(found: dict[str, tuple[float, float]]) -> list[str]:
    """The figures as text."""
    return [
        f"{title:<36} {best:7.1f} ms   {best / found[PASS][0]:5.2f} × pass   median {median:7.1f} ms"
        for title, (best, median) in found.items()
    ]


def write_config(folder: Path) -> Path:
    """A config for a gateway, closed to others as it holds a secret."""
    config = folder / "airlock.yaml"
    config.write_text(CONFIG.format(secret=SECRET, folder=folder), encoding="utf-8")
    config.chmod(0o600)
    return config


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_config(folder)
        env = {**programs.environment(folder), "AIRLOCK_API_SECRET": SECRET}
        print(*lines(measure(runs)), sep="\n")
        with gateway(folder, env) as (port, process):
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


if __name__ == "__main__":
    main()
