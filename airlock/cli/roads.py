"""`doctor` tries the door: a client that is not ours asks for what must not happen, by each road.

Nothing here can do harm if a door is open: the names are made up, and the arguments fit no tool.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from airlock.cli.findings import PROBE_TOOL, Finding, Hook, airlock_hooks, note, ok, wrong
from airlock.cli.init import own_command
from airlock.cli.replay import Client, connected, ran, text_of_result
from airlock.config import Config
from airlock.errors import AirlockError
from airlock.ids import make_id, now_ms
from airlock.model import Call, Effect, JsonObject, Kind, Origin, Principal
from airlock.visible import bounded

if TYPE_CHECKING:
    from airlock.inventory import Inventory
    from airlock.policy import Policy

PROBE = {"airlock_doctor": "this call must not run"}
FORBIDDEN_COMMAND = "airlock-doctor-forbidden-command --now"
ASK_SECONDS = 15.0
HOOK_SECONDS = 30.0


async def stdio(
    config: Config, policy: Policy, agents: Iterable[str], inventory: list[Inventory], granted: frozenset[str]
) -> AsyncIterator[Finding]:
    """Each agent's `airlock stdio`, as its client starts it."""
    for agent in agents:
        words = [*own_command(), "stdio", "--agent", agent, "--config", str(config.file)]
        try:
            async with connected(words, env=dict(os.environ)) as client:
                await client.initialize()
                listed = {str(tool.get("name")) for tool in await client.tools()}
                async for finding in _tried(
                    client, agent, listed, _Doors(config, policy, agent, inventory, granted)
                ):
                    yield finding
        except AirlockError as error:
            yield wrong("replay", f"{agent} over stdio: {bounded(str(error), 300)}")


class _Doors:
    """Which calls must be stopped for one agent."""

    def __init__(
        self, config: Config, policy: Policy, agent: str, inventory: list[Inventory], granted: frozenset[str]
    ) -> None:
        self._config = config
        self._policy = policy
        self._agent = agent
        self._granted = granted
        self._tools = [(one.provider, str(tool.get("name"))) for one in inventory for tool in one.tools]

    def hidden(self) -> str:
        """The wire name of a tool that is denied whatever the arguments."""
        for provider, name in self._tools:
            if self._policy.listing(self._agent, Kind.TOOL, provider, name) is None:
                return f"{provider}__{name}"
        return ""

    def asked(self, listed: set[str]) -> str:
        """The wire name of a listed tool that must ask with the probe's arguments."""
        for provider, name in self._tools:
            wire = f"{provider}__{name}"
            asks = wire in listed and f"{provider}/{name}" not in self._granted
            if asks and self.effect(provider, name, PROBE) is Effect.ASK:
                return wire
        return ""

    def effect(self, provider: str, name: str, arguments: JsonObject) -> Effect:
        """What the policy says of such a call; ALLOW when it cannot be told without the database."""
        from airlock.policy import Facts

        call = Call(
            id=make_id(),
            principal=Principal(name=self._agent, identity=f"agent:{self._agent}"),
            provider=provider,
            name=name,
            arguments=arguments,
            origin=Origin(workspace=self._config.workspace),
        )
        if self._policy.needs(call):
            return Effect.ALLOW
        return self._policy.evaluate(call, Facts(now=now_ms())).effect


async def _tried(client: Client, agent: str, listed: set[str], doors: _Doors) -> AsyncIterator[Finding]:
    yield _stopped(agent, "an unknown tool", await client.call(PROBE_TOOL, PROBE).result())
    hidden = doors.hidden()
    if hidden:
        yield _stopped(agent, f"the forbidden tool `{hidden}`", await client.call(hidden, PROBE).result())
    asked = doors.asked(listed)
    if asked:
        yield await _held(client, agent, asked)


def _stopped(agent: str, what: str, answer: JsonObject) -> Finding:
    if ran(answer):
        return wrong(
            "replay", f"{agent} over stdio: {what} was let through", "do not use this set-up; report it"
        )
    return ok("replay", f"{agent} over stdio: {what} was stopped ({bounded(text_of_result(answer), 120)})")


async def _held(client: Client, agent: str, tool: str) -> Finding:
    """A tool that must ask: held without an approval, and given up before anybody answers."""
    waits = asyncio.Event()
    pending = client.call(tool, PROBE, lambda _: waits.set())
    answered = asyncio.ensure_future(pending.result(ASK_SECONDS))
    waiting = asyncio.ensure_future(waits.wait())
    await asyncio.wait({answered, waiting}, timeout=ASK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if answered.done() and answered.exception() is None:
        return _stopped(agent, f"`{tool}` without an approval", answered.result())
    pending.cancel()
    answered.cancel()
    await asyncio.gather(answered, waiting, return_exceptions=True)
    return ok("replay", f"{agent} over stdio: `{tool}` did not run without an approval")


async def hooks(config: Config, policy: Policy, project: Path) -> AsyncIterator[Finding]:
    """Each hook of Claude Code that starts `airlock hook`: fed a command that no rule allows."""
    for hook in airlock_hooks(project):
        if hook.event != "PreToolUse":
            continue
        words = _words(hook)
        where = f"hook in `{hook.file}`"
        agent = _option(words, "--agent") or "claude-code"
        doors = _Doors(config, policy, agent, [], frozenset())
        effect = doors.effect("bash", "airlock-doctor-forbidden-command", {"command": FORBIDDEN_COMMAND})
        if not words:
            yield note("replay", f"{where}: only hooks that start `airlock hook` are tried")
        elif effect is not Effect.DENY:
            yield note("replay", f"{where}: not tried, the policy would {effect} any command for {agent}")
        else:
            yield await _hooked(words, project, where)


def _words(hook: Hook) -> list[str]:
    """The options of `airlock hook` in the line, for us to run without a shell; [] if it is another."""
    try:
        words = shlex.split(hook.command.partition("||")[0])
    except ValueError:
        return []
    if len(words) < 2 or Path(words[0]).name != "airlock" or words[1] != "hook":
        return []
    return words[2:] if not any(mark in hook.command.partition("||")[0] for mark in "|&;<>$`") else []


def _option(words: list[str], name: str) -> str:
    place = words.index(name) + 1 if name in words else 0
    return words[place] if 0 < place < len(words) else ""


async def _hooked(words: list[str], project: Path, where: str) -> Finding:
    payload = {
        "hook_event_name": "PreToolUse",
        "session_id": "airlock-doctor",
        "cwd": str(project),
        "tool_name": "Bash",
        "tool_input": {"command": FORBIDDEN_COMMAND},
        "tool_use_id": f"toolu_{make_id()}",
    }
    process = await asyncio.create_subprocess_exec(
        *own_command(),
        "hook",
        *words,
        cwd=project,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(HOOK_SECONDS):
            out, _ = await process.communicate(json.dumps(payload).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return wrong("replay", f"{where}: no answer within {HOOK_SECONDS:g}s")
    if process.returncode == 2 or _denies(out):
        return ok("replay", f"{where}: a forbidden command was stopped")
    return wrong(
        "replay", f"{where}: a forbidden command was let through", "do not use this set-up; report it"
    )


def _denies(out: bytes) -> bool:
    try:
        answer = json.loads(out)
        return bool(answer["hookSpecificOutput"]["permissionDecision"] == "deny")
    except (ValueError, KeyError, TypeError):
        return False
