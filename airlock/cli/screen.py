"""One picture of the board: exactly as many lines as the terminal has, none wider than it is. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airlock.cli.board import GRANT_MS, Board, Mode
from airlock.cli.change import FileChange
from airlock.cli.lines import Line, Span, Tone, cut, fold, hang, line, marked, span, text_of, width_of
from airlock.cli.show import RISK_TONE, STATUS_TONE, card, deadline, local_time, scope_of, span_of
from airlock.model import ApprovalRequest
from airlock.values import dataclass
from airlock.visible import bounded

KEYS = (
    ("a", "approve"),
    ("A", "approve for 10 min"),
    ("d", "deny"),
    ("u", "undo"),
    ("space", "select"),
    ("↑↓ jk", "move"),
    ("PgUp PgDn", "scroll"),
    ("?", "help"),
    ("q", "quit"),
)

FIRST_KEYS = ("a", "d", "?", "q")

HELP = (
    ("a", "approve the selected request, or all that are marked with space"),
    ("A", "approve it, and the same call again for ten minutes; shows the scope and asks y first"),
    ("d", "deny with a reason that the agent is told; enter sends it, esc goes back"),
    ("u", "take the last approval back, as long as no call has used it"),
    ("space", "mark several, then a or d decides them together; esc unmarks"),
    ("j k ↑ ↓", "the next or the previous request"),
    ("PgUp PgDn", "scroll its arguments; J K by one line, g G to the start and the end"),
    ("q, ctrl-c", "leave; what waits goes on waiting"),
    ("", ""),
    (
        "│ and =",
        "stand before what agents wrote. A character that would hide or move text is shown as ⟨U+202E⟩",
    ),
    ("", ""),
    ("", "No answer in time is a no. Any key goes back."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a picture depends on beside the board."""

    width: int
    height: int
    now: int
    title: str = ""
    diffs: tuple[FileChange, ...] = ()

    def room(self, board: Board) -> int:
        """Lines between the two at the top, and the message and the keys at the bottom."""
        return max(1, self.height - 3 - len(_message(board, self.width)))


def picture(board: Board, view: View) -> list[Line]:
    """The whole screen."""
    width, room = view.width, view.room(board)
    if board.mode is Mode.HELP:
        body = [line("  ", span(f"{key:<11}", Tone.CODE), hang(), does) for key, does in HELP]
    elif board.current is None:
        body = list(_nothing(board, view.now))
    else:
        body = _queue_and_card(board, board.current, view)
    body = list(fold(body, width))
    padded = [*body[:room], *([line("")] * (room - len(body)))]
    rows = [_title(board, view), _rule(width), *padded, *_message(board, width), _keys(width)]
    return [cut(row, width) for row in rows][: view.height]


def _title(board: Board, view: View) -> Line:
    count = len(board.rows)
    left = (
        f" airlock  {count} {'waits' if count == 1 else 'wait'} for you "
        if count
        else " airlock  nothing waits "
    )
    clock = local_time(view.now)
    gap = view.width - width_of(left) - width_of(view.title) - len(clock) - 3
    tone = Tone.WARN if count else Tone.GOOD
    if gap < 1:
        return line(span(left, tone), clock)
    return line(span(left, tone), " " * gap, span(view.title, Tone.DIM), "  ", clock)


def _rule(width: int, text: str = "") -> Line:
    if not text:
        return line(span("─" * width, Tone.DIM))
    return line(span(f"── {text} " + "─" * max(0, width - width_of(text) - 4), Tone.DIM))


def _nothing(board: Board, now: int) -> Iterator[Line]:
    yield line("")
    yield line(
        "  ", hang(), "Nothing waits. A call that needs you appears here by itself and rings the bell."
    )
    if board.answered:
        yield line("")
        yield line(span("  answered", Tone.DIM))
        for row in board.answered[:10]:
            yield line("  ", *_brief(row, now))


def _brief(row: ApprovalRequest, now: int) -> Iterator[Span]:
    yield span(row.code, Tone.CODE)
    yield span(f"  {row.status:<9}", STATUS_TONE[row.status])
    yield span(f"  {span_of(now - (row.decided_at or row.created_at)):>6} ago  ", Tone.DIM)
    yield from marked(bounded(row.tool, 80))


def _queue_and_card(board: Board, chosen: ApprovalRequest, view: View) -> list[Line]:
    shown = _shown(board, view)
    space = _space(board, view)
    whole = list(fold(card(chosen, view.now, diffs=view.diffs), view.width - 1))
    start = min(board.scroll, max(0, len(whole) - space))
    rule = _rule(view.width, _position(start, space, len(whole)))
    return [*_queue(board, shown, view), rule, *whole[start : start + space]]


def _shown(board: Board, view: View) -> int:
    """How many rows of the queue are shown: at most a third of the screen belongs to it."""
    return max(1, min(len(board.rows), view.room(board) // 3))


def _space(board: Board, view: View) -> int:
    return max(1, view.room(board) - _shown(board, view) - 1)


def _position(start: int, space: int, total: int) -> str:
    if total <= space:
        return "all of it"
    below = total - start - space
    where = f"lines {start + 1} to {min(total, start + space)} of {total}"
    return f"{where}, {below} MORE BELOW: PgDn" if below else f"{where}, the end"


def scroll_limit(board: Board, view: View) -> int:
    """The furthest that scrolling makes sense."""
    if board.current is None:
        return 0
    whole = sum(1 for _ in fold(card(board.current, view.now, diffs=view.diffs), view.width - 1))
    return max(0, whole - _space(board, view))


def _queue(board: Board, shown: int, view: View) -> Iterator[Line]:
    first = max(0, min(board.place - shown // 2, len(board.rows) - shown))
    above, below = first, len(board.rows) - first - shown
    for place in range(first, first + shown):
        more = ""
        if place == first and above:
            more = f" ↑{above} more"
        elif place == first + shown - 1 and below:
            more = f" ↓{below} more"
        yield _queue_row(board, place, more, view)


def _queue_row(board: Board, place: int, more: str, view: View) -> Line:
    row, here = board.rows[place], place == board.place
    left = deadline(row, view.now) - view.now
    tone = Tone.HEAD if here else Tone.PLAIN
    pieces: list[Span | str] = [
        span("▶ " if here else "  ", Tone.CODE),
        span("● " if row.id in board.marked else "  ", Tone.GOOD),
        span(row.code, Tone.CODE),
        span(f"  {span_of(left):>6}", Tone.BAD if left < 60_000 else Tone.PLAIN),
        span(f"  {row.risk:<6}", RISK_TONE[row.risk]),
        *marked(f"  {bounded(row.agent, 20):<14}  {bounded(row.tool, 44)}", tone),
        *marked(f"  {_gist(row)}", Tone.DIM),
    ]
    whole = cut(line(*pieces), view.width - len(more))
    blank = view.width - len(more) - width_of(text_of(whole))
    return (*whole, span(" " * blank), span(more, Tone.WARN)) if more else whole


def _gist(row: ApprovalRequest) -> str:
    """The arguments in a few words, only to tell rows apart; the card shows them in whole."""
    try:
        value: Any = json.loads(row.arguments)
    except ValueError:
        return ""
    if not isinstance(value, Mapping):
        return bounded(row.arguments, 200)
    shown = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value.values())
    return bounded("  ".join(" ".join(one.split()) for one in shown), 200)


def _message(board: Board, width: int) -> list[Line]:
    """What is asked or said now: as many lines as it takes, so that no scope is ever cut."""
    return list(fold([_said(board, width)], width))[:10]


def _said(board: Board, width: int) -> Line:
    if board.mode is Mode.REASON:
        who = _whom(board)
        room = max(8, width - len(who) - 24)
        return line(span(f" deny {who}, because: ", Tone.BAD), bounded(board.typed[-room:], room * 9), "▏")
    if board.mode is Mode.GRANT and board.current is not None:
        one = board.targets[0]
        more = f" and {len(board.targets) - 1} more" if len(board.targets) > 1 else ""
        return line(
            span(f" y {scope_of(one, GRANT_MS, any_args=False)}{more}; any other key goes back", Tone.WARN)
        )
    if board.marked and not board.message:
        return line(span(f" {len(board.marked)} marked: a or d decides them together", Tone.GOOD))
    return line(span(f" {board.message}", board.tone))


def _whom(board: Board) -> str:
    targets = board.targets
    return targets[0].code if len(targets) == 1 else f"{len(targets)} requests"


def _keys(width: int) -> Line:
    """As many keys as fit; those that decide, help and leave come before the others."""
    sizes = {key: len(key) + len(does) + 3 for key, does in KEYS}
    fitting: set[str] = set()
    for key in FIRST_KEYS + tuple(key for key, _ in KEYS if key not in FIRST_KEYS):
        if sum(sizes[one] for one in fitting) + sizes[key] <= width:
            fitting.add(key)
    shown = [(key, does) for key, does in KEYS if key in fitting]
    return tuple(
        piece for key, does in shown for piece in (span(f" {key}", Tone.CODE), span(f" {does} ", Tone.DIM))
    )
