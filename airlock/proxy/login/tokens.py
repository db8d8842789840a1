"""The tokens of one login: a private file in the state directory, shared by all processes of this user."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any, Final

from airlock.config import OAuthConfig, ProviderConfig
from airlock.errors import UpstreamError
from airlock.home.private import private_folder, read_private, state_dir, write_private
from airlock.values import dataclass

LOCK_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What one login gave, and how it is renewed. Nothing secret in it prints. Times are ms; 0: never."""

    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    scope: str = ""
    renew_at: int = 0
    expires_at: int = 0
    issuer: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    resource: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    auth_method: str = ""
    registration: dict[str, Any] = field(default_factory=dict, repr=False)

    def good(self, now: int) -> bool:
        """True while its token can be sent without asking for another."""
        return bool(self.access_token) and (not self.renew_at or now < self.renew_at)

    def usable(self, now: int) -> bool:
        """True while its token has not run out."""
        return bool(self.access_token) and (not self.expires_at or now < self.expires_at)


class TokenFile:
    """Where the login of one provider is kept: bound to its name, its address and its client."""

    def __init__(self, provider: ProviderConfig, folder: Path | None = None) -> None:
        asked = provider.oauth or OAuthConfig()
        bound = [provider.name, provider.endpoint, asked.client_id, asked.token_url, asked.scope]
        self._mark = hashlib.sha256(json.dumps(bound).encode()).hexdigest()[:32]
        base = state_dir() if folder is None else folder
        self.path = private_folder(base / "logins") / f"{provider.name}-{self._mark[:16]}.json"
        self._url = provider.url

    def read(self) -> Login | None:
        """The login; None when there is none, or none that belongs to this provider as it is now."""
        try:
            found = json.loads(read_private(self.path))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.pop("bound_to", None) != self._mark:
            return None
        known = {one.name for one in fields(Login)}
        try:
            return Login(**{name: value for name, value in found.items() if name in known})
        except TypeError:
            return None

    def write(self, login: Login) -> None:
        """Keep this login, mode 0600; StoreError when that cannot be."""
        write_private(self.path, json.dumps({"bound_to": self._mark, "url": self._url, **asdict(login)}))

    def remove(self) -> bool:
        """Forget it; True when there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """One process at a time renews: a refresh token that is used twice may end the login."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        try:
            await _acquire(descriptor)
            yield
        finally:
            os.close(descriptor)


async def _acquire(descriptor: int) -> None:
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise UpstreamError("another process has been renewing its login for too long") from None
