"""The keys of the config, as data: the loader, the editors' schema and the reference page read this.

Each key has a shape (a JSON Schema), what it means, its default and an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airlock.config import DEFAULT_REDACT

Shape = Mapping[str, Any]

REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}
TEXT: Final = {"type": "string"}
WHOLE: Final = {"anyOf": [{"type": "integer", "minimum": 0}, REFERENCE]}
FLAG: Final = {"anyOf": [{"type": "boolean"}, REFERENCE]}
DURATION: Final = {"anyOf": [{"type": "string", "pattern": r"^\s*[0-9]+\s?(ms|s|m|h|d)\s*$"}, REFERENCE]}
SCALAR: Final = {"type": ["string", "number", "integer"]}
TEXTS: Final = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
LIST: Final = {"type": ["array", "null"], "items": TEXT}
WORDS: Final = {"type": ["array", "null"], "items": SCALAR}
TABLE: Final = {"type": ["object", "null"], "additionalProperties": SCALAR}
ANYTHING: Final = {"type": ["object", "null"]}


def _choice(*words: str) -> Shape:
    return {"anyOf": [{"enum": list(words)}, REFERENCE]}


def _named(section: str) -> Shape:
    return {"type": ["object", "null"], "additionalProperties": {"$ref": f"#/$defs/{section}"}}


def _listed(section: str) -> Shape:
    return {"type": ["array", "null"], "items": {"$ref": f"#/$defs/{section}"}}


def _one(section: str) -> Shape:
    return {"$ref": f"#/$defs/{section}"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it takes, what it means. `instead_of` names the key whose other spelling it is."""

    shape: Shape
    about: str
    default: str = ""
    example: str = ""
    instead_of: str = ""


def _ms(key: str, example: str) -> Key:
    return Key(WHOLE, f"Another spelling of `{key}`: milliseconds as a plain number.", "", example, key)


TOP: Final[Mapping[str, Key]] = {
    "server": Key(
        _one("server"), "The gateway's listener and the people's secret.", "", "server: {port: 4111}"
    ),
    "database": Key(
        TEXT,
        "Where approvals and history are kept: `sqlite:///PATH` (three slashes: relative to this file, "
        "four: absolute) or `postgresql://…`.",
        "`airlock.db` in the state directory",
        "database: sqlite:///airlock.db",
    ),
    "providers": Key(
        _named("provider"), "The MCP servers behind Airlock, by name.", "none", "providers: {demo: builtin}"
    ),
    "mcps": Key(
        _named("provider"), "Another spelling of `providers`.", "", "mcps: {demo: builtin}", "providers"
    ),
    "profiles": Key(
        _named("profile"),
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
        _named("agent"),
        "Who may call, and what: the lists of each agent.",
        "none",
        "agents: {claude-code: {}}",
    ),
    "rules": Key(
        _listed("rule"),
        "Lines of policy with conditions. The strictest of everything that matches wins.",
        "none",
        'rules: [{tool: "pay/*", effect: ask}]',
    ),
    "tests": Key(
        _listed("test"),
        "Cases that the policy must answer as expected, or it is not used.",
        "none",
        "tests: [{agent: a, tool: demo/echo, expect: allow}]",
    ),
    "people": Key(_named("person"), "Who decides, by name.", "none", "people: {alice: {local: alice}}"),
    "approvals": Key(_one("approvals"), "How questions to people live.", "", "approvals: {timeout: 5m}"),
    "hitl": Key(
        _one("approvals"), "Another spelling of `approvals`.", "", "hitl: {timeout_ms: 300000}", "approvals"
    ),
    "audit": Key(_one("audit"), "What history keeps.", "", "audit: {retention_days: 90}"),
    "notify": Key(
        _listed("notify"), "How people are told of a question.", "nobody", "notify: [{type: bell}]"
    ),
    "names": Key(_one("names"), "How tools are named for clients.", "", "names: {max: 48}"),
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
    "timeout_ms": _ms("timeout", "timeout_ms: 60000"),
    "sampling": Key(
        _choice("allow", "deny"),
        "Whether the server may ask the client's model.",
        "`allow`",
        "sampling: deny",
    ),
    "elicitation": Key(
        _choice("allow", "deny"),
        "Whether the server may ask the person questions.",
        "`allow`",
        "elicitation: deny",
    ),
    "roots": Key(
        _choice("allow", "deny"), "Whether the server learns the client's folders.", "`allow`", "roots: deny"
    ),
}

PROFILE: Final[Mapping[str, Key]] = {
    "extends": Key(TEXTS, "Profiles whose lists are added to these.", "none", "extends: [readonly]"),
    "allow": Key(LIST, "Patterns of calls that run at once.", "none", 'allow: ["demo/*"]'),
    "ask": Key(
        LIST, "Patterns of calls that wait for a person.", "none", 'ask: ["git/*", "!git/git_status"]'
    ),
    "hitl": Key(LIST, "Another spelling of `ask`.", "", 'hitl: ["git/*"]', "ask"),
    "deny": Key(LIST, "Patterns of calls that never run.", "none", 'deny: ["git/git_reset"]'),
}

AGENT: Final[Mapping[str, Key]] = {
    **PROFILE,
    "inherit_default": Key(
        FLAG, "False leaves `default_profile` out for this agent.", "true", "inherit_default: false"
    ),
    "token": Key(
        TEXT,
        "The agent's bearer on HTTP; with one set, only that is accepted for it.",
        "none",
        'token: "${CLAUDE_CODE_TOKEN}"',
    ),
    "wait": Key(
        _choice("auto", "hold", "pending", "task"),
        "How a call waits for a person: held open, answered `pending`, or as a task.",
        "`auto`: by what the client bears",
        "wait: hold",
    ),
    "patience": Key(
        {"anyOf": [{"const": "auto"}, *DURATION["anyOf"]]},
        "How long a call is held before it answers `pending`.",
        "that of `approvals`",
        "patience: 50s",
    ),
    "patience_ms": _ms("patience", "patience_ms: 50000"),
    "mcp_names": Key(
        TEXTS,
        "The names under which this agent's client knows Airlock as an MCP server.",
        "`[airlock]`",
        "mcp_names: [airlock, tools]",
    ),
}

RULE: Final[Mapping[str, Key]] = {
    "id": Key(TEXT, "Its name in reasons, tests and history.", "`rule-N`, counted from 1", "id: big-payment"),
    "agent": Key(TEXTS, "The agents it is for.", "all", "agent: [billing]"),
    "tool": Key(TEXTS, "Patterns of the tools it is for.", "required", "tool: pay/transfer"),
    "args": Key(
        ANYTHING,
        "Conditions on arguments, all of which must hold.",
        "none",
        "args: {amount: {gt: 100}}",
    ),
    "when": Key(TEXT, "A condition in CEL that must hold.", "none", "when: 'args.amount > 100'"),
    "unless": Key(TEXT, "A condition in CEL that excuses the call.", "none", "unless: 'args.to == \"rent\"'"),
    "effect": Key({"enum": ["allow", "ask", "deny"]}, "What it says.", "required", "effect: ask"),
    "reason": Key(TEXT, "Why, for the agent and the person.", "none", "reason: payments need a person"),
    "risk": Key(
        {"enum": ["low", "medium", "high"]},
        "How much is at stake; shown to the person.",
        "`low`",
        "risk: high",
    ),
    "rate": Key(
        {"type": "string", "pattern": r"^\s*[0-9]+\s*/\s*[0-9]*\s?(ms|s|m|h|d)\s*$"},
        "At most so many uses in so long; beyond it an allow does not match.",
        "none",
        "rate: 10/1m",
    ),
    "approvers": Key(
        TEXTS, "Who may answer: names of `people`.", "anyone who may decide", "approvers: [alice, bob]"
    ),
    "quorum": Key(WHOLE, "How many different people must say yes.", "1", "quorum: 2"),
    "timeout": Key(DURATION, "How long the question stays open.", "that of `approvals`", "timeout: 10m"),
    "timeout_ms": _ms("timeout", "timeout_ms: 600000"),
    "reuse": Key(DURATION, "How long one yes also covers the same call again.", "used once", "reuse: 15m"),
    "reuse_ms": _ms("reuse", "reuse_ms: 900000"),
    "redact": Key(
        TEXTS, "Arguments that are masked before anything is stored, sent or shown.", "none", "redact: [body]"
    ),
    "between": Key(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*[-–]\s*[0-9]{1,2}:[0-9]{2}\s*$"},
                _one("between"),
            ]
        },
        "The hours at which it holds; they may pass midnight.",
        "always",
        'between: "09:00-17:00"',
    ),
    "mode": Key(
        {"enum": ["enforce", "observe"]},
        "`observe` only records what the rule would have done.",
        "`enforce`",
        "mode: observe",
    ),
}

BETWEEN: Final[Mapping[str, Key]] = {
    "hours": Key(
        {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*[-–]\s*[0-9]{1,2}:[0-9]{2}\s*$"},
        "From and to, on a clock of 24 hours.",
        "the whole day",
        'hours: "09:00-17:00"',
    ),
    "timezone": Key(TEXT, "The clock that is meant.", "`UTC`", "timezone: Europe/Berlin"),
    "days": Key(TEXTS, "The days it begins on: `mon` to `sun`, or `mon-fri`.", "every day", "days: mon-fri"),
}

TEST: Final[Mapping[str, Key]] = {
    "agent": Key(TEXT, "Who calls.", "required", "agent: billing"),
    "tool": Key(TEXT, "What is called: a name, not a pattern.", "required", "tool: pay/transfer"),
    "args": Key(ANYTHING, "With which arguments.", "none", "args: {amount: 500}"),
    "expect": Key(
        {"enum": ["allow", "ask", "deny"]}, "What the policy must answer.", "required", "expect: ask"
    ),
    "rule": Key(TEXT, "The rule that must decide.", "any", "rule: big-payment"),
    "at": Key(
        {"type": ["string", "integer"]},
        "When: a quoted ISO time with its zone, or milliseconds since 1970.",
        "now",
        'at: "2026-03-02T10:30:00Z"',
    ),
    "cwd": Key(TEXT, "In which folder, for `under:`.", "the provider's", "cwd: ./project"),
}

PERSON: Final[Mapping[str, Key]] = {
    "local": Key(TEXT, "Their user name on this machine.", "none", "local: alice"),
    "keys": Key(TEXTS, "The ids of their API keys.", "none", "keys: [k1]"),
}

APPROVALS: Final[Mapping[str, Key]] = {
    "timeout": Key(DURATION, "How long a question stays open. No answer is a no.", "`5m`", "timeout: 5m"),
    "timeout_ms": _ms("timeout", "timeout_ms: 300000"),
    "grace": Key(
        DURATION,
        "How long a question outlives a caller that went away, and a yes waits to be used.",
        "`2m`",
        "grace: 2m",
    ),
    "grace_ms": _ms("grace", "grace_ms: 120000"),
    "patience": Key(
        {"anyOf": [{"const": "auto"}, *DURATION["anyOf"]]},
        "How long a call is held before it answers `pending, ask again`; `auto` holds it to the end for "
        "clients known to bear that, else 50 seconds.",
        "`auto`",
        "patience: auto",
    ),
    "patience_ms": _ms("patience", "patience_ms: 50000"),
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
        _choice("crash", "power"),
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

NAMES: Final[Mapping[str, Key]] = {
    "max": Key(
        WHOLE, "The longest tool name, 16 to 64; clients put their own words in front.", "48", "max: 48"
    ),
}

SECTIONS: Final[Mapping[str, Mapping[str, Key]]] = {
    "": TOP,
    "server": SERVER,
    "provider": PROVIDER,
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
