"""Gateways with sister APIs on, their keys, and a server that receives webhooks."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gates import Timekeeper
from tests.support.gateways import BOUND, SECRET, Answer, Gateway, open_gateway

AGENTS = """
approvals: {max_pending: 10000}
providers: {demo: {type: builtin}}
agents:
  claude-code: {ask: ["demo/write_note", "file/write"], allow: ["demo/echo"]}
  billing:
    ask: ["agentgate/refund"]
    deny: ["agentgate/drop_table"]
    allow: ["agentgate/ping"]
people: {alice: {local: alice}, bob: {local: bob}}
rules:
  - {id: big, tool: agentgate/pay, args: {amount: {gt: 1000}}, effect: deny, reason: too much}
  - {id: two, tool: agentgate/wire, effect: ask, quorum: 2}
  - {id: soon, tool: agentgate/quick, effect: ask, timeout: 5s}
"""


@dataclass(slots=True)
class AgentGate:
    """A gateway that speaks AgentGate, with one key for each kind of caller."""

    gateway: Gateway
    clock: Timekeeper
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def make_key(self, name: str, *scopes: str, **more: Any) -> str:
        body = {"name": name, "scopes": list(scopes), "rateLimit": None, **more}
        answer = self.gateway.post("/api/keys", body)
        assert answer.status == 201, answer.body
        self.keys[name], self.ids[name] = answer.json()["key"], answer.json()["id"]
        return self.keys[name]

    def ask(self, method: str, path: str, body: Any = None, *, by: str = "agent", **more: Any) -> Answer:
        token = {"secret": SECRET, "nobody": None}.get(by, self.keys.get(by))
        return self.gateway.ask(method, path, body, token=token, **more)

    def request(self, action: str = "send_email", *, by: str = "agent", **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/api/requests", {"action": action, **more}, by=by)
        assert answer.status == 201, answer.body
        return answer.json()  # type: ignore[no-any-return]

    def get(self, identity: str, *, by: str = "agent") -> dict[str, Any]:
        answer = self.ask("GET", f"/api/requests/{identity}", by=by)
        assert answer.status == 200, answer.body
        return answer.json()  # type: ignore[no-any-return]

    def decide(self, identity: str, decision: str = "approved", *, by: str = "boss", **more: Any) -> Answer:
        return self.ask("POST", f"/api/requests/{identity}/decide", {"decision": decision, **more}, by=by)


@contextlib.contextmanager
def open_agentgate(folder: Path, *, compat: str = "[agentgate]", more: str = "") -> Iterator[AgentGate]:
    """A running one, over `folder`/airlock.db, with the config in `folder`/airlock.yaml."""
    clock = Timekeeper()
    text = (
        f"server: {{api_secret: {SECRET}}}\ndatabase: sqlite:///airlock.db\ncompat: {compat}\n{AGENTS}{more}"
    )
    (folder / "airlock.yaml").write_text(text)
    (folder / "airlock.yaml").chmod(0o600)
    with open_gateway(folder, text, clock=clock) as gateway:
        face = AgentGate(gateway, clock)
        face.make_key("agent", "request:create", "request:read")
        face.make_key("other", "request:create", "request:read")
        face.make_key("boss", "request:read", "request:decide")
        face.make_key("second", "request:decide")
        face.make_key("admin", "admin")
        face.make_key("hooks", "webhook:manage")
        face.make_key("both", "request:create", "request:read", "request:decide")
        face.make_key("bound", "request:create", "request:read", agentId="billing")
        yield face


@dataclass(slots=True)
class Received:
    """One delivery as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """A web server that keeps what it is sent. It answers with the statuses given, then with 200."""

    port: int
    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        with self.changed:
            self.received.append(Received(path, headers, body))
            self.changed.notify_all()
            return self.statuses.pop(0) if self.statuses else 200

    def wait(self, count: int) -> list[Received]:
        """What came in, once there are that many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, BOUND), self.received
            return list(self.received)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(self.path, dict(self.headers.items()), body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(BOUND)
