"""What every test shares."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the suite in the background leaves Ctrl-C ignored, and our children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says something of the machine, and nothing of what is promised.
settings.register_profile("airlock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("airlock")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """What `airlock stdio` and `airlock gateway` run on: aiosqlite and pipes know no other backend."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees, or leaves anything in, the state directory of the person who runs it."""
    path = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("AIRLOCK_STATE_DIR", str(path))
    return path


def pytest_sessionstart(session: pytest.Session) -> None:
    """Nothing leads around the PIN of an account, so with one set no test could decide anything."""
    from airlock.cli import pins

    if pins.is_set():
        pytest.exit(f"a PIN is set in `{pins.place()}`: `airlock pin clear` before the tests", returncode=4)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything can be installed, a skipped test is a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("AIRLOCK_NO_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
