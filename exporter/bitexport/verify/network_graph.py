"""Run the graph of a network in a real onnxruntime on every core, with our kernels in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from bitexport.emit.manifest import Bundle
from bitexport.errors import RunError
from bitexport.ops import DOMAIN
from bitexport.targets import Target
from bitexport.toolchain.emulate import TIMEOUT_SECONDS
from bitexport.toolchain.emulate import run as run_program
from bitexport.toolchain.onnxruntime import STANDARD_KERNELS, emulation
from bitexport.verify.graph import GraphResult, GraphWay, graph_tools, verify_graph_ways
from bitexport.verify.match import Difference
from bitexport.verify.networks import (
    ExpectedNetwork,
    ObservedNetwork,
    input_bytes,
    network_difference,
    parse_network,
)


@dataclasses.dataclass(frozen=True)
class NetworkGraphMachine:
    """A program, an onnxruntime and a library of custom ops for a target, ready to start."""

    target: Target
    program: Path
    onnxruntime: Path
    ops: Path
    bundle: Path
    """Where model.bitx lies."""
    folder: Path
    """For what a run reads."""
    graph: Path
    whole_graph: Path
    """The same with every op output as an output, behind its own."""
    outputs: tuple[int, ...]
    """Which op output each output of the whole graph is; -1: none."""

    def start(self, core: str, way: GraphWay, expected: ExpectedNetwork) -> ObservedNetwork:
        """Run once and read what was printed."""
        data = self.folder / "inputs.bin"
        data.write_bytes(b"".join(input_bytes(expected.inputs, way.chunk)))
        results = len(expected.results)
        outputs = self.outputs if way.whole else self.outputs[:results]
        words = [str(self.onnxruntime), str(self.ops)]
        words += [str(self.whole_graph if way.whole else self.graph), str(self.bundle)]
        words += ["--network", str(data), "--samples", str(expected.samples)]
        words += ["--chunk", str(way.chunk), "--threads", str(way.threads)]
        words += ["--results", str(results), "--outputs", ",".join(map(str, outputs))]
        try:
            done = run_program(
                self.target, core, self.program, words, TIMEOUT_SECONDS, emulation(self.target)
            )
            return parse_network(done.stdout)
        except RunError as error:
            if "\nisa used " not in error.completed.stdout:
                raise  # it refused to start, and the error says why
            return parse_network(error.completed.stdout, str(error).partition("\n")[0])


@contextmanager
def network_graph_machine(
    bundle: Bundle, target: Target, expected: ExpectedNetwork, given: Path | None
) -> Iterator[NetworkGraphMachine]:
    """Make everything ready; `given` is a wheel or a library of onnxruntime for the target."""
    with graph_tools(bundle, target, given) as (folder, program, library, ops):
        graph, whole = folder / "graph.onnx", folder / "whole.onnx"
        outputs = write_network_graphs(bundle.graph, graph, whole, expected)
        yield NetworkGraphMachine(
            target, program, library, ops, bundle.path.resolve(), folder, graph, whole, outputs
        )


def write_network_graphs(
    graph: Path, kernels: Path, whole: Path, expected: ExpectedNetwork
) -> tuple[int, ...]:
    """Write a graph for our kernels alone, and one of which every op output is an output too.

    Neither has function bodies: onnxruntime must find a kernel for each op of ours or refuse it.
    Standard ops of other bits in onnxruntime are those of the library, as `open_session` has them.
    Return which op output each output of the second is, -1 for none.
    """
    model = onnx.load(graph, load_external_data=False)
    del model.functions[:]
    for node in model.graph.node:
        if (node.domain, node.op_type) in STANDARD_KERNELS:
            node.domain = DOMAIN
    kernels.write_bytes(model.SerializeToString(deterministic=True))
    places = {name: at for at, (name, _) in enumerate(expected.outputs)}
    own = [value.name for value in model.graph.output]
    known = {value.name: value for value in model.graph.value_info}
    others = [name for name in places if name not in own]
    model.graph.output.extend(known[name] for name in others)
    whole.write_bytes(model.SerializeToString(deterministic=True))
    return tuple(places.get(name, -1) for name in (*own, *others))


def network_graph_ways(expected: ExpectedNetwork, *, quick: bool = False) -> list[GraphWay]:
    """Return every way in which a core runs the graph; one sample a call if there can be no more.

    The first shows every op output: a difference is then found at the op that makes it.
    """
    most = 1 if expected.single else expected.samples
    if quick:
        return [GraphWay(chunk=most, threads=2, whole=True)]
    every = [GraphWay(chunk=most, threads=threads, whole=True) for threads in (1, 2)]
    every += [GraphWay(chunk=chunk) for chunk in (most, most // 2 + 1, 1)]
    every.append(GraphWay(chunk=most // 2 + 1, threads=2))
    return list(dict.fromkeys(every))


def verify_network_graph(
    device: NetworkGraphMachine, core: str, expected: ExpectedNetwork,
    tell: Callable[[str], None], *, quick: bool = False,
) -> GraphResult:  # fmt: skip
    """Run the graph on a core in every way, until one differs."""

    def run(way: GraphWay) -> tuple[str, int, Difference | None]:
        observed = device.start(core, way, expected)
        found = network_difference(expected, observed, traced=way.whole)
        return observed.used, sum(map(len, observed.digests.values())), found

    ways = network_graph_ways(expected, quick=quick)
    return verify_graph_ways(device.target, core, ways, run, tell)
