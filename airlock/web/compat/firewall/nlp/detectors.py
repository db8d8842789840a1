"""Personal data and secrets in a text, found on this machine: nothing is sent, nothing is learnt.

Linear in the text, whoever wrote it. What was found is told by its kind and place, never by its value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from airlock.matching.regexes import Finder
from airlock.values import dataclass
from airlock.web.compat.firewall.nlp.patterns import KINDS, Kind

LONGEST = 65_536
"""Longer texts are not looked through."""

_BEFORE = 32
_FURTHER = 0.05
_FORMS = {"Zs": " ", "Pd": "-", "Cf": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found, from `start` up to `end` in characters."""

    kind: str
    start: int
    end: int
    weight: float
    confidence: float
    secret: bool

    @property
    def masked(self) -> str:
        """What may be shown in its place."""
        return f"[{self.kind}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was found. `whole`: the text was looked through to its end."""

    found: tuple[Finding, ...]
    whole: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Each kind once, the gravest first."""
        grave = sorted(self.found, key=lambda one: -one.weight)
        return tuple(dict.fromkeys(one.kind for one in grave))

    @property
    def score(self) -> float:
        """The weight of the gravest kind, and a little more for each further one."""
        if not self.found:
            return 0.0
        worst = max(one.weight for one in self.found)
        return round(min(1.0, worst + _FURTHER * (len(self.kinds) - 1)), 2)

    @property
    def confidence(self) -> float:
        """How sure the gravest finding is; of nothing, that of a text in which any kind could be missed."""
        if not self.found:
            return 0.5
        return max(self.found, key=lambda one: (one.weight, one.confidence)).confidence


def look(text: str) -> Findings:
    """What stands in a text."""
    plain, places = _plain(text[:LONGEST])
    data = plain.encode("utf-8", "replace")
    found: list[Finding] = []
    taken: list[tuple[int, int]] = []
    whole = len(text) <= LONGEST
    for kind in KINDS:
        spans, complete = _spans(kind, data, taken)
        whole = whole and complete
        taken = sorted([*taken, *spans])
        found += [_finding(kind, data, places, *span) for span in spans]
    return Findings(found=tuple(sorted(found, key=lambda one: one.start)), whole=whole)


@cache
def _finder(kind: Kind) -> Finder:
    return Finder(kind.source)


def _spans(kind: Kind, data: bytes, taken: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], bool]:
    """Where a kind stands outside what is taken; False when there were too many places to look at."""
    spans: list[tuple[int, int]] = []
    for looks, (begin, end) in enumerate(_outside(_finder(kind).spans(data), taken)):
        if looks >= kind.looks:
            return spans, False
        before = data[max(0, begin - _BEFORE) : begin].decode("utf-8", "ignore")
        if kind.holds(data[begin:end].decode("utf-8", "ignore"), before):
            spans.append((begin, end))
    return spans, True


def _outside(spans: Iterator[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans that lie over none of the others; both come in order."""
    place = 0
    for begin, end in spans:
        while place < len(taken) and taken[place][1] <= begin:
            place += 1
        if place == len(taken) or taken[place][0] >= end:
            yield begin, end


def _finding(kind: Kind, data: bytes, places: Sequence[int], begin: int, end: int) -> Finding:
    first = len(data[:begin].decode("utf-8", "replace"))
    last = first + len(data[begin:end].decode("utf-8", "replace")) - 1
    return Finding(
        kind=kind.name,
        start=places[first],
        end=places[last] + 1,
        weight=kind.weight,
        confidence=kind.confidence,
        secret=kind.secret,
    )


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """The text without characters that do not show, with all digits, blanks and dashes in their plain forms;
    and where each character of it stood."""
    if text.isascii():
        return text, range(len(text))
    pairs = [(one, place) for place, each in enumerate(text) if (one := _plain_character(each))]
    return "".join(one for one, _ in pairs), [place for _, place in pairs]


@lru_cache(maxsize=4_096)
def _plain_character(one: str) -> str:
    if one.isascii():
        return one
    digit = unicodedata.decimal(one, None)
    if digit is not None:
        return str(digit)
    kind = unicodedata.category(one)
    if kind in _FORMS:
        return _FORMS[kind]
    folded = unicodedata.normalize("NFKC", one)
    return folded if len(folded) == 1 else one


def masked(text: str, found: Sequence[Finding]) -> str:
    """The text with these findings covered by the names of their kinds."""
    pieces: list[str] = []
    place = 0
    for one in found:
        pieces += [text[place : one.start], one.masked]
        place = one.end
    return "".join([*pieces, text[place:]])


def lines(value: Any) -> str:
    """A value as plain lines, names before their values: the form in which it is looked through."""
    return "\n".join(_lines("", value))


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if name:
            yield f"{name}:"
        for inner, one in value.items():
            yield from _lines(str(inner), one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _lines(name, one)
    else:
        yield f"{name}: {value}" if name else str(value)
