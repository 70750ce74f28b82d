"""`bitexport build` makes a bundle, or says in one sentence why not and leaves nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from click.testing import Result
from tests.gguf_bytes import Raw, Sizes, floats, write_model
from tests.tiny_checkpoint import (
    Checkpoint,
    Stored,
    edit_config,
    replace_tensor,
    stored_floats,
    write_json,
    write_tokenizer,
)
from tests.tiny_families import USUAL, tiny_model, write_family, write_tiny

from bitexport.emit.manifest import Bundle, file_digests, open_bundle
from bitexport.models.parts.options import TernaryLayout

Say = Callable[..., Result]
Refuse = Callable[..., Result]


def words(checkpoint: Path, output: Path, *more: object) -> list[object]:
    """Return the words of a build without library."""
    return ["build", checkpoint, "--target", "arm64", "--no-library", "-o", output, *more]


# ---- what it makes ---------------------------------------------------------------------------


def test_stdout_is_the_path_and_stderr_the_talk(
    tiny: Checkpoint, tmp_path: Path, said: Say
) -> None:
    result = said(*words(tiny.path, tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert "67 ops, 40 tensors, layout p2r" in result.stderr
    open_bundle(tmp_path / "out", check_files=True)


def test_options_are_in_the_manifest(tiny: Checkpoint, tmp_path: Path, said: Say) -> None:
    more = ["--embedding", "q8", "--kv-cache", "f32", "--context", 32]
    assert said(*words(tiny.path, tmp_path / "out", *more)).exit_code == 0
    manifest = open_bundle(tmp_path / "out", check_files=True).manifest
    assert manifest["options"] == {
        "embedding": "q8", "cache": "f32", "context": 32,
    }  # fmt: skip
    assert manifest["model"]["context"] == 32


def test_every_choice_is_in_manifest_and_report(
    tmp_path: Path, said: Say, bundles: dict[str, Bundle]
) -> None:
    path = write_family(tmp_path / "model", "llama")
    more = ["--embedding", "q4", "--activations", "int16", "--head-activations", "int8",
            "--precision", "lm_head=q8", "--precision", "model.embed_*=q4", "--family", "llama",
            "--container", "safetensors", "--no-selftest"]  # fmt: skip
    result = said(*words(path, tmp_path / "out", *more))
    assert result.exit_code == 0, result.output
    chosen = open_bundle(tmp_path / "out", check_files=True).manifest["options"]
    assert chosen == {
        "embedding": "q4", "cache": "f16", "activations": "int16",
        "head_activations": "int8", "precision": [["lm_head", "q8"], ["model.embed_*", "q4"]],
        "family": "llama", "container": "safetensors",
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))["options"] == chosen
    assert bundles["tiny"].manifest["options"] == {"cache": "f16"}
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "lm_head=q8 model.embed_*=q4" in report
    assert "int16: you asked for it" in report
    assert "activations int16: you asked for it" in result.stderr


@pytest.mark.parametrize("layout", get_args(TernaryLayout))
def test_trits_lie_as_the_user_says(
    layout: str, tiny: Checkpoint, tmp_path: Path, said: Say
) -> None:
    result = said(*words(tiny.path, tmp_path / "out", "--layout", layout))
    assert result.exit_code == 0, result.output
    assert f"67 ops, 40 tensors, layout {layout}\n" in result.stderr
    manifest = open_bundle(tmp_path / "out", check_files=True).manifest
    assert manifest["layout"] == manifest["options"]["layout"] == layout
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["options"]["layout"] == layout
    assert {t["layout"] for t in report["tensors"]} == {layout, "plain"}
    inspected = json.loads(said("inspect", tmp_path / "out", "--json").stdout)
    assert inspected["layout"] == layout


def test_an_unknown_layout_is_refused_in_one_sentence(
    tiny: Checkpoint, tmp_path: Path, said: Say
) -> None:
    result = said(*words(tiny.path, tmp_path / "out", "--layout", "t5x4"))
    assert result.exit_code == 64
    (*_, sentence) = result.stderr.splitlines()
    assert "'t5x4' is not one of 'p2r', 'p2b', 't5x3', 'p16'" in sentence
    assert not (tmp_path / "out").exists()


def test_signs_keep_their_layout(tmp_path: Path, said: Say) -> None:
    path = write_family(tmp_path / "model", "qwen3", binary=True)
    assert said(*words(path, tmp_path / "out", "--layout", "t5x3")).exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert "t5x3" not in {t["layout"] for t in report["tensors"]}


def test_it_says_what_it_found_and_what_it_made_of_it(tmp_path: Path, said: Say) -> None:
    path = write_family(tmp_path / "model", "qwen3")
    result = said(*words(path, tmp_path / "out", "--precision", "lm_head=q8"))
    for line in (
        "safetensors, family qwen3; activations int16: only the weights were quantized in training",
        "14 ternary matrices, one scale, activations int16 per token",
        "head int8, a scale for each row, activations int16 per token",
        "embedding f32",
    ):
        assert f"\n{line}\n" in f"\n{result.stderr}", result.stderr


@pytest.mark.parametrize("family", USUAL)
def test_every_family_is_built(family: str, tmp_path: Path, said: Say) -> None:
    path = write_family(tmp_path / "model", family)
    assert said(*words(path, tmp_path / "out")).exit_code == 0
    model = open_bundle(tmp_path / "out", check_files=True).manifest["model"]
    assert (model["family"], model["container"]) == (family, "safetensors")


def test_shards_give_the_bundle_of_the_single_file(
    tiny: Checkpoint, tmp_path: Path, said: Say, bundles: dict[str, Bundle]
) -> None:
    raw = tmp_path / "sharded"
    shutil.copytree(tiny.path, raw)
    (raw / "model.safetensors").rename(raw / "only.safetensors")
    names = [*(f"{name}.weight" for name in tiny.trits), *tiny.floats]
    table = {"weight_map": dict.fromkeys(names, "only.safetensors")}
    write_json(raw / "model.safetensors.index.json", table)
    assert said(*words(raw, tmp_path / "out")).exit_code == 0
    first, second = file_digests(bundles["tiny"].path), file_digests(tmp_path / "out")
    assert second["model.onnx"] == first["model.onnx"]


@pytest.mark.usefixtures("no_tools")
def test_without_a_compiler_the_bundle_holds_source_only_and_it_says_so(
    tiny: Checkpoint, tmp_path: Path, said: Say
) -> None:
    result = said("build", tiny.path, "--target", "arm64", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "no aarch64-linux-gnu-gcc here: the bundle will hold source only" in result.stderr
    assert "bitexport doctor --target arm64" in result.stderr
    bundle = open_bundle(tmp_path / "out", check_files=True)
    assert not (bundle.path / "lib").exists()
    assert (bundle.path / "CMakeLists.txt").is_file()


def test_without_an_archiver_nothing_is_left(
    tiny: Checkpoint, tmp_path: Path, refused: Refuse, only_tools: Callable[..., None]
) -> None:
    only_tools("arm-none-eabi-gcc")
    output = tmp_path / "new" / "out"
    result = refused(
        5, "`arm-none-eabi-ar` is not installed", "build", tiny.path, "--target", "cortex-m4",
        "-o", output,
    )  # fmt: skip
    assert "apt-get install" in result.stderr
    assert not output.parent.exists()


# ---- what it refuses -------------------------------------------------------------------------


SCALE = "model.layers.0.mlp.up_proj.weight_scale"
WEIGHT = "model.layers.0.mlp.up_proj.weight"
BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "tokenizer_broken": (lambda p: (p / "tokenizer.json").write_text("{"), "tokenizer.json"),
    "config_missing": (lambda p: (p / "config.json").unlink(), "config.json"),
    "config_broken": (lambda p: (p / "config.json").write_text("{"), "config.json"),
    "weights_missing": (lambda p: (p / "model.safetensors").unlink(), "model.safetensors"),
    "weights_empty": (lambda p: (p / "model.safetensors").write_bytes(b""), "model.safetensors"),
    "weights_truncated": (
        lambda p: (p / "model.safetensors").write_bytes(
            (p / "model.safetensors").read_bytes()[:-1]), "model.safetensors"),
    "shard_outside": (
        lambda p: (write_json(p / "model.safetensors.index.json", {"weight_map": {"x": "../x"}}),
                   (p / "model.safetensors").unlink()),
        "`../x`"),
    "two_containers": (
        lambda p: write_json(p / "model.safetensors.index.json", {"weight_map": {}}),
        "as sharded and as safetensors"),
    "float_model": (lambda p: edit_config(p, quantization_config=None), "float model"),
    "unknown_model_type": (lambda p: edit_config(p, model_type="gpt2"), "`gpt2`"),
    "unknown_activation": (lambda p: edit_config(p, hidden_act="gelu"), "`gelu`"),
    "sizes_lie": (lambda p: edit_config(p, intermediate_size=128), "config.json promises"),
    "token_outside": (lambda p: edit_config(p, bos_token_id=96), "special token 96"),
    "scale_nan": (
        lambda p: replace_tensor(p, SCALE, stored_floats(np.array([np.nan]), "BF16")), SCALE),
    "scale_zero": (lambda p: replace_tensor(p, SCALE, stored_floats(np.zeros(1), "BF16")), SCALE),
    "embedding_nan": (
        lambda p: replace_tensor(p, "model.embed_tokens.weight",
                                 stored_floats(np.full((96, 64), np.nan), "BF16")),
        "`model.embed_tokens.weight` holds a NaN"),
    "fourth_code": (
        lambda p: replace_tensor(p, WEIGHT, Stored("U8", (24, 64), b"\xff" * 24 * 64)), WEIGHT),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_exit_3_and_leaves_nothing(
    fault: str, broken: Path, tmp_path: Path, refused: Refuse
) -> None:
    break_it, names = BAD_CHECKPOINTS[fault]
    break_it(broken)
    refused(3, names, *words(broken, tmp_path / "new" / "out"))
    assert list(tmp_path.iterdir()) == [broken]


def test_a_ternary_model_is_not_ternarized_and_its_float_twin_not_built(
    tmp_path: Path, refused: Refuse
) -> None:
    path = write_tiny(tmp_path / "model", tiny_model("llama"), "unpacked")
    result = refused(
        3, "q_proj` is ternary already", *words(path, tmp_path / "out", "--ternarize", "absmean")
    )
    assert "build it without --ternarize" in result.stderr
    assert "packing" not in result.stderr


# ---- GGUF of types that are rounded after training -------------------------------------------


SIZES = Sizes(vocabulary=96)
TQ2_0, Q8_0, Q4_K, Q6_K = 35, 8, 12, 14


def blocks_of(kind: int, shape: tuple[int, int]) -> Raw:
    """Return random blocks with small scales."""
    weights, size, *scales = {
        TQ2_0: (256, 66, 64), Q8_0: (32, 34, 0), Q4_K: (256, 144, 0, 2), Q6_K: (256, 210, 208),
    }[kind]  # fmt: skip
    draw = np.random.default_rng(shape[0])
    blocks = draw.integers(0, 256, (shape[0] * shape[1] // weights, size), np.uint8)
    blocks = blocks & 0x55 if kind == TQ2_0 else blocks
    for at in scales:
        blocks[:, at : at + 2] = np.array([2**-9], "<f2").view(np.uint8)
    return Raw(kind, shape, blocks.tobytes())


def write_k_quants(folder: Path, kinds: dict[str, int], usual: int) -> Path:
    """Write a Llama whose matrices are of these types, beside a tokenizer."""
    width, kv = SIZES.heads * SIZES.head_size, SIZES.kv_heads * SIZES.head_size
    shapes = {
        "attn_q": (width, SIZES.hidden), "attn_k": (kv, SIZES.hidden),
        "attn_v": (kv, SIZES.hidden), "attn_output": (SIZES.hidden, width),
        "ffn_gate": (SIZES.inner, SIZES.hidden), "ffn_up": (SIZES.inner, SIZES.hidden),
        "ffn_down": (SIZES.hidden, SIZES.inner),
    }  # fmt: skip
    norm = floats(np.ones(SIZES.hidden))
    tensors = {
        f"blk.0.{name}.weight": blocks_of(kinds.get(name, usual), shape)
        for name, shape in shapes.items()
    }
    tensors |= {
        "blk.0.attn_norm.weight": norm, "blk.0.ffn_norm.weight": norm,
        "output_norm.weight": norm, "output.weight": blocks_of(Q6_K, (96, SIZES.hidden)),
        "token_embd.weight": blocks_of(Q4_K, (96, SIZES.hidden)),
    }  # fmt: skip
    folder.mkdir()
    write_tokenizer(folder / "tokenizer.json", SIZES.vocabulary)
    return write_model(folder / "model.gguf", "llama", tensors, SIZES)


def test_a_float_model_in_k_quants_becomes_ternary_as_its_refusal_says(
    tmp_path: Path, said: Say, refused: Refuse
) -> None:
    path = write_k_quants(tmp_path / "model", {"attn_v": Q6_K, "ffn_down": Q8_0}, Q4_K)
    result = refused(
        3, "is Q4_K: rounded after training, not ternary", *words(path, tmp_path / "x")
    )
    assert "a whole model of this type: --ternarize absmean" in result.stderr
    made = said(*words(path, tmp_path / "out", "--ternarize", "absmean"))
    assert made.exit_code == 0, made.output
    assert "7 ternary matrices, one scale, activations int16 per token" in made.stderr
    cost = open_bundle(tmp_path / "out").manifest["measured"]["ternarize"]
    assert cost["before"] != cost["after"]


def test_a_layer_in_a_k_quant_among_ternary_ones_is_kept_as_its_refusal_says(
    tmp_path: Path, said: Say, refused: Refuse
) -> None:
    path = write_k_quants(tmp_path / "model", {"ffn_down": Q6_K}, TQ2_0)
    result = refused(
        3, "is Q6_K: rounded after training, not ternary", *words(path, tmp_path / "x")
    )
    assert "for a few layers only: --precision PATTERN=f32" in result.stderr
    made = said(*words(path, tmp_path / "out", "--precision", "*.down_proj.weight=f32"))
    assert made.exit_code == 0, made.output
    assert "6 ternary matrices, one scale, activations int16 per token" in made.stderr


def test_a_folder_that_is_missing_is_exit_3(tmp_path: Path, refused: Refuse) -> None:
    refused(3, "absent: no such checkpoint folder", *words(tmp_path / "absent", tmp_path / "out"))


def test_a_target_that_does_not_exist_is_exit_2(
    tiny: Checkpoint, tmp_path: Path, refused: Refuse
) -> None:
    result = refused(
        2, "there is no target `arm46`", "build", tiny.path, "--target", "arm46", "-o",
        tmp_path / "out",
    )  # fmt: skip
    assert "did you mean `arm64`" in result.stderr


def test_a_context_beyond_the_model_is_exit_3_with_the_one_that_fits(
    tiny: Checkpoint, tmp_path: Path, refused: Refuse
) -> None:
    result = refused(3, "not 65", *words(tiny.path, tmp_path / "out", "--context", 65))
    assert "--context 64" in result.stderr


def test_an_output_that_exists_is_exit_1_and_stays(
    tiny: Checkpoint, tmp_path: Path, refused: Refuse, said: Say
) -> None:
    output = tmp_path / "out"
    assert said(*words(tiny.path, output)).exit_code == 0
    before = file_digests(output)
    result = refused(1, f"{output}: already exists", *words(tiny.path, output))
    assert "--force" in result.stderr
    refused(3, "absent", *words(tmp_path / "absent", output, "--force"))
    assert file_digests(output) == before
    assert said(*words(tiny.path, output, "--force")).exit_code == 0
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    "wrong",
    [
        ["build"],
        ["build", "x"],
        ["build", "x", "--target", "arm64"],
        ["build", "x", "-o", "y"],
        ["build", "x", "--target", "arm64", "-o", "y", "--embedding", "q5"],
        ["build", "x", "--target", "arm64", "-o", "y", "--activations", "int7"],
        ["build", "x", "--target", "arm64", "-o", "y", "--precision", "lm_head"],
        ["build", "x", "--target", "arm64", "-o", "y", "--precision", "=q8"],
        ["build", "x", "--target", "arm64", "-o", "y", "--precision", "lm_head=q5"],
        ["build", "x", "--target", "arm64", "-o", "y", "--family", "gpt2"],
        ["build", "x", "--target", "arm64", "-o", "y", "--container", "zip"],
        ["build", "x", "--target", "arm64", "-o", "y", "--ternarize", "absmax"],
        ["build", "x", "--target", "arm64", "-o", "y", "--context", "1"],
        ["build", "x", "--target", "arm64", "-o", "y", "--context", "many"],
        ["build", "x", "y", "--target", "arm64", "-o", "z"],
    ],
    ids=" ".join,
)
def test_wrong_words_are_exit_64(wrong: list[str], said: Say) -> None:
    result = said(*wrong)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "Error: " in result.stderr


def test_the_program_itself_refuses_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bitexport", *map(str, words(tmp_path, tmp_path / "out"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {tmp_path}: holds neither model.safetensors ")
    assert "\n\nhint: " in done.stderr


def test_the_manifest_is_json_that_a_person_can_read(bundles: dict[str, Bundle]) -> None:
    text = (bundles["tiny"].path / "manifest.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_a_step_for_litert_is_built_run_and_measured(
    tiny: Checkpoint, said: Say, tmp_path: Path
) -> None:
    words = ["--target", "host", "-o", tmp_path / "out", "--no-library", "--no-selftest"]
    result = said("build", tiny.path, *words, "--tflite", "int2", "--tflite", "custom")
    assert result.exit_code == 0, result.output
    assert "model_int2_near.tflite: KL " in result.stderr
    assert "model_custom.tflite: not run, its delegate is not built" in result.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.tflite")} == {
        "model_custom.tflite", "model_int2_near.tflite",
    }  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "model_int2_near.tflite</td><td>KL " in page
