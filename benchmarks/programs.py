"""The programs that stand in a call's way, from nothing to Airlock, and the server at its end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

ECHO: Final = """
import json, sys
read, write = sys.stdin.buffer, sys.stdout.buffer
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "ask")]
while True:
    data = read.read1(65536)
    if not data:
        break
    while not data.endswith(b"\\n"):
        data += read.read1(65536)
    out = []
    for line in data.split(b"\\n"):
        if not line:
            continue
        frame = json.loads(line)
        method = frame.get("method")
        if "id" not in frame:
            continue
        if method == "tools/call":
            text = frame["params"]["arguments"]["text"]
            answer = {"result": {"content": [{"type": "text", "text": text}]}}
        elif method == "initialize":
            answer = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                 "serverInfo": {"name": "echo", "version": "1"}}}
        elif method == "tools/list":
            answer = {"result": {"tools": TOOLS}}
        elif method == "ping":
            answer = {"result": {}}
        else:
            answer = {"error": {"code": -32601, "message": "Method not found"}}
        out.append(json.dumps({"jsonrpc": "2.0", "id": frame["id"], **answer}).encode() + b"\\n")
    write.write(b"".join(out))
    write.flush()
"""
"""The server. It costs little, so that what is measured is what stands before it."""

STREAMS: Final = """
import asyncio, json, sys

async def pump(reader, writer):
    while line := await reader.readline():
        writer.write(json.dumps(json.loads(line)).encode() + b"\\n")
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(
        *sys.argv[1:], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26)
    reader = asyncio.StreamReader(1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    back = asyncio.create_task(pump(child.stdout, writer))
    await pump(reader, child.stdin)
    await child.wait()
    await back

asyncio.run(main())
"""
"""The hop as most Python proxies are written: asyncio's streams, parse each line, pass it on."""

LOOP: Final = """
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
select = selectors.DefaultSelector()
select.register(0, selectors.EVENT_READ, child.stdin.fileno())
select.register(child.stdout.fileno(), selectors.EVENT_READ, 1)
rest = {0: [], child.stdout.fileno(): []}
while True:
    for key, _ in select.select():
        data = os.read(key.fd, 65536)
        if not data:
            child.kill()
            sys.exit()
        *lines, unended = data.split(b"\\n")
        if lines:
            lines[0] = b"".join(rest[key.fd]) + lines[0]
            rest[key.fd] = []
        rest[key.fd].append(unended)
        texts = [json.dumps(json.loads(line), separators=(",", ":")) for line in lines]
        BEFORE
        out = "".join(text + "\\n" for text in texts).encode()
        while out:
            out = out[os.write(key.data, out):]
        AFTER
"""
"""A hop in one loop over `select` that holds nobody back, with what it does BEFORE and AFTER it passes on."""

LEAST: Final = "import json, os, selectors, subprocess, sys" + LOOP.replace("        BEFORE\n", "").replace(
    "        AFTER\n", ""
)
"""The least that a hop can be in Python: nothing checked, nothing kept."""

COMMITS: Final = """
import hashlib, json, os, selectors, sqlite3, subprocess, sys, tempfile
folder = tempfile.TemporaryDirectory()
store = sqlite3.connect(folder.name + "/events.db", isolation_level=None)
for word in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
    store.execute("PRAGMA " + word)
store.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, context TEXT, text TEXT, prev BLOB, hash BLOB)")
seq, last, context = 0, bytes(32), "x" * 250

def commit(texts):
    global seq, last
    rows = []
    for text in texts:
        seq += 1
        said = hashlib.sha256((context + text).encode()).digest()
        own = hashlib.sha256(last + said).digest()
        rows.append((seq, context, text, bytearray(last), bytearray(own)))
        last = own
    store.execute("BEGIN IMMEDIATE")
    store.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
    store.execute("COMMIT")
""" + LOOP.replace("BEFORE", "if texts and not key.fd: commit(texts)").replace(
    "AFTER", 'if texts and key.fd: commit("done" for _ in texts)'
)
"""The least that commits: two rows a call, hashed into a chain, those of one read in one transaction; the
first before the call is passed on. No policy, no checks, and nobody else who may write.
"""

LEAN: Final = [sys.executable, "-I", "-S", "-c"]


def echo() -> list[str]:
    """The command line of the server."""
    return [*LEAN, ECHO]


def hop(source: str) -> list[str]:
    """The command line of a hop before the server."""
    return [*LEAN, source, *echo()]


def airlock(config: Path) -> list[str]:
    """The command line of `airlock stdio` before the server."""
    return [sys.executable, "-m", "airlock", "stdio", "--agent", "bench", "--config", str(config)]


def environment(folder: Path) -> dict[str, str]:
    """Where Airlock keeps its state while it is measured; its modules stay compiled, as when installed."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, "AIRLOCK_STATE_DIR": str(folder / "state")}


def write_config(folder: Path, name: str, rules: int) -> Path:
    """An Airlock config with so many rules that every call of `up/echo` is held against."""
    text = {
        "database": f"sqlite:///{folder}/{name}.db",
        "providers": {"up": {"type": "stdio", "command": LEAN[0], "args": [*LEAN[1:], ECHO]}},
        "agents": {"bench": {"allow": ["up/echo"], "ask": ["up/ask"], "wait": "hold"}},
        "approvals": {"max_pending": 1000, "timeout": "1h"},
        "rules": [
            {"id": f"rule-{n}", "tool": "up/echo", "effect": "deny", "args": _args(n)} for n in range(rules)
        ],
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(text))
    return path


def _args(number: int) -> dict[str, Any]:
    """The conditions of one rule, five kinds in turn; none of them holds for what is called here."""
    kinds: list[dict[str, Any]] = [
        {"text": {"regex": f"^forbidden word {number}$"}},
        {"n": {"lt": -number - 1}},
        {"text": {"in": [f"a{number}", f"b{number}"]}},
        {"path": {"under": f"/etc/{number}"}},
        {"text": {"glob": f"*secret{number}*"}},
    ]
    return kinds[number % len(kinds)]
