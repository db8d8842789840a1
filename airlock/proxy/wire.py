"""JSON-RPC 2.0 over lines: one object a line, read strictly, written once, for both sides of the proxy.

`decode` is the only reader and `encode_line` the only writer, on top of `canonical`, so that the frame
that was judged is the frame that is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring as quote
from typing import Any, Final, TypeAlias

from airlock.canonical import encode_text, parse
from airlock.errors import WireError
from airlock.model import JsonObject

Id: TypeAlias = str | int

LINE_LIMIT: Final = 64 * 1024 * 1024
"""The longest line that is read, in bytes, unless the caller says otherwise."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

_ABSENT: Final[Any] = object()
_ID_TYPES: Final = (int, str)
_ID: Final = rb'"id"\s*:\s*(?P<id>-?[0-9]{1,18}|"[A-Za-z0-9_.:-]{1,64}")\s*'
_KIND: Final = rb'"(?P<kind>result|error|method)"\s*:'
_OURS: Final = rb'"jsonrpc"\s*:\s*"2\.0"\s*'
_GLIMPSES: Final = (
    re.compile(rb"\A\s*\{\s*(?:" + _OURS + rb",\s*)?" + _ID + rb",\s*" + _KIND),
    re.compile(rb"\A\s*\{\s*" + _KIND + rb"(?s:.*),\s*" + _OURS + rb",\s*" + _ID + rb"\}\s*\Z"),
    re.compile(rb"\A\s*\{\s*" + _KIND + rb"(?s:.*),\s*" + _ID + rb",\s*" + _OURS + rb"\}\s*\Z"),
)
"""How serializers write a message: `id` first, or last beside `jsonrpc`."""

_BREAKS: Final = (("\u2028", r"\u2028"), ("\u2029", r"\u2029"), ("\x85", r"\u0085"))

_ANSWER: Final = ("jsonrpc", "id", "result")
_REQUEST: Final = ("jsonrpc", "id", "method", "params")


PARAMS: Final = frozenset(
    {
        "_meta", "argument", "arguments", "context", "inputResponses", "name", "ref", "requestState", "task",
        "taskId", "uri",
    }
)  # fmt: skip
"""What the params of a request say to those who judge it."""


class FrameError(WireError):
    """A line that is no acceptable message; `id` is the one it should be answered under, where one was found.

    `response` is True when the line looks like an answer to a request of ours: then nobody may answer it.
    """

    def __init__(
        self, message: str, *, code: int = INVALID_REQUEST, frame_id: Id | None = None, response: bool = False
    ) -> None:
        self.id = frame_id
        self.response = response
        super().__init__(message, code=code)


def decode(line: bytes, read: Callable[[bytes], Any] = parse) -> JsonObject:
    """The message on one line, checked to be one JSON-RPC request, notification or response.

    FrameError (a WireError) otherwise: not strict JSON, a batch, ids that are not strings or integers,
    params that are not an object, neither or both of result and error.
    """
    try:
        frame = read(line)
    except WireError as error:
        found, response = _salvage(line)
        raise FrameError(str(error), code=error.code, frame_id=found, response=response) from None
    if type(frame) is not dict:
        what = "batches are not part of MCP since 2025-06-18" if isinstance(frame, list) else "not an object"
        raise FrameError(f"message refused: {what}")
    problem = _problem(frame)
    if problem:
        found = frame.get("id")
        raise FrameError(
            f"message refused: {problem}",
            frame_id=found if is_id(found) else None,
            response="method" not in frame,
        )
    return frame


def is_id(value: Any) -> bool:
    """True for what may identify a request: a string or an integer, never a boolean."""
    return type(value) in _ID_TYPES


def _problem(frame: JsonObject) -> str:
    if frame.get("jsonrpc") != "2.0":
        return '`jsonrpc` must be "2.0"'
    method = frame.get("method", _ABSENT)
    if method is _ABSENT:
        return _response_problem(frame)
    if type(method) is not str:
        return "`method` must be a string"
    if "id" in frame and type(frame["id"]) not in _ID_TYPES:
        return "`id` must be a string or an integer"
    if "result" in frame or "error" in frame:
        return "it is both a request and a response"
    params = frame.get("params")
    if params is not None and type(params) is not dict:
        return "`params` must be an object"
    if not params or PARAMS.issuperset(params) or "id" not in frame:  # the usual ones
        return ""
    return misspelt(params, PARAMS)


def misspelt(members: JsonObject, known: frozenset[str]) -> str:
    """Why these members may say something else to a server that ignores the case of names; "" when not.

    Go's encoding/json does: of `name` and `Name` it takes the last, and only one of them was judged.
    """
    if known.issuperset(members):
        return ""
    folded = {name.casefold(): name for name in known}
    found = [name for name in members if name not in known and name.casefold() in folded]
    return f"`{found[0][:40]}` can be taken for `{folded[found[0].casefold()]}`" if found else ""


def _response_problem(frame: JsonObject) -> str:
    if "id" not in frame:
        return "it has neither `method` nor `id`"
    if ("result" in frame) == ("error" in frame):
        return "it must have exactly one of `method`, `result` and `error`"
    found = frame["id"]
    if type(found) not in _ID_TYPES and not (found is None and "error" in frame):
        return "`id` must be a string or an integer"
    if "error" in frame:
        error = frame["error"]
        if not isinstance(error, dict) or not is_id(error.get("code")) or isinstance(error["code"], str):
            return "`error` must be an object with an integer `code`"
        if not isinstance(error.get("message"), str):
            return "`error` must have a `message`"
    return ""


def _salvage(line: bytes) -> tuple[Id | None, bool]:
    """The one id of a line that strict reading refused, so that nobody waits for ever; is it a response?"""
    try:
        pairs = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return _glimpse(line)
    if not isinstance(pairs, _Pairs):
        return None, False
    ids = [value for name, value in pairs if name == "id"]
    found = ids[0] if len(ids) == 1 and is_id(ids[0]) else None
    return found, all(name != "method" for name, _ in pairs)


def _glimpse(line: bytes) -> tuple[Id | None, bool]:
    """The same of a line that is no JSON at all, where its beginning or its end says it beyond doubt."""
    for shape in _GLIMPSES:
        found = shape.search(line)
        if found:
            word = found["id"].decode()
            return (word[1:-1] if word.startswith('"') else int(word)), found["kind"] != b"method"
    return None, False


class _Pairs(list[Any]):
    """The members of one object in their order, duplicates included."""


def encode_line(frame: JsonObject) -> bytes:
    """The frame as one line, newline included; WireError for what JSON cannot say.

    The characters that some line readers take for a line end (U+2028, U+2029, U+0085) are escaped.
    """
    text = _text(frame)
    if not text.isascii():
        for raw, escaped in _BREAKS:
            if raw in text:
                text = text.replace(raw, escaped)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise WireError("cannot be written as JSON: a string holds a lone surrogate") from None


def _text(frame: JsonObject) -> str:
    """The frame as a line of text; what all calls, and all answers, have in common is not encoded anew."""
    members = tuple(frame)
    if members == _ANSWER and type(frame["id"]) is int:
        return f'{{"jsonrpc":"2.0","id":{frame["id"]},"result":{encode_text(frame["result"])}}}\n'
    if members == _REQUEST and type(frame["id"]) is int:
        method, params = quote(frame["method"]), encode_text(frame["params"])
        return f'{{"jsonrpc":"2.0","id":{frame["id"]},"method":{method},"params":{params}}}\n'
    return encode_text(frame) + "\n"


def request_frame(frame_id: Id, method: str, params: JsonObject | None = None) -> JsonObject:
    """A request."""
    if params is None:
        return {"jsonrpc": "2.0", "id": frame_id, "method": method}
    return {"jsonrpc": "2.0", "id": frame_id, "method": method, "params": params}


def notification_frame(method: str, params: JsonObject | None = None) -> JsonObject:
    """A notification."""
    if params is None:
        return {"jsonrpc": "2.0", "method": method}
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result_frame(frame_id: Id, result: Any) -> JsonObject:
    """A successful response."""
    return {"jsonrpc": "2.0", "id": frame_id, "result": result}


def error_frame(frame_id: Id | None, code: int, message: str, data: Any = None) -> JsonObject:
    """An error response; `data` is left out when it is None."""
    error: JsonObject = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": frame_id, "error": error}


class LineSplitter:
    """Cuts a byte stream into lines without their newline; blank lines vanish.

    A line over the limit is dropped to its end and `on_overlong` gets its first bytes; without that
    function a WireError is raised, and the stream is of no further use.
    """

    __slots__ = ("_kept", "_limit", "_on_overlong", "_pieces", "_size", "_skipping")

    def __init__(self, limit: int = LINE_LIMIT, on_overlong: Callable[[bytes], None] | None = None) -> None:
        self._limit = limit
        self._on_overlong = on_overlong
        self._pieces: list[bytes] = []
        self._kept: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now."""
        fresh = not self._size and not self._skipping
        if fresh and data.endswith(b"\n") and len(data) <= self._limit:
            # A line for itself, the usual case: finding its end is much quicker than splitting there.
            if data.find(b"\n") == len(data) - 1:
                return [] if data.isspace() else [data[:-1]]
            return [line for line in data.split(b"\n") if line and not line.isspace()]
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._end(piece)
        if rest:
            self._add(rest)
        lines, self._kept = self._kept, []
        return lines

    def end(self) -> bytes:
        """What stands after the last newline when the stream ends; b"" when there is nothing."""
        rest = b"".join(self._pieces)
        self._pieces, self._size, self._skipping = [], 0, False
        return b"" if rest.isspace() else rest

    def _end(self, piece: bytes) -> None:
        if self._skipping or not self._add(piece):
            self._skipping = False
            return
        line = b"".join(self._pieces) if len(self._pieces) > 1 else piece
        self._pieces, self._size = [], 0
        if line and not line.isspace():
            self._kept.append(line)

    def _add(self, piece: bytes) -> bool:
        """Keep a piece of the current line; False when that makes it too long."""
        if self._skipping:
            return False
        self._size += len(piece)
        self._pieces.append(piece)
        if self._size <= self._limit:
            return True
        head = b"".join(self._pieces)[:512]
        self._pieces, self._size, self._skipping = [], 0, True
        if self._on_overlong is None:
            raise WireError(f"a line is longer than {self._limit} bytes", code=PARSE_ERROR)
        self._on_overlong(head)
        return False
