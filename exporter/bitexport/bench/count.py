"""Guest instructions of a kernel, counted by an emulator: the same number on every machine.

targets/runtime/runner/bench_kernels.c calls the kernels between marks; a plugin of QEMU,
targets/tools/count_instructions.c, says how many instructions had run at each.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from bitexport.errors import RunError, ToolchainError
from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Target, find_target, load_flags
from bitexport.toolchain.compile import PROGRAMS, Library, build_library, include_folders
from bitexport.toolchain.emulate import run
from bitexport.toolchain.programs import find_program, install_line, run_tool
from bitexport.verify.cores import isa_bits

MARK = "bench_mark"
PLATFORM = {
    "linux": ("runner_posix.c",),
    "none": ("runner_semihosting.c", "runner_bare.c", "start_cortex_m.c"),
}
EMULATOR_PACKAGE = "qemu-user"
UNIT = 64  # weights

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count:
    """One call of a kernel: a matrix of n rows and k columns times some vectors."""

    target: str
    isa: str
    kernel: str
    n: int
    k: int
    columns: int  # the vectors
    instructions: int

    @property
    def per_unit(self) -> float:
        """Return the instructions for 64 weights and one vector."""
        return self.instructions * UNIT / (self.n * self.k * self.columns)


def count_kernels(
    targets: Sequence[Target], kernels: Sequence[str], isas: Sequence[str], say: Say
) -> list[Count]:
    """Count the kernels of those names and instruction sets; of all, where none is named."""
    found: list[Count] = []
    with tempfile.TemporaryDirectory(prefix="bitexport-bench-") as scratch:
        plugin = build_plugin(Path(scratch))
        for target in targets:
            folder = Path(scratch) / target.name
            program = build_program(target, build_library(target, runtime_root(), folder), folder)
            for core, own in cores_of(target):
                emulated = [isa for isa in own if isa not in target.cpuinfo]
                wanted = [isa for isa in emulated if not isas or isa in isas]
                if not wanted:
                    continue
                emulator = (target.counter or target.runner)[0]
                say(f"{target.name}: {', '.join(wanted)} on {core}, by {emulator}")
                for kernel in kernels or ("",):
                    found += count_on(target, core, program, plugin, wanted, kernel)
    return found


def cores_of(target: Target) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield as few cores as run every instruction set of the target, each with those it adds.

    The same instructions run wherever they run: one core is as good as another.
    """
    seen: set[str] = set()
    for core, isas in sorted(target.cores.items(), key=lambda item: -len(item[1])):
        if new := tuple(isa for isa in isas if isa not in seen):
            seen.update(new)
            yield core, new


def build_plugin(folder: Path) -> Path:
    """Compile the plugin, which is a program of this machine."""
    host, flags = find_target("host"), load_flags()
    source = targets_root() / "tools" / "count_instructions.c"
    output = folder / "count_instructions.so"
    options = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", *flags.warnings)
    command = [find_program(host.compiler, host), *options, str(source), "-o", str(output)]
    run_tool(command, folder=folder, doing=f"{host.compiler} for {source.name}")
    return output


def build_program(target: Target, library: Library, folder: Path) -> Path:
    """Link the program that calls the kernels against a library, as the runner is linked."""
    flags, runner, output = load_flags(), runtime_root() / PROGRAMS, folder / "bench_kernels"
    command = [
        *(find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings),
        f"-I{runner}",
        *(f"-I{runtime_root() / each}" for each in include_folders()),
        *(str(runner / name) for name in ("bench_kernels.c", *PLATFORM[target.os])),
        *(("-pthread",) if target.threads else ()),
    ]
    if target.os == "none":
        script = targets_root() / target.name / f"{target.name}.ld"
        command += [*flags.library, "-T", str(script)]
    command += [*target.link, str(library.archive), "-o", str(output)]
    run_tool(command, folder=folder, doing=f"{target.compiler} for target `{target.name}`")
    return output


def count_on(
    target: Target, core: str, program: Path, plugin: Path, isas: Sequence[str], kernel: str
) -> list[Count]:
    """Run the program on a core, and put its lines and the emulator's marks together."""
    bits = isa_bits()
    words = ["--isa", str(sum(bits[isa] for isa in isas))]
    words += ["--kernel", kernel] if kernel else []
    log = plugin.with_name("marks.txt")
    done = run(counting(target, plugin, log, (MARK,)), core, program, words)
    *lines, end = done.stdout.splitlines() or [""]
    marks = [count for count, _ in read_marks(log)]
    if end != "end" or len(marks) != 2 * len(lines):
        raise RunError(
            f"`{program.name}` on {target.name}, core {core}, printed {len(lines)} lines for "
            f"{len(marks)} marks, and `{end}`",
            completed=done,
            hint="the emulator must look up names: the program may not be stripped",
        )
    between = [after - before for before, after in pairwise(marks)][::2]
    return [
        Count(
            target=target.name, kernel=name, isa=isa, n=int(n), k=int(k), columns=int(columns),
            instructions=instructions,
        )
        for (name, isa, n, k, columns), instructions in zip(
            (line.split() for line in lines), between, strict=True
        )
    ]  # fmt: skip


def read_marks(log: Path) -> list[tuple[int, str]]:
    """Return the instructions that had run at each call of a marked function, and its name."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [(int(count), name) for count, _, name in (line.partition(" ") for line in lines)]


def counting(target: Target, plugin: Path, log: Path, marks: Sequence[str]) -> Target:
    """Return the target with a runner that counts; a mark that ends in `*` is many."""
    emulator, *rest = target.counter or target.runner
    if target.counter:
        _find_emulator(emulator, target)
    loading = ",".join([str(plugin), *(f"mark={mark}" for mark in marks)])
    loading = loading.replace("{", "{{").replace("}", "}}")
    words = ("-d", "plugin", "-D", str(log), "-plugin", loading)
    return dataclasses.replace(target, runner=(emulator, *words, *rest))


def _find_emulator(name: str, target: Target) -> None:
    """Say how to install an emulator that the target itself does not need."""
    try:
        find_program(name, target)
    except ToolchainError as error:
        raise ToolchainError(
            f"`{name}` is not installed; counting instructions of target `{target.name}` needs it",
            hint=f"on Debian or Ubuntu: {install_line([*target.debian, EMULATOR_PACKAGE])}",
        ) from error
