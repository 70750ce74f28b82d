"""The graph of a decoder shaped like Llama, with the variations that families and files have."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.decode import Scheme, float_vector, linear_weights, table_weights
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts import q4, q8
from bitexport.models.parts.builder import Activations, EmbeddingTable, GraphBuilder
from bitexport.models.parts.config import (
    HEAD,
    Quantization,
    Said,
    read_quantization,
    read_rope,
    refuse_unknown_computations,
    refuse_windows,
    said_in,
)
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.family import Family, Gate
from bitexport.models.parts.options import ActivationKind, Form, Options
from bitexport.models.parts.rope_tables import Frequencies, Rope, frequencies, rope_tables
from bitexport.models.parts.stored import widened
from bitexport.ops import Type

MOST_END_TOKENS = 4
MOST_COLUMNS = 131056  # of an exact sum (NUMERICS.md, section 4)
LARGEST_ANGLE = 1 << 19  # of a specified sine (NUMERICS.md, section 5)
LAYER = re.compile(r"model\.layers\.\d+\.")
EMBEDDING = "model.embed_tokens"
OUTPUTS = ("o_proj", "down_proj")
FLOAT_FORMS: Mapping[Kind, Form] = {
    Kind.FLOAT: "f32", Kind.FLOAT16: "f16", Kind.BFLOAT16: "bf16",
}  # fmt: skip
STORED_AS: Mapping[Kind, str] = {
    Kind.FLOAT: "F32", Kind.FLOAT16: "F16", Kind.BFLOAT16: "BF16",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What shapes the graph of one checkpoint."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    size: int
    context: int
    epsilon: float
    gate: Gate
    tied: bool
    biased: frozenset[str]
    rope: Rope
    quantization: Quantization

    @property
    def head_activations(self) -> ActivationKind:
        """What a head of small integers multiplies where the user does not say."""
        return "int16" if self.quantization.activations == "int16" else "int8"


def build_decoder(
    checkpoint: Checkpoint, family: Family, options: Options
) -> tuple[ir.Model, Facts]:
    """Build the unfused graph of one decoder, layer by layer."""
    config = read_config(checkpoint, family, options)
    tensors = _Noted(checkpoint.tensors)
    noted = dataclasses.replace(checkpoint, tensors=tensors)
    decoder = _Decoder(noted, family, config, options)
    if options.ternarize:
        decoder.refuse_ternary()
    model = decoder.build()
    leftovers = checkpoint.tensors.keys() - tensors.taken
    if leftovers:
        tensor = checkpoint.tensors[min(leftovers)]
        raise CheckpointError(
            f"{tensor.file}: nothing in this family of models computes with `{tensor.name}`",
            hint="it is refused, never left out; is config.json that of the weights?",
        )
    return model, _facts(checkpoint, family, config)


def read_config(checkpoint: Checkpoint, family: Family, options: Options) -> Config:
    """Check that every key says something that is computed exactly, and read the sizes."""
    said = said_in(checkpoint)
    refuse_unknown_computations(said)
    gate = said.one_of("hidden_act", tuple(family.gates))
    biased = set(family.biased)
    for key, projections in family.bias_keys.items():
        biased |= set(projections) if said.flag(key) else set()
    heads = said.integer("num_attention_heads")
    hidden = said.integer("hidden_size")
    positions = said.integer("max_position_embeddings")
    size = said.integer("head_dim", family.head_size or hidden // heads)
    context = options.context or positions
    config = Config(
        vocabulary=said.integer("vocab_size"),
        hidden=hidden,
        inner=said.integer("intermediate_size"),
        layers=said.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=said.integer("num_key_value_heads", heads),
        size=size,
        context=context,
        epsilon=said.number("rms_norm_eps", family.epsilon),
        gate=family.gates[gate],
        tied=said.flag("tie_word_embeddings"),
        biased=frozenset(biased),
        rope=read_rope(said, positions, family.rope_base),
        quantization=read_quantization(checkpoint, options, family.floats, family.trained_int8),
    )
    _check_sizes(checkpoint, said, config)
    if config.context > positions:
        raise CheckpointError(
            f"{said.where}: the model was made for {positions} positions, not {config.context}",
            hint=f"use --context {positions} or less",
        )
    if family.windows:
        refuse_windows(said, config.layers, context)
    if config.tied and config.quantization.converts(HEAD):
        raise CheckpointError(
            f"{said.where}: `quantization_config.modules_to_not_convert` does not name `{HEAD}`: "
            "the head would quantize the table that embeds the tokens, which is not computed here",
            hint=f"name `{HEAD}` there if the model was trained so",
        )
    return config


def _check_sizes(checkpoint: Checkpoint, said: Said, config: Config) -> None:
    """Refuse sizes that do not fit together, are not those of the weights, or are too large."""
    if config.heads % config.kv_heads or config.size % 2:
        raise CheckpointError(
            f"{said.where}: {config.heads} heads, {config.kv_heads} key/value heads of size "
            f"{config.size} do not fit together",
            hint="query heads share key/value heads evenly, and a head has two halves",
        )
    found = {name.split(".")[2] for name in checkpoint.tensors if LAYER.match(name)}
    if len(found) != config.layers:
        raise CheckpointError(
            f"{said.where}: `num_hidden_layers` is {config.layers}, "
            f"the weights have {len(found)} layers",
            hint="configuration and weights belong to different models",
        )
    widest = max(config.hidden, config.inner, config.heads * config.size)
    if widest > MOST_COLUMNS:
        raise CheckpointError(
            f"{said.where}: a matrix has {widest} columns, exact sums hold {MOST_COLUMNS}",
            hint="such a model cannot be exported",
        )


class _Decoder:
    """One graph under construction."""

    def __init__(
        self, checkpoint: Checkpoint, family: Family, config: Config, options: Options
    ) -> None:
        self.checkpoint, self.family, self.config = checkpoint, family, config
        self.options, self.chosen = options, _Precision(checkpoint, options)
        self.low_bit = 0
        cache = ir.DataType.FLOAT16 if options.cache == "f16" else ir.DataType.FLOAT
        past = Type(cache, ("batch", config.kv_heads, "past", config.size))
        tokens = Type(ir.DataType.INT64, ("batch", "sequence"))
        states = [
            (f"past_key_values.{layer}.{part}", past)
            for layer in range(config.layers)
            for part in ("key", "value")
        ]
        self.builder = GraphBuilder(family.name, [("input_ids", tokens), *states])

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
            x, key, value = self.layer(x, layer)
            presents += [key, value]
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

    def layer(self, x: ir.Value, index: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return x after one transformer block, and its caches."""
        op, name = self.builder.op, f"model.layers.{index}"
        mixed, keys, values = self.attention(x, index)
        x = op("Add", [x, mixed], f"{name}.self_attn.residual")
        h = self.mlp(x, name)
        return op("Add", [x, h], f"{name}.mlp.residual"), keys, values

    def attention(self, x: ir.Value, index: int) -> tuple[ir.Value, ir.Value, ir.Value]:
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
        keys, values = self.append(key, index, "key"), self.append(value, index, "value")
        mixed = self.builder.op(
            "Attend", [query, keys, values], f"{name}.attend",
            heads=config.heads, kv_heads=config.kv_heads, scale=config.size**-0.5,
        )  # fmt: skip
        inner = self.before_output(mixed, name, self.family.attention_norm, width)
        return self.linear(inner, f"{name}.o_proj", config.hidden, width), keys, values

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
        if form and scheme is Scheme.UNPACKED:
            scheme = Scheme.FLOAT if self.is_float(name, n, k) else scheme
        weights = linear_weights(self.checkpoint, name, n, k, scheme)
        self.low_bit += not weights.is_float
        return self.chosen.apply(weights, name, form)

    def refuse_ternary(self) -> None:
        """Refuse a model whose weights are ternary already, by its first matrix."""
        config, name = self.config, "model.layers.0.self_attn.q_proj"
        if not self.is_float(name, config.heads * config.size, config.hidden):
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}` is ternary already",
                hint="build it without --ternarize",
            )

    def is_float(self, name: str, n: int, k: int) -> bool:
        """Whether the numbers of a layer are no {-s, 0, s}."""
        try:
            return linear_weights(self.checkpoint, name, n, k, Scheme.UNPACKED).is_float
        except CheckpointError:
            return True

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

    def append(self, x: ir.Value, layer: int, part: str) -> ir.Value:
        """Return the cache with the rows of x behind those it held."""
        past = self.builder.input(f"past_key_values.{layer}.{part}")
        heads = self.config.kv_heads
        return self.builder.op("AppendCache", [past, x], f"present.{layer}.{part}", heads=heads)


class _Precision:
    """The forms that the user asks for, matrix by matrix."""

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self.checkpoint, self.patterns = checkpoint, options.precision
        self.used: set[str] = set()

    def form(self, name: str) -> Form | None:
        """Return what is asked of a matrix; the last pattern that matches wins."""
        matching = [(p, form) for p, form in self.patterns if fnmatch.fnmatchcase(name, p)]
        self.used |= {pattern for pattern, _ in matching}
        return matching[-1][1] if matching else None

    def apply(self, weights: Weights, name: str, form: Form | None) -> Weights:
        """Return float weights in a form; other weights are what the model was trained with."""
        if form is None:
            return weights
        if not weights.is_float:
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}` is stored as {weights.values.kind.value}, "
                f"not as floats: it is not made {form}",
                hint="weights of few bits are kept as they were trained; --precision and "
                "--embedding are for floats",
            )
        matrix = weights.values
        if form == "q8":
            return q8.quantized(matrix)
        if form == "q4":
            return q4.quantized(matrix)
        if form == "f32":
            return Weights(values=widened(matrix))
        if FLOAT_FORMS[matrix.kind] != form:
            raise CheckpointError(
                f"{self.checkpoint.path}: `{name}.weight` is {STORED_AS[matrix.kind]}; "
                f"as {form} it would lose bits",
                hint="f32 is exact; q8 and q4 are measured by `verify --against`",
            )
        return weights

    def refuse_unused(self) -> None:
        """Refuse a pattern that names no matrix."""
        for pattern, form in self.patterns:
            if pattern not in self.used:
                raise CheckpointError(
                    f"--precision {pattern}={form}: no matrix of {self.checkpoint.path} has "
                    "such a name",
                    hint="names are those of `bitexport inspect`: model.layers.0.mlp.*, lm_head",
                )


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


def _facts(checkpoint: Checkpoint, family: Family, config: Config) -> Facts:
    said, where = checkpoint.config, checkpoint.config_file
    bos, ends = said.get("bos_token_id"), said.get("eos_token_id")
    eos: list[Any] = ends if isinstance(ends, list) else [] if ends is None else [ends]
    for token in [*eos, *([] if bos is None else [bos])]:
        if type(token) is not int or not 0 <= token < config.vocabulary:
            raise CheckpointError(
                f"{where}: special token {token!r} is not below "
                f"{config.vocabulary}, the size of the vocabulary",
                hint="`bos_token_id` and `eos_token_id` are tokens of the model",
            )
    if len(eos) > MOST_END_TOKENS:
        raise CheckpointError(
            f"{where}: `eos_token_id` names {len(eos)} tokens, at most {MOST_END_TOKENS} are kept",
            hint="name the ones that a text ends with",
        )
    name = str(said.get("_name_or_path") or checkpoint.path.resolve().name)
    if not name.isprintable():
        raise CheckpointError(
            f"{where}: `_name_or_path` {name!r} cannot be printed",
            hint="the model is called by this name; give it a plain one",
        )
    return Facts(
        name=name, family=family.name,
        vocabulary=config.vocabulary, context=config.context, hidden=config.hidden,
        layers=config.layers, heads=config.heads, kv_heads=config.kv_heads,
        head_size=config.size, bos=bos, eos=tuple(eos), tokens="input_ids", logits="logits",
        container=checkpoint.container, activations=config.quantization.activations,
        activations_because=config.quantization.because,
    )  # fmt: skip
