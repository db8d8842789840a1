"""Patterns for the names of tools, resources and prompts, and an index from a name to its rules.

A name is `provider/tool`, or one word for a hook's tool that has no provider. `*` stands for anything
within a segment, `**` for anything at all. A wildcard in the provider never reaches the namespaces of
hooks and built-ins (decisions.md 8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from airlock.config import HOOK_NAMESPACES, PatternLine
from airlock.errors import Unusable
from airlock.matching.uris import readings
from airlock.model import Kind
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.matching.regexes import Fullmatch

_FOREIGN = re.compile(r"[?\[\]{}\\\s,]")
_PREFIXES = ((f"{Kind.RESOURCE}:", Kind.RESOURCE), (f"{Kind.PROMPT}:", Kind.PROMPT))


class PatternError(Unusable):
    """A pattern that cannot mean what its author wants; `hint` is the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One pattern, ready to compare. `provider` is "" unless it is spelled out."""

    kind: Kind
    text: str
    provider: str
    exact: bool
    segments: tuple[tuple[str, ...], ...] = ()

    def matches(self, name: str) -> bool:
        """True when this pattern names `name` (a policy name without its kind's prefix)."""
        if self.exact:
            return name == self.text
        if not self.provider and (_provider(name) or name) in HOOK_NAMESPACES:
            return False
        if not self.segments:
            return ("/" in name or "/" not in self.text) and _across(self.text, name)
        parts = name.split("/")
        return len(parts) == len(self.segments) and all(map(_within, self.segments, parts))


def _within(pieces: tuple[str, ...], segment: str) -> bool:
    """True when the pieces of a segment's pattern, split at its stars, follow each other in the segment."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return segment == first
    at, end = len(first), len(segment) - len(last)
    if at > end or not segment.startswith(first) or not segment.endswith(last):
        return False
    for piece in pieces[1:-1]:
        at = segment.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _across(text: str, name: str) -> bool:
    """`**` reaches over segments. One of them alone is two comparisons; more go to the linear engine."""
    head, _, tail = text.partition("**")
    if "*" not in head and "*" not in tail:
        return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
    return _expression(text).fullmatch(name)


def _provider(name: str) -> str:
    provider, slash, _ = name.partition("/")
    return provider if slash else ""


def parse(text: str) -> Pattern:
    """The pattern that `text` (without `!`) means; PatternError when it means nothing clear."""
    kind, bare = Kind.TOOL, text
    for prefix, other in _PREFIXES:
        if text.startswith(prefix):
            kind, bare = other, text.removeprefix(prefix)
    _check(kind, bare, text)
    provider = _provider(bare)
    exact = "*" not in bare
    segments = () if exact or "**" in bare else tuple(tuple(one.split("*")) for one in bare.split("/"))
    spelled = "" if "*" in provider else provider
    return Pattern(kind=kind, text=bare, provider=spelled, exact=exact, segments=segments)


def _check(kind: Kind, bare: str, text: str) -> None:
    if not bare or bare != bare.strip():
        raise PatternError(f"pattern `{text}` is empty or has spaces around it")
    if "***" in bare:
        raise PatternError(f"pattern `{text}` has three stars", "`*` is within a segment, `**` is across")
    if len(bare) > 500 or bare.count("*") > 16:
        raise PatternError("pattern is longer than 500 characters or has more than 16 stars")
    if kind is Kind.TOOL and (sign := _FOREIGN.search(bare)):
        raise PatternError(f"pattern `{text}` has `{sign[0]}`", "only `*` and `**` are wildcards")
    provider, slash, rest = bare.partition("/")
    if slash and not (provider and rest):
        raise PatternError(f"pattern `{text}` has an empty segment", "write `provider/tool`")
    if kind is not Kind.TOOL and not slash:
        raise PatternError(f"pattern `{text}` has no provider", f"write `{kind}:PROVIDER/…`")
    if kind is Kind.RESOURCE and "*" not in bare:
        forms = readings(rest)
        if not forms:
            raise PatternError(f"`{rest}` is no clear URI")
        if forms[0] != rest:
            raise PatternError(f"`{rest}` is not in normal form", f"write `{kind}:{provider}/{forms[0]}`")


@lru_cache(maxsize=1024)
def _expression(bare: str) -> Fullmatch:
    """A glob as an expression of the linear engine, because names come from the other side."""
    from airlock.matching.regexes import Fullmatch

    return Fullmatch(glob_source(bare))


def glob_source(glob: str) -> str:
    """A glob as a regular expression: `*` stops at `/`, `**` does not, all else is itself."""
    pieces = re.split(r"(\*\*|\*)", glob)
    return "".join({"**": r"(?s:.*)", "*": "[^/]*"}.get(piece) or re.escape(piece) for piece in pieces)


def names_of(kind: Kind, provider: str, name: str) -> tuple[str, ...]:
    """The names under which a call is looked up: one, or several readings of a URI; empty when unclear."""
    if not name or (provider and "/" in provider):
        return ()
    if kind is Kind.RESOURCE:
        return tuple(f"{provider}/{form}" for form in readings(name)) if provider else ()
    return (f"{provider}/{name}" if provider else name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """The patterns of one list or rule: what they name, less its own `!` exceptions."""

    lines: tuple[tuple[Pattern, PatternLine], ...]
    exceptions: tuple[Pattern, ...] = ()

    def find(self, kind: Kind, names: Sequence[str], *, every: bool) -> PatternLine | None:
        """The line that names this call, an exact one first; `every`: all readings must be named."""
        taken = [any(p.kind is kind and p.matches(name) for p in self.exceptions) for name in names]
        if any(taken) if every else all(taken):
            return None
        left = [name for name, out in zip(names, taken, strict=True) if not out]
        found: PatternLine | None = None
        for pattern, line in self.lines:
            if pattern.kind is not kind:
                continue
            if (all if every else any)(pattern.matches(name) for name in left):
                if pattern.exact:
                    return line
                found = found or line
        return found


def read_lines(lines: Iterable[PatternLine]) -> tuple[NameList, list[tuple[PatternLine, PatternError]]]:
    """The list that these lines mean, and what is wrong with them."""
    named: list[tuple[Pattern, PatternLine]] = []
    exceptions: list[Pattern] = []
    wrong: list[tuple[PatternLine, PatternError]] = []
    last: PatternLine | None = None
    for line in lines:
        last = line
        try:
            if line.text.startswith("!"):
                exceptions.append(parse(line.text[1:]))
            else:
                named.append((parse(line.text), line))
        except PatternError as error:
            wrong.append((line, error))
    if last and exceptions and not named and not wrong:
        only = PatternError("a list of only `!` names nothing", "`!` takes names out of this same list")
        wrong.append((last, only))
    return NameList(lines=tuple(named), exceptions=tuple(exceptions)), wrong


class Named(Protocol):
    """What an index holds."""

    @property
    def names(self) -> NameList:
        """The names it is about."""
        ...


Entry = TypeVar("Entry", bound=Named)


class Index(Generic[Entry]):
    """Finds entries by name without looking at those that spell out another tool or provider."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._exact: dict[tuple[Kind, str], list[Entry]] = {}
        self._provider: dict[tuple[Kind, str], list[Entry]] = {}
        self._wild: list[Entry] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        places: dict[int, list[Entry]] = {}
        for pattern, _ in entry.names.lines:
            if pattern.exact:
                place = self._exact.setdefault((pattern.kind, pattern.text), [])
            elif pattern.provider:
                place = self._provider.setdefault((pattern.kind, pattern.provider), [])
            else:
                place = self._wild
            places[id(place)] = place
        for place in places.values():
            place.append(entry)

    def near(self, kind: Kind, names: Sequence[str]) -> list[Entry]:
        """Every entry that may name one of these; the caller asks each with `find`."""
        found: dict[int, Entry] = {id(entry): entry for entry in self._wild}
        for name in names:
            for entry in self._exact.get((kind, name), ()):
                found[id(entry)] = entry
            for entry in self._provider.get((kind, _provider(name)), ()):
                found[id(entry)] = entry
        return list(found.values())
