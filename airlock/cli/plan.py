"""The first config, as text: a client's servers behind Airlock, reading allowed, all else asked. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from airlock.cli.hosts import Server
from airlock.cli.native import Native
from airlock.config import HOOK_NAMESPACES
from airlock.model import NOTHING, JsonObject
from airlock.values import dataclass

READING = """
count describe diff exists explain find get head info inspect list log lookup ls outline peek read resolve
schema search show stat stats status summarize tail tree view whoami
"""
"""Words that say that a tool looks and changes nothing."""

CHANGING = """
add append apply approve archive assign book buy cancel cherry close clone commit copy create delete deploy
disable drop edit enable eval exec execute fetch fork grant insert install invite kill launch merge move
mutate navigate open patch pay post publish pull push put rebase remove rename replace reply reset restart
restore revert revoke run save schedule send set share spawn start stash stop submit transfer uninstall update
upload
write
"""
"""Words that say the opposite; one of them outweighs any of the others."""

_READING, _CHANGING = frozenset(READING.split()), frozenset(CHANGING.split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|credential|auth|cookie|private|(^|[_-])(api)?_?key", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"^(sk|pk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abpr]|AKIA|ya29|npm|hf|shpat)[_-]?[A-Za-z0-9_\-.]{10,}$"
    r"|^eyJ[A-Za-z0-9_-]{10,}\.|^(?!/)[A-Za-z0-9+/_-]{32,}={0,2}$"
)
_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(:-[^{}]*)?\}")
_INPUT = re.compile(r"\$\{input:([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One server as a provider: its name in the policy, and the tools to allow by exact name."""

    name: str
    server: Server
    allowed: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be written: the config, and the lines of its env file."""

    config: str
    variables: Mapping[str, str] = NOTHING
    notes: tuple[str, ...] = ()


def words_of(name: str) -> list[str]:
    """The words of a tool's name: `git_statusAll` has git, status, all."""
    return [word.lower() for word in _WORD.findall(name)]


def reads_only(tool: JsonObject) -> bool:
    """True when the server says so and the name does too: each alone is easily wrong."""
    hints = tool.get("annotations")
    said = (
        isinstance(hints, Mapping)
        and hints.get("readOnlyHint") is True
        and hints.get("destructiveHint") is not True
    )
    words = set(words_of(str(tool.get("name", ""))))
    return said and bool(words & _READING) and not words & _CHANGING


def provider_names(servers: Iterable[Server]) -> dict[str, str]:
    """A provider name for each server's own name: lower case, no reserved word, no clash."""
    names: dict[str, str] = {}
    for server in servers:
        plain = re.sub(r"[^a-z0-9]+", "-", server.name.lower()).strip("-")[:32] or "server"
        if plain in HOOK_NAMESPACES:
            plain += "-server"
        taken = set(names.values())
        number = 2
        unique = plain
        while unique in taken:
            unique, number = f"{plain}-{number}", number + 1
        names[server.name] = unique
    return names


class Writer:
    """Writes the config, and gathers what must not stand in it."""

    def __init__(self, *, env_file: str) -> None:
        self._env_file = env_file
        self.variables: dict[str, str] = {}
        self.notes: list[str] = []

    def config(self, agent: str, providers: list[Planned], *, basics: bool, native: Native | None) -> str:
        """The whole text."""
        entries = [line for one in providers for line in self.provider(one)]
        return "\n".join(
            [
                "# Written by `airlock init`. Check: `airlock policy check`; every key: docs/config.md.",
                "",
                f"env_file: {_quoted(self._env_file)}   # secrets are there, readable by you alone",
                "server:",
                '  api_secret: "${AIRLOCK_API_SECRET}"',
                "providers:",
                *(
                    entries
                    or ["  demo: {type: builtin}   # a harmless server of Airlock's own, to try things on"]
                ),
                *_agent(agent, providers, basics=basics, native=native),
                *(
                    ["rules:   # for its own tools, which it asks about by its hooks", *native.rules]
                    if native
                    else []
                ),
                "approvals: {timeout: 5m, grace: 2m}",
                "notify:",
                "  - {type: bell}",
                "",
            ]
        )

    def provider(self, one: Planned) -> list[str]:
        """The lines of one server."""
        server, name = one.server, one.name
        lines = [f"  {_key(name)}:"]
        if one.problem:
            lines.insert(0, f"  # {_comment(one.problem)}")
        lines.append(f"    type: {server.type}")
        inputs = self._inputs(server)
        if server.disabled or inputs:
            lines.append("    enabled: false" + (f"   # needs {_comment(inputs)}" if inputs else ""))
        if server.url:
            lines.append(f"    url: {self._text(name, 'url', server.url)}")
            lines += self._table("headers", name, server.headers, always=True)
            return lines
        lines.append(f"    command: {self._text(name, 'command', server.command)}")
        if server.args:
            words = ", ".join(self._argument(name, server.args, place) for place in range(len(server.args)))
            lines.append(f"    args: [{words}]")
        if server.cwd:
            lines.append(f"    cwd: {self._text(name, 'cwd', server.cwd)}")
        lines += self._table("env", name, server.env)
        return lines

    def _inputs(self, server: Server) -> str:
        text = "\n".join(
            [server.url, server.command, *server.args, *server.env.values(), *server.headers.values()]
        )
        found = sorted(set(_INPUT.findall(text)))
        if found:
            self.notes.append(
                f"`{server.name}` is disabled: fill in {', '.join(found)}, then set `enabled: true`"
            )
        return ", ".join(found)

    def _table(
        self, key: str, provider: str, values: Mapping[str, str], *, always: bool = False
    ) -> list[str]:
        if not values:
            return []
        rows = [f"    {key}:"]
        for name, value in values.items():
            shown = self._value(provider, name, value, secret=always or is_secret(name, value))
            rows.append(f"      {_quoted(name)}: {shown}")
        return rows

    def _argument(self, provider: str, args: tuple[str, ...], place: int) -> str:
        word = args[place]
        before = args[place - 1] if place else ""
        flag, equals, value = word.partition("=")
        if equals and is_secret(flag, value):
            inner = self._value(provider, flag, value, secret=True)
            return _quoted(flag + "=" + json.loads(inner))
        named = (
            before.startswith("-") and _SECRET_NAME.search(before) is not None and not word.startswith("-")
        )
        secret = named or _SECRET_VALUE.match(word) is not None
        return self._value(provider, before.lstrip("-") if named else f"ARG{place}", word, secret=secret)

    def _text(self, provider: str, name: str, value: str) -> str:
        return self._value(provider, name, value, secret=False)

    def _value(self, provider: str, name: str, value: str, *, secret: bool) -> str:
        """The YAML text of a value: a reference of its own stays one, a secret moves to the env file."""
        if _REFERENCE.search(value) or not secret or not value:
            return _quoted(_referring(value))
        variable = re.sub(r"[^A-Z0-9]+", "_", f"{provider}_{name}".upper()).strip("_")
        self.variables[variable] = value
        return _quoted(f"${{{variable}}}")


def is_secret(name: str, value: str) -> bool:
    """True when a value is one to keep out of sight, by its name or by its looks."""
    return _SECRET_NAME.search(name) is not None or _SECRET_VALUE.match(value) is not None


def _referring(value: str) -> str:
    """`${VAR}` and VS Code's `${env:VAR}` stay references; any other `${` is only text."""
    pieces: list[str] = []
    last = 0
    for found in _REFERENCE.finditer(value):
        pieces += [value[last : found.start()].replace("${", "$${"), f"${{{found[1]}{found[2] or ''}}}"]
        last = found.end()
    return "".join([*pieces, value[last:].replace("${", "$${")])


def _quoted(text: str) -> str:
    # JSON's strings are YAML's double-quoted ones.
    return json.dumps(text, ensure_ascii=True)


def _key(name: str) -> str:
    """A name as a YAML key: bare where every reader takes it for text."""
    plain = re.fullmatch(r"[a-z][a-z0-9-]*", name) and name not in {
        "y",
        "n",
        "yes",
        "no",
        "on",
        "off",
        "null",
    }
    return name if plain and name not in {"true", "false"} else _quoted(name)


def _comment(text: str) -> str:
    return " ".join(text.split())[:160].encode("ascii", "replace").decode()


def _agent(agent: str, providers: list[Planned], *, basics: bool, native: Native | None) -> list[str]:
    allowed = [f"{one.name}/{tool}" for one in providers for tool in one.allowed]
    lines = ["agents:", f"  {_key(agent)}:"]
    if basics:
        lines.append("    extends: [claude-code-basics]   # its harmless housekeeping tools")
    if not providers:
        allowed = ["demo/echo", "demo/list_notes", "demo/read_note"]
    if allowed or native:
        lines += [
            "    allow:   # tools that only read, each by its exact name",
            *(f"      - {_quoted(one)}" for one in (*allowed, *(native.allow if native else ()))),
        ]
    lines.append("    ask:     # everything else of these servers, and what they will add")
    for name in [one.name for one in providers] or ["demo"]:
        lines.append(f"      - {_quoted(f'{name}/*')}")
        lines += [f"      - {_quoted(f'!{one}')}" for one in allowed if one.startswith(f"{name}/")]
        lines += [f"      - {_quoted(f'resource:{name}/**')}", f"      - {_quoted(f'prompt:{name}/*')}"]
    if native:
        lines += [f"      - {_quoted(one)}" for one in native.ask]
    return lines


def make_plan(
    agent: str,
    providers: list[Planned],
    *,
    env_file: str,
    secret: str,
    basics: bool,
    native: Native | None = None,
) -> Plan:
    """The config and the env file for these providers and this agent, with its own tools if it has hooks."""
    writer = Writer(env_file=env_file)
    text = writer.config(agent, providers, basics=basics, native=native)
    variables = {"AIRLOCK_API_SECRET": secret, **writer.variables}
    return Plan(config=text, variables=variables, notes=tuple(writer.notes))


def secrets_of(servers: Iterable[Server]) -> tuple[str, ...]:
    """What of these servers would move to the env file."""
    writer = Writer(env_file="")
    for place, server in enumerate(servers):
        writer.provider(Planned(name=f"s{place}", server=server))
    return tuple(writer.variables.values())


def env_text(variables: Mapping[str, str]) -> str:
    """The lines of the env file; values that it cannot hold are refused by `ValueError`."""
    lines = ["# Written by `airlock init`: secrets of airlock.yaml. Keep this file out of version control."]
    for name, value in variables.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"the value of `{name}` has several lines")
        quote = "'" if "'" not in value else '"'
        lines.append(f"{name}={quote}{value}{quote}")
    return "\n".join(lines) + "\n"
