"""Proof packs on the command line: made, checked, and the key that signs them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from airlock.canonical import parse
from airlock.cli.authority import local_identity
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.lines import Tone, line, marked, span
from airlock.cli.places import open_places
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.errors import NoSuchRequest, UsageError, WireError, why
from airlock.ids import now_ms
from airlock.model import JsonObject
from airlock.visible import visible

if TYPE_CHECKING:
    from airlock.cli.places import Places
    from airlock.proof.check import Report
    from airlock.runtime import Runtime

HEX_KEY = 64


@click.command(
    cls=Command,
    example="airlock audit proof 3f2a9c…  > pack.json\nairlock audit proof K7QF2M --output pack.json",
)
@click.argument("reference", metavar="ID")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Not to stdout."
)
def proof(reference: str, output: Path | None) -> None:
    """Make a signed proof pack of one call, for somebody who has nothing but this file.

    ID is that of a call, of its decision (`airlock audit --json`), of its question, or the question's code.
    """
    wait_for(_proof(here(), reference, output))


async def _proof(frame: Frame, reference: str, output: Path | None) -> None:
    from airlock.cli.history import target

    async with open_places(frame, everywhere=True) as places:
        pack = await _pack(places, reference)
    with target(output) as stream:
        stream.write(_written(pack))
    if output is not None and frame.json:
        put_json({"ok": True, "file": str(output), "id": pack["action"]["id"]})
    elif output is not None:
        put(f"{pack['action']['tool']} by {pack['action']['agent']}: written to {output}")


async def _pack(places: Places, reference: str) -> JsonObject:
    from airlock.proof.pack import prove, signer

    for runtime in await places.runtimes():
        request = await runtime.store.find(reference)
        wanted = reference if request is None else request.id
        try:
            store = runtime.store
            return await prove(store, store, signer(runtime.gate), wanted, by=local_identity(), now=now_ms())
        except NoSuchRequest:
            continue
    raise NoSuchRequest(f"no call `{reference[:64]}` is in history: see `airlock audit --json`")


def _written(pack: JsonObject) -> str:
    import json

    return json.dumps(pack, ensure_ascii=False, indent=1) + "\n"


@click.command(cls=Command, example="airlock audit key\nairlock audit key --pem > airlock.pub")
@click.option("--pem", is_flag=True, help="The key alone, as other programs read it.")
def key(*, pem: bool) -> None:
    """The public key that proof packs are checked with. Give it away on a road of its own."""
    wait_for(_key(here(), pem=pem))


async def _key(frame: Frame, *, pem: bool) -> None:
    from airlock.proof.pack import signer
    from airlock.signing import fingerprint_of, pem_of

    async with open_places(frame) as places:
        runtimes = await places.runtimes()
        if pem and len(runtimes) > 1:
            raise UsageError("each database has a key of its own: name the config with `--config FILE`")
        found = [(runtime.config.database, signer(runtime.gate)) for runtime in runtimes]
    if pem:
        put(pem_of(found[0][1].public).rstrip())
        return
    shapes = [
        {
            "database": database,
            "key_id": one.key_id,
            "public_key": one.public.hex(),
            "fingerprint": fingerprint_of(one.public),
        }
        for database, one in found
    ]
    if frame.json:
        put_json(shapes[0] if len(shapes) == 1 else shapes)
        return
    for shape in shapes:
        for name in ("database", "key_id", "public_key", "fingerprint"):
            put(f"{name.replace('_', ' '):<12} {shape[name]}")


def verify_pack(file: str, trusted: str) -> int:
    """Say whether the pack in this file (`-` is stdin) holds, by this key or else by our own."""
    pack = _read(file)
    return wait_for(_verify(here(), pack, trusted))


async def _verify(frame: Frame, pack: Any, trusted: str) -> int:
    from airlock.proof.check import check

    if trusted:
        report = check(pack, keys_of(trusted))
    else:
        async with open_places(frame, everywhere=True) as places:
            runtimes = await places.runtimes()
            report = check(pack, [_public(runtime) for runtime in runtimes])
            await _compare(report, runtimes)
    if frame.json:
        put_json(_shape(report))
    else:
        _say(report)
    return Exit.DONE if report.sound else Exit.FOUND_WRONG


def _public(runtime: Runtime) -> str:
    from airlock.proof.pack import signer

    return signer(runtime.gate).public.hex()


async def _compare(report: Report, runtimes: Sequence[Runtime]) -> None:
    """Where the chain that the pack came from is at hand: is it still what the pack shows?"""
    from airlock.proof.check import Finding

    if not report.sound:
        return
    own = next(one for one in runtimes if _public(one) == report.pack["signature"]["public_key"])
    place, store = own.config.database, own.store
    first = next((event.seq for event in await store.events(limit=1)), 0)
    problem, gone = "", 0
    for event in report.events:
        found = await store.events(after=event.seq - 1, limit=1)
        if found and found[0].seq == event.seq:
            if found[0].hash != event.hash:
                problem = problem or f"event {event.seq} is another in the database here, {place}"
        elif found and first < event.seq:  # what is pruned is all that came before, too
            problem = problem or f"event {event.seq} was taken out of the database here, {place}"
        else:
            gone += 1
    note = f"its events stand in the database here, {place}"
    if gone:
        note = f"{gone} of {len(report.events)} events stand no longer in {place}: pruned, or cut off"
    report.findings.append(Finding(part="database", problem=problem, note=note))


def keys_of(text: str) -> list[str]:
    """The keys that `--key` names: in hex, by its fingerprint, or in a file that holds either or PEM."""
    from airlock.signing import from_pem

    wanted = text.strip()
    if _is_hex(wanted.removeprefix("sha256:")):
        return [wanted]
    try:
        content = Path(text).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "not text").lower()
        raise UsageError(f"`--key {text[:80]}` is no key, no fingerprint, and no file: {reason}") from None
    if _is_hex(content.removeprefix("sha256:")):
        return [content]
    public = from_pem(content + "\n")
    if public is None:
        raise UsageError(
            f"there is no Ed25519 public key in `{text[:80]}`: `airlock audit key --pem` writes it"
        )
    return [public.hex()]


def _is_hex(text: str) -> bool:
    return len(text) == HEX_KEY and set(text) <= set("0123456789abcdef")


def _read(file: str) -> Any:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read `{file}`: {why(error)}") from None
    try:
        return parse(data)
    except WireError as error:
        raise UsageError(f"not a proof pack: {error}") from None


def _shape(report: Report) -> JsonObject:
    pack = report.pack
    return {
        "ok": report.sound,
        "findings": [
            {
                "part": one.part,
                "ok": not one.problem,
                "problem": one.problem or None,
                "note": one.note or None,
            }
            for one in report.findings
        ],
        "action": pack.get("action"),
        "decisions": pack.get("decisions"),
        "approvals": pack.get("approvals"),
        "outcome": pack.get("outcome"),
    }


def _say(report: Report) -> None:
    lines = [
        line(
            span("broken  " if one.problem else "holds   ", Tone.BAD if one.problem else Tone.GOOD),
            span(f"{one.part:<10} ", Tone.HEAD),
            *marked(visible(one.problem or one.note)),
        )
        for one in report.findings
    ]
    put_lines(lines)
    broken = [one.part for one in report.findings if one.problem]
    if broken:
        complain(f"the pack does not hold: {', '.join(broken)}")
    else:
        put("the pack holds")
