"""Plugging clients in: the entries for each, what stays of their files, and what takes it out again."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.hookup import HOOKED, SECONDS, TOKEN_MARK, Edit, Link, edited, hook_edits, is_ours
from airlock.cli.hosts import HOSTS
from airlock.cli.native import native_policy
from airlock.cli.plan import make_plan
from airlock.cli.plugin import HOOKS, MANIFEST, README, SERVERS, plugin_files, shipped
from airlock.cli.splice import add_toml_table, put_json, read_json
from airlock.config import MCP_NAMES
from airlock.errors import UsageError
from airlock.hooks.dialects import by_name
from airlock.loader.file import loads
from airlock.model import Call, Effect, Part, Principal
from airlock.policy import Facts, Policy, compile_policy
from tests.support.terminal import Terminal

LINK = Link(agent="bot", command=("/opt/air lock/bin/airlock",), config=Path("/p q/airlock.yaml"))
GATEWAY = Link(
    agent="bot", command=("airlock",), config=Path("/p/airlock.yaml"), gateway="http://127.0.0.1:4111"
)


def entries(host: str, link: Link) -> list[dict[str, Any]]:
    """Every hook that is written for this client."""
    found: list[dict[str, Any]] = []
    for edit in hook_edits(host, link):
        if edit.path[0] == "hooks":
            found += edit.value.get("hooks", [edit.value])
    return found


# The entries


@pytest.mark.parametrize("host", HOOKED)
@pytest.mark.parametrize("link", [LINK, GATEWAY], ids=["in-process", "gateway"])
def test_every_hook_blocks_when_it_cannot_be_asked_and_knows_its_callers_limit(host: str, link: Link) -> None:
    hooks = entries(host, link)
    assert hooks
    for hook in hooks:
        if hook.get("type") == "http":
            assert hook["url"].endswith(f"&timeout={SECONDS}")
            assert hook["timeout"] == SECONDS
        else:
            assert hook["command"].endswith("|| exit 2")
            assert f"--timeout {SECONDS} " in hook["command"]
            assert "--agent bot" in hook["command"]
            assert hook["timeout"] == SECONDS * (1000 if host == "gemini-cli" else 1)
        assert is_ours(hook)
    if host == "claude-code":
        assert hooks[0]["onFailure"] == "block"
    if host == "cursor":
        assert all(hook["failClosed"] for hook in hooks)


def test_no_entry_holds_a_secret_and_only_claude_codes_own_settings_hold_a_key() -> None:
    for host in HOOKED:
        text = json.dumps([edit.value for edit in hook_edits(host, GATEWAY)])
        assert (TOKEN_MARK in text) == (host == "claude-code")
        assert "api_secret" not in text.lower()


def test_the_limit_is_longer_than_a_question_lives_and_a_dialect_answers_before_it() -> None:
    for client in ("claude-code", "codex", "gemini-cli", "cursor", "copilot"):
        assert by_name(client).hold_ms(SECONDS * 1000) > 300_000


def test_a_command_with_blanks_in_its_paths_is_one_that_a_shell_reads() -> None:
    (hook,) = entries("codex", LINK)
    line = hook["command"].replace("'/opt/air lock/bin/airlock'", "printf '<%s>'")
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("<hook><--client><codex><--config></p q/airlock.yaml><--agent><bot>")


# Other people's files


@pytest.mark.parametrize("text", ["", "{}", '{"hooks": {}}', '{\n\t"model": "x", // mine\n}\n'])
@pytest.mark.parametrize("host", HOOKED)
def test_a_second_time_changes_nothing_and_another_link_takes_the_place_of_ours(host: str, text: str) -> None:
    for file in {edit.file for edit in hook_edits(host, LINK)}:
        mine = [edit for edit in hook_edits(host, LINK) if edit.file == file]
        once = edited(text, mine)
        assert edited(once, mine) == once
        other = [edit for edit in hook_edits(host, GATEWAY) if edit.file == file]
        twice = edited(once, other)
        for edit in other:
            if edit.path[0] == "hooks":
                hooks = read_json(twice)["hooks"][edit.path[1]]
                assert hooks == [edit.value]
        if "mine" in text:
            assert "// mine" in twice


def test_hooks_of_others_stay_where_they_are() -> None:
    theirs = {"matcher": "Bash", "hooks": [{"type": "command", "command": "lint || exit 2"}]}
    text = json.dumps({"hooks": {"PreToolUse": [theirs], "Stop": [theirs]}}, indent=4)
    after = read_json(edited(text, hook_edits("claude-code", LINK)))
    assert after["hooks"]["PreToolUse"][0] == theirs
    assert is_ours(after["hooks"]["PreToolUse"][1])
    assert after["hooks"]["Stop"] == [theirs]


@pytest.mark.parametrize(
    "text", ['{"hooks": []}', '{"hooks": {"PreToolUse": {}}}', '{"hooks": {"PreToolUse": "x"}}', "{nonsense"]
)
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        edited(text, [Edit(file="x", path=("hooks", "PreToolUse"), value={"a": 1})])


keys = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(keys, values, max_size=4),
    st.lists(keys, min_size=1, max_size=3),
    values,
    st.sampled_from([None, 1, 4, "\t"]),
    st.booleans(),
)
def test_a_value_is_put_into_any_object_and_everything_else_stays(
    whole: dict[str, Any], path: list[str], value: Any, indent: Any, bom: bool
) -> None:
    text = "\ufeff" * bom + json.dumps(whole, indent=indent, ensure_ascii=False)
    wanted = json.loads(json.dumps(whole))
    place = wanted
    for key in path[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            with pytest.raises(UsageError):
                put_json(text, path, value)
            return
    place[path[-1]] = value
    assert read_json(put_json(text, path, value)) == wanted


def test_a_table_is_added_to_toml_once() -> None:
    text = 'model = "x" # mine'
    added = add_toml_table(text, "mcp_servers.airlock", {"command": "airlock", "args": ["stdio"]})
    assert added.startswith(text)
    assert tomllib.loads(added)["mcp_servers"]["airlock"] == {"command": "airlock", "args": ["stdio"]}
    with pytest.raises(UsageError, match="cannot be added"):
        add_toml_table(added, "mcp_servers.airlock", {"command": "airlock"})
    assert tomllib.loads(add_toml_table("", "a.b", {"c": "d"})) == {"a": {"b": {"c": "d"}}}


# The policy for a client's own tools


def policy_for(host: str, project: Path) -> Policy:
    native = native_policy(host, "bot", project, (".airlock.env", "airlock.yaml"))
    plan = make_plan("bot", [], env_file=".env", secret="s" * 20, basics=host == "claude-code", native=native)
    return compile_policy(loads(plan.config, project / "airlock.yaml", {**plan.variables}, lenient=True))


def effect(policy: Policy, tool: str, **arguments: Any) -> Effect:
    provider, _, name = tool.partition("/")
    call = Call(
        id="c",
        principal=Principal(name="bot", identity="agent:bot"),
        provider=provider if name else "",
        name=name or tool,
        arguments=arguments,
        parts=(Part(tool=tool, arguments=arguments),),
    )
    resolved = {one: os.path.realpath(one) for one in policy.needs(call).paths}
    return policy.evaluate(call, Facts(now=0, resolved=resolved)).effect


@pytest.mark.parametrize("host", HOOKED)
def test_reading_in_the_project_is_allowed_elsewhere_asked_and_changing_asked(
    host: str, tmp_path: Path
) -> None:
    policy = policy_for(host, tmp_path)
    assert effect(policy, "file/read", path=f"{tmp_path}/src/a.py") is Effect.ALLOW
    assert effect(policy, "file/read", path=str(tmp_path)) is Effect.ALLOW
    assert effect(policy, "file/read", path="/etc/passwd") is Effect.ASK
    assert effect(policy, "file/read", path=f"{tmp_path}-other/a") is Effect.ASK
    assert effect(policy, "file/read") is Effect.ASK
    assert effect(policy, "file/write", path=f"{tmp_path}/src/a.py") is Effect.ASK
    assert effect(policy, "bash/rm", argv=["rm"]) is Effect.ASK
    assert effect(policy, "bash/_complex", command="x") is Effect.ASK
    assert effect(policy, "bash/ls", argv=["ls"]) is Effect.ALLOW
    assert effect(policy, "http/fetch", url="https://example.com") is Effect.ASK
    assert effect(policy, "mcp__other__tool") is Effect.DENY


@pytest.mark.parametrize("name", [".airlock.env", "airlock.yaml"])
@pytest.mark.parametrize("tool", ["file/read", "file/write", "file/edit"])
def test_airlocks_own_files_are_out_of_reach_of_the_file_tools(name: str, tool: str, tmp_path: Path) -> None:
    for host in HOOKED:
        policy = policy_for(host, tmp_path)
        assert effect(policy, tool, path=f"{tmp_path}/{name}") is Effect.DENY
        assert effect(policy, tool, path=f"{tmp_path}/src/../{name}") is Effect.DENY
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)
        assert effect(policy, tool, path=str(link)) is Effect.DENY


# The plugin


def test_the_shipped_plugin_is_what_is_written_but_for_this_machines_paths() -> None:
    plain = Link(agent="claude-code", command=("airlock",), config=Path("/p/airlock.yaml"))
    made = plugin_files(plain)
    assert made[MANIFEST] == shipped(MANIFEST)
    assert made[README] == shipped(README)
    ours, theirs = json.loads(made[HOOKS]), json.loads(shipped(HOOKS))
    hook = ours["hooks"]["PreToolUse"][0]["hooks"][0]
    named = "--config /p/airlock.yaml --agent claude-code --timeout 600 || exit 2"
    assert hook["command"] == f"airlock hook --client claude-code {named}"
    hook["command"] = theirs["hooks"]["PreToolUse"][0]["hooks"][0]["command"]
    assert ours == theirs
    server = json.loads(shipped(SERVERS))["mcpServers"]["airlock"]
    assert [server["command"], *server["args"]] == ["airlock", "stdio", "--agent", "claude-code"]
    assert (files("airlock") / "plugin" / "claude-code" / MANIFEST).is_file()


def test_the_plugins_server_is_known_as_ours() -> None:
    name = json.loads(shipped(MANIFEST))["name"]
    server = next(iter(json.loads(shipped(SERVERS))["mcpServers"]))
    assert f"plugin:{name}:{server}" in MCP_NAMES


# The command


@pytest.fixture
def bare(terminal: Terminal) -> Terminal:
    terminal.config.unlink()
    return terminal


OWN_FILES = {".airlock.env", "airlock.yaml"}


def client_files(terminal: Terminal) -> set[str]:
    """What lies in the project beside Airlock's own files."""
    found = (path.relative_to(terminal.folder) for path in terminal.folder.rglob("*") if path.is_file())
    return {str(path) for path in found if str(path) not in OWN_FILES}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host", [one.name for one in HOSTS if one.name in {"claude-code", "cursor", "vscode"}]
)
async def test_init_for_a_named_client_writes_entry_and_hooks_and_undo_removes_even_the_folders(
    host: str, bare: Terminal
) -> None:
    before = client_files(bare)
    ended = await bare.run("init", f"--{host}", "--write-client", "--yes", "--json")
    assert ended.code == 0, ended.err
    wrote = {
        "claude-code": {".mcp.json", ".claude/settings.local.json"},
        "cursor": {".cursor/mcp.json", ".cursor/hooks.json"},
        "vscode": {".vscode/mcp.json", ".github/hooks/airlock.json"},
    }[host]
    assert client_files(bare) - before == wrote
    assert all(stat.S_IMODE((bare.folder / name).stat().st_mode) == 0o600 for name in wrote)
    assert (await bare.run("init", "--undo")).code == 0
    assert client_files(bare) == before
    assert not any((bare.folder / name).parent.exists() for name in wrote if "/" in name)


@pytest.mark.anyio
async def test_connect_leaves_the_config_and_the_clients_other_servers_alone(bare: Terminal) -> None:
    assert (await bare.run("init")).code == 0
    config = bare.config.read_bytes()
    file = bare.folder / ".mcp.json"
    file.write_text('{\n  "mcpServers": {"other": {"command": "x"}} // mine\n}\n')
    shown = await bare.run("init", "--connect", "--claude-code")
    assert shown.code == 0, shown.err
    assert "PreToolUse" in shown.out
    assert "airlock" not in file.read_text()
    ended = await bare.run("init", "--connect", "--claude-code", "--write-client", "--yes")
    assert ended.code == 0, ended.err
    assert list(read_json(file.read_text())["mcpServers"]) == ["other", "airlock"]
    assert "// mine" in file.read_text()
    assert bare.config.read_bytes() == config
    again = await bare.run("init", "--connect", "--claude-code", "--write-client", "--yes")
    assert "nothing to do" in again.out


@pytest.mark.anyio
@pytest.mark.parametrize("words", [["--write-client", "--yes"], ["--print"], ["--print", "--json"]])
async def test_no_secret_of_a_server_that_stays_is_shown(bare: Terminal, words: list[str]) -> None:
    assert (await bare.run("init")).code == 0
    entry = {
        "command": "/opt/programs/of/mine/and/quite/far/away/server",
        "args": ["--api-key", "hush-1"],
        "env": {"DB_PASSWORD": "hush-2", "MODE": "fast"},
    }
    web = {"url": "https://example.com/mcp", "headers": {"X-Custom": "hush-3"}}
    (bare.folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"other": entry, "web": web}}))
    (bare.folder / ".claude").mkdir()
    (bare.folder / ".claude/settings.local.json").write_text('{"env": {"MY_API_KEY": "hush-4"}}')
    shown = await bare.run("init", "--connect", "--claude-code", *words)
    assert shown.code == 0, shown.err
    assert "hush" not in shown.out + shown.err
    if "--json" not in words:
        assert "far/away/server" in shown.out
        assert "fast" in shown.out


@pytest.mark.anyio
async def test_connect_wants_an_agent_that_the_config_knows(bare: Terminal) -> None:
    assert (await bare.run("init")).code == 0
    ended = await bare.run("init", "--connect", "--codex", "--write-client", "--yes")
    assert ended.code == 2
    assert "no agent `codex`" in ended.err


@pytest.mark.anyio
async def test_an_agents_shell_cannot_make_itself_a_key(bare: Terminal) -> None:
    assert (await bare.run("init")).code == 0
    words = ["--connect", "--claude-code", "--write-client", "--yes", "--gateway", "http://127.0.0.1:4111"]
    ended = await bare.run("init", *words, env={"CLAUDECODE": "1"})
    assert ended.code == 4
    assert not (bare.folder / ".claude").exists()


@pytest.mark.anyio
async def test_no_hooks_leaves_the_clients_own_tools_and_the_policy_for_them_out(bare: Terminal) -> None:
    ended = await bare.run("init", "--claude-code", "--no-hooks", "--write-client", "--yes")
    assert ended.code == 0, ended.err
    assert not (bare.folder / ".claude").exists()
    assert "bash/" not in bare.config.read_text()
