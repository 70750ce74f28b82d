"""Products of the portable graph on an x86 with AVX2 and no VNNI, where sums of pairs are cut off.

QEMU is that processor.  A product of uint8 by int8 weights goes wrong there, as the first test
shows; trits are too small for that, and int8 matrices lie in the portable graph as uint8.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.runtimes.places import HERE, HINT, NEW_PYTHON, QUIET

from bitexport.ops import DOMAIN, IR_VERSION, ONNX_OPSET, forms, parse_body

CORE = "Haswell-noTSX"
K, N = 512, 64

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="optional: an x86 runs this Python's own onnxruntime"
)


def product(
    body: str, q: NDArray[np.int8], weight: NDArray[Any], folder: Path
) -> NDArray[np.int32]:
    """Return what a body gives of codes raised by 128 and a weight [k, n], on the older core."""
    nodes = parse_body("Product", ["q", "weight"], ["y"], body, []).node
    graph = onnx.helper.make_graph(
        list(nodes), "product",
        [onnx.helper.make_tensor_value_info("q", onnx.TensorProto.UINT8, ["rows", K])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["rows", N])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )  # fmt: skip
    imports = [onnx.helper.make_opsetid("", ONNX_OPSET)]
    model = onnx.helper.make_model(graph, ir_version=IR_VERSION, opset_imports=imports)
    onnx.save(model, folder / "product.onnx")
    np.save(folder / "given.npy", (q.astype(np.int16) + 128).astype(np.uint8))
    emulator = shutil.which("qemu-x86_64")
    assert emulator, f"no qemu-x86_64: {HINT}"
    words = [HERE / "run_product.py", folder / "product.onnx", folder / "given.npy"]
    subprocess.run(
        [emulator, "-cpu", CORE, NEW_PYTHON, *words, folder / "made.npy"], check=True,
        capture_output=True, timeout=200, env={**os.environ, **QUIET},
    )  # fmt: skip
    made: NDArray[np.int32] = np.load(folder / "made.npy")
    return made


def codes() -> NDArray[np.int8]:
    """Return rows of the largest and the smallest codes, and of any."""
    rows = np.random.default_rng(3).integers(-128, 128, (4, K)).astype(np.int8)
    rows[0], rows[1] = 127, -128
    return rows


def numbers(least: int, most: int) -> NDArray[np.int8]:
    """Return weights [k, n], whole columns of the largest and the smallest among them."""
    made = np.random.default_rng(4).integers(least, most + 1, (K, N)).astype(np.int8)
    made[:, 0], made[:, 1] = most, least
    return made


def exact(q: NDArray[np.int8], weight: NDArray[np.int8]) -> NDArray[np.int32]:
    return q.astype(np.int32) @ weight.astype(np.int32)


def test_the_older_core_cuts_sums_of_int8_weights_off(tmp_path: Path) -> None:
    q, weight = codes(), numbers(-128, 127)
    found = product(forms()[DOMAIN, "TernaryMatMul"][1].portable, q, weight, tmp_path)
    assert not np.array_equal(found, exact(q, weight))


def test_trits_are_multiplied_exactly_there(tmp_path: Path) -> None:
    q, weight = codes(), numbers(-1, 1)
    found = product(forms()[DOMAIN, "TernaryMatMul"][1].portable, q, weight, tmp_path)
    np.testing.assert_array_equal(found, exact(q, weight))


def test_int4_is_multiplied_exactly_there(tmp_path: Path) -> None:
    q, weight = codes(), numbers(-8, 7)
    found = product(forms()[DOMAIN, "TernaryMatMul"][1].portable, q, weight, tmp_path)
    np.testing.assert_array_equal(found, exact(q, weight))


def test_int8_is_multiplied_exactly_there_as_it_lies_in_the_portable_graph(tmp_path: Path) -> None:
    q, weight = codes(), numbers(-128, 127)
    raised = (weight.astype(np.int16) + 128).astype(np.uint8)
    found = product(forms()[DOMAIN, "DenseMatMulQ8"][1].portable, q, raised, tmp_path)
    np.testing.assert_array_equal(found, exact(q, weight))
