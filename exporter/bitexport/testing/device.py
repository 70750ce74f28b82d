"""A bundle on one core, of an emulator or a device: tokens, digests, instructions, memory.

Every call is a run of its own, from the first token on: nothing is left behind by the one before.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bitexport.bench.count import build_plugin
from bitexport.bench.emulated import TokenCount, build_program, count_tokens, require_room
from bitexport.emit.manifest import Bundle
from bitexport.errors import BudgetError, BundleError, MismatchError, TargetError, TextError
from bitexport.runtime.emulated import EmulatedModel, emulated_model
from bitexport.runtime.library import ALL
from bitexport.runtime.session import Answer, Chosen, Ended
from bitexport.runtime.transcript import read_transcript, require_fitting
from bitexport.targets import Target, find_target
from bitexport.testing.budget import AMOUNTS
from bitexport.tokenizer.text import encode, find_tokenizer, load_tokenizer
from bitexport.verify.cores import Failure, Machine, Way, machine, self_test_problem
from bitexport.verify.expected import (
    Expected,
    compute_expected,
    load_reference,
    self_test_positions,
)
from bitexport.verify.explain import explain, said_of
from bitexport.verify.match import first_difference
from bitexport.verify.observed import Observed
from bitexport_ref.evaluator import ReferenceModel

Prompt = str | Sequence[int]

SHOWN_STEPS = 4


@dataclasses.dataclass(frozen=True)
class Step:
    """What one call of the runtime returned."""

    position: int
    """Of the last token that was read, from 0."""
    token: int
    """The greedy choice."""
    logits: str
    """A digest of the row of logits, in hex (FORMAT.md)."""


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer, made on the device from text to text."""

    tokens: tuple[int, ...]
    text: str


@dataclasses.dataclass
class Device:
    """The library of a bundle on a core; `open_device` makes one."""

    bundle: Bundle
    core: str
    machine: Machine
    replays: Path
    """The folder in which a mismatch leaves the file to replay it from."""
    opened: ExitStack
    _read: tuple[int, ...] = ()
    _chosen: int | None = None

    @property
    def target(self) -> Target:
        """The target that the bundle was built for."""
        return self.machine.target

    def again(self) -> Device:
        """Forget what was read; what was linked stays."""
        self._read, self._chosen = (), None
        return self

    # ---- Tokens --------------------------------------------------------------------------------

    def prefill(
        self, prompt: Prompt, *, chunk: int | None = None, threads: int = 1, isa: str | None = None
    ) -> Step:
        """Read a prompt in chunks of so many tokens (default: at once), from position 0."""
        ids = self._ids(prompt, 1)
        way = self._way(ids, chunk, threads, isa, traced=False)
        step = self._last(self._start(ids, 1, way))
        self._read, self._chosen = ids, step.token
        return step

    def step(self, token: int | None = None) -> Step:
        """Read one more token, by default the one that was chosen; all of them go one by one."""
        if self._chosen is None:
            raise TextError("a step goes on from a prompt", hint="call prefill() first")
        ids = self._ids((*self._read, self._chosen if token is None else token), 1)
        step = self._last(self._start(ids, 1, Way(chunk=1, traced=False)))
        self._read, self._chosen = ids, step.token
        return step

    def tokens(self, prompt: Prompt, count: int) -> tuple[int, ...]:
        """Return so many greedy tokens behind a prompt; one that ends an answer is one of them."""
        ids = self._ids(prompt, count)
        observed = self._start(ids, count, Way(chunk=len(ids), traced=False))
        return observed.tokens

    def say(self, prompt: Prompt, count: int, **sampler: float) -> Said:
        """Return an answer of at most so many tokens: tokenizer, sampler and text of the device.

        `sampler` is what `bitexport run` has options for (temperature, top_p, seed ...); what is
        not given is as the model's generation_config.json asks, or greedy.
        """
        given = prompt if isinstance(prompt, str) else self._ids(prompt, count)
        tokens, text = [], ""
        answer = Answer(most_tokens=count, continues=True)
        for event in self._talking.answer(given, sampler, answer):
            match event:
                case Chosen(token, piece):
                    tokens.append(token)
                    text += piece
                case Ended(_, last, piece, _):
                    tokens += [] if last is None else [last]
                    text += piece
        return Said(tuple(tokens), text)

    def op_digests(
        self, prompt: Prompt, count: int = 1, *, chunk: int | None = None, threads: int = 1,
        isa: str | None = None,
    ) -> dict[str, tuple[str, ...]]:  # fmt: skip
        """Return a digest of every op output, by name, at each position.

        The positions are those of the prompt and of `count` greedy tokens, but for the last.
        """
        ids = self._ids(prompt, count)
        way = self._way(ids, chunk, threads, isa, traced=True)
        digests = self._start(ids, count, way).digests
        positions = range(len(ids) + count - 1)
        return {
            name: tuple(digests[output, position] for position in positions)
            for output, (name, _) in enumerate(self._reference.plan)
        }

    # ---- Checks --------------------------------------------------------------------------------

    def check(
        self, prompt: Prompt, count: int = 8, *, chunk: int | None = None, threads: int = 1,
        isa: str | None = None, fused: bool = False,
    ) -> None:  # fmt: skip
        """Compare every op output with the reference, bit for bit; `fused`: the logits alone.

        A MismatchError names the first op that differs, and the first number in it.
        """
        ids = self._ids(prompt, count)
        self._compare(
            self._expected(ids, count),
            self._way(ids, chunk, threads, isa, traced=not fused),
        )

    def self_test(self) -> None:
        """Run the vectors in the file, as an app does with bitx_self_test(), a second at most.

        Op by op, then as a session runs.  A MismatchError names the first op that differs.
        """
        if (positions := self_test_positions(self.bundle.data)) is None:
            raise BundleError(
                f"{self.bundle.path}: the file holds no self-test",
                hint="build the bundle again without --no-selftest",
            )
        words = ["--check-hashes", "--self-test", "--context", str(positions)]
        tested = self.machine.start(self.core, words)
        if problem := self_test_problem(tested, self._reference.plan):
            raise MismatchError(f"{self.core}: {problem}")

    def check_golden(self, path: Path) -> None:
        """Answer the prompt of a transcript again (`bitexport run --record`), token by token.

        A MismatchError names the first token that differs, and the op that made it differ.
        """
        golden = read_transcript(path)
        require_fitting(path, golden, self.bundle)
        sampler = dict(golden.sampler)
        if sampler.pop("window", ALL) != ALL:
            raise BundleError(
                f"{path}: sampler: a core answers with penalties of all tokens, not of a window",
                hint="record it with `bitexport run --record`",
            )
        said = self.say(golden.prompt, len(golden.tokens), **sampler).tokens
        for place, (ours, theirs) in enumerate(
            itertools.zip_longest(said, golden.tokens[: len(said) + 1])
        ):
            if ours == theirs:
                continue
            before = (*golden.prompt, *golden.tokens[:place])
            head = (
                f"{path}: token {place} of the answer is {self._shown(ours)} on {self.core}, "
                f"{self._shown(theirs)} in the transcript"
            )
            raise MismatchError(
                f"{head}\n{self._why(before)}",
                hint=f"`bitexport verify {self.bundle.path} --transcript {path}` "
                "asks the reference who is right",
            )

    def check_budget(
        self, *, instructions_per_token: int | None = None, behind: int = 0,
        arena: int | None = None, context: int | None = None, chunk: int | None = None,
    ) -> None:  # fmt: skip
        """Refuse, with a BudgetError, a token or an arena that costs more than was allowed.

        `behind` and `context`, `chunk` are as in `instructions` and `arena_bytes`.
        """
        if instructions_per_token is None and arena is None:
            raise TextError(
                f"a budget says {' or '.join(sorted(AMOUNTS))}", hint="give one of them"
            )
        if instructions_per_token is not None:
            self._check_instructions(instructions_per_token, behind)
        if arena is not None and (found := self.arena_bytes(context, chunk)) > arena:
            raise BudgetError(
                f"{self.core}: the arena takes {found:,} bytes, {_over(found, arena)}",
                hint="a smaller --context, or chunk_rows of bitx_config, takes less",
            )

    # ---- Costs ---------------------------------------------------------------------------------

    def instructions(self, behind: int = 0) -> TokenCount:
        """Count the guest instructions of one token with so many before it, one thread."""
        if self.machine.remote:
            raise TargetError(
                f"{self.machine.remote} counts no instructions",
                hint="an emulated core does: leave out --bitexport-on",
            )
        require_room(self.bundle, [behind])
        program, plugin = self._counting
        _, (count,) = count_tokens(self.target, self.core, program, plugin, self.bundle, [behind])
        return count

    def arena_bytes(self, context: int | None = None, chunk: int | None = None) -> int:
        """Return the arena that a session of so many positions asks for, from the device.

        The defaults are those of bitx_config_default(): the model's whole context.
        """
        words = [] if context is None else ["--context", str(context)]
        words += [] if chunk is None else ["--chunk", str(chunk)]
        return self._finished(self.machine.start(self.core, words)).arena_bytes

    # ---- Within --------------------------------------------------------------------------------

    @functools.cached_property
    def _reference(self) -> ReferenceModel:
        return load_reference(self.bundle.graph)

    @functools.cached_property
    def _talking(self) -> EmulatedModel:
        remote = self.machine.remote
        talking = emulated_model(self.bundle, self.target, self.core, remote)
        return self.opened.enter_context(talking)

    @functools.cached_property
    def _counting(self) -> tuple[Path, Path]:
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory(prefix="bitexport-")))
        return build_program(self.target, self.bundle, folder), build_plugin(folder)

    @functools.cached_property
    def _references(self) -> dict[tuple[tuple[int, ...], int], Expected]:
        return {}

    def _expected(self, ids: tuple[int, ...], count: int) -> Expected:
        if (ids, count) not in self._references:
            self._references[ids, count] = compute_expected(self._reference, ids, count)
        return self._references[ids, count]

    def _ids(self, prompt: Prompt, count: int) -> tuple[int, ...]:
        facts = self.bundle.manifest["model"]
        if isinstance(prompt, str):
            ids = tuple(encode(load_tokenizer(self.bundle.path), prompt))
        else:
            ids = tuple(prompt)
        if out := [token for token in ids if not 0 <= token < int(facts["vocabulary"])]:
            raise TextError(f"token {out[0]} is outside the vocabulary of {facts['vocabulary']}")
        if not ids or count < 1 or len(ids) + count - 1 > int(facts["context"]):
            raise TextError(
                f"{len(ids)} prompt tokens and {count} more do not fit a context of "
                f"{facts['context']}",
                hint="give at least one of each, and together no more than the context",
            )
        return ids

    def _way(
        self, ids: tuple[int, ...], chunk: int | None, threads: int, isa: str | None, *,
        traced: bool,
    ) -> Way:  # fmt: skip
        isas = self.target.expected_isas(self.core)
        if isa is not None and isa not in isas:
            raise TextError(f"{self.core} has no `{isa}`", hint=f"it runs {', '.join(isas)}")
        if threads > 1 and not self.target.threads:
            raise TextError(f"target `{self.target.name}` has no threads")
        chunk = len(ids) if chunk is None else chunk
        if min(chunk, threads) < 1:
            raise TextError(f"chunks of {chunk}, {threads} threads", hint="give 1 or more of each")
        return Way(chunk=chunk, threads=threads, isa=isa, traced=traced)

    def _start(self, ids: tuple[int, ...], count: int, way: Way) -> Observed:
        asked = Expected(ids, (0,) * count, (), ())
        return self._finished(self.machine.start(self.core, way.arguments(asked)))

    def _finished(self, observed: Observed) -> Observed:
        if observed.stopped:
            raise MismatchError(f"{self.core}: the run stopped: {observed.stopped}")
        return observed

    def _last(self, observed: Observed) -> Step:
        position = max(observed.logits)
        return Step(position, observed.tokens[-1], observed.logits[position])

    def _compare(self, expected: Expected, way: Way) -> None:
        observed = self.machine.start(self.core, way.arguments(expected))
        if difference := first_difference(expected, observed, traced=way.traced):
            failure = Failure(way, difference)
            where = self.bundle.path.absolute()
            found = explain(
                self._reference, self.machine, self.core, expected, failure, where, self.replays
            )
            raise MismatchError(said_of(self.core, failure, found))
        wanted = way.isa or self.target.expected_isas(self.core)[-1]
        if observed.used != wanted:
            raise MismatchError(f"{self.core} ran `{observed.used}` where `{wanted}` is expected")

    def _why(self, before: tuple[int, ...]) -> str:
        """Say which op makes a token differ behind those."""
        try:
            self._compare(self._expected(before, 1), Way(chunk=len(before)))
        except MismatchError as error:
            return str(error)
        return (
            "every op in front of it agrees with the reference: the transcript holds another "
            "choice, or the sampler differs"
        )

    def _shown(self, token: int | None) -> str:
        if token is None:
            return "no more"
        tokenizer = find_tokenizer(self.bundle.path)
        text = tokenizer.id_to_token(token) if tokenizer else None
        return f"{token}" if text is None else f"{token} `{text}`"

    def _check_instructions(self, most: int, behind: int) -> None:
        count = self.instructions(behind)
        if count.instructions <= most:
            return
        largest = itertools.islice(count.steps.items(), SHOWN_STEPS)
        shares = (f"{name} {n / count.instructions:.1%}" for name, n in largest)
        raise BudgetError(
            f"{self.core}: a token behind {behind} others takes {count.instructions:,} "
            f"instructions, {_over(count.instructions, most)}\n  most of them: {', '.join(shares)}",
            hint=f"bitexport bench model {self.bundle.path} --core {self.core} --context {behind} "
            "counts them by op",
        )


@contextmanager
def open_device(
    bundle: Bundle, core: str, replays: Path, on: str | None = None
) -> Iterator[Device]:
    """Link what a test needs against the very library that the bundle ships.

    It runs on an emulated core, or `on` a device that has such a core (`toolchain/remote.py`).
    """
    target = find_target(bundle.target_name)
    target.expected_isas(core)
    with ExitStack() as opened:
        runner = opened.enter_context(machine(bundle, target, on))
        yield Device(bundle, core, runner, replays, opened)


def _over(found: int, most: int) -> str:
    return f"{found - most:,} over the budget of {most:,}"
