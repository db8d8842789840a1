"""The socket that the gateway listens on, and how many more it may open."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket

from airlock.errors import UsageError, why

MOST_FILES = 8_192
"""As many descriptors as this process takes, where the system lets it: each connection is one."""


def take_descriptors() -> None:
    """Raise this process's own limit of descriptors as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; UsageError with the cure when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named asyncio sets TCP_NODELAY; without it each answer in parts waits 40 ms.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {why(error)} ({_cure(error)})") from error
    found.setblocking(False)
    return found


def _cure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another gateway may run there: name another port with --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 are the system's: name another with --port"
    return "name an address of this machine with --host"


def address(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
