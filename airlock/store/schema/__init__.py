"""The numbered migrations, and which of them this Airlock knows."""

from __future__ import annotations

from pathlib import Path

SCHEMA = 2
"""The newest migration here; the database says in `user_version` which it has."""

APPLICATION_ID = 0x41524C4B
"""Marks a SQLite file as Airlock's."""

NEWER = "airlock was upgraded: restart your client"


def migration(number: int) -> str:
    """The SQL that makes schema `number` out of the one before."""
    (path,) = Path(__file__).parent.glob(f"{number:04}_*.sql")
    return path.read_text(encoding="utf-8")
