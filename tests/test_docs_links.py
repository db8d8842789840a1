"""The pages hold together: every link leads somewhere, every command and option that they name is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from airlock.cli.frame import Group
from airlock.cli.main import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "airlock" / "plugin").rglob("*.md")),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(airlock [^`\n]+)`")
STOP = {"|", "||", "&&", ";", ">", "<", ">>", "#", "&"}


def links(text: str) -> Iterator[tuple[str, str]]:
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from LINK.findall(re.sub(r"`[^`\n]*`", "", plain))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor[1:] in anchors(there), f"{page.name} links to {target}{anchor}"


def commands(text: str) -> Iterator[list[str]]:
    """The words of every `airlock …` that a page shows."""
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in (*INLINE.findall(text), *lines):
        words = split(line)
        if words[:1] == ["airlock"]:
            yield words[1:]


def split(line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    end = next((place for place, word in enumerate(words) if word in STOP), len(words))
    return words[:end]


def unknown(words: list[str]) -> str:
    """What a command line names that the program does not have; "" when all is known."""
    command: click.Command = cli
    context = click.Context(command)
    rest = list(words)
    while rest:
        word = rest.pop(0).rstrip("…,")
        if word in {"--", "was", "gateway\u2019s"}:
            return ""
        if word.startswith("--"):
            if not any(
                word.partition("=")[0] in {*one.opts, *one.secondary_opts} for one in options(command)
            ):
                return word
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z]+(\|[a-z]+)*", word):
            found = command.get_command(context, word.partition("|")[0])
            if found is None:
                return word
            command = found
    return ""


def options(command: click.Command) -> Iterator[click.Parameter]:
    yield from cli.params
    yield from command.params
    yield click.Option(["--help", "-h"])
    if isinstance(command, Group) and command.default:
        below = command.get_command(click.Context(command), command.default)
        yield from below.params if below is not None else ()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_option_that_a_page_names_is_there(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        assert not unknown(words), f"{page.name}: airlock {shlex.join(words)}"


def test_what_the_program_does_not_have_is_found() -> None:
    assert unknown(["aprove", "K7QF2M"]) == "aprove"
    assert unknown(["policy", "explan"]) == "explan"
    assert unknown(["approve", "K7QF2M", "--fro", "10m"]) == "--fro"
    assert unknown(["approve", "K7QF2M", "--for", "10m"]) == ""


TEST = re.compile(r"`(?:([\w/]+\.py)::)?(test_\w+)`")


@pytest.fixture(scope="module")
def defined() -> dict[str, set[str]]:
    """The tests there are, and the files that have them."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(file.relative_to(ROOT / "tests").as_posix())
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_test_that_a_page_names_is_there(page: Path, defined: dict[str, set[str]]) -> None:
    for file, name in TEST.findall(page.read_text(encoding="utf-8")):
        assert name in defined, f"{page.name} names {name}"
        found = any(f"/{one}".endswith(f"/{file}") for one in defined[name])
        assert not file or found, f"{page.name} names {file}::{name}"


def test_every_invariant_names_its_test() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## Invariants")[2]
    rows = [row for row in text.splitlines() if re.match(r"\| \d+ \|", row)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 17))
    assert all(TEST.search(row) for row in rows)
