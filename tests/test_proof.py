"""Proof packs on real chains: whatever is changed in one is found, by its signature and by what it shows."""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airlock import texts
from airlock.canonical import parse
from airlock.errors import NoSuchRequest, StoreError, UsageError, WireError
from airlock.model import Effect, Outcome, Overlay, Proceed, Resolution, Wait
from airlock.proof.check import Report, check
from airlock.proof.pack import prove, signed, signer
from airlock.signing import Signer, fingerprint_of
from airlock.store import evidence
from tests.support.gates import call, open_gate

DOCS = Path(__file__).parents[1] / "docs"
Pack = dict[str, Any]


class Proved(NamedTuple):
    """Packs of one real history, and the key that signed them."""

    asked: Pack
    plain: Pack
    denied: Pack
    key: Signer

    @property
    def trusted(self) -> list[str]:
        return [self.key.public.hex()]


async def lived(folder: Path) -> Proved:
    """A call that a person approved while others ran, one that was allowed, one that was denied."""
    async with open_gate(folder) as gate:
        await texts.keep(gate.store, [gate.config.policy_text], 1)  # type: ignore[arg-type]
        overlay = Overlay(
            effect=Effect.ASK, rule="stored", consulted={"stored": texts.digest("allow = false")}
        )
        await texts.keep(gate.store, ["allow = false"], 1)  # type: ignore[arg-type]
        asking = call("demo/write_note", name="plan", password="hunter22")._replace(overlay=overlay)
        waiting = await gate.submit(asking, attend=False)
        assert isinstance(waiting, Wait)
        allowed = await gate.submit(call("demo/echo", text="somebody's own matter"))
        assert isinstance(allowed, Proceed)
        await gate.complete(allowed, Outcome.ERROR, error="it broke")
        denied = await gate.submit(call("demo/delete_note", name="x"))
        await gate.resolve(waiting.request.id, Resolution(approve=True, identity="local:alice", note="go on"))
        spent = await gate.submit(asking)
        assert isinstance(spent, Proceed)
        await gate.complete(spent, Outcome.SUCCESS)
        await gate.submit(call("demo/echo", text="later"))
        key = signer(gate)

        async def pack(reference: str) -> Pack:
            made = await prove(gate.store, gate.store, key, reference, by="local:alice", now=5)  # type: ignore[arg-type]
            return json.loads(json.dumps(made))  # type: ignore[no-any-return]

        return Proved(
            await pack(waiting.request.id), await pack(allowed.call.id), await pack(denied.call.id), key
        )


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Proved:
    return uvloop.run(lived(tmp_path_factory.mktemp("proof")))


def problems(report: Report) -> dict[str, str]:
    return {one.part: one.problem for one in report.findings if one.problem}


def notes(report: Report) -> dict[str, str]:
    return {one.part: one.note for one in report.findings}


def test_a_pack_tells_the_whole_story_and_nothing_of_anyone_elses(proved: Proved) -> None:
    pack = proved.asked
    report = check(pack, proved.trusted)
    assert report.sound, problems(report)
    assert "linked to the head" in notes(report)["chain"]
    assert [one["what"] for one in pack["decisions"]] == ["request.opened", "request.used"]
    (answer,) = pack["approvals"]
    assert (answer["what"], answer["by"], answer["from"], answer["note"]) == (
        "approved", "local:alice", "local", "go on",
    )  # fmt: skip
    assert pack["outcome"]["result"] == "success"
    assert '"demo/delete_note"' in pack["policies"][0]["text"]
    assert pack["consulted"][0]["text"] == "allow = false"
    text = json.dumps(pack)
    assert "somebody's own matter" not in text
    assert "hunter22" not in text


def test_any_call_has_a_pack(proved: Proved) -> None:
    for pack, result in ((proved.plain, "error"), (proved.denied, "denied")):
        assert check(pack, proved.trusted).sound
        assert pack["outcome"]["result"] == result
    assert proved.plain["outcome"]["error"] == "it broke"


# What anybody can do to a pack: nothing of it goes unseen.


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    if path:
        yield path
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, name))


def at(pack: Pack, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """What holds the value at the end of the way, and the last step."""
    holder: Any = pack
    for step in path[:-1]:
        holder = holder[step]
    return holder, path[-1]


def finds(pack: Pack, trusted: list[str]) -> bool:
    try:
        return not check(pack, trusted).sound
    except UsageError:
        return True


OTHERS: dict[type, Callable[[Any], list[Any]]] = {
    str: lambda old: [
        old + "x",
        old[:-1] if old else "0",
        old.swapcase() if old.swapcase() != old else "",
        None,
        7,
    ],
    int: lambda old: [old + 1, old - 1, float(old), str(old), old == 1],
    bool: lambda old: [not old, int(old)],
    type(None): lambda _: ["", 0, False],
    dict: lambda old: [{**old, "more": 1}, {}, None, [old]],
    list: lambda old: [[*old, "more"], old[::-1] if len(old) > 1 else None, [], {"0": old}],
}


def test_every_value_of_a_pack_that_is_changed_or_taken_out_is_found(proved: Proved) -> None:
    for pack in (proved.asked, proved.plain):
        for path in places(pack):
            for other in [*OTHERS[type(at(pack, path)[0][path[-1]])](at(pack, path)[0][path[-1]]), "gone"]:
                changed = copy.deepcopy(pack)
                holder, step = at(changed, path)
                if json.dumps(other) == json.dumps(holder[step]):
                    continue
                if other == "gone":
                    del holder[step]
                else:
                    holder[step] = other
                assert finds(changed, proved.trusted), (path, other)


@settings(max_examples=300)
@given(data=st.data())
def test_any_other_value_at_any_place_is_found(proved: Proved, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(places(proved.asked), key=str)))
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=5,
    )
    changed = copy.deepcopy(proved.asked)
    holder, step = at(changed, path)
    other = data.draw(values)
    if json.dumps(other) == json.dumps(holder[step]):
        return
    holder[step] = other
    assert finds(changed, proved.trusted)


def test_parts_of_two_packs_do_not_make_a_third(proved: Proved) -> None:
    for part in proved.asked:
        if proved.asked[part] != proved.plain[part]:
            assert finds({**proved.asked, part: proved.plain[part]}, proved.trusted), part


def test_a_pack_of_another_key_is_named_as_that(proved: Proved) -> None:
    thief = Signer.of(bytes(32))
    unsigned = {name: value for name, value in proved.asked.items() if name != "signature"}
    forged = signed(unsigned, thief)
    assert "another key" in problems(check(forged, proved.trusted))["signature"]
    assert check(forged, [fingerprint_of(thief.public)]).sound
    named = {**forged, "signature": {**forged["signature"], "public_key": proved.key.public.hex()}}
    assert problems(check(named, proved.trusted))["signature"]


# What the holder of the key can do: the events, the chain and the story must still agree.


def resigned(proved: Proved, change: Callable[[Pack], object]) -> dict[str, str]:
    pack = copy.deepcopy(proved.asked)
    del pack["signature"]
    change(pack)
    return problems(check(signed(pack, proved.key), proved.trusted))


def links(pack: Pack) -> list[Any]:
    return pack["chain"]["runs"][0]["links"]  # type: ignore[no-any-return]


def rewrite(event: dict[str, Any], before: str, after: str) -> None:
    assert before in event["body"]
    event["body"] = event["body"].replace(before, after)


TAMPERED: dict[str, tuple[Callable[[Pack], object], str, str]] = {
    "other arguments": (lambda p: p["action"].update(arguments='{"name":"plot"}'), "action", "arguments"),
    "another agent": (lambda p: p["action"].update(agent="other"), "action", "agent"),
    "another rule": (lambda p: p["decisions"][0].update(rule="lax"), "decisions", "[0].rule"),
    "a decision less": (lambda p: p["decisions"].pop(), "decisions", "events"),
    "another person": (lambda p: p["approvals"][0].update(by="local:bob"), "approvals", "[0].by"),
    "a no made a yes": (lambda p: p["approvals"][0].update(what="denied"), "approvals", "[0].what"),
    "an approval made up": (lambda p: p["approvals"].append(p["approvals"][0]), "approvals", "events"),
    "another outcome": (lambda p: p["outcome"].update(result="error"), "outcome", "result"),
    "no outcome": (lambda p: p.update(outcome=None), "outcome", "events"),
    "another policy text": (lambda p: p["policies"][0].update(text="allow: all"), "policies", "text"),
    "another revision": (lambda p: p["policies"][0].update(revision="0" * 64), "policies", "revisions"),
    "no policy": (lambda p: p.update(policies=[]), "policies", "revisions"),
    "another stored policy": (lambda p: p["consulted"][0].update(text="allow = true"), "consulted", "text"),
    "an edited event": (lambda p: rewrite(links(p)[0], "plan", "plot"), "chain", "was changed"),
    "an event taken out": (lambda p: links(p).pop(0), "chain", "follow"),
    "events that changed places": (lambda p: links(p).reverse(), "chain", "follow"),
    "an event hidden as a link": (lambda p: links(p).__setitem__(0, "0" * 64), "chain", "follow"),
    "a link taken out": (lambda p: links(p).pop(1), "chain", "follow"),
    "another link": (lambda p: links(p).__setitem__(1, "0" * 64), "chain", "follow"),
    "another end": (lambda p: p["chain"]["head"].update(hash="0" * 64), "chain", "head"),
    "an earlier end": (lambda p: p["chain"]["head"].update(seq=3), "chain", "head"),
    "another beginning": (lambda p: p["chain"]["runs"][0].update(before="1" * 64), "chain", "stand"),
    "a run moved": (lambda p: p["chain"]["runs"][0].update(first_seq=9), "chain", "follow"),
    "a run twice": (lambda p: p["chain"]["runs"].append(p["chain"]["runs"][0]), "chain", "stand"),
    "no run": (lambda p: p["chain"].update(runs=[]), "chain", "empty"),
    "a part taken out": (lambda p: p.pop("approvals"), "approvals", "missing"),
    "a part put in": (lambda p: p.update(note="trust me"), "note", "belong"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_the_holder_of_the_key_changes_is_found_in_its_part(proved: Proved, what: str) -> None:
    change, part, words = TAMPERED[what]
    found = resigned(proved, change)
    assert "signature" not in found
    assert words in found[part], found


def test_an_event_of_another_call_does_not_belong_there(proved: Proved) -> None:
    def smuggle(pack: Pack) -> None:
        (other,) = [one for one in links(proved.plain) if isinstance(one, dict)][:1]
        links(pack)[other["seq"] - 1] = other

    assert "one call" in resigned(proved, smuggle)["chain"]


@pytest.mark.parametrize("other", [None, [], "pack", {}, {"format": "airlock-proof-pack/2"}, 7])
def test_what_is_no_pack_is_told_apart_from_a_broken_one(proved: Proved, other: Any) -> None:
    with pytest.raises(UsageError, match="not a proof pack"):
        check(other, proved.trusted)


ODD: list[Any] = [
    [],
    {},
    "x",
    7,
    None,
    [[]],
    [{}],
    {"value": []},
    [[[[]]]],
    {"seq": {}},
    True,
    1.5,
    "\u202e",
    10**30,
]


@pytest.mark.parametrize(
    "part", ["signature", "chain", "decisions", "approvals", "outcome", "policies", "consulted"]
)
def test_a_part_of_any_other_kind_is_found_and_never_breaks_the_check(proved: Proved, part: str) -> None:
    for odd in ODD:
        if json.dumps(odd) != json.dumps(proved.asked[part]):
            assert part in problems(check({**proved.asked, part: odd}, proved.trusted)), odd
    for name in proved.asked["chain"]:
        for odd in ODD:
            chain = {**proved.asked["chain"], name: odd}
            assert "chain" in problems(check({**proved.asked, "chain": chain}, proved.trusted)), odd


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"args":' * 5_000 + "1" + "}" * 5_000,
        '{"args":1,"args":2}',
        "[]",
        "",
        '{"x":NaN}',
        "null",
    ],
)
def test_a_body_made_to_break_whoever_reads_it_is_a_finding(proved: Proved, body: str) -> None:
    def change(pack: Pack) -> None:
        event = links(pack)[0]
        text = [
            1,
            *(event[name] for name in ("id", "kind", "at", "call_id", "request_id", "agent", "tool")),
            body,
        ]
        content = hashlib.sha256(
            json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()
        ).digest()
        event.update(body=body, hash=hashlib.sha256(b"\x02" + bytes(4) + bytes(32) + content).hexdigest())

    assert "the body of event 1" in resigned(proved, change)["chain"]


@pytest.mark.parametrize("at", [-1, 2**53, 2**53 - 1])
def test_a_time_out_of_range_is_a_finding(proved: Proved, at: int) -> None:
    def change(pack: Pack) -> None:
        event = links(pack)[0]
        event["at"] = at
        names = ("seq", "id", "kind", "at", "call_id", "request_id", "agent", "tool", "body")
        text = json.dumps([event[name] for name in names], ensure_ascii=False, separators=(",", ":")).encode()
        content = hashlib.sha256(text).digest()
        event["hash"] = hashlib.sha256(b"\x02" + bytes(4) + bytes(32) + content).hexdigest()

    assert resigned(proved, change)


# How packs are made.

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=9), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(ANYTHING, min_size=1, max_size=6))
def test_whatever_an_agent_sends_its_pack_holds(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    async def packs() -> list[tuple[Pack, Signer]]:
        async with open_gate(tmp_path_factory.mktemp("any")) as gate:
            ids = [(await gate.submit(call("demo/echo", value=value))).call.id for value in values]
            key = signer(gate)
            return [
                (await prove(gate.store, gate.store, key, one, by="x", now=1), key)  # type: ignore[arg-type]
                for one in ids
            ]

    for (pack, key), value in zip(uvloop.run(packs()), values, strict=True):
        report = check(json.loads(json.dumps(pack)), [key.public.hex()])
        assert report.sound, problems(report)
        assert json.loads(pack["action"]["arguments"]) == {"value": value}


@pytest.mark.anyio
async def test_far_apart_events_make_several_runs_and_what_was_not_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_LINKS", 3)
    async with open_gate(tmp_path) as gate:
        first = await gate.submit(call("demo/echo"))
        assert isinstance(first, Proceed)
        for _ in range(5):
            await gate.submit(call("demo/echo"))
        await gate.complete(first, Outcome.SUCCESS)
        for _ in range(4):
            await gate.submit(call("demo/echo"))
        key = signer(gate)
        pack = await prove(gate.store, gate.store, key, first.call.id, by="x", now=1)  # type: ignore[arg-type]
    report = check(pack, [key.public.hex()])
    assert report.sound, problems(report)
    assert [run["first_seq"] for run in pack["chain"]["runs"]] == [1, 7]
    assert "in 2 runs, not linked, but by the signature, to the head 11" in notes(report)["chain"]
    assert "was not kept" in notes(report)["policies"]


@pytest.mark.anyio
async def test_links_of_an_older_airlock_are_not_shown_and_its_own_events_are(tmp_path: Path) -> None:
    import sqlite3

    async with open_gate(tmp_path) as gate:
        ids = [verdict.call.id for verdict in [await gate.submit(call("demo/echo", n=n)) for n in range(4)]]
    with sqlite3.connect(tmp_path / "airlock.db") as database:
        last = bytes(32)
        for row in database.execute(
            "SELECT seq, id, kind, at, call_id, request_id, agent, tool, body FROM event"
        ):
            text = json.dumps(list(row), ensure_ascii=False, separators=(",", ":")).encode()
            if row[0] < 4:
                own = hashlib.sha256(b"\x01" + bytes(4) + last + text).digest()
            else:
                own = hashlib.sha256(b"\x02" + bytes(4) + last + hashlib.sha256(text).digest()).digest()
            database.execute("UPDATE event SET prev = ?, hash = ? WHERE seq = ?", (last, own, row[0]))
            last = own
    database.close()
    (tmp_path / "airlock.db.head").unlink()
    async with open_gate(tmp_path) as gate:
        assert (await gate.store.verify()).sound
        key = signer(gate)
        packs = [await prove(gate.store, gate.store, key, one, by="x", now=1) for one in ids]  # type: ignore[arg-type]
    reports = [check(pack, [key.public.hex()]) for pack in packs]
    assert all(report.sound for report in reports)
    assert ["not linked" in notes(report)["chain"] for report in reports] == [True, True, False, False]


@pytest.mark.anyio
async def test_nothing_is_signed_over_a_broken_chain_or_about_nothing(tmp_path: Path) -> None:
    import sqlite3

    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/echo", text="plan"))
        await gate.submit(call("demo/echo", text="other"))
        await gate.pause("", "local:alice")
        key = signer(gate)
        (paused,) = [event for event in await gate.store.events() if event.kind == "pause.set"]
        for nothing in ("", "x" * 100, "' OR 1=1 --", paused.id):
            with pytest.raises(NoSuchRequest):
                await prove(gate.store, gate.store, key, nothing, by="x", now=1)  # type: ignore[arg-type]
        with sqlite3.connect(tmp_path / "airlock.db") as database:
            database.execute("UPDATE event SET body = replace(body, 'other', 'changed')")
        database.close()
        with pytest.raises(StoreError, match="broken at event 2"):
            await prove(gate.store, gate.store, key, verdict.call.id, by="x", now=1)  # type: ignore[arg-type]


# The page.


def script() -> str:
    (found,) = re.findall(
        r"```python\n(.*?)```", (DOCS / "proof-packs.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(found.splitlines()) <= 40
    return str(found)


def test_the_script_of_the_page_checks_a_pack_without_airlock(proved: Proved, tmp_path: Path) -> None:
    program, file = tmp_path / "check_pack.py", tmp_path / "pack.json"
    program.write_text(script())
    nodes = list(ast.walk(ast.parse(script())))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module).partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported == {"hashlib", "json", "sys", "cryptography"}

    def run(pack: Pack, key: str = "") -> subprocess.CompletedProcess[str]:
        file.write_text(json.dumps(pack))
        words = [sys.executable, "-I", str(program), str(file), key or proved.key.public.hex()]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    for pack in (proved.asked, proved.plain, proved.denied):
        done = run(pack)
        assert (done.returncode, done.stdout[:6]) == (0, "holds:"), done.stderr
    assert run(proved.asked, "00" * 32).returncode
    changed = {**proved.asked, "made_by": "somebody else"}
    assert run(changed).returncode


@pytest.mark.parametrize(
    "what",
    [
        "other arguments", "another rule", "another person", "another policy text", "an edited event",
        "an event taken out", "events that changed places", "another link", "another end",
    ],
)  # fmt: skip
def test_the_script_of_the_page_finds_what_the_holder_of_the_key_changes(
    proved: Proved, tmp_path: Path, what: str
) -> None:
    pack = copy.deepcopy(proved.asked)
    del pack["signature"]
    TAMPERED[what][0](pack)
    program, file = tmp_path / "check_pack.py", tmp_path / "pack.json"
    program.write_text(script())
    file.write_text(json.dumps(signed(pack, proved.key)))
    words = [sys.executable, "-I", str(program), str(file), proved.key.public.hex()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert done.stderr.startswith("does not hold: ")


@pytest.mark.parametrize("name", ["action", "agent", "text"])
def test_a_pack_that_says_something_twice_holds_for_no_reader(
    proved: Proved, tmp_path: Path, name: str
) -> None:
    program, file = tmp_path / "check_pack.py", tmp_path / "pack.json"
    program.write_text(script())
    text = json.dumps(proved.asked)
    file.write_text(text.replace(f'"{name}": ', f'"{name}": "another", "{name}": ', 1))
    assert file.read_text() != text
    words = [sys.executable, "-I", str(program), str(file), proved.key.public.hex()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "does not hold: a name stands twice\n")
    with pytest.raises(WireError, match="duplicate key"):
        parse(file.read_bytes())


def test_every_member_of_a_pack_stands_in_the_page(proved: Proved) -> None:
    page = (DOCS / "proof-packs.md").read_text(encoding="utf-8")
    for part, value in proved.asked.items():
        assert f"`{part}`" in page, part
        inner = value[0] if isinstance(value, list) else value
        for name in inner if isinstance(inner, dict) and part not in {"chain", "signature"} else ():
            assert name in {"event", "call", "name", "digest", "text", "at"} or f"`{name}`" in page, name
