"""`bitexport eval`: how well a bundle predicts a text."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import click

from bitexport.emit.manifest import Bundle, open_bundle, refuse_network
from bitexport.evaluate.perplexity import MOST_CONTEXT, Evaluation, Perplexity, Score, evaluate
from bitexport.evaluate.spread import cores, score_here, score_in_processes, score_on_cluster
from bitexport.evaluate.windows import Text, read_text
from bitexport.evaluate.work import Runtime, Work, manifest_digest
from bitexport.progress import StreamProgress
from bitexport.runtime.opened import host_library
from bitexport.tokenizer.text import load_tokenizer


@click.command(short_help="Measure the perplexity of a bundle on a text.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--runtime", type=click.Choice(["reference", "host"]), default="reference",
              show_default=True, help="Who computes the logits: the same bits.")  # fmt: skip
@click.option(
    "--context",
    type=click.IntRange(2),
    help=f"Tokens of a window; default: the model's context, at most {MOST_CONTEXT}.",
)
@click.option("--tokens", type=click.IntRange(1), help="Only the first tokens of each text.")
@click.option("--jobs", type=click.IntRange(1),
              help="Processes on this machine; default: one for each core.")  # fmt: skip
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Use the workers of this dask scheduler; the bundle has the same path there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(
    bundle: Path, texts: tuple[Path, ...], runtime: str, context: int | None, tokens: int | None,
    jobs: int | None, dask: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure how well the model in BUNDLE predicts each TEXT, a file in UTF-8.

    A text is tokenized whole and cut into windows of --context tokens that do not overlap; each
    window is a sequence of its own that begins as the tokenizer begins a text (with its begin
    token, if any).  Perplexity is e to the mean of -log p over the predicted tokens, in float64
    from the runtime's logits.  Neither runtime, nor --jobs, nor --dask changes a bit of it.
    """
    if dask and jobs:
        raise click.UsageError("--jobs is for this machine, --dask for a cluster: give one")
    opened = open_bundle(bundle, check_files=True)
    refuse_network(opened)
    limit = int(opened.manifest["model"]["context"])
    if context is not None and context > limit:
        raise click.UsageError(f"--context {context}: the bundle was built for {limit} tokens")
    window = context or min(limit, MOST_CONTEXT)
    tokenizer = load_tokenizer(bundle)
    vocabulary = int(opened.manifest["model"]["vocabulary"])
    read = [read_text(path, tokenizer, vocabulary, tokens) for path in texts]
    windows = [each for text in read for each in text.windows(window)]
    workers = min(jobs or cores(), len(windows))
    with contextlib.ExitStack() as stack:
        work = _work(opened, cast(Runtime, runtime), window, dask, stack)
        where = f"dask cluster {dask}" if dask else f"{workers} process{'es' * (workers > 1)}"
        progress = StreamProgress(sys.stderr)
        progress.say(
            f"{opened.manifest['model']['name']}, {runtime} runtime, {where}: "
            f"{len(windows)} windows of at most {window} tokens"
        )
        with progress.stage(
            "scoring", sum(each.predicted for each in windows), "tokens"
        ) as advance:
            found = evaluate(read, window, _score(work, workers, dask), advance)
    if as_json:
        click.echo(json.dumps(_report(opened, runtime, window, read, found), indent=2))
    else:
        click.echo(_lines(read, found, window))


def _work(
    bundle: Bundle, runtime: Runtime, context: int, dask: str | None, stack: contextlib.ExitStack
) -> Work:
    """Return what workers must know; for those of this machine, the library is found or made."""
    library = None
    if runtime == "host" and not dask:
        library = str(stack.enter_context(host_library(bundle)).resolve())
    return Work(
        bundle=str(bundle.path.resolve()), manifest=manifest_digest(bundle.path), runtime=runtime,
        context=context, library=library, checked=not dask,
    )  # fmt: skip


def _score(work: Work, workers: int, dask: str | None) -> Score:
    if dask:
        return partial(score_on_cluster, work, address=dask)
    if workers > 1:
        return partial(score_in_processes, work, jobs=workers)
    return partial(score_here, work)


def _lines(texts: Sequence[Text], found: Evaluation, context: int) -> str:
    if len(texts) == 1:
        return _figures(found.whole, context)
    named = [*zip([text.name for text in texts], found.texts, strict=True)]
    blocks = [f"{name}\n{_figures(each, context)}" for name, each in [*named, ("all", found.whole)]]
    return "\n\n".join(blocks)


def _figures(found: Perplexity, context: int) -> str:
    rows: Iterable[tuple[str, str]] = (
        ("perplexity", f"{found.perplexity:.6f}"),
        ("nats per token", f"{found.nats_per_token:.6f}"),
        ("bits per byte", f"{found.bits_per_byte:.6f}"),
        ("tokens", f"{found.tokens}, of which {found.predicted} predicted"),
        ("windows", f"{found.windows} of at most {context} tokens"),
    )
    return "\n".join(f"{name:15} {value}" for name, value in rows)


def _report(
    bundle: Bundle, runtime: str, context: int, texts: Sequence[Text], found: Evaluation
) -> dict[str, object]:
    """Return the result for programs: the same bytes, whoever computed it."""
    return {
        "model": bundle.manifest["model"]["name"],
        "data_sha256": bundle.manifest["files"][bundle.data.name],
        "runtime": runtime,
        "context": context,
        **dataclasses.asdict(found.whole),
        "texts": [
            {"name": text.name, "sha256": text.sha256, **dataclasses.asdict(each)}
            for text, each in zip(texts, found.texts, strict=True)
        ],
    }
