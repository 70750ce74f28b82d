"""Run a decode step in LiteRT, token by token; also a program of its own, for other environments.

    python run_tflite.py MODEL TOKENS.npy LOGITS.npy [DELEGATE]

runs it in tflite-runtime, which lives with an older numpy: nothing else of bitexport is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = "decode"
PAST, PRESENT = "past_key_values", "present"


def run_step(
    module: Any, model: str, tokens: NDArray[np.int32], delegate: str | None = None
) -> NDArray[np.float32]:
    """Run one step for each token; return logits (tokens, vocabulary).

    `module` is ai_edge_litert.interpreter or tflite_runtime.interpreter.
    """
    delegates = [module.load_delegate(delegate)] if delegate else []
    interpreter = module.Interpreter(model, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    step = interpreter.get_signature_runner(SIGNATURE)
    state: Mapping[str, NDArray[np.float32]] = {
        name: np.zeros(detail["shape"], np.float32)
        for name, detail in step.get_input_details().items()
        if name.startswith(PAST)
    }
    rows = []
    for position, token in enumerate(tokens):
        made = step(
            input_ids=np.array([token], np.int32), position=np.array([position], np.int32), **state
        )
        rows.append(np.array(made["logits"][0], np.float32))
        state = {name: made[name.replace(PAST, PRESENT)] for name in state}
    return np.stack(rows)


def run_network(
    module: Any, model: str, inputs: Mapping[str, NDArray[Any]], delegate: str
) -> Mapping[str, NDArray[Any]]:
    """Run a network once, as many rows as its inputs have: (rows, columns) each."""
    interpreter = module.Interpreter(model, experimental_delegates=[module.load_delegate(delegate)])
    found: Mapping[str, NDArray[Any]] = interpreter.get_signature_runner(SIGNATURE)(**inputs)
    return found


def main(model: str, tokens: str, logits: str, delegate: str | None = None) -> None:
    """Run a step in tflite-runtime, from files to a file."""
    from tflite_runtime import interpreter  # noqa: PLC0415 - of another environment

    try:
        found = run_step(interpreter, model, np.load(tokens), delegate)
    except (RuntimeError, ValueError) as error:  # how it refuses a file, and stops
        sys.exit(f"{error}")
    np.save(logits, found)


if __name__ == "__main__":
    main(*sys.argv[1:])
