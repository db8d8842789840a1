"""`airlock tools`: every tool behind Airlock, and what an agent may do with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.places import checked_config
from airlock.cli.render import complain, put, put_json, put_table
from airlock.errors import UsageError
from airlock.model import JsonObject, Kind
from airlock.visible import bounded

if TYPE_CHECKING:
    from airlock.inventory import Inventory
    from airlock.policy import Policy


@click.command(cls=Command, example="airlock tools --agent claude-code")
@click.option("--agent", default="", metavar="NAME", help="Only for this agent.")
def tools(agent: str) -> int:
    """Start the servers of the config, and list their tools with the effect for each agent."""
    return wait_for(_tools(here(), agent))


async def _tools(frame: Frame, agent: str) -> int:
    from airlock.inventory import describe_tools, wire_names
    from airlock.policy import compile_policy

    config = checked_config(frame)
    policy = compile_policy(config)
    if agent and not policy.knows(agent):
        raise UsageError(
            f"unknown agent `{agent}`: the config has {', '.join(sorted(config.agents)) or 'none'}"
        )
    agents = [agent] if agent else sorted(config.agents)
    found = await describe_tools(config)
    for one in found:
        if one.problem:
            complain(f"`{one.provider}` is left out: {bounded(one.problem, 500)}")
    names = wire_names(config, found)
    for problem in names.problems:
        complain(problem)
    rows = [row for one in found for row in _rows(one, agents, policy, names.wires)]
    if frame.json:
        put_json([{**row, "problem": None} for row in rows] + [_broken(one) for one in found if one.problem])
    elif rows:
        put_table(("tool", *agents, "hints"), [_cells(row, agents) for row in rows])
    else:
        put("no tools")
    return Exit.DONE


def _rows(
    one: Inventory, agents: list[str], policy: Policy, wires: Mapping[tuple[str, str], str]
) -> Iterator[JsonObject]:
    for tool in one.tools:
        name = str(tool["name"])
        wire = wires.get((one.provider, name))
        yield {
            "provider": one.provider,
            "tool": f"{one.provider}/{name}",
            "wire": wire,
            "effects": {
                agent: effect_of(policy, agent, one.provider, name) if wire else "hidden" for agent in agents
            },
            "description": str(tool.get("description", "")),
            "annotations": tool.get("annotations") or {},
        }


def effect_of(policy: Policy, agent: str, provider: str, name: str) -> str:
    """What listing says of a tool: allow, ask, or hidden, which is denied whatever the arguments."""
    effect = policy.listing(agent, Kind.TOOL, provider, name)
    return "hidden" if effect is None else str(effect)


def _broken(one: Inventory) -> JsonObject:
    return {"provider": one.provider, "tool": None, "wire": None, "effects": {}, "problem": one.problem}


def _cells(row: JsonObject, agents: list[str]) -> list[str]:
    hints = [name for name, value in row["annotations"].items() if value is True]
    return [row["tool"], *(row["effects"][agent] for agent in agents), ", ".join(hints)]
