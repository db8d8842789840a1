"""What the tests with real programs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.coding_agents import Bench, bench
from support.model_stand_in import Model, Turn, playing


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Bench]]:
    """Makes a place with the given Airlock config; without one, with none."""
    with ExitStack() as stack:

        def make(config: str = "") -> Bench:
            made = stack.enter_context(bench(tmp_path, config))
            monkeypatch.setenv("AIRLOCK_STATE_DIR", made.env["AIRLOCK_STATE_DIR"])
            return made

        yield make


@pytest.fixture
def play() -> Iterator[Callable[..., Model]]:
    """Starts a stand-in for the model that plays these turns."""
    with ExitStack() as stack:

        def begin(*turns: Turn) -> Model:
            return stack.enter_context(playing(*turns))

        yield begin
