"""What a person sees before deciding: one request in whole, so that nothing in it can hide or pretend.

Pure: requests in, lines out. Everything that an agent, a tool server or a file wrote stands behind a gutter
and went through `visible`; only Airlock's own words stand at the left edge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from airlock.approval import decidable_until
from airlock.cli.change import FileChange
from airlock.cli.lines import Line, Span, Tone, line, marked, span, text_of
from airlock.ids import now_ms
from airlock.model import ApprovalRequest, Kind, Risk, Status
from airlock.visible import bounded, visible, visible_lines

WHOLE = 64 * 1024
"""Arguments with more bytes than this are cut, and the cut is stated (decisions.md 30)."""

HEAD, TAIL = 32 * 1024, 16 * 1024
_BLANKS, _SPACES = 4, 48

UNATTENDED_MS = 15_000
"""A caller that was not heard of for three heartbeats is gone (decisions.md 24)."""

RISK_TONE = {Risk.LOW: Tone.DIM, Risk.MEDIUM: Tone.WARN, Risk.HIGH: Tone.BAD}
STATUS_TONE = {
    Status.PENDING: Tone.WARN,
    Status.APPROVED: Tone.GOOD,
    Status.USED: Tone.DIM,
    Status.DENIED: Tone.BAD,
    Status.EXPIRED: Tone.DIM,
    Status.CANCELLED: Tone.DIM,
}


def span_of(milliseconds: int) -> str:
    """A duration as people say it: `4m32s`, `2h05m`, `12s`."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02d}h"


def local_time(at: int) -> str:
    """A moment on the clock of the person who reads it, with the day when that is not today."""
    then = datetime.fromtimestamp(at / 1000).astimezone()
    today = then.date() == datetime.now().astimezone().date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def attended(request: ApprovalRequest, now: int) -> bool:
    """True while the caller still waits, or need not: then the question lives until it expires."""
    return request.kept or request.attended_at is None or now - request.attended_at < UNATTENDED_MS


def deadline(request: ApprovalRequest, now: int) -> int:
    """When the question ends if nobody answers and its caller stays as it is."""
    return request.expires_at if attended(request, now) else decidable_until(request)


def scope_of(request: ApprovalRequest, length: int, *, any_args: bool) -> str:
    """What a grant covers and when it ends, in one sentence."""
    covers = "any arguments" if any_args else "exactly these arguments"
    ends = local_time(now_ms() + length)
    tools = ", ".join(f"`{bounded(one, 160)}`" for one in dict.fromkeys((request.tool, *request.parts)))
    return (
        f"lets `{bounded(request.agent, 80)}` run {tools} with {covers} "
        f"in {bounded(request.origin.workspace, 300)} until {ends} ({span_of(length)})"
    )


def card(
    request: ApprovalRequest, now: int, *, full: bool = False, diffs: tuple[FileChange, ...] = ()
) -> list[Line]:
    """Everything about one request that a person needs to decide."""
    return [
        headline(request, now),
        *(_fact(label, value, tone) for label, value, tone in _facts(request, now) if value),
        *arguments(request, full=full, diffs=diffs),
    ]


def headline(request: ApprovalRequest, now: int) -> Line:
    """Code, what it wants, how risky, how long it still has."""
    risk = f"{request.risk} risk"
    pieces: list[Span | str] = [span(request.code, Tone.CODE), "  "]
    pieces += marked(bounded(request.tool, 300), Tone.HEAD)
    pieces += ["  ", span(risk, RISK_TONE[request.risk]), "  ", *_time(request, now)]
    return line(*pieces)


def _time(request: ApprovalRequest, now: int) -> Iterator[Span]:
    yield span(str(request.status), STATUS_TONE[request.status])
    if request.status is Status.PENDING:
        left = deadline(request, now) - now
        yield span(f", {span_of(left)} left", Tone.BAD if left < 60_000 else Tone.PLAIN)
        yield span(f", asked {span_of(now - request.created_at)} ago", Tone.DIM)


def _facts(request: ApprovalRequest, now: int) -> Iterator[tuple[str, str, Tone]]:
    origin = request.origin
    client = f" through {bounded(origin.client, 120)}" if origin.client else ""
    yield "asked by", f"{bounded(request.agent, 120)}{client} ({origin.road})", Tone.PLAIN
    yield "session", bounded(origin.session, 200), Tone.DIM
    yield "workspace", bounded(origin.workspace, 1000), Tone.DIM
    yield "directory", bounded(origin.cwd, 1000), Tone.PLAIN
    if request.kind is not Kind.TOOL:
        yield "kind", str(request.kind), Tone.PLAIN
    yield "does", ", ".join(bounded(part, 300) for part in request.parts), Tone.WARN
    yield "rule", bounded(request.rule, 300), Tone.PLAIN
    yield "reason", bounded(request.reason, 2000), Tone.PLAIN
    others = [one for one in request.matched if one != request.rule]
    yield "also", ", ".join(bounded(one, 300) for one in others), Tone.DIM
    if request.again:
        yield "again", "an identical call has just used the answer to the first one", Tone.WARN
    if request.status is Status.PENDING and not attended(request, now):
        yield "caller", "went away: the same call, made again in time, finds your answer", Tone.WARN
    yield from _people(request)
    if request.status is Status.PENDING:
        yield "no answer", f"the call is refused at {local_time(deadline(request, now))}", Tone.DIM
    if request.decided_at is not None:
        by = f" by {bounded(request.decided_by, 120)}" if request.decided_by else ""
        yield (
            "decided",
            f"{local_time(request.decided_at)}{by}, {span_of(now - request.decided_at)} ago",
            Tone.PLAIN,
        )
    yield "note", bounded(request.note, 2000), Tone.PLAIN


def _people(request: ApprovalRequest) -> Iterator[tuple[str, str, Tone]]:
    for one in request.reviewers:
        if one.quorum > 1 or one.names:
            who = ", ".join(sorted(one.names)) or "anyone"
            yield "needs", f"{one.quorum} yes of {who} (rule {bounded(one.rule, 200)})", Tone.WARN
    for vote in request.votes:
        note = f": {bounded(vote.note, 500)}" if vote.note else ""
        said = "yes" if vote.approve else "no"
        yield "has", f"{said} of {bounded(vote.identity, 120)}{note}", Tone.PLAIN


def _fact(label: str, value: str, tone: Tone) -> Line:
    return line("  ", span(f"{label:<10} ", Tone.DIM), span("", Tone.GUTTER), *marked(value, tone))


def arguments(
    request: ApprovalRequest, *, full: bool = False, diffs: tuple[FileChange, ...] = ()
) -> list[Line]:
    """The whole arguments: diffs first where there are some, then every argument; a cut is stated."""
    try:
        value: Any = json.loads(request.arguments)
    except ValueError:
        value = request.arguments
    changed = [row for diff in diffs for row in _diff(diff)]
    lines = list(_value(value))
    if full:
        return [*changed, *lines]
    whole = len(request.arguments.encode()) <= WHOLE
    return [*_cut_diff(changed), *(lines if whole else _cut(lines, request))]


def _value(value: Any) -> Iterator[Line]:
    if not isinstance(value, Mapping):
        yield from _argument("arguments", value)
    elif not value:
        yield line("  ", span("no arguments", Tone.DIM))
    else:
        for name, inner in value.items():
            yield from _argument(name, inner)


def _argument(name: str, value: Any) -> Iterator[Line]:
    """One argument: text behind `│` as it is, anything else behind `=` as JSON."""
    label = visible(name)
    if isinstance(value, str):
        rows, gutter = list(_texts(value)), "│ "
    else:
        shown = json.dumps(value, ensure_ascii=False, indent=2)
        rows, gutter = list(_texts(shown)), "= "
    short = len(label) <= 20
    if not short:
        yield line("  ", *marked(label, Tone.HEAD))
    for place, row in enumerate(rows):
        head = f"  {label if short and place == 0 else '':<10} "
        yield (*_label(head), span(gutter, Tone.GUTTER), *row)


def _label(head: str) -> Line:
    return tuple(span(piece.text, Tone.HEAD) if piece.tone is Tone.PLAIN else piece for piece in marked(head))


def _texts(text: str) -> Iterator[Line]:
    """The lines of a text; long runs of nothing are counted, not shown: they push nothing out of sight."""
    blanks = 0
    for row in [*visible_lines(text), None]:
        if row is not None and not row.strip():
            blanks += 1
            continue
        if blanks > _BLANKS:
            yield line(span(f"⟨{blanks} empty lines⟩", Tone.MARK))
        else:
            yield from ((span(""),) for _ in range(blanks))
        blanks = 0
        if row is not None:
            yield marked(_spaces(row))


def _spaces(row: str) -> str:
    body = row.rstrip(" ")
    tail = len(row) - len(body)
    pieces = body.split(" " * _SPACES)
    if len(pieces) > 1:
        body = _squeezed(body)
    return body + (f"⟨{tail} spaces at the end⟩" if tail > 1 else " " * tail)


def _squeezed(row: str) -> str:
    out: list[str] = []
    run = 0
    for char in row:
        if char == " ":
            run += 1
            continue
        out.append(f"⟨{run} spaces⟩" if run >= _SPACES else " " * run)
        run = 0
        out.append(char)
    return "".join(out)


def _diff(change: FileChange) -> Iterator[Line]:
    note = f" ({change.note})" if change.note else ""
    gutter = span("┃ ", Tone.GUTTER)
    yield line("  ", span("changes", Tone.DIM), "    ", *marked(bounded(change.path, 1000), Tone.HEAD), note)
    tones = {"+": Tone.GOOD, "-": Tone.BAD, "@": Tone.DIM}
    for row in change.rows:
        body = row.removesuffix("\n")
        end = () if row.endswith("\n") or row.startswith("@") else (span("⟨no line end⟩", Tone.MARK),)
        shown = "⇥   ".join(visible(piece) for piece in body.split("\t"))
        yield (span("  "), gutter, *marked(shown, tones.get(row[:1], Tone.PLAIN)), *end)


def _cut_diff(changed: list[Line]) -> list[Line]:
    """A diff helps reading: a very long one ends early, and says so. The arguments follow in any case."""
    kept = list(_taken(changed, HEAD))
    if len(kept) == len(changed):
        return changed
    left = len(changed) - len(kept)
    return [*kept, line(span(f"  ✂ the diff has {left} more lines; the arguments follow", Tone.WARN))]


def _cut(lines: list[Line], request: ApprovalRequest) -> list[Line]:
    data = request.arguments.encode()
    head = list(_taken(lines, HEAD))
    tail = list(_taken([tuple(reversed(row)) for row in reversed(lines)], TAIL, backwards=True))
    digest = hashlib.sha256(data).hexdigest()
    stated = [
        line(span(f"  ✂ cut here: the arguments are {len(data):,} bytes, sha256 {digest}", Tone.WARN)),
        line(span(f"  ✂ the whole: airlock show {request.code} --full", Tone.WARN)),
    ]
    return [*head, *stated, *(tuple(reversed(row)) for row in reversed(tail))]


def _taken(lines: Iterable[Line], budget: int, *, backwards: bool = False) -> Iterator[Line]:
    """Lines from the front until the budget is used; the last one may be cut within."""
    for row in lines:
        size = len(text_of(row))
        if size <= budget:
            yield row
            budget -= size + 1
            continue
        pieces: list[Span] = []
        for piece in row:
            if budget <= 0:
                break
            kept = piece.text[-budget:] if backwards else piece.text[:budget]
            pieces.append(span(kept, piece.tone))
            budget -= len(kept)
        yield tuple(pieces)
        return
