"""Options: each is in the graph as it was asked for, or refused by the matrix it does not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.exporter.models.graphs import build, contents, ops, refused
from tests.tiny_checkpoint import Stored, edit_config, replace_tensor, stored_floats
from tests.tiny_families import Tiny, Way, tiny_model, write_family, write_tiny

from bitexport.checkpoints.matrix import Kind
from bitexport.models.parts.options import ActivationKind, Form, Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.report.inspect import inspect

KINDS: dict[Form, Kind] = {
    "f32": Kind.FLOAT, "f16": Kind.FLOAT16, "bf16": Kind.BFLOAT16, "q8": Kind.INT8,
    "q4": Kind.INT4,
}  # fmt: skip


def kind_of(path: Path, name: str, **options: object) -> Kind:
    return stored_matrices(build(path, **options)[0])[f"{name}.weight"].matrix.kind


# ---- activations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ("int8", {"QuantizeRows": 8, "TernaryMatMul": 14, "Rescale": 14}),
        ("int16", {"QuantizeRowsInt16": 8, "TernaryMatMul": 28, "RescaleInt16": 14}),
        ("int8-group", {"QuantizeGroups": 8, "GroupMatMul": 14}),
        ("int4", {"QuantizeRowsInt4": 4, "QuantizeRows": 4, "TernaryMatMul": 14, "Rescale": 14}),
    ],
)
@pytest.mark.parametrize("way", ["divided", "unpacked"])
def test_each_kind_of_activations_is_its_ops(
    activations: ActivationKind, expected: dict[str, int], way: Way, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), way)
    found = ops(path, activations=activations)
    for op in ("QuantizeRows", "QuantizeRowsInt4", "QuantizeRowsInt16", "QuantizeGroups",
               "TernaryMatMul", "GroupMatMul", "Rescale", "RescaleInt16"):  # fmt: skip
        assert found[op] == expected.get(op, 0), op
    facts = build(path, activations=activations)[1]
    assert facts.activations == activations
    assert facts.activations_because == "you asked for it"


def test_int4_is_for_the_inputs_of_a_block_and_int8_for_its_outputs(tmp_path: Path) -> None:
    """As BitNet a4.8."""
    graph = build(write_family(tmp_path, "bitnet"), activations="int4")[0].graph
    made = {value.name: node for node in graph for value in node.outputs}
    for node in graph:
        if node.op_type == "TernaryMatMul":
            weight = str(node.inputs[1].name)
            low = weight.endswith(("o_proj.weight", "down_proj.weight"))
            producer = made[node.inputs[0].name].op_type
            assert producer == ("QuantizeRows" if low else "QuantizeRowsInt4"), weight


def test_three_projections_share_one_quantization(tmp_path: Path) -> None:
    for activations in ("int8", "int16", "int8-group", "int4"):
        graph = build(write_family(tmp_path / activations, "llama"), activations=activations)[0]
        readers = [
            {str(node.inputs[0].name) for node in graph.graph for value in node.inputs
             if value is not None and value.name == f"model.layers.0.self_attn.{p}_proj.weight"}
            for p in "qkv"
        ]  # fmt: skip
        assert readers[0] == readers[1] == readers[2] != set()


@pytest.mark.parametrize("asked", [None, "int8", "int16"])
@pytest.mark.parametrize("way", ["divided", "unpacked"])
def test_a_head_of_int8_has_its_own_activations(
    asked: str | None, way: Way, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), way)
    found = ops(path, embedding="q8", head_activations=asked)
    fine = asked == "int16" or (asked is None and way == "unpacked")
    assert found["DenseMatMulQ8"] == (2 if fine else 1)
    assert found["EmbedQ8"] == 1


@pytest.mark.parametrize("tied", [False, True])
def test_activations_of_a_head_of_floats_are_refused(tied: bool, tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama", tied=tied)
    refused(path, "--head-activations int8: the head", head_activations="int8")


def test_a_converted_head_takes_the_activations_that_are_asked_for_it(tmp_path: Path) -> None:
    quantization = {"modules_to_not_convert": ["nothing"]}
    path = write_tiny(tmp_path, tiny_model("llama"), "online", quantization=quantization)
    assert ops(path)["QuantizeRows"] == 9
    found = ops(path, head_activations="int16")
    assert (found["QuantizeRows"], found["QuantizeRowsInt16"]) == (8, 1)


# ---- precision of floats ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["f32", "bf16", "q8", "q4"])
@pytest.mark.parametrize("name", ["lm_head", "model.embed_tokens", "model.layers.1.mlp.up_proj"])
def test_a_float_matrix_is_stored_in_the_form_that_is_asked(
    name: str, form: Form, tmp_path: Path
) -> None:
    path = mixed(tmp_path)
    others = {"lm_head", "model.embed_tokens", "model.layers.1.mlp.up_proj"} - {name}
    assert kind_of(path, name, precision=((name, form),)) is KINDS[form]
    for other in others:
        assert kind_of(path, other, precision=((name, form),)) is Kind.BFLOAT16


def mixed(folder: Path, dtype: str = "BF16") -> Path:
    """Write a model with float up and down projections in its second layer."""
    model = tiny_model("llama")
    draw = np.random.default_rng(2)
    more: dict[str, Stored] = {}
    for projection in ("up_proj", "down_proj"):
        name = f"model.layers.1.mlp.{projection}"
        more[f"{name}.weight"] = stored_floats(draw.standard_normal(model.trits[name].shape), dtype)
    small = {name: t for name, t in model.trits.items() if f"{name}.weight" not in more}
    less = Tiny(config=model.config, trits=small, scales=model.scales, floats=model.floats)
    kept = ["lm_head", "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"]
    return write_tiny(
        folder, less, "divided", more=more, dtype=dtype,
        quantization={"modules_to_not_convert": kept},
    )  # fmt: skip


def test_the_embedding_option_is_for_table_and_head(tmp_path: Path) -> None:
    path = mixed(tmp_path)
    for name in ("lm_head", "model.embed_tokens"):
        assert kind_of(path, name, embedding="q4") is Kind.INT4
    assert kind_of(path, "lm_head", embedding="q4", precision=(("lm_*", "q8"),)) is Kind.INT8


@pytest.mark.parametrize("pattern", ["lm_head.weight", "lm_*.weight", "*head", "lm_head*"])
def test_a_pattern_may_name_the_tensor_as_inspect_prints_it(pattern: str, tmp_path: Path) -> None:
    path = mixed(tmp_path)
    assert "lm_head.weight" in {tensor["name"] for tensor in inspect(path)["tensors"]}
    assert kind_of(path, "lm_head", precision=((pattern, "q8"),)) is Kind.INT8
    refused(path, "no matrix of", precision=(("lm_head.bias", "q8"),))


def test_the_last_pattern_that_matches_wins(tmp_path: Path) -> None:
    path = mixed(tmp_path)
    precision = (("model.layers.1.mlp.*p_proj", "q8"), ("*.up_proj", "q4"))
    refused(path, "`model.layers.0.mlp.up_proj` is trits in this model", precision=precision)
    precision = (("model.layers.1.mlp.[ud]*", "q8"), ("model.layers.1.mlp.up_proj", "q4"))
    assert kind_of(path, "model.layers.1.mlp.up_proj", precision=precision) is Kind.INT4
    assert kind_of(path, "model.layers.1.mlp.down_proj", precision=precision) is Kind.INT8


def test_an_int8_layer_keeps_whole_rows_where_others_have_groups(tmp_path: Path) -> None:
    precision = (("model.layers.1.mlp.up_proj", "q8"),)
    found = ops(mixed(tmp_path), precision=precision, activations="int8-group")
    assert (found["DenseMatMulQ8"], found["RescaleInt16"], found["GroupMatMul"]) == (2, 1, 12)


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ((("model.layers.7.*", "q8"),), "--precision model.layers.7.*=q8"),
        ((("mlp", "q8"),), "--precision mlp=q8"),
        ((("*", "q8"),), "is trits in this model"),
        ((("model.layers.0.mlp.up_proj", "f32"),), "`model.layers.0.mlp.up_proj` is trits in"),
        ((("lm_head", "f16"),), "`lm_head.weight` is BF16; as f16 it would lose bits"),
    ],
)
def test_a_pattern_that_fits_no_float_is_refused(
    precision: tuple[tuple[str, Form], ...], name: str, tmp_path: Path
) -> None:
    refused(mixed(tmp_path), name, precision=precision)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("form", ["f16", "bf16"])
def test_half_precision_is_taken_only_from_itself(dtype: str, form: Form, tmp_path: Path) -> None:
    path = mixed(tmp_path, dtype)
    if dtype.lower() == form:
        assert kind_of(path, "lm_head", embedding=form) is KINDS[form]
    else:
        refused(path, f"is {dtype}; as {form} it would lose bits", embedding=form)


def test_a_float_layer_among_unpacked_ones_is_kept_where_precision_says_so(tmp_path: Path) -> None:
    model = tiny_model("llama")
    name = "model.layers.1.mlp.down_proj"
    values = np.random.default_rng(2).standard_normal(model.trits[name].shape)
    more = {f"{name}.weight": stored_floats(values, "F32")}
    path = write_tiny(tmp_path, model, "unpacked", more=more)
    refused(path, f"`{name}.weight` is not ternary")
    assert kind_of(path, name, precision=((name, "f32"),)) is Kind.FLOAT
    ternary = "model.layers.0.mlp.down_proj"
    refused(path, f"`{ternary}` is trits in this model", precision=(("*.down_proj", "f32"),))


def test_a_scale_beside_floats_is_never_guessed_at(tmp_path: Path) -> None:
    """The model's own code ignores it; which way it would go, nothing says."""
    name = "model.layers.0.mlp.up_proj"
    more = {f"{name}.weight_scale": stored_floats(np.float32([8]), "F32")}
    path = write_tiny(tmp_path, tiny_model("llama"), "unpacked", more=more)
    refused(path, f"nothing in this family of models computes with `{name}.weight_scale`")


# ---- ternarize -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bitnet", "llama", "qwen2", "qwen3"])
def test_a_float_model_becomes_ternary_by_absmean(family: str, tmp_path: Path) -> None:
    model = tiny_model(family)
    path = write_tiny(tmp_path, model, "float")
    stored = stored_matrices(build(path, ternarize="absmean")[0])
    for name in model.trits:
        assert stored[f"{name}.weight"].matrix.kind is Kind.TRITS
    assert stored["lm_head.weight"].matrix.kind is Kind.FLOAT
    facts = build(path, ternarize="absmean")[1]
    assert facts.activations == ("int8" if family == "bitnet" else "int16")
    edit_config(path, is_bitnet_config=True)
    assert build(path, ternarize="absmean")[1].activations == "int8"


def test_some_layers_of_a_float_model_may_stay_finer(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), "float")
    precision = (("*.down_proj", "q8"), ("model.layers.0.mlp.up_proj", "f32"))
    stored = stored_matrices(build(path, ternarize="absmean", precision=precision)[0])
    kinds = {name: matrix.matrix.kind for name, matrix in stored.items()}
    assert kinds["model.layers.1.mlp.down_proj.weight"] is Kind.INT8
    assert kinds["model.layers.0.mlp.up_proj.weight"] is Kind.FLOAT
    assert kinds["model.layers.1.mlp.up_proj.weight"] is Kind.TRITS


def test_the_float_twin_has_the_same_graph_but_for_its_products(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), "float")
    found = ops(path, keep_float=True)
    assert found["DenseMatMulF32"] == 15
    assert found["TernaryMatMul"] == found["QuantizeRowsInt16"] == 0
    twin, ternary = (contents(path, **o) for o in ({"keep_float": True}, {"ternarize": "absmean"}))
    assert {n for n in twin if twin[n] != ternary.get(n)} == {
        f"{name}.weight" for name in tiny_model("llama").trits
    }


@pytest.mark.parametrize(
    ("family", "way"),
    [("bitnet", "multiplied"), ("llama", "divided"), ("llama", "online"), ("llama", "unpacked"),
     ("bitnet_llama", "masters")],
)  # fmt: skip
def test_a_ternary_model_is_not_ternarized_again(family: str, way: Way, tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model(family), way)
    for asked in ({"ternarize": "absmean"}, {"keep_float": True}):
        text = refused(path, "ternary", **asked)
        assert "without --ternarize" in text


def test_what_was_chosen_is_all_that_is_listed() -> None:
    assert Options().chosen() == {"cache": "f16"}
    options = Options(embedding="q8", precision=(("lm_head", "q4"),), keep_float=True)
    assert options.chosen() == {
        "embedding": "q8", "precision": (("lm_head", "q4"),), "cache": "f16",
    }  # fmt: skip
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    assert Options(**{**defaults, "context": 4}).chosen() == {"cache": "f16", "context": 4}


@pytest.mark.parametrize("fault", ["missing", "not_a_number"])
def test_a_damaged_layer_is_not_taken_for_floats(fault: str, tmp_path: Path) -> None:
    """Only a layer without structure is a float one: other faults are said."""
    name = "model.layers.0.self_attn.q_proj"
    path = write_tiny(tmp_path, tiny_model("llama"), "unpacked")
    if fault == "missing":
        replace_tensor(path, f"{name}.weight", None)
    else:
        replace_tensor(path, f"{name}.weight", stored_floats(np.full((64, 64), np.nan), "F32"))
    said = {"missing": "is missing", "not_a_number": "holds a NaN"}[fault]
    refused(path, f"`{name}.weight`", said, precision=((name, "f32"),))
    refused(path, f"`{name}.weight`", said, ternarize="absmean")
