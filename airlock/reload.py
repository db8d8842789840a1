"""Watches the config file: a new version that is right takes over, a wrong one changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from airlock.config import Config
from airlock.errors import AirlockError, ConfigError, Problem
from airlock.home.trustbook import trusted
from airlock.values import dataclass

Loaded = TypeVar("Loaded")
Sign: TypeAlias = tuple[int, ...] | None
"""What tells one version of a file from the next without reading it; None while it is not there."""

Look: TypeAlias = Callable[[Path], Sign]

INTERVAL: Final = 1.0


def look(path: Path) -> Sign:
    """Device, inode, size and both times: a rename, a rewrite and a `touch` all change it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A changed file that waits for `airlock trust`."""

    path: Path


class Watcher(Generic[Loaded]):
    """Polls the config and the files it was made from.

    `load` reads, compiles and tests the new version and may raise ConfigError; it runs in a thread.
    `adopt` gets what it returned, on the loop. `report` gets what kept a new version from being used:
    the error, or `Waiting`; each version is reported once. A file counts as changed when it looks
    different and then the same in two polls, so that half a file is not taken for a whole one.

    `found` says that the config merely lay in the working directory: then a new version always waits
    for trust, whatever it says itself, or the agent that can write there would write its own policy.
    """

    def __init__(
        self,
        *,
        config: Config,
        load: Callable[[], tuple[Config, Loaded]],
        adopt: Callable[[Config, Loaded], None],
        report: Callable[[AirlockError | Waiting], None],
        path: Path | None = None,
        found: bool = False,
        look: Look = look,
        is_trusted: Callable[[Path, str], bool] = trusted,
    ) -> None:
        self._found = found
        self._mode = self._mode_of(config)
        self._path = path or config.file
        self._sources = config.sources
        self._load = load
        self._adopt = adopt
        self._report = report
        self._look = look
        self._is_trusted = is_trusted
        self._settled = self._signs()
        self._seen = self._settled
        self._told = ""

    async def run(
        self, *, interval: float = INTERVAL, pause: Callable[[float], Awaitable[Any]] = asyncio.sleep
    ) -> None:
        """Poll until cancelled; returns at once when the config says `reload: off`."""
        while self._mode != "off":
            await pause(interval)
            await self.poll()

    async def poll(self) -> bool:
        """One look; True when a new version was adopted."""
        if self._mode == "off":
            return False
        signs = self._signs()
        steady = signs == self._seen
        self._seen = signs
        if not steady or signs == self._settled:
            return False
        if signs[0] is None:
            self._settled = signs
            self._tell(_gone(self._path), "gone")
            return False
        return await self._change(signs)

    def _mode_of(self, config: Config) -> Literal["auto", "trust", "off"]:
        return "trust" if self._found and config.reload == "auto" else config.reload

    def _signs(self) -> tuple[Sign, ...]:
        return tuple(self._look(path) for path in (self._path, *self._sources))

    async def _change(self, signs: tuple[Sign, ...]) -> bool:
        if not self._may_use(""):
            # Not settled: trust does not touch the file, so the next poll asks again.
            self._tell(Waiting(path=self._path), f"waiting {signs}")
            return False
        try:
            config, loaded = await asyncio.to_thread(self._load)
        except AirlockError as error:
            self._settled = signs
            self._tell(error, str(error))
            return False
        if self._signs() != signs or not self._may_use(config.digest):
            return False  # it changed while it was read: the next polls see that
        return self._take(config, loaded, signs[0])

    def _may_use(self, digest: str) -> bool:
        return self._mode != "trust" or self._is_trusted(self._path, digest)

    def _tell(self, what: AirlockError | Waiting, key: str) -> None:
        if key != self._told:
            self._told = key
            self._report(what)

    def _take(self, config: Config, loaded: Loaded, read: Sign) -> bool:
        try:
            self._adopt(config, loaded)
        except AirlockError as error:
            self._settled = self._seen
            self._tell(error, str(error))
            return False
        self._told = ""
        self._mode, self._sources = self._mode_of(config), config.sources
        # The sign of what was read: a version saved in this moment is still seen as a new one.
        self._settled = self._seen = (read, *self._signs()[1:])
        return True


def _gone(path: Path) -> ConfigError:
    text = "is gone: the policy that was loaded stays in force"
    return ConfigError((Problem(file=str(path), line=1, path="", message=text),))
