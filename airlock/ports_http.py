"""What the listener offers an app beside ASGI: a POST that came whole, and may be answered without a task.

ASGI costs a task, two turns of the loop and two messages for each answer. A call needs none of that: it is
read, decided and passed on in one turn, and answered in another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Raises `errors.Ending` when the process ends before the body is whole: that is the app's to say."""

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Reply(Protocol):
    """The way back for one request. Exactly one of the two is called, once, now or later."""

    def answer(self, status: int, content: bytes = b"", headers: Headers = ()) -> None:
        """Send a whole answer; content is JSON that is written already."""
        ...

    def carry(self, app: App) -> None:
        """Let this app answer in the usual way, in a task: what takes longer, or comes in parts."""
        ...


class Post(Reply, Protocol):
    """A POST of which everything is here: its head, and all of its body."""

    @property
    def scope(self) -> Scope:
        """What ASGI says of the request."""
        ...

    @property
    def body(self) -> bytes:
        """All of its body."""
        ...

    @property
    def kept(self) -> dict[str, Any]:
        """What the app found out from this very head; the next request with the same head has it too.

        Same means every byte of it, but for the number in `Content-Length`.
        """
        ...

    def count_by(self, counted: Callable[[int], None]) -> None:
        """Have the status of the answer told, whichever way it goes."""
        ...


@runtime_checkable
class Taker(Protocol):
    """An app that may take a whole POST at once."""

    def take(self, post: Post) -> bool:
        """True when it will be answered; False, and nothing was done, when it is one for ASGI."""
        ...
