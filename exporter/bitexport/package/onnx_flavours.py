"""The other ways of writing the graph, asked for by --onnx, and what is said of each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from packaging.version import Version

from bitexport.emit.exactness import Exactness
from bitexport.emit.onnx_graph import LOADING, unpacked_bytes
from bitexport.emit.onnx_standard import EXACTNESS, FILES, Flavour, data_file, write_standard
from bitexport.emit.standard_graph import EXACTNESS as NODE_EXACTNESS
from bitexport.errors import CheckpointError
from bitexport.models.parts.facts import Facts
from bitexport.package.decoder_files import write_decoder_files
from bitexport.package.deviation import (
    Deviation,
    StockError,
    deviation,
    reference_logits,
    sample_tokens,
    stock_logits,
    stock_version,
)
from bitexport.progress import Progress, size
from bitexport_ref.evaluator import load
from bitexport_ref.text.tokenizer import Tokenizer

OLDEST: Mapping[Flavour, Version] = {
    Flavour.PACKED: Version("1.20"),
    Flavour.PORTABLE: Version("1.20"),
    Flavour.ORT2BIT: Version("1.24"),
}
"""The first onnxruntime that was seen to run each on a CPU."""
UNPACKED_BYTES = 64 << 20
LARGE_BYTES = 1 << 30
"""From here on a build says what the function bodies of model.onnx take."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlavourFacts:
    """One graph of a bundle, as manifest and report show it."""

    flavour: Flavour
    file: str
    data: str
    exactness: Exactness
    """Of the whole graph: for `packed` that of our kernels, not of the function bodies."""
    nodes: Mapping[str, int]
    """How many nodes there are of each class."""
    bytes: int
    """Graph and data; weights in model.bitx are not counted."""
    needs: str
    unpacked_bytes: int
    """What a runtime without our kernels makes of the weights when it loads the graph."""
    deviation: Deviation | None
    """None: not measured."""
    unmeasured: str | None
    """Why not."""

    @property
    def label(self) -> str:
        """The class of the graph, in words that nobody mistakes."""
        return _label(self.flavour)

    @property
    def loading_bytes(self) -> int:
        """Memory that a runtime without our kernels takes to load it, at the least."""
        return LOADING * self.unpacked_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What the flavours are made of."""

    model: ir.Model
    facts: Facts
    tokenizer: Callable[[], Tokenizer | None]
    about: Mapping[str, str]


def refuse_flavours(wanted: Iterable[Flavour], facts: Facts) -> None:
    """Refuse, before anything is written, what a network cannot be."""
    if Flavour.ORT2BIT in wanted and not facts.layers:
        raise CheckpointError(
            f"--onnx {Flavour.ORT2BIT} is for language models, `{facts.name}` is a network",
            hint=f"--onnx {Flavour.PORTABLE} takes every model",
        )


def write_flavours(
    folder: Path, source: Source, wanted: Iterable[Flavour], progress: Progress, *, measure: bool,
    custom_ops: str | None = None,
) -> tuple[FlavourFacts, ...]:  # fmt: skip
    """Write the wanted graphs beside model.onnx, and the files that decoder runtimes read.

    `custom_ops` is the library of our kernels, by its path in the folder, if there is one.
    """
    others = [each for each in Flavour if each in set(wanted) and each is not Flavour.PACKED]
    made = [_packed(folder, source)]
    if made[0].loading_bytes >= LARGE_BYTES and Flavour.PORTABLE not in others:
        progress.say(
            f"{made[0].file} takes about {size(made[0].loading_bytes)} to load in onnxruntime "
            "without our kernels; --onnx portable writes a graph that does not"
        )
    is_decoder = bool(source.facts.layers)
    for flavour in others:
        with progress.stage(f"graph {flavour}"):
            said = {**source.about, "bitexport.flavour": flavour,
                    "bitexport.exactness": _label(flavour)}  # fmt: skip
            proto = write_standard(source.model, folder, flavour, said)
        measured, why = None, "it is no language model" if measure else "there is no self-test"
        if measure and is_decoder:
            measured, why = _measure(folder, source, flavour, progress)
        path = folder / FILES[flavour]
        proto = onnx.load(path, load_external_data=False)
        text = str(measured) if measured else f"not measured: {why}"
        proto.metadata_props.add(key="bitexport.deviation", value=text)
        path.write_bytes(proto.SerializeToString(deterministic=True))
        progress.say(f"{FILES[flavour]}, {_label(flavour)}: {text}")
        made.append(_facts(folder, flavour, proto, measured, None if measured else why))
    if is_decoder:
        graph = FILES[Flavour.PORTABLE if Flavour.PORTABLE in others else Flavour.PACKED]
        is_packed = graph == FILES[Flavour.PACKED]
        write_decoder_files(
            folder, source.facts, graph,
            has_positions=not is_packed, custom_ops=custom_ops if is_packed else None,
        )  # fmt: skip
    return tuple(made)


def _measure(
    folder: Path, source: Source, flavour: Flavour, progress: Progress
) -> tuple[Deviation | None, str]:
    """Run the sample in the onnxruntime that is installed here, if that knows the ops."""
    if Version(stock_version()) < OLDEST[flavour]:
        return None, f"onnxruntime {stock_version()} is older than {OLDEST[flavour]}"
    tokens = sample_tokens(source.tokenizer(), source.facts)
    with progress.stage(f"run {flavour}"):
        model = load(folder / FILES[Flavour.PACKED], unpacked_bytes=UNPACKED_BYTES)
        expected = reference_logits(model, tokens)
        try:
            found = stock_logits(folder / FILES[flavour], tokens, source.facts.vocabulary)
        except StockError as error:
            return None, str(error)
        return deviation(found, expected), ""


def _packed(folder: Path, source: Source) -> FlavourFacts:
    proto = onnx.load(folder / FILES[Flavour.PACKED], load_external_data=False)
    return _facts(folder, Flavour.PACKED, proto, None, "verify compares its bits")


def _facts(
    folder: Path, flavour: Flavour, proto: onnx.ModelProto, measured: Deviation | None,
    why: str | None,
) -> FlavourFacts:  # fmt: skip
    data = "model.bitx" if flavour is Flavour.PACKED else data_file(flavour)
    classes = (
        entry.value
        for node in proto.graph.node
        for entry in node.metadata_props
        if entry.key == NODE_EXACTNESS
    )
    own = [FILES[flavour]] + ([] if flavour is Flavour.PACKED else [data])
    return FlavourFacts(
        flavour=flavour, file=FILES[flavour], data=data, exactness=EXACTNESS[flavour],
        nodes=dict(sorted(collections.Counter(classes).items())),
        bytes=sum((folder / name).stat().st_size for name in own),
        needs=f"onnxruntime {OLDEST[flavour]} or newer",
        unpacked_bytes=unpacked_bytes(proto) if flavour is Flavour.PACKED else 0,
        deviation=measured, unmeasured=why,
    )  # fmt: skip


def _label(flavour: Flavour) -> str:
    """Return the class of a graph, in words that nobody mistakes."""
    exactness = EXACTNESS[flavour]
    return "near: not bit-exact" if exactness is Exactness.NEAR else str(exactness)


def as_manifest(flavours: Iterable[FlavourFacts]) -> dict[str, Any]:
    """Return the facts by flavour, as plain data."""
    return {str(each.flavour): dataclasses.asdict(each) for each in flavours}
