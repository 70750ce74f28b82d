"""Runs a graph in the onnxruntime that this Python has, and prints what it took.  Stands alone.

    python run_onnxruntime.py GRAPH TOKENS PROMPT LOGITS [--threads N] [--library CUSTOM_OPS]

TOKENS is a file of little-endian int32; the first PROMPT of them are read at once, the others one
by one.  LOGITS becomes the float32 logits behind the prompt and behind each of the others.
"""

import argparse
import json
import resource
import time

import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}


def resident_bytes():
    """Return the memory of this process that is in use now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - stands alone
        return int(file.read().split()[1]) * resource.getpagesize()


def peak_bytes():
    """Return the most memory that this program had in use; ru_maxrss knows its parent's too."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - stands alone
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def feeds_of(session, tokens, past, states):
    """Return what a decoder is fed for tokens (1, count) behind `past` others."""
    count, names = tokens.shape[1], {value.name for value in session.get_inputs()}
    feeds = {"input_ids": tokens, **states}
    if "attention_mask" in names:
        feeds["attention_mask"] = np.ones((1, past + count), np.int64)
    if "position_ids" in names:
        feeds["position_ids"] = np.arange(past, past + count, dtype=np.int64)[None]
    return feeds


def main():
    """Load, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("graph")
    parser.add_argument("tokens")
    parser.add_argument("prompt", type=int)
    parser.add_argument("logits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--library")
    given = parser.parse_args()
    tokens = np.fromfile(given.tokens, "<i4").astype(np.int64)[None]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = given.threads, 3
    if given.library:
        options.register_custom_ops_library(given.library)
    before, start = resident_bytes(), time.perf_counter()
    session = onnxruntime.InferenceSession(given.graph, options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    resident, load_peak = resident_bytes() - before, peak_bytes()
    states = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), DTYPES[value.type])
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    names, past, rows = list(states), 0, []
    start = prefilled = time.perf_counter()
    for chunk in (
        tokens[:, : given.prompt],
        *np.split(tokens[:, given.prompt :], tokens.shape[1] - given.prompt, axis=1),
    ):
        logits, *presents = session.run(None, feeds_of(session, chunk, past, states))
        states = dict(zip(names, presents))  # noqa: B905 - old Pythons too
        past += chunk.shape[1]
        rows.append(logits[0, -1])
        if len(rows) == 1:
            prefilled = time.perf_counter()
    seconds = time.perf_counter() - prefilled
    np.concatenate(rows).astype("<f4").tofile(given.logits)
    print(json.dumps({
        "runtime": f"onnxruntime {onnxruntime.__version__}", "load_seconds": load,
        "resident_bytes": resident, "load_peak_bytes": load_peak,
        "peak_bytes": peak_bytes(),
        "prefill_seconds": prefilled - start,
        "tokens_per_second": (len(rows) - 1) / seconds if seconds else 0.0,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
