"""JSON exactly: one strict reader, one writer, one canonical form, and what is derived from them.

Everything that is judged and everything that is forwarded passes through `parse` and `encode`, so that
what the policy saw is what the upstream gets. The canonical form is ours (decisions.md 21): the order
and strings of RFC 8785, but integers exact and floats as Python's `repr`, because RFC 8785's own numbers
give 2^53 and 2^53+1 the same text, and an approval of one must not cover the other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring
from typing import Any, Never, cast

from airlock.errors import WireError

MAX_DEPTH = 128
"""Deeper messages are refused: a deeply nested value can crash the CEL engine (decisions.md 17)."""

MAX_VALUES = 20_000
"""What is sent over HTTP may hold no more: every value is judged, masked and written, several times."""

PARSE_ERROR = -32700


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise WireError(f"duplicate key `{twice[:80]}`", code=PARSE_ERROR)
    return members


def _constant(name: str) -> Never:
    raise WireError(f"`{name}` is not JSON", code=PARSE_ERROR)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or (Decimal(text) != Decimal(repr(value))):
        raise WireError(f"number `{text[:40]}` cannot be passed on exactly", code=PARSE_ERROR)
    return value


def _int(text: str) -> int:
    if text == "-0":
        raise WireError("number `-0` cannot be passed on exactly", code=PARSE_ERROR)
    return int(text)


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)
_exact_decoder = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int
)
_slow_encoder = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)
_MINUS_ZERO = re.compile(r"-0(?![0-9.eE])")


def parse(data: bytes | str) -> Any:
    """The value of one JSON text; WireError when it is not JSON, ambiguous, too deep or inexact.

    Refused: duplicate keys at any depth, NaN and infinities, numbers that would not print back as the
    same value, lone surrogates, invalid UTF-8, nesting over MAX_DEPTH.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        # One character is found much faster than two: most texts are through after that.
        decoder = _exact_decoder if "-" in text and "-0" in text and _MINUS_ZERO.search(text) else _decoder
        # `decoder.decode` without its search for blanks around a text that mostly has none.
        try:
            value, end = decoder.scan_once(text, 0)  # type: ignore[attr-defined]
        except StopIteration:
            value, end = None, -1
        if end != len(text) and (end < 0 or text[end:].strip(" \t\r\n")):
            value = decoder.decode(text)
        if len(text) > 2 * MAX_DEPTH and _openings(data) > MAX_DEPTH:
            _check_depth(value)
        if ("\\" in text and "\\u" in text) or text is data:
            _check_surrogates(value)
    except WireError:
        raise
    except RecursionError:
        raise WireError(f"nested deeper than {MAX_DEPTH} levels", code=PARSE_ERROR) from None
    except UnicodeDecodeError:
        raise WireError("not valid UTF-8", code=PARSE_ERROR) from None
    except (ValueError, InvalidOperation) as error:
        raise WireError(f"not valid JSON: {error}", code=PARSE_ERROR) from None
    return value


def _openings(data: bytes | str) -> int:
    """How many brackets and braces a text opens, those in strings included."""
    if not isinstance(data, bytes):
        return data.count("[") + data.count("{")
    # `count` looks at each byte; `replace` jumps from one to the next.
    return 2 * len(data) - len(data.replace(b"[", b"")) - len(data.replace(b"{", b""))


def parse_sent(data: bytes) -> Any:
    """`parse` for what is sent to a process that others need too: no more than MAX_VALUES values."""
    value = parse(data)
    if len(data) > MAX_VALUES and sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        _check_count(value)
    return value


def _check_count(value: Any) -> None:
    level, count = _inside([[value]]), 1
    while level:
        count += sum(map(len, level))
        if count > MAX_VALUES:
            raise WireError(f"more than {MAX_VALUES} values", code=PARSE_ERROR)
        level = _inside(level)


def _check_depth(value: Any) -> None:
    level = _inside([[value]])
    for _ in range(MAX_DEPTH):
        level = _inside(level)
        if not level:
            return
    raise WireError(f"nested deeper than {MAX_DEPTH} levels", code=PARSE_ERROR)


def _inside(level: list[Any]) -> list[Any]:
    """The objects and lists that stand right inside these."""
    return [
        inner
        for outer in level
        if outer
        for inner in (outer.values() if isinstance(outer, dict) else outer)
        if isinstance(inner, (dict, list))
    ]


def _check_surrogates(value: Any) -> None:
    try:
        "".join(_pieces(value, 0)).encode("utf-8")
    except UnicodeEncodeError:
        raise WireError("a string holds a lone surrogate", code=PARSE_ERROR) from None


def _writer() -> Callable[[Any, int], Iterable[str]]:
    # JSONEncoder.encode makes a C encoder anew for each value; one that is kept saves a third of the time.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, _: _slow_encoder.encode(value)
    return cast(
        "Callable[[Any, int], Iterable[str]]",
        make(None, _slow_encoder.default, encode_basestring, None, ":", ",", False, False, False),
    )


_pieces = _writer()
"""The pieces of a value's JSON text; the number is how deep it stands, which is 0."""

_UNWRITABLE = (ValueError, UnicodeEncodeError, RecursionError, TypeError)


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON, members in their order; WireError for what JSON cannot say."""
    try:
        return "".join(_pieces(value, 0)).encode("utf-8")
    except _UNWRITABLE as error:
        raise WireError(f"cannot be written as JSON: {error}") from None


def encode_text(value: Any) -> str:
    """What `encode` writes, as text: for what is made into bytes later, where a lone surrogate is found."""
    try:
        return "".join(_pieces(value, 0))
    except _UNWRITABLE as error:
        raise WireError(f"cannot be written as JSON: {error}") from None


def canonical(value: Any) -> bytes:
    """The one text of a value: equal texts exactly when the values are equal, 1 and 1.0 apart."""
    pieces: list[str] = []
    _write(value, pieces.append)
    try:
        return "".join(pieces).encode("utf-8")
    except UnicodeEncodeError:
        raise WireError("a string holds a lone surrogate") from None


def _write(value: Any, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif value is None or isinstance(value, bool):
        put("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        put(str(int(value)))
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise WireError(f"`{value}` is not JSON")
        put(repr(value))
    elif isinstance(value, Mapping):
        _write_members(value, put)
    elif isinstance(value, (list, tuple)):
        put("[")
        for index, item in enumerate(value):
            if index:
                put(",")
            _write(item, put)
        put("]")
    else:
        raise WireError(f"`{type(value).__name__}` is not JSON")


def _write_members(members: Mapping[str, Any], put: Callable[[str], None]) -> None:
    put("{")
    # RFC 8785 sorts by UTF-16 code units.
    for index, name in enumerate(sorted(members, key=lambda text: text.encode("utf-16-be", "surrogatepass"))):
        if index:
            put(",")
        put(encode_basestring(name))
        put(":")
        _write(members[name], put)
    put("}")


def fingerprint(key: bytes, facts: Mapping[str, Any]) -> str:
    """HMAC-SHA-256 in hex over the canonical form: what an approval is bound to (decisions.md 20)."""
    return hmac.new(key, canonical(facts), hashlib.sha256).hexdigest()
