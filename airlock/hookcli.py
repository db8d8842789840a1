"""`airlock hook`: a client's hook on stdin, its decision on stdout, and a no whenever something fails.

It runs once a tool call, so it imports almost nothing: through a gateway it is sockets and JSON. It ends
only with 0 and a well-formed answer, or with 2 and the reason on stderr, which every client takes for a
no; any other ending would let the tool run (decisions.md 32).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would name all its numbers first, once a call
import os
import sys

BLOCK = 2
DEFAULT_SECONDS = 600.0
"""The longest that a client waits for its hook, where `--timeout` does not say (Claude Code's limit)."""

STDIN_LIMIT = 16 << 20
ANSWER_LIMIT = 16 << 20
VALUES = {
    "--client": "client",
    "--agent": "agent",
    "--url": "url",
    "--timeout": "timeout",
    "--defer": "defer",
    "--config": "config",
    "-c": "config",
    "--log-level": "log_level",
    "--log-file": "log_file",
}
CLIENTS = ("claude-code", "codex", "gemini-cli", "cursor", "copilot", "claude", "gemini", "vscode", "vs-code")
"""The clients whose words we speak; in those of another a no could pass for a yes."""

ENDINGS = (_signal.SIGTERM, _signal.SIGHUP)
"""Signals that would end us with a code of their own, for which a client runs the tool: these end with 2."""

NO_TOOL_CALLS = frozenset(
    {
        "ConfigChange",
        "InstructionsLoaded",
        "Notification",
        "PostCompact",
        "PreCompact",
        "SessionEnd",
        "SessionStart",
        "Setup",
        "Stop",
        "SubagentStart",
        "SubagentStop",
        "TaskCompleted",
        "TeammateIdle",
        "UserPromptSubmit",
    }
)
"""Events that are about no tool: to block these would end a session, or keep one from ending."""


class Blocked(Exception):
    """There is no answer to be had: the tool does not run."""


def main(argv: list[str]) -> int:
    """Answer one hook; 0 with an answer on stdout, or 2 with the reason on stderr."""
    payload = b""
    try:
        for ending in ENDINGS:
            _signal.signal(ending, _signal.default_int_handler)
        options = parse(argv)
        payload = sys.stdin.buffer.read(STDIN_LIMIT + 1)
        say(decided(options, payload))
    except Blocked as refusal:
        return blocked(str(refusal), payload)
    except KeyboardInterrupt:
        return blocked("interrupted", payload)
    except Exception as error:  # noqa: BLE001 - told on stderr
        # The program's outer edge: a traceback would end with 1, and the client would run the tool.
        return blocked(f"the hook failed: {type(error).__name__}: {error}", payload)
    return 0


def decided(options: dict[str, str], payload: bytes) -> bytes:
    """The answer, from the gateway where there is one, else from this process."""
    if len(payload) > STDIN_LIMIT:
        raise Blocked(f"the hook's input is larger than {STDIN_LIMIT} bytes")
    url = options.get("url") or os.environ.get("AIRLOCK_URL", "")
    return through_gateway(url, options, payload) if url else in_process(options, payload)


def say(answer: bytes) -> None:
    """Write the answer whole. Not through `sys.stdout`: what it could not flush would end us with 120."""
    data = memoryview(answer + b"\n")
    while data:
        data = data[os.write(1, data) :]


def blocked(reason: str, payload: bytes) -> int:
    """Say why on stderr, in one line. An event that is about no tool is let go in silence."""
    if event_of(payload) in NO_TOOL_CALLS:
        say(b"{}")
        return 0
    line = "".join(one if one.isprintable() else "?" for one in " ".join(reason.split()))
    try:  # noqa: SIM105 - contextlib costs more than the whole request
        os.write(2, f"airlock: {line}\n".encode("utf-8", "replace"))
    except OSError:  # nobody hears it: the exit code says no all the same
        pass
    return BLOCK


def event_of(payload: bytes) -> str:
    """The event's name in a native payload; "" when it cannot be told."""
    from airlock.hookjson import loads

    try:
        value = loads(payload)
    except (ValueError, RecursionError):
        return ""
    name = value.get("hook_event_name") if isinstance(value, dict) else ""
    return name if isinstance(name, str) else ""


def parse(argv: list[str]) -> dict[str, str]:
    """The options, `--name VALUE` or `--name=VALUE`; Blocked for anything else."""
    options: dict[str, str] = {}
    words = list(argv)
    while words:
        name, mark, value = words.pop(0).partition("=")
        if name not in VALUES:
            raise Blocked(f"unknown argument `{name}`: see `airlock hook --help`")
        if name == "--defer" and not mark:
            value = "1"
        elif not mark:
            if not words:
                raise Blocked(f"`{name}` needs a value")
            value = words.pop(0)
        options[VALUES[name]] = value
    if options.get("client", CLIENTS[0]) not in CLIENTS:
        raise Blocked(f"unknown client `{options['client'][:40]}`: there are {', '.join(CLIENTS[:5])}")
    if "timeout" in options:
        seconds_of(options)
    return options


def seconds_of(options: dict[str, str]) -> float:
    """The caller's own limit in seconds, as which a plain number counts; `500ms` and `10m` work as well."""
    text = options.get("timeout", "")
    if not text:
        return DEFAULT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = _duration(text)
    if not 0 < seconds <= 86_400:
        raise Blocked(f"`--timeout` must be a number of seconds, not `{text[:40]}`")
    return seconds


def _duration(text: str) -> float:
    from airlock.durations import milliseconds

    try:
        return milliseconds(text) / 1000
    except ValueError:
        return -1.0


def through_gateway(url: str, options: dict[str, str], payload: bytes) -> bytes:
    """The gateway's answer, when it is one that a client understands; Blocked otherwise."""
    from airlock.hookwire import Unreachable, post

    query = {name: options[name] for name in ("client", "agent", "defer") if options.get(name)}
    if options.get("timeout"):
        query["timeout"] = f"{seconds_of(options):g}"
    token = os.environ.get("AIRLOCK_TOKEN") or os.environ.get("AIRLOCK_API_SECRET", "")
    try:
        got = post(url, query, token, payload, seconds=seconds_of(options), limit=ANSWER_LIMIT)
    except Unreachable as error:
        cure = "" if ": " in str(error) else ": is `airlock gateway` running there?"
        raise Blocked(f"the gateway at `{url}` {error}{cure}") from None
    return checked(got.status, got.airlock, got.body)


def checked(status: int, airlock: bool, body: bytes) -> bytes:
    """A JSON object, from an Airlock, with status 200; Blocked for all else that could pass for consent."""
    from airlock.hookjson import loads

    if not airlock:
        raise Blocked("what answered there is not an Airlock gateway")
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        raise Blocked(f"the gateway answered {status} with something that is not JSON") from None
    if not isinstance(value, dict):
        raise Blocked(f"the gateway answered {status} with something that is no decision")
    if status != 200:
        raise Blocked(f"the gateway answered {status}: {value.get('error', 'no reason given')}")
    return body


def in_process(options: dict[str, str], payload: bytes) -> bytes:
    """The decision of this process, on the same database."""
    from airlock.hookrun import answer

    made = answer(options, payload, seconds_of(options) if options.get("timeout") else None)
    if made.exit_code != 0:
        raise Blocked(made.stderr.removeprefix("airlock: "))
    return made.stdout
