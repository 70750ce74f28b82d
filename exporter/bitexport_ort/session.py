"""A session of a packed graph that is as fast as it gets: ops fused, caches in place.

The file stays as it is: the graph is changed in memory when the session is opened.
"""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from packaging.version import Version

from bitexport.errors import BundleError
from bitexport.ops import DOMAIN, forms
from bitexport.passes.fuse_ops import FUSIONS, Fusion
from bitexport.passes.plan import APPENDS, ATTENDS
from bitexport.toolchain.onnxruntime import STANDARD_KERNELS

PAST_LENGTH = "past_length"
FOLDER = "session.model_external_initializers_file_folder_path"
READS_FOLDER = Version("1.22")
"""The first onnxruntime that opens a graph from memory whose weights lie in a folder."""
LOOKED_UP = ("P2B", "P16")
"""Layouts that the runtime does not fuse two products of."""


def session_of(graph: Path, options: Any, cache: int | None) -> Any:
    """Open a graph, its ops fused; with `cache`, caches are buffers of so many positions."""
    model = onnx.load(graph, load_external_data=False)
    fuse_nodes(model)
    if cache is not None:
        share_caches(model, cache)
    del model.functions[:]  # an op without kernel is an error
    folder = graph.resolve().parent
    providers = ["CPUExecutionProvider"]
    if Version(onnxruntime.__version__) >= READS_FOLDER:
        options.add_session_config_entry(FOLDER, str(folder))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        for location in {place.value for tensor in model.graph.initializer
                         for place in tensor.external_data if place.key == "location"}:  # fmt: skip
            (Path(scratch) / location).symlink_to(folder / location)
        path = Path(scratch) / graph.name
        path.write_bytes(model.SerializeToString())
        return onnxruntime.InferenceSession(str(path), options, providers)


def fuse_nodes(model: onnx.ModelProto) -> None:
    """Make one node of the runs of nodes that the runtime runs as one."""
    nodes = list(model.graph.node)
    readers: dict[str, set[tuple[int, int]]] = collections.defaultdict(set)
    for at, node in enumerate(nodes):
        for place, name in enumerate(node.input):
            readers[name].add((at, place))
    outputs = {value.name for value in model.graph.output}
    made: list[onnx.NodeProto] = []
    gone: set[str] = set()
    at = 0
    while at < len(nodes):
        found = next(
            (f for f in FUSIONS.values() if _matches(nodes, at, f, readers, outputs)), None
        )
        run = nodes[at : at + len(found.names)] if found else [nodes[at]]
        made.append(_fused(run) if found else run[0])
        if (made[-1].domain, made[-1].op_type) in STANDARD_KERNELS:
            made[-1].domain = DOMAIN
        gone |= {name for node in run[:-1] for name in node.output}
        at += len(run)
    del model.graph.node[:]
    model.graph.node.extend(made)
    kept = [value for value in model.graph.value_info if value.name not in gone]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)


def _matches(
    nodes: list[onnx.NodeProto], at: int, fusion: Fusion,
    readers: dict[str, set[tuple[int, int]]], outputs: set[str],
) -> bool:  # fmt: skip
    run = nodes[at : at + len(fusion.names)]
    if tuple(map(_op_name, run)) != fusion.names or len(run[-1].input) != fusion.inputs:
        return False
    if fusion.one_head and next(a.i for a in run[0].attribute if a.name == "heads") != 1:
        return False
    if fusion.one_weight and (
        run[0].input[1] != run[1].input[1] or run[0].op_type.endswith(LOOKED_UP)
    ):
        return False
    return all(
        len(node.output) == 1
        and node.output[0] not in outputs
        and readers[node.output[0]] == {(at + offset, place) for offset, place in handed}
        for node, handed in zip(run, fusion.reads, strict=False)
    )


def _op_name(node: onnx.NodeProto) -> str:
    """Return the op of the plan that a node is; matrices of floats are none that is fused."""
    known = forms().get((node.domain, node.op_type))
    if known is None or node.op_type in ("DenseMatMulF32", "DenseMatMulF16", "DenseMatMulBf16"):
        return ""
    return known[0].name


def _fused(run: list[onnx.NodeProto]) -> onnx.NodeProto:
    inner = {name for node in run[:-1] for name in node.output}
    inputs = dict.fromkeys(name for node in run for name in node.input if name not in inner)
    made = onnx.helper.make_node(
        "Fused" + "".join(node.op_type for node in run), list(inputs), list(run[-1].output),
        name=run[-1].name, domain=DOMAIN,
    )  # fmt: skip
    made.attribute.extend(run[0].attribute)
    return made


def share_caches(model: onnx.ModelProto, positions: int) -> None:
    """Give every cache room for so many positions, and the graph an input that says what is taken.

    `past_length` is int64 [1].  A cache's input and output may then be bound to one buffer.
    """
    graph = model.graph
    caches = {
        past: present
        for node in graph.node
        if node.op_type in APPENDS
        for past, present in zip(node.input, node.output, strict=False)
    }
    shapes = [node for node in graph.node if node.op_type == "Shape" and node.input[0] in caches]
    if not caches or len(shapes) != 1:
        raise BundleError("the graph has no caches to share: it is no language model")
    length = shapes[0].output[0]
    graph.node.remove(shapes[0])
    for value in [value for value in graph.value_info if value.name == length]:
        graph.value_info.remove(value)
    graph.input.append(onnx.helper.make_tensor_value_info(length, onnx.TensorProto.INT64, [1]))
    for value in (*graph.input, *graph.output):
        if value.name in caches.keys() | {*caches.values()}:
            value.type.tensor_type.shape.dim[2].Clear()
            value.type.tensor_type.shape.dim[2].dim_value = positions
    for node in graph.node:
        if node.op_type in (*APPENDS, *ATTENDS):
            node.input.append(length)
