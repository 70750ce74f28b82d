"""Run a bundle on every core of its target, in every way that must not change a bit."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from bitexport.emit.manifest import DATA, Bundle
from bitexport.emit.text_rules import REBUILD
from bitexport.errors import MismatchError, RunError, TargetError
from bitexport.targets import LineRunner, Target, find_runner, load_isas
from bitexport.toolchain.compile import RUNNER, build_runner, find_library
from bitexport.toolchain.emulate import TIMEOUT_SECONDS
from bitexport.toolchain.emulate import run as run_program
from bitexport.toolchain.remote import Remote, connect
from bitexport.toolchain.serial_line import Board
from bitexport.verify.expected import Expected
from bitexport.verify.match import Difference, first_difference
from bitexport.verify.observed import Observed, damaged_text, parse

ARENA_TOO_SMALL = -8  # BITX_E_ARENA
EMULATED_BYTES_PER_SECOND = 1e5  # of weights, for a whole run: far below what was ever seen


@functools.cache
def isa_bits() -> dict[str, int]:
    """Return the runtime's bit for each instruction set: the order of isa.toml is ABI."""
    return {name: 1 << at for at, name in enumerate(load_isas())}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run: none of these may change a bit."""

    chunk: int
    threads: int = 1
    isa: str | None = None
    traced: bool = True

    @property
    def words(self) -> str:
        """Say it for a person."""
        parts = ["op by op" if self.traced else "fused", f"chunks of {self.chunk}"]
        parts.append(f"{self.threads} thread{'s' * (self.threads > 1)}")
        return ", ".join([*parts, *([self.isa] if self.isa else [])])

    def arguments(self, expected: Expected) -> list[str]:
        """Return the runner's arguments; the session has room for these positions and no more.

        At the whole context of a large model a cache would take many gigabytes that nothing uses.
        """
        words = ["--context", str(expected.positions)]
        words += ["--prompt", ",".join(map(str, expected.prompt))]
        words += ["--generate", str(len(expected.generated)), "--chunk", str(self.chunk)]
        return [*words, *self.options]

    @property
    def options(self) -> list[str]:
        """Return those of the runner's arguments that say how, not what."""
        words = ["--threads", str(self.threads)] if self.threads > 1 else []
        if self.isa:
            words += ["--isa", str(isa_bits()[self.isa] | isa_bits()["scalar"])]
        return [*words, "--trace"] if self.traced else words


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that did not return the reference's bits."""

    way: Way
    difference: Difference


@dataclasses.dataclass(frozen=True)
class CoreResult:
    """What happened on one core."""

    core: str
    expected_isas: tuple[str, ...]
    available: tuple[str, ...]
    seen: tuple[str, ...]
    runs: int
    arena_bytes: int
    """Of the largest session that was opened to be compared."""
    failure: Failure | None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Every run equal, and the instruction sets those that the target file lists."""
        return self.failure is None and self.problem is None


@dataclasses.dataclass(frozen=True)
class Machine:
    """The runner of a bundle, ready to start on the cores of its target."""

    target: Target
    program: Path
    model: Path
    shared_program: Path | None = None
    timeout: float = TIMEOUT_SECONDS
    """Seconds after which a run is taken to hang."""
    remote: Remote | Board | None = None
    """The device to run on, instead of an emulated core."""

    @property
    def programs(self) -> dict[str, Path]:
        """The runner linked against each library that the bundle ships, or what a board has."""
        if isinstance(self.remote, Board):
            return {"program in flash": self.program}
        shared = {"shared library": self.shared_program} if self.shared_program else {}
        return {"static library": self.program, **shared}

    def start(self, core: str, arguments: Sequence[str], program: Path | None = None) -> Observed:
        """Run once and read what was printed."""
        try:
            return parse(self.run(core, arguments, program=program))
        except RunError as error:
            if f"\nstatus {ARENA_TOO_SMALL} " in error.completed.stdout:
                raise TargetError(
                    f"the memory of {core} does not hold this run, which keeps every op output",
                    hint="give a shorter --prompt, or build with a smaller --context",
                ) from error
            if damage := damaged_text(error.completed.stdout):
                raise MismatchError(f"{DATA}: {damage}", hint=REBUILD) from error
            if "\nisa used " not in error.completed.stdout:
                raise  # it refused to start, and the error says why
            return parse(error.completed.stdout, str(error).partition("\n")[0])

    def run(
        self, core: str, arguments: Sequence[str], *, program: Path | None = None,
        read: bytes | None = None,
    ) -> str:  # fmt: skip
        """Run once and return what was printed; `read` is a file that it reads (--input)."""
        program = program or self.program
        if isinstance(self.remote, Board):
            words = [*arguments, *(["--input", "-"] if read is not None else [])]
            return self.remote.run(
                self.target, core, program, words, self.timeout, read or b""
            ).stdout
        find = self.remote.send if self.remote else str
        run = self.remote.run if self.remote else run_program
        words = [find(self.model)] if self.target.os == "linux" else []
        with tempfile.TemporaryDirectory(prefix="bitexport-") as folder:
            words += arguments
            if read is not None:
                file = Path(folder) / "input.bin"
                file.write_bytes(read)
                words += ["--input", find(file)]
            return run(self.target, core, program, words, self.timeout).stdout


@contextmanager
def machine(bundle: Bundle, target: Target, on: str | None = None) -> Iterator[Machine]:
    """Link the runner against the very library that the bundle ships.

    `on` is a device, as `connect` reads it; its system may have no loader for the shared library,
    so that it runs the static one.  A board runs what is in its flash.
    """
    if on:
        _refuse_device(target, on)
    library = find_library(target, bundle.path)
    data = bundle.data.resolve()
    patience = TIMEOUT_SECONDS + data.stat().st_size / EMULATED_BYTES_PER_SECOND
    with ExitStack() as stack:
        if on and target.os == "none":
            board = stack.enter_context(connect(on))
            assert isinstance(board, Board)
            board.require_model(bundle.manifest["files"][DATA], bundle.path)
            yield Machine(target, Path(RUNNER), data, timeout=patience, remote=board)
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bitexport-"))
        program = build_runner(target, library, bundle.path, Path(folder) / "runner")
        shared = None
        if library.shared and on is None:
            output = Path(folder) / "runner-shared"
            shared = build_runner(target, library, bundle.path, output, shared=True)
        remote = stack.enter_context(connect(on)) if on else None
        yield Machine(target, program, data, shared, patience, remote)


def _refuse_device(target: Target, on: str) -> None:
    """Refuse a device that is reached as no board of the target is."""
    is_line = isinstance(find_runner(on.partition(":")[0]), LineRunner)
    if is_line == (target.os == "none"):
        return
    raise TargetError(
        f"{on}: target `{target.name}` has "
        + ("an operating system" if is_line else "no operating system to start programs"),
        hint="reach it as ssh:USER@BOARD or adb:SERIAL"
        if is_line
        else "reach it as serial:PORT, or verify it on its emulated board: leave out --on",
    )


def ways(target: Target, core: str, prompt: int) -> list[Way]:
    """Return every way in which a core is run."""
    whole, parts, single = prompt, prompt // 2 + 1, 1  # parts: a full chunk, then a smaller one
    every = [Way(chunk=chunk) for chunk in (whole, parts, single)]
    if target.threads:
        every += [Way(chunk=chunk, threads=2) for chunk in (whole, single)]
    isas = target.expected_isas(core)
    every += [Way(chunk=prompt, isa=isa) for isa in isas[:-1]]
    every += [Way(chunk=chunk, traced=False) for chunk in (whole, parts, single)]
    if target.threads:
        every.append(Way(chunk=prompt, threads=2, traced=False))
    return list(dict.fromkeys(every))  # a prompt of two tokens has no other parts


def quick_ways(target: Target, expected: Expected) -> list[Way]:
    """Return two ways to run a model for which all take too long: op by op, and fused.

    Both with every thread there is and the best instruction set.
    """
    threads, rows = 2 if target.threads else 1, len(expected.prompt)
    return [Way(chunk=rows, threads=threads, traced=traced) for traced in (True, False)]


def verify_core(
    device: Machine, core: str, expected: Expected, tell: Callable[[str], None], *,
    quick: bool = False, self_test: int | None = None,
) -> CoreResult:  # fmt: skip
    """Run a core in every way, until one differs; then the self-test, as a device will.

    The self-test comes last because it only says that something differs, not where.  It is run with
    the shared library too: the same objects, linked in another way.  `self_test` is how many
    positions it has, None if the file holds none.  A quick check has two ways, one instruction set
    and no self-test.
    """
    todo = (
        quick_ways(device.target, expected)
        if quick
        else ways(device.target, core, len(expected.prompt))
    )

    def run(way: Way) -> tuple[Observed, Difference | None]:
        checks = ["--check-text"] if way == todo[0] else []
        observed = device.start(core, [*way.arguments(expected), *checks])
        return observed, first_difference(expected, observed, traced=way.traced)

    words = ["--check-hashes", "--self-test"]
    if device.target.ram_bytes is None:  # else the whole context must fit, as was promised
        words += ["--context", str(self_test)]
    return verify_ways(
        device, core, todo, run, tell, outputs=expected.outputs, quick=quick,
        self_test=None if self_test is None else words,
    )  # fmt: skip


class Ran(Protocol):
    """What every run on a core says of itself."""

    @property
    def available(self) -> tuple[str, ...]:
        """The instruction sets that the program found."""

    @property
    def used(self) -> str:
        """The one that it took."""

    @property
    def arena_bytes(self) -> int:
        """What the session needed."""


def verify_ways(
    device: Machine, core: str, todo: Sequence[Way],
    run: Callable[[Way], tuple[Ran, Difference | None]], tell: Callable[[str], None], *,
    outputs: Sequence[tuple[str, str]], quick: bool, self_test: Sequence[str] | None,
) -> CoreResult:  # fmt: skip
    """Run a core in these ways, until one differs; then the self-test, in these words.

    `outputs`: names and op types in plan order.  Every instruction set that the target file expects
    must have been seen, in a quick check the best of them.
    """
    every = device.target.expected_isas(core)
    wanted = every[-1:] if quick else every
    seen: list[str] = []
    available: tuple[str, ...] = ()
    runs = arena = 0
    failure: Failure | None = None
    problem: str | None = None
    try:
        for way in todo:
            tell(f"  {core}: {way.words}")
            ran, difference = run(way)
            runs += 1
            available, arena = ran.available, max(arena, ran.arena_bytes)
            seen += [ran.used] if ran.used not in seen else []
            if difference:
                failure = Failure(way, difference)
                break
        else:
            programs = device.programs if self_test and not quick else {}
            for library, program in programs.items():
                tell(f"  {core}: self-test, {library}")
                tested = device.start(core, self_test or (), program)
                problem = problem or self_test_problem(tested, outputs)
    except (RunError, MismatchError) as error:
        problem = str(error)
    ordered = tuple(isa for isa in isa_bits() if isa in seen)
    if not failure and not problem and (set(seen) != set(wanted) or set(available) != set(every)):
        problem = (
            f"the target file expects {' '.join(every)}; available: {' '.join(available)}, "
            f"seen to run: {' '.join(ordered)}"
        )
    return CoreResult(core, every, available, ordered, runs, arena, failure, problem)


def self_test_problem(tested: Observed, outputs: Sequence[tuple[str, str]]) -> str | None:
    """Say what a self-test found, None for nothing; outputs: names and op types in plan order."""
    match (tested.self_test or "it did not run").split():
        case ["ok"]:
            return tested.stopped
        case [position, output] if output.isdigit() and int(output) < len(outputs):
            name, op_type = outputs[int(output)]
            what = f"the chain of op output {output}, {op_type} `{name}`, differs"
        case [position, output] if output.isdigit():
            what = f"another token was chosen at position {position}, or the logits differ"
        case words:
            what = tested.stopped or " ".join(words)
    return f"the self-test in the file failed: {what}"
