"""`airlock trust`: agree to a config that was only found, after seeing what changed in it."""

from __future__ import annotations

from pathlib import Path

import click

from airlock.cli.authority import PIN_OPTION, confirmed, decider
from airlock.cli.frame import Command, here
from airlock.cli.lines import Line, Tone, marked, span
from airlock.cli.places import config_path
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.errors import UsageError, why
from airlock.home import state
from airlock.visible import visible

DIFF_TONES = {"+": Tone.GOOD, "-": Tone.BAD, "@": Tone.DIM}


@click.command(cls=Command, example="airlock trust\nairlock trust ./airlock.yaml --yes")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--yes", is_flag=True, help="Trust it without asking.")
@PIN_OPTION
def trust(file: Path | None, yes: bool, pin_stdin: bool) -> None:
    """Let a config start programs: shows what changed since it was trusted last, and asks."""
    frame = here()
    path = (file or config_path(frame)).absolute()
    decider(pin_stdin=pin_stdin)
    before = _stamp(path)
    if state.trusted(path):
        _say(path, "was trusted already, word for word", changed=False)
        return
    if not frame.json:
        put_lines(diff_lines(state.difference(path)))
    if not yes and not confirmed(f"airlock: trust {visible(str(path))}, which can start programs?"):
        raise UsageError("nothing was trusted: answer on a terminal, or read it and use `--yes`")
    if _stamp(path) != before:
        raise UsageError(f"`{path}` changed while it was read: look at it once more")
    state.trust(path)
    _say(path, "is trusted", changed=True)


def diff_lines(text: str) -> list[Line]:
    """A unified diff in colours, every character shown."""
    return [_diff_line(row) for row in text.splitlines()]


def _diff_line(row: str) -> Line:
    return marked(visible(row), DIFF_TONES.get(row[:1], Tone.PLAIN)) or (span(""),)


def _stamp(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {why(error)}") from None


def _say(path: Path, what: str, *, changed: bool) -> None:
    if here().json:
        put_json({"ok": True, "file": str(path), "changed": changed})
    elif changed:
        put(f"{visible(str(path))} {what}")
    else:
        complain(f"{path} {what}")
