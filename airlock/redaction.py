"""Hide secrets before anything is hashed, stored, sent or logged (decisions.md 22)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from airlock.canonical import canonical

_WORD_BREAK = re.compile(r"[_\-. ]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_REFERENCES = frozenset(
    {"max", "min", "count", "limit", "total", "primary", "foreign", "public", "sort", "cache", "partition"}
)
"""Words beside which a secret's word means a measure or a reference: `primary_key`, `token_count`."""

_MAX_NAMES = 4096

_TELLING = 4
"""A secret of fewer characters stands in other words too."""

_CREDENTIALS = re.compile(r"[A-Za-z-]{2,20} +(\S{4,})", re.ASCII)
"""`Bearer …`, `Basic …`: whoever repeats such a secret may leave the first word out."""

_PLAIN = frozenset({str, int, float, bool, type(None)})

T = TypeVar("T")


class Redactor:
    """Masks the values of secret fields. A mask shows type, length and a keyed digest, never the value.

    A field is secret when one of `fields` is a whole word of its name (split at `_ - .`, spaces and
    camelCase) and no other word makes it a measure or a reference; or when its whole name is one of them.
    """

    def __init__(self, fields: tuple[str, ...], key: bytes) -> None:
        self._fields = frozenset("_".join(_words(field)) for field in fields)
        self._key = key
        self._known: dict[str, bool] = {}

    def secret(self, name: str) -> bool:
        """True when a field of this name is masked."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()  # names come from the agent: the memory of them is bounded
            known = self._known[name] = self._is_secret(name)
        return known

    def _is_secret(self, name: str) -> bool:
        words = _words(name)
        joined = "_".join(words)
        if joined in self._fields:
            return True
        if _REFERENCES.intersection(words):
            return False
        return any(f"_{field}_" in f"_{joined}_" for field in self._fields)

    def redact(self, arguments: Mapping[str, Any], paths: frozenset[str] = frozenset()) -> dict[str, Any]:
        """A copy with secret fields masked, and whatever stands at `paths` (`a.b`, `a[*].b`) as well."""
        if paths:
            return {name: self._field(name, value, name, paths) for name, value in arguments.items()}
        known = self._known.get
        for name, value in arguments.items():
            if type(value) not in _PLAIN or known(name) is not False:
                break
        else:
            return {**arguments}  # the usual ones: no name of a secret, and nothing to look into
        return {
            name: value
            if type(value) in _PLAIN and known(name) is False
            else self._field(name, value, name, paths)
            for name, value in arguments.items()
        }

    def _field(self, name: str, value: Any, path: str, paths: frozenset[str]) -> Any:
        hides = value is not None and value != "" and (self.secret(name) or path in paths)
        return self.mask(value) if hides else self._inside(value, path, paths)

    def _inside(self, value: Any, path: str, paths: frozenset[str]) -> Any:
        if isinstance(value, Mapping):
            return {name: self._field(name, inner, f"{path}.{name}", paths) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            items = f"{path}[*]"
            return [self.mask(one) if items in paths else self._inside(one, items, paths) for one in value]
        return value

    def scrub(self, value: T, arguments: Mapping[str, Any], paths: frozenset[str] = frozenset()) -> T:
        """What somebody says who saw the arguments, without the secrets of theirs that it repeats."""
        hidden = self._secrets(arguments, "", paths)
        hidden |= {found[1] for secret in hidden if (found := _CREDENTIALS.fullmatch(secret))}
        masks = {secret: self.mask(secret) for secret in sorted(hidden, key=len, reverse=True)}
        return _without(value, masks) if masks else value

    def _secrets(self, value: Any, path: str, paths: frozenset[str], *, inside: bool = False) -> set[str]:
        """The texts that `redact` hides, down to every leaf; what is too short to be told apart is left."""
        if isinstance(value, Mapping):
            found: set[str] = set()
            for name, inner in value.items():
                place = f"{path}.{name}" if path else name
                hides = inside or self.secret(name) or place in paths
                found |= self._secrets(inner, place, paths, inside=hides)
            return found
        if isinstance(value, (list, tuple)):
            items = f"{path}[*]"
            hides = inside or items in paths
            return set().union(*(self._secrets(one, items, paths, inside=hides) for one in value))
        return {value} if inside and isinstance(value, str) and len(value) >= _TELLING else set()

    def mask(self, value: Any) -> str:
        """What stands in for a value: `‹string, 12 chars, 1f2e3d4c›`."""
        digest = hmac.new(self._key, b"mask\0" + canonical(value), hashlib.sha256).hexdigest()[:8]
        if isinstance(value, str):
            return f"‹string, {len(value)} chars, {digest}›"
        if isinstance(value, (Mapping, list, tuple)):
            shape = "object" if isinstance(value, Mapping) else "list"
            return f"‹{shape}, {len(value)} items, {digest}›"
        return f"‹{_JSON_NAMES[type(value)]}, {digest}›"


_JSON_NAMES = {bool: "boolean", int: "number", float: "number", type(None): "null"}


def _without(value: T, masks: Mapping[str, str]) -> T:
    """A value with these texts replaced, wherever they stand in it, in names too."""
    changed: Any = value
    if isinstance(value, str):
        for secret, mask in masks.items():
            changed = changed.replace(secret, mask)
    elif isinstance(value, Mapping):
        changed = {_without(name, masks): _without(inner, masks) for name, inner in value.items()}
    elif isinstance(value, (list, tuple)):
        changed = [_without(one, masks) for one in value]
    return cast("T", changed)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD_BREAK.split(name) if word]
