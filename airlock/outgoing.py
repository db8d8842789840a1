"""The one client for requests whose address somebody else chose, an agent or a program over an API.

A name is looked up once, and the address that was checked is the one that is connected to. No redirect is
followed, no proxy, cookie or credential of ours is used, certificates are checked, and the answer is bounded
in size, in pieces and in time.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
from typing import Final

import h11

from airlock import __version__
from airlock.reach import Inside, dial, public
from airlock.values import dataclass

FAILURES: Final = (OSError, Inside)
"""What `send` raises when there is no answer: but for Inside, the request may have arrived."""

USUAL_PORTS: Final = {"http": 80, "https": 443}
WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
MOST_TOLD_HEADERS, MOST_PIECES = 256, 5_000
"""Of an answer: headers, and the tiny pieces in which its body may come. Each costs, however small it is."""

_USUAL_PIECE = 512
_MOST_INTERIM = 20
_PIECES_AT_ONCE = 50
"""After so many the others have their turn: a server that has sent much holds up nobody."""

_CHUNK = 65_536
_HEAD_LIMIT = 65_536
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}\Z")
_HEADER_TEXT = re.compile(r"[\x20-\x7e\xa0-\xff]*\Z")


class Garbled(OSError):
    """What came back is no HTTP, or too much of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One request, checked. `anywhere`: its place was named by whoever may, so that it may lie inside."""

    method: str
    tls: bool
    host: str
    port: int
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    anywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `cut`: the body was longer than was wanted, or in too many pieces."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool


def is_header(name: str, text: str) -> bool:
    """True for what can be one line of a head, and nothing more."""
    return bool(_HEADER_NAME.match(name) and _HEADER_TEXT.match(text)) and text == text.strip()


async def send(wanted: Outgoing, *, limit: int, seconds: float, tls: ssl.SSLContext | None = None) -> Answer:
    """The answer, of whose body at most `limit` bytes are kept, with 0 only its head; one of FAILURES when
    there is none."""
    async with asyncio.timeout(seconds):
        connection = await dial(wanted.host, wanted.port, usable=lambda one: wanted.anywhere or public(one))
        try:
            _check_elsewhere(wanted, connection)
            reader, writer = await asyncio.open_connection(
                sock=connection,
                ssl=(tls or _trusted()) if wanted.tls else None,
                server_hostname=wanted.host if wanted.tls else None,
            )
        except BaseException:
            connection.close()
            raise
        try:
            return await _exchange(wanted, reader, writer, limit)
        except h11.ProtocolError as error:
            raise Garbled(str(error)) from None
        finally:
            writer.transport.abort()


def _check_elsewhere(wanted: Outgoing, connection: socket.socket) -> None:
    """Inside when both ends are this machine, which may have outer addresses of its own."""
    if not wanted.anywhere and connection.getsockname()[0] == connection.getpeername()[0]:
        raise Inside(f"`{wanted.host}` leads to this machine")


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _exchange(
    wanted: Outgoing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int
) -> Answer:
    machine = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
    pieces = [machine.send(_head(wanted))]
    if wanted.body:
        pieces.append(machine.send(h11.Data(data=wanted.body)))
    pieces.append(machine.send(h11.EndOfMessage()))
    writer.write(b"".join(piece for piece in pieces if piece))
    await writer.drain()
    return await _answer(machine, reader, limit)


async def _answer(machine: h11.Connection, reader: asyncio.StreamReader, limit: int) -> Answer:
    head, body = await _first(machine, reader), bytearray()
    headers = tuple((name.decode("latin-1"), text.decode("latin-1")) for name, text in head.headers)
    if not limit:
        return Answer(status=head.status_code, headers=headers, body=b"", cut=True)
    pieces = 0
    while pieces < MOST_PIECES + len(body) // _USUAL_PIECE:
        event, pieces = await _next(machine, reader), pieces + 1
        if isinstance(event, h11.Data):
            body += event.data
        if isinstance(event, h11.EndOfMessage) or len(body) > limit:
            cut = len(body) > limit
            return Answer(status=head.status_code, headers=headers, body=bytes(body[:limit]), cut=cut)
        if pieces % _PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Answer(status=head.status_code, headers=headers, body=bytes(body), cut=True)


async def _first(machine: h11.Connection, reader: asyncio.StreamReader) -> h11.Response:
    """The head of the answer, after a few that announce it."""
    for _ in range(_MOST_INTERIM):
        event = await _next(machine, reader)
        if isinstance(event, h11.Response):
            if len(event.headers) > MOST_TOLD_HEADERS:
                raise h11.RemoteProtocolError(f"more than {MOST_TOLD_HEADERS} headers")
            return event
    raise h11.RemoteProtocolError(f"no answer after {_MOST_INTERIM} announcements of one")


async def _next(machine: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    while (event := machine.next_event()) is h11.NEED_DATA:
        machine.receive_data(await reader.read(_CHUNK))
    if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
        raise h11.RemoteProtocolError("the connection ended before an answer")
    return event


def _head(wanted: Outgoing) -> h11.Request:
    usual = USUAL_PORTS["https" if wanted.tls else "http"]
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    headers = [("Host", host if wanted.port == usual else f"{host}:{wanted.port}"), *wanted.headers]
    given = {name.lower() for name, _ in wanted.headers}
    usually = {"User-Agent": f"airlock/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers += [(name, text) for name, text in usually.items() if name.lower() not in given]
    if wanted.body or wanted.method not in WITHOUT_BODY:
        headers.append(("Content-Length", str(len(wanted.body))))
    headers.append(("Connection", "close"))
    encoded = [(name.encode("ascii"), text.encode("latin-1")) for name, text in headers]
    return h11.Request(method=wanted.method, target=wanted.target, headers=encoded)
