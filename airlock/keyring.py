"""Making and ending API keys: the rules that the command and the REST route share, each act recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airlock.apikeys import ApiKey, Scope, digest, make_key, make_key_id
from airlock.errors import NoSuchRequest, NotPermitted, UsageError
from airlock.model import JsonObject
from airlock.ports import Clock, Draft, MakeId
from airlock.ports_keys import KeyStore
from airlock.views import iso

MOST_RATE = 1_000_000
NAME_LIMIT = 100
AGENTS_OWN = frozenset({Scope.HOOK, Scope.MCP, Scope.READ, Scope.AUDIT_READ})
"""What a key that is bound to an agent can be good for: it decides nothing, whatever it says."""


class Made(NamedTuple):
    """A new key, and its text: the only time that it is seen."""

    key: ApiKey
    text: str


class Wish(NamedTuple):
    """What somebody wants a key to be."""

    name: str
    scopes: frozenset[Scope]
    agent: str = ""
    rate: int | None = None

    def check(self, agents: Mapping[str, Any]) -> None:
        """UsageError when there should be no such key."""
        if not self.name.strip() or len(self.name) > NAME_LIMIT or not self.name.isprintable():
            raise UsageError(f"a key needs a name of at most {NAME_LIMIT} printing characters")
        if not self.scopes:
            raise UsageError(f"a key needs a scope: one of {', '.join(Scope)}")
        if self.agent and self.agent not in agents:
            raise UsageError(
                f"unknown agent `{self.agent[:64]}`: the config has {', '.join(agents) or 'none'}"
            )
        if self.rate is not None and not 1 <= self.rate <= MOST_RATE:
            raise UsageError(f"a rate is a number of requests a minute, from 1 to {MOST_RATE}")
        useless = self.scopes - AGENTS_OWN if self.agent else frozenset()
        if useless:
            names = ", ".join(f"`{scope}`" for scope in sorted(useless))
            raise UsageError(
                f"a key of an agent decides and changes nothing: {names} cannot be given with `agent`"
            )


class Keyring:
    """The keys of one database, with a line of history for each change."""

    def __init__(self, store: KeyStore, *, clock: Clock, make_id: MakeId) -> None:
        self._store = store
        self._clock = clock
        self._make_id = make_id

    async def create(self, wish: Wish, *, by: str, within: frozenset[Scope]) -> Made:
        """Keep a new key. NotPermitted for a scope that whoever asks does not hold (`within`)."""
        if Scope.ADMIN not in within and not wish.scopes <= within:
            beyond = ", ".join(f"`{scope}`" for scope in sorted(wish.scopes - within))
            raise NotPermitted(f"you cannot give a scope that you do not hold: {beyond}")
        text = make_key()
        key = ApiKey(
            id=make_key_id(),
            name=wish.name.strip(),
            digest=digest(text),
            scopes=wish.scopes,
            agent=wish.agent,
            rate=wish.rate,
            created_at=self._clock(),
            created_by=by,
        )
        await self._store.add_key(key, self._event("key.created", key, by))
        return Made(key, text)

    async def list(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        return await self._store.keys()

    async def revoke(self, key_id: str, *, by: str) -> ApiKey:
        """End a key at once; NoSuchRequest when there is none that still works."""
        found = next((key for key in await self._store.keys() if key.id == key_id), None)
        if found is not None and found.revoked_at is None:
            event = self._event("key.revoked", found, by)
            ended = await self._store.revoke_key(key_id, self._clock(), event)
            if ended is not None:
                return ended
        raise NoSuchRequest(f"no working key `{key_id[:64]}`: see `airlock keys list`")

    def _event(self, kind: str, key: ApiKey, by: str) -> Draft:
        body = {"key": key.id, "name": key.name, "scopes": sorted(key.scopes), "rate": key.rate, "by": by}
        return Draft(id=self._make_id(), kind=kind, at=self._clock(), agent=key.agent, body=body)


def key_shape(key: ApiKey) -> JsonObject:
    """One key in `GET /keys` and `airlock keys list --json`: never its digest."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "agent": key.agent or None,
        "rate": key.rate,
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "revoked_at": None if key.revoked_at is None else iso(key.revoked_at),
    }
