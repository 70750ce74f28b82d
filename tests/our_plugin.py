"""Our plugin of pytest, for the pytest that a test starts."""

from __future__ import annotations

import importlib.metadata

PLUGIN = "bitexport.testing.pytest_plugin"


def plugin_words() -> list[str]:
    """Return the words that load it; where bitexport is installed, pytest does so by itself."""
    installed = importlib.metadata.entry_points(group="pytest11", name="bitexport")
    return [] if installed else ["-p", PLUGIN]
