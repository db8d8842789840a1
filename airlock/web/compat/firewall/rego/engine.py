"""Our end of the Rego process: started when it is needed, ended when it is slow or makes no sense."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import struct
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Any

from airlock.canonical import encode, parse
from airlock.errors import AirlockError, UsageError, WireError
from airlock.values import dataclass
from airlock.web.compat.firewall.turns import Full, Turns

log = logging.getLogger("airlock.rego")

CHILD = Path(__file__).with_name("child.py")
LIBRARY = "regorus"
START_S = 10.0
ANSWER_S = 1.0
TURN_S = 5.0
MOST_WAITING = 64
MOST_KNOWN = 1_000
MOST_ANSWER = 1 << 20
MISSING = (
    "`regorus` is not installed: `pip install 'airlock-gate[rego]'`, or a build of it where that has none"
)
KILLED = "it ended the engine: it needs too much memory, or nests or calls itself too deeply"


class NoEngine(AirlockError):
    """Rego cannot be evaluated here, or not now; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A policy as it was written; `digest` stands for it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.text.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a policy is: the version of Rego it is written in, and those of its rules that count."""

    version: int
    package: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of one policy: its outputs by rule name, or why there are none.

    `cause` may quote the input: it is for whoever may read policies. `line` is 0 where none is known.
    """

    outputs: Mapping[str, Any] | None = None
    cause: str = ""
    line: int = 0


class Engine:
    """One process, asked by one at a time. Who waits too long, or for too many at once, is refused.

    `who`, an agent, or "" for people, waits behind one evaluation of each other one at most.
    """

    def __init__(self, command: Sequence[str] = (), *, seconds: float = ANSWER_S) -> None:
        self._command = command
        self._seconds = seconds
        self._turns = Turns(most=MOST_WAITING)
        self._process: asyncio.subprocess.Process | None = None
        self._known: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process that runs now, None before the first question and after its end."""
        return None if self._process is None else self._process.pid

    async def read(self, policy: Text) -> Described:
        """What a policy is; UsageError, with the line, when it cannot be used."""
        async with self._my_turn(""):
            process = await self._running()
            answers, broken = await self._ask(process, {"do": "read", "text": policy.text}, 1)
        match answers:
            case [{"version": int(version), "package": str(package), "rules": [*rules]}]:
                return Described(version=version, package=package, rules=tuple(map(str, rules)))
            case [{"wrong": {"line": int(line), "cause": str(cause)}}]:
                raise UsageError(f"line {line}: {cause}" if line else cause)
        raise UsageError(f"it cannot be used: {broken or 'the engine answered nonsense'}")

    async def judge(
        self, policies: Sequence[Text], given: Mapping[str, Any], *, who: str = ""
    ) -> list[Judged]:
        """What each policy says of one input, in order. After one that broke the engine none is evaluated."""
        async with self._my_turn(who):
            process = await self._running()
            answers, broken = await self._ask(process, self._question(policies, given), len(policies))
        found = [_judged(one) for one in answers]
        if len(found) < len(policies):
            found.append(Judged(cause=broken))
        rest = len(policies) - len(found)
        return [*found, *[Judged(cause="not evaluated, since another policy ended the engine")] * rest]

    async def close(self) -> None:
        """End the process, after an evaluation that is under way."""
        with suppress(TimeoutError):
            async with self._turns.turn("", seconds=self._seconds):
                await self._end()
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._known.clear()
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    @asynccontextmanager
    async def _my_turn(self, who: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turns.turn(who, seconds=TURN_S))
            except Full:
                raise NoEngine(
                    f"{MOST_WAITING} evaluations of Rego policies wait already: try again"
                ) from None
            except TimeoutError:
                raise NoEngine("other evaluations of Rego policies took too long: try again") from None
            yield

    def _question(self, policies: Sequence[Text], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of each policy its text only where this process has not had it."""
        new = {one.digest: one.text for one in policies if one.digest not in self._known}
        named = [{"digest": one.digest, "text": new.get(one.digest)} for one in policies]
        self._known.update(new)
        return {"do": "judge", "policies": named, "input": encode(given).decode()}

    async def _ask(
        self, process: asyncio.subprocess.Process, question: Mapping[str, Any], count: int
    ) -> tuple[list[Any], str]:
        """The answers, and what broke it off when there are fewer than that. Then the process is ended."""
        answers: list[Any] = []
        broken = "it was broken off"
        try:
            async with asyncio.timeout(self._seconds):
                await _write(process, question)
                while len(answers) < count:
                    answers.append(await _read(process))
        except TimeoutError:
            broken = f"it took longer than {self._seconds:g} s"
        except WireError:
            broken = "the engine answered nonsense"
        except (OSError, asyncio.IncompleteReadError):
            broken = KILLED
        finally:
            if len(answers) < count:  # whoever was cancelled may have left half an answer, too
                log.warning("rego: the engine was ended: %s", broken)
                await self._end()
        return answers, broken

    async def _running(self) -> asyncio.subprocess.Process:
        """The process, started if there is none; a new one when this one holds enough policies."""
        if len(self._known) > MOST_KNOWN or (self._process and self._process.returncode is not None):
            await self._end()
        if self._process is None:
            await self._start()
        if self._process is None:
            raise NoEngine("the Rego engine did not start")
        return self._process

    async def _start(self) -> None:
        """A process with nothing of ours: no environment, no folder, no terminal."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(self._command or command()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
            async with asyncio.timeout(START_S):
                ready = await _read(self._process) == {"ready": True}
        except (OSError, asyncio.IncompleteReadError, WireError, TimeoutError):
            ready = False
        if not ready:
            await self._end()
            raise NoEngine("the Rego engine did not start")


def command() -> tuple[str, ...]:
    """How the process is started: Python with its standard library, and the folder that the engine is in."""
    found = importlib.util.find_spec(LIBRARY)
    if found is None or found.origin is None:
        raise NoEngine(MISSING)
    return (sys.executable, "-I", "-S", str(CHILD), str(Path(found.origin).parents[1]))


async def _write(process: asyncio.subprocess.Process, question: Mapping[str, Any]) -> None:
    body = encode(question)
    if process.stdin is None:
        raise AssertionError("the process was started without a pipe")
    try:
        process.stdin.write(struct.pack(">I", len(body)) + body)
    except RuntimeError as error:  # what uvloop says of a pipe whose other end is gone
        raise BrokenPipeError(str(error)) from error
    await process.stdin.drain()


async def _read(process: asyncio.subprocess.Process) -> Any:
    if process.stdout is None:
        raise AssertionError("the process was started without a pipe")
    (length,) = struct.unpack(">I", await process.stdout.readexactly(4))
    if length > MOST_ANSWER:
        raise WireError("an answer that is too long")
    return parse(await process.stdout.readexactly(length))


def _judged(answer: Any) -> Judged:
    match answer:
        case {"outputs": dict(outputs)}:
            return Judged(outputs=outputs)
        case {"wrong": {"line": int(line), "cause": str(cause)}}:
            return Judged(cause=cause, line=line)
    return Judged(cause="the engine answered nonsense")
