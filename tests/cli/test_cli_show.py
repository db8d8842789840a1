"""What a person approves is what they see: nothing hides, moves, or pretends."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.change import changes
from airlock.cli.lines import Tone, fold, text_of, width_of
from airlock.cli.show import WHOLE, arguments, attended, card, deadline, span_of
from airlock.model import ApprovalRequest, Origin, Reviewers, Risk, Vote
from airlock.visible import bounded, visible, visible_lines

NOW = 1_800_000_000_000


def request(value: object, **more: object) -> ApprovalRequest:
    fields: dict[str, object] = {
        "id": "a" * 32,
        "code": "K7QF2M",
        "fingerprint": "f",
        "agent": "claude-code",
        "identity": "agent:claude-code",
        "tool": "demo/write_note",
        "arguments": json.dumps(value, ensure_ascii=False),
        "call_id": "c",
        "rule": "agents.claude-code.ask",
        "reason": "writing asks",
        "created_at": NOW - 20_000,
        "expires_at": NOW + 280_000,
        "grace_ms": 120_000,
        "origin": Origin(workspace="/ws/airlock.yaml", session="s1", cwd="/repo", client="claude-code 2.1"),
    }
    return ApprovalRequest(**{**fields, **more})  # type: ignore[arg-type]


def shown(value: object, **more: object) -> str:
    return "\n".join(text_of(row) for row in card(request(value, **more), NOW))


def hides(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_no_character_that_hides_or_moves_text_is_left(text: str) -> None:
    assert not any(hides(char) for char in visible(text))
    assert not any(hides(char) for row in visible_lines(text) for char in row)


@given(st.text(), st.text())
def test_two_texts_never_look_alike_because_of_what_was_hidden(first: str, second: str) -> None:
    assert (visible(first) == visible(second)) == (first == second)


@given(st.text(max_size=300), st.integers(8, 40))
def test_a_bounded_text_is_never_longer_and_says_what_is_missing(text: str, limit: int) -> None:
    cut = bounded(text, limit)
    assert cut == visible(text) or "more characters" in cut


@given(st.text(max_size=400), st.integers(24, 90))
def test_folding_keeps_every_character_within_the_width(text: str, width: int) -> None:
    rows = arguments(request({"text": text}))
    folded = list(fold(rows, width))
    assert all(width_of(text_of(row)) <= width + 1 for row in folded)
    whole = "".join(piece.text for row in rows for piece in row if piece.tone not in {Tone.GUTTER, Tone.HEAD})
    after = "".join(
        piece.text for row in folded for piece in row if piece.tone not in {Tone.GUTTER, Tone.HEAD}
    )
    assert after.replace(" ", "") == whole.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("rm -rf \u202e/etc", "⟨U+202E⟩"),
        ("zero\u200bwidth", "⟨U+200B⟩"),
        ("\x1b[31mred\x1b]0;title\x07", "⟨U+001B⟩"),
        ("tag\U000e0041", "⟨U+E0041⟩"),
        ("filler\u3164", "⟨U+3164⟩"),
        ("nb\u00a0space", "⟨U+00A0⟩"),
        ("bom\ufeff", "⟨U+FEFF⟩"),
        ("fake ⟨U+202E⟩", "⟨U+27E8⟩"),
        ("stack" + "\u0301" * 5, "⟨U+0301⟩"),
        ("p\u0430ypal.com", "p⟨U+0430⟩ypal.com"),
        ("g\u03bf\u03bfgle", "g⟨U+03BF⟩⟨U+03BF⟩gle"),
        ("git \U0001d5c9ush", "⟨U+1D5C9⟩ush"),
        ("https://good.example\u2215.evil.example", "good.example⟨U+2215⟩.evil.example"),
        ("ls\u037e rm", "ls⟨U+037E⟩ rm"),
    ],
)
def test_tricks_with_characters_are_named(text: str, seen: str) -> None:
    assert seen in shown({"command": text})


@pytest.mark.parametrize(
    "text", ["привет, файл.txt", "Ωmega 5 μs, kΩ, ±2°", "日本語 naïve İstanbul", "Ελλάδα"]
)
def test_words_in_other_scripts_are_shown_as_they_are(text: str) -> None:
    assert visible(text) == text


def test_a_long_text_of_look_alikes_is_read_once() -> None:
    text = "\u0430" * 300_000 + "a"
    assert visible(text).count("⟨U+0430⟩") == 300_000


def test_a_line_of_the_agent_stands_behind_a_gutter_and_cannot_pass_for_ours() -> None:
    forged = "x\nK9AAAA  demo/echo  low risk\n  reason     all is well"
    rows = shown({"text": forged}).splitlines()
    assert not any(row.startswith("K9AAAA") for row in rows)
    assert sum(row.startswith("  reason ") for row in rows) == 1
    assert any("│ K9AAAA" in row for row in rows)


def test_rich_markup_in_arguments_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from airlock.cli.render import as_text

    text = "[bold red]danger[/] [link=http://evil]here[/link] :warning:"
    rows = [as_text(row).plain for row in arguments(request({"text": text}))]
    assert any(text in row for row in rows)


def test_long_runs_of_nothing_are_counted_so_that_they_push_nothing_out_of_sight() -> None:
    text = shown({"command": "ls" + " " * 5000 + "; rm -rf /", "more": "a" + "\n" * 900 + "b"})
    assert "⟨5000 spaces⟩; rm -rf /" in text
    assert "⟨899 empty lines⟩" in text
    assert len(text) < 2000


def test_arguments_up_to_the_limit_are_whole_and_longer_ones_say_that_they_are_cut() -> None:
    whole = shown({"text": "\n".join(f"line {n}" for n in range(4000)) + "\nTHE-END"})
    assert "THE-END" in whole
    assert "✂" not in whole
    huge = {"text": "start " + "x" * (2 * WHOLE) + " THE-END"}
    cut = shown(huge)
    assert "✂ cut here" in cut
    assert "sha256" in cut
    assert "airlock show K7QF2M --full" in cut
    assert "start" in cut
    assert cut.rstrip().endswith("THE-END")
    full = arguments(request(huge), full=True)
    assert sum(len(text_of(row)) for row in full) > 2 * WHOLE


def test_who_asks_why_and_what_happens_without_an_answer_is_all_there() -> None:
    text = shown(
        {"a": 1},
        risk=Risk.HIGH,
        parts=("bash/git", "file/write"),
        reviewers=(Reviewers(rule="big", names=frozenset({"alice", "bob"}), quorum=2),),
        votes=(Vote(identity="local:alice", approve=True, note="fine", at=NOW),),
        again=True,
    )
    for piece in (
        "claude-code through claude-code 2.1",
        "s1",
        "/ws/airlock.yaml",
        "/repo",
        "high risk",
        "4m40s left",
        "agents.claude-code.ask",
        "writing asks",
        "bash/git, file/write",
        "2 yes of alice, bob",
        "yes of local:alice: fine",
        "the call is refused at",
        "identical call",
    ):
        assert piece in text, piece


def test_the_time_left_counts_to_the_grace_once_the_caller_went_away() -> None:
    waiting = request({}, attended_at=NOW - 1000)
    gone = request({}, attended_at=NOW - 60_000)
    assert attended(waiting, NOW)
    assert deadline(waiting, NOW) == waiting.expires_at
    assert not attended(gone, NOW)
    assert deadline(gone, NOW) == NOW + 60_000
    assert "went away" in "\n".join(text_of(row) for row in card(gone, NOW))


@pytest.mark.parametrize(
    ("ms", "text"),
    [(900, "0s"), (59_000, "59s"), (272_000, "4m32s"), (7_500_000, "2h05m"), (180_000_000, "2d02h")],
)
def test_durations_read_as_people_say_them(ms: int, text: str) -> None:
    assert span_of(ms) == text


# Diffs


def test_an_edit_is_shown_as_a_diff_and_its_arguments_stay_whole() -> None:
    value = {"file_path": "a.py", "old_string": "x = 1\ny = 2", "new_string": "x = 1\ny = 3"}
    (diff,) = changes(value, "/repo")
    assert "-y = 2\n" in diff.rows
    assert "+y = 3\n" in diff.rows
    text = "\n".join(text_of(row) for row in card(request(value), NOW, diffs=(diff,)))
    assert "┃ -y = 2" in text
    assert "new_string" in text


def test_several_edits_each_have_their_diff() -> None:
    edits = [{"oldText": "a", "newText": "b"}, {"old_string": "c", "new_string": "d"}]
    assert len(changes({"path": "x", "edits": edits}, "")) == 2


def test_new_content_is_compared_with_the_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (diff,) = changes({"path": "a.txt", "content": "one\nthree"}, str(tmp_path))
    assert "-two\n" in diff.rows
    assert "+three" in diff.rows
    text = "\n".join(text_of(row) for row in card(request({}), NOW, diffs=(diff,)))
    assert "⟨no line end⟩" in text


def test_a_diff_never_blocks_on_a_pipe_and_reads_no_device_and_no_huge_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 600_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("pipe", "huge", "binary", "/dev/zero", "missing", "a\0b", "."):
        assert changes({"path": name, "content": "x"}, str(tmp_path)) == ()


def test_arguments_that_are_no_edit_have_no_diff() -> None:
    assert changes({"old_string": 1, "new_string": "x", "edits": "nonsense"}, "") == ()
    assert changes({"path": ["x"], "content": {"a": 1}}, "/") == ()
