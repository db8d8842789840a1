"""Making and ending API keys: the rules that the command and the REST route share, each act recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from airlock.apikeys import PREFIXES, ApiKey, Scope, digest, make_key, make_key_id
from airlock.errors import NoSuchRequest, NotPermitted, UsageError
from airlock.model import JsonObject
from airlock.ports import Clock, Draft, MakeId
from airlock.ports_keys import KeyStore
from airlock.views import iso

MOST_RATE = 1_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._@:/+-]{0,99}$"
"""What a key may be called: it stands in terminals, logs and chats."""
AGENTS_OWN = frozenset(
    {
        Scope.HOOK,
        Scope.MCP,
        Scope.READ,
        Scope.AUDIT_READ,
        Scope.REQUEST_CREATE,
        Scope.REQUEST_READ,
        Scope.EVALUATE,
        Scope.TRACES_READ,
        Scope.TRACES_WRITE,
        Scope.ACTIONS_READ,
        Scope.ACTIONS_WRITE,
    }
)
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
    face: str = ""
    owner: str = ""
    expires_at: int | None = None

    def check(self, agents: Mapping[str, Any]) -> None:
        """UsageError when there should be no such key."""
        if not re.match(NAME, self.name) or self.name.endswith("\n"):
            raise UsageError("a key needs a name: at most 100 plain letters, digits, blanks and `._@:/+-`")
        if not self.scopes:
            raise UsageError(f"a key needs a scope: one of {', '.join(Scope)}")
        if self.agent and self.agent not in agents:
            raise UsageError(
                f"unknown agent `{self.agent[:64]}`: the config has {', '.join(agents) or 'none'}"
            )
        if self.face not in PREFIXES:
            raise UsageError(f"unknown API `{self.face[:64]}`: one of {', '.join(filter(None, PREFIXES))}")
        if self.owner and not re.match(NAME, self.owner):
            raise UsageError("an owner is a name of at most 100 letters, digits and ` ._@:/+-`")
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
        text = make_key(wish.face)
        key = ApiKey(
            id=make_key_id(),
            name=wish.name,
            digest=digest(text),
            scopes=wish.scopes,
            agent=wish.agent,
            rate=wish.rate,
            created_at=self._clock(),
            created_by=by,
            face=wish.face,
            owner=wish.owner.strip(),
            expires_at=wish.expires_at,
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
        body |= {"face": key.face} if key.face else {}
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
        "face": key.face or None,
        "owner": key.owner or None,
        "expires_at": None if key.expires_at is None else iso(key.expires_at),
    }
