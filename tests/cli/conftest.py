"""A folder with a config, and a terminal in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal import POLICY, Terminal


@pytest.fixture
def terminal(tmp_path: Path, state_of_its_own: Path) -> Terminal:
    """A terminal in a folder with a config that was trusted."""
    from airlock.home import state

    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    config = folder / "airlock.yaml"
    config.write_text(POLICY)
    state.trust(config)
    return Terminal(folder=folder, state=state_of_its_own, home=home)
