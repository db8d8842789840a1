"""Signing secrets at rest: whoever has the database alone cannot read them.

HMAC-SHA-256 under the key beside the database makes the stream that covers a secret and the mark over it.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from airlock.errors import StoreError

if TYPE_CHECKING:
    from airlock.gate import Gate

_MARK = 32


def seal(gate: Gate, purpose: str, text: str) -> str:
    """The text under a cover that only this Airlock lifts, and only for the same purpose."""
    nonce = secrets.token_hex(16)
    covered = _covered(gate, purpose, nonce, text.encode())
    return f"{nonce}.{covered.hex()}.{_mark(gate, purpose, nonce, covered)}"


def unseal(gate: Gate, purpose: str, sealed: str) -> str:
    """The text again; StoreError when the key beside the database is another, or the row was changed."""
    try:
        nonce, covered, mark = sealed.split(".")
        data = bytes.fromhex(covered)
    except ValueError:
        raise StoreError("a sealed secret cannot be read") from None
    if not hmac.compare_digest(mark, _mark(gate, purpose, nonce, data)):
        raise StoreError("a sealed secret was sealed with another key")
    return _covered(gate, purpose, nonce, data).decode()


def _mark(gate: Gate, purpose: str, nonce: str, data: bytes) -> str:
    return gate.vouch(f"sealed\0{purpose}\0{nonce}\0{data.hex()}")


def _covered(gate: Gate, purpose: str, nonce: str, data: bytes) -> bytes:
    stream = b"".join(
        bytes.fromhex(gate.vouch(f"cover\0{purpose}\0{nonce}\0{number}"))
        for number in range(-(-len(data) // _MARK))
    )
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))
