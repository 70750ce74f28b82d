"""A token counted on an emulated core: guest instructions of a decode step, by op, on any machine.

targets/runtime/runner/bench_tokens.c runs single tokens, fused as a session runs them; the plugin
of bench/count.py says how many instructions had run when each op or fusion began.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bitexport.bench.count import (
    MARK,
    PLATFORM,
    Say,
    build_plugin,
    counting,
    read_marks,
)
from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, RunError
from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Target, find_target, load_flags
from bitexport.toolchain.compile import PROGRAMS, find_library, include_folders
from bitexport.toolchain.emulate import run
from bitexport.toolchain.programs import find_program, run_tool
from bitexport_ref.bitx import open_bitx
from bitexport_ref.bitx_records import Layout, OpCode, OperandKind

STEPS = ("bitx_op_", "bitx_fusion_")
"""How the functions begin that run a step of the plan."""
BEFORE = "before the first op"
JUMP = 2  # instructions: no step takes so few
PATIENCE = 3600.0  # seconds

PRODUCTS = frozenset({OpCode.TERNARY_MATMUL, OpCode.GROUP_MATMUL})
LOW_BIT = frozenset(Layout) - {Layout.PLAIN, Layout.Q4R}

Marks = Sequence[tuple[int, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenCount:
    """One token, with so many before it."""

    context: int
    instructions: int
    steps: Mapping[str, int]
    """Of them, by op and fusion, the largest first; what the session does between two steps counts
    for the first of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCount:
    """The tokens of a bundle on one core."""

    name: str
    target: str
    core: str
    isa: str
    ternary_weights: int  # of products, binary ones too; without embedding and head of other forms
    tokens: tuple[TokenCount, ...]

    def per_weight(self, instructions: int) -> float | None:
        """Return the instructions for one ternary weight; None, where the model has none."""
        return instructions / self.ternary_weights if self.ternary_weights else None


def count_model(
    bundle: Bundle, cores: Sequence[str], contexts: Sequence[int], say: Say
) -> list[ModelCount]:
    """Count a token at each context on each core of the bundle's target, one thread.

    The library is the one that the bundle ships.
    """
    target, model = find_target(bundle.target_name), bundle.manifest["model"]
    for core in cores:
        target.expected_isas(core)
    require_room(bundle, contexts)
    with tempfile.TemporaryDirectory(prefix="bitexport-bench-") as scratch:
        plugin = build_plugin(Path(scratch))
        program = build_program(target, bundle, Path(scratch))
        counts = []
        for core in cores:
            say(f"{model['name']}: {core}, by {(target.counter or target.runner)[0]}")
            isa, tokens = count_tokens(target, core, program, plugin, bundle, contexts)
            counts.append(
                ModelCount(
                    name=str(model["name"]), target=target.name, core=core, isa=isa,
                    ternary_weights=ternary_weights(bundle), tokens=tuple(tokens),
                )
            )  # fmt: skip
    return counts


def require_room(bundle: Bundle, contexts: Sequence[int]) -> None:
    """Refuse to count behind more tokens than the context of the model holds."""
    room = int(bundle.manifest["model"]["context"])
    if max(contexts) >= room:
        raise BundleError(
            f"{bundle.path}: its context of {room} tokens has no room behind {max(contexts)}",
            hint="give a smaller --context",
        )


def count_facts(count: ModelCount) -> dict[str, Any]:
    """Return everything that was counted, as JSON has it."""
    facts = dataclasses.asdict(count)
    facts["tokens"] = [
        {**dataclasses.asdict(token), "per_ternary_weight": count.per_weight(token.instructions)}
        for token in count.tokens
    ]
    return facts


def build_program(target: Target, bundle: Bundle, folder: Path) -> Path:
    """Link the program against the bundle's own library, as the runner is linked."""
    flags, runner, output = load_flags(), runtime_root() / PROGRAMS, folder / "bench_tokens"
    library = find_library(target, bundle.path).archive.resolve()
    files = ["bench_tokens.c", *PLATFORM[target.os]]
    options: list[str] = ["-pthread"] if target.threads else []
    if target.os == "none":
        script = targets_root() / target.name / f"{target.name}.ld"
        options += [*flags.library, f'-DBITX_BLOB_PATH="{bundle.data.resolve()}"']
        options += ["-T", str(script)]
        files.append("blob.S")
    command = [
        *(find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings),
        f"-I{runner}",
        *(f"-I{(bundle.path / each).resolve()}" for each in include_folders(bundle.path)),
        *(str(runner / name) for name in files),
        *(*options, *target.link, str(library), "-o", str(output)),
    ]
    run_tool(command, folder=folder, doing=f"{target.compiler} for target `{target.name}`")
    return output


def count_tokens(
    target: Target, core: str, program: Path, plugin: Path, bundle: Bundle, contexts: Sequence[int]
) -> tuple[str, list[TokenCount]]:
    """Run the program on a core; return the instruction set it used and what the tokens cost."""
    log = plugin.with_name("marks.txt")
    words = ["--model", str(bundle.data.resolve())] if target.os == "linux" else []
    for context in sorted(set(contexts)):
        words += ["--context", str(context)]
    marks = (MARK, *(f"{name}*" for name in STEPS))
    done = run(counting(target, plugin, log, marks), core, program, words, PATIENCE)
    *lines, end = done.stdout.splitlines() or [""]
    if end != "end":
        raise RunError(
            f"`{program.name}` on {target.name}, core {core}, stopped: {end}", completed=done
        )
    (isa, *_), *tokens = [line.split()[1:] for line in lines]
    measured = list(between(read_marks(log)))
    if len(measured) != len(tokens):
        raise RunError(
            f"`{program.name}` on {target.name}, core {core}, ran {len(tokens)} tokens and "
            f"marked {len(measured)}",
            completed=done,
            hint="the emulator must look up names: the program may not be stripped",
        )
    return isa, [
        TokenCount(context=int(position), instructions=marks[-1][0] - marks[0][0],
                   steps=steps_of(marks))
        for (position,), marks in zip(tokens, measured, strict=True)
    ]  # fmt: skip


def between(marks: Marks) -> Iterator[Marks]:
    """Yield the marks of each token, from the one before it to the one behind."""
    ends = [at for at, (_, name) in enumerate(marks) if name == MARK]
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        yield marks[first : last + 1]


def steps_of(marks: Marks) -> dict[str, int]:
    """Add up what lies behind each mark, by the step that begins there.

    Of two functions that are alike a compiler keeps one, and makes of the other a jump to it: a
    step that leads to another at once is that one, under its own name.
    """
    sums: dict[str, int] = {}
    alias: str | None = None
    for (start, name), (end, _) in pairwise(marks):
        step = alias or step_name(name)
        sums[step] = sums.get(step, 0) + end - start
        alias = step if end - start <= JUMP else None
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def step_name(symbol: str) -> str:
    """Return the op or fusion of a function; a compiler may have added to its name."""
    for beginning in STEPS:
        if symbol.startswith(beginning):
            return symbol.removeprefix(beginning).partition(".")[0]
    return BEFORE


def ternary_weights(bundle: Bundle) -> int:
    """Return the weights of one or two bits that a token is multiplied with."""
    bitx = open_bitx(bundle.data)
    used = {
        operand.index
        for op in bitx.ops
        if op.code in PRODUCTS
        for operand in op.inputs
        if operand.kind is OperandKind.TENSOR
    }
    tensors = [bitx.tensors[index] for index in used]
    return sum(t.shape[0] * t.shape[1] for t in tensors if t.layout in LOW_BIT)
