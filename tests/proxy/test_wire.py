"""What one line may hold, and how a byte stream becomes lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.canonical import encode
from airlock.errors import WireError
from airlock.proxy import wire

PLAIN = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.mark.parametrize(
    "line",
    [
        PLAIN,
        b'{"jsonrpc":"2.0","id":"a","method":"x","params":{}}',
        b'{"jsonrpc":"2.0","id":-3,"method":"x","params":null}',
        b'{"jsonrpc":"2.0","method":"x"}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}',
        PLAIN + b"\r",
    ],
)
def test_a_message_is_read_as_json_says(line: bytes) -> None:
    assert wire.decode(line) == json.loads(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"[" + PLAIN + b"]", "batches"),
        (b'"x"', "not an object"),
        (b'{"id":1,"method":"ping"}', "jsonrpc"),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', "jsonrpc"),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', "`id`"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', "`id`"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', "`id`"),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}', "`id`"),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', "`id`"),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', "`method`"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}', "`params`"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', "both"),
        (b'{"jsonrpc":"2.0","id":1}', "exactly one"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', "exactly one"),
        (b'{"jsonrpc":"2.0"}', "neither"),
        (b'{"jsonrpc":"2.0","id":null,"result":{}}', "`id`"),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}', "`error`"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}', "`error`"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":""}}', "`error`"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1}}', "`message`"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}}', "duplicate key"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', "NaN"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","Name":"b"}}', "`Name`"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"URI":"b"}}', "`uri`"),
        (b"hello", "not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_what_is_no_message_is_refused_and_said(line: bytes, says: str) -> None:
    with pytest.raises(WireError, match=says):
        wire.decode(line)


@pytest.mark.parametrize(
    ("line", "found", "response"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":[1]}', 7, False),
        (b'{"jsonrpc":"2.0","id":"q","method":"x","params":{"a":1,"a":2}}', "q", False),
        (b'{"jsonrpc":"2.0","id":7,"result":{"a":1e400}}', 7, True),
        (b'{"jsonrpc":"2.0","id":7,"id":8,"result":{}}', None, True),
        (b'{"jsonrpc":"2.0","id":true,"method":"x"}', None, False),
        (b'{"id":7', None, False),
    ],
)
def test_a_refused_line_still_tells_whom_to_answer(
    line: bytes, found: wire.Id | None, response: bool
) -> None:
    with pytest.raises(wire.FrameError) as caught:
        wire.decode(line)
    assert (caught.value.id, caught.value.response) == (found, response)


def test_a_frame_is_written_as_one_line_that_no_line_reader_cuts() -> None:
    frame = wire.request_frame(
        1, "x", {"text": "a\nb\u2028c\u2029d\u0085e\x1ef\rg", "deep": {"ü": [1, None]}}
    )
    line = wire.encode_line(frame)
    assert len(line.decode().splitlines()) == 1
    assert line.endswith(b"\n")
    assert wire.decode(line) == frame


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
MEMBERS = st.lists(
    st.one_of(
        st.tuples(st.just("id"), st.one_of(st.integers(), st.text(), st.booleans())),
        st.tuples(st.just("method"), st.text()),
        st.tuples(st.sampled_from(["params", "result", "error", "more"]), VALUES),
    ),
    max_size=4,
)


@given(MEMBERS)
def test_a_frame_of_any_shape_is_written_as_the_one_encoder_would(members: list[tuple[str, object]]) -> None:
    frame = {"jsonrpc": "2.0", **dict(members)}
    text = encode(frame).decode()
    for sign in "\u2028\u2029\x85":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    assert wire.encode_line(frame) == text.encode() + b"\n"


def test_what_json_cannot_say_is_not_written() -> None:
    for bad in (float("nan"), "\ud800", {"\ud800": 1}, {1: object()}):
        for frame in (
            {"jsonrpc": "2.0", "id": 1, "result": bad},
            wire.request_frame(1, "x", {"a": bad}),
            wire.notification_frame("x", {"a": bad}),
        ):
            with pytest.raises(WireError):
                wire.encode_line(frame)
    with pytest.raises(WireError):
        wire.encode_line(wire.request_frame(1, "\ud800", {}))


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_do_not_depend_on_how_the_bytes_were_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, got, at = wire.LineSplitter(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        got += splitter.feed(stream[at : at + size])
        at += size
    assert got == [line for line in lines if line.strip()]
    assert splitter.end() == b""


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_line_over_the_limit_is_dropped_and_the_next_one_read(size: int) -> None:
    heads: list[bytes] = []
    splitter = wire.LineSplitter(10, heads.append)
    stream = b"short\n" + b"x" * 50 + b"\nnext\n0123456789\n01234567890\nend\n"
    got = [line for at in range(0, len(stream), size) for line in splitter.feed(stream[at : at + size])]
    assert got == [b"short", b"next", b"0123456789", b"end"]
    assert [head[:4] for head in heads] == [b"xxxx", b"0123"]


def test_without_a_listener_a_line_over_the_limit_is_an_error() -> None:
    with pytest.raises(WireError, match="longer than 10 bytes"):
        wire.LineSplitter(10).feed(b"x" * 11)


def test_what_stands_after_the_last_newline_is_kept_for_the_end() -> None:
    splitter = wire.LineSplitter()
    assert splitter.feed(PLAIN + b"\n" + PLAIN[:5]) == [PLAIN]
    assert splitter.end() == PLAIN[:5]


def test_an_error_frame_carries_data_only_when_there_is_some() -> None:
    assert wire.error_frame(None, -1, "no") == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -1, "message": "no"},
    }
    assert json.loads(wire.encode_line(wire.error_frame("a", -1, "no", {"b": 1})))["error"]["data"] == {
        "b": 1
    }


@pytest.mark.parametrize(
    ("line", "found", "response"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"a":[1,]}}', 7, True),
        (b' { "id" : "x-1" , "error" : {', "x-1", True),
        (b'{"result":{"v":NaN,},"id":9,"jsonrpc":"2.0"}', 9, True),
        (b'{"result":{"v":"\xff"},"jsonrpc":"2.0","id":9}', 9, True),
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":{]}}', 7, False),
        (b'{"result":{"v":' + b"[" * 9000 + b',"id":3,"result":{}', None, False),
        (b'{"jsonrpc":"2.0","result":{"id":3,"error":{"jsonrpc":"2.0",]', None, False),
        (b'log: {"jsonrpc":"2.0","id":7,"result":{', None, False),
        (b'{"id":1.5,"result":{]', None, False),
        (b'{"id":"a\\"b","result":{]', None, False),
    ],
)
def test_the_id_of_a_line_that_is_no_json_is_told_where_it_is_beyond_doubt(
    line: bytes, found: int | str | None, response: bool
) -> None:
    with pytest.raises(wire.FrameError) as refused:
        wire.decode(line)
    assert (refused.value.id, refused.value.response) == (found, response)
