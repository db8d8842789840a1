"""The SQLite store keeps the contract."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from airlock.store.sqlite import SQLiteStore
from store.contract import QueueContract
from store.contract_history import HistoryContract
from store.values import Clock, OpenStore


class TestSQLiteStore(QueueContract, HistoryContract):
    """The whole contract, on a file."""

    @pytest.fixture
    def open_store(self, tmp_path: Path, clock: Clock) -> OpenStore:
        return partial(SQLiteStore.open, tmp_path / "airlock.db", clock=clock)
