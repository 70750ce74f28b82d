"""Runs a step in the LiteRT that this Python has, token by token.  Stands alone.

    python run_litert.py STEP TOKENS PROMPT LOGITS [--delegate LIBRARY]

TOKENS and LOGITS are those of run_onnxruntime.py: behind the prompt and behind each other token.
"""

import argparse
import importlib.metadata
import json
import time

import numpy as np

try:
    from ai_edge_litert import interpreter as litert

    NAME = "ai-edge-litert"
except ModuleNotFoundError:
    from tflite_runtime import interpreter as litert

    NAME = "tflite-runtime"


def peak_bytes():
    """Return the most memory that this program had in use."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - stands alone
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def main():
    """Load, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    parser.add_argument("tokens")
    parser.add_argument("prompt", type=int)
    parser.add_argument("logits")
    parser.add_argument("--delegate")
    given = parser.parse_args()
    delegates = [litert.load_delegate(given.delegate)] if given.delegate else []
    opened = litert.Interpreter(given.step, experimental_delegates=delegates, num_threads=1)
    opened.allocate_tensors()
    step = opened.get_signature_runner("decode")
    state = {
        name: np.zeros(detail["shape"], np.float32)
        for name, detail in step.get_input_details().items()
        if name.startswith("past_key_values")
    }
    rows, start = [], time.perf_counter()
    for position, token in enumerate(np.fromfile(given.tokens, "<i4")):
        if position == given.prompt:
            start = time.perf_counter()
        said = {"input_ids": np.array([token], "<i4"), "position": np.array([position], "<i4")}
        made = step(**said, **state)
        state = {name: made[name.replace("past_key_values", "present")] for name in state}
        rows.append(np.array(made["logits"][0], "<f4"))
    seconds = time.perf_counter() - start
    np.stack(rows[given.prompt - 1 :]).tofile(given.logits)
    print(json.dumps({
        "runtime": f"{NAME} {importlib.metadata.version(NAME)}", "peak_bytes": peak_bytes(),
        "tokens_per_second": (len(rows) - given.prompt) / seconds,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
