"""A proof pack: made from what the chain holds of one call, and signed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from airlock import __version__, texts
from airlock.audit import CHAIN, VERSION
from airlock.canonical import canonical
from airlock.errors import NoSuchRequest
from airlock.model import JsonObject
from airlock.ports import AuditEvent, Evidence, Run
from airlock.ports_faces import RecordStore
from airlock.proof.story import consulted, revisions, story
from airlock.views import iso

if TYPE_CHECKING:
    from airlock.signing import Signer

FORMAT = "airlock-proof-pack/1"
ALGORITHM = "Ed25519"
PURPOSE = "proof ed25519"
"""What the key beside the database is asked for, to make the key that signs packs."""


class ProofStore(Protocol):
    """The chain."""

    async def evidence(self, reference: str) -> Evidence | None:
        """What the chain holds of the call, question or event with this id."""
        ...


class Vouching(Protocol):
    """Whoever holds the key beside the database: the gate."""

    def vouch(self, text: str) -> str:
        """64 hex digits that only they can make of a text."""
        ...


def signer(gate: Vouching) -> Signer:
    """The key that signs this Airlock's packs."""
    from airlock.signing import Signer

    return Signer.of(bytes.fromhex(gate.vouch(PURPOSE)))


async def prove(
    store: ProofStore, records: RecordStore, key: Signer, reference: str, *, by: str, now: int
) -> JsonObject:
    """The signed pack of the call with this id, or that asked this question; NoSuchRequest for none."""
    evidence = await store.evidence(reference)
    told = story(evidence.events) if evidence is not None else None
    if evidence is None or told is None:
        raise NoSuchRequest(f"no call `{reference[:64]}` is in history")
    asked = consulted(evidence.events)
    kept = await texts.read(records, [*revisions(evidence.events), *(digest for _, digest in asked)])
    pack = {
        "format": FORMAT,
        "made_at": iso(now),
        "made_by": by,
        "airlock": __version__,
        **told,
        "policies": [{"revision": one, "text": kept.get(one)} for one in revisions(evidence.events)],
        "consulted": [{"name": name, "digest": one, "text": kept.get(one)} for name, one in asked],
        "chain": _chain(evidence),
    }
    return signed(pack, key)


def signed(pack: JsonObject, key: Signer) -> JsonObject:
    """The pack with a signature over all of it."""
    claim = {"algorithm": ALGORITHM, "key_id": key.key_id, "public_key": key.public.hex()}
    return {**pack, "signature": {**claim, "value": key.sign(canonical({**pack, "signature": claim})).hex()}}


def signed_bytes(pack: JsonObject) -> bytes:
    """What the signature is over: all of the pack but the signature's own value."""
    claim = {name: one for name, one in pack["signature"].items() if name != "value"}
    return canonical({**pack, "signature": claim})


def _chain(evidence: Evidence) -> JsonObject:
    return {
        "version": VERSION,
        "chain": CHAIN,
        "head": {"seq": evidence.head_seq, "hash": evidence.head_hash},
        "runs": [_run(run) for run in evidence.runs],
    }


def _run(run: Run) -> JsonObject:
    return {"first_seq": run.first_seq, "before": run.before, "links": [_link(link) for link in run.links]}


def _link(link: AuditEvent | str) -> Any:
    return asdict(link) if isinstance(link, AuditEvent) else link
