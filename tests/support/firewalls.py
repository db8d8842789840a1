"""A gateway that speaks the Agent Action Firewall's API, keys for it, and the usual requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airlock.apikeys import ALL_SCOPES, Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Made, Wish
from tests.support.gates import Timekeeper
from tests.support.gateways import SECRET, Answer, Gateway, open_gateway

AGENTS = """
approvals: {max_pending: 10000}
providers: {demo: {type: builtin}}
people: {alice: {local: alice}, bob: {local: bob}}
agents:
  claude-code: {ask: ["demo/write_note"], allow: ["demo/echo"]}
  crm-agent:
    allow: ["firewall/database/read"]
    ask: ["firewall/database/update", "firewall/mail/**"]
    deny: ["firewall/database/drop"]
rules:
  - {id: big, tool: firewall/bank/pay, args: {amount: {gt: 1000}}, effect: deny, reason: too much}
  - {id: two, tool: firewall/bank/wire, effect: ask, quorum: 2, risk: high}
  - {id: soon, tool: firewall/mail/quick, effect: ask, timeout: 5s}
"""
AGENT = frozenset({Scope.ACTIONS_WRITE, Scope.ACTIONS_READ})
DECIDER = frozenset({Scope.APPROVALS_READ, Scope.APPROVALS_WRITE})


@dataclass(slots=True)
class Firewall:
    """The gateway, with keys by name. `by` an agent's name sends `X-Agent-Key`, any other a bearer."""

    gateway: Gateway
    clock: Timekeeper
    keys: dict[str, str] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)

    def key(self, name: str, scopes: frozenset[Scope], *, is_agent: bool = False, **more: Any) -> Made:
        """A new key of this API."""
        store = self.gateway.gate.store
        ring = Keyring(store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
        wish = Wish(name=name, scopes=scopes, face="firewall", **{"rate": 1_000_000, **more})
        made = self.gateway.run(ring.create(wish, by="secret", within=ALL_SCOPES))
        self.keys[name] = made.text
        if is_agent:
            self.agents.add(name)
        return made

    def ask(
        self, method: str, path: str, body: Any = None, *, by: str = "agent", headers: Any = None
    ) -> Answer:
        """One request."""
        sent = dict(headers or {})
        if by in self.agents:
            sent["X-Agent-Key"] = self.keys[by]
            return self.gateway.ask(method, path, body, token=None, headers=sent)
        token = {"people": SECRET, "nobody": None}.get(by, self.keys.get(by))
        return self.gateway.ask(method, path, body, token=token, headers=sent)

    def submit(
        self,
        operation: str = "send",
        *,
        tool: str = "mail",
        params: Any = None,
        by: str = "agent",
        **more: Any,
    ) -> dict[str, Any]:
        """An action, of a mail that a person has to approve where nothing else is said."""
        body = {"tool": tool, "operation": operation, "params": params or {}, **more}
        answer = self.ask("POST", "/v1/actions", body, by=by)
        assert answer.status in {200, 201, 202}, answer.body
        return dict(answer.json())

    def get(self, action: str, *, by: str = "agent") -> dict[str, Any]:
        """What has become of an action; with the key that submitted it this uses a yes."""
        answer = self.ask("GET", f"/v1/actions/{action}", by=by)
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def decide(self, action: dict[str, Any], verb: str = "approve", *, by: str = "boss") -> Answer:
        """A yes or a no to the approval of an action."""
        body = {"comment": "go on"} if verb == "approve" else {"reason": "no way"}
        return self.ask("POST", f"/v1/approvals/{action['approval']['id']}/{verb}", body, by=by)


@contextlib.contextmanager
def open_firewall(folder: Path, *, compat: str = "[firewall]", more: str = "") -> Iterator[Firewall]:
    """A running one, over `folder`/airlock.db, with the config in `folder`/airlock.yaml."""
    clock = Timekeeper()
    text = (
        f"server: {{api_secret: {SECRET}}}\ndatabase: sqlite:///airlock.db\ncompat: {compat}\n{AGENTS}{more}"
    )
    (folder / "airlock.yaml").write_text(text)
    (folder / "airlock.yaml").chmod(0o600)
    with open_gateway(folder, text, clock=clock) as gateway:
        made = Firewall(gateway, clock)
        made.key("agent", AGENT, is_agent=True)
        made.key("other", AGENT, is_agent=True)
        made.key("bound", AGENT, is_agent=True, agent="crm-agent")
        made.key("boss", DECIDER)
        made.key("second", DECIDER)
        made.key("both", AGENT | DECIDER, is_agent=True)
        made.key("admin", frozenset({Scope.ADMIN}))
        yield made
