"""The whole model.onnx runs in stock onnxruntime, through its bodies, as the reference runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.tiny_checkpoint import Checkpoint

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport_ref.evaluator import load

TOKENS = np.array([1, 3, 5, 7, 9, 11, 20, 40, 60, 80])
# One code that rounds the other way moves a logit by about 1 / 127 of the largest; see `near`.
ONE_CODE = 1e-2


def logits_of(
    session: onnxruntime.InferenceSession, chunks: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Feed tokens in chunks, every call with the states that the one before returned."""
    dtypes = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    states: dict[str, Any] = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), dtypes[value.type])
        for value in session.get_inputs()
        if value.name != "input_ids"
    }
    rows = []
    for chunk in chunks:
        logits, *presents = session.run(None, {"input_ids": chunk[None], **states})
        states = dict(zip(states, presents, strict=True))
        rows.append(logits[0])
    return np.concatenate(rows)


@pytest.mark.parametrize(
    "options",
    [Options(), Options(embedding="f32", cache="f32"), Options(embedding="q8")],
    ids=["bf16", "f32", "q8"],
)
def test_stock_onnxruntime_chooses_the_reference_s_tokens(
    each: Checkpoint, options: Options, tmp_path: Path,
    stock: Callable[[Path], onnxruntime.InferenceSession],
) -> None:  # fmt: skip
    bundle = build_bundle(
        each.path, find_target("arm64"), options, tmp_path / "bundle", Wanted(compile_library=False)
    )
    expected = load(bundle.graph).session().run(TOKENS.astype(np.int32)).logits
    session = stock(bundle.graph)
    for chunks in ([TOKENS], [TOKENS[:4], TOKENS[4:5], TOKENS[5:]]):
        found = logits_of(session, chunks)
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
        largest = np.abs(expected).max(axis=1, keepdims=True)
        assert np.all(np.abs(found - expected) <= ONE_CODE * largest)
