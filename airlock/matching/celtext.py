"""Reads the text of a CEL expression before the engine does, and refuses what would be slow or unsafe.

Allowed is what evaluates in time linear in the arguments: no macro in a macro, no `map` and `filter`
(the engine copies the list each round), no look at `args` from inside a macro (it is copied each time),
patterns only as literals (they are compiled once, on the linear engine).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from airlock.errors import Unusable
from airlock.values import dataclass

MAX_LENGTH = 4_000
MAX_NESTING = 50
MATCHED = "matched_by_pattern"
"""The name under which our own `matches` is known to the engine."""

VARIABLES = frozenset(
    {"args", "argv", "agent", "tool", "provider", "name", "cwd", "client", "session", "now"}
)
MACROS = frozenset({"all", "exists", "exists_one"})
_COPYING = frozenset({"map", "filter"})
_FUNCTIONS = frozenset(
    {"has", "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string"}
    | {"bool", "bytes", "type", "dyn", "timestamp", "duration"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
_WORDS = frozenset({"true", "false", "null", "in", "int", "uint", "double", "string", "bool", "bytes"})
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[rRbB]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>\d[\w.]*(?:(?<=[eE])[+\-]\d+)?|\.\d[\w]*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class CelError(Unusable):
    """An expression that is wrong or refused; `hint` is the cure."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word, sign, number or string of the expression."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the text says before it is compiled: the source for the engine, the variables it needs, and
    the fields of `args` that it reads without asking `has()`. `fields` are all fields of `args` that it can
    look at, None when it may look at any."""

    source: str
    variables: frozenset[str]
    unguarded: tuple[str, ...]
    fields: frozenset[str] | None


@dataclass(slots=True, kw_only=True)
class _Open:
    """A bracket that is not closed yet. `call` is the function or macro it belongs to."""

    sign: str
    call: str = ""
    bound: str = ""


_CLOSING = {"(": ")", "[": "]", "{": "}"}


def read(text: str) -> Reading:
    """Read one expression; CelError for what is refused."""
    if not text.strip() or len(text) > MAX_LENGTH:
        raise CelError(f"an expression has 1 to {MAX_LENGTH:,} characters")
    tokens = list(_tokens(text))
    reader = _Reader(tokens)
    reader.walk()
    fields = _fields(tokens)
    return Reading(
        source=" ".join(token.text for token in reader.out),
        variables=frozenset(reader.variables),
        unguarded=tuple(name for name in fields.used if name not in fields.asked),
        fields=None if fields.whole else frozenset({*fields.used, *fields.asked}),
    )


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise CelError(f"`{text[at]}` does not belong into an expression")
        if match.lastgroup != "space":
            yield Token(match.lastgroup, match[0])
        at = match.end()


_END = Token("end", "")


class _Reader:
    """Walks the tokens once, with the brackets that are open."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.out: list[Token] = []
        self.variables: set[str] = set()
        self.open: list[_Open] = []

    def walk(self) -> None:
        """Check every token; collect the engine's source and the variables."""
        for place, token in enumerate(self.tokens):
            self.out.append(token)
            if token.kind == "word":
                self._word(place, token.text)
            elif token.text in _CLOSING and token.kind == "sign":
                self._opened(place, token.text)
            elif token.kind == "sign" and token.text in _CLOSING.values():
                self._closed(token.text)

    def _at(self, place: int) -> Token:
        return self.tokens[place] if 0 <= place < len(self.tokens) else _END

    def _opened(self, place: int, sign: str) -> None:
        before = self._at(place - 1)
        opened = _Open(sign=sign)
        if sign == "(" and before.kind == "word" and before.text != "in":
            opened.call = before.text
            if opened.call in MACROS:
                self._macro(place, opened)
        self.open.append(opened)
        if len(self.open) > MAX_NESTING:
            raise CelError(f"brackets are nested deeper than {MAX_NESTING}")

    def _macro(self, place: int, opened: _Open) -> None:
        if any(one.call in MACROS for one in self.open):
            raise CelError(
                f"`{opened.call}` inside another macro is refused: its time grows with the square",
                "use `args:` with `[*]`, or two rules",
            )
        bound = self._at(place + 1)
        if bound.kind != "word" or bound.text in VARIABLES | _WORDS or self._at(place + 2).text != ",":
            raise CelError(f"`{opened.call}` wants a new name and a condition", "write `list.all(x, x > 0)`")
        opened.bound = bound.text

    def _closed(self, sign: str) -> None:
        if not self.open or _CLOSING[self.open[-1].sign] != sign:
            raise CelError(f"`{sign}` closes nothing")
        self.open.pop()

    def _word(self, place: int, word: str) -> None:
        dotted = self._at(place - 1).text == "." and self._at(place - 1).kind == "sign"
        if self._at(place + 1) == Token("sign", "{") and word != "in":
            raise CelError(f"`{word}{{…}}` is not supported", "use plain values")
        if self._at(place + 1).text == "(" and word != "in":
            self._call(place, word, dotted=dotted)
        elif not dotted and word not in _WORDS and word not in {one.bound for one in self.open}:
            self._variable(word)

    def _variable(self, word: str) -> None:
        if word not in VARIABLES:
            from difflib import get_close_matches

            near = get_close_matches(word, VARIABLES, n=1) or ["args." + word]
            raise CelError(f"unknown variable `{word}`", f"did you mean `{near[0]}`?")
        if word in {"args", "argv"} and (macro := next((o.call for o in self.open if o.call in MACROS), "")):
            raise CelError(
                f"`{word}` inside `{macro}(…)` is refused: it is copied for every item",
                "look only at the item, or use `args:` with `[*]`",
            )
        self.variables.add(word)

    def _call(self, place: int, word: str, *, dotted: bool) -> None:
        if word in _COPYING:
            raise CelError(
                f"`{word}` is refused: its time grows with the square of the list",
                "use `exists`, `all` or `exists_one`",
            )
        if word not in _FUNCTIONS and word not in MACROS:
            raise CelError(f"unknown function `{word}`")
        if word in MACROS and not dotted:
            raise CelError(f"`{word}` belongs behind a list", f"write `list.{word}(x, …)`")
        if word == "matches":
            self._pattern(place, dotted=dotted)
            self.out[-1] = Token("word", MATCHED)
            self.variables.add(MATCHED)

    def _pattern(self, place: int, *, dotted: bool) -> None:
        """The pattern of `matches` must be a literal: `x.matches("…")` or `matches(x, "…")`."""
        from airlock.matching.regexes import RegexError, check

        last = place + 2 if dotted else self._end_of_call(place + 1) - 1
        literal, before, after = self._at(last), self._at(last - 1), self._at(last + 1)
        if literal.kind != "string" or after.text != ")" or before.text != ("(" if dotted else ","):
            raise CelError("`matches` wants its pattern as a literal", 'write `args.x.matches("^…$")`')
        try:
            check(_literal(literal.text))
        except RegexError as error:
            raise CelError(f"the pattern {literal.text} cannot be used: {error}") from None

    def _end_of_call(self, place: int) -> int:
        depth = 0
        for at in range(place, len(self.tokens)):
            sign = self.tokens[at].text if self.tokens[at].kind == "sign" else ""
            depth += (sign in _CLOSING) - (sign in _CLOSING.values())
            if depth == 0:
                return at
        raise CelError("`(` is not closed")


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


def _literal(text: str) -> str:
    """The value of a string literal; CelError for spellings that are better written raw."""
    prefix = text[: len(text) - len(text.lstrip("rRbB"))].lower()
    quoted = text[len(prefix) :]
    if "b" in prefix:
        raise CelError("`matches` wants a text, not bytes")
    body = quoted[3:-3] if quoted[:3] in {'"""', "'''"} else quoted[1:-1]
    if "r" in prefix or "\\" not in body:
        return body
    pieces = re.findall(r"\\(.)|([^\\]+)", body, re.DOTALL)
    if any(escape and escape not in _ESCAPES for escape, _ in pieces):
        raise CelError(f"the pattern {text} has an escape that is better written raw", 'write r"…"')
    return "".join(_ESCAPES[escape] if escape else plain for escape, plain in pieces)


@dataclass(slots=True, kw_only=True)
class _Fields:
    """The fields of `args` that are read, those that are asked for, and whether `args` is used whole."""

    used: dict[str, None]
    asked: set[str]
    whole: bool = False


def _fields(tokens: list[Token]) -> _Fields:
    """What the tokens do with `args`: `args.x`, `has(args.x)`, `"x" in args`, or anything else."""
    fields = _Fields(used={}, asked=set())
    for at, token in enumerate(tokens):
        before = [one.text for one in tokens[max(0, at - 2) : at]]
        if token != Token("word", "args") or before[-1:] == ["."]:
            continue
        name = _field(tokens, at)
        if name and before == ["has", "("]:
            fields.asked.add(name)
        elif name:
            fields.used[name] = None
        elif before[-1:] == ["in"] and at > 1 and tokens[at - 2].kind == "string":
            fields.asked.add(_literal_or_text(tokens[at - 2].text))
            fields.whole = True
        else:
            fields.whole = True
    return fields


def _field(tokens: list[Token], at: int) -> str:
    following = tokens[at + 1 : at + 4]
    if len(following) >= 2 and following[0].text == "." and following[1].kind == "word":
        macro = len(following) > 2 and following[2].text == "("
        return "" if macro else following[1].text
    if len(following) == 3 and following[0].text == "[" and following[1].kind == "string":
        return _literal_or_text(following[1].text)
    return ""


def _literal_or_text(text: str) -> str:
    try:
        return _literal(text)
    except CelError:
        return text
