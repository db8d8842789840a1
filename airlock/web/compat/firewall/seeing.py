"""Which actions and approvals a credential sees, and finding one by the id that the API gave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.errors import NoSuchRequest
from airlock.model import ApprovalRequest
from airlock.web.auth import OPEN, Credential
from airlock.web.compat.asking import Kept, find, is_foreign
from airlock.web.compat.firewall.words import FACE, own_id
from airlock.web.mcp import principal_of
from airlock.web.routes import Asked

if TYPE_CHECKING:
    from airlock.web.services import Services


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
    """People see all; an agent's key what its agent asked, an unbound one what it asked itself."""
    who: Credential = asked.who
    agent = str(kept.record.body["agent"])
    if who.bound:
        return who.agent == agent
    if not agents_key(asked) or who.identity == OPEN:
        return True
    return not is_foreign(kept.record) and kept.record.owner == principal_of(who, agent).identity


def check_sees(asked: Asked, kept: Kept, reference: str) -> None:
    """NoSuchRequest for what is another's: whoever may not see it does not learn that it is there."""
    if not sees(asked, kept):
        raise NoSuchRequest(f"nothing with id `{reference[:64]}`")
