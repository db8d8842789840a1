"""`airlock init`: put Airlock in front of the servers that a client has; `--undo` takes it out again."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from airlock.cli import connect, ledger, pins
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here
from airlock.cli.hookup import Link
from airlock.cli.hosts import HOSTS, Host, Section, Server, airlock_entry, host_named, sections_of
from airlock.cli.native import native_policy
from airlock.cli.places import config_path
from airlock.cli.plan import Plan, Planned, env_text, make_plan, provider_names, secrets_of
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.cli.shells import agent_of
from airlock.cli.survey import agreed, listed
from airlock.cli.trust import diff_lines
from airlock.cli.wiring import Change, Wiring, masked
from airlock.errors import ConfigError, UsageError
from airlock.home import state
from airlock.hookwire import Unreachable, split
from airlock.model import JsonObject
from airlock.values import dataclass
from airlock.visible import bounded

ENV_FILE = ".airlock.env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    hosts: tuple[str, ...]
    agent: str
    write_client: bool
    print_only: bool
    start: bool
    yes: bool
    force: bool
    connect: bool
    hooks: bool | None
    gateway: str
    plugin: Path | None

    @property
    def hooked(self) -> bool:
        """True when the clients' own tools are to be asked about: by default for clients that are named."""
        return bool(self.hosts) if self.hooks is None else self.hooks

    def link(self, host: Host, config: Path) -> Link:
        """How this client reaches Airlock."""
        agent = self.agent or host.agent
        command = tuple(own_command())
        return Link(agent=agent, command=command, config=config, gateway=self.gateway.rstrip("/"))


def _host_flags(command: Any) -> Any:
    for host in reversed(HOSTS):
        names = (f"--{host.name}", "--gemini") if host.name == "gemini-cli" else (f"--{host.name}",)
        option = click.option(*names, is_flag=True, help=f"Plug into {host.title}, and use its servers.")
        command = option(command)
    return command


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    """The gateway's address, as a hook would have to reach it."""
    try:
        if value:
            split(value)
    except Unreachable as error:
        raise UsageError(f"--gateway: `{bounded(value, 200)}` {error}") from None
    return value


@click.command(
    cls=Command,
    example="airlock init\nairlock init --claude-code --write-client\nairlock init --undo",
)
@_host_flags
@click.option("--agent", default="", metavar="NAME", help="The agent's name in the policy.")
@click.option("--write-client", is_flag=True, help="Also make the client start only Airlock; asks first.")
@click.option(
    "--hooks/--no-hooks", default=None, help="Also ask about a client's own tools (if it is named)."
)
@click.option(
    "--gateway",
    default="",
    callback=_address,
    metavar="URL",
    help="Its hooks ask the gateway there, with a key.",
)
@click.option(
    "--plugin",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a Claude Code plugin that does both.",
)
@click.option("--connect", is_flag=True, help="Plug into the config that is there; a client's servers stay.")
@click.option("--print", "print_only", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--no-start", is_flag=True, help="Start no server; every tool will be asked for.")
@click.option("--yes", is_flag=True, help="Agree to everything that would be asked.")
@click.option("--undo", is_flag=True, help="Put the clients' files back as they were, byte for byte.")
@click.option("--force", is_flag=True, help="Overwrite a config, or undo a file that changed since.")
def init(*, undo: bool, force: bool, no_start: bool, **given: Any) -> int:
    """Write a first config from the MCP servers that a client has already."""
    frame = here()
    hosts = tuple(host.name for host in HOSTS if given.pop(host.name.replace("-", "_")))
    if undo:
        return _undo(frame, hosts, force=force)
    return _init(frame, Wanted(hosts=hosts, force=force, start=not no_start, **given))


def _init(frame: Frame, wanted: Wanted) -> int:
    if wanted.connect:
        return _connect(frame, wanted)
    target = (frame.config or Path("airlock.yaml")).absolute()
    if target.exists() and not (wanted.print_only or wanted.force):
        raise UsageError(
            f"`{target}` is there already: edit it, plug a client into it with `--connect`, or use `--force`"
            " to write it anew"
        )
    sections = _sections(wanted.hosts, target.parent)
    hosts = [host_named(name) for name in wanted.hosts or tuple(dict.fromkeys(one.host for one in sections))]
    host = hosts[0] if hosts else HOSTS[0]
    wanted = replace(wanted, agent=wanted.agent or host.agent)
    if sections and all(map(_only_airlock, sections)):
        raise UsageError(
            f"`{sections[0].file}` starts only airlock already; `airlock init --undo` takes it out"
        )
    plan = _plan(host, sections, target, wanted)
    links = {one.name: wanted.link(one, target) for one in hosts}
    changes = _wired(sections, hosts, links, wanted, target.parent)
    if wanted.print_only:
        _print(frame, target, plan, changes)
        return Exit.DONE
    _write(target, plan)
    secret_values = tuple(plan.variables.values())
    writes = wanted.write_client or wanted.plugin is not None
    wrote = connect.write(changes, links, yes=wanted.yes, secrets=secret_values) if writes else []
    command = wanted.link(host, target).serve
    if frame.json:
        put_json(_report(target, plan, command, wrote))
        return Exit.DONE
    _say(target, plan)
    _say_client(host, command, wrote, others=bool(sections))
    if wrote and wanted.hooked:
        connect.tell(hosts, links, by_plugin=wanted.plugin is not None)
    return Exit.DONE


def _plan(host: Host, sections: list[Section], target: Path, wanted: Wanted) -> Plan:
    providers = listed(_planned(_servers(sections)), target, start=wanted.start, yes=wanted.yes)
    providers = agreed(providers, yes=wanted.yes or wanted.print_only)
    own = (ENV_FILE, target.name, str(state.state_path()))
    return make_plan(
        wanted.agent,
        providers,
        env_file=ENV_FILE,
        secret=secrets.token_urlsafe(32),
        basics=host.name == "claude-code",
        native=native_policy(host.name, wanted.agent, target.parent, own) if wanted.hooked else None,
    )


def _wired(
    sections: list[Section], hosts: list[Host], links: dict[str, Link], wanted: Wanted, project: Path
) -> list[Change]:
    """What the clients' files become: only Airlock where servers were, and its hooks."""
    wiring = Wiring(project)
    for section in sections:
        if wanted.plugin is not None and section.host == "claude-code":
            wiring.empty(section)
        elif not _only_airlock(section):
            wiring.replace(section, links[section.host])
    for host in hosts:
        if wanted.plugin is not None and host.name == "claude-code":
            wiring.plugin(wanted.plugin.absolute(), links[host.name])
            continue
        if all(section.host != host.name for section in sections):
            wiring.enter(host, links[host.name])
        if wanted.hooked:
            wiring.hook(host, links[host.name])
    return wiring.changes()


def _connect(frame: Frame, wanted: Wanted) -> int:
    """Plug clients into a config that is there; their other servers stay, and `doctor` names them."""
    from airlock.loader.file import load

    target = Path(os.path.realpath(config_path(frame)))
    agents = load(target, lenient=True).agents
    hosts = [host_named(name) for name in wanted.hosts or (HOSTS[0].name,)]
    links = {one.name: wanted.link(one, target) for one in hosts}
    for link in links.values():
        if link.agent not in agents:
            raise UsageError(f"`{target}` has no agent `{link.agent}`: add it, or name one with `--agent`")
    changes = _wired([], hosts, links, replace(wanted, hooks=wanted.hooks is not False), Path.cwd())
    writes = not wanted.print_only and (wanted.write_client or wanted.plugin is not None)
    staying = [one for host in hosts for section in sections_of(host, Path.cwd()) for one in section.servers]
    hidden = secrets_of(staying)
    wrote = connect.write(changes, links, yes=wanted.yes, secrets=hidden) if writes else []
    if frame.json:
        files = {str(change.file): masked(change.after, hidden) for change in changes}
        put_json({"ok": True, "file": str(target), "clients": wrote, "files": files})
        return Exit.DONE
    if not writes:
        connect.put_changes(changes, hidden)
    for file in wrote:
        put(f"{file} is written; `airlock init --undo` puts it back")
    if not changes:
        put("nothing to do: it is all there")
    if wrote:
        connect.tell(hosts, links, by_plugin=wanted.plugin is not None)
    return Exit.DONE


def own_command() -> list[str]:
    """How another program starts this very Airlock, whatever its PATH."""
    script = Path(sys.executable).with_name("airlock")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "airlock"]


# What there is


def _sections(names: tuple[str, ...], project: Path) -> list[Section]:
    """The servers of the named hosts, else of the first one that has any."""
    hosts = [host_named(name) for name in names] or list(HOSTS)
    found: list[Section] = []
    for host in hosts:
        sections = [one for one in sections_of(host, project) if one.servers]
        if names:
            found += sections
        elif sections:
            return sections
    return found


def _servers(sections: Iterable[Section]) -> list[Server]:
    """Every server once, without Airlock itself; the first of a name keeps it."""
    servers: dict[str, Server] = {}
    for section in sections:
        for one in section.servers:
            if not one.is_airlock and (one.command or one.url):
                servers.setdefault(one.name, one)
    return list(servers.values())


def _only_airlock(section: Section) -> bool:
    return all(one.is_airlock for one in section.servers)


def _planned(servers: list[Server]) -> list[Planned]:
    names = provider_names(servers)
    return [Planned(name=names[one.name], server=one) for one in servers]


# Writing


def _write(target: Path, plan: Plan) -> None:
    from airlock.loader.file import loads
    from airlock.policy import compile_policy

    try:
        text = env_text(plan.variables)
    except ValueError as error:
        raise UsageError(str(error)) from None
    env_file = target.parent / ENV_FILE
    if env_file.exists():
        text = _merged(env_file, text)
    ledger.replace_file(env_file, text.encode(), 0o600)
    try:
        # A variable of the client's own environment may be missing in this shell: that is no mistake.
        compile_policy(loads(plan.config, target, lenient=True))
    except ConfigError as error:
        raise UsageError(f"the servers cannot be written as a config: {error.problems[0]}") from None
    ledger.replace_file(target, plan.config.encode(), 0o600)
    if agent_of(os.environ) or pins.is_set():
        complain(f"it counts as found until you read it and run `airlock trust {target}`")
    else:
        state.trust(target)  # it was written from answers of the person at this terminal


def _merged(env_file: Path, text: str) -> str:
    """Lines that were there stay; what we write wins over the same name, but for a secret that is in use."""
    from airlock.loader.substitution import assignments

    before, _ = assignments(env_file.read_text(encoding="utf-8"))
    now, _ = assignments(text)
    return env_text(
        {**before, **now, **{name: before[name] for name in ("AIRLOCK_API_SECRET",) if name in before}}
    )


def _print(frame: Frame, target: Path, plan: Plan, changes: list[Change]) -> None:
    if frame.json:
        files = {str(change.file): masked(change.after, ()) for change in changes}
        variables = sorted(plan.variables)
        put_json({"file": str(target), "config": plan.config, "variables": variables, "clients": files})
        return
    put(f"# {target}")
    put(plan.config.rstrip("\n"))
    put(f"# {target.parent / ENV_FILE} would hold: {', '.join(sorted(plan.variables))}")
    connect.put_changes(changes)


def _report(target: Path, plan: Plan, command: list[str], wrote: list[str]) -> JsonObject:
    return {
        "ok": True,
        "file": str(target),
        "env_file": str(target.parent / ENV_FILE),
        "clients": wrote,
        "command": command,
        "notes": list(plan.notes),
    }


def _say(target: Path, plan: Plan) -> None:
    put(f"{target} is written, its secrets are in {target.parent / ENV_FILE}")
    for note in plan.notes:
        complain(note)
    if _unignored(target.parent):
        complain(f"`{ENV_FILE}` is not ignored by git here: add it to .gitignore")


def _say_client(host: Host, command: list[str], wrote: list[str], *, others: bool) -> None:
    if wrote:
        put(f"{host.title} starts only airlock now ({', '.join(wrote)}); `airlock init --undo` puts it back")
        return
    words = {
        "{command}": shlex.join(command),
        "{json}": json.dumps({"mcpServers": {"airlock": airlock_entry(host.name, command)}}),
        "{vscode}": json.dumps({"servers": {"airlock": airlock_entry("vscode", command)}}),
    }
    how = host.add
    for mark, text in words.items():
        how = how.replace(mark, text)
    put(f"to plug it into {host.title}:")
    put(f"  {how}")
    if others:
        put("  and take its other servers out: `airlock init --write-client --force` does both")
    put(f"  its own tools too: `airlock init --{host.name} --connect` shows how, `--write-client` does it")


def _unignored(folder: Path) -> bool:
    """True in a git work tree that would take the env file in."""
    if shutil.which("git") is None:
        return False
    asked = subprocess.run(
        ["git", "-C", str(folder), "check-ignore", "-q", ENV_FILE],
        capture_output=True,
        timeout=10,
        check=False,
    )
    return asked.returncode == 1


# Undo


def _undo(frame: Frame, hosts: tuple[str, ...], *, force: bool) -> int:
    written = [one for one in ledger.every() if not hosts or one.host in hosts]
    # Undoing here must not take Airlock out of another project.
    records = [one for one in written if one.project in {"", str(Path.cwd())}]
    if not records:
        elsewhere = ", ".join(sorted({f"`{one.project}`" for one in written}))
        where = f" from here: do it in {elsewhere}" if written else " by `airlock init`"
        raise UsageError(f"nothing to undo: no client's file was changed{where}")
    back: list[str] = []
    for record in records:
        if record.changed_since and not force:
            put_lines(diff_lines(record.difference())) if not frame.json else None
            complain(f"`{record.file}` changed since: `--force` puts it back all the same")
            continue
        connect.take_back(record)
        back.append(record.file)
    if frame.json:
        put_json({"ok": len(back) == len(records), "files": back})
    else:
        for file in back:
            put(f"{file} is as it was before")
    return Exit.DONE if len(back) == len(records) else Exit.FOUND_WRONG
