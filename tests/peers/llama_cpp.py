"""Times llama.cpp and us on this machine in one run, by turns, and prints the lines of README.

    pip download --no-binary llama-cpp-python --no-deps llama-cpp-python      llama.cpp is inside
    tar xf llama_cpp_python-*.tar.gz && cd llama_cpp_python-*/vendor/llama.cpp && rm -f .git
    cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF
    cmake --build build --target llama-bench
    python -m tests.peers.llama_cpp --llama-cpp build/bin

BitNet b1.58 2B4T in its published size with random trits: TQ2_0 and an embedding of Q8_0 there, the
`--format`s here, each the options of a `bitexport build`.  A round times every side with every
number of threads, each in a process of its own, the order turning from round to round: what else
the machine does meets all alike.  A figure is the median of its rounds; a ratio is the median of
the ratios within a round, beside the lowest and the highest.  Never run by the tests.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from tests.full_size.generate import MODELS, generate
from tests.peers import tq2_0

from bitexport.bench.model import build_program, facts_of
from bitexport.emit.manifest import DATA, open_bundle
from bitexport.verify.cores import isa_bits

PEER = "llama.cpp"
PEER_FORMAT = "TQ2_0, Q8_0 head"
DECODE, PREFILL = 24, 512
THREADS = (1, 2)
CONTEXTS = (0, 512)
BARS = {("decode", 1): 1.3, ("decode", 2): 1.4, ("prefill", 1): 2.3, ("prefill", 2): 2.3}
"""What a format with a head of 8 bits is to reach, at a context of 0."""

Race = tuple[str, int, int]
"""What is timed: decode or prefill, tokens before, threads."""
Times = dict[Race, float]  # tokens a second


@dataclasses.dataclass(frozen=True)
class Side:
    """Who runs: a name, and the programs."""

    name: str
    program: Path
    model: Path
    isa: str | None = None

    def run(self, threads: int) -> Times:
        """Time everything once."""
        return self._peer(threads) if self.name == PEER else self._ours(threads)

    def _ours(self, threads: int) -> Times:
        words = [str(self.model), str(threads), str(PREFILL), str(DECODE), *map(str, CONTEXTS)]
        if self.isa:
            words = ["--isa", str(sum(bits_up_to(self.isa))), *words]
        facts = facts_of(self.program, words)
        decode: Times = {
            ("decode", context, threads): 1e9 * len(times) / sum(times)
            for context, *times in facts["decode"]
        }
        _, tokens, time = next(each for each in facts["prefill"] if each[0] == 0)
        return decode | {("prefill", 0, threads): 1e9 * tokens / time}

    def _peer(self, threads: int) -> Times:
        found: Times = {}
        for context in CONTEXTS:
            prefill = PREFILL if context == 0 else 0
            words = ["-m", self.model, "-t", threads, "-d", context, "-p", prefill, "-n", DECODE]
            command = [self.program, *map(str, words), "-r", "1", "--no-warmup", "-o", "json"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for test in json.loads(done.stdout):
                phase = "prefill" if test["n_prompt"] else "decode"
                found[phase, context, threads] = test["avg_ts"]
        return found


def bits_up_to(isa: str) -> Iterator[int]:
    """Yield the bits of the instruction sets of x86-64 up to this one."""
    for name in ("scalar", "avx2", "vnni"):
        yield isa_bits()[name]
        if name == isa:
            return


def race(sides: Sequence[Side], rounds: int) -> dict[str, list[Times]]:
    """Run all sides in turn; return what each took in each round."""
    results: dict[str, list[Times]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            times: Times = {}
            for threads in THREADS:
                click.echo(f"round {number + 1}: {side.name}, threads {threads}", err=True)
                times |= side.run(threads)
            results[side.name].append(times)
    return results


def table(results: dict[str, list[Times]]) -> str:
    """Return the figures as a table in Markdown."""
    ours = [name for name in results if name != PEER]
    head = ["", f"{PEER}, {PEER_FORMAT}", *(each for name in ours for each in (name, "ratio"))]
    lines = [head, ["---"] * len(head)]
    for each in sorted(results[PEER][0], key=lambda one: (one[0], one[1], one[2])):
        phase, context, threads = each
        where = f"{phase} of {PREFILL}" if phase == "prefill" else f"{phase} at context {context}"
        peer = [times[each] for times in results[PEER]]
        line = [f"{where}, {threads} thread{'s' * (threads > 1)}", f"{statistics.median(peer):.1f}"]
        for name in ours:
            own = [times[each] for times in results[name]]
            ratios = sorted(mine / theirs for mine, theirs in zip(own, peer, strict=True))
            bar = BARS.get((phase, threads)) if context == 0 else None
            line += [
                f"{statistics.median(own):.1f}",
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                + (f", bar {bar}" if bar else ""),
            ]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def build(checkpoint: Path, options: str, output: Path) -> None:
    """Build a bundle with the options of a format."""
    words = ["-m", "bitexport", "build", str(checkpoint), "--target", "host", "--no-selftest"]
    subprocess.run(
        [sys.executable, *words, *options.split(), "-o", str(output)], check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def conditions(sides: Sequence[Side], rounds: int, load: float) -> str:
    """Return a sentence on what was measured where."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines)
    cpu = {key.strip(): value.strip() for key, _, value in pairs}
    isas = {side.isa or "the best" for side in sides if side.name != PEER}
    return (
        f"{cpu['model name']}, family {cpu['cpu family']} model {cpu['model']}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}; {rounds} rounds; ours with "
        f"{', '.join(isas)} instruction set; load average {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, these runs included; tokens a second"
    )


@click.command()
@click.option("--llama-cpp", "peer", required=True, type=click.Path(path_type=Path, exists=True),
              help="The folder that holds llama-bench.")  # fmt: skip
@click.option("--format", "formats", multiple=True, default=("--embedding q8",), show_default=True,
              help="Options of a build; may be repeated.")  # fmt: skip
@click.option("--isa", type=click.Choice(["avx2", "vnni"]), help="Ours go no further than this.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False),
              help="Where models are kept for the next run; default: nowhere.")  # fmt: skip
def main(
    peer: Path, formats: tuple[str, ...], isa: str | None, rounds: int, folder: Path | None
) -> None:
    """Time llama.cpp and us by turns; print the table of README."""
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        place = folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        gguf, checkpoint = place / "tq2_0.gguf", place / "checkpoint"
        if not gguf.exists():
            tq2_0.write(MODELS["2b4t"], gguf)
        if not checkpoint.exists():
            generate(MODELS["2b4t"], checkpoint)
        sides = [Side(PEER, peer / "llama-bench", gguf)]
        for options in formats:
            bundle = place / "".join(c if c.isalnum() else "-" for c in options).strip("-")
            build(checkpoint, f"{options} --force", bundle)
            program = build_program(open_bundle(bundle), bundle)
            sides.append(Side(options, program, bundle / DATA, isa))
        load = os.getloadavg()[0]
        results = race(sides, rounds)
        click.echo(f"{conditions(sides, rounds, load)}\n\n{table(results)}")


if __name__ == "__main__":
    main()
