"""`airlock approve`, `deny`, `undo`, `pause`, `resume`: a person's answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import click

from airlock.cli.authority import PIN_OPTION, confirmed, decider
from airlock.cli.exits import Exit, exit_of
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.lines import Line, line, span
from airlock.cli.places import Places, open_places
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.cli.show import STATUS_TONE, scope_of
from airlock.durations import milliseconds
from airlock.errors import AirlockError, UsageError
from airlock.model import ApprovalRequest, Resolution, Status
from airlock.values import dataclass
from airlock.views import answer_shape
from airlock.visible import bounded

VIA = "command"
"""How history calls this road to an answer."""

Answer = Callable[[Places, str], Awaitable[ApprovalRequest]]


def duration(_: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """A duration option in milliseconds."""
    if value is None:
        return None
    try:
        length = milliseconds(value)
    except ValueError as error:
        raise UsageError(f"{option.opts[0]}: {error}") from None
    if length <= 0:
        raise UsageError(f"{option.opts[0]}: `{value}` is no time at all")
    return length


@click.command(
    cls=Command,
    example='airlock approve K7QF2M --note "ok for today"\nairlock approve K7QF2M --for 10m\n'
    "airlock approve K7QF2M X3PP9A",
)
@click.argument("codes", nargs=-1, required=True, metavar="CODE…")
@click.option("--note", default="", metavar="TEXT", help="Kept with the answer.")
@click.option(
    "--for", "for_", callback=duration, metavar="TIME", help="Also grant the same call that long (10m)."
)
@click.option("--any-args", is_flag=True, help="Widen --for to any arguments of that tool.")
@click.option("--yes", is_flag=True, help="Give the grant of --any-args without asking once more.")
@PIN_OPTION
def approve(
    *, codes: tuple[str, ...], note: str, for_: int | None, any_args: bool, yes: bool, pin_stdin: bool
) -> int:
    """Let waiting calls run, by code or id."""
    if any_args and for_ is None:
        raise UsageError("`--any-args` widens a grant: say how long with `--for 10m`")
    identity = decider(pin_stdin=pin_stdin)
    resolution = Resolution(
        approve=True, identity=identity, via=VIA, note=note, grant_ms=for_, any_args=any_args
    )
    return wait_for(_decide(here(), codes, resolution, yes=yes))


@click.command(
    cls=Command,
    example='airlock deny K7QF2M --reason "not on main"\nairlock deny --all --agent claude-code',
)
@click.argument("codes", nargs=-1, metavar="[CODE…]")
@click.option("--reason", default="", metavar="TEXT", help="Told to the agent.")
@click.option("--all", "everything", is_flag=True, help="Everything that waits of the --agent.")
@click.option("--agent", default="", metavar="NAME", help="Whose questions --all denies.")
@PIN_OPTION
def deny(*, codes: tuple[str, ...], reason: str, everything: bool, agent: str, pin_stdin: bool) -> int:
    """Refuse waiting calls, by code or id."""
    if everything == bool(codes) or everything != bool(agent):
        raise UsageError("name the codes, or `--all --agent NAME`")
    identity = decider(pin_stdin=pin_stdin)
    resolution = Resolution(approve=False, identity=identity, via=VIA, note=reason)
    return wait_for(_decide(here(), codes, resolution, agent=agent))


@click.command(cls=Command, example="airlock undo K7QF2M")
@click.argument("code")
@PIN_OPTION
def undo(code: str, pin_stdin: bool) -> int:
    """Take back an approval that no call has used yet, and the grant given with it."""
    identity = decider(pin_stdin=pin_stdin)

    async def take_back(places: Places, reference: str) -> ApprovalRequest:
        runtime, request = await places.find(reference)
        return await runtime.gate.undo(request.id, identity)

    return wait_for(_answer(here(), (code,), take_back))


async def _decide(
    frame: Frame, codes: tuple[str, ...], resolution: Resolution, *, agent: str = "", yes: bool = False
) -> int:
    return await _answer(frame, codes, partial(_resolve, resolution=resolution, yes=yes), agent=agent)


async def _resolve(
    places: Places, reference: str, *, resolution: Resolution, yes: bool = False
) -> ApprovalRequest:
    runtime, request = await places.find(reference)
    if resolution.grant_ms and request.status is Status.PENDING:
        _show_scope(request, resolution, yes=yes)
    return await runtime.gate.resolve(request.id, resolution)


def _show_scope(request: ApprovalRequest, resolution: Resolution, *, yes: bool) -> None:
    """A grant says what it covers and when it ends before it is given; a wide one asks (decisions.md 28)."""
    complain(scope_of(request, resolution.grant_ms or 0, any_args=resolution.any_args))
    if resolution.any_args and not yes and not confirmed("grant this?"):
        raise UsageError("nothing was granted: confirm on a terminal, or with `--yes`")


@dataclass(slots=True)
class _Answers:
    """What came of each code, and the exit code and the words of the first that failed."""

    done: list[ApprovalRequest]
    code: int = Exit.DONE
    error: str = ""

    def failed(self, error: AirlockError) -> None:
        complain(str(error))
        self.code, self.error = self.code or exit_of(error), self.error or str(error)


async def _answer(frame: Frame, codes: Iterable[str], answer: Answer, *, agent: str = "") -> int:
    answers = _Answers([])
    async with open_places(frame, everywhere=agent != "") as places:
        references = [row.id for row in await places.pending(agent)] if agent else list(dict.fromkeys(codes))
        if not references and (unknown := places.unknown(agent)):
            raise UsageError(f"nothing is denied: {unknown}")
        for reference in references:
            try:
                answers.done.append(await answer(places, reference))
            except AirlockError as error:
                answers.failed(error)
    if frame.json:
        shapes = [answer_shape(row) for row in answers.done]
        failed = {"ok": False, "error": answers.error}
        put_json(shapes if agent or len(references) > 1 else shapes[0] if shapes else failed)
    else:
        put_lines(_said(row) for row in answers.done)
        if agent and not references:
            put("nothing waits")
    return answers.code


def _said(row: ApprovalRequest) -> Line:
    word = span(str(row.status), STATUS_TONE[row.status])
    still = ""
    if row.status is Status.PENDING:
        yes = sum(vote.approve for vote in row.votes)
        still = f", {yes} of {row.quorum} have said yes"
    return line(f"{row.code} ", word, f"{still}: {bounded(row.tool, 200)} of {bounded(row.agent, 80)}")


@click.command(cls=Command, example="airlock pause\nairlock pause --agent claude-code")
@click.option("--agent", default="", metavar="NAME", help="Only this agent; without it, all of them.")
@PIN_OPTION
def pause(agent: str, pin_stdin: bool) -> None:
    """Deny everything on every road, from this moment, until `airlock resume`."""
    wait_for(_switch(here(), agent, decider(pin_stdin=pin_stdin), paused=True))


@click.command(cls=Command, example="airlock resume")
@click.option("--agent", default="", metavar="NAME", help="Only this agent's own pause.")
@PIN_OPTION
def resume(agent: str, pin_stdin: bool) -> None:
    """Lift a pause."""
    wait_for(_switch(here(), agent, decider(pin_stdin=pin_stdin), paused=False))


async def _switch(frame: Frame, agent: str, identity: str, *, paused: bool) -> None:
    async with open_places(frame, everywhere=True) as places:
        # A pause of a name that is mistyped would stop nobody, while its person believes that it does.
        if paused and (unknown := places.unknown(agent)):
            raise UsageError(f"nothing is paused: {unknown}")
        for runtime in await places.runtimes():
            switch = runtime.gate.pause if paused else runtime.gate.resume
            await switch(agent, identity)
        count = len(places.databases)
    who = f"`{bounded(agent, 80)}`" if agent else "every agent"
    if frame.json:
        put_json({"ok": True, "paused": paused, "agent": agent or None, "databases": count})
    elif paused:
        put(f"{who} is paused: everything is denied until `airlock resume`")
    else:
        put(f"{who} goes on")
