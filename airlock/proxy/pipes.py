"""Lines over file descriptors on the event loop: no threads, no tasks, cancellable while idle.

Pipes, sockets and terminals are watched by the loop. Regular files and `/dev/null`, which epoll refuses,
are read a piece per turn of the loop and written at once: they never make anyone wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Final

from airlock.errors import why
from airlock.proxy.wire import LINE_LIMIT, LineSplitter

OnLines = Callable[[list[bytes]], None]
OnEnd = Callable[[], None]

CHUNK: Final = 64 * 1024
HIGH_WATER: Final = 1024 * 1024
LOW_WATER: Final = 256 * 1024

EARLY: Final = 8
"""Lines of a batch that wait for its end; more leave before, so that the other end works meanwhile."""

_log = logging.getLogger("airlock.pipes")


class _Batch:
    """Writers that wait for the end of the batch of lines that is being handled now.

    Answers to lines that arrived together leave together: one system call for some instead of one for each.
    """

    __slots__ = ("depth", "dirty")

    def __init__(self) -> None:
        self.depth = 0
        self.dirty: list[LineWriter] = []

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if self.depth:
            return
        dirty, self.dirty = self.dirty, []
        for writer in dirty:
            writer.flush()


_batch = _Batch()  # one loop reads pipes in a process, and a batch never outlives one callback


def together() -> _Batch:
    """What is written within leaves at the end at the latest, in one system call for each descriptor."""
    return _batch


class LineReader:
    """Reads one descriptor and hands on whole lines; owns the descriptor.

    `on_end` is called once, at EOF or when reading fails; what stood after the last newline is handed
    on before it.
    """

    def __init__(
        self,
        fd: int,
        on_lines: OnLines,
        on_end: OnEnd,
        *,
        limit: int = LINE_LIMIT,
        on_overlong: Callable[[bytes], None] | None = None,
    ) -> None:
        self._fd = fd
        self._on_lines = on_lines
        self._on_end = on_end
        self._splitter = LineSplitter(limit, on_overlong or _drop_overlong)
        self._loop = asyncio.get_running_loop()
        self._pollable = not _always_ready(fd)
        self._blocking = os.get_blocking(fd)
        self._held = True
        self._closed = False
        if self._pollable:
            os.set_blocking(fd, False)
        self.resume()

    def pause(self) -> None:
        """Stop reading, so that the writer at the other end has to wait."""
        if self._held or self._closed:
            return
        self._held = True
        if self._pollable:
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Go on after `pause`."""
        if not self._held or self._closed:
            return
        self._held = False
        if not self._pollable:
            self._loop.call_soon(self._turn)
            return
        try:
            self._loop.add_reader(self._fd, self._readable)
        except OSError:  # epoll refuses what is always ready
            self._pollable = False
            self._loop.call_soon(self._turn)

    def close(self) -> None:
        """Stop for good and close the descriptor; nothing is called afterwards."""
        if self._closed:
            return
        self.pause()
        self._closed = True
        _give_back(self._fd, self._blocking)

    def exhaust(self) -> None:
        """Read what is there at this moment, a megabyte at most: for the last words of a dead process."""
        for _ in range(HIGH_WATER // CHUNK):
            if self._closed or not self._readable():
                return

    def _turn(self) -> None:
        if self._held or self._closed:
            return
        self._readable()
        self._loop.call_soon(self._turn)

    def _readable(self) -> bool:
        """Read once; False when nothing was there."""
        try:
            data = os.read(self._fd, CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # EIO: the other end of a terminal is gone
            _log.debug("reading ended: %s", error)
            data = b""
        if data:
            self._hand_on(self._splitter.feed(data))
            return True
        rest = self._splitter.end()
        self._hand_on([rest] if rest else [])
        if not self._closed:
            self.close()
            self._on_end()
        return False

    def _hand_on(self, lines: list[bytes]) -> None:
        if len(lines) > 1:
            with _batch:
                self._on_lines(lines)
        elif lines:  # what comes of one line leaves at once: whoever gets it works while we go on
            self._on_lines(lines)


class LineWriter:
    """Writes bytes to one descriptor in order and never blocks; owns the descriptor.

    `on_pressure(True)` is called when more than `HIGH_WATER` bytes wait, `on_pressure(False)` when few do
    again. `on_lost` is called once with the reason when the other end is gone or more than `most` bytes
    wait; what is written afterwards is dropped.
    """

    def __init__(
        self,
        fd: int,
        on_lost: Callable[[str], None],
        *,
        on_pressure: Callable[[bool], None] | None = None,
        most: int = 4 * LINE_LIMIT,
    ) -> None:
        self._fd = fd
        self._on_lost = on_lost
        self._on_pressure = on_pressure
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._queued = False
        self._watching = False
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self.size = 0
        self.full = False
        self._blocking = os.get_blocking(fd)
        if not _always_ready(fd):
            os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        """Send the bytes as soon as the other end takes them."""
        if self._closed:
            return
        self._pieces.append(data)
        self.size += len(data)
        if self._watching:
            self._weigh()
        elif not _batch.depth or len(self._pieces) >= EARLY:
            self.flush()
        elif not self._queued:
            self._queued = True
            _batch.dirty.append(self)

    def flush(self) -> None:
        """Write what can be written now."""
        self._queued = False
        if self._closed or not self._pieces:
            return
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        try:
            sent = os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(f"the other end is gone: {why(error)}")
            return
        self._pieces.clear()
        self.size = len(data) - sent
        if not self.size:
            self._emptied()
            return
        self._pieces.append(data[sent:])
        if not self._watching:
            self._watching = True
            self._loop.add_writer(self._fd, self.flush)
        self._weigh()

    async def drain(self) -> None:
        """Wait until everything is written or the other end is gone."""
        if self._pieces and not self._closed:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def close(self) -> None:
        """Write what can be written now and close the descriptor."""
        if self._closed:
            return
        self.flush()
        self._end()

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._emptied()
        self._pieces.clear()
        self.size = 0
        _give_back(self._fd, self._blocking)

    def _emptied(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_writer(self._fd)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        self._relieved()

    def _weigh(self) -> None:
        """Tell about what waits: too much, much, or little again."""
        if self.size > self._most:
            self._lose(f"the other end does not read: {self.size} bytes wait")
        elif self.full and self.size <= LOW_WATER:
            self._relieved()
        elif not self.full and self.size > HIGH_WATER:
            self.full = True
            if self._on_pressure:
                self._on_pressure(True)

    def _relieved(self) -> None:
        if self.full:
            self.full = False
            if self._on_pressure:
                self._on_pressure(False)

    def _lose(self, reason: str) -> None:
        if not self._closed:
            self._end()
            self._loop.call_soon(self._on_lost, reason)  # never inside the `write` of somebody else


class Stdio(LineWriter):
    """Our own stdin and stdout as lines: the writer of stdout, with the reader of stdin beside it."""

    reader: LineReader

    def pause(self) -> None:
        """Stop reading stdin."""
        self.reader.pause()

    def resume(self) -> None:
        """Go on reading stdin."""
        self.reader.resume()

    def close(self) -> None:
        """Stop reading stdin, write what can be written and close stdout."""
        self.reader.close()
        super().close()


async def open_stdio(
    on_lines: OnLines,
    on_end: OnEnd,
    *,
    limit: int = LINE_LIMIT,
    on_overlong: Callable[[bytes], None] | None = None,
    on_pressure: Callable[[bool], None] | None = None,
    stdin: int = 0,
    stdout: int = 1,
) -> Stdio:
    """Take over stdin and stdout. `on_end` is called once, when either is gone.

    From now on descriptor 0 is `/dev/null` and descriptor 1 is stderr, so that nothing but the protocol
    reaches the real stdout, whoever prints, and no child process holds either.
    """
    ends = _Once(on_end)
    source, sink = os.dup(stdin), os.dup(stdout)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123, ASYNC230 - a device, never waits
        os.dup2(nothing.fileno(), stdin)
    os.dup2(2, stdout)
    stdio = Stdio(sink, lambda _: ends(), on_pressure=on_pressure)
    stdio.reader = LineReader(source, on_lines, ends, limit=limit, on_overlong=on_overlong)
    return stdio


class _Once:
    """Calls a function the first time only."""

    def __init__(self, function: OnEnd) -> None:
        self._function: OnEnd | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function:
            function()


def _give_back(fd: int, blocking: bool) -> None:
    """Close a descriptor whose file description a shell or another program may go on using."""
    os.set_blocking(fd, blocking)
    os.close(fd)


def _always_ready(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode))


def _drop_overlong(head: bytes) -> None:
    _log.warning("dropped a line that is too long; it begins %r", head[:80])
