"""Artifacts and exchanges: an artifact is a request like any other, and its decision is signed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airlock.web.compat.harp.crypto import harp_canonical, harp_hash
from tests.support.gates import call
from tests.support.gateways import SECRET
from tests.support.harps import APPROVER, HASH, OPAQUE, Harp, encrypted, later, open_harp, verify


@pytest.fixture(scope="module")
def harp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harp]:
    with open_harp(tmp_path_factory.mktemp("harp"), APPROVER) as made:
        yield made


def test_a_paired_artifact_is_read_decided_and_the_signed_decision_verified(harp: Harp) -> None:
    paired = harp.paired()
    request_id = harp.command(paired, "rm -rf build")
    assert harp.state(request_id) == "PendingApproval"
    row = harp.row(artifact={"commandText": "rm -rf build"})
    assert row["tool"] == "harp/command.review"
    assert (row["client"], row["road"]) == ("enforcer-1", "harp")
    parked = harp.gateway.later(lambda: harp.wait(request_id, 30))
    assert harp.decide("approve", row["code"], "go on").json()["status"] == "approved"
    answer = parked.result()
    assert answer.status == 200
    wire = answer.json()
    assert (wire["msgType"], wire["requestId"]) == ("decision.deliver", request_id)
    body = wire["body"]
    assert (body["decision"], body["reason"], body["artifactHash"]) == ("approve", "go on", HASH)
    public = paired.response["publicKey"]
    assert body["signerKeyId"] == paired.response["signerKeyId"]
    verify(public, f"{HASH}|approve|{body['nonce']}".encode(), body["signature"])
    core = dict(body["core"])
    signature = core.pop("signature")
    verify(public, harp_canonical(core), signature)
    assert (core["requestId"], core["scope"], harp_hash(core)) == (request_id, "once", body["decisionHash"])
    again = harp.wait(request_id).json()["body"]
    assert again == body, "a lost answer is given again, the same"
    assert harp.gateway.get(f"/hitl/{row['code']}").json()["status"] == "used"
    assert harp.state(request_id) == "Decided"
    ack = {"msgType": "ack.submit", "requestId": request_id, "body": {"status": "delivered"}}
    assert harp.ask("POST", "/v1/acks", ack).json()["msgType"] == "ack.accepted"
    assert harp.state(request_id) == "Delivered"


def test_a_no_is_signed_too_with_its_reason(harp: Harp) -> None:
    paired = harp.paired()
    request_id = harp.command(paired, "git push --force")
    harp.decide("deny", harp.row(artifact={"commandText": "git push --force"})["code"], "not on main")
    body = harp.wait(request_id).json()["body"]
    assert (body["decision"], body["reason"]) == ("reject", "not on main")
    verify(paired.response["publicKey"], f"{HASH}|reject|{body['nonce']}".encode(), body["signature"])


def test_the_yaml_decides_on_what_was_decrypted(harp: Harp) -> None:
    paired = harp.paired()
    allowed, denied = harp.command(paired, "ls -l"), harp.command(paired, "mkfs.ext4 /dev/sda")
    assert harp.wait(allowed).json()["body"]["decision"] == "approve"
    body = harp.wait(denied).json()["body"]
    assert (body["decision"], body["reason"]) == ("reject", "no disk is formatted")
    entries = harp.gateway.get("/audit?tool=harp/command.review&limit=2").json()
    assert {json.loads(one["args"])["artifact"]["commandText"] for one in entries} == {
        "ls -l",
        "mkfs.ext4 /dev/sda",
    }


def test_the_canonical_hash_is_checked_and_the_person_sees_it(harp: Harp) -> None:
    paired = harp.paired()
    plain = {"payload": {"n": 1, "kind": "plan"}, "commandText": "make honest"}
    metadata = {"routingToken": paired.token}
    sealed = encrypted(paired.key, plain)
    harp.submit(ciphertext=sealed, metadata=metadata, artifactHash=harp_hash(plain))
    assert harp.row(artifact=plain)["args"]["hash_verified"] is True
    other = {**plain, "commandText": "make dishonest"}
    harp.submit(ciphertext=encrypted(paired.key, other), metadata=metadata, artifactHash=harp_hash(plain))
    assert harp.row(artifact=other)["args"]["hash_verified"] is False


def test_without_a_pairing_it_is_asked_unread(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "unread", "workspaceName": "w"})
    row = harp.row(label="unread")
    assert row["args"]["encrypted"]["alg"] == OPAQUE["alg"]
    assert "artifact" not in row["args"]
    harp.decide("approve", row["code"])
    assert harp.wait(request_id).json()["body"]["decision"] == "approve"


def test_waiting_without_an_answer_is_204_without_a_body(harp: Harp) -> None:
    answer = harp.wait(harp.submit(), 1)
    assert (answer.status, answer.body) == (204, b"")


def test_a_withdrawn_exchange_leaves_the_queue_and_is_over(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "regretted"})
    code = harp.row(label="regretted")["code"]
    parked = harp.gateway.later(lambda: harp.wait(request_id, 30))
    answer = harp.ask("POST", f"/v1/exchanges/{request_id}/withdraw")
    assert answer.status == 200
    assert answer.json()["msgType"] == "exchange.withdrawn"
    assert answer.json()["body"]["state"] == "Withdrawn"
    assert parked.result().status == 410
    assert harp.state(request_id) == "Withdrawn"
    assert harp.decide("approve", code).status == 410
    again = harp.ask("POST", f"/v1/exchanges/{request_id}/withdraw")
    assert (again.status, again.json()["body"]["code"]) == (409, "conflict")
    assert harp.ask("POST", "/v1/exchanges/req-none/withdraw").status == 404


def test_what_is_decided_cannot_be_withdrawn(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "decided"})
    harp.decide("approve", harp.row(label="decided")["code"])
    assert harp.ask("POST", f"/v1/exchanges/{request_id}/withdraw").status == 409
    assert harp.wait(request_id).json()["body"]["decision"] == "approve"


def test_the_same_again_is_no_new_question_and_another_is_a_conflict(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "twice"})
    assert harp.submit(requestId=request_id, metadata={"requestLabel": "twice"}) == request_id
    harp.row(label="twice")
    other = harp.wire(requestId=request_id, artifactHash="0" * 64)
    answer = harp.ask("POST", "/v1/artifacts", other)
    assert (answer.status, answer.json()["body"]["code"]) == (409, "AlreadyExistsConflict")
    stranger = harp.key("stranger").text
    assert harp.ask("POST", "/v1/artifacts", harp.wire(requestId=request_id), token=stranger).status == 409


@pytest.mark.parametrize("expires", [None, "now", {"seconds": -30}])
def test_an_end_that_is_now_means_the_usual_ten_minutes(harp: Harp, expires: object) -> None:
    when = later() if expires == "now" else later(**expires) if isinstance(expires, dict) else None
    request_id = harp.submit(expiresAt=when)
    body = harp.ask("GET", f"/v1/exchanges/{request_id}").json()["body"]
    assert body["state"] == "PendingApproval"
    assert later(minutes=9) < body["expiresAt"] < later(minutes=11)
    assert body["decision"] is None


def test_what_is_over_is_refused(harp: Harp) -> None:
    answer = harp.ask("POST", "/v1/artifacts", harp.wire(expiresAt=later(hours=-1)))
    assert (answer.status, answer.json()["body"]["code"]) == (422, "expired")


def test_a_stale_or_revoked_or_foreign_pairing_is_refused(harp: Harp) -> None:
    paired = harp.paired()
    stale = harp.wire(metadata={"routingToken": "hrt_unknown"})
    answer = harp.ask("POST", "/v1/artifacts", stale)
    assert (answer.status, answer.json()["body"]["code"]) == (422, "no_approver")
    garbled = harp.wire(metadata={"routingToken": paired.token}, ciphertext=encrypted(bytes(32), "x"))
    answer = harp.ask("POST", "/v1/artifacts", garbled)
    assert (answer.status, answer.json()["body"]["code"]) == (422, "undecryptable")
    assert harp.ask("POST", "/v1/pairing/revoke", {"routingToken": paired.token}).status == 200
    answer = harp.ask("POST", "/v1/artifacts", harp.wire(metadata={"routingToken": paired.token}))
    assert (answer.status, answer.json()["body"]["code"]) == (403, "pairing_revoked")


def test_another_key_sees_nothing_and_cannot_fetch_the_yes(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "mine"})
    stranger = harp.key("another").text
    for method, path in (("GET", ""), ("GET", "/wait?timeout=1"), ("POST", "/withdraw")):
        assert harp.ask(method, f"/v1/exchanges/{request_id}{path}", token=stranger).status == 404
    code = harp.row(label="mine")["code"]
    harp.decide("approve", code)
    assert harp.ask("GET", f"/v1/exchanges/{request_id}/wait", token=SECRET).status == 403
    seen = harp.ask("GET", f"/v1/exchanges/{request_id}", token=SECRET).json()["body"]["decision"]
    assert seen == {"artifactHash": HASH, "decision": "approve", "reason": None}
    assert harp.gateway.get(f"/hitl/{code}").json()["status"] == "approved", "looking uses nothing"


def test_whoever_asks_decides_nothing(harp: Harp) -> None:
    both = harp.key("greedy", frozenset({*harp_scopes()})).text
    request_id = harp.submit(token=both, metadata={"requestLabel": "greedy"})
    code = harp.row(label="greedy")["code"]
    assert harp.gateway.post(f"/hitl/approve/{code}", {}, token=both).status == 403
    body = {"requestId": request_id, "body": {"artifactHash": HASH, "decision": "approve"}}
    assert harp.ask("POST", "/v1/decisions", body, token=both).status == 403
    assert harp.state(request_id, token=both) == "PendingApproval"


def harp_scopes() -> set[object]:
    from airlock.apikeys import Scope

    return {Scope.REQUEST_CREATE, Scope.REQUEST_DECIDE, Scope.APPROVALS_DECIDE}


def test_while_paused_nothing_is_submitted_or_given_out(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "paused"})
    harp.decide("approve", harp.row(label="paused")["code"])
    harp.gateway.run(harp.gateway.gate.pause("", "local:bob"))
    try:
        assert harp.wait(request_id).status == 204
        assert harp.ask("POST", "/v1/artifacts", harp.wire()).status == 403
    finally:
        harp.gateway.run(harp.gateway.gate.resume("", "local:bob"))
    assert harp.wait(request_id).json()["body"]["decision"] == "approve"


def test_an_undone_yes_is_cancelled(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "undone"})
    code = harp.row(label="undone")["code"]
    harp.decide("approve", code)
    harp.gateway.run(harp.gateway.gate.undo(code, "local:bob"))
    assert harp.state(request_id) == "Cancelled"
    answer = harp.wait(request_id)
    assert (answer.status, answer.json()["body"]["code"]) == (410, "cancelled")


def test_an_ack_before_the_decision_changes_nothing(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "acked"})
    ack = {"msgId": "m", "requestId": request_id, "body": {"msgId": "m", "status": "received"}}
    assert harp.ask("POST", "/v1/acks", ack).status == 200
    harp.decide("approve", harp.row(label="acked")["code"])
    assert harp.ask("POST", "/v1/acks", ack).status == 200, "nobody has fetched it yet"
    assert harp.state(request_id) == "Decided"


def test_every_way_to_send_a_key_works_and_the_pat_comes_first(harp: Harp) -> None:
    def status(headers: dict[str, str]) -> int:
        return harp.gateway.ask("GET", "/v1/consent/status", token=None, headers=headers).status

    key = harp.enforcer
    assert key.startswith("airpat_")
    assert status({"X-PAT": key}) == 200
    assert status({"Authorization": f"Bearer {key}"}) == 200
    assert status({"X-Client-Id": "app", "X-Client-Secret": key}) == 200
    assert status({"X-PAT": key, "Authorization": "Bearer nonsense"}) == 200
    assert status({"X-PAT": "airpat_wrong", "Authorization": f"Bearer {key}"}) == 401
    assert status({"Authorization": "Bearer wrong", "X-Client-Secret": key}) == 401
    assert status({}) == 401


def test_what_every_client_asks_first(harp: Harp) -> None:
    assert set(harp.ask("GET", "/echo", token=None).json()) == {"utc", "local", "timezone", "offsetMinutes"}
    found = harp.ask("GET", "/v1/integrations/discovery", token=None).json()
    assert found == {"idp": {"baseUrl": "", "clientId": ""}, "auth": {"patSupported": True}}
    for path in ("/v1/consent/status", "/v1/consents/check"):
        assert harp.ask("GET", path).json()["status"] == "approved"


def test_errors_are_an_envelope_and_a_flat_pair(harp: Harp) -> None:
    answer = harp.ask("GET", "/v1/exchanges/req-none")
    assert answer.status == 404
    body = answer.json()
    assert (body["msgType"], body["error"], body["body"]["code"]) == ("error", "not_found", "not_found")
    assert body["body"]["requestId"] == "req-none"
    assert harp.ask("GET", "/v1/exchanges/x/nowhere").json()["msgType"] == "error"
    assert harp.ask("POST", "/v1/artifacts", b"{").json()["body"]["code"] == "validation_error"


@pytest.mark.parametrize(
    "change",
    [
        {"artifactType": "../bash"},
        {"artifactType": "a/b"},
        {"artifactHash": ""},
        {"artifactHash": "x\n"},
        {"metadata": {"a": 1}},
        {"metadata": {f"k{number}": "" for number in range(40)}},
        {"ciphertext": {}},
        {"ciphertext": {**OPAQUE, "data": 7}},
        {"expiresAt": "soon"},
        {"requestId": "../../hitl"},
    ],
)
def test_malformed_artifacts_are_refused(harp: Harp, change: dict[str, object]) -> None:
    assert harp.ask("POST", "/v1/artifacts", harp.wire(**change)).status == 400


def test_a_full_queue_is_said_in_harps_words(tmp_path: Path) -> None:
    with open_harp(tmp_path, APPROVER + "approvals: {max_pending: 1}\n") as small:
        small.submit()
        answer = small.ask("POST", "/v1/artifacts", small.wire())
        assert (answer.status, answer.json()["body"]["code"]) == (429, "workspace_limit_exceeded")


def test_a_question_of_another_road_is_in_the_inbox_and_decided_there(harp: Harp) -> None:
    verdict = harp.gateway.run(harp.gateway.gate.submit(call("demo/write", agent="coder", n=1), attend=False))
    request = verdict.request  # type: ignore[union-attr]
    page = harp.ask("GET", "/v1/approvers/phone-1/inbox?limit=100", token=harp.approver).json()["body"]
    (item,) = [one for one in page["items"] if one["requestId"] == request.id]
    assert (item["artifactType"], item["artifact"]) == ("demo/write", {"n": 1})
    assert item["artifactHash"] == harp_hash({"tool": "demo/write", "arguments": {"n": 1}})
    said = {"artifactHash": item["artifactHash"], "decision": "approve", "reason": "from the inbox"}
    wire = {"requestId": request.id, "body": said}
    assert harp.ask("POST", "/v1/decisions", wire, token=harp.enforcer).status == 403
    answer = harp.ask("POST", "/v1/decisions", wire, token=harp.approver)
    assert (answer.status, answer.json()["body"]["state"]) == (200, "Decided")
    assert harp.gateway.get(f"/hitl/{request.id}").json()["status"] == "approved"
    assert harp.ask("GET", f"/v1/exchanges/{request.id}").status == 404, "it is not this key's"


def test_where_two_must_approve_the_exchange_waits_for_both(tmp_path: Path) -> None:
    rule = "  - {id: two, agent: harp, tool: harp/patch.review, effect: ask, quorum: 2}\n"
    config = APPROVER.replace("people: {bob: {local: bob}}", "people: {bob: {local: bob}, eve: {local: eve}}")
    with open_harp(tmp_path, config.replace("rules:\n", f"rules:\n{rule}")) as strict:
        request_id = strict.submit(artifactType="patch.review")
        code = strict.row(enforcer="enforcer-1")["code"]
        assert strict.decide("approve", code).json()["status"] == "pending"
        assert strict.wait(request_id).status == 204
        body = {"requestId": request_id, "body": {"artifactHash": HASH, "decision": "approve"}}
        answer = strict.ask("POST", "/v1/decisions", body, token=strict.approver)
        assert answer.json()["body"]["state"] == "Decided"
        assert strict.wait(request_id).json()["body"]["decision"] == "approve"


def test_a_key_of_an_agent_asks_as_that_agent(harp: Harp) -> None:
    bound = harp.key("bound", agent="coder").text
    request_id = harp.submit(token=bound, metadata={"requestLabel": "bound"})
    row = harp.row(label="bound")
    assert row["agent_id"] == "coder"
    assert harp.ask("POST", f"/v1/exchanges/{request_id}/withdraw").status == 404
    assert harp.ask("POST", f"/v1/exchanges/{request_id}/withdraw", token=bound).status == 200


def test_secrets_in_an_artifact_are_masked_where_it_is_shown(harp: Harp) -> None:
    paired = harp.paired()
    plain = {"commandText": "login", "password": "correct horse"}
    request_id = harp.submit(
        ciphertext=encrypted(paired.key, plain), metadata={"routingToken": paired.token, "requestLabel": "pw"}
    )
    row = harp.row(label="pw")
    assert row["args"]["artifact"]["commandText"] == "login"
    assert "correct horse" not in json.dumps(row)
    harp.decide("approve", row["code"])
    assert harp.wait(request_id).json()["body"]["decision"] == "approve"
    assert "correct horse" not in json.dumps(harp.gateway.get("/audit?view=events&limit=5000").json())


def test_pairings_and_questions_outlive_the_gateway_and_waits_end_with_it(tmp_path: Path) -> None:
    with open_harp(tmp_path, APPROVER) as before:
        paired = before.paired()
        request_id = before.command(paired, "make all")
        code = before.row(artifact={"commandText": "make all"})["code"]
        parked = before.gateway.later(lambda: before.wait(request_id, 60))
        before.gateway.until(lambda: before.gateway.app.state.services.closing.open)
        before.gateway.stop()
        assert parked.result().status == 204
        token, secret = before.enforcer, before.secret
    with open_harp(tmp_path, APPROVER) as after:
        after.enforcer, after.secret = token, secret
        after.decide("approve", code)
        body = after.wait(request_id).json()["body"]
        verify(paired.response["publicKey"], f"{HASH}|approve|{body['nonce']}".encode(), body["signature"])
        assert after.wait(after.command(paired, "ls")).json()["body"]["decision"] == "approve"


def test_two_waits_at_once_get_one_and_the_same_decision(harp: Harp) -> None:
    request_id = harp.submit(metadata={"requestLabel": "race"})
    code = harp.row(label="race")["code"]
    parked = [harp.gateway.later(lambda: harp.wait(request_id, 30)) for _ in range(4)]
    harp.decide("approve", code)
    bodies = [one.result().json()["body"] for one in parked]
    assert bodies == [bodies[0]] * 4
    events = harp.gateway.get("/audit?view=events&limit=5000").json()
    row = harp.gateway.get(f"/hitl/{code}").json()
    used = [one for one in events if one["kind"] == "request.used" and one["request_id"] == row["id"]]
    assert len(used) == 1


def test_a_yes_is_judged_by_the_policy_of_the_moment_it_is_fetched(harp: Harp) -> None:
    metadata = {"requestLabel": "overtaken", "workspaceName": "overtaken"}
    request_id = harp.submit(metadata=metadata)
    harp.decide("approve", harp.row(label="overtaken")["code"])
    policy = {"policyMode": "deny_all", "workspaceId": "overtaken", "expiresAt": later(minutes=5)}
    assert harp.gateway.post("/v1/policy/dnd", policy).status == 201
    body = harp.wait(request_id).json()["body"]
    assert (body["decision"], body["reason"]) == ("reject", "do not disturb: deny_all")
