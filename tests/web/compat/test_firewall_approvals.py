"""`/v1/approvals` of the Agent Action Firewall, and the one queue behind it: in both directions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.firewalls import Firewall, open_firewall
from tests.support.gates import call

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approvals")


@pytest.fixture(scope="module")
def wall(folder: Path) -> Iterator[Firewall]:
    with open_firewall(folder, compat="[firewall, agentgate, sidclaw]") as running:
        yield running


def airlock(folder: Path, *words: str) -> tuple[int, str]:
    """A command in a process of its own, on the gateway's database."""
    done = subprocess.run(
        [sys.executable, "-m", "airlock", "--config", str(folder / "airlock.yaml"), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state")},
    )
    return done.returncode, done.stdout


def waiting(wall: Firewall, action: dict[str, Any]) -> dict[str, Any]:
    return wall.gateway.get(f"/hitl/{action['id'].removeprefix('act_')}").json()  # type: ignore[no-any-return]


def approval(wall: Firewall, identity: str, *, by: str = "boss") -> dict[str, Any]:
    answer = wall.ask("GET", f"/v1/approvals/{identity}", by=by)
    assert answer.status == 200, answer.body
    return dict(answer.json())


def listed(
    wall: Firewall, query: str = "status=pending&limit=100", *, by: str = "boss"
) -> list[dict[str, Any]]:
    answer = wall.ask("GET", f"/v1/approvals?{query}", by=by)
    assert answer.status == 200, answer.body
    return list(answer.json()["data"])


def test_a_waiting_approval_has_every_field(wall: Firewall) -> None:
    action = wall.submit("wire", tool="bank", params={"amount": 7, "api_key": "hidden-from-all"})
    (row,) = [one for one in listed(wall) if one["action_id"] == action["id"]]
    assert row["id"] == action["approval"]["id"]
    assert (row["status"], row["agent_id"]) == ("pending", "firewall")
    assert (row["action"]["tool"], row["action"]["operation"]) == ("bank", "wire")
    assert row["action"]["params"]["amount"] == 7
    assert "hidden-from-all" not in json.dumps(row)
    assert row["decision"] == action["decision"]
    assert (row["decision"]["risk_level"], row["decision"]["policy_id"]) == ("high", "two")
    assert (row["approvals"], row["required_approvers"]) == (0, 2)
    assert row["expires_at"] > row["created_at"]
    assert row["code"] == waiting(wall, action)["code"]
    detail = approval(wall, row["id"])
    assert detail["assignees"] == []
    assert [one["event_type"] for one in detail["history"]] == ["approval.requested"]
    assert detail["history"][0]["hash"].startswith("sha256:")


def test_an_approval_says_by_whom_when_and_why(wall: Firewall) -> None:
    action = wall.submit()
    answer = wall.decide(action).json()
    assert (answer["id"], answer["action_id"]) == (action["approval"]["id"], action["id"])
    assert (answer["status"], answer["comment"]) == ("approved", "go on")
    assert answer["approved_by"]["name"] == "boss"
    assert answer["approved_by"]["email"] is None
    assert answer["approved_at"]
    wall.get(action["id"])
    history = approval(wall, answer["id"])["history"]
    assert [one["event_type"] for one in history] == [
        "approval.requested",
        "approval.approved",
        "execution.started",
    ]
    assert (history[1]["actor"], history[1]["comment"]) == ("boss", "go on")


def test_a_denial_needs_its_reason(wall: Firewall) -> None:
    action = wall.submit()
    path = f"/v1/approvals/{action['approval']['id']}/deny"
    for body in ({}, {"reason": ""}, {"reason": " "}, {"reason": None}, {"reason": 7}):
        answer = wall.ask("POST", path, body, by="boss")
        assert (answer.status, answer.json()["details"]["field"]) == (400, "reason")
    assert wall.get(action["id"])["status"] == "pending_approval"
    answer = wall.ask("POST", path, {"reason": "not here"}, by="boss").json()
    assert (answer["status"], answer["reason"], answer["denied_by"]["name"]) == ("denied", "not here", "boss")
    assert answer["denied_at"]


def test_a_comment_may_be_left_out(wall: Firewall) -> None:
    for body in (None, {}, {"comment": None}):
        action = wall.submit()
        path = f"/v1/approvals/{action['approval']['id']}/approve"
        answer = wall.ask("POST", path, body, by="boss")
        assert (answer.status, answer.json()["comment"]) == (200, None)


def test_a_second_decision_is_a_conflict(wall: Firewall) -> None:
    action = wall.submit()
    wall.decide(action)
    for verb in ("approve", "deny"):
        answer = wall.decide(action, verb, by="second")
        assert (answer.status, answer.json()["error"]) == (409, "CONFLICT")
    assert wall.get(action["id"])["status"] == "allowed"


def test_what_has_expired_cannot_be_decided(wall: Firewall) -> None:
    action = wall.submit("quick")
    wall.clock.forward(6_000)
    assert wall.decide(action).status == 409
    assert approval(wall, action["approval"]["id"])["status"] == "expired"


def test_what_was_decided_at_once_has_no_approval(wall: Firewall) -> None:
    action = wall.submit("read", tool="database", by="bound")
    own = action["id"].removeprefix("act_")
    assert wall.ask("GET", f"/v1/approvals/apr_{own}", by="boss").status == 404
    assert wall.ask("POST", f"/v1/approvals/apr_{own}/approve", {}, by="boss").status == 404


def test_two_people_are_needed_where_a_rule_says_so(wall: Firewall) -> None:
    action = wall.submit("wire", tool="bank")
    first = wall.decide(action).json()
    assert (first["status"], first["approvals"], first["required_approvers"]) == ("pending", 1, 2)
    assert "approved_by" not in first
    assert wall.decide(action).status == 409, "the same person again"
    assert wall.get(action["id"])["status"] == "pending_approval"
    assert wall.decide(action, by="second").json()["status"] == "approved"
    assert wall.get(action["id"])["status"] == "allowed"


def test_who_asks_cannot_decide_whatever_the_key_may(wall: Firewall) -> None:
    action = wall.submit(by="both")
    path = f"/v1/approvals/{action['approval']['id']}/approve"
    sent = {"Authorization": f"Bearer {wall.keys['both']}"}
    answer = wall.ask("POST", path, {}, by="nobody", headers=sent)
    assert (answer.status, answer.json()["error"]) == (403, "FORBIDDEN")
    assert wall.get(action["id"], by="both")["status"] == "pending_approval"


def test_an_agents_key_decides_nothing(wall: Firewall) -> None:
    action = wall.submit("update", tool="database", by="bound")
    for verb in ("approve", "deny"):
        path = f"/v1/approvals/{action['approval']['id']}/{verb}"
        body = {"reason": "mine", "comment": "mine"}
        for key in ("agent", "bound", "both"):
            as_agent = wall.ask("POST", path, body, by="nobody", headers={"X-Agent-Key": wall.keys[key]})
            assert as_agent.status == 401
        for key in ("agent", "bound"):
            sent = {"Authorization": f"Bearer {wall.keys[key]}"}
            assert wall.ask("POST", path, body, by="nobody", headers=sent).status == 403
    assert wall.get(action["id"], by="bound")["status"] == "pending_approval"


def test_approvals_are_listed_filtered_and_paged(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_firewall(tmp_path_factory.mktemp("lists")) as wall:
        mails = [wall.submit()["approval"]["id"] for _ in range(3)]
        wire = wall.submit("wire", tool="bank")["approval"]["id"]
        theirs = wall.submit("update", tool="database", by="bound")["approval"]["id"]
        wall.submit("read", tool="database", by="bound")
        denied = wall.submit()
        wall.decide(denied, "deny")

        def ids(query: str) -> list[str]:
            return [row["id"] for row in listed(wall, query)]

        assert ids("status=pending") == [theirs, wire, *mails[::-1]]
        assert ids("status=denied") == [denied["approval"]["id"]]
        assert ids("risk_level=high") == [wire]
        assert ids("agent_id=crm-agent") == [theirs]
        assert ids("status=pending&limit=2&offset=1") == [wire, mails[2]]
        page = wall.ask("GET", "/v1/approvals?status=pending&limit=1", by="boss").json()
        assert page["pagination"] == {"total": 5, "limit": 1, "offset": 0}
        assert wall.ask("GET", "/v1/approvals?status=nothing", by="boss").status == 400


# -- one queue --------------------------------------------------------------------------------------------


def test_another_process_lists_and_approves_it(wall: Firewall, folder: Path) -> None:
    action = wall.submit("elsewhere")
    code, out = airlock(folder, "pending", "--json")
    assert code == 0
    (row,) = [row for row in json.loads(out) if row["tool"] == "firewall/mail/elsewhere"]
    assert airlock(folder, "approve", row["code"], "--note", "go on")[0] == 0
    found = wall.get(action["id"])
    assert (found["status"], found["approval"]["comment"]) == ("allowed", "go on")


def test_another_process_denies_it(wall: Firewall, folder: Path) -> None:
    action = wall.submit("elsewhere_no")
    assert airlock(folder, "deny", waiting(wall, action)["code"], "--reason", "no way")[0] == 0
    found = wall.get(action["id"])
    assert (found["status"], found["approval"]["reason"]) == ("denied", "no way")


def test_the_other_apis_list_and_decide_it(wall: Firewall) -> None:
    action = wall.submit("by_agentgate")
    own = action["id"].removeprefix("act_")
    rows = wall.gateway.get("/api/requests?status=pending").json()
    assert f"req_{own}" in {row["id"] for row in rows}
    decided = wall.gateway.post(f"/api/requests/req_{own}/decide", {"decision": "approved"})
    assert decided.status == 200
    assert wall.get(action["id"])["status"] == "allowed"
    action = wall.submit("by_sidclaw")
    own = action["id"].removeprefix("act_")
    body = {"approver_name": "Carol", "decision_note": "no"}
    assert wall.gateway.post(f"/api/v1/approvals/{own}/deny", body).status == 200
    assert wall.get(action["id"])["status"] == "denied"
    action = wall.submit("by_rest")
    assert wall.gateway.post(f"/hitl/approve/{waiting(wall, action)['code']}").status == 200
    assert wall.get(action["id"])["status"] == "allowed"


def test_a_request_of_another_api_is_decided_here(wall: Firewall) -> None:
    made = wall.gateway.post("/api/requests", {"action": "pay", "params": {"amount": 7}}).json()
    (row,) = [row for row in listed(wall) if row["id"] == made["id"].replace("req_", "apr_")]
    assert (row["action"]["tool"], row["action"]["operation"]) == ("agentgate", "pay")
    assert row["action"]["params"] == {"amount": 7}
    assert wall.ask("POST", f"/v1/approvals/{row['id']}/approve", {}, by="boss").status == 200
    assert wall.gateway.get(f"/api/requests/{made['id']}").json()["status"] == "approved"


@pytest.mark.parametrize(("verb", "decision"), [("approve", "allow"), ("deny", "deny")])
def test_a_hooks_call_that_waits_shows_here_and_is_decided_here(
    wall: Firewall, verb: str, decision: str
) -> None:
    hook = {"client": "ci", "agent": "claude-code", "tool": "demo/write_note", "input": {"text": verb}}
    parked = wall.gateway.later(lambda: wall.gateway.post("/hook", hook))
    (row,) = wall.gateway.until(lambda: listed(wall, "status=pending&agent_id=claude-code"))
    assert (row["action"]["tool"], row["action"]["operation"]) == ("demo", "write_note")
    assert row["action"]["params"] == {"text": verb}
    action = wall.ask("GET", f"/v1/actions/{row['action_id']}", by="admin").json()
    assert (action["status"], action["agent_id"]) == ("pending_approval", "claude-code")
    path = f"/v1/approvals/{row['id']}/{verb}"
    assert wall.ask("POST", path, {"reason": "so", "comment": "so"}, by="boss").status == 200
    assert parked.result().json()["decision"] == decision


def test_a_call_over_mcp_is_listed_decided_and_used_by_its_own_caller(wall: Firewall) -> None:
    asked = call("demo/write_note", text="mcp")
    verdict = wall.gateway.run(wall.gateway.gate.submit(asked, attend=False))
    identity = verdict.request.id  # type: ignore[union-attr]
    assert wall.ask("POST", f"/v1/approvals/apr_{identity}/approve", {}, by="boss").status == 200
    for by in ("admin", "people", "boss"):
        assert wall.ask("GET", f"/v1/approvals/apr_{identity}", by=by).json()["status"] == "approved"
    for by in ("agent", "bound"):
        assert wall.ask("GET", f"/v1/actions/act_{identity}", by=by).status == 404
    again = wall.gateway.run(wall.gateway.gate.submit(asked, attend=False))
    assert type(again).__name__ == "Proceed"


def test_a_call_that_was_withdrawn_is_cancelled(wall: Firewall) -> None:
    verdict = wall.gateway.run(wall.gateway.gate.submit(call("demo/write_note", text="gone")))
    wall.gateway.run(wall.gateway.gate.withdraw(verdict))  # type: ignore[arg-type]
    identity = verdict.request.id  # type: ignore[union-attr]
    assert wall.get(f"act_{identity}", by="admin")["status"] == "cancelled"
    assert approval(wall, f"apr_{identity}")["status"] == "expired"
    assert wall.ask("POST", f"/v1/approvals/apr_{identity}/approve", {}, by="boss").status == 409


def test_it_is_all_in_one_chain_and_the_chain_holds(wall: Firewall, folder: Path) -> None:
    action = wall.submit("chained")
    wall.decide(action)
    wall.get(action["id"])
    entry = wall.gateway.get("/audit?tool=firewall/mail/chained").json()[0]
    assert (entry["agent_id"], entry["hitl_outcome"]) == ("firewall", "approved")
    assert airlock(folder, "audit", "verify")[0] == 0


def test_keys_are_made_by_the_command_with_this_apis_prefix(wall: Firewall, folder: Path) -> None:
    scopes = ("--scope", "actions:write", "--scope", "actions:read")
    make = ("keys", "create", "--for", "firewall", "--name", "crm")
    code, out = airlock(folder, *make, "--agent", "crm-agent", *scopes)
    assert (code, out[:4]) == (0, "aaf_")
    body = {"tool": "database", "operation": "read", "params": {}}
    sent = {"X-Agent-Key": out.strip()}
    answer = wall.ask("POST", "/v1/actions", body, by="nobody", headers=sent)
    assert (answer.json()["agent_id"], answer.json()["status"]) == ("crm-agent", "allowed")
    code, out = airlock(folder, *make, "--scope", "admin:*")
    assert code == 0
    sent = {"Authorization": f"Bearer {out.strip()}"}
    assert wall.ask("GET", "/v1/approvals", by="nobody", headers=sent).status == 200


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    with open_firewall(tmp_path) as first:
        action = first.submit(params={"token": "a-secret-one", "n": 1})
        keys = first.keys
    with open_firewall(tmp_path) as second:
        second.keys = {**second.keys, "old": keys["agent"], "old-boss": keys["boss"]}
        second.agents.add("old")
        assert second.get(action["id"], by="old")["status"] == "pending_approval"
        assert second.decide(action, by="old-boss").json()["status"] == "approved"
        assert second.get(action["id"], by="old")["status"] == "allowed"
