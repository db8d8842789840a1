"""The program's edge. `stdio` and `hook` are served before the command line library is imported:
clients start them for every session and every tool call, so what they import is what people wait for.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    command, rest = split_command(words)
    try:
        return _run(command, rest, words)
    except KeyboardInterrupt:
        # While still importing. A hook that ends in any other way lets the tool run.
        return 2 if command == "hook" else 130
    except ModuleNotFoundError as error:
        # An upgrade that was pulled and not installed.
        sys.stderr.write(f"airlock: the library `{error.name}` is missing: install Airlock again\n")
        return 2 if command == "hook" else 1


def _run(command: str, rest: list[str], words: list[str]) -> int:
    helping = bool({"-h", "--help"} & set(rest))
    if command == "hook" and not helping:
        from airlock.hookcli import main as hook

        return end(hook(rest))
    if command == "stdio" and not helping:
        from airlock.stdiocli import main as stdio

        return stdio(rest)
    from airlock.cli.main import run

    return run(words)


def end(code: int) -> int:
    """End here and now: the answer is written, and to take the interpreter down costs as much as a hook."""
    try:  # noqa: SIM105 - contextlib costs more than the rest of this
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed, or never there
        pass
    os._exit(code)


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """The command, and all other words: `--config FILE` may stand before the command or after it."""
    before: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        if not word.startswith("-"):
            return word, before + words[index + 1 :]
        takes_value = word in {"--config", "-c", "--log-level", "--log-file"} and index + 1 < len(words)
        before += words[index : index + 1 + takes_value]
        index += 1 + takes_value
    return "", before


if __name__ == "__main__":
    sys.exit(main())
