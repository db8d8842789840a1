"""Webhooks of AgentGate, received by a real server: what is told, how it is signed, what failure does."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.faces import AgentGate, Received, Receiver, open_agentgate, receiving
from tests.support.gateways import SECRET

SIGNING = "a-signing-secret"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentGate]:
    with open_agentgate(tmp_path_factory.mktemp("webhooks")) as running:
        yield running


@pytest.fixture
def receiver(gate: AgentGate) -> Iterator[Receiver]:
    with receiving() as one:
        yield one
    gate.clock.ahead_ms = 0
    for row in gate.ask("GET", "/api/webhooks", by="hooks").json():
        gate.ask("DELETE", f"/api/webhooks/{row['id']}", by="hooks")


def register(gate: AgentGate, url: str, *events: str, secret: str | None = SIGNING) -> str:
    body = {"url": url, "events": list(events), "secret": secret}
    answer = gate.ask("POST", "/api/webhooks", body, by="hooks")
    assert answer.status == 201, answer.body
    return str(answer.json()["id"])


def log_of(gate: AgentGate, identity: str) -> list[dict[str, Any]]:
    return gate.ask("GET", f"/api/webhooks/{identity}/deliveries", by="hooks").json()  # type: ignore[no-any-return]


def until_log(gate: AgentGate, identity: str, status: str, count: int = 1) -> list[dict[str, Any]]:
    return gate.gateway.until(
        lambda: (
            (rows := log_of(gate, identity))
            and len([row for row in rows if row["status"] == status]) >= count
            and rows
        )
    )


def check_signature(one: Received, secret: str = SIGNING) -> None:
    signed = one.headers["X-AgentGate-Timestamp"].encode() + b"." + one.body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert one.headers["X-AgentGate-Signature"] == f"sha256={expected}"


def test_a_request_and_its_decision_are_told_and_signed(gate: AgentGate, receiver: Receiver) -> None:
    identity = register(gate, receiver.url, "request.created", "request.decided")
    made = gate.request("told", params={"n": 1})
    (first,) = receiver.wait(1)
    gate.decide(made["id"], reason="ok")
    _, second = receiver.wait(2)
    for one, event in ((first, "request.created"), (second, "request.decided")):
        check_signature(one)
        told = one.json()
        assert (told["event"], one.headers["X-AgentGate-Event"]) == (event, event)
        assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
        assert (told["data"]["id"], told["data"]["params"]) == (made["id"], {"n": 1})
        assert one.headers["Content-Type"] == "application/json"
    assert (first.json()["data"]["status"], second.json()["data"]["status"]) == ("pending", "approved")
    assert second.json()["data"]["decidedBy"] == "boss"
    rows = until_log(gate, identity, "delivered", 2)
    assert [(row["event"], row["attempts"], row["responseStatus"]) for row in rows] == [
        ("request.decided", 1, 200),
        ("request.created", 1, 200),
    ]


def test_a_decision_on_any_road_about_a_call_from_any_road_is_told(
    gate: AgentGate, receiver: Receiver
) -> None:
    register(gate, receiver.url, "request.decided")
    hook = {"client": "ci", "agent": "claude-code", "tool": "demo/write_note", "input": {"text": "hi"}}
    parked = gate.gateway.later(lambda: gate.gateway.post("/hook", hook))
    (row,) = gate.gateway.pending()
    assert gate.gateway.post(f"/hitl/deny/{row['code']}").status == 200
    parked.result()
    (one,) = receiver.wait(1)
    assert one.json()["data"]["action"] == "demo/write_note"
    assert one.json()["data"]["status"] == "denied"


def test_only_what_a_webhook_listens_to_is_told_and_once(gate: AgentGate, receiver: Receiver) -> None:
    with receiving() as denials, receiving() as all_of_it:
        register(gate, receiver.url, "request.approved")
        register(gate, denials.url, "request.denied")
        register(gate, all_of_it.url, "*")
        made, other = gate.request("heard"), gate.request("heard")
        gate.decide(made["id"])
        gate.decide(other["id"], "denied")
        gate.ask("POST", f"/api/requests/{made['id']}/confirm", {"result": {"success": True}})
        events = [one.json()["event"] for one in all_of_it.wait(5)]
        assert sorted(events) == [
            "request.confirmed",
            "request.created",
            "request.created",
            "request.decided",
            "request.decided",
        ]
        assert [one.json()["event"] for one in receiver.wait(1)] == ["request.approved"]
        assert [one.json()["event"] for one in denials.wait(1)] == ["request.denied"]


def test_an_expiry_and_what_policies_decide_at_once_are_told(gate: AgentGate, receiver: Receiver) -> None:
    policy = {"name": "auto", "rules": [{"match": {"action": "auto"}, "decision": "auto_deny"}]}
    stored = gate.ask("POST", "/api/policies", policy, by="admin").json()
    register(gate, receiver.url, "request.expired", "request.decided")
    gate.request("auto")
    assert receiver.wait(1)[0].json()["data"]["decidedBy"] == "policy:agentgate:auto"
    made = gate.request("quick")
    gate.clock.forward(10_000)
    gate.gateway.run(gate.gateway.gate.tidy())
    told = receiver.wait(2)[1].json()
    assert (told["event"], told["data"]["id"], told["data"]["status"]) == (
        "request.expired",
        made["id"],
        "expired",
    )
    gate.ask("DELETE", f"/api/policies/{stored['id']}", by="admin")


def test_a_delivery_that_fails_is_tried_again_after_its_pauses_and_then_given_up(
    gate: AgentGate, receiver: Receiver
) -> None:
    receiver.statuses = [500, 503, 500]
    identity = register(gate, receiver.url, "request.created")
    gate.request("failing")
    receiver.wait(1)
    (row,) = gate.gateway.until(lambda: [row for row in log_of(gate, identity) if row["error"]])
    assert (row["status"], row["attempts"], row["responseStatus"]) == ("pending", 1, 500)
    gate.clock.forward(2_100)
    receiver.wait(2)
    gate.gateway.until(lambda: log_of(gate, identity)[0]["responseStatus"] == 503)
    gate.clock.forward(4_100)
    bodies = receiver.wait(3)
    (row,) = until_log(gate, identity, "failed")
    assert (row["attempts"], row["nextAttemptAt"], row["error"]) == (3, None, "it answered 500")
    assert len({one.body for one in bodies}) == 1
    assert len({one.headers["X-AgentGate-Delivery"] for one in bodies}) == 1
    for one in bodies:
        check_signature(one)


def test_what_was_given_up_can_be_replayed(gate: AgentGate, receiver: Receiver) -> None:
    receiver.statuses = [404]
    identity = register(gate, receiver.url, "request.created")
    gate.request("replayed")
    (row,) = until_log(gate, identity, "failed")
    assert (row["attempts"], row["responseStatus"]) == (1, 404), "a plain no is not asked again"
    answer = gate.ask("POST", f"/api/webhooks/deliveries/{row['id']}/replay", by="hooks")
    assert answer.status == 200
    first, second = receiver.wait(2)
    assert first.body == second.body
    assert until_log(gate, identity, "delivered")[0]["responseStatus"] == 200
    assert gate.ask("POST", "/api/webhooks/deliveries/nothing/replay", by="hooks").status == 404


def test_a_test_event_goes_out_at_once(gate: AgentGate, receiver: Receiver) -> None:
    identity = register(gate, receiver.url, "request.expired", secret=None)
    answer = gate.ask("POST", f"/api/webhooks/{identity}/test", by="hooks")
    assert (answer.status, answer.json()["event"]) == (200, "webhook.test")
    (one,) = receiver.wait(1)
    assert one.json()["data"] == {"webhookId": identity}


def test_a_webhook_hears_nothing_from_before_it_was_there(gate: AgentGate, receiver: Receiver) -> None:
    gate.request("before")
    gate.clock.forward(5)
    identity = register(gate, receiver.url, "request.created")
    gate.clock.forward(5)
    made = gate.request("after")
    assert receiver.wait(1)[0].json()["data"]["id"] == made["id"]
    assert len(log_of(gate, identity)) == 1


def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_connected_to(
    gate: AgentGate, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def leads_home(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "hooks.example.com" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", leads_home)
    identity = register(gate, f"https://hooks.example.com:{receiver.port}/in", "request.created")
    gate.request("guarded")
    (row,) = until_log(gate, identity, "failed")
    assert "private" in row["error"]
    assert (row["attempts"], row["responseStatus"]) == (1, None)
    assert receiver.received == []


def test_a_receiver_that_hangs_keeps_no_other_waiting(gate: AgentGate, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        slow = register(gate, f"http://127.0.0.1:{port}/in", "request.created")
        register(gate, receiver.url, "request.created")
        for _ in range(3):
            gate.request("crowd")
        receiver.wait(3)
        gate.gateway.until(lambda: sorted(row["attempts"] for row in log_of(gate, slow)) == [0, 0, 1])
        assert {row["status"] for row in log_of(gate, slow)} == {"pending"}


def test_the_secret_is_not_in_the_database(gate: AgentGate, receiver: Receiver, tmp_path: Path) -> None:
    register(gate, receiver.url, "request.created", secret="very-secret-signing-text")
    copy = tmp_path / "copy.db"
    gate.gateway.run(gate.gateway.gate.store.backup(copy))  # type: ignore[attr-defined]
    assert b"very-secret-signing-text" not in copy.read_bytes()
    gate.request("sealed")
    check_signature(receiver.wait(1)[0], "very-secret-signing-text")


def test_another_gateway_on_the_same_database_does_not_tell_it_twice(
    tmp_path: Path, receiver: Receiver
) -> None:
    with open_agentgate(tmp_path) as one, open_agentgate(tmp_path) as other:
        identity = register(one, receiver.url, "request.created")
        made = [one.request("shared"), other.request("shared"), other.request("shared")]
        receiver.wait(3)
        until_log(one, identity, "delivered", 3)
        told = [each.json()["data"]["id"] for each in receiver.received]
        assert sorted(told) == sorted(row["id"] for row in made)


def test_what_was_not_delivered_is_delivered_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [500]
    with open_agentgate(tmp_path) as first:
        identity = register(first, receiver.url, "request.created")
        first.request("durable")
        first.gateway.until(lambda: log_of(first, identity) and log_of(first, identity)[0]["error"])
    with open_agentgate(tmp_path) as second:
        second.clock.forward(5_000)
        receiver.wait(2)
        rows = second.gateway.until(
            lambda: (
                (answer := second.gateway.get(f"/api/webhooks/{identity}/deliveries", token=SECRET).json())
                and answer[0]["status"] == "delivered"
                and answer
            )
        )
        assert rows[0]["attempts"] == 2
