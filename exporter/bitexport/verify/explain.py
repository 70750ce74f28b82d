"""From the first differing op to the first differing number, and a file to replay it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import BundleError, MismatchError, RunError
from bitexport.verify.cores import Failure, Machine, Way
from bitexport.verify.expected import Expected, rows_at
from bitexport_ref.evaluator import ReferenceModel


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The first number that differs."""

    core: str
    way: str
    position: int
    op_output: int
    name: str
    op_type: str
    differing: int
    columns: int
    index: int
    expected: str
    observed: str
    expected_hex: str
    observed_hex: str
    ulp: int
    replay: str
    traced: bool = True

    def __str__(self) -> str:
        """Return it as a few lines."""
        fused_only = "  op by op it agrees: look at fusions, kept rows and slots\n"
        return (
            f"first difference on {self.core} ({self.way}): position {self.position}, "
            f"op output {self.op_output}, {self.op_type} `{self.name}`\n"
            f"  {self.differing} of {self.columns} elements differ, first at index {self.index}\n"
            f"  reference {self.expected} ({self.expected_hex})\n"
            f"  device    {self.observed} ({self.observed_hex}), {self.ulp} ULP apart\n"
            f"{'' if self.traced else fused_only}"
            f"  replay with: bitexport verify --replay {self.replay}"
        )


def explain(
    model: ReferenceModel, device: Machine, core: str, expected: Expected, failure: Failure,
    folder: Path,
) -> Explanation | None:  # fmt: skip
    """Fetch the differing row from the core, compare it number by number, write the replay file.

    None when there is no row to fetch, or when a second run computes the reference's bits.
    """
    place, way = failure.difference, failure.way
    if place.output is None:
        return None
    tokens = (*expected.prompt, *expected.generated)
    rows = rows_at(model, tokens, place.position)
    want = rows[place.name]
    try:
        row = None if place.returned else place.output
        observed = device.start(core, _dump_arguments(way, expected, row, place.position))
    except (RunError, MismatchError):
        return None
    if observed.dumped is None or len(observed.dumped) != want.nbytes:
        return None
    if observed.dumped == want.tobytes():
        return None
    have = np.frombuffer(observed.dumped, want.dtype)
    name, op_type = expected.outputs[place.output]
    path = folder / f"mismatch-{core.replace(',', '-').replace('=', '-')}.npz"
    inputs: dict[str, Any] = {
        f"input_{at}": rows[source]
        for at, source in enumerate(inputs_of(model, name))
        if source in rows
    }
    np.savez(
        path, core=core, target=device.target.name, op_output=place.output, op=name,
        op_type=op_type, position=place.position, chunk=way.chunk, threads=way.threads,
        isa=way.isa or "", traced=way.traced, returned=place.returned, prompt=expected.prompt,
        generated=expected.generated, reference=want, device=have, **inputs,
    )  # fmt: skip
    return compare_rows(
        want, have, core=core, way=way, position=place.position, op_output=place.output,
        name=name, op_type=op_type, replay=str(path),
    )  # fmt: skip


def replay(model: ReferenceModel, device: Machine, path: Path) -> Explanation | None:
    """Run the case of a replay file again; None when the bits now agree."""
    try:
        with path.open("rb") as file, np.load(file) as case:
            way = Way(
                chunk=int(case["chunk"]), threads=int(case["threads"]),
                isa=str(case["isa"]) or None, traced=bool(case["traced"]),
            )  # fmt: skip
            core, position = str(case["core"]), int(case["position"])
            output, returned = int(case["op_output"]), bool(case["returned"])
            op = (str(case["op"]), str(case["op_type"]))
            prompt = tuple(int(t) for t in case["prompt"])
            generated = tuple(int(t) for t in case["generated"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise BundleError(f"{path}: not a replay file: {error}") from error
    expected = Expected(prompt, generated, tuple(model.plan), ())
    if expected.outputs[output : output + 1] != (op,):
        raise BundleError(f"{path}: op output {output} is no {op[1]} `{op[0]}` in this bundle")
    name, op_type = op
    want = rows_at(model, (*prompt, *generated), position)[name]
    observed = device.start(
        core, _dump_arguments(way, expected, None if returned else output, position)
    )
    if observed.dumped is None or len(observed.dumped) != want.nbytes:
        raise MismatchError(f"{core} computed no row of `{name}` at position {position}")
    have = np.frombuffer(observed.dumped, want.dtype)
    if want.tobytes() == have.tobytes():
        return None
    return compare_rows(
        want, have, core=core, way=way, position=position, op_output=output, name=name,
        op_type=op_type, replay=str(path),
    )  # fmt: skip


def compare_rows(
    want: NDArray[Any], have: NDArray[Any], *, core: str, way: Way, position: int, op_output: int,
    name: str, op_type: str, replay: str,
) -> Explanation:  # fmt: skip
    """Describe the first element whose bits differ."""
    unsigned = np.dtype(f"<u{want.dtype.itemsize}")
    a, b = want.view(unsigned), have.view(unsigned)
    places = np.flatnonzero(a != b)
    assert places.size, "rows with equal bits have no first difference"
    index, digits = int(places[0]), 2 * want.dtype.itemsize
    return Explanation(
        core=core, way=way.words, traced=way.traced, position=position, op_output=op_output,
        name=name, op_type=op_type,
        differing=int(places.size), columns=int(want.size), index=index,
        expected=str(want[index]), observed=str(have[index]),
        expected_hex=f"0x{int(a[index]):0{digits}x}", observed_hex=f"0x{int(b[index]):0{digits}x}",
        ulp=_ulp(want[index], have[index]), replay=replay,
    )  # fmt: skip


def inputs_of(model: ReferenceModel, output: str) -> tuple[str, ...]:
    """Return the names that the node which makes `output` reads."""
    for step in model.graph.steps:
        if output in step.outputs:
            return tuple(step.inputs)
    return ()


def _dump_arguments(way: Way, expected: Expected, output: int | None, position: int) -> list[str]:
    """Ask for a row of an op output, or of the logits that the call returns."""
    words = (
        ["--dump-logits", f"{position}"] if output is None else ["--dump", f"{output},{position}"]
    )
    return [*way.arguments(expected), *words]


def _ulp(a: Any, b: Any) -> int:
    """Return how many representable numbers lie between two; for integers, their distance."""
    if a.dtype.kind != "f":
        return abs(int(a) - int(b))
    signed = np.dtype(f"<i{a.dtype.itemsize}")
    lowest = int(np.iinfo(signed).min)
    ordered = [int(v.view(signed)) for v in (a, b)]
    return (
        abs(ordered[0] - ordered[1])
        if min(ordered) >= 0
        else abs(_monotonic(ordered[0], lowest) - _monotonic(ordered[1], lowest))
    )


def _monotonic(bits: int, lowest: int) -> int:
    return bits if bits >= 0 else lowest - bits
