"""Rings the bell of the terminal that this process belongs to, if it has one."""

from __future__ import annotations

import logging
import os

from airlock.model import ApprovalRequest

log = logging.getLogger("airlock.notify")


class BellNotifier:
    """One BEL on the controlling terminal when a request opens; silent where there is none."""

    def __init__(self, *, terminal: str = "/dev/tty") -> None:
        self._terminal = terminal

    async def opened(self, request: ApprovalRequest) -> None:  # noqa: ARG002
        """Ring."""
        try:
            descriptor = os.open(self._terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            os.write(descriptor, b"\a")
        except OSError as error:
            log.debug("notify: no bell: %s", error)
        finally:
            os.close(descriptor)

    async def settled(self, request: ApprovalRequest) -> None:
        """An answer rings nothing."""
