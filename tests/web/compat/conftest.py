"""What the tests of the faces share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airlock.web.compat.firewall.rego import engine


@pytest.fixture(scope="session", autouse=True)
def an_engine_with_time() -> Iterator[None]:
    """A machine that stops the Rego engine for a moment makes no other judgement of a policy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.Engine.__init__.__kwdefaults__, "seconds", 30.0)
        patch.setattr(engine, "TURN_S", 60.0)
        yield
