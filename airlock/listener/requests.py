"""The parser of requests, in C, less one thing that it would do."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from airlock.listener.bounded import Bounded


class Requests(httptools.HttpRequestParser):
    """Reads a request that would rather speak something else as if it did not say so (RFC 9110, 7.8).

    The parser would take what follows its head for that other protocol, and then, in the next piece, its body
    for a request: whoever writes bodies could write requests.
    """

    def __init__(self, connection: Bounded) -> None:
        super().__init__(connection)
        self._connection = connection
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does: it closes by itself

    def feed_data(self, data: bytes | bytearray | memoryview | array.array[int]) -> None:
        reading = self
        while True:
            try:
                httptools.HttpRequestParser.feed_data(reading, data)
            except httptools.HttpParserUpgrade as wish:
                data = self._connection.plainly() + bytes(data)[wish.args[0] :]
                # A new one: after such a head the old one may take the connection for closed.
                self._connection.parser = reading = Requests(self._connection)
            else:
                return
