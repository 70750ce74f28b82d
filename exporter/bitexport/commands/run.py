"""`bitexport run`: continue a text or talk, on this machine or on an emulated core."""

from __future__ import annotations

import contextlib
import io
import json
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import BundleError, OutputError, TextError
from bitexport.runtime.library import ALL
from bitexport.runtime.model import SOUND, Message
from bitexport.runtime.networks import run_samples
from bitexport.runtime.session import Answer, Chosen, End, Ended, Event, Prefill
from bitexport.runtime.voice import Voice, emulated_voice, native_voice
from bitexport.targets import find_target
from bitexport.tokenizer.ids import read_ids, refuse_unknown
from bitexport.verify.expected import load_reference
from bitexport.verify.inputs import read_inputs

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition", "presence", "frequency", "seed")
YOU = "\n> "


Read = Callable[[click.Context, click.Parameter, str | None], float | None]


def _number(holds: Callable[[float], bool], what: str) -> Read:
    """Return a callback that reads a number for which something holds; NaN is none."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (abs(number) < LARGEST and holds(number)):  # so does a NaN not
            raise click.BadParameter(f"`{value}` is no number {what}")
        return number

    return read


LARGEST = 2.0**127  # of floats of 32 bits, nearly
FINITE = _number(lambda _: True, "of this size")
NOT_BELOW_0 = _number(lambda x: x == 0 or x > 1 / LARGEST, "from 0")
ABOVE_0 = _number(lambda x: x > 1 / LARGEST, "above 0")
TO_1 = _number(lambda x: 0 <= x <= 1, "from 0 to 1")
ABOVE_0_TO_1 = _number(lambda x: 1 / LARGEST < x <= 1, "above 0, at most 1")


@click.command(short_help="Continue a text, or chat, with the model of a bundle.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option("--ids", callback=read_ids, metavar="IDS",
              help="Tokens to continue, as numbers: 1,2,3.")  # fmt: skip
@click.option("--chat", is_flag=True,
              help="PROMPT is what a user says; without PROMPT, a conversation.")  # fmt: skip
@click.option("--system", metavar="TEXT", help="With --chat: what comes before the conversation.")
@click.option("-n", "--tokens", type=click.IntRange(1, ALL), default=100, show_default=True,
              help="Most tokens to generate, of each answer.")  # fmt: skip
@click.option(
    "--temperature", callback=NOT_BELOW_0, metavar="NUMBER", help="0: always the likeliest token."
)
@click.option("--top-k", type=click.IntRange(1, ALL), help="Of so many likeliest tokens.")
@click.option(
    "--top-p",
    callback=ABOVE_0_TO_1,
    metavar="NUMBER",
    help="Of the likeliest that together have this probability.",
)
@click.option(
    "--min-p",
    callback=TO_1,
    metavar="NUMBER",
    help="Of those at least so probable, next to the likeliest.",
)
@click.option(
    "--repetition", callback=ABOVE_0, metavar="NUMBER", help="Divide what was said already by this."
)
@click.option(
    "--presence", callback=FINITE, metavar="NUMBER", help="Take this from what was said already."
)
@click.option(
    "--frequency", callback=FINITE, metavar="NUMBER", help="Take this for each time it was said."
)
@click.option("--seed", type=click.IntRange(0, (1 << 64) - 1),
              help="The same seed, the same tokens on every device; default: 0.")  # fmt: skip
@click.option("--stop", multiple=True, metavar="TEXT",
              help="End before this text; may be repeated.")  # fmt: skip
@click.option("--shift", "keep", type=click.IntRange(0, ALL), metavar="KEEP",
              help="When the context is full: drop half of all behind KEEP tokens.")  # fmt: skip
@click.option("--draft", type=click.IntRange(0, 8), default=0, show_default=True,
              help="Tokens to guess from the text: the same tokens in fewer steps.")  # fmt: skip
@click.option("--core", help="Emulate this core of the bundle's target instead of running here.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--input", "given", type=click.Path(path_type=Path), metavar="FILE",
              help="Of a network: .npy or .npz with the samples that it is run on.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE",
              help="Continue the session that --save wrote, here or elsewhere.")  # fmt: skip
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the session when it is over.")  # fmt: skip
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE",
              help="Write prompt, seed and tokens for `verify --transcript`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
def command(
    bundle: Path, prompt: str | None, ids: tuple[int, ...] | None, *, chat: bool,
    system: str | None, tokens: int, stop: tuple[str, ...], keep: int | None, draft: int,
    core: str | None, threads: int, given: Path | None, resume: Path | None, save: Path | None,
    record: Path | None, as_json: bool, **sampling: float | None,
) -> None:  # fmt: skip
    """Continue PROMPT with the model in BUNDLE, or answer it (--chat); without PROMPT, converse.

    Runs on this machine with the same runtime, compiled for it, or on an emulated core: text in,
    tokens, text out are the same.  Text goes to stdout, everything else to stderr.  Tokens are
    chosen as the model's generation_config.json asks, or greedily, unless options say otherwise.
    Ctrl-C ends the answer, not the program; Ctrl-D ends the conversation.  A bundle without
    tokenizer takes --ids and prints the numbers of the tokens that it chooses.

    A network that is no language model takes --input, and prints of each sample every output: which
    number is the largest, and all of them.
    """
    opened = open_bundle(bundle, check_files=True)
    if opened.is_network:
        _run_network(opened, given, core, threads, as_json=as_json)
        return
    if given is not None:
        raise click.UsageError("--input is for networks; a language model takes a PROMPT or --ids")
    _refuse(opened, prompt, ids, chat=chat, system=system, core=core, threads=threads)
    if keep is not None and keep > (context := int(opened.manifest["model"]["context"])):
        raise click.UsageError(f"--shift {keep} keeps more than the context of {context} tokens")
    options = {name: value for name, value in sampling.items() if value is not None}
    answer = Answer(most_tokens=tokens, stop=stop, keep=keep, draft=draft)
    opening = (
        emulated_voice(opened, find_target(opened.target_name), core, options, threads)
        if core
        else native_voice(opened, options, threads, draft)
    )
    with opening as voice:
        show = _Json() if as_json else _Text()
        click.echo(f"{opened.manifest['model']['name']} on {voice.place}", err=True)
        if resume:
            voice.restore(_read(resume))
        try:
            if ids is not None:
                _answer(voice, show, ids, answer, shows_prompt=True)
            elif prompt is not None and not chat:
                _answer(voice, show, prompt, answer, shows_prompt=True)
            elif prompt is not None:
                _answer(voice, show, [*_opening(system), Message("user", prompt)], answer)
            else:
                _converse(voice, show, answer, _opening(system) if chat else None)
        finally:
            show.close()
        click.echo(voice.statistics(), err=True)
        if save:
            _write(save, voice.save())
        if record:
            _write(record, voice.transcript(opened).to_json().encode())


def _run_network(
    bundle: Bundle, given: Path | None, core: str | None, threads: int, *, as_json: bool
) -> None:
    """Print what a network makes of every sample."""
    context = click.get_current_context()
    taken = ("bundle", "given", "core", "threads", "as_json")
    for parameter in context.command.params:
        name = str(parameter.name)
        asked = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if asked and name not in taken:
            raise click.UsageError(
                f"{parameter.opts[0]} is for language models; {bundle.path} is a network"
            )
    if given is None:
        raise click.UsageError(f"{bundle.path} is a network: give --input FILE")
    _refuse_place(bundle, core, threads)
    model = load_reference(bundle.graph)
    made = run_samples(bundle, model, read_inputs(given, model), core, threads)
    for name, rows in made.items():
        for at, row in enumerate(rows):
            best = int(row.argmax())
            if as_json:
                facts = {"output": name, "sample": at, "largest": best}
                click.echo(json.dumps({**facts, "values": row.tolist()}))
            else:
                click.echo(f"{name}[{at}]: {best}  ({' '.join(map(str, row))})")


def _refuse(
    bundle: Bundle, prompt: str | None, ids: tuple[int, ...] | None, *, chat: bool,
    system: str | None, core: str | None, threads: int,
) -> None:  # fmt: skip
    """Refuse options that do not go together, before anything is started."""
    if prompt is not None and ids is not None:
        raise click.UsageError("give a PROMPT, or its tokens with --ids, not both")
    if chat and ids is not None:
        raise click.UsageError("--chat takes text: leave --ids out")
    if system is not None and not chat:
        raise click.UsageError("--system is for --chat")
    if ids is not None:
        refuse_unknown(ids, int(bundle.manifest["model"]["vocabulary"]))
    _refuse_place(bundle, core, threads)


def _refuse_place(bundle: Bundle, core: str | None, threads: int) -> None:
    """Refuse a core that the target does not have, and threads where there are none."""
    target = find_target(bundle.target_name if core else "host")
    if core:
        target.expected_isas(core)
    if threads > 1 and not target.threads:
        raise click.UsageError(f"target `{target.name}` has no threads: leave --threads out")


def _opening(system: str | None) -> list[Message]:
    return [] if system is None else [Message("system", system)]


def _answer(
    voice: Voice, show: _Text | _Json, turn: Any, answer: Answer, *, shows_prompt: bool = False
) -> None:
    """Print an answer as it comes, after its prompt if wished; Ctrl-C ends it."""
    with _interrupts(voice):
        for event in voice.say(turn, answer):
            if shows_prompt:  # not before the first event: a start that fails prints nothing
                show.prompt(voice)
                shows_prompt = False
            show.event(event)
    assert voice.ended
    if voice.ended.why == End.ERROR:
        raise BundleError(f"the answer broke off: {voice.ended.status}", hint=SOUND)
    if voice.ended.why == End.FULL:
        click.echo(
            f"the context of {voice.context} tokens is full: the text ends after {voice.made} of "
            f"{answer.most_tokens} tokens", err=True,
        )  # fmt: skip


@contextlib.contextmanager
def _interrupts(voice: Voice) -> Iterator[None]:
    """Let Ctrl-C end the answer, and not the program."""
    before = signal.signal(signal.SIGINT, lambda *_: voice.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _converse(
    voice: Voice, show: _Text | _Json, answer: Answer, opening: list[Message] | None
) -> None:
    """Take turns until the input ends; with an opening as a chat, else text after text."""
    waiting = list(opening or ())
    for said in _lines():
        turn: Any = said if opening is None else [*waiting, Message("user", said)]
        try:
            _answer(voice, show, turn, answer)
            waiting = []
        except TextError as error:  # what was said cannot be taken; the next may be
            click.echo(f"{error}\n{error.hint or ''}".rstrip(), err=True)


def _lines() -> Iterator[str]:
    """Yield what is typed, or comes by a pipe, line by line."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no UTF-8 is told by the runtime
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives input() a history where there is one
    while True:
        try:
            said = input(YOU if interactive else "")
        except EOFError:
            if interactive:
                click.echo(err=True)  # the line that the prompt began
            return
        except KeyboardInterrupt:
            click.echo("  (Ctrl-D ends the conversation)", err=True)
            continue
        if said.strip():
            yield said


class _Text:
    """Pieces of text to stdout as they come."""

    def __init__(self) -> None:
        self._in_line = False

    def prompt(self, voice: Voice) -> None:
        """Print what is continued."""
        self._say(voice.shown())

    def event(self, event: Event) -> None:
        """Print the text of an event; at the end, the end of the line."""
        if isinstance(event, Prefill):
            return
        self._say(event.text)
        if isinstance(event, Ended):
            if event.why == End.CANCELLED:
                click.echo(" [cancelled]", err=True)
            click.echo()
            self._in_line = False

    def _say(self, text: str) -> None:
        if text:
            click.echo(text, nl=False)
            sys.stdout.flush()
            self._in_line = True

    def close(self) -> None:
        """End a line that an error cut short."""
        if self._in_line:
            click.echo()


class _Json:
    """One object a line: prefill, token, end."""

    def prompt(self, voice: Voice) -> None:
        """Print what is continued."""
        self._print({"event": "prompt", "text": voice.shown(), "tokens": voice.given})

    def event(self, event: Event) -> None:
        """Print an event."""
        self._print(_facts(event))

    def _print(self, facts: Mapping[str, Any]) -> None:
        click.echo(json.dumps(facts, ensure_ascii=False))
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is left open."""


def _facts(event: Event) -> dict[str, Any]:
    match event:
        case Prefill(done, total, _):
            return {"event": "prefill", "done": done, "total": total}
        case Chosen(token, text):
            return {"event": "token", "token": token, "text": text}
        case Ended(why, token, text, status):
            facts = {"event": "end", "why": why.name.lower(), "token": token, "text": text}
            return facts if status is None else {**facts, "status": status}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", hint="--save writes such a file") from error


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, or leave what was there."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror}") from error
