"""Times decode in onnxruntime beside our own runtime, token by token in turn.

    python -m tests.bench.ort_tokens BUNDLE [--threads N] [--tokens N] [--rounds N]

Both run greedily from an empty context, so a row of the result is the median over tokens of one
context; both must choose the same tokens.  Pairs are taken one after the other, so that whoever
else uses the machine slows both.
"""

from __future__ import annotations

import ctypes
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

import bitexport_ort
from bitexport.emit.manifest import open_bundle
from bitexport.runtime.model import HostModel
from bitexport.runtime.opened import host_library

Step = Callable[[int], int]
"""Takes a token and chooses the next."""

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}


def own_steps(model: HostModel, threads: int, context: int) -> Step:
    """Return a step of a fresh session of our runtime."""
    library = model.library
    library.bitx_step.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
    library.bitx_greedy.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    session = model.session(context=context, threads=threads)
    logits = ctypes.c_void_p()

    def step(token: int) -> int:
        model.require(library.bitx_step(session._session, token, ctypes.byref(logits)))
        return int(library.bitx_greedy(logits, model.vocabulary))

    step.session = session  # type: ignore[attr-defined]
    return step


def graph_steps(session: Any, cache: int) -> Step:
    """Return a step of a graph, each of its caches one buffer."""
    binding = session.io_binding()
    binding.bind_output("logits")
    for value in session.get_inputs():
        if value.name.startswith("past_key_values"):
            shape = (1, value.shape[1], cache, value.shape[3])
            buffer = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, DTYPES[value.type]))
            binding.bind_ortvalue_input(value.name, buffer)
            binding.bind_ortvalue_output(value.name.replace("past_key_values", "present"), buffer)
    position = itertools.count()

    def step(token: int) -> int:
        binding.bind_cpu_input("input_ids", np.array([[token]]))
        binding.bind_cpu_input("past_length", np.array([next(position)]))
        session.run_with_iobinding(binding)
        return int(binding.get_outputs()[0].numpy()[0, 0].argmax())

    return step


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--threads", default=1)
@click.option("--tokens", default=64)
@click.option("--rounds", default=5)
@click.option("--cpu", is_flag=True, help="Seconds of this thread, not of the clock.")
def main(bundle: Path, threads: int, tokens: int, rounds: int, *, cpu: bool) -> None:
    """Print tokens a second of both, and their ratio."""
    clock = time.thread_time if cpu else time.perf_counter
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = open_bundle(bundle)
    session = bitexport_ort.open_session(bundle, options, cache=tokens)
    seconds: tuple[list[float], list[float]] = ([], [])
    with host_library(opened) as library:
        model = HostModel(library, opened.data)
        for _ in range(rounds):
            both = own_steps(model, threads, tokens + 1), graph_steps(session, tokens)
            token = 1
            for _ in range(tokens):
                chosen = []
                for step, times in zip(both, seconds, strict=True):
                    start = clock()
                    chosen.append(step(token))
                    times.append(clock() - start)
                assert chosen[0] == chosen[1]
                token = chosen[0]
    own, graph = (statistics.median(times) for times in seconds)
    paired = statistics.median(b / a for a, b in zip(*seconds, strict=True))
    click.echo(
        f"{opened.manifest['model']['name']}, context 0 to {tokens}, {threads} threads: "
        f"own {1 / own:.1f} tokens/s, onnxruntime {onnxruntime.__version__} {1 / graph:.1f}, "
        f"a token of it takes {paired:.3f} times as long"
    )


if __name__ == "__main__":
    main()
