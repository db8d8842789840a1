"""A scripted stand-in for the APIs of three models, on loopback: it plays a list of turns and keeps what it
was sent, so that a test reads what the model saw.

It speaks Anthropic Messages, OpenAI Responses and Gemini generateContent, whole or streamed. The number of
the turn is how many calls the conversation holds already, so a request that is sent again gets the same
answer. A request that offers no tools (a title, a summary) gets a fixed text.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Json: TypeAlias = dict[str, Any]
SIDE_TEXT = "A title"


@dataclass(frozen=True, slots=True)
class Say:
    """The model says this, and is done."""

    text: str


@dataclass(frozen=True, slots=True)
class Use:
    """The model calls one tool. `namespace` is what Codex puts beside the name of an MCP tool."""

    tool: str
    input: Json = field(default_factory=dict)
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as every dialect means it: how many calls were made, their results, the tools offered."""

    calls: int
    results: tuple[str, ...]
    tools: tuple[str, ...]
    body: Json

    @property
    def text(self) -> str:
        """All that the model reads."""
        return json.dumps(self.body, ensure_ascii=False)


Turn: TypeAlias = Say | Use | Callable[[Seen], "Say | Use"]


def plain(content: Any) -> str:
    """The text of a tool's result, whatever shape it has."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(plain(one) for one in content)
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return str(content["text"])
    return json.dumps(content, ensure_ascii=False)


# Anthropic Messages


def read_messages(body: Json) -> Seen:
    """What a request of the Messages API says."""
    blocks = [
        (message["role"], block)
        for message in body.get("messages", [])
        if isinstance(message.get("content"), list)
        for block in message["content"]
    ]
    return Seen(
        calls=sum(role == "assistant" and block.get("type") == "tool_use" for role, block in blocks),
        results=tuple(
            plain(block.get("content")) for _, block in blocks if block.get("type") == "tool_result"
        ),
        tools=tuple(tool.get("name", "") for tool in body.get("tools", [])),
        body=body,
    )


def message_of(turn: Say | Use, seen: Seen) -> Json:
    """A whole answer of the Messages API."""
    block: Json = (
        {"type": "text", "text": turn.text}
        if isinstance(turn, Say)
        else {"type": "tool_use", "id": f"toolu_{seen.calls:04}", "name": turn.tool, "input": turn.input}
    )
    return {
        "id": f"msg_{seen.calls:04}",
        "type": "message",
        "role": "assistant",
        "model": seen.body.get("model", "stand-in"),
        "content": [block],
        "stop_reason": "end_turn" if isinstance(turn, Say) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def message_events(turn: Say | Use, seen: Seen) -> Iterator[tuple[str, Json]]:
    """The same answer as events."""
    whole = message_of(turn, seen)
    block = whole["content"][0]
    if isinstance(turn, Say):
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": turn.text}
    else:
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(turn.input)}
    yield "message_start", {"message": {**whole, "content": [], "stop_reason": None}}
    yield "content_block_start", {"index": 0, "content_block": empty}
    yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": ending, "usage": {"output_tokens": 1}}
    yield "message_stop", {}


# OpenAI Responses


def read_responses(body: Json) -> Seen:
    """What a request of the Responses API says."""
    given = body.get("input")
    items = given if isinstance(given, list) else []
    kinds = {"function_call_output", "custom_tool_call_output"}
    return Seen(
        calls=sum(item.get("type") in {"function_call", "custom_tool_call"} for item in items),
        results=tuple(plain(item.get("output")) for item in items if item.get("type") in kinds),
        tools=tuple(_response_tools(body.get("tools", []))),
        body=body,
    )


def _response_tools(tools: list[Json], prefix: str = "") -> Iterator[str]:
    for tool in tools:
        if isinstance(tool.get("tools"), list):
            yield from _response_tools(tool["tools"], f"{tool.get('name', '')}/")
        else:
            yield prefix + str(tool.get("name") or tool.get("type"))


def response_of(turn: Say | Use, seen: Seen) -> Json:
    """A whole answer of the Responses API."""
    item: Json = (
        {
            "type": "message",
            "id": f"msg_{seen.calls:04}",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": turn.text, "annotations": []}],
        }
        if isinstance(turn, Say)
        else {
            "type": "function_call",
            "id": f"fc_{seen.calls:04}",
            "call_id": f"call_{seen.calls:04}",
            "name": turn.tool,
            "arguments": json.dumps(turn.input),
            "status": "completed",
            **({"namespace": turn.namespace} if turn.namespace else {}),
        }
    )
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return {
        "id": f"resp_{seen.calls:04}",
        "object": "response",
        "status": "completed",
        "model": seen.body.get("model", "stand-in"),
        "output": [item],
        "usage": usage,
    }


def response_events(turn: Say | Use, seen: Seen) -> Iterator[tuple[str, Json]]:
    """The same answer as events."""
    whole = response_of(turn, seen)
    item = whole["output"][0]
    yield "response.created", {"response": {**whole, "status": "in_progress", "output": []}}
    yield "response.output_item.added", {"output_index": 0, "item": item}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": whole}


# Gemini generateContent


def read_contents(body: Json) -> Seen:
    """What a request of the Gemini API says."""
    parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
    answers = [part["functionResponse"].get("response") for part in parts if "functionResponse" in part]
    return Seen(
        calls=sum("functionCall" in part for part in parts),
        results=tuple(plain(one) for one in answers),
        tools=tuple(
            one.get("name", "")
            for tool in body.get("tools") or []
            for one in tool.get("functionDeclarations", [])
        ),
        body=body,
    )


def content_of(turn: Say | Use, seen: Seen) -> Json:
    """A whole answer of the Gemini API, which is also its one streamed piece."""
    part: Json = (
        {"text": turn.text}
        if isinstance(turn, Say)
        else {"functionCall": {"id": f"call_{seen.calls:04}", "name": turn.tool, "args": turn.input}}
    )
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": "stand-in",
    }


# The server


class Model:
    """The stand-in: where it is, and what it was sent."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = list(turns)
        self.seen: list[Seen] = []
        self.unknown: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def last(self) -> Seen:
        """The conversation as the model saw it last."""
        with self._lock:
            return max((one for one in self.seen if one.tools), key=lambda one: one.calls)

    @property
    def results(self) -> tuple[str, ...]:
        """What the model read as the results of its calls."""
        return self.last.results

    @property
    def everything(self) -> str:
        """All that any request held."""
        with self._lock:
            return "\n".join(one.text for one in self.seen)

    def turn(self, seen: Seen) -> Say | Use:
        """What the script says to this conversation."""
        with self._lock:
            self.seen.append(seen)
        if not seen.tools:
            return Say(SIDE_TEXT)
        turn = self.turns[seen.calls] if seen.calls < len(self.turns) else Say("done")
        return turn(seen) if callable(turn) else turn

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@contextlib.contextmanager
def playing(*turns: Turn) -> Iterator[Model]:
    """A running stand-in that plays these turns."""
    model = Model(turns)
    try:
        yield model
    finally:
        model.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, model: Model) -> None:
        self.model = model
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(200, b"", "text/plain")

    def do_GET(self) -> None:
        if urlsplit(self.path).path.endswith("/models"):
            self._json({"data": [], "models": [], "object": "list", "has_more": False})
        else:
            self._lost()

    def do_POST(self) -> None:
        data = self._body()
        path = urlsplit(self.path).path
        body: Json = json.loads(data or b"{}")
        if path.endswith("/messages/count_tokens"):
            self._json({"input_tokens": 1})
        elif path.endswith(":countTokens"):
            self._json({"totalTokens": 1})
        elif path.endswith("/messages"):
            self._play(read_messages(body), message_of, message_events)
        elif path.endswith("/responses"):
            self._play(read_responses(body), response_of, response_events)
        elif path.endswith((":generateContent", ":streamGenerateContent")):
            self._contents(read_contents(body), streamed=path.endswith(":streamGenerateContent"))
        else:
            self._lost()

    def _play(
        self,
        seen: Seen,
        whole: Callable[[Say | Use, Seen], Json],
        events: Callable[[Say | Use, Seen], Iterator[tuple[str, Json]]],
    ) -> None:
        turn = self.server.model.turn(seen)
        if not seen.body.get("stream"):
            self._json(whole(turn, seen))
            return
        rows = [
            f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **value})}\n\n"
            for number, (name, value) in enumerate(events(turn, seen))
        ]
        self._answer(200, "".join(rows).encode(), "text/event-stream")

    def _contents(self, seen: Seen, *, streamed: bool) -> None:
        answer = content_of(self.server.model.turn(seen), seen)
        if streamed:
            self._answer(200, f"data: {json.dumps(answer)}\n\n".encode(), "text/event-stream")
        else:
            self._json(answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _lost(self) -> None:
        self.server.model.unknown.append(f"{self.command} {self.path}")
        self._answer(404, b'{"error": {"message": "no such thing here"}}', "application/json")

    def _json(self, value: Json) -> None:
        self._answer(200, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""
