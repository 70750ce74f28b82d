"""The counts that are promised: figures.json, and README's table of them.

`python -m tests.bench.figures` counts again and rewrites both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bitexport.bench.compare import compare
from bitexport.bench.count import Count, count_kernels
from bitexport.bench.table import readme_table
from bitexport.targets import Target, load_targets
from bitexport.toolchain.programs import find_program

FIGURES = Path(__file__).with_name("figures.json")
README = Path(__file__).parents[2] / "README.md"
MARKED = re.compile(r"(<!-- kernels: [^>]* -->\n)(.*?)(<!-- /kernels -->)", re.DOTALL)
REWRITE = "`python -m tests.bench.figures` counts again and rewrites figures and README"

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


def main() -> None:
    """Count every kernel; rewrite figures.json and README."""
    targets = list(load_targets().values())
    counts = count_kernels(targets, (), (), lambda text: print(text, file=sys.stderr))
    facts = {
        "compilers": {target.name: compiler_version(target) for target in targets},
        "instructions": figures_of(counts),
    }
    FIGURES.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    table = readme_table(compare(counts))
    readme = README.read_text(encoding="utf-8")
    README.write_text(MARKED.sub(lambda m: m[1] + table + "\n" + m[3], readme), encoding="utf-8")


if __name__ == "__main__":
    main()
