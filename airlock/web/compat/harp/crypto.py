"""HARP's cryptography: X25519 and HKDF to a key, AES-256-GCM, its base64, and the canonical hash.

Airlock's own private keys are made from the key file beside the database, so none of them is stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airlock import signing
from airlock.canonical import canonical
from airlock.errors import UsageError
from airlock.signing import Signer

if TYPE_CHECKING:
    from airlock.gate import Gate

INFO = b"HARP-E2E-AES256GCM"
RAW = 32
_SPKI = {
    "x25519": bytes.fromhex("302a300506032b656e032100"),
    "ed25519": bytes.fromhex("302a300506032b6570032100"),
}


class Unreadable(Exception):
    """It was not encrypted for us, or was changed on its way."""


def to_text(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str, name: str) -> bytes:
    """Bytes from either alphabet of base64, padded or not; UsageError names the member."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"`{name}` is not base64") from None


def public_key(text: str, name: str, kind: str = "x25519") -> bytes:
    """A raw public key of 32 bytes, also from its DER form."""
    data = to_bytes(text, name)
    head = _SPKI[kind]
    raw = data.removeprefix(head)
    if len(raw) != RAW:
        raise UsageError(f"`{name}` must be an {kind.upper()} public key of {RAW} bytes")
    return raw


def exchange_key(gate: Gate, pairing: str) -> X25519PrivateKey:
    """Airlock's half of one pairing."""
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(gate.vouch(f"harp x25519 {pairing}")))


def signer(gate: Gate) -> Signer:
    """The key that signs what was decided in Airlock's queue."""
    return Signer.of(bytes.fromhex(gate.vouch("harp ed25519")))


def shared_key(own: X25519PrivateKey, theirs: bytes) -> bytes:
    """What both sides of a pairing derive; UsageError for a key of low order."""
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise UsageError("`x25519PublicKey` is not a key to agree with") from None
    return HKDF(algorithm=SHA256(), length=RAW, salt=None, info=INFO).derive(secret)


def decrypt(key: bytes, ciphertext: Mapping[str, Any]) -> bytes:
    """The plain artifact; Unreadable when it is not ours to read."""
    if str(ciphertext["alg"]).upper().replace("_", "-") not in {"AES-256-GCM", "A256GCM"}:
        raise Unreadable(f"`{str(ciphertext['alg'])[:40]}` is not AES-256-GCM")
    parts = {
        part: to_bytes(ciphertext[part] or "", f"ciphertext.{part}")
        for part in ("data", "nonce", "tag", "aad")
    }
    try:
        return AESGCM(key).decrypt(parts["nonce"], parts["data"] + parts["tag"], parts["aad"] or None)
    except (InvalidTag, ValueError):
        raise Unreadable("the artifact cannot be decrypted with the key of its pairing") from None


def verified(public: bytes, text: bytes, signature: str) -> bool:
    """True when this signature, in base64, was made over the text by the holder of the key."""
    return signing.verified(public, text, to_bytes(signature, "signature"))


def harp_canonical(value: Any) -> bytes:
    """RFC 8785's text, as far as whole numbers and Python's floats go."""
    return canonical(_plain(value))


def harp_hash(value: Any) -> str:
    """SHA-256 of it, 64 lower-case hex digits."""
    return hashlib.sha256(harp_canonical(value)).hexdigest()


def _plain(value: Any) -> Any:
    """JavaScript writes 1.0 as 1, and so does RFC 8785."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
