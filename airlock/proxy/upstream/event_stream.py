"""Server-sent events as they arrive (WHATWG HTML, 9.2), as far as MCP uses them."""

from __future__ import annotations

import codecs
from typing import NamedTuple

MESSAGE = b"message"


class TooLong(Exception):
    """One event is longer than the limit."""


class Event(NamedTuple):
    """One event; `id` and `retry` are None where it does not say."""

    kind: bytes
    data: bytes
    id: str | None
    retry: int | None


class EventReader:
    """Cuts a stream into events. What an event may hold is bounded: TooLong beyond."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = bytearray()  # of a line; as a list, tiny pieces would cost many times what is in them
        self._size = 0
        self._first = True
        self._after_return = False
        self._kind = b""
        self._data: bytearray | None = None
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now."""
        if not data:  # between a carriage return and its line feed it would be taken for what follows
            return []
        *ended, rest = self._unified(data).split(b"\n")
        events: list[Event] = []
        for piece in ended:
            self._add(piece)
            line = bytes(self._begun)
            self._begun.clear()
            event = self._line(line)
            if event is not None:
                events.append(event)
        if rest:
            self._add(rest)
        return events

    def _unified(self, data: bytes) -> bytes:
        """With line feeds alone; a carriage return and its line feed may come apart."""
        if self._first:
            self._first = False
            data = data.removeprefix(codecs.BOM_UTF8)
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise TooLong(f"an event is longer than {self._limit} bytes")
        self._begun += piece

    def _line(self, line: bytes) -> Event | None:
        """Take down one line; the event that an empty one ends."""
        if not line:
            return self._ended()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._keep(value)
        elif name == b"event":
            self._kind = value
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            self._retry = int(value[:9])
        return None

    def _keep(self, value: bytes) -> None:
        if self._data is None:
            self._data = bytearray(value)
        else:
            self._data += b"\n" + value

    def _ended(self) -> Event | None:
        found = Event(self._kind or MESSAGE, bytes(self._data or b""), self._id, self._retry)
        told = self._data is not None or self._id is not None or self._retry is not None
        self._clear()
        return found if told else None

    def _clear(self) -> None:
        self._kind, self._data, self._size = b"", None, 0
        self._id = self._retry = None
