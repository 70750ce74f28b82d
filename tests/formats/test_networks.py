"""Small networks of every op give, on every core, the bits that NUMERICS.md asks for.

The numbers are computed again here, from the words of NUMERICS.md and with nothing but NumPy, so
that the runtime is held against a second reading and not against the reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.formats import tiny_bitx as tiny
from tests.formats.tiny_bitx import (
    B1R,
    BF16,
    F16,
    F32,
    INPUT,
    NONE,
    OUTPUT,
    P2B,
    P2R,
    Q4R,
    S8,
    S32,
    T5X3,
    U8,
)

from bitexport.emit.source import copy_runtime
from bitexport.errors import RunError
from bitexport.targets import Target, find_target, load_targets
from bitexport.toolchain.compile import Library, build_runner, sources
from bitexport.toolchain.emulate import run

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]
Operand = tuple[int, int]

ROWS, K, N, HEADS, VOCABULARY = 6, 72, 75, 3, 70  # nothing is a multiple of a tile
LEAST = {P2R: (-1, 1), B1R: (-1, 1), Q4R: (-8, 7), T5X3: (-1, 1)}
# Where there is no operating system the runner has no file to read inputs from.
PLACES = [
    (target, core)
    for target in load_targets().values()
    if target.os == "linux"
    for core in target.cores
]


# ---- NUMERICS.md ------------------------------------------------------------------------------


def rint(x: Floats) -> Codes:
    return np.rint(x).astype(np.int64)


def lane_sum(x: Floats) -> Floats:
    """Sum the last axis in eight lanes (section 1, rule 4)."""
    padded = np.zeros((*x.shape[:-1], -(-x.shape[-1] // 8) * 8), np.float32)
    padded[..., : x.shape[-1]] = x
    lanes = np.zeros((*x.shape[:-1], 8), np.float32)
    for at in range(0, padded.shape[-1], 8):
        lanes = lanes + padded[..., at : at + 8]
    la, lb, lc, ld, le, lf, lg, lh = np.moveaxis(lanes, -1, 0)
    total: Floats = ((la + le) + (lc + lg)) + ((lb + lf) + (ld + lh))
    return total


def exp(x: Floats) -> Floats:
    """Return e^x (section 2)."""
    f = np.float32
    inside = np.clip(x, f(-87), f(88))
    n = np.rint(inside * f(float.fromhex("0x1.715476p+0")))
    r = (inside - n * f(float.fromhex("0x1.62e4p-1"))) - n * f(float.fromhex("0x1.7f7d1cp-20"))
    p = np.full_like(r, float.fromhex("0x1.6d110ap-10"))
    for word in ("0x1.120b6ep-7", "0x1.55551ap-5", "0x1.5554dcp-3", "0x1p-1"):
        p = p * r + f(float.fromhex(word))
    y = f(1) + (r + (r * r) * p)
    a = np.floor(n / 2)
    result = np.ldexp(np.ldexp(y, a.astype(np.int32)), (n - a).astype(np.int32))
    result = np.where(x < f(-87), f(0), np.where(x > f(88), f(np.inf), result))
    return result.astype(np.float32)


def silu(x: Floats) -> Floats:
    result: Floats = x / (np.float32(1) + exp(np.float32(0) - x))
    return result


def quantized(x: Floats) -> tuple[Codes, Floats]:
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-5))
    scale = np.float32(127) / largest
    return np.clip(rint(x * scale), -128, 127), scale


def quantized_int4(x: Floats) -> tuple[Codes, Floats]:
    mean = lane_sum(np.abs(x))[:, None] / np.float32(x.shape[1])
    root = np.float32(float.fromhex("0x1.52a7fap+1"))
    scale = root / np.maximum(mean, np.float32(1e-5))
    return np.clip(rint(x * scale), -8, 7), scale


def quantized_int16(x: Floats) -> tuple[Codes, Codes, Floats]:
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-5))
    scale = np.float32(32512) / largest
    codes = np.clip(rint(x * scale), -32512, 32512)
    high = (codes + 128) // 256
    return high, codes - 256 * high, scale


def quantized_groups(x: Floats, group: int) -> tuple[Codes, Floats]:
    parts = [quantized(x[:, at : at + group]) for at in range(0, x.shape[1], group)]
    return np.hstack([codes for codes, _ in parts]), np.hstack([scale for _, scale in parts])


def group_matmul(
    q: Codes, w: Codes, weight_scale: Floats, scale: Floats, group: int, low: Codes | None = None
) -> Floats:
    """Multiply with scales in groups; weight_scale is [groups or 1, n or 1]."""
    y = np.zeros((len(q), len(w)), np.float32)
    for g, at in enumerate(range(0, w.shape[1], group)):
        part = slice(at, at + group)
        sums = q[:, part] @ w[:, part].T
        if low is not None:
            sums = 256 * sums + low[:, part] @ w[:, part].T
        d = weight_scale[min(g, len(weight_scale) - 1)].astype(np.float32)
        r = np.float32(1) / scale[:, min(g, scale.shape[1] - 1)][:, None]
        y = y + (sums.astype(np.float32) * d) * r
    return y


def rms_norm(x: Floats, weight: Floats, epsilon: np.float32, heads: int) -> Floats:
    rows = x.reshape(len(x) * heads, -1)
    mean = lane_sum(rows * rows)[:, None] / np.float32(rows.shape[1])
    result: Floats = (rows * (np.float32(1) / np.sqrt(mean + epsilon))) * weight
    return result.reshape(x.shape)


# ---- The networks -----------------------------------------------------------------------------


def rows_of_x(draw: np.random.Generator) -> Floats:
    """Return rows of every size: small, large, zeros, ties, one element alone."""
    x = draw.standard_normal((ROWS, K)).astype(np.float32)
    x[1] *= np.float32(1e-7)
    x[2] *= np.float32(3e4)
    x[3] = 0
    x[4] = draw.integers(-8, 9, K).astype(np.float32) / np.float32(2)
    x[4, :2] = 127, -127  # with a scale of 1, halves are ties
    x[5] = 0
    x[5, 70] = -5
    return x


@dataclasses.dataclass
class Network:
    """A plan with what each output must hold."""

    draw: np.random.Generator
    builder: tiny.Builder = dataclasses.field(default_factory=lambda: tiny.Builder(0))
    given: bytes = b""
    expected: dict[str, NDArray[np.generic]] = dataclasses.field(default_factory=dict)

    def input(self, name: str, dtype: int, values: NDArray[np.generic]) -> Operand:
        """Add an input, and what it is given."""
        self.given += values.tobytes()
        return self.builder.value(name, dtype, values.shape[1], role=INPUT)

    def output(self, operand: Operand, values: NDArray[np.generic], dtype: str = "<f4") -> None:
        """Make a value an output, and say what it holds."""
        value = self.builder.file.values[operand[1]]
        value.role = OUTPUT
        assert value.columns == values.shape[1]
        self.expected[self.builder.file.text(value.name)] = values.astype(dtype)

    def weights(self, name: str, layout: int, n: int, k: int) -> tuple[Operand, Codes]:
        """Add a packed matrix; return it and its weights."""
        least, most = LEAST[layout]
        w = self.draw.integers(least, most + 1, (n, k))
        w = np.where(w == 0, 1, w) if layout == B1R else w
        return self.builder.packed(name, layout, n, k, w), w

    def scales(
        self, name: str, shape: tuple[int, int], dtype: type[np.floating] = np.float32
    ) -> tuple[Operand, Floats]:
        """Add scales of groups, of either sign; return them and their values."""
        values = self.draw.uniform(-0.02, 0.02, shape).astype(dtype)
        kind = F32 if dtype is np.float32 else F16
        return self.builder.tensor(name, kind, values), values.astype(np.float32)

    def write(self, folder: Path) -> None:
        """Write the file as a network."""
        file = self.builder.file
        facts = file.facts
        facts.kind, facts.vocabulary, facts.context, facts.bos, facts.eos_count = 0, 0, 0, NONE, 0
        facts.eos, facts.tokens, facts.logits = [NONE] * 4, NONE, NONE
        facts.name = facts.family = file.string("network")
        self.builder.assign_slots()
        outputs = sum(op.outputs for op in file.ops)
        file.self_test = tiny.SelfTest([0], [0], outputs, outputs)
        (folder / "model.bitx").write_bytes(file.write())


def op_by_op(draw: np.random.Generator, x: Floats, ids: Codes) -> Network:
    """Every new op with every layout and every shape of scales; all values are outputs."""
    network = Network(draw)
    b = network.builder
    given = network.input("x", F32, x.astype("<f4"))
    tokens = network.input("ids", S32, ids.astype("<i4"))
    codes = [*quantizers(network, given, x)]
    for at, (layout, name) in enumerate({P2R: "p2r", B1R: "b1r", Q4R: "q4r"}.items()):
        group = (16, 32, 64)[at]
        groups = -(-K // group)
        weight, w = network.weights(f"{name}.weight", layout, N, K)
        shapes = [((groups, N), np.float16), ((1, N), np.float32), ((groups, 1), np.float32)]
        shapes += [((1, 1), np.float16)]
        for shape, (scale_shape, dtype) in enumerate(shapes):
            found, d = network.scales(f"{name}.scale{shape}", scale_shape, dtype)
            kinds = codes[:2] + [kind for kind in codes[2:] if kind[0].startswith(f"groups{group}")]
            for kind, operands, q, scale, low in kinds:
                inputs = [operands[0], weight, found, operands[1], *operands[2:]]
                y = b.op("GroupMatMul", inputs, f"{name}.{kind}.{shape}", N, attributes=[group])
                network.output(y, group_matmul(q, w, d, scale, group, low))
        table, w = network.weights(f"{name}.table", layout, VOCABULARY, K)
        found, d = network.scales(f"{name}.table.scale", (groups, VOCABULARY), np.float16)
        y = b.op("GroupEmbed", [tokens, table, found], f"{name}.embed", K, attributes=[group])
        spread = np.repeat(d, group, axis=0)[:K].T
        network.output(y, w[ids[:, 0]].astype(np.float32) * spread[ids[:, 0]])

    norm = draw.uniform(0.5, 1.5, K // HEADS).astype(np.float32)
    epsilon = np.float32(1e-5)
    attributes = [tiny.float_bits(float(epsilon)), HEADS]
    y = b.op("RmsNorm", [given, b.floats("norm", norm)], "normal", K, attributes=attributes)
    network.output(y, rms_norm(x, norm, epsilon, HEADS))
    network.output(b.op("Silu", [given], "silu", K), silu(x))
    floats(network, given, x, tokens, ids)
    integers(network, codes[1], final=True)
    return network


Kind = tuple[str, list[Operand], Codes, Floats, Codes | None]


def quantizers(network: Network, given: Operand, x: Floats) -> list[Kind]:
    """Add every quantizer; return its name, codes, scale, low codes as operands and as numbers."""
    b = network.builder
    q, scale = b.codes("QuantizeRowsInt4", given, "int4", K)
    numbers, factor = quantized_int4(x)
    network.output(q, numbers, "i1")
    network.output(scale, factor)
    made: list[Kind] = [("int4", [q, scale], numbers, factor, None)]

    high, low, scale = b.codes("QuantizeRowsInt16", given, "int16", K)
    upper, lower, factor = quantized_int16(x)
    network.output(high, upper, "i1")
    network.output(low, lower, "i1")
    network.output(scale, factor)
    made.append(("int16", [high, scale, low], upper, factor, lower))
    for group in (16, 32, 64):
        q = b.value(f"groups{group}.q", S8, K)
        scale = b.value(f"groups{group}.scale", F32, -(-K // group))
        b.add("QuantizeGroups", [given], [q, scale], [group])
        numbers, factor = quantized_groups(x, group)
        network.output(q, numbers, "i1")
        network.output(scale, factor)
        made.append((f"groups{group}", [q, scale], numbers, factor, None))
    return made


def floats(network: Network, given: Operand, x: Floats, tokens: Operand, ids: Codes) -> None:
    """Add float products and tables in f16, with subnormals, and bf16."""
    b, draw = network.builder, network.draw
    halves = draw.standard_normal((VOCABULARY, K)).astype(np.float16)
    halves[:, ::7] *= np.float16(1e-6)
    wide = halves.astype(np.float32)
    table = b.tensor("f16", F16, halves)
    network.output(b.op("Embed", [tokens, table], "f16.embed", K), wide[ids[:, 0]])
    y = b.op("DenseMatMul", [given, table], "f16.product", VOCABULARY)
    network.output(y, lane_sum(x[:, None] * wide))
    upper = (wide.view(np.uint32) >> 16).astype(np.uint16)
    wide = (upper.astype(np.uint32) << 16).view(np.float32)
    y = b.op("DenseMatMul", [given, b.tensor("bf16", BF16, upper)], "bf16.product", VOCABULARY)
    network.output(y, lane_sum(x[:, None] * wide))


def integers(network: Network, int16: Kind, *, final: bool) -> None:
    """Add products of high and low with each weight that has them, and their Rescale.

    The sums are outputs, or only the results, so that fusions may leave the sums out.
    """
    b = network.builder
    _, (high, scale, low), upper, factor, lower = int16
    assert lower is not None
    matrices = [("p2r", P2R, N), ("b1r", B1R, N), ("narrow", B1R, 16), ("s8", 0, N)]
    matrices += [("t5x3", T5X3, N), ("tiles", T5X3, 60)]
    for name, layout, n in matrices:
        if layout:
            product = "TernaryMatMul"
            weight, w = network.weights(f"{name}.sums.weight", layout, n, K)
        else:
            product = "DenseMatMul"
            w = network.draw.integers(-128, 128, (n, K))
            weight = b.tensor("s8.weight", S8, w.astype("i1"))
        shared = network.draw.uniform(0.5, 1.5, n if layout == B1R else 1).astype(np.float32)
        sums = b.op(product, [high, weight], f"{name}.sum", n, S32)
        low_sums = b.op(product, [low, weight], f"{name}.low_sum", n, S32)
        inputs = [sums, scale, b.floats(f"{name}.factor", shared), low_sums]
        y = b.op("Rescale", inputs, f"{name}.rescaled", n)
        total, low_total = upper @ w.T, lower @ w.T
        if final:
            network.output(sums, total, "<i4")
            network.output(low_sums, low_total, "<i4")
        joined = total.astype(np.float32) * np.float32(256) + low_total.astype(np.float32)
        network.output(y, joined * (shared / factor))


def fused(draw: np.random.Generator, x: Floats, _: Codes) -> Network:
    """Every new fusion; what lies between its ops is stored nowhere."""
    network = Network(draw)
    b = network.builder
    given = network.input("x", F32, x.astype("<f4"))
    gate, _ = quantized(x)
    q = b.value("q", S8, K)
    scale = b.value("q.scale", F32, 1)
    b.add("QuantizeRows", [given], [q, scale])
    weight, w = network.weights("gate", B1R, K, K)
    factor = network.draw.uniform(0.5, 1.5, 1).astype(np.float32)
    sums = b.op("TernaryMatMul", [q, weight], "gate.sum", K, S32)
    up = b.op("Rescale", [sums, scale, b.floats("gate.factor", factor)], "up", K)
    rescaled = (gate @ w.T).astype(np.float32) * (factor / quantized(x)[1])
    y = b.op("Silu", [given], "silu", K)
    network.output(b.op("Mul", [y, up], "gated", K), silu(x) * rescaled)
    high, low, scale = b.codes("QuantizeRowsInt16", given, "int16", K)
    upper, lower, by = quantized_int16(x)
    integers(network, ("int16", [high, scale, low], upper, by, lower), final=False)
    b.fuse()
    assert sorted({op.fusion for op in b.file.ops}) == [0, 2, 5, 6, 7]
    return network


# ---- The tests --------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [op_by_op, fused], ids=["op_by_op", "fused"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].name}-{place[1]}")
def test_every_output_has_the_bits_of_the_specification(
    network: Callable[[np.random.Generator, Floats, Codes], Network],
    place: tuple[Target, str],
    libraries: Callable[[Target], Library],
    tmp_path: Path,
) -> None:
    target, core = place
    draw = np.random.default_rng(5)
    x, ids = rows_of_x(draw), draw.integers(0, VOCABULARY, (ROWS, 1))
    ids[0] = VOCABULARY - 1
    made = network(draw, x, ids)
    made.write(tmp_path)
    (tmp_path / "inputs.bin").write_bytes(made.given)
    copy_runtime([source.path for source in sources(target)], tmp_path)
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")

    ways = [("1", 1), ("1", 0xFFFFFFFF)] + [("3", 0xFFFFFFFF)] * target.threads
    for threads, isas in ways:
        words = [str(tmp_path / "model.bitx"), "--network", str(ROWS), "--threads", threads]
        words += ["--isa", str(isas), "--input", str(tmp_path / "inputs.bin")]
        said = map(str.split, run(target, core, program, words).stdout.splitlines())
        observed = {line[1]: bytes.fromhex(line[3]) for line in said if line[0] == "output"}
        assert observed.keys() == made.expected.keys()
        wrong = [name for name, e in made.expected.items() if observed[name] != e.tobytes()]
        assert not wrong, f"{threads} threads, instruction sets {isas:#x}: {wrong}"


def test_scratch_is_that_of_the_product_that_takes_most(
    libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    """Tables of p2b for 48 and for 24 columns: 512 bytes a block, eight rows at a time."""
    target, sizes = find_target("host"), []
    copy_runtime([source.path for source in sources(target)], tmp_path)
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")
    for widths in (48, 24), (24, 48), (24, 24):
        network = Network(np.random.default_rng(0))
        for at, k in enumerate(widths):
            given = network.input(f"x{at}", S8, np.zeros((1, k), np.int8))
            kind, index = network.builder.tensor(f"w{at}", U8, np.zeros(4 * k, np.uint8))
            tensor = network.builder.file.tensors[index]
            tensor.layout, tensor.rank, tensor.shape = P2B, 2, [16, k, 0, 0]
            _, sums = network.builder.op("TernaryMatMul", [given, (kind, index)], f"y{at}", 16, S32)
            network.builder.file.values[sums].role = OUTPUT
        network.write(tmp_path)
        (tmp_path / "inputs.bin").write_bytes(network.given)
        words = [str(tmp_path / "model.bitx"), "--network", "1", "--input"]
        said = run(target, "native", program, [*words, str(tmp_path / "inputs.bin")]).stdout
        (size,) = (line.split()[1] for line in said.splitlines() if line.startswith("arena "))
        sizes.append(int(size))
    assert sizes[0] == sizes[1] == sizes[2] + 8 * 512


@pytest.mark.parametrize("role", [INPUT, OUTPUT])
def test_a_name_stands_for_one_value(
    role: int, libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    target = find_target("host")
    network = Network(np.random.default_rng(0))
    wide = network.input("wide", F32, np.zeros((1, 64), np.float32))
    narrow = network.input("narrow", F32, np.zeros((1, 1), np.float32))
    for given, columns in (wide, 64), (narrow, 1):
        made = network.builder.op("Relu", [given], f"relu.{columns}", columns)
        network.builder.file.values[made[1]].role = OUTPUT
    first, second = (value for value in network.builder.file.values if value.role == role)
    second.name = first.name
    network.write(tmp_path)
    (tmp_path / "inputs.bin").write_bytes(network.given)
    copy_runtime([source.path for source in sources(target)], tmp_path)
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")
    words = [str(tmp_path / "model.bitx"), "--network", "1", "--input"]
    with pytest.raises(RunError, match="status -14 "):
        run(target, "native", program, [*words, str(tmp_path / "inputs.bin")])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("op", ["QuantizeRowsInt4", "QuantizeRowsInt16", "QuantizeGroups"])
def test_what_is_not_finite_is_not_quantized(
    op: str, bad: float, libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    target = find_target("host")
    x = np.zeros((1, tiny.GROUP), np.float32)
    x[0, -1] = bad
    network = Network(np.random.default_rng(0))
    given = network.input("x", F32, x)
    for _, index in network.builder.codes(op, given, "codes", tiny.GROUP):
        network.builder.file.values[index].role = OUTPUT
    network.write(tmp_path)
    (tmp_path / "inputs.bin").write_bytes(network.given)
    copy_runtime([source.path for source in sources(target)], tmp_path)
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")
    words = [
        str(tmp_path / "model.bitx"),
        "--network",
        "1",
        "--input",
        str(tmp_path / "inputs.bin"),
    ]
    with pytest.raises(RunError, match="status -11 "):
        run(target, "native", program, words)
