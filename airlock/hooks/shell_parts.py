"""Simple commands become parts: names, doubts, directories. What `shell_tree` finds ends up here."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from airlock.hooks import shell_hatches as hatches
from airlock.hooks import shell_names as names
from airlock.hooks.shell_plan import Words
from airlock.hooks.shell_words import Word, WordKind
from airlock.hooks.shell_wrappers import assignment_doubt, has_rules, plan
from airlock.model import Part

Cwds: TypeAlias = tuple[str, ...]
"""The directories in which a command may run; more than one after a `cd` that may have failed."""

Flow: TypeAlias = tuple[Cwds, Cwds]
"""Where the shell may be after a command: when it succeeded, and when it failed."""

MAX_PARTS = 200
MAX_DEPTH = 12
MAX_CWDS = 4

COMPLEX = "bash/_complex"
EMPTY = "bash/_empty"


def union(*several: Cwds) -> Cwds:
    """All directories, in order, each once."""
    return tuple(dict.fromkeys(one for cwds in several for one in cwds))


def absolute(path: str, cwd: str) -> str:
    """The lexical absolute path; relative stays relative where no directory is known."""
    joined = posixpath.join(cwd, path) if cwd else path
    normal = posixpath.normpath(joined)
    return "/" + normal.lstrip("/") if normal.startswith("//") else normal


_UP = re.compile(r"(?:\./+)*\.\.(?:/|$)")
_INNER_UP = re.compile(r"(?:^|/)(?!\.\.?(?:/|$))[^/]+/+(?:\./+)*\.\.(?:/|$)")


class Parts:
    """Collects the parts of one line and the reasons why it is not understood."""

    def __init__(self, home: str, start: str) -> None:
        self.home = home
        self.start = start
        self.found: dict[str, Part] = {}
        self.reasons: dict[str, None] = {}
        self.inner: Callable[[str, Cwds, int], None] = lambda _text, _cwds, _depth: None

    def doubt(self, reason: str) -> None:
        """Note why the line is `bash/_complex`."""
        self.reasons[reason] = None

    def add(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """One more part, unless the same is there."""
        if len(self.found) >= MAX_PARTS:
            self.doubt(f"more than {MAX_PARTS} parts")
            return
        self.found.setdefault(f"{tool}\0{arguments!r}", Part(tool=tool, arguments=arguments))

    def file(self, mode: str, word: Word, text: str, cwds: Cwds) -> None:
        """A file that the shell itself opens: `mode` is read or write."""
        if word.literal and word.text in names.NOT_FILES:
            return
        if not word.literal:
            self.doubt("a redirection to a file that is known only when it runs")
            self.add(f"file/{mode}", {"path": word.raw, "command": text})
            return
        if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
            self.doubt("a redirection to the network")
        self._path_doubts(word.text, cwds)
        if _UP.match(word.text) and cwds != (self.start,):
            self.doubt("`..` after a directory change: a link there leads elsewhere")
        for cwd in cwds:
            self.add(f"file/{mode}", {"path": absolute(word.text, cwd), "command": text})

    def _path_doubts(self, path: str, cwds: Cwds) -> None:
        if _INNER_UP.search(path):
            self.doubt("`..` behind a directory name in a path: a link there leads elsewhere")
        if not path.startswith("/") and not all(cwds):
            self.doubt("a relative path, and the directory is not known")

    def run(self, words: Words, text: str, cwds: Cwds, depth: int = 0) -> Flow:
        """One simple command, wrappers taken apart."""
        name = self._name(words, text, cwds) if words else ""
        if not name or depth > MAX_DEPTH:
            if depth > MAX_DEPTH:
                self.doubt("commands nested too deep")
            return cwds, cwds
        whole = plan(name, words)
        for reason in whole.doubts:
            self.doubt(reason)
        inside = self._moved(whole.chdir, cwds) if whole.chdir else cwds
        if whole.own:
            self._leaf(name, whole.own, text, inside)
        for mode, several in (("write", whole.writes), ("read", whole.reads)):
            for word in several:
                self.file(mode, word, text, inside)
        flow = (cwds, cwds)
        home, self.home = self.home, "" if name in names.OTHER_HOMES else self.home
        for each in whole.inside:
            flow = self.run(each, text, inside, depth + 1)
        for line in whole.lines:
            self.inner(line, inside, depth + 1)
        self.home = home
        if name in {"cd", "pushd"}:
            return self._moved(self._target(words), cwds), cwds
        return flow if name in {"command", "builtin", "time"} else (cwds, cwds)

    def _name(self, words: Words, text: str, cwds: Cwds) -> str:
        """The bare name of the program; "" when the command was dealt with here."""
        first = words[0]
        directory, slash, base = first.text.rpartition("/")
        if not first.literal:
            self.doubt("a command whose name is known only when it runs")
        elif first.raw in names.RESERVED or first.text == "":
            self.doubt(f"`{first.raw[:40]}` where a command's name was expected")
        elif slash and directory not in names.SYSTEM_DIRS:
            self._path_part(words, text, cwds)
        elif base in {"[", "[["}:
            self.doubt("a test in a form that is not understood")
            return "test"
        elif base in {":", "."}:
            return "true" if base == ":" else "source"
        elif names.EXE.fullmatch(base):
            return base
        else:
            self.doubt(f"`{base[:40]}` is no plain name of a program")
        return ""

    def _path_part(self, words: Words, text: str, cwds: Cwds) -> None:
        self._word_doubts("", words)
        for cwd in cwds:
            path = absolute(words[0].text, cwd)
            self.add("bash/_path", {**self._arguments(words, text, cwd), "path": path})

    def _leaf(self, name: str, words: Words, text: str, cwds: Cwds) -> None:
        self._word_doubts(name, words)
        self._builtin_doubts(name, words)
        for cwd in cwds:
            arguments = self._arguments(words, text, cwd)
            self.add(f"bash/{name}", arguments)
            if name != name.lower():  # on a file system that ignores case `GIT` runs git
                self.add(f"bash/{name.lower()}", arguments)
                if has_rules(name.lower()) or hatches.doubt(name.lower(), words[1:]):
                    self.doubt(f"`{name}` may be `{name.lower()}`, which can run another command")

    def _arguments(self, words: Words, text: str, cwd: str) -> dict[str, Any]:
        arguments: dict[str, Any] = {"argv": [word.text for word in words], "command": text, "cwd": cwd}
        expands = [place for place, word in enumerate(words) if not word.literal]
        if expands:
            arguments["expands"] = expands
        return arguments

    def _word_doubts(self, name: str, words: Words) -> None:
        for place, word in enumerate(words[1:], start=1):
            if word.kind is WordKind.OPAQUE and not _said(name, place, word):
                self.doubt("an argument that is known only when it runs")
            elif word.kind is WordKind.GLOB and not _tame_glob(name, words[1].text, word):
                self.doubt("a pattern that may become any argument")

    def _builtin_doubts(self, name: str, words: Words) -> None:
        texts = [word.text for word in words[1:]]
        if name in names.BUILTINS_IN_DOUBT:
            self.doubt(f"`{name}` changes what later words mean, or runs text")
        elif (name in names.LAUNCHERS and texts) or names.CONTAINERS.get(name, frozenset()) & set(texts):
            self.doubt(f"`{name}` runs another command")
        else:
            check = _CHECKS.get(name)
            reason = hatches.doubt(name, words[1:]) or (check(texts) if check else "")
            if reason:
                self.doubt(reason)

    def _target(self, words: Words) -> Word | None:
        """Where `cd` or `pushd` goes; None when only the shell knows."""
        operands = [word for word in words[1:] if word.text not in {"-P", "-L", "--"}]
        if not operands and words[0].text.endswith("cd") and self.home:
            return Word(raw="~", text=self.home)
        if len(operands) != 1 or not operands[0].literal or operands[0].text.startswith(("-", "+")):
            return None
        return operands[0]

    def _moved(self, target: Word | None, cwds: Cwds) -> Cwds:
        if target is None or not target.literal:
            self.doubt("a directory change that is known only when it runs")
            return cwds
        self._path_doubts(target.text, cwds)
        moved = union(tuple(absolute(target.text, cwd) for cwd in cwds))
        if len(moved) > MAX_CWDS:
            self.doubt("too many directory changes")
            return moved[:MAX_CWDS]
        return moved

    def declare(self, words: Words, text: str, cwds: Cwds) -> None:
        """`export` of variables that were judged one by one."""
        for cwd in cwds:
            self.add(f"bash/{words[0].text}", self._arguments(words, text, cwd))

    def test(self, text: str, words: Words, cwds: Cwds) -> None:
        """A test: `[`, `[[` and `test` have one name."""
        for cwd in cwds:
            self.add("bash/test", self._arguments(words, text, cwd))

    def assign(self, word: Word) -> None:
        """`NAME=VALUE` before a command or by itself."""
        reason = assignment_doubt(word)
        if reason:
            self.doubt(reason)


def _said(name: str, place: int, word: Word) -> bool:
    """True when this argument is only printed, whatever it becomes."""
    if name not in names.SAYERS or not word.plain:
        return False
    return name != "printf" or (place > 1 and word.quoted)


_EXTENSION = re.compile(r"[*?\]][^*?\[\]/]*\.[A-Za-z0-9]+")


def _tame_glob(name: str, first: str, word: Word) -> bool:
    """True when what the glob becomes cannot be an option or a subcommand, or would not matter."""
    prefix = re.split(r"[*?\[]", word.raw, maxsplit=1)[0]
    if prefix.startswith("-"):
        return False
    if "/" in prefix or (prefix and _EXTENSION.search(word.raw)):
        return True
    # `*.py` may become `--exec=x.py`, where a file has that name.
    harmless = name in names.OPTIONS_RUN_NOTHING or (name == "git" and first in names.GIT_RUNS_NOTHING)
    return name in names.READERS or (harmless and bool(_EXTENSION.search(word.raw)))


def _set_doubt(texts: list[str]) -> str:
    known = {"pipefail", "errexit", "nounset"}
    fine = bool(texts) and all(re.fullmatch(r"[-+][eux]+o?|[-+]o", text) or text in known for text in texts)
    return "" if fine else "`set` changes the shell's options or arguments"


def _read_doubt(texts: list[str]) -> str:
    fine = all(text == "-r" or text in names.LOOP_VARIABLES for text in texts)
    return "" if fine and texts else "`read` sets variables"


def _flag_doubt(flag: str, reason: str) -> Callable[[list[str]], str]:
    return lambda texts: reason if any(text.startswith(flag) for text in texts) else ""


_CHECKS: dict[str, Callable[[list[str]], str]] = {
    "set": _set_doubt,
    "read": _read_doubt,
    "printf": lambda texts: "`printf -v` sets a variable" if texts and texts[0].startswith("-v") else "",
    "jobs": lambda texts: (
        "`jobs -x` runs a command" if any(re.match(r"-[a-z]*x", text) for text in texts) else ""
    ),
    "wait": _flag_doubt("-", "`wait` with options sets variables"),
    "test": lambda texts: "`test -v` evaluates its operand" if {"-v", "-R"} & set(texts) else "",
}
