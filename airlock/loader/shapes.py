"""What a key of the config takes: JSON Schema fragments, and the record that describes one key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airlock.values import dataclass

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


def choice(*words: str) -> Shape:
    """One of a few words."""
    return {"anyOf": [{"enum": list(words)}, REFERENCE]}


def named(section: str) -> Shape:
    """Sections by name."""
    return {"type": ["object", "null"], "additionalProperties": {"$ref": f"#/$defs/{section}"}}


def listed(section: str) -> Shape:
    """A list of sections."""
    return {"type": ["array", "null"], "items": {"$ref": f"#/$defs/{section}"}}


def one(section: str) -> Shape:
    """One section."""
    return {"$ref": f"#/$defs/{section}"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it takes, what it means. `instead_of` names the key whose other spelling it is."""

    shape: Shape
    about: str
    default: str = ""
    example: str = ""
    instead_of: str = ""


def milliseconds(key: str, example: str) -> Key:
    """The spelling of a duration that takes a plain number."""
    return Key(WHOLE, f"Another spelling of `{key}`: milliseconds as a plain number.", "", example, key)
