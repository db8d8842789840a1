"""The loader: what is wrong is said all at once, each with its line, its path and a cure."""

# ruff: noqa: E501 (one case of the table is one line)

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airlock.errors import ConfigError
from airlock.loader.file import load, loads
from airlock.loader.sections import GONE, SECTIONS

ENV = {"HOME": "/h", "EMPTY": "", "SET": "a-value-that-nobody-prints"}


def errors_of(text: str | bytes, path: Path = Path("c.yaml")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, path, ENV)
    return [str(problem) for problem in caught.value.problems]


def warnings_of(text: str, path: Path = Path("c.yaml")) -> list[str]:
    return [str(problem) for problem in loads(text, path, ENV).warnings]


BAD = [
    ("", "c.yaml:1: the file is empty (`airlock init` writes a first config)"),
    ("[]", "c.yaml:1: the file must be a mapping of keys to values (`airlock init` writes a first config)"),
    ("agent: {}", "c.yaml:1: agent: unknown key `agent` (did you mean `agents`?)"),
    ("server: {prot: 1}", "c.yaml:1: server.prot: unknown key `prot` (did you mean `port`?)"),
    ("server: {port: 70000}", "c.yaml:1: server.port: must be between 0 and 65535, not `70000`"),
    ("server: {port: abc}", "c.yaml:1: server.port: must be a whole number, not `abc`"),
    ("server: {port: true}", "c.yaml:1: server.port: must be a whole number, not `true`"),
    ('server: {port: "4111"}', "c.yaml:1: server.port: must be a whole number, not `4111` (leave the quotes out)"),
    ('server: {public_health: "true"}', "c.yaml:1: server.public_health: must be true or false, not `true` (leave the quotes out)"),
    ("server: {port: ${SET}}", "c.yaml:1: not YAML: did not find expected ',' or '}' (quote what stands for a variable: \"${NAME}\")"),
    ("agents:\n  a:\n\tallow: []", "c.yaml:3: not YAML: found character that cannot start any token (indent with blanks, not with tabs)"),
    ('server: {port: "${SET}"}', "c.yaml:1: server.port: must be a whole number, not `${SET}`"),
    ('server: {port: "${SET"}', "c.yaml:1: server.port: `${SET` is not a reference (write ${VAR}, ${VAR:-default} or ${file:PATH}; $${ stands for ${ itself)"),
    ('server: {public_health: "${SET}"}', "c.yaml:1: server.public_health: must be true or false, not `${SET}`"),
    ("server: {public_health: 1}", "c.yaml:1: server.public_health: must be true or false, not `1`"),
    ("server: []", "c.yaml:1: server: must be a mapping of keys to values"),
    ("server: {host: 'a b'}", "c.yaml:1: server.host: must be a host name or address"),
    ("server: {host: 4}", "c.yaml:1: server.host: must be text, not `4` (quote it)"),
    ("server: {allowed_hosts: x}", "c.yaml:1: server.allowed_hosts: must be a list, not `x` (begin each item with `- `)"),
    ("server:\n  allowed_origins: [x.com]", "c.yaml:2: server.allowed_origins[0]: must be an origin (like `https://example.com`)"),
    ('server: {api_secret: "${NOPE}"}', "c.yaml:1: server.api_secret: variable `NOPE` is not set (set it, or write ${NOPE:-default} if it may be missing)"),
    ('server: {api_secret: "${EMPTY}"}', "c.yaml:1: server.api_secret: variable `EMPTY` is set but empty (set it, or write ${EMPTY:-default} if it may be missing)"),
    ('server: {api_secret: "${file:nowhere}"}', "c.yaml:1: server.api_secret: file `nowhere` cannot be read: no such file or directory"),
    ('server: {api_secret: "${A B}"}', "c.yaml:1: server.api_secret: `${A B}` is not a reference (write ${VAR}, ${VAR:-default} or ${file:PATH}; $${ stands for ${ itself)"),
    ("database: postgresql://u:pw@h/d", "c.yaml:1: database: must be a file that stays: `sqlite:///PATH` (like `sqlite:///airlock.db` (beside this file), `sqlite:////var/lib/airlock.db`)"),
    ("database: 'sqlite:///:memory:'", "c.yaml:1: database: must be a file that stays: `sqlite:///PATH` (like `sqlite:///airlock.db` (beside this file), `sqlite:////var/lib/airlock.db`)"),
    ("database: sqlite:///a\naudit: {db_path: b}", "c.yaml:2: audit.db_path: says the same as `database` (keep one of them)"),
    ("providers: []", "c.yaml:1: providers: must be a mapping of names to servers"),
    ("providers: {x: y}", "c.yaml:1: providers.x: must be `builtin` or a mapping with `type`"),
    ("providers: {bash: builtin}", "c.yaml:1: providers.bash: `bash` is reserved for what hooks report (give the server another name)"),
    ("providers: {My_Git: builtin}", "c.yaml:1: providers.My_Git: `My_Git` is not a provider name (lower-case letters, digits and `-`, at most 40)"),
    ("providers:\n  x: {}", "c.yaml:2: providers.x: `type` is missing: `stdio`, `http`, `sse` or `builtin`"),
    ("providers:\n  x:\n    type: stdo\n    command: a", "c.yaml:3: providers.x.type: must be one of `builtin`, `stdio`, `http`, `sse`, not `stdo` (did you mean `stdio`?)"),
    ("providers: {x: {type: stdio}}", "c.yaml:1: providers.x: `command` is missing: the program to start"),
    ("providers: {x: {type: http}}", "c.yaml:1: providers.x: `url` is missing: where the server is"),
    ("providers: {x: {type: http, url: 'ftp://x'}}", "c.yaml:1: providers.x.url: must be an http or https URL (like `https://example.com/mcp`)"),
    ("providers: {x: {type: stdio, command: a, url: 'http://x/'}}", "c.yaml:1: providers.x.url: does not belong to a provider of type `stdio`"),
    ("providers: {x: {command: a, timeout: 30}}", "c.yaml:1: providers.x.timeout: must be a duration, not `30` (write `500ms`, `30s`, `5m`; a plain number goes into `timeout_ms`)"),
    ("providers: {x: {command: a, timeout: 5 minutes}}", "c.yaml:1: providers.x.timeout: `5 minutes` is not a duration: write `500ms`, `30s`, `5m`, `2h` or `1d`"),
    ("providers: {x: {command: a, timeout: 0s}}", "c.yaml:1: providers.x.timeout: must be at least 1 ms, not `0s`"),
    ("providers: {x: {command: a, timeout: 9999d}}", "c.yaml:1: providers.x.timeout: `9999d` is longer than ten years"),
    ("providers: {x: {command: a, timeout: 5s, timeout_ms: 5}}", "c.yaml:1: providers.x.timeout_ms: says the same as `timeout` (keep one of them)"),
    ('providers: {x: {command: a, timeout: "${SET}"}}', "c.yaml:1: providers.x.timeout: `${SET}` does not become a duration"),
    ("providers: {x: {command: a, env: [A=b]}}", "c.yaml:1: providers.x.env: must be a mapping of names to text"),
    ("providers: {x: {command: a, env: {'A=B': c}}}", "c.yaml:1: providers.x.env: `A=B` cannot be passed to a program"),
    ("providers: {x: {command: a, args: [[b]]}}", "c.yaml:1: providers.x.args[0]: must be text, not a list"),
    ("providers: {x: {url: 'http://x/', headers: {'A B': c}}}", "c.yaml:1: providers.x.headers.A B: `A B` is not a header name"),
    ('providers: {x: {url: "http://x/", headers: {A: "b\\r\\nC: d"}}}', "c.yaml:1: providers.x.headers.A: has a control character in it"),
    ("providers: {x: {command: a, prefix: a__b}}", "c.yaml:1: providers.x.prefix: must be letters, digits, `-` and single `_` (or `none`)"),
    ("providers:\n  x: {command: a}\n  y: {command: a, prefix: x}", "c.yaml:3: providers.y.prefix: `x` is already that of `x`"),
    ("providers: {x: {command: a, sampling: maybe}}", "c.yaml:1: providers.x.sampling: must be one of `allow`, `deny`, not `maybe`"),
    ("profiles: {a b: {}}", "c.yaml:1: profiles.a b: `a b` is not a profile name (letters, digits, `.`, `_` and `-`, at most 64)"),
    ("profiles: {a: {extends: b}}", "c.yaml:1: profiles.a.extends: unknown profile `b`"),
    ("agents: {a: {extends: [claude-code-basic]}}", "c.yaml:1: agents.a.extends[0]: unknown profile `claude-code-basic` (did you mean `claude-code-basics`?)"),
    ("profiles:\n  a: {extends: a}", "c.yaml:2: profiles.a.extends: goes in a circle: a → a"),
    ("default_profile: x", "c.yaml:1: default_profile: unknown profile `x`"),
    ("agents:\n  a:\n    ask:\n      - '!git/x'", "c.yaml:3: agents.a.ask: a list of only `!` patterns takes names out of nothing (add the pattern that they are exceptions from)"),
    ("agents: {a/b: {}}", "c.yaml:1: agents.a/b: `a/b` is not an agent name (letters, digits, `.`, `_` and `-`, at most 64)"),
    ("agents: {a: {allow: git/x}}", "c.yaml:1: agents.a.allow: must be a list, not `git/x` (begin each item with `- `)"),
    ("agents: {a: {allow: ['']}}", "c.yaml:1: agents.a.allow[0]: must be text, not nothing"),
    ("agents: {a: {allow: [5]}}", "c.yaml:1: agents.a.allow[0]: must be text, not `5` (quote it)"),
    ("agents: {a: {wait: forever}}", "c.yaml:1: agents.a.wait: must be one of `auto`, `hold`, `pending`, `task`, not `forever`"),
    ("agents:\n  a: {token: sixteen-characters}\n  b: {token: sixteen-characters}", "c.yaml:3: agents.b.token: is also the token of `a`: a token names one agent"),
    ("server: {api_secret: sixteen-characters}\nagents:\n  a: {token: sixteen-characters}", "c.yaml:2: agents: the token of `a` is `server.api_secret` (an agent must not be able to answer its own questions)"),
    ("agents: {a: {remember_allow: []}}", f"c.yaml:1: agents.a.remember_allow: unknown key `remember_allow` ({GONE['remember_allow']})"),
    ("rules: {}", "c.yaml:1: rules: must be a list, not a mapping (begin each item with `- `)"),
    ("rules: [5]", "c.yaml:1: rules[0]: must be a mapping of keys to values"),
    ("rules:\n  - tool: '**'", "c.yaml:2: rules[0]: `effect` is missing: `allow`, `ask` or `deny`"),
    ("rules:\n  - effect: ask", 'c.yaml:2: rules[0]: `tool` is missing: a pattern, or `"**"` for everything'),
    ("rules: [{tool: X, effect: block}]", "c.yaml:1: rules[0].effect: must be one of `allow`, `ask`, `deny`, not `block`"),
    ("agents: {billing: {}}\nrules:\n  - tool: X\n    effect: ask\n    agent: [biling]", "c.yaml:5: rules[0].agent[0]: unknown agent `biling` (did you mean `billing`?)"),
    ("rules: [{tool: X, effect: ask, agent: []}]", "c.yaml:1: rules[0].agent: names nobody (leave it out for all agents)"),
    ("rules:\n  - {id: a, tool: X, effect: ask}\n  - {id: a, tool: X, effect: ask}", "c.yaml:3: rules[1].id: duplicate rule id `a` (first at line 2)"),
    ("rules:\n  - {id: rule-2, tool: X, effect: ask}\n  - {tool: X, effect: ask}", "c.yaml:3: rules[1].id: duplicate rule id `rule-2` (first at line 2)"),
    ("rules: [{id: 'a b', tool: X, effect: ask}]", "c.yaml:1: rules[0].id: `a b` is not a rule's id (letters, digits, `.`, `_` and `-`, at most 64)"),
    ("rules: [{tool: X, effect: ask, rate: 10}]", "c.yaml:1: rules[0].rate: must be text, not `10` (quote it)"),
    ("rules: [{tool: X, effect: allow, rate: 10 a minute}]", "c.yaml:1: rules[0].rate: must be a number of uses in a time (like `10/1m` (ms, s, m, h, d))"),
    ("rules: [{tool: X, effect: allow, rate: 0/1m}]", "c.yaml:1: rules[0].rate: must be a number of uses in a time (like `10/1m` (ms, s, m, h, d))"),
    ("rules: [{tool: X, effect: ask, approvers: [eve]}]", "c.yaml:1: rules[0].approvers[0]: unknown person `eve` (add it: people: {eve: {local: eve}})"),
    ("people: {a: {local: a}}\nrules: [{tool: X, effect: ask, approvers: [a], quorum: 2}]", "c.yaml:2: rules[0].quorum: 2 cannot be reached: only 1 may answer"),
    ("people: {a: {local: a}}\nrules: [{tool: X, effect: ask, quorum: 2}]", "c.yaml:2: rules[0].quorum: 2 cannot be reached: only 1 may answer"),
    ("rules: [{tool: X, effect: ask, quorum: 0}]", "c.yaml:1: rules[0].quorum: must be between 1 and 100, not `0`"),
    ("rules: [{tool: X, effect: ask, args: [a]}]", "c.yaml:1: rules[0].args: must be a mapping of arguments"),
    ("rules: [{tool: X, effect: ask, args: {a: {in: ['${NOPE}']}}}]", "c.yaml:1: rules[0].args.a.in[0]: variable `NOPE` is not set (set it, or write ${NOPE:-default} if it may be missing)"),
    ("rules: [{tool: X, effect: ask, between: 9-17}]", 'c.yaml:1: rules[0].between: must be a window of hours (like "09:00-17:00")'),
    ("rules: [{tool: X, effect: ask, between: '09:00-25:00'}]", "c.yaml:1: rules[0].between: `09:00-25:00` is not on a clock of 24 hours"),
    ("rules: [{tool: X, effect: ask, between: '09:00-09:00'}]", 'c.yaml:1: rules[0].between: begins when it ends (the whole day is "00:00-24:00")'),
    ("rules: [{tool: X, effect: ask, between: {timezone: Europe/Berln}}]", "c.yaml:1: rules[0].between.timezone: unknown time zone `Europe/Berln` (did you mean `Europe/Berlin`?)"),
    ("rules: [{tool: X, effect: ask, between: {days: [moon-fri]}}]", "c.yaml:1: rules[0].between.days[0]: `moon-fri` is not a day (mon, tue, wed, thu, fri, sat, sun, or mon-fri)"),
    ("rules: [{tool: X, effect: ask, mode: watch}]", "c.yaml:1: rules[0].mode: must be one of `enforce`, `observe`, not `watch`"),
    ("rules: [{tool: X, effect: ask, risk: hihg}]", "c.yaml:1: rules[0].risk: must be one of `low`, `medium`, `high`, not `hihg` (did you mean `high`?)"),
    ("agents: {a: {}}\ntests:\n  - {agent: b, tool: X, expect: deny}", "c.yaml:3: tests[0].agent: unknown agent `b`"),
    ("agents: {a: {}}\ntests:\n  - {agent: a, tool: X}", "c.yaml:3: tests[0]: `expect` is missing: `allow`, `ask` or `deny`"),
    ("tests: [{expect: deny, tool: X}]", "c.yaml:1: tests[0]: `agent` is missing"),
    ("agents: {a: {}}\ntests: [{agent: a, tool: X, expect: deny, at: '2026-01-02T10:00'}]", 'c.yaml:2: tests[0].at: must be a time with its zone (like "2026-03-02T10:30:00Z")'),
    ("people: {a: {}}", "c.yaml:1: people.a: `local` is missing: without it or `keys` this person can decide nothing"),
    ("people:\n  a: {local: x}\n  b: {local: x}", "c.yaml:3: people.b.local: `local:x` is already `a`: one identity is one person"),
    ("approvals: {code_length: 2}", "c.yaml:1: approvals.code_length: must be between 4 and 12, not `2`"),
    ("approvals: {provider: {type: telegram}}", "c.yaml:1: approvals.provider: `telegram` is not a way to tell people (use `notify:` with `type: command`)"),
    ("audit: {durability: safe}", "c.yaml:1: audit.durability: must be one of `crash`, `power`, not `safe`"),
    ("notify: [{run: [x]}]", "c.yaml:1: notify[0]: `type` is missing: `command`, `webhook` or `bell`"),
    ("notify: [{type: command}]", "c.yaml:1: notify[0]: `run` is missing: the program and its arguments"),
    ("notify: [{type: webhook}]", "c.yaml:1: notify[0]: `url` is missing: where to post"),
    ("notify: [{type: bell, url: 'http://x/'}]", "c.yaml:1: notify[0].url: does not belong to type `bell`"),
    ("notify: [{type: command, run: 'rm -rf /'}]", "c.yaml:1: notify[0].run: must be a list, not `rm -rf /` (begin each item with `- `)"),
    ("names: {max: 65}", "c.yaml:1: names.max: must be between 16 and 64, not `65`"),
    ("reload: never", "c.yaml:1: reload: must be one of `auto`, `trust`, `off`, not `never`"),
    ("env_file: nowhere.env", "c.yaml:1: env_file: file `nowhere.env` cannot be read: no such file or directory"),
    ('env_file: "a\\0b"', "c.yaml:1: env_file: file `a⟨U+0000⟩b` cannot be read: not utf-8 text"),
    ("providers: {x: builtin}\nmcps: {y: builtin}", "c.yaml:2: mcps: says the same as `providers` (keep one of them)"),
    ('agents:\n  a:\n    "\\e[2J": 1', "c.yaml:3: agents.a.⟨U+001B⟩[2J: unknown key `⟨U+001B⟩[2J`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_wrong_config_is_refused_with_one_line_that_helps(text: str, expected: str) -> None:
    assert errors_of(text) == [expected]


def test_a_cycle_of_profiles_names_the_way_round() -> None:
    text = "profiles:\n  a: {extends: [b]}\n  b: {extends: [x, c]}\n  c: {extends: a}\n  x: {}\n"
    assert errors_of(text) == [
        "c.yaml:2: profiles.a.extends: goes in a circle: a → b → c → a",
        "c.yaml:3: profiles.b.extends: goes in a circle: b → c → a → b",
        "c.yaml:4: profiles.c.extends: goes in a circle: c → a → b → c",
    ]


def test_a_diamond_of_profiles_is_no_cycle() -> None:
    loads("profiles: {a: {extends: [b, c]}, b: {extends: d}, c: {extends: d}, d: {}}", Path("c.yaml"), ENV)


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        "tests: [{agent: nobody, tool: X, expect: allow}]\n"
        "rules:\n  - {tool: X, effect: alow}\n"
        "agents: {a: {extends: [nothing]}}\n"
        "providers: {exec: builtin, y: {type: stdio}}\n"
        "server: {prt: 1, port: x}\n"
    )
    found = errors_of(text)
    assert [int(line.split(":")[1]) for line in found] == [1, 3, 4, 5, 5, 6, 6]


WARN = [
    ("{}", "c.yaml:1: agents: there are no agents: nobody can call anything"),
    ("agents: {a: {allow: [gti/x]}}\nproviders: {git: builtin}", "c.yaml:1: agents.a: `gti/x` names the unknown provider `gti` (did you mean `git`?)"),
    ("agents: {a: {}}\nrules:\n  - effect: deny\n    tool: [pay/x]", "c.yaml:4: rules.rule-1: `pay/x` names the unknown provider `pay`"),
    ("agents: {a: {allow: ['resource:x/y']}}", "c.yaml:1: agents.a: `resource:x/y` names the unknown provider `x`"),
    ("agents: {a: {token: short}}", "c.yaml:1: agents.a.token: is shorter than 16 characters: it can be guessed (`openssl rand -hex 32` makes a good one)"),
    ("agents: {a: {}}\nserver: {host: 0.0.0.0}", 'c.yaml:2: server.host: the gateway does not start on `0.0.0.0` without `server.api_secret` (set one: api_secret: "${AIRLOCK_API_SECRET}")'),
    ("agents: {a: {}}\nrules: [{tool: X, effect: deny, timeout: 5m}]", "c.yaml:2: rules[0].timeout: has no meaning in a rule that says `deny` (it belongs to `effect: ask`)"),
    ("agents: {a: {}}\nproviders: {x: {command: uvx mcp-server-git}}", "c.yaml:2: providers.x.command: has a blank in it: it is one program's name, not a shell line (use `args`)"),
    ("agents: {a: {}}\napprovals: {batch_window_ms: 0}", "c.yaml:2: approvals.batch_window_ms: is not used: people are told at once"),
    ("agents: {a: {}}\napprovals: {provider: {type: tui}}", "c.yaml:2: approvals.provider: `tui` is not used (answer with `airlock approve` or `airlock watch`)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WARN)
def test_what_is_only_doubtful_is_a_warning(text: str, expected: str) -> None:
    assert warnings_of(text) == [expected]


def test_names_of_hooks_and_patterns_for_any_provider_are_not_doubtful() -> None:
    assert (
        warnings_of("agents: {a: {allow: [bash/ls, '*/get_*', '**', ToolSearch, mcp__x__y, '{a,b}/c']}}")
        == []
    )


def test_secrets_in_a_readable_file_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text(
        "agents: {a: {token: sixteen-characters}}\nserver: {api_secret: '${SET}'}\n"
        "providers: {p: {url: 'https://x/', headers: {Authorization: Bearer x, Accept: y}}}\n"
    )
    path.chmod(0o644)
    found = [problem.path for problem in load(path, ENV).warnings]
    assert found == ["agents.a.token", "providers.p.headers.Authorization"]
    path.chmod(0o600)
    assert load(path, ENV).warnings == ()


def test_an_env_file_that_others_read_is_warned_of_and_its_lines_are_checked(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("A=1\nnonsense\n")
    (tmp_path / "e").chmod(0o644)
    assert errors_of("env_file: e", tmp_path / "c.yaml") == [
        f"{tmp_path}/c.yaml:1: env_file: line 2 of `e` is not `NAME=value`"
    ]
    (tmp_path / "e").write_text("A=1\n")
    [warning] = warnings_of("env_file: e\nagents: {a: {}}", tmp_path / "c.yaml")
    assert "can be read by other users" in warning


def test_no_message_prints_what_a_variable_holds() -> None:
    keys = {
        "server": ["host", "port", "api_secret", "public_health", "allowed_hosts"],
        "approvals": ["timeout", "timeout_ms", "patience", "code_length"],
        "audit": ["durability", "retention_days"],
    }
    for section, names in keys.items():
        for name in names:
            try:
                config = loads(f'{section}: {{{name}: "x ${{SET}} y"}}', Path("c.yaml"), ENV)
                shown = repr(config.warnings)
            except ConfigError as error:
                shown = str(error)
            assert "nobody-prints" not in shown, (section, name)


def test_a_missing_or_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: no such file or directory \(`airlock init`"):
        load(tmp_path / "nothing.yaml", ENV)
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load(tmp_path, ENV)


def test_users_of_other_formats_are_told_what_to_do_instead() -> None:
    for key, hint in GONE.items():
        [problem] = errors_of(f"{key}: x")
        assert hint in problem


SECTION_PATHS = {
    "": ("{}", "{key}"),
    "server": ("server: {}", "server.{key}"),
    "provider": ("providers: {{p: {}}}", "providers.p.{key}"),
    "client_credentials": (
        "providers: {{p: {{type: http, url: 'https://a.example/mcp', client_credentials: {}}}}}",
        "providers.p.client_credentials.{key}",
    ),
    "profile": ("profiles: {{p: {}}}", "profiles.p.{key}"),
    "agent": ("agents: {{a: {}}}", "agents.a.{key}"),
    "rule": ("rules: [{}]", "rules[0].{key}"),
    "between": ("rules: [{{between: {}}}]", "rules[0].between.{key}"),
    "test": ("tests: [{}]", "tests[0].{key}"),
    "person": ("people: {{p: {}}}", "people.p.{key}"),
    "approvals": ("approvals: {}", "approvals.{key}"),
    "audit": ("audit: {}", "audit.{key}"),
    "notify": ("notify: [{}]", "notify[0].{key}"),
    "names": ("names: {}", "names.{key}"),
    "face": ("compat: {{agentgate: {}}}", "compat.agentgate.{key}"),
    "http_proxy": ("compat: {{firewall: {{http_proxy: {}}}}}", "compat.firewall.http_proxy.{key}"),
    "nlp": ("compat: {{firewall: {{nlp: {{m: {}}}}}}}", "compat.firewall.nlp.m.{key}"),
}


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in SECTIONS.items() for key in keys]
)
def test_every_key_is_read_because_a_wrong_value_is_noticed(section: str, key: str) -> None:
    frame, path = SECTION_PATHS[section]
    wrong = (
        "{x: {y: [[true]]}}" if key in {"args", "providers", "mcps"} and section != "provider" else "[[true]]"
    )
    wrong = "[{z: true}, true]" if key == "args" else wrong
    extra = ", type: http" if section == "provider" and key != "type" else ""
    extra = ", type: webhook" if section == "notify" and key != "type" else extra
    found = " ".join(
        [*errors_of_any(frame.format("{" + f"{key}: {wrong}{extra}" + "}" if section else f"{key}: {wrong}"))]
    )
    assert path.format(key=key) in found, found


def errors_of_any(text: str) -> list[str]:
    try:
        return [str(problem) for problem in loads(text, Path("c.yaml"), ENV).warnings]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


ATOMS = st.sampled_from(
    ["", "x", "${X}", "${HOME}", "${file:/}", "5m", "a/b", "!a/b", "09:00-17:00", "http://[", "~root/x", "allow"]
) | st.none() | st.booleans() | st.integers(-3, 70000) | st.text(max_size=5)  # fmt: skip
NAMES = st.sampled_from(sorted({key for keys in SECTIONS.values() for key in keys})) | st.text(max_size=3)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(TREES)
def test_any_tree_of_known_keys_loads_or_is_refused(tree: Any) -> None:
    errors_of_any(yaml.safe_dump(tree))


@given(st.text() | st.binary())
def test_any_text_loads_or_is_refused(text: str | bytes) -> None:
    try:
        loads(text, Path("c.yaml"), ENV)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 (either way out is right)


@given(st.dictionaries(st.sampled_from(list(SECTIONS[""])), TREES, max_size=4))
def test_any_sections_load_or_are_refused(tree: Any) -> None:
    errors_of_any(yaml.safe_dump(tree))


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLOCK_TEST_NAME", "from-the-process")
    config = loads("agents: {a: {mcp_names: '${AIRLOCK_TEST_NAME}'}}", Path("c.yaml"))
    assert config.agents["a"].mcp_names == ("from-the-process",)
    assert os.environ["AIRLOCK_TEST_NAME"] == "from-the-process"
