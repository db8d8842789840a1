"""What clients' files become when Airlock is plugged into them: gathered before a byte is written."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from airlock.cli.hookup import HOOKED, TOKEN_MARK, Link, edited, hook_edits
from airlock.cli.hosts import (
    AIRLOCK_ENTRY,
    Host,
    Section,
    airlock_entry,
    host_named,
    place_of,
    rewritten,
    sections_of,
)
from airlock.cli.plan import is_secret
from airlock.cli.plugin import plugin_files
from airlock.cli.splice import add_toml_table, put_json, replace_json
from airlock.errors import UsageError
from airlock.values import dataclass

_MEMBER = re.compile(r'''(?P<before>["']?(?P<name>[\w.-]+)["']?\s*[:=]\s*")(?P<value>(?:[^"\\\n]|\\.)*)"''')
"""A name and its text, in JSON and in TOML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file of a client: its text now, None when it is not there, and with Airlock."""

    host: str
    file: Path
    before: str | None
    after: str

    def difference(self, secrets: Iterable[str] = ()) -> str:
        """The change as a diff, without secrets: a screen is read by others too."""
        before, after = (self.before or "").splitlines(), self.after.splitlines()
        rows = difflib.unified_diff(before, after, str(self.file), "with airlock", lineterm="")
        return masked("\n".join(rows), secrets)


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without these values, as they are and as JSON writes them, and what is named a secret."""
    for value in sorted(secrets, key=len, reverse=True):
        if value:
            text = text.replace(json.dumps(value)[1:-1], "…").replace(value, "…")
    return _MEMBER.sub(_shown, text).replace(TOKEN_MARK, "…")


def _shown(member: re.Match[str]) -> str:
    plain = "$" in member["value"] or not is_secret(member["name"], "")
    return member[0] if plain else f'{member["before"]}…"'


class Wiring:
    """Everything that is to be written for some clients of one project."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._texts: dict[Path, tuple[str, str]] = {}

    def replace(self, section: Section, link: Link) -> None:
        """Airlock in the place of all servers of this section."""
        text = rewritten(section, self._text(section.file), link.serve)
        self._set(section.host, section.file, text)

    def empty(self, section: Section) -> None:
        """No server in this section: a plugin brings Airlock."""
        text = replace_json(self._text(section.file), section.path, {})
        self._set(section.host, section.file, text)

    def enter(self, host: Host, link: Link) -> None:
        """Airlock among this client's servers, unless it is there."""
        sections = [one for one in sections_of(host, self._project) if one.servers]
        if any(server.is_airlock for section in sections for server in section.servers):
            return
        # A project's settings of Gemini CLI count for nothing while its folder is not trusted.
        pattern, path = host.files[-1] if host.name == "gemini-cli" else host.files[0]
        file = place_of(pattern, self._project)
        text, entry = self._text(file), airlock_entry(host.name, link.serve)
        if file.suffix == ".toml":
            text = add_toml_table(text, f"{path[0]}.{AIRLOCK_ENTRY}", entry)
        else:
            text = put_json(text, (*path, AIRLOCK_ENTRY), entry)
        self._set(host.name, file, text)

    def hook(self, host: Host, link: Link) -> None:
        """Airlock before each of this client's own tools."""
        for edit in hook_edits(host.name, link) if host.name in HOOKED else ():
            file = place_of(edit.file, self._project)
            try:
                self._set(host.name, file, edited(self._text(file), [edit]))
            except UsageError as error:
                raise UsageError(f"`{file}`: {error}") from None

    def plugin(self, folder: Path, link: Link) -> None:
        """A Claude Code plugin that does both."""
        for name, text in plugin_files(link).items():
            self._set(host_named("claude-code").name, folder / name, text)

    def changes(self) -> list[Change]:
        """The files that would be other than they are."""
        found = [
            Change(host=host, file=file, before=_read(file), after=after)
            for file, (host, after) in self._texts.items()
        ]
        return [one for one in found if one.before != one.after]

    def _text(self, file: Path) -> str:
        return self._texts[file][1] if file in self._texts else _read(file) or ""

    def _set(self, host: str, file: Path, text: str) -> None:
        self._texts[file] = (host, text)


def _read(file: Path) -> str | None:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"`{file}` cannot be read: {error}") from None
