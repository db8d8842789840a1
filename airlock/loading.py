"""Loading modules in threads, one thread at a time.

Two threads that load packages whose modules import each other in a circle fail with a deadlock error.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable

_one = threading.Lock()


def load(names: Iterable[str]) -> None:
    """Import these modules; waits while another thread does the same."""
    with _one:
        for name in names:
            importlib.import_module(name)
