"""The exceptions of Airlock. A refusal of a call is a value (`model.Refuse`), never one of these.

AirlockError
├── ConfigError           the config or the policy is wrong; carries every problem found (exit 2)
├── UsageError            the command line or a request is wrong (exit 2)
├── NotPermitted          this identity may not do that (exit 4)
├── NoSuchRequest         no approval request under that code or id (exit 5)
├── AlreadySettled        the request is decided, expired or withdrawn (exit 6)
├── StoreError            the database cannot be used (exit 7)
│   ├── NewerSchema       a newer Airlock wrote this database
│   ├── StoreBusy         another process held the lock for longer than the limit
│   ├── Conflict          a compare-and-set lost; read again and decide again
│   └── Stale             pauses or grants changed since they were read
├── WireError             a message is not acceptable JSON or JSON-RPC
├── UpstreamError         an MCP server behind us cannot be used
└── Ending                the process ends, and did not do what it was asked
"""

from __future__ import annotations

from airlock.values import dataclass


def why(error: OSError) -> str:
    """The system's words for a failure, in small letters."""
    return (error.strerror or str(error) or type(error).__name__).lower()


class AirlockError(Exception):
    """Every error that Airlock raises on purpose; its text is one line a person can act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a config: where, at which key, what, and perhaps what was meant."""

    file: str
    line: int
    path: str
    message: str
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        # Line 0: it is about the file itself, which could not even be opened.
        text = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        if self.path:
            text += f"{self.path}: "
        text += self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(AirlockError):
    """The config cannot be used; `problems` has all that was found, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class UsageError(AirlockError):
    """What was typed or sent cannot be understood."""


class NotPermitted(AirlockError):
    """The identity is known and may not do this."""


class NoSuchRequest(AirlockError):
    """No approval request has this code or id."""


class AlreadySettled(AirlockError):
    """The request was decided, has expired or was withdrawn; `status` says which."""

    def __init__(self, message: str, *, status: str) -> None:
        self.status = status
        super().__init__(message)


class StoreError(AirlockError):
    """The database cannot be read or written; nothing was lost, and no call proceeds on it."""


class NewerSchema(StoreError):
    """The database was written by a newer Airlock."""


class StoreBusy(StoreError):
    """The write lock was held by another process for longer than the limit."""


class Conflict(StoreError):
    """A compare-and-set lost against another process: nothing was written."""


class Stale(StoreError):
    """Pauses or grants changed since the caller read them: nothing was written."""


class WireError(AirlockError):
    """A message that must not be passed on; `code` is the JSON-RPC error code."""

    def __init__(self, message: str, *, code: int = -32600) -> None:
        self.code = code
        super().__init__(message)


class Ending(AirlockError):
    """The process ends, and nothing was done of what was asked: asking again is safe."""

    def __init__(self) -> None:
        super().__init__("the gateway is ending: try again in a moment")


class UpstreamError(AirlockError):
    """An upstream is down, too slow, or speaks rubbish; the text says which."""


class Unusable(ValueError):
    """A piece of a config that cannot be used, before it is known where it stands; `hint` is the cure."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)
