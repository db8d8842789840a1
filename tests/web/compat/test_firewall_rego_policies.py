"""`/admin/policies` over HTTP: kept, changed, tried out; in force at once, everywhere, for people only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from tests.support.firewalls import Firewall, open_firewall
from tests.support.gateways import SECRET, open_gateway

pytest.importorskip("regorus", reason="there is no wheel of the engine for this machine")

PATH = "/admin/policies"
PAGE = {
    "name": "Block External APIs",
    "description": "Block all external API calls except whitelisted domains",
    "content": """package firewall

default allow = false

allow {
  input.action.tool == "http_proxy"
  startswith(input.action.params.url, "https://api.github.com/")
}

allow { input.action.tool == "http_proxy"; input.action.params.url == "https://api.github.com" }
""",
    "priority": 100,
}
SIMULATED = {
    "input": {
        "action": {
            "tool": "http_proxy",
            "operation": "GET",
            "params": {"url": "https://api.github.com"},
        }
    }
}
REFUNDS = """package aaf.policies

import rego.v1

deny contains msg if {
  input.action.tool == "refund"
  input.action.params.amount > 1000
  msg := sprintf("a refund of %v", [input.action.params.amount])
}

require_approval if {
  input.action.tool == "refund"
  input.action.params.amount > 100
}

allow if {
  input.action.tool == "refund"
  input.action.params.amount <= 100
}

risk_level := "high" if input.action.params.amount > 100

approval_config := {"timeout_hours": 2, "required_approvers": 2}
"""
TRIPLES = """package firewall
import rego.v1
allow if {
  a := numbers.range(1, input.action.params.amount)
  some x in a
  some y in a
  some z in a
  x + y + z == -1
}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    with open_firewall(tmp_path_factory.mktemp("rego")) as wall:
        wall.key("writer", frozenset({Scope.POLICIES_WRITE}), rate=1_000_000)
        wall.key("reader", frozenset({Scope.POLICIES_READ}), rate=1_000_000)
        wall.key("agents-writer", frozenset({Scope.POLICIES_WRITE}), agent="crm-agent")
        yield wall


@pytest.fixture
def wall(running: Firewall) -> Firewall:
    """The gateway, without a policy."""
    for one in running.ask("GET", f"{PATH}?limit=100", by="writer").json()["data"]:
        assert running.ask("DELETE", f"{PATH}/{one['id']}", by="writer").status == 200
    return running


def made(wall: Firewall, content: str = REFUNDS, **more: Any) -> dict[str, Any]:
    answer = wall.ask("POST", PATH, {"name": "Refunds", "content": content, **more}, by="writer")
    assert answer.status == 201, answer.body
    return dict(answer.json())


def refund(wall: Firewall, amount: Any, **more: Any) -> dict[str, Any]:
    return wall.submit("create", tool="refund", params={"amount": amount}, **more)


def simulated(wall: Firewall, policy: dict[str, Any], body: Any) -> dict[str, Any]:
    answer = wall.ask("POST", f"{PATH}/{policy['id']}/simulate", body, by="reader")
    assert answer.status == 200, answer.body
    return dict(answer.json())


def test_a_policy_is_kept_as_the_page_says_shown_changed_and_dropped(wall: Firewall) -> None:
    answer = wall.ask("POST", PATH, PAGE, by="writer")
    assert answer.status == 201, answer.body
    policy = answer.json()
    assert policy["id"].startswith("pol_")
    assert {name: policy[name] for name in PAGE} == PAGE
    assert (policy["enabled"], policy["version"]) == (True, 1)
    assert (policy["rego_version"], policy["package"], policy["rules"]) == (0, "firewall", ["allow"])
    one = f"{PATH}/{policy['id']}"
    assert wall.ask("GET", one, by="reader").json() == policy
    changed = wall.ask("PATCH", one, {"priority": 7, "enabled": False}, by="writer").json()
    assert (changed["priority"], changed["enabled"], changed["version"]) == (7, False, 2)
    changed = wall.ask("PUT", one, {"content": REFUNDS}, by="writer").json()
    assert (changed["rego_version"], changed["version"], changed["name"]) == (1, 3, PAGE["name"])
    listed = wall.ask("GET", PATH, by="reader").json()
    assert listed == {"data": [changed], "pagination": {"total": 1, "limit": 20, "offset": 0}}
    assert wall.ask("DELETE", one, by="writer").json() == {"success": True, "id": policy["id"]}
    assert wall.ask("GET", one, by="reader").status == 404
    assert wall.ask("DELETE", one, by="writer").status == 404


def test_the_pages_own_simulation_is_allowed(wall: Firewall) -> None:
    policy = wall.ask("POST", PATH, PAGE, by="writer").json()
    said = simulated(wall, policy, SIMULATED)
    assert said["decision"] == "allow"
    assert said["policy_id"] == policy["id"]
    assert (said["matched"], said["result"], said["error"]) == (["allow"], {"allow": True}, None)
    elsewhere = {"action": {**SIMULATED["input"]["action"], "params": {"url": "https://evil.example"}}}
    said = simulated(wall, policy, {"input": elsewhere})
    assert (said["decision"], said["matched"]) == ("deny", [])
    assert said["reason"] == "policy `Block External APIs` does not allow it"


def test_a_simulation_tells_all_that_a_policy_says(wall: Firewall) -> None:
    action = {"tool": "refund", "operation": "create", "params": {"amount": 500}}
    said = simulated(wall, made(wall, enabled=False), {"input": {"action": action}})
    assert said["decision"] == "require_approval"
    assert said["risk_level"] == "high"
    assert said["matched"] == ["require_approval", "risk_level", "approval_config"]
    assert said["approval_config"] == {"timeout_hours": 2, "required_approvers": 2}
    assert said["result"]["deny"] == []


def test_a_simulation_shows_where_an_evaluation_failed(wall: Firewall) -> None:
    policy = made(wall, "package firewall\n\ndeny { to_number(input.action.tool) > 1 }\n")
    said = simulated(wall, policy, {"input": {"action": {"tool": "mail"}}})
    assert said["decision"] == "deny"
    assert said["error"] == {"line": 3, "message": "could not parse string as number"}


def test_a_simulation_sees_the_action_as_a_real_one_is_seen(wall: Firewall) -> None:
    policy = made(wall, "package firewall\ndeny[input]\n")
    said = simulated(wall, policy, {"input": {"action": {"tool": "http_proxy", "operation": "get"}}})
    (seen,) = said["result"]["deny"]
    beside = {"agent": {"id": ""}, "context": {}, "metadata": {}}
    assert seen == {**beside, "action": {**seen["action"], "operation": "GET", "params": {}}}
    wall.submit("send", params={"to": "x"}, context={"user_id": "u"}, metadata={"m": 1})


def test_a_simulation_changes_nothing(wall: Firewall) -> None:
    policy = made(wall)
    before = wall.gateway.ask("GET", "/audit?view=events&limit=10000", token=SECRET).json()
    for amount in (1, 500, 5000):
        action = {"tool": "refund", "operation": "create", "params": {"amount": amount}}
        simulated(wall, policy, {"input": {"action": action}})
    assert wall.gateway.ask("GET", "/audit?view=events&limit=10000", token=SECRET).json() == before
    assert wall.ask("GET", f"{PATH}/{policy['id']}", by="reader").json() == policy
    assert wall.ask("GET", "/v1/approvals?status=pending", by="boss").json()["pagination"]["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": 1},
        {"input": {}},
        {"input": {"action": []}},
        {"input": {"action": {"tool": 1}}},
        {"input": {"action": {"tool": "x", "params": []}}},
    ],
    ids=str,
)
def test_a_simulation_of_nothing_is_refused(wall: Firewall, body: dict[str, Any]) -> None:
    answer = wall.ask("POST", f"{PATH}/{made(wall)['id']}/simulate", body, by="reader")
    assert answer.status == 400
    assert answer.json()["error"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x"}, "content"),
        ({"name": "", "content": REFUNDS}, "name"),
        ({"name": "a\nb", "content": REFUNDS}, "name"),
        ({"name": "x" * 201, "content": REFUNDS}, "name"),
        ({"name": "x", "content": 7}, "content"),
        ({"name": "x", "content": "  "}, "content"),
        ({"name": "x", "content": "allow { true }"}, "content"),
        ({"name": "x", "content": "package firewall\nallow { true }\x00deny { true }"}, "content"),
        ({"name": "x", "content": "\ufeffpackage firewall\nallow { true }"}, "content"),
        ({"name": "x", "content": f"package a\nallow {{ true }}\n# {'x' * 65_536}"}, "content"),
        ({"name": "x", "content": REFUNDS, "priority": "high"}, "priority"),
        ({"name": "x", "content": REFUNDS, "priority": 1.5}, "priority"),
        ({"name": "x", "content": REFUNDS, "enabled": 1}, "enabled"),
        ({"name": "x", "content": REFUNDS, "description": []}, "description"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_policy_is_refused_and_nothing_is_kept(
    wall: Firewall, body: dict[str, Any], field: str
) -> None:
    answer = wall.ask("POST", PATH, body, by="writer")
    assert answer.status == 400
    assert answer.json()["details"]["field"] == field
    assert wall.ask("GET", PATH, by="reader").json()["data"] == []


def test_a_policy_that_rego_cannot_read_is_refused_with_its_line(wall: Firewall) -> None:
    policy = made(wall)
    wrong = {"content": 'package firewall\n\nallow {\n  http.send({"url": "http://127.0.0.1"})\n}\n'}
    answer = wall.ask("PATCH", f"{PATH}/{policy['id']}", wrong, by="writer")
    assert answer.status == 400
    issue = "line 4: `http.send`: a policy reaches no network"
    assert answer.json() == {
        "error": "VALIDATION_ERROR",
        "message": f"`content`: {issue}",
        "details": {"field": "content", "issue": issue},
    }
    assert wall.ask("GET", f"{PATH}/{policy['id']}", by="reader").json() == policy


def test_a_policy_of_ten_megabytes_is_not_read(wall: Firewall) -> None:
    body = {"name": "x", "content": "package firewall\n# " + "x" * 10_000_000}
    assert wall.ask("POST", PATH, body, by="writer").status == 413


def test_a_body_that_says_something_twice_is_refused(wall: Firewall) -> None:
    body = b'{"name": "x", "content": "package a\\nallow { true }", "content": "package a\\ndeny { true }"}'
    assert wall.ask("POST", PATH, body, by="writer").status == 400
    assert (
        wall.ask("POST", f"{PATH}/{made(wall)['id']}/simulate", b'{"input": NaN}', by="reader").status == 400
    )


def test_what_a_policy_says_holds_for_actions_at_once(wall: Firewall) -> None:
    assert refund(wall, 50)["status"] == "pending_approval", "nobody names it: a person decides"
    policy = made(wall)
    allowed, asked, denied = refund(wall, 50), refund(wall, 500), refund(wall, 5000)
    assert [one["status"] for one in (allowed, asked, denied)] == ["allowed", "pending_approval", "denied"]
    assert denied["decision"] == {
        "decision": "deny",
        "reason": "a refund of 5000",
        "risk_level": "high",
        "policy_id": policy["id"],
    }
    assert asked["decision"]["risk_level"] == "high"
    approval = wall.ask("GET", f"/v1/approvals/{asked['approval']['id']}", by="boss").json()
    assert approval["required_approvers"] == 2
    wall.ask("PATCH", f"{PATH}/{policy['id']}", {"enabled": False}, by="writer")
    assert refund(wall, 5000)["status"] == "pending_approval"
    wall.ask("PATCH", f"{PATH}/{policy['id']}", {"enabled": True}, by="writer")
    wall.ask("DELETE", f"{PATH}/{policy['id']}", by="writer")
    assert refund(wall, 5000)["status"] == "pending_approval"


def test_the_strictest_of_policies_and_yaml_holds(wall: Firewall) -> None:
    made(wall, "package firewall\nallow { true }\n", name="all")
    assert wall.submit("drop", tool="database", by="bound")["status"] == "denied", "the YAML says so"
    assert wall.submit("update", tool="database", by="bound")["status"] == "pending_approval"
    made(wall, 'package firewall\nrequire_approval { input.action.operation == "read" }\n', name="ask")
    assert wall.submit("read", tool="database", by="bound")["status"] == "pending_approval"
    made(wall, 'package firewall\ndeny["never"] { input.action.tool == "database" }\n', name="never")
    assert wall.submit("read", tool="database", by="bound")["status"] == "denied"


def test_of_several_that_deny_the_highest_priority_gives_the_reason(wall: Firewall) -> None:
    for name, priority in (("low", 1), ("high", 1000), ("mid", 500)):
        made(wall, f'package firewall\ndeny["{name}"] {{ true }}\n', name=name, priority=priority)
    assert refund(wall, 1)["decision"]["reason"] == "high"
    assert [one["name"] for one in wall.ask("GET", PATH, by="reader").json()["data"]] == [
        "high",
        "mid",
        "low",
    ]
    listed = wall.ask("GET", f"{PATH}?limit=1&offset=1", by="reader").json()
    assert [one["name"] for one in listed["data"]] == ["mid"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("package a\nallow { to_number(input.action.tool) > 1 }\nallow { true }\n", " (line 2)"),
        ('package a\nallow = "yes" { true }\n', ""),
        ("package a\nf(x) = y { y := f(x) }\nallow { f(input.action.tool) }\n", ""),
        ('package a\nallow { count(sprintf("%1000000000d", [input.action.params.amount])) > 1 }\n', ""),
        (TRIPLES, ""),
    ],
    ids=["an error", "no answer", "endless", "memory", "time"],
)
def test_a_policy_that_cannot_be_evaluated_denies_and_is_named(
    wall: Firewall, content: str, told: str
) -> None:
    made(wall, "package firewall\nallow { true }\n", name="all")
    broken = made(wall, content, name="broken", priority=500)
    denied = refund(wall, 3000)
    assert denied["status"] == "denied"
    assert denied["decision"]["reason"] == f"policy `broken` could not be evaluated{told}"
    assert denied["decision"]["policy_id"] == broken["id"]
    wall.ask("DELETE", f"{PATH}/{broken['id']}", by="writer")
    assert refund(wall, 7)["status"] == "allowed", "the engine is there again"


def test_only_the_approvers_that_a_policy_names_may_say_yes(wall: Firewall) -> None:
    config = 'approval_config = {"required_approvers": ["alice"], "timeout_hours": 1}\n'
    made(wall, f"package firewall\nrequire_approval {{ true }}\n{config}")
    asked = refund(wall, 500)
    assert wall.decide(asked).status == 403
    assert wall.get(asked["id"])["status"] == "pending_approval"
    wall.clock.forward(3_600_001)
    assert wall.get(asked["id"])["status"] == "expired"


def test_an_approval_is_not_spent_on_what_a_policy_denies_since(wall: Firewall) -> None:
    policy = made(wall, 'package firewall\nrequire_approval { input.action.tool == "refund" }\n')
    asked = refund(wall, 500)
    assert wall.decide(asked).status == 200
    changed = {"content": 'package firewall\ndeny["no more"] { input.action.tool == "refund" }\n'}
    assert wall.ask("PATCH", f"{PATH}/{policy['id']}", changed, by="writer").status == 200
    assert wall.get(asked["id"])["status"] == "denied"


def test_a_policy_sees_who_asks_and_the_whole_action(wall: Firewall) -> None:
    made(
        wall,
        'package firewall\ndeny["all seen"] {\n  input.agent.id == "crm-agent"\n'
        '  input.context.purpose == "p"\n  input.action.metadata.m == 9007199254740993\n'
        '  input.action.operation == "send"\n}\n',
    )
    more = {"context": {"purpose": "p"}, "metadata": {"m": 9007199254740993}}
    assert wall.submit("send", by="bound", **more)["decision"]["reason"] == "all seen"
    assert wall.submit("send", by="bound")["status"] == "pending_approval"


def test_every_change_is_in_the_history(wall: Firewall) -> None:
    policy = made(wall)
    wall.ask("PATCH", f"{PATH}/{policy['id']}", {"priority": 1}, by="writer")
    wall.ask("DELETE", f"{PATH}/{policy['id']}", by="writer")
    events = wall.gateway.ask("GET", "/audit?view=events&limit=10000", token=SECRET).json()
    own = policy["id"].removeprefix("pol_")
    found = {one["kind"]: one["body"] for one in events if own in one["body"]}
    assert set(found) == {"policy.created", "policy.updated", "policy.deleted"}
    assert "a refund of %v" in found["policy.created"], "the text that held is there to be read"


@pytest.mark.parametrize("by", ["agent", "bound", "agents-writer", "boss", "nobody"])
def test_an_agent_and_whoever_has_no_scope_can_neither_read_nor_write_policies(
    wall: Firewall, by: str
) -> None:
    policy = made(wall)
    one = f"{PATH}/{policy['id']}"
    expected = 401 if by in {"agent", "bound", "nobody"} else 403
    for method, path, body in (
        ("POST", PATH, {"name": "open", "content": "package a\nallow { true }"}),
        ("PATCH", one, {"enabled": False}),
        ("PUT", one, {"enabled": False}),
        ("DELETE", one, None),
        ("GET", one, None),
        ("GET", PATH, None),
        ("POST", f"{one}/simulate", SIMULATED),
    ):
        assert wall.ask(method, path, body, by=by).status in {expected, 403}, (method, path)
    assert wall.ask("GET", one, by="reader").json() == policy


def test_a_reader_writes_nothing(wall: Firewall) -> None:
    policy = made(wall)
    one = f"{PATH}/{policy['id']}"
    assert wall.ask("POST", PATH, PAGE, by="reader").status == 403
    assert wall.ask("PATCH", one, {"enabled": False}, by="reader").status == 403
    assert wall.ask("DELETE", one, by="reader").status == 403
    assert wall.ask("GET", one, by="reader").status == 200


def test_a_policy_holds_on_another_gateway_at_once(tmp_path: Path) -> None:
    with open_firewall(tmp_path) as wall:
        wall.key("writer", frozenset({Scope.POLICIES_WRITE}))
        text = (tmp_path / "airlock.yaml").read_text()
        with open_gateway(tmp_path, text, clock=wall.clock) as second:
            other = Firewall(second, wall.clock, wall.keys, wall.agents)
            assert refund(other, 5000)["status"] == "pending_approval"
            policy = made(wall)
            assert refund(other, 5000)["status"] == "denied"
            assert refund(wall, 5000)["status"] == "denied"
            other.ask("DELETE", f"{PATH}/{policy['id']}", by="writer")
            assert refund(wall, 5000)["status"] == "pending_approval"


def test_two_who_change_one_policy_at_once_do_not_lose_a_change(wall: Firewall) -> None:
    policy = made(wall)
    one = f"{PATH}/{policy['id']}"
    later = [
        wall.gateway.later(lambda number=number: wall.ask("PATCH", one, {"priority": number}, by="writer"))
        for number in range(8)
    ]
    found = [each.result().status for each in later]
    assert set(found) <= {200, 409, 503}
    assert wall.ask("GET", one, by="reader").json()["version"] == 1 + found.count(200)


def test_without_the_engine_no_policy_is_kept_and_those_that_are_there_deny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_firewall(tmp_path) as wall:
        wall.key("writer", frozenset({Scope.POLICIES_WRITE}))
        policy = made(wall, "package firewall\nallow { true }\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with open_firewall(tmp_path) as wall:
        wall.key("writer", frozenset({Scope.POLICIES_WRITE}))
        refused = wall.ask("POST", PATH, PAGE, by="writer")
        assert refused.status == 503
        assert "pip install 'airlock-gate[rego]'" in refused.json()["message"]
        assert refund(wall, 7)["decision"]["reason"] == "policy `Refunds` could not be evaluated"
        action = {"action": {"tool": "refund"}}
        tried = wall.ask("POST", f"{PATH}/{policy['id']}/simulate", {"input": action}, by="writer").json()
        assert tried["decision"] == "deny"
        assert "pip install" in tried["error"]["message"]
