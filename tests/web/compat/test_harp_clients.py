"""`airlock-gateway` 2.0.1, unmodified, against a running gateway; people decide in another process."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from airlock_gateway import (
    AirlockGatewayClient,
    AirlockGatewayError,
    ArtifactSubmitRequest,
    CiphertextRef,
    PairingInitiateRequest,
    PresenceHeartbeatRequest,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.support.harps import HASH, b64, derived, encrypted, later, verify

pytestmark = [pytest.mark.real, pytest.mark.anyio]

BOUND = 60
SECRET = "the-people-know-this-secret"
CONFIG = f"""
server: {{api_secret: {SECRET}}}
compat: {{harp: {{approver: true}}}}
"""


class House:
    """A gateway process, and the command line of the person who decides."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "airlock.yaml"
        self.config.write_text(f"database: sqlite:///{folder}/airlock.db\n{CONFIG}", encoding="utf-8")
        self.config.chmod(0o600)
        self.env = {**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state")}
        self.process = subprocess.Popen(
            [*self.command("gateway"), "--port", "0"], stdout=subprocess.PIPE, env=self.env, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        scopes = ["--scope", "request:create", "--scope", "request:read"]
        self.key = self.airlock("keys", "create", "--name", "sdk", "--for", "harp", *scopes).strip()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "airlock", "--config", str(self.config), *words]

    def airlock(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, env=self.env, timeout=BOUND, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self, **members: Any) -> str:
        """The code under which this waits, as `airlock pending` shows it."""
        rows = json.loads(self.airlock("pending", "--json"))
        (row,) = [one for one in rows if members.items() <= one["args"].items()]
        return str(row["code"])

    def curl(self, path: str, body: dict[str, Any]) -> Any:
        """What a person sends to the gateway with the secret."""
        import urllib.request

        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Authorization": f"Bearer {SECRET}"}
        )
        with urllib.request.urlopen(request, timeout=BOUND) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    made = House(folder)
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.communicate(timeout=BOUND)


@pytest.fixture
async def client(house: House) -> AsyncIterator[AirlockGatewayClient]:
    async with asyncio.timeout(BOUND), AirlockGatewayClient(house.url, token=house.key) as made:
        yield made


async def paired(house: House, client: AirlockGatewayClient) -> tuple[str, bytes, dict[str, Any]]:
    """Pair as the published clients do; a person approves on the command line."""
    own = X25519PrivateKey.generate()
    request = PairingInitiateRequest(
        deviceId="laptop",
        enforcerId="my-enforcer",
        enforcerLabel="My editor",
        workspaceName="widgets",
        x25519PublicKey=b64(own.public_key().public_bytes_raw()),
    )
    begun = await client.initiate_pairing(request)
    assert len(begun.pairing_code) == 6
    assert (await client.get_pairing_status(begun.pairing_nonce)).state.lower() == "pending"
    await asyncio.to_thread(lambda: house.airlock("approve", house.code(code=begun.pairing_code)))
    status = await client.get_pairing_status(begun.pairing_nonce)
    assert status.state.lower() == "completed"
    assert status.routing_token
    assert status.response_json
    response = json.loads(status.response_json)
    return status.routing_token, derived(own, response["x25519PublicKey"]), response


def artifact(sealed: dict[str, Any], **more: Any) -> ArtifactSubmitRequest:
    return ArtifactSubmitRequest(
        enforcerId="my-enforcer", artifactHash=HASH, ciphertext=CiphertextRef(**sealed), **more
    )


OPAQUE = {"alg": "xchacha20-poly1305", "data": base64.b64encode(b"unreadable").decode()}


def test_it_is_the_published_version() -> None:
    assert version("airlock-gateway") == "2.0.1"


async def test_pairing_submitting_waiting_and_a_signature_that_the_client_verifies(
    house: House, client: AirlockGatewayClient
) -> None:
    token, key, response = await paired(house, client)
    sealed = encrypted(key, {"actionType": "terminal_command", "commandText": "rm -rf build"})
    request = artifact(sealed, artifactType="command.review", metadata={"routingToken": token})
    request_id = await client.submit_artifact(request)
    assert (await client.get_exchange_status(request_id)).body.state == "PendingApproval"
    waiting = asyncio.create_task(client.wait_for_decision(request_id, timeout_seconds=60))
    shown = {"actionType": "terminal_command", "commandText": "rm -rf build"}
    await asyncio.to_thread(lambda: house.airlock("approve", house.code(artifact=shown)))
    decision = await waiting
    assert decision is not None
    assert decision.body.is_approved
    assert decision.body.artifact_hash == HASH
    assert decision.body.signer_key_id == response["signerKeyId"]
    text = f"{HASH}|{decision.body.decision}|{decision.body.nonce}".encode()
    verify(response["publicKey"], text, decision.body.signature)
    assert (await client.get_exchange_status(request_id)).body.decision["decision"] == "approve"
    assert (await client.revoke_pairing(token)).status == "revoked"
    with pytest.raises(AirlockGatewayError) as refused:
        await client.submit_artifact(request.model_copy(update={"request_id": None}))
    assert refused.value.is_pairing_revoked


async def test_a_naive_call_whose_end_is_now_is_asked_and_denied(
    house: House, client: AirlockGatewayClient
) -> None:
    request_id = await client.submit_artifact(artifact(OPAQUE, metadata={"requestLabel": "naive"}))
    assert await client.wait_for_decision(request_id, timeout_seconds=1) is None
    await asyncio.to_thread(lambda: house.airlock("deny", house.code(label="naive"), "--reason", "not now"))
    decision = await client.wait_for_decision(request_id)
    assert decision is not None
    assert decision.body.is_rejected
    assert decision.body.reason == "not now"


async def test_withdrawing(house: House, client: AirlockGatewayClient) -> None:
    request_id = await client.submit_artifact(artifact(OPAQUE))
    await client.withdraw_exchange(request_id)
    assert (await client.get_exchange_status(request_id)).body.state == "Withdrawn"
    assert json.loads(await asyncio.to_thread(house.airlock, "pending", "--json")) == []
    with pytest.raises(AirlockGatewayError) as refused:
        await client.withdraw_exchange(request_id)
    assert refused.value.is_conflict
    with pytest.raises(AirlockGatewayError) as gone:
        await client.wait_for_decision(request_id)
    assert gone.value.is_expired


async def test_a_conflict_and_what_is_not_there(client: AirlockGatewayClient) -> None:
    request = artifact(OPAQUE, requestId="req-of-mine")
    assert await client.submit_artifact(request) == "req-of-mine"
    assert await client.submit_artifact(request) == "req-of-mine"
    with pytest.raises(AirlockGatewayError) as refused:
        await client.submit_artifact(request.model_copy(update={"artifact_hash": "0" * 64}))
    assert refused.value.is_conflict
    assert refused.value.request_id == "req-of-mine"
    await client.withdraw_exchange("req-of-mine")
    with pytest.raises(AirlockGatewayError) as missing:
        await client.get_exchange_status("req-none")
    assert (missing.value.status_code, missing.value.error_code) == (404, "not_found")


async def test_a_pre_generated_code_pairs_without_another_question(
    house: House, client: AirlockGatewayClient
) -> None:
    made = await asyncio.to_thread(house.curl, "/v1/pairing/pre-generate", {})
    claimed = await client._post_json(  # 2.0.1 has no method for it: the request of the later ones
        "/v1/pairing/claim",
        {"pairingCode": made["pairingCode"], "enforcerId": "my-enforcer", "deviceId": "laptop"},
    )
    status = await client.get_pairing_status(claimed["pairingNonce"])
    assert status.routing_token == claimed["routingToken"]


async def test_echo_consent_heartbeat_and_do_not_disturb(house: House, client: AirlockGatewayClient) -> None:
    assert (await client.echo()).timezone == "UTC"
    assert await client.check_consent() == "approved"
    await client.send_heartbeat(PresenceHeartbeatRequest(enforcerId="my-enforcer", workspaceName="widgets"))
    where = {"enforcer_id": "my-enforcer", "workspace_id": "widgets"}
    assert (await client.get_effective_dnd_policies(**where)).body == []
    wanted = {"policyMode": "approve_all", "workspaceId": "widgets", "expiresAt": later(minutes=5)}
    await asyncio.to_thread(house.curl, "/v1/policy/dnd", wanted)
    (policy,) = (await client.get_effective_dnd_policies(**where, session_id="s1")).body
    assert (policy.policy_mode, policy.enforcer_id) == ("approve_all", "my-enforcer")
    request_id = await client.submit_artifact(artifact(OPAQUE, metadata={"workspaceName": "widgets"}))
    decision = await client.wait_for_decision(request_id)
    assert decision is not None
    assert decision.body.is_approved


async def test_the_app_credentials_alone_and_a_wrong_key(house: House) -> None:
    async with AirlockGatewayClient(house.url, client_id="app", client_secret=house.key) as app:
        assert await app.check_consent() == "approved"
        app.set_bearer_token("wrong")
        with pytest.raises(AirlockGatewayError) as refused:
            await app.check_consent()
        assert refused.value.status_code == 401
