"""The bundle: everything a build writes, in one folder that appears whole or not at all."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import bitexport_ref.evaluator
import bitexport_ref.self_test
from bitexport import __version__
from bitexport.checkpoints.folder import open_checkpoint
from bitexport.emit.bitx import PROVENANCE, SELF_TEST, BitxWriter
from bitexport.emit.manifest import DATA, GRAPH, MANIFEST, Bundle, file_digests, open_bundle
from bitexport.emit.onnx_graph import write_onnx
from bitexport.emit.source import copy_runtime
from bitexport.errors import CheckpointError, MismatchError, OutputError, TargetError
from bitexport.models import build_model
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import StoredMatrix, stored_matrices
from bitexport.passes.pipeline import lower
from bitexport.passes.plan import Plan
from bitexport.passes.plan_memory import arena_bytes
from bitexport.targets import Target
from bitexport.tokenizer.text import FILE as TOKENIZER
from bitexport.tokenizer.text import encode, load_tokenizer
from bitexport.toolchain.cmake import cmake_lists
from bitexport.toolchain.compile import build_library, sources
from bitexport_ref.bitx import BitxError, open_bitx
from bitexport_ref.digests import printed
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.ops import ternary_matmul

SELF_TEST_PROMPT = "Once upon a time, there was a little"
SELF_TEST_TOKENS = 16
SELF_TEST_MEMORY = 64 << 20
SECTIONS = 9
LEAST_CONTEXT = 2
CHUNK_ROWS = 16  # of a session that asks for nothing else
RECORD_BYTES = 256  # in the file, for an op, value or tensor: record, name, operands, self-test
COPIED = (TOKENIZER, "tokenizer_config.json", "LICENSE", "LICENSE.txt", "NOTICE")

Stage = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """What a build has made so far, for whoever describes it: nothing of it changes any more."""

    data: Path
    target: Target
    options: Options
    facts: Facts
    plan: Plan


Describe = Callable[[Built], Mapping[str, str]]


def build_bundle(
    checkpoint_path: Path, target: Target, options: Options, output: Path, *,
    replace: bool = False, compile_library: bool = True, stage: Stage = lambda text: None,
    describe: Describe = lambda built: {},
) -> Bundle:  # fmt: skip
    """Build a checkpoint for a target into the folder `output`.

    What `describe` says of the model, texts by file name, becomes part of the bundle.
    """
    _refuse_output(output, replace)
    checkpoint = open_checkpoint(checkpoint_path)
    tokenizer = load_tokenizer(checkpoint_path)
    model, facts = build_model(checkpoint, options)
    plan = lower(model, target.layout)
    _refuse_too_large(plan, stored_matrices(model), facts, target)
    stage(f"{facts.name}: {len(plan.ops)} ops, {len(plan.tensors)} tensors, layout {target.layout}")
    with _appearing(output, replace) as folder:
        prompt = encode(tokenizer, SELF_TEST_PROMPT)
        origin = checkpoint.digests()
        _write_model(origin, model, plan, facts, folder, prompt, stage)
        built = Built(
            data=folder / DATA, target=target, options=options, facts=facts, plan=plan
        )  # fmt: skip
        for name, text in describe(built).items():
            (folder / name).write_text(text, encoding="utf-8")
        files = [source.path for source in sources(target)]
        copy_runtime(files, folder)
        (folder / "sources.cmake").write_text(cmake_lists(target), encoding="utf-8")
        for name in COPIED:
            if (checkpoint_path / name).is_file():
                shutil.copyfile(checkpoint_path / name, folder / name)
        if compile_library:
            library = build_library(target, folder, folder)
            stage(f"lib/{target.name}: {library.archive.stat().st_size} bytes")
        manifest = _manifest(target, options, facts, plan, origin, folder)
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return open_bundle(output)


def _write_model(
    origin: Mapping[str, str], model: ir.Model, plan: Plan, facts: Facts, folder: Path,
    prompt: list[int], stage: Stage,
) -> None:  # fmt: skip
    """Write model.bitx and model.onnx; the self-test is computed from them, last."""
    writer = BitxWriter(folder / DATA, SECTIONS)
    offsets = writer.add_model(plan, stored_matrices(model), facts)
    about = {"bitexport.version": __version__, "bitexport.family": facts.family}
    write_onnx(model, folder / GRAPH, DATA, offsets, about)
    _read_back(model, folder / DATA, offsets)
    stage(f"{DATA}: {(folder / DATA).stat().st_size} bytes; computing the self-test")
    count = max(1, min(SELF_TEST_TOKENS, facts.context // 2))
    prompt = prompt[: max(1, facts.context - count)]
    writer.add(SELF_TEST, _self_test(folder / GRAPH, prompt, count))
    provenance = {
        "tool": "bitexport", "version": __version__, "family": facts.family, "name": facts.name,
        "checkpoint": origin,
    }  # fmt: skip
    writer.add(PROVENANCE, json.dumps(provenance, sort_keys=True).encode())
    writer.finish()
    _refuse_unsound(folder / DATA)


def _refuse_unsound(data: Path) -> None:
    """Let the second reader check every rule of FORMAT.md on the file just written."""
    try:
        open_bitx(data)
    except BitxError as error:
        raise MismatchError(
            f"{DATA}: the reference refuses the file just written: {error}",
            hint="the plan is lowered wrongly, a bug of bitexport",
        ) from error


def _read_back(model: ir.Model, data: Path, offsets: Mapping[str, int]) -> None:
    """Read every matrix back, ternary ones through the reference, and compare with the checkpoint.

    Reference and runtime read the same bytes: comparing them with each other shows no wrong one.
    """
    with data.open("rb") as file:
        for name, stored in stored_matrices(model).items():
            tile = stored.packing.ROW_TILE if stored.packing else 1
            for start, rows in stored.matrix.blocks(tile):
                found = _rows_in(file.fileno(), offsets[name], stored, start, rows)
                if not np.array_equal(found, rows):
                    raise MismatchError(
                        f"{DATA}: the reference reads other numbers in rows {start} to "
                        f"{start + len(rows)} of `{name}` than the checkpoint holds",
                        hint=f"layout {stored.layout} is written wrongly, a bug of bitexport",
                    )


def _rows_in(
    file: int, offset: int, stored: StoredMatrix, start: int, like: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Return the rows from `start` on that a file holds, as many as there are in `like`."""
    count, k = len(like), stored.matrix.columns
    if stored.packing is None:
        row = stored.nbytes // stored.matrix.rows
        raw = os.pread(file, count * row, offset + start * row)
        return np.frombuffer(raw, like.dtype).reshape(like.shape)
    place, size = stored.packing.packed_bytes(start, k), stored.packing.packed_bytes(count, k)
    unpack = getattr(ternary_matmul, f"unpack_{stored.layout}")
    packed = np.frombuffer(os.pread(file, size, offset + place), np.uint8)
    trits: NDArray[np.int8] = unpack(packed, n=count, k=k)
    return trits


def _self_test(graph: Path, prompt: list[int], count: int) -> bytes:
    """Return section 3.8 of FORMAT.md, computed by the reference."""
    try:
        model = bitexport_ref.evaluator.load(graph, unpacked_bytes=SELF_TEST_MEMORY)
        expected = bitexport_ref.self_test.compute(model, prompt, count)
    except ReferenceFailure as error:
        raise CheckpointError(
            f"the reference cannot run this model: {error}",
            hint="a weight is out of range, or the prompt drives the model out of it",
        ) from error
    tokens = (*expected.prompt, *expected.generated)
    head = (len(expected.prompt), len(expected.generated), len(expected.chains), 0)
    chains = (expected.logits_chain, *expected.chains)
    return struct.pack(f"<{4 + len(tokens)}I", *head, *tokens) + b"".join(map(printed, chains))


def _refuse_too_large(
    plan: Plan, tensors: Mapping[str, StoredMatrix], facts: Facts, target: Target
) -> None:
    """Say so before anything is written when the target cannot hold the file and a session."""
    if target.ram_bytes is None:
        return
    records = RECORD_BYTES * (len(plan.tensors) + len(plan.values) + len(plan.ops))
    weights = sum(stored.nbytes for stored in tensors.values())

    def need(context: int) -> int:
        tables = 4 * facts.head_size * (facts.context - context)  # rows that RoPE would not have
        session = arena_bytes(plan, CHUNK_ROWS, context, target.pointer_bytes)
        return weights + records - tables + session

    if need(facts.context) > target.ram_bytes:
        fits = bisect.bisect_right(range(facts.context), target.ram_bytes, key=need) - 1
        raise TargetError(
            f"target `{target.name}`: the model with a context of {facts.context} tokens needs "
            f"{need(facts.context)} bytes of memory, it has {target.ram_bytes}",
            hint=f"use --context {fits} or less"
            if fits >= LEAST_CONTEXT
            else "the model is too large for it",
        )


def _manifest(
    target: Target, options: Options, facts: Facts, plan: Plan, origin: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    arena = {
        f"arena_bytes_{rows}_rows": arena_bytes(plan, rows, facts.context, target.pointer_bytes)
        for rows in (1, CHUNK_ROWS)
    }
    return {
        "manifest_version": 1,
        "tool": {"name": "bitexport", "version": __version__},
        "target": target.name,
        "layout": target.layout,
        "model": dataclasses.asdict(facts),
        "options": dataclasses.asdict(options),
        "memory": {"data_bytes": (folder / DATA).stat().st_size, **arena},
        "checkpoint": origin,
        "files": file_digests(folder),
    }


@contextlib.contextmanager
def _appearing(output: Path, replace: bool) -> Iterator[Path]:
    """Give a folder to write into; it becomes `output` at the end, or vanishes on failure."""
    made = [parent for parent in output.parents if not parent.exists()]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror}", hint="choose another folder"
        ) from error
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        if replace and output.exists():
            _exchange(output, folder)
        else:
            folder.rename(output)
    except OSError as error:
        raise OutputError(
            f"{error.filename or output}: cannot be written: {error.strerror}",
            hint="nothing was left behind; free space or choose another folder",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not output.exists():
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _refuse_output(output: Path, replace: bool) -> None:
    """Refuse to write over anything but, with --force, a bundle or an empty folder."""
    if not output.exists():
        return
    if not replace:
        raise OutputError(
            f"{output}: already exists", hint="give another folder, or --force to replace this one"
        )
    is_folder = output.is_dir()
    if not is_folder or (any(output.iterdir()) and not (output / MANIFEST).is_file()):
        raise OutputError(
            f"{output}: is not a bundle, so --force does not replace it",
            hint="give another folder, or remove this one yourself",
        )


def _exchange(output: Path, folder: Path) -> None:
    """Put a folder in the place of another one, which comes back if that fails."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-old-", dir=output.parent) as aside:
        old = Path(aside) / output.name
        try:
            output.rename(old)
            folder.rename(output)
        except BaseException:
            if old.exists() and not output.exists():
                old.rename(output)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
