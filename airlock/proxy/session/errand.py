"""One thing to be done for a client, from its request to the upstream's reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airlock.model import Call, JsonObject, Kind, Proceed, Wait
from airlock.proxy.catalog import Target
from airlock.proxy.link import Reply
from airlock.proxy.session.client import Exchange
from airlock.proxy.session.speaking import named, speaks_of_us
from airlock.values import dataclass


@dataclass(slots=True)
class Errand:
    """One thing to be done for one request: to whom, and with what, once the gate lets it."""

    exchange: Exchange
    target: Target
    kind: Kind
    method: str
    params: JsonObject
    call: Call
    rounds: int = 0
    on_hold: Callable[[Reply], None] | None = None
    """Takes the reply while the client is being asked something and its request is answered for now."""

    def step(self, params: JsonObject) -> None:
        """Progress goes to whichever request of the client waits for this now.

        People act on codes in such messages: a server that speaks of Airlock is named in front of its words.
        """
        message = params.get("message")
        if isinstance(message, str) and speaks_of_us(message):
            params = {**params, "message": named(self.target.provider, message)}
        self.exchange.step(params)

    def keep_shown(self) -> None:
        """Send no more than a person was shown: the arguments, and the protocol's own `_meta`."""
        self.params = {name: value for name, value in self.params.items() if name in _SHOWN}


_SHOWN = frozenset({"name", "arguments", "uri", "_meta"})


class Detaching(Protocol):
    """What makes tasks of calls."""

    def wanted(self, errand: Errand) -> bool:
        """True when this call, if it must wait, is answered with a task."""
        ...

    def park(self, errand: Errand, waiting: Wait) -> bool:
        """Answer the call with a task and give the errand another exchange; False when there are too many."""
        ...

    def relay(self, errand: Errand, proceed: Proceed, reply: Reply) -> bool:
        """Answer with the upstream's task; False when it may not be one."""
        ...
