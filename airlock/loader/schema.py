"""The config as a JSON Schema, for editors: made from the same table that the loader reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airlock.loader.sections import SECTIONS
from airlock.loader.shapes import Key

_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "rule": ("tool", "effect"),
    "test": ("agent", "tool", "expect"),
    "notify": ("type",),
    "nlp": ("url", "models"),
    "client_credentials": ("token_url", "client_id", "client_secret"),
}
_ABOUT: Final[Mapping[str, str]] = {
    "server": "The gateway's listener.",
    "provider": "One MCP server behind Airlock; the word `builtin` alone is the demo server.",
    "client_credentials": "What Airlock itself logs in with at a server.",
    "profile": "Lists of patterns to extend.",
    "agent": "One agent and its lists of patterns.",
    "rule": "One line of policy with conditions.",
    "between": "Hours of the day.",
    "test": "One case of the policy's own tests.",
    "person": "Someone who decides.",
    "approvals": "How questions to people live.",
    "audit": "What history keeps.",
    "notify": "One way to tell people.",
    "names": "How tools are named for clients.",
    "face": "One sister API that the gateway speaks.",
    "http_proxy": "That the gateway makes the HTTP requests which were allowed, and within which bounds.",
    "nlp": "One server of models that NLP policies may ask.",
}
_MAY_BE_EMPTY: Final = frozenset({"server", "profile", "agent", "approvals", "audit", "names", "face"})


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12; every property has a description."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "airlock.yaml",
        "description": "The config of Airlock: servers, agents, policy, approvals.",
        **_object("", SECTIONS[""]),
        "$defs": {name: _section(name) for name in SECTIONS if name},
    }


def _section(name: str) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _ABOUT[name]}
    mapping = _object(name, SECTIONS[name])
    if name == "provider":
        return {**described, "anyOf": [{"const": "builtin"}, mapping]}
    if name in _MAY_BE_EMPTY:
        mapping["type"] = ["object", "null"]
    return {**described, **mapping}


def _object(name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property(one) for key, one in keys.items()},
    }
    if name in _REQUIRED:
        found["required"] = list(_REQUIRED[name])
    return found


def _property(key: Key) -> dict[str, Any]:
    about = key.about if not key.default else f"{key.about} Default: {key.default}."
    found = {**key.shape, "description": about}
    return {**found, "deprecated": True} if key.instead_of else found
