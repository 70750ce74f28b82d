"""BitNet: the graph of a checkpoint, and every checkpoint that is refused, by its fault."""

from __future__ import annotations

import collections
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from tests.tiny_checkpoint import (
    Checkpoint,
    Shape,
    Stored,
    config_of,
    edit_config,
    read_safetensors,
    replace_tensor,
    stored_floats,
    write_json,
    write_safetensors,
)

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.errors import CheckpointError
from bitexport.models import build_model, families
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Form, Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.ops import type_of

LAYER = {
    "RmsNorm": 4, "QuantizeRows": 4, "TernaryMatMul": 7, "Rescale": 7, "Rope": 2, "AppendCache": 2,
    "Attend": 1, "Relu": 1, "Mul": 2, "Add": 2,
}  # fmt: skip
HEAD = {
    "q4": {"GroupEmbed": 1, "QuantizeRows": 1, "GroupMatMul": 1},
    "bf16": {"EmbedBf16": 1, "DenseMatMulBf16": 1},
    "f32": {"EmbedF32": 1, "DenseMatMulF32": 1},
    "q8": {"EmbedQ8": 1, "QuantizeRows": 1, "DenseMatMulQ8": 1, "Rescale": 1},
}


def build(path: Path, **options: Any) -> tuple[ir.Model, Facts]:
    """Build the graph of a checkpoint folder."""
    return build_model(open_checkpoint(path), Options(**options))


def refused(path: Path, *names: str, **options: Any) -> None:
    """Check that the checkpoint is refused, naming these, with a hint, with exit code 3.

    Bytes are asked for too: what lies in a tensor is looked at where it is read.
    """

    def read_everything() -> None:
        for stored in stored_matrices(build(path, **options)[0]).values():
            collections.deque(stored.chunks(), maxlen=0)

    with pytest.raises(CheckpointError) as refusal:
        read_everything()
    assert refusal.value.exit_code == 3
    for name in names:
        assert name in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert refusal.value.hint


# ---- the graph -------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding", ["f32", "bf16", "q8", "q4"])
def test_the_graph_has_the_ops_of_every_layer(each: Checkpoint, embedding: Form) -> None:
    model, _ = build(each.path, embedding=embedding)
    expected = collections.Counter(HEAD[embedding])
    expected.update({"Shape": 1, "RmsNorm": 1})
    for _ in range(each.shape.layers):
        expected.update(LAYER)
    assert collections.Counter(node.op_type for node in model.graph) == expected


def test_names_read_like_the_checkpoint(tiny: Checkpoint) -> None:
    graph = build(tiny.path)[0].graph
    stored = set(read_safetensors(tiny.path / "model.safetensors"))
    assert set(graph.initializers) == stored | {"rope.cos", "rope.sin"}
    assert [value.name for value in graph.inputs] == [
        "input_ids",
        *(f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")),
    ]
    assert [value.name for value in graph.outputs] == [
        "logits",
        *(f"present.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")),
    ]
    names = [node.name for node in graph]
    assert len(set(names)) == len(names)
    assert "model.layers.1.mlp.down_proj.sum:TernaryMatMul" in names


@pytest.mark.parametrize("cache", ["f16", "f32"])
def test_the_caller_s_types_are_those_of_the_shape(each: Checkpoint, cache: str) -> None:
    graph = build(each.path, cache=cache)[0].graph
    shape = each.shape
    dtype = ir.DataType.FLOAT16 if cache == "f16" else ir.DataType.FLOAT
    logits, *presents = (type_of(value) for value in graph.outputs)
    tokens, *pasts = (type_of(value) for value in graph.inputs)
    assert tokens.dtype is ir.DataType.INT64
    assert logits.shape == ("batch", "sequence", shape.vocabulary)
    assert {p.shape for p in pasts} == {("batch", shape.kv_heads, "past", shape.head_size)}
    assert {p.shape for p in presents} == {("batch", shape.kv_heads, "total", shape.head_size)}
    assert {p.dtype for p in (*pasts, *presents)} == {dtype}


def test_attributes_are_those_of_the_config(tiny: Checkpoint) -> None:
    nodes = {node.op_type: node for node in build(tiny.path)[0].graph}
    attend = {name: a.value for name, a in nodes["Attend"].attributes.items()}
    assert attend == {"heads": 4, "kv_heads": 2, "scale": 0.25}
    assert nodes["RmsNorm"].attributes["epsilon"].value == 1e-05
    assert nodes["RmsNorm"].attributes["heads"].value == 1


def test_every_weight_is_that_of_the_checkpoint(each: Checkpoint) -> None:
    stored = stored_matrices(build(each.path, embedding="f32")[0])
    for name, trits in each.trits.items():
        matrix = stored[f"{name}.weight"].matrix
        np.testing.assert_array_equal(matrix.read_rows(0, matrix.rows), trits)
    for name, floats in each.floats.items():
        matrix = stored[name].matrix
        assert matrix.floats(0, matrix.rows).tobytes() == floats.tobytes()


@pytest.mark.parametrize("form", [None, "f32"])
@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_floats_of_any_dtype_are_kept_or_widened_exactly(
    broken: Path, dtype: str, form: Form | None
) -> None:
    values = np.random.default_rng(6).standard_normal((96, 64))
    name = "model.embed_tokens.weight"
    replace_tensor(broken, name, stored_floats(values, dtype))
    kind = {"F32": np.float32, "F16": np.float16}[dtype]
    stored = stored_matrices(build(broken, embedding=form)[0])[name]
    kept = form is None and dtype == "F16"
    assert stored.dtype is (ir.DataType.FLOAT16 if kept else ir.DataType.FLOAT)
    expected = values.astype(kind).astype(kind if kept else np.float32)
    assert b"".join(stored.chunks()) == expected.tobytes()


def test_an_embedding_in_bf16_is_kept_bit_for_bit(tiny: Checkpoint) -> None:
    name = "model.embed_tokens.weight"
    stored = stored_matrices(build(tiny.path)[0])[name]
    raw = read_safetensors(tiny.path / "model.safetensors")[name].data
    assert b"".join(stored.chunks()) == raw


def test_an_embedding_that_bf16_would_round_is_refused_as_bf16(broken: Path) -> None:
    name = "model.embed_tokens.weight"
    replace_tensor(broken, name, stored_floats(np.ones((96, 64)), "F32"))
    refused(broken, f"`{name}` is F32; as bf16 it would lose bits", embedding="bf16")


# ---- facts -----------------------------------------------------------------------------------


def test_facts_are_those_of_the_config(tiny: Checkpoint) -> None:
    facts = build(tiny.path)[1]
    assert facts == Facts(
        name="tiny", family="bitnet", vocabulary=96, context=64, hidden=64, layers=2, heads=4,
        kv_heads=2, head_size=16, bos=1, eos=(2,), tokens="input_ids", logits="logits",
        container="safetensors", activations="int8",
        activations_because="as autobitlinear of `quantization_config` was trained",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "eos"), [([2, 0], (2, 0)), ([], ()), (None, ()), ([95, 1, 2, 3], (95, 1, 2, 3))]
)
def test_end_tokens_may_be_several_or_none(broken: Path, said: Any, eos: tuple[int, ...]) -> None:
    edit_config(broken, eos_token_id=said, bos_token_id=None)
    facts = build(broken)[1]
    assert (facts.bos, facts.eos) == (None, eos)


@pytest.mark.parametrize(
    "changes",
    [
        {"bos_token_id": 96},
        {"bos_token_id": -1},
        {"bos_token_id": "<s>"},
        {"bos_token_id": 1.0},
        {"bos_token_id": True},
        {"eos_token_id": 96},
        {"eos_token_id": [2, 1 << 40]},
        {"eos_token_id": [2, [3]]},
        {"eos_token_id": "2"},
        {"eos_token_id": [0, 1, 2, 3, 4]},
    ],
    ids=["bos_beyond", "bos_negative", "bos_text", "bos_float", "bos_true", "eos_beyond",
         "one_eos_beyond", "eos_nested", "eos_text", "five_eos"],
)  # fmt: skip
def test_special_tokens_outside_the_vocabulary_are_refused(
    broken: Path, changes: dict[str, Any]
) -> None:
    edit_config(broken, **changes)
    refused(broken, "config.json", "token")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=["zero_byte", "half_a_surrogate"])
def test_a_name_that_no_file_can_hold_is_refused(broken: Path, name: str) -> None:
    edit_config(broken, _name_or_path=name)
    refused(broken, "config.json", "_name_or_path")


def test_a_model_without_a_name_has_that_of_its_folder(broken: Path) -> None:
    edit_config(broken, _name_or_path="")
    assert build(broken)[1].name == "broken"


# ---- options ---------------------------------------------------------------------------------


def test_a_shorter_context_is_a_shorter_table_with_the_same_rows(tiny: Checkpoint) -> None:
    short, whole = (
        stored_matrices(build(tiny.path, context=context)[0])["rope.cos"] for context in (7, None)
    )
    assert (short.logical_shape, whole.logical_shape) == ((7, 8), (64, 8))
    assert b"".join(whole.chunks()).startswith(b"".join(short.chunks()))


def test_a_context_beyond_the_model_s_is_refused(tiny: Checkpoint) -> None:
    refused(tiny.path, "made for 64 positions, not 65", context=65)


# ---- config.json that lies, or says what is not computed here --------------------------------


def test_another_model_type_is_refused_with_the_ones_there_are(broken: Path) -> None:
    for model_type in ("gpt2", "Bitnet", "parts", "parts.builder", "__init__", "", 3, ["bitnet"]):
        edit_config(broken, model_type=model_type)
        refused(broken, "config.json", f"model_type `{model_type}` is not supported")
    assert list(families()) == ["bitnet", "bitnet_llama", "llama", "qwen2", "qwen3"]


def test_a_config_without_model_type_is_refused(broken: Path) -> None:
    edit_config(broken, model_type=None)
    refused(broken, "config.json", "model_type")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"),
        ("hidden_act", "relu"),
        ("hidden_act", None),
        ("hidden_act", ["relu2"]),
        ("attention_bias", "yes"),
        ("tie_word_embeddings", "yes"),
        ("rope_scaling", {"type": "dynamic", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "longrope", "factor": 4.0}),
        ("rope_parameters", ["default"]),
        ("rope_parameters", {"rope_theta": "much"}),
        ("rope_parameters", {"rope_theta": -1.0}),
        ("rope_parameters", {"rope_theta": None}),
    ],
)
def test_what_would_be_another_computation_is_refused(
    broken: Path, key: str, value: object
) -> None:
    edit_config(broken, **{key: value})
    refused(broken, "config.json", key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quant_method", "gptq"),
        ("quant_method", None),
        ("linear_class", "linear"),
        ("quantization_mode", "sometimes"),
        ("use_rms_norm", "yes"),
        ("modules_to_not_convert", "lm_head"),
        ("modules_to_not_convert", [3]),
        ("modules_to_not_convert", ["("]),
        ("modules_to_not_convert", []),
    ],
)
def test_another_quantization_is_refused(broken: Path, key: str, value: object) -> None:
    said = config_of(Shape())["quantization_config"] | {key: value}
    edit_config(broken, quantization_config=said)
    refused(broken, "config.json", f"`quantization_config.{key}`")


@pytest.mark.parametrize("key", ["attention_bias", "tie_word_embeddings"])
def test_a_key_that_promises_other_tensors_is_refused_by_the_one_that_is_missing(
    broken: Path, key: str
) -> None:
    edit_config(broken, **{key: key == "attention_bias"})
    missing = {"attention_bias": "model.layers.0.self_attn.q_proj.bias"}.get(key, "lm_head.weight")
    refused(broken, f"tensor `{missing}` is missing")


def test_a_float_model_is_refused(broken: Path) -> None:
    edit_config(broken, quantization_config=None)
    refused(broken, "config.json", "float model")


@pytest.mark.parametrize("value", ["bitnet", []])
def test_a_quantization_that_is_no_object_is_refused(broken: Path, value: object) -> None:
    edit_config(broken, quantization_config=value)
    refused(broken, "config.json", "`quantization_config`")


SIZES = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
         "num_attention_heads", "num_key_value_heads", "max_position_embeddings"]  # fmt: skip


@pytest.mark.parametrize("value", [0, -4, 1.5, "64", True, [64], 1 << 30])
@pytest.mark.parametrize("key", [*SIZES, "head_dim"])
def test_a_size_that_is_no_size_is_refused(broken: Path, key: str, value: object) -> None:
    edit_config(broken, **{key: value})
    refused(broken, "config.json", f"`{key}` is {value!r}")


@pytest.mark.parametrize("key", sorted({*SIZES} - {"num_key_value_heads"}))
def test_a_size_that_is_missing_is_refused(broken: Path, key: str) -> None:
    edit_config(broken, **{key: None})
    refused(broken, "config.json", f"`{key}` is None")


@pytest.mark.parametrize(
    "value", [0, -1e-5, "1e-5", True, math.nan, math.inf, 1e-60, 1e60, 10**400], ids=str
)
@pytest.mark.parametrize("key", ["rms_norm_eps", "rope_theta"])
def test_a_number_that_float32_cannot_hold_is_refused(
    broken: Path, key: str, value: object
) -> None:
    edit_config(broken, **{key: value})
    refused(broken, "config.json", f"`{key}`")


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 95},
        {"vocab_size": 97},
        {"hidden_size": 128},
        {"hidden_size": 32},
        {"intermediate_size": 100},
        {"intermediate_size": 92},
        {"intermediate_size": 97},
        {"num_attention_heads": 2},
        {"num_attention_heads": 8},
        {"num_attention_heads": 3},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 3},
        {"num_key_value_heads": None},
        {"head_dim": 8},
        {"head_dim": 15},
        {"head_dim": 32},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 1 << 24},
    ],
    ids=lambda changes: "-".join(f"{key}_{value}" for key, value in changes.items()),
)
def test_a_config_that_lies_about_the_weights_is_refused(
    broken: Path, changes: dict[str, Any]
) -> None:
    edit_config(broken, **changes)
    refused(broken)


def test_a_table_of_angles_beyond_the_polynomials_is_refused(broken: Path) -> None:
    """NUMERICS.md, section 5: the sine is specified for angles to 2^19."""
    edit_config(broken, max_position_embeddings=(1 << 19) + 1)
    build(broken)
    edit_config(broken, max_position_embeddings=(1 << 19) + 2)
    refused(broken, "config.json", "524288")


# ---- weights that cannot be exported ---------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["model.embed_tokens.weight", "model.norm.weight", "model.layers.0.mlp.ffn_sub_norm.weight",
     "model.layers.1.self_attn.k_proj.weight", "model.layers.1.self_attn.k_proj.weight_scale"],
)  # fmt: skip
def test_a_tensor_that_is_missing_is_named(broken: Path, name: str) -> None:
    replace_tensor(broken, name, None)
    refused(broken, f"tensor `{name}` is missing")


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.q_proj.bias", "model.rotary.inv_freq", "lm_head.weight"],
)
def test_a_tensor_that_nothing_computes_with_is_named(broken: Path, name: str) -> None:
    replace_tensor(broken, name, stored_floats(np.ones(64), "BF16"))
    refused(broken, f"`{name}`")


def test_a_float_matrix_where_trits_are_promised_is_refused(broken: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    replace_tensor(broken, name, stored_floats(np.ones((16, 64)), "BF16"))
    refused(broken, "model.safetensors", f"`{name}` is BF16, expected U8")


@pytest.mark.parametrize("dtype", ["BF16", "F32", "F16"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "shape", "place"),
    [
        ("model.embed_tokens.weight", (96, 64), (95, 7)),
        ("model.norm.weight", (64,), (63,)),
        ("model.layers.1.mlp.ffn_sub_norm.weight", (96,), (0,)),
    ],
)
def test_a_weight_that_is_not_finite_is_refused_with_its_place(
    broken: Path, name: str, shape: tuple[int, ...], place: tuple[int, ...], value: float,
    dtype: str,
) -> None:  # fmt: skip
    values = np.ones(shape)
    values[place] = value
    replace_tensor(broken, name, stored_floats(values, dtype))
    at = ", ".join(str(i) for i in (*place, 0)[:2])
    refused(broken, "model.safetensors", f"`{name}` holds a NaN or an infinity at [{at}]")


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_weight_scale_that_is_no_scale_is_refused(broken: Path, value: float) -> None:
    name = "model.layers.1.mlp.down_proj.weight_scale"
    replace_tensor(broken, name, stored_floats(np.array([value]), "BF16"))
    refused(broken, "model.safetensors", f"`{name}` is {value}")


def test_a_fourth_trit_is_refused(broken: Path) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    data = bytes(16 * 96 - 1) + b"\xc0"
    replace_tensor(broken, name, Stored("U8", (16, 96), data))
    refused(broken, "model.safetensors", f"`{name}` holds code 3 at byte [15, 95], lane 3")


def test_matrices_too_long_for_exact_sums_are_refused(tmp_path: Path, tiny: Checkpoint) -> None:
    """NUMERICS.md, section 4: k is at most 131056."""
    n, k = 4, 131060
    config = config_of(tiny.shape) | {
        "hidden_size": n, "intermediate_size": k, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 4,
    }  # fmt: skip
    norms = {"input_layernorm": n, "self_attn.attn_sub_norm": n, "post_attention_layernorm": n,
             "mlp.ffn_sub_norm": k}  # fmt: skip
    sizes = {
        "self_attn.q_proj": (n, n), "self_attn.k_proj": (n, n), "self_attn.v_proj": (n, n),
        "self_attn.o_proj": (n, n), "mlp.gate_proj": (k, n), "mlp.up_proj": (k, n),
        "mlp.down_proj": (n, k),
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": stored_floats(np.ones((4, n)), "BF16"),
               "model.norm.weight": stored_floats(np.ones(n), "BF16")}  # fmt: skip
    for name, columns in norms.items():
        tensors[f"model.layers.0.{name}.weight"] = stored_floats(np.ones(columns), "BF16")
    for name, (rows, columns) in sizes.items():
        data = Stored("U8", (rows // 4, columns), b"\x55" * (rows * columns // 4))
        tensors[f"model.layers.0.{name}.weight"] = data
        tensors[f"model.layers.0.{name}.weight_scale"] = stored_floats(np.ones(1), "BF16")
    write_json(tmp_path / "config.json", config)
    write_safetensors(tmp_path / "model.safetensors", tensors)
    refused(tmp_path, "131056")
