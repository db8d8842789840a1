"""The part of a config that decides, as text that may be kept for good: no secret is in it.

References (`${VAR}`) stay as they are written, and so does everything but what is masked: an agent's token is
left out; where a rule compares a secret field, what it compares with is hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airlock import __version__
from airlock.loader.reader import Node, plain
from airlock.redaction import Redactor

HIDDEN: Final = "‹hidden›"

_LIFE: Final = ("timeout", "timeout_ms", "grace", "grace_ms", "code_length", "max_pending")
_WHOLE: Final = ("default_profile", "compat", "people", "profiles")
_LITERAL = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\b[0-9][0-9.]*\b""", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def policy_text(root: Node, redact_fields: tuple[str, ...], shipped: Mapping[str, Any]) -> str:
    """YAML with a line for each profile, agent, person and rule, the same for the same policy.

    `shipped` are the profiles of Airlock's own that it takes over: they may change with the version.
    """
    redactor = Redactor(redact_fields, b"")
    written = plain(root) if root.keys is not None else {}
    kept = {name: written[name] for name in _WHOLE if written.get(name) is not None}
    kept["shipped"] = dict(shipped)
    kept["agents"] = _each(written.get("agents"), lambda one: _without(one, "token"))
    kept["rules"] = [_rule(rule, redactor) for rule in _list(written.get("rules"))]
    life = written.get("approvals", written.get("hitl"))
    kept["approvals"] = {name: life[name] for name in _LIFE if name in life} if isinstance(life, dict) else {}
    kept["redact_fields"] = list(redact_fields)
    lines = [
        f"# airlock {__version__}",
        *(line for name, value in kept.items() for line in _lines(name, value)),
    ]
    return "\n".join(lines).encode("utf-8", "replace").decode() + "\n"


def _lines(name: str, value: Any) -> Iterator[str]:
    """One entry of the text; nothing for what is empty."""
    if not value:
        return
    if isinstance(value, dict) and name != "approvals":
        yield f"{name}:"
        yield from (f"  {_text(key)}: {_text(inner)}" for key, inner in value.items())
    elif isinstance(value, list) and name == "rules":
        yield f"{name}:"
        yield from (f"  - {_text(inner)}" for inner in value)
    else:
        yield f"{name}: {_text(value)}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _each(value: Any, change: Any) -> Any:
    return {name: change(one) for name, one in value.items()} if isinstance(value, dict) else {}


def _without(value: Any, name: str) -> Any:
    return {key: one for key, one in value.items() if key != name} if isinstance(value, dict) else value


def _rule(rule: Any, redactor: Redactor) -> Any:
    if not isinstance(rule, dict):
        return rule
    hidden = {name for name in _list(rule.get("redact")) if isinstance(name, str)}
    shown = dict(rule)
    if isinstance(rule.get("args"), dict):
        shown["args"] = {
            name: _masked(condition) if redactor.secret(name) or name in hidden else condition
            for name, condition in rule["args"].items()
        }
    for name in ("when", "unless"):
        if isinstance(rule.get(name), str):
            shown[name] = _expression(rule[name], redactor, hidden)
    return shown


def _masked(condition: Any) -> Any:
    """A condition whose texts, and numbers too, nobody learns."""
    if isinstance(condition, dict):
        return {name: _masked(inner) for name, inner in condition.items()}
    if isinstance(condition, list):
        return [_masked(inner) for inner in condition]
    return condition if condition is None or isinstance(condition, bool) else HIDDEN


def _expression(text: str, redactor: Redactor, hidden: set[str]) -> str:
    """An expression that names a secret field loses its literals: which is the secret, nobody can tell."""
    words = set(_WORD.findall(text))
    if any(map(redactor.secret, words)) or words & {part for name in hidden for part in _WORD.findall(name)}:
        return _LITERAL.sub(f'"{HIDDEN}"', text)
    return text
