"""The live view's rules, key by key, and its pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.board import REST_MS, Act, Board, Mode, Wish, press, with_rows
from airlock.cli.keyboard import keys_of
from airlock.cli.lines import text_of, width_of
from airlock.cli.screen import View, picture, scroll_limit
from airlock.model import ApprovalRequest, Status

NOW = 1_800_000_000_000
LATER = NOW + 10 * REST_MS


def row(number: int, **more: object) -> ApprovalRequest:
    fields: dict[str, object] = {
        "id": f"id-{number}",
        "code": f"CODE{number:02}",
        "fingerprint": str(number),
        "agent": "claude-code",
        "identity": "agent:claude-code",
        "tool": "demo/write_note",
        "arguments": json.dumps({"name": f"note {number}"}),
        "call_id": "c",
        "created_at": NOW + number,
        "expires_at": NOW + 300_000,
        "grace_ms": 120_000,
    }
    return ApprovalRequest(**{**fields, **more})  # type: ignore[arg-type]


def board(count: int = 3) -> Board:
    return with_rows(Board(), [row(number) for number in range(count)], NOW)


def keys(start: Board, *pressed: str, now: int = LATER) -> tuple[Board, Act | None]:
    act: Act | None = None
    for key in pressed:
        start, act = press(start, key, now)
    return start, act


def test_a_approves_the_selected_request_only() -> None:
    _, act = keys(board(), "j", "a")
    assert act == Act(wish=Wish.APPROVE, ids=("id-1",))


def test_a_request_that_came_under_the_cursor_by_itself_cannot_be_decided_at_once() -> None:
    start = keys(board(), "j")[0]
    moved = with_rows(start, [row(0), row(2)], LATER)
    assert moved.selected == "id-2"
    after, act = press(moved, "a", LATER + REST_MS - 1)
    assert act is None
    assert "look again" in after.message
    assert press(moved, "a", LATER + REST_MS)[1] == Act(wish=Wish.APPROVE, ids=("id-2",))


def test_a_newcomer_never_moves_the_selection() -> None:
    start = keys(board(), "j")[0]
    fuller = with_rows(start, [row(9), row(0), row(1), row(2)], LATER)
    assert fuller.selected == "id-1"
    assert press(fuller, "a", LATER)[1] == Act(wish=Wish.APPROVE, ids=("id-1",))


def test_a_request_that_goes_away_ends_what_was_being_typed_about_it() -> None:
    typing = keys(board(), "d", "n", "o")[0]
    assert typing.mode is Mode.REASON
    gone = with_rows(typing, [row(1)], LATER)
    assert (gone.mode, gone.typed) == (Mode.LIST, "")


def test_d_asks_for_a_reason_and_enter_sends_it() -> None:
    after, act = keys(board(), "d", "n", "x", "backspace", "o", " ", "q", "enter")
    assert act == Act(wish=Wish.DENY, ids=("id-0",), reason="no q")
    assert after.mode is Mode.LIST


def test_escape_leaves_a_reason_without_deciding() -> None:
    after, act = keys(board(), "d", "n", "escape")
    assert act is None
    assert after.mode is Mode.LIST


@pytest.mark.parametrize("key", ["n", "a", "q", "enter", "escape", "A"])
def test_a_grant_is_given_by_y_and_by_nothing_else(key: str) -> None:
    asked = keys(board(), "A")[0]
    assert asked.mode is Mode.GRANT
    assert press(asked, key, LATER)[1] is None
    assert press(asked, "y", LATER)[1] == Act(wish=Wish.GRANT, ids=("id-0",))


def test_a_request_that_allows_no_grant_says_so() -> None:
    start = with_rows(Board(), [row(0, grantable=False)], NOW)
    after, act = keys(start, "A")
    assert act is None
    assert "no standing grant" in after.message


def test_marked_requests_are_decided_together() -> None:
    _, act = keys(board(), " ", "j", " ", "a")
    assert act == Act(wish=Wish.APPROVE, ids=("id-0", "id-2"))


@pytest.mark.parametrize("pressed", [[], ["A"], ["d", "n"]])
def test_a_marked_request_that_goes_away_hands_its_key_to_no_other(pressed: list[str]) -> None:
    """Marking moves the cursor on: whoever withdraws the marked one must not get the next one approved."""
    start = keys(board(), " ", *pressed)[0]
    gone = with_rows(start, [row(1), row(2)], LATER)
    assert (gone.mode, gone.marked) == (Mode.LIST, frozenset())
    for key in ("a", "A", "y", "d", "enter"):
        after, act = press(gone, key, LATER + REST_MS - 1)
        assert (act, after.mode) == (None, Mode.LIST)
    assert press(gone, "a", LATER + REST_MS)[1] == Act(wish=Wish.APPROVE, ids=("id-1",))


def test_undo_takes_the_last_approval_and_passes_over_denials() -> None:
    start = replace(board(), answered=(row(7, status=Status.DENIED), row(8, status=Status.APPROVED)))
    assert keys(start, "u")[1] == Act(wish=Wish.UNDO, ids=("id-8",))
    assert keys(board(), "u")[1] is None


@pytest.mark.parametrize("mode", list(Mode))
def test_ctrl_c_always_leaves(mode: Mode) -> None:
    assert press(replace(board(), mode=mode), "ctrl-c", LATER)[1] == Act(wish=Wish.QUIT)


@given(
    st.lists(
        st.sampled_from(["j", "k", " ", "a", "A", "d", "u", "y", "enter", "escape", "?", "x", "pagedown"])
    )
)
def test_only_requests_that_wait_are_ever_decided(pressed: list[str]) -> None:
    current = board()
    for key in pressed:
        current, act = press(current, key, LATER)
        assert act is None or set(act.ids) <= {one.id for one in current.rows}


@given(
    st.integers(20, 150),
    st.integers(8, 60),
    st.integers(0, 30),
    st.sampled_from(list(Mode)),
    st.text(max_size=200),
)
def test_a_picture_is_exactly_as_large_as_the_terminal(
    width: int, height: int, count: int, mode: Mode, text: str
) -> None:
    rows = [row(number, arguments=json.dumps({"text": text})) for number in range(count)]
    state = replace(with_rows(Board(), rows, NOW), mode=mode if rows else Mode.LIST, typed=text[:50])
    lines = picture(state, View(width=width, height=height, now=NOW, title="t"))
    assert len(lines) == height
    assert all(width_of(text_of(one)) <= width for one in lines)


def test_scrolling_reaches_the_last_line_and_the_picture_says_how_much_is_below() -> None:
    long = row(0, arguments=json.dumps({"text": "\n".join(f"line {n}" for n in range(200)) + "\nTHE-END"}))
    state = with_rows(Board(), [long], NOW)
    view = View(width=80, height=24, now=NOW)
    top = "\n".join(text_of(one) for one in picture(state, view))
    assert "MORE BELOW" in top
    assert "THE-END" not in top
    end = replace(state, scroll=scroll_limit(state, view))
    bottom = "\n".join(text_of(one) for one in picture(end, view))
    assert "THE-END" in bottom
    assert "the end" in bottom


def test_the_scope_of_a_grant_is_never_cut() -> None:
    far = row(0, origin=replace(row(0).origin, workspace="/very/long/" + "path/" * 40 + "airlock.yaml"))
    state = replace(with_rows(Board(), [far], NOW), mode=Mode.GRANT)
    text = "".join(text_of(one).strip() for one in picture(state, View(width=60, height=30, now=NOW)))
    assert "airlock.yaml" in text.replace(" ", "")
    assert "anyotherkeygoesback" in text.replace(" ", "")


def test_keys_are_told_apart_and_unknown_sequences_are_nothing() -> None:
    assert keys_of("\x1b[A") == ["up"]
    assert keys_of("\x1b[6~") == ["pagedown"]
    assert keys_of("\x1b") == ["escape"]
    assert keys_of("aé\r") == ["a", "é", "enter"]
    assert keys_of("\x1b[200~a\x1b[201~") == ["a"]
    assert keys_of("\x1b[<0;10;20M") == []
