"""`between:` of a rule: a daily window, its time zone and its days."""

from __future__ import annotations

import re
from typing import Final

from airlock.config import Hours
from airlock.loader.fields import Section
from airlock.loader.reading import Found, meant

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"\s*([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})\s*\Z")
_DAY: Final = 24 * 60


def hours(section: Section) -> Hours | None:
    """The window of a rule; None when there is none or it is wrong."""
    found = section.found("between")
    if found is None:
        return None
    if found.node.keys is None:
        window = _window(section, section.text("between"), found.path, found.line)
        return Hours(start=window[0], end=window[1]) if window else None
    return _mapped(section.section("between", "between"))


def _mapped(inner: Section) -> Hours | None:
    text = inner.text("hours")
    window = _window(inner, text, inner.at("hours"), inner.line) if text else (0, _DAY)
    zone = _zone(inner)
    days = _days(inner)
    if window is None:
        return None
    return Hours(start=window[0], end=window[1], timezone=zone, days=days)


def _window(section: Section, text: str, path: str, line: int) -> tuple[int, int] | None:
    found = _WINDOW.match(text)
    if found is None:
        section.reading.error(line, path, "must be a window of hours", 'like "09:00-17:00"')
        return None
    start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if int(found[2]) > 59 or int(found[4]) > 59 or start >= _DAY or end > _DAY:
        section.reading.error(line, path, f"`{text.strip()[:20]}` is not on a clock of 24 hours")
        return None
    if start == end:
        section.reading.error(line, path, "begins when it ends", 'the whole day is "00:00-24:00"')
        return None
    return start, end


def _zone(section: Section) -> str:
    name = section.text("timezone", "UTC")
    if name == "UTC":
        return name
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        hint = meant(name, available_timezones())
        section.error("timezone", f"unknown time zone `{name[:40]}`", hint or "like `Europe/Berlin`")
        return "UTC"
    return name


def _days(section: Section) -> frozenset[int]:
    days: set[int] = set()
    for text, found in section.texts("days", single=True):
        days |= _span(section, text.strip().lower(), found)
    return frozenset(days)


def _span(section: Section, text: str, found: Found) -> set[int]:
    first, dash, last = (word.strip()[:3] for word in text.partition("-"))
    if first not in DAYS or (dash and last not in DAYS):
        listed = ", ".join(DAYS)
        section.reading.error(found.line, found.path, f"`{text[:20]}` is not a day", f"{listed}, or mon-fri")
        return set()
    if not dash:
        return {DAYS.index(first)}
    start = DAYS.index(first)
    return {(start + step) % 7 for step in range((DAYS.index(last) - start) % 7 + 1)}
