"""What --ternarize costs: perplexity of the same graph with float layers, and with trits.

Both run in the reference, on the same windows of the same text; see perplexity.py.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bitexport.emit.manifest import GRAPH
from bitexport.evaluate.perplexity import MOST_CONTEXT, Perplexity, Scored, evaluate
from bitexport.evaluate.sample import advice, needed_tokenizer, read_sample
from bitexport.evaluate.windows import Text, Window
from bitexport.evaluate.work import Reference, window_nats
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.progress import Progress
from bitexport.targets import find_target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """Perplexity of a float model, and of the trits made of it."""

    method: str
    text: str
    text_sha256: str
    tokens: int
    context: int
    before: float
    after: float

    def __str__(self) -> str:
        """Say it in a sentence; a passage of ours is said to be one."""
        ratio = self.after / self.before
        said = (
            f"--ternarize {self.method}: perplexity {self.before:.4g} before, {self.after:.4g} "
            f"after ({ratio:.3g} times), on {self.tokens} tokens of {self.text}"
        )
        return said + advice(self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the float model is worth, and on what that was measured."""

    method: str
    text: Text
    context: int
    perplexity: float


def measure_baseline(
    checkpoint: Path, options: Options, text: Path | None, progress: Progress
) -> Baseline:
    """Run the float twin of a build with --ternarize on a text, or on the built-in passage."""
    assert options.ternarize
    tokenizer = needed_tokenizer(checkpoint, f"--ternarize {options.ternarize}")
    twin = dataclasses.replace(options, ternarize=None, keep_float=True)
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        progress.say("--ternarize: the float model first, to know what it is worth")
        bundle = build_bundle(
            checkpoint, find_target("host"), twin, Path(scratch) / "float",
            Wanted(compile_library=False, self_test=False, progress=progress),
        )  # fmt: skip
        model = bundle.manifest["model"]
        context = min(int(model["context"]), MOST_CONTEXT)
        read = read_sample(text, tokenizer, int(model["vocabulary"]))
        found = _perplexity(bundle.graph, read, context, progress, "float model")
    return Baseline(
        method=options.ternarize, text=read, context=context, perplexity=found.perplexity
    )


def measure_damage(before: Baseline, folder: Path, progress: Progress) -> Damage:
    """Return the damage that the model in a folder (of a bundle) has taken."""
    text, context = before.text, before.context
    after = _perplexity(folder / GRAPH, text, context, progress, "ternary model")
    return Damage(
        method=before.method,
        text=text.name,
        text_sha256=text.sha256,
        tokens=after.predicted,
        context=context,
        before=before.perplexity,
        after=after.perplexity,
    )


def _perplexity(graph: Path, text: Text, context: int, progress: Progress, name: str) -> Perplexity:
    predictor = Reference(graph)

    def score(windows: Sequence[Window]) -> Scored:
        for index, window in enumerate(windows):
            yield index, window_nats(predictor, window)

    total = sum(window.predicted for window in text.windows(context))
    with progress.stage(name, total, "tokens") as advance:
        return evaluate([text], context, score, advance).whole
