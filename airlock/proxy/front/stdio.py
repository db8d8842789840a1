"""MCP on our own stdin and stdout for one agent: the client's first message starts everything else."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airlock.errors import AirlockError, ConfigError, UsageError, WireError
from airlock.model import JsonObject, Principal
from airlock.proxy.described import Descriptions
from airlock.proxy.pipes import Stdio, open_stdio
from airlock.proxy.router import MakeUpstream, Router
from airlock.proxy.session.client import Seat
from airlock.proxy.session.session import Session
from airlock.proxy.wire import INTERNAL_ERROR, FrameError, decode, encode_line, error_frame

if TYPE_CHECKING:
    from airlock.config import Config
    from airlock.gate import Gate

DRAIN_SECONDS: Final = 3.0
"""How long requests that came before EOF may still be answered; parked calls are left at once."""

CLOSE_SECONDS: Final = 3.0

log = logging.getLogger(__name__)


class _Ends:
    """The two ends of the pipe as frames, and the wish to stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.now = False
        self.receive: Callable[[Iterable[JsonObject]], None] | None = None
        self.press: Callable[[bool], None] | None = None
        self.answered: Callable[[], None] | None = None
        self._stdio: Stdio | None = None

    async def open(self) -> None:
        """Take over stdin and stdout."""
        self._stdio = await open_stdio(
            self._lines, self.stop.set, on_overlong=self._overlong, on_pressure=self._pressed
        )

    def signalled(self) -> None:
        """Stop without waiting for anything."""
        self.now = True
        self.stop.set()

    def send(self, frame: JsonObject) -> None:
        """Write one frame."""
        if self._stdio is None:
            return
        try:
            self._stdio.write(encode_line(frame))
        except WireError as error:
            log.warning("a message cannot be written: %s", error)
            if "method" not in frame:
                text = f"airlock: the answer cannot be written: {error}"
                self._stdio.write(encode_line(error_frame(frame.get("id"), INTERNAL_ERROR, text)))

        if self.answered is not None and "method" not in frame:
            told, self.answered = self.answered, None
            told()

    def _lines(self, lines: list[bytes]) -> None:
        if self.receive is not None:
            self.receive(self._decoded(lines))

    def _decoded(self, lines: list[bytes]) -> Iterator[JsonObject]:
        for line in lines:
            try:
                yield decode(line)
            except FrameError as error:
                self._malformed(error)

    def _malformed(self, error: FrameError) -> None:
        log.warning("a message of the client was refused: %s", error)
        if not error.response:
            self.send(error_frame(error.id, error.code, str(error)))

    def _overlong(self, head: bytes) -> None:
        log.warning("a message of the client is too long; it begins %r", head[:80])
        self.send(error_frame(None, -32700, "message refused: it is too long"))

    def _pressed(self, full: bool) -> None:
        """The client does not read: it is not read from either, and neither are the upstreams."""
        if self._stdio is not None:
            (self._stdio.pause if full else self._stdio.resume)()
        if self.press is not None:
            self.press(full)

    async def close(self) -> None:
        """Write what can be written, and let go."""
        if self._stdio is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await self._stdio.drain()
        except TimeoutError:
            log.warning("the client did not read the last answers")
        self._stdio.close()


async def serve_stdio(
    config: Config,
    gate: Gate,
    agent: str,
    *,
    make: MakeUpstream | None = None,
    state: Path | None = None,
    on_policy: Callable[[Callable[[], None]], None] | None = None,
    on_answer: Callable[[], None] | None = None,
) -> int:
    """Serve one client on stdin and stdout until it closes them or a signal comes; the exit code.

    `state` is the state directory, for the upstreams' kept descriptions. `on_policy` takes a function to
    be called whenever the gate has adopted another policy. `on_answer` is called once, after the first
    answer was written. UsageError when the agent is not known.
    """
    check_agent(config, agent)
    ends = _Ends()
    router = Router(config, make or _make_upstream())
    session = Session(
        send=ends.send,
        gate=gate,
        router=router,
        seat=seat_of(config, agent),
        descriptions=Descriptions(state / "upstreams" if state is not None else None),
    )
    if on_policy is not None:
        on_policy(session.policy_changed)
    ends.receive = session.receive_all
    ends.press = router.hold
    ends.answered = on_answer
    _on_signals(ends.signalled)
    await ends.open()
    await ends.stop.wait()
    if not ends.now:
        await _drained(session, ends)
    await session.close(CLOSE_SECONDS)
    await asyncio.gather(ends.close(), router.close())
    return 0


async def _drained(session: Session, ends: _Ends) -> None:
    """stdin is closed: what was asked before may still be answered, a signal cuts that short."""
    draining = asyncio.ensure_future(session.drain(DRAIN_SECONDS))
    ends.stop.clear()
    stopping = asyncio.ensure_future(ends.stop.wait())
    await asyncio.wait({draining, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for one in (draining, stopping):
        one.cancel()


async def serve_config_error(error: AirlockError) -> int:
    """Answer every request with what is wrong, until the client goes away; the exit code.

    Clients hide what a server prints, so the answer to the first message has to say it (decisions.md 45).
    """
    ends = _Ends()
    text = f"airlock cannot start: {first_words(error)}"

    def receive(frames: Iterable[JsonObject]) -> None:
        for frame in frames:
            if "method" in frame and "id" in frame:
                ends.send(error_frame(frame["id"], INTERNAL_ERROR, text))

    ends.receive = receive
    _on_signals(ends.signalled)
    await ends.open()
    await ends.stop.wait()
    await ends.close()
    return 2


def first_words(error: AirlockError) -> str:
    """The first problem and its cure, in one line."""
    if not isinstance(error, ConfigError) or not error.problems:
        return " ".join(str(error).split())
    first = next((one for one in error.problems if not one.warning), error.problems[0])
    more = len(error.problems) - 1
    rest = f"; {more} more: run `airlock policy check --config {first.file}`" if more else ""
    return " ".join(f"{first}{rest}".split())


def check_agent(config: Config, agent: str) -> None:
    """UsageError, with the agents there are, when the config does not know this one."""
    if agent in config.agents:
        return
    import difflib

    near = difflib.get_close_matches(agent, config.agents, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"add it under `agents:` in {config.file}"
    raise UsageError(f"unknown agent `{agent}`: {hint}")


def seat_of(config: Config, agent: str) -> Seat:
    """Where a client on stdio sits."""
    return Seat(
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        workspace=config.workspace,
        session=secrets.token_hex(8),
        cwd=_cwd(),
    )


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - Path would cost an import of what is not needed otherwise
    except OSError:
        return ""


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


def _make_upstream() -> MakeUpstream:
    from airlock.proxy.upstream.factory import make_upstream

    return make_upstream
