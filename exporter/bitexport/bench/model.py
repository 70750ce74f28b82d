"""A model timed on this machine: what a token costs, beside what reading its weights must cost.

targets/runtime/runner/bench_model.c measures, a process for each number of threads: what it holds
is the model and nothing of Python.  Times depend on the machine and on who else uses it.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, RunError
from bitexport.package.native import native_bundle
from bitexport.paths import runtime_root
from bitexport.targets import find_target, load_flags
from bitexport.toolchain.compile import PROGRAMS, find_library, include_folders
from bitexport.toolchain.emulate import run
from bitexport.toolchain.programs import find_program, run_tool
from bitexport_ref.bitx import open_bitx
from bitexport_ref.bitx_records import Op, OpCode, OperandKind, Tensor

PREFILL, DECODE = 512, 32  # tokens
CONTEXTS = (0, 512, 2048)
FILES = ("bench_model.c", "runner_posix.c")
PATIENCE = 3600.0  # seconds, for one number of threads
TABLES = frozenset({OpCode.EMBED, OpCode.GROUP_EMBED, OpCode.ROPE})
"""Ops that read one row of their tensors for a token."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """Speed with so many tokens before; None where the model's context has no room for it."""

    context: int
    decode: float | None  # tokens a second, by the median token
    prefill: float | None  # tokens a second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A bundle with some number of threads."""

    threads: int
    open_seconds: float
    first_token_seconds: float  # both since the program began
    arena_bytes: int
    peak_bytes: int  # resident, mapped weights included
    read_rate: float  # bytes a second: memory read in order, the best of some times
    points: tuple[Point, ...]
    unfused_token_seconds: float  # op by op, context 0
    op_shares: Mapping[str, float]  # of that

    def weight_rate(self, weight_bytes: int) -> float | None:
        """Return the bytes of weights that decode reads a second, at the first context."""
        rates = [point.decode for point in self.points if point.decode is not None]
        return weight_bytes * rates[0] if rates else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelBench:
    """Everything that was measured."""

    name: str
    file_bytes: int
    weight_bytes: int  # that a token touches: of embeddings and tables a row
    prefill_tokens: int
    decode_tokens: int
    runs: tuple[Run, ...]


def bench_model(
    bundle: Bundle, threads: Sequence[int], contexts: Sequence[int], say: Say
) -> ModelBench:
    """Time a bundle with each number of threads."""
    model = bundle.manifest["model"]
    room = int(model["context"])
    decode = max(1, min(DECODE, room // 2))
    prefill = max(1, min(PREFILL, room))
    if min(contexts) + decode > room:
        raise BundleError(
            f"{bundle.path}: its context of {room} tokens has no room behind {min(contexts)}",
            hint="give a smaller --context",
        )
    with native_bundle(bundle) as runnable, tempfile.TemporaryDirectory() as folder:
        program = build_program(runnable, Path(folder))
        runs = []
        for count in threads:
            say(f"{model['name']}: {count} thread{'s' if count > 1 else ''}")
            read = facts_of(program, ["--read", str(count)])["read"][0]
            words = [str(bundle.data.resolve()), str(count), str(prefill), str(decode)]
            facts = facts_of(program, [*words, *map(str, sorted(set(contexts)))])
            runs.append(run_of(count, facts, read[0] / min(read[1:]) * 1e9, contexts, decode))
    return ModelBench(
        name=str(model["name"]), file_bytes=bundle.data.stat().st_size,
        weight_bytes=weight_bytes(bundle), prefill_tokens=prefill, decode_tokens=decode,
        runs=tuple(runs),
    )  # fmt: skip


def build_program(bundle: Bundle, folder: Path) -> Path:
    """Link the measuring program against the library of a bundle, as the runner is linked."""
    host, flags, runner = find_target("host"), load_flags(), runtime_root() / PROGRAMS
    output = folder / "bench_model"
    command = [
        *(find_program(host.compiler, host), *flags.always, *host.flags, *flags.warnings),
        f"-I{runner}",
        *(f"-I{(bundle.path / each).resolve()}" for each in include_folders(bundle.path)),
        *(str(runner / name) for name in FILES),
        *("-pthread", *host.link),
        *(str(find_library(host, bundle.path).archive.resolve()), "-o", str(output)),
    ]
    run_tool(command, folder=folder, doing=f"{host.compiler} for {FILES[0]}")
    return output


def facts_of(program: Path, words: Sequence[str]) -> dict[str, list[list[int]]]:
    """Run the program; return the numbers of its lines, by their first word."""
    host = find_target("host")
    done = run(host, next(iter(host.cores)), program, words, PATIENCE)
    *lines, end = done.stdout.splitlines() or [""]
    if end != "end":
        raise RunError(f"`{program.name}` stopped: {end or 'it said nothing'}", completed=done)
    facts: dict[str, list[list[int]]] = {}
    for line in lines:
        name, *numbers = line.split()
        facts.setdefault(name, []).append([int(number) for number in numbers])
    return facts


def run_of(
    threads: int, facts: Mapping[str, list[list[int]]], read_rate: float, contexts: Sequence[int],
    decode_tokens: int,
) -> Run:  # fmt: skip
    """Turn what the program said into figures."""
    decode = {c: 1e9 / statistics.median(times) for c, *times in facts.get("decode", [])}
    prefill = {c: 1e9 * tokens / time for c, tokens, time in facts.get("prefill", [])}
    ops = {OpCode(code).name.lower(): time for code, time in facts["op"]}
    return Run(
        threads=threads,
        open_seconds=facts["opened"][0][0] / 1e9,
        first_token_seconds=facts["first"][0][0] / 1e9,
        arena_bytes=facts["arena"][0][0],
        peak_bytes=facts["peak"][0][0],
        read_rate=read_rate,
        points=tuple(
            Point(context=c, decode=decode.get(c), prefill=prefill.get(c))
            for c in sorted(set(contexts))
        ),
        unfused_token_seconds=facts["unfused"][0][0] / 1e9 / decode_tokens,
        op_shares={
            name: time / sum(ops.values())
            for name, time in sorted(ops.items(), key=lambda item: -item[1])
        },
    )


def weight_bytes(bundle: Bundle) -> int:
    """Return the bytes of the file that one token reads."""
    bitx = open_bitx(bundle.data)
    return sum(
        _read_by(op, bitx.tensors[operand.index])
        for op in bitx.ops
        for operand in op.inputs
        if operand.kind is OperandKind.TENSOR
    )


def _read_by(op: Op, tensor: Tensor) -> int:
    return tensor.size // tensor.shape[0] if op.code in TABLES else tensor.size
