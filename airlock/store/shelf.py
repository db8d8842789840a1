"""What each part of the SQLite store stands on: one look in place, one read, one transaction."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Shelf(ABC):
    """A part of the store's face that has a file of its own."""

    @abstractmethod
    def _glance(self, work: Callable[[sqlite3.Connection], T]) -> T: ...

    @abstractmethod
    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T: ...

    @abstractmethod
    async def _write(self, work: Callable[[sqlite3.Cursor], T], *, full: bool) -> T: ...
