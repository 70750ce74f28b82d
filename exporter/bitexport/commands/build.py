"""`bitexport build`: a checkpoint becomes a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import click

from bitexport.models.parts.options import Cache, Embedding, Options
from bitexport.package.bundle import build_bundle
from bitexport.report.html import report_files
from bitexport.targets import find_target


@click.command(short_help="Build a checkpoint into a bundle for a target.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", "target_name", required=True, help="See `bitexport targets`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--embedding", type=click.Choice(["f32", "bf16", "q8"]),
              help="Numbers of embedding and head; default: as trained.")  # fmt: skip
@click.option("--kv-cache", type=click.Choice(["f32", "f16"]), default="f16", show_default=True)
@click.option("--context", type=click.IntRange(2), help="Most tokens; default: the model's own.")
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@click.option("--no-library", is_flag=True, help="Source only; needs no compiler.")
def command(
    checkpoint: Path, target_name: str, output: Path, embedding: str | None, kv_cache: str,
    context: int | None, force: bool, no_library: bool,
) -> None:  # fmt: skip
    """Lower CHECKPOINT (a folder with config.json and safetensors) into a bundle.

    The bundle holds model.onnx, model.bitx with all weights, the C runtime as source, the library
    built for the target, a report of sizes, memory and plan, and a manifest with the hash of every
    file.
    """
    target = find_target(target_name)
    options = Options(
        embedding=cast(Embedding | None, embedding), cache=cast(Cache, kv_cache), context=context
    )
    compiler = shutil.which(target.compiler)
    if compiler is None and not no_library:
        click.echo(
            f"no {target.compiler} here: the bundle will hold source only "
            f"(`bitexport doctor --target {target.name}` says how to get it)", err=True,
        )  # fmt: skip
    bundle = build_bundle(
        checkpoint, target, options, output, replace=force,
        compile_library=compiler is not None and not no_library,
        stage=lambda text: click.echo(text, err=True), describe=report_files,
    )  # fmt: skip
    click.echo(bundle.path)
