"""Pairing with Airlock and with an approver outside, presence, and do not disturb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airlock.apikeys import Scope
from tests.support.gateways import SECRET
from tests.support.harps import (
    APPROVER,
    HASH,
    OPAQUE,
    RELAY,
    Harp,
    b64,
    derived,
    encrypted,
    later,
    open_harp,
    signing_key,
)


@pytest.fixture(scope="module")
def harp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harp]:
    with open_harp(tmp_path_factory.mktemp("approver"), APPROVER) as made:
        yield made


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harp]:
    with open_harp(tmp_path_factory.mktemp("relay"), RELAY) as made:
        yield made


# -- Airlock is the approver --------------------------------------------------------------------------


def test_a_pairing_is_a_request_in_the_queue_and_a_yes_pairs(harp: Harp) -> None:
    begun = harp.initiate()
    assert len(begun["pairingCode"]) == 6
    assert begun["deviceId"] == "laptop"
    waiting = harp.pairing(begun["pairingNonce"])
    assert (waiting["state"], waiting["routingToken"], waiting["responseJson"]) == ("Pending", None, None)
    row = harp.row(code=begun["pairingCode"])
    assert row["tool"] == "harp/pair"
    assert row["args"]["label"] == "My editor"
    harp.decide("approve", row["code"])
    done = harp.pairing(begun["pairingNonce"])
    assert done["state"] == "Completed"
    response = json.loads(done["responseJson"])
    assert set(response) == {"deviceId", "x25519PublicKey", "publicKey", "signerKeyId"}
    key = derived(harp.secret, response["x25519PublicKey"])
    metadata = {"routingToken": done["routingToken"]}
    harp.submit(ciphertext=encrypted(key, {"commandText": "after pairing"}), metadata=metadata)
    harp.row(artifact={"commandText": "after pairing"})
    assert harp.pairing(begun["pairingNonce"])["routingToken"] == done["routingToken"]
    assert harp.pairing(begun["pairingNonce"], token=SECRET)["routingToken"] is None


def test_a_no_ends_the_pairing(harp: Harp) -> None:
    begun = harp.initiate()
    harp.decide("deny", harp.row(code=begun["pairingCode"])["code"])
    done = harp.pairing(begun["pairingNonce"])
    assert (done["state"], done["routingToken"]) == ("Revoked", None)


def test_a_code_of_a_person_pairs_at_once_and_once(harp: Harp) -> None:
    made = harp.gateway.post("/v1/pairing/pre-generate", {}).json()
    assert len(made["pairingCode"]) == 9
    assert later(minutes=29) < made["expiresAt"] < later(minutes=31)
    body = {
        "pairingCode": made["pairingCode"].lower(),
        "enforcerId": "enforcer-2",
        "x25519PublicKey": b64(harp.secret.public_key().public_bytes_raw()),
    }
    done = harp.ask("POST", "/v1/pairing/claim", body).json()
    assert (done["state"], done["pairingNonce"]) == ("Completed", made["pairingNonce"])
    assert harp.pairing(done["pairingNonce"])["routingToken"] == done["routingToken"]
    assert harp.ask("POST", "/v1/pairing/claim", body).status == 404, "a code works once"


def test_an_enforcer_makes_no_codes_and_cannot_read_anothers_pairing(harp: Harp) -> None:
    for path in ("pre-generate", "complete"):
        assert harp.ask("POST", f"/v1/pairing/{path}", {}).status == 403
    assert harp.ask("GET", "/v1/pairing/resolve/ABCDEF").status == 403
    begun = harp.initiate()
    stranger = harp.key("stranger").text
    assert harp.ask("GET", f"/v1/pairing/{begun['pairingNonce']}/status", token=stranger).status == 404
    assert harp.ask("GET", "/v1/pairing/none/status").status == 404
    code = {"pairingCode": begun["pairingCode"], "enforcerId": "thief"}
    assert harp.ask("POST", "/v1/pairing/claim", code, token=stranger).status == 404, "only a person's code"


def test_revoking_ends_it_for_its_owner_only(harp: Harp) -> None:
    paired = harp.paired()
    stranger = harp.key("jealous").text
    wanted = {"routingToken": paired.token}
    assert harp.ask("POST", "/v1/pairing/revoke", wanted, token=stranger).status == 404
    answer = harp.ask("POST", "/v1/pairing/revoke", wanted)
    assert answer.json() == {"status": "revoked", "enforcerId": "enforcer-1"}
    assert harp.ask("POST", "/v1/pairing/revoke", wanted).json()["status"] == "revoked"
    assert harp.ask("POST", "/v1/pairing/revoke", {"routingToken": "hrt_x"}).status == 404


def test_codes_cannot_be_guessed(harp: Harp) -> None:
    guesser = harp.key("guesser").text
    made = harp.gateway.post("/v1/pairing/pre-generate", {}).json()
    for number in range(10):
        body = {"pairingCode": f"AAAA-22{number:02}", "enforcerId": "e"}
        assert harp.ask("POST", "/v1/pairing/claim", body, token=guesser).status == 404
    body = {"pairingCode": made["pairingCode"], "enforcerId": "e"}
    assert harp.ask("POST", "/v1/pairing/claim", body, token=guesser).status == 429
    assert harp.ask("POST", "/v1/pairing/claim", body).status == 200, "nobody else is held up"


def test_no_secret_of_a_pairing_is_in_the_database(harp: Harp) -> None:
    paired = harp.paired()
    records = harp.gateway.app.state.services.records
    from airlock.ports_faces import RecordFilter

    rows = harp.gateway.run(records.find_records(RecordFilter(face="harp", kind="pairing")))
    assert rows
    assert paired.token not in str(rows)
    assert paired.key.hex() not in str(rows)


def test_one_key_cannot_fill_the_pairings_or_the_presence(relay: Harp) -> None:
    greedy = relay.key("greedy").text
    body = {"deviceId": "d", "enforcerId": "e"}
    answers = [relay.ask("POST", "/v1/pairing/initiate", body, token=greedy) for _ in range(21)]
    assert [one.status for one in answers] == [200] * 20 + [429]
    assert answers[-1].json()["body"]["code"] == "quota_exceeded"
    relay.initiate()
    for number in range(105):
        beat = {"enforcerId": f"greedy-{number}"}
        assert relay.ask("POST", "/v1/presence/heartbeat", beat, token=greedy).status == 200
    seen = relay.ask("GET", "/v1/presence/enforcers", token=SECRET).json()["enforcers"]
    names = [one["enforcerId"] for one in seen if one["enforcerId"].startswith("greedy-")]
    assert len(names) == 100
    assert "greedy-104" in names


# -- an approver outside ------------------------------------------------------------------------------


def outside(relay: Harp) -> tuple[Any, str, str]:
    """An approver outside, paired with the enforcer: its key, its routing token and its name for it."""
    key, public = signing_key()
    begun = relay.initiate()
    seen = relay.ask("GET", f"/v1/pairing/resolve/{begun['pairingCode']}", token=relay.approver).json()
    assert (seen["enforcerId"], seen["enforcerLabel"]) == ("enforcer-1", "My editor")
    keys = {
        "pairingNonce": seen["pairingNonce"],
        "approverId": "phone-1",
        "x25519PublicKey": seen["x25519PublicKey"],
        "publicKey": public,
        "signerKeyId": "phone-key",
    }
    assert relay.ask("POST", "/v1/pairing/complete", keys, token=relay.approver).status == 200
    done = relay.pairing(begun["pairingNonce"])
    assert json.loads(done["responseJson"])["publicKey"] == public
    return key, done["routingToken"], "phone-key"


def decision(request_id: str, key: Any, name: str, nonce: str, word: str = "approve") -> dict[str, Any]:
    signature = b64(key.sign(f"{HASH}|{word}|{nonce}".encode()))
    said = {
        "artifactHash": HASH,
        "decision": word,
        "nonce": nonce,
        "signerKeyId": name,
        "signature": signature,
    }
    return {"msgType": "decision.submit", "requestId": request_id, "body": said}


def test_what_airlock_cannot_read_is_relayed_with_the_approvers_own_signature(relay: Harp) -> None:
    key, token, name = outside(relay)
    request_id = relay.submit(metadata={"routingToken": token, "requestLabel": "sealed"})
    row = relay.row(label="sealed")
    assert "artifact" not in row["args"]
    page = relay.ask("GET", "/v1/approvers/phone-1/inbox", token=relay.approver).json()["body"]
    (item,) = [one for one in page["items"] if one["requestId"] == request_id]
    assert item["ciphertext"] == OPAQUE
    assert token not in json.dumps(page)
    others = relay.ask("GET", "/v1/approvers/phone-2/inbox", token=relay.approver).json()["body"]["items"]
    assert request_id not in {one["requestId"] for one in others}
    parked = relay.gateway.later(lambda: relay.wait(request_id, 30))
    wire = decision(request_id, key, name, "n1")
    answer = relay.ask("POST", "/v1/decisions", wire, token=relay.approver)
    assert answer.json()["msgType"] == "decision.accepted"
    body = parked.result().json()["body"]
    assert {**wire["body"], "reason": None, "decisionHash": None} == body
    assert relay.ask("POST", "/v1/decisions", wire, token=relay.approver).status == 200, "no news"
    other = decision(request_id, key, name, "n2", "reject")
    answer = relay.ask("POST", "/v1/decisions", other, token=relay.approver)
    assert (answer.status, answer.json()["body"]["code"]) == (409, "AlreadyDecidedConflict")


def test_a_forged_replayed_or_misdirected_decision_is_refused(relay: Harp) -> None:
    key, token, name = outside(relay)
    metadata = {"routingToken": token}
    first, second = relay.submit(metadata=metadata), relay.submit(metadata=metadata)

    def sent(wire: dict[str, Any]) -> tuple[int, str]:
        answer = relay.ask("POST", "/v1/decisions", wire, token=relay.approver)
        return answer.status, answer.json()["body"].get("code", "")

    forged = decision(first, signing_key()[0], name, "m1")
    assert sent(forged) == (400, "HARP_ERR_SIGNATURE_INVALID")
    turned = decision(first, key, name, "m1", "reject")
    turned["body"]["decision"] = "approve"
    assert sent(turned) == (400, "HARP_ERR_SIGNATURE_INVALID")
    bare = {"requestId": first, "body": {"artifactHash": HASH, "decision": "approve"}}
    assert sent(bare) == (400, "HARP_ERR_SIGNATURE_INVALID")
    misdirected = {"requestId": first, "body": {"artifactHash": "0" * 64, "decision": "approve"}}
    assert sent(misdirected) == (400, "HARP_ERR_HASH_MISMATCH")
    assert sent(decision(first, key, name, "m2"))[0] == 200
    assert sent(decision(second, key, name, "m2")) == (409, "HARP_ERR_REPLAY")
    assert relay.state(second) == "PendingApproval"


def test_a_code_with_keys_of_an_approver_outside_pairs_at_once(relay: Harp) -> None:
    _, public = signing_key()
    keys = {"approverId": "phone-3", "publicKey": public, "signerKeyId": "k3"}
    made = relay.ask("POST", "/v1/pairing/pre-generate", keys, token=relay.approver).json()
    body = {"pairingCode": made["pairingCode"], "enforcerId": "enforcer-1"}
    done = relay.ask("POST", "/v1/pairing/claim", body).json()
    assert (done["state"], json.loads(done["responseJson"])["publicKey"]) == ("Completed", public)


def test_a_person_at_airlocks_queue_may_still_say_no(relay: Harp) -> None:
    _, token, _ = outside(relay)
    request_id = relay.submit(metadata={"routingToken": token, "requestLabel": "unwanted"})
    relay.decide("deny", relay.row(label="unwanted")["code"], "stop")
    assert relay.wait(request_id).json()["body"]["decision"] == "reject"


# -- presence -----------------------------------------------------------------------------------------


def test_a_heartbeat_makes_an_enforcer_present(harp: Harp) -> None:
    body = {"enforcerId": "enforcer-9", "workspaceName": "w", "enforcerLabel": "IDE"}
    for _ in range(2):
        assert harp.ask("POST", "/v1/presence/heartbeat", body).status == 200
    seen = harp.ask("GET", "/v1/presence/enforcers", token=SECRET).json()["enforcers"]
    assert [one["enforcerLabel"] for one in seen if one["enforcerId"] == "enforcer-9"] == ["IDE"]
    assert harp.ask("GET", "/v1/presence/enforcers/enforcer-9", token=SECRET).json()["workspaceName"] == "w"
    assert harp.ask("GET", "/v1/presence/enforcers/nobody", token=SECRET).status == 404
    assert harp.ask("GET", "/v1/presence/enforcers").status == 403
    assert harp.ask("POST", "/v1/presence/heartbeat", {}).status == 400


# -- do not disturb -----------------------------------------------------------------------------------


def dnd(harp: Harp, **more: Any) -> dict[str, Any]:
    body = {"policyMode": "approve_all", "expiresAt": later(minutes=5), **more}
    answer = harp.gateway.post("/v1/policy/dnd", body)
    assert answer.status == 201, answer.body
    return dict(answer.json())


def effective(harp: Harp, workspace: str, enforcer: str = "enforcer-1") -> list[dict[str, Any]]:
    query = f"enforcerId={enforcer}&workspaceId={workspace}"
    answer = harp.ask("GET", f"/v1/policy/dnd/effective?{query}")
    assert answer.status == 200, answer.body
    assert answer.json()["msgType"] == "dnd.policy.effective"
    return list(answer.json()["body"])


def test_a_policy_is_told_and_obeyed_until_it_is_ended(relay: Harp) -> None:
    made = dnd(relay, workspaceId="night", enforcerId="enforcer-1", targetArtifactType="plan.review")
    (told,) = effective(relay, "night")
    assert told == made
    assert (told["objectType"], told["policyMode"]) == ("airlock.dnd.workspace", "approve_all")
    assert effective(relay, "day") == []
    assert effective(relay, "night", "other") == []
    plan = {"artifactType": "plan.review", "metadata": {"workspaceName": "night"}}
    assert relay.wait(relay.submit(**plan)).json()["body"]["decision"] == "approve"
    assert relay.state(relay.submit(metadata={"workspaceName": "night"})) == "PendingApproval"
    assert relay.gateway.ask("DELETE", f"/v1/policy/dnd/{made['requestId']}").status == 200
    assert effective(relay, "night") == []
    assert relay.state(relay.submit(**plan)) == "PendingApproval"


def test_the_strictest_is_first_and_wins(harp: Harp) -> None:
    git = {"commandFamily": "git"}
    for more in (
        {},
        {"actionSelector": git},
        {"actionSelector": {**git, "argvPrefix": ["git", "push"]}, "policyMode": "deny_all"},
        {"actionSelector": {**git, "argvPrefix": ["git", "log"]}},
    ):
        dnd(harp, workspaceId="strict", targetArtifactType="task.review", **more)
    told = effective(harp, "strict")
    order = [(one["policyMode"], (one["actionSelector"] or {}).get("argvPrefix")) for one in told]
    assert order == [
        ("deny_all", ["git", "push"]),
        ("approve_all", ["git", "log"]),
        ("approve_all", None),
        ("approve_all", None),
    ]
    assert all(len(one["selectorHash"]) == 64 for one in told[:3])
    paired = harp.paired()

    def decided(text: str) -> str:
        metadata = {"routingToken": paired.token, "workspaceName": "strict"}
        sealed = encrypted(paired.key, {"commandText": text})
        request_id = harp.submit(artifactType="task.review", ciphertext=sealed, metadata=metadata)
        return str(harp.wait(request_id).json()["body"]["decision"])

    assert decided("git log") == "approve"
    assert decided("git push") == "reject"
    assert decided("git status; git push origin") == "reject", "a deny looks into the line"


@pytest.mark.parametrize(
    "text", ["git log; rm -rf /", "git log $(id)", "git log > ~/.bashrc", "git log\nid", "git 'log", "gitlog"]
)
def test_an_approved_prefix_covers_plain_words_only(harp: Harp, text: str) -> None:
    selector = {"commandFamily": "git", "argvPrefix": ["git", "log"]}
    made = dnd(harp, workspaceId="plain", targetArtifactType="patch.review", actionSelector=selector)
    paired = harp.paired()
    metadata = {"routingToken": paired.token, "workspaceName": "plain"}
    sealed = encrypted(paired.key, {"commandText": text})
    request_id = harp.submit(artifactType="patch.review", ciphertext=sealed, metadata=metadata)
    assert harp.state(request_id) == "PendingApproval"
    harp.gateway.ask("DELETE", f"/v1/policy/dnd/{made['requestId']}")


def test_where_the_config_has_a_rule_no_client_is_told_to_approve_by_itself(tmp_path: Any) -> None:
    config = APPROVER.replace("harp: {}\n", 'harp: {ask: ["harp/plan.review"]}\n', 1)
    with open_harp(tmp_path, config) as strict:
        dnd(strict, workspaceId="w")
        assert effective(strict, "w") == []
        dnd(strict, workspaceId="w", policyMode="deny_all")
        assert [one["policyMode"] for one in effective(strict, "w")] == ["deny_all"]
        dnd(strict, workspaceId="v", targetArtifactType="command.review")
        assert effective(strict, "v") == [], "a rule with conditions counts too"
        dnd(strict, workspaceId="v", targetArtifactType="task.review")
        assert len(effective(strict, "v")) == 1
        strict.gateway.run(strict.gateway.gate.pause("", "local:bob"))
        assert effective(strict, "v") == []


def test_an_enforcer_makes_no_policies_and_a_policy_has_an_end(harp: Harp) -> None:
    body = {"policyMode": "approve_all", "expiresAt": later(minutes=5)}
    assert harp.ask("POST", "/v1/policy/dnd", body).status == 403
    writer = harp.key("writer", frozenset({Scope.POLICY_WRITE})).text
    assert harp.ask("POST", "/v1/policy/dnd", {**body, "workspaceId": "x"}, token=writer).status == 201
    for change in (
        {"expiresAt": None},
        {"expiresAt": later(days=8)},
        {"expiresAt": later(days=-1)},
        {"policyMode": "allow"},
        {"actionSelector": {}},
        {"actionSelector": {"argvPrefix": [""]}},
        {"actionSelector": {"regex": ".*"}},
    ):
        assert harp.gateway.post("/v1/policy/dnd", {**body, **change}).status == 400, change


def test_what_a_client_decided_by_itself_is_in_history_and_asks_nobody(relay: Harp) -> None:
    metadata = {"dndAudit": "true", "workspaceName": "elsewhere", "requestLabel": "told afterwards"}
    request_id = relay.submit(metadata=metadata)
    assert relay.state(request_id) == "Decided"
    assert relay.wait(request_id).status == 204, "there is no decision of ours to sign"
    rows = relay.gateway.get("/hitl/pending").json()
    assert "told afterwards" not in json.dumps(rows)
    events = relay.gateway.get("/audit?view=events&limit=1000").json()
    (told,) = [json.loads(one["body"]) for one in events if one["kind"] == "dnd.reported"]
    assert told["covered"] is False
    assert told["arguments"]["label"] == "told afterwards"


def test_the_strictest_of_the_yaml_and_do_not_disturb_wins(harp: Harp) -> None:
    dnd(harp, workspaceId="both", targetArtifactType="command.review")
    paired = harp.paired()

    def decided(text: str, workspace: str) -> tuple[str, str]:
        metadata = {"routingToken": paired.token, "workspaceName": workspace}
        sealed = encrypted(paired.key, {"commandText": text})
        body = harp.wait(harp.submit(ciphertext=sealed, metadata=metadata)).json()["body"]
        return body["decision"], body["reason"]

    assert decided("make", "both")[0] == "approve"
    assert decided("mkfs /dev/sda", "both") == ("reject", "no disk is formatted")
    dnd(harp, workspaceId="shut", policyMode="deny_all")
    assert decided("ls", "shut") == ("reject", "do not disturb: deny_all")
