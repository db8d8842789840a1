"""Strict YAML: one document, text keys, no surprises, and the line of everything.

Built on the parser's events, so that nothing recurses before the depth is known. What YAML 1.1 and 1.2
read differently (`on`, `0123`, `13:13`, `1_000`, dates …) is refused instead of guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from airlock.errors import ConfigError, Problem
from airlock.values import dataclass

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 64
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_TOO_DEEP_FOR_YAML: Final = "exceeded maximum nesting depth"
"""The parser's own words at its own limit, since PyYAML 6.0.4: far beyond ours, and met first."""

MAX_NODES: Final = 500_000
"""Counts every node as often as an alias repeats it: a file of aliases to aliases ends here."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_LARGEST = 2**63 - 1
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SWITCHES = frozenset({"yes", "no", "on", "off"})
_ODD: Final = (
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z"),
        "is a number in base 60 to some YAML readers",
        "quote it",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\s].*)?\Z"),
        "is a date to some YAML readers",
        "quote it",
    ),
    (
        re.compile(r"[-+]?0[0-9_]+\Z"),
        "is an octal number to some YAML readers",
        "quote it or drop the leading zero",
    ),
    (
        re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+\Z"),
        "is not a decimal number",
        "quote it or write it in decimal",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?\Z"),
        "is a number to some YAML readers",
        "quote it or leave out `_`",
    ),
    (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?\Z"),
        "is a number to some YAML readers and text to others",
        "quote it or write it in plain decimal",
    ),
    (re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"), "is not a number here", "quote it"),
)
_PATTERN_STARTS: Final = {
    "while scanning a tag": 'quote a pattern that begins with `!`: "!git/git_log"',
    "while parsing a tag": 'quote a pattern that begins with `!`: "!git/git_log"',
    "while scanning an alias": 'quote a pattern that begins with `*`: "*/read_*"',
}
_LINE_STARTS: Final = (
    (re.compile(r" *\t"), "indent with blanks, not with tabs"),
    (re.compile(r".*[\[{,:]\s*\$\{"), 'quote what stands for a variable: "${NAME}"'),
)
"""What is likely meant by a line that is no YAML."""

_MAY_BE_ODD = frozenset("0123456789+-.")


@dataclass(slots=True)
class Node:
    """One value of the file: a scalar, a list of nodes, or a mapping of text to nodes.

    `line` is where its key stands (for a scalar or a list item: where it begins itself). `raw` is a
    scalar's text; `keys` has the line of each key of a mapping; `plain` is False for quoted text.
    """

    line: int
    value: Any = None
    raw: str = ""
    plain: bool = True
    size: int = 1
    keys: dict[str, int] | None = None

    @property
    def is_mapping(self) -> bool:
        """True for a mapping."""
        return self.keys is not None

    @property
    def is_list(self) -> bool:
        """True for a list."""
        return isinstance(self.value, list)


def read(data: bytes | str, file: str, *, words: frozenset[str] = frozenset()) -> Node:
    """The one document in `data`; ConfigError with every problem that does not stop the reading.

    `words` are top-level keys at which a bare `on` or `off` is a word.
    """
    text = _text(data, file)
    return _Tree(file, words).read(text)


def plain(node: Node) -> Any:
    """The node as plain Python values."""
    if node.keys is not None:
        return {key: plain(inner) for key, inner in node.value.items()}
    if isinstance(node.value, list):
        return [plain(inner) for inner in node.value]
    return node.value


def _text(data: bytes | str, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise _refusal(file, 1, f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refusal(file, line, "not valid UTF-8: save the file in that encoding") from None


def _exact(text: str, value: float) -> bool:
    from decimal import Decimal

    return Decimal(text) == Decimal(repr(value))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _refusal(file: str, line: int, message: str) -> ConfigError:
    from airlock.visible import visible

    return ConfigError((Problem(file=file, line=line, path="", message=visible(message)),))


class _Tree:
    """Builds the nodes of one document out of the parser's events."""

    def __init__(self, file: str, words: frozenset[str]) -> None:
        self._file = file
        self._words = words
        self._problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def read(self, text: str) -> Node:
        try:
            root = self._document(yaml.parse(text, Loader=_LOADER))
        except yaml.YAMLError as error:
            self._problems.append(self._syntax(error, text))
            root = Node(1)
        except (UnicodeError, ValueError) as error:  # the C parser encodes its input itself
            raise _refusal(self._file, 1, f"not YAML: {error}") from None
        if self._problems:
            raise ConfigError(tuple(sorted(self._problems, key=lambda one: one.line)))
        return root

    def _document(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _refusal(self._file, _line(event), "a second document: one is read")
                root = self._node(next(events), events, 0, "")
        return root or Node(1, keys=None)

    def _node(self, event: Any, events: Iterator[Any], depth: int, key: str) -> Node:
        line = _line(event)
        if depth > MAX_DEPTH:
            raise _refusal(self._file, line, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        self._count(1, line)
        if event.anchor:
            self._anchors[event.anchor] = None
        if event.tag is not None:
            self._tagged(event.tag, line)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line, word=depth == 1 and key in self._words)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(events, line, depth)
        else:
            node = self._mapping(events, line, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, events: Iterator[Any], line: int, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, depth + 1, ""))
        return Node(line, items, size=1 + sum(item.size for item in items))

    def _mapping(self, events: Iterator[Any], line: int, depth: int) -> Node:
        members: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            at = _line(event)
            key = self._key(event, events, depth, at)
            node = self._node(next(events), events, depth + 1, key)
            if key in members:
                self._problem(at, f"duplicate key `{key[:80]}`", f"first at line {lines[key]}")
                continue
            if node.keys is not None or node.is_list:
                node = Node(at, node.value, size=node.size, keys=node.keys)
            members[key], lines[key] = node, at
        size = 1 + len(members) + sum(node.size for node in members.values())
        return Node(line, members, size=size, keys=lines)

    def _key(self, event: Any, events: Iterator[Any], depth: int, line: int) -> str:
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            self._problem(line, "merge keys are not read", "use a profile with `extends`")
            return "<<"
        node = self._node(event, events, depth + 1, "")
        if isinstance(node.value, str):
            return node.value
        if not isinstance(event, yaml.ScalarEvent):
            self._problem(line, "a key must be text, not a list, a mapping or an alias")
        elif node.value is not None or event.value in _NULLS:
            self._problem(line, f"key `{event.value[:80]}` must be text", "quote it")
        return str(getattr(event, "value", ""))

    def _scalar(self, event: Any, line: int, *, word: bool) -> Node:
        text = event.value
        if not event.implicit[0] or event.style:
            return Node(line, text, raw=text, plain=False)
        if text in _NULLS:
            return Node(line, None, raw=text)
        if text in _TRUTHS:
            return Node(line, _TRUTHS[text], raw=text)
        if text.lower() in _SWITCHES and not word:
            hint = "quote it if it is text, else write true or false"
            self._problem(line, f"`{text}` is a boolean to some YAML readers", hint)
        elif text[0] in _MAY_BE_ODD:
            return Node(line, self._numeric(text, line), raw=text)
        return Node(line, text, raw=text)

    def _numeric(self, text: str, line: int) -> Any:
        if _PLAIN_NUMBER.match(text) and text != "-0":
            return self._number(text, line)
        for pattern, what, hint in _ODD:
            if pattern.match(text):
                self._problem(line, f"`{text[:40]}` {what}", hint)
                break
        return text

    def _number(self, text: str, line: int) -> int | float | None:
        hint = "quote it if it is text"
        if "." not in text:
            if len(text) < 21 and -_LARGEST - 1 <= int(text) <= _LARGEST:
                return int(text)
            self._problem(line, f"number `{text[:40]}` is too large", hint)
            return None
        value = float(text)
        if math.isfinite(value) and (len(text) < 16 or _exact(text, value)):
            return value
        self._problem(line, f"number `{text[:40]}` cannot be kept exactly", hint)
        return None

    def _alias(self, name: Any, line: int) -> Node:
        node = self._anchors.get(name)
        if node is None:
            raise _refusal(
                self._file, line, f"alias `*{name[:80]}` stands inside itself or before its anchor"
            )
        self._count(node.size, line)
        return node

    def _count(self, size: int, line: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _refusal(self._file, line, f"more than {MAX_NODES} values, aliases counted in full")

    def _tagged(self, tag: str, line: int) -> None:
        shown = tag.removeprefix("tag:yaml.org,2002:")
        self._problem(line, f"tag `{shown[:80]}` is not read", _PATTERN_STARTS["while scanning a tag"])

    def _problem(self, line: int, message: str, hint: str = "") -> None:
        from airlock.visible import visible

        message, hint = visible(message), visible(hint)
        self._problems.append(Problem(file=self._file, line=line, path="", message=message, hint=hint))

    def _syntax(self, error: yaml.YAMLError, text: str) -> Problem:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None)
        line = mark.line + 1 if mark is not None else 1
        if what is None and isinstance(position := getattr(error, "position", None), int):
            what, line = "a character that YAML does not allow", text.count("\n", 0, position) + 1
        if what == _TOO_DEEP_FOR_YAML:
            return Problem(file=self._file, line=line, path="", message=_TOO_DEEP)
        message = f"not YAML: {what or 'cannot be parsed'}"
        return Problem(
            file=self._file,
            line=line,
            path="",
            message=message,
            hint=_hint(text, line) or self._context(error),
        )

    @staticmethod
    def _context(error: yaml.YAMLError) -> str:
        context = getattr(error, "context", None)
        if context in _PATTERN_STARTS:
            return _PATTERN_STARTS[context]
        start = getattr(error, "context_mark", None)
        if not context:
            return ""
        return f"{context}, from line {start.line + 1}" if start is not None else str(context)


def _hint(text: str, number: int) -> str:
    """What to do about a line that is no YAML; "" where nothing is known to help."""
    rows = text.split("\n")
    row = rows[number - 1][:500] if number <= len(rows) else ""
    return next((hint for start, hint in _LINE_STARTS if start.match(row)), "")
