"""What the outputs of a policy say. Whatever is not understood is an error, and an error opens no door.

Read are, of the package and in the same way of the object `decision`:

`deny`, `require_approval`   yes when true, a text, or a set, list or object that is not empty
`allow`                      true or false
`decision`                   `allow`, `deny` or `require_approval`, as a text or a member of the object
`reason`, `risk_level`, `approval_config`

Of all that a policy says the strictest holds: deny, ask, an `allow` that is false, one that is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airlock.errors import UsageError
from airlock.model import Effect
from airlock.values import dataclass
from airlock.web.compat.firewall.opinions import HOUR, LEAST_LIFE, MOST_LIFE
from airlock.web.compat.firewall.rego.child import OUTPUTS
from airlock.web.compat.firewall.words import EFFECTS, RISKS, graver

MOST_REASON = 500
MOST_APPROVERS = 100
TEXT_MEMBERS = ("reason", "msg", "message")
MEMBERS = frozenset({*OUTPUTS, "metadata"})
CONFIG = frozenset({"timeout_hours", "required_approvers", "notify_channels"})


class Unclear(UsageError):
    """An output is none that is understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one policy says. `effect` None: nothing of this action."""

    effect: Effect | None
    reason: str = ""
    risk: str = "low"
    life_ms: int | None = None
    quorum: int = 1
    reviewers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    """One thing that is said, with its own reason. `rank` is how strict it is."""

    rank: int
    effect: Effect
    reason: str


_DENY, _ASK, _NOT_ALLOWED, _ALLOW = 3, 2, 1, 0


def said(outputs: Mapping[str, Any], people: frozenset[str]) -> Said:
    """What these outputs say, where `people` can be asked; Unclear names the one that is not understood."""
    levels = [outputs, *_decision_object(outputs)]
    voices = [voice for level in levels for voice in _voices(level)]
    strictest = max(voices, key=lambda one: one.rank, default=None)
    if strictest is None and len(levels) > 1:
        raise Unclear("`decision` says neither `allow`, `deny` nor `require_approval`")
    reasons = [_text(level, "reason") for level in reversed(levels)]
    terms = _terms([level["approval_config"] for level in levels if "approval_config" in level], people)
    return Said(
        effect=None if strictest is None else strictest.effect,
        reason=_short(next(filter(None, [strictest.reason if strictest else "", *reasons]), "")),
        risk=graver("low", *(_risk(level) for level in levels)),
        **terms,
    )


def _decision_object(outputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    decision = outputs.get("decision")
    if not isinstance(decision, Mapping):
        return []
    unknown = sorted(set(decision) - MEMBERS)
    if unknown:
        raise Unclear(f"`decision.{unknown[0][:60]}` is not known: put what is your own under `metadata`")
    if isinstance(decision.get("decision"), Mapping):
        raise Unclear("`decision.decision` is not a text")
    return [decision]


def _voices(level: Mapping[str, Any]) -> Iterator[_Voice]:
    if _says(level, "deny"):
        yield _Voice(rank=_DENY, effect=Effect.DENY, reason=_reasons(level["deny"]))
    if _says(level, "require_approval"):
        yield _Voice(rank=_ASK, effect=Effect.ASK, reason=_reasons(level["require_approval"]))
    if "allow" in level:
        yield _allow(level["allow"])
    if "decision" in level and not isinstance(level["decision"], Mapping):
        yield _word(level["decision"])


def _allow(value: Any) -> _Voice:
    if not isinstance(value, bool):
        raise Unclear("`allow` is neither true nor false")
    effect, rank = (Effect.ALLOW, _ALLOW) if value else (Effect.DENY, _NOT_ALLOWED)
    return _Voice(rank=rank, effect=effect, reason="")


def _word(word: Any) -> _Voice:
    effect = EFFECTS.get(word) if isinstance(word, str) else None
    if effect is None:
        raise Unclear(f"`decision` is none of {', '.join(EFFECTS)}")
    ranks = {Effect.DENY: _DENY, Effect.ASK: _ASK, Effect.ALLOW: _ALLOW}
    return _Voice(rank=ranks[effect], effect=effect, reason="")


def _says(level: Mapping[str, Any], name: str) -> bool:
    """True when a rule that denies or asks has come out."""
    value = level.get(name, False)
    if isinstance(value, (bool, list, Mapping)):
        return bool(value)
    if isinstance(value, str) and value:
        return True
    raise Unclear(f"`{name}` is neither true, false, a text nor a set of them")


def _reasons(value: Any) -> str:
    """The texts in what a rule gave."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, map(_reasons, value)))
    if isinstance(value, Mapping):
        own = next((value[name] for name in TEXT_MEMBERS if isinstance(value.get(name), str)), None)
        return str(own) if own is not None else "; ".join(map(str, value))
    return ""


def _text(level: Mapping[str, Any], name: str) -> str:
    value = level.get(name)
    if value is not None and not isinstance(value, str):
        raise Unclear(f"`{name}` is not a text")
    return value or ""


def _risk(level: Mapping[str, Any]) -> str:
    risk = level.get("risk_level", "low")
    if risk not in RISKS:
        raise Unclear(f"`risk_level` is none of {', '.join(RISKS)}")
    return str(risk)


def _terms(configs: list[Any], people: frozenset[str]) -> dict[str, Any]:
    """How long a question may be open and who must say yes: the strictest of what is given."""
    lives: list[int] = []
    quorum, reviewers = 1, frozenset[str]()
    for config in configs:
        if not isinstance(config, Mapping) or set(config) - CONFIG:
            raise Unclear(f"`approval_config` is not an object of {', '.join(sorted(CONFIG))}")
        lives += _life(config)
        count, names = _approvers(config.get("required_approvers", 1), people)
        if reviewers and names and reviewers != names:
            raise Unclear("`required_approvers` is given twice, and differently")
        quorum, reviewers = max(quorum, count), reviewers | names
    if reviewers and quorum > len(reviewers):
        raise Unclear("`required_approvers` wants more people than it names")
    return {"life_ms": min(lives, default=None), "quorum": quorum, "reviewers": reviewers}


def _life(config: Mapping[str, Any]) -> list[int]:
    hours = config.get("timeout_hours")
    if hours is None:
        return []
    if isinstance(hours, bool) or not isinstance(hours, (int, float)) or not hours > 0:
        raise Unclear("`approval_config.timeout_hours` is not a number over 0")
    return [int(min(MOST_LIFE, max(LEAST_LIFE, hours * HOUR)))]


def _approvers(wanted: Any, people: frozenset[str]) -> tuple[int, frozenset[str]]:
    """How many, and who: a number, or a list of people all of whom must say yes."""
    if isinstance(wanted, int) and not isinstance(wanted, bool) and 1 <= wanted <= MOST_APPROVERS:
        return wanted, frozenset()
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) for one in wanted):
        raise Unclear("`approval_config.required_approvers` is neither a number over 0 nor a list of people")
    unknown = sorted(set(wanted) - people)
    if unknown:
        raise Unclear(f"`approval_config.required_approvers`: `{unknown[0][:60]}` is nobody in `people:`")
    return len(set(wanted)), frozenset(wanted)


def _short(reason: str) -> str:
    """One printable line."""
    line = " ".join("".join(one if one.isprintable() else " " for one in reason).split())
    return line if len(line) <= MOST_REASON else f"{line[: MOST_REASON - 1]}…"
