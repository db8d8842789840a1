"""`airlock doctor`: find out what is wrong with a set-up, and try whether the gate is closed."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airlock.cli import findings, hooktrial, roads
from airlock.cli.doors import Doors
from airlock.cli.exits import Exit
from airlock.cli.faults import faults
from airlock.cli.findings import Finding, Level, note, ok, wrong
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.lines import Line, Tone, hang, line, marked, span
from airlock.cli.render import put_json, put_lines
from airlock.config import Config
from airlock.errors import AirlockError, ConfigError, StoreError, UsageError
from airlock.home import state
from airlock.visible import bounded, visible

if TYPE_CHECKING:
    from airlock.policy import Policy
    from airlock.runtime import Runtime

TONES = {Level.OK: Tone.GOOD, Level.NOTE: Tone.WARN, Level.WRONG: Tone.BAD}


@click.command(cls=Command, example="airlock doctor\nairlock doctor --no-replay --json")
@click.option("--agent", default="", metavar="NAME", help="Replay only for this agent.")
@click.option("--no-replay", is_flag=True, help="Start no server, and try no forbidden call.")
def doctor(agent: str, no_replay: bool) -> int:
    """Check the whole set-up, and let a stand-in for a client try what must not work."""
    return wait_for(_doctor(here(), agent, replay=not no_replay))


async def _doctor(frame: Frame, agent: str, *, replay: bool) -> int:
    found: list[Finding] = []
    async for finding in _examined(frame, agent, replay=replay):
        found.append(finding)
        if not frame.json:
            put_lines(_lines(finding))
    if frame.json:
        put_json(findings.as_json(found))
    bad = sum(one.level is Level.WRONG for one in found)
    if not frame.json:
        put_lines([line(""), line(f"{bad} to mend" if bad else "nothing to mend")])
    return Exit.FOUND_WRONG if bad else Exit.DONE


def _lines(one: Finding) -> Iterator[Line]:
    yield line(
        span(f"{one.level:<5} ", TONES[one.level]),
        span(f"{one.check:<9} ", Tone.DIM),
        hang(),
        *marked(visible(one.text)),
    )
    if one.cure:
        yield line(" " * 16, hang(), span(f"→ {visible(one.cure)}", Tone.DIM))


async def _examined(frame: Frame, agent: str, *, replay: bool) -> AsyncIterator[Finding]:
    project = Path.cwd()
    if platform.system() not in {"Linux", "Darwin"}:
        yield wrong("system", f"{platform.system()} is not supported", "use WSL")
    for finding in (*findings.pin(), *findings.bypasses(project), *findings.hooks(project)):
        yield finding
    try:
        located = state.locate(frame.config)
    except UsageError as error:
        yield wrong("config", str(error), "airlock init")
        return
    later = "airlock doctor, without --no-replay"
    if located.found and not state.trusted(located.path):
        yield wrong(
            "trust",
            f"`{located.path}` was only found here, so `stdio`, `gateway` and `hook` refuse it",
            f"read it, then: airlock trust {located.path}",
        )
        replay, later = False, "trust the config first"
    opened = _config(located.path)
    for finding in opened[0]:
        yield finding
    if opened[1] is not None and opened[2] is not None:
        async for finding in _running(opened[1], opened[2], agent, project, replay=replay):
            yield finding
        if not replay:
            yield note("replay", "no forbidden call was tried", later)


def _config(path: Path) -> tuple[list[Finding], Config | None, Policy | None]:
    """The config and its policy, when they load; every problem is a finding of its own."""
    from airlock.cases import run_cases
    from airlock.loader.file import load
    from airlock.policy import compile_policy

    try:
        config = load(path)
        policy = compile_policy(config)
    except ConfigError as error:
        return [wrong("config", str(problem)) for problem in faults(path, error)], None, None
    found = [note("config", str(one)) for one in (*config.warnings, *policy.warnings)]
    results = run_cases(policy, config)
    found += [wrong("tests", f"{one.case.where}: {one.message}") for one in results if not one.passed]
    passed = sum(one.passed for one in results)
    tested = f"{passed} of its {len(results)} tests passed" if results else "it has no tests of its own"
    found.append(ok("config", f"{path} is valid, {tested}"))
    return [*found, *findings.secrets(config)], config, policy


async def _running(
    config: Config, policy: Policy, agent: str, project: Path, *, replay: bool
) -> AsyncIterator[Finding]:
    """What needs the database and the servers."""
    from dataclasses import replace

    from airlock.runtime import opened

    if agent and not policy.knows(agent):
        raise UsageError(
            f"unknown agent `{agent}`: the config has {', '.join(sorted(config.agents)) or 'none'}"
        )
    granted: frozenset[str] = frozenset()
    try:
        async with opened(replace(config, tests=()), road="cli", notify=False) as runtime:
            granted = frozenset(one.tool for one in await runtime.gate.grants())
            for finding in await _stored(runtime):
                yield finding
    except StoreError as error:
        yield wrong("database", str(error))
        return
    if not replay:
        return
    async for finding in _tried(config, policy, agent, project, granted):
        yield finding


async def _stored(runtime: Runtime) -> list[Finding]:
    return [
        *await findings.database(runtime),
        *await findings.unruled(runtime),
        *await findings.rego(runtime),
        *findings.processes(runtime.config),
    ]


async def _tried(
    config: Config, policy: Policy, agent: str, project: Path, granted: frozenset[str]
) -> AsyncIterator[Finding]:
    from airlock.inventory import describe_tools

    inventory = await describe_tools(config)
    for finding in findings.servers(inventory, config):
        yield finding
    doors = Doors(config, policy, inventory, granted)
    agents = [agent] if agent else doors.agents
    addresses = findings.gateways(config)
    try:
        async for finding in roads.stdio(config, doors, agents):
            yield finding
        for address in addresses:
            async for finding in roads.gateway(config, doors, agents, roads.reachable(address)):
                yield finding
        async for finding in hooktrial.hooks(doors, project, addresses):
            yield finding
    except (AirlockError, OSError) as error:
        yield wrong("replay", f"cannot be tried: {bounded(str(error), 300)}")
