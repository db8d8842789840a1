"""The messages of HARP's published gateway vectors, sent as they stand there but for the times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.harps import APPROVER, HASH, RELAY, Harp, encrypted, later, open_harp, signing_key
from tests.web.compat.test_harp_facts import ARTIFACT

HASHED = "sha256:fe94a9a087129947cc76a6749363bff39e0dcfd64398906bb3123df38913b2a9"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harp]:
    with open_harp(tmp_path_factory.mktemp("vectors"), RELAY) as made:
        yield made


def as_approver(relay: Harp, method: str, path: str, body: Any = None) -> Any:
    answer = relay.ask(method, path, body, token=relay.approver)
    assert answer.status == 200, answer.body
    return answer.json()


def paired(relay: Harp) -> str:
    """Vector 10: initiate, resolve, complete; the routing token that the enforcer learns."""
    wanted = {"enforcerId": "enf-01", "enforcerLabel": "Antigravity", "workspaceName": "airlock"}
    begun = relay.ask("POST", "/v1/pairing/initiate", wanted).json()
    assert {"code", "nonce", "expiresAt"} <= set(begun)
    found = as_approver(relay, "GET", f"/v1/pairing/resolve/{begun['code']}")
    assert (found["nonce"], found["enforcerLabel"], found["workspaceName"]) == (
        begun["nonce"], "Antigravity", "airlock",
    )  # fmt: skip
    _, public = signing_key()
    body = {"nonce": begun["nonce"], "approverId": "app-01", "publicKey": public}
    assert as_approver(relay, "POST", "/v1/pairing/complete", body)["state"] == "Completed"
    assert relay.ask("POST", "/v1/pairing/complete", body, token=relay.approver).status == 409
    return str(relay.pairing(begun["nonce"])["routingToken"])


def submitted(relay: Harp, token: str, request: str) -> None:
    """Vector 1."""
    answer = relay.ask(
        "POST",
        "/v1/artifacts",
        {
            "msgType": "artifact.submit",
            "requestId": request,
            "createdAt": later(),
            "sender": {"enforcerId": "enf-01"},
            "body": {
                "artifactType": "core.artifact",
                "artifactHash": HASHED,
                "ciphertext": {"alg": "XChaCha20-Poly1305", "data": "BASE64_CIPHERTEXT_PLACEHOLDER"},
                "metadata": {"routingToken": token, "workspaceName": "airlock", "repoName": "harp-spec"},
                "expiresAt": later(minutes=10),
            },
        },
    )
    assert (answer.status, answer.json()["msgType"]) == (202, "artifact.accepted")


def test_the_published_messages_of_a_pairing_lead_to_one(relay: Harp) -> None:
    assert paired(relay).startswith("hrt_")
    answer = relay.ask("POST", "/v1/pairing/complete", {"approverId": "a"}, token=relay.approver)
    assert (answer.status, answer.json()["body"]["code"]) == (400, "validation_error")


def test_the_published_artifact_is_taken_and_forwarded_as_published(relay: Harp) -> None:
    token = paired(relay)
    submitted(relay, token, "req-u6s2nku4oo")
    inbox = as_approver(relay, "GET", "/v1/approvers/app-01/inbox")
    (item,) = [one for one in inbox["body"]["items"] if one["requestId"] == "req-u6s2nku4oo"]
    assert (item["artifactType"], item["artifactHash"]) == ("core.artifact", HASHED)
    assert item["ciphertext"]["data"] == "BASE64_CIPHERTEXT_PLACEHOLDER"
    assert (item["metadata"]["workspaceName"], item["metadata"]["repoName"]) == ("airlock", "harp-spec")
    assert token not in str(inbox)
    withdrawn = relay.ask("POST", "/v1/exchanges/req-u6s2nku4oo/withdraw")
    told = withdrawn.json()
    assert (told["msgType"], told["requestId"], told["body"]["state"]) == (
        "exchange.withdrawn", "req-u6s2nku4oo", "Withdrawn",
    )  # fmt: skip
    assert set(told["body"]) == {"state", "withdrawnAt", "reason"}
    inbox = as_approver(relay, "GET", "/v1/approvers/app-01/inbox")
    assert not [one for one in inbox["body"]["items"] if one["requestId"] == "req-u6s2nku4oo"]


def test_a_withdrawal_may_bring_its_envelope(relay: Harp) -> None:
    submitted(relay, paired(relay), "req-enveloped")
    envelope = {
        "msgType": "exchange.withdrawn",
        "requestId": "req-enveloped",
        "sender": {"enforcerId": "enf-01"},
    }
    assert relay.ask("POST", "/v1/exchanges/req-enveloped/withdraw", envelope).status == 200


def test_presence_has_the_published_members(relay: Harp) -> None:
    beat = {"enforcerId": "enf-01", "workspaceName": "airlock", "enforcerLabel": "Antigravity"}
    assert relay.ask("POST", "/v1/presence/heartbeat", beat).status == 200
    shown = as_approver(relay, "GET", "/v1/presence/enforcers/enf-01")
    assert (shown["enforcerDeviceId"], shown["status"], shown["transport"]) == ("enf-01", "online", "poll")
    assert (shown["workspaceName"], shown["enforcerLabel"]) == ("airlock", "Antigravity")


def test_a_hash_with_its_algorithm_in_front_is_the_same_hash(tmp_path: Path) -> None:
    with open_harp(tmp_path, APPROVER) as harp:
        both = harp.paired()
        for number, digest in enumerate((HASH, f"sha256:{HASH}", f"sha256:{'0' * 64}")):
            metadata = {"routingToken": both.token, "requestLabel": f"n{number}"}
            harp.submit(ciphertext=encrypted(both.key, ARTIFACT), artifactHash=digest, metadata=metadata)
            assert harp.row(label=f"n{number}")["args"]["hash_verified"] is (number < 2)
