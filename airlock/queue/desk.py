"""The gate's other side, where people stand: decide, undo, pause, grant, and see what waits."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airlock import approval
from airlock.config import Config
from airlock.errors import AirlockError, AlreadySettled, Conflict, NoSuchRequest, NotPermitted, StoreBusy
from airlock.model import ApprovalRequest, Call, Grant, Pause, Refusal, Resolution, Status
from airlock.ports import Change, Clock, Draft, MakeId, Notifier, RequestFilter, Store
from airlock.queue.drafts import Scribe
from airlock.queue.endings import ATTEMPTS
from airlock.queue.lobby import Lobby

T = TypeVar("T")

log = logging.getLogger(__name__)


class Desk(ABC):
    """What people may do with the queue. Authority over the road (PIN, key, scope) is the face's to check."""

    def __init__(
        self,
        *,
        store: Store,
        config: Config,
        scribe: Scribe,
        lobby: Lobby,
        notifiers: Sequence[Notifier],
        clock: Clock,
        make_id: MakeId,
    ) -> None:
        self.config = config
        self.store = self._store = store
        self._scribe = scribe
        self._lobby = lobby
        self._notifiers = tuple(notifiers)
        self._clock = clock
        self._make_id = make_id
        self._tasks: set[asyncio.Task[None]] = set()

    async def resolve(self, reference: str, resolution: Resolution) -> ApprovalRequest:
        """Decide a request by code or id; the row as it is afterwards (still pending below the quorum).

        Raises NoSuchRequest, AlreadySettled or NotPermitted.
        """
        for _ in range(ATTEMPTS):
            request = await self._found(reference)
            settled = approval.resolve(
                request,
                resolution,
                people=self.config.people,
                now=self._clock(),
                grant_id=self._make_id(),
            )
            try:
                await self._store.commit(self._change(settled, resolution))
            except Conflict:
                continue
            self._lobby.wake((settled.request,))
            if settled.request.status is not Status.PENDING:
                self._tell(settled.request, opened=False)
            return settled.request
        raise StoreBusy(f"request `{reference}` changes too fast to be decided: try again")

    def _change(self, settled: approval.Settled, resolution: Resolution) -> Change:
        request = settled.request
        kind = "request.voted" if settled.missing else f"request.{request.status}"
        said: dict[str, Any] = {"voter": resolution.identity, "missing": settled.missing}
        if resolution.via:
            said["via"] = resolution.via
        events: list[Draft] = [self._scribe.request(kind, request, **said)]
        grants: tuple[Grant, ...] = ()
        if settled.grant is not None:
            grants = (settled.grant,)
            events.append(self._scribe.grant("grant.made", settled.grant, resolution.identity))
        return Change(
            events=tuple(events),
            requests=(request,),
            votes=((request.id, settled.vote),),
            grants=grants,
        )

    async def undo(self, reference: str, identity: str) -> ApprovalRequest:
        """Take back an approval that nobody has spent, and the grants that came with it."""
        _check_person(identity)
        for _ in range(ATTEMPTS):
            request = await self._found(reference)
            now = self._clock()
            status = approval.status_at(request, now)
            if status is not Status.APPROVED:
                raise AlreadySettled(f"request `{request.code}` is {status}: nothing to undo", status=status)
            back = approval.ended(request, Status.CANCELLED, now, by=identity, note="approval taken back")
            ended = [
                _ended(grant, now) for grant in await self._store.grants() if grant.request_id == request.id
            ]
            events = [self._scribe.request("request.undone", back)]
            events += [self._scribe.grant("grant.ended", grant, identity) for grant in ended]
            try:
                await self._store.commit(Change(events=tuple(events), requests=(back,), grants=tuple(ended)))
            except Conflict:
                continue
            self._lobby.wake((back,))
            return back
        raise StoreBusy(f"request `{reference}` changes too fast: try again")

    async def pending(self, agent: str = "") -> list[ApprovalRequest]:
        """What waits for a person now, oldest first."""
        now = self._clock()
        rows = await self._store.requests(RequestFilter(live_only=True, agent=agent, limit=10_000))
        return [row for row in rows if approval.status_at(row, now) is Status.PENDING]

    async def request(self, reference: str) -> ApprovalRequest:
        """One request by code or id, with the status that counts now; NoSuchRequest when there is none."""
        return approval.current(await self._found(reference), self._clock())

    async def _found(self, reference: str) -> ApprovalRequest:
        request = await self._store.find(reference.strip())
        if request is None:
            raise NoSuchRequest(f"no request `{reference[:64]}`: see `airlock pending`")
        return request

    def masked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as anyone but the upstream may see them: secrets masked by `audit.redact_fields`."""
        return self._scribe.masked(values)

    def scrubbed(self, value: T, call: Call) -> T:
        """What somebody says who saw a call's arguments, without the secrets of theirs that it repeats."""
        return self._scribe.scrubbed(value, call, self.hidden(call))

    async def grants(self) -> list[Grant]:
        """The grants that stand now, newest first."""
        now = self._clock()
        return [one for one in await self._store.grants() if one.ended_at is None and now < one.expires_at]

    async def revoke(self, grant_id: str, identity: str) -> Grant:
        """End a grant at once, for every process; its id may be shortened while it stays unique."""
        _check_person(identity)
        found = [one for one in await self.grants() if grant_id and one.id.startswith(grant_id)]
        if len(found) != 1:
            what = "no grant" if not found else "more than one grant"
            raise NoSuchRequest(f"{what} `{grant_id[:64]}`: see `airlock grants`")
        ended = _ended(found[0], self._clock())
        event = self._scribe.grant("grant.ended", ended, identity)
        await self._store.commit(Change(events=(event,), grants=(ended,)))
        return ended

    async def pause(self, agent: str, identity: str) -> None:
        """Deny everything of one agent, or (with "") of all, on every road, from now on."""
        _check_person(identity)
        event = self._scribe.note("pause.set", {"by": identity}, agent=agent)
        await self._store.commit(
            Change(events=(event,), pauses=(Pause(agent=agent, by=identity, at=self._clock()),))
        )

    async def resume(self, agent: str, identity: str) -> None:
        """Lift a pause: an agent's own, or with "" everyone's and every agent's."""
        _check_person(identity)
        controls = await self._store.controls()
        lifted = (agent,) if agent else tuple({"", *(pause.agent for pause in controls.pauses)})
        event = self._scribe.note("pause.lifted", {"by": identity}, agent=agent)
        await self._store.commit(Change(events=(event,), resumes=lifted))

    @abstractmethod
    def hidden(self, call: Call) -> frozenset[str]:
        """The paths in a call's arguments that nobody may see; the Counter asks the policy."""

    async def reject(self, call: Call, reason: str) -> None:
        """Record a call that never reached the policy, because nothing of that name can be called."""
        await self._note(self._scribe.refused(call, Refusal.POLICY, reason, hidden=self.hidden(call)))

    async def remark(self, kind: str, body: Mapping[str, Any], *, agent: str = "") -> None:
        """Record something that is about no call."""
        await self._note(self._scribe.note(kind, body, agent=agent))

    async def _note(self, draft: Draft) -> None:
        try:
            await self._store.record([draft])
        except AirlockError as problem:
            log.warning("`%s` could not be recorded: %s", draft.kind, problem)

    def _tell(self, request: ApprovalRequest, *, opened: bool) -> None:
        for notifier in self._notifiers:
            self._spawn(_tell_one(notifier, request, opened=opened))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish what runs beside the calls: seats that are given up, people who are told."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3)
        for task in self._tasks:
            task.cancel()
        await self._lobby.close()


async def _tell_one(notifier: Notifier, request: ApprovalRequest, *, opened: bool) -> None:
    try:
        await (notifier.opened(request) if opened else notifier.settled(request))
    except Exception:
        # A notifier's edge: people may miss a message, a verdict never depends on one.
        log.exception("a notifier failed")


def _ended(grant: Grant, now: int) -> Grant:
    return replace(grant, ended_at=now)


def _check_person(identity: str) -> None:
    if not identity or identity.startswith("agent:"):
        raise NotPermitted("an agent cannot do that")
