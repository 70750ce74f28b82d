"""The graph of a decoder shaped like Llama, with the variations that families and files have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.decode import (
    NotTernaryError,
    Scheme,
    float_vector,
    linear_weights,
    table_weights,
)
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts.builder import Activations, EmbeddingTable, GraphBuilder
from bitexport.models.parts.config import HEAD
from bitexport.models.parts.facts import Facts, facts_of
from bitexport.models.parts.family import Family
from bitexport.models.parts.options import ActivationKind, Cache, Options
from bitexport.models.parts.precision import Precision
from bitexport.models.parts.rope_tables import Frequencies, frequencies, rope_tables
from bitexport.models.parts.shape import Config, read_config
from bitexport.ops import Type, apply

LARGEST_ANGLE = 1 << 19  # of a specified sine (NUMERICS.md, section 5)
EMBEDDING = "model.embed_tokens"
CACHES: Mapping[Cache, ir.DataType] = {
    "f32": ir.DataType.FLOAT, "f16": ir.DataType.FLOAT16, "int8": ir.DataType.INT8
}  # fmt: skip
OUTPUTS = ("o_proj", "down_proj")
FEW_BITS: Mapping[Kind, str] = {Kind.TRITS: "ternary", Kind.SIGNS: "binary", Kind.INT4: "int4"}


def build_decoder(
    checkpoint: Checkpoint, family: Family, options: Options
) -> tuple[ir.Model, Facts]:
    """Build the unfused graph of one decoder, layer by layer."""
    config = read_config(checkpoint, family, options)
    decoder = _Decoder(checkpoint, family, config, options)
    if options.ternarize or options.keep_float:
        decoder.refuse_ternary()
    model = decoder.build()
    leftovers = checkpoint.tensors.keys() - decoder.tensors.taken
    if leftovers:
        tensor = checkpoint.tensors[min(leftovers)]
        raise CheckpointError(
            f"{tensor.file}: nothing in this family of models computes with `{tensor.name}`",
            hint="it is refused, never left out; is config.json that of the weights?",
        )
    return model, facts_of(checkpoint, family, config)


class _Decoder:
    """One graph under construction."""

    def __init__(
        self, checkpoint: Checkpoint, family: Family, config: Config, options: Options
    ) -> None:
        self.tensors, self.unnoted = _Noted(checkpoint.tensors), checkpoint
        self.checkpoint = dataclasses.replace(checkpoint, tensors=self.tensors)
        self.family, self.config = family, config
        self.options, self.chosen = options, Precision(checkpoint, options)
        self.low_bit = 0
        tokens = Type(ir.DataType.INT64, ("batch", "sequence"))
        states = [
            (f"past_key_values.{layer}.{part}{suffix}", kind)
            for layer in range(config.layers)
            for part in ("key", "value")
            for suffix, kind in self.states().items()
        ]
        self.builder = GraphBuilder(family.name, [("input_ids", tokens), *states])

    def states(self) -> Mapping[str, Type]:
        """Return what the keys, or the values, of a layer are kept in, by the ends of names."""
        config, cache = self.config, CACHES[self.options.cache]
        states = {"": Type(cache, ("batch", config.kv_heads, "past", config.size))}
        if cache is ir.DataType.INT8:
            states["_scale"] = Type(ir.DataType.FLOAT, ("batch", config.kv_heads, "past", 1))
        return states

    def build(self) -> ir.Model:
        """Return the whole graph."""
        config, builder = self.config, self.builder
        inverse = self.frequencies()
        cos, sin = rope_tables(config.context, inverse, config.rope.attention)
        shape = (config.context, config.size // 2)
        self.cos = builder.weight("rope.cos", cos, shape)
        self.sin = builder.weight("rope.sin", sin, shape)
        first = builder.input("past_key_values.0.key")
        self.past_length = builder.shape_of_axis(first, 2, "past_length")
        table = EmbeddingTable(builder, self.table(EMBEDDING), EMBEDDING)
        x = table.embed(builder.input("input_ids"), "embedding")
        presents: list[ir.Value] = []
        for layer in range(config.layers):
            x, caches = self.layer(x, layer)
            presents += caches
        x = self.norm(x, "model.norm", config.hidden)
        logits = self.head(Activations(builder, x, "head"), table)
        self.chosen.refuse_unused()
        if not self.low_bit and not self.options.keep_float:
            raise CheckpointError(
                f"{self.checkpoint.config_file}: every layer is kept as floats: "
                "this is a float model, not a ternary one",
                hint="`modules_to_not_convert` or --precision names them all",
            )
        return builder.finish([logits, *presents])

    def frequencies(self) -> Frequencies:
        """Return the frequencies of the rotation, none too fast for a specified sine."""
        config = self.config
        with np.errstate(all="ignore"):
            inverse = frequencies(config.rope, config.size)
        where = self.checkpoint.config_file
        if not (np.isfinite(inverse) & (inverse >= 0)).all():
            raise CheckpointError(
                f"{where}: the keys of RoPE give frequencies that are no numbers",
                hint="`rope_theta` or the scaling is not that of a model",
            )
        fastest = float(inverse.max())
        if (config.context - 1) * fastest > LARGEST_ANGLE:
            raise CheckpointError(
                f"{where}: position {config.context - 1} is turned by more than {LARGEST_ANGLE}, "
                "the largest angle with a specified sine",
                hint=f"use --context {int(LARGEST_ANGLE / fastest) + 1} or less",
            )
        return inverse

    def layer(self, x: ir.Value, index: int) -> tuple[ir.Value, Sequence[ir.Value]]:
        """Return x after one transformer block, and its caches."""
        op, name = self.builder.op, f"model.layers.{index}"
        mixed, caches = self.attention(x, index)
        x = op("Add", [x, mixed], f"{name}.self_attn.residual")
        h = self.mlp(x, name)
        return op("Add", [x, h], f"{name}.mlp.residual"), caches

    def attention(self, x: ir.Value, index: int) -> tuple[ir.Value, Sequence[ir.Value]]:
        """Return what the heads see, and the caches."""
        config, layer = self.config, f"model.layers.{index}"
        name = f"{layer}.self_attn"
        width, kv_width = config.heads * config.size, config.kv_heads * config.size
        h = self.normed(x, f"{layer}.input_layernorm", config.hidden)
        query = self.linear(h, f"{name}.q_proj", width, config.hidden)
        key = self.linear(h, f"{name}.k_proj", kv_width, config.hidden)
        value = self.linear(h, f"{name}.v_proj", kv_width, config.hidden)
        if self.family.head_norms:
            query = self.norm(query, f"{name}.q_norm", config.size, config.heads)
            key = self.norm(key, f"{name}.k_norm", config.size, config.kv_heads)
        query = self.rope(query, f"{name}.q_rope", config.heads)
        key = self.rope(key, f"{name}.k_rope", config.kv_heads)
        caches = [*self.append(key, index, "key"), *self.append(value, index, "value")]
        mixed = self.builder.op(
            f"Attend{self.suffix}", [query, *caches], f"{name}.attend",
            heads=config.heads, kv_heads=config.kv_heads, scale=config.size**-0.5,
        )  # fmt: skip
        inner = self.before_output(mixed, name, self.family.attention_norm, width)
        return self.linear(inner, f"{name}.o_proj", config.hidden, width), caches

    def mlp(self, x: ir.Value, layer: str) -> ir.Value:
        """Return the gated product, projected down."""
        config, op, name = self.config, self.builder.op, f"{layer}.mlp"
        h = self.normed(x, f"{layer}.post_attention_layernorm", config.hidden)
        gate = self.linear(h, f"{name}.gate_proj", config.inner, config.hidden)
        up = self.linear(h, f"{name}.up_proj", config.inner, config.hidden)
        if config.gate == "relu2":
            gate = op("Relu", [gate], f"{name}.relu")
            gate = op("Mul", [gate, gate], f"{name}.relu2")
        else:
            gate = op("Silu", [gate], f"{name}.silu")
        gated = op("Mul", [gate, up], f"{name}.gated")
        inner = self.before_output(gated, name, self.family.mlp_norm, config.inner)
        return self.linear(inner, f"{name}.down_proj", config.hidden, config.inner)

    def before_output(self, x: ir.Value, name: str, norm: str | None, columns: int) -> Activations:
        """Return the input of an output projection, normalised where the family does that."""
        if norm:
            return self.normed(x, f"{name}.{norm}", columns)
        return Activations(self.builder, x, str(x.name))

    def normed(self, x: ir.Value, name: str, columns: int) -> Activations:
        """Return the normalised x for layers to read."""
        return Activations(self.builder, self.norm(x, name, columns), name)

    def norm(
        self, x: ir.Value, name: str, columns: int, heads: int = 1, epsilon: float | None = None
    ) -> ir.Value:
        """Return x normalised with the checkpoint's weights."""
        weight = float_vector(self.checkpoint, f"{name}.weight", columns)
        epsilon = self.config.epsilon if epsilon is None else epsilon
        return self.builder.norm(x, weight, name, epsilon=epsilon, heads=heads)

    def linear(self, x: Activations, name: str, n: int, k: int) -> ir.Value:
        """Return W x, plus the bias where there is one."""
        weights, projection = self.weights(name, n, k), name.rpartition(".")[2]
        if projection not in self.config.biased:
            return self.product(x, weights, name, f"{name}.output")
        y = self.product(x, weights, name, f"{name}.product")
        bias = self.builder.weight(f"{name}.bias", self.bias(name, n, weights), (n,))
        return self.builder.op("Add", [y, bias], f"{name}.output")

    def product(
        self, x: Activations, weights: Weights, name: str, output: str,
        asked: ActivationKind | None = None,
    ) -> ir.Value:  # fmt: skip
        """Return W x; a layer that is quantized may have a norm of its own."""
        quantization, projection = self.config.quantization, name.rpartition(".")[2]
        if quantization.norm_epsilon is not None and quantization.converts(name):
            own, columns = f"{name}.rms_norm", weights.values.columns
            h = self.norm(x.value, own, columns, epsilon=quantization.norm_epsilon)
            x = Activations(self.builder, h, own)
        kind = asked or quantization.activations
        if kind == "int8-group" and weights.values.kind is Kind.INT8:
            kind = "int16"  # a row of int8 has one scale: groups of activations cannot be summed
        if kind == "int4" and projection in OUTPUTS:
            kind = "int8"  # as BitNet a4.8
        return self.builder.linear(x, weights, name, activations=kind, output=output)

    def weights(self, name: str, n: int, k: int) -> Weights:
        """Return a linear layer as the checkpoint stores it, or as the user asks for floats."""
        quantization, form = self.config.quantization, self.chosen.form(name)
        scheme = quantization.scheme if quantization.converts(name) else Scheme.FLOAT
        if form and scheme is Scheme.UNPACKED and self.found(name, n, k) is None:
            scheme = Scheme.FLOAT
        if form and self.options.ternarize:
            scheme = Scheme.FLOAT
        weights = linear_weights(self.checkpoint, name, n, k, scheme)
        self.low_bit += not weights.is_float
        return self.chosen.apply(weights, name, form)

    def refuse_ternary(self) -> None:
        """Refuse a model whose weights have few bits already, by its first matrix."""
        config, name = self.config, "model.layers.0.self_attn.q_proj"
        kind = self.found(name, config.heads * config.size, config.hidden)
        if kind is not None:
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}` is {FEW_BITS[kind]} already",
                hint="build it without --ternarize",
            )

    def found(self, name: str, n: int, k: int) -> Kind | None:
        """Return what the numbers of a layer are found to be, None if they are floats."""
        try:
            return linear_weights(self.unnoted, name, n, k, Scheme.UNPACKED).values.kind
        except NotTernaryError:
            return None

    def bias(self, name: str, n: int, weights: Weights) -> Matrix:
        """Return a bias; AutoBitLinear multiplies it with the scale of the weights too."""
        bias = float_vector(self.checkpoint, f"{name}.bias", n)
        quantization = self.config.quantization
        if quantization.scheme is not Scheme.MULTIPLIED or not quantization.converts(name):
            return bias
        assert weights.scale is not None
        scale = weights.scale

        def read_rows(start: int, stop: int) -> NDArray[np.float32]:
            return np.asarray(bias.floats(start, stop) * scale.floats(0, 1)[0, 0], np.float32)

        return Matrix(bias.name, Kind.FLOAT, bias.rows, bias.columns, read_rows)

    def table(self, name: str) -> Weights:
        """Return embedding or head."""
        shape = (self.config.vocabulary, self.config.hidden)
        form = self.chosen.form(name) or self.options.embedding
        return self.chosen.apply(table_weights(self.checkpoint, name, *shape), name, form)

    def head(self, x: Activations, table: EmbeddingTable) -> ir.Value:
        """Return the logits."""
        config, asked = self.config, self.options.head_activations
        kind = asked or config.head_activations
        if config.tied:
            self.refuse_floats(asked, is_float=table.layer.scale is None)
            return table.logits(x, "logits", activations=kind)
        if config.quantization.converts(HEAD) and not self.options.keep_float:
            weights = self.weights(HEAD, config.vocabulary, config.hidden)
            return self.product(x, weights, HEAD, "logits", asked)
        weights = self.table(HEAD)
        self.refuse_floats(asked, is_float=weights.is_float)
        return self.builder.linear(x, weights, HEAD, activations=kind, output="logits")

    def refuse_floats(self, asked: str | None, *, is_float: bool) -> None:
        """Refuse a choice of integers for a head that multiplies floats."""
        if asked and is_float:
            raise CheckpointError(
                f"--head-activations {asked}: the head of {self.checkpoint.path} is floats, "
                "it multiplies floats",
                hint="leave it out, or make the head --precision lm_head=q8 or --embedding q8",
            )

    def rope(self, x: ir.Value, name: str, heads: int) -> ir.Value:
        """Return x rotated by position."""
        inputs = [x, self.cos, self.sin, self.past_length]
        return self.builder.op("Rope", inputs, name, heads=heads)

    @property
    def suffix(self) -> str:
        """What the ops of the cache are called that keep integers."""
        return "Int8" if self.options.cache == "int8" else ""

    def append(self, x: ir.Value, layer: int, part: str) -> Sequence[ir.Value]:
        """Return the cache, and its scales where it has some, with x behind what it held."""
        ends = [f"{layer}.{part}{suffix}" for suffix in self.states()]
        past = [self.builder.input(f"past_key_values.{end}") for end in ends]
        return apply(
            self.builder.graph, f"AppendCache{self.suffix}", [*past, x],
            [f"present.{end}" for end in ends], heads=self.config.kv_heads,
        )  # fmt: skip


class _Noted(Mapping[str, StoredTensor]):
    """Tensors by name, and which of them were taken."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self.tensors, self.taken = tensors, set[str]()

    def __getitem__(self, name: str) -> StoredTensor:
        self.taken.add(name)
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)
