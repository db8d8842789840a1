"""Policies and calls for tests, written as people write them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from posixpath import normpath
from typing import Any

from airlock.cases import NOON
from airlock.config import Config
from airlock.loader.file import loads
from airlock.matching.selection import read_tool
from airlock.model import Call, Decision, Effect, Kind, Origin, Part, Principal
from airlock.policy import Facts, Policy, compile_policy

HOME = Path("/srv/airlock")
AGENT = "bot"


def config_of(text: str) -> Config:
    """The config that this YAML means, as if it stood in /srv/airlock/airlock.yaml."""
    return loads(textwrap.dedent(text), HOME / "airlock.yaml", env={})


def policy_of(text: str) -> Policy:
    """The compiled policy of this YAML."""
    return compile_policy(config_of(text))


def rule_policy(body: str, *, effect: str = "allow", before: str = "") -> Policy:
    """A policy with one rule for `fs/*` of the agent `bot`; `body` is the rest of the rule."""
    rule = textwrap.indent(textwrap.dedent(body), "    ")
    return policy_of(
        "providers:\n"
        "  fs: {type: stdio, command: fs-server, cwd: /srv/data}\n"
        '  far: {type: http, url: "https://far.example/mcp"}\n'
        f"agents:\n  {AGENT}: {{{before}}}\n"
        f"rules:\n  - id: the-rule\n    tool: [fs/*, far/*, bash/*]\n    effect: {effect}\n{rule}\n"
    )


def call_of(
    tool: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    agent: str = AGENT,
    cwd: str = "/work",
    parts: tuple[Part, ...] = (),
    **origin: str,
) -> Call:
    """A call of this tool, named as in a policy."""
    kind, provider, name = read_tool(tool)
    return Call(
        id="call",
        kind=kind,
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        provider=provider,
        name=name,
        arguments=arguments or {},
        parts=parts,
        origin=Origin(workspace=str(HOME / "airlock.yaml"), cwd=cwd, **origin),
    )


def decide(
    policy: Policy,
    call: Call,
    *,
    now: int = NOON,
    used: int = 0,
    links: Mapping[str, str | None] | None = None,
) -> Decision:
    """Decide a call in a world where `links` are symlinks and every rate has been used `used` times."""
    needs = policy.needs(call)
    resolved = {path: _resolve(path, links or {}) for path in needs.paths}
    return policy.evaluate(
        call, Facts(now=now, rates={rate.scope: used for rate in needs.rates}, resolved=resolved)
    )


def _resolve(path: str, links: Mapping[str, str | None]) -> str | None:
    """What the kernel would make of a path: symlinks before `..`."""
    found = ""
    for segment in path.split("/"):
        if segment == "..":
            found = found.rpartition("/")[0]
        elif segment:
            found = f"{found}/{segment}"
            target = links.get(found, found)
            if target is None:
                return None
            found = target
    return normpath(found or "/")


def effect_of(policy: Policy, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Effect:
    """The effect for a call of this tool."""
    options = {name: more.pop(name) for name in ("now", "used", "links") if name in more}
    return decide(policy, call_of(tool, arguments, **more), **options).effect


def listed(policy: Policy, tool: str, agent: str = AGENT) -> Effect | None:
    """The effect with which a tool is listed."""
    kind, provider, name = read_tool(tool)
    return policy.listing(agent, Kind(kind), provider, name)


STORY = """
providers:
  git: {type: stdio, command: git-server}
  pay: {type: stdio, command: pay-server}
  docs: {type: stdio, command: docs-server}
people: {alice: {local: alice}, bob: {local: bob}, carol: {local: carol}}
profiles:
  readonly: {allow: ["*/read_*", "*/get_*"]}
  careful: {extends: [readonly], deny: ["git/git_reset"]}
agents:
  bot:
    extends: [careful]
    allow: ["git/git_status", "pay/*", "bash/git", "bash/ls", "resource:docs/**", "!resource:docs/file:///secret/**"]
    ask: ["git/*", "!git/git_status", "bash/curl"]
    deny: ["bash/rm", "resource:docs/file:///etc/**"]
  other: {}
rules:
  - {id: big, tool: pay/transfer, effect: ask, args: {amount: {gt: 100}}, reason: big payments need a person,
     risk: medium, timeout: 10m, reuse: 5m, quorum: 2, approvers: [alice, bob], redact: [iban]}
  - {id: abroad, tool: pay/transfer, effect: ask, args: {country: {not_in: [DE, FR]}}, risk: high,
     timeout: 2m, reuse: 1m, approvers: [carol], redact: [note]}
  - {id: never, tool: pay/transfer, effect: deny, args: {to: eve}}
  - {id: seen, tool: pay/*, effect: allow, redact: [pin]}
"""
"""A policy with lists, profiles, exceptions, kinds and terms for the agent `bot`."""

RATED = """
providers: {pay: builtin}
agents: {bot: {}, other: {}}
rules:
  - {id: few, tool: pay/x, effect: allow, rate: 3/1m}
"""
"""A policy with one allow that holds three times a minute."""
