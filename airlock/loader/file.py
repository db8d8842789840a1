"""Reads a config file into a `Config`, or says everything that is wrong with it at once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from airlock.config import HOOK_NAMESPACES, AgentConfig, Config, PatternLine, PatternLists, RuleConfig, Secret
from airlock.errors import ConfigError, Problem, why
from airlock.loader import faces as loader_faces
from airlock.loader import policy as loader_policy
from airlock.loader import settings as loader_settings
from airlock.loader.database import database
from airlock.loader.fields import Section
from airlock.loader.kept import policy_text
from airlock.loader.operations import check_operations
from airlock.loader.profiles import SHIPPED
from airlock.loader.providers import providers
from airlock.loader.reader import MAX_BYTES, Node, read
from airlock.loader.reading import Reading, meant
from airlock.loader.substitution import assignments

_RELOADS: Final[tuple[Literal["auto", "trust", "off"], ...]] = ("auto", "trust", "off")
_WORDS: Final = frozenset({"reload"})
_WILD: Final = frozenset("*?[{")


def load(path: Path, env: Mapping[str, str] | None = None, *, lenient: bool = False) -> Config:
    """The config at `path`; ConfigError with all problems. `env` is the process's unless given.

    `lenient` puts nothing in for a variable or file that is missing: a person's shell lacks the secrets
    of the agents. Such a config starts no programs and serves nobody.
    """
    return loads(_bytes(path), path, env, lenient=lenient)


def survey(path: Path, env: Mapping[str, str] | None = None) -> tuple[Config | None, tuple[Problem, ...]]:
    """What can be read of a config, however wrong, to look for more that is; and what is wrong so far.

    Nothing may be decided by such a config. ConfigError when it is no YAML.
    """
    return _read(_bytes(path), path, env, lenient=True)


def loads(
    text: str | bytes, path: Path, env: Mapping[str, str] | None = None, *, lenient: bool = False
) -> Config:
    """The config in `text`, as if it stood at `path`: that is what its relative paths go by."""
    config, errors = _read(text, path, env, lenient=lenient)
    if errors or config is None:
        raise ConfigError(errors)
    return config


def _read(
    text: str | bytes, path: Path, env: Mapping[str, str] | None, *, lenient: bool
) -> tuple[Config | None, tuple[Problem, ...]]:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    real = Path(os.path.realpath(path))
    root = read(data, str(path), words=_WORDS)
    reading = Reading(
        file=str(path),
        base=real.parent,
        env=os.environ if env is None else env,
        exposed=_exposed(real),
        lenient=lenient,
    )
    config = _config(reading, root, real, hashlib.sha256(data).hexdigest())
    problems = tuple(sorted(dict.fromkeys(reading.problems), key=lambda one: one.line))
    return config, tuple(one for one in problems if not one.warning)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "`airlock init` writes a first one" if isinstance(error, FileNotFoundError) else ""
        problem = Problem(file=str(path), line=0, path="", message=f"cannot be read: {why(error)}", hint=hint)
        raise ConfigError((problem,)) from None


def _exposed(path: Path) -> bool:
    """True when other users can read the file."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _config(reading: Reading, root: Node, real: Path, digest: str) -> Config | None:
    if root.keys is None:
        empty = root.value is None
        reading.error(
            1,
            "",
            "the file is empty" if empty else "the file must be a mapping of keys to values",
            "`airlock init` writes a first config",
        )
        return None
    top = Section(reading, "", root, "")
    _environment(reading, top)
    compat = loader_faces.faces(top)
    server = loader_faces.opened(loader_settings.server(top.section("server", "server")), compat)
    approvals = top.section("approvals", "approvals")
    audit = top.section("audit", "audit")
    people = loader_settings.people(top.sections("people", "person", mapping=True))
    profiles, written, default = _who(top)
    agents = loader_faces.with_their_agents(compat, written, default)
    rules = loader_policy.rules(_listed(top, "rules", "rule"), agents, people)
    known = providers(reading, top.found("providers"))
    _check_tokens(top, server.api_secret, {name: one.token for name, one in agents.items()})
    loader_faces.check(top, compat, set(written), known)
    lists = [*profiles.values(), *(one.lists for one in agents.values())]
    _check_patterns(reading, lists, rules, {*known, *compat})
    if "firewall" in compat:
        check_operations(reading, lists, rules)
    if not agents and top.found("agents") is None:
        reading.warn(1, "agents", "there are no agents: nobody can call anything")
    notices = loader_settings.notify(_listed(top, "notify", "notify"))
    recorded = loader_settings.audit(audit)
    config = Config(
        file=real,
        digest=digest,
        policy_text=policy_text(root, recorded.redact_fields, _shipped(profiles)),
        server=server,
        database=database(top, audit),
        providers=known,
        profiles=profiles,
        agents=agents,
        rules=rules,
        tests=loader_policy.tests(_listed(top, "tests", "test"), agents),
        people=people,
        approvals=loader_settings.approvals(approvals),
        audit=recorded,
        notify=notices + loader_settings.older_notices(reading, approvals),
        compat=compat,
        names_max=loader_settings.names_max(top.section("names", "names")),
        reload=_reload(top),
    )
    return _with_notes(config, reading)


def _with_notes(config: Config, reading: Reading) -> Config:
    from dataclasses import replace

    warnings = sorted(dict.fromkeys(one for one in reading.problems if one.warning), key=lambda one: one.line)
    return replace(config, warnings=tuple(warnings), sources=tuple(dict.fromkeys(reading.sources)))


def _shipped(profiles: Mapping[str, PatternLists]) -> dict[str, list[str]]:
    """What the shipped profiles that are used allow."""
    used = {name: one for name, one in profiles.items() if one is SHIPPED.get(name)}
    return {name: [line.text for line in lists.allow] for name, lists in used.items()}


def _listed(top: Section, key: str, section: str) -> list[Section]:
    return [one for _, one in top.sections(key, section, mapping=False)]


def _environment(reading: Reading, top: Section) -> None:
    """Put the variables of `env_file` behind those of the environment."""
    found = top.found("env_file")
    name = top.text("env_file")
    if found is None or not name:
        return
    path = reading.resolved(name)
    reading.sources.append(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        if reading.lenient:
            return
        reason = (getattr(error, "strerror", None) or "not UTF-8 text").lower()
        reading.error(found.line, found.path, f"file `{found.node.raw}` cannot be read: {reason}")
        return
    values, wrong = assignments(text)
    for number in wrong[:3]:
        reading.error(found.line, found.path, f"line {number} of `{found.node.raw}` is not `NAME=value`")
    if _exposed(path):
        reading.warn(
            found.line,
            found.path,
            f"`{found.node.raw}` can be read by other users",
            f"`chmod 600 {found.node.raw}`",
        )
    reading.env = {**values, **reading.env}


def _who(
    top: Section,
) -> tuple[dict[str, PatternLists], dict[str, AgentConfig], str]:
    """The profiles, the agents, and the default profile where there is one of that name."""
    profile_sections = top.sections("profiles", "profile", mapping=True)
    agent_sections = top.sections("agents", "agent", mapping=True)
    default = top.text("default_profile")
    profiles = loader_policy.profiles(profile_sections)
    if default and default not in profiles and default not in SHIPPED:
        top.error("default_profile", f"unknown profile `{default[:60]}`", meant(default, profiles))
        default = ""  # said once, and not again for each agent
    agents = loader_policy.agents(agent_sections, default)
    lists = [*profiles.values(), *(one.lists for one in agents.values())]
    profiles |= loader_policy.shipped(lists, profiles)
    loader_policy.check_profiles(profile_sections, profiles)
    loader_policy.check_extends(agent_sections, profiles)
    return profiles, agents, default


def _check_tokens(top: Section, secret: Secret | None, tokens: Mapping[str, Secret | None]) -> None:
    for name, token in tokens.items():
        if secret is not None and token == secret:
            top.error(
                "agents",
                f"the token of `{name}` is `server.api_secret`",
                "an agent must not be able to answer its own questions",
            )


def _check_patterns(
    reading: Reading,
    lists: Iterable[PatternLists],
    rules: Iterable[RuleConfig],
    known: Iterable[str],
) -> None:
    """Warn of patterns that name a provider which is not there: they match nothing."""
    written = [(line, one.owner) for one in lists for line in (*one.allow, *one.ask, *one.deny)]
    written += [
        (PatternLine(text=text, where=rule.place("tool")), f"rules.{rule.id}")
        for rule in rules
        for text in rule.tools
    ]
    names = {*known, *HOOK_NAMESPACES}
    for line, owner in written:
        provider = _provider(line.text)
        number = line.where.rpartition(":")[2]
        if provider and provider not in names and number.isdigit():
            hint = meant(provider, names)
            reading.warn(
                int(number), owner, f"`{line.text[:60]}` names the unknown provider `{provider}`", hint
            )


def _provider(pattern: str) -> str:
    """The provider a pattern names; "" when it names none or any."""
    text = pattern.removeprefix("!")
    for kind in ("resource:", "prompt:"):
        text = text.removeprefix(kind)
    name, slash, _ = text.partition("/")
    return name if slash and not _WILD & set(name) else ""


def _reload(top: Section) -> Literal["auto", "trust", "off"]:
    found = top.found("reload")
    if found is not None and found.node.value is False:
        return "off"
    return top.choice("reload", _RELOADS, "auto") or "auto"
