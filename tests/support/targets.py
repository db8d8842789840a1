"""A web server that somebody else's requests reach: it counts them, and answers as a test says."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.gateways import BOUND


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """What is answered; `then` is done before."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    then: Callable[[], Any] | None = None


@dataclass(slots=True)
class TargetServer:
    """The server: `replies` are used up in turn, after them everything is 200."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, seen: Seen) -> Reply:
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()
            return self.replies.pop(0) if self.replies else Reply()

    def wait(self, count: int) -> list[Seen]:
        """The requests, once there are that many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, BOUND), self.seen
            return list(self.seen)


@contextlib.contextmanager
def target_server() -> Iterator[TargetServer]:
    target = TargetServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = target.take(Seen(self.command, self.path, dict(self.headers.items()), body))
            if reply.then is not None:
                reply.then()
            with contextlib.suppress(OSError):
                self.send_response(reply.status)
                for name, text in reply.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler._serve)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    target.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()
        thread.join(BOUND)
