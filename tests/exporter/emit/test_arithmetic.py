"""What a file computes has one name in every layout, and another when one number differs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_checkpoint import Checkpoint, read_safetensors, write_safetensors

from bitexport.emit.bitx import ARITHMETIC
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.text import WantedText
from bitexport.targets import find_target, load_targets
from bitexport_ref.arithmetic import check_arithmetic, find_arithmetic, stored_arithmetic
from bitexport_ref.bitx import Bitx, BitxError, open_bitx, read_bitx

BARE = Wanted(self_test=False, compile_library=False, text=WantedText(depth="none"))
LAYOUTS = ("p2r", "p2b", "t5x3", "p16")

Build = Callable[..., Bitx]
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds a checkpoint, with options, and opens the file."""

    @functools.cache
    def built(path: Path, target: str = "host", wanted: Wanted = BARE, **options: Any) -> Bitx:
        folder = tmp_path_factory.mktemp("built") / "out"
        return open_bitx(
            build_bundle(path, find_target(target), Options(**options), folder, wanted).data
        )

    return built


@pytest.fixture
def changed(tiny: Checkpoint, tmp_path: Path) -> Callable[[Change], Path]:
    """Return a function that gives a copy of the checkpoint with a change."""

    def change(how: Change) -> Path:
        path = Path(shutil.copytree(tiny.path, tmp_path / "changed"))
        how(path)
        return path

    return change


def test_every_layout_target_and_context_computes_the_same(each: Checkpoint, build: Build) -> None:
    own = stored_arithmetic(build(each.path))
    assert own is not None
    for layout in LAYOUTS:
        assert stored_arithmetic(build(each.path, layout=layout)) == own
    for target in load_targets():
        assert stored_arithmetic(build(each.path, target=target)) == own
    for context in (2, 17, 47):
        assert stored_arithmetic(build(each.path, context=context)) == own


def test_text_and_self_test_are_no_arithmetic(tiny: Checkpoint, build: Build) -> None:
    whole = Wanted(compile_library=False)
    assert stored_arithmetic(build(tiny.path, wanted=whole)) == stored_arithmetic(build(tiny.path))


def test_the_reference_finds_it_again_in_every_layout(each: Checkpoint, build: Build) -> None:
    for layout in LAYOUTS:
        bitx = build(each.path, layout=layout)
        check_arithmetic(bitx)
        assert find_arithmetic(bitx) == stored_arithmetic(bitx)


@pytest.mark.parametrize(
    "options",
    [
        {"cache": "f32"}, {"embedding": "q8"}, {"embedding": "q4"}, {"embedding": "f32"},
        {"activations": "int16"}, {"activations": "int4"},
        {"embedding": "q8", "head_activations": "int8"},
        {"embedding": "q8", "head_activations": "int16"},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_of_numbers_is_another(
    options: dict[str, Any], tiny: Checkpoint, build: Build
) -> None:
    assert stored_arithmetic(build(tiny.path, **options)) != stored_arithmetic(build(tiny.path))


def one_trit(path: Path) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    _change(path, name, lambda byte: (byte & ~3) | ((byte & 3) + 1) % 3)


def one_scale(path: Path) -> None:
    _change(path, "model.layers.0.self_attn.k_proj.weight_scale", lambda byte: byte ^ 1)


def one_float_of_the_embedding(path: Path) -> None:
    _change(path, "model.embed_tokens.weight", lambda byte: byte ^ 1)


def one_float_of_a_norm(path: Path) -> None:
    _change(path, "model.norm.weight", lambda byte: byte ^ 1)


def _change(path: Path, name: str, change: Callable[[int], int]) -> None:
    """Change the first byte of a tensor."""
    file = path / "model.safetensors"
    tensors = read_safetensors(file)
    raw = bytearray(tensors[name].data)
    raw[0] = change(raw[0])
    write_safetensors(file, {**tensors, name: dataclasses.replace(tensors[name], data=bytes(raw))})


def _configure(key: str, value: object) -> Change:
    def change(path: Path) -> None:
        file = path / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        assert config[key] != value
        file.write_text(json.dumps({**config, key: value}), encoding="utf-8")

    change.__name__ = key
    return change


@pytest.mark.parametrize(
    "change",
    [
        one_trit, one_scale, one_float_of_the_embedding, one_float_of_a_norm,
        _configure("rope_theta", 10001.0), _configure("rms_norm_eps", 1e-6),
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_one_number_that_differs_is_another(
    change: Change, tiny: Checkpoint, changed: Callable[[Change], Path], build: Build
) -> None:
    assert stored_arithmetic(build(changed(change))) != stored_arithmetic(build(tiny.path))


def test_a_file_that_says_another_than_it_computes_is_found_out(
    tiny: Checkpoint, build: Build
) -> None:
    bitx = build(tiny.path)
    blob = bytearray(bitx.blob[0 : len(bitx.blob)])
    section = bitx.section(ARITHMETIC)
    assert section is not None

    def broken(at: int) -> Bitx:
        other = bytearray(blob)
        other[section.offset + at] ^= 1
        index = bitx.sections.index(section)
        row = 64 * (1 + index)
        body = bytes(other[section.offset : section.end])
        other[row + 32 : row + 64] = hashlib.sha256(body).digest()
        table = bytes(other[64 : 64 * (1 + len(bitx.sections))])
        other[32:64] = hashlib.sha256(bytes(other[:32]) + table).digest()
        return read_bitx(bytes(other))

    with pytest.raises(BitxError, match=r"R30 \(BITX_E_HASH\)"):
        check_arithmetic(broken(4))
    with pytest.raises(BitxError, match=r"R30 \(BITX_E_UNSUPPORTED\): version 0"):
        check_arithmetic(broken(0))
