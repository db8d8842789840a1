"""Regular expressions on google-re2: linear time, whatever the pattern and whatever the text.

All patterns for one argument become one set that reads the text once (decisions.md 18).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

MAX_TEXT = 1_000_000
"""Longer texts are a condition error: linear time is still time."""

MAX_PROGRAM = 4_000
"""A pattern whose compiled program is larger is refused at load."""

_NOTHING: frozenset[str] = frozenset()
TOO_LONG = f"is longer than {MAX_TEXT:,} characters"


class RegexError(ValueError):
    """A pattern that is not valid, or too large."""


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


def check(pattern: str) -> None:
    """Raise RegexError unless this pattern can be used."""
    try:
        compiled = re2.compile(pattern, _options())
        compile_set((pattern,))
    except re2.error as error:
        raise RegexError(_said(error)) from None
    except UnicodeError:
        raise RegexError("it is not valid Unicode") from None
    if compiled.programsize > MAX_PROGRAM:
        raise RegexError("it is too large; repeat fewer times")


def _said(error: Exception) -> str:
    text = error.args[0] if error.args else "not valid"
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def anchored(pattern: str) -> bool:
    """True when a pattern plainly begins with `^` or `\\A` and ends with `$` or `\\z`."""
    if not pattern.startswith(("^", r"\A")):
        return False
    if pattern.endswith(r"\z"):
        body = pattern[:-2]
    elif pattern.endswith("$"):
        body = pattern[:-1]
    else:
        return False
    return (len(body) - len(body.rstrip("\\"))) % 2 == 0


def whole(pattern: str) -> str:
    """The pattern as one that must cover the whole text, whatever alternatives it has inside."""
    return rf"\A(?:{pattern})\z"


class Fullmatch:
    """One pattern against a whole text."""

    __slots__ = ("_pattern",)

    def __init__(self, source: str) -> None:
        self._pattern = re2.compile(source, _options())

    def fullmatch(self, text: str) -> bool:
        """True when the expression covers the text; False also for a text that is not valid Unicode."""
        try:
            return self._pattern.fullmatch(text) is not None
        except UnicodeError:
            return False


class Finder:
    """Where one pattern occurs in a text of bytes; where its first group does, if that took part."""

    __slots__ = ("_group", "_pattern")

    def __init__(self, source: str) -> None:
        self._pattern = re2.compile(source.encode(), _options())
        self._group = min(1, self._pattern.groups)

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Begin and end of each occurrence, from left to right, none of them over another."""
        for found in self._pattern.finditer(text):
            begin, end = found.span(self._group)
            yield (begin, end) if begin >= 0 else found.span()


class PatternSet:
    """Several patterns read together. An empty one is among them: when even that is not found, the
    engine ran out of memory, and "nothing found" must not be believed."""

    __slots__ = ("_patterns", "_sets")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._sets = _sets(patterns)

    def found(self, text: str) -> frozenset[str] | str:
        """Which patterns occur in the text, or why that cannot be said."""
        if len(text) > MAX_TEXT:
            return TOO_LONG
        try:
            data = text.encode()  # once, and not by the engine's wrapper for each set
        except UnicodeError:
            return "is not valid Unicode"
        hits: list[str] = []
        for patterns, compiled in self._sets:
            numbers = compiled.Match(data)
            if len(patterns) not in numbers:
                return "needs more memory than the expression engine has"
            if len(numbers) > 1:
                hits += [patterns[number] for number in numbers if number < len(patterns)]
        return frozenset(hits) if hits else _NOTHING


def _sets(patterns: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """One set, or halves of it when one would be too large for the engine."""
    compiled = re2.Set.SearchSet(_options())
    for pattern in patterns:
        compiled.Add(pattern)
    compiled.Add("")
    try:
        compiled.Compile()
        if len(patterns) in compiled.Match(""):
            return [(patterns, compiled)]
    except re2.error:
        pass
    if len(patterns) < 2:
        raise re2.error("pattern too large")
    half = len(patterns) // 2
    return _sets(patterns[:half]) + _sets(patterns[half:])


@lru_cache(maxsize=1024)
def compile_set(patterns: tuple[str, ...]) -> PatternSet:
    """The set of these patterns; the same patterns share one."""
    return PatternSet(patterns)


def search(pattern: str, text: str) -> bool | None:
    """Whether the pattern occurs in the text; None when that cannot be said."""
    try:
        found = compile_set((pattern,)).found(text)
    except (re2.error, UnicodeError):
        return None
    return None if isinstance(found, str) else bool(found)
