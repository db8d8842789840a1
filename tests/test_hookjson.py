"""The reader of `airlock hook` takes what `json` takes, but for what is no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.hookjson import loads

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=values, indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_it_reads_what_json_wrote(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert loads(f" \r\n{text}\t".encode("utf-8", "surrogatepass")) == value


@given(
    st.binary(max_size=40)
    | st.text(alphabet='{}[]":,0123456789eE+-.trufalsn \n', max_size=40).map(str.encode)
)
def test_what_json_refuses_it_refuses_too(data: bytes) -> None:
    try:
        value = loads(data)
    except ValueError:
        return
    assert json.loads(data) == value


def test_it_reads_on_behind_an_object() -> None:
    assert loads(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"NaN",
        b'{"a": 1, "a": 2}',
        b'[{"a": {"b": 1, "b": 1}}]',
        b"-Infinity",
        b"{}{}",
        b"{} x",
        b'{"a": }',
        b"\xff",
        b"[1,]",
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        loads(data)


def test_a_bottomless_nesting_is_refused() -> None:
    with pytest.raises(RecursionError):
        loads(b"[" * 100_000)
