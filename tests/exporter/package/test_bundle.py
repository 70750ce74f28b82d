"""A bundle appears whole or not at all, and twice the same."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiny_checkpoint import (
    Checkpoint,
    Shape,
    edit_config,
    replace_tensor,
    stored_floats,
    write_checkpoint,
)

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.emit.manifest import Bundle, file_digests, open_bundle
from bitexport.errors import BitexportError, CheckpointError, OutputError, TargetError
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import StoredMatrix
from bitexport.package import bundle as bundle_module
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.self_test import self_test_tokens
from bitexport.progress import Advance
from bitexport.targets import find_target
from bitexport_ref.bitx import check_hashes, open_bitx, self_test

Fault = Callable[..., Any]

NORM = "model.norm.weight"

# Where a build writes: a function of each step, by module and name.
STEPS = [
    "bitexport.emit.bitx._write", "bitexport.emit.bitx.BitxWriter.add",
    "bitexport.emit.bitx.BitxWriter.finish", "bitexport.package.bundle.write_onnx",
    "bitexport.package.bundle.read_back", "bitexport.package.bundle.self_test_section",
    "bitexport.package.bundle.copy_runtime", "bitexport.package.bundle.cmake_lists",
    "bitexport.package.bundle.file_digests", "shutil.copyfile", "pathlib.Path.write_text",
    "pathlib.Path.chmod", "pathlib.Path.rename",
]  # fmt: skip


def build(checkpoint: Path, output: Path, target: str = "arm64", **words: Any) -> Bundle:
    """Build without a library."""
    options = words.pop("options", Options())
    return build_bundle(
        checkpoint, find_target(target), options, output, Wanted(compile_library=False, **words)
    )


class Told:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: dict[str, tuple[list[int], int]] = {}

    def say(self, text: str) -> None:
        """Remember a sentence."""
        self.said.append(text)

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        """Remember how far it came."""
        self.stages[name] = ([], total)
        yield self.stages[name][0].append


def raising(error: BaseException) -> Fault:
    """Return a function that fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


# ---- twice the same --------------------------------------------------------------------------


def test_two_builds_are_equal_byte_for_byte(
    host_bundle: Bundle, tiny: Checkpoint, tmp_path: Path
) -> None:
    """The second one from another folder, into a deeper one, library included."""
    moved = Path(shutil.copytree(tiny.path, tmp_path / "somewhere" / "else"))
    output = tmp_path / "a" / "deeper" / "folder"
    second = build_bundle(moved, find_target("host"), Options(), output)
    first_files, second_files = file_digests(host_bundle.path), file_digests(second.path)
    assert "lib/host/libbitexport.a" in first_files
    assert second_files == first_files
    assert filecmp.cmp(host_bundle.path / "manifest.json", output / "manifest.json", shallow=False)


def test_a_bundle_can_be_read_by_everybody_who_may(tiny: Checkpoint, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        build(tiny.path, tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out" / "model.bitx").stat().st_mode) == 0o644


def test_what_the_user_must_keep_travels_along(broken: Path, tmp_path: Path) -> None:
    (broken / "LICENSE").write_text("free", encoding="utf-8")
    (broken / "notes.txt").write_text("private", encoding="utf-8")
    bundle = build(broken, tmp_path / "out")
    assert (bundle.path / "LICENSE").read_text(encoding="utf-8") == "free"
    assert (bundle.path / "tokenizer.json").read_bytes() == (broken / "tokenizer.json").read_bytes()
    assert not (bundle.path / "notes.txt").exists()


# ---- whole or not at all ---------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_full_leaves_nothing(
    step: str, tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device") as refusal:
        build(tiny.path, tmp_path / "new" / "out")
    monkeypatch.undo()
    assert refusal.value.exit_code == 1
    assert refusal.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=["ctrl_c", "memory"])
def test_a_build_that_is_stopped_leaves_nothing(
    step: str, error: BaseException, tiny: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(step, raising(error))
    with pytest.raises(type(error)):
        build(tiny.path, tmp_path / "out")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_file_size_limit_of_the_system_leaves_nothing(tiny: Checkpoint, tmp_path: Path) -> None:
    """No simulation: the kernel itself refuses to write on, after 40 blocks."""
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh", sys.executable, "-m", "bitexport", "build",
         str(tiny.path), "--target", "arm64", "--no-library", "-o", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "File too large" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_before_anything_is_read(
    tmp_path: Path, bundles: dict[str, Bundle]
) -> None:
    with pytest.raises(OutputError, match="already exists") as refusal:
        build(tmp_path / "no checkpoint here", bundles["tiny"].path)
    assert "--force" in str(refusal.value.hint)


@pytest.fixture
def occupied(bundles: dict[str, Bundle], tmp_path: Path) -> Path:
    """Return an output folder that holds a bundle of another checkpoint."""
    return Path(shutil.copytree(bundles["ragged"].path, tmp_path / "out"))


def test_force_replaces_a_bundle(occupied: Path, tiny: Checkpoint, tmp_path: Path) -> None:
    (occupied / "left over").write_text("", encoding="utf-8")
    build(tiny.path, occupied, replace=True)
    assert open_bundle(occupied, check_files=True).manifest["model"]["hidden"] == tiny.shape.hidden
    assert not (occupied / "left over").exists()
    assert list(tmp_path.iterdir()) == [occupied]


def test_force_takes_an_empty_folder(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(tiny.path, tmp_path / "out", replace=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
    ids=["disk_full", "ctrl_c"],
)  # fmt: skip
def test_a_failing_build_with_force_keeps_the_old_bundle(
    step: str, error: BaseException, occupied: Path, tiny: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = file_digests(occupied)
    monkeypatch.setattr(step, raising(error))
    with pytest.raises((OutputError, KeyboardInterrupt)):
        build(tiny.path, occupied, replace=True)
    monkeypatch.undo()
    assert file_digests(occupied) == before
    assert list(tmp_path.iterdir()) == [occupied]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_an_exchange_that_fails_half_way_brings_the_old_bundle_back(
    error: BaseException, occupied: Path, tiny: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before, rename = file_digests(occupied), Path.rename
    calls: list[Path] = []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        build(tiny.path, occupied, replace=True)
    monkeypatch.undo()
    assert len(calls) == 3
    assert file_digests(occupied) == before
    assert list(tmp_path.iterdir()) == [occupied]


def test_force_never_replaces_what_is_no_bundle(tiny: Checkpoint, broken: Path) -> None:
    """The checkpoint itself, say: its weights exist nowhere else."""
    before = file_digests(broken)
    for output in (broken, broken / "config.json"):
        with pytest.raises(OutputError, match="is not a bundle") as refusal:
            build(broken, output, replace=True)
        assert refusal.value.hint
    assert file_digests(broken) == before


def test_an_output_below_a_file_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written") as refusal:
        build(tiny.path, tmp_path / "file" / "out")
    assert refusal.value.hint


def test_a_parent_that_may_not_be_written_is_refused(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode would not stop root, who runs many a test."""
    fault = raising(PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr("tempfile.mkdtemp", fault)
    with pytest.raises(OutputError, match="out: cannot be written: Permission denied") as refusal:
        build(tiny.path, tmp_path / "out")
    assert refusal.value.hint


@pytest.mark.parametrize(
    "fault",
    [
        lambda path: (path / "tokenizer.json").write_text("{}", encoding="utf-8"),
        lambda path: (path / "tokenizer.json").write_bytes(b"\xff"),
        lambda path: (path / "config.json").unlink(),
        lambda path: edit_config(path, hidden_act="gelu"),
        lambda path: replace_tensor(path, NORM, stored_floats(np.full(64, np.nan), "F32")),
        lambda path: replace_tensor(path, NORM, stored_floats(np.full(64, 3e38), "F32")),
    ],
    ids=["tokenizer_empty", "tokenizer_no_json", "config_missing",
         "config_unsupported", "weight_nan", "weight_overflows"],
)  # fmt: skip
def test_a_bad_checkpoint_leaves_nothing(
    fault: Callable[[Path], object], broken: Path, tmp_path: Path
) -> None:
    fault(broken)
    with pytest.raises(CheckpointError) as refusal:
        build(broken, tmp_path / "new" / "out")
    assert refusal.value.hint
    assert list(tmp_path.iterdir()) == [broken]


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", Shape(vocabulary=8))
    larger = write_checkpoint(tmp_path / "larger", Shape(vocabulary=96))
    shutil.copyfile(larger.path / "tokenizer.json", checkpoint.path / "tokenizer.json")
    says = "the tokenizer has tokens up to number 95, the model a vocabulary of 8"
    with pytest.raises(CheckpointError, match=says):
        build(checkpoint.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- the self-test ---------------------------------------------------------------------------


def test_without_a_self_test_the_file_is_sound_and_says_that_it_has_none(
    tiny: Checkpoint, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    bundle = build(tiny.path, tmp_path / "out", self_test=False)
    bitx = open_bitx(bundle.data)
    check_hashes(bitx)
    assert self_test(bitx) is None
    assert bundle.manifest["self_test"] is None
    with_one = open_bitx(bundles["tiny"].data)
    assert [section.id for section in bitx.sections] == [1, 2, 4, 5, 6, 7, 8, 9, 13]
    assert [section.id for section in with_one.sections] == [1, 2, 4, 5, 6, 7, 8, 9, 12, 13]
    assert [t.size for t in bitx.tensors] == [t.size for t in with_one.tensors]


def test_a_checkpoint_without_tokenizer_is_built_and_tested_with_fixed_tokens(
    broken: Path, tmp_path: Path
) -> None:
    (broken / "tokenizer.json").unlink()
    bundle = build(broken, tmp_path / "out")
    tested = self_test(open_bitx(bundle.data))
    assert tested is not None
    assert tested.prompt == (1, *(7919 * i % 96 for i in range(1, 9)))
    assert not (bundle.path / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("weights", "generated"),
    [(1 << 20, 16), (1 << 27, 16), (1 << 28, 8), (7 * 10**8, 3), (24 * 10**8, 2), (10**10, 2)],
)
def test_a_large_model_is_tested_with_fewer_tokens(
    weights: int, generated: int, tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Facts(
        name="x", family="bitnet", vocabulary=100, context=64, hidden=4, layers=1, heads=1,
        kv_heads=1, head_size=4, bos=1, eos=(), tokens="input_ids", logits="logits",
    )  # fmt: skip
    matrix = Matrix("w", Kind.TRITS, weights, 1, lambda a, b: np.zeros((b - a, 1), np.int8))
    tensors = {"w": StoredMatrix(matrix, (weights, 1))}
    tokens = self_test_tokens(None, facts, tensors)
    assert tokens.generated == generated
    assert len(tokens.prompt) == min(9, 2 * generated)
    passes = tokens.generated
    assert passes * weights <= max(1 << 31, 2 * weights)


# ---- how far it is ---------------------------------------------------------------------------


def test_each_stage_is_told_and_how_far_it_is(tiny: Checkpoint, tmp_path: Path) -> None:
    told = Told()
    bundle = build(tiny.path, tmp_path / "out", progress=told)
    weights = sum(tensor.size for tensor in open_bitx(bundle.data).tensors)
    assert list(told.stages) == ["packing", "reading back", "self-test"]
    for name, total in (("packing", weights), ("reading back", weights), ("self-test", None)):
        seen, whole = told.stages[name]
        assert seen == sorted(seen)
        assert seen[-1] == whole
        assert total in (None, whole)
    assert any(re.fullmatch(r"tiny: \d+ ops, \d+ tensors, layout p2r", text) for text in told.said)
    assert re.fullmatch(r"built in .* s and .* s for the self-test; peak .* [MG]B", told.said[-1])


# ---- context and memory ----------------------------------------------------------------------


@pytest.mark.parametrize("context", [2, 3, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 64])
def test_any_context_gets_a_self_test_that_fits_it(
    context: int, tiny: Checkpoint, tmp_path: Path
) -> None:
    bundle = build(tiny.path, tmp_path / "out", options=Options(context=context))
    bitx = open_bitx(bundle.data)
    check_hashes(bitx)
    tested = self_test(bitx)
    assert tested is not None
    assert len(tested.prompt) + len(tested.generated) - 1 <= context == bitx.facts.context


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55"])
def test_a_context_too_long_for_the_memory_names_one_that_builds(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model").path
    edit_config(path, max_position_embeddings=1 << 19)
    target = find_target(name)
    assert target.ram_bytes is not None
    wide = Options(cache="f32", context=None)
    with pytest.raises(TargetError, match="a context of 524288 tokens") as refusal:
        build(path, tmp_path / "out", name, options=wide)
    assert refusal.value.exit_code == 2
    assert not (tmp_path / "out").exists()
    hint = str(refusal.value.hint)
    assert hint.startswith("use --context ")
    context = int(hint.split()[2])
    with pytest.raises(TargetError, match=f"a context of {context + 1} tokens"):
        build(path, tmp_path / "out", name, options=Options(cache="f32", context=context + 1))
    memory = build(
        path, tmp_path / "out", name, options=Options(cache="f32", context=context)
    ).manifest["memory"]
    assert memory["data_bytes"] + memory["arena_bytes_1_rows"] <= target.ram_bytes


def test_a_model_too_large_for_the_memory_at_any_context_says_so(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "RECORD_BYTES", 1 << 20)
    with pytest.raises(TargetError) as refusal:
        build(tiny.path, tmp_path / "out", "cortex-m4")
    assert refusal.value.hint == "the model is too large for it"


def test_every_refusal_is_of_the_kind_that_the_user_can_act_on() -> None:
    assert issubclass(OutputError, BitexportError)
    assert issubclass(TargetError, BitexportError)
