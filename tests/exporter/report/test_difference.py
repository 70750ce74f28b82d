"""diff: every tensor, op, byte and option that is not the same is named, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.gguf_bytes import Raw, write_model
from tests.tiny_checkpoint import (
    Checkpoint,
    Stored,
    edit_config,
    packed,
    read_safetensors,
    replace_tensor,
    stored_floats,
    write_safetensors,
)

from bitexport.emit.manifest import Bundle
from bitexport.errors import BitexportError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.report.contents import read_contents
from bitexport.report.difference import Difference, TensorDifference, compare, difference_text
from bitexport.targets import find_target

NORM = "model.layers.1.input_layernorm.weight"
PROJECTION = "model.layers.1.self_attn.k_proj"


def difference(a: Path, b: Path) -> Difference:
    """Compare two paths; as text and as JSON it can always be said."""
    found = compare(read_contents(a), read_contents(b))
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["equal"] == found.equal
    assert difference_text(found).startswith("equal: ") == found.equal
    return found


def only(found: Difference) -> TensorDifference:
    """Return the only tensor that differs."""
    (one,) = found.tensors
    return one


@pytest.fixture
def other(tiny: Checkpoint, tmp_path: Path) -> Path:
    """Return a copy of a checkpoint."""
    return Path(shutil.copytree(tiny.path, tmp_path / "other"))


# ---- checkpoints -----------------------------------------------------------------------------


def test_a_copy_is_equal(tiny: Checkpoint, other: Path, bundles: dict[str, Bundle]) -> None:
    for a, b in (
        (tiny.path, other), (tiny.path / "model.safetensors", other / "model.safetensors"),
        *((each, each) for each in (bundles["ragged"].path, bundles["ragged"].data,
                                    bundles["ragged"].graph)),
    ):  # fmt: skip
        found = difference(a, b)
        assert found.equal
        assert found.compared["tensors"] > 20


def test_one_number_of_a_float_tensor_is_found(tiny: Checkpoint, other: Path) -> None:
    stored = read_safetensors(other / "model.safetensors")[NORM]
    bits = np.frombuffer(stored.data, "<u2").copy()
    bits[7] ^= 1
    replace_tensor(other, NORM, dataclasses.replace(stored, data=bits.tobytes()))
    found = difference(tiny.path, other)
    was, became = ((int(b) << 16) for b in (bits[7] ^ 1, bits[7]))
    a, b = np.array([was, became], np.uint32).view(np.float32)
    assert only(found).what == "values"
    assert only(found).name == NORM
    values = only(found).values
    assert values is not None
    assert (values.count, values.of, values.at) == (1, 64, (7,))
    assert (values.a, values.b, values.furthest) == (a, b, abs(float(a) - float(b)))
    assert [change.name for change in found.bytes] == ["model.safetensors"]
    assert "other bytes" in difference_text(found)
    assert found.options == found.ops == ()


def test_trits_are_compared_as_trits(tiny: Checkpoint, other: Path) -> None:
    trits = tiny.trits[PROJECTION].copy()
    trits[29, 5] = -trits[29, 5] or 1
    trits[3, 60] = 1 - trits[3, 60]
    replace_tensor(other, f"{PROJECTION}.weight", packed(trits))
    values = only(difference(tiny.path, other)).values
    assert values is not None
    changed = np.argwhere(trits != tiny.trits[PROJECTION])
    assert values.count == len(changed) == 2
    assert values.at in {tuple(place) for place in changed.tolist()}
    distances = np.abs(trits.astype(int) - tiny.trits[PROJECTION])
    assert values.furthest == distances.max()


def test_missing_shape_and_stored_come_in_the_order_of_usefulness(
    tiny: Checkpoint, other: Path
) -> None:
    path = other / "model.safetensors"
    tensors = read_safetensors(path)
    floats = tiny.floats
    del tensors["model.layers.0.input_layernorm.weight"]
    tensors["extra"] = stored_floats(np.ones(3), "F32")
    tensors[NORM] = stored_floats(np.ones(65), "BF16")
    tensors["model.norm.weight"] = stored_floats(floats["model.norm.weight"], "F32")
    tensors["model.embed_tokens.weight"] = stored_floats(
        2 * floats["model.embed_tokens.weight"], "F32"
    )
    write_safetensors(path, tensors)
    found = difference(tiny.path, other)
    assert [(each.what, each.name) for each in found.tensors] == [
        ("only in A", "model.layers.0.input_layernorm.weight"), ("only in B", "extra"),
        ("shape", NORM), ("values", "model.embed_tokens.weight"), ("stored", "model.norm.weight"),
    ]  # fmt: skip
    assert found.tensors[2].words == "BF16 [64] / BF16 [65]"
    assert found.tensors[4].words == "BF16 / F32: equal values"
    values = found.tensors[3].values
    assert values is not None
    assert values.count == np.count_nonzero(floats["model.embed_tokens.weight"])
    assert values.furthest == np.abs(floats["model.embed_tokens.weight"]).max()
    titles = [line.split(":")[0] for line in difference_text(found).splitlines()
              if not line.startswith(" ")]  # fmt: skip
    assert titles == ["tensors", "bytes", "equal"]


def test_a_nan_and_a_sign_of_zero_are_differences(tiny: Checkpoint, other: Path) -> None:
    values = np.zeros(64)
    for name, changed in ((NORM, np.nan), ("model.norm.weight", -0.0)):
        for folder, number in ((tiny, 0.0), (None, changed)):
            values[11] = number
            if folder is None:
                replace_tensor(other, name, stored_floats(values, "F32"))
    twin = Path(shutil.copytree(other, other.parent / "twin"))
    for name in (NORM, "model.norm.weight"):
        replace_tensor(twin, name, stored_floats(np.zeros(64), "F32"))
    found = {each.name: each.values for each in difference(twin, other).tensors}
    nan, zero = found[NORM], found["model.norm.weight"]
    assert nan is not None
    assert zero is not None
    assert (nan.count, nan.at, nan.furthest) == (1, (11,), math.inf)
    assert (zero.count, zero.at, zero.furthest) == (1, (11,), 0.0)
    assert difference(other, other).equal


def test_the_configuration_is_compared_key_by_key(tiny: Checkpoint, other: Path) -> None:
    edit_config(other, rope_theta=5e5, tie_word_embeddings=None, something={"new": [1]})
    found = difference(tiny.path, other)
    assert {change.name: (change.a, change.b) for change in found.options} == {
        "rope_theta": ("10000.0", "500000.0"), "tie_word_embeddings": ("True", None),
        "something.new": (None, "[1]"),
    }  # fmt: skip
    assert [change.name for change in found.bytes] == ["config.json"]


def tq2_0(trits: NDArray[np.int8], scale: float) -> bytes:
    """Return a matrix as blocks: byte 32 h + m holds weights 128 h + 32 l + m in bits 2 l."""
    codes = (trits + 1).astype(np.uint8).reshape(-1, 2, 4, 32)
    data = (codes << np.array([0, 2, 4, 6], np.uint8)[:, None]).sum(2, dtype=np.uint8)
    d = np.full((len(data), 1), scale, "<f2").view(np.uint8)
    return np.concatenate([data.reshape(-1, 64), d], axis=1).tobytes()


def test_packed_trits_and_those_of_a_gguf_are_compared(tmp_path: Path) -> None:
    trits = np.random.default_rng(5).integers(-1, 2, (256, 256)).astype(np.int8)
    name = "model.layers.0.mlp.up_proj"
    gguf = write_model(
        tmp_path / "a.gguf", "llama",
        {"blk.0.ffn_up.weight": Raw(35, (256, 256), tq2_0(trits, 0.5))},
    )  # fmt: skip
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    scale = Stored("F32", (1,), np.array([0.5], "<f4").tobytes())
    write_safetensors(folder / "model.safetensors", {
        f"{name}.weight": packed(trits), f"{name}.weight_scale": scale,
    })  # fmt: skip
    found = {each.name: each for each in difference(gguf, folder).tensors}
    assert found[f"{name}.weight"].words == "TQ2_0 / packed trits: equal values"
    trits[9, 9] = 1 - trits[9, 9]
    write_safetensors(folder / "model.safetensors", {
        f"{name}.weight": packed(trits), f"{name}.weight_scale": scale,
    })  # fmt: skip
    values = {each.name: each.values for each in difference(gguf, folder).tensors}
    changed = values[f"{name}.weight"]
    assert changed is not None
    assert (changed.count, changed.at) == (1, (9, 9))
    floats = {f"{name}.weight": stored_floats(trits * 0.5, "F16")}
    write_safetensors(folder / "model.safetensors", floats)  # these have the scale in them
    values = {each.name: each.values for each in difference(gguf, folder).tensors}
    changed = values[f"{name}.weight"]
    assert changed is not None
    assert (changed.count, changed.at, changed.furthest) == (1, (9, 9), 0.5)


# ---- bundles ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def relaid(ragged: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the ragged checkpoint in another layout, with an int8 head."""
    folder = tmp_path_factory.mktemp("relaid") / "bundle"
    options, wanted = Options(layout="t5x3", embedding="q8"), Wanted(compile_library=False)
    return build_bundle(ragged.path, find_target("arm64"), options, folder, wanted)


def test_layouts_are_compared_by_the_trits_that_they_hold(
    ragged: Checkpoint, bundles: dict[str, Bundle], relaid: Bundle
) -> None:
    found = difference(bundles["ragged"].path, relaid.path)
    stored = {each.name: each.words for each in found.tensors if each.what == "stored"}
    assert {name: stored.pop(f"{name}.weight") for name in ragged.trits} == dict.fromkeys(
        ragged.trits, "p2r / t5x3: equal values"
    )
    assert stored == {"model.embed_tokens.weight": "bf16 / s8: values not comparable"}
    assert [each.name for each in found.tensors if each.what == "only in B"] == [
        "model.embed_tokens.weight_scale"
    ]
    assert {change.name for change in found.options} == {
        "layout", "options.embedding", "options.layout"
    }  # fmt: skip
    assert found.bytes[0].name == "model.bitx"
    assert {change.name for change in found.bytes} == {
        "model.bitx", "model.onnx"
    }  # fmt: skip
    assert "head.sum" in {change.name for change in found.ops}


def test_a_bundle_and_a_bitx_file_are_compared_as_files(
    bundles: dict[str, Bundle], relaid: Bundle
) -> None:
    assert difference(bundles["tiny"].path, bundles["tiny"].data).equal
    found = difference(relaid.data, bundles["ragged"].path)
    assert {change.name for change in found.bytes} >= {"data", "tensors"}


# ---- graphs ----------------------------------------------------------------------------------


def test_packed_initializers_of_other_op_types_are_compared(
    bundles: dict[str, Bundle], relaid: Bundle
) -> None:
    found = difference(bundles["ragged"].graph, relaid.graph)
    words = {each.words for each in found.tensors if "proj.weight" in each.name}
    assert words == {"p2r / t5x3: equal values"}
    text = difference_text(found)
    assert "and 13 more  op TernaryMatMulP2R / TernaryMatMulT5X3" in text
    assert "function.TernaryMatMulT5X3" in text


def network(path: Path, *, epsilon: float = 1e-5, seed: int = 0, external: str = "") -> Path:
    """Write a small ONNX model."""
    draw = np.random.default_rng(seed)
    weight = numpy_helper.from_array(draw.standard_normal((4, 3)).astype(np.float32), "w")
    if external:
        (path.parent / external).write_bytes(weight.raw_data)
        onnx.external_data_helper.set_external_data(weight, external, 0, len(weight.raw_data))
        weight.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"]),
         helper.make_node("LpNormalization", ["y"], ["z"], p=2) if epsilon else
         helper.make_node("Relu", ["y"], ["z"])],
        "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 3])], [weight],
    )  # fmt: skip
    path.write_bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
        ).SerializeToString()
    )
    return path


def test_graphs_are_compared_op_by_op(tmp_path: Path) -> None:
    a = network(tmp_path / "a.onnx")
    b = network(tmp_path / "b.onnx", epsilon=0, seed=1)
    found = difference(a, b)
    values = only(found).values
    assert values is not None
    assert (values.count, values.of) == (12, 12)
    assert [(change.name, change.a["op"], change.b["op"]) for change in found.ops] == [
        ("z", "LpNormalization", "Relu")
    ]
    assert "z  op LpNormalization / Relu; attributes p 2 / " in difference_text(found)


def test_external_data_is_compared_and_must_be_there(tmp_path: Path) -> None:
    a = network(tmp_path / "a.onnx")
    b = network(tmp_path / "b.onnx", external="weights.bin")
    found = difference(a, b)
    assert found.tensors == found.ops == ()
    assert {change.name for change in found.bytes} == {"the file", "weights.bin"}
    (tmp_path / "weights.bin").write_bytes(b"\0" * 47)
    with pytest.raises(BitexportError, match=r"tensor `w` cannot be read") as refusal:
        difference(a, b)
    assert refusal.value.hint
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(BitexportError, match=r"`weights\.bin` is no file beside it"):
        difference(a, b)


def test_a_long_difference_is_cut_as_text_alone(tmp_path: Path) -> None:
    paths = []
    for side in "ab":
        paths.append(tmp_path / f"{side}.safetensors")
        write_safetensors(
            paths[-1], {f"{side}{at}": stored_floats(np.ones(at + 1), "F32") for at in range(30)}
        )
    found = difference(*paths)
    assert len(found.tensors) == 60
    assert "  … and 36 more; --json has all" in difference_text(found)


def test_two_of_other_kinds_are_refused(tiny: Checkpoint, bundles: dict[str, Bundle]) -> None:
    with pytest.raises(BitexportError, match=r"is a bundle, .* a checkpoint: they are of two"):
        difference(bundles["tiny"].path, tiny.path)
    assert difference(tiny.path, tiny.path / "model.safetensors").tensors == ()
