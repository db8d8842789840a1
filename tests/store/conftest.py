"""What the tests of the store share."""

from __future__ import annotations

import pytest

from airlock.store import caretaker


@pytest.fixture(autouse=True)
def signs_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing takes the lock: by itself, in a test that goes slowly, it would do so in the middle."""
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 1_000)
