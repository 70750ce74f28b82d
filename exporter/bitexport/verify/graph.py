"""Run a bundle's graph in a real onnxruntime on every core, with the runtime's kernels in it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from bitexport.emit.manifest import DATA, Bundle
from bitexport.errors import BundleError, MismatchError, RunError
from bitexport.targets import Target
from bitexport.toolchain.emulate import TIMEOUT_SECONDS
from bitexport.toolchain.emulate import run as run_program
from bitexport.toolchain.onnxruntime import (
    OPS_LIBRARY,
    build_graph_runner,
    build_ops_library,
    emulation,
    onnxruntime_library,
)
from bitexport.verify.expected import Expected
from bitexport.verify.match import Difference
from bitexport.verify.observed import Observed, parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphWay:
    """One way to run the graph: none of these may change a bit."""

    chunk: int
    threads: int = 1
    whole: bool = False
    """Whether every op output is an output of the graph, or its own alone."""

    @property
    def words(self) -> str:
        """Say it for a person."""
        what = "every op output" if self.whole else "its outputs"
        plural = "s" * (self.threads > 1)
        return f"{what}, chunks of {self.chunk}, {self.threads} thread{plural}"


@dataclasses.dataclass(frozen=True)
class GraphResult:
    """What happened on one core."""

    core: str
    runs: int
    compared: int
    """Rows of op outputs, over all runs."""
    isa: str
    """Whose kernels ran."""
    failure: tuple[GraphWay, Difference] | None
    problem: str | None

    @property
    def passed(self) -> bool:
        """Every run equal, with the best kernels that the core has."""
        return self.failure is None and self.problem is None


@dataclasses.dataclass(frozen=True)
class GraphMachine:
    """A program, an onnxruntime and a library of custom ops for a target, ready to start."""

    target: Target
    program: Path
    onnxruntime: Path
    ops: Path
    folder: Path
    """Where model.bitx lies."""
    graph: Path
    outputs: tuple[int, ...]
    """Which op output each output of the graph is."""
    whole_graph: Path

    def start(self, core: str, way: GraphWay, expected: Expected) -> Observed:
        """Run once and read what was printed."""
        graph = self.whole_graph if way.whole else self.graph
        words = [str(self.onnxruntime), str(self.ops), str(graph), str(self.folder)]
        words += ["--prompt", ",".join(map(str, expected.prompt)), "--chunk", str(way.chunk)]
        words += ["--generate", str(len(expected.generated)), "--threads", str(way.threads)]
        words += ["--outputs", ",".join(map(str, self.indices(way, expected)))]
        try:
            return parse(
                run_program(
                    self.target, core, self.program, words, TIMEOUT_SECONDS, emulation(self.target)
                ).stdout
            )
        except RunError as error:
            if "\nisa used " not in error.completed.stdout:
                raise  # it refused to start, and the error says why
            return parse(error.completed.stdout, str(error).partition("\n")[0])

    def indices(self, way: GraphWay, expected: Expected) -> Sequence[int]:
        """Return the op outputs that a run shows."""
        return range(len(expected.outputs)) if way.whole else self.outputs


def refuse_link(bundle: Bundle) -> None:
    """Refuse weights that onnxruntime would not open: it follows no link out of the folder."""
    lies_in = bundle.data.resolve().parent
    if lies_in != bundle.path.resolve():
        raise BundleError(
            f"{bundle.data}: is a symbolic link to a file in {lies_in}, which onnxruntime does not "
            "follow",
            hint="copy the bundle with its files: cp -rL",
        )


@contextmanager
def graph_machine(
    bundle: Bundle, target: Target, expected: Expected, given: Path | None
) -> Iterator[GraphMachine]:
    """Make everything ready; `given` is a wheel or a library of onnxruntime for the target.

    The library of custom ops is the one that the bundle ships; one that ships none gets one of its
    own objects.
    """
    with graph_tools(bundle, target, given) as (folder, program, library, ops):
        outputs = write_whole_graph(bundle.graph, folder / "whole.onnx", expected)
        yield GraphMachine(
            target, program, library, ops, bundle.path.resolve(), bundle.graph.resolve(),
            outputs, folder / "whole.onnx",
        )  # fmt: skip


@contextmanager
def graph_tools(
    bundle: Bundle, target: Target, given: Path | None
) -> Iterator[tuple[Path, Path, Path, Path]]:
    """Make a folder, and what runs a graph: a program, onnxruntime, the library of custom ops."""
    shipped = f"lib/{target.name}/{OPS_LIBRARY}"
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        folder = Path(scratch)
        library = onnxruntime_library(target, given, folder)
        ops = (
            bundle.path / shipped
            if shipped in bundle.manifest["files"]
            else build_ops_library(target, bundle.path, folder / OPS_LIBRARY)
        )
        program = build_graph_runner(target, bundle.path, folder / "ort_runner")
        (folder / DATA).symlink_to(bundle.data.resolve())  # where onnxruntime before 1.22 looks
        yield folder, program, library, ops.resolve()


def write_whole_graph(graph: Path, output: Path, expected: Expected) -> tuple[int, ...]:
    """Write a graph of which every op output is an output, in the order of the plan.

    It has no function bodies: onnxruntime must find a kernel for each op of ours or refuse it.
    Return which op output each output of the graph at hand is.
    """
    model = onnx.load(graph, load_external_data=False)
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    places = {name: at for at, (name, _) in enumerate(expected.outputs)}
    outputs = tuple(places[value.name] for value in model.graph.output)
    wanted = [known[name] for name, _ in expected.outputs]
    copied = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in wanted]
    del model.graph.output[:]
    model.graph.output.extend(copied)
    del model.functions[:]
    output.write_bytes(model.SerializeToString(deterministic=True))
    return outputs


def graph_ways(prompt: int, *, quick: bool = False) -> list[GraphWay]:
    """Return every way in which a core runs the graph."""
    if quick:
        return [GraphWay(chunk=prompt, threads=2, whole=True)]
    every = [GraphWay(chunk=prompt, whole=True), GraphWay(chunk=prompt, threads=2, whole=True)]
    every += [GraphWay(chunk=chunk) for chunk in (prompt, prompt // 2 + 1, 1)]
    every.append(GraphWay(chunk=prompt // 2 + 1, threads=2))
    return list(dict.fromkeys(every))


def verify_graph(
    device: GraphMachine, core: str, expected: Expected, tell: Callable[[str], None], *,
    quick: bool = False,
) -> GraphResult:  # fmt: skip
    """Run the graph on a core in every way, until one differs."""

    def run(way: GraphWay) -> tuple[str, int, Difference | None]:
        observed = device.start(core, way, expected)
        found = graph_difference(expected, observed, device.indices(way, expected))
        return observed.used, len(observed.digests), found

    ways = graph_ways(len(expected.prompt), quick=quick)
    return verify_graph_ways(device.target, core, ways, run, tell)


def verify_graph_ways(
    target: Target, core: str, ways: Sequence[GraphWay],
    run: Callable[[GraphWay], tuple[str, int, Difference | None]], tell: Callable[[str], None],
) -> GraphResult:  # fmt: skip
    """Run a core in these ways, until one differs.

    `run` says which kernels ran, how many rows of op outputs it compared, and what differs first.
    """
    runs, compared, isa = 0, 0, ""
    failure: tuple[GraphWay, Difference] | None = None
    problem: str | None = None
    best = target.expected_isas(core)[-1]
    try:
        for way in ways:
            tell(f"  {core}: onnxruntime, {way.words}")
            isa, rows, found = run(way)
            runs, compared = runs + 1, compared + rows
            if found:
                failure = (way, found)
                break
    except (RunError, MismatchError) as error:
        problem = str(error)
    if not failure and not problem and isa != best:
        problem = f"the target file expects kernels for {best}; those for {isa} ran"
    return GraphResult(core, runs, compared, isa, failure, problem)


def graph_difference(
    expected: Expected, observed: Observed, outputs: Sequence[int]
) -> Difference | None:
    """Return the first difference: by position, and at a position by order of the plan."""
    stopped = f": the run stopped: {observed.stopped}" if observed.stopped else ""
    for position in range(expected.positions):
        for output in sorted(outputs):
            name, op_type = expected.outputs[output]
            found = observed.digests.get((output, position))
            what = f"{op_type} `{name}`"
            if found is None:
                return Difference(position, None, name, f"{what} was not computed{stopped}")
            if found != expected.digests[output][position]:
                return Difference(position, output, name, f"{what} differs")
    if observed.tokens != expected.generated:
        return Difference(expected.positions, None, "token", f"other tokens were chosen{stopped}")
    if stopped:
        return Difference(expected.positions, None, "end", stopped.removeprefix(": "))
    return None
