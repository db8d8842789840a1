"""The files of a database: modes, places, locks, and what a person is told when they cannot be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airlock.errors import NewerSchema, StoreBusy, StoreError
from airlock.keys import key_path, load_key
from airlock.store.files import NETWORK, file_system, linux_mounts, mac_mounts, refuse_network
from airlock.store.lock import FileLock, lock_path
from airlock.store.log import take_in
from airlock.store.schema import SCHEMA
from airlock.store.sqlite import SQLiteStore
from store.values import draft, opening, question

pytestmark = pytest.mark.anyio


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "airlock.db"


async def test_what_we_make_is_closed_to_everyone_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "airlock.db"
    old = os.umask(0)
    try:
        store = await SQLiteStore.open(path)
    finally:
        os.umask(old)
    await store.record([draft()])
    await store.sign()
    modes = {found.name: mode(found) for found in path.parent.iterdir()}
    names = [f"airlock.db{suffix}" for suffix in ("", "-shm", "-wal", ".lock", ".key", ".head")]
    assert modes == dict.fromkeys(names, 0o600)
    assert mode(path.parent) == 0o700
    await store.close()
    assert not path.with_name("airlock.db-wal").exists()


async def test_a_database_that_others_could_read_is_closed_to_them(path: Path) -> None:
    await (await SQLiteStore.open(path)).close()
    path.chmod(0o644)
    await (await SQLiteStore.open(path)).close()
    assert mode(path) == 0o600


async def test_a_folder_that_was_there_keeps_its_mode(path: Path) -> None:
    path.parent.chmod(0o755)
    await (await SQLiteStore.open(path)).close()
    assert mode(path.parent) == 0o755


async def test_a_database_behind_a_symbolic_link_is_refused(tmp_path: Path, path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(StoreError, match="symbolic link"):
        await SQLiteStore.open(tmp_path / "link.db")
    assert not path.exists()


async def test_a_path_with_odd_characters_is_that_path(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=memory&c#d%20ü'.db"
    store = await SQLiteStore.open(path)
    await store.record([draft()])
    await store.close()
    assert path.stat().st_size > 0


# Places and programs that are not ours.


async def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.write_bytes(b"a letter to my aunt\n" * 100)
    with pytest.raises(StoreError, match=r"airlock\.db` is not a database: move it away"):
        await SQLiteStore.open(path)
    assert path.read_bytes().startswith(b"a letter")


async def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mails (text)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another program"):
        await SQLiteStore.open(path)
    assert path.read_bytes()[100:] == before[100:]


async def test_a_folder_in_the_databases_place_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="is not a file"):
        await SQLiteStore.open(path)


async def test_a_damaged_database_is_refused_with_the_cure(path: Path) -> None:
    store = await SQLiteStore.open(path)
    await store.record([draft() for _ in range(200)])
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises(StoreError, match=r"damaged.*airlock db backup"):
        await verify(path)


async def verify(path: Path) -> None:
    store = await SQLiteStore.open(path)
    try:
        await store.verify()
    finally:
        await store.close()


async def test_a_newer_schema_is_refused_at_opening(path: Path) -> None:
    await (await SQLiteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(NewerSchema, match="airlock was upgraded: restart your client"):
        await SQLiteStore.open(path)


async def test_a_process_that_meets_a_newer_schema_writes_nothing_more(path: Path) -> None:
    store = await SQLiteStore.open(path)
    assert store.record_now(draft(), 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as later:
        later.execute(f"UPDATE state SET schema = {SCHEMA + 1}")
    with pytest.raises(NewerSchema, match="restart your client"):
        store.record_now(draft(), 0)
    with pytest.raises(NewerSchema):
        await store.record([draft()])
    with pytest.raises(NewerSchema):
        await store.commit(opening(question()))
    assert len(await store.events()) == 1
    await store.close()


def test_network_file_systems_are_known_by_their_names() -> None:
    linux = linux_mounts(
        "/dev/sda1 / ext4 rw 0 0\n"
        "srv:/home /home nfs4 rw,vers=4.2 0 0\n"
        "host /mnt/my\\040share cifs rw 0 0\n"
        "C:\\134 /mnt/c 9p rw,aname=drvfs;path=C:\\;uid=1000 0 0\n"
        "none /work 9p rw,trans=virtio 0 0\n"
        "sftp /home/me/far fuse.sshfs rw 0 0\n"
    )
    kinds = dict(linux)
    assert kinds["/mnt/my share"] in NETWORK
    assert kinds["/mnt/c"] in NETWORK
    assert kinds["/work"] not in NETWORK
    assert {kinds["/home"], kinds["/home/me/far"]} <= NETWORK
    mac = mac_mounts(
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only)\n"
        "//me@nas/share on /Volumes/my share (smbfs, nodev, nosuid)\n"
        "map auto_home on /System/Volumes/Data/home (autofs, automounted)\n"
    )
    assert mac == [("/", "apfs"), ("/Volumes/my share", "smbfs"), ("/System/Volumes/Data/home", "autofs")]


def test_the_deepest_mount_decides_and_this_folder_is_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_network(tmp_path)
    mounts = f"/dev/sda1 / ext4 rw 0 0\nsrv:/x {tmp_path} nfs rw 0 0\n/dev/b {tmp_path}/local ext4 rw 0 0\n"
    monkeypatch.setattr("airlock.store.files._mounts", lambda: linux_mounts(mounts))
    assert file_system(tmp_path / "local" / "deeper") == "ext4"
    assert file_system(tmp_path.parent) == "ext4"
    with pytest.raises(StoreError, match=r"network file system \(nfs\).*set `database:` to a local disk"):
        refuse_network(tmp_path / "other")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-W", "error", here / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )


def test_a_read_only_folder_or_file_is_told_with_the_cure(open_folder: Path) -> None:
    result = run("read_only.py", open_folder)
    open_folder.chmod(0o755)
    lines = result.stdout.splitlines()
    assert len(lines) == 2, result.stderr
    assert all(str(open_folder) in line for line in lines)
    assert "read-only" in lines[0] or "cannot write" in lines[0]
    assert "make its folder writable" in lines[1]


# Locks.


async def test_a_locked_database_is_told_and_usable_again_once_it_is_free(path: Path) -> None:
    store = await SQLiteStore.open(path, busy_seconds=0.05)
    holder = FileLock(lock_path(path))
    assert holder.try_acquire()
    assert store.record_now(draft(), 0) is False
    for attempt in (store.record([draft()]), store.commit(opening(question())), store.beat()):
        with pytest.raises(StoreBusy, match="locked: another process"):
            await attempt
    with pytest.raises(StoreBusy):
        await SQLiteStore.open(path, busy_seconds=0.01)
    assert await store.events() == []
    holder.close()
    await store.record([draft()])
    assert store.record_now(draft(), 0)
    assert [event.seq for event in await store.events()] == [1, 2]
    await store.close()


async def test_checkpoints_and_heads_wait_for_the_lock_and_a_close_for_a_while(path: Path) -> None:
    store = await SQLiteStore.open(path, busy_seconds=0.05)
    for _ in range(20):
        assert store.record_now(draft(), 0)
    before = path.stat().st_size
    holder = FileLock(lock_path(path))
    assert holder.try_acquire()
    with pytest.raises(StoreBusy):
        await store._writer.run(lambda one: take_in(store._writing, one))
    with pytest.raises(StoreBusy):
        await store.sign()
    assert path.stat().st_size == before
    await store.close()
    holder.close()
    again = await SQLiteStore.open(path)
    assert (await again.verify()).events == 20
    await again.close()


async def test_a_program_that_locks_the_database_itself_is_told_too(path: Path) -> None:
    store = await SQLiteStore.open(path, busy_seconds=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.record_now(draft(), 0) is False
        with pytest.raises(StoreBusy, match="locked by another program"):
            await store.record([draft()])
        other.execute("ROLLBACK")
    assert store.record_now(draft(), 0)
    await store.close()


async def test_a_lock_file_that_somebody_removed_is_made_anew_and_shared_again(path: Path) -> None:
    one = await SQLiteStore.open(path)
    lock_path(path).unlink()
    two = await SQLiteStore.open(path)
    await one.record([draft()])
    await two.record([draft()])
    holder = FileLock(lock_path(path))
    assert holder.try_acquire()
    assert [store.record_now(draft(), 0) for store in (one, two, one)] == [False] * 3
    holder.close()
    assert [store.record_now(draft(), 0) for store in (one, two, one)] == [True] * 3
    assert (await one.verify()).events == 5
    await one.close()
    await two.close()


def test_a_lock_is_held_by_one_descriptor_even_within_one_process(path: Path) -> None:
    one, two = FileLock(path), FileLock(path)
    with one.held(1):
        assert not two.try_acquire()
        with pytest.raises(StoreBusy, match=r"0\.01 s"):
            two.acquire(0.01)
    assert two.try_acquire()
    two.close()
    two.close()
    one.acquire(1)
    one.close()


# No room.


async def test_a_full_database_refuses_whole_writes_and_takes_them_again_when_there_is_room(
    path: Path,
) -> None:
    store = await SQLiteStore.open(path)
    await store.record([draft()])
    for connection in (store._opened.writer, store._opened.place):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    large = draft(body={"args": {"text": "x" * 50_000}})
    with pytest.raises(StoreError, match="no room: free disk space"):
        store.record_now(large, 0)
    results = await asyncio.gather(store.record([large]), store.record([draft()]), return_exceptions=True)
    assert all(isinstance(result, StoreError) for result in results)
    with pytest.raises(StoreError, match="no room"):
        await store.commit(opening(question(arguments="x" * 50_000)))
    assert len(await store.events()) == 1
    for connection in (store._opened.writer, store._opened.place):
        connection.execute("PRAGMA max_page_count = 1000000")
    assert store.record_now(large, 0)
    await store.commit(opening(question(arguments="x" * 50_000)))
    assert (await store.verify()).events == 3
    await store.close()


def test_a_disk_that_takes_no_more_refuses_loses_nothing_and_recovers(path: Path) -> None:
    """RLIMIT_FSIZE makes the system itself refuse to write on; its soft limit can be lifted again."""
    result = run("full_disk.py", path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "nothing lost"


# The key.


async def test_the_key_is_made_once_and_stays(path: Path) -> None:
    key = load_key(key_path(path))
    assert len(key) == 32
    assert load_key(key_path(path)) == key
    assert mode(key_path(path)) == 0o600


def test_processes_that_start_at_once_get_the_same_key(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from airlock.keys import load_key\n"
        "print(load_key(Path(sys.argv[1])).hex())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, key_path(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert keys == {load_key(key_path(path)).hex() + "\n"}


async def test_a_key_that_others_could_read_or_that_is_damaged_is_refused(path: Path) -> None:
    load_key(key_path(path))
    key_path(path).chmod(0o640)
    with pytest.raises(StoreError, match="open to other users"):
        load_key(key_path(path))
    with pytest.raises(StoreError, match="open to other users"):
        await SQLiteStore.open(path)
    key_path(path).chmod(0o600)
    key_path(path).write_bytes(b"short")
    with pytest.raises(StoreError, match="damaged"):
        load_key(key_path(path))
    key_path(path).unlink()
    key_path(path).symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="cannot open the key file"):
        load_key(key_path(path))
