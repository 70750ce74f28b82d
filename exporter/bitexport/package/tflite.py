"""The .tflite files of a bundle: written, then run here and held against the reference."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import bitexport_ref.evaluator
from bitexport import __version__
from bitexport.emit.manifest import DATA, GRAPH
from bitexport.emit.tflite import INSTALL, load_schema
from bitexport.emit.tflite_step import FILES, TfliteFlavour, refuse_near, write_custom, write_near
from bitexport.errors import MismatchError, ToolchainError
from bitexport.models.parts.facts import Facts
from bitexport.package import run_tflite
from bitexport.package.run_tflite import run_network, run_step
from bitexport.passes.plan import Plan
from bitexport.progress import Progress
from bitexport.targets import Target
from bitexport.toolchain.litert import (
    DELEGATE,
    OLD_RUNTIME,
    build_delegate,
    find_old_runtime,
    require_loader,
)
from bitexport.toolchain.programs import run_tool

NETWORK_ROWS = 19
"""Of a network's random inputs: more than a session's chunk."""
MOST_POSITIONS = 16
"""That are compared: the reference reads all weights once for them."""

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far logits are from the reference's."""

    positions: int
    equal: bool
    """Whether every bit is."""
    kl: float
    """Mean, in nats, of what the reference says against what was computed."""
    furthest: float
    """The largest difference of a logit."""
    top1: float
    """At how many positions the same token is first."""

    def __str__(self) -> str:
        """Return a few words."""
        if self.equal:
            return f"every bit equal at {self.positions} positions"
        return (
            f"KL {self.kl:.2g}, logits differ by at most {self.furthest:.2g}, the same first "
            f"token at {self.top1:.0%} of {self.positions} positions"
        )


def refuse_tflite(flavours: Sequence[TfliteFlavour], target: Target) -> None:
    """Refuse, before anything is read, what cannot be."""
    if flavours:
        load_schema()
        _interpreter()
    if "custom" in flavours:
        require_loader(target)


def refuse_model(flavours: Sequence[TfliteFlavour], model: ir.Model, facts: Facts) -> None:
    """Refuse, before anything is written, a model that some flavour cannot say."""
    for flavour in flavours:
        if flavour != "custom":
            refuse_near(model, facts, flavour)


def write_tflite(
    folder: Path, model: ir.Model, plan: Plan, facts: Facts, target: Target,
    flavours: Sequence[TfliteFlavour], prompt: Sequence[int], progress: Progress, *,
    compile_library: bool,
) -> dict[str, Any]:  # fmt: skip
    """Write the wanted .tflite files beside a finished model.bitx; return what was measured."""
    about = {"version": __version__, "family": facts.family, "name": facts.name}
    tokens = np.array(prompt[:MOST_POSITIONS], np.int32)
    found: dict[str, Any] = {}
    for flavour in flavours:
        path = folder / FILES[flavour]
        if flavour == "custom":
            write_custom(path, folder / DATA, plan, about)
            if not compile_library:
                progress.say(f"{path.name}: not run, its delegate is not built without a library")
                continue
            delegate = build_delegate(target, folder, folder / "lib" / target.name / DELEGATE)
            if not _is_here(target):
                progress.say(f"{path.name}: not run here, its delegate is for {target.name}")
                continue
            if not plan.is_language_model:
                _check_network(folder, path, plan, delegate)
                progress.say(f"{path.name}: every bit equal on {NETWORK_ROWS} random inputs")
                continue
        else:
            write_near(path, model, facts, flavour, about)
        wanted = _logits(folder, tokens)
        if flavour == "custom":
            deviation = _exact(path, deviate(wanted, run_here(path, tokens, delegate)))
        else:
            deviation = deviate(wanted, run_here(path, tokens))
        progress.say(f"{path.name}: {deviation}")
        found[path.name] = dataclasses.asdict(deviation)
        if flavour == "int8":
            progress.say(f"{path.name} in {OLD_RUNTIME}: {_in_old_runtime(wanted, path, tokens)}")
    return found


def _logits(folder: Path, tokens: NDArray[np.int32]) -> Floats:
    session = bitexport_ref.evaluator.load(folder / GRAPH).session()
    return session.run(tokens, trace=False).logits


def _check_network(folder: Path, path: Path, plan: Plan, delegate: Path) -> None:
    """Run a network on random inputs; each output must have the reference's bits."""
    reference = bitexport_ref.evaluator.load(folder / GRAPH)
    draw = np.random.default_rng(0)
    given: dict[str, NDArray[Any]] = {}
    for value in reference.graph.inputs:
        shape = tuple(NETWORK_ROWS if dim is None else dim for dim in value.shape)
        is_float = value.dtype.kind == "f"
        drawn = draw.standard_normal(shape) if is_float else draw.integers(0, 2, shape)
        given[value.name] = drawn.astype(value.dtype)
    wanted = reference.run_network(given)
    columns = {value.name: value.columns for value in plan.values}
    rows = {name: _narrow(array).reshape(-1, columns[name]) for name, array in given.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run_network(_interpreter(), str(path), rows, str(delegate))
    for name, array in wanted.items():
        if found[name].tobytes() != array.tobytes():
            raise MismatchError(
                f"{path.name}: with the delegate LiteRT computes another `{name}` than the "
                "reference",
                hint="`bitexport verify` says whether the library itself is at fault",
            )


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Return an input as a plan has it: tokens are s32 there."""
    return array.astype(np.int32) if array.dtype == np.int64 else array


def _exact(path: Path, deviation: Deviation) -> Deviation:
    if not deviation.equal:
        raise MismatchError(
            f"{path.name}: with the delegate LiteRT computes other logits than the reference: "
            f"{deviation}",
            hint="`bitexport verify` says whether the library itself is at fault",
        )
    return deviation


def _in_old_runtime(wanted: Floats, path: Path, tokens: NDArray[np.int32]) -> str:
    """Return what is measured there, or why nothing is."""
    try:
        return str(deviate(wanted, run_in_old_runtime(path, tokens)))
    except ToolchainError as error:
        return f"not run: {error}"


def run_here(path: Path, tokens: NDArray[np.int32], delegate: Path | None = None) -> Floats:
    """Run a step for each token in ai-edge-litert; return logits (tokens, vocabulary)."""
    module = _interpreter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own names
        return run_step(module, str(path), tokens, str(delegate) if delegate else None)


def run_in_old_runtime(
    path: Path, tokens: NDArray[np.int32], delegate: Path | None = None
) -> Floats:
    """Run a step for each token in tflite-runtime; return logits (tokens, vocabulary)."""
    python = find_old_runtime()
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        given, made = Path(scratch, "tokens.npy"), Path(scratch, "logits.npy")
        np.save(given, tokens)
        words = [str(path.resolve()), str(given), str(made)]
        words += [str(delegate.resolve())] if delegate else []
        program = Path(run_tflite.__file__).resolve()
        command = [str(python), str(program), *words]
        run_tool(command, folder=Path(scratch), doing=f"{OLD_RUNTIME} with {path.name}")
        logits: Floats = np.load(made)
    return logits


def deviate(wanted: Floats, found: Floats) -> Deviation:
    """Compare logits (positions, vocabulary) with those of the reference."""
    ours, theirs = (_log_softmax(each.astype(np.float64)) for each in (wanted, found))
    divergence = (np.exp(ours) * (ours - theirs)).sum(axis=-1)
    return Deviation(
        positions=len(wanted),
        equal=wanted.tobytes() == found.tobytes(),
        kl=float(divergence.mean()),
        furthest=float(np.abs(wanted - found).max()),
        top1=float((wanted.argmax(-1) == found.argmax(-1)).mean()),
    )


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _is_here(target: Target) -> bool:
    """Return whether this machine can load a library of a target."""
    return target.triple.partition("-")[0] == platform.machine() and target.os == "linux"


def _interpreter() -> Any:
    try:
        from ai_edge_litert import interpreter  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise ToolchainError(
            f"--tflite runs what it writes in ai-edge-litert, which is not here: {error}",
            hint=INSTALL,
        ) from error
    return interpreter
