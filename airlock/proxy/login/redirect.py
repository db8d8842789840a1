"""The loopback address to which the browser comes back from a login (RFC 8252, 7.3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from airlock.errors import UsageError, why

HEAD_LIMIT: Final = 16 * 1024
READ_SECONDS: Final = 10.0
HOST: Final = "127.0.0.1"
_PAGE: Final = (
    "<!doctype html><meta charset=utf-8><title>Airlock</title>"
    "<body style='font:16px system-ui;margin:4rem auto;max-width:30rem'><p>{}</p>"
)
_HEADERS: Final = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\nConnection: close\r\n"
)


class Landing:
    """Waits for one answer: the one with the state that we gave. Whatever else comes is turned away."""

    def __init__(self, path: str = "/callback") -> None:
        self.state = ""
        self.port = 0
        self._path = path
        self._answer: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()

    async def answer(self) -> Mapping[str, str]:
        """The parameters that the browser brought."""
        return await self._answer

    @contextlib.asynccontextmanager
    async def listening(self, port: int, *, may_move: bool) -> AsyncIterator[None]:
        """Listen on that port; on a free one if it is taken and nobody registered it."""
        server = await self._listen(port, may_move=may_move)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self._answer.cancel()

    async def _listen(self, port: int, *, may_move: bool) -> asyncio.Server:
        try:
            return await asyncio.start_server(self._serve, HOST, port, limit=HEAD_LIMIT)
        except OSError as error:
            if may_move and port:
                return await self._listen(0, may_move=False)
            raise UsageError(
                f"port {port} cannot be listened on: {why(error)}; "
                "another one is set by `oauth_callback_port`"
            ) from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = self._judge(head.decode("latin-1"))
                body = _PAGE.format(text)
                rest = f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
                writer.write(f"HTTP/1.1 {status}\r\n{_HEADERS}{rest}".encode())
                await writer.drain()
        writer.close()

    def _judge(self, head: str) -> tuple[str, str]:
        """The status and the words for one request; the right one settles the answer."""
        first, *rows = head.split("\r\n")
        method, _, target = first.partition(" ")
        parts = urlsplit(target.rpartition(" ")[0])
        hosts = [row.partition(":")[2].strip().lower() for row in rows if row.lower().startswith("host:")]
        if hosts not in ([f"{HOST}:{self.port}"], [f"localhost:{self.port}"]):
            return "421 Misdirected Request", "Not here."
        if method != "GET" or parts.path != self._path:
            return "404 Not Found", "Not here."
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50)
        found = dict(pairs)
        if len(found) != len(pairs) or not self.state or found.get("state") != self.state:
            return "400 Bad Request", "This is not the login that Airlock waits for."
        if not self._answer.done():
            self._answer.set_result(found)
        if "code" in found:
            return "200 OK", "Airlock has what it needs: the rest shows in the terminal. You can close this."
        return "200 OK", "The login was refused. You can close this."
