"""Function bodies: a runtime without our kernels computes the same ops.

Integers and look-ups are equal to the reference, bit for bit.  Floats that are summed are near:
the fixture `near` says how near, and why not equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.layouts.p2b import pack as pack_p2b
from bitexport.layouts.p2r import pack
from bitexport.layouts.p16 import pack as pack_p16
from bitexport.layouts.t5x3 import pack as pack_t5x3
from bitexport.ops import DOMAIN, all_ops, function_of
from bitexport_ref.ops.append_cache import append_cache
from bitexport_ref.ops.append_cache_int8 import append_cache_int8
from bitexport_ref.ops.attend import attend
from bitexport_ref.ops.attend_int8 import attend_int8
from bitexport_ref.ops.dense_matmul import dense_matmul_bf16, dense_matmul_f32, dense_matmul_q8
from bitexport_ref.ops.embed import embed_bf16, embed_f32, embed_q8
from bitexport_ref.ops.quantize_rows import quantize_rows
from bitexport_ref.ops.rescale import rescale
from bitexport_ref.ops.rope import rope
from bitexport_ref.ops.ternary_matmul import ternary_matmul

Array = NDArray[Any]
Body = Callable[..., list[Array]]
Near = Callable[[Array, Array], None]

SIZES = [(16, 16), (1, 1), (3, 5), (17, 15), (33, 64), (20, 40), (52, 100)]


@pytest.fixture
def rng() -> np.random.Generator:
    """Return seeded random numbers."""
    return np.random.default_rng(7)


def floats(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Return normal floats."""
    return rng.standard_normal(shape).astype(np.float32)


def codes(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Return codes over the whole range, its ends among them."""
    made = rng.integers(-128, 128, shape).astype(np.int8)
    made.flat[0], made.flat[-1] = -128, 127
    return made


@pytest.mark.parametrize(
    "op_type",
    [form.op_type for op in all_ops().values() if op.domain == DOMAIN for form in op.forms],
)
def test_every_form_has_a_body_that_parses(op_type: str) -> None:
    function = function_of(op_type)
    assert function.name == op_type
    assert function.domain == DOMAIN
    assert function.node
    assert {node.domain for node in function.node} == {""}


# ---- equal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_ternary_matmul_p2r_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    q, trits = codes(rng, 2, 3, k), rng.integers(-1, 2, (n, k)).astype(np.int8)
    found = body(
        "TernaryMatMulP2R", {"q": q, "weight": pack(trits).reshape(-1)}, (np.int32,), n=n, k=k
    )
    np.testing.assert_array_equal(found[0], ternary_matmul(q, trits))


def test_ternary_matmul_p2r_of_any_bytes_is_what_the_format_says_of_them(
    rng: np.random.Generator, body: Body
) -> None:
    """The fourth code acts as +2 in three fields and as -2 in the last (FORMAT.md, 3.3)."""
    data = np.arange(256, dtype=np.uint8)
    trits = np.zeros((64, 16), np.int8)
    for at, byte in enumerate(data.tolist()):
        tile, lane, i = at // 16, at % 16 // 4, at % 4
        for field in range(4):
            code = byte >> 2 * field & 3
            weight = code - 4 * (code > 1) if field == 3 else code - 1
            trits[tile // 4 * 16 + 4 * field + lane, tile % 4 * 4 + i] = weight
    q = codes(rng, 1, 2, 16)
    found = body("TernaryMatMulP2R", {"q": q, "weight": data}, (np.int32,), n=64, k=16)
    np.testing.assert_array_equal(found[0], q.astype(np.int32) @ trits.T.astype(np.int32))


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_ternary_matmul_p2b_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    q, trits = codes(rng, 2, 3, k), rng.integers(-1, 2, (n, k)).astype(np.int8)
    inputs = {"q": q, "weight": pack_p2b(trits)}
    (found,) = body("TernaryMatMulP2B", inputs, (np.int32,), n=n, k=k)
    np.testing.assert_array_equal(found, ternary_matmul(q, trits))


def test_ternary_matmul_p2b_of_any_bytes_is_what_the_format_says_of_them(
    rng: np.random.Generator, body: Body
) -> None:
    """An index above 26 acts as three zeros (FORMAT.md, 3.3)."""
    data = rng.integers(0, 256, (3, 8, 2, 3, 16)).astype(np.uint8)
    trits = np.zeros((48, 192), np.int8)
    for band, block, half, row in np.ndindex(3, 8, 2, 16):
        first, second, third = data[band, block, half, :, row].tolist()
        for at, index in enumerate(
            (first % 32, second % 32, third, first // 32 + second // 64 * 8)
        ):
            digits = (index % 3, index // 3 % 3, index // 9) if index <= 26 else (1, 1, 1)
            column = 24 * block + 12 * half + 3 * at
            trits[16 * band + row, column : column + 3] = np.array(digits) - 1
    q = codes(rng, 1, 2, 192)
    inputs = {"q": q, "weight": data.reshape(-1)}
    (found,) = body("TernaryMatMulP2B", inputs, (np.int32,), n=48, k=192)
    np.testing.assert_array_equal(found, q.astype(np.int32) @ trits.T.astype(np.int32))


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_ternary_matmul_p16_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    q, trits = codes(rng, 2, 3, k), rng.integers(-1, 2, (n, k)).astype(np.int8)
    inputs = {"q": q, "weight": pack_p16(trits)}
    (found,) = body("TernaryMatMulP16", inputs, (np.int32,), n=n, k=k)
    np.testing.assert_array_equal(found, ternary_matmul(q, trits))


def test_ternary_matmul_p16_of_any_bytes_is_what_the_format_says_of_them(
    rng: np.random.Generator, body: Body
) -> None:
    """The last weight of a byte above 242 acts as +2 (FORMAT.md, 3.3)."""
    trits = np.empty((16, 80), np.int8)
    for byte in range(256):
        digits = [byte % 3, byte // 3 % 3, byte // 9 % 3, byte // 27 % 3, byte // 81]
        tile, half, row = byte // 16, byte % 16 // 8, byte % 8
        column = tile % 8 * 10 + 5 * half
        trits[tile // 8 * 8 + row, column : column + 5] = np.array(digits) - 1
    q = codes(rng, 1, 2, 80)
    inputs = {"q": q, "weight": np.arange(256, dtype=np.uint8)}
    (found,) = body("TernaryMatMulP16", inputs, (np.int32,), n=16, k=80)
    np.testing.assert_array_equal(found, q.astype(np.int32) @ trits.T.astype(np.int32))


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_ternary_matmul_t5x3_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    q, trits = codes(rng, 2, 3, k), rng.integers(-1, 2, (n, k)).astype(np.int8)
    inputs = {"q": q, "weight": pack_t5x3(trits)}
    (found,) = body("TernaryMatMulT5X3", inputs, (np.int32,), n=n, k=k)
    np.testing.assert_array_equal(found, ternary_matmul(q, trits))


def test_ternary_matmul_t5x3_of_any_bytes_is_what_the_format_says_of_them(
    rng: np.random.Generator, body: Body
) -> None:
    """The last weight of a code above 26 acts as +2 (FORMAT.md, 3.3)."""
    data = rng.integers(0, 256, (3, 2, 5, 4, 4)).astype(np.uint8)
    trits = np.empty((36, 64), np.int8)
    for band, tile, lane, i in np.ndindex(3, 2, 4, 4):
        b = data[band, tile, :, lane, i].tolist()
        code = [each // 8 for each in b]
        code += [b[0] % 8 + b[1] % 8 // 2 * 8, b[2] % 8 + b[3] % 8 // 2 * 8]
        code += [b[4] % 8 + b[1] % 2 * 8 + b[3] % 2 * 16]
        for group, each in enumerate(code):
            rows = slice(12 * band + lane, 12 * band + 12, 4)
            digits = np.array([each % 3, each // 3 % 3, each // 9])
            trits[rows, 32 * tile + 4 * group + i] = digits - 1
    q = codes(rng, 1, 2, 64)
    inputs = {"q": q, "weight": data.reshape(-1)}
    (found,) = body("TernaryMatMulT5X3", inputs, (np.int32,), n=36, k=64)
    np.testing.assert_array_equal(found, q.astype(np.int32) @ trits.T.astype(np.int32))


def test_ternary_matmul_before_a_layout_is_chosen_is_equal(
    rng: np.random.Generator, body: Body
) -> None:
    q, trits = codes(rng, 1, 3, 20), rng.integers(-1, 2, (9, 20)).astype(np.int8)
    found = body("TernaryMatMul", {"q": q, "weight": trits}, (np.int32,), n=9, k=20)
    np.testing.assert_array_equal(found[0], ternary_matmul(q, trits))


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_dense_matmul_q8_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    q, weight = codes(rng, 1, 3, k), codes(rng, n, k)
    found = body("DenseMatMulQ8", {"q": q, "weight": weight}, (np.int32,))
    np.testing.assert_array_equal(found[0], dense_matmul_q8(q, weight))


@pytest.mark.parametrize("columns", [1, 7, 64, 100])
def test_quantize_rows_is_equal(columns: int, rng: np.random.Generator, body: Body) -> None:
    """Every step is one rounded operation, so onnxruntime has no freedom; scales are equal too."""
    x = floats(rng, 2, 50, columns) * np.exp(5 * floats(rng, 2, 50, 1))
    x[0, 0], x[0, 1] = 0, 1e-7  # both below the smallest divisor, 1e-5
    q, scale = body("QuantizeRows", {"x": x}, (np.int8, np.float32))
    expected_q, expected_scale = quantize_rows(x)
    np.testing.assert_array_equal(scale, expected_scale)
    scaled = x * expected_scale
    away = np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) > 1e-4
    assert away.mean() > 0.99
    np.testing.assert_array_equal(q[away], expected_q[away])


@pytest.mark.parametrize("columns", [1, 7, 64, 100])
def test_quantize_rows_int16_is_equal(columns: int, rng: np.random.Generator, body: Body) -> None:
    x = floats(rng, 2, 50, columns) * np.exp(5 * floats(rng, 2, 50, 1))
    x[0, 0], x[0, 1] = 0, 1e-7
    high, low, scale = body("QuantizeRowsInt16", {"x": x}, (np.int8, np.int8, np.float32))
    f32 = np.float32
    expected_scale = f32(32512) / np.maximum(np.abs(x).max(axis=-1, keepdims=True), f32(1e-5))
    np.testing.assert_array_equal(scale, expected_scale)
    expected = np.clip(np.rint(x * expected_scale), -32512, 32512).astype(np.int32)
    np.testing.assert_array_equal(high, (expected + 128) // 256)
    np.testing.assert_array_equal(low, expected - 256 * ((expected + 128) // 256))


@pytest.mark.parametrize(("columns", "group"), [(1, 16), (16, 16), (100, 32), (300, 128)])
def test_quantize_groups_is_equal_to_quantize_rows_of_each_group(
    columns: int, group: int, rng: np.random.Generator, body: Body
) -> None:
    x = floats(rng, 2, 5, columns) * np.exp(3 * floats(rng, 2, 5, columns))
    q, scale = body("QuantizeGroups", {"x": x}, (np.int8, np.float32), group=group)
    assert scale.shape == (2, 5, -(-columns // group))
    for g in range(scale.shape[-1]):
        part = slice(g * group, (g + 1) * group)
        alone_q, alone_scale = body(
            "QuantizeRows", {"x": x[..., part].copy()}, (np.int8, np.float32)
        )
        np.testing.assert_array_equal(q[..., part], alone_q)
        np.testing.assert_array_equal(scale[..., g : g + 1], alone_scale)


def test_embed_f32_is_equal(rng: np.random.Generator, body: Body) -> None:
    ids, table = rng.integers(0, 11, (2, 5)), floats(rng, 11, 6)
    found = body("EmbedF32", {"ids": ids, "table": table}, (np.float32,))
    np.testing.assert_array_equal(found[0], embed_f32(ids, table))


def test_embed_bf16_is_equal(rng: np.random.Generator, body: Body) -> None:
    ids, table = rng.integers(0, 11, (2, 5)), (floats(rng, 11, 6).view(np.uint32) >> 16)
    bits = table.astype(np.uint16)
    found = body("EmbedBf16", {"ids": ids, "table": bits}, (np.float32,))
    np.testing.assert_array_equal(found[0], embed_bf16(ids, bits))


def test_embed_f16_is_equal(rng: np.random.Generator, body: Body) -> None:
    ids, table = rng.integers(0, 11, (2, 5)), (1e-4 * floats(rng, 11, 6)).astype(np.float16)
    found = body("EmbedF16", {"ids": ids, "table": table}, (np.float32,))
    np.testing.assert_array_equal(found[0], table.astype(np.float32)[ids])


def test_embed_q8_is_equal(rng: np.random.Generator, body: Body) -> None:
    ids, table = rng.integers(0, 11, (2, 5)), codes(rng, 11, 6)
    scale = np.abs(floats(rng, 11))
    found = body("EmbedQ8", {"ids": ids, "table": table, "scale": scale}, (np.float32,))
    np.testing.assert_array_equal(found[0], embed_q8(ids, table, scale))


@pytest.mark.parametrize("size", [1, 9])
def test_rescale_is_equal(size: int, rng: np.random.Generator, body: Body) -> None:
    total = rng.integers(-(1 << 30), 1 << 30, (2, 3, 9)).astype(np.int32)
    scale, weight_scale = np.abs(floats(rng, 2, 3, 1)) + 1, np.abs(floats(rng, size))
    inputs = {"sum": total, "scale": scale, "weight_scale": weight_scale}
    found = body("Rescale", inputs, (np.float32,))
    np.testing.assert_array_equal(found[0], rescale(total, scale, weight_scale))


@pytest.mark.parametrize("size", [1, 9])
def test_rescale_int16_is_equal(size: int, rng: np.random.Generator, body: Body) -> None:
    total, low = (rng.integers(-(1 << 30), 1 << 30, (2, 3, 9)).astype(np.int32) for _ in "hl")
    scale, weight_scale = np.abs(floats(rng, 2, 3, 1)) + 1, np.abs(floats(rng, size))
    inputs = {"sum": total, "scale": scale, "weight_scale": weight_scale, "low_sum": low}
    found = body("RescaleInt16", inputs, (np.float32,))
    wide = total.astype(np.float32) * np.float32(256) + low.astype(np.float32)
    np.testing.assert_array_equal(found[0], wide * (weight_scale / scale))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("past", [0, 4])
def test_append_cache_is_equal(
    past: int, dtype: type[np.floating[Any]], rng: np.random.Generator, body: Body
) -> None:
    before = floats(rng, 1, 2, past, 6).astype(dtype)
    x = 100 * floats(rng, 1, 3, 12)
    found = body("AppendCache", {"past": before, "x": x}, (dtype,), heads=2)
    np.testing.assert_array_equal(found[0], append_cache(before, x, heads=2))


@pytest.mark.parametrize("past", [0, 4])
def test_append_cache_int8_is_equal(past: int, rng: np.random.Generator, body: Body) -> None:
    before = {
        "past": codes(rng, 1, 2, max(past, 1), 6)[:, :, :past],
        "past_scale": np.abs(floats(rng, 1, 2, past, 1)),
    }
    x = 100 * floats(rng, 1, 3, 12)
    x[0, 1, :6] = 0
    x[0, 2] *= np.float32(1e-9)
    found = body("AppendCacheInt8", {**before, "x": x}, (np.int8, np.float32), heads=2)
    expected = append_cache_int8(before["past"], before["past_scale"], x, heads=2)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# ---- near ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(16, 16), (3, 5), (33, 300)])
def test_dense_matmul_f32_is_near(
    n: int, k: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    x, weight = floats(rng, 1, 4, k), floats(rng, n, k)
    found = body("DenseMatMulF32", {"x": x, "weight": weight}, (np.float32,))
    near(found[0], dense_matmul_f32(x, weight))


@pytest.mark.parametrize(("n", "k"), [(16, 16), (3, 5), (33, 300)])
def test_dense_matmul_bf16_is_near(
    n: int, k: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    x = floats(rng, 1, 4, k)
    weight = (floats(rng, n, k).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    found = body("DenseMatMulBf16", {"x": x, "weight": weight}, (np.float32,))
    near(found[0], dense_matmul_bf16(x, weight))


@pytest.mark.parametrize(("n", "k"), [(16, 16), (3, 5), (33, 300)])
def test_dense_matmul_f16_is_near(
    n: int, k: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    x, weight = floats(rng, 1, 4, k), floats(rng, n, k).astype(np.float16)
    found = body("DenseMatMulF16", {"x": x, "weight": weight}, (np.float32,))
    near(found[0], dense_matmul_f32(x, weight.astype(np.float32)))


@pytest.mark.parametrize(("heads", "d"), [(1, 1), (1, 5), (1, 1000), (4, 16), (3, 5)])
def test_rms_norm_is_near(
    heads: int, d: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    x, weight = 3 * floats(rng, 2, 4, heads * d), floats(rng, d)
    attributes = {"epsilon": 1e-5, "heads": heads}
    (found,) = body("RmsNorm", {"x": x, "weight": weight}, (np.float32,), **attributes)
    assert found.shape == x.shape
    by_head = x.reshape(2, 4, heads, d).astype(np.float64)
    root = np.sqrt((by_head**2).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    near(found.reshape(by_head.shape), (by_head / root * weight).astype(np.float32))


@pytest.mark.parametrize("columns", [1, 5, 64, 1000])
def test_quantize_rows_int4_is_near(
    columns: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    """The mean is a sum; with another scale in the last bits, a code may differ next to a tie."""
    x = floats(rng, 2, 50, columns) * np.exp(5 * floats(rng, 2, 50, 1))
    x[0, 0] = 0
    q, scale = body("QuantizeRowsInt4", {"x": x}, (np.int8, np.float32))
    mean = np.abs(x.astype(np.float64)).mean(axis=-1, keepdims=True)
    expected = np.sqrt(7) / np.maximum(mean, np.float32(1e-5))
    near(scale, expected.astype(np.float32))
    scaled = x * expected
    away = np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) > 1e-4
    assert away.mean() > 0.99
    np.testing.assert_array_equal(q[away], np.clip(np.rint(scaled), -8, 7)[away])


def test_silu_is_near(rng: np.random.Generator, body: Body) -> None:
    """Each element by itself: 4e-7 of it, three roundings, and what an exp may be off."""
    x = np.concatenate([30 * floats(rng, 1000), [0, -0.0, 88, -88, 1e4, -1e4]])[None]
    (found,) = body("Silu", {"x": x.astype(np.float32)}, (np.float32,))
    wide = x.astype(np.float32).astype(np.float64)
    expected = wide / (1 + np.exp(np.minimum(-wide, 700)))
    np.testing.assert_allclose(found, expected, rtol=4e-7, atol=1e-37)


@pytest.mark.parametrize("past", [0, 5])
@pytest.mark.parametrize(("heads", "d"), [(1, 2), (4, 10), (2, 16)])
def test_rope_is_near(
    heads: int, d: int, past: int, rng: np.random.Generator, body: Body, near: Near
) -> None:
    x, cos, sin = floats(rng, 1, 3, heads * d), floats(rng, 9, d // 2), floats(rng, 9, d // 2)
    length = np.array([past])
    inputs = {"x": x, "cos": cos, "sin": sin, "past_length": length}
    found = body("Rope", inputs, (np.float32,), heads=heads)
    near(found[0], rope(x, cos, sin, length, heads=heads))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("past", "rows"), [(0, 1), (0, 7), (5, 1), (13, 3)])
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(4, 2, 16), (4, 4, 10), (6, 1, 8)])
def test_attend_is_near(
    heads: int, kv_heads: int, d: int, past: int, rows: int, dtype: type[np.floating[Any]],
    rng: np.random.Generator, body: Body, near: Near,
) -> None:  # fmt: skip
    query = floats(rng, 1, rows, heads * d)
    key = floats(rng, 1, kv_heads, past + rows, d).astype(dtype)
    value = floats(rng, 1, kv_heads, past + rows, d).astype(dtype)
    scale = float(np.float32(d**-0.5))
    attributes = {"heads": heads, "kv_heads": kv_heads, "scale": scale}
    inputs = {"query": query, "key": key, "value": value}
    found = body("Attend", inputs, (np.float32,), **attributes)
    near(found[0], attend(query, key, value, heads=heads, kv_heads=kv_heads, scale=scale))


@pytest.mark.parametrize(("past", "rows"), [(0, 1), (0, 7), (13, 3)])
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(4, 2, 16), (4, 4, 10), (6, 1, 8)])
def test_attend_int8_is_near(
    heads: int, kv_heads: int, d: int, past: int, rows: int, rng: np.random.Generator, body: Body,
    near: Near,
) -> None:  # fmt: skip
    shape = (1, kv_heads, past + rows)
    inputs = {
        "query": floats(rng, 1, rows, heads * d),
        "key": codes(rng, *shape, d), "key_scale": np.abs(floats(rng, *shape, 1)) / 50,
        "value": codes(rng, *shape, d), "value_scale": np.abs(floats(rng, *shape, 1)) / 50,
    }  # fmt: skip
    attributes = {"heads": heads, "kv_heads": kv_heads, "scale": float(np.float32(d**-0.5))}
    found = body("AttendInt8", inputs, (np.float32,), **attributes)
    near(found[0], attend_int8(*inputs.values(), **attributes))
