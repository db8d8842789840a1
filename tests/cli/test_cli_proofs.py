"""Proof packs as people make and check them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from airlock.model import Outcome, Proceed
from airlock.signing import Signer
from tests.support.terminal import Terminal, parked

pytestmark = pytest.mark.anyio


async def lived(terminal: Terminal) -> str:
    """A call that a person approved; the code of its question."""
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        assert (await terminal.quick("approve", request.code, "--note", "go on")).code == 0
        verdict = await calls.verdict()
        assert isinstance(verdict, Proceed)
        await calls.runtime.gate.complete(verdict, Outcome.SUCCESS)
        return request.code


async def test_a_pack_is_made_of_a_code_and_of_every_id_and_holds(terminal: Terminal) -> None:
    code = await lived(terminal)
    (row,) = (await terminal.quick("audit", "--json")).json
    by_code = (await terminal.quick("audit", "proof", code)).json
    assert (by_code["approvals"][0]["note"], by_code["approvals"][0]["from"]) == ("go on", "command")
    for reference in (row["id"], row["request_id"], by_code["action"]["id"]):
        assert (await terminal.quick("audit", "proof", reference)).json["action"] == by_code["action"]
    file = terminal.folder / "pack.json"
    written = await terminal.quick("audit", "proof", code, "--output", str(file), "--json")
    assert written.json == {"ok": True, "file": str(file), "id": by_code["action"]["id"]}
    assert file.stat().st_mode & 0o777 == 0o600
    said = await terminal.quick("audit", "verify", str(file))
    assert (said.code, said.out.splitlines()[-1]) == (0, "the pack holds")
    assert "approved by local:alice" not in said.out  # the kernel's name of this user, no other
    assert (await terminal.quick("audit", "proof", "nothing")).code == 5


async def test_a_pack_is_checked_anywhere_with_the_key_that_was_given_away(
    terminal: Terminal, tmp_path: Path
) -> None:
    code = await lived(terminal)
    pack = (await terminal.quick("audit", "proof", code)).out
    key = (await terminal.quick("audit", "key", "--json")).json
    pem = tmp_path / "airlock.pub"
    pem.write_text((await terminal.quick("audit", "key", "--pem")).out)
    assert key["fingerprint"] in (await terminal.quick("audit", "key")).out
    elsewhere = {"AIRLOCK_STATE_DIR": str(tmp_path / "none"), "HOME": str(tmp_path)}
    for named in (key["public_key"], key["fingerprint"], str(pem)):
        words = ("audit", "verify", "-", "--key", named, "--json")
        ended = await terminal.run(*words, stdin=pack, cwd=tmp_path, env=elsewhere)
        assert (ended.code, ended.json["ok"]) == (0, True), ended.err
    other = Signer.of(bytes(32)).public.hex()
    ended = await terminal.run(
        "audit", "verify", "-", "--key", other, stdin=pack, cwd=tmp_path, env=elsewhere
    )
    assert ended.code == 8
    assert "another key" in ended.out
    unnamed = await terminal.run("audit", "verify", "-", stdin=pack, cwd=tmp_path, env=elsewhere)
    assert unnamed.code == 2


async def test_a_pack_that_was_changed_is_told_by_its_part_and_ends_with_eight(terminal: Terminal) -> None:
    pack = (await terminal.quick("audit", "proof", await lived(terminal))).json
    pack["approvals"][0]["by"] = "local:mallory\x1b[2J"
    file = terminal.folder / "pack.json"
    file.write_text(json.dumps(pack))
    said = await terminal.quick("audit", "verify", str(file))
    assert said.code == 8
    assert "does not hold: signature, approvals" in said.err
    assert "\x1b" not in said.out
    found = {
        one["part"]: one
        for one in (await terminal.quick("audit", "verify", str(file), "--json")).json["findings"]
    }
    assert found["approvals"]["problem"] == "it is not what the events say: `[0].by`"
    assert found["chain"]["ok"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", ()), ("not json", ()), ('{"format": 1, "format": 2}', ()), ("[1]", ()),
        ("{}", ("--key", "00")), ("{}", ("--key", "/nowhere/key")), ("{}", ("--head", "x")),
    ],
)  # fmt: skip
async def test_what_is_no_pack_or_no_key_is_a_usage_error(
    terminal: Terminal, text: str, words: tuple[str, ...]
) -> None:
    file = terminal.folder / "pack.json"
    file.write_text(text)
    await lived(terminal)
    ended = await terminal.quick("audit", "verify", str(file), *words)
    assert ended.code == 2
    assert (await terminal.quick("audit", "verify", "missing.json")).code == 2
    assert (await terminal.quick("audit", "verify", "--key", "x")).code == 2


async def test_a_pack_is_held_against_the_database_it_came_from(terminal: Terminal) -> None:
    file = terminal.folder / "pack.json"
    assert (await terminal.quick("audit", "proof", await lived(terminal), "--output", str(file))).code == 0
    with sqlite3.connect(terminal.folder / "airlock.db") as database:
        database.execute("UPDATE event SET hash = zeroblob(32) WHERE kind = 'request.approved'")
    database.close()
    said = await terminal.quick("audit", "verify", str(file))
    assert said.code == 8
    assert "is another in the database here" in said.out
    assert str(terminal.folder / "airlock.db") in said.out


@pytest.mark.parametrize(
    ("taken", "code", "words"),
    [
        ("kind = 'request.approved'", 8, "event 2 was taken out of the database here"),
        ("seq <= 2", 0, "2 of 4 events stand no longer in"),
        ("seq > 2", 0, "2 of 4 events stand no longer in"),
        ("seq > 100", 0, "its events stand in the database here"),
    ],
)
async def test_an_event_that_was_taken_out_from_between_others_was_not_pruned(
    terminal: Terminal, taken: str, code: int, words: str
) -> None:
    file = terminal.folder / "pack.json"
    assert (await terminal.quick("audit", "proof", await lived(terminal), "--output", str(file))).code == 0
    with sqlite3.connect(terminal.folder / "airlock.db") as database:
        database.execute(f"DELETE FROM event WHERE {taken}")
    database.close()
    said = await terminal.quick("audit", "verify", str(file))
    assert (said.code, words in said.out) == (code, True), said.out
