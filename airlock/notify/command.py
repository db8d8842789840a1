"""Tells people by running a program of theirs. What the agent wrote never shapes the command line.

The argument list is exactly the config's; the facts travel as JSON on stdin and in `AIRLOCK_…` variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal

from airlock.config import NotifyConfig
from airlock.model import ApprovalRequest
from airlock.notify.news import What, environment, facts

log = logging.getLogger("airlock.notify")

TIME_LIMIT = 10.0
_HIDDEN = ("AIRLOCK_API_SECRET", "AIRLOCK_TOKEN")


class CommandNotifier:
    """Starts the configured program once for each piece of news; its output is ignored."""

    def __init__(self, config: NotifyConfig, *, seconds: float = TIME_LIMIT) -> None:
        self._run = config.run
        self._seconds = seconds

    async def opened(self, request: ApprovalRequest) -> None:
        """Tell that a request waits."""
        await self._tell("opened", request)

    async def settled(self, request: ApprovalRequest) -> None:
        """Tell that a request ended."""
        await self._tell("settled", request)

    async def _tell(self, what: What, request: ApprovalRequest) -> None:
        news = facts(what, request)
        inherited = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._run,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**inherited, **environment(news)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            log.warning("notify: cannot run `%s`: %s", self._run[0], error)
            return
        await self._wait(process, json.dumps(news).encode())

    async def _wait(self, process: asyncio.subprocess.Process, text: bytes) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                with contextlib.suppress(RuntimeError):  # what uvloop says where it ended before it read
                    await process.communicate(text)
                await process.wait()
        except TimeoutError:
            log.warning("notify: `%s` took longer than %gs and was ended", self._run[0], self._seconds)
        finally:
            if process.returncode is None:
                _end(process.pid)
                await process.wait()
        if process.returncode and process.returncode > 0:
            log.warning("notify: `%s` ended with %d", self._run[0], process.returncode)


def _end(pid: int) -> None:
    """End the program with all that it started: it leads a session of its own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
