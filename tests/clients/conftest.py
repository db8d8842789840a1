"""What the tests with real programs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.coding_agents import Bench, bench
from support.model_stand_in import Model, Turn, playing


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """Makes a place with the given Airlock config."""
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(bench(tmp_path, config))


@pytest.fixture
def play() -> Iterator[Callable[..., Model]]:
    """Starts a stand-in for the model that plays these turns."""
    with ExitStack() as stack:

        def begin(*turns: Turn) -> Model:
            return stack.enter_context(playing(*turns))

        yield begin
