"""Values for the store's tests: events, requests and grants with everything filled in, and a clock."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from airlock.model import ApprovalRequest, Grant, Kind, Status
from airlock.ports import Change, Draft, Store

START = 1_800_000_000_000
LIFE_MS = 15_000


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


OpenStore = Callable[[], Awaitable[Store]]
"""Opens the test's one database once more, as another process would."""

_numbers = itertools.count(1)


def new_id() -> str:
    return f"{next(_numbers):032x}"


def draft(kind: str = "call.allowed", *, at: int = START, call_id: str | None = None, **fields: Any) -> Draft:
    body = fields.pop("body", {"args": {"path": "a.txt"}, "effect": "allow", "rule": "r1"})
    given: dict[str, Any] = {"agent": "claude-code", "tool": "demo/echo", **fields}
    return Draft(id=new_id(), kind=kind, at=at, call_id=call_id or new_id(), body=body, **given)


def question(**fields: Any) -> ApprovalRequest:
    number = new_id()
    given: dict[str, Any] = {
        "id": number,
        "code": f"C{int(number, 16):05}",
        "fingerprint": f"print-{number}",
        "agent": "claude-code",
        "identity": "agent:claude-code",
        "kind": Kind.TOOL,
        "tool": "demo/write_note",
        "arguments": '{"text":"hello"}',
        "call_id": f"call-{number}",
        "created_at": START,
        "expires_at": START + 300_000,
        "grace_ms": 120_000,
        **fields,
    }
    return ApprovalRequest(**given)


def told(request: ApprovalRequest, kind: str = "request.opened", **body: Any) -> Draft:
    return draft(kind, call_id=request.call_id, request_id=request.id, tool=request.tool, body=body)


def opening(request: ApprovalRequest, **change: Any) -> Change:
    return Change(events=(told(request),), requests=(request,), **change)


def after(request: ApprovalRequest, status: Status, **fields: Any) -> ApprovalRequest:
    return replace(request, version=request.version + 1, status=status, **fields)


def grant(**fields: Any) -> Grant:
    given: dict[str, Any] = {
        "id": new_id(),
        "agent": "claude-code",
        "workspace": "/w/airlock.yaml",
        "tool": "demo/write_note",
        "fingerprint": "f" * 64,
        "rule": "r1",
        "rule_digest": "d1",
        "granted_by": "local:alice",
        "granted_at": START,
        "expires_at": START + 600_000,
        **fields,
    }
    return Grant(**given)


def bare(request: ApprovalRequest | None) -> ApprovalRequest | None:
    """The request without what the store adds to it."""
    return None if request is None else replace(request, seq=0, attended_at=None)


async def count_events(store: Store) -> int:
    return len(await store.events())
