"""`doctor` feeds each hook that is set up a call that the policy denies, as its client would, and reads the
answer. Nothing here can do harm if a door is open: no machine has that command, no client that tool.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from airlock.cli import overhttp
from airlock.cli.findings import FORBIDDEN_COMMAND, NO_SUCH_TOOL, Finding, note, ok, wrong
from airlock.cli.hookfiles import Hook, every_hook
from airlock.cli.init import own_command
from airlock.errors import UpstreamError
from airlock.ids import make_id
from airlock.model import Effect, JsonObject
from airlock.reach import loopback
from airlock.values import dataclass
from airlock.visible import bounded

if TYPE_CHECKING:
    from airlock.cli.doors import Doors

SECONDS: Final = 30.0
SHELL_ONLY: Final = frozenset({"beforeShellExecution"})
NOT_TRIED: Final = frozenset({"beforeReadFile", "beforeMCPExecution"})
"""They tell of nothing that could be harmlessly forbidden."""

SHELLS: Final = {"gemini-cli": "run_shell_command", "cursor": "Shell", "copilot": "run_in_terminal"}
REPORT: Final = "do not use this set-up; report it"


async def hooks(doors: Doors, project: Path, addresses: Iterable[str]) -> AsyncIterator[Finding]:
    """Each hook that asks Airlock before a call. `addresses` are those of the gateways of this config."""
    known = {urlsplit(one).hostname for one in (*addresses, os.environ.get("AIRLOCK_URL", "")) if one}
    for hook in every_hook(project):
        if hook.decides and hook.event not in NOT_TRIED:
            yield await _tried(hook, doors, project, known)


async def _tried(hook: Hook, doors: Doors, project: Path, known: set[str | None]) -> Finding:
    where = f"{hook.event} hook in `{hook.file}`"
    words = _words(hook)
    probe = _probe(hook, doors, _agent(hook, words), project)
    if not hook.url and not words:
        return note("replay", f"{where}: not tried, it does more than start `airlock hook`")
    if hook.url and not _near(hook.url, known):
        return note("replay", f"{where}: not tried, {bounded(hook.url, 200)} is not on this machine")
    if probe is None:
        return note("replay", f"{where}: not tried, the policy forbids neither any command nor any tool")
    if hook.url:
        return await asyncio.to_thread(_posted, hook, probe, where)
    return await _piped(words, probe, project, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A call that must be denied, in the client's own words, and how a person would call it."""

    payload: JsonObject
    what: str


def _agent(hook: Hook, words: list[str]) -> str:
    """The agent that the hook names; "" where only its key could tell."""
    if hook.url:
        return parse_qs(urlsplit(hook.url).query).get("agent", [""])[0]
    return _option(words, "--agent") or hook.client


def _probe(hook: Hook, doors: Doors, agent: str, project: Path) -> _Probe | None:
    """The first of our two calls that the policy denies this agent, or every agent when it is not known."""
    agents = [agent] if agent else list(doors.agents)
    tool = SHELLS.get(hook.client, "Bash")
    shell = ("bash", FORBIDDEN_COMMAND.split()[0], {"command": FORBIDDEN_COMMAND})
    if all(doors.effect(one, *shell) is Effect.DENY for one in agents):
        return _Probe(payload=_payload(hook, tool, shell[2], project), what="a forbidden command")
    unknown = ("", NO_SUCH_TOOL, {"command": FORBIDDEN_COMMAND})
    if hook.event not in SHELL_ONLY and all(doors.effect(one, *unknown) is Effect.DENY for one in agents):
        return _Probe(payload=_payload(hook, NO_SUCH_TOOL, unknown[2], project), what="a forbidden tool")
    return None


def _payload(hook: Hook, tool: str, arguments: JsonObject, project: Path) -> JsonObject:
    """What this client writes to its hook, as its documents and the real programs have it."""
    payload: JsonObject = {
        "hook_event_name": hook.event,
        "session_id": "airlock-doctor",
        "cwd": str(project),
        "tool_name": tool,
        "tool_input": arguments,
        "tool_use_id": f"toolu_{make_id()}",
    }
    if hook.client == "codex":
        payload["turn_id"] = "airlock-doctor"
    elif hook.client == "gemini-cli":
        payload["timestamp"] = "2026-01-01T00:00:00Z"
    elif hook.client == "copilot":
        payload["hookEventName"] = hook.event
    elif hook.client == "cursor":
        payload |= {"conversation_id": "airlock-doctor", "workspace_roots": [str(project)], **arguments}
    return payload


# A hook that is a command


def _words(hook: Hook) -> list[str]:
    """The options of `airlock hook` in the line, for us to run without a shell; [] if it is another."""
    line = hook.command.partition("||")[0]
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    if any(mark in line for mark in "|&;<>$`\n"):
        return []
    for start in (
        own_command(),
        ["airlock"],
        words[:1] if words and Path(words[0]).name == "airlock" else [],
    ):
        if start and words[: len(start)] == start and words[len(start) : len(start) + 1] == ["hook"]:
            return words[len(start) + 1 :] or ["--client", hook.client]
    return []


def _option(words: list[str], name: str) -> str:
    place = words.index(name) + 1 if name in words else 0
    return words[place] if 0 < place < len(words) else ""


async def _piped(words: list[str], probe: _Probe, project: Path, where: str) -> Finding:
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
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(json.dumps(probe.payload).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return wrong("replay", f"{where}: no answer within {SECONDS:g}s")
    if process.returncode == 2:
        said = bounded(" ".join(err.decode("utf-8", "replace").split()), 200)
        return wrong("replay", f"{where}: it stops every call: {said}", "mend that, or take the hook out")
    if process.returncode == 0 and denies(out):
        return _stopped(out, probe, where)
    return wrong("replay", f"{where}: {probe.what} was let through", REPORT)


# A hook that is an address


def _near(url: str, known: set[str | None]) -> bool:
    """True for an address of this machine, or of a gateway that is known to be ours: keys go nowhere else."""
    host = urlsplit(url).hostname or ""
    return loopback(host) or host in known


def _posted(hook: Hook, probe: _Probe, where: str) -> Finding:
    try:
        answer = overhttp.post(hook.url, probe.payload, _headers(hook), SECONDS)
    except UpstreamError as error:
        text = f"{where}: nothing answers at {bounded(hook.url, 200)}: {bounded(str(error), 200)}"
        return wrong("replay", text, "airlock gateway")
    if answer.status != 200 or not answer.airlock:
        text = f"{where}: no Airlock answers at {bounded(hook.url, 200)} (status {answer.status})"
        return wrong("replay", text, "give the hook the address of your gateway")
    if not denies(answer.body):
        return wrong("replay", f"{where}: {probe.what} was let through", REPORT)
    return _stopped(answer.body, probe, where)


def _headers(hook: Hook) -> dict[str, str]:
    """The hook's headers, with the variables that it may use, as Claude Code puts them in."""
    headers, allowed = hook.entry.get("headers"), hook.entry.get("allowedEnvVars")
    names = {str(one) for one in allowed} if isinstance(allowed, list) else set()
    env = {name: value for name, value in {**os.environ, **hook.env}.items() if name in names}
    if not isinstance(headers, Mapping):
        return {}
    return {str(name): _filled(str(value), env) for name, value in headers.items()}


def _filled(text: str, env: Mapping[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: env.get(found[1] or found[2], ""), text)


# What came back


def _stopped(out: bytes, probe: _Probe, where: str) -> Finding:
    said = " ".join(reason_of(out).split())
    if "credential" in said or "own token" in said:
        cure = "make a new one: airlock init --connect --write-client"
        return wrong("replay", f"{where}: its key is not accepted, so every call is refused ({said})", cure)
    return ok("replay", f"{where}: {probe.what} was stopped ({bounded(said, 120)})")


def denies(out: bytes) -> bool:
    """True for a well-formed *deny* in the words of one of the clients, and nothing that could be a yes."""
    answer = _object(out)
    inner = _object_of(answer.get("hookSpecificOutput"))
    decided = [
        answer.get("decision"),
        answer.get("permission"),
        answer.get("permissionDecision"),
        inner.get("permissionDecision"),
        _object_of(inner.get("decision")).get("behavior"),
    ]
    said = {one for one in decided if one is not None}
    return said == {"deny"}


def reason_of(out: bytes) -> str:
    """What the answer gives as its reason."""
    answer = _object(out)
    inner = _object_of(answer.get("hookSpecificOutput"))
    found = (
        inner.get("permissionDecisionReason"),
        _object_of(inner.get("decision")).get("message"),
        answer.get("reason"),
        answer.get("agent_message"),
    )
    return next((one for one in found if isinstance(one, str)), "")


def _object(out: bytes) -> Mapping[str, Any]:
    try:
        return _object_of(json.loads(out))
    except ValueError:
        return {}


def _object_of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
