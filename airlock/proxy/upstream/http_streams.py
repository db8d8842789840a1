"""The streams of one server over Streamable HTTP: followed to their end, taken up where they broke off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from airlock.errors import AirlockError
from airlock.model import JsonObject
from airlock.proxy.upstream.event_stream import MESSAGE, Event, EventReader, TooLong
from airlock.proxy.upstream.http_client import HttpClient, Unreachable
from airlock.proxy.upstream.http_wire import Answer, Broken
from airlock.proxy.wire import FrameError, Id, decode

RETRY_SECONDS: Final = 1.0
LEAST_RETRY: Final = 0.05
ATTEMPTS: Final = 2
"""How often in a row a stream may not be had before it is given up."""


class Hearer(Protocol):
    """Whose streams they are."""

    limit: int

    def stream_headers(self) -> dict[str, str]:
        """What a GET for a stream says."""
        ...

    async def hand_on(self, frame: JsonObject) -> None:
        """A message of the server."""
        ...

    def refuse(self, ticket: Id, problem: str) -> None:
        """The answer to this request cannot be accepted."""
        ...


class Reading(NamedTuple):
    """What is wanted of a stream: the answer to one request, which ends it."""

    ticket: Id
    answered: Callable[[JsonObject, bytes], Awaitable[None]]


class Mark:
    """Where a stream has got to, and when to come back for it."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.delay = RETRY_SECONDS
        self.broken = False

    def note(self, event: Event) -> None:
        """Take down what an event says of it."""
        if event.id is not None:
            self.last = event.id
        if event.retry is not None:
            self.delay = max(LEAST_RETRY, event.retry / 1000)


class Streams:
    """Follows them."""

    def __init__(self, hearer: Hearer, client: HttpClient, log: logging.Logger) -> None:
        self._hearer = hearer
        self._client = client
        self._log = log

    async def follow(self, response: Answer, mark: Mark, reading: Reading | None) -> bool:
        """Hand on what a stream brings, to its end or to the answer; True when that came."""
        reader = EventReader(self._hearer.limit)
        mark.broken = False
        try:
            async for data in response.pieces():
                for event in reader.feed(data):
                    mark.note(event)
                    if event.data and await self._happened(event, reading):
                        return True
        except Broken as error:
            mark.broken = True
            self._log.debug("a stream broke off: %s", error)
        finally:
            response.release()
        return False

    async def resume(self, mark: Mark, reading: Reading) -> bool:
        """Come back for the rest of a stream; False when that cannot be had."""
        failed = 0
        while failed < ATTEMPTS:
            await asyncio.sleep(mark.delay)
            response = await self._get(mark)
            failed = failed + 1 if response is None else 0
            if response is not None and await self.follow(response, mark, reading):
                return True
        return False

    async def listen(self) -> None:
        """What belongs to no request, for as long as the server keeps a stream for it."""
        mark = Mark()
        failed = 0
        while failed < ATTEMPTS:
            response = await self._get(mark)
            failed = failed + 1 if response is None else 0
            try:
                if response is not None:
                    await self.follow(response, mark, None)
            except TooLong as error:
                self._log.warning("its stream is not heard any more: %s", error)
                return
            await asyncio.sleep(mark.delay)

    async def _get(self, mark: Mark) -> Answer | None:
        """A stream from this mark on; None when the server does not give it."""
        headers = self._hearer.stream_headers()
        if mark.last:
            headers["Last-Event-ID"] = mark.last
        try:
            response = await self._client.send("GET", headers)
        except (Unreachable, AirlockError) as error:
            self._log.debug("no stream: %s", error)
            return None
        kind = response.headers.get("content-type", "").lower()
        if response.status != 200 or not kind.startswith("text/event-stream"):
            response.release()
            return None
        return response

    async def _happened(self, event: Event, reading: Reading | None) -> bool:
        """Hand one event on; True when it is the answer."""
        if event.kind != MESSAGE:
            return False
        try:
            frame = decode(event.data)
        except FrameError as error:
            if reading is None:
                self._log.warning("a message was refused: %s", error)
                return False
            self._hearer.refuse(reading.ticket, str(error))
            return True
        if "method" in frame or reading is None:
            await self._hearer.hand_on(frame)
            return False
        await reading.answered(frame, event.data)
        return True
