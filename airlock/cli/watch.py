"""`airlock watch`: the queue on the whole screen, live, decided with single keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airlock.approval import decidable_until
from airlock.cli.authority import PIN_OPTION, decider
from airlock.cli.board import DECIDING, GRANT_MS, Act, Board, Mode, Wish, press, with_rows
from airlock.cli.change import FileChange
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.keyboard import Keyboard, single_keys
from airlock.cli.lines import Tone
from airlock.cli.places import Places, known_configs, nearest, open_places
from airlock.cli.queue import diffs_of
from airlock.cli.render import as_text, console, ring
from airlock.cli.screen import View, picture, scroll_limit
from airlock.errors import AirlockError, UsageError
from airlock.ids import now_ms
from airlock.model import ApprovalRequest, Resolution, Status
from airlock.visible import visible

if TYPE_CHECKING:
    from rich.live import Live

LOOK_SECONDS = 0.1
REDRAW_SECONDS = 1.0
PLACES_SECONDS = 3.0
DIFF_SECONDS = 2.0


@click.command(cls=Command, example="airlock watch")
@PIN_OPTION
def watch(pin_stdin: bool) -> int:
    """Watch the queue on the whole screen, and decide with single keys."""
    frame = here()
    if frame.json:
        raise UsageError("`watch` is for people: programs read `airlock pending --watch --json`")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("`watch` needs a terminal: elsewhere use `airlock pending --watch`")
    return wait_for(_watch(frame, decider(pin_stdin=pin_stdin)))


async def _watch(frame: Frame, identity: str) -> int:
    from rich.live import Live

    async with open_places(frame) as places:
        await places.runtimes()
        with _quiet(), single_keys() as descriptor:
            live = Live(console=console(), screen=True, auto_refresh=False, vertical_overflow="crop")
            with live:
                return await Watch(frame, places, identity, live, Keyboard(descriptor)).run(descriptor)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No log line is written across the screen."""
    root = logging.getLogger()
    streams = [one for one in root.handlers if type(one) is logging.StreamHandler]
    for one in streams:
        root.removeHandler(one)
    silent = logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)
        for one in streams:
            root.addHandler(one)


class Watch:
    """The loop: what the store says and what the keys say become the next picture."""

    def __init__(self, frame: Frame, places: Places, identity: str, live: Live, keyboard: Keyboard) -> None:
        self._frame = frame
        self._places = places
        self._identity = identity
        self._live = live
        self._keyboard = keyboard
        self._board = Board()
        self._diffs: dict[str, tuple[FileChange, ...]] = {}
        self._stamps: tuple[int, ...] = ()
        self._wakes = asyncio.Event()
        self._keys: list[list[str]] = []
        self._first = True

    async def run(self, descriptor: int) -> int:
        """Until the person leaves, or the terminal goes away."""
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._typed)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave)
        loop.add_signal_handler(signal.SIGWINCH, self._wakes.set)
        try:
            return await self._go_on()
        finally:
            loop.remove_reader(descriptor)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH):
                loop.remove_signal_handler(number)

    def _typed(self) -> None:
        self._keys.append(self._keyboard.read())
        self._wakes.set()

    def _leave(self) -> None:
        self._keys.append(["ctrl-c"])
        self._wakes.set()

    async def _go_on(self) -> int:
        loop = asyncio.get_running_loop()
        drawn = looked = 0.0
        while True:
            if loop.time() - looked > PLACES_SECONDS:
                looked = loop.time()
                self._look_for_places()
            changed = await self._read()
            act = self._press_all()
            if act is not None and act.wish is Wish.QUIT:
                return Exit.DONE
            if act is not None:
                await self._do(act)
                changed = await self._read() or True
            if changed or self._wakes.is_set() or loop.time() - drawn >= REDRAW_SECONDS:
                self._wakes.clear()
                drawn = loop.time()
                await self._draw()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wakes.wait()

    def _look_for_places(self) -> None:
        with contextlib.suppress(AirlockError):
            self._places.add(nearest(known_configs(self._frame, quiet=True)))

    async def _read(self) -> bool:
        """Read the queue when somebody wrote, or when the time of a request is over; True when it changed."""
        try:
            stamps = tuple(one.store.stamp() for one in await self._places.runtimes())
            now = now_ms()
            if stamps == self._stamps and all(decidable_until(row) > now for row in self._board.rows):
                return False
            self._stamps = stamps
            rows = await self._places.pending()
        except AirlockError as error:
            self._board = self._board.says(visible(str(error)), Tone.BAD)
            return True
        known = {row.id for row in self._board.rows}
        if not self._first and any(row.id not in known for row in rows):
            ring()
        self._first = False
        self._board = with_rows(self._board, rows, now)
        return True

    def _press_all(self) -> Act | None:
        """Take the keys in. A deciding key counts only when it came alone: pasted text decides nothing."""
        while self._keys:
            keys = self._keys.pop(0)
            alone = len(keys) == 1
            for key in keys:
                if not alone and self._board.mode in {Mode.LIST, Mode.GRANT} and key in DECIDING | {"y", "Y"}:
                    self._board = self._board.says("keys that come together decide nothing", Tone.WARN)
                    break
                self._board, act = press(self._board, key, now_ms())
                if act is not None:
                    return act
        return None

    async def _do(self, act: Act) -> None:
        said: list[str] = []
        for reference in act.ids:
            try:
                said.append(await self._decide(act, reference))
            except AirlockError as error:
                self._board = self._board.says(visible(str(error)), Tone.BAD)
                return
        self._board = replace(self._board, marked=frozenset()).says(", ".join(said), Tone.GOOD)

    async def _decide(self, act: Act, reference: str) -> str:
        runtime, _ = await self._places.find(reference)
        if act.wish is Wish.UNDO:
            row = await runtime.gate.undo(reference, self._identity)
            left = tuple(one for one in self._board.answered if one.id != row.id)
            self._board = replace(self._board, answered=left)
            return f"{row.code} is taken back"
        resolution = Resolution(
            approve=act.wish is not Wish.DENY,
            identity=self._identity,
            via="watch",
            note=act.reason,
            grant_ms=GRANT_MS if act.wish is Wish.GRANT else None,
        )
        row = await runtime.gate.resolve(reference, resolution)
        return self._answered(row, act)

    def _answered(self, row: ApprovalRequest, act: Act) -> str:
        if row.status is Status.PENDING:
            yes = sum(vote.approve for vote in row.votes)
            return f"{row.code} has {yes} of {row.quorum} yes"
        self._board = replace(self._board, answered=(row, *self._board.answered)[:50])
        return f"{row.code} is {row.status}" + (" for ten minutes" if act.wish is Wish.GRANT else "")

    async def _draw(self) -> None:
        size = os.get_terminal_size(sys.stdout.fileno())
        view = View(
            width=size.columns,
            height=size.lines,
            now=now_ms(),
            title=self._title(),
            diffs=await self._diffs_of(self._board.current),
        )
        limit = scroll_limit(self._board, view)
        if self._board.scroll > limit:
            self._board = replace(self._board, scroll=limit)
        rows = picture(self._board, view)
        from rich.text import Text

        self._live.update(Text("\n", no_wrap=True).join(map(as_text, rows)), refresh=True)

    def _title(self) -> str:
        files = self._places.files
        shown = str(files[0]).replace(str(Path.home()), "~", 1)
        return visible(shown) if len(files) == 1 else f"{len(files)} configs"

    async def _diffs_of(self, row: ApprovalRequest | None) -> tuple[FileChange, ...]:
        """Read once for each request, in a thread and with a limit: a hanging file system stops nothing."""
        if row is None:
            return ()
        if row.id not in self._diffs:
            self._diffs = {row.id: ()} if len(self._diffs) > 200 else {**self._diffs, row.id: ()}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DIFF_SECONDS):
                    self._diffs[row.id] = await asyncio.to_thread(diffs_of, row)
        return self._diffs[row.id]
