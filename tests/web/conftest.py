"""What several tests of the gateway start with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import BOUND, Process


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    started = Process(tmp_path)
    try:
        yield started
    finally:
        if started.running.poll() is None:
            started.running.kill()
        started.running.communicate(timeout=BOUND)
