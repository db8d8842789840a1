"""Ed25519: a key of Airlock's that signs, and whether a signature holds.

The private halves are made from the key file beside the database, one for each purpose, so none is stored.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signer(NamedTuple):
    """One key for one purpose: its name, its public half, and what signs with it."""

    key_id: str
    public: bytes
    key: Ed25519PrivateKey

    @classmethod
    def of(cls, seed: bytes) -> Signer:
        """The key that these 32 secret bytes are."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public = key.public_key().public_bytes_raw()
        return cls(key_id_of(public), public, key)

    def sign(self, text: bytes) -> bytes:
        """The signature over a text."""
        return self.key.sign(text)


def fingerprint_of(public: bytes) -> str:
    """What people compare a public key by."""
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def key_id_of(public: bytes) -> str:
    """A short name for it: it tells keys apart, and proves nothing."""
    return f"airlock-{hashlib.sha256(public).hexdigest()[:16]}"


def pem_of(public: bytes) -> str:
    """The public key as other programs read it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def from_pem(text: str) -> bytes | None:
    """The public key in a PEM text; None when there is none of Ed25519 in it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(text.encode())
    except ValueError:
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def verified(public: bytes, text: bytes, signature: bytes) -> bool:
    """True when whoever holds this key made the signature over this text."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True
