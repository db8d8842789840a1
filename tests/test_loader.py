"""The loader: what a right config becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from airlock.config import DEFAULT_REDACT, Config, Hours, RateLimit, RuleConfig, Secret
from airlock.errors import ConfigError
from airlock.loader.file import load, loads
from airlock.model import Effect, Risk

WHOLE = """\
server: {host: 127.0.0.1, port: 4111, api_secret: "${AIRLOCK_API_SECRET:-}"}
database: sqlite:///airlock.db
providers:
  demo:  {type: builtin}
  git:   {type: stdio, command: uvx, args: [mcp-server-git, 8], env: {KEY: "${VALUE}"}}
  docs:  {type: http, url: "https://example.com/mcp", headers: {Authorization: "Bearer ${TOKEN}"}}
  old:   {type: sse, url: "https://example.com/sse", enabled: false, headers: {A: "${NOWHERE}"}}
profiles:
  readonly: {allow: ["*/read_*", "*/list_*", "*/get_*"]}
agents:
  claude-code:
    token: ${CLAUDE_CODE_TOKEN:-}
    extends: [readonly]
    allow: ["demo/*", "git/git_status", "git/git_diff*"]
    ask:   ["git/*", "!git/git_status", "!git/git_diff*"]
    deny:  ["git/git_reset"]
  billing: {}
rules:
  - id: big-payment
    agent: [billing]
    tool: "docs/transfer"
    args: {amount: {gt: 100}}
    unless: 'args.to == "rent"'
    effect: ask
    reason: payments over 100 need a person
    timeout: 10m
approvals: {timeout: 5m, grace: 2m, patience: auto, code_length: 6}
audit: {retention_days: 90, redact_fields: [password, token]}
tests:
  - {agent: claude-code, tool: git/git_reset, expect: deny}
  - {agent: billing, tool: docs/transfer, args: {amount: 500, to: eve}, expect: ask, rule: big-payment}
"""
ENV = {"VALUE": "v", "TOKEN": "a-token-of-some-length", "HOME": "/home/someone"}
HERE = Path("/somewhere/airlock.yaml")


def config_of(text: str, env: Mapping[str, str] = ENV, path: Path = HERE) -> Config:
    return loads(text, path, env)


def rule_of(text: str) -> RuleConfig:
    base = "providers: {p: builtin}\nagents: {a: {}}\npeople: {x: {local: x}, y: {local: y}}\nrules:\n  - "
    return config_of(base + "\n    ".join(text.split("\n"))).rules[0]


def test_the_illustration_of_the_keys_loads() -> None:
    config = config_of(WHOLE)
    assert config.warnings == ()
    assert config.file == HERE
    assert config.workspace == "/somewhere/airlock.yaml"
    assert config.database == "sqlite:////somewhere/airlock.db"
    assert list(config.providers) == ["demo", "git", "docs", "old"]
    assert config.providers["git"].args == ("mcp-server-git", "8")
    assert config.providers["git"].env["KEY"].reveal() == "v"
    assert config.providers["git"].prefix == "git"
    assert config.providers["docs"].headers["Authorization"].reveal() == "Bearer a-token-of-some-length"
    assert config.agents["claude-code"].lists.extends == ("readonly",)
    assert [line.text for line in config.agents["claude-code"].lists.ask] == [
        "git/*",
        "!git/git_status",
        "!git/git_diff*",
    ]
    assert config.agents["claude-code"].lists.deny[0].where == f"{HERE}:16"
    assert config.agents["claude-code"].token is None
    assert config.server.api_secret is None
    assert config.approvals.patience_ms is None


def test_a_rule_keeps_its_values_and_its_lines() -> None:
    rule = config_of(WHOLE).rules[0]
    assert (rule.id, rule.agents, rule.tools) == ("big-payment", ("billing",), ("docs/transfer",))
    assert (rule.args, rule.unless, rule.effect) == ({"amount": {"gt": 100}}, 'args.to == "rent"', Effect.ASK)
    assert (rule.timeout_ms, rule.reuse_ms, rule.quorum, rule.observe) == (600_000, None, 1, False)
    assert rule.where == f"{HERE}:19"
    assert rule.place("unless") == f"{HERE}:23"
    assert rule.place("when") == rule.where


def test_every_key_of_a_rule_is_read() -> None:
    rule = rule_of(
        "id: r\nagent: a\ntool: [p/x, p/y]\nwhen: 'true'\neffect: ask\nreason: why\nrisk: high\nrate: 10/1m\n"
        'approvers: [x, y]\nquorum: 2\ntimeout_ms: 1500\nreuse: 15m\nredact: body\nbetween: "09:00-17:30"\n'
        "mode: observe\nunless: 'false'\nargs: {n: [1, 2.5, null, true]}"
    )
    assert rule.agents == ("a",)
    assert rule.tools == ("p/x", "p/y")
    assert rule.args == {"n": [1, 2.5, None, True]}
    assert rule.rate == RateLimit(count=10, window_ms=60_000)
    assert rule.risk is Risk.HIGH
    assert (rule.approvers, rule.quorum) == (("x", "y"), 2)
    assert (rule.timeout_ms, rule.reuse_ms) == (1500, 900_000)
    assert rule.redact == ("body",)
    assert rule.between == Hours(start=540, end=1050)
    assert rule.observe


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ('"09:00-17:00"', Hours(start=540, end=1020)),
        ('"22:00 - 06:00"', Hours(start=1320, end=360)),
        ('"0:00-24:00"', Hours(start=0, end=1440)),
        (
            '{hours: "09:00-17:00", timezone: Europe/Berlin}',
            Hours(start=540, end=1020, timezone="Europe/Berlin"),
        ),
        ("{days: mon-fri}", Hours(start=0, end=1440, days=frozenset(range(5)))),
        ("{days: [fri-mon, Wednesday]}", Hours(start=0, end=1440, days=frozenset({4, 5, 6, 0, 2}))),
    ],
)
def test_hours_are_read(text: str, hours: Hours) -> None:
    assert rule_of(f"tool: p/x\neffect: deny\nbetween: {text}").between == hours


def test_rules_without_an_id_are_numbered() -> None:
    config = config_of(
        "providers: {p: builtin}\nagents: {a: {}}\n"
        "rules: [{tool: p/x, effect: deny}, {id: two, tool: p/x, effect: ask}]"
    )
    assert [rule.id for rule in config.rules] == ["rule-1", "two"]


def test_the_default_profile_comes_first_unless_an_agent_opts_out() -> None:
    config = config_of(
        "default_profile: base\nprofiles: {base: {}, more: {}}\n"
        "agents: {a: {extends: more}, b: {inherit_default: false}, c: {extends: [more, base]}}"
    )
    assert [config.agents[name].lists.extends for name in "abc"] == [("base", "more"), (), ("base", "more")]


def test_a_shipped_profile_can_be_extended_and_is_there_only_then() -> None:
    assert "claude-code-basics" not in config_of("agents: {a: {}}").profiles
    config = config_of("agents: {a: {extends: claude-code-basics}}")
    patterns = [line.text for line in config.profiles["claude-code-basics"].allow]
    assert {"ToolSearch", "todo/write", "AskUserQuestion", "ExitPlanMode", "Skill", "BashOutput"} <= set(
        patterns
    )
    assert config.warnings == ()
    own = config_of(
        "profiles: {claude-code-basics: {allow: [X]}}\nagents: {a: {extends: claude-code-basics}}"
    )
    assert [line.text for line in own.profiles["claude-code-basics"].allow] == ["X"]


def test_secrets_never_print() -> None:
    text = (
        'server: {api_secret: "${S}"}\nagents: {a: {token: "${T}"}}\n'
        'providers: {p: {type: stdio, command: x, env: {A: "${S}"}},\n'
        '            h: {type: http, url: "https://x/", headers: {A: "${T}"}}}\n'
        'notify: [{type: webhook, url: "https://x/", headers: {B: "${S}"}}]'
    )
    config = config_of(text, {"S": "secret-value-number-one", "T": "secret-value-number-two", "HOME": "/h"})
    assert "secret-value" not in repr(config)
    assert config.server.api_secret == Secret("secret-value-number-one")
    assert config.notify[0].headers["B"].reveal() == "secret-value-number-one"


def test_references_take_variables_defaults_and_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file-of-16-chars\n")
    text = (
        'server: {port: "${PORT}", public_health: "${ON:-true}", api_secret: "${file:token}"}\n'
        'agents: {a: {mcp_names: ["${A:-x}-$${B}-${EMPTY:-y}"], token: "${C:-}"}}\n'
        'approvals: {timeout: "${LONG}", grace_ms: "${PORT}"}'
    )
    env = {"PORT": "0", "EMPTY": "", "LONG": "7m", "HOME": "/h"}
    config = config_of(text, env, tmp_path / "airlock.yaml")
    assert (config.server.port, config.server.public_health) == (0, True)
    assert config.server.api_secret is not None
    assert config.server.api_secret.reveal() == "from-a-file-of-16-chars"
    assert config.agents["a"].mcp_names == ("x-${B}-y",)
    assert (config.approvals.timeout_ms, config.approvals.grace_ms) == (420_000, 0)
    assert config.sources == (tmp_path / "token",)


def test_a_value_cannot_bring_references_of_its_own() -> None:
    config = config_of('agents: {a: {mcp_names: "${A}"}}', {"A": "${HOME}", "HOME": "/h"})
    assert config.agents["a"].mcp_names == ("${HOME}",)


def test_an_env_file_stands_behind_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "vars.env"
    file.write_text("# comment\nexport A=one\nB='two words'\nC=from-file\nD=x # note\n\n")
    file.chmod(0o600)
    text = 'env_file: vars.env\nagents: {a: {mcp_names: ["${A}", "${B}", "${C}", "${D}"]}}'
    config = config_of(text, {"C": "real", "HOME": "/h"}, tmp_path / "airlock.yaml")
    assert config.agents["a"].mcp_names == ("one", "two words", "real", "x")
    assert config.sources == (file,)
    assert config.warnings == ()


def test_a_disabled_provider_is_left_alone() -> None:
    text = (
        "agents: {a: {}}\nproviders: {x: {enabled: false, type: http, url: '${U}/mcp', timeout: '${T}', "
        "sampling: '${S}', headers: {A: '${H}'}, prefix: '${P}'},\n"
        "  y: {enabled: '${ON:-false}', command: '${C}'}}"
    )
    config = config_of(text)
    assert (config.providers["x"].enabled, config.providers["y"].enabled) == (False, False)
    assert config.warnings == ()


def test_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    text = (
        "providers:\n  a: {command: ./bin/server, cwd: project}\n  b: {command: ~/bin/server}\n"
        "  c: {command: server}\n"
        "agents: {x: {}}\ntests: [{agent: x, tool: a/b, expect: deny, cwd: sub/../dir}]\n"
    )
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "airlock.yaml").write_text(text)
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "real" / "airlock.yaml")
    config = load(link, {"HOME": "/home/me"})
    assert config.file == tmp_path / "real" / "airlock.yaml"
    assert config.providers["a"].command == str(tmp_path / "real/bin/server")
    assert config.providers["a"].cwd == tmp_path / "real" / "project"
    assert config.providers["b"].command == "/home/me/bin/server"
    assert config.providers["c"].command == "server"
    assert config.tests[0].cwd == str(tmp_path / "real" / "dir")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("database: sqlite:///x.db", "sqlite:////somewhere/x.db"),
        ("database: sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("database: sqlite:///~/x.db", "sqlite:////home/someone/x.db"),
        ("audit: {db_path: ./audit.db}", "sqlite:////somewhere/audit.db"),
        ("{}", "sqlite:////home/someone/.local/state/airlock/airlock.db"),
    ],
)
def test_the_database_becomes_an_absolute_url(text: str, expected: str) -> None:
    assert config_of(text).database == expected


def test_spellings_of_other_versions_are_understood() -> None:
    config = config_of(
        "mcps: {demo: builtin}\n"
        "agents: {a: {hitl: [demo/x], allow: [demo/y]}}\n"
        "hitl: {timeout_ms: 90000, provider: [{type: webhook, url: 'https://example.com/'}]}\n"
        "audit: {db_path: /d/audit.db, retention_days: 7}\n"
    )
    assert config.providers["demo"].type == "builtin"
    assert [line.text for line in config.agents["a"].lists.ask] == ["demo/x"]
    assert config.approvals.timeout_ms == 90_000
    assert (config.notify[0].type, config.notify[0].url) == ("webhook", "https://example.com/")


def test_prefix_none_passes_names_unchanged() -> None:
    config = config_of("providers: {a: {command: x, prefix: none}, b: {command: x, prefix: bee}, c: builtin}")
    assert [one.prefix for one in config.providers.values()] == ["", "bee", "c"]


def test_the_type_follows_from_what_is_given() -> None:
    config = config_of("providers: {a: {command: x}, b: {url: 'https://x/'}}")
    assert [one.type for one in config.providers.values()] == ["stdio", "http"]


def test_consent_of_providers() -> None:
    config = config_of("providers: {a: {command: x, sampling: deny, roots: deny}}")
    one = config.providers["a"]
    assert (one.sampling, one.elicitation, one.roots) == (False, True, False)


def test_an_empty_config_has_the_documented_defaults() -> None:
    config = config_of("{}")
    assert (config.server.host, config.server.port, config.names_max, config.reload) == (
        "127.0.0.1",
        4111,
        48,
        "auto",
    )
    assert config.audit.redact_fields == DEFAULT_REDACT
    assert (config.approvals.timeout_ms, config.approvals.grace_ms) == (300_000, 120_000)
    assert [str(one) for one in config.warnings] == [
        f"{HERE}:1: agents: there are no agents: nobody can call anything"
    ]


@pytest.mark.parametrize(
    ("word", "mode"), [("off", "off"), ("false", "off"), ("trust", "trust"), ("auto", "auto")]
)
def test_reload_takes_bare_words(word: str, mode: str) -> None:
    assert config_of(f"reload: {word}").reload == mode


def test_people_and_notices_and_moments() -> None:
    config = config_of(
        "people: {alice: {local: alice, keys: [k1, k2]}, bob: {keys: k3}}\n"
        "notify: [{type: bell}, {type: command, run: [notify-send, -t, 5000]}]\n"
        'agents: {a: {}}\ntests:\n  - {agent: a, tool: X, expect: deny, at: "1970-01-01T01:00:01+01:00"}\n'
        "  - {agent: a, tool: X, expect: deny, at: 5}"
    )
    assert config.people["alice"].has("key:k2")
    assert config.people["bob"].keys == ("k3",)
    assert config.notify[1].run == ("notify-send", "-t", "5000")
    assert [case.at for case in config.tests] == [1000, 5]


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "airlock.yaml"
    path.write_bytes(b"\xef\xbb\xbfagents: {a: {}}\r\n")
    assert load(path, {"HOME": "/h"}).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_lenient_load_does_without_the_secrets_of_others() -> None:
    text = (
        'database: sqlite:///${NAME:-a.db}\nserver: {api_secret: "${S}", port: "${P}"}\n'
        'providers: {h: {type: http, url: "https://${HOST}/", headers: {A: "${T}"}}}\n'
        'agents: {a: {token: "${T}"}}\nenv_file: nowhere.env'
    )
    with pytest.raises(ConfigError):
        config_of(text)
    config = loads(text, HERE, ENV | {"T": ""}, lenient=True)
    assert config.database == "sqlite:////somewhere/a.db"
    assert config.agents["a"].token is None


def test_a_thousand_rules_load() -> None:
    rules = "".join(
        f"  - {{id: r{n}, tool: p/t{n}, args: {{a: {{gt: {n}}}}}, effect: ask, timeout: 10m}}\n"
        for n in range(1000)
    )
    config = config_of("providers: {p: builtin}\nagents: {a: {}}\nrules:\n" + rules)
    assert len(config.rules) == 1000
