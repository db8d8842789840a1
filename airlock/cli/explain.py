"""`airlock policy explain`: what the policy says of one call, by which rule, and why not by the others."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from airlock.canonical import parse
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.lines import Line, Tone, hang, line, marked, span
from airlock.cli.places import config_of
from airlock.cli.render import complain, put_json, put_lines
from airlock.config import HOOK_NAMESPACES, Config
from airlock.errors import UsageError, WireError
from airlock.matching.selection import read_tool
from airlock.model import Call, Decision, Effect, JsonObject, Origin, Principal
from airlock.visible import bounded, visible

if TYPE_CHECKING:
    from airlock.explain import Explanation
    from airlock.policy import Facts, Policy

TONES = {Effect.ALLOW: Tone.GOOD, Effect.ASK: Tone.WARN, Effect.DENY: Tone.BAD}


@click.command(
    cls=Command,
    example="airlock policy explain --agent billing --tool pay/transfer --args '{\"n\": 5}'",
)
@click.option("--agent", required=True, metavar="NAME", help="Who would call.")
@click.option("--tool", required=True, metavar="NAME", help="`provider/tool`, `resource:…` or `prompt:…`.")
@click.option("--args", "arguments", default="{}", metavar="JSON", help="The arguments, a JSON object.")
@click.option("--cwd", default="", metavar="DIR", help="The directory that relative paths go by.")
def explain(agent: str, tool: str, arguments: str, cwd: str) -> int:
    """What the policy says of one call, by which rule and why. Decides and records nothing."""
    return wait_for(_explain(here(), agent, tool, _object(arguments), cwd))


async def _explain(frame: Frame, agent: str, tool: str, arguments: dict[str, Any], cwd: str) -> int:
    from airlock.explain import explain as explained
    from airlock.policy import compile_policy

    config = config_of(frame)
    policy = compile_policy(config)
    call = _call(config, agent, tool, arguments, cwd)
    found = explained(policy, call, await _facts(config, policy, call))
    if frame.json:
        put_json(_shape(call, found))
    else:
        put_lines(_lines(call, found))
        for hint in _hints(config, call):
            complain(hint)
    return Exit.DENIED if found.decision.effect is Effect.DENY else Exit.DONE


async def _facts(config: Config, policy: Policy, call: Call) -> Facts:
    """The facts that the policy asks for; the database is read only when a rate is among them."""
    from airlock.ids import now_ms
    from airlock.policy import Facts
    from airlock.queue.facts import gather
    from airlock.runtime import open_store

    needs = policy.needs(call)
    if not needs:
        return Facts(now=now_ms())
    store = await open_store(config)
    try:
        return await gather(needs, store, now_ms())
    finally:
        await store.close()


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse(text)
    except WireError as error:
        raise UsageError(f"--args: {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--args: the arguments are a JSON object, such as \'{"path": "x"}\'')
    return value


def _call(config: Config, agent: str, tool: str, arguments: dict[str, Any], cwd: str) -> Call:
    kind, provider, name = read_tool(tool)
    known = config.providers.get(provider)
    return Call(
        id="explain",
        kind=kind,
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        provider=provider,
        name=name,
        arguments=arguments,
        endpoint=known.endpoint if known else "",
        origin=Origin(road="cli", workspace=config.workspace, cwd=cwd),
    )


def _hints(config: Config, call: Call) -> Iterator[str]:
    """What a person may have meant, where the config has no such name."""
    if call.agent not in config.agents:
        near = get_close_matches(call.agent, config.agents, n=1)
        known = ", ".join(sorted(config.agents)) or "none"
        meant = f"did you mean `{near[0]}`?" if near else f"it has {known}"
        yield f"the config has no agent `{bounded(call.agent, 80)}`: {meant}"
    first, wire, rest = call.name.partition("__")
    if not call.provider and wire and first in config.providers:
        yield f"`{bounded(call.name, 80)}` is the name that clients see: in the policy it is `{first}/{rest}`"
    elif call.provider and call.provider not in {*config.providers, *config.compat, *HOOK_NAMESPACES}:
        near = get_close_matches(call.provider, config.providers, n=1)
        meant = f": did you mean `{near[0]}`?" if near else ""
        yield f"the config has no provider `{bounded(call.provider, 80)}`{meant}"


def _shape(call: Call, found: Explanation) -> JsonObject:
    decision = found.decision
    return {
        "agent": call.agent,
        "tool": call.tool,
        "effect": str(decision.effect),
        "rule": decision.rule or None,
        "reason": decision.reason or None,
        "risk": str(decision.terms.risk),
        "timeout_ms": decision.terms.timeout_ms,
        "quorum": decision.terms.quorum,
        "would": None if decision.would is None else str(decision.would),
        "parts": found.shape(),
        "revision": decision.revision,
    }


def _lines(call: Call, found: Explanation) -> list[Line]:
    """The effect and the rule that decides, then every rule that names the tool and what became of it."""
    decision = found.decision
    head = line(
        span(str(decision.effect), TONES[decision.effect]), f"  {bounded(call.tool, 300)} for {call.agent}"
    )
    rows = [head, *(_row(label, value) for label, value in _facts_of(decision) if value)]
    return [*rows, *(marked(visible(row)) or (span(""),) for row in found.lines()[1:])]


def _facts_of(decision: Decision) -> list[tuple[str, str]]:
    terms = decision.terms
    asked = decision.effect is Effect.ASK
    return [
        ("rule", decision.rule or "none"),
        ("reason", decision.reason),
        ("risk", str(terms.risk) if asked else ""),
        ("needs", f"{terms.quorum} yes" if asked and terms.quorum > 1 else ""),
    ]


def _row(label: str, value: str) -> Line:
    return line("  ", span(f"{label:<7} ", Tone.DIM), hang(), bounded(value, 2000))
