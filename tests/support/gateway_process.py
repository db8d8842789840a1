"""`airlock gateway` as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SECRET = "the-secret-of-a-process"
CONFIG = f"""
server: {{api_secret: {SECRET}}}
agents: {{claude-code: {{allow: ["bash/ls"], ask: ["bash/make"]}}}}
"""
BOUND = 60


class Process:
    """A running `airlock gateway`, and requests to it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.config = folder / "airlock.yaml"
        self.config.write_text(f"database: sqlite:///{folder}/airlock.db\n{CONFIG}", encoding="utf-8")
        self.config.chmod(0o600)
        self.env = {**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state")}
        self.running = subprocess.Popen(
            [sys.executable, "-m", "airlock", "--config", str(self.config), "gateway", "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
        )
        assert self.running.stdout is not None
        self.line = self.running.stdout.readline().decode()
        self.port = int(self.line.rsplit(":", 1)[1]) if self.line.startswith("airlock") else 0

    def begin(self, method: str, path: str, body: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=BOUND)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n"
        connection.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def ask(self, method: str, path: str, body: bytes = b"") -> object:
        return json.loads(rest(self.begin(method, path, body)))


def rest(connection: socket.socket) -> bytes:
    """The body of what is answered, to the end of the connection."""
    with connection:
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    return data.partition(b"\r\n\r\n")[2]


def hook(command: str) -> bytes:
    """What Claude Code tells its hook of a command."""
    return json.dumps(
        {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": command}}
    ).encode()
