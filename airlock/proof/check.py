"""Whether a proof pack holds, part by part: believed is what hashes and a trusted key's signature show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any

from airlock.audit import CHAIN, GENESIS, VERSION, follow, holds
from airlock.canonical import canonical, parse
from airlock.errors import UsageError, WireError
from airlock.model import JsonObject
from airlock.ports import AuditEvent
from airlock.proof.pack import ALGORITHM, FORMAT, signed_bytes
from airlock.proof.story import consulted, of_one_call, revisions, story
from airlock.signing import fingerprint_of, key_id_of, verified
from airlock.values import dataclass

PARTS = (
    "format", "made_at", "made_by", "airlock", "action", "decisions", "approvals", "outcome", "policies",
    "consulted", "chain", "signature",
)  # fmt: skip
EVENT_FIELDS = tuple(AuditEvent.__slots__)
HEX = frozenset("0123456789abcdef")


class Broken(Exception):
    """A part of the pack does not hold; says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one part: `problem` is "" when it holds, `note` what one should know of it."""

    part: str
    problem: str = ""
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found, part by part."""

    pack: JsonObject
    events: list[AuditEvent] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """True when every part holds."""
        return not any(one.problem for one in self.findings)


def check(pack: Any, trusted: Sequence[str]) -> Report:
    """Look at every part of a pack. `trusted` are public keys in hex or their fingerprints.

    UsageError when it is no proof pack at all.
    """
    if not isinstance(pack, dict) or pack.get("format") != FORMAT:
        raise UsageError(f"not a proof pack: its `format` must be `{FORMAT}`")
    report = Report(pack=pack)
    missing, strange = [name for name in PARTS if name not in pack], sorted(set(pack) - set(PARTS))
    for name in missing:
        report.findings.append(Finding(part=name, problem="it is missing"))
    for name in strange:
        report.findings.append(Finding(part=name[:40], problem="it does not belong into a pack"))
    events = report.events
    _look(report, "signature", lambda: _signature(pack, trusted))
    _look(report, "chain", lambda: _chain(pack, events))
    for part in ("action", "decisions", "approvals", "outcome"):
        _look(report, part, lambda part=part: _told(pack, events, part))  # type: ignore[misc]
    _look(report, "policies", lambda: _policies(pack, events))
    _look(report, "consulted", lambda: _consulted(pack, events))
    return report


def _look(report: Report, part: str, look: Callable[[], str]) -> None:
    if part not in report.pack:
        return
    try:
        report.findings.append(Finding(part=part, note=look()))
    except Broken as broken:
        report.findings.append(Finding(part=part, problem=str(broken)))


def _signature(pack: JsonObject, trusted: Sequence[str]) -> str:
    claim = pack["signature"]
    members = {"algorithm", "key_id", "public_key", "value"}
    if not isinstance(claim, dict) or set(claim) != members or claim["algorithm"] != ALGORITHM:
        raise Broken(f"it is no {ALGORITHM} signature with its key")
    public, value = _hex(claim["public_key"], 32), _hex(claim["value"], 64)
    if claim["key_id"] != key_id_of(public):
        raise Broken("its `key_id` is not that of its key")
    try:
        good = verified(public, signed_bytes(pack), value)
    except WireError as error:
        raise Broken(f"what it is over cannot be written down: {error}") from None
    if not good:
        raise Broken("it is not over this pack: something was changed after it was signed")
    if not {public.hex(), fingerprint_of(public)} & set(trusted):
        raise Broken(f"the pack was signed with another key than the trusted one: {fingerprint_of(public)}")
    return f"{ALGORITHM}, {key_id_of(public)}"


def _hex(value: Any, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or not set(value) <= HEX:
        raise Broken(f"`{str(value)[:80]}` is not {size} bytes in small hexadecimal digits")
    return bytes.fromhex(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Broken(f"`{str(value)[:40]}` is not a whole number")
    return value


def _members(value: Any, names: Sequence[str], what: str) -> JsonObject:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Broken(f"{what} has not exactly {', '.join(names)}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise Broken(f"{what} is no list, or an empty one")
    return value


def _chain(pack: JsonObject, events: list[AuditEvent]) -> str:
    """Walk the runs; the events that are shown whole go into `events`."""
    chain = _members(pack["chain"], ("version", "chain", "head", "runs"), "the chain")
    if (_whole(chain["version"]), _whole(chain["chain"])) != (VERSION, CHAIN):
        raise Broken("it is of a version that this Airlock does not know")
    head = _members(chain["head"], ("seq", "hash"), "the head")
    head_seq, head_hash = _whole(head["seq"]), _hex(head["hash"], 32)
    end, last, hidden, runs = 0, b"", 0, _list(chain["runs"], "`runs`")
    found: list[AuditEvent] = []
    for run in runs:
        first = _whole(_members(run, ("first_seq", "before", "links"), "a run")["first_seq"])
        if first <= end or (first == 1 and run["before"] != GENESIS.hex()):
            raise Broken(f"the run from event {first} on does not stand where it says")
        shown, last = _walk(run, first)
        end, hidden = first + len(run["links"]) - 1, hidden + len(run["links"]) - len(shown)
        found += shown
    if not found or not of_one_call(found):
        raise Broken("its events are not all of one call")
    if end > head_seq or (end == head_seq and last != head_hash):
        raise Broken("it does not lead to the head that the pack names")
    events += found
    linked = "linked to" if end == head_seq else "not linked, but by the signature, to"
    among = f"events of the call: {len(found)}, links of others: {hidden}"
    broken = f", in {len(runs)} runs" if len(runs) > 1 else ""
    return f"{among}{broken}, {linked} the head {head_seq} {head_hash.hex()}"


def _walk(run: JsonObject, first: int) -> tuple[list[AuditEvent], bytes]:
    """The whole events of a run, and the hash that it ends with."""
    last, events = _hex(run["before"], 32), list[AuditEvent]()
    for seq, link in enumerate(_list(run["links"], "`links`"), first):
        if isinstance(link, str):
            last = follow(last, _hex(link, 32))
            continue
        event = _event(link)
        if event.seq != seq or event.prev != last.hex():
            raise Broken(f"event {event.seq} does not follow the one before it")
        if not holds(event):
            raise Broken(f"event {event.seq} was changed: its hash is another")
        events.append(event)
        last = bytes.fromhex(event.hash)
    return events, last


def _event(link: Any) -> AuditEvent:
    fields = _members(link, EVENT_FIELDS, "an event")
    for name in EVENT_FIELDS:
        if name in {"seq", "at"}:
            _whole(fields[name])
        elif name in {"prev", "hash"}:
            _hex(fields[name], 32)
        elif not isinstance(fields[name], str):
            raise Broken(f"`{name}` of an event is no text")
    event = AuditEvent(**fields)
    if not 0 < event.seq < 2**53 or not 0 <= event.at < 2**53:
        raise Broken("a number of an event is out of range")
    try:
        body = parse(event.body)
    except WireError as error:
        raise Broken(f"the body of event {event.seq} cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise Broken(f"the body of event {event.seq} is no object")
    return event


def _told(pack: JsonObject, events: Sequence[AuditEvent], part: str) -> str:
    expected = _retold(events)
    if not _same(pack[part], expected[part]):
        raise Broken(f"it is not what the events say{_where(pack[part], expected[part])}")
    return _in_words(part, expected)


def _retold(events: Sequence[AuditEvent]) -> JsonObject:
    if not events:
        raise Broken("without its events nothing shows it")
    try:
        told = story(events)
    except (WireError, ValueError, OverflowError, OSError, TypeError):
        told = None
    if told is None:
        raise Broken("its events decide nothing")
    return told


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    try:
        return canonical(one) == canonical(other)
    except WireError:
        return False


def _where(shown: Any, expected: Any, path: str = "") -> str:
    """The first place at which two values differ, for people."""
    if isinstance(shown, dict) and isinstance(expected, dict):
        names = [name for name in [*expected, *shown] if not _same(shown.get(name), expected.get(name))]
        return _where(shown.get(names[0]), expected.get(names[0]), f"{path}.{names[0]}") if names else path
    if isinstance(shown, list) and isinstance(expected, list) and len(shown) == len(expected):
        place = next(
            number for number, two in enumerate(zip(shown, expected, strict=True)) if not _same(*two)
        )
        return _where(shown[place], expected[place], f"{path}[{place}]")
    return f": `{path.lstrip('.')[:100]}`" if path else ""


def _policies(pack: JsonObject, events: Sequence[AuditEvent]) -> str:
    _retold(events)
    wanted = revisions(events)
    shown = _rows(pack["policies"], ("revision", "text"))
    if [one["revision"] for one in shown] != wanted:
        raise Broken("they are not the revisions that the decisions name")
    return _texts((one["revision"], one["text"]) for one in shown)


def _consulted(pack: JsonObject, events: Sequence[AuditEvent]) -> str:
    _retold(events)
    shown = _rows(pack["consulted"], ("name", "digest", "text"))
    if [(one["name"], one["digest"]) for one in shown] != consulted(events):
        raise Broken("they are not the policies that the decisions name")
    return _texts((one["digest"], one["text"]) for one in shown)


def _rows(value: Any, names: Sequence[str]) -> list[JsonObject]:
    if not isinstance(value, list):
        raise Broken("it is no list")
    return [_members(one, names, "an entry") for one in value]


def _texts(named: Iterator[tuple[str, Any]]) -> str:
    notes: list[str] = []
    for digest, text in named:
        if text is None:
            notes.append(f"the text of {digest[:12]} was not kept")
        elif not isinstance(text, str) or hashlib.sha256(text.encode(errors="replace")).hexdigest() != digest:
            raise Broken(f"the text is not that of {digest[:12]}")
        else:
            notes.append(f"{digest[:12]} with its text")
    return ", ".join(notes) or "none"


def _in_words(part: str, told: JsonObject) -> str:
    """What one part says, in a line for people."""
    if part == "action":
        action = told["action"]
        return f"{action['tool']} by {action['agent']}, {action['submitted_at']}"
    if part == "decisions":
        rows = told["decisions"]
        return ", ".join(f"{one['effect'] or one['what']} ({one['rule'] or one['reason']})" for one in rows)
    if part == "approvals":
        return ", ".join(map(_answer, told["approvals"])) or "nobody was asked"
    outcome = told["outcome"]
    return "not known" if outcome is None else str(outcome["result"])


def _answer(one: JsonObject) -> str:
    note = f", “{one['note']}”" if one["note"] else ""
    return f"{one['what']} by {one['by'] or 'nobody'}, {one['at']}{note}"
