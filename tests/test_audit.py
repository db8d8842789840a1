"""The chain on values alone: what a changed history looks like, and how events become entries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.audit import DECISIONS, GENESIS, Head, holds, join, link, verify
from airlock.canonical import canonical
from airlock.ports import AuditEvent, Draft


def chain(
    count: int, kind: str = "call.allowed", start: int = 1, prev: str = GENESIS.hex()
) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    for seq in range(start, start + count):
        draft = Draft(id=f"id{seq}", kind=kind, at=1000 + seq, call_id=f"c{seq}", body={"n": seq})
        events.append(link(events[-1].hash if events else prev, seq, draft))
    return events


def head_of(events: list[AuditEvent]) -> Head:
    return Head(seq=events[-1].seq, hash=events[-1].hash)


def pruned(events: list[AuditEvent], upto: int) -> list[AuditEvent]:
    last = events[upto - 1]
    body = {"count": upto, "last_seq": last.seq, "last_id": last.id, "last_hash": last.hash}
    note = Draft(id="p", kind="audit.pruned", at=5000, body=body)
    return [*events[upto:], link(events[-1].hash, events[-1].seq + 1, note)]


def test_the_hashed_bytes_are_those_that_the_documentation_gives() -> None:
    draft = Draft(
        id="i", kind="k", at=7, call_id="c", request_id="r", agent="ä", tool="t", body={"b": [1, 2.5]}
    )
    event = link("ab" * 32, 3, draft)
    text = json.dumps(
        [3, "i", "k", 7, "c", "r", "ä", "t", '{"b":[1,2.5]}'], ensure_ascii=False, separators=(",", ":")
    )
    content = hashlib.sha256(text.encode()).digest()
    expected = hashlib.sha256(b"\x02" + b"\x00" * 4 + bytes.fromhex("ab" * 32) + content).hexdigest()
    assert event.hash == expected
    assert holds(event)


def test_a_chain_that_an_older_airlock_began_goes_on() -> None:
    first = chain(1)[0]
    text = canonical([1, first.id, first.kind, first.at, first.call_id, "", "", "", first.body])
    older = hashlib.sha256(b"\x01" + bytes(4) + GENESIS + text).hexdigest()
    events = [replace(first, hash=older), *chain(3, start=2, prev=older)]
    assert verify(events).sound
    assert verify([replace(events[0], tool="x"), *events[1:]]).broken_at == 1


@given(
    st.text(),
    st.text(),
    st.integers(0, 2**53),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
)
def test_what_is_hashed_is_canonical_json_whatever_the_strings_hold(
    tool: str, agent: str, at: int, body: dict[str, Any]
) -> None:
    event = link(GENESIS.hex(), 1, Draft(id="i", kind="k", at=at, agent=agent, tool=tool, body=body))
    text = canonical([1, "i", "k", at, "", "", agent, tool, event.body])
    content = hashlib.sha256(text).digest()
    assert event.hash == hashlib.sha256(b"\x02" + bytes(4) + GENESIS + content).hexdigest()
    assert json.loads(event.body) == body


def test_a_whole_chain_is_sound_and_so_is_none_at_all() -> None:
    events = chain(20)
    report = verify(events, head_of(events))
    assert (report.sound, report.events, report.last_hash, report.head_seq) == (True, 20, events[-1].hash, 20)
    assert verify([]).sound


@pytest.mark.parametrize("field", [name for name in AuditEvent.__slots__ if name not in {"seq", "hash"}])
def test_any_changed_field_is_found_where_it_was_changed(field: str) -> None:
    events = chain(9)
    old = getattr(events[4], field)
    new: Any = old + 1 if isinstance(old, int) else ("00" * 32 if field == "prev" else old + " ")
    events[4] = replace(events[4], **{field: new})
    assert verify(events).broken_at == 5


def test_an_edited_event_that_was_hashed_anew_breaks_the_next_one() -> None:
    events = chain(9)
    forged = Draft(id="id5", kind="call.allowed", at=1005, call_id="c5", body={"n": "forged"})
    events[4] = link(events[3].hash, 5, forged)
    report = verify(events)
    assert (report.broken_at, report.problem) == (6, "it does not follow event 5")


def test_a_removed_event_is_found() -> None:
    events = chain(9)
    report = verify(events[:4] + events[5:])
    assert (report.broken_at, report.problem) == (6, "the event after 4 is missing")


def test_an_inserted_or_doubled_event_is_found() -> None:
    events = chain(9)
    extra = link(events[3].hash, 5, Draft(id="x", kind="call.allowed", at=1, body={}))
    assert verify([*events[:4], extra, *events[4:]]).broken_at == 5
    assert verify([*events[:4], events[3], *events[4:]]).broken_at == 4


def test_events_that_changed_places_are_found() -> None:
    events = chain(9)
    events[3], events[4] = events[4], events[3]
    assert verify(events).broken_at == 5


def test_a_cut_tail_is_found_only_against_a_head() -> None:
    events = chain(9)
    assert verify(events[:6]).sound
    report = verify(events[:6], head_of(events))
    assert (report.broken_at, "cut off" in report.problem) == (7, True)
    assert verify([], head_of(events)).broken_at == 1


def test_a_history_that_was_written_anew_is_found_only_against_a_head() -> None:
    other = chain(12, kind="call.denied")
    assert verify(other).sound
    assert verify(other, head_of(chain(9))).broken_at == 9


def test_a_head_that_is_older_than_the_end_is_no_contradiction() -> None:
    events = chain(9)
    assert verify(events, head_of(events[:4])).sound


def test_a_prefix_may_be_gone_when_a_pruning_says_so() -> None:
    events = chain(9)
    assert verify(pruned(events, 4)).sound
    assert verify(events[4:]).broken_at == 5
    assert verify(pruned(events, 4)[1:]).broken_at == 6
    twice = pruned(pruned(events, 4), 3)
    assert (twice[0].seq, verify(twice).sound) == (8, True)
    all_gone = pruned(events, 9)
    assert (len(all_gone), verify(all_gone).sound) == (1, True)


def test_a_pruning_of_another_history_explains_nothing() -> None:
    events = chain(9)
    note = link(
        events[-1].hash, 10, Draft(id="p", kind="audit.pruned", at=1, body={"last_seq": 4, "last_hash": "0"})
    )
    assert verify([*events[4:], note]).broken_at == 5


def test_a_head_in_the_pruned_part_is_met_by_the_pruning_or_cannot_be_checked() -> None:
    events = chain(9)
    kept = pruned(events, 4)
    assert verify(kept, head_of(events[:4])).sound
    report = verify(kept, head_of(events[:2]))
    assert not report.sound
    assert "pruned" in report.problem


def test_a_first_event_with_something_before_it_begins_no_chain() -> None:
    assert verify(chain(3, prev="11" * 32)).broken_at == 1


@given(st.data())
def test_no_single_change_of_a_stored_chain_goes_unseen(data: st.DataObject) -> None:
    events = chain(6)
    place = data.draw(st.integers(0, 5))
    change = data.draw(st.sampled_from(["drop", "body", "double", "swap"]))
    if change == "drop":
        mended = events[:place] + events[place + 1 :]
    elif change == "body":
        mended = [*events]
        mended[place] = replace(
            events[place], body=data.draw(st.text().filter(lambda text: text != events[place].body))
        )
    elif change == "double":
        mended = [*events[: place + 1], *events[place:]]
    else:
        other = data.draw(st.integers(0, 5).filter(lambda one: one != place))
        mended = [*events]
        mended[place], mended[other] = mended[other], mended[place]
    assert not verify(mended, head_of(events)).sound


# Entries.


def tell(*told: tuple[str, str, str, dict[str, Any]]) -> list[AuditEvent]:
    """(kind, call, request, body) of each event."""
    events: list[AuditEvent] = []
    for seq, (kind, call, request, body) in enumerate(told, 1):
        draft = Draft(
            id=f"e{seq}",
            kind=kind,
            at=seq,
            call_id=call,
            request_id=request,
            agent="a",
            tool="t/x",
            body=body,
        )
        events.append(link(events[-1].hash if events else GENESIS.hex(), seq, draft))
    return events


def entry(told: list[AuditEvent], call: str = "c") -> Any:
    own = [event for event in told if event.call_id == call]
    requests = {event.request_id for event in own if event.request_id}
    return join(own, [event for event in told if event.request_id in requests])


ASKED = ("request.opened", "c", "r", {"args": {"n": 1}, "effect": "ask", "rule": "big", "reason": "too big"})
YES = ("request.approved", "c", "r", {"by": "local:alice"})
NO = ("request.denied", "c", "r", {"by": "local:bob"})
USED = ("request.used", "c", "r", {"args": {"n": 1}, "effect": "ask"})


def done(outcome: str) -> tuple[str, str, str, dict[str, Any]]:
    return ("call.completed", "c", "r", {"outcome": outcome, "duration_ms": 40})


def refused(kind: str, reason: str = "no") -> tuple[str, str, str, dict[str, Any]]:
    return ("call.denied", "c", "r", {"effect": "deny", "refusal": kind, "reason": reason})


STORIES: dict[str, tuple[list[tuple[str, str, str, dict[str, Any]]], tuple[str | None, str | None]]] = {
    "waiting": ([ASKED], (None, None)),
    "approved, not yet spent": ([ASKED, YES], (None, "approved")),
    "running": ([ASKED, YES, USED], (None, "approved")),
    "ran": ([ASKED, YES, USED, done("success")], ("success", "approved")),
    "failed": ([ASKED, YES, USED, done("error")], ("error", "approved")),
    "cancelled while it ran": ([ASKED, YES, USED, done("cancelled")], ("cancelled", "approved")),
    "denied": ([ASKED, NO], ("denied", "denied")),
    "denied and told": ([ASKED, NO, refused("denied")], ("denied", "denied")),
    "expired": ([ASKED, ("request.expired", "c", "r", {})], ("timeout", "timeout")),
    "expired and told": (
        [ASKED, ("request.expired", "c", "r", {}), refused("expired")],
        ("timeout", "timeout"),
    ),
    "withdrawn": ([ASKED, ("request.cancelled", "c", "r", {})], ("cancelled", "cancelled")),
    "undone": ([ASKED, YES, ("request.undone", "c", "r", {})], (None, None)),
    "reopened": ([ASKED, YES, ("request.reopened", "c", "r", {})], (None, None)),
    "a kind of a later version": ([ASKED, ("request.blessed", "c", "r", {}), YES], (None, "approved")),
    "too many open": ([refused("limit")], ("denied", None)),
    "allowed": ([("call.allowed", "c", "", {"args": {}})], (None, None)),
    "observed": ([("call.observed", "c", "", {"args": {}})], (None, None)),
    "denied by policy": ([("call.denied", "c", "", {"effect": "deny"})], ("denied", None)),
}


@pytest.mark.parametrize("story", STORIES)
def test_an_entry_says_how_the_call_came_out_and_what_the_person_said(story: str) -> None:
    told, (result, answer) = STORIES[story]
    made = entry(tell(*told))
    assert (made.result, made.hitl_outcome, made.id, made.created_at) == (result, answer, "e1", 1)


def test_a_call_that_joined_shows_the_arguments_of_the_question_and_its_own_end() -> None:
    told = tell(
        ASKED,
        ("request.joined", "d", "r", {}),
        YES,
        USED,
        ("request.opened", "d", "s", {"args": {"n": 1}}),
        done("success"),
    )
    second = entry(told, "d")
    assert (second.id, second.request_id, second.args, second.rule) == ("e2", "s", '{"n":1}', "")
    assert (second.result, second.hitl_outcome) == (None, None)
    assert entry(told).result == "success"


def test_an_entry_names_who_decided_and_why_it_was_refused() -> None:
    made = entry(tell(ASKED, NO, refused("denied", "denied by a person: not today")))
    assert (made.decided_by, made.reason, made.rule, made.effect) == (
        "local:bob",
        "denied by a person: not today",
        "big",
        "ask",
    )


def test_events_without_a_decision_make_no_entry() -> None:
    assert entry(tell(("call.completed", "c", "", {"outcome": "success"}))) is None
    assert join([]) is None


@pytest.mark.parametrize("kind", DECISIONS)
def test_every_kind_of_decision_begins_an_entry_even_with_a_broken_body(kind: str) -> None:
    (event,) = tell((kind, "c", "", {}))
    made = join([replace(event, body="[1")])
    assert made is not None
    assert (made.args, made.rule, made.duration_ms) == ("{}", "", None)
