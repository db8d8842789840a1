"""AgentGate's stored policies and the YAML, together: the strictest wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.faces import AgentGate, open_agentgate

DENY = {"decision": "auto_deny"}
ALLOW = {"decision": "auto_approve"}
ASK = {"decision": "route_to_human"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentGate]:
    with open_agentgate(tmp_path_factory.mktemp("policy")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_policies_left(gate: AgentGate) -> Iterator[None]:
    yield
    for row in gate.ask("GET", "/api/policies", by="admin").json():
        gate.ask("DELETE", f"/api/policies/{row['id']}", by="admin")


def store(gate: AgentGate, name: str, *rules: Mapping[str, Any], priority: int = 10, **more: Any) -> str:
    body = {"name": name, "priority": priority, "enabled": True, "rules": list(rules), **more}
    answer = gate.ask("POST", "/api/policies", body, by="admin")
    assert answer.status == 201, answer.body
    return str(answer.json()["id"])


def status(gate: AgentGate, action: str, *, by: str = "agent", **more: Any) -> str:
    return str(gate.request(action, by=by, **more)["status"])


def test_without_any_policy_a_person_decides(gate: AgentGate) -> None:
    assert status(gate, "anything") == "pending"


def test_an_auto_approval_is_decided_at_creation_and_recorded(gate: AgentGate) -> None:
    store(gate, "notes", {"match": {"action": "send_notification"}, **ALLOW})
    made = gate.request("send_notification", params={"to": "x"}, context={"a": 1})
    assert (made["status"], made["decidedBy"], made["decidedByType"]) == (
        "approved",
        "policy:agentgate:notes",
        "policy",
    )
    assert gate.get(made["id"]) == made
    assert gate.gateway.get("/hitl/pending").json() == [
        row
        for row in gate.gateway.get("/hitl/pending").json()
        if row["tool"] != "agentgate/send_notification"
    ]
    entry = gate.gateway.get("/audit?tool=agentgate/send_notification").json()[0]
    assert (entry["effect"], entry["rule"]) == ("allow", "agentgate:notes")
    rows = gate.ask("GET", f"/api/requests/{made['id']}/audit").json()
    assert [row["event"] for row in rows] == ["created", "approved"]
    assert gate.decide(made["id"], "denied").status == 409
    assert (
        gate.ask("POST", f"/api/requests/{made['id']}/confirm", {"result": {"success": True}}).status == 200
    )
    assert gate.gateway.get("/audit?tool=agentgate/send_notification").json()[0]["result"] == "success"
    listed = gate.ask("GET", "/api/requests?action=send_notification&status=approved").json()
    assert [row["id"] for row in listed] == [made["id"]]


def test_an_auto_denial_is_decided_at_creation(gate: AgentGate) -> None:
    store(gate, "never", {"match": {"action": "wipe"}, **DENY})
    made = gate.request("wipe")
    assert (made["status"], made["decidedBy"]) == ("denied", "policy:agentgate:never")
    assert gate.ask("POST", f"/api/requests/{made['id']}/confirm", {}).status == 409


def test_the_lowest_priority_number_is_read_first_and_the_first_match_counts(gate: AgentGate) -> None:
    store(gate, "late", {"match": {}, **DENY}, priority=20)
    store(gate, "early", {"match": {"action": "x"}, **ALLOW}, {"match": {}, **ASK}, priority=10)
    assert status(gate, "x") == "approved"
    assert status(gate, "y") == "pending"
    names = [row["name"] for row in gate.ask("GET", "/api/policies", by="admin").json()]
    assert names == ["early", "late"]


def test_a_disabled_policy_says_nothing(gate: AgentGate) -> None:
    identity = store(gate, "off", {"match": {}, **DENY}, enabled=False)
    assert status(gate, "x") == "pending"
    gate.ask("PUT", f"/api/policies/{identity}", {"enabled": True}, by="admin")
    assert status(gate, "x") == "denied"


def test_route_to_agent_goes_to_a_person(gate: AgentGate) -> None:
    store(gate, "agent", {"match": {}, "decision": "route_to_agent"})
    assert status(gate, "x") == "pending"


MATCHES = [
    ({"action": "x"}, {}, True),
    ({"action": "y"}, {}, False),
    ({"urgency": "high"}, {"urgency": "high"}, True),
    ({"urgency": "high"}, {}, False),
    ({"status": "pending"}, {}, True),
    ({"params.to": "a"}, {"params": {"to": "a"}}, True),
    ({"to": "a"}, {"params": {"to": "a"}}, True),
    ({"params.deep.er": 1}, {"params": {"deep": {"er": 1}}}, True),
    ({"context.env": "prod"}, {"context": {"env": "prod"}}, True),
    ({"context.env": "prod"}, {}, False),
    ({"params.n": {"$gt": 5}}, {"params": {"n": 6}}, True),
    ({"params.n": {"$gt": 5}}, {"params": {"n": 5}}, False),
    ({"params.n": {"$gte": 5}}, {"params": {"n": 5}}, True),
    ({"params.n": {"$lt": 5}}, {"params": {"n": 4.5}}, True),
    ({"params.n": {"$lte": 5}}, {"params": {"n": 5}}, True),
    ({"params.n": {"$gt": 1, "$lt": 9}}, {"params": {"n": 5}}, True),
    ({"params.n": {"$gt": 1, "$lt": 9}}, {"params": {"n": 9}}, False),
    ({"params.to": {"$in": ["a", "b"]}}, {"params": {"to": "b"}}, True),
    ({"params.to": {"$in": ["a", "b"]}}, {"params": {"to": "c"}}, False),
    ({"params.to": {"$regex": "@example\\.com$"}}, {"params": {"to": "x@example.com"}}, True),
    ({"params.to": {"$regex": "@example\\.com$"}}, {"params": {"to": "x@example.com.evil"}}, False),
    ({"params.on": 1}, {"params": {"on": True}}, False),
    ({"params.list": [1, {"a": 2}]}, {"params": {"list": [1, {"a": 2}]}}, True),
    ({"action": "x", "params.n": 1}, {"params": {"n": 2}}, False),
    ({"params.n": {"$lt": 9}}, {"params": {"n": 50, "params.n": 1, "params": {"n": 1}}}, False),
    ({"params.a.b": 1}, {"params": {"a.b": 1, "a": {"b": 2}}}, False),
    ({"action": "y"}, {"params": {"action": "y"}}, False),
    ({"urgency": "low"}, {"params": {"urgency": "low"}}, False),
    ({"context.env": "dev"}, {"params": {"context": {"env": "dev"}}}, False),
]


@pytest.mark.parametrize(("match", "more", "expected"), MATCHES, ids=repr)
def test_the_match_operators(gate: AgentGate, match: Any, more: Any, expected: bool) -> None:
    store(gate, "m", {"match": match, **ALLOW})
    assert status(gate, "x", **more) == ("approved" if expected else "pending")


@pytest.mark.parametrize(("rule", "expected"), [(DENY, "denied"), (ASK, "pending"), (ALLOW, "pending")])
def test_a_rule_that_cannot_be_told_never_opens_a_door(
    gate: AgentGate, rule: dict[str, str], expected: str
) -> None:
    store(gate, "odd", {"match": {"params.amount": {"$gt": 100}}, **rule})
    assert status(gate, "x", params={"amount": "lots"}) == expected
    assert status(gate, "x", params={"amount": 500, "AMOUNT": 5}) == expected
    assert status(gate, "x", params={"Amount": 5}) == expected


STRICTEST = [
    # the YAML says, for agent billing: refund ask, drop_table deny, ping allow, anything else nothing
    ("refund", None, "pending"),
    ("refund", ALLOW, "pending"),
    ("refund", DENY, "denied"),
    ("drop_table", None, "denied"),
    ("drop_table", ALLOW, "denied"),
    ("drop_table", ASK, "denied"),
    ("ping", None, "approved"),
    ("ping", ALLOW, "approved"),
    ("ping", ASK, "pending"),
    ("ping", DENY, "denied"),
    ("other", None, "pending"),
    ("other", ALLOW, "approved"),
    ("other", ASK, "pending"),
    ("other", DENY, "denied"),
]


@pytest.mark.parametrize(("action", "rule", "expected"), STRICTEST, ids=str)
def test_the_strictest_of_the_yaml_and_the_stored_policies_wins(
    gate: AgentGate, action: str, rule: dict[str, str] | None, expected: str
) -> None:
    if rule is not None:
        store(gate, "p", {"match": {"action": action}, **rule})
    assert status(gate, action, by="bound") == expected


def test_conditions_of_the_yaml_see_the_params(gate: AgentGate) -> None:
    store(gate, "all", {"match": {}, **ALLOW})
    assert status(gate, "pay", params={"amount": 10}) == "approved"
    made = gate.request("pay", params={"amount": 5_000})
    assert (made["status"], made["decisionReason"], made["decidedBy"]) == ("denied", "too much", "policy:big")
    assert status(gate, "pay", params={"amount": "5000"}) == "denied", "a wrong type errs, and a deny holds"


def test_a_rule_of_the_yaml_may_shorten_the_life_and_want_two_people(gate: AgentGate) -> None:
    quick = gate.request("quick")
    shown = gate.gateway.get(f"/hitl/{quick['id'].removeprefix('req_')}").json()
    assert shown["rule"] == "soon"
    created, expires = (
        gate.gateway.get("/hitl/pending").json()[-1][name] for name in ("created_at", "expires_at")
    )
    assert created[:17] == expires[:17] or expires > created
    wire = gate.request("wire")
    first = gate.decide(wire["id"])
    assert (first.status, first.json()["status"]) == (200, "pending")
    assert gate.decide(wire["id"]).status == 409, "the same person has answered"
    assert gate.decide(wire["id"], by="second").json()["status"] == "approved"
    events = gate.ask("GET", f"/api/requests/{wire['id']}/audit").json()
    assert [row["event"] for row in events] == ["created", "voted", "approved"]


def test_approvers_of_a_stored_rule_are_people_of_the_config(gate: AgentGate) -> None:
    store(gate, "alices", {"match": {"action": "hers"}, "decision": "route_to_human", "approvers": ["alice"]})
    made = gate.request("hers")
    answer = gate.decide(made["id"])
    assert answer.status == 403
    assert "alice" in answer.json()["error"]["message"]
    assert gate.decide(made["id"], "denied").status == 200, "anyone may say no"


def test_a_policy_that_was_made_stricter_since_holds_when_the_answer_is_fetched(gate: AgentGate) -> None:
    made = gate.request("later")
    gate.decide(made["id"])
    store(gate, "stop", {"match": {"action": "later"}, **DENY})
    seen = gate.get(made["id"])
    assert (seen["status"], seen["decidedBy"]) == ("denied", "policy")
    assert gate.ask("POST", f"/api/requests/{made['id']}/confirm", {}).status == 409
    assert gate.gateway.get(f"/hitl/{made['id'].removeprefix('req_')}").json()["status"] == "cancelled"


def test_what_was_fetched_once_stays_approved(gate: AgentGate) -> None:
    made = gate.request("fetched")
    gate.decide(made["id"])
    assert gate.get(made["id"])["status"] == "approved"
    store(gate, "stop", {"match": {}, **DENY})
    assert gate.get(made["id"])["status"] == "approved"


def test_secrets_are_masked_wherever_they_are_shown_and_conditions_see_them(gate: AgentGate) -> None:
    store(gate, "tokens", {"match": {"params.token": "bad"}, **DENY})
    assert status(gate, "x", params={"token": "bad"}) == "denied"
    made = gate.request("x", params={"token": "hush-hush", "n": 1})
    assert made["params"]["n"] == 1
    assert "hush-hush" not in str(made)
    assert "hush-hush" not in gate.gateway.get("/hitl/pending").body.decode()
    gate.decide(made["id"])
    assert gate.get(made["id"])["status"] == "approved"
    confirmed = gate.ask("POST", f"/api/requests/{made['id']}/confirm", {"result": {"api_key": "hush-too"}})
    assert b"hush-too" not in confirmed.body
    database = (gate.gateway.gate.store.path).read_bytes()  # type: ignore[attr-defined]
    assert b"hush-hush" not in database
    assert b"hush-too" not in database


def test_every_change_of_a_policy_is_in_the_history(gate: AgentGate) -> None:
    identity = store(gate, "told", {"match": {}, **ASK})
    gate.ask("PUT", f"/api/policies/{identity}", {"priority": 3}, by="admin")
    gate.ask("DELETE", f"/api/policies/{identity}", by="admin")
    kinds = [row["kind"] for row in gate.gateway.get("/audit?view=events&limit=10000").json()]
    assert [kind for kind in kinds if kind.startswith("policy.")][-3:] == [
        "policy.created",
        "policy.updated",
        "policy.deleted",
    ]


def test_while_everything_is_paused_nothing_is_asked_or_given_out(gate: AgentGate) -> None:
    made = gate.request("paused")
    gate.decide(made["id"])
    gate.gateway.run(gate.gateway.gate.pause("", "local:alice"))
    try:
        assert gate.ask("POST", "/api/requests", {"action": "x"}).status == 403
        assert gate.get(made["id"])["status"] == "pending"
    finally:
        gate.gateway.run(gate.gateway.gate.resume("", "local:alice"))
    assert gate.get(made["id"])["status"] == "approved"


def test_a_grant_covers_the_same_action_again(gate: AgentGate) -> None:
    made = gate.request("granted", params={"n": 1})
    code = made["id"].removeprefix("req_")
    answer = gate.gateway.post(f"/hitl/approve/{code}", {"for": "10m"})
    assert answer.status == 200, answer.body
    assert status(gate, "granted", params={"n": 1}) == "approved"
    assert status(gate, "granted", params={"n": 2}) == "pending"
