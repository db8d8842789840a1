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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from airlock import state
from airlock.cli import ledger
from airlock.cli.authority import confirmed
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.hosts import HOSTS, Host, Section, Server, airlock_entry, host_named, rewritten, sections_of
from airlock.cli.plan import Plan, Planned, env_text, make_plan, provider_names, reads_only
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.cli.shells import agent_of
from airlock.cli.trust import diff_lines
from airlock.config import Config, ProviderConfig, Secret
from airlock.errors import ConfigError, UsageError
from airlock.model import JsonObject
from airlock.visible import bounded, visible

ENV_FILE = ".airlock.env"
LIST_SECONDS = 60.0


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


def _host_flags(command: Any) -> Any:
    for host in reversed(HOSTS):
        option = click.option(f"--{host.name}", is_flag=True, help=f"Use the servers of {host.title}.")
        command = option(command)
    return command


@click.command(
    cls=Command,
    example="airlock init\nairlock init --claude-code --write-client\nairlock init --undo",
)
@_host_flags
@click.option("--agent", default="", metavar="NAME", help="The agent's name in the policy.")
@click.option("--write-client", is_flag=True, help="Also make the client start only Airlock; asks first.")
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
    target = (frame.config or Path("airlock.yaml")).absolute()
    if target.exists() and not (wanted.print_only or wanted.force):
        raise UsageError(f"`{target}` is there already: edit it, or use `--force` to write it anew")
    sections = _sections(wanted.hosts, target.parent)
    host = host_named(sections[0].host if sections else (wanted.hosts or (HOSTS[0].name,))[0])
    agent = wanted.agent or host.agent
    if sections and all(map(_only_airlock, sections)):
        raise UsageError(
            f"`{sections[0].file}` starts only airlock already; `airlock init --undo` takes it out"
        )
    providers = _listed(_planned(_servers(sections)), target, wanted)
    providers = _agreed(providers, wanted)
    plan = make_plan(
        agent,
        providers,
        env_file=ENV_FILE,
        secret=secrets.token_urlsafe(32),
        basics=host.name == "claude-code",
    )
    command = [*own_command(), "stdio", "--agent", agent, "--config", str(target)]
    changes = [(section, command) for section in sections if not _only_airlock(section)]
    if wanted.print_only:
        _print(frame, target, plan, changes)
        return Exit.DONE
    _write(target, plan)
    wrote = _write_clients(changes, wanted, plan.variables.values()) if wanted.write_client else []
    if frame.json:
        put_json(_report(target, plan, command, wrote))
        return Exit.DONE
    _say(target, plan)
    _say_client(host, command, wrote)
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


# Their tools


def _listed(providers: list[Planned], target: Path, wanted: Wanted) -> list[Planned]:
    """The providers with their tools. Starting programs that a file names is asked first."""
    usable = [one for one in providers if not one.server.disabled]
    if not usable or not wanted.start:
        return providers
    complain("these servers would be started once, to list their tools:")
    for one in usable:
        words = one.server.url or shlex.join([one.server.command, *one.server.args])
        complain(f"  {one.name}: {bounded(words, 300)}")
    if not wanted.yes and not confirmed("airlock: start them now?"):
        complain("they are not started: every tool will be asked for")
        return providers
    return wait_for(_with_tools(providers, target))


async def _with_tools(providers: list[Planned], target: Path) -> list[Planned]:
    from airlock.inventory import describe_tools

    configs = {one.name: _provider(one, target.parent) for one in providers if not one.server.disabled}
    config = Config(file=target, digest="", database="sqlite:////nowhere", providers=configs)
    known = {one.provider: one for one in await describe_tools(config, seconds=LIST_SECONDS)}
    result = []
    for one in providers:
        found = known.get(one.name)
        tools = found.tools if found else ()
        reading = tuple(str(tool.get("name")) for tool in tools if reads_only(tool))
        others = tuple(str(tool.get("name")) for tool in tools if not reads_only(tool))
        problem = f"it could not be listed: {found.problem}" if found and found.problem else ""
        if problem:
            complain(f"`{one.name}`: {bounded(problem, 300)}")
        result.append(replace(one, allowed=reading, asked=others, problem=problem))
    return result


def _provider(one: Planned, base: Path) -> ProviderConfig:
    """A provider as the written config would make it, with the client's own values."""
    server = one.server
    return ProviderConfig(
        name=one.name,
        type=server.type,
        command=_expanded(server.command),
        args=tuple(map(_expanded, server.args)),
        env={name: Secret(_expanded(value)) for name, value in server.env.items()},
        cwd=base / server.cwd if server.cwd else base,
        url=_expanded(server.url),
        headers={name: Secret(_expanded(value)) for name, value in server.headers.items()},
        prefix=one.name,
    )


def _expanded(text: str) -> str:
    from airlock.substitution import SubstitutionError, expand

    try:
        return expand(text.replace("${env:", "${"), os.environ, Path.cwd(), lambda _: None)
    except SubstitutionError:
        return text


def _agreed(providers: list[Planned], wanted: Wanted) -> list[Planned]:
    """Reading tools are allowed only after a person saw their names (decisions.md 35)."""
    reading = [f"{one.name}/{tool}" for one in providers for tool in one.allowed]
    if not reading:
        return providers
    complain(f"{len(reading)} tools say that they only read, and their names say so too:")
    for name in reading:
        complain(f"  {name}")
    if wanted.yes or wanted.print_only or confirmed("airlock: allow these without asking each time?"):
        return providers
    complain("they will be asked for like the others")
    return [replace(one, allowed=(), asked=(*one.allowed, *one.asked)) for one in providers]


# Writing


def _write(target: Path, plan: Plan) -> None:
    from airlock.loader import loads
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
    if not agent_of(os.environ):
        state.trust(target)  # it was written from answers of the person at this terminal


def _merged(env_file: Path, text: str) -> str:
    """Lines that were there stay; what we write wins over the same name, but for a secret that is in use."""
    from airlock.substitution import assignments

    before, _ = assignments(env_file.read_text(encoding="utf-8"))
    now, _ = assignments(text)
    return env_text(
        {**before, **now, **{name: before[name] for name in ("AIRLOCK_API_SECRET",) if name in before}}
    )


def _masked(text: str, values: Iterable[str]) -> str:
    """The text without the secrets that were moved: a screen is read by others too."""
    for value in sorted(values, key=len, reverse=True):
        if value:
            text = text.replace(json.dumps(value)[1:-1], "…").replace(value, "…")
    return text


def _write_clients(
    changes: list[tuple[Section, list[str]]], wanted: Wanted, secret_values: Iterable[str]
) -> list[str]:
    wrote: list[str] = []
    for section, command in changes:
        before = section.file.read_text(encoding="utf-8")
        after = rewritten(section, before, command)
        shown = _masked(_difference(before, after, section.file), secret_values)
        if not here().json:
            put_lines(diff_lines(shown))
        if wanted.yes or confirmed(f"airlock: write this to {visible(str(section.file))}?"):
            ledger.write(section.file, section.host, after)
            wrote.append(str(section.file))
    return wrote


def _difference(before: str, after: str, file: Path) -> str:
    import difflib

    rows = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(file), "with airlock", lineterm=""
    )
    return "\n".join(rows)


def _print(frame: Frame, target: Path, plan: Plan, changes: list[tuple[Section, list[str]]]) -> None:
    files = {
        str(section.file): rewritten(section, section.file.read_text(encoding="utf-8"), command)
        for section, command in changes
    }
    if frame.json:
        put_json(
            {
                "file": str(target),
                "config": plan.config,
                "variables": sorted(plan.variables),
                "clients": files,
            }
        )
        return
    put(f"# {target}")
    put(plan.config.rstrip("\n"))
    put(f"# {target.parent / ENV_FILE} would hold: {', '.join(sorted(plan.variables))}")
    for file, text in files.items():
        put(f"# {file} would become:")
        put(text.rstrip("\n"))


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


def _say_client(host: Host, command: list[str], wrote: list[str]) -> None:
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
    put("  and take its other servers out: `airlock init --write-client --force` does both")


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
    records = [one for one in ledger.every() if not hosts or one.host in hosts]
    if not records:
        raise UsageError("nothing to undo: no client's file was changed by `airlock init`")
    back: list[str] = []
    for record in records:
        if record.changed_since and not force:
            put_lines(diff_lines(record.difference())) if not frame.json else None
            complain(f"`{record.file}` changed since: `--force` puts it back all the same")
            continue
        ledger.take_back(record)
        back.append(record.file)
    if frame.json:
        put_json({"ok": len(back) == len(records), "files": back})
    else:
        for file in back:
            put(f"{file} is as it was before")
    return Exit.DONE if len(back) == len(records) else Exit.FOUND_WRONG
