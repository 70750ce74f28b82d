"""Write a .tflite file: tensors and ops of one graph, with the schema classes that LiteRT ships.

The format: tflite/schema/schema.fbs of LiteRT.  Of a field that is not set here the default counts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import ToolchainError
from bitexport.passes.plan import aligned

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
MOST_BYTES = (1 << 31) - 1
"""Of a flatbuffer, whose offsets are signed 32-bit numbers."""
SIGNATURE = "decode"
METADATA = "bitexport"
INSTALL = "pip install 'bitexport[tflite]'"
CODES_OF_A_BYTE = 4


def load_schema() -> Any:
    """Return the module of schema classes, or say how to get it."""
    try:
        from ai_edge_litert import schema_py_generated  # noqa: PLC0415
    except ImportError as error:
        raise ToolchainError(
            f"--tflite needs ai-edge-litert, which has the classes of the format: {error}",
            hint=INSTALL,
        ) from error
    return schema_py_generated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outside:
    """A buffer that lies behind the flatbuffer, aligned to 64: a file, copied when written."""

    buffer: int
    file: Path


class TfliteGraph:
    """One graph in the making; tensors are numbers."""

    def __init__(self) -> None:
        self.schema = load_schema()
        self.model = self.schema.ModelT()
        self.model.version = SCHEMA_VERSION
        self.model.buffers = [self.schema.BufferT()]  # the first is empty by convention
        self.model.operatorCodes = []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.shapes: list[tuple[int, ...]] = []
        self.outside: list[Outside] = []
        self._codes: dict[tuple[int, int, str], int] = {}

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str = "FLOAT32", buffer: int = 0,
        scales: NDArray[np.float32] | None = None,
    ) -> int:  # fmt: skip
        """Add a tensor; scales, one or one for each row, say what its integers stand for."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = getattr(self.schema.TensorType, dtype)
        if scales is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        self.graph.tensors.append(tensor)
        self.shapes.append(tuple(shape))
        return len(self.graph.tensors) - 1

    def constant(
        self, name: str, values: NDArray[Any], scales: NDArray[np.float32] | None = None,
        *, two_bits: bool = False,
    ) -> int:  # fmt: skip
        """Add a tensor with its numbers; with two_bits four of them in a byte, low bits first."""
        dtype = "INT2" if two_bits else DTYPES[values.dtype]
        data = packed_codes(values) if two_bits else np.ascontiguousarray(values)
        buffer = self.schema.BufferT()
        buffer.data = data.reshape(-1).view(np.uint8)
        self.model.buffers.append(buffer)
        return self.tensor(name, values.shape, dtype, len(self.model.buffers) - 1, scales)

    def file(self, name: str, path: Path) -> int:
        """Add the bytes of a file as a tensor."""
        self.model.buffers.append(self.schema.BufferT())
        self.outside.append(Outside(buffer=len(self.model.buffers) - 1, file=path))
        return self.tensor(name, (path.stat().st_size,), "UINT8", self.outside[-1].buffer)

    def op(
        self, kind: str, inputs: Sequence[int], name: str, shape: Sequence[int],
        options: Mapping[str, Any] | None = None, *, dtype: str = "FLOAT32", version: int = 1,
        options_of: str = "",
    ) -> int:  # fmt: skip
        """Add a built-in op with one output; return that."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(self.schema.BuiltinOperator, kind), version)
        if options_of:
            operator.builtinOptions = getattr(self.schema, f"{options_of}T")()
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options_of)
            for key, value in (options or {}).items():
                assert hasattr(operator.builtinOptions, key), key
                setattr(operator.builtinOptions, key, value)
        return self._made(operator, inputs, name, shape, dtype)

    def custom_op(
        self, kind: str, inputs: Sequence[int], outputs: Mapping[str, tuple[Sequence[int], str]]
    ) -> dict[str, int]:
        """Add an op that only a delegate knows; shapes and dtypes of its outputs by name."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(self.schema.BuiltinOperator.CUSTOM, 1, kind)
        made = {name: self.tensor(name, *of) for name, of in outputs.items()}
        operator.inputs, operator.outputs = list(inputs), [*made.values()]
        self.graph.operators.append(operator)
        return made

    def write(
        self, path: Path, inputs: Mapping[str, int], outputs: Mapping[str, int],
        about: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Name inputs and outputs, say what the file is, and write it."""
        schema, model = self.schema, self.model
        self.graph.name = SIGNATURE
        self.graph.inputs, self.graph.outputs = [*inputs.values()], [*outputs.values()]
        model.subgraphs = [self.graph]
        model.description = f"bitexport, {about['exactness']}"
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = self._map(inputs), self._map(outputs)
        model.signatureDefs = [signature]
        note = schema.BufferT()
        text = json.dumps(about, sort_keys=True).encode()
        note.data = np.frombuffer(text, np.uint8)
        model.buffers.append(note)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA, len(model.buffers) - 1
        model.metadata = [entry]
        self._write(path)

    def _write(self, path: Path) -> None:
        sizes = [outside.file.stat().st_size for outside in self.outside]
        self._place(MOST_BYTES, sizes)  # fields that are 0 would be left out
        start = aligned(len(self._flat()))
        self._place(start, sizes)
        with path.open("wb") as out:
            head = self._flat()
            out.write(head + bytes(start - len(head)) if sizes else head)
            for outside, size in zip(self.outside, sizes, strict=True):
                with outside.file.open("rb") as file:
                    shutil.copyfileobj(file, out, 1 << 22)
                out.write(bytes(aligned(size) - size))
            out.flush()
            os.fsync(out.fileno())

    def _place(self, start: int, sizes: Sequence[int]) -> None:
        for outside, size in zip(self.outside, sizes, strict=True):
            buffer = self.model.buffers[outside.buffer]
            buffer.offset, buffer.size = start, size
            start += aligned(size)

    def _flat(self) -> bytes:
        import flatbuffers  # noqa: PLC0415 - ai-edge-litert brings it

        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _made(
        self, operator: Any, inputs: Sequence[int], name: str, shape: Sequence[int], dtype: str
    ) -> int:
        made = self.tensor(name, shape, dtype)
        operator.inputs, operator.outputs = list(inputs), [made]
        self.graph.operators.append(operator)
        return made

    def _code(self, builtin: int, version: int, custom: str = "") -> int:
        key = (builtin, version, custom)
        if key not in self._codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, 127)  # what older readers look at
            code.customCode = custom or None
            self._codes[key] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        return self._codes[key]

    def _map(self, named: Mapping[str, int]) -> list[Any]:
        entries = []
        for name, tensor in named.items():
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor
            entries.append(entry)
        return entries


DTYPES: Mapping[np.dtype[Any], str] = {
    np.dtype(np.float32): "FLOAT32", np.dtype(np.int32): "INT32", np.dtype(np.int8): "INT8",
    np.dtype(np.uint8): "UINT8",
}  # fmt: skip


def packed_codes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Pack integers from -2 to 1 in two's complement, four in a byte, lowest bits first."""
    codes = values.reshape(-1).astype(np.int8).view(np.uint8) & np.uint8(3)
    codes = np.pad(codes, (0, -len(codes) % CODES_OF_A_BYTE)).reshape(-1, CODES_OF_A_BYTE)
    shifted = codes << np.array([0, 2, 4, 6], np.uint8)
    return np.asarray(np.bitwise_or.reduce(shifted, axis=1), np.uint8)
