"""`bitexport verify`: the reference against every emulated core, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import (
    BitexportError,
    BundleError,
    CheckpointError,
    MismatchError,
    ToolchainError,
)
from bitexport.evaluate.spread import cores as available_cores
from bitexport.evaluate.spread import map_on_cluster
from bitexport.report.fidelity import render_fidelity
from bitexport.runtime.transcript import arithmetic_of, read_transcript, require_fitting
from bitexport.targets import Target, find_target
from bitexport.testing.matrix import Job, find_jobs, keep_found, load_found, run_here, run_job
from bitexport.tokenizer.ids import read_ids, refuse_unknown
from bitexport.tokenizer.text import encode, find_tokenizer, fixed_tokens, load_tokenizer
from bitexport.toolchain.compile import ARCHIVE
from bitexport.verify.cores import CoreResult, Machine, machine, verify_core
from bitexport.verify.expected import (
    Expected,
    compute_expected,
    load_reference,
    self_test_positions,
)
from bitexport.verify.explain import Explanation, explain, replay, said_of
from bitexport.verify.fidelity import compare_layers, compare_logits, read_windows
from bitexport.verify.oracle import open_oracle
from bitexport_ref.errors import BadOperand
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.generator import check_transcript
from bitexport_ref.sampler import Sampler

PROMPT = "Once upon a time, there was a little girl named Lily."
TOKENS = 32
QUICK_PROMPT = 4  # tokens of it
RUNS = ("cores", "on", "prompt", "ids", "tokens", "quick")
EXCLUDED = {
    "every": ("against", "checkpoint", "text", "case", "transcript", "on"),
    "against": ("case", "transcript", *RUNS), "case": ("transcript", *RUNS), "transcript": RUNS,
}  # fmt: skip
"""Parameters that choose what is run, and those that have no part in it."""


@click.command(short_help="Compare every op on every emulated core with the reference.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--core", "cores", multiple=True, help="Only this core; may be repeated.")
@click.option("--on", metavar="DEVICE",
              help="Run on a device, ssh:pi@board or adb:SERIAL, that has the --core.")  # fmt: skip
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
              help="BUNDLE is a folder: every bundle below it, on every core.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1),
              help="With --all: jobs at a time on this machine; default: its cores.")  # fmt: skip
@click.option("--dask", metavar="ADDRESS",
              help="With --all: the workers of this dask scheduler instead.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(
    bundle: Path, cores: tuple[str, ...], on: str | None, prompt: str | None,
    ids: tuple[int, ...] | None, tokens: int | None, quick: bool, case: Path | None,
    transcript: Path | None, against: str | None, checkpoint: Path | None, text: Path | None,
    every: bool, jobs: int | None, dask: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run BUNDLE on every core of its target and compare each op output with the reference.

    Prefill at once and token by token, one thread and two, fused and op by op, every instruction
    set: none of these may change a bit.  Exits with 4 when one does.  With --quick there are two
    runs on a core, op by op and fused, with the best instruction set and all threads.  With --on a
    real device runs them instead of an emulator, with the static library.

    With --all each bundle and core is a job; what was found equal is kept in BUNDLE/verified, and
    is not run again while bundle and options stay the same.
    """
    _refuse_ignored_options()
    if every:
        words = _words({"--prompt": prompt, "--ids": ids, "--tokens": tokens}, quick=quick)
        _verify_all(bundle, find_jobs(bundle, cores, words), jobs, dask, as_json=as_json)
        return
    if case is not None and not case.is_file():
        raise BundleError(
            f"{case}: no such replay file", hint="verify writes one where a core differs"
        )
    opened = open_bundle(bundle, check_files=True)
    target = find_target(opened.target_name)
    for core in cores:
        target.expected_isas(core)
    model = load_reference(opened.graph)
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
    with machine(opened, target, on) as device:
        if case:
            _replay(model, device, opened, case, as_json=as_json)
            return
        count = tokens or (1 if quick else TOKENS)
        expected = _expected(opened, model, _prompt(opened, prompt, ids, quick=quick), count)
        self_test = self_test_positions(opened.data)
        _say(
            f"{opened.manifest['model']['name']} for {target.name}: {len(expected.outputs)} op "
            f"outputs at {expected.positions} positions, layout {opened.manifest['layout']}"
        )
        results = []
        for core in cores or target.cores:
            result = verify_core(device, core, expected, _say, quick=quick, self_test=self_test)
            found: Explanation | str = ""
            if result.failure:
                where = opened.path.absolute()
                found = explain(model, device, core, expected, result.failure, where, Path())
            results.append((result, found))
            if not as_json:
                click.echo(_line(result, expected, target))
        if self_test is None:
            _say("the file holds no self-test: it was built with --no-selftest")
    if as_json:
        report = {"quick": quick, "self_test": self_test is not None and not quick}
        report |= _report(opened, target, expected, results)
        click.echo(json.dumps(report, indent=2))
    _raise_on_failure(results)


def _words(options: Mapping[str, str | int | Sequence[int] | None], *, quick: bool) -> list[str]:
    words = ["--quick"] if quick else []
    for name, value in options.items():
        if value is not None:
            text = value if isinstance(value, str | int) else ",".join(map(str, value))
            words += [f"{name}={text}"]
    return words


def _verify_all(
    folder: Path, every: Sequence[Job], jobs: int | None, dask: str | None, *, as_json: bool
) -> None:
    """Run the jobs that no earlier run found equal; report them all, in their order."""
    found = {job: kept for job in every if (kept := load_found(folder, job))}
    todo = [job for job in every if job not in found]
    count = min(jobs or available_cores(), len(todo)) or 1
    where = f"dask cluster {dask}" if dask else f"{count} process{'es' * (count > 1)}"
    _say(f"{len(every)} jobs, {len(found)} found equal before, the others on {where}")
    run = map_on_cluster(run_job, todo, dask) if dask else run_here(todo, count)
    for at, result in run if todo else ():
        found[todo[at]] = result
        keep_found(folder, todo[at], result)
        _say(f"  {_job_name(folder, todo[at])}: {result.line}")
    if as_json:
        report = [
            {
                "bundle": _bundle_name(folder, job),
                "core": job.core,
                **dataclasses.asdict(found[job]),
            }
            for job in every
        ]
        click.echo(json.dumps(report, indent=2))
    else:
        width = max(len(_job_name(folder, job)) for job in every)
        for job in every:
            click.echo(f"{_job_name(folder, job):{width}} {found[job].line}")
    failed = [job for job in every if found[job].code]
    if failed:
        wrong = [job for job in failed if found[job].code == MismatchError.exit_code]
        first = (wrong or failed)[0]
        kind = MismatchError if wrong else BitexportError
        raise kind(
            f"{len(failed)} of {len(every)} jobs failed; {_job_name(folder, first)}: "
            f"{found[first].said}"
        )


def _job_name(folder: Path, job: Job) -> str:
    return f"{_bundle_name(folder, job)} {job.core}"


def _bundle_name(folder: Path, job: Job) -> str:
    name = Path(job.bundle).relative_to(folder.resolve())
    return str(name) if name.parts else Path(job.bundle).name


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
    for name in ("jobs", "dask"):
        if name in given and "every" not in given:
            raise click.UsageError(f"{given[name]} is for --all")
    if {"jobs", "dask"} <= given.keys():
        raise click.UsageError("--jobs is for this machine, --dask for a cluster: give one")
    if "on" in given and len(context.params["cores"]) != 1:
        raise click.UsageError("--on needs one --core: the one that the device has")
    if {"prompt", "ids"} <= given.keys():
        raise click.UsageError("--prompt and --ids both say what to run: give one")


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


def _line(result: CoreResult, expected: Expected, target: Target) -> str:
    word = "equal" if result.passed else "DIFFERENT"
    count = len(expected.outputs) * expected.positions
    isas = " ".join(result.seen) or "none"
    if lacking := [isa for isa in target.cores[result.core] if target.lacks(isa)]:
        isas += f" (this machine lacks {', '.join(lacking)})"
    return (
        f"{result.core:12} {word}  {count} op outputs, {len(expected.generated)} tokens, "
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
        "cores": [
            {
                **dataclasses.asdict(result),
                "passed": result.passed,
                "explanation": None if isinstance(found, str) else dataclasses.asdict(found),
            }
            for result, found in results
        ],
    }


def _raise_on_failure(results: list[tuple[CoreResult, Explanation | str]]) -> None:
    wrong = [(result, found) for result, found in results if not result.passed]
    if not wrong:
        return
    result, found = wrong[0]
    if result.failure:
        raise MismatchError(said_of(result.core, result.failure, found))
    raise MismatchError(f"{result.core}: {result.problem}")


def _say(text: str) -> None:
    click.echo(text, err=True)
