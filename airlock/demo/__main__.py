"""`python -m airlock.demo`: the demo server on stdin and stdout."""

from __future__ import annotations

import sys

from airlock.canonical import encode, parse
from airlock.demo.server import DemoServer
from airlock.errors import WireError


def main() -> None:
    """Serve until stdin ends; lines that are no messages are passed over."""
    server = DemoServer()
    for line in sys.stdin.buffer:
        try:
            frame = parse(line)
        except WireError as error:
            print(f"airlock-demo: {error}", file=sys.stderr)  # noqa: T201 - stderr is the log
            continue
        for answer in server.handle(frame) if isinstance(frame, dict) else []:
            sys.stdout.buffer.write(encode(answer) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
