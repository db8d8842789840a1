"""`git`: what its options before the subcommand mean, and which of its subcommands run or write something."""

from __future__ import annotations

from airlock.hooks import shell_names as names
from airlock.hooks.shell_hatches import Hatch, shortened
from airlock.hooks.shell_plan import Plan, Words
from airlock.hooks.shell_words import Word, literal

_GIT_SILENT = names.words(
    """
    --no-pager -P --no-optional-locks --literal-pathspecs --glob-pathspecs --icase-pathspecs
    --noglob-pathspecs --no-replace-objects --no-lazy-fetch --no-advice
    """
)


def git(words: Words) -> Plan:
    """`git` with its options before the subcommand taken out, so that `argv[1]` is the subcommand.

    `-C DIR` counts as `cd DIR`; options that can make git run something are doubts.
    """
    place, chdir, doubts = 1, None, []
    while place < len(words) and words[place].text.startswith("-") and words[place].literal:
        text = words[place].text
        if text == "-C" and place + 1 < len(words):
            if chdir is not None:
                doubts.append("`git -C` twice")
            chdir = words[place + 1]
            place += 2
        elif text in _GIT_SILENT:
            place += 1
        elif text in {"--version", "--help", "-v", "-h", "--html-path", "--man-path", "--info-path"}:
            break
        else:
            doubts.append(f"`git {text[:40]}` before the subcommand")
            place += 2 if text in {"-c", "--git-dir", "--work-tree", "--namespace", "--config-env"} else 1
    rest = words[place:]
    doubts += _git_doubts([word.text for word in rest])
    return Plan(own=(words[0], *rest), chdir=chdir, writes=_git_writes(rest), doubts=tuple(doubts))


def _git_doubts(rest: list[str]) -> list[str]:
    found = [
        text for text in rest[1:] if text.startswith(("ext::", "fd::")) or shortened(text, names.GIT_HATCHES)
    ]
    subcommand = rest[0].lower() if rest else ""  # `git Submodule` where the file system ignores case
    if subcommand in names.GIT_COMMANDS_IN_DOUBT:
        found.append(subcommand)
    if (subcommand == "bisect" and "run" in rest[1:]) or (subcommand == "submodule" and "foreach" in rest):
        found.append("a command behind it")
    if subcommand in _GIT_LETTERS and _GIT_LETTERS[subcommand].opens(rest[1:]):
        found.append("a command in its options")
    if subcommand == "config" and _git_settings(rest[1:]):
        found.append("settings")
    return [f"`git {subcommand}` with `{text[:40]}` can run a command" for text in found]


_GIT_LETTERS = {
    "rebase": Hatch(letters="x", takes="sXCS"),
    "grep": Hatch(letters="O", takes="ABCefm"),
    "clone": Hatch(letters="uc", takes="bojl", long=("--config", "--template")),
    "init": Hatch(long=("--template",)),
}
"""Short options of subcommands that name a command or a setting; they may stand in a bundle."""

_GIT_ASKS = names.words("--get --get-all --get-regexp --get-urlmatch --list -l --get-color --get-colorbool")


def _git_settings(rest: list[str]) -> bool:
    """True when `git config` does more than to read, or to set a plain one."""
    options = {text for text in rest if text.startswith("-")}
    plain = [text for text in rest if not text.startswith("-")]
    if options & _GIT_ASKS or plain[:1] in (["get"], ["list"]):
        return False
    scopes = {"--global", "--local", "--worktree"}
    if len(plain) == 2 and plain[0] in names.GIT_SETTINGS:
        return not options <= scopes
    return len(plain) != 1 or not options <= scopes


def _git_writes(rest: Words) -> Words:
    """The files that `--output` is written to: every subcommand that shows commits or changes knows it."""
    found: list[Word] = []
    for place, word in enumerate(rest):
        name, equals, value = word.text.partition("=")
        if len(name) > 5 and "--output".startswith(name):
            literal_value = literal(value) if word.literal else word
            found += [literal_value] if equals else rest[place + 1 : place + 2]
    return tuple(found)
