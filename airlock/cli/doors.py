"""Which calls must be stopped: what `doctor` asks for by every road. Pure but for what the policy says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airlock.config import Config
from airlock.ids import make_id, now_ms
from airlock.model import Call, Effect, JsonObject, Kind, Origin, Principal

if TYPE_CHECKING:
    from airlock.inventory import Inventory
    from airlock.policy import Policy

PROBE = {"airlock_doctor": "this call must not run"}
"""Arguments that fit no tool: should a door be open, nothing happens behind it."""

PATIENT_MS = 20_000
"""An agent whose calls are held for less is not asked about: its question would stay in the queue."""


class Doors:
    """The calls that the policy denies, and those that it asks a person about."""

    def __init__(
        self, config: Config, policy: Policy, inventory: Iterable[Inventory], granted: frozenset[str]
    ) -> None:
        self._config = config
        self._policy = policy
        self._granted = granted
        self._tools = [(one.provider, str(tool.get("name"))) for one in inventory for tool in one.tools]

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents that somebody wrote down."""
        return tuple(sorted(name for name, one in self._config.agents.items() if not one.implied))

    def hidden(self, agent: str) -> str:
        """The wire name of a tool that is denied this agent whatever the arguments."""
        for provider, name in self._tools:
            if self._policy.listing(agent, Kind.TOOL, provider, name) is None:
                return f"{provider}__{name}"
        return ""

    def asked(self, agent: str, listed: set[str]) -> str:
        """The wire name of a listed tool that asks with the probe's arguments, and is held until then."""
        if not self._holds(agent):
            return ""
        for provider, name in self._tools:
            wire = f"{provider}__{name}"
            asks = wire in listed and f"{provider}/{name}" not in self._granted
            if asks and self.effect(agent, provider, name, PROBE) is Effect.ASK:
                return wire
        return ""

    def _holds(self, agent: str) -> bool:
        known = self._config.agents.get(agent)
        if known is None or known.wait in {"pending", "task"}:
            return False
        patience = known.patience_ms if known.patience_ms is not None else self._config.approvals.patience_ms
        return patience is None or patience >= PATIENT_MS

    def effect(self, agent: str, provider: str, name: str, arguments: JsonObject) -> Effect:
        """What the policy says of such a call; ALLOW when it cannot be told without the database."""
        from airlock.policy import Facts

        call = Call(
            id=make_id(),
            principal=Principal(name=agent, identity=f"agent:{agent}"),
            provider=provider,
            name=name,
            arguments=arguments,
            origin=Origin(workspace=self._config.workspace),
        )
        if not self._policy.knows(agent):
            return Effect.DENY
        if self._policy.needs(call):
            return Effect.ALLOW
        return self._policy.evaluate(call, Facts(now=now_ms())).effect
