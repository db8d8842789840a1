"""What every test shares."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Airlock runs on asyncio only: aiosqlite and its pipes do."""
    return "asyncio"
