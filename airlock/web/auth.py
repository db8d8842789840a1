"""Who is asking over HTTP: the people's secret, an API key, an agent's token, or nobody (decisions.md 1-4).

A credential that is bound to an agent fixes the agent and decides nothing, whatever its scopes say.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable

from airlock import apikeys
from airlock.apikeys import ALL_SCOPES, ApiKey, Scope
from airlock.config import Config
from airlock.errors import StoreError
from airlock.limits import SlidingLimits
from airlock.ports import Clock
from airlock.ports_keys import KeyStore
from airlock.values import dataclass
from airlock.web.errors import HttpError

log = logging.getLogger(__name__)

SECRET = "secret"  # noqa: S105 - the name of an identity
OPEN = "open"
AGENT_SCOPES = frozenset({Scope.HOOK, Scope.MCP})
GUESSES_PER_MINUTE = 60
MAX_TOKEN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who asks. `identity` is `secret`, `key:ID`, `agent:NAME`, or `open` where no secret is set."""

    identity: str
    scopes: frozenset[Scope]
    agent: str = ""
    rate: int | None = None
    key: ApiKey | None = None

    @property
    def bound(self) -> bool:
        """True when it speaks for one agent: then it may not decide anything."""
        return bool(self.agent)

    def holds(self, scopes: Iterable[Scope]) -> bool:
        """True when it has one of these scopes."""
        return Scope.ADMIN in self.scopes or any(scope in self.scopes for scope in scopes)


@dataclass(frozen=True, slots=True)
class _Digests:
    """What a config's credentials look like once hashed: comparing digests leaks nothing of them."""

    config: Config
    secret: bytes | None
    tokens: tuple[tuple[str, bytes], ...]


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Authenticator:
    """Tells who holds a bearer. It reads the config anew, so a reload changes secrets at once."""

    def __init__(self, config: Callable[[], Config], keys: KeyStore | None, clock: Clock) -> None:
        self._config = config
        self._keys = keys
        self._clock = clock
        self._guesses = SlidingLimits()
        self._known: _Digests | None = None

    async def identify(self, headers: Iterable[str], address: str) -> Credential | None:
        """The credential in the `Authorization` headers; None when there is none or it is wrong.

        Without a secret everything is open (loopback only: the gateway refuses to start elsewhere).
        HttpError 429 when this address has guessed too often; keys cannot be guessed and always work.
        """
        token = bearer(headers)
        digests = self._digests()
        if token is not None:
            known = await self._key(token) or self._compared(token, digests, address)
            if known is not None:
                return known
        return self._nobody() if digests.secret is None else None

    def deaf(self, address: str) -> bool:
        """True when this address has guessed too often: then it is refused, right or wrong."""
        return self._guesses.full(address, GUESSES_PER_MINUTE, self._clock()) is not None

    def still(self, credential: Credential) -> bool:
        """True while this config gives it to who showed it. A key is looked up each time.

        It may have been ended, or become another, by any process. False also when that cannot be told now.
        """
        key = credential.key
        if key is None:
            return True
        if self._keys is None:
            return False
        try:
            found = self._keys.key_now(key.digest)
        except StoreError:
            return False
        return found == key and key.works(self._clock())

    def token_agents(self) -> frozenset[str]:
        """The agents that accept only their own token."""
        return frozenset(name for name, _ in self._digests().tokens)

    def _nobody(self) -> Credential:
        return Credential(identity=OPEN, scopes=ALL_SCOPES)

    async def _key(self, token: str) -> Credential | None:
        if self._keys is None or not apikeys.looks_like_key(token):
            return None
        key = await self._keys.key_by_digest(apikeys.digest(token))
        if key is None or not key.works(self._clock()):
            return None
        return Credential(identity=key.identity, scopes=key.scopes, agent=key.agent, rate=key.rate, key=key)

    def _compared(self, token: str, digests: _Digests, address: str) -> Credential | None:
        too_often = self._guesses.full(address, GUESSES_PER_MINUTE, self._clock())
        if too_often is not None:
            raise HttpError(
                429,
                "too many wrong credentials from this address",
                headers=retry_after(too_often.retry_ms, self._clock()),
            )
        presented = _sha256(token)
        found: Credential | None = None
        # Every digest is compared, whichever matches: the time says nothing about where.
        for name, expected in digests.tokens:
            if hmac.compare_digest(presented, expected):
                found = Credential(identity=f"agent:{name}", scopes=AGENT_SCOPES, agent=name)
        if digests.secret is not None and hmac.compare_digest(presented, digests.secret):
            found = found or Credential(identity=SECRET, scopes=ALL_SCOPES)
        if found is None:
            self._guesses.take(address, GUESSES_PER_MINUTE, self._clock())
        return found

    def _digests(self) -> _Digests:
        config = self._config()
        if self._known is None or self._known.config is not config:
            secret = config.server.api_secret
            self._known = _Digests(
                config,
                _sha256(secret.reveal()) if secret else None,
                tuple(
                    (agent.name, _sha256(agent.token.reveal()))
                    for agent in config.agents.values()
                    if agent.token
                ),
            )
        return self._known


def bearer(headers: Iterable[str]) -> str | None:
    """The token of the one `Authorization: Bearer …` header; None when absent, repeated or malformed."""
    sent = list(headers)
    if len(sent) != 1:
        return None
    scheme, _, token = sent[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN or not token.isprintable():
        return None
    return token


def retry_after(at_ms: int, now: int) -> dict[str, str]:
    """The header for a 429: whole seconds, at least one."""
    return {"Retry-After": str(max(1, -(-(at_ms - now) // 1000)))}
