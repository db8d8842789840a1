"""A gateway that speaks SidClaw's API, keys for it, and the usual requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airlock.apikeys import ALL_SCOPES, Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Made, Wish
from tests.support.gateways import SECRET, Answer, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
compat: [sidclaw]
providers: {{demo: {{type: builtin}}}}
people: {{bob: {{local: bob}}, carol: {{local: carol}}}}
agents:
  mailer:
    allow: ["sidclaw/crm/read_contact", "demo/echo"]
    ask: ["sidclaw/gmail/*", "demo/write_note"]
    deny: ["sidclaw/bank/*"]
  other: {{ask: ["sidclaw/**"]}}
"""
ASKING = frozenset({Scope.EVALUATE, Scope.TRACES_WRITE})
DECIDING = frozenset({Scope.APPROVALS_READ, Scope.APPROVALS_WRITE})
API = "/api/v1"


@dataclass
class SidClaws:
    """The gateway, with a key that asks and one that decides."""

    gateway: Gateway
    asking: str = ""
    deciding: str = ""

    def key(self, name: str, scopes: frozenset[Scope], **more: Any) -> Made:
        """A new key of this API."""
        store = self.gateway.gate.store
        ring = Keyring(store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
        wish = Wish(name=name, scopes=scopes, face="sidclaw", **more)
        return self.gateway.run(ring.create(wish, by="secret", within=ALL_SCOPES))

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "") -> Answer:
        """One request below /api/v1, with the asking key unless another is given."""
        return self.gateway.ask(method, API + path, body, token=token or self.asking)

    def evaluate(self, operation: str = "send_email", *, token: str = "", **more: Any) -> Answer:
        """An evaluation, of a mail to a partner where nothing else is said."""
        body = {
            "agent_id": "mailer",
            "operation": operation,
            "target_integration": "gmail",
            "resource_scope": "external-recipients",
            "data_classification": "confidential",
            "context": {"recipient": "a@example.com"},
        }
        return self.ask("POST", "/evaluate", {**body, **more}, token=token)

    def waiting(self, **more: Any) -> str:
        """The id of an approval that waits."""
        answer = self.evaluate(context={"n": make_id()}, **more)
        assert answer.json()["decision"] == "approval_required", answer.body
        return str(answer.json()["approval_request_id"])

    def decide(self, verb: str, approval: str, *, token: str = "", name: str = "Bob Smith") -> Answer:
        """A yes or a no by the deciding key."""
        body = {"approver_name": name, "decision_note": "a known partner"}
        return self.ask("POST", f"/approvals/{approval}/{verb}", body, token=token or self.deciding)

    def status(self, approval: str, *, token: str = "") -> dict[str, Any]:
        """What a client polls."""
        answer = self.ask("GET", f"/approvals/{approval}/status", token=token)
        assert answer.status == 200, answer.body
        return dict(answer.json())


@contextlib.contextmanager
def open_sidclaw(folder: Path, policy: str = POLICY) -> Iterator[SidClaws]:
    """A gateway with this face."""
    with open_gateway(folder, policy) as gateway:
        made = SidClaws(gateway)
        made.asking = made.key("mailer-sdk", ASKING).text
        made.deciding = made.key("dashboard", DECIDING).text
        yield made
