"""What a token costs on emulated 64-bit Arm: the promised counts, their bars, README's table.

`python -m tests.bench.tokens` builds the models, counts again and rewrites tokens.json and README.

The models have random trits in the shapes that llama.cpp was counted with, embedding and head 8
bits: two layers of BitNet b1.58 2B4T, and a small one.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.figures import compiler_version
from tests.full_size.generate import MODELS, Model, generate

from bitexport.bench.emulated import ModelCount, count_model
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target

TOKENS = Path(__file__).with_name("tokens.json")
README = Path(__file__).parents[2] / "README.md"
MARKED = re.compile(r"(<!-- tokens: [^>]* -->\n)(.*?)(<!-- /tokens -->)", re.DOTALL)
REWRITE = "`python -m tests.bench.tokens` counts again and rewrites counts and README"

CONTEXT = 24  # llama.cpp's counts are the mean of tokens 8 to 39
LONG = 512

TWO_LAYERS = dataclasses.replace(
    MODELS["2b4t"], name="2b4t-two-layers", layers=2, vocabulary=4096, context=2048
)
SMALL = dataclasses.replace(
    TWO_LAYERS, name="small", hidden=768, inner=2048, layers=6, heads=6, kv_heads=2
)
SHAPES = {model.name: model for model in (TWO_LAYERS, SMALL)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A model on a core, and what others and the house say of it, in instructions per weight."""

    model: str
    target: str
    core: str
    bar: float
    peer: float
    """ggml-org/llama.cpp@0c1e57098, TQ2_0 with a q8_0 head, GCC 12 for the core, counted alike."""

    @property
    def key(self) -> str:
        """Return the place in words."""
        return f"{self.model} {self.target} {self.core}"


PLACES = (
    Place(model="2b4t-two-layers", target="arm64", core="cortex-a76", bar=0.20, peer=0.3945),
    Place(model="2b4t-two-layers", target="arm64-v8.0", core="cortex-a53", bar=0.26, peer=0.4674),
    Place(model="small", target="arm64", core="cortex-a76", bar=0.4672 / 2, peer=0.4672),
    Place(model="small", target="arm64-v8.0", core="cortex-a53", bar=0.5405 / 2, peer=0.5405),
)


def count_place(place: Place, folder: Path, contexts: tuple[int, ...] = (CONTEXT,)) -> ModelCount:
    """Build the model for the target in a new folder, and count a token on the core."""
    checkpoint = folder / place.model
    if not checkpoint.exists():
        generate(SHAPES[place.model], checkpoint)
    output = folder / f"{place.model}-{place.target}"
    options, wanted = Options(embedding="q8"), Wanted(self_test=False)
    bundle = build_bundle(checkpoint, find_target(place.target), options, output, wanted)
    (count,) = count_model(bundle, [place.core], contexts, _say)
    return count


def promised() -> dict[str, dict[str, int]]:
    """Return the promised instructions, by place and context."""
    counts: dict[str, dict[str, int]] = _read()["instructions"]
    return counts


def compilers() -> dict[str, str]:
    """Return the version of the compiler that each target was counted with."""
    versions: dict[str, str] = _read()["compilers"]
    return versions


def _read() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(TOKENS.read_text(encoding="utf-8"))
    return facts


def weights_of(model: Model) -> int:
    """Return the ternary weights of a model."""
    return sum(n * k for n, k in model.matrices().values())


def readme_table() -> str:
    """Return a row for each place; bold where the bar is held."""
    lines = [
        "| model | target | core | a token | bar | llama.cpp TQ2_0 | at context 512 |",
        "|---|---|---|---|---|---|---|",
    ]
    for place in PLACES:
        weights, counts = weights_of(SHAPES[place.model]), promised()[place.key]
        short, long = (counts[str(context)] / weights for context in (CONTEXT, LONG))
        cost = f"**{short:.3f}**" if short <= place.bar else f"{short:.3f}"
        lines.append(
            f"| {place.model} | `{place.target}` | {place.core} | {cost} | {place.bar:.3f} "
            f"| {place.peer:.3f} | {long:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count every place; rewrite tokens.json and README."""
    with tempfile.TemporaryDirectory() as folder:
        counts = {
            place.key: {
                str(token.context): token.instructions
                for token in count_place(place, Path(folder), (CONTEXT, LONG)).tokens
            }
            for place in PLACES
        }
    targets = sorted({place.target for place in PLACES})
    versions = {name: compiler_version(find_target(name)) for name in targets}
    facts = {"compilers": versions, "instructions": counts}
    TOKENS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    made = MARKED.sub(lambda m: m[1] + readme_table() + "\n" + m[3], readme)
    README.write_text(made, encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
