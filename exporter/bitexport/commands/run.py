"""`bitexport run`: continue a text or talk, on this machine or on an emulated core."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.errors import BitexportError, BundleError, OutputError
from bitexport.runtime.model import Message
from bitexport.runtime.session import Answer, Chosen, End, Ended, Event, Prefill
from bitexport.runtime.voice import Voice, emulated_voice, native_voice
from bitexport.targets import find_target
from bitexport.tokenizer.ids import read_ids, refuse_unknown

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition", "presence", "frequency", "seed")
YOU = "\n> "


@click.command(short_help="Continue a text, or chat, with the model of a bundle.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option("--ids", callback=read_ids, metavar="IDS",
              help="Tokens to continue, as numbers: 1,2,3.")  # fmt: skip
@click.option("--chat", is_flag=True,
              help="PROMPT is what a user says; without PROMPT, a conversation.")  # fmt: skip
@click.option("--system", metavar="TEXT", help="With --chat: what comes before the conversation.")
@click.option("-n", "--tokens", type=click.IntRange(1), default=100, show_default=True,
              help="Most tokens to generate, of each answer.")  # fmt: skip
@click.option("--temperature", type=float, help="0: always the likeliest token.")
@click.option("--top-k", type=click.IntRange(1), help="Of so many likeliest tokens.")
@click.option("--top-p", type=float, help="Of the likeliest that together have this probability.")
@click.option("--min-p", type=float, help="Of those at least so probable, next to the likeliest.")
@click.option("--repetition", type=float, help="Divide what was said already by this.")
@click.option("--presence", type=float, help="Take this from what was said already.")
@click.option("--frequency", type=float, help="Take this for each time it was said.")
@click.option("--seed", type=click.IntRange(0, (1 << 64) - 1),
              help="The same seed, the same tokens on every device; default: 0.")  # fmt: skip
@click.option("--stop", multiple=True, metavar="TEXT",
              help="End before this text; may be repeated.")  # fmt: skip
@click.option("--shift", "keep", type=click.IntRange(0), metavar="KEEP",
              help="When the context is full, drop half of what is behind KEEP tokens.")  # fmt: skip
@click.option("--draft", type=click.IntRange(0, 8), default=0, show_default=True,
              help="Tokens to guess from the text so far: the same tokens in fewer steps.")  # fmt: skip
@click.option("--core", help="Emulate this core of the bundle's target instead of running here.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE",
              help="Continue the session that --save wrote, on this or another device.")  # fmt: skip
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the session when it is over.")  # fmt: skip
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE",
              help="Write prompt, seed and tokens for `verify --transcript`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
def command(
    bundle: Path, prompt: str | None, ids: tuple[int, ...] | None, *, chat: bool,
    system: str | None, tokens: int, stop: tuple[str, ...], keep: int | None, draft: int,
    core: str | None, threads: int, resume: Path | None, save: Path | None, record: Path | None,
    as_json: bool, **sampling: float | None,
) -> None:  # fmt: skip
    """Continue PROMPT with the model in BUNDLE, or answer it (--chat); without PROMPT, converse.

    Runs on this machine with the same runtime, compiled for it, or on an emulated core: text in,
    tokens, text out are the same.  Text goes to stdout, everything else to stderr.  Tokens are
    chosen as the model's generation_config.json asks, or greedily, unless options say otherwise.
    Ctrl-C ends the answer, not the program; Ctrl-D ends the conversation.  A bundle without
    tokenizer takes --ids and prints the numbers of the tokens that it chooses.
    """
    opened = open_bundle(bundle, check_files=True)
    _refuse(opened, prompt, ids, chat=chat, system=system, core=core, threads=threads)
    if core and (resume or save):
        raise click.UsageError("--resume and --save are for this machine: leave --core out")
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
                _continue(voice, show, ids, answer)
            elif prompt is not None and not chat:
                _continue(voice, show, prompt, answer)
            elif prompt is not None:
                show.event_loop(voice.say([*_opening(system), Message("user", prompt)], answer))
            else:
                _converse(voice, show, answer, _opening(system) if chat else None)
        finally:
            show.close()
        click.echo(voice.statistics(), err=True)
        if save:
            _write(save, voice.save())
        if record:
            _write(record, voice.transcript(opened).to_json().encode())


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
    target = find_target(bundle.target_name if core else "host")
    if core:
        target.expected_isas(core)
    if threads > 1 and not target.threads:
        raise click.UsageError(f"target `{target.name}` has no threads: leave --threads out")


def _opening(system: str | None) -> list[Message]:
    return [] if system is None else [Message("system", system)]


def _continue(voice: Voice, show: _Text | _Json, prompt: Any, answer: Answer) -> None:
    """Print a prompt and what the model goes on with."""
    events = voice.say(prompt, answer)
    first = list(itertools.islice(events, 1))  # a start that fails leaves stdout empty
    show.prompt(voice)
    show.event_loop(itertools.chain(first, events))
    if voice.ended and voice.ended.why == End.FULL:
        click.echo(
            f"the context of {voice.context} tokens is full: the text ends after {voice.made} of "
            f"{answer.most_tokens} tokens", err=True,
        )  # fmt: skip


def _converse(
    voice: Voice, show: _Text | _Json, answer: Answer, opening: list[Message] | None
) -> None:
    """Take turns until the input ends; with an opening as a chat, else text after text."""
    waiting = list(opening or ())
    for said in _lines():
        turn: Any = said if opening is None else [*waiting, Message("user", said)]
        try:
            show.event_loop(voice.say(turn, answer))
            waiting = []
        except BundleError:
            raise
        except BitexportError as error:  # what was said cannot be taken; the next may be
            click.echo(f"{error}\n{error.hint or ''}".rstrip(), err=True)


def _lines() -> Iterator[str]:
    """Yield what is typed, or comes by a pipe, line by line."""
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives input() a history where there is one
    while True:
        try:
            said = input(YOU if interactive else "")
        except EOFError:
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

    def event_loop(self, events: Iterator[Event]) -> None:
        """Print an answer; Ctrl-C ends it."""
        try:
            for event in events:
                if not isinstance(event, Prefill):
                    self._say(event.text)
        except KeyboardInterrupt:
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

    def event_loop(self, events: Iterator[Event]) -> None:
        """Print an answer; Ctrl-C ends it."""
        try:
            for event in events:
                self._print(_facts(event))
        except KeyboardInterrupt:
            self._print({"event": "end", "why": End.CANCELLED.name.lower(), "text": ""})

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
