"""Each client's own JSON: what is read from it, and what it is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.hooks.claude_code import defer
from airlock.hooks.dialect import STILL_OPEN, Dialect, HookEvent, UnreadableHook, answer
from airlock.hooks.dialects import DIALECTS, OWN, by_name, choose
from airlock.model import Call, Decision, Effect, Principal, Proceed, Refusal, Refuse

CLAUDE = {
    "session_id": "s1",
    "transcript_path": "/t",
    "cwd": "/w",
    "permission_mode": "default",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "ls", "description": "List files"},
    "tool_use_id": "toolu_1",
}
CODEX = {**CLAUDE, "turn_id": "t1", "model": "m"}
GEMINI = {
    "session_id": "s1",
    "transcript_path": "/t",
    "cwd": "/w",
    "hook_event_name": "BeforeTool",
    "timestamp": "2026-11-22T10:00:00Z",
    "tool_name": "run_shell_command",
    "tool_input": {"command": "ls"},
}
CURSOR = {"conversation_id": "s1", "generation_id": "g", "workspace_roots": ["/w"], "cursor_version": "2.4"}
CURSOR_SHELL = {**CURSOR, "hook_event_name": "beforeShellExecution", "command": "ls", "cwd": "/w"}
CURSOR_MCP = {
    **CURSOR,
    "hook_event_name": "beforeMCPExecution",
    "tool_name": "query",
    "tool_input": '{"q": 1}',
    "command": "npx x",
}
CURSOR_PRE = {
    **CURSOR,
    "hook_event_name": "preToolUse",
    "tool_name": "Write",
    "tool_input": {"file_path": "a.txt"},
    "tool_use_id": "u1",
    "cwd": "/w",
}
CURSOR_READ = {**CURSOR, "hook_event_name": "beforeReadFile", "file_path": "/w/.env", "content": "x"}
COPILOT = {
    "timestamp": 1,
    "cwd": "/w",
    "sessionId": "s1",
    "toolName": "bash",
    "toolArgs": '{"command": "ls"}',
}
VSCODE = {
    "timestamp": "t",
    "cwd": "/w",
    "sessionId": "s1",
    "hookEventName": "PreToolUse",
    "tool_name": "editFiles",
    "tool_input": {"files": ["a", "b"]},
    "tool_use_id": "u1",
}
OWN_CALL = {"client": "ci", "tool": "deploy/production", "agent": "deploy-bot", "input": {"tag": "v1"}}

READINGS: list[tuple[str, dict[str, Any], str, HookEvent]] = [
    (
        "claude-code",
        CLAUDE,
        "",
        HookEvent(
            client="claude-code",
            event="PreToolUse",
            tool="Bash",
            input={"command": "ls", "description": "List files"},
            session="s1",
            cwd="/w",
            tool_use_id="toolu_1",
        ),
    ),
    (
        "claude-code",
        {
            **CLAUDE,
            "hook_event_name": "PermissionRequest",
            "tool_name": "mcp__git__log",
            "tool_input": {},
            "tool_use_id": None,
            "mcp_server": {"name": "git", "source": "project"},
        },
        "",
        HookEvent(
            client="claude-code",
            event="PermissionRequest",
            tool="mcp__git__log",
            session="s1",
            cwd="/w",
            mcp_server="git",
        ),
    ),
    (
        "claude-code",
        {"tool_name": "Read", "tool_input": {"file_path": "/x"}},
        "",
        HookEvent(client="claude-code", event="PreToolUse", tool="Read", input={"file_path": "/x"}),
    ),
    (
        "codex",
        CODEX,
        "",
        HookEvent(
            client="codex",
            event="PreToolUse",
            tool="Bash",
            input=CLAUDE["tool_input"],  # type: ignore[arg-type]
            session="s1",
            cwd="/w",
            tool_use_id="toolu_1",
        ),
    ),
    (
        "gemini-cli",
        GEMINI,
        "",
        HookEvent(
            client="gemini-cli",
            event="BeforeTool",
            tool="run_shell_command",
            input={"command": "ls"},
            session="s1",
            cwd="/w",
        ),
    ),
    (
        "cursor",
        CURSOR_SHELL,
        "",
        HookEvent(
            client="cursor",
            event="beforeShellExecution",
            tool="Shell",
            input={"command": "ls"},
            session="s1",
            cwd="/w",
        ),
    ),
    (
        "cursor",
        CURSOR_MCP,
        "",
        HookEvent(
            client="cursor",
            event="beforeMCPExecution",
            tool="mcp__cursor__query",
            input={"q": 1},
            session="s1",
            cwd="/w",
        ),
    ),
    (
        "cursor",
        CURSOR_PRE,
        "",
        HookEvent(
            client="cursor",
            event="preToolUse",
            tool="Write",
            input={"file_path": "a.txt"},
            session="s1",
            cwd="/w",
            tool_use_id="u1",
        ),
    ),
    (
        "cursor",
        CURSOR_READ,
        "",
        HookEvent(
            client="cursor",
            event="beforeReadFile",
            tool="Read",
            input={"file_path": "/w/.env"},
            session="s1",
            cwd="/w",
        ),
    ),
    (
        "copilot",
        COPILOT,
        "",
        HookEvent(client="copilot", tool="bash", input={"command": "ls"}, session="s1", cwd="/w"),
    ),
    (
        "copilot",
        VSCODE,
        "",
        HookEvent(
            client="copilot",
            event="PreToolUse",
            tool="editFiles",
            input={"files": ["a", "b"]},
            session="s1",
            cwd="/w",
            tool_use_id="u1",
        ),
    ),
    (
        "airlock",
        OWN_CALL,
        "",
        HookEvent(client="ci", tool="deploy/production", input={"tag": "v1"}, agent="deploy-bot"),
    ),
    (
        "airlock",
        {"client": "ci", "tool": "x", "session_id": "s", "more": 1},
        "codex",
        HookEvent(client="ci", tool="x", session="s", agent="ci"),
    ),
]


@pytest.mark.parametrize(
    ("name", "payload", "client", "event"), READINGS, ids=[f"{r[0]}-{n}" for n, r in enumerate(READINGS)]
)
def test_a_payload_is_recognised_and_read(
    name: str, payload: dict[str, Any], client: str, event: HookEvent
) -> None:
    dialect = choose(payload, client)
    assert dialect.name == name
    assert dialect.read(payload) == event


QUIET: list[tuple[str, dict[str, Any]]] = [
    ("claude-code", {**CLAUDE, "hook_event_name": "PostToolUse", "tool_response": {}}),
    ("claude-code", {"hook_event_name": "Elicitation", "message": "m"}),
    ("claude-code", {"hook_event_name": "SessionStart"}),
    ("claude-code", {"hook_event_name": "UserPromptSubmit", "prompt": "p"}),
    ("codex", {**CODEX, "hook_event_name": "Stop"}),
    ("gemini-cli", {**GEMINI, "hook_event_name": "AfterTool"}),
    ("cursor", {**CURSOR, "hook_event_name": "afterFileEdit"}),
    ("cursor", {**CURSOR, "hook_event_name": "stop"}),
    ("copilot", {**COPILOT, "toolResult": {}}),
    ("copilot", {"timestamp": 1, "cwd": "/w", "source": "new"}),
    ("copilot", {**VSCODE, "hookEventName": "PostToolUse"}),
]


@pytest.mark.parametrize(("client", "payload"), QUIET, ids=[f"{q[0]}-{n}" for n, q in enumerate(QUIET)])
def test_an_event_that_is_no_tool_call_is_answered_with_nothing(client: str, payload: dict[str, Any]) -> None:
    dialect = choose(payload, client)
    assert dialect.read(payload) is None
    assert dialect.quiet().stdout == b"{}"
    assert dialect.quiet().status == 200


BROKEN: list[tuple[str, Any]] = [
    ("claude-code", {**CLAUDE, "tool_name": None}),
    ("claude-code", {**CLAUDE, "tool_name": "  "}),
    ("claude-code", {**CLAUDE, "tool_input": [1]}),
    ("claude-code", {**CLAUDE, "tool_input": "{"}),
    ("claude-code", {**CLAUDE, "hook_event_name": "PreToolUsed"}),
    ("claude-code", {}),
    ("codex", {"hook_event_name": "PreToolUse"}),
    ("gemini-cli", {**GEMINI, "tool_input": 7}),
    ("gemini-cli", {"hook_event_name": "beforeTool", "tool_name": "x"}),
    ("cursor", {**CURSOR, "hook_event_name": "beforeShellExecutions"}),
    ("cursor", {**CURSOR_PRE, "tool_name": 3}),
    ("cursor", {**CURSOR_MCP, "tool_input": '{"a": NaN}'}),
    ("copilot", {**COPILOT, "toolArgs": "nonsense"}),
    ("copilot", {"cwd": "/w"}),
]


@pytest.mark.parametrize(("client", "payload"), BROKEN, ids=[f"{b[0]}-{n}" for n, b in enumerate(BROKEN)])
def test_a_broken_payload_of_a_known_client_is_a_well_formed_deny(client: str, payload: Any) -> None:
    dialect = choose(payload, client)
    with pytest.raises(UnreadableHook) as caught:
        dialect.read(payload)
    refused = dialect.deny(str(caught.value), event=dialect.event_of(payload))
    assert refused.status == 200
    assert denies(dialect, json.loads(refused.stdout))


def denies(dialect: Dialect, body: dict[str, Any]) -> bool:
    """True when the real client takes this for a no (docs/hook.md)."""
    special = body.get("hookSpecificOutput", {})
    if dialect.name in {"claude-code", "codex"}:
        if special.get("hookEventName") == "PermissionRequest":
            return special["decision"]["behavior"] == "deny" and bool(special["decision"]["message"])
        return special.get("permissionDecision") == "deny" and bool(
            special["permissionDecisionReason"].strip()
        )
    if dialect.name == "gemini-cli":
        return body.get("decision") == "deny" and bool(body["reason"])
    if dialect.name == "cursor":
        return body.get("permission") == "deny" and bool(body["user_message"])
    if dialect.name == "copilot":
        return body.get("permissionDecision") == special.get("permissionDecision") == "deny"
    return body.get("decision") == "deny" and body.get("allowed") is False


@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["client", "tool", "tool_name", "tool_input", "hook_event_name", "toolName", "toolArgs"]
                )
                | st.text(max_size=6),
                inner | st.sampled_from(["PreToolUse", "BeforeTool", "preToolUse", "{}"]),
                max_size=5,
            )
        ),
        max_leaves=12,
    ),
    client=st.sampled_from(["", "claude-code", "codex", "gemini-cli", "cursor", "copilot", "other"]),
)
@settings(max_examples=400)
def test_any_json_is_read_or_denied_and_nothing_else(payload: object, client: str) -> None:
    dialect = choose(payload, client)
    try:
        event = dialect.read(payload) if isinstance(payload, dict) else None
    except UnreadableHook as reason:
        refused = dialect.deny(str(reason), event=dialect.event_of(payload))
        body = json.loads(refused.stdout)
        assert denies(dialect, body) or (body == {} and dialect.event_of(payload) in dialect.quiet_events)
    else:
        assert event is None or event.tool.strip()


CALL = Call(id="c", principal=Principal(name="a", identity="agent:a"), provider="bash", name="ls")
YES = Decision(effect=Effect.ALLOW, tool="bash/ls")
REFUSED = Refuse(call=CALL, kind=Refusal.POLICY, reason="reads   only\nplease")


def event_for(name: str, event: str = "") -> HookEvent:
    return HookEvent(client=name, event=event, tool="x")


ALLOWS = {
    "claude-code": (
        "PreToolUse",
        {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "airlock: allowed",
            }
        },
    ),
    "codex": ("PreToolUse", {}),
    "gemini-cli": ("BeforeTool", {"decision": "allow"}),
    "cursor": ("beforeShellExecution", {"permission": "allow"}),
    "copilot": (
        "",
        {
            "permissionDecision": "allow",
            "permissionDecisionReason": "airlock: allowed",
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "airlock: allowed",
            },
        },
    ),
}


@pytest.mark.parametrize("name", list(ALLOWS))
def test_a_proceed_is_told_in_the_clients_own_words(name: str) -> None:
    event, body = ALLOWS[name]
    dialect = DIALECTS[name]
    proceed = dialect.allow(event_for(name, event), "bash/ls")
    assert (proceed.status, proceed.exit_code, json.loads(proceed.stdout)) == (200, 0, body)


@pytest.mark.parametrize("name", [*DIALECTS, "airlock"])
def test_a_refusal_is_a_deny_with_its_reason_in_one_line(name: str) -> None:
    dialect = DIALECTS.get(name, OWN)
    refused = answer(dialect, event_for(name, ALLOWS.get(name, ("", {}))[0]), REFUSED, "bash/ls")
    assert refused.exit_code == 0
    assert denies(dialect, json.loads(refused.stdout))
    assert "reads only please" in refused.stdout.decode()


@pytest.mark.parametrize("name", [*DIALECTS, "airlock"])
def test_a_deny_without_words_still_has_a_reason(name: str) -> None:
    dialect = DIALECTS.get(name, OWN)
    assert denies(dialect, json.loads(dialect.deny("", event="").stdout))


def test_a_permission_dialog_is_answered_in_its_own_shape() -> None:
    claude = by_name("claude-code")
    event = event_for("claude-code", "PermissionRequest")
    allowed = json.loads(claude.allow(event, "bash/ls").stdout)["hookSpecificOutput"]
    denied = json.loads(answer(claude, event, REFUSED, "").stdout)["hookSpecificOutput"]
    assert allowed == {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}}
    assert denied["decision"] == {"behavior": "deny", "message": "airlock: reads only please"}
    assert claude.ask("why", event="PermissionRequest").body == {}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("claude-code", "ask"),
        ("codex", "deny"),
        ("gemini-cli", "deny"),
        ("cursor", "ask"),
        ("copilot", "ask"),
    ],
)
def test_only_clients_that_stop_at_ask_are_told_to_ask(name: str, asked: str) -> None:
    dialect = DIALECTS[name]
    body = dialect.ask("a person must say", event=ALLOWS[name][0]).stdout.decode()
    assert f'"{asked}"' in body
    assert dialect.asks is (asked == "ask")


def test_a_deferred_call_is_told_so() -> None:
    assert defer().body["hookSpecificOutput"]["permissionDecision"] == "defer"


def test_airlocks_own_answers_have_both_spellings_of_the_decision() -> None:
    event = HookEvent(client="ci", tool="deploy/production")
    assert OWN.allow(event, "deploy/production").body == {
        "decision": "allow",
        "allowed": True,
        "tool": "deploy/production",
    }
    assert answer(OWN, event, REFUSED, "deploy/production").body == {
        "decision": "deny",
        "allowed": False,
        "tool": "deploy/production",
        "reason": "reads only please",
    }


@pytest.mark.parametrize(
    "payload",
    [{"client": "ci"}, {"client": "", "tool": "x"}, {"client": 3, "tool": "x"}, {"client": "a", "tool": ""}],
)
def test_airlocks_own_payload_without_its_fields_is_an_error(payload: dict[str, Any]) -> None:
    dialect = choose(payload)
    with pytest.raises(UnreadableHook) as caught:
        dialect.read(payload)
    refused = dialect.deny(str(caught.value), status=caught.value.status)
    assert (refused.status, refused.exit_code) == (400, 2)
    assert refused.body == {"error": "Missing required fields: client, tool"}


@pytest.mark.parametrize("payload", [None, 7, "x", [], [CLAUDE], {"tool": "x"}])
def test_what_nobody_can_place_is_answered_as_claude_code_unless_the_client_is_named(payload: object) -> None:
    assert choose(payload).name == "claude-code"
    assert choose(payload, "gemini-cli").name == "gemini-cli"
    assert choose(payload, "no such client").name == "claude-code"


def test_a_native_payload_with_a_client_member_is_not_airlocks_own() -> None:
    assert choose({**CLAUDE, "client": "ci"}).name == "claude-code"
    assert choose({**COPILOT, "client": "ci"}).name == "copilot"


@pytest.mark.parametrize(
    ("name", "timeout_ms", "hold_ms"),
    [
        ("claude-code", None, 540_000),
        ("gemini-cli", None, 54_000),
        ("copilot", None, 25_000),
        ("claude-code", 10_000, 5_000),
        ("claude-code", 3_000, 0),
        ("claude-code", 0, 0),
    ],
)
def test_a_wait_ends_before_the_client_gives_up(name: str, timeout_ms: int | None, hold_ms: int) -> None:
    assert by_name(name).hold_ms(timeout_ms) == hold_ms


def test_the_words_for_a_wait_hold_no_code() -> None:
    assert "still open" in STILL_OPEN


def test_a_proceed_is_what_allows_and_nothing_else() -> None:
    proceed = Proceed(call=CALL, decision=YES, started_at=0)
    event = event_for("gemini-cli", "BeforeTool")
    assert answer(by_name("gemini-cli"), event, proceed, "bash/ls").body == {"decision": "allow"}
