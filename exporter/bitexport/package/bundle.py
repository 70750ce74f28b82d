"""The bundle: everything a build writes, in one folder that appears whole or not at all."""

from __future__ import annotations

import bisect
import dataclasses
import json
import resource
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bitexport import __version__
from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.checkpoints.onnx_file import OnnxFile, is_onnx, read_onnx
from bitexport.emit.bitx import ARITHMETIC, PROVENANCE, SELF_TEST, TOKENIZER, BitxWriter
from bitexport.emit.manifest import DATA, GRAPH, MANIFEST, Bundle, file_digests, open_bundle
from bitexport.emit.onnx_graph import write_onnx
from bitexport.emit.onnx_standard import Flavour
from bitexport.emit.source import copy_runtime
from bitexport.emit.tflite_step import TfliteFlavour
from bitexport.errors import CheckpointError, MismatchError, OutputError, TargetError
from bitexport.models import build_model
from bitexport.models.network.importing import build_network
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import StoredMatrix, stored_matrices
from bitexport.package.appearing import appearing
from bitexport.package.onnx_flavours import (
    FlavourFacts,
    Source,
    as_manifest,
    refuse_flavours,
    write_flavours,
)
from bitexport.package.read_back import read_back
from bitexport.package.self_test import (
    NETWORK_SAMPLES,
    SelfTestTokens,
    network_test_section,
    self_test_section,
    self_test_tokens,
)
from bitexport.package.text import EVERY_TEXT, WantedText, text_sections
from bitexport.package.tflite import refuse_model, refuse_tflite, write_tflite
from bitexport.passes.choose_layouts import suited_layout
from bitexport.passes.pipeline import lower
from bitexport.passes.plan import Plan
from bitexport.passes.plan_memory import arena_bytes
from bitexport.progress import SILENT, Progress, duration, size
from bitexport.targets import Target
from bitexport.tokenizer.text import FILE as TOKENIZER_FILE
from bitexport.toolchain.cmake import cmake_lists
from bitexport.toolchain.compile import build_library, sources
from bitexport.toolchain.onnxruntime import OPS_LIBRARY, build_ops_library
from bitexport_ref.bitx import BitxError, open_bitx
from bitexport_ref.text.tables import read_tables
from bitexport_ref.text.tokenizer import Tokenizer

SECTIONS = 9  # and those of text and self-test
LEAST_CONTEXT = 2
CHUNK_ROWS = 16  # of a session that asks for nothing else
RECORD_BYTES = 256  # in the file, for an op, value or tensor: record, name, operands, self-test
COPIED = (
    TOKENIZER_FILE, "tokenizer_config.json", "generation_config.json", "LICENSE", "LICENSE.txt",
    "NOTICE",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """What a build has made so far, for whoever describes it: nothing of it changes any more."""

    data: Path
    target: Target
    options: Options
    facts: Facts
    plan: Plan
    layout: str
    """How trits lie in the file."""
    measured: Mapping[str, Any]
    graphs: tuple[FlavourFacts, ...]
    """The graph, in each way in which it is written."""


Measure = Callable[[Path], Mapping[str, Any]]
Describe = Callable[[Built], Mapping[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of a bundle is wanted beside the model, and who takes part."""

    replace: bool = False
    """Whether a bundle that is there may go."""
    compile_library: bool = True
    custom_ops: bool = False
    """Whether onnxruntime gets a library of custom ops beside it."""
    self_test: bool = True
    text: WantedText = EVERY_TEXT
    onnx: tuple[Flavour, ...] = (Flavour.PACKED,)
    """Ways in which the graph is written; `packed` always is, it is what `verify` reads."""
    tflite: tuple[TfliteFlavour, ...] = ()
    """Which .tflite files there are to be."""
    progress: Progress = SILENT
    measure: Measure = lambda folder: {}
    """What it finds in the folder with the finished model becomes part of the manifest."""
    describe: Describe = lambda built: {}
    """What it says of the model, texts by file name, becomes part of the bundle."""


EVERYTHING = Wanted()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Lowered:
    """A model ready to be written, and where it comes from."""

    checkpoint: Checkpoint | OnnxFile
    origin: Path
    """The folder that the checkpoint is, or lies in."""
    text: Mapping[int, bytes]
    """Sections of the file that have to do with text."""
    target: Target
    options: Options
    model: ir.Model
    facts: Facts
    plan: Plan
    tensors: Mapping[str, StoredMatrix]
    layout: str
    """How trits lie in the file."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in the file."""
        return _bytes(self.tensors)

    @property
    def macros(self) -> tuple[str, ...]:
        """What the library is compiled with: on a board it holds what this model needs alone."""
        return kept_code(self.plan, self.tensors) if self.target.os == "none" else ()


def build_bundle(
    checkpoint_path: Path, target: Target, options: Options, output: Path,
    wanted: Wanted = EVERYTHING,
) -> Bundle:  # fmt: skip
    """Build a checkpoint, a folder or a GGUF file, or an ONNX network into the folder `output`."""
    begin, progress = time.monotonic(), wanted.progress
    refuse_output(output, wanted.replace)
    refuse_tflite(wanted.tflite, target)
    checkpoint: Checkpoint | OnnxFile
    if is_onnx(checkpoint_path):
        if wanted.text.chat_template is not None:
            raise CheckpointError(
                f"--chat-template is for language models, {checkpoint_path} is a network",
                hint="leave it out",
            )
        checkpoint = read_onnx(checkpoint_path)
        model, facts = build_network(checkpoint, options)
    else:
        checkpoint = open_checkpoint(checkpoint_path, options.container)
        model, facts = build_model(checkpoint, options)
    origin = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    layout = options.layout or suited_layout(model, target.layout)
    plan, tensors = lower(model, layout), stored_matrices(model)
    text: Mapping[int, bytes] = {}
    if isinstance(checkpoint, Checkpoint):
        text = text_sections(checkpoint, origin, facts, wanted.text, progress.say)
    _refuse_too_large(plan, tensors, text, facts, target)
    refuse_model(wanted.tflite, model, facts)
    refuse_flavours(wanted.onnx, facts)
    progress.say(
        f"{facts.container}, family {facts.family}; activations {facts.activations}: "
        f"{facts.activations_because}"
    )
    progress.say(f"{facts.name}: {len(plan.ops)} ops, {len(plan.tensors)} tensors, layout {layout}")
    lowered = _Lowered(
        checkpoint=checkpoint, origin=origin, text=text, target=target, options=options,
        model=model, facts=facts, plan=plan, tensors=tensors, layout=layout,
    )  # fmt: skip
    with appearing(output, wanted.replace) as folder:
        testing = _write_bundle(folder, lowered, wanted)
    bundle = open_bundle(output)
    progress.say(_summary(time.monotonic() - begin, testing))
    return bundle


def _write_bundle(folder: Path, lowered: _Lowered, wanted: Wanted) -> float | None:
    """Write every file of the bundle; return the seconds of the self-test, if there is one."""
    target, facts, progress = lowered.target, lowered.facts, wanted.progress
    with ThreadPoolExecutor(1) as beside:
        digests = beside.submit(lowered.checkpoint.digests)
        sections = SECTIONS + len(lowered.text) + wanted.self_test
        writer = BitxWriter(folder / DATA, sections)
        offsets = _write_model(writer, lowered, folder, progress)
        for number, section in sorted(lowered.text.items()):
            writer.add(number, section)
        with progress.stage("reading back", lowered.nbytes) as advance:
            read_back(lowered.tensors, folder / DATA, offsets, advance)
        _copy_sources(folder, lowered)
        if wanted.compile_library:
            with progress.stage("library"):
                build_library(target, folder, folder, lowered.macros)
                if wanted.custom_ops:
                    build_ops_library(target, folder, folder / "lib" / target.name / OPS_LIBRARY)
        tested = _write_self_test(writer, lowered, folder, progress) if wanted.self_test else None
        _finish(writer, facts, digests.result())
        graphs = _write_flavours(folder, lowered, wanted)
        measured = {**wanted.measure(folder), **_write_tflite(folder, lowered, wanted)}
        built = Built(
            data=folder / DATA, target=target, options=lowered.options, facts=facts,
            plan=lowered.plan, layout=lowered.layout, measured=measured,
            graphs=graphs,
        )  # fmt: skip
        for name, text in wanted.describe(built).items():
            (folder / name).write_text(text, encoding="utf-8")
        tokens, testing = tested or (None, None)
        manifest = _manifest(built, digests.result(), tokens, folder)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return testing


def _copy_sources(folder: Path, lowered: _Lowered) -> None:
    """Copy the runtime as source, and what the checkpoint has that a bundle needs."""
    copy_runtime([source.path for source in sources(lowered.target)], folder)
    lists = cmake_lists(lowered.target, macros=lowered.macros)
    (folder / "sources.cmake").write_text(lists, encoding="utf-8")
    for name in COPIED:
        if (lowered.origin / name).is_file():
            shutil.copyfile(lowered.origin / name, folder / name)


def _write_flavours(folder: Path, lowered: _Lowered, wanted: Wanted) -> tuple[FlavourFacts, ...]:
    """Write the graph in the other ways that are wanted; return what is said of each."""
    source = Source(
        model=lowered.model, facts=lowered.facts,
        tokenizer=lambda: _tokenizer(lowered), about=_about(lowered.facts),
    )  # fmt: skip
    shipped = f"lib/{lowered.target.name}/{OPS_LIBRARY}"
    return write_flavours(
        folder, source, wanted.onnx, wanted.progress, measure=wanted.self_test,
        custom_ops=shipped if (folder / shipped).is_file() else None,
    )  # fmt: skip


def _tokenizer(lowered: _Lowered) -> Tokenizer | None:
    section = lowered.text.get(TOKENIZER)
    return Tokenizer(read_tables(section, lowered.facts.vocabulary)) if section else None


def _write_self_test(
    writer: BitxWriter, lowered: _Lowered, folder: Path, progress: Progress
) -> tuple[SelfTestTokens | None, float]:
    """Write the self-test; return its tokens, if it has such, and how many seconds it took."""
    start = time.monotonic()
    if not lowered.plan.is_language_model:
        outputs = sum(len(op.outputs) for op in lowered.plan.ops) * NETWORK_SAMPLES
        with progress.stage("self-test", outputs, "op outputs") as advance:
            writer.add(SELF_TEST, network_test_section(folder / GRAPH, advance))
        return None, time.monotonic() - start
    tokens = _prompt(lowered)
    outputs = sum(len(op.outputs) for op in lowered.plan.ops) * tokens.generated
    with progress.stage("self-test", outputs, "op outputs") as advance:
        writer.add(SELF_TEST, self_test_section(folder / GRAPH, tokens, advance))
    return tokens, time.monotonic() - start


def _write_tflite(folder: Path, lowered: _Lowered, wanted: Wanted) -> Mapping[str, Any]:
    if not wanted.tflite:
        return {}
    prompt = _prompt(lowered).prompt if lowered.plan.is_language_model else ()
    measured = write_tflite(
        folder, lowered.model, lowered.plan, lowered.facts, lowered.target, wanted.tflite, prompt,
        wanted.progress, compile_library=wanted.compile_library,
    )  # fmt: skip
    return {"tflite": measured}


def _prompt(lowered: _Lowered) -> SelfTestTokens:
    return self_test_tokens(_tokenizer(lowered), lowered.facts, lowered.tensors)


def _write_model(
    writer: BitxWriter, lowered: _Lowered, folder: Path, progress: Progress
) -> Mapping[str, int]:
    """Write the weights to model.bitx and the graph to model.onnx; return the tensors' offsets."""
    facts, tensors = lowered.facts, lowered.tensors
    with progress.stage("packing", lowered.nbytes) as advance:
        offsets = writer.add_model(lowered.plan, tensors, facts, lambda done, total: advance(done))
    write_onnx(lowered.model, folder / GRAPH, DATA, offsets, _about(facts))
    return offsets


def _about(facts: Facts) -> Mapping[str, str]:
    return {"bitexport.version": __version__, "bitexport.family": facts.family}


def kept_code(plan: Plan, tensors: Mapping[str, StoredMatrix]) -> tuple[str, ...]:
    """Return the macros that leave out of a library what a model does not use, to save flash."""
    ops = {each.op.code for each in plan.ops}
    fusions = {each.fusion for each in plan.ops if each.fusion}
    layouts = {each.layout_id for each in tensors.values()}
    masks = {"BITX_OPS": ops, "BITX_FUSIONS": fusions, "BITX_LAYOUTS": layouts}
    return tuple(f"{name}={sum(1 << code for code in kept):#x}u" for name, kept in masks.items())


def _finish(writer: BitxWriter, facts: Facts, origin: Mapping[str, str]) -> None:
    """Close model.bitx and let the second reader check every rule of FORMAT.md on it."""
    provenance = {
        "tool": "bitexport", "version": __version__, "family": facts.family, "name": facts.name,
        "checkpoint": origin,
    }  # fmt: skip
    writer.add(PROVENANCE, json.dumps(provenance, sort_keys=True).encode())
    writer.add(ARITHMETIC, writer.arithmetic)
    writer.finish()
    try:
        open_bitx(writer.path)
    except BitxError as error:
        raise MismatchError(
            f"{DATA}: the reference refuses the file just written: {error}",
            hint="the plan is lowered wrongly, a bug of bitexport",
        ) from error


def _bytes(tensors: Mapping[str, StoredMatrix]) -> int:
    return sum(stored.nbytes for stored in tensors.values())


def _summary(seconds: float, testing: float | None) -> str:
    """Say how long it took, the self-test apart, and the most memory that was resident."""
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tested = "no self-test" if testing is None else f"{duration(testing)} for the self-test"
    return f"built in {duration(seconds - (testing or 0))} and {tested}; peak memory {size(peak)}"


def _refuse_too_large(
    plan: Plan, tensors: Mapping[str, StoredMatrix], text: Mapping[int, bytes], facts: Facts,
    target: Target,
) -> None:  # fmt: skip
    """Say so before anything is written when the target cannot hold the file and a session."""
    if target.ram_bytes is None:
        return
    records = RECORD_BYTES * (len(plan.tensors) + len(plan.values) + len(plan.ops))
    weights = _bytes(tensors) + sum(map(len, text.values()))

    def need(context: int) -> int:
        tables = 4 * facts.head_size * (facts.context - context)  # rows that RoPE would not have
        session = arena_bytes(plan, CHUNK_ROWS, context, target.pointer_bytes)
        return weights + records - tables + session

    if need(facts.context) > target.ram_bytes and not facts.context:
        raise TargetError(
            f"target `{target.name}`: the network needs {need(0)} bytes of memory, it has "
            f"{target.ram_bytes}",
            hint="the network is too large for it",
        )
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
    built: Built, origin: Mapping[str, str], tokens: SelfTestTokens | None, folder: Path
) -> dict[str, Any]:
    target, facts, plan = built.target, built.facts, built.plan
    arena = {
        f"arena_bytes_{rows}_rows": arena_bytes(plan, rows, facts.context, target.pointer_bytes)
        for rows in (1, CHUNK_ROWS)
    }
    return {
        "manifest_version": 1,
        "tool": {"name": "bitexport", "version": __version__},
        "target": target.name,
        "layout": built.layout,
        "model": dataclasses.asdict(facts),
        "options": built.options.chosen(),
        "measured": built.measured,
        "onnx": as_manifest(built.graphs),
        "memory": {"data_bytes": (folder / DATA).stat().st_size, **arena},
        "checkpoint": origin,
        "self_test": tokens
        and {"prompt_tokens": len(tokens.prompt), "generated_tokens": tokens.generated},
        "files": file_digests(folder),
    }


def refuse_output(output: Path, replace: bool) -> None:
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
