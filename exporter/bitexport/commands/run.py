"""`bitexport run`: generate text, natively or on an emulated core."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

from bitexport.emit.manifest import open_bundle
from bitexport.errors import RunError
from bitexport.package.native import native_bundle
from bitexport.targets import find_target
from bitexport.tokenizer.text import decode_stream, encode, load_tokenizer
from bitexport.toolchain.emulate import command_line
from bitexport.verify.cores import machine


@click.command(short_help="Generate text from a bundle.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("-n", "--tokens", type=click.IntRange(1), default=100, show_default=True,
              help="Most tokens to generate.")  # fmt: skip
@click.option("--core", help="Emulate this core of the bundle's target instead of running here.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
def command(bundle: Path, prompt: str, tokens: int, core: str | None, threads: int) -> None:
    """Continue PROMPT greedily with the model in BUNDLE.

    Runs on this machine with the same runtime, compiled for it, or on an emulated core: the tokens
    are the same.  Text goes to stdout, everything else to stderr.
    """
    opened = open_bundle(bundle, check_files=True)
    tokenizer = load_tokenizer(bundle)
    ids = encode(tokenizer, prompt)
    room = int(opened.manifest["model"]["context"]) - len(ids) + 1
    if not ids or room < 1:
        raise click.UsageError(f"a prompt of {len(ids)} tokens does not fit the context")
    words = ["--prompt", ",".join(map(str, ids)), "--generate", str(min(tokens, room)), "--stop"]
    if threads > 1:
        words += ["--threads", str(threads)]
    target = find_target(opened.target_name if core else "host")
    with native_bundle(opened, target) as runnable, machine(runnable, target) as device:
        place = core or next(iter(target.cores))
        arguments = [str(device.model), *words] if target.os == "linux" else words
        command_words = command_line(target, place, device.program, arguments)
        click.echo(f"{opened.manifest['model']['name']} on {place}", err=True)
        ends = set(opened.manifest["model"]["eos"])
        chosen = (token for token in _tokens(command_words, place) if token not in ends)
        for piece in decode_stream(tokenizer, ids, chosen):
            click.echo(piece, nl=False)
        click.echo()


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
    if last != "end":
        done = subprocess.CompletedProcess(command_words, process.returncode, last, "")
        raise RunError(f"the runner on {core} stopped: {last or 'it said nothing'}", completed=done)
