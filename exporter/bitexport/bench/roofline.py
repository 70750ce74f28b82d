"""Predicted speed on a device that is not here: a roofline, its terms counted, not fitted.

A part of a token takes as long as the slower of its instructions and its bytes:
    instructions / (instructions a cycle x clock, over the working cores), bytes / bandwidth
and the parts follow one another.  ASSUMPTIONS says what that leaves out.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from bitexport.bench.compare import facts
from bitexport.bench.costs import cost, counts
from bitexport.bench.device import Cluster, Device
from bitexport.bench.workload import (
    ATTENTION,
    CHUNK_ROWS,
    LAYERS,
    REST,
    Shape,
    Work,
    Workload,
    shape_workload,
)
from bitexport.errors import BitexportError

VECTOR_SHARE = 0.8  # of a kernel's instructions: vector arithmetic; the rest loads, stores, counts
CACHE_SHARE = 0.5  # of the last level: weights of that size stay there from token to token
NEARLY = 0.98  # of the best speed: reached with fewer threads, that is better
MEETING = 1e-6  # seconds until all threads know that a step of the plan is done
PREFILL_TOKENS = 512
LEAST_CONTEXT = 16
TERNARY = "ternary"

ASSUMPTIONS = (
    "A kernel reaches the instructions a cycle that the core can issue, four fifths of them vector "
    "arithmetic, which it starts no faster than its pipes take it; nothing waits for a result.",
    "Instructions are counted: kernels on matrices of BitNet b1.58 2B4T, all else on the story "
    "model of samples/.  The instruction set is the cheapest that the core has.",
    "Memory is read in order at the sustained rate of the device file.  A model that fills less "
    "than half of the last cache level is read from there, at no cost.",
    "Threads share the work by their speed and meet after each step of the plan, which takes 1 us "
    "(0.4 us were measured on two x86-64 cores).  No core is throttled by heat or taken by others.",
    "As few threads work as bring 98 % of the best speed.",
    f"Prefill is of {PREFILL_TOKENS} tokens in chunks of {CHUNK_ROWS}, whose weights are read once "
    "a chunk; the head computes for the last token alone.",
    "Energy is that of instructions, of bytes from memory, and of the idle device while a token "
    "takes; cores that wait for memory are counted as idle.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """What a part of a token costs."""

    seconds: float = 0.0
    waiting: float = 0.0  # of the seconds: more bytes than instructions could use
    instructions: float = 0.0
    bytes: float = 0.0  # from memory
    joules: float = 0.0

    def __add__(self, other: Part) -> Part:
        """Return both, one after the other."""
        return Part(
            seconds=self.seconds + other.seconds,
            waiting=self.waiting + other.waiting,
            instructions=self.instructions + other.instructions,
            bytes=self.bytes + other.bytes,
            joules=self.joules + other.joules,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What a token costs with some threads."""

    threads: int
    parts: Mapping[str, Part]
    idle_watts: float

    @functools.cached_property
    def whole(self) -> Part:
        """Return all parts."""
        return sum(self.parts.values(), Part())

    @property
    def seconds(self) -> float:
        """Return how long it takes."""
        return self.whole.seconds

    @property
    def rate(self) -> float:
        """Return the tokens a second."""
        return 1 / self.seconds

    @property
    def joules(self) -> float:
        """Return the energy of its parts and of the idle device meanwhile."""
        return self.whole.joules + self.seconds * self.idle_watts

    @property
    def bound(self) -> str:
        """Return what most of the time waits for."""
        return "memory" if self.whole.waiting > self.seconds / 2 else "compute"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """Decode and prefill with so many tokens before them."""

    context: int
    decode: Step
    prefill: Step | None  # None: the context has no room for a prompt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model on a device."""

    device: Device
    workload: Workload
    target: str
    isas: tuple[str, ...]  # of the cores that decode, for the layers
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no prediction, as a sentence."""

    device: Device
    reason: str


def predict(device: Device, workload: Workload, contexts: Sequence[int]) -> Prediction | Refusal:
    """Predict a model on a device, with each number of tokens before."""
    if reason := misfit(device, workload):
        return Refusal(device=device, reason=reason)
    target = workload.target or device.targets[0]
    if missing := _uncounted(device, workload, target):
        return Refusal(
            device=device, reason=f"nobody has counted {missing} of `{target}` on {device.name}."
        )
    points = []
    for context in (each for each in contexts if each < workload.context):
        prompt = min(PREFILL_TOKENS, workload.context - context)
        points.append(
            Point(
                context=context,
                decode=best_step(device, workload, target, context),
                prefill=best_step(device, workload, target, context, prompt)
                if prompt > 1
                else None,
            )
        )
    if not points:
        return Refusal(
            device=device, reason=f"the model's context ends before {min(contexts)} tokens."
        )
    return Prediction(
        device=device, workload=workload, target=target,
        isas=_isas(device, workload, target, points[0].decode.threads), points=tuple(points),
    )  # fmt: skip


def predict_shape(
    device: Device, shape: Shape, embedding: str, contexts: Sequence[int]
) -> Prediction | Refusal:
    """Predict a published model in the layout and of the target that suit a device best.

    Which is the fastest prefill of those that decode nearly as fast as any.
    """
    found = [
        predict(device, dataclasses.replace(workload, target=target), contexts)
        for layout in layouts()
        for workload in [shape_workload(shape, layout, embedding)]
        for target in device.targets
    ]
    predictions = [each for each in found if isinstance(each, Prediction)]
    if not predictions:
        return min(
            (each for each in found if isinstance(each, Refusal)),
            key=lambda refusal: "nobody has counted" in refusal.reason,
        )
    enough = min(each.points[0].decode.seconds for each in predictions) / NEARLY
    fast = (each for each in predictions if each.points[0].decode.seconds <= enough)
    return min(fast, key=_prefill_seconds)


def _prefill_seconds(prediction: Prediction) -> float:
    prefill = prediction.points[0].prefill
    return prefill.seconds if prefill else 0.0


def layouts() -> list[str]:
    """Return the layouts of ternary weights that some target has a counted kernel for."""
    known = {
        kernel.rpartition("_")[2]
        for isas in counts().values()
        for kernels in isas.values()
        for kernel in kernels
    }
    weights: Mapping[str, str] = facts()["weights"]
    return [each for each in weights if each in known and weights[each].startswith(TERNARY)]


def misfit(device: Device, workload: Workload) -> str | None:
    """Return why a device cannot run a model at all, as a sentence."""
    if workload.target is not None and workload.target not in device.targets:
        return (
            f"{device.name} runs libraries of {_listed(device.targets)}; "
            f"this bundle is for `{workload.target}`."
        )
    memory, file, arena = device.memory, workload.file_bytes, workload.arena_bytes
    if memory.flash is not None:
        if file > memory.flash:
            return (
                f"{device.name} has {_size(memory.flash)} of flash; "
                f"the model's file takes {_size(file)}."
            )
        file = 0
    if file + arena > memory.usable:
        beside = f"a file of {_size(file)} and " if file else ""
        over = (file + arena - memory.usable) / max(1.0, workload.position.bytes)
        fits = workload.context - math.ceil(over)
        shorter = f"; with a context of {fits:,} it would fit" if fits >= LEAST_CONTEXT else ""
        return (
            f"{device.name} gives a program {_size(memory.usable)} of memory; the model needs "
            f"{beside}an arena of {_size(arena)} for its context of {workload.context:,} tokens"
            f"{shorter}."
        )
    return None


def best_step(
    device: Device, workload: Workload, target: str, context: int, prompt: int = 1
) -> Step:
    """Return a token with as few threads as bring nearly the best speed.

    With a prompt: one of its tokens, on average.
    """
    steps = [
        step(device, workload, target, context, prompt=prompt, threads=threads)
        for threads in range(1, device.cores + 1)
    ]
    most = min(each.seconds for each in steps) / NEARLY
    return next(each for each in steps if each.seconds <= most)


def step(
    device: Device, workload: Workload, target: str, context: int, *, prompt: int = 1,
    threads: int,
) -> Step:  # fmt: skip
    """Return what a token takes behind `context` others, or one of a prompt's on average."""
    rows = min(prompt, CHUNK_ROWS)
    cached = workload.bytes <= CACHE_SHARE * device.memory.cache
    before = context + (prompt - 1) / 2
    position = dataclasses.replace(
        workload.position,
        amount=workload.position.amount * (before + 1),
        bytes=workload.position.bytes * before,
    )
    parts: dict[str, Part] = {}
    for work in (*workload.works, position):
        share = 1 / prompt if work.once else 1.0
        read = 0.0 if cached else share * work.bytes / (1 if work.once else rows)
        part = _part(work, share * work.amount, read, target, device, threads, rows)
        parts[work.part] = parts.get(work.part, Part()) + part
    if threads > 1:
        parts[REST] += Part(seconds=MEETING * workload.steps / rows)
    return Step(threads=threads, parts=parts, idle_watts=device.idle_watts)


def instruction_rate(cluster: Cluster) -> float:
    """Return the instructions of a kernel that one core runs a second."""
    return cluster.clock * min(cluster.issue, cluster.vector / VECTOR_SHARE)


def _part(
    work: Work, amount: float, read: float, target: str, device: Device, threads: int, rows: int
) -> Part:
    """Return what some work costs when the working cores share it by their speed."""
    rate = watts = ran = 0.0  # of work, of instructions
    for cluster, count in device.working(threads):
        speed = count * instruction_rate(cluster)
        rate += speed / _instructions(work, target, cluster, rows)
        watts += speed * cluster.instruction_joules
        ran += speed
    computing, reading = amount / rate, read / device.memory.rate(threads)
    return Part(
        seconds=max(computing, reading),
        waiting=reading if reading > computing else 0.0,
        instructions=computing * ran,
        bytes=read,
        joules=computing * watts + read * device.memory.byte_joules,
    )


def _instructions(work: Work, target: str, cluster: Cluster, rows: int) -> float:
    """Return the instructions of one unit of work on a core."""
    rows = 1 if work.once or work.part == ATTENTION else rows
    if work.theirs is not None:
        return work.theirs[rows > 1]
    found = cost(work.kernel, target, cluster.isas, rows)
    if found is None:
        raise BitexportError(f"nobody has counted {work.kernel} of `{target}` on {cluster.core}")
    return found


def _uncounted(device: Device, workload: Workload, target: str) -> str | None:
    """Return the first kind of work that nobody has counted for a core of the device."""
    for work in (*workload.works, workload.position):
        for cluster in device.clusters:
            if work.theirs is None and cost(work.kernel, target, cluster.isas) is None:
                return work.kernel
    return None


def _isas(device: Device, workload: Workload, target: str, threads: int) -> tuple[str, ...]:
    """Return the instruction set that each working cluster multiplies the layers with."""
    kernels = [work.kernel for work in workload.works if work.part == LAYERS and work.amount]
    best = (
        min(cluster.isas, key=lambda isa: cost(kernels[0], target, (isa,)) or float("inf"))
        for cluster, _ in device.working(threads)
    )
    return tuple(dict.fromkeys(best))


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _size(count: float) -> str:
    """Return bytes in a unit that keeps the number short."""
    for unit, most in (("GB", 1e9), ("MB", 1e6)):
        if count >= most:
            return f"{count / most:.3g} {unit}"
    return f"{count / 1e3:.3g} KB"
