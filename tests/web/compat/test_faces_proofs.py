"""A proof pack of a request of any face holds, and shows the stored policy that had a say, as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airlock.proof.check import check
from airlock.proof.pack import prove, signer
from tests.support.faces import open_agentgate
from tests.support.gateways import SECRET, Gateway
from tests.support.harps import RELAY, later, open_harp
from tests.support.sidclaws import open_sidclaw


def proved(gateway: Gateway, tool: str) -> dict[str, Any]:
    """The pack of the newest call of this tool; it holds."""
    (row, *_) = gateway.get(f"/audit?tool={tool}", token=SECRET).json()
    gate, store = gateway.gate, gateway.gate.store
    key = signer(gate)
    pack = gateway.run(prove(store, store, key, row["id"], by="test", now=1))  # type: ignore[arg-type]
    report = check(pack, [key.public.hex()])
    assert report.sound, report.findings
    return pack


def test_a_rule_of_agentgate_is_in_the_pack_without_the_secret_that_it_compares(tmp_path: Path) -> None:
    with open_agentgate(tmp_path) as gate:
        rule = {"match": {"params.token": "hush-hush", "params.n": 1}, "decision": "auto_deny"}
        body = {"name": "tokens", "priority": 1, "enabled": True, "rules": [rule]}
        assert gate.ask("POST", "/api/policies", body, by="admin").status == 201
        assert gate.request("send", params={"token": "hush-hush", "n": 1})["status"] == "denied"
        pack = proved(gate.gateway, "agentgate/send")
        (shown,) = pack["consulted"]
        said = json.loads(shown["text"])
        assert (said["name"], said["rule"]["match"]["params.n"]) == ("tokens", 1)
        assert "hush-hush" not in json.dumps(pack)


def test_a_policy_of_sidclaw_is_in_the_pack(tmp_path: Path) -> None:
    with open_sidclaw(tmp_path) as house:
        body = {
            "policy_name": "no mail", "policy_effect": "deny", "rationale": "nothing leaves the house",
            "target_integration": "gmail", "operation": "send_email", "priority": 9,
        }  # fmt: skip
        assert house.ask("POST", "/policies", body, token=SECRET).status == 201
        assert house.evaluate().json()["decision"] == "deny"
        (shown,) = proved(house.gateway, "sidclaw/gmail/send_email")["consulted"]
        assert json.loads(shown["text"])["rationale"] == "nothing leaves the house"


def test_a_do_not_disturb_of_harp_is_in_the_pack(tmp_path: Path) -> None:
    with open_harp(tmp_path, RELAY) as harp:
        wanted = {"policyMode": "deny_all", "expiresAt": later(minutes=5), "workspaceId": "night"}
        assert harp.gateway.post("/v1/policy/dnd", wanted).status == 201
        request = harp.submit(metadata={"workspaceName": "night"})
        assert harp.wait(request).json()["body"]["decision"] == "reject"
        (shown,) = proved(harp.gateway, "harp/command.review")["consulted"]
        assert json.loads(shown["text"])["mode"] == "deny_all"
