"""Wire names: what a client calls the tools and prompts of many servers (decisions.md 43).

A wire name is looked up in the table that made it and never taken apart. It depends on the names that
exist, never on the order in which servers started.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from airlock.values import dataclass

SEPARATOR: Final = "__"
MIN_BUDGET: Final = 24
"""A smaller budget leaves no room for a word and a hash."""

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_HASH_LENGTHS: Final = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One upstream name that wants a wire name. An empty prefix means that the name never changes."""

    provider: str
    prefix: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it."""
        return self.provider, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTable:
    """Wire names by (provider, upstream name), and in words what could not be named as it should be."""

    wires: dict[tuple[str, str], str]
    problems: tuple[str, ...] = ()


def name_all(claims: Iterable[Claim], budget: int) -> NameTable:
    """Give every claim a wire name of its own, at most `budget` characters unless its prefix is empty.

    A claim without a prefix whose name another provider has is left out and reported: the earlier
    provider, or the one with a prefix, keeps it.
    """
    naming = _Naming(max(budget, MIN_BUDGET))
    for claim in dict.fromkeys(claims):
        naming.add(claim)
    return naming.table()


def plain_wire(claim: Claim) -> str:
    """The wire name before anything is shortened: characters that clients refuse become `_`."""
    if not claim.prefix:
        return claim.name
    text = unicodedata.normalize("NFKC", f"{claim.prefix}{SEPARATOR}{claim.name}")
    return _ODD.sub("_", text)


def _unchanged(claim: Claim, budget: int) -> bool:
    plain = plain_wire(claim)
    return len(plain) <= budget and plain == f"{claim.prefix}{SEPARATOR}{claim.name}"


class _Naming:
    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._groups: dict[str, list[Claim]] = defaultdict(list)
        self._wires: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._problems: list[str] = []

    def add(self, claim: Claim) -> None:
        # What differs only in case or Unicode form is one name to a person: it is told apart.
        self._groups[plain_wire(claim).casefold()].append(claim)

    def table(self) -> NameTable:
        hashed: list[Claim] = []
        for group in self._groups.values():
            hashed += self._settle(group)
        for claim in sorted(hashed, key=lambda one: one.key):
            self._give(claim, self._hashed(claim))
        return NameTable(wires=self._wires, problems=tuple(self._problems))

    def _settle(self, group: list[Claim]) -> list[Claim]:
        """Name those of a group that keep their plain name; the claims that need a hash are returned."""
        fixed = [claim for claim in group if not claim.prefix]
        prefixed = [claim for claim in group if claim.prefix]
        unchanged = [claim for claim in prefixed if _unchanged(claim, self._budget)]
        keeper = unchanged if len(unchanged) == 1 else prefixed if len(prefixed) == 1 else []
        for claim in keeper:
            if len(plain_wire(claim)) <= self._budget and any(map(str.isalnum, _own_part(claim))):
                self._give(claim, plain_wire(claim))
        self._settle_fixed(fixed, prefixed)
        return [claim for claim in prefixed if claim.key not in self._wires]

    def _settle_fixed(self, fixed: list[Claim], prefixed: list[Claim]) -> None:
        rivals = prefixed or fixed
        for claim in fixed:
            if rivals[0].provider == claim.provider:
                self._give(claim, claim.name)
            else:
                self._problems.append(
                    f"`{claim.provider}/{claim.name[:80]}` is hidden: `{rivals[0].provider}` already has"
                    f" that name (give `{claim.provider}` a prefix)"
                )

    def _give(self, claim: Claim, wire: str) -> None:
        self._wires[claim.key] = wire
        self._taken.add(wire.casefold())

    def _hashed(self, claim: Claim) -> str:
        digest = hashlib.sha256("\0".join(claim.key).encode("utf-8", "surrogatepass")).hexdigest()
        wire = ""
        for length in _HASH_LENGTHS:
            tail = digest[: min(length, self._budget - 1)]
            wire = f"{plain_wire(claim)[: self._budget - len(tail) - 1]}_{tail}"
            if wire.casefold() not in self._taken:
                return wire
        return wire


def _own_part(claim: Claim) -> str:
    return plain_wire(claim)[len(claim.prefix) + len(SEPARATOR) :]
