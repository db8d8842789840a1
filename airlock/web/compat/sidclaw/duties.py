"""Separation of duties by credential, not by the name in the body: who asks, or answers for the agent that
asks, does not approve; and nobody signs with another's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.apikeys import ApiKey
from airlock.approval import person_of
from airlock.errors import NotPermitted
from airlock.model import ApprovalRequest
from airlock.web.auth import Credential
from airlock.web.compat.sidclaw.agents import all_agents
from airlock.web.compat.sidclaw.shapes import facts_of

if TYPE_CHECKING:
    from airlock.web.services import Services


async def check_name(services: Services, who: Credential, name: str) -> None:
    """NotPermitted when the name is that of a person of the config, and the credential is not theirs."""
    people = services.config.people
    theirs = next((one for one in people if _same(one, name)), None)
    if theirs is not None and person_of(who.identity, people) != theirs:
        raise NotPermitted(f"`approver_name` is another person's: this credential is not `{theirs}`'s")


async def check_apart(services: Services, who: Credential, request: ApprovalRequest, name: str) -> None:
    """NotPermitted when whoever approves is, or answers for, the one that asked."""
    keys = {} if services.keys is None else {key.identity: key for key in await services.keys.keys()}
    mine = _known_as(services, who, keys.get(who.identity))
    asking = keys.get(request.identity)
    if asking is not None and asking.owner and _any_same(asking.owner, mine):
        raise NotPermitted("separation of duties: the key that asked and yours have one owner")
    facts = facts_of(request)
    agent = next((one for one in await all_agents(services) if one.id == facts["agent_id"]), None)
    owner = str(agent.body["owner_name"] or "") if agent is not None else ""
    if owner and _any_same(owner, mine | {name}):
        raise NotPermitted("separation of duties: the owner of the agent cannot approve what it asks")


def _known_as(services: Services, who: Credential, key: ApiKey | None) -> set[str]:
    """The names that are really those of whoever decides."""
    known = {person_of(who.identity, services.config.people)}
    return known | {key.owner} if key is not None and key.owner else known


def _any_same(name: str, others: set[str]) -> bool:
    return any(_same(name, one) for one in others)


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
