"""Plugging Airlock into clients: each change shown, agreed to and written; the keys that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from airlock.apikeys import Scope
from airlock.cli import ledger
from airlock.cli.authority import confirmed, decider
from airlock.cli.frame import here, wait_for
from airlock.cli.hookup import TOKEN_MARK, Link
from airlock.cli.hosts import Host, host_named
from airlock.cli.render import complain, put, put_lines
from airlock.cli.trust import diff_lines
from airlock.cli.wiring import Change, masked
from airlock.config import Config
from airlock.errors import AirlockError
from airlock.keyring import Wish
from airlock.runtime import open_keyring
from airlock.visible import visible

KNOW: Final = {
    "claude-code": "Claude Code asks once whether it may start the server of `.mcp.json`: agree to it",
    "codex": "Codex skips a hook in silence until you trust it: start `codex` and agree to it in `/hooks`",
    "vscode": "`.github/hooks/airlock.json` names programs of this machine: keep it out of version control",
}
"""What a person must know about a client before they rely on its hooks."""


def write(
    changes: Sequence[Change], links: Mapping[str, Link], *, yes: bool, secrets: Iterable[str] = ()
) -> list[str]:
    """Show each change, write those that a person agrees to; the files that were written."""
    wrote: list[str] = []
    keys = Keys()
    for change in changes:
        if not here().json:
            put_lines(diff_lines(change.difference(secrets)))
        if yes or confirmed(f"airlock: write this to {visible(str(change.file))}?"):
            _write(change, links[change.host], keys)
            wrote.append(str(change.file))
    return wrote


def _write(change: Change, link: Link, keys: Keys) -> None:
    earlier = ledger.known(change.file)
    if TOKEN_MARK in change.after:
        key_id, token = keys.make(link, change.host)
        text = change.after.replace(TOKEN_MARK, token)
        ledger.write(change.file, change.host, text, key=key_id, config=str(link.config), private=True)
    else:
        ledger.write(change.file, change.host, change.after)
    if earlier is not None:
        keys.end(earlier)


def take_back(record: ledger.Written) -> None:
    """Put a client's file back as it was, and end the key that was made for it."""
    ledger.take_back(record)
    Keys().end(record)


def put_changes(changes: Iterable[Change], secrets: Sequence[str] = ()) -> None:
    """Print what each file would become."""
    for change in changes:
        put(f"# {change.file} would become:")
        put(masked(change.after, secrets).rstrip("\n"))


def tell(hosts: Iterable[Host], links: Mapping[str, Link], *, by_plugin: bool) -> None:
    """Say what a person has to do before the hooks of these clients hold."""
    for host in hosts:
        if host.name in KNOW and not by_plugin:
            complain(KNOW[host.name])
        link = links[host.name]
        if link.gateway and (by_plugin or host.name != "claude-code"):
            key_id, token = Keys().make(link, host.name)
            complain(f"{host.title} needs key {key_id} in its environment; it is shown only this time:")
            put(f"export AIRLOCK_TOKEN={token}")


class Keys:
    """The keys of hooks: good for the hooks of one agent and nothing else."""

    def make(self, link: Link, host: str) -> tuple[str, str]:
        """A new key: its id and its text. NotPermitted for an agent's shell."""
        by = decider()
        config = _config(link.config)
        scopes = frozenset({Scope.HOOK})
        wish = Wish(name=f"hooks of {host_named(host).title}", scopes=scopes, agent=link.agent)
        wish.check(config.agents)

        async def make() -> tuple[str, str]:
            async with open_keyring(config) as ring:
                made = await ring.create(wish, by=by, within=frozenset(Scope))
            return made.key.id, made.text

        return wait_for(make())

    def end(self, record: ledger.Written) -> None:
        """End the key that a file held; say so when that is not possible."""
        if not record.key:
            return

        async def end() -> None:
            async with open_keyring(_config(Path(record.config))) as ring:
                await ring.revoke(record.key, by=decider())

        try:
            wait_for(end())
        except AirlockError as error:
            complain(f"key {record.key} still works: {error}")


def _config(path: Path) -> Config:
    from airlock.loader.file import load

    return load(path, lenient=True)
