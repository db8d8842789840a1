"""The files of a SQLite database: where they may lie, and who may read them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from airlock.errors import StoreError, why

_NETWORKS = """
nfs nfs4 cifs smb3 smbfs smb2 ncpfs afs afpfs webdav davfs ceph lustre gfs gfs2 ocfs2 glusterfs beegfs macfuse
osxfuse fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.rclone fuse.gcsfuse fuse.davfs2
"""
NETWORK = frozenset(_NETWORKS.split())
"""File systems on which SQLite's locks or its shared memory cannot be trusted."""


def prepare(database: Path) -> None:
    """Make the folder (0700) and the file (0600) where they are missing; StoreError where they cannot be."""
    if database.is_symlink():
        raise StoreError(f"the database `{database}` is a symbolic link: name the file that it points to")
    try:
        if not database.parent.is_dir():
            database.parent.mkdir(parents=True, mode=0o700)
        refuse_network(database.parent)
        refuse_strangers(database)
        _make_private(database)
    except OSError as error:
        raise StoreError(
            f"cannot write `{database}`: {why(error)}; make its folder writable or change `database:`"
        ) from error


_BESIDE = ("", "-wal", "-shm", ".lock", ".key", ".head")
"""The files of a database. SQLite believes a `-wal` that it finds, whoever put it there."""


def refuse_strangers(database: Path) -> None:
    """StoreError when one of the files is a link, or belongs to another user than us and the folder's."""
    owners = {os.geteuid(), database.parent.stat().st_uid}
    for suffix in _BESIDE:
        path = database.with_name(database.name + suffix)
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if suffix and not stat.S_ISREG(found.st_mode):
            raise StoreError(f"`{path}` is not a plain file: remove it, or set `database:` to another place")
        if found.st_uid not in owners:
            raise StoreError(
                f"`{path}` belongs to another user: remove it, or set `database:` to a folder of your own"
            )


def _make_private(database: Path) -> None:
    try:
        # Never open a database that exists: closing that descriptor would drop SQLite's own locks on it.
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        return
    except FileExistsError:
        pass
    found = database.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"the database `{database}` is not a file: set `database:` to a file")
    if found.st_mode & 0o077:
        _close_to_others(database)
    if not os.access(database, os.W_OK) or not os.access(database.parent, os.W_OK | os.X_OK):
        raise StoreError(f"the database `{database}` is read-only: make the file and its folder writable")


def _close_to_others(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path = database.with_name(database.name + suffix)
        if path.exists():
            path.chmod(0o600)


def refuse_network(folder: Path) -> None:
    """StoreError when this folder lies on a network file system."""
    kind = file_system(folder)
    if kind in NETWORK:
        raise StoreError(
            f"`{folder}` is on a network file system ({kind}), where SQLite can lose data: "
            "set `database:` to a local disk"
        )


def file_system(folder: Path) -> str:
    """The type of the file system that holds this folder; "" when the system does not say."""
    try:
        return _nearest(os.path.realpath(folder), _mounts())
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def _mounts() -> list[tuple[str, str]]:
    if sys.platform == "darwin":
        listed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=True)
        return mac_mounts(listed.stdout)
    return linux_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8"))


def linux_mounts(text: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line of /proc/mounts. 9p counts as a network only where it is one."""
    mounts = []
    for line in text.splitlines():
        _, point, kind, options, *_ = [*line.split(" "), "", "", ""]
        if kind == "9p" and re.search(r"aname=drvfs|trans=(tcp|fd)", options):
            kind = "cifs"
        mounts.append((re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point), kind))
    return mounts


def mac_mounts(text: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line of `mount` on macOS."""
    return re.findall(r"^.*? on (/.*) \(([\w.]+)[,)]", text, re.MULTILINE)


def _nearest(real: str, mounts: Iterable[tuple[str, str]]) -> str:
    best, kind = "", ""
    for point, one in mounts:
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, one
    return kind
