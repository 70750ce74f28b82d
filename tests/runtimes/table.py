"""README's table of runtimes: which flavour loads where, how equal, how large, how fast.

`python -m tests.runtimes.table [RUNTIME...]` runs the story model everywhere, or in these alone,
and rewrites runtimes.json and README.  Tokens are compared by the tests in every run; the rest is
what was measured last.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.runtimes.conftest import CHECKPOINT, TEXT, build_stories, follow
from tests.runtimes.in_browser import run_in_browser
from tests.runtimes.places import OLD_LITERT, OLD_PYTHON, README, Runs, kernels_in_genai

from bitexport.emit import tflite_step
from bitexport.emit.onnx_standard import FILES, Flavour
from bitexport.package.deviation import deviation
from bitexport.toolchain.litert import DELEGATE
from bitexport.toolchain.onnxruntime import OPS_LIBRARY

MEASURED = Path(__file__).with_name("runtimes.json")
MARKED = re.compile(r"(<!-- runtimes: [^>]* -->\n)(.*?)(<!-- /runtimes -->)", re.DOTALL)
TITLES = ("runtime", "flavour", "loads", "greedy tokens equal", "logits equal bit for bit",
          "mean KL, nats", "largest difference of a logit", "peak memory", "tokens/s")  # fmt: skip
Run = Callable[[Runs, Path, str], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A runtime with a flavour; None where it does not tell."""

    runtime: str
    flavour: str
    loads: bool
    tokens: int = 0
    tokens_equal: int | None = None
    positions_equal: int | None = None
    mean_kl: float | None = None
    max_abs: float | None = None
    peak_bytes: int | None = None
    tokens_per_second: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row as README shows it."""
        if not self.loads:
            return (self.runtime, f"`{self.flavour}`", "no", *[""] * 6)
        return (
            self.runtime, f"`{self.flavour}`", "yes", _of(self.tokens_equal, self.tokens),
            _of(self.positions_equal, self.tokens), _number(self.mean_kl), _number(self.max_abs),
            "" if self.peak_bytes is None else f"{self.peak_bytes / 1e6:.0f} MB",
            "" if self.tokens_per_second is None else f"{self.tokens_per_second:.0f}",
        )  # fmt: skip


def _of(part: int | None, whole: int) -> str:
    return "" if part is None else f"{part} of {whole}"


def _number(value: float | None) -> str:
    if not value:
        return "" if value is None else "0"
    return f"{value:.0e}" if value < 0.01 else f"{value:.2f}"


NAMES: Mapping[str, str] = {**FILES, **tflite_step.FILES}
"""The file of a flavour."""
LIBRARIES = Path("lib/host")
CUSTOM: tflite_step.TfliteFlavour = "custom"


def _litert(runs: Runs, bundle: Path, step: str, *python: Path) -> Mapping[str, Any]:
    is_ours = step == tflite_step.FILES[CUSTOM]
    return runs.litert(bundle / step, bundle / LIBRARIES / DELEGATE if is_ours else None, *python)


RUNTIMES: Mapping[str, tuple[Run, tuple[str, ...], bool]] = {
    "our kernels in onnxruntime 1.20.1": (
        lambda runs, bundle, graph: runs.custom_ops(
            bundle / graph, bundle / LIBRARIES / OPS_LIBRARY, OLD_PYTHON
        ),
        (Flavour.PACKED,), True,
    ),
    "our kernels in onnxruntime": (
        lambda runs, bundle, graph: runs.custom_ops(
            bundle / graph, bundle / LIBRARIES / OPS_LIBRARY
        ),
        (Flavour.PACKED,), True,
    ),
    "our kernels in onnxruntime-genai": (
        lambda runs, bundle, graph: runs.genai(bundle, overlay=kernels_in_genai()),
        (Flavour.PACKED,), True,
    ),
    "onnxruntime 1.20.1": (
        lambda runs, bundle, graph: runs.onnxruntime(bundle / graph, OLD_PYTHON),
        tuple(Flavour), True,
    ),
    "onnxruntime": (
        lambda runs, bundle, graph: runs.onnxruntime(bundle / graph), tuple(Flavour), True,
    ),
    "onnxruntime-genai": (
        lambda runs, bundle, graph: runs.genai(bundle, graph), tuple(Flavour), True,
    ),
    "optimum-onnx": (
        lambda runs, bundle, graph: runs.optimum(bundle, graph),
        (Flavour.PORTABLE, Flavour.ORT2BIT), True,
    ),
    "onnxruntime-web": (
        lambda runs, bundle, graph: runs.web(bundle, graph), tuple(Flavour), True,
    ),
    "onnxruntime-web, Chromium": (
        run_in_browser, (Flavour.PORTABLE,), True,
    ),
    "transformers.js": (
        lambda runs, bundle, graph: runs.transformers(bundle, graph, TEXT),
        (Flavour.PORTABLE, Flavour.ORT2BIT), False,
    ),
    "ai-edge-litert": (_litert, ("custom", "int2", "int8"), True),
    "tflite-runtime": (
        lambda runs, bundle, step: _litert(runs, bundle, step, OLD_LITERT),
        ("custom", "int8"), True,
    ),
}  # fmt: skip
"""How each runs a graph, what it is tried with, and whether it gives logits away."""
VERSIONED = {"our kernels in onnxruntime 1.20.1", "onnxruntime 1.20.1", "onnxruntime-web, Chromium"}
"""Names that stand as they are; to the others their version is added."""


def measure(runs: Runs, bundle: Path, asked: Sequence[str], before: Sequence[Row]) -> list[Row]:
    """Run everything in the runtimes that are asked for; keep what was measured of the others."""
    rows: list[Row] = []
    for name, (run, flavours, has_logits) in RUNTIMES.items():
        if name not in asked:
            rows.extend(row for row in before if called(row.runtime) == name)
            continue
        for flavour in flavours:
            print(name, flavour, file=sys.stderr)
            try:
                said = run(runs, bundle, NAMES[flavour])
            except AssertionError as error:
                print(error, file=sys.stderr)
                rows.append(Row(runtime=name, flavour=flavour, loads=False))
                continue
            version = said["runtime"].rpartition(" ")[2]
            whole = name if name in VERSIONED else f"{name} {version}"
            rows.append(_row(runs, whole, flavour, said, has_logits=has_logits))
    return rows


def called(runtime: str) -> str:
    """Return the name in RUNTIMES of a row's runtime."""
    return runtime if runtime in RUNTIMES else runtime.rpartition(" ")[0]


def _row(runs: Runs, name: str, flavour: str, said: Mapping[str, Any], *, has_logits: bool) -> Row:
    count = len(runs.chosen)
    row = Row(
        runtime=name, flavour=flavour, loads=True, tokens=count,
        peak_bytes=said.get("peak_bytes"), tokens_per_second=said["tokens_per_second"],
    )  # fmt: skip
    if not has_logits:
        equal = sum(a == b for a, b in zip(said["tokens"], runs.chosen, strict=True))
        return dataclasses.replace(row, tokens_equal=equal)
    found = runs.found()
    away = deviation(found, runs.logits)
    return dataclasses.replace(
        row, tokens_equal=int((found.argmax(axis=1) == runs.chosen).sum()),
        positions_equal=away.positions_equal, mean_kl=away.mean_kl, max_abs=away.max_abs,
    )  # fmt: skip


def readme_table() -> str:
    """Return the table of what was measured last."""
    rows = [Row(**each).cells() for each in json.loads(MEASURED.read_text(encoding="utf-8"))]
    lines = [f"| {' | '.join(row)} |" for row in (TITLES, *rows)]
    return "\n".join([lines[0], f"{'|---' * len(TITLES)}|", *lines[1:]])


def main() -> None:
    """Measure; rewrite runtimes.json and README."""
    asked = sys.argv[1:] or list(RUNTIMES)
    before = [Row(**each) for each in json.loads(MEASURED.read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = build_stories(CHECKPOINT, folder / "bundle", libraries=True)
        rows = measure(follow(bundle, folder), bundle.path, asked, before)
    facts = [dataclasses.asdict(row) for row in rows]
    MEASURED.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    made = MARKED.sub(lambda found: f"{found[1]}{readme_table()}\n{found[3]}", readme)
    README.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
