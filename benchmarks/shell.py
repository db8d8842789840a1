"""What splitting a shell line costs, beside `shlex.split` of the same line in the same run.

    python -m benchmarks.shell

`shlex.split` only finds words; the splitter finds every command, its arguments and its files. The ratio is
what to compare between runs: a busy machine slows both.
"""

from __future__ import annotations

import shlex
import timeit
from collections.abc import Callable

from airlock.hooks.shell import split

LINES = {
    "one command": "git status --short",
    "quoted words": 'git commit -m \'fix: a parser that reads "quotes"\' --author="Eve <eve@example.com>"',
    "a pipeline": "grep -rn 'def main' src/ --include='*.py' 2>/dev/null | sort | head -20 > out.txt",
    "a list with cd": "cd build && cmake .. -DCMAKE_BUILD_TYPE=Release && make -j4 2>&1 | tail -50",
    "wrappers": "sudo -u deploy timeout 30 bash -lc 'git -C /srv/app pull && systemctl restart app'",
    "not understood": 'for d in */; do (cd "$d" && git pull $REMOTE "$(git branch --show-current)"); done',
}


def microseconds(run: Callable[[], object]) -> float:
    """The best of seven rounds."""
    return min(timeit.repeat(run, number=300, repeat=7)) / 300 * 1e6


def main() -> None:
    """Print one row a line."""
    print(f"{'':<16} {'split µs':>9} {'shlex µs':>9} {'ratio':>6}")
    for name, line in LINES.items():
        ours = microseconds(lambda line=line: split(line, "/srv/app", home="/home/me"))  # type: ignore[misc]
        theirs = microseconds(lambda line=line: shlex.split(line))  # type: ignore[misc]
        print(f"{name:<16} {ours:9.0f} {theirs:9.0f} {ours / theirs:6.1f}")


if __name__ == "__main__":
    main()
