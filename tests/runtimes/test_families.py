"""Every way in which weights and activations come: trained models, in standard ops and 2 bits.

The build itself runs each graph in onnxruntime over a sample, beside the reference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bitexport.emit.onnx_standard import Flavour
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target

FAMILIES = ("bonsai-binary", "bonsai-ternary", "falcon", "qwen", "trilm")
PORTABLE_KL, ORT2BIT_KL = 2e-6, 1e-3
"""Nats per token at most, on average; seen: 2e-7 and 1.5e-4."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_near_in_stock_onnxruntime(
    family: str, repository: Path, tmp_path: Path
) -> None:
    wanted = Wanted(compile_library=False, onnx=tuple(Flavour))
    checkpoint, options = repository / "samples/families" / family, Options()
    bundle = build_bundle(checkpoint, find_target("host"), options, tmp_path / "out", wanted)
    said = {name: each["deviation"] for name, each in bundle.manifest["onnx"].items()}
    assert said["portable"]["same_choice"] == said["portable"]["tokens"] == 64
    assert said["portable"]["mean_kl"] <= PORTABLE_KL
    assert said["ort2bit"]["mean_kl"] <= ORT2BIT_KL
    assert said["packed"] is None
