"""What ops share that move a window over a picture: attributes, sizes, standard ops."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Kinds, Type

ATTRIBUTES: Kinds = {
    "picture": tuple, "kernel_shape": tuple, "strides": tuple, "pads": tuple, "dilations": tuple,
}  # fmt: skip
"""Down, then right; of pads those at the top and left come first, as in ONNX."""
LARGEST_PICTURE, LARGEST_WINDOW = 0xFFFF, 0xFF

TO_PLANES = """
zero = Constant<value_ints = [0]>()
one = Constant<value_ints = [1]>()
two = Constant<value_ints = [2]>()
three = Constant<value_ints = [3]>()
last = Constant<value_ints = [-1]>()
size = Constant<value_ints: ints = @picture>()
floats = Cast<to = 1>(x)
turned = Transpose<perm = [0, 2, 1]>(floats)
planes_shape = Concat<axis = 0>(one, last, size)
planes = Reshape(turned, planes_shape)
"""
"""Of x [1, positions, channels] the float `planes` [1, channels, height, width]."""

PLACES = (
    "kernel_shape: ints = @kernel_shape, strides: ints = @strides, pads: ints = @pads, "
    "dilations: ints = @dilations"
)

FROM_PLANES = """
flat_shape = Constant<value_ints = [1, 0, -1]>()
flat = Reshape(made, flat_shape)
rows = Transpose<perm = [0, 2, 1]>(flat)
"""
"""Of planes `made` the `rows` [1, positions, channels]."""

PATCHES = f"""
{TO_PLANES}
all_of_x = Shape(x)
channels = Slice(all_of_x, two, three)
kernel = Constant<value_ints: ints = @kernel_shape>()
taps = ReduceProd<keepdims = 1>(kernel)
width = Mul(taps, channels)
square = Concat<axis = 0>(width, width)
nothing = ConstantOfShape(square)
eye = EyeLike(nothing)
eye_shape = Concat<axis = 0>(width, kernel, channels)
by_place = Reshape(eye, eye_shape)
picks = Transpose<perm = [0, 3, 1, 2]>(by_place)
made = Conv<{PLACES}>(planes, picks)
{FROM_PLANES}
"""
"""Of x float `rows` [1, steps, kh * kw * channels]; a filter picks each number of a patch."""


def steps(attributes: Attributes) -> tuple[int, int]:
    """Return how often the window stands, down and to the right."""
    size, kernel, strides, pads, dilations = (attributes[name] for name in ATTRIBUTES)
    down, right = (
        (size[at] + pads[at] + pads[at + 2] - dilations[at] * (kernel[at] - 1) - 1) // strides[at]
        + 1
        for at in (0, 1)
    )
    return down, right


def words(attributes: Attributes) -> tuple[int, int, int, int]:
    """Return the attributes as the plan stores them (FORMAT.md, section 3.6)."""
    size, kernel, strides, pads, dilations = (attributes[name] for name in ATTRIBUTES)
    down, right = steps(attributes)
    return (
        size[0] | size[1] << 16, kernel[0] | kernel[1] << 8 | strides[0] << 16 | strides[1] << 24,
        pads[0] | pads[1] << 8 | dilations[0] << 16 | dilations[1] << 24, down | right << 16,
    )  # fmt: skip


def moved(x: Type, attributes: Attributes, columns: int, dtype: ir.DataType) -> tuple[Type, ...]:
    """Return the type of what the window makes of x, a row for each place where it stands."""
    down, right = steps(attributes)
    return (Type(dtype, (x.shape[0], down * right, columns)),)


def channels_of(inputs: Sequence[Type]) -> int:
    """Return the channels of a picture."""
    return int(inputs[0].shape[-1])
