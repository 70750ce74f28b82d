"""Our plugin of pytest, for the pytest that a test starts."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

PLUGIN = "bitexport.testing.pytest_plugin"


def plugin_words() -> list[str]:
    """Return the words that load it; where bitexport is installed, pytest does so by itself."""
    installed = importlib.metadata.entry_points(group="pytest11", name="bitexport")
    return [] if installed else ["-p", PLUGIN]


def run_on(device: str, bundle: Path, core: str, tests: str, folder: Path, repository: Path) -> str:
    """Run the text of a user's tests on a device; return what pytest printed."""
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    words = [f"--bitexport={bundle}", f"--bitexport-core={core}", f"--bitexport-on={device}"]
    paths = f"{repository / 'exporter'}:{repository / 'runtime_ref'}"
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin_words(), *words,
            "test_it.py",
        ],
        cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
