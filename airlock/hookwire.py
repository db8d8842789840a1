"""One HTTP POST over the system's own sockets: what `airlock hook` needs, and no more.

`http.client` and `urllib` together cost more start-up time than the whole request, and `socket` alone half
as much as to start the interpreter: what it adds to `_socket`, which does the work, is not needed here.
"""

from __future__ import annotations

import _socket
import _thread
import time

TYPE_CHECKING = False  # as type checkers know it: `typing` costs more to import than this file
if TYPE_CHECKING:
    Found = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

MARGIN = 1.0
"""How long before the caller's own limit the request is given up, so that our no still reaches it."""

CONNECT_SECONDS = 5.0


class Unreachable(Exception):
    """The gateway could not be asked; the text goes on after its address."""


class Answer:
    """What came back; `airlock` is true when the header says that it came from an Airlock.

    Neither a dataclass nor a NamedTuple: their modules cost more to import than this file.
    """

    __slots__ = ("airlock", "body", "status")

    def __init__(self, status: int, airlock: bool, body: bytes) -> None:
        self.status = status
        self.airlock = airlock
        self.body = body


def post(
    url: str, query: dict[str, str], token: str, payload: bytes, *, seconds: float, limit: int
) -> Answer:
    """The answer to `POST URL/hook`; Unreachable when there is none in time."""
    deadline = time.monotonic() + max(0.5, seconds - MARGIN)
    host, port, path, secure = split(url)
    request = head(host, port, path + "/hook" + encoded(query), token, len(payload)) + payload
    try:
        connection = connected(host, port, secure, deadline)
        try:
            connection.settimeout(left(deadline))
            connection.sendall(request)
            return read_answer(connection, deadline, limit)
        finally:
            connection.close()
    except TimeoutError:
        raise Unreachable("did not answer in time") from None
    except OSError as error:
        raise Unreachable(f"is out of reach ({(error.strerror or str(error)).lower()})") from None
    except ValueError:
        raise Unreachable("did not answer in HTTP") from None


def split(url: str) -> tuple[str, int, str, bool]:
    """Host, port, path without a slash at its end, and whether it is https; Unreachable when malformed."""
    scheme, mark, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    if (
        not mark
        or scheme not in {"http", "https"}
        or not authority
        or not url.isascii()
        or not url.isprintable()
    ):
        raise Unreachable("is not an address: it must be http://HOST:PORT")
    if any(letter in url for letter in " @?#\\"):
        raise Unreachable("is not an address: no user, query or fragment belongs in it")
    secure = scheme == "https"
    host, _, port = authority.rpartition(":") if ":" in authority.rpartition("]")[2] else (authority, "", "")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise Unreachable("is not an address: its port is no number")
    path = path.rstrip("/").removesuffix("hook").rstrip("/")
    return host.strip("[]"), int(port or (443 if secure else 80)), f"/{path}" if path else "", secure


def encoded(query: dict[str, str]) -> str:
    """A query string; every byte that is not plain is escaped, so that nothing can be smuggled in."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

    def safe(text: str) -> str:
        return "".join(
            chr(one) if one in plain else f"%{one:02X}" for one in text.encode("utf-8", "surrogateescape")
        )

    return "?" + "&".join(f"{safe(name)}={safe(value)}" for name, value in query.items()) if query else ""


def head(host: str, port: int, target: str, token: str, length: int) -> bytes:
    """The request's head; Unreachable when the token could break out of its line."""
    if not token.isascii() or not token.isprintable():
        raise Unreachable("cannot be asked: the token holds characters that are not for a header")
    name = f"[{host}]" if ":" in host else host
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {name}:{port}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def connected(host: str, port: int, secure: bool, deadline: float) -> _socket.socket:
    """A connection that gives up at the deadline, with TLS where the address says https."""
    problem = OSError("no address")
    for family, kind, protocol, _, address in addresses(host, port, deadline):
        connection = _socket.socket(family, kind, protocol)
        try:
            connection.settimeout(min(CONNECT_SECONDS, left(deadline)))
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return over_tls(connection, host, deadline) if secure else connection
    raise problem


def addresses(host: str, port: int, deadline: float) -> list[Found]:
    """Where a host is. In a thread: a resolver that nobody answers waits longer than a client may."""
    found: list[list[Found]] = []
    problems: list[OSError] = []
    told = _thread.allocate_lock()
    told.acquire()

    def look() -> None:
        try:
            # As bytes: a text would bring in the codec for names that are not ASCII, and ours are.
            found.append(_socket.getaddrinfo(host.encode("ascii"), port, 0, _socket.SOCK_STREAM))
        except OSError as error:
            problems.append(error)
        finally:
            told.release()

    _thread.start_new_thread(look, ())
    if not told.acquire(timeout=left(deadline)):
        raise TimeoutError
    for problem in problems:
        raise problem
    return found[0]


def over_tls(plain: _socket.socket, host: str, deadline: float) -> _socket.socket:
    """The same connection with TLS, by the libraries that know it."""
    import socket
    import ssl

    connection = socket.socket(fileno=plain.detach())
    try:
        connection.settimeout(left(deadline))
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def left(deadline: float) -> float:
    """Seconds to the deadline, always some."""
    return max(0.1, deadline - time.monotonic())


def read_answer(connection: _socket.socket, deadline: float, limit: int) -> Answer:
    """One answer that ends with the connection; ValueError when it is no HTTP."""
    received = bytearray()
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
        if len(received) > limit:
            raise ValueError("too much")
    return parsed(bytes(received))


def parsed(data: bytes) -> Answer:
    """An answer from its bytes. A body that is shorter than announced is an answer cut off, which is none."""
    start, mark, body = data.partition(b"\r\n\r\n")
    lines = start.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    if not mark or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("no status line")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    status, airlock = int(words[1]), b"x-airlock" in headers
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return Answer(status, airlock, dechunked(body))
    announced = headers.get(b"content-length", b"")
    if not announced.isdigit() or len(body) != int(announced):
        raise ValueError("the body is cut off")
    return Answer(status, airlock, body)


def dechunked(body: bytes) -> bytes:
    """The content of a chunked body; ValueError when its last chunk is missing."""
    content = bytearray()
    at = 0  # not cut from the front: many small chunks would be copied as many times
    while True:
        end = body.find(b"\r\n", at)
        length = int(body[at:end].split(b";")[0], 16) if end >= 0 else -1
        at = end + 2
        if length < 0 or len(body) < at + length:
            raise ValueError("the body is cut off")
        if length == 0:
            return bytes(content)
        content += body[at : at + length]
        if body[at + length : at + length + 2] != b"\r\n":
            raise ValueError("a chunk has no end")
        at += length + 2
