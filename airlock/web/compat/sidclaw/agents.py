"""Agents: those of the YAML under their names, and those that were registered over the API under an id.

A registered agent acts under the YAML agent of its name where there is one, else under the face's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.errors import NoSuchRequest
from airlock.ports_faces import Record
from airlock.values import dataclass
from airlock.views import iso
from airlock.web.compat.asking import records_of
from airlock.web.compat.sidclaw.words import FACE, dashed, loosely
from airlock.web.compat.stored import kept

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "agent"
ACTIVE = "active"
STATES = (ACTIVE, "suspended", "revoked")

BLANK: Mapping[str, Any] = {
    "name": "",
    "description": "",
    "owner_name": "",
    "owner_role": "",
    "team": "",
    "environment": "prod",
    "authority_model": "self",
    "identity_mode": "service_identity",
    "delegated_from": None,
    "autonomy_tier": "low",
    "lifecycle_state": ACTIVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent: `id` as the API names it, `name` whose YAML policy holds for it, its record if any."""

    id: str
    name: str
    record: Record | None = None

    @property
    def body(self) -> Mapping[str, Any]:
        """What is known of it."""
        known = {**BLANK, "name": self.name}
        return {**known, **self.record.body} if self.record is not None else known

    @property
    def inactive(self) -> str:
        """The state that stops it; "" while it is active."""
        state = str(self.body["lifecycle_state"])
        return "" if state == ACTIVE else state

    @property
    def names(self) -> frozenset[str]:
        """All that a policy may call it by."""
        return frozenset({self.id, str(self.body["name"])})


async def agent_of(services: Services, reference: str) -> Agent:
    """An agent by the id or name that a client uses; NoSuchRequest when there is none."""
    record = await records_of(services).get_record(FACE, KIND, loosely(reference))
    if record is not None:
        return _agent(services, record)
    if reference in services.config.agents:
        return Agent(id=reference, name=reference)
    raise NoSuchRequest(f"no agent `{reference[:64]}`")


async def all_agents(services: Services) -> list[Agent]:
    """Every agent: the YAML's in their order, then the registered ones, oldest first."""
    records = {record.id: record for record in await kept(services, FACE, KIND)}
    written = [
        Agent(id=name, name=name, record=records.pop(loosely(name), None)) for name in services.config.agents
    ]
    return [*written, *(_agent(services, record) for record in records.values())]


def _agent(services: Services, record: Record) -> Agent:
    agents, options = services.config.agents, services.config.compat.get(FACE)
    written = next((name for name in agents if loosely(name) == record.id), None)
    if written is not None:
        return Agent(id=written, name=written, record=record)
    name = record.body["name"]
    policy = name if name in agents else (options.agent if options else FACE)
    return Agent(id=dashed(record.id), name=policy, record=record)


def agent_shape(agent: Agent) -> dict[str, Any]:
    """One agent on the wire; `policy_agent` is whose YAML policy holds for it."""
    record = agent.record
    return {
        **agent.body,
        "id": agent.id,
        "policy_agent": agent.name,
        "created_at": None if record is None else iso(record.created_at),
        "updated_at": None if record is None else iso(record.updated_at),
    }
