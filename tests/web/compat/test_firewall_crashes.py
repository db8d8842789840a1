"""A key whose gateway was killed in between, AgentGate's too: what was begun is found, not done twice."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.faces import open_agentgate, receiving
from tests.support.firewalls import Firewall, open_firewall
from tests.support.gateways import BOUND, Answer, Later
from tests.support.targets import Reply, TargetServer, target_server

HALTING = Path(__file__).parents[2] / "support" / "halting_gateway.py"
DEAD_MS = 16_000
LOST_MS = 60_000
RULES = """  - {id: reading, agent: firewall, tool: firewall/http_proxy/get, effect: allow}
  - {id: never, agent: firewall, tool: firewall/files/drop, effect: deny, reason: kept for good}
"""


@dataclass(slots=True)
class Halting:
    """Another gateway on the same database, which stops at one point."""

    process: subprocess.Popen[str]
    port: int
    sent: list[Later[None]] = field(default_factory=list)

    def send(self, path: str, body: Any, headers: Mapping[str, str]) -> None:
        """Submit, and come back when that stands at the point: there is no answer."""

        def submit() -> None:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)) as it:
                it.request("POST", path, json.dumps(body), dict(headers))
                with contextlib.suppress(OSError, http.client.HTTPException):
                    raise AssertionError(it.getresponse().read())

        self.sent.append(Later(submit))
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "halted\n"

    def kill(self) -> None:
        """SIGKILL: nothing is tidied."""
        self.process.kill()
        self.process.wait(BOUND)
        for one in self.sent:
            one.result()
        self.sent.clear()


@contextlib.contextmanager
def halting(folder: Path, point: str) -> Iterator[Halting]:
    process = subprocess.Popen(
        [sys.executable, str(HALTING), point, str(folder / "airlock.yaml")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Halting(process, int(process.stdout.readline().rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate(timeout=BOUND)


@dataclass(slots=True)
class Crashed:
    """A gateway on whose database another one was killed, with these submissions at `point`."""

    point: str
    wall: Firewall
    target: TargetServer

    @property
    def early(self) -> bool:
        """True when nothing had been submitted to the gate."""
        return self.point == "claimed"

    def submit(self, name: str, **params: Any) -> Answer:
        """What was sent to the one that was killed, now sent here."""
        return self.wall.ask(
            "POST", "/v1/actions", {**self.body(name), **({"params": params} if params else {})}
        )

    def body(self, name: str) -> dict[str, Any]:
        tool, operation, params = {
            "ask": ("mail", "send", {"to": "eve", "password": "s3cret-value"}),
            "other": ("mail", "reply", {"to": "eve"}),
            "run": ("http_proxy", "GET", {"url": f"{self.target.url}/order"}),
            "deny": ("files", "drop", {"name": "all"}),
        }[name]
        return {"tool": tool, "operation": operation, "params": params, "idempotency_key": name}


@pytest.fixture(scope="module", params=["claimed", "submitted", "recorded", "begun"])
def crashed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashed]:
    folder, held = tmp_path_factory.mktemp("crashed"), threading.Event()
    with target_server() as target:
        options = f'{{firewall: {{http_proxy: {{allow_hosts: ["127.0.0.1:{target.port}"]}}}}}}'
        with open_firewall(folder, compat=options, more=RULES) as wall:
            made = Crashed(request.param, wall, target)
            target.replies.append(Reply(then=held.wait))
            with halting(folder, made.point) as other:
                for name in ("ask", "other", "run", "deny"):
                    other.send("/v1/actions", made.body(name), {"X-Agent-Key": wall.keys["agent"]})
                if made.point == "begun":
                    target.wait(1)
                other.kill()
            held.set()
            wall.clock.forward(DEAD_MS)
            yield made


def test_another_body_does_not_take_over_what_was_left_under_a_key(crashed: Crashed) -> None:
    other = crashed.submit("other", to="mallory")
    assert (other.status, other.json()["error"]) == (409, "CONFLICT")
    assert "another body" in other.json()["message"]


def test_a_question_is_asked_once_whenever_the_gateway_was_killed(crashed: Crashed) -> None:
    wall = crashed.wall
    answer = crashed.submit("ask")
    assert answer.status == (202 if crashed.early else 200), answer.body
    found = answer.json()
    assert found["status"] == "pending_approval"
    assert crashed.submit("ask").json()["id"] == found["id"]
    (asked,) = [
        one for one in wall.gateway.get("/hitl/pending").json() if one["tool"] == "firewall/mail/send"
    ]
    assert "s3cret-value" not in str(asked)
    wall.decide(found)
    assert wall.get(found["id"])["status"] == "allowed", "who asked under the key takes the yes"
    assert crashed.submit("ask").json()["status"] == "allowed"
    events = wall.gateway.run(wall.gateway.gate.store.events(limit=500))
    opened = [one for one in events if (one.kind, one.tool) == ("request.opened", "firewall/mail/send")]
    assert len(opened) == 1


def test_what_the_policy_denied_stays_denied_whenever_the_gateway_was_killed(crashed: Crashed) -> None:
    answer = crashed.submit("deny")
    assert (answer.status, answer.json()["status"]) == (201 if crashed.early else 200, "denied")
    assert answer.json()["decision"]["reason"] == "kept for good"
    assert crashed.submit("deny").json()["id"] == answer.json()["id"]
    assert len(crashed.wall.gateway.get("/audit?tool=firewall/files/drop").json()) == 1


def test_a_request_is_made_once_at_most_whenever_the_gateway_was_killed(crashed: Crashed) -> None:
    wall, early = crashed.wall, crashed.early
    answer = crashed.submit("run")
    assert answer.status == (201 if early else 200), answer.body
    made = answer.json()["id"]
    wall.clock.forward(0 if early else LOST_MS)
    over = wall.gateway.until(
        lambda: (found := wall.get(made))["status"] in {"succeeded", "failed"} and found
    )
    assert over["status"] == ("succeeded" if early else "failed"), "what may have been sent is not sent again"
    again = crashed.submit("run")
    assert (again.status, again.json()["id"], again.json()["status"]) == (200, made, over["status"])
    assert len(crashed.target.seen) == (1 if crashed.point in {"claimed", "begun"} else 0)
    (entry,) = wall.gateway.get("/audit?tool=firewall/http_proxy/get").json()
    assert entry["result"] is not None


def test_a_repeated_submission_waits_and_goes_on_when_the_first_gateway_dies(tmp_path: Path) -> None:
    body = {"tool": "mail", "operation": "send", "params": {}, "idempotency_key": "order-1"}
    with open_firewall(tmp_path) as wall, halting(tmp_path, "submitted") as other:
        other.send("/v1/actions", body, {"X-Agent-Key": wall.keys["agent"]})
        again = Later(lambda: wall.ask("POST", "/v1/actions", body))
        other.kill()
        wall.clock.forward(DEAD_MS)
        answer = again.result()
        assert (answer.status, answer.json()["status"]) == (200, "pending_approval")
        assert len(wall.gateway.get("/hitl/pending").json()) == 1


@pytest.mark.parametrize("point", ["claimed", "submitted", "recorded", "begun"])
def test_while_another_gateway_is_at_it_a_key_is_taken_and_afterwards_it_is_found(
    tmp_path: Path, point: str
) -> None:
    statuses = {"refund": "pending", "ping": "approved", "drop_table": "denied"}
    with receiving() as receiver, open_agentgate(tmp_path) as gate:
        wanted = {"url": receiver.url, "events": ["request.approved"]}
        assert gate.ask("POST", "/api/webhooks", wanted, by="hooks").status == 201

        def ask(name: str) -> Answer:
            return gate.ask("POST", "/api/requests", {"action": name}, by="bound", headers=key(name))

        def key(name: str) -> dict[str, str]:
            return {"Idempotency-Key": name, "Authorization": f"Bearer {gate.keys['bound']}"}

        with halting(tmp_path, point) as other:
            for name in statuses:
                other.send("/api/requests", {"action": name}, key(name))
                assert ask(name).status == 409, "it lives"
            other.kill()
            assert ask("ping").status == 409, "nobody knows yet that it does not"
        gate.clock.forward(DEAD_MS)
        hook = gate.ask("GET", "/api/webhooks", by="hooks").json()[0]["id"]
        for name, status in statuses.items():
            answer = ask(name)
            assert answer.status == (201 if point == "claimed" else 200), answer.body
            assert answer.json()["status"] == status
            assert ask(name).json()["id"] == answer.json()["id"]
            assert len(gate.gateway.get(f"/audit?tool=agentgate/{name}").json()) == 1
        told = gate.ask("GET", f"/api/webhooks/{hook}/deliveries", by="hooks").json()
        assert [one["event"] for one in told] == ["request.approved"], "told once"
