"""Which actions and approvals a credential sees, and finding one by the id that the API gave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.errors import NoSuchRequest
from airlock.model import ApprovalRequest
from airlock.web.auth import OPEN, Credential
from airlock.web.compat.asking import Kept, find, is_foreign
from airlock.web.compat.firewall.words import FACE, READ_APPROVALS, READ_AUDIT, own_id
from airlock.web.mcp import principal_of
from airlock.web.routes import Asked

if TYPE_CHECKING:
    from airlock.web.services import Services


EVERYTHING = READ_APPROVALS | READ_AUDIT


async def found(services: Services, prefix: str, reference: str) -> Kept:
    """An action, with its question where it has one; NoSuchRequest when there is none of that id."""
    try:
        return await find(services, FACE, own_id(prefix, reference))
    except NoSuchRequest:
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`") from None


async def found_approval(services: Services, reference: str) -> tuple[Kept, ApprovalRequest]:
    """An approval by its id; NoSuchRequest for an action that asked nobody."""
    kept = await found(services, "apr", reference)
    if kept.request is None:
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`")
    return kept, kept.request


def agents_key(asked: Asked) -> bool:
    """True when it came with an agent's key, or where nobody needs one; else it stands for people."""
    return "x-agent-key" in asked.request.headers or asked.who.identity == OPEN


def sees(asked: Asked, kept: Kept) -> bool:
    """People see all; an agent's key what its agent asked; one that is bound to none what it asked itself.

    A key with nothing but `actions:…` is an agent's, however it is sent.
    """
    who: Credential = asked.who
    agent = str(kept.record.body["agent"])
    if who.bound:
        return who.agent == agent
    if who.identity == OPEN or ("x-agent-key" not in asked.request.headers and who.holds(EVERYTHING)):
        return True
    return not is_foreign(kept.record) and kept.record.owner == principal_of(who, agent).identity


def check_sees(asked: Asked, kept: Kept, reference: str) -> None:
    """NoSuchRequest for what is another's: whoever may not see it does not learn that it is there."""
    if not sees(asked, kept):
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`")
