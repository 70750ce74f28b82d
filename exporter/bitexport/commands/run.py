"""`bitexport run`: generate text, natively or on an emulated core."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from bitexport.emit.manifest import open_bundle
from bitexport.errors import RunError, TargetError
from bitexport.package.native import native_bundle
from bitexport.targets import find_target
from bitexport.tokenizer.ids import read_ids, refuse_unknown
from bitexport.tokenizer.text import decode_stream, encode, find_tokenizer, load_tokenizer
from bitexport.toolchain.emulate import command_line
from bitexport.verify.cores import ARENA_TOO_SMALL, machine


@click.command(short_help="Generate text from a bundle.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option(
    "--ids", callback=read_ids, metavar="IDS", help="Tokens to continue, as numbers: 1,2,3."
)
@click.option("-n", "--tokens", type=click.IntRange(1), default=100, show_default=True,
              help="Most tokens to generate.")  # fmt: skip
@click.option("--core", help="Emulate this core of the bundle's target instead of running here.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
def command(
    bundle: Path, prompt: str | None, ids: tuple[int, ...] | None, tokens: int, core: str | None,
    threads: int,
) -> None:  # fmt: skip
    """Continue PROMPT greedily with the model in BUNDLE.

    Runs on this machine with the same runtime, compiled for it, or on an emulated core: the tokens
    are the same.  Text goes to stdout, everything else to stderr.  A bundle without tokenizer takes
    --ids instead of PROMPT and prints the numbers of the tokens that it chooses.
    """
    if (prompt is None) == (ids is None):
        raise click.UsageError("give a PROMPT, or its tokens with --ids")
    opened = open_bundle(bundle, check_files=True)
    tokenizer = find_tokenizer(bundle) if prompt is None else load_tokenizer(bundle)
    if tokenizer is not None and prompt is not None:
        ids = tuple(encode(tokenizer, prompt))
    assert ids is not None
    refuse_unknown(ids, int(opened.manifest["model"]["vocabulary"]))
    context = int(opened.manifest["model"]["context"])
    room = context - len(ids) + 1
    if not ids or room < 1:
        raise click.UsageError(f"a prompt of {len(ids)} tokens does not fit the context")
    target = find_target(opened.target_name if core else "host")
    if threads > 1 and not target.threads:
        raise click.UsageError(f"target `{target.name}` has no threads: leave --threads out")
    words = ["--prompt", ",".join(map(str, ids)), "--generate", str(min(tokens, room)), "--stop"]
    if threads > 1:
        words += ["--threads", str(threads)]
    if target.ram_bytes is not None:
        words += ["--chunk", "1"]  # the smallest session, below what the build counts on
    ours = contextlib.nullcontext(opened) if core else native_bundle(opened)
    with ours as runnable, machine(runnable, target) as device:
        place = core or next(iter(target.cores))
        arguments = [str(device.model), *words] if target.os == "linux" else words
        command_words = command_line(target, place, device.program, arguments)
        click.echo(f"{opened.manifest['model']['name']} on {place}", err=True)
        ends = set(opened.manifest["model"]["eos"])
        tokens_made = _tokens(command_words, place)
        first = list(itertools.islice(tokens_made, 1))  # a start that fails leaves stdout empty
        made: list[int] = []
        chosen = _until(itertools.chain(first, tokens_made), ends, made)
        for piece in decode_stream(tokenizer, ids, chosen) if tokenizer else _numbers(chosen):
            click.echo(piece, nl=False)
        click.echo()
    if len(made) == room < tokens and made[-1] not in ends:
        click.echo(
            f"the context of {context} tokens is full: the text ends after {room} of {tokens} "
            "tokens", err=True,
        )  # fmt: skip


def _numbers(tokens: Iterable[int]) -> Iterator[str]:
    """Yield tokens as numbers, a space between two."""
    for at, token in enumerate(tokens):
        yield f" {token}" if at else str(token)


def _until(tokens: Iterable[int], ends: set[int], made: list[int]) -> Iterator[int]:
    """Yield the tokens that are text; `made` gets every one."""
    for token in tokens:
        made.append(token)
        if token not in ends:
            yield token


def _tokens(command_words: list[str], core: str) -> Iterator[int]:
    """Start the runner and yield its tokens as they are chosen."""
    with subprocess.Popen(
        command_words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={}, text=True
    ) as process:
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                last = line.strip()
                if last.startswith("token "):
                    yield int(last.removeprefix("token "))
        finally:
            process.kill()
    if last.startswith(f"status {ARENA_TOO_SMALL} "):
        raise TargetError(
            f"the memory of {core} does not hold this bundle and its context",
            hint="build with a smaller --context",
        )
    if last != "end":
        done = subprocess.CompletedProcess(command_words, process.returncode, last, "")
        raise RunError(f"the runner on {core} stopped: {last or 'it said nothing'}", completed=done)
