"""`airlock version`: which Airlock, which Python, which SQLite."""

from __future__ import annotations

import platform
import sqlite3

import click

from airlock import __version__
from airlock.cli.frame import Command, here
from airlock.cli.render import put, put_json


@click.command(cls=Command, example="airlock version --json")
def version() -> None:
    """Say which versions are at work."""
    parts = {"airlock": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    if here().json:
        put_json(parts)
    else:
        put(f"airlock {__version__} (Python {parts['python']}, SQLite {parts['sqlite']})")
