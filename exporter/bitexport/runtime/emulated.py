"""Answers from an emulated core: targets/runtime/runner/talk.c under the target's emulator."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.errors import RunError, TargetError, TextError
from bitexport.runtime.library import ALL
from bitexport.runtime.model import NOT_UTF8, Message, require_roles
from bitexport.runtime.session import (
    Answer,
    Chosen,
    End,
    Ended,
    Event,
    Prefill,
    refused_session,
    require_limits,
)
from bitexport.targets import Target
from bitexport.toolchain.compile import build_runner, find_library
from bitexport.toolchain.emulate import command_line
from bitexport.toolchain.remote import Remote
from bitexport.toolchain.serial_line import Board

TALK = "talk.c"
MOST_MESSAGES, MOST_STOPS = 48, 8
_ARGUMENT, _ARENA, _TOO_LONG, _TEXT, _ROLE = 1, 8, 9, 16, 17
_HINTS = {
    _ARGUMENT: "give at least one token, and numbers that `bitexport run --help` allows",
    _TOO_LONG: "the context has room for fewer tokens: give less",
    _TEXT: NOT_UTF8,
    _ROLE: "a system message comes first if at all, then user and assistant in turns",
}
_FLOATS = ("temperature", "top_p", "min_p", "repetition", "presence", "frequency")

Prompt = str | Sequence[int] | Sequence[Message]


@dataclasses.dataclass
class EmulatedModel:
    """A bundle's library on a core; every answer is a run of its own, from the first token on."""

    target: Target
    core: str
    program: Path
    data: Path
    given: tuple[int, ...] = ()
    """The tokens of the last prompt."""
    shown: str = ""
    """The text of the last prompt."""
    sampler: dict[str, float] = dataclasses.field(default_factory=dict)
    """How the tokens of the last answer were chosen, every number of it."""
    remote: Remote | Board | None = None
    """The device that answers instead of an emulated core."""
    memory_bytes: int = 0
    restored: int | None = None
    """With --resume: how many tokens the session had that the last answer went on from."""
    _running: subprocess.Popen[str] | None = None
    _cancelled: bool = False

    def cancel(self) -> None:
        """End the answer, if it has no end yet; from any thread or signal handler."""
        self._cancelled = True
        if (running := self._running) is not None:
            running.kill()

    def answer(
        self, prompt: Prompt, sampler: Mapping[str, float], answer: Answer, *,
        behind: Sequence[int] = (), words: Sequence[str] = (),
    ) -> Iterator[Event]:  # fmt: skip
        """Give the events of an answer to a prompt, behind tokens that were there before.

        `sampler` overrides fields of the model's own; `words` go to talk.c (--threads, --isa ...).
        """
        asked = [*_answer_words(sampler, answer), *words, *_prompt_words(prompt, behind)]
        yield from self._run(asked)

    def keep(self, tokens: Sequence[int], saved: Path) -> None:
        """Write a session of tokens that are still to be read, without an answer."""
        words = ["--ids", ",".join(map(str, tokens)), "--tokens", "0", "--save", str(saved)]
        collections.deque(self._run(words), maxlen=0)

    def _run(self, words: Sequence[str]) -> Iterator[Event]:
        self._cancelled, self.restored = False, None
        if isinstance(self.remote, Board):
            yield from self._run_on(self.remote, words)
            return
        command = self._command(words, self.remote)
        # A group of its own: Ctrl-C in a terminal is for the caller, who may go on.
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=None if self.remote else {}, text=True, process_group=0,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            self._running = process
            last, ended = "", False
            try:
                for line in process.stdout:
                    if not line.endswith("\n"):  # it was cut off
                        continue
                    last = line.strip()
                    for event in self._events(last.split()):
                        if isinstance(event, Ended):
                            ended, self._running = True, None  # what is left is to be saved
                        yield event
            finally:
                self._running = None
                process.kill()
        if self._cancelled and not ended:
            yield Ended(End.CANCELLED, None, "", None)
        elif last != "end":
            if "--resume" in words and self.restored is None and last.startswith("status "):
                _, number, name = last.split(maxsplit=2)
                if int(number) != _ARENA:
                    raise refused_session(-int(number), name)
            raise self._failure(
                last, subprocess.CompletedProcess(command, process.returncode, last)
            )

    def _run_on(self, board: Board, words: Sequence[str]) -> Iterator[Event]:
        """Run on a board, which hands over the events of an answer when it has them all."""
        asked = [*words, *([] if "--chunk" in words else ["--chunk", "1"])]
        try:
            done = board.run(self.target, self.core, self.program, asked)
        except RunError as error:
            done = error.completed
        lines = done.stdout.splitlines() or [""]
        for line in lines:
            yield from self._events(line.split())
        if lines[-1] != "end":
            raise self._failure(lines[-1], done)

    def _command(self, words: Sequence[str], remote: Remote | None) -> list[str]:
        asked = list(words)
        if self.target.os == "linux":
            asked.insert(0, remote.send(self.data) if remote else str(self.data))
        elif "--chunk" not in asked:
            asked += ["--chunk", "1"]
        if remote:
            return remote.command(self.program, asked)
        return command_line(self.target, self.core, self.program, asked)

    def _events(self, words: Sequence[str]) -> Iterator[Event]:
        match words:
            case ["given", ids]:
                self.given = () if ids == "-" else tuple(map(int, ids.split(",")))
            case ["shown", text]:
                self.shown = _text(text)
            case ["sampler", numbers]:
                *floats, top_k, low, high = map(int, numbers.split(","))
                self.sampler = dict(zip(_FLOATS, map(_float, floats), strict=True))
                self.sampler |= {"top_k": top_k, "window": ALL, "seed": low | high << 32}
            case ["restored", count]:
                self.restored = int(count)
            case ["memory", size]:
                self.memory_bytes = int(size)
            case ["prefill", done, total]:
                yield Prefill(int(done), int(total))
            case ["token", token, text]:
                yield Chosen(int(token), _text(text))
            case ["ended", why, token, text]:
                number = None if token == "-" else int(token)
                yield Ended(End(int(why)), number, _text(text), None)

    def _failure(
        self, last: str, completed: subprocess.CompletedProcess[str]
    ) -> RunError | TargetError | TextError:
        match last.split():
            case ["status", number, *name] if int(number) == _ARENA:
                return TargetError(
                    f"the memory of {self.core} does not hold this bundle and its context",
                    hint="build with a smaller --context",
                )
            case ["status", number, *name] if int(number) in _HINTS:
                return TextError(
                    f"{self.core} cannot answer this: {' '.join(name)}", hint=_HINTS[int(number)]
                )
        return RunError(
            f"talk.c on {self.core} stopped: {last or 'it said nothing'}", completed=completed
        )


@contextlib.contextmanager
def emulated_model(
    bundle: Bundle, target: Target, core: str, remote: Remote | Board | None = None
) -> Iterator[EmulatedModel]:
    """Link talk.c against the very library that the bundle ships; a board has it in its flash."""
    if isinstance(remote, Board):
        yield EmulatedModel(target, core, Path(TALK), bundle.data.resolve(), remote=remote)
        return
    library = find_library(target, bundle.path)
    with tempfile.TemporaryDirectory(prefix="bitexport-") as folder:
        program = build_runner(target, library, bundle.path, Path(folder) / "talk", main=TALK)
        yield EmulatedModel(target, core, program, bundle.data.resolve(), remote=remote)


def _prompt_words(prompt: Prompt, behind: Sequence[int]) -> list[str]:
    before = ["--ids", ",".join(map(str, behind))] if behind else []
    if isinstance(prompt, str):
        return [*before, "--text", _hex(prompt)]
    messages = [part for part in prompt if isinstance(part, Message)]
    if messages:
        require_roles(messages)
        if len(messages) > MOST_MESSAGES:
            raise TextError(
                f"{len(messages)} messages, an emulated core takes {MOST_MESSAGES}",
                hint="begin a new conversation",
            )
        said = (f"{message.role}:{_hex(message.content)}" for message in messages)
        return [*before, *said]
    ids = [*behind, *prompt]
    return ["--ids", ",".join(map(str, ids))] if ids else []


def _answer_words(sampler: Mapping[str, float], answer: Answer) -> list[str]:
    require_limits(answer)
    numbers = [str(_bits(sampler[name])) if name in sampler else "" for name in _FLOATS]
    numbers.append(str(sampler.get("top_k", "")))
    seed = int(sampler.get("seed", 0))
    words = ["--sampler", ",".join([*numbers, str(seed & 0xFFFFFFFF), str(seed >> 32)])]
    if answer.most_tokens is not None:
        words += ["--tokens", str(answer.most_tokens)]
    if answer.draft:
        words += ["--draft", str(answer.draft)]
    if answer.keep is not None:
        words += ["--keep", str(answer.keep)]
    if len(answer.stop) > MOST_STOPS:
        raise TextError(
            f"{len(answer.stop)} stop strings, an emulated core takes {MOST_STOPS}",
            hint="give fewer --stop",
        )
    for stop in answer.stop:
        words += ["--stop", _hex(stop)]
    return words


def _bits(number: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", number))[0])


def _float(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").hex() or "-"


def _text(digits: str) -> str:
    return "" if digits == "-" else bytes.fromhex(digits).decode()
