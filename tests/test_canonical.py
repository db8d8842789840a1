"""One strict JSON: what is refused, what is kept exactly, and the canonical form's promises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.canonical import MAX_DEPTH, canonical, encode, fingerprint, parse
from airlock.errors import WireError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a":1,"a":2}', "duplicate key `a`"),
        (b'{"x":{"y":[{"a":1,"b":2,"a":3}]}}', "duplicate key `a`"),
        (b'{"a":1,"\\u0061":2}', "duplicate key `a`"),
        (b'{"a":NaN}', "`NaN` is not JSON"),
        (b'{"a":-Infinity}', "`-Infinity` is not JSON"),
        (b'{"a":1e400}', "cannot be passed on exactly"),
        (b'{"a":0.1000000000000000055511151231257827}', "cannot be passed on exactly"),
        (b'{"a":12345678901234567890.5}', "cannot be passed on exactly"),
        (b'{"a":-0}', "cannot be passed on exactly"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'{"a":"\xff"}', "not valid UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":1} {"a":2}', "not valid JSON"),
        (b'{"a":"\t"}', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
    ],
)
def test_what_would_not_be_passed_on_exactly_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":1.10}', {"a": 1.1}),
        (b'{"a":1e5}', {"a": 100000.0}),
        (b'{"a":-0.5,"b":-0.0}', {"a": -0.5, "b": -0.0}),
        (b'{"n":123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"":null}', {"": None}),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_unusual_json_is_kept(text: bytes, value: Any) -> None:
    parsed = parse(text)
    if value is not None:
        assert parsed == value
    assert parse(encode(parsed)) == parsed


@given(JSON)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert parse(encode(value)) == value


@given(JSON)
def test_the_canonical_form_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(JSON, JSON)
def test_different_values_never_share_a_canonical_form(one: Any, other: Any) -> None:
    same = repr(_typed(one)) == repr(_typed(other))
    assert (canonical(one) == canonical(other)) == same


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _typed(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return (type(value).__name__, value)


def test_the_order_of_members_does_not_matter() -> None:
    assert canonical({"b": 1, "a": {"y": 2, "x": 3}}) == canonical({"a": {"x": 3, "y": 2}, "b": 1})


def test_members_are_sorted_by_utf16_code_units() -> None:
    assert canonical({"\U0001f600": 1, "\ufb33": 2}) == '{"\U0001f600":1,"\ufb33":2}'.encode()


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (True, 1), (2**53, 2**53 + 1), ("1", 1), (None, "")])
def test_values_that_some_parsers_confuse_have_different_fingerprints(one: Any, other: Any) -> None:
    assert fingerprint(b"k" * 32, {"a": one}) != fingerprint(b"k" * 32, {"a": other})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": object()}])
def test_what_json_cannot_say_is_refused_when_written(value: Any) -> None:
    with pytest.raises(WireError):
        encode(value)
    with pytest.raises(WireError):
        canonical(value)


@pytest.mark.parametrize("opened", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("padding", ["", "x" * 5_000, "[{" * 300])
def test_the_depth_counts_whatever_is_opened_and_whatever_texts_hold(opened: str, padding: str) -> None:
    levels = opened.count("[") + opened.count("{")
    closed = "".join({"[": "]", "{": "}"}[sign] for sign in reversed(opened) if sign in "[{")
    text = json.dumps(padding)
    for depth in (MAX_DEPTH // levels, MAX_DEPTH // levels + 1):
        nested = opened * depth + text + closed * depth
        for spelled in (nested, nested.encode()):
            if depth * levels <= MAX_DEPTH:
                assert encode(parse(spelled)) == nested.encode()
            else:
                with pytest.raises(WireError, match="nested deeper"):
                    parse(spelled)
