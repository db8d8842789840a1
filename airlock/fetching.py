"""One guarded HTTP request for somebody else: nothing of ours goes along, and it leads nowhere inside.

A URL has one spelling here, so that what a rule was asked about is what is fetched. No redirect is followed,
no proxy, cookie or credential is used, and the answer is bounded in size and time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import h11

from airlock import __version__
from airlock.errors import UsageError
from airlock.hooks.urls import host_of
from airlock.reach import Inside, dial, public
from airlock.values import dataclass

FAILURES: Final = (OSError, TimeoutError, h11.ProtocolError, Inside)
"""What `fetch` raises when there is no answer: it may or may not have arrived."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "forwarded",
        "via",
        "x-real-ip",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Headers that frame the message, say how it travels, or that some servers take for the method or the path in
place of those that were judged: whoever asks does not write them."""

MOST_URL, MOST_HEADERS, MOST_HEADER_BYTES = 8_000, 64, 16_384
MOST_TOLD_HEADERS, MOST_PIECES = 256, 5_000
"""Of an answer: headers, and the tiny pieces in which its body may come. Each costs, however small it is."""

_USUAL_PIECE = 512
_MOST_INTERIM = 20
_PIECES_AT_ONCE = 50
"""After so many the others have their turn: a server that has sent much holds up nobody."""

_CHUNK = 65_536
_HEAD_LIMIT = 65_536
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}\Z")
_HEADER_TEXT = re.compile(r"[\x20-\x7e]*\Z")
_ESCAPE = re.compile(r"%(?:[0-9A-F]{2})?", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9._~-]")
_DOTS = re.compile(r"/\.\.?(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One request, checked. `anywhere`: the config names this host and port, so that it may lie inside."""

    method: str
    tls: bool
    host: str
    port: int
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    anywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came back. `cut`: the body was longer than was wanted, or in too many pieces."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool


def planned(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, named: frozenset[str]
) -> Fetch:
    """The request; UsageError when it may not be made. `named` are hosts of the config, as in URLs."""
    if method not in METHODS:
        raise UsageError(f"`operation` must be one of {', '.join(METHODS)}")
    if body and method in _WITHOUT_BODY:
        raise UsageError(f"`params.body` does not go with {method}")
    host, port = _place(url)
    parts = urlsplit(url)
    anywhere = _is_named(host, port, parts.scheme, named)
    if not anywhere:
        _check_place(host, port)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Fetch(
        method=method,
        tls=parts.scheme == "https",
        host=host,
        port=port,
        target=target,
        headers=_checked(headers),
        body=body,
        anywhere=anywhere,
    )


def _place(url: str) -> tuple[str, int]:
    """The host and the port of a URL that every reader reads alike, and that has no other spelling."""
    host, sure = host_of(url)
    if not sure or len(url) > MOST_URL or not url.isascii() or not url.isprintable():
        raise UsageError("`params.url` must be a plain http or https URL, without user names and blanks")
    parts = urlsplit(url)
    normal = _normal(url, host)
    if url != normal:
        raise UsageError(f"`params.url` must be in its normal form: {normal[:200]}")
    if _DOTS.search(parts.path):
        raise UsageError("`params.url` must be in its normal form: without `.` and `..` in its path")
    return host, parts.port or _USUAL_PORTS[parts.scheme]


def _normal(url: str, host: str) -> str:
    """The one spelling: small letters in front, no usual port, a path, no empty query, no fragment, no escape
    that is not needed."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    split = re.search(r"[/?#]", rest)
    authority, after = (rest[: split.start()], rest[split.start() :]) if split else (rest, "")
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority.rpartition("]")[2] else ""
    number = int(port) if port else _USUAL_PORTS[scheme]
    if not 0 < number < 65_536:
        raise UsageError("`params.url` must have a port from 1 to 65535")
    shown = f"[{host}]" if ":" in host else host
    place = shown if number == _USUAL_PORTS[scheme] else f"{shown}:{number}"
    path, mark, query = _ESCAPE.sub(_escape, after.partition("#")[0]).partition("?")
    return f"{scheme}://{place}{path or '/'}{mark if query else ''}{query}"


def _escape(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) == 1:
        return "%25"  # a percent sign that begins no escape
    char = chr(int(text[1:], 16))
    return char if _PLAIN.match(char) else text.upper()


def _is_named(host: str, port: int, scheme: str, named: frozenset[str]) -> bool:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" in named or (shown in named and port == _USUAL_PORTS[scheme])


def _check_place(host: str, port: int) -> None:
    """As far as the text can tell; the addresses of a name are looked at when it is fetched."""
    if port not in _USUAL_PORTS.values():
        raise UsageError(f"`params.url` leads to port {port}: the config has to name it")
    with contextlib.suppress(ValueError):
        if not public(host):
            raise UsageError("`params.url` leads to an inner address: the config has to name it")


def _checked(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if len(headers) > MOST_HEADERS or sum(map(len, (*headers, *headers.values()))) > MOST_HEADER_BYTES:
        raise UsageError(
            f"`params.headers` must be at most {MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes"
        )
    if len({name.lower() for name in headers}) != len(headers):
        raise UsageError("`params.headers` has a header twice")
    for name, text in headers.items():
        if not _HEADER_NAME.match(name) or not _HEADER_TEXT.match(text) or text != text.strip():
            raise UsageError(f"`params.headers` holds what is no header: `{name[:60]!r}`")
        plain = name.lower().replace("_", "-")  # some servers read both alike
        if plain in _OURS or plain.startswith(("proxy-", "x-forwarded-")):
            raise UsageError(f"`params.headers` may not hold `{name}`: leave it out")
    return tuple(headers.items())


async def fetch(wanted: Fetch, *, limit: int, seconds: float, tls: ssl.SSLContext | None = None) -> Fetched:
    """The answer, of whose body at most `limit` bytes are kept; one of FAILURES when there is none."""
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
        finally:
            writer.transport.abort()


def _check_elsewhere(wanted: Fetch, connection: socket.socket) -> None:
    """Inside when both ends are this machine, which may have outer addresses of its own."""
    if not wanted.anywhere and connection.getsockname()[0] == connection.getpeername()[0]:
        raise Inside(f"`{wanted.host}` leads to this machine")


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _exchange(
    wanted: Fetch, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int
) -> Fetched:
    machine = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
    pieces = [machine.send(_head(wanted))]
    if wanted.body:
        pieces.append(machine.send(h11.Data(data=wanted.body)))
    pieces.append(machine.send(h11.EndOfMessage()))
    writer.write(b"".join(piece for piece in pieces if piece))
    await writer.drain()
    return await _answer(machine, reader, limit)


async def _answer(machine: h11.Connection, reader: asyncio.StreamReader, limit: int) -> Fetched:
    head, body = await _first(machine, reader), bytearray()
    headers = tuple((name.decode("latin-1"), text.decode("latin-1")) for name, text in head.headers)
    pieces = 0
    while pieces < MOST_PIECES + len(body) // _USUAL_PIECE:
        event, pieces = await _next(machine, reader), pieces + 1
        if isinstance(event, h11.Data):
            body += event.data
        if isinstance(event, h11.EndOfMessage) or len(body) > limit:
            cut = len(body) > limit
            return Fetched(status=head.status_code, headers=headers, body=bytes(body[:limit]), cut=cut)
        if pieces % _PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Fetched(status=head.status_code, headers=headers, body=bytes(body), cut=True)


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


def _head(wanted: Fetch) -> h11.Request:
    usual = _USUAL_PORTS["https" if wanted.tls else "http"]
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    headers = [("Host", host if wanted.port == usual else f"{host}:{wanted.port}"), *wanted.headers]
    given = {name.lower() for name, _ in wanted.headers}
    usually = {"User-Agent": f"airlock/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers += [(name, text) for name, text in usually.items() if name.lower() not in given]
    if wanted.body or wanted.method not in _WITHOUT_BODY:
        headers.append(("Content-Length", str(len(wanted.body))))
    headers.append(("Connection", "close"))
    return h11.Request(method=wanted.method, target=wanted.target, headers=headers)
