"""The streams of one legacy client: what went out on each is kept a while, so that a client can come back.

An event's id names its stream and its place there. What is kept is bounded; a client that comes back for
more than that is told so, and makes its request again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from airlock.model import JsonObject
from airlock.proxy.front.asgi import OPENING, Outbox, Prompt, event, written

MAX_EVENTS: Final = 512
MAX_BYTES: Final = 1024 * 1024
"""What is kept of all streams of one session; the newest event always is."""

MAX_CHANNELS: Final = 256
RETRY_MS: Final = 500
"""How long a client waits before it comes back for a stream that ended early."""

LISTENING: Final = 0


class Channel:
    """One stream: the answer to a request with what belongs to it, or what belongs to none."""

    def __init__(self, owner: Channels, number: int, request: JsonObject | None, *, resumable: bool) -> None:
        self.number = number
        self.request = request
        self.resumable = resumable
        self.outbox: Outbox | None = None
        self.prompt: Prompt | None = None
        """While it is open, an answer may still go out whole, and then no stream begins."""
        self.ended = False
        self.left = False
        """True when the connection was lost while the call waited for a person: it was left then."""
        self._owner = owner
        self._count = 0

    @property
    def attended(self) -> bool:
        """True while the connection that wants it is there."""
        return self.outbox is not None or (self.prompt is not None and self.prompt.open)

    def priming(self) -> bytes:
        """What stands first on the stream: an id to come back with, for clients that know how."""
        if not self.resumable:
            return OPENING
        return f"id: {self._named()}\nretry: {RETRY_MS}\ndata: \n\n".encode()

    def _named(self) -> str:
        return f"{self.number}-{self._count}"

    def attach(self, outbox: Outbox) -> Outbox:
        """Write into this response from now on; an earlier one is over."""
        if self.outbox is not None:
            self.outbox.close()
        self.outbox = outbox
        return outbox

    def detach(self, outbox: Outbox) -> None:
        """That response is over."""
        if self.outbox is outbox:
            self.outbox = None

    def give(self, frame: JsonObject) -> None:
        """A frame that belongs to the request; the answer is the last."""
        final = "method" not in frame
        if final and self.prompt is not None and self.prompt.open:
            self.ended = True
            self.prompt.say(written(frame))
            return
        self.put(frame)
        if final:
            self.end()

    def put(self, frame: JsonObject) -> None:
        """A frame, which is kept and goes out at once when the client is there."""
        data = written(frame)
        if self.ended or not data:
            return
        self.begin()
        if self.resumable:
            self._count += 1
            data = event(data, self._named())
            self._owner.keep(self.number, self._count, data)
        else:
            data = event(data)
        if self.outbox is not None:
            self.outbox.put(data)

    def begin(self) -> None:
        """A stream is needed."""
        if self.prompt is not None:
            self.prompt.say(None)

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self.begin()
        if self.outbox is not None:
            self.outbox.end()


class Channels:
    """All streams of one session, and what is kept of them."""

    def __init__(self) -> None:
        self.listening: Channel | None = None
        self._open: OrderedDict[int, Channel] = OrderedDict()
        self._kept: deque[tuple[int, int, bytes]] = deque()
        self._lost: dict[int, int] = {}
        self._bytes = 0
        self._last = LISTENING

    @property
    def busy(self) -> bool:
        """True while a response is being written."""
        listening = self.listening
        if listening is not None and listening.attended:
            return True
        return any(one.attended for one in self._open.values())

    def open(self, request: JsonObject, *, resumable: bool) -> Channel:
        """A stream for a request."""
        self._last += 1
        channel = self._open[self._last] = Channel(self, self._last, request, resumable=resumable)
        if len(self._open) > MAX_CHANNELS:
            self._make_room()
        return channel

    def _make_room(self) -> None:
        for number, one in list(self._open.items()):
            if len(self._open) <= MAX_CHANNELS:
                break
            if one.ended and not one.attended:
                self._drop(number)

    def listen(self, *, resumable: bool) -> Channel:
        """The stream for what belongs to no request."""
        if self.listening is None or self.listening.resumable != resumable:
            self.listening = Channel(self, LISTENING, None, resumable=resumable)
        return self.listening

    def forget(self, channel: Channel) -> None:
        """A stream that nobody can come back for is over."""
        if channel is self.listening:
            self.listening = None
        self._drop(channel.number)

    def _drop(self, number: int) -> None:
        self._open.pop(number, None)
        self._lost.pop(number, None)

    def newest(self) -> Channel | None:
        """The newest request that is open and whose client is there, else the newest that is open."""
        waiting = [one for one in reversed(self._open.values()) if not one.ended]
        return next((one for one in waiting if one.attended), waiting[0] if waiting else None)

    def of(self, request_id: str | int) -> Channel | None:
        """The stream of an open request."""
        for one in reversed(self._open.values()):
            if one.request is not None and one.request["id"] == request_id and not one.ended:
                return one
        return None

    def keep(self, number: int, count: int, data: bytes) -> None:
        """Keep an event; the oldest ones go."""
        self._kept.append((number, count, data))
        self._bytes += len(data)
        while len(self._kept) > 1 and (len(self._kept) > MAX_EVENTS or self._bytes > MAX_BYTES):
            lost, place, old = self._kept.popleft()
            self._bytes -= len(old)
            if lost in self._open or lost == LISTENING:
                self._lost[lost] = place

    def since(self, last: str) -> tuple[Channel, list[bytes]] | None:
        """The stream of this event id and what followed there; None when that is not known any more."""
        first, mark, second = last.partition("-")
        if not mark or not (first + second).isascii() or not (first.isdigit() and second.isdigit()):
            return None
        if len(last) > 40:
            return None
        number, place = int(first), int(second)
        channel = self.listening if number == LISTENING else self._open.get(number)
        if channel is None or not channel.resumable or place < self._lost.get(number, 0):
            return None
        return channel, [data for one, at, data in self._kept if one == number and at > place]

    def close(self) -> None:
        """End every stream."""
        for channel in (*self._open.values(), self.listening):
            if channel is not None:
                channel.end()
