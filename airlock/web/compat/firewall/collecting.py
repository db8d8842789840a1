"""When whoever submitted an action comes back for it: a yes is spent, and what it is good for begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.errors import UsageError
from airlock.model import Outcome, Status
from airlock.outgoing import Outgoing
from airlock.ports import AuditFilter
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, collect, known_arguments, report
from airlock.web.compat.firewall.opinions import Action
from airlock.web.compat.firewall.ruling import ruling
from airlock.web.compat.firewall.running import begin, claimed, lost, mark_of, place, plan, runner, started_at
from airlock.web.compat.firewall.seeing import found
from airlock.web.compat.firewall.submitted import action_of
from airlock.web.errors import HttpError

if TYPE_CHECKING:
    from airlock.web.services import Services

UNKNOWN = "the gateway ended while the request was made: nobody knows whether it arrived"
FORGOTTEN = "its params hold secrets, which only the gateway that took them knew: submit it again"
ANOTHER = "its params are not those that were submitted: submit it again"
SWITCHED_OFF = "the gateway makes no requests any more: submit it again"


async def collected(services: Services, who: Credential, kept: Kept) -> Kept:
    """The action for the one that submitted it. NotPermitted while everything is paused."""
    if kept.request is None or kept.request.status is not Status.APPROVED:
        return await _ended(services, who, kept)
    if "outcome" in kept.record.body:
        return kept
    action = action_of(kept, known_arguments(services, kept))
    if not kept.record.body.get("runs"):
        return await _spent(services, who, kept, action)
    try:
        wanted = _plan(services, kept, action)
    except UsageError as error:
        return await _failed(services, who, kept, Outcome.ERROR, str(error))
    with place(services, action.agent):
        after = await _spent(services, who, kept, action)
        if after.request is None or after.request.status is not Status.USED:
            return after
        mine = await claimed(services, after)
        if mine is not None:
            begin(services, who, mine, wanted, action)
            return mine
    return await found(services, "act", kept.record.id)


async def _spent(services: Services, who: Credential, kept: Kept, action: Action) -> Kept:
    overlay, _ = await ruling(services, action)
    return await collect(services, who, kept, overlay)


def _plan(services: Services, kept: Kept, action: Action) -> Outgoing:
    """The request, if it can be made here and now."""
    config, body = runner(services, action.tool), kept.record.body
    if config is None:
        raise UsageError(SWITCHED_OFF)
    if body["masked"] and services.holder.held(body["call"]) is None:
        raise UsageError(FORGOTTEN)
    if body.get("mark") != mark_of(services, action):
        raise UsageError(ANOTHER)
    return plan(action, config)


async def _ended(services: Services, who: Credential, kept: Kept) -> Kept:
    """Write down what nobody else will: that it began, and was lost."""
    request, started = kept.request, started_at(kept)
    if not kept.record.body.get("runs"):
        return kept
    if started is None and request is not None and request.status is Status.USED:
        events = await services.gate.store.events(wanted=AuditFilter(request=request.id))
        started = next((one.at for one in events if one.kind == "request.used"), None)
    if not lost(kept, started, services.clock()):
        return kept
    return await _failed(services, who, kept, Outcome.UNKNOWN, UNKNOWN)


async def _failed(services: Services, who: Credential, kept: Kept, outcome: Outcome, why: str) -> Kept:
    try:
        return await report(services, who, kept, outcome, {"error": why}, error=why)
    except HttpError:  # somebody was faster
        return await found(services, "act", kept.record.id)
