"""Runs a saved model.onnx node by node, from its own reading of the graph and of the weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand, ReferenceFailure
from bitexport_ref.graph import Array, Graph, GraphInput, Step, read_graph
from bitexport_ref.layouts import PackedMatrix
from bitexport_ref.numerics import F32, require_finite
from bitexport_ref.ops.append_cache import appended_rows
from bitexport_ref.stored import StoredArray

UNPACKED_BYTES = 1 << 30
"""How much memory unpacked weights may take.  They are kept, four bytes each, when those of the
whole model fit in; else a block of a weight is unpacked, used and dropped, call after call."""

_IDS, _LOGITS = "input_ids", "logits"
_PAST, _PRESENT = "past_key_values.", "present."
_TABLE_LOOKUP = "GroupEmbed"
_INTEGER_PRODUCTS = ("TernaryMatMul", "DenseMatMulQ8")
_APPENDS = ("AppendCache", "AppendCacheInt8")
_OF_POSITIONS = frozenset({*_APPENDS, "Attend", "AttendInt8", "Rope", "Shape"})


class Traced(NamedTuple):
    """One output of one op: its rows, (rows, columns)."""

    name: str
    op_type: str
    rows: Array


Visit = Callable[[Traced], None]


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a run of a language model gives: logits (rows, vocab), and every op output."""

    logits: F32
    trace: list[Traced]


def load(path: str | os.PathLike[str], *, unpacked_bytes: int = UNPACKED_BYTES) -> ReferenceModel:
    """Read model.onnx; its weights stay where they are, and are read by blocks when used."""
    return ReferenceModel(read_graph(path), unpacked_bytes)


class ReferenceModel:
    """A loaded graph; nothing in it changes but the store of unpacked weights."""

    def __init__(self, graph: Graph, unpacked_bytes: int = UNPACKED_BYTES) -> None:
        self.graph = graph
        self.path = graph.path
        self._packed: dict[tuple[Any, ...], PackedMatrix] = {}
        self._keeps = _unpacked_bytes(graph) <= unpacked_bytes
        self._last_use = {
            name: index for index, step in enumerate(graph.steps) for name in step.inputs
        }
        self._twins = _twins(graph.steps)
        self._rowwise = _rowwise_steps(graph.steps)

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
        return self.run(inputs)

    def trace_network(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], list[Traced]]:
        """Run a graph that is no language model; return outputs, and every op output."""
        traced: list[Traced] = []
        return self.run(inputs, visit=traced.append), traced

    def run(
        self, inputs: Mapping[str, Array], *, visit: Visit | None = None, last_row: bool = False
    ) -> dict[str, Array]:
        """Run the graph once over its named inputs; return its outputs.

        `visit` is given every op output, in plan order, as it is made.  With `last_row`, what no
        later position depends on is computed for the last row of the call alone: [batch, rows,
        columns] becomes [batch, 1, columns].
        """
        self._check_inputs(inputs)
        values: dict[str, Array] = dict(inputs)
        ahead: dict[int, tuple[Array, ...]] = {}
        with np.errstate(all="ignore"):
            for index, step in enumerate(self.graph.steps):
                results = ahead.pop(index, None)
                if results is None:
                    twin = self._twins.get(index)
                    cut = last_row and index in self._rowwise
                    given = self._last_row(step, twin, values) if cut else values
                    results, of_twin = self._compute(step, given, twin)
                    if twin is not None and of_twin is not None:
                        ahead[twin] = of_twin
                values.update(zip(step.outputs, results, strict=True))
                if visit is not None and step.is_traced:
                    for traced in _trace_of(step, values):
                        visit(traced)
                for name in step.inputs:
                    if self._last_use[name] == index and name not in self.graph.outputs:
                        values.pop(name, None)
        return {name: values[name] for name in self.graph.outputs}

    def compute(self, step: Step, values: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run one node alone, on values given by name; weights are the graph's."""
        with np.errstate(all="ignore"):
            return self._compute(step, values, None)[0]

    def _compute(
        self, step: Step, values: Mapping[str, Array], twin: int | None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...] | None]:
        """Run one node, and its twin on the rows below its own; a failure says which node it was.

        Two products of high and low codes share one reading and unpacking of their weight.
        """
        operands: list[Any] = [
            values[name] if name in values else self.graph.weights[name] for name in step.inputs
        ]
        try:
            _check_operands(step, operands)
            if step.unpack is not None:
                operands[1] = self._matrix(step, operands[1])
            for index, by_rows in enumerate(step.by_rows):
                if isinstance(operands[index], StoredArray) and not by_rows:
                    operands[index] = operands[index][:]
            low = None if twin is None else values[self.graph.steps[twin].inputs[0]]
            high = operands[0]
            if low is not None and (low.dtype, low.shape) == (high.dtype, high.shape):
                operands[0] = np.concatenate((high, low))
                both = step.function(*operands, **step.attributes)
                assert isinstance(both, np.ndarray)
                first, second = np.split(both, 2)
                return (first,), (second,)
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
        return results, None

    def _matrix(self, step: Step, packed: Any) -> PackedMatrix:
        """Return the matrix that a packed weight is; a table is kept if a product reads it too."""
        assert step.unpack is not None
        name, layout = step.inputs[1], step.op_type[-3:]
        if name not in self.graph.weights:
            return step.unpack(packed, **step.unpack_attributes)
        key = (name, layout, *sorted(step.unpack_attributes.items()))
        if key not in self._packed:
            self._packed[key] = step.unpack(packed, **step.unpack_attributes)
        matrix = self._packed[key]
        if self._keeps and matrix.kept is None and not step.op_type.startswith(_TABLE_LOOKUP):
            matrix.keep()
        return matrix

    def _last_row(
        self, step: Step, twin: int | None, values: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the last row of what a step, and its twin, read."""
        names = {*step.inputs, *(self.graph.steps[twin].inputs if twin is not None else ())}
        return {name: values[name][:, -1:] for name in names if name in values}

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

    def run(
        self,
        tokens: NDArray[np.int32],
        *,
        trace: bool = True,
        visit: Visit | None = None,
        rows: Literal["all", "last"] = "all",
    ) -> Outputs:
        """Append tokens (rows,); after a failure the session is where it was.

        The trace is returned, or given to `visit` one op output after the other, which takes no
        memory.  With rows "last" there are logits of the last token only, and no trace.
        """
        if tokens.ndim != 1 or tokens.size == 0 or tokens.dtype.kind not in "iu":
            message = f"tokens are {tokens.dtype} {tokens.shape}, not integers (rows,)"
            raise BadOperand(message)
        traced: list[Traced] = []
        if visit is None and trace and rows == "all":
            visit = traced.append
        if visit is not None and rows == "last":
            message = "a trace is one of all rows, not of the last"
            raise BadOperand(message)
        feeds: dict[str, Array] = {_IDS: tokens.astype(np.int64)[None, :], **self._states}
        outputs = self.model.run(feeds, visit=visit, last_row=rows == "last")
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


def _unpacked_bytes(graph: Graph) -> int:
    """Return how many bytes all packed weights take when they are kept."""
    sizes = {
        step.inputs[1]: int(step.unpack_attributes["n"]) * int(step.unpack_attributes["k"])
        for step in graph.steps
        if step.unpack is not None and not step.op_type.startswith(_TABLE_LOOKUP)
    }
    return sum(sizes.values()) * np.dtype(np.float32).itemsize


def _twins(steps: Sequence[Step]) -> dict[int, int]:
    """Find the products of high and of low codes with one weight: the later by the earlier.

    Both codes come from one QuantizeRowsInt16, so the second are there when the first are.
    """
    makers = {name: index for index, step in enumerate(steps) for name in step.outputs}
    first: dict[tuple[Any, ...], int] = {}
    twins: dict[int, int] = {}
    for index, step in enumerate(steps):
        is_product = step.op_type.startswith(_INTEGER_PRODUCTS) and len(step.outputs) == 1
        if is_product and step.inputs[0] in makers:
            sizes = sorted(step.unpack_attributes.items())
            key = (step.op_type, makers[step.inputs[0]], step.inputs[1:], *sizes)
            earlier = first.pop(key, None)
            if earlier is None:
                first[key] = index
            else:
                twins[earlier] = index
    return twins


def _rowwise_steps(steps: Sequence[Step]) -> frozenset[int]:
    """Return the steps that no op of positions depends on: a row of theirs decides no other row."""
    needed: set[str] = set()
    rowwise = set()
    for index in reversed(range(len(steps))):
        step = steps[index]
        if step.op_type in _OF_POSITIONS or needed.intersection(step.outputs):
            needed.update(step.inputs)
        else:
            rowwise.add(index)
    return frozenset(rowwise)


def _trace_of(step: Step, values: Mapping[str, Array]) -> list[Traced]:
    """Return the outputs of one op as rows; of a state only the rows that it appended."""
    if step.op_type in _APPENDS:
        count = values[step.inputs[-1]].shape[1]
        return [
            Traced(name, step.op_type, appended_rows(values[name], count)) for name in step.outputs
        ]
    outputs = ((name, values[name]) for name in step.outputs)
    return [
        Traced(name, step.op_type, array.reshape(-1, array.shape[-1])) for name, array in outputs
    ]


def _check_operands(step: Step, operands: Sequence[Array | StoredArray[Any]]) -> None:
    """Refuse operands that the op's function is not written for."""
    if len(operands) != len(step.operand_dtypes):
        message = f"{len(operands)} operands, the op takes {len(step.operand_dtypes)}"
        raise BadOperand(message)
    for name, array, dtypes in zip(step.inputs, operands, step.operand_dtypes, strict=True):
        if array.dtype not in dtypes:
            wanted = " or ".join(sorted(map(str, dtypes)))
            message = f"operand `{name}` is {array.dtype}, not {wanted}"
            raise BadOperand(message)
