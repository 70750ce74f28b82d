"""Runs one op, or a whole graph, in stock onnxruntime: no kernel of ours takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bitexport.ops import DOMAIN, DOMAIN_VERSION, IR_VERSION, ONNX_OPSET, forms, function_of

Array = NDArray[Any]

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint16": TensorProto.BFLOAT16,  # NumPy has no bfloat16: the bits stand for it
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


def stock_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """Open a graph with every optimisation off: what runs is what the bodies say."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_body(
    op_type: str, inputs: Mapping[str, Array], outputs: tuple[type[np.generic], ...],
    **attributes: Any,
) -> list[Array]:  # fmt: skip
    """Run one op of ours through its body; bfloat16 inputs travel inside the graph."""
    _, form = forms()[DOMAIN, op_type]
    assert tuple(inputs) == tuple(form.inputs)
    node = helper.make_node(
        op_type, list(form.inputs), list(form.outputs), domain=DOMAIN, **attributes
    )
    stored = [
        TensorProto(name=n, data_type=TYPES["uint16"], dims=a.shape, raw_data=a.tobytes())
        for n, a in inputs.items()
        if a.dtype == np.uint16
    ]
    given = {name: array for name, array in inputs.items() if array.dtype != np.uint16}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], op_type,
        [value(name, TYPES[array.dtype.name], array.shape) for name, array in given.items()],
        [value(name, TYPES[np.dtype(kind).name], None)
         for name, kind in zip(form.outputs, outputs, strict=True)],
        stored,
    )  # fmt: skip
    imports = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=IR_VERSION, functions=[function_of(op_type)]
    )
    made: list[Array] = stock_session(model.SerializeToString()).run(None, dict(given))
    return made


@pytest.fixture(scope="session")
def body() -> Callable[..., list[Array]]:
    """Return `run_body`."""
    return run_body


@pytest.fixture(scope="session")
def stock() -> Callable[[Path | bytes], onnxruntime.InferenceSession]:
    """Return `stock_session`."""
    return stock_session


@pytest.fixture(scope="session")
def near() -> Callable[[Array, Array], None]:
    """Return a check for floats that onnxruntime adds up in another order than NUMERICS.md.

    Near, not equal: a stock runtime is free to sum in any order and to take its own exp, so two
    of its versions differ as well.  2e-6 of the row's largest magnitude is 16 roundings.
    """

    def check(found: Array, expected: Array) -> None:
        assert found.dtype == expected.dtype == np.float32
        assert found.shape == expected.shape
        largest = np.abs(expected).max(axis=-1, keepdims=True)
        assert np.all(np.abs(found - expected) <= 2e-6 * largest)

    return check
