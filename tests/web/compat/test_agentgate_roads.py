"""One queue: what AgentGate's clients ask is decided on any road, and what waits elsewhere shows there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.faces import AgentGate, open_agentgate

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("roads")


@pytest.fixture(scope="module")
def gate(folder: Path) -> Iterator[AgentGate]:
    with open_agentgate(folder) as running:
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


def waiting(gate: AgentGate, identity: str) -> dict[str, Any]:
    return gate.gateway.get(f"/hitl/{identity.removeprefix('req_')}").json()  # type: ignore[no-any-return]


def test_a_request_shows_in_the_queue_with_a_code_and_its_whole_arguments(gate: AgentGate) -> None:
    made = gate.request("deploy", params={"to": "prod"}, context={"ticket": "T1"}, urgency="critical")
    (row,) = [row for row in gate.gateway.get("/hitl/pending").json() if row["tool"] == "agentgate/deploy"]
    assert row["id"] == made["id"].removeprefix("req_")
    assert len(row["code"]) == 6
    assert row["args"] == {"to": "prod", "_context": {"ticket": "T1"}}
    assert (row["agent_id"], row["road"], row["client"], row["risk"]) == (
        "agentgate",
        "agentgate",
        "agent",
        "high",
    )
    assert row["code"] not in json.dumps(made), "a code is for people"


def test_another_process_lists_and_approves_it_and_the_client_sees_that(
    gate: AgentGate, folder: Path
) -> None:
    made = gate.request("from_elsewhere")
    code, out = airlock(folder, "pending", "--json")
    assert code == 0
    (row,) = [row for row in json.loads(out) if row["tool"] == "agentgate/from_elsewhere"]
    assert airlock(folder, "approve", row["code"], "--note", "go on")[0] == 0
    seen = gate.get(made["id"])
    assert (seen["status"], seen["decisionReason"]) == ("approved", "go on")
    assert seen["decidedBy"]
    assert waiting(gate, made["id"])["status"] == "used", "who asked has come for it"


def test_another_process_denies_it(gate: AgentGate, folder: Path) -> None:
    made = gate.request("denied_elsewhere")
    assert airlock(folder, "deny", waiting(gate, made["id"])["code"], "--reason", "no way")[0] == 0
    seen = gate.get(made["id"])
    assert (seen["status"], seen["decisionReason"]) == ("denied", "no way")


def test_the_rest_road_decides_it(gate: AgentGate) -> None:
    made = gate.request("over_rest")
    code = waiting(gate, made["id"])["code"]
    assert gate.gateway.post(f"/hitl/approve/{code}").status == 200
    assert gate.get(made["id"])["status"] == "approved"


def test_only_whoever_asked_spends_the_approval(gate: AgentGate) -> None:
    made = gate.request("looked_at")
    gate.decide(made["id"])
    for by in ("other", "boss", "admin", "secret"):
        assert gate.get(made["id"], by=by)["status"] == "approved"
    assert waiting(gate, made["id"])["status"] == "approved"
    gate.ask("GET", "/api/requests")
    assert waiting(gate, made["id"])["status"] == "approved", "a list gives nothing out"
    gate.get(made["id"])
    assert waiting(gate, made["id"])["status"] == "used"
    assert gate.get(made["id"], by="boss")["status"] == "approved"


def test_an_approval_that_was_taken_back_is_denied(gate: AgentGate, folder: Path) -> None:
    made = gate.request("taken_back")
    gate.decide(made["id"])
    assert airlock(folder, "undo", waiting(gate, made["id"])["code"])[0] == 0
    assert gate.get(made["id"])["status"] == "denied"


def test_a_parked_call_of_another_road_shows_here_and_is_decided_here(gate: AgentGate) -> None:
    hook = {"client": "ci", "agent": "claude-code", "tool": "demo/write_note", "input": {"text": "hi"}}
    parked = gate.gateway.later(lambda: gate.gateway.post("/hook", hook))
    rows = gate.gateway.until(
        lambda: gate.ask("GET", "/api/requests?action=demo/write_note&status=pending").json()
    )
    (row,) = rows
    assert (row["agentId"], row["params"], row["urgency"]) == ("claude-code", {"text": "hi"}, "normal")
    assert gate.ask("GET", f"/api/requests/{row['id']}").status == 200
    assert gate.ask("POST", f"/api/requests/{row['id']}/confirm", {}, by="admin").status == 409
    assert gate.decide(row["id"], reason="fine").json()["status"] == "approved"
    answer = parked.result()
    assert answer.json()["decision"] == "allow"
    events = gate.ask("GET", f"/api/requests/{row['id']}/audit").json()
    assert [one["event"] for one in events][:2] == ["created", "approved"]


def test_a_parked_call_is_refused_by_a_denial_here(gate: AgentGate) -> None:
    hook = {"client": "ci", "agent": "claude-code", "tool": "demo/write_note", "input": {"text": "bad"}}
    parked = gate.gateway.later(lambda: gate.gateway.post("/hook", hook))
    (row,) = gate.gateway.until(
        lambda: gate.ask("GET", "/api/requests?action=demo/write_note&status=pending").json()
    )
    gate.decide(row["id"], "denied", reason="never")
    assert parked.result().json()["decision"] == "deny"


def test_looking_at_a_call_of_another_road_spends_nothing(gate: AgentGate) -> None:
    from tests.support.gates import call

    verdict = gate.gateway.run(gate.gateway.gate.submit(call("demo/write_note", text="x"), attend=False))
    identity = verdict.request.id  # type: ignore[union-attr]
    gate.decide(identity)
    for by in ("agent", "boss", "secret"):
        assert gate.get(identity, by=by)["status"] == "approved"
    assert waiting(gate, identity)["status"] == "approved"


def test_it_is_all_in_one_chain_and_the_chain_holds(gate: AgentGate, folder: Path) -> None:
    made = gate.request("chained")
    gate.decide(made["id"])
    gate.ask("POST", f"/api/requests/{made['id']}/confirm", {"result": {"success": False}})
    entry = gate.gateway.get("/audit?tool=agentgate/chained").json()[0]
    assert (entry["agent_id"], entry["hitl_outcome"], entry["result"]) == ("agentgate", "approved", "error")
    assert airlock(folder, "audit", "verify")[0] == 0


def test_the_keys_are_airlocks_own(gate: AgentGate, folder: Path) -> None:
    code, out = airlock(folder, "keys", "list", "--json")
    assert code == 0
    (row,) = [row for row in json.loads(out) if row["name"] == "agent"]
    assert (row["face"], row["scopes"]) == ("agentgate", ["request:create", "request:read"])
    scopes = ("--scope", "request:create", "--scope", "request:read")
    code, out = airlock(folder, "keys", "create", "--name", "ci", "--for", "agentgate", *scopes)
    assert code == 0
    key = out.strip()
    assert key.startswith("agk_")
    assert gate.gateway.get("/api/requests", token=key).status == 200
    made = gate.ask("GET", "/api/keys", by="admin").json()
    assert [row["name"] for row in made].count("ci") == 1


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    with open_agentgate(tmp_path) as first:
        made = first.request("durable", params={"token": "secret-one", "n": 1})
        key, boss = first.keys["agent"], first.keys["boss"]
    with open_agentgate(tmp_path) as second:
        path = f"/api/requests/{made['id']}"
        assert second.gateway.get(path, token=key).json()["status"] == "pending"
        decided = second.gateway.post(f"{path}/decide", {"decision": "approved"}, token=boss)
        assert decided.json()["decidedBy"] == "boss"
        assert second.gateway.get(path, token=key).json()["status"] == "approved"
        assert second.gateway.post(f"{path}/confirm", {}, token=key).status == 200
