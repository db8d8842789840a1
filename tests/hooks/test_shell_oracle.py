"""The splitter against the real bash: what bash runs and writes must be what was foretold.

Lines run in an empty folder with a PATH of recording stubs. Where a line is not `bash/_complex`, every
program that ran must be among its parts with exactly that argv and folder, and every file that appeared
among its `file/write` parts.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airlock.hooks.shell import split
from airlock.model import Part

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")

STUBS = ("git", "ls", "rm", "curl", "a", "b", "x", "tee", "grep")
REAL = ("cat", "env", "nice", "find", "timeout", "nohup", "stdbuf", "setsid", "sh", "bash")
STUB = """#!/bin/sh
printf '%s\\0' "$(($# + 1))" "$PWD" "${0##*/}" "$@" >> "$STUB_LOG"
"""


@dataclass(kw_only=True)
class Ran:
    programs: list[list[str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


@dataclass(kw_only=True)
class Bash:
    """The real shell in a folder of its own; each line gets a fresh one."""

    root: Path
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def folder(self) -> Path:
        folder = self.root / f"w{next(self.numbers)}"
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "x.py").touch()
        (folder / "push").touch()
        return folder

    def run(self, line: str, folder: Path) -> Ran:
        log = folder.with_suffix(".log")
        log.touch()
        environment = {
            "PATH": str(self.root / "bin"),
            "HOME": "/home/me",
            "STUB_LOG": str(log),
            "LC_ALL": "C.UTF-8",
        }
        before = everything(folder)
        subprocess.run(
            [str(BASH), "--norc", "--noprofile", "-c", line],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        found = records(log.read_bytes())
        ran = Ran(
            programs=[words for _, *words in found],
            folders=[where for where, *_ in found],
            files=everything(folder) - before,
        )
        shutil.rmtree(folder)
        return ran


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def records(data: bytes) -> list[list[str]]:
    fields = [piece.decode(errors="replace") for piece in data.split(b"\0")[:-1]]
    found = []
    while fields:
        length = int(fields[0]) + 2
        found.append(fields[1:length])
        fields = fields[length:]
    return found


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Bash:
    root = tmp_path_factory.mktemp("oracle")
    stubs = root / "bin"
    stubs.mkdir()
    for name in STUBS:
        (stubs / name).write_text(STUB)
        (stubs / name).chmod(0o755)
    for name in REAL:
        where = shutil.which(name)
        if where:
            (stubs / name).symlink_to(where)
    return Bash(root=root)


def foretold(program: list[str], folder: str, parts: tuple[Part, ...]) -> bool:
    """True when a part in this folder has this argv, up to its first word that the shell expands."""
    for part in parts:
        if part.arguments.get("cwd") != folder:
            continue
        argv = part.arguments.get("argv", [])
        expands = part.arguments.get("expands", [])
        end = expands[0] if expands else None
        if argv[:end] == program[:end] and (end is not None or len(argv) == len(program)):
            return True
    return False


def understood(parts: tuple[Part, ...]) -> bool:
    return all(part.tool != "bash/_complex" for part in parts)


def check(bash: Bash, line: str) -> Ran | None:
    """Run a line that is understood, and hold what happens against what was foretold."""
    folder = bash.folder()
    parts = split(line, str(folder), home="/home/me")
    if not understood(parts):
        shutil.rmtree(folder)
        return None
    ran = bash.run(line, folder)
    writes = {part.arguments["path"] for part in parts if part.tool == "file/write"}
    told = [(part.tool, part.arguments) for part in parts]
    places = zip(ran.programs, ran.folders, strict=True)
    assert [one for one in places if not foretold(*one, parts)] == [], (line, told)
    assert ran.files <= writes, (line, told)
    return ran


EXACT = [
    "git status",
    "g\"i\"t 'pu'sh \"a b\" c\\ d $'e\\tf\\x41\\101' ''",
    'git commit -m "it\'s \\"quoted\\" \\$HOME \\`x\\` \\\\ \\n"',
    "git 'a\nb' \"c\nd\" $'e\\nf'",
    "git a#b '#c' d# # comment",
    "git HEAD~1 HEAD^ HEAD@{1} x=y -p{ {} {a} a,b",
    'git "$HOME/x" ~/y $HOME ~',
    "git a \\\n  b",
    "git 2 > f 3",
    "git >f a b",
    "git a>f",
    "ls && git a; rm b & curl c | tee d",
    "(git a); { rm b; }; ! ls c",
    "if ls; then git a; fi; for i in 1 2; do rm b; done",
    "case z in a) rm x;; *) git y;; esac",
    "env git a; nice -n 3 git b; timeout 5 git c; command git d; exec git e",
    "sh -c 'git \"a b\"'",
    'bash -c "git \'c d\'; rm \\"e f\\""',
    "find . -maxdepth 0 -exec git a \\;",
    "cd a && git x > f",
    "git \"$(cat <<'EOF'\nfix: `a` $b\n\"c\" 'd'\nEOF\n)\"",
    "cat <<EOF | git\n$(ls)\nEOF\nrm a",
    "cat <<-'EOF'\n\t$(ls)\n\tEOF\nrm a",
    "curl - <<'EOF'\nEOF",
    "git \"a\"'b'c\\d$'e'",
    "git é 日本 '😀'",
    "git ! a",
    "git [ if then do {",
    "curl ''\\0 \"a\"\\b$'c'",
]


@pytest.mark.parametrize("line", EXACT)
def test_bash_runs_exactly_what_was_foretold(bash: Bash, line: str) -> None:
    ran = check(bash, line)
    assert ran is not None, f"{line!r} counts as not understood"
    assert ran.programs, f"{line!r} ran nothing: the stubs are not found"


EVASIONS = [
    "git${IFS}push",
    "a=git;$a push",
    "git p{us,}h",
    "git pus*",
    "git pu\\\nsh",
    "git\\\n push",
    "git -f2>&1",
    "git -f<<EOF\nEOF",
    "git -f<<<x",
    "git 0>f",
    "git >&1\\$x",
    "cd a && find . >| f",
    "[>| ]]",
    "[ a && rm ]",
    "sh -c \"git $'x'\"",
    "sh -c \"git $'\\x41'\"",
    "sh -c 'ls &> f'",
    "cat <<E\\OF\n$(rm x)\nEOF",
    "cat <<EOF\nEOF x\nEOF\nrm y",
    "git $\\\n(ls)",
    'echo "$\\\n(ls)"',
    "git \\\n2>&1",
    "git $((1)) x",
    "f() { git a; }; f",
    "eval git a",
    "alias x=git; x a",
    "trap 'git a' EXIT",
    "x=$(git a); $x",
    "git a & wait; git b",
    "git `ls`",
    'git "$(ls)" x',
    "test -v 'a[$(git a)]'",
    "[[ 'a[$(git a)]' -eq 0 ]]",
    "printf -v 'a[$(git a)]' x",
    "echo ${x:=$(git a)}",
    "for PATH in /nowhere; do git a; done",
    "git a |& tee b",
    "echo a | { read x; git $x; }",
    "git <(ls)",
    "find . -maxdepth 0 -exec git {} \\;",
    "git ~root ~+",
    "cd a <<E && git x > f\nE\n",
    "cd a > /dev/null <<-E | git x > f\nE\n",
    "git y <<E && cd a\nE\ngit x > f",
    "{ cd a; } <<E || ls\nE\ngit x > f",
]


@pytest.mark.parametrize("line", EVASIONS)
def test_a_trick_is_either_not_understood_or_foretold(bash: Bash, line: str) -> None:
    check(bash, line)


def quoted(text: str, style: int) -> str:
    """The text in one of the shell's ways to quote."""
    if style == 0:
        return "'" + text.replace("'", "'\\''") + "'"
    if style == 1:
        return '"' + "".join("\\" + sign if sign in '$`"\\' else sign for sign in text) + '"'
    if style == 2:
        return "".join("'\n'" if sign == "\n" else "\\" + sign for sign in text) or "''"
    escapes = {"\n": "\\n", "'": "\\'", "\\": "\\\\", "\t": "\\t"}
    return "$'" + "".join(escapes.get(sign, sign) for sign in text) + "'"


SIGNS = st.sampled_from("ab -$\"'\\*{},;&|<>()~#=!é\n\t`[]?^%@:./0")
PIECES = st.tuples(st.text(SIGNS, max_size=4), st.integers(0, 3))


@given(words=st.lists(st.lists(PIECES, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_quoting_comes_back_as_the_words_that_bash_passes(
    bash: Bash, words: list[list[tuple[str, int]]]
) -> None:
    texts = ["".join(text for text, _ in word) for word in words]
    line = "curl " + " ".join("".join(quoted(*piece) for piece in word) for word in words)
    parts = split(line, "/w")
    assert parts[0].tool == "bash/curl"
    if understood(parts):  # the parser errs on some stacked quotes, and its errors are doubts
        assert [part.arguments["argv"] for part in parts] == [["curl", *texts]]
    ran = bash.run(line, bash.folder())
    assert ran.programs == [["curl", *texts]]


TOKENS = st.sampled_from(
    ["git", "ls", "rm", "a", "b", "push", "-f", " ", " ", " ", '"', "'", "\\", "$", "(", ")", "{", "}", ",",
     ";", "&", "|", "\n", "<", ">", "#", "=", "~", "*", "?", "[", "]", "!", "`", "EOF", "<<EOF\n", "\nEOF\n",
     "$(", "${", "&&", "||", "2>&1", " > a1", "..", "$HOME", "$x", '"$x"', "time ", "env ", "sh -c ", "if ",
     "then ", " fi", "for i in ", " do ", " done", "case ", " in ", " esac", "exec ", "command ", "cd a && ",
     "LANG=C ", "$'", "x41", "\t", "é", "[[ ", " ]]", "((", "<<<", "&>", ">|", "find . -exec ", "|&", "a()",
     "\\\n", "2", "0"]
)  # fmt: skip


@given(tokens=st.lists(TOKENS, min_size=2, max_size=12))
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_bash_runs_nothing_that_was_not_foretold(bash: Bash, tokens: list[str]) -> None:
    check(bash, "git " + "".join(tokens))


def test_the_stubs_are_found_and_record(bash: Bash) -> None:
    probe: Callable[[str], Ran] = lambda line: bash.run(line, bash.folder())  # noqa: E731
    assert probe("git 'a b' > out").programs == [["git", "a b"]]
    assert {os.path.basename(path) for path in probe("git > out").files} == {"out"}  # noqa: PTH119
