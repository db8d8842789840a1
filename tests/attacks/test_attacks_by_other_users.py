"""Another user of this machine, who can write where the database is to be (`/tmp`, a shared folder)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airlock.errors import StoreError
from airlock.store import files
from airlock.store.sqlite import SQLiteStore

pytestmark = pytest.mark.anyio
BESIDE = [suffix for suffix in files._BESIDE if suffix]


@pytest.mark.parametrize("suffix", BESIDE)
async def test_a_link_beside_the_database_is_refused_and_what_it_points_to_left_alone(
    tmp_path: Path, suffix: str
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("x")
    theirs.chmod(0o644)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"airlock.db{suffix}").symlink_to(theirs)
    with pytest.raises(StoreError):
        await SQLiteStore.open(tmp_path / "mine" / "airlock.db")
    assert (theirs.read_text(), theirs.stat().st_mode & 0o777) == ("x", 0o644)


@pytest.mark.parametrize("suffix", files._BESIDE)
async def test_a_file_that_another_user_put_in_a_databases_place_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `-wal` would be believed: approvals and keys of somebody else's making."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / f"airlock.db{suffix}").write_bytes(b"")
    (folder / f"airlock.db{suffix}").chmod(0o600)
    owner = os.geteuid()
    real = Path.lstat

    def lstat(self: Path) -> os.stat_result:
        found = real(self)
        if self.parent != folder:
            return found
        fields = list(found)
        fields[4] = owner + 1  # what only root could make it
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(StoreError, match="belongs to another user"):
        await SQLiteStore.open(folder / "airlock.db")
