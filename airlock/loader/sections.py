"""The keys of the config, as data: the loader, the editors' schema and the reference page read this.

Each key has a shape (a JSON Schema), what it means, its default and an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airlock.config import DEFAULT_REDACT
from airlock.loader.sections_oauth import CLIENT_CREDENTIALS, OAUTH
from airlock.loader.sections_policy import AGENT, BETWEEN, PROFILE, RULE, TEST
from airlock.loader.shapes import (
    DURATION,
    FLAG,
    LIST,
    TABLE,
    TEXT,
    TEXTS,
    WHOLE,
    WORDS,
    Key,
    choice,
    listed,
    milliseconds,
    named,
    one,
)

COMPAT: Final = ("agentgate", "sidclaw", "firewall", "harp")

TOP: Final[Mapping[str, Key]] = {
    "server": Key(
        one("server"), "The gateway's listener and the people's secret.", "", "server: {port: 4111}"
    ),
    "database": Key(
        TEXT,
        "Where approvals and history are kept: `sqlite:///PATH` (three slashes: relative to this file, "
        "four: absolute).",
        "`airlock.db` in the state directory",
        "database: sqlite:///airlock.db",
    ),
    "providers": Key(
        named("provider"), "The MCP servers behind Airlock, by name.", "none", "providers: {demo: builtin}"
    ),
    "mcps": Key(
        named("provider"), "Another spelling of `providers`.", "", "mcps: {demo: builtin}", "providers"
    ),
    "profiles": Key(
        named("profile"),
        "Named sets of patterns that agents and other profiles take over with `extends`.",
        "the shipped ones",
        'profiles: {readonly: {allow: ["*/read_*"]}}',
    ),
    "default_profile": Key(
        TEXT,
        "A profile that every agent extends unless it says `inherit_default: false`.",
        "none",
        "default_profile: readonly",
    ),
    "agents": Key(
        named("agent"),
        "Who may call, and what: the lists of each agent.",
        "none",
        "agents: {claude-code: {}}",
    ),
    "rules": Key(
        listed("rule"),
        "Lines of policy with conditions. The strictest of everything that matches wins.",
        "none",
        'rules: [{tool: "pay/*", effect: ask}]',
    ),
    "tests": Key(
        listed("test"),
        "Cases that the policy must answer as expected, or it is not used.",
        "none",
        "tests: [{agent: a, tool: demo/echo, expect: allow}]",
    ),
    "people": Key(named("person"), "Who decides, by name.", "none", "people: {alice: {local: alice}}"),
    "approvals": Key(one("approvals"), "How questions to people live.", "", "approvals: {timeout: 5m}"),
    "hitl": Key(
        one("approvals"), "Another spelling of `approvals`.", "", "hitl: {timeout_ms: 300000}", "approvals"
    ),
    "audit": Key(one("audit"), "What history keeps.", "", "audit: {retention_days: 90}"),
    "notify": Key(listed("notify"), "How people are told of a question.", "nobody", "notify: [{type: bell}]"),
    "compat": Key(
        {
            "anyOf": [
                {"enum": list(COMPAT)},
                {"type": ["array", "null"], "items": {"enum": list(COMPAT)}},
                {
                    "type": "object",
                    "propertyNames": {"enum": list(COMPAT)},
                    "additionalProperties": {"$ref": "#/$defs/face"},
                },
            ]
        },
        "Which sister APIs the gateway speaks too, for programs that were written for them: "
        "a list of names, or the names with options.",
        "none",
        "compat: [agentgate, sidclaw]",
    ),
    "names": Key(one("names"), "How tools are named for clients.", "", "names: {max: 48}"),
    "reload": Key(
        {"enum": ["auto", "trust", "off", False]},
        "What happens when this file changes: used at once, after `airlock trust`, or at the next start.",
        "`auto`",
        "reload: trust",
    ),
    "env_file": Key(
        TEXT,
        "A file of `NAME=value` lines for `${NAME}`; the real environment comes first.",
        "none",
        "env_file: .env",
    ),
}

SERVER: Final[Mapping[str, Key]] = {
    "host": Key(
        TEXT,
        "Address to listen on. Anything but loopback needs `api_secret`.",
        "`127.0.0.1`",
        "host: 127.0.0.1",
    ),
    "port": Key(WHOLE, "Port to listen on; 0 takes a free one.", "4111", "port: 4111"),
    "api_secret": Key(
        TEXT,
        "The people's secret for the REST API. Programs get keys of their own.",
        "none: open, on loopback only",
        'api_secret: "${AIRLOCK_API_SECRET}"',
    ),
    "public_health": Key(
        FLAG, "Lets `GET /health` answer without the secret.", "false", "public_health: true"
    ),
    "allowed_hosts": Key(
        LIST,
        "More `Host` names that the gateway answers to.",
        "loopback and `host`",
        "allowed_hosts: [airlock.lan]",
    ),
    "allowed_origins": Key(
        LIST,
        "Web origins that may call, compared exactly.",
        "none",
        'allowed_origins: ["https://airlock.lan"]',
    ),
}

PROVIDER: Final[Mapping[str, Key]] = {
    "type": Key(
        {"enum": ["builtin", "stdio", "http", "sse"]},
        "`stdio` starts a program, `http` and `sse` call a server, `builtin` is our demo server.",
        "`stdio` with `command`, `http` with `url`",
        "type: stdio",
    ),
    "enabled": Key(
        FLAG, "False leaves the server alone, and its variables unread.", "true", "enabled: false"
    ),
    "command": Key(TEXT, "The program to start, for `stdio`.", "required there", "command: uvx"),
    "args": Key(WORDS, "Its arguments.", "none", "args: [mcp-server-git]"),
    "env": Key(TABLE, "Variables for the program, kept secret.", "none", 'env: {API_KEY: "${API_KEY}"}'),
    "cwd": Key(
        TEXT,
        "The folder it starts in; `under:` is relative to it.",
        "where Airlock was started",
        "cwd: ./project",
    ),
    "url": Key(
        TEXT,
        "The server's address, for `http` and `sse`.",
        "required there",
        'url: "https://example.com/mcp"',
    ),
    "headers": Key(
        TABLE,
        "HTTP headers for the server, kept secret.",
        "none",
        'headers: {Authorization: "Bearer ${TOKEN}"}',
    ),
    "prefix": Key(
        TEXT,
        "What stands before `__` in the names that clients see; `none` passes names unchanged.",
        "the provider's name",
        "prefix: none",
    ),
    "timeout": Key(DURATION, "How long one call may take.", "`60s`", "timeout: 2m"),
    "timeout_ms": milliseconds("timeout", "timeout_ms: 60000"),
    "sampling": Key(
        choice("allow", "deny"),
        "Whether the server may ask the client's model.",
        "`allow`",
        "sampling: deny",
    ),
    "elicitation": Key(
        choice("allow", "deny"),
        "Whether the server may ask the person questions.",
        "`allow`",
        "elicitation: deny",
    ),
    "roots": Key(
        choice("allow", "deny"), "Whether the server learns the client's folders.", "`allow`", "roots: deny"
    ),
    **OAUTH,
}

PERSON: Final[Mapping[str, Key]] = {
    "local": Key(TEXT, "Their user name on this machine.", "none", "local: alice"),
    "keys": Key(TEXTS, "The ids of their API keys.", "none", "keys: [k1]"),
}

APPROVALS: Final[Mapping[str, Key]] = {
    "timeout": Key(DURATION, "How long a question stays open. No answer is a no.", "`5m`", "timeout: 5m"),
    "timeout_ms": milliseconds("timeout", "timeout_ms: 300000"),
    "grace": Key(
        DURATION,
        "How long a question outlives a caller that went away, and a yes waits to be used.",
        "`2m`",
        "grace: 2m",
    ),
    "grace_ms": milliseconds("grace", "grace_ms: 120000"),
    "patience": Key(
        {"anyOf": [{"const": "auto"}, *DURATION["anyOf"]]},
        "How long a call is held before it answers `pending, ask again`; `auto` holds it to the end for "
        "clients known to bear that, else 50 seconds.",
        "`auto`",
        "patience: auto",
    ),
    "patience_ms": milliseconds("patience", "patience_ms: 50000"),
    "code_length": Key(WHOLE, "How many characters a code has, 4 to 12.", "6", "code_length: 6"),
    "max_pending": Key(
        WHOLE, "How many questions of one agent may wait; more are denied.", "100", "max_pending: 100"
    ),
    "provider": Key(
        {"type": ["object", "array"]},
        "How an earlier Airlock told people; `webhook` becomes an entry of `notify`.",
        "none",
        'provider: {type: webhook, url: "https://example.com/hook"}',
    ),
    "batch_window_ms": Key(WHOLE, "Read for older files and not used.", "none", "batch_window_ms: 0"),
}

AUDIT: Final[Mapping[str, Key]] = {
    "retention_days": Key(WHOLE, "How long history is kept; 0 keeps all.", "90", "retention_days: 90"),
    "redact_fields": Key(
        LIST,
        "Fields whose values are masked, by whole words of their names.",
        f"`[{', '.join(DEFAULT_REDACT)}]`",
        "redact_fields: [password, token]",
    ),
    "durability": Key(
        choice("crash", "power"),
        "Whether plain allow and deny events survive a crash of the process, or a loss of power too.",
        "`crash`",
        "durability: power",
    ),
    "db_path": Key(TEXT, "Another spelling of `database`: a path.", "", "db_path: ./audit.db", "database"),
}

NOTIFY: Final[Mapping[str, Key]] = {
    "type": Key(
        {"enum": ["command", "webhook", "bell"]},
        "By a program, a web hook or the terminal's bell.",
        "required",
        "type: command",
    ),
    "run": Key(
        WORDS,
        "The program and its arguments; the question comes on its stdin.",
        "required for `command`",
        "run: [notify-send, airlock]",
    ),
    "url": Key(
        TEXT, "Where to post the question.", "required for `webhook`", 'url: "https://example.com/hook"'
    ),
    "headers": Key(
        TABLE, "HTTP headers for it, kept secret.", "none", 'headers: {Authorization: "${HOOK_TOKEN}"}'
    ),
}

FACE: Final[Mapping[str, Key]] = {
    "agent": Key(
        TEXT,
        "Whose policy holds for keys that are bound to no agent.",
        "an agent with the API's name",
        "agent: billing",
    ),
    "lists": Key(
        choice("plain", "wrapped"),
        "Whether AgentGate's lists are arrays, or objects as its later clients read them.",
        "`plain`",
        "lists: wrapped",
    ),
    "approver": Key(
        FLAG,
        "HARP: whether Airlock is the approver that clients pair with, and reads their artifacts.",
        "false: it relays what it cannot read",
        "approver: true",
    ),
    "http_proxy": Key(
        one("http_proxy"),
        "Agent Action Firewall: the gateway makes the requests of the tool `http_proxy` that are allowed.",
        "none: the clients make them",
        "http_proxy: {}",
    ),
    "nlp": Key(
        named("nlp"),
        "Agent Action Firewall: servers of models that NLP policies may ask, by the name that policies give "
        "as `provider`. Nothing else is ever asked.",
        "none: personal data and secrets are found on this machine, all else is asked of a person",
        'nlp: {openai: {url: "https://llm.example.com/v1", models: [gpt-4o-mini], api_key: "${LLM_KEY}"}}',
    ),
}

HTTP_PROXY: Final[Mapping[str, Key]] = {
    "allow_hosts": Key(
        TEXTS,
        "Hosts, or `host:port`, that may lie inside, or at another port than 80 and 443.",
        "none",
        'allow_hosts: ["intranet.example:8080"]',
    ),
    "timeout": Key(DURATION, "How long a request may take, at most 5m.", "30s", "timeout: 10s"),
    "max_response_bytes": Key(
        WHOLE,
        "How much of an answer's body is kept, at most 1048576.",
        "262144",
        "max_response_bytes: 65536",
    ),
}

NLP: Final[Mapping[str, Key]] = {
    "url": Key(
        TEXT,
        "The base of an OpenAI-compatible API; `/chat/completions` is put after it. Plain http only on "
        "loopback.",
        "required",
        'url: "https://llm.example.com/v1"',
    ),
    "models": Key(
        TEXTS,
        "The models that policies may name; the first is the usual one.",
        "required",
        "models: [gpt-4o-mini]",
    ),
    "api_key": Key(TEXT, "Sent as a bearer, kept secret.", "none", 'api_key: "${LLM_KEY}"'),
    "timeout": Key(
        DURATION, "How long one answer may take, waiting for a turn included.", "`10s`", "timeout: 10s"
    ),
    "timeout_ms": milliseconds("timeout", "timeout_ms: 10000"),
    "parallel": Key(WHOLE, "How many questions it is asked at once, 1 to 64.", "4", "parallel: 4"),
}

NAMES: Final[Mapping[str, Key]] = {
    "max": Key(
        WHOLE, "The longest tool name, 16 to 64; clients put their own words in front.", "48", "max: 48"
    ),
}

SECTIONS: Final[Mapping[str, Mapping[str, Key]]] = {
    "": TOP,
    "server": SERVER,
    "provider": PROVIDER,
    "client_credentials": CLIENT_CREDENTIALS,
    "profile": PROFILE,
    "agent": AGENT,
    "rule": RULE,
    "between": BETWEEN,
    "test": TEST,
    "person": PERSON,
    "approvals": APPROVALS,
    "audit": AUDIT,
    "notify": NOTIFY,
    "names": NAMES,
    "face": FACE,
    "http_proxy": HTTP_PROXY,
    "nlp": NLP,
}

GONE: Final[Mapping[str, str]] = {
    "value_sets": "write the values into `args: {name: {in: [...]}}` of a rule",
    "arg_policy": "write `rules:` with `args:`",
    "arg_scope": "write `rules:` with `args:`",
    "arg_dimensions": "write `rules:` with `args:`",
    "command_policy": "write `rules:` with `args:` or `when:`",
    "remember_allow": "`airlock approve CODE --for 10m` makes grants; they live in the database",
    "exec": "write patterns for `bash/…` and rules",
    "http": "write rules on the url argument",
    "middleware": "rules and `audit.redact_fields` take its place",
    "tool_overrides": "tools pass unchanged",
    "sandbox": "Airlock decides calls; it does not run them in a sandbox",
    "sandbox_presets": "Airlock decides calls; it does not run them in a sandbox",
    "clis": "put an MCP server in front of the program",
    "apis": "put an MCP server in front of the API",
    "security": "write rules on the arguments",
    "lint": "`airlock policy check` says what is wrong",
    "management_api": "the REST API is on `server.port`; programs get keys by `airlock keys create`",
    "expose_tools_api": "programs get keys by `airlock keys create`",
    "middlewares": "rules and `audit.redact_fields` take its place",
}
"""Keys of other formats that people bring along, and what to do instead."""
