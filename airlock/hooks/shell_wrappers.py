"""Commands that run other commands: what a simple command comes to when it is taken apart.

Programs that add no power of their own (`env`, `nice`, `timeout`, `sh -c`, `command` …) disappear and
only what they run is judged. Programs that do add some (`sudo` another identity, `xargs` arguments
nobody has seen, `find` its own reach) are judged as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from airlock.hooks import shell_names as names
from airlock.hooks.shell_git import git
from airlock.hooks.shell_plan import Plan, Words
from airlock.hooks.shell_words import Word, literal
from airlock.values import dataclass

ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to step over the options of a wrapper: letters and long names, without and with a value."""

    flags: str = ""
    takes: str = ""
    long_flags: frozenset[str] = frozenset()
    long_takes: frozenset[str] = frozenset()
    operands: int = 0
    assigns: bool = False
    keeps: bool = False
    doubt: str = ""


def _long(*words: str) -> frozenset[str]:
    return frozenset(words)


WRAPPERS = {
    "nohup": Options(),
    "builtin": Options(),
    "command": Options(flags="p"),
    "exec": Options(flags="cl", takes="a"),
    "time": Options(flags="pv", long_flags=_long("--portability", "--verbose"), assigns=True),
    "nice": Options(flags="0123456789", takes="n", long_takes=_long("--adjustment")),
    "ionice": Options(flags="t", takes="cn", long_takes=_long("--class", "--classdata")),
    "timeout": Options(
        flags="v",
        takes="ks",
        long_flags=_long("--foreground", "--preserve-status", "--verbose"),
        long_takes=_long("--signal", "--kill-after"),
        operands=1,
    ),
    "stdbuf": Options(takes="ioe", long_takes=_long("--input", "--output", "--error")),
    "setsid": Options(flags="cfw", long_flags=_long("--ctty", "--fork", "--wait")),
    "sudo": Options(
        flags="AbBEHknNPS",
        takes="ugpCrtTU",
        long_flags=_long("--preserve-env", "--non-interactive", "--stdin", "--set-home", "--background"),
        long_takes=_long("--user", "--group", "--prompt"),
        assigns=True,
        keeps=True,
    ),
    "doas": Options(flags="nL", takes="uC", keeps=True),
    "xargs": Options(
        flags="0rtpxo",
        takes="nPLsIdEa",
        long_flags=_long("--null", "--no-run-if-empty", "--verbose", "--interactive", "--exit", "--open-tty"),
        long_takes=_long("--max-args", "--max-procs", "--delimiter", "--arg-file"),
        keeps=True,
        doubt="`xargs` adds arguments that only its input knows",
    ),
    "env": Options(
        flags="i0v",
        takes="uC",
        long_flags=_long("--ignore-environment", "--null", "--debug"),
        long_takes=_long("--unset", "--chdir"),
        assigns=True,
    ),
}


def after_options(words: Words, options: Options) -> int | None:
    """The place of the first word that is no option; None when an option is unknown or lacks its value."""
    place = 1
    while place < len(words) and words[place].literal:
        text = words[place].text
        if text == "--":
            return place + 1
        if len(text) < 2 or text[0] != "-":
            return place
        step = _long_step(text, options) if text.startswith("--") else _short_step(text, options)
        if step is None:
            return None
        place += step
    return place if place <= len(words) else None


def _long_step(text: str, options: Options) -> int | None:
    name, equals, _ = text.partition("=")
    if name in options.long_flags:
        return 1
    if name in options.long_takes:
        return 1 if equals else 2
    return None


def _short_step(text: str, options: Options) -> int | None:
    for place, letter in enumerate(text[1:], start=1):
        if letter in options.takes:
            return 1 if place + 1 < len(text) else 2
        if letter not in options.flags:
            return None
    return 1


def _chdir(words: Words, end: int) -> Word | None:
    """The directory that `env -C DIR` names, among the options before `end`."""
    for place in range(1, end):
        text = words[place].text
        if text in {"-C", "--chdir"} and place + 1 < end:
            return words[place + 1]
        if text.startswith("--chdir="):
            return literal(text.removeprefix("--chdir="))
        if re.match(r"-[i0v]*C.", text):
            return literal(text.split("C", 1)[1])
    return None


def assignment_doubt(word: Word) -> str | None:
    """Why this `NAME=VALUE` word is not harmless; None when it is."""
    found = ASSIGNMENT.match(word.text)
    name = found[1] if found else word.raw.partition("=")[0]
    if found and names.is_harmless(name, found[2] if word.literal else None):
        return None
    return f"sets the variable `{name[:40]}`"


def wrapper(name: str, words: Words) -> Plan:
    """A wrapper from the table: step over its options, operands and assignments."""
    options = WRAPPERS[name]
    place = after_options(words, options)
    if place is None or any(not word.literal for word in words[1:place]):
        return Plan(own=words, doubts=(f"options of `{name}` that are not understood",))
    chdir = _chdir(words, place) if name == "env" else None
    doubts: list[str] = []
    if not all(word.literal for word in words[place : place + options.operands]):
        doubts.append(f"an operand of `{name}` is known only when it runs")
    place += options.operands
    while options.assigns and place < len(words) and ASSIGNMENT.match(words[place].raw):
        doubt = assignment_doubt(words[place])
        if doubt:
            doubts.append(doubt)
        place += 1
    inside = words[place:]
    if not inside:
        return Plan(own=words, doubts=tuple(doubts))
    if options.doubt:
        doubts.append(options.doubt)
    own = words if options.keeps else ()
    return Plan(own=own, inside=(inside,), chdir=chdir, doubts=tuple(doubts))


def command(words: Words) -> Plan:
    """`command -v NAME` only asks; `command NAME` runs it."""
    if len(words) > 1 and re.fullmatch(r"-p?[vV]+", words[1].text):
        return Plan(own=words)
    return wrapper("command", words)


def env(words: Words) -> Plan:
    """`env -S TEXT` splits by rules of its own."""
    if any(re.match(r"-[a-zA-Z0]*S|--split", word.text) for word in words[1:]):
        return Plan(own=words, doubts=("`env -S` splits its text by rules of its own",))
    return wrapper("env", words)


_SHELL_LONG = frozenset({"--login", "--norc", "--noprofile", "--posix", "--no-rcs"})
_BASHISM = re.compile(r"""\$['"\[]|&>|<<<|\[\[|\|&|[<>]\(|\(\(|>&[^0-9-]|\btime\b""")
_SHELL_OPTIONS = frozenset({"pipefail", "errexit", "nounset"})


def shell(words: Words) -> Plan:
    """`sh -c TEXT` is its text; `sh FILE` is a program like any other; `sh` alone runs its input."""
    in_doubt = Plan(own=words, doubts=(f"`{words[0].text}` in a form that is not understood",))
    place, text_follows = 1, False
    while place < len(words):
        word = words[place]
        if not word.literal:
            return in_doubt
        if word.text == "--":
            place += 1
            break
        if len(word.text) < 2 or word.text[0] not in "-+":
            break
        if word.text.startswith("--"):
            if word.text not in _SHELL_LONG:
                return in_doubt
        elif not re.fullmatch(r"[-+][ceuxlvpf]*o?", word.text):
            return in_doubt
        elif word.text.endswith("o"):
            place += 1
            if place >= len(words) or words[place].text not in _SHELL_OPTIONS:
                return in_doubt
        text_follows = text_follows or (word.text[0] == "-" and "c" in word.text and word.text[1] != "-")
        place += 1
    return _shell_operand(words, place, text_follows=text_follows) or in_doubt


def _shell_operand(words: Words, place: int, *, text_follows: bool) -> Plan | None:
    if place >= len(words):
        return Plan(own=words, doubts=(f"`{words[0].text}` runs what it reads",))
    word = words[place]
    if not word.literal:
        return None
    if text_follows:
        bash = words[0].text.rpartition("/")[2] in {"bash", "rbash", "zsh"}
        doubts = () if bash or not _BASHISM.search(word.text) else ("syntax of bash for a plain `sh`",)
        return Plan(lines=(word.text,), doubts=doubts)
    if word.text == "-" or word.text.startswith(("/dev/", "/proc/")):
        return Plan(own=words, doubts=(f"`{words[0].text}` runs what it reads",))
    return Plan(own=words)


def multi_call(words: Words) -> Plan:
    """`busybox APPLET …` is the applet."""
    if len(words) > 1 and not words[1].text.startswith("-"):
        return Plan(inside=(words[1:],))
    return Plan(own=words)


_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_FIND_WRITES = frozenset({"-fprint", "-fprint0", "-fprintf", "-fls"})


def find(words: Words) -> Plan:
    """`find` itself, and what its actions run, delete and write."""
    inside: list[Words] = []
    writes: list[Word] = []
    reads: list[Word] = []
    doubts: list[str] = []
    place = 1
    while place < len(words):
        text = words[place].text
        if text in _FIND_RUNS:
            end = _find_end(words, place + 1)
            if end is None:
                doubts.append(f"`find {text}` without an end")
                break
            inside.append(
                tuple(word.opaque() if "{}" in word.text else word for word in words[place + 1 : end])
            )
            place = end
        elif text == "-delete":
            inside.append((literal("rm"), literal("{}")))
        elif text in _FIND_WRITES:
            writes += words[place + 1 : place + 2]
        elif text == "-files0-from":
            reads += words[place + 1 : place + 2]
        place += 1
    return Plan(
        own=words, inside=tuple(inside), writes=tuple(writes), reads=tuple(reads), doubts=tuple(doubts)
    )


def _find_end(words: Words, start: int) -> int | None:
    for place in range(start, len(words)):
        text = words[place].text
        if text == ";" or (text == "+" and place > start and words[place - 1].text == "{}"):
            return place
    return None


SPECIAL: dict[str, Callable[[Words], Plan]] = {
    "command": command,
    "env": env,
    "find": find,
    "git": git,
    "busybox": multi_call,
    "toybox": multi_call,
    **dict.fromkeys(names.SHELLS, shell),
}


def has_rules(name: str) -> bool:
    """True for a program that is more than its arguments: it runs others, or changes the shell."""
    tables = (SPECIAL, WRAPPERS, names.LAUNCHERS, names.BUILTINS_IN_DOUBT, names.CONTAINERS)
    return any(name in table for table in tables)


def plan(name: str, words: Words) -> Plan:
    """What the command `words`, whose program is `name`, comes to."""
    if name in SPECIAL:
        return SPECIAL[name](words)
    if name in WRAPPERS:
        return wrapper(name, words)
    return Plan(own=words)
