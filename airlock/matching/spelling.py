"""Names of arguments that a server may take for one another: `Amount` for `amount`.

Many JSON readers ignore the case of names (Go's encoding/json does), and of two the last one counts. A
condition that looks at one name only would be passed by the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

UNCLEAR: Final = object()
"""What stands for an argument that is given in other letters too, or only so."""

OTHER_LETTERS: Final = "is given in other letters, which some servers take for the same"


class Spellings:
    """The names that conditions look at, and what else may be read as one of them."""

    __slots__ = ("_folded", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._folded: dict[str, list[str]] = {}
        for name in self._names:
            self._folded.setdefault(name.casefold(), []).append(name)

    def read(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as conditions see them: UNCLEAR where a name is also given in other letters."""
        if not self._names or self._names.issuperset(arguments):
            return arguments
        unclear = [
            name
            for given in arguments
            if given not in self._names
            for name in self._folded.get(given.casefold(), ())
        ]
        return {**arguments, **dict.fromkeys(unclear, UNCLEAR)} if unclear else arguments


def in_other_letters(name: str, members: Mapping[str, Any]) -> bool:
    """True when an object has a member that differs from this one in case alone."""
    if len(members) == 1 and name in members:
        return False
    folded = name.casefold()
    return any(given != name and given.casefold() == folded for given in members)
