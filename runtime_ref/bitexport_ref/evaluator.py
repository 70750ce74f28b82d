"""Runs a saved model.onnx node by node, from its own reading of the graph and of the weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand, ReferenceFailure
from bitexport_ref.graph import Array, Graph, GraphInput, Step, read_graph
from bitexport_ref.numerics import F32, S8, require_finite
from bitexport_ref.ops.append_cache import appended_rows

UNPACKED_BYTES = 1 << 30
"""How much memory unpacked weights may keep; beyond it they are unpacked on every call."""

_IDS, _LOGITS = "input_ids", "logits"
_PAST, _PRESENT = "past_key_values.", "present."


class Traced(NamedTuple):
    """One output of one op: its rows, (rows, columns)."""

    name: str
    op_type: str
    rows: Array


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a run of a language model gives: logits (rows, vocab), and every op output."""

    logits: F32
    trace: list[Traced]


def load(path: str | os.PathLike[str], *, unpacked_bytes: int = UNPACKED_BYTES) -> ReferenceModel:
    """Read model.onnx; its weights stay where they are and are mapped."""
    return ReferenceModel(read_graph(path), unpacked_bytes)


class ReferenceModel:
    """A loaded graph; nothing in it changes but the store of unpacked weights."""

    def __init__(self, graph: Graph, unpacked_bytes: int = UNPACKED_BYTES) -> None:
        self.graph = graph
        self.path = graph.path
        self._unpacked: dict[str, S8] = {}
        self._room = unpacked_bytes
        self._last_use = {
            name: index for index, step in enumerate(graph.steps) for name in step.inputs
        }

    @property
    def is_language_model(self) -> bool:
        """Whether the graph takes tokens and gives logits."""
        return _IDS in {given.name for given in self.graph.inputs} and _LOGITS in self.graph.outputs

    @property
    def plan(self) -> tuple[tuple[str, str], ...]:
        """Name and op type of every op output, in plan order."""
        return tuple(
            (name, step.op_type)
            for step in self.graph.steps
            if step.is_traced
            for name in step.outputs
        )

    def session(self) -> ReferenceSession:
        """Return a language model at position 0."""
        return ReferenceSession(self)

    def run_network(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a graph that is no language model; the first axis of inputs and outputs is rows."""
        return self.run(inputs, trace=False)[0]

    def trace_network(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], list[Traced]]:
        """Run a graph that is no language model; return outputs, and every op output."""
        return self.run(inputs, trace=True)

    def run(
        self, inputs: Mapping[str, Array], *, trace: bool
    ) -> tuple[dict[str, Array], list[Traced]]:
        """Run the graph once over its named inputs; return its outputs, and every op output."""
        self._check_inputs(inputs)
        values: dict[str, Array] = dict(inputs)
        traced: list[Traced] = []
        with np.errstate(all="ignore"):
            for index, step in enumerate(self.graph.steps):
                results = self._compute(step, values)
                values.update(zip(step.outputs, results, strict=True))
                if trace and step.is_traced:
                    traced += _trace_of(step, values)
                for name in step.inputs:
                    if self._last_use[name] == index and name not in self.graph.outputs:
                        values.pop(name, None)
        return {name: values[name] for name in self.graph.outputs}, traced

    def _compute(self, step: Step, values: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run one node; a failure says which one it was."""
        operands = [
            values[name] if name in values else self.graph.weights[name] for name in step.inputs
        ]
        try:
            _check_operands(step, operands)
            if step.unpack is not None:
                operands[1] = self._trits(step, operands[1])
            result = step.function(*operands, **step.attributes)
        except ReferenceFailure as failure:
            message = f"{step.op_type} `{step.outputs[0]}`: {failure}"
            raise type(failure)(message) from failure
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(step.outputs):
            message = (
                f"{step.op_type} `{step.outputs[0]}`: {len(step.outputs)} outputs are named, "
                f"the op has {len(results)}"
            )
            raise ReferenceFailure(message)
        return results

    def _trits(self, step: Step, packed: Array) -> S8:
        """Unpack a weight, or return the one that was kept."""
        name = step.inputs[1]
        if name in self._unpacked:
            return self._unpacked[name]
        assert step.unpack is not None
        weight = step.unpack(packed, **step.unpack_attributes)
        if weight.nbytes <= self._room:
            self._unpacked[name] = weight
            self._room -= weight.nbytes
        return weight

    def _check_inputs(self, given: Mapping[str, Array]) -> None:
        """Refuse inputs that are missing, unknown, or of another dtype or shape."""
        wanted = {value.name: value for value in self.graph.inputs}
        for problem, names in (
            ("unknown", given.keys() - wanted.keys()),
            ("missing", wanted.keys() - given.keys()),
        ):
            if names:
                message = f"{self.path}: {problem} input `{min(names)}`"
                raise BadOperand(message)
        for name, value in wanted.items():
            array = given[name]
            fits = len(array.shape) == len(value.shape) and all(
                want in (None, have) for want, have in zip(value.shape, array.shape, strict=True)
            )
            if array.dtype != value.dtype or not fits:
                message = (
                    f"{self.path}: input `{name}` is {array.dtype} {array.shape}, "
                    f"the graph takes {value.dtype} {value.shape}"
                )
                raise BadOperand(message)


class ReferenceSession:
    """A language model in the middle of a sequence."""

    def __init__(self, model: ReferenceModel) -> None:
        if not model.is_language_model:
            message = f"{model.path}: not a language model: no `{_IDS}`, or no `{_LOGITS}`"
            raise ReferenceFailure(message)
        for value in model.graph.inputs:
            known = value.name == _IDS or _present(value.name) in model.graph.outputs
            if not known:
                message = f"{model.path}: input `{value.name}` is neither tokens nor a state"
                raise ReferenceFailure(message)
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forget the sequence."""
        self.position = 0
        self._states = {
            value.name: np.zeros(_empty_state(self.model, value), value.dtype)
            for value in self.model.graph.inputs
            if value.name != _IDS
        }

    def run(self, tokens: NDArray[np.int32], *, trace: bool = True) -> Outputs:
        """Append tokens (rows,); after a failure the session is where it was."""
        if tokens.ndim != 1 or tokens.size == 0 or tokens.dtype.kind not in "iu":
            message = f"tokens are {tokens.dtype} {tokens.shape}, not integers (rows,)"
            raise BadOperand(message)
        feeds: dict[str, Array] = {_IDS: tokens.astype(np.int64)[None, :], **self._states}
        outputs, traced = self.model.run(feeds, trace=trace)
        logits: F32 = outputs[_LOGITS][0]
        require_finite(logits, f"the output `{_LOGITS}`")
        self._states = {name: outputs[_present(name)] for name in self._states}
        self.position += tokens.size
        return Outputs(logits, traced)


def greedy(logits: F32) -> int:
    """Return the token with the largest logit, of equal ones the lowest: (vocab) -> id."""
    return int(np.argmax(logits))


def _present(past: str) -> str:
    """Name the output that continues a state."""
    return _PRESENT + past.removeprefix(_PAST) if past.startswith(_PAST) else ""


def _empty_state(model: ReferenceModel, value: GraphInput) -> tuple[int, int, int, int]:
    """Return the shape of a state without positions: (1, kv_heads, 0, d)."""
    match value.shape:
        case (_, int(kv_heads), _, int(head_size)):
            return 1, kv_heads, 0, head_size
    message = f"{model.path}: state `{value.name}` {value.shape} does not say its heads and size"
    raise ReferenceFailure(message)


def _trace_of(step: Step, values: Mapping[str, Array]) -> list[Traced]:
    """Return the outputs of one op as rows; of AppendCache only the rows it stored."""
    if step.op_type == "AppendCache":
        past, x = (values[name] for name in step.inputs)
        present = values[step.outputs[0]]
        assert present.shape[2] == past.shape[2] + x.shape[1]
        rows = appended_rows(present, x.shape[1])
        return [Traced(step.outputs[0], step.op_type, rows)]
    outputs = ((name, values[name]) for name in step.outputs)
    return [
        Traced(name, step.op_type, array.reshape(-1, array.shape[-1])) for name, array in outputs
    ]


def _check_operands(step: Step, operands: Sequence[Array]) -> None:
    """Refuse operands that the op's function is not written for."""
    if len(operands) != len(step.operand_dtypes):
        message = f"{len(operands)} operands, the op takes {len(step.operand_dtypes)}"
        raise BadOperand(message)
    for name, array, dtypes in zip(step.inputs, operands, step.operand_dtypes, strict=True):
        if array.dtype not in dtypes:
            wanted = " or ".join(sorted(map(str, dtypes)))
            message = f"operand `{name}` is {array.dtype}, not {wanted}"
            raise BadOperand(message)
