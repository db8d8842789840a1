"""`/admin/audit`: the one chain in this API's words, and proof packs, over a real gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.model import Outcome, Proceed
from airlock.proof.check import check
from airlock.signing import Signer
from airlock.web.compat.firewall.happened import NAMES
from tests.support.firewalls import Firewall, open_firewall
from tests.support.gates import call

BOUND = 60


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Firewall, dict[str, str], Path]]:
    """A gateway with a history: of this face an allowed, a denied and two asked actions, of MCP one call."""
    folder = tmp_path_factory.mktemp("history")
    with open_firewall(folder) as wall:
        wall.key("auditor", frozenset({Scope.AUDIT_READ}))
        ids = {"allowed": wall.submit("read", tool="database", by="bound")["id"]}
        ids["denied"] = wall.submit("drop", tool="database", by="bound")["id"]
        asked = wall.submit("wire", tool="bank", params={"to": "eve", "password": "hunter22"})
        refused = wall.submit("send")
        for by in ("boss", "second"):
            assert wall.decide(asked, by=by).status == 200
        assert wall.decide(refused, "deny").status == 200
        wall.get(asked["id"])
        ids |= {"asked": asked["id"], "refused": refused["id"]}
        gate = wall.gateway.gate
        verdict = wall.gateway.run(gate.submit(call("demo/echo", text="over MCP")))
        assert isinstance(verdict, Proceed)
        wall.gateway.run(gate.complete(verdict, Outcome.ERROR, error="broke"))
        ids["mcp"] = verdict.call.id
        yield wall, ids, folder


def events(wall: Firewall, query: str = "", *, by: str = "auditor") -> list[dict[str, Any]]:
    answer = wall.ask("GET", f"/admin/audit?limit=500{query}", by=by)
    assert answer.status == 200, answer.body
    return list(answer.json()["data"])


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["event_type"] for row in reversed(rows)]


def test_history_is_the_chain_of_every_road(lived: tuple[Firewall, dict[str, str], Path]) -> None:
    wall, ids, _ = lived
    rows = events(wall)
    chain = wall.gateway.run(wall.gateway.gate.store.events())
    assert [row["hash"] for row in reversed(rows)] == [f"sha256:{event.hash}" for event in chain]
    assert [row["prev_hash"] for row in rows[:-1]] == [row["hash"] for row in rows[1:]]
    (of_mcp, _) = [row for row in rows if row["action_id"] == f"act_{ids['mcp']}"]
    assert (of_mcp["event_type"], of_mcp["data"]["outcome"]) == ("execution.failed", "error")
    (made,) = [row for row in rows if row["action_id"] == ids["allowed"]]
    assert made["event_type"] == "decision.made"
    assert (made["agent_id"], made["data"]["tool"]) == ("crm-agent", "firewall/database/read")
    assert names([row for row in rows if row["action_id"] == ids["asked"]]) == [
        "approval.requested", "approval.voted", "approval.approved", "execution.started",
    ]  # fmt: skip
    assert "hunter22" not in json.dumps(rows)
    assert {row["action_id"] for row in rows if row["event_type"] == "key.created"} == {None}


def test_history_is_filtered_and_paged(lived: tuple[Firewall, dict[str, str], Path]) -> None:
    wall, ids, _ = lived
    everything = events(wall)
    around = events(wall, f"&action_id={ids['asked']}")
    assert {row["action_id"] for row in around} == {ids["asked"]}
    assert around == events(wall, f"&action_id={ids['asked'].replace('act_', 'apr_')}")
    assert len(events(wall, f"&action_id={ids['mcp']}")) == 2
    assert {row["agent_id"] for row in events(wall, "&agent_id=crm-agent")} == {"crm-agent"}
    assert {row["action_id"] for row in events(wall, "&risk_level=high")} == {ids["asked"]}
    assert events(wall, "&risk_level=critical") == events(wall, "&risk_level=high")
    assert ids["asked"] not in {row["action_id"] for row in events(wall, "&risk_level=low")}
    assert ids["mcp"] in {
        str(row["action_id"]).removeprefix("act_") for row in events(wall, "&risk_level=low")
    }
    day = everything[0]["created_at"][:10]
    assert events(wall, f"&start_date={everything[-1]['created_at']}&end_date={day}") == everything
    assert events(wall, "&end_date=2001-01-01") == events(wall, "&start_date=2999-12-31") == []
    page = wall.ask("GET", "/admin/audit?limit=2&offset=1", by="auditor").json()
    assert page["data"] == everything[1:3]
    assert page["pagination"] == {"total": len(everything), "limit": 2, "offset": 1}


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("action.submitted", {"decision.made", "approval.requested"}),
        ("decision.made", {"decision.made"}),
        ("action.evaluated", {"decision.made", "approval.requested"}),
        ("approval.created", {"approval.requested"}),
        ("approval.requested", {"approval.requested"}),
        ("approval.decided", {"approval.approved", "approval.denied"}),
        ("approval.denied", {"approval.denied"}),
        ("approval.expired", set()),
        ("execution.started", {"execution.started"}),
        ("execution.completed", set()),
        ("action.executed", set()),
        ("execution.failed", {"execution.failed"}),
        ("action.failed", {"execution.failed"}),
        ("policy.updated", set()),
        ("dlp.detected", set()),
        ("key.created", {"key.created"}),
    ],
)
def test_both_sets_of_names_find_events(
    lived: tuple[Firewall, dict[str, str], Path], word: str, kinds: set[str]
) -> None:
    assert set(names(events(lived[0], f"&event_type={word}"))) == kinds


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("event_type=no-such", "`event_type`"),
        ("event_type=Decision.Made", "`event_type`"),
        ("start_date=yesterday", "`start_date`"),
        ("end_date=2024-13-01", "`end_date`"),
        ("risk_level=extreme", "`risk_level`"),
        ("limit=0", "`limit`"),
        ("limit=501", "`limit`"),
        ("offset=-1", "`offset`"),
        ("action_id=a&action_id=b", "`action_id`"),
    ],
)
def test_a_wrong_filter_is_a_validation_error(
    lived: tuple[Firewall, dict[str, str], Path], query: str, words: str
) -> None:
    answer = lived[0].ask("GET", f"/admin/audit?{query}", by="auditor")
    assert (answer.status, answer.json()["error"]) == (400, "VALIDATION_ERROR")
    assert words in answer.json()["message"]


@pytest.mark.parametrize("path", ["/admin/audit", "/admin/audit/actions/x/proof-pack"])
def test_history_is_for_people_with_the_scope(
    lived: tuple[Firewall, dict[str, str], Path], path: str
) -> None:
    wall, _, _ = lived
    everything = frozenset(Scope) - {Scope.ADMIN}
    wall.key("an agent", everything, is_agent=True, agent="crm-agent")
    wall.key("its bearer", everything, agent="crm-agent")
    statuses = {
        by: wall.ask("GET", path, by=by).status
        for by in ("nobody", "agent", "boss", "an agent", "its bearer", "auditor", "people", "admin")
    }
    open_ = 200 if path == "/admin/audit" else 404
    assert statuses == {
        "nobody": 401, "agent": 401, "an agent": 401, "boss": 403, "its bearer": 403,
        "auditor": open_, "people": open_, "admin": open_,
    }  # fmt: skip


def pack_of(wall: Firewall, reference: str) -> dict[str, Any]:
    answer = wall.ask("GET", f"/admin/audit/actions/{reference}/proof-pack", by="auditor")
    assert answer.status == 200, answer.body
    return dict(answer.json())


def test_any_call_of_any_road_has_a_proof_pack(lived: tuple[Firewall, dict[str, str], Path]) -> None:
    wall, ids, _ = lived
    results = {what: pack_of(wall, reference)["outcome"] for what, reference in ids.items()}
    assert {what: outcome and outcome["result"] for what, outcome in results.items()} == {
        "allowed": None, "denied": "denied", "asked": None, "refused": "denied", "mcp": "error",
    }  # fmt: skip
    pack = pack_of(wall, ids["asked"])
    assert [(one["what"], one["from"]) for one in pack["approvals"]] == [
        ("voted", "firewall"),
        ("approved", "firewall"),
    ]
    assert pack["made_by"].startswith("key:")
    assert "hunter22" not in json.dumps(pack)
    for nothing in ("act_nothing", "%27%20OR%201=1", "act_"):
        answer = wall.ask("GET", f"/admin/audit/actions/{nothing}/proof-pack", by="auditor")
        assert (answer.status, answer.json()["error"]) == (404, "NOT_FOUND")


def test_a_shell_line_of_a_hook_has_one_with_its_parts(lived: tuple[Firewall, dict[str, str], Path]) -> None:
    wall, _, _ = lived
    asked = {
        "hook_event_name": "PreToolUse", "session_id": "s", "cwd": "/", "tool_use_id": "t",
        "tool_name": "Bash", "tool_input": {"command": "ls && rm -rf x"},
    }  # fmt: skip
    assert wall.gateway.post("/hook?agent=claude-code", asked).status == 200
    row = wall.gateway.get("/audit?limit=1").json()[0]
    action = pack_of(wall, row["id"])["action"]
    assert (action["parts"], action["road"]) == (["bash/ls", "bash/rm"], "hook")


def test_a_proof_pack_is_checked_by_the_command_without_the_gateway(
    lived: tuple[Firewall, dict[str, str], Path], tmp_path: Path
) -> None:
    wall, ids, _ = lived
    file = tmp_path / "pack.json"
    pack = pack_of(wall, ids["asked"])
    file.write_text(json.dumps(pack))
    env = {**os.environ, "AIRLOCK_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    public = Signer.of(bytes.fromhex(wall.gateway.gate.vouch("proof ed25519"))).public.hex()

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airlock", "audit", "verify", str(file), "--key", public],
            capture_output=True, text=True, timeout=BOUND, check=False, env=env, cwd=tmp_path,
        )  # fmt: skip

    done = verify()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the pack holds"), done.stderr
    pack["decisions"][0]["effect"] = "allow"
    file.write_text(json.dumps(pack))
    done = verify()
    assert done.returncode == 8
    assert "does not hold: signature, decisions" in done.stderr


def test_the_stored_policies_that_were_consulted_are_in_the_pack(tmp_path: Path) -> None:
    with open_firewall(tmp_path) as wall:
        body = {"name": "pii", "type": "pii_detection", "provider": "local", "threshold": 0.2}
        made = wall.ask("POST", "/admin/nlp-policies", body, by="admin")
        assert made.status == 201, made.body
        denied = wall.submit("send", params={"text": "card 4111 1111 1111 1111 of jane@example.org"})
        assert denied["status"] == "denied", denied
        wall.key("auditor", frozenset({Scope.AUDIT_READ}))
        pack = pack_of(wall, denied["id"])
        changed = wall.ask(
            "PATCH", f"/admin/nlp-policies/{made.json()['id']}", {"threshold": 0.9}, by="admin"
        )
        assert changed.status == 200
        assert pack_of(wall, denied["id"])["consulted"] == pack["consulted"]
        (one,) = pack["consulted"]
        assert one["name"] == f"nlp:{made.json()['id']}"
        assert json.loads(one["text"])["threshold"] == 0.2
        public = Signer.of(bytes.fromhex(wall.gateway.gate.vouch("proof ed25519"))).public.hex()
        assert check(pack, [public]).sound
        assert set(names(events(wall, "&event_type=policy.updated"))) == {
            "nlp_policy.created", "nlp_policy.updated",
        }  # fmt: skip


REGO = "package firewall\n\ndefault allow = false\n\nallow { input.action.params.amount < 100 }\n"


def test_a_rego_policy_is_in_the_pack_as_it_was_when_it_decided(tmp_path: Path) -> None:
    with open_firewall(tmp_path) as wall:
        wall.key("auditor", frozenset({Scope.AUDIT_READ}))
        body = {"name": "limit", "content": REGO, "priority": 1}
        made = wall.ask("POST", "/admin/policies", body, by="admin")
        assert made.status == 201, made.body
        action = wall.submit("pay", tool="shop", params={"amount": 500})
        assert action["status"] == "denied"
        changed = {"content": REGO.replace("100", "1000")}
        assert wall.ask("PATCH", f"/admin/policies/{made.json()['id']}", changed, by="admin").status == 200
        pack = pack_of(wall, action["id"])
        assert pack["consulted"][0]["text"] == REGO
        assert pack["decisions"][0]["rule"] == f"firewall:{made.json()['id']}"
        public = Signer.of(bytes.fromhex(wall.gateway.gate.vouch("proof ed25519"))).public.hex()
        assert check(pack, [public]).sound


def test_every_name_that_is_told_can_be_asked_for(lived: tuple[Firewall, dict[str, str], Path]) -> None:
    wall, _, _ = lived
    for name in {*NAMES, *names(events(wall))}:
        assert wall.ask("GET", f"/admin/audit?event_type={name}", by="auditor").status == 200


def test_airlocks_own_route_gives_the_same_and_to_no_agent(
    lived: tuple[Firewall, dict[str, str], Path],
) -> None:
    wall, ids, _ = lived
    row = wall.gateway.get("/audit?tool=demo/echo").json()[0]
    pack = wall.gateway.get(f"/audit/{row['id']}/proof").json()
    assert {**pack, "signature": 0, "made_at": 0, "made_by": 0, "chain": 0} == {
        **pack_of(wall, ids["mcp"]), "signature": 0, "made_at": 0, "made_by": 0, "chain": 0,
    }  # fmt: skip
    wall.key("its reader", frozenset({Scope.AUDIT_READ}), agent="crm-agent")
    path = f"/audit/{row['id']}/proof"
    statuses = {by: wall.ask("GET", path, by=by).status for by in ("nobody", "boss", "its reader", "auditor")}
    assert statuses == {"nobody": 401, "boss": 403, "its reader": 403, "auditor": 200}
    missing = wall.gateway.get("/audit/nothing/proof")
    assert (missing.status, missing.json()["error"]) == (404, "no call `nothing` is in history")
