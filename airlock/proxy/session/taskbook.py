"""The tasks that a process has handed out (SEP-2663), whichever session they belong to.

A task id is no secret that opens anything: it is bound to its principal. It carries a mark of ours, so that
one from before a restart is told from one that never was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from airlock.canonical import encode
from airlock.errors import WireError
from airlock.ids import now_ms
from airlock.model import JsonObject, Principal, Proceed
from airlock.proxy.link import Upstream
from airlock.values import dataclass
from airlock.views import iso

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.proxy.session.tasks import Tasks

MAX_TASKS: Final = 1_000
"""Tasks that are kept for one principal; then the oldest that has ended makes room, else none is made."""

MAX_BYTES: Final = 32 * 1024 * 1024
"""What the ends of one principal's tasks may weigh together; the oldest go, the newest is always kept."""

KEPT_MS: Final = 3_600_000
"""How long a task is kept from its beginning: far longer than a person may take, and its end with it."""

POLL_MS: Final = 1_000

ENDED: Final = frozenset({"completed", "failed", "cancelled"})

Watcher = Callable[["Task"], None]


@dataclass(slots=True, kw_only=True)
class Relay:
    """The upstream's own task behind one of ours."""

    upstream: Upstream
    id: str
    provider: str
    proceed: Proceed | None
    listening: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One task. `fields` are what the wire shows beside `more`: its result, its error or what it asks."""

    id: str
    principal: Principal
    owner: Tasks
    fields: JsonObject
    status: str = "working"
    more: JsonObject = field(default_factory=dict)
    relay: Relay | None = None
    size: int = 0
    polled_at: int = field(default_factory=now_ms)
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """True when nothing more will become of it."""
        return self.status in ENDED

    def enter(self, status: str, **more: Any) -> None:
        """Go on to another status, and tell who watches."""
        self.status = status
        self.more = more
        self.fields = {**self.fields, "lastUpdatedAt": iso(now_ms())}
        self.fields.pop("statusMessage", None)
        for watcher in tuple(self.watchers):
            watcher(self)

    def created(self) -> JsonObject:
        """The result that names it to the client."""
        return {"resultType": "task", "taskId": self.id, "status": self.status, **self.fields}

    def shown(self) -> JsonObject:
        """What `tasks/get` and `notifications/tasks` say of it."""
        return {"taskId": self.id, "status": self.status, **self.fields, **self.more}


class TaskBook:
    """All tasks of this process."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._tasks: dict[str, Task] = {}

    def begin(self, owner: Tasks, principal: Principal, message: str = "") -> Task | None:
        """A new task; None when this principal has too many that have not ended."""
        if not self._room(principal):
            return None
        now = now_ms()
        number = f"{now:x}-{secrets.token_hex(12)}"
        fields: JsonObject = {"createdAt": iso(now), "lastUpdatedAt": iso(now), "ttlMs": KEPT_MS}
        fields["pollIntervalMs"] = POLL_MS
        if message:
            fields["statusMessage"] = message
        task = Task(
            id=f"{number}-{self._mark(number, principal)}", principal=principal, owner=owner, fields=fields
        )
        self._tasks[task.id] = task
        task.watchers.append(self._weigh)
        return task

    def _weigh(self, task: Task) -> None:
        """A task ended: its end is kept, and older ones go when that is too much."""
        if not task.ended:
            return
        task.size = _size(task.more)
        own = [one for one in self._tasks.values() if one.principal == task.principal and one.ended]
        total = sum(one.size for one in own)
        for one in own:
            if total <= MAX_BYTES or one is task:
                break
            total -= one.size
            del self._tasks[one.id]

    def _mark(self, number: str, principal: Principal) -> str:
        return self._gate.vouch(f"task {number} {principal.name} {principal.identity}")[:32]

    def _room(self, principal: Principal) -> bool:
        self._sweep()
        own = [task for task in self._tasks.values() if task.principal == principal]
        if len(own) < MAX_TASKS:
            return True
        oldest = next((task for task in own if task.ended), None)
        if oldest is not None:
            del self._tasks[oldest.id]
        return oldest is not None

    def _sweep(self) -> None:
        oldest = now_ms() - KEPT_MS
        for task in list(self._tasks.values()):
            if int(task.id.partition("-")[0], 16) >= oldest:
                break  # they stand in the order of their beginning
            if task.ended:
                del self._tasks[task.id]

    def find(self, task_id: str, principal: Principal) -> Task | None:
        """The task of this id, if it is this principal's."""
        task = self._tasks.get(task_id)
        return task if task is not None and task.principal == principal else None

    def gone(self, task_id: str, principal: Principal) -> bool:
        """True for an id that was given to this principal, by whichever process."""
        number, _, mark = task_id.rpartition("-")
        return secrets.compare_digest(mark.encode(), self._mark(number, principal).encode())

    def of(self, owner: Tasks) -> list[Task]:
        """The tasks of one session that have not ended."""
        return [task for task in self._tasks.values() if task.owner is owner and not task.ended]


def _size(value: JsonObject) -> int:
    try:
        return len(encode(value))
    except WireError:  # it cannot be sent either: whoever asks for it gets an error
        return 0
