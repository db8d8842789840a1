"""Lengths of time as people write them: `500ms`, `30s`, `5m`, `2h`, `1d`."""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST: Final = 3650 * UNITS["d"]
"""Ten years: far from any limit of a database or a timer."""

_DURATION = re.compile(r"([0-9]{1,15})\s?(ms|s|m|h|d)\Z")


def milliseconds(text: str) -> int:
    """The length in milliseconds; ValueError with a message for people when it is not one."""
    found = _DURATION.match(text.strip())
    if found is None:
        raise ValueError(f"`{text[:40]}` is not a duration: write `500ms`, `30s`, `5m`, `2h` or `1d`")
    length = int(found[1]) * UNITS[found[2]]
    if length > LONGEST:
        raise ValueError(f"`{text[:40]}` is longer than ten years")
    return length
