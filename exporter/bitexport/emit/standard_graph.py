"""A graph of standard ops alone: bodies written out, constants shared, nothing left to fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from bitexport.emit.exactness import exactness_of_node
from bitexport.ops import Dim, parse_body

Array = NDArray[Any]
MOST_FOLDED = 4096
"""Elements of a constant that is computed here; larger ones are not small facts of shapes."""
OP, OUTPUT, EXACTNESS = "bitexport.op", "bitexport.output", "bitexport.exactness"
"""Keys of a node's metadata: the op of ours that it is a part of, what that writes, its class."""


class StandardGraph:
    """Nodes in the order they run, each a part of one of our ops."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._folded: dict[tuple[str, bytes, tuple[str, ...]], tuple[str, ...]] = {}

    def constant(self, value: Array) -> str:
        """Return the name of an initializer with this content; equal ones are one."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._names:
            self._names[key] = f"constant.{len(self._names)}"
            self.constants[self._names[key]] = value
        return self._names[key]

    def write_out(
        self, op_type: str, body: str, inputs: Mapping[str, str], outputs: Mapping[str, str],
        attributes: Mapping[str, int | float], shapes: Mapping[str, tuple[Dim, ...]],
    ) -> None:  # fmt: skip
        """Append the nodes of a body; names inside it follow the op's first output.

        `inputs` and `outputs` say which value of the graph stands for each name of the body,
        `shapes` what is known of those values; what follows from known sizes is computed here.
        """
        function = parse_body(op_type, inputs, outputs, body, attributes)
        prefix = next(iter(outputs.values()))
        names = {**inputs, **outputs}
        for given in function.node:
            node = _bound(given, attributes)
            given_names = [names.get(name, "") for name in node.input]
            made = self._size(node, shapes.get(given_names[0] if given_names else "", ()))
            made = made or self._fold(node, given_names)
            if made is not None:
                names.update(zip(node.output, made, strict=True))
                continue
            if self._is_idle(node, given_names) and node.output[0] not in outputs:
                names[node.output[0]] = given_names[0]
                continue
            for name in node.output:
                names.setdefault(name, f"{prefix}/{name}")
            self._append(node, names, op_type, prefix)

    def node(
        self, op_type: str, inputs: Sequence[str], output: str, part_of: str, domain: str = "",
        **attributes: Any,
    ) -> None:  # fmt: skip
        """Append one node."""
        made = onnx.helper.make_node(op_type, inputs, [output], domain=domain, **attributes)
        self._append(made, {name: name for name in (*inputs, output)}, part_of, output)

    def _append(
        self, node: onnx.NodeProto, names: Mapping[str, str], op_type: str, prefix: str
    ) -> None:
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        node.name = f"{node.output[0]}:{node.op_type}"
        said = {OP: op_type, OUTPUT: prefix, EXACTNESS: exactness_of_node(node.op_type)}
        for key, text in said.items():
            node.metadata_props.add(key=key, value=text)
        self.nodes.append(node)

    def _size(self, node: onnx.NodeProto, shape: tuple[Dim, ...]) -> tuple[str, ...] | None:
        """Return what a `Shape` node gives, if all the sizes that it asks for are known."""
        if node.op_type != "Shape" or not shape:
            return None
        ends = {each.name: each.i for each in node.attribute}
        asked = shape[slice(ends.get("start"), ends.get("end"))]
        if any(isinstance(size, str) for size in asked):
            return None
        return (self.constant(np.array(asked, np.int64)),)

    def _is_idle(self, node: onnx.NodeProto, inputs: Sequence[str]) -> bool:
        """Whether a node gives what it takes."""
        if node.op_type == "Pad":
            pads = self.constants.get(inputs[1])
            return pads is not None and not pads.any()
        return node.op_type == "Identity"

    def _fold(self, node: onnx.NodeProto, inputs: Sequence[str]) -> tuple[str, ...] | None:
        """Return the constants that a node gives, if all that it reads is constant."""
        if node.op_type == "Constant":
            return tuple(map(self.constant, _evaluate(node, {})))
        known = [self.constants.get(name) for name in inputs]
        if any(value is None or value.size > MOST_FOLDED for value in known):
            return None
        content = b"".join(each.SerializeToString(deterministic=True) for each in node.attribute)
        key = (node.op_type, content, tuple(inputs))
        if key not in self._folded:
            feeds = dict(zip(node.input, known, strict=True))
            arrays = _evaluate(node, feeds)
            if any(array.size > MOST_FOLDED for array in arrays):
                return None
            self._folded[key] = tuple(map(self.constant, arrays))
        return self._folded[key]


def _bound(given: onnx.NodeProto, attributes: Mapping[str, int | float]) -> onnx.NodeProto:
    """Return a copy of a node whose attributes that name one of the op have its value."""
    node = onnx.NodeProto()
    node.CopyFrom(given)
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            value = attributes[attribute.ref_attr_name]
            name = attribute.name
            attribute.Clear()
            attribute.CopyFrom(onnx.helper.make_attribute(name, value))
    return node


def _evaluate(node: onnx.NodeProto, feeds: dict[str, Any]) -> list[Array]:
    """Run one node on constants."""
    with np.errstate(all="ignore"):
        made: Any = ReferenceEvaluator(node).run(None, feeds)
    return [np.asarray(each) for each in made]
