"""Server-sent events, however a network cuts them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airlock.proxy.upstream.event_stream import Event, EventReader, TooLong

STREAM = (
    b"\xef\xbb\xbf: a comment\n\nid: 1-0\nretry: 500\ndata: \n\n"
    b'event: message\r\ndata: {"a":\r\ndata:  1}\r\n\r\nid: 7\rdata: x\r\r'
    b"event: other\ndata: y\n\nid: a\x00b\nretry: soon\nnonsense\ndata\n\ndata: cut off"
)
EVENTS = [
    Event(b"message", b"", "1-0", 500),
    Event(b"message", b'{"a":\n 1}', None, None),
    Event(b"message", b"x", "7", None),
    Event(b"other", b"y", None, None),
    Event(b"message", b"", None, None),
]


def read(pieces: list[bytes], limit: int = 1_000) -> list[Event]:
    reader = EventReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def test_events_are_read_as_the_standard_says() -> None:
    assert read([STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
@example([71, 71])  # nothing at all between a carriage return and its line feed
def test_it_makes_no_difference_where_a_stream_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    assert read([STREAM[a:b] for a, b in itertools.pairwise(cuts)]) == EVENTS


@given(st.binary(max_size=400), st.integers(1, 40))
def test_no_bytes_do_harm_and_pieces_read_as_the_whole(data: bytes, step: int) -> None:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert read(pieces) == read([data])


@pytest.mark.parametrize(
    "pieces",
    [[b"data: " + b"x" * 200 + b"\n\n"], [b"x" * 30] * 5, [b"data: xxxxxxxxxxxxxxxxxxxx\n"] * 5],
    ids=["one line", "a line without end", "an event without end"],
)
def test_an_event_has_a_most(pieces: list[bytes]) -> None:
    with pytest.raises(TooLong):
        read(pieces, limit=100)
    assert len(read([b"data: " + b"x" * 60 + b"\n\n"] * 20, limit=100)) == 20
