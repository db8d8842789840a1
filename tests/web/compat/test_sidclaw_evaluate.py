"""POST /evaluate and what follows: flat answers at once, policies beside the YAML, one use for each yes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.web.compat.sidclaw.words import risk_word
from tests.support.gateways import SECRET
from tests.support.sidclaws import ASKING, SidClaws, open_sidclaw


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidClaws]:
    with open_sidclaw(tmp_path_factory.mktemp("evaluate")) as made:
        yield made


def policy(house: SidClaws, effect: str, **more: Any) -> dict[str, Any]:
    """A policy that is in force; ended by the test that made it."""
    body = {"policy_name": "p", "policy_effect": effect, "rationale": "because it is so", **more}
    answer = house.ask("POST", "/policies", body, token=SECRET)
    assert answer.status == 201, answer.body
    return dict(answer.json())


def test_the_answer_is_flat_and_a_denial_is_200(house: SidClaws) -> None:
    allowed = house.evaluate("read_contact", target_integration="crm")
    asked = house.evaluate(context={"n": "flat"})
    denied = house.evaluate("pay", target_integration="bank")
    assert [one.status for one in (allowed, asked, denied)] == [200, 200, 200]
    assert allowed.json() == {
        "decision": "allow",
        "trace_id": allowed.json()["trace_id"],
        "approval_request_id": None,
        "reason": "`sidclaw/crm/read_contact` is in agents.mailer.allow",
        "policy_rule_id": "agents.mailer.allow",
    }
    assert asked.json()["decision"] == "approval_required"
    assert asked.json()["approval_request_id"]
    assert asked.json()["risk_classification"] == "high"
    assert denied.json()["decision"] == "deny"
    assert denied.json()["approval_request_id"] is None


def test_what_no_policy_names_is_denied(house: SidClaws) -> None:
    answer = house.evaluate("unheard_of", target_integration="nowhere").json()
    assert (answer["decision"], answer["policy_rule_id"]) == ("deny", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": ""},
        {"operation": None},
        {"agent_id": 7},
        {"target_integration": "x" * 300},
        {"data_classification": "secret"},
        {"context": []},
        {"resource_scope": None},
        {"operation": "   "},
    ],
)
def test_what_cannot_be_read_is_400(house: SidClaws, wrong: dict[str, Any]) -> None:
    answer = house.evaluate(**wrong)
    assert (answer.status, answer.json()["error"]) == (400, "validation_error")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_unknown_agent_is_404_and_a_key_without_the_scope_403(house: SidClaws) -> None:
    assert house.evaluate(agent_id="nobody").json()["error"] == "not_found"
    assert house.evaluate(token=house.deciding).json()["error"] == "forbidden"


@pytest.mark.parametrize(
    ("operation", "classification", "risk"),
    [
        ("read", "public", "low"),
        ("read", "internal", "low"),
        ("read", "confidential", "medium"),
        ("read", "restricted", "medium"),
        ("send_email", "public", "low"),
        ("delete_row", "internal", "medium"),
        ("export_all", "confidential", "high"),
        ("Drop_table", "restricted", "critical"),
        ("revoke", "restricted", "critical"),
    ],
)
def test_the_risk_is_the_level_doubled_for_what_deletes_or_sends(
    operation: str, classification: str, risk: str
) -> None:
    assert risk_word(operation, classification) == risk


def test_a_scope_may_be_empty_and_may_be_a_whole_shell_line(house: SidClaws) -> None:
    for scope in ("", "echo a\n" * 1000, "  "):
        answer = house.evaluate("bash.readonly", target_integration="crm", resource_scope=scope)
        assert (answer.status, answer.json()["decision"]) == (200, "deny")


@pytest.mark.parametrize("member", ["operation", "target_integration", "resource_scope", "agent_id"])
def test_half_a_character_is_refused_and_never_a_failure(house: SidClaws, member: str) -> None:
    body = json.dumps(
        {
            "agent_id": "mailer",
            "operation": "x",
            "target_integration": "gmail",
            "resource_scope": "x",
            "data_classification": "public",
            member: "\ud800",
        }
    )
    assert house.ask("POST", "/evaluate", body.encode()).status in {400, 404}


def test_names_with_slashes_stay_within_their_segment(house: SidClaws) -> None:
    """An agent that calls its integration `crm/read_contact` does not become that tool."""
    for integration, operation in (("crm/read_contact", "x"), ("", "crm/read_contact"), ("..", "crm")):
        answer = house.evaluate(operation, target_integration=integration or "x")
        assert answer.json()["decision"] != "allow"
    asked = house.evaluate("a/b", target_integration="gmail").json()
    own = asked["approval_request_id"].replace("-", "")
    request = house.gateway.run(house.gateway.gate.request(own))
    assert request.tool == "sidclaw/gmail/a%2Fb"


# -- one yes, one use -------------------------------------------------------------------------------------


def test_an_evaluation_that_was_approved_is_allowed_once_when_it_is_made_again(house: SidClaws) -> None:
    same = {"context": {"n": "again"}}
    approval = house.evaluate(**same).json()["approval_request_id"]
    house.decide("approve", approval)
    assert house.evaluate(**same).json()["decision"] == "allow"
    assert house.evaluate(**same).json()["decision"] == "approval_required"
    assert house.status(approval)["status"] == "expired", "its one use went to the second evaluation"


def test_two_identical_evaluations_share_a_question_and_only_one_gets_the_yes(house: SidClaws) -> None:
    same = {"context": {"n": "twins"}}
    one, two = (house.evaluate(**same).json()["approval_request_id"] for _ in range(2))
    assert one != two
    waiting = house.ask("GET", "/approvals?status=pending", token=house.deciding).json()["data"]
    assert len([item for item in waiting if item["context_snapshot"] == {"n": "twins"}]) == 1
    assert house.ask("GET", f"/approvals/{two}").json()["id"] == two
    decided = house.decide("approve", two)
    assert decided.json()["id"] == two, "an id of either decides the question"
    assert house.status(two)["status"] == "approved"
    assert house.status(two)["status"] == "approved", "a poll that is repeated hears the same"
    late = house.status(one)
    assert late["status"] == "expired"
    assert "evaluate again" in late["decision_note"]


def test_another_keys_identical_evaluation_is_a_question_of_its_own(house: SidClaws) -> None:
    same = {"context": {"n": "keys"}}
    other = house.key("another", ASKING).text
    one = house.evaluate(**same).json()["approval_request_id"]
    two = house.evaluate(token=other, **same).json()["approval_request_id"]
    house.decide("approve", two)
    assert house.status(two, token=other)["status"] == "approved"
    assert house.status(one)["status"] == "pending"


def test_a_reader_does_not_use_up_what_it_reads(house: SidClaws) -> None:
    approval = house.waiting()
    house.decide("approve", approval)
    for _ in range(2):
        assert house.status(approval, token=house.deciding)["status"] == "approved"
    assert house.status(approval)["status"] == "approved"


def test_while_airlock_is_paused_nothing_is_given_out(house: SidClaws) -> None:
    approval = house.waiting()
    house.decide("approve", approval)
    gate = house.gateway.gate
    house.gateway.run(gate.pause("mailer", "local:bob"))
    try:
        assert house.status(approval)["status"] == "pending"
        answer = house.evaluate("read_contact", target_integration="crm")
        assert (answer.status, answer.json()["decision"]) == (200, "deny")
    finally:
        house.gateway.run(gate.resume("mailer", "local:bob"))
    assert house.status(approval)["status"] == "approved"


def test_a_yes_is_worth_nothing_when_a_policy_denies_it_by_then(house: SidClaws) -> None:
    approval = house.waiting()
    house.decide("approve", approval)
    made = policy(house, "deny", target_integration="gmail", priority=900)
    status = house.status(approval)
    house.ask("DELETE", f"/policies/{made['id']}", token=SECRET)
    assert (status["status"], status["decision_note"]) == ("denied", "because it is so")


# -- policies ---------------------------------------------------------------------------------------------


def test_a_policy_opens_what_the_yaml_does_not_name_and_never_what_it_denies(house: SidClaws) -> None:
    made = policy(house, "allow", operation="pay")
    answer = house.evaluate("pay", target_integration="shop").json()
    assert (answer["decision"], answer["policy_rule_id"]) == ("allow", made["id"])
    assert house.evaluate("pay", target_integration="bank").json()["decision"] == "deny"
    house.ask("DELETE", f"/policies/{made['id']}", token=SECRET)
    assert house.evaluate("pay", target_integration="shop").json()["decision"] == "deny"


def test_a_policy_makes_what_the_yaml_allows_stricter(house: SidClaws) -> None:
    made = policy(house, "approval_required", target_integration="crm", max_session_ttl=60)
    answer = house.evaluate("read_contact", target_integration="crm").json()
    house.ask("DELETE", f"/policies/{made['id']}", token=SECRET)
    assert answer["decision"] == "approval_required"
    shown = house.ask("GET", f"/approvals/{answer['approval_request_id']}", token=house.deciding).json()
    assert shown["flag_reason"] == "because it is so"
    request = house.gateway.run(house.gateway.gate.request(shown["id"].replace("-", "")))
    assert request.expires_at - request.created_at == 60_000


def test_the_first_match_by_priority_decides(house: SidClaws) -> None:
    low = policy(house, "deny", target_integration="shop", priority=1)
    high = policy(house, "allow", target_integration="shop", operation="look", priority=2)
    narrow = policy(
        house, "approval_required", target_integration="shop", data_classification="internal", priority=3
    )
    scoped = policy(house, "allow", target_integration="shop", resource_scope="one", priority=4)
    conditional = policy(
        house, "deny", target_integration="shop", conditions={"context.amount": {"$gt": 100}}, priority=5
    )
    try:
        for expected, asked in (
            ("deny", {"operation": "buy"}),
            ("allow", {"operation": "look"}),
            ("approval_required", {"operation": "look", "data_classification": "public"}),
            ("allow", {"operation": "buy", "resource_scope": "one"}),
            ("deny", {"operation": "look", "context": {"amount": 101}}),
            ("deny", {"operation": "look", "context": {"amount": "many"}}),
        ):
            answer = house.evaluate(**{"target_integration": "shop", **asked}).json()
            assert answer["decision"] == expected, asked
    finally:
        for one in (low, high, narrow, scoped, conditional):
            house.ask("DELETE", f"/policies/{one['id']}", token=SECRET)


def test_policies_are_kept_changed_tried_and_ended_with_their_versions(house: SidClaws) -> None:
    made = policy(house, "allow", operation="try", target_integration="lab", modified_by="me")
    path = f"/policies/{made['id']}"
    assert made["policy_version"] == 1
    assert made["priority"] == 100
    changed = house.ask("PATCH", path, {"policy_effect": "deny"}, token=SECRET).json()
    assert (changed["policy_version"], changed["policy_effect"], changed["operation"]) == (2, "deny", "try")
    versions = house.ask("GET", f"{path}/versions", token=SECRET).json()["data"]
    assert [one["policy_effect"] for one in versions] == ["deny", "allow"]
    wanted = {
        "agent_id": "mailer",
        "operation": "try",
        "target_integration": "lab",
        "resource_scope": "x",
        "data_classification": "public",
    }
    tried = house.ask("POST", "/policies/test", wanted, token=SECRET).json()
    assert tried == {
        "effect": "deny",
        "rule_id": made["id"],
        "rationale": "because it is so",
        "policy_version": 2,
    }
    assert house.ask("DELETE", path, token=SECRET).json()["is_active"] is False
    assert house.ask("POST", "/policies/test", wanted, token=SECRET).json()["rule_id"] is None
    assert house.ask("GET", path, token=SECRET).json()["is_active"] is False
    listed = house.ask("GET", "/policies", token=SECRET).json()
    assert made["id"] not in {one["id"] for one in listed["data"]}
    ended = house.ask("GET", "/policies?is_active=false", token=SECRET).json()
    assert made["id"] in {one["id"] for one in ended["data"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rationale": "too short"},
        {"rationale": "x" * 1001},
        {"policy_effect": "maybe"},
        {"priority": -1},
        {"max_session_ttl": 0},
        {"conditions": {"a": {"$near": 1}}},
        {"policy_name": ""},
    ],
)
def test_a_policy_that_makes_no_sense_is_400(house: SidClaws, wrong: dict[str, Any]) -> None:
    body = {"policy_name": "p", "policy_effect": "allow", "rationale": "because it is so", **wrong}
    assert house.ask("POST", "/policies", body, token=SECRET).status == 400


# -- what came of it --------------------------------------------------------------------------------------


def test_an_outcome_is_told_once_and_the_same_again_is_no_error(house: SidClaws) -> None:
    trace = house.evaluate("read_contact", target_integration="crm").json()["trace_id"]
    told = {
        "status": "error",
        "metadata": {"password": "hunter2"},
        "outcome_summary": "it broke",
        "error_classification": "timeout",
        "exit_code": 3,
        "tokens_in": 5,
        "tokens_out": 6,
        "tokens_cache_read": 1,
        "model": "m",
        "cost_estimate": 0.5,
    }
    first = house.ask("POST", f"/traces/{trace}/outcome", told)
    assert (first.status, first.body) == (204, b"")
    assert house.ask("POST", f"/traces/{trace}/outcome", told).status == 204
    other = house.ask("POST", f"/traces/{trace}/outcome", {"status": "success"})
    assert (other.status, other.json()["error"]) == (409, "conflict")
    later = {"tokens_out": 60, "outcome_summary": "it broke twice"}
    assert house.ask("PATCH", f"/traces/{trace}/telemetry", later).status == 204
    shown = house.ask("GET", f"/traces/{trace}").json()
    assert shown["final_outcome"] == "executed"
    assert shown["outcome_status"] == "error"
    assert (shown["tokens_in"], shown["tokens_out"], shown["cost_estimate"]) == (5, 60, 0.5)
    assert (shown["outcome_summary"], shown["error_classification"]) == ("it broke twice", "timeout")
    assert "hunter2" not in json.dumps(shown)
    events = house.gateway.get("/audit?view=events&limit=1000").body
    assert b"hunter2" not in events
    assert b"call.telemetry" in events


@pytest.mark.parametrize(
    "wrong",
    [{}, {"status": "fine"}, {"status": "success", "exit_code": "0"}, {"status": "success", "tokens_in": -1}],
)
def test_an_outcome_that_makes_no_sense_is_400(house: SidClaws, wrong: dict[str, Any]) -> None:
    trace = house.evaluate("read_contact", target_integration="crm").json()["trace_id"]
    assert house.ask("POST", f"/traces/{trace}/outcome", wrong).status == 400


def test_only_whoever_asked_tells_how_it_came_out(house: SidClaws) -> None:
    trace = house.evaluate("read_contact", target_integration="crm").json()["trace_id"]
    stranger = house.key("teller", ASKING).text
    for token in (stranger, SECRET):
        assert house.ask("POST", f"/traces/{trace}/outcome", {"status": "success"}, token=token).status == 404


def test_what_ran_without_leave_stands_in_the_chain_as_that(house: SidClaws) -> None:
    trace = house.waiting()
    assert house.ask("POST", f"/traces/{trace}/outcome", {"status": "success"}).status == 204
    events = house.gateway.get("/audit?view=events&limit=1000").json()
    (told,) = [
        one
        for one in events
        if one["request_id"] == trace.replace("-", "") and one["kind"] == "call.completed"
    ]
    assert json.loads(told["body"])["details"]["ungoverned"] is True
    assert house.ask("GET", f"/traces/{trace}").json()["final_outcome"] == "in_progress"


def test_traces_are_listed_filtered_verified_and_exported(tmp_path: Path) -> None:
    with open_sidclaw(tmp_path) as house:
        house.evaluate("read_contact", target_integration="crm", resource_scope="=cmd()")
        house.evaluate("pay", target_integration="bank")
        asked = house.waiting()
        listed = house.ask("GET", "/traces").json()
        assert [one["final_outcome"] for one in listed["data"]] == ["in_progress", "blocked", "in_progress"]
        assert listed["pagination"] == {"total": 3, "limit": 20, "offset": 0}
        blocked = house.ask("GET", "/traces?outcome=blocked&agent_id=mailer").json()
        assert [one["operation"] for one in blocked["data"]] == ["pay"]
        reading = house.key("auditor", frozenset({Scope.TRACES_READ})).text
        assert house.ask("GET", "/traces", token=reading).json()["pagination"]["total"] == 3
        verified = house.ask("GET", f"/traces/{asked}/verify", token=reading).json()
        assert verified.items() >= {"valid": True, "verified": True, "broken_at": None}.items()
        assert verified["event_count"] == verified["verified_events"] > 0
        text = house.ask("GET", "/traces/export?format=csv", token=reading).body.decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["operation"] for row in rows] == ["send_email", "pay", "read_contact"]
        assert rows[2]["resource_scope"] == "'=cmd()", "a spreadsheet would run it"
        whole = house.ask("GET", "/traces/export", token=reading).json()
        assert len(whole["data"]) == 3
        assert house.ask("GET", "/traces/export?format=xml", token=reading).status == 400
        assert house.ask("GET", "/traces?outcome=odd", token=reading).status == 400
