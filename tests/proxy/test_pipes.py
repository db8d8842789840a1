"""Lines over real descriptors: pipes, sockets, files, devices, terminals."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import tty
from pathlib import Path

import pytest

from airlock.proxy import pipes

pytestmark = pytest.mark.anyio


class Ear:
    """Collects what a reader hands on."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.batches: list[int] = []
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()

    def hear(self, lines: list[bytes]) -> None:
        self.lines += lines
        self.batches.append(len(lines))
        self.changed.set()

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(60):
            while len(self.lines) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.lines

    async def end(self) -> list[bytes]:
        async with asyncio.timeout(60):
            await self.ended.wait()
        return self.lines


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


async def test_lines_arrive_whole_and_the_end_is_told_once(pipe: tuple[int, int]) -> None:
    ear = Ear()
    pipes.LineReader(pipe[0], ear.hear, ear.ended.set)
    os.write(pipe[1], b"one\ntw")
    assert await ear.until(1) == [b"one"]
    os.write(pipe[1], b"o\nthree")
    os.close(pipe[1])
    assert await ear.end() == [b"one", b"two", b"three"]


async def test_a_paused_reader_reads_nothing_until_it_goes_on(pipe: tuple[int, int]) -> None:
    ear = Ear()
    reader = pipes.LineReader(pipe[0], ear.hear, ear.ended.set)
    reader.pause()
    os.write(pipe[1], b"one\n")
    os.close(pipe[1])
    other, (other_read, other_write) = Ear(), os.pipe()
    pipes.LineReader(other_read, other.hear, other.ended.set)
    os.write(other_write, b"later\n")
    os.close(other_write)
    await other.end()
    assert ear.lines == []
    reader.resume()
    assert await ear.end() == [b"one"]


async def test_a_regular_file_and_dev_null_are_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"".join(b"%d\n" % n for n in range(50_000)))
    ear = Ear()
    pipes.LineReader(os.open(tmp_path / "in", os.O_RDONLY), ear.hear, ear.ended.set)
    assert len(await ear.end()) == 50_000
    nothing = Ear()
    pipes.LineReader(os.open("/dev/null", os.O_RDONLY), nothing.hear, nothing.ended.set)
    assert await nothing.end() == []


async def test_a_terminal_is_read_until_its_other_end_is_gone() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    ear = Ear()
    pipes.LineReader(slave, ear.hear, ear.ended.set)
    os.write(master, b"typed\n")
    assert await ear.until(1) == [b"typed"]
    os.close(master)
    assert await ear.end() == [b"typed"]


async def test_a_line_that_is_too_long_is_reported_and_the_next_one_read(pipe: tuple[int, int]) -> None:
    ear, heads = Ear(), []
    pipes.LineReader(pipe[0], ear.hear, ear.ended.set, limit=10, on_overlong=heads.append)
    os.write(pipe[1], b"x" * 100 + b"\nnext\n")
    os.close(pipe[1])
    assert await ear.end() == [b"next"]
    assert len(heads) == 1


async def test_a_full_pipe_presses_back_and_relieves_when_it_is_read(pipe: tuple[int, int]) -> None:
    pressure: list[bool] = []
    writer = pipes.LineWriter(pipe[1], pytest.fail, on_pressure=pressure.append)
    sent = [b"%07d\n" % n for n in range(300_000)]
    for line in sent:
        writer.write(line)
    assert pressure == [True]
    ear = Ear()
    pipes.LineReader(pipe[0], ear.hear, ear.ended.set)
    async with asyncio.timeout(60):
        await writer.drain()
    assert pressure == [True, False]
    writer.close()
    assert [line + b"\n" for line in await ear.end()] == sent


async def test_a_reader_that_never_reads_loses_the_line_at_a_limit(pipe: tuple[int, int]) -> None:
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    writer = pipes.LineWriter(pipe[1], lost.set_result, most=1_000_000)
    writer.write(b"x" * 2_000_000)
    assert not lost.done()  # told after the write, never inside it
    async with asyncio.timeout(60):
        assert "does not read" in await lost
    writer.write(b"more")
    writer.close()
    os.close(pipe[0])


async def test_a_closed_other_end_is_told_once_and_later_writes_are_dropped(pipe: tuple[int, int]) -> None:
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    os.close(pipe[0])
    writer = pipes.LineWriter(pipe[1], lost.set_result)
    writer.write(b"x")
    writer.write(b"y")
    async with asyncio.timeout(60):
        assert "gone" in await lost
        await writer.drain()


async def test_answers_to_lines_that_came_together_leave_together() -> None:
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    writer = pipes.LineWriter(out_write, pytest.fail)
    reader = pipes.LineReader(
        in_read, lambda lines: [writer.write(line + b"\n") for line in lines] and None, writer.close
    )
    ear = Ear()
    os.write(in_write, b"a\nb\nc\n")
    pipes.LineReader(out_read, ear.hear, ear.ended.set)
    assert await ear.until(3) == [b"a", b"b", b"c"]
    assert ear.batches == [3]
    os.close(in_write)
    await ear.end()
    reader.close()


async def test_of_a_large_batch_the_first_leave_before_the_last_are_made() -> None:
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    os.set_blocking(out_read, False)
    writer = pipes.LineWriter(out_write, pytest.fail)
    written: list[bytes] = []

    def answer(lines: list[bytes]) -> None:
        for number in range(2 * pipes.EARLY - 1):
            writer.write(b"%d\n" % number)
        written.append(os.read(out_read, 4096))

    reader = pipes.LineReader(in_read, answer, writer.close)
    os.write(in_write, b"go\non\n")
    async with asyncio.timeout(60):
        while not written:
            await asyncio.sleep(0)
    written.append(os.read(out_read, 4096))
    assert [text.count(b"\n") for text in written] == [pipes.EARLY, pipes.EARLY - 1]
    assert b"".join(written).split() == [b"%d" % number for number in range(2 * pipes.EARLY - 1)]
    reader.close()
    writer.close()
    os.close(in_write)
    os.close(out_read)


async def test_what_comes_of_one_line_leaves_at_once() -> None:
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    os.set_blocking(out_read, False)
    writer = pipes.LineWriter(out_write, pytest.fail)
    written: list[bytes] = []

    def answer(lines: list[bytes]) -> None:
        for line in lines:
            writer.write(b"got " + line + b"\n")
            written.append(os.read(out_read, 4096))

    reader = pipes.LineReader(in_read, answer, writer.close)
    os.write(in_write, b"one\n")
    async with asyncio.timeout(60):
        while not written:
            await asyncio.sleep(0)
    assert written == [b"got one\n"]
    reader.close()
    writer.close()
    os.close(in_write)
    os.close(out_read)


ECHO = """
import asyncio, sys, uvloop
from airlock.proxy import pipes

async def main():
    ended = asyncio.Event()
    out = None
    def lines(found):
        for line in found:
            print("stray", flush=True)
            out.write(b"got " + line + b"\\n")
    out = await pipes.open_stdio(lines, ended.set)
    await ended.wait()
    await out.drain()
    out.close()

uvloop.run(main())
"""


def run(stdin: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", ECHO], stdin=stdin, capture_output=True, timeout=60, check=True, **more
    )


def test_what_somebody_prints_never_reaches_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"one\ntwo\n")
    with (tmp_path / "in").open("rb") as stdin:
        done = run(stdin)
    assert done.stdout == b"got one\ngot two\n"
    assert done.stderr == b"stray\nstray\n"


def test_stdin_may_be_dev_null() -> None:
    assert run(subprocess.DEVNULL).stdout == b""


def test_stdout_may_be_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(
            [sys.executable, "-c", ECHO],
            input=b"one\n",
            stdout=out,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
    assert (tmp_path / "out").read_bytes() == b"got one\n"


def test_a_process_that_waits_on_an_idle_stdin_ends_at_a_signal() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got one\n"
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    process.stdin.close()
    process.stdout.close()
