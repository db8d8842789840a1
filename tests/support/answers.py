"""A server of one connection that answers bytes as they are: wrong ones, slow ones, ones without end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import create_server, socket


@contextmanager
def server(answer: Callable[[socket], None]) -> Iterator[str]:
    """A server that does this with its one connection."""
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def says(data: bytes) -> Callable[[socket], None]:
    def answer(connection: socket) -> None:
        connection.recv(65_536)
        with suppress(OSError):  # whoever asked may have had enough of it
            connection.sendall(data)

    return answer


def floods(head: bytes, piece: bytes) -> Callable[[socket], None]:
    """Sends the piece without end, as fast as it is taken."""

    def answer(connection: socket) -> None:
        connection.recv(65_536)
        with suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(piece * 1_000)

    return answer
