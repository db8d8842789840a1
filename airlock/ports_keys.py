"""Where API keys are kept, in the domain's words. The SQLite store implements it."""

from __future__ import annotations

from typing import Protocol

from airlock.apikeys import ApiKey
from airlock.ports import Draft


class KeyStore(Protocol):
    """The keys of one database. Every method raises StoreError when it cannot be used."""

    async def add_key(self, key: ApiKey, event: Draft) -> None:
        """Keep a new key and append its event, in one transaction."""
        ...

    async def key_by_digest(self, digest: str) -> ApiKey | None:
        """The key with this digest, revoked or not."""
        ...

    def key_now(self, digest: str) -> ApiKey | None:
        """The same, in one look in place; StoreBusy when that would have to wait."""
        ...

    async def keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        ...

    async def revoke_key(self, key_id: str, at: int, event: Draft) -> ApiKey | None:
        """End a key at once and append the event; None when there is no such key that still works."""
        ...
