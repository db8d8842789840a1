"""The full-screen Claude Code in a terminal: what the person in front of it sees, and that the first answer
counts when its own dialog is open while a person elsewhere is asked."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from fixtures import clients
from support.coding_agents import BOUND, SECRET, Bench, claude_env, claude_mcp, program
from support.model_stand_in import Model, Say, Use

pytestmark = pytest.mark.real

NOTE = Use("mcp__airlock__demo__write_note", {"name": "plan", "text": "buy milk"})
CONFIG = f"""
server: {{api_secret: {SECRET}}}
database: sqlite:///airlock.db
providers: {{demo: {{type: builtin}}}}
agents:
  claude-code: {{extends: [claude-code-basics], ask: ["bash/*"]}}
"""


class Screen:
    """A terminal in which a program runs."""

    def __init__(self, bench: Bench, command: list[str], env: dict[str, str]) -> None:
        self._socket = str(bench.folder / "tmux")
        line = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command])
        self._tmux("new-session", "-d", "-x", "140", "-y", "50", "-c", str(bench.project), line)

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def type(self, *keys: str) -> None:
        """Press these keys."""
        self._tmux("send-keys", *keys)

    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def until(self, seen: Callable[[str], bool]) -> str:
        """Wait until the screen shows it."""
        deadline = time.monotonic() + BOUND
        while not seen(text := self.text()):
            assert time.monotonic() < deadline, text
        return text

    def close(self) -> None:
        """End the program and its terminal."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")


@pytest.fixture
def screens() -> Iterator[Callable[..., Screen]]:
    """Opens terminals."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is missing: install it with your system's packages")
    with contextlib.ExitStack() as stack:

        def make(bench: Bench, command: list[str], env: dict[str, str]) -> Screen:
            screen = Screen(bench, command, env)
            stack.callback(screen.close)
            return screen

        yield make


def at_home(bench: Bench) -> None:
    """What Claude Code would ask on its first start, answered."""
    known = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["dummy"], "rejected": []},
        "projects": {str(bench.project): {"hasTrustDialogAccepted": True}},
    }
    (bench.home / ".claude.json").write_text(json.dumps(known))


def opened(bench: Bench, model: Model, screens: Callable[..., Screen], *switches: str, **env: str) -> Screen:
    """Claude Code on a screen, told to go."""
    at_home(bench)
    command = [*program(clients.claude), "--permission-mode", "default", *switches]
    screen = screens(bench, command, {**bench.env, **claude_env(model), "TERM": "xterm-256color", **env})
    screen.until(lambda text: "❯" in text)
    screen.type("go", "Enter")
    return screen


def chosen(screen: Screen, text: str) -> bool:
    """Take the dialog's first choice. A key that comes too soon after it opened is lost."""
    if "1. Yes" in text:
        screen.type("Enter")
    return "1. Yes" not in text


def test_the_person_reads_under_the_running_call_how_to_answer_and_the_model_does_not(
    place: Callable[[str], Bench], play: Callable[..., Model], screens: Callable[..., Screen]
) -> None:
    bench = place(CONFIG.replace("ask: [", "wait: hold, ask: [demo/write_note, "))
    model = play(NOTE)
    screen = opened(bench, model, screens, *claude_mcp(bench))
    (question,) = bench.pending()
    code = question["code"]
    screen.until(lambda text: f"airlock approve {code}" in text)
    assert bench.person("approve", code).code == 0
    screen.until(lambda text: "done" in text)
    assert "plan" in model.results[0]
    assert code not in model.everything


def test_a_parked_call_becomes_a_task_and_its_result_reaches_the_model_after_the_yes(
    place: Callable[[str], Bench], play: Callable[..., Model], screens: Callable[..., Screen]
) -> None:
    bench = place(CONFIG.replace("ask: [", "ask: [demo/write_note, "))
    model = play(NOTE, Say("I go on"))
    screen = opened(bench, model, screens, *claude_mcp(bench))
    (question,) = bench.pending()
    screen.until(lambda text: "I go on" in text and "1 MCP task" in text)
    assert "moved to the background" in model.results[0]
    assert bench.person("approve", question["code"]).code == 0
    screen.until(lambda text: "completed" in text)
    screen.until(
        lambda _: '\\"created\\": true' in model.everything or '\\"created\\":true' in model.everything
    )
    assert question["code"] not in model.everything
    assert question["id"] not in model.everything
    ((tool, outcome),) = [(row["tool"], row["hitl_outcome"]) for row in bench.audit()]
    assert (tool, outcome) == ("demo/write_note", "approved")


@pytest.mark.parametrize("first", ["elsewhere", "at the keyboard"])
def test_whoever_answers_first_decides(
    first: str,
    place: Callable[[str], Bench],
    play: Callable[..., Model],
    screens: Callable[..., Screen],
) -> None:
    bench = place(CONFIG)
    model = play(Use("Bash", {"command": "touch made", "description": "make a file"}))
    with bench.gateway() as gateway:
        words = ["--name", "hooks", "--agent", "claude-code", "--scope", "hook"]
        token = bench.person("keys", "create", *words).out.strip()
        hook = {
            "type": "http",
            "url": f"{gateway.url}/hook?timeout=60",
            "headers": {"Authorization": "Bearer $AIRLOCK_TOKEN"},
            "allowedEnvVars": ["AIRLOCK_TOKEN"],
            "timeout": 60,
        }
        bench.file(
            ".claude/settings.json", {"hooks": {"PermissionRequest": [{"matcher": "*", "hooks": [hook]}]}}
        )
        screen = opened(bench, model, screens, AIRLOCK_TOKEN=token)
        screen.until(lambda text: "touch made" in text and "1. Yes" in text)
        (question,) = bench.pending()
        assert question["tool"] == "bash/touch"
        if first == "elsewhere":
            assert bench.person("approve", question["code"]).code == 0
        else:
            screen.until(lambda text: chosen(screen, text))
        screen.until(lambda text: "done" in text)
        assert (bench.project / "made").exists()
        assert question["code"] not in model.everything
