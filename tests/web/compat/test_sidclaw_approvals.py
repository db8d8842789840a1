"""SidClaw's approval endpoints as published: every field, filter and status, and duties that are apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.model import Resolution
from tests.support.gates import call
from tests.support.gateways import SECRET
from tests.support.sidclaws import ASKING, DECIDING, POLICY, SidClaws, open_sidclaw

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidClaws]:
    with open_sidclaw(tmp_path_factory.mktemp("approvals")) as made:
        yield made


def test_a_listed_approval_has_every_published_field(house: SidClaws) -> None:
    approval = house.waiting()
    answer = house.ask("GET", "/approvals?status=pending&limit=1", token=house.deciding).json()
    (item,) = answer["data"]
    assert (
        item.items()
        >= {
            "id": approval,
            "trace_id": approval,
            "agent_id": "mailer",
            "requested_operation": "send_email",
            "target_integration": "gmail",
            "resource_scope": "external-recipients",
            "data_classification": "confidential",
            "risk_classification": "high",
            "authority_model": "self",
            "delegated_from": None,
            "policy_effect": "approval_required",
            "status": "pending",
            "decided_at": None,
            "approver_name": None,
            "decision_note": None,
        }.items()
    )
    assert UUID.match(item["id"])
    assert item["flag_reason"]
    assert list(item["context_snapshot"]) == ["n"]
    assert TIME.match(item["expires_at"])
    assert TIME.match(item["requested_at"])
    assert answer["pagination"].items() >= {"limit": 1, "offset": 0}.items()
    assert answer["pagination"]["total"] >= 1


def test_an_approval_lives_a_day_where_no_policy_says_otherwise(house: SidClaws) -> None:
    approval = house.waiting()
    request = house.gateway.run(house.gateway.gate.request(approval.replace("-", "")))
    assert request.expires_at - request.created_at == 86_400_000


def test_lists_are_filtered_and_paged(house: SidClaws) -> None:
    wanted = [house.waiting() for _ in range(3)]
    house.decide("deny", wanted[0])
    denied = house.ask("GET", "/approvals?status=denied", token=house.deciding).json()
    assert wanted[0] in {item["id"] for item in denied["data"]}
    assert {item["status"] for item in denied["data"]} == {"denied"}
    first = house.ask("GET", "/approvals?status=pending&limit=1", token=house.deciding).json()
    second = house.ask("GET", "/approvals?status=pending&limit=1&offset=1", token=house.deciding).json()
    assert [first["data"][0]["id"], second["data"][0]["id"]] == wanted[:0:-1]
    assert house.ask("GET", "/approvals?agent_id=other", token=house.deciding).json()["data"] == []
    assert house.ask("GET", "/approvals?agent_id=nobody", token=house.deciding).json()["data"] == []
    assert len(house.ask("GET", "/approvals?agent_id=mailer", token=house.deciding).json()["data"]) >= 3


@pytest.mark.parametrize(
    "query", ["status=odd", "limit=101", "limit=0", "limit=x", "offset=-1", "limit=1&limit=2"]
)
def test_a_parameter_that_makes_no_sense_is_400(house: SidClaws, query: str) -> None:
    answer = house.ask("GET", f"/approvals?{query}", token=house.deciding)
    assert answer.status == 400
    assert answer.json()["error"] == "validation_error"


def test_the_count_is_of_one_status_or_of_all(house: SidClaws) -> None:
    before = house.ask("GET", "/approvals/count?status=pending", token=house.deciding).json()["count"]
    house.waiting()
    after = house.ask("GET", "/approvals/count?status=pending", token=house.deciding).json()
    assert after == {"count": before + 1}
    every = house.ask("GET", "/approvals/count", token=house.deciding).json()["count"]
    assert every >= after["count"]


def test_the_detail_has_the_agent_and_the_trace(house: SidClaws) -> None:
    approval = house.waiting()
    shown = house.ask("GET", f"/approvals/{approval}", token=house.deciding).json()
    assert shown["agent"]["name"] == "mailer"
    assert shown["trace"]["final_outcome"] == "in_progress"
    assert re.fullmatch(r"[A-Z0-9]{6}", shown["code"])
    assert "code" not in house.ask("GET", f"/approvals/{approval}").json(), "a code is for people"


def test_the_status_has_five_fields_and_no_more(house: SidClaws) -> None:
    approval = house.waiting()
    fields = ["id", "status", "decided_at", "approver_name", "decision_note"]
    assert house.status(approval) == dict(zip(fields, [approval, "pending", None, None, None], strict=True))
    house.decide("approve", approval)
    status = house.status(approval)
    assert list(status) == fields
    assert (status["status"], status["approver_name"]) == ("approved", "Bob Smith")
    assert status["decision_note"] == "a known partner"
    assert TIME.match(status["decided_at"])


@pytest.mark.parametrize(
    ("verb", "word", "outcome", "events"),
    [
        (
            "approve",
            "approved",
            "completed_with_approval",
            ["approval_granted", "operation_allowed", "trace_closed"],
        ),
        ("deny", "denied", "denied", ["approval_denied", "operation_denied", "trace_closed"]),
    ],
)
def test_a_decision_closes_the_trace_with_its_events(
    house: SidClaws, verb: str, word: str, outcome: str, events: list[str]
) -> None:
    approval = house.waiting()
    answer = house.decide(verb, approval)
    assert answer.status == 200
    decided = answer.json()
    assert decided["status"] == word
    assert (decided["approver_name"], decided["decision_note"]) == ("Bob Smith", "a known partner")
    assert decided["decided_by"].startswith("key:")
    assert TIME.match(decided["decided_at"])
    trace = house.ask("GET", f"/traces/{decided['trace_id']}").json()
    assert trace["final_outcome"] == outcome
    assert [event["event_type"] for event in trace["events"]][-3:] == events


@pytest.mark.parametrize("body", [{}, {"approver_name": ""}, {"approver_name": "  "}, {"approver_name": 7}])
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_without_a_name_it_is_400(house: SidClaws, verb: str, body: dict[str, Any]) -> None:
    approval = house.waiting()
    answer = house.ask("POST", f"/approvals/{approval}/{verb}", body, token=house.deciding)
    assert (answer.status, answer.json()["error"]) == (400, "validation_error")
    assert house.status(approval)["status"] == "pending"


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_what_is_not_there_is_404_and_what_is_decided_409(house: SidClaws, verb: str) -> None:
    for missing in ("770e8400-e29b-41d4-a716-446655440002", "not-an-id"):
        answer = house.decide(verb, missing)
        assert (answer.status, answer.json()["error"]) == (404, "not_found")
    approval = house.waiting()
    house.decide("approve", approval)
    answer = house.decide(verb, approval)
    assert (answer.status, answer.json()["error"]) == (409, "conflict")


@pytest.mark.parametrize("path", ["", "/count", "/{id}", "/{id}/status"])
def test_nobody_reads_without_a_credential(house: SidClaws, path: str) -> None:
    answer = house.ask("GET", "/approvals" + path.replace("{id}", house.waiting()), token="wrong")
    assert (answer.status, answer.json()["error"]) == (401, "unauthorized")


def test_what_has_expired_cannot_be_decided(tmp_path: Path) -> None:
    policy = POLICY + '\nrules: [{id: short, tool: "sidclaw/gmail/hurry", effect: ask, timeout: 300ms}]'
    with open_sidclaw(tmp_path, policy) as house:
        approval = house.waiting(operation="hurry")
        house.gateway.until(lambda: house.status(approval)["status"] == "expired")
        answer = house.decide("approve", approval)
        assert (answer.status, answer.json()["error"]) == (409, "conflict")
        listed = house.ask("GET", "/approvals?status=expired", token=house.deciding).json()
        assert [item["id"] for item in listed["data"]] == [approval]
        house.gateway.run(house.gateway.gate.tidy())
        trace = house.ask("GET", f"/traces/{approval}").json()
        assert trace["final_outcome"] == "expired"
        assert [one["event_type"] for one in trace["events"]][-2:] == ["approval_expired", "trace_closed"]


# -- separation of duties ---------------------------------------------------------------------------------


def test_the_key_that_asks_cannot_decide_whatever_name_it_gives(house: SidClaws) -> None:
    both = house.key("both", ASKING | DECIDING).text
    approval = house.evaluate(token=both, context={"n": "both"}).json()["approval_request_id"]
    for verb in ("approve", "deny"):
        answer = house.decide(verb, approval, token=both, name="Somebody Else")
        assert (answer.status, answer.json()["error"]) == (403, "forbidden")
    assert house.decide("approve", approval).status == 200


def test_another_key_of_the_same_owner_cannot_approve(house: SidClaws) -> None:
    asking = house.key("a", ASKING, owner="alice").text
    deciding = house.key("b", DECIDING, owner="Alice").text
    approval = house.evaluate(token=asking, context={"n": "owner"}).json()["approval_request_id"]
    answer = house.decide("approve", approval, token=deciding)
    assert answer.status == 403
    assert "separation of duties" in answer.json()["message"]
    assert house.decide("deny", approval, token=deciding).status == 200, "a no is always safe"


def test_the_owner_of_an_agent_cannot_approve_what_it_asks(house: SidClaws) -> None:
    body = {"name": "owned", "owner_name": "Dana Owner"}
    agent = house.ask("POST", "/agents", body, token=SECRET).json()["id"]
    policy = {
        "policy_name": "owned",
        "policy_effect": "approval_required",
        "rationale": "its owner must not",
        "agent_id": agent,
    }
    house.ask("POST", "/policies", policy, token=SECRET)
    approval = house.evaluate(agent_id=agent).json()["approval_request_id"]
    assert house.decide("approve", approval, name="dana owner").status == 403
    hers = house.key("hers", DECIDING, owner="Dana Owner").text
    assert house.decide("approve", approval, token=hers, name="Bob Smith").status == 403
    assert house.decide("approve", approval).status == 200


def test_nobody_signs_with_the_name_of_another_person_of_the_config(house: SidClaws) -> None:
    answer = house.decide("approve", house.waiting(), name="Carol")
    assert answer.status == 403
    assert "another person" in answer.json()["message"]


def test_a_key_of_an_agent_and_one_that_only_asks_decide_nothing(house: SidClaws) -> None:
    approval = house.waiting()
    bound = house.key("bound", frozenset({Scope.EVALUATE}), agent="other").text
    for token in (bound, house.asking):
        answer = house.decide("approve", approval, token=token)
        assert (answer.status, answer.json()["error"]) == (403, "forbidden")


def test_whoever_asks_sees_only_what_they_asked(house: SidClaws) -> None:
    approval = house.waiting()
    stranger = house.key("stranger", ASKING).text
    bound = house.key("bound-other", frozenset({Scope.EVALUATE}), agent="other").text
    for token in (stranger, bound):
        assert house.ask("GET", "/approvals", token=token).json()["pagination"]["total"] == 0
        for path in (f"/approvals/{approval}", f"/approvals/{approval}/status", f"/traces/{approval}"):
            assert house.ask("GET", path, token=token).status == 404
    assert house.evaluate(token=bound).status == 403, "it speaks for `other` only"
    assert house.evaluate(token=bound, agent_id="other").status == 200


# -- one queue --------------------------------------------------------------------------------------------


def test_a_request_of_this_face_waits_in_the_one_queue_and_any_road_decides_it(house: SidClaws) -> None:
    approval = house.waiting()
    own = approval.replace("-", "")
    (row,) = [row for row in house.gateway.get("/hitl/pending").json() if row["id"] == own]
    assert (row["agent_id"], row["tool"], row["road"]) == ("mailer", "sidclaw/gmail/send_email", "sidclaw")
    assert row["args"]["operation"] == "send_email"
    assert house.gateway.post(f"/hitl/approve/{row['code']}", {"note": "by code"}).status == 200
    status = house.status(approval)
    assert (status["status"], status["decision_note"]) == ("approved", "by code")


def test_a_call_over_mcp_that_waits_shows_here_and_is_decided_here(house: SidClaws) -> None:
    gate = house.gateway.gate
    parked = house.gateway.later(
        lambda: house.gateway.run(gate.authorize(call("demo/write_note", "mailer", text="parked")))
    )
    item = house.gateway.until(
        lambda: next(
            (
                one
                for one in house.ask("GET", "/approvals?status=pending", token=house.deciding).json()["data"]
                if one["tool"] == "demo/write_note"
            ),
            None,
        )
    )
    assert (item["target_integration"], item["requested_operation"]) == ("demo", "write_note")
    assert item["context_snapshot"] == {"text": "parked"}
    shown = house.ask("GET", f"/approvals/{item['id']}", token=house.deciding).json()
    assert shown["trace"]["final_outcome"] == "in_progress"
    assert house.decide("approve", item["id"]).json()["status"] == "approved"
    assert type(parked.result()).__name__ == "Proceed"


def test_a_second_person_is_needed_where_the_yaml_says_so(tmp_path: Path) -> None:
    rule = '\nrules: [{id: two, tool: "sidclaw/gmail/wire", effect: ask, quorum: 2}]'
    with open_sidclaw(tmp_path, POLICY + rule) as house:
        approval = house.waiting(operation="wire")
        first = house.decide("approve", approval).json()
        assert (first["status"], first["approvals"], first["needed"]) == ("pending", 1, 2)
        assert house.decide("approve", approval).status == 409, "the same key does not count twice"
        request = approval.replace("-", "")
        house.gateway.run(house.gateway.gate.resolve(request, Resolution(approve=True, identity="local:bob")))
        assert house.status(approval)["status"] == "approved"


def test_a_key_with_the_scope_admin_decides_as_the_page_says(house: SidClaws) -> None:
    admin = house.key("admin", frozenset({Scope.ADMIN})).text
    assert house.decide("approve", house.waiting(), token=admin).json()["status"] == "approved"


def test_what_waits_survives_a_restart_with_its_id_and_its_time(tmp_path: Path) -> None:
    with open_sidclaw(tmp_path) as house:
        approval, asking = house.waiting(), house.asking
        before = house.ask("GET", f"/approvals/{approval}").json()
    with open_sidclaw(tmp_path) as house:
        assert house.ask("GET", f"/approvals/{approval}", token=asking).json() == before
        house.decide("approve", approval)
        assert house.status(approval, token=asking)["status"] == "approved"


def test_both_faces_at_once_show_one_queue_and_the_health_of_both(tmp_path: Path) -> None:
    policy = POLICY.replace("compat: [sidclaw]", "compat: [agentgate, sidclaw]")
    with open_sidclaw(tmp_path, policy) as house:
        house.gateway.run(house.gateway.gate.submit(call("demo/write_note", "mailer"), attend=False))
        here = house.ask("GET", "/approvals?status=pending", token=house.deciding).json()["data"]
        there = house.gateway.get("/api/requests").json()
        assert [one["tool"] for one in here] == ["demo/write_note"]
        assert len(there) == 1
        assert set(house.gateway.ask("GET", "/health", token=None).json()) == {"status", "timestamp"}
        missing = house.gateway.get("/api/nowhere").json()["error"]
        assert isinstance(missing, dict), "AgentGate's errors below /api/, SidClaw's below /api/v1/"
        assert house.ask("GET", "/nowhere").json()["error"] == "not_found"
