"""From the first differing op to the first differing number, and a file to replay it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, MismatchError, RunError, TargetError, ToolchainError
from bitexport.verify.cores import Failure, Machine, Way
from bitexport.verify.expected import Expected, compute_expected, rows_at
from bitexport_ref.evaluator import ReferenceModel

MOST_THREADS = 64
# What numpy and zipfile raise for one damaged file or another.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, BadZipFile, zlib.error,
)  # fmt: skip


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
    bundle: str
    replay: str | None
    """The file to replay it from; None when it could not be written, and then why."""
    unwritten: str | None = None
    traced: bool = True
    device: str | None = None
    """The real one that it ran on, as --on has it."""

    def __str__(self) -> str:
        """Return it as a few lines."""
        if self.replay is None:
            last = f"there is no file to replay it from: {self.unwritten}"
        else:
            words = ["bitexport", "verify", self.bundle, "--replay", self.replay]
            words += ["--on", self.device] if self.device else []
            last = f"replay with: {shlex.join(words)}"
        fused_only = "  op by op it agrees: look at fusions, kept rows and slots\n"
        return (
            f"first difference on {self.core} ({self.way}): position {self.position}, "
            f"op output {self.op_output}, {self.op_type} `{self.name}`\n"
            f"  {self.differing} of {self.columns} elements differ, first at index {self.index}\n"
            f"  reference {self.expected} ({self.expected_hex})\n"
            f"  device    {self.observed} ({self.observed_hex}), {self.ulp} ULP apart\n"
            f"{'' if self.traced else fused_only}"
            f"  {last}"
        )


def explain(
    model: ReferenceModel, device: Machine, core: str, expected: Expected, failure: Failure,
    bundle: Path, folder: Path,
) -> Explanation | str:  # fmt: skip
    """Fetch the differing row from the core, compare it number by number, write the replay file.

    When there is no row to compare, say what a second run did; nothing when there is none to fetch.
    """
    place, way = failure.difference, failure.way
    if place.output is None:
        return ""
    tokens = (*expected.prompt, *expected.generated)
    rows = rows_at(model, tokens, place.position)
    want = rows[place.name]
    try:
        row = None if place.returned else place.output
        observed = device.start(core, _dump_arguments(way, expected, row, place.position))
    except (RunError, MismatchError, TargetError, ToolchainError) as error:
        return f"a second run failed: {error}"
    if observed.dumped is None or len(observed.dumped) != want.nbytes:
        why = f": {observed.stopped}" if observed.stopped else ""
        return f"a second run did not return the row{why}"
    if observed.dumped == want.tobytes():
        return "a second run did not differ: timing?"
    have = np.frombuffer(observed.dumped, want.dtype)
    name, op_type = expected.outputs[place.output]
    inputs: dict[str, Any] = {
        f"input_{at}": rows[source]
        for at, source in enumerate(inputs_of(model, name))
        if source in rows
    }
    case = dict(
        core=core, target=device.target.name, op_output=place.output, op=name,
        op_type=op_type, position=place.position, chunk=way.chunk, threads=way.threads,
        isa=way.isa or "", traced=way.traced, returned=place.returned, prompt=expected.prompt,
        generated=expected.generated, reference=want, device=have, **inputs,
    )  # fmt: skip
    found = compare_rows(
        want, have, core=core, way=way, position=place.position, op_output=place.output,
        name=name, op_type=op_type, bundle=str(bundle), replay=None,
        device=_name_of(device),
    )  # fmt: skip
    try:
        path = _write_case(folder, core, case)
    except OSError as error:
        where = error.filename or folder
        unwritten = f"{where} could not be written: {error.strerror or error}"
        return dataclasses.replace(found, unwritten=unwritten)
    return dataclasses.replace(found, replay=str(path))


def said_of(
    core: str, failure: Failure, found: Explanation | str, place_is: str = "position"
) -> str:
    """Say where a core parts from the reference, with what `explain` found."""
    if isinstance(found, Explanation):
        return str(found)
    place = failure.difference
    again = f"; {found}" if found else ""
    return f"{core} ({failure.way.words}): {place_is} {place.position}: {place.what}{again}"


def replay(
    model: ReferenceModel, device: Machine, bundle: Bundle, path: Path
) -> Explanation | None:
    """Run the case of a replay file again; None when the bits now agree."""
    case = _read_case(path)
    case.check(path, device, bundle, model.plan)
    way, core, position, output = case.way, case.core, case.position, case.output
    name, op_type = case.op
    expected = Expected(case.prompt, case.generated, tuple(model.plan), ())
    tokens, consumed = case.prompt, position + 1 - len(case.prompt)
    if consumed > 0:  # what was chosen is the reference's to say, not the file's
        tokens += compute_expected(model, case.prompt, consumed).generated
    want = rows_at(model, tokens, position)[name]
    row = None if case.returned else output
    observed = device.start(core, _dump_arguments(way, expected, row, position))
    if observed.dumped is None or len(observed.dumped) != want.nbytes:
        raise MismatchError(f"{core} computed no row of `{name}` at position {position}")
    have = np.frombuffer(observed.dumped, want.dtype)
    if want.tobytes() == have.tobytes():
        return None
    return compare_rows(
        want, have, core=core, way=way, position=position, op_output=output, name=name,
        op_type=op_type, bundle=str(bundle.path.absolute()), replay=str(path.absolute()),
        device=_name_of(device),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What a replay file holds, of the right types; `check` says whether it makes sense."""

    target: str
    core: str
    way: Way
    position: int
    output: int
    op: tuple[str, str]
    returned: bool
    prompt: tuple[int, ...]
    generated: tuple[int, ...]

    def check(
        self, path: Path, device: Machine, bundle: Bundle, plan: tuple[tuple[str, str], ...]
    ) -> None:
        """Refuse a case that this bundle cannot run, and name the field."""
        target, facts = device.target, bundle.manifest["model"]
        context, vocabulary = int(facts["context"]), int(facts["vocabulary"])
        isas = target.isas if device.remote else target.cores.get(self.core, ())
        known = [*target.cores, *([target.name] if target.os == "none" and device.remote else [])]
        positions = len(self.prompt) + len(self.generated) - 1
        first = len(self.prompt) - 1 if self.returned else 0
        last_output = len(plan) - 1
        tokens = (("prompt", self.prompt), ("generated", self.generated))
        out = {field: [t for t in ids if not 0 <= t < vocabulary] for field, ids in tokens}
        wrong = {
            "target": self.target != target.name and f"the bundle is for `{target.name}`",
            "core": self.core not in known and f"the target has {', '.join(known)}",
            "chunk": not 1 <= self.way.chunk <= context and f"it is 1 to {context}",
            "threads": not 1 <= self.way.threads <= (MOST_THREADS if target.threads else 1)
            and f"target `{target.name}` has {'no' if not target.threads else 'fewer'} threads",
            "isa": self.way.isa not in (None, *isas) and f"the core runs {', '.join(isas)}",
            **{
                field: (not ids and "it holds no token")
                or (out[field] and f"{out[field][0]} is no token of {vocabulary}")
                or (positions > context and f"the tokens do not fit a context of {context}")
                for field, ids in tokens
            },
            "position": not first <= self.position < positions
            and f"it is {first} to {positions - 1}",
            "op_output": (not 0 <= self.output <= last_output or plan[self.output] != self.op)
            and f"that is no {self.op[1]} `{self.op[0]}` in this bundle",
            "returned": self.returned
            and self.output != last_output
            and f"only op output {last_output} is returned",
        }
        values = {
            "target": self.target, "core": self.core, "chunk": self.way.chunk,
            "threads": self.way.threads, "isa": self.way.isa, "position": self.position,
            "op_output": self.output,
        }  # fmt: skip
        for field, why in wrong.items():
            if why:
                value = f" is `{values[field]}`" if field in values else " is wrong"
                raise BundleError(
                    f"{path}: not a replay file for this bundle: `{field}`{value}: {why}",
                    hint="give the file that verify wrote for this bundle, unchanged",
                )


def _write_case(folder: Path, core: str, case: Mapping[str, Any]) -> Path:
    """Write a replay file under a name that nothing has yet."""
    content = io.BytesIO()
    np.savez(content, **case)
    stem = f"mismatch-{core.replace(',', '-').replace('=', '-')}"
    for number in itertools.count(1):
        path = folder.absolute() / (f"{stem}-{number}.npz" if number > 1 else f"{stem}.npz")
        try:
            file = path.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                file.write(content.getbuffer())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        return path
    raise AssertionError


def _read_case(path: Path) -> Case:
    """Read a replay file: every field there, and of its type."""

    def get(field: str, kinds: str, dimensions: int = 0) -> Any:
        if field not in case:
            raise ValueError(f"it has no `{field}`")
        array = case[field]
        if array.dtype.kind not in kinds or array.ndim != dimensions:
            raise ValueError(f"`{field}` is {array.dtype} of shape {array.shape}")
        return array.tolist()

    try:
        with path.open("rb") as file, np.load(file) as case:
            return Case(
                target=get("target", "U"), core=get("core", "U"),
                way=Way(
                    chunk=get("chunk", "iu"), threads=get("threads", "iu"),
                    isa=get("isa", "U") or None, traced=get("traced", "b"),
                ),
                position=get("position", "iu"), output=get("op_output", "iu"),
                op=(get("op", "U"), get("op_type", "U")), returned=get("returned", "b"),
                prompt=tuple(get("prompt", "iu", 1)), generated=tuple(get("generated", "iu", 1)),
            )  # fmt: skip
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BundleError(
            f"{path}: not a replay file: {why}", hint="give the file that verify wrote"
        ) from error


def compare_rows(
    want: NDArray[Any], have: NDArray[Any], *, core: str, way: Way, position: int, op_output: int,
    name: str, op_type: str, bundle: str, replay: str | None, device: str | None = None,
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
        ulp=_ulp(want[index], have[index]), bundle=bundle, replay=replay, device=device,
    )  # fmt: skip


def _name_of(device: Machine) -> str | None:
    return None if device.remote is None else str(device.remote)


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
