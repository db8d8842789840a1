"""`init` reads what a client has, writes a config that fronts it, and is taken out again byte for byte."""

from __future__ import annotations

import json
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.hosts import HOSTS, Server, airlock_entry, host_named, rewritten, sections_of
from airlock.cli.plan import Planned, env_text, make_plan, provider_names, reads_only
from airlock.cli.splice import plain_json, read_json, replace_json, replace_toml_tables
from airlock.errors import UsageError
from airlock.home import state
from airlock.loader.file import load, loads
from airlock.policy import compile_policy
from tests.support.terminal import Terminal

DEMO = {"command": sys.executable, "args": ["-m", "airlock.demo"]}
MCP_JSON = """{
  "mcpServers": {
    "Notes": %s,
    "hub":   {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer abc.def"}}
  },
\t"other": [1,   2]
}"""


def mcp_json(**more: Any) -> str:
    return MCP_JSON % json.dumps({**DEMO, "env": {"API_TOKEN": "sup3rs3cret-value", "MODE": "fast"}, **more})


@pytest.fixture
def project(terminal: Terminal) -> Terminal:
    terminal.config.unlink()
    (terminal.folder / ".mcp.json").write_text(mcp_json())
    return terminal


# Reading and writing other programs' files

JSONC = """{
  // the servers, "quoted"
  "a": {"x": 1, /* not "b" */ "b": [1, 2,],},
  "c": "// no comment, \\" {",
}
"""


def test_comments_and_trailing_commas_are_read_and_kept() -> None:
    assert read_json(JSONC) == {"a": {"x": 1, "b": [1, 2]}, "c": '// no comment, " {'}
    changed = replace_json(JSONC, ("a", "b"), {"new": True})
    assert read_json(changed)["a"] == {"x": 1, "b": {"new": True}}
    assert '// the servers, "quoted"' in changed
    assert '/* not "b" */' in changed
    assert changed.endswith('"c": "// no comment, \\" {",\n}\n')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(), values, min_size=1, max_size=4), values, st.sampled_from([None, 1, 4, "\t"])
)
def test_replacing_one_value_changes_nothing_else(whole: dict[str, Any], value: Any, indent: Any) -> None:
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    key = next(iter(whole))
    assert len(plain_json(text)) == len(text)
    changed = replace_json(text, (key,), value)
    assert read_json(changed) == {**whole, key: value}
    assert replace_json(changed, (key,), value) == changed


def test_toml_tables_are_replaced_and_everything_else_stays() -> None:
    tables = '[mcp_servers.a]\ncommand = "a"\n[mcp_servers.a.env]\nK = "v"\n'
    text = f'model = "x"\n\n{tables}\n[tui]\ntheme = 1 # kept\n'
    changed = replace_toml_tables(text, "mcp_servers", {"airlock": {"command": "airlock", "args": ["é\x7f"]}})
    assert tomllib.loads(changed)["mcp_servers"] == {"airlock": {"command": "airlock", "args": ["é\x7f"]}}
    assert "[tui]\ntheme = 1 # kept\n" in changed


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = {a = {command = "x"}}\n',
        'mcp_servers.a.command = "x"\n',
        'note = """\n[mcp_servers.fake]\n"""\n[mcp_servers.a]\ncommand = "x"\n',
    ],
)
def test_toml_written_another_way_is_refused_and_never_damaged(text: str) -> None:
    with pytest.raises(UsageError, match="by hand"):
        replace_toml_tables(text, "mcp_servers", {"airlock": {"command": "airlock"}})


FILES = {
    "claude-code": [
        (".mcp.json", '{"mcpServers": {"one": {"command": "x"}}}'),
        ("~/.claude.json", '{"projects": {"%PROJECT%": {"mcpServers": {"two": {"command": "y"}}, "n": 1}}}'),
    ],
    "cursor": [(".cursor/mcp.json", '{"mcpServers": {"one": {"url": "https://h/sse"}}}')],
    "vscode": [(".vscode/mcp.json", '{"servers": {"one": {"type": "stdio", "command": "x"}}, "inputs": []}')],
    "codex": [("~/.codex/config.toml", 'model = "m"\n[mcp_servers.one]\ncommand = "x"\nargs = ["y"]\n')],
    "gemini-cli": [
        ("~/.gemini/settings.json", '{"theme": 1, "mcpServers": {"one": {"httpUrl": "https://h"}}}')
    ],
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_clients_own_format_is_read_and_rewritten(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    for place, text in FILES[name]:
        file = Path(place.replace("~", str(home))) if place.startswith("~") else project / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("%PROJECT%", str(project)))
    sections = list(sections_of(host_named(name), project))
    assert len(sections) == len(FILES[name])
    assert all(not one.is_airlock for section in sections for one in section.servers)
    for section in sections:
        section.file.write_text(rewritten(section, section.file.read_text(), ["airlock", "stdio"]))
    after = list(sections_of(host_named(name), project))
    assert [one.name for section in after for one in section.servers] == ["airlock"] * len(sections)
    assert all(one.is_airlock for section in after for one in section.servers)


def test_every_host_has_a_way_to_be_plugged_in() -> None:
    for host in HOSTS:
        assert airlock_entry(host.name, ["airlock", "stdio"])["command"] == "airlock"
        assert "{" in host.add


# The plan


@pytest.mark.parametrize(
    ("name", "hint", "reads"),
    [
        ("git_status", True, True),
        ("getUser", True, True),
        ("list_files", True, True),
        ("search", True, True),
        ("git_status", False, False),
        ("git_commit", True, False),
        ("get_and_delete", True, False),
        ("readWrite", True, False),
        ("frobnicate", True, False),
        ("run_query", True, False),
        ("fetch_url", True, False),
    ],
)
def test_a_tool_reads_only_when_its_hint_and_its_name_both_say_so(name: str, hint: bool, reads: bool) -> None:
    assert reads_only({"name": name, "annotations": {"readOnlyHint": hint}}) is reads


def test_a_hint_to_destroy_outweighs_everything() -> None:
    hints = {"readOnlyHint": True, "destructiveHint": True}
    assert not reads_only({"name": "list_files", "annotations": hints})
    assert not reads_only({"name": "list_files", "annotations": "yes"})


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, max_size=8))
def test_any_server_name_becomes_a_provider_that_the_config_accepts(names: list[str]) -> None:
    servers = [Server(name=name, command="x", args=("${x", "a: b", "#\n")) for name in names]
    found = provider_names(servers)
    assert len(set(found.values())) == len(names)
    planned = [Planned(name=found[one.name], server=one, allowed=("a*b", "x")) for one in servers]
    plan = make_plan("claude-code", planned, env_file=".env", secret="s" * 20, basics=True)
    config = loads(plan.config, Path("airlock.yaml"), {**plan.variables}, lenient=True)
    compile_policy(config)
    for one in servers and config.providers.values():
        assert one.args == ("${x", "a: b", "#\n")


def test_secrets_leave_the_config_and_references_stay() -> None:
    server = Server(
        name="x",
        command="run",
        args=("--api-key", "abc", "--token=def", "ghp_0123456789abcdefghij", "plain"),
        env={"GITHUB_TOKEN": "shh", "LANG": "C", "OTHER": "${OTHER}", "E": "${env:EEE}"},
    )
    plan = make_plan("a", [Planned(name="x", server=server)], env_file=".env", secret="top", basics=False)
    assert set(plan.variables.values()) == {"top", "abc", "def", "ghp_0123456789abcdefghij", "shh"}
    for secret in plan.variables.values():
        assert f'"{secret}"' not in plan.config
    assert '"${OTHER}"' in plan.config
    assert '"${EEE}"' in plan.config
    assert '"plain"' in plan.config


def test_a_server_that_needs_an_input_is_disabled_and_named() -> None:
    server = Server(name="x", command="run", env={"KEY": "${input:key}"})
    plan = make_plan("a", [Planned(name="x", server=server)], env_file=".env", secret="top", basics=False)
    assert "enabled: false" in plan.config
    assert "fill in key" in plan.notes[0]


def test_a_value_of_several_lines_cannot_go_into_the_env_file() -> None:
    with pytest.raises(ValueError, match="several lines"):
        env_text({"A": "b\nC=d"})


# The command


@pytest.mark.anyio
async def test_init_writes_a_config_that_allows_reading_and_asks_for_the_rest(project: Terminal) -> None:
    ended = await project.run("init", "--yes", "--json")
    assert ended.code == 0, ended.err
    config = load(project.config)
    policy = compile_policy(config)
    assert set(config.providers) == {"notes", "hub"}
    # As the client does: in the project's folder, wherever a gateway may be started.
    assert config.providers["notes"].cwd == project.folder.resolve()
    allowed = [line.text for line in config.agents["claude-code"].lists.allow]
    assert "notes/list_notes" in allowed
    assert "notes/write_note" not in allowed
    assert all("*" not in name for name in allowed)
    asks = [line.text for line in config.agents["claude-code"].lists.ask]
    assert {"notes/*", "hub/*", "!notes/list_notes"} <= set(asks)
    assert config.agents["claude-code"].lists.extends == ("claude-code-basics",)
    assert config.server.api_secret
    assert len(config.server.api_secret.reveal()) >= 32
    assert policy.knows("claude-code")
    assert state.trusted(project.config)


@pytest.mark.anyio
async def test_secrets_go_into_a_file_that_only_the_user_reads(project: Terminal) -> None:
    ended = await project.run("init", "--yes", "--write-client")
    env_file = project.folder / ".airlock.env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert "sup3rs3cret-value" in env_file.read_text()
    assert "Bearer abc.def" in env_file.read_text()
    for text in (
        project.config.read_text(),
        (project.folder / ".mcp.json").read_text(),
        ended.out,
        ended.err,
    ):
        assert "sup3rs3cret-value" not in text
        assert "abc.def" not in text
    provider = load(project.config).providers["notes"]
    assert provider.env["API_TOKEN"].reveal() == "sup3rs3cret-value"
    assert provider.env["MODE"].reveal() == "fast"


@pytest.mark.anyio
async def test_the_client_starts_only_airlock_and_undo_restores_its_file_byte_for_byte(
    project: Terminal,
) -> None:
    file = project.folder / ".mcp.json"
    file.chmod(0o640)
    before = file.read_bytes()
    assert (await project.run("init", "--yes", "--write-client")).code == 0
    servers = json.loads(file.read_text())["mcpServers"]
    assert list(servers) == ["airlock"]
    assert servers["airlock"]["args"][-4:] == ["--agent", "claude-code", "--config", str(project.config)]
    assert json.loads(file.read_text())["other"] == [1, 2]
    again = await project.run("init", "--yes", "--force")
    assert again.code == 2
    ended = await project.run("init", "--undo", "--json")
    assert (ended.code, ended.json["files"]) == (0, [str(file)])
    assert file.read_bytes() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (await project.run("init", "--undo")).code == 2


@pytest.mark.anyio
async def test_hooks_are_never_sent_to_what_is_no_address(project: Terminal) -> None:
    ended = await project.run("init", "--claude-code", "--gateway", "nonsense", "--write-client", "--yes")
    assert ended.code == 2
    assert ended.err == "airlock: --gateway: `nonsense` is not an address: it must be http://HOST:PORT\n"
    assert not project.config.exists()


@pytest.mark.anyio
async def test_undo_takes_airlock_out_of_no_other_project(project: Terminal, tmp_path: Path) -> None:
    file = project.folder / ".mcp.json"
    await project.run("init", "--yes", "--write-client", "--no-start")
    written = file.read_bytes()
    ended = await project.run("init", "--undo", cwd=tmp_path)
    assert ended.code == 2
    assert (
        f"nothing to undo: no client's file was changed from here: do it in `{project.folder}`" in ended.err
    )
    assert file.read_bytes() == written


@pytest.mark.anyio
async def test_undo_refuses_a_file_that_changed_since_and_shows_how(project: Terminal) -> None:
    file = project.folder / ".mcp.json"
    before = file.read_bytes()
    await project.run("init", "--yes", "--write-client", "--no-start")
    file.write_text(file.read_text().replace('"other"', '"mine"'))
    refused = await project.run("init", "--undo")
    assert refused.code == 8
    assert '+\t"mine"' in refused.out.replace("⇥   ", "\t").replace("⟨U+0009⟩", "\t")
    assert file.read_bytes() != before
    assert (await project.run("init", "--undo", "--force")).code == 0
    assert file.read_bytes() == before


@pytest.mark.anyio
async def test_print_writes_nothing_and_starts_nothing_unasked(project: Terminal) -> None:
    before = sorted(path.name for path in project.folder.iterdir())
    ended = await project.run("init", "--print")
    assert ended.code == 0
    assert "notes:" in ended.out
    assert sorted(path.name for path in project.folder.iterdir()) == before


@pytest.mark.anyio
async def test_without_a_yes_no_server_is_started_and_every_tool_asks(
    project: Terminal, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    (project.folder / ".mcp.json").write_text(
        json.dumps({"mcpServers": {"evil": {"command": "touch", "args": [str(ran)]}}})
    )
    ended = await project.run("init")
    assert ended.code == 0, ended.err
    assert not ran.exists()
    assert load(project.config).agents["claude-code"].lists.allow == ()


@pytest.mark.anyio
async def test_an_existing_config_is_not_overwritten(project: Terminal) -> None:
    project.config.write_text("agents: {}\n")
    assert (await project.run("init", "--yes", "--no-start")).code == 2
    assert project.config.read_text() == "agents: {}\n"


@pytest.mark.anyio
async def test_without_any_client_a_config_for_the_demo_server_is_written(project: Terminal) -> None:
    (project.folder / ".mcp.json").unlink()
    ended = await project.run("init")
    assert ended.code == 0, ended.err
    assert "claude mcp add airlock" in ended.out
    assert "other servers" not in ended.out
    assert set(load(project.config).providers) == {"demo"}


@pytest.mark.anyio
async def test_a_file_that_is_no_json_is_named_and_left_alone(project: Terminal) -> None:
    (project.folder / ".mcp.json").write_text("{nonsense")
    ended = await project.run("init", "--yes")
    assert ended.code == 2
    assert ".mcp.json" in ended.err
    assert (project.folder / ".mcp.json").read_text() == "{nonsense"


@pytest.mark.anyio
async def test_an_agents_shell_gets_no_trust_for_what_it_wrote(project: Terminal) -> None:
    await project.run("init", "--no-start", env={"CLAUDECODE": "1"})
    assert project.config.exists()
    assert not state.trusted(project.config)
