"""`bitexport verify`: the reference against every emulated core, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import (
    BundleError,
    CheckpointError,
    MismatchError,
    ToolchainError,
)
from bitexport.report.fidelity import render_fidelity
from bitexport.runtime.transcript import arithmetic_of, read_transcript, require_fitting
from bitexport.targets import Target, find_target
from bitexport.testing.verify_all import verify_all, words_of
from bitexport.tokenizer.ids import read_ids, refuse_unknown
from bitexport.tokenizer.text import encode, find_tokenizer, fixed_tokens, load_tokenizer
from bitexport.toolchain.compile import ARCHIVE
from bitexport.verify.cores import CoreResult, Machine, machine, verify_core
from bitexport.verify.expected import (
    Expected,
    compute_expected,
    holds_network_test,
    load_reference,
    self_test_positions,
)
from bitexport.verify.explain import Explanation, explain, replay, said_of
from bitexport.verify.fidelity import compare_layers, compare_logits, read_windows
from bitexport.verify.graph import GraphResult, graph_machine, refuse_link, verify_graph
from bitexport.verify.inputs import fixed_inputs, read_inputs
from bitexport.verify.network_graph import network_graph_machine, verify_network_graph
from bitexport.verify.networks import ExpectedNetwork, compute_network, verify_network
from bitexport.verify.oracle import open_oracle
from bitexport_ref.errors import BadOperand
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.generator import check_transcript
from bitexport_ref.sampler import Sampler

PROMPT = "Once upon a time, there was a little girl named Lily."
TOKENS = 32
QUICK_PROMPT = 4  # tokens of it
OF_TEXT = ("prompt", "ids", "tokens", "case", "transcript", "against")
"""Parameters that only a language model has a use for."""
RUNS = ("cores", "on", "prompt", "ids", "tokens", "quick", "given", "runtime", "onnxruntime")
EXCLUDED = {
    "every": (
        "against", "checkpoint", "text", "case", "transcript", "on", "given", "runtime",
        "onnxruntime",
    ),
    "against": ("case", "transcript", *RUNS), "transcript": RUNS, "runtime": ("on",),
    "case": ("transcript", *(name for name in RUNS if name != "on")),
}  # fmt: skip
"""Parameters that choose what is run, and those that have no part in it."""


@click.command(short_help="Compare every op on every emulated core with the reference.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--core", "cores", multiple=True, help="Only this core; may be repeated.")
@click.option("--on", metavar="DEVICE",
              help="Run on a device that has the --core: ssh:pi@board, adb:SERIAL or serial:PORT."
              )  # fmt: skip
@click.option("--prompt", help=f"Text that is run; default: {PROMPT}")
@click.option(
    "--ids", callback=read_ids, metavar="IDS", help="Tokens that are run, as numbers: 1,2,3."
)
@click.option("-n", "--tokens", type=click.IntRange(1),
              help=f"Greedy tokens after the prompt; default: {TOKENS}; if quick 1.")  # fmt: skip
@click.option(
    "--quick",
    is_flag=True,
    help="Two runs on a core instead of every way, for models of many gigabytes.",
)
@click.option("--runtime", type=click.Choice(["onnxruntime"]),
              help="Run model.onnx in onnxruntime, with the runtime's kernels as custom ops."
              )  # fmt: skip
@click.option("--onnxruntime", type=click.Path(path_type=Path), metavar="FILE",
              help="With --runtime onnxruntime: its wheel, or libonnxruntime.so, for the target; "
              "default: the one installed here.")  # fmt: skip
@click.option("--input", "given", type=click.Path(path_type=Path), metavar="FILE",
              help="Of a network: .npy or .npz with what it is run on; default: fixed numbers."
              )  # fmt: skip
@click.option("--replay", "case", type=click.Path(path_type=Path),
              help="Run the case of a mismatch file again.")  # fmt: skip
@click.option("--transcript", type=click.Path(path_type=Path),
              help="Prove the tokens that `run --record`, or a device, wrote down.")  # fmt: skip
@click.option("--against", type=click.Choice(["transformers"]),
              help="Compare with the model's own implementation instead.")  # fmt: skip
@click.option("--checkpoint", type=click.Path(path_type=Path),
              help="With --against: the checkpoint that the bundle was built from.")  # fmt: skip
@click.option("--text", type=click.Path(path_type=Path),
              help="With --against: held-out text, a blank line between documents.")  # fmt: skip
@click.option("--all", "every", is_flag=True,
              help="BUNDLE is a folder, every bundle below it; or a matrix .toml, built first."
              )  # fmt: skip
@click.option("--jobs", type=click.IntRange(1),
              help="With --all: jobs at a time on this machine; default: its cores.")  # fmt: skip
@click.option("--dask", metavar="ADDRESS",
              help="With --all: the workers of this dask scheduler instead.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(
    bundle: Path, cores: tuple[str, ...], on: str | None, prompt: str | None,
    ids: tuple[int, ...] | None, tokens: int | None, quick: bool, given: Path | None,
    runtime: str | None, onnxruntime: Path | None, case: Path | None, transcript: Path | None,
    against: str | None, checkpoint: Path | None, text: Path | None, every: bool,
    jobs: int | None, dask: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run BUNDLE on every core of its target and compare each op output with the reference.

    Prefill at once and token by token, one thread and two, fused and op by op, every instruction
    set: none of these may change a bit.  Exits with 4 when one does.  With --quick there are two
    runs on a core, op by op and fused, with the best instruction set and all threads.  With --on a
    real device runs them instead of an emulator, with the static library; a board on a serial line
    runs what is in its flash (package --mcu), and --core may be the name of the target.

    With --all each bundle and core is a job; what was found equal is kept in BUNDLE/verified, and
    is not run again while bundle and options stay the same.  A matrix names checkpoints, build
    options, targets and cores; each bundle that is missing, or made of other files, is a job too.
    """
    _refuse_ignored_options()
    if every:
        words = words_of({"--prompt": prompt, "--ids": ids, "--tokens": tokens}, quick=quick)
        verify_all(bundle, cores, words, (jobs, dask), _say, as_json=as_json)
        return
    _refuse_missing(case)
    opened = open_bundle(bundle, check_files=True)
    target = find_target(opened.target_name)
    for core in cores:
        target.expected_isas(core)
    if runtime:
        refuse_link(opened)
    model = load_reference(opened.graph)
    if not model.is_language_model:
        _refuse_options_of_text()
        _verify_network(
            opened, target, model, cores, on, given, quick=quick, as_json=as_json,
            in_graph=functools.partial(_verify_graph, onnxruntime) if runtime else None,
        )  # fmt: skip
        return
    _refuse_input(given)
    if against:
        assert checkpoint is not None
        assert text is not None
        _refuse_other_checkpoint(opened, checkpoint)
        click.echo(_fidelity(opened, model, checkpoint, text, as_json=as_json))
        return
    if transcript:
        click.echo(_proof(opened, model, transcript, as_json=as_json))
        return
    _refuse_library(opened, target)
    if not quick:
        arithmetic_of(opened)
    if case:
        with machine(opened, target, on) as device:
            _replay(model, device, opened, case, as_json=as_json)
        return
    count = tokens or (1 if quick else TOKENS)
    expected = _expected(opened, model, _prompt(opened, prompt, ids, quick=quick), count)
    if runtime:
        _verify_graph(onnxruntime, opened, target, expected, cores, quick=quick, as_json=as_json)
        return
    _verify_model(opened, target, model, expected, cores, on, quick=quick, as_json=as_json)


def _verify_model(
    bundle: Bundle, target: Target, model: ReferenceModel, expected: Expected,
    cores: Sequence[str], on: str | None, *, quick: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare every op of a language model on every core with the reference."""
    self_test = self_test_positions(bundle.data)
    _say(
        f"{bundle.manifest['model']['name']} for {target.name}: {len(expected.outputs)} op "
        f"outputs at {expected.positions} positions, layout {bundle.manifest['layout']}"
    )
    results = []
    with machine(bundle, target, on) as device:
        for core in cores or target.cores:
            result = verify_core(device, core, expected, _say, quick=quick, self_test=self_test)
            found: Explanation | str = ""
            if result.failure:
                where = bundle.path.absolute()
                found = explain(model, device, core, expected, result.failure, where, Path())
            results.append((result, found))
            if not as_json:
                count = len(expected.outputs) * expected.positions
                compared = f"{count} op outputs, {len(expected.generated)} tokens"
                click.echo(_line(result, compared, target))
    if self_test is None:
        _say("the file holds no self-test: it was built with --no-selftest")
    if as_json:
        report = {"quick": quick, "self_test": self_test is not None and not quick}
        report |= _report(bundle, target, expected, results)
        click.echo(json.dumps(report, indent=2))
    _raise_on_failure(results)


def _refuse_missing(case: Path | None) -> None:
    if case is not None and not case.is_file():
        raise BundleError(
            f"{case}: no such replay file", hint="verify writes one where a core differs"
        )


def _refuse_ignored_options() -> None:
    """Refuse options that would have no part in what the other ones ask for."""
    context = click.get_current_context()
    given = {
        name: parameter.opts[0]
        for parameter in context.command.params
        if (name := parameter.name) is not None
        and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for mode, others in EXCLUDED.items():
        if mode in given and (ignored := [given[name] for name in others if name in given]):
            raise click.UsageError(f"{given[mode]} has no use for {', '.join(ignored)}")
    if "against" in given and not {"checkpoint", "text"} <= given.keys():
        raise click.UsageError("--against needs --checkpoint and --text")
    for name in ("checkpoint", "text"):
        if name in given and "against" not in given:
            raise click.UsageError(f"{given[name]} is for --against transformers")
    if "onnxruntime" in given and "runtime" not in given:
        raise click.UsageError("--onnxruntime is for --runtime onnxruntime")
    for name in ("jobs", "dask"):
        if name in given and "every" not in given:
            raise click.UsageError(f"{given[name]} is for --all")
    if {"jobs", "dask"} <= given.keys():
        raise click.UsageError("--jobs is for this machine, --dask for a cluster: give one")
    if "on" in given and "case" not in given and len(context.params["cores"]) != 1:
        raise click.UsageError("--on needs one --core: the one that the device has")
    if {"prompt", "ids"} <= given.keys():
        raise click.UsageError("--prompt and --ids both say what to run: give one")


def _verify_graph(
    onnxruntime: Path | None, bundle: Bundle, target: Target,
    expected: Expected | ExpectedNetwork, cores: Sequence[str], *, quick: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run model.onnx in onnxruntime on every core and compare it with the reference."""
    many = f"{expected.positions} positions" if isinstance(expected, Expected) else _made(expected)
    _say(
        f"{bundle.manifest['model']['name']} for {target.name} in onnxruntime: "
        f"{len(expected.outputs)} op outputs, {many}"
    )
    results = []
    for result in _graph_results(bundle, target, expected, cores, onnxruntime, quick=quick):
        results.append(result)
        if not as_json:
            word = "equal" if result.passed else "DIFFERENT"
            click.echo(
                f"{result.core:12} {word}  onnxruntime, {result.compared} rows of op outputs, "
                f"{_made(expected)}, {result.runs} runs, kernels: {result.isa}"
            )
    if as_json:
        listed = [{**dataclasses.asdict(each), "passed": each.passed} for each in results]
        report = {"runtime": "onnxruntime", "target": target.name, "cores": listed}
        click.echo(json.dumps(report, indent=2))
    place = "row" if isinstance(expected, ExpectedNetwork) else "position"
    for result in results:
        if result.failure:
            way, difference = result.failure
            raise MismatchError(
                f"{result.core}, onnxruntime, {way.words}: {place} {difference.position}: "
                f"{difference.what}",
                hint="`bitexport verify` without --runtime says whether the runtime is equal",
            )
        if result.problem:
            raise MismatchError(f"{result.core}, onnxruntime: {result.problem}")


def _graph_results(
    bundle: Bundle, target: Target, expected: Expected | ExpectedNetwork, cores: Sequence[str],
    onnxruntime: Path | None, *, quick: bool,
) -> Iterator[GraphResult]:  # fmt: skip
    """Yield what happened on core after core."""
    asked = cores or target.cores
    if isinstance(expected, ExpectedNetwork):
        with network_graph_machine(bundle, target, expected, onnxruntime) as network:
            for core in asked:
                yield verify_network_graph(network, core, expected, _say, quick=quick)
        return
    with graph_machine(bundle, target, expected, onnxruntime) as device:
        for core in asked:
            yield verify_graph(device, core, expected, _say, quick=quick)


def _made(expected: Expected | ExpectedNetwork) -> str:
    if isinstance(expected, ExpectedNetwork):
        return f"{expected.samples} samples"
    return f"{len(expected.generated)} tokens"


def _refuse_options_of_text() -> None:
    """Refuse options that have no meaning for a network."""
    context = click.get_current_context()
    for name in OF_TEXT:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('case', 'replay')} is for language models; "
                "a network takes --input"
            )


def _refuse_input(given: Path | None) -> None:
    """Refuse what only a network takes."""
    if given is not None:
        raise click.UsageError("--input is for networks; a language model takes --prompt or --ids")


def _verify_network(
    bundle: Bundle, target: Target, model: ReferenceModel, cores: Sequence[str],
    on: str | None, given: Path | None, *, quick: bool, as_json: bool,
    in_graph: Callable[..., None] | None,
) -> None:  # fmt: skip
    """Compare every op of a network on every core with the reference; `in_graph`: of model.onnx."""
    _refuse_library(bundle, target)
    inputs = read_inputs(given, model) if given else fixed_inputs(model)
    expected = compute_network(model, inputs)
    if in_graph:
        in_graph(bundle, target, expected, cores, quick=quick, as_json=as_json)
        return
    _say(
        f"{bundle.manifest['model']['name']} for {target.name}: {len(expected.outputs)} op "
        f"outputs of {expected.samples} samples, layout {bundle.manifest['layout']}"
    )
    results: list[tuple[CoreResult, Explanation | str]] = []
    self_test = holds_network_test(bundle.data)
    with machine(bundle, target, on) as device:
        for core in cores or target.cores:
            result = verify_network(device, core, expected, _say, quick=quick, self_test=self_test)
            results.append((result, ""))
            if not as_json:
                click.echo(_line(result, _told(expected), target))
    if as_json:
        facts = {
            "quick": quick, "self_test": self_test and not quick,
            "model": bundle.manifest["model"]["name"], "target": target.name,
            "layout": bundle.manifest["layout"], "op_outputs": len(expected.outputs),
            "samples": expected.samples, "cores": _cores(results),
        }  # fmt: skip
        click.echo(json.dumps(facts, indent=2))
    _raise_on_failure(results, "row")


def _told(expected: ExpectedNetwork) -> str:
    """Say what was compared on a core."""
    return f"{sum(map(len, expected.digests))} op outputs, {expected.samples} samples"


def _proof(bundle: Bundle, model: ReferenceModel, path: Path, *, as_json: bool) -> str:
    """Choose every token of a transcript again, in one pass of the reference."""
    transcript = read_transcript(path)
    require_fitting(path, transcript, bundle)
    numbers: dict[str, Any] = dict(transcript.sampler)
    try:
        sampler = Sampler(**numbers)
    except BadOperand as error:
        raise BundleError(f"{path}: sampler: {error}", hint="record it again") from error
    found = check_transcript(model, transcript.prompt, transcript.tokens, sampler)
    count = len(transcript.tokens)
    if found is not None:
        if as_json:
            facts = {"transcript": str(path), "tokens": count, "equal": False}
            click.echo(json.dumps({**facts, **found._asdict()}, indent=2))
        raise MismatchError(
            f"{path}: token {found.place} of the answer is {found.found}; the reference chooses "
            f"{found.expected} there",
            hint="`bitexport verify` without --transcript finds the op that differs",
        )
    if as_json:
        return json.dumps({"transcript": str(path), "tokens": count, "equal": True}, indent=2)
    return f"equal  {count} tokens behind {len(transcript.prompt)}, each as the reference chooses"


def _prompt(
    bundle: Bundle, prompt: str | None, ids: tuple[int, ...] | None, *, quick: bool
) -> list[int]:
    """Return the tokens to run: those given, those of a text, or fixed ones without tokenizer."""
    facts = bundle.manifest["model"]
    if ids is not None:
        refuse_unknown(ids, int(facts["vocabulary"]))
        return list(ids)
    if prompt is not None:
        return encode(load_tokenizer(bundle.path), prompt)
    tokenizer = find_tokenizer(bundle.path)
    whole = (
        encode(tokenizer, PROMPT)
        if tokenizer
        else fixed_tokens(int(facts["vocabulary"]), facts["bos"])
    )
    return whole[:QUICK_PROMPT] if quick else whole


def _expected(bundle: Bundle, model: ReferenceModel, ids: Sequence[int], tokens: int) -> Expected:
    context = int(bundle.manifest["model"]["context"])
    if not ids or len(ids) + tokens - 1 > context:
        raise click.UsageError(
            f"{len(ids)} prompt tokens and {tokens} more do not fit a context of {context}"
        )
    return compute_expected(model, ids, tokens)


def _fidelity(
    bundle: Bundle, model: ReferenceModel, checkpoint: Path, text: Path, *, as_json: bool
) -> str:
    container = bundle.manifest["model"]["container"]
    oracle, double = (open_oracle(checkpoint, double=d, container=container) for d in (False, True))
    windows = read_windows(text, bundle)
    _say(f"{len(windows)} documents, {sum(map(len, windows))} tokens, three implementations")
    whole = compare_logits(model, oracle, double, windows)
    layers = compare_layers(model, oracle, windows[0])
    if as_json:
        facts = {"logits": dataclasses.asdict(whole), "ops": [*map(dataclasses.asdict, layers)]}
        return json.dumps({**facts, "options": bundle.manifest["options"]}, indent=2)
    return render_fidelity(whole, layers)


def _refuse_other_checkpoint(bundle: Bundle, checkpoint: Path) -> None:
    """Refuse another checkpoint: the oracle must run the weights that the bundle was made of."""
    container = bundle.manifest["model"]["container"]
    found = open_checkpoint(checkpoint, container).digests()
    built = bundle.manifest["checkpoint"]
    for name in sorted({*found, *built}):
        if found.get(name) != built.get(name):
            raise CheckpointError(
                f"{checkpoint}: not the checkpoint that {bundle.path} was built from: "
                f"`{name}` is another file",
                hint="give that checkpoint, or build the bundle again from this one",
            )


def _refuse_library(bundle: Bundle, target: Target) -> None:
    """Refuse a bundle without library, or with one that its manifest does not vouch for."""
    name = f"lib/{target.name}/{ARCHIVE}"
    if not (bundle.path / name).is_file():
        lacks = f"{bundle.path}: holds no library for target `{target.name}`"
        if shutil.which(target.compiler) is None:
            raise ToolchainError(
                f"{lacks}, and `{target.compiler}` is not installed to build one",
                hint=f"bitexport doctor --target {target.name} prints the line that installs it; "
                "then build the bundle again",
            )
        raise BundleError(lacks, hint="it was built with --no-library; build again without it")
    if name not in bundle.manifest["files"]:
        raise BundleError(
            f"{bundle.path / name}: is not in the manifest",
            hint="remove the file, or build the bundle again",
        )


def _replay(
    model: ReferenceModel, device: Machine, bundle: Bundle, case: Path, *, as_json: bool
) -> None:
    found = replay(model, device, bundle, case)
    if as_json:
        facts = dataclasses.asdict(found) if found else {}
        click.echo(json.dumps({"equal": found is None, **facts}, indent=2))
    if found:
        raise MismatchError(str(found))
    if not as_json:
        click.echo("equal: the case no longer differs")


def _line(result: CoreResult, compared: str, target: Target) -> str:
    word = "equal" if result.passed else "DIFFERENT"
    isas = " ".join(result.seen) or "none"
    if lacking := [isa for isa in target.cores.get(result.core, ()) if target.lacks(isa)]:
        isas += f" (this machine lacks {', '.join(lacking)})"
    return (
        f"{result.core:12} {word}  {compared}, "
        f"{result.runs} runs, arena {result.arena_bytes} bytes, seen: {isas}"
    )


def _report(
    bundle: Bundle, target: Target, expected: Expected,
    results: list[tuple[CoreResult, Explanation | str]],
) -> dict[str, Any]:  # fmt: skip
    return {
        "model": bundle.manifest["model"]["name"],
        "target": target.name,
        "layout": bundle.manifest["layout"],
        "op_outputs": len(expected.outputs),
        "positions": expected.positions,
        "prompt": expected.prompt,
        "generated": expected.generated,
        "cores": _cores(results),
    }


def _cores(results: list[tuple[CoreResult, Explanation | str]]) -> list[dict[str, Any]]:
    return [
        {
            **dataclasses.asdict(result),
            "passed": result.passed,
            "explanation": None if isinstance(found, str) else dataclasses.asdict(found),
        }
        for result, found in results
    ]


def _raise_on_failure(
    results: list[tuple[CoreResult, Explanation | str]], place_is: str = "position"
) -> None:
    wrong = [(result, found) for result, found in results if not result.passed]
    if not wrong:
        return
    result, found = wrong[0]
    if result.failure:
        raise MismatchError(said_of(result.core, result.failure, found, place_is))
    raise MismatchError(f"{result.core}: {result.problem}")


def _say(text: str) -> None:
    click.echo(text, err=True)
