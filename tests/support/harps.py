"""A gateway that speaks HARP, keys for it, and an enforcer with its half of the cryptography."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airlock.apikeys import ALL_SCOPES, Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Made, Wish
from tests.support.gateways import SECRET, Answer, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
providers: {{demo: {{type: builtin}}}}
people: {{bob: {{local: bob}}}}
agents:
  harp: {{}}
  coder: {{ask: ["demo/*"]}}
rules:
  - {{id: listing, agent: harp, tool: harp/command.review, effect: allow,
     args: {{"artifact.commandText": {{regex: "^ls( -l)?$"}}}}}}
  - {{id: disks, agent: harp, tool: harp/command.review, effect: deny, reason: "no disk is formatted",
     args: {{"artifact.commandText": {{regex: "mkfs"}}}}}}
"""
APPROVER = POLICY + "compat: {harp: {approver: true}}\n"
RELAY = POLICY + "compat: [harp]\n"
ENFORCING = frozenset({Scope.REQUEST_CREATE, Scope.REQUEST_READ})
HASH = "8e326e1f69e5859a3b5b12965f06b5829f09b12d1748aa2fddb609fb44f831c1"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derived(own: X25519PrivateKey, theirs: str) -> bytes:
    """What both sides of a pairing derive."""
    secret = own.exchange(X25519PublicKey.from_public_bytes(raw(theirs)))
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"HARP-E2E-AES256GCM").derive(secret)


def encrypted(key: bytes, plain: Any) -> dict[str, Any]:
    """An artifact as clients encrypt it."""
    nonce = os.urandom(12)
    text = plain if isinstance(plain, str) else json.dumps(plain)
    sealed = AESGCM(key).encrypt(nonce, text.encode(), None)
    parts = {"data": sealed[:-16], "nonce": nonce, "tag": sealed[-16:]}
    return {"alg": "AES-256-GCM", **{name: base64.b64encode(one).decode() for name, one in parts.items()}}


def verify(public: str, text: bytes, signature: str) -> None:
    """Raises unless the signature is good."""
    Ed25519PublicKey.from_public_bytes(raw(public)).verify(raw(signature), text)


def later(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


OPAQUE = {"alg": "xchacha20-poly1305", "data": "c2VjcmV0", "nonce": None, "tag": None, "aad": None}


@dataclass
class Paired:
    """An enforcer that is paired with Airlock."""

    token: str
    key: bytes
    response: dict[str, Any]


@dataclass
class Harp:
    """The gateway, a key of an enforcer, and one of an approver."""

    gateway: Gateway
    enforcer: str = ""
    approver: str = ""
    secret: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def key(self, name: str, scopes: frozenset[Scope] = ENFORCING, **more: Any) -> Made:
        store = self.gateway.gate.store
        ring = Keyring(store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
        wish = Wish(name=name, scopes=scopes, face="harp", **more)
        return self.gateway.run(ring.create(wish, by="secret", within=ALL_SCOPES))

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = "") -> Answer:
        """With the enforcer's key as its X-PAT, unless another is given."""
        sent = self.enforcer if token == "" else token
        headers = {} if sent is None else {"X-PAT": sent}
        return self.gateway.ask(method, path, body, token=None, headers=headers)

    def wire(self, **more: Any) -> dict[str, Any]:
        """An `artifact.submit`."""
        body = {
            "artifactType": "command.review",
            "artifactHash": HASH,
            "ciphertext": OPAQUE,
            "expiresAt": later(minutes=5),
            "metadata": {"workspaceName": "widgets", "repoName": "acme/widgets"},
        }
        request_id = more.pop("requestId", f"req-{make_id()}")
        return {
            "msgId": f"msg-{make_id()}",
            "msgType": "artifact.submit",
            "requestId": request_id,
            "createdAt": later(),
            "sender": {"enforcerId": "enforcer-1"},
            "body": {**body, **more},
        }

    def submit(self, *, token: str = "", **more: Any) -> str:
        """Submit one; its request id."""
        wire = self.wire(**more)
        answer = self.ask("POST", "/v1/artifacts", wire, token=token)
        assert answer.status == 202, answer.body
        assert answer.json()["msgType"] == "artifact.accepted"
        return str(wire["requestId"])

    def state(self, request_id: str, *, token: str = "") -> str:
        answer = self.ask("GET", f"/v1/exchanges/{request_id}", token=token)
        assert answer.status == 200, answer.body
        return str(answer.json()["body"]["state"])

    def wait(self, request_id: str, seconds: int = 1) -> Answer:
        return self.ask("GET", f"/v1/exchanges/{request_id}/wait?timeout={seconds}")

    def row(self, **members: Any) -> dict[str, Any]:
        """The one row of the queue whose arguments have these members."""

        def found() -> dict[str, Any] | None:
            rows = self.gateway.get("/hitl/pending").json()
            wanted = [one for one in rows if members.items() <= one["args"].items()]
            return wanted[0] if len(wanted) == 1 else None

        row = self.gateway.until(found)
        assert row is not None
        return row

    def decide(self, verb: str, code: str, reason: str = "") -> Answer:
        return self.gateway.post(f"/hitl/{verb}/{code}", {"reason" if verb == "deny" else "note": reason})

    def initiate(self, **more: Any) -> dict[str, Any]:
        body = {
            "deviceId": "laptop",
            "enforcerId": "enforcer-1",
            "enforcerLabel": "My editor",
            "workspaceName": "widgets",
            "x25519PublicKey": b64(self.secret.public_key().public_bytes_raw()),
        }
        answer = self.ask("POST", "/v1/pairing/initiate", {**body, **more})
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def pairing(self, nonce: str, *, token: str = "") -> dict[str, Any]:
        answer = self.ask("GET", f"/v1/pairing/{nonce}/status", token=token)
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def paired(self) -> Paired:
        """Pair with Airlock by a code that a person made."""
        code = self.gateway.post("/v1/pairing/pre-generate", {}).json()["pairingCode"]
        body = {
            "pairingCode": code,
            "deviceId": "laptop",
            "enforcerId": "enforcer-1",
            "x25519PublicKey": b64(self.secret.public_key().public_bytes_raw()),
        }
        done = self.ask("POST", "/v1/pairing/claim", body).json()
        response = json.loads(done["responseJson"])
        return Paired(done["routingToken"], derived(self.secret, response["x25519PublicKey"]), response)

    def command(self, paired: Paired, text: str, **more: Any) -> str:
        """Submit a command that only this pairing can read."""
        metadata = {"routingToken": paired.token, "workspaceName": "widgets"}
        return self.submit(ciphertext=encrypted(paired.key, {"commandText": text}), metadata=metadata, **more)


@contextlib.contextmanager
def open_harp(folder: Path, policy: str, **build: Any) -> Iterator[Harp]:
    """A gateway with this face."""
    with open_gateway(folder, policy, **build) as gateway:
        made = Harp(gateway)
        made.enforcer = made.key("editor").text
        made.approver = made.key("phone", frozenset({Scope.REQUEST_DECIDE})).text
        yield made


def signing_key() -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    return key, b64(key.public_key().public_bytes_raw())
