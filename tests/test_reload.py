"""Hot reload: a right version takes over, a wrong one changes nothing and is reported once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airlock.config import Config
from airlock.errors import AirlockError, UsageError
from airlock.home import state
from airlock.loader.file import load
from airlock.reload import Waiting, Watcher

pytestmark = pytest.mark.anyio

GOOD = "agents: {a: {}}\n"
BETTER = "agents: {a: {}, b: {}}\n"


class Watched:
    """A config file, a watcher over it, and what came of it."""

    def __init__(self, folder: Path, text: str = GOOD, *, found: bool = False) -> None:
        self.env = {"HOME": str(folder / "home"), "AIRLOCK_STATE_DIR": str(folder / "state")}
        self.path = folder / "airlock.yaml"
        self.path.write_text(text)
        self.adopted: list[Config] = []
        self.reports: list[AirlockError | Waiting] = []
        self.loads = 0
        self.while_loading: Callable[[], object] = lambda: None
        self.watcher = Watcher(
            config=load(self.path, self.env),
            load=self._load,
            adopt=self._adopt,
            report=self.reports.append,
            found=found,
            is_trusted=lambda path, digest: state.trusted(path, digest, self.env),
        )

    def _load(self) -> tuple[Config, str]:
        self.loads += 1
        config = load(self.path, self.env)
        self.while_loading()
        return config, "compiled"

    def _adopt(self, config: Config, loaded: str) -> None:
        assert loaded == "compiled"
        self.adopted.append(config)

    async def polls(self, times: int = 3) -> list[bool]:
        return [await self.watcher.poll() for _ in range(times)]

    @property
    def agents(self) -> list[list[str]]:
        return [list(config.agents) for config in self.adopted]


async def test_a_changed_file_is_adopted_once_it_stands_still(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert await watched.polls(2) == [False, False]
    watched.path.write_text(BETTER)
    assert await watched.polls(4) == [False, True, False, False]
    assert watched.agents == [["a", "b"]]
    assert watched.reports == []


async def test_a_file_that_is_still_being_written_is_left_alone(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for size in range(1, len(BETTER) + 1):
        watched.path.write_text(BETTER[:size])
        assert await watched.polls(1) == [False]
    assert watched.loads == 0
    assert await watched.polls(1) == [True]
    assert watched.agents == [["a", "b"]]


async def test_an_editor_that_replaces_the_file_by_rename_is_noticed(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    draft = tmp_path / ".airlock.yaml.swp"
    draft.write_text(BETTER)
    draft.rename(watched.path)
    assert True in await watched.polls()
    # Same size, same times: only the inode tells.
    times = watched.path.stat()
    draft.write_text(BETTER.replace("b", "c"))
    os.utime(draft, ns=(times.st_atime_ns, times.st_mtime_ns))
    draft.rename(watched.path)
    assert True in await watched.polls()
    assert watched.agents == [["a", "b"], ["a", "c"]]


@pytest.mark.parametrize(
    "text", ["", "agents: {a: ", "agents: {a: {extends: [nothing]}}", "# only a comment\n"]
)
async def test_a_wrong_version_keeps_the_old_one_and_is_reported_once(tmp_path: Path, text: str) -> None:
    watched = Watched(tmp_path)
    watched.path.write_text(text)
    await watched.polls(5)
    assert watched.adopted == []
    assert len(watched.reports) == 1
    assert watched.loads == 1
    watched.path.write_text(BETTER)
    await watched.polls()
    assert watched.agents == [["a", "b"]]


async def test_a_file_that_is_gone_changes_nothing_and_may_come_back(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.path.unlink()
    await watched.polls(4)
    assert [str(report) for report in watched.reports] == [
        f"{watched.path}:1: is gone: the policy that was loaded stays in force"
    ]
    watched.path.write_text(BETTER)
    await watched.polls()
    assert watched.agents == [["a", "b"]]


async def test_a_version_that_changes_while_it_is_read_waits_for_the_next_look(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.path.write_text(GOOD + "# one\n")

    def again() -> None:
        watched.while_loading = lambda: None
        watched.path.write_text(BETTER)

    watched.while_loading = again
    assert await watched.polls(4) == [False, False, False, True]
    assert watched.agents == [["a", "b"]]


async def test_what_will_not_adopt_is_reported_and_not_tried_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path)

    def refuse(config: Config, loaded: str) -> None:
        raise UsageError("a test of the policy failed")

    watched.watcher._adopt = refuse
    watched.path.write_text(BETTER)
    await watched.polls(5)
    assert [str(report) for report in watched.reports] == ["a test of the policy failed"]
    assert watched.loads == 1


async def test_with_reload_trust_a_new_version_waits_for_trust(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "reload: trust\n" + GOOD)
    watched.path.write_text(BETTER)
    await watched.polls(5)
    assert watched.reports == [Waiting(path=watched.path)]
    assert watched.loads == 0
    state.trust(watched.path, watched.env)
    assert True in await watched.polls(2)
    assert watched.agents == [["a", "b"]]


async def test_a_config_that_was_only_found_never_reloads_without_trust(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "reload: auto\n" + GOOD, found=True)
    watched.path.write_text("reload: auto\n" + BETTER)
    await watched.polls(5)
    assert watched.adopted == []
    state.trust(watched.path, watched.env)
    await watched.polls(2)
    watched.path.write_text("reload: auto\n" + GOOD)
    await watched.polls(5)
    assert watched.agents == [["a", "b"]]


async def test_reload_off_never_looks(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "reload: off\n" + GOOD)
    watched.path.write_text(BETTER)
    assert await watched.polls() == [False, False, False]
    async with asyncio.timeout(60):
        await watched.watcher.run()


async def test_the_env_file_counts_as_part_of_the_config(tmp_path: Path) -> None:
    variables = tmp_path / "vars"
    variables.write_text("NAME=one\n")
    variables.chmod(0o600)
    watched = Watched(tmp_path, 'env_file: vars\nagents: {a: {mcp_names: "${NAME}"}}\n')
    variables.write_text("NAME=two-and-more\n")
    await watched.polls()
    assert watched.adopted[0].agents["a"].mcp_names == ("two-and-more",)


async def test_it_polls_at_its_interval_until_cancelled(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    pauses: list[float] = []
    third = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            third.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(watched.watcher.run(interval=0.7, pause=pause))
    async with asyncio.timeout(60):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pauses == [0.7, 0.7, 0.7]
