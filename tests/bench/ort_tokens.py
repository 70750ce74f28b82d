"""Times decode in onnxruntime beside our own runtime, token by token in turn.

    python -m tests.bench.ort_tokens BUNDLE [--threads N] [--tokens N] [--rounds N]

Both run greedily from an empty context, so a row of the result is the median over tokens of one
context; both must choose the same tokens.  Pairs are taken one after the other, so that whoever
else uses the machine slows both.
"""

from __future__ import annotations

import ctypes
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
from bitexport.runtime.model import HostModel, host_library

Step = Callable[[int], int]
"""Takes a token and chooses the next."""

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


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


def graph_steps(session: Any) -> Step:
    """Return a step of a graph, its caches handed on as they are."""
    binding = session.io_binding()
    names = [value.name for value in session.get_outputs()]
    states = {
        value.name: onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros((1, value.shape[1], 0, value.shape[3]), DTYPES[value.type])
        )
        for value in session.get_inputs()
        if value.name.startswith("past_key_values")
    }

    def step(token: int) -> int:
        binding.bind_cpu_input("input_ids", np.array([[token]]))
        for name, state in states.items():
            binding.bind_ortvalue_input(name, state)
        for name in names:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        made = dict(zip(names, binding.get_outputs(), strict=True))
        for name in states:
            states[name] = made[name.replace("past_key_values", "present")]
        return int(made["logits"].numpy()[0, 0].argmax())

    return step


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--threads", default=1)
@click.option("--tokens", default=64)
@click.option("--rounds", default=5)
def main(bundle: Path, threads: int, tokens: int, rounds: int) -> None:
    """Print tokens a second of both, and their ratio."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    bitexport_ort.register(options, bundle)
    opened = open_bundle(bundle)
    session = onnxruntime.InferenceSession(
        str(opened.graph), options, providers=["CPUExecutionProvider"]
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    with host_library(opened) as library:
        model = HostModel(library, opened)
        for _ in range(rounds):
            both = own_steps(model, threads, tokens + 1), graph_steps(session)
            token = 1
            for _ in range(tokens):
                chosen = []
                for step, times in zip(both, seconds, strict=True):
                    start = time.perf_counter()
                    chosen.append(step(token))
                    times.append(time.perf_counter() - start)
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
