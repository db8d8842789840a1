"""An MCP server that is a child process and speaks over its stdin and stdout."""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import Final

from airlock.config import ProviderConfig
from airlock.model import JsonObject
from airlock.proxy.pipes import LineReader, LineWriter
from airlock.proxy.upstream.connect import Agreement
from airlock.proxy.upstream.process import Command, Process, Watcher
from airlock.proxy.upstream.transport import Sink
from airlock.proxy.wire import LINE_LIMIT, FrameError, decode, encode_line, error_frame

MOST_RUBBISH: Final = 1000
"""How many lines in a row may be no messages before the server counts as broken."""

SHOWN_RUBBISH: Final = 5

DYING: Final = 0.25
"""Seconds between a broken pipe and giving up to hear how the process ended."""


class StdioTransport:
    """One run of the program."""

    legacy_only = False

    def __init__(self, provider: ProviderConfig, *, limit: int = LINE_LIMIT) -> None:
        secrets = {name: secret.reveal() for name, secret in provider.env.items()}
        self._command = Command(
            command=provider.command,
            args=provider.args,
            env=secrets,
            cwd=provider.cwd,
            secrets=tuple(secrets.values()),
        )
        self._name = provider.name
        self._limit = limit
        self._log = logging.getLogger(f"airlock.upstream.{provider.name}")
        self._rubbish = 0
        self._shown = 0
        self._over = False
        self._process: Process | None = None
        self._reader: LineReader | None = None
        self._writer: LineWriter | None = None
        self._sink: Sink

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of its stderr."""
        return self._process.tail if self._process else ()

    async def open(self, sink: Sink) -> None:
        """Start the program."""
        self._sink = sink
        process = Process(self._command, name=self._name, on_exit=self._exited, watcher=watcher())
        self._process = process
        self._writer = LineWriter(process.stdin, self._broke)
        self._reader = LineReader(
            process.stdout, self._read, self._ended, limit=self._limit, on_overlong=self._overlong
        )

    def send(self, frame: JsonObject) -> None:
        """Write one frame to its stdin."""
        data = encode_line(frame)
        if self._writer is not None:
            self._writer.write(data)

    def settled(self, agreement: Agreement) -> None:
        """Nothing depends on it here."""

    def hold(self, held: bool) -> None:
        """Stop reading its stdout, or go on."""
        if self._reader is not None:
            if held:
                self._reader.pause()
            else:
                self._reader.resume()

    async def close(self) -> None:
        """Close its stdin, then end it and everything it started."""
        self._over = True
        if self._writer is not None:
            self._writer.close()
        if self._reader is not None:
            self._reader.close()  # a server that is stuck in writing notices
        if self._process is not None:
            await self._process.stop()

    def _read(self, lines: list[bytes]) -> None:
        for line in lines:
            try:
                frame = decode(line)
            except FrameError as error:
                self._refuse(error, line)
                continue
            self._rubbish = 0
            self._sink.received(frame)

    def _refuse(self, error: FrameError, line: bytes) -> None:
        """A line that is no message: an answer fails its call, a request is answered, the rest is counted."""
        if error.id is not None and error.response:
            self._sink.malformed(error.id, str(error))
        elif error.id is not None:
            self.send(error_frame(error.id, error.code, str(error)))
        self._rubbish += 1
        if self._shown < SHOWN_RUBBISH:
            self._shown += 1
            self._log.warning("a line on its stdout is no message: %s: %.120r", error, line)
        if self._rubbish > MOST_RUBBISH:
            self._lost(f"it wrote {self._rubbish} lines to stdout that are no MCP messages")

    def _overlong(self, head: bytes) -> None:
        self._lost(f"it wrote a message longer than {self._limit} bytes, which begins {head[:60]!r}")

    def _ended(self) -> None:
        self._broke("it closed its stdout")

    def _broke(self, reason: str) -> None:
        """A pipe broke: mostly because the process ends, and then its end is the better reason."""
        asyncio.get_running_loop().call_later(DYING, self._give_up, reason)

    def _give_up(self, reason: str) -> None:
        """It did not end behind its pipe; where it did, and the loop was busy, `_exited` comes next."""
        if self._process is None or not self._process.over:
            self._lost(reason)

    def _exited(self) -> None:
        if self._reader is not None:
            self._reader.exhaust()  # an answer that it wrote before it ended still counts
        if self._process is not None:
            self._lost(self._process.epitaph(), self._process.last_words())

    def _lost(self, reason: str, words: str = "") -> None:
        if not self._over:
            self._over = True
            if self._reader is not None:
                self._reader.pause()
            self._sink.lost(reason, words)


@lru_cache(maxsize=1)
def watcher() -> Watcher:
    """The one watcher of this process."""
    return Watcher()
