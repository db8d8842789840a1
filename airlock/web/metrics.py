"""Counts, written as Prometheus text by a few lines of our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from airlock import __version__
from airlock.values import dataclass

MEDIA = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: its name, kind and meaning, and its samples by labels."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


class Metrics:
    """What this process has counted. Labels come from closed sets, never from what a caller sent."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._hooks: Counter[tuple[str, str]] = Counter()
        self._unauthorized = 0
        self._limited = 0

    def answered(self, method: str, route: str, status: int) -> None:
        """One request was answered; `route` is a path of the table, or empty."""
        self._requests[method, route, str(status)] += 1

    def hook(self, dialect: str, decision: str) -> None:
        """One hook was answered."""
        self._hooks[dialect, decision] += 1

    def unauthorized(self) -> None:
        """A credential was missing or wrong."""
        self._unauthorized += 1

    def limited(self) -> None:
        """Somebody asked too often."""
        self._limited += 1

    def families(self) -> list[Family]:
        """All of it, and which Airlock this is."""
        return [
            gauge("airlock_info", "Which Airlock this is.", [({"version": __version__}, 1)]),
            counter(
                "airlock_http_requests_total",
                "Requests answered, by route.",
                [
                    ({"method": m, "route": r, "status": s}, n)
                    for (m, r, s), n in sorted(self._requests.items())
                ],
            ),
            counter(
                "airlock_hook_answers_total",
                "Hooks answered, by dialect.",
                [({"client": c, "decision": d}, n) for (c, d), n in sorted(self._hooks.items())],
            ),
            counter(
                "airlock_unauthorized_total",
                "Requests with a missing or wrong credential.",
                [({}, self._unauthorized)],
            ),
            counter("airlock_limited_total", "Requests refused as too many.", [({}, self._limited)]),
        ]


def gauge(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A value that goes up and down."""
    return Family(name=name, kind="gauge", help=text, samples=tuple(samples))


def counter(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A value that only grows."""
    return Family(name=name, kind="counter", help=text, samples=tuple(samples))


def escape_label(value: str) -> str:
    """A label's value inside its quotes: backslash, quote and line feed are escaped, as the format says."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def escape_help(text: str) -> str:
    """A help line: backslash and line feed are escaped."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def exposition(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {escape_help(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            inside = ",".join(f'{name}="{escape_label(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{{{inside}}} {value}" if inside else f"{family.name} {value}")
    return "\n".join(lines) + "\n"
