"""Function bodies of the ops of networks: stock onnxruntime computes what the reference does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.ops._windows import words
from bitexport_ref.ops.affine import affine, affine_s8, affine_s32
from bitexport_ref.ops.channels_first import channels_first, channels_first_s8
from bitexport_ref.ops.channels_last import channels_last
from bitexport_ref.ops.depthwise_conv import depthwise_conv
from bitexport_ref.ops.patches import patches, patches_s8
from bitexport_ref.ops.pool_max import pool_max, pool_max_s8
from bitexport_ref.ops.pool_mean import pool_mean
from bitexport_ref.ops.quantize_fixed import quantize_fixed
from bitexport_ref.ops.threshold import threshold, threshold_s32

Array = NDArray[Any]
Body = Callable[..., list[Array]]
Near = Callable[[Array, Array], None]

DRAW = np.random.default_rng(5)
WINDOWS = [
    {"picture": (5, 7), "kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1),
     "dilations": (1, 1)},
    {"picture": (6, 6), "kernel_shape": (2, 3), "strides": (1, 2), "pads": (0, 0, 0, 0),
     "dilations": (1, 1)},
    {"picture": (1, 9), "kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0),
     "dilations": (1, 1)},
]  # fmt: skip
DILATED = {"picture": (7, 8), "kernel_shape": (3, 2), "strides": (1, 2), "pads": (1, 2, 3, 0),
           "dilations": (2, 3)}  # fmt: skip


def floats(*shape: int) -> NDArray[np.float32]:
    """Return normal floats."""
    return DRAW.standard_normal(shape).astype(np.float32)


def codes(*shape: int) -> NDArray[np.int8]:
    """Return codes over the whole range."""
    return DRAW.integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("columns", [1, 6])
def test_affine_is_equal(columns: int, body: Body) -> None:
    factor, offset = floats(columns), floats(1)
    sums = DRAW.integers(-(2**31), 2**31, (2, 6)).astype(np.int32)
    for op, function, x in (("Affine", affine, floats(2, 6)), ("AffineS8", affine_s8, codes(2, 6)),
                            ("AffineS32", affine_s32, sums)):  # fmt: skip
        given = {"x": x, "factor": factor, "offset": offset}
        (found,) = body(op, given, (np.float32,))
        np.testing.assert_array_equal(found, function(x, factor, offset))


@pytest.mark.parametrize("columns", [1, 6])
@pytest.mark.parametrize(("start", "step"), [(-1, 2), (0, 1), (7, -1)])
def test_threshold_is_equal(columns: int, start: int, step: int, body: Body) -> None:
    levels = np.sort(DRAW.integers(-50, 50, (4, columns)), axis=0)
    x = DRAW.integers(-60, 60, (2, 3, 6))
    given: dict[str, Array] = {"x": x.astype(np.int32), "levels": levels.astype(np.int32)}
    (found,) = body("ThresholdS32", given, (np.int8,), start=start, step=step)
    np.testing.assert_array_equal(found, threshold_s32(**given, start=start, step=step))
    given = {name: array.astype(np.float32) for name, array in given.items()}
    (found,) = body("Threshold", given, (np.int8,), start=start, step=step)
    np.testing.assert_array_equal(found, threshold(**given, start=start, step=step))


def test_quantize_fixed_is_equal(body: Body) -> None:
    x = 10 * floats(3, 50)
    said = {"scale": 0.25, "least": -16.0, "most": 15.0}
    (found,) = body("QuantizeFixed", {"x": x}, (np.int8,), **said)
    np.testing.assert_array_equal(found, quantize_fixed(x, **said))


def test_planes_and_positions_are_equal(body: Body) -> None:
    x = floats(1, 3, 4, 5)
    (found,) = body("ChannelsLast", {"x": x}, (np.float32,), channels=3)
    np.testing.assert_array_equal(found, channels_last(x, channels=3))
    (back,) = body("ChannelsFirst", {"x": found}, (np.float32,))
    np.testing.assert_array_equal(back, channels_first(found))
    (back,) = body("ChannelsFirstS8", {"x": codes(1, 4, 3)}, (np.int8,))
    assert back.shape == channels_first_s8(codes(1, 4, 3)).shape


@pytest.mark.parametrize("window", [*WINDOWS, DILATED])
def test_patches_and_depthwise_are_equal(window: dict[str, Any], body: Body) -> None:
    size, places = np.prod(window["picture"]), np.prod(window["kernel_shape"])
    x, q = floats(1, size, 3), codes(1, size, 3)
    (found,) = body("Patches", {"x": x}, (np.float32,), **window)
    np.testing.assert_array_equal(found, patches(x, **window))
    (found,) = body("PatchesS8", {"x": q}, (np.int8,), **window)
    np.testing.assert_array_equal(found, patches_s8(q, **window))
    weight = DRAW.integers(-1, 2, (places, 3)).astype(np.int8)
    (found,) = body("DepthwiseConv", {"x": q, "weight": weight}, (np.int32,), **window)
    np.testing.assert_array_equal(found, depthwise_conv(q, weight, **window))


@pytest.mark.parametrize("window", WINDOWS)
def test_pools_are_equal_and_means_near(window: dict[str, Any], body: Body, near: Near) -> None:
    size = np.prod(window["picture"])
    x, q = floats(1, size, 3), codes(1, size, 3)
    (found,) = body("PoolMax", {"x": x}, (np.float32,), **window)
    np.testing.assert_array_equal(found, pool_max(x, **window))
    (found,) = body("PoolMaxS8", {"x": q}, (np.int8,), **window)
    np.testing.assert_array_equal(found, pool_max_s8(q, **window))
    (found,) = body("PoolMean", {"x": x}, (np.float32,), **window)
    near(found, pool_mean(x, **window))


def test_a_window_is_packed_as_the_format_says() -> None:
    assert words(DILATED) == (
        7 | 8 << 16, 3 | 2 << 8 | 1 << 16 | 2 << 24, 1 | 2 << 8 | 2 << 16 | 3 << 24, 7 | 4 << 16
    )  # fmt: skip
