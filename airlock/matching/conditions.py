"""`args:` conditions: compiled once, asked often.

A missing argument is no match, a wrong type is an error (decisions.md 10). A condition answers True,
False, or a text that says why it cannot be evaluated; the text never holds a value from the call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airlock.errors import Unusable
from airlock.matching.arguments import MAX_ITEMS, MISSING, ArgumentPath, PathError, WrongType, parse_path
from airlock.matching.frame import Frame, Holds
from airlock.matching.globs import odd_spelling
from airlock.matching.patterns import glob_source
from airlock.matching.spelling import OTHER_LETTERS, UNCLEAR
from airlock.matching.within import Folder, folder, maybe_under, spellings, surely_under
from airlock.model import Effect
from airlock.values import dataclass

Test = Callable[[Any, Frame], Holds]
Clause = Callable[[Frame], Holds]


class ConditionError(Unusable):
    """A condition that cannot mean what its author wants; `hint` is the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One line of `args:`. `expressions` are the patterns to read together for this argument."""

    path: ArgumentPath
    written: Any
    label: str
    holds: Clause
    expressions: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = ()

    @property
    def about_absence(self) -> bool:
        """True when it may hold for an argument that is not there."""
        return isinstance(self.written, Mapping) and "exists" in self.written

    def paths(self, frame: Frame) -> list[str]:
        """The absolute paths that `under:` needs resolved to judge these arguments."""
        try:
            values = self.path.values(frame.arguments)
        except WrongType:
            return []
        wanted: list[str] = []
        for value in values:
            for one in value if isinstance(value, list) else [value]:
                found = spellings(one, frame.base) if isinstance(one, str) else ""
                wanted += () if isinstance(found, str) else found
        # Where there is nothing to compare with them, the folders need no resolving either.
        return [*(root.path for root in self.folders), *wanted] if wanted else []


@dataclass(slots=True, kw_only=True)
class _Builder:
    """Builds the tests of one line and collects what they need."""

    path: ArgumentPath
    effect: Effect
    config_folder: Path
    expressions: list[str]
    folders: list[Folder]

    def spec(self, written: Any) -> tuple[list[Test], bool | None]:
        """The tests for one value, and what `exists` wants."""
        if not isinstance(written, Mapping):
            return [self.equals(written)], None
        if not written:
            raise ConditionError(f"`{self.path.text}` has no condition", "write a value or `{gt: 100}`")
        tests: list[Test] = []
        exists: bool | None = None
        for name, value in written.items():
            if name == "exists":
                exists = _flag(value)
            else:
                tests.append(self.operator(str(name), value))
        if exists is False and tests:
            raise ConditionError("`exists: false` beside another condition can never hold")
        return tests, exists

    def operator(self, name: str, value: Any) -> Test:
        """The test for one operator."""
        builders: dict[str, Callable[[Any], Test]] = {
            "equals": self.equals, "in": self.one_of, "not_in": self.none_of,
            "gt": lambda limit: _number("gt", limit), "gte": lambda limit: _number("gte", limit),
            "lt": lambda limit: _number("lt", limit), "lte": lambda limit: _number("lte", limit),
            "glob": self.glob, "regex": self.regex, "under": self.under,
            "each": self.each, "any": self.any,
        }  # fmt: skip
        if name not in builders:
            raise ConditionError(f"unknown condition `{name}`", _meant(name, [*builders, "exists"]))
        return builders[name](value)

    def equals(self, wanted: Any) -> Test:
        """Equal and of the same type; whole and broken numbers compare as numbers."""
        kind = type_of(wanted)

        def test(value: Any, _: Frame) -> Holds:
            if type_of(value) is not kind:
                return f"is not {kind}"
            return value == wanted if kind is not LIST and kind is not OBJECT else same(value, wanted)

        if kind is TEXT:  # the common one, shorter

            def same_text(value: Any, _frame: Frame) -> Holds:
                return value == wanted if isinstance(value, str) else "is not a text"

            return same_text
        return test

    def one_of(self, wanted: Any) -> Test:
        """Equal to one of these; of a type that none of them has: an error."""
        choices = [(type_of(one), one) for one in _several("in", wanted)]
        kinds = {kind for kind, _ in choices}
        plain = frozenset((kind, one) for kind, one in choices if kind is not LIST and kind is not OBJECT)
        deep = [(kind, one) for kind, one in choices if kind is LIST or kind is OBJECT]

        misfit = f"is not {kinds.copy().pop()}" if len(kinds) == 1 else "is of another type than the values"

        def test(value: Any, _: Frame) -> Holds:
            kind = type_of(value)
            if kind not in kinds:
                return misfit
            if kind is LIST or kind is OBJECT:
                return any(kind is other and same(value, one) for other, one in deep)
            return (kind, value) in plain

        return test

    def none_of(self, wanted: Any) -> Test:
        """Of a type that one of these has, and equal to none."""
        inner = self.one_of(wanted)

        def test(value: Any, frame: Frame) -> Holds:
            holds = inner(value, frame)
            return holds if isinstance(holds, str) else not holds

        return test

    def regex(self, wanted: Any) -> Test:
        """Searched for in a text; in an allow rule it covers the whole text."""
        from airlock.matching.regexes import RegexError, anchored, check, whole

        sources: list[str] = []
        for pattern in _texts("regex", wanted):
            try:
                check(pattern)
            except RegexError as error:
                raise ConditionError(f"regex `{pattern}` cannot be used: {error}") from None
            if self.effect is Effect.ALLOW and not anchored(pattern):
                raise ConditionError(
                    f"regex `{pattern}` of an allow rule is not anchored at both ends",
                    f"write `^{pattern.removeprefix('^').removesuffix('$')}$`",
                )
            sources.append(whole(pattern) if self.effect is Effect.ALLOW else pattern)
        return self._read(sources, lambda _: "")

    def glob(self, wanted: Any) -> Test:
        """The whole text; `*` stops at `/`. Another spelling of a path is an error."""
        return self._read([rf"\A(?:{glob_source(one)})\z" for one in _texts("glob", wanted)], odd_spelling)

    def _read(self, sources: list[str], trouble: Callable[[str], str]) -> Test:
        self.expressions += sources
        path, only = self.path.text, frozenset(sources)

        def test(value: Any, frame: Frame) -> Holds:
            if not isinstance(value, str):
                return "is not a text"
            found = frame.found(path, value)
            if isinstance(found, str):
                return found
            return trouble(value) or not only.isdisjoint(found)

        return test

    def under(self, wanted: Any) -> Test:
        """A path inside one of these folders."""
        roots = tuple(folder(one, self.config_folder) for one in _texts("under", wanted))
        self.folders += roots
        judge = surely_under if self.effect is Effect.ALLOW else maybe_under

        def test(value: Any, frame: Frame) -> Holds:
            return judge(value, roots, frame) if isinstance(value, str) else "is not a text"

        return test

    def each(self, written: Any) -> Test:
        """Every item of a list that has any."""
        return self._items(written, every)

    def any(self, written: Any) -> Test:
        """At least one item of a list."""
        return self._items(written, some)

    def _items(self, written: Any, quantifier: Callable[[Sequence[Holds]], Holds]) -> Test:
        tests, exists = self.spec(written)
        if exists is not None:
            raise ConditionError("`exists` makes no sense for the items of a list")

        def test(value: Any, frame: Frame) -> Holds:
            if not isinstance(value, list):
                return "is not a list"
            if len(value) > MAX_ITEMS:
                return f"has more than {MAX_ITEMS:,} items"
            return quantifier([conjunction([one(item, frame) for one in tests]) for item in value])

        return test


NULL, FLAG, NUMBER, TEXT, LIST, OBJECT = "null", "a truth value", "a number", "a text", "a list", "an object"
_NO_JSON = "no JSON value"


def type_of(value: Any) -> str:
    """The JSON type of a value: a truth value is no number, a whole number is the same as a broken one."""
    if isinstance(value, str):
        return TEXT
    if value is None:
        return NULL
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, (int, float)):
        return NUMBER
    if isinstance(value, (list, tuple)):
        return LIST
    return OBJECT if isinstance(value, Mapping) else _NO_JSON


def same(left: Any, right: Any) -> bool:
    """Deep equality of two JSON values that keeps `true` and 1 apart. Goes no deeper than `right` does."""
    kind = type_of(right)
    if type_of(left) is not kind:
        return False
    if kind is LIST:
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if kind is OBJECT:
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in right)
    return bool(left == right)


def conjunction(answers: Sequence[Holds]) -> Holds:
    """False when any is False, else the first error, else True."""
    trouble: Holds = True
    for answer in answers:
        if answer is False:
            return False
        if answer is not True and trouble is True:
            trouble = answer
    return trouble


def every(answers: Sequence[Holds]) -> Holds:
    """Like `conjunction`, and False for none."""
    return conjunction(answers) if answers else False


def some(answers: Sequence[Holds]) -> Holds:
    """True when any is True, else the first error, else False."""
    trouble: Holds = False
    for answer in answers:
        if answer is True:
            return True
        if answer is not False and trouble is False:
            trouble = answer
    return trouble


def _number(name: str, limit: Any) -> Test:
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not math.isfinite(limit):
        raise ConditionError(f"`{name}` wants a number")
    compare: dict[str, Callable[[Any], bool]] = {
        "gt": lambda value: value > limit,
        "gte": lambda value: value >= limit,
        "lt": lambda value: value < limit,
        "lte": lambda value: value <= limit,
    }
    holds = compare[name]

    def test(value: Any, _: Frame) -> Holds:
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return holds(value)
        return "is not a number"

    return test


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConditionError("`exists` wants true or false")
    return value


def _several(name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ConditionError(f"`{name}` wants a list that is not empty")
    return list(value)


def _texts(name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(t, str) and t for t in texts):
        raise ConditionError(f"`{name}` wants a text, or a list of texts")
    return list(texts)


def _meant(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"


def compile_condition(text: str, written: Any, *, effect: Effect, config_folder: Path) -> Condition:
    """One line of `args:`, ready to ask; ConditionError when it means nothing."""
    try:
        path = parse_path(text)
    except PathError as error:
        raise ConditionError(str(error)) from None
    builder = _Builder(path=path, effect=effect, config_folder=config_folder, expressions=[], folders=[])
    tests, exists = builder.spec(written)
    return Condition(
        path=path,
        written=written,
        label=f"{text}: {_shown(written)}",
        holds=_clause(path, tests, exists, every if effect is Effect.ALLOW else some),
        expressions=tuple(builder.expressions),
        folders=tuple(builder.folders),
    )


def _shown(written: Any) -> str:
    text = re.sub(r"\s+", " ", str(dict(written) if isinstance(written, Mapping) else written))
    return text if len(text) <= 120 else f"{text[:119]}…"


def _clause(
    path: ArgumentPath, tests: list[Test], exists: bool | None, quantifier: Callable[[Sequence[Holds]], Holds]
) -> Clause:
    name = path.plain
    if name is not None and exists is None and len(tests) == 1:
        return _plain_clause(name, tests[0])

    def one(value: Any, frame: Frame) -> Holds:
        if value is MISSING:
            return exists is False
        if value is UNCLEAR:
            return OTHER_LETTERS
        return exists is not False and conjunction([test(value, frame) for test in tests])

    def holds(frame: Frame) -> Holds:
        try:
            values = path.values(frame.arguments)
        except WrongType as error:
            return f"`{path.text}` {error}"
        answer = quantifier([one(value, frame) for value in values])
        return f"`{path.text}` {answer}" if isinstance(answer, str) else answer

    return holds


def _plain_clause(name: str, test: Test) -> Clause:
    def holds(frame: Frame) -> Holds:
        value = frame.arguments.get(name, MISSING)
        if value is MISSING:
            return False
        if value is UNCLEAR:
            return f"`{name}` {OTHER_LETTERS}"
        answer = test(value, frame)
        return answer if answer is True or answer is False else f"`{name}` {answer}"

    return holds
