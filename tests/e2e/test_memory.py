"""The memory that the manifest promises is the memory that a session asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitexport.emit.manifest import open_bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.targets import find_target
from bitexport.verify.cores import machine

SAMPLE = Path(__file__).parents[2] / "samples" / "stories" / "model"
SLACK = 256  # the session's own record: its size is the compiler's affair


@pytest.mark.parametrize(
    ("name", "core"),
    [("host", "native"), ("cortex-m4", "mps2-an386"), ("arm64-v8.0", "cortex-a53")],
)
def test_a_session_takes_what_the_manifest_says(name: str, core: str, tmp_path: Path) -> None:
    target = find_target(name)
    build_bundle(SAMPLE, target, Options(context=128), tmp_path / "out")
    bundle = open_bundle(tmp_path / "out", check_files=True)
    with machine(bundle, target) as device:
        for rows in (1, 16):
            words = ["--prompt", "1,2", "--generate", "1", "--chunk", str(rows)]
            asked = device.start(core, words).arena_bytes
            promised = bundle.manifest["memory"][f"arena_bytes_{rows}_rows"]
            assert promised - SLACK < asked <= promised
