"""From native tool names and arguments to the policy's names and parts."""

from __future__ import annotations

from typing import Any

import pytest

from airlock.hooks.calls import build_call
from airlock.hooks.dialect import HookEvent
from airlock.hooks.tools import arguments_of, is_ours, parts_of
from airlock.hooks.urls import host_of


def event(
    tool: str, arguments: dict[str, Any] | None = None, client: str = "claude-code", **more: str
) -> HookEvent:
    return HookEvent(
        client=client,
        event=more.pop("event", "PreToolUse"),
        tool=tool,
        input=arguments or {},
        cwd="/w",
        **more,
    )


NAMES = [
    ("claude-code", "Bash", {"command": "git push"}, ["bash/git"]),
    ("claude-code", "Bash", {"command": "git push | cat"}, ["bash/git", "bash/cat"]),
    ("claude-code", "Bash", {}, ["bash/_empty"]),
    ("claude-code", "Bash", {"command": 7}, ["bash/_empty"]),
    ("claude-code", "Bash", {"command": "$X"}, ["bash/_complex"]),
    ("claude-code", "Edit", {"file_path": "/w/a"}, ["file/edit"]),
    ("claude-code", "MultiEdit", {"file_path": "/w/a"}, ["file/edit"]),
    ("claude-code", "Write", {"file_path": "/w/a"}, ["file/write"]),
    ("claude-code", "Read", {"file_path": "/w/a"}, ["file/read"]),
    ("claude-code", "Glob", {"pattern": "*"}, ["file/glob"]),
    ("claude-code", "Grep", {"pattern": "x"}, ["file/grep"]),
    ("claude-code", "LS", {"path": "/w"}, ["file/list"]),
    ("claude-code", "WebFetch", {"url": "https://a.example/x"}, ["http/fetch"]),
    ("claude-code", "WebSearch", {"query": "x"}, ["http/search"]),
    ("claude-code", "Agent", {}, ["agent/spawn"]),
    ("claude-code", "Task", {}, ["agent/spawn"]),
    ("claude-code", "TodoRead", {}, ["todo/read"]),
    ("claude-code", "TodoWrite", {}, ["todo/write"]),
    ("claude-code", "NotebookEdit", {"notebook_path": "/w/n.ipynb"}, ["notebook/edit"]),
    ("claude-code", "ToolSearch", {}, ["ToolSearch"]),
    ("claude-code", "AskUserQuestion", {}, ["AskUserQuestion"]),
    ("claude-code", "mcp__git__git_log", {}, ["mcp__git__git_log"]),
    ("claude-code", "bash", {"command": "ls"}, ["bash"]),
    ("codex", "Bash", {"command": "git push"}, ["bash/git"]),
    ("codex", "exec_command", {"cmd": "git push"}, ["bash/git"]),
    ("codex", "shell", {"command": ["bash", "-lc", "git push && rm x"]}, ["bash/git", "bash/rm"]),
    ("codex", "shell", {"command": ["git", "push", "$HOME"]}, ["bash/git"]),
    ("codex", "shell", {"command": [1]}, ["bash/_empty"]),
    (
        "codex",
        "apply_patch",
        {
            "command": "*** Begin Patch\n*** Update File: a\n*** Move to: ../b\n"
            "*** Add File: c\n*** Delete File: /d\n"
        },
        ["file/edit", "file/write", "file/write", "file/write"],
    ),
    ("codex", "apply_patch", {"command": "nothing"}, ["file/_complex"]),
    ("codex", "update_plan", {}, ["todo/write"]),
    ("gemini-cli", "run_shell_command", {"command": "git push"}, ["bash/git"]),
    ("gemini-cli", "replace", {"file_path": "/w/a"}, ["file/edit"]),
    ("gemini-cli", "web_fetch", {"prompt": "at https://a.example, http://b.example"}, ["http/fetch"] * 2),
    ("gemini-cli", "web_fetch", {"prompt": "http://a.example", "url": "http://b.it"}, ["http/fetch"] * 2),
    ("gemini-cli", "web_fetch", {"prompt": "read www.evil.example"}, ["http/fetch", "http/_complex"]),
    ("codex", "exec_command", {"command": "ls", "cmd": "rm x"}, ["bash/ls", "bash/rm"]),
    ("claude-code", "Glob", {"pattern": "src/*/../../../etc/*"}, ["file/glob", "file/_complex"]),
    ("claude-code", "Glob", {"pattern": "{/etc,src}/*"}, ["file/glob", "file/_complex"]),
    ("claude-code", "Read", {"file_path": "~root/x"}, ["file/read", "file/_complex"]),
    ("claude-code", "Read", {"file_path": "file:///etc/passwd"}, ["file/read", "file/_complex"]),
    ("claude-code", "Read", {"file_path": "a\x00b"}, ["file/read", "file/_complex"]),
    ("gemini-cli", "google_web_search", {"query": "x"}, ["http/search"]),
    ("cursor", "Shell", {"command": "git push"}, ["bash/git"]),
    ("cursor", "Delete", {"file_path": "/w/a"}, ["file/write"]),
    ("copilot", "bash", {"command": "git push"}, ["bash/git"]),
    ("copilot", "run_in_terminal", {"command": "git push"}, ["bash/git"]),
    ("copilot", "editFiles", {"files": ["a", "b"]}, ["file/edit", "file/edit"]),
    ("copilot", "fetch_webpage", {"urls": ["https://a.example", "https://b.example"]}, ["http/fetch"] * 2),
    ("ci", "Bash", {"command": "git push"}, ["Bash"]),
    ("ci", "deploy/production", {}, ["deploy/production"]),
]  # fmt: skip


@pytest.mark.parametrize(("client", "tool", "arguments", "names"), NAMES)
def test_a_native_tool_has_these_names(
    client: str, tool: str, arguments: dict[str, Any], names: list[str]
) -> None:
    assert [part.tool for part in parts_of(event(tool, arguments, client))] == names


def test_lower_case_bash_in_airlocks_own_payload_is_exec_run() -> None:
    (part,) = parts_of(event("bash", {"command": "ls"}, event=""))
    assert part.tool == "exec/run"


PATHS = [
    ("Edit", {"file_path": "src/../a.py"}, ["/w/a.py"]),
    ("Edit", {"file_path": "/w/./x//y"}, ["/w/x/y"]),
    ("Write", {"file_path": "../../etc/passwd"}, ["/etc/passwd"]),
    ("Read", {"file_path": "//etc/passwd"}, ["/etc/passwd"]),
    ("Glob", {"pattern": "**/*.py"}, ["/w"]),
    ("Glob", {"pattern": "/etc/*"}, ["/etc"]),
    ("Glob", {"pattern": "../*", "path": "/w/sub"}, ["/w"]),
    ("Grep", {"pattern": "x", "path": "src"}, ["/w/src"]),
    ("Grep", {"pattern": "x"}, ["/w"]),
    ("LS", {"path": "/etc"}, ["/etc"]),
    ("Grep", {"pattern": "x", "path": "/etc", "file_path": "/w"}, ["/w", "/etc"]),
    ("Read", {"file_path": " /etc/passwd"}, ["/w/ /etc/passwd", "/etc/passwd"]),
    ("Read", {"file_path": "~/.ssh/id"}, ["/w/~/.ssh/id", "/home/me/.ssh/id"]),
    ("NotebookEdit", {"notebook_path": "n.ipynb"}, ["/w/n.ipynb"]),
]


@pytest.mark.parametrize(("tool", "arguments", "paths"), PATHS)
def test_a_file_tool_gives_its_absolute_path_beside_its_own_arguments(
    tool: str, arguments: dict[str, Any], paths: list[str]
) -> None:
    parts = parts_of(event(tool, arguments), home="/home/me")
    assert [part.arguments["path"] for part in parts] == paths
    for name, value in arguments.items():
        if name != "path":
            assert all(part.arguments[name] == value for part in parts)


def test_a_file_tool_without_a_path_has_none() -> None:
    (part,) = parts_of(event("Edit", {"path": 7, "old_string": "x"}))
    assert "path" not in part.arguments


HOSTS = [
    ("https://Example.COM/x", "example.com", True),
    ("http://example.com:8080", "example.com", True),
    ("https://example.com./", "example.com", True),
    ("https://example.com?x=1#y", "example.com", True),
    ("http://127.0.0.1/", "127.0.0.1", True),
    ("http://[::1]:80/", "::1", True),
    ("http://good@evil.example/", "evil.example", False),
    ("http://good:80@evil.example/", "evil.example", False),
    ("http://good.example\\@evil.example/", "good.example", False),
    ("http://good.example /", "good.example", False),
    ("http://2130706433/", "2130706433", False),
    ("http://0x7f.1/", "0x7f.1", False),
    ("http://0177.0.0.1/", "0177.0.0.1", False),
    ("http://127.1/", "127.1", False),
    ("http://[::ffff:127.0.0.1]/", "::ffff:7f00:1", False),
    ("http://ex%61mple.com/", "ex%61mple.com", False),
    ("http://exämple.com/", "exämple.com", False),
    ("http://evil。example/", "evil。example", False),
    ("http:///evil.example/", "evil.example", False),
    ("http:evil.example/", "evil.example", False),
    ("file:///etc/passwd", "etc", False),
    ("javascript:alert(1)", "alert(1)", False),
    ("evil.example", "", False),
    ("", "", False),
    ("http://a..b/", "a..b", False),
    (" http://evil.example/", "evil.example", False),
]


@pytest.mark.parametrize(("url", "host", "sure"), HOSTS)
def test_a_host_is_sure_only_where_every_reader_finds_the_same(url: str, host: str, sure: bool) -> None:
    found, certain = host_of(url)
    assert certain is sure
    if sure:
        assert found == host


def test_a_url_that_is_read_differently_adds_a_part_that_is_not_understood() -> None:
    parts = parts_of(event("WebFetch", {"url": "http://good@evil.example/"}))
    assert [part.tool for part in parts] == ["http/fetch", "http/_complex"]
    assert parts[0].arguments["host"] == "evil.example"


def test_a_fetch_keeps_its_url_and_has_a_host() -> None:
    (part,) = parts_of(
        event("WebFetch", {"url": "https://Docs.Example/x", "prompt": "see http://other.example"})
    )
    assert part.arguments == {
        "url": "https://Docs.Example/x",
        "prompt": "see http://other.example",
        "host": "docs.example",
    }


def test_tools_of_airlocks_own_entry_are_left_to_the_proxy() -> None:
    assert is_ours(event("mcp__airlock__git__push"), ("airlock",))
    assert is_ours(event("mcp__gate__x"), ("airlock", "gate"))
    assert is_ours(event("mcp_airlock_git__push", client="gemini-cli"), ("airlock",))
    assert not is_ours(event("mcp__git__push"), ("airlock",))
    assert not is_ours(event("mcp__airlocks__push"), ("airlock",))
    assert not is_ours(event("airlock"), ("airlock",))


def test_the_server_that_the_client_names_holds_over_the_tools_name() -> None:
    assert not is_ours(event("mcp__airlock__evil__x", mcp_server="airlock__evil"), ("airlock",))
    assert is_ours(event("mcp__airlock__git__x", mcp_server="airlock"), ("airlock",))


def test_an_mcp_tool_of_gemini_has_the_name_it_has_elsewhere() -> None:
    (part,) = parts_of(event("mcp_git_log", client="gemini-cli", mcp_server="git"))
    assert part.tool == "mcp__git__log"


def test_a_call_is_named_by_its_first_part_and_bound_to_the_native_arguments() -> None:
    happened = HookEvent(
        client="claude-code",
        event="PreToolUse",
        tool="Bash",
        input={"command": "cd sub && git push > out", "description": "Push it", "timeout": 5},
        session="s1",
        cwd="/w",
        tool_use_id="u1",
    )
    call = build_call(
        happened, agent="claude-code", workspace="/w/airlock.yaml", new_id=lambda: "id1", home="/home/me"
    )
    assert call.tool == "bash/cd"
    assert call.principal.identity == "agent:claude-code"
    assert call.arguments == {"command": "cd sub && git push > out", "timeout": 5}
    assert call.parts[1].arguments["argv"] == ["git", "push"]
    assert call.parts[1].arguments["cwd"] == "/w/sub"
    assert call.parts[1].arguments["timeout"] == 5
    assert [part.tool for part in call.parts] == ["bash/cd", "bash/git", "file/write", "file/write"]
    origin = call.origin
    assert (origin.road, origin.cwd, origin.session, origin.client, origin.tool_use_id, origin.workspace) == (
        "hook", "/w", "s1", "claude-code", "u1", "/w/airlock.yaml",
    )  # fmt: skip


def test_a_tool_without_a_namespace_has_no_provider() -> None:
    call = build_call(event("ToolSearch"), agent="a", workspace="", new_id=lambda: "id1")
    assert (call.provider, call.name, call.tool) == ("", "ToolSearch", "ToolSearch")


def test_the_words_an_agent_says_about_its_command_do_not_bind_and_everything_else_does() -> None:
    assert arguments_of(event("Bash", {"command": "ls", "description": "a"})) == {"command": "ls"}
    assert arguments_of(event("Task", {"description": "a"})) == {"description": "a"}
    own = event("Bash", {"command": "ls", "description": "a"}, event="")
    assert arguments_of(own) == {"command": "ls", "description": "a"}


def test_an_argument_that_the_tool_does_not_know_moves_nothing() -> None:
    parts = parts_of(event("Bash", {"command": "ls > x", "cwd": "/safe", "argv": ["fine"], "path": "/safe"}))
    assert parts[0].arguments["argv"] == ["ls"]
    assert "path" not in parts[0].arguments
    assert parts[1].arguments["path"] == "/w/x"


def test_a_shell_tool_with_a_folder_of_its_own_runs_there() -> None:
    parts = parts_of(event("exec_command", {"cmd": "ls > x", "workdir": "sub"}, client="codex"))
    assert parts[0].arguments["cwd"] == "/w/sub"
    assert parts[1].arguments["path"] == "/w/sub/x"
