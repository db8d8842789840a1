"""An agent that wants to write what is kept of it: forged log lines, names without end, paths in errors."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from airlock.errors import StoreBusy
from airlock.hookdesk import Caller, Misnamed
from airlock.hooks.dialect import UnreadableHook
from airlock.hooks.dialects import CLAUDE_CODE, OWN
from airlock.logs import Lines, log_to
from airlock.model import Refusal, Refuse, Wait
from airlock.ports import Change
from airlock.queue.questions import MOST_SHOWN
from support.gates import call, open_gate

FORGED = "x`\nairlock: WARNING: the policy changed\x1b[2J\u202e"


def raise_of(text: str) -> None:
    raise ValueError(text)


def logged(work: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines("airlock: %(levelname)s: %(message)s"))
    logger = logging.getLogger("airlock.attacks")
    logger.addHandler(handler)
    try:
        work(logger)  # type: ignore[operator]
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


def test_a_name_cannot_forge_a_line_of_the_log_or_command_a_terminal() -> None:
    text = logged(lambda logger: logger.warning("call of `%s` refused: %s", FORGED, "no"))
    assert [line for line in text.splitlines() if not line.startswith("  ")] == [
        "airlock: WARNING: call of `x`"
    ]
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_text_of_an_exception_cannot_either() -> None:
    def fail(logger: logging.Logger) -> None:
        try:
            raise_of(FORGED)
        except ValueError:
            logger.exception("failed")

    text = logged(fail)
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if not line.startswith("  ")] == ["airlock: ERROR: failed"]


def test_a_log_file_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    for handler in before:
        root.removeHandler(handler)
    try:
        log_to(tmp_path / "log", logging.WARNING)
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
        for handler in before:
            root.addHandler(handler)


@pytest.mark.parametrize(
    "payload",
    [
        {"hook_event_name": "PreToolUse", "tool_name": "x" * 10_000, "tool_input": {}},
        {"client": "ci", "tool": "x" * 10_000},
    ],
)
def test_a_tools_name_without_end_is_refused_and_not_recorded(payload: dict[str, object]) -> None:
    with pytest.raises(UnreadableHook):
        (OWN if "client" in payload else CLAUDE_CODE).read(payload)


def test_an_agents_name_without_end_is_refused_and_not_recorded() -> None:
    with pytest.raises(Misnamed):
        Caller().agent_for("x" * 10_000, "claude-code")


@pytest.mark.anyio
async def test_a_failing_database_does_not_tell_an_agent_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_gate(tmp_path) as gate:

        async def busy(_: Change) -> None:
            raise StoreBusy(f"another process has held `{tmp_path}/airlock.db.lock` for 5 s")

        monkeypatch.setattr(gate.store, "commit", busy)
        refused = await gate.submit(call("demo/write_note", name="x"))
        assert isinstance(refused, Refuse)
        assert (refused.kind, refused.reason) == (
            Refusal.FAILED,
            "cannot be decided: the database cannot be used",
        )
        assert replace(refused, reason="").call.tool == "demo/write_note"


@pytest.mark.anyio
async def test_nobody_is_asked_about_arguments_that_nobody_can_read(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        refused = await gate.submit(call("demo/write_note", text="x" * (MOST_SHOWN + 1)))
        assert isinstance(refused, Refuse)
        assert (refused.kind, await gate.pending()) == (Refusal.LIMIT, [])
        (event,) = await gate.store.events()
        assert len(event.body) < 1_000
        assert isinstance(await gate.submit(call("demo/write_note", text="x" * 1_000_000)), Wait)
