"""What each matrix of the graph is: read back from the file, in every form and grouping."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiny_checkpoint import stored_floats
from tests.tiny_families import Tiny, Way, tiny_model, write_family, write_tiny

from bitexport.emit.manifest import DATA
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.report.bundle import BundleReport, describe
from bitexport.report.html import render_page
from bitexport.report.inspect import inspect
from bitexport.report.matrices import MatrixFacts, counted, matrices
from bitexport.targets import find_target
from bitexport_ref.bitx import open_bitx

UP = "model.layers.1.mlp.up_proj.weight"


def built(path: Path, folder: Path, **options: Any) -> BundleReport:
    seen: list[BundleReport] = []

    def keep(built: Any) -> dict[str, str]:
        seen.append(describe(built))
        return {}

    build_bundle(
        path, find_target("host"), Options(**options), folder,
        Wanted(compile_library=False, self_test=False, describe=keep),
    )  # fmt: skip
    return seen[0]


def found(path: Path, folder: Path, **options: Any) -> dict[str, MatrixFacts]:
    return {matrix.name: matrix for matrix in built(path, folder, **options).weights}


@pytest.mark.parametrize(
    ("activations", "said", "scales"),
    [
        ("int8", "int8 per token", "matrix"),
        ("int16", "int16 per token", "matrix"),
        ("int4", "int4 per token", "matrix"),
        ("int8-group", "int8 per 64 columns", "matrix"),
    ],
)
def test_activations_are_those_that_the_product_reads(
    activations: str, said: str, scales: str, tmp_path: Path
) -> None:
    path = write_family(tmp_path / "model", "llama")
    matrix = found(path, tmp_path / "out", activations=activations)[UP]
    assert (matrix.form, matrix.layout, matrix.scales) == ("ternary", "p2r", scales)
    assert (matrix.activations, matrix.layer, matrix.shape) == (said, 1, (96, 64))


def test_every_matrix_is_there_once(tmp_path: Path) -> None:
    model = tiny_model("llama")
    path = write_tiny(tmp_path / "model", model, "unpacked")
    names = {f"{name}.weight" for name in (*model.trits, "lm_head", "model.embed_tokens")}
    assert found(path, tmp_path / "out").keys() == names


def test_a_table_that_is_only_looked_up_has_no_activations(tmp_path: Path) -> None:
    path = write_family(tmp_path / "model", "llama")
    table = found(path, tmp_path / "out")["model.embed_tokens.weight"]
    assert (table.form, table.scales, table.activations) == ("f32", "", "")


@pytest.mark.parametrize(
    ("form", "scales", "activations", "bits"),
    [
        ("f32", "", "f32", 32.0),
        ("q8", "row", "int8 per token", 8 + 32 / 64),
        ("q4", "32 of a row", "int8 per token", 4 + 16 / 32),
    ],
)
def test_a_head_is_what_was_asked_for(
    form: str, scales: str, activations: str, bits: float, tmp_path: Path
) -> None:
    path = write_family(tmp_path / "model", "llama")
    head = found(path, tmp_path / "out", precision=(("lm_head", form),))["lm_head.weight"]
    assert head.form == form.replace("q8", "int8").replace("q4", "int4")
    assert (head.scales, head.activations, head.bits_per_weight) == (scales, activations, bits)


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        (np.full((128, 1), 0.5), "matrix"),
        (np.repeat([[0.5], [0.25]], 64, 0), "row"),
        (np.repeat([[0.5, 0.25]], 128, 0), "64 columns"),
        (2.0 ** -np.arange(256).reshape(128, 2) % 7, "64 of a row"),
    ],
    ids=["tensor", "row_blocks", "column_blocks", "groups"],
)
@pytest.mark.parametrize("binary", [False, True])
def test_the_reach_of_a_scale_is_that_of_the_numbers(
    binary: bool, scales: Any, said: str, tmp_path: Path
) -> None:
    scales = np.abs(scales) + 2.0**-9
    model = tiny_model("qwen3", inner=128, hidden=128, binary=binary)
    trits = model.trits[UP.removesuffix(".weight")]
    values = trits * np.repeat(scales, 128 // scales.shape[1], axis=1)
    path = write_tiny(
        tmp_path / "model", model, "unpacked", more={UP: stored_floats(values, "F32")}
    )
    matrix = found(path, tmp_path / "out")[UP]
    assert matrix.scales == said
    assert matrix.form == ("binary" if binary else "ternary")
    assert matrix.layout == ("b1r" if binary else "p2r")
    payload = 1.0 if binary else 2.0
    assert 8 * matrix.bytes / math.prod(matrix.shape) == payload
    assert matrix.bits_per_weight == payload + 8 * matrix.scale_bytes / math.prod(matrix.shape)


def mixed(folder: Path, way: Way = "divided") -> Path:
    model = tiny_model("llama", layers=4)
    kept = [f"model.layers.{layer}.mlp" for layer in (0, 3)]
    floats = {
        f"{name}.weight": stored_floats(np.random.default_rng(1).standard_normal(t.shape), "BF16")
        for name, t in model.trits.items()
        if name.startswith(tuple(kept))
    }
    small = {name: t for name, t in model.trits.items() if f"{name}.weight" not in floats}
    less = Tiny(config=model.config, trits=small, scales=model.scales, floats=model.floats)
    return write_tiny(
        folder, less, way, more=floats, quantization={"modules_to_not_convert": [*kept, "lm_head"]}
    )


def test_mixed_precision_is_counted_and_shown_by_layer(tmp_path: Path) -> None:
    path = mixed(tmp_path / "model")
    report = built(path, tmp_path / "out", precision=(("model.layers.3.mlp.*", "q4"),))
    assert counted(report.weights) == [
        "embedding f32",
        "22 ternary matrices, one scale, activations int8 per token",
        "3 bf16 matrices, activations f32",
        "3 int4 matrices, a scale for 32 columns of a row, activations int8 per token",
        "head f32, activations f32",
    ]
    parts = {part.name: part for part in report.parts}
    assert parts["int4"].bytes == sum(m.bytes for m in report.weights if m.form == "int4")
    assert parts["float"].bytes == 2 * 3 * 64 * 96
    assert parts["head"].bytes == parts["embedding"].bytes == 4 * 96 * 64
    page = render_page(report)
    assert "<td>1 to 2</td><td><code>mlp.up_proj</code></td>" in page
    assert "<td>3</td><td><code>mlp.up_proj</code></td><td>[96, 64]</td><td>int4</td>" in page
    assert '<td>q4r</td><td class="n">4.500</td><td>32 of a row</td>' in page
    said = json.loads(json.dumps(report.as_json()))["weights"]
    assert [matrix["bits_per_weight"] for matrix in said] == [
        matrix.bits_per_weight for matrix in report.weights
    ]


def test_one_matrix_of_its_kind_is_called_by_its_name(tmp_path: Path) -> None:
    path = write_family(tmp_path / "model", "llama", tied=True)
    report = built(path, tmp_path / "out", activations="int16")
    assert counted(report.weights) == [
        "embedding and head f32, activations f32",
        "14 ternary matrices, one scale, activations int16 per token",
    ]
    path = mixed(tmp_path / "mixed")
    precision = ((UP.replace("layers.1", "layers.0"), "q8"),)
    lines = counted(built(path, tmp_path / "out2", precision=precision).weights)
    name = "model.layers.0.mlp.up_proj"
    assert f"{name} int8, a scale for each row, activations int8 per token" in lines


def test_a_ternary_head_is_a_head(tmp_path: Path) -> None:
    path = write_tiny(
        tmp_path / "model", tiny_model("llama"), "online",
        quantization={"modules_to_not_convert": ["nothing"]},
    )  # fmt: skip
    report = built(path, tmp_path / "out")
    (head,) = (matrix for matrix in report.weights if matrix.name == "lm_head.weight")
    assert (head.form, head.role) == ("ternary", "head")
    parts = {part.name: part for part in report.parts}
    assert parts["head"].bytes == head.bytes
    layers = sum(matrix.bytes for matrix in report.weights if matrix.role == "layer")
    assert parts["ternary"].bytes == layers


def test_the_bits_of_the_whole_file_are_shown(tmp_path: Path) -> None:
    report = built(write_family(tmp_path / "model", "llama"), tmp_path / "out")
    weights = sum(math.prod(matrix.shape) for matrix in report.weights)
    size = (tmp_path / "out" / DATA).stat().st_size
    assert report.bits_per_weight == 8 * size / weights
    assert report.as_json()["bits_per_weight"] == report.bits_per_weight
    tile = f"<dt>bits/weight, whole file</dt><dd>{8 * size / weights:.3f}</dd>"
    assert tile in render_page(report)


def test_a_file_says_the_same_as_the_report_of_its_build(tmp_path: Path) -> None:
    path = mixed(tmp_path / "model")
    report = built(path, tmp_path / "out")
    assert matrices(open_bitx(tmp_path / "out" / DATA)) == report.weights
    for shown in (inspect(tmp_path / "out"), inspect(tmp_path / "out" / DATA)):
        assert [(m["name"], m["numbers"], m["activations"]) for m in shown["matrices"]] == [
            (matrix.name, matrix.form, matrix.activations) for matrix in report.weights
        ]
