"""`airlock keys`: shown once, stored as a digest, ended at once, and not for an agent to make."""

from __future__ import annotations

import pytest

from airlock.apikeys import digest, looks_like_key
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio


async def test_a_key_is_printed_once_and_only_its_digest_is_kept(terminal: Terminal) -> None:
    made = await terminal.run(
        "keys", "create", "--name", "phone", "--scope", "read", "--scope", "approvals:decide"
    )
    key = made.out.strip()
    assert made.code == 0
    assert looks_like_key(key)
    assert "only time" in made.err
    listed = await terminal.run("keys", "list", "--json")
    assert key not in listed.out + made.err
    (row,) = listed.json
    assert (row["name"], row["scopes"]) == ("phone", ["approvals:decide", "read"])
    data = b"".join(path.read_bytes() for path in terminal.folder.glob("airlock.db*"))
    assert key.encode() not in data
    assert digest(key).encode() in data


async def test_a_revoked_key_is_listed_as_such_and_cannot_be_revoked_again(terminal: Terminal) -> None:
    made = await terminal.run(
        "keys", "create", "--name", "n", "--scope", "hook", "--agent", "claude-code", "--json"
    )
    key_id = made.json["id"]
    assert made.json["agent"] == "claude-code"
    assert (await terminal.run("keys", "revoke", key_id)).code == 0
    (row,) = (await terminal.run("keys", "--json")).json
    assert row["revoked_at"]
    again = await terminal.run("keys", "revoke", key_id)
    assert again.code == 5
    assert "airlock keys list" in again.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "n", "--scope", "hok"], "did you mean `hook`?"),
        (["--name", "n", "--scope", "hook", "--agent", "nobody"], "unknown agent `nobody`"),
        (["--name", "n", "--scope", "approvals:decide", "--agent", "claude-code"], "decides"),
        (["--name", "n", "--scope", "read", "--rate", "0"], "rate"),
        (["--name", "\x1b[31m", "--scope", "read"], "name"),
        (["--scope", "read"], "--name"),
    ],
)
async def test_a_wrong_wish_is_2_and_says_why(terminal: Terminal, words: list[str], told: str) -> None:
    done = await terminal.run("keys", "create", *words)
    assert done.code == 2
    assert told in done.err
    assert (await terminal.run("keys", "list", "--json")).json == []


async def test_an_agents_shell_makes_no_keys(terminal: Terminal) -> None:
    done = await terminal.run("keys", "create", "--name", "n", "--scope", "admin", env={"CLAUDECODE": "1"})
    assert done.code == 4
    assert done.out == ""


async def test_keys_leave_their_mark_in_the_history(terminal: Terminal) -> None:
    key = (await terminal.run("keys", "create", "--name", "n", "--scope", "read")).out.strip()
    exported = await terminal.run("audit", "export", "--format", "jsonl")
    assert "key.created" in exported.out
    assert key not in exported.out
    assert digest(key) not in exported.out
