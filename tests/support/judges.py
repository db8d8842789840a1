"""A server of models in OpenAI's form on loopback: it plays its part, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.gateways import BOUND


def judged(score: float = 0.0, *issues: str, reasoning: str = "nothing odd", **more: Any) -> dict[str, Any]:
    """An answer as it was asked for."""
    answer = {
        "risk_score": score,
        "reasoning": reasoning,
        "detected_issues": list(issues),
        "confidence": 0.9,
        **more,
    }
    return completion(json.dumps(answer))


def completion(text: str | None, ending: str = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text, **more}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": ending, "logprobs": None}],
    }


@dataclass(slots=True)
class Say:
    """One answer of the server: a status, headers and a body."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(slots=True)
class Judges:
    """The server. `answer` makes each answer of what was asked; `release` ends those that hang."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Say | None] = lambda _: Say(judged())
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    under_way: int = 0
    most_under_way: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def says(self, *answers: Any, status: int = 200) -> None:
        """These bodies, one after the other; the last one again and again."""
        left = list(answers)
        self.answer = lambda _: Say(left.pop(0) if len(left) > 1 else left[0], status)

    @property
    def seen(self) -> str:
        """All that ever left for the server."""
        return json.dumps([self.asked, self.headers, self.paths], ensure_ascii=False)

    def user(self, number: int = -1) -> str:
        """The text of the message in which the judged content stands."""
        return str(self.asked[number]["messages"][1]["content"])

    def wait(self, count: int) -> None:
        """Until it was asked that often."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, BOUND)


@contextlib.contextmanager
def judges() -> Iterator[Judges]:
    """A running one."""
    made = Judges()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with made.changed:
                made.asked.append(body)
                made.headers.append({name.lower(): value for name, value in self.headers.items()})
                made.paths.append(self.path)
                made.under_way += 1
                made.most_under_way = max(made.most_under_way, made.under_way)
                made.changed.notify_all()
            answer = made.answer(body)
            with made.changed:  # before it is sent: what comes next may be quicker than the rest of this
                made.under_way -= 1
            self._say(answer)

        def _say(self, answer: Say | None) -> None:
            if answer is None:
                made.release.wait(BOUND)
                return
            data = answer.data()
            with contextlib.suppress(OSError):  # whoever asked had enough of it
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.release.set()
        server.shutdown()
        server.server_close()
        thread.join(BOUND)
