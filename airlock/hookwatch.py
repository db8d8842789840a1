"""The last resort of `airlock hook`: a no in time, whatever keeps this process from a decision.

A client that waits for longer than it is willing to runs the tool. So a thread answers for a process that
hangs in the file system or on a lock, and the interpreter itself ends one that is stuck in computing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
from collections.abc import Iterator

from airlock.hooks.dialect import HookAnswer

MARGIN = 1.0
"""How long before the client's own limit the no goes out."""

STUCK = 0.5
"""How much later the interpreter ends the process, with 1, which `init`'s hooks turn into 2."""


@contextlib.contextmanager
def in_time(late: HookAnswer, seconds: float) -> Iterator[None]:
    """Give this answer and end the process when the block takes longer than its caller waits."""
    limit = max(0.5, seconds - MARGIN)
    answering = threading.Lock()
    timer = threading.Timer(limit, _answer, (late, answering))
    timer.daemon = True
    timer.start()
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # no stderr to say anything on
        faulthandler.dump_traceback_later(limit + STUCK, exit=True)
    try:
        yield
    finally:
        timer.cancel()
        answering.acquire()  # who has it already is answering: there is only one answer
        faulthandler.cancel_dump_traceback_later()


def _answer(late: HookAnswer, answering: threading.Lock) -> None:
    if not answering.acquire(blocking=False):
        return
    data = memoryview(late.stdout + b"\n")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(1, data) :]
        os._exit(late.exit_code)
    os._exit(2)
