"""The Agent Action Firewall's words: its statuses, risks and ids, and what they are here."""

from __future__ import annotations

import string
from urllib.parse import quote, unquote

from airlock.apikeys import Scope
from airlock.model import Effect, Risk, Status

FACE = "firewall"
HTTP_PROXY = "http_proxy"
"""The one tool that the gateway can run itself."""

RISKS = ("low", "medium", "high", "critical")
DECISIONS = {Effect.ALLOW: "allow", Effect.ASK: "require_approval", Effect.DENY: "deny"}
EFFECTS = {word: effect for effect, word in DECISIONS.items()}
ACTION_STATUSES = (
    "allowed",
    "denied",
    "pending_approval",
    "succeeded",
    "failed",
    "expired",
    "cancelled",
)
AT_ONCE = {Effect.ALLOW: "allowed", Effect.ASK: "pending_approval", Effect.DENY: "denied"}
"""What an action is as soon as it was submitted."""
APPROVAL_STATUSES = ("pending", "approved", "denied", "expired")

WRITE_ACTIONS = frozenset({Scope.ACTIONS_WRITE})
READ_ACTIONS = frozenset({Scope.ACTIONS_READ, Scope.ACTIONS_WRITE})
READ_APPROVALS = frozenset({Scope.APPROVALS_READ, Scope.APPROVALS_WRITE, Scope.APPROVALS_DECIDE, Scope.READ})
DECIDE = frozenset({Scope.APPROVALS_WRITE, Scope.APPROVALS_DECIDE})
READ_POLICIES = frozenset({Scope.POLICIES_READ, Scope.POLICIES_WRITE, Scope.POLICY_WRITE})
WRITE_POLICIES = frozenset({Scope.POLICIES_WRITE, Scope.POLICY_WRITE})
READ_AUDIT = frozenset({Scope.AUDIT_READ})
ACTIONS_PER_MINUTE = 100
ADMIN_PER_MINUTE = 50
MOST_LOOKED_AT = 10_000
"""A list, and its total, are of the newest so many of all roads."""

_APPROVAL = {
    Status.PENDING: "pending",
    Status.APPROVED: "approved",
    Status.USED: "approved",
    Status.DENIED: "denied",
    Status.EXPIRED: "expired",
}
STORED = {
    "pending": frozenset({Status.PENDING}),
    "approved": frozenset({Status.APPROVED, Status.USED}),
    "denied": frozenset({Status.DENIED, Status.CANCELLED}),
    "expired": frozenset({Status.PENDING, Status.APPROVED, Status.EXPIRED, Status.CANCELLED}),
}
"""The statuses of rows among which those of a word are: time may have passed since they were written."""

_SAFE = ":@+,="
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def approval_word(status: Status, *, taken_back: bool) -> str:
    """Our status as that of an approval: what was taken back is denied, what its caller withdrew is over."""
    if status is Status.CANCELLED:
        return "denied" if taken_back else "expired"
    return _APPROVAL[status]


def policy_name(tool: str, operation: str) -> str:
    """`TOOL/OPERATION`, each one segment, the operation in small letters: by its case nothing is evaded."""
    return f"{quote(tool, safe=_SAFE)}/{quote(operation.translate(_LOWER), safe=_SAFE)}"


def tool_and_operation(policy_tool: str) -> tuple[str, str]:
    """The tool and the operation behind a policy's name; of another road's call its provider and its name."""
    tool, _, operation = policy_tool.removeprefix(f"{FACE}/").partition("/")
    return unquote(tool), unquote(operation) or unquote(tool)


def risk_of(word: str) -> Risk:
    """In ours, where critical is high."""
    return Risk.HIGH if word == "critical" else Risk(word)


def graver(*words: str) -> str:
    """The gravest of some risks."""
    return max(words, key=RISKS.index)


def public_id(prefix: str, own: str) -> str:
    """An id as the page writes it: `act_…`."""
    return f"{prefix}_{own}"


def own_id(prefix: str, public: str) -> str:
    """The id behind it; the bare one is taken too."""
    return public.removeprefix(f"{prefix}_")
