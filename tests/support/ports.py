"""A port for a program that must be told one."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no connection meanwhile."""
    while True:
        port = random.randint(15_000, 30_000)  # below those that it gives to connections
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
