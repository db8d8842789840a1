"""The database URL of a config, made absolute."""

from __future__ import annotations

from typing import Final

from airlock.home.private import state_path
from airlock.loader.fields import Section
from airlock.loader.reading import Found

SQLITE: Final = "sqlite:///"


def database(top: Section, audit: Section) -> str:
    """`sqlite:///` followed by an absolute path."""
    found, older = top.found("database"), audit.found("db_path")
    if found is not None and older is not None:
        audit.error("db_path", "says the same as `database`", "keep one of them")
    if found is not None:
        return _url(top, found)
    if older is not None:
        path = audit.scalar(older.node, older.path)
        return f"{SQLITE}{top.reading.resolved(path)}" if path else ""
    return f"{SQLITE}{state_path(top.reading.env) / 'airlock.db'}"


def _url(top: Section, found: Found) -> str:
    text = top.text("database")
    path = text.removeprefix(SQLITE)
    if (
        text.startswith(SQLITE)
        and path
        and not path.startswith(":")
        and "?" not in path
        and "\x00" not in path
    ):
        return f"{SQLITE}{top.reading.resolved(path)}"
    if text or found.node.raw == "":
        hint = "like `sqlite:///airlock.db` (beside this file), `sqlite:////var/lib/airlock.db`"
        top.error("database", "must be a file that stays: `sqlite:///PATH`", hint)
    return ""
