"""The published facts of HARP-CORE: canonical JSON, hashes, signatures; and attacks on them."""

from __future__ import annotations

import contextlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from airlock.errors import UsageError
from airlock.web.compat.harp.crypto import (
    Unreadable,
    decrypt,
    harp_canonical,
    harp_hash,
    public_key,
    shared_key,
    to_bytes,
    to_text,
    verified,
)
from tests.support.harps import HASH, b64, derived, encrypted, raw, signing_key

ARTIFACT = {
    "requestId": "01J2V8V3K6B2Z9X6G1V7Y2QK8H",
    "sessionId": "01J2V8V3M2YF0KX9Q0Z7E6H9R1",
    "artifactType": "plan.review",
    "repoRef": "repo:acme/widgets",
    "baseRevision": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "createdAt": "2026-02-21T12:00:00Z",
    "expiresAt": "2026-02-21T12:10:00Z",
    "payload": {
        "kind": "plan",
        "title": "Refactor Parser",
        "steps": [
            "Extract tokenizer",
            "Add unit tests",
            "Replace recursive descent with Pratt parser",
        ],
        "risk": "medium",
    },
    "artifactHashAlg": "SHA-256",
}
DECISION = {
    "requestId": ARTIFACT["requestId"],
    "artifactHashAlg": "SHA-256",
    "artifactHash": HASH,
    "repoRef": "repo:acme/widgets",
    "decision": "approve",
    "scope": "once",
    "expiresAt": "2026-02-21T12:05:00Z",
    "nonce": "bm9uY2UtMDAx",
    "sigAlg": "Ed25519",
    "signerKeyId": "ma-key-01",
}
SIGNER = "68GYuLi_rncjJ4w7MWKfKd5ygpeXzMjCzM5tlDakz_I"
SIGNATURE = "tszU90YldEomMTTrJpUYz-h8xXcAvJ6U97aaEy-1-Oo_vkCx3o63aZps6dN0VaJVKmXY2UnVW6ldoCuXv5sZDA"


def test_the_published_artifact_has_the_published_hash() -> None:
    text = harp_canonical(ARTIFACT)
    assert text.startswith(b'{"artifactHashAlg":"SHA-256","artifactType":"plan.review","baseRevision":"9f86')
    assert b'"payload":{"kind":"plan","risk":"medium","steps":["Extract tokenizer",' in text
    assert not text.endswith(b"\n")
    assert harp_hash(ARTIFACT) == HASH


def test_the_published_decision_has_the_published_text_and_signature() -> None:
    # One of the two pages prints `approve` here: the signature on both is over `allow`.
    text = harp_canonical({**DECISION, "decision": "allow"})
    assert text.startswith(
        f'{{"artifactHash":"{HASH}","artifactHashAlg":"SHA-256","decision":"allow",'.encode()
    )
    assert text.endswith(b'"scope":"once","sigAlg":"Ed25519","signerKeyId":"ma-key-01"}')
    assert verified(raw(SIGNER), text, SIGNATURE)
    assert not verified(raw(SIGNER), harp_canonical(DECISION), SIGNATURE)


@pytest.mark.parametrize(
    ("signable", "published"),
    [
        (
            {
                "requestId": "01J2V9K3M2W1J5R6S7T8U9V0W1", "sessionId": ARTIFACT["sessionId"],
                "repoRef": "repo:acme/widgets", "artifactType": "prompt.send",
                "createdAt": "2026-02-21T12:01:00Z", "target": "agentChat",
                "text": "Please summarize the plan and list risks. Keep it concise.",
                "promptHashAlg": "SHA-256",
            },
            "0b18f65f2e4d81b0bbfa89267138163a439ee2381393f95b41f01fbdfdbabd50",
        ),
        (
            {
                "sessionId": ARTIFACT["sessionId"], "eventType": "session.snapshot",
                "snapshotId": "snap-001", "snapshotType": "summary", "createdAt": "2026-02-21T12:02:00Z",
                "payload": {
                    "summary": "Parser refactor planned. Medium risk due to grammar changes.",
                    "filesAffected": ["parser.py", "lexer.py"],
                },
                "snapshotHashAlg": "SHA-256",
            },
            "5145a558f7390a66768c6da0195f12484bb1f01c44b8bc33518733970ac06e5d",
        ),
    ],
    ids=["prompt", "session"],
)  # fmt: skip
def test_the_published_prompt_and_snapshot_have_the_published_hashes(
    signable: object, published: str
) -> None:
    assert harp_hash(signable) == published


def test_a_decision_is_bound_to_every_member_by_its_signature() -> None:
    key, public = signing_key()
    signature = b64(key.sign(harp_canonical(DECISION)))
    assert verified(raw(public), harp_canonical(DECISION), signature)
    for change in ({"decision": "reject"}, {"nonce": "bm9uY2UtMDAy"}, {"scope": "session"}):
        assert not verified(raw(public), harp_canonical({**DECISION, **change}), signature)
    for wrong in ("A" * 86, "", "ä"):
        with contextlib.suppress(UsageError):
            assert not verified(raw(public), harp_canonical(DECISION), wrong)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        ({"x": 1.0, "y": [2.0, 0.5]}, b'{"x":1,"y":[2,0.5]}'),
        ({"é": "\u2028", "z": True, "n": None}, '{"n":null,"z":true,"é":"\u2028"}'.encode()),
        ({}, b"{}"),
    ],
)
def test_the_canonical_text_is_what_javascript_writes(value: object, text: bytes) -> None:
    assert harp_canonical(value) == text


def test_both_sides_derive_one_key_and_only_they_read() -> None:
    ours, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    public = b64(ours.public_key().public_bytes_raw())
    key = shared_key(ours, theirs.public_key().public_bytes_raw())
    assert key == derived(theirs, public)
    sealed = encrypted(key, "rm -rf build")
    assert decrypt(key, {**sealed, "aad": None}) == b"rm -rf build"
    for wrong in ({"tag": sealed["nonce"]}, {"nonce": ""}, {"data": sealed["tag"]}, {"alg": "none"}):
        with pytest.raises(Unreadable):
            decrypt(key, {**sealed, "aad": None, **wrong})
    with pytest.raises(Unreadable):
        decrypt(os.urandom(32), {**sealed, "aad": None})


def test_a_key_may_be_raw_or_der_in_either_alphabet_but_not_of_low_order() -> None:
    raw_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    der = bytes.fromhex("302a300506032b656e032100") + raw_key
    for text in (to_text(raw_key), to_text(der), to_text(raw_key) + "="):
        assert public_key(text, "k") == raw_key
    assert to_bytes("-_8", "k") == to_bytes("+/8=", "k")
    for bad in ("", "AAAA", "ä", to_text(raw_key + b"x")):
        with pytest.raises(UsageError):
            public_key(bad, "k")
    with pytest.raises(UsageError, match="agree"):
        shared_key(X25519PrivateKey.generate(), bytes(32))
