"""Typed reading of one section of the config: each wrong thing is noted, and the reading goes on.

Messages quote what stands in the file, never what a variable was replaced with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from airlock.config import Secret
from airlock.durations import milliseconds
from airlock.loader.reader import Node
from airlock.loader.reading import Found, Reading, meant, no_text, shown
from airlock.loader.sections import GONE, SECTIONS
from airlock.loader.shapes import Key
from airlock.loader.substitution import refers

Word = TypeVar("Word", bound=str)

SHORTEST_SECRET: Final = 16
_TRUTHS: Final = {"true": True, "false": False}
_OTHER_SPELLINGS: Final = {
    section: {
        key: tuple(name for name, one in keys.items() if one.instead_of == key)
        for key in {one.instead_of for one in keys.values()} - {""}
    }
    for section, keys in SECTIONS.items()
}


class Section:
    """One mapping of the config, whose keys are those of one section of `sections.py`.

    With `resolve=False` references stay as they are: that is how disabled providers are read.
    """

    def __init__(
        self, reading: Reading, section: str, node: Node | None, path: str, *, resolve: bool = True
    ) -> None:
        self.reading = reading
        self.path = path
        self.line = node.line if node is not None else 1
        self.resolve = resolve
        self._keys: Mapping[str, Key] = SECTIONS[section]
        self._others = _OTHER_SPELLINGS[section]
        self._usable = True
        self._members: Mapping[str, Node] = {}
        self._lines: Mapping[str, int] = {}
        if node is None or node.value is None:
            return
        if node.keys is None:
            reading.error(self.line, path, "must be a mapping of keys to values")
            self._usable = False
            return
        self._members, self._lines = node.value, node.keys
        self._refuse_unknown()

    def _refuse_unknown(self) -> None:
        for name, line in self._lines.items():
            if name not in self._keys:
                gone = GONE.get(name, "")
                hint = gone or meant(name, self._keys)
                self.reading.error(line, self.at(name), f"unknown key `{name[:80]}`", hint)

    def at(self, key: str) -> str:
        """The path of one key."""
        return f"{self.path}.{key}" if self.path else key

    def found(self, key: str) -> Found | None:
        """The key under any of its spellings, when it is there and not empty."""
        if key not in self._keys:
            raise KeyError(key)
        first: Found | None = None
        for name in (key, *self._others.get(key, ())):
            node = self._members.get(name)
            if node is None or node.value is None:
                continue
            if first is not None:
                self.reading.error(
                    self._lines[name], self.at(name), f"says the same as `{first.name}`", "keep one of them"
                )
                continue
            first = Found(name, node, self.at(name))
        return first

    def lines(self) -> dict[str, str]:
        """file:line of each key."""
        return {name: self.reading.where(line) for name, line in self._lines.items()}

    def error(self, key: str, message: str, hint: str = "") -> None:
        """Note a problem of one key, or of the section when the key is missing."""
        self.reading.error(self._lines.get(key, self.line), self.at(key), message, hint)

    def warn(self, key: str, message: str, hint: str = "") -> None:
        """Note a warning about one key, or about the section when the key is missing."""
        self.reading.warn(self._lines.get(key, self.line), self.at(key), message, hint)

    def missing(self, key: str, why: str = "") -> None:
        """Note that a key must be there."""
        text = f"`{key}` is missing"
        if self._usable:
            self.reading.error(self.line, self.path, f"{text}: {why}" if why else text)

    def scalar(self, node: Node, path: str) -> str | None:
        """The text of a string or number, expanded; None with a problem noted."""
        if node.keys is not None or node.is_list or node.value is None:
            self.reading.error(node.line, path, "must be text")
            return None
        if not self.resolve:
            return node.raw
        return self.reading.expand(node.raw, node.line, path)

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        found = self.found(key)
        if found is None:
            return default
        if not isinstance(found.node.value, str):
            self.reading.error(found.line, found.path, *no_text(found.node))
            return default
        value = self.scalar(found.node, found.path)
        return default if value is None else value

    def secret(self, key: str) -> Secret | None:
        """A string that never prints; None when it is missing or empty."""
        found = self.found(key)
        if found is None:
            return None
        value = self.scalar(found.node, found.path)
        if not value:
            return None
        if len(value) < SHORTEST_SECRET and not (not self.resolve and refers(found.node.raw)):
            self.reading.warn(
                found.line,
                found.path,
                f"is shorter than {SHORTEST_SECRET} characters: it can be guessed",
                "`openssl rand -hex 32` makes a good one",
            )
        self._literal(found.node, found.path)
        return Secret(value)

    def _literal(self, node: Node, path: str) -> None:
        if self.reading.exposed and not refers(node.raw):
            self.reading.warn(
                node.line,
                path,
                "is written into a file that other users can read",
                f"`chmod 600 {self.reading.file}`, or take it from the environment with ${{VAR}}",
            )

    def secrets(self, key: str, *, sensitive: Callable[[str], bool]) -> dict[str, Secret]:
        """A mapping of names to strings that never print."""
        found = self.found(key)
        if found is None:
            return {}
        if found.node.keys is None:
            self.reading.error(found.line, found.path, "must be a mapping of names to text")
            return {}
        values: dict[str, Secret] = {}
        for name, node in found.node.value.items():
            value = self.scalar(node, f"{found.path}.{name}")
            if value is None:
                continue
            if sensitive(name):
                self._literal(node, f"{found.path}.{name}")
            values[name] = Secret(value)
        return values

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        found = self.found(key)
        if found is None:
            return default
        value = found.node.value
        if isinstance(value, str) and refers(value):
            value = _TRUTHS.get((self.reading.expand(value, found.line, found.path) or "").lower(), value)
        if isinstance(value, bool):
            return value
        quoted = isinstance(value, str) and value in _TRUTHS
        hint = "leave the quotes out" if quoted else ""
        self.reading.error(found.line, found.path, f"must be true or false, not {shown(found.node)}", hint)
        return default

    def whole(self, key: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
        """A whole number between two bounds."""
        found = self.found(key)
        if found is None:
            return default
        value = self._integer(found.node, found)
        if value is None:
            return default
        if not least <= value <= most:
            message = f"must be between {least} and {most}, not {shown(found.node)}"
            self.reading.error(found.line, found.path, message)
            return default
        return value

    def _integer(self, node: Node, found: Found) -> int | None:
        value = node.value
        if isinstance(value, str) and refers(value):
            expanded = self.reading.expand(value, found.line, found.path)
            if expanded is None:
                return None
            value = int(expanded) if _is_number(expanded) else value
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        hint = "leave the quotes out" if isinstance(value, str) and _is_number(value) else ""
        self.reading.error(found.line, found.path, f"must be a whole number, not {shown(node)}", hint)
        return None

    def duration(self, key: str, default: int | None, *, least: int = 1) -> int | None:
        """A length of time in milliseconds, from `key: 30s` or `key_ms: 30000`."""
        found = self.found(key)
        if found is None:
            return default
        length = self._length(found)
        if length is None:
            return default
        if length < least:
            self.reading.error(
                found.line, found.path, f"must be at least {least} ms, not {shown(found.node)}"
            )
            return default
        return length

    def _length(self, found: Found) -> int | None:
        value = found.node.value
        if found.milliseconds and not isinstance(value, str):
            return self._integer(found.node, found)
        if not isinstance(value, str):
            hint = f"write `500ms`, `30s`, `5m`; a plain number goes into `{found.name}_ms`"
            self.reading.error(found.line, found.path, f"must be a duration, not {shown(found.node)}", hint)
            return None
        expanded = value if not self.resolve else self.reading.expand(value, found.line, found.path)
        if expanded is None or (not self.resolve and refers(value)):
            return None
        if found.milliseconds and _is_number(expanded):
            return int(expanded)
        try:
            return milliseconds(expanded)
        except ValueError as error:
            message = str(error) if not refers(value) else f"{shown(found.node)} does not become a duration"
            self.reading.error(found.line, found.path, message)
            return None

    def choice(self, key: str, words: Iterable[Word], default: Word | None) -> Word | None:
        """One of a few words."""
        found = self.found(key)
        if found is None:
            return default
        known = {str(word): word for word in words}
        raw = found.node.value if isinstance(found.node.value, str) else found.node.raw
        value = raw if not self.resolve else self.reading.expand(raw, found.line, found.path)
        if value is None or (not self.resolve and refers(raw)):
            return default
        if value in known:
            return known[value]
        listed = ", ".join(f"`{word}`" for word in known)
        message = f"must be one of {listed}, not {shown(found.node)}"
        self.reading.error(found.line, found.path, message, meant(raw, known))
        return default

    def items(self, key: str, *, single: bool = False) -> list[Found]:
        """The items of a list, each with its path; with `single` one value stands for a list of it."""
        found = self.found(key)
        if found is None:
            return []
        if single and not found.node.is_list and found.node.keys is None:
            return [replace(found)]
        if not found.node.is_list:
            self.reading.error(
                found.line,
                found.path,
                f"must be a list, not {shown(found.node)}",
                "begin each item with `- `",
            )
            return []
        return [
            Found(found.name, node, f"{found.path}[{index}]") for index, node in enumerate(found.node.value)
        ]

    def texts(self, key: str, *, single: bool = False, numbers: bool = False) -> list[tuple[str, Found]]:
        """The strings of a list, expanded, with where each stood; with `numbers` those count as text."""
        values: list[tuple[str, Found]] = []
        for item in self.items(key, single=single):
            value = item.node.value
            wrong = not isinstance(value, (str, int, float) if numbers else str)
            if wrong or isinstance(value, bool) or value == "":
                self.reading.error(item.line, item.path, *no_text(item.node))
                continue
            text = self.scalar(item.node, item.path)
            if text is not None:
                values.append((text, item))
        return values

    def sections(self, key: str, section: str, *, mapping: bool) -> list[tuple[str, Section]]:
        """The sections of a mapping by name, or of a list (then the names are "")."""
        if not mapping:
            return [("", Section(self.reading, section, one.node, one.path)) for one in self.items(key)]
        found = self.found(key)
        if found is None:
            return []
        if found.node.keys is None:
            self.reading.error(found.line, found.path, f"must be a mapping of names, not {shown(found.node)}")
            return []
        return [
            (
                name,
                Section(self.reading, section, _placed(node, found.node.keys[name]), f"{found.path}.{name}"),
            )
            for name, node in found.node.value.items()
        ]

    def section(self, key: str, section: str) -> Section:
        """A section inside this one; empty when the key is missing."""
        found = self.found(key)
        return Section(
            self.reading, section, found.node if found else None, found.path if found else self.at(key)
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _placed(node: Node, line: int) -> Node:
    return node if node.line == line else replace(node, line=line)
