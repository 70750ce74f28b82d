"""Run a network, no language model, on every core, in every way that must not change a bit."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import BundleError, RunError
from bitexport.targets import Target
from bitexport.verify.cores import (
    CoreResult,
    Machine,
    Way,
    verify_ways,
)
from bitexport.verify.inputs import one_sample_a_call
from bitexport.verify.match import Difference
from bitexport.verify.observed import read
from bitexport_ref.digests import printed, row_digest
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.evaluator import ReferenceModel

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedNetwork:
    """What the reference computes of some samples."""

    inputs: Mapping[str, Array]
    single: bool
    """Whether a call computes one sample."""
    outputs: tuple[tuple[str, str], ...]
    """Name and op type of every op output, in plan order."""
    digests: tuple[tuple[str, ...], ...]
    """digests[output][row], as the runner prints them; the rows of all samples."""
    results: Mapping[str, Array]
    """The outputs of the network, by name."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.inputs.values())))


@dataclasses.dataclass(frozen=True)
class ObservedNetwork:
    """One run on one core."""

    available: tuple[str, ...]
    used: str
    arena_bytes: int
    digests: Mapping[int, list[str]]
    """By op output: of the rows in their order."""
    results: Mapping[str, bytes]
    stopped: str | None


def compute_network(model: ReferenceModel, inputs: Mapping[str, Array]) -> ExpectedNetwork:
    """Run the reference over samples, with every op output."""
    single = one_sample_a_call(model)
    count = len(next(iter(inputs.values())))
    rows: dict[str, list[str]] = {name: [] for name, _ in model.plan}
    results: dict[str, list[Array]] = {name: [] for name in model.graph.outputs}
    try:
        for part in range(count) if single else (slice(None),):
            some = {name: array[part][None] if single else array for name, array in inputs.items()}
            outputs, traced = model.trace_network(some)
            for each in traced:
                rows[each.name] += [printed(row_digest(row)).hex() for row in each.rows]
            for name, value in outputs.items():
                results[name].append(value)
    except ReferenceFailure as error:
        raise BundleError(
            f"{model.path}: the reference cannot run this: {error}",
            hint="the numbers that it was given are not finite, or out of range",
        ) from error
    return ExpectedNetwork(
        inputs=inputs, single=single, outputs=tuple(model.plan),
        digests=tuple(tuple(rows[name]) for name, _ in model.plan),
        results={name: np.concatenate(values) for name, values in results.items()},
    )  # fmt: skip


def run_network(
    device: Machine,
    core: str,
    expected_inputs: Mapping[str, Array],
    words: Sequence[str],
    chunk: int,
) -> ObservedNetwork:
    """Run samples in calls of `chunk`, and read what was printed."""
    data = b"".join(input_bytes(expected_inputs, chunk))
    try:
        return parse_network(device.run(core, ["--network", str(chunk), *words], read=data))
    except RunError as error:
        if "\nisa used " not in error.completed.stdout:
            raise
        return parse_network(error.completed.stdout, str(error).partition("\n")[0])


def input_bytes(inputs: Mapping[str, Array], chunk: int) -> Iterator[bytes]:
    """Yield the inputs of call after call, of `chunk` samples each."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, chunk):
        for array in inputs.values():
            yield array[start : start + chunk].tobytes()


def parse_network(text: str, ending: str = "") -> ObservedNetwork:
    """Read a run of a network; one that never began is a MismatchError."""
    said = read(text, ending)
    digests: dict[int, list[str]] = {}
    results: dict[str, bytes] = {}
    for line in said.lines:
        match line:
            case ["op", output, _, *found]:
                digests.setdefault(int(output), []).extend(found)
            case ["output", *name, _, data]:
                called = " ".join(name)
                results[called] = results.get(called, b"") + bytes.fromhex(data)
    return ObservedNetwork(
        said.available, said.used, said.arena_bytes, digests, results, said.stopped
    )


def network_ways(target: Target, core: str, expected: ExpectedNetwork, *, quick: bool) -> list[Way]:
    """Return every way in which a core is run; one sample a call where there can be no more."""
    whole = 1 if expected.single else expected.samples
    isas = target.expected_isas(core)
    most = 2 if target.threads else 1
    if quick:
        return [Way(chunk=whole, threads=most, traced=traced) for traced in (True, False)]
    chunks = (whole, whole // 2 + 1, 1)
    every = [Way(chunk=chunk, traced=traced) for traced in (True, False) for chunk in chunks]
    if target.threads:
        every += [Way(chunk=whole, threads=2, traced=traced) for traced in (True, False)]
    every += [Way(chunk=whole, isa=isa) for isa in isas[:-1]]
    return list(dict.fromkeys(every))


def verify_network(
    device: Machine, core: str, expected: ExpectedNetwork, tell: Callable[[str], None], *,
    quick: bool = False, self_test: bool = False,
) -> CoreResult:  # fmt: skip
    """Run a core in every way, until one differs; then the self-test of the file, if it has one."""

    def run(way: Way) -> tuple[ObservedNetwork, Difference | None]:
        words = ["--check-hashes", *way.options]
        observed = run_network(device, core, expected.inputs, words, way.chunk)
        return observed, network_difference(expected, observed, traced=way.traced)

    return verify_ways(
        device, core, network_ways(device.target, core, expected, quick=quick), run, tell,
        outputs=expected.outputs, quick=quick,
        self_test=["--check-hashes", "--self-test"] if self_test else None,
    )  # fmt: skip


def network_difference(
    expected: ExpectedNetwork, observed: ObservedNetwork, *, traced: bool
) -> Difference | None:
    """Return the first difference: in the trace by op output and row, then in what was returned."""
    found = _in_trace(expected, observed) if traced else None
    for name, result in () if found else expected.results.items():
        found = found or _in_result(name, result, observed)
    if found is None and set(observed.results) != set(expected.results):
        found = Difference(0, None, "outputs", "there are outputs that the reference does not have")
    if found is None and observed.stopped:
        found = Difference(0, None, "end", f"the run stopped: {observed.stopped}")
    return found


def _in_trace(expected: ExpectedNetwork, observed: ObservedNetwork) -> Difference | None:
    """Of a run that stopped, what differs comes before what is missing."""
    missing: Difference | None = None
    for output, (name, op_type) in enumerate(expected.outputs):
        wanted, found = expected.digests[output], observed.digests.get(output, [])
        for row, (digest, other) in enumerate(itertools.zip_longest(wanted, found)):
            if other is None:
                missing = missing or _missing(row, name, f"{op_type} `{name}`", observed)
            elif digest != other:
                return Difference(row, output, name, f"{op_type} `{name}` differs")
    return missing


def _in_result(name: str, result: Array, observed: ObservedNetwork) -> Difference | None:
    data = observed.results.get(name, b"")
    if len(data) != result.nbytes:
        return _missing(0, name, f"the output `{name}`", observed)
    if data == result.tobytes():
        return None
    given = np.frombuffer(data, np.uint8).reshape(len(result), -1)
    wanted = np.frombuffer(result.tobytes(), np.uint8).reshape(len(result), -1)
    row = int(np.argmax((given != wanted).any(axis=1)))
    return Difference(row, None, name, f"the output `{name}` differs", returned=True)


def _missing(row: int, name: str, what: str, observed: ObservedNetwork) -> Difference:
    why = f": the run stopped: {observed.stopped}" if observed.stopped else ""
    return Difference(row, None, name, f"{what} was not computed{why}")
