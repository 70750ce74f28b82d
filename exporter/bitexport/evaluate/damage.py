"""What --ternarize costs: perplexity of the same graph with float layers, and with trits.

Both run in the reference, on the same windows of the same text; see perplexity.py.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer

from bitexport.emit.manifest import GRAPH
from bitexport.errors import CheckpointError
from bitexport.evaluate.perplexity import MOST_CONTEXT, Perplexity, Scored, evaluate
from bitexport.evaluate.windows import Text, Window, read_text, tokenize
from bitexport.evaluate.work import Reference, window_nats
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.progress import Progress
from bitexport.targets import find_target
from bitexport.tokenizer.text import FILE, find_tokenizer

MOST_TOKENS = 4096
"""Of a text: the reference runs a float model here, which takes its time."""
BUILT_IN = "a small passage that comes with bitexport"


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
        if self.text == BUILT_IN:
            said += "; a text of the model's own domain says more: --eval-text FILE"
        return said


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
    tokenizer = _tokenizer(checkpoint)
    twin = dataclasses.replace(options, ternarize=None, keep_float=True)
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        progress.say("--ternarize: the float model first, to know what it is worth")
        bundle = build_bundle(
            checkpoint, find_target("host"), twin, Path(scratch) / "float",
            Wanted(compile_library=False, self_test=False, progress=progress),
        )  # fmt: skip
        model = bundle.manifest["model"]
        context = min(int(model["context"]), MOST_CONTEXT)
        read = _read(text, tokenizer, int(model["vocabulary"]))
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


def _tokenizer(checkpoint: Path) -> Tokenizer:
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    tokenizer = find_tokenizer(folder)
    if tokenizer is None:
        raise CheckpointError(
            f"{folder / FILE}: no such file: what --ternarize costs is measured on a text, and a "
            "text needs a tokenizer",
            hint=f"copy the {FILE} that the model was trained with into this folder",
        )
    return tokenizer


def _read(path: Path | None, tokenizer: Tokenizer, vocabulary: int) -> Text:
    if path is not None:
        text = read_text(path, tokenizer, vocabulary, MOST_TOKENS)
        return dataclasses.replace(text, name=path.name)  # a bundle does not say where it was built
    passage = files(__package__).joinpath("passage.txt").read_text(encoding="utf-8")
    return tokenize(BUILT_IN, passage, tokenizer, vocabulary, MOST_TOKENS)
