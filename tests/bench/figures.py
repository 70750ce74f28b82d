"""The counts that are promised: figures.json; and what is derived from them.

That is exporter/bitexport/bench/counts.json, which bitexport packs, and README's tables of counts
and of predictions.  `python -m tests.bench.figures` counts again and rewrites all; with the word
`derive` it takes figures.json as it is and rewrites the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import bitexport.bench
from bitexport.bench import costs
from bitexport.bench.compare import SCALAR, compare
from bitexport.bench.count import Count, count_kernels
from bitexport.bench.device_table import readme_predictions, summary
from bitexport.bench.forecast import of_shape
from bitexport.bench.model import CONTEXTS
from bitexport.bench.published import held_against
from bitexport.bench.table import readme_table
from bitexport.bench.workload import load_shapes
from bitexport.targets import Target, load_targets
from bitexport.toolchain.programs import find_program

FIGURES = Path(__file__).with_name("figures.json")
README = Path(__file__).parents[2] / "README.md"
COUNTS = Path(str(bitexport.bench.__path__[0])) / "counts.json"
MARKED = re.compile(r"(<!-- kernels: [^>]* -->\n)(.*?)(<!-- /kernels -->)", re.DOTALL)
PREDICTED = re.compile(r"(<!-- predicted: [^>]* -->\n)(.*?)(<!-- /predicted -->)", re.DOTALL)
REWRITE = (
    "`python -m tests.bench.figures` counts again and rewrites figures and README; "
    "with `derive` what follows from figures.json alone"
)

Figures = dict[str, int]  # instructions, by key()


def key(count: Count) -> str:
    """Return what was counted, in words."""
    shape = f"{count.n} {count.k} {count.columns}"
    return f"{count.target} {count.isa} {count.kernel} {shape}"


def parse(words: str, instructions: int) -> Count:
    """Return the count of a key."""
    target, isa, kernel, *shape = words.split()
    n, k, columns = map(int, shape)
    return Count(
        target=target, isa=isa, kernel=kernel, n=n, k=k, columns=columns, instructions=instructions
    )


def figures_of(counts: Iterable[Count]) -> Figures:
    """Return the instructions of each count, by its key."""
    return {key(count): count.instructions for count in counts}


def promised() -> list[Count]:
    """Return the counts of figures.json."""
    counts: Figures = json.loads(FIGURES.read_text(encoding="utf-8"))["instructions"]
    return [parse(words, instructions) for words, instructions in counts.items()]


def compilers() -> dict[str, str]:
    """Return the version of the compiler that each target was counted with."""
    versions: dict[str, str] = json.loads(FIGURES.read_text(encoding="utf-8"))["compilers"]
    return versions


def compiler_version(target: Target) -> str:
    """Return the version of a target's compiler, such as 12.2.0."""
    asked = [find_program(target.compiler, target), "-dumpfullversion"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def packed(counts: Iterable[Count]) -> str:
    """Return what `bench devices` knows: the worst count, by target, instruction set and kernel.

    Instructions per 64 weights and vector, as README shows them, by the number of vectors.
    """
    known: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for line in compare(counts):
        place = line.contest
        if place.isa != SCALAR:
            kernels = known.setdefault(place.target, {}).setdefault(place.isa, {})
            kernels.setdefault(line.kernel, {})[str(line.columns)] = round(line.worst, 2)
    return json.dumps(known, indent=1, sort_keys=True) + "\n"


def main(words: Sequence[str]) -> None:
    """Count every kernel; rewrite figures.json, and what is derived from it."""
    if list(words) != ["derive"]:
        _count_again()
    COUNTS.write_text(packed(promised()), encoding="utf-8")
    costs.counts.cache_clear()
    costs.cost.cache_clear()
    readme = README.read_text(encoding="utf-8")
    readme = _between(MARKED, readme_table(compare(promised())), readme)
    README.write_text(_between(PREDICTED, predicted(), readme), encoding="utf-8")


def _between(marks: re.Pattern[str], table: str, text: str) -> str:
    return marks.sub(lambda found: f"{found[1]}{table}\n{found[3]}", text)


def predicted() -> str:
    """Return README's table of predictions, and how good they are."""
    shape = load_shapes()["bitnet-2b-4t"]
    table = readme_predictions(of_shape(shape, "q8", (), CONTEXTS))
    return f"{table}\n\n{summary(held_against())}"


def _count_again() -> None:
    targets = list(load_targets().values())
    counts = count_kernels(targets, (), (), lambda text: print(text, file=sys.stderr))
    facts = {
        "compilers": {target.name: compiler_version(target) for target in targets},
        "instructions": figures_of(counts),
    }
    FIGURES.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
