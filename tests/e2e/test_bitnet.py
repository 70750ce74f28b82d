"""bitnet: a tiny seeded checkpoint, built, emulated: every op output equal, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.tiny_checkpoint import PROMPT, RAGGED, WIDE, Shape, write_checkpoint

from bitexport.cli import main
from bitexport.targets import find_target

RUNS = [
    ("host", "native", Shape(), []),
    ("host", "native", RAGGED, ["--embedding", "q8", "--kv-cache", "f32"]),
    ("host", "native", Shape(), ["--embedding", "f32", "--context", "30"]),
    ("host", "native", RAGGED, ["--kv-cache", "int8"]),
    ("arm64", "cortex-a76", RAGGED, []),
    ("cortex-m4", "mps2-an386", RAGGED, ["--embedding", "q8", "--kv-cache", "int8"]),
    ("host", "native", Shape(), ["--layout", "t5x3"]),
    ("arm64", "cortex-a53", RAGGED, ["--layout", "t5x3"]),
    ("arm64", "cortex-a76", RAGGED, ["--layout", "t5x3", "--kv-cache", "int8"]),
    ("armv7", "cortex-a7", RAGGED, ["--layout", "t5x3", "--kv-cache", "int8"]),
    ("cortex-m55", "mps3-an547", RAGGED, ["--layout", "t5x3", "--kv-cache", "int8"]),
    ("arm64-v8.0", "cortex-a53", WIDE, []),
    ("cortex-m4", "mps2-an386", WIDE, ["--layout", "p16"]),
]


def said(*words: object) -> Result:
    """Return what `bitexport` answers to these words, which it understands."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("name", "core", "shape", "options"), RUNS,
    ids=[f"{name}-{'-'.join(options) or 'plain'}" for name, _, _, options in RUNS],
)  # fmt: skip
def test_every_op_output_is_equal_and_the_text_is_the_same_everywhere(
    name: str, core: str, shape: Shape, options: list[str], tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "tiny", shape)
    bundle = tmp_path / "bundle"
    said("build", checkpoint.path, "--target", name, "-o", bundle, *options)
    verified = said("verify", bundle, "--core", core, "--prompt", PROMPT, "-n", 6, "--json")
    report = json.loads(verified.stdout)
    assert report["positions"] == 9 + 6 - 1
    assert [found["core"] for found in report["cores"]] == [core]
    assert report["cores"][0]["passed"]
    assert tuple(report["cores"][0]["seen"]) == find_target(name).cores[core]
    here = said("run", bundle, PROMPT, "-n", 6).stdout
    there = said("run", bundle, PROMPT, "-n", 6, "--core", core).stdout
    assert here == there
    assert here.startswith(PROMPT)
