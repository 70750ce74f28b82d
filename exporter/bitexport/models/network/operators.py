"""What each operator of a network means: elementwise steps, quantizers, shapes, windows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bitexport.errors import CheckpointError
from bitexport.models.network import steps
from bitexport.models.network.flows import Codes, Emitter, Flow, Numbers
from bitexport.models.network.layers import Layer, Layers
from bitexport.models.network.quantizers import Quantizer, bounds
from bitexport.models.network.windows import attributes_of_window, size_behind

Array = NDArray[Any]
PICTURE_RANK = 4
LEAST_CODE, MOST_CODE = -128, 127
MOST_BITS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A node with its inputs: flows and constants."""

    node: onnx.NodeProto
    where: str
    attributes: Mapping[str, Any]
    given: Sequence[Array | Flow | None]
    name: str
    emitter: Emitter
    layers: Layers
    opset: int
    notes: Mapping[str, str]

    @property
    def flow(self) -> Flow:
        """The first input, which flows."""
        first = self.given[0]
        if not isinstance(first, Flow):
            raise self.refusal("its first input is a constant", "exchange its inputs")
        return first

    def constant(self, at: int, what: str) -> Array:
        """Return an input that must be a constant."""
        found = self.given[at] if at < len(self.given) else None
        if not isinstance(found, np.ndarray):
            raise self.refusal(f"its {what} is not constant", "export the model with constants")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise self.refusal(f"its {what} holds a NaN or an infinity", "train or export it again")
        return found

    def optional(self, at: int, what: str) -> Array | None:
        """Return an input that may be left out."""
        missing = at >= len(self.given) or self.given[at] is None
        return None if missing else self.constant(at, what)

    def vector(self, constant: Array) -> NDArray[np.float32]:
        """Return a constant that goes with the flow, [1] or [columns]."""
        found = self.flow.vector(constant)
        if found is None:
            raise self.refusal(
                f"a constant of shape {list(constant.shape)} does not go with each channel of "
                f"{list(self.flow.shape)}",
                "one number, or one for each channel, is supported",
            )
        return found

    def refusal(self, what: str, hint: str) -> CheckpointError:
        """Return the error that says what of this node is not supported."""
        return CheckpointError(f"{self.where}: {what}", hint=hint)


# ---- elementwise -------------------------------------------------------------------------------


def _two(call: Call) -> tuple[Flow, Flow] | None:
    """Return both inputs if both flow, in one form."""
    first, second = call.given[:2]
    if not (isinstance(first, Flow) and isinstance(second, Flow)):
        return None
    if (first.shape, first.picture) != (second.shape, second.picture):
        raise call.refusal(
            f"its inputs have shapes {list(first.shape)} and {list(second.shape)}",
            "values that flow are combined only where their shapes are equal",
        )
    return first, second


def _combined(call: Call, op_type: str, first: Flow, second: Flow) -> Flow:
    """Return a standard op of two values that flow."""
    values = [call.emitter.floats(each) for each in (first, second)]
    made = call.emitter.op(op_type, values, call.name)
    return Flow(call.name, first.shape, Numbers(made), first.picture)


def _with_constant(call: Call) -> tuple[Flow, NDArray[np.float32], bool]:
    """Return the flow, the constant that goes with it, and whether the constant came first."""
    swapped = not isinstance(call.given[0], Flow)
    turned = dataclasses.replace(call, given=call.given[::-1]) if swapped else call
    return turned.flow, turned.vector(turned.constant(1, "second input")), swapped


def add(call: Call) -> Flow:
    """Add."""
    if both := _two(call):
        return _combined(call, "Add", *both)
    flow, c, _ = _with_constant(call)
    return flow.then(steps.add(c), call.name)


def sub(call: Call) -> Flow:
    """Sub, of a constant from a flow or the other way round."""
    if both := _two(call):
        first, second = both
        minus = call.emitter.affine(
            call.emitter.floats(second), -np.ones(1), np.zeros(1), f"{call.name}.minus"
        )
        turned = Flow(f"{call.name}.minus", second.shape, Numbers(minus), second.picture)
        return _combined(call, "Add", first, turned)
    flow, c, swapped = _with_constant(call)
    return flow.then(steps.subtract_from(c) if swapped else steps.subtract(c), call.name)


def mul(call: Call) -> Flow:
    """Mul; codes times one positive number are codes with another scale."""
    if both := _two(call):
        return _combined(call, "Mul", *both)
    flow, c, _ = _with_constant(call)
    return flow.then(steps.multiply(c), call.name)


def div(call: Call) -> Flow:
    """Div by a constant."""
    if _two(call) or not isinstance(call.given[0], Flow):
        raise call.refusal("it divides by a value that flows", "multiply by a constant instead")
    flow, c, _ = _with_constant(call)
    if not np.all(c):
        raise call.refusal("it divides by 0", "train or export it again")
    return flow.then(steps.divide(c), call.name)


def batch_normalization(call: Call) -> Flow:
    """BatchNormalization with the statistics of training."""
    if call.attributes.get("training_mode") or not call.attributes.get("spatial", 1):
        raise call.refusal("it computes statistics", "export the model for inference")
    flow = call.flow
    by_channel = (-1,) + (1,) * (len(flow.shape) - 2)
    scale, bias, mean, variance = (
        call.vector(call.constant(at, what).astype(np.float32).reshape(by_channel))
        for at, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    epsilon = np.float32(call.attributes.get("epsilon", 1e-5))
    if not np.all(variance + epsilon > 0):
        raise call.refusal("a variance is not above 0", "train or export it again")
    return flow.then(steps.normalize(scale, bias, mean, variance, epsilon), call.name)


def relu(call: Call) -> Flow:
    """Relu."""
    return call.flow.then(steps.relu(), call.name)


def clip(call: Call) -> Flow:
    """Clip, or HardTanh: its bounds are attributes before opset 11, then inputs."""
    found = []
    for at, key in ((1, "min"), (2, "max")):
        given = call.optional(at, key)
        bound = call.attributes.get(key) if given is None else given
        infinite = -np.inf if key == "min" else np.inf
        found.append(np.float32(infinite if bound is None else np.asarray(bound).reshape(-1)[0]))
    least, most = found
    if least == 0 and most == np.inf:
        return call.flow.then(steps.relu(), call.name)
    return call.flow.then(steps.clip(least, most), call.name)


def same(call: Call) -> Flow:
    """Identity and what is that at inference."""
    if call.node.op_type == "Cast" and call.attributes.get("to") != onnx.TensorProto.FLOAT:
        raise call.refusal("it makes other numbers than float32", "leave the network in float32")
    flow = call.flow
    return Flow(call.name, flow.shape, flow.source, flow.picture, flow.steps)


def softmax(call: Call) -> Flow:
    """Softmax over the last axis of a row."""
    flow = call.flow
    axis = call.attributes.get("axis", -1 if call.opset > 12 else 1) % len(flow.shape)  # noqa: PLR2004
    if flow.picture or math.prod(flow.shape[1:]) != flow.shape[axis]:
        raise call.refusal("it is not over all that a sample has", "flatten before Softmax")
    made = call.emitter.op("Softmax", [call.emitter.floats(flow)], call.name)
    return Flow(call.name, flow.shape, Numbers(made))


# ---- quantizers --------------------------------------------------------------------------------


def _scalar(where: str, array: Array | None, what: str) -> np.float32:
    """Return the one number of an array."""
    if array is None or array.size == 0 or not np.all(array == array.reshape(-1)[0]):
        raise CheckpointError(
            f"{where}: its {what} is not one number",
            hint="activations are quantized with one scale for the whole layer",
        )
    return np.float32(array.reshape(-1)[0])


def _checked(where: str, quantizer: Quantizer) -> Quantizer:
    if not (np.isfinite(quantizer.scale) and quantizer.scale > 0):
        raise CheckpointError(
            f"{where}: its scale is {quantizer.scale}", hint="a scale is a number above 0"
        )
    return quantizer


def qonnx_quant(
    where: str, attributes: Mapping[str, Any], given: Sequence[Array | None]
) -> Quantizer:
    """Return what a QONNX `Quant` is."""
    scale, zero, bits = (
        _scalar(where, array, what)
        for array, what in zip(given, ("scale", "zero point", "bit width"), strict=True)
    )
    mode = str(attributes.get("rounding_mode", "ROUND")).upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise CheckpointError(
            f"{where}: its rounding_mode is {mode}", hint="numbers are rounded half to even: ROUND"
        )
    if zero != 0:
        raise CheckpointError(
            f"{where}: its zero point is {zero:g}", hint="Quant is taken with a zero point of 0"
        )
    if bits != int(bits) or not 1 <= bits <= 32:  # noqa: PLR2004
        raise CheckpointError(f"{where}: {bits:g} bits", hint="a width is a number from 1 to 32")
    signed, narrow = (bool(attributes.get(key, 1 - at)) for at, key in enumerate(
        ("signed", "narrow")))  # fmt: skip
    if bits == 1 and signed:
        return _checked(where, Quantizer(scale, -1, 1, step=2))
    least, most = bounds(int(bits), signed=signed, narrow=narrow)
    return _checked(where, Quantizer(scale, least, most))


def bipolar_quant(where: str, _: Mapping[str, Any], given: Sequence[Array | None]) -> Quantizer:
    """Return what a QONNX `BipolarQuant` is."""
    return _checked(where, Quantizer(_scalar(where, given[0], "scale"), -1, 1, step=2))


QUANTIZERS: Mapping[str, Callable[[str, Mapping[str, Any], Sequence[Array | None]], Quantizer]] = {
    "Quant": qonnx_quant,
    "IntQuant": qonnx_quant,
    "BipolarQuant": bipolar_quant,
}


def quantize(
    call: Call,
    read: Callable[[str, Mapping[str, Any], Sequence[Array | None]], Quantizer],
) -> Flow:
    """Quantize a flow as an operator of QONNX says."""
    given = [call.constant(at, "scale, zero point or width") for at in range(1, len(call.given))]
    return _to_codes(call, read(call.where, call.attributes, given))


def _to_codes(call: Call, quantizer: Quantizer) -> Flow:
    if quantizer.least < LEAST_CODE or quantizer.most > MOST_CODE:
        raise call.refusal(
            f"codes from {quantizer.least} to {quantizer.most} do not fit int8",
            "quantize activations to 8 bits with a sign, or to 7 without one",
        )
    return call.emitter.quantized(call.flow, quantizer, call.name)


def quantize_linear(call: Call) -> Flow:
    """QuantizeLinear to 8 bits or fewer; the codes are those less the zero point."""
    scale = _scalar(call.where, call.constant(1, "scale"), "scale")
    zero = call.optional(2, "zero point")
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    shift = 0 if zero is None else int(_scalar(call.where, zero.astype(np.int64), "zero point"))
    bits = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "int8": 8, "uint8": 8}.get(kind.name)
    if bits is None:
        raise call.refusal(f"it makes {kind.name}", "quantize to 8 bits or fewer")
    least, most = bounds(bits, signed=not kind.name.startswith("u"), narrow=False)
    flow = _to_codes(call, _checked(call.where, Quantizer(scale, least - shift, most - shift)))
    assert isinstance(flow.source, Codes)
    return dataclasses.replace(flow, source=dataclasses.replace(flow.source, zero=shift))


def dequantize_linear(call: Call) -> Flow:
    """DequantizeLinear behind QuantizeLinear: the codes stand for the same numbers."""
    flow = call.flow
    scale = _scalar(call.where, call.constant(1, "scale"), "scale")
    given = call.optional(2, "zero point")
    zero = 0 if given is None else int(_scalar(call.where, given.astype(np.int64), "zero point"))
    codes = flow.source
    if not isinstance(codes, Codes) or flow.steps or (codes.scale, codes.zero) != (scale, zero):
        raise call.refusal(
            "it does not undo the QuantizeLinear before it", "use one scale and zero point for both"
        )
    return Flow(call.name, flow.shape, flow.source, flow.picture)


# ---- shapes ------------------------------------------------------------------------------------


def flattened(emitter: Emitter, flow: Flow, name: str) -> Flow:
    """Return a picture as one row, a plane for each channel."""
    shape = (1, math.prod(flow.shape[1:]))
    if isinstance(flow.source, Codes) and not flow.steps:
        made = emitter.op("ChannelsFirstS8", [flow.source.value], f"{name}.codes")
        return Flow(name, shape, dataclasses.replace(flow.source, value=made))
    made = emitter.op("ChannelsFirst", [emitter.floats(flow)], name)
    return Flow(name, shape, Numbers(made))


def _reshaped(call: Call, shape: tuple[int, ...]) -> Flow:
    flow = call.flow
    if math.prod(shape) != math.prod(flow.shape) or shape[:1] != (1,):
        raise call.refusal(
            f"shape {list(flow.shape)} does not become {list(shape)} sample by sample",
            "the batch stays the first dimension",
        )
    if flow.picture:
        if shape == flow.shape:
            return Flow(call.name, shape, flow.source, picture=True, steps=flow.steps)
        if math.prod(shape[2:]) != 1:
            raise call.refusal(
                f"a picture {list(flow.shape)} becomes {list(shape)}", "flatten it to one row"
            )
        row = flattened(call.emitter, flow, call.name)
        return dataclasses.replace(row, shape=shape)
    return Flow(call.name, shape, flow.source, steps=flow.steps)


def reshape(call: Call) -> Flow:
    """Reshape, its shape an input or, before opset 5, an attribute."""
    given = call.optional(1, "shape")
    wanted = call.attributes["shape"] if given is None else given.reshape(-1).tolist()
    old = call.flow.shape
    if not call.attributes.get("allowzero"):
        wanted = [
            old[at] if size == 0 and at < len(old) else size for at, size in enumerate(wanted)
        ]
    known = math.prod(size for size in wanted if size != -1)
    rest = math.prod(old) // known if known else 0
    return _reshaped(call, tuple(rest if size == -1 else int(size) for size in wanted))


def flatten(call: Call) -> Flow:
    """Flatten from some axis on."""
    shape, axis = call.flow.shape, call.attributes.get("axis", 1)
    axis %= len(shape) + 1
    return _reshaped(call, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def squeeze(call: Call) -> Flow:
    """Squeeze and Unsqueeze of dimensions of 1."""
    given = call.optional(1, "axes")
    axes = call.attributes.get("axes") if given is None else given.reshape(-1).tolist()
    shape = list(call.flow.shape)
    if call.node.op_type == "Unsqueeze":
        rank = len(shape) + len(axes or ())
        for axis in sorted(at % rank for at in axes or ()):
            shape.insert(axis, 1)
    else:
        every = [at for at, size in enumerate(shape) if at and size == 1]
        drop = every if axes is None else [at % len(shape) for at in axes]
        shape = [size for at, size in enumerate(shape) if at not in drop]
    return _reshaped(call, tuple(shape))


# ---- windows -----------------------------------------------------------------------------------


def _pool(call: Call, op_type: str, window: Mapping[str, Any]) -> Flow:
    flow = call.flow
    shape = (1, flow.shape[1], *size_behind(window))
    if op_type == "PoolMax" and isinstance(flow.source, Codes) and not flow.steps:
        made = call.emitter.op("PoolMaxS8", [flow.source.value], f"{call.name}.codes", **window)
        return Flow(call.name, shape, dataclasses.replace(flow.source, value=made), picture=True)
    made = call.emitter.op(op_type, [call.emitter.floats(flow)], call.name, **window)
    return Flow(call.name, shape, Numbers(made), picture=True)


def pool(call: Call) -> Flow:
    """MaxPool and AveragePool."""
    if not call.flow.picture:
        raise call.refusal(
            f"its input of shape {list(call.flow.shape)} is no picture",
            "pictures have batch, channels, height and width",
        )
    window = attributes_of_window(call.where, call.attributes, call.flow.shape, None)
    is_mean = call.node.op_type == "AveragePool"
    if any(size != 1 for size in window["dilations"]):
        raise call.refusal("it has dilations", "pools are taken without them")
    padded = any(window["pads"])
    if is_mean and padded and call.attributes.get("count_include_pad"):
        raise call.refusal("it counts padding", "count_include_pad=0, or no padding")
    if any(pad >= size for pad, size in zip(window["pads"], window["kernel_shape"] * 2,
                                            strict=True)):  # fmt: skip
        raise call.refusal("its padding is as wide as its window", "pad less")
    return _pool(call, "PoolMean" if is_mean else "PoolMax", window)


def global_pool(call: Call) -> Flow:
    """GlobalAveragePool, GlobalMaxPool, and ReduceMean over both axes of a picture."""
    flow = call.flow
    keeps = True
    if call.node.op_type == "ReduceMean":
        given = call.optional(1, "axes")
        axes = call.attributes.get("axes") if given is None else given.reshape(-1).tolist()
        both = sorted(axis % len(flow.shape) for axis in axes or range(len(flow.shape)))
        keeps = bool(call.attributes.get("keepdims", 1))
        if not flow.picture or both != [2, 3]:
            raise call.refusal("it is not over height and width", "other means are not supported")
    if not flow.picture:
        raise call.refusal(
            f"its input of shape {list(flow.shape)} is no picture",
            "pictures have batch, channels, height and width",
        )
    size = list(flow.shape[2:])
    attributes = {"kernel_shape": size}
    window = attributes_of_window(call.where, attributes, flow.shape, None)
    pooled = _pool(call, "PoolMax" if call.node.op_type == "GlobalMaxPool" else "PoolMean", window)
    if keeps:
        return pooled
    return flattened(call.emitter, pooled, f"{call.name}.row")


# ---- layers ------------------------------------------------------------------------------------


def matmul(call: Call) -> Flow:
    """MatMul with constant weights [k, n]."""
    weight = call.constant(1, "second input")
    if weight.ndim != 2:  # noqa: PLR2004
        raise call.refusal(f"its weights have shape {list(weight.shape)}", "a matrix is supported")
    return _dense(call, weight.T.astype(np.float32))


def gemm(call: Call) -> Flow:
    """Gemm with constant weights, and a bias."""
    if call.attributes.get("transA"):
        raise call.refusal("it transposes what flows", "export it without transA")
    weight = call.constant(1, "weight").astype(np.float32)
    weight = weight if call.attributes.get("transB") else weight.T
    flow = _dense(call, weight * np.float32(call.attributes.get("alpha", 1)))
    bias = call.optional(2, "bias")
    if bias is None:
        return flow
    c = flow.vector(bias.astype(np.float32) * np.float32(call.attributes.get("beta", 1)))
    if c is None:
        raise call.refusal(
            f"a bias of shape {list(bias.shape)}", "a bias has a number for each row"
        )
    return flow.then(steps.add(c), call.name)


def _dense(call: Call, weight: NDArray[np.float32]) -> Flow:
    flow = call.flow
    if flow.picture or flow.shape[-1] != math.prod(flow.shape) or flow.columns != weight.shape[1]:
        raise call.refusal(
            f"weights [{weight.shape[0]}, {weight.shape[1]}] for what has shape "
            f"{list(flow.shape)}", "flatten it to one row of as many numbers",
        )  # fmt: skip
    shape = (*flow.shape[:-1], len(weight))
    return call.layers.dense(flow, weight, _layer(call, shape))


def _layer(call: Call, shape: tuple[int, ...]) -> Layer:
    """Describe a layer; its weights are told with how they were quantized."""
    weight = call.node.input[1]
    note = call.notes.get(weight)
    told = f"`{weight}`" if note is None else f"`{weight}`, a {note},"
    called = call.node.name or call.name
    return Layer(name=call.name, called=called, where=call.where, note=told, shape=shape)


def conv(call: Call) -> Flow:
    """Conv with constant weights [n, channels / group, height, width]."""
    weight = call.constant(1, "weight").astype(np.float32)
    flow = call.flow
    if not flow.picture or weight.ndim != PICTURE_RANK:
        raise call.refusal(
            f"weights {list(weight.shape)} for what has shape {list(flow.shape)}",
            "a convolution moves over height and width of a picture",
        )
    group = int(call.attributes.get("group", 1))
    if weight.shape[1] * group != flow.shape[1] or weight.shape[0] % group:
        raise call.refusal(
            f"weights {list(weight.shape)} in {group} groups for {flow.shape[1]} channels",
            "the model is damaged; export it again",
        )
    window = attributes_of_window(call.where, call.attributes, flow.shape, weight.shape[2:])
    layer = _layer(call, (1, len(weight), *size_behind(window)))
    made = call.layers.conv(flow, weight, group, window, layer)
    bias = call.optional(2, "bias")
    if bias is None:
        return made
    c = made.vector(bias.astype(np.float32).reshape(-1, 1, 1))
    if c is None:
        raise call.refusal(f"a bias of shape {list(bias.shape)}", "a bias has a number per channel")
    return made.then(steps.add(c), call.name)


HANDLERS: Mapping[str, Callable[[Call], Flow]] = {
    "Add": add, "AveragePool": pool, "BatchNormalization": batch_normalization, "Cast": same,
    "Clip": clip, "Conv": conv, "DequantizeLinear": dequantize_linear, "Div": div,
    "Dropout": same, "Flatten": flatten, "Gemm": gemm, "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool, "Identity": same, "MatMul": matmul, "MaxPool": pool,
    "Mul": mul, "QuantizeLinear": quantize_linear, "ReduceMean": global_pool, "Relu": relu,
    "Reshape": reshape, "Softmax": softmax, "Squeeze": squeeze, "Sub": sub,
    "Unsqueeze": squeeze,
}  # fmt: skip
