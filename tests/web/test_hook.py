"""POST /hook on a running gateway: native payloads, answers in kind, and a no whenever anything is wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Wish
from airlock.web import hook as hook_module
from tests.support.gateways import SECRET, Answer, Gateway, open_gateway

TOKEN = "the-token-of-guarded"
POLICY = f"""
server: {{api_secret: {SECRET}}}
approvals: {{max_pending: 10000, timeout: 10m}}
agents:
  claude-code: &usual
    allow: ["bash/ls", "file/read", "mcp__*"]
    ask: ["bash/git", "bash/make", "file/write"]
    deny: ["bash/rm"]
  codex: *usual
  gemini-cli: *usual
  cursor: *usual
  copilot: *usual
  guarded: {{token: {TOKEN}, allow: ["bash/ls"]}}
  deploy-bot: {{ask: ["deploy/production"], allow: ["deploy/staging"]}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("hook"), POLICY) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of its own, for a test that ends or breaks it."""
    with open_gateway(tmp_path, POLICY) as running:
        yield running


def claude(command: str = "ls", tool: str = "Bash", **more: Any) -> dict[str, Any]:
    return {
        "session_id": "s-1",
        "transcript_path": "/tmp/t.jsonl",
        "cwd": "/srv/project",
        "permission_mode": "default",
        "hook_event_name": "PreToolUse",
        "tool_name": tool,
        "tool_input": {"command": command},
        "tool_use_id": f"toolu_{make_id()}",
        **more,
    }


def gemini(command: str = "ls") -> dict[str, Any]:
    return {
        "session_id": "g-1",
        "cwd": "/srv/project",
        "hook_event_name": "BeforeTool",
        "timestamp": "2026-11-22T00:00:00Z",
        "tool_name": "run_shell_command",
        "tool_input": {"command": command},
    }


def cursor(command: str = "ls") -> dict[str, Any]:
    return {
        "conversation_id": "c-1",
        "generation_id": "g",
        "hook_event_name": "beforeShellExecution",
        "workspace_roots": ["/srv/project"],
        "command": command,
        "cwd": "/srv/project",
    }


SILENT = "nothing"
"""An answer without a word: what Codex wants for a yes."""


def decision(answer: Answer) -> str:
    """What a client of any dialect makes of an answer; anything else than a clear word is silence."""
    if answer.status != 200:
        return f"status {answer.status}"
    said = answer.json()
    own = said.get("hookSpecificOutput", {})
    words = [
        said.get("decision"),
        said.get("permission"),
        said.get("permissionDecision"),
        own.get("permissionDecision"),
        own.get("decision", {}).get("behavior") if isinstance(own.get("decision"), dict) else None,
    ]
    found = {word for word in words if isinstance(word, str)}
    return found.pop() if len(found) == 1 else SILENT


def reason(answer: Answer) -> str:
    return json.dumps(answer.json(), ensure_ascii=False)


NATIVE = {"claude-code": claude, "codex": claude, "gemini-cli": gemini, "cursor": cursor}


def at(client: str, **query: str) -> str:
    words = {"client": client, **query}
    return "/hook?" + "&".join(f"{name}={value}" for name, value in words.items())


@pytest.mark.parametrize("client", NATIVE)
@pytest.mark.parametrize(
    ("command", "wanted"), [("ls -la", "allow"), ("rm -rf /", "deny"), ("nosuch", "deny")]
)
def test_a_native_payload_is_answered_in_its_own_format(
    gateway: Gateway, client: str, command: str, wanted: str
) -> None:
    answer = gateway.post(at(client), NATIVE[client](command))
    assert decision(answer) == (SILENT if (client, wanted) == ("codex", "allow") else wanted)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-airlock"]


def test_claude_codes_payload_needs_no_query(gateway: Gateway) -> None:
    answer = gateway.post("/hook", claude("ls"))
    assert answer.json()["hookSpecificOutput"]["hookEventName"] == "PreToolUse"
    assert answer.json()["hookSpecificOutput"]["permissionDecision"] == "allow"


@pytest.mark.parametrize("client", NATIVE)
def test_an_asked_hook_is_held_until_a_person_decides(gateway: Gateway, client: str) -> None:
    for verb, body, wanted in (("approve", None, "allow"), ("deny", {"reason": "not now, sorry"}, "deny")):
        payload = NATIVE[client](f"git push {verb} {client}")
        held = gateway.later(partial(gateway.post, at(client), payload))
        row = gateway.until(partial(_asked, gateway, f"{verb} {client}"))
        assert row["tool"] == "bash/git"
        assert row["agent_id"] == client
        assert row["road"] == "hook"
        assert gateway.post(f"/hitl/{verb}/{row['code']}", body).status == 200
        answer = held.result()
        assert decision(answer) == (SILENT if (client, wanted) == ("codex", "allow") else wanted)
        assert row["code"] not in reason(answer)
        assert row["id"] not in reason(answer)
        if verb == "deny":
            assert "not now, sorry" in reason(answer)


def _asked(gateway: Gateway, text: str) -> dict[str, Any] | None:
    rows = gateway.get("/hitl/pending").json()
    return next((row for row in rows if text in json.dumps(row["args"])), None)


def test_airlocks_own_payload(gateway: Gateway) -> None:
    payload = {"client": "ci", "agent": "deploy-bot", "tool": "deploy/staging", "input": {"ref": "main"}}
    answer = gateway.post("/hook", payload)
    assert answer.json() == {"decision": "allow", "allowed": True, "tool": "deploy/staging"}
    denied = gateway.post("/hook", {**payload, "tool": "deploy/nowhere"}).json()
    assert (denied["decision"], denied["allowed"], denied["tool"]) == ("deny", False, "deploy/nowhere")
    assert denied["reason"]
    unknown = gateway.post("/hook", {**payload, "agent": "nobody"})
    assert (unknown.status, unknown.json()["decision"]) == (200, "deny")
    mapped = gateway.post(
        "/hook", {"client": "claude-code", "tool": "Bash", "input": {"command": "ls"}}
    ).json()
    assert (mapped["decision"], mapped["tool"]) == ("allow", "bash/ls")
    extra = gateway.post("/hook", {**payload, "anything": 1})
    assert extra.json()["allowed"] is True


@pytest.mark.parametrize(
    ("line", "decision", "tool"),
    [
        ("ls; rm -rf x", "deny", "bash/rm"),
        ("git push; rm -rf x; ls", "deny", "bash/rm"),
        ("ls && nowhere && rm x", "deny", "bash/nowhere"),
        ("ls; ls -l", "allow", "bash/ls"),
        ("", "deny", "bash/_empty"),
    ],
)
def test_the_answer_names_the_part_that_decided(
    gateway: Gateway, line: str, decision: str, tool: str
) -> None:
    payload = {"client": "claude-code", "tool": "Bash", "input": {"command": line}}
    answer = gateway.post("/hook", payload).json()
    assert (answer["decision"], answer["tool"]) == (decision, tool)


@pytest.mark.parametrize("yes", [True, False])
def test_the_answer_of_a_person_names_the_part_that_asked(gateway: Gateway, yes: bool) -> None:
    payload = {"client": "claude-code", "tool": "Bash", "input": {"command": f"ls && make asked-{yes}"}}
    held = gateway.later(lambda: gateway.post("/hook", payload))
    row = gateway.until(lambda: _asked(gateway, f"asked-{yes}"))
    assert row["tool"] == "bash/make"
    gateway.post(f"/hitl/{'approve' if yes else 'deny'}/{row['id']}")
    assert held.result().json()["tool"] == "bash/make"


@pytest.mark.parametrize(
    "body", [{"client": "ci"}, {"client": "ci", "tool": ""}, {"client": "ci", "tool": 5}, {"client": ""}]
)
def test_an_own_payload_without_its_fields_is_400(gateway: Gateway, body: dict[str, Any]) -> None:
    answer = gateway.post("/hook", body)
    assert answer.status == 400
    assert answer.json()["error"] == "Missing required fields: client, tool"


def test_an_own_payload_without_a_credential_is_401(gateway: Gateway) -> None:
    payload = {"client": "ci", "tool": "deploy/staging"}
    for token in (None, "wrong"):
        answer = gateway.post("/hook", payload, token=token)
        assert (answer.status, answer.json()["error"]) == (401, "Unauthorized")


def test_an_own_payload_waits_for_its_answer(gateway: Gateway) -> None:
    payload = {"client": "ci", "agent": "deploy-bot", "tool": "deploy/production", "input": {"ref": "held"}}
    held = gateway.later(lambda: gateway.post("/hook", payload))
    row = gateway.until(lambda: _asked(gateway, "held"))
    gateway.post(f"/hitl/approve/{row['id']}")
    assert held.result().json() == {"decision": "allow", "allowed": True, "tool": "deploy/production"}


BAD = {
    "no credential": lambda c: (at(c), NATIVE[c](), {"token": None}),
    "wrong credential": lambda c: (at(c), NATIVE[c](), {"token": "wrong"}),
    "empty body": lambda c: (at(c), b"", {}),
    "not json": lambda c: (at(c), b"{not json", {}),
    "not an object": lambda c: (at(c), b"[1, 2]", {}),
    "a key twice": lambda c: (at(c), b'{"tool_name": "Read", "tool_name": "Bash"}', {}),
    "nested too deep": lambda c: (at(c), b"[" * 100_000, {}),
    "not utf-8": lambda c: (at(c), b'{"tool_name": "\xff"}', {}),
    "a number that would change": lambda c: (at(c), b'{"tool_name": "Bash", "tool_input": {"a": 1e400}}', {}),
    "no tool": lambda c: (
        at(c),
        {k: v for k, v in NATIVE[c]().items() if k not in {"tool_name", "command"}},
        {},
    ),
    "an unknown agent": lambda c: (at(c, agent="nobody"), NATIVE[c](), {}),
    "an agent that is not a name": lambda c: (at(c, agent="%00%ff"), NATIVE[c](), {}),
    "an agent named twice": lambda c: (at(c) + "&agent=cursor&agent=codex", NATIVE[c](), {}),
    "an agent with a token of its own": lambda c: (at(c, agent="guarded"), NATIVE[c](), {}),
    "a foreign host": lambda c: (at(c), NATIVE[c](), {"headers": {"Host": "evil.example"}}),
    "a foreign origin": lambda c: (at(c), NATIVE[c](), {"headers": {"Origin": "https://evil.example"}}),
    "a limit that is no number": lambda c: (at(c, timeout="soon"), NATIVE[c](), {}),
    "a negative limit": lambda c: (at(c, timeout="-5"), NATIVE[c](), {}),
    "too large": lambda c: (at(c), b'{"tool_name": "' + b"x" * hook_module.HOOK_LIMIT + b'"}', {}),
}


@pytest.mark.parametrize("client", NATIVE)
@pytest.mark.parametrize("wrong", BAD)
def test_whatever_is_wrong_is_a_deny_in_the_clients_format_with_200(
    gateway: Gateway, client: str, wrong: str
) -> None:
    gateway.app.state.services.authenticator._guesses._buckets.clear()
    path, body, how = BAD[wrong](client)
    answer = gateway.post(path, body, **how)
    assert decision(answer) == "deny", (answer.status, answer.body)


def test_a_hook_that_asks_too_often_is_denied_in_kind(gateway: Gateway) -> None:
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    wish = Wish("slow", frozenset({Scope.HOOK}), "claude-code", 1)
    key = gateway.run(ring.create(wish, by="secret", within=frozenset(Scope))).text
    assert decision(gateway.post("/hook", claude(), token=key)) == "allow"
    answer = gateway.post("/hook", claude(), token=key)
    assert decision(answer) == "deny"
    assert int(answer.headers["retry-after"]) >= 1


def test_a_key_without_the_scope_is_denied_in_kind(gateway: Gateway) -> None:
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    made = gateway.run(ring.create(Wish("r", frozenset({Scope.READ})), by="x", within=frozenset(Scope)))
    assert decision(gateway.post("/hook", claude(), token=made.text)) == "deny"
    own = gateway.post("/hook", {"client": "ci", "tool": "deploy/staging"}, token=made.text)
    assert decision(own) == "deny"


def test_a_credential_of_an_agent_fixes_the_agent(gateway: Gateway) -> None:
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    wish = Wish("bound", frozenset({Scope.HOOK}), "claude-code")
    key = gateway.run(ring.create(wish, by="secret", within=frozenset(Scope))).text
    assert decision(gateway.post("/hook", claude(), token=key)) == "allow"
    assert decision(gateway.post("/hook?agent=claude-code", claude(), token=key)) == "allow"
    assert decision(gateway.post("/hook?agent=codex", claude(), token=key)) == "deny"
    own = {"client": "ci", "agent": "deploy-bot", "tool": "deploy/staging"}
    assert decision(gateway.post("/hook", own, token=key)) == "deny"
    # The dialect's own name is no claim: the key's agent counts.
    assert decision(gateway.post(at("gemini-cli"), gemini(), token=key)) == "allow"
    assert decision(gateway.post("/hook", claude(), token=TOKEN)) == "allow"
    assert decision(gateway.post("/hook?agent=codex", claude(), token=TOKEN)) == "deny"


@pytest.mark.parametrize("path", ["/hook/", "//hook", "/Hook", "/hook//"])
def test_a_slash_too_many_is_no_way_around(gateway: Gateway, path: str) -> None:
    assert decision(gateway.post(path, claude("ls"))) == "deny"


def test_an_internal_failure_is_a_deny(fresh: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(fresh.gate, "authorize", broken)
    monkeypatch.setattr(fresh.gate, "submit", broken)
    for client, payload in NATIVE.items():
        answer = fresh.post(at(client), payload("git status"))
        assert decision(answer) == "deny"
        assert "secret detail" not in reason(answer)
    own = fresh.post("/hook", {"client": "ci", "agent": "deploy-bot", "tool": "deploy/production"})
    assert decision(own) == "deny"


def test_a_database_that_fails_is_a_deny(fresh: Gateway) -> None:
    fresh.run(fresh.gate.store.close())
    for client, payload in NATIVE.items():
        assert decision(fresh.post(at(client), payload("git status"))) == "deny"
        assert decision(fresh.post(at(client), payload("ls"))) == "deny"


def test_a_wait_ends_before_the_callers_limit_and_the_retry_finds_the_answer(gateway: Gateway) -> None:
    payload = claude("git commit -m later")
    answer = gateway.post("/hook?timeout=5.2", payload)
    assert decision(answer) == "deny"
    assert "again" in reason(answer)
    row = gateway.until(lambda: _asked(gateway, "commit -m later"))
    assert row["status"] == "pending"
    assert row["code"] not in reason(answer)
    gateway.post(f"/hitl/approve/{row['id']}")
    assert decision(gateway.post("/hook?timeout=5.2", {**payload, "tool_use_id": "toolu_2"})) == "allow"
    # One yes is one use.
    assert decision(gateway.post("/hook?timeout=1", {**payload, "tool_use_id": "toolu_3"})) == "deny"


def test_a_caller_that_hangs_up_leaves_its_question_to_the_retry(gateway: Gateway) -> None:
    payload = json.dumps(claude("git hang up")).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(
            f"POST /hook HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n".encode()
            + payload
        )
        row = gateway.until(lambda: _asked(gateway, "hang up"))
    gateway.until(lambda: not gateway.run(gateway.gate.store.waiters(row["id"])))
    assert gateway.get(f"/hitl/{row['id']}").json()["status"] == "pending"
    gateway.post(f"/hitl/approve/{row['id']}")
    assert decision(gateway.post("/hook", json.loads(payload))) == "allow"
    gateway.until(lambda: gateway.app.state.services.closing.open == 0)


def test_identical_hooks_share_one_question(gateway: Gateway) -> None:
    held = [
        gateway.later(lambda: gateway.post("/hook?timeout=60", claude("git same same"))) for _ in range(3)
    ]
    row = gateway.until(lambda: _asked(gateway, "same same"))
    gateway.until(lambda: len(gateway.run(gateway.gate.store.waiters(row["id"]))) == 3)
    gateway.post(f"/hitl/deny/{row['id']}")
    assert {decision(one.result()) for one in held} == {"deny"}


def test_parked_hooks_get_their_deny_before_the_gateway_ends(fresh: Gateway) -> None:
    held = [
        fresh.later(lambda n=number: fresh.post("/hook", claude(f"git push {n}"), timeout=60))
        for number in range(20)
    ]
    fresh.pending(20)
    fresh.stop()
    answers = [one.result() for one in held]
    assert {decision(answer) for answer in answers} == {"deny"}
    assert all("again" in reason(answer) for answer in answers)


def test_while_the_gateway_ends_every_hook_is_denied(fresh: Gateway) -> None:
    fresh.run(fresh.app.state.drain())
    assert decision(fresh.post("/hook", claude("ls"))) == "deny"
    assert fresh.get("/ready", token=None).status == 503


@pytest.mark.parametrize("event", ["Stop", "SessionStart", "UserPromptSubmit", "Notification"])
def test_events_that_are_no_tool_call_get_an_empty_object(gateway: Gateway, event: str) -> None:
    payload = {"session_id": "s", "hook_event_name": event, "cwd": "/srv"}
    answer = gateway.post("/hook", payload)
    assert (answer.status, answer.json()) == (200, {})


def test_a_tool_of_airlocks_own_mcp_entry_is_left_to_the_proxy(gateway: Gateway) -> None:
    answer = gateway.post("/hook", claude(tool="mcp__airlock__git__push"))
    assert (answer.status, answer.json()) == (200, {})
    other = gateway.post("/hook", claude(tool="mcp__elsewhere__push"))
    assert decision(other) in {"allow", "deny"}
    look_alike = gateway.post("/hook", claude(tool="mcp__airlock2__push"))
    assert look_alike.json() != {}


def test_a_headless_run_may_end_at_the_call_and_find_the_answer_when_it_is_resumed(gateway: Gateway) -> None:
    payload = claude("git deferred")
    assert decision(gateway.post("/hook?defer=1", payload)) == "defer"
    assert decision(gateway.post("/hook?defer=1", payload)) == "defer"
    row = gateway.until(lambda: _asked(gateway, "git deferred"))
    gateway.post(f"/hitl/approve/{row['id']}")
    assert decision(gateway.post("/hook?defer=1", payload)) == "allow"
    assert decision(gateway.post("/hook?defer=1", claude("rm deferred"))) == "deny"


def permission(command: str) -> dict[str, Any]:
    payload = claude(command, hook_event_name="PermissionRequest", permission_suggestions=[])
    del payload["tool_use_id"]
    return payload


def test_a_permission_request_is_answered_in_its_own_shape(gateway: Gateway) -> None:
    allowed = gateway.post("/hook", permission("ls")).json()["hookSpecificOutput"]
    assert allowed["hookEventName"] == "PermissionRequest"
    assert allowed["decision"]["behavior"] == "allow"
    denied = gateway.post("/hook", permission("rm -rf x")).json()["hookSpecificOutput"]
    assert denied["decision"]["behavior"] == "deny"
    bad = gateway.post("/hook", permission("ls"), token="wrong").json()["hookSpecificOutput"]
    assert bad["decision"]["behavior"] == "deny"


def test_one_action_is_asked_once_by_both_hooks(gateway: Gateway) -> None:
    held = gateway.later(lambda: gateway.post("/hook", claude("git asked once")))
    row = gateway.until(lambda: _asked(gateway, "asked once"))
    gateway.post(f"/hitl/approve/{row['id']}")
    assert decision(held.result()) == "allow"
    assert decision(gateway.post("/hook", permission("git asked once"))) == "allow"
    # Once: the next is another action.
    again = gateway.later(lambda: gateway.post("/hook?timeout=30", permission("git asked once")))
    second = gateway.until(lambda: _asked(gateway, "asked once"))
    assert second["id"] != row["id"]
    gateway.post(f"/hitl/deny/{second['id']}")
    assert decision(again.result()) == "deny"
    # And other words are another action, too.
    other = gateway.later(lambda: gateway.post("/hook?timeout=30", permission("git asked once more")))
    third = gateway.until(lambda: _asked(gateway, "asked once more"))
    gateway.post(f"/hitl/deny/{third['id']}")
    assert decision(other.result()) == "deny"


def test_what_the_model_sees_of_a_result_is_redacted(gateway: Gateway) -> None:
    payload = claude(
        "ls",
        hook_event_name="PostToolUse",
        tool_response={"stdout": "fine", "password": "hunter2hunter2", "nested": {"api_token": "t0ps3cret"}},
    )
    answer = gateway.post("/hook", payload)
    text = reason(answer)
    assert answer.status == 200
    assert "hunter2" not in text
    assert "t0ps3cret" not in text
    assert "fine" in text
    plain = gateway.post(
        "/hook", claude("ls", hook_event_name="PostToolUse", tool_response={"stdout": "fine"})
    )
    assert plain.json() == {}


def test_a_result_ends_the_record_of_its_call(gateway: Gateway) -> None:
    payload = claude("ls --record")
    assert decision(gateway.post("/hook", payload)) == "allow"
    entry = gateway.get("/audit?tool=bash/ls&limit=1").json()[0]
    assert entry["result"] is None
    gateway.post("/hook", {**payload, "hook_event_name": "PostToolUse", "tool_response": {"stdout": ""}})
    entry = gateway.get("/audit?tool=bash/ls&limit=1").json()[0]
    assert entry["result"] == "success"
    assert type(entry["duration_ms"]) is int


def test_the_audit_shows_every_decision_of_a_hook(gateway: Gateway) -> None:
    gateway.post("/hook", claude("rm -rf /srv/audited"))
    entry = next(e for e in gateway.get("/audit?tool=bash/rm").json() if "audited" in e["args"])
    assert (entry["agent_id"], entry["result"]) == ("claude-code", "denied")
