"""`when` and `unless`: expressions in CEL, the Common Expression Language.

The engine is the Rust extension of `common-expression-language`, loaded without the package around it:
the package imports a command line and costs half a second, the extension alone costs milliseconds. The
engine is not trusted with time: what would make it slow or end the process is refused at load or is an
error of the condition (decisions.md 17, docs/threats.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from airlock.canonical import MAX_DEPTH
from airlock.matching.celtext import MATCHED, CelError, Reading, read
from airlock.matching.frame import Frame, Holds
from airlock.matching.spelling import UNCLEAR
from airlock.values import dataclass

MAX_NODES = 10_000
"""Arguments with more values than this are an error."""

MAX_CHARACTERS = 4_000_000
"""Arguments with more text than this are an error: the engine copies it."""

MAX_WORD = 10_000
"""A longer name, directory or client is an error."""

_INT64 = range(-(2**63), 2**63)
_MODULE = "cel.cel"


@cache
def engine() -> Any:
    """The extension module, loaded once in a process: a second load would end in a Rust panic."""
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    package = find_spec("cel")
    for folder in package.submodule_search_locations or () if package else ():
        for suffix in EXTENSION_SUFFIXES:
            file = Path(folder) / f"cel{suffix}"
            if file.exists():
                return _loaded(file)
    raise ImportError("the CEL engine is not installed: install `common-expression-language`")


def _loaded(file: Path) -> Any:
    spec = spec_from_file_location(_MODULE, file, loader=ExtensionFileLoader(_MODULE, str(file)))
    if spec is None or spec.loader is None:
        raise ImportError(f"the CEL engine cannot be loaded from `{file.name}`")
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module  # so that whoever imports the package later finds this one
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One compiled expression."""

    text: str
    reading: Reading
    program: Any

    def holds(self, frame: Frame) -> Holds:
        """True or False, or why it cannot be evaluated: without values from the call."""
        if frame.engine is None:
            frame.engine = Engine(frame)
        answer: Holds = frame.engine.ask(self)
        return answer


def compile_expression(text: str) -> Expression:
    """The expression, ready to ask; CelError when it is wrong, or refused."""
    reading = read(text)
    program, error = _guarded(partial(engine().compile, reading.source))
    if error is not None:
        raise CelError(_said(error))
    return Expression(text=text, reading=reading, program=program)


def _said(error: BaseException) -> str:
    """The engine's complaint in one line."""
    line = next((one for one in str(error).splitlines() if "ERROR" in one), str(error).splitlines()[0])
    said = line.partition("ERROR: <input>:")[2] or line
    said = said.partition(" expecting {")[0].replace("mismatched input '<EOF>'", "it ends too early")
    return f"it cannot be read: {said}"


def _guarded(use: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What the engine answers, or what it raised; what is not the engine's goes on."""
    try:
        return use(), None
    except BaseException as error:
        if not from_engine(error):
            raise
        return None, error


def from_engine(error: BaseException) -> bool:
    """True for what the engine raises, its Rust panics included: those are no `Exception`."""
    return type(error).__name__ == "PanicException" or (
        isinstance(error, (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError))
        and not isinstance(error, RecursionError)
    )


_MEANINGS = (
    (LookupError, "a field or an item is missing"),
    (TypeError, "the types do not fit"),
    (ArithmeticError, "a number is out of range"),
    (ValueError, "a value cannot be converted"),
    (RuntimeError, "a function cannot use its arguments"),
)


def _meaning(error: BaseException | None) -> str:
    return next((text for kind, text in _MEANINGS if isinstance(error, kind)), "the engine failed")


class Engine:
    """The engine's view of one call: each variable is handed over once, and only when one asks for it.

    Of the arguments only the fields that expressions look at are handed over: it takes the engine a
    microsecond a value. A field that cannot be handed over is an error only for those that look at it.
    """

    __slots__ = ("_context", "_failed", "_frame", "_given", "_sizes", "_trouble")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._context = engine().Context()
        self._given: set[str] = set()
        self._sizes: dict[str, Size] = {}
        self._trouble: dict[str, str] = {}
        self._failed = False

    def ask(self, expression: Expression) -> Holds:
        """What the expression says about this call."""
        wanted = expression.reading.variables
        if not wanted <= self._given:
            self._give(wanted - self._given)
        for name, trouble in self._trouble.items():
            if name in wanted:
                return trouble
        if "args" in wanted and (trouble := self._unfit(expression.reading.fields)):
            return f"the arguments {trouble}"
        self._failed = False
        answer, error = _guarded(partial(expression.program.execute, self._context))
        if error is not None:
            return f"`{expression.text}`: {_meaning(error)}"
        if self._failed:
            return f"`{expression.text}`: `matches` cannot read the text"
        return answer if isinstance(answer, bool) else f"`{expression.text}`: says neither true nor false"

    def _give(self, names: frozenset[str]) -> None:
        self._given |= names
        for name in names:
            if name == MATCHED:
                self._context.add_function(MATCHED, self._matches)
            elif name == "args":
                self._give_arguments()
            elif trouble := self._give_one(name, _value(name, self._frame)):
                self._trouble[name] = f"`{name}` {trouble}"

    def _give_one(self, name: str, value: Any) -> str:
        """Hand one variable over, or say why not."""
        if isinstance(value, str) and len(value) > MAX_WORD:
            return f"is longer than {MAX_WORD:,} characters"
        size = measure(value)
        return size.trouble or self._added(name, value)

    def _give_arguments(self) -> None:
        arguments, fields = self._frame.arguments, self._frame.fields
        chosen = {
            name: arguments[name] for name in (arguments if fields is None else fields) if name in arguments
        }
        self._sizes = {name: measure(value) for name, value in chosen.items()}
        fit = {name: value for name, value in chosen.items() if not self._sizes[name].trouble}
        if not self._added("args", fit):
            return
        for name, value in fit.items():
            if trouble := self._added("args", {name: value}):
                self._sizes[name] = Size(trouble=trouble)
        fit = {name: value for name, value in fit.items() if not self._sizes[name].trouble}
        self._added("args", fit)

    def _added(self, name: str, value: Any) -> str:
        _, error = _guarded(partial(self._context.add_variable, name, value))
        return "" if error is None else f"cannot be read: {_meaning(error)}"

    def _unfit(self, fields: frozenset[str] | None) -> str:
        """Why the engine cannot look at these fields; "" when it can."""
        sizes = (
            self._sizes.values() if fields is None else [self._sizes[f] for f in fields if f in self._sizes]
        )
        nodes = characters = 0
        for size in sizes:
            if size.trouble:
                return size.trouble
            nodes += size.nodes
            characters += size.characters
        return _too_large(nodes, characters)

    def _matches(self, text: Any, pattern: Any) -> bool | None:
        """CEL's `matches`, on the linear engine; never raises, because the engine prints what is raised."""
        from airlock.matching.regexes import search

        found = search(pattern, text) if isinstance(text, str) and isinstance(pattern, str) else None
        if found is None:
            self._failed = True
        return found


def _value(name: str, frame: Frame) -> Any:
    origin = frame.call.origin
    if name == "argv":
        argv = frame.arguments.get("argv")
        return argv if isinstance(argv, list) else []
    if name == "now":
        return datetime.fromtimestamp(frame.facts.now / 1000, UTC)
    return {
        "agent": frame.call.agent,
        "tool": frame.tool,
        "provider": frame.provider,
        "name": frame.name,
        "cwd": origin.cwd,
        "client": origin.client,
        "session": origin.session,
    }[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a value is, or why the engine must not see it."""

    nodes: int = 0
    characters: int = 0
    trouble: str = ""


def _too_large(nodes: int, characters: int) -> str:
    if nodes > MAX_NODES:
        return f"have more than {MAX_NODES:,} values"
    return f"have more than {MAX_CHARACTERS:,} characters" if characters > MAX_CHARACTERS else ""


def measure(value: Any) -> Size:
    """The size of one JSON value; stops as soon as it is too large."""
    if value is UNCLEAR:
        return Size(trouble="have a name in other letters, which some servers take for the same")
    nodes = characters = 0
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        following: list[Any] = []
        for one in level:
            nodes += 1
            if isinstance(one, str):
                characters += len(one)
            elif isinstance(one, Mapping):
                characters += sum(map(len, one))
                following += one.values()
            elif isinstance(one, list):
                following += one
            elif isinstance(one, int) and one not in _INT64:
                return Size(trouble="have a whole number outside 64 bits")
        if trouble := _too_large(nodes + len(following), characters):
            return Size(trouble=trouble)
        if not following:
            return Size(nodes=nodes, characters=characters)
        level = following
    return Size(trouble=f"are nested deeper than {MAX_DEPTH} levels")
