"""`bitexport build`: a checkpoint becomes a bundle."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import click

from bitexport.checkpoints.checkpoint import CONTAINERS
from bitexport.emit.onnx_standard import Flavour
from bitexport.emit.tflite_step import TfliteFlavour
from bitexport.evaluate.caches import measure_caches
from bitexport.evaluate.damage import measure_baseline, measure_damage
from bitexport.models import families
from bitexport.models.parts.options import (
    ActivationKind,
    Cache,
    Form,
    HeadActivations,
    Options,
    Ternarize,
    TernaryLayout,
)
from bitexport.package.bundle import Built, Wanted, build_bundle, refuse_output
from bitexport.package.text import Depth, WantedText
from bitexport.progress import StreamProgress
from bitexport.report.bundle import describe
from bitexport.report.html import report_files
from bitexport.report.matrices import counted
from bitexport.targets import Target, find_target
from bitexport.toolchain.onnxruntime import require_onnxruntime
from bitexport.toolchain.programs import find_program

FORMS: tuple[str, ...] = get_args(Form)


def _precisions(
    _: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, Form], ...]:
    """Read PATTERN=FORM as often as it is given."""
    found: list[tuple[str, Form]] = []
    for text in given:
        pattern, equals, form = text.rpartition("=")
        if not equals or not pattern or form not in FORMS:
            raise click.BadParameter(
                f"{text!r} is not PATTERN=FORM, FORM one of {', '.join(FORMS)}", param=parameter
            )
        found.append((pattern, cast(Form, form)))
    return tuple(found)


@click.command(short_help="Build a checkpoint into a bundle for a target.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", "target_name", required=True, help="See `bitexport targets`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--embedding", type=click.Choice(FORMS),
              help="Numbers of embedding and head; default: as trained.")  # fmt: skip
@click.option("--activations", type=click.Choice(get_args(ActivationKind)),
              help="Inputs of ternary layers; default: as the family was trained.")  # fmt: skip
@click.option("--head-activations", type=click.Choice(get_args(HeadActivations)),
              help="Input of a head that is not float; default: int16 where layers have it."
              )  # fmt: skip
@click.option("--precision", multiple=True, metavar="PATTERN=FORM", callback=_precisions,
              help=f"Numbers of float matrices by name, as `lm_head=q8`: {', '.join(FORMS)}."
              )  # fmt: skip
@click.option("--kv-cache", type=click.Choice(get_args(Cache)), default="f16", show_default=True,
              help="What keys and values are kept in.")  # fmt: skip
@click.option("--measure-cache", is_flag=True,
              help="Run the model with each kind of KV cache, and report what it costs in KL."
              )  # fmt: skip
@click.option("--context", type=click.IntRange(2), help="Most tokens; default: the model's own.")
@click.option("--family", type=click.Choice(list(families())),
              help="Default: the one that config and tensors belong to.")  # fmt: skip
@click.option("--container", type=click.Choice(CONTAINERS),
              help="Where a folder holds several; default: the one that is there.")  # fmt: skip
@click.option("--ternarize", type=click.Choice(get_args(Ternarize)),
              help="Make trits of a float model.")  # fmt: skip
@click.option("--layout", type=click.Choice(get_args(TernaryLayout)),
              help="How trits lie in the file; default: the target's own.")  # fmt: skip
@click.option("--eval-text", type=click.Path(path_type=Path),
              help="With --ternarize and --measure-cache: what they measure on; default: a small "
              "passage."
              )  # fmt: skip
@click.option("--text", type=click.Choice(get_args(Depth)), default="chat", show_default=True,
              help="What the model.bitx has for text: tokenizer and chat template as far as they "
              "are there, the tokenizer alone, or none.")  # fmt: skip
@click.option("--chat-template", type=click.Path(path_type=Path), metavar="FILE",
              help="Jinja; default: the checkpoint's own.")  # fmt: skip
@click.option("--onnx", "flavours", type=click.Choice([str(each) for each in Flavour]),
              multiple=True,
              help="Ways in which the graph is written, beside model.onnx, which is `packed`: "
              "`portable` has standard ops alone, `ort2bit` MatMulNBits and is not bit-exact."
              )  # fmt: skip
@click.option("--tflite", multiple=True, type=click.Choice(get_args(TfliteFlavour)),
              help="Also a decode step for LiteRT; may be repeated.  custom: one op, bit-exact "
              "with the delegate that is built for it; int2, int8: ops of LiteRT, near."
              )  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@click.option("--no-library", is_flag=True, help="Source only; needs no compiler.")
@click.option("--custom-ops", is_flag=True,
              help="Also build the runtime's kernels as custom ops of onnxruntime, for the target."
              )  # fmt: skip
@click.option("--no-selftest", is_flag=True,
              help="Leave out the vectors that a device checks itself with.")  # fmt: skip
def command(
    checkpoint: Path, target_name: str, output: Path, embedding: str | None,
    activations: str | None, head_activations: str | None,
    precision: tuple[tuple[str, Form], ...], kv_cache: str, measure_cache: bool,
    context: int | None,
    family: str | None, container: str | None, ternarize: str | None,
    layout: str | None, eval_text: Path | None, text: str, chat_template: Path | None,
    flavours: tuple[str, ...], tflite: tuple[TfliteFlavour, ...], force: bool,
    no_library: bool, custom_ops: bool, no_selftest: bool,
) -> None:  # fmt: skip
    """Lower CHECKPOINT (a folder with safetensors, a GGUF file, an ONNX network) into a bundle.

    The bundle holds model.onnx, model.bitx with all weights, the C runtime as source, the library
    built for the target, a report of sizes, memory and plan, and a manifest with the hash of every
    file.
    """
    target = find_target(target_name)
    options = Options(
        embedding=cast(Form | None, embedding),
        activations=cast(ActivationKind | None, activations),
        head_activations=cast(HeadActivations | None, head_activations),
        precision=precision,
        cache=cast(Cache, kv_cache),
        context=context,
        family=family,
        container=container,
        ternarize=cast(Ternarize | None, ternarize),
        layout=cast(TernaryLayout | None, layout),
    )
    compiler = shutil.which(target.compiler)
    if custom_ops:
        _refuse_custom_ops(target, compiler, no_library=no_library)
    if compiler is None and not no_library:
        click.echo(
            f"no {target.compiler} here: the bundle will hold source only "
            f"(`bitexport doctor --target {target.name}` says how to get it)", err=True,
        )  # fmt: skip
    progress = StreamProgress(sys.stderr)

    def tell(built: Built) -> Mapping[str, str]:
        report = describe(built)
        for line in counted(report.weights):
            progress.say(line)
        return report_files(report)

    if eval_text is not None and not (ternarize or measure_cache):
        raise click.UsageError(
            "--eval-text says on what --ternarize or --measure-cache measures: give both"
        )
    refuse_output(output, force)  # before a float model is run for minutes
    before = measure_baseline(checkpoint, options, eval_text, progress) if ternarize else None
    costs = measure_caches(checkpoint, options, eval_text, progress) if measure_cache else None

    def measure(folder: Path) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        if before is not None:
            damage = measure_damage(before, folder, progress)
            progress.say(str(damage))
            found["ternarize"] = dataclasses.asdict(damage)
        if costs is not None:
            progress.say(str(costs))
            found["kv_cache"] = dataclasses.asdict(costs)
        return found

    bundle = build_bundle(
        checkpoint, target, options, output,
        Wanted(
            replace=force, compile_library=compiler is not None and not no_library,
            custom_ops=custom_ops, self_test=not no_selftest, progress=progress,
            measure=measure, describe=tell, onnx=tuple(map(Flavour, flavours)),
            tflite=tuple(dict.fromkeys(tflite)),
            text=WantedText(depth=cast(Depth, text), chat_template=chat_template),
        ),
    )  # fmt: skip
    click.echo(bundle.path)


def _refuse_custom_ops(target: Target, compiler: str | None, *, no_library: bool) -> None:
    """Refuse to promise a library that cannot be built."""
    if no_library:
        raise click.UsageError("--custom-ops is a library, and --no-library asks for none")
    require_onnxruntime(target)
    if compiler is None:
        find_program(target.compiler, target)
