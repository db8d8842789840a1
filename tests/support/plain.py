"""Two lines to one server, direct and through Airlock, and a comparison that forgives nothing."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.processes import command

SERVER = Path(__file__).parents[1] / "fixtures" / "plain_server.py"
SECONDS = 60
PREFIX = "io.modelcontextprotocol/"
ENVELOPE = {
    PREFIX + "protocolVersion": "2026-07-28",
    PREFIX + "clientCapabilities": {},
    PREFIX + "clientInfo": {"name": "tester", "version": "1"},
}
ANSWERED = re.compile(rb'"id"\s*:\s*(\d+)')


class Pipe:
    """One process that is spoken to in raw lines."""

    def __init__(self, words: list[str], era: str) -> None:
        self.modern = era == "modern"
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._count = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def write(self, line: bytes) -> None:
        """One line as it is."""
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: str | bytes, meta: str = "") -> bytes:
        """The raw answer to a request whose params are this text, without its closing brace; of its id."""
        self._count += 1
        text = params.encode("utf-8", "surrogateescape") if isinstance(params, str) else params
        members = [json.dumps(ENVELOPE)[1:-1]] if self.modern else []
        members += [meta] if meta else []
        if members:
            text += (b"," if text != b"{" else b"") + b'"_meta":{' + ",".join(members).encode() + b"}"
        head = f'{{"jsonrpc":"2.0","id":{self._count},"method":"{method}","params":'.encode()
        self.write(head + text + b"}}")
        return self.answer(self._count)

    def answer(self, wanted: int) -> bytes:
        """The answer with that id; one with the id null counts too: the request was not understood."""
        while line := self._lines.get(timeout=SECONDS):
            found = ANSWERED.search(line[:200]) or ANSWERED.search(line[-200:])
            if found and int(found[1]) == wanted and b'"method"' not in line[:200]:
                return line
            if b'"id":null' in line[:200] or b'"id": null' in line[:200]:
                return line
        raise AssertionError("its stdout ended")

    def greet(self) -> bytes:
        """The handshake of the era."""
        if self.modern:
            return self.ask("server/discover", "{")
        info = '"clientInfo":{"name":"tester","version":"1"}'
        found = self.ask("initialize", f'{{"protocolVersion":"2025-11-25","capabilities":{{}},{info}')
        self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return found

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=SECONDS)
        self._reader.join(timeout=SECONDS)
        assert self.process.stdout
        self.process.stdout.close()


class Both:
    """The same server twice."""

    def __init__(self, folder: Path, era: str, cases: dict[str, str], tools: int = 0) -> None:
        file = folder / "cases.json"
        file.write_text(json.dumps(cases))
        words = [sys.executable, "-S", str(SERVER), str(file), str(tools)]
        one = {"type": "stdio", "command": words[0], "args": words[1:], "prefix": "none", "timeout": "5s"}
        config = folder / "airlock.yaml"
        agents = {"tester": {"allow": ["plain/**"]}}
        whole = {"providers": {"plain": one}, "agents": agents, "database": f"sqlite:///{folder}/a.db"}
        config.write_text(json.dumps(whole))
        self.direct = Pipe(words, era)
        self.through = Pipe(command(config), era)

    def ask(self, method: str, params: str, meta: str = "") -> tuple[bytes, bytes]:
        """Both answers to the same bytes."""
        return self.direct.ask(method, params, meta), self.through.ask(method, params, meta)

    def close(self) -> None:
        """End both."""
        self.direct.close()
        self.through.close()


class Number:
    """A number by its value and its kind; zero has a sign."""

    def __init__(self, text: str) -> None:
        value = Decimal(text)
        self.key = ("." in text or "e" in text.lower(), value.is_signed(), value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Number{self.key}"


class Members(list[Any]):
    """The members of an object in their order, none lost."""


def exact(text: bytes | str) -> Any:
    """A value in which everything that JSON can say makes a difference."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        return json.loads(
            text,
            object_pairs_hook=Members,
            parse_float=Number,
            parse_int=Number,
            parse_constant=lambda name: ("constant", name),
        )
    finally:
        sys.setrecursionlimit(depth)


def member(members: Any, name: str) -> Any:
    """One member of an exact object."""
    return next((value for key, value in members if key == name), None)


def refusal(line: bytes) -> str:
    """What Airlock says when it refuses; "" for anything else."""
    if b'"error"' not in line[:200]:
        return ""
    frame = json.loads(line)
    if "error" in frame:
        return str(frame["error"]["message"])
    return ""
