"""Which approvals and traces a credential sees, and finding one by the id that the API gave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest
from airlock.model import ApprovalRequest
from airlock.web.auth import Credential
from airlock.web.compat.asking import KIND, Kept, find, is_foreign, records_of
from airlock.web.compat.sidclaw.words import FACE, plain
from airlock.web.mcp import principal_of

if TYPE_CHECKING:
    from airlock.web.services import Services

EVERY_APPROVAL = frozenset({Scope.APPROVALS_READ, Scope.APPROVALS_WRITE, Scope.APPROVALS_DECIDE, Scope.READ})
SEE_APPROVALS = EVERY_APPROVAL | {Scope.EVALUATE}
EVERY_TRACE = frozenset({Scope.TRACES_READ, Scope.AUDIT_READ})
SEE_TRACES = EVERY_TRACE | {Scope.EVALUATE, Scope.TRACES_WRITE}


async def found(services: Services, reference: str) -> Kept:
    """A trace, with its question where it has one; NoSuchRequest when there is none of that id."""
    wanted = plain(reference)
    record = await records_of(services).get_record(FACE, KIND, wanted)
    if record is not None and record.body["effect"] == "ask" and record.link != wanted:
        return Kept(record=record, request=await services.gate.request(record.link))
    return await find(services, FACE, wanted)


async def found_question(services: Services, reference: str) -> tuple[Kept, ApprovalRequest]:
    """An approval by its id; NoSuchRequest for a trace that asked nobody."""
    kept = await found(services, reference)
    if kept.request is None:
        raise NoSuchRequest(f"no approval request `{reference[:64]}`")
    return kept, kept.request


def sees_all(credential: Credential, scopes: frozenset[Scope]) -> bool:
    """True for a credential that may look at what others asked."""
    return not credential.bound and credential.holds(scopes)


def sees(credential: Credential, kept: Kept, scopes: frozenset[Scope]) -> bool:
    """True when this credential may look at this: all, its agent's, or what it asked itself."""
    record = kept.record
    if sees_all(credential, scopes):
        return True
    agent = str(record.body["agent"])
    if credential.bound:
        return credential.agent == agent
    return not is_foreign(record) and record.owner == principal_of(credential, agent).identity


def check_sees(credential: Credential, kept: Kept, scopes: frozenset[Scope], reference: str) -> None:
    """NoSuchRequest for what is another's: whoever may not see it does not learn that it is there."""
    if not sees(credential, kept, scopes):
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`")
