"""The live view on a real terminal: what it shows, what its keys do, how it leaves the terminal."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from airlock.model import Proceed, Refuse
from tests.support.terminal import Terminal, parked

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="the live view is driven through tmux"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A terminal of 120 by 40 with a shell in which `airlock watch` runs."""

    socket: Path

    def tmux(self, *words: str) -> str:
        """One tmux command on a server of our own."""
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def text(self) -> str:
        """What is on the screen now."""
        return self.tmux("capture-pane", "-p", "-t", "w")

    async def until(self, seen: str | Callable[[str], bool]) -> str:
        """The screen once it shows this; fails with the screen as it is when that takes too long."""
        wanted = seen if callable(seen) else lambda text: seen in " ".join(text.split())
        text = ""
        try:
            async with asyncio.timeout(60):
                while not wanted(text := await asyncio.to_thread(self.text)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never seen: {seen}\n{text}") from None
        return text

    async def press(self, *keys: str) -> None:
        """Type keys, one at a time."""
        for key in keys:
            await asyncio.to_thread(self.tmux, "send-keys", "-t", "w", key)

    async def decide(self, key: str, seen: str) -> str:
        """Press a deciding key once the request has been on the screen for a while, and see what comes."""
        seconds = age(await self.until(lambda text: age(text) is not None)) or 0
        await self.until(lambda text: (age(text) or 0) >= seconds + 2)
        await self.press(key)
        return await self.until(seen)


def age(text: str) -> int | None:
    """How many seconds ago the request was asked that is on the screen."""
    found = re.search(r"asked (\d+)s ago", text)
    return int(found[1]) if found else None


@asynccontextmanager
async def watching(
    terminal: Terminal, tmp_path: Path, *, env: dict[str, str] | None = None
) -> AsyncIterator[Screen]:
    """`airlock watch` on a screen of its own."""
    screen = Screen(socket=tmp_path / "tmux")
    command = shlex.join([sys.executable, "-m", "airlock", "watch"])
    environment = terminal.environment(env)
    environment.pop("TMUX", None)
    process = await asyncio.create_subprocess_exec(
        "tmux", "-S", str(screen.socket), "-f", os.devnull, "new", "-d", "-s", "w", "-x", "120", "-y", "40",
        f"{command}; echo left with $?; stty -a; exec sh",
        cwd=terminal.folder, env=environment,
    )  # fmt: skip
    await process.wait()
    try:
        yield screen
    finally:
        await asyncio.to_thread(screen.tmux, "kill-server")


async def test_a_person_sees_a_call_whole_and_approves_it_with_one_key(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with parked(terminal.config) as calls, watching(terminal, tmp_path) as screen:
        await screen.until("nothing waits")
        request = await calls.ask("demo/write_note", {"name": "plan", "text": "one\n\u202etwo"})
        text = await screen.until(lambda shown: shown.count(request.code) == 2)
        assert "1 waits for you" in text
        assert "agents.claude-code.ask" in text
        assert "⟨U+202E⟩two" in text
        assert "all of it" in text
        await asyncio.to_thread(screen.tmux, "resize-window", "-t", "w", "-x", "80", "-y", "24")
        await screen.until(lambda shown: "q quit" in shown and request.code in shown)
        await screen.decide("a", f"{request.code} is approved")
        assert isinstance(await calls.verdict(), Proceed)
        await screen.press("q")
        await screen.until("left with 0")
        await screen.until(lambda shown: " echo " in shown.replace("\n", " "))


async def test_d_denies_with_a_reason_that_the_agent_is_told(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls, watching(terminal, tmp_path) as screen:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        await screen.until(request.code)
        await screen.decide("d", "because:")
        await screen.press("n", "o", "Space", "w", "a", "y", "Enter")
        await screen.until(f"{request.code} is denied")
        verdict = await calls.verdict()
    assert isinstance(verdict, Refuse)
    assert "no way" in verdict.reason


async def test_a_grant_shows_its_scope_and_waits_for_y(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls, watching(terminal, tmp_path) as screen:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        await screen.until(request.code)
        text = await screen.decide("A", "other key goes back")
        assert "exactly these arguments" in " ".join(text.split())
        await screen.press("y")
        await screen.until("for ten minutes")
        assert isinstance(await calls.verdict(), Proceed)
        (grant,) = await calls.runtime.gate.grants()
    assert grant.tool == "demo/write_note"


async def test_pasted_text_decides_nothing(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls, watching(terminal, tmp_path) as screen:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        await screen.until(request.code)
        await asyncio.to_thread(screen.tmux, "send-keys", "-l", "-t", "w", "say a word")
        await screen.until("keys that come together decide nothing")
        assert not calls.tasks[0].done()


@pytest.mark.parametrize("way", ["C-c", "q"])
async def test_every_way_out_restores_the_terminal(terminal: Terminal, tmp_path: Path, way: str) -> None:
    async with parked(terminal.config), watching(terminal, tmp_path) as screen:
        await screen.until("nothing waits")
        await screen.press(way)
        text = (await screen.until("left with")).replace("\n", " ")
        await screen.until(" icanon ")
    assert " -icanon" not in text


async def test_an_agents_shell_cannot_open_the_view(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config), watching(terminal, tmp_path, env={"CLAUDECODE": "1"}) as screen:
        assert "an agent's shell may not decide" in await screen.until("left with 4")


async def test_without_a_terminal_it_says_what_to_use_instead(terminal: Terminal) -> None:
    ended = await terminal.run("watch")
    assert ended.code == 2
    assert "pending --watch" in ended.err
