"""What `doctor` looks at without trying anything: config, secrets, database, clients, hooks, processes."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airlock.cli import pins
from airlock.cli.hookfiles import Hook, every_hook, settings_of
from airlock.cli.hosts import HOSTS, sections_of
from airlock.config import Config
from airlock.errors import UsageError
from airlock.home import state
from airlock.ids import now_ms
from airlock.ports import AuditEntry, AuditFilter
from airlock.ports_faces import RecordFilter
from airlock.runtime import database_path
from airlock.values import dataclass
from airlock.visible import bounded

if TYPE_CHECKING:
    from airlock.inventory import Inventory
    from airlock.runtime import Runtime

RECENT_MS = 24 * 3600 * 1000
OWN_FILES = 0o077

PROBE_TOOL = "airlock__doctor_no_such_tool"
"""The name that the replay asks for, and that no server has."""

FORBIDDEN_COMMAND = "airlock-doctor-forbidden-command --now"
NO_SUCH_TOOL = "AirlockDoctorNoSuchTool"
"""What the replay feeds to hooks."""

PROBES = (PROBE_TOOL, FORBIDDEN_COMMAND.split(maxsplit=1)[0], NO_SUCH_TOOL)


class Level(StrEnum):
    """How bad it is: `wrong` makes `doctor` end with 8."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, what was seen, and what to do about it."""

    check: str
    level: Level
    text: str
    cure: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well there."""
    return Finding(check=check, level=Level.OK, text=text)


def note(check: str, text: str, cure: str = "") -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding(check=check, level=Level.NOTE, text=text, cure=cure)


def wrong(check: str, text: str, cure: str = "") -> Finding:
    """Something to mend."""
    return Finding(check=check, level=Level.WRONG, text=text, cure=cure)


def secrets(config: Config) -> Iterator[Finding]:
    """The people's secret, and who else can read the files that hold it."""
    if config.server.api_secret is None:
        cure = "set `server.api_secret`; `airlock init` writes one"
        yield wrong(
            "secret", "no `server.api_secret`: every program on this machine can decide over HTTP", cure
        )
    else:
        yield ok("secret", "the people's secret is set")
    for file in (config.file, *config.sources):
        mode = _mode(file)
        if mode is not None and mode & 0o022:
            yield wrong("files", f"`{file}` can be changed by other users", f"chmod go-w {file}")


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return None


def pin() -> Iterator[Finding]:
    """Whether a program of the same user could decide by a command."""
    if pins.is_set():
        yield ok("pin", "deciding on this machine asks for the PIN")
    else:
        text = "no PIN: a program that hides that it is an agent could run `airlock approve` as you"
        yield note("pin", text, "airlock pin set")


async def database(runtime: Runtime) -> Iterator[Finding]:
    """The file, its neighbours, SQLite's version, every page, and the chain."""
    return iter([*_files(runtime.config), *await _pages(runtime), *await _chain(runtime)])


def _files(config: Config) -> Iterator[Finding]:
    path = database_path(config)
    for file in (path, path.parent):
        mode = _mode(file)
        if mode is not None and mode & OWN_FILES and (file == path or file == state.state_path()):
            yield wrong("database", f"`{file}` can be read by other users", f"chmod go= {file}")


async def _pages(runtime: Runtime) -> Iterator[Finding]:
    facts = await runtime.store.facts(check=True)
    found = [
        ok("database", f"{facts.path}: {facts.events} events, {facts.pending} waiting, schema {facts.schema}")
    ]
    if facts.damage:
        cure = "restore a copy made by `airlock db backup`"
        found.append(wrong("database", f"SQLite finds it damaged: {facts.damage}", cure))
    if facts.log_held:
        found.append(
            wrong("database", facts.log_held, "end the program that reads; the log shrinks by itself")
        )
    if facts.wal_reset_bug:
        text = f"SQLite {facts.sqlite_version} has the WAL-reset bug; Airlock's lock around writes closes it"
        found.append(note("sqlite", text, "let nothing but Airlock open the database for writing"))
    else:
        found.append(ok("sqlite", f"SQLite {facts.sqlite_version}"))
    return iter(found)


async def _chain(runtime: Runtime) -> Iterator[Finding]:
    report = await runtime.store.verify()
    if report.sound:
        return iter([ok("audit", f"the chain holds, its head is event {report.last_seq}")])
    where = "" if report.broken_at is None else f" at event {report.broken_at}"
    return iter([wrong("audit", f"the chain is broken{where}: {report.problem}", "airlock audit verify")])


async def unruled(runtime: Runtime) -> Iterator[Finding]:
    """Tools that were denied of late because no rule names them: often a rule was only forgotten."""
    since = now_ms() - RECENT_MS
    entries = await runtime.store.entries(AuditFilter(since=since, limit=10_000))
    names = {f"{one.agent_id}: {one.tool}" for one in entries if _ruleless(one)}
    if not names:
        return iter([ok("rules", "nothing was denied of late for want of a rule")])
    shown = ", ".join(bounded(name, 120) for name in sorted(names)[:10])
    text = f"denied in the last day because no rule names it: {shown}"
    return iter([note("rules", text, "name it in `allow`, `ask` or `deny`")])


def _ruleless(entry: AuditEntry) -> bool:
    ours = any(probe in entry.tool for probe in PROBES)
    return entry.result == "denied" and not entry.rule and not ours


async def rego(runtime: Runtime) -> Iterator[Finding]:
    """Whether the Rego policies that the firewall's API keeps can be evaluated: where not, they deny."""
    if "firewall" not in runtime.config.compat:
        return iter(())
    count = await runtime.store.count_records(RecordFilter(face="firewall", kind="policy"))
    if not count or importlib.util.find_spec("regorus") is not None:
        return iter([ok("rego", f"the firewall keeps {count} Rego policies")])
    text = f"the firewall's Rego policies ({count}) deny every action: `regorus` is not installed"
    return iter([wrong("rego", text, "pip install 'airlock-gate[rego]'")])


def servers(inventory: Iterable[Inventory], config: Config) -> Iterator[Finding]:
    """Which servers start and list their tools."""
    for one in inventory:
        if one.problem:
            ours = config.providers[one.provider].type == "stdio"
            yield wrong(
                "servers",
                f"`{one.provider}` is broken: {bounded(one.problem, 300)}",
                "try its command by hand" if ours else "is it running, and is its `url` right?",
            )
        else:
            yield ok("servers", f"`{one.provider}` offers {len(one.tools)} tools")


def bypasses(project: Path) -> Iterator[Finding]:
    """Servers that a client starts beside Airlock: nobody judges their calls."""
    clear = True
    for host in HOSTS:
        try:
            sections = list(sections_of(host, project))
        except UsageError as error:
            yield note("clients", str(error))
            continue
        for section in sections:
            beside = [one.name for one in section.servers if not one.is_airlock and not one.disabled]
            if beside:
                clear = False
                names = ", ".join(f"`{bounded(name, 60)}`" for name in beside)
                text = f"{host.title} starts {names} past Airlock ({section.file})"
                anew = f"airlock init --{host.name} --write-client --force (it writes the config anew)"
                yield wrong("clients", text, f"{anew}, or move them under `providers` by hand")
    if clear:
        yield ok("clients", "no client starts a server past Airlock, as far as their files say")


def hooks(project: Path) -> Iterator[Finding]:
    """Hooks that would let a call through when they fail, and settings that switch them off."""
    found = [hook for hook in every_hook(project) if hook.decides]
    own = any(hook.client == "claude-code" for hook in found)
    for file, settings in settings_of("claude-code", project):
        yield from _settings(file, settings, hooked=own)
    for hook in found:
        yield _hook(hook)
    if not own:
        text = "no hook: Claude Code's own tools (Bash, Edit, WebFetch …) are not judged by Airlock"
        yield note("hooks", text, "airlock init --claude-code --connect --write-client")


def _settings(file: Path, settings: Mapping[str, Any] | None, *, hooked: bool) -> Iterator[Finding]:
    if settings is None:
        yield wrong("hooks", f"`{file}` cannot be read: Claude Code may ignore the hooks in it")
        return
    if settings.get("disableAllHooks") is True:
        yield wrong("hooks", f"`{file}` switches all hooks off", "remove `disableAllHooks`")
    mode = settings.get("permissions")
    if isinstance(mode, Mapping) and mode.get("defaultMode") == "bypassPermissions" and not hooked:
        yield wrong("hooks", f"`{file}` lets Claude Code run its own tools unasked, and no hook asks Airlock")


def _hook(hook: Hook) -> Finding:
    """Whether a hook that fails stops the call; each client has its own way to be told so."""
    where = f"{hook.event} in `{hook.file}`"
    ends = "exit 2" in hook.command
    closed = {
        "claude-code": hook.entry.get("onFailure") == "block",
        "cursor": bool(hook.entry.get("failClosed")),
    }
    if not closed.get(hook.client, ends):
        cures = {
            "claude-code": 'add `"onFailure": "block"` to it (Claude Code 2.1.296 or newer)',
            "cursor": 'add `"failClosed": true` to it',
        }
        text = f"the hook of {where} lets the call through when it fails"
        return wrong("hooks", text, cures.get(hook.client, "end its command with `|| exit 2`"))
    if hook.command and not ends:
        text = f"the hook of {where} does not end in `|| exit 2`: older versions would fail open"
        return note("hooks", text, "end its command with `|| exit 2`")
    return ok("hooks", f"the hook of {where} blocks when it fails")


def processes(config: Config) -> Iterator[Finding]:
    """Processes that run an Airlock older than the one on the disk."""
    package = Path(__file__).resolve().parent.parent / "__init__.py"
    upgraded = int(package.stat().st_mtime * 1000)
    running = [
        one for one in state.registered() if one.database == config.database and one.pid != os.getpid()
    ]
    for one in running:
        if one.started_at < upgraded:
            text = f"process {one.pid} ({one.road} {bounded(one.agent, 60)}) is older than this Airlock"
            yield note("processes", text, "restart the client that started it")
    yield ok("processes", f"{len(running)} more processes of yours use this database")


def gateways(config: Config) -> tuple[str, ...]:
    """Where the gateways of this config listen that run now."""
    running = (one for one in state.registered() if one.road == "gateway" and one.config == str(config.file))
    return tuple(one.address for one in running if one.address)


def shape(finding: Finding) -> dict[str, Any]:
    """One finding as JSON."""
    return {
        "check": finding.check,
        "level": str(finding.level),
        "text": finding.text,
        "cure": finding.cure or None,
    }


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """All findings as one JSON document."""
    rows = [shape(one) for one in findings]
    return {"ok": all(row["level"] != Level.WRONG for row in rows), "findings": rows}
