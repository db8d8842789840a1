"""What `airlock watch` remembers, and what each key does to it. Pure: keys in, a new board and a wish out.

A decision only ever goes to the request that the person has had before their eyes for a moment: when the
selected one goes away by itself, the deciding keys rest until the next one was on the screen for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from airlock.cli.lines import Tone
from airlock.model import ApprovalRequest, Status
from airlock.values import dataclass

REST_MS = 500
"""How long a request that came under the cursor by itself cannot be decided."""

GRANT_MS = 10 * 60 * 1000


class Mode(StrEnum):
    """What the keys mean now."""

    LIST = "list"
    REASON = "reason"
    GRANT = "grant"
    HELP = "help"


class Wish(StrEnum):
    """What the person wants done."""

    APPROVE = "approve"
    GRANT = "grant"
    DENY = "deny"
    UNDO = "undo"
    QUIT = "quit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A wish, for these requests."""

    wish: Wish
    ids: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The whole state of the view."""

    rows: tuple[ApprovalRequest, ...] = ()
    selected: str = ""
    marked: frozenset[str] = frozenset()
    scroll: int = 0
    mode: Mode = Mode.LIST
    typed: str = ""
    message: str = ""
    tone: Tone = Tone.DIM
    rests_until: int = 0
    answered: tuple[ApprovalRequest, ...] = ()

    @property
    def place(self) -> int:
        """Where the selected row is; 0 when there is none."""
        return next((place for place, row in enumerate(self.rows) if row.id == self.selected), 0)

    @property
    def current(self) -> ApprovalRequest | None:
        """The selected request."""
        return self.rows[self.place] if self.rows else None

    @property
    def targets(self) -> tuple[ApprovalRequest, ...]:
        """What a deciding key decides: the marked ones, else the selected one."""
        chosen = tuple(row for row in self.rows if row.id in self.marked)
        return chosen or ((self.current,) if self.current else ())

    def says(self, message: str, tone: Tone = Tone.DIM) -> Board:
        """The board with a message in its last line but one."""
        return replace(self, message=message, tone=tone)


def with_rows(board: Board, rows: Iterable[ApprovalRequest], now: int) -> Board:
    """The board after the queue changed: what a key would decide stays the same, or rests after it moved."""
    fresh = tuple(rows)
    ids = {row.id for row in fresh}
    marked = board.marked & ids
    if board.selected in ids and marked == board.marked:
        return replace(board, rows=fresh)
    if board.selected in ids:  # without its mark a key would decide what lies under the cursor instead
        mode = board.mode if board.mode is Mode.HELP else Mode.LIST
        fewer = replace(board, rows=fresh, marked=marked, mode=mode, typed="", rests_until=now + REST_MS)
        return fewer.says("a marked request went away: look again", Tone.WARN)
    place = min(board.place, len(fresh) - 1)
    selected = fresh[place].id if fresh else ""
    mode = board.mode if board.mode is Mode.HELP else Mode.LIST
    moved = replace(board, rows=fresh, marked=marked, selected=selected, scroll=0, mode=mode, typed="")
    return replace(moved, rests_until=now + REST_MS)


def press(board: Board, key: str, now: int) -> tuple[Board, Act | None]:
    """What one key makes of the board, and what the person wants done."""
    if key == "ctrl-c":
        return board, Act(wish=Wish.QUIT)
    if board.mode is Mode.REASON:
        return _reason(board, key)
    if board.mode is Mode.GRANT:
        return _grant(board, key)
    if board.mode is Mode.HELP:
        return replace(board, mode=Mode.LIST), None
    return _list(board, key, now)


_STEPS = {"j": 1, "down": 1, "k": -1, "up": -1}
_PAGES = {"pagedown": 1, "ctrl-f": 1, "ctrl-d": 1, "pageup": -1, "ctrl-b": -1, "ctrl-u": -1}
DECIDING = frozenset("aAdu")


def _list(board: Board, key: str, now: int) -> tuple[Board, Act | None]:
    if key in {"q", "Q"}:
        return board, Act(wish=Wish.QUIT)
    if key == "?":
        return replace(board, mode=Mode.HELP), None
    if key in _STEPS:
        return _step(board, _STEPS[key]), None
    if key in _PAGES or key in {"J", "K", "home", "end", "g", "G"}:
        return _scrolled(board, key), None
    if key == " ":
        return _mark(board), None
    if key == "escape":
        return replace(board, marked=frozenset(), message=""), None
    if key in DECIDING:
        return _decide(board, key, now)
    return board, None


def _step(board: Board, by: int) -> Board:
    if not board.rows:
        return board
    place = max(0, min(len(board.rows) - 1, board.place + by))
    return replace(board, selected=board.rows[place].id, scroll=0, message="", rests_until=0)


def _scrolled(board: Board, key: str) -> Board:
    if key in {"home", "g"}:
        return replace(board, scroll=0)
    if key in {"end", "G"}:
        return replace(board, scroll=10**9)
    by = {"J": 1, "K": -1}.get(key, 0) or _PAGES[key] * 10
    return replace(board, scroll=max(0, board.scroll + by))


def _mark(board: Board) -> Board:
    if board.current is None:
        return board
    marked = board.marked ^ {board.current.id}
    return _step(replace(board, marked=marked), 1)


def _decide(board: Board, key: str, now: int) -> tuple[Board, Act | None]:
    if key == "u":
        ids = tuple(row.id for row in board.answered if row.status is Status.APPROVED)[:1]
        return (board, Act(wish=Wish.UNDO, ids=ids)) if ids else (board.says("nothing to take back"), None)
    targets = board.targets
    if not targets:
        return board.says("nothing waits"), None
    if now < board.rests_until:
        return board.says("the queue has just moved: look again, then press once more", Tone.WARN), None
    if key == "a":
        return board, Act(wish=Wish.APPROVE, ids=tuple(row.id for row in targets))
    if key == "A" and not all(row.grantable for row in targets):
        return board.says(
            "no standing grant is possible for this one: press `a` for this call", Tone.WARN
        ), None
    mode = Mode.GRANT if key == "A" else Mode.REASON
    return replace(board, mode=mode, typed="", message=""), None


def _grant(board: Board, key: str) -> tuple[Board, Act | None]:
    back = replace(board, mode=Mode.LIST)
    if key in {"y", "Y"}:
        return back, Act(wish=Wish.GRANT, ids=tuple(row.id for row in board.targets))
    return back.says("nothing was granted"), None


def _reason(board: Board, key: str) -> tuple[Board, Act | None]:
    if key == "enter":
        back = replace(board, mode=Mode.LIST, typed="")
        return back, Act(
            wish=Wish.DENY, ids=tuple(row.id for row in board.targets), reason=board.typed.strip()
        )
    if key == "escape":
        return replace(board, mode=Mode.LIST, typed="").says("nothing was denied"), None
    if key == "backspace":
        return replace(board, typed=board.typed[:-1]), None
    if key == "ctrl-u":
        return replace(board, typed=""), None
    if len(key) == 1 and key.isprintable() and len(board.typed) < 500:
        return replace(board, typed=board.typed + key), None
    return board, None
