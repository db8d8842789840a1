"""Child processes: started in a session of their own, watched, and ended with everything they started.

A child never outlives us: `close` ends its whole process group, and when we are killed without a chance
to do that, a tiny watcher process does (`Watcher`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from airlock.errors import UpstreamError, why
from airlock.proxy.pipes import LineReader
from airlock.values import dataclass

PASSED: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR")
"""What of our own environment a child gets; everything else must stand in the config."""

PATIENCE: Final = 2.0
"""Seconds between closing stdin, SIGTERM and SIGKILL."""

LEFTOVERS: Final = 0.5
"""Seconds that the children of a server which ended by itself have between SIGTERM and SIGKILL."""

TAIL: Final = 40
WIDTH: Final = 400

CURES: Final = {
    "uv": "install uv: https://docs.astral.sh/uv",
    "uvx": "install uv: https://docs.astral.sh/uv",
    "npx": "install Node.js: https://nodejs.org",
    "node": "install Node.js: https://nodejs.org",
    "npm": "install Node.js: https://nodejs.org",
    "docker": "install Docker",
    "bunx": "install Bun: https://bun.sh",
    "deno": "install Deno: https://deno.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start. `secrets` are values that must not show up in what is kept of its stderr."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    secrets: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """The allowlist out of our environment, and what the config adds."""
        return {name: os.environ[name] for name in PASSED if name in os.environ} | dict(self.env)


class Process:
    """One running child. Its `stdin` and `stdout` descriptors belong to the caller, stderr is read here."""

    def __init__(
        self, command: Command, *, name: str, on_exit: Callable[[], None], watcher: Watcher | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._watcher = watcher
        self._log = logging.getLogger(f"airlock.upstream.{name}")
        self._secrets = tuple(sorted((one for one in command.secrets if len(one) > 3), key=len, reverse=True))
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._gone = asyncio.Event()
        self._ended = asyncio.Event()
        self._popen, self.stdin, self.stdout, errors = _start(command)
        self.pid = self._popen.pid
        if watcher:
            watcher.add(self.pid)
        self._errors = LineReader(
            errors, self._complained, lambda: None, limit=64 * 1024, on_overlong=self._cut_short
        )
        self._pidfd = self._watch()

    @property
    def exit_code(self) -> int | None:
        """How it ended: a code, or minus the signal; None while it runs."""
        return self._popen.returncode

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of its stderr, secrets masked."""
        return tuple(self._tail)

    @property
    def over(self) -> bool:
        """True once it has ended, also before anybody was told."""
        return self._popen.poll() is not None

    def epitaph(self) -> str:
        """How it ended, for a person."""
        code = self.exit_code
        if code is None:
            return "it still runs"
        return f"it was ended by {_signal_name(-code)}" if code < 0 else f"it ended with exit code {code}"

    def last_words(self) -> str:
        """The last lines of its stderr in one."""
        return " | ".join([line.strip() for line in self._tail if line.strip()][-3:])

    async def ended(self, seconds: float) -> bool:
        """Wait at most that long for the process itself to end; False when it still runs."""
        return await _within(self._ended, seconds)

    async def stop(self, *, patience: float = PATIENCE) -> None:
        """Wait for its end (stdin must be closed), then SIGTERM, then SIGKILL to the whole group."""
        try:
            if not await _within(self._ended, patience):
                self._signal(signal.SIGTERM)
                await _within(self._ended, patience)
        finally:
            if not self._ended.is_set():
                self._signal(signal.SIGKILL)
        await self._gone.wait()

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the group; False when nobody is in it any more."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return False
        return True

    def _watch(self) -> int:
        """Have `_died` called when the process ends: through a pidfd, else from a thread that waits."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, name=f"wait-{self.pid}", daemon=True).start()
            return -1
        self._loop.add_reader(pidfd, self._died)
        return pidfd

    def _wait_in_thread(self) -> None:
        self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._died)

    def _died(self) -> None:
        self._popen.wait()  # it has ended: this only collects the code
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._errors.exhaust()
        self._ended.set()
        if self._signal(signal.SIGTERM):  # it left children behind
            self._loop.call_later(LEFTOVERS, self._clear)
        else:
            self._cleared()
        self._on_exit()

    def _clear(self) -> None:
        self._signal(signal.SIGKILL)
        self._cleared()

    def _cleared(self) -> None:
        if self._watcher:
            self._watcher.remove(self.pid)
        self._errors.close()
        self._gone.set()

    def _complained(self, lines: list[bytes]) -> None:
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            for secret in self._secrets:
                text = text.replace(secret, "…")
            text = "".join(sign if sign.isprintable() else " " for sign in text[:WIDTH])
            self._tail.append(text)
            self._log.info("%s", text)

    def _cut_short(self, head: bytes) -> None:
        self._complained([head])


class Watcher:
    """One `sh` for all children of this process: at the end of its stdin it ends their groups.

    The kernel closes that stdin when we are gone, however we went. It needs no code in the child between
    fork and exec, reaches grandchildren, and works where there is no parent-death signal.
    """

    SCRIPT: Final = """
groups=
while read -r word group; do
  case $word in
    add) groups="$groups $group" ;;
    del) kept=; for one in $groups; do [ "$one" = "$group" ] || kept="$kept $one"; done; groups=$kept ;;
  esac
done
[ -n "$groups" ] || exit 0
for one in $groups; do kill -TERM "-$one"; done
sleep 2
for one in $groups; do kill -KILL "-$one"; done
"""

    def __init__(self) -> None:
        self._fd = -1
        self._popen: subprocess.Popen[bytes] | None = None

    def add(self, group: int) -> None:
        """End this process group when we are gone."""
        if self._popen is None:
            self._start()
        self._say(f"add {group}\n")

    def remove(self, group: int) -> None:
        """The group is gone: forget it before its number is used again."""
        self._say(f"del {group}\n")

    def close(self) -> None:
        """End the watcher; the groups that it still knows are ended."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._popen is not None:
            os.waitpid(self._popen.pid, 0)
            self._popen = None

    def _start(self) -> None:
        source, self._fd = os.pipe()
        try:
            self._popen = subprocess.Popen(
                ["/bin/sh", "-c", self.SCRIPT, "airlock-watcher"],
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
            )
            self._popen.returncode = 0  # it outlives us: nobody waits for it, and nobody shall miss it
        except OSError as error:
            logging.getLogger("airlock.upstream").warning("no watcher for child processes: %s", error)
            os.close(self._fd)
            self._fd = -1
        finally:
            os.close(source)

    def _say(self, line: str) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, line.encode())
        except OSError as error:
            logging.getLogger("airlock.upstream").warning("the watcher is gone: %s", error)
            os.close(self._fd)
            self._fd = -1


def _start(command: Command) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """The process and our ends of its stdin, stdout and stderr; UpstreamError with a cure."""
    pairs = [os.pipe() for _ in range(3)]
    theirs = [pairs[0][0], pairs[1][1], pairs[2][1]]
    ours = [pairs[0][1], pairs[1][0], pairs[2][0]]
    try:
        popen = subprocess.Popen(
            [command.command, *command.args],
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            env=command.environment(),
            cwd=command.cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        for fd in ours:
            os.close(fd)
        raise UpstreamError(_why_not(command, error)) from None
    finally:
        for fd in theirs:
            os.close(fd)
    return popen, ours[0], ours[1], ours[2]


def _why_not(command: Command, error: OSError | ValueError) -> str:
    name = command.command
    if not isinstance(error, OSError):
        return f"cannot start `{name}`: {error}"
    if command.cwd is not None and not command.cwd.is_dir():
        return f"cannot start `{name}`: its working directory `{command.cwd}` does not exist"
    if error.errno == errno.ENOENT:
        cure = CURES.get(Path(name).name, "install it, or write its full path into `command`")
        return f"command not found: `{name}` ({cure})"
    if error.errno == errno.EACCES:
        return f"`{name}` may not be executed: make it executable with chmod +x"
    if error.errno == errno.ENOEXEC:
        return f"`{name}` is not a program: its first line should name an interpreter (#!)"
    return f"cannot start `{name}`: {why(error)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _within(event: asyncio.Event, seconds: float) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
