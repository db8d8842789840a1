"""`airlock db`: care for the database."""

from __future__ import annotations

import os
from pathlib import Path

import click

from airlock.cli.frame import Frame, Group, here, wait_for
from airlock.cli.places import one_config
from airlock.cli.render import put, put_json
from airlock.errors import UsageError
from airlock.runtime import open_store


@click.group(cls=Group, example="airlock db backup /backup/airlock.db")
def db() -> None:
    """Care for the database."""


@db.command(example="airlock db backup /backup/airlock.db")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Write a consistent copy while everything goes on; the file must not exist yet."""
    wait_for(_backup(here(), file))


async def _backup(frame: Frame, file: Path) -> None:
    if os.path.lexists(file):
        raise UsageError(f"`{file}` exists already: name a new file")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write `{file}`: its folder is not there, or not yours to write in")
    config = one_config(frame)
    source = config.database
    store = await open_store(config)
    try:
        await store.backup(file)
    finally:
        await store.close()
    if frame.json:
        put_json({"ok": True, "database": source, "file": str(file), "bytes": file.stat().st_size})
    else:
        shown = source.removeprefix("sqlite:///")
        put(f"{shown} is copied to {file} ({file.stat().st_size:,} bytes)")
