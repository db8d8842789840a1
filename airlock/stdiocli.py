"""`airlock stdio`: the command that agents' clients start. Light on purpose: see `__main__`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import uvloop

from airlock.errors import AirlockError, UsageError
from airlock.logs import log_to
from airlock.values import dataclass

USAGE = "usage: airlock stdio --agent NAME [--config FILE] [--log-level LEVEL] [--log-file FILE]"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioOptions:
    """What was typed after `airlock stdio`."""

    agent: str
    config: Path | None
    log_level: int = logging.WARNING
    log_file: Path | None = None


def parse(words: list[str]) -> StdioOptions:
    """The options; UsageError with the usage line when they make no sense."""
    values: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, _, value = rest.pop(0).partition("=")
        name = {"-c": "--config", "-a": "--agent"}.get(name, name)
        if name not in {"--agent", "--config", "--log-level", "--log-file"}:
            raise UsageError(f"unknown option `{name}`: {USAGE}")
        if not value and not rest:
            raise UsageError(f"option `{name}` needs a value: {USAGE}")
        values[name] = value or rest.pop(0)
    level = values.get("--log-level", "warning").lower()
    if level not in LEVELS:
        raise UsageError(f"log level `{level}` is not one of {', '.join(LEVELS)}")
    if not values.get("--agent"):
        raise UsageError(f"which agent? {USAGE}")
    return StdioOptions(
        agent=values["--agent"],
        config=_path(values.get("--config")),
        log_level=LEVELS[level],
        log_file=_path(values.get("--log-file")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def main(words: list[str]) -> int:
    """Serve MCP on stdin and stdout until the client closes them; the exit code."""
    try:
        options = parse(words)
        hold_descriptors()
        log_to(options.log_file, options.log_level)
    except UsageError as error:
        sys.stderr.write(f"airlock: {error}\n")
        return 2
    try:
        # Its turns are made in C: of what a call costs one by one that is a tenth.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(options))
    except KeyboardInterrupt:
        return 130


def hold_descriptors() -> None:
    """Put `/dev/null` where one of the first three is closed: else the next thing that is opened gets it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


async def _serve(options: StdioOptions) -> int:
    from airlock import serving

    try:
        return await serving.serve_stdio(options.config, options.agent)
    except AirlockError as error:
        # Clients hide what we print: the answer to their first message has to say it (decisions.md 45).
        sys.stderr.write("".join(f"airlock: {line}\n" for line in str(error).splitlines()))
        from airlock.cli.exits import exit_of

        code = exit_of(error)
        await serving.serve_refusal(error)
        return code
