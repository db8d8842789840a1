"""Run by a test: opens a database that may only be read, and one in a folder where nothing may be made."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 -- while it can still be read
import os
import pwd
import sys
from pathlib import Path

from airlock.errors import StoreError
from airlock.store.sqlite import SQLiteStore


async def make(path: Path) -> None:
    await (await SQLiteStore.open(path)).close()


def main(folder: Path) -> None:
    asyncio.run(make(folder / "airlock.db"))
    (folder / "airlock.db").chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:  # root may write anywhere, so somebody else tries
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    for name in ("airlock.db", "new.db"):
        try:
            asyncio.run(make(folder / name))
        except StoreError as error:
            print(error)


main(Path(sys.argv[1]))
