"""What a hook dialect is: one client's own JSON, read into a `HookEvent` and answered in its own shape.

The rule behind every dialect: an answer that the client could take for consent is given only for a
`Proceed`. Everything else, broken input too, is a well-formed deny.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from airlock.canonical import encode
from airlock.errors import AirlockError
from airlock.model import JsonObject, Proceed, Refuse, Verdict, Wait
from airlock.values import dataclass

STILL_OPEN = "a person has not answered yet; the request is still open: make the same call again later"
LONGEST_TOOL = 1_000
"""No client has a tool with a longer name; what an agent makes up is not recorded at any length."""

_MARGIN_MS = 5_000
_REASON_LIMIT = 2_000
_BLANKS = re.compile(r"[\x00-\x20\x7f\u2028\u2029]+")


class UnreadableHook(AirlockError):
    """The payload is of this dialect and cannot be used; `status` is for Airlock's own payload."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """One tool call that a client asks about, before it runs.

    `client` is the dialect's name, or what Airlock's own payload names. `tool` and `input` are the
    client's own words. `mcp_server` is the MCP server's name where the client says it.
    """

    client: str
    event: str = ""
    tool: str
    input: JsonObject = field(default_factory=dict)
    session: str = ""
    cwd: str = ""
    tool_use_id: str = ""
    agent: str = ""
    mcp_server: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAnswer:
    """What goes back. Over HTTP `status` and `stdout` as the body; from a command exit code and streams."""

    body: JsonObject = field(default_factory=dict)
    status: int = 200
    exit_code: Literal[0, 2] = 0
    stderr: str = ""

    @property
    def stdout(self) -> bytes:
        """The body as JSON."""
        return encode(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a dialect puts into words. `status` is an error status, for Airlock's own payload alone."""

    decision: Literal["allow", "deny", "ask"]
    event: str = ""
    tool: str = ""
    reason: str = ""
    status: int = 200


class Dialect(ABC):
    """One client. Subclasses say what they read and how they answer.

    `name` is also the default agent. `timeout_ms` is how long the client waits for its hook unless told
    otherwise, `unit` the unit of that number in the client's own settings. `asks` is true when the client
    can be told to ask its user. `quiet_events` are no tool calls about to run: their answer is `{}`.
    """

    name: str = ""
    timeout_ms: int = 60_000
    unit: Literal["s", "ms"] = "s"
    asks: bool = False
    quiet_events: frozenset[str] = frozenset()

    @abstractmethod
    def recognise(self, payload: Mapping[str, Any]) -> bool:
        """True when the payload can only be this dialect's."""

    @abstractmethod
    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        """The tool call; None for an event that is none. UnreadableHook when it is broken."""

    def event_of(self, payload: object) -> str:
        """The event's name as far as a broken payload still tells it, else ""."""
        name = payload.get("hook_event_name") if isinstance(payload, Mapping) else None
        return name if isinstance(name, str) else ""

    @abstractmethod
    def render(self, ruling: Ruling) -> HookAnswer:
        """A ruling in the client's own shape."""

    def allow(self, event: HookEvent, tool: str) -> HookAnswer:
        """The call may run. `tool` is its policy name."""
        return self.render(Ruling(decision="allow", event=event.event, tool=tool))

    def deny(self, reason: str, *, event: str = "", tool: str = "", status: int = 200) -> HookAnswer:
        """The call must not run. `event` is the event's name where it is known; quiet ones stay quiet."""
        if event in self.quiet_events:
            return self.quiet()
        return self.render(Ruling(decision="deny", event=event, tool=tool, reason=reason, status=status))

    def ask(self, reason: str, *, event: str = "", tool: str = "") -> HookAnswer:
        """The client should ask its user; a deny for clients that would run the call instead."""
        if not self.asks:
            return self.deny(reason or STILL_OPEN, event=event, tool=tool)
        return self.render(Ruling(decision="ask", event=event, tool=tool, reason=reason))

    def quiet(self) -> HookAnswer:
        """No opinion: for events that are no tool call, and for calls that the proxy asks about."""
        return HookAnswer()

    def hold_ms(self, timeout_ms: int | None = None) -> int:
        """How long a call may be held before the answer must go out (decisions.md 32)."""
        whole = self.timeout_ms if timeout_ms is None else timeout_ms
        return max(0, min(whole * 9 // 10, whole - _MARGIN_MS))


def answer(dialect: Dialect, event: HookEvent, verdict: Verdict, tool: str) -> HookAnswer:
    """A verdict in the client's own shape. A `Wait` that nobody holds is a deny that says so."""
    match verdict:
        case Proceed():
            return dialect.allow(event, tool)
        case Refuse():
            return dialect.deny(verdict.reason, event=event.event, tool=tool)
        case Wait():
            return dialect.deny(STILL_OPEN, event=event.event, tool=tool)


def sentence(reason: str, prefix: str = "airlock: ") -> str:
    """A reason as one line that is never empty: some clients run the call when it is."""
    line = _BLANKS.sub(" ", reason).strip()[:_REASON_LIMIT] or "denied"
    return line if line.startswith(prefix) else prefix + line


def text_of(payload: Mapping[str, Any], *names: str) -> str:
    """The first of these members that is a text and not empty, else ""."""
    for name in names:
        value = payload.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def tool_of(payload: Mapping[str, Any], name: str = "tool_name") -> str:
    """The tool's name; UnreadableHook when there is none."""
    tool = payload.get(name)
    if not isinstance(tool, str) or not tool.strip():
        raise UnreadableHook(f"the hook's payload has no `{name}`")
    if len(tool) > LONGEST_TOOL:
        raise UnreadableHook(f"the hook's `{name}` is longer than {LONGEST_TOOL} characters")
    return tool


def input_of(payload: Mapping[str, Any], name: str = "tool_input") -> JsonObject:
    """The tool's arguments, parsed where they come as JSON text; UnreadableHook when they are no object."""
    value = payload.get(name)
    if isinstance(value, str):
        from airlock.canonical import parse
        from airlock.errors import WireError

        try:
            value = parse(value) if value.strip() else {}
        except WireError as error:
            raise UnreadableHook(f"`{name}` is not JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableHook(f"`{name}` is not an object")
    return value
