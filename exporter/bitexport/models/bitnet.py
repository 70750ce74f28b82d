"""BitNet b1.58 as microsoft/bitnet-b1.58-2B-4T publishes it: packed trits, multiplying scale.

A Llama-shaped decoder with ReLU^2 and a norm before each output and down projection
(transformers, models/bitnet/modeling_bitnet.py).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.folder import CheckpointFolder
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.packed_trits import packed_trits, weight_scale
from bitexport.checkpoints.safetensors_file import StoredTensor
from bitexport.errors import CheckpointError
from bitexport.models.parts.builder import EmbeddingTable, GraphBuilder
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.rope_tables import rope_tables
from bitexport.ops import Type

MOST_END_TOKENS = 4
MOST_COLUMNS = 131056  # of an exact sum (NUMERICS.md, section 4)
LARGEST_ANGLE = 1 << 19  # of a specified sine (NUMERICS.md, section 5)
SMALLEST, LARGEST = 2.0**-126, 2.0**127  # numbers that float32 holds without losing bits
LAYER = re.compile(r"model\.layers\.\d+\.")
SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "hidden_act": ("relu2",),
    "attention_bias": (False, None),
    "tie_word_embeddings": (True,),
    "rope_scaling": (None,),
}
QUANTIZATION: Mapping[str, tuple[Any, ...]] = {
    "quant_method": ("bitnet",),
    "linear_class": ("autobitlinear",),
    "quantization_mode": ("offline",),
    "use_rms_norm": (False, None),
    "modules_to_not_convert": (None, []),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The numbers of config.json that shape the graph."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    size: int
    context: int
    epsilon: float
    rope_base: float


def build_model(checkpoint: CheckpointFolder, options: Options) -> tuple[ir.Model, Facts]:
    """Build the graph of one decoder, layer by layer."""
    config = read_config(checkpoint, options)
    cache = ir.DataType.FLOAT16 if options.cache == "f16" else ir.DataType.FLOAT
    past = Type(cache, ("batch", config.kv_heads, "past", config.size))
    tokens = Type(ir.DataType.INT64, ("batch", "sequence"))
    states = [
        (f"past_key_values.{layer}.{part}", past)
        for layer in range(config.layers)
        for part in ("key", "value")
    ]
    builder = GraphBuilder("bitnet", [("input_ids", tokens), *states])
    model = _Decoder(checkpoint, config, builder)
    table = _embedding(checkpoint, config, options, builder)
    x = table.embed(builder.input("input_ids"), "embedding")
    presents: list[ir.Value] = []
    for layer in range(config.layers):
        x, key, value = model.layer(x, layer)
        presents += [key, value]
    x = model.norm(x, "model.norm", config.hidden)
    finished = builder.finish([table.logits(x, "logits"), *presents])
    _refuse_leftovers(checkpoint, finished)
    return finished, _facts(checkpoint, config)


def read_config(checkpoint: CheckpointFolder, options: Options) -> Config:
    """Check that every key says something this family computes exactly, and read the sizes."""
    said, path = checkpoint.config, checkpoint.path / "config.json"
    _check(path, said, SUPPORTED)
    quantization = said.get("quantization_config")
    if not isinstance(quantization, dict):
        raise CheckpointError(
            f"{path}: there is no `quantization_config`: this is a float model, not a ternary one",
            hint="train it with ternary weights first; samples/stories/train.py shows how",
        )
    _check(path, quantization, QUANTIZATION, "quantization_config.")

    def integer(key: str, default: int | None = None, least: int = 1) -> int:
        value = said.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1 << 24:
            raise CheckpointError(
                f"{path}: `{key}` is {value!r}, expected a whole number from {least} to {1 << 24}",
                hint="this config.json is damaged, or is not that of the model",
            )
        return value

    heads = integer("num_attention_heads")
    hidden = integer("hidden_size")
    positions = integer("max_position_embeddings")
    config = Config(
        vocabulary=integer("vocab_size"),
        hidden=hidden,
        inner=integer("intermediate_size"),
        layers=integer("num_hidden_layers"),
        heads=heads,
        kv_heads=integer("num_key_value_heads", heads),
        size=integer("head_dim", hidden // heads),
        context=options.context or positions,
        epsilon=_number(path, said, "rms_norm_eps", 1e-6),
        rope_base=_rope_base(path, said, _number(path, said, "rope_theta", 10000.0)),
    )
    _check_sizes(checkpoint, config)
    if config.context > positions:
        raise CheckpointError(
            f"{path}: the model was made for {positions} positions, not {config.context}",
            hint=f"use --context {positions} or less",
        )
    return config


def _check_sizes(checkpoint: CheckpointFolder, config: Config) -> None:
    """Refuse sizes that do not fit together, are not those of the weights, or are too large."""
    path = checkpoint.path / "config.json"
    if config.heads % config.kv_heads or config.size % 2:
        raise CheckpointError(
            f"{path}: {config.heads} heads, {config.kv_heads} key/value heads of size "
            f"{config.size} do not fit together",
            hint="query heads share key/value heads evenly, and a head has two halves",
        )
    found = {name.split(".")[2] for name in checkpoint.tensors if LAYER.match(name)}
    if len(found) != config.layers:
        raise CheckpointError(
            f"{path}: `num_hidden_layers` is {config.layers}, the weights have {len(found)} layers",
            hint="config.json and the weights belong to different models",
        )
    widest = max(config.hidden, config.inner, config.heads * config.size)
    if widest > MOST_COLUMNS:
        raise CheckpointError(
            f"{path}: a matrix has {widest} columns, exact sums hold {MOST_COLUMNS}",
            hint="such a model cannot be exported",
        )
    fastest = max(1.0, config.rope_base ** (2 / config.size - 1))
    if (config.context - 1) * fastest > LARGEST_ANGLE:
        raise CheckpointError(
            f"{path}: position {config.context - 1} is turned by more than {LARGEST_ANGLE}, the "
            "largest angle with a specified sine",
            hint=f"use --context {int(LARGEST_ANGLE / fastest) + 1} or less",
        )


class _Decoder:
    """The repeated part of the graph."""

    def __init__(self, checkpoint: CheckpointFolder, config: Config, builder: GraphBuilder) -> None:
        self.checkpoint, self.config, self.builder = checkpoint, config, builder
        cos, sin = rope_tables(config.context, config.size, config.rope_base)
        shape = (config.context, config.size // 2)
        self.cos = builder.weight("rope.cos", cos, shape)
        self.sin = builder.weight("rope.sin", sin, shape)
        first = builder.input("past_key_values.0.key")
        self.past_length = builder.shape_of_axis(first, 2, "past_length")

    def layer(self, x: ir.Value, index: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return x after one transformer block, and its caches."""
        config, op = self.config, self.builder.op
        name = f"model.layers.{index}"
        width, kv_width = config.heads * config.size, config.kv_heads * config.size

        h = self.norm(x, f"{name}.input_layernorm", config.hidden)
        quantized = self.builder.quantize(h, f"{name}.input_layernorm")
        query = self.linear(quantized, f"{name}.self_attn.q_proj", width, config.hidden)
        key = self.linear(quantized, f"{name}.self_attn.k_proj", kv_width, config.hidden)
        value = self.linear(quantized, f"{name}.self_attn.v_proj", kv_width, config.hidden)
        query = self.rope(query, f"{name}.self_attn.q_rope", config.heads)
        key = self.rope(key, f"{name}.self_attn.k_rope", config.kv_heads)
        keys = self.append(key, index, "key")
        values = self.append(value, index, "value")
        mixed = op(
            "Attend", [query, keys, values], f"{name}.self_attn.attend",
            heads=config.heads, kv_heads=config.kv_heads, scale=config.size**-0.5,
        )  # fmt: skip
        mixed = self.norm(mixed, f"{name}.self_attn.attn_sub_norm", width)
        quantized = self.builder.quantize(mixed, f"{name}.self_attn.attn_sub_norm")
        mixed = self.linear(quantized, f"{name}.self_attn.o_proj", config.hidden, width)
        x = op("Add", [x, mixed], f"{name}.self_attn.residual")

        h = self.norm(x, f"{name}.post_attention_layernorm", config.hidden)
        quantized = self.builder.quantize(h, f"{name}.post_attention_layernorm")
        gate = self.linear(quantized, f"{name}.mlp.gate_proj", config.inner, config.hidden)
        up = self.linear(quantized, f"{name}.mlp.up_proj", config.inner, config.hidden)
        gate = op("Relu", [gate], f"{name}.mlp.relu")
        gate = op("Mul", [gate, gate], f"{name}.mlp.relu2")
        h = op("Mul", [gate, up], f"{name}.mlp.gated")
        h = self.norm(h, f"{name}.mlp.ffn_sub_norm", config.inner)
        quantized = self.builder.quantize(h, f"{name}.mlp.ffn_sub_norm")
        h = self.linear(quantized, f"{name}.mlp.down_proj", config.hidden, config.inner)
        return op("Add", [x, h], f"{name}.mlp.residual"), keys, values

    def norm(self, x: ir.Value, name: str, columns: int) -> ir.Value:
        """Return x normalised with the checkpoint's weights."""
        matrix = _vector(self.checkpoint, f"{name}.weight", columns)
        weight = self.builder.weight(f"{name}.weight", matrix, (columns,))
        epsilon = self.config.epsilon
        return self.builder.op("RmsNorm", [x, weight], f"{name}.output", epsilon=epsilon)

    def linear(self, x: tuple[ir.Value, ir.Value], name: str, n: int, k: int) -> ir.Value:
        """Return W x, W the packed ternary matrix `name`."""
        trits = packed_trits(self.checkpoint, name, n, k)
        scale = np.full((1, 1), weight_scale(self.checkpoint, name), np.float32)
        factor = Matrix(f"{name}.weight_scale", Kind.FLOAT, 1, 1, lambda a, b: scale[a:b])
        return self.builder.ternary_linear(x, trits, factor, name)

    def rope(self, x: ir.Value, name: str, heads: int) -> ir.Value:
        """Return x rotated by position."""
        inputs = [x, self.cos, self.sin, self.past_length]
        return self.builder.op("Rope", inputs, name, heads=heads)

    def append(self, x: ir.Value, layer: int, part: str) -> ir.Value:
        """Return the cache with the rows of x behind those it held."""
        past = self.builder.input(f"past_key_values.{layer}.{part}")
        heads = self.config.kv_heads
        return self.builder.op("AppendCache", [past, x], f"present.{layer}.{part}", heads=heads)


def _facts(checkpoint: CheckpointFolder, config: Config) -> Facts:
    said = checkpoint.config
    bos, ends = said.get("bos_token_id"), said.get("eos_token_id")
    eos: list[Any] = ends if isinstance(ends, list) else [] if ends is None else [ends]
    for token in [*eos, *([] if bos is None else [bos])]:
        if type(token) is not int or not 0 <= token < config.vocabulary:
            raise CheckpointError(
                f"{checkpoint.path / 'config.json'}: special token {token!r} is not below "
                f"{config.vocabulary}, the size of the vocabulary",
                hint="`bos_token_id` and `eos_token_id` are tokens of the model",
            )
    if len(eos) > MOST_END_TOKENS:
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'}: `eos_token_id` names {len(eos)} tokens, "
            f"at most {MOST_END_TOKENS} are kept",
            hint="name the ones that a text ends with",
        )
    name = str(said.get("_name_or_path") or checkpoint.path.resolve().name)
    if not name.isprintable():
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'}: `_name_or_path` {name!r} cannot be printed",
            hint="the model is called by this name; give it a plain one",
        )
    return Facts(
        name=name, family="bitnet",
        vocabulary=config.vocabulary, context=config.context, hidden=config.hidden,
        layers=config.layers, heads=config.heads, kv_heads=config.kv_heads,
        head_size=config.size, bos=bos, eos=tuple(eos), tokens="input_ids", logits="logits",
    )  # fmt: skip


def _refuse_leftovers(checkpoint: CheckpointFolder, model: ir.Model) -> None:
    """Refuse weights that the graph does not read: the model would be another one without them."""
    leftovers = checkpoint.tensors.keys() - model.graph.initializers.keys()
    if leftovers:
        tensor = checkpoint.tensors[min(leftovers)]
        raise CheckpointError(
            f"{tensor.file}: nothing in this family of models computes with `{tensor.name}`",
            hint="it is refused, never left out; is config.json that of the weights?",
        )


def _embedding(
    checkpoint: CheckpointFolder, config: Config, options: Options, builder: GraphBuilder
) -> EmbeddingTable:
    name, shape = "model.embed_tokens.weight", (config.vocabulary, config.hidden)
    tensor = checkpoint.tensor(name, ("BF16", "F32", "F16"), shape)
    form = options.embedding or ("bf16" if tensor.dtype == "BF16" else "f32")
    if form == "bf16" and tensor.dtype != "BF16":
        raise CheckpointError(
            f"{tensor.file}: `{name}` is {tensor.dtype}; as bf16 it would lose bits",
            hint="use --embedding f32 (exact) or --embedding q8 (measured)",
        )
    kind = Kind.BFLOAT16 if tensor.dtype == "BF16" else Kind.FLOAT
    matrix = Matrix(name, kind, *shape, _finite_rows(tensor))
    return EmbeddingTable(builder, name, matrix, form)


def _vector(checkpoint: CheckpointFolder, name: str, columns: int) -> Matrix:
    tensor = checkpoint.tensor(name, ("BF16", "F32", "F16"), (columns,))
    kind = Kind.BFLOAT16 if tensor.dtype == "BF16" else Kind.FLOAT
    stored = Matrix(name, kind, columns, 1, _finite_rows(tensor))
    return Matrix(name, Kind.FLOAT, columns, 1, stored.floats)


def _finite_rows(tensor: StoredTensor) -> Any:
    """Read rows of floats and refuse a NaN or an infinity where it enters."""

    def read_rows(start: int, stop: int) -> NDArray[np.generic]:
        rows = tensor.read_rows(start, stop).reshape(stop - start, -1)
        if tensor.dtype == "BF16":
            bad = rows.astype(np.uint16) & np.uint16(0x7F80) == np.uint16(0x7F80)
        else:
            rows = rows.astype(np.float32)
            bad = ~np.isfinite(rows)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise CheckpointError(
                f"{tensor.file}: `{tensor.name}` holds a NaN or an infinity "
                f"at [{start + row}, {column}]",
                hint="the checkpoint is damaged, or its training diverged",
            )
        return rows

    return read_rows


def _check(
    path: Any, said: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], prefix: str = ""
) -> None:
    for key, values in allowed.items():
        value = said.get(key)
        if value not in values:
            expected = " or ".join(f"`{v}`" for v in values)
            raise CheckpointError(
                f"{path}: `{prefix}{key}` is `{value}`, this version computes {expected}",
                hint="another value is another computation; it is refused, never approximated",
            )


def _number(
    path: Any, said: Mapping[str, Any], key: str, default: float, prefix: str = ""
) -> float:
    value = said.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not SMALLEST <= value <= LARGEST:
        raise CheckpointError(
            f"{path}: `{prefix}{key}` is {value!r}, expected a number above zero",
            hint="this config.json is damaged, or is not that of the model",
        )
    return float(value)


def _rope_base(path: Any, said: Mapping[str, Any], base: float) -> float:
    parameters = said.get("rope_parameters")
    if parameters is None:
        return base
    if not isinstance(parameters, dict) or parameters.get("rope_type", "default") != "default":
        raise CheckpointError(
            f"{path}: `rope_parameters` is `{parameters}`, this version computes `default`",
            hint="another value is another computation; it is refused, never approximated",
        )
    return _number(path, parameters, "rope_theta", base, "rope_parameters.")
