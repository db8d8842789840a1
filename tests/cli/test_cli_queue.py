"""What waits, and deciding it from another process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airlock.model import Proceed, Refusal, Refuse
from tests.support.terminal import Terminal, parked

pytestmark = pytest.mark.anyio

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
PENDING = {
    "id": str,
    "code": str,
    "agent_id": str,
    "tool": str,
    "args": dict,
    "status": str,
    "created_at": str,
    "expires_at": str,
    "rule": str,
    "reason": str,
    "risk": str,
    "workspace": str,
    "cwd": str,
    "session_id": str,
    "client": str,
    "votes": list,
    "parts": list,
    "approvals": int,
    "needed": int,
}


async def test_pending_as_json_has_the_shape_of_the_rest_api(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan", "text": "x", "token": "t0ps3cret"})
        ended = await terminal.run("pending", "--json")
    assert ended.code == 0
    (row,) = ended.json
    for name, kind in PENDING.items():
        assert type(row[name]) is kind, name
    assert TIME.match(row["created_at"])
    assert TIME.match(row["expires_at"])
    assert (row["id"], row["code"], row["status"]) == (request.id, request.code, "pending")
    assert row["args"]["name"] == "plan"
    assert "t0ps3cret" not in ended.out


async def test_pending_shows_the_whole_arguments_and_nothing_that_can_pretend(terminal: Terminal) -> None:
    text = "first line\n\u202eevil\x1b[2J\n" + "long " * 500 + "THE-END"
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan", "text": text})
        ended = await terminal.quick("pending")
    assert request.code in ended.out
    assert "THE-END" in ended.out
    assert "⟨U+202E⟩evil⟨U+001B⟩[2J" in ended.out
    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out
    assert "agents.claude-code.ask" in ended.out


async def test_an_approval_typed_in_another_process_lets_the_call_run(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        ended = await terminal.run("approve", request.code.lower(), "--note", "go on", "--json")
        verdict = await calls.verdict()
    assert ended.code == 0
    assert ended.json == {"ok": True, "id": request.id, "code": request.code, "status": "approved"}
    assert isinstance(verdict, Proceed)


async def test_an_approval_works_from_any_directory(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        ended = await terminal.run("approve", request.code, cwd=tmp_path)
        assert isinstance(await calls.verdict(), Proceed)
    assert ended.code == 0, ended.err


async def test_a_question_is_found_after_the_process_that_asked_it_is_gone(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
    ended = await terminal.run("show", request.id, "--json", cwd=tmp_path)
    assert ended.json["code"] == request.code


async def test_a_code_in_two_databases_is_refused_with_both_ids(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "airlock.yaml").write_text(terminal.config.read_text())
    async with parked(terminal.config) as calls, parked(other / "airlock.yaml") as more:
        # The code is random, so the second queue is given the first one's by the maker of codes itself.
        first = await calls.ask("demo/write_note", {"name": "plan"})
        more.runtime.gate._questions._make_code = lambda _: first.code
        second = await more.ask("demo/write_note", {"name": "plan"})
        ended = await terminal.run("approve", first.code, cwd=tmp_path)
        by_id = await terminal.run("approve", second.id, cwd=tmp_path)
        assert isinstance(await more.verdict(), Proceed)
    assert ended.code == 2
    assert first.id in ended.err
    assert second.id in ended.err
    assert by_id.code == 0


async def test_a_denial_tells_the_agent_the_reason(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        ended = await terminal.quick("deny", request.code, "--reason", "not on main")
        verdict = await calls.verdict()
    assert ended.code == 0
    assert isinstance(verdict, Refuse)
    assert verdict.kind is Refusal.DENIED
    assert "not on main" in verdict.reason
    assert request.code not in verdict.reason


async def test_what_is_wrong_has_an_exit_code_of_its_own(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        assert (await terminal.run("deny", request.code)).code == 0
        again = await terminal.run("approve", request.code)
        unknown = await terminal.run("approve", "ZZZZZZ")
        usage = await terminal.run("approve")
        told = await terminal.quick("approve", "ZZZZZZ", "--json")
        nothing = await terminal.run("pending", "--config", "missing.yaml")
    assert (again.code, unknown.code, usage.code, nothing.code) == (6, 5, 2, 2)
    assert told.json == {"ok": False, "error": "no request `ZZZZZZ`: see `airlock pending`"}
    for ended in (again, unknown, usage, nothing):
        assert ended.err.startswith("airlock: ")
        assert ended.err.count("\n") == 1
        assert ended.out == ""


async def test_a_database_that_cannot_be_opened_is_exit_seven(terminal: Terminal) -> None:
    (terminal.folder / "airlock.db").mkdir()
    ended = await terminal.quick("pending")
    assert ended.code == 7
    assert ended.err.startswith("airlock: ")


async def test_several_codes_are_answered_at_once_and_a_wrong_one_does_not_stop_the_others(
    terminal: Terminal,
) -> None:
    async with parked(terminal.config) as calls:
        first = await calls.ask("demo/write_note", {"name": "one"})
        second = await calls.ask("demo/write_note", {"name": "two"})
        ended = await terminal.quick("approve", first.code, "ZZZZZZ", second.code, "--json")
        assert isinstance(await calls.verdict(0), Proceed)
        assert isinstance(await calls.verdict(1), Proceed)
    assert ended.code == 5
    assert [one["code"] for one in ended.json] == [first.code, second.code]


async def test_deny_all_needs_an_agent_and_refuses_everything_of_it(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        await calls.ask("demo/write_note", {"name": "one"})
        await calls.ask("demo/send_email", {"to": "bob"})
        unnamed = await terminal.quick("deny", "--all")
        ended = await terminal.quick("deny", "--all", "--agent", "claude-code", "--json")
        assert isinstance(await calls.verdict(0), Refuse)
        assert isinstance(await calls.verdict(1), Refuse)
    assert unnamed.code == 2
    assert {one["status"] for one in ended.json} == {"denied"}


async def test_below_the_quorum_an_approval_says_how_many_are_missing(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/transfer", {"amount": 500})
        ended = await terminal.quick("approve", request.code, "--json")
        twice = await terminal.quick("approve", request.code)
        shown = await terminal.quick("show", request.code)
    assert ended.code == 0
    assert (ended.json["status"], ended.json["approvals"], ended.json["needed"]) == ("pending", 1, 2)
    assert twice.code == 6
    assert "2 yes of anyone (rule big)" in shown.out


async def test_an_approval_that_nobody_has_used_can_be_taken_back(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        calls.tasks[0].cancel()
        assert (await terminal.quick("approve", request.code)).code == 0
        ended = await terminal.quick("undo", request.code, "--json")
        again = await terminal.quick("undo", request.code)
    assert (ended.code, ended.json["status"]) == (0, "cancelled")
    assert again.code == 6


async def test_pause_denies_everything_until_resume(terminal: Terminal) -> None:
    from tests.support.terminal import agent_call

    async with parked(terminal.config) as calls:
        call = agent_call(calls.runtime.config, "demo/echo", {})
        assert (await terminal.quick("pause")).code == 0
        refused = await calls.runtime.gate.authorize(call)
        assert (await terminal.quick("resume")).code == 0
        allowed = await calls.runtime.gate.authorize(call)
    assert isinstance(refused, Refuse)
    assert refused.kind is Refusal.PAUSED
    assert isinstance(allowed, Proceed)


async def test_a_grant_is_listed_and_ends_when_it_is_revoked(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        assert (await terminal.quick("approve", request.code, "--for", "10m")).code == 0
        (grant,) = (await terminal.quick("grants", "--json")).json
        ended = await terminal.quick("grants", "revoke", grant["id"][:10])
        left = (await terminal.quick("grants", "list", "--json")).json
    assert grant["covers"] == "the same call"
    assert grant["tool"] == "demo/write_note"
    assert TIME.match(grant["expires_at"])
    assert ended.code == 0
    assert left == []


async def test_a_wide_grant_says_its_scope_and_is_not_given_without_a_yes(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        alone = await terminal.quick("approve", request.code, "--any-args")
        unasked = await terminal.quick("approve", request.code, "--for", "10m", "--any-args")
        agreed = await terminal.quick("approve", request.code, "--for", "10m", "--any-args", "--yes")
        (grant,) = (await terminal.quick("grants", "--json")).json
    assert (alone.code, unasked.code, agreed.code) == (2, 2, 0)
    assert "any arguments" in unasked.err
    assert "until" in unasked.err
    assert grant["covers"] == "any arguments"


async def test_the_config_may_stand_before_or_after_the_command(terminal: Terminal, tmp_path: Path) -> None:
    where = str(terminal.config)
    async with parked(terminal.config) as calls:
        await calls.ask("demo/write_note", {"name": "plan"})
        for words in (
            ("--config", where, "pending", "--json"),
            ("pending", "--json", "--config", where),
            ("--json", "-c", where, "pending"),
        ):
            assert len((await terminal.run(*words, cwd=tmp_path)).json) == 1


async def test_a_config_in_the_working_directory_that_nobody_trusted_is_left_alone(
    terminal: Terminal, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "airlock.yaml").write_text("database: sqlite:///evil.db\nagents: {}\n")
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        ended = await terminal.run("pending", "--json", cwd=stranger)
    assert [row["id"] for row in ended.json] == [request.id]
    assert not (stranger / "evil.db").exists()


async def test_the_queue_of_a_fresh_config_is_empty(terminal: Terminal) -> None:
    waits = await terminal.run("pending")
    history = await terminal.run("audit", "--json")
    assert (waits.code, waits.out) == (0, "nothing waits\n")
    assert (history.code, history.json) == (0, [])


async def test_a_config_in_the_working_directory_counts_where_nothing_else_is_known(
    terminal: Terminal, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "airlock.yaml").write_text("database: sqlite:///airlock.db\nagents: {}\n")
    assert (await terminal.run("pending", "--json", cwd=stranger)).json == []
    (stranger / "airlock.yaml").write_text("database: 7\n")
    wrong = await terminal.run("pending", cwd=stranger, env={"AIRLOCK_STATE_DIR": str(tmp_path / "new")})
    assert wrong.code == 2
    assert f"{stranger}/airlock.yaml:1: database" in wrong.err


async def test_in_a_project_its_own_queue_counts_and_a_code_is_found_everywhere(
    terminal: Terminal, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "airlock.yaml").write_text(terminal.config.read_text())
    async with parked(terminal.config) as calls, parked(other / "airlock.yaml") as more:
        ours = await calls.ask("demo/write_note", {"name": "one"})
        theirs = await more.ask("demo/write_note", {"name": "two"})
        here = (await terminal.run("pending", "--json")).json
        there = (await terminal.run("pending", "--json", cwd=other)).json
        anywhere = (await terminal.run("pending", "--json", cwd=tmp_path)).json
        history = (await terminal.run("audit", "verify", "--json")).json
        assert (await terminal.run("approve", theirs.code)).code == 0
        assert isinstance(await more.verdict(), Proceed)
        assert (await terminal.run("deny", "--all", "--agent", "claude-code", cwd=other)).code == 0
        assert isinstance(await calls.verdict(), Refuse)
    assert [row["id"] for row in here] == [ours.id]
    assert [row["id"] for row in there] == [theirs.id]
    assert [row["id"] for row in anywhere] == [ours.id, theirs.id]
    assert history["database"] == f"sqlite:///{terminal.folder}/airlock.db"


async def test_an_edited_database_line_hides_nothing_that_waits(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        terminal.config.write_text(terminal.config.read_text().replace("airlock.db", "other.db"))
        assert (await terminal.run("pending", "--json", "--config", str(terminal.config))).json == []
        for cwd in (terminal.folder, tmp_path):
            rows = (await terminal.run("pending", "--json", cwd=cwd)).json
            assert [row["id"] for row in rows] == [request.id]
        assert (await terminal.run("approve", request.code)).code == 0
        assert isinstance(await calls.verdict(), Proceed)


async def test_a_config_that_was_removed_is_not_complained_about(terminal: Terminal, tmp_path: Path) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
    terminal.config.unlink()
    ended = await terminal.run("pending", "--json", cwd=tmp_path)
    assert [row["id"] for row in ended.json] == [request.id]
    assert ended.err == ""


async def test_a_backup_and_a_key_are_of_the_database_of_the_config_that_counts(
    terminal: Terminal, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "airlock.yaml").write_text(terminal.config.read_text())
    async with parked(other / "airlock.yaml"), parked(terminal.config):
        ended = await terminal.run("db", "backup", str(tmp_path / "copy.db"), "--json")
        nowhere = await terminal.run("db", "backup", str(tmp_path / "more.db"), cwd=tmp_path)
        (other / "airlock.yaml").write_text(terminal.config.read_text() + "# nobody trusted this\n")
        made = await terminal.run("keys", "create", "--name", "a", "--scope", "read", "--json", cwd=other)
        keys = await terminal.run("keys", "list", "--json", "--config", str(other / "airlock.yaml"))
    assert [key["id"] for key in keys.json] == [made.json["id"]]
    assert ended.json["database"] == f"sqlite:///{terminal.folder}/airlock.db"
    assert nowhere.code == 2
    assert "several databases are known here" in nowhere.err


async def test_people_can_decide_while_the_policy_is_broken(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        terminal.config.write_text(terminal.config.read_text() + "\nnonsense: [")
        ended = await terminal.quick("approve", request.code)
        assert isinstance(await calls.verdict(), Proceed)
    assert ended.code == 0
