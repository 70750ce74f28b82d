"""The records of a .bitx file as values, named as FORMAT.md names them."""

from __future__ import annotations

import dataclasses
import enum

from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.stored import FileBytes

NONE = 0xFFFFFFFF

FORMAT = "BITX_E_FORMAT"
UNSUPPORTED = "BITX_E_UNSUPPORTED"


class BitxError(ReferenceFailure):
    """A broken rule of FORMAT.md: its number, the status a runtime reports, and what is wrong."""

    def __init__(self, rule: int, status: str, message: str) -> None:
        super().__init__(f"R{rule} ({status}): {message}")
        self.rule = rule
        self.bitx_status = status
        self.message = message


def require(rule: int, holds: bool, message: str, *, status: str = FORMAT) -> None:
    """Raise the error of a rule that does not hold."""
    if not holds:
        raise BitxError(rule, status, message)


class Dtype(enum.IntEnum):
    """What an element is (section 3.2)."""

    F32 = 1
    F16 = 2
    BF16 = 3
    S8 = 4
    U8 = 5
    S32 = 6

    @property
    def size(self) -> int:
        """Bytes per element."""
        return {Dtype.F32: 4, Dtype.F16: 2, Dtype.BF16: 2, Dtype.S8: 1, Dtype.U8: 1}.get(self, 4)


class Layout(enum.IntEnum):
    """How a matrix lies in its bytes (section 3.3)."""

    PLAIN = 0
    P2R = 1
    B1R = 2
    Q4R = 3
    P2B = 4
    T5X3 = 5
    P16 = 6


class RowKind(enum.IntEnum):
    """How many rows a value has (section 3.5)."""

    FIXED = 0
    CALL = 1
    KEPT = 2
    CONTEXT = 3


class Role(enum.IntEnum):
    """What a value is to the caller (section 3.5)."""

    INTERNAL = 0
    INPUT = 1
    OUTPUT = 2
    STATE = 3


class OpCode(enum.IntEnum):
    """What an op computes (section 3.6)."""

    EMBED = 1
    RMS_NORM = 2
    QUANTIZE_ROWS = 3
    TERNARY_MATMUL = 4
    DENSE_MATMUL = 5
    RESCALE = 6
    ROPE = 7
    APPEND_CACHE = 8
    ATTEND = 9
    RELU = 10
    ADD = 11
    MUL = 12
    SILU = 13
    QUANTIZE_ROWS_INT4 = 14
    QUANTIZE_ROWS_INT16 = 15
    QUANTIZE_GROUPS = 16
    GROUP_MATMUL = 17
    GROUP_EMBED = 18
    APPEND_CACHE_INT8 = 19
    ATTEND_INT8 = 20
    AFFINE = 21
    THRESHOLD = 22
    QUANTIZE_FIXED = 23
    CHANNELS_LAST = 24
    CHANNELS_FIRST = 25
    PATCHES = 26
    DEPTHWISE_CONV = 27
    POOL_MAX = 28
    POOL_MEAN = 29
    SOFTMAX = 30


class OperandKind(enum.IntEnum):
    """What an operand refers to (section 3.7)."""

    VALUE = 1
    TENSOR = 2


@dataclasses.dataclass(frozen=True)
class Section:
    """One record of the section table (section 2)."""

    id: int
    offset: int
    size: int
    records: int
    sha256: bytes

    @property
    def end(self) -> int:
        """Offset of the byte after the section."""
        return self.offset + self.size


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the model is (section 3.1); None where the file says NONE."""

    is_language_model: bool
    vocabulary: int
    context: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    bos: int | None
    eos: tuple[int, ...]
    name: str
    family: str
    token_value: int | None
    logits_value: int | None


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Weights (section 3.4)."""

    name: str
    dtype: Dtype
    layout: Layout
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Value:
    """What flows between ops (section 3.5); `fused_slot` is None when fusion leaves it out."""

    name: str
    dtype: Dtype
    row_kind: RowKind
    rows: int
    columns: int
    role: Role
    slot: int
    fused_slot: int | None


@dataclasses.dataclass(frozen=True)
class Operand:
    """A value or a tensor, by its index (section 3.7)."""

    kind: OperandKind
    index: int


@dataclasses.dataclass(frozen=True)
class Op:
    """One step of the unfused plan (section 3.6); attributes by their bits."""

    code: OpCode
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    fusion: int
    covers: int
    attributes: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class SelfTest:
    """What every device must compute (section 3.8); chains are cut to 16 bytes."""

    prompt: tuple[int, ...]
    generated: tuple[int, ...]
    logits_chain: bytes
    chains: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True)
class NetworkTest:
    """What every device must compute of a network; chains are cut to 16 bytes."""

    samples: tuple[tuple[bytes, ...], ...]
    """The inputs of each sample in plan order, as the file has them."""
    chains: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True)
class Bitx:
    """A .bitx file whose structure is sound (R1 to R23)."""

    blob: bytes | FileBytes = dataclasses.field(repr=False)
    min_runtime: int
    sections: tuple[Section, ...]
    facts: Facts
    tensors: tuple[Tensor, ...]
    values: tuple[Value, ...]
    ops: tuple[Op, ...]

    def section(self, section_id: int) -> Section | None:
        """Return a section, or None when the file does not have it."""
        return next((each for each in self.sections if each.id == section_id), None)
