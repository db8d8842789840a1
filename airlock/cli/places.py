"""Where the queue is: the config that was named or lies here, else every database that processes registered.

A code is looked for in all of them: `airlock approve K7QF2M` works from any directory. A request is decided
with the config of its own workspace, whose people and approvers count.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from airlock.cli.frame import Frame
from airlock.cli.render import complain
from airlock.config import Config
from airlock.errors import ConfigError, NoSuchRequest, StoreError, UsageError
from airlock.home import state
from airlock.model import NOTHING, ApprovalRequest
from airlock.runtime import Runtime, opened
from airlock.visible import bounded

SQLITE = "sqlite:///"


def config_of(frame: Frame) -> Config:
    """The one config of this run; UsageError when there is none, ConfigError when it is wrong."""
    from airlock.loader.file import load

    return load(config_path(frame))


def checked_config(frame: Frame) -> Config:
    """The one config of this run, for a command that starts its programs: it must be named or trusted."""
    from airlock.runtime import find_config, load_located

    return load_located(find_config(frame.config, starts_programs=True))


def config_path(frame: Frame) -> Path:
    """The path of the one config of this run."""
    return state.locate(frame.config, os.environ, Path.cwd()).path


class Places:
    """The open databases of one command."""

    def __init__(self, stack: AsyncExitStack, configs: list[Config], beside: list[Config]) -> None:
        self._stack = stack
        self._beside = beside
        self._configs: dict[str, list[Config]] = {}
        self._open: dict[tuple[str, str], Runtime] = {}
        self.add(configs)

    def add(self, configs: list[Config]) -> None:
        """Look at these too: a process may have begun with a database that was not known before."""
        for config in configs:
            known = self._configs.setdefault(config.database, [])
            if all(one.file != config.file for one in known):
                known.append(config)

    @property
    def files(self) -> list[Path]:
        """The configs that are known."""
        return [config.file for configs in self._configs.values() for config in configs]

    def agents(self) -> frozenset[str] | None:
        """The agents of all these configs; None when one of them cannot be read now."""
        from airlock.loader.file import load

        try:
            return frozenset(name for file in self.files for name in load(file, lenient=True).agents)
        except ConfigError:
            return None

    def unknown(self, agent: str) -> str:
        """What to say of an agent that no config has, with a guess at what was meant; "" for others."""
        known = self.agents()
        if not agent or known is None or agent in known:
            return ""
        near = get_close_matches(agent, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
        return f"no config has an agent `{bounded(agent, 80)}`: {hint}"

    @property
    def databases(self) -> list[str]:
        """The databases that are looked at, once each."""
        return list(self._configs)

    async def runtimes(self) -> list[Runtime]:
        """One runtime a database. A database that cannot be opened is named on stderr, unless alone."""
        found: list[Runtime] = []
        for configs in self._configs.values():
            try:
                found.append(await self._runtime(configs[0]))
            except StoreError as error:
                if len(self._configs) == 1:
                    raise
                complain(f"`{configs[0].database}` is left out: {error}")
        return found

    async def _runtime(self, config: Config) -> Runtime:
        key = str(config.file), config.database
        if key not in self._open:
            self._open[key] = await self._stack.enter_async_context(
                opened(config, road="cli", notify=_may_notify(config))
            )
        return self._open[key]

    async def for_request(self, request: ApprovalRequest, found: Runtime) -> Runtime:
        """The runtime with the config of the request's own workspace."""
        for config in self._configs[found.config.database]:
            if config.workspace == request.origin.workspace:
                return await self._runtime(config)
        return found

    async def pending(self, agent: str = "") -> list[ApprovalRequest]:
        """What waits in all databases, oldest first."""
        rows = [row for runtime in await self.runtimes() for row in await runtime.gate.pending(agent)]
        return sorted(rows, key=lambda row: row.created_at)

    async def find(self, reference: str) -> tuple[Runtime, ApprovalRequest]:
        """The request with this code or id; NoSuchRequest, or UsageError when two databases have it."""
        hits = await self._hits(reference)
        if not hits and self._beside:
            self.add(self._beside)
            self._beside = []
            hits = await self._hits(reference)
        living = [hit for hit in hits if hit[1].status.live] or hits
        if not living:
            raise NoSuchRequest(f"no request `{reference[:64]}`: see `airlock pending`")
        if len(living) > 1:
            where = ", ".join(f"{row.id} ({row.agent}, {runtime.config.file})" for runtime, row in living)
            raise UsageError(f"`{reference[:64]}` is in {len(living)} databases: use the id, one of {where}")
        runtime, request = living[0]
        return await self.for_request(request, runtime), request

    async def _hits(self, reference: str) -> list[tuple[Runtime, ApprovalRequest]]:
        hits: list[tuple[Runtime, ApprovalRequest]] = []
        for runtime in await self.runtimes():
            with contextlib.suppress(NoSuchRequest):
                hits.append((runtime, await runtime.gate.request(reference)))
        return hits


@asynccontextmanager
async def open_places(frame: Frame, *, everywhere: bool = False) -> AsyncIterator[Places]:
    """The databases of this command; with `everywhere` all that are known, unless a config was named."""
    known = known_configs(frame)
    near = known if everywhere else nearest(known)
    async with AsyncExitStack() as stack:
        yield Places(stack, near, [one for one in known if one not in near])


def nearest(known: list[Config]) -> list[Config]:
    """Those that share the database of `./airlock.yaml`, where that is one of them; else all."""
    here = _real(Path.cwd() / state.CONFIG_NAME)
    databases = {one.database for one in known if _real(one.file) == here}
    return [one for one in known if one.database in databases] or known


def known_configs(frame: Frame, *, quiet: bool = False) -> list[Config]:
    """The configs whose databases a person's command may look at: the named one, or all that are known."""
    databases = {one.config: one.database for one in state.databases()}
    if frame.config is not None or os.environ.get("AIRLOCK_CONFIG"):
        path = config_path(frame)
        return [_usable(path, databases.get(os.path.realpath(path), ""), quiet=quiet)]
    configs: list[Config] = []
    living = state.registered()
    wrong: ConfigError | None = None
    counting = [located.path] if (located := _located()) and _relied_on(located) else []
    for path in dict.fromkeys([*map(_real, counting), *map(Path, databases)]):
        try:
            config = _usable(path, databases.get(str(path), ""), quiet=quiet)
        except ConfigError as error:
            wrong = wrong or error
            continue
        if _exists(config.database) or path in map(_real, counting):
            configs.append(config)
        # Whoever edits `database:` hides nothing that waits where a process runs with the text before.
        used = {one.database for one in living if one.config == str(path)} - {config.database}
        configs += [replace(config, database=database) for database in sorted(used) if _exists(database)]
    if not configs and wrong is not None:
        raise wrong
    if not configs and located:
        # Nothing else is known, and a person's command starts no program of it.
        return [_usable(_real(located.path), "", quiet=quiet)]
    if not configs:
        raise UsageError(
            "no database is known here: name a config with `--config FILE`, or run `airlock init`"
        )
    return configs


def one_config(frame: Frame) -> Config:
    """The one config whose database is meant: the one that counts here, else the only one that is known."""
    from airlock.loader.file import load

    with contextlib.suppress(UsageError):
        return load(config_path(frame), lenient=True)
    found = known_configs(frame)
    if len({config.database for config in found}) > 1:
        names = ", ".join(str(config.file) for config in found if config.file.exists())
        raise UsageError(f"several databases are known here: name a config with `--config`, one of {names}")
    return found[0]


def _located() -> state.Located | None:
    """The config that counts here, or None."""
    with contextlib.suppress(UsageError):
        return state.locate(None, os.environ, Path.cwd())
    return None


def _relied_on(located: state.Located) -> bool:
    """False for one that merely lies in the working directory and that nobody trusted."""
    return not located.found or state.trusted(located.path)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _usable(path: Path, database: str, *, quiet: bool) -> Config:
    """The config; while it is wrong, what is known of it: people decide also while it is being rewritten."""
    try:
        return _loaded(path)
    except ConfigError as error:
        if not database or not _exists(database):
            raise
        if not quiet and path.exists():  # who removed it knows that it is gone
            complain(f"`{path}` is wrong, so its people are not known: {error.problems[0]}")
        return Config(file=_real(path), digest="", database=database)


def _loaded(path: Path) -> Config:
    """The config without its policy: people decide also while a rule is being rewritten."""
    from airlock.loader.file import load

    config = load(path, lenient=True)
    return replace(config, agents=NOTHING, profiles=NOTHING, rules=(), tests=(), providers=NOTHING)


def _exists(database: str) -> bool:
    return not database.startswith(SQLITE) or Path("/" + database.removeprefix(SQLITE).lstrip("/")).exists()


def _may_notify(config: Config) -> bool:
    """A config that nobody trusted or named never starts a notifier's program."""
    return os.environ.get("AIRLOCK_CONFIG", "") != "" or state.trusted(config.file)
