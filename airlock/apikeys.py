"""API keys for programs: made here, stored as a digest, shown once (decisions.md 1).

A key is a prefix and 256 random bits: `alk_` for Airlock's own, another for each sister API, whose clients
look at it. Nothing here reads a database: `ports_keys.KeyStore` keeps them.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum

from airlock.errors import UsageError
from airlock.values import dataclass

PREFIXES = {"": "alk_", "agentgate": "agk_", "sidclaw": "ai_", "firewall": "aaf_", "harp": "airpat_"}
"""What a key begins with, by the API that it was made for ("" is Airlock's own)."""

HEX = frozenset({"sidclaw"})
"""Whose keys are written in hexadecimal digits."""

_SHAPE = re.compile(r"(?:(?:alk|agk|aaf|airpat)_[A-Za-z0-9_-]{43}|ai_[0-9a-f]{64})\Z")
_ID_LETTERS = "23456789abcdefghjkmnpqrstvwxyz"


class Scope(StrEnum):
    """What a key may do; `admin` is all of it. Those after it are of the sister APIs."""

    READ = "read"
    AUDIT_READ = "audit:read"
    APPROVALS_DECIDE = "approvals:decide"
    HOOK = "hook"
    MCP = "mcp"
    POLICY_WRITE = "policy:write"
    KEYS_MANAGE = "keys:manage"
    ADMIN = "admin"
    REQUEST_CREATE = "request:create"
    REQUEST_READ = "request:read"
    REQUEST_DECIDE = "request:decide"
    WEBHOOK_MANAGE = "webhook:manage"
    EVALUATE = "evaluate"
    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    AGENTS_LIFECYCLE = "agents:lifecycle"
    POLICIES_READ = "policies:read"
    POLICIES_WRITE = "policies:write"
    TRACES_READ = "traces:read"
    TRACES_WRITE = "traces:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WRITE = "approvals:write"
    ACTIONS_READ = "actions:read"
    ACTIONS_WRITE = "actions:write"


ALL_SCOPES = frozenset(Scope)
ADMIN_OF_FIREWALL = "admin:*"
"""How the Agent Action Firewall writes `admin`."""
OWN_SCOPES = tuple(Scope)[: tuple(Scope).index(Scope.ADMIN) + 1]
"""The scopes of Airlock's own API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key as it is kept: never the key itself. `rate` is requests a minute, None the usual limit.

    `agent` binds it: then it speaks for that agent only and decides nothing, whatever its scopes say.
    `face` is the API that it was made for, which gave it its prefix; `owner` is who answers for it.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    agent: str = ""
    rate: int | None = None
    created_at: int
    created_by: str
    revoked_at: int | None = None
    face: str = ""
    owner: str = ""
    expires_at: int | None = None

    def works(self, now: int) -> bool:
        """True while it was neither ended nor is past its end."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def identity(self) -> str:
        """How votes and the audit name whoever holds it."""
        return f"key:{self.id}"


def make_key(face: str = "") -> str:
    """A new key for that API: 256 bits from the system's generator."""
    return PREFIXES[face] + (secrets.token_hex(32) if face in HEX else secrets.token_urlsafe(32))


def make_key_id() -> str:
    """A new id, short enough to be written under `people:`; random, so that it never names another key."""
    return "k" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))


def digest(key: str) -> str:
    """What is stored in place of a key. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def looks_like_key(text: str) -> bool:
    """True when this has the shape of a key: only then is the database asked."""
    return _SHAPE.match(text) is not None


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes with these names, commas allowed; UsageError names the unknown one and the nearest."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    names = [Scope.ADMIN if name == ADMIN_OF_FIREWALL else name for name in names]
    if not names:
        raise UsageError(f"a key needs a scope: one of {', '.join(Scope)}")
    for name in names:
        if name not in ALL_SCOPES:
            near = difflib.get_close_matches(name, list(Scope), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(Scope)}"
            raise UsageError(f"unknown scope `{name}`: {hint}")
    return frozenset(map(Scope, names))
